"""Reuse a compiled model: reset the optimizer instead of compiling again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import keras
import numpy as np

from eolab.training.averaging import assign

_compiled: WeakKeyDictionary[keras.Model, tuple[str, list[np.ndarray]]] = WeakKeyDictionary()


def compile_once(
    model: keras.Model, train: Any, key: Sequence[Any], options: Callable[[], dict[str, Any]]
) -> None:
    """Compile a model, or reset its optimizer where it is compiled with the same key.

    Args:
        model: The model.
        train: Training batches, of which TensorFlow needs the first.
        key: All that the compiled graph depends on.
        options: Function that returns the arguments of ``model.compile``.
    """
    text, (before, start) = repr(key), _compiled.get(model, ("", []))
    if before == text:
        assign(model.optimizer.variables, start)
        return
    model.compile(**options())
    model.optimizer.build(model.trainable_variables)
    if keras.backend.backend() == "tensorflow":
        _build_scores(model, *train[0])
    _compiled[model] = text, [np.array(variable) for variable in model.optimizer.variables]


def _build_scores(model: keras.Model, inputs: Any, labels: Any, weights: Any = None) -> None:
    """Create the variables of losses and metrics, as TensorFlow traces a step twice that creates some."""

    def uniform(output: Any, label: Any) -> np.ndarray:
        """Return equal probabilities; axes of unknown length are as long as the label's."""
        shape = [np.shape(label)[axis] if size is None else size for axis, size in enumerate(output.shape)]
        return np.full(shape, 1 / shape[-1], "float32")

    predictions = keras.tree.map_structure(uniform, model.output, labels)
    model.compute_loss(inputs, labels, predictions, weights)
    model.compute_metrics(inputs, labels, predictions, weights)
    model.reset_metrics()
