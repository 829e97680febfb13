"""Fast cluster bootstrap of average precision and of the area under the ROC curve."""

from typing import Any

import numpy as np
from scipy import sparse

from eolab.evaluation import bootstrap

STEPS = 4096  # of a curve of precision over recall, where it has more positive scores than that


class PrecisionCurve:
    """The curve of precision over recall, where each group of samples can count any number of times.

    The curve has a step at each score of a positive sample, and only there does it gain: negatives between
    two steps are as good as one number. With more than 4096 such scores their quantiles are the steps, and
    positives between two of them count as ties; :attr:`exact` is not affected.

    Args:
        true: Whether a sample is positive (N,).
        score: The higher, the more likely (N,).
        member: Group of each sample (N,), 0 to G − 1.
        groups: Number of groups G.

    Attributes:
        exact: Average precision of all samples, each once; NaN without a positive one.
    """

    def __init__(self, true: Any, score: Any, member: np.ndarray, groups: int) -> None:
        yes, values = np.asarray(true) == 1, np.asarray(score)
        edges = np.unique(values[yes])
        every = _Steps(yes, values, np.zeros(len(yes), np.int64), 1, edges)
        self.exact = float(every.precisions(np.ones((1, 1), np.int64))[0][0])
        if len(edges) > STEPS:
            levels = np.linspace(0, 1, STEPS)
            edges = np.unique(np.quantile(values[yes], levels, method="inverted_cdf"))
        self._steps = _Steps(yes, values, member, groups, edges)

    def precisions(self, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return average precision and number of positive samples of some draws, (n,) each.

        Args:
            draws: How often each group counts (n, G).

        Returns:
            The average precision is NaN where no positive sample was drawn.
        """
        at_once = max(1, bootstrap.DRAWS_AT_ONCE // max(1, self._steps.hits.shape[1]))
        parts = [self._steps.precisions(draws[k : k + at_once]) for k in range(0, len(draws), at_once)]
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


class _Steps:
    """Positives and samples of each group between one step and the next, from the highest score down."""

    def __init__(
        self, yes: np.ndarray, values: np.ndarray, group: np.ndarray, groups: int, edges: np.ndarray
    ) -> None:
        # those below all positives: len(edges)
        step = len(edges) - np.searchsorted(edges, values, side="right")
        shape = (groups, len(edges))
        self.hits = _counted(group[yes], step[yes], shape)
        above = step < len(edges)
        self.predicted = _counted(group[above], step[above], shape)

    def precisions(self, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        gained = draws @ self.hits  # (n, steps)
        hits, predicted = np.cumsum(gained, axis=1), np.cumsum(draws @ self.predicted, axis=1)
        precision = np.divide(hits, predicted, out=np.zeros_like(hits), where=predicted > 0)
        total = gained.sum(axis=1)
        with np.errstate(invalid="ignore"):
            return (gained * precision).sum(axis=1) / total, total


class RocArea:
    """The probability that a positive sample scores higher than a negative one, ties as one half.

    Arguments as of :class:`PrecisionCurve`.

    Attributes:
        exact: Area of all samples, each once; NaN where all are alike.
    """

    def __init__(self, true: Any, score: Any, member: np.ndarray, groups: int) -> None:
        from sklearn.metrics import roc_auc_score  # slow to import

        yes, values = np.asarray(true) == 1, np.asarray(score)
        self.exact = float(roc_auc_score(yes, values)) if 0 < yes.sum() < len(yes) else float("nan")
        self._steps = _Steps(yes, values, member, groups, np.unique(values))

    def areas(self, draws: np.ndarray) -> np.ndarray:
        """Return the area (n,) of some draws (n, G), NaN where all drawn samples are alike."""
        positive = draws @ self._steps.hits  # (n, scores), from the highest down
        negative = draws @ self._steps.predicted - positive
        below = negative.sum(axis=1, keepdims=True) - np.cumsum(negative, axis=1) + negative / 2
        pairs = positive.sum(axis=1) * negative.sum(axis=1)
        with np.errstate(invalid="ignore"):
            return np.asarray((positive * below).sum(axis=1) / pairs)


def _counted(group: np.ndarray, step: np.ndarray, shape: tuple[int, int]) -> sparse.csr_array:
    return sparse.coo_array((np.ones(len(group)), (group, step)), shape=shape).tocsr()
