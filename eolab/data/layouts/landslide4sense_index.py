"""Which patches a copy of Landslide4Sense holds: images and masks paired by their number.

Two trees are published. One is ``TrainData/img/image_N.h5`` with ``TrainData/mask/mask_N.h5``, likewise
``ValidData`` and ``TestData``, at first without masks. The other is ``images/train/image_N.h5`` with
``annotations/train/mask_N.h5``, likewise ``validation`` and ``test``.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pandas as pd

from eolab.core.errors import DataError
from eolab.data.layouts.common import below

SPLITS = ("train", "validation", "test")
TREES: dict[str, dict[str, tuple[str, str]]] = {
    "train_data": {
        "train": ("TrainData/img", "TrainData/mask"),
        "validation": ("ValidData/img", "ValidData/mask"),
        "test": ("TestData/img", "TestData/mask"),
    },
    "images_annotations": {split: (f"images/{split}", f"annotations/{split}") for split in SPLITS},
}
"""Folders of the images and the masks of each split, by tree."""

COLUMNS = ["published", "number", "image", "mask"]
_FILE = re.compile(r"(image|mask)_(\d+)\.h5")


def index(path: str | Path) -> pd.DataFrame:
    """Return the patches of a copy of the data set; names are read, files are not opened.

    Args:
        path: The folder with ``TrainData`` or with ``images``.

    Returns:
        A row a patch, by split and by number (image_10 after image_2): published (train, validation or test),
        number, image, mask (files; mask is empty in a split that was published without masks).
        ``attrs["rejected"]`` lists file and reason of what was left out: an image without its mask where
        others of its split have one (or in the training split, which was always published with masks), a mask
        without its image, a name that holds no number, a number that stands twice.

    Raises:
        DataError: If the folder holds neither tree, or both, or no patch that can be used.
    """
    patches = scan(path)
    if patches.empty:
        first = [f"; {Path(one['file']).name} {one['reason']}" for one in patches.attrs["rejected"][:1]]
        raise DataError(f"{path} holds no patch of Landslide4Sense that can be used{''.join(first)}.")
    return patches


def scan(path: str | Path) -> pd.DataFrame:
    """List and pair the files of all splits; the result is that of :func:`index`, or has no row.

    Raises:
        DataError: If the folder holds neither tree, or both.
    """
    root = Path(path)
    rows: list[tuple[str, int, str, str]] = []
    rejected: list[tuple[Path, str]] = []
    for split, folders in TREES[find_tree(root)].items():
        images, wrong_images = _numbered(root / folders[0], "image")
        masks, wrong_masks = _numbered(root / folders[1], "mask")
        labelled = bool(masks) or split == "train"
        rejected += [*wrong_images, *wrong_masks, *_unpaired(images, masks, labelled)]
        usable = sorted(images.keys() & masks.keys() if labelled else images)
        rows += [(split, number, str(images[number]), str(masks.get(number, ""))) for number in usable]
    patches = pd.DataFrame(rows, columns=COLUMNS).astype({"number": "int64"})
    patches.attrs["rejected"] = [{"file": below(root, file), "reason": reason} for file, reason in rejected]
    return patches


def find_tree(root: Path) -> str:
    """Return which published tree a folder holds, a key of :data:`TREES`.

    Raises:
        DataError: If it holds neither or both.
    """
    found = [
        name
        for name, folders in TREES.items()
        if any((root / image).is_dir() for image, _ in folders.values())
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise DataError(f"{root} holds both published trees, TrainData/… and images/…: move one away.")
    raise DataError(
        f"{root} holds no Landslide4Sense patches: expected TrainData/img/image_1.h5 … or "
        "images/train/image_1.h5 …, give the folder that holds TrainData or images."
    )


def _numbered(folder: Path, stem: str) -> tuple[dict[int, Path], list[tuple[Path, str]]]:
    """Return the files ``<stem>_N.h5`` of a folder by number, and those whose name is another.

    Only ``.h5`` files count; hidden ones, which archives of other systems leave behind, are passed over.
    """
    found: dict[int, Path] = {}
    wrong: list[tuple[Path, str]] = []
    names = sorted(os.listdir(folder)) if folder.is_dir() else []
    for name in names:
        if not name.endswith(".h5") or name.startswith("."):
            continue
        match = _FILE.fullmatch(name)
        if match is None or match[1] != stem:
            wrong.append((folder / name, f"is not named {stem}_N.h5 with a number N"))
        elif (number := int(match[2])) in found:
            wrong.append((folder / name, f"has the number {number} of {found[number].name} again"))
        else:
            found[number] = folder / name
    return found, wrong


def _unpaired(images: dict[int, Path], masks: dict[int, Path], labelled: bool) -> list[tuple[Path, str]]:
    """Return the masks without an image and, in a labelled split, the images without a mask."""
    alone = [(masks[n], f"has no image_{n}.h5 beside it") for n in sorted(masks.keys() - images.keys())]
    if labelled:
        lacking = sorted(images.keys() - masks.keys())
        alone += [(images[n], f"has no mask_{n}.h5, which its split is published with") for n in lacking]
    return alone
