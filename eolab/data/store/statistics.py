"""Mean and standard deviation of each band over the valid positions of a store, in one bounded pass."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from eolab.data.store.reading import Store

CHUNK_BYTES = 4 << 20  # as float64; a few times as much is held


class RunningStatistics:
    """Count, mean, variance, minimum and maximum of each band, chunk after chunk.

    Chunks are merged by the formula of Chan, Golub and LeVeque (1983,
    https://doi.org/10.1080/00031305.1983.10483115), which stays accurate where the mean is large against
    the spread.

    Args:
        bands: Number of bands.
    """

    def __init__(self, bands: int) -> None:
        self.count = np.zeros(bands, np.int64)
        self.mean = np.zeros(bands)
        self.squares = np.zeros(bands)  # sum of squared deviations from the mean
        self.min = np.full(bands, np.inf)
        self.max = np.full(bands, -np.inf)

    def update(self, values: np.ndarray) -> None:
        """Take in values (bands, N); those that are not finite do not count."""
        values = np.ascontiguousarray(values, np.float64)
        known = np.isfinite(values)
        for band, row in enumerate(values):
            kept = row if known[band].all() else row[known[band]]
            if len(kept):
                self._merge(band, kept)

    def _merge(self, band: int, values: np.ndarray) -> None:
        mean, total = values.mean(), self.count[band] + len(values)
        delta, share = mean - self.mean[band], len(values) / total
        self.squares[band] += ((values - mean) ** 2).sum() + delta**2 * self.count[band] * share
        self.mean[band] += delta * share
        self.count[band] = total
        self.min[band] = min(self.min[band], values.min())
        self.max[band] = max(self.max[band], values.max())

    def result(self) -> dict[str, np.ndarray]:
        """Return count, mean, std (population), min and max of each band; NaN where nothing counted."""
        std = np.sqrt(self.squares / np.maximum(self.count, 1))
        values = {"mean": self.mean, "std": std, "min": self.min, "max": self.max}
        return {"count": self.count} | {
            name: np.where(self.count == 0, np.nan, value) for name, value in values.items()
        }


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
    names = [array, *(name for name in ("valid",) if name in store.arrays_spec)]
    running = RunningStatistics(spec.shape[-1])
    for _, data in store.batches(rows, names, max(1, CHUNK_BYTES // (8 * math.prod(spec.shape)))):
        values = data[array]  # (n, …, bands)
        if "valid" in data:
            values = values[data["valid"].astype(bool)]  # (observed, …, bands)
        running.update(values.reshape(-1, values.shape[-1]).T)
    return {"rows": digest(rows), **{name: values.tolist() for name, values in running.result().items()}}


def digest(rows: np.ndarray) -> str:
    """Return a digest of row numbers, to notice that a split has changed."""
    return hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()[:16]
