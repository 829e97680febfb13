"""Spectral indices of Sentinel-2 images as a registry: formula, source and function of each.

Example:
    >>> image = xr.DataArray([0.1, 0.3], dims="band", coords={"band": ["B04", "B08"]})  # and time, y, x
    >>> round(compute("NDVI", image).item(), 3)
    0.5
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from eolab.core.errors import ParameterError, check_known

ZERO = 1e-6  # a denominator below this counts as 0: a hundredth of the step between two reflectances


class Index(NamedTuple):
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
    """Divide, giving NaN where the denominator is 0 (below 1e-6), negative or NaN.

    The sums of reflectance that indices are divided by are positive; negative ones, of bands that the
    atmospheric correction left below 0 or of clouds in EVI, would turn the sign of the index.
    """
    return numerator / denominator.where(denominator >= ZERO)


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


def root(number: xr.DataArray) -> xr.DataArray:
    """Return the square root, NaN of what is negative."""
    return number.where(number >= 0) ** 0.5


def _mirbi(swir2: xr.DataArray, swir1: xr.DataArray) -> xr.DataArray:
    return 10 * swir2 - 9.8 * swir1 + 2


def _msavi2(nir: xr.DataArray, red: xr.DataArray) -> xr.DataArray:
    return (2 * nir + 1 - root((2 * nir + 1) ** 2 - 8 * (nir - red))) / 2


def _mtvi2(nir: xr.DataArray, green: xr.DataArray, red: xr.DataArray) -> xr.DataArray:
    triangle = 1.5 * (1.2 * (nir - green) - 2.5 * (red - green))
    return ratio(triangle, root((2 * nir + 1) ** 2 - (6 * nir - 5 * root(red)) - 0.5))


# All other indices are normalised differences.
_OTHERS: dict[str, Callable[..., xr.DataArray]] = {
    **{"EVI": _evi, "SAVI": _savi, "BSI": _bsi, "GREY": _grey},
    **{"Chlred-edge": ratio, "MIRBI": _mirbi, "MSAVI2": _msavi2, "MTVI2": _mtvi2},
}

INDICES: dict[str, Index] = {
    name: Index(name, title, formula, tuple(bands.split()), source, _OTHERS.get(name, _difference), scaled)
    for name, title, formula, bands, source, scaled in pd.read_csv(
        Path(__file__).with_name("indices.csv")
    ).itertuples(index=False)
}
"""By name, as ``indices.csv`` lists them."""


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
        float32 array without the dim ``band``: NaN where a band is NaN or the denominator is not
        positive. Lazy where the image is.

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
