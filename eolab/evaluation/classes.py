"""Predicted classes against the truth: one class a sample or a pixel, and two classes with a threshold."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from eolab.evaluation import bootstrap, metrics
from eolab.evaluation.bootstrap import Groups
from eolab.evaluation.metrics import labelled
from eolab.evaluation.postprocess import decide
from eolab.evaluation.ranking import PrecisionCurve, RocArea

BATCH_SCOPE = "batch_macro"
OF_SCORE = ("average_precision", "roc_auc", "threshold")


class Classes:
    """Samples with one class each, or patches by their confusion matrices; see :class:`bootstrap.Evaluated`.

    Args:
        counts: Counts by class (G, 3, K) of G units that are drawn, see
            :func:`eolab.evaluation.metrics.counts_of`.
        weights: How often each unit occurs (G,).
        class_names: K names.
        n: Number of samples.
    """

    default: tuple[str, ...] = ("macro.f1", "all.accuracy", "all.balanced_accuracy")

    def __init__(self, counts: np.ndarray, weights: np.ndarray, class_names: Sequence[str], n: int) -> None:
        self.weights, self.class_names, self.n = weights, list(class_names), n
        self._flat = sparse.csr_array(counts.reshape(len(counts), -1))
        self.key = bootstrap.key_of(weights, counts[:, 1])
        self._with_class = weights @ (counts[:, 1] > 0)  # (K,) groups that have each class

    def counts(self, draws: np.ndarray | None = None) -> np.ndarray:
        """Return the counts by class (m, 3, K) of m draws (m, G), of all samples where there are none."""
        chosen = self.weights[None] if draws is None else draws
        return np.asarray(chosen @ self._flat).reshape(len(chosen), 3, -1)

    def values(self, names: Sequence[str], draws: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """See :class:`bootstrap.Evaluated`."""
        own = {name: self._own(*name.rpartition(".")[::2], draws) for name in names}
        found = {name: values for name, values in own.items() if values is not None}
        counted = [name for name in names if name not in found]
        whole = None if draws is None else self.counts()[0]
        return found | metrics.by_name(self.counts(draws), counted, self.class_names, whole)

    def n_groups(self, name: str) -> int:
        """See :class:`bootstrap.Evaluated`."""
        scope = name.rpartition(".")[0]
        if scope in self.class_names:
            return int(self._with_class[self.class_names.index(scope)])
        return int(self.weights.sum())

    def _own(self, scope: str, statistic: str, draws: np.ndarray | None) -> np.ndarray | None:
        """Return a statistic (m,) that does not follow from the counts; None of one that does."""
        return None


def of_labels(
    truth: Any, predictions: Sequence[Any], groups: Any, class_names: Sequence[str]
) -> list[Classes]:
    """Count samples (N,) with one class each, for several models on the same samples.

    Without groups all samples with the same truth and predictions are one unit: drawing from a multinomial
    over these few is the same as drawing samples, and a thousand times faster.

    Args:
        truth: Class indices (N,), 255 = not known.
        predictions: Class indices (N,) of each model.
        groups: Group of each sample (N,); None to draw samples.
        class_names: K names.
    """
    K = len(class_names)
    true, others = labelled(truth, predictions, K, metrics.IGNORE)
    grouped = Groups(groups, np.asarray(truth) != metrics.IGNORE)
    unit, weights = grouped.member, grouped.weights
    cells = np.stack([true, *others], axis=1)
    if groups is None:
        cells, weights = np.unique(cells, axis=0, return_counts=True)
        unit = np.arange(len(cells))
    found = []
    for predicted in cells.T[1:]:
        counts = np.zeros((len(weights), 3, K), np.int64)
        hit = cells[:, 0] == predicted
        np.add.at(counts[:, 0], (unit[hit], predicted[hit]), 1)
        np.add.at(counts[:, 1], (unit, cells[:, 0]), 1)
        np.add.at(counts[:, 2], (unit, predicted), 1)
        found.append(Classes(counts, weights, class_names, len(true)))
    return found


class Patches(Classes):
    """Patches by their confusion matrices, pixels pooled over all patches.

    The scope "batch_macro" is the macro average in each batch of consecutive patches, averaged over the
    batches, as a training loop reports it: replicates put the patches of the drawn groups one after the other
    in the order of the data and cut them into batches anew.

    Args:
        matrices: (N, K, K), truth in rows; patches without a labelled pixel count in nothing.
        groups: Group of each patch (N,); None to draw single patches.
        class_names: K names.
        batch: Patches a batch.

    Raises:
        DataError: If the matrices are not (N, K, K) of K classes, or nothing is labelled.
    """

    def __init__(self, matrices: Any, groups: Any, class_names: Sequence[str], batch: int = 16) -> None:
        found, K = np.asarray(matrices), len(class_names)
        expected = f"(N, {K}, {K}), one matrix a patch, for the classes {', '.join(class_names)}"
        metrics.check_shapes(expected, found.ndim == 3 and found.shape[1:] == (K, K), matrices=found)
        used = np.flatnonzero(found.sum((1, 2)) > 0)
        grouped = Groups(groups, found.sum((1, 2)) > 0)
        counts = metrics.counts_of(found)
        super().__init__(grouped.sums(counts[used]), grouped.weights, class_names, len(used))
        self.batch, self._member, self._used, self._patches = batch, grouped.member, used, counts
        if K == 2:
            of_class = [f"{class_names[1]}.{name}" for name in ("f1", "iou", "precision", "recall")]
            self.default = (*of_class, "macro.f1", "macro.iou", "batch_macro.f1", "batch_macro.iou")
        else:
            self.default = ("all.accuracy", "macro.f1", "macro.iou")

    def _own(self, scope: str, statistic: str, draws: np.ndarray | None) -> np.ndarray | None:
        """See :class:`Classes`."""
        if scope != BATCH_SCOPE:
            return None
        orders = [slice(None)] if draws is None else [self._order(draw) for draw in draws]
        average = f"macro.{statistic}"
        return np.array([metrics.batch_mean(self._patches[order], average, self.batch) for order in orders])

    @cached_property
    def _places(self) -> tuple[np.ndarray, np.ndarray]:
        """Patches with those of a group together, groups as the data has them, and patches of each group."""
        _, first, group = np.unique(self._member, return_index=True, return_inverse=True)
        order = np.argsort(first[group], kind="stable")
        return order, np.bincount(np.unique(first[group], return_inverse=True)[1])

    def _order(self, draw: np.ndarray) -> np.ndarray:
        """Return the labelled patches of a draw (G,), one group after the other."""
        order, size = self._places
        start = np.cumsum(size) - size
        group = np.repeat(np.arange(len(size)), draw)
        before = np.cumsum(size[group]) - size[group]  # patches that stand before each drawn group
        within = np.arange(size[group].sum()) - np.repeat(before - start[group], size[group])
        return self._used[order[within]]


class Binary(Classes):
    """Two classes of a sample, the second where its score is at least a threshold.

    Args:
        truth: 1 where a sample is of the second class, 0 where it is of the first, 255 = not known (N,).
        score: The higher, the more likely (N,); or the probabilities of both classes (N, 2).
        threshold: The sample is of the second class where its score is at least this.
        groups: Group of each sample (N,); None to draw samples.
        class_names: Names of both classes.

    Raises:
        DataError: If shapes differ, nothing is labelled, or a score is not a finite number.
    """

    def __init__(
        self, truth: Any, score: Any, threshold: float, groups: Any, class_names: Sequence[str]
    ) -> None:
        if np.ndim(score) == 2 and np.shape(score)[1] == 2:
            score = np.asarray(score)[:, 1]
        true, values = np.asarray(truth), np.asarray(score, np.float64)
        metrics.check_shapes("one value a sample each", true.ndim == 1, truth=true, score=values)
        known = true != metrics.IGNORE
        grouped = Groups(groups, known)
        self._truth, self._score = true[known].astype(np.int64), values[known]
        metrics.check_finite(self._score)
        self._member, self._threshold = grouped.member, float(threshold)
        one_hot = np.eye(2, dtype=np.int64)
        predicted = one_hot[decide(np.asarray(score)[known], threshold).astype(np.int64)]
        counts = np.stack([predicted * one_hot[self._truth], one_hot[self._truth], predicted], axis=1)
        super().__init__(grouped.sums(counts), grouped.weights, class_names, len(self._truth))
        of_class = [f"{class_names[1]}.{key}" for key in ("precision", "recall", "f1", "average_precision")]
        self.default = ("all.accuracy", "all.balanced_accuracy", *of_class)

    def _own(self, scope: str, statistic: str, draws: np.ndarray | None) -> np.ndarray | None:
        """See :class:`Classes`; balanced accuracy of samples that are all alike would be recall: NaN."""
        count = 1 if draws is None else len(draws)
        if (scope, statistic) == ("all", "balanced_accuracy"):
            return np.full(count, np.nan) if self._truth.min() == self._truth.max() else None
        if scope != self.class_names[1] or statistic not in OF_SCORE:
            return None
        if statistic == "threshold":
            return np.full(count, self._threshold)
        if statistic == "roc_auc":
            return np.array([self._area.exact]) if draws is None else self._area.areas(draws)
        return np.array([self._curve.exact]) if draws is None else self._curve.precisions(draws)[0]

    @cached_property
    def _curve(self) -> PrecisionCurve:
        return PrecisionCurve(self._truth, self._score, self._member, len(self.weights))

    @cached_property
    def _area(self) -> RocArea:
        return RocArea(self._truth, self._score, self._member, len(self.weights))
