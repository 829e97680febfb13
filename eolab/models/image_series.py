"""Networks that read the image series of a place and predict each of its pixels: U-TAE, TSViT, ConvLSTM.

They take ``image`` (B, T, H, W, C) float32 in raw units, ``valid`` (B, T, H, W) with 1 where a pixel was
observed, and ``day`` (B, T) float32, days since 1 January of the series' first year; all end in the head
"mask".

- A pixel that was not observed is 0 (the mean) in every band, and one more channel says which pixels were
  observed, so that a network can tell a cloud from a value. What stands there, NaN included, influences
  nothing.
- A date without any observed pixel is missing: it gets no attention, passes the state on, and takes no part
  in a normalisation, for features are normalised within an image. So a series that is filled up with such
  dates gives the same.
- Images are padded at the bottom and on the right with pixels that were not observed, and cropped back.
"""

from functools import partial
from typing import Any

import keras
from keras import ops

from eolab.models.attention import Known, WeightedSteps, check_heads
from eolab.models.blocks import batch_norm, conv_norm, joined, resize, scaled
from eolab.models.heads import Spec, activated, crop, finish, image_series_input, pad, pixels_model
from eolab.models.layers import DayEncoding, Layer
from eolab.models.sequences.attentive import (
    attend_steps,
    by_groups,
    decode_scales,
    encode_scales,
    encoder_layer,
)
from eolab.models.sequences.inputs import Observed, Unfold, fold
from eolab.models.sequences.recurrent import ConvLSTM

UTAE = (64, 64, 64, 128)  # features of each scale of the paper, the finest first
GROUPS = 4  # of channels that are normalised together in its encoder


class AnyPixel(Layer):
    """Say which dates were observed: pixels (B, T, H, W) → (B, T), 1 where any pixel of the date was."""

    def call(self, valid: Any) -> Any:  # noqa: D102
        return ops.max(valid, axis=(2, 3))


def utae_mask(
    spec: Spec,
    *,
    width_multiplier: float = 1.0,
    heads: int = 16,
    key_size: int = 4,
    dropout: float = 0.1,
) -> keras.Model:
    """Return U-TAE (Garnot and Landrieu 2021), a U-Net with temporal attention, for masks of image series.

    - One encoder reads the image of every date at four scales, with group normalisation.
    - Lightweight temporal attention (Garnot and Landrieu 2020) at the coarsest scale, 16 heads with a learnt
      query each, sums the dates of each coarse pixel.
    - The weights of each head, resized bilinearly, sum the dates of the finer scales too, each head those of
      a group of channels; a decoder puts the scales together.
    - Features are normalised by groups in the encoder, by batches in the decoder, as in the paper: groups of
      the decoder would take from a patch of one class how bright it is. Maps are padded with 0, not by
      reflection.

    Paper: Panoptic segmentation of satellite image time series with convolutional temporal attention
    networks, ICCV 2021, https://arxiv.org/abs/2107.07933.

    Args:
        spec: Inputs and outputs.
        width_multiplier: Factor of all numbers of channels, 64, 64, 64 and 128.
        heads: Attentions side by side, each with as many channels of every scale.
        key_size: Size of queries and keys.
        dropout: Share of features dropped before the last layer.

    Raises:
        ParameterError: If heads do not divide the channels.
    """
    filters, groups = [scaled(number, width_multiplier) for number in UTAE], partial(by_groups, groups=GROUPS)
    check_heads("utae_mask", heads, *filters)
    seeds = spec.seeds
    inputs, x = image_series_input(spec)
    dates = AnyPixel(name="dates")(inputs["valid"])  # (B, T)
    day = Observed(dtype="float32", name="days")(inputs["day"], dates)
    scales = encode_scales(pad(fold(x), 2 ** (len(UTAE) - 1)), filters, seeds, groups)
    scales = [Unfold()(maps, dates) for maps in scales]  # (B, T, h, w, F), the finest first
    deepest, weights = attend_steps(scales[-1], day, Known(False)(dates), heads, key_size, seeds)
    deep = fold(deepest)  # (B, h, w, F): one prediction knows all dates
    skips = [fold(WeightedSteps()(maps, enlarged(weights, *maps.shape[2:4]))) for maps in scales[:-1]]
    x = seeds.dropout(dropout)(decode_scales(deep, skips, seeds, batch_norm))  # (B, H', W', F)
    return pixels_model(spec, inputs, x, None, deep)


def enlarged(weights: Any, height: int, width: int) -> Any:
    """Resize weights of attention (B, h, w, G, A, T) bilinearly to (B, height, width, G, A, T)."""
    many = weights.shape[3:]
    flat = keras.layers.Reshape((*weights.shape[1:3], many[0] * many[1] * many[2]))(weights)
    return keras.layers.Reshape((height, width, *many))(resize(flat, height, width))


def convlstm_mask(
    spec: Spec,
    *,
    filters: int = 32,
    kernel: int = 3,
    bidirectional: bool = True,
    dropout: float = 0.2,
    l2: float = 0.0,
) -> keras.Model:
    """Return a ConvLSTM (Shi et al. 2015) over the dates, whose last state is classified pixel by pixel.

    A ConvLSTM reads the dates forwards, and a second one backwards; their last states, side by side, pass a
    3 × 3 convolution with batch normalisation, and the head. Rußwurm and Körner (2018) read Sentinel-2 series
    so, in both directions. A pixel that was not observed at a date keeps its state; what its neighbours learn
    at that date reaches it with the next. Dates are taken in their order; ``day`` is not used.

    Papers: Convolutional LSTM network, NeurIPS 2015, https://arxiv.org/abs/1506.04214; Multi-temporal land
    cover classification with sequential recurrent encoders, ISPRS Int. J. Geo-Inf. 7(4) 129.

    Args:
        spec: Inputs and outputs.
        filters: Maps of each ConvLSTM.
        kernel: Side of the kernels in pixels.
        bidirectional: Whether a second ConvLSTM reads the dates backwards.
        dropout: Share of features dropped before the last layer.
        l2: Penalty on squared weights of the ConvLSTMs.
    """
    seeds = spec.seeds
    inputs, x = image_series_input(spec)
    states = []
    for backwards in (False, True)[: 1 + bidirectional]:
        seed = seeds.next()
        seeds.next()  # of the recurrent kernel
        states.append(ConvLSTM(filters, kernel, False, backwards, l2, seed)(x, inputs["valid"]))
    deep = joined(states)  # (B, H, W, F or 2 F)
    return pixels_model(spec, inputs, seeds.dropout(dropout)(conv_norm(deep, filters, 3, seeds)), None, deep)


# === TSViT ===


class ClassTokens(Layer):
    """Put K learnt tokens, one a class, before the tokens of a sequence: (N, T, D) → (N, K + T, D).

    Args:
        count: Number of tokens K.
        seed: Seed of the tokens.
    """

    def __init__(self, count: int, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.count, self.seed = count, seed

    def build(self, shape: Any) -> None:  # noqa: D102
        start = keras.initializers.RandomNormal(stddev=1.0, seed=self.seed)
        self.tokens = self.add_weight((self.count, shape[-1]), start, name="tokens")

    def call(self, sequence: Any) -> Any:  # noqa: D102
        size = (ops.shape(sequence)[0], self.count, sequence.shape[-1])
        tokens = ops.broadcast_to(ops.cast(self.tokens, sequence.dtype), size)
        return ops.concatenate([tokens, sequence], axis=1)


class Positions(Layer):
    """Add a learnt vector of each place: (N, P, D) → same.

    Args:
        seed: Seed of the vectors.
    """

    def __init__(self, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = seed

    def build(self, shape: Any) -> None:  # noqa: D102
        start = keras.initializers.RandomNormal(stddev=0.02, seed=self.seed)
        self.places = self.add_weight(tuple(shape[1:]), start, name="places")

    def call(self, tokens: Any) -> Any:  # noqa: D102
        return tokens + ops.cast(self.places, tokens.dtype)


def tsvit(
    spec: Spec,
    *,
    units: int = 128,
    heads: int = 4,
    temporal_layers: int = 4,
    spatial_layers: int = 4,
    expansion: int = 4,
    patch: int = 2,
    dropout: float = 0.1,
) -> keras.Model:
    """Return TSViT (Tarasiou, Chavez and Zafeiriou 2023): attention over time first, then over space.

    - Squares of 2 × 2 pixels of a date are tokens. At each place, a Transformer reads the tokens of all
      dates, and a learnt token of each class before them, which alone go on.
    - A second Transformer reads the tokens of one class at all places, with a learnt position each; the same
      weights serve all classes. The token of a class and a place gives that class's logits of its pixels.
    - Positions in time are dates, encoded by sines and a dense layer; in the paper each day of the year has a
      learnt vector of its own, and a date that training never saw has none.
    - A date that a square does not show is not attended to there, whatever other squares show.
    - Normalisation stands before attention and dense layers, as in the paper; layers have ReLU for GELU.

    Paper: ViTs for SITS: vision Transformers for satellite image time series, CVPR 2023,
    https://arxiv.org/abs/2301.04944.

    Args:
        spec: Inputs and outputs.
        units: Features D of each token, a multiple of ``heads``.
        heads: Attentions side by side.
        temporal_layers: Encoder layers over time.
        spatial_layers: Encoder layers over space.
        expansion: The hidden dense layers have this many times D units.
        patch: Side of the squares in pixels.
        dropout: Share of features dropped after attention and dense layers.

    Raises:
        ParameterError: If ``heads`` does not divide ``units``.
    """
    check_heads("tsvit", heads, units)
    seeds, times, classes = spec.seeds, spec.times, spec.outputs
    inputs, x = image_series_input(spec)
    maps = pad(fold(x), patch)  # (B T, H', W', C + 1)
    height, width = (side // patch for side in maps.shape[1:3])
    places = height * width
    tokens = keras.layers.Conv2D(units, patch, patch, kernel_initializer=seeds.glorot())(maps)
    tokens = by_place(tokens, times)  # (B P, T, D)
    seen = by_place(keras.layers.MaxPooling2D(patch)(maps[..., -1:]), times)  # (B P, T, 1)
    day = ops.reshape(ops.repeat(inputs["day"][:, None], places, axis=1), (-1, times))  # (B P, T)
    day = Observed(dtype="float32", name="days")(day, seen[..., 0])
    dates = keras.layers.Dense(units, kernel_initializer=seeds.glorot())(DayEncoding(units)(day))
    tokens = ClassTokens(classes, seed=seeds.next())(keras.layers.Add()([tokens, dates]))  # (B P, K + T, D)
    known = ops.swapaxes(seen, 1, 2) > 0.5  # (B P, 1, T)
    known = ops.concatenate([ops.ones_like(tokens[:, None, :classes, 0], "bool"), known], axis=-1)
    for _ in range(temporal_layers):
        tokens = encoder_layer(tokens, known, heads, expansion, dropout, seeds)
    tokens = keras.layers.LayerNormalization()(tokens[:, :classes])  # (B P, K, D)
    tokens = ops.reshape(tokens, (-1, places, classes, units))
    tokens = ops.reshape(ops.swapaxes(tokens, 1, 2), (-1, places, units))  # (B K, P, D)
    tokens = Positions(seed=seeds.next())(tokens)
    for _ in range(spatial_layers):
        tokens = encoder_layer(tokens, None, heads, expansion, dropout, seeds)
    deep = keras.layers.LayerNormalization()(tokens)  # (B K, P, D)
    maps = ops.reshape(deep, (-1, classes, height, width, units))
    maps = ops.transpose(maps, (0, 2, 3, 1, 4))  # (B, h, w, K, D)
    start = seeds.glorot()
    logits = keras.layers.Dense(patch * patch, kernel_initializer=start, name="mask_logits")(maps)
    logits = ops.reshape(logits, (-1, height, width, classes, patch, patch))
    logits = ops.transpose(logits, (0, 1, 4, 2, 5, 3))  # (B, h, p, w, p, K)
    logits = ops.reshape(logits, (-1, height * patch, width * patch, classes))
    mask = activated(crop(logits, spec.height, spec.width), spec, "mask")  # (B, H, W, K)
    return finish(spec, inputs, {"mask": mask}, deep)


def by_place(maps: Any, times: int) -> Any:
    """Return maps of all dates as the sequence of each place: (B T, h, w, F) → (B h w, T, F)."""
    height, width, features = maps.shape[1:]
    x = ops.transpose(ops.reshape(maps, (-1, times, height * width, features)), (0, 2, 1, 3))
    return ops.reshape(x, (-1, times, features))
