"""Batches of a sample store for Keras, shuffled over the whole store, on every backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np

from eolab.errors import ParameterError
from eolab.legends import IGNORE
from eolab.store import Store, days

MEMORY_BUDGET = 2 << 30  # bytes of RAM that in_memory="auto" may fill with samples


class StoreBatches(keras.utils.PyDataset):
    """Batches ``(inputs, label, sample_weight)`` of some rows of a store, as NumPy arrays.

    Inputs are a dict of arrays ``(B, …)``; ``day`` is added for stores with a time coordinate. The order is a
    pure function of seed and epoch, so a training that resumes at an epoch sees what an unbroken one sees,
    if it is called as in the example: Keras does not tell a data set its epoch, and its own ``shuffle``
    would shuffle the batches once more by Python's global random numbers. The last batch may be smaller.
    Samples with the ignore label 255 get weight 0 (and label 0, which losses accept).

    Example:
        >>> batches = StoreBatches(store, store.indices("train"), seed=1, shuffle=True)
        >>> model.fit(batches, callbacks=[batches.callback], shuffle=False)

    Args:
        store: The store.
        indices: Rows to take; all by default.
        batch_size: Samples a batch.
        seed: Seed of the order.
        shuffle: Whether the order changes from epoch to epoch.
        class_weights: Weight of each class, by class index or as a sequence; 1 by default.
        inputs: Arrays for the model: a list of names, or store name by input name.
        label: Array of class indices, uint8.
        in_memory: Whether to hold the rows in RAM; ``"auto"`` does where they fit into `memory_budget`.
        memory_budget: Bytes.
    """

    def __init__(
        self,
        store: Store,
        indices: Any = None,
        batch_size: int = 256,
        *,
        seed: int = 0,
        shuffle: bool = False,
        class_weights: Mapping[int, float] | Sequence[float] | None = None,
        inputs: Sequence[str] | Mapping[str, str] = ("image", "valid"),
        label: str = "label",
        in_memory: bool | Literal["auto"] = "auto",
        memory_budget: int = MEMORY_BUDGET,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        rows = np.arange(len(store)) if indices is None else np.asarray(indices)
        self.store = store
        self.indices = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)
        self.batch_size, self.seed, self.shuffle = batch_size, seed, shuffle
        self.inputs = dict(inputs) if isinstance(inputs, Mapping) else {name: name for name in inputs}
        self.label = label
        self.epoch = 0
        if not len(self.indices) or batch_size < 1:
            raise ParameterError(
                f"Batches need samples and a positive batch size: got {len(self.indices)} and {batch_size}."
            )
        self.class_weights = weight_table(class_weights)
        self.day = None if store.time is None else days(store.time)
        names = sorted({*self.inputs.values(), label})
        size = len(self.indices) * sum(store.gather([0], [name])[name].nbytes for name in names)
        held = size <= memory_budget if in_memory == "auto" else in_memory
        self.data = store.gather(self.indices, names) if held else None
        self._names = names
        self._order: tuple[int, np.ndarray] = (-1, self.indices)

    @property
    def num_batches(self) -> int:
        """Number of batches, the last one perhaps smaller."""
        return -(-len(self.indices) // self.batch_size)

    @property
    def callback(self) -> keras.callbacks.Callback:
        """Callback for ``fit`` that tells these batches the epoch."""
        return keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: self.at_epoch(epoch))

    def at_epoch(self, epoch: int) -> StoreBatches:
        """Set the epoch that the order belongs to, from 0; return the batches."""
        self.epoch = int(epoch)
        return self

    def order(self) -> np.ndarray:
        """Return the positions within `indices` in the order of this epoch, int64 (N,)."""
        epoch, order = self._order
        if epoch != self.epoch:
            order = np.arange(len(self.indices))
            if self.shuffle:
                np.random.default_rng((self.seed, self.epoch)).shuffle(order)
            self._order = (self.epoch, order)
        return order

    def __getitem__(self, index: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        """Return batch `index` of this epoch: inputs, labels int32 (B,…), weights float32 (B,…)."""
        if not 0 <= index < self.num_batches:
            raise IndexError(f"batch {index} of {self.num_batches}")
        positions = self.order()[index * self.batch_size : (index + 1) * self.batch_size]
        if self.data is None:
            data = self.store.gather(self.indices[positions], self._names)
        else:
            data = {name: values.take(positions, axis=0) for name, values in self.data.items()}
        inputs = {key: data[name] for key, name in self.inputs.items()}
        if self.day is not None:
            inputs["day"] = np.broadcast_to(self.day, (len(positions), len(self.day)))
        label = data[self.label]
        return inputs, np.where(label == IGNORE, 0, label).astype(np.int32), self.class_weights[label]


def weight_table(class_weights: Mapping[int, float] | Sequence[float] | None) -> np.ndarray:
    """Return the weight of each label 0 to 255, float32 (256,): 1 where none is given, 0 for label 255."""
    weights = np.ones(256, np.float32)
    given = {} if class_weights is None else class_weights
    for index, weight in given.items() if isinstance(given, Mapping) else enumerate(given):
        weights[int(index)] = weight
    weights[IGNORE] = 0
    return weights
