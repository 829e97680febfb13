"""A CNN with a branch for each resolution of Sentinel-2."""

# ruff: noqa: D102 (call and get_config are those of Keras; the class documents them)

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from eolab.core.errors import ParameterError
from eolab.data.bands import L2A_BANDS, SENTINEL2
from eolab.models.layers import Seeds, serializable
from eolab.models.patches import ends
from eolab.models.segmentation.convolutions import conv_norm, scaled
from eolab.models.segmentation.heads import image_input

STEPS = (1, 2, 6)  # pixels of 10 m that a native pixel of 10, 20 and 60 m has a side
LAYERS = {  # features, side of the kernel, whether 2 × 2 max pooling follows
    1: ((32, 5, True), (32, 5, True), (64, 3, True)),
    2: ((32, 3, True), (32, 3, True), (64, 3, False)),
    6: ((32, 3, False), (32, 3, False), (64, 2, False)),
}


@serializable
class NativePixels(keras.layers.Layer):
    """Some bands of an image at their native resolution: (B, H, W, C) → (B, H/step, W/step, c).

    Where an image was resampled to a finer grid by the nearest neighbour, its native pixels stand in every
    ``step``-th row and column.

    Args:
        places: Places of the bands among the C.
        step: Pixels of the image that a native pixel has a side.
    """

    def __init__(self, places: Sequence[int], step: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.places, self.step = [int(place) for place in places], int(step)

    def call(self, image: Any) -> Any:
        return ops.take(image[:, :: self.step, :: self.step], ops.array(self.places, "int32"), axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "places": self.places, "step": self.step}


def three_branch_cnn(
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
    """Return a CNN that reads bands of 10, 20 and 60 m in branches of their own, none resampled.

    Takes the twelve bands of Level-2A at 10 m in the order B01, B02, B03, B04, B05, B06, B07, B08, B8A, B09,
    B11, B12, resampled by the nearest neighbour: the network slices the native pixels out, 120 × 120 of B02,
    B03, B04 and B08, 60 × 60 of B05, B06, B07, B8A, B11 and B12, 20 × 20 of B01 and B09. With other
    resampling each native pixel is one of the interpolated ones.

    - Idea and sides of the kernels after Sumbul and Demir (2020), whose three branches each have three
      convolutions and a fully connected layer, with larger kernels where pixels are smaller; batch
      normalisation, numbers of features and the average over each branch's map are ours. Their attention
      is left out.
    - The descriptors of the branches are put side by side, and one dense layer answers.

    Paper: A deep multi-attention driven approach for multi-label remote sensing image classification, IEEE
    Access 8, 2020.

    Args:
        size: Side of the patch in pixels of 10 m, a multiple of 6.
        bands: 12.
        classes: Labels K.
        mean: Mean of each band.
        std: Standard deviation of each band.
        seed: Of weights and dropout.
        width: Factor of all numbers of features.
        units: Features of each branch's fully connected layer.
        dropout: Share of the features dropped before the last layer.
        l2: Penalty on the squares of the weights of convolutions.

    Raises:
        ParameterError: If a number is out of range, the bands are not twelve, or the size is not a multiple
            of 6.
    """
    name = "three_branch_cnn"
    ends.check(name, width, dropout, l2)
    if bands != len(L2A_BANDS):
        raise ParameterError(f"{name}: bands is {bands}, expected the 12 of Level-2A, B01 to B12.")
    if size % STEPS[-1] or size < 2 * STEPS[-1]:
        raise ParameterError(f"{name}: size is {size} pixels, expected a multiple of 6, 12 or more.")
    seeds = Seeds(seed)
    inputs, image = image_input(size, bands, mean, std)
    branches = []
    for step in STEPS:
        places = [i for i, band in enumerate(L2A_BANDS) if SENTINEL2[band].resolution_m == 10 * step]
        x = NativePixels(places, step, name=f"native_{10 * step}m")(image)  # (B, H/step, W/step, c)
        for filters, side, pooled in LAYERS[step]:
            x = conv_norm(x, scaled(filters, width), side, seeds, l2=l2)
            x = keras.layers.MaxPooling2D(2)(x) if pooled else x
        x = keras.layers.GlobalAveragePooling2D()(x)  # (B, 64)
        x = keras.layers.Dense(scaled(units, width), "relu", kernel_initializer=seeds.he())(x)
        branches.append(x)
    return ends.answer(inputs, keras.layers.Concatenate()(branches), classes, seeds, dropout, name)
