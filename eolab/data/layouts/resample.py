"""Resampling between north-up grids of one coordinate reference system, with missing pixels left out.

All methods work on pixel edges in map units, axis by axis, so that grids need no whole-number ratio (10, 20
and 60 m pixels have one, decimated products do not), and a window gives the same values as the whole image.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal, NamedTuple

import numpy as np
from odc.geo.geobox import GeoBox
from scipy import sparse

Method = Literal["nearest", "bilinear", "cubic", "average"]
_EDGE = 1e-6  # fraction of a pixel that is taken for rounding of coordinates


class Axis(NamedTuple):
    """Pixels along one axis: edges at ``start + step * (0 ... size)``; the step of a y axis is negative."""

    start: float
    step: float
    size: int


def axes(grid: GeoBox) -> tuple[Axis, Axis]:
    """Return the y and the x axis of a north-up grid."""
    place = grid.transform
    return Axis(place.f, place.e, grid.height), Axis(place.c, place.a, grid.width)


def touched(grid: GeoBox, bounds: tuple[float, float, float, float]) -> tuple[slice, slice]:
    """Return the rows and columns of all pixels that bounds touch; empty slices where they touch none.

    Args:
        grid: Any grid; of one that is not north-up these are the rows and columns around the bounds.
        bounds: West, south, east and north edge in its CRS.
    """
    west, south, east, north = bounds
    place = ~grid.transform
    corners = [(x, y) for x in (west, east) for y in (south, north)]
    columns = [place.a * x + place.b * y + place.c for x, y in corners]
    rows = [place.d * x + place.e * y + place.f for x, y in corners]
    return _range(rows, grid.height), _range(columns, grid.width)


def _range(places: list[float], size: int) -> slice:
    first, last = int(np.floor(min(places) + _EDGE)), int(np.ceil(max(places) - _EDGE))
    return slice(min(max(first, 0), size), min(max(last, 0), size))


@dataclass(frozen=True)
class Taps:
    """Which source pixels make a row (or column) of the target.

    Attributes:
        first: First source pixel that is read.
        last: One past the last source pixel that is read.
        weights: Sparse (target, last - first); rows of ``nearest`` hold a single 1.
    """

    first: int
    last: int
    weights: sparse.csr_matrix

    @cached_property
    def as_it_is(self) -> bool:
        """Whether each target pixel is one source pixel, in the order they are read."""
        return np.array_equal(self.weights.indices, np.arange(self.last - self.first))


@lru_cache(maxsize=512)  # all dates and most bands of a series share them
def taps(target: Axis, source: Axis, method: Method) -> Taps:
    """Return the source pixels and weights of each target pixel.

    Args:
        target: Pixels wanted.
        source: Pixels there are.
        method: ``average`` weighs each source pixel by its overlap with the target pixel where the target is
            coarser, and is ``nearest`` where it is finer; ``bilinear`` is linear between the centres;
            ``cubic`` is cubic convolution of four centres, as GDAL's (Keys 1981, a = -0.5), and may leave the
            range of the values; both repeat the outermost pixels. ``nearest`` takes the source pixel under
            the target's centre.
    """
    ratio = target.step / source.step
    left = ((target.start - source.start) / source.step + np.arange(target.size) * ratio)[:, None]
    if method == "average" and ratio > 1 + _EDGE:
        columns = np.floor(left + _EDGE) + np.arange(np.ceil(ratio) + 1)
        overlap = np.minimum(columns + 1, left + ratio) - np.maximum(columns, left)
        values = np.maximum(overlap, 0)
    elif method in ("bilinear", "cubic"):
        position = left + ratio / 2 - 0.5
        columns = np.floor(position + _EDGE) + (np.arange(2) if method == "bilinear" else np.arange(-1, 3))
        distance = np.abs(position - columns)
        values = 1 - distance if method == "bilinear" else _cubic(distance)
    else:
        columns = np.floor(left + ratio / 2 + _EDGE)
        values = np.ones(columns.shape)
    columns = np.clip(columns, 0, source.size - 1).astype(np.int64)  # (target, source pixel)
    keep = np.abs(values) > _EDGE
    rows = np.nonzero(keep)[0]
    columns, values = columns[keep], values[keep]
    first, last = int(columns.min()), int(columns.max()) + 1
    shape = (target.size, last - first)
    weights = sparse.csr_matrix((values.astype(np.float32), (rows, columns - first)), shape=shape)
    return Taps(first, last, weights)


def _cubic(distance: np.ndarray) -> np.ndarray:
    """Return the weights of source pixels by their distance in pixels, up to 2: Keys's kernel."""
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return np.where(distance <= 1, near, far)


def resample(values: np.ndarray, valid: np.ndarray, y: Taps, x: Taps) -> np.ndarray:
    """Resample a source window.

    Args:
        values: (source y, source x) numbers, rows ``y.first`` to ``y.last``, columns likewise.
        valid: The same shape, False where there is no value; such pixels take no part.
        y: Taps of the rows.
        x: Taps of the columns.

    Returns:
        float32 (target y, target x), NaN where no valid source pixel takes part.
    """
    if y.weights.nnz == len(y.weights.indptr) - 1 and x.weights.nnz == len(x.weights.indptr) - 1:
        found = np.where(valid, values, np.float32(np.nan)).astype(np.float32, copy=False)
        if y.as_it_is and x.as_it_is:
            return found
        return found.take(x.weights.indices, axis=1).take(y.weights.indices, axis=0)  # one source pixel each
    numbers = np.where(valid, values, 0).astype(np.float32)
    total = (x.weights @ (y.weights @ numbers).T).T
    weight = (x.weights @ (y.weights @ valid.astype(np.float32)).T).T
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(weight > _EDGE, total / weight, np.float32(np.nan)).astype(np.float32)
