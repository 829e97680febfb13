"""Grid of the predictions of a network that predicts at every few pixels of an image."""

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class OutputGrid:
    """Grid of a network's predictions along one axis of its image, in pixels.

    Attributes:
        stride: Pixels from one prediction to the next.
        first: First pixel that prediction 0 sees; below 0 where the image is padded.
        last: Last pixel that it sees.
    """

    stride: int = 1
    first: int = 0
    last: int = 0

    @property
    def centre(self) -> float:
        """Middle of what prediction 0 sees; pixel 0 is at 0.0."""
        return (self.first + self.last) / 2

    @property
    def receptive_field(self) -> int:
        """Pixels that a prediction sees."""
        return self.last - self.first + 1

    @property
    def margin(self) -> int:
        """Pixels around a window that may count for its pixels, between predictions too."""
        return math.ceil(self.stride + (self.receptive_field - 1) / 2)


def to_pixels(
    predicted: np.ndarray, grid: OutputGrid, height: int, width: int, row: int = 0, col: int = 0
) -> np.ndarray:
    """Interpolate predictions to pixels: (h, w, K) → (height, width, K), bilinear.

    Beyond the outermost predictions theirs are repeated.

    Args:
        predicted: Predictions of an image.
        grid: Where they stand, on both axes.
        height: Height of the result in pixels.
        width: Width of the result in pixels.
        row: First row wanted, in the image.
        col: First column wanted.
    """
    down = _interpolation(predicted.shape[0], grid, row, height)  # (height, h)
    across = _interpolation(predicted.shape[1], grid, col, width)  # (width, w)
    return np.einsum("yi,ijk,xj->yxk", down, predicted, across, optimize=True)


def _interpolation(count: int, grid: OutputGrid, start: int, size: int) -> np.ndarray:
    """Return the share of each prediction in each pixel, float32 (size, count)."""
    at = (np.arange(start, start + size) - grid.centre) / grid.stride
    at = np.clip(at, 0, count - 1)
    return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(count))).astype(np.float32)
