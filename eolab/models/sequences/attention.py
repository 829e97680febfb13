"""Causal attention over the time steps of a sequence."""

# ruff: noqa: D102 (build, call and get_config are those of Keras; the class documents them)

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from eolab.models.layers import Seeds, dot_product_attention, masked_softmax, serializable


@serializable
class Known(keras.layers.Layer):
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

    def compute_output_spec(self, valid: Any) -> keras.KerasTensor:
        batch, times = valid.shape
        return keras.KerasTensor((batch, times if self.causal else 1, times), "bool")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "causal": self.causal}


@serializable
class Last(keras.layers.Layer):
    """Take features (B, T, D) of the last image that each prediction knows (B, A, T) → (B, A, D), else 0."""

    def call(self, features: Any, known: Any) -> Any:
        places = ops.cast(known, "int32") * (1 + ops.arange(ops.shape(known)[-1]))  # (B, A, T)
        last = ops.logical_and(known, places == ops.max(places, axis=-1, keepdims=True))
        return ops.matmul(ops.cast(last, features.dtype), features)

    def compute_output_shape(self, features_shape: Any, known_shape: Any) -> tuple[int | None, ...]:
        return (*known_shape[:2], features_shape[-1])


@serializable
class StepAttention(keras.layers.Layer):
    """Attention of tokens to those that they know (Vaswani et al. 2017, §3.2).

    Takes tokens (B, N, D) and ``known`` (B, N, N), or (B, 1, N) where all know the same; gives (B, N, D).
    A token that knows none takes 0.

    Args:
        units: Features D, a multiple of ``heads``.
        heads: Attentions side by side, each on D / heads features.
        seed: Seed of the weights.
    """

    def __init__(self, units: int, heads: int, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units, self.heads, self.seed = units, heads, seed
        seeds = Seeds(seed)

        def dense(size: int) -> keras.layers.Layer:
            return keras.layers.Dense(size, kernel_initializer=seeds.glorot(), dtype=self.dtype_policy)

        self.query, self.content, self.merge = dense(units), dense(2 * units), dense(units)

    def build(self, tokens_shape: Any, known_shape: Any = None) -> None:
        self.query.build(tokens_shape)
        self.content.build(tokens_shape)
        self.merge.build((*tokens_shape[:-1], self.units))

    def call(self, tokens: Any, known: Any) -> Any:
        size = self.units // self.heads
        count = ops.shape(tokens)[1]
        query = ops.reshape(self.query(tokens), (-1, count, self.heads, size))  # (B, N, H, D/H)
        content = ops.reshape(self.content(tokens), (-1, count, 2, self.heads, size))  # (B, N, 2, H, D/H)
        key, value = content[:, :, 0], content[:, :, 1]
        return self.merge(dot_product_attention(query, key, value, ops.expand_dims(known, 1)))

    def compute_output_shape(self, tokens_shape: Any, known_shape: Any = None) -> Any:
        return tokens_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units, "heads": self.heads, "seed": self.seed}


@serializable
class PixelAttention(keras.layers.Layer):
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

    def build(self, maps_shape: Any, known_shape: Any = None) -> None:
        seeds = Seeds(self.seed)
        spread = keras.initializers.RandomNormal(stddev=(2 / self.key_size) ** 0.5, seed=seeds.next())
        self.query = self.add_weight((self.heads, self.key_size), spread, name="query")
        width = self.heads * self.key_size
        self.key = self.add_weight((maps_shape[-1], width), seeds.glorot(), name="key")

    def call(self, maps: Any, known: Any) -> Any:
        key = ops.reshape(self.key, (-1, self.heads, self.key_size))  # (E, G, K)
        wanted = ops.einsum("egk,gk->eg", key, self.query)  # q · W e = (Wᵀ q) · e
        logits = ops.einsum("bthwe,eg->bhwgt", maps, wanted) * self.key_size**-0.5
        batch, predictions, times = ops.shape(known)
        places = maps.shape[2:4]
        # One axis for pixels and heads: TensorFlow's softmax takes five at most.
        logits = ops.reshape(logits, (batch, -1, 1, times))  # (B, h w G, 1, T)
        weights = masked_softmax(logits, ops.expand_dims(known, 1))  # (B, h w G, A, T)
        return ops.reshape(weights, (batch, *places, self.heads, predictions, times))

    def compute_output_shape(self, maps_shape: Any, known_shape: Any) -> tuple[int | None, ...]:
        return (maps_shape[0], *maps_shape[2:4], self.heads, *known_shape[1:])

    def get_config(self) -> dict[str, Any]:
        own = {"heads": self.heads, "key_size": self.key_size, "seed": self.seed}
        return {**super().get_config(), **own}


@serializable
class WeightedSteps(keras.layers.Layer):
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
        x = ops.reshape(maps, (batch, times, *split))  # (B, T, h, i, w, j, G, C/G)
        x = ops.einsum("bhwgat,bthiwjgc->bahiwjgc", weights, x)
        return ops.reshape(x, (batch, predictions, height, width, channels))

    def compute_output_shape(self, maps_shape: Any, weights_shape: Any) -> tuple[int | None, ...]:
        return (maps_shape[0], weights_shape[4], *maps_shape[2:])
