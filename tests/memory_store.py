"""Samples in memory with the methods of a store that baselines use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np


class MemoryStore:
    """Arrays by name, a row a sample.

    Args:
        arrays: Arrays by name, ``label`` among them.
        bands: Names of the channels of ``image``.
    """

    path = "memory"

    def __init__(self, arrays: Mapping[str, Any], bands: Iterable[str] = ()) -> None:
        self.arrays = dict(arrays)
        self.bands = tuple(bands)

    def channel_names(self) -> tuple[str, ...]:
        """Return the names of the channels of ``image``."""
        return self.bands

    def gather(self, rows: np.ndarray, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Return some rows of some arrays."""
        return {name: np.asarray(self.arrays[name])[rows] for name in names}

    def release(self) -> None:
        """Nothing is mapped."""

    def batches(
        self, rows: np.ndarray, names: Iterable[str], size: int
    ) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
        """Yield places among the rows, and their arrays, `size` rows at a time."""
        for start in range(0, len(rows), size):
            at = slice(start, min(start + size, len(rows)))
            yield at, self.gather(rows[at], names)
