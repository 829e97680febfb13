"""SegFormer-B0: a hierarchical Transformer encoder with a decoder of dense layers."""

# ruff: noqa: D102 (build, call and get_config are those of Keras; the class documents them)

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from eolab.models import heads
from eolab.models.blocks import centre_on_first, conv_norm, resize, scaled, skip_branch
from eolab.models.heads import Spec
from eolab.models.layers import Seeds, dot_product_attention, serializable

UNITS = (32, 64, 160, 256)  # features of the four stages, at strides 4, 8, 16 and 32
ATTENTIONS = (1, 2, 5, 8)  # attentions side by side
REDUCTIONS = (8, 4, 2, 1)  # side of the squares of pixels that share a key and a value
EPSILON = 1e-6  # of all layer normalisations


@serializable
class Gelu(keras.layers.Layer):
    """Gaussian error linear unit, x Φ(x) (Hendrycks and Gimpel 2016), any shape.

    Written with erf: TensorFlow's own has erfc, which has no counterpart in ONNX.
    """

    def call(self, x: Any) -> Any:
        return 0.5 * x * (1 + ops.erf(x / math.sqrt(2)))


@serializable
class EfficientAttention(keras.layers.Layer):
    """Attention of each pixel to squares of pixels (Xie et al. 2021, §3.1, after Wang et al. 2021).

    Takes and gives features (B, H, W, D). Keys and values come from a map that a convolution reduced, R × R
    pixels to one, so that N pixels need N² / R² weights in place of N².

    Args:
        units: Features D, a multiple of ``heads``.
        heads: Attentions side by side, each on D / heads features.
        reduction: Side R of the squares; 1 leaves the map as it is.
        seed: Seed of the weights.
    """

    def __init__(self, units: int, heads: int, reduction: int = 1, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units, self.heads, self.reduction, self.seed = units, heads, reduction, seed
        seeds = Seeds(seed)
        self.query = keras.layers.Dense(units, kernel_initializer=seeds.glorot(), dtype=self.dtype_policy)
        self.key_value = keras.layers.Dense(
            2 * units, kernel_initializer=seeds.glorot(), dtype=self.dtype_policy
        )
        self.merge = keras.layers.Dense(units, kernel_initializer=seeds.glorot(), dtype=self.dtype_policy)
        if reduction > 1:
            self.reduce = keras.layers.Conv2D(
                units,
                reduction,
                reduction,
                "same",
                kernel_initializer=seeds.glorot(),
                dtype=self.dtype_policy,
            )
            self.norm = keras.layers.LayerNormalization(epsilon=EPSILON, dtype=self.dtype_policy)

    def build(self, shape: Any) -> None:
        for layer in (self.query, self.key_value, self.merge):
            layer.build(shape)
        if self.reduction > 1:
            self.reduce.build(shape)
            self.norm.build(shape)

    def call(self, x: Any) -> Any:
        height, width, size = x.shape[1], x.shape[2], self.units // self.heads
        query = ops.reshape(self.query(x), (-1, height * width, self.heads, size))  # (B, N, H, D/H)
        small = self.norm(self.reduce(x)) if self.reduction > 1 else x  # (B, h, w, D)
        pixels = small.shape[1] * small.shape[2]
        key_value = ops.reshape(self.key_value(small), (-1, pixels, 2, self.heads, size))
        key, value = ops.unstack(key_value, axis=2)  # 2 × (B, M, H, D/H)
        x = dot_product_attention(query, key, value)  # (B, N, D)
        return self.merge(ops.reshape(x, (-1, height, width, self.units)))

    def compute_output_shape(self, shape: Any) -> Any:
        return shape

    def get_config(self) -> dict[str, Any]:
        own = {"units": self.units, "heads": self.heads, "reduction": self.reduction, "seed": self.seed}
        return {**super().get_config(), **own}


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
    seeds, done, total = spec.seeds, 0, layers * len(UNITS) - 1
    inputs, x = heads.image_input(spec)
    outputs = []
    for stage, attentions in enumerate(ATTENTIONS):
        features = attentions * scaled(UNITS[stage] // attentions, width_multiplier)
        kernel, strides = (3, 2) if stage else (7, 4)
        x, padding = (
            centre_on_first(x, kernel) if stage % 2 else (x, "same")
        )  # in turn: features stay centred
        x = keras.layers.Conv2D(features, kernel, strides, padding, kernel_initializer=seeds.he())(x)
        x = _layer_norm(x)  # (B, H/s, W/s, D)
        for _ in range(layers):
            rate, done = drop_path * done / max(total, 1), done + 1
            x = _encoder_layer(x, attentions, REDUCTIONS[stage], expansion, rate, seeds)
        x = _layer_norm(x)
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


def _encoder_layer(x: Any, attentions: int, reduction: int, expansion: int, rate: float, seeds: Seeds) -> Any:
    """Attention and Mix-FFN, each beside a shortcut: (B, H, W, D) → same shape."""
    units = x.shape[-1]
    y = EfficientAttention(units, attentions, reduction, seed=seeds.next())(_layer_norm(x))
    x = keras.layers.Add()([x, skip_branch(y, rate, seeds)])
    y = mix_ffn(_layer_norm(x), expansion * units, seeds)
    return keras.layers.Add()([x, skip_branch(y, rate, seeds)])


def _layer_norm(x: Any) -> Any:
    return keras.layers.LayerNormalization(epsilon=EPSILON)(x)
