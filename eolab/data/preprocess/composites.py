"""Cloud masks and composites over time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr

from eolab.core.errors import ParameterError, did_you_mean
from eolab.data.preprocess.median import bounds, median
from eolab.data.preprocess.periods import periods

TILE_PIXELS = 16384  # pixels reduced together: the T rows of one tile stay in the processor's cache

Reducer = Callable[[np.ndarray, np.ndarray], np.ndarray]


def clear_mask(scl: xr.DataArray, keep: Sequence[int] = (4, 5, 6, 7)) -> xr.DataArray:
    """Return where the scene classification sees the ground.

    Args:
        scl: Sentinel-2 scene classification, codes 0 to 11, any shape.
        keep: Codes that count as clear; by default vegetation, bare soil, water and unclassified. Add 11
            to keep snow.

    Returns:
        bool array of the same shape.
    """
    clear = scl.isin(np.asarray(tuple(keep), np.uint8)).rename("clear")
    clear.attrs = {"long_name": "clear observation", "scl_codes": ", ".join(map(str, keep))}
    return clear


def composite(
    image: xr.DataArray,
    clear: xr.DataArray,
    period: str = "MS",
    reducer: str = "median",
    start: str | None = None,
    end: str | None = None,
) -> tuple[xr.DataArray, xr.DataArray]:
    """Combine the clear observations of each period into one image.

    An observation counts where it is clear and finite in every band (for integers: where no band holds
    ``image.attrs["nodata"]``, if that is set). Integers stay integers until the result; all dates must then
    share scale and offset.

    Args:
        image: (time, band, y, x), float or integer.
        clear: (time, y, x) bool.
        period: ``"MS"``, ``"30D"``… as in :func:`eolab.data.preprocess.periods`, or ``"none"`` to keep every
            acquisition.
        reducer: ``"median"`` (of an even number the mean of the two middle values) or ``"mean"``.
        start: First day; by default 1 January of the first year.
        end: Last day, included; by default 31 December of the last year.

    Returns:
        The composites (time, band, y, x) float32, NaN where nothing was observed, and ``valid`` (time, y, x),
        True where something was. ``time`` is the middle day of each period. Lazy where the image is: memory
        grows with the chunks in y and x, which hold all dates and bands of their pixels.

    Raises:
        ParameterError: If the period or reducer is unknown.
    """
    if reducer not in REDUCERS:
        raise ParameterError(f"There is no reducer {reducer!r}: {did_you_mean(reducer, REDUCERS)}")
    image = image.transpose("time", "band", "y", "x")
    clear = clear.transpose("time", "y", "x")
    if period == "none":
        image, clear = (between(array, start, end) for array in (image, clear))
        times, number = image["time"].to_numpy(), np.arange(image.sizes["time"])
    else:
        cut = periods(image["time"].to_numpy(), period, start, end)
        times, number = cut.middles, cut.number
    groups = [np.flatnonzero(number == p) for p in range(len(times))]
    options = {"groups": groups, "reducer": reducer, "nodata": image.attrs.get("nodata")}
    reduced, valid = _apply(image, clear, options)
    keep = {name: c for name, c in image["time"].coords.items() if period == "none"}
    reduced, valid = (array.assign_coords({"time": times, **keep}) for array in (reduced, valid))
    reduced.attrs = {key: value for key, value in image.attrs.items() if key != "nodata"}
    valid.attrs = {"long_name": "observed in the period"}
    return reduced.rename(image.name), valid.rename("valid")


def between(series: Any, start: str | None, end: str | None) -> Any:
    """Return the acquisitions of a DataArray or Dataset from day ``start`` to day ``end``, both included."""
    days = series["time"].to_numpy().astype("datetime64[D]")
    inside = np.ones(len(days), bool)
    if start:
        inside &= days >= np.datetime64(start, "D")
    if end:
        inside &= days <= np.datetime64(end, "D")
    return series.isel(time=np.flatnonzero(inside))


def _apply(
    image: xr.DataArray, clear: xr.DataArray, options: dict[str, Any]
) -> tuple[xr.DataArray, xr.DataArray]:
    """Run :func:`reduce_groups` on arrays or on dask chunks that hold all dates and bands of their pixels."""
    if image.chunks is not None or clear.chunks is not None:
        image = image.chunk(time=-1, band=-1)
        clear = clear.chunk({"time": -1, "y": image.chunksizes["y"], "x": image.chunksizes["x"]})
    sizes = {"period": len(options["groups"])}
    reduced, valid = xr.apply_ufunc(
        _core_last,
        image,
        clear,
        kwargs=options,
        input_core_dims=[["time", "band"], ["time"]],
        output_core_dims=[["period", "band"], ["period"]],
        dask="parallelized",
        output_dtypes=[np.float32, bool],
        dask_gufunc_kwargs={"output_sizes": sizes},
    )
    return (
        reduced.rename(period="time").transpose("time", "band", "y", "x"),
        valid.rename(period="time").transpose("time", "y", "x"),
    )


def _core_last(image: np.ndarray, clear: np.ndarray, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """Reduce (y, x, time, band) and (y, x, time), the axis order of ``apply_ufunc``; views, no copies."""
    reduced, valid = reduce_groups(image.transpose(2, 3, 0, 1), clear.transpose(2, 0, 1), **options)
    return reduced.transpose(2, 3, 0, 1), valid.transpose(1, 2, 0)


def reduce_groups(
    image: np.ndarray,
    clear: np.ndarray,
    groups: Sequence[np.ndarray],
    reducer: str = "median",
    nodata: float | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Reduce groups of dates.

    Args:
        image: (T, B, Y, X).
        clear: (T, Y, X) bool.
        groups: Indices of the dates of each of the P results.
        reducer: Name in ``REDUCERS``.
        nodata: Value that marks missing integers.

    Returns:
        (P, B, Y, X) float32, NaN where no observation counts, and (P, Y, X) bool.
    """
    reduced = np.full((len(groups), *image.shape[1:]), np.nan, np.float32)
    valid = np.zeros((len(groups), *image.shape[2:]), bool)
    for part in _tiles(*image.shape[2:]):
        tile = image[:, :, part]
        seen = _observed(tile, clear[:, part], nodata)  # (T, y, x)
        for p, dates in enumerate(groups):
            if len(dates) == 1:
                t = dates[0]
                valid[p, part] = seen[t]
                reduced[p, :, part] = np.where(seen[t], tile[t], np.float32(np.nan))
            elif len(dates):
                valid[p, part] = seen[dates].any(axis=0)
                reduced[p, :, part] = REDUCERS[reducer](_pick(tile, dates), seen[dates])
    return reduced, valid


def _pick(tile: np.ndarray, dates: np.ndarray) -> np.ndarray:
    """Return some dates of a tile; a view where they follow each other."""
    first, last = int(dates[0]), int(dates[-1])
    return tile[first : last + 1] if last - first + 1 == len(dates) else tile[dates]


def _median(tile: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return the median over time (B, y, x) of (t, B, y, x) where (t, y, x) is True."""
    if tile.dtype.kind not in "uf":
        tile = tile.astype(np.float64)
    present = seen.sum(axis=0, dtype=np.int32)
    upper, lower = bounds(seen, tile.dtype)
    result = np.empty(tile.shape[1:], np.float32)
    for band in range(tile.shape[1]):
        rows = [np.fmin(tile[t, band], upper[t]) for t in range(len(seen))]  # NaN becomes the bound
        for row, low in zip(rows, lower, strict=True):
            np.maximum(row, low, out=row)
        result[band] = median(rows, present)
    return result


def _mean(tile: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return the mean over time, likewise; summed in double precision."""
    total = np.zeros(tile.shape[1:])
    for t in range(len(seen)):
        total += np.where(seen[t], tile[t], 0)
    present = seen.sum(axis=0)
    return np.where(present, total / np.maximum(present, 1), np.nan).astype(np.float32)


def _observed(tile: np.ndarray, clear: np.ndarray, nodata: float | None) -> np.ndarray:
    """Return where an observation counts: clear, and no band missing."""
    if np.issubdtype(tile.dtype, np.floating):
        return clear & np.isfinite(tile).all(axis=1)
    return clear if nodata is None else clear & (tile != nodata).all(axis=1)


def _tiles(height: int, width: int) -> Iterator[slice]:
    """Yield slices of rows that hold some thousands of pixels each."""
    step = max(1, TILE_PIXELS // max(width, 1))
    for top in range(0, height, step):
        yield slice(top, top + step)


REDUCERS: dict[str, Reducer] = {"median": _median, "mean": _mean}
