"""An LSTM layer for series of fixed length with gaps."""

# ruff: noqa: D102 (build, call and get_config are those of Keras; the class documents them)

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from eolab.models.layers import Seeds, serializable


@serializable
class SeriesLSTM(keras.layers.Layer):
    """Long short-term memory (Hochreiter and Schmidhuber 1997) that keeps its state over invalid dates.

    Takes features (B, T, C) and ``valid`` (B, T); gives the last state (B, U), or with ``return_sequences``
    the state after each date (B, T, U). Weights and results are those of :class:`keras.layers.LSTM` with
    ``valid`` as mask. What differs is the way to compute them: the input of all dates is projected in one
    product, and the dates are unrolled, so that no loop of the backend stands in the way of compilation. The
    cell state and the gates stay in float32 at any precision.

    Args:
        units: Units U.
        return_sequences: Whether to return the states after all dates.
        go_backwards: Whether to start with the last date; a sequence of states keeps the order of the dates.
        seed: Of the weights.
    """

    def __init__(
        self,
        units: int,
        return_sequences: bool = False,
        go_backwards: bool = False,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units, self.return_sequences, self.go_backwards = units, return_sequences, go_backwards
        self.seed = seed

    def build(self, features_shape: Any, valid_shape: Any = None) -> None:
        seeds, gates = Seeds(self.seed), 4 * self.units
        orthogonal = keras.initializers.Orthogonal(seed=seeds.next())
        self.kernel = self.add_weight(
            shape=(features_shape[-1], gates), initializer=seeds.glorot(), name="kernel"
        )
        self.recurrent_kernel = self.add_weight(
            shape=(self.units, gates), initializer=orthogonal, name="recurrent_kernel"
        )
        self.bias = self.add_weight(shape=(gates,), initializer=self._forget_nothing, name="bias")

    def _forget_nothing(self, shape: Any, dtype: Any = None) -> Any:
        """Return biases of input, forget, cell and output gates; 1 for the forget gate (Gers et al. 2000)."""
        ones, zeros = ops.ones((self.units,), dtype), ops.zeros((self.units,), dtype)
        return ops.concatenate([zeros, ones, zeros, zeros])

    def call(self, features: Any, valid: Any) -> Any:
        times = features.shape[1]
        kept = ops.expand_dims(ops.transpose(ops.cast(valid, "bool")), -1)  # (T, B, 1)
        x = ops.transpose(features, (1, 0, 2))  # (T, B, C)
        x = ops.cast(ops.matmul(x, self.kernel), "float32") + ops.cast(self.bias, "float32")  # (T, B, 4 U)
        state = memory = ops.zeros_like(x[0, :, : self.units])  # (B, U)
        states: list[Any] = [None] * times
        for t in reversed(range(times)) if self.go_backwards else range(times):
            recurrent = ops.matmul(ops.cast(state, self.compute_dtype), self.recurrent_kernel)
            gates = x[t] + ops.cast(recurrent, "float32")  # (B, 4 U)
            let_in, keep, candidate, let_out = ops.split(gates, 4, axis=-1)  # 4 × (B, U)
            new = ops.sigmoid(keep) * memory + ops.sigmoid(let_in) * ops.tanh(candidate)
            state = ops.where(kept[t], ops.sigmoid(let_out) * ops.tanh(new), state)
            memory = ops.where(kept[t], new, memory)
            states[t] = state
        result = ops.stack(states, axis=1) if self.return_sequences else state
        return ops.cast(result, self.compute_dtype)  # (B, T, U) or (B, U)

    def get_config(self) -> dict[str, Any]:
        own = {"units": self.units, "return_sequences": self.return_sequences}
        return {**super().get_config(), **own, "go_backwards": self.go_backwards, "seed": self.seed}
