"""The lists of BigEarthNet: which patches train, validate and test version 1, and which show snow or cloud.

A list is a text file without a header, packed with bzip2 or not, a Sentinel-2 patch a line, in some copies
with the Sentinel-1 patch after a comma; the lines end as on Windows. Version 2 is split anew, by its own
metadata: :func:`check_splits` says what lists of version 1 would do to it.
"""

from __future__ import annotations

import bz2
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from eolab.core.errors import DataError
from eolab.data.layouts.bigearthnet_scan import S1_FOLDER, S2_FOLDER, SPLITS, Rejected, subfolders
from eolab.data.layouts.common import below

FILES = {
    "train": ("train",),
    "validation": ("val", "validation"),
    "test": ("test",),
    "snow": ("patches_with_seasonal_snow",),
    "cloud": ("patches_with_cloud_and_shadow",),
    "no_19_class": ("patches_with_no_19_class_targets",),
}
"""Names of each list without ``.csv`` or ``.csv.bz2``."""


def read_list(file: str | Path) -> pd.DataFrame:
    """Read a list.

    Returns:
        A row a line: s2 and s1, names of patches; s1 is empty where the list has one column. No row for an
        empty file.

    Raises:
        DataError: If the file cannot be read or holds something else than names.
    """
    path = Path(file)
    try:
        content = path.read_bytes()
        text = (bz2.decompress(content) if path.suffix == ".bz2" else content).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path} cannot be read ({reason}): fetch it again, or leave it out.") from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    start = 0 if not lines or S2_FOLDER.match(lines[0]) else 1  # a header
    if lines and not (lines[start:] and S2_FOLDER.match(lines[start])):
        raise DataError(f"{path} names no Sentinel-2 patch: expected a name such as S2A_MSIL2A_… a line.")
    pairs = [line.partition(",") for line in lines[start:]]
    columns = {"s2": [first.strip() for first, _, _ in pairs], "s1": [last.strip() for _, _, last in pairs]}
    return pd.DataFrame(columns)


def find_lists(root: str | Path) -> dict[str, Path]:
    """Return the lists in a folder and in the folders right in it, by the names of :data:`FILES`.

    Of several lists of one name the first is taken: the folder's own before those of its folders.
    """
    start = Path(root)
    folders = [start]
    if start.is_dir():
        names = subfolders(start)
        folders += [start / n for n in names if not (S2_FOLDER.match(n) or S1_FOLDER.match(n))]
    found: dict[str, Path] = {}
    for kind, stems in FILES.items():
        files = (
            folder / f"{stem}{end}" for folder in folders for stem in stems for end in (".csv", ".csv.bz2")
        )
        first = next((file for file in files if file.is_file()), None)
        if first is not None:
            found[kind] = first
    return found


def split_of(lists: Mapping[str, pd.DataFrame]) -> tuple[dict[str, str], Rejected]:
    """Return the split of each name, and the names that stand in two lists, which get none.

    Args:
        lists: By split, the results of :func:`read_list`.
    """
    splits: dict[str, str] = {}
    twice: dict[str, str] = {}
    for split in SPLITS:
        for name in lists[split]["s2"].tolist() if split in lists else ():
            if splits.setdefault(name, split) != split:
                twice[name] = f"stands in the lists of {splits[name]} and {split}: it gets no split"
    rejected = [{"file": name, "reason": reason} for name, reason in twice.items()]
    return {name: split for name, split in splits.items() if name not in twice}, rejected


def read_lists(root: str | Path) -> tuple[dict[str, pd.DataFrame], Rejected]:
    """Return the lists that are there by their names in :data:`FILES`, and those that cannot be read."""
    lists: dict[str, pd.DataFrame] = {}
    rejected: Rejected = []
    for kind, file in find_lists(root).items():
        try:
            lists[kind] = read_list(file)
        except DataError as error:
            reason = str(error).removeprefix(f"{file} ")
            rejected.append({"file": below(Path(root), file), "reason": reason})
    return lists, rejected


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
        there = older.reindex(listed)
        foreign |= bool((there.notna() & here.isna()).any())
        counts[split] = here.fillna(there).fillna("absent").value_counts()
    columns = [*SPLITS, "absent"]
    table = pd.DataFrame(counts).T.reindex(columns=columns).fillna(0).astype("int64")
    if foreign:
        parts = "; ".join(_sentence(str(split), row) for split, row in table.iterrows())
        warnings.warn(
            "The split lists are those of version 1 and the patches those of version 2, which is split anew: "
            f"{parts}. Take the split of the metadata, and test no model here that was trained on version 1.",
            stacklevel=2,
        )
    return table


def _sentence(split: str, row: pd.Series) -> str:
    known = int(row[list(SPLITS)].sum())
    parts = ", ".join(f"{row[name]:,} {name}" for name in SPLITS)
    return f"of {known:,} listed as {split} it has {parts}"
