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
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import xarray as xr

from eolab.core.errors import DataError
from eolab.core.progress import THREADS, in_threads
from eolab.data.fingerprints import remembered
from eolab.data.layouts.bigearthnet_lists import check_splits, read_lists
from eolab.data.layouts.bigearthnet_patch import Resampling, open_patch, place_of, read_patch
from eolab.data.layouts.bigearthnet_patches import check_patches, open_patches
from eolab.data.layouts.bigearthnet_scan import (
    S1_FOLDER,
    S2_FOLDER,
    SPLITS,
    Rejected,
    lacking_bands,
    lacking_radar,
    row_of,
    subfolders,
    table_of,
    without_folder,
)
from eolab.data.layouts.common import below
from eolab.data.schemes.bigearthnet import codes_of

__all__ = ["check_layout", "check_splits", "index", "metadata", "open_layout", "open_patch", "read_patch"]

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
_KEPT = ("id", "labels", "split", "country", "snow", "cloud", "v1")
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
            f"{root} holds no {TABLES[0]}: give the folder of BigEarthNet's version 2, which holds it beside "
            f"{S2_TREE}."
        )
    tables = [_read(root / name) for name in TABLES if (root / name).is_file()]
    return pd.concat(tables, ignore_index=True)


def index(path: str | Path, progress: bool = True, threads: int = THREADS) -> pd.DataFrame:
    """Return the patches of a copy of the data set that have their images; no image is read.

    The index is remembered while the tables and the folders of the patches are unchanged.

    Split lists of version 1 in the folder are not used: see :func:`check_splits`, which warns.

    Args:
        path: The folder with ``metadata.parquet``.
        progress: False to show no progress.
        threads: How many folders are looked into at a time.

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
    tiles = _patches_in(root / S2_TREE, S2_FOLDER)
    if not tiles:
        raise DataError(
            f"{root} holds no patch in {S2_TREE}: expected {S2_TREE}/S2A_MSIL2A_…/S2A_MSIL2A_…_26_57, give "
            "the folder that holds it."
        )
    radar, maps = _patches_in(root / S1_TREE, S1_FOLDER), (root / MAP_TREE).is_dir()
    look = _Look(root, tiles, radar, maps)
    folders = [*tiles.values(), *radar.values(), *(map(look.map_folder, tiles) if maps else ())]
    depends = [*(root / name for name in TABLES), *folders]
    return remembered("bigearthnet-v2", root, depends, lambda: _index(root, table, look, progress, threads))


def _index(root: Path, table: pd.DataFrame, look: _Look, progress: bool, threads: int) -> pd.DataFrame:
    """Return the index after a look into the folders of the patches."""
    table, rejected = _with_folder(root, table, look.tiles)
    rows, entries = [], list(table.itertuples(index=False))
    patches = in_threads(look, entries, f"indexing {root.name}", "patch", progress, threads)
    for entry, (files, wrong) in zip(entries, patches, strict=True):
        rejected += wrong
        if files is not None:
            rows.append(row_of(files | {key: getattr(entry, key) for key in _KEPT}))
    found = table_of(rows, rejected, root)
    found["projection"] = found["tile"].map(_projections(found))
    return found


def open_layout(
    path: str | Path,
    splits: str | Sequence[str] | None = None,
    bands: Sequence[str] | None = None,
    resampling: Resampling = "nearest",
    radar: bool = False,
    classes: str = "19",
) -> xr.Dataset:
    """Open the patches; see :func:`eolab.data.layouts.bigearthnet_patches.open_patches`."""
    return open_patches(index(path), splits, bands, resampling, radar, classes)


def check_layout(path: str | Path, progress: bool = True) -> pd.DataFrame:
    """Read every image and map; see :func:`eolab.data.layouts.bigearthnet_patches.check_patches`."""
    return check_patches(index(path, progress), Path(path), progress)


class _Look:
    """Looks for the files of a patch.

    Attributes:
        root: The data set's folder.
        tiles: Sentinel-2 folder by patch.
        radar: Sentinel-1 folder by patch.
        maps: Whether the data set has reference maps.
    """

    def __init__(self, root: Path, tiles: dict[str, str], radar: dict[str, str], maps: bool) -> None:
        self.root, self.tiles, self.radar, self.maps = root, tiles, radar, maps

    def map_folder(self, name: str) -> str:
        """Return the folder of a patch's reference map."""
        tile = os.path.basename(os.path.dirname(self.tiles[name]))
        return f"{self.root}/{MAP_TREE}/{tile}/{name}"

    def __call__(self, entry: Any) -> tuple[dict[str, Any] | None, Rejected]:
        """Return where the files are, None where the patch cannot be used, and what was found wrong."""
        folder = self.tiles[entry.id]
        reason = lacking_bands(folder) or _wrong(entry)
        if reason:
            return None, [self._rejected(folder, reason)]
        tile = os.path.basename(os.path.dirname(folder))
        s1, wrong = self._radar_of(entry)
        reference = f"{self.map_folder(entry.id)}/{entry.id}{MAP}" if self.maps else ""
        if reference and not os.path.isfile(reference):
            wrong.append(self._rejected(reference, "is missing: fetch it, or go on without the map"))
            reference = ""
        return {"s2": folder, "s1": s1, "reference": reference, "tile": tile}, wrong

    def _radar_of(self, entry: Any) -> tuple[str, Rejected]:
        """Return the Sentinel-1 folder, empty where there is none, and what is wrong with it."""
        if not self.radar:
            return "", []
        folder = self.radar.get(entry.s1_name) or self.radar.get(padded(entry.s1_name), "")
        if not folder:
            reason = f"is the Sentinel-1 patch of {entry.id} but has no folder: fetch it, or go on without it"
            return "", [{"file": entry.s1_name, "reason": reason}]
        reason = lacking_radar(folder)
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
    try:
        table = pd.read_parquet(file)
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        reason = " ".join(str(error).split()).rstrip(".")
        raise DataError(f"{file} cannot be read as parquet ({reason}): {_GET}.") from None
    absent = [name for name in _COLUMNS if name not in table]
    if absent:
        raise DataError(f"{file} has no column {absent[0]}, it has {', '.join(table.columns)}: {_GET}.")
    table = table[list(_COLUMNS)].rename(columns=_COLUMNS)
    table["labels"] = [tuple(labels) if labels is not None else () for labels in table["labels"]]
    return table.assign(table=file.name)


def _with_folder(root: Path, table: pd.DataFrame, tiles: dict[str, str]) -> tuple[pd.DataFrame, Rejected]:
    """Return the rows whose patch has a folder, each patch once, and what is left out: rows and folders."""
    here = table["id"].isin(tiles.keys())
    rejected: Rejected = []
    for name, part in table[~here].groupby("table", sort=False):
        rejected += without_folder(str(name), part["id"].tolist())
    strange = "is in no table of the metadata: remove it, or fetch the table it is in"
    listed = set(table["id"])
    rejected += [
        {"file": below(root, folder), "reason": strange}
        for name, folder in tiles.items()
        if name not in listed
    ]
    found = table[here]
    again = found["id"].duplicated()
    twice = "stands twice in the tables of the metadata: the first row is taken"
    rejected += [{"file": name, "reason": twice} for name in found["id"][again]]
    return found[~again], rejected


def _wrong(entry: Any) -> str:
    """Return what is wrong with a row of the metadata; empty where nothing is."""
    if not entry.labels:
        return "has no labels in the metadata: leave the patch out"
    if entry.split not in SPLITS:
        return f"has the split {entry.split!r} in the metadata, expected {', '.join(SPLITS)}"
    try:
        for label in entry.labels:
            codes_of(label)
    except DataError as error:
        return str(error).rstrip(".")
    return ""


def _patches_in(tree: Path, pattern: Any) -> dict[str, str]:
    """Return the folders of the patches of a tree by name: a folder a product, in it a folder a patch."""
    return {name: f"{folder}/{name}" for folder, name in _walk(tree) if pattern.match(name)}


def _walk(tree: Path) -> Iterator[tuple[Path, str]]:
    for product in subfolders(tree) if tree.is_dir() else []:
        for name in subfolders(tree / product):
            yield tree / product, name


def _projections(table: pd.DataFrame) -> dict[str, str]:
    """Return the CRS of each product, of the first of its patches that can be read; empty if none can."""
    found: dict[str, str] = {}
    for tile, folders in table.groupby("tile")["s2"]:
        found[str(tile)] = ""
        for folder in folders[:5]:
            try:
                found[str(tile)], _ = place_of(SimpleNamespace(s2=folder))
            except DataError:
                continue
            break
    return found


def _warn_of_lists(root: Path, table: pd.DataFrame) -> None:
    """Warn where the folder holds split lists of version 1."""
    lists, _ = read_lists(root)
    splits = {split: lists[split]["s2"] for split in SPLITS if split in lists}
    if splits:
        check_splits(splits, table)
