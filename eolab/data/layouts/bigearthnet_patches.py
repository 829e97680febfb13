"""The patches of an index of BigEarthNet as one data set, and the check of all their files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr

from eolab.core.errors import DataError, ParameterError, did_you_mean
from eolab.data.schemes.bigearthnet import class_set
from eolab.core.progress import in_threads
from eolab.data.layouts.bigearthnet_patch import (
    RADAR,
    SIZE,
    Resampling,
    check_bands,
    check_resampling,
    read_patch,
    read_radar,
    read_reference,
)
from eolab.data.layouts.bigearthnet_scan import below

CHUNK = 32  # patches that are read at a time: one each would make half a million tasks


def open_patches(
    patches: pd.DataFrame,
    splits: str | Sequence[str] | None = None,
    bands: Sequence[str] | None = None,
    resampling: Resampling = "nearest",
    radar: bool = False,
    classes: str = "19",
) -> xr.Dataset:
    """Return the patches of an index as a data set; files are read when their pixels are computed on.

    Args:
        patches: Index of either version.
        splits: Which of train, validation and test; all patches by default, those without a split too.
        bands: As in :func:`read_patch`.
        resampling: As in :func:`read_patch`, but ``native``.
        radar: Whether Sentinel-1 is there too; patches without it are left out.
        classes: Name of the set of classes of ``label``.

    Returns:
        ``image`` (sample, y, x, band) uint16, lazy; ``label`` (sample, class) uint8, 1 where the patch has
        the class; with `radar`, ``radar`` (sample, y, x, polarisation) float32 dB, lazy. Coordinates band,
        class, id and split. ``attrs["rejected"]`` is a JSON table of what was left out and why.

    Raises:
        DataError: If a label does not fit the set of classes; when computed, if a file is damaged.
        ParameterError: If a split, band, resampling or set of classes is unknown.
    """
    names = check_bands(bands)
    check_resampling(resampling)
    if resampling == "native":
        raise ParameterError("An image has one pixel size: choose nearest, bilinear or cubic, not native.")
    taken = chosen(patches, splits)
    if radar:
        taken = taken[taken["s1"] != ""].reset_index(drop=True)
    chosen_set = class_set(classes)
    rows = _Rows(tuple(zip(taken["s2"], taken["s1"], strict=True)))
    dataset = xr.Dataset(
        {
            "image": (
                ("sample", "y", "x", "band"),
                rows.lazy(_Image(names, resampling), len(names), "uint16"),
                {"units": "1", "long_name": "digital numbers"},
            ),
            "label": (("sample", "class"), chosen_set.encode_all(taken["labels"])),
        },
        coords={
            "band": list(names),
            "class": list(chosen_set.scheme.names),
            "id": ("sample", taken["id"].to_numpy(str)),
            "split": ("sample", taken["split"].to_numpy(str)),
        },
        attrs={"rejected": json.dumps(patches.attrs.get("rejected", [])), "resampling": resampling},
    )
    if radar:
        values = rows.lazy(read_radar, len(RADAR), "float32")
        dataset["radar"] = (("sample", "y", "x", "polarisation"), values, {"units": "dB"})
        dataset = dataset.assign_coords(polarisation=list(RADAR))
    return dataset


def chosen(patches: pd.DataFrame, splits: str | Sequence[str] | None) -> pd.DataFrame:
    """Return the patches of some splits, all of them for None.

    Raises:
        ParameterError: If the index has no patch of a split.
    """
    if splits is None:
        return patches
    wanted = [splits] if isinstance(splits, str) else list(splits)
    known = [split for split in patches["split"].unique().tolist() if split]
    for split in wanted:
        if split not in known:
            raise ParameterError(f"There are no patches of the split {split!r}: {did_you_mean(split, known)}")
    return patches[patches["split"].isin(wanted)].reset_index(drop=True)


def check_patches(patches: pd.DataFrame, root: Path, progress: bool = True) -> pd.DataFrame:
    """Read every image of an index; nothing stops at a bad one.

    Returns:
        One row a patch of a satellite and a reference map: file (its folder, below the data set's), status
        (``ok`` or ``rejected``), reason, which names the file of a band; and what the index left out.
    """
    rows = list(patches[["s2", "s1", "reference"]].itertuples(index=False))
    table = pd.DataFrame(
        [
            row
            for found in in_threads(_check, rows, f"reading {root.name}", "patch", progress)
            for row in found
        ],
        columns=["file", "reason"],
    )
    table["file"] = [below(root, file) for file in table["file"]]
    left_out = pd.DataFrame(patches.attrs.get("rejected", []), columns=["file", "reason"])
    table = pd.concat([table, left_out], ignore_index=True)
    table.insert(1, "status", np.where(table["reason"] == "", "ok", "rejected"))
    return table


def _check(row: Any) -> list[tuple[str, str]]:
    """Return file and reason of the parts of a patch."""
    parts: list[tuple[str, Callable[[Any], Any]]] = [
        (row.s2, lambda one: read_patch(one, resampling="native")),
        (row.s1, read_radar),
        (row.reference, read_reference),
    ]
    return [(file, _reason(read, row, file)) for file, read in parts if file]


def _reason(read: Callable[[Any], Any], row: Any, file: str) -> str:
    """Return why a part of a patch cannot be used; empty where it can."""
    try:
        read(row)
    except DataError as error:
        return str(error).replace(f"{file}/", "").removeprefix(f"{file} ").rstrip(".")
    return ""


@dataclass(frozen=True)
class _Row:
    """Where the files of a patch are."""

    s2: str
    s1: str


@dataclass(frozen=True)
class _Image:
    """Reads the bands of a patch."""

    bands: tuple[str, ...]
    resampling: Resampling

    def __call__(self, row: _Row) -> np.ndarray:
        return read_patch(row, self.bands, self.resampling)["image"]


@dataclass(frozen=True)
class _Rows:
    """Folders of several patches."""

    folders: tuple[tuple[str, str], ...]

    def lazy(self, read: Callable[[_Row], np.ndarray], depth: int, kind: str) -> da.Array:
        """Return the array (patch, y, x, depth)."""
        count = len(self.folders)
        sizes = tuple(min(CHUNK, count - first) for first in range(0, count, CHUNK)) or (0,)
        chunks = (sizes, (SIZE,), (SIZE,), (depth,))
        empty = np.empty((0, 0, 0, 0), kind)
        return da.map_blocks(_Chunk(self, read), chunks=chunks, dtype=kind, meta=empty)

    def part(self, first: int, last: int) -> Iterator[_Row]:
        """Yield some of the patches."""
        return (_Row(*folders) for folders in self.folders[first:last])


@dataclass(frozen=True)
class _Chunk:
    """Reads the patches of a chunk; dask calls it with the chunk's place."""

    rows: _Rows
    read: Callable[[_Row], np.ndarray]

    def __call__(self, block_info: Any = None) -> np.ndarray:
        (first, last), *rest = block_info[None]["array-location"]
        images = [self.read(row) for row in self.rows.part(first, last)]
        shape = (0, *(end - begin for begin, end in rest))
        return np.stack(images) if images else np.empty(shape, block_info[None]["dtype"])
