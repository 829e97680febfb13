"""eolab: a notebook-first research kit for deep learning on Earth-observation data.

Importing the package is cheap (no TensorFlow, no rasterio): rooms, and the catalogue, load when they are
used, by ``from eolab.data import catalog`` or as ``eolab.catalog``.
"""

import os
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
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


def _use_own_data() -> None:
    """Let a rasterio that brings its own tables of PROJ and GDAL use these.

    The variables name those of another installation (PostGIS, QGIS, conda), of another version: with them no
    EPSG code is known. A rasterio of conda brings none, and its variables are right.
    """
    found = find_spec("rasterio")
    for place in found.submodule_search_locations or () if found else ():
        for folder, names in {"proj_data": ("PROJ_DATA", "PROJ_LIB"), "gdal_data": ("GDAL_DATA",)}.items():
            if Path(place, folder).is_dir():
                for name in names:
                    os.environ.pop(name, None)


_use_own_data()
