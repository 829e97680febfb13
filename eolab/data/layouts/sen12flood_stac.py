"""SEN12-FLOOD as collections of items: the tree of Radiant MLHub and Source Cooperative.

An image and its label are an item each, a folder that is named after sequence and date. The items of a sensor
lie in a collection, whose folder is mostly doubled::

    sen12flood/sen12floods_s1_source/sen12floods_s1_source/collection.json
    sen12flood/sen12floods_s1_source/sen12floods_s1_source/sen12floods_s1_source_0140_2019_03_13/
        VV.tif VH.tif stac.json
    sen12flood/sen12floods_s1_labels/sen12floods_s1_labels/sen12floods_s1_labels_0140_2019_03_13/
        labels.geojson stac.json

Which images there are is said by the links to items of ``collection.json`` in the source collection; where it
is missing or links none, by the names of the folders. The label of an image is the one of its name, and no
other is looked for. Of ``stac.json`` the names of the assets are read, which are channels, and the place.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from eolab.core.errors import DataError
from eolab.data.layouts.common import read_json, ring_of
from eolab.data.layouts.sen12flood_files import ITEM, OPTICAL_BANDS, SENSORS, split_of

HOME = "sen12flood"
CHANNELS = {"S1": ("VV", "VH", "HH", "HV"), "S2": OPTICAL_BANDS}
_KINDS = ("source", "labels")
_NAMES = {f"{ITEM}{sensor.lower()}_{kind}" for sensor in SENSORS for kind in _KINDS}
_PLACE = re.compile(r"([0-9]{4}|[0-9]{1,2})_(20[0-9]{2}_[0-9]{2}_[0-9]{2})")
_AGAIN = "get it again, or remove it, then the folders of the items count"


@dataclass(frozen=True)
class Collection:
    """The images of a sensor.

    Attributes:
        sensor: "S1" or "S2".
        source: Folder of their items.
        labels: Folder of the items of their labels.
    """

    sensor: str
    source: Path
    labels: Path


def collections(root: str | Path) -> list[Collection]:
    """Return the collections of images below a folder; none where it does not hold this tree.

    Args:
        root: The folder with the collections, one with ``sen12flood`` in it, or the folder of one source
            collection, whose labels are then taken from beside it.
    """
    root = Path(root).absolute()
    home = root
    while home.name in _NAMES:
        home = home.parent
    for base in (home, root / HOME):
        all_of = [Collection(sensor, *(_folder(base, sensor, kind) for kind in _KINDS)) for sensor in SENSORS]
        found = [one for one in all_of if one.source.is_dir() and one.source.is_relative_to(root)]
        if found:
            return found
    return []


def entries(root: str | Path) -> Iterator[dict[str, Any]]:
    """Yield a row an item of the index, or where it is from and the reason why it cannot be used.

    Raises:
        DataError: If a ``collection.json`` is damaged.
    """
    for collection in collections(root):
        yield from _entries(Path(root).absolute(), collection)


def images_of(root: str | Path) -> list[str]:
    """Return the names below the folder of all GeoTIFFs of the source collections."""
    files = [file for one in collections(root) for file in sorted(one.source.glob("*/*.tif"))]
    return [file.relative_to(Path(root).absolute()).as_posix() for file in files]


def outline(item: Path) -> np.ndarray | None:
    """Return the corners of an item from the polygon or else the box of its ``stac.json``.

    Returns:
        (corner, longitude and latitude) in degrees, the first again as the last; None where it says neither.
    """
    stac = _read(item / "stac.json")
    ring = ring_of(stac.get("geometry"))
    if ring is not None:
        return ring
    try:
        box = np.array(stac["bbox"], dtype=np.float64)
    except (KeyError, TypeError, ValueError):
        return None
    if box.shape != (4,) or not np.isfinite(box).all():
        return None
    west, south, east, north = box
    return np.array([[west, north], [west, south], [east, south], [east, north], [west, north]])


def _folder(base: Path, sensor: str, kind: str) -> Path:
    """Return the folder of a collection, the inner one where it is doubled."""
    name = f"{ITEM}{sensor.lower()}_{kind}"
    inner = base / name / name
    return inner if inner.is_dir() else base / name


def _entries(root: Path, collection: Collection) -> Iterator[dict[str, Any]]:
    """Yield a row an item of a collection; numbers follow the dates of a sequence."""
    sensor = collection.sensor
    prefix, numbers = f"{ITEM}{sensor.lower()}_source_", Counter[str]()
    for name in _items(collection.source, prefix):
        place = _place(name.removeprefix(prefix)) if name.startswith(prefix) else None
        if place is None:
            reason = f"item {name!r} has another name than {prefix}0140_2019_03_13, with its sequence and date"
            yield {"sequence": name, "sensor": sensor, "number": 0, "reason": reason}
            continue
        sequence, date = place
        published = split_of(sequence)
        numbers[sequence] += 1
        where = {"sequence": sequence, "sensor": sensor, "number": numbers[sequence]}
        item, label = collection.source / name, collection.labels / name.replace("_source_", "_labels_")
        try:
            facts = _facts(item, label, sensor)
        except DataError as error:
            yield where | {"reason": str(error)}
            continue
        if not published:
            yield where | {"reason": f"sequence {sequence!r} has neither four digits (train) nor one or two (test)"}
            continue
        own = {"published": published, "date": date, "filename": item.relative_to(root).as_posix()}
        yield where | own | facts


def _items(source: Path, prefix: str) -> list[str]:
    """Return the names of the items that a collection links, or else of the folders that are there."""
    file = source / "collection.json"
    try:
        links = _read(file).get("links") if file.exists() else []
    except DataError as error:
        raise DataError(f"{source.parent}/{error}: {_AGAIN}.") from None
    every = links if isinstance(links, list) else []
    linked = [link for link in every if isinstance(link, dict) and link.get("rel") == "item"]
    if linked:
        return sorted({_linked_name(str(link.get("href"))) for link in linked})
    return sorted(one.name for one in source.iterdir() if one.name.startswith(prefix) and one.is_dir())


def _linked_name(address: str) -> str:
    """Return the folder that a link such as ``./NAME/stac.json`` leads to; nothing else of it is followed."""
    *before, last = address.rstrip("/").split("/")
    return before[-1] if before and last.endswith(".json") else last


def _place(text: str) -> tuple[str, datetime] | None:
    """Return the sequence and the date that an item's name ends in; None where it does not."""
    match = _PLACE.fullmatch(text)
    try:
        return (match[1], datetime.strptime(match[2], "%Y_%m_%d")) if match else None
    except ValueError:
        return None


def _facts(item: Path, label: Path, sensor: str) -> dict[str, Any]:
    """Return what an item and its label say.

    Raises:
        DataError: If it cannot be used.
    """
    channels = _channels(item, sensor)
    properties = _read(label / "labels.geojson").get("properties")
    said = properties if isinstance(properties, dict) else {}
    return {
        "flooded": _truth(said.get("FLOODING"), "FLOODING", label),
        "orbit": "",
        "full_coverage": _truth(said.get("FULL-DATA-COVERAGE", True), "FULL-DATA-COVERAGE", label),
        "channels": "+".join(channels),
    }


def _channels(item: Path, sensor: str) -> list[str]:
    """Return the channels that an item promises, or where it names none, those that have a file.

    Raises:
        DataError: If its ``stac.json`` is damaged, or no channel has a file.
    """
    known, assets = CHANNELS[sensor], _read(item / "stac.json").get("assets")
    there = [channel for channel in known if (item / f"{channel}.tif").is_file()]
    if not there:
        raise DataError(f"{item.name} holds no image, expected files such as {known[0]}.tif")
    return [channel for channel in known if isinstance(assets, dict) and channel in assets] or there


def _truth(value: Any, name: str, label: Path) -> bool:
    """Return a truth value that is written as one or as text: of the text "False" Python makes True."""
    found = {"true": True, "false": False}.get(str(value).strip().lower())
    if found is None:
        raise DataError(f"{label.name} has the label {name} {value!r}, expected True or False")
    return found


def _read(file: Path) -> dict[str, Any]:
    """Return the block of a JSON file, which errors name by its folder."""
    return read_json(file, name=f"{file.parent.name}/{file.name}")
