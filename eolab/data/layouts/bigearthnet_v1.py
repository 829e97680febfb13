"""BigEarthNet, version 1: 590,326 patches of Sentinel-2, a folder each, with the labels in a JSON file.

Sumbul et al. 2019, BigEarthNet: A Large-Scale Benchmark Archive for Remote Sensing Image Understanding
(https://doi.org/10.1109/IGARSS.2019.8900532), and the Sentinel-1 patches of BigEarthNet-MM. The data set's
folder holds ``BigEarthNet-v1.0`` and, where they are at hand, ``BigEarthNet-S1-v1.0`` and the lists of
:mod:`eolab.data.layouts.bigearthnet_lists`, in the folder itself or in one of its own. Folders are known by the
names of what is in them, so they may be called otherwise.

Nothing is taken from a patch's name: hours lack their zero and seconds pass 59 in many. Dates and places are
those of the JSON files.

Example:
    >>> patches = index("data/BigEarthNet")
    >>> patches["split"].value_counts()["train"]
    269695
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr
from rasterio.crs import CRS
from rasterio.errors import CRSError

from eolab.core.errors import DataError
from eolab.core.progress import THREADS, in_threads
from eolab.data.fingerprints import remembered
from eolab.data.layouts.bigearthnet_lists import find_lists, read_lists, split_of
from eolab.data.layouts.bigearthnet_patch import Resampling, open_patch, read_patch
from eolab.data.layouts.bigearthnet_patches import check_patches, open_patches
from eolab.data.layouts.bigearthnet_scan import (
    S1_FOLDER,
    S2_FOLDER,
    Rejected,
    lacking_bands,
    lacking_radar,
    parents,
    row_of,
    subfolders,
    table_of,
    without_folder,
)
from eolab.data.layouts.common import below, read_json
from eolab.data.schemes.bigearthnet import codes_of

__all__ = ["check_layout", "index", "open_layout", "open_patch", "read_metadata", "read_patch"]

METADATA = "_labels_metadata.json"


def index(path: str | Path, progress: bool = True, threads: int = THREADS) -> pd.DataFrame:
    """Return the patches of a copy of the data set; no image is read.

    Every JSON file is read once: the index is remembered while folders, JSON files and lists are unchanged.

    Args:
        path: The folder with ``BigEarthNet-v1.0``.
        progress: False to show no progress.
        threads: How many folders are looked into at a time.

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
    folders, rejected = _folders(root, S2_FOLDER)
    if not folders:
        raise DataError(
            f"{root} holds no Sentinel-2 patches of BigEarthNet: expected BigEarthNet-v1.0/S2A_MSIL2A_…, "
            "give the folder that holds BigEarthNet-v1.0."
        )
    radar = _folders(root, S1_FOLDER)
    every = [*folders.values(), *radar[0].values()]
    files = [f"{folder}/{os.path.basename(folder)}{METADATA}" for folder in every]
    depends: list[str | Path] = [*every, *files, *find_lists(root).values()]
    return remembered(
        "bigearthnet-v1", root, depends, lambda: _index(root, folders, rejected, radar, progress, threads)
    )


def _index(
    root: Path,
    folders: dict[str, str],
    rejected: Rejected,
    radars: tuple[dict[str, str], Rejected],
    progress: bool,
    threads: int,
) -> pd.DataFrame:
    """Return the index after a look into the folders of both satellites."""
    lists, unread = read_lists(root)
    splits, twice = split_of(lists)
    radar, wrong = _radar_folders(root, folders, radars, lists, progress, threads)
    rejected += [*unread, *twice, *wrong, *_unfound(root, lists, folders)]
    snow, cloud = (set(lists[kind]["s2"].tolist()) if kind in lists else set() for kind in ("snow", "cloud"))
    rows = []
    patches = in_threads(_look, list(folders.values()), f"indexing {root.name}", "patch", progress, threads)
    for (name, folder), found in zip(folders.items(), patches, strict=True):
        if isinstance(found, str):
            rejected.append({"file": below(root, folder), "reason": found})
            continue
        place = {"id": name, "v1": name, "s2": folder, "s1": radar.get(name, ""), "country": ""}
        marks = {"split": splits.get(name, ""), "snow": name in snow, "cloud": name in cloud}
        rows.append(row_of(found | place | marks | {"reference": ""}))
    return table_of(rows, rejected, root)


def open_layout(
    path: str | Path,
    splits: str | Sequence[str] | None = None,
    bands: Sequence[str] | None = None,
    resampling: Resampling = "nearest",
    radar: bool = False,
    classes: str = "43",
) -> xr.Dataset:
    """Open the patches; see :func:`eolab.data.layouts.bigearthnet_patches.open_patches`."""
    return open_patches(index(path), splits, bands, resampling, radar, classes)


def check_layout(path: str | Path, progress: bool = True) -> pd.DataFrame:
    """Read every image; see :func:`eolab.data.layouts.bigearthnet_patches.check_patches`."""
    return check_patches(index(path, progress), Path(path), progress)


def read_metadata(folder: str | Path) -> dict[str, Any]:
    """Read the JSON file of a patch of either satellite.

    Raises:
        DataError: If it is missing or no JSON object.
    """
    return read_json(f"{folder}/{os.path.basename(folder)}{METADATA}", "fetch the patch again")


def _folders(root: Path, pattern: Any) -> tuple[dict[str, str], Rejected]:
    """Return the patches' folders by name, and those whose name stands twice."""
    found: dict[str, str] = {}
    rejected: Rejected = []
    for parent in parents(root, pattern):
        for name in subfolders(parent):
            if pattern.match(name) and found.setdefault(name, f"{parent}/{name}") != f"{parent}/{name}":
                reason = f"is a second folder of {below(root, found[name])}: remove one"
                rejected.append({"file": below(root, parent / name), "reason": reason})
    return dict(sorted(found.items())), rejected


def _look(folder: str) -> dict[str, Any] | str:
    """Return what the JSON file of a Sentinel-2 patch says, or why the patch cannot be used."""
    reason = lacking_bands(folder, [METADATA])
    if reason:
        return reason
    try:
        facts = read_metadata(folder)
        labels = _labels(facts)
    except DataError as error:
        return _plain(error, folder)
    return {
        "labels": labels,
        "date": _date(facts),
        "tile": sys.intern(str(facts.get("tile_source", ""))),
    } | _place(facts)


def _labels(facts: dict[str, Any]) -> tuple[str, ...]:
    """Return the labels of a patch.

    Raises:
        DataError: If there are none or one is unknown.
    """
    labels = facts.get("labels")
    if not isinstance(labels, list) or not labels:
        raise DataError(f"has no labels in its JSON file, found {labels!r}: leave the patch out")
    for label in labels:
        codes_of(label)
    return tuple(sys.intern(label) for label in labels)  # half a million patches share 43 names


def _date(facts: dict[str, Any]) -> datetime | None:
    """Return the time of an acquisition, which the two satellites have under two names."""
    text = facts.get("acquisition_date", facts.get("acquisition_time"))
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None


def _place(facts: dict[str, Any]) -> dict[str, Any]:
    """Return CRS and upper left corner in metres.

    Sentinel-1's files misspell the lower edge (``lly`` for ``lry``); every patch has 1,200 m a side, so the
    corner says all.
    """
    corners = facts.get("coordinates")
    corners = corners if isinstance(corners, dict) else {}
    x, y = (corners.get(key) for key in ("ulx", "uly"))
    return {
        "projection": _epsg(str(facts.get("projection", ""))),
        "x": x if isinstance(x, int | float) else None,
        "y": y if isinstance(y, int | float) else None,
    }


@lru_cache(maxsize=256)
def _epsg(text: str) -> str:
    """Return a CRS given as WKT in the short form; empty where there is none."""
    try:
        return CRS.from_user_input(text).to_string() if text else ""
    except CRSError:
        return ""


def _radar_folders(
    root: Path,
    folders: Mapping[str, str],
    radars: tuple[dict[str, str], Rejected],
    lists: Mapping[str, pd.DataFrame],
    progress: bool,
    threads: int,
) -> tuple[dict[str, str], Rejected]:
    """Return the Sentinel-1 folder of each Sentinel-2 patch: by the lists, else by its own JSON file."""
    radar, rejected = radars
    pairs = [table.loc[table["s1"] != "", ["s1", "s2"]] for table in lists.values()]
    listed = {s1: s2 for table in pairs for s1, s2 in table.itertuples(index=False)}
    paired: dict[str, str] = {}

    def look(folder: str) -> tuple[str, str]:
        """Return the Sentinel-2 name, and the reason why the folder cannot be used."""
        reason = lacking_radar(folder)
        name = os.path.basename(folder)
        if reason or name in listed:
            return listed.get(name, ""), reason
        try:
            partner = read_metadata(folder).get("corresponding_s2_patch")
        except DataError as error:
            return "", _plain(error, folder)
        return (partner, "") if isinstance(partner, str) else ("", "names no corresponding_s2_patch")

    found = in_threads(look, list(radar.values()), f"indexing Sentinel-1 of {root.name}", "patch", progress, threads)
    for folder, (partner, reason) in zip(radar.values(), found, strict=True):
        if not reason and partner not in folders:
            reason = f"belongs to {partner}, which has no folder: fetch it, or go on without"
        if not reason and paired.setdefault(partner, folder) != folder:
            reason = f"belongs to {partner}, as {Path(paired[partner]).name} does: remove one"
        if reason:
            rejected.append({"file": below(root, folder), "reason": reason})
    return paired, rejected


def _unfound(root: Path, lists: Mapping[str, pd.DataFrame], folders: Mapping[str, str]) -> Rejected:
    """Return the names of the lists that have no folder, by list."""
    files = find_lists(root)
    rejected: Rejected = []
    for kind, table in lists.items():
        absent = table["s2"][~table["s2"].isin(folders.keys())].tolist()
        rejected += without_folder(below(root, files[kind]), absent)
    return rejected


def _plain(error: DataError, folder: str) -> str:
    """Return an error as a reason, without the folder, which stands before it."""
    return str(error).replace(f"{folder}/", "").rstrip(".")
