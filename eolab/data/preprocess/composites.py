"""Cloud masks, and composites over months, weeks or any number of days, the same for every scene."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from eolab.core.errors import ParameterError, check_known
from eolab.data.preprocess.median import bounds, median

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
    check_known(reducer, REDUCERS, f"There is no reducer {reducer!r}")
    if period == "none":
        days = image["time"].to_numpy().astype("datetime64[D]")
        first, last = np.datetime64(start or "0001-01-01", "D"), np.datetime64(end or "9999-12-31", "D")
        inside = np.flatnonzero((days >= first) & (days <= last))
        image, clear = image.isel(time=inside), clear.isel(time=inside)
        times, number = image["time"].to_numpy(), np.arange(image.sizes["time"])
    else:
        times, number = periods(image["time"].to_numpy(), period, start, end)
    groups = [np.flatnonzero(number == p) for p in range(len(times))]
    options = {"groups": groups, "reducer": reducer, "nodata": image.attrs.get("nodata")}
    reduced, valid = along_time(reduce_groups, image, clear, len(times), **options)
    keep = {name: c for name, c in image["time"].coords.items() if period == "none"}
    reduced, valid = (array.assign_coords({"time": times, **keep}) for array in (reduced, valid))
    reduced.attrs = {key: value for key, value in image.attrs.items() if key != "nodata"}
    valid.attrs = {"long_name": "observed in the period"}
    return reduced.rename(image.name), valid.rename("valid")


def periods(
    times: np.ndarray, period: str, start: str | None = None, end: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Cut time into periods that follow each other, and say which of them each acquisition belongs to.

    Without ``start`` and ``end`` the periods cover whole years, from 1 January of the first acquisition's
    year to 31 December of the last one's, so that scenes of the same years share their periods whatever
    their dates. Periods of n days are counted from the start; the last one may be shorter.

    Args:
        times: Acquisition times (T,), datetime64.
        period: A pandas offset such as ``"MS"`` (months), ``"QS"`` (quarters), ``"7D"`` or ``"30D"``.
        start: First day, for example ``"2020-03-01"``.
        end: Last day, included.

    Returns:
        Day in the middle of each period, datetime64[ns] (P,), the time coordinate of composites; and the
        number of the period of each acquisition (T,), -1 for those outside.

    Raises:
        ParameterError: If the period is not an offset, or there is no day between start and end.
    """
    days = np.asarray(times, "datetime64[D]")
    if not len(days) and (start is None or end is None):
        raise ParameterError("There is no acquisition to make composites of: give a start and an end date.")
    first = np.datetime64(start or f"{days.min().astype('datetime64[Y]')}-01-01", "D")
    last = np.datetime64(end or f"{days.max().astype('datetime64[Y]')}-12-31", "D")
    if last < first:
        raise ParameterError(
            f"The composites would end on {last}, before they start on {first}: swap start and end."
        )
    dates = pd.date_range(pd.Timestamp(first), pd.Timestamp(last), freq=_offset(period))
    starts = np.union1d(dates.to_numpy().astype("datetime64[D]"), first)
    ends = np.append(starts[1:], last + 1)
    number = np.searchsorted(starts, days, side="right") - 1
    number[(days < first) | (days > last)] = -1
    return (starts + (ends - starts) // 2).astype("datetime64[ns]"), number


def _offset(period: str) -> pd.tseries.offsets.BaseOffset:
    """Return the pandas offset of a period of a day or more."""
    try:
        offset = pd.tseries.frequencies.to_offset(period)
        long_enough = pd.Timestamp("2021-01-01") + offset >= pd.Timestamp("2021-01-02")
    except (ValueError, TypeError):
        long_enough = False
    if not long_enough:
        raise ParameterError(
            f"{period!r} is not a period: use 'none', 'MS' (months), 'QS' (quarters) or days such as '30D'."
        )
    return offset


def along_time(
    function: Callable[..., tuple[np.ndarray, np.ndarray]],
    image: xr.DataArray,
    mask: xr.DataArray,
    dates: int,
    **options: Any,
) -> tuple[xr.DataArray, xr.DataArray]:
    """Run a function on all dates and bands of each pixel, lazily on dask chunks in y and x.

    Args:
        function: Takes the image (time, band, y, x), the mask (time, y, x) and the options as NumPy arrays,
            and returns two arrays with these axes: float32 and bool.
        image: Image with these four dims.
        mask: Mask with these three dims.
        dates: Length of the results along ``time``.
        **options: Further arguments of the function.

    Returns:
        What the function returns, without coordinates along ``time``.
    """
    if image.chunks is not None or mask.chunks is not None:
        image = image.chunk(time=-1, band=-1)
        mask = mask.chunk({"time": -1, "y": image.chunksizes["y"], "x": image.chunksizes["x"]})

    def core_last(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Call the function on (y, x, time, band) and (y, x, time), the axes of apply_ufunc; no copies."""
        values, marks = function(image.transpose(2, 3, 0, 1), mask.transpose(2, 0, 1), **options)
        return values.transpose(2, 3, 0, 1), marks.transpose(1, 2, 0)

    dims = [["time", "band"], ["time"]]
    values, marks = xr.apply_ufunc(
        core_last,
        image.transpose("y", "x", ...),
        mask.transpose("y", "x", ...),
        input_core_dims=dims,
        output_core_dims=dims,
        exclude_dims={"time"},
        dask="parallelized",
        output_dtypes=[np.float32, bool],
        dask_gufunc_kwargs={"output_sizes": {"time": dates}},
    )
    return values.transpose("time", "band", "y", "x"), marks.transpose("time", "y", "x")


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
    height, width = image.shape[2:]
    rows = max(1, TILE_PIXELS // max(width, 1))
    for top in range(0, height, rows):
        part = slice(top, top + rows)
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


REDUCERS: dict[str, Reducer] = {"median": _median, "mean": _mean}
