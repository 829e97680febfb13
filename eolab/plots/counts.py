"""What a data set holds: how often classes and files occur, their sizes, seasons and spectra."""

import calendar
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from eolab.data.bands import SENTINEL2
from eolab.plots.style import GREY, OKABE_ITO, axes_of, finish, name_rows, panels, short, side_by_side, styled

SEASONS = {
    "clear": ("Clear", OKABE_ITO[2]),
    "snow": ("Seasonal snow", OKABE_ITO[4]),
    "cloud": ("Clouds or shadows", GREY),
}


@styled
def rejected(reasons: pd.DataFrame, title: str = "") -> Figure:
    """Draw how many files are left out for which reason.

    Args:
        reasons: Result of :meth:`eolab.data.catalog.CheckReport.reasons`: reason, files.
        title: Title of the picture.
    """
    names = [textwrap.fill(str(reason), 46) for reason in reasons["reason"]]
    ax = axes_of(None, 7.6, 1.1 + 0.42 * max(len(names), 1))
    bars = ax.barh(range(len(names)), reasons["files"], 0.7, color=OKABE_ITO[0])
    ax.bar_label(bars, fmt="{:,.0f}", padding=4, fontsize=8)
    name_rows(ax, names)
    text = f"Files and entries left out ({int(reasons['files'].sum()):,} in all)"
    most = 1.14 * max(float(reasons["files"].max()), 1.0) if names else 1
    return finish(ax, "x", xlabel=text, xlim=(0, most), title=title)


@styled
def class_frequencies(table: pd.DataFrame, published: str = "published", title: str = "") -> Figure:
    """Draw the share of patches that hold each class, on a logarithmic axis, beside published shares.

    Args:
        table: class, patches, share, and where known the published share, NaN where it is not
            known.
        published: Column of the published share.
        title: Title of the picture.
    """
    ax = axes_of(None, 7.6, 1.3 + 0.2 * len(table))
    at = np.arange(len(table))
    ax.barh(at, 100 * table["share"], 0.72, color=OKABE_ITO[0], label="Here")
    if published in table and table[published].notna().any():
        ax.plot(100 * table[published], at, "D", color=OKABE_ITO[1], markersize=4.5, label="Published")
    name_rows(ax, table["class"].map(short) + table["patches"].map(" ({:,})".format), 7.5)
    values = table[[c for c in ("share", published) if c in table]].to_numpy(float)
    least = np.nanmin(np.where(values > 0, values, np.nan))
    ax.set(xscale="log", xlim=(100 * least / 2, 100), ylabel="Class (patches here)")
    ax.xaxis.set_major_formatter("{x:g}")
    return finish(ax, "x", "lower right", xlabel="Patches that hold the class (%)", title=title)


@styled
def split_frequencies(table: pd.DataFrame, splits: Mapping[str, int], title: str = "") -> Figure:
    """Draw the share of the patches of each split that hold each class.

    Args:
        table: class, and the patches that hold it in a column by split.
        splits: Patches of each split; one without a column is left out.
        title: Title of the picture.
    """
    ax = axes_of(None, 7.6, 1.3 + 0.3 * len(table))
    for split, shift, height, color in side_by_side([name for name in splits if name in table]):
        share, text = 100 * table[split] / max(splits[split], 1), f"{split} ({splits[split]:,} patches)"
        ax.barh(np.arange(len(table)) + shift, share, 0.9 * height, color=color, label=text)
    name_rows(ax, [short(name) for name in table["class"]], 8)
    return finish(ax, "x", "lower right", xlabel="Patches that hold the class (%)", title=title)


@styled
def labels_per_patch(counts: Mapping[str, Any], title: str = "") -> Figure:
    """Draw how many labels patches have.

    Args:
        counts: Number of labels of each patch (N,) by what the labels are of.
        title: Title of the picture.
    """
    ax = axes_of(None, 6.4, 3.4)
    most = max(int(np.max(values)) for values in counts.values())
    for name, shift, width, color in side_by_side(list(counts), 0.84):
        found = np.bincount(np.asarray(counts[name], int), minlength=most + 1)
        text = f"{name}: {np.mean(counts[name]):.2f} on average"
        ax.bar(np.arange(most + 1) + shift, 100 * found / found.sum(), width, color=color, label=text)
    ax.set_xticks(range(most + 1))
    return finish(ax, "y", "upper right", xlabel="Labels of a patch", ylabel="Patches (%)", title=title)


@styled
def seasons(table: pd.DataFrame, title: str = "") -> Figure:
    """Draw patches by month, those under snow and clouds apart.

    Args:
        table: month, clear, snow, cloud.
        title: Title of the picture.
    """
    ax = axes_of(None, 6.4, 3.2)
    bottom = np.zeros(len(table))
    for name, (text, color) in SEASONS.items():
        label = f"{text} ({table[name].sum():,})"
        ax.bar(table["month"], table[name], 0.8, bottom, color=color, label=label)
        bottom += table[name].to_numpy(float)
    ax.set_xticks(range(1, 13), calendar.month_abbr[1:])
    return finish(ax, "y", "beside", xlabel="Month of the acquisition", ylabel="Patches", title=title)


@styled
def class_spectra(table: pd.DataFrame, title: str = "") -> Figure:
    """Draw mean spectra with one standard deviation of the patches around them.

    Args:
        table: class, band, mean, std, patches.
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
        mark = f"{markers[number % len(markers)]}-"
        ax.plot(at, rows["mean"], mark, color=color, markersize=4, label=text)
    ax.set_ylim(bottom=0)
    ax.set(xlabel="Wavelength (nm)", ylabel="Digital number (10,000 = reflectance 1)", title=title)
    return finish(ax, "both", "beside", heading="Class (patches)")


@styled
def size_histograms(
    shares: np.ndarray, pixels: np.ndarray, class_name: str, pixel_area_m2: float = 100.0
) -> Figure:
    """Draw how much of a patch a class covers, and how large its connected areas are.

    Args:
        shares: Share of the class in each patch that has any of it, 0 to 1.
        pixels: Size of each connected area in pixels.
        class_name: Name of the class, as in a sentence.
        pixel_area_m2: Area of a pixel.
    """
    figure, (left, right) = panels(2, 2, 4.0, 3.2)
    left.hist(100 * np.asarray(shares), bins=np.geomspace(0.005, 100, 30).tolist(), color=OKABE_ITO[0])
    left.set(xlabel=f"Pixels of class {class_name} in a patch (%)", ylabel=f"Patches with {class_name}")
    edges = np.unique(np.geomspace(1, max(int(np.max(pixels, initial=0)), 2) + 1, 30).round())
    right.hist(pixels, bins=edges.tolist(), color=OKABE_ITO[1])
    right.set(xlabel=f"Size in pixels of {pixel_area_m2:g} m²", ylabel=f"Connected areas of {class_name}")
    for ax in (left, right):
        finish(ax, "y", xscale="log")
        ax.xaxis.set_major_formatter("{x:g}")
    return figure


@styled
def distributions(table: pd.DataFrame, columns: int = 6, title: str = "") -> Figure:
    """Draw the spread of features in each class: a line from the 5th to the 95th percentile, a box within.

    Args:
        table: A row a feature and class: ``feature``, ``class``, ``q05``, ``q25``, ``q50``, ``q75``, ``q95``.
        columns: Features in a row.
        title: Title of the picture.
    """
    names = list(dict.fromkeys(table["feature"]))
    classes = list(dict.fromkeys(table["class"]))
    figure, axes = panels(len(names), columns, 1.55, 1.9)
    for ax, name in zip(axes, names, strict=True):
        for at, kind in enumerate(classes):
            row = table[(table["feature"] == name) & (table["class"] == kind)].iloc[0]
            color = OKABE_ITO[at]
            ax.plot([at, at], [row["q05"], row["q95"]], color=color, linewidth=1.2)
            ax.plot([at, at], [row["q25"], row["q75"]], color=color, linewidth=7, solid_capstyle="butt")
            ax.plot(at, row["q50"], "_", color="white", markersize=8)
        ax.set_title(str(name).replace("_", " "), fontsize=8, fontweight="normal")
        ax.set_xticks([])
        ax.set_xlim(-0.6, len(classes) - 0.4)
        ax.tick_params(axis="y", labelsize=7.5)
    handles = [Line2D([], [], color=OKABE_ITO[n], linewidth=5, label=k) for n, k in enumerate(classes)]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(classes))
    if title:
        figure.suptitle(title)
    return figure


@styled
def along_numbers(table: pd.DataFrame, fold: str = "fold") -> Figure:
    """Draw values by published number, with borders where the fold changes.

    Args:
        table: ``number``, the fold's column, and a column a quantity.
        fold: Name of the fold's column.
    """
    names = [str(column) for column in table if column not in ("number", fold)]
    figure, axes = panels(len(names), 2, 4.1, 2.2, sharex=True)
    borders = table["number"][table[fold].diff().fillna(0) != 0]
    for number, (ax, name) in enumerate(zip(axes, names, strict=True)):
        ax.plot(table["number"], table[name], ".", color=OKABE_ITO[number % len(OKABE_ITO)], markersize=4)
        for border in borders:
            ax.axvline(border - 0.5, color=GREY, linewidth=0.9)
        finish(ax, "y", title=name, ylabel="Mean of the patch")
    for ax in axes[-2:]:
        ax.set_xlabel("Published number of the patch")
    return figure


@styled
def count_histogram(
    counts: np.ndarray,
    threshold: float,
    text: str,
    ax: Axes | None = None,
    title: str = "",
    unit: str = "points",
) -> Figure:
    """Draw how many pixels hold how many points, and an upper threshold.

    Args:
        counts: Points of each pixel; NaN is left out.
        threshold: The threshold.
        text: What it is, such as "97th percentile".
        ax: Where to draw.
        title: Title of the picture.
        unit: What is counted.
    """
    ax = axes_of(ax, 6.4, 3.2)
    known = counts[np.isfinite(counts)]
    top, whole = max(float(known.max()), threshold), bool((known % 1 == 0).all())
    step = max(np.ceil(top / 60), 1) if whole else top / 60  # whole numbers have bins of whole numbers
    edges = np.arange(0, top + 1.5 * step, step) - 0.5 * whole
    ax.hist(known, bins=edges.tolist(), color=OKABE_ITO[0])
    ax.axvline(threshold, color=OKABE_ITO[5], linestyle="--", label=f"{text}: {threshold:.4g} {unit}")
    labels: dict[str, Any] = {"xlabel": f"{unit.capitalize()} in a pixel", "ylabel": "Pixels", "title": title}
    return finish(ax, "y", "upper center", yscale="log", **labels)
