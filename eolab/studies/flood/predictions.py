"""Channels, sequences and predictions of the flood study, by the columns of its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from eolab import tasks
from eolab.core.errors import ParameterError, did_you_mean
from eolab.data import sequences
from eolab.data.layouts.sen12flood import SENSORS
from eolab.data.sequences import ImageSequence
from eolab.data.store import Store
from eolab.studies.flood.scoring import prediction_table
from eolab.tasks import Channels


def select(
    stores: Mapping[str, Store], channels: Mapping[str, Sequence[str]], pooling: int = 1
) -> dict[str, Channels]:
    """Return the channels of each sensor that has one, with the statistics of the training images.

    Args:
        stores: Store of each sensor.
        channels: Names of the channels by sensor; none to leave the sensor out.
        pooling: Side of the squares of pixels that are averaged; 1 for images as they are.

    Raises:
        ParameterError: If no sensor has a channel, or there is no store of a sensor, or one of its channels
            cannot be read.
    """
    for sensor, names in channels.items():
        if names and sensor not in stores:
            raise ParameterError(f"There is no store of sensor {sensor!r}: {did_you_mean(sensor, stores)}")
    found = {
        sensor: tasks.select(stores[sensor], stores[sensor].indices("train"), names, pooling=pooling)
        for sensor, names in channels.items()
        if names
    }
    if not found:
        raise ParameterError("No channel is chosen: name one of Sentinel-1 or of Sentinel-2.")
    return found


def make_sequences(tables: Mapping[str, pd.DataFrame], fusion: str = "union") -> list[ImageSequence]:
    """Return the sequences that have an image, in the order of their names.

    Args:
        tables: Sample table of the store of each sensor that is used, "S1", "S2" or both.
        fusion: See :mod:`eolab.data.sequences`.

    Raises:
        ParameterError: If the fusion or a sensor is unknown.
    """
    for sensor in tables:
        if sensor not in SENSORS:
            raise ParameterError(f"There is no sensor {sensor!r}: {did_you_mean(sensor, SENSORS)}")
    return sequences.make(tables, fusion, place="sequence", label="flooded")


def sequences_of(stores: Mapping[str, Store], split: str, fusion: str = "union") -> list[ImageSequence]:
    """Return the sequences of a split, which column ``split`` of the tables names."""
    tables = {sensor: store.table for sensor, store in stores.items()}
    return sequences.of_split(make_sequences(tables, fusion), tables, split)


def predict(
    fitted: tasks.Fitted,
    stores: Mapping[str, Store],
    chosen: Sequence[ImageSequence],
    folder: str | Path,
    part: str,
    *,
    pad: bool = False,
    progress: bool = True,
) -> pd.DataFrame:
    """Return the probability of a flood at each step, or of each sequence with late fusion.

    Args:
        fitted: The network.
        stores: Store of each sensor.
        chosen: The sequences.
        folder: Where the probabilities go.
        part: What the sequences are, for example "test".
        pad: Whether all sequences are made as long as the longest, and padding is predicted too, as
            Wiesniakowski et al. 2024 do.
        progress: Whether to show progress.

    Returns:
        See :mod:`eolab.studies.flood.scoring`.
    """
    late = chosen[0].late
    length = max(one.length for one in chosen) if pad and not late else None
    found = tasks.predict(fitted, stores, chosen, folder, part, length=length, progress=progress)
    (values,) = found.values()
    return prediction_table(
        chosen, [row[: length or len(one.labels)] for row, one in zip(values, chosen, strict=True)]
    )
