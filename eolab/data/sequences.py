"""Image sequences: how the images of several sensors become the steps of one place.

====== ================================================================================================
pad    All series side by side, image by image whatever their dates, padded to one length: step k has the
       k-th image of each sensor.
union  One timeline of all dates: each step has the images of its day, with a mask for what was not seen.
late   Each sensor has a series of its own; the place has one label.
====== ================================================================================================
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from eolab.core.errors import check_known
from eolab.data.schemes import IGNORE

FUSIONS = ("pad", "union", "late")
NO_ROW = -1


@dataclass(frozen=True)
class ImageSequence:
    """The acquisitions of one place, by step.

    Attributes:
        name: Name of the place.
        rows: Row of the store of each sensor at each step, -1 where there is none; int64 (T,). With "late"
            the sensors have lengths of their own.
        dates: Day of each step of each sensor, datetime64[D] (T,); NaT where there is no image.
        labels: Class index of each step, uint8 (T,), or of the place, (1,), with "late".
        late: Whether the label is the place's.
    """

    name: str
    rows: Mapping[str, np.ndarray]
    dates: Mapping[str, np.ndarray]
    labels: np.ndarray
    late: bool = False

    @property
    def length(self) -> int:
        """Number of steps of the longest series."""
        return max(len(rows) for rows in self.rows.values())

    @property
    def first(self) -> np.datetime64:
        """Day of the first image of any sensor, datetime64[D]."""
        days = np.concatenate(list(self.dates.values()))
        return np.min(days[~np.isnat(days)])


def make(
    tables: Mapping[str, pd.DataFrame], fusion: str = "union", *, place: str = "place", label: str = "label"
) -> list[ImageSequence]:
    """Return the sequences of all places that have an image, in the order of their names.

    Args:
        tables: Sample table of the store of each sensor, with a column ``date``; row k of a table is row k of
            its store.
        fusion: One of :data:`FUSIONS`.
        place: Column with the name of the place.
        label: Column with the label of each image, 0 or 1; a step and a place have the highest of theirs.

    Raises:
        ParameterError: If the fusion is unknown.
    """
    check_known(fusion, FUSIONS, f"There is no fusion {fusion!r}")
    columns = {place: "place", label: "label", "date": "date"}
    renamed = {
        sensor: table[list(columns)].rename(columns=columns).reset_index(drop=True)
        for sensor, table in tables.items()
    }
    joined = partial(_joined, fusion=fusion) if fusion != "late" else _late
    every = pd.concat(renamed).reset_index(names=["sensor", "row"]).set_index("row")
    return [
        joined(name, {sensor: part[part["sensor"] == sensor] for sensor in tables})
        for name, part in every.groupby(every["place"].astype(str))
    ]


def of_split(
    sequences: Sequence[ImageSequence], tables: Mapping[str, pd.DataFrame], split: str
) -> list[ImageSequence]:
    """Return the sequences of a split.

    Args:
        sequences: Result of :func:`make`.
        tables: The tables that they were made of, whose column ``split`` names it.
        split: "train", "validation" or "test".
    """
    columns = {sensor: table["split"].to_numpy() for sensor, table in tables.items()}

    def of(sensor: str, rows: np.ndarray) -> str:
        """Return the split of the first image among some rows; empty where there is none."""
        seen = rows[rows >= 0]
        return str(columns[sensor][seen[0]]) if len(seen) else ""

    return [one for one in sequences if any(of(sensor, rows) == split for sensor, rows in one.rows.items())]


def padded(sequences: Sequence[ImageSequence], sensor: str, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows int64 (B, T), -1 where there is no image, and days float32 (B, T).

    Days are counted from the sequence's first image of any sensor: where all events of a data set are of one
    season, the date alone would tell much of the label.
    """
    rows = np.full((len(sequences), length), NO_ROW, np.int64)
    days = np.zeros((len(sequences), length), np.float32)
    for k, sequence in enumerate(sequences):
        own = sequence.rows[sensor]
        rows[k, : len(own)] = own
        since = (sequence.dates[sensor] - sequence.first).astype("timedelta64[D]")
        days[k, : len(own)] = np.where(own >= 0, since.astype(np.int64), 0)
    return rows, days


def padded_labels(sequences: Sequence[ImageSequence], length: int) -> np.ndarray:
    """Return labels uint8 (B, T), 255 where a sequence has no step any more."""
    labels = np.full((len(sequences), length), IGNORE, np.uint8)
    for k, sequence in enumerate(sequences):
        labels[k, : len(sequence.labels)] = sequence.labels
    return labels


def _days(part: pd.DataFrame) -> np.ndarray:
    return part["date"].to_numpy("datetime64[D]")


def _joined(name: Any, parts: Mapping[str, pd.DataFrame], fusion: str) -> ImageSequence:
    """Return one sequence of common steps; the label of a step is that of any sensor's image."""
    steps = _steps(parts, fusion)
    length = 1 + max(own.max(initial=-1) for own in steps.values())
    rows, dates, labels = {}, {}, np.zeros(length, np.uint8)
    for sensor, part in parts.items():
        step = steps[sensor]
        rows[sensor] = np.full(length, NO_ROW, np.int64)
        rows[sensor][step] = part.index
        dates[sensor] = np.full(length, "NaT", "datetime64[D]")
        dates[sensor][step] = _days(part)
        labels[step] |= part["label"].to_numpy(np.uint8)
    return ImageSequence(name, rows, dates, labels)


def _steps(parts: Mapping[str, pd.DataFrame], fusion: str) -> dict[str, np.ndarray]:
    """Return the step of each image of each sensor.

    With "pad" images are counted from the first one. With "union" each date has a step; of two images of a
    sensor on one day, the second makes its own step.
    """
    if fusion == "pad":
        return {sensor: np.arange(len(part)) for sensor, part in parts.items()}
    places = {
        sensor: pd.MultiIndex.from_arrays([part["date"], part.groupby("date").cumcount()])
        for sensor, part in parts.items()
    }
    timeline = pd.MultiIndex.from_tuples(sorted(set().union(*places.values())))
    return {sensor: timeline.get_indexer(own) for sensor, own in places.items()}


def _late(name: Any, parts: Mapping[str, pd.DataFrame]) -> ImageSequence:
    """Each series as it is; the label of the place is that of any image of any sensor."""
    return ImageSequence(
        name,
        {sensor: part.index.to_numpy(np.int64) for sensor, part in parts.items()},
        {sensor: _days(part) for sensor, part in parts.items()},
        np.array([any(part["label"].any() for part in parts.values())], np.uint8),
        late=True,
    )
