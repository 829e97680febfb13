"""Stacking: one probability from those of several models, weighted by how much each adds.

The models' probabilities are turned into logits and combined by a logistic regression, fitted on samples that
none of the models was trained on (Wolpert 1992, "Stacked generalization").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from eolab.core.errors import DataError, did_you_mean
from eolab.data.schemes import IGNORE

EDGE = 1e-4  # probabilities are kept this far from 0 and 1, where a logit has no end
PENALTY = 1.0  # ridge on the weights: nothing beside many pixels, a hold where few patches are separable
STEPS, HALVINGS, CLOSE = 50, 30, 1e-10
AT_ONCE = 1 << 20  # samples in memory

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
            probabilities: By model, arrays of one shape (memory maps too), for patches (N,) or pixels
                (N, H, W); further models are not used.

        Returns:
            Landslide probability of that shape, float32.

        Raises:
            DataError: If a model is missing or shapes differ.
        """
        for name in self.weights:
            if name not in probabilities:
                raise DataError(f"The stack needs {name!r}: {did_you_mean(name, probabilities)}")
        arrays = [np.asanyarray(probabilities[name]) for name in self.weights]
        _check_shapes(dict(zip(self.weights, arrays, strict=True)), arrays[0].shape)
        parameters = np.array([self.intercept, *self.weights.values()])
        result = np.empty(arrays[0].shape, np.float32)
        for part in _parts(arrays[0].shape):
            result[part] = expit(_design([array[part] for array in arrays]) @ parameters)
        return result

    def __str__(self) -> str:
        terms = [f"{weight:.3g} · logit({name})" for name, weight in self.weights.items()]
        return f"σ({self.intercept:.3g} + {' + '.join(terms)})".replace("+ -", "- ")


def stack(probabilities: Probabilities, truth: np.ndarray) -> Stacker:
    """Fit the combination of models on validation samples.

    The regression minimises the log loss summed over samples plus half the squared weights, the intercept
    free, by Newton's method; the samples are gone through in parts, so that memory does not grow with them.

    Args:
        probabilities: Landslide probability by model, on samples that no model was trained on: patches (N,)
            or pixels (N, H, W), memory maps too.
        truth: 1 landslide, 0 not, 255 not known, which counts nowhere; the same shape.

    Raises:
        DataError: If there is no model, shapes differ, a probability is none, or the truth has one class.
    """
    if not probabilities:
        raise DataError("No model is given: expected the probabilities of one model or more.")
    truth = np.asanyarray(truth)
    _check_shapes(probabilities, truth.shape)
    hits, misses = _counts(truth)
    if not hits or not misses:
        raise DataError(
            f"The truth has {hits} landslide and {misses} other samples: both are needed to fit a stack."
        )
    arrays = [np.asanyarray(values) for values in probabilities.values()]
    parameters = np.zeros(1 + len(arrays))
    parameters[0] = np.log(hits / misses)
    found = _newton(parameters, arrays, truth)
    return Stacker(dict(zip(probabilities, map(float, found[1:]), strict=True)), float(found[0]))


def _newton(parameters: np.ndarray, arrays: Sequence[np.ndarray], truth: np.ndarray) -> np.ndarray:
    """Return the minimum of the penalised log loss; steps are halved until the loss falls."""
    loss, gradient, curvature = _loss(parameters, arrays, truth)
    for _ in range(STEPS):
        step = np.linalg.solve(curvature, gradient)
        for halving in range(HALVINGS):
            trial = parameters - step / 2**halving
            found = _loss(trial, arrays, truth)
            if found[0] <= loss:
                break
        else:
            return parameters
        fell = loss - found[0]
        parameters, (loss, gradient, curvature) = trial, found
        if fell <= CLOSE * abs(loss):
            break
    return parameters


def _loss(
    parameters: np.ndarray, arrays: Sequence[np.ndarray], truth: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Return the loss, its gradient (P,) and its second derivatives (P, P)."""
    ridge = np.full(len(parameters), PENALTY)
    ridge[0] = 0.0
    loss = 0.5 * float(ridge @ parameters**2)
    gradient, curvature = ridge * parameters, np.diag(ridge)
    for part in _parts(truth.shape):
        label = np.asarray(truth[part]).ravel()
        known = label != IGNORE
        design = _design([array[part].ravel()[known] for array in arrays])  # (n, P)
        target = (label[known] == 1).astype(float)
        scores = design @ parameters
        predicted = expit(scores)
        loss += float(np.sum(np.logaddexp(0.0, scores) - target * scores))
        gradient = gradient + design.T @ (predicted - target)
        curvature = curvature + design.T @ (design * (predicted * (1 - predicted))[:, None])
    return loss, gradient, curvature


def _design(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Return 1 and the logits of each model, (..., 1 + models)."""
    columns = [np.ones(arrays[0].shape)]
    for array in arrays:
        clipped = np.clip(np.asarray(array, float), EDGE, 1 - EDGE)
        columns.append(np.log(clipped) - np.log1p(-clipped))
    return np.stack(columns, axis=-1)


def _parts(shape: tuple[int, ...]) -> Iterator[slice]:
    step = max(1, AT_ONCE // max(1, int(np.prod(shape[1:]))))
    yield from (slice(start, start + step) for start in range(0, shape[0], step))


def _counts(truth: np.ndarray) -> tuple[int, int]:
    """Return how many samples are landslides and how many are not."""
    hits = sum(int((np.asarray(truth[part]) == 1).sum()) for part in _parts(truth.shape))
    unknown = sum(int((np.asarray(truth[part]) == IGNORE).sum()) for part in _parts(truth.shape))
    return hits, truth.size - hits - unknown


def _check_shapes(probabilities: Probabilities, shape: tuple[int, ...]) -> None:
    for name, values in probabilities.items():
        if np.shape(values) != shape or not shape:
            raise DataError(f"The probabilities of {name!r} have shape {np.shape(values)}: expected {shape}.")
