"""The Lovász-softmax loss: a convex surrogate of 1 − Jaccard that is exact for one-hot predictions."""

from __future__ import annotations

from typing import Any

from keras import ops

from eolab.training.losses.base import ClassLoss, Pixels, serializable


@serializable
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
