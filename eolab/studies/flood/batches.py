"""Batches of whole scenes: images of both sensors from their stores, as long as the longest scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras
import numpy as np

from eolab.core.errors import ParameterError
from eolab.data.schemes import IGNORE
from eolab.studies.flood.timelines import Timeline, padded, padded_labels
from eolab.studies.flood.views import SensorView
from eolab.training.batches import weight_table

Batch = tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]


class SceneBatches(keras.utils.PyDataset):
    """Batches ``(inputs, labels, weights)`` of scenes.

    Inputs by sensor, in lower case: ``s1`` (B, T, H, W, C) float32, 0 where there is no image and NaN where
    an image has no value; ``s1_valid`` (B, T) float32, 1 where there is one; ``s1_day`` (B, T) float32, days
    since the scene's first image. Labels are int32 (B, T), weights float32 (B, T): 0 behind a scene's last
    step. Scenes of like length come together; which ones, and the order of the batches, follow from seed and
    epoch.

    Args:
        views: What is read of each sensor.
        timelines: The scenes, see :func:`eolab.studies.flood.timelines.make_timelines`.
        batch_size: Scenes a batch.
        seed: Of the order.
        shuffle: Whether the order changes from epoch to epoch.
        class_weights: Weight of each class; 1 by default.
        pad: Length of all batches; None for that of each batch's longest scene. Padding counts nothing.
        flip: Whether images are turned and mirrored, all those of a scene alike.
    """

    def __init__(
        self,
        views: Mapping[str, SensorView],
        timelines: Sequence[Timeline],
        batch_size: int = 1,
        *,
        seed: int = 0,
        shuffle: bool = False,
        class_weights: Mapping[int, float] | None = None,
        pad: int | None = None,
        flip: bool = False,
    ) -> None:
        super().__init__()
        if not timelines or batch_size < 1:
            raise ParameterError(
                f"Batches need scenes and a positive batch size: got {len(timelines)} and {batch_size}."
            )
        self.views, self.timelines = dict(views), list(timelines)
        self.batch_size, self.seed, self.shuffle, self.flip = batch_size, seed, shuffle, flip
        self.pad, self.epoch = pad, 0
        self.class_weights = weight_table(class_weights)
        self.lengths = np.array([one.length for one in self.timelines])
        self._order: tuple[int, list[np.ndarray]] = (-1, [])

    @property
    def num_batches(self) -> int:
        """Number of batches, one of them perhaps smaller."""
        return -(-len(self.timelines) // self.batch_size)

    def at_epoch(self, epoch: int) -> SceneBatches:
        """Set the epoch that the order belongs to, from 0; return the batches."""
        self.epoch = int(epoch)
        return self

    def order(self) -> list[np.ndarray]:
        """Return the scenes of each batch of this epoch, as places in `timelines`."""
        if self._order[0] != self.epoch:
            self._order = self.epoch, self._ordered()
        return self._order[1]

    def _ordered(self) -> list[np.ndarray]:
        rng = np.random.default_rng((self.seed, self.epoch))
        places = np.arange(len(self.timelines))
        if self.shuffle:
            places = rng.permutation(places)
            places = places[np.argsort(self.lengths[places], kind="stable")]  # like lengths, chosen by chance
        found = [places[k : k + self.batch_size] for k in range(0, len(places), self.batch_size)]
        return [found[k] for k in rng.permutation(len(found))] if self.shuffle else found

    def length(self, index: int, sensor: str | None = None) -> int:
        """Return the steps of batch `index`: those of its longest scene, of one sensor with "late".

        The first batch has a step more where it would be as long as the second: from these two Keras on
        TensorFlow takes whether lengths vary.
        """
        if self.pad is not None:
            return self.pad
        own = self._longest(index, sensor)
        return own + (index == 0 and self.num_batches > 1 and own == self._longest(1, sensor))

    def _longest(self, index: int, sensor: str | None) -> int:
        chosen = [self.timelines[place] for place in self.order()[index]]
        return max(1, *(one.length if sensor is None else len(one.rows[sensor]) for one in chosen))

    def __getitem__(self, index: int) -> Batch:
        """Return batch `index` of this epoch."""
        if not 0 <= index < self.num_batches:
            raise IndexError(f"batch {index} of {self.num_batches}")
        chosen = [self.timelines[place] for place in self.order()[index]]
        rng = np.random.default_rng((self.seed, self.epoch, index, 1))
        turns = [(int(rng.integers(4)), bool(rng.integers(2))) if self.flip else (0, False) for _ in chosen]
        inputs: dict[str, np.ndarray] = {}
        for sensor, view in self.views.items():
            inputs |= self._gather(sensor, view, chosen, turns, self.length(index, sensor))
        labels = padded_labels(chosen, 1 if chosen[0].late else self.length(index))
        kept = np.where(labels == IGNORE, 0, labels).astype(np.int32)
        return inputs, kept, self.class_weights[labels]

    def _gather(
        self,
        sensor: str,
        view: SensorView,
        chosen: list[Timeline],
        turns: list[tuple[int, bool]],
        length: int,
    ) -> dict[str, np.ndarray]:
        """Return image, valid and day of a sensor."""
        rows, days = padded(chosen, sensor, length)
        seen = rows >= 0
        images = np.zeros((*rows.shape, *view.size, len(view.channels)), np.float32)
        if seen.any():
            images[seen] = view.images(rows[seen])
        for place, (quarter, mirror) in enumerate(turns):
            if quarter or mirror:
                images[place] = _turned(images[place], quarter, mirror)
        key = sensor.lower()
        return {key: images, f"{key}_valid": seen.astype(np.float32), f"{key}_day": days}


def _turned(images: np.ndarray, quarter: int, mirror: bool) -> np.ndarray:
    """Return images (T, H, W, C) turned by half turns (quarters where they are square) and mirrored."""
    square = images.shape[1] == images.shape[2]
    images = np.rot90(images, quarter if square else 2 * (quarter // 2), axes=(1, 2))
    return images[:, :, ::-1] if mirror else images
