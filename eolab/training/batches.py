"""Batches of a sample store for Keras, shuffled over the whole store, on every backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np

from eolab.core.errors import ParameterError, did_you_mean
from eolab.data.schemes import IGNORE
from eolab.data.store import Store, days

Inputs = dict[str, np.ndarray]
Labels = np.ndarray | dict[str, np.ndarray]

MEMORY_BUDGET = 2 << 30  # bytes of RAM that in_memory="auto" may fill with samples
_AT_ONCE = 256  # samples read and prepared at once
_LABEL = "label"  # name of the label beside the inputs


class StoreBatches(keras.utils.PyDataset):
    """Batches ``(inputs, labels, weights)`` or ``(inputs, labels)`` of some rows of a store, as NumPy arrays.

    Inputs are a dict of arrays ``(B, …)``; ``day`` is added for stores with a time coordinate. The order is a
    pure function of seed and epoch, so a training that resumes at an epoch sees what an unbroken one sees,
    if it is called as in the example: Keras does not tell a data set its epoch, and its own ``shuffle``
    would shuffle the batches once more by Python's global random numbers. The last batch may be smaller.
    Samples and pixels with the ignore label 255 get weight 0 (and label 0, which losses accept), or keep the
    label where the loss knows it (``ignore="keep"``). Labels that are no class indices, such as a 0 or 1 for
    each class, are given as they are (``ignore="none"``). A batch is gathered, then prepared, then augmented,
    and last its labels are made into the targets of the outputs.

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
        label: Array of class indices, uint8; any array with ``ignore="none"``.
        in_memory: Whether to hold the rows in RAM; ``"auto"`` does where they fit into `memory_budget`.
        memory_budget: Bytes.
        prepare: Function of the inputs that returns the inputs, for example one that selects channels. Acts
            on each sample alone: those held in RAM are prepared once.
        augment: Function ``(inputs, label, rng) -> (inputs, label)``, such as
            :func:`eolab.training.augment.build`
            gives; `rng` is a pure function of seed, epoch and number of the batch.
        targets: Function of the label (B, …) with 255 that returns labels, or labels by name of the output.
        ignore: ``"weight"``: batches have weights, 0 for label 255; ``"keep"``: no weights, 255 stays;
            ``"none"``: no weights, labels keep their type and no value of them means anything special.
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
        prepare: Callable[[Inputs], Inputs] | None = None,
        augment: Callable[[Inputs, np.ndarray, np.random.Generator], tuple[Inputs, np.ndarray]] | None = None,
        targets: Callable[[np.ndarray], Labels] | None = None,
        ignore: Literal["weight", "keep", "none"] = "weight",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        rows = np.arange(len(store)) if indices is None else np.asarray(indices)
        self.store = store
        self.indices = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)
        self.batch_size, self.seed, self.shuffle = batch_size, seed, shuffle
        self.inputs = dict(inputs) if isinstance(inputs, Mapping) else {name: name for name in inputs}
        self.label = label
        self.prepare, self.augment, self.targets, self.ignore = prepare, augment, targets, ignore
        self.epoch = 0
        if not len(self.indices) or batch_size < 1:
            raise ParameterError(
                f"Batches need samples and a positive batch size: got {len(self.indices)} and {batch_size}."
            )
        if ignore not in ("weight", "keep", "none"):
            raise ParameterError(f"ignore is {ignore!r}; {did_you_mean(ignore, ('weight', 'keep', 'none'))}")
        if ignore != "weight" and class_weights is not None:
            raise ParameterError(
                f"Batches with ignore={ignore!r} have no weights: leave class_weights out or use "
                "ignore='weight'."
            )
        self.class_weights = weight_table(class_weights)
        self.day = None if store.time is None else days(store.time)
        names = sorted({*self.inputs.values(), label})
        self._names = names
        size = len(self.indices) * sum(values.nbytes for values in self._read(self.indices[:1]).values())
        held = size <= memory_budget if in_memory == "auto" else in_memory
        self.data = self._hold() if held else None
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

    def __getitem__(self, index: int) -> tuple[Inputs, Labels] | tuple[Inputs, Labels, Labels]:
        """Return batch `index` of this epoch: inputs, labels (B,…), weights float32 (B,…) or none.

        Labels are int32, those of ``ignore="none"`` what they are in the store.
        """
        if not 0 <= index < self.num_batches:
            raise IndexError(f"batch {index} of {self.num_batches}")
        positions = self.order()[index * self.batch_size : (index + 1) * self.batch_size]
        inputs, label = self._gather(positions)
        if self.augment is not None:
            inputs, label = self.augment(inputs, label, self._rng(index))
        labels = label if self.targets is None else self.targets(label)
        if self.ignore == "none":
            return inputs, labels
        if self.ignore == "keep":
            return inputs, _each(labels, lambda values: values.astype(np.int32))
        kept = _each(labels, lambda values: np.where(values == IGNORE, 0, values).astype(np.int32))
        return inputs, kept, _each(labels, lambda values: self.class_weights[values])

    def _gather(self, positions: np.ndarray) -> tuple[Inputs, np.ndarray]:
        """Return inputs, prepared, and label of some positions within `indices`."""
        if self.data is None:
            data = self._read(self.indices[positions])
        else:
            data = {name: values.take(positions, axis=0) for name, values in self.data.items()}
        label = data.pop(_LABEL)
        if self.day is not None:
            data["day"] = np.broadcast_to(self.day, (len(positions), len(self.day)))
        return data, label

    def _read(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return inputs, prepared, and label of some rows of the store."""
        data = self.store.gather(rows, self._names)
        self.store.release()  # what has been read does not count as memory in use
        inputs = {key: data[name] for key, name in self.inputs.items()}
        return {**(inputs if self.prepare is None else self.prepare(inputs)), _LABEL: data[self.label]}

    def _hold(self) -> dict[str, np.ndarray]:
        """Return inputs, prepared, and labels of all rows; they are read a few at a time."""
        held: dict[str, np.ndarray] = {}
        for start in range(0, len(self.indices), _AT_ONCE):
            for name, values in self._read(self.indices[start : start + _AT_ONCE]).items():
                if name not in held:
                    held[name] = np.empty((len(self.indices), *values.shape[1:]), values.dtype)
                held[name][start : start + _AT_ONCE] = values
        return held

    def _rng(self, index: int) -> np.random.Generator:
        """Return the generator of a batch; the last number keeps it apart from that of the order."""
        return np.random.default_rng((self.seed, self.epoch, index, 1))


def _each(labels: Labels, change: Callable[[np.ndarray], np.ndarray]) -> Labels:
    """Return labels, or each of the labels by output, changed."""
    if isinstance(labels, Mapping):
        return {name: change(np.asarray(values)) for name, values in labels.items()}
    return change(np.asarray(labels))


def weight_table(class_weights: Mapping[int, float] | Sequence[float] | None) -> np.ndarray:
    """Return the weight of each label 0 to 255, float32 (256,): 1 where none is given, 0 for label 255."""
    weights = np.ones(256, np.float32)
    given = {} if class_weights is None else class_weights
    for index, weight in given.items() if isinstance(given, Mapping) else enumerate(given):
        weights[int(index)] = weight
    weights[IGNORE] = 0
    return weights
