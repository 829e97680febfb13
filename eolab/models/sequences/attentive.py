"""Networks of image sequences with attention over the steps: U-TAE and a Transformer over images."""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
from keras import ops

from eolab.models.attention import Known, Last, PixelAttention, StepAttention, WeightedSteps, check_heads
from eolab.models.blocks import joined, scaled
from eolab.models.heads import Spec, crop, pad
from eolab.models.layers import DayEncoding, MaskedMean, Seeds
from eolab.models.sequences.inputs import Observed, Unfold, fold, sequence_input, sequence_model

Norm = Callable[[Any], Any]
GROUP = 4  # channels that are normalised together, and the least of a head of U-TAE
UTAE = (16, 16, 32, 32)  # features of each scale, the finest first
COARSEST = 2 ** (len(UTAE) - 1)  # side of its pixels in pixels of the image
TOKENS = (16, 32, 64)  # features of the stages that make a token of an image, each half as large as the last


def utae(
    spec: Spec,
    *,
    width_multiplier: float = 1.0,
    heads: int = 4,
    key_size: int = 4,
    dropout: float = 0.2,
) -> keras.Model:
    """Return small U-TAEs (Garnot and Landrieu 2021), one a sensor, that predict for each step.

    One encoder reads every image of a sensor at four scales. Lightweight temporal attention (Garnot and
    Landrieu 2020) at the coarsest weights the dates of each pixel, and its weights sum the features of the
    finer scales over time too; a decoder puts the scales together. Adapted from the paper, which makes one
    map of a series:

    - There is a prediction a step: the attention of a step knows the images up to it, and the decoder's map
      of each step is averaged over the image. The features of both sensors are put side by side, and a dense
      layer predicts. The head "labels" knows all images and predicts once.
    - Maps have 16 to 32 channels (64 to 128 in the paper), attention has 4 heads (16).
    - Weights of finer scales are those of the coarse pixel, see
      :class:`eolab.models.attention.WeightedSteps`; maps are padded with 0, and the decoder has
      group normalisation as the encoder: a batch holds few sequences.
    - Before a sensor's first image, its attended features are 0.

    The decoder runs at each step: memory grows with steps × pixels, that of the weights with steps² × pixels
    / 64.

    Papers: Panoptic segmentation of satellite image time series with convolutional temporal attention
    networks, ICCV 2021, https://arxiv.org/abs/2107.07933; Lightweight temporal self-attention for
    classifying satellite images time series, AALTD 2020.

    Args:
        spec: Inputs and outputs.
        width_multiplier: Factor of all numbers of channels.
        heads: Attentions side by side, each with as many channels of every scale.
        key_size: Size of queries and keys.
        dropout: Share of features dropped before the last layer.

    Raises:
        ParameterError: If heads do not divide the channels.
    """
    filters = [scaled(number, width_multiplier) for number in UTAE]
    check_heads("utae", heads, *filters)
    seeds = spec.seeds
    inputs, images = sequence_input(spec)
    branches = []
    for sensor, x in images.items():
        valid, day = inputs[f"{sensor}_valid"], inputs[f"{sensor}_day"]
        day = Observed(dtype="float32")(day, valid)
        known = Known(spec.head == "steps")(valid)  # (B, A, T)
        scales = encode_scales(pad(fold(x), COARSEST), filters, seeds)
        scales = [Unfold()(maps, valid) for maps in scales]  # (B, T, h, w, F)
        deepest, weights = attend_steps(scales[-1], day, known, heads, key_size, seeds)
        skips = [fold(WeightedSteps()(maps, weights)) for maps in scales[:-1]]  # (B A, h, w, F)
        x = decode_scales(fold(deepest), skips, seeds)  # (B A, H', W', F)
        x = crop(x, spec.height, spec.width)  # (B A, H, W, F)
        branches.append(Unfold()(keras.layers.GlobalAveragePooling2D()(x), known))  # (B, A, F)
    return sequence_model(spec, inputs, branches, dropout)


def by_groups(x: Any, groups: int = 0) -> Any:
    """Normalise an image (N, H, W, C) by groups of channels (Wu and He 2018); of four unless told."""
    return keras.layers.GroupNormalization(groups or x.shape[-1] // GROUP)(x)


def encode_scales(x: Any, filters: list[int], seeds: Seeds, norm: Norm = by_groups) -> list[Any]:
    """Return features of images (N, H, W, C) at each scale, the finest first: (N, H / 2^k, W / 2^k, F_k)."""
    conv = partial(_conv, seeds=seeds, norm=norm)
    x = conv(conv(x, filters[0]), filters[0])
    scales = [x]
    for number in filters[1:]:
        x = conv(x, x.shape[-1], kernel=4, strides=2)
        x = _residual(conv(x, number), conv)
        scales.append(x)
    return scales


def attend_steps(maps: Any, day: Any, known: Any, heads: int, key_size: int, seeds: Seeds) -> tuple[Any, Any]:
    """Sum the coarsest maps (B, T, h, w, F) over time: (B, A, h, w, F), and weights (B, h, w, G, A, T)."""
    units = 2 * maps.shape[-1]
    x = keras.layers.Dense(units, kernel_initializer=seeds.glorot())(maps)
    x = keras.layers.LayerNormalization()(x)
    dates = DayEncoding(units // heads)(day)  # (B, T, E/G), the same for each head
    dates = keras.ops.tile(dates[:, :, None, None], (1, 1, 1, 1, heads))
    x = keras.layers.Add()([x, dates])  # (B, T, h, w, E)
    weights = PixelAttention(heads, key_size, seed=seeds.next())(x, known)
    x = WeightedSteps()(x, weights)  # (B, A, h, w, E)
    x = keras.layers.Dense(maps.shape[-1], "relu", kernel_initializer=seeds.he())(x)
    return keras.layers.LayerNormalization()(x), weights


def decode_scales(x: Any, skips: list[Any], seeds: Seeds, norm: Norm = by_groups) -> Any:
    """Put the coarsest maps and the skip features, the finest first, together: (N, H, W, F)."""
    conv = partial(_conv, seeds=seeds, norm=norm)
    for skip in reversed(skips):
        number = skip.shape[-1]
        x = keras.layers.Conv2DTranspose(number, 4, 2, "same", kernel_initializer=seeds.he())(x)
        x = keras.layers.ReLU()(norm(x))
        x = keras.layers.Concatenate()([x, conv(skip, number, kernel=1)])
        x = _residual(conv(x, number), conv)
    return x


def _conv(
    x: Any, filters: int, seeds: Seeds, *, kernel: int = 3, strides: int = 1, norm: Norm = by_groups
) -> Any:
    """Convolution, normalisation, ReLU: (N, H, W, C) → (N, H/strides, W/strides, F)."""
    x = keras.layers.Conv2D(filters, kernel, strides, "same", kernel_initializer=seeds.he())(x)
    return keras.layers.ReLU()(norm(x))


def _residual(x: Any, conv: Callable[..., Any]) -> Any:
    return keras.layers.Add()([x, conv(x, x.shape[-1])])


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
        ParameterError: If ``heads`` does not divide ``units``.
    """
    check_heads("date_transformer", heads, units)
    seeds, steps = spec.seeds, spec.head == "steps"
    inputs, images = sequence_input(spec)
    tokens, known = [], []
    for sensor, x in images.items():
        valid = inputs[f"{sensor}_valid"]
        x = fold(x)
        for number in TOKENS:
            for strides in (2, 1):
                x = _conv(x, scaled(number, width_multiplier), seeds, strides=strides)
        features = Unfold()(keras.layers.GlobalAveragePooling2D()(x), valid)  # (B, T, F)
        token = keras.layers.Dense(units, kernel_initializer=seeds.glorot())(features)
        day = Observed(dtype="float32")(inputs[f"{sensor}_day"], valid)
        tokens.append(keras.layers.Add()([token, DayEncoding(units)(day)]))  # (B, T, D)
        known.append(Known(steps)(valid))  # (B, A, T)
    x = joined(tokens, axis=1)  # (B, N, D)
    together = ops.concatenate(known, axis=-1)  # (B, A, N)
    together = ops.concatenate([together] * len(known), axis=1) if steps else together  # (B, N or 1, N)
    for _ in range(layers):
        x = encoder_layer(x, together, heads, expansion, dropout, seeds)
    x = keras.layers.LayerNormalization()(x)
    branches = []
    for own in known:
        only = [one if one is own else ops.zeros_like(one) for one in known]
        only = ops.concatenate(only, axis=-1)  # (B, A, N)
        branches.append(Last()(x, only) if steps else ops.expand_dims(MaskedMean()(x, only[:, 0]), 1))
    return sequence_model(spec, inputs, branches)


def encoder_layer(x: Any, known: Any, heads: int, expansion: int, dropout: float, seeds: Seeds) -> Any:
    """Encoder layer: attention, then two dense layers, each beside a shortcut: (B, N, D) → (B, N, D).

    Args:
        x: Tokens (B, N, D).
        known: Which tokens each one knows, (B, N, N) or (B, 1, N); None for all.
        heads: Attentions side by side.
        expansion: The hidden dense layer has this many times D units.
        dropout: Share of features dropped after attention and dense layers.
        seeds: Seeds of the weights.
    """
    units = x.shape[-1]
    attention, tokens = StepAttention(units, heads, seed=seeds.next()), keras.layers.LayerNormalization()(x)
    y = attention(tokens) if known is None else attention(tokens, known)
    x = keras.layers.Add()([x, seeds.dropout(dropout)(y)])
    y = keras.layers.LayerNormalization()(x)
    y = keras.layers.Dense(expansion * units, "relu", kernel_initializer=seeds.glorot())(y)
    y = keras.layers.Dense(units, kernel_initializer=seeds.glorot())(y)
    return keras.layers.Add()([x, seeds.dropout(dropout)(y)])
