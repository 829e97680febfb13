"""Baselines for pixel series, built on scikit-learn: what a network must beat.

================== ==================================================================================
majority           the share of each class in the training samples, whatever the input
image_statistics   per band mean, standard deviation, minimum and maximum over the valid dates and the
                   share of valid dates → logistic regression
random_forest      Breiman (2001) on all dates and bands; a missing value goes down the branch that the
                   training data prefers for missing values
svm                Cortes and Vapnik (1995) with an RBF kernel on all dates and bands, standardised
================== ==================================================================================

Inputs are those of the networks in :mod:`eolab.models`: a dict with ``image`` (N, T, C) and ``valid`` (N, T),
1 where a date was observed; the rest of the dict is not used. Values at invalid dates are taken as missing,
whatever they are.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from scipy.special import softmax
from sklearn.base import BaseEstimator
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from eolab.core import files
from eolab.core.errors import DataError, ParameterError, did_you_mean
from eolab.data.schemes import IGNORE

Inputs = Mapping[str, Any]
T = TypeVar("T")
ClassWeight = str | dict[int, float] | None


class Baseline:
    """A scikit-learn classifier of pixel series with a fixed number of classes.

    Attributes:
        name: One of :func:`names`.
        classes: Number of classes K; a class without training samples gets probability 0.
        seed: Of everything random in it.
        max_samples: Most training samples used; None for all.
        estimator: The scikit-learn estimator, on a table of features.
    """

    def __init__(
        self,
        name: str,
        estimator: BaseEstimator,
        features: Callable[[Inputs], np.ndarray],
        *,
        classes: int,
        seed: int,
        max_samples: int | None = None,
    ) -> None:
        self.name, self.estimator, self.features = name, estimator, features
        self.classes, self.seed, self.max_samples = classes, seed, max_samples

    def fit(self, inputs: Inputs, labels: Any, sample_weight: Any = None) -> Baseline:
        """Learn from labelled series.

        Args:
            inputs: ``image`` (N, T, C) and ``valid`` (N, T).
            labels: Class indices (N,); samples with label 255 are left out.
            sample_weight: Weight of each sample (N,).

        Raises:
            DataError: Shapes differ, a label is no class index, or fewer than two classes have samples.
        """
        labels = np.asarray(labels)
        rows = self._training_rows(labels, len(inputs["image"]))
        chosen = {key: np.asarray(inputs[key])[rows] for key in ("image", "valid")}
        weights = None if sample_weight is None else np.asarray(sample_weight, float)[rows]
        last = self.estimator.steps[-1][0] if isinstance(self.estimator, Pipeline) else ""
        key = f"{last}__sample_weight" if last else "sample_weight"
        with np.errstate(invalid="ignore"):  # the mean of a date that nobody observed
            self.estimator.fit(self.features(chosen), labels[rows].astype(np.int64), **{key: weights})
        return self

    def predict_proba(self, inputs: Inputs) -> np.ndarray:
        """Return class probabilities, float32 (N, K).

        Those of ``svm`` are a softmax over its one-against-rest decision values: they rank the classes, but
        are not calibrated.
        """
        features = self.features(inputs)
        if hasattr(self.estimator, "predict_proba"):
            known = self.estimator.predict_proba(features)
        else:
            decision = self.estimator.decision_function(features)
            known = softmax(np.stack([-decision, decision], 1) if decision.ndim == 1 else decision, axis=1)
        result = np.zeros((len(features), self.classes), np.float32)
        result[:, self.estimator.classes_] = known
        return result

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the baseline to a ``.joblib`` file; an unfinished file never bears the name."""
        return files.write_joblib(self, path)

    def _training_rows(self, labels: np.ndarray, samples: int) -> np.ndarray:
        if labels.shape != (samples,):
            raise DataError(f"Labels have shape {labels.shape}: expected ({samples},), one for each series.")
        rows = np.flatnonzero(labels != IGNORE)
        present, first = np.unique(labels[rows], return_index=True)
        if present.size and not (present[0] >= 0 and present[-1] < self.classes):
            raise DataError(
                f"Labels run from {present[0]} to {present[-1]}: expected class indices 0 to "
                f"{self.classes - 1}, or {IGNORE} for no label."
            )
        if len(present) < 2:
            raise DataError(
                f"Training samples show {len(present)} class: two or more are needed to fit {self.name}."
            )
        if self.max_samples and len(rows) > self.max_samples:
            drawn = np.random.default_rng(self.seed).choice(len(rows), self.max_samples, replace=False)
            rows = rows[np.union1d(drawn, first)]  # no class is lost
        return rows


def build(
    name: str, *, classes: int, seed: int = 0, class_weight: ClassWeight = None, **options: Any
) -> Baseline:
    """Return an untrained baseline.

    Args:
        name: One of :func:`names`.
        classes: Number of classes K.
        seed: Of everything random in it.
        class_weight: ``"balanced"``, a weight a class index, or None; ``majority`` has no use for it.
        **options: ``trees`` and ``min_leaf`` of ``random_forest``; ``C``, ``gamma`` and ``max_samples`` of
            ``svm``; ``C`` of ``image_statistics``.

    Raises:
        ParameterError: Unknown name or option.
    """
    make = maker(name, BASELINES, options)
    estimator, features, max_samples = make(seed=seed, class_weight=class_weight, **options)
    return Baseline(name, estimator, features, classes=classes, seed=seed, max_samples=max_samples)


def maker(name: str, known: Mapping[str, Callable[..., T]], options: Mapping[str, Any]) -> Callable[..., T]:
    """Return the function that makes a baseline.

    Args:
        name: Its name.
        known: Functions of seed, class_weight and options, by name.
        options: Options that are given.

    Raises:
        ParameterError: Unknown name or option.
    """
    if name not in known:
        raise ParameterError(f"There is no baseline {name!r}; {did_you_mean(name, known)}")
    taken = set(inspect.signature(known[name]).parameters) - {"seed", "class_weight"}
    for option in set(options) - taken:
        raise ParameterError(f"Baseline {name!r} has no option {option!r}; {did_you_mean(option, taken)}")
    return known[name]


def names() -> list[str]:
    """Return the names of the baselines, the most trivial first."""
    return list(BASELINES)


def load(path: str | os.PathLike[str]) -> Baseline:
    """Read a baseline that :meth:`Baseline.save` wrote. The format runs code: open only files you trust.

    Raises:
        DataError: The file is missing, unreadable or holds something else.
    """
    return files.read_joblib(path, Baseline)


# === Features: dict of arrays → table (N, F), NaN where missing ===


def all_values(inputs: Inputs) -> np.ndarray:
    """Return all bands of all dates, float32 (N, T · C), NaN at invalid dates."""
    image = _masked(inputs)
    return image.reshape(len(image), -1)


def time_statistics(inputs: Inputs) -> np.ndarray:
    """Return per band mean, standard deviation, minimum, maximum over valid dates, and the share of these.

    Returns:
        float32 (N, 4 · C + 1), NaN in a series without valid dates.
    """
    image = _masked(inputs)  # (N, T, C)
    seen = np.isfinite(image)
    count = seen.sum(1)  # (N, C)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(seen, image, 0).sum(1) / count  # (N, C)
        deviation = np.sqrt((np.where(seen, image - mean[:, None], 0) ** 2).sum(1) / count)
    low = np.where(seen, image, np.inf).min(1, initial=np.inf)
    high = np.where(seen, image, -np.inf).max(1, initial=-np.inf)
    table = np.concatenate([mean, deviation, low, high], axis=1)  # (N, 4 C)
    table[~np.isfinite(table)] = np.nan
    share = np.asarray(inputs["valid"], np.float32).mean(1, keepdims=True)
    return np.concatenate([table, share], axis=1).astype(np.float32)  # (N, 4 C + 1)


def nothing(inputs: Inputs) -> np.ndarray:
    """Return a table without information, float32 (N, 1)."""
    return np.zeros((len(inputs["image"]), 1), np.float32)


def _masked(inputs: Inputs) -> np.ndarray:
    image, valid = np.asarray(inputs["image"], np.float32), np.asarray(inputs["valid"])
    if image.ndim != 3 or valid.shape != image.shape[:2]:
        raise DataError(
            f"image has shape {image.shape} and valid {valid.shape}: expected (samples, dates, bands) and "
            "(samples, dates)."
        )
    return np.where(valid[..., None].astype(bool) & np.isfinite(image), image, np.float32(np.nan))


# === Estimators ===

Made = tuple[BaseEstimator, Callable[[Inputs], np.ndarray], int | None]


def _standardised(name: str, classifier: BaseEstimator) -> Pipeline:
    """Put in front of a classifier what it needs: standard scale, mean for missing, and where values miss."""
    fill = SimpleImputer(strategy="mean", add_indicator=True, keep_empty_features=True)
    return Pipeline([("scale", StandardScaler()), ("fill", fill), (name, classifier)])


def _majority(seed: int, class_weight: ClassWeight) -> Made:
    return DummyClassifier(strategy="prior"), nothing, None


def _image_statistics(seed: int, class_weight: ClassWeight, C: float = 1.0) -> Made:
    classifier = LogisticRegression(C=C, max_iter=1000, class_weight=class_weight, random_state=seed)
    return _standardised("regression", classifier), time_statistics, None


def _random_forest(seed: int, class_weight: ClassWeight, trees: int = 200, min_leaf: int = 1) -> Made:
    forest = RandomForestClassifier(
        trees, min_samples_leaf=min_leaf, class_weight=class_weight, random_state=seed, n_jobs=-1
    )
    return forest, all_values, None


def _svm(
    seed: int,
    class_weight: ClassWeight,
    C: float = 10.0,
    gamma: float | str = "scale",
    max_samples: int | None = 10_000,
) -> Made:
    """RBF machine; its time grows with the square of the samples, hence the cap on them."""
    return _standardised("svc", SVC(C=C, gamma=gamma, class_weight=class_weight)), all_values, max_samples


BASELINES: dict[str, Callable[..., Made]] = {
    "majority": _majority,
    "image_statistics": _image_statistics,
    "random_forest": _random_forest,
    "svm": _svm,
}
