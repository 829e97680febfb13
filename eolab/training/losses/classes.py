"""Losses of classes: of each pixel alone, of regions, and the Lovász surrogate of 1 − Jaccard.

Losses of regions are soft counts of right and wrong pixels, pooled over the batch, not per image: the scores
are pooled over pixels too, and in a patch without the class a single false pixel would otherwise cost as much
as a whole region that was missed.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

from keras import ops

from eolab.core.errors import DataError, ParameterError, check_known
from eolab.data.schemes import IGNORE
from eolab.training.losses.base import EPSILON, TINY, Batch, Loss, fit, inside, number, weights_of

Form = Literal["log", "linear"]


@dataclass(frozen=True)
class Pixels(Batch):
    """Classes of a batch: one-hot truth (B, …, K), probabilities (B, …, K), weights (B, …).

    The truth is all 0 and each probability 1/K where a pixel is ignored.

    Attributes:
        logarithm: Logarithms of the probabilities, exact where these are rounded to 0.
    """

    logarithm: Any

    def cross_entropy(self) -> Any:
        """Return minus the logarithm of the probability of the true class, (B, …)."""
        return -ops.sum(self.truth * self.logarithm, axis=-1)

    def by_class(self, values: Any) -> Any:
        """Return the weighted sum of values (B, …, K) over all pixels, (K,)."""
        return ops.sum(ops.expand_dims(self.weight, -1) * values, axis=tuple(range(len(self.weight.shape))))


class ClassLoss(Loss):
    """Base of the losses of classes: indices (B, …), logits or probabilities (B, …, K), an ignore label.

    One probability a pixel, (B, …, 1), is that of class 1 of two, as is one logit. Pixels with the ignore
    label or with sample weight 0 change neither loss nor gradient. Sample weights are (B,) or (B, …).

    Args:
        ignore: Label of the pixels that are ignored.
        name: Name of the loss.
    """

    def __init__(self, ignore: int = IGNORE, name: str | None = None) -> None:
        super().__init__(name)
        self.ignore = int(ignore)

    def prepare(self, y_true: Any, y_pred: Any, sample_weight: Any, logits: bool) -> Pixels:
        """Return one-hot labels and probabilities."""
        return pixels_of(y_true, y_pred, sample_weight, self.ignore, self.NAME, logits)


def pixels_of(
    y_true: Any, y_pred: Any, sample_weight: Any, ignore: int, name: str, logits: bool = False
) -> Pixels:
    """Return one-hot labels and probabilities of predictions, weight 0 where a pixel is ignored.

    Raises:
        DataError: If the shapes do not fit.
    """
    label, given = ops.cast(y_true, "int32"), ops.cast(y_pred, "float32")
    if len(label.shape) == len(given.shape) and label.shape[-1] == 1:
        label = ops.squeeze(label, -1)
    if not fit(tuple(label.shape), tuple(given.shape)[:-1]):
        raise DataError(
            f"Loss {name!r} needs class indices (B, …) and probabilities (B, …, K): "
            f"got labels {tuple(label.shape)} and predictions {tuple(given.shape)}."
        )
    if given.shape[-1] == 1:
        given = ops.concatenate([ops.zeros_like(given) if logits else 1 - given, given], axis=-1)  # (B, …, 2)
    counts, weight = weights_of(label != ignore, sample_weight)
    K = given.shape[-1]
    shown = ops.expand_dims(counts, -1)  # (B, …, 1)
    truth = ops.one_hot(ops.where(counts, label, 0), K, dtype="float32") * ops.cast(shown, "float32")
    if logits:
        logarithm = ops.log_softmax(ops.where(shown, given, 0.0), axis=-1)
        return Pixels(truth, ops.exp(logarithm), weight, logarithm)
    given = ops.where(shown, given, 1.0 / K)
    return Pixels(truth, given, weight, ops.log(inside(given)))


# === Pixel by pixel ===


class CrossEntropy(ClassLoss):
    """Cross entropy, ``−ln p`` of the true class, mean over the pixels that are not ignored."""

    NAME = "ce"

    def of(self, pixels: Pixels) -> Any:
        """Return the loss of labelled pixels."""
        return pixels.mean(pixels.cross_entropy())


class Focal(ClassLoss):
    """Focal loss: cross entropy in which pixels that are already right count little.

    Lin, Goyal, Girshick, He & Dollár, *Focal loss for dense object detection*, 2017, equation 5, mean over
    the pixels that count: ``−α_t (1 − p_t)^γ ln p_t`` with p_t the probability of the true class; ``α_t`` is
    `alpha` for every class but 0, and ``1 − alpha`` for class 0, the background. Their best values are the
    defaults. With γ = 0 and α = 0.5 it is half the cross entropy.

    Args:
        gamma: How fast the weight falls with p_t, 0 or more.
        alpha: Weight of the classes that are not background, 0 to 1.
        **options: Options of the base.

    Raises:
        ParameterError: If an option is out of its range.
    """

    NAME = "focal"

    def __init__(self, gamma: float = 2.0, alpha: float = 0.25, **options: Any) -> None:
        super().__init__(**options)
        self.gamma, self.alpha = number("gamma", gamma), number("alpha", alpha, high=1.0)

    def of(self, pixels: Pixels) -> Any:
        """Return the loss of labelled pixels."""
        background = pixels.truth[..., 0]  # (B, …)
        balance = self.alpha + (1 - 2 * self.alpha) * background
        cost = pixels.cross_entropy()
        wrong = ops.maximum(-ops.expm1(-cost), TINY)  # 1 − p_t
        return pixels.mean(balance * ops.power(wrong, self.gamma) * cost)


class LogCosh(ClassLoss):
    """Logarithm of the hyperbolic cosine of probability minus one-hot truth, mean over pixels and classes.

    ``ln cosh x`` is x²/2 for a small error and grows like abs(x) for a large one, so that a wrong label pulls
    less than in a squared error. Written as ``ln(1 + 2 sinh²(x/2))``, which is exact for small errors too.
    """

    NAME = "log_cosh"

    def of(self, pixels: Pixels) -> Any:
        """Return the loss of labelled pixels."""
        error = pixels.prediction - pixels.truth  # (B, …, K)
        return pixels.mean(ops.mean(ops.log1p(2 * ops.square(ops.sinh(error / 2))), axis=-1))


class ClassChange(ClassLoss):
    """How much the classes of one place change from one step to the next: a term beside a loss.

    For labels (B, T) and probabilities p (B, T, K), such as those of T years, it is half the squared distance
    ``½ Σ_k (p_k(t) − p_k(t+1))²``, mean over the neighbouring steps that both count: 0 where nothing changes,
    1 from one class to another without any doubt. It asks for equal probabilities, not for sure ones, and
    knows nothing of the label. Two steps weigh as the lighter of them.
    """

    NAME = "change"

    def of(self, pixels: Pixels) -> Any:
        """Return the penalty of labelled steps.

        Raises:
            DataError: If they have no order.
        """
        if len(pixels.truth.shape) != 3:
            raise DataError(
                f"Loss {self.NAME!r} needs steps in order, labels (B, T): got "
                f"{tuple(pixels.truth.shape[:-1])}, so leave it out."
            )
        p, weight = pixels.prediction, pixels.weight
        distance = ops.sum(ops.square(p[:, 1:] - p[:, :-1]), axis=-1) / 2  # (B, T - 1)
        both = ops.minimum(weight[:, 1:], weight[:, :-1])
        return ops.sum(both * distance) / ops.maximum(ops.sum(both), EPSILON)


# === Regions ===


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
        check_known(form, get_args(Form), f"Form of loss 'iou' cannot be {form!r}")
        self.form = form

    def of_counts(self, found: Any, missed: Any, false: Any) -> Any:
        """Return the loss of each class."""
        wrong, union = missed + false, found + missed + false + self.smooth
        return -ops.log((found + self.smooth) / union) if self.form == "log" else wrong / union


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


class Lovasz(ClassLoss):
    """Lovász-softmax loss, mean over the classes present in the batch.

    Berman, Rannen Triki & Blaschko, *The Lovász-softmax loss: a tractable surrogate for the optimization of
    the intersection-over-union measure in neural networks*, 2018, algorithm 1 and equation 9, pooled over all
    pixels of the batch that count. The errors ``|truth − p|`` of a class are sorted downwards; each is
    multiplied by how much the Jaccard loss ``1 − |∩| / |∪|`` grows when this pixel becomes wrong after those
    before it. For predictions of exactly 0 and 1 the loss is the mean of 1 − Jaccard.

    With F pixels of the class, and m of it and n of others among the i largest errors, intersection and union
    are ``F − m`` and ``F + n``. A pixel of the class adds ``1 / (F + n)``, any other
    ``(F − m) / ((F + n − 1) (F + n))``: differences in closed form, since in float32 the difference of two
    neighbouring Jaccard losses of a million pixels has hardly a digit left.
    """

    NAME = "lovasz"

    def of(self, pixels: Pixels) -> Any:
        """Return the loss of labelled pixels."""
        K = pixels.truth.shape[-1]
        weight = ops.reshape(pixels.weight, (1, -1))  # (1, N)
        truth = ops.transpose(ops.reshape(pixels.truth, (-1, K)))  # (K, N)
        p = ops.transpose(ops.reshape(pixels.prediction, (-1, K)))
        errors = truth * (1 - p) + (1 - truth) * p  # |truth − p|, with a gradient where it is 0
        order = ops.argsort(-ops.stop_gradient(errors), axis=-1)
        weight = ops.take_along_axis(ops.broadcast_to(weight, ops.shape(errors)), order, axis=-1)
        growth = jaccard_growth(ops.take_along_axis(truth, order, axis=-1), weight)
        losses = ops.sum(ops.take_along_axis(errors, order, axis=-1) * growth, axis=-1)  # (K,)
        present = ops.cast(ops.any(truth > 0, axis=-1), "float32")
        return ops.sum(present * losses) / ops.maximum(ops.sum(present), 1.0)


def jaccard_growth(truth: Any, weight: Any) -> Any:
    """Return how much the Jaccard loss grows with each further wrong pixel; see :class:`Lovasz`.

    Args:
        truth: Whether a pixel is of the class, 0 or 1, (K, N), in order of error.
        weight: Number of pixels that it counts as, (K, N).

    Returns:
        Float32 (K, N); the sum of a row is 1, unless no pixel is of the class.
    """
    own, other = weight * truth, weight * (1 - truth)
    total = ops.sum(own, axis=-1, keepdims=True)
    left = total - ops.cumsum(own, axis=-1)  # intersection
    union = total + ops.cumsum(other, axis=-1)
    before = ops.maximum(union - other, 1e-7)
    return own / ops.maximum(union, 1e-7) + other * left / (before * ops.maximum(union, 1e-7))
