"""U-Net, plain and with attention after each block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from eolab.core.errors import ParameterError
from eolab.models.layers import Seeds
from eolab.models.segmentation import heads
from eolab.models.segmentation.attention import attend
from eolab.models.segmentation.convolutions import conv_norm, scaled


def unet(
    *,
    size: int,
    bands: int,
    classes: int,
    mean: Sequence[float],
    std: Sequence[float],
    seed: int = 0,
    width: float = 1.0,
    head: str = "mask",
    filters: int = 64,
    levels: int = 5,
    attention: str = "none",
    dropout: float = 0.0,
) -> keras.Model:
    """Return U-Net (Ronneberger, Fischer and Brox 2015), 31 M weights.

    - Two 3 × 3 convolutions a level, features doubled and pixels halved from level to level, skip connections
      to a decoder of 2 × 2 transposed convolutions.
    - Convolutions keep the size (``same`` padding) and are followed by batch normalisation, which the paper
      does without.
    - With attention, each block of encoder and decoder ends in it; see
      :mod:`eolab.models.segmentation.attention`. The report gives no details but the numbers of weights.

    Paper: U-Net: convolutional networks for biomedical image segmentation, MICCAI 2015.

    Args:
        size: Side of the image in pixels, a multiple of 2^(levels − 1).
        bands: Bands C.
        classes: Classes K.
        mean: Mean of each band.
        std: Standard deviation of each band.
        seed: Of weights and dropout.
        width: Factor of all numbers of features.
        head: One of :data:`eolab.models.segmentation.heads.HEADS`.
        filters: Features of the first level.
        levels: Resolutions, the image's own included.
        attention: "none", "cbam", "se" or "multi".
        dropout: Share of features dropped at the deepest level.
    """
    if size % 2 ** (levels - 1):
        raise ParameterError(f"unet: size is {size}, expected a multiple of {2 ** (levels - 1)}.")
    seeds = Seeds(seed)
    sizes = [scaled(filters * 2**level, width) for level in range(levels)]
    inputs, x = heads.image_input(size, bands, mean, std)
    skips = []
    for level, features in enumerate(sizes):
        x = keras.layers.MaxPooling2D(2)(x) if level else x  # (B, H/2^l, W/2^l, F/2)
        x = attend(double_convolution(x, features, seeds), attention, seeds)  # (B, H/2^l, W/2^l, F)
        skips.append(x)
    deep = half = x = seeds.dropout(dropout)(x) if dropout else x
    for level in reversed(range(levels - 1)):
        up = keras.layers.Conv2DTranspose(sizes[level], 2, 2, kernel_initializer=seeds.he())(x)
        half, x = x, keras.layers.Concatenate()([skips[level], up])  # (B, H/2^l, W/2^l, 2 F)
        x = attend(double_convolution(x, sizes[level], seeds), attention, seeds)  # (B, H/2^l, W/2^l, F)
    return heads.finish(inputs, x, half, deep, head=head, classes=classes, seeds=seeds, name="unet")


def double_convolution(x: Any, features: int, seeds: Seeds) -> Any:
    """Two 3 × 3 convolutions, each with batch normalisation and ReLU: (B, H, W, C) → (B, H, W, F)."""
    return conv_norm(conv_norm(x, features, 3, seeds), features, 3, seeds)
