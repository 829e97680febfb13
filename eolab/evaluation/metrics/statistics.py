"""Statistics of confusion matrices and of counts by class, named in :mod:`eolab.evaluation.metrics`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eolab.core.errors import ParameterError, did_you_mean

CLASS_WISE = ("precision", "recall", "f1", "f2", "iou")
AVERAGES = ("macro", "micro", "weighted")
OVERALL = ("accuracy", "balanced_accuracy", "kappa")
KNOWN = (*(f"{a}.{s}" for a in ("class", *AVERAGES) for s in CLASS_WISE), *(f"all.{s}" for s in OVERALL))


def counts_of(matrices: np.ndarray) -> np.ndarray:
    """Return true positives, true samples and predicted samples of each class, (…, 3, K).

    Args:
        matrices: Confusion matrices (…, K, K), truth in rows.
    """
    matrices = np.asarray(matrices)
    diagonal = np.diagonal(matrices, axis1=-2, axis2=-1)
    return np.stack([diagonal, matrices.sum(-1), matrices.sum(-2)], axis=-2)


def statistic_of(matrices: np.ndarray, name: str) -> np.ndarray:
    """Return one statistic of many confusion matrices at once.

    Args:
        matrices: Counts (…, K, K), truth in rows.
        name: "scope.statistic", such as "macro.f1", "all.accuracy", or "class.iou" for one value a class.

    Returns:
        (…), or (…, K) for the scope "class"; NaN where undefined.

    Raises:
        ParameterError: If there is no such statistic.
    """
    return statistic_of_counts(counts_of(matrices), name)


def statistic_of_counts(counts: np.ndarray, name: str) -> np.ndarray:
    """Return one statistic of counts by class (…, 3, K), see :func:`counts_of` and :func:`statistic_of`."""
    scope, _, statistic = name.rpartition(".")
    if name not in KNOWN:
        raise ParameterError(f"There is no statistic {name!r}; {did_you_mean(name, KNOWN)}")
    if scope == "class":
        return _class_wise(statistic, counts)
    if scope == "all":
        return _overall(statistic, counts)
    if scope == "micro":
        counts = counts.sum(axis=-1, keepdims=True)
    support = counts[..., 1, :]
    weight = support if scope == "weighted" else support > 0
    values = np.where(support > 0, np.nan_to_num(_class_wise(statistic, counts)), 0.0)
    return _ratio((weight * values).sum(-1), weight.sum(-1))


def values_of(matrix: np.ndarray, names: Sequence[str], class_names: Sequence[str]) -> dict[str, float]:
    """Return statistics of one confusion matrix (K, K) by name, of a class where the scope is its name."""
    return {key: float(value) for key, value in by_name(counts_of(matrix), names, class_names).items()}


def by_name(counts: np.ndarray, names: Sequence[str], class_names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return statistics (…) of counts by class (…, 3, K), by name; the scope may be the name of a class."""
    place = {name: k for k, name in enumerate(class_names)}
    found = {}
    for name in names:
        scope, _, statistic = name.rpartition(".")
        if scope in place:
            found[name] = statistic_of_counts(counts, f"class.{statistic}")[..., place[scope]]
        else:
            found[name] = statistic_of_counts(counts, name)
    return found


def batch_mean(counts: np.ndarray, name: str, batch: int = 16) -> float:
    """Return a statistic computed in each batch of consecutive patches, averaged over the batches.

    This is what a training loop reports that averages the score of its steps: it is not the score of the
    pooled pixels, and it changes with the size of the batches. A class without truth in a batch counts there
    in no average of classes; a batch without any labelled pixel is left out.

    Args:
        counts: Counts by class of each patch (N, 3, K), see :func:`counts_of`.
        name: An average of :func:`statistic_of`, such as "macro.f1".
        batch: Patches a batch; the last one may have fewer.
    """
    together = np.add.reduceat(counts, np.arange(0, len(counts), batch), axis=0)  # (batches, 3, K)
    values = statistic_of_counts(together[together[:, 1].sum(-1) > 0], name)
    return float(values.mean()) if len(values) else float("nan")


def _ratio(over: np.ndarray, under: np.ndarray) -> np.ndarray:
    under = np.asarray(under)
    return np.divide(over, under, out=np.full(under.shape, np.nan), where=under > 0)


def _class_wise(statistic: str, counts: np.ndarray) -> np.ndarray:
    """Return a statistic of each class (…, K), NaN where its denominator is 0."""
    hit, support, predicted = np.moveaxis(counts.astype(np.float64), -2, 0)
    if statistic == "precision":
        return _ratio(hit, predicted)
    if statistic == "recall":
        return _ratio(hit, support)
    if statistic == "iou":
        return _ratio(hit, support + predicted - hit)
    weight = {"f1": 1, "f2": 4}[statistic]  # β²
    return _ratio((1 + weight) * hit, weight * support + predicted)


def _overall(statistic: str, counts: np.ndarray) -> np.ndarray:
    """Return a statistic over all samples, each of which has one class."""
    hit, support, predicted = np.moveaxis(counts.astype(np.float64), -2, 0)
    total = support.sum(-1)
    if statistic == "balanced_accuracy":
        return statistic_of_counts(counts, "macro.recall")
    accuracy = _ratio(hit.sum(-1), total)
    if statistic == "accuracy":
        return accuracy
    chance = _ratio((support * predicted).sum(-1), total**2)
    return _ratio(accuracy - chance, 1 - chance)
