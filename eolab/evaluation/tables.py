"""Tables of scores: several models against one or more truths, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from eolab.evaluation import metrics

STATISTICS = ("macro_f1", "accuracy", "balanced_accuracy")


def score_table(
    predicted: Mapping[str, np.ndarray],
    truths: Mapping[str, np.ndarray],
    *,
    classes: int,
    groups: np.ndarray | None = None,
    statistics: Sequence[str] = STATISTICS,
    baselines: Collection[str] = (),
    replicates: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Score models on the same samples, each with its interval.

    Args:
        predicted: Class probabilities (N, K) or class indices (N,) by the model's name.
        truths: Class indices (N,), 255 = not known, by what they are ("old map", "truth").
        classes: Number of classes K.
        groups: Group of each sample for the cluster bootstrap (block, scene), None to draw samples.
        statistics: Names of :mod:`eolab.evaluation.metrics`.
        baselines: Names that are baselines, for a plot that tells them apart.
        replicates: Bootstrap replicates.
        seed: Of the bootstrap.

    Returns:
        Columns name, against, statistic, estimate, low, high (95 %), samples, baseline.
    """
    rows = []
    for against, truth in truths.items():
        samples = int((truth != metrics.IGNORE).sum())
        for name, values in predicted.items():
            labels = values.argmax(axis=1) if values.ndim == 2 else values
            for statistic in statistics:
                interval = metrics.bootstrap(
                    truth, labels, groups, statistic, replicates, seed, classes=classes
                )
                rows.append((name, against, statistic, *interval, samples, name in baselines))
    columns = ["name", "against", "statistic", "estimate", "low", "high", "samples", "baseline"]
    return pd.DataFrame(rows, columns=columns)


def nested(scores: pd.DataFrame, name: str) -> dict[str, dict[str, float]]:
    """Return the estimates of one model as ``{against: {statistic: estimate}}``, for ``metrics.json``."""
    rows = scores[scores["name"] == name]
    return {
        str(against).replace(" ", "_"): dict(zip(part["statistic"], part["estimate"], strict=True))
        for against, part in rows.groupby("against", sort=False)
    }


def named(scores: pd.DataFrame, name: str) -> dict[str, float]:
    """Return the estimates of one model as ``{statistic: estimate}``, for ``metrics.json``.

    Args:
        scores: Result of :func:`eolab.evaluation.mask_scores`.
        name: The model.
    """
    rows = scores[scores["name"] == name]
    return dict(zip(rows["statistic"], rows["estimate"].astype(float), strict=True))


def class_table(
    truth: np.ndarray,
    prediction: np.ndarray,
    names: Sequence[str],
    groups: np.ndarray | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Score each class, F1 with its interval.

    Args:
        truth: Class indices (N,), 255 = not known.
        prediction: Class indices (N,).
        names: Class names.
        groups: As in :func:`score_table`.
        replicates: Bootstrap replicates.
        seed: Of the bootstrap.

    Returns:
        A row a class: class, precision, recall, f1, low, high (95 % of F1), iou, support (samples).
    """
    table = metrics.scores(metrics.confusion(truth, prediction, len(names)), list(names)).classes
    interval: Any = metrics.bootstrap(truth, prediction, groups, "f1", replicates, seed, classes=len(names))
    table = table.assign(low=interval.low, high=interval.high).reset_index()
    return table[["class", "precision", "recall", "f1", "low", "high", "iou", "support"]]


def _interval(row: Any) -> str:
    if pd.isna(row.estimate):
        return "undefined"
    if pd.isna(row.low):
        return f"{row.estimate:.3f}"
    return f"{row.estimate:.3f} ({row.low:.3f} to {row.high:.3f})"


def of_run(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return a training run's table of scores with its model under another name; baselines keep theirs.

    Args:
        table: With columns name and baseline.
        name: Such as :func:`eolab.runs.named` gives.
    """
    return table.assign(name=table["name"].where(table["baseline"].astype(bool), name))


def join_scores(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Put score tables of several runs on the same samples together, each classifier once.

    Args:
        tables: Results of :func:`score_table` or of :func:`eolab.evaluation.mask_scores`, the newest run
            first; of two rows for one classifier the newer one counts.

    Returns:
        One table: baselines first, then by name.
    """
    joined = pd.concat(list(tables), ignore_index=True)
    joined = joined.drop_duplicates(
        [key for key in ("level", "name", "against", "statistic") if key in joined]
    )
    return joined.sort_values(["baseline", "name"], ascending=[False, True], kind="stable", ignore_index=True)


def readable(scores: pd.DataFrame) -> pd.DataFrame:
    """Return a score table for people: a row a classifier and truth, "estimate (low to high)" by statistic.

    Args:
        scores: Result of :func:`score_table` or of :func:`eolab.evaluation.mask_scores`.
    """
    text = [_interval(row) for row in scores.itertuples(index=False)]
    rows = [key for key in ("level", "name", "against", "samples", "patches", "classes") if key in scores]
    wide = scores.assign(text=text).pivot_table(
        index=rows, columns="statistic", values="text", aggfunc="first", sort=False
    )
    wide.columns = [
        str(name).replace("_", " ").replace("f1", "F1").replace("f2", "F2").replace("iou", "IoU")
        for name in wide.columns
    ]
    return wide.reset_index()
