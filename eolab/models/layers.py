"""Seeds, and layers of many networks: normalisation, dates, averages over what is valid, activations.

Keras keeps the arguments of a layer in its configuration where they are numbers, words and lists of them, so
that layers need no ``get_config`` of their own.
"""

# ruff: noqa: D102 (build, call and get_config are those of Keras; the class documents them)

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from eolab.models import fused

KERAS = {  # Keras's own settings that networks and trainings are made for
    "image_data_format": "channels_last",
    "floatx": "float32",
    "epsilon": 1e-7,
    "max_epochs": None,
    "max_steps_per_epoch": None,
}


def settle_keras() -> dict[str, Any]:
    """Set Keras to what networks are made for; return its settings that were others, by name.

    A file ``~/.keras/keras.json`` and the variables ``KERAS_…`` change them for every program of a user.
    """
    others = {}
    for name, value in KERAS.items():
        found = getattr(keras.config, name)()
        if found != value:
            others[name] = found
            getattr(keras.config, f"set_{name}")(value)
    return others


class Saved:
    """Base of what a saved model names: Keras knows every class below when it loads one."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        keras.saving.register_keras_serializable(package="eolab")(cls)


class Layer(Saved, keras.layers.Layer):
    """Base of the layers of this package."""


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


def moves_of(mask: Any, backwards: bool, to_end: bool, dtype: str) -> tuple[Any, Any]:
    """Return where the valid steps of sequences move to, so that they stand together as they are read.

    A product with sequences (B, T, C) moves them, and leaves zeros in the other steps.

    Args:
        mask: Which steps are valid, bool (B, T).
        backwards: Whether they are read from the last to the first.
        to_end: Whether they move to the end, or to the beginning.
        dtype: Type of the moves.

    Returns:
        Moves (B, to, from), 1 or 0, and how many steps are valid, (B, 1).
    """
    rank = ops.cumsum(ops.cast(mask, "int32"), axis=1)  # of a valid step, from 1
    count, steps = rank[:, -1:], ops.shape(mask)[1]
    place = (count - rank if backwards else rank - 1) + (steps - count if to_end else 0)
    moves = ops.equal(ops.expand_dims(place, 1), ops.reshape(ops.arange(steps), (-1, 1)))
    return ops.cast(ops.logical_and(moves, ops.expand_dims(mask, 1)), dtype), count


WRITTEN_OUT = 60  # steps of a series; the graph of more takes long to build


class LSTM(Saved, keras.layers.LSTM):
    """Keras's LSTM (Hochreiter and Schmidhuber 1997), which need not choose by the mask in each step.

    Where it gives the last state of series with gaps, the valid steps of each move together, in their order;
    values are those of Keras but for rounding, if all inputs at valid steps are finite. On a processor under
    TensorFlow gaps move to the front: a step of zeros, without its bias, leaves an empty state empty. Steps
    are written out there, and two halves of the batch are computed at once. An export reads the state after
    the last valid step, so that ONNX has one operation for the whole layer. All else is Keras's own: layers
    that give each state or are written out already, more than :data:`WRITTEN_OUT` steps, dropout within the
    layer in training, other activations than tanh, other devices and backends.
    """

    def __init__(self, units: int, **options: Any) -> None:
        super().__init__(units, **{"use_cudnn": False, **options})  # which a saved layer does not keep

    def call(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False
    ) -> Any:
        seen: Any = keras.tree.flatten(mask)[0] if mask is not None else None
        gaps = (
            seen is not None and tuple(seen.shape) == tuple(sequences.shape[:2]) and seen.shape[1] is not None
        )
        more = self.return_sequences or self.return_state or self.stateful or initial_state is not None
        if not gaps or more or self.unroll or (training and (self.dropout or self.recurrent_dropout)):
            return super().call(sequences, initial_state=initial_state, mask=mask, training=training)
        plain = self.use_bias and self.activation is keras.activations.tanh
        if plain and seen.shape[1] <= WRITTEN_OUT and fused.usable():
            half = ops.shape(sequences)[0] // 2
            parts = (slice(None, half), slice(half, None)) if sequences.shape[0] != 1 else (slice(None),)
            return ops.concatenate([self._written(sequences[part], seen[part]) for part in parts])
        if fused.is_exported():
            return self._looped(sequences, seen)
        return super().call(sequences, mask=mask, training=training)

    def _looped(self, sequences: Any, mask: Any) -> Any:
        """Return the state after the last valid step of series (B, T, C), (B, U)."""
        moves, count = moves_of(mask, self.go_backwards, False, sequences.dtype)
        x = ops.matmul(moves, ops.where(ops.expand_dims(mask, -1), sequences, 0))
        reader = keras.layers.RNN(self.cell, return_sequences=True, dtype=self.dtype_policy, name="reader")
        states = reader(x)  # (B, T, U)
        last = ops.equal(ops.arange(mask.shape[1]), count - 1)  # in no step where all are gaps
        return ops.matmul(ops.cast(ops.expand_dims(last, 1), states.dtype), states)[:, 0]

    def _written(self, sequences: Any, mask: Any) -> Any:
        """Return the same by steps that are written out."""
        moves, _ = moves_of(mask, self.go_backwards, True, sequences.dtype)
        filled = ops.where(ops.expand_dims(mask, -1), sequences, 0)
        x = ops.matmul(moves, ops.concatenate([filled, ops.ones_like(filled[..., :1])], axis=-1))
        kernel = ops.concatenate([self.cell.kernel, ops.expand_dims(self.cell.bias, 0)])
        gates = ops.matmul(ops.transpose(x, (1, 0, 2)), kernel)  # (T, B, 4 U)
        sigmoid, state, cell = self.recurrent_activation, None, None
        for gate in ops.unstack(gates, mask.shape[1]):
            if state is not None:
                gate = gate + ops.matmul(state, self.cell.recurrent_kernel)
            enter, keep, new, leave = ops.split(gate, 4, axis=-1)
            entering = sigmoid(enter) * ops.tanh(new)
            cell = entering if cell is None else sigmoid(keep) * cell + entering
            state = sigmoid(leave) * ops.tanh(cell)
        return state


def recurrent(kind: Any, units: int, seeds: Seeds, sequences: bool, backwards: bool, **options: Any) -> Any:
    """Return a recurrent layer for series with gaps, whose state passes steps that a mask leaves out.

    Args:
        kind: Class of the layer, such as :class:`LSTM` or ``keras.layers.GRU``.
        units: Units of the layer.
        seeds: Seeds of the weights.
        sequences: Whether it gives the state of each step, or the last.
        backwards: Whether it reads from the last step to the first.
        **options: Further arguments of the layer.
    """
    return kind(
        units,
        kernel_initializer=seeds.glorot(),
        recurrent_initializer=keras.initializers.Orthogonal(seed=seeds.next()),
        return_sequences=sequences,
        go_backwards=backwards,
        use_cudnn=False,  # takes masks with gaps at the end only, and gives 0 there, not the state
        **options,
    )


class Normalize(Layer):
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


class DayEncoding(Layer):
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


class Seen(Layer):
    """Say where an image was observed, in any band: (B, H, W, C) raw → (B, H, W, 1), 1 or 0."""

    def call(self, image: Any) -> Any:
        seen = ops.any(ops.logical_not(ops.isnan(image)), axis=-1, keepdims=True)
        return ops.cast(seen, self.compute_dtype)


class MaskedMean(Layer):
    """Average features (B, T, D) over the valid dates (B, T) → (B, D); 0 where no date is valid."""

    def call(self, features: Any, valid: Any) -> Any:
        weight = ops.expand_dims(ops.cast(ops.cast(valid, "bool"), features.dtype), -1)  # (B, T, 1)
        return ops.sum(features * weight, axis=1) / ops.maximum(ops.sum(weight, axis=1), 1)  # (B, D)


class Gelu(Layer):
    """Gaussian error linear unit, x Φ(x) (Hendrycks and Gimpel 2016), any shape.

    Written with erf: TensorFlow's own has erfc, which has no counterpart in ONNX.
    """

    def call(self, x: Any) -> Any:
        return 0.5 * x * (1 + ops.erf(x / math.sqrt(2)))
