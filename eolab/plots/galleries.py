"""Patches: with masks, maps of classes, labels, predictions, and the channels that a network reads."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from eolab.data.schemes import ClassScheme
from eolab.plots.maps import NODATA_COLOR, TRUE_COLOUR, legend_handles, percentile_limits, stretched
from eolab.plots.style import OKABE_ITO, panels, roomy, short, styled

TRUTH, PREDICTED = OKABE_ITO[6], OKABE_ITO[4]  # yellow and light blue: both stand out on green and brown
WIDE = 10.5  # inches of a row of many patches: wider, its legend would be too small on a page
HIT, WRONG, MISSED = OKABE_ITO[2], OKABE_ITO[5], OKABE_ITO[1]  # green, vermilion, orange
SIDE = 1.75  # inches of a patch above its maps


@styled
def patches(
    rgb: np.ndarray,
    truth: np.ndarray | None = None,
    prediction: np.ndarray | None = None,
    titles: Sequence[str] = (),
    columns: int = 4,
    class_name: str = "",
    alike: bool = False,
) -> Figure:
    """Draw patches in true colour with the outlines of what is mapped and what is predicted.

    The channels are stretched by the values of all patches drawn, so that patches can be compared.

    Args:
        rgb: (N, H, W, 3) red, green and blue in any unit; NaN is drawn grey.
        truth: (N, H, W) masks, 1 = the class.
        prediction: (N, H, W) masks, 1 = the class.
        titles: Title of each patch.
        columns: Patches in a row.
        class_name: Name of the class.
        alike: Whether all channels have the same limits; otherwise each channel has its own.
    """
    side = min(2.3, WIDE / columns)
    figure, axes = _pictures(len(rgb), columns, side, side + 0.15)
    for number, (ax, pixels) in enumerate(zip(axes, stretched(rgb, alike), strict=True)):
        ax.imshow(pixels)
        for masks, color in ((truth, TRUTH), (prediction, PREDICTED)):
            if masks is not None:
                outline(ax, masks[number] == 1, color)
        _entitle(ax, titles[number] if number < len(titles) else "")
    _key(figure, truth, prediction, class_name)
    return figure


@styled
def predictions(
    rgb: np.ndarray,
    truth: np.ndarray,
    probability: np.ndarray,
    threshold: float,
    titles: Sequence[str],
    class_name: str = "the class",
) -> Figure:
    """Draw patches in two rows: true colour with both outlines, and the probability of a class below.

    Args:
        rgb: (N, H, W, 3) red, green and blue.
        truth: (N, H, W) masks, 1 = the class.
        probability: (N, H, W) from 0 to 1.
        threshold: Probability from which a pixel is predicted as the class.
        titles: Title of each patch.
        class_name: Name of the class.
    """
    count = len(rgb)
    figure, axes = _pictures(2 * count, count, 2.1, 2.3)
    for number, pixels in enumerate(stretched(rgb)):
        upper, lower = axes[number], axes[count + number]
        upper.imshow(pixels)
        drawn = lower.imshow(probability[number].astype(np.float32), cmap="viridis", vmin=0, vmax=1)
        for ax in (upper, lower):
            outline(ax, truth[number] == 1, TRUTH)
        outline(upper, probability[number] >= threshold, PREDICTED)
        _entitle(upper, titles[number])
    figure.colorbar(drawn, ax=axes[count:], shrink=0.9, pad=0.01, label=f"Probability of {class_name}")
    _key(figure, truth, probability, class_name)
    return figure


@styled
def channels(image: np.ndarray, names: Sequence[str], columns: int = 7) -> Figure:
    """Draw every channel of one patch in grey, each from its 2nd to its 98th percentile.

    Args:
        image: (H, W, C).
        names: Name of each channel.
        columns: Channels in a row.
    """
    figure, axes = _pictures(len(names), columns, 1.45, 1.65)
    for ax, values, name in zip(axes, np.moveaxis(image, -1, 0), names, strict=True):
        low, high = np.nanpercentile(values, (2, 98))
        ax.imshow(values, cmap="gray", vmin=low, vmax=high if high > low else float(values.max()) or 1.0)
        _entitle(ax, name.replace("_", " "), 8)
    return figure


def true_colour(
    images: np.ndarray, bands: Sequence[str], rgb_bands: Sequence[str] = TRUE_COLOUR
) -> np.ndarray:
    """Return red, green and blue (..., 3) of images (..., C) with these bands."""
    return images[..., [list(bands).index(band) for band in rgb_bands]]


def outline(ax: Axes, mask: np.ndarray, color: str) -> None:
    """Draw the edge of a mask (H, W) along its pixels' borders, so that a single pixel is seen too."""
    padded = np.pad(np.asarray(mask, bool), 1).astype(np.int8)
    below, beside = (np.nonzero(np.diff(padded, axis=axis)) for axis in (0, 1))
    lines = [((col - 1.5, row - 0.5), (col - 0.5, row - 0.5)) for row, col in zip(*below, strict=True)]
    lines += [((col - 0.5, row - 1.5), (col - 0.5, row - 0.5)) for row, col in zip(*beside, strict=True)]
    ax.add_collection(LineCollection(lines, colors=color, linewidths=0.9, capstyle="projecting"))


def _pictures(
    count: int, columns: int, width: float, height: float, ratios: Sequence[float] | None = None
) -> tuple[Figure, list[Axes]]:
    """Return a figure with places for pictures of a size in inches, without ticks and frames."""
    figure, axes = panels(count, columns, width, height, height_ratios=ratios)
    for ax in axes:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    return figure, axes


def _entitle(ax: Axes, title: str, size: float = 8.5) -> None:
    ax.set_title(title, fontsize=size, fontweight="normal")


def _key(figure: Figure, truth: np.ndarray | None, prediction: np.ndarray | None, class_name: str) -> None:
    """Say which outline is which, and how large a patch is."""
    handles = [
        Line2D([], [], color=color, linewidth=2, label=f"{name} {class_name}".strip())
        for masks, color, name in ((truth, TRUTH, "Mapped"), (prediction, PREDICTED, "Predicted"))
        if masks is not None
    ]
    if handles:
        frame = {"frameon": True, "facecolor": "#8a8a80", "edgecolor": "none", "labelcolor": "white"}
        figure.legend(handles=handles, loc="outside lower center", ncols=2, **frame)


# === Maps of patches ===


@styled
def patch_maps(
    rgb: np.ndarray, maps: Mapping[str, np.ndarray], scheme: ClassScheme, titles: Sequence[str]
) -> Figure:
    """Draw patches in true colour above maps of their classes, with one legend.

    Args:
        rgb: (N, H, W, 3) red, green and blue; all with the same limits.
        maps: Class indices (N, H, W) by what they are; 255 is drawn grey.
        scheme: The classes.
        titles: Titles of the patches.
    """
    colors, norm = scheme.colormap()
    known = {name: np.ma.masked_greater_equal(found, len(scheme)) for name, found in maps.items()}
    figure, _ = _maps_below(rgb, known, titles, cmap=colors, norm=norm)
    handles = legend_handles(np.concatenate([found.ravel() for found in maps.values()]), scheme)
    columns = max(1, int(len(rgb) * SIDE / 2.7))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(columns, len(handles)))
    return figure


@styled
def value_maps(
    rgb: np.ndarray,
    maps: Mapping[str, np.ndarray],
    label: str,
    titles: Sequence[str],
    limits: tuple[float, float] | None = None,
) -> Figure:
    """Draw patches in true colour above maps of a quantity, such as "Measured" and "Predicted".

    Args:
        rgb: (N, H, W, 3) red, green and blue; all with the same limits.
        maps: Values (N, H, W) by what they are; NaN is drawn grey.
        label: The quantity, with its unit.
        titles: Titles of the patches.
        limits: Ends of the colour bar; the 2nd and the 98th percentile of all values without them.
    """
    known = {name: np.ma.masked_invalid(found) for name, found in maps.items()}
    low, high = limits or percentile_limits(np.concatenate([np.ravel(found) for found in maps.values()]))
    figure, axes = _maps_below(rgb, known, titles, cmap="viridis", vmin=low, vmax=high)
    figure.colorbar(axes[1, 0].images[0], ax=axes[1:], shrink=0.8, pad=0.02, label=label)
    return figure


@styled
def map_gallery(
    maps: Mapping[str, np.ndarray],
    label: str,
    limits: tuple[float, float] = (0.0, 1.0),
    columns: int = 5,
    within: SubFigure | None = None,
) -> Figure:
    """Draw maps of one quantity, all at one scale and with one colour bar.

    Args:
        maps: Values (H, W) by title, of any size; NaN is drawn grey.
        label: The quantity, with its unit.
        limits: Ends of the colour bar.
        columns: Maps in a row.
        within: Part of a figure to draw in; a new figure without it.
    """
    columns = min(columns, len(maps))
    height, width = (max(found.shape[axis] for found in maps.values()) for axis in (0, 1))
    rows = -(-len(maps) // columns)
    figure = within or plt.figure(figsize=(1.9 * columns + 0.8, rows * (1.9 * height / width + 0.35)))
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.ravel()[len(maps) :]:
        ax.set_visible(False)
    for ax, (title, found) in zip(axes.ravel(), maps.items(), strict=False):
        ax.set(xticks=[], yticks=[], facecolor=NODATA_COLOR)
        drawn = ax.imshow(np.ma.masked_invalid(found), cmap="viridis", vmin=limits[0], vmax=limits[1])
        ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
        ax.spines[:].set_visible(False)
        _entitle(ax, title)
    figure.colorbar(drawn, ax=axes, shrink=0.9, fraction=0.08, label=label)
    return drawn.figure if within is None else within.figure


def _maps_below(
    rgb: np.ndarray, maps: Mapping[str, Any], titles: Sequence[str], **drawing: Any
) -> tuple[Figure, np.ndarray]:
    """Return a figure of patches in true colour above a row of each map, masked values grey, and its axes."""
    figure, axes = _below_true_colour(len(maps), rgb, titles)
    for row, (name, found) in zip(axes[1:], maps.items(), strict=True):
        for ax, pixels in zip(row, found, strict=True):
            ax.set_facecolor(NODATA_COLOR)
            ax.imshow(pixels, **drawing)
        row[0].set_ylabel(textwrap.fill(name, 18))
    return figure, axes


@styled
def activations(
    rgb: np.ndarray, maps: np.ndarray, shown: Sequence[Sequence[int]], names: Sequence[str]
) -> Figure:
    """Draw what each place of a patch adds to the logit of some of its labels.

    Args:
        rgb: (N, H, W, 3) red, green and blue; all with the same limits.
        maps: Activation maps (N, H, W, K).
        shown: Class indices that are drawn of each patch, as many of each.
        names: Names of the classes.
    """
    figure, axes = _below_true_colour(len(shown[0]), rgb, [""] * len(rgb))
    chosen = np.stack([maps[n][..., list(ks)] for n, ks in enumerate(shown)])
    top = float(np.nanpercentile(np.abs(chosen), 99)) or 1.0
    for column, classes in enumerate(shown):
        for row, k in enumerate(classes, start=1):
            ax = axes[row, column]
            drawn = ax.imshow(maps[column, ..., k], cmap="RdBu_r", vmin=-top, vmax=top)
            _entitle(ax, textwrap.fill(short(names[k]), 26), 7)
    figure.colorbar(drawn, ax=axes[1:], shrink=0.8, pad=0.02, label="Added to the label's logit")
    return figure


def _below_true_colour(rows: int, rgb: np.ndarray, titles: Sequence[str]) -> tuple[Figure, np.ndarray]:
    """Return a figure of patches in true colour above rows of places for maps, and all its axes by row."""
    columns = len(rgb)
    figure, places = _pictures((1 + rows) * columns, columns, SIDE + 1.0 / columns, SIDE + 1.6 / (1 + rows))
    axes = np.array(places).reshape(1 + rows, columns)
    for ax, pixels, title in zip(axes[0], stretched(rgb, alike=True), titles, strict=True):
        ax.imshow(pixels)
        _entitle(ax, textwrap.fill(title, 22), 7)
    axes[0, 0].set_ylabel("True colour")
    return figure, axes


# === Labels of patches ===


@styled
def patch_gallery(
    rgb: np.ndarray, labels: Sequence[Sequence[str]], radar: np.ndarray | None = None, columns: int = 4
) -> Figure:
    """Draw patches in true colour with their labels, and their radar image beside.

    Args:
        rgb: (N, H, W, 3) red, green and blue; all with the same limits.
        labels: Names of the classes of each patch.
        radar: (N, H, W, 2) VV and VH in dB: drawn as red VV, green VH, blue VV − VH.
        columns: Patches in a row.
    """
    pictures = stretched(rgb, alike=True)
    if radar is not None:
        gap = np.ones((*pictures.shape[:2], 2, 3), np.float32)  # white, 2 pixels wide
        pictures = np.concatenate([pictures, gap, _radar_colours(radar)], axis=2)
    texts = [_listed([(name, "black") for name in one]) for one in labels]
    return _captioned(pictures, texts, columns)[0]


@styled
def prediction_gallery(
    rgb: np.ndarray,
    truth: np.ndarray,
    probability: np.ndarray,
    threshold: Any,
    names: Sequence[str],
    titles: Sequence[str],
    columns: int = 4,
) -> Figure:
    """Draw patches with the labels that are right, predicted wrongly, and missed, and their probabilities.

    Args:
        rgb: (N, H, W, 3) red, green and blue; all with the same limits.
        truth: 0 or 1 (N, K).
        probability: (N, K).
        threshold: One, or one a class (K,).
        names: Names of the classes.
        titles: Titles of the patches.
        columns: Patches in a row.
    """
    texts = [_prediction_lines(*one, threshold, names) for one in zip(truth, probability, strict=True)]
    figure, axes = _captioned(stretched(rgb, alike=True), texts, columns)
    for ax, title in zip(axes, titles, strict=True):
        _entitle(ax, textwrap.fill(title, 40), 7.5)
    kinds = ((HIT, "+ right"), (WRONG, "× predicted, not present"), (MISSED, "− present, not predicted"))
    handles = [Patch(color=color, label=text) for color, text in kinds]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


Lines = list[tuple[str, str]]


def _prediction_lines(
    truth: np.ndarray, probability: np.ndarray, threshold: Any, names: Sequence[str]
) -> Lines:
    """Return lines of text with their colours: true labels first, each by probability."""
    true, said = np.asarray(truth) == 1, probability >= np.asarray(threshold)
    order = sorted(np.flatnonzero(true | said).tolist(), key=lambda k: (not true[k], -probability[k]))
    lines: Lines = []
    for k in order:
        mark, color = ("+", HIT) if true[k] and said[k] else ("−", MISSED) if true[k] else ("×", WRONG)
        lines.append((f"{mark} {names[k]} {probability[k]:.2f}", color))
    return _listed(lines)


def _listed(lines: Lines) -> Lines:
    """Return lines broken to the width of a patch."""
    return [
        (part, color) for text, color in lines for part in textwrap.wrap(text, 34, subsequent_indent="   ")
    ]


def _captioned(pictures: np.ndarray, texts: Sequence[Lines], columns: int) -> tuple[Figure, list[Axes]]:
    """Return a figure of pictures (N, H, W, 3) with lines of text below each."""
    shape = pictures.shape[2] / pictures.shape[1]
    side = 2.1 if shape < 1.5 else 1.5  # a pair of pictures is smaller, for the text below it to be legible
    width = 0.3 + side * shape
    columns = min(columns, len(texts), max(1, int(WIDE / width)))
    rows = range(0, len(texts), columns)
    heights = [side + 0.35 + 0.135 * max(len(one) for one in texts[row : row + columns]) for row in rows]
    figure, axes = _pictures(len(texts), columns, width, sum(heights) / len(rows) + 0.15, heights)
    roomy(figure, 0.1)
    below: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "top"}
    for ax, pixels, lines in zip(axes, pictures, texts, strict=True):
        ax.imshow(pixels)
        ax.set_anchor("N")  # what is free in its place is for the text
        for number, (line, color) in enumerate(lines):
            ax.annotate(line, (0, 0), (0, -3 - 9.7 * number), fontsize=7.5, color=color, **below)
    return figure, axes


def _radar_colours(radar: np.ndarray) -> np.ndarray:
    """Return VV, VH and their difference in dB as red, green and blue."""
    vv, vh = np.moveaxis(np.asarray(radar, np.float32), -1, 0)
    parts = [(vv + 20) / 20, (vh + 27) / 20, (vv - vh - 2) / 12]
    return np.clip(np.stack(parts, axis=-1), 0, 1)
