"""U-Net++: nested skip connections."""

from __future__ import annotations

import keras

from eolab.models import heads
from eolab.models.blocks import scaled
from eolab.models.heads import Spec
from eolab.models.images.unet import double_convolution


def unet_plus_plus(
    spec: Spec,
    *,
    width_multiplier: float = 1.0,
    filters: int = 32,
    levels: int = 5,
) -> keras.Model:
    """Return U-Net++ (Zhou, Siddiquee, Tajbakhsh and Liang 2018), 9 M weights.

    - Node (l, j) at level l takes all earlier nodes of its level and node (l + 1, j − 1), enlarged by a
      transposed convolution; the last node of the first level is the result.
    - Blocks are those of our U-Net; without deep supervision, whose average of four masks the heads replace.

    Paper: UNet++: a nested U-Net architecture for medical image segmentation, DLMIA 2018.

    Args:
        spec: Inputs and outputs.
        width_multiplier: Factor of all numbers of features.
        filters: Features of the first level.
        levels: Resolutions, the image's own included.
    """
    seeds = spec.seeds
    sizes = [scaled(filters * 2**level, width_multiplier) for level in range(levels)]
    inputs, x = heads.image_input(spec, stride=2 ** (levels - 1))
    nodes = []  # of each level so far
    for level, features in enumerate(sizes):
        x = keras.layers.MaxPooling2D(2)(x) if level else x
        x = double_convolution(x, features, seeds)  # (B, H/2^l, W/2^l, F)
        nodes.append([x])
    for column in range(1, levels):
        for level in range(levels - column):
            below = nodes[level + 1][column - 1]  # (B, H/2^(l+1), W/2^(l+1), 2 F)
            up = keras.layers.Conv2DTranspose(sizes[level], 2, 2, kernel_initializer=seeds.he())(below)
            joined = keras.layers.Concatenate()([*nodes[level], up])  # (B, H/2^l, W/2^l, (j + 1) F)
            nodes[level].append(double_convolution(joined, sizes[level], seeds))
    half, deep = nodes[1][-1], nodes[-1][0]
    return heads.pixels_model(spec, inputs, nodes[0][-1], half, deep)
