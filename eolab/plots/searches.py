"""Figures of a search for parameters: what its trials were, and which parameters matter."""

from collections.abc import Mapping

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eolab.plots.style import GREY, OKABE_ITO, styled

WIDTH, HEIGHT = 8.0, 3.6  # inches


@styled
def parallel_coordinates(trials: pd.DataFrame, metric: str, space: Mapping[str, str]) -> Figure:
    """Draw the parameters of trials as lines across one axis a parameter, coloured by their value.

    Trials without a value, which were given up or failed, are drawn in grey below the others.

    Args:
        trials: A row a trial, with its metric and parameters; the best one first, as
            :func:`eolab.runs.search_table` returns it.
        metric: Column of the metric.
        space: Column of each parameter → its kind, ``log_uniform``, ``choice`` or another.
    """
    figure, ax = plt.subplots(figsize=(max(WIDTH, 1.6 * len(space)), HEIGHT))
    at = np.arange(len(space))
    places = np.column_stack(
        [_axis(ax, n, trials[name], kind) for n, (name, kind) in enumerate(space.items())]
    )
    values = trials[metric].to_numpy(float)
    known = np.isfinite(values)
    for row in places[~known]:
        ax.plot(at, row, color=GREY, linewidth=0.6, alpha=0.5)
    norm = mpl.colors.Normalize(*(np.quantile(values[known], (0, 0.9)) if known.any() else (0, 1)))
    colours = mpl.colormaps["viridis"]
    for row, value in zip(places[known][::-1], values[known][::-1], strict=True):  # the best one on top
        ax.plot(at, row, color=colours(norm(value)), linewidth=1.3)
    if known.any():
        ax.plot(at, places[known][0], color=OKABE_ITO[5], linewidth=2.2, label="Best trial")
        ax.legend(loc="upper right", bbox_to_anchor=(1, 1.16))
    figure.colorbar(mpl.cm.ScalarMappable(norm, "viridis"), ax=ax, label=metric, extend="max")
    ax.set(xticks=at, xlim=(-0.15, at[-1] + 0.35), ylim=(-0.05, 1.05), yticks=[])
    ax.set_xticklabels([name.rpartition(".")[2].replace("_", " ") for name in space])
    ax.spines["left"].set_visible(False)
    ax.spines["bottom"].set_visible(False)
    ax.tick_params(length=0)
    return figure


def _axis(ax: Axes, at: int, values: pd.Series, kind: str) -> np.ndarray:
    """Draw the axis of a parameter and return where its values stand on it, from 0 to 1."""
    if kind == "choice":
        names = sorted(values.astype(str).unique())
        places = np.linspace(0, 1, len(names)) if len(names) > 1 else np.array([0.5])
        ticks = dict(zip(names, places, strict=True))
        found = values.astype(str).map(ticks).to_numpy(float)
    else:
        numbers = values.to_numpy(float)
        scale = np.log10(numbers) if kind == "log_uniform" else numbers
        low, high = np.nanmin(scale), np.nanmax(scale)
        found = (scale - low) / (high - low) if high > low else np.full(len(scale), 0.5)
        ends = {0.0: np.nanmin(numbers), 1.0: np.nanmax(numbers)} if high > low else {0.5: numbers[0]}
        ticks = {f"{value:.3g}": place for place, value in ends.items()}
    ax.axvline(at, color="#444444", linewidth=0.9, zorder=0)
    for text, place in ticks.items():
        ax.annotate(
            text,
            (at, place),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6},
            zorder=5,
        )
    return found


@styled
def importances(shares: Mapping[str, float]) -> Figure:
    """Draw how much of the variance of the trials' values each parameter explains.

    Args:
        shares: Parameter → share from 0 to 1.
    """
    rows = sorted(shares.items(), key=lambda item: item[1])
    figure, ax = plt.subplots(figsize=(WIDTH * 0.7, 0.9 + 0.34 * len(rows)))
    bars = ax.barh([name.replace("_", " ") for name, _ in rows], [100 * s for _, s in rows], 0.7)
    ax.bar_label(bars, fmt="%.0f %%", padding=3, fontsize=8.5)
    ax.set(xlabel="Share of the variance (%)", xlim=(0, 115 * max((s for _, s in rows), default=1.0)))
    return figure
