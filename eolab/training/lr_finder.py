"""The range test: try rising learning rates on some batches, and find one to start from."""

import math
from collections.abc import Iterator
from itertools import count
from typing import Any

import keras
import numpy as np
import pandas as pd

from eolab.core.errors import ParameterError, RunError
from eolab.training import outputs
from eolab.training.callbacks import assign
from eolab.training.fitting import build_optimizer

SMOOTHING = 0.9  # of the loss: weight of what was
DIVERGED = 4.0  # times the lowest smoothed loss: the test stops there


def range_test(
    model: keras.Model,
    batches: Any,
    min_lr: float = 1e-6,
    max_lr: float = 1.0,
    steps: int = 100,
    *,
    optimizer: str = "adamw",
    loss: Any = None,
) -> pd.DataFrame:
    """Train for some steps while the learning rate rises, and record the loss; the model is left as it was.

    Smith, *Cyclical learning rates for training neural networks*, 2017, https://arxiv.org/abs/1506.01186. The
    test stops early where the smoothed loss is four times its lowest value or no number.

    Args:
        model: The model; its weights and the states of its dropout are put back afterwards.
        batches: Indexable batches ``(inputs, label)`` or ``(inputs, label, sample_weight)`` with
            ``num_batches``, such as :class:`eolab.training.batches.Batches`; repeated where they are
            too few.
        min_lr: First learning rate.
        max_lr: Last learning rate.
        steps: Batches to train on.
        optimizer: Keras's name of the optimizer.
        loss: Loss, as in :func:`eolab.training.fit`; cross entropy by default.

    Returns:
        A row a step: learning_rate, loss, smoothed. ``attrs["suggested"]`` is a rate to train with: a
        tenth of the one with the lowest smoothed loss.

    Raises:
        ParameterError: If the rates or the steps cannot be.
        RunError: If the loss is no number in one of the first three steps.
    """
    if not 0 < min_lr < max_lr or steps < 3:
        raise ParameterError(
            f"A range test goes up from min_lr to max_lr in 3 steps or more: got {min_lr}, {max_lr}, {steps}."
        )
    growth = (max_lr / min_lr) ** (1 / (steps - 1))
    rates = min_lr * growth ** np.arange(steps)
    saved = [np.array(variable) for variable in model.variables]
    of_outputs = outputs.loss_of(model, loss)
    probe = outputs.Trained(model, of_outputs, of_outputs, {})
    rate = keras.optimizers.schedules.ExponentialDecay(min_lr, 1, growth)
    probe.compile(optimizer=build_optimizer(optimizer, rate), jit_compile=False)
    try:
        losses = list(_losses(probe, batches, steps))
    finally:
        assign(model.variables, saved)
    if len(losses) < 3:
        raise RunError(
            f"The loss is no number at the learning rate {rates[len(losses)]:g}: check the inputs for NaN, "
            "or give a smaller min_lr."
        )
    table = pd.DataFrame({"learning_rate": rates[: len(losses)], "loss": losses})
    table["smoothed"] = table["loss"].ewm(alpha=1 - SMOOTHING).mean()
    table.attrs["suggested"] = float(rates[table["smoothed"].argmin()] / 10)
    return table


def _losses(probe: keras.Model, batches: Any, steps: int) -> Iterator[float]:
    """Yield the loss of each step, before the step is taken, until it diverges."""
    average, lowest = 0.0, math.inf
    for step in count():
        probe.reset_metrics()
        loss = float(probe.train_on_batch(*batches[step % batches.num_batches], return_dict=True)["loss"])
        if not math.isfinite(loss):
            return
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        smoothed = average / (1 - SMOOTHING ** (step + 1))
        yield loss
        lowest = min(lowest, smoothed)
        if step + 1 == steps or (step > 10 and smoothed > DIVERGED * lowest):
            return
