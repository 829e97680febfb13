"""Losses that compare the predicted distribution of each pixel with its label: a mean over pixels."""

from __future__ import annotations

from typing import Any

from keras import ops

from eolab.training.losses.base import ClassLoss, Pixels, inside, number, serializable


@serializable
class CrossEntropy(ClassLoss):
    """Cross entropy, ``−ln p`` of the true class, mean over the pixels that are not ignored."""

    NAME = "ce"

    def of(self, pixels: Pixels) -> Any:
        """Return the loss of labelled pixels."""
        return pixels.mean(pixels.cross_entropy())


@serializable
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
        p = inside(pixels.at_label())  # (B, …)
        background = pixels.truth[..., 0]
        balance = self.alpha + (1 - 2 * self.alpha) * background
        return pixels.mean(-balance * ops.power(1 - p, self.gamma) * ops.log(p))


@serializable
class LogCosh(ClassLoss):
    """Logarithm of the hyperbolic cosine of probability minus one-hot truth, mean over pixels and classes.

    ``ln cosh x`` is x²/2 for a small error and grows like |x| for a large one, so that a wrong label pulls
    less than in a squared error. Written as ``ln(1 + 2 sinh²(x/2))``, which is exact for small errors too.
    """

    NAME = "log_cosh"

    def of(self, pixels: Pixels) -> Any:
        """Return the loss of labelled pixels."""
        error = pixels.prediction - pixels.truth  # (B, …, K)
        return pixels.mean(ops.mean(ops.log1p(2 * ops.square(ops.sinh(error / 2))), axis=-1))
