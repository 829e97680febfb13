"""eolab: a notebook-first research kit for deep learning on Earth-observation data.

Importing the package is cheap (no TensorFlow, no rasterio): rooms, and the catalogue, load when they are
used, by ``from eolab.data import catalog`` or as ``eolab.catalog``.
"""

from importlib import import_module
from types import ModuleType

__version__ = "0.1.0"

_ROOMS = (
    "data",
    "synthetic",
    "evaluation",
    "plots",
    "models",
    "training",
    "prediction",
    "tasks",
    "widgets",
    "runs",
    "studies",
)


def __getattr__(name: str) -> ModuleType:
    """Return a room, or the catalogue, by its name."""
    if name in _ROOMS:
        return import_module(f"eolab.{name}")
    if name == "catalog":
        return import_module("eolab.data.catalog")
    raise AttributeError(f"module 'eolab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOMS, "catalog"})
