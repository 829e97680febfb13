"""Scores of masks: thresholds, calibration, sizes, folds, and our numbers beside published ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eolab.plots.scores import readable
from eolab.plots.style import GREY, OKABE_ITO, axes_of, figure_of, panels, styled


@styled
def threshold_curve(
    curves: Mapping[str, pd.DataFrame],
    statistic: str = "f1",
    chosen: Mapping[str, float] | None = None,
    ax: Axes | None = None,
    label: str = "Landslide F1 (pooled over pixels)",
) -> Figure:
    """Draw a score by the threshold on the probability.

    Args:
        curves: By name of the patches ("validation", "test"): ``threshold`` and the statistic.
        statistic: Column to draw.
        chosen: Thresholds to mark, by what they are.
        ax: Where to draw.
        label: Which score.
    """
    ax = axes_of(ax, 6.4, 3.8)
    for number, (name, curve) in enumerate(curves.items()):
        ax.plot(curve["threshold"], curve[statistic], color=OKABE_ITO[number], label=name.capitalize())
    for number, (name, value) in enumerate((chosen or {}).items()):
        style = ("--", ":", "-.")[number % 3]
        ax.axvline(value, color=GREY, linestyle=style, label=f"{name}: {value:.2f}")
    ax.set(xlabel="Threshold on the probability of a landslide", ylabel=label, xlim=(0, 1))
    ax.set_ylim(bottom=0)
    ax.grid(True)
    ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0))
    return figure_of(ax)


@styled
def calibration(tables: Mapping[str, pd.DataFrame], ax: Axes | None = None, title: str = "") -> Figure:
    """Draw how often pixels with a predicted probability are landslides.

    Args:
        tables: By name: a row a bin with ``probability`` (mean predicted), ``frequency`` (share that is
            landslide) and ``share`` of the pixels; results of
            :func:`eolab.evaluation.postprocess.calibration_table`.
        ax: Where to draw.
        title: Title of the picture.
    """
    ax = axes_of(ax, 5.2, 4.2)
    ax.plot([0, 1], [0, 1], "--", color=GREY, label="Probability = frequency")
    for number, (name, table) in enumerate(tables.items()):
        ax.plot(table["probability"], table["frequency"], "o-", color=OKABE_ITO[number], label=name)
    ax.set(xlabel="Predicted probability of a landslide", ylabel="Share of pixels that are landslides")
    ax.set(xlim=(0, 1), ylim=(0, 1.02), title=title)
    ax.grid(True)
    ax.legend(loc="upper left")
    return figure_of(ax)


@styled
def sizes(tables: Mapping[str, pd.DataFrame], title: str = "") -> Figure:
    """Draw which landslides are found, by their size.

    Args:
        tables: By name of the model: a row a class of sizes with ``size`` (text), ``count``, ``found`` (share
            of landslides with at least one pixel found) and ``pixels_found`` (share of their pixels).
        title: Title of the picture.
    """
    figure, axes = panels(2, 2, 4.1, 3.6, sharey=True)
    titles = {"found": "Landslides found (one pixel or more)", "pixels_found": "Share of their pixels found"}
    for ax, (column, text) in zip(axes, titles.items(), strict=True):
        for number, (name, table) in enumerate(tables.items()):
            ax.plot(np.arange(len(table)), table[column], "o-", color=OKABE_ITO[number], label=name)
            labels = [f"{s} ({int(n)})" for s, n in zip(table["size"], table["count"], strict=True)]
            ax.set_xticks(np.arange(len(table)), labels, rotation=45, ha="right", rotation_mode="anchor")
        ax.set(title=text, xlabel="Size in pixels of 100 m² (number of landslides)", ylim=(0, 1.03))
        ax.grid(True, axis="y")
    axes[0].set_ylabel("Share")
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3)
    if title:
        figure.suptitle(title)
    return figure


@styled
def folds(table: pd.DataFrame, label: str = "Landslide F1 (pooled)", title: str = "") -> Figure:
    """Draw the score of each fold with its interval, and the mean of each kind of folds.

    Args:
        table: A row a fold: ``kind``, ``fold``, ``estimate``, ``low``, ``high``.
        label: Which score.
        title: Title of the picture.
    """
    ax = axes_of(None, 6.8, 3.6)
    kinds = list(dict.fromkeys(table["kind"]))
    for number, kind in enumerate(kinds):
        rows, color = table[table["kind"] == kind], OKABE_ITO[number]
        at = rows["fold"] + (number - (len(kinds) - 1) / 2) * 0.18
        spread = np.abs(rows[["low", "high"]].to_numpy(float).T - rows["estimate"].to_numpy(float))
        ax.errorbar(at, rows["estimate"], yerr=spread, fmt="o", color=color, capsize=3, label=kind)
        mean, deviation = rows["estimate"].mean(), rows["estimate"].std()
        text = f"mean of {kind} folds: {mean:.3f} ± {deviation:.3f}"
        ax.axhline(mean, color=color, linestyle="--", linewidth=1.0, label=text)
    ax.set_xticks(sorted(table["fold"].unique()))
    ax.set(xlabel="Fold that is scored", ylabel=label, ylim=(0, 1), title=title)
    ax.grid(True, axis="y")
    ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0))
    return figure_of(ax)


@styled
def importance(table: pd.DataFrame, most: int = 20, label: str = "", title: str = "") -> Figure:
    """Draw how much a score falls when one feature is shuffled.

    Args:
        table: ``feature``, ``mean`` and ``std`` of the fall.
        most: How many features to draw, the most important ones.
        label: Which score falls.
        title: Title of the picture.
    """
    rows = table.sort_values("mean", ascending=False).head(most)[::-1]
    ax = axes_of(None, 6.2, 1.0 + 0.24 * len(rows))
    ax.barh(rows["feature"], rows["mean"], xerr=rows["std"], color=OKABE_ITO[0], capsize=2.5)
    ax.axvline(0, color=GREY, linewidth=0.8)
    ax.set(xlabel=label or "Fall of the score when shuffled", title=title)
    ax.grid(True, axis="x")
    return figure_of(ax)


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
        ax.tick_params(axis="y", labelsize=7)
    handles = [
        axes[0].plot([], [], color=OKABE_ITO[n], linewidth=5, label=k)[0] for n, k in enumerate(classes)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(classes))
    if title:
        figure.suptitle(title)
    return figure


@styled
def beside_published(table: pd.DataFrame, ours: str, published: str, ax: Axes | None = None) -> Figure:
    """Draw our score of each setting beside the published one.

    Args:
        table: A row a setting, its name as the index; NaN where a number is not known.
        ours: Column of our scores.
        published: Column of published scores.
        ax: Where to draw.
    """
    ax = axes_of(ax, 6.6, 1.3 + 0.3 * len(table))
    at = np.arange(len(table))
    for column, marker, color in ((ours, "o", OKABE_ITO[0]), (published, "D", OKABE_ITO[1])):
        ax.plot(table[column].to_numpy(float), at, marker, color=color, markersize=7, label=readable(column))
    ax.hlines(at, *table[[ours, published]].to_numpy(float).T, color="#c0c0c0", linewidth=1.2, zorder=0)
    ax.set_yticks(at, [str(name) for name in table.index])
    ax.invert_yaxis()
    ax.set(xlabel="Score", xlim=(0, 1))
    ax.grid(True, axis="x")
    ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0))
    return figure_of(ax)


@styled
def size_histograms(shares: np.ndarray, pixels: np.ndarray, pixel_area_m2: float = 100.0) -> Figure:
    """Draw how much of a patch is covered, and how large the single objects are.

    Args:
        shares: Share of each patch that has any, 0 to 1.
        pixels: Size of each object in pixels.
        pixel_area_m2: Area of a pixel.
    """
    figure, (left, right) = panels(2, 2, 4.0, 3.2)
    left.hist(100 * np.asarray(shares), bins=np.geomspace(0.005, 100, 30).tolist(), color=OKABE_ITO[0])
    left.set(xscale="log", xlabel="Landslide pixels of a patch (%)", ylabel="Patches with a landslide")
    left.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    edges = np.unique(np.geomspace(1, max(int(np.max(pixels)), 2) + 1, 30).round())
    right.hist(pixels, bins=edges.tolist(), color=OKABE_ITO[1])
    right.set(xscale="log", xlabel=f"Size in pixels of {pixel_area_m2:g} m²", ylabel="Connected landslides")
    right.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    for ax in (left, right):
        ax.grid(True, axis="y")
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
        ax.set(title=name, ylabel="Mean of the patch")
        ax.grid(True, axis="y")
    for ax in axes[-2:]:
        ax.set_xlabel("Published number of the patch")
    return figure


@styled
def portable(table: pd.DataFrame) -> Figure:
    """Draw size and time on one core of exported networks.

    Args:
        table: Result of :func:`eolab.prediction.portable_table`; engines without a time are left out.
    """
    rows = table.dropna(subset=["milliseconds"])
    names = [
        f"{engine} {precision}" for engine, precision in zip(rows["engine"], rows["precision"], strict=True)
    ]
    figure, axes = panels(2, 2, 4.0, 1.0 + 0.34 * len(rows), sharey=True)
    for ax, column, text, color in (
        (axes[0], "size_mb", "Size of the file (MB)", OKABE_ITO[0]),
        (axes[1], "milliseconds", "Time of a patch on one core (ms)", OKABE_ITO[1]),
    ):
        ax.barh(np.arange(len(rows)), rows[column], 0.7, color=color)
        ax.set(xlabel=text, xlim=(0, 1.2 * float(rows[column].max())))
        ax.grid(True, axis="x")
        for at, value in enumerate(rows[column]):
            ax.annotate(
                f"{value:.3g}", (value, at), (4, 0), textcoords="offset points", va="center", fontsize=8
            )
    axes[0].set_yticks(np.arange(len(rows)), names)
    axes[0].invert_yaxis()
    return figure
