"""Cross entropy with extra weight where it matters: near the boundary of a region, or near its centre."""

from typing import Any

from keras import ops

from eolab.core.errors import DataError
from eolab.training.losses.base import number, whole
from eolab.training.losses.classes import ClassLoss, Pixels


class PlaceLoss(ClassLoss):
    """Base: cross entropy in which each pixel weighs ``1 + extra · nearness``, nearness from 0 to 1.

    The sum is divided by the number of pixels, not by the sum of these weights: far from any region a pixel
    counts as in cross entropy, and on an empty mask the loss is cross entropy.

    Args:
        extra: Extra weight where the nearness is 1, in weights of an ordinary pixel.
        **options: Options of the base.
    """

    def __init__(self, extra: float = 4.0, **options: Any) -> None:
        super().__init__(**options)
        self.extra = number("extra", extra)

    def of(self, pixels: Pixels) -> Any:
        """Return the loss of labelled pixels.

        Raises:
            DataError: If they are not images.
        """
        if len(pixels.truth.shape) != 4:
            raise DataError(
                f"Loss {self.NAME!r} needs images, labels (B, H, W): got {tuple(pixels.truth.shape[:-1])}, "
                "so take cross entropy ('ce') for this output."
            )
        return pixels.mean((1 + self.extra * self.nearness(pixels)) * pixels.cross_entropy())

    def nearness(self, pixels: Pixels) -> Any:
        """Return how near each pixel is, 0 to 1, (B, H, W)."""
        raise NotImplementedError


class Boundary(PlaceLoss):
    """Cross entropy with extra weight near the boundary between two classes.

    Boundary pixels have two labels in their 3 × 3 neighbourhood, themselves included: both sides of the line.
    The extra weight is `extra` on them and falls linearly with the chessboard distance d to them, as
    ``extra · (1 − d / radius)``, to nothing at `radius`. Ignored pixels and the edge of the patch make no
    boundary. The idea of weighting borders: Ronneberger, Fischer & Brox, *U-Net: convolutional networks for
    biomedical image segmentation*, 2015, equation 2, there with a Gaussian of the distance.

    Args:
        radius: Distance in pixels at which the extra weight has gone.
        **options: Options of the base.

    Raises:
        ParameterError: If an option is not what it may be.
    """

    NAME = "boundary"

    def __init__(self, radius: int = 3, **options: Any) -> None:
        super().__init__(**options)
        self.radius = whole("radius", radius)

    def nearness(self, pixels: Pixels) -> Any:
        """Return 1 on the boundary, falling to 0 at `radius`."""
        classes = ops.sum(grow(pixels.truth), axis=-1, keepdims=True)  # labels in the neighbourhood
        near = ops.cast(classes > 1.5, "float32")  # (B, H, W, 1)
        total = near
        for _ in range(self.radius - 1):
            near = grow(near)
            total = total + near
        return total[..., 0] / self.radius


class Center(PlaceLoss):
    """Cross entropy with extra weight near the centre of each region of a class that is not background.

    The depth of a pixel is its chessboard distance to the nearest pixel of another class, at most `depth`,
    found by eroding the regions again and again; divided by the largest depth within reach (`depth` − 1 steps
    through the same region) it is 1 at the centre of a region of any size, also of a single pixel. The edge
    of the patch and ignored pixels do not erode: what lies there is not known.

    Args:
        depth: Largest depth in pixels that is measured; the cost grows with it.
        **options: Options of the base.

    Raises:
        ParameterError: If an option is not what it may be.
    """

    NAME = "center"

    def __init__(self, depth: int = 8, **options: Any) -> None:
        super().__init__(**options)
        self.depth = whole("depth", depth)

    def nearness(self, pixels: Pixels) -> Any:
        """Return depth as a share of the largest depth within reach."""
        region = pixels.truth[..., 1:]  # (B, H, W, K - 1)
        known = ops.sum(pixels.truth, axis=-1, keepdims=True)
        other = known - region  # 1 where the label is another one
        depth = region
        for _ in range(self.depth - 1):
            other = grow(other)
            depth = depth + region * (1 - other)
        deepest = depth
        for _ in range(self.depth - 1):
            deepest = region * grow(deepest)
        return ops.sum(depth / ops.maximum(deepest, 1.0), axis=-1)


def grow(values: Any) -> Any:
    """Return the maximum of each 3 × 3 neighbourhood of values from 0 up, (B, H, W, C)."""
    return ops.max_pool(values, 3, strides=1, padding="same")
