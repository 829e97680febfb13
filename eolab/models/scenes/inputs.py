"""What networks of image series have in common: the series of each sensor, and the answers that come out.

Every network takes, for each sensor that it uses, an entry of a dict: ``s1`` (B, T, H, W, C) float32 in raw
units, NaN where an image has no value; ``s1_valid`` (B, T), 1 where there is an image; ``s1_day`` (B, T)
float32, days since some date; ``s2`` and so on likewise. It answers with class probabilities (B, T, K) of
each step, or (B, 1, K) of the scene. What stands at steps without an image, NaN included, influences nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from eolab.core.errors import ParameterError, did_you_mean
from eolab.models.layers import Normalize, Seeds, serializable

Statistics = Mapping[str, Sequence[float]]
ANSWERS = ("steps", "late")


@serializable
class Observed(keras.layers.Layer):
    """Set to 0 what stands at steps without an image; takes (B, T, …) and ``valid`` (B, T)."""

    def call(self, values: Any, valid: Any) -> Any:  # noqa: D102
        seen = ops.reshape(valid, (*ops.shape(valid), *(1,) * (len(values.shape) - 2)))
        return ops.where(ops.cast(seen, "bool"), values, ops.zeros_like(values))


def series_of(
    bands: Mapping[str, int], size: tuple[int, int], mean: Statistics, std: Statistics
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the inputs of a network by name, and the normalised images (B, T, H, W, C) by sensor.

    Args:
        bands: Channels of each sensor, such as ``{"s1": 1, "s2": 3}``.
        size: Rows H and columns W of all images.
        mean: Mean of each channel by sensor.
        std: Standard deviation likewise.

    Raises:
        ParameterError: If there is no sensor.
    """
    if not bands:
        raise ParameterError("A network of scenes needs a sensor: give bands such as {'s1': 1, 's2': 3}.")
    inputs: dict[str, Any] = {}
    images = {}
    for sensor, channels in bands.items():
        image = keras.Input((None, *size, channels), name=sensor, dtype="float32")
        valid = keras.Input((None,), name=f"{sensor}_valid", dtype="float32")
        day = keras.Input((None,), name=f"{sensor}_day", dtype="float32")
        inputs |= {sensor: image, f"{sensor}_valid": valid, f"{sensor}_day": day}
        x = Normalize(mean[sensor], std[sensor], name=f"{sensor}_normalize")(image)
        images[sensor] = Observed(name=f"{sensor}_observed")(x, valid)  # (B, T, H, W, C)
    return inputs, images


def check(name: str, answer: str, dropout: float, width: float = 1.0) -> None:
    """Check the options that most networks of scenes have.

    Args:
        name: Of the network, for the errors.
        answer: "steps" or "late".
        dropout: Share of features dropped.
        width: Factor of all numbers of features.

    Raises:
        ParameterError: If the word is unknown or a number out of range.
    """
    if answer not in ANSWERS:
        raise ParameterError(f"{name}: answer is {answer!r}; {did_you_mean(answer, ANSWERS)}")
    if not 0 <= dropout < 1:
        raise ParameterError(f"{name}: dropout is {dropout}, expected a share of at least 0 and below 1.")
    if width <= 0:
        raise ParameterError(f"{name}: width is {width}, expected a number above 0.")


def fold(images: Any) -> Any:
    """Put all steps of all scenes into one batch: (B, T, …) → (B T, …), for layers that read an image."""
    return ops.reshape(images, (-1, *images.shape[2:]))


@serializable
class Unfold(keras.layers.Layer):
    """Take :func:`fold` back: features (B T, …) and anything that begins with (B, T) → (B, T, …)."""

    def call(self, features: Any, like: Any) -> Any:  # noqa: D102
        return ops.reshape(features, (*ops.shape(like)[:2], *features.shape[1:]))

    def compute_output_shape(self, features_shape: Any, like_shape: Any) -> tuple[int | None, ...]:  # noqa: D102
        return (*like_shape[:2], *features_shape[1:])


def answer_from(branches: Sequence[Any], seeds: Seeds, dropout: float = 0.0) -> Any:
    """Return class probabilities (B, T, 2) from features (B, T, F) of each sensor, side by side."""
    x = branches[0] if len(branches) == 1 else keras.layers.Concatenate()(list(branches))
    x = seeds.dropout(dropout)(x) if dropout else x
    yes = keras.layers.Dense(1, "sigmoid", dtype="float32", kernel_initializer=seeds.glorot())(x)
    return Yes(name="probabilities")(yes)


@serializable
class WithoutMask(keras.layers.Layer):
    """Pass features on without the mask that a recurrent layer attached: Keras cannot join masks of maps."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, features: Any) -> Any:  # noqa: D102
        return ops.copy(features)

    def compute_mask(self, features: Any, previous_mask: Any = None) -> None:  # noqa: D102
        return None


@serializable
class Yes(keras.layers.Layer):
    """Make two class probabilities of one: (…, 1) from 0 to 1 → (…, 2), float32."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})

    def call(self, yes: Any) -> Any:  # noqa: D102
        return ops.concatenate([1 - yes, yes], axis=-1)


@serializable
class ImageNorm(keras.layers.BatchNormalization):
    """Batch normalisation (Ioffe and Szegedy 2015) over the images that there are.

    Takes maps (N, H, W, C) and ``seen`` (N,), 1 where there is an image; or series (B, T, H, W, C) and
    (B, T). Others take no part in the statistics; a batch without any leaves the averages as they are. With a
    momentum of 0.97 the averages follow the last thirty batches or so: a batch is few scenes, whose images
    are alike.
    """

    def build(self, maps_shape: Any, seen_shape: Any = None) -> None:  # noqa: D102
        super().build(maps_shape)

    def call(self, maps: Any, seen: Any, training: bool | None = None) -> Any:  # noqa: D102
        seen = ops.cast(seen, "bool")  # (N,) or (B, T)
        averages = (self.moving_mean, self.moving_variance)
        before = [ops.copy(ops.convert_to_tensor(average)) for average in averages]
        maps = super().call(maps, training=training, mask=seen[..., None, None])
        if training and self.trainable:
            for average, old in zip(averages, before, strict=True):
                average.assign(ops.where(ops.any(seen), ops.convert_to_tensor(average), old))
        return maps

    def compute_output_shape(self, maps_shape: Any, seen_shape: Any = None) -> Any:  # noqa: D102
        return maps_shape
