"""Bootstrap intervals of scores: over samples, over whole groups, and over patches by their counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from eolab.core.errors import DataError, ParameterError
from eolab.data.schemes import IGNORE
from eolab.evaluation.metrics.counting import confusion, count_classes, labelled
from eolab.evaluation.metrics.statistics import CLASS_WISE, batch_mean, statistic_of

DRAWS_AT_ONCE = 20_000_000  # resampled counts held in memory: 160 MB


class Interval(NamedTuple):
    """An estimate with the ends of its percentile bootstrap interval; arrays for class-wise statistics."""

    estimate: Any
    low: Any
    high: Any


def bootstrap(
    truth: Any,
    prediction: Any,
    groups: Any = None,
    statistic: str = "macro_f1",
    n: int = 1000,
    seed: int = 0,
    *,
    classes: int | None = None,
    level: float = 0.95,
    ignore: int = IGNORE,
) -> Interval:
    """Estimate a statistic with its percentile bootstrap interval (Efron and Tibshirani 1993).

    Samples that lie close together resemble each other: give ``groups`` (blocks, scenes) and whole groups are
    drawn (cluster bootstrap), else the interval of a map is far too narrow. A class that a replicate did not
    draw counts there in no macro average.

    Args:
        truth: Class indices (N,); ``ignore`` is left out.
        prediction: Class indices (N,).
        groups: Group of each sample (N,), any type; None draws samples.
        statistic: A name of the table of :mod:`eolab.evaluation.metrics`; a class-wise one gives arrays (K,).
        n: Replicates.
        seed: Of the draws.
        classes: Number of classes K; None takes the largest index that occurs.
        level: Probability that the interval shall cover.
        ignore: Label in the truth that is left out.

    Raises:
        DataError: Nothing is labelled, or fewer than two groups are.
    """
    classes = classes or count_classes(ignore, truth, prediction)
    units = _resampling_units(truth, (prediction,), groups, classes, ignore)
    estimate = statistic_of(confusion(truth, prediction, classes, ignore), statistic)
    values = np.concatenate(
        [statistic_of(drawn, statistic) for (drawn,) in _replicates(*units, classes, n, seed)]
    )
    return _interval(estimate, values, level)


def compare_scores(
    truth: Any,
    prediction_a: Any,
    prediction_b: Any,
    groups: Any = None,
    statistic: str = "macro_f1",
    n: int = 1000,
    seed: int = 0,
    *,
    classes: int | None = None,
    level: float = 0.95,
    ignore: int = IGNORE,
) -> Interval:
    """Estimate score(b) − score(a) on the same samples; each replicate draws the same samples for both.

    An interval that excludes 0 says that the two differ. Arguments as in :func:`bootstrap`.
    """
    classes = classes or count_classes(ignore, truth, prediction_a, prediction_b)
    units = _resampling_units(truth, (prediction_a, prediction_b), groups, classes, ignore)
    a, b = (
        statistic_of(confusion(truth, p, classes, ignore), statistic) for p in (prediction_a, prediction_b)
    )
    drawn = _replicates(*units, classes, n, seed)
    differences = [statistic_of(of_b, statistic) - statistic_of(of_a, statistic) for of_a, of_b in drawn]
    return _interval(b - a, np.concatenate(differences), level)


def bootstrap_matrices(
    matrices: np.ndarray,
    statistic: str = "macro_f1",
    groups: Any = None,
    n: int = 1000,
    seed: int = 0,
    class_index: int | None = None,
    *,
    level: float = 0.95,
) -> Interval:
    """Estimate a statistic of pooled counts with its interval, from one confusion matrix a patch.

    The same as :func:`bootstrap` over all pixels with the patch, or the patch's group, as their group: the
    pixels of a patch resemble each other and are drawn together. Patches without a labelled pixel count in
    nothing.

    Args:
        matrices: Counts (U, K, K) of U patches, truth in rows; see
            :func:`eolab.evaluation.metrics.confusions`.
        statistic: A name of the table of :mod:`eolab.evaluation.metrics`; a class-wise one gives arrays (K,).
        groups: Group of each patch (U,), any type; None draws single patches.
        n: Replicates.
        seed: Of the draws.
        class_index: The class to return of a class-wise statistic.
        level: Probability that the interval shall cover.

    Raises:
        DataError: Shapes do not fit, nothing is labelled, or fewer than two patches or groups are.
        ParameterError: A class index is given to an average, or there is no such class.
    """
    units, classes = _matrix_units((matrices,), groups)
    estimate = _value(np.sum(matrices, axis=0), statistic, class_index)
    drawn = _replicates(*units, classes, n, seed)
    return _interval(
        estimate, np.concatenate([_value(found, statistic, class_index) for (found,) in drawn]), level
    )


def compare_matrices(
    matrices_a: np.ndarray,
    matrices_b: np.ndarray,
    statistic: str = "macro_f1",
    groups: Any = None,
    n: int = 1000,
    seed: int = 0,
    class_index: int | None = None,
    *,
    level: float = 0.95,
) -> Interval:
    """Estimate score(b) − score(a) of two models on the same patches, drawn together in each replicate.

    An interval that excludes 0 says that the two differ. Arguments as in :func:`bootstrap_matrices`.

    Raises:
        DataError: Also where the two have not counted the same truth.
    """
    units, classes = _matrix_units((matrices_a, matrices_b), groups)
    a, b = (_value(np.sum(matrices, axis=0), statistic, class_index) for matrices in (matrices_a, matrices_b))
    drawn = _replicates(*units, classes, n, seed)
    differences = [
        _value(of_b, statistic, class_index) - _value(of_a, statistic, class_index) for of_a, of_b in drawn
    ]
    return _interval(b - a, np.concatenate(differences), level)


def bootstrap_batches(
    matrices: np.ndarray,
    statistic: str = "macro_f1",
    batch: int = 16,
    groups: Any = None,
    n: int = 1000,
    seed: int = 0,
    *,
    level: float = 0.95,
) -> Interval:
    """Estimate the mean over batches of a statistic with its interval; see :func:`metrics.batch_mean`.

    Each replicate draws groups, puts their patches one after the other in the order of the data, and cuts
    them into batches anew.

    Args:
        matrices: Counts (U, K, K) of U patches in the order in which batches take them.
        statistic: The name of an average in the table of :mod:`eolab.evaluation.metrics`.
        batch: Patches a batch.
        groups: Group of each patch (U,); None draws single patches.
        n: Replicates.
        seed: Of the draws.
        level: Probability that the interval shall cover.
    """
    (_, counts), _ = _matrix_units((matrices,), groups)
    labels = np.arange(len(matrices)) if groups is None else np.asarray(groups)
    used = np.flatnonzero(matrices.sum((1, 2)) > 0)
    _, first, unit = np.unique(labels[used], return_index=True, return_inverse=True)
    order = np.argsort(first[unit], kind="stable")  # groups one after the other, as the data has them
    size = np.bincount(np.unique(first[unit], return_inverse=True)[1])  # (G,) patches
    start = np.cumsum(size) - size
    rng = np.random.default_rng(seed)
    values = []
    for draw in rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=n):
        group = np.repeat(np.arange(len(size)), draw)
        before = np.cumsum(size[group]) - size[group]  # patches that stand before each drawn group
        within = np.arange(size[group].sum()) - np.repeat(before - start[group], size[group])
        values.append(batch_mean(matrices[used[order[within]]], statistic, batch))
    return _interval(np.asarray(batch_mean(matrices, statistic, batch)), np.array(values), level)


# === Drawing ===


def _resampling_units(
    truth: Any, predictions: Sequence[Any], groups: Any, classes: int, ignore: int
) -> tuple[list[sparse.csr_array], np.ndarray]:
    """Return what is drawn: counts (U, K²) of U units for each prediction, and how often a unit occurs (U,).

    A unit is a group; without groups, all samples with the same truth and predictions are one unit: drawing
    from a multinomial over these few is the same as drawing samples, and a thousand times faster.
    """
    true, others = labelled(truth, predictions, classes, ignore)
    if not len(true):
        raise DataError("No sample is labelled: nothing to score.")
    cells = [true * classes + p for p in others]
    if groups is None:
        pairs, counts = np.unique(np.stack(cells, axis=1), axis=0, return_counts=True)
        unit, cells = np.arange(len(pairs)), list(pairs.T)
    else:
        kept = np.asarray(groups)[np.asarray(truth) != ignore]
        names, unit = np.unique(kept, return_inverse=True)
        counts = np.ones(len(names), np.int64)
        if len(names) < 2:
            raise DataError(
                f"Labelled samples lie in {len(names)} group: two or more are needed to draw groups."
            )
    shape = (len(counts), classes * classes)
    ones = np.ones(len(unit), np.int64)
    return [sparse.coo_array((ones, (unit, cell)), shape=shape).tocsr() for cell in cells], counts


def _replicates(units: list[sparse.csr_array], counts: np.ndarray, classes: int, n: int, seed: int) -> Any:
    """Yield lists (one item a prediction) of confusion matrices (m, K, K), n in all."""
    rng = np.random.default_rng(seed)
    step = max(1, DRAWS_AT_ONCE // len(counts))
    for start in range(0, n, step):
        draws = rng.multinomial(counts.sum(), counts / counts.sum(), size=min(step, n - start))  # (m, U)
        yield [(draws @ unit).reshape(-1, classes, classes) for unit in units]


def _interval(estimate: np.ndarray, values: np.ndarray, level: float) -> Interval:
    if not 0 < level < 1:
        raise ParameterError(f"level is {level}: expected a probability between 0 and 1, such as 0.95.")
    with np.errstate(all="ignore"):
        undefined = np.isnan(values).all(axis=0)
        ends = np.nanquantile(np.where(undefined, 0.0, values), [(1 - level) / 2, (1 + level) / 2], axis=0)
    low, high = np.where(undefined, np.nan, ends)
    if np.ndim(estimate) == 0:
        return Interval(float(estimate), float(low), float(high))
    return Interval(estimate, low, high)


def _matrix_units(
    matrices: Sequence[np.ndarray], groups: Any
) -> tuple[tuple[list[sparse.csr_array], np.ndarray], int]:
    """Return what is drawn, as :func:`_resampling_units` does, and the number of classes."""
    first = np.asarray(matrices[0])
    if first.ndim != 3 or first.shape[1] != first.shape[2]:
        raise DataError(f"Matrices have shape {first.shape}: expected (U, K, K), one matrix a patch.")
    for other in matrices[1:]:
        if np.shape(other) != first.shape or not np.array_equal(np.sum(other, axis=-1), first.sum(axis=-1)):
            raise DataError(
                "The matrices of the two models count different pixels: score both on the same patches."
            )
    if groups is not None and len(groups) != len(first):
        raise DataError(f"There are {len(first)} patches and {len(groups)} groups: give each patch a group.")
    kept = first.sum((1, 2)) > 0
    labels = np.arange(len(first)) if groups is None else np.asarray(groups)
    names, unit = np.unique(labels[kept], return_inverse=True)
    if not len(names):
        raise DataError("No pixel is labelled: nothing to score.")
    if len(names) < 2:
        what = "patch" if groups is None else "group"
        raise DataError(f"Labelled pixels lie in {len(names)} {what}: two or more are needed to draw from.")
    classes = first.shape[1]
    member = sparse.coo_array((np.ones(len(unit), np.int64), (unit, np.arange(len(unit)))))  # (G, U)
    flat = [np.asarray(counts)[kept].reshape(-1, classes * classes) for counts in matrices]
    return ([sparse.csr_array(member @ counts) for counts in flat], np.ones(len(names), np.int64)), classes


def _value(matrices: np.ndarray, statistic: str, class_index: int | None) -> np.ndarray:
    values = statistic_of(matrices, statistic)
    if class_index is None:
        return values
    if statistic not in CLASS_WISE or not 0 <= class_index < values.shape[-1]:
        raise ParameterError(
            f"There is no class {class_index} of {statistic!r}: a class index from 0 belongs to one of "
            f"{', '.join(CLASS_WISE)}, and only where there are that many classes."
        )
    return values[..., class_index]
