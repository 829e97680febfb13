"""Several labels a sample: scores by micro, macro and sample average, by class, and by ranking.

Notation, for class k over the samples: TP, FP and FN from probability ≥ threshold. P = TP / (TP + FP),
R = TP / (TP + FN), F_β = (1 + β²) TP / ((1 + β²) TP + β² FN + FP); 0 in averages where the denominator is 0.

======================= ======================================================================================
micro.…                 of the sums of TP, FP and FN over all classes: frequent classes count most
macro.…                 mean over the classes that have samples: every class counts the same
sample.…                the same of the K labels of one sample, mean over the samples
….average_precision     Σ (R_n − R_{n−1}) P_n over the thresholds n, without choosing one
all.coverage_error      how far down the ranking of a sample's classes its last true one stands, mean
all.ranking_loss        share of pairs of a true and a false class in the wrong order, ties as wrong, mean
all.subset_accuracy     share of samples with every label right
all.hamming_loss        share of labels that are wrong
======================= ======================================================================================

They are those of scikit-learn, with which the tests compare; coverage and ranking loss after Tsoumakas,
Katakis and Vlahavas (2010), Mining Multi-label Data.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from eolab.core.errors import DataError, check_known
from eolab.evaluation.bootstrap import Groups
from eolab.evaluation.classes import Classes
from eolab.evaluation.metrics import CLASS_WISE, check_finite, check_shapes, statistic_of_counts
from eolab.evaluation.postprocess import decide
from eolab.evaluation.ranking import PrecisionCurve

BY_AVERAGE = ("precision", "recall", "f1", "f2", "average_precision")
BY_SAMPLE = ("coverage_error", "ranking_loss", "subset_accuracy", "hamming_loss")
STATISTICS = (
    *(f"{average}.{statistic}" for average in ("micro", "macro", "sample") for statistic in BY_AVERAGE),
    *(f"all.{statistic}" for statistic in BY_SAMPLE),
)
_AT_ONCE = 4096  # samples whose classes are compared with each other at once


class MultiLabel(Classes):
    """Several labels a sample; see :class:`eolab.evaluation.bootstrap.Evaluated`.

    Args:
        truth: 0 or 1 (N, K).
        probability: (N, K).
        threshold: A number, or one a class (K,).
        groups: Group of each sample (N,); None for each on its own.
        class_names: K names.

    Raises:
        DataError: If shapes differ, a label is not 0 or 1, a probability is no finite number, or no class has
            a sample.
    """

    default = STATISTICS

    def __init__(
        self, truth: Any, probability: Any, threshold: Any, groups: Any, class_names: Sequence[str]
    ) -> None:
        self.probability, self.truth = np.asarray(probability, np.float64), np.asarray(truth) == 1
        arrays = {"probabilities": self.probability, "labels": self.truth}
        check_shapes("both (samples, classes)", self.truth.ndim == 2, **arrays)
        check_finite(self.probability)
        if not np.isin(truth, (0, 1)).all():
            other = np.setdiff1d(truth, (0, 1))[:3].tolist()
            raise DataError(f"The labels hold {other}: expected 0 and 1 alone; leave other samples out.")
        if not self.truth.any():
            raise DataError("No sample has a label: nothing to score.")
        self.threshold = np.broadcast_to(np.asarray(threshold, np.float64), self.truth.shape[1:])
        self.predicted = decide(probability, threshold)
        self._grouped = Groups(groups, np.ones(len(self.truth), bool))
        self._counts = np.stack(
            [self.predicted & self.truth, self.truth, self.predicted], axis=1
        )  # (N, 3, K)
        sums = self._grouped.sums(self._counts.astype(np.int64))
        super().__init__(sums, self._grouped.weights, class_names, len(self.truth))

    def _own(self, scope: str, statistic: str, draws: np.ndarray | None) -> np.ndarray | None:
        """See :class:`Classes`; also the ``threshold`` of a class.

        Scores of a class without a sample are NaN.
        """
        count = 1 if draws is None else len(draws)
        if scope in ("sample", "all"):
            return self._mean(statistic, draws)
        if statistic == "average_precision":
            return self._average_precision(scope, draws)
        if scope not in self.class_names:
            return None
        k = self.class_names.index(scope)
        if statistic == "threshold":
            return np.full(count, self.threshold[k])
        missing = statistic in CLASS_WISE and not self.truth[:, k].any()
        return np.full(count, np.nan) if missing else None

    def _mean(self, statistic: str, draws: np.ndarray | None) -> np.ndarray:
        """Return the mean over the samples (m,) of a statistic of each sample."""
        text = f"There is no statistic {statistic!r} of the labels of a sample"
        check_known(statistic, (*BY_AVERAGE, *BY_SAMPLE), text)
        chosen = self.weights[None] if draws is None else draws
        sums = self._grouped.sums(self._of_samples(statistic))
        return np.asarray(chosen @ sums / (chosen @ self._grouped.sums(np.ones(len(self.truth)))))

    def _of_samples(self, statistic: str) -> np.ndarray:
        """Return a statistic of each sample (N,)."""
        wrong = self.predicted != self.truth
        if statistic == "hamming_loss":
            return np.asarray(wrong.mean(axis=1))
        if statistic == "subset_accuracy":
            return (~wrong.any(axis=1)).astype(np.float64)
        if statistic in ("precision", "recall", "f1", "f2"):
            return np.nan_to_num(
                statistic_of_counts(self._counts.sum(axis=2)[..., None], f"class.{statistic}")
            )[:, 0]
        parts = [slice(start, start + _AT_ONCE) for start in range(0, len(self.truth), _AT_ONCE)]
        return np.concatenate([_ranked(statistic, self.probability[p], self.truth[p]) for p in parts])

    def _average_precision(self, scope: str, draws: np.ndarray | None) -> np.ndarray:
        """Return the average precision (m,) of a class, of all labels as one, or the mean of classes."""
        if scope == "micro":
            curves = [self._all_as_one]
        elif scope == "macro":
            curves = [curve for curve, true in zip(self._curves, self.truth.T, strict=True) if true.any()]
        else:
            known = ("micro", "macro", "sample", *self.class_names)
            check_known(scope, known, f"There is no scope {scope!r} of the average precision")
            curves = [self._curves[self.class_names.index(scope)]]
        if draws is None:
            return np.array([np.mean([curve.exact for curve in curves])])
        each, support = map(np.stack, zip(*(curve.precisions(draws) for curve in curves), strict=True))
        if scope == "macro":  # a class that a draw lacks counts with its score over all samples
            each = np.where(support > 0, each, np.array([curve.exact for curve in curves])[:, None])
        return np.asarray(each.mean(axis=0))

    @cached_property
    def _curves(self) -> list[PrecisionCurve]:
        """One a class."""
        grouped = self._grouped.member, len(self.weights)
        columns = zip(self.truth.T, self.probability.T, strict=True)
        return [PrecisionCurve(true, values, *grouped) for true, values in columns]

    @cached_property
    def _all_as_one(self) -> PrecisionCurve:
        member = np.repeat(self._grouped.member, self.truth.shape[1])
        return PrecisionCurve(self.truth.ravel(), self.probability.ravel(), member, len(self.weights))


def _ranked(name: str, probability: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return what compares the classes of a sample with each other, of each of some samples (n,)."""
    above = probability[:, None, :] >= probability[:, :, None]  # (n, K, K): class j at least as high as k
    at_least = above.sum(axis=2)  # (n, K): rank of class k from above, ties together
    true_at_least = (above & truth[:, None, :]).sum(axis=2)
    trues = truth.sum(axis=1)
    if name == "coverage_error":
        return np.where(truth, at_least, 0).max(axis=1).astype(np.float64)
    if name == "ranking_loss":
        wrong = np.where(truth, at_least - true_at_least, 0).sum(axis=1)  # false classes above each true one
        pairs = trues * (truth.shape[1] - trues)
        return np.divide(wrong, pairs, out=np.zeros(len(truth)), where=pairs > 0)
    precision = np.where(truth, true_at_least / at_least, 0).sum(axis=1)
    return np.divide(precision, trues, out=np.zeros(len(truth)), where=trues > 0)


# === Which labels meet and which are confused ===


def co_occurrence(truth: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """Return how often labels meet: of the samples with the class of the row, the share with the column's.

    Args:
        truth: 0 or 1 (N, K).
        names: Names of the classes.

    Returns:
        (K, K), 1 on the diagonal; NaN in the row of a class without a sample.
    """
    true = np.asarray(truth) == 1
    return _shares(true, true, names)


def label_confusion(predicted: np.ndarray, truth: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """Return which classes are predicted wrongly where one is missed.

    Args:
        predicted: Whether a class was predicted (N, K).
        truth: 0 or 1 (N, K).
        names: Names of the classes.

    Returns:
        (K, K): of the samples that have the class of the row and miss it, the share where the class of the
        column was predicted and is not there; 0 on the diagonal, NaN in the row of a class never missed.
    """
    true, found = np.asarray(truth) == 1, np.asarray(predicted) == 1
    return _shares(true & ~found, found & ~true, names)


def _shares(rows: np.ndarray, columns: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """Return of the samples of each row (N, K) the share that each column (N, K) has too."""
    rows, columns = rows.astype(np.float64), columns.astype(np.float64)
    both, alone = rows.T @ columns, rows.sum(axis=0)
    shares = np.divide(both, alone[:, None], out=np.full_like(both, np.nan), where=alone[:, None] > 0)
    return pd.DataFrame(shares, index=list(names), columns=list(names))
