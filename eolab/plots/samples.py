"""Where the samples lie."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from eolab.plots.style import OKABE_ITO, axes_of, styled

SPLITS = {"train": OKABE_ITO[0], "validation": OKABE_ITO[1], "test": OKABE_ITO[2]}


@styled
def split_map(table: pd.DataFrame, column: str = "split", ax: Axes | None = None, title: str = "") -> Axes:
    """Draw the samples of each split where they lie.

    Args:
        table: A row a sample with ``x`` and ``y`` in metres.
        column: Column with "train", "validation" and "test"; other values are left out.
        ax: Where to draw.
        title: Title of the picture.
    """
    ax = axes_of(ax, 4.6, 4.8)
    left, bottom = table["x"].min(), table["y"].min()
    for split, color in SPLITS.items():
        rows = table[table[column].astype(str) == split]
        at = ((rows["x"] - left) / 1000, (rows["y"] - bottom) / 1000)
        ax.scatter(*at, s=3, color=color, linewidths=0, label=f"{split} ({len(rows):,})")
    ax.set(xlabel="East (km)", ylabel="North (km)", aspect="equal", title=title or column)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=1, markerscale=3)
    return ax
