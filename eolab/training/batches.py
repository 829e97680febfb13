"""Batches for Keras from a store or from image sequences, on every backend."""

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, Protocol, Self, get_args

import keras
import numpy as np
from keras.tree import map_structure

from eolab.core.errors import ParameterError, check_known
from eolab.data.schemes import IGNORE
from eolab.data.sequences import ImageSequence, padded, padded_labels
from eolab.data.store import Store, with_day
from eolab.data.store.reading import row_numbers
from eolab.training import distributed
from eolab.training.augment import Inputs, Step

Labels = Any
"""Labels of a batch: an array, or arrays by name of the output."""
Ignore = Literal["weight", "keep", "none"]
ClassWeights = Mapping[int, float] | Sequence[float] | None

MEMORY_BUDGET = 2 << 30  # bytes of RAM that in_memory="auto" may fill with samples
_AT_ONCE = 256  # samples read and prepared at once
_LABEL = "label"  # array of the labels, and its name beside the inputs


class Samples(Protocol):
    """What batches are made of: N samples, each with its inputs and its label.

    Attributes:
        lengths: Number of steps of each sample (N,), None where all have the same shape.
    """

    @property
    def lengths(self) -> np.ndarray | None:
        """Number of steps of each sample, or None."""

    def __len__(self) -> int: ...

    def read(self, positions: np.ndarray) -> tuple[Inputs, Labels]:
        """Return inputs (B, …) by name and labels (B, …) of the samples at some positions, 0 to N - 1."""

    def facts(self) -> dict[str, Any]:
        """Return what a resumed training must find again, as JSON values."""


class Batches(keras.utils.PyDataset):
    """Batches ``(inputs, labels, weights)`` or ``(inputs, labels)`` of samples, as NumPy arrays.

    The order is a pure function of seed and epoch, so a training that resumes at an epoch sees what an
    unbroken one sees, if it is called as in the example: Keras does not tell a data set its epoch, and its
    own ``shuffle`` would shuffle the batches once more by Python's global random numbers. Shuffled batches
    all have one size: the last one of an epoch is filled up with the first samples of the next pass over all,
    so that it may hold one twice, and the next epoch goes on from there. Where samples have lengths, those of
    similar length come together, and then the batches are shuffled; there, and without ``shuffle``, the last
    batch may be smaller. A batch is read, then augmented, and last its labels are made into the targets of
    the outputs.

    Example:
        >>> batches = Batches(StoreSamples(store, store.indices("train")), seed=1, shuffle=True)
        >>> model.fit(batches.stream(), callbacks=[batches.callback], shuffle=False)

    Args:
        samples: The samples, such as :class:`StoreSamples` or :class:`SequenceSamples`.
        batch_size: Samples a batch.
        seed: Seed of the order and the augmentation.
        shuffle: Whether the order changes from epoch to epoch.
        class_weights: Weight of each class, by class index or as a sequence; 1 by default.
        augment: Function ``(inputs, label, rng) -> (inputs, label)``, such as
            :func:`eolab.training.augment.build` returns; `rng` is a pure function of seed, epoch and number
            of the batch.
        sample_weights: Weight of each sample (N,), multiplied with that of its class; 1 by default.
        steps: Batches an epoch; the next epoch goes on where the last one has ended, in pass after pass over
            the samples. By default as many as a pass needs.
        targets: Function of the label (B, …) with 255 that returns labels, or labels by name of the output.
        ignore: ``"weight"``: batches have weights, and label 255 gets weight 0 and label 0, which losses
            accept; ``"keep"``: no weights, class indices with 255, for losses that know it; ``"none"``: no
            weights, labels keep their type and no value of them means anything special.

    Raises:
        ParameterError: If there is no sample, or the batch size, `ignore` or the class weights cannot be.
    """

    def __init__(
        self,
        samples: Samples,
        batch_size: int = 256,
        *,
        seed: int = 0,
        shuffle: bool = False,
        class_weights: ClassWeights = None,
        sample_weights: Any = None,
        steps: int | None = None,
        augment: Step | None = None,
        targets: Callable[[np.ndarray], Labels] | None = None,
        ignore: Ignore = "weight",
    ) -> None:
        super().__init__()
        if not len(samples) or batch_size < 1:
            raise ParameterError(
                f"Batches need samples and a positive batch size: got {len(samples)} and {batch_size}."
            )
        check_known(ignore, get_args(Ignore), f"ignore is {ignore!r}")
        if ignore != "weight" and not (class_weights is None and sample_weights is None):
            raise ParameterError(
                f"Batches with ignore={ignore!r} have no weights: leave class_weights out, and "
                "sample_weights, or use ignore='weight'."
            )
        if sample_weights is not None and np.shape(sample_weights) != (len(samples),):
            raise ParameterError(
                f"sample_weights has the shape {np.shape(sample_weights)}: expected one a sample, "
                f"({len(samples)},)."
            )
        self.samples, self.batch_size, self.seed, self.shuffle = samples, batch_size, seed, shuffle
        self.augment, self.targets, self.ignore = augment, targets, ignore
        self.class_weights, self.steps = weight_table(class_weights), steps
        self.sample_weights = None if sample_weights is None else np.asarray(sample_weights, np.float32)
        self.epoch = 0
        self._order: tuple[int, list[np.ndarray]] = (-1, [])

    @property
    def num_batches(self) -> int:
        """Number of batches an epoch."""
        return self.steps or self.batches_a_pass

    @property
    def filled(self) -> bool:
        """Whether all batches have one size."""
        return self.shuffle and self.samples.lengths is None

    @property
    def batches_a_pass(self) -> int:
        """Number of batches that a pass over all samples needs."""
        return -(-len(self.samples) // self.batch_size)

    @property
    def callback(self) -> keras.callbacks.Callback:
        """Callback for ``fit`` that tells these batches the epoch."""
        return keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: self.at_epoch(epoch))

    def at_epoch(self, epoch: int) -> Self:
        """Set the epoch that the order belongs to, from 0; return the batches."""
        self.epoch = int(epoch)
        return self

    def order(self) -> list[np.ndarray]:
        """Return the positions of the samples of each batch of this epoch."""
        if self._order[0] != self.epoch:
            self._order = self.epoch, self._ordered()
        return self._order[1]

    def _ordered(self) -> list[np.ndarray]:
        if self.filled:
            samples, size = len(self.samples), min(self.batch_size, len(self.samples))
            first, last = (epoch * self.num_batches * size for epoch in (self.epoch, self.epoch + 1))
            passes = range(first // samples, -(-last // samples))
            stream = np.concatenate([self._positions(number)[0] for number in passes])
            skipped = first % samples
            return [*stream[skipped : skipped + last - first].reshape(self.num_batches, size)]
        first, last = (epoch * self.num_batches for epoch in (self.epoch, self.epoch + 1))
        passes = range(first // self.batches_a_pass, -(-last // self.batches_a_pass))
        found = [batch for number in passes for batch in self._pass(number)]
        skipped = first % self.batches_a_pass
        return found[skipped : skipped + self.num_batches]

    def _pass(self, number: int) -> list[np.ndarray]:
        """Return the positions of the samples of each batch of one pass over all of them."""
        positions, rng = self._positions(number)
        lengths = self.samples.lengths
        if self.shuffle and lengths is not None:  # similar lengths come together; which ones, chance decides
            positions = positions[np.argsort(lengths[positions], kind="stable")]
        found = [positions[k : k + self.batch_size] for k in range(0, len(positions), self.batch_size)]
        return [found[k] for k in rng.permutation(len(found))] if self.shuffle else found

    def _positions(self, number: int) -> tuple[np.ndarray, np.random.Generator]:
        """Return the positions of all samples in the order of a pass, and what goes on drawing for it."""
        rng, positions = np.random.default_rng((self.seed, number)), np.arange(len(self.samples))
        if self.shuffle:
            rng.shuffle(positions)
        return positions, rng

    def __getitem__(self, index: int) -> tuple[Inputs, Labels] | tuple[Inputs, Labels, Labels]:
        """Return batch `index` of this epoch: inputs, labels (B, …), weights float32 (B, …) or none.

        Labels are int32, those of ``ignore="none"`` what they are in the samples.
        """
        if not 0 <= index < self.num_batches:
            raise IndexError(f"batch {index} of {self.num_batches}")
        inputs, label = self.samples.read(positions := self.order()[index])
        return self._made(index, positions, inputs, label)

    def part(self, index: int, rank: int, ranks: int, devices: int) -> tuple[Inputs, Labels, Labels]:
        """Return what a process feeds of batch `index`, where several divide it among all their devices.

        Only this part is read. A batch that cannot be divided is filled up with samples that count nothing
        in losses and scores; the statistics of batch normalisation see them. Where there are several
        processes, each draws augmentations of its own. Labels of ``ignore="none"`` get weights too.

        Args:
            index: Number of the batch.
            rank: Number of the process.
            ranks: Number of processes.
            devices: Number of devices of all processes.
        """
        whole = self.order()[index]
        size = -(-len(whole) // devices) * devices
        own = slice(rank * size // ranks, (rank + 1) * size // ranks)
        positions, counts = np.resize(whole, size)[own], (np.arange(size) < len(whole))[own]
        if self.samples.lengths is None:
            inputs, label = self.samples.read(positions)
        else:  # as long as the longest of the whole batch
            inputs, label = self.samples.read(positions, whole)  # type: ignore[call-arg]
        found = self._made(index, positions, inputs, label, *([rank] if ranks > 1 else []))
        return found[0], found[1], map_structure(partial(_counted, counts.astype(np.float32)), *found[1:])

    def _made(self, index: int, positions: np.ndarray, inputs: Inputs, label: Labels, *stream: int) -> Any:
        """Return a batch of samples that were read, augmented by draws of its own."""
        if self.augment is not None:
            rng = np.random.default_rng(
                (self.seed, self.epoch, index, 1, *stream)
            )  # 1: not that of the order
            inputs, label = self.augment(inputs, label, rng)
        labels = label if self.targets is None else self.targets(label)
        if self.ignore == "none":
            return inputs, labels
        if self.ignore == "keep":
            return inputs, map_structure(lambda values: values.astype(np.int32), labels)
        kept = map_structure(lambda values: np.where(values == IGNORE, 0, values).astype(np.int32), labels)
        return inputs, kept, map_structure(partial(self._weights, positions), labels)

    def _weights(self, positions: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return the weight of each label (B, …), of its class and its sample."""
        weights = self.class_weights[labels]
        if self.sample_weights is None:
            return weights
        return weights * self.sample_weights[positions].reshape(-1, *[1] * (weights.ndim - 1))

    def stream(self) -> Any:
        """Return what Keras should read: these batches, on TensorFlow a ``tf.data.Dataset`` of them.

        Where several devices train together it is this process's part of them, see :meth:`part`.

        That which Keras makes of them is tuned as it runs, and TensorFlow 2.21 often ends a pass over it by a
        wait (11 of the 70 s of three folds on one core). Axes are as long as in the first batch, but for that
        of the samples where the last batch may be smaller, and the next one where samples have lengths.
        """
        if distributed.devices() > 1:
            return Part(self)
        if keras.backend.backend() != "tensorflow":
            return self
        import tensorflow as tf

        free = 0 if self.filled else 1 if self.samples.lengths is None else 2

        def spec(values: np.ndarray) -> Any:
            return tf.TensorSpec([None] * free + list(values.shape[free:]), values.dtype)

        whole = map_structure(spec, self[0])
        specs = tf.nest.flatten(whole)
        types = [one.dtype.as_numpy_dtype for one in specs]

        def read(index: np.int64) -> list[np.ndarray]:
            return [*map(np.asarray, tf.nest.flatten(self[int(index)]), types)]

        def batch(index: Any) -> Any:
            found = tf.numpy_function(read, [index], types)
            for tensor, one in zip(found, specs, strict=True):
                tensor.set_shape(one.shape)
            return tf.nest.pack_sequence_as(whole, found)

        batches = tf.data.Dataset.range(self.num_batches).map(batch)
        options = tf.data.Options()
        options.autotune.enabled = False
        return batches.prefetch(2).with_options(options)

    def facts(self) -> dict[str, Any]:
        """Return what of the batches a resumed training must find again, as JSON values."""
        found: dict[str, Any] = {
            "batch_size": self.batch_size,
            "seed": self.seed,
            "shuffle": self.shuffle,
            "batches": self.num_batches,
            "class_weights": zlib.crc32(self.class_weights.tobytes()),
        }
        if self.filled:
            found["filled"] = True
        if self.sample_weights is not None:
            found["sample_weights"] = zlib.crc32(self.sample_weights.tobytes())
        for name in ("augment", "targets"):
            if getattr(self, name) is not None:
                found[name] = function_name(getattr(self, name))
        return found | self.samples.facts()


class Part(keras.utils.PyDataset):
    """What this process feeds of each batch, see :meth:`Batches.part`.

    Args:
        batches: The batches.
    """

    def __init__(self, batches: Batches) -> None:
        super().__init__()
        self.batches = batches
        self.place = distributed.join()

    @property
    def num_batches(self) -> int:
        """Number of batches an epoch."""
        return self.batches.num_batches

    def __getitem__(self, index: int) -> tuple[Inputs, Labels, Labels]:
        """Return this process's part of batch `index`."""
        return self.batches.part(index, self.place.rank, self.place.count, distributed.devices())


class StoreSamples:
    """Some rows of a store.

    Inputs are arrays of the store by name; ``day`` is added where the store has that array or a time axis.

    Args:
        store: The store.
        rows: Rows to take, numbers or a mask; all by default.
        inputs: Names of the arrays for the model.
        in_memory: Whether to hold the rows in RAM; ``"auto"`` does where they fit into `memory_budget`.
        memory_budget: Bytes.
        channels: Selection of each input that has one, such as :class:`eolab.tasks.Channels`, whose
            ``assemble`` takes the channels (B, H, W, C) out of stored images; where samples are held in RAM,
            once.
    """

    lengths = None

    def __init__(
        self,
        store: Store,
        rows: Any = None,
        *,
        inputs: Sequence[str] = ("image", "valid"),
        in_memory: bool | Literal["auto"] = "auto",
        memory_budget: int = MEMORY_BUDGET,
        channels: Mapping[str, Any] | None = None,
    ) -> None:
        self.store = store
        self.rows = np.arange(len(store)) if rows is None else row_numbers(rows)
        self.channels = dict(channels or {})
        self._names = sorted({*inputs, *store.own_day, _LABEL})
        size = len(self.rows) * sum(values.nbytes for values in self._read(self.rows[:1]).values())
        held = size <= memory_budget if in_memory == "auto" else in_memory
        self.data = self._hold() if held else None

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, positions: np.ndarray) -> tuple[Inputs, np.ndarray]:
        """Return inputs and labels of some positions within `rows`."""
        if self.data is None:
            data = self._read(self.rows[positions])
        else:
            data = {name: values.take(positions, axis=0) for name, values in self.data.items()}
        label = data.pop(_LABEL)
        return with_day(self.store, data), label

    def facts(self) -> dict[str, Any]:
        """Return what a resumed training must find again, as JSON values."""
        found: dict[str, Any] = {
            "samples": zlib.crc32(np.ascontiguousarray(self.rows).tobytes()),
            "store": _identity(self.store),
        }
        chosen = ", ".join(f"{key}: {channels.name}" for key, channels in self.channels.items())
        return found | {"prepare": chosen} if chosen else found

    def _read(self, rows: np.ndarray) -> Inputs:
        """Return inputs and label of some rows of the store."""
        data = self.store.gather(rows, self._names)
        self.store.release()  # what has been read does not count as memory in use
        return self._prepared(data)

    def _prepared(self, data: Inputs) -> Inputs:
        """Return the chosen channels of stored inputs, and the label."""
        return data | {key: channels.assemble(data[key]) for key, channels in self.channels.items()}

    def _hold(self) -> Inputs:
        """Return inputs and labels of all rows; they are read a few at a time."""
        held: Inputs = {}
        for at, data in self.store.batches(self.rows, self._names, _AT_ONCE):
            for name, values in self._prepared(data).items():
                if name not in held:
                    held[name] = np.empty((len(self.rows), *values.shape[1:]), values.dtype)
                held[name][at] = values
        return held


class SequenceSamples:
    """Image sequences whose images lie in a store by sensor.

    Inputs by sensor, in lower case: ``s1`` (B, T, H, W, C) float32, 0 where there is no image and NaN where
    an image has no value; ``s1_valid`` (B, T) float32, 1 where there is one; ``s1_day`` (B, T) float32, days
    since the sequence's first image. Labels are uint8 (B, T), 255 behind a sequence's last step; (B, 1) with
    late fusion. A batch is as long as its longest sequence.

    Args:
        stores: Store of each sensor, with an array ``image``.
        sequences: The sequences, see :func:`eolab.data.sequences.make`.
        channels: What is read of the images of each sensor, and how large they are then: a selection such as
            :class:`eolab.tasks.Channels`.
        length: Steps of all batches; by default those of each batch's longest sequence.
    """

    def __init__(
        self,
        stores: Mapping[str, Store],
        sequences: Sequence[ImageSequence],
        channels: Mapping[str, Any],
        *,
        length: int | None = None,
    ) -> None:
        self.stores, self.sequences, self.channels = dict(stores), list(sequences), dict(channels)
        self.length = length
        self.lengths = np.array([one.length for one in self.sequences])

    def __len__(self) -> int:
        return len(self.sequences)

    def read(self, positions: np.ndarray, among: np.ndarray | None = None) -> tuple[Inputs, np.ndarray]:
        """Return the inputs and labels of some sequences, as long as the longest of those `among` which."""
        chosen = [self.sequences[position] for position in positions]
        others = chosen if among is None else [self.sequences[position] for position in among]
        inputs: Inputs = {}
        for sensor in self.channels:
            inputs |= self._images(sensor, chosen, self._length(others, sensor))
        return inputs, padded_labels(chosen, 1 if chosen[0].late else self._length(others))

    def facts(self) -> dict[str, Any]:
        """Return what a resumed training must find again, as JSON values."""
        return {
            "samples": zlib.crc32(repr([one.name for one in self.sequences]).encode()),
            "store": [_identity(self.stores[sensor]) for sensor in self.channels],
            "prepare": {sensor: channels.name for sensor, channels in self.channels.items()},
        }

    def _length(self, chosen: Sequence[ImageSequence], sensor: str | None = None) -> int:
        if self.length is not None:
            return self.length
        return max(1, *(one.length if sensor is None else len(one.rows[sensor]) for one in chosen))

    def _images(self, sensor: str, chosen: list[ImageSequence], length: int) -> Inputs:
        """Return image, valid and day of a sensor."""
        store, channels = self.stores[sensor], self.channels[sensor]
        rows, days = padded(chosen, sensor, length)
        seen = rows >= 0
        size = channels.size(*store.arrays_spec["image"].shape[:2])
        images = np.zeros((*rows.shape, *size, len(channels.names)), np.float32)
        if seen.any():
            images[seen] = channels.assemble(store.gather(rows[seen], ["image"])["image"])
            store.release()  # what has been read does not count as memory in use
        key = sensor.lower()
        return {key: images, f"{key}_valid": seen.astype(np.float32), f"{key}_day": days}


def function_name(function: Any) -> str:
    """Return what tells a function from another one: its ``name``, or else its name in the code."""
    if isinstance(function, partial):
        options = ", ".join(f"{name}={value}" for name, value in function.keywords.items())
        return f"{function_name(function.func)}({options})"
    found = getattr(function, "name", None) or getattr(function, "__qualname__", None)
    return str(found or type(function).__qualname__)


def weight_table(class_weights: ClassWeights) -> np.ndarray:
    """Return the weight of each label 0 to 255, float32 (256,): 1 where none is given, 0 for label 255.

    Raises:
        ParameterError: If a class is no index below 255, or a weight is negative.
    """
    weights = np.ones(256, np.float32)
    given = {} if class_weights is None else class_weights
    for index, weight in given.items() if isinstance(given, Mapping) else enumerate(given):
        if not 0 <= int(index) < IGNORE or not weight >= 0:
            raise ParameterError(
                f"class_weights has {{{index}: {weight}}}: expected class indices and weights of 0 or more."
            )
        weights[int(index)] = weight
    weights[IGNORE] = 0
    return weights


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


def _counted(counts: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return weights of labels, 0 for samples that count nothing; two views of a sample follow each other."""
    if weights is None:
        return np.repeat(counts, len(labels) // len(counts))
    return weights * counts.reshape(-1, *[1] * (weights.ndim - 1))


def _identity(store: Store) -> int:
    return zlib.crc32(json.dumps(store.fingerprint, sort_keys=True, default=str).encode())
