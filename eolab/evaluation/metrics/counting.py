"""Counting pairs of true and predicted class: over everything, and patch by patch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from eolab.core.errors import DataError
from eolab.data.schemes import IGNORE

PIXELS_AT_ONCE = 1 << 22  # pixels held as integers of eight bytes: 32 MB an array


def confusion(truth: Any, prediction: Any, classes: int, ignore: int = IGNORE) -> np.ndarray:
    """Count pairs of true and predicted class.

    Args:
        truth: Class indices of any shape, 0 … classes − 1; ``ignore`` counts nowhere.
        prediction: Class indices of the same shape.
        classes: Number of classes K.
        ignore: Label in the truth that is left out.

    Returns:
        int64 (K, K), truth in rows, prediction in columns.

    Raises:
        DataError: Shapes differ, or a counted label is not a class index.
    """
    true, (predicted,) = labelled(truth, (prediction,), classes, ignore)
    counts = np.bincount(true * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes)


def confusions(truth: Any, prediction: Any, classes: int, ignore: int = IGNORE) -> np.ndarray:
    """Count pairs of true and predicted class in each patch, a few patches at a time.

    Args:
        truth: Class indices (N, …), for example masks (N, H, W); memory maps are read in parts.
        prediction: Class indices, or bool for two classes, of the same shape.
        classes: Number of classes K.
        ignore: Label in the truth that is left out.

    Returns:
        int64 (N, K, K), truth in rows, prediction in columns; zeros for a patch that is all ignored.

    Raises:
        DataError: Shapes differ, the prediction holds fractions, or a counted label is not a class index.
    """
    truth, prediction = np.asarray(truth), np.asarray(prediction)  # memory maps stay on disk
    _check_shapes(truth, (prediction,))
    if prediction.dtype.kind not in "biu":
        raise DataError(
            f"The prediction holds {prediction.dtype} values: expected class indices, such as "
            "probability >= threshold for two classes."
        )
    counts = np.zeros((len(truth), classes * classes), np.int64)
    for part in chunks(truth.shape):
        true, (predicted,) = labelled(truth[part], (prediction[part],), classes, ignore)
        patch = np.nonzero(truth[part] != ignore)[0]
        cell = (patch * classes + true) * classes + predicted
        counts[part] = np.bincount(cell, minlength=counts[part].size).reshape(-1, classes * classes)
    return counts.reshape(-1, classes, classes)


def chunks(shape: Sequence[int]) -> Iterator[slice]:
    """Yield slices of the first axis of an array (N, …) with about 4 million values each."""
    step = max(1, PIXELS_AT_ONCE // max(1, int(np.prod(shape[1:], dtype=np.int64))))
    for start in range(0, shape[0], step):
        yield slice(start, min(start + step, shape[0]))


def labelled(
    truth: Any, predictions: Sequence[Any], classes: int, ignore: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return what is not ignored of the truth and of the predictions, flat int64, once it is checked."""
    true, others = np.asarray(truth), [np.asarray(p) for p in predictions]
    _check_shapes(true, others)
    kept = true != ignore
    flat = [a[kept].astype(np.int64) for a in (true, *others)]
    for name, values in zip(("truth", *["prediction"] * len(others)), flat, strict=True):
        if values.size and not (values.min() >= 0 and values.max() < classes):
            wrong = values[(values < 0) | (values >= classes)]
            raise DataError(
                f"The {name} holds {wrong.size} labelled samples with values such as {wrong[0]}: expected "
                f"class indices 0 to {classes - 1}; set the truth to {ignore} where a sample shall not count."
            )
    return flat[0], flat[1:]


def _check_shapes(truth: Any, predictions: Sequence[Any]) -> None:
    if any(p.shape != truth.shape for p in predictions):
        shapes = " and ".join(str(p.shape) for p in predictions)
        raise DataError(
            f"Truth has shape {truth.shape}, the prediction {shapes}: give class indices of one shape."
        )
