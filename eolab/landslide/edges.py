"""Canny's edge detector on many patches at once (Canny 1986, https://doi.org/10.1109/TPAMI.1986.4767851)."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

LOW, HIGH = 0.05, 0.1  # thresholds on the change over a pixel, as shares of the patch's range of values
DIAGONAL = np.tan(np.pi / 8)
NEIGHBOURS = np.zeros((3, 3, 3), bool)
NEIGHBOURS[1] = True  # eight neighbours within a patch, none in other patches


def canny(gray: np.ndarray, sigma: float = 1.0, low: float = LOW, high: float = HIGH) -> np.ndarray:
    """Return the edges of gray patches, float32 (N, H, W), 0 or 1.

    Each patch is scaled to 0 to 1, smoothed by a Gaussian, and differentiated by Sobel kernels; pixels stay
    whose gradient is the longest along its own direction (to the nearest of four), longer than `high`, or
    longer than `low` and connected to such a pixel. The outermost pixels are never edges.

    Args:
        gray: (N, H, W).
        sigma: Standard deviation of the Gaussian in pixels.
        low: Lower threshold, as a share of the patch's range of values a pixel.
        high: Upper threshold likewise.
    """
    floor = gray.min(axis=(1, 2), keepdims=True)
    extent = gray.max(axis=(1, 2), keepdims=True) - floor
    scaled = ((gray - floor) / np.where(extent > 0, extent, 1)).astype(np.float32)
    smooth = ndimage.gaussian_filter(scaled, (0, sigma, sigma))
    dx, dy = sobel(smooth)
    length = np.hypot(dx, dy)
    ridge = thin(length, dx, dy)
    strong, weak = ridge & (length > high), ridge & (length > low)
    parts, count = ndimage.label(weak, NEIGHBOURS)
    kept = np.zeros(count + 1, bool)
    kept[parts[strong]] = True
    kept[0] = False
    return kept[parts].astype(np.float32)


def sobel(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the Sobel derivatives along x and y of patches (N, H, W), in units a pixel.

    The kernels are Sobel's divided by 8, so that a slope of 1 a pixel gives 1. SciPy's own function would
    smooth across patches.
    """
    step, smooth = np.array([-0.5, 0, 0.5], np.float32), np.array([0.25, 0.5, 0.25], np.float32)
    across, down = (
        ndimage.correlate1d(ndimage.correlate1d(values, step, axis), smooth, 3 - axis) for axis in (2, 1)
    )
    return across, down


def thin(length: np.ndarray, dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """Return where the gradient is longest along its direction (non-maximum suppression), bool (N, H, W).

    Ties along a direction keep the pixel that comes first, so that a symmetric ridge is one pixel wide.
    """
    flat = np.abs(dy) <= DIAGONAL * np.abs(dx)  # gradient along x
    steep = np.abs(dx) <= DIAGONAL * np.abs(dy)  # gradient along y
    rising = dx * dy > 0  # along y = x, rows counted downwards
    ridge = np.zeros(length.shape, bool)
    inner = (slice(None), slice(1, -1), slice(1, -1))
    for chosen, (down, right) in (
        (flat, (0, 1)),
        (steep & ~flat, (1, 0)),
        (~flat & ~steep & rising, (1, 1)),
        (~flat & ~steep & ~rising, (1, -1)),
    ):
        before, behind = _shifted(length, -down, -right), _shifted(length, down, right)
        centre = length[inner]
        ridge[inner] |= chosen[inner] & (centre > before) & (centre >= behind)
    return ridge


def _shifted(values: np.ndarray, down: int, right: int) -> np.ndarray:
    """Return the inner pixels' neighbours some rows down and columns right."""
    height, width = values.shape[1:]
    return values[:, 1 + down : height - 1 + down, 1 + right : width - 1 + right]
