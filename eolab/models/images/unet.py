"""U-Net: plain, residual, with attention, and on a ResNet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from eolab.core.errors import ParameterError, did_you_mean
from eolab.models import heads
from eolab.models.blocks import BRANCH_SCALE, conv_norm, scaled
from eolab.models.heads import Spec
from eolab.models.images.attention import attend
from eolab.models.layers import Seeds
from eolab.models.resnet import Encoder, depth_of

PLACES = ("blocks", "skips")
DECODER = (256, 128, 64, 32, 16)  # features of the decoder on a ResNet, at strides 16, 8, 4, 2 and 1


def unet(
    spec: Spec,
    *,
    width_multiplier: float = 1.0,
    filters: int | Sequence[int] = 64,
    levels: int = 5,
    residual: bool = False,
    attention: str = "none",
    attention_on: str = "blocks",
    dropout: float = 0.0,
) -> keras.Model:
    """Return U-Net (Ronneberger, Fischer and Brox 2015), 31 M weights, and its variants.

    - Two 3 × 3 convolutions a level, features doubled and pixels halved from level to level, skip connections
      to a decoder of 2 × 2 transposed convolutions.
    - Convolutions keep the size (``same`` padding) and are followed by batch normalisation, which the paper
      does without.
    - Residual blocks (He et al. 2016) in place of the pairs of convolutions make 24 M weights, see
      :func:`residual_block`.
    - With attention, each block of encoder and decoder ends in it, or all that the encoder hands over does:
      each skip connection and the deepest features; see :mod:`eolab.models.images.attention`. RAU-Net 1 and 2
      are residual with multi-attention on blocks and on skips. Their authors show blocks and combinations as
      drawings and give numbers of weights, 24.4 M, 24.8 M and 24.8 M: what a block holds and where attention
      stands is our reading, within 2 % of these numbers.

    Papers: U-Net: convolutional networks for biomedical image segmentation, MICCAI 2015; Deep residual
    learning for image recognition, CVPR 2016.

    Args:
        spec: Inputs and outputs.
        width_multiplier: Factor of all numbers of features.
        filters: Features of the first level, doubled from level to level; or of each level, the first first.
        levels: Resolutions, the image's own included, where `filters` is one number.
        residual: Whether blocks are residual.
        attention: "none", "cbam", "se" or "multi".
        attention_on: "blocks" or "skips".
        dropout: Share of features dropped at the deepest level.

    Raises:
        ParameterError: If there is no such attention, or no such place for it.
    """
    if attention_on not in PLACES:
        raise ParameterError(
            f"{spec.name}: attention_on is {attention_on!r}; {did_you_mean(attention_on, PLACES)}"
        )
    numbers = [filters * 2**level for level in range(levels)] if isinstance(filters, int) else list(filters)
    sizes = [scaled(number, width_multiplier) for number in numbers]
    seeds, deepest = spec.seeds, len(sizes) - 1

    def block(x: Any, features: int) -> Any:
        x = residual_block(x, features, seeds) if residual else double_convolution(x, features, seeds)
        return attend(x, attention, seeds) if attention_on == "blocks" else x

    inputs, x = heads.image_input(spec, stride=2**deepest)
    skips = []
    for level, features in enumerate(sizes):
        x = keras.layers.MaxPooling2D(2)(x) if level else x  # (B, H/2^l, W/2^l, F/2)
        x = block(x, features)  # (B, H/2^l, W/2^l, F)
        skips.append(x)
    if attention_on == "skips":
        skips = [attend(skip, attention, seeds) for skip in skips]
        x = skips[-1]
    deep = half = x = seeds.dropout(dropout)(x) if dropout else x
    for level in reversed(range(deepest)):
        up = keras.layers.Conv2DTranspose(sizes[level], 2, 2, kernel_initializer=seeds.he())(x)
        half, x = x, keras.layers.Concatenate()([skips[level], up])  # (B, H/2^l, W/2^l, 2 F)
        x = block(x, sizes[level])  # (B, H/2^l, W/2^l, F)
    return heads.pixels_model(spec, inputs, x, half, deep)


def unet_resnet(
    spec: Spec,
    *,
    backbone: str = "resnet50",
    width_multiplier: float = 1.0,
    dropout: float = 0.0,
    l2: float = 0.0,
) -> keras.Model:
    """Return a U-Net whose encoder is a ResNet (Ronneberger et al. 2015, He et al. 2016).

    - Encoder: stem and four stages at strides 2, 4, 8, 16 and 32; published weights go into it, see
      :func:`eolab.models.weights.load`.
    - Decoder: 2 × 2 transposed convolutions and two 3 × 3 convolutions a level, with the encoder's features
      at strides 16, 8, 4 and 2 and the image itself at 1; 256 to 16 features. These numbers are ours.

    Papers: U-Net: convolutional networks for biomedical image segmentation, MICCAI 2015; Deep residual
    learning for image recognition, CVPR 2016.

    Args:
        spec: Inputs and outputs.
        backbone: "resnet18", "resnet34", "resnet50", "resnet101" or "resnet152".
        width_multiplier: Factor of all numbers of features.
        dropout: Share of features dropped at the deepest level.
        l2: Penalty on the squares of the weights of the encoder's convolutions.
    """
    seeds = spec.seeds
    inputs, image = heads.image_input(spec, stride=32)
    encoder = Encoder(seeds, depth_of(backbone), width_multiplier, l2=l2)
    skips = [image, *encoder(image)]  # strides 1, 2, 4, 8, 16, 32
    x = skips.pop()
    deep = half = x = seeds.dropout(dropout)(x) if dropout else x  # (B, H/32, W/32, F)
    for features in DECODER:
        filters = scaled(features, width_multiplier)
        up = keras.layers.Conv2DTranspose(filters, 2, 2, kernel_initializer=seeds.he())(x)
        half, x = x, keras.layers.Concatenate()([skips.pop(), up])
        x = double_convolution(x, filters, seeds)  # (B, H/s, W/s, F)
    return heads.pixels_model(spec, inputs, x, half, deep)


def double_convolution(x: Any, features: int, seeds: Seeds) -> Any:
    """Two 3 × 3 convolutions, each with batch normalisation and ReLU: (B, H, W, C) → (B, H, W, F)."""
    return conv_norm(conv_norm(x, features, 3, seeds), features, 3, seeds)


def residual_block(x: Any, features: int, seeds: Seeds) -> Any:
    """One convolution to the block's features and a residual unit: (B, H, W, C) → (B, H, W, F).

    - 3 × 3 convolution, batch normalisation, ReLU: C → F.
    - The unit of Darknet-53 (Redmon and Farhadi 2018, YOLOv3): 1 × 1 convolution F → F/2, 3 × 3 convolution
      F/2 → F, each with batch normalisation; its input is added as it is, then ReLU.

    Args:
        x: Features (B, H, W, C).
        features: Features F.
        seeds: Seeds of the weights.
    """
    x = conv_norm(x, features, 3, seeds)
    y = conv_norm(x, max(4, features // 2), 1, seeds)
    y = conv_norm(y, features, 3, seeds, activation=None, scale=BRANCH_SCALE)
    return keras.layers.ReLU()(keras.layers.Add()([x, y]))
