"""Scores from confusion matrices; every name says what it averages over.

A name is "scope.statistic". Notation for class k, from a confusion matrix with truth in rows: TP = diagonal,
FN = rest of row k, FP = rest of column k, support = TP + FN. "Present" classes are those with support > 0; a
class that nobody predicted and that has support counts with F1 = 0.

===================== =========================================================================
class.precision …     one value a class: TP / (TP + FP); recall TP / (TP + FN); f1, f2
                      (1 + β²) TP / ((1 + β²) TP + β² FN + FP); iou TP / (TP + FP + FN); support TP + FN;
                      predicted TP + FP
macro.precision …     mean of the present classes: every class counts the same
micro.precision …     of the sums of TP, FP and FN over the classes; with one label a sample, micro.f1
                      equals accuracy
weighted.precision …  mean of the present classes, weighted by their support
all.accuracy          Σ TP / N, also called overall accuracy
all.balanced_accuracy mean recall of the present classes
all.kappa             Cohen (1960): (accuracy − chance) / (1 − chance), chance from row and column sums
===================== =========================================================================
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from eolab.core.errors import DataError, ParameterError, check_known
from eolab.data.schemes import IGNORE

PIXELS_AT_ONCE = 1 << 22  # pixels held as integers of eight bytes: 32 MB an array
CLASS_WISE = ("precision", "recall", "f1", "f2", "iou")
COUNTED = ("class.support", "class.predicted")  # how often a class is true, and predicted
AVERAGES = ("macro", "micro", "weighted")
OVERALL = ("accuracy", "balanced_accuracy", "kappa")
KNOWN = (*(f"{a}.{s}" for a in ("class", *AVERAGES) for s in CLASS_WISE), *(f"all.{s}" for s in OVERALL))


# === Counting ===


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
    true, (predicted,) = labelled(truth, (prediction,), classes, ignore)
    counts = np.bincount(true * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes)


def confusions(truth: Any, prediction: Any, classes: int, ignore: int = IGNORE) -> np.ndarray:
    """Count pairs of true and predicted class in each patch, a few patches at a time.

    Args:
        truth: Class indices (N, …), for example masks (N, H, W); memory maps are read in parts.
        prediction: Class indices, or bool for two classes, of the same shape.
        classes: Number of classes K.
        ignore: Label in the truth that is left out.

    Returns:
        int64 (N, K, K), truth in rows, prediction in columns; zeros for a patch that is all ignored.

    Raises:
        DataError: Shapes differ, the prediction holds fractions, or a counted label is not a class index.
    """
    truth, prediction = np.asarray(truth), np.asarray(prediction)  # memory maps stay on disk
    check_shapes("class indices of one shape", truth=truth, prediction=prediction)
    check_indices(prediction)
    counts = np.zeros((len(truth), classes * classes), np.int64)
    for part in chunks(truth.shape):
        true, (predicted,) = labelled(truth[part], (prediction[part],), classes, ignore)
        patch = np.nonzero(truth[part] != ignore)[0]
        cell = (patch * classes + true) * classes + predicted
        counts[part] = np.bincount(cell, minlength=counts[part].size).reshape(-1, classes * classes)
    return counts.reshape(-1, classes, classes)


def chunks(shape: Sequence[int]) -> Iterator[slice]:
    """Yield slices of the first axis of an array (N, …) with about 4 million values each."""
    step = max(1, PIXELS_AT_ONCE // max(1, int(np.prod(shape[1:], dtype=np.int64))))
    for start in range(0, shape[0], step):
        yield slice(start, min(start + step, shape[0]))


def labelled(
    truth: Any, predictions: Sequence[Any], classes: int, ignore: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return what is not ignored of the truth and of the predictions, flat int64, once it is checked."""
    true, others = np.asarray(truth), [np.asarray(p) for p in predictions]
    for other in others:
        check_shapes("class indices of one shape", truth=true, prediction=other)
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


def check_shapes(expected: str, right: bool = True, **arrays: np.ndarray) -> None:
    """Refuse arrays whose shapes differ, or that a condition finds wrong.

    Args:
        expected: What is expected, as the error says it.
        right: The condition.
        arrays: The arrays by what they are.

    Raises:
        DataError: If the shapes are not as expected.
    """
    if not right or len({values.shape for values in arrays.values()}) > 1:
        found = " and ".join(f"{name} of shape {values.shape}" for name, values in arrays.items())
        raise DataError(f"Found {found}: expected {expected}.")


def check_indices(values: np.ndarray) -> None:
    """Refuse values that are no class indices.

    Raises:
        DataError: If they are neither whole numbers nor bool.
    """
    if values.dtype.kind not in "biu":
        raise DataError(
            f"Found {values.dtype} values: expected class indices, or bool for two classes, such as "
            "probability >= threshold."
        )


def check_finite(predictions: np.ndarray) -> None:
    """Refuse predictions that are no numbers: NaN lies below every threshold, and beside every class.

    Raises:
        DataError: If one is NaN or infinite.
    """
    floating = predictions.dtype.kind == "f" and predictions.size
    if floating and not np.isfinite([predictions.min(), predictions.max()]).all():
        wrong = (~np.isfinite(predictions)).sum()
        raise DataError(
            f"{wrong} of {predictions.size} predictions are no finite number: predict them again."
        )


# === Statistics of counts ===


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


def statistic_of_counts(counts: np.ndarray, name: str, whole: np.ndarray | None = None) -> np.ndarray:
    """Return one statistic of counts by class, see :func:`statistic_of`.

    Args:
        counts: (…, 3, K), see :func:`counts_of`.
        name: "scope.statistic".
        whole: Counts (3, K) of all samples, where `counts` are draws from them. A class that a draw lacks is
            undefined there, and counts in "macro" with its score over all samples: each draw is a mean over
            the same classes.
    """
    scope, _, statistic = name.rpartition(".")
    check_known(name, (*KNOWN, *COUNTED), f"There is no statistic {name!r}")
    if scope == "class":
        values = _class_wise(statistic, counts)
        if whole is None or name in COUNTED:
            return values
        return np.where((whole[1] > 0) & (counts[..., 1, :] == 0), np.nan, values)
    if name == "all.balanced_accuracy":
        return statistic_of_counts(counts, "macro.recall", whole)
    if scope == "all":
        return _overall(statistic, counts)
    if scope == "micro":
        counts = counts.sum(axis=-1, keepdims=True)
    support = counts[..., 1, :]
    weight = support if scope == "weighted" else support > 0
    values = np.where(support > 0, np.nan_to_num(_class_wise(statistic, counts)), 0.0)
    if scope == "macro" and whole is not None:
        weight = np.broadcast_to(whole[1] > 0, support.shape)
        values = np.where(support > 0, values, np.nan_to_num(_class_wise(statistic, whole)))
    return _ratio((weight * values).sum(-1), weight.sum(-1))


def values_of(matrix: np.ndarray, names: Sequence[str], class_names: Sequence[str]) -> dict[str, float]:
    """Return statistics of one confusion matrix (K, K) by name, of a class where the scope is its name."""
    return {key: float(value) for key, value in by_name(counts_of(matrix), names, class_names).items()}


def by_name(
    counts: np.ndarray, names: Sequence[str], class_names: Sequence[str], whole: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Return statistics (…) of counts by class (…, 3, K), by name; the scope may be the name of a class.

    Draws are given with the counts of all samples, see :func:`statistic_of_counts`.
    """
    place = {name: k for k, name in enumerate(class_names)}
    found = {}
    for name in names:
        scope, _, statistic = name.rpartition(".")
        if scope in place:
            found[name] = statistic_of_counts(counts, f"class.{statistic}", whole)[..., place[scope]]
        else:
            found[name] = statistic_of_counts(counts, name, whole)
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
    if f"class.{statistic}" in COUNTED:
        return support if statistic == "support" else predicted
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
    accuracy = _ratio(hit.sum(-1), total)
    if statistic == "accuracy":
        return accuracy
    chance = _ratio((support * predicted).sum(-1), total**2)
    return _ratio(accuracy - chance, 1 - chance)


# === Published averages ===


def implied_f1(macro_f1: float, mean_iou: float) -> float:
    """Return the F1 of the weaker of two classes that their macro F1 and mean IoU imply together.

    With M the macro F1, J the mean IoU and the F1 of both classes M + d and M − d, the IoU of a
    class being F1 / (2 − F1):

        (M + d) / (2 − M − d) + (M − d) / (2 − M + d) = 2 J

    Let a = 2 − M and multiply by (a − d)(a + d): the left side is (M + d)(a + d) + (M − d)(a − d) =
    2 (M a + d²), the right side 2 J (a² − d²), so

        d² = a (J a − M) / (1 + J).

    The lower of the two scores is that of the rare class; the other one is 2 M − result. For M = 0.7463 and
    J = 0.6597 d is 0.247: the F1 of the rare class is 0.499 and that of the other 0.993. If the two numbers
    were those of one class instead, J would be M / (2 − M) = 0.595.

    Args:
        macro_f1: Mean F1 of both classes, 0 to 1.
        mean_iou: Mean IoU of both classes, 0 to 1.

    Returns:
        0 to 1; NaN where no two scores between 0 and 1 have both means.

    Raises:
        ParameterError: If a score is not between 0 and 1.
    """
    for name, value in (("macro_f1", macro_f1), ("mean_iou", mean_iou)):
        if not 0 <= value <= 1:
            raise ParameterError(f"{name} is {value}: expected a score of 0 to 1, not in percent.")
    a = 2 - macro_f1
    square = a * (mean_iou * a - macro_f1) / (1 + mean_iou)
    if square < -1e-12:
        return math.nan
    d = math.sqrt(max(square, 0.0))
    return macro_f1 - d if d <= macro_f1 and macro_f1 + d <= 1 + 1e-12 else math.nan
