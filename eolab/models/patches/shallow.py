"""A shallow CNN of patches."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from eolab.core.errors import ParameterError
from eolab.models.layers import Seeds
from eolab.models.patches import ends
from eolab.models.segmentation.convolutions import penalty, scaled
from eolab.models.segmentation.heads import image_input

LAYERS = ((32, 5), (32, 5), (64, 3))  # features and side of the kernel


def shallow_cnn(
    *,
    size: int,
    bands: int,
    classes: int,
    mean: Sequence[float],
    std: Sequence[float],
    seed: int = 0,
    width: float = 1.0,
    units: int = 128,
    dropout: float = 0.0,
    l2: float = 0.0,
) -> keras.Model:
    """Return the shallow CNN of the first paper on BigEarthNet (Sumbul et al. 2019).

    - Three convolutions with 32, 32 and 64 features, sides 5, 5 and 3, stride 1, zero padding, ReLU, each
      followed by 2 × 2 max pooling; one fully connected layer; the labels.
    - The fully connected layer reads the features of each position, not of all at once, and its features are
      averaged: the weights no longer depend on the size of the patch, and it can be made dense. The
      number of its features is ours.

    Paper: BigEarthNet: a large-scale benchmark archive for remote sensing image understanding, IGARSS 2019.

    Args:
        size: Side of the patch in pixels.
        bands: Bands C.
        classes: Labels K.
        mean: Mean of each band.
        std: Standard deviation of each band.
        seed: Of weights and dropout.
        width: Factor of all numbers of features.
        units: Features of the fully connected layer.
        dropout: Share of the features dropped before the last layer.
        l2: Penalty on the squares of the weights of convolutions.

    Raises:
        ParameterError: If a number is out of range.
    """
    ends.check("shallow_cnn", width, dropout, l2)
    if size < 8:
        raise ParameterError(f"shallow_cnn: size is {size} pixels, expected 8 or more.")
    seeds = Seeds(seed)
    inputs, x = image_input(size, bands, mean, std)
    for filters, side in (*LAYERS, (units, 1)):
        x = keras.layers.Conv2D(
            scaled(filters, width),
            side,
            padding="same",
            activation="relu",
            kernel_initializer=seeds.he(),
            kernel_regularizer=penalty(l2),
        )(x)
        x = keras.layers.MaxPooling2D(2)(x) if side > 1 else x  # (B, H/2, W/2, F) and so on
    return ends.finish(inputs, x, classes, seeds, dropout, "shallow_cnn")
