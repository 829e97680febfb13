"""Flows of area between classes from year to year: a Sankey figure."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path

from eolab.core.errors import DataError
from eolab.data.schemes import ClassScheme
from eolab.plots.style import axes_of, figure_of, short, styled

GAP = 0.042  # between two classes, of the whole area: a line of text
NODE = 0.05  # width of a class, of the distance of two years
STAYS, GOES = 0.25, 0.8  # opacity of what keeps its class, and of what changes
BEZIER = [Path.MOVETO, *[Path.CURVE4] * 3, Path.LINETO, *[Path.CURVE4] * 3, Path.CLOSEPOLY]


@styled
def sankey(
    flows: Sequence[pd.DataFrame], years: Sequence[Any], scheme: ClassScheme, title: str = ""
) -> Figure:
    """Draw the area that goes from class to class between years; what changes its class is drawn darker.

    Args:
        flows: Areas (K, K) between two years each, from in rows, to in columns, such as results of
            :func:`eolab.evaluation.change.transitions`.
        years: Names of the years, one more than flows.
        scheme: The K classes.
        title: Title of the figure.

    Raises:
        DataError: If there is nothing to draw, or not one flow between two years.
    """
    areas = np.stack([np.asarray(flow, float) for flow in flows]) if len(flows) else np.zeros((0, 0, 0))
    if areas.shape != (len(years) - 1, len(scheme), len(scheme)) or not areas.sum():
        raise DataError(
            f"Found flows of shape {areas.shape} for {len(years)} years and {len(scheme)} classes: expected "
            "areas between all classes for each pair of years, some of them above 0."
        )
    shown = np.flatnonzero(areas.sum(axis=(0, 1)) + areas.sum(axis=(0, 2)))
    areas = areas[:, shown][:, :, shown] / areas.sum(axis=(1, 2)).max()  # (pair, from, to) as shares
    heights = np.zeros((len(years), len(shown)))
    heights[:-1] = areas.sum(axis=2)
    heights[1:] = np.maximum(heights[1:], areas.sum(axis=1))
    tops = -np.cumsum(heights + GAP, axis=1) + heights + GAP  # of each class, the first at 0
    ax = axes_of(None, 2.4 + 2.2 * len(years), 1.2 + 0.34 * len(shown))
    for pair, flow in enumerate(areas):
        leaving = tops[pair, :, None] - np.cumsum(flow, axis=1) + flow
        coming = tops[pair + 1] - np.cumsum(flow, axis=0) + flow
        for one, two in np.argwhere(flow > 0):
            ends = (leaving[one, two], coming[one, two])
            color = scheme.colors[shown[one]]
            name = f"{scheme.names[shown[one]]} > {scheme.names[shown[two]]}"
            _ribbon(ax, pair, ends, flow[one, two], color, STAYS if one == two else GOES, name)
    for year, column in enumerate(heights):
        for k, height in enumerate(column):
            corner = (year - NODE / 2, tops[year, k] - height)
            color = scheme.colors[shown[k]]
            ax.add_patch(Rectangle(corner, NODE, height, facecolor=color, edgecolor="#333333", linewidth=0.4))
    _name(ax, 0, tops, heights, [scheme.names[k] for k in shown])
    _name(ax, len(years) - 1, tops, heights, [scheme.names[k] for k in shown])
    ax.set(
        xlim=(-NODE, len(years) - 1 + NODE), ylim=(min((tops - heights).min(), -1) - 0.01, 0.01), title=title
    )
    ax.set_xticks(range(len(years)), [str(year) for year in years])
    ax.set_yticks([])
    ax.spines[["left", "bottom"]].set_visible(False)
    ax.tick_params(length=0)
    return figure_of(ax)


def _ribbon(
    ax: Axes, start: int, tops: tuple[float, float], height: float, color: str, alpha: float, name: str
) -> None:
    """Draw one flow between two years as a band of constant height."""
    left, right, middle = start + NODE / 2, start + 1 - NODE / 2, start + 0.5
    one, two = tops
    upper = [(left, one), (middle, one), (middle, two), (right, two)]
    lower = [(x, y - height) for x, y in reversed(upper)]
    path = Path([*upper, *lower, upper[0]], BEZIER)
    ax.add_patch(PathPatch(path, facecolor=color, alpha=alpha, linewidth=0, gid=name))


def _name(ax: Axes, year: int, tops: np.ndarray, heights: np.ndarray, names: list[str]) -> None:
    """Write the classes of the first or last year with their shares beside them, where they have any."""
    side, shift = ("right", -0.6) if year == 0 else ("left", 0.6)
    for name, top, height in zip(names, tops[year], heights[year], strict=True):
        if height > 0:
            text = f"{short(name)}  {100 * height:.1f} %"
            at = (year + shift * 2 * NODE, top - height / 2)
            ax.text(*at, text, ha=side, va="center", fontsize=8.5, clip_on=False)
