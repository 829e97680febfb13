"""LSTM over the dates of a pixel."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from eolab.models.layers import Normalize, Seeds, probabilities, series_inputs
from eolab.models.recurrence import SeriesLSTM


def lstm(
    *,
    times: int,
    bands: int,
    classes: int,
    mean: Sequence[float],
    std: Sequence[float],
    seed: int = 0,
    units: int = 64,
    layers: int = 1,
    dropout: float = 0.2,
    bidirectional: bool = False,
) -> keras.Model:
    """Return the recurrent network of Sedona et al. (2022): an LSTM over the dates, all bands as features.

    - The state passes invalid dates unchanged, so that they influence nothing.
    - Dates are taken in their order; ``day`` is not used.

    Paper: An automatic approach for the production of a time series of consistent land-cover maps based on
    long short-term memory, IGARSS 2022; the paper leaves the sizes open.

    Args:
        times: Dates T of a series.
        bands: Bands C.
        classes: Classes K.
        mean: Mean of each band.
        std: Standard deviation of each band.
        seed: Of weights and dropout.
        units: Units U of each LSTM.
        layers: LSTMs on top of each other.
        dropout: Share of features dropped after each LSTM.
        bidirectional: Whether a second LSTM runs against time beside each, which doubles the features.
    """
    seeds = Seeds(seed)
    inputs = series_inputs(times, bands)
    x = Normalize(mean, std, name="normalize")(inputs["image"], inputs["valid"])  # (B, T, C)
    for layer in range(layers):
        directions = [False, True] if bidirectional else [False]
        features = [
            SeriesLSTM(units, return_sequences=layer < layers - 1, go_backwards=backwards, seed=seeds.next())(
                x, inputs["valid"]
            )
            for backwards in directions
        ]
        x = keras.layers.Concatenate()(features) if bidirectional else features[0]  # (B, T, U) or (B, U)
        x = seeds.dropout(dropout)(x)
    return keras.Model(inputs, probabilities(x, classes, seeds), name="lstm")
