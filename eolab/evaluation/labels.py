"""Several labels a sample: which labels meet and which are confused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd


def co_occurrence(truth: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """Return how often labels meet: of the samples with the class of the row, the share with the column's.

    Args:
        truth: 0 or 1 (N, K).
        names: Names of the classes.

    Returns:
        (K, K), 1 on the diagonal; NaN in the row of a class without a sample.
    """
    true = np.asarray(truth) == 1
    return _shares(true, true, names)


def label_confusion(predicted: np.ndarray, truth: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """Return which classes are predicted wrongly where one is missed.

    Args:
        predicted: Whether a class was predicted (N, K).
        truth: 0 or 1 (N, K).
        names: Names of the classes.

    Returns:
        (K, K): of the samples that have the class of the row and miss it, the share where the class of the
        column was predicted and is not there; 0 on the diagonal, NaN in the row of a class never missed.
    """
    true, found = np.asarray(truth) == 1, np.asarray(predicted) == 1
    return _shares(true & ~found, found & ~true, names)


def _shares(rows: np.ndarray, columns: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """Return of the samples of each row (N, K) the share that each column (N, K) has too."""
    rows, columns = rows.astype(np.float64), columns.astype(np.float64)
    both, alone = rows.T @ columns, rows.sum(axis=0)
    shares = np.divide(both, alone[:, None], out=np.full_like(both, np.nan), where=alone[:, None] > 0)
    return pd.DataFrame(shares, index=list(names), columns=list(names))
