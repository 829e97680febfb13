"""BigEarthNet, version 1: 590,326 patches of Sentinel-2, a folder each, with the labels in a JSON file.

Sumbul et al. 2019, BigEarthNet: A Large-Scale Benchmark Archive for Remote Sensing Image Understanding
(https://doi.org/10.1109/IGARSS.2019.8900532), and the Sentinel-1 patches of BigEarthNet-MM. The data set's
folder holds ``BigEarthNet-v1.0`` and, where they are at hand, ``BigEarthNet-S1-v1.0`` and the lists of
:mod:`eolab.data.layouts.bigearthnet_folders`, in the folder itself or in one of its own. Folders are known by
the names of what is in them, so they may be called otherwise.

Nothing is taken from a patch's name: hours lack their zero and seconds pass 59 in many. Dates and places are
those of the JSON files.

Example:
    >>> patches = index("data/BigEarthNet")
    >>> patches["split"].value_counts()["train"]
    269695
"""

import os
import re
import sys
from collections.abc import Collection, Mapping
from datetime import datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr
from rasterio.crs import CRS
from rasterio.errors import CRSError

from eolab.core.errors import DataError
from eolab.core.progress import in_threads
from eolab.data.fingerprints import remembered
from eolab.data.layouts import bigearthnet_folders as shared
from eolab.data.layouts.bigearthnet import BANDS, RADAR, check_patches, open_patches
from eolab.data.layouts.common import Rejected, attempt, below, lies_instead, read_date, read_json, reading

_NUMBERS = re.compile(r"_\d+_\d+$")  # what a patch's name ends in, and that of a product does not
_VERSION_2 = "open version 2 with the layout bigearthnet_v2, and leave its folders as they are"


def index(path: str | Path, progress: bool = True) -> pd.DataFrame:
    """Return the patches of a copy of the data set; no image is read.

    Every JSON file is read once: the index is remembered while folders, JSON files and lists are unchanged.

    Args:
        path: The folder with ``BigEarthNet-v1.0``.
        progress: False to show no progress.

    Returns:
        A row a patch, by name: ``id``, name of the Sentinel-2 patch; ``s2`` and ``s1``, folders, s1 empty
        where there is none; ``labels``, tuple of names as published; ``split`` train, validation, test or
        empty, by the lists; ``country`` empty; ``date``, NaT where the JSON has none; ``snow`` and ``cloud``,
        by the lists; ``reference`` empty; ``projection`` as ``EPSG:32633``; ``x`` and ``y``, upper left
        corner in metres; ``tile``, the product it was cut from; ``v1``, as id. ``attrs["rejected"]`` lists
        file and reason of what was left out: a patch without one of its bands, without labels or with an
        unknown one, a Sentinel-1 patch that is not whole or belongs to none, a name of a list that has no
        folder.

    Raises:
        DataError: If the folder holds no patch that can be used.
    """
    root = Path(path)
    folders, rejected = _folders(root)
    if not any(map(shared.S2_FOLDER.match, folders)):
        found = _VERSION_2 if rejected else lies_instead(root, "BigEarthNet-v1.0")
        expected = "expected BigEarthNet-v1.0/S2A_MSIL2A_…_87_48"
        raise DataError(f"{root} holds no Sentinel-2 patches of BigEarthNet: {expected}, {found}.")
    every = folders.values()
    depends: list[str | Path] = [*every, *map(_metadata_file, every), *shared.find_lists(root).values()]
    return remembered("bigearthnet-v1", root, depends, lambda: _index(root, folders, rejected, progress))


def _index(root: Path, folders: dict[str, str], rejected: Rejected, progress: bool) -> pd.DataFrame:
    """Return the index after a look into the folders of both satellites."""
    tiles, radars = (
        {name: folder for name, folder in folders.items() if pattern.match(name)}
        for pattern in (shared.S2_FOLDER, shared.S1_FOLDER)
    )
    lists, unread = shared.read_lists(root)
    splits, twice = shared.split_of(lists)
    radar, wrong = _radar_folders(root, tiles, radars.values(), lists, progress)
    rejected += [*unread, *twice, *wrong]
    for kind, file in shared.find_lists(root).items():
        rejected += shared.without_folder(lists[kind]["s2"], below(root, file), tiles)
    rows = []
    patches = in_threads(
        partial(attempt, _facts), list(tiles.values()), f"indexing {root.name}", "patch", progress
    )
    for (name, folder), (facts, reason) in zip(tiles.items(), patches, strict=True):
        if facts is None:
            rejected.append({"file": below(root, folder), "reason": reason})
        else:
            rows.append((name, folder, radar.get(name, ""), splits.get(name, ""), *facts))
    columns = ["id", "s2", "s1", "split", "labels", "date", "tile", "projection", "x", "y"]
    table = pd.DataFrame(rows, columns=columns)
    marks = {kind: table["id"].isin(lists[kind]["s2"].tolist()) for kind in ("snow", "cloud")}
    return shared.finished(table.assign(**marks, v1=table["id"], country="", reference=""), rejected, root)


def open_layout(path: str | Path, classes: str = "43", **options: Any) -> xr.Dataset:
    """Open the patches; see :func:`eolab.data.layouts.bigearthnet.open_patches`."""
    return open_patches(index(path), classes=classes, **options)


def check_layout(path: str | Path, progress: bool = True) -> pd.DataFrame:
    """Read every image; see :func:`eolab.data.layouts.bigearthnet.check_patches`."""
    return check_patches(index(path, progress), Path(path), progress)


def read_metadata(folder: str) -> dict[str, Any]:
    """Read the JSON file of a patch of either satellite.

    Raises:
        DataError: If it is missing or no JSON object.
    """
    return read_json(_metadata_file(folder), "fetch the patch again")


def _metadata_file(folder: str) -> str:
    return f"{folder}/{os.path.basename(folder)}_labels_metadata.json"


def _folders(root: Path) -> tuple[dict[str, str], Rejected]:
    """Return the folders of the patches of both satellites by name, and those whose name stands twice."""
    with reading(root, remedy="give the folder of the data set"):
        os.scandir(root).close()
    found: dict[str, str] = {}
    others: list[str] = []
    rejected: Rejected = []
    is_patch = shared.PATCH_FOLDER.match
    for parent in (root, *(root / name for name in shared.subfolders(root) if not is_patch(name))):
        for name in filter(is_patch, shared.subfolders(parent)):
            if not _NUMBERS.search(name):
                others.append(below(root, parent / name))
            elif found.setdefault(name, f"{parent}/{name}") != f"{parent}/{name}":
                reason = f"is a second folder of {below(root, found[name])}, which is taken"
                rejected.append({"file": below(root, parent / name), "reason": reason})
    if others:
        reason = f"and {len(others) - 1:,} other folders are products, as version 2 has them: {_VERSION_2}"
        rejected.append({"file": others[0], "reason": reason})
    return dict(sorted(found.items())), rejected


def _facts(folder: str) -> tuple[Any, ...]:
    """Return labels, date, tile, projection, x and y of a Sentinel-2 patch, as its JSON file says.

    Raises:
        DataError: If the patch cannot be used.
    """
    shared.check_files(folder, BANDS)
    facts = read_metadata(folder)
    labels = shared.checked_labels(facts.get("labels"), "its JSON file")
    return labels, _date(facts), sys.intern(str(facts.get("tile_source", ""))), *_place(facts)


def _date(facts: dict[str, Any]) -> datetime | None:
    """Return the time of an acquisition in UTC, which the two satellites have under two names.

    None where there is none that can be meant.
    """
    text = facts.get("acquisition_date", facts.get("acquisition_time"))
    return attempt(read_date, text)[0]


def _place(facts: dict[str, Any]) -> tuple[str, float | None, float | None]:
    """Return CRS and upper left corner in metres.

    Sentinel-1's files misspell the lower edge (``lly`` for ``lry``); every patch has 1,200 m a side, so the
    corner says all.
    """
    corners = facts.get("coordinates")
    corners = corners if isinstance(corners, dict) else {}
    given = (corners.get(key) for key in ("ulx", "uly"))
    x, y = (one if isinstance(one, int | float) and abs(one) < 1e9 else None for one in given)
    return _epsg(str(facts.get("projection", ""))), x, y


@lru_cache(maxsize=256)
def _epsg(text: str) -> str:
    """Return a CRS given as WKT in the short form; empty where there is none."""
    try:
        return CRS.from_user_input(text).to_string() if text else ""
    except CRSError:
        return ""


def _radar_folders(
    root: Path,
    tiles: Mapping[str, str],
    radars: Collection[str],
    lists: Mapping[str, pd.DataFrame],
    progress: bool,
) -> tuple[dict[str, str], Rejected]:
    """Return the Sentinel-1 folder of each Sentinel-2 patch: by the lists, else by its own JSON file."""
    pairs = [table[table["s1"] != ""] for table in lists.values()]
    listed = {s1: s2 for table in pairs for s1, s2 in zip(table["s1"], table["s2"], strict=True)}
    partner_of = partial(_partner, listed=listed)
    title = f"indexing Sentinel-1 of {root.name}"
    found = in_threads(partial(attempt, partner_of), list(radars), title, "patch", progress)
    paired: dict[str, str] = {}
    rejected: Rejected = []
    for folder, (partner, reason) in zip(radars, found, strict=True):
        if partner is not None and partner not in tiles:
            reason = f"belongs to {partner}, which has no folder: fetch it, or go on without"
        elif partner is not None and paired.setdefault(partner, folder) != folder:
            reason = f"belongs to {partner}, as {Path(paired[partner]).name} does, which is taken"
        if reason:
            rejected.append({"file": below(root, folder), "reason": reason})
    return paired, rejected


def _partner(folder: str, listed: Mapping[str, str]) -> str:
    """Return the name of the Sentinel-2 patch that a Sentinel-1 patch belongs to.

    Raises:
        DataError: If the patch is not whole or names none.
    """
    shared.check_files(folder, RADAR)
    partner = listed.get(os.path.basename(folder)) or read_metadata(folder).get("corresponding_s2_patch")
    if not isinstance(partner, str):
        raise DataError(f"{folder} names no corresponding_s2_patch.")
    return partner
