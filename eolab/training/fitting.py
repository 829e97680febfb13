"""Fit a model: check the arguments, compile or reuse, train, stop early, keep the best weights, resume."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal
from weakref import WeakKeyDictionary

import keras
import numpy as np
import pandas as pd

from eolab.core.errors import ParameterError, RunError, Stopped, check_known
from eolab.core.progress import headless, in_notebook
from eolab.training import distributed, freezing, outputs, schedules
from eolab.training.batches import Batches
from eolab.training.callbacks import Average, Recorder, assign, stopped, write_history
from eolab.training.checkpoint import Checkpoint, Progress
from eolab.training.freezing import Freeze, Thaw
from eolab.training.live import Live
from eolab.training.optimizers import OPTIMIZERS
from eolab.training.outputs import Trained
from eolab.training.setup import jit_compile as jit_of_backend

KINDS: dict[tuple[type, ...], tuple[str, ...]] = {  # of the values of a notebook's ``training`` dict
    (int,): ("epochs", "batch_size", "min_steps", "steps", "patience", "steps_per_execution"),
    (int, float): ("learning_rate", "clipnorm", "ema"),
    (str,): ("schedule", "optimizer", "monitor", "precision"),
    (Mapping,): ("schedule_options", "optimizer_options", "thaw"),
    (str, Mapping): ("class_weights",),
    (str, int, list): ("freeze",),
    (bool, str): ("jit_compile",),
}
TYPES = {name: types for types, names in KINDS.items() for name in names}
LEAST_1: dict[str, Any] = dict.fromkeys(KINDS[int,], (lambda number: number >= 1, "1 or more"))
RANGES: dict[str, tuple[Callable[[float], bool], str]] = {
    **LEAST_1,
    "learning_rate": (lambda rate: 0 < rate <= 10, "above 0 and at most 10"),
    "clipnorm": (lambda norm: norm > 0, "above 0"),
    "ema": (lambda momentum: 0 < momentum < 1, "between 0 and 1, such as 0.99 for the mean of 100 steps"),
}
OPTIONAL = (  # may be None
    "min_steps",
    "steps",
    "clipnorm",
    "ema",
    "patience",
    "monitor",
    "class_weights",
    "freeze",
    "thaw",
)
Options = Mapping[str, Any] | None
_compiled: WeakKeyDictionary[keras.Model, tuple[str, Trained, list[np.ndarray]]] = WeakKeyDictionary()


def options(training: Mapping[str, Any], **defaults: Any) -> dict[str, Any]:
    """Return the arguments of a training: defaults, overlaid by those of a notebook.

    Example:
        >>> options({"epochs": 3, "ema": 0}, epochs=20, batch_size=32)
        {'epochs': 3, 'batch_size': 32, 'ema': None}

    Args:
        training: Arguments of :func:`eolab.training.fit`; ``batch_size``, ``min_steps``, ``steps``,
            ``class_weights`` and ``precision``. Where None means "none", 0 and an empty text, list or dict do
            too.
        **defaults: Arguments that `training` need not give.

    Raises:
        ParameterError: If a name is unknown, or a value has the wrong type or is out of its range.
    """
    found = {**defaults, **training}
    for name, value in found.items():
        check_known(name, TYPES, f"training has no {name!r}")
        if name in OPTIONAL and not value:
            found[name] = None
        elif not isinstance(value, TYPES[name]) or (isinstance(value, bool) and bool not in TYPES[name]):
            expected = " or ".join(one.__name__.replace("Mapping", "dict") for one in TYPES[name])
            raise ParameterError(f"training: {name} must be {expected}, found {value!r}.")
    check_ranges(found)
    return found


def check_ranges(training: Mapping[str, Any]) -> None:
    """Refuse numbers and words with which no training can be.

    Raises:
        ParameterError: If there is one.
    """
    for name, (right, expected) in RANGES.items():
        value = training.get(name)
        if value is not None and not right(value):
            raise ParameterError(f"training: {name} must be {expected}, found {value!r}.")
    for name, known in (("optimizer", OPTIMIZERS), ("schedule", schedules.NAMES)):
        if training.get(name):
            check_known(training[name], known, f"There is no {name} {training[name]!r}")


def fit(
    model: keras.Model,
    train: Batches,
    validation: Batches | None = None,
    *,
    folder: str | Path,
    epochs: int,
    learning_rate: float = 1e-3,
    schedule: str = "constant",
    schedule_options: Options = None,
    optimizer: str = "adamw",
    optimizer_options: Options = None,
    clipnorm: float | None = None,
    ema: float | None = None,
    freeze: Freeze = None,
    thaw: Thaw = None,
    loss: Any = None,
    validation_loss: Any = None,
    metrics: list[Any] | Mapping[str, Any] | None = None,
    monitor: str | None = None,
    patience: int | None = None,
    jit_compile: bool | Literal["auto"] = "auto",
    steps_per_execution: int = 1,
    resume: bool = True,
    progress: bool = True,
    callbacks: list[keras.callbacks.Callback] | None = None,
) -> pd.DataFrame:
    """Train a model; at the end it has the weights of its best epoch.

    After each epoch ``folder/history.csv`` and ``folder/checkpoint`` are replaced in one step. A training
    that was killed goes on after its last whole epoch when the same call is made again, and ends with the
    history and the weights of an unbroken one (same versions and device). A finished one is not repeated.

    Args:
        model: The model, with random weights; its output is class probabilities, or a dict of them. Where
            they come from an activation layer of their own, losses read what that layer takes.
        train: Batches, whose weights hold those of the classes.
        validation: Batches to validate on; None to train without.
        folder: Run folder.
        epochs: Epochs at most.
        learning_rate: Highest learning rate.
        schedule: Name of :func:`eolab.training.schedules.build`.
        schedule_options: Its options.
        optimizer: Name of the optimizer in Keras.
        optimizer_options: Its arguments, such as ``{"weight_decay": 0.01}``.
        clipnorm: Longest gradient of a weight; None for no limit.
        ema: Momentum of an exponential moving average of the weights over the steps; None for none. It is a
            mean of about the last 1 / (1 − ema) steps, which must be few beside those of the training.
            Validation, the best epoch and the final weights are then those of the averages; ``loss`` is of
            the trained weights.
        freeze: Layers that do not learn: names such as ``"encoder"``, or a number of layers from the input;
            see :func:`eolab.training.freezing.phases`.
        thaw: Layers that learn from an epoch on, such as ``{5: "encoder_stage4", 8: "*"}``. There a new
            optimizer starts, while the schedule of the learning rate goes on.
        loss: Loss of labels and predictions: what :func:`eolab.training.losses.build` takes, such as
            ``{"focal": 0.5, "iou": 0.5}``, or such losses by output; cross entropy by default. Its mean is
            over all that counts in an epoch, see :class:`eolab.training.outputs.Trained`.
        validation_loss: Loss of the validation; the same by default.
        metrics: Keras metrics, weighted by sample, as a list or as lists by output; accuracy by default.
        monitor: Column of the history that decides which epoch is best: the lowest of a loss, the highest of
            anything else. ``val_loss`` by default, ``loss`` without validation. Metrics of a dict of outputs
            are called by output, also of a single one: ``val_mask_f1``.
        patience: Epochs without a better one before training stops; None for never.
        jit_compile: Whether to compile by XLA; see :func:`eolab.training.setup.jit_compile`.
        steps_per_execution: Batches that run in one call of the backend; a few per cent faster for small
            models on TensorFlow.
        resume: Whether to go on from a checkpoint; False starts anew.
        progress: Whether to show a table and curves that go on in a notebook, Keras's bar in a terminal, or
            one plain line an epoch in batch runs.
        callbacks: Further callbacks; their state is not in the checkpoint.

    Returns:
        The history, a row an epoch: epoch (from 1), loss, metrics, their ``val_`` columns, learning_rate at
        the epoch's end, seconds. ``attrs`` has best_epoch, monitor and resumed_at (epochs that were there).

    Raises:
        ParameterError: If a parameter cannot be.
        RunError: If the loss is no number, the monitored column has none, or the checkpoint belongs to other
            parameters.
        Stopped: If the user interrupts it; what is kept is said.
    """
    numbers = {"epochs": epochs, "patience": patience, "learning_rate": learning_rate, "clipnorm": clipnorm}
    check_ranges(numbers | {"ema": ema, "optimizer": optimizer, "schedule": schedule})
    monitor = monitor or ("loss" if validation is None else "val_loss")
    compiled = {
        "learning_rate": learning_rate,
        "schedule": [schedule, dict(schedule_options or {})],
        "optimizer": [optimizer, dict(optimizer_options or {}), clipnorm],
        "loss": outputs.described(loss),
        "ema": ema,
    }
    stopping = {"epochs": epochs, "monitor": monitor, "patience": patience}
    thawed = {str(epoch): change for epoch, change in (thaw or {}).items()}
    settings = compiled | stopping | {"freeze": [freeze, thawed] if freeze else None}
    settings |= {"data": train.facts(), "precision": model.dtype_policy.name}
    settings["model"] = [list(variable.shape) for variable in model.variables]
    settings["layers"] = [type(layer).__name__ for layer in model._flatten_layers(include_self=False)]
    judged = loss if validation_loss is None else validation_loss
    parts = freezing.phases(model, epochs, freeze, thaw)
    variables = list(model.variables)
    rate = schedules.build(schedule, learning_rate, train.num_batches, epochs, **(schedule_options or {}))
    checkpoint = Checkpoint(Path(folder) / "checkpoint")
    if not resume:
        checkpoint.clear()
    state, saved = checkpoint.load(settings) or (Progress(settings), {})
    done = len(state.history)
    if done:
        assign(variables, saved["model"])
    average = Average() if ema else None
    watched = progress and in_notebook() and not headless()
    live = Live(epochs, train.num_batches, monitor) if watched else None
    recorder = Recorder(state, checkpoint, variables, average, progress and headless(), live)
    first = [*([average] if average else []), train.callback]
    # elsewhere a graph keeps the steps that it was made with, and what is thawed begins within the schedule
    free = keras.backend.backend() == "tensorflow" and len(parts) == 1
    rate = schedules.paced(rate) if free else rate

    def compile_model(start: int) -> Trained:
        """Return the model as it is trained from an epoch on, compiled."""
        of_training, of_validation = outputs.loss_of(model, loss), outputs.loss_of(model, judged)
        made = Trained(model, of_training, of_validation, outputs.metrics_of(model, metrics))
        made.rate = schedules.shifted(rate, start * train.num_batches)
        made.compile(
            optimizer=build_optimizer(optimizer, made.rate, clipnorm, ema, optimizer_options),
            jit_compile=jit_of_backend(jit_compile),
            steps_per_execution=1 if keras.backend.backend() == "torch" else steps_per_execution,
        )
        return made

    judging = [outputs.described(judged), metrics]
    length = [schedules.besides_steps(rate)] if free else [train.num_batches, epochs]
    key = [compiled, judging, length, jit_compile, steps_per_execution]
    with distributed.divided(variables):
        for part in [part for part in parts if part.end > done] or parts[-1:]:
            with part.frozen():
                trained = [variable.path for variable in model.trainable_variables]
                key_of_part = [*key, trained, part.start]
                compiled_model = compile_once(model, train, key_of_part, partial(compile_model, part.start))
                schedules.put_steps(compiled_model.rate, rate)
                if part.start < done and not state.finished:
                    assign(compiled_model.optimizer.variables, saved["optimizer"])
                if not state.finished:
                    try:
                        compiled_model.fit(
                            train.stream(),
                            validation_data=None if validation is None else validation.stream(),
                            initial_epoch=len(state.history),
                            epochs=part.end,
                            verbose=1 if progress and not headless() and not watched else 0,
                            callbacks=[*first, *(callbacks or []), recorder],
                            shuffle=False,
                        )
                    except KeyboardInterrupt:
                        raise Stopped(stopped(state)) from None
            if state.finished:
                break
    write_history(checkpoint, state)
    if not math.isfinite(state.best):
        raise RunError(
            f"{monitor} is no number in any of {len(state.history)} epochs, so none can be chosen: lower the "
            "learning rate, clip gradients (clipnorm=1), or look at the validation samples."
        )
    assign(variables, checkpoint.best(state))
    history = pd.DataFrame(state.history)
    history.attrs = {"best_epoch": state.best_epoch, "monitor": monitor, "resumed_at": done}
    return history


def build_optimizer(
    name: str, rate: Any, clipnorm: float | None = None, ema: float | None = None, options: Options = None
) -> keras.optimizers.Optimizer:
    """Return an optimizer by name.

    Raises:
        ParameterError: If the name or an option is unknown.
    """
    check_known(name, OPTIMIZERS, f"There is no optimizer {name!r}")
    averaged = {"use_ema": True, "ema_momentum": ema} if ema else {}
    config = {"learning_rate": rate, "clipnorm": clipnorm, **averaged, **(options or {})}
    try:
        return OPTIMIZERS[name](**config)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"Optimizer {name!r} does not take {options}: {error}") from None


def compile_once(
    model: keras.Model, train: Batches, key: Sequence[Any], make: Callable[[], Trained]
) -> Trained:
    """Return a model as it is trained: that compiled before with the same key, its optimizer reset, or new.

    Args:
        model: The model.
        train: Training batches, of which scores of other packages need the first.
        key: All that the compiled graph depends on.
        make: Function that returns the compiled model.
    """
    text = repr(key)
    if model in _compiled and _compiled[model][0] == text:
        _, made, start = _compiled[model]
        assign(made.optimizer.variables, start)
        return made
    made = make()
    made.optimizer.build(made.trainable_variables)
    if not all(score.variables for parts in made.scores.values() for score in parts):
        _build_scores(model, made, *train[0])
    _compiled[model] = text, made, [np.array(variable) for variable in made.optimizer.variables]
    return made


def forget(model: keras.Model) -> None:
    """Free the optimizer and the graph of a model that is not trained again; they take twice its memory."""
    _compiled.pop(model, None)


def _build_scores(model: keras.Model, made: Trained, inputs: Any, labels: Any, weights: Any = None) -> None:
    """Create the variables of metrics that have none yet: a compiled step must not."""

    def uniform(output: Any, label: Any) -> np.ndarray:
        """Return equal probabilities; axes of unknown length are as long as the label's."""
        shape = [np.shape(label)[axis] if size is None else size for axis, size in enumerate(output.shape)]
        return np.full(shape, 1 / shape[-1], "float32")

    predictions = keras.tree.map_structure(uniform, model.output, labels)
    made.compute_metrics(inputs, labels, (predictions, {}), weights)
    made.reset_metrics()
