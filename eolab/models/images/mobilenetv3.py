"""MobileNetV3 with the Lite R-ASPP head."""

from __future__ import annotations

from typing import Any

import keras

from eolab.models import heads
from eolab.models.blocks import Block, conv_norm, inverted_residual, resize, scaled
from eolab.models.heads import Spec
from eolab.models.layers import Seeds

LARGE = (  # kernel, expansion, features, squeeze and excitation, activation, strides (the paper's table 1)
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
)
LAST = (5, 6.0, 120, True, "hard_silu", 1)  # three of them, dilated; 160 features in the paper's table
DETAIL = 5  # the last block with stride 8


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
    x = conv_norm(x, scaled(16, width_multiplier), 3, seeds, strides=2, activation="hard_silu", first=True)
    outputs, before = [], 16  # (B, H/2, W/2, 16) … (B, H/16, W/16, 112)
    for row in LARGE:
        x = _block(x, row, width_multiplier, seeds, shortcut=row[5] == 1 and row[2] == before)
        outputs.append(x)
        before = row[2]
    for block in range(3):
        x = _block(x, LAST, width_multiplier, seeds, shortcut=block > 0, dilation=2)  # (B, H/16, W/16, 120)
    x = conv_norm(x, scaled(x.shape[-1], 6), 1, seeds, activation="hard_silu")  # (B, H/16, W/16, 720)
    y = lite_pyramid(x, scaled(units, width_multiplier), seeds)  # (B, H/16, W/16, 256)
    detail = outputs[DETAIL]  # (B, H/8, W/8, 40)
    y = resize(seeds.dropout(dropout)(y), *detail.shape[1:3])  # (B, H/8, W/8, 256)
    y = keras.layers.Add()(
        [_project(part, width_multiplier, seeds) for part in (y, detail)]
    )  # (B, H/8, W/8, 64)
    return heads.resized_model(spec, inputs, y, x)


def lite_pyramid(x: Any, units: int, seeds: Seeds) -> Any:
    """Features of each pixel times a gate from the mean of the image: (B, H, W, C) → (B, H, W, units)."""
    mean = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)  # (B, 1, 1, C)
    gate = keras.layers.Conv2D(
        units, 1, activation="sigmoid", use_bias=False, kernel_initializer=seeds.glorot()
    )(mean)
    return keras.layers.Multiply()([conv_norm(x, units, 1, seeds), gate])


def _block(
    x: Any, row: tuple[Any, ...], width_multiplier: float, seeds: Seeds, *, shortcut: bool, dilation: int = 1
) -> Any:
    kernel, expansion, filters, squeeze, activation, strides = row
    hidden = x.shape[-1] if expansion == 1 else scaled(x.shape[-1], expansion)
    block = Block(
        scaled(filters, width_multiplier),
        expansion,
        kernel=kernel,
        strides=strides,
        shortcut=shortcut,
        dilation=dilation,
        squeezed=scaled(hidden, 0.25) if squeeze else 0,
        activation=activation,
        first=strides > 1 and filters != 40,  # with the first convolution: first, first, last, first
    )
    return inverted_residual(x, block, seeds, gate="hard_sigmoid")


def _project(x: Any, width_multiplier: float, seeds: Seeds) -> Any:
    return keras.layers.Conv2D(scaled(64, width_multiplier), 1, kernel_initializer=seeds.glorot())(x)
