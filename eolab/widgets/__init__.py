"""Panels to explore data in JupyterLab: plain classes around ipywidgets, usable without a browser too."""

from eolab.widgets.explorer import SeriesExplorer

__all__ = ["SeriesExplorer"]
