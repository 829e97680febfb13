"""The other published tree of SEN12-FLOOD: its sequences as collections of STAC items.

Radiant MLHub and Source Cooperative have a folder a sequence, sensor and date, another for its label, and no
orbit; see :mod:`eolab.data.layouts.sen12flood_stac`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from eolab.data.bands import L2A_BANDS

_SUFFIX = {"S1": "_corrected_{}.tif", "S2": "_{}.tif"}


def rearrange(folder: Path) -> None:
    """Turn lists and sequences into collections; the files of the images are moved, not changed.

    An entry without a file becomes no item. Of the entries of a sequence and day the one with the lowest
    number becomes the item, and the files of the others are removed with those that no list names.

    Args:
        folder: With ``S1list.json``, ``S2list.json`` and a folder a sequence.
    """
    sequences: set[str] = set()
    for sensor in ("S1", "S2"):
        listed = folder / f"{sensor}list.json"
        blocks = json.loads(listed.read_text())
        names = [
            _write_items(folder, sensor, sequence, block, entry)
            for sequence, block in blocks.items()
            for entry in _first_of_each_day(block)
        ]
        for kind in ("source", "labels"):
            _write_collection(folder, sensor, kind, names)
        sequences |= set(blocks)
        listed.unlink()
    for sequence in sequences:
        shutil.rmtree(folder / sequence)


def _first_of_each_day(block: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the entries with a file, by number; of those of one day the first."""
    entries = [block[key] for key in sorted((key for key in block if key.isdigit()), key=int)]
    days: dict[str, dict[str, Any]] = {}
    for entry in entries:
        if "filename" in entry:
            days.setdefault(entry["date"], entry)
    return list(days.values())


def _write_items(
    folder: Path, sensor: str, sequence: str, block: dict[str, Any], entry: dict[str, Any]
) -> str:
    """Write the items of an image and of its label; return what both names end in."""
    name, file = f"{sequence}_{entry['date'].replace('-', '_')}", entry["filename"]
    channels = L2A_BANDS if sensor == "S2" else ("VV",) if "_1SSV_" in file else ("VV", "VH")
    item = _collection(folder, sensor, "source") / f"{_title(sensor, 'source')}_{name}"
    item.mkdir(parents=True)
    for channel in channels:
        image = folder / sequence / f"{file}{_SUFFIX[sensor].format(channel)}"
        if image.exists():
            image.rename(item / f"{channel}.tif")
    _write_stac(item, block["geo"], entry["date"], [f"{channel}.tif" for channel in channels])
    label = _collection(folder, sensor, "labels") / f"{_title(sensor, 'labels')}_{name}"
    label.mkdir(parents=True)
    said = [key for key in ("date", "FLOODING", "FULL-DATA-COVERAGE") if key in entry]
    properties = {key: str(entry[key]) for key in said}  # truth values as text, as published
    feature = {"type": "Feature", "geometry": block["geo"], "properties": properties}
    (label / "labels.geojson").write_text(json.dumps(feature))
    _write_stac(label, block["geo"], entry["date"], ["labels.geojson"])
    return name


def _write_stac(item: Path, polygon: dict[str, Any], date: str, files: list[str]) -> None:
    """Write the ``stac.json`` of an item, whose assets are named after the files."""
    longitudes, latitudes = zip(*polygon["coordinates"][0], strict=True)
    content = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": item.name,
        "bbox": [min(longitudes), min(latitudes), max(longitudes), max(latitudes)],
        "geometry": polygon,
        "properties": {"datetime": f"{date}T00:00:00+0000"},
        "links": [{"rel": "collection", "href": "../collection.json"}],
        "assets": {Path(file).stem: {"href": f"./{file}", "title": Path(file).stem} for file in files},
    }
    (item / "stac.json").write_text(json.dumps(content))


def _write_collection(folder: Path, sensor: str, kind: str, names: list[str]) -> None:
    """Write the ``collection.json`` that links the items."""
    title = _title(sensor, kind)
    links = [{"rel": "item", "href": f"./{title}_{name}/stac.json"} for name in names]
    content = {"type": "Collection", "stac_version": "1.0.0", "id": title, "links": links}
    home = _collection(folder, sensor, kind)
    home.mkdir(parents=True, exist_ok=True)
    (home / "collection.json").write_text(json.dumps(content))


def _collection(folder: Path, sensor: str, kind: str) -> Path:
    """Return the folder of a collection, which is doubled."""
    return folder / _title(sensor, kind) / _title(sensor, kind)


def _title(sensor: str, kind: str) -> str:
    return f"sen12floods_{sensor.lower()}_{kind}"
