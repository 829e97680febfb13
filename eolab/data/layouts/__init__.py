"""Layouts: one reader a published layout, imported when a data set of that layout is opened.

A study of one's own brings its reader as a module: an entry of the catalogue names it as its layout.
"""

import importlib
import importlib.util
import re
from typing import Any

from eolab.core.errors import ParameterError, did_you_mean

_MODULES = {
    "sentinel2_safe": "sentinel2",  # Sentinel-2 products in SAFE format
    "corine_raster": "corine",  # CORINE Land Cover, 100 m raster
    "eolearn_patch": "eolearn",  # eo-learn patch with a Sentinel-2 series
    "landslide4sense": "landslide4sense",  # patches with landslide masks
    "sen12flood": "sen12flood",  # series of Sentinel-1 and Sentinel-2 images
    "bigearthnet_v1": "bigearthnet_v1",  # patches with 43 classes
    "bigearthnet_v2": "bigearthnet_v2",  # patches with 19 classes
    "rasters": "rasters",  # images of one's own
    "weights": "weights",  # published weights of a network
    "sentinel2_corine": "sentinel2_corine",  # Sentinel-2 products with a CORINE map
}
LAYOUTS = {name: f"{__name__}.{module}" for name, module in _MODULES.items()}
"""Module that reads each published layout.

A module has ``open_layout(path, **options) -> xarray.Dataset``, which is lazy where the data are large, and
``check_layout(path, progress) -> DataFrame``, which reads every file: columns file, status (``ok`` or
``rejected``) and reason.
"""

STATABLE = ("sentinel2_safe", "sentinel2_corine", "sen12flood", "eolearn_patch", "rasters", "weights")
"""Published layouts whose reader takes ``stated``: the scale, offset and nodata that the catalogue states.

Others hold classes, or numbers on the scale that was published, which their studies keep.
"""

MARKS = {
    "sentinel2_corine": ("sentinel2", "corine"),
    "landslide4sense": ("TrainData/img",),
    "sen12flood": ("S1list.json",),
    "bigearthnet_v1": ("BigEarthNet-v1.0",),
    "bigearthnet_v2": ("metadata.parquet",),
    "eolearn_patch": ("meta_info", "data"),
}
"""What lies in the folder of a data set of a published layout, and in no other."""


def find(name: str) -> str:
    """Return the module that reads a layout: one of :data:`LAYOUTS`, or of that name if it can be imported.

    Raises:
        ParameterError: If there is neither.
    """
    if name in LAYOUTS:
        return LAYOUTS[name]
    if re.fullmatch(r"[A-Za-z_][\w.]*", name) and _importable(name):
        return name
    known = did_you_mean(name, LAYOUTS)
    raise ParameterError(f"unknown layout {name!r}; {known} Or the name of a module that can be imported.")


def reader(name: str) -> Any:
    """Return the imported module of a layout, see :func:`find`.

    Raises:
        ParameterError: If there is none, or it opens no data.
    """
    module = importlib.import_module(find(name))
    if not hasattr(module, "open_layout"):
        raise ParameterError(f"The module {name} is no layout: it has no function open_layout(path).")
    return module


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ModuleNotFoundError, ValueError):  # ValueError for __main__
        return False
