"""Layouts: one reader a published layout, imported when a data set of that layout is opened."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
        module: Module of this package that reads it.
        title: What the layout is, for people.
    """

    name: str
    module: str
    title: str

    def open(self, path: Path, **options: Any) -> xr.Dataset:
        """Open a data set of this layout; the options are those of its reader."""
        return importlib.import_module(f"{__name__}.{self.module}").open_layout(path, **options)

    def check(self, path: Path, progress: bool = True) -> pd.DataFrame:
        """Read every file of a data set; return a table with columns file, status (ok, rejected), reason."""
        return importlib.import_module(f"{__name__}.{self.module}").check_layout(path, progress=progress)


LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout("sentinel2_safe", "sentinel2", "Sentinel-2 products in SAFE format"),
        Layout("corine_raster", "corine", "CORINE Land Cover, 100 m raster"),
        Layout("eolearn_patch", "eolearn", "eo-learn patch with a Sentinel-2 series"),
        Layout("landslide4sense", "landslide4sense", "Landslide4Sense, patches with landslide masks"),
        Layout("sen12flood", "sen12flood", "SEN12-FLOOD, series of Sentinel-1 and Sentinel-2 images"),
        Layout("bigearthnet_v1", "bigearthnet_v1", "BigEarthNet, version 1: patches with 43 classes"),
        Layout("bigearthnet_v2", "bigearthnet_v2", "BigEarthNet, version 2: patches with 19 classes"),
        Layout("sentinel2_corine", "sentinel2_corine", "Sentinel-2 products with a CORINE map"),
    )
}
