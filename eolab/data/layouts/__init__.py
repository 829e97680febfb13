"""Layouts: one reader a published layout, imported when a data set of that layout is opened.

A study of one's own brings its reader as a module: an entry of the catalogue names it as its layout.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eolab.core.errors import ParameterError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


@dataclass(frozen=True)
class Layout:
    """A published layout and the module that reads it.

    The module has ``open_layout(path, **options) -> xarray.Dataset``, which is lazy where the data are large,
    and ``check_layout(path, progress) -> DataFrame`` with the columns file, status and reason.

    Attributes:
        name: Name of the layout in the catalogue.
        module: Module that reads it.
    """

    name: str
    module: str

    def open(self, path: Path, **options: Any) -> xr.Dataset:
        """Open a data set of this layout; the options are those of its reader."""
        return importlib.import_module(self.module).open_layout(path, **options)

    def check(self, path: Path, progress: bool = True) -> pd.DataFrame:
        """Read every file of a data set; return a table with columns file, status (ok, rejected), reason."""
        return importlib.import_module(self.module).check_layout(path, progress=progress)


_MODULES = {
    "sentinel2_safe": "sentinel2",  # Sentinel-2 products in SAFE format
    "corine_raster": "corine",  # CORINE Land Cover, 100 m raster
    "eolearn_patch": "eolearn",  # eo-learn patch with a Sentinel-2 series
    "landslide4sense": "landslide4sense",  # patches with landslide masks
    "sen12flood": "sen12flood",  # series of Sentinel-1 and Sentinel-2 images
    "bigearthnet_v1": "bigearthnet_v1",  # patches with 43 classes
    "bigearthnet_v2": "bigearthnet_v2",  # patches with 19 classes
    "sentinel2_corine": "sentinel2_corine",  # Sentinel-2 products with a CORINE map
}
LAYOUTS = {name: Layout(name, f"{__name__}.{module}") for name, module in _MODULES.items()}


def find(name: str) -> Layout:
    """Return a layout by its name: one of :data:`LAYOUTS`, or a module that can be imported.

    Raises:
        ParameterError: If there is neither.
    """
    if name in LAYOUTS:
        return LAYOUTS[name]
    if re.fullmatch(r"[A-Za-z_][\w.]*", name) and _importable(name):
        return Layout(name, name)
    known = did_you_mean(name, LAYOUTS)
    raise ParameterError(f"unknown layout {name!r}; {known} Or the name of a module that can be imported.")


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
