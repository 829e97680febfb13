"""V-Net in two dimensions."""

from __future__ import annotations

from typing import Any

import keras

from eolab.models import heads
from eolab.models.blocks import BRANCH_SCALE, batch_norm, conv_norm, scaled
from eolab.models.heads import Spec
from eolab.models.layers import Seeds

CONVOLUTIONS = (1, 2, 3, 3, 3)  # of each stage of the paper, from the full resolution down


def vnet(
    spec: Spec,
    *,
    width_multiplier: float = 1.0,
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
        spec: Inputs and outputs.
        width_multiplier: Factor of all numbers of features.
        filters: Features of the first stage; each further one has twice as many.
        kernel_size: Side of the kernels.
        dropout: Share of features dropped in the deepest stage.
    """
    deepest = len(CONVOLUTIONS) - 1
    seeds = spec.seeds
    sizes = [scaled(filters * 2**level, width_multiplier) for level in range(deepest + 1)]
    inputs, x = heads.image_input(spec, stride=2**deepest)
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
    return heads.pixels_model(spec, inputs, x, half, deep)


def residual_stage(x: Any, convolutions: int, kernel: int, seeds: Seeds) -> Any:
    """Convolutions with PReLU, the input added before the last PReLU: (B, H, W, C) → same shape.

    Args:
        x: Features (B, H, W, C).
        convolutions: Number of convolutions.
        kernel: Side of their kernels.
        seeds: Seeds of the weights.
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
