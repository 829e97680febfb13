"""Probabilities: thresholds on them, and whether they mean what they say."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from eolab.evaluation import postprocess
from eolab.plots.style import GREY, OKABE_ITO, axes_of, figure_of, styled


@styled
def threshold_curve(
    curves: Mapping[str, pd.DataFrame],
    statistic: str = "f1",
    chosen: Mapping[str, float] | None = None,
    ax: Axes | None = None,
    label: str = "F1 (pooled over pixels)",
    class_name: str = "",
) -> Figure:
    """Draw a score by the threshold on the probability.

    Args:
        curves: By name of the patches ("validation", "test"): ``threshold`` and the statistic.
        statistic: Column to draw.
        chosen: Thresholds to mark, by what they are.
        ax: Where to draw.
        label: Which score.
        class_name: Name of the class whose probability is meant.
    """
    ax = axes_of(ax, 6.4, 3.8)
    for number, (name, curve) in enumerate(curves.items()):
        ax.plot(curve["threshold"], curve[statistic], color=OKABE_ITO[number], label=name.capitalize())
    for number, (name, value) in enumerate((chosen or {}).items()):
        style = ("--", ":", "-.")[number % 3]
        ax.axvline(value, color=GREY, linestyle=style, label=f"{name}: {value:.2f}")
    ax.set(
        xlabel="Threshold on the probability" + (f" of {class_name}" if class_name else ""),
        ylabel=label,
        xlim=(0, 1),
    )
    ax.set_ylim(bottom=0)
    ax.grid(True)
    ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0))
    return figure_of(ax)


@styled
def calibration(
    tables: Mapping[str, pd.DataFrame],
    event: str = "Share of samples with the class",
    unit: str = "Samples",
    probability: str = "Predicted probability",
    title: str = "",
) -> Figure:
    """Draw how often something is true by its predicted probability, and how often each probability occurs.

    Args:
        tables: By name: a row a bin with probability (mean predicted), frequency and share; results of
            :func:`eolab.evaluation.postprocess.calibration_table`.
        event: What the frequency is, as the label of the axis.
        unit: What is counted: pixels, labels, samples.
        probability: What the probability is, as the label of the axis.
        title: Title of the picture.
    """
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(6.2, 5.2), sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], "--", color=GREY, label="Probability = frequency")
    for number, (name, table) in enumerate(tables.items()):
        marker = "osD^v"[number % 5] + "-"
        upper.plot(table["probability"], table["frequency"], marker, color=OKABE_ITO[number], label=name)
        lower.plot(table["probability"], 100 * table["share"], marker, color=OKABE_ITO[number])
    upper.set(ylim=(0, 1.02), ylabel=event, title=title)
    lower.set(xlim=(0, 1), yscale="log", xlabel=probability, ylabel=f"{unit} (%)")
    upper.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0))
    lower.yaxis.set_major_formatter("{x:g}")
    lower.yaxis.set_minor_formatter(NullFormatter())
    for ax in (upper, lower):
        ax.grid(True)
    return figure


@styled
def reliability(truth: np.ndarray, probabilities: np.ndarray, bins: int = 10, title: str = "") -> Figure:
    """Draw whether probabilities mean what they say: accuracy against confidence, and how often each occurs.

    Args:
        truth: (N,) class indices.
        probabilities: (N, K).
        bins: Number of bins.
        title: Title of the picture.
    """
    table = postprocess.calibration_table(probabilities, truth, bins)
    error = postprocess.expected_calibration_error(table)
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(4.8, 5.2), sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], "--", color=GREY, label="As sure as right")
    upper.plot(table["probability"], table["frequency"], "o-", label="Model")
    upper.set(ylim=(0, 1.02), ylabel="Accuracy")
    upper.set_title(f"{title}\n" * bool(title) + f"Expected calibration error {error:.3f}")
    upper.legend(loc="upper left")
    middles = (table["low"] + table["high"]) / 2
    lower.bar(middles, 100 * table["share"], 0.9 / bins, color="#b0b0b0")
    lower.set(xlim=(0, 1), xlabel="Confidence (highest class probability)", ylabel="Samples (%)")
    for ax in (upper, lower):
        ax.grid(True)
    return figure
