"""Images of one's own: a folder of GeoTIFF, COG or JPEG 2000 files, or of SAFE products, of one date or many.

What a file's name says is found by the conventions of :mod:`eolab.data.layouts.raster_names`, or by a pattern
in the catalogue's entry. There stands too what files do not say of themselves::

    my_stands:
      uri: ${MY_STANDS}
      layout: rasters
      images: {files: "{date}_{tile}.tif", bands: [B02, B03, B04, B08]}
      pixels: {scale: 0.0001, nodata: 0}

Value = number * scale + offset: what the entry states goes before what a file states, and that before the
convention. Whole numbers without any scale are refused. Images of one day, orbit and tile are laid together.
With ``{sample}`` or ``{class}`` in the pattern each image is a patch: :mod:`eolab.data.layouts.patches`.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import rasterio
import rioxarray  # noqa: F401  (registers the .rio accessor)
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError

from eolab.core.errors import DataError, ParameterError, check_all, check_known, printable, warn
from eolab.core.progress import in_threads, track
from eolab.data.bands import SENTINEL2
from eolab.data.layouts import patches, raster_names, safe, sentinel2
from eolab.data.layouts import sentinel2_index as listing
from eolab.data.layouts.common import Rejected, attempt, below, is_clutter, lies_instead, reading, report
from eolab.data.layouts.geotiff import check_size
from eolab.data.layouts.raster_files import ENDINGS, bands_in, folder_of, layer_of, source_in
from eolab.data.layouts.raster_names import CONVENTIONS, Named
from eolab.data.layouts.series import GDAL_OPTIONS, Bounds, Resampling, Source, lazy, window_of

MOST_PIXELS = 300_000**2
_ORBIT = re.compile(r"_R(\d{3})_")
LAYERS = {"reflectance": "band", "scl": "", "true_colour": "colour", "indices": "index"}
"""What a folder may hold, each a variable of the series, and the name of its axis of bands."""


class Band(NamedTuple):
    """One band of a file: what it is, and where its numbers stand."""

    layer: str
    name: str
    source: Source


@dataclass(frozen=True)
class Acquisition:
    """What was taken of one place at one time, in one orbit.

    Attributes:
        time: When (UTC); to the day where names say no more.
        tile: Its tile or extent, empty where names say none.
        orbit: Its relative orbit, likewise.
        level: ``L1C`` or ``L2A``, likewise.
        files: Its files below the folder.
        bands: All bands of all files, the best source of each first.
    """

    time: datetime
    tile: str
    orbit: str
    level: str
    files: tuple[str, ...]
    bands: tuple[Band, ...]

    def sources(self, layer: str, name: str) -> list[Source]:
        """Return the sources of a band, best first."""
        return [band.source for band in self.bands if (band.layer, band.name) == (layer, name)]


def open_layout(
    path: str | Path,
    bands: Sequence[str] | None = None,
    resolution: float | None = None,
    bounds: Bounds | None = None,
    dates: Sequence[str] | None = None,
    tile: str | None = None,
    level: str | None = None,
    resampling: Resampling = "nearest",
    images: Mapping[str, Any] | None = None,
    true_colour: bool = False,
    stated: Mapping[str, float] | None = None,
) -> xr.Dataset:
    """Open all images of a folder as a lazy series on one pixel grid.

    Args:
        path: The folder, or one file. With SAFE products in it, these are the series, see
            :mod:`eolab.data.layouts.sentinel2`.
        bands: Bands of reflectance to read; by default all.
        resolution: Pixel size in units of the images' reference system; by default the finest there is.
        bounds: (xmin, ymin, xmax, ymax) in that reference system; by default all that any image covers.
        dates: First and last day, for example ``["2020-07-01", "2020-10-31"]``; by default all.
        tile: Tile or extent, needed where images are in several reference systems.
        level: ``L1C`` or ``L2A``, needed where there are both.
        resampling: How larger pixels are brought to the grid.
        images: What the catalogue's entry says of files: pattern of names ``files``, and ``bands`` in the
            order of a file's bands; the ``folder`` below the path that holds the images; and the ``date`` of
            images whose names say none.
        true_colour: Whether SAFE products must have, and give, their true-colour images.
        stated: What the entry says of numbers: scale, offset, nodata.

    Returns:
        Those of these that there are: ``reflectance`` (time, band, y, x), ``true_colour`` of 0 to 1
        (time, colour, y, x) and ``indices`` (time, index, y, x), float32, NaN where there is no data; ``scl``
        (time, y, x) uint8, 0 where there is none. Coordinates tile and orbit (time). ``attrs["rejected"]`` is
        a JSON table of files that were left out, and why.

    Raises:
        DataError: If nothing can be used, or the bounds lie outside.
        ParameterError: If a parameter is wrong, or a choice is missing.
    """
    folder = folder_of(Path(path), images)
    if patches.are_meant(images):
        return patches.open_patches(folder, images or {}, stated or {}, bands)
    if holds_products(folder):
        return _of_products(
            folder, bands, resolution, bounds, dates, tile, level, resampling, true_colour, stated
        )
    found, rejected = scan(folder, images, stated)
    found = _choose(found, folder, tile=tile, level=level)
    _check_one_system(found, folder)
    grid = _grid([band.source.grid for item in found for band in item.bands], resolution)
    chosen = [found[number] for number in of_dates([item.time.date() for item in found], folder, dates)]
    window = window_of(grid, bounds, f"the images of {folder}")
    dataset = xr.Dataset(coords=_coordinates(chosen, grid[window]))
    for layer in LAYERS:
        names = _names(chosen, layer, bands)
        if names:
            dataset[layer] = _variable(chosen, layer, names, grid, window, resampling)
            if LAYERS[layer]:
                dataset = dataset.assign_coords({LAYERS[layer]: names})
    dataset = dataset.rio.write_crs(str(grid.crs)).rio.write_transform()
    return dataset.assign_attrs(rejected=json.dumps(rejected))


def layers(
    dataset: xr.Dataset, names: Sequence[str] = ("reflectance", "indices", "true_colour")
) -> list[xr.DataArray]:
    """Return variables of :func:`open_layout` that are there, each with the axis ``band``.

    Args:
        dataset: What was opened.
        names: The variables, of :data:`LAYERS`.
    """
    return [dataset[name].rename({LAYERS[name]: "band"}) for name in names if name in dataset]


def index(
    path: str | Path, images: Mapping[str, Any] | None = None, stated: Mapping[str, float] | None = None
) -> tuple[pd.DataFrame, Rejected]:
    """Return a row an acquisition: time, tile, orbit, level, bands, files; and what was left out."""
    folder = folder_of(Path(path), images)
    if holds_products(folder):
        return _index_of_products(folder)
    found, rejected = scan(folder, images, stated)
    rows = [
        {
            **{key: getattr(item, key) for key in ("time", "tile", "orbit", "level")},
            "bands": " ".join(dict.fromkeys(band.name for band in item.bands)),
            "files": " ".join(item.files),
        }
        for item in found
    ]
    return pd.DataFrame(rows), rejected


def check_layout(
    path: Path,
    progress: bool = True,
    images: Mapping[str, Any] | None = None,
    stated: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Decode every band of every image; return file (below the data set), status and reason."""
    root, path = path, folder_of(path, images)
    if patches.are_meant(images):
        return patches.check_patches(path, images or {}, stated or {}, progress)
    if holds_products(path):
        return sentinel2.check_layout(path, progress)
    found, rejected = scan(path, images, stated)
    bands = [band for item in found for band in item.bands]
    rows = [
        (below(path, band.source.path), _fault(band))
        for band in track(bands, f"reading {path.name}", unit="band", progress=progress)
    ]
    worst = pd.DataFrame(rows, columns=["file", "reason"]).sort_values("reason", ascending=False)
    worst = worst.drop_duplicates("file").sort_values("file")
    table = report(worst.itertuples(index=False), rejected)
    return table if path == root else table.assign(file=f"{below(root, path)}/" + table["file"])


def _fault(band: Band) -> str:
    """Decode a whole band; return why it cannot be used, empty where it can."""
    try:
        with rasterio.Env(**GDAL_OPTIONS), rasterio.open(band.source.path) as image:
            fault = listing.emptiness_of(image, band.layer == "scl", band.source.number)
    except RasterioError:
        return "cannot be decoded"
    return f"{band.name} {fault}" if fault else ""


# === Files ===


def scan(
    path: Path, images: Mapping[str, Any] | None = None, stated: Mapping[str, float] | None = None
) -> tuple[list[Acquisition], Rejected]:
    """Return the acquisitions of a folder by time, from names and headers alone, and what was left out.

    Raises:
        DataError: If the folder does not exist or no image in it can be used.
        ParameterError: If the pattern of names is wrong.
    """
    images, stated = dict(images or {}), dict(stated or {})
    pattern = raster_names.compiled(images["files"]) if images.get("files") else None
    root = path.parent if path.is_file() else path
    files = [path] if path.is_file() else _files(path)
    given = tuple(images.get("bands") or ())
    day = str(images.get("date") or "")
    read = partial(_read_file, root=root, pattern=pattern, given=given, stated=stated, day=day)
    done = list(in_threads(lambda file: attempt(read, file), files, "headers", progress=False))
    rejected = [
        {"file": below(root, file), "reason": reason}
        for file, (_, reason) in zip(files, done, strict=True)
        if reason
    ]
    good = [(file, *one) for file, (one, _) in zip(files, done, strict=True) if one is not None]
    if not good:
        why = f"; {rejected[0]['file']}: {rejected[0]['reason']}" if rejected else ""
        why = why or f": expected {', '.join(ENDINGS)} files, {lies_instead(path, '*.tif', '*.jp2')}"
        raise DataError(f"{path} holds no image that can be used{why}.")
    _warn_of_offsets(good, stated)
    return _together(good, root), rejected


def _files(folder: Path) -> list[Path]:
    """Return the images below a folder by name, hidden ones left out."""
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder: expected one with images, {lies_instead(folder)}.")
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_clutter(name))
        found += [Path(place, name) for name in sorted(names) if name.lower().endswith(ENDINGS)]
    return [file for file in found if not is_clutter(file.name)]


def _read_file(
    file: Path, root: Path, pattern: Any, given: tuple[str, ...], stated: Mapping[str, float], day: str
) -> tuple[Named, list[Band]]:
    """Return what name and header of an image say.

    Raises:
        DataError: If it cannot be used; the message is a reason without the file's name.
    """
    if printable(str(file)) != str(file):
        raise DataError("has a name that is no UTF-8, which GDAL cannot open: rename it")
    named = raster_names.read_name(below(root, file), pattern, day)
    if raster_names.is_other(named.what):
        raise DataError(f"is the layer {named.what}, which is not read")
    with reading(file, errors=(RasterioError,)), rasterio.Env(**GDAL_OPTIONS), rasterio.open(file) as image:
        check_size(file, (image.count, *image.shape), MOST_PIXELS)
        grid = _grid_of(image)
        names, numbers = bands_in(file, image, named, given)
        return named, [
            Band(layer, name, source_in(file, image, number, layer, grid, named, stated))
            for name, number in zip(names, numbers, strict=True)
            for layer in [layer_of(name, named, given)]
        ]


def _grid_of(image: rasterio.DatasetReader) -> GeoBox:
    place = image.transform
    if image.crs is None or place.is_identity:
        raise DataError("has no place on the ground: write reference system and transform into it")
    if place.b or place.d or place.a <= 0 or place.e >= 0:
        raise DataError(
            f"has the grid {tuple(place)[:6]}, expected one that is north-up: warp it with gdalwarp"
        )
    return GeoBox(image.shape, place, image.crs.to_string())


def _warn_of_offsets(good: Sequence[tuple[Path, Named, list[Band]]], stated: Mapping[str, float]) -> None:
    """Warn where reflectance may hold an offset that neither files nor the entry tell."""
    doubtful = [
        (file, CONVENTIONS[named.convention].raw)
        for file, named, bands in good
        if named.convention and CONVENTIONS[named.convention].scale and "offset" not in stated
        if named.time >= safe.OFFSET_SINCE
        if any(band.layer == "reflectance" and band.source.scale == 1e-4 for band in bands)
    ]
    if doubtful:
        file, raw = doubtful[0]
        taken = "-0.1 is added, as to the agency's own numbers" if raw else "none is added"
        warn(
            f"{len(doubtful)} images since 2022-01-25, for example {file.name}, do not say whether "
            f"the offset of -0.1 was added to their reflectance: {taken}. Write `pixels: {{offset: 0}}` or "
            "`pixels: {offset: -0.1}` into the entry of the data catalogue."
        )


# === Acquisitions ===


def _together(good: Sequence[tuple[Path, Named, list[Band]]], root: Path) -> list[Acquisition]:
    """Return acquisitions by time: files of one day, orbit, tile and level laid together."""
    groups: dict[tuple, list[tuple[Path, Named, list[Band]]]] = {}
    for one in good:
        named = one[1]
        groups.setdefault((named.time.date(), named.orbit, named.tile, named.level), []).append(one)
    found = []
    for (_, orbit, tile, level), members in groups.items():
        bands = [band for _, _, bands in members for band in bands]
        bands.sort(key=lambda band: (band.source.grid.transform.a, band.source.path))
        distinct = {(b.layer, b.name, *_extent(b.source.grid)): b for b in reversed(bands)}
        kept = [band for band in bands if distinct[band.layer, band.name, *_extent(band.source.grid)] is band]
        time = min(named.time for _, named, _ in members)
        names = tuple(below(root, file) for file, _, _ in members)
        found.append(Acquisition(time, tile, orbit, level, names, tuple(kept)))
    return sorted(found, key=lambda item: (item.time, item.tile, item.orbit, item.level))


def _extent(grid: GeoBox) -> tuple[float, ...]:
    return tuple(round(edge, 6) for edge in grid.boundingbox)


def _choose(found: list[Acquisition], folder: Path, tile: str | None, level: str | None) -> list[Acquisition]:
    """Return the acquisitions of the tile and level that are asked for."""
    levels = sorted({item.level for item in found if item.level})
    if level is None and len(levels) > 1:
        raise ParameterError(f"{folder} holds the levels {', '.join(levels)}: choose one with level=.")
    for name, value in (("tile", tile), ("level", level)):
        if value:
            known = sorted({getattr(item, name) for item in found})
            check_known(value, known, f"{folder} holds no {name} {value!r}")
            found = [item for item in found if getattr(item, name) == value]
    return found


def of_dates(days: Sequence[date], folder: Path | str, dates: Sequence[str] | None) -> list[int]:
    """Return the numbers of the images, given their days in order, that are asked for."""
    first, last = date_range(dates)
    chosen = [number for number, day in enumerate(days) if first <= day <= last]
    if not chosen:
        span = f"{days[0]} to {days[-1]}"
        raise DataError(f"{folder} holds no image of {first} to {last}; its images are of {span}.")
    return chosen


def date_range(dates: Sequence[str] | None) -> tuple[date, date]:
    """Return the first and the last day that are asked for.

    Raises:
        ParameterError: If they are no two days in order.
    """
    if dates is None:
        return datetime.min.date(), datetime.max.date()
    try:
        first, last = (datetime.fromisoformat(str(day)).date() for day in dates)
    except (TypeError, ValueError):
        first, last = datetime.max.date(), datetime.min.date()
    if first > last:
        raise ParameterError(f"dates is {dates!r}: give the first and the last day, as 2020-07-01.")
    return first, last


def _check_one_system(items: list[Acquisition], folder: Path) -> None:
    """Raise ParameterError if images are in several reference systems."""
    places = {str(b.source.grid.crs): item.tile or item.files[0] for item in items for b in item.bands}
    if len(places) > 1:
        listed = ", ".join(f"{crs} ({places[crs]})" for crs in sorted(places))
        raise ParameterError(
            f"{folder} holds images in {listed}: choose one tile with tile=, or reproject them."
        )


def _grid(grids: Sequence[GeoBox], resolution: float | None) -> GeoBox:
    """Return the pixels that cover all images, in line with those of the finest."""
    finest = min(grids, key=lambda grid: grid.transform.a)
    size = (finest.transform.a, -finest.transform.e)
    if resolution is not None:
        if not resolution > 0:
            raise ParameterError(
                f"resolution is {resolution!r}: give a size above 0, in units of {finest.crs}."
            )
        size = (float(resolution), float(resolution))
    west, north = finest.transform.c, finest.transform.f
    boxes = [grid.boundingbox for grid in grids]
    left, up = (
        np.ceil(round((west - min(box.left for box in boxes)) / size[0], 3)),
        np.ceil(round((max(box.top for box in boxes) - north) / size[1], 3)),
    )
    west, north = west - left * size[0], north + up * size[1]
    width = int(np.ceil(round((max(box.right for box in boxes) - west) / size[0], 3)))
    height = int(np.ceil(round((north - min(box.bottom for box in boxes)) / size[1], 3)))
    return GeoBox((height, width), Affine(size[0], 0, west, 0, -size[1], north), finest.crs)


def _names(items: Sequence[Acquisition], layer: str, wanted: Sequence[str] | None) -> list[str]:
    """Return the names of a layer's bands in order, those that are asked for."""
    held = dict.fromkeys(band.name for item in items for band in item.bands if band.layer == layer)
    known = [name for name in SENTINEL2 if name in held] + [name for name in held if name not in SENTINEL2]
    if layer != "reflectance" or wanted is None:
        return known
    names = [
        raster_names.band_named(name) or name for name in ([wanted] if isinstance(wanted, str) else wanted)
    ]
    check_all(names, known, "The images have no band")
    return names


def _variable(
    items: Sequence[Acquisition],
    layer: str,
    names: Sequence[str],
    grid: GeoBox,
    window: tuple[slice, slice],
    resampling: Resampling,
) -> tuple:
    """Return dims, lazy array and attributes of a layer."""
    classes = layer == "scl"
    sources = [[item.sources(layer, name) for name in names] for item in items]
    array = lazy(sources, grid, window, resampling, "uint8" if classes else "float32")
    if classes:
        return ("time", "y", "x"), array[:, 0], {"long_name": "scene classification", "nodata": 0}
    attrs = {"units": "reflectance"} if layer == "reflectance" else {"units": "1"}
    return ("time", LAYERS[layer], "y", "x"), array, attrs


def _coordinates(items: Sequence[Acquisition], grid: GeoBox) -> dict[str, Any]:
    axes = [grid.coordinates[name].values for name in grid.dimensions]
    return {
        "time": pd.DatetimeIndex([item.time for item in items]).as_unit("ns"),
        "y": axes[0],
        "x": axes[1],
        "tile": ("time", [item.tile for item in items]),
        "orbit": ("time", [item.orbit for item in items]),
    }


# === SAFE products ===


def holds_products(path: Path) -> bool:
    """Return whether a path is, or holds, products in SAFE format."""
    if not path.exists():
        return False
    if path.is_file() and path.suffix.lower() in ENDINGS:
        return False
    found, _ = safe.find_products(path)
    return any(one.is_file() or any(map(safe.PRODUCT_FILE.match, os.listdir(one))) for one in found)


def _index_of_products(folder: Path) -> tuple[pd.DataFrame, Rejected]:
    """Return a row an acquisition of SAFE products, and what was left out."""
    found, rejections = listing.scan(folder)
    rows = [
        {
            "time": item.metadata.time,
            "tile": item.tile,
            "orbit": (_ORBIT.findall(item.product.name) or [""])[0],
            "level": item.level,
            "bands": " ".join(item.bands),
            "files": " ".join(part.product.name for part in item.parts),
        }
        for item in found
    ]
    return pd.DataFrame(rows), listing.relative(rejections, folder)


def _of_products(
    folder: Path,
    bands: Sequence[str] | None,
    resolution: float | None,
    bounds: Bounds | None,
    dates: Sequence[str] | None,
    tile: str | None,
    level: Any,
    resampling: Resampling,
    true_colour: bool,
    stated: Mapping[str, float] | None,
) -> xr.Dataset:
    """Open SAFE products with their own reader."""
    if resolution is not None and resolution != int(resolution):
        raise ParameterError(f"resolution is {resolution!r}: SAFE products are read at 10, 20 or 60.")
    series = sentinel2.open_layout(
        folder,
        bands=bands,
        resolution_m=int(resolution or 10),
        bounds=bounds,
        tile=tile,
        level=level,
        resampling=resampling,
        true_colour=true_colour,
        stated=stated,
    )
    days = pd.DatetimeIndex(series["time"].to_numpy()).date.tolist()
    return series.isel(time=of_dates(days, folder, dates))
