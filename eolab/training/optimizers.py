"""Optimizers by name: those of Keras; TensorFlow takes Adam's steps by its own operation on a processor."""

# ruff: noqa: D102 (update_step is that of Keras; the class documents it)

from typing import Any

import keras
from keras import ops

from eolab.models import fused


class OneOperation:
    """Adam's step (Kingma and Ba 2015) by TensorFlow's own operation on a processor.

    Keras writes some 25 operations a weight; with this one and its powers, the graph of a U-Net's training is
    built in two thirds of the time. Steps are equal but for rounding. GPUs and several devices keep to Keras.
    """

    def update_step(self: Any, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if self.amsgrad or variable.dtype != "float32" or not fused.usable():
            super().update_step(gradient, variable, learning_rate)  # type: ignore[misc]
            return
        import tensorflow as tf

        index = self._get_variable_index(variable)
        first, second = (tf.constant(beta, "float32") for beta in (self.beta_1, self.beta_2))
        step = ops.cast(self.iterations + 1, "float32")
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].handle,
            v=self._velocities[index].handle,
            beta1=first,
            beta2=second,
            beta1_power=first**step,
            beta2_power=second**step,
            lr=ops.cast(learning_rate, "float32"),
            epsilon=self.epsilon,
            grad=ops.cast(gradient, "float32"),
        )


class Adam(OneOperation, keras.optimizers.Adam):
    """Adam (Kingma and Ba 2015)."""


class AdamW(OneOperation, keras.optimizers.AdamW):
    """Adam with a decay of weights beside it (Loshchilov and Hutter 2019)."""


_own = keras.backend.backend() == "tensorflow"  # on PyTorch, Keras has a fast step for its own classes alone
OPTIMIZERS: dict[str, type[keras.optimizers.Optimizer]] = {  # Keras itself does not know all of them by name
    one.__name__.lower(): one
    for one in (
        *((Adam, AdamW) if _own else (keras.optimizers.Adam, keras.optimizers.AdamW)),
        *(keras.optimizers.Nadam, keras.optimizers.SGD),
        *(keras.optimizers.RMSprop, keras.optimizers.Adagrad, keras.optimizers.Lion, keras.optimizers.Muon),
        keras.optimizers.Lamb,
    )
}
