"""What networks of image sequences have in common: the sequence of each sensor, and the predictions.

Every network takes, for each sensor that it uses, an entry of a dict: ``s1`` (B, T, H, W, C) float32 in raw
units, NaN where an image has no value; ``s1_valid`` (B, T), 1 where there is an image; ``s1_day`` (B, T)
float32, days since some date; ``s2`` and so on. It predicts (B, T, K) for each step with the head "steps", or
(B, 1, K) for the sequence with the head "labels". What stands at steps without an image, NaN included,
influences nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from eolab.models import heads
from eolab.models.blocks import MOMENTUM, follow, joined
from eolab.models.heads import Spec
from eolab.models.layers import Layer, Normalize, Saved


class Observed(Layer):
    """Set to 0 what stands at steps without an image; takes (B, T, …) and ``valid`` (B, T)."""

    def call(self, values: Any, valid: Any) -> Any:  # noqa: D102
        seen = ops.reshape(valid, (*ops.shape(valid), *(1,) * (len(values.shape) - 2)))
        return ops.where(ops.cast(seen, "bool"), values, ops.zeros_like(values))


def sequence_input(spec: Spec) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the inputs of a network by name, and the normalised images (B, T, H, W, C) by sensor."""
    inputs: dict[str, Any] = {}
    images = {}
    for sensor, channels in spec.channels.items():
        shape = (None, spec.height, spec.width, channels)
        image = keras.Input(shape, name=sensor, dtype="float32")
        valid = keras.Input((None,), name=f"{sensor}_valid", dtype="float32")
        day = keras.Input((None,), name=f"{sensor}_day", dtype="float32")
        inputs |= {sensor: image, f"{sensor}_valid": valid, f"{sensor}_day": day}
        x = Normalize(spec.mean[sensor], spec.std[sensor], name=f"{sensor}_normalize")(image)
        images[sensor] = Observed(name=f"{sensor}_observed")(x, valid)  # (B, T, H, W, C)
    return inputs, images


def fold(images: Any) -> Any:
    """Put all steps of all sequences into one batch: (B, T, …) → (B T, …), for layers that read an image."""
    return ops.reshape(images, (-1, *images.shape[2:]))


class Unfold(Layer):
    """Take :func:`fold` back: features (B T, …) and anything that begins with (B, T) → (B, T, …)."""

    def call(self, features: Any, like: Any) -> Any:  # noqa: D102
        return ops.reshape(features, (*ops.shape(like)[:2], *features.shape[1:]))

    def compute_output_shape(self, features_shape: Any, like_shape: Any) -> tuple[int | None, ...]:  # noqa: D102
        return (*like_shape[:2], *features_shape[1:])


def sequence_model(
    spec: Spec, inputs: Mapping[str, Any], branches: Sequence[Any], dropout: float = 0.0
) -> keras.Model:
    """Return the model that predicts (B, T, K), or (B, 1, K), from features (B, T, F) of each sensor.

    A softmax over two classes is one sigmoid and its complement, with half of the weights.
    """
    encoded = x = joined(branches)
    x = spec.seeds.dropout(dropout)(x) if dropout else x
    two = heads.output_activation(spec) == "softmax" and spec.outputs == 2
    units, kernel = 1 if two else spec.outputs, spec.seeds.glorot()
    logits = keras.layers.Dense(units, dtype="float32", kernel_initializer=kernel, name="logits")(x)
    if two:
        second = keras.layers.Activation("sigmoid", dtype="float32")(logits)
        predicted = TwoClasses(dtype="float32", name="probabilities")(second)
    else:
        predicted = heads.activated(logits, spec, "probabilities")
    return heads.finish(spec, inputs, predicted, encoded)


class WithoutMask(Layer):
    """Pass features on without the mask that a recurrent layer attached: Keras cannot join masks of maps."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, features: Any) -> Any:  # noqa: D102
        return ops.copy(features)

    def compute_mask(self, features: Any, previous_mask: Any = None) -> None:  # noqa: D102
        return None


class TwoClasses(Layer):
    """Make the probabilities of both classes from that of the second: (…, 1) → (…, 2)."""

    def call(self, second: Any) -> Any:  # noqa: D102
        return ops.concatenate([1 - second, second], axis=-1)


class ImageNorm(Saved, keras.layers.BatchNormalization):
    """Batch normalisation (Ioffe and Szegedy 2015) over the images that there are.

    Takes maps (N, H, W, C) and ``seen`` (N,), 1 where there is an image; or series (B, T, H, W, C) and
    (B, T). Others take no part in the statistics; a batch without any leaves the averages as they are.

    Args:
        momentum: Share of the averages that a batch leaves; that of all networks by default.
        **options: Further arguments of Keras's layer.
    """

    def __init__(self, momentum: float = MOMENTUM, **options: Any) -> None:
        super().__init__(momentum=momentum, **options)

    def call(self, maps: Any, seen: Any, training: bool | None = None) -> Any:  # noqa: D102
        if not (training and self.trainable):
            return super().call(maps, training=training)
        seen = ops.cast(seen, "bool")[..., None]  # (N, 1) or (B, T, 1)
        axes = tuple(range(len(seen.shape) - 1))
        count = ops.sum(ops.cast(seen, "float32"))

        def mean(values: Any) -> Any:  # of images that there are: (N, C) or (B, T, C) → (C,)
            return ops.sum(ops.where(seen, values, 0.0), axis=axes) / ops.maximum(count, 1)

        maps = ops.cast(maps, "float32")
        means, variances = ops.moments(maps, axes=(-3, -2))  # of each image
        center = mean(means)
        variance = mean(variances + ops.square(means - center))
        follow(self, center, variance, ops.where(count > 0, self.momentum, 1.0))
        maps = ops.batch_normalization(maps, center, variance, -1, self.beta, self.gamma, self.epsilon)
        return ops.cast(maps, self.compute_dtype)
