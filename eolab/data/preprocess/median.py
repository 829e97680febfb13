"""Median over time of many pixels at once, by a sorting network.

A sorting network orders T values by a fixed list of compare-and-swap steps. Each step is one minimum and one
maximum of whole rows of pixels, which NumPy runs as vector instructions, so no pixel is sorted on its own.
The network is Batcher's odd-even merge sort (Batcher 1968, https://doi.org/10.1145/1468075.1468121), cut down
to the steps that the median depends on.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np

Step = tuple[int, int, bool, bool]  # rows i < j; whether the minimum (to i) and the maximum (to j) are needed


def bounds(valid: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Return between which bounds to clip values so that missing ones leave the median in the middle.

    Values that are present are not touched; missing ones become by turns the highest and the lowest value of
    the type. With n values present of T, the median of those present is then found in the sorted column at
    ``T // 2 - 1`` and ``T // 2``. Clipping is several times faster than selecting by mask.

    Args:
        valid: (T, N) bool, False where a value is missing.
        dtype: Type of the values: unsigned integers or floats.

    Returns:
        Upper and lower bounds, (T, N) of that type.
    """
    odd = ~valid
    for t in range(1, len(odd)):
        odd[t] ^= odd[t - 1]  # whether the number of missing values so far is odd
    lowest, highest = ~valid & ~odd, ~valid & odd
    if np.issubdtype(dtype, np.floating):
        top = np.finfo(dtype).max
        return (1 - 2 * lowest.astype(dtype)) * top, (2 * highest.astype(dtype) - 1) * top
    top = np.iinfo(dtype).max
    return (~lowest).astype(dtype) * top, highest.astype(dtype) * top


def median(rows: Sequence[np.ndarray], present: np.ndarray) -> np.ndarray:
    """Return the median of T rows whose missing values are clipped to :func:`bounds`; changes the rows.

    Args:
        rows: T arrays (N,) of one type.
        present: (N,) how many values of each column are not missing.

    Returns:
        (N,) float32: the middle value, or the mean of the two middle ones as in NumPy; NaN where none.
    """
    total = len(rows)
    sorted_rows = list(rows)
    spare = np.empty_like(rows[0])
    for i, j, low, high in network(total):
        a, b = sorted_rows[i], sorted_rows[j]
        if low:
            np.minimum(a, b, out=spare)
        if high:
            np.maximum(a, b, out=b)
        if low:
            sorted_rows[i], spare = spare, a
    lower, upper = (sorted_rows[k].astype(np.float32) for k in (max(total // 2 - 1, 0), total // 2))
    single = upper if total % 2 else lower
    with np.errstate(over="ignore"):
        mean = (lower + upper) * np.float32(0.5)
    return np.where(present == 0, np.float32(np.nan), np.where(present % 2 == 1, single, mean))


@lru_cache(maxsize=512)
def network(total: int) -> tuple[Step, ...]:
    """Return the steps that bring the values of ranks ``total // 2 - 1`` and ``total // 2`` to their rows."""
    size = 1 << max(total - 1, 0).bit_length()
    needed = {max(total // 2 - 1, 0), total // 2}
    steps: list[Step] = []
    for i, j in reversed([(i, j) for i, j in _batcher(size) if j < total]):
        low, high = i in needed, j in needed
        if low or high:
            steps.append((i, j, low, high))
            needed |= {i, j}
    return tuple(reversed(steps))


def _batcher(size: int) -> Iterator[tuple[int, int]]:
    """Yield the comparators of the odd-even merge sort of ``size`` rows, a power of two."""
    p = 1
    while p < size:
        k = p
        while k >= 1:
            for j in range(k % p, size - k, 2 * k):
                for i in range(j, j + min(k, size - j - k)):
                    if i // (2 * p) == (i + k) // (2 * p):
                        yield i, i + k
            k //= 2
        p *= 2
