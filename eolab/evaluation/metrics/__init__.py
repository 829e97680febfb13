"""Scores from confusion matrices, with bootstrap intervals; every average says what it averages over.

Notation for class k, from a confusion matrix with truth in rows: TP = diagonal, FN = rest of row k, FP = rest
of column k, support = TP + FN. "Present" classes are those with support > 0; a class that nobody predicted
and that has support counts with F1 = 0.

=================== ===========================================================================
accuracy            Σ TP / N, also called overall accuracy
balanced_accuracy   mean recall of the present classes
macro_f1            mean F1 of the present classes: every class counts the same
micro_f1            2 Σ TP / (2 Σ TP + Σ FP + Σ FN); with one label a sample, equal to accuracy
weighted_f1         mean F1 of the present classes, weighted by their support
kappa               Cohen (1960): (accuracy − chance) / (1 − chance), chance from row and column sums
mean_iou            mean TP / (TP + FP + FN) of the present classes
precision … iou     one value a class: TP / (TP + FP), TP / (TP + FN), 2 TP / (2 TP + FP + FN), IoU
=================== ===========================================================================
"""

from eolab.data.schemes import IGNORE
from eolab.evaluation.metrics.counting import chunks, confusion, confusions
from eolab.evaluation.metrics.resampling import (
    Interval,
    bootstrap,
    bootstrap_batches,
    bootstrap_matrices,
    compare_matrices,
    compare_scores,
)
from eolab.evaluation.metrics.statistics import CLASS_WISE, OVERALL, Scores, batch_mean, scores, statistic_of

__all__ = [
    "CLASS_WISE",
    "IGNORE",
    "OVERALL",
    "Interval",
    "Scores",
    "batch_mean",
    "bootstrap",
    "bootstrap_batches",
    "bootstrap_matrices",
    "chunks",
    "compare_matrices",
    "compare_scores",
    "confusion",
    "confusions",
    "scores",
    "statistic_of",
]
