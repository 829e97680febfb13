"""What networks of patches have in common: how the image goes in, how the labels come out.

Every network takes ``{"image": (B, H, W, C)}`` float32 in raw units, and ``radar`` (B, H, W, 2) in dB where
it fuses; it answers with the probability of each label by itself, (B, K) float32. All but the three-branch
CNN make maps of features, average them and end in one dense layer, so that
:func:`eolab.models.patches.dense.dense` can answer for each position.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from eolab.core.errors import ParameterError
from eolab.models.layers import Seeds


def check(name: str, width: float, dropout: float, l2: float) -> None:
    """Check the options that all networks of patches have.

    Args:
        name: Of the network, for the errors.
        width: Factor of all numbers of features.
        dropout: Share of features dropped.
        l2: Penalty on the squares of weights.

    Raises:
        ParameterError: If a number is out of range.
    """
    if width <= 0:
        raise ParameterError(f"{name}: width is {width}, expected a number above 0.")
    if not 0 <= dropout < 1:
        raise ParameterError(f"{name}: dropout is {dropout}, expected a share of at least 0 and below 1.")
    if l2 < 0:
        raise ParameterError(f"{name}: l2 is {l2}, expected 0 or more.")


def finish(
    inputs: Mapping[str, Any], maps: Any, classes: int, seeds: Seeds, dropout: float, name: str
) -> keras.Model:
    """Return the model that averages maps of features and ends in a probability of each label.

    Args:
        inputs: Inputs by name.
        maps: Features (B, h, w, F).
        classes: Labels K.
        seeds: Of the weights.
        dropout: Share of the averaged features dropped.
        name: Name of the model.
    """
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(maps)  # (B, F)
    return answer(inputs, pooled, classes, seeds, dropout, name)


def answer(
    inputs: Mapping[str, Any], features: Any, classes: int, seeds: Seeds, dropout: float, name: str
) -> keras.Model:
    """Return the model that ends in a probability of each label, (B, F) → (B, K), float32 at any precision.

    Args:
        inputs: Inputs by name.
        features: Features (B, F).
        classes: Labels K.
        seeds: Of the weights.
        dropout: Share of the features dropped.
        name: Name of the model.
    """
    x = seeds.dropout(dropout)(features) if dropout else features
    logits = keras.layers.Dense(classes, kernel_initializer=seeds.glorot(), name="logits")(x)
    outputs = keras.layers.Activation("sigmoid", dtype="float32", name="probabilities")(logits)
    return keras.Model(dict(inputs), outputs, name=name)
