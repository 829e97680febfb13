"""Canny edges of many patches at once, without a loop over patches or pixels."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

SIGMA_PX = 1.0
LOW, HIGH = 100.0, 200.0
TAILS = (1, 99)  # percentiles of a patch that become 0 and 255
_SECTOR = np.float32(np.tan(np.pi / 8))  # a direction counts as that of a neighbour within 22.5°
_EIGHT = np.zeros((3, 3, 3), bool)  # pixels touch their eight neighbours, patches do not touch each other
_EIGHT[1] = True


def canny(gray: np.ndarray, sigma_px: float = SIGMA_PX, low: float = LOW, high: float = HIGH) -> np.ndarray:
    """Find edges (Canny 1986, https://doi.org/10.1109/TPAMI.1986.4767851).

    Each patch is scaled to 8 bits by its own percentiles and smoothed by a Gaussian. A pixel whose Sobel
    gradient is longer than those of both neighbours along the gradient is a candidate. Candidates above
    ``high`` are edges, and so are those above ``low`` that hang together with one.

    Args:
        gray: (N, H, W) patches.
        sigma_px: Standard deviation of the Gaussian in pixels.
        low: Threshold on the length of the Sobel gradient of the 8-bit image; a step of n grey levels is 4 n.
        high: The upper threshold.

    Returns:
        bool (N, H, W). On the same smoothed 8-bit image it is what OpenCV's ``Canny`` gives with
        ``L2gradient=True``: gradients in four directions, the outermost pixels repeated outside the patch.
    """
    smooth = ndimage.gaussian_filter(eight_bits(gray), (0, sigma_px, sigma_px), mode="nearest")
    return trace(np.rint(smooth), low, high)


def eight_bits(gray: np.ndarray) -> np.ndarray:
    """Return patches (N, H, W) as whole numbers 0 to 255, float32; 0 in a patch without contrast.

    The darkest and the brightest percent of a patch are cut off: with its full range a single roof or cloud
    would leave nothing of the contrast of the ground, and so no edge.
    """
    low, high = np.percentile(gray, TAILS, axis=(1, 2), keepdims=True).astype(np.float32)  # (N, 1, 1) each
    scale = np.divide(255, high - low, out=np.zeros_like(high), where=high > low)
    return np.rint(np.clip((gray - low) * scale, 0, 255))


def own_range(values: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Return (x - min) / (max - min) over some axes, 0 where all values are equal."""
    low, high = values.min(axes, keepdims=True), values.max(axes, keepdims=True)
    return (values - low) / np.where(high > low, high - low, 1)


def sobel(image: np.ndarray, axis: int, mode: str = "reflect") -> np.ndarray:
    """Return the Sobel gradient of patches (N, H, W) along axis 1 (y) or 2 (x).

    ``scipy.ndimage.sobel`` would smooth over all other axes, so from patch to patch too.
    """
    smooth = ndimage.correlate1d(image, (1, 2, 1), axis=3 - axis, mode=mode)
    return ndimage.correlate1d(smooth, (-1, 0, 1), axis=axis, mode=mode)


def trace(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return the edges (N, H, W) of smoothed 8-bit patches (N, H, W): all of Canny's steps but smoothing."""
    whole = image.astype(np.int32)
    dx, dy = (sobel(whole, axis, mode="nearest") for axis in (2, 1))
    strength = np.pad(dx * dx + dy * dy, ((0, 0), (1, 1), (1, 1)))  # (N, H + 2, W + 2), squared, 0 outside
    inside = np.s_[:, 1:-1, 1:-1]
    above = strength[inside] > low * low
    places = np.flatnonzero(np.pad(above, ((0, 0), (1, 1), (1, 1))))  # (candidates,) in the padded array
    kept = places[_is_ridge(strength, places, dx[above], dy[above])]
    ridge = np.zeros(strength.shape, bool)
    ridge.flat[kept] = True
    return _hysteresis(ridge[inside], strength[inside] > high * high)


def _is_ridge(strength: np.ndarray, places: np.ndarray, dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """Return whether places of the padded strength exceed both neighbours along their gradient.

    Of two equal neighbours in a row or column the first stays.
    """
    row = strength.shape[2]
    flat = strength.ravel()
    x, y = np.abs(dx).astype(np.float32), np.abs(dy).astype(np.float32)
    across, along = y < _SECTOR * x, x < _SECTOR * y
    diagonal = np.where((dx < 0) == (dy < 0), row + 1, row - 1)
    step = np.where(across, 1, np.where(along, row, diagonal))
    own, after = flat[places], flat[places + step]
    return (own > flat[places - step]) & ((own > after) | ((own == after) & (across | along)))


def _hysteresis(ridge: np.ndarray, strong: np.ndarray) -> np.ndarray:
    """Return the ridges that hang together with a strong pixel of a ridge, patch by patch."""
    labels, count = ndimage.label(ridge, _EIGHT)
    kept = np.zeros(count + 1, bool)
    kept[labels[ridge & strong]] = True
    return kept[labels]
