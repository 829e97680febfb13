"""Losses of several labels a sample: each label a yes or no of its own, a mean over samples and labels.

A label between 0 and 1, as mixup makes them, is so much of a yes. Smoothing s makes ``(1 − s) y + s / 2`` of
a label y (Szegedy, Vanhoucke, Ioffe, Shlens & Wojna, *Rethinking the Inception architecture for computer
vision*, 2016, section 7, for yes and no). Class weights multiply all that a class costs, positive weights
only what a missed yes costs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from eolab.core.errors import DataError, ParameterError
from eolab.training.losses.base import TINY, Batch, Loss, inside, number, weights_of

Weights = Sequence[float] | np.ndarray | None


@dataclass(frozen=True)
class Labels(Batch):
    """Labels of a batch: truth, probabilities of a yes (B, K), weights (B,).

    Attributes:
        no: Probabilities of a no, exact where they are small.
        log_yes: Logarithms of the probabilities of a yes.
        log_no: Logarithms of those of a no.
    """

    no: Any
    log_yes: Any
    log_no: Any


class LabelLoss(Loss):
    """Base of the losses of labels: labels 0 to 1 (B, K), logits or probabilities (B, K), weights (B,).

    Args:
        smoothing: Label smoothing, 0 to 1.
        class_weights: Weight of each class (K,), from 0; None for 1.
        positive_weights: Weight of a yes of each class (K,), from 0; None for 1.
        **options: Options of the base.

    Raises:
        ParameterError: If an option is out of its range.
    """

    KIND = "labels"

    def __init__(
        self,
        smoothing: float = 0.0,
        class_weights: Weights = None,
        positive_weights: Weights = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.smoothing = number("smoothing", smoothing, high=1.0)
        self.class_weights = _weights("class_weights", class_weights)
        self.positive_weights = _weights("positive_weights", positive_weights)

    def prepare(self, y_true: Any, y_pred: Any, sample_weight: Any, logits: bool) -> Labels:
        """Return labels and probabilities.

        Raises:
            DataError: If the shapes do not fit.
        """
        label, given = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
        if len(label.shape) != 2 or len(given.shape) != 2 or label.shape[1] != given.shape[1]:
            raise DataError(
                f"Loss {self.NAME!r} needs labels and probabilities (B, K): got labels "
                f"{tuple(label.shape)} and predictions {tuple(given.shape)}."
            )
        _, weight = weights_of(ops.ones_like(label[:, 0], dtype="bool"), sample_weight)
        if logits:
            yes, no = ops.sigmoid(given), ops.sigmoid(-given)
            return Labels(label, yes, weight, no, ops.log_sigmoid(given), ops.log_sigmoid(-given))
        p = inside(given)
        return Labels(label, given, weight, 1 - p, ops.log(p), ops.log(1 - p))

    def of(self, batch: Labels) -> Any:
        """Return the loss of a prepared batch."""
        classes = int(batch.truth.shape[1])
        truth = (1 - self.smoothing) * batch.truth + self.smoothing / 2
        yes, no = self.costs(batch)
        positive = self._by_class("positive_weights", classes)
        costs = self._by_class("class_weights", classes) * (positive * truth * yes + (1 - truth) * no)
        return batch.mean(ops.mean(costs, axis=1))

    def costs(self, batch: Labels) -> tuple[Any, Any]:
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


class BinaryCrossEntropy(LabelLoss):
    """Binary cross entropy, ``−y ln p − (1 − y) ln(1 − p)``; options as in the base."""

    NAME = "bce"

    def costs(self, batch: Labels) -> tuple[Any, Any]:
        """Return what a probability costs."""
        return -batch.log_yes, -batch.log_no


class BinaryFocal(LabelLoss):
    """Focal loss of each label, ``−α y (1 − p)^γ ln p − (1 − α) (1 − y) p^γ ln(1 − p)``.

    Lin, Goyal, Girshick, He & Dollár, *Focal loss for dense object detection*, 2017, equation 5; their best
    values are the defaults. With γ = 0 and α = 0.5 it is half the binary cross entropy.

    Args:
        gamma: How fast what is already right loses weight, 0 or more.
        alpha: Weight of a yes, 0 to 1.
        **options: Options of the base.
    """

    NAME = "binary_focal"

    def __init__(self, gamma: float = 2.0, alpha: float = 0.25, **options: Any) -> None:
        super().__init__(**options)
        self.gamma, self.alpha = number("gamma", gamma), number("alpha", alpha, high=1.0)

    def costs(self, batch: Labels) -> tuple[Any, Any]:
        """Return what a probability costs."""
        p, q = ops.maximum(batch.prediction, TINY), ops.maximum(batch.no, TINY)
        yes = -self.alpha * ops.power(q, self.gamma) * batch.log_yes
        return yes, -(1 - self.alpha) * ops.power(p, self.gamma) * batch.log_no


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
        **options: Options of the base.
    """

    NAME = "asymmetric"

    def __init__(
        self, positive: float = 0.0, negative: float = 4.0, shift: float = 0.05, **options: Any
    ) -> None:
        super().__init__(**options)
        self.positive, self.negative = number("positive", positive), number("negative", negative)
        self.shift = number("shift", shift, high=0.99)

    def costs(self, batch: Labels) -> tuple[Any, Any]:
        """Return what a probability costs."""
        shifted = ops.maximum(batch.prediction - self.shift, TINY)
        log_no = ops.log(ops.minimum(batch.no + self.shift, 1.0)) if self.shift else batch.log_no
        yes = -ops.power(ops.maximum(batch.no, TINY), self.positive) * batch.log_yes
        return yes, -ops.power(shifted, self.negative) * log_no


def _weights(name: str, values: Weights) -> list[float] | None:
    """Return weights by class as plain numbers."""
    if values is None:
        return None
    given = np.asarray(values, np.float64)
    if given.ndim != 1 or not len(given) or not (np.isfinite(given).all() and (given >= 0).all()):
        raise ParameterError(f"Option {name} of a loss must be numbers, one a class, from 0: got {values!r}.")
    return [float(value) for value in given]
