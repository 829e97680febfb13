"""What both versions of BigEarthNet share: hundreds of thousands of folders, looked through side by side."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from eolab.core.errors import DataError
from eolab.data.layouts.bigearthnet_patch import BANDS, RADAR

COLUMNS = (
    "id",
    "s2",
    "s1",
    "labels",
    "split",
    "country",
    "date",
    "snow",
    "cloud",
    "reference",
    "projection",
    "x",
    "y",
    "tile",
    "v1",
)
SPLITS = ("train", "validation", "test")
S2_FOLDER = re.compile(r"S2[A-D]_MSIL2A_")
S1_FOLDER = re.compile(r"S1[A-D]_IW_GRDH_")
NAMED = 20
"""Names of a list without a folder that are written out one by one; more are a number."""

Rejected = list[dict[str, str]]


def parents(root: Path, pattern: re.Pattern[str]) -> list[Path]:
    """Return the folders, the root or those right in it, that hold folders named by a pattern.

    Raises:
        DataError: If the root is no folder.
    """
    try:
        names = subfolders(root)
    except OSError as error:
        raise DataError(
            f"{root} cannot be opened ({error.strerror}): give the folder of the data set."
        ) from None
    candidates = [root, *(root / name for name in names if not _is_patch(name))]
    return [one for one in candidates if any(pattern.match(name) for name in _some(one))]


def subfolders(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, hidden ones left out, sorted."""
    with os.scandir(folder) as entries:
        return sorted(one.name for one in entries if not one.name.startswith(".") and one.is_dir())


def lacking(folder: str, parts: Sequence[str], more: Sequence[str] = ()) -> str:
    """Return which files a patch's folder lacks, as a reason; empty where it has all.

    Args:
        folder: Its files begin with its name.
        parts: Bands or polarisations.
        more: Ends of other files that must be there.
    """
    name = os.path.basename(folder)
    try:
        found = set(os.listdir(folder))
    except OSError as error:
        return f"cannot be opened ({error.strerror}): fetch it again"
    absent = [part for part in parts if f"{name}_{part}.tif" not in found]
    if absent:
        return f"has no {', '.join(absent)}, expected {name}_{absent[0]}.tif: fetch the patch again"
    files = [f"{name}{end}" for end in more if f"{name}{end}" not in found]
    return f"has no {files[0]}: fetch the patch again" if files else ""


def lacking_bands(folder: str, more: Sequence[str] = ()) -> str:
    """Return which files a Sentinel-2 folder lacks; empty where it has all."""
    return lacking(folder, BANDS, more)


def lacking_radar(folder: str) -> str:
    """Return which files a Sentinel-1 folder lacks; empty where it has both."""
    return lacking(folder, RADAR)


def without_folder(source: str, names: Sequence[str]) -> Rejected:
    """Return the rows for names of a list that have no folder: one by one, or as a number if they are many.

    Args:
        source: The list.
        names: The names in it that have no folder.
    """
    if len(names) > NAMED:
        some = ", ".join(names[:3])
        reason = f"names {len(names):,} patches without a folder ({some}, …): fetch them, or go on without"
        return [{"file": source, "reason": reason}]
    reason = f"is named in {source} but has no folder: fetch it, or go on without it"
    return [{"file": name, "reason": reason} for name in names]


def row_of(facts: dict[str, Any]) -> tuple[Any, ...]:
    """Return a row of the index: what is known of a patch in the order of :data:`COLUMNS`, None elsewhere."""
    return tuple(facts.get(column) for column in COLUMNS)


def table_of(rows: Sequence[tuple[Any, ...]], rejected: Rejected, root: Path) -> pd.DataFrame:
    """Return the index: the columns of both versions, one row a patch, and ``attrs["rejected"]``.

    Args:
        rows: Results of :func:`row_of`.
        rejected: File and reason of what was left out.
        root: The data set's folder.

    Raises:
        DataError: If no patch can be used.
    """
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    if table.empty:
        first = f"; {rejected[0]['file']} {rejected[0]['reason']}" if rejected else ""
        raise DataError(f"{root} holds no patch of BigEarthNet that can be used{first}.")
    table = table.astype({"date": "datetime64[s]", "snow": bool, "cloud": bool, "x": float, "y": float})
    table.attrs["rejected"] = rejected
    return table


def _is_patch(name: str) -> bool:
    return bool(S2_FOLDER.match(name) or S1_FOLDER.match(name))


def _some(folder: Path, most: int = 50) -> list[str]:
    """Return the first names in a folder as the disk gives them; none where it cannot be opened."""
    try:
        with os.scandir(folder) as entries:
            return [one.name for one in islice(entries, most)]
    except OSError:
        return []
