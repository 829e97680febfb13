"""Transformer encoder of pixel series."""

# ruff: noqa: D102 (build, call and get_config are those of Keras; the class documents them)

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from eolab.core.errors import ParameterError
from eolab.models.heads import Spec, labels_model, series_input
from eolab.models.layers import (
    DayEncoding,
    MaskedMean,
    Normalize,
    Seeds,
    dot_product_attention,
    serializable,
)


@serializable
class SelfAttention(keras.layers.Layer):
    """Attention of each date to all valid dates (Vaswani et al. 2017, §3.2).

    Takes features (B, T, D) and ``valid`` (B, T), gives (B, T, D).

    Args:
        units: Features D, a multiple of ``heads``.
        heads: Attentions side by side, each on D / heads features.
        seed: Seed of the weights.
    """

    def __init__(self, units: int, heads: int, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units, self.heads, self.seed = units, heads, seed
        seeds = Seeds(seed)
        self.project = keras.layers.Dense(
            3 * units, kernel_initializer=seeds.glorot(), dtype=self.dtype_policy
        )
        self.merge = keras.layers.Dense(units, kernel_initializer=seeds.glorot(), dtype=self.dtype_policy)

    def build(self, features_shape: Any, valid_shape: Any = None) -> None:
        self.project.build(features_shape)
        self.merge.build((*features_shape[:-1], self.units))

    def call(self, features: Any, valid: Any) -> Any:
        times, size = features.shape[1], self.units // self.heads
        x = ops.reshape(self.project(features), (-1, times, 3, self.heads, size))  # (B, T, 3, H, D/H)
        query, key, value = ops.unstack(x, axis=2)  # 3 × (B, T, H, D/H)
        return self.merge(dot_product_attention(query, key, value, valid[:, None, None, :]))  # (B, T, D)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units, "heads": self.heads, "seed": self.seed}


def transformer(
    spec: Spec,
    *,
    units: int = 64,
    heads: int = 4,
    layers: int = 2,
    expansion: int = 2,
    dropout: float = 0.1,
) -> keras.Model:
    """Return a small Transformer encoder with dates as positions (Vaswani et al. 2017).

    - Applied to raw optical series as by Rußwurm and Körner (2020); normalisation stands before attention and
      dense layers (Xiong et al. 2020), which trains without warm-up.
    - Each date attends to the valid dates alone; the mean over valid dates is classified.

    Papers: Attention is all you need, NeurIPS 2017; Self-attention for raw optical satellite time series
    classification, ISPRS Journal 169; On layer normalization in the Transformer architecture, ICML 2020.

    Args:
        spec: Inputs and outputs.
        units: Features D of each date, a multiple of ``heads``.
        heads: Attentions side by side.
        layers: Encoder layers.
        expansion: The hidden dense layer has this many times D units.
        dropout: Share of features dropped after attention and dense layers.
    """
    if units % heads:
        raise ParameterError(f"transformer: units is {units}, expected a multiple of heads ({heads}).")
    seeds = spec.seeds
    inputs = series_input(spec)
    valid = inputs["valid"]

    def dense(size: int, activation: str | None = None) -> keras.layers.Layer:
        return keras.layers.Dense(size, activation, kernel_initializer=seeds.glorot())

    x = Normalize(spec.mean, spec.std, name="normalize")(inputs["image"], valid)  # (B, T, C)
    x = dense(units)(x)  # (B, T, D)
    x = keras.layers.Add()([x, DayEncoding(units, name="day_encoding")(inputs["day"])])
    for _ in range(layers):
        y = SelfAttention(units, heads, seed=seeds.next())(keras.layers.LayerNormalization()(x), valid)
        x = keras.layers.Add()([x, seeds.dropout(dropout)(y)])
        y = dense(expansion * units, "relu")(keras.layers.LayerNormalization()(x))  # (B, T, E D)
        x = keras.layers.Add()([x, seeds.dropout(dropout)(dense(units)(y))])  # (B, T, D)
    x = MaskedMean(name="mean_of_valid")(keras.layers.LayerNormalization()(x), valid)  # (B, D)
    return labels_model(spec, inputs, x)
