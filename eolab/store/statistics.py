"""Mean and standard deviation of each band over valid positions, in one bounded pass."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from eolab.store.reading import Store

CHUNK_BYTES = 4 << 20  # as float64; a few times as much is held


def training_rows(store: Store) -> np.ndarray:
    """Return the rows of the split ``train``, or all rows of a store without a split column."""
    if "split" not in store.table:
        return np.arange(len(store))
    return np.flatnonzero((store.table["split"] == "train").to_numpy())


def compute(store: Store, rows: np.ndarray, array: str = "image") -> dict[str, Any]:
    """Return statistics of each band of an array over some rows.

    Only finite values count, and only where the array ``valid`` is True if the store has it. Chunks are
    merged by the parallel formula of Chan, Golub and LeVeque (1983, The American Statistician 37, 242–247).

    Args:
        store: The store.
        rows: Rows, ascending.
        array: Name of an array whose last dim is ``band``.

    Returns:
        Lists of one value a band: count, mean, std (population), min, max (NaN where no value counts), and a
        digest of the rows. Empty if the store has no such array.
    """
    spec = store.arrays_spec.get(array)
    if spec is None or spec.dims[-1:] != ("band",):
        return {}
    bands = spec.shape[-1]
    total: tuple[np.ndarray, ...] = (
        np.zeros(bands, np.int64),
        *np.zeros((2, bands)),
        np.full(bands, np.inf),
        np.full(bands, -np.inf),
    )
    step = max(1, CHUNK_BYTES // (8 * math.prod(spec.shape)))
    for start in range(0, len(rows), step):
        total = _merge(total, _chunk(store, array, rows[start : start + step]))
    count, mean, squares, low, high = total
    columns = {"mean": mean, "std": np.sqrt(squares / np.maximum(count, 1)), "min": low, "max": high}
    return {
        "rows": digest(rows),
        "count": count.tolist(),
        **{name: np.where(count == 0, np.nan, values).tolist() for name, values in columns.items()},
    }


def digest(rows: np.ndarray) -> str:
    """Return a digest of row numbers, to notice that a split has changed."""
    return hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()[:16]


def _chunk(store: Store, array: str, rows: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return count, mean, sum of squared deviations, minimum and maximum of a chunk, each (bands,)."""
    data = store.gather(rows, [array, *({"valid"} & set(store.arrays))])
    values = data[array].astype(np.float64)  # (n, …, bands)
    counted = np.isfinite(values)
    if "valid" in data:
        valid = data["valid"].astype(bool)
        counted &= valid.reshape(valid.shape + (1,) * (values.ndim - valid.ndim))
    axes = tuple(range(values.ndim - 1))
    count = counted.sum(axes)
    mean = np.where(counted, values, 0).sum(axes) / np.maximum(count, 1)
    squares = (np.where(counted, values - mean, 0) ** 2).sum(axes)
    low = np.where(counted, values, np.inf).min(axes)
    high = np.where(counted, values, -np.inf).max(axes)
    return count, mean, squares, low, high


def _merge(a: tuple[np.ndarray, ...], b: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    count = a[0] + b[0]
    share = b[0] / np.maximum(count, 1)
    delta = b[1] - a[1]
    mean = a[1] + delta * share
    squares = a[2] + b[2] + delta**2 * a[0] * share
    return count, mean, squares, np.minimum(a[3], b[3]), np.maximum(a[4], b[4])
