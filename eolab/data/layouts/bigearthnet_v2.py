"""BigEarthNet, version 2 (reBEN): 549,488 patches, their labels and split in two tables, and reference maps.

Clasen et al. 2024, reBEN: Refined BigEarthNet Dataset for Remote Sensing Image Analysis
(https://arxiv.org/abs/2407.03653). The data set's folder holds ``metadata.parquet``, which lists 480,038
patches, ``metadata_for_patches_with_snow_cloud_or_shadow.parquet`` with the other 69,450, and the trees
``BigEarthNet-S2``, ``BigEarthNet-S1`` and ``Reference_Maps``, a folder a product and in it a folder a patch.

The labels are those of the 19 classes and are not those of version 1, and so is the split. There are no JSON
files: no patch has a date, and names are not taken for one.

Example:
    >>> table = metadata("data/BigEarthNet-v2")
    >>> table["split"].value_counts()["validation"]
    139577
"""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from eolab.core.errors import DataError
from eolab.core.progress import in_threads
from eolab.data.fingerprints import remembered
from eolab.data.layouts import bigearthnet_folders as shared
from eolab.data.layouts.bigearthnet import BANDS, RADAR, check_patches, open_patches, place_of
from eolab.data.layouts.common import Rejected, attempt, below, lies_instead, reading

TABLES = ("metadata.parquet", "metadata_for_patches_with_snow_cloud_or_shadow.parquet")
S2_TREE, S1_TREE, MAP_TREE = "BigEarthNet-S2", "BigEarthNet-S1", "Reference_Maps"
MAP = "_reference_map.tif"

_COLUMNS = {
    "patch_id": "id",
    "labels": "labels",
    "split": "split",
    "country": "country",
    "s1_name": "s1_name",
    "s2v1_name": "v1",
    "contains_seasonal_snow": "snow",
    "contains_cloud_or_shadow": "cloud",
}
_GET = "fetch the file again"


def metadata(path: str | Path) -> pd.DataFrame:
    """Return what both tables say of the patches, whether or not their images are there.

    Args:
        path: The folder with ``metadata.parquet``.

    Returns:
        A row a patch: id, labels (tuple of names), split, country, s1_name, v1 (the name in version 1, which
        unlike id is not padded with zeros), snow, cloud, and ``table``, the file it stands in.

    Raises:
        DataError: If ``metadata.parquet`` is missing, or a table cannot be read or lacks a column.
    """
    root = Path(path)
    if not (root / TABLES[0]).is_file():
        raise DataError(
            f"{root} holds no {TABLES[0]}: expected it beside {S2_TREE} of BigEarthNet's version 2, "
            f"{lies_instead(root, TABLES[0])}."
        )
    tables = [_read(root / name) for name in TABLES if (root / name).is_file()]
    return pd.concat(tables, ignore_index=True)


def index(path: str | Path, progress: bool = True) -> pd.DataFrame:
    """Return the patches of a copy of the data set that have their images; no image is read.

    The index is remembered while the tables and the folders of the patches are unchanged.

    Split lists of version 1 in the folder are not used: see
    :func:`eolab.data.layouts.bigearthnet_folders.check_splits`, which warns.

    Args:
        path: The folder with ``metadata.parquet``.
        progress: False to show no progress.

    Returns:
        A row a patch, in the order of the tables: ``id``; ``s2`` and ``s1``, folders, s1 empty where there is
        none; ``labels``, tuple of names of the 19 classes; ``split``; ``country``; ``date`` NaT; ``snow`` and
        ``cloud``; ``reference``, file of the reference map or empty; ``projection`` as ``EPSG:32633``; ``x``
        and ``y`` NaN; ``tile``, the product's folder; ``v1``, the name in version 1. ``attrs["rejected"]``
        lists file and reason of what was left out: a row without a folder, a folder without a row, a patch
        without one of its bands, with an unknown label or split, without its Sentinel-1 or reference map
        where the data set has these.

    Raises:
        DataError: If a table cannot be read, or the folder holds no patch that can be used.
    """
    root = Path(path)
    table = metadata(root)
    _warn_of_lists(root, table)
    tiles = _patches_in(root / S2_TREE, shared.S2_FOLDER)
    if not tiles:
        raise DataError(
            f"{root} holds no patch in {S2_TREE}: expected {S2_TREE}/S2A_MSIL2A_…/S2A_MSIL2A_…_26_57, "
            f"{lies_instead(root, f'{S2_TREE}/S2*')}."
        )
    trees = _Trees(root, tiles, _patches_in(root / S1_TREE, shared.S1_FOLDER), (root / MAP_TREE).is_dir())
    folders = [*tiles.values(), *trees.radar.values(), *(map(trees.map_folder, tiles) if trees.maps else ())]
    depends = [*(root / name for name in TABLES), *folders]
    return remembered("bigearthnet-v2", root, depends, lambda: _index(table, trees, progress))


def _index(table: pd.DataFrame, trees: _Trees, progress: bool) -> pd.DataFrame:
    """Return the index after a look into the folders of the patches."""
    table, rejected = _with_folder(trees.root, table, trees.tiles)
    entries = list(table[["id", "labels", "split", "s1_name"]].itertuples(index=False))
    usable, rows = [], []
    for files, wrong in in_threads(trees.look, entries, f"indexing {trees.root.name}", "patch", progress):
        rejected += wrong
        usable.append(files is not None)
        if files is not None:
            rows.append(files)
    kept = table[np.array(usable, bool)].drop(columns=["s1_name", "table"]).reset_index(drop=True)
    found = kept.join(pd.DataFrame(rows, columns=["s2", "s1", "reference", "tile"]))
    found = shared.finished(found.assign(date=None, x=float("nan"), y=float("nan")), rejected, trees.root)
    found["projection"] = found["tile"].map(_projections(found))
    return found


def open_layout(path: str | Path, **options: Any) -> xr.Dataset:
    """Open the patches; see :func:`eolab.data.layouts.bigearthnet.open_patches`."""
    return open_patches(index(path), **options)


def check_layout(path: str | Path, progress: bool = True) -> pd.DataFrame:
    """Read every image and map; see :func:`eolab.data.layouts.bigearthnet.check_patches`."""
    return check_patches(index(path, progress), Path(path), progress)


class _Trees(NamedTuple):
    """The folders of the patches.

    Attributes:
        root: The data set's folder.
        tiles: Sentinel-2 folder by patch.
        radar: Sentinel-1 folder by patch.
        maps: Whether the data set has reference maps.
    """

    root: Path
    tiles: dict[str, str]
    radar: dict[str, str]
    maps: bool

    def tile_of(self, name: str) -> str:
        """Return the product that a patch was cut from."""
        return sys.intern(os.path.basename(os.path.dirname(self.tiles[name])))

    def map_folder(self, name: str) -> str:
        """Return the folder of a patch's reference map."""
        return f"{self.root}/{MAP_TREE}/{self.tile_of(name)}/{name}"

    def look(self, entry: Any) -> tuple[tuple[str, ...] | None, Rejected]:
        """Return s2, s1, reference and tile, None where the patch cannot be used, and what is wrong."""
        folder = self.tiles[entry.id]
        _, reason = attempt(self._check, entry, folder)
        if reason:
            return None, [self._rejected(folder, reason)]
        s1, wrong = self._radar_of(entry)
        reference = f"{self.map_folder(entry.id)}/{entry.id}{MAP}" if self.maps else ""
        if reference and not os.path.isfile(reference):
            wrong.append(self._rejected(reference, "is missing: fetch it, or go on without the map"))
            reference = ""
        return (folder, s1, reference, self.tile_of(entry.id)), wrong

    def _check(self, entry: Any) -> None:
        """Check the files of a patch and its row in the metadata."""
        shared.check_files(self.tiles[entry.id], BANDS)
        shared.checked_labels(entry.labels, "the metadata")
        if entry.split not in shared.SPLITS:
            raise DataError(
                f"has the split {entry.split!r} in the metadata, expected {', '.join(shared.SPLITS)}"
            )

    def _radar_of(self, entry: Any) -> tuple[str, Rejected]:
        """Return the Sentinel-1 folder, empty where there is none, and what is wrong with it."""
        if not self.radar:
            return "", []
        folder = self.radar.get(entry.s1_name) or self.radar.get(padded(entry.s1_name), "")
        if not entry.s1_name:
            return "", [{"file": entry.id, "reason": "has no s1_name in the metadata, its Sentinel-1 patch"}]
        if not folder:
            reason = f"is the Sentinel-1 patch of {entry.id} but has no folder: fetch it, or go on without it"
            return "", [{"file": entry.s1_name, "reason": reason}]
        _, reason = attempt(partial(shared.check_files, parts=RADAR), folder)
        return ("", [self._rejected(folder, reason)]) if reason else (folder, [])

    def _rejected(self, file: str, reason: str) -> dict[str, str]:
        return {"file": below(self.root, file), "reason": reason}


def padded(name: str) -> str:
    """Return a patch's name with its two numbers padded to two digits, as ids of version 2 are."""
    parts = name.rsplit("_", 2)
    return "_".join([*parts[:-2], *(part.zfill(2) for part in parts[-2:])])


def _read(file: Path) -> pd.DataFrame:
    """Read a table of the metadata under the names of the index.

    Raises:
        DataError: If it cannot be read or lacks a column.
    """
    with reading(file, "parquet", _GET):
        table = pd.read_parquet(file)
    absent = [name for name in _COLUMNS if name not in table]
    if absent:
        raise DataError(f"{file} has no column {absent[0]}, it has {', '.join(table.columns)}: {_GET}.")
    table = table[list(_COLUMNS)].rename(columns=_COLUMNS)
    if table["labels"].map(lambda labels: isinstance(labels, str)).any():
        raise DataError(f"{file} holds labels as text, expected a list of names a patch: {_GET}.")
    texts = [name for name in _COLUMNS.values() if name not in ("labels", "snow", "cloud")]
    table[texts] = table[texts].fillna("").astype(str)
    table["labels"] = [
        tuple(map(_shared, labels)) if labels is not None else () for labels in table["labels"]
    ]
    for name, published in {"snow": "contains_seasonal_snow", "cloud": "contains_cloud_or_shadow"}.items():
        said = table[name].map({True: True, False: False, "True": True, "False": False})
        if said.isna().any():
            found = table[name][said.isna()].iloc[0]
            raise DataError(f"{file} has {found!r} in {published}, expected True or False: {_GET}.")
        table[name] = said.astype(bool)
    return table.assign(table=file.name)


def _shared(name: Any) -> Any:
    """Return a name of a class as one object: half a million patches share 19 of them."""
    return sys.intern(name) if type(name) is str else name


def _with_folder(root: Path, table: pd.DataFrame, tiles: dict[str, str]) -> tuple[pd.DataFrame, Rejected]:
    """Return the rows whose patch has a folder, each patch once, and what is left out: rows and folders."""
    strange = "is in no table of the metadata: fetch the table it is in, or go on without it"
    twice = "stands twice in the tables of the metadata: the first row is taken"
    unlisted = tiles.keys() - set(table["id"])
    found = table[table["id"].isin(tiles)]
    again = found["id"].duplicated()
    rejected: Rejected = []
    for name, part in table.groupby("table", sort=False):
        rejected += shared.without_folder(part["id"], str(name), tiles)
    rejected += [
        *({"file": below(root, tiles[name]), "reason": strange} for name in tiles if name in unlisted),
        *({"file": name, "reason": twice} for name in found["id"][again]),
    ]
    return found[~again], rejected


def _patches_in(tree: Path, pattern: Any) -> dict[str, str]:
    """Return the folders of the patches of a tree by name: a folder a product, in it a folder a patch."""
    found = {}
    for product in shared.subfolders(tree):
        folder = f"{tree}/{product}"
        found.update({name: f"{folder}/{name}" for name in shared.subfolders(folder) if pattern.match(name)})
    return found


def _projections(table: pd.DataFrame) -> dict[str, str]:
    """Return the CRS of each product, of the first of its patches that can be read; empty if none can."""
    found: dict[str, str] = {}
    for tile, folders in table.groupby("tile")["s2"]:
        places = (attempt(place_of, folder)[0] for folder in folders[:5])
        found[str(tile)] = next((place[0] for place in places if place is not None), "")
    return found


def _warn_of_lists(root: Path, table: pd.DataFrame) -> None:
    """Warn where the folder holds split lists of version 1."""
    lists, _ = shared.read_lists(root)
    splits = {split: lists[split]["s2"] for split in shared.SPLITS if len(lists[split])}
    if splits:
        shared.check_splits(splits, table)
