"""Several labels a sample, class by class: scores, thresholds, which labels meet and which are confused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from eolab.evaluation import postprocess
from eolab.evaluation.binary import average_precision
from eolab.evaluation.multilabel import Answers, rate


def label_thresholds(probability: np.ndarray, truth: np.ndarray, statistic: str = "f1") -> np.ndarray:
    """Return the best threshold of each class, chosen on validation samples, float64 (K,).

    Args:
        probability: (N, K).
        truth: 0 or 1 (N, K).
        statistic: Of :func:`eolab.evaluation.postprocess.threshold_curve`.

    Returns:
        A class without a sample has nothing to choose by: 0.5.
    """
    chosen = [
        postprocess.choose_threshold(values, true, statistic) if true.any() else 0.5
        for values, true in zip(np.asarray(probability).T, np.asarray(truth).T, strict=True)
    ]
    return np.array(chosen)


def common_threshold(probability: np.ndarray, truth: np.ndarray, statistic: str = "f1") -> float:
    """Return the one threshold for all classes with the best micro-averaged score on validation samples."""
    return postprocess.choose_threshold(probability, truth, statistic)


def label_table(
    probability: np.ndarray,
    truth: np.ndarray,
    threshold: Any,
    names: Sequence[str],
    *,
    groups: Any = None,
    replicates: int = 300,
    seed: int = 0,
) -> pd.DataFrame:
    """Score each class.

    Args:
        probability: (N, K).
        truth: 0 or 1 (N, K).
        threshold: A number, or one a class (K,).
        names: Of the classes.
        groups: Group of each sample, drawn as a whole; None to draw samples.
        replicates: Bootstrap replicates of the interval of the average precision.
        seed: Of the draws.

    Returns:
        A row a class: class, support (samples), predicted (samples), threshold, precision, recall, f1, f2,
        average_precision, low, high (95 %). Scores of a class without a sample are NaN.
    """
    answers = Answers(probability, truth, threshold, groups)
    counts = answers.counts().sum(axis=1).T  # (K, 3)
    support = answers.truth.sum(axis=0)
    table = pd.DataFrame({"class": list(names), "support": support, "predicted": answers.said.sum(axis=0)})
    table["threshold"] = np.broadcast_to(threshold, len(names))
    for name in ("precision", "recall", "f1", "f2"):
        table[name] = np.where(support > 0, rate(name, counts), np.nan)
    drawn = {"groups": answers.member, "n": replicates, "seed": seed}
    found = [
        _class_precision(t, p, **drawn) for t, p in zip(answers.truth.T, answers.probability.T, strict=True)
    ]
    return table.join(pd.DataFrame(found, columns=["average_precision", "low", "high"]))


def _class_precision(truth: np.ndarray, probability: np.ndarray, **drawn: Any) -> tuple[float, float, float]:
    if truth.all():
        return 1.0, 1.0, 1.0
    return average_precision(truth.astype(np.int64), probability, **drawn)


def co_occurrence(truth: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """Return how often labels meet: of the samples with the class of the row, the share with the column's.

    Args:
        truth: 0 or 1 (N, K).
        names: Of the classes.

    Returns:
        (K, K), 1 on the diagonal; NaN in the row of a class without a sample.
    """
    true = (np.asarray(truth) == 1).astype(np.float64)
    both, alone = true.T @ true, true.sum(axis=0)
    shares = np.divide(both, alone[:, None], out=np.full_like(both, np.nan), where=alone[:, None] > 0)
    return pd.DataFrame(shares, index=list(names), columns=list(names))


def label_confusion(said: np.ndarray, truth: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """Return which classes are predicted wrongly where one is missed.

    Args:
        said: Whether a class was predicted (N, K).
        truth: 0 or 1 (N, K).
        names: Of the classes.

    Returns:
        (K, K): of the samples that have the class of the row and miss it, the share where the class of the
        column was predicted and is not there; 0 on the diagonal, NaN in the row of a class never missed.
    """
    true, answer = np.asarray(truth) == 1, np.asarray(said) == 1
    missed, wrong = (true & ~answer).astype(np.float64), (answer & ~true).astype(np.float64)
    both, alone = missed.T @ wrong, missed.sum(axis=0)
    shares = np.divide(both, alone[:, None], out=np.full_like(both, np.nan), where=alone[:, None] > 0)
    return pd.DataFrame(shares, index=list(names), columns=list(names))
