"""Regions: polygons by label on a picture."""

from collections.abc import Mapping

import matplotlib.patheffects as effects
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from eolab.plots.geometry import map_scale
from eolab.plots.maps import index_map, rgb
from eolab.plots.style import LEGENDS, axes_of, figure_of, short, styled


@styled
def region_map(
    picture: xr.DataArray,
    table: pd.DataFrame,
    colors: Mapping[str, str],
    ax: Axes | None = None,
    limits: tuple[float, float] | None = None,
    title: str = "",
) -> Figure:
    """Draw the outlines of regions by label on a picture, with a legend that counts them.

    Args:
        picture: (band, y, x) of three bands for red, green and blue, or one quantity (y, x).
        table: Columns label and geometry, polygons in the reference system of the picture.
        colors: Colour of each label, in the order of the legend.
        ax: Where to draw.
        limits: Values at both ends of the colours, see :func:`rgb` and :func:`index_map`.
        title: Title of the picture.
    """
    ax = axes_of(ax, 6.6, 5.6)
    if "band" in picture.dims:
        rgb(picture, [str(band) for band in picture["band"].to_numpy()], ax, limits, title)
    else:
        index_map(picture, ax, limits=limits, title=title)
    scale, handles = map_scale(picture), []
    white = [effects.Stroke(linewidth=2.8, foreground="white"), effects.Normal()]
    for label, color in colors.items():
        parts = table.geometry[(table["label"] == label).to_numpy()]
        polygons = parts.explode().boundary.explode()
        lines = [np.asarray(line.coords)[:, :2] * scale for line in polygons if line is not None]
        ax.add_collection(LineCollection(lines, colors=color, linewidths=1.3, path_effects=white))
        if len(parts):
            handles.append(Line2D([], [], color=color, linewidth=2, label=f"{short(label)} ({len(parts):,})"))
    place = {**LEGENDS["below"], "bbox_to_anchor": (0.5, -0.22), "borderaxespad": 0.5}
    ax.legend(handles=handles, **place)
    return figure_of(ax)
