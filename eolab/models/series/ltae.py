"""L-TAE: lightweight temporal attention."""

# ruff: noqa: D102 (build, call and get_config are those of Keras; the class documents them)

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from eolab.core.errors import ParameterError
from eolab.models.heads import Spec, labels_model, series_input
from eolab.models.layers import (
    DayEncoding,
    Normalize,
    Seeds,
    masked_softmax,
    serializable,
)


@serializable
class MasterQueryAttention(keras.layers.Layer):
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
        self.heads, self.key_size, self.dropout, self.seed = heads, key_size, dropout, seed
        self._seeds = Seeds(seed)
        self.drop = self._seeds.dropout(dropout)

    def build(self, features_shape: Any, valid_shape: Any = None, dates_shape: Any = None) -> None:
        group = features_shape[-1] // self.heads
        spread = keras.initializers.RandomNormal(stddev=(2 / self.key_size) ** 0.5, seed=self._seeds.next())
        self.query = self.add_weight(shape=(self.heads, self.key_size, 1), initializer=spread, name="query")
        self.key = self.add_weight(
            shape=(self.heads, group, self.key_size), initializer=self._seeds.glorot(), name="key"
        )

    def call(self, features: Any, valid: Any, dates: Any, training: bool | None = None) -> Any:
        times, channels = features.shape[1:]
        x = ops.reshape(features, (-1, times, self.heads, channels // self.heads))  # (B, T, H, E/H)
        x = ops.transpose(x + ops.expand_dims(dates, 2), (0, 2, 1, 3))  # (B, H, T, E/H)
        keys = ops.matmul(x, self.key)  # (B, H, T, K)
        logits = ops.squeeze(ops.matmul(keys, self.query), -1) * self.key_size**-0.5  # (B, H, T)
        weights = self.drop(masked_softmax(logits, valid[:, None, :]), training=training)
        x = ops.matmul(ops.expand_dims(weights, 2), x)  # (B, H, 1, E/H)
        return ops.reshape(x, (-1, channels))  # (B, E)

    def get_config(self) -> dict[str, Any]:
        own = {"heads": self.heads, "key_size": self.key_size, "dropout": self.dropout, "seed": self.seed}
        return {**super().get_config(), **own}


def ltae(
    spec: Spec,
    *,
    units: int = 128,
    heads: int = 16,
    key_size: int = 8,
    dropout: float = 0.2,
) -> keras.Model:
    """Return a lightweight temporal attention encoder (Garnot and Landrieu 2020).

    - The paper's encoder of parcels gives way to two dense layers a date, since a sample is one pixel.
    - Invalid dates get no attention.
    - The decoder has 64 and 32 units, as in the paper.

    Paper: Lightweight temporal self-attention for classifying satellite images time series, AALTD 2020.

    Args:
        spec: Inputs and outputs.
        units: Features E of each date, a multiple of ``heads``.
        heads: Heads H.
        key_size: Size of queries and keys.
        dropout: Share of features dropped after the attention's dense layer.
    """
    if units % heads:
        raise ParameterError(f"ltae: units is {units}, expected a multiple of heads ({heads}).")
    seeds = spec.seeds
    inputs = series_input(spec)

    def dense(x: Any, size: int) -> Any:
        x = keras.layers.Dense(size, kernel_initializer=seeds.he())(x)
        return keras.layers.ReLU()(keras.layers.BatchNormalization()(x))

    x = Normalize(spec.mean, spec.std, name="normalize")(inputs["image"], inputs["valid"])  # (B, T, C)
    x = keras.layers.Dense(units // 2, "relu", kernel_initializer=seeds.he())(x)  # (B, T, E / 2)
    x = keras.layers.Dense(units, kernel_initializer=seeds.glorot())(x)  # (B, T, E)
    x = keras.layers.LayerNormalization()(x)
    dates = DayEncoding(units // heads, base=1000.0, name="day_encoding")(inputs["day"])  # (B, T, E / H)
    attention = MasterQueryAttention(heads, key_size, seed=seeds.next(), name="attention")
    x = attention(x, inputs["valid"], dates)  # (B, E)
    x = seeds.dropout(dropout)(dense(x, units))
    x = keras.layers.LayerNormalization()(x)
    x = dense(dense(x, 64), 32)  # (B, 32)
    return labels_model(spec, inputs, x)
