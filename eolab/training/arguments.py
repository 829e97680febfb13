"""The ``training`` dict of a notebook: arguments of a training by name, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eolab.core.errors import ParameterError, did_you_mean

NUMBER, TEXT = (int, float), (str,)
TYPES: dict[str, tuple[type, ...]] = {
    "epochs": (int,),
    "batch_size": (int,),
    "learning_rate": NUMBER,
    "schedule": TEXT,
    "schedule_options": (Mapping,),
    "optimizer": TEXT,
    "optimizer_options": (Mapping,),
    "clipnorm": NUMBER,
    "ema": NUMBER,
    "patience": (int,),
    "monitor": TEXT,
    "class_weights": (str, Mapping),
    "precision": TEXT,
    "freeze": (str, int, list),
    "thaw": (Mapping,),
    "steps_per_execution": (int,),
    "jit_compile": (bool, str),
}
OPTIONAL = ("clipnorm", "ema", "patience", "monitor", "class_weights", "freeze", "thaw")


def options(training: Mapping[str, Any], **defaults: Any) -> dict[str, Any]:
    """Return the arguments of a training: defaults, overlaid by those of a notebook.

    Example:
        >>> options({"epochs": 3, "ema": 0}, epochs=20, batch_size=32)
        {'epochs': 3, 'batch_size': 32, 'ema': None}

    Args:
        training: Arguments of :func:`eolab.training.fit`, and ``batch_size``, ``class_weights`` and
            ``precision``. Where None means "none", 0 and an empty text, list or dict do too.
        **defaults: Arguments that `training` need not give.

    Raises:
        ParameterError: If a name is unknown or a value has the wrong type.
    """
    found = {**defaults, **training}
    for name, value in found.items():
        if name not in TYPES:
            raise ParameterError(f"training has no {name!r}: {did_you_mean(name, TYPES)}")
        if name in OPTIONAL and not value:
            found[name] = None
        elif not isinstance(value, TYPES[name]) or (isinstance(value, bool) and bool not in TYPES[name]):
            expected = " or ".join(one.__name__.replace("Mapping", "dict") for one in TYPES[name])
            raise ParameterError(f"training: {name} must be {expected}, found {value!r}.")
    return found
