"""Searches: the ``searches`` of ``study.yaml``, with the values from which a search may choose.

::

    searches:
      lstm:
        title: Which learning rate and size does the LSTM learn best with?   # optional
        notebook: 04_train_pixels
        metric: val_loss             # a column of history.csv that begins with val_; val_loss if left out
        direction: minimize          # or maximize; minimize if left out
        trials: 20
        profile: smoke               # optional: what each trial starts from
        values: {model: lstm}        # optional: values that all trials have, and the best parameters too
        trials_only: {baselines: [majority]}   # optional: values that only trials have
        space:
          training.learning_rate: {log_uniform: [1.0e-4, 1.0e-2]}
          training.ema: {uniform: [0.0, 0.99]}
          training.patience: {int: [2, 8]}
          options: {choice: [{units: [32]}, {units: [64, 64]}]}
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from eolab.core.errors import ParameterError, check_known
from eolab.core.yamls import mapping

KINDS = ("uniform", "log_uniform", "int", "choice")
DIRECTIONS = ("minimize", "maximize")
VALIDATION = "val_"  # begins the columns of history.csv that may guide a choice
COLUMNS = ("trial", "status", "epochs", "seconds", "run")  # of the table of trials, beside parameters
_KEYS = ("title", "notebook", "metric", "direction", "trials", "profile", "values", "trials_only", "space")


@dataclass(frozen=True)
class Dimension:
    """What a parameter may be: two ends, or a list of choices.

    Attributes:
        kind: One of :data:`KINDS`.
        values: The least and the greatest value, or the choices.
    """

    kind: str
    values: tuple[Any, ...]

    def suggest(self, trial: Any, name: str) -> Any:
        """Return the value that a trial of Optuna (or what stands for one) has for a parameter."""
        if self.kind == "choice":  # Optuna keeps plain values only
            words = [json.dumps(value) for value in self.values]
            return self.values[words.index(trial.suggest_categorical(name, words))]
        low, high = self.values
        if self.kind == "int":
            return trial.suggest_int(name, low, high)
        return trial.suggest_float(name, low, high, log=self.kind == "log_uniform")


@dataclass(frozen=True)
class Search:
    """A search for the parameters of a notebook that do best on its validation samples.

    Attributes:
        name: Its name.
        notebook: Name of the notebook.
        space: Parameter → what it may be.
        metric: Column of the notebook's history.csv; its best epoch is the value of a trial.
        direction: Whether the least or the greatest value is best.
        trials: How many runs.
        values: What all trials have, and the profile with the best parameters.
        trials_only: What all trials have besides.
        profile: Profile that the trials start from unless the command names one.
        title: Its question.
    """

    name: str
    notebook: str
    space: dict[str, Dimension]
    metric: str = "val_loss"
    direction: str = "minimize"
    trials: int = 20
    values: dict[str, Any] = field(default_factory=dict)
    trials_only: dict[str, Any] = field(default_factory=dict)
    profile: str | None = None
    title: str = ""

    def point(self, trial: Any) -> dict[str, Any]:
        """Return the values of the space that a trial has."""
        return {name: dimension.suggest(trial, name) for name, dimension in self.space.items()}


def read(
    content: Any,
    check: Callable[..., dict[str, Any]],
    profiles: Mapping[str, Any],
    taken: Mapping[str, Any],
    file: str,
) -> dict[str, Search]:
    """Return the searches of a ``study.yaml`` by name.

    Args:
        content: What stands under ``searches``.
        check: Takes a notebook, ``values`` of its parameters and ``where`` they stand, and returns
            them checked.
        profiles: The study's profiles.
        taken: Names that no search may have, with what has them.
        file: The file, for errors.

    Raises:
        ParameterError: If a key, notebook, parameter or value is not known, or a space is no space.
    """
    found: dict[str, Search] = {}
    for name, written in mapping(content, f"{file}: 'searches'").items():
        where = f"{file}: search {name!r}"
        if not str(name).isidentifier() or name in taken:
            reason = f"{taken[name]} has it" if name in taken else "letters, digits and _ alone are allowed"
            raise ParameterError(f"{where} cannot have this name: {reason}.")
        block = mapping(written, where, _KEYS)
        notebook = str(block.get("notebook") or "")
        fixed = {
            key: check(notebook, values=mapping(block.get(key), f"{where}, {key!r}"), where=where)
            for key in ("values", "trials_only")
        }
        space = {
            str(key): _dimension(str(key), given, partial(check, notebook, where=where), where)
            for key, given in mapping(block.get("space"), f"{where}, 'space'").items()
        }
        if not space:
            raise ParameterError(f"{where} has no 'space': name parameters and what they may be.")
        if taken_by := sorted(space.keys() & {*COLUMNS}):
            reason = "the table of trials has another column of this name"
            raise ParameterError(f"{where}: {taken_by[0]!r} cannot stand in 'space': {reason}.")
        for key, values in fixed.items():
            if both := sorted(space.keys() & values.keys()):
                raise ParameterError(
                    f"{where}: {both[0]!r} stands in 'space' and in {key!r}; leave it in one."
                )
        facts: dict[str, Any] = {**fixed, **_facts(block, profiles, where)}
        found[name] = Search(name, notebook, space, **facts)
    return found


def _facts(block: Mapping[str, Any], profiles: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return what a search says besides its notebook, values and space."""
    metric, direction = str(block.get("metric") or "val_loss"), str(block.get("direction") or "minimize")
    if not metric.startswith(VALIDATION):
        raise ParameterError(
            f"{where}: 'metric' is {metric!r}, but parameters are chosen on validation samples alone: name a "
            f"column of history.csv that begins with {VALIDATION}, such as val_loss."
        )
    check_known(direction, DIRECTIONS, f"{where}: 'direction' is {direction!r}")
    trials = block.get("trials", 20)
    if not isinstance(trials, int) or isinstance(trials, bool) or trials < 1:
        raise ParameterError(f"{where}: 'trials' must be a whole number from 1, found {trials!r}.")
    if (profile := block.get("profile")) is not None:
        check_known(profile, profiles, f"{where} names no profile of the study: {profile!r}")
    facts = {"metric": metric, "direction": direction, "trials": trials, "profile": profile}
    return {**facts, "title": str(block.get("title") or "")}


def _dimension(key: str, given: Any, check: Callable[..., dict[str, Any]], where: str) -> Dimension:
    """Return what a parameter may be, each value checked as a value of it."""
    block = mapping(given, f"{where}, {key!r}", KINDS)
    if isinstance(only := block.get("choice"), list) and len(only) == 1:
        raise ParameterError(f"{where}: {key!r} has one choice only: write it under 'values'.")
    if len(block) != 1 or not isinstance(values := next(iter(block.values())), list) or len(values) < 2:
        raise ParameterError(
            f"{where}: {key!r} must be one of {{uniform: [low, high]}}, {{log_uniform: [low, high]}}, "
            f"{{int: [low, high]}} and {{choice: [a, b, …]}}, found {given!r}."
        )
    kind = str(next(iter(block)))
    checked = tuple(check(values={key: value})[key] for value in values)
    if kind == "choice":
        return Dimension(kind, checked)
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    whole = kind != "int" or all(isinstance(value, int) for value in numbers)
    if len(numbers) != 2 or not numbers[0] < numbers[1] or not whole:
        what = "whole numbers" if kind == "int" else "numbers"
        raise ParameterError(f"{where}: {key!r} needs two {what}, the smaller one first, found {values!r}.")
    if kind == "log_uniform" and numbers[0] <= 0:
        raise ParameterError(f"{where}: {key!r} is on a logarithmic scale, which begins above 0: {values!r}.")
    if kind != "int":
        try:
            check(values={key: numbers[0] + (numbers[1] - numbers[0]) / 3**0.5})
        except ParameterError:
            raise ParameterError(
                f"{where}: {key!r} takes whole numbers only: write {{int: [low, high]}}, found {given!r}."
            ) from None
    return Dimension(kind, tuple(numbers) if kind != "int" else tuple(map(int, numbers)))
