"""Scores: confusion, intervals beside baselines, classes, leakage by distance, reliability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from eolab.data.schemes import ClassScheme
from eolab.plots.style import GREY, OKABE_ITO, axes_of, figure_of, short, styled

Normalise = Literal["truth", "prediction", "none"]

GROUPS = {"against": "Against the {}", "level": "Per {}", "among": "{}"}
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
    top = max(float(shown.max()), 1.0) if normalise == "none" else 100.0
    drawn = ax.imshow(shown, cmap="Blues", vmin=0, vmax=top, aspect="auto")
    for row, column in np.ndindex(size, size):
        if counts[row, column]:
            number = shown[row, column]
            text = f"{number:.0f}" if number >= 1 or normalise == "none" else "<1"
            color = "white" if number > 0.55 * top else "black"
            ax.text(column, row, text, ha="center", va="center", color=color, fontsize=8)
    names = [short(scheme.names[k]) for k in kept]
    supports = [f"{name} ({int(n):,})" for name, n in zip(names, counts.sum(1), strict=True)]
    ax.set_xticks(range(size), names, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(size), supports)
    ax.set(xlabel="Predicted class", ylabel="True class (samples)", title=title)
    ax.spines[:].set_visible(False)
    units = {"truth": "% of the true class", "prediction": "% of the predicted class", "none": "Samples"}
    figure_of(ax).colorbar(drawn, ax=ax, shrink=0.8, pad=0.02, label=units[normalise])
    return figure_of(ax)


@styled
def score_bars(table: pd.DataFrame, label: str = "", ax: Axes | None = None, title: str = "") -> Figure:
    """Draw scores with their intervals, baselines in grey.

    Args:
        table: A row a model: ``name``, ``estimate``, ``low`` and ``high`` (NaN where no interval is known)
            and, where known, ``baseline`` (bool), ``statistic``, and one of ``against``, ``level`` and
            ``among``: a group of bars for each of its values.
        label: Which score; the table's ``statistic`` unless told.
        ax: Where to draw.
        title: Title of the picture.
    """
    column = next((name for name in GROUPS if name in table), "")
    groups = table[column].unique() if column else [""]
    names = list(dict.fromkeys(table["name"]))
    ax = axes_of(ax, 7.2, 1.2 + (0.22 + 0.3 * len(groups)) * len(names))
    height = 0.72 / len(groups)
    for number, group in enumerate(groups):
        rows = table[table[column] == group] if column else table
        at = (
            np.array([names.index(name) for name in rows["name"]]) + (number - (len(groups) - 1) / 2) * height
        )
        _bars(ax, rows, at, 0.9 * height, OKABE_ITO[number])
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    statistic = ", ".join(table["statistic"].unique()) if "statistic" in table else "score"
    top = float(np.nanmax(table[["estimate", "high"]].to_numpy(float)))
    bottom = min(0.0, float(np.nanmin(table[["estimate", "low"]].to_numpy(float))))
    ax.set(xlabel=label or readable(statistic), xlim=(bottom, top + 0.14 * (top - bottom)), title=title)
    ax.grid(True, axis="x")
    if len(groups) > 1 or ("baseline" in table and table["baseline"].any()):
        texts = [GROUPS[column].format(group) if column else "Model" for group in groups]
        _bar_legend(ax, table, texts)
    return figure_of(ax)


def readable(name: str) -> str:
    """Return a score's name as it is written: ``macro_f1`` becomes "Macro F1"."""
    text = name.replace("_", " ").replace("f1", "F1").replace("iou", "IoU")
    return text[:1].upper() + text[1:]


def _bars(ax: Axes, rows: pd.DataFrame, at: np.ndarray, height: float, color: str) -> None:
    """Draw bars, intervals and numbers of one group; baselines are paler and hatched."""
    value, low, high = (rows[name].to_numpy(float) for name in ("estimate", "low", "high"))
    base = rows["baseline"].to_numpy(bool) if "baseline" in rows else np.zeros(len(rows), bool)
    ax.barh(at[~base], value[~base], height, color=color)
    ax.barh(
        at[base], value[base], height, color=color, alpha=0.4, hatch="///", edgecolor="white", linewidth=0
    )
    spread = np.stack([np.nan_to_num(value - low), np.nan_to_num(high - value)]).clip(0)
    ax.errorbar(value, at, xerr=spread, fmt="none", ecolor="black", elinewidth=1.1, capsize=2.5)
    for y, end, number in zip(at, np.fmax(value, high), value, strict=True):
        ax.annotate(f"{number:.3f}", (end, y), (5, 0), textcoords="offset points", va="center", fontsize=8)


def _bar_legend(ax: Axes, table: pd.DataFrame, names: list[str]) -> None:
    """Say what colours and hatches mean."""
    names = names if len(names) > 1 else ["Model"]
    handles = [Patch(color=OKABE_ITO[number], label=name) for number, name in enumerate(names)]
    if "baseline" in table and table["baseline"].any():
        handles.append(Patch(facecolor="#aaaaaa", hatch="///", edgecolor="white", label="Baseline"))
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.02, 1.0))


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
        ax.hlines(
            at, rows["low"], rows["high"], color=OKABE_ITO[4], linewidth=6, alpha=0.5, label="95 % of F1"
        )
    for name, marker, color in (
        ("precision", "<", OKABE_ITO[1]),
        ("recall", ">", OKABE_ITO[2]),
        ("f1", "o", OKABE_ITO[0]),
    ):
        ax.plot(rows[name], at, marker, color=color, markersize=6.5, label=readable(name), clip_on=False)
    names = [f"{short(name)} ({int(n):,})" for name, n in zip(rows.index, rows["support"], strict=True)]
    ax.set_yticks(at, names)
    ax.invert_yaxis()
    ax.set(xlim=(0, 1), xlabel="Score", ylabel="Class (samples)", title=title)
    ax.grid(True, axis="x")
    ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0))
    return figure_of(ax)


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
    ax.set(xlabel=distance, ylabel=label, ylim=(0, 1.05), title=title)
    ax.margins(x=0.06)
    ax.grid(True)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    return figure_of(ax)


def reliability_table(truth: np.ndarray, probabilities: np.ndarray, bins: int = 10) -> pd.DataFrame:
    """Return confidence and accuracy in bins of the highest class probability.

    Args:
        truth: (N,) class indices.
        probabilities: (N, K).
        bins: Number of bins of equal width between 0 and 1.

    Returns:
        A row a bin that has samples: confidence (mean), accuracy, share of the samples. The sum of
        ``share * |accuracy - confidence|`` is the expected calibration error (Guo et al. 2017,
        https://arxiv.org/abs/1706.04599).
    """
    confidence = np.asarray(probabilities).max(axis=1)
    right = np.asarray(probabilities).argmax(axis=1) == np.asarray(truth)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    table = pd.DataFrame({"bin": place, "confidence": confidence, "accuracy": right.astype(float)})
    grouped = table.groupby("bin").agg(
        confidence=("confidence", "mean"), accuracy=("accuracy", "mean"), share=("accuracy", "size")
    )
    return grouped.assign(share=grouped["share"] / len(table)).reset_index()


@styled
def reliability(truth: np.ndarray, probabilities: np.ndarray, bins: int = 10, title: str = "") -> Figure:
    """Draw whether probabilities mean what they say: accuracy against confidence, and how often each occurs.

    Args:
        truth: (N,) class indices.
        probabilities: (N, K).
        bins: Number of bins.
        title: Title of the picture.
    """
    table = reliability_table(truth, probabilities, bins)
    error = float((table["share"] * (table["accuracy"] - table["confidence"]).abs()).sum())
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(4.8, 5.2), sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], "--", color=GREY, label="As sure as right")
    upper.plot(table["confidence"], table["accuracy"], "o-", label="Model")
    upper.set(ylim=(0, 1.02), ylabel="Accuracy")
    upper.set_title(f"{title}\n" * bool(title) + f"Expected calibration error {error:.3f}")
    upper.legend(loc="upper left")
    middles = (table["bin"] + 0.5) / bins
    lower.bar(middles, 100 * table["share"], 0.9 / bins, color="#b0b0b0")
    lower.set(xlim=(0, 1), xlabel="Confidence (highest class probability)", ylabel="Samples (%)")
    for ax in (upper, lower):
        ax.grid(True)
    return figure
