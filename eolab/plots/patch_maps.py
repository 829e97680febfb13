"""Patches with what stands where in them: maps of classes, and activation maps of single labels."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eolab.data.schemes import ClassScheme
from eolab.plots.maps import NODATA_COLOR, legend_handles, stretched_alike
from eolab.plots.style import short, styled

SIDE = 1.75  # inches of a patch


@styled
def patch_maps(
    colours: np.ndarray, maps: Mapping[str, np.ndarray], scheme: ClassScheme, titles: Sequence[str]
) -> Figure:
    """Draw patches in true colour above maps of their classes, with one legend.

    Args:
        colours: (N, H, W, 3) red, green and blue; all with the same limits.
        maps: Class indices (N, H, W) by what they are; 255 is drawn grey.
        scheme: The classes.
        titles: Of the patches.
    """
    colors, norm = scheme.colormap()
    figure, axes = _grid(1 + len(maps), len(colours))
    _true_colour(axes[0], colours, titles)
    axes[0, 0].set_ylabel("True colour")
    for row, (name, found) in zip(axes[1:], maps.items(), strict=True):
        for ax, pixels in zip(row, found, strict=True):
            ax.set_facecolor(NODATA_COLOR)
            ax.imshow(np.ma.masked_greater_equal(pixels, len(scheme)), cmap=colors, norm=norm)
        row[0].set_ylabel(textwrap.fill(name, 18))
    handles = legend_handles(np.concatenate([found.ravel() for found in maps.values()]), scheme)
    columns = max(1, int(len(colours) * SIDE / 2.7))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(columns, len(handles)))
    return figure


@styled
def activations(
    colours: np.ndarray, maps: np.ndarray, shown: Sequence[Sequence[int]], names: Sequence[str]
) -> Figure:
    """Draw what each place of a patch adds to the logit of some of its labels.

    Args:
        colours: (N, H, W, 3) red, green and blue; all with the same limits.
        maps: Activation maps (N, H, W, K).
        shown: Class indices that are drawn of each patch, as many of each.
        names: Of the classes.
    """
    figure, axes = _grid(1 + len(shown[0]), len(colours))
    _true_colour(axes[0], colours, [""] * len(colours))
    axes[0, 0].set_ylabel("True colour")
    chosen = np.stack([maps[n][..., list(ks)] for n, ks in enumerate(shown)])
    top = float(np.nanpercentile(np.abs(chosen), 99)) or 1.0
    for column, classes in enumerate(shown):
        for row, k in enumerate(classes, start=1):
            ax = axes[row, column]
            drawn = ax.imshow(maps[column, ..., k], cmap="RdBu_r", vmin=-top, vmax=top)
            ax.set_title(textwrap.fill(short(names[k]), 26), fontsize=7, fontweight="normal")
    figure.colorbar(drawn, ax=axes[1:], shrink=0.8, pad=0.02, label="Added to the label's logit")
    return figure


def _grid(rows: int, columns: int) -> tuple[Figure, np.ndarray]:
    """Return a figure of patches without ticks."""
    figure, axes = plt.subplots(
        rows, columns, figsize=(columns * SIDE + 1.0, rows * SIDE + 1.6), squeeze=False
    )
    for ax in axes.ravel():
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    return figure, axes


def _true_colour(row: Sequence[Axes], colours: np.ndarray, titles: Sequence[str]) -> None:
    for ax, pixels, title in zip(row, stretched_alike(colours), titles, strict=True):
        ax.imshow(pixels)
        ax.set_title(textwrap.fill(title, 22), fontsize=7, fontweight="normal")
