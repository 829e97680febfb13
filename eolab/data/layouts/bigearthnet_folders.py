"""What both versions of BigEarthNet share: folders, lists of names, labels, the index.

The lists say which patches train, validate and test version 1, and which show snow or cloud. A list is a text
file without a header, packed with bzip2 or not, a Sentinel-2 patch a line, in some copies with the Sentinel-1
patch after a comma; the lines end as on Windows. Version 2 is split anew, by its own metadata:
:func:`check_splits` says what lists of version 1 would do to it.
"""

import bz2
import os
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from eolab.core.errors import DataError, warn
from eolab.data.layouts.common import Rejected, attempt, below, reading, spelt_otherwise
from eolab.data.schemes.bigearthnet import codes_of

SPLITS = ("train", "validation", "test")
S2_FOLDER = re.compile(r"S2[A-D]_MSIL2A_[ -~]*$")  # names of other letters are none of a patch
S1_FOLDER = re.compile(r"S1[A-D]_IW_GRDH_[ -~]*$")
PATCH_FOLDER = re.compile(f"{S2_FOLDER.pattern}|{S1_FOLDER.pattern}")
FILES = {
    "train": ("train",),
    "validation": ("val", "validation"),
    "test": ("test",),
    "snow": ("patches_with_seasonal_snow",),
    "cloud": ("patches_with_cloud_and_shadow",),
    "no_19_class": ("patches_with_no_19_class_targets",),
}
"""Names of each list without ``.csv`` or ``.csv.bz2``."""

NAMED = 20
"""Names of a list without a folder that are written out one by one; more are a number."""


def subfolders(folder: str | Path) -> list[str]:
    """Return the sorted names of the folders in a folder, hidden ones left out; none if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(one.name for one in entries if not one.name.startswith(".") and one.is_dir())
    except OSError:
        return []


def check_files(folder: str, parts: Sequence[str]) -> None:
    """Check that a patch's folder has the files of its bands or polarisations, which begin with its name.

    Raises:
        DataError: If a file is missing.
    """
    name = os.path.basename(folder)
    with reading(folder):
        found = set(os.listdir(folder))
    absent = [part for part in parts if f"{name}_{part}.tif" not in found]
    if absent:
        other = spelt_otherwise(f"{name}_{absent[0]}.tif", found)
        remedy = f"rename {other} and the like" if other else "fetch the patch again"
        expected = f"expected {name}_{absent[0]}.tif: {remedy}"
        raise DataError(f"{folder} has no {', '.join(absent)}, {expected}.")


def checked_labels(labels: Any, source: str) -> tuple[str, ...]:
    """Return the labels of a patch; `source` is what they stand in.

    Raises:
        DataError: If there are none or one is unknown.
    """
    if not isinstance(labels, list | tuple) or not labels:
        raise DataError(f"has no labels in {source}, found {labels!r}: leave the patch out")
    for label in labels:
        codes_of(label)
    return tuple(sys.intern(str(label)) for label in labels)  # half a million patches share 43 names


def without_folder(names: pd.Series, source: str, folders: Collection[str]) -> Rejected:
    """Return the names that have no folder: one by one, or as a number if they are many.

    Args:
        names: Names of patches.
        source: List or table that they stand in.
        folders: Names of the folders.
    """
    absent = names[~names.isin(folders)].tolist()
    if len(absent) > NAMED:
        some = ", ".join(absent[:3])
        reason = f"names {len(absent):,} patches without a folder ({some}, …): fetch them, or go on without"
        return [{"file": source, "reason": reason}]
    reason = f"is named in {source} but has no folder: fetch it, or go on without it"
    return [{"file": name, "reason": reason} for name in absent]


def finished(table: pd.DataFrame, rejected: Rejected, root: Path) -> pd.DataFrame:
    """Return an index with the data types of both versions and ``attrs["rejected"]``.

    Args:
        table: A row a patch that can be used.
        rejected: File and reason of what was left out.
        root: The data set's folder.

    Raises:
        DataError: If there is no patch.
    """
    if table.empty:
        kinds = Counter(_kind(one["reason"]) for one in rejected)
        most = next((one for one in rejected if _kind(one["reason"]) == kinds.most_common(1)[0][0]), None)
        many = f"; for example {most['file']} {most['reason']}, as most of {len(rejected):,}" if most else ""
        raise DataError(f"{root} holds no patch of BigEarthNet that can be used{many}.")
    table = table.astype({"date": "datetime64[s]", "snow": bool, "cloud": bool, "x": float, "y": float})
    table.attrs["rejected"] = rejected
    return table


def _kind(reason: str) -> str:
    """Return a reason without the names that differ from patch to patch."""
    return re.sub(r"'[^']*'|\S*_\S*|\d+", "", reason.split(": ")[0])


# === Lists ===


def read_list(file: str | Path) -> pd.DataFrame:
    """Read a list.

    Returns:
        A row a line: s2 and s1, names of patches; s1 is empty where the list has one column. No row for an
        empty file.

    Raises:
        DataError: If the file cannot be read or holds something else than names.
    """
    path = Path(file)
    with reading(path, remedy="fetch it again, or leave it out"):
        content = path.read_bytes()
        text = (bz2.decompress(content) if path.suffix == ".bz2" else content).decode("utf-8-sig")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    start = 0 if not lines or S2_FOLDER.match(lines[0]) else 1  # a header
    if lines and not (lines[start:] and S2_FOLDER.match(lines[start])):
        raise DataError(f"{path} names no Sentinel-2 patch: expected a name such as S2A_MSIL2A_… a line.")
    pairs = [line.partition(",") for line in lines[start:]]
    columns = {"s2": [first.strip() for first, _, _ in pairs], "s1": [last.strip() for _, _, last in pairs]}
    return pd.DataFrame(columns)


def find_lists(root: str | Path) -> dict[str, Path]:
    """Return the lists in a folder and in the folders right in it, by the names of :data:`FILES`.

    The first of several lists of one name is taken: the folder's own before those of its folders.
    """
    start = Path(root)
    folders = [start, *(start / name for name in subfolders(start) if not PATCH_FOLDER.match(name))]
    found: dict[str, Path] = {}
    for kind, stems in FILES.items():
        names = [f"{stem}{end}" for stem in stems for end in (".csv", ".csv.bz2")]
        files = [folder / name for folder in folders for name in names if (folder / name).is_file()]
        if files:
            found[kind] = files[0]
    return found


def read_lists(root: str | Path) -> tuple[dict[str, pd.DataFrame], Rejected]:
    """Return the lists by their names in :data:`FILES`, empty where there is none, and the damaged files."""
    lists = {kind: pd.DataFrame(columns=["s2", "s1"], dtype=str) for kind in FILES}
    rejected: Rejected = []
    for kind, file in find_lists(root).items():
        table, reason = attempt(read_list, file)
        if table is None:
            rejected.append({"file": below(Path(root), file), "reason": reason})
        else:
            lists[kind] = table
    return lists, rejected


def split_of(lists: Mapping[str, pd.DataFrame]) -> tuple[dict[str, str], Rejected]:
    """Return the split of each name, and the names that stand in two lists, which get none.

    Args:
        lists: Result of :func:`read_lists`.
    """
    every = [lists[split][["s2"]].assign(split=split) for split in SPLITS]
    listed = pd.concat(every).drop_duplicates()
    again = listed["s2"].duplicated(keep=False)
    rejected: Rejected = [
        {"file": str(name), "reason": f"stands in the lists of {' and '.join(splits)}: it gets no split"}
        for name, splits in listed[again].groupby("s2", sort=False)["split"]
    ]
    return dict(zip(listed["s2"][~again], listed["split"][~again], strict=True)), rejected


def check_splits(lists: Mapping[str, Iterable[str]], patches: pd.DataFrame) -> pd.DataFrame:
    """Warn where split lists of version 1 are laid on patches of version 2, which is split anew.

    Args:
        lists: Names of Sentinel-2 patches by split: train, validation, test.
        patches: Index or metadata of version 2: columns id, v1 (the name in version 1) and split.

    Returns:
        Patches of each list (row) by their split in version 2 (column), and ``absent``: names that version 2
        does not know. A warning gives the numbers where the lists hold names of version 1.
    """
    own = patches.drop_duplicates("id").set_index("id")["split"]
    older = patches[patches["v1"] != ""].drop_duplicates("v1").set_index("v1")["split"]
    counts, foreign = {}, False
    for split, names in lists.items():
        listed = pd.Index(list(names))
        here = own.reindex(listed)
        there = older.reindex(listed[here.isna()])
        foreign |= bool(there.notna().any())
        counts[split] = pd.concat([here.dropna(), there.fillna("absent")]).value_counts()
    table = pd.DataFrame(counts).T.reindex(columns=[*SPLITS, "absent"]).fillna(0).astype("int64")
    if foreign:
        parts = "; ".join(_sentence(str(split), row) for split, row in table.iterrows())
        warn(
            "The split lists are those of version 1 and the patches those of version 2, which is split anew: "
            f"{parts}. Take the split of the metadata, and test no model here that was trained on version 1."
        )
    return table


def _sentence(split: str, row: pd.Series) -> str:
    known = int(row[list(SPLITS)].sum())
    parts = ", ".join(f"{row[name]:,} {name}" for name in SPLITS)
    return f"of {known:,} listed as {split} it has {parts}"
