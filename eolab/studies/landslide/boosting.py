"""Gradient boosting for rare landslides: balanced classes inside, true probabilities outside.

Trees grown on weights that make one class fifty times lighter than the other overfit the few heavy rows. Here
both classes weigh the same while the trees grow, and the odds are corrected afterwards by those of the real
shares (King and Zeng 2001, "Logistic regression in rare events data", on prior correction; Elkan 2001, "The
foundations of cost-sensitive learning", theorem 2).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn import inspection
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import get_scorer
from threadpoolctl import ThreadpoolController

from eolab.core.errors import DataError
from eolab.studies.landslide.columns import column_of, features_of, known_rows

BINS = 64  # of a feature: scikit-learn looks each up in all weighted rows, longer than it grows 50 trees
SMALL = 200_000  # rows below which one core fits as fast as several that wait for each other
MIN_LEAF = 20  # rows in a leaf, a tenth of the rows where they are few


class Boosting(ClassifierMixin, BaseEstimator):
    """Gradient-boosted trees for two classes, one of them rare.

    A scikit-learn classifier of tables with named columns, around its histogram-based trees (Friedman 2001,
    "Greedy function approximation: a gradient boosting machine"). All iterations are made: stopping early
    would need a random part of the rows, and pixels of one patch on both sides of it.

    Attributes:
        trees_: The fitted trees, on balanced classes.
        prior_: Log odds of class 1 by the weights of the training rows, which the trees do not know.
        feature_names_in_: The columns.
        classes_: 0 and 1.
    """

    def __init__(self, iterations: int = 100, seed: int = 0) -> None:
        self.iterations = iterations
        self.seed = seed

    def fit(self, X: pd.DataFrame, y: np.ndarray, sample_weight: np.ndarray | None = None) -> Boosting:
        """Learn from rows; their weights say what share of the whole they stand for."""
        hit = np.asarray(y) == 1
        weights = np.ones(len(hit)) if sample_weight is None else np.asarray(sample_weight, float)
        inside, outside = weights[hit].sum(), weights[~hit].sum()
        balanced = np.where(hit, weights / inside, weights / outside) * len(hit) / 2  # 1 in the mean
        self.prior_ = float(np.log(inside / outside))
        self.feature_names_in_ = np.array([str(name) for name in X.columns], object)
        self.classes_ = np.array([0, 1], np.uint8)
        self.trees_ = HistGradientBoostingClassifier(
            max_iter=self.iterations,
            max_leaf_nodes=15,
            max_bins=BINS,
            min_samples_leaf=max(2, min(MIN_LEAF, len(hit) // 10)),
            l2_regularization=1.0,
            early_stopping=False,
            random_state=self.seed,
        )
        with _one_core(len(hit) < SMALL):
            self.trees_.fit(X, hit.astype(np.uint8), balanced)
        return self

    def decision_function(self, X: pd.DataFrame) -> np.ndarray:
        """Return the log odds of class 1, (N,)."""
        with _one_core():
            return self.trees_.decision_function(X[list(self.feature_names_in_)]) + self.prior_

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Return the probabilities of both classes, (N, 2)."""
        found = expit(self.decision_function(X))
        return np.stack([1 - found, found], axis=1)

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """Return the likelier class, (N,)."""
        return (self.decision_function(X) >= 0).astype(np.uint8)


def fit_boosting(
    table: pd.DataFrame,
    label: str,
    features: Sequence[str] | None = None,
    seed: int = 0,
    weight: Any = None,
    iterations: int = 100,
) -> Boosting:
    """Fit gradient-boosted trees on a table of patches or pixels.

    Args:
        table: Result of :func:`eolab.studies.landslide.tabular.patch_table` or ``pixel_table``.
        label: Column of the class: 1 landslide, 0 not, 255 not known, which counts nowhere.
        features: Columns to learn from; all features by default.
        seed: Of everything random in it.
        weight: Of each row, a column or values; by default the column ``weight`` where there is one, so that
            probabilities are those of the patches and not of the draw.
        iterations: Number of trees.

    Raises:
        DataError: If the rows show fewer than two classes.
        ParameterError: If there is no such column.
    """
    known, weights = known_rows(table, label, weight)
    truth = _two_classes(known, label)
    chosen = pd.DataFrame({name: column_of(known, name) for name in features or features_of(table)})
    return Boosting(iterations, seed).fit(chosen, truth, weights)


def probability(model: Boosting, table: pd.DataFrame) -> np.ndarray:
    """Return the landslide probability of each row of a table, float32 (N,)."""
    return model.predict_proba(table)[:, 1].astype(np.float32)


def permutation_importance(
    model: Boosting,
    table: pd.DataFrame,
    label: str,
    repeats: int = 5,
    seed: int = 0,
    score: str = "average_precision",
    weight: Any = None,
) -> pd.DataFrame:
    """Measure how much a score falls when one feature is shuffled (Breiman 2001, "Random forests").

    Give rows that the model has not seen. Features that say the same stand in for each other: the fall of
    each is then small although both together matter.

    Args:
        model: Result of :func:`fit_boosting`.
        table: Validation rows.
        label: Column of the class, 255 = not known, which counts nowhere.
        repeats: How often each feature is shuffled.
        seed: Of the shuffling.
        score: Name of a scikit-learn scorer.
        weight: Of each row, a column or values; by default the column ``weight`` where there is one.

    Returns:
        A row a feature, the most important first: feature, mean and std (over the repeats) of the fall, score
        (its name) and unshuffled (the score with nothing shuffled).

    Raises:
        DataError: If the rows show fewer than two classes.
    """
    known, weights = known_rows(table, label, weight)
    truth, names = _two_classes(known, label), list(model.feature_names_in_)
    scorer = get_scorer(score)
    found = inspection.permutation_importance(
        model,
        known[names],
        truth,
        scoring=scorer,
        n_repeats=repeats,
        random_state=seed,
        sample_weight=weights,
    )
    columns = {"feature": names, "mean": found.importances_mean, "std": found.importances_std, "score": score}
    whole = float(scorer(model, known[names], truth, sample_weight=weights))
    result = pd.DataFrame(columns).assign(unshuffled=whole)
    return result.sort_values("mean", ascending=False, kind="stable", ignore_index=True)


def _two_classes(known: pd.DataFrame, label: str) -> np.ndarray:
    """Return the class of each row as uint8 (N,)."""
    truth = known[label].to_numpy() == 1
    if truth.all() or not truth.any():
        raise DataError(
            f"The {len(truth)} labelled rows are all of one class: expected some with and some without "
            "landslides."
        )
    return truth.astype(np.uint8)


@contextmanager
def _one_core(limited: bool = True) -> Iterator[None]:
    """Keep OpenMP to this thread: its threads wait actively, which is slow where others use the cores."""
    if not limited:
        yield
        return
    with _threads().limit(limits=1, user_api="openmp"):
        yield


@cache
def _threads() -> ThreadpoolController:
    return ThreadpoolController()  # looks once at the libraries that are loaded; scikit-learn's is by now
