"""Statistics of bands in one pass over data of any size."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import pandas as pd
import xarray as xr

from eolab.core.progress import track

CHUNK_VALUES = 4_000_000  # values held at once where the data has no chunks of its own


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


def band_statistics(
    image: xr.DataArray, valid: xr.DataArray | None = None, progress: bool = False
) -> pd.DataFrame:
    """Compute count, mean, standard deviation, minimum and maximum of each band, chunk by chunk.

    Args:
        image: Array with a dim ``band`` and any others; a dask array is read one chunk at a time.
        valid: bool array of the image's other dims, or some of them; only values where it is True count.
        progress: Whether to show progress.

    Returns:
        A row a band with count, mean, std (population), min and max over the finite, valid values.
    """
    running = RunningStatistics(image.sizes["band"])
    for window in track(list(_windows(image)), "band statistics", unit="chunk", progress=progress):
        values = image.isel(window)
        if valid is not None:
            values = values.where(
                valid.isel({dim: part for dim, part in window.items() if dim in valid.dims})
            )
        running.update(values.transpose("band", ...).to_numpy().reshape(image.sizes["band"], -1))
    return running.table([str(band) for band in image["band"].to_numpy()])


def _windows(image: xr.DataArray) -> Iterator[dict[str, slice]]:
    """Yield windows over all dims but ``band``: the dask chunks, or slabs of the first dim."""
    dims = [str(dim) for dim in image.dims if dim != "band"]
    sizes = {dim: image.chunksizes[dim] for dim in dims} if image.chunks is not None else {}
    if not sizes and dims:
        step = max(1, CHUNK_VALUES * image.sizes[dims[0]] // max(image.size, 1))
        sizes = {dim: (image.sizes[dim],) for dim in dims}
        sizes[dims[0]] = tuple(
            min(step, image.sizes[dims[0]] - i) for i in range(0, image.sizes[dims[0]], step)
        )
    edges = {dim: np.cumsum([0, *sizes[dim]]) for dim in dims}
    for corner in product(*(range(len(sizes[dim])) for dim in dims)):
        yield {dim: slice(edges[dim][i], edges[dim][i + 1]) for dim, i in zip(dims, corner, strict=True)}
