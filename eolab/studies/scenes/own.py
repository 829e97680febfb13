"""Patches of one's own as the study reads them: the columns of BigEarthNet's index, and their pixels."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eolab.core.errors import DataError, ParameterError, check_all
from eolab.data import own_labels
from eolab.data.catalog import DataEntry
from eolab.data.layouts import patches
from eolab.data.schemes.bigearthnet import JOINT


def index(entry: DataEntry, progress: bool = True) -> pd.DataFrame:
    """Return the patches of a data set of layout ``rasters`` as those of BigEarthNet are indexed.

    Returns:
        The columns of :func:`eolab.data.layouts.bigearthnet_v1.index`; the group of a patch is its tile; and
        column and row of a patch among its neighbours.
        ``attrs["image"]`` holds what :func:`read` takes, ``attrs["classes"]`` the name of the class set.

    Raises:
        DataError: If the data set holds no patches, or no labels of two classes or more.
    """
    if not patches.are_meant(entry.images):
        raise DataError(
            f"The images of {entry.name} are no patches: write a pattern of names there, "
            '`files: "{class}/*.tif"` or `files: "{sample}.tif"`.'
        )
    found = patches.index(entry.path, entry.images, entry.pixels, entry.labels, progress)
    attrs = found.attrs
    names = sorted({label for labels in found["labels"] for label in labels})
    if len(names) < 2:
        raise DataError(
            f"The patches of {entry.name} have labels of {len(names)} classes, expected two: put them "
            "into a folder a class, or name a table of labels in the block labels of its entry."
        )
    scheme = own_labels.scheme_of(entry, names=names)
    known = own_labels.indices_of(entry, scheme)
    labels = [tuple(scheme.names[known[one]] for one in row if one in known) for row in found["labels"]]
    rejected = [
        {"file": file, "reason": f"has the label {'; '.join(one)}, which the entry does not name"}
        for file, one, kept in zip(found["files"], found["labels"], labels, strict=True)
        if not kept
    ]
    table = pd.DataFrame(
        {
            **{"id": found["id"], "s2": found["files"], "s1": "", "split": found["split"], "labels": labels},
            **{"country": "", "date": pd.to_datetime(found["date"]), "snow": False, "cloud": False},
            **{"reference": "", "projection": found["crs"], "x": found["x"], "y": found["y"]},
            **{"tile": found["group"], "v1": found["id"], **_cells(found)},
        }
    )
    table = table[[bool(kept) for kept in labels]].reset_index(drop=True)
    facts: dict[str, Any] = {
        "root": str(entry.path),
        "images": dict(entry.images),
        "stated": dict(entry.pixels),
    }
    facts |= {"bands": list(attrs["bands"]), "size": list(attrs["size"]), "pixel_m": _pixel_m(found)}
    table.attrs = {
        "rejected": [*attrs["rejected"], *rejected],
        "image": facts,
        "classes": JOINT.join(scheme.names),
    }
    return table


def _pixel_m(found: pd.DataFrame) -> float | None:
    """Return the side of most pixels in metres; None where patches have no place, or one in degrees."""
    pixel = float(found["pixel"].median())
    return pixel if np.isfinite(pixel) and not found["crs"].str.contains("4326").any() else None


def _cells(found: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return column and row of each patch in a raster of patches; without a place none beside another."""
    apart = 3 * np.arange(len(found))
    height, width = found.attrs["size"]
    placed = found["pixel"].notna().to_numpy()
    cells = (found["x"] / (found["pixel"] * width)).round(), (-found["y"] / (found["pixel"] * height)).round()
    column, row = (np.where(placed, cell.fillna(0), apart).astype(int) for cell in cells)
    return {"column": column - column.min(), "row": row - row.min()}


def read(files: str, facts: Mapping[str, Any], bands: Sequence[str] | None = None) -> np.ndarray:
    """Read a patch: float32 (y, x, band), 0 where there is no value.

    Args:
        files: Column ``s2`` of :func:`index`.
        facts: Its ``attrs["image"]``.
        bands: Bands to read; by default all.

    Raises:
        DataError: If it cannot be read, or holds no value.
    """
    chosen = list(bands or facts["bands"])
    check_all(chosen, facts["bands"], "The patches have no band", ParameterError)
    root, images, stated = Path(facts["root"]), facts["images"], facts["stated"]
    return patches.filled(
        patches.read_patch(files, root, images, stated, chosen, facts["size"]), root / files
    )
