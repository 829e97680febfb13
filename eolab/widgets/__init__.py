"""Panels to explore data in JupyterLab: plain classes around ipywidgets, usable without a browser too."""

from eolab.widgets.explorer import SeriesExplorer
from eolab.widgets.mask_demo import MaskDemo, PatchReader
from eolab.widgets.regions import RegionExplorer
