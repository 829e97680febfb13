"""What a new map changed in an old one, and how much of that is right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eolab.data.schemes import IGNORE, ClassScheme
from eolab.plots.geometry import as_map
from eolab.plots.maps import draw_classes, legend_handles
from eolab.plots.style import axes_of, figure_of, styled

UNCHANGED, CORRECT, FALSE, MISSED, UNKNOWN, CHANGED = range(6)
CHANGES = ClassScheme(
    name="Change",
    codes=(UNCHANGED, CORRECT, FALSE, MISSED, UNKNOWN, CHANGED),
    names=(
        "Unchanged, right",
        "Changed, right",
        "Changed, wrong (false change)",
        "Unchanged, wrong (missed change)",
        "Unknown (no label or no data)",
        "Changed",
    ),
    colors=("#ece9e2", "#0072b2", "#e69f00", "#9b2c6f", "#a6a6a6", "#0072b2"),
)
"""Kinds of change, in colours that colour-blind eyes tell apart; the last is used where no truth is known."""


def change_kinds(old: np.ndarray, new: np.ndarray, truth: np.ndarray | None = None) -> np.ndarray:
    """Return the kind of change of each pixel, an index of :data:`CHANGES`.

    Args:
        old: Old map, class indices, 255 = unknown.
        new: New map, likewise.
        truth: True map at the time of the new one, where known.

    Returns:
        uint8 of the same shape. Without truth only "Unchanged", "Changed" and "Unknown" occur.
    """
    known = (old != IGNORE) & (new != IGNORE)
    changed = old != new
    if truth is None:
        kinds = np.where(changed, CHANGED, UNCHANGED)
    else:
        known &= truth != IGNORE
        right = new == truth
        kinds = np.select([changed & right, changed, right], [CORRECT, FALSE, UNCHANGED], MISSED)
    return np.where(known, kinds, UNKNOWN).astype(np.uint8)


def change_shares(kinds: np.ndarray) -> pd.Series:
    """Return the share of all pixels that each kind of change has, kinds without a pixel left out."""
    counts = np.bincount(np.asarray(kinds).ravel(), minlength=len(CHANGES))
    shares = pd.Series(counts / max(counts.sum(), 1), index=list(CHANGES.names), name="share")
    return shares[counts > 0]


@styled
def change_map(
    old: Any,
    new: Any,
    truth: Any | None = None,
    ax: Axes | None = None,
    title: str = "Change against the old map",
    like: xr.DataArray | None = None,
) -> Figure:
    """Draw where a new map differs from the old one, with the share of each kind in the legend.

    Args:
        old: Old map (y, x), class indices, 255 = unknown.
        new: New map.
        truth: True map at the time of the new one; without it, changes cannot be called right or wrong.
        ax: Where to draw.
        title: Title of the picture.
        like: Map whose coordinates plain arrays take; the first of the three that has any unless given.
    """
    given = [m for m in (old, new, truth) if isinstance(m, xr.DataArray) and "x" in m.coords]
    like = like if like is not None else next(iter(given), None)
    kinds = change_kinds(np.asarray(old), np.asarray(new), None if truth is None else np.asarray(truth))
    ax = axes_of(ax, 7.4, 4.8)
    draw_classes(ax, as_map(kinds, like), CHANGES)
    shares = change_shares(kinds)
    handles = legend_handles(kinds, CHANGES)
    for handle in handles:
        name = str(handle.get_label())
        unsure = truth is None and name == CHANGES.names[UNCHANGED]
        handle.set_label(f"{100 * shares[name]:.1f} %  {'Unchanged' if unsure else name}")
    ax.legend(
        handles=handles,
        title="Share of the map",
        alignment="left",
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
    )
    ax.set_title(title)
    return figure_of(ax)
