"""Confident learning: which labels are likely to be wrong, by a classifier that has not seen them.

After Northcutt, Jiang and Chuang (2021), "Confident learning: estimating uncertainty in dataset labels", JAIR
70, 1373-1411, https://doi.org/10.1613/jair.1.12125; equations are numbered as there.
"""

from typing import Any

import numpy as np

from eolab.core.errors import DataError, check_known

PRUNING = ("class", "noise_rate", "both")


def class_thresholds(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the mean probability of each class over the samples that have its label (K,), eq. 2.

    It is infinite for a class without a sample: no sample is counted as one of it.
    """
    classes = range(probabilities.shape[1])
    own = [probabilities[labels == k, k] for k in classes]
    return np.array([values.mean() if len(values) else np.inf for values in own])


def confident_joint(probabilities: Any, labels: Any) -> np.ndarray:
    """Count samples by their label and by the class that they show with confidence, eq. 1.

    A sample shows the likeliest class among those whose probability reaches the class's threshold; one that
    reaches none is not counted.

    Args:
        probabilities: Class probabilities (N, K) from a classifier that has not learned from the sample.
        labels: Given labels (N,), class indices below K.

    Returns:
        int64 (K, K), given label in rows.

    Raises:
        DataError: If shapes do not fit, a label is no class, or a probability is not finite.
    """
    p, given = _checked(probabilities, labels)
    reached = p >= class_thresholds(p, given) - 1e-12  # a class of equal probabilities reaches its mean
    shown = np.where(reached, p, -1.0).argmax(axis=1)
    counted = reached.any(axis=1)
    joint = np.zeros((p.shape[1], p.shape[1]), np.int64)
    np.add.at(joint, (given[counted], shown[counted]), 1)
    return joint


def joint_distribution(joint: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the estimated joint distribution of given and true labels (K, K), which sums to 1, eq. 3.

    Args:
        joint: Result of :func:`confident_joint`.
        counts: Samples of each given label (K,), whose shares the rows get.
    """
    rows = joint.sum(axis=1, keepdims=True)
    fallback = np.eye(len(joint))  # nothing is known of a label of which no sample is counted
    share = np.divide(joint, rows, out=fallback, where=rows > 0)
    scaled = share * np.asarray(counts, float)[:, None]
    return scaled / scaled.sum()


def judged(labels: Any, folds: Any, least: int = 20) -> np.ndarray:
    """Return which samples a classifier of the other folds can judge: it has learned their label.

    Args:
        labels: Given labels (N,).
        folds: Fold of each sample (N,).
        least: Samples of the label that the other folds must have.

    Returns:
        bool (N,).
    """
    labels, folds = np.asarray(labels), np.asarray(folds)
    number = np.bincount(labels)[labels]
    pairs = np.stack([labels, folds])
    _, inverse, same = np.unique(pairs, axis=1, return_inverse=True, return_counts=True)
    return np.asarray(number - same[inverse.ravel()] >= least)


def doubtful(
    probabilities: Any, labels: Any, by: str = "both", known: Any = None, keep: float = 0.0
) -> np.ndarray:
    """Return which labels are likely to be wrong, as many as the joint distribution says.

    Args:
        probabilities: Class probabilities (N, K) from a classifier that has not learned from the sample.
        labels: Given labels (N,), class indices below K.
        by: ``class``: of each given label the samples with the lowest probability of it, as many as have
            another true label; ``noise_rate``: for each pair of given and true label the samples with the
            largest margin between both probabilities; ``both``: those that both find (C+NR).
        known: Samples (N,) that can be judged, see :func:`judged`; the others count nowhere and are not
            doubtful. All where None.
        keep: Least share of each label's judged samples that is not doubtful, 0 to 1.

    Returns:
        bool (N,).

    Raises:
        ParameterError: Unknown way to prune.
        DataError: See :func:`confident_joint`.
    """
    check_known(by, PRUNING, f"There is no way {by!r} to prune labels")
    p, given = _checked(probabilities, labels)
    found = np.zeros(len(given), bool)
    if known is not None and not np.all(known):
        if np.any(known):
            found[known] = doubtful(p[known], given[known], by, keep=keep)
        return found
    counts = np.bincount(given, minlength=p.shape[1])
    wrong = joint_distribution(confident_joint(p, given), counts) * len(given)  # (K, K) samples
    np.fill_diagonal(wrong, 0)
    wrong *= np.minimum(1, (1 - keep) * counts / np.maximum(wrong.sum(axis=1), 1e-9))[:, None]
    by_class, by_rate = found.copy(), found.copy()
    for label in np.flatnonzero(counts):
        rows = np.flatnonzero(given == label)
        own = p[rows, label]
        by_class[rows[np.argsort(own, kind="stable")[: round(wrong[label].sum())]]] = True
        for true in np.flatnonzero(wrong[label]):
            order = np.argsort(own - p[rows, true], kind="stable")
            by_rate[rows[order[: round(wrong[label, true])]]] = True
    return {"class": by_class, "noise_rate": by_rate, "both": by_class & by_rate}[by]


def out_of_sample(features: np.ndarray, labels: np.ndarray, folds: Any, classifier: Any) -> np.ndarray:
    """Predict each sample by a classifier that has learned from the other folds alone.

    Args:
        features: Features (N, F).
        labels: Class indices (N,).
        folds: Fold of each sample (N,), such as :func:`eolab.data.splits.k_fold` deals by group.
        classifier: A scikit-learn classifier with ``predict_proba``.

    Returns:
        Probabilities (N, K) of the classes up to the largest label; 0 of a class that the other folds lack.
    """
    from sklearn.base import clone

    folds, found = np.asarray(folds), np.zeros((len(labels), int(labels.max()) + 1))
    for fold in np.unique(folds):
        held = folds == fold
        fitted = clone(classifier).fit(features[~held], labels[~held])
        found[np.ix_(held, fitted.classes_)] = fitted.predict_proba(features[held])
    return found


def _checked(probabilities: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    p, given = np.asarray(probabilities, float), np.asarray(labels)
    if p.ndim != 2 or given.shape != p.shape[:1] or given.dtype.kind not in "iu":
        raise DataError(
            f"Probabilities have shape {p.shape} and labels {given.shape} ({given.dtype}): expected (N, K) "
            "and N class indices."
        )
    if len(given) and not (given.min() >= 0 and given.max() < p.shape[1] and np.isfinite(p).all()):
        raise DataError(
            f"Labels go from {given.min()} to {given.max()} for {p.shape[1]} classes, and "
            f"{(~np.isfinite(p)).sum()} probabilities are not finite: give labels from 0 to "
            f"{p.shape[1] - 1} and finite probabilities."
        )
    return p, given.astype(np.int64)
