"""Stacking: one probability from those of several models, weighted by how much each adds.

The models' probabilities are turned into logits and combined by scikit-learn's logistic regression, fitted on
samples that none of the models was trained on (Wolpert 1992, "Stacked generalization").
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from eolab.core.errors import DataError, check_all
from eolab.core.progress import stage
from eolab.data.schemes import IGNORE
from eolab.evaluation.postprocess import checked

EDGE = 1e-4  # probabilities are kept this far from 0 and 1, where a logit has no end
AT_ONCE = 1 << 20  # samples in memory while predicting
MAX_SAMPLES = 4_000_000  # most samples that the weights are fitted on

Probabilities = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Stacker:
    """A fitted combination: probability = σ(intercept + Σ weight · logit).

    Attributes:
        weights: Weight of each model's logit.
        intercept: What is added.
    """

    weights: dict[str, float]
    intercept: float

    def predict(self, probabilities: Probabilities) -> np.ndarray:
        """Combine the models' probabilities.

        Args:
            probabilities: Arrays of one shape by model (memory maps too), for patches (N,) or pixels
                (N, H, W); further models are not used.

        Returns:
            Probability of that shape, float32.

        Raises:
            DataError: If a model is missing, shapes differ, or a value is no probability.
        """
        check_all(self.weights, probabilities, "The stack needs", DataError)
        arrays = [np.asanyarray(probabilities[name]) for name in self.weights]
        _check_shapes(dict(zip(self.weights, arrays, strict=True)), arrays[0].shape)
        result = np.empty(arrays[0].shape, np.float32)
        at_once = max(1, AT_ONCE // max(1, int(np.prod(result.shape[1:]))))
        for start in range(0, len(result), at_once):
            part = slice(start, start + at_once)
            logits = _logits([array[part] for array in arrays])
            result[part] = expit(logits @ np.array(list(self.weights.values())) + self.intercept)
        return result


def stack(
    probabilities: Probabilities, truth: np.ndarray, max_samples: int = MAX_SAMPLES, seed: int = 0
) -> Stacker:
    """Fit the combination of models on validation samples.

    The regression minimises the log loss summed over samples plus half the squared weights, the intercept
    free. Weights may be negative.

    Args:
        probabilities: Probability of class 1 by model, on samples that no model was trained on: patches (N,)
            or pixels (N, H, W), memory maps too.
        truth: 1 or 0, or 255 for not known, which counts nowhere; the same shape.
        max_samples: Most samples that are used; more are drawn at random, so that memory does not grow.
        seed: Seed of that draw.

    Raises:
        DataError: If there is no model, shapes differ, a probability is none, or the truth has one class.
    """
    if not probabilities:
        raise DataError("No model is given: expected the probabilities of one model or more.")
    truth = np.asanyarray(truth)
    _check_shapes(probabilities, truth.shape)
    labels = np.asarray(truth).ravel()
    known = np.flatnonzero(labels != IGNORE)
    hits = int((labels == 1).sum())
    if not hits or hits == len(known):
        raise DataError(
            f"The truth has {hits} samples of class 1 and {len(known) - hits} others: both are needed to fit "
            "a stack."
        )
    if len(known) > max_samples:
        known = np.sort(np.random.default_rng(seed).choice(known, max_samples, replace=False))
    logits = _logits([np.asanyarray(values).ravel()[known] for values in probabilities.values()])
    model = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-10, max_iter=100)
    with stage(f"Fitting a stack on {len(known):,} samples"):
        model.fit(logits, labels[known] == 1)
    weights = dict(zip(probabilities, map(float, model.coef_[0]), strict=True))
    return Stacker(weights, float(model.intercept_[0]))


def _logits(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Return the logits of each model, (..., models)."""
    given = [checked(np.asarray(array, float)) for array in arrays]
    return np.stack([logit(np.clip(values, EDGE, 1 - EDGE)) for values in given], axis=-1)


def _check_shapes(probabilities: Probabilities, shape: tuple[int, ...]) -> None:
    for name, values in probabilities.items():
        if np.shape(values) != shape or not shape:
            raise DataError(f"The probabilities of {name!r} have shape {np.shape(values)}: expected {shape}.")
