"""What a training is fed with: batches whose order follows from seed and epoch, and class weights."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any, Literal

import keras
import numpy as np

from eolab.batches import StoreBatches, weight_table
from eolab.errors import DataError, ParameterError
from eolab.legends import IGNORE

ClassWeights = Mapping[int, float] | Literal["balanced"] | None


class ArrayBatches(keras.utils.PyDataset):
    """Batches of arrays in RAM, shuffled as a function of seed and epoch.

    Args:
        inputs: Arrays (N, …) by name.
        labels: Class indices (N, …); 255 gets weight 0.
        batch_size: Samples a batch.
        seed: Seed of the order.
        shuffle: Whether the order changes from epoch to epoch.
    """

    def __init__(
        self, inputs: Mapping[str, Any], labels: Any, batch_size: int, *, seed: int = 0, shuffle: bool = False
    ) -> None:
        super().__init__()
        self.inputs = {name: np.asarray(values) for name, values in inputs.items()}
        self.labels = np.asarray(labels)
        self.batch_size, self.seed, self.shuffle = batch_size, seed, shuffle
        sizes = {name: len(values) for name, values in self.inputs.items()} | {"label": len(self.labels)}
        if len(set(sizes.values())) != 1 or not len(self.labels):
            raise DataError(f"Arrays to train with must have one length, at least 1: found {sizes}.")
        self._order = np.arange(len(self.labels))

    @property
    def num_batches(self) -> int:
        """Number of batches, the last one perhaps smaller."""
        return -(-len(self.labels) // self.batch_size)

    def at_epoch(self, epoch: int) -> ArrayBatches:
        """Set the epoch that the order belongs to, from 0."""
        if self.shuffle:
            self._order = np.random.default_rng((self.seed, epoch)).permutation(len(self.labels))
        return self

    def __getitem__(self, index: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        """Return inputs, labels int32 and weights float32 of a batch."""
        rows = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        label = self.labels[rows]
        inputs = {name: values[rows] for name, values in self.inputs.items()}
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
    return found | {"batches": int(data.num_batches)}


def labels_of(data: Any) -> np.ndarray:
    """Return all labels that batches have, flat, without the ignored ones."""
    if isinstance(data, ArrayBatches):
        found = data.labels
    elif isinstance(data, StoreBatches):
        found = data.store.gather(data.indices, [data.label])[data.label]
    else:
        found = np.concatenate([np.ravel(data[index][1]) for index in range(data.num_batches)])
    return np.ravel(found[found != IGNORE])


def weighted(data: Any, class_weights: ClassWeights, classes: int) -> Any:
    """Return batches that give each class its weight.

    Raises:
        ParameterError: If the weights are neither None, "balanced" nor a positive number by class index.
    """
    if class_weights is None:
        return data
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
