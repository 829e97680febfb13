"""Mean and standard deviation of each band over the valid positions of a store, in one bounded pass."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from eolab.data.statistics import RunningStatistics

if TYPE_CHECKING:
    from eolab.data.store.reading import Store

CHUNK_BYTES = 4 << 20  # as float64; a few times as much is held


def training_rows(store: Store) -> np.ndarray:
    """Return the rows of the split ``train``, or all rows of a store without a split column."""
    if "split" not in store.table:
        return np.arange(len(store))
    return np.flatnonzero((store.table["split"] == "train").to_numpy())


def compute(store: Store, rows: np.ndarray, array: str = "image", dim: str = "band") -> dict[str, Any]:
    """Return statistics of each band of an array over some rows.

    Only finite values count, and only where the array ``valid`` is True if the store has it.

    Args:
        store: The store.
        rows: Rows, ascending.
        array: Name of an array.
        dim: Name of its last dim.

    Returns:
        Lists of one value a band: count, mean, std (population), min, max (NaN where no value counts), and a
        digest of the rows. Empty if the store has no such array.
    """
    spec = store.arrays_spec.get(array)
    if spec is None or spec.dims[-1:] != (dim,):
        return {}
    bands = spec.shape[-1]
    names = [array, *(name for name in ("valid",) if name in store.arrays_spec)]
    running = RunningStatistics(bands)
    for _, data in store.batches(rows, names, max(1, CHUNK_BYTES // (8 * math.prod(spec.shape)))):
        values = data[array]  # (n, …, bands)
        if "valid" in data:
            values = values[data["valid"].astype(bool)]  # (observed, …, bands)
        running.update(values.reshape(-1, bands).T)
    table = running.table([str(n) for n in range(bands)])
    return {"rows": digest(rows), **{str(name): table[name].tolist() for name in table}}


def digest(rows: np.ndarray) -> str:
    """Return a digest of row numbers, to notice that a split has changed."""
    return hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()[:16]
