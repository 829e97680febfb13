"""Mean and standard deviation of each band over the valid positions of a store, in one bounded pass."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from eolab.core.progress import in_threads

if TYPE_CHECKING:
    from eolab.data.store.reading import Store

CHUNK_BYTES = 4 << 20  # as float64; a few times as much is held by each thread
PIECE, THREADS = 64, 2  # chunks that a thread takes at a time
LANES = 256  # positions of whole numbers that are added side by side: long rows are added fast


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
        if values.dtype in (np.uint8, np.uint16):
            whole = values.shape[1] - values.shape[1] % LANES
            parts = values.T[:whole].reshape(-1, LANES * len(values)), values.T[whole:]
            for part in [part for part in parts if len(part)]:
                self._update_exactly(part)
            return
        values = np.ascontiguousarray(values, np.float64)
        known = np.isfinite(values)
        for band, row in enumerate(values):
            kept = row if known[band].all() else row[known[band]]
            if len(kept):
                mean = kept.mean()
                self._merge(band, len(kept), mean, ((kept - mean) ** 2).sum(), kept.min(), kept.max())

    def merge(self, other: RunningStatistics) -> None:
        """Take in what others have counted."""
        for band in np.flatnonzero(other.count).tolist():
            self._merge(
                band,
                *(int(other.count[band]), other.mean[band], other.squares[band]),
                *(other.min[band], other.max[band]),
            )

    def _update_exactly(self, values: np.ndarray) -> None:
        """Take in unsigned numbers (…, side by side · bands) of up to 16 bits by sums without rounding."""
        bands = len(self.count)
        count, squares = values.size // bands, np.multiply(values, values, dtype=np.uint32)
        totals, squared = (
            one.sum(axis=0, dtype=np.uint64).reshape(-1, bands).sum(axis=0).tolist()
            for one in (values, squares)
        )
        low, high = (found.reshape(-1, bands) for found in (values.min(axis=0), values.max(axis=0)))
        for band, (total, square) in enumerate(zip(totals, squared, strict=True)):
            deviation = (count * square - total**2) / count  # of whole numbers until it is divided
            self._merge(band, count, total / count, deviation, low[:, band].min(), high[:, band].max())

    def _merge(self, band: int, count: int, mean: float, squares: float, low: Any, high: Any) -> None:
        total = self.count[band] + count
        delta, share = mean - self.mean[band], count / total
        self.squares[band] += squares + delta**2 * self.count[band] * share
        self.mean[band] += delta * share
        self.count[band] = total
        self.min[band] = min(self.min[band], low)
        self.max[band] = max(self.max[band], high)

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
    running, size = RunningStatistics(spec.shape[-1]), max(1, CHUNK_BYTES // (8 * math.prod(spec.shape)))

    def over(rows: np.ndarray) -> RunningStatistics:
        found = RunningStatistics(spec.shape[-1])
        for _, data in store.batches(rows, names, size):
            values = data[array]  # (n, …, bands)
            if "valid" in data:
                values = values[data["valid"].astype(bool)]  # (observed, …, bands)
            found.update(values.reshape(-1, values.shape[-1]).T)
        return found

    pieces = [rows[start : start + PIECE * size] for start in range(0, len(rows), PIECE * size)]
    for one in in_threads(over, pieces, "", progress=False, threads=THREADS):
        running.merge(one)
    return {"rows": digest(rows), **{name: values.tolist() for name, values in running.result().items()}}


def digest(rows: np.ndarray) -> str:
    """Return a digest of row numbers, to notice that a split has changed."""
    return hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()[:16]
