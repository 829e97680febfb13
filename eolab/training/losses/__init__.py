"""Losses by name, and scores of an epoch, in which what is not known counts nothing; for any backend.

A loss is a name, or a weighted sum given as a mapping. In a notebook::

    loss = losses.build({"focal": {"weight": 0.5, "gamma": 2}, "iou": 0.5})
    training.fit(model, …, loss=loss, metrics=[losses.PooledScore("f1")])

A training gives them logits, what the last activation of the network takes; called as above, they take
probabilities.

Classes: indices (B, …) with 255 for pixels to ignore, probabilities (B, …, K), or (B, …, 1) of two classes.

============== =======================================================================================
ce             cross entropy
focal          focal loss: gamma, alpha (Lin et al. 2017)
log_cosh       log cosh of probability minus truth
iou            −ln of the soft intersection over union, or 1 minus it: form, smooth, background
tversky        Tversky index: alpha (missed), beta (false), smooth, background (Salehi et al. 2017)
lovasz         Lovász-softmax (Berman et al. 2018)
boundary       cross entropy with extra weight near boundaries: extra, radius
center         cross entropy with extra weight near the centres of regions: extra, depth
============== =======================================================================================

Beside one of them, for labels (B, T) in order: ``change`` penalises changes of class between steps, as in
``{"ce": 1, "change": 0.5}``.

Labels: several labels a sample, labels and probabilities (B, K), options smoothing, class_weights and
positive_weights.

============== =======================================================================================
bce            binary cross entropy
binary_focal   focal loss of each label: gamma, alpha (Lin et al. 2017)
asymmetric     asymmetric loss: positive, negative, shift (Ridnik et al. 2021)
============== =======================================================================================

Values: float labels (B, …) with NaN for pixels to ignore, predictions (B, …) or (B, …, 1).

============== =======================================================================================
mse            mean squared error
mae            mean absolute error
huber          Huber loss: delta (Huber 1964)
continuous_iou 1 minus the soft intersection over union of values from 0 up: smooth
============== =======================================================================================
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import keras

from eolab.core.errors import ParameterError, check_all, check_known
from eolab.training.losses.base import Kind, Loss, number
from eolab.training.losses.classes import ClassChange, CrossEntropy, Focal, IoU, LogCosh, Lovasz, Tversky
from eolab.training.losses.labels import Asymmetric, BinaryCrossEntropy, BinaryFocal
from eolab.training.losses.scores import MeanAveragePrecision, PooledAccuracy, PooledScore, ValueScore
from eolab.training.losses.values import ContinuousIoU, Huber, MeanAbsoluteError, MeanSquaredError
from eolab.training.losses.weighted import Boundary, Center

OF_CLASSES = (CrossEntropy, Focal, LogCosh, IoU, Tversky, Lovasz, Boundary, Center)
OF_LABELS = (BinaryCrossEntropy, BinaryFocal, Asymmetric)
OF_VALUES = (MeanSquaredError, MeanAbsoluteError, Huber, ContinuousIoU)
LOSSES: dict[str, type[Loss]] = {loss.NAME: loss for loss in (*OF_CLASSES, *OF_LABELS, *OF_VALUES)}
TERMS: dict[str, type[Loss]] = {ClassChange.NAME: ClassChange}  # parts of a sum, no losses of their own
EXAMPLE = "'ce' or {'focal': 0.5, 'iou': {'weight': 0.5, 'form': 'linear'}}"


def names(kind: Kind | None = None) -> list[str]:
    """Return the names of the losses: all, or those of ``"classes"``, ``"labels"`` or ``"values"``."""
    return [name for name, loss in LOSSES.items() if kind in (None, loss.KIND)]


def build(loss: str | Mapping[str, Any] | keras.losses.Loss, **common: Any) -> keras.losses.Loss:
    """Return a loss from its name, or a weighted sum from a mapping.

    Example:
        >>> build({"focal": 0.5, "iou": {"weight": 0.5, "form": "linear"}}).parts
        [(0.5, focal(gamma=2, alpha=0.25)), (0.5, iou(form=linear, smooth=1, background=False))]

    Args:
        loss: One of :func:`names`; or weights by name, where options of a loss stand beside its weight
            (1 by default); or a loss, which is returned.
        **common: Options that every part takes, such as ``ignore=7``; options in `loss` go first.

    Raises:
        ParameterError: If a name or an option is unknown or out of its range, or the parts are of several
            kinds.
    """
    if isinstance(loss, keras.losses.Loss) and not common:
        return loss
    given = {loss: 1.0} if isinstance(loss, str) else loss
    if not isinstance(given, Mapping) or not given:
        raise ParameterError(f"A loss is a name or weights by name, such as {EXAMPLE}: got {loss!r}.")
    parts = [_part(name, part, common) for name, part in given.items()]
    return parts[0][1] if len(parts) == 1 and parts[0][0] == 1 else WeightedSum(parts)


def is_sum(loss: Any) -> bool:
    """Return whether a mapping names the parts of a sum: losses, or numbers as their weights."""
    return isinstance(loss, Mapping) and any(
        name in LOSSES or isinstance(part, int | float) for name, part in loss.items()
    )


def _part(name: str, given: Any, common: Mapping[str, Any]) -> tuple[float, Loss]:
    """Return weight and loss of a part."""
    known_parts = LOSSES | TERMS
    check_known(name, known_parts, f"There is no loss {name!r}")
    options = {**common, **(given if isinstance(given, Mapping) else {"weight": given})}
    weight = number(f"weight of {name!r}", options.pop("weight", 1.0), open_low=True)
    known = known_parts[name].option_names()
    check_all(options, known, f"Loss {name!r} has no option")
    return weight, known_parts[name](**options)


class WeightedSum(Loss):
    """Weighted sum of losses of one kind.

    Args:
        parts: Pairs of a weight, more than 0, and a loss.
        name: Name of the loss.

    Raises:
        ParameterError: If there are no parts, a weight is not positive, or the parts are of several kinds or
            ignore different labels.
    """

    NAME = "sum"

    def __init__(self, parts: Sequence[tuple[float, Loss]], name: str | None = None) -> None:
        if len({(part.KIND, getattr(part, "ignore", None)) for _, part in parts}) != 1:
            raise ParameterError(
                "A sum needs losses of one kind that ignore one label: got "
                f"{', '.join(f'{part.NAME} of {part.KIND}' for _, part in parts) or 'none'}."
            )
        super().__init__(name)
        self.parts = [(number("weight", weight, open_low=True), part) for weight, part in parts]

    @property
    def kind(self) -> Kind:
        """What its parts are losses of."""
        return self.parts[0][1].kind

    def prepare(self, y_true: Any, y_pred: Any, sample_weight: Any, logits: bool) -> Any:
        """Return what each part takes."""
        return self.parts[0][1].prepare(y_true, y_pred, sample_weight, logits)

    def of(self, batch: Any) -> Any:
        """Return the loss of a prepared batch."""
        return sum(weight * part.of(batch) for weight, part in self.parts)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        parts = [[weight, keras.saving.serialize_keras_object(part)] for weight, part in self.parts]
        return {"name": self.name, "parts": parts}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return the loss of saved arguments."""
        parts = [(weight, keras.saving.deserialize_keras_object(part)) for weight, part in config["parts"]]
        return cls(parts, config["name"])

    def __str__(self) -> str:
        return " + ".join(f"{weight:g}*{part}" for weight, part in self.parts)

    __repr__ = __str__
