"""Where the answers of a network stand in its image, when it answers but every some pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Positions:
    """Places of a network's answers along one axis of its image, in pixels.

    Attributes:
        stride: From one position to the next.
        first: First pixel that position 0 sees; below 0 where the image is padded.
        last: Last pixel that it sees.
    """

    stride: int = 1
    first: int = 0
    last: int = 0

    @property
    def centre(self) -> float:
        """Middle of what position 0 sees; pixel 0 is at 0.0."""
        return (self.first + self.last) / 2

    @property
    def reach(self) -> int:
        """Pixels that a position sees (its receptive field)."""
        return self.last - self.first + 1

    @property
    def margin(self) -> int:
        """Pixels around a window that may count for its pixels, between positions too."""
        return math.ceil(self.stride + (self.reach - 1) / 2)


def to_pixels(
    answers: np.ndarray, places: Positions, height: int, width: int, row: int = 0, col: int = 0
) -> np.ndarray:
    """Interpolate answers between their positions: (h, w, K) → (height, width, K), bilinear.

    Beyond the outermost positions theirs are repeated.

    Args:
        answers: At each position of an image.
        places: Where the positions stand, on both axes.
        height: Rows wanted.
        width: Columns wanted.
        row: First row wanted, in the image.
        col: First column wanted.
    """
    rows, columns = answers.shape[:2]
    down = _interpolation(rows, places, row, height)  # (height, h)
    across = _interpolation(columns, places, col, width)  # (width, w)
    return np.einsum("yi,ijk,xj->yxk", down, answers, across, optimize=True)


def _interpolation(count: int, places: Positions, start: int, size: int) -> np.ndarray:
    """Return the share of each position in each pixel, float32 (size, count)."""
    at = (np.arange(start, start + size) - places.centre) / places.stride
    at = np.clip(at, 0, count - 1)
    return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(count))).astype(np.float32)
