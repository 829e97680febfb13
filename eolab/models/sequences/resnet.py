"""ResNets that read each image by itself, without and with a recurrent network over the steps."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from eolab.core.errors import ParameterError
from eolab.models.heads import Spec
from eolab.models.layers import MaskedMean, Seeds
from eolab.models.resnet import PREFIX, Encoder
from eolab.models.sequences.inputs import (
    ImageNorm,
    Observed,
    Unfold,
    WithoutMask,
    fold,
    sequence_input,
    sequence_model,
)


def resnet(
    spec: Spec,
    *,
    depth: int = 50,
    width_multiplier: float = 1.0,
    units: int = 256,
    bidirectional: bool = False,
    dropout: float = 0.2,
) -> keras.Model:
    """Return ResNets (He et al. 2016), one a sensor, and a GRU over the steps of each (Cho et al. 2014).

    The networks of Rambour et al. (2020), without and with memory. The features of an image are their means
    over the image. Without units a step knows its own images alone: where a sensor has none, its features are
    0. With units a GRU reads the features of each sensor; steps without an image pass its state on, so that a
    step has what each sensor saw last. The features of all sensors at a step are put side by side, and a
    dense layer predicts.

    - The head "labels" takes the mean over all images of each sensor, or reads each sequence to its end, and
      predicts once.
    - Batch normalisation takes no part of steps without an image, see :class:`ImageNorm`.
    - These networks begin with random weights. Number of units, one GRU a sensor and dropout are our choices.

    Papers: Deep residual learning for image recognition, CVPR 2016; Learning phrase representations using RNN
    encoder-decoder for statistical machine translation, EMNLP 2014; Flood detection in time series of optical
    and SAR images, ISPRS Archives XLIII-B2-2020.

    Args:
        spec: Inputs and outputs.
        depth: Layers of each ResNet, 18, 34, 50, 101 or 152.
        width_multiplier: Factor of all numbers of features of the ResNets.
        units: Units of each GRU; 0 for none.
        bidirectional: Whether a second GRU goes backwards, so that a step knows what came after.
        dropout: Share of features dropped before the GRUs and before the last layer.

    Raises:
        ParameterError: If the number of units is below 0.
    """
    if units < 0:
        raise ParameterError(f"{spec.name}: units is {units}, expected 0 or more.")
    seeds, steps = spec.seeds, spec.head == "steps"
    inputs, images = sequence_input(spec)
    branches = []
    for sensor, x in images.items():
        valid = inputs[f"{sensor}_valid"]
        x = features_of_steps(x, valid, seeds, sensor, depth, width_multiplier)  # (B, T, F)
        if units:
            x = seeds.dropout(dropout)(x) if dropout else x
            directions = (False, True) if bidirectional else (False,)
            read = [_read(x, valid, units, seeds, steps, backwards) for backwards in directions]
        else:
            read = [x if steps else MaskedMean()(x, valid)]
        branches += read if steps else [ops.expand_dims(state, 1) for state in read]
    return sequence_model(spec, inputs, branches, dropout)


def features_of_steps(
    images: Any, valid: Any, seeds: Seeds, sensor: str, depth: int = 50, width_multiplier: float = 1.0
) -> Any:
    """Read each image of a sequence by one ResNet: (B, T, H, W, C) → (B, T, F), 0 where there is no image.

    Args:
        images: Normalised images.
        valid: Where there is an image (B, T).
        seeds: Seeds of the weights.
        sensor: Name of the sensor; layers are named ``encoder_<sensor>_conv1`` and so on.
        depth: Layers, 18, 34, 50, 101 or 152.
        width_multiplier: Factor of all numbers of features.
    """
    seen = fold(valid)

    def norm(maps: Any, scale: float, name: str) -> Any:
        gamma = keras.initializers.Constant(scale)
        return ImageNorm(momentum=0.97, gamma_initializer=gamma, name=name)(maps, seen)

    encoder = Encoder(seeds, depth, width_multiplier, f"{PREFIX}{sensor}_", norm)
    x = keras.layers.GlobalAveragePooling2D()(encoder(fold(images))[-1])  # (B T, F)
    return Observed()(Unfold()(x, valid), valid)


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
