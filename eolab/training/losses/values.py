"""Losses of values, such as a share or a height of each pixel: float labels, NaN where none is known."""

from typing import Any

import keras
from keras import ops

from eolab.core.errors import DataError
from eolab.training.losses.base import Batch, Loss, fit, number, weights_of


class ValueLoss(Loss):
    """Base of the losses of values: labels and predictions (B, …), or predictions (B, …, 1).

    Where the label is NaN or the sample weight 0, neither loss nor gradient changes, whatever was predicted.
    Sample weights are (B,) or (B, …).
    """

    KIND = "values"

    def prepare(self, y_true: Any, y_pred: Any, sample_weight: Any, logits: bool) -> Batch:
        """Return labels and predictions of one shape."""
        return values_of(y_true, y_pred, sample_weight, self.NAME)


def values_of(y_true: Any, y_pred: Any, sample_weight: Any, name: str) -> Batch:
    """Return labels and predictions of one shape, both 0 where the label is NaN.

    Raises:
        DataError: If the shapes do not fit.
    """
    truth, given = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
    if len(given.shape) == len(truth.shape) + 1 and given.shape[-1] == 1:
        given = ops.squeeze(given, -1)
    if not fit(tuple(truth.shape), tuple(given.shape)):
        raise DataError(
            f"Loss {name!r} needs labels (B, …) and predictions (B, …) or (B, …, 1): "
            f"got labels {tuple(truth.shape)} and predictions {tuple(given.shape)}."
        )
    counts, weight = weights_of(ops.logical_not(ops.isnan(truth)), sample_weight)
    return Batch(ops.where(counts, truth, 0.0), ops.where(counts, given, 0.0), weight)


def _each(batch: Batch) -> tuple[Any, Any]:
    """Return truth and prediction with a last axis of length 1, over which Keras's losses take the mean."""
    return ops.expand_dims(batch.truth, -1), ops.expand_dims(batch.prediction, -1)


class MeanSquaredError(ValueLoss):
    """Mean squared error, in squared units of the labels."""

    NAME = "mse"

    def of(self, batch: Batch) -> Any:
        """Return the loss of a prepared batch."""
        return batch.mean(keras.losses.mean_squared_error(*_each(batch)))


class MeanAbsoluteError(ValueLoss):
    """Mean absolute error, in units of the labels."""

    NAME = "mae"

    def of(self, batch: Batch) -> Any:
        """Return the loss of a prepared batch."""
        return batch.mean(keras.losses.mean_absolute_error(*_each(batch)))


class Huber(ValueLoss):
    """Huber loss: half the squared error up to `delta`, linear with slope `delta` beyond.

    Huber, *Robust estimation of a location parameter*, 1964.

    Args:
        delta: Error at which the loss becomes linear, in units of the labels, above 0.
        **options: Options of the base.
    """

    NAME = "huber"

    def __init__(self, delta: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.delta = number("delta", delta, open_low=True)

    def of(self, batch: Batch) -> Any:
        """Return the loss of a prepared batch."""
        return batch.mean(keras.losses.huber(*_each(batch), delta=self.delta))


class ContinuousIoU(ValueLoss):
    """One minus the soft intersection over union of values from 0 up, pooled over the batch.

    ``1 − (Σ min(t, p) + s) / (Σ max(t, p) + s)``, the Ružička similarity (weighted Jaccard index); for values
    of 0 and 1 it is the intersection over union. Labels must be 0 or more.

    Args:
        smooth: Amount s added to both sums, in units of the labels, above 0.
        **options: Options of the base.
    """

    NAME = "continuous_iou"

    def __init__(self, smooth: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.smooth = number("smooth", smooth, open_low=True)

    def of(self, batch: Batch) -> Any:
        """Return the loss of a prepared batch."""
        apart = ops.sum(batch.weight * ops.abs(batch.truth - batch.prediction))  # Σ max − Σ min
        union = ops.sum(batch.weight * ops.maximum(batch.truth, batch.prediction))
        return apart / (union + self.smooth)
