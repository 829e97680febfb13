"""What the losses share: which pixels count, sums that stay finite, options that are printed and saved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import keras
from keras import ops

from eolab.core.errors import DataError, ParameterError
from eolab.data.schemes import IGNORE

EPSILON = 1e-7  # probabilities are drawn in from 0 and 1 by this much before a logarithm

serializable = keras.saving.register_keras_serializable(package="eolab")


@dataclass(frozen=True)
class Pixels:
    """Labels and predictions of a batch, ready for a loss.

    Attributes:
        truth: One-hot truth, float32 (B, …, K); all 0 where a pixel does not count.
        probability: Predicted probabilities, float32 (B, …, K); 1/K where a pixel does not count, whatever
            was predicted there, so that not even NaN reaches loss or gradient.
        weight: Weight of each pixel, float32 (B, …): 0 where it does not count, 1 or the sample's weight.
    """

    truth: Any
    probability: Any
    weight: Any

    def mean(self, values: Any) -> Any:
        """Return the mean of values (B, …) over the pixels that count; 0 where there are none."""
        return ops.sum(self.weight * values) / ops.maximum(ops.sum(self.weight), EPSILON)

    def at_label(self) -> Any:
        """Return the probability of the true class, (B, …); 0 where a pixel does not count."""
        return ops.sum(self.truth * self.probability, axis=-1)

    def cross_entropy(self) -> Any:
        """Return minus the logarithm of the probability of the true class, (B, …)."""
        return -ops.log(inside(self.at_label()))

    def by_class(self, values: Any) -> Any:
        """Return the weighted sum of values (B, …, K) over all pixels, (K,)."""
        return ops.sum(ops.expand_dims(self.weight, -1) * values, axis=tuple(range(len(self.weight.shape))))


class PixelLoss(keras.losses.Loss):
    """Base of the losses: labels (B, …) with an ignore label, probabilities (B, …, K), one number.

    Pixels with the ignore label or with sample weight 0 change neither loss nor gradient. Computed in float32
    whatever the precision of the predictions.

    Args:
        ignore: Label of the pixels that do not count.
        name: Name of the loss.
    """

    NAME: ClassVar[str] = ""
    OPTIONS: ClassVar[tuple[str, ...]] = ()

    def __init__(self, ignore: int = IGNORE, name: str | None = None) -> None:
        super().__init__(name=name or self.NAME, reduction="sum", dtype="float32")
        self.ignore = int(ignore)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Return the loss of a batch.

        Args:
            y_true: Class indices, integers (B, …).
            y_pred: Probabilities (B, …, K).
            sample_weight: Weights (B,) or (B, …); a pixel with 2 counts as two pixels.
        """
        with keras.name_scope(self.name):
            return self.of(counted(y_true, y_pred, sample_weight, self.ignore, self.NAME))

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of a batch without weights."""
        return self(y_true, y_pred)

    def of(self, pixels: Pixels) -> Any:
        """Return the loss of labelled pixels, a float32 scalar."""
        raise NotImplementedError

    @property
    def options(self) -> dict[str, Any]:
        """Options by name."""
        return {name: getattr(self, name) for name in self.OPTIONS}

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {"name": self.name, "ignore": self.ignore, **self.options}

    def __str__(self) -> str:
        plain = {k: f"{v:g}" if isinstance(v, float) else v for k, v in self.options.items()}
        options = ", ".join(f"{name}={value}" for name, value in plain.items())
        return f"{self.NAME}({options})"  # never plain "ce": Keras would put its own loss of that name here

    __repr__ = __str__


def counted(y_true: Any, y_pred: Any, sample_weight: Any, ignore: int, name: str = "loss") -> Pixels:
    """Return labels and predictions ready for a loss.

    Raises:
        DataError: If the shapes do not fit.
    """
    label, given = ops.cast(y_true, "int32"), ops.cast(y_pred, "float32")
    if len(label.shape) == len(given.shape) and label.shape[-1] == 1:
        label = ops.squeeze(label, -1)
    if not _fit(tuple(label.shape), tuple(given.shape)[:-1]):
        raise DataError(
            f"Loss {name!r} needs class indices (B, …) and probabilities (B, …, K): "
            f"got labels {tuple(label.shape)} and predictions {tuple(given.shape)}."
        )
    counts = label != ignore  # (B, …)
    weight = ops.cast(counts, "float32")
    if sample_weight is not None:
        weight = weight * _like(ops.cast(sample_weight, "float32"), weight)
        counts = weight > 0
    K = given.shape[-1]
    shown = ops.expand_dims(counts, -1)  # (B, …, 1)
    truth = ops.one_hot(ops.where(counts, label, 0), K, dtype="float32") * ops.cast(shown, "float32")
    return Pixels(truth, ops.where(shown, given, 1.0 / K), weight)


def inside(probability: Any) -> Any:
    """Draw probabilities linearly in from 0 and 1, so that logarithms and their gradients stay finite.

    Clipping would do the first, but has no gradient where it clips.
    """
    return EPSILON + (1 - 2 * EPSILON) * probability


def number(
    name: str, value: Any, *, low: float = 0.0, high: float = float("inf"), open_low: bool = False
) -> float:
    """Return an option as a float.

    Raises:
        ParameterError: If it is no number, below `low` (or equal to it, where that end is open) or above
            `high`.
    """
    usable = isinstance(value, int | float) and not isinstance(value, bool)
    if not usable or not low <= value <= high or (open_low and value == low):
        least = f"above {low:g}" if open_low else f"from {low:g}"
        most = "" if high == float("inf") else f" to {high:g}"
        raise ParameterError(f"Option {name} of a loss must be a number {least}{most}: got {value!r}.")
    return float(value)


def whole(name: str, value: Any) -> int:
    """Return an option as a positive whole number.

    Raises:
        ParameterError: If it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ParameterError(f"Option {name} of a loss must be a whole number from 1: got {value!r}.")
    return value


def _fit(label: tuple[int | None, ...], pixels: tuple[int | None, ...]) -> bool:
    """Return whether two shapes are the same as far as they are known."""
    pairs = zip(label, pixels, strict=False)
    return len(label) == len(pixels) and all(a == b or None in (a, b) for a, b in pairs)


def _like(weight: Any, label: Any) -> Any:
    """Return sample weights with as many axes as the labels."""
    while len(weight.shape) > len(label.shape) and weight.shape[-1] == 1:
        weight = ops.squeeze(weight, -1)
    while len(weight.shape) < len(label.shape):
        weight = ops.expand_dims(weight, -1)
    return weight
