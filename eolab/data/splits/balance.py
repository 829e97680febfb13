"""Which samples are drawn, how often, and what weighs more in the loss, so that no class prevails."""

from typing import Any

import numpy as np

from eolab.core.errors import ParameterError
from eolab.data.splits.dealing import deal_labels

POWER = 0.5  # 0 would draw, or weigh, all samples alike, 1 all classes
MOST = 20.0  # largest weight, and 1 over the smallest


def positive_weights(labels: Any) -> np.ndarray:
    """Return how much more a patch that has a class weighs than one that has not, in the class's loss.

    It is the square root of the number of patches without the class over those with it.

    Args:
        labels: Which classes each training patch has, (N, K).

    Returns:
        float32 (K,), up to 20; classes without a patch get 1.
    """
    held = np.asarray(labels).astype(bool)
    count = held.sum(axis=0)
    weight = np.clip(((len(held) - count) / np.maximum(count, 1)) ** POWER, 1 / MOST, MOST)
    return np.where(count > 0, weight, 1).astype(np.float32)


def balanced_rows(labels: Any, rows: Any, seed: int = 0) -> np.ndarray:
    """Draw rows so that patches of rare classes come more often.

    A patch is drawn in proportion to 1 over the square root of the frequency of its rarest class, as in
    repeat-factor sampling (Gupta et al. 2019, LVIS, https://doi.org/10.1109/CVPR.2019.00550). The draw is
    exact: a patch that should come 2.3 times comes 2 or 3 times, and the total stays. Batches shuffle the
    rows.

    Args:
        labels: Which classes each patch of the store has, (N, K).
        rows: Rows to draw from; as many are drawn.
        seed: Seed of the draw.

    Returns:
        Ascending rows with repetitions, int64 (n,).

    Raises:
        ParameterError: If there are no rows.
    """
    given = np.asarray(rows, np.int64)
    if not len(given):
        raise ParameterError("A balanced draw needs rows: there is none to draw from.")
    held = np.asarray(labels)[given].astype(bool)
    frequency = np.maximum(held.mean(axis=0), 1 / len(held))
    rarest = np.where(held, frequency, 1.0).min(axis=1)
    expected = rarest**-POWER
    expected *= len(given) / expected.sum()
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(given))
    edges = np.cumsum(expected[order]) + rng.random()  # each row covers one whole number a repetition
    times = np.diff(np.floor(edges).astype(int), prepend=0)
    times[-1] += len(given) - times.sum()  # the sum of floats may miss the last one by rounding
    return np.sort(np.repeat(given[order], times))


def fraction(labels: Any, rows: Any, share: float, seed: int = 0) -> np.ndarray:
    """Choose a share of some rows so that it holds the same share of each label.

    Args:
        labels: Which labels each sample of the store has, (N, K); 0 for no.
        rows: Rows to choose from.
        share: Above 0, up to 1.
        seed: Seed of the draw.

    Returns:
        Chosen rows, ascending int64.

    Raises:
        ParameterError: If the share is out of range.
    """
    if not 0 < share <= 1:
        raise ParameterError(f"The share is {share}: expected a number above 0 and not above 1.")
    taken = np.asarray(rows, np.int64)
    parts = deal_labels(np.asarray(labels)[taken], np.array([share, 1 - share]), seed)
    return np.sort(taken[parts == 0])


def even_draw(classes: Any, strata: Any, count: int, seed: int = 0) -> np.ndarray:
    """Draw up to `count` samples of each class, evenly from its strata.

    Strata give in turn, each a sample drawn at random, until there are enough: one with few samples gives all
    of them, the others the same number, up to one.

    Args:
        classes: Class of each sample (N,).
        strata: Stratum of each sample (N,), such as its block of ground or its cluster.
        count: Samples of each class; a class with fewer gives all.
        seed: Seed of the draw.

    Returns:
        bool (N,), True where drawn.
    """
    rng, classes, strata = np.random.default_rng(seed), np.asarray(classes), np.asarray(strata)
    drawn = np.zeros(len(classes), bool)
    for one in np.unique(classes):
        rows = rng.permutation(np.flatnonzero(classes == one))
        stratum = np.unique(strata[rows], return_inverse=True)[1].ravel()
        order = np.argsort(stratum, kind="stable")
        start = np.searchsorted(stratum[order], stratum[order])
        turn = np.empty(len(rows), int)
        turn[order] = np.arange(len(rows)) - start  # how many of the stratum stand before
        drawn[rows[np.argsort(turn, kind="stable")[:count]]] = True
    return drawn
