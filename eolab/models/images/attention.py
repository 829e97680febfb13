"""Attention for feature maps: squeeze and excitation, CBAM, multi-attention.

None of them compares pixels with pixels: the largest matrix of a map of H × W pixels is (H + W + 1)² a head.
"""

# ruff: noqa: D102 (build and call are those of Keras; the class documents them)

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from eolab.core.errors import check_known
from eolab.models.attention import dot_product_attention
from eolab.models.blocks import BRANCH_SCALE, squeeze_excite
from eolab.models.layers import Seeds, serializable

KINDS = ("none", "se", "cbam", "multi")


def attend(x: Any, kind: str, seeds: Seeds) -> Any:
    """Weigh features by an attention: (B, H, W, C) → same shape.

    Args:
        x: Features (B, H, W, C).
        kind: "none", "se" (squeeze and excitation with the paper's ratio of 16, Hu, Shen and Sun 2018),
            "cbam" (:func:`cbam`) or "multi" (:class:`MultiAttention`).
        seeds: Seeds of the weights.

    Raises:
        ParameterError: If there is no such attention.
    """
    check_known(kind, KINDS, f"There is no attention {kind!r}")
    if kind == "se":
        return squeeze_excite(x, _units(x, 16), seeds, activation="relu", gate="sigmoid")
    if kind == "cbam":
        return cbam(x, seeds)
    if kind == "multi":
        layer = MultiAttention(seed=seeds.next())
        seeds.next()  # the layer's second
        return layer(x)
    return x


def cbam(x: Any, seeds: Seeds) -> Any:
    """Convolutional block attention module (Woo, Park, Lee and Kweon 2018): (B, H, W, C) → same.

    - Channels first: σ(MLP(mean) + MLP(max)), one MLP for the means and the maxima over all pixels.
    - Then pixels: σ of a 7 × 7 convolution over the mean and the maximum of the channels.
    - The paper's ratio is 16; 8 gives U-Nets of 31.9 M weights, a number published for them.
    - The biases of the MLP start at 1, so that the channels are passed on (σ(2) = 0.88) rather than halved.
    """
    hidden = keras.layers.Dense(_units(x, 8), activation="relu", kernel_initializer=seeds.he())
    out = keras.layers.Dense(x.shape[-1], kernel_initializer=seeds.glorot(), bias_initializer="ones")
    mean = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)  # (B, 1, 1, C)
    highest = keras.layers.GlobalMaxPooling2D(keepdims=True)(x)  # (B, 1, 1, C)
    gate = keras.layers.Add()([out(hidden(mean)), out(hidden(highest))])
    x = keras.layers.Multiply()([x, keras.layers.Activation("sigmoid")(gate)])
    summary = [ops.mean(x, axis=-1, keepdims=True), ops.max(x, axis=-1, keepdims=True)]
    place = keras.layers.Conv2D(
        1, 7, padding="same", use_bias=False, activation="sigmoid", kernel_initializer=seeds.glorot()
    )(keras.layers.Concatenate()(summary))  # (B, H, W, 1)
    return keras.layers.Multiply()([x, place])


@serializable
class MultiAttention(keras.layers.Layer):
    """Multi-head attention over what is left of a map when it is pooled: (B, H, W, C) → same shape.

    After Le et al. (2023, A robust and low complexity deep learning model for remote sensing image
    classification), who pool a feature map along its axes and let multi-head attention (Vaswani et al. 2017)
    see the result. How that weighs a map is our reading:

    - Means over the columns give H tokens, one a row; means over the rows W tokens, one a column; the mean
      over all pixels one token more. Each token has C features, normalised over these (Ba et al. 2016), so
      that gates do not grow with the features that they multiply.
    - One multi-head self-attention sees all H + W + 1 tokens, so that a row may look at columns as well.
    - Pixel (i, j) is multiplied by 2 σ(row i + all) · 2 σ(column j + all), channel by channel: near 1 at
      first, so that an untrained block passes features on as they are.

    Rows and columns share all weights: turning the map turns the result. Values are `ratio` times narrower
    than the features, queries and keys half as wide again, which gives U-Nets of 31.8 M weights, a number
    published for them.

    Args:
        heads: Heads.
        ratio: Features to values.
        seed: Seed of the weights; the seed after it is used too.
    """

    def __init__(self, heads: int = 4, ratio: int = 16, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.heads, self.ratio, self.seed = heads, ratio, seed

    def build(self, shape: tuple[int | None, ...]) -> None:
        features = int(shape[-1] or 0)
        self.value_size = max(2, features // (self.ratio * self.heads))
        self.key_size = max(1, self.value_size // 2)
        width, policy = self.heads * (2 * self.key_size + self.value_size), self.dtype_policy
        one = keras.initializers.GlorotUniform(seed=self.seed)
        two = keras.initializers.VarianceScaling(
            BRANCH_SCALE**2, "fan_avg", "uniform", seed=self.seed + 1
        )  # Glorot's, made small
        self.normalize = keras.layers.LayerNormalization(center=False, scale=False, dtype=policy)
        self.project = keras.layers.Dense(width, use_bias=False, kernel_initializer=one, dtype=policy)
        self.merge = keras.layers.Dense(features, kernel_initializer=two, dtype=policy)
        self.normalize.build((None, None, features))
        self.project.build((None, None, features))
        self.merge.build((None, None, self.heads * self.value_size))

    def call(self, x: Any) -> Any:
        height = x.shape[1]
        rows, columns = ops.mean(x, axis=2), ops.mean(x, axis=1)  # (B, H, C), (B, W, C)
        whole = ops.mean(rows, axis=1, keepdims=True)  # (B, 1, C)
        tokens = ops.concatenate([rows, columns, whole], axis=1)  # (B, H + W + 1, C)
        keys = self.heads * self.key_size
        parts = ops.split(self.project(self.normalize(tokens)), [keys, 2 * keys], axis=-1)
        shape = (-1, tokens.shape[1], self.heads)
        parts = [ops.reshape(part, (*shape, part.shape[-1] // self.heads)) for part in parts]  # (B, N, h, d)
        seen = self.merge(dot_product_attention(*parts))  # (B, H + W + 1, C)
        gates = 2 * ops.sigmoid(seen[:, :-1] + seen[:, -1:])  # (B, H + W, C)
        return x * gates[:, :height, None, :] * gates[:, None, height:, :]


def _units(x: Any, ratio: int) -> int:
    """Units between; at least 8, since a ReLU of few units may be 0 everywhere and then never learns."""
    return max(8, x.shape[-1] // ratio)
