"""Several labels a sample: whether a probability of 0.8 means 8 in 10, for each class and over all labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from eolab.core.errors import DataError
from eolab.evaluation import postprocess

ALL = "all labels"  # row and class of what is pooled over the classes


def label_calibration(
    probability: np.ndarray, truth: np.ndarray, names: Sequence[str], bins: int = 10
) -> pd.DataFrame:
    """Compare probability and frequency, class by class.

    Args:
        probability: (N, K).
        truth: 0 or 1 (N, K), 255 = not known.
        names: Of the classes.
        bins: Of equal width, for the error; see :func:`eolab.evaluation.postprocess.calibration_table`.

    Returns:
        A row a class and, first, one of all labels pooled: class, labels (how many are known), support (of
        them 1), probability (mean), frequency, expected_calibration_error. Pooled errors of many rare classes
        are small even where those of the frequent classes are not: look at both.

    Raises:
        DataError: If shapes differ, or a value is no probability or no label.
    """
    given, true = _checked(probability, truth, names)
    rows = []
    for name, values, known in [(ALL, given, true), *zip(names, given.T, true.T, strict=True)]:
        table = postprocess.calibration_table(values, known, bins)
        weight = table["share"]
        means = [float((weight * table[column]).sum()) for column in ("probability", "frequency")]
        support = int(np.count_nonzero(known == 1))
        error = postprocess.expected_calibration_error(table)
        rows.append((name, int(table["count"].sum()), support, *means, error))
    columns = ["class", "labels", "support", "probability", "frequency", "expected_calibration_error"]
    return pd.DataFrame(rows, columns=columns)


def label_temperatures(probability: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the temperature of each class, chosen on validation samples, float64 (K,).

    See :mod:`eolab.evaluation.postprocess.calibration`. A class that no or every sample has gets 1.

    Args:
        probability: (N, K).
        truth: 0 or 1 (N, K), 255 = not known.
    """
    given, true = _checked(probability, truth)
    return np.array(
        [
            postprocess.fit_temperature(values, known) if {0, 1} <= {*np.unique(known).tolist()} else 1.0
            for values, known in zip(given.T, true.T, strict=True)
        ]
    )


def calibrated(probability: np.ndarray, temperatures: np.ndarray) -> np.ndarray:
    """Return probabilities (N, K) after each class's logits are divided by its temperature, float32."""
    given = np.asarray(probability)
    columns = [postprocess.apply_temperature(p, T) for p, T in zip(given.T, temperatures, strict=True)]
    return np.stack(columns, axis=1)


def _checked(
    probability: np.ndarray, truth: np.ndarray, names: Sequence[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    given, true = np.asarray(probability), np.asarray(truth)
    classes = given.shape[-1:] if names is None else (len(names),)
    if given.ndim != 2 or given.shape != true.shape or given.shape[1:] != classes:
        raise DataError(
            f"Probabilities have shape {given.shape} and labels {true.shape}: expected both "
            f"(samples, classes), of {classes[0] if classes else 0} classes."
        )
    return given, true
