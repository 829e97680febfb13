"""A Transformer over the images of all sensors, each image a token."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from eolab.core.errors import ParameterError
from eolab.models.blocks import scaled
from eolab.models.heads import Spec
from eolab.models.layers import DayEncoding, MaskedMean, Seeds
from eolab.models.sequences.attention import Known, Last, StepAttention
from eolab.models.sequences.inputs import Observed, Unfold, fold, sequence_input, sequence_model

FILTERS = (16, 32, 64)  # of the stages that read an image, each half as large as the one before
GROUP = 4  # channels that are normalised together


def date_transformer(
    spec: Spec,
    *,
    units: int = 64,
    heads: int = 4,
    layers: int = 2,
    expansion: int = 2,
    width_multiplier: float = 1.0,
    dropout: float = 0.1,
) -> keras.Model:
    """Return a Transformer encoder (Vaswani et al. 2017) whose tokens are the images of all sensors.

    A small convolutional network a sensor makes one token of each image; its day is encoded by sines
    (Garnot et al. 2020), and the bias of its last layer tells the sensors apart. One attention reads the
    tokens of all sensors: an image knows those of its step and before, whatever their sensor.

    - A step takes the last token of each sensor, 0 before the first, side by side; a dense layer predicts. So
      a step without images predicts as the one before it.
    - The head "labels": all images know each other, and one prediction comes from the mean of each
      sensor's tokens.
    - Normalisation stands before attention and dense layers (Xiong et al. 2020), which trains without
      warm-up.

    Papers: Attention is all you need, NeurIPS 2017; Satellite image time series classification with
    pixel-set encoders and temporal self-attention, CVPR 2020; On layer normalization in the Transformer
    architecture, ICML 2020. Sizes are ours.

    Args:
        spec: Inputs and outputs.
        units: Features D of each token, a multiple of ``heads``.
        heads: Attentions side by side.
        layers: Encoder layers.
        expansion: The hidden dense layer has this many times D units.
        width_multiplier: Factor of the channels of the convolutions.
        dropout: Share of features dropped after attention and dense layers.

    Raises:
        ParameterError: If a number is out of range or ``heads`` does not divide ``units``.
    """
    if min(units, heads, layers, expansion) < 1 or units % heads:
        raise ParameterError(
            f"date_transformer: units is {units}, heads {heads}, layers {layers} and expansion {expansion}; "
            "expected 1 or more, and units that are a multiple of heads."
        )
    seeds = spec.seeds
    inputs, images = sequence_input(spec)
    valid = {sensor: inputs[f"{sensor}_valid"] for sensor in images}
    tokens = {}
    for sensor, x in images.items():
        features = Unfold()(_read(fold(x), width_multiplier, seeds), valid[sensor])  # (B, T, F)
        token = keras.layers.Dense(units, kernel_initializer=seeds.glorot())(features)
        day = Observed(dtype="float32")(inputs[f"{sensor}_day"], valid[sensor])
        tokens[sensor] = keras.layers.Add()([token, DayEncoding(units)(day)])  # (B, T, D)
    steps = spec.head == "steps"
    known = [Known(steps)(seen) for seen in valid.values()]  # of each sensor (B, A, T)
    x = keras.layers.Concatenate(axis=1)(list(tokens.values())) if len(tokens) > 1 else tokens.popitem()[1]
    for _ in range(layers):
        x = _layer(x, _of_tokens(known, steps), heads, expansion, dropout, seeds)
    x = keras.layers.LayerNormalization()(x)  # (B, N, D)
    branches = []
    for place in range(len(known)):
        own = _only(known, place)  # (B, A, N)
        branches.append(Last()(x, own) if steps else ops.expand_dims(MaskedMean()(x, own[:, 0]), 1))
    return sequence_model(spec, inputs, branches)


def _read(x: Any, width_multiplier: float, seeds: Seeds) -> Any:
    """Return features of images, means over each: (N, H, W, C) → (N, F)."""
    for number in FILTERS:
        for strides in (2, 1):
            filters = scaled(number, width_multiplier)
            x = keras.layers.Conv2D(filters, 3, strides, "same", kernel_initializer=seeds.he())(x)
            x = keras.layers.ReLU()(keras.layers.GroupNormalization(filters // GROUP)(x))
    return keras.layers.GlobalAveragePooling2D()(x)


def _of_tokens(known: list[Any], steps: bool) -> Any:
    """Return what each token knows, as what each step knows of each sensor: (B, N, N), or (B, 1, N)."""
    together = ops.concatenate(known, axis=-1)  # (B, A, N)
    return ops.concatenate([together] * len(known), axis=1) if steps else together


def _only(known: list[Any], place: int) -> Any:
    """Return what is known of one sensor, among the tokens of all (B, A, N)."""
    return ops.concatenate([k if i == place else ops.zeros_like(k) for i, k in enumerate(known)], axis=-1)


def _layer(x: Any, known: Any, heads: int, expansion: int, dropout: float, seeds: Seeds) -> Any:
    """Encoder layer: attention, then two dense layers, each beside a shortcut: (B, N, D) → (B, N, D)."""
    units = x.shape[-1]
    y = StepAttention(units, heads, seed=seeds.next())(keras.layers.LayerNormalization()(x), known)
    x = keras.layers.Add()([x, seeds.dropout(dropout)(y)])
    y = keras.layers.LayerNormalization()(x)
    y = keras.layers.Dense(expansion * units, "relu", kernel_initializer=seeds.glorot())(y)
    y = keras.layers.Dense(units, kernel_initializer=seeds.glorot())(y)
    return keras.layers.Add()([x, seeds.dropout(dropout)(y)])
