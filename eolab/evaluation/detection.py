"""Detection of whole patches: is there a landslide in it?"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from eolab.core.errors import DataError
from eolab.data.schemes import IGNORE
from eolab.evaluation import metrics


def patch_detection(truth_any: Any, score: Any, threshold: float = 0.5) -> dict[str, float]:
    """Score the answer to "is there a landslide in this patch?".

    Args:
        truth_any: Whether a patch has a landslide (N,), bool or 0, 1 and 255 = not known.
        score: The higher, the more likely (N,), for example a probability.
        threshold: A patch is said to have a landslide where its score is at least this.

    Returns:
        ``precision``, ``recall`` and ``f1`` at the threshold; ``average_precision``, the area under the steps
        of precision over recall; ``roc_auc``, the probability that a patch with a landslide scores higher
        than one without; ``patches`` that count and their share with a landslide, ``positive``, which is the
        average precision of guessing. NaN where undefined: precision where nothing is said to be positive,
        the last two where all patches are alike.

    Raises:
        DataError: If the shapes differ, no patch is labelled, or a score is not a finite number.
    """
    truth, values = np.asarray(truth_any), np.asarray(score, np.float64)
    if truth.ndim != 1 or truth.shape != values.shape:
        raise DataError(
            f"Truth has shape {truth.shape}, the score {values.shape}: expected one value a patch (N,) each."
        )
    known = truth != IGNORE
    true, values = truth[known].astype(int), values[known]
    if not len(true):
        raise DataError("No patch is labelled: nothing to score.")
    if not np.isfinite(values).all():
        wrong = int((~np.isfinite(values)).sum())
        raise DataError(f"{wrong} of {len(values)} patches have no finite score: predict them again.")
    matrix = metrics.confusion(true, values >= threshold, 2)
    both = 0 < true.sum() < len(true)
    return {
        **{name: float(metrics.statistic_of(matrix, name)[1]) for name in ("precision", "recall", "f1")},
        "average_precision": float(average_precision_score(true, values)) if both else float("nan"),
        "roc_auc": float(roc_auc_score(true, values)) if both else float("nan"),
        "patches": len(true),
        "positive": float(true.mean()),
    }
