"""Networks for series of pixels, built by name.

Every model takes a dict: ``image`` (B, T, C) float32 in raw units, ``valid`` (B, T) with 1 where a date was
observed, ``day`` (B, T) float32 days since 1 January of the series' first year. It gives class probabilities
(B, K) in float32. What stands at invalid dates, NaN included, influences nothing; a series without valid
dates gives finite probabilities. Band statistics are part of the model, so a saved model takes raw values.
"""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eolab.errors import DataError, ParameterError, did_you_mean

if TYPE_CHECKING:
    import keras
    import pandas as pd


@dataclass(frozen=True)
class Architecture:
    """One architecture: its module, which holds a function of its name, and where it comes from.

    Attributes:
        module: Module of the function.
        title: What it is, in a few words.
        paper: Authors and year; the function's docstring has the rest.
        compiled: Whether XLA makes a training step faster on a processor; it pays for recurrence.
    """

    module: str
    title: str
    paper: str
    compiled: bool = False


ARCHITECTURES: dict[str, Architecture] = {
    "lstm": Architecture("eolab.models.lstm", "LSTM over the dates", "Sedona et al. 2022", compiled=True),
    "tempcnn": Architecture("eolab.models.tempcnn", "Convolutions along time", "Pelletier et al. 2019"),
    "ltae": Architecture("eolab.models.ltae", "Lightweight temporal attention", "Garnot and Landrieu 2020"),
    "transformer": Architecture("eolab.models.transformer", "Transformer encoder", "Vaswani et al. 2017"),
}
GIVEN = (
    "times",
    "bands",
    "classes",
    "mean",
    "std",
    "seed",
)  # arguments of every architecture; others are options


def names() -> list[str]:
    """Return the names of all architectures."""
    return list(ARCHITECTURES)


def options(name: str) -> dict[str, Any]:
    """Return the options of an architecture with their defaults."""
    parameters = inspect.signature(_function(name)).parameters
    return {key: parameter.default for key, parameter in parameters.items() if key not in GIVEN}


def compile_options(name: str) -> dict[str, Any]:
    """Return the arguments of ``model.compile`` that train an architecture fastest on a processor.

    Sixteen steps run in one go, so that callbacks see every sixteenth batch; results do not change.
    """
    _function(name)
    return {"jit_compile": ARCHITECTURES[name].compiled, "steps_per_execution": 16}


def describe(times: int = 20, bands: int = 12, classes: int = 12) -> pd.DataFrame:
    """Return a row an architecture: title, paper, number of weights for a size of series, options."""
    import pandas as pd

    rows = {
        name: {
            "title": architecture.title,
            "paper": architecture.paper,
            "weights": build(name, times=times, bands=bands, classes=classes).count_params(),
            "options": ", ".join(f"{key}={value}" for key, value in options(name).items()),
        }
        for name, architecture in ARCHITECTURES.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("name")


def build(
    name: str,
    *,
    times: int,
    bands: int,
    classes: int,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    seed: int = 0,
    **chosen: Any,
) -> keras.Model:
    """Return an untrained model.

    Args:
        name: One of :func:`names`.
        times: Dates T of a series.
        bands: Bands C.
        classes: Classes K.
        mean: Mean of each band in the training split, C numbers; None leaves raw values as they are.
        std: Standard deviation of each band likewise.
        seed: Fixes weights and dropout.
        **chosen: Options of the architecture, see :func:`options`.

    Raises:
        ParameterError: Unknown name or option, or statistics that do not fit the bands.
    """
    function = _function(name)
    known = options(name)
    for option in set(chosen) - set(known):
        raise ParameterError(f"Model {name!r} has no option {option!r}; {did_you_mean(option, known)}")
    statistics = {
        "mean": [0.0] * bands if mean is None else mean,
        "std": [1.0] * bands if std is None else std,
    }
    for key, values in statistics.items():
        statistics[key] = [float(value) for value in values]
        if len(values) != bands:
            raise ParameterError(f"{key} has {len(values)} values: expected one for each of {bands} bands.")
    return function(times=times, bands=bands, classes=classes, seed=seed, **statistics, **chosen)


def load(path: str | os.PathLike[str], compiled: bool = True) -> keras.Model:
    """Read a model that ``model.save`` wrote, with the layers of this package known to Keras.

    Args:
        path: The ``.keras`` file.
        compiled: Whether loss and optimizer come along; a model that only predicts needs neither.

    Raises:
        DataError: The file is missing or not a saved model.
    """
    import keras

    for architecture in ARCHITECTURES.values():
        importlib.import_module(architecture.module)
    remedy = "train the model again, or name another run"
    if not Path(path).is_file():
        raise DataError(f"{path}: expected a saved model, found no file; {remedy}.")
    try:
        return keras.models.load_model(path, compile=compiled)
    except Exception as error:  # a damaged file raises nearly anything
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(
            f"{path}: expected a saved model, found an unreadable file that cannot be read as a Keras model "
            f"({reason}); {remedy}."
        ) from error


def _function(name: str) -> Callable[..., Any]:
    if name not in ARCHITECTURES:
        raise ParameterError(f"There is no model {name!r}; {did_you_mean(name, ARCHITECTURES)}")
    return getattr(importlib.import_module(ARCHITECTURES[name].module), name)
