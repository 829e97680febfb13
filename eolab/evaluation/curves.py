"""Average precision of many weightings of the same samples: counted once by group, then summed by draw."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse

from eolab.evaluation.metrics.resampling import DRAWS_AT_ONCE

STEPS = 4096  # of a curve of precision over recall, where it has more positive scores than that


def group_draws(groups: int, n: int, seed: int) -> Iterator[np.ndarray]:
    """Yield how often each group is drawn in n bootstrap replicates, some replicates (m, G) at a time."""
    rng, at_once = np.random.default_rng(seed), max(1, DRAWS_AT_ONCE // groups)
    share = np.full(groups, 1 / groups)
    for start in range(0, n, at_once):
        yield rng.multinomial(groups, share, size=min(at_once, n - start))


class PrecisionCurve:
    """The curve of precision over recall, where each group of samples can count any number of times.

    The curve has a step at each score of a positive sample, and only there does it gain: negatives between
    two steps are as good as one number. With more than 4096 such scores their quantiles are the steps, and
    positives between two of them count as ties; :attr:`exact` is not affected.

    Args:
        true: Whether a sample is positive (N,).
        score: The higher, the more likely (N,).
        member: Group of each sample (N,), 0 to G − 1; None for each on its own.
        groups: Number of groups G.

    Attributes:
        exact: Average precision of all samples, each once; NaN without a positive one.
    """

    def __init__(self, true: Any, score: Any, member: Any = None, groups: int | None = None) -> None:
        yes, values = np.asarray(true) == 1, np.asarray(score)
        group = np.arange(len(yes)) if member is None else np.asarray(member)
        count = len(yes) if groups is None else groups
        edges = np.unique(values[yes])
        every = _Steps(yes, values, np.zeros(len(yes), np.int64), 1, edges)
        self.exact = float(every.precisions(np.ones((1, 1), np.int64))[0][0])
        if len(edges) > STEPS:
            levels = np.linspace(0, 1, STEPS)
            edges = np.unique(np.quantile(values[yes], levels, method="inverted_cdf"))
        self._steps = _Steps(yes, values, group, count, edges)

    def precisions(self, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return average precision and number of positive samples of some draws, (n,) each.

        Args:
            draws: How often each group counts (n, G).

        Returns:
            The average precision is NaN where no positive sample was drawn.
        """
        at_once = max(1, DRAWS_AT_ONCE // max(1, self._steps.hits.shape[1]))
        parts = [self._steps.precisions(draws[k : k + at_once]) for k in range(0, len(draws), at_once)]
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


class _Steps:
    """Positives and samples of each group between one step and the next, from the highest score down."""

    def __init__(
        self, yes: np.ndarray, values: np.ndarray, group: np.ndarray, groups: int, edges: Any
    ) -> None:
        step = len(edges) - np.searchsorted(
            edges, values, side="right"
        )  # those below all positives: len(edges)
        shape = (groups, len(edges))

        def counted(chosen: np.ndarray) -> sparse.csr_array:
            cells = (group[chosen], step[chosen])
            return sparse.coo_array((np.ones(len(cells[0])), cells), shape=shape).tocsr()

        self.hits, self.said = counted(yes), counted(step < len(edges))

    def precisions(self, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        gained = draws @ self.hits  # (n, steps)
        hits, said = np.cumsum(gained, axis=1), np.cumsum(draws @ self.said, axis=1)
        precision = np.divide(hits, said, out=np.zeros_like(hits), where=said > 0)
        total = gained.sum(axis=1)
        with np.errstate(invalid="ignore"):
            return (gained * precision).sum(axis=1) / total, total
