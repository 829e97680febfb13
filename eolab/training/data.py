"""What a training is fed with: batches whose order follows from seed and epoch, and class weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import keras
import numpy as np

from eolab.core.errors import ParameterError
from eolab.data.schemes import IGNORE
from eolab.training.batches import ArraySamples, Batches, StoreSamples, balanced_weights, weight_table

ClassWeights = Mapping[int, float] | Literal["balanced"] | None


class Weighted(keras.utils.PyDataset):
    """Batches with the weight of each sample multiplied by the weight of its class.

    Args:
        source: Batches ``(inputs, label[, weight])``.
        table: Weight of each class, float32 (256,).
    """

    def __init__(self, source: Any, table: np.ndarray) -> None:
        names = ("workers", "use_multiprocessing", "max_queue_size")
        super().__init__(**{name: getattr(source, name) for name in names if hasattr(source, name)})
        self.source, self.table = source, table

    @property
    def num_batches(self) -> int:
        """Number of batches."""
        return int(self.source.num_batches)

    def __getitem__(self, index: int) -> tuple[Any, Any, np.ndarray]:
        """Return inputs, labels and weights of a batch."""
        inputs, label, *given = self.source[index]
        weight = self.table[label]
        return inputs, label, weight * given[0] if given else weight


def batches(data: Any, batch_size: int, seed: int, shuffle: bool) -> Any:
    """Return batches: those given, or those of the arrays ``(inputs, labels)`` given."""
    if isinstance(data, tuple):
        inputs, labels = data
        ignore: Any = "keep" if isinstance(labels, Mapping) else "weight"
        return Batches(ArraySamples(inputs, labels), batch_size, seed=seed, shuffle=shuffle, ignore=ignore)
    return data


def facts(data: Any) -> dict[str, Any]:
    """Return what of the training data a resumed training must find again, as JSON values."""
    return data.facts() if isinstance(data, Batches) else {"batches": int(data.num_batches)}


def labels_of(data: Any) -> np.ndarray:
    """Return all labels that batches have, flat, without the ignored ones."""
    samples = data.samples if isinstance(data, Batches) else None
    if isinstance(samples, ArraySamples):
        found = samples.labels
    elif isinstance(samples, StoreSamples):
        found = samples.store.gather(samples.rows, [samples.label])[samples.label]
    else:
        found = np.concatenate([np.ravel(data[index][1]) for index in range(data.num_batches)])
    return np.ravel(found[found != IGNORE])


def weighted(data: Any, class_weights: ClassWeights, classes: int | None) -> Any:
    """Return batches that give each class its weight.

    Args:
        data: Batches.
        class_weights: ``"balanced"``, a weight by class index, or None.
        classes: Number of classes; None for a model with outputs by name.

    Raises:
        ParameterError: If the weights are neither None, "balanced" nor a positive number by class index, or
            the model has outputs by name.
    """
    if class_weights is None:
        return data
    if classes is None:
        raise ParameterError(
            "class_weights cannot be given to a model with outputs by name: weigh the classes in its losses, "
            "for example loss='focal(alpha=0.75)'."
        )
    if class_weights == "balanced":
        return Weighted(data, weight_table(balanced_weights(labels_of(data), classes)))
    if not isinstance(class_weights, Mapping):
        raise ParameterError(
            f"class_weights is {class_weights!r}: give None, 'balanced' or a weight by class."
        )
    wrong = {k: v for k, v in class_weights.items() if not (0 <= int(k) < classes and v >= 0)}
    if wrong:
        raise ParameterError(
            f"class_weights has {wrong}: classes are 0 to {classes - 1} and weights not negative."
        )
    return Weighted(data, weight_table({int(k): float(v) for k, v in class_weights.items()}))
