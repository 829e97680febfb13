"""What a copy of SEN12-FLOOD lists: sequences, their images by sensor and date, and the labels.

Two trees are published. In one, ``S1list.json`` and ``S2list.json`` beside the folders of the sequences hold a
block a sequence, and in it a block an image under the keys "1", "2", …; neither keys nor numbers follow the
dates. The other has collections, see :mod:`eolab.data.layouts.sen12flood_stac`. In both the name of a sequence tells
the official split: four digits for training, one or two for the test.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from eolab.core.errors import DataError
from eolab.data.layouts import sen12flood_stac as stac
from eolab.data.layouts.common import read_json, ring_of
from eolab.data.layouts.sen12flood_files import OPTICAL_BANDS, SENSORS, split_of

LISTS = {sensor: f"{sensor}list.json" for sensor in SENSORS}
POLARISATIONS = {"1SDV": ("VV", "VH"), "1SSV": ("VV",), "1SDH": ("HH", "HV"), "1SSH": ("HH",)}
"""Channels of a Sentinel-1 product by the part of its name that tells its mode."""

COLUMNS = [
    *("sequence", "published", "sensor", "number", "date", "flooded", "orbit", "full_coverage", "filename"),
    "channels",
]
_GET = "get the data set's index again, or give the folder that holds the whole of it"


def index(path: str | Path) -> pd.DataFrame:
    """Return the images that the lists or the collections name; no image is opened.

    Args:
        path: The folder with ``S1list.json``, ``S2list.json`` and the sequences; or that of the collections
            ``sen12floods_s1_source``, ``sen12floods_s1_labels`` and so on, the one above it with
            ``sen12flood``, or one source collection, for the images of its sensor alone.

    Returns:
        A row an entry, by sequence (numerically), sensor, date and number:

        ============= =============================================================================
        sequence         its name, such as "0063" or "5"
        published     "train" or "test": the official split
        sensor        "S1" or "S2"
        number        of the entry in its list, from 1; of a collection's, by date
        date          day of acquisition, datetime64
        flooded       whether a flood has been seen there up to that day
        orbit         "ASCENDING" or "DESCENDING" for S1, else empty; empty in collections
        full_coverage whether the image covers the whole sequence; True where nothing is said, as for S1
        filename      beginning of the files' names, empty where the list names no file; in collections the
                      item's folder below `path`
        channels      polarisations or bands that the file name or the item promises, joined by "+"
        ============= =============================================================================

        Collections have one item a sequence, sensor and date: of images of one day, such as the slices of a
        pass, they hold one, and the orbit does not tell which. They have no entries without a file either.

        ``attrs["rejected"]`` lists sequence, sensor, number and reason of entries that cannot be used.

    Raises:
        DataError: If the folder holds neither tree, or both, a list or ``collection.json`` is missing or
            damaged, or there is no image that can be used.
    """
    root = Path(path)
    kind = _tree(root)
    rows, rejected = [], []
    for row in stac.entries(root) if kind == "collections" else _listed(root):
        if "reason" in row:
            rejected.append({key: row[key] for key in ("sequence", "sensor", "number", "reason")})
        else:
            rows.append(row)
    if not rows:
        first = f" that can be used ({rejected[0]['reason']})" if rejected else ""
        raise DataError(f"{path} holds {kind} without a single image{first}: {_GET}.")
    table = pd.DataFrame(rows, columns=COLUMNS).astype({"date": "datetime64[ns]", "number": "int64"})
    table["place"] = table["sequence"].astype("int64") + 10_000 * (table["published"] == "test")
    table = table.sort_values(["place", "sensor", "date", "number"], ignore_index=True).drop(columns="place")
    table.attrs["rejected"] = rejected
    return table


def sequences(path: str | Path, table: pd.DataFrame) -> pd.DataFrame:
    """Return a row a sequence with its place and what is there of it.

    Args:
        path: Folder that :func:`index` takes.
        table: Result of :func:`index`.

    Returns:
        Indexed by sequence: published, longitude and latitude of the centre in degrees, ``ring`` (the corners in
        degrees, (5, 2)), and by sensor S1 and S2 the numbers of entries ``images_*``, of those with a file
        ``files_*``, and ``flooded_*``: whether any entry is flooded. The sensors have labels of their own: in
        some sequences the Sentinel-1 series ends before the flood.

    Raises:
        DataError: If a list is missing or damaged, or a sequence has no polygon.
    """
    root = Path(path)
    rings = _rings(root) if _tree(root) == "lists" else _outlines(root, table)
    found = table.groupby("sequence", sort=False)["published"].first().to_frame()
    found["ring"] = pd.Series(rings).reindex(found.index)
    centres = np.array([(ring.min(0) + ring.max(0)) / 2 for ring in found["ring"]])
    found["longitude"], found["latitude"] = centres.T
    for sensor in SENSORS:
        own = table[table["sensor"] == sensor]
        counts = {"images": own["sequence"], "files": own.loc[own["filename"] != "", "sequence"]}
        for name, named in counts.items():
            found[f"{name}_{sensor}"] = named.value_counts().reindex(found.index, fill_value=0)
        found[f"flooded_{sensor}"] = found.index.isin(own.loc[own["flooded"], "sequence"])
    return found


def strays(path: str | Path, named: Iterable[str]) -> list[tuple[str, str]]:
    """Return file and reason of each GeoTIFF of a copy of the data set that is not among those `named`."""
    root, known = Path(path), set(named)
    if _tree(root) == "collections":
        files, reason = stac.images_of(root), "is no file of an item that can be used"
    else:
        found = sorted(root.glob("*/*.tif"))
        files, reason = [file.relative_to(root).as_posix() for file in found], "is named by no list"
    return [(file, reason) for file in files if file not in known]


def _tree(root: Path) -> Literal["lists", "collections"]:
    """Return which published tree a folder holds.

    Raises:
        DataError: If it holds neither or both.
    """
    lists = [name for name in LISTS.values() if (root / name).is_file()]
    collections = stac.collections(root)
    if lists and collections:
        raise DataError(
            f"{root} holds both published trees, {lists[0]} and {collections[0].source.name}: move one away."
        )
    if lists or collections:
        return "lists" if lists else "collections"
    names = sorted(one.name for one in root.iterdir()) if root.is_dir() else []
    found = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    raise DataError(
        f"{root} holds no SEN12-FLOOD: expected {' beside '.join(LISTS.values())}, or sen12floods_s1_source "
        f"beside sen12floods_s1_labels, found {found or ('nothing' if root.is_dir() else 'no such folder')}; "
        "give the folder that holds them."
    )


def _listed(root: Path) -> Iterator[dict[str, Any]]:
    """Yield a row an image of both lists."""
    for sensor in SENSORS:
        yield from _entries(root / LISTS[sensor], sensor)


def _blocks(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the blocks of the sequences of a list."""
    content = read_json(file, _GET)
    if not all(isinstance(block, dict) for block in content.values()):
        raise DataError(f"{file} holds no blocks of sequences: expected a block a folder, {_GET}.")
    yield from content.items()


def _entries(file: Path, sensor: str) -> Iterator[dict[str, Any]]:
    """Yield a row an image of a list, or where it is from and the reason why it cannot be used."""
    for sequence, block in _blocks(file):
        where = {"sequence": sequence, "sensor": sensor}
        published = split_of(sequence)
        if not published:
            expected = "a folder of four digits (train), or of one or two (test)"
            yield where | {"number": 0, "reason": f"sequence {sequence!r} is not {expected}"}
            continue
        for key, entry in block.items():
            if key.isdecimal():
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
    if not isinstance(entry.get("FULL-DATA-COVERAGE", True), bool):
        return {"reason": f"has FULL-DATA-COVERAGE {entry['FULL-DATA-COVERAGE']!r}, expected true or false"}
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


def _rings(root: Path) -> dict[str, np.ndarray]:
    """Return the outline of each sequence of the lists."""
    rings: dict[str, np.ndarray] = {}
    for sensor in SENSORS:
        for sequence, block in _blocks(root / LISTS[sensor]):
            rings.setdefault(sequence, _ring(block, sequence, LISTS[sensor]))
    return rings


def _ring(block: dict[str, Any], sequence: str, file: str) -> np.ndarray:
    """Return the outline of a sequence, (corner, longitude and latitude) in degrees."""
    ring = ring_of(block.get("geo"))
    if ring is None:
        raise DataError(f"Sequence {sequence} of {file} has no polygon of longitudes and latitudes: {_GET}.")
    return ring


def _outlines(root: Path, table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the outline of each sequence of the collections, of its first item that has one."""
    rings: dict[str, np.ndarray] = {}
    for row in table.itertuples():
        if row.sequence not in rings and (ring := stac.outline(root / str(row.filename))) is not None:
            rings[str(row.sequence)] = ring
    for sequence in table["sequence"].unique():
        if sequence not in rings:
            raise DataError(f"Sequence {sequence} of {root} has no polygon or box in its stac.json files: {_GET}.")
    return rings
