"""Squeeze U-Net: a U-Net of fire modules."""

from __future__ import annotations

from typing import Any

import keras

from eolab.models import heads
from eolab.models.blocks import batch_norm, conv_norm, scaled
from eolab.models.heads import Spec
from eolab.models.layers import Seeds

FACTORS = (1, 2, 4, 8, 15.5)  # features of each level, as multiples of the first one's
SQUEEZE = 8  # features of a fire module for one that its squeeze layer keeps (Iandola et al. 2016)


def squeeze_unet(
    spec: Spec,
    *,
    width_multiplier: float = 1.0,
    filters: int = 64,
    dropout: float = 0.1,
) -> keras.Model:
    """Return Squeeze U-Net, 2.6 M weights as its paper says (Beheshti and Johnsson 2020).

    - U-Net (Ronneberger et al. 2015) with a fire module (Iandola et al. 2016) in place of each convolution
      but the first, and fire modules with a transposed convolution in place of its transposed convolutions.
    - U-Net's 64 to 512 features, and 992 at the deepest level, where 1,024 would make 2.7 M weights.
    - The transposed convolution stands between squeeze and expansion, where features are fewest, as in
      SqueezeSeg (Wu et al. 2018): strided 1 × 1 kernels would leave three of four pixels empty.
    - Batch normalisation after each convolution.

    Papers: Squeeze U-Net: a memory and energy efficient image segmentation network, CVPR Workshops 2020;
    SqueezeNet: AlexNet-level accuracy with 50x fewer parameters, arXiv:1602.07360; SqueezeSeg, ICRA 2018.

    Args:
        spec: Inputs and outputs.
        width_multiplier: Factor of all numbers of features.
        filters: Features at the full resolution.
        dropout: Share of features dropped at the deepest level.
    """
    seeds = spec.seeds
    sizes = [scaled(filters * factor, width_multiplier) for factor in FACTORS]
    inputs, x = heads.image_input(spec, stride=2 ** (len(FACTORS) - 1))
    x = fire(conv_norm(x, sizes[0], 3, seeds), sizes[0], seeds)  # (B, H, W, F)
    skips = [x]
    for filters in sizes[1:]:
        x = keras.layers.MaxPooling2D(2)(x)
        x = fire(fire(x, filters, seeds), filters, seeds)  # (B, H/2^l, W/2^l, 2^l F)
        skips.append(x)
    deep = half = x = seeds.dropout(dropout)(skips.pop())  # (B, H/16, W/16, 15.5 F)
    while skips:
        skip = skips.pop()
        up = fire(x, skip.shape[-1], seeds, transposed=True)  # (B, H/2^l, W/2^l, 2^l F)
        half, x = x, fire(keras.layers.Concatenate()([up, skip]), skip.shape[-1], seeds)
    return heads.pixels_model(spec, inputs, x, half, deep)


def fire(x: Any, filters: int, seeds: Seeds, transposed: bool = False) -> Any:
    """Fire module: squeeze by a 1 × 1 convolution, expand by 1 × 1 and 3 × 3 convolutions side by side.

    (B, H, W, C) → (B, H, W, filters), or (B, 2 H, 2 W, filters) if transposed.

    Args:
        x: Features (B, H, W, C).
        filters: Features of the result, half of them from each expansion; an eighth is what squeezing keeps.
        seeds: Seeds of the weights.
        transposed: Whether a transposed 2 × 2 convolution with stride 2 follows squeezing.
    """
    squeezed = scaled(filters, 1 / SQUEEZE)
    x = conv_norm(x, squeezed, 1, seeds)  # (B, H, W, S)
    if transposed:
        x = keras.layers.Conv2DTranspose(squeezed, 2, 2, use_bias=False, kernel_initializer=seeds.he())(x)
        x = keras.layers.ReLU()(batch_norm()(x))  # (B, 2 H, 2 W, S)
    one = conv_norm(x, filters // 2, 1, seeds)
    three = conv_norm(x, filters - filters // 2, 3, seeds)
    return keras.layers.Concatenate()([one, three])
