"""Scores: confusion, intervals beside baselines, classes, leakage by distance, reliability."""

from __future__ import annotations

from typing import Literal

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eolab.legends import Legend
from eolab.plots.style import GREY, OKABE_ITO, axes_of, figure_of, styled

Normalise = Literal["truth", "prediction", "none"]


@styled
def confusion(
    matrix: np.ndarray,
    legend: Legend,
    normalise: Normalise = "truth",
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Draw a confusion matrix with its numbers; classes without truth and without prediction are left out.

    Args:
        matrix: (K, K) counts, truth in rows, prediction in columns.
        legend: The classes.
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
    names = [legend.names[k] for k in kept]
    supports = [f"{name} ({int(n):,})" for name, n in zip(names, counts.sum(1), strict=True)]
    ax.set_xticks(range(size), names, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(size), supports)
    ax.set(xlabel="Predicted class", ylabel="True class (samples)", title=title)
    ax.spines[:].set_visible(False)
    units = {"truth": "% of the true class", "prediction": "% of the predicted class", "none": "Samples"}
    figure_of(ax).colorbar(drawn, ax=ax, shrink=0.8, pad=0.02, label=units[normalise])
    return ax


@styled
def score_bars(table: pd.DataFrame, label: str, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw scores with their intervals, baselines in grey.

    Args:
        table: A row a model, its name as index (or in a column ``name``), with ``estimate``, ``low`` and
            ``high`` (NaN where no interval is known) and, where there are baselines, a bool ``baseline``.
        label: Which score, with its averaging and split, such as "Macro F1, test".
        ax: Where to draw.
        title: Title of the picture.
    """
    rows = table.set_index("name") if "name" in table else table
    ax = axes_of(ax, 7.2, 1.1 + 0.38 * len(rows))
    value = rows["estimate"].to_numpy(float)
    low, high = (rows[side].to_numpy(float) for side in ("low", "high"))
    base = rows["baseline"].to_numpy(bool) if "baseline" in rows else np.zeros(len(rows), bool)
    at = np.arange(len(rows))
    for chosen, color, name in ((~base, OKABE_ITO[0], "Model"), (base, "#b0b0b0", "Baseline")):
        if chosen.any():
            ax.barh(at[chosen], value[chosen], 0.62, color=color, label=name)
    spread = np.stack([np.nan_to_num(value - low), np.nan_to_num(high - value)])
    ax.errorbar(value, at, xerr=spread, fmt="none", ecolor="black", elinewidth=1.2, capsize=3)
    ends = np.fmax(value, np.nan_to_num(high, nan=-np.inf))
    for y, end, number in zip(at, ends, value, strict=True):
        ax.annotate(f"{number:.3f}", (end, y), (5, 0), textcoords="offset points", va="center", fontsize=8.5)
    ax.set_yticks(at, [str(name) for name in rows.index])
    ax.invert_yaxis()
    ax.set(xlabel=label, xlim=(min(0.0, float(np.nanmin(value))), 1.12 * float(np.nanmax(ends))), title=title)
    ax.grid(True, axis="x")
    if base.any():
        figure_of(ax).legend(loc="outside lower right", ncols=2)
    return ax


@styled
def per_class(table: pd.DataFrame, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw precision, recall and F1 of each class, the most frequent class first.

    Args:
        table: A row a class, its name as index (or in a column ``class``), with ``precision``, ``recall``,
            ``f1`` and ``support`` (samples).
        ax: Where to draw.
        title: Title of the picture.
    """
    rows = table.set_index("class") if "class" in table else table
    rows = rows[rows["support"] > 0].sort_values("support", ascending=False)
    ax = axes_of(ax, 7.2, 1.3 + 0.32 * len(rows))
    at = np.arange(len(rows))
    marks = (("precision", "<", OKABE_ITO[1]), ("recall", ">", OKABE_ITO[2]), ("f1", "o", OKABE_ITO[0]))
    ax.hlines(
        at,
        rows[["precision", "recall"]].min(axis=1),
        rows[["precision", "recall"]].max(axis=1),
        color="#bbbbbb",
    )
    for name, marker, color in marks:
        title_of = "F1" if name == "f1" else name.capitalize()
        ax.plot(rows[name], at, marker, color=color, markersize=7, label=title_of, clip_on=False)
    names = [f"{name} ({int(n):,})" for name, n in zip(rows.index, rows["support"], strict=True)]
    ax.set_yticks(at, names)
    ax.invert_yaxis()
    ax.set(xlim=(0, 1), xlabel="Score", ylabel="Class (samples)", title=title)
    ax.grid(True, axis="x")
    figure_of(ax).legend(loc="outside lower center", ncols=3)
    return ax


@styled
def score_by_distance(
    table: pd.DataFrame, label: str, distance: str, ax: Axes | None = None, title: str = ""
) -> Axes:
    """Draw how a score falls with the distance of test samples from the training samples.

    Args:
        table: A row a bin of distance, nearest first, with ``distance`` (its middle), ``score`` and
            ``count``; ``low`` and ``high`` where intervals are known. Bins are drawn at equal steps.
        label: Which score.
        distance: Which distance, with its unit.
        ax: Where to draw.
        title: Title of the picture.
    """
    rows = table[table["count"] > 0]
    ax = axes_of(ax, 1.6 + 0.75 * max(len(rows), 4), 3.6)
    at = np.arange(len(rows))
    if {"low", "high"} <= set(rows):
        ax.fill_between(at, rows["low"], rows["high"], alpha=0.2, linewidth=0, label="95 % interval")
        ax.legend(loc="lower left")
    ax.plot(at, rows["score"], "o-")
    names = [f"{d:.3g}\n({int(n):,})" for d, n in zip(rows["distance"], rows["count"], strict=True)]
    ax.set_xticks(at, names)
    ax.set(xlabel=f"{distance}\n(test samples)", ylabel=label, ylim=(0, 1.02), title=title)
    ax.margins(x=0.06)
    ax.grid(True)
    return ax


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
