"""Networks of inverted residuals: MobileNetV2 as a backbone, MobileNetV3 and EfficientNetV2."""

from typing import Any

import keras

from eolab.models import heads
from eolab.models.blocks import conv_norm, inverted_residual, resize, scaled
from eolab.models.heads import Spec
from eolab.models.layers import Seeds

MOBILENETV2 = (  # expansion, features, blocks, strides of the first block
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
MOBILENETV3 = (  # kernel, expansion, features, squeeze and excitation, activation, strides (its table 1)
    (3, 1.0, 16, False, "relu", 1),
    (3, 4.0, 24, False, "relu", 2),
    (3, 3.0, 24, False, "relu", 1),
    (5, 3.0, 40, True, "relu", 2),
    (5, 3.0, 40, True, "relu", 1),
    (5, 3.0, 40, True, "relu", 1),
    (3, 6.0, 80, False, "hard_silu", 2),
    (3, 2.5, 80, False, "hard_silu", 1),
    (3, 2.3, 80, False, "hard_silu", 1),
    (3, 2.3, 80, False, "hard_silu", 1),
    (3, 6.0, 112, True, "hard_silu", 1),
    (3, 6.0, 112, True, "hard_silu", 1),
    *[(5, 6.0, 120, True, "hard_silu", 1)] * 3,
)
DILATED = 120  # features of the last three blocks, which dilate; 160 in the paper's table
DETAIL = 5  # place of the last block with stride 8
EFFICIENTNETV2 = (  # fused, expansion, features, blocks, strides of the first block (the paper's table 4)
    (True, 1, 24, 2, 1),
    (True, 4, 48, 4, 2),
    (True, 4, 64, 4, 2),
    (False, 4, 128, 6, 2),
    (False, 6, 160, 9, 1),
    (False, 6, 256, 15, 2),
)
DECODER = (128, 64, 48, 32, 16)  # features at strides 16, 8, 4, 2 and 1


def mobilenetv3(
    spec: Spec,
    *,
    width_multiplier: float = 1.0,
    units: int = 256,
    dropout: float = 0.1,
) -> keras.Model:
    """Return MobileNetV3-Large with the Lite R-ASPP head, 2.6 M weights (Howard et al. 2019, §6.4).

    - Output stride 16: the last three blocks dilate by 2 in place of striding.
    - For segmentation the paper halves the features of these blocks, 160, at no loss. Here they are 120, and
      the network keeps all of its blocks and has 2.6 M weights.
    - Head: features gated by the mean of the image, resized to stride 8, plus the features of that stride.
      Both are projected to 64 features, whose linear combinations the class scores are. The paper pools over
      windows of 49 × 49, more than the 8 × 8 that a patch of 128 pixels leaves: here it is the whole image.
    - Any size will do: maps are resized to known sizes. Strided layers are padded so that features stay
      within half a pixel of where resizing takes them to be.

    Paper: Searching for MobileNetV3, ICCV 2019.

    Args:
        spec: Inputs and outputs.
        width_multiplier: Factor of all numbers of features.
        units: Features of the head, 128 or 256 in the paper.
        dropout: Share of the head's features dropped.
    """
    seeds = spec.seeds
    inputs, x = heads.image_input(spec)
    first = scaled(16, width_multiplier)
    x = conv_norm(x, first, 3, seeds, strides=2, activation="hard_silu", padding="first")  # (B, H/2, W/2, 16)
    detail, before = x, 16
    for place, (kernel, expansion, filters, squeeze, activation, strides) in enumerate(MOBILENETV3):
        hidden = scaled(x.shape[-1], expansion)
        x = inverted_residual(
            x,
            scaled(filters, width_multiplier),
            seeds,
            expansion=expansion,
            kernel=kernel,
            strides=strides,
            shortcut=strides == 1 and filters == before,
            dilation=2 if filters == DILATED else 1,
            squeezed=scaled(hidden, 0.25) if squeeze else 0,
            activation=activation,
            gate="hard_sigmoid",
            padding="first" if strides > 1 and filters != 40 else "same",  # in turn: features stay centred
        )
        detail, before = x if place == DETAIL else detail, filters
    x = conv_norm(x, scaled(x.shape[-1], 6), 1, seeds, activation="hard_silu")  # (B, H/16, W/16, 720)
    y = lite_pyramid(x, scaled(units, width_multiplier), seeds)  # (B, H/16, W/16, 256)
    y = resize(seeds.dropout(dropout)(y), *detail.shape[1:3])  # (B, H/8, W/8, 256)
    units = scaled(64, width_multiplier)
    parts = [keras.layers.Conv2D(units, 1, kernel_initializer=seeds.glorot())(part) for part in (y, detail)]
    return heads.resized_model(spec, inputs, keras.layers.Add()(parts), x)  # from (B, H/8, W/8, 64)


def lite_pyramid(x: Any, units: int, seeds: Seeds) -> Any:
    """Features of each pixel times a gate from the mean of the image: (B, H, W, C) → (B, H, W, units)."""
    mean = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)  # (B, 1, 1, C)
    gate = keras.layers.Conv2D(
        units, 1, activation="sigmoid", use_bias=False, kernel_initializer=seeds.glorot()
    )(mean)
    return keras.layers.Multiply()([conv_norm(x, units, 1, seeds), gate])


def efficientnetv2(
    spec: Spec,
    *,
    width_multiplier: float = 1.0,
    drop_path: float = 0.2,
    dropout: float = 0.1,
) -> keras.Model:
    """Return a U-Net whose encoder is EfficientNetV2-S (Tan and Le 2021).

    - Encoder: Fused-MBConv blocks in the first three stages, MBConv with squeeze and excitation in the last
      three, 20.2 M weights without the classifier; SiLU; stochastic depth that grows linearly with depth.
    - Decoder: bilinear resizing, the encoder's features of that resolution, and two 3 × 3 convolutions, at
      strides 16, 8, 4, 2 and 1, as light as the encoder's own early stages.
    - Any size will do: maps are resized to the size of what they join.

    Paper: EfficientNetV2: smaller models and faster training, ICML 2021.

    Args:
        spec: Inputs and outputs.
        width_multiplier: Factor of all numbers of features.
        drop_path: Probability that a sample skips the last block in training.
        dropout: Share of the deepest features dropped.
    """
    seeds = spec.seeds
    inputs, image = heads.image_input(spec)
    first = scaled(24, width_multiplier)
    x = conv_norm(image, first, 3, seeds, strides=2, activation="silu", padding="first")  # (B, H/2, W/2, 24)
    skips, done, total = [image], 0, sum(stage[3] for stage in EFFICIENTNETV2)
    for stage, (fused, expansion, filters, blocks, strides) in enumerate(EFFICIENTNETV2):
        if strides > 1:
            skips.append(x)  # (B, H/s, W/s, F), s = 1, 2, 4, 8, 16
        for block in range(blocks):
            start = strides > 1 and block == 0
            x = inverted_residual(
                x,
                scaled(filters, width_multiplier),
                seeds,
                expansion=expansion,
                strides=strides if start else 1,
                shortcut=block > 0 or stage == 0,  # the first stage takes and gives 24 features
                squeezed=0 if fused else scaled(x.shape[-1], 0.25),
                activation="silu",
                fused=fused,
                drop=drop_path * done / total,
                padding="first" if start and len(skips) % 2 else "same",  # in turn: features stay centred
            )
            done += 1
    deep = half = x = seeds.dropout(dropout)(x)  # (B, H/32, W/32, 256)
    for features in DECODER:
        filters, skip = scaled(features, width_multiplier), skips.pop()
        half, x = x, keras.layers.Concatenate()([resize(x, *skip.shape[1:3]), skip])
        x = conv_norm(conv_norm(x, filters, 3, seeds), filters, 3, seeds)  # (B, H/s, W/s, F)
    return heads.pixels_model(spec, inputs, x, half, deep)


def mobilenetv2(x: Any, seeds: Seeds, width_multiplier: float, output_stride: int) -> Any:
    """Read images by MobileNetV2 up to its last inverted residual: (B, H, W, C) → (B, H/s, W/s, 320).

    Args:
        x: Normalised images.
        seeds: Seeds of the weights.
        width_multiplier: Factor of all numbers of features.
        output_stride: Largest stride of the maps; stages beyond it dilate in place of striding.
    """
    first = scaled(32, width_multiplier)
    x = conv_norm(x, first, 3, seeds, strides=2, activation="relu6", padding="first")  # (B, H/2, W/2, 32)
    stride, dilation = 2, 1
    for expansion, filters, blocks, wanted in MOBILENETV2:
        strides = wanted if stride < output_stride else 1
        stride, dilation = stride * strides, dilation * wanted // strides
        for block in range(blocks):
            start = block == 0 and strides > 1
            x = inverted_residual(
                x,
                scaled(filters, width_multiplier),
                seeds,
                expansion=expansion,
                strides=strides if start else 1,
                shortcut=block > 0,
                dilation=dilation,
                padding="first" if start and stride < output_stride else "same",
            )  # (B, H/s, W/s, filters)
    return x
