"""ResNets that read each image by itself, without and with a recurrent network over the steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import keras
from keras import ops

from eolab.core.errors import ParameterError
from eolab.models.layers import MaskedMean, Seeds
from eolab.models.residual import Parts, residual_maps
from eolab.models.scenes.inputs import (
    ImageNorm,
    Observed,
    Statistics,
    Unfold,
    WithoutMask,
    answer_from,
    check,
    fold,
    series_of,
)


def resnet(
    *,
    size: tuple[int, int],
    bands: Mapping[str, int],
    mean: Statistics,
    std: Statistics,
    seed: int = 0,
    depth: int = 50,
    width: float = 1.0,
    dropout: float = 0.2,
    answer: Literal["steps", "late"] = "steps",
) -> keras.Model:
    """Return ResNets (He et al. 2016), one a sensor, that read each image by itself.

    The baseline without memory of Rambour et al. (2020). The features of an image are their means over the
    image; those of both sensors at a step are put side by side, and a dense layer answers.

    - A step knows its own images alone: where a sensor has none, its features are 0.
    - "late" takes the mean over all images of each sensor, and answers once.
    - Batch normalisation takes no part of steps without an image, see :class:`ImageNorm`.
    - These networks begin with random weights. Dropout is ours.

    Papers: Deep residual learning for image recognition, CVPR 2016; Flood detection in time series of optical
    and SAR images, ISPRS Archives XLIII-B2-2020.

    Args:
        size: Rows H and columns W of the images.
        bands: Channels of each sensor by name.
        mean: Mean of each channel by sensor.
        std: Standard deviation likewise.
        seed: Of weights and dropout.
        depth: Layers, 18, 50 or 101.
        width: Factor of all numbers of features.
        dropout: Share of the features dropped before the answer.
        answer: "steps" or "late".

    Raises:
        ParameterError: If a word is unknown or a number out of range.
    """
    check("resnet", answer, dropout, width)
    seeds = Seeds(seed)
    inputs, images = series_of(bands, size, mean, std)
    branches = []
    for sensor, x in images.items():
        valid = inputs[f"{sensor}_valid"]
        x = features_of_steps(x, valid, seeds, depth, width)  # (B, T, F)
        branches.append(ops.expand_dims(MaskedMean()(x, valid), 1) if answer == "late" else x)
    return keras.Model(inputs, answer_from(branches, seeds, dropout), name=f"resnet{depth}")


def resnet_gru(
    *,
    size: tuple[int, int],
    bands: Mapping[str, int],
    mean: Statistics,
    std: Statistics,
    seed: int = 0,
    depth: int = 50,
    width: float = 1.0,
    units: int = 256,
    bidirectional: bool = False,
    dropout: float = 0.2,
    answer: Literal["steps", "late"] = "steps",
) -> keras.Model:
    """Return ResNets (He et al. 2016), one a sensor, with a GRU over the steps (Cho et al. 2014).

    The recurrent network of Rambour et al. (2020): features of each image as in :func:`resnet`, then one GRU
    a sensor; their states are put side by side, and a dense layer answers.

    - Steps without an image pass the state on: a step has what each sensor saw last.
    - "late" reads each series to its end and answers once.
    - Number of units, one GRU a sensor and dropout are our choices.

    Papers: those of :func:`resnet`; Learning phrase representations using RNN encoder-decoder for statistical
    machine translation, EMNLP 2014.

    Args:
        size: Rows H and columns W of the images.
        bands: Channels of each sensor by name.
        mean: Mean of each channel by sensor.
        std: Standard deviation likewise.
        seed: Of weights and dropout.
        depth: Layers of each ResNet, 18, 50 or 101.
        width: Factor of all numbers of features of the ResNets.
        units: Units of each GRU.
        bidirectional: Whether a second GRU goes backwards, so that a step knows what came after.
        dropout: Share of features dropped before the GRUs and before the answer.
        answer: "steps" or "late".

    Raises:
        ParameterError: If a word is unknown or a number out of range.
    """
    check("resnet_gru", answer, dropout, width)
    if units < 1:
        raise ParameterError(f"resnet_gru: units is {units}, expected 1 or more.")
    seeds = Seeds(seed)
    inputs, images = series_of(bands, size, mean, std)
    branches = []
    for sensor, x in images.items():
        valid = inputs[f"{sensor}_valid"]
        x = features_of_steps(x, valid, seeds, depth, width)  # (B, T, F)
        x = seeds.dropout(dropout)(x) if dropout else x
        steps = answer == "steps"
        readings = [_read(x, valid, units, seeds, steps, False)]
        if bidirectional:
            readings.append(_read(x, valid, units, seeds, steps, True))
        branches += readings if steps else [ops.expand_dims(state, 1) for state in readings]
    return keras.Model(inputs, answer_from(branches, seeds, dropout), name=f"resnet{depth}_gru")


def features_of_steps(images: Any, valid: Any, seeds: Seeds, depth: int = 50, width: float = 1.0) -> Any:
    """Read each image of a series by one ResNet: (B, T, H, W, C) → (B, T, F), 0 where there is no image.

    Args:
        images: Normalised images.
        valid: Which there are (B, T).
        seeds: Of the weights.
        depth: Layers, 18, 50 or 101.
        width: Factor of all numbers of features; with 1, F is 512 for 18 layers and 2,048 for others.

    Raises:
        ParameterError: If there is no such depth.
    """
    x = image_features(fold(images), fold(valid), seeds, depth, width)  # (B T, F)
    return Observed()(Unfold()(x, valid), valid)


def image_features(x: Any, seen: Any, seeds: Seeds, depth: int = 50, width: float = 1.0) -> Any:
    """Read images by a ResNet without its classifier, :func:`residual_maps`: (N, H, W, C) → (N, F).

    Args:
        x: Images.
        seen: 1 where there is an image (N,); others take no part in the batch normalisation.
        seeds: Of the weights.
        depth: Layers, 18, 50 or 101.
        width: Factor of all numbers of features.

    Raises:
        ParameterError: If there is no such depth.
    """

    def norm(maps: Any, scale: float, name: str | None) -> Any:
        gamma = keras.initializers.Constant(scale)
        return ImageNorm(momentum=0.97, gamma_initializer=gamma, name=name)(maps, seen)

    return keras.layers.GlobalAveragePooling2D()(residual_maps(x, Parts(norm, seeds), depth, width))


def _read(x: Any, valid: Any, units: int, seeds: Seeds, steps: bool, backwards: bool) -> Any:
    """Return the state of a GRU at each step (B, T, units), or the last (B, units)."""
    layer = keras.layers.GRU(
        units,
        return_sequences=steps,
        go_backwards=backwards,
        kernel_initializer=seeds.glorot(),
        recurrent_initializer=keras.initializers.Orthogonal(seed=seeds.next()),
        use_cudnn=False,  # gives 0 at steps behind the last image, not the state
    )
    x = WithoutMask()(layer(x, mask=valid > 0.5))
    return ops.flip(x, axis=1) if backwards and steps else x  # into the order of the dates
