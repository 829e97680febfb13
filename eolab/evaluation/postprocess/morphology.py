"""Opening and closing of masks, patch by patch.

Outside a patch nothing is known: erosion and dilation look at the pixels of the patch alone, so that the
border itself neither removes nor adds pixels (the convention of OpenCV and scikit-image; SciPy's own
functions take the outside for background, so that its closing removes objects at the border).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import ndimage

from eolab.core.errors import DataError, ParameterError
from eolab.evaluation import metrics


def opening(mask: Any, size: int = 3) -> np.ndarray:
    """Remove what a square does not fit into: an erosion, then a dilation.

    Single false pixels go ("salt"), and so do objects narrower than the square.

    Args:
        mask: (N, H, W) bool, or 0 and 1; patches are not mixed.
        size: Side of the square in pixels, odd.

    Returns:
        (N, H, W) of the mask's type.

    Raises:
        ParameterError: If the size is not odd and positive.
        DataError: If the mask is not (N, H, W) with two values.
    """
    return _by_part(mask, size, lambda values, box: _dilate(_erode(values, box), box))


def closing(mask: Any, size: int = 3) -> np.ndarray:
    """Fill holes and gaps that a square does not fit into ("pepper"): a dilation, then an erosion.

    Arguments, result and errors as of :func:`opening`.
    """
    return _by_part(mask, size, lambda values, box: _erode(_dilate(values, box), box))


def _by_part(
    mask: Any, size: int, change: Callable[[np.ndarray, tuple[int, int, int]], np.ndarray]
) -> np.ndarray:
    mask = np.asarray(mask)
    if size < 1 or size % 2 == 0:
        raise ParameterError(f"size is {size}: expected an odd number of pixels, such as 3 or 5.")
    if mask.ndim != 3 or mask.dtype.kind not in "biu":
        raise DataError(
            f"The mask has shape {mask.shape} and type {mask.dtype}: expected (N, H, W) bool, such as "
            "probability >= threshold."
        )
    result = np.empty(mask.shape, mask.dtype)
    for part in metrics.chunks(mask.shape):
        values = mask[part].astype(np.uint8)
        if values.max(initial=0) > 1:
            raise DataError(f"The mask holds {values.max()}: expected only 0 and 1.")
        result[part] = change(values, (1, size, size))
    return result


def _erode(values: np.ndarray, box: tuple[int, int, int]) -> np.ndarray:
    return ndimage.minimum_filter(values, size=box, mode="constant", cval=1)


def _dilate(values: np.ndarray, box: tuple[int, int, int]) -> np.ndarray:
    return ndimage.maximum_filter(values, size=box, mode="constant", cval=0)
