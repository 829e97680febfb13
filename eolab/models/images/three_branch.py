"""A CNN with a branch for each resolution of Sentinel-2."""

# ruff: noqa: D102 (call and get_config are those of Keras; the class documents them)

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from eolab.core.errors import ParameterError
from eolab.data.bands import L2A_BANDS, SENTINEL2
from eolab.models import heads
from eolab.models.blocks import conv_norm, scaled
from eolab.models.heads import Spec
from eolab.models.layers import serializable

STEPS = (1, 2, 6)  # pixels of 10 m that a native pixel of 10, 20 and 60 m has a side
L2A_STEPS = [round(SENTINEL2[band].resolution_m / 10) for band in L2A_BANDS]
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
    spec: Spec,
    *,
    width_multiplier: float = 1.0,
    units: int = 128,
    steps: Sequence[int] = (),
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
    - The descriptors of the branches are put side by side, and one dense layer predicts.

    Paper: A deep multi-attention driven approach for multi-label remote sensing image classification, IEEE
    Access 8, 2020.

    Args:
        spec: Inputs and outputs.
        width_multiplier: Factor of all numbers of features.
        units: Features of each branch's fully connected layer.
        steps: Pixels of the image that a native pixel of each channel has a side: 1, 2 or 6. By default those
            of Level-2A's twelve bands, and 1 of any other number of channels.
        dropout: Share of the features dropped before the last layer.
        l2: Penalty on the squares of the weights of convolutions.

    Raises:
        ParameterError: If there is not a step for each channel, or the image is smaller than 12 × 12 pixels.
    """
    native = list(steps) or (L2A_STEPS if spec.channels == len(L2A_STEPS) else [1] * spec.channels)
    if len(native) != spec.channels or set(native) - set(STEPS):
        raise ParameterError(
            f"{spec.name}: steps is {native}, expected one of {', '.join(map(str, STEPS))} for each of "
            f"{spec.channels} channels."
        )
    heads.check_size(spec, 2 * STEPS[-1])
    seeds = spec.seeds
    inputs, image = heads.image_input(spec)
    branches = []
    for step in sorted(set(native)):
        places = [place for place, own in enumerate(native) if own == step]
        x = NativePixels(places, step, name=f"native_{10 * step}m")(image)  # (B, H/step, W/step, c)
        for filters, side, pooled in LAYERS[step]:
            x = conv_norm(x, scaled(filters, width_multiplier), side, seeds, l2=l2)
            x = keras.layers.MaxPooling2D(2)(x) if pooled else x
        x = keras.layers.GlobalAveragePooling2D()(x)  # (B, 64)
        x = keras.layers.Dense(scaled(units, width_multiplier), "relu", kernel_initializer=seeds.he())(x)
        branches.append(x)
    x = keras.layers.Concatenate()(branches) if len(branches) > 1 else branches[0]
    return heads.labels_model(spec, inputs, x, dropout)
