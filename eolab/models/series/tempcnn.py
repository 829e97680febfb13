"""TempCNN: convolutions along time."""

from __future__ import annotations

from typing import Any

import keras

from eolab.models.heads import Spec, labels_model, series_input
from eolab.models.layers import Normalize


def tempcnn(
    spec: Spec,
    *,
    filters: int = 64,
    kernel_size: int = 5,
    dense: int = 256,
    dropout: float = 0.5,
    l2: float = 1e-6,
) -> keras.Model:
    """Return the temporal convolutional network of Pelletier, Webb and Petitjean (2019).

    - Three convolutions along time, then one dense layer; batch normalisation, ReLU and dropout after each.
    - The paper fills gaps beforehand. Here an invalid date is 0 (the mean) in all bands, and one more band
      says which dates are valid, so that the network can tell a gap from a value; the zeros beyond both ends
      of the series look like gaps.
    - Dates are taken in their order; ``day`` is not used.

    Paper: Temporal convolutional neural network for the classification of satellite image time series, Remote
    Sensing 11(5) 523.

    Args:
        spec: Inputs and outputs.
        filters: Features of each convolution.
        kernel_size: Dates that each convolution sees.
        dense: Units of the dense layer.
        dropout: Share of features dropped after each layer.
        l2: Weight decay of all kernels.
    """
    seeds, decay = spec.seeds, keras.regularizers.L2(l2)

    def finish(x: Any) -> Any:
        return seeds.dropout(dropout)(keras.layers.ReLU()(keras.layers.BatchNormalization()(x)))

    inputs = series_input(spec)
    x = Normalize(spec.mean, spec.std, name="normalize")(inputs["image"], inputs["valid"])  # (B, T, C)
    seen = keras.layers.Reshape((spec.times, 1), name="seen")(inputs["valid"])  # (B, T, 1)
    x = keras.layers.Concatenate(name="values_and_gaps")([x, seen])  # (B, T, C + 1)
    for _ in range(3):
        x = keras.layers.Conv1D(
            filters, kernel_size, padding="same", kernel_initializer=seeds.he(), kernel_regularizer=decay
        )(x)  # (B, T, F)
        x = finish(x)
    x = keras.layers.Flatten()(x)  # (B, T F)
    x = keras.layers.Dense(dense, kernel_initializer=seeds.he(), kernel_regularizer=decay)(x)  # (B, D)
    return labels_model(spec, inputs, finish(x))
