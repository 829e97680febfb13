"""LSTM over the dates of a pixel."""

from __future__ import annotations

import keras
from keras import ops

from eolab.models.heads import Spec, labels_model, series_input
from eolab.models.layers import Normalize


def lstm(
    spec: Spec,
    *,
    units: int = 64,
    layers: int = 1,
    dropout: float = 0.2,
    bidirectional: bool = False,
    unroll: bool = False,
) -> keras.Model:
    """Return the recurrent network of Sedona et al. (2022): an LSTM over the dates, all bands as features.

    - The state passes invalid dates unchanged, so that they influence nothing.
    - Dates are taken in their order; ``day`` is not used.
    - Keras's own layer trains as fast as PyTorch's on a processor when the step is compiled: take
      :func:`eolab.models.compile_options`. ``benchmarks/lstm_training.py`` measures it.

    Paper: An automatic approach for the production of a time series of consistent land-cover maps based on
    long short-term memory, IGARSS 2022; the paper leaves the sizes open.

    Args:
        spec: Inputs and outputs.
        units: Units U of each LSTM.
        layers: LSTMs on top of each other.
        dropout: Share of features dropped after each LSTM.
        bidirectional: Whether a second LSTM runs against time beside each, which doubles the features.
        unroll: Whether to write the dates out instead of looping: same weights and results, slower to
            compile; for export to engines that cannot loop.
    """
    seeds = spec.seeds

    def recurrent(sequences: bool, backwards: bool) -> keras.layers.Layer:
        return keras.layers.LSTM(
            units,
            kernel_initializer=seeds.glorot(),
            recurrent_initializer=keras.initializers.Orthogonal(seed=seeds.next()),
            return_sequences=sequences,
            go_backwards=backwards,
            unroll=unroll,
            use_cudnn=False,  # takes masks with gaps at the end only
        )

    inputs = series_input(spec)
    seen = ops.cast(inputs["valid"], "bool")  # (B, T)
    x = Normalize(spec.mean, spec.std, name="normalize")(inputs["image"], inputs["valid"])  # (B, T, C)
    for layer in range(layers):
        sequences = layer < layers - 1
        features = recurrent(sequences, False)(x, mask=seen)  # (B, T, U) or (B, U)
        if bidirectional:
            against = recurrent(sequences, True)(x, mask=seen)
            against = ops.flip(against, axis=1) if sequences else against  # back to the order of the dates
            features = keras.layers.Concatenate()([features, against])  # (B, T, 2 U) or (B, 2 U)
        x = seeds.dropout(dropout)(features)
    return labels_model(spec, inputs, x)
