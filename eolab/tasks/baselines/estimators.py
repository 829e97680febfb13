"""Estimators that scikit-learn lacks, each a thin one around what it has."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import Ridge
from sklearn.svm import LinearSVC
from threadpoolctl import ThreadpoolController

from eolab.evaluation.postprocess import fit_temperature

BINS = 64  # of a feature
SMALL = 200_000  # rows below which one core is as fast as several that wait for each other
AT_ONCE = 32_768  # rows that a core predicts at once
MIN_LEAF = 20  # rows in a leaf, a tenth of the rows where they are few
HELD_OUT = 5  # one in so many rows is held out for the temperature of a support-vector machine
KERNELS = ("rbf", "linear")
BELOW = 0.499  # most that a pixel outside of a rule gets: below 0.5 in half precision too


class Binary(ClassifierMixin, BaseEstimator):
    """Base of classifiers of the classes 0 and 1 that give the probability of class 1.

    Attributes:
        classes_: 0 and 1.
    """

    classes_ = np.array([0, 1], np.uint8)

    def probability(self, X: pd.DataFrame) -> np.ndarray:
        """Return the probability of class 1, (N,)."""
        raise NotImplementedError

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Return the probabilities of both classes, (N, 2)."""
        found = self.probability(X)
        return np.stack([1 - found, found], axis=1)

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """Return the likelier class, (N,)."""
        return (self.probability(X) >= 0.5).astype(np.uint8)


class Boosting(Binary):
    """Gradient boosting trained on balanced classes, with prior-corrected probabilities.

    Trees grown on weights that make one class fifty times lighter than the other overfit the few heavy rows.
    Here both classes weigh the same while the trees grow (Friedman 2001, "Greedy function approximation: a
    gradient boosting machine"), and the odds are corrected afterwards by those of the real shares (King and
    Zeng 2001, "Logistic regression in rare events data", on prior correction; Elkan 2001, "The foundations
    of cost-sensitive learning", theorem 2). All iterations are made: stopping early would need a random part
    of the rows, and pixels of one patch on both sides of it.

    Args:
        iterations: Number of trees.
        seed: Seed of the trees.

    Attributes:
        trees_: The fitted trees, on balanced classes.
        prior_: Log odds of class 1 by the weights of the training rows, which the trees do not know.
        feature_names_in_: The columns.
    """

    def __init__(self, iterations: int = 100, seed: int = 0) -> None:
        self.iterations = iterations
        self.seed = seed

    def fit(self, X: pd.DataFrame, y: np.ndarray, sample_weight: np.ndarray | None = None) -> Self:
        """Learn from rows; their weights say what share of the whole they stand for."""
        hit = np.asarray(y) == 1
        weights = np.ones(len(hit)) if sample_weight is None else np.asarray(sample_weight, float)
        inside, outside = weights[hit].sum(), weights[~hit].sum()
        balanced = np.where(hit, weights / inside, weights / outside) * len(hit) / 2  # 1 in the mean
        self.prior_ = float(np.log(inside / outside))
        self.feature_names_in_ = np.array([str(name) for name in X.columns], object)
        self.trees_ = _Trees(
            max_iter=self.iterations,
            max_leaf_nodes=15,
            max_bins=BINS,
            min_samples_leaf=max(2, min(MIN_LEAF, len(hit) // 10)),
            l2_regularization=1.0,
            early_stopping=False,
            random_state=self.seed,
        )
        with _one_core() if len(hit) < SMALL else nullcontext():
            self.trees_.fit(X, hit.astype(np.uint8), balanced)
        return self

    def decision_function(self, X: pd.DataFrame) -> np.ndarray:
        """Return the log odds of class 1, (N,); a thread takes a part of the rows, which beats OpenMP."""
        table = X[list(self.feature_names_in_)]

        def part(start: int) -> np.ndarray:
            with _one_core():
                return self.trees_.decision_function(table[start : start + AT_ONCE])

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            parts = list(pool.map(part, range(0, len(table), AT_ONCE)))
        return np.concatenate([np.empty(0), *parts]) + self.prior_

    def probability(self, X: pd.DataFrame) -> np.ndarray:
        """Return the probability of class 1, (N,)."""
        return expit(self.decision_function(X))


class _Trees(HistGradientBoostingClassifier):
    """Trees whose bins hold equally many rows, whatever their weights.

    For bins of equal weight scikit-learn sorts the rows again for each bin, longer than it grows 50 trees.
    """

    def _bin_data(self, X: Any, sample_weight: Any, is_training_data: bool) -> Any:
        return super()._bin_data(X, None, is_training_data)


class ThresholdRule(Binary):
    """Class 1 where every condition holds, such as slope ≥ 1.4 and NDVI ≤ 0.3.

    The thresholds are those with the best F1 over the weighted training rows. The probability is a margin, σ
    of the least distance to a threshold in standard deviations, which ranks rows for other thresholds: 0.5 or
    more is the rule. It is not calibrated.

    Args:
        conditions: ``">="`` or ``"<="`` by column.
        steps: Thresholds tried for each column.

    Attributes:
        thresholds_: Threshold by column.
        scales_: Standard deviation by column, each class counting half.
        f1_: F1 of the rule on the training rows.
    """

    def __init__(self, conditions: Mapping[str, str], steps: int = 256) -> None:
        self.conditions = conditions
        self.steps = steps

    def fit(self, X: pd.DataFrame, y: np.ndarray, sample_weight: np.ndarray | None = None) -> Self:
        """Choose the thresholds; a row with a missing value is outside of every rule."""
        hit, values = np.asarray(y) == 1, self._rising(X)
        even = values[_balanced(hit)]
        quantiles = np.linspace(0, 1, self.steps)
        edges = [np.unique(np.nanquantile(column, quantiles, method="nearest")) for column in even.T]
        cells = [np.searchsorted(e, v, side="right") for e, v in zip(edges, values.T, strict=True)]
        cells = [np.where(np.isnan(values).any(axis=1), 0, cell) for cell in cells]
        shape = (2, *(len(edge) + 1 for edge in edges))
        place = np.ravel_multi_index((hit.astype(int), *cells), shape)
        counts = np.bincount(place, sample_weight, np.prod(shape)).reshape(shape)
        total = counts[1].sum()
        for axis in range(1, len(shape)):  # rows that reach at least so many thresholds
            counts = np.flip(np.flip(counts, axis).cumsum(axis), axis).take(range(1, shape[axis]), axis)
        f1 = 2 * counts[1] / np.maximum(counts.sum(axis=0) + total, 1e-12)
        best = np.unravel_index(np.argmax(f1), f1.shape)
        self.thresholds_, self.scales_ = {}, {}
        for place, (name, sign) in enumerate(self._signs().items()):
            self.thresholds_[name] = float(sign * edges[place][best[place]])
            self.scales_[name] = float(np.nanstd(even[:, place])) or 1.0
        self.f1_ = float(f1[best])
        return self

    def probability(self, X: pd.DataFrame) -> np.ndarray:
        """Return the margin as the probability of class 1, (N,)."""
        signs, values = self._signs(), self._rising(X)
        limits = np.array([signs[name] * self.thresholds_[name] for name in self.conditions])
        margin = ((values - limits) / np.array(list(self.scales_.values()))).min(axis=1)  # NaN stays
        margin = np.where(np.isnan(margin), -np.inf, margin)
        return np.where(margin >= 0, expit(margin), np.minimum(expit(margin), BELOW))

    def __str__(self) -> str:
        signs = {">=": "≥", "<=": "≤"}
        return " and ".join(f"{n} {signs[self.conditions[n]]} {v:.3g}" for n, v in self.thresholds_.items())

    def _signs(self) -> dict[str, int]:
        return {name: 1 if sign == ">=" else -1 for name, sign in self.conditions.items()}

    def _rising(self, X: pd.DataFrame) -> np.ndarray:
        """Return the columns (N, conditions), turned so that every condition is "at least"."""
        return X[list(self.conditions)].to_numpy(float) * list(self._signs().values())


class Score(Binary):
    """Takes a column from 0 to 1 as the probability of class 1.

    Args:
        column: Name of the column.
    """

    min_classes = 1

    def __init__(self, column: str) -> None:
        self.column = column

    def fit(self, X: pd.DataFrame, y: np.ndarray) -> Self:
        """Learn nothing."""
        return self

    def probability(self, X: pd.DataFrame) -> np.ndarray:
        """Return the column, (N,)."""
        return X[self.column].to_numpy(np.float64)


class PerLabel(ClassifierMixin, BaseEstimator):
    """One classifier a label; the share of a label that all or none of the training rows have.

    ``OneVsRestClassifier`` does the same, but warns of each such label.

    Args:
        estimator: The classifier of two classes that is fitted for each label.
    """

    def __init__(self, estimator: BaseEstimator) -> None:
        self.estimator = estimator

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        """Learn from labels (N, K) of 0 and 1."""
        self.classes_ = np.arange(y.shape[1])
        self.estimators_ = [
            (clone(self.estimator) if has.any() and not has.all() else DummyClassifier(strategy="prior")).fit(
                X, has.astype(np.uint8)
            )
            for has in (y == 1).T
        ]
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return the probability of each label (N, K)."""
        found = [
            one.predict_proba(X)[:, -1] if one.classes_[-1] == 1 else np.zeros(len(X))
            for one in self.estimators_
        ]
        return np.stack(found, axis=1)


class LabelRidge(ClassifierMixin, BaseEstimator):
    """Ridge regression of all labels at once.

    The estimate s of a label's 0 or 1 becomes ``1 / (1 + exp(2 − 4 s))``: like s at one half, rising
    everywhere, so that no order is lost. A label that all or none have gets its share.

    Args:
        penalty: Penalty for each training row, relative to the variance 1 of standardised features.
    """

    def __init__(self, penalty: float = 0.1) -> None:
        self.penalty = penalty

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        """Learn from standardised features (N, F) and labels (N, K) of 0 and 1."""
        self.classes_, self.share_ = np.arange(y.shape[1]), (y == 1).mean(axis=0)
        self.model_ = Ridge(self.penalty * len(X)).fit(X, (y == 1).astype(X.dtype))
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return a score of each label (N, K); it ranks, but is not calibrated."""
        score = expit(4 * self.model_.predict(X) - 2)
        return np.where((self.share_ > 0) & (self.share_ < 1), score, self.share_)


class SupportVectorMachine(ClassifierMixin, BaseEstimator):
    """Linear support-vector machine on the features or, for an RBF kernel, on their Nyström features.

    Cortes and Vapnik (1995), "Support-vector networks", one class against the rest, with squared hinge loss.
    The exact RBF machine compares a row with thousands of support vectors; here it is compared with
    ``components`` rows of training alone (Williams and Seeger 2001, "Using the Nyström method to speed up
    kernel machines"), so that whole tiles can be mapped. With rows r of them, scikit-learn's
    normalisation N and coefficients w, the decision is ``exp(−γ |x − r|²) · (Nᵀ w) + b``, in float32.

    Probabilities are the softmax of the decisions divided by a temperature (Guo et al. 2017), which leaves
    the likeliest class as it is. It is fitted on a fifth of the rows, held out from a first machine; where
    those are like the other rows, as neighbours are, it is too low for new ground.

    Args:
        kernel: "rbf" or "linear".
        components: Training rows that a row is compared with, fewer where there are fewer.
        C: Weight of the errors.
        gamma: Width γ of the RBF kernel; "scale" is 1 / (F · variance) for F features, as in scikit-learn.
        seed: Seed of the draws.

    Attributes:
        classes_: The classes K.
        rows_: Training rows that are compared with (M, F), None with a linear kernel.
        weights_: Coefficients (M or F, K); one column where there are two classes.
        intercept_: What is added (K,).
        temperature_: What decisions are divided by.
    """

    def __init__(
        self,
        kernel: str = "rbf",
        components: int = 300,
        C: float = 1.0,
        gamma: float | str = "scale",
        seed: int = 0,
    ) -> None:
        self.kernel, self.components, self.C, self.gamma, self.seed = kernel, components, C, gamma, seed

    def fit(self, X: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None) -> Self:
        """Learn from standardised features (N, F) and classes (N,)."""
        X, y = np.asarray(X, np.float32), np.asarray(y)
        weights = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, float)
        self.rows_, features, turn = None, X, np.eye(X.shape[1])
        if self.kernel == "rbf":
            scale = 1 / (X.shape[1] * max(float(X.var()), 1e-12))
            self.gamma_ = scale if self.gamma == "scale" else float(self.gamma)
            size = min(self.components, len(X))
            near = Nystroem(gamma=self.gamma_, n_components=size, random_state=self.seed).fit(X)
            self.rows_, turn = near.components_, near.normalization_.T  # (M, F), (M, M)
            features = self._likeness(X) @ turn.astype(np.float32)
        self.classes_, which = np.unique(y, return_inverse=True)
        held = np.random.default_rng(self.seed).permutation(len(y)) % HELD_OUT == 0
        held[np.unique(which, return_index=True)[1]] = False  # no class is lost
        self.temperature_ = 1.0
        self._learn(features[~held], which[~held], weights[~held], turn)
        several = len(np.unique(which[held])) > 1
        found = fit_temperature(self.predict_proba(X[held]), which[held]) if several else 1.0
        self._learn(features, which, weights, turn)
        self.temperature_ = found
        return self

    def _learn(self, features: np.ndarray, which: np.ndarray, weights: np.ndarray, turn: np.ndarray) -> None:
        """Fit the linear machine, and keep its coefficients on what is not normalised."""
        machine = LinearSVC(C=self.C, dual=False, tol=1e-2)  # as good as 1e-4, in a third of the time
        machine.fit(features, which, sample_weight=weights)
        self.weights_ = (turn @ machine.coef_.T).astype(np.float32)
        self.intercept_ = machine.intercept_

    def _likeness(self, X: np.ndarray) -> np.ndarray:
        """Return the kernel of rows (N, F) and those compared with, float32 (N, M); the rows if linear."""
        if self.rows_ is None:
            return X
        squares = (X**2).sum(1)[:, None] + (self.rows_**2).sum(1) - 2 * X @ self.rows_.T
        return np.exp(-np.float32(self.gamma_) * np.maximum(squares, 0))

    def decision_function(self, X: np.ndarray) -> np.ndarray:
        """Return the decision for each class (N, K), before the temperature; (N, 1) for two classes."""
        return self._likeness(np.asarray(X, np.float32)) @ self.weights_ + self.intercept_

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return the probability of each class (N, K)."""
        decision = self.decision_function(X) / self.temperature_
        return softmax(np.hstack([-decision, decision]) if len(self.classes_) == 2 else decision, axis=1)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the likeliest class (N,)."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def _balanced(hit: np.ndarray) -> np.ndarray:
    """Return as many rows of either class, evenly spread over the rows."""
    pools: Sequence[np.ndarray] = [np.flatnonzero(~hit), np.flatnonzero(hit)]
    count = min(map(len, pools))
    return np.concatenate([p[np.linspace(0, len(p) - 1, count).round().astype(int)] for p in pools])


def _one_core() -> AbstractContextManager[Any]:
    """Keep OpenMP to this thread: its threads wait actively, which is slow where others use the cores."""
    return _threads().limit(limits=1, user_api="openmp")


@cache
def _threads() -> ThreadpoolController:
    return ThreadpoolController()  # looks once at the libraries that are loaded; scikit-learn's is by now
