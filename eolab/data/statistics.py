"""Statistics of bands in one pass over data of any size."""

from __future__ import annotations

import numpy as np
import pandas as pd


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
        whole = values.dtype.kind in "iub"  # integers are finite
        for band, row in enumerate(values):
            kept = (row if whole else row[np.isfinite(row)]).astype(np.float64)
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

    def table(self, names: list[str]) -> pd.DataFrame:
        """Return a row a band: count, mean, std (population), min, max; NaN where nothing counted."""
        empty = self.count == 0
        columns = {
            "mean": self.mean,
            "std": np.sqrt(self.squares / np.maximum(self.count, 1)),
            "min": self.min,
            "max": self.max,
        }
        columns = {name: np.where(empty, np.nan, values) for name, values in columns.items()}
        return pd.DataFrame({"count": self.count, **columns}, index=pd.Index(names, name="band"))
