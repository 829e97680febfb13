"""EfficientNetV2-S as the encoder of a U-Net."""

from __future__ import annotations

from typing import Any

import keras

from eolab.models import heads
from eolab.models.blocks import Block, conv_norm, inverted_residual, resize, scaled
from eolab.models.heads import Spec
from eolab.models.layers import Seeds

STAGES = (  # fused, expansion, features, blocks, strides of the first block (the paper's table 4)
    (True, 1, 24, 2, 1),
    (True, 4, 48, 4, 2),
    (True, 4, 64, 4, 2),
    (False, 4, 128, 6, 2),
    (False, 6, 160, 9, 1),
    (False, 6, 256, 15, 2),
)
DECODER = (128, 64, 48, 32, 16)  # features at strides 16, 8, 4, 2 and 1


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
    x = conv_norm(
        image, scaled(24, width_multiplier), 3, seeds, strides=2, activation="silu", first=True
    )  # (B, H/2, W/2, 24)
    skips, done, total = [image], 0, sum(stage[3] for stage in STAGES)
    for stage, (fused, expansion, filters, blocks, strides) in enumerate(STAGES):
        if strides > 1:
            skips.append(x)  # (B, H/s, W/s, F), s = 1, 2, 4, 8, 16
        for block in range(blocks):
            sizes = Block(
                scaled(filters, width_multiplier),
                expansion,
                strides=strides if block == 0 else 1,
                shortcut=block > 0 or stage == 0,  # the first stage takes and gives 24 features
                squeezed=0 if fused else scaled(x.shape[-1], 0.25),
                activation="silu",
                fused=fused,
                drop=drop_path * done / total,
                first=strides > 1 and block == 0 and len(skips) % 2 == 1,  # in turn: features stay centred
            )
            x, done = inverted_residual(x, sizes, seeds), done + 1
    deep = half = x = seeds.dropout(dropout)(x)  # (B, H/32, W/32, 256)
    for filters in DECODER:
        half, x = x, _join(x, skips.pop(), scaled(filters, width_multiplier), seeds)  # (B, H/s, W/s, F)
    return heads.pixels_model(spec, inputs, x, half, deep)


def _join(x: Any, skip: Any, filters: int, seeds: Seeds) -> Any:
    """Resize to the encoder's features, join and convolve: (B, h, w, C) → (B, H, W, filters)."""
    x = keras.layers.Concatenate()([resize(x, *skip.shape[1:3]), skip])
    return conv_norm(conv_norm(x, filters, 3, seeds), filters, 3, seeds)
