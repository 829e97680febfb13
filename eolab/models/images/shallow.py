"""A shallow CNN of images."""

from __future__ import annotations

import keras

from eolab.models import heads
from eolab.models.blocks import penalty, scaled
from eolab.models.heads import Spec

LAYERS = ((32, 5), (32, 5), (64, 3))  # features and side of the kernel


def shallow_cnn(
    spec: Spec,
    *,
    width_multiplier: float = 1.0,
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
        spec: Inputs and outputs.
        width_multiplier: Factor of all numbers of features.
        units: Features of the fully connected layer.
        dropout: Share of the features dropped before the last layer.
        l2: Penalty on the squares of the weights of convolutions.
    """
    heads.check_size(spec, 8)
    seeds = spec.seeds
    inputs, x = heads.image_input(spec)
    for filters, side in (*LAYERS, (units, 1)):
        x = keras.layers.Conv2D(
            scaled(filters, width_multiplier),
            side,
            padding="same",
            activation="relu",
            kernel_initializer=seeds.he(),
            kernel_regularizer=penalty(l2),
        )(x)
        x = keras.layers.MaxPooling2D(2)(x) if side > 1 else x  # (B, H/2, W/2, F) and so on
    return heads.image_labels(spec, inputs, x, dropout)
