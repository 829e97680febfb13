"""What the index files of SEN12-FLOOD list: scenes, their images by sensor and date, and the labels.

``S1list.json`` and ``S2list.json`` beside the folders of the scenes hold a block a scene, and in it a block
an image under the keys "1", "2", …; neither keys nor numbers follow the dates. The folder's name tells the
official split: four digits for training, one or two for the test.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eolab.bands import L2A_BANDS
from eolab.errors import DataError

SENSORS = ("S1", "S2")
LISTS = {sensor: f"{sensor}list.json" for sensor in SENSORS}
OPTICAL_BANDS = L2A_BANDS
POLARISATIONS = {"1SDV": ("VV", "VH"), "1SSV": ("VV",), "1SDH": ("HH", "HV"), "1SSH": ("HH",)}
"""Channels of a Sentinel-1 product by the part of its name that tells its mode."""

COLUMNS = [
    *("scene", "published", "sensor", "number", "date", "flooded", "orbit", "full_coverage", "filename"),
    "channels",
]
_GET = "get the data set's list again, or give the folder that holds both lists"


def index(path: str | Path) -> pd.DataFrame:
    """Return the images that the lists name; no image is opened.

    Args:
        path: The folder with ``S1list.json``, ``S2list.json`` and the scenes.

    Returns:
        A row an entry, by scene (numerically), sensor, date and number:

        ============= =============================================================================
        scene         name of the folder, such as "0063" or "5"
        published     "train" or "test": the official split
        sensor        "S1" or "S2"
        number        of the entry in its list, from 1
        date          day of acquisition, datetime64
        flooded       whether a flood has been seen there up to that day
        orbit         "ASCENDING" or "DESCENDING" for S1, else empty
        full_coverage whether the image covers the whole scene; only S2 says so, True for S1
        filename      beginning of the files' names; empty where the list names no file
        channels      polarisations or bands that the file name promises, joined by "+"
        ============= =============================================================================

        ``attrs["rejected"]`` lists scene, sensor, number and reason of entries that cannot be used.

    Raises:
        DataError: If a list is missing or damaged, or holds no scene.
    """
    rows, rejected = [], []
    for sensor in SENSORS:
        for row in _entries(Path(path) / LISTS[sensor], sensor):
            if "reason" in row:
                rejected.append(row)
            else:
                rows.append(row)
    if not rows:
        raise DataError(f"{path} holds lists without a single image: {_GET}.")
    table = pd.DataFrame(rows, columns=COLUMNS).astype({"date": "datetime64[ns]", "number": "int64"})
    table["place"] = table["scene"].astype("int64") + 10_000 * (table["published"] == "test")
    table = table.sort_values(["place", "sensor", "date", "number"], ignore_index=True).drop(columns="place")
    table.attrs["rejected"] = rejected
    return table


def scenes(path: str | Path, table: pd.DataFrame) -> pd.DataFrame:
    """Return a row a scene with its place and what is there of it.

    Args:
        path: The folder with the lists.
        table: Result of :func:`index`.

    Returns:
        Indexed by scene: published, longitude and latitude of the centre in degrees, ``ring`` (the corners in
        degrees, (5, 2)), and by sensor S1 and S2 the numbers of entries ``images_*``, of those with a file
        ``files_*``, and ``flooded_*``: whether any entry is flooded. The sensors have labels of their own: in
        some scenes the Sentinel-1 series ends before the flood.

    Raises:
        DataError: If a list is missing or damaged, or has a scene without a polygon.
    """
    rings: dict[str, np.ndarray] = {}
    for sensor in SENSORS:
        for scene, block in _blocks(Path(path) / LISTS[sensor]):
            rings.setdefault(scene, _ring(block, scene, LISTS[sensor]))
    found = table.groupby("scene", sort=False)["published"].first().to_frame()
    found["ring"] = pd.Series(rings).reindex(found.index)
    centres = np.array([(ring.min(0) + ring.max(0)) / 2 for ring in found["ring"]])
    found["longitude"], found["latitude"] = centres.T
    for sensor in SENSORS:
        own = table[table["sensor"] == sensor].groupby("scene")
        counts: dict[str, pd.Series] = {
            f"images_{sensor}": own.size(),
            f"files_{sensor}": own["filename"].agg(lambda names: int((names != "").sum())),
            f"flooded_{sensor}": own["flooded"].any(),
        }
        for name, values in counts.items():
            found[name] = values.reindex(found.index, fill_value=False if "flooded" in name else 0)
    return found


def _blocks(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the blocks of the scenes of a list."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}): {_GET}.") from None
    except ValueError as error:
        raise DataError(f"{file} is no whole JSON file ({error}): {_GET}.") from None
    if not isinstance(content, dict) or not all(isinstance(block, dict) for block in content.values()):
        raise DataError(f"{file} holds no blocks of scenes: expected a block a folder, {_GET}.")
    yield from content.items()


def _entries(file: Path, sensor: str) -> Iterator[dict[str, Any]]:
    """Yield a row an image of a list, or where it is from and the reason why it cannot be used."""
    for scene, block in _blocks(file):
        where = {"scene": scene, "sensor": sensor}
        if not scene.isdigit():
            yield where | {"number": 0, "reason": f"scene {scene!r} is no folder of digits"}
            continue
        published = "train" if len(scene) == 4 else "test"
        for key, entry in block.items():
            if key.isdigit():
                yield where | {"published": published, "number": int(key)} | _facts(entry, sensor)


def _facts(entry: Any, sensor: str) -> dict[str, Any]:
    """Return what an entry says, or the reason why it cannot be used."""
    if not isinstance(entry, dict):
        return {"reason": "is no block with date and label"}
    try:
        date = datetime.strptime(str(entry.get("date")), "%Y-%m-%d")
    except ValueError:
        return {"reason": f"has the date {entry.get('date')!r}, expected such as 2019-01-24"}
    if not isinstance(entry.get("FLOODING"), bool):
        return {"reason": f"has the label FLOODING {entry.get('FLOODING')!r}, expected true or false"}
    name, orbit = entry.get("filename", ""), entry.get("orbit", "")
    if not isinstance(name, str) or not isinstance(orbit, str):
        return {"reason": f"has the filename {name!r} and the orbit {orbit!r}, expected text"}
    return {
        "date": date,
        "flooded": entry["FLOODING"],
        "orbit": orbit,
        "full_coverage": entry.get("FULL-DATA-COVERAGE", True),
        "filename": name,
        "channels": "+".join(channels_of(name, sensor)),
    }


def channels_of(filename: str, sensor: str) -> tuple[str, ...]:
    """Return the polarisations or bands that a file name promises; none for an empty name.

    Sentinel-1's names hold the mode: ``1SDV`` has VV and VH, ``1SSV`` has no VH, so no such file can exist.
    """
    if not filename:
        return ()
    if sensor == "S2":
        return OPTICAL_BANDS
    parts = filename.split("_")
    return POLARISATIONS.get(parts[3] if len(parts) > 3 else "", POLARISATIONS["1SDV"])


def _ring(block: dict[str, Any], scene: str, file: str) -> np.ndarray:
    """Return the outline of a scene, (corner, longitude and latitude) in degrees."""
    try:
        ring = np.array(block["geo"]["coordinates"][0], dtype=np.float64)
    except (KeyError, IndexError, TypeError, ValueError):
        ring = np.empty(0)
    if ring.ndim != 2 or ring.shape[1] != 2 or len(ring) < 4:
        raise DataError(f"Scene {scene} of {file} has no polygon of longitudes and latitudes: {_GET}.")
    return ring
