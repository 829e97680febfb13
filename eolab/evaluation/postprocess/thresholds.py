"""Which probability makes a pixel a landslide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from eolab.core.errors import DataError, ParameterError, did_you_mean
from eolab.evaluation import metrics
from eolab.evaluation.postprocess.reading import labelled_pixels

# every hundredth, which includes the thresholds that the report lists (0.4 … 0.95, 0.99)
THRESHOLDS = tuple(np.arange(1, 100) / 100)


def decide(probability: Any, threshold: Any) -> np.ndarray:
    """Return the mask of the pixels with at least this probability, bool, compared in float32.

    Args:
        probability: Of any shape.
        threshold: A number, or an array that broadcasts with the probabilities, such as one a class.
    """
    return np.asarray(probability, np.float32) >= np.asarray(threshold, np.float32)


def threshold_curve(probability: Any, truth: Any, thresholds: Sequence[float] | None = None) -> pd.DataFrame:
    """Score the mask of every threshold, pixels pooled over all patches.

    Pixels are sorted once into the bins between the thresholds, so that the time does not depend on the
    number of thresholds; a pixel is a landslide where :func:`decide` says so.

    Args:
        probability: (N, H, W) float16 or float32.
        truth: (N, H, W): 0 background, 1 landslide, 255 not known.
        thresholds: 0 to 1; 0.01, 0.02, … 0.99 by default.

    Returns:
        A row a threshold, ascending: threshold; precision, recall, f1 and iou of the landslide class;
        macro_f1 and mean_iou of both classes. NaN where undefined.

    Raises:
        DataError: If shapes differ, nothing is labelled, or values are neither probabilities nor labels.
        ParameterError: If a threshold is not between 0 and 1.
    """
    limits = np.unique(np.asarray(THRESHOLDS if thresholds is None else thresholds, np.float64))
    if not len(limits) or not (limits[0] >= 0 and limits[-1] <= 1):
        raise ParameterError(f"The thresholds are {thresholds}: expected numbers from 0 to 1.")
    bins = len(limits) + 1
    counts = np.zeros((2, bins), np.int64)  # background and landslide pixels by number of thresholds passed
    for values, true in labelled_pixels(probability, truth):
        passed = np.searchsorted(limits.astype(np.float32), values.astype(np.float32), side="right")
        counts += np.bincount(passed + bins * true, minlength=2 * bins).reshape(2, bins)
    if not counts.sum():
        raise DataError("No pixel is labelled: nothing to score.")
    predicted = counts[:, ::-1].cumsum(axis=1)[:, -2::-1]  # (2, thresholds): pixels that pass
    matrices = np.stack([counts.sum(axis=1, keepdims=True) - predicted, predicted], axis=-1)  # (2, T, 2)
    matrices = matrices.transpose(1, 0, 2)  # (T, truth, prediction)
    curve = {name: metrics.statistic_of(matrices, name)[:, 1] for name in metrics.CLASS_WISE}
    both = {name: metrics.statistic_of(matrices, name) for name in ("macro_f1", "mean_iou")}
    return pd.DataFrame({"threshold": limits, **curve, **both})


def choose_threshold(
    probability: Any, truth: Any, statistic: str = "f1", thresholds: Sequence[float] | None = None
) -> float:
    """Return the threshold with the best score; of several equally good ones the nearest to 0.5.

    Of two as near, the lower. Choose on validation patches, never on those that are scored.

    Args:
        probability: (N, H, W).
        truth: (N, H, W).
        statistic: A score of :func:`threshold_curve`.
        thresholds: As there.

    Raises:
        ParameterError: If there is no such score.
        DataError: As :func:`threshold_curve`, and if no labelled pixel is a landslide.
    """
    curve = threshold_curve(probability, truth, thresholds)
    known = [str(name) for name in curve if name != "threshold"]
    if statistic not in known:
        raise ParameterError(
            f"There is no score {statistic!r} of thresholds; {did_you_mean(statistic, known)}"
        )
    if curve["recall"].isna().all():
        raise DataError(
            "No labelled pixel is a landslide: a threshold can only be chosen on patches that have some."
        )
    best = curve[curve[statistic] == curve[statistic].max()]["threshold"]
    return float(min(best, key=lambda value: (round(abs(value - 0.5), 9), value)))
