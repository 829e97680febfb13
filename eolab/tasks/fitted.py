"""Fitted networks: saved and loaded with all that prediction needs, predictions kept on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from eolab import models
from eolab.core.errors import DataError
from eolab.core.files import replacing, write_atomically
from eolab.core.progress import track
from eolab.data.store import Store, with_day
from eolab.evaluation import postprocess
from eolab.prediction import probabilities
from eolab.prediction.engines import on_batch
from eolab.prediction.ranges import TASK_FILE, check_inputs
from eolab.tasks.channels import Channels, described
from eolab.tasks.task import AVERAGED, Task, get
from eolab.training.batches import SequenceSamples
from eolab.training.setup import computed

Arrays = Mapping[str, np.ndarray]
Outputs = dict[str, np.ndarray]
Parts = Iterator[tuple[slice, Outputs]]  # places among the samples, and their predictions

MODEL_FILE = "model.keras"


@dataclass(frozen=True)
class Fitted:
    """A fitted network.

    Attributes:
        task: What it has learned.
        name: Name of the architecture.
        network: The Keras model, with the weights of its best epoch.
        channels: Channels that it reads of each input.
        history: A row an epoch; empty where the network was loaded.
    """

    task: Task
    name: str
    network: Any
    channels: Mapping[str, Channels]
    history: pd.DataFrame = field(default_factory=pd.DataFrame)
    _parts: dict[tuple[str, ...], Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return int(self.network.count_params())

    @property
    def facts(self) -> dict[str, Any]:
        """What a record says of its training: ``run.finish(fitted.facts)``.

        Number of parameters, best epoch, precision that products are computed in; what a constant prediction
        reaches in the column that epochs are chosen by, and whether the network has ``learned`` more.
        """
        known = {key: self.history.attrs.get(key) for key in ("best_epoch", "constant", "learned")}
        found = {"parameters": self.parameters, "precision": computed(), **known}
        return {key: value for key, value in found.items() if value is not None}

    @property
    def arrays(self) -> list[str]:
        """Names of the arrays of a store that it reads."""
        return [*self.channels, *self.task.inputs]

    def __str__(self) -> str:
        text = f"{self.name}: {self.parameters:,} weights"
        if self.history.empty:
            return text
        return f"{text}, best of {len(self.history)} epochs is number {self.history.attrs['best_epoch']}"

    def inputs(self, arrays: Arrays) -> dict[str, np.ndarray]:
        """Return the inputs of the network: its channels of stored images (n, …), other arrays as they are.

        Raises:
            DataError: If an array is missing, or images are on another scale than those of training.
        """
        for name in self.network.input:
            if name not in arrays:
                raise DataError(f"{self.name} reads {', '.join(self.network.input)}: give {name!r} too.")
        found = {name: arrays[name] for name in self.network.input}
        found |= {name: read.assemble(arrays[name]) for name, read in self.channels.items()}
        self.check(found)
        return found

    def check(self, inputs: Arrays) -> None:
        """Compare inputs with those of training; see :meth:`eolab.prediction.ranges.TrainedRange.check`.

        Raises:
            DataError: If they are in another unit.
        """
        check_inputs({name.lower(): read.trained for name, read in self.channels.items()}, inputs)

    def predict(self, arrays: Arrays, outputs: Sequence[str] | None = None) -> Outputs:
        """Predict a few samples.

        Args:
            arrays: Stored arrays (n, …) by name, with all their channels.
            outputs: Outputs that are computed, by name; all by default.

        Returns:
            Predictions by output: (n, K) of whole samples, (n,) of one class, (n, H, W) of pixels; see
            :meth:`Task.kept`.
        """
        return self.kept(on_batch(self._up_to(tuple(outputs or ())))(self.inputs(arrays)))

    def kept(self, found: Any) -> Outputs:
        """Return what is kept of the outputs of the network, by name."""
        named = found if isinstance(found, Mapping) else {self.task.output: found}
        return {name: self.task.kept(np.asarray(values)) for name, values in named.items()}

    def _up_to(self, names: tuple[str, ...]) -> Any:
        """Return the network up to some outputs: a finer and a coarser mask cost a third of a prediction."""
        outputs = self.network.output
        if not names or not isinstance(outputs, Mapping) or set(names) == set(outputs):
            return self.network
        if names not in self._parts:
            self._parts[names] = keras.Model(self.network.input, {name: outputs[name] for name in names})
        return self._parts[names]


def save(fitted: Fitted, folder: str | Path) -> None:
    """Write ``model.keras`` and ``task.json``."""
    folder = Path(folder)
    with replacing(folder / MODEL_FILE, ".tmp.keras") as temporary:
        fitted.network.save(temporary)
    facts = {
        "task": fitted.task.name,
        "model": fitted.name,
        "channels": {name: asdict(read) for name, read in fitted.channels.items()},
    }
    write_atomically(folder / TASK_FILE, json.dumps(facts, indent=1).encode())


def load(folder: str | Path) -> Fitted:
    """Return the network that :func:`eolab.tasks.fit` saved, for prediction.

    Raises:
        DataError: If the folder has no such network.
    """
    task, name, channels = described(folder)
    return Fitted(get(task), name, models.load(Path(folder) / MODEL_FILE, compiled=False), channels)


def predict(
    fitted: Fitted,
    store: Any,
    rows: Any,
    folder: str | Path,
    part: str,
    *,
    test_time_augmentation: bool = False,
    length: int | None = None,
    batch_size: int | None = None,
    progress: bool = True,
) -> Outputs:
    """Write the predictions of some samples, so that nothing after needs the network.

    Args:
        fitted: The network.
        store: The samples; for sequences a store by sensor.
        rows: Rows of the store, N of them; for sequences the sequences.
        folder: Where ``<part>_<output>.npy`` go, in the data type of the task.
        part: What the rows are, for example "test".
        test_time_augmentation: Whether to write ``averaged`` too: the mean over all rotations and mirror
            images, for tasks with one value a pixel.
        length: Steps that sequences are padded to, padding predicted too; their own by default.
        batch_size: Samples computed at once; sequences are computed one by one.
        progress: Whether to show progress.

    Returns:
        Memory maps by output: (N, K) of whole samples, (N,) of one class, (N, H, W) of masks; (N, T) of
        sequences, NaN behind the last step.

    Raises:
        DataError: If the store has other channels than the one that the network was fitted on.
    """
    several = isinstance(store, Mapping)
    for name, read in fitted.channels.items():
        read.check(*((store[name], "image") if several else (store, name)))
    if several:
        found, unit, total = _of_sequences(fitted, store, rows, length), "sequence", len(rows)
    else:
        size = batch_size or fitted.task.batch_size
        found = _of_rows(fitted, store, rows, size, test_time_augmentation)
        unit, total = "batch", -(-len(rows) // size)
    parts = track(found, f"Predicting {part}", total=total, unit=unit, progress=progress)
    return probabilities.write(parts, len(rows), folder, part, fitted.task.dtype)


def _of_rows(fitted: Fitted, store: Store, rows: Any, size: int, averaging: bool) -> Parts:
    """Yield the predictions of some samples at a time."""
    main = fitted.task.heads[0]

    def alone(image: np.ndarray) -> np.ndarray:
        return fitted.predict({"image": image}, [main])[main]

    for at, data in store.batches(rows, [*fitted.arrays, *store.own_day], size):
        found = fitted.predict(with_day(store, data))
        if averaging:
            found[AVERAGED] = postprocess.test_time_augmentation(alone, data["image"], found[main])
        yield at, found


def _of_sequences(fitted: Fitted, stores: Mapping[str, Store], rows: Any, length: int | None) -> Parts:
    """Yield the predictions of one sequence after the other, NaN behind its last step."""
    samples = SequenceSamples(stores, rows, fitted.channels, length=length)
    longest = length or int(samples.lengths.max())
    for place, sequence in enumerate(samples.sequences):
        inputs, _ = samples.read(np.array([place]))
        fitted.check(inputs)
        steps = 1 if sequence.late else longest
        found = {}
        for name, values in fitted.kept(on_batch(fitted.network)(inputs)).items():
            behind = ((0, 0), (0, steps - values.shape[1]))
            found[name] = np.pad(values, behind, constant_values=np.nan)
        yield slice(place, place + 1), found
