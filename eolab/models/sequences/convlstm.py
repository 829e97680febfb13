"""ConvLSTM branches, one a sensor, put together step by step."""

from __future__ import annotations

from typing import Any

import keras

from eolab.core.errors import ParameterError, did_you_mean
from eolab.models.heads import Spec
from eolab.models.layers import Seeds
from eolab.models.sequences.inputs import (
    ImageNorm,
    WithoutMask,
    sequence_input,
    sequence_model,
)
from eolab.models.sequences.recurrence import ConvLSTM

POOLINGS = ("flatten", "mean")


def convlstm(
    spec: Spec,
    *,
    filters: int = 2,
    kernel: int = 3,
    layers: int = 2,
    hidden: int = 2,
    dropout: float = 0.2,
    l2: float = 1e-4,
    pool: str = "flatten",
    bidirectional: bool = False,
) -> keras.Model:
    """Return a network of ConvLSTM branches (Shi et al. 2015), one a sensor.

    In each branch a ConvLSTM, batch normalisation, dropout and another ConvLSTM with dropout; the features of
    a step are put side by side, and two dense layers predict for each step. Where the report that this
    network is taken from says nothing, kernels are 3 × 3, dropout is 0.2 and the weight penalty 0.0001; the
    maps of a step are flattened, the only way in which a dense layer of two units follows them.

    - Steps without an image pass the state on: with sensors at different dates, a step has the last that each
      sensor saw. They take no part in the batch normalisation.
    - The head "labels" reads each sequence to its end and predicts once.

    Papers: Shi et al., Convolutional LSTM network, NeurIPS 2015, https://arxiv.org/abs/1506.04214; data and
    task of Rambour et al. 2020.

    Args:
        spec: Inputs and outputs.
        filters: Maps of each ConvLSTM.
        kernel: Side of their kernels in pixels.
        layers: ConvLSTMs a branch.
        hidden: Units of the dense layer before the last layer.
        dropout: Share of features dropped after each ConvLSTM.
        l2: Penalty on squared weights of the ConvLSTMs.
        pool: How maps become features: "flatten", as reported, or "mean" over the image, for any size.
        bidirectional: Whether a second reading goes backwards, so that a step knows what came after.

    Raises:
        ParameterError: If a word is unknown or a number not positive.
    """
    if pool not in POOLINGS:
        raise ParameterError(f"convlstm: pool is {pool!r}; {did_you_mean(pool, POOLINGS)}")
    if min(filters, kernel, layers, hidden) < 1:
        raise ParameterError("convlstm: filters, kernel, layers and hidden must be 1 or more.")
    seeds = spec.seeds
    inputs, images = sequence_input(spec)
    options: dict[str, Any] = {"filters": filters, "kernel": kernel, "l2": l2, "bidirectional": bidirectional}
    branches = []
    for sensor, x in images.items():
        valid = inputs[f"{sensor}_valid"]
        for number in range(layers):
            whole = spec.head == "steps" or number < layers - 1
            x = _recurrent(x, valid, seeds, sequences=whole, **options)
            if number == 0 and layers > 1:
                x = WithoutMask()(ImageNorm()(x, valid > 0.5))
            x = seeds.dropout(dropout)(x)
        branches.append(_features(x, pool, steps=spec.head == "steps"))  # (B, T, F)
    x = branches[0] if len(branches) == 1 else keras.layers.Concatenate()(branches)
    x = keras.layers.Dense(hidden, "relu", kernel_initializer=seeds.he())(x)  # (B, T, hidden)
    return sequence_model(spec, inputs, [x])


def _recurrent(
    x: Any,
    valid: Any,
    seeds: Seeds,
    *,
    sequences: bool,
    filters: int,
    kernel: int,
    l2: float,
    bidirectional: bool,
) -> Any:
    """Read a series (B, T, H, W, C); return maps of each step, or of the last: (B, [T,] H, W, F or 2 F)."""

    def layer(backwards: bool) -> ConvLSTM:
        seed = seeds.next()
        seeds.next()  # of the recurrent kernel
        return ConvLSTM(filters, kernel, sequences, backwards, l2, seed)

    forth = layer(False)(x, valid)
    if not bidirectional:
        return forth
    back = layer(True)(x, valid)
    back = keras.ops.flip(back, axis=1) if sequences else back  # into the order of the dates
    return keras.layers.Concatenate()([forth, back])


def _features(x: Any, pool: str, steps: bool) -> Any:
    """Return features of each step (B, T, F), of one step for the sequence: from (B, [T,] H, W, F)."""
    if pool == "mean":
        x = keras.ops.mean(x, axis=(-3, -2))
    elif steps:
        x = keras.layers.Reshape((-1, x.shape[-3] * x.shape[-2] * x.shape[-1]))(x)
    else:
        x = keras.layers.Flatten()(x)
    return x if steps else keras.ops.expand_dims(x, 1)
