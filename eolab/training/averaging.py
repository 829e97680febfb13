"""Swap exponential moving averages of the weights in for validation and checkpointing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from eolab.core.errors import ParameterError


class Average(keras.callbacks.Callback):
    """Puts the optimizer's averaged weights into the model for each validation, and the trained ones back.

    The optimizer averages after each step, on the device: ``average = ema · average + (1 − ema) · weight``,
    beginning with the weights after the first step (Polyak & Juditsky, *Acceleration of stochastic
    approximation by averaging*, 1992; with exponential weights as in Keras). It keeps its averages in its own
    variables, so they are part of a checkpoint. What it does not average, such as the statistics of batch
    normalisation, is taken as it is: those are moving averages already.
    """

    def on_test_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Put the averages in."""
        weights = self.model.trainable_variables
        self._trained = values_of(weights, self.model)
        self.model.optimizer.finalize_variable_values(weights)
        assign(weights, values_of(weights, self.model))  # no memory shared: JAX gives the model's away

    def on_test_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Put the trained weights back, bit by bit as they were."""
        assign(self.model.trainable_variables, self._trained)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Keep the trained weights."""
        self._trained = values_of(self.model.trainable_variables, self.model)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Put the trained weights back, as Keras ends a training with the averages in the model."""
        assign(self.model.trainable_variables, self._trained)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Have the averages in the model for a while."""
        self.on_test_begin()
        try:
            yield
        finally:
            self.on_test_end()


def checked(ema: float | None) -> float | None:
    """Return a momentum of averages.

    Raises:
        ParameterError: If it is not between 0 and 1.
    """
    if ema is not None and not 0 < ema < 1:
        raise ParameterError(
            f"ema must be between 0 and 1, such as 0.99 for the mean of about 100 steps, or None: got {ema}."
        )
    return ema


def values_of(variables: list[Any], model: keras.Model) -> list[np.ndarray]:
    """Return copies of the values of variables; JAX keeps them elsewhere during ``fit``."""
    if hasattr(model, "jax_state_sync"):
        model.jax_state_sync()
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def assign(variables: list[Any], values: list[Any]) -> None:
    """Give variables their values."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
