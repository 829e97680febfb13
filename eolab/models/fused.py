"""Where a processor under TensorFlow may compute otherwise than Keras, for speed; fused batch normalisation.

All else in models is for any backend. Whoever asks here has equal results elsewhere, by Keras's own code.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import keras
from keras import ops

_exporting: ContextVar[bool] = ContextVar("exporting", default=False)


@contextlib.contextmanager
def exported() -> Iterator[None]:
    """Within, layers compute as engines that read exports know them: by Keras's operations and loops."""
    token = _exporting.set(True)
    try:
        yield
    finally:
        _exporting.reset(token)


def is_exported() -> bool:
    """Return whether a network is being exported."""
    return _exporting.get()


def usable() -> bool:
    """Return whether networks are computed by TensorFlow on one device, which is no GPU, and stay there."""
    if is_exported() or keras.backend.backend() != "tensorflow":
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
