"""How figures look: sizes, colours that colour-blind eyes can tell apart, and nothing global changed."""

import functools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, ParamSpec, TypeVar

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

P = ParamSpec("P")
R = TypeVar("R")

OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
"""Eight colours of Okabe and Ito (2008), https://jfly.uni-koeln.de/color/, the strong ones first."""
GREY = "#767676"
LEGENDS: dict[str, dict[str, Any]] = {
    "beside": {"loc": "upper left", "bbox_to_anchor": (1.02, 1.0)},
    "below": {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "borderaxespad": 4.4, "ncols": 2},
    "stacked": {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "borderaxespad": 4.4},
}
"""Places of a legend outside the axes; below, it leaves room for ticks and a label of axes of any height."""
WIDEST = 38  # characters of a class name beside an axis
RC = {
    "axes.prop_cycle": plt.cycler(color=OKABE_ITO),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 6.0,
    "axes.labelsize": 9.5,
    "axes.axisbelow": True,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "white",
    "font.size": 9.5,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.7,
    "image.cmap": "viridis",
    "image.interpolation": "nearest",
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
}


def style() -> AbstractContextManager[None]:
    """Return a context in which matplotlib draws as the functions of this package do.

    Example:
        >>> with plots.style():
        ...     figure, axes = plt.subplots()
    """
    return plt.rc_context(RC)  # type: ignore[arg-type]


def styled(function: Callable[P, R]) -> Callable[P, R]:
    """Draw in :func:`style`, leaving the settings outside as they are."""

    @functools.wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        with style():
            return function(*args, **kwargs)

    return inside


def axes_of(ax: Axes | None, width: float, height: float) -> Axes:
    """Return the axes given, or those of a new figure of this size in inches, framed on two sides."""
    ax = ax if ax is not None else plt.subplots(figsize=(width, height))[1]
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def finish(
    ax: Axes,
    grid: Literal["", "x", "y", "both"] = "",
    legend: str = "",
    handles: Sequence[Artist] | None = None,
    heading: str | None = None,
    **labels: Any,
) -> Figure:
    """Label axes, give them a grid and a legend, and return their figure.

    Args:
        ax: The axes.
        grid: Axis whose ticks have lines, "x", "y" or "both"; none where empty.
        legend: Where the legend stands: a key of :data:`LEGENDS`, or a place within the axes; none where
            empty.
        handles: Entries of the legend; everything in the axes that has a label unless given. There is no
            legend where there is no entry.
        heading: Title of the legend.
        labels: Texts and limits, as of ``ax.set``.
    """
    ax.set(**labels)
    if grid:
        ax.grid(True, axis=grid)
    handles = ax.get_legend_handles_labels()[0] if handles is None else handles
    if legend and handles:
        place = LEGENDS.get(legend, {"loc": legend})
        ax.legend(handles=handles, title=heading, alignment="left", **place)
    return figure_of(ax)


def figure_of(ax: Axes) -> Figure:
    """Return the figure that axes stand in."""
    figure = ax.get_figure(root=True)
    assert figure is not None, "the axes were removed from their figure"
    return figure


def roomy(figure: Figure, share: float = 0.06) -> None:
    """Keep a share of the width free between panels, so that tick labels at their ends do not meet."""
    engine = figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        engine.set(wspace=share)


def panels(
    count: int, columns: int, width: float, height: float, **options: Any
) -> tuple[Figure, list[Axes]]:
    """Return a figure with ``count`` panels of a size in inches, ``columns`` in a row, without empty axes.

    Options are those of ``plt.subplots``, such as ``sharex``.
    """
    columns = min(columns, count)
    rows = -(-count // columns)
    size = (columns * width, rows * height)
    figure, grid = plt.subplots(rows, columns, figsize=size, squeeze=False, **options)
    cells = list(grid.ravel())
    for number, ax in enumerate(cells[count:], start=count):
        ax.remove()
        cells[number - columns].xaxis.set_tick_params(labelbottom=True)
    return figure, cells[:count]


def name_rows(ax: Axes, names: Sequence[Any] | pd.Series, fontsize: float = 8.5) -> None:
    """Name the rows of bars or marks, the first one at the top."""
    ax.set_yticks(range(len(names)), [str(name) for name in names], fontsize=fontsize)
    ax.set_ylim(max(len(names), 1) - 0.4, -0.6)


def side_by_side(names: Sequence[Any], room: float = 0.8) -> list[tuple[Any, float, float, str]]:
    """Return groups that share each row of a figure: name, shift from its middle, height of a bar, colour."""
    height = room / len(names)
    return [
        (name, (number - (len(names) - 1) / 2) * height, height, OKABE_ITO[number % len(OKABE_ITO)])
        for number, name in enumerate(names)
    ]


def short(name: str) -> str:
    """Return a class name that fits beside an axis."""
    return name if len(name) <= WIDEST else name[: WIDEST - 1].rstrip(" ,") + "…"
