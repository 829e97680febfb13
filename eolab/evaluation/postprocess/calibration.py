"""Whether a probability of 0.8 means 8 in 10, and temperature scaling, which makes it so.

Guo, Pleiss, Sun and Weinberger (2017), On Calibration of Modern Neural Networks: all logits are divided by
one temperature T, chosen to minimise the negative log-likelihood on validation data. With two classes the
logit is z = log(p / (1 − p)), and the scaled probability is p' = 1 / (1 + exp(−z / T)). T > 1 says that the
network was too sure. The order of the pixels stays what it was, so scores change only through the threshold.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import expit

from eolab.core.errors import DataError, ParameterError
from eolab.evaluation import metrics
from eolab.evaluation.postprocess.reading import checked, floating, labelled_pixels

T_RANGE = (0.01, 100.0)  # where the best temperature is looked for
LOGIT_BINS = 8192  # over the range of logits; within a bin the mean logit stands for all


def fit_temperature(probability: Any, truth: Any) -> float:
    """Return the temperature T with the least negative log-likelihood over all labelled pixels.

    The likelihood is computed from a histogram of the logits, so that pixels are read once whatever their
    number. Probabilities that rounding has made 0 or 1 count as numbers near them that are neither.

    Args:
        probability: (N, H, W) of validation patches.
        truth: (N, H, W): 0 background, 1 landslide, 255 not known.

    Returns:
        Within 0.01 to 100; the ends where the likelihood has its best beyond them, for example 0.01 where
        every pixel is on the right side of 0.5.

    Raises:
        DataError: If shapes differ, nothing is labelled, or values are neither probabilities nor labels.
    """
    lowest, highest = _logit(floating(np.array([0, 1], np.asarray(probability).dtype)))
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

    def loss(log_t: float) -> float:
        return float(weight @ np.logaddexp(0, -margin / np.exp(log_t)))

    found = minimize_scalar(loss, bounds=np.log(T_RANGE), method="bounded", options={"xatol": 1e-7})
    return float(np.exp(found.x))


def apply_temperature(probability: Any, T: float) -> np.ndarray:
    """Return probabilities after their logits are divided by a temperature, float32 of the same shape.

    Args:
        probability: Any shape; memory maps are read in parts.
        T: Result of :func:`fit_temperature`.

    Raises:
        ParameterError: If T is not positive.
        DataError: If a value is not a probability.
    """
    if not 0 < T < np.inf:
        raise ParameterError(f"The temperature is {T}: expected a positive number.")
    values = np.asarray(probability)
    if not values.ndim:
        return apply_temperature(values[None], T)[0]
    scaled = np.empty(values.shape, np.float32)
    for part in metrics.chunks(values.shape):
        scaled[part] = expit(_logit(checked(values[part])) / T)
    return scaled


def calibration_table(probability: Any, truth: Any, bins: int = 10) -> pd.DataFrame:
    """Compare predicted probability and frequency of landslides in bins of equal width.

    A probability on the border of two bins belongs to the lower one.

    Args:
        probability: (N, H, W).
        truth: (N, H, W): 0 background, 1 landslide, 255 not known.
        bins: Number of bins from 0 to 1.

    Returns:
        A row a bin that has pixels: low, high (its ends), probability (mean), frequency (share that is
        landslide), count (pixels), share (of all pixels).

    Raises:
        ParameterError: If there is no bin.
        DataError: If shapes differ, nothing is labelled, or values are neither probabilities nor labels.
    """
    if bins < 1:
        raise ParameterError(f"bins is {bins}: expected 1 or more.")
    edges = np.linspace(0, 1, bins + 1)
    count, predicted, landslide = np.zeros((3, bins))
    for values, true in labelled_pixels(probability, truth):
        cell = np.searchsorted(edges[1:-1], values, side="left")
        count += np.bincount(cell, minlength=bins)
        predicted += np.bincount(cell, weights=values, minlength=bins)
        landslide += np.bincount(cell[true], minlength=bins)
    if not count.sum():
        raise DataError("No pixel is labelled: no calibration can be computed.")
    used = count > 0
    table = {"low": edges[:-1], "high": edges[1:], "probability": predicted, "frequency": landslide}
    rows = pd.DataFrame(table)[used].reset_index(drop=True)
    rows[["probability", "frequency"]] = rows[["probability", "frequency"]].div(count[used], axis=0)
    return rows.assign(count=count[used].astype(np.int64), share=count[used] / count.sum())


def expected_calibration_error(table: pd.DataFrame) -> float:
    """Return Σ share · abs(frequency − probability) over the bins of a calibration table.

    Naeini, Cooper and Hauskrecht (2015), Obtaining Well Calibrated Probabilities Using Bayesian Binning. With
    98 % background it is dominated by the lowest bin: look at the table beside it.
    """
    return float((table["share"] * (table["frequency"] - table["probability"]).abs()).sum())


def _logit(probability: np.ndarray) -> np.ndarray:
    """Return log(p / (1 − p)) float64; 0 and 1 are moved halfway to the next number of their precision.

    0 is not moved below 1e-30, whose logit is −69.
    """
    precision = np.finfo(probability.dtype)
    lowest = max(float(precision.smallest_subnormal) / 2, 1e-30)
    highest = min(1 - float(precision.epsneg) / 2, 1 - 2.0**-53)
    p = np.clip(probability.astype(np.float64), lowest, highest)
    return np.log(p) - np.log1p(-p)
