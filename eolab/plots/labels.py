"""Patches with several labels: how frequent classes are, which meet and are confused, galleries."""

from __future__ import annotations

import calendar
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import NullFormatter

from eolab.data.bands import SENTINEL2
from eolab.plots.maps import stretched_alike
from eolab.plots.style import GREY, OKABE_ITO, axes_of, figure_of, short, styled

HIT, WRONG, MISSED = OKABE_ITO[2], OKABE_ITO[5], OKABE_ITO[1]  # green, vermilion, orange
SEASONS = {"clear": OKABE_ITO[2], "snow": OKABE_ITO[4], "cloud": GREY}


# === How often classes occur ===


@styled
def class_frequencies(table: pd.DataFrame, published: str = "published", title: str = "") -> Figure:
    """Draw the share of patches that hold each class, on a logarithmic axis, beside published shares.

    Args:
        table: class, patches, share, and where known the published share, NaN for none; result of
            :func:`eolab.studies.scenes.explore.beside_published`.
        published: Column of the published share.
        title: Title of the picture.
    """
    ax = axes_of(None, 7.6, 1.3 + 0.2 * len(table))
    at = np.arange(len(table))
    ax.barh(at, 100 * table["share"], 0.72, color=OKABE_ITO[0], label="Here")
    if published in table and table[published].notna().any():
        ax.plot(
            100 * table[published], at, "D", color=OKABE_ITO[1], markersize=4.5, label="Published, version 1"
        )
    shown = [
        f"{short(name)} ({count:,})" for name, count in zip(table["class"], table["patches"], strict=True)
    ]
    ax.set_yticks(at, shown, fontsize=7.5)
    values = table[[c for c in ("share", published) if c in table]].to_numpy(float)
    least = np.nanmin(np.where(values > 0, values, np.nan))
    ax.set(xscale="log", xlim=(100 * least / 2, 100), ylim=(len(table) - 0.4, -0.6), title=title)
    ax.set(xlabel="Patches that hold the class (%)", ylabel="Class (patches here)")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.grid(True, axis="x")
    ax.legend(loc="lower right")
    return figure_of(ax)


@styled
def split_frequencies(table: pd.DataFrame, splits: Mapping[str, int], title: str = "") -> Figure:
    """Draw the share of the patches of each split that hold each class.

    Args:
        table: class, and the patches that hold it in a column by split; result of
            :func:`eolab.studies.scenes.class_frequencies`.
        splits: Patches of each split.
        title: Title of the picture.
    """
    ax = axes_of(None, 7.6, 1.3 + 0.3 * len(table))
    height = 0.8 / len(splits)
    for number, (split, count) in enumerate(splits.items()):
        at = np.arange(len(table)) + (number - (len(splits) - 1) / 2) * height
        share = 100 * table[split] / max(count, 1)
        ax.barh(at, share, 0.9 * height, color=OKABE_ITO[number], label=f"{split} ({count:,} patches)")
    ax.set_yticks(range(len(table)), [short(name) for name in table["class"]], fontsize=8)
    ax.set(ylim=(len(table) - 0.4, -0.6), xlabel="Patches that hold the class (%)", title=title)
    ax.grid(True, axis="x")
    ax.legend(loc="lower right")
    return figure_of(ax)


@styled
def labels_per_patch(counts: Mapping[str, Any], title: str = "") -> Figure:
    """Draw how many labels patches have.

    Args:
        counts: Number of labels of each patch (N,) by what the labels are of.
        title: Title of the picture.
    """
    ax = axes_of(None, 6.4, 3.4)
    width = 0.84 / len(counts)
    most = max(int(np.max(values)) for values in counts.values())
    for number, (name, values) in enumerate(counts.items()):
        found = np.bincount(np.asarray(values, int), minlength=most + 1)
        at = np.arange(most + 1) + (number - (len(counts) - 1) / 2) * width
        text = f"{name}: {np.mean(values):.2f} on average"
        ax.bar(at, 100 * found / found.sum(), width, color=OKABE_ITO[number], label=text)
    ax.set(xlabel="Labels of a patch", ylabel="Patches (%)", title=title)
    ax.set_xticks(range(most + 1))
    ax.grid(True, axis="y")
    ax.legend(loc="upper right")
    return figure_of(ax)


@styled
def seasons(table: pd.DataFrame, title: str = "") -> Figure:
    """Draw patches by month, those under snow and clouds apart.

    Args:
        table: month, clear, snow, cloud; result of :func:`eolab.studies.scenes.explore.seasons`.
        title: Title of the picture.
    """
    ax = axes_of(None, 6.4, 3.2)
    bottom = np.zeros(len(table))
    for name, text in (("clear", "Clear"), ("snow", "Seasonal snow"), ("cloud", "Clouds or shadows")):
        ax.bar(
            table["month"],
            table[name],
            0.8,
            bottom,
            color=SEASONS[name],
            label=f"{text} ({table[name].sum():,})",
        )
        bottom += table[name].to_numpy(float)
    ax.set_xticks(range(1, 13), calendar.month_abbr[1:])
    ax.set(xlabel="Month of the acquisition", ylabel="Patches", title=title)
    ax.grid(True, axis="y")
    ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0))
    return figure_of(ax)


@styled
def class_spectra(table: pd.DataFrame, title: str = "") -> Figure:
    """Draw mean spectra with one standard deviation of the patches around them.

    Args:
        table: class, band, mean, std, patches; result of :func:`eolab.studies.scenes.explore.spectra`.
        title: Title of the picture.
    """
    ax = axes_of(None, 7.4, 4.0)
    bands = list(dict.fromkeys(table["band"]))
    at = [SENTINEL2[band].center_nm for band in bands]
    markers = "osD^v<>P"
    for number, (name, rows) in enumerate(table.groupby("class", sort=False)):
        color = OKABE_ITO[number % len(OKABE_ITO)]
        low, high = (rows["mean"] + sign * rows["std"] for sign in (-1, 1))
        ax.fill_between(at, low, high, color=color, alpha=0.12, linewidth=0)
        text = f"{short(str(name))} ({int(rows['patches'].iloc[0])})"
        ax.plot(
            at, rows["mean"], color=color, marker=markers[number % len(markers)], markersize=4, label=text
        )
    ax.set(xlabel="Wavelength (nm)", ylabel="Digital number (10,000 = reflectance 1)", title=title)
    ax.set_ylim(bottom=0)
    ax.grid(True)
    ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), title="Class (patches)")
    return figure_of(ax)


# === Which classes meet and are confused ===


@styled
def label_matrix(
    table: pd.DataFrame,
    label: str = "Patches of the row's class that also hold the column's (%)",
    row: str = "Class",
    column: str = "Class",
    title: str = "",
) -> Figure:
    """Draw a matrix of shares between classes; rows that are not known are left out, their columns stay.

    Args:
        table: (K, K) shares, 0 to 1; result of :func:`eolab.evaluation.co_occurrence` or of
            :func:`eolab.evaluation.label_confusion`.
        label: What the colours mean.
        row: What the rows are.
        column: What the columns are.
        title: Title of the picture.
    """
    rows = table[table.notna().any(axis=1)]
    shown = 100 * rows.to_numpy(float)
    for k, name in enumerate(rows.index):
        shown[k, list(table.columns).index(name)] = np.nan  # a class with itself says nothing
    height, width = shown.shape
    figure, ax = plt.subplots(figsize=(4.4 + 0.24 * width, max(4.8, 3.4 + 0.21 * height)))
    top = max(float(np.nanmax(shown)), 1.0) if np.isfinite(shown).any() else 1.0
    colors = plt.get_cmap("Blues").with_extremes(bad="#dddddd")
    drawn = ax.imshow(shown, cmap=colors, vmin=0, vmax=top, aspect="auto")
    for at in np.argwhere(shown >= 1) if width <= 24 else []:
        value = shown[tuple(at)]
        color = "white" if value > 0.55 * top else "black"
        ax.text(at[1], at[0], f"{value:.0f}", ha="center", va="center", color=color, fontsize=7)
    ax.set_xticks(range(width), [short(n) for n in table.columns], rotation=60, ha="right", fontsize=7.5)
    for tick in ax.get_xticklabels():
        tick.set_rotation_mode("anchor")
    ax.set_yticks(range(height), [short(n) for n in rows.index], fontsize=7.5)
    ax.set(xlabel=column, ylabel=row, title=title)
    ax.spines[:].set_visible(False)
    figure.colorbar(drawn, ax=ax, shrink=0.8, pad=0.02, label=textwrap.fill(label, 44))
    return figure


@styled
def label_calibration(tables: Mapping[str, pd.DataFrame], title: str = "") -> Figure:
    """Draw how often a label is there by its predicted probability, and how often each occurs.

    Args:
        tables: By name: a row a bin with probability (mean predicted), frequency and share; results of
            :func:`eolab.evaluation.postprocess.calibration_table`.
        title: Title of the picture.
    """
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(6.2, 5.2), sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], "--", color=GREY, label="Probability = frequency")
    for number, (name, table) in enumerate(tables.items()):
        marker = "osD^v"[number % 5] + "-"
        upper.plot(table["probability"], table["frequency"], marker, color=OKABE_ITO[number], label=name)
        lower.plot(table["probability"], 100 * table["share"], marker, color=OKABE_ITO[number])
    upper.set(ylim=(0, 1.02), ylabel="Share of patches with the label", title=title)
    lower.set(xlim=(0, 1), yscale="log", xlabel="Predicted probability of a label", ylabel="Labels (%)")
    upper.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0))
    lower.yaxis.set_major_formatter("{x:g}")
    lower.yaxis.set_minor_formatter(NullFormatter())
    for ax in (upper, lower):
        ax.grid(True)
    return figure


# === Patches ===


@styled
def patch_gallery(
    colours: np.ndarray, labels: Sequence[Sequence[str]], radar: np.ndarray | None = None, columns: int = 4
) -> Figure:
    """Draw patches in true colour with their labels, and their radar image beside.

    Args:
        colours: (N, H, W, 3) red, green and blue; all with the same limits.
        labels: Names of the classes of each patch.
        radar: (N, H, W, 2) VV and VH in dB: drawn as red VV, green VH, blue VV − VH.
        columns: Patches in a row.
    """
    lines = _row_lines([_listed([(name, "") for name in one]) for one in labels], columns)
    figure, pairs = _grid(len(colours), columns, 1 if radar is None else 2, lines)
    shown = stretched_alike(colours)
    false = None if radar is None else _radar_colours(radar)
    for number, axes in enumerate(pairs):
        axes[0].imshow(shown[number])
        if false is not None:
            axes[1].imshow(false[number])
        _write(axes[0], _listed([(name, "") for name in labels[number]]))
    return figure


@styled
def answered_gallery(
    colours: np.ndarray,
    truth: np.ndarray,
    probability: np.ndarray,
    threshold: Any,
    names: Sequence[str],
    titles: Sequence[str],
    columns: int = 4,
) -> Figure:
    """Draw patches with the labels that are right, said wrongly, and missed, and their probabilities.

    Args:
        colours: (N, H, W, 3) red, green and blue; all with the same limits.
        truth: 0 or 1 (N, K).
        probability: (N, K).
        threshold: One, or one a class (K,).
        names: Of the classes.
        titles: Of the patches.
        columns: Patches in a row.
    """
    texts = [_answers(*one, threshold, names) for one in zip(truth, probability, strict=True)]
    figure, pairs = _grid(len(colours), columns, 1, _row_lines(texts, columns), titled=True)
    for ax, pixels, lines, title in zip(
        [p[0] for p in pairs], stretched_alike(colours), texts, titles, strict=True
    ):
        ax.imshow(pixels)
        ax.set_title(textwrap.fill(title, 40), fontsize=6.5, fontweight="normal")
        _write(ax, lines)
    kinds = ((HIT, "+ right"), (WRONG, "× said, not there"), (MISSED, "− there, not said"))
    figure.legend(
        handles=[Patch(color=color, label=text) for color, text in kinds], loc="lower center", ncols=3
    )
    return figure


Lines = list[tuple[str, str]]


def _answers(truth: np.ndarray, probability: np.ndarray, threshold: Any, names: Sequence[str]) -> Lines:
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
        (part, color or "black")
        for text, color in lines
        for part in textwrap.wrap(text, 34, subsequent_indent="   ")
    ]


def _row_lines(texts: Sequence[Lines], columns: int) -> list[int]:
    """Return the most lines of text below the patches of each row."""
    return [max(len(one) for one in texts[k : k + columns]) for k in range(0, len(texts), columns)]


def _grid(
    count: int, columns: int, beside: int, lines: Sequence[int], titled: bool = False
) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure with axes for patches, `beside` of them a patch, and room for lines of text below."""
    columns = min(columns, count)
    side, line, gap = 2.1, 0.135, 0.3
    heights = [side + 0.12 + line * number + (0.24 if titled else 0.06) for number in lines]
    height, width = sum(heights) + (0.4 if titled else 0.05), columns * (beside * side + gap)
    figure = plt.figure(figsize=(width, height), layout="none")
    pairs = []
    for number in range(count):
        row, column = divmod(number, columns)
        top = height - sum(heights[:row]) - (0.24 if titled else 0.06)
        left = column * (beside * side + gap) + gap / 2
        boxes = [
            ((left + k * side) / width, (top - side) / height, 0.98 * side / width, side / height)
            for k in range(beside)
        ]
        pairs.append([figure.add_axes(box) for box in boxes])
        for ax in pairs[-1]:
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
    return figure, pairs


def _write(ax: Axes, lines: Lines) -> None:
    """Write lines below a picture."""
    for number, (text, color) in enumerate(lines):
        ax.annotate(
            text,
            (0, 0),
            (0, -3 - 9.7 * number),
            xycoords="axes fraction",
            textcoords="offset points",
            va="top",
            fontsize=7.5,
            color=color,
        )


def _radar_colours(radar: np.ndarray) -> np.ndarray:
    """Return VV, VH and their difference in dB as red, green and blue."""
    vv, vh = np.moveaxis(np.asarray(radar, np.float32), -1, 0)
    parts = [(vv + 20) / 20, (vh + 27) / 20, (vv - vh - 2) / 12]
    return np.clip(np.stack(parts, axis=-1), 0, 1)
