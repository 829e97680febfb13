"""SEN12-FLOOD as Radiant MLHub and Source Cooperative publish it, made of a copy with lists."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from eolab.data.bands import L2A_BANDS
from eolab.data.layouts.sen12flood_index import LISTS, SUFFIX


def collect(folder: Path) -> Path:
    """Turn a twin of the lists into collections; return its folder."""
    for sensor, file in LISTS.items():
        blocks = json.loads((folder / file).read_text())
        _collect(folder, sensor, blocks)
        (folder / file).unlink()
    for sequence in blocks:
        shutil.rmtree(folder / sequence)
    return folder


def _collect(folder: Path, sensor: str, blocks: dict[str, Any]) -> None:
    """Turn the sequences of a sensor into collections; the files of the images are moved, not changed.

    Radiant MLHub and Source Cooperative have a folder a sequence, sensor and date, another for its label, and
    no orbit; see :mod:`eolab.data.layouts.sen12flood_index`. An entry without a file becomes no item. Of the
    entries of a sequence and day the one with the lowest number becomes the item, and the files of the others
    are left with those that no list names.

    Args:
        folder: With a folder a sequence.
        sensor: ``S1`` or ``S2``.
        blocks: What its list says of each sequence.
    """
    titles = [f"sen12floods_{sensor.lower()}_{kind}" for kind in ("source", "labels")]
    source, labels = (folder / title / title for title in titles)  # published doubled
    names = []
    for sequence, block in blocks.items():
        for entry in _first_of_each_day(block):
            names.append(f"{sequence}_{entry['date'].replace('-', '_')}")
            item, label = (home / f"{home.name}_{names[-1]}" for home in (source, labels))
            _write_items(folder / sequence, item, label, block["geo"], entry)
    for home in (source, labels):
        links = [{"rel": "item", "href": f"./{home.name}_{name}/stac.json"} for name in names]
        content = {"type": "Collection", "stac_version": "1.0.0", "id": home.name, "links": links}
        home.mkdir(parents=True, exist_ok=True)
        (home / "collection.json").write_text(json.dumps(content))


def _first_of_each_day(block: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the entries with a file, by number; of those of one day the first."""
    entries = [block[key] for key in sorted((key for key in block if key.isdigit()), key=int)]
    days: dict[str, dict[str, Any]] = {}
    for entry in entries:
        if "filename" in entry:
            days.setdefault(entry["date"], entry)
    return list(days.values())


def _write_items(
    images: Path, item: Path, label: Path, polygon: dict[str, Any], entry: dict[str, Any]
) -> None:
    """Write the item of an image, with its files, and that of its label."""
    file = entry["filename"]
    channels = L2A_BANDS if file.startswith("S2") else ("VV",) if "_1SSV_" in file else ("VV", "VH")
    item.mkdir(parents=True)
    for channel in channels:
        image = images / f"{file}{SUFFIX[file[:2]].format(channel)}"
        if image.exists():
            image.rename(item / f"{channel}.tif")
    _write_stac(item, polygon, entry["date"], [f"{channel}.tif" for channel in channels])
    label.mkdir(parents=True)
    said = [key for key in ("date", "FLOODING", "FULL-DATA-COVERAGE") if key in entry]
    properties = {key: str(entry[key]) for key in said}  # truth values as text, as published
    feature = {"type": "Feature", "geometry": polygon, "properties": properties}
    (label / "labels.geojson").write_text(json.dumps(feature))
    _write_stac(label, polygon, entry["date"], ["labels.geojson"])


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
