"""How the images of both sensors become the steps of one scene.

====== ================================================================================================
pad    Both series side by side, image by image whatever their dates, zero-padded to one length, and the
       labels too: as in the report. Step k has the k-th image of each sensor.
union  One timeline of all dates: each step has the images of its day, with a mask for what was not seen.
late   Each sensor has a series of its own; the scene has one label.
====== ================================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from eolab.core.errors import ParameterError, did_you_mean
from eolab.data.layouts.sen12flood import SENSORS
from eolab.data.schemes import IGNORE
from eolab.data.store import Store
from eolab.studies.flood.views import SensorView

JOINS = ("pad", "union", "late")
NO_ROW = -1


@dataclass(frozen=True)
class Timeline:
    """The steps of a scene.

    Attributes:
        scene: Its name.
        rows: Row of the store of each sensor at each step, -1 where there is none; int64 (T,). With "late"
            the sensors have lengths of their own.
        dates: Day of each step of each sensor, datetime64[D] (T,); NaT where there is no image.
        labels: 0 dry, 1 flooded, uint8 (T,), or (1,) for the scene with "late".
        late: Whether the label is the scene's.
    """

    scene: str
    rows: Mapping[str, np.ndarray]
    dates: Mapping[str, np.ndarray]
    labels: np.ndarray
    late: bool = False

    @property
    def length(self) -> int:
        """Number of steps of the longer series."""
        return max(len(rows) for rows in self.rows.values())

    @property
    def first(self) -> np.datetime64:
        """Day of the first image of any sensor, datetime64[D]."""
        days = np.concatenate(list(self.dates.values()))
        return np.min(days[~np.isnat(days)])


def make_timelines(tables: Mapping[str, pd.DataFrame], join: str = "union") -> list[Timeline]:
    """Return the timelines of all scenes that have an image, in the order of their names.

    Args:
        tables: Sample table of the store of each sensor that is used, "S1", "S2" or both; row k of a table
            is row k of its store.
        join: One of :data:`JOINS`.

    Raises:
        ParameterError: If the join or a sensor is unknown.
    """
    if join not in JOINS:
        raise ParameterError(f"There is no join {join!r}: {did_you_mean(join, JOINS)}")
    for sensor in tables:
        if sensor not in SENSORS:
            raise ParameterError(f"There is no sensor {sensor!r}: {did_you_mean(sensor, SENSORS)}")
    series = {
        sensor: {str(scene): part for scene, part in table.reset_index(drop=True).groupby("scene")}
        for sensor, table in tables.items()
    }
    scenes = sorted({scene for parts in series.values() for scene in parts})
    make = {"pad": _pad, "union": _union, "late": _late}[join]
    empty = {sensor: table.iloc[:0] for sensor, table in tables.items()}
    return [
        make(scene, {sensor: parts.get(scene, empty[sensor]) for sensor, parts in series.items()})
        for scene in scenes
    ]


def timelines_of(views: Mapping[str, SensorView | Store], split: str, join: str) -> list[Timeline]:
    """Return the scenes of a split; column ``split`` of the tables names it.

    Args:
        views: Store of each sensor, or what is read of it.
        split: "train", "validation" or "test".
        join: See :func:`eolab.studies.flood.timelines.make_timelines`.
    """
    tables = {sensor: view.table.reset_index(drop=True) for sensor, view in views.items()}
    return [
        line
        for line in make_timelines(tables, join)
        if any(_split(tables[sensor], rows) == split for sensor, rows in line.rows.items())
    ]


def _split(table: pd.DataFrame, rows: np.ndarray) -> str:
    """Return the split of the first image among some rows; empty where there is none."""
    seen = rows[rows >= 0]
    return str(table["split"].iloc[seen[0]]) if len(seen) else ""


def _days(part: pd.DataFrame) -> np.ndarray:
    return part["date"].to_numpy("datetime64[D]")


def _pad(scene: str, parts: Mapping[str, pd.DataFrame]) -> Timeline:
    """Both series from their first image on; the label of a step is that of either sensor's image."""
    length = max(len(part) for part in parts.values())
    rows, dates, labels = {}, {}, np.zeros(length, np.uint8)
    for sensor, part in parts.items():
        count, days = len(part), np.full(length, "NaT", "datetime64[D]")
        days[:count] = _days(part)
        rows[sensor] = np.pad(part.index.to_numpy(np.int64), (0, length - count), constant_values=NO_ROW)
        dates[sensor] = days
        labels[:count] |= part["flooded"].to_numpy(np.uint8)
    return Timeline(scene, rows, dates, labels)


def _union(scene: str, parts: Mapping[str, pd.DataFrame]) -> Timeline:
    """All dates of all sensors once; of two images of a sensor on one day, the second makes its own step."""
    marked = [part.assign(turn=part.groupby("date").cumcount()) for part in parts.values()]
    every = pd.concat([part[["date", "turn", "flooded"]] for part in marked])
    steps = every.groupby(["date", "turn"])["flooded"].any().reset_index()
    place = pd.MultiIndex.from_frame(steps[["date", "turn"]])
    rows, dates = {}, {}
    for sensor, part in zip(parts, marked, strict=True):
        found = np.full(len(steps), NO_ROW, np.int64)
        found[place.get_indexer(pd.MultiIndex.from_frame(part[["date", "turn"]]))] = part.index
        rows[sensor] = found
        dates[sensor] = np.where(found >= 0, _days(steps), np.datetime64("NaT"))
    return Timeline(scene, rows, dates, steps["flooded"].to_numpy(np.uint8))


def _late(scene: str, parts: Mapping[str, pd.DataFrame]) -> Timeline:
    """Each series as it is; the scene is flooded if any image of any sensor is."""
    return Timeline(
        scene,
        {sensor: part.index.to_numpy(np.int64) for sensor, part in parts.items()},
        {sensor: _days(part) for sensor, part in parts.items()},
        np.array([any(part["flooded"].any() for part in parts.values())], np.uint8),
        late=True,
    )


def padded(timelines: list[Timeline], sensor: str, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows int64 (B, T), -1 where there is no image, and days float32 (B, T).

    Days are counted from the scene's first image of any sensor: all floods of the data set are of one season,
    and who is told the date knows much of the answer without an image.
    """
    rows = np.full((len(timelines), length), NO_ROW, np.int64)
    days = np.zeros((len(timelines), length), np.float32)
    for k, timeline in enumerate(timelines):
        own = timeline.rows[sensor]
        rows[k, : len(own)] = own
        since = (timeline.dates[sensor] - timeline.first).astype("timedelta64[D]")
        days[k, : len(own)] = np.where(own >= 0, since.astype(np.int64), 0)
    return rows, days


def padded_labels(timelines: list[Timeline], length: int) -> np.ndarray:
    """Return labels uint8 (B, T), 255 where a scene has no step any more."""
    labels = np.full((len(timelines), length), IGNORE, np.uint8)
    for k, timeline in enumerate(timelines):
        labels[k, : len(timeline.labels)] = timeline.labels
    return labels
