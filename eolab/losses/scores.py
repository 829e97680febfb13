"""Scores of a training epoch: counts pooled over all its pixels."""

from __future__ import annotations

from typing import Any, Literal, get_args

import keras
from keras import ops

from eolab.errors import ParameterError, did_you_mean
from eolab.legends import IGNORE
from eolab.losses.base import Pixels, counted, serializable, whole

Statistic = Literal["f1", "iou", "precision", "recall"]


class _Counts(keras.metrics.Metric):
    """Base: sums of pixels, kept from batch to batch.

    Sums are exact up to 2^24 pixels of a kind and to seven digits beyond.
    """

    SUMS: tuple[str, ...] = ()

    def __init__(self, ignore: int, name: str) -> None:
        super().__init__(name=name, dtype="float32")
        self.ignore = int(ignore)
        self.sums = [self.add_weight(name=key, initializer="zeros", dtype="float32") for key in self.SUMS]

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch: class indices (B, …), probabilities (B, …, K), weights (B,) or (B, …)."""
        pixels = counted(y_true, y_pred, sample_weight, self.ignore, self.name)
        for total, values in zip(self.sums, self.of(pixels), strict=True):
            total.assign_add(ops.sum(pixels.weight * values))

    def of(self, pixels: Pixels) -> tuple[Any, ...]:
        """Return what each pixel adds to each sum, (B, …)."""
        raise NotImplementedError


@serializable
class PooledScore(_Counts):
    """Score of one class from TP, FP and FN pooled over all pixels of an epoch.

    A pixel is given to its most probable class:
    ``f1 = 2 TP / (2 TP + FP + FN)``, ``iou = TP / (TP + FP + FN)``, ``precision = TP / (TP + FP)``,
    ``recall = TP / (TP + FN)``; 0 where the denominator is.

    Args:
        statistic: Which of them.
        class_index: The class.
        ignore: Label of the pixels that do not count.
        name: Name in the history; the statistic by default.

    Raises:
        ParameterError: If the statistic is unknown or the class is no index.
    """

    SUMS = ("true_positives", "false_positives", "false_negatives")

    def __init__(
        self,
        statistic: Statistic = "f1",
        class_index: int = 1,
        ignore: int = IGNORE,
        name: str | None = None,
    ) -> None:
        if statistic not in get_args(Statistic):
            raise ParameterError(
                f"There is no pooled score {statistic!r}: {did_you_mean(statistic, get_args(Statistic))}"
            )
        super().__init__(ignore, name or statistic)
        self.statistic, self.class_index = statistic, whole("class_index", class_index + 1) - 1

    def of(self, pixels: Pixels) -> tuple[Any, ...]:
        """Return true positives, false positives and false negatives."""
        true = pixels.truth[..., self.class_index]
        found = ops.cast(ops.argmax(pixels.probability, axis=-1) == self.class_index, "float32")
        return true * found, (1 - true) * found, true * (1 - found)

    def result(self) -> Any:
        """Return the score of the pixels so far."""
        tp, fp, fn = self.sums
        above, below = {
            "f1": (2 * tp, 2 * tp + fp + fn),
            "iou": (1 * tp, tp + fp + fn),
            "precision": (1 * tp, tp + fp),
            "recall": (1 * tp, tp + fn),
        }[self.statistic]
        return ops.divide_no_nan(above, below)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        names = ("statistic", "class_index", "ignore", "name")
        return {name: getattr(self, name) for name in names}


@serializable
class PooledAccuracy(_Counts):
    """Share of the pixels of an epoch whose most probable class is the true one.

    Args:
        ignore: Label of the pixels that do not count.
        name: Name in the history.
    """

    SUMS = ("right", "all")

    def __init__(self, ignore: int = IGNORE, name: str = "accuracy") -> None:
        super().__init__(ignore, name)

    def of(self, pixels: Pixels) -> tuple[Any, ...]:
        """Return right pixels and all pixels."""
        found = ops.one_hot(ops.argmax(pixels.probability, axis=-1), pixels.truth.shape[-1], dtype="float32")
        return ops.sum(pixels.truth * found, axis=-1), ops.ones_like(pixels.weight)

    def result(self) -> Any:
        """Return the share of the pixels so far."""
        right, total = self.sums
        return ops.divide_no_nan(1 * right, 1 * total)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {"ignore": self.ignore, "name": self.name}
