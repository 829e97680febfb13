"""U-Net of residual blocks, and RAU-Net: the same with attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from eolab.core.errors import ParameterError, did_you_mean
from eolab.models.layers import Seeds
from eolab.models.segmentation import heads
from eolab.models.segmentation.attention import multi_attention
from eolab.models.segmentation.convolutions import BRANCH_SCALE, conv_norm, scaled

FEATURES = (64, 128, 256, 512, 1024)  # of each level, 24 M weights
SMALL = (24, 48, 88, 168, 320)  # 2.6 M weights
ATTENTION = ("none", "blocks", "skips")


def residual_unet(
    *,
    size: int,
    bands: int,
    classes: int,
    mean: Sequence[float],
    std: Sequence[float],
    seed: int = 0,
    width: float = 1.0,
    head: str = "mask",
    attention: str = "none",
    small: bool = False,
    dropout: float = 0.0,
) -> keras.Model:
    """Return a U-Net of residual blocks, 24 M weights, or 2.6 M for the small one.

    - Residual blocks (He, Zhang, Ren and Sun 2016, Deep residual learning, CVPR) in place of the pairs of
      convolutions; see :func:`residual_block`. Levels, skip connections and transposed convolutions are those
      of the U-Net.
    - RAU-Net 1 is attention "blocks": :class:`eolab.models.segmentation.attention.MultiAttention` after each
      block of encoder and decoder. RAU-Net 2 is attention "skips": on all that the encoder hands over, each
      skip connection and the deepest features.
    - The report shows blocks and combinations as drawings and gives numbers of weights, 24.4 M, 24.8 M and
      24.8 M: what a block holds and where attention stands is our reading, within 2 % of these numbers.
    - The small networks have as many levels and about a third of the features.

    Args:
        size: Side of the image in pixels, a multiple of 16.
        bands: Bands C.
        classes: Classes K.
        mean: Mean of each band.
        std: Standard deviation of each band.
        seed: Of weights and dropout.
        width: Factor of all numbers of features.
        head: One of :data:`eolab.models.segmentation.heads.HEADS`.
        attention: "none", "blocks" or "skips".
        small: Whether to take the features of the small network.
        dropout: Share of features dropped at the deepest level.
    """
    if attention not in ATTENTION:
        raise ParameterError(f"There is no attention {attention!r}: {did_you_mean(attention, ATTENTION)}")
    sizes = [scaled(features, width) for features in (SMALL if small else FEATURES)]
    deepest = len(sizes) - 1
    if size % 2**deepest:
        raise ParameterError(f"residual_unet: size is {size}, expected a multiple of {2**deepest}.")
    seeds = Seeds(seed)

    def block(x: Any, features: int) -> Any:
        x = residual_block(x, features, seeds)
        return multi_attention(x, seeds) if attention == "blocks" else x

    inputs, x = heads.image_input(size, bands, mean, std)
    skips = []
    for level, features in enumerate(sizes):
        x = keras.layers.MaxPooling2D(2)(x) if level else x  # (B, H/2^l, W/2^l, F/2)
        x = block(x, features)  # (B, H/2^l, W/2^l, F)
        skips.append(x)
    if attention == "skips":
        skips = [multi_attention(skip, seeds) for skip in skips]
        x = skips[-1]
    deep = half = x = seeds.dropout(dropout)(x) if dropout else x
    for level in reversed(range(deepest)):
        up = keras.layers.Conv2DTranspose(sizes[level], 2, 2, kernel_initializer=seeds.he())(x)
        half, x = x, keras.layers.Concatenate()([skips[level], up])  # (B, H/2^l, W/2^l, 2 F)
        x = block(x, sizes[level])  # (B, H/2^l, W/2^l, F)
    return heads.finish(inputs, x, half, deep, head=head, classes=classes, seeds=seeds, name="residual_unet")


def residual_block(x: Any, features: int, seeds: Seeds) -> Any:
    """One convolution to the block's features and a residual unit: (B, H, W, C) → (B, H, W, F).

    - 3 × 3 convolution, batch normalisation, ReLU: C → F.
    - The unit of Darknet-53 (Redmon and Farhadi 2018, YOLOv3): 1 × 1 convolution F → F/2, 3 × 3 convolution
      F/2 → F, each with batch normalisation; its input is added as it is, then ReLU.

    Args:
        x: Features (B, H, W, C).
        features: Features F.
        seeds: Of the weights.
    """
    x = conv_norm(x, features, 3, seeds)
    y = conv_norm(x, max(4, features // 2), 1, seeds)
    y = conv_norm(y, features, 3, seeds, activation=None, scale=BRANCH_SCALE)
    return keras.layers.ReLU()(keras.layers.Add()([x, y]))
