"""What the losses share: which pixels count, sums that stay finite, options that are printed and saved."""

import inspect
import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import keras
from keras import ops

from eolab.core.errors import ParameterError
from eolab.models.layers import Saved

Kind = Literal["classes", "labels", "values"]
EPSILON = 1e-7  # probabilities are drawn in from 0 and 1 by this much before a logarithm
TINY = 1e-30  # least base of a power, whose slope at 0 has no end where the exponent is below 1


@dataclass(frozen=True)
class Batch:
    """Truth and predictions of a batch, ready for a loss.

    Attributes:
        truth: True values, float32.
        prediction: Predicted values of the same shape; a constant where the weight is 0, whatever was
            predicted there, so that not even NaN reaches loss or gradient.
        weight: Weight of each sample or pixel, float32: 0 where it is ignored, else 1 or its sample weight.
    """

    truth: Any
    prediction: Any
    weight: Any

    def mean(self, values: Any) -> Any:
        """Return the weighted mean of values with the shape of `weight`; 0 where all weights are 0."""
        return ops.sum(self.weight * values) / ops.maximum(ops.sum(self.weight), EPSILON)


class Loss(Saved, keras.losses.Loss):
    """Base of all losses: one number a batch, computed in float32 whatever the precision of the predictions.

    Each option is an argument of ``__init__`` and an attribute of that name.

    Args:
        name: Name of the loss.
    """

    NAME: ClassVar[str] = ""
    KIND: ClassVar[Kind] = "classes"

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name or self.NAME, reduction="sum", dtype="float32")

    @property
    def kind(self) -> Kind:
        """What it is a loss of."""
        return self.KIND

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Return the loss of a batch of probabilities; a sample or pixel of weight 2 counts as two."""
        return self.mean(y_true, y_pred, sample_weight, logits=False)[0]

    def mean(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None, *, logits: bool = True
    ) -> tuple[Any, Any]:
        """Return the loss of a batch, and the weight of all that counts in it; float32 scalars.

        From logits, the gradient of a pixel that is wrong is that of the formula however wrong it is. From
        probabilities, which float32 rounds to 0 and 1, it is lost from a difference of logits of 16 on.

        Args:
            y_true: Labels.
            y_pred: What the last activation of the network takes; probabilities where `logits` is False.
            sample_weight: Weights of samples or pixels.
            logits: Whether `y_pred` are logits.
        """
        with keras.name_scope(self.name):
            batch = self.prepare(y_true, y_pred, sample_weight, logits)
            return self.of(batch), ops.sum(batch.weight)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of a batch without weights."""
        return self(y_true, y_pred)

    def prepare(self, y_true: Any, y_pred: Any, sample_weight: Any, logits: bool) -> Any:
        """Return the batch that :meth:`of` takes; the same for all losses of a kind."""
        raise NotImplementedError

    def of(self, batch: Any) -> Any:
        """Return the loss of a prepared batch, a float32 scalar."""
        raise NotImplementedError

    @classmethod
    def option_names(cls) -> list[str]:
        """Return the names of the options, those of the class first, then those of its bases."""
        names = [
            name
            for base in cls.__mro__
            if issubclass(base, Loss) and "__init__" in vars(base)
            for name, argument in inspect.signature(base).parameters.items()
            if argument.kind is not argument.VAR_KEYWORD and name != "name"
        ]
        return list(dict.fromkeys(names))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {"name": self.name, **{name: getattr(self, name) for name in self.option_names()}}

    def __str__(self) -> str:
        options = {name: getattr(self, name) for name in self.option_names() if name != "ignore"}
        given = {name: value for name, value in options.items() if value is not None}
        plain = {name: f"{value:g}" if isinstance(value, float) else value for name, value in given.items()}
        text = ", ".join(f"{name}={value}" for name, value in plain.items())
        return f"{self.NAME}({text})"  # never plain "ce": Keras would put its own loss of that name here

    __repr__ = __str__


def weights_of(known: Any, sample_weight: Any) -> tuple[Any, Any]:
    """Return which samples or pixels count, bool, and their float32 weights, in the shape of `known`."""
    weight = ops.cast(known, "float32")
    if sample_weight is None:
        return known, weight
    given = ops.cast(sample_weight, "float32")
    while len(given.shape) > len(weight.shape) and given.shape[-1] == 1:
        given = ops.squeeze(given, -1)
    while len(given.shape) < len(weight.shape):
        given = ops.expand_dims(given, -1)
    weight = weight * given
    return weight > 0, weight


def fit(label: tuple[int | None, ...], pixels: tuple[int | None, ...]) -> bool:
    """Return whether two shapes are the same as far as they are known."""
    pairs = zip(label, pixels, strict=False)
    return len(label) == len(pixels) and all(a == b or None in (a, b) for a, b in pairs)


def inside(probability: Any) -> Any:
    """Draw probabilities linearly in from 0 and 1, so that logarithms and their gradients stay finite.

    Clipping would do the first, but has no gradient where it clips.
    """
    return EPSILON + (1 - 2 * EPSILON) * probability


def number(name: str, value: Any, *, high: float = float("inf"), open_low: bool = False) -> float:
    """Return an option as a float.

    Raises:
        ParameterError: If it is no finite number, below 0 (or 0, where that end is open) or above `high`.
    """
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not usable or not 0 <= value <= high or (open_low and value == 0):
        least = "above 0" if open_low else "from 0"
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
