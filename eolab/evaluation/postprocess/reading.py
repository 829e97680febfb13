"""Reading probabilities and masks in parts, checked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from eolab.core.errors import DataError
from eolab.data.schemes import IGNORE
from eolab.evaluation import metrics


def labelled_pixels(probability: Any, truth: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield probability (n,) in its own precision and truth (n,) bool of the labelled pixels, part by part.

    Args:
        probability: Probabilities of any shape (N, …).
        truth: 0, 1 and 255 = not known, of the same shape.

    Raises:
        DataError: If shapes differ, a value is no probability, or a label is neither 0, 1 nor 255.
    """
    probability, truth = np.asarray(probability), np.asarray(truth)  # memory maps stay on disk
    if probability.shape != truth.shape:
        raise DataError(
            f"Probabilities have shape {probability.shape}, the truth {truth.shape}: give those of the same "
            "patches at the same resolution."
        )
    for part in metrics.chunks(truth.shape):
        labels = truth[part]
        known = labels != IGNORE
        values, true = checked(probability[part])[known], labels[known]
        if true.size and not (true.min() >= 0 and true.max() <= 1):
            raise DataError(f"The truth holds label {true.max()}: expected 0, 1 and {IGNORE} for not known.")
        yield values, true == 1


def checked(probability: np.ndarray) -> np.ndarray:
    """Return probabilities, floating.

    Raises:
        DataError: If one is not a number from 0 to 1.
    """
    if probability.size:
        low, high = probability.min(), probability.max()  # NaN where one is NaN
        if not (low >= 0 and high <= 1):
            raise DataError(
                f"Probabilities range from {low:.4g} to {high:.4g}: expected 0 to 1 without NaN; apply "
                "softmax to logits."
            )
    return floating(probability)


def floating(values: np.ndarray) -> np.ndarray:
    """Return values in their own precision, whole numbers and bool as float32."""
    return values if values.dtype.kind == "f" else values.astype(np.float32)
