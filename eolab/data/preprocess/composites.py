"""Cloud masks, and composites over months, weeks or any number of days, the same for every scene."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
from dask.base import tokenize
from scipy import ndimage

from eolab.core.errors import ParameterError, check_known
from eolab.data.preprocess.median import bounds, median

TILE_PIXELS = 16384  # pixels reduced together: the T rows of one tile stay in the processor's cache

CLOUDS = (3, 8, 9, 10)
"""Codes of the scene classification that a buffer is laid around: cloud shadow, cloud, thin cirrus."""

Reducer = Callable[[np.ndarray, np.ndarray], np.ndarray]


def clear_mask(scl: xr.DataArray, keep: Sequence[int] = (4, 5, 6, 7), buffer_px: int = 0) -> xr.DataArray:
    """Return where the scene classification sees the ground.

    Args:
        scl: Sentinel-2 scene classification, codes 0 to 11, any shape; (…, y, x) with a buffer.
        keep: Codes that count as clear; by default vegetation, bare soil, water and unclassified. Add 11
            to keep snow.
        buffer_px: Pixels around clouds, cirrus and cloud shadows (as far as their codes are not kept) that
            are not clear either, see :func:`dilated`. There is none around nodata, water or snow.

    Returns:
        bool array of the same shape; lazy where the classification is.
    """
    clear = scl.isin(np.asarray(tuple(keep), np.uint8))
    if buffer_px:
        clouds = scl.isin(np.asarray([code for code in CLOUDS if code not in keep], np.uint8))
        clear &= ~dilated(clouds, buffer_px)
    clear.attrs = {"long_name": "clear observation", "scl_codes": ", ".join(map(str, keep))}
    clear.attrs |= {"buffer_px": buffer_px} if buffer_px else {}
    return clear.rename("clear")


def dilated(mask: xr.DataArray, pixels: int) -> xr.DataArray:
    """Return where a mask is True, or is so up to some pixels away in any of the eight directions.

    Lazy where the mask is: chunks are computed with a margin of their neighbours, so a window of the result
    is the result of the whole. Outside the mask nothing is True.

    Args:
        mask: bool (…, y, x).
        pixels: Number of pixels, 0 or more.
    """
    grow = partial(_dilate, pixels=pixels)
    if mask.chunks is None:
        return mask.copy(data=grow(mask.to_numpy()))
    margin = {axis: pixels if axis >= mask.ndim - 2 else 0 for axis in range(mask.ndim)}
    return mask.copy(
        data=mask.data.map_overlap(grow, depth=margin, boundary=0, dtype=bool, meta=mask.data._meta)
    )


def _dilate(mask: np.ndarray, pixels: int) -> np.ndarray:
    """Dilate the last two axes by a square of 2 · pixels + 1."""
    found = mask.view(np.uint8)
    for axis in (-2, -1):
        found = ndimage.maximum_filter1d(found, 2 * pixels + 1, axis=axis, mode="constant")
    return found.view(bool)


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
        start: First day, as in :func:`span`.
        end: Last day, included, likewise.

    Returns:
        The composites (time, band, y, x) float32, NaN where nothing was observed, and ``valid`` (time, y, x),
        True where something was. ``time`` is the middle day of each period. Lazy where the image is: memory
        grows with the chunks in y and x, which hold all dates and bands of their pixels.

    Raises:
        ParameterError: If the period or reducer is unknown.
    """
    check_known(reducer, REDUCERS, f"There is no reducer {reducer!r}")
    if period == "none":
        inside = np.flatnonzero(within(image["time"].to_numpy(), *span(image["time"].to_numpy(), start, end)))
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
    their dates. Periods of n days are counted from the start; the last one may be shorter. 29 February is
    not counted, it belongs to the period of the day before: periods are as many in every year.

    Args:
        times: Acquisition times (T,), datetime64.
        period: A pandas offset such as ``"10D"``, ``"MS"`` (months) or ``"QS"`` (quarters, from 1 January).
            The seasons of meteorology are ``"QS-DEC"``: in a calendar year the winter is two periods,
            January to February and December; from 1 December to 30 November it is one.
        start: First day, as in :func:`span`.
        end: Last day, included, likewise.

    Returns:
        Day in the middle of each period, datetime64[ns] (P,), the time coordinate of composites; and the
        number of the period of each acquisition (T,), -1 for those outside.

    Raises:
        ParameterError: If the period is not an offset, there is no day between start and end, or no
            acquisition lies there.
    """
    days = np.asarray(times, "datetime64[D]")
    first, last = span(days, start, end)
    offset = _offset(period)
    if isinstance(offset, pd.offsets.Day):
        calendar = np.arange(first, last + 1)
        dates = pd.DatetimeIndex(calendar)
        counted = calendar[(dates.month != 2) | (dates.day != 29)]
        starts = np.append(first, counted[offset.n :: offset.n])
    else:
        dates = pd.date_range(pd.Timestamp(first), pd.Timestamp(last), freq=offset)
        starts = np.union1d(dates.to_numpy().astype("datetime64[D]"), first)
    ends = np.append(starts[1:], last + 1)
    number = np.searchsorted(starts, days, side="right") - 1
    number[~within(days, first, last)] = -1
    return (starts + (ends - starts) // 2).astype("datetime64[ns]"), number


def span(
    times: np.ndarray, start: str | None = None, end: str | None = None
) -> tuple[np.datetime64, np.datetime64]:
    """Return the first and the last day of composites of some acquisitions, both included.

    Args:
        times: Acquisition times (T,), datetime64.
        start: First day: a date such as ``"2018-10-01"``, or a day of the year such as ``"03-01"``, which is
            that of the first acquisition's year; by default 1 January of that year.
        end: Last day likewise, in the last acquisition's year; by default 31 December.

    Raises:
        ParameterError: If a day is none, the end is before the start, or no acquisition lies between them.
    """
    days = np.asarray(times, "datetime64[D]")
    if not len(days):
        raise ParameterError("There is no acquisition to make composites of: give a series with dates.")
    years = [int(str(day)[:4]) for day in (days.min(), days.max())]
    first, last = (
        day(text or usual, year)
        for text, usual, year in zip((start, end), ("01-01", "12-31"), years, strict=True)
    )
    if last < first:
        raise ParameterError(
            f"The composites would end on {last}, before they start on {first}: swap start and end, or give "
            "dates with their years, such as '2018-10-01' and '2019-09-30'."
        )
    if not within(days, first, last).any():
        raise ParameterError(
            f"None of the {len(days)} acquisitions from {days.min()} to {days.max()} lies between start "
            f"{first} and end {last}: choose another start and end, or days of every year such as '03-01'."
        )
    return first, last


def day(text: str, year: int) -> np.datetime64:
    """Return a date such as ``"2018-10-01"``, or a day such as ``"03-01"`` of a year, as datetime64[D].

    29 February is the 28th in a year without it.

    Raises:
        ParameterError: If the text is neither.
    """
    if text == "02-29" and not pd.Timestamp(year, 1, 1).is_leap_year:
        text = "02-28"
    try:
        if not re.fullmatch(r"(\d{4}-)?\d\d-\d\d", text):
            raise ValueError
        return np.datetime64(text if len(text) > 5 else f"{year:04}-{text}", "D")
    except ValueError:
        raise ParameterError(
            f"{text!r} is no day: give a date such as '2020-03-31', or '03-31' for that day of each year."
        ) from None


def within(times: np.ndarray, first: np.datetime64, last: np.datetime64) -> np.ndarray:
    """Return which acquisitions lie from the first to the last day, bool (T,)."""
    days = np.asarray(times, "datetime64[D]")
    return (days >= first) & (days <= last)


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
    image, mask = xr.align(image, mask, join="exact", exclude={"time"})
    image, mask = image.transpose("time", "band", "y", "x"), mask.transpose("time", "y", "x")
    if image.chunks is None and mask.chunks is None:
        pair = function(image.to_numpy(), mask.to_numpy(), **options)
    else:  # apply_ufunc would copy each chunk into another order, pixels first
        images = da.asarray(image.data).rechunk({0: -1, 1: -1}, method="tasks")
        masks = da.asarray(mask.data).rechunk((-1, *images.chunks[2:]), method="tasks")[:, None]
        block, chunks = np.empty((0,) * 4, np.float32), ((dates,), *images.chunks[1:])

        def paired(values: np.ndarray, marks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            values, marks = function(values, marks[:, 0], **options)
            return values, marks[:, None]

        name = f"{function.__name__}-{tokenize(function, dates, images, masks, options)}"
        both = da.map_blocks(paired, images, masks, name=name, chunks=chunks, meta=block)
        values = both.map_blocks(itemgetter(0), meta=block)
        of_one = chunks[0], (1,), *chunks[2:]
        marks = both.map_blocks(itemgetter(1), chunks=of_one, meta=block.astype(bool))[:, 0]
        pair = values, marks
    found = []
    for data, dims in zip(pair, (image.dims, mask.dims), strict=True):
        others = [name for name, c in image.coords.items() if not {*c.dims} <= {*dims[1:]}]
        found.append(xr.DataArray(data, image.coords.drop_vars(others), dims))
    return found[0], found[1]


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
