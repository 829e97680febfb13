"""Scores from confusion matrices, with bootstrap intervals; every average says what it averages over.

Notation for class k, from a confusion matrix with truth in rows: TP = diagonal, FN = rest of row k, FP = rest
of column k, support = TP + FN. "Present" classes are those with support > 0; a class that nobody predicted
and that has support counts with F1 = 0.

=================== ===========================================================================
accuracy            Σ TP / N, also called overall accuracy
balanced_accuracy   mean recall of the present classes
macro_f1            mean F1 of the present classes: every class counts the same
micro_f1            2 Σ TP / (2 Σ TP + Σ FP + Σ FN); with one label a sample, equal to accuracy
weighted_f1         mean F1 of the present classes, weighted by their support
kappa               Cohen (1960): (accuracy − chance) / (1 − chance), chance from row and column sums
mean_iou            mean TP / (TP + FP + FN) of the present classes
precision … iou     one value a class: TP / (TP + FP), TP / (TP + FN), 2 TP / (2 TP + FP + FN), IoU
=================== ===========================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from eolab.errors import DataError, ParameterError, did_you_mean
from eolab.legends import IGNORE

DRAWS_AT_ONCE = 20_000_000  # resampled counts held in memory: 160 MB


class Interval(NamedTuple):
    """An estimate with the ends of its percentile bootstrap interval; arrays for class-wise statistics."""

    estimate: Any
    low: Any
    high: Any


@dataclass(frozen=True)
class Scores:
    """All scores of one confusion matrix.

    Attributes:
        overall: Name → value of each average in the module's table.
        classes: A row a class: ``precision``, ``recall``, ``f1``, ``iou`` and ``support`` (samples); NaN
            where the denominator is 0.
    """

    overall: dict[str, float]
    classes: pd.DataFrame

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers for ``metrics.json``: the averages, and F1 and support by class."""
        by_class = {
            str(name): {"f1": row["f1"], "support": row["support"]} for name, row in self.classes.iterrows()
        }
        return {**self.overall, "classes": by_class}


def confusion(truth: Any, prediction: Any, classes: int, ignore: int = IGNORE) -> np.ndarray:
    """Count pairs of true and predicted class.

    Args:
        truth: Class indices of any shape, 0 … classes − 1; ``ignore`` counts nowhere.
        prediction: Class indices of the same shape.
        classes: Number of classes K.
        ignore: Label in the truth that is left out.

    Returns:
        int64 (K, K), truth in rows, prediction in columns.

    Raises:
        DataError: Shapes differ, or a counted label is not a class index.
    """
    true, (predicted,) = _labelled(truth, (prediction,), classes, ignore)
    counts = np.bincount(true * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes)


def scores(matrix: np.ndarray, names: Sequence[str] | None = None) -> Scores:
    """Return every score of a confusion matrix.

    Averages named ``macro``, ``mean`` or ``balanced`` run over the classes present in the truth only; see the
    table at the top of this module.

    Args:
        matrix: Counts (K, K), truth in rows.
        names: K class names, the index of the table of classes; 0 … K − 1 otherwise.
    """
    matrix = np.asarray(matrix)
    columns = {name: _class_wise(name)(matrix) for name in CLASS_WISE}
    table = pd.DataFrame(
        columns, index=pd.Index(names if names is not None else range(len(matrix)), name="class")
    )
    table["support"] = matrix.sum(axis=1)
    return Scores({name: float(function(matrix)) for name, function in OVERALL.items()}, table)


def statistic_of(matrices: np.ndarray, statistic: str) -> np.ndarray:
    """Return one statistic of many confusion matrices at once.

    Args:
        matrices: Counts (..., K, K).
        statistic: A name of the module's table.

    Returns:
        (...) for an average, (..., K) for a class-wise statistic; NaN where undefined.
    """
    if statistic in OVERALL:
        return OVERALL[statistic](np.asarray(matrices))
    if statistic in CLASS_WISE:
        return _class_wise(statistic)(np.asarray(matrices))
    known = [*OVERALL, *CLASS_WISE]
    raise ParameterError(f"There is no statistic {statistic!r}; {did_you_mean(statistic, known)}")


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
        statistic: A name of the module's table; a class-wise one gives arrays (K,).
        n: Replicates.
        seed: Of the draws.
        classes: Number of classes K; None takes the largest index that occurs.
        level: Probability that the interval shall cover.
        ignore: Label in the truth that is left out.

    Raises:
        DataError: Nothing is labelled, or fewer than two groups are.
    """
    classes = classes or _count_classes(ignore, truth, prediction)
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
    classes = classes or _count_classes(ignore, truth, prediction_a, prediction_b)
    units = _resampling_units(truth, (prediction_a, prediction_b), groups, classes, ignore)
    a, b = (
        statistic_of(confusion(truth, p, classes, ignore), statistic) for p in (prediction_a, prediction_b)
    )
    drawn = _replicates(*units, classes, n, seed)
    differences = [statistic_of(of_b, statistic) - statistic_of(of_a, statistic) for of_a, of_b in drawn]
    return _interval(b - a, np.concatenate(differences), level)


# === Counting ===


def _labelled(
    truth: Any, predictions: Sequence[Any], classes: int, ignore: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    true, others = np.asarray(truth), [np.asarray(p) for p in predictions]
    if any(p.shape != true.shape for p in others):
        shapes = " and ".join(str(p.shape) for p in others)
        raise DataError(
            f"Truth has shape {true.shape}, the prediction {shapes}: give class indices of one shape."
        )
    kept = true != ignore
    flat = [a[kept].astype(np.int64) for a in (true, *others)]
    for name, values in zip(("truth", *["prediction"] * len(others)), flat, strict=True):
        if values.size and not (values.min() >= 0 and values.max() < classes):
            wrong = values[(values < 0) | (values >= classes)]
            raise DataError(
                f"The {name} holds {wrong.size} labelled samples with values such as {wrong[0]}: expected "
                f"class indices 0 to {classes - 1}; set the truth to {ignore} where a sample shall not count."
            )
    return flat[0], flat[1:]


def _count_classes(ignore: int, *labels: Any) -> int:
    tops = [int(array[array != ignore].max(initial=-1)) for array in map(np.asarray, labels)]
    return max(tops) + 1


# === Resampling ===


def _resampling_units(
    truth: Any, predictions: Sequence[Any], groups: Any, classes: int, ignore: int
) -> tuple[list[sparse.csr_array], np.ndarray]:
    """Return what is drawn: counts (U, K²) of U units for each prediction, and how often a unit occurs (U,).

    A unit is a group; without groups, all samples with the same truth and predictions are one unit: drawing
    from a multinomial over these few is the same as drawing samples, and a thousand times faster.
    """
    true, others = _labelled(truth, predictions, classes, ignore)
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


# === Statistics of matrices (..., K, K) ===


def _ratio(over: np.ndarray, under: np.ndarray) -> np.ndarray:
    return np.divide(over, under, out=np.full(np.shape(under), np.nan), where=np.asarray(under) > 0)


def _class_wise(name: str) -> Callable[[np.ndarray], np.ndarray]:
    return lambda matrix: _ratio(*CLASS_WISE[name](*_counts(matrix)))


def _counts(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return TP, support (TP + FN) and number of predictions (TP + FP) of each class, (..., K)."""
    return np.diagonal(matrix, axis1=-2, axis2=-1).astype(float), matrix.sum(-1), matrix.sum(-2)


def _macro(name: str) -> Callable[[np.ndarray], np.ndarray]:
    def mean(matrix: np.ndarray) -> np.ndarray:
        present = matrix.sum(-1) > 0
        values = np.where(present, _class_wise(name)(matrix), 0.0)
        return _ratio(values.sum(-1), present.sum(-1))

    return mean


def _weighted_f1(matrix: np.ndarray) -> np.ndarray:
    support = matrix.sum(-1)
    f1 = np.where(support > 0, _class_wise("f1")(matrix), 0.0)
    return _ratio((support * f1).sum(-1), support.sum(-1))


def _accuracy(matrix: np.ndarray) -> np.ndarray:
    return _ratio(np.trace(matrix, axis1=-2, axis2=-1), matrix.sum((-2, -1)))


def _kappa(matrix: np.ndarray) -> np.ndarray:
    _, support, predicted = _counts(matrix)
    chance = _ratio((support * predicted.astype(float)).sum(-1), matrix.sum((-2, -1)).astype(float) ** 2)
    return _ratio(_accuracy(matrix) - chance, 1 - chance)


CLASS_WISE: dict[str, Callable[..., tuple[np.ndarray, np.ndarray]]] = {
    "precision": lambda hit, support, predicted: (hit, predicted),
    "recall": lambda hit, support, predicted: (hit, support),
    "f1": lambda hit, support, predicted: (2 * hit, support + predicted),
    "iou": lambda hit, support, predicted: (hit, support + predicted - hit),
}
OVERALL: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _macro("recall"),
    "macro_f1": _macro("f1"),
    "micro_f1": _accuracy,  # one label a sample: Σ FP = Σ FN = N − Σ TP
    "weighted_f1": _weighted_f1,
    "kappa": _kappa,
    "mean_iou": _macro("iou"),
}
