"""Training of Keras models that can be stopped at any time and goes on as if it had not been.

In a notebook::

    training.set_up(seed, precision)                  # before the model is built
    model = models.build("lstm", …, seed=seed)
    history = training.fit(model, train, validation, folder=run.folder, epochs=30, patience=5)

``train`` and ``validation`` are batches (:mod:`eolab.training.batches`); :func:`eolab.tasks.fit` makes them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from eolab.training.setup import Setup, set_up

if TYPE_CHECKING:
    from eolab.training.callbacks import assign
    from eolab.training.fitting import fit, forget, options
    from eolab.training.lr_finder import range_test

_PLACES = {"assign": "callbacks", "fit": "fitting", "forget": "fitting", "options": "fitting"}
_PLACES["range_test"] = "lr_finder"


def __getattr__(name: str) -> Any:
    """Load what needs Keras when it is used: a notebook looks at its parameters and inputs before."""
    if name in _PLACES:
        return getattr(import_module(f"eolab.training.{_PLACES[name]}"), name)
    raise AttributeError(f"module 'eolab.training' has no attribute {name!r}")
