"""Tables of scores of maps of several classes, from a confusion matrix a patch."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from eolab.evaluation import metrics

MAP_STATISTICS = ("accuracy", "macro_f1", "mean_iou")


def map_scores(
    matrices: Mapping[str, np.ndarray],
    groups: Any = None,
    *,
    statistics: Sequence[str] = MAP_STATISTICS,
    baselines: Collection[str] = (),
    replicates: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Score maps of several classes on the same patches, pixels pooled over all of them, with intervals.

    Args:
        matrices: Confusion matrices (N, K, K) of the patches by the map's name, truth in rows; see
            :func:`eolab.evaluation.metrics.confusions`.
        groups: Group of each patch (N,) for the cluster bootstrap; None draws single patches.
        statistics: Names of :mod:`eolab.evaluation.metrics`.
        baselines: Names that are baselines.
        replicates: Bootstrap replicates; every map sees the same draws.
        seed: Of the bootstrap.

    Returns:
        Columns name, statistic, estimate, low, high (95 %), samples (labelled pixels), baseline.

    Raises:
        DataError: If nothing is labelled, or there is one group only.
    """
    rows = []
    for name, counts in matrices.items():
        for statistic in statistics:
            interval = metrics.bootstrap_matrices(counts, statistic, groups, replicates, seed)
            rows.append((name, statistic, *interval, int(np.sum(counts)), name in baselines))
    return pd.DataFrame(rows, columns=["name", "statistic", "estimate", "low", "high", "samples", "baseline"])
