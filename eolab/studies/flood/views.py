"""What a network reads of a store: some of its channels, in images of some size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from eolab.core.errors import ParameterError, did_you_mean
from eolab.data.store import Store


@dataclass(frozen=True)
class SensorView:
    """Channels of the store of one sensor.

    Attributes:
        store: See :func:`eolab.studies.flood.store_arrays`.
        channels: Names of the channels, in the order that the network reads them.
        shrink: Side of the squares of pixels that become one, their mean; 1 for images as they are. Where
            squares do not fill the images, the last ones have the rows and columns that are left.

    Raises:
        ParameterError: If a channel is not in the store, or squares are larger than the images.
    """

    store: Store
    channels: tuple[str, ...]
    shrink: int = 1

    def __post_init__(self) -> None:
        known = list(self.store.metadata["coords"]["band"])
        for channel in self.channels:
            if channel not in known:
                raise ParameterError(
                    f"{self.store.path} has no channel {channel!r}: {did_you_mean(channel, known)} "
                    "Or write it with 02_preprocess."
                )
        rows, columns = self.store.arrays_spec["image"].shape[:2]
        most = min(rows, columns)
        if not 1 <= self.shrink <= most:
            raise ParameterError(
                f"shrink is {self.shrink}: expected 1 to {most}, for images of {rows} × {columns}."
            )

    @property
    def table(self) -> pd.DataFrame:
        """A row an image: that of the store."""
        return self.store.table.reset_index(drop=True)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the images."""
        rows, columns = self.store.arrays_spec["image"].shape[:2]
        return -(-rows // self.shrink), -(-columns // self.shrink)

    @property
    def statistics(self) -> pd.DataFrame:
        """Mean and standard deviation of each channel over the images to train on."""
        return self.store.statistics.loc[list(self.channels), ["mean", "std"]]

    def images(self, rows: np.ndarray) -> np.ndarray:
        """Return images (N, H, W, C) float32, NaN where there is no value."""
        known = list(self.store.metadata["coords"]["band"])
        found = self.store.gather(rows, ["image"])["image"]
        self.store.release()
        found = found[..., [known.index(channel) for channel in self.channels]]
        return found if self.shrink == 1 else _shrunk(found, self.shrink)


def _shrunk(images: np.ndarray, side: int) -> np.ndarray:
    """Return images whose pixels are means over squares, of the values that there are."""
    short = [-length % side for length in images.shape[1:3]]
    if any(short):
        images = np.pad(images, ((0, 0), (0, short[0]), (0, short[1]), (0, 0)), constant_values=np.nan)
    n, height, width, channels = images.shape
    squares = images.reshape(n, height // side, side, width // side, side, channels)
    seen = np.isfinite(squares)
    total = np.where(seen, squares, 0).sum((2, 4))
    count = seen.sum((2, 4))
    return np.divide(total, count, out=np.full(total.shape, np.nan, np.float32), where=count > 0)


def select(
    stores: Mapping[str, Store], channels: Mapping[str, Sequence[str]], shrink: int = 1
) -> dict[str, SensorView]:
    """Return the views of the sensors that have a channel.

    Args:
        stores: Store of each sensor.
        channels: Names of the channels by sensor; none to leave the sensor out.
        shrink: See :class:`SensorView`.

    Raises:
        ParameterError: If no sensor has a channel, or there is no store of a sensor, or one of its channels
            cannot be read.
    """
    for sensor, names in channels.items():
        if names and sensor not in stores:
            raise ParameterError(f"There is no store of sensor {sensor!r}: {did_you_mean(sensor, stores)}")
    found = {
        sensor: SensorView(stores[sensor], tuple(names), shrink)
        for sensor, names in channels.items()
        if names
    }
    if not found:
        raise ParameterError("No channel is chosen: name one of Sentinel-1 or of Sentinel-2.")
    return found
