"""Networks that read the series of one pixel: LSTM, TempCNN, L-TAE and a Transformer encoder.

With the head "years" each year of a pixel is read with the same weights.
"""

from functools import partial
from typing import Any

import keras
from keras import ops

from eolab.core.errors import ParameterError
from eolab.models.attention import MasterQueryAttention, SelfAttention, check_heads
from eolab.models.blocks import batch_norm
from eolab.models.heads import Spec, labels_model, series_input
from eolab.models.layers import LSTM, DayEncoding, MaskedMean, recurrent


def lstm(
    spec: Spec,
    *,
    units: int = 64,
    layers: int = 1,
    dropout: float = 0.2,
    bidirectional: bool = False,
    carry: bool = False,
    unroll: bool = False,
) -> keras.Model:
    """Return the recurrent network of Sedona et al. (2022): an LSTM over the dates, all bands as features.

    - The state passes invalid dates unchanged, so that they influence nothing.
    - Dates are taken in their order; ``day`` is not used.

    Paper: An automatic approach for the production of a time series of consistent land-cover maps based on
    long short-term memory, IGARSS 2022; the paper leaves the sizes open.

    Args:
        spec: Inputs and outputs.
        units: Units U of each LSTM.
        layers: LSTMs on top of each other.
        dropout: Share of features dropped after each LSTM.
        bidirectional: Whether a second LSTM runs against time beside each, which doubles the features.
        carry: Whether the state is carried on from year to year, with the head "years": one LSTM reads the
            dates of all years and is asked at the end of each, so that a year knows the years before it.
            Without, each year begins with an empty state.
        unroll: Whether to write the dates out instead of looping: same weights and results, slower to
            compile; for export to engines that cannot loop.

    Raises:
        ParameterError: If a state is to be carried on where there is one year, or against time.
    """
    if carry and (bidirectional or not spec.years):
        raise ParameterError(
            "lstm: carry needs samples of several years and one LSTM along time: take the head 'years' "
            "and bidirectional=false."
        )
    seeds = spec.seeds
    read = partial(recurrent, LSTM, units, seeds, unroll=unroll)
    inputs, x, valid, _ = series_input(spec)  # (B, T, C)
    seen = ops.cast(valid, "bool")  # (B, T)
    if carry:  # one series of all years
        x = ops.reshape(x, (-1, spec.years * spec.times, spec.channels))
        seen = ops.reshape(seen, (-1, spec.years * spec.times))
    for layer in range(layers):
        sequences = carry or layer < layers - 1
        features = read(sequences, False)(x, mask=seen)  # (B, T, U) or (B, U)
        if bidirectional:
            against = read(sequences, True)(x, mask=seen)
            against = ops.flip(against, axis=1) if sequences else against  # back to the order of the dates
            features = keras.layers.Concatenate()([features, against])  # (B, T, 2 U) or (B, 2 U)
        x = seeds.dropout(dropout)(features)
    if carry:  # the state at the end of each year
        x = ops.reshape(x, (-1, spec.times, units))[:, -1]  # (B Y, U)
    return labels_model(spec, inputs, x)


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
        return seeds.dropout(dropout)(keras.layers.ReLU()(batch_norm(x)))

    inputs, x, valid, _ = series_input(spec)  # (B, T, C)
    seen = keras.layers.Reshape((spec.times, 1), name="seen")(valid)  # (B, T, 1)
    x = keras.layers.Concatenate(name="values_and_gaps")([x, seen])  # (B, T, C + 1)
    for _ in range(3):
        x = keras.layers.Conv1D(
            filters, kernel_size, padding="same", kernel_initializer=seeds.he(), kernel_regularizer=decay
        )(x)  # (B, T, F)
        x = finish(x)
    x = keras.layers.Flatten()(x)  # (B, T F)
    x = keras.layers.Dense(dense, kernel_initializer=seeds.he(), kernel_regularizer=decay)(x)  # (B, D)
    return labels_model(spec, inputs, finish(x))


def ltae(
    spec: Spec,
    *,
    units: int = 128,
    heads: int = 16,
    key_size: int = 8,
    dropout: float = 0.2,
) -> keras.Model:
    """Return a lightweight temporal attention encoder (Garnot and Landrieu 2020).

    - The paper's encoder of parcels gives way to two dense layers a date, since a sample is one pixel.
    - Invalid dates get no attention.
    - The decoder has 64 and 32 units, as in the paper.

    Paper: Lightweight temporal self-attention for classifying satellite images time series, AALTD 2020.

    Args:
        spec: Inputs and outputs.
        units: Features E of each date, a multiple of ``heads``.
        heads: Heads H.
        key_size: Size of queries and keys.
        dropout: Share of features dropped after the attention's dense layer.
    """
    check_heads("ltae", heads, units)
    seeds = spec.seeds
    inputs, x, valid, day = series_input(spec)  # (B, T, C)

    def dense(x: Any, size: int) -> Any:
        x = keras.layers.Dense(size, kernel_initializer=seeds.he())(x)
        return keras.layers.ReLU()(batch_norm(x))

    x = keras.layers.Dense(units // 2, "relu", kernel_initializer=seeds.he())(x)  # (B, T, E / 2)
    x = keras.layers.Dense(units, kernel_initializer=seeds.glorot())(x)  # (B, T, E)
    x = keras.layers.LayerNormalization()(x)
    dates = DayEncoding(units // heads, base=1000.0, name="day_encoding")(day)  # (B, T, E / H)
    attention = MasterQueryAttention(heads, key_size, seed=seeds.next(), name="attention")
    x = attention(x, valid, dates)  # (B, E)
    x = seeds.dropout(dropout)(dense(x, units))
    x = keras.layers.LayerNormalization()(x)
    x = dense(dense(x, 64), 32)  # (B, 32)
    return labels_model(spec, inputs, x)


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
    check_heads("transformer", heads, units)
    seeds = spec.seeds
    inputs, x, valid, day = series_input(spec)  # (B, T, C)

    def dense(size: int, activation: str | None = None) -> keras.layers.Layer:
        return keras.layers.Dense(size, activation, kernel_initializer=seeds.glorot())

    x = dense(units)(x)  # (B, T, D)
    x = keras.layers.Add()([x, DayEncoding(units, name="day_encoding")(day)])
    for _ in range(layers):
        y = SelfAttention(units, heads, seed=seeds.next())(keras.layers.LayerNormalization()(x), valid)
        x = keras.layers.Add()([x, seeds.dropout(dropout)(y)])
        y = dense(expansion * units, "relu")(keras.layers.LayerNormalization()(x))  # (B, T, E D)
        x = keras.layers.Add()([x, seeds.dropout(dropout)(dense(units)(y))])  # (B, T, D)
    x = MaskedMean(name="mean_of_valid")(keras.layers.LayerNormalization()(x), valid)  # (B, D)
    return labels_model(spec, inputs, x)
