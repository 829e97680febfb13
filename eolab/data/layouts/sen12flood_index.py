"""What a copy of SEN12-FLOOD lists: sequences, their images by sensor and date, and the labels.

Two trees are published. In both the name of a sequence tells the official split: four digits for training,
one or two for the test. In the tree of IEEE DataPort, ``S1list.json`` and ``S2list.json`` beside the folders
of the sequences hold a block a sequence, and in it a block an image under the keys "1", "2", …; neither keys
nor numbers follow the dates.

In the tree of Radiant MLHub and Source Cooperative an image and its label are an item each, a folder that is
named after sequence and date. The items of a sensor lie in a collection, whose folder is mostly doubled::

    sen12flood/sen12floods_s1_source/sen12floods_s1_source/collection.json
    sen12flood/sen12floods_s1_source/sen12floods_s1_source/sen12floods_s1_source_0140_2019_03_13/
        VV.tif VH.tif stac.json
    sen12flood/sen12floods_s1_labels/sen12floods_s1_labels/sen12floods_s1_labels_0140_2019_03_13/
        labels.geojson stac.json

Which images there are is said by the links to items of ``collection.json`` in the source collection; where it
is missing or links none, by the names of the folders. The label of an image is the one of its name, and no
other is looked for. ``stac.json`` gives the names of the assets, which are channels, and the place.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from eolab.core.errors import DataError
from eolab.data.bands import L2A_BANDS
from eolab.data.layouts.common import lies_instead, read_date, read_json, ring_of

SENSORS = ("S1", "S2")
OPTICAL_BANDS = L2A_BANDS
LISTS = {sensor: f"{sensor}list.json" for sensor in SENSORS}
SUFFIX = {"S1": "_corrected_{}.tif", "S2": "_{}.tif"}
POLARISATIONS = {"1SDV": ("VV", "VH"), "1SSV": ("VV",), "1SDH": ("HH", "HV"), "1SSH": ("HH",)}
"""Channels of a Sentinel-1 product by the part of its name that tells its mode."""

ITEM = "sen12floods_"
"""Beginning of the name of an image's folder in the collections; there a file is named by its channel."""

CHANNELS = {"S1": ("VV", "VH", "HH", "HV"), "S2": OPTICAL_BANDS}
COLUMNS = [
    *("sequence", "published", "sensor", "number", "date", "flooded", "orbit", "full_coverage", "filename"),
    "channels",
]
_COLLECTIONS = {
    sensor: [f"{ITEM}{sensor.lower()}_{kind}" for kind in ("source", "labels")] for sensor in SENSORS
}
_PLACE = r"([0-9]{4}|[0-9]{1,2})_(20[0-9]{2}_[0-9]{2}_[0-9]{2})"
_PACIFIC = 160.0  # degrees from which on sequences at both sides of 180 are neighbours
_GET = "get the data set's index again, or give the folder that holds the whole of it"
_AGAIN = "get it again, or move it away, then the folders of the items count"

Entry = tuple[dict[str, Any], Callable[[], dict[str, Any]]]
"""Sequence, sensor and number of an image, and the function that reads what is said of it."""


def index(path: str | Path, stated: Mapping[str, float] | None = None) -> pd.DataFrame:
    """Return the images that the lists or the collections name; no image is opened.

    Args:
        path: The folder with ``S1list.json``, ``S2list.json`` and the sequences; or that of the collections
            ``sen12floods_s1_source``, ``sen12floods_s1_labels`` and so on, the one above it with
            ``sen12flood``, or one source collection, for the images of its sensor alone.
        stated: Block ``pixels`` of the catalogue's entry, which goes before what files state: nodata of all
            files, scale and offset of Sentinel-2's.

    Returns:
        A row an entry, by sequence (numerically), sensor, date and number:

        ============= =============================================================================
        sequence      its name, such as "0063" or "5"
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
        stated        what the catalogue states of the numbers in the files, as JSON
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
    for where, read in _items(root.absolute()) if kind == "collections" else _entries(root):
        try:
            rows.append(where | read())
        except DataError as error:
            rejected.append(where | {"reason": str(error)})
    if not rows:
        first = f" that can be used ({rejected[0]['reason']})" if rejected else ""
        raise DataError(f"{path} holds {kind} without a single image{first}: {_GET}.")
    table = pd.DataFrame(rows, columns=COLUMNS).astype({"date": "datetime64[ns]", "number": "int64"})
    table["place"] = table["sequence"].astype("int64") + 10_000 * (table["published"] == "test")
    table = table.sort_values(["place", "sensor", "date", "number"], ignore_index=True).drop(columns="place")
    table["stated"] = json.dumps(dict(stated or {}))
    table.attrs["rejected"] = rejected
    return table


def sequences(path: str | Path, table: pd.DataFrame) -> pd.DataFrame:
    """Return a row a sequence with its place and what is there of it.

    Args:
        path: Folder that :func:`index` takes.
        table: Result of :func:`index`.

    Returns:
        Indexed by sequence: published, longitude and latitude of the centre in degrees, ``ring`` (the corners
        in degrees, (5, 2); where sequences lie at both sides of 180 degrees, what is behind it is above 180),
        and by sensor S1 and S2 the numbers of entries ``images_*``, of those with a file
        ``files_*``, and ``flooded_*``: whether any entry is flooded. The sensors have labels of their own: in
        some sequences the Sentinel-1 series ends before the flood.

    Raises:
        DataError: If a list is missing or damaged, or a sequence has no polygon.
    """
    found = table.groupby("sequence", sort=False)["published"].first().to_frame()
    rings = table.groupby("sequence")["ring"].first() if "ring" in table else _rings(Path(path), table)
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


def files_of(root: str | Path, image: Any) -> dict[str, Path]:
    """Return the file of each channel that an image should have.

    Args:
        root: The folder with the lists or the collections.
        image: A row of :func:`index`, or of a table with a column ``files``: the file of each channel below
            the folder, as JSON.
    """
    if hasattr(image, "files"):
        return {channel: Path(root) / file for channel, file in json.loads(image.files).items()}
    suffix = "/{}.tif" if _is_item(image) else SUFFIX[image.sensor]
    channels = image.channels.split("+") if image.channels else []
    return {channel: Path(root) / f"{stem_of(image)}{suffix.format(channel)}" for channel in channels}


def stem_of(image: Any) -> str:
    """Return the beginning of the names of an image's files, below the folder of the data set."""
    if _is_item(image) or hasattr(image, "files"):
        return str(image.filename)
    return f"{image.sequence}/{image.filename}"


def _is_item(image: Any) -> bool:
    return image.filename.rpartition("/")[2].startswith(ITEM)


def strays(path: str | Path, named: Iterable[str]) -> list[tuple[str, str]]:
    """Return file and reason of each GeoTIFF of a copy of the data set that is not among those `named`."""
    root, known = Path(path).absolute(), set(named)
    folders, reason = [root], "is named by no list"
    if _tree(root) == "collections":
        folders = [source for _, source, _ in collections(root)]
        reason = "is no file of an item that can be used"
    files = [file.relative_to(root).as_posix() for one in folders for file in sorted(one.glob("*/*.tif"))]
    return [(file, reason) for file in files if file not in known]


def _tree(root: Path) -> Literal["lists", "collections"]:
    """Return which published tree a folder holds.

    Raises:
        DataError: If it holds neither or both.
    """
    lists = [name for name in LISTS.values() if (root / name).is_file()]
    sources = [source.name for _, source, _ in collections(root)]
    if lists and sources:
        raise DataError(f"{root} holds both published trees, {lists[0]} and {sources[0]}: move one away.")
    if lists or sources:
        return "lists" if lists else "collections"
    expected = (*LISTS.values(), "sen12floods_s1_source")
    raise DataError(
        f"{root} holds no SEN12-FLOOD: expected {' beside '.join(LISTS.values())}, or sen12floods_s1_source "
        f"beside sen12floods_s1_labels, {lies_instead(root, *expected)}."
    )


def _split_of(sequence: str) -> str:
    """Return the published split of a sequence by the name of its folder.

    Raises:
        DataError: If it is no name of a sequence.
    """
    size = len(sequence) if sequence.isascii() and sequence.isdecimal() else 0
    if size not in (1, 2, 4):
        expected = "a folder of four digits (train), or of one or two (test)"
        raise DataError(f"sequence {sequence!r} is not {expected}")
    return "train" if size == 4 else "test"


def _truth(said: dict[str, Any], name: str, default: Any = None, label: str = "") -> bool:
    """Return a truth value of an image.

    Args:
        said: What is said of the image.
        name: Name of the value.
        default: The value where nothing is said.
        label: Folder of the label. There the value may be text too: of the text "False" Python makes True.

    Raises:
        DataError: If it is none.
    """
    value = said.get(name, default)
    words = {"true": True, "false": False} if label or isinstance(value, bool) else {}
    found = words.get(str(value).strip().lower())
    if found is None:
        raise DataError(f"{label} has the label {name} {value!r}, expected True or False".lstrip())
    return found


def _rings(root: Path, table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the outline of each sequence: of its first list or item that has one.

    Raises:
        DataError: If a sequence has none.
    """
    if _tree(root) == "lists":
        blocks = (pair for sensor in SENSORS for pair in _blocks(root / LISTS[sensor]))
        sources = [(sequence, partial(ring_of, block.get("geo"))) for sequence, block in blocks]
    else:
        items = zip(table["sequence"], table["filename"], strict=True)
        sources = [(sequence, partial(_outline, root / name)) for sequence, name in items]
    rings: dict[str, np.ndarray] = {}
    for sequence, read in sources:
        if sequence not in rings and (ring := read()) is not None:
            rings[sequence] = ring
    for sequence in table["sequence"].unique():
        if sequence not in rings:
            where = "polygon of longitudes and latitudes, or box"
            raise DataError(f"Sequence {sequence} of {root} has no {where}: {_GET}.")
    if any((ring[:, 0] > _PACIFIC).any() for ring in rings.values()):
        for ring in rings.values():  # behind 180 degrees east they go on: what lies near has near numbers
            ring[ring[:, 0] < -_PACIFIC, 0] += 360
    return rings


# === Lists ===


def _entries(root: Path) -> Iterator[Entry]:
    """Yield the images of both lists."""
    for sensor in SENSORS:
        for sequence, block in _blocks(root / LISTS[sensor]):
            for key, entry in block.items():
                if key.isdecimal():
                    where = {"sequence": sequence, "sensor": sensor, "number": int(key[-9:])}
                    yield where, partial(_entry_facts, entry, sequence, sensor)


def _blocks(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the blocks of the sequences of a list."""
    content = read_json(file, _GET)
    if not all(isinstance(block, dict) for block in content.values()):
        raise DataError(f"{file} holds no blocks of sequences: expected a block a folder, {_GET}.")
    yield from content.items()


def _entry_facts(entry: Any, sequence: str, sensor: str) -> dict[str, Any]:
    """Return what an entry of a list says.

    Raises:
        DataError: If it cannot be used.
    """
    published = _split_of(sequence)
    if not isinstance(entry, dict):
        raise DataError("is no block with date and label")
    date = read_date(entry.get("date"))
    name, orbit = entry.get("filename", ""), entry.get("orbit", "")
    if not isinstance(name, str) or not isinstance(orbit, str):
        raise DataError(f"has the filename {name!r} and the orbit {orbit!r}, expected text")
    if re.search(r"[/\\\0]", name):
        raise DataError(f"has the filename {name!r}, expected one without a folder, such as S2_2019-01-24")
    return {
        "published": published,
        "date": datetime(date.year, date.month, date.day),
        "flooded": _truth(entry, "FLOODING"),
        "orbit": orbit,
        "full_coverage": _truth(entry, "FULL-DATA-COVERAGE", True),
        "filename": name,
        "channels": "+".join(_promised(name, sensor)),
    }


def _promised(filename: str, sensor: str) -> tuple[str, ...]:
    """Return the polarisations or bands that a file name promises; none for an empty name.

    Sentinel-1's names hold the mode: ``1SDV`` has VV and VH, ``1SSV`` has no VH, so no such file can exist.
    """
    if not filename:
        return ()
    if sensor == "S2":
        return OPTICAL_BANDS
    parts = filename.split("_")
    return POLARISATIONS.get(parts[3] if len(parts) > 3 else "", POLARISATIONS["1SDV"])


# === Collections ===


def collections(root: str | Path) -> list[tuple[str, Path, Path]]:
    """Return the collections of images below a folder; none where it does not hold this tree.

    Args:
        root: The folder with the collections, one with ``sen12flood`` in it, or the folder of one source
            collection, whose labels are then taken from beside it.

    Returns:
        A tuple a collection: sensor, folder of the items of the images, folder of the items of their labels.
    """
    root = Path(root).absolute()
    home = root
    while any(home.name in names for names in _COLLECTIONS.values()):
        home = home.parent
    for base in (home, root / "sen12flood"):
        every = [
            (sensor, _folder(base, source), _folder(base, labels))
            for sensor, (source, labels) in _COLLECTIONS.items()
        ]
        found = [one for one in every if one[1].is_dir() and one[1].is_relative_to(root)]
        if found:
            return found
    return []


def _folder(base: Path, name: str) -> Path:
    """Return the folder of a collection, the inner one where it is doubled."""
    inner = base / name / name
    return inner if inner.is_dir() else base / name


def _items(root: Path) -> Iterator[Entry]:
    """Yield the items of the collections; numbers follow the dates of a sequence.

    Raises:
        DataError: If a ``collection.json`` is damaged.
    """
    for sensor, source, labels in collections(root):
        prefix, numbers = f"{ITEM}{sensor.lower()}_source_", Counter[str]()
        for name in _item_names(source, prefix):
            place = _place(name, prefix)
            sequence = place[0] if place else name
            numbers[sequence] += place is not None
            where = {"sequence": sequence, "sensor": sensor, "number": numbers[sequence]}
            item, label = source / name, labels / name.replace("_source_", "_labels_")
            yield where, partial(_item_facts, root, item, label, sensor, place)


def _item_names(source: Path, prefix: str) -> list[str]:
    """Return the names of the items that a collection links, or else of the folders that are there."""
    file = source / "collection.json"
    links = read_json(file, _AGAIN).get("links") if file.exists() else []
    every = links if isinstance(links, list) else []
    linked = [link for link in every if isinstance(link, dict) and link.get("rel") == "item"]
    if linked:
        return sorted({_linked_name(str(link.get("href"))) for link in linked})
    return sorted(one.name for one in source.iterdir() if one.name.startswith(prefix) and one.is_dir())


def _linked_name(address: str) -> str:
    """Return the folder that a link such as ``./NAME/stac.json`` leads to; nothing else of it is followed."""
    *before, last = address.rstrip("/").split("/")
    return before[-1] if before and last.endswith(".json") else last


def _place(name: str, prefix: str) -> tuple[str, datetime] | None:
    """Return the sequence and the date that an item's name ends in; None where it does not."""
    match = re.fullmatch(prefix + _PLACE, name)
    try:
        return (match[1], datetime.strptime(match[2], "%Y_%m_%d")) if match else None
    except ValueError:
        return None


def _item_facts(
    root: Path, item: Path, label: Path, sensor: str, place: tuple[str, datetime] | None
) -> dict[str, Any]:
    """Return what an item and its label say.

    Raises:
        DataError: If it cannot be used.
    """
    if place is None:
        example = f"{ITEM}{sensor.lower()}_source_0140_2019_03_13, with its sequence and date"
        raise DataError(f"item {item.name!r} has another name than {example}")
    channels = _channels(item, sensor)
    properties = _item_json(label / "labels.geojson").get("properties")
    said = properties if isinstance(properties, dict) else {}
    return {
        "published": _split_of(place[0]),
        "date": place[1],
        "flooded": _truth(said, "FLOODING", label=label.name),
        "orbit": "",
        "full_coverage": _truth(said, "FULL-DATA-COVERAGE", True, label.name),
        "filename": item.relative_to(root).as_posix(),
        "channels": "+".join(channels),
    }


def _channels(item: Path, sensor: str) -> list[str]:
    """Return the channels that an item promises, or where it names none, those that have a file.

    Raises:
        DataError: If its ``stac.json`` is damaged, or no channel has a file.
    """
    known, assets = CHANNELS[sensor], _item_json(item / "stac.json").get("assets")
    there = [channel for channel in known if (item / f"{channel}.tif").is_file()]
    if not there:
        raise DataError(f"{item.name} holds no image, expected files such as {known[0]}.tif")
    return [channel for channel in known if isinstance(assets, dict) and channel in assets] or there


def _outline(item: Path) -> np.ndarray | None:
    """Return the corners of an item from the polygon or else the box of its ``stac.json``.

    Returns:
        (corner, longitude and latitude) in degrees, the first again as the last; None where it says neither.
    """
    stac = _item_json(item / "stac.json")
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


def _item_json(file: Path) -> dict[str, Any]:
    """Return the block of a JSON file, which errors name by its folder."""
    return read_json(file, name=f"{file.parent.name}/{file.name}")
