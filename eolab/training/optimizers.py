"""Optimizers by name: those of Keras; TensorFlow takes Adam's steps by its own operation on a processor."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from eolab.models import fused


class OneOperation:
    """Adam's steps (Kingma and Ba 2015), each by one operation of TensorFlow on a processor.

    Keras writes some 25 operations a weight, and a learning-rate schedule anew for the decay of each. Here
    what all weights share is worked out once a step. Steps are equal but for rounding. GPUs and several
    devices keep to Keras.
    """

    def _backend_update_step(self: Any, grads: Sequence, trainable_variables: Sequence, rate: Any) -> None:
        """Take the step of all weights."""
        if self.amsgrad or not _single(trainable_variables):
            super()._backend_update_step(grads, trainable_variables, rate)  # type: ignore[misc]
            return
        import tensorflow as tf

        first, second = (tf.constant(beta, "float32") for beta in (self.beta_1, self.beta_2))
        step = ops.cast(self.iterations + 1, "float32")
        shared = {"beta1": first, "beta2": second, "beta1_power": first**step, "beta2_power": second**step}
        shared |= {"lr": ops.cast(rate, "float32"), "epsilon": self.epsilon}
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            index = self._get_variable_index(variable)
            tf.raw_ops.ResourceApplyAdam(
                var=_native(variable).handle,
                m=self._momentums[index].handle,
                v=self._velocities[index].handle,
                grad=ops.cast(gradient, "float32"),
                **shared,
            )

    def _apply_weight_decay(self: Any, variables: Sequence) -> None:
        """Decay the weights that are to decay."""
        if self.weight_decay is None or not _single(variables):
            super()._apply_weight_decay(variables)  # type: ignore[misc]
            return
        share = ops.cast(self.learning_rate, "float32") * self.weight_decay
        for variable in filter(self._use_weight_decay, variables):
            _native(variable).assign_sub(_native(variable) * share)


def _single(variables: Sequence) -> bool:
    """Return whether variables are all of single precision, and TensorFlow's operations take them."""
    return fused.usable() and all(variable.dtype == "float32" for variable in variables)


def _native(variable: Any) -> Any:
    """Return TensorFlow's own variable."""
    return variable.value if isinstance(variable, keras.Variable) else variable


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
