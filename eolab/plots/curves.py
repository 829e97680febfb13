"""Curves: loss and score by epoch, the test for a learning rate, thresholds and calibration."""

from collections.abc import Mapping
from typing import Literal

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from eolab.core.errors import DataError
from eolab.plots.style import GREY, OKABE_ITO, axes_of, finish, panels, styled

# === Training ===


@styled
def learning_curves(
    table: pd.DataFrame, metric: str = "", best: Literal["min_val_loss", "max_val_metric"] = "min_val_loss"
) -> Figure:
    """Draw the loss, one metric and the learning rate by epoch, with the best epoch marked.

    Args:
        table: A row an epoch: ``loss``, ``val_loss``, metrics with their ``val_`` columns, and where known
            ``learning_rate`` and ``epoch`` (counted from 1 otherwise).
        metric: The metric to draw; the first that has a validation column unless told.
        best: What makes an epoch the best one.

    Raises:
        DataError: If the metric is not in the table.
    """
    found = [str(c)[4:] for c in table if str(c).startswith("val_") and c != "val_loss"]
    metric = metric or next(iter(found), "")
    if metric and metric not in table:
        raise DataError(f"The history has no metric {metric}: it has {', '.join(found) or 'none'}.")
    drawn = ["loss", *([metric] if metric else []), *(["learning_rate"] if "learning_rate" in table else [])]
    table = table.reset_index(drop=True)
    epochs = table["epoch"] if "epoch" in table else pd.Series(range(1, len(table) + 1))
    column = f"val_{metric}" if best == "max_val_metric" else "val_loss"
    top: int | None = None
    if column in table:
        scores = table[column].to_numpy(float)
        top = int(epochs.iloc[int(np.nanargmin(scores) if best == "min_val_loss" else np.nanargmax(scores))])
    figure, axes = panels(len(drawn), 3, 3.5, 2.9)
    for ax, name in zip(axes, drawn, strict=True):
        _epochs(ax, epochs, table, name)
        if top is not None:
            ax.axvline(top, color=GREY, linestyle="--", linewidth=1.0, label=f"Best epoch: {top}")
    handles = {label: h for ax in axes[:2] for h, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    return figure


def _epochs(ax: Axes, epochs: pd.Series, table: pd.DataFrame, name: str) -> None:
    """Draw one column and its validation column."""
    mark = "o-" if len(table) < 40 else "-"
    if name == "learning_rate":
        ax.plot(epochs, table[name], mark, color=OKABE_ITO[2], markersize=3)
        ax.yaxis.set_major_formatter("{x:g}")
    else:
        ax.plot(epochs, table[name], mark, color=OKABE_ITO[0], markersize=3, label="Training")
        if f"val_{name}" in table:
            ax.plot(epochs, table[f"val_{name}"], mark, color=OKABE_ITO[1], markersize=3, label="Validation")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    finish(ax, "both", xlabel="Epoch", title=name.replace("_", " ").capitalize())


@styled
def lr_range(table: pd.DataFrame, ax: Axes | None = None, title: str = "Learning-rate range test") -> Figure:
    """Draw the loss while the learning rate rises, the suggested rate marked.

    The suggestion is a tenth of the rate with the lowest loss, unless ``table.attrs["suggested"]`` says
    another (Smith 2017, https://arxiv.org/abs/1506.01186).

    Args:
        table: A row a step: ``learning_rate``, ``loss`` and where known ``smoothed``.
        ax: Where to draw.
        title: Title of the picture.
    """
    ax = axes_of(ax, 6.0, 3.6)
    smooth = table["smoothed"] if "smoothed" in table else table["loss"].ewm(span=8).mean()
    ax.plot(table["learning_rate"], table["loss"], color="#bbbbbb", linewidth=1.0, label="Loss of each step")
    ax.plot(table["learning_rate"], smooth, linewidth=2.0, label="Smoothed")
    suggested = float(table.attrs.get("suggested") or table["learning_rate"].iloc[int(smooth.argmin())] / 10)
    ax.axvline(suggested, color=OKABE_ITO[5], linestyle="--", label=f"Suggested: {suggested:.1e}")
    low, first = float(smooth.min()), float(smooth.iloc[0])
    ax.set_ylim(low - 0.1 * abs(first - low), first + 0.6 * abs(first - low) + 1e-9)
    ax.set(xscale="log", xlabel="Learning rate", ylabel="Training loss", title=title)
    return finish(ax, "both", "lower left")


@styled
def label_curves(table: pd.DataFrame, label: str = "Macro F1") -> Figure:
    """Draw a score by the share of labels that was learned from, with intervals, a panel a kind of truth.

    Args:
        table: Rows of one statistic of :func:`eolab.evaluation.score_table` with ``percent`` (of the labels)
            and ``against``; baselines are dashed.
        label: Which score.
    """
    truths = list(dict.fromkeys(table["against"]))
    names = list(dict.fromkeys(table["model"]))
    figure, axes = panels(len(truths), 2, 5.0, 3.6)
    for ax, truth in zip(axes, truths, strict=True):
        for number, name in enumerate(names):
            rows = table[(table["against"] == truth) & (table["model"] == name)].sort_values("percent")
            ends = rows[["value", "value"]].sub(rows[["low", "high"]].to_numpy()).abs().to_numpy().T
            at = rows["percent"] * 1.04 ** (number - (len(names) - 1) / 2)  # beside each other
            style = "s--" if rows["is_baseline"].any() else "o-"
            color = OKABE_ITO[number % len(OKABE_ITO)]
            look = {"color": color, "capsize": 2.5, "elinewidth": 1.0, "markersize": 4, "label": name}
            ax.errorbar(at, rows["value"], ends, fmt=style, **look)
        ax.set_xscale("log")
        ax.set_xticks(sorted(set(table["percent"])))
        ax.xaxis.set_major_formatter("{x:g} %")
        ax.xaxis.set_minor_formatter(NullFormatter())
        finish(ax, "both", xlabel="Labels learned from", ylabel=label, title=f"Against the {truth}")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


# === Probabilities ===


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
    ax.set_ylim(bottom=0)
    text = "Threshold on the probability" + (f" of {class_name}" if class_name else "")
    return finish(ax, "both", "beside", xlabel=text, ylabel=label, xlim=(0, 1))


@styled
def calibration(
    tables: Mapping[str, pd.DataFrame],
    event: str = "Share of samples with the class",
    unit: str = "Samples",
    probability: str = "Predicted probability",
    line: str = "Probability = frequency",
    title: str = "",
) -> Figure:
    """Draw how often something is true by its predicted probability, and how often each probability occurs.

    Args:
        tables: By name: a row a bin with probability (mean predicted), frequency and share; results of
            :func:`eolab.evaluation.postprocess.calibration_table`.
        event: What the frequency is, as the label of the axis.
        unit: What is counted: pixels, labels, samples.
        probability: What the probability is, as the label of the axis.
        line: What the diagonal says.
        title: Title of the picture.
    """
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(6.2, 5.2), sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], "--", color=GREY, label=line)
    for number, (name, table) in enumerate(tables.items()):
        marker = "osD^v"[number % 5] + "-"
        upper.plot(table["probability"], table["frequency"], marker, color=OKABE_ITO[number], label=name)
        lower.plot(table["probability"], 100 * table["share"], marker, color=OKABE_ITO[number])
    finish(upper, "both", "beside", ylim=(0, 1.02), ylabel=event, title=title)
    finish(lower, "both", xlim=(0, 1), yscale="log", xlabel=probability, ylabel=f"{unit} (%)")
    lower.yaxis.set_major_formatter("{x:g}")
    lower.yaxis.set_minor_formatter(NullFormatter())
    return figure
