"""Whether a probability of 0.8 means 8 in 10, and temperature scaling, which makes it so.

Guo, Pleiss, Sun and Weinberger (2017), On Calibration of Modern Neural Networks,
https://arxiv.org/abs/1706.04599: all logits are divided by one temperature T, chosen to minimise the negative
log-likelihood on validation data. With two classes the logit is z = log(p / (1 − p)), and the scaled
probability is p' = 1 / (1 + exp(−z / T)); with several, p' is the softmax of log(p) / T. T > 1 says that the
network was too sure. The order of the values stays what it was, so scores change only through the threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, softmax

from eolab.core.errors import DataError, ParameterError
from eolab.evaluation import metrics
from eolab.evaluation.postprocess.reading import checked, floating, labelled_pixels

ALL = "all labels"  # row and class of what is pooled over the classes
T_RANGE = (0.01, 100.0)  # where the best temperature is looked for
LOGIT_BINS = 8192  # over the range of logits; within a bin the mean logit stands for all


def fit_temperature(probability: Any, truth: Any, by_label: bool = False) -> Any:
    """Return the temperature T with the least negative log-likelihood over all labelled values.

    Of two classes the likelihood is computed from a histogram of the logits, so that values are read once
    whatever their number. Probabilities that rounding has made 0 or 1 count as numbers near them that are
    neither.

    Args:
        probability: Validation samples (N, …), probabilities of a class; or of K classes (N, K) that exclude
            each other, with the truth (N,).
        truth: 0, 1 and 255 = not known, of the same shape; or class indices (N,).
        by_label: Whether each column of (N, K) gets a temperature of its own, float64 (K,); 1 for a class
            that no or every sample has.

    Returns:
        Within 0.01 to 100; the ends where the likelihood has its best beyond them, for example 0.01 where
        every value is on the right side of 0.5.

    Raises:
        DataError: If shapes differ, nothing is labelled, or values are neither probabilities nor labels.
    """
    given, true = np.asarray(probability), np.asarray(truth)
    if by_label:
        columns = list(zip(*(values.T for values in _labels(given, true)), strict=True))
        both = [{0, 1} <= {*np.unique(known).tolist()} for _, known in columns]
        fitted = [fit_temperature(*pair) if two else 1.0 for pair, two in zip(columns, both, strict=True)]
        return np.array(fitted)
    loss = _loss_of_classes(given, true) if true.ndim == given.ndim - 1 else _loss_of_two(given, true)
    found = minimize_scalar(
        lambda log_t: loss(float(np.exp(log_t))),
        bounds=np.log(T_RANGE),
        method="bounded",
        options={"xatol": 1e-7},
    )
    return float(np.exp(found.x))


def _loss_of_two(probability: np.ndarray, truth: np.ndarray) -> Callable[[float], float]:
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
    return lambda T: float(weight @ np.logaddexp(0, -margin / T))


def _loss_of_classes(probability: np.ndarray, truth: np.ndarray) -> Callable[[float], float]:
    """Return the mean negative log-likelihood by temperature of classes that exclude each other."""
    known = truth != metrics.IGNORE
    if not known.any():
        raise DataError("No sample is labelled: no temperature can be fitted.")
    logits, labels = _log(checked(probability[known])), truth[known].astype(np.int64)
    rows = np.arange(len(labels))
    return lambda T: float(-log_softmax(logits / T, axis=-1)[rows, labels].mean())


def apply_temperature(probability: Any, T: Any, classes: bool = False) -> np.ndarray:
    """Return probabilities after their logits are divided by a temperature, float32 of the same shape.

    Args:
        probability: Any shape; memory maps are read in parts.
        T: Result of :func:`fit_temperature`; one number, or one a label (K,) for (N, K).
        classes: Whether the last axis is one distribution over classes that exclude each other.

    Raises:
        ParameterError: If a temperature is not positive.
        DataError: If a value is not a probability.
    """
    if not (np.all(np.asarray(T) > 0) and np.all(np.isfinite(T))):
        raise ParameterError(f"The temperature is {T}: expected a positive number.")
    values = np.asarray(probability)
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
    if bins < 1:
        raise ParameterError(f"bins is {bins}: expected 1 or more.")
    given, labels = np.asarray(probability), np.asarray(truth)
    if labels.ndim == given.ndim - 1:
        right = given.argmax(axis=-1) == labels
        given, labels = given.max(axis=-1), np.where(labels == metrics.IGNORE, metrics.IGNORE, right)
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
    given, true = _labels(np.asarray(probability), np.asarray(truth), names)
    rows = []
    for name, values, known in [(ALL, given, true), *zip(names, given.T, true.T, strict=True)]:
        table = calibration_table(values, known, bins)
        means = [float((table["share"] * table[column]).sum()) for column in ("probability", "frequency")]
        support = int(np.count_nonzero(known == 1))
        error = expected_calibration_error(table)
        rows.append((name, int(table["count"].sum()), support, *means, error))
    columns = ["class", "labels", "support", "probability", "frequency", "expected_calibration_error"]
    return pd.DataFrame(rows, columns=columns)


def _labels(
    given: np.ndarray, true: np.ndarray, names: Sequence[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities and labels (N, K), checked."""
    classes = given.shape[-1:] if names is None else (len(names),)
    if given.ndim != 2 or given.shape != true.shape or given.shape[1:] != classes:
        raise DataError(
            f"Probabilities have shape {given.shape} and labels {true.shape}: expected both "
            f"(samples, classes), of {classes[0] if classes else 0} classes."
        )
    return given, true


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
