"""Acquisitions chosen from a series, by date or by clearest, once for the whole scene."""

import numpy as np
import xarray as xr
from scipy.optimize import linear_sum_assignment

from eolab.core.errors import ParameterError, check_known
from eolab.data.preprocess.composites import span, within

CHOICES = ("even", "clearest")


def choose_acquisitions(
    series: xr.Dataset, count: int, how: str = "even", start: str | None = None, end: str | None = None
) -> np.ndarray:
    """Choose acquisitions of a series: choose on the whole scene, so that all its windows have the same.

    Args:
        series: Series with a coordinate ``time``, and ``clear (time, y, x)`` bool for the clearest, which is
            read a chunk at a time.
        count: How many; 0 for all. Where there are fewer, all are returned.
        how: ``"even"``: as evenly spread as possible, that is with the least sum of squared distances in
            days from ``count`` dates of equal distance between the first and the last acquisition.
            ``"clearest"``: those with the largest share of clear pixels, the earlier of two equal ones.
        start: First day, see :func:`eolab.data.preprocess.span`.
        end: Last day, included.

    Returns:
        Their times in order (n,), datetime64[ns].

    Raises:
        ParameterError: If `how` is unknown, the count negative, or no acquisition lies between the days.
    """
    check_known(how, CHOICES, f"Acquisitions cannot be chosen by {how!r}")
    if count < 0:
        raise ParameterError(f"{count} acquisitions cannot be chosen: give a number from 1, or 0 for all.")
    ordered = series.sortby("time")
    times = ordered["time"].to_numpy().astype("datetime64[ns]")
    inside = np.flatnonzero(within(times, *span(times, start, end)))
    if not 0 < count < len(inside):
        return times[inside]
    if how == "even":
        seconds = times[inside].astype("datetime64[s]").astype(np.float64)
        wanted = (
            np.linspace(seconds[0], seconds[-1], count) if count > 1 else seconds[[0, -1]].mean(keepdims=True)
        )
        _, chosen = linear_sum_assignment((wanted[:, None] - seconds) ** 2)
    else:
        share = ordered["clear"].isel(time=inside).mean(("y", "x")).to_numpy()
        chosen = np.argsort(-share, kind="stable")[:count]
    return times[inside[np.sort(chosen)]]
