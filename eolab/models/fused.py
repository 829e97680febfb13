"""Operations of TensorFlow that take a processor a fraction of the time of Keras's.

All else in models is for any backend. Whoever calls these keeps to Keras's on other backends and devices,
with equal results.
"""

from typing import Any

import keras
from keras import ops


def usable() -> bool:
    """Return whether networks are computed by TensorFlow on one device, which is no GPU."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not (tf.distribute.has_strategy() or tf.config.list_physical_devices("GPU"))


def batch_norm(inputs: Any, scale: Any, offset: Any, epsilon: float) -> tuple[Any, Any, Any]:
    """Normalise features (…, C) by their own statistics (Ioffe and Szegedy 2015).

    Args:
        inputs: Features in float32, float16 or bfloat16.
        scale: What normalised features are multiplied by, (C,).
        offset: What is added then, (C,).
        epsilon: Added to the variance.

    Returns:
        Normalised features, means (C,) and variances (C,).
    """
    import tensorflow as tf

    deep = len(inputs.shape) == 4
    maps = inputs if deep else ops.reshape(inputs, (-1, 1, 1, inputs.shape[-1]))
    weights = {"scale": ops.cast(scale, "float32"), "offset": ops.cast(offset, "float32")}
    found = tf.raw_ops.FusedBatchNormV3(x=maps, **weights, mean=[], variance=[], epsilon=epsilon)
    count = ops.cast(ops.prod(ops.shape(maps)[:3]), "float32")
    normalised = found.y if deep else ops.reshape(found.y, ops.shape(inputs))
    return normalised, found.batch_mean, found.batch_variance * (count - 1) / count  # theirs is a sample's


def adam(
    weight: Any,
    moments: tuple[Any, Any],
    gradient: Any,
    rate: Any,
    betas: tuple[float, float],
    step: Any,
    epsilon: float,
) -> None:
    """Take a step of Adam (Kingma and Ba 2015) for one weight.

    Args:
        weight: A variable in float32.
        moments: Variables of the first and the second moment.
        gradient: Gradient of the loss.
        rate: Learning rate.
        betas: Share of each moment that a step leaves.
        step: Number of this step, from 1.
        epsilon: Added to the root of the second moment.
    """
    import tensorflow as tf

    first, second = (tf.constant(beta, "float32") for beta in betas)
    step = ops.cast(step, "float32")
    tf.raw_ops.ResourceApplyAdam(
        var=weight.handle,
        m=moments[0].handle,
        v=moments[1].handle,
        beta1=first,
        beta2=second,
        beta1_power=first**step,
        beta2_power=second**step,
        lr=ops.cast(rate, "float32"),
        epsilon=epsilon,
        grad=ops.cast(gradient, "float32"),
    )
