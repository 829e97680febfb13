"""Several labels a sample: scores by micro, macro and sample average and by ranking, with intervals.

Notation, for class k over the samples: TP, FP and FN from probability ≥ threshold. P = TP / (TP + FP),
R = TP / (TP + FN), F_β = (1 + β²) TP / ((1 + β²) TP + β² FN + FP); 0 where the denominator is 0.

=================== ==========================================================================================
micro_…             of the sums of TP, FP and FN over all classes: frequent classes count most
macro_…             mean over the classes that have samples: every class counts the same
sample_…            the same of the K labels of one sample, mean over the samples
…average_precision  Σ (R_n − R_{n−1}) P_n over the thresholds n, without choosing one
coverage_error      how far down the ranking of a sample's classes its last true one stands, mean
ranking_loss        share of pairs of a true and a false class in the wrong order, ties as wrong, mean
subset_accuracy     share of samples with every label right
hamming_loss        share of labels that are wrong
=================== ==========================================================================================

As in scikit-learn, with which the tests compare; coverage and ranking loss after Tsoumakas, Katakis and
Vlahavas (2010), Mining Multi-label Data.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from eolab.core.errors import DataError, ParameterError, did_you_mean
from eolab.evaluation.curves import PrecisionCurve, group_draws
from eolab.evaluation.metrics import Interval
from eolab.evaluation.postprocess import decide

AVERAGES = ("micro", "macro", "sample")
_BY_AVERAGE = ("precision", "recall", "f1", "f2", "average_precision")
_BY_SAMPLE = ("coverage_error", "ranking_loss", "subset_accuracy", "hamming_loss")
MULTILABEL_STATISTICS = (*(f"{a}_{s}" for a in AVERAGES for s in _BY_AVERAGE), *_BY_SAMPLE)
_AT_ONCE = 4096  # samples whose classes are compared with each other at once


def multilabel_scores(
    probabilities: Mapping[str, np.ndarray],
    truth: np.ndarray,
    thresholds: Mapping[str, Any],
    *,
    groups: Any = None,
    statistics: Collection[str] = MULTILABEL_STATISTICS,
    counted: Any = None,
    baselines: Collection[str] = (),
    replicates: int = 300,
    seed: int = 0,
) -> pd.DataFrame:
    """Score several models on the same samples, each with its interval.

    Args:
        probabilities: Of each class (N, K) by the model's name.
        truth: 1 where a sample has the class, else 0 (N, K).
        thresholds: Of each model: one number, or one a class (K,), chosen on validation samples.
        groups: Group of each sample (tile, area), drawn as a whole; None to draw samples.
        statistics: Which of :data:`MULTILABEL_STATISTICS`.
        counted: Which classes count (K,), all by default. Choose them by training samples alone.
        baselines: Names that are baselines.
        replicates: Bootstrap replicates.
        seed: Of the draws.

    Returns:
        Columns name, statistic, estimate, low, high (95 %), samples, classes (that count), baseline.

    Raises:
        ParameterError: If a statistic is unknown.
        DataError: If shapes differ, a probability is no finite number, or no class has a sample.
    """
    for statistic in statistics:
        if statistic not in MULTILABEL_STATISTICS:
            known = did_you_mean(statistic, MULTILABEL_STATISTICS)
            raise ParameterError(f"There is no multi-label statistic {statistic!r}; {known}")
    rows = []
    kept: Any = slice(None) if counted is None else np.asarray(counted, bool)
    labels = np.asarray(truth)
    for name, values in probabilities.items():
        limit = np.broadcast_to(thresholds[name], labels.shape[1:])
        answers = Answers(np.asarray(values)[:, kept], labels[:, kept], limit[kept], groups)
        for statistic in statistics:
            interval = answers.interval(statistic, replicates, seed)
            rows.append((name, statistic, *interval, *answers.truth.shape, name in baselines))
    columns = ["name", "statistic", "estimate", "low", "high", "samples", "classes", "baseline"]
    return pd.DataFrame(rows, columns=columns)


class Answers:
    """Answers of one model and the truth, counted by sample and by group.

    Args:
        probability: (N, K).
        truth: 0 or 1 (N, K).
        threshold: A number, or one a class (K,).
        groups: Group of each sample (N,); None for each on its own.

    Raises:
        DataError: As :func:`multilabel_scores`.
    """

    def __init__(self, probability: Any, truth: Any, threshold: Any, groups: Any = None) -> None:
        self.probability, self.truth = np.asarray(probability, np.float64), np.asarray(truth) == 1
        if self.probability.ndim != 2 or self.probability.shape != self.truth.shape:
            raise DataError(
                f"Probabilities have shape {self.probability.shape} and labels {self.truth.shape}: "
                "expected both (samples, classes)."
            )
        if not np.isfinite(self.probability).all():
            raise DataError(f"{(~np.isfinite(self.probability)).sum()} probabilities are no finite number.")
        if not self.truth.any():
            raise DataError("No sample has a label: nothing to score.")
        self.said = decide(self.probability, threshold)
        names = np.arange(len(self.truth)) if groups is None else np.asarray(groups)
        self.groups, self.member = np.unique(names, return_inverse=True)

    def counts(self) -> np.ndarray:
        """Return TP, FP and FN of each sample and class, bool (3, N, K)."""
        return np.stack([self.said & self.truth, self.said & ~self.truth, ~self.said & self.truth])

    def interval(self, statistic: str, replicates: int = 300, seed: int = 0) -> Interval:
        """Return a statistic with its percentile bootstrap interval; of one group alone none is known."""
        average, _, name = statistic.partition("_")
        if statistic in _BY_SAMPLE or average == "sample":
            found = self._mean(_of_samples(self, statistic), replicates, seed)
        elif name == "average_precision":
            found = self._precisions(average, replicates, seed)
        else:
            found = self._counted(average, name, replicates, seed)
        estimate, drawn = found[0], found[1:]
        if len(self.groups) < 2 or np.isnan(drawn).all():
            return Interval(float(estimate), float("nan"), float("nan"))
        low, high = np.nanquantile(drawn, [0.025, 0.975])
        return Interval(float(estimate), float(low), float(high))

    def _draws(self, replicates: int, seed: int) -> Iterator[np.ndarray]:
        """Yield how often each group is drawn, (n, G) at a time: first once each, then the replicates."""
        yield np.ones((1, len(self.groups)), np.int64)
        yield from group_draws(len(self.groups), replicates if len(self.groups) > 1 else 0, seed)

    def _by_group(self, values: np.ndarray) -> np.ndarray:
        """Return the sums (G, …) of values (N, …) over the samples of each group."""
        sums = np.zeros((len(self.groups), *values.shape[1:]))
        np.add.at(sums, self.member, values)
        return sums

    def _mean(self, values: np.ndarray, replicates: int, seed: int) -> np.ndarray:
        sums, sizes = self._by_group(values), self._by_group(np.ones(len(values)))
        return np.concatenate([d @ sums / (d @ sizes) for d in self._draws(replicates, seed)])

    def _counted(self, average: str, name: str, replicates: int, seed: int) -> np.ndarray:
        sums = np.stack([self._by_group(part) for part in self.counts()], axis=1)  # (G, 3, K)
        flat = sums.reshape(len(sums), -1)
        found = []
        for drawn in self._draws(replicates, seed):
            counts = (drawn @ flat).reshape(len(drawn), 3, -1)  # (n, 3, K)
            if average == "micro":
                found.append(rate(name, counts.sum(axis=2)))
            else:
                found.append(_mean_of_present(rate(name, counts.swapaxes(1, 2)), counts[:, 0] + counts[:, 2]))
        return np.concatenate(found)

    def _precisions(self, average: str, replicates: int, seed: int) -> np.ndarray:
        """Return the average precision of all classes as one, or the mean over the classes."""
        G, K = len(self.groups), self.truth.shape[1]
        if average == "micro":
            flat = self.truth.ravel(), self.probability.ravel(), np.repeat(self.member, K)
            curves = [PrecisionCurve(*flat, G)]
        else:
            columns = zip(self.truth.T, self.probability.T, strict=True)
            curves = [PrecisionCurve(true, values, self.member, G) for true, values in columns if true.any()]
        found = [np.array([np.mean([curve.exact for curve in curves])])]
        for drawn in group_draws(G, replicates if G > 1 else 0, seed):
            each, support = zip(*(curve.precisions(drawn) for curve in curves), strict=True)
            found.append(_mean_of_present(np.stack(each, axis=1), np.stack(support, axis=1)))
        return np.concatenate(found)


def rate(name: str, counts: np.ndarray) -> np.ndarray:
    """Return precision, recall, f1 or f2 from (…, 3): TP, FP, FN; 0 where it is undefined."""
    hit, wrong, missed = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    weight = {"precision": (0, 1), "recall": (1, 0), "f1": (0.5, 0.5), "f2": (0.8, 0.2)}[name]
    below = hit + weight[0] * missed + weight[1] * wrong
    return np.divide(hit, below, out=np.zeros_like(hit), where=below > 0)


def _mean_of_present(values: np.ndarray, support: np.ndarray) -> np.ndarray:
    """Return the mean (n,) of values (n, K) over the classes that have samples."""
    present = support > 0
    return np.where(present, values, 0).sum(axis=1) / np.maximum(present.sum(axis=1), 1)


def _of_samples(answers: Answers, statistic: str) -> np.ndarray:
    """Return a statistic of each sample (N,)."""
    wrong = answers.said != answers.truth
    if statistic == "hamming_loss":
        return wrong.mean(axis=1)
    if statistic == "subset_accuracy":
        return (~wrong.any(axis=1)).astype(np.float64)
    name = statistic.removeprefix("sample_")
    if name in ("precision", "recall", "f1", "f2"):
        return rate(name, answers.counts().sum(axis=2).T)
    starts = range(0, len(answers.truth), _AT_ONCE)
    parts = [slice(start, start + _AT_ONCE) for start in starts]
    return np.concatenate([_ranked(name, answers.probability[p], answers.truth[p]) for p in parts])


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
