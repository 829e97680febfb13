"""Losses of several labels a sample: each label a yes or no of its own, a mean over samples and labels.

A label between 0 and 1, as mixup makes them, is so much of a yes. Smoothing s makes ``(1 − s) y + s / 2`` of
a label y (Szegedy, Vanhoucke, Ioffe, Shlens & Wojna, *Rethinking the Inception architecture for computer
vision*, 2016, section 7, for yes and no). Class weights multiply all that a class costs, positive weights
only what a missed yes costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from eolab.core.errors import DataError, ParameterError
from eolab.training.losses.base import EPSILON, inside, number, serializable
from eolab.training.losses.reading import single

Weights = Sequence[float] | np.ndarray | None


class LabelLoss(keras.losses.Loss):
    """Base of the losses: labels 0 to 1 (B, K), probabilities (B, K), one number.

    Computed in float32 whatever the precision of the predictions.

    Args:
        smoothing: Of the labels, 0 to 1.
        class_weights: Weight of each class (K,), from 0; None for 1.
        positive_weights: Weight of a yes of each class (K,), from 0; None for 1.
        name: Name of the loss.

    Raises:
        ParameterError: If an option is out of its range.
    """

    NAME: ClassVar[str] = ""
    OPTIONS: ClassVar[tuple[str, ...]] = ("smoothing", "class_weights", "positive_weights")

    def __init__(
        self,
        smoothing: float = 0.0,
        class_weights: Weights = None,
        positive_weights: Weights = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name or self.NAME, reduction="sum", dtype="float32")
        self.smoothing = number("smoothing", smoothing, high=1.0)
        self.class_weights = _weights("class_weights", class_weights)
        self.positive_weights = _weights("positive_weights", positive_weights)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Return the loss of a batch.

        Args:
            y_true: Labels, 0 to 1 (B, K).
            y_pred: Probabilities (B, K).
            sample_weight: Weights (B,); a sample with 2 counts as two samples.

        Raises:
            DataError: If the shapes do not fit.
        """
        with keras.name_scope(self.name):
            label, given = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
            if len(label.shape) != 2 or len(given.shape) != 2 or label.shape[1] != given.shape[1]:
                raise DataError(
                    f"Loss {self.NAME!r} needs labels and probabilities (B, K): got labels "
                    f"{tuple(label.shape)} and predictions {tuple(given.shape)}."
                )
            each = ops.mean(self.of(label, given), axis=1)  # (B,)
            if sample_weight is None:
                return ops.mean(each)
            weight = ops.reshape(ops.cast(sample_weight, "float32"), (-1,))
            return ops.sum(weight * each) / ops.maximum(ops.sum(weight), EPSILON)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of a batch without weights."""
        return self(y_true, y_pred)

    def of(self, label: Any, probability: Any) -> Any:
        """Return what each label costs, (B, K)."""
        classes = int(label.shape[1])
        truth = (1 - self.smoothing) * label + self.smoothing / 2
        yes, no = self.costs(probability)
        positive = self._by_class("positive_weights", classes)
        return self._by_class("class_weights", classes) * (positive * truth * yes + (1 - truth) * no)

    def costs(self, probability: Any) -> tuple[Any, Any]:
        """Return what a probability costs where the label is yes and where it is no, (B, K) each."""
        raise NotImplementedError

    def _by_class(self, name: str, classes: int) -> Any:
        given = getattr(self, name)
        if given is None:
            return 1.0
        if len(given) != classes:
            raise DataError(
                f"Loss {self.NAME!r} has {len(given)} {name} for {classes} classes: give one each."
            )
        return ops.convert_to_tensor(given, "float32")

    @property
    def options(self) -> dict[str, Any]:
        """Options by name."""
        return {name: getattr(self, name) for name in self.OPTIONS}

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {"name": self.name, **self.options}

    def __str__(self) -> str:
        told = {k: v for k, v in self.options.items() if v is not None}
        plain = {k: f"{v:g}" if isinstance(v, float) else v for k, v in told.items()}
        return f"{self.NAME}({', '.join(f'{name}={value}' for name, value in plain.items())})"

    __repr__ = __str__


@serializable
class BinaryCrossEntropy(LabelLoss):
    """Binary cross entropy, ``−y ln p − (1 − y) ln(1 − p)``; options as in the base."""

    NAME = "bce"

    def costs(self, probability: Any) -> tuple[Any, Any]:
        """Return what a probability costs."""
        p = inside(probability)
        return -ops.log(p), -ops.log(1 - p)


@serializable
class BinaryFocal(LabelLoss):
    """Focal loss of each label, ``−α y (1 − p)^γ ln p − (1 − α) (1 − y) p^γ ln(1 − p)``.

    Lin, Goyal, Girshick, He & Dollár, *Focal loss for dense object detection*, 2017, equation 5; their best
    values are the defaults. With γ = 0 and α = 0.5 it is half the binary cross entropy.

    Args:
        gamma: How fast what is already right loses weight, 0 or more.
        alpha: Weight of a yes, 0 to 1.
        smoothing: As in the base, like the others.
        class_weights: Weight of each class.
        positive_weights: Weight of a yes of each class.
        name: Name of the loss.
    """

    NAME = "focal"
    OPTIONS = ("gamma", "alpha", *LabelLoss.OPTIONS)

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: float = 0.25,
        smoothing: float = 0.0,
        class_weights: Weights = None,
        positive_weights: Weights = None,
        name: str | None = None,
    ) -> None:
        super().__init__(smoothing, class_weights, positive_weights, name)
        self.gamma, self.alpha = number("gamma", gamma), number("alpha", alpha, high=1.0)

    def costs(self, probability: Any) -> tuple[Any, Any]:
        """Return what a probability costs."""
        p = inside(probability)
        yes = -self.alpha * ops.power(1 - p, self.gamma) * ops.log(p)
        return yes, -(1 - self.alpha) * ops.power(p, self.gamma) * ops.log(1 - p)


@serializable
class Asymmetric(LabelLoss):
    """Asymmetric loss: the many labels that are not there lose weight sooner than the few that are.

    Ridnik, Ben-Baruch, Zamir, Noy, Friedman, Protter & Zelnik-Manor, *Asymmetric loss for multi-label
    classification*, 2021, equations 4 to 7: ``−y (1 − p)^γ⁺ ln p − (1 − y) q^γ⁻ ln(1 − q)`` with the shifted
    probability ``q = max(p − m, 0)``: a label that is not there costs nothing where its probability is below
    m. Theirs for MS-COCO are the defaults.

    Args:
        positive: γ⁺, 0 or more.
        negative: γ⁻, 0 or more.
        shift: m, from 0 to 0.99.
        smoothing: As in the base, like the others.
        class_weights: Weight of each class.
        positive_weights: Weight of a yes of each class.
        name: Name of the loss.
    """

    NAME = "asymmetric"
    OPTIONS = ("positive", "negative", "shift", *LabelLoss.OPTIONS)

    def __init__(
        self,
        positive: float = 0.0,
        negative: float = 4.0,
        shift: float = 0.05,
        smoothing: float = 0.0,
        class_weights: Weights = None,
        positive_weights: Weights = None,
        name: str | None = None,
    ) -> None:
        super().__init__(smoothing, class_weights, positive_weights, name)
        self.positive, self.negative = number("positive", positive), number("negative", negative)
        self.shift = number("shift", shift, high=0.99)

    def costs(self, probability: Any) -> tuple[Any, Any]:
        """Return what a probability costs."""
        p = inside(probability)
        q = inside(ops.relu(probability - self.shift))  # after the shift: x^γ has no slope at 0 for γ < 1
        yes = -ops.power(1 - p, self.positive) * ops.log(p)
        return yes, -ops.power(q, self.negative) * ops.log(1 - q)


LOSSES: dict[str, type[LabelLoss]] = {
    loss.NAME: loss for loss in (BinaryCrossEntropy, BinaryFocal, Asymmetric)
}


def multilabel_names() -> list[str]:
    """Return the names of the losses of several labels a sample."""
    return list(LOSSES)


def build_multilabel(text: str, **options: Any) -> LabelLoss:
    """Return a loss of several labels a sample from its name, perhaps with options in brackets.

    Args:
        text: One of :func:`multilabel_names`, for example ``"asymmetric(negative=4, shift=0.05)"``.
        **options: Further options of the loss; those in the text go first.

    Raises:
        ParameterError: If the text cannot be read, or an option is unknown or out of its range.
    """
    name, given = single(text, {name: loss.OPTIONS for name, loss in LOSSES.items()}, options)
    return LOSSES[name](**given)


def _weights(name: str, values: Weights) -> list[float] | None:
    """Return weights by class as plain numbers."""
    if values is None:
        return None
    given = np.asarray(values, np.float64)
    if given.ndim != 1 or not len(given) or not (np.isfinite(given).all() and (given >= 0).all()):
        raise ParameterError(f"Option {name} of a loss must be numbers, one a class, from 0: got {values!r}.")
    return [float(value) for value in given]
