"""Scores of a training epoch, pooled over all its pixels or samples."""

import inspect
from typing import Any, Literal, get_args

import keras
from keras import ops

from eolab.core.errors import check_known
from eolab.data.schemes import IGNORE
from eolab.models.layers import Saved
from eolab.training.losses.base import inside, whole
from eolab.training.losses.classes import Pixels, pixels_of
from eolab.training.losses.values import values_of

Statistic = Literal["f1", "iou", "precision", "recall"]
ValueStatistic = Literal["mae", "mse", "r2"]


class Score(Saved, keras.metrics.Metric):
    """Base of the scores: each argument is kept as an attribute of its name."""

    def zeros(self, *names: str, shape: tuple[int, ...] = ()) -> list[Any]:
        """Return sums that begin at 0, float32."""
        return [self.add_weight(shape, "zeros", "float32", name) for name in names]

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}


class _Counts(Score):
    """Base: sums of pixels, kept from batch to batch.

    Sums are exact up to 2^24 pixels of a kind and to seven digits beyond.
    """

    SUMS: tuple[str, ...] = ()

    def __init__(self, ignore: int, name: str) -> None:
        super().__init__(name=name, dtype="float32")
        self.ignore = int(ignore)
        self.sums = self.zeros(*self.SUMS)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch: class indices (B, …), probabilities (B, …, K), weights (B,) or (B, …)."""
        pixels = pixels_of(y_true, y_pred, sample_weight, self.ignore, self.name)
        for total, values in zip(self.sums, self.of(pixels), strict=True):
            total.assign_add(ops.sum(pixels.weight * values))

    def of(self, pixels: Pixels) -> tuple[Any, ...]:
        """Return what each pixel adds to each sum, (B, …)."""
        raise NotImplementedError


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
        check_known(statistic, get_args(Statistic), f"There is no pooled score {statistic!r}")
        super().__init__(ignore, name or statistic)
        self.statistic, self.class_index = statistic, whole("class_index", class_index + 1) - 1

    def of(self, pixels: Pixels) -> tuple[Any, ...]:
        """Return true positives, false positives and false negatives."""
        true = pixels.truth[..., self.class_index]
        found = ops.cast(ops.argmax(pixels.prediction, axis=-1) == self.class_index, "float32")
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
        found = ops.one_hot(ops.argmax(pixels.prediction, axis=-1), pixels.truth.shape[-1], dtype="float32")
        return ops.sum(pixels.truth * found, axis=-1), ops.ones_like(pixels.weight)

    def result(self) -> Any:
        """Return the share of the pixels so far."""
        right, total = self.sums
        return ops.divide_no_nan(1 * right, 1 * total)


class ValueScore(Score):
    """Error of predicted values over all pixels of an epoch whose label is not NaN.

    ``mae`` and ``mse`` are the mean absolute and squared error; ``r2 = 1 − mse / variance of the labels`` is
    the coefficient of determination, 0 where all labels are equal. Mean and variance are merged batch by
    batch (Chan, Golub & LeVeque, *Updating formulae and a pairwise algorithm for computing sample variances*,
    1979), as sums of squares would lose the digits of labels far from 0.

    Args:
        statistic: Which of them.
        name: Name in the history; the statistic by default.

    Raises:
        ParameterError: If the statistic is unknown.
    """

    def __init__(self, statistic: ValueStatistic = "mae", name: str | None = None) -> None:
        check_known(statistic, get_args(ValueStatistic), f"There is no value score {statistic!r}")
        super().__init__(name=name or statistic, dtype="float32")
        self.statistic = statistic
        self.total, self.error, self.mean, self.spread = self.zeros("total", "error", "mean", "spread")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch: labels (B, …), predictions (B, …) or (B, …, 1), weights (B,) or (B, …)."""
        batch = values_of(y_true, y_pred, sample_weight, self.name)
        error = ops.abs(batch.truth - batch.prediction)
        self.error.assign_add(ops.sum(batch.weight * (error if self.statistic == "mae" else error**2)))
        added, mean = ops.sum(batch.weight), batch.mean(batch.truth)
        spread = ops.sum(batch.weight * ops.square(batch.truth - mean))
        share = ops.divide_no_nan(added, self.total + added)
        apart = mean - self.mean
        self.spread.assign_add(spread + ops.square(apart) * self.total * share)
        self.mean.assign_add(apart * share)
        self.total.assign_add(added)

    def result(self) -> Any:
        """Return the score of the pixels so far; 0 where there are none."""
        if self.statistic != "r2":
            return ops.divide_no_nan(1 * self.error, 1 * self.total)
        return ops.where(self.spread > 0, 1 - ops.divide_no_nan(1 * self.error, 1 * self.spread), 0.0)


class MeanAveragePrecision(Score):
    """Mean over the classes of the average precision of an epoch; classes without a sample count nothing.

    Probabilities are sorted into bins of equal width of their logit, from −12 to 12: samples in one bin have
    one score, as ties have in scikit-learn's average precision, with which it otherwise agrees. A label
    between 0 and 1 counts as that share of a yes.

    Args:
        classes: Number of classes K.
        bins: Number of bins.
        name: Name in the history.

    Raises:
        ParameterError: If classes or bins are no positive whole number.
    """

    LOGIT = 12.0

    def __init__(self, classes: int, bins: int = 512, name: str = "average_precision") -> None:
        super().__init__(name=name, dtype="float32")
        self.classes, self.bins = whole("classes", classes), whole("bins", bins)
        self.hits, self.all = self.zeros("hits", "all", shape=(self.classes * self.bins,))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch: labels and probabilities (B, K), weights (B,)."""
        label, given = ops.cast(y_true, "float32"), inside(ops.cast(y_pred, "float32"))
        place = (ops.log(given) - ops.log(1 - given)) / (2 * self.LOGIT) + 0.5  # 0 to 1 over the bins
        bin_of = ops.clip(ops.cast(place * self.bins, "int32"), 0, self.bins - 1)
        cell = ops.reshape(bin_of + self.bins * ops.arange(self.classes, dtype="int32"), (-1,))
        weight = ops.ones_like(label)
        if sample_weight is not None:
            weight = weight * ops.reshape(ops.cast(sample_weight, "float32"), (-1, 1))
        for total, values in ((self.hits, weight * label), (self.all, weight)):
            total.assign_add(ops.segment_sum(ops.reshape(values, (-1,)), cell, self.classes * self.bins))

    def result(self) -> Any:
        """Return the mean of the samples so far; 0 where there is no label."""
        positives, predicted = (
            ops.flip(ops.reshape(ops.convert_to_tensor(total), (self.classes, self.bins)), axis=1)
            for total in (self.hits, self.all)
        )
        hits = ops.cumsum(positives, axis=1)
        precision = ops.divide_no_nan(hits, ops.cumsum(predicted, axis=1))
        each = ops.divide_no_nan(ops.sum(positives * precision, axis=1), hits[:, -1])
        return ops.divide_no_nan(ops.sum(each), ops.sum(ops.cast(hits[:, -1] > 0, "float32")))
