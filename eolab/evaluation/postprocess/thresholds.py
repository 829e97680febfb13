"""Which probability makes a sample or a pixel one of the positive class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from eolab.core.errors import DataError, ParameterError, did_you_mean
from eolab.evaluation import metrics
from eolab.evaluation.postprocess.reading import labelled_pixels

# every hundredth, which includes the thresholds that the landslide report lists (0.4 … 0.95, 0.99)
HUNDREDTHS = tuple(np.arange(1, 100) / 100)
MIDPOINTS = "midpoints"
SCORES = {
    **{name: f"class.{name}" for name in ("precision", "recall", "f1", "f2", "iou")},
    **{"macro_f1": "macro.f1", "mean_iou": "macro.iou", "balanced_accuracy": "all.balanced_accuracy"},
}
Thresholds = Sequence[float] | Literal["midpoints"] | None


def decide(probability: Any, threshold: Any) -> np.ndarray:
    """Return where a probability is at least a threshold, bool, compared in the precision of the probability.

    Args:
        probability: Any shape; float16 and whole numbers are compared as float32.
        threshold: A number, or an array that broadcasts with the probabilities, such as one a class.
    """
    values = np.asarray(probability)
    precision = np.float64 if values.dtype == np.float64 else np.float32
    return values.astype(precision, copy=False) >= np.asarray(threshold, precision)


def threshold_curve(probability: Any, truth: Any, thresholds: Thresholds = None) -> pd.DataFrame:
    """Score the decision of every threshold, all values pooled.

    Values are sorted once into the bins between the thresholds, so that the time does not depend on the
    number of thresholds; a value is positive where :func:`decide` says so.

    Args:
        probability: (N, …).
        truth: 0 or 1, 255 = not known, of the same shape.
        thresholds: 0 to 1, 0.01 to 0.99 in hundredths by default; "midpoints" for the lowest probability and
            all numbers halfway between neighbouring ones, of which there are few.

    Returns:
        A row a threshold, ascending: threshold; precision, recall, f1, f2 and iou of the positive class;
        macro_f1, mean_iou and balanced_accuracy of both classes. NaN where undefined: balanced accuracy also
        where one class alone is there.

    Raises:
        DataError: If shapes differ, nothing is labelled, or values are neither probabilities nor labels.
        ParameterError: If a threshold is not between 0 and 1.
    """
    limits = _limits(probability, truth, thresholds)
    bins, precision = len(limits) + 1, np.result_type(np.float32, np.asarray(probability).dtype)
    counts = np.zeros((2, bins), np.int64)  # negatives and positives by number of thresholds passed
    for values, true in labelled_pixels(probability, truth):
        passed = np.searchsorted(limits.astype(precision), values.astype(precision), side="right")
        counts += np.bincount(passed + bins * true, minlength=2 * bins).reshape(2, bins)
    if not counts.sum():
        raise DataError("No pixel is labelled: nothing to score.")
    predicted = counts[:, ::-1].cumsum(axis=1)[:, -2::-1]  # (2, thresholds): values that pass
    matrices = np.stack([counts.sum(axis=1, keepdims=True) - predicted, predicted], axis=-1)  # (2, T, 2)
    matrices = matrices.transpose(1, 0, 2)  # (T, truth, prediction)
    curve = {"threshold": limits}
    for name, statistic in SCORES.items():
        values = metrics.statistic_of(matrices, statistic)
        curve[name] = values[:, 1] if values.ndim > 1 else values
    if not counts.sum(axis=1).all():
        curve["balanced_accuracy"] = np.full(len(limits), np.nan)
    return pd.DataFrame(curve)


def choose_threshold(
    probability: Any,
    truth: Any,
    statistic: str = "f1",
    thresholds: Thresholds = None,
    *,
    by_label: bool = False,
    default: float | None = None,
) -> Any:
    """Return the threshold with the best score on validation samples, never on those that are scored.

    Of several equally good thresholds the nearest to 0.5 is taken, of two as near the lower one; see
    :func:`best_threshold`.

    Args:
        probability: (N, …).
        truth: 0 or 1, 255 = not known, of the same shape.
        statistic: A score of :func:`threshold_curve`.
        thresholds: See :func:`threshold_curve`.
        by_label: Whether each column of probabilities (N, K) gets a threshold of its own, float64 (K,).
        default: Threshold where there is nothing to choose by, such as no positive sample; None to raise.

    Raises:
        ParameterError: If there is no such score.
        DataError: Where :func:`threshold_curve` raises it, and if there is nothing to choose by.
    """
    if by_label:
        columns = zip(np.asarray(probability).T, np.asarray(truth).T, strict=True)
        return np.array([choose_threshold(p, t, statistic, thresholds, default=default) for p, t in columns])
    if statistic not in SCORES:
        raise ParameterError(
            f"There is no score {statistic!r} of thresholds; {did_you_mean(statistic, SCORES)}"
        )
    curve = threshold_curve(probability, truth, thresholds)
    if not (curve["recall"].isna().all() or curve[statistic].isna().all()):
        return best_threshold(curve["threshold"], curve[statistic])
    if default is None:
        raise DataError(
            "No labelled pixel or sample is positive, or all are: a threshold can only be chosen where there "
            "are both; take other validation samples, or give a threshold."
        )
    return default


def best_threshold(thresholds: Any, scores: Any) -> float:
    """Return the threshold with the best score; of equally good ones the nearest to 0.5, then the lower one.

    Args:
        thresholds: (T,).
        scores: (T,), NaN where undefined; differences below 1e-12 are none.
    """
    limits, found = np.asarray(thresholds, np.float64), np.asarray(scores, np.float64)
    best = limits[found >= np.nanmax(found) - 1e-12]
    return float(min(best, key=lambda value: (round(abs(value - 0.5), 9), value)))


def _limits(probability: Any, truth: Any, thresholds: Thresholds) -> np.ndarray:
    """Return the thresholds that are tried, ascending."""
    if isinstance(thresholds, str):
        known = [np.unique(values) for values, _ in labelled_pixels(probability, truth)]
        values = np.unique(np.concatenate([np.empty(0), *known]).astype(np.float64))
        return np.concatenate([values[:1], (values[1:] + values[:-1]) / 2])
    limits = np.unique(np.asarray(HUNDREDTHS if thresholds is None else thresholds, np.float64))
    if not len(limits) or not (limits[0] >= 0 and limits[-1] <= 1):
        raise ParameterError(f"The thresholds are {thresholds}: expected numbers from 0 to 1.")
    return limits
