"""Attention: gates of feature maps; of dates, of pixels, of the images of a sequence, and what each may know.

Gates compare no pixels with pixels: the largest matrix of a map of H × W pixels is (H + W + 1)² a head.
"""

# ruff: noqa: D102 (build and call are those of Keras; the class documents them)

from typing import Any

import keras
import numpy as np
from keras import ops

from eolab.core.errors import ParameterError, check_known
from eolab.models.blocks import BRANCH_SCALE, layer_norm, squeeze_excite
from eolab.models.layers import Layer, Seeds

KINDS = ("none", "se", "cbam", "multi")  # gates of feature maps


def dot_product_attention(query: Any, key: Any, value: Any, valid: Any = None) -> Any:
    """Attention of several heads (Vaswani et al. 2017, §3.2): softmax(q · k / √d) v.

    Args:
        query: Queries (B, N, H, d) of N tokens and H heads.
        key: Keys (B, M, H, d).
        value: Values (B, M, H, e).
        valid: Which keys each query may see, to be broadcast to (B, H, N, M); None for all.

    Returns:
        What each token takes from the values, heads side by side (B, N, H e); 0 where it may see none.
    """
    query, key, value = (ops.transpose(x, (0, 2, 1, 3)) for x in (query, key, value))  # (B, H, N, d)
    logits = ops.matmul(query, ops.swapaxes(key, -1, -2)) * key.shape[-1] ** -0.5  # (B, H, N, M)
    if valid is None:
        weights = ops.cast(ops.softmax(ops.cast(logits, "float32"), axis=-1), logits.dtype)
    else:
        weights = masked_softmax(logits, valid)
    x = ops.transpose(ops.matmul(weights, value), (0, 2, 1, 3))  # (B, N, H, e)
    return ops.reshape(x, (-1, ops.shape(x)[1], x.shape[2] * x.shape[3]))


def masked_softmax(logits: Any, valid: Any) -> Any:
    """Softmax over the last axis among valid places, in float32; all weights are 0 where none is valid."""
    valid = ops.cast(valid, "bool")
    weights = ops.softmax(ops.where(valid, ops.cast(logits, "float32"), -1e9), axis=-1)
    return ops.cast(ops.where(valid, weights, 0.0), logits.dtype)


# === Attention of tokens to tokens ===


class TokenAttention(Layer):
    """Dense layers of attention with several heads (Vaswani et al. 2017, §3.2), for the classes below.

    Args:
        units: Features D, a multiple of ``heads``.
        heads: Attentions side by side, each on D / heads features.
        seed: Seed of the weights.
    """

    parts: tuple[int, ...] = (1, 2)  # units of the dense layers: one of queries, one of keys and values

    def __init__(self, units: int, heads: int, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units, self.heads, self.seeds = units, heads, Seeds(seed)
        self.project = [self.dense(part * units) for part in self.parts]
        self.merge = self.dense(units)

    def dense(self, units: int) -> keras.layers.Layer:
        """Return a dense layer of this layer's precision."""
        return keras.layers.Dense(units, kernel_initializer=self.seeds.glorot(), dtype=self.dtype_policy)

    def build(self, shape: Any) -> None:
        for layer in (*self.project, self.merge):
            layer.build(shape)

    def attended(self, projected: list[Any], known: Any = None) -> Any:
        """Return what tokens take from those that they know, (B, N, D).

        Args:
            projected: Queries, keys and values, (B, N, D) each, some of them as one; keys and values may be
                those of M other tokens.
            known: Which of them each token knows, to be broadcast to (B, H, N, M); None for all.
        """
        size, found = self.units // self.heads, []
        for part in projected:
            count = part.shape[-1] // self.units
            x = ops.reshape(part, (-1, ops.shape(part)[1], count, self.heads, size))  # (B, N, 1 to 3, H, D/H)
            found += ops.unstack(x, axis=2)
        query, key, value = found
        return self.merge(dot_product_attention(query, key, value, known))


class SelfAttention(TokenAttention):
    """Attention of each date to all valid dates.

    Takes features (B, T, D) and ``valid`` (B, T), gives (B, T, D); arguments are those of
    :class:`TokenAttention`.
    """

    parts = (3,)

    def call(self, features: Any, valid: Any) -> Any:
        return self.attended([self.project[0](features)], valid[:, None, None, :])


class StepAttention(TokenAttention):
    """Attention of tokens to those that they know.

    Takes tokens (B, N, D) and ``known`` (B, N, N), or (B, 1, N) where all know the same, or nothing where
    all know all; gives (B, N, D). A token that knows none takes 0. Arguments are those of
    :class:`TokenAttention`.
    """

    def call(self, tokens: Any, known: Any = None) -> Any:
        known = None if known is None else ops.expand_dims(known, 1)
        return self.attended([layer(tokens) for layer in self.project], known)


class EfficientAttention(TokenAttention):
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
        super().__init__(units, heads, seed, **kwargs)
        self.reduction = reduction
        if reduction > 1:
            start, policy = self.seeds.glorot(), self.dtype_policy
            self.reduce = keras.layers.Conv2D(
                units, reduction, reduction, "same", kernel_initializer=start, dtype=policy
            )
            self.norm = layer_norm(dtype=policy)

    def build(self, shape: Any) -> None:
        super().build(shape)
        if self.reduction > 1:
            self.reduce.build(shape)
            self.norm.build(shape)

    def call(self, x: Any) -> Any:
        small = self.norm(self.reduce(x)) if self.reduction > 1 else x  # (B, h, w, D)
        query, content = (
            layer(ops.reshape(maps, (-1, maps.shape[1] * maps.shape[2], self.units)))
            for layer, maps in zip(self.project, (x, small), strict=True)
        )  # (B, N, D), (B, M, 2 D)
        return ops.reshape(self.attended([query, content]), (-1, *x.shape[1:]))


# === Attention of a learnt query to dates ===


class MasterQueryAttention(Layer):
    """Attention of the L-TAE (Garnot and Landrieu 2020, §3.3): a learnt query and some channels a head.

    Takes features (B, T, E), ``valid`` (B, T) and the encoding of dates (B, T, E / H); gives (B, E). For
    head h with its group e_h of the channels and p of the dates:

    k_h(t) = W_h (e_h(t) + p(t)),  a_h = softmax_t (q_h · k_h(t) / √K),  o_h = Σ_t a_h(t) (e_h(t) + p(t)),

    and the outputs of all heads are put side by side. A bias of the keys would cancel in the softmax, so
    there is none. That a key sees its own group alone is our reading of the paper's channel grouping; in the
    authors' code the keys see all channels.

    Args:
        heads: Heads H; E must be a multiple of it.
        key_size: Size K of queries and keys.
        dropout: Share of attention weights dropped.
        seed: Seed of weights and dropout.
    """

    def __init__(self, heads: int, key_size: int, dropout: float = 0.1, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.heads, self.key_size = heads, key_size
        self._seeds = Seeds(seed)
        self.drop = self._seeds.dropout(dropout)

    def build(self, shape: Any) -> None:
        group = shape[-1] // self.heads
        spread = keras.initializers.RandomNormal(stddev=(2 / self.key_size) ** 0.5, seed=self._seeds.next())
        self.query = self.add_weight((self.heads, self.key_size, 1), spread, name="query")
        self.key = self.add_weight((self.heads, group, self.key_size), self._seeds.glorot(), name="key")

    def call(self, features: Any, valid: Any, dates: Any, training: bool | None = None) -> Any:
        channels = features.shape[-1]
        x = features + ops.tile(dates, (1, 1, self.heads))  # (B, T, E)
        # W_h' q_h of all heads as one matrix (E, H): a product a head is many small ones, and slow
        read = ops.matmul(self.key, self.query) * self.key_size**-0.5  # (H, E/H, 1)
        own = ops.array(np.eye(self.heads)[:, None], read.dtype)  # a constant: OpenVINO converts no ops.eye
        read = ops.reshape(read * own, (channels, -1))
        logits = ops.transpose(ops.matmul(x, read), (0, 2, 1))  # (B, H, T)
        weights = self.drop(masked_softmax(logits, valid[:, None, :]), training=training)
        of_head = np.repeat(np.eye(self.heads), channels // self.heads, axis=1)  # (H, E)
        weights = ops.matmul(ops.transpose(weights, (0, 2, 1)), ops.array(of_head, x.dtype))  # (B, T, E)
        return ops.sum(weights * x, axis=1)  # (B, E)


class PixelAttention(Layer):
    """Attention of a learnt query to the dates of each pixel (Garnot and Landrieu 2020, §3.3).

    Takes maps (B, T, h, w, E) and ``known`` (B, A, T); gives weights (B, h, w, G, A, T) of G heads:
    a_g(t) = softmax_t (q_g · W_g e(t) / √K) among the dates that a prediction knows, 0 where it knows none.
    Keys see all channels, as in the authors' code; a bias of theirs would cancel in the softmax.

    Args:
        heads: Heads G.
        key_size: Size K of queries and keys.
        seed: Seed of the weights.
    """

    def __init__(self, heads: int, key_size: int, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.heads, self.key_size, self.seed = heads, key_size, seed

    def build(self, shape: Any) -> None:
        seeds = Seeds(self.seed)
        spread = keras.initializers.RandomNormal(stddev=(2 / self.key_size) ** 0.5, seed=seeds.next())
        self.query = self.add_weight((self.heads, self.key_size), spread, name="query")
        width = self.heads * self.key_size
        self.key = self.add_weight((shape[-1], width), seeds.glorot(), name="key")

    def call(self, maps: Any, known: Any) -> Any:
        key = ops.reshape(self.key, (-1, self.heads, self.key_size))  # (E, G, K)
        wanted = ops.sum(key * self.query, axis=-1)  # (E, G): q · W e = (Wᵀ q) · e
        logits = ops.transpose(ops.matmul(maps, wanted), (0, 2, 3, 4, 1)) * self.key_size**-0.5
        batch, predictions, times = ops.shape(known)
        places = maps.shape[2:4]
        # One axis for pixels and heads: TensorFlow's softmax takes five at most.
        logits = ops.reshape(logits, (batch, -1, 1, times))  # (B, h w G, 1, T)
        weights = masked_softmax(logits, ops.expand_dims(known, 1))  # (B, h w G, A, T)
        return ops.reshape(weights, (batch, *places, self.heads, predictions, times))


class WeightedSteps(Layer):
    """Sum maps (B, T, H, W, C) over time with weights of coarser pixels: → (B, A, H, W, C).

    Weights (B, h, w, G, A, T) are those of :class:`PixelAttention`; H and W are multiples of h and w, and
    head g weights the g-th of G groups of channels (Garnot and Landrieu 2021, §3.2). Each pixel takes the
    weights of the coarse one that it lies in, so that weights of T × T steps stand at the coarse scale alone;
    in the paper they are resized bilinearly.
    """

    def call(self, maps: Any, weights: Any) -> Any:
        batch, times = ops.shape(maps)[:2]
        predictions = ops.shape(weights)[4]
        height, width, channels = maps.shape[2:]
        high, wide, heads = weights.shape[1:4]
        split = (high, height // high, wide, width // wide, heads, channels // heads)
        # Products of matrices: to export an einsum of nine letters, 9! orders of these are compared.
        x = ops.reshape(maps, (batch, times, *split))  # (B, T, h, i, w, j, G, C/G)
        x = ops.transpose(x, (0, 2, 4, 6, 1, 3, 5, 7))  # (B, h, w, G, T, i, j, C/G)
        within = (split[1], split[3], split[5])
        x = ops.reshape(x, (batch, high, wide, heads, times, within[0] * within[1] * within[2]))
        x = ops.matmul(weights, x)  # (B, h, w, G, A, i j C/G)
        x = ops.reshape(x, (batch, high, wide, heads, predictions, *within))
        x = ops.transpose(x, (0, 4, 1, 5, 2, 6, 3, 7))  # (B, A, h, i, w, j, G, C/G)
        return ops.reshape(x, (batch, predictions, height, width, channels))


# === What a step knows ===


class Known(Layer):
    """Return which images a prediction may know, from ``valid`` (B, T): bool (B, A, T) for A predictions.

    Args:
        causal: One prediction a step, A = T, which knows the images up to its own; else one, A = 1, which
            knows all.
    """

    def __init__(self, causal: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.causal = causal

    def call(self, valid: Any) -> Any:
        seen = ops.expand_dims(ops.cast(valid, "bool"), 1)  # (B, 1, T)
        if not self.causal:
            return seen
        steps = ops.arange(ops.shape(valid)[1])
        return ops.logical_and(ops.expand_dims(steps, 1) >= steps, seen)  # (B, T, T)


class Last(Layer):
    """Take features (B, T, D) of the last image that each prediction knows (B, A, T) → (B, A, D), else 0."""

    def call(self, features: Any, known: Any) -> Any:
        places = ops.cast(known, "int32") * (1 + ops.arange(ops.shape(known)[-1]))  # (B, A, T)
        last = ops.logical_and(known, places == ops.max(places, axis=-1, keepdims=True))
        return ops.matmul(ops.cast(last, features.dtype), features)


# === Gates of feature maps ===


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


class MultiAttention(Layer):
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
        # Glorot's, made small
        two = keras.initializers.VarianceScaling(BRANCH_SCALE**2, "fan_avg", "uniform", seed=self.seed + 1)
        self.normalize = keras.layers.LayerNormalization(center=False, scale=False, dtype=policy)
        self.project = keras.layers.Dense(width, use_bias=False, kernel_initializer=one, dtype=policy)
        self.merge = keras.layers.Dense(features, kernel_initializer=two, dtype=policy)
        self.normalize.build((None, None, features))
        self.project.build((None, None, features))
        self.merge.build((None, None, self.heads * self.value_size))

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return shape

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


def check_heads(name: str, heads: int, *units: int) -> None:
    """Refuse heads that do not divide the units, or the channels of a level, among themselves.

    Raises:
        ParameterError: If they do not.
    """
    for number in units:
        if number % heads:
            raise ParameterError(
                f"{name}: units is {number}, expected a multiple of heads, and heads is {heads}."
            )
