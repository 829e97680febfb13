"""Statistics of confusion matrices; the table of their names is in :mod:`eolab.evaluation.metrics`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from eolab.core.errors import ParameterError, did_you_mean


@dataclass(frozen=True)
class Scores:
    """All scores of one confusion matrix.

    Attributes:
        overall: Name → value of each average in the table of :mod:`eolab.evaluation.metrics`.
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


def scores(matrix: np.ndarray, names: Sequence[str] | None = None) -> Scores:
    """Return every score of a confusion matrix.

    Averages named ``macro``, ``mean`` or ``balanced`` run over the classes present in the truth only; see the
    table of :mod:`eolab.evaluation.metrics`.

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
        statistic: A name of the table of :mod:`eolab.evaluation.metrics`.

    Returns:
        (...) for an average, (..., K) for a class-wise statistic; NaN where undefined.
    """
    if statistic in OVERALL:
        return OVERALL[statistic](np.asarray(matrices))
    if statistic in CLASS_WISE:
        return _class_wise(statistic)(np.asarray(matrices))
    known = [*OVERALL, *CLASS_WISE]
    raise ParameterError(f"There is no statistic {statistic!r}; {did_you_mean(statistic, known)}")


def batch_mean(matrices: np.ndarray, statistic: str, batch: int = 16) -> float:
    """Return a statistic computed in each batch of consecutive patches, averaged over the batches.

    This is what a training loop reports that averages the score of its steps: it is not the score of the
    pooled pixels, and it changes with the size of the batches. A class without truth in a batch counts there
    in no average of classes; a batch without any labelled pixel is left out.

    Args:
        matrices: Counts of each patch (N, K, K).
        statistic: The name of an average in the table of :mod:`eolab.evaluation.metrics`.
        batch: Patches a batch; the last one may have fewer.
    """
    together = np.add.reduceat(matrices, np.arange(0, len(matrices), batch), axis=0)  # (batches, K, K)
    values = statistic_of(together[together.sum((1, 2)) > 0], statistic)
    return float(values.mean()) if len(values) else float("nan")


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
