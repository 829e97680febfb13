"""From probabilities to decisions: thresholds, morphology, averages of predictions, calibration.

Functions take probabilities of N samples or patches, float16 or float32, as arrays or memory maps, which are
read a few patches at a time; choices belong on validation samples.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import ndimage
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, softmax

from eolab.core.errors import DataError, ParameterError, check_known, warn
from eolab.core.progress import stage
from eolab.evaluation import metrics
from eolab.evaluation.metrics import IGNORE

# every hundredth, so that published thresholds such as 0.95 and 0.99 are among them
HUNDREDTHS = tuple(np.arange(1, 100) / 100)
SCORES = {
    **{name: f"class.{name}" for name in ("precision", "recall", "f1", "f2", "iou")},
    **{"macro_f1": "macro.f1", "mean_iou": "macro.iou", "balanced_accuracy": "all.balanced_accuracy"},
}
Likelihood = tuple[Callable[[float], float], bool]  # by temperature; and whether probabilities are constant
Thresholds = Sequence[float] | Literal["midpoints"] | None
ALL = "all labels"  # row and class of what is pooled over the classes
T_RANGE = (0.01, 100.0)  # where the best temperature is looked for
LOGIT_BINS = 8192  # over the range of logits; within a bin the mean logit stands for all


# === Reading in parts ===


def labelled_pixels(probability: Any, truth: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield probability (n,) in its own precision and truth (n,) bool of the labelled pixels, part by part.

    Args:
        probability: Probabilities of any shape (N, …).
        truth: 0, 1 and 255 = not known, of the same shape.

    Raises:
        DataError: If shapes differ, a value is no probability, or a label is neither 0, 1 nor 255.
    """
    probability, truth = np.asarray(probability), np.asarray(truth)  # memory maps stay on disk
    same = "those of the same patches at the same resolution"
    metrics.check_shapes(same, probabilities=probability, truth=truth)
    for part in metrics.chunks(truth.shape):
        labels = truth[part]
        known = labels != IGNORE
        values, true = checked(probability[part])[known], labels[known]
        if true.size and not (true.min() >= 0 and true.max() <= 1):
            raise DataError(f"The truth holds label {true.max()}: expected 0, 1 and {IGNORE} for not known.")
        yield values, true == 1


def checked(probability: np.ndarray) -> np.ndarray:
    """Return probabilities, floating.

    Raises:
        DataError: If one is not a number from 0 to 1.
    """
    if probability.size:
        low, high = probability.min(), probability.max()  # NaN where one is NaN
        if not (low >= 0 and high <= 1):
            raise DataError(
                f"Probabilities range from {low:.4g} to {high:.4g}: expected 0 to 1 without NaN; apply "
                "softmax to logits."
            )
    return floating(probability)


def floating(values: np.ndarray) -> np.ndarray:
    """Return values in their own precision, whole numbers and bool as float32."""
    return values if values.dtype.kind == "f" else values.astype(np.float32)


# === Thresholds ===


def decide(probability: Any, threshold: Any) -> np.ndarray:
    """Return where a probability is at least a threshold, bool, compared in the precision of the probability.

    Args:
        probability: Any shape; float16 and whole numbers are compared as float32.
        threshold: A number, or an array that broadcasts with the probabilities, such as one a class.

    Raises:
        DataError: If a probability is no finite number.
    """
    values = np.asarray(probability)
    metrics.check_finite(values)
    precision = np.float64 if values.dtype == np.float64 else np.float32
    return values.astype(precision, copy=False) >= np.asarray(threshold, precision)


def threshold_curve(probability: Any, truth: Any, thresholds: Thresholds = None) -> pd.DataFrame:
    """Score the decision of every threshold, all values pooled.

    Values are sorted once into the bins between the thresholds, so that the time does not depend on the
    number of thresholds; a value is positive where :func:`decide` says so.

    Args:
        probability: (N, …).
        truth: 0 or 1, 255 = not known, of the same shape.
        thresholds: 0 to 1, 0.01 to 0.99 in hundredths by default; "midpoints" for the lowest probability and
            all numbers halfway between neighbouring ones, of which there are few.

    Returns:
        A row a threshold, ascending: threshold; precision, recall, f1, f2 and iou of the positive class;
        macro_f1, mean_iou and balanced_accuracy of both classes. NaN where undefined: balanced accuracy also
        where one class alone is there.

    Raises:
        DataError: If shapes differ, nothing is labelled, or values are neither probabilities nor labels.
        ParameterError: If a threshold is not between 0 and 1.
    """
    limits = _limits(probability, truth, thresholds)
    bins, precision = len(limits) + 1, np.result_type(np.float32, np.asarray(probability).dtype)
    counts = np.zeros((2, bins), np.int64)  # negatives and positives by number of thresholds passed
    for values, true in labelled_pixels(probability, truth):
        passed = np.searchsorted(limits.astype(precision), values.astype(precision), side="right")
        counts += np.bincount(passed + bins * true, minlength=2 * bins).reshape(2, bins)
    if not counts.sum():
        raise DataError("No pixel is labelled: nothing to score.")
    predicted = counts[:, ::-1].cumsum(axis=1)[:, -2::-1]  # (2, thresholds): values that pass
    matrices = np.stack([counts.sum(axis=1, keepdims=True) - predicted, predicted], axis=-1)  # (2, T, 2)
    matrices = matrices.transpose(1, 0, 2)  # (T, truth, prediction)
    curve = {"threshold": limits}
    for name, statistic in SCORES.items():
        values = metrics.statistic_of(matrices, statistic)
        curve[name] = values[:, 1] if values.ndim > 1 else values
    if not counts.sum(axis=1).all():
        curve["balanced_accuracy"] = np.full(len(limits), np.nan)
    return pd.DataFrame(curve)


def choose_threshold(
    probability: Any,
    truth: Any,
    statistic: str = "f1",
    thresholds: Thresholds = None,
    *,
    by_label: bool = False,
    default: float | None = None,
) -> Any:
    """Return the threshold with the best score on validation samples, never on those that are scored.

    The nearest to 0.5 is taken where several thresholds are equally good, the lower one where two are as
    near; see :func:`best_threshold`.

    Args:
        probability: (N, …).
        truth: 0 or 1, 255 = not known, of the same shape.
        statistic: A score of :func:`threshold_curve`.
        thresholds: See :func:`threshold_curve`.
        by_label: Whether each column of probabilities (N, K) gets a threshold of its own, float64 (K,).
        default: Threshold where there is nothing to choose by, such as no positive sample; None to raise.

    Raises:
        ParameterError: If there is no such score.
        DataError: Where :func:`threshold_curve` raises it, and if there is nothing to choose by.
    """
    if by_label:
        columns = zip(np.asarray(probability).T, np.asarray(truth).T, strict=True)
        return np.array([choose_threshold(p, t, statistic, thresholds, default=default) for p, t in columns])
    check_known(statistic, SCORES, f"There is no score {statistic!r} of thresholds")
    curve = threshold_curve(probability, truth, thresholds)
    if not (curve["recall"].isna().all() or curve[statistic].isna().all()):
        return best_threshold(curve["threshold"], curve[statistic])
    if default is None:
        raise DataError(
            "No labelled pixel or sample is positive, or all are: a threshold can only be chosen where there "
            "are both; take other validation samples, or give a threshold."
        )
    return default


def best_threshold(thresholds: Any, scores: Any) -> float:
    """Return the threshold with the best score; of equally good ones the nearest to 0.5, then the lower one.

    Args:
        thresholds: (T,).
        scores: (T,), NaN where undefined; differences below 1e-12 are none.
    """
    limits, found = np.asarray(thresholds, np.float64), np.asarray(scores, np.float64)
    best = limits[found >= np.nanmax(found) - 1e-12]
    return float(min(best, key=lambda value: (round(abs(value - 0.5), 9), value)))


def _limits(probability: Any, truth: Any, thresholds: Thresholds) -> np.ndarray:
    """Return the thresholds that are tried, ascending."""
    if isinstance(thresholds, str):
        known = [np.unique(values) for values, _ in labelled_pixels(probability, truth)]
        values = np.unique(np.concatenate([np.empty(0), *known]).astype(np.float64))
        return np.concatenate([values[:1], (values[1:] + values[:-1]) / 2])
    limits = np.unique(np.asarray(HUNDREDTHS if thresholds is None else thresholds, np.float64))
    if not len(limits) or not (limits[0] >= 0 and limits[-1] <= 1):
        raise ParameterError(f"The thresholds are {thresholds}: expected numbers from 0 to 1.")
    return limits


# === Morphology ===


def opening(mask: Any, size: int = 3) -> np.ndarray:
    """Remove what a square does not fit into: an erosion, then a dilation.

    Single false pixels go ("salt"), and so do objects narrower than the square. Outside a patch nothing is
    known: erosion and dilation look at the pixels of the patch alone, so that the border itself neither
    removes nor adds pixels (the convention of OpenCV and scikit-image; SciPy's binary functions take the
    outside for background, so that its closing removes objects at the border).

    Args:
        mask: (N, H, W) bool, 0 and 1, or probabilities, which give at any threshold what the mask of that
            threshold gives; patches are not mixed.
        size: Side of the square in pixels, odd.

    Returns:
        (N, H, W) of the mask's type.

    Raises:
        ParameterError: If the size is not odd and positive.
        DataError: If the mask is not (N, H, W), or a value is not from 0 to 1.
    """
    return _by_part(mask, size, ndimage.grey_opening)


def closing(mask: Any, size: int = 3) -> np.ndarray:
    """Fill holes and gaps that a square does not fit into ("pepper"): a dilation, then an erosion.

    Arguments, result and errors as of :func:`opening`.
    """
    return _by_part(mask, size, ndimage.grey_closing)


def _by_part(mask: Any, size: int, change: Callable[..., np.ndarray]) -> np.ndarray:
    mask = np.asarray(mask)
    if size < 1 or size % 2 == 0:
        raise ParameterError(f"size is {size}: expected an odd number of pixels, such as 3 or 5.")
    metrics.check_shapes("(N, H, W)", mask.ndim == 3, mask=mask)
    result = np.empty(mask.shape, mask.dtype)
    for part in metrics.chunks(mask.shape):
        values = checked(mask[part])
        values = values.astype(np.promote_types(values.dtype, np.float32))  # SciPy takes no float16
        result[part] = change(values, (1, size, size))  # mirrored at the border: no value from outside
    return result


# === Averages of predictions ===


def multi_scale_average(outputs: Mapping[str, Any]) -> np.ndarray:
    """Average the masks of several resolutions at that of ``mask``.

    Each pixel of ``half`` stands for the 2 × 2 pixels it covers; of ``double`` the mean of the 2 × 2 pixels
    within a pixel counts.

    Args:
        outputs: Probabilities: ``mask`` (N, H, W), and ``half`` (N, H/2, W/2), ``double`` (N, 2H, 2W) or
            both; other names are not looked at.

    Returns:
        (N, H, W) float32.

    Raises:
        DataError: If there is nothing to average, or a shape does not fit.
    """
    given = {name: np.asarray(outputs[name]) for name in ("mask", "half", "double") if name in outputs}
    if "mask" not in given or len(given) < 2:
        raise DataError(
            f"Multi-scale averaging needs the probabilities 'mask' and 'half' or 'double', and found "
            f'{", ".join(outputs) or "none"}: predict with a network with the head "multi".'
        )
    count, height, width = given["mask"].shape
    expected = {"half": (count, height // 2, width // 2), "double": (count, 2 * height, 2 * width)}
    for name, shape in expected.items():
        if name in given:
            fitting = f"{shape} beside a mask of {given['mask'].shape}"
            metrics.check_shapes(fitting, given[name].shape == shape, **{name: given[name]})
    mean = np.empty((count, height, width), np.float32)
    for part in metrics.chunks((count, 2 * height, 2 * width)):
        members = [_at_full(name, values[part].astype(np.float32)) for name, values in given.items()]
        mean[part] = np.mean(members, axis=0)
    return mean


def _at_full(name: str, values: np.ndarray) -> np.ndarray:
    """Return probabilities at the resolution of ``mask``."""
    if name == "half":
        return values.repeat(2, axis=1).repeat(2, axis=2)  # (n, H/2, W/2) → (n, H, W)
    if name == "double":
        count, height, width = values.shape
        return values.reshape(count, height // 2, 2, width // 2, 2).mean((2, 4))  # (n, 2H, 2W) → (n, H, W)
    return values


def test_time_augmentation(
    predict: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    as_it_is: np.ndarray | None = None,  # noqa: PT028 (this is no test)
) -> np.ndarray:
    """Average the predictions of all rotations by right angles and their mirror images, turned back.

    A square patch has eight views; one that is not square has the four that keep its shape. The result no
    longer depends on how the patch is turned. Channels with a direction (a gradient along x) are turned as
    pictures only, their values stay: to such a network a turned patch looks unlike any that it has learned
    from, unless it was trained with :func:`eolab.training.augment.rotate`.

    Args:
        predict: Function of images (n, H, W, C) that returns probabilities (n, H, W).
        image: (n, H, W, C).
        as_it_is: Prediction (n, H, W) of the image as it is, where there is one already.

    Returns:
        (n, H, W) float32.

    Raises:
        DataError: If the image is not (n, H, W, C), or a prediction has another shape than its image.
    """
    metrics.check_shapes("patches (n, H, W, C)", image.ndim == 4, image=image)
    turns = range(4) if image.shape[1] == image.shape[2] else (0, 2)
    total = np.zeros(image.shape[:3], np.float32)
    for turn in turns:
        turned = np.rot90(image, turn, axes=(1, 2))
        for mirror in (1, -1):  # step along x
            view = np.ascontiguousarray(turned[:, :, ::mirror])
            known = as_it_is if (turn, mirror) == (0, 1) else None
            found = np.asarray(predict(view) if known is None else known, np.float32)
            expected = f"one probability a pixel, {view.shape[:3]}"
            metrics.check_shapes(expected, found.shape == view.shape[:3], prediction=found)
            total += np.rot90(found[:, :, ::mirror], -turn, axes=(1, 2))
    return total / np.float32(2 * len(turns))


# === Calibration ===
#
# Guo, Pleiss, Sun and Weinberger (2017), On Calibration of Modern Neural Networks,
# https://arxiv.org/abs/1706.04599: all logits are divided by one temperature T, chosen to minimise the
# negative log-likelihood on validation data. With two classes the logit is z = log(p / (1 − p)), and the
# scaled probability is p' = 1 / (1 + exp(−z / T)); with several, p' is the softmax of log(p) / T. T > 1
# says that the network was too sure. The order of the values stays what it was, so scores change only
# through the threshold.


def fit_temperature(probability: Any, truth: Any, by_label: bool = False) -> Any:
    """Return the temperature T with the least negative log-likelihood over all labelled values.

    The likelihood of two classes is computed from a histogram of the logits, so that values are read once
    whatever their number. Probabilities that rounding has made 0 or 1 count as numbers near them that are
    neither.

    Args:
        probability: Validation samples (N, …), probabilities of a class; or of K classes (N, K) that exclude
            each other, with the truth (N,).
        truth: 0, 1 and 255 = not known, of the same shape; or class indices (N,).
        by_label: Whether each column of (N, K) gets a temperature of its own, float64 (K,); 1 for a class
            that no or every sample has.

    Returns:
        1, with a warning, where all probabilities, or all labels, are the same. Else within 0.01 to 100; the
        ends where the likelihood has its best beyond them, for example 0.01 where every value is on the right
        side of 0.5.

    Raises:
        DataError: If shapes differ, nothing is labelled, or values are neither probabilities nor labels.
    """
    given, true = np.asarray(probability), np.asarray(truth)
    if by_label:
        _check_labels(given, true, given.shape[-1] if given.ndim else 0)
        columns = list(zip(given.T, true.T, strict=True))
        both = [{0, 1} <= {*np.unique(known).tolist()} for _, known in columns]
        fitted = [fit_temperature(*pair) if two else 1.0 for pair, two in zip(columns, both, strict=True)]
        return np.array(fitted)
    of_kind = _loss_of_classes if true.ndim == given.ndim - 1 else _loss_of_two
    with stage(f"Fitting a temperature on {true.size:,} values"):
        loss, constant = of_kind(given, true)
        if constant:
            warn(
                "All probabilities, or all labels, are the same, so no temperature can be fitted and it "
                "stays 1: take validation samples of several classes, or train again."
            )
            return 1.0
        found = minimize_scalar(
            lambda log_t: loss(float(np.exp(log_t))),
            bounds=np.log(T_RANGE),
            method="bounded",
            options={"xatol": 1e-7},
        )
    return float(np.exp(found.x))


def _loss_of_two(probability: np.ndarray, truth: np.ndarray) -> Likelihood:
    """Return the mean negative log-likelihood by temperature, from a histogram of the logits."""
    lowest, highest = _logit(floating(np.array([0, 1], probability.dtype)))
    step = (highest - lowest) / (LOGIT_BINS - 1)
    counts, sums = np.zeros((2, 2 * LOGIT_BINS))  # by truth and bin
    for values, true in labelled_pixels(probability, truth):
        logit = _logit(values)
        cell = ((logit - lowest) / step).astype(np.int64) + LOGIT_BINS * true
        counts += np.bincount(cell, minlength=len(counts))
        sums += np.bincount(cell, weights=logit, minlength=len(sums))
    if not counts.sum():
        raise DataError("No pixel is labelled: no temperature can be fitted.")
    used = counts > 0
    weight = counts[used] / counts.sum()
    sign = np.repeat([-1, 1], LOGIT_BINS)
    margin = (sign * sums)[used] / counts[used]  # > 0 where right
    true, cell = np.divmod(np.flatnonzero(used), LOGIT_BINS)
    constant = 1 in (len(np.unique(cell)), len(np.unique(true)))
    return lambda T: float(weight @ np.logaddexp(0, -margin / T)), constant


def _loss_of_classes(probability: np.ndarray, truth: np.ndarray) -> Likelihood:
    """Return the mean negative log-likelihood by temperature of classes that exclude each other."""
    known = truth != IGNORE
    if not known.any():
        raise DataError("No sample is labelled: no temperature can be fitted.")
    logits, labels = _log(checked(probability[known])), truth[known].astype(np.int64)
    rows = np.arange(len(labels))
    low, high, most = labels.min(), labels.max(), logits.shape[-1] - 1
    if low < 0 or high > most:
        raise DataError(
            f"The truth holds classes {low} to {high}: expected 0 to {most}, and {IGNORE} for not known."
        )
    constant = bool((logits == logits[0]).all() or (labels == labels[0]).all())
    return lambda T: float(-log_softmax(logits / T, axis=-1)[rows, labels].mean()), constant


def apply_temperature(probability: Any, T: Any, classes: bool = False) -> np.ndarray:
    """Return probabilities after their logits are divided by a temperature, float32 of the same shape.

    Args:
        probability: Any shape; memory maps are read in parts.
        T: Result of :func:`fit_temperature`; one number, or one a label (K,) for (N, K).
        classes: Whether the last axis is one distribution over classes that exclude each other.

    Raises:
        ParameterError: If a temperature is not positive, or there is not one a label.
        DataError: If a value is not a probability.
    """
    if not (np.all(np.asarray(T) > 0) and np.all(np.isfinite(T))):
        raise ParameterError(f"The temperature is {T}: expected a positive number.")
    values = np.asarray(probability)
    if np.ndim(T) and np.shape(T) != values.shape[-1:]:
        raise ParameterError(
            f"There are {np.size(T)} temperatures and probabilities of shape {values.shape}: expected one, "
            "or one a label."
        )
    if not values.ndim:
        return apply_temperature(values[None], T)[0]
    scaled = np.empty(values.shape, np.float32)
    for part in metrics.chunks(values.shape):
        given = checked(values[part])
        scaled[part] = softmax(_log(given) / T, axis=-1) if classes else expit(_logit(given) / T)
    return scaled


def calibration_table(probability: Any, truth: Any, bins: int = 10) -> pd.DataFrame:
    """Compare predicted probability and frequency in bins of equal width.

    A probability on the border of two bins belongs to the lower one.

    Args:
        probability: (N, …); or of K classes (N, K) that exclude each other, with the truth (N,), of which the
            highest probability of a sample is compared with how often its class is right.
        truth: 0, 1 and 255 = not known, of the same shape; or class indices (N,).
        bins: Number of bins from 0 to 1.

    Returns:
        A row a bin that has values: low, high (its ends), probability (mean), frequency (share that is 1, or
        right), count (values), share (of all values).

    Raises:
        ParameterError: If there is no bin.
        DataError: If shapes differ, nothing is labelled, or values are neither probabilities nor labels.
    """
    if bins < 1 or bins != int(bins):
        raise ParameterError(f"bins is {bins}: expected a whole number of 1 or more.")
    given, labels = np.asarray(probability), np.asarray(truth)
    if labels.ndim == given.ndim - 1:
        right = given.argmax(axis=-1) == labels
        given, labels = given.max(axis=-1), np.where(labels == IGNORE, IGNORE, right)
    edges = np.linspace(0, 1, bins + 1)
    count, predicted, positive = np.zeros((3, bins))
    for values, true in labelled_pixels(given, labels):
        cell = np.searchsorted(edges[1:-1], values, side="left")
        count += np.bincount(cell, minlength=bins)
        predicted += np.bincount(cell, weights=values, minlength=bins)
        positive += np.bincount(cell[true], minlength=bins)
    if not count.sum():
        raise DataError("No pixel is labelled: no calibration can be computed.")
    used = count > 0
    table = {"low": edges[:-1], "high": edges[1:], "probability": predicted, "frequency": positive}
    rows = pd.DataFrame(table)[used].reset_index(drop=True)
    rows[["probability", "frequency"]] = rows[["probability", "frequency"]].div(count[used], axis=0)
    return rows.assign(count=count[used].astype(np.int64), share=count[used] / count.sum())


def expected_calibration_error(table: pd.DataFrame) -> float:
    """Return Σ share · abs(frequency − probability) over the bins of a calibration table.

    Naeini, Cooper and Hauskrecht (2015), Obtaining Well Calibrated Probabilities Using Bayesian Binning.
    Where one class is rare it is dominated by the lowest bin: look at the table beside it.
    """
    return float((table["share"] * (table["frequency"] - table["probability"]).abs()).sum())


def label_calibration(
    probability: np.ndarray, truth: np.ndarray, names: Sequence[str], bins: int = 10
) -> pd.DataFrame:
    """Compare probability and frequency of several labels, class by class.

    Args:
        probability: (N, K).
        truth: 0 or 1 (N, K), 255 = not known.
        names: Names of the classes.
        bins: Bins of equal width, for the error; see :func:`calibration_table`.

    Returns:
        A row a class and, first, one of all labels pooled: class, labels (how many are known), support (of
        them 1), probability (mean), frequency, expected_calibration_error. Pooled errors of many rare classes
        are small even where those of the frequent classes are not: look at both.

    Raises:
        DataError: If shapes differ, or a value is no probability or no label.
    """
    given, true = np.asarray(probability), np.asarray(truth)
    _check_labels(given, true, len(names))
    rows = []
    for name, values, known in [(ALL, given, true), *zip(names, given.T, true.T, strict=True)]:
        table = calibration_table(values, known, bins)
        means = [float((table["share"] * table[column]).sum()) for column in ("probability", "frequency")]
        support = int(np.count_nonzero(known == 1))
        error = expected_calibration_error(table)
        rows.append((name, int(table["count"].sum()), support, *means, error))
    columns = ["class", "labels", "support", "probability", "frequency", "expected_calibration_error"]
    return pd.DataFrame(rows, columns=columns)


def _check_labels(given: np.ndarray, true: np.ndarray, classes: int) -> None:
    """Refuse probabilities and labels that are not (N, K) of K classes."""
    expected = f"both (samples, classes), of {classes} classes"
    right = given.ndim == 2 and given.shape[1] == classes
    metrics.check_shapes(expected, right, probabilities=given, labels=true)


def _logit(probability: np.ndarray) -> np.ndarray:
    """Return log(p / (1 − p)) float64; 0 and 1 are moved halfway to the next number of their precision.

    0 is not moved below 1e-30, whose logit is −69.
    """
    precision = np.finfo(probability.dtype)
    highest = min(1 - float(precision.epsneg) / 2, 1 - 2.0**-53)
    p = np.clip(probability.astype(np.float64), _lowest(probability), highest)
    return np.log(p) - np.log1p(-p)


def _log(probability: np.ndarray) -> np.ndarray:
    """Return log(p) float64; 0 is moved as in :func:`_logit`."""
    return np.log(np.maximum(probability.astype(np.float64), _lowest(probability)))


def _lowest(probability: np.ndarray) -> float:
    return max(float(np.finfo(probability.dtype).smallest_subnormal) / 2, 1e-30)
