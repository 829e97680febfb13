"""Gradient boosting on tables of patches and of pixels, and what their features are worth.

Example:
    >>> pixels = tables.pixel_table(store, rows["train"], per_patch=64)
    >>> model = fit_boosting(pixels, "label")
    >>> permutation_importance(model, tables.pixel_table(store, rows["validation"]), "label").head(3)
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn import inspection
from sklearn.metrics import get_scorer

from eolab import evaluation
from eolab.core.errors import DataError
from eolab.data.splits.dealing import column_of
from eolab.data.tables import features_of, known_rows
from eolab.tasks.baselines.estimators import Boosting


def fit_boosting(
    table: pd.DataFrame,
    label: str = "label",
    features: Sequence[str] | None = None,
    seed: int = 0,
    weight: Any = None,
    iterations: int = 100,
) -> Boosting:
    """Fit gradient-boosted trees on a table of patches or pixels.

    Args:
        table: Result of :func:`eolab.data.tables.patch_table` or ``pixel_table``.
        label: Column of the class: 1 or 0, or 255 for not known, which counts nowhere.
        features: Columns to learn from; all features by default.
        seed: Seed of everything random in it.
        weight: Weight of each row, a column or values; by default the column ``weight`` where there is one,
            so that probabilities are those of the patches and not of the draw.
        iterations: Number of trees.

    Raises:
        DataError: If the rows show fewer than two classes.
        ParameterError: If there is no such column.
    """
    known, weights = known_rows(table, label, weight)
    truth = _two_classes(known, label)
    chosen = pd.DataFrame({name: column_of(known, name) for name in features or features_of(table)})
    return Boosting(iterations, seed).fit(chosen, truth, weights)


def permutation_importance(
    model: Boosting,
    table: pd.DataFrame,
    label: str = "label",
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
        seed: Seed of the shuffling.
        score: Name of a scikit-learn scorer.
        weight: Weight of each row, a column or values; by default the column ``weight`` where there is one.

    Returns:
        A row a feature, the most important first: feature, mean and std (over the repeats) of the fall, score
        (its name) and unshuffled (the score with nothing shuffled).

    Raises:
        DataError: If the rows show fewer than two classes.
    """
    known, weights = known_rows(table, label, weight)
    truth, names = _two_classes(known, label), list(model.feature_names_in_)
    options = {"n_repeats": repeats, "random_state": seed, "sample_weight": weights}
    found = inspection.permutation_importance(model, known[names], truth, scoring=score, **options)
    columns = {"feature": names, "mean": found.importances_mean, "std": found.importances_std, "score": score}
    whole = float(get_scorer(score)(model, known[names], truth, sample_weight=weights))
    result = pd.DataFrame(columns).assign(unshuffled=whole)
    return result.sort_values("mean", ascending=False, kind="stable", ignore_index=True)


def feature_distributions(
    table: pd.DataFrame, label: str, class_names: tuple[str, str], features: Sequence[str] | None = None
) -> pd.DataFrame:
    """Compare two classes feature by feature.

    Args:
        table: Result of :func:`eolab.data.tables.patch_table` or ``pixel_table``; a column ``weight`` weighs
            its rows.
        label: Column of the class: 1 or 0, or 255 for not known, which counts nowhere.
        class_names: Names of the classes 0 and 1.
        features: Columns to compare; all features by default.

    Returns:
        See :func:`eolab.evaluation.distributions`.
    """
    known, weights = known_rows(table, label, None)
    chosen = pd.DataFrame({name: column_of(known, name) for name in features or features_of(table)})
    return evaluation.distributions(chosen, known[label].to_numpy() == 1, class_names, weights)


def _two_classes(known: pd.DataFrame, label: str) -> np.ndarray:
    """Return the class of each row as uint8 (N,)."""
    truth = known[label].to_numpy() == 1
    if truth.all() or not truth.any():
        raise DataError(
            f"The {len(truth)} labelled rows are all of one class: expected both classes; take other "
            "patches, or more of them."
        )
    return truth.astype(np.uint8)
