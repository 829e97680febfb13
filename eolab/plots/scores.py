"""Scores: confusion, intervals beside baselines, by class, fold, region and size, leakage by distance."""

import itertools
import textwrap
from collections.abc import Mapping
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from eolab.data.schemes import ClassScheme
from eolab.evaluation import title as title_of
from eolab.plots.style import GREY, OKABE_ITO, axes_of, finish, name_rows, panels, short, side_by_side, styled

Normalise = Literal["truth", "prediction", "none"]

GROUPS = {
    "split_by": "Split by {}",
    "against": "Against the {}",
    "level": "Per {}",
    "among": "{}",
    "scope": "{}",
}
"""Columns that group the bars of a figure, and how their values read in its legend."""


@styled
def confusion(
    matrix: np.ndarray,
    scheme: ClassScheme,
    normalise: Normalise = "truth",
    ax: Axes | None = None,
    title: str = "",
) -> Figure:
    """Draw a confusion matrix with its numbers; classes without truth and without prediction are left out.

    Args:
        matrix: (K, K) counts, truth in rows, prediction in columns.
        scheme: The classes.
        normalise: ``"truth"``: percent of each row (recall on the diagonal); ``"prediction"``: percent of
            each column (precision on the diagonal); ``"none"``: counts.
        ax: Where to draw.
        title: Title of the picture.
    """
    matrix = np.asarray(matrix)
    kept = np.flatnonzero(matrix.sum(0) + matrix.sum(1))
    counts = matrix[np.ix_(kept, kept)].astype(float)
    total = {"truth": counts.sum(1, keepdims=True), "prediction": counts.sum(0, keepdims=True)}
    shown = counts if normalise == "none" else 100 * counts / np.maximum(total[normalise], 1)
    size = len(kept)
    ax = axes_of(ax, 3.0 + 0.52 * size, 2.0 + 0.44 * size)
    texts = np.where(counts > 0, np.char.mod("%.0f", shown), "").astype(object)
    if normalise != "none":
        texts[(counts > 0) & (shown < 1)] = "<1"
    top = max(float(shown.max()), 1.0) if normalise == "none" else 100.0
    units = {"truth": "% of the true class", "prediction": "% of the predicted class", "none": "Samples"}
    _matrix(ax, shown, top, texts, units[normalise])
    names = [short(scheme.names[k]) for k in kept]
    supports = [f"{name} ({int(n):,})" for name, n in zip(names, counts.sum(1), strict=True)]
    ax.set_xticks(range(size), names, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(size), supports)
    return finish(ax, xlabel="Predicted class", ylabel="True class (samples)", title=title)


def _matrix(ax: Axes, shown: np.ndarray, top: float, texts: np.ndarray, label: str, size: float = 8) -> None:
    """Draw a matrix in blues, from 0 to a top, with its texts and a colour bar."""
    colors = plt.get_cmap("Blues").with_extremes(bad="#dddddd")
    drawn = ax.imshow(shown, cmap=colors, vmin=0, vmax=top, aspect="auto")
    for row, column in np.argwhere(texts != ""):
        color = "white" if shown[row, column] > 0.55 * top else "black"
        text = texts[row, column]
        ax.text(column, row, text, ha="center", va="center", color=color, fontsize=size)
    ax.spines[:].set_visible(False)
    ax.figure.colorbar(drawn, ax=ax, shrink=0.8, pad=0.02, label=label)


@styled
def score_bars(table: pd.DataFrame, label: str = "", ax: Axes | None = None, title: str = "") -> Figure:
    """Draw scores with their intervals, baselines in grey.

    Args:
        table: Rows of :func:`eolab.evaluation.score_table`: ``model``, ``is_baseline``, ``scope``,
            ``statistic``, ``value``, ``low`` and ``high`` (NaN where no interval is known). The first of
            :data:`GROUPS` that has several values makes groups of bars.
        label: Which score; the table's own unless told.
        ax: Where to draw.
        title: Title of the picture.
    """
    column = next((name for name in GROUPS if name in table and len(set(table[name])) > 1), "")
    groups = list(dict.fromkeys(table[column])) if column else [""]
    names = list(dict.fromkeys(table["model"]))
    ax = axes_of(ax, 7.2, 1.2 + (0.22 + 0.3 * len(groups)) * len(names))
    handles = []
    for group, shift, height, color in side_by_side(groups, 0.72):
        text = _capital(GROUPS[column].format(group)) if column else "Model"
        handles.append(Patch(color=color, label=text))
        rows = table[table[column] == group] if column else table
        at = np.array([names.index(name) for name in rows["model"]]) + shift
        _bars(ax, rows, at, 0.9 * height, color)
    name_rows(ax, names)
    top = float(np.nanmax(table[["value", "high"]].to_numpy(float)))
    bottom = min(0.0, float(np.nanmin(table[["value", "low"]].to_numpy(float))))
    if table["is_baseline"].any():
        handles.append(Patch(facecolor="#aaaaaa", hatch="///", edgecolor="white", label="Baseline"))
    room = 0.14 * (top - bottom)  # for the numbers at the ends of the bars
    limits = (bottom - room if bottom < 0 else 0.0, top + room)
    ax.set(xlabel=label or score_label(table), xlim=limits, title=title)
    return finish(ax, "x", "beside" if len(handles) > 1 else "", handles)


def score_label(table: pd.DataFrame) -> str:
    """Return the names of a table's scores as they are written: "Macro F1, balanced accuracy"."""
    scopes = table["scope"] if len(set(table["scope"])) == 1 else "all"
    pairs = table.assign(scope=scopes)[["scope", "statistic"]].drop_duplicates()
    return _capital(", ".join(title_of(*pair) for pair in pairs.itertuples(index=False)))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _bars(ax: Axes, rows: pd.DataFrame, at: np.ndarray, height: float, color: str) -> None:
    """Draw bars, intervals and numbers of one group; baselines are paler and hatched."""
    paler: dict[str, Any] = {"alpha": 0.4, "hatch": "///", "edgecolor": "white", "linewidth": 0}
    interval = {"ecolor": "black", "elinewidth": 1.1, "capsize": 2.5}
    known = rows["low"].notna().to_numpy()
    for baseline, ends in itertools.product((False, True), (True, False)):
        chosen = (rows["is_baseline"].to_numpy(bool) == baseline) & (known == ends)
        if not chosen.any():
            continue
        some, look = rows[chosen], paler if baseline else dict[str, Any]()
        look = look | ({"xerr": _spread(some), "error_kw": interval} if ends else {})
        bars = ax.barh(at[chosen], some["value"], height, color=color, **look)
        ax.bar_label(bars, fmt="%.3f", padding=5, fontsize=8)


def _spread(rows: pd.DataFrame) -> np.ndarray:
    """Return what an interval lies below and above its value, NaN where none is known; (2, rows)."""
    value, low, high = (rows[name].to_numpy(float) for name in ("value", "low", "high"))
    return np.stack([value - low, high - value]).clip(0)


@styled
def per_class(table: pd.DataFrame, ax: Axes | None = None, title: str = "") -> Figure:
    """Draw precision, recall and F1 of each class, the most frequent class first.

    Args:
        table: A row a class, its name as index or in a column ``class``, with ``precision``, ``recall``,
            ``f1``, ``support`` (samples) and, where known, ``low`` and ``high`` of F1.
        ax: Where to draw.
        title: Title of the picture.
    """
    rows = table.set_index("class") if "class" in table else table
    rows = rows[rows["support"] > 0].sort_values("support", ascending=False)
    ax = axes_of(ax, 7.2, 1.5 + 0.32 * len(rows))
    at = np.arange(len(rows))
    if {"low", "high"} <= set(rows):
        ends = (rows["low"], rows["high"])
        ax.hlines(at, *ends, color=OKABE_ITO[4], linewidth=6, alpha=0.5, label="95 % of F1")
    looks = {"precision": ("<", OKABE_ITO[1]), "recall": (">", OKABE_ITO[2]), "f1": ("o", OKABE_ITO[0])}
    for name, (marker, color) in looks.items():
        text = _capital(title_of("all", name))
        ax.plot(rows[name], at, marker, color=color, markersize=6.5, label=text, clip_on=False)
    names = [f"{short(name)} ({int(n):,})" for name, n in zip(rows.index, rows["support"], strict=True)]
    name_rows(ax, names)
    return finish(ax, "x", "beside", xlim=(0, 1), xlabel="Score", ylabel="Class (samples)", title=title)


@styled
def leakage(
    tables: Mapping[str, pd.DataFrame],
    ax: Axes | None = None,
    distance: str = "Distance to the nearest training sample (standardised features)",
    label: str = "Share right",
    title: str = "",
) -> Figure:
    """Draw how a score falls with the distance of test samples from the training samples.

    Args:
        tables: By name of the split or model: a row a bin of test samples, most similar first, with
            ``distance``, ``score`` and ``count``; where known ``low`` and ``high`` of the score, and
            ``nearest_neighbour``, the score of copying the nearest training sample (dashed).
        ax: Where to draw.
        distance: Which distance, with its unit.
        label: Which score.
        title: Title of the picture.
    """
    ax = axes_of(ax, 7.0, 4.0)
    copied = False
    for number, (name, table) in enumerate(tables.items()):
        rows, color = table[table["count"] > 0], OKABE_ITO[number % len(OKABE_ITO)]
        if {"low", "high"} <= set(rows):
            ax.fill_between(rows["distance"], rows["low"], rows["high"], color=color, alpha=0.2, linewidth=0)
        text = f"{name} ({int(rows['count'].sum()):,} test samples)"
        ax.plot(rows["distance"], rows["score"], "o-", color=color, label=text)
        if "nearest_neighbour" in rows and not np.allclose(rows["nearest_neighbour"], rows["score"]):
            ax.plot(rows["distance"], rows["nearest_neighbour"], "--", color=color, linewidth=1.0)
            copied = True
    if copied:
        ax.plot([], [], "--", color=GREY, linewidth=1.0, label="Copying the nearest training sample")
    ax.margins(x=0.06)
    return finish(ax, "both", "below", xlabel=distance, ylabel=label, ylim=(0, 1.05), title=title)


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
    ax = axes_of(None, 4.4 + 0.24 * width, max(4.8, 3.4 + 0.21 * height))
    top = max(float(np.nanmax(shown)), 1.0) if np.isfinite(shown).any() else 1.0
    texts = np.where((shown >= 1) & (width <= 24), np.char.mod("%.0f", shown), "")
    _matrix(ax, shown, top, texts, textwrap.fill(label, 44), 7)
    names = [short(name) for name in table.columns]
    ax.set_xticks(range(width), names, rotation=60, ha="right", rotation_mode="anchor", fontsize=7.5)
    ax.set_yticks(range(height), [short(n) for n in rows.index], fontsize=7.5)
    return finish(ax, xlabel=column, ylabel=row, title=title)


@styled
def sizes(tables: Mapping[str, pd.DataFrame], objects: str, pixel_area_m2: float = 100.0) -> Figure:
    """Draw which objects are found, by their size.

    Args:
        tables: By name of the model: a row a class of sizes with ``size`` (text), ``count``, ``found`` (share
            of objects with at least one pixel found) and ``pixels_found`` (share of their pixels).
        objects: What they are, in the plural.
        pixel_area_m2: Area of a pixel.
    """
    figure, axes = panels(2, 2, 4.1, 3.6, sharey=True)
    titles = {
        "found": f"{objects.capitalize()} found (one pixel or more)",
        "pixels_found": "Share of their pixels found",
    }
    axis = f"Size in pixels of {pixel_area_m2:g} m² (number of {objects})"
    for ax, (column, text) in zip(axes, titles.items(), strict=True):
        for number, (name, table) in enumerate(tables.items()):
            ax.plot(np.arange(len(table)), table[column], "o-", color=OKABE_ITO[number], label=name)
            labels = [f"{s} ({int(n)})" for s, n in zip(table["size"], table["count"], strict=True)]
            ax.set_xticks(np.arange(len(table)), labels, rotation=45, ha="right", rotation_mode="anchor")
        finish(ax, "y", title=text, xlabel=axis, ylim=(0, 1.03))
    axes[0].set_ylabel("Share")
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3)
    return figure


@styled
def folds(table: pd.DataFrame, label: str = "F1 (pooled over pixels)", title: str = "") -> Figure:
    """Draw the score of each fold with its interval, and the mean of each kind of folds.

    Args:
        table: A row a fold: ``kind``, ``fold``, ``value``, ``low``, ``high``.
        label: Which score.
        title: Title of the picture.
    """
    ax = axes_of(None, 6.8, 3.6)
    kinds = list(dict.fromkeys(table["kind"]))
    for kind, shift, _, color in side_by_side(kinds, 0.18 * len(kinds)):
        rows = table[table["kind"] == kind]
        at = rows["fold"] + shift
        ax.errorbar(at, rows["value"], yerr=_spread(rows), fmt="o", color=color, capsize=3, label=kind)
        mean, deviation = rows["value"].mean(), rows["value"].std()
        text = f"mean of {kind} folds: {mean:.3f} ± {deviation:.3f}"
        ax.axhline(mean, color=color, linestyle="--", linewidth=1.0, label=text)
    ax.set_xticks(sorted(table["fold"].unique()))
    return finish(ax, "y", "beside", xlabel="Fold that is scored", ylabel=label, ylim=(0, 1), title=title)


@styled
def region_scores(
    table: pd.DataFrame, label: str = "Score", groups: str = "samples", title: str = ""
) -> Figure:
    """Draw a score of each region and model with its interval.

    Args:
        table: A row a region and model: ``region``, ``model``, ``value``, ``low``, ``high`` (NaN where no
            interval is known), ``groups`` (how many the region has).
        label: Which score.
        groups: What is counted, as the axis names it.
        title: Title of the picture.
    """
    counts = table.groupby("region", sort=False)["groups"].max()
    names = list(dict.fromkeys(table["model"]))
    ax = axes_of(None, 6.4, 1.3 + (0.16 + 0.14 * len(names)) * len(counts))
    for number, (name, shift, _, color) in enumerate(side_by_side(names, 0.7)):
        rows = table[table["model"] == name]
        at = counts.index.get_indexer(rows["region"]) + shift
        look: dict[str, Any] = {"fmt": "osD^v"[number % 5], "markersize": 5, "capsize": 2.5}
        ax.errorbar(rows["value"], at, xerr=_spread(rows), color=color, label=name, **look)
    name_rows(ax, [f"{region} ({int(count)})" for region, count in counts.items()])
    limits = (-0.02, 1.02)
    return finish(ax, "x", "beside", xlabel=label, ylabel=f"Region ({groups})", xlim=limits, title=title)


def padding_effect(scores: pd.DataFrame, title: str = "") -> Figure:
    """Draw scores over the images alone beside those where padded steps count as images of class 0 too.

    Args:
        scores: A row a metric and kind: ``statistic``, ``padded`` (whether padded steps count), ``value``,
            ``low`` and ``high`` (NaN where no interval is known).
        title: Title of the picture.
    """
    names = [_capital(title_of("all", name)) for name in scores["statistic"]]
    among = np.where(scores["padded"].astype(bool), "With padded steps", "Images alone")
    rows = scores.assign(model=names, among=among, is_baseline=False)
    return score_bars(rows, "Score", title=title)


@styled
def importance(
    table: pd.DataFrame,
    value: str = "mean",
    by: str = "",
    max_features: int = 20,
    label: str = "Fall of the score when shuffled",
) -> Figure:
    """Draw what features are worth, the largest first: falls of a score, or weights of a linear model.

    Args:
        table: A row a feature: ``feature``, the value and, where known, ``std``, its standard deviation.
        value: Column that is drawn; negative values have another colour.
        by: Column with a panel for each of its values; one panel unless given.
        max_features: How many features of a panel are drawn.
        label: What the value is.
    """
    groups = list(table.groupby(by, sort=False)) if by else [("", table)]
    width = 6.2 if len(groups) == 1 else 4.6
    figure, axes = panels(len(groups), len(groups), width, 1.0 + 0.25 * max_features)
    for ax, (name, own) in zip(axes, groups, strict=True):
        rows = own.reindex(own[value].abs().sort_values(ascending=False).index).head(max_features)[::-1]
        colors = [OKABE_ITO[0] if one > 0 else OKABE_ITO[1] for one in rows[value]]
        spread = rows.get("std")
        ax.barh(rows["feature"].str.replace("_", " "), rows[value], xerr=spread, color=colors, capsize=2.5)
        ax.axvline(0, color=GREY, linewidth=0.8)
        finish(ax, "x", xlabel=label, title=str(name))
    return figure


@styled
def portable(table: pd.DataFrame) -> Figure:
    """Draw size and time on one core of exported networks.

    Args:
        table: Result of :func:`eolab.prediction.portable_table`; engines without a time are left out.
    """
    rows = table.dropna(subset=["milliseconds"])
    names = [f"{row.engine} {row.precision}" for row in rows.itertuples()]
    figure, axes = panels(2, 2, 4.0, 1.0 + 0.34 * len(rows), sharey=True)
    columns = {"size_mb": "Size of the file (MB)", "milliseconds": "Time of a patch on one core (ms)"}
    for ax, (column, text), color in zip(axes, columns.items(), OKABE_ITO, strict=False):
        bars = ax.barh(range(len(rows)), rows[column], 0.7, color=color)
        ax.bar_label(bars, fmt="%.3g", padding=4, fontsize=8)
        finish(ax, "x", xlabel=text, xlim=(0, 1.2 * float(rows[column].max())))
    name_rows(axes[0], names)
    return figure
