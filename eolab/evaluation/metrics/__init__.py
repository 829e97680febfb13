"""Scores from confusion matrices; every name says what it averages over.

A name is "scope.statistic". Notation for class k, from a confusion matrix with truth in rows: TP = diagonal,
FN = rest of row k, FP = rest of column k, support = TP + FN. "Present" classes are those with support > 0; a
class that nobody predicted and that has support counts with F1 = 0.

===================== =========================================================================
class.precision …     one value a class: TP / (TP + FP); recall TP / (TP + FN); f1, f2
                      (1 + β²) TP / ((1 + β²) TP + β² FN + FP); iou TP / (TP + FP + FN)
macro.precision …     mean of the present classes: every class counts the same
micro.precision …     of the sums of TP, FP and FN over the classes; with one label a sample, micro.f1
                      equals accuracy
weighted.precision …  mean of the present classes, weighted by their support
all.accuracy          Σ TP / N, also called overall accuracy
all.balanced_accuracy mean recall of the present classes
all.kappa             Cohen (1960): (accuracy − chance) / (1 − chance), chance from row and column sums
===================== =========================================================================
"""

from eolab.data.schemes import IGNORE
from eolab.evaluation.metrics.counting import chunks, confusion, confusions
from eolab.evaluation.metrics.statistics import (
    KNOWN,
    batch_mean,
    by_name,
    counts_of,
    statistic_of,
    statistic_of_counts,
    values_of,
)

__all__ = [
    "IGNORE",
    "KNOWN",
    "batch_mean",
    "by_name",
    "chunks",
    "confusion",
    "confusions",
    "counts_of",
    "statistic_of",
    "statistic_of_counts",
    "values_of",
]
