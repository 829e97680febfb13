"""The windows that cover the pixel grid of a map, and how overlapping windows are blended."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from odc.geo.geobox import GeoBox

from eolab.core.errors import ParameterError

WEIGHT_FLOOR = 1e-3  # of the blending weight at a window's rim, so that every pixel has a weight


class Window(NamedTuple):
    """A rectangle of pixels: its first row and column, its height and width."""

    row: int
    col: int
    height: int
    width: int

    def intersect(self, other: Window) -> Window | None:
        """Return the pixels that both windows have, None if there are none."""
        row, col = max(self.row, other.row), max(self.col, other.col)
        height = min(self.row + self.height, other.row + other.height) - row
        width = min(self.col + self.width, other.col + other.width) - col
        return Window(row, col, height, width) if height > 0 and width > 0 else None

    def within(self, outer: Window) -> tuple[slice, slice]:
        """Return this window as slices of an array that holds the pixels of `outer`."""
        row, col = self.row - outer.row, self.col - outer.col
        return slice(row, row + self.height), slice(col, col + self.width)


def windows(grid: GeoBox, window: int, overlap: int = 0) -> list[Window]:
    """Return the windows that cover a grid, row by row.

    They stand ``window - overlap`` apart; the last of each row and column is moved back so that it ends at
    the grid's edge, so all windows have one size. Where the grid is smaller than a window, they are too.

    Args:
        grid: What to cover; only its height and width matter.
        window: Side of a window in pixels.
        overlap: Pixels that neighbouring windows share.

    Raises:
        ParameterError: If the grid has no pixel, the window is not positive or the overlap is not within
            ``0 … window - 1``.
    """
    if min(grid.shape) < 1:
        raise ParameterError(
            f"A map needs at least one pixel: got a grid of height {grid.height}, width {grid.width}."
        )
    if window < 1 or not 0 <= overlap < window:
        raise ParameterError(
            f"Windows of {window} pixels cannot overlap by {overlap}: "
            "the window must be positive and the overlap between 0 and window - 1."
        )
    rows, cols = (_starts(size, window, window - overlap) for size in (grid.height, grid.width))
    height, width = min(window, grid.height), min(window, grid.width)
    return [Window(row, col, height, width) for row, col in itertools.product(rows, cols)]


def _starts(size: int, window: int, step: int) -> list[int]:
    last = max(size - window, 0)
    return [*range(0, last, step), last]


def weights(height: int, width: int, overlap: int) -> np.ndarray:
    """Return the blending weight of each pixel of a window, float32 (height, width).

    One in the middle, a raised cosine over the `overlap` pixels at each rim: the weights of two neighbours
    add up to one. Sums of weights divide the result all the same: rims of the scene have one window only.
    """
    rows, cols = (_ramp(size, overlap) for size in (height, width))
    return np.maximum(rows[:, None] * cols[None, :], WEIGHT_FLOOR).astype(np.float32)


def _ramp(size: int, overlap: int) -> np.ndarray:
    distance = np.minimum(np.arange(size), np.arange(size)[::-1]) + 0.5  # to the nearer rim, pixels
    if not overlap:
        return np.ones(size)
    return np.sin(np.pi / 2 * np.minimum(distance / overlap, 1.0)) ** 2
