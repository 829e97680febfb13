"""Periods that composites are made over: months, weeks or any number of days, the same for every scene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from eolab.core.errors import ParameterError


@dataclass(frozen=True)
class Periods:
    """Periods that follow each other without gaps.

    Attributes:
        starts: First day of each period, datetime64[ns] (P,).
        middles: Day in the middle of each period, datetime64[ns] (P,); the time coordinate of composites.
        number: Period of each acquisition (T,), -1 for those outside.
    """

    starts: np.ndarray
    middles: np.ndarray
    number: np.ndarray

    def __len__(self) -> int:
        return len(self.starts)


def periods(times: np.ndarray, period: str, start: str | None = None, end: str | None = None) -> Periods:
    """Cut time into periods and say which of them each acquisition belongs to.

    Without ``start`` and ``end`` the periods cover whole years, from 1 January of the first acquisition's
    year to 31 December of the last one's, so that scenes of the same years share their periods whatever
    their dates. Periods of n days are counted from the start; the last one may be shorter.

    Args:
        times: Acquisition times (T,), datetime64.
        period: A pandas offset such as ``"MS"`` (months), ``"QS"`` (quarters), ``"7D"`` or ``"30D"``.
        start: First day, for example ``"2020-03-01"``.
        end: Last day, included.

    Raises:
        ParameterError: If the period is not an offset, or there is no day between start and end.
    """
    days = np.asarray(times, "datetime64[D]")
    if not len(days) and (start is None or end is None):
        raise ParameterError("There is no acquisition to make composites of: give a start and an end date.")
    first = np.datetime64(start, "D") if start else days.min().astype("datetime64[Y]").astype("datetime64[D]")
    last = (
        np.datetime64(end, "D")
        if end
        else (days.max().astype("datetime64[Y]") + 1).astype("datetime64[D]") - 1
    )
    if last < first:
        raise ParameterError(
            f"The composites would end on {last}, before they start on {first}: swap start and end."
        )
    offset = _offset(period)
    dates = pd.date_range(pd.Timestamp(first), pd.Timestamp(last), freq=offset)
    starts = np.union1d(dates.to_numpy().astype("datetime64[D]"), first)
    ends = np.append(starts[1:], last + 1)
    number = np.searchsorted(starts, days, side="right") - 1
    number[(days < first) | (days > last)] = -1
    middles = starts + (ends - starts) // 2
    return Periods(starts.astype("datetime64[ns]"), middles.astype("datetime64[ns]"), number)


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
