"""Channels that a model reads of stored images: chosen by name, and saved with it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from eolab.core.errors import DataError, ParameterError, check_all, check_known
from eolab.data.store import Store, with_day
from eolab.prediction.ranges import TASK_FILE, TrainedRange


@dataclass(frozen=True)
class Channels:
    """Channels of a stored image, by name.

    A channel may be derived from a stored one by a shift and a factor: ``(stored − offset) · scale``.

    Attributes:
        names: Name of each of C channels.
        mean: Mean of each channel over the training samples.
        std: Standard deviation of each channel over the training samples.
        stored: Names of all channels of a stored image, in its order.
        sources: Stored channel that each channel is made of; empty where all have the names of stored ones.
        offset: What is subtracted from each; empty for 0.
        scale: What the difference is multiplied by; empty for 1.
        pooling: Side of the squares of pixels that are averaged; 1 for images as they are. Values that are
            NaN are left out; where squares do not fill the image, the last ones are smaller.
        low: Smallest value of each channel over the training samples; empty in models of before.
        high: Largest value of each; predictions compare new images with them.
    """

    names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    stored: tuple[str, ...]
    sources: tuple[str, ...] = ()
    offset: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    pooling: int = 1
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the selection that ``dataclasses.asdict`` described, its lists read from JSON."""
        plain: Any = {key: tuple(one) if isinstance(one, list) else one for key, one in values.items()}
        return cls(**plain)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "trained"}

    @cached_property
    def trained(self) -> TrainedRange | None:
        """What the channels held in training, to compare others with; None in models of before."""
        return TrainedRange.of(asdict(self))

    @property
    def name(self) -> str:
        """What tells this selection from another one."""
        return "+".join(self.names) + (f" pooled {self.pooling}" if self.pooling > 1 else "")

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of the network's image, from those of the stored image."""
        return -(-height // self.pooling), -(-width // self.pooling)

    def assemble(self, image: np.ndarray) -> np.ndarray:
        """Return the channels (..., C) of stored images (..., all channels).

        The data type is kept, but derived and pooled channels are float32.

        Raises:
            DataError: If the images have another number of channels.
        """
        image = np.asarray(image)
        if image.shape[-1:] != (len(self.stored),):
            raise DataError(
                f"The image has the shape {image.shape}, expected (..., {len(self.stored)}): give all "
                f"channels of the store ({', '.join(self.stored)}), the model takes its own."
            )
        sources = self.sources or self.names
        if self.sources or sources != self.stored:
            image = image.take([self.stored.index(name) for name in sources], axis=-1)  # (..., C), a copy
        if self.sources:
            image = image.astype(np.float32, copy=False)
            for number, (offset, scale) in enumerate(zip(self.offset, self.scale, strict=True)):
                if (offset, scale) != (0, 1):
                    image[..., number] -= np.float32(offset)
                    image[..., number] *= np.float32(scale)
        return image if self.pooling == 1 else average_pooling(image, self.pooling)

    def check(self, store: Store, array: str) -> None:
        """Refuse a store whose images have other channels.

        Raises:
            DataError: If they have.
        """
        found = store.channel_names(array)
        if found != self.stored:
            raise DataError(
                f"{store.path} has the channels {', '.join(found)}; the model was fitted on a store with "
                f"{', '.join(self.stored)}: give a store of these."
            )


def described(folder: str | Path) -> tuple[str, str, dict[str, Channels]]:
    """Return task, architecture and channels by input of a network that :func:`eolab.tasks.fit` saved.

    Raises:
        DataError: If the folder has no such network.
    """
    file = Path(folder) / TASK_FILE
    if not file.is_file():
        raise DataError(f"{file}: expected the description of a fitted network, found no file: fit it first.")
    facts = json.loads(file.read_text())
    channels = {name: Channels.from_dict(one) for name, one in facts["channels"].items()}
    return facts["task"], facts["model"], channels


def select(
    store: Store,
    train_rows: Any,
    names: Sequence[str] | None = None,
    *,
    array: str = "image",
    pooling: int = 1,
) -> Channels:
    """Choose channels of a store, with the statistics of its training samples alone.

    Args:
        store: Store whose array has named channels on its last axis.
        train_rows: Rows of the training samples; a row that is drawn several times counts once.
        names: Names of channels; all by default.
        array: Array of the store.
        pooling: Side of the squares of pixels that are averaged.

    Raises:
        StoreError: If the store does not have the array, or does not name its channels.
        ParameterError: If a channel is unknown or named twice, there is none, there is no training row, or
            squares are larger than the images.
    """
    stored = store.channel_names(array)
    chosen = stored if names is None else tuple(names)
    check_all(chosen, stored, f"{store.path} has no channel")
    if not chosen or len(set(chosen)) < len(chosen):
        raise ParameterError(f"channels is {list(chosen)}: name some of {', '.join(stored)}, each once.")
    sizes = store.arrays_spec[array].shape[-3:-1]
    if pooling != 1 and not 1 <= pooling <= min(sizes):
        pixels = " × ".join(map(str, sizes))
        raise ParameterError(f"pooling is {pooling}: expected 1 to {min(sizes)}, for images of {pixels}.")
    table = statistics(store, train_rows, array).loc[list(chosen)]
    mean, std, low, high = (tuple(table[column].astype(float)) for column in ("mean", "std", "min", "max"))
    return Channels(chosen, mean, std, stored, pooling=pooling, low=low, high=high)


Selection = Mapping[str, Any] | Sequence[str] | Channels | None  # of the input image, or by input


def select_all(
    store: Store | Mapping[str, Store], train_rows: Any, channels: Selection
) -> dict[str, Channels]:
    """Return the channels of each input of a network.

    Args:
        store: The store; for sequences a store by input.
        train_rows: Rows of the training samples; for sequences by input.
        channels: Channels of the input ``image``, or by input: names, a selection, or None for all.
    """
    given = channels if isinstance(channels, Mapping) else {"image": channels}
    found = {}
    for key, chosen in given.items():
        if isinstance(chosen, Channels):
            found[key] = chosen
        elif isinstance(store, Mapping):
            check_known(key, store, f"There is no store of {key!r}")
            found[key] = select(store[key], train_rows[key], chosen)
        else:
            found[key] = select(store, train_rows, chosen, array=key)
    return found


def read(store: Store, rows: Any, names: Sequence[str] = ("image", "valid")) -> dict[str, np.ndarray]:
    """Return arrays of some samples of a store, and ``day`` (n, T) where it has that array or a time axis."""
    return with_day(store, store.gather(rows, [*names, *store.own_day]))


def statistics(store: Store, train_rows: Any, array: str = "image") -> pd.DataFrame:
    """Return mean, std, min and max of each channel of an array over some rows, each row once.

    Raises:
        ParameterError: If there is no row.
    """
    if not np.size(train_rows):
        raise ParameterError("There are no training rows: channels need the statistics of some samples.")
    return store.statistics_over(np.unique(train_rows), array, store.arrays_spec[array].dims[-1])


def average_pooling(images: np.ndarray, side: int) -> np.ndarray:
    """Average squares of pixels of images (N, …, H, W, C), over the values that there are; float32."""
    short = [-length % side for length in images.shape[-3:-1]]
    if any(short):
        pad = [*[(0, 0)] * (images.ndim - 3), (0, short[0]), (0, short[1]), (0, 0)]
        images = np.pad(images.astype(np.float32, copy=False), pad, constant_values=np.nan)
    *many, height, width, channels = images.shape
    squares = images.reshape(*many, height // side, side, width // side, side, channels)
    seen = np.isfinite(squares)
    total = np.where(seen, squares, 0).sum((-4, -2))
    count = seen.sum((-4, -2))
    return np.divide(total, count, out=np.full(total.shape, np.nan, np.float32), where=count > 0)
