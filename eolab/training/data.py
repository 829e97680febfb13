"""What a training is fed with: batches whose order follows from seed and epoch, and class weights."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import keras
import numpy as np

from eolab.core.errors import DataError, ParameterError
from eolab.data.schemes import IGNORE
from eolab.training.batches import StoreBatches, weight_table

ClassWeights = Mapping[int, float] | Literal["balanced"] | None


class ArrayBatches(keras.utils.PyDataset):
    """Batches of arrays in RAM, shuffled as a function of seed and epoch.

    Labels by output stay as they are, without weights: the losses of :mod:`eolab.training.losses` know 255.

    Args:
        inputs: Arrays (N, …) by name.
        labels: Class indices (N, …), 255 gets weight 0; or such arrays by output.
        batch_size: Samples a batch.
        seed: Seed of the order.
        shuffle: Whether the order changes from epoch to epoch.
    """

    def __init__(
        self, inputs: Mapping[str, Any], labels: Any, batch_size: int, *, seed: int = 0, shuffle: bool = False
    ) -> None:
        super().__init__()
        self.inputs = {name: np.asarray(values) for name, values in inputs.items()}
        several = isinstance(labels, Mapping)
        self.labels = {k: np.asarray(v) for k, v in labels.items()} if several else np.asarray(labels)
        self.batch_size, self.seed, self.shuffle = batch_size, seed, shuffle
        arrays = self.inputs | (self.labels if isinstance(self.labels, dict) else {"label": self.labels})
        sizes = {name: len(values) for name, values in arrays.items()}
        if len(set(sizes.values())) != 1 or not min(sizes.values()):
            raise DataError(f"Arrays to train with must have one length, at least 1: found {sizes}.")
        self._size = next(iter(sizes.values()))
        self._order = np.arange(self._size)

    @property
    def num_batches(self) -> int:
        """Number of batches, the last one perhaps smaller."""
        return -(-self._size // self.batch_size)

    def at_epoch(self, epoch: int) -> ArrayBatches:
        """Set the epoch that the order belongs to, from 0."""
        if self.shuffle:
            self._order = np.random.default_rng((self.seed, epoch)).permutation(self._size)
        return self

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """Return inputs, labels int32 and weights float32 of a batch; labels by output have no weights."""
        rows = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        inputs = {name: values[rows] for name, values in self.inputs.items()}
        if isinstance(self.labels, dict):
            return inputs, {name: values[rows].astype(np.int32) for name, values in self.labels.items()}
        label = self.labels[rows]
        return (
            inputs,
            np.where(label == IGNORE, 0, label).astype(np.int32),
            (label != IGNORE).astype(np.float32),
        )


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
        return ArrayBatches(inputs, labels, batch_size, seed=seed, shuffle=shuffle)
    return data


def facts(data: Any) -> dict[str, Any]:
    """Return what of the training data a resumed training must find again, as JSON values."""
    found = {name: getattr(data, name) for name in ("batch_size", "seed", "shuffle") if hasattr(data, name)}
    store, indices = getattr(data, "store", None), getattr(data, "indices", None)
    if indices is not None:
        found["samples"] = zlib.crc32(np.ascontiguousarray(indices).tobytes())
    if store is not None:
        found["store"] = zlib.crc32(json.dumps(store.fingerprint, sort_keys=True, default=str).encode())
    for name in ("prepare", "augment", "targets"):
        if getattr(data, name, None) is not None:
            found[name] = function_name(getattr(data, name))
    return found | {"batches": int(data.num_batches)}


def function_name(function: Any) -> str:
    """Return what tells a function from another one: its ``name``, or else its name in the code."""
    if isinstance(function, partial):
        options = ", ".join(f"{name}={value}" for name, value in function.keywords.items())
        return f"{function_name(function.func)}({options})"
    found = getattr(function, "name", None) or getattr(function, "__qualname__", None)
    return str(found or type(function).__qualname__)


def labels_of(data: Any) -> np.ndarray:
    """Return all labels that batches have, flat, without the ignored ones."""
    if isinstance(data, ArrayBatches):
        found = data.labels
    elif isinstance(data, StoreBatches):
        found = data.store.gather(data.indices, [data.label])[data.label]
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


def balanced_weights(labels: Any, classes: int) -> dict[int, float]:
    """Return weights that give every class that is present the same total: ``N / (classes present · count)``.

    Args:
        labels: Class indices of any shape, 255 is left out.
        classes: Number of classes.
    """
    flat = np.ravel(labels)
    counts = np.bincount(flat[flat != IGNORE].astype(np.int64), minlength=classes)
    present = np.flatnonzero(counts)
    return {int(k): float(counts.sum() / (len(present) * counts[k])) for k in present}
