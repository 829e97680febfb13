"""Yes or no: scores of answers with a threshold, with bootstrap intervals over groups of samples."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd

from eolab.core.errors import DataError
from eolab.data.schemes import IGNORE
from eolab.evaluation import metrics
from eolab.evaluation.curves import PrecisionCurve, group_draws

BINARY_STATISTICS = (
    *("accuracy", "balanced_accuracy", "precision", "recall", "f1"),
    "average_precision",
)
OF_CLASS = ("precision", "recall", "f1")


def binary_scores(
    scores: Mapping[str, Any],
    truth: Any,
    thresholds: Mapping[str, float],
    *,
    groups: Any = None,
    statistics: Collection[str] = BINARY_STATISTICS,
    baselines: Collection[str] = (),
    replicates: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Score several answers to one question on the same samples, each with its interval.

    Args:
        scores: The higher, the more likely (N,), by the model's name.
        truth: 1 yes, 0 no, 255 = not known (N,).
        thresholds: A model says yes where its score is at least this.
        groups: Group of each sample (scene), drawn as a whole; None to draw samples.
        statistics: Which of :data:`BINARY_STATISTICS`.
        baselines: Names that are baselines.
        replicates: Bootstrap replicates.
        seed: Of the bootstrap.

    Returns:
        Columns name, statistic, estimate, low, high (95 %), samples, baseline. Precision, recall and F1 are
        of "yes"; average precision is the area under the steps of precision over recall, without a threshold.
        NaN where undefined; of one group alone no interval is known.

    Raises:
        DataError: If no sample is labelled, or a score is not a finite number.
    """
    known = np.asarray(truth) != IGNORE
    true = np.asarray(truth)[known].astype(np.int64)
    if not len(true):
        raise DataError("No sample is labelled: nothing to score.")
    group = np.arange(len(true)) if groups is None else np.asarray(groups)[known]
    alone = len(np.unique(group)) == 1  # one group cannot be drawn: count it twice, and know no interval
    if alone:
        true, group = np.tile(true, 2), np.repeat([0, 1], len(group))
    options = {"n": replicates, "seed": seed}
    rows = []
    for name, values in scores.items():
        value = np.tile(np.asarray(values, np.float64)[known], 2 if alone else 1)
        if not np.isfinite(value).all():
            raise DataError(f"{(~np.isfinite(value)).sum()} samples have no finite score by {name!r}.")
        said = (value >= thresholds[name]).astype(np.int64)
        for statistic in statistics:
            if statistic == "average_precision":
                interval = average_precision(true, value, group, **options)
            else:
                found = metrics.bootstrap(true, said, group, statistic, **options, classes=2)
                interval = metrics.Interval(*(part[1] for part in found)) if statistic in OF_CLASS else found
            if alone:
                interval = interval._replace(low=float("nan"), high=float("nan"))
            rows.append((name, statistic, *interval, int(known.sum()), name in baselines))
    columns = ["name", "statistic", "estimate", "low", "high", "samples", "baseline"]
    return pd.DataFrame(rows, columns=columns)


def average_precision(truth: Any, score: Any, groups: Any, n: int = 1000, seed: int = 0) -> metrics.Interval:
    """Return the average precision with its percentile bootstrap interval.

    Args:
        truth: 1 or 0 (N,).
        score: The higher, the more likely (N,).
        groups: Group of each sample (N,), drawn as a whole.
        n: Replicates; those without a positive sample are left out.
        seed: Of the draws.
    """
    true, values = np.asarray(truth), np.asarray(score)
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    if not 0 < true.sum() < len(true):
        return metrics.Interval(float("nan"), float("nan"), float("nan"))
    curve = PrecisionCurve(true, values, member, len(names))
    found = [curve.precisions(drawn)[0] for drawn in group_draws(len(names), n, seed)]
    low, high = np.nanquantile(np.concatenate(found), [0.025, 0.975])
    return metrics.Interval(curve.exact, float(low), float(high))
