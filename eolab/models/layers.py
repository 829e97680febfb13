"""Layers of all networks: seeds, normalisation, dates, averages and softmax over what is valid."""

# ruff: noqa: D102 (build, call and get_config are those of Keras; the class documents them)

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

serializable = keras.saving.register_keras_serializable(package="eolab")


class Seeds:
    """Numbers for everything random in a model, so that one seed fixes it without any global state."""

    def __init__(self, seed: int) -> None:
        self._next = int(seed) * 1000

    def next(self) -> int:
        """Return a seed that was not given out before."""
        self._next += 1
        return self._next

    def glorot(self) -> keras.Initializer:
        """Return Glorot and Bengio's (2010) uniform initialiser."""
        return keras.initializers.GlorotUniform(seed=self.next())

    def he(self) -> keras.Initializer:
        """Return the normal initialiser of He et al. (2015), for layers with ReLU."""
        return keras.initializers.HeNormal(seed=self.next())

    def dropout(self, rate: float) -> keras.layers.Layer:
        """Return a dropout layer."""
        return keras.layers.Dropout(rate, seed=self.next())


@serializable
class Normalize(keras.layers.Layer):
    """Scale each band by mean and standard deviation; what was not observed becomes 0, the mean.

    Takes ``image`` (B, T, C) in raw units and ``valid`` (B, T); gives float32 (B, T, C). A missing value
    (NaN) at a valid date becomes 0 too. Without ``valid`` it takes an ``image`` (B, …, C) of any shape.
    Always computes in float32: raw values may exceed what float16 holds.

    Args:
        mean: Mean of each band, C numbers.
        std: Standard deviation of each band, C numbers; a band with 0 is only centred.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.mean = [float(m) for m in mean]
        self.std = [float(s) for s in std]

    def build(self, *shapes: Any, **named_shapes: Any) -> None:
        # Weights, not constants of the graph: a network that is compiled takes those of another fold.
        size = (len(self.mean),)
        self.center = self.add_weight(size, "zeros", name="mean", trainable=False)
        self.scale = self.add_weight(size, "ones", name="std", trainable=False)
        self.put(self.mean, self.std)

    def put(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Replace mean and standard deviation of each band, in the saved model too."""
        self.mean, self.std = [float(m) for m in mean], [float(s) for s in std]
        self.center.assign(np.array(self.mean, np.float32))
        self.scale.assign(np.array([s or 1.0 for s in self.std], np.float32))

    def call(self, image: Any, valid: Any = None) -> Any:
        seen = ops.logical_not(ops.isnan(image))
        if valid is not None:
            seen = ops.logical_and(ops.expand_dims(ops.cast(valid, "bool"), -1), seen)
        center, scale = ops.convert_to_tensor(self.center), ops.convert_to_tensor(self.scale)
        return (ops.where(seen, image, center) - center) / scale

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mean": self.mean, "std": self.std}


@serializable
class DayEncoding(keras.layers.Layer):
    """Encode dates as sines and cosines of many periods (Vaswani et al. 2017, on days in place of positions).

    Takes ``day`` (B, T), gives (B, T, units): feature i is sin(day / base^(2 ⌊i/2⌋ / units)) for even i, and
    the cosine for odd i. The sines are taken in float32, whatever the precision.

    Args:
        units: Features a date.
        base: The longest period is 2 π times this many days.
    """

    def __init__(self, units: int, base: float = 1000.0, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.units, self.base = units, base

    def call(self, day: Any) -> Any:
        rates = [self.base ** (-2 * (i // 2) / self.units) for i in range(self.units)]
        phases = [0.5 * math.pi * (i % 2) for i in range(self.units)]
        return ops.sin(ops.expand_dims(day, -1) * ops.array(rates, "float32") + ops.array(phases, "float32"))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units, "base": self.base}


@serializable
class MaskedMean(keras.layers.Layer):
    """Average features (B, T, D) over the valid dates (B, T) → (B, D); 0 where no date is valid."""

    def call(self, features: Any, valid: Any) -> Any:
        weight = ops.expand_dims(ops.cast(ops.cast(valid, "bool"), features.dtype), -1)  # (B, T, 1)
        return ops.sum(features * weight, axis=1) / ops.maximum(ops.sum(weight, axis=1), 1)  # (B, D)


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
