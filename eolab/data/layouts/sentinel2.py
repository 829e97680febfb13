"""Sentinel-2 series from SAFE products, Level-1C and Level-2A of all baselines.

Reflectance = (DN + offset) / quantification, both from the product's own XML: old dates that were made again
have the offset (-1000 from baseline 04.00 on) too. Where a product of these baselines states none, -1000 is
taken and a warning says so. DN 0 (no data) and 65535 (saturated) are masked before the offset is added; what
is negative after it stays so: over dark ground the atmospheric correction may take away too much.

Each band is read from its finest image. Onto a coarser grid the valid pixels are averaged, onto a finer one
they are repeated (or interpolated). The pixel grids are those of the images themselves: the 10 m grid is that
of B02, 20 m of B05, 60 m of B01, whatever the sizes in the tile's metadata.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import rasterio
import rioxarray  # noqa: F401  (registers the .rio accessor)
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError

from eolab.core.errors import DataError, ParameterError, check_known, warn
from eolab.core.progress import track
from eolab.data.bands import RESOLUTIONS_M, SENTINEL2
from eolab.data.layouts import sentinel2_index as listing
from eolab.data.layouts.common import attempt, distinct_bands, lies_instead, report, scene_classes
from eolab.data.layouts.raster_names import RGB
from eolab.data.layouts.sentinel2_index import LEVEL_BANDS, Acquisition, Header, Rejection
from eolab.data.layouts.series import CHUNK, GDAL_OPTIONS, Bounds, Resampling, Source, lazy, window_of

NODATA = 0
SATURATED = 65535


def open_layout(
    path: str | Path,
    bands: Sequence[str] | None = None,
    resolution_m: int = 10,
    bounds: Bounds | None = None,
    tile: str | None = None,
    level: Literal["L1C", "L2A"] | None = None,
    resampling: Resampling = "nearest",
    scl: bool = True,
    true_colour: bool = False,
    stated: Mapping[str, float] | None = None,
) -> xr.Dataset:
    """Open all acquisitions of one tile as a lazy series.

    Args:
        path: Where the products are, see :func:`eolab.data.layouts.sentinel2_index.scan`.
        bands: Bands to read, for example ``["B04", "B8A"]``; by default all that the level has.
        resolution_m: Nominal pixel size of the series: 10, 20 or 60.
        bounds: (xmin, ymin, xmax, ymax) in the tile's CRS; all pixels that it touches are read. By default
            the whole tile.
        tile: MGRS tile, needed where the folder holds several.
        level: ``L1C`` or ``L2A``, needed where the folder holds both.
        resampling: How bands with larger pixels than ``resolution_m`` are brought to it. Bands with smaller
            pixels are averaged over valid pixels, the scene classification is always nearest.
        scl: Whether to read the scene classification (Level-2A only).
        true_colour: Whether to read the true-colour images of the products.
        stated: What the data catalogue states of the pixels and holds against the products' metadata: scale
            and offset of reflectance = DN * scale + offset, and the DN nodata.

    Returns:
        ``reflectance`` (time, band, y, x) float32, NaN where there is no data, and for Level-2A ``scl``
        (time, y, x) uint8, 0 where there is none; where asked for, ``true_colour`` (time, colour, y, x) of 0
        to 1; coordinates product and baseline (time), those of
        several products that were laid together joined by "+".
        ``attrs["rejected"]`` is a JSON table of the files that were left out and why.

    Raises:
        DataError: If nothing can be used, or the bounds lie outside the tile.
        ParameterError: If a parameter is wrong, or several tiles or levels are there and none is chosen.
    """
    folder = Path(path)
    wanted = None if bands is None else distinct_bands(bands)
    if resolution_m not in RESOLUTIONS_M:
        raise ParameterError(f"resolution_m is {resolution_m!r}: give 10, 20 or 60.")
    check_known(resampling, get_args(Resampling), f"resampling is {resampling!r}")
    acquisitions, rejections = listing.scan(folder, wanted, scl, true_colour)
    if not acquisitions:
        why = "".join(f"; {Path(file).name}: {reason}" for file, reason in rejections[:1])
        expected = "expected folders or zip files with MTD_MSIL1C.xml or MTD_MSIL2A.xml, "
        why = why or f": {expected}{lies_instead(folder, '*.SAFE', 'MTD_MSIL*.xml')}"
        raise DataError(f"{folder} holds no Sentinel-2 product that can be used{why}.")
    chosen, shifted = _same_extent(_choose(acquisitions, folder, tile, level))
    names = wanted or list(LEVEL_BANDS[chosen[0].level])
    target = _target(chosen[0], resolution_m)
    window = window_of(target.grid, bounds, "the tile")
    _warn_of_offsets(chosen, names, stated or {})

    def read(names: Sequence[str], dtype: str) -> Any:
        sources = [[_sources(item, band, stated or {}) for band in names] for item in chosen]
        return lazy(sources, target.grid, window, resampling, dtype, beyond=1.0)

    image = (("time", "band", "y", "x"), read(names, "float32"), {"units": "reflectance"})
    coords = _coordinates(chosen, names, target.grid[window])
    dataset = xr.Dataset({"reflectance": image}, coords=coords)
    if true_colour:
        colours = [[_true_colour(item, number) for number in (1, 2, 3)] for item in chosen]
        array = lazy(colours, target.grid, window, resampling, beyond=1.0)
        dataset = dataset.assign_coords(colour=list(RGB))
        dataset["true_colour"] = (("time", "colour", "y", "x"), array, {"units": "1"})
    dataset = dataset.rio.write_crs(str(target.grid.crs)).rio.write_transform()
    if scl and chosen[0].level == "L2A":
        classes = read(["SCL"], "uint8")[:, 0]
        attrs = {"long_name": "scene classification", "nodata": NODATA}
        dataset["scl"] = (("time", "y", "x"), classes, attrs)
    return dataset.assign_attrs(
        tile=chosen[0].tile,
        level=chosen[0].level,
        resolution_m=resolution_m,
        rejected=json.dumps(listing.relative([*rejections, *shifted], folder)),
    )


def check_layout(path: Path, progress: bool = True) -> pd.DataFrame:
    """Decode every band image of every product.

    Returns:
        One row an image or rejected product: file, status (``ok`` or ``rejected``), reason.
    """
    acquisitions, rejections = listing.scan(path)
    parts = [part for item in acquisitions for part in item.parts]
    images = [
        (item.product, image.name) for item in parts for image in item.images.values() if image.band != "TCI"
    ]
    found = [
        (str(product.path / name), _fault(product.gdal_path(name)))
        for product, name in track(images, f"reading {path.name}", unit="image", progress=progress)
    ]
    return report([], listing.relative([*found, *rejections], path))


def _choose(
    acquisitions: list[Acquisition], folder: Path, tile: str | None, level: str | None
) -> list[Acquisition]:
    """Return the acquisitions of the one tile and level that is asked for."""
    tile = tile.upper().removeprefix("T") if tile else None
    for name, value in (("tile", tile), ("level", level)):
        known = sorted({getattr(item, name) for item in acquisitions})
        if not value and len(known) > 1:
            raise ParameterError(f"{folder} holds the {name}s {', '.join(known)}: choose one with {name}=.")
        chosen = value or known[0]
        check_known(chosen, known, f"{folder} holds no {name} {value!r}")
        acquisitions = [item for item in acquisitions if getattr(item, name) == chosen]
    return acquisitions


def _same_extent(acquisitions: list[Acquisition]) -> tuple[list[Acquisition], list[Rejection]]:
    """Return the acquisitions whose images all lie on their tile's extent, and the others."""
    parts = [part for item in acquisitions for part in item.parts]
    votes = Counter((part.crs, _extent(header)) for part in parts for header in part.headers.values())
    crs, usual = votes.most_common(1)[0][0]
    kept, shifted = [], []
    for item in acquisitions:
        good = []
        for part in item.parts:
            same = {band: part.crs == crs and _near(header, usual) for band, header in part.headers.items()}
            odd = [band for band in same if not same[band]]
            if odd:
                place = _extent(part.headers[odd[0]])
                reason = f"{odd[0]} covers {place} in {part.crs}, the tile's other images {usual} in {crs}"
                shifted.append((str(part.product.path / part.images[odd[0]].name), reason))
            else:
                good.append(part)
        if good:
            kept.append(good[0]._replace(under=tuple(good[1:])))
    return kept, shifted


def _warn_of_offsets(acquisitions: list[Acquisition], bands: list[str], stated: Mapping[str, float]) -> None:
    """Warn where the offset is assumed, or the data catalogue states another scale or offset."""
    parts = [part for item in acquisitions for part in item.parts]
    for place, key in enumerate(("scale", "offset")):
        own = {part.metadata.calibration(band)[place]: part for part in parts for band in bands}
        other = [value for value in own if key in stated and not np.isclose(value, stated[key])]
        if other:
            warn(
                f"The data catalogue states the {key} {stated[key]}, the metadata of "
                f"{own[other[0]].product.name} say {other[0]}: the catalogue's is taken."
            )
    assumed = [part.product.name for part in parts if part.metadata.offset_assumed]
    if assumed and "offset" not in stated:
        warn(
            f"Of {len(parts)} products {len(assumed)} are of baseline 04.00 or later and state no offset, "
            f"for example {assumed[0]}: -1000 is added to their DN, the baseline's offset; if it was added "
            "before, write `pixels: {offset: 0}` into the entry of the data catalogue."
        )


def _extent(header: Header) -> tuple[int, ...]:
    return tuple(round(edge) for edge in header.grid.boundingbox)


def _near(header: Header, extent: tuple[int, ...]) -> bool:
    return all(abs(a - b) <= header.grid.transform.a for a, b in zip(_extent(header), extent, strict=True))


def _target(item: Acquisition, resolution_m: int) -> Header:
    """Return the tile's grid at a nominal pixel size: that of an image with it, else a multiple of B02's."""

    def nominal(band: str) -> int:
        named = item.images[band].resolution_m
        return named or SENTINEL2[band].resolution_m

    for band in item.bands:
        if nominal(band) == resolution_m:
            try:
                return item.headers.get(band) or listing.read_header(item, band)
            except (DataError, OSError):
                continue
    band = min((name for name in item.headers if name != "SCL"), key=nominal)
    grid, factor = item.headers[band].grid, resolution_m / nominal(band)
    shape = (round(grid.height / factor), round(grid.width / factor))
    return Header(GeoBox(shape, grid.transform * Affine.scale(factor), grid.crs), CHUNK)


def _coordinates(acquisitions: list[Acquisition], bands: list[str], grid: GeoBox) -> dict[str, Any]:
    """Return the coordinates of a series on a grid."""
    times = [item.metadata.time for item in acquisitions]
    names = [dict.fromkeys(part.product.name for part in item.parts) for item in acquisitions]
    baselines = [dict.fromkeys(part.metadata.baseline for part in item.parts) for item in acquisitions]
    return {
        "time": pd.DatetimeIndex(times).as_unit("ns"),
        "band": bands,
        "y": grid.coordinates["y"].values,
        "x": grid.coordinates["x"].values,
        "product": ("time", list(map("+".join, names))),
        "baseline": ("time", list(map("+".join, baselines))),
    }


def _sources(item: Acquisition, band: str, stated: Mapping[str, float]) -> list[Source]:
    """Return the images of a band, those of the acquisition itself first; of SCL without calibration."""
    found = []
    for part in item.parts:
        header, path = part.headers[band], part.product.gdal_path(part.images[band].name)
        if band == "SCL":
            found.append(Source(path, 1, header.grid, header.block, (NODATA,)))
            continue
        known = (NODATA, SATURATED, header.nodata, stated.get("nodata"))
        nodata = tuple({value for value in known if value is not None})
        scale, offset = part.metadata.calibration(band)
        scale, offset = stated.get("scale", scale), stated.get("offset", offset)
        found.append(Source(path, 1, header.grid, header.block, nodata, scale, offset))
    return found


def _true_colour(item: Acquisition, number: int) -> list[Source]:
    """Return the images of red, green or blue (1 to 3) of 0 to 1; DN 0 is no data."""
    found = []
    for part in item.parts:
        header, path = part.headers["TCI"], part.product.gdal_path(part.images["TCI"].name)
        found.append(Source(path, number, header.grid, header.block, (NODATA,), 1 / 255))
    return found


def _fault(path: str) -> str:
    """Decode a whole image block by block; return why it cannot be used, empty where it can."""
    try:
        with rasterio.Env(**GDAL_OPTIONS), rasterio.open(path) as image:
            classes = "_SCL" in Path(path).name
            fault = listing.emptiness_of(image, classes)
            return fault or (
                attempt(partial(scene_classes, name=path), image.read(1), path)[1] if classes else ""
            )
    except RasterioError:
        return "cannot be decoded"
