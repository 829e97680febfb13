"""Scores of masks with two classes, each named by its averaging."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from eolab.core.errors import DataError, ParameterError, did_you_mean
from eolab.evaluation import metrics
from eolab.evaluation.metrics import Interval

LANDSLIDE = 1  # class 0 is the background
# name: statistic of eolab.evaluation.metrics, class or None for the mean of both
POOLED: dict[str, tuple[str, int | None]] = {
    "landslide_f1": ("f1", LANDSLIDE),
    "landslide_iou": ("iou", LANDSLIDE),
    "precision": ("precision", LANDSLIDE),
    "recall": ("recall", LANDSLIDE),
    "macro_f1": ("macro_f1", None),
    "mean_iou": ("mean_iou", None),
}
BATCHED = {"batch_macro_f1": "macro_f1", "batch_mean_iou": "mean_iou"}
MASK_STATISTICS = (*POOLED, *BATCHED)


def mask_scores(
    matrices: Mapping[str, np.ndarray],
    groups: Any = None,
    *,
    batch: int = 16,
    baselines: Collection[str] = (),
    replicates: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Score masks of several models on the same patches, each score with its interval and its averaging.

    ================= ================================================================================
    landslide_f1, _iou of class 1, its pixels pooled over all patches; the F1 is the official metric of
                      Landslide4Sense (Ghorbanzadeh et al. 2022, arXiv 2209.02556)
    precision, recall of class 1, pooled likewise
    macro_f1, mean_iou mean of both classes, each pooled over all pixels: the background, which is nearly all
                      of the area and nearly always right, lifts it
    batch_macro_f1, … the same mean in each batch of consecutive patches, averaged over the batches; a batch
                      without landslides counts the background alone
    ================= ================================================================================

    Args:
        matrices: Confusion matrices (N, 2, 2) of the patches by model;
            :func:`eolab.evaluation.metrics.confusions`.
        groups: Group of each patch (N,) for the cluster bootstrap; None draws single patches.
        batch: Patches a batch of the batch-averaged scores.
        baselines: Names that are baselines.
        replicates: Bootstrap replicates; every model sees the same draws.
        seed: Of the bootstrap.

    Returns:
        Columns name, statistic, averaging, estimate, low, high (95 %), patches, baseline.

    Raises:
        DataError: If the matrices are not (N, 2, 2), nothing is labelled, or there is one group only.
    """
    rows = []
    for name, counts in matrices.items():
        if np.ndim(counts) != 3 or np.shape(counts)[1:] != (2, 2):
            raise DataError(f"Matrices of {name!r} have shape {np.shape(counts)}: expected (N, 2, 2).")
        for statistic in MASK_STATISTICS:
            interval = _estimate(np.asarray(counts), statistic, groups, batch, replicates, seed)
            row = (name, statistic, averaging(statistic, batch), *interval, len(counts), name in baselines)
            rows.append(row)
    columns = ["name", "statistic", "averaging", "estimate", "low", "high", "patches", "baseline"]
    return pd.DataFrame(rows, columns=columns)


def pooled(matrix: np.ndarray, statistics: Sequence[str] = tuple(POOLED)) -> dict[str, float]:
    """Return pooled scores of one confusion matrix (2, 2) by name; see :func:`mask_scores`.

    Raises:
        ParameterError: If a name is not that of a pooled score.
    """
    found = {}
    for name in statistics:
        if name not in POOLED:
            raise ParameterError(f"There is no pooled score {name!r}; {did_you_mean(name, POOLED)}")
        statistic, index = POOLED[name]
        value = metrics.statistic_of(np.asarray(matrix), statistic)
        found[name] = float(value if index is None else value[index])
    return found


def averaging(statistic: str, batch: int = 16) -> str:
    """Return in words what a score of :func:`mask_scores` averages over."""
    if statistic in BATCHED:
        return f"mean of both classes in each batch of {batch} patches, then of the batches"
    return (
        "mean of both classes, pooled over pixels" if POOLED[statistic][1] is None else "pooled over pixels"
    )


def _estimate(
    counts: np.ndarray, statistic: str, groups: Any, batch: int, replicates: int, seed: int
) -> Interval:
    if statistic in BATCHED:
        return metrics.bootstrap_batches(counts, BATCHED[statistic], batch, groups, replicates, seed)
    name, index = POOLED[statistic]
    return metrics.bootstrap_matrices(counts, name, groups, replicates, seed, index)
