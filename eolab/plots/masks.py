"""Patches with their masks: what was mapped, what a model says, and the channels that it reads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from eolab.plots.maps import robust_limits
from eolab.plots.style import OKABE_ITO, panels, styled

TRUTH, PREDICTED = OKABE_ITO[6], OKABE_ITO[4]  # yellow and light blue: both stand out on green and brown
WIDE = 10.5  # inches of a row of many patches: wider, its legend would be too small on a page
NAMES = {TRUTH: "Mapped landslide", PREDICTED: "Predicted landslide"}


@styled
def patches(
    colours: np.ndarray,
    truth: np.ndarray | None = None,
    prediction: np.ndarray | None = None,
    titles: Sequence[str] = (),
    columns: int = 4,
) -> Figure:
    """Draw patches in true colour with the outlines of mapped and predicted landslides.

    Each channel is stretched by the values of all patches drawn, so that patches can be compared.

    Args:
        colours: (N, H, W, 3) red, green and blue in any unit.
        truth: (N, H, W) masks, 1 = landslide.
        prediction: (N, H, W) masks likewise.
        titles: Title of each patch.
        columns: Patches in a row.
    """
    side = min(2.3, WIDE / columns)
    figure, axes = panels(len(colours), columns, side, side + 0.15)
    for number, (ax, pixels) in enumerate(zip(axes, stretched(colours), strict=True)):
        ax.imshow(pixels)
        for masks, color in ((truth, TRUTH), (prediction, PREDICTED)):
            if masks is not None:
                outline(ax, masks[number] == 1, color)
        _bare(ax, titles[number] if number < len(titles) else "")
    _key(figure, truth, prediction)
    return figure


@styled
def predictions(
    colours: np.ndarray, truth: np.ndarray, probability: np.ndarray, threshold: float, titles: Sequence[str]
) -> Figure:
    """Draw patches in two rows: true colour with both outlines, and the probability of a landslide below.

    Args:
        colours: (N, H, W, 3) red, green and blue.
        truth: (N, H, W) masks, 1 = landslide.
        probability: (N, H, W) from 0 to 1.
        threshold: Probability from which a pixel is predicted as landslide.
        titles: Title of each patch.
    """
    count = len(colours)
    figure, axes = panels(2 * count, count, 2.1, 2.3)
    for number, pixels in enumerate(stretched(colours)):
        upper, lower = axes[number], axes[count + number]
        upper.imshow(pixels)
        drawn = lower.imshow(probability[number].astype(np.float32), cmap="viridis", vmin=0, vmax=1)
        for ax in (upper, lower):
            outline(ax, truth[number] == 1, TRUTH)
        outline(upper, probability[number] >= threshold, PREDICTED)
        _bare(upper, titles[number])
        _bare(lower, "")
    figure.colorbar(drawn, ax=axes[count:], shrink=0.9, pad=0.01, label="Probability of a landslide")
    _key(figure, truth, probability)
    return figure


@styled
def channels(image: np.ndarray, names: Sequence[str], columns: int = 7) -> Figure:
    """Draw every channel of one patch in grey, each from its 2nd to its 98th percentile.

    Args:
        image: (H, W, C).
        names: Name of each channel.
        columns: Channels in a row.
    """
    figure, axes = panels(len(names), columns, 1.45, 1.65)
    for ax, values, name in zip(axes, np.moveaxis(image, -1, 0), names, strict=True):
        low, high = np.nanpercentile(values, (2, 98))
        ax.imshow(values, cmap="gray", vmin=low, vmax=high if high > low else float(values.max()) or 1.0)
        _bare(ax, "")
        ax.set_title(name.replace("_", " "), fontsize=8, fontweight="normal")
    return figure


def stretched(colours: np.ndarray) -> np.ndarray:
    """Return colours (..., 3) scaled to 0 to 1, each channel by robust limits over all pixels given."""
    limits = [robust_limits(colours[..., channel]) for channel in range(3)]
    low, high = np.array(limits, np.float32).T
    return np.clip((colours - low) / (high - low), 0, 1)


def outline(ax: Axes, mask: np.ndarray, color: str) -> None:
    """Draw the edge of a mask (H, W) along its pixels' borders, so that a single pixel is seen too."""
    padded = np.pad(np.asarray(mask, bool), 1).astype(np.int8)
    below, beside = (np.nonzero(np.diff(padded, axis=axis)) for axis in (0, 1))
    lines = [((col - 1.5, row - 0.5), (col - 0.5, row - 0.5)) for row, col in zip(*below, strict=True)]
    lines += [((col - 0.5, row - 1.5), (col - 0.5, row - 0.5)) for row, col in zip(*beside, strict=True)]
    ax.add_collection(LineCollection(lines, colors=color, linewidths=0.9, capstyle="projecting"))


def _bare(ax: Axes, title: str) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    ax.set_title(title, fontsize=8.5, fontweight="normal")


def _key(figure: Figure, truth: np.ndarray | None, prediction: np.ndarray | None) -> None:
    """Say which outline is which, and how large a patch is."""
    shown = [color for color, masks in ((TRUTH, truth), (PREDICTED, prediction)) if masks is not None]
    handles = [Line2D([], [], color=color, linewidth=2, label=NAMES[color]) for color in shown]
    if handles:
        legend = figure.legend(handles=handles, loc="outside lower center", ncols=2)
        legend.set_frame_on(True)
        legend.get_frame().set(facecolor="#8a8a80", edgecolor="none")
        for text in legend.get_texts():
            text.set_color("white")
