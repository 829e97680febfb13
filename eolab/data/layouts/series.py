"""Series of images on one pixel grid, read when they are computed.

A series is a table of sources, for each time and band the files that give it, best first: what the first has
no value for is that of the next. Onto a coarser grid valid pixels are averaged, onto a finer one they are
repeated (or interpolated).
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import dask.array as da
import numpy as np
import rasterio
import xarray as xr
from odc.geo.geobox import GeoBox
from pyproj import CRS
from rasterio.errors import RasterioError
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from eolab.core.errors import DataError, ParameterError, check_known
from eolab.data.layouts.common import scene_classes
from eolab.data.layouts.resample import Axis, Method, axes, resample, taps, touched

Bounds = tuple[float, float, float, float]
Resampling = Literal["nearest", "bilinear"]
CHUNK = 1024
"""Most pixels along a side of a chunk."""

GDAL_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_NUM_THREADS": "1",  # dask's threads read side by side already
    "GDAL_CACHEMAX": 128,  # MB; each window is read once, a large cache only takes memory
}
_ROUNDING = 1e-6  # of a pixel, of coordinates


class Source(NamedTuple):
    """One band of an image file, whose values are number * scale + offset.

    Attributes:
        path: What GDAL opens.
        number: Number of the band in the file, from 1.
        grid: Its pixels, north-up.
        block: Longer side of the blocks that it is best read in.
        nodata: Numbers that stand for no value; NaN always does.
        scale: Factor of the numbers.
        offset: Added after that.
    """

    path: str
    number: int
    grid: GeoBox
    block: int = CHUNK
    nodata: tuple[float, ...] = ()
    scale: float = 1.0
    offset: float = 0.0


def lazy(
    sources: Sequence[Sequence[Sequence[Source]]],
    grid: GeoBox,
    window: tuple[slice, slice],
    resampling: Resampling = "nearest",
    dtype: str = "float32",
    beyond: float = 0.0,
) -> da.Array:
    """Return the array (time, band, y, x) whose chunks are read when they are computed.

    Args:
        sources: Sources of each time and band, best first; none where the time has no such band.
        grid: Pixels of the series.
        window: Rows and columns of them that are wanted.
        resampling: How larger pixels are brought to the grid.
        dtype: "float32" for values, NaN where there is none; "uint8" for classes, taken from the nearest
            pixel, 0 where there is none.
        beyond: How far the outermost pixels of a source reach beyond its edge, in its pixels: images of one
            extent may end up to a pixel apart.
    """
    part = grid[window]
    flat = [source for bands in sources for band in bands for source in band]
    block = max((source.block for source in flat), default=CHUNK)
    step = CHUNK if block > CHUNK else CHUNK // block * block
    rows_columns = (_chunks(one, step) for one in window)
    chunks = ((1,) * len(sources), (1,) * len(sources[0]), *rows_columns)
    read = partial(_read_chunk, sources, part, resampling, dtype, beyond)
    return da.map_blocks(read, chunks=chunks, dtype=dtype, meta=np.empty((0,) * 4, dtype))


def _chunks(window: slice, step: int) -> tuple[int, ...]:
    """Return chunk lengths that end on the file's own blocks, so that no block is decoded twice."""
    edges = [window.start, *range((window.start // step + 1) * step, window.stop, step), window.stop]
    return tuple(np.diff(edges).tolist())


def window_of(grid: GeoBox, bounds: Bounds | None, what: str) -> tuple[slice, slice]:
    """Return the rows and columns of a grid that bounds touch, all of them without bounds.

    Args:
        grid: The grid.
        bounds: (xmin, ymin, xmax, ymax) in its reference system, or in degrees, see :func:`bounds_in`.
        what: What the grid is of, for the error: "the tile".

    Raises:
        ParameterError: If the bounds are no rectangle.
        DataError: If they lie outside.
    """
    if bounds is None:
        return slice(0, grid.height), slice(0, grid.width)
    edges = np.asarray(bounds)
    sound = edges.shape == (4,) and edges.dtype.kind in "iuf" and np.isfinite(edges).all()
    if not sound or edges[0] >= edges[2] or edges[1] >= edges[3]:
        raise ParameterError(
            f"bounds is {bounds}: give (xmin, ymin, xmax, ymax) with xmin < xmax, ymin < ymax."
        )
    rows, columns = touched(grid, bounds_in(grid.crs, bounds))
    if rows.start == rows.stop or columns.start == columns.stop:
        extent = ", ".join(f"{edge:.0f}" for edge in grid.boundingbox)
        raise DataError(f"The bounds {bounds} lie outside {what}, which covers ({extent}) in {grid.crs}.")
    return rows, columns


def bounds_in(crs: Any, bounds: Bounds) -> Bounds:
    """Return bounds in a reference system: those that can be degrees are, where it is one of metres.

    Args:
        crs: The reference system.
        bounds: (xmin, ymin, xmax, ymax).
    """
    system = CRS.from_user_input(str(crs))
    degrees = bool((np.abs(np.asarray(bounds)) <= (180, 90, 180, 90)).all())
    if system.is_geographic or not degrees:
        return bounds
    return transform_bounds("EPSG:4326", system, *bounds)


def of_day(series: xr.Dataset, date: str, what: str) -> int:
    """Return the number of a series' image of a day.

    Args:
        series: The series.
        date: The day, such as 2017-06-13; may be empty where there is one day only.
        what: What the series is of, for the error.

    Raises:
        ParameterError: If there are several days and none is chosen, or there is no image of that day.
    """
    days = [str(day)[:10] for day in series["time"].values]
    if date:
        check_known(date, days, f"{what} has no image of {date!r}")
    elif len(set(days)) > 1:
        raise ParameterError(
            f"{what} holds the days {', '.join(dict.fromkeys(days))}: choose one with date=, or --date."
        )
    return days.index(date or days[0])


def _read_chunk(
    sources: Sequence[Sequence[Sequence[Source]]],
    grid: GeoBox,
    resampling: Resampling,
    dtype: str,
    beyond: float,
    block_info: Any = None,
) -> np.ndarray:
    """Read one chunk (1, 1, y, x) of a series; dask gives ``block_info[None]["array-location"]``."""
    (time, _), (band, _), rows, columns = block_info[None]["array-location"]
    part = grid[slice(*rows), slice(*columns)]
    blank, values = np.nan if dtype == "float32" else 0, None
    for source in sources[time][band]:
        if values is None:
            gaps = np.ones(part.shape, bool)
        else:
            gaps = np.isnan(values) if dtype == "float32" else values == 0
        if not gaps.any():
            break
        where, found = read_part(source, part, resampling, dtype, beyond)
        if values is None and found.shape == part.shape:  # most chunks: one source covers all of it
            values = found
            continue
        values = np.full(part.shape, blank, dtype) if values is None else values
        np.copyto(values[where], found, where=gaps[where])
    return (np.full(part.shape, blank, dtype) if values is None else values)[None, None]


def read_part(
    source: Source, part: GeoBox, resampling: Resampling, dtype: str, beyond: float = 0.0
) -> tuple[tuple[slice, slice], np.ndarray]:
    """Return the rows and columns of an array that a source gives something for, and what it gives there.

    Args:
        source: The source.
        part: Pixels of the array, in the same reference system.
        resampling: How larger pixels are brought to them.
        dtype: "float32" for values, NaN where there is none; "uint8" for classes, 0 where there is none.
        beyond: See :func:`lazy`.

    Raises:
        DataError: If the file cannot be decoded.
    """
    pairs = list(zip(axes(part), axes(source.grid), strict=True))
    y, x = (_covered(target, own, beyond) for target, own in pairs)
    if y.start >= y.stop or x.start >= x.stop:
        return (y, x), np.empty((y.stop - y.start, x.stop - x.start), dtype)
    coarser = part.transform.a > source.grid.transform.a
    classes = dtype == "uint8"
    method: Method = "nearest" if classes else "average" if coarser else resampling
    inner = zip((y, x), pairs, strict=True)
    rows, columns = (taps(_cut(target, one), own, method) for one, (target, own) in inner)
    window = Window(columns.first, rows.first, columns.last - columns.first, rows.last - rows.first)
    numbers = read_window(source.path, window, source.number)
    valid = np.isfinite(numbers) if numbers.dtype.kind == "f" else np.ones(numbers.shape, bool)
    for nodata in source.nodata:
        valid &= numbers != nodata
    found = resample(numbers, valid, rows, columns)
    if classes:
        codes = np.nan_to_num(found).astype(np.uint16)  # NaN is no class either
        found = scene_classes(codes, source.path).astype(np.uint8)
    elif (source.scale, source.offset) != (1, 0):
        found += np.float32(source.offset / source.scale)
        found /= np.float32(1 / source.scale)
    return (y, x), found


def _covered(target: Axis, source: Axis, beyond: float) -> slice:
    """Return the pixels of an axis whose centres lie in another axis, or a little beyond it."""
    centres = (target.start - source.start) / source.step + (np.arange(target.size) + 0.5) * (
        target.step / source.step
    )
    beyond += _ROUNDING
    inside = np.flatnonzero((centres > -beyond) & (centres < source.size + beyond))
    return slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, 0)


def _cut(axis: Axis, part: slice) -> Axis:
    return Axis(axis.start + axis.step * part.start, axis.step, part.stop - part.start)


def read_window(path: str, window: Window, number: int = 1) -> np.ndarray:
    """Decode a window of a band of an image.

    Raises:
        DataError: If it cannot be decoded.
    """
    try:
        with rasterio.Env(**GDAL_OPTIONS), rasterio.open(path) as image:
            return image.read(number, window=window)
    except RasterioError:
        raise DataError(
            f"{path} cannot be decoded although its header is sound: fetch the product again, or "
            "move it out of the folder."
        ) from None
