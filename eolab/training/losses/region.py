"""Losses that compare regions: soft counts of right and wrong pixels, pooled over all pixels of the batch.

Pooled over the batch, not per image: the scores are pooled over pixels too, and in a patch without the class
a single false pixel would otherwise cost as much as a whole region that was missed.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from keras import ops

from eolab.core.errors import ParameterError, did_you_mean
from eolab.training.losses.base import ClassLoss, Pixels, number, serializable

Form = Literal["log", "linear"]


class RegionLoss(ClassLoss):
    """Base of the losses of regions: the mean over classes of a loss of soft counts.

    Args:
        smooth: Pixels s added to numerator and denominator.
        background: Whether class 0 counts as a class too.
        **options: Options of the base.
    """

    def __init__(self, smooth: float = 1.0, background: bool = False, **options: Any) -> None:
        super().__init__(**options)
        if not isinstance(background, bool):
            raise ParameterError(f"Option background of a loss must be True or False: got {background!r}.")
        self.smooth, self.background = number("smooth", smooth, open_low=True), background

    def of(self, pixels: Pixels) -> Any:
        """Return the loss of labelled pixels."""
        found = pixels.by_class(pixels.truth * pixels.prediction)  # (K,)
        missed = pixels.by_class(pixels.truth * (1 - pixels.prediction))
        false = pixels.by_class((1 - pixels.truth) * pixels.prediction)
        values = self.of_counts(found, missed, false)
        return ops.mean(values if self.background else values[1:])

    def of_counts(self, found: Any, missed: Any, false: Any) -> Any:
        """Return the loss of each class (K,) from its soft TP, FN and FP."""
        raise NotImplementedError


@serializable
class IoU(RegionLoss):
    """Loss of the soft intersection over union of the classes that are not background.

    With soft counts TP = Σ t p, FN = Σ t (1 − p), FP = Σ (1 − t) p over all pixels of the batch that count,
    ``IoU = (TP + s) / (TP + FN + FP + s)`` and the loss is ``−ln IoU`` (Yu, Jiang, Wang, Cao & Huang,
    *UnitBox: an advanced object detection network*, 2016) or, with ``form="linear"``, ``1 − IoU`` (Rahman &
    Wang, *Optimizing intersection-over-union in deep neural networks for image segmentation*, 2016).

    Why −ln IoU, where some write ln(1 − IoU): that has its minimum −∞ at the perfect mask, and a gradient
    that grows without bound on the way there, while it is flat where nothing is found yet. −ln IoU falls
    to 0, and its gradient is largest where the intersection is small, as at the start of a training with two
    per cent of the class. The s = 1 pixel makes it finite on an empty mask: it is then ln(1 + FP / s), whose
    gradient 1 / (s + FP) still pushes every false pixel down.

    Args:
        form: ``"log"`` or ``"linear"``.
        smooth: Pixels s added to intersection and union.
        background: Whether class 0 counts as a class too.
        **options: Options of the base.

    Raises:
        ParameterError: If an option is not what it may be.
    """

    NAME = "iou"

    def __init__(self, form: Form = "log", **options: Any) -> None:
        super().__init__(**options)
        if form not in get_args(Form):
            raise ParameterError(
                f"Form of loss 'iou' cannot be {form!r}: {did_you_mean(form, get_args(Form))}"
            )
        self.form = form

    def of_counts(self, found: Any, missed: Any, false: Any) -> Any:
        """Return the loss of each class."""
        wrong, union = missed + false, found + missed + false + self.smooth
        return -ops.log((found + self.smooth) / union) if self.form == "log" else wrong / union


@serializable
class Tversky(RegionLoss):
    """Loss of the soft Tversky index, in which missed and false pixels weigh differently.

    Salehi, Erdogmus & Gholipour, *Tversky loss function for image segmentation using 3D fully convolutional
    deep networks*, 2017: ``1 − (TP + s) / (TP + α FN + β FP + s)`` with the soft counts of :class:`IoU`, mean
    over the classes that are not background. Here α weighs the missed pixels and β the false ones; the paper
    names them the other way round and recommends 0.7 for the missed ones. α = β = 0.5 is the Dice loss, 1 and
    1 the linear IoU loss. Keras's loss of that name has gradient 0 on an empty mask; here s prevents it.

    Args:
        alpha: Weight of missed pixels.
        beta: Weight of false pixels, more than 0.
        **options: Options of the base.

    Raises:
        ParameterError: If an option is not what it may be.
    """

    NAME = "tversky"

    def __init__(self, alpha: float = 0.7, beta: float = 0.3, **options: Any) -> None:
        super().__init__(**options)
        self.alpha, self.beta = number("alpha", alpha), number("beta", beta, open_low=True)

    def of_counts(self, found: Any, missed: Any, false: Any) -> Any:
        """Return the loss of each class."""
        wrong = self.alpha * missed + self.beta * false
        return wrong / (found + wrong + self.smooth)
