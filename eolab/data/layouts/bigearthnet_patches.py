"""The patches of an index of BigEarthNet as one data set, and the check of all their files."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from eolab.core.errors import ParameterError
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
from eolab.data.layouts.common import below, lazy, of_splits, report, why
from eolab.data.schemes.bigearthnet import class_set

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
        bands: Names of the bands; see :func:`read_patch`.
        resampling: Rule of :func:`read_patch` for bands of 20 and 60 m; ``native`` is not possible here.
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
    taken = of_splits(patches, splits, "split")
    if radar:
        taken = taken[taken["s1"] != ""].reset_index(drop=True)
    chosen_set = class_set(classes)
    rows = list(taken[["s2", "s1"]].itertuples(index=False, name="Row"))
    dataset = xr.Dataset(
        {
            "image": (
                ("sample", "y", "x", "band"),
                lazy(
                    partial(_image, bands=names, resampling=resampling),
                    rows,
                    (SIZE, SIZE, len(names)),
                    "uint16",
                    CHUNK,
                ),
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
        values = lazy(read_radar, rows, (SIZE, SIZE, len(RADAR)), "float32", CHUNK)
        dataset["radar"] = (("sample", "y", "x", "polarisation"), values, {"units": "dB"})
        dataset = dataset.assign_coords(polarisation=list(RADAR))
    return dataset


def check_patches(patches: pd.DataFrame, root: Path, progress: bool = True) -> pd.DataFrame:
    """Read every image of an index; nothing stops at a bad one.

    Returns:
        One row a patch of a satellite and a reference map: file (its folder, below the data set's), status
        (``ok`` or ``rejected``), reason, which names the file of a band; and what the index left out.
    """
    rows = list(patches[["s2", "s1", "reference"]].itertuples(index=False))
    found = in_threads(_check, rows, f"reading {root.name}", "patch", progress)
    read = [(below(root, file), reason) for parts in found for file, reason in parts]
    return report([*read, *((one["file"], one["reason"]) for one in patches.attrs.get("rejected", []))])


def _check(row: Any) -> list[tuple[str, str]]:
    """Return file and reason of the parts of a patch."""
    parts: list[tuple[str, Callable[[Any], Any]]] = [
        (row.s2, lambda one: read_patch(one, resampling="native")),
        (row.s1, read_radar),
        (row.reference, read_reference),
    ]
    return [(file, why(read, row, file).rstrip(".")) for file, read in parts if file]


def _image(row: Any, bands: tuple[str, ...], resampling: Resampling) -> np.ndarray:
    """Return the bands of a patch (y, x, band)."""
    return read_patch(row, bands, resampling)["image"]
