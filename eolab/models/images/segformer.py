"""SegFormer-B0: a hierarchical Transformer encoder with a decoder of dense layers."""

from typing import Any

import keras

from eolab.models import heads
from eolab.models.attention import EfficientAttention
from eolab.models.blocks import conv_norm, layer_norm, padded, resize, scaled, skip_branch
from eolab.models.heads import Spec
from eolab.models.layers import Gelu, Seeds

STAGES = ((32, 1, 8), (64, 2, 4), (160, 5, 2), (256, 8, 1))
"""The stages at strides 4, 8, 16 and 32: features, attentions side by side, side of the squares of pixels
that share a key and a value."""


def segformer_b0(
    spec: Spec,
    *,
    width_multiplier: float = 1.0,
    layers: int = 2,
    expansion: int = 4,
    units: int = 256,
    drop_path: float = 0.1,
    dropout: float = 0.1,
) -> keras.Model:
    """Return SegFormer-B0, 3.7 M weights (Xie et al. 2021).

    - Four stages at strides 4, 8, 16 and 32. Overlapping patches are embedded by convolutions; Mix-FFN, dense
      layers with a 3 × 3 depthwise convolution between them, tells positions apart, so that none are encoded.
    - The expansion of Mix-FFN is 4 in all stages, as in the authors' program; the table of their appendix has
      8 in the first two.
    - Decoder: each stage's features projected to 256, resized to stride 4, joined and fused by a dense layer
      with batch normalisation. The fused features are projected to 64, whose linear combinations the class
      scores are, before they are resized to the full resolution.
    - Width scales the features of each attention, not their number. Any size will do: maps are resized to
      known sizes.

    Papers: SegFormer: simple and efficient design for semantic segmentation with Transformers, NeurIPS 2021;
    Pyramid Vision Transformer, ICCV 2021.

    Args:
        spec: Inputs and outputs.
        width_multiplier: Factor of all numbers of features.
        layers: Transformer layers of each stage.
        expansion: The hidden layer of Mix-FFN has this many times the features.
        units: Features of the decoder.
        drop_path: Probability that a sample skips the last branch in training; it grows linearly with depth.
        dropout: Share of the decoder's features dropped.
    """
    seeds, done, total = spec.seeds, 0, max(layers * len(STAGES) - 1, 1)
    inputs, x = heads.image_input(spec)
    outputs = []
    for stage, (number, attentions, reduction) in enumerate(STAGES):
        features = attentions * scaled(number // attentions, width_multiplier)
        kernel, strides = (3, 2) if stage else (7, 4)
        x, padding = padded(x, kernel, "first" if stage % 2 else "same")  # in turn: features stay centred
        x = keras.layers.Conv2D(features, kernel, strides, padding, kernel_initializer=seeds.he())(x)
        x = layer_norm()(x)  # (B, H/s, W/s, D)
        for _ in range(layers):
            rate, done = drop_path * done / total, done + 1
            y = EfficientAttention(features, attentions, reduction, seed=seeds.next())(layer_norm()(x))
            x = keras.layers.Add()([x, skip_branch(y, rate, seeds)])
            y = mix_ffn(layer_norm()(x), expansion * features, seeds)
            x = keras.layers.Add()([x, skip_branch(y, rate, seeds)])
        x = layer_norm()(x)
        outputs.append(x)
    units = scaled(units, width_multiplier)
    joined = [keras.layers.Dense(units, kernel_initializer=seeds.glorot())(y) for y in outputs]
    joined = [resize(y, *outputs[0].shape[1:3]) for y in joined]  # 4 × (B, H/4, W/4, 256)
    y = conv_norm(keras.layers.Concatenate()(joined), units, 1, seeds)  # (B, H/4, W/4, 256)
    project = keras.layers.Dense(scaled(64, width_multiplier), kernel_initializer=seeds.glorot())
    y = project(seeds.dropout(dropout)(y))  # (B, H/4, W/4, 64)
    return heads.resized_model(spec, inputs, y, x)


def mix_ffn(x: Any, hidden: int, seeds: Seeds) -> Any:
    """Dense layers with a 3 × 3 depthwise convolution between them (Xie et al. 2021, eq. 3).

    Takes and gives features (B, H, W, D).

    Args:
        x: The features.
        hidden: Features between the dense layers.
        seeds: Seeds of the weights.
    """
    units = x.shape[-1]
    x = keras.layers.Dense(hidden, kernel_initializer=seeds.glorot())(x)  # (B, H, W, hidden)
    x = keras.layers.DepthwiseConv2D(3, padding="same", depthwise_initializer=seeds.glorot())(x)
    x = Gelu()(x)
    return keras.layers.Dense(units, kernel_initializer=seeds.glorot())(x)  # (B, H, W, D)
