"""How two classes differ feature by feature."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def distributions(
    features: pd.DataFrame, truth: np.ndarray, classes: Sequence[str], weights: np.ndarray | None = None
) -> pd.DataFrame:
    """Compare two classes feature by feature.

    Args:
        features: A column a feature (N rows); values that are not finite count nowhere.
        truth: Whether a row is of the second class (N,).
        classes: Names of the two classes.
        weights: Weight of each row; 1 by default.

    Returns:
        Two rows a feature, the best separated first: feature, class, quantiles q05, q25, q50, q75, q95, and
        auc: the probability that a row of the second class has the larger value (ties count half), 0.5 where
        the feature does not separate. NaN where a class has no row.
    """
    weight = np.ones(len(features)) if weights is None else np.asarray(weights, float)
    wanted, rows = np.asarray(truth, bool), []
    for name in features:
        values = features[name].to_numpy(float)
        seen = np.isfinite(values)
        auc = _auc(wanted[seen], values[seen], weight[seen])
        for kind, text in enumerate(classes):
            chosen = seen & (wanted == bool(kind))
            rows.append((name, text, *_quantiles(values[chosen], weight[chosen]), auc))
    columns = ["feature", "class", *(f"q{100 * q:02.0f}" for q in QUANTILES), "auc"]
    found = pd.DataFrame(rows, columns=columns)
    order = (found["auc"] - 0.5).abs().sort_values(ascending=False, kind="stable").index
    return found.loc[order].reset_index(drop=True)


def _quantiles(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return weighted quantiles, each value at the middle of its weight, linear between."""
    if not len(values):
        return np.full(len(QUANTILES), np.nan)
    order = np.argsort(values, kind="stable")
    middle = np.cumsum(weights[order]) - weights[order] / 2
    return np.interp(QUANTILES, middle / weights.sum(), values[order])


def _auc(truth: np.ndarray, values: np.ndarray, weights: np.ndarray) -> float:
    if not len(truth) or truth.all() or not truth.any():
        return float("nan")
    from sklearn.metrics import roc_auc_score  # slow to import

    return float(roc_auc_score(truth, values, sample_weight=weights))
