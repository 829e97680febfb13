"""Gaps in series: values for dates without observation, always told apart from observed ones."""

import numpy as np
import xarray as xr

from eolab.core.errors import ParameterError, check_known
from eolab.data.preprocess.composites import along_time

METHODS = ("none", "linear", "nearest")


def fill_gaps(
    image: xr.DataArray, valid: xr.DataArray, method: str = "linear"
) -> tuple[xr.DataArray, xr.DataArray]:
    """Fill dates without observation from the observed dates around them.

    Before the first and after the last observation the nearest one is held. A pixel without any observation
    stays NaN. What counts as observed does not change: keep ``valid`` beside the result.

    Args:
        image: (time, band, y, x) float; whatever stands where ``valid`` is False is not used.
        valid: (time, y, x) bool, True where observed.
        method: ``"linear"`` in days between two observations, ``"nearest"`` date (the earlier of two equally
            near), or ``"none"`` for NaN.

    Returns:
        The image, float32, and ``filled`` (time, y, x), True where a value is not an observation.

    Raises:
        ParameterError: If the method is unknown or the dates are not in order.
    """
    check_known(method, METHODS, f"There is no way {method!r} to fill gaps")
    days = image["time"].to_numpy().astype("datetime64[D]").astype(np.int64)
    if (np.diff(days) < 0).any():
        raise ParameterError(
            "Gaps can only be filled in a series in order of time: sort it with sortby('time')."
        )
    result, filled = along_time(fill, image, valid, len(days), days=days, method=method)
    result, filled = (array.assign_coords(image["time"].coords) for array in (result, filled))
    filled.attrs = {"long_name": "filled, not observed"}
    result.attrs = dict(image.attrs)
    return result.rename(image.name), filled.rename("filled")


def fill(
    image: np.ndarray, valid: np.ndarray, days: np.ndarray, method: str
) -> tuple[np.ndarray, np.ndarray]:
    """Fill gaps of (T, B, Y, X) where (T, Y, X) is False; see :func:`fill_gaps`.

    Args:
        image: Values, float.
        valid: True where observed.
        days: (T,) days, not decreasing.
        method: One of ``METHODS``.
    """
    result = np.where(valid[:, None], image, np.float32(np.nan)).astype(np.float32, copy=False)
    if method == "none":
        return result, np.zeros_like(valid)
    before, after = _neighbours(valid)
    filled = ~valid & (before >= 0)  # (T, Y, X); False where the pixel was never observed
    for t in range(len(days)):
        where = filled[t]
        if where.any():
            b, a = before[t][where], after[t][where]
            since, between = days[t] - days[b], days[a] - days[b]
            share = np.divide(since, between, out=np.zeros(len(since)), where=between > 0)
            weight = (share if method == "linear" else share > 0.5).astype(np.float32)  # of the later one
            y, x = np.nonzero(where)
            for band in range(image.shape[1]):
                old, new = image[b, band, y, x], image[a, band, y, x]
                result[t, band, y, x] = old * (1 - weight) + new * weight
    return result, filled


def _neighbours(valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the date index of the last observation before and the next after each date, (T, Y, X).

    Where there is none on one side it is the one on the other side; -1 where there is none at all.
    """
    total = len(valid)
    number = np.arange(total, dtype=np.int32)[:, None, None]
    before = np.maximum.accumulate(np.where(valid, number, np.int32(-1)), axis=0)
    after = np.minimum.accumulate(np.where(valid, number, np.int32(total))[::-1], axis=0)[::-1]
    none_before, none_after = before < 0, after == total
    before = np.where(none_before, after, before)
    after = np.where(none_after, before, after)
    return np.where(before == total, -1, before), np.where(after == total, -1, after)
