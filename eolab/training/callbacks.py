"""Callbacks of a training: averaged weights, history, best epoch, early stopping, checkpoint, plain lines."""

import math
import time
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import pandas as pd

from eolab.core.errors import RunError, check_known
from eolab.core.files import write_atomically
from eolab.core.progress import duration
from eolab.training import distributed
from eolab.training.checkpoint import Checkpoint, Progress
from eolab.training.live import Live
from eolab.training.setup import keep_memory

LOSS_CHECK_EVERY = 50  # batches between two looks for a loss that is no number


def values_of(variables: list[Any], model: keras.Model) -> list[np.ndarray]:
    """Return copies of the values of variables; JAX keeps them elsewhere during ``fit``."""
    if hasattr(model, "jax_state_sync"):
        model.jax_state_sync()
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def assign(variables: list[Any], values: list[Any]) -> None:
    """Give variables their values."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(distributed.placed(value))


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

    on_train_end = on_test_end  # Keras ends a training with the averages in the model

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Keep the trained weights."""
        self._trained = values_of(self.model.trainable_variables, self.model)


class Recorder(keras.callbacks.Callback):
    """Records each epoch, keeps the state on disk and stops the training.

    Args:
        state: How far the training is; changed as it goes on.
        checkpoint: Where the state is kept.
        variables: The model's variables (weights, statistics, states of dropout).
        average: Averaged weights, where they are the ones to keep.
        lines: Whether to print a line an epoch.
        live: Shows the training in a notebook, where somebody watches.
    """

    def __init__(
        self,
        state: Progress,
        checkpoint: Checkpoint,
        variables: list,
        average: Average | None,
        lines: bool,
        live: Live | None = None,
    ) -> None:
        super().__init__()
        self.progress, self.checkpoint, self.variables = state, checkpoint, variables
        self.average, self.lines, self.live = average, lines, live
        self.epochs, self.monitor, self.patience = (
            state.settings[name] for name in ("epochs", "monitor", "patience")
        )
        self.started = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Start the clock."""
        self.started = time.monotonic()

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Keep memory; TensorFlow's first dataset, which gives it back, has been made by now."""
        if not batch:
            keep_memory()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Stop where the loss is no number."""
        if batch % LOSS_CHECK_EVERY == 0:
            self._check(logs or {}, f"batch {batch + 1} of epoch {len(self.progress.history) + 1}")
        if self.live:
            self.live.step(self.progress, batch + 1, logs or {}, time.monotonic() - self.started)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Record the epoch, keep the state, and say whether to stop."""
        self._check(logs or {}, f"epoch {epoch + 1}")
        optimizer = self.model.optimizer
        rate = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
        taken = time.monotonic() - self.started
        values = {name: float(value) for name, value in (logs or {}).items()}
        row = {"epoch": epoch + 1, **values, "learning_rate": rate, "seconds": round(taken, 2)}
        self.progress.history.append(row)
        better = self._judge(row)
        stop = self.patience is not None and self.progress.wait >= self.patience
        self.progress.finished = stop or epoch + 1 == self.epochs
        self.model.stop_training = stop
        groups = {"model": self.variables, "optimizer": optimizer.variables}
        arrays = {name: values_of(variables, self.model) for name, variables in groups.items()}
        self.checkpoint.save(self.progress, arrays, self._best(arrays["model"]) if better else None)
        write_history(self.checkpoint, self.progress)
        if self.lines:
            print(line(row, self.epochs, self.monitor, better), flush=True)
        if self.live:
            self.live.epoch(self.progress)

    def _best(self, trained: list[np.ndarray]) -> list[np.ndarray]:
        """Return the values to keep of an epoch that is the best so far."""
        if self.average is None:
            return trained
        self.average.on_test_begin()
        try:
            return values_of(self.variables, self.model)
        finally:
            self.average.on_test_end()

    def _judge(self, row: Mapping[str, float]) -> bool:
        """Return whether an epoch is the best so far, and count those that were not."""
        check_known(self.monitor, row, f"The history has no {self.monitor!r} to monitor")
        value, best = row[self.monitor], self.progress.best
        lower = self.monitor.endswith("loss")
        better = not math.isfinite(best) or (value < best if lower else value > best)
        if better:
            self.progress.best, self.progress.best_epoch = value, int(row["epoch"])
        self.progress.wait = 0 if better else self.progress.wait + 1
        return better

    def _check(self, logs: Mapping[str, Any], where: str) -> None:
        loss = logs.get("loss")
        if loss is not None and not math.isfinite(float(loss)):
            raise RunError(
                f"The loss is no number after {where}: look for NaN in the inputs, "
                "lower the learning rate, or clip gradients (clipnorm=1)."
            )


def write_history(checkpoint: Checkpoint, progress: Progress) -> None:
    """Replace the CSV of the history, beside the checkpoint, in one step."""
    if not distributed.first():
        return
    table = pd.DataFrame(progress.history).to_csv(index=False)
    write_atomically(checkpoint.folder.with_name("history.csv"), table)


def stopped(progress: Progress) -> str:
    """Return what is kept of a training that the user has stopped, and how to go on, as one sentence."""
    done, epochs = len(progress.history), progress.settings["epochs"]
    if not done:
        return "Training was stopped before its first epoch was over: run this cell again to begin anew."
    kept = "epoch 1 is" if done == 1 else f"epochs 1 to {done} of {epochs} are"
    best = f"{progress.settings['monitor']} {progress.best:.4g} in epoch {progress.best_epoch}"
    return f"Training was stopped: {kept} kept (best {best}), and this cell, run again, goes on from there."


def line(row: Mapping[str, float], epochs: int, monitor: str, better: bool) -> str:
    """Return an epoch as one line, such as ``epoch 3/20, 51 s left: loss 0.512, val_loss 0.480 (best), 3 s``.

    The time left is that of all epochs to come, each as long as this one. Losses of single outputs are left
    to the history.
    """
    parts = [
        f"{name} {value:.4g}{' (best)' if better and name == monitor else ''}"
        for name, value in row.items()
        if name not in ("epoch", "learning_rate", "seconds")
        and (name in ("loss", "val_loss", monitor) or not name.endswith("_loss"))
    ]
    to_come = epochs - int(row["epoch"])
    left = f", {duration(to_come * row['seconds'])} left" if to_come else ""
    return f"epoch {int(row['epoch'])}/{epochs}{left}: {', '.join(parts)}, {duration(row['seconds'])}"
