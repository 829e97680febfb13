"""One baseline: a scikit-learn estimator, and how its features are read from a store in bounded memory."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from scipy.special import softmax
from sklearn.base import BaseEstimator, is_regressor
from sklearn.dummy import DummyClassifier
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import Pipeline
from sklearn.utils.class_weight import compute_sample_weight

from eolab.core import files
from eolab.core.errors import DataError
from eolab.core.progress import stage, track
from eolab.data.schemes import IGNORE
from eolab.data.store import Store, reading
from eolab.data.tables import some_rows
from eolab.prediction import probabilities
from eolab.tasks.channels import Channels, select

Arrays = Mapping[str, Any]
ClassWeight = str | Mapping[int, float] | None
UNWEIGHTED = (KNeighborsClassifier, KNeighborsRegressor)  # copy a sample, whatever it weighs
Training = tuple[Any, np.ndarray, np.ndarray | None]  # features, targets, weight of each row


class Reader(ABC):
    """How a baseline reads samples: which arrays, and the table of features made of them.

    Attributes:
        inputs: Arrays of a sample that the features are made of.
        at_once: Samples in memory while features are made.
        channels: Names of the channels of an image that are read; None for all.
        positions: Their places among the stored ones, once prepared; None for all.
    """

    inputs: tuple[str, ...] = ("image",)
    at_once: int = 32
    channels: Sequence[str] | None = ()
    positions: Sequence[int] | None = None

    def prepare(self, store: Any, rows: np.ndarray, seed: int) -> None:  # noqa: B027
        """Take from the training samples what the features need; nothing by default."""

    @abstractmethod
    def table(self, data: Arrays) -> Any:
        """Return the features (rows, F) of some samples, given by their arrays."""

    def shaped(self, values: np.ndarray, data: Arrays) -> np.ndarray:
        """Return predictions (rows, …) in the shape of the samples: one a sample by default."""
        return values

    def walk(
        self, store: Any, rows: np.ndarray, title: str, progress: bool
    ) -> Iterator[tuple[slice, Arrays]]:
        """Yield places among the rows, and the arrays of a few samples at a time."""
        batches, total = store.batches(rows, self.inputs, self.at_once), -(-len(rows) // self.at_once)
        yield from track(batches, title, total=total, unit="batch", progress=progress)

    def labels(self, store: Any, rows: np.ndarray) -> np.ndarray | None:
        """Return the labels of samples: class indices (N,), or 0 and 1 for each class (N, K).

        None where labels are read with the features, as those of pixels are.
        """
        return store.gather(rows, ["label"])["label"]

    def training(self, store: Any, rows: np.ndarray, labels: Any, progress: bool) -> Training:
        """Return features, targets and weights of training samples; weights are None for equal ones."""
        parts = [self.table(data) for _, data in self.walk(store, rows, "Reading features", progress)]
        return np.concatenate(parts), labels, None


@dataclass
class Baseline:
    """A scikit-learn estimator fitted on, and predicting, the samples of a store.

    Attributes:
        name: Name of the baseline.
        reader: How samples are read.
        estimator: The scikit-learn classifier or regressor.
        classes: Number of classes K; None takes it from the labels of the first fit.
        class_weight: ``"balanced"``, a weight by class index (1 for others), or None.
        seed: Seed of everything random in it.
        max_samples: Most training samples used; None for all.
        seen: Channels of the training samples that are read, with their ranges; None of samples that are no
            store, and of baselines of before.
    """

    name: str
    reader: Reader
    estimator: BaseEstimator
    classes: int | None = None
    class_weight: ClassWeight = None
    seed: int = 0
    max_samples: int | None = None
    outputs: int = field(default=0, init=False)
    seen: Channels | None = field(default=None, init=False)

    def fit(self, store: Any, rows: Any, sample_weight: Any = None, progress: bool = False) -> Self:
        """Learn from some samples.

        Args:
            store: The samples, with an array ``label``: 255 is not known and counts nowhere; a float label is
                a value, NaN not known.
            rows: Rows for training, as numbers or as a mask.
            sample_weight: Weight of each row; a nearest neighbour has no use for it.
            progress: Whether to show progress.

        Raises:
            DataError: If labels have another shape than the task's, a label is no class index, or the samples
                show too few classes.
        """
        given = rows = some_rows(rows)
        weights = np.ones(len(rows)) if sample_weight is None else np.asarray(sample_weight, float)
        labels = self.reader.labels(store, rows)
        if labels is not None:
            chosen = self._usable(labels)
            rows, labels, weights = rows[chosen], labels[chosen], weights[chosen]
            self._check_target(labels)
        self.reader.prepare(store, rows, self.seed)
        self.seen = self._channels(store, given)
        features, target, drawn = self.reader.training(store, rows, labels, progress)
        if drawn is not None:
            weights = drawn
            self._check_target(target)
        if self.class_weight is not None and target.ndim == 1 and not is_regressor(self.estimator):
            weights = weights * _class_weights(self.class_weight, target)
        name, model = (
            self.estimator.steps[-1] if isinstance(self.estimator, Pipeline) else ("", self.estimator)
        )
        weighted = not isinstance(model, UNWEIGHTED) and not (weights == 1).all()
        last = f"{name}__" if name else ""
        # the mean of a column without values is no fault
        with (
            np.errstate(invalid="ignore"),
            stage(f"Fitting {self.name} on {len(target):,} samples", progress),
        ):
            self.estimator.fit(features, target, **{f"{last}sample_weight": weights} if weighted else {})
        return self

    def predict(
        self,
        store: Any,
        rows: Any,
        folder: str | os.PathLike[str] | None = None,
        part: str = "test",
        progress: bool = False,
    ) -> np.ndarray:
        """Predict some samples.

        Args:
            store: The samples.
            rows: Rows to predict, as numbers or as a mask.
            folder: Where predictions of each pixel are written as ``<part>_<output>.npy``; None keeps them in
                memory.
            part: What the rows are.
            progress: Whether to show progress.

        Returns:
            Float32. Class probabilities (N, K); for masks the probability of class 1, or of each of several
            classes, of every pixel (N, H, W, …); for regression the value of every pixel (N, H, W). A memory
            map where a folder is given.

        Raises:
            DataError: If the store has other channels than the one that was learned from, or images are on
                another scale.
        """
        if self.seen and isinstance(store, Store):
            self.seen.check(store, "image")
        rows = reading.row_numbers(rows)
        parts = self.reader.walk(store, rows, f"Predicting by {self.name}", progress)
        if folder is None:
            return np.concatenate([self.predict_on_batch(data) for _, data in parts])
        output, dtype = ("value", np.float32) if is_regressor(self.estimator) else ("mask", np.float16)
        maps = ((at, {output: self.predict_on_batch(data)}) for at, data in parts)
        return probabilities.write(maps, len(rows), Path(folder), part, dtype)[output]

    def predict_on_batch(self, data: Arrays) -> np.ndarray:
        """Predict samples given by their arrays, as :meth:`predict` does.

        Class probabilities of an estimator that has none are a softmax over its decision values: they rank
        the classes, but are not calibrated.

        Raises:
            DataError: If images have other channels, or are on another scale than those of training, see
                :meth:`eolab.prediction.ranges.TrainedRange.check`.
        """
        if self.seen and self.seen.trained:
            self.seen.trained.check(self.seen.assemble(data["image"]), data.get("valid"))
        return self.reader.shaped(self._estimate(self.reader.table(data)), data)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the baseline to a ``.joblib`` file; an unfinished file never bears the name."""
        return files.write_joblib(self, path)

    def _channels(self, store: Any, rows: np.ndarray) -> Channels | None:
        """Return the channels that are read of the training samples; None where none are."""
        if not isinstance(store, Store) or "image" not in self.reader.inputs:
            return None
        if store.arrays_spec["image"].dims[-1] not in store.coords:  # channels without names
            return None
        names, places = store.channel_names(), self.reader.positions
        read = names if places is None else [names[place] for place in places]
        return select(store, rows, read) if read else None

    def _estimate(self, features: Any) -> np.ndarray:
        if is_regressor(self.estimator):
            return self.estimator.predict(features).astype(np.float32)
        if hasattr(self.estimator, "predict_proba"):
            known = self.estimator.predict_proba(features)
        else:
            decision = self.estimator.decision_function(features)
            known = softmax(np.stack([-decision, decision], 1) if decision.ndim == 1 else decision, axis=1)
        columns = np.asarray(self.estimator.classes_)
        result = np.zeros((len(known), self.outputs), np.float32)
        result[:, columns.astype(int)] = known
        return result

    def _usable(self, labels: np.ndarray) -> np.ndarray:
        """Return which training samples are used: those with a label, at most `max_samples` of them."""
        known = np.flatnonzero(labels != IGNORE) if labels.ndim == 1 else np.arange(len(labels))
        if self.max_samples is None or len(known) <= self.max_samples:
            return known
        if labels.ndim == 1:
            first = np.unique(labels[known], return_index=True)[1]
        else:
            first = (labels == 1).argmax(axis=0)[(labels == 1).any(axis=0)]
        drawn = np.random.default_rng(self.seed).choice(len(known), self.max_samples, replace=False)
        return known[np.union1d(drawn, first)]  # no class is lost

    def _check_target(self, target: np.ndarray) -> None:
        """Check the labels that are learned from, and take the number of classes where it was not given."""
        if is_regressor(self.estimator):
            if not len(target):
                raise DataError(f"The training samples have no known value: {self.name} needs some.")
            return
        if target.ndim == 2:
            self._check_labels(target)
            return
        present = np.unique(target)
        classes = self.classes or (int(present[-1]) + 1 if present.size else 0)
        if present.size and not (present[0] >= 0 and present[-1] < classes):
            raise DataError(
                f"Labels run from {present[0]} to {present[-1]}: expected class indices 0 to {classes - 1}, "
                f"or {IGNORE} for no label."
            )
        constant = isinstance(self.estimator, DummyClassifier)
        needed = 1 if constant else getattr(self.estimator, "min_classes", 2)
        if len(present) < needed:
            raise DataError(
                f"Training samples show {len(present)} class{'es' * (len(present) != 1)}: {self.name} needs "
                f"{needed} or more; take more samples, or another split."
            )
        self.outputs = classes

    def _check_labels(self, target: np.ndarray) -> None:
        classes = self.classes or target.shape[1]
        if target.shape[1] != classes:
            raise DataError(
                f"Labels have shape {target.shape[1:]}: expected ({classes},), a 0 or 1 for each class."
            )
        if not (target == 1).any():
            raise DataError(f"None of {len(target)} training samples has a label: nothing can be learned.")
        self.outputs = classes


def _class_weights(weights: str | Mapping[int, float], target: np.ndarray) -> np.ndarray:
    """Return the weight of each label, 1 where a mapping does not name its class."""
    if not isinstance(weights, str):
        weights = {int(kind): float(weights.get(int(kind), 1.0)) for kind in np.unique(target)}
    return compute_sample_weight(weights, target)
