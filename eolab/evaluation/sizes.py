"""Which connected objects are found, by their size."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage

from eolab.core.errors import ParameterError
from eolab.evaluation import metrics

EDGES_PX = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # of the classes of sizes
# eight neighbours within a patch, none in the next patch
NEIGHBOURS = np.stack([np.zeros((3, 3), bool), np.ones((3, 3), bool), np.zeros((3, 3), bool)])


def score_by_size(
    prediction: Any, truth: Any, edges_px: Sequence[int] = EDGES_PX, pixel_area_m2: float = 100.0
) -> pd.DataFrame:
    """Score detection of connected objects by their size.

    An object is a set of pixels of class 1 that touch at sides or corners within one patch; at the border of
    the patch it is cut off.

    Args:
        prediction: Masks (N, H, W), bool or class indices of which 1 is the object class; read in parts.
        truth: Masks (N, H, W) uint8: 0 background, 1 objects, 255 = not known.
        edges_px: Ascending lower ends of the classes of sizes in pixels; the last class is open.
        pixel_area_m2: Area of a pixel.

    Returns:
        A row a class of sizes, also where it is empty: size (text, pixels), low_px, high_px (last size of the
        class, infinite for the open one), low_m2, high_m2, count (objects), pixels (their pixels), found
        (share of the objects with at least one pixel hit), pixels_found (share of all their pixels that
        were hit); NaN shares where there is none. Objects below the first edge are left out.

    Raises:
        DataError: If the shapes differ or are not (N, H, W).
        ParameterError: If the edges are not ascending whole numbers from 1, or a pixel has no area.
    """
    if not pixel_area_m2 > 0:
        raise ParameterError(f"pixel_area_m2 is {pixel_area_m2}: expected an area above 0.")
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    expected = "masks (N, H, W) of the same patches"
    metrics.check_shapes(expected, truth.ndim == 3, truth=truth, prediction=prediction)
    metrics.check_indices(prediction)
    edges = np.asarray(edges_px)
    if edges.dtype.kind not in "iu" or not len(edges) or edges[0] < 1 or (np.diff(edges) <= 0).any():
        raise ParameterError(f"edges_px is {edges_px}: expected ascending whole numbers from 1.")
    parts = [_objects(prediction[part], truth[part]) for part in metrics.chunks(truth.shape)]
    size, hit = np.concatenate(parts, axis=1) if parts else np.zeros((2, 0), np.int64)
    of_class = np.searchsorted(edges, size, side="right")  # 0: below the first edge
    table = pd.DataFrame({"class": of_class, "count": 1, "pixels": size, "found": hit > 0, "hit": hit})
    sums = table.groupby("class").sum().reindex(range(1, len(edges) + 1), fill_value=0).reset_index(drop=True)
    high = np.append(edges[1:] - 1.0, np.inf)
    with np.errstate(invalid="ignore"):
        return pd.DataFrame(
            {
                "size": [_text(a, b) for a, b in zip(edges, high, strict=True)],
                "low_px": edges,
                "high_px": high,
                "low_m2": edges * pixel_area_m2,
                "high_m2": high * pixel_area_m2,
                "count": sums["count"],
                "pixels": sums["pixels"],
                "found": sums["found"].to_numpy(float) / sums["count"].to_numpy(float),
                "pixels_found": sums["hit"].to_numpy(float) / sums["pixels"].to_numpy(float),
            }
        )


def _objects(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return size and number of hit pixels of each object of some patches, (2, objects)."""
    numbers, count = ndimage.label(truth == 1, structure=NEIGHBOURS)  # (n, H, W), 0 = none
    size = np.bincount(numbers.ravel(), minlength=count + 1)[1:]
    hit = np.bincount(numbers[prediction == 1], minlength=count + 1)[1:]
    return np.stack([size, hit])


def _text(low: int, high: float) -> str:
    if np.isinf(high):
        return f"≥ {low}"
    return str(low) if low == high else f"{low}–{high:.0f}"
