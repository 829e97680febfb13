"""V-Net in two dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from eolab.core.errors import ParameterError
from eolab.models.layers import Seeds
from eolab.models.segmentation import heads
from eolab.models.segmentation.convolutions import BRANCH_SCALE, batch_norm, conv_norm, scaled

CONVOLUTIONS = (1, 2, 3, 3, 3)  # of each stage of the paper, from the full resolution down


def vnet(
    *,
    size: int,
    bands: int,
    classes: int,
    mean: Sequence[float],
    std: Sequence[float],
    seed: int = 0,
    width: float = 1.0,
    head: str = "mask",
    filters: int = 7,
    kernel_size: int = 5,
    dropout: float = 0.0,
) -> keras.Model:
    """Return V-Net on images, 2.6 M weights (Milletari, Navab and Ahmadi 2016).

    - Five stages of one to three convolutions with a residual connection over each stage; convolutions with
      stride 2 go down, transposed ones go up; PReLU throughout.
    - Kernels of side 5 as in the paper; 7 features in the first stage, where it has 16, give the size that is
      compared.
    - Batch normalisation after each convolution, which the paper, a year younger, does without.

    Paper: V-Net: fully convolutional neural networks for volumetric medical image segmentation, 3DV 2016.

    Args:
        size: Side of the image in pixels, a multiple of 16.
        bands: Bands C.
        classes: Classes K.
        mean: Mean of each band.
        std: Standard deviation of each band.
        seed: Of weights and dropout.
        width: Factor of all numbers of features.
        head: One of :data:`eolab.models.segmentation.heads.HEADS`.
        filters: Features of the first stage; each further one has twice as many.
        kernel_size: Side of the kernels.
        dropout: Share of features dropped in the deepest stage.
    """
    deepest = len(CONVOLUTIONS) - 1
    if size % 2**deepest:
        raise ParameterError(f"vnet: size is {size}, expected a multiple of {2**deepest}.")
    seeds = Seeds(seed)
    sizes = [scaled(filters * 2**level, width) for level in range(deepest + 1)]
    inputs, x = heads.image_input(size, bands, mean, std)
    x = _prelu(_conv_norm(x, sizes[0], kernel_size, seeds))  # (B, H, W, F), for the first residual connection
    skips = []
    for level, convolutions in enumerate(CONVOLUTIONS):
        if level:
            x = _prelu(_conv_norm(x, sizes[level], 2, seeds, strides=2))  # (B, H/2^l, W/2^l, 2^l F)
        x = residual_stage(x, convolutions, kernel_size, seeds)
        skips.append(x)
    deep = half = x = seeds.dropout(dropout)(x)  # (B, H/16, W/16, 16 F)
    for level in reversed(range(deepest)):
        up = keras.layers.Conv2DTranspose(sizes[level], 2, 2, use_bias=False, kernel_initializer=seeds.he())(
            x
        )  # (B, H/2^l, W/2^l, 2^l F)
        up = _prelu(batch_norm()(up))
        half, x = x, keras.layers.Concatenate()([up, skips[level]])  # (B, H/2^l, W/2^l, 2^(l+1) F)
        x = residual_stage(x, CONVOLUTIONS[level], kernel_size, seeds)
    return heads.finish(inputs, x, half, deep, head=head, classes=classes, seeds=seeds, name="vnet")


def residual_stage(x: Any, convolutions: int, kernel: int, seeds: Seeds) -> Any:
    """Convolutions with PReLU, the input added before the last PReLU: (B, H, W, C) → same shape.

    Args:
        x: Features (B, H, W, C).
        convolutions: Number of convolutions.
        kernel: Side of their kernels.
        seeds: Of the weights.
    """
    y, filters = x, x.shape[-1]
    for _ in range(convolutions - 1):
        y = _prelu(_conv_norm(y, filters, kernel, seeds))
    y = _conv_norm(y, filters, kernel, seeds, scale=BRANCH_SCALE)
    return _prelu(keras.layers.Add()([x, y]))


def _conv_norm(x: Any, filters: int, kernel: int, seeds: Seeds, **given: Any) -> Any:
    return conv_norm(x, filters, kernel, seeds, activation=None, **given)


def _prelu(x: Any) -> Any:
    """One learnt slope a channel (He et al. 2015), 0.25 at first."""
    slope = keras.initializers.Constant(0.25)
    return keras.layers.PReLU(alpha_initializer=slope, shared_axes=[1, 2])(x)
