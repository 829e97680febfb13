"""Samples with several labels: which are drawn, how often, and what weighs more in the loss."""

from typing import Any

import numpy as np

from eolab.core.errors import ParameterError
from eolab.data.splits.dealing import deal_labels


def positive_weights(labels: Any, power: float = 0.5, most: float = 20.0) -> np.ndarray:
    """Return how much more a patch that has a class weighs than one that has not, in the class's loss.

    With power 1 the patches with and those without a class weigh alike in sum; 0 weighs every patch 1.

    Args:
        labels: Which classes each training patch has, (N, K).
        power: Exponent of the number of patches without the class over those with it, 0 to 1.
        most: Largest weight; classes without a patch get 1.

    Returns:
        float32 (K,).
    """
    _check_power(power)
    held = np.asarray(labels).astype(bool)
    count = held.sum(axis=0)
    weight = np.clip(((len(held) - count) / np.maximum(count, 1)) ** power, 1 / most, most)
    return np.where(count > 0, weight, 1).astype(np.float32)


def balanced_rows(
    labels: Any, rows: Any, size: int | None = None, power: float = 0.5, seed: int = 0
) -> np.ndarray:
    """Draw rows so that patches of rare classes come more often.

    A patch is drawn in proportion to ``frequency ** -power`` of its rarest class, as in repeat-factor
    sampling (Gupta et al. 2019, LVIS, https://doi.org/10.1109/CVPR.2019.00550). The draw is exact: a patch
    that should come 2.3 times comes 2 or 3 times, and the total is `size`. Batches shuffle the rows.

    Args:
        labels: Which classes each patch of the store has, (N, K).
        rows: Rows to draw from.
        size: Rows to draw; as many as there are by default.
        power: 0 for every patch alike, 1 for every rarest class alike.
        seed: Seed of the draw.

    Returns:
        Ascending rows with repetitions, int64 (size,).

    Raises:
        ParameterError: If there are no rows, or size or power is out of range.
    """
    _check_power(power)
    given = np.asarray(rows, np.int64)
    total = len(given) if size is None else size
    if not len(given) or total < 1:
        raise ParameterError(f"A balanced draw needs rows: got {len(given)} to draw {total} from.")
    held = np.asarray(labels)[given].astype(bool)
    frequency = np.maximum(held.mean(axis=0), 1 / len(held))
    rarest = np.where(held, frequency, 1.0).min(axis=1)
    expected = rarest**-power
    expected *= total / expected.sum()
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(given))
    edges = np.cumsum(expected[order]) + rng.random()  # each row covers one whole number a repetition
    times = np.diff(np.floor(edges).astype(int), prepend=0)
    times[-1] += total - times.sum()  # the sum of floats may miss the last one by rounding
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


def _check_power(power: float) -> None:
    if not 0 <= power <= 1:
        raise ParameterError(f"power is {power}: expected 0 to 1.")
