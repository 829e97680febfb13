"""What readers of layouts share: lazy arrays of files, the choice of splits, errors, tables of files."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from eolab.core import yamls
from eolab.core.errors import DataError, ParameterError, check_all, printable, reason_of
from eolab.data.bands import normalise_band
from eolab.data.schemes import check_codes

if TYPE_CHECKING:
    import dask.array

T = TypeVar("T")
R = TypeVar("R")
Rejected = list[dict[str, str]]
"""File and reason of what was left out."""


_CLUTTER = re.compile(r"\..*|__MACOSX|Thumbs\.db|desktop\.ini", re.IGNORECASE)
_ARCHIVE = re.compile(r".*\.(zip|tar|tgz|tbz2?|txz|7z|rar|gz|bz2|xz|zst)", re.IGNORECASE)
_LOOKED_AT = 50  # folders in a folder that are searched for a data set
SCENE_CLASSES = 12


def below(root: Path, file: str | Path) -> str:
    """Return a file's path below the data set's folder, as text that can be printed."""
    return printable(Path(file).relative_to(root).as_posix())


def is_clutter(name: str) -> bool:
    """Return whether a file or folder is one that operating systems leave, hidden or ``Thumbs.db``."""
    return _CLUTTER.fullmatch(name) is not None


def files_in(folder: Path, ending: str) -> tuple[list[Path], list[tuple[Path, str]]]:
    """Return the files of a folder by name, and what looks like one but holds no data.

    Args:
        folder: The folder; without it there are no files.
        ending: End of their names in small letters, for example ``.tif``; capitals count too.

    Returns:
        The files; and the first of the files that macOS leaves beside others (``._image_1.h5``), with a
        reason that counts them.
    """
    names = sorted(os.listdir(folder)) if folder.is_dir() else []
    named = [folder / name for name in names if name.lower().endswith(ending)]
    left = [file for file in named if is_clutter(file.name)]
    more = f" ({len(left):,} such files here)" if len(left) > 1 else ""
    reason = f"is a hidden file, which macOS leaves beside others, and holds no data{more}: it may be deleted"
    return [file for file in named if not is_clutter(file.name)], [(file, reason) for file in left[:1]]


def spelt_otherwise(name: str, names: Iterable[str]) -> str:
    """Return which name in a folder is the given one in capitals or with another ending; "" if none is."""
    stem = os.path.splitext(name)[0].lower()
    others = (one for one in sorted(names) if one != name and os.path.splitext(one)[0].lower() == stem)
    return next(others, "")


def lies_instead(root: str | Path, *expected: str) -> str:
    """Return the end of the sentence that a folder holds no data: what lies there instead, and the remedy.

    Args:
        root: The folder that was to be opened.
        expected: What marks the folder of the data set, as patterns below it: ``"S1list.json"``.

    Returns:
        For example ``found S1list.json in data/SEN12FLOOD: give that folder``.
    """
    start = Path(root)
    if not start.is_dir():
        remedy = "unpack it and give the folder" if _ARCHIVE.fullmatch(start.name) else "give the folder"
        return f"found a file: {remedy}" if start.exists() else "found no such folder: check its path"
    inner = [one for parent in (start, *_folders(start)) for one in _folders(parent)]
    for folder in (*inner, start.absolute().parent):
        for pattern in expected:
            if next(folder.glob(pattern), None) is not None:
                return f"found {pattern} in {folder}: give that folder"
    names = sorted(name for name in os.listdir(start) if not is_clutter(name))
    packed = [name for name in names if _ARCHIVE.fullmatch(name)]
    if packed:
        return f"found the archive {packed[0]}: unpack it, and give the folder that comes out of it"
    listed = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return f"found {listed or 'an empty folder'}: give the folder that holds the data set, or fetch it again"


def _folders(parent: Path) -> list[Path]:
    """Return some folders in a folder; none if it cannot be read."""
    try:
        found = (one for one in parent.iterdir() if not is_clutter(one.name) and one.is_dir())
        return sorted(islice(found, _LOOKED_AT))
    except OSError:
        return []


def read_date(text: object) -> datetime:
    """Return a time as metadata write it, in UTC and without a zone.

    Args:
        text: For example ``2017-06-13 10:10:31`` or ``2017-06-13T15:10:31+05:00``.

    Raises:
        DataError: If it is no date between 1970 and 2099; the message is a reason without the file's name.
    """
    try:
        moment = datetime.fromisoformat(str(text).strip())
        if moment.tzinfo:
            moment = moment.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        moment = datetime.min
    if not 1970 <= moment.year < 2100:
        raise DataError(f"has the date {text!r:.60}, expected one such as 2017-06-13T10:10:31")
    return moment


@contextmanager
def reading(
    file: str | Path,
    kind: str = "",
    remedy: str = "fetch it again",
    errors: tuple[type[Exception], ...] = (OSError, ValueError, RasterioError, CPLE_BaseError),
) -> Iterator[None]:
    """Say in one sentence which file a library cannot read, why, and what to do.

    Args:
        file: The file, or what it is called.
        kind: What it should be, for example "parquet".
        remedy: What to do, the end of the sentence.
        errors: What the library raises of a file that is damaged.

    Raises:
        DataError: If the block raises one of the errors.
    """
    try:
        yield
    except errors as error:
        role = f" as {kind}" if kind else ""
        raise DataError(f"{file} cannot be read{role} ({reason_of(error)}): {remedy}.") from None


def attempt(read: Callable[[T], R], item: T, file: str | Path = "") -> tuple[R | None, str]:
    """Return what a function reads of an item and "", or None and the reason why it cannot.

    Args:
        read: A function of one item.
        item: For example a path.
        file: The item's file, which the reason does not name again; by default the item itself.
    """
    try:
        return read(item), ""
    except DataError as error:
        file = printable(str(file or item))
        return None, str(error).replace(f"{file}/", "").removeprefix(f"{file} ").rstrip(".")


def emptiness(pixels: np.ndarray, gaps: bool = False) -> str:
    """Return why an image holds no measurement, or only a part of one; "" for a sound image.

    Files are found in public copies that are zero throughout, or from the byte on at which a download broke.

    Args:
        pixels: An image (y, x), or (y, x, channel); 0 and NaN stand for no data.
        gaps: Whether images of the layout may lack data: then rows of zeros are a fault only where they
            begin or end within a row, below or above a row that is mostly there. The edge of a swath is
            slanted and that of a tile lies between two rows.
    """
    rows = pixels.reshape(len(pixels), -1)
    low, high = np.fmin.reduce(rows, axis=None), np.fmax.reduce(rows, axis=None)  # NaN only where all are
    fault = constant(low, high)
    if fault or low > 0 or high < 0:  # no zero: what nearly all images end with
        return fault
    filled = np.count_nonzero(rows, axis=1)
    empty = np.flatnonzero(filled == 0)
    if len(empty) < 2 or (gaps and not _broken(rows, filled, empty)):
        return ""
    return f"is zero in {len(empty)} of its {len(rows)} rows, as after a broken download"


def constant(low: Any, high: Any) -> str:
    """Return what is wrong with an image whose values go from `low` to `high`; "" where they differ.

    Digital numbers of 1 throughout are no fault: the agency's processor gives them to the darkest water.
    """
    if np.isnan(low):
        return "is NaN in every pixel (no data)"
    if low != high:
        return ""
    if low == 0:
        return "is all zero (no data)"
    return "" if np.asarray(low).dtype.kind in "ui" and low == 1 else f"holds {low:g} in every pixel"


def _broken(rows: np.ndarray, filled: np.ndarray, empty: np.ndarray) -> bool:
    """Return whether zeros begin or end within a row, next to rows that are mostly there.

    These are alike: at the nearly horizontal edge of a swath rows grow full one by one.
    """
    turned, above, below_ = rows[::-1, ::-1], empty[0] - 1, len(rows) - 2 - empty[-1]
    return _breaks_off(rows, filled, above) or _breaks_off(turned, filled[::-1], below_)


def _breaks_off(rows: np.ndarray, filled: np.ndarray, last: int) -> bool:
    """Return whether the last row that is not empty breaks off, and the two above it do not."""
    if last < 2 or rows[last, -1]:
        return False
    one, other = rows[last - 1, -1] != 0, rows[last - 2, -1] != 0
    alike = bool(one == other) and filled[last - 1] >= 0.99 * filled[last - 2]
    return bool(alike and filled[last - 1] > rows.shape[1] / 2)


def scene_classes(codes: np.ndarray, name: object) -> np.ndarray:
    """Return a scene classification of Sentinel-2 with 0, no data, in place of codes that it does not have.

    Args:
        codes: Codes of any shape, unsigned.
        name: What the image is called, for the warning or the error.

    Raises:
        DataError: If more than a hundredth of its pixels have other codes than 0 to 11.
    """
    if codes.max(initial=0) >= SCENE_CLASSES:
        expected = f"Sentinel-2's scene classification, 0 to {SCENE_CLASSES - 1}"
        check_codes(codes, range(SCENE_CLASSES), (), name, expected)
        codes = np.where(codes < SCENE_CLASSES, codes, 0).astype(codes.dtype)
    return codes


def report(rows: Iterable[tuple[str, str]], rejected: Iterable[dict[str, str]] = ()) -> pd.DataFrame:
    """Return a table of file, status (``ok`` or ``rejected``) and reason.

    Args:
        rows: Each file that was read and why it cannot be used, "" where it can.
        rejected: What was left out before.
    """
    left_out = [(one["file"], one["reason"]) for one in rejected]
    named = [(printable(file), reason) for file, reason in (*rows, *left_out)]
    table = pd.DataFrame(named, columns=["file", "reason"])
    table.insert(1, "status", np.where(table["reason"] == "", "ok", "rejected"))
    return table


def distinct_bands(bands: str | Sequence[str]) -> list[str]:
    """Return the names of Sentinel-2 bands as the products write them.

    Raises:
        ParameterError: If one is unknown or stands twice, or none is given.
    """
    names = [normalise_band(name) for name in ([bands] if isinstance(bands, str) else bands)]
    if not names or len(set(names)) < len(names):
        raise ParameterError(f"bands is {list(bands)}: give one or more bands, each once.")
    return names


def of_splits(patches: pd.DataFrame, splits: str | Sequence[str] | None, column: str) -> pd.DataFrame:
    """Return the patches of some splits, all of them for None.

    Args:
        patches: A row a patch.
        splits: One split or several.
        column: Column of the published split; patches without one have an empty text there.

    Raises:
        ParameterError: If no patch is of a split.
    """
    if splits is None:
        return patches
    wanted = [splits] if isinstance(splits, str) else list(splits)
    known = [split for split in patches[column].unique().tolist() if split]
    check_all(wanted, known, "There are no patches of the split")
    return patches[patches[column].isin(wanted)].reset_index(drop=True)


def lazy(
    read: Callable[[T], np.ndarray], items: Sequence[T], shape: tuple[int, ...], dtype: str, size: int = 1
) -> "dask.array.Array":
    """Return the array (item, …) of what a function reads for each item when it is computed.

    Args:
        read: A function of one item.
        items: For example paths.
        shape: Shape of the array of one item.
        dtype: Its data type.
        size: Items a chunk.
    """
    import dask.array  # a third of a second, which only those wait for who open the files themselves

    sizes = tuple(min(size, len(items) - first) for first in range(0, len(items), size)) or (0,)
    chunks = (sizes, *((length,) for length in shape))
    empty = np.empty((0,) * len(chunks), dtype)
    return dask.array.map_blocks(partial(_chunk, read, tuple(items)), chunks=chunks, dtype=dtype, meta=empty)


def _chunk(read: Callable[[T], np.ndarray], items: Sequence[T], block_info: Any = None) -> np.ndarray:
    """Read the items of a chunk, whose place dask gives."""
    (first, last), *rest = block_info[None]["array-location"]
    arrays = [read(item) for item in items[first:last]]
    return np.stack(arrays) if arrays else np.empty((0, *(end - begin for begin, end in rest)))


def read_json(file: str | Path, remedy: str = "", name: str = "") -> dict[str, Any]:
    """Return the block of names and values that a JSON file holds.

    Args:
        file: The file.
        remedy: What to do where it cannot be used, the end of the sentence.
        name: What to call the file in an error; by default its path.

    Raises:
        DataError: If it is missing, damaged or no block.
    """
    name, end = name or str(file), f": {remedy}." if remedy else ""
    try:
        with open(file, "rb", buffering=0) as opened:  # half the time of a path that is read
            content = yamls.loads_json(opened.read())
    except FileNotFoundError:
        raise DataError(f"{name} is missing{end}") from None
    except (OSError, ValueError) as error:
        fault = "cannot be read" if isinstance(error, OSError) else "is no whole JSON file"
        raise DataError(f"{name} {fault} ({reason_of(error)}){end}") from None
    if not isinstance(content, dict):
        raise DataError(f"{name} holds no block of names and values{end}")
    return content


def ring_of(geometry: Any) -> np.ndarray | None:
    """Return the outer ring of a GeoJSON polygon in degrees, (corner, x and y); None where it is none.

    Heights of corners are left out; the rings of several polygons, as at 180 degrees, follow each other.
    """
    try:
        every = geometry["coordinates"]
        parts = [part[0] for part in every] if geometry.get("type") == "MultiPolygon" else every[:1]
        ring = np.concatenate([np.array(part, dtype=np.float64)[:, :2] for part in parts])
    except (AttributeError, KeyError, IndexError, TypeError, ValueError):
        return None
    sound = ring.ndim == 2 and ring.shape[1] == 2 and len(ring) >= 4
    return ring if sound and (np.abs(ring) <= (360, 90)).all() else None
