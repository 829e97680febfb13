"""Spectral indices of Sentinel-2 images as a registry: formula, source and function of each.

Example:
    >>> compute("NDVI", image)  # image (time, band, y, x) with bands B04 and B08 → (time, y, x)
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import xarray as xr

from eolab.core.errors import ParameterError, check_known

ZERO = 1e-6  # a denominator below this counts as 0: a hundredth of the step between two reflectances


@dataclass(frozen=True)
class Index:
    """A spectral index.

    Attributes:
        name: Short name, also the name of the band that it becomes.
        title: What it is called in full.
        formula: The formula as text.
        bands: Bands that the function takes, in its order.
        source: Where the formula was published.
        function: Takes one float array a band, all of one shape, and returns the index, NaN where undefined.
        scaled: True where the formula has constants made for reflectance of 0 to 1, so that digital numbers
            would give another result.
    """

    name: str
    title: str
    formula: str
    bands: tuple[str, ...]
    source: str
    function: Callable[..., xr.DataArray]
    scaled: bool = False


def ratio(numerator: xr.DataArray, denominator: xr.DataArray) -> xr.DataArray:
    """Divide, giving NaN where the denominator is 0 (below 1e-6 in absolute value) or NaN."""
    return numerator / denominator.where(np.abs(denominator) >= ZERO)


def _difference(a: xr.DataArray, b: xr.DataArray) -> xr.DataArray:
    return ratio(a - b, a + b)


def _evi(nir: xr.DataArray, red: xr.DataArray, blue: xr.DataArray) -> xr.DataArray:
    return ratio(2.5 * (nir - red), nir + 6 * red - 7.5 * blue + 1)


def _savi(nir: xr.DataArray, red: xr.DataArray) -> xr.DataArray:
    return ratio(1.5 * (nir - red), nir + red + 0.5)


def _bsi(swir: xr.DataArray, red: xr.DataArray, nir: xr.DataArray, blue: xr.DataArray) -> xr.DataArray:
    return _difference(swir + red, nir + blue)


def _grey(blue: xr.DataArray, green: xr.DataArray, red: xr.DataArray) -> xr.DataArray:
    return (blue + green + red) / 3


def _normalised(name: str, title: str, a: str, b: str, source: str) -> Index:
    """Return the index (a - b) / (a + b)."""
    return Index(name, title, f"({a} - {b}) / ({a} + {b})", (a, b), source, _difference)


LANDSLIDE_STUDY = "feature engineering of the landslide study (Landslide4Sense)"

INDICES: dict[str, Index] = {
    index.name: index
    for index in (
        _normalised("NDVI", "normalised difference vegetation index", "B08", "B04",
                    "Rouse et al. 1974, NASA SP-351, 309-317"),
        _normalised("GNDVI", "green normalised difference vegetation index", "B08", "B03",
                    "Gitelson et al. 1996, doi:10.1016/S0034-4257(96)00072-7"),
        _normalised("NDRE", "normalised difference red edge index", "B08", "B05",
                    "Barnes et al. 2000, 5th International Conference on Precision Agriculture"),
        _normalised("NDWI", "normalised difference water index (open water)", "B03", "B08",
                    "McFeeters 1996, doi:10.1080/01431169608948714"),
        _normalised("MNDWI", "modified normalised difference water index", "B03", "B11",
                    "Xu 2006, doi:10.1080/01431160600589179"),
        _normalised("NDMI", "normalised difference moisture index", "B08", "B11",
                    "Wilson and Sader 2002, doi:10.1016/S0034-4257(01)00318-2"),
        _normalised("NBR", "normalised burn ratio", "B08", "B12",
                    "García and Caselles 1991, doi:10.1080/10106049109354290"),
        _normalised("NDBI", "normalised difference built-up index", "B11", "B08",
                    "Zha et al. 2003, doi:10.1080/01431160304987"),
        _normalised("NDSI", "normalised difference snow index", "B03", "B11",
                    "Hall et al. 1995, doi:10.1016/0034-4257(95)00137-P"),
        _normalised("VI", "vegetation index of the landslide study (NDMI by another name)", "B08", "B11",
                    LANDSLIDE_STUDY),
        Index("EVI", "enhanced vegetation index", "2.5 (B08 - B04) / (B08 + 6 B04 - 7.5 B02 + 1)",
              ("B08", "B04", "B02"), "Huete et al. 2002, doi:10.1016/S0034-4257(02)00096-2", _evi, True),
        Index("SAVI", "soil-adjusted vegetation index, L = 0.5", "1.5 (B08 - B04) / (B08 + B04 + 0.5)",
              ("B08", "B04"), "Huete 1988, doi:10.1016/0034-4257(88)90106-X", _savi, True),
        Index("BSI", "bare soil index", "((B11 + B04) - (B08 + B02)) / ((B11 + B04) + (B08 + B02))",
              ("B11", "B04", "B08", "B02"), "Rikimaru et al. 2002, Tropical Ecology 43, 39-47", _bsi),
        Index("GREY", "grey value", "(B02 + B03 + B04) / 3", ("B02", "B03", "B04"), LANDSLIDE_STUDY, _grey),
    )
}  # fmt: skip


def index(name: str) -> Index:
    """Return an index by name.

    Raises:
        ParameterError: If there is none of that name.
    """
    check_known(name, INDICES, f"There is no spectral index {name!r}")
    return INDICES[name]


def bands_for(names: Iterable[str]) -> tuple[str, ...]:
    """Return the bands that indices need, each once, in the order of their names."""
    return tuple(sorted({band for name in names for band in index(name).bands}))


def bands_of(image: xr.DataArray | xr.Dataset, needed: Iterable[str], what: str) -> list[str]:
    """Return the names of an image's bands, those that are needed among them.

    Args:
        image: Image with a dim ``band`` whose coordinate names the bands.
        needed: Bands that it must have.
        what: What needs them, for the error.

    Raises:
        ParameterError: If one is missing.
    """
    known = [str(band) for band in image["band"].to_numpy()]
    for band in needed:
        if band not in known:
            raise ParameterError(
                f"{what} needs the band {band}, which the image does not have: read it too "
                f"(the image has {', '.join(known)})."
            )
    return known


def compute(name: str, image: xr.DataArray) -> xr.DataArray:
    """Compute a spectral index.

    Args:
        name: Name of the index, for example ``"NDVI"``.
        image: Image with a dim ``band`` whose coordinate names the bands; reflectance of 0 to 1.

    Returns:
        float32 array without the dim ``band``: NaN where a band is NaN or the denominator is 0. Lazy where
        the image is.

    Raises:
        ParameterError: If the index is unknown, a band is missing, or the index needs reflectance and
            the image holds something else.
    """
    wanted = index(name)
    known = bands_of(image, wanted.bands, name)
    units = image.attrs.get("units", "reflectance")
    if wanted.scaled and (units != "reflectance" or not np.issubdtype(image.dtype, np.floating)):
        raise ParameterError(
            f"{name} has constants made for reflectance of 0 to 1, but the image holds {image.dtype} "
            f"in units {units!r}: convert it to reflectance first."
        )
    arrays = [image.isel(band=known.index(band), drop=True).astype(np.float32) for band in wanted.bands]
    result = wanted.function(*arrays).astype(np.float32).rename(name)
    result.attrs = {
        "units": "1",
        "long_name": wanted.title,
        "formula": wanted.formula,
        "source": wanted.source,
    }
    return result


def append(image: xr.DataArray, names: Iterable[str]) -> xr.DataArray:
    """Return the image (…, band, …) as float32 with indices appended as further bands."""
    extra = [compute(name, image).expand_dims(band=[name]).transpose(*image.dims) for name in names]
    if not extra:
        return image.astype(np.float32)
    joined = xr.concat([image.astype(np.float32), *extra], "band", coords="minimal", compat="override")
    joined.attrs = dict(image.attrs)
    return joined.transpose(*image.dims).rename(image.name)
