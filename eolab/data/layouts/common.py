"""What readers of layouts share: lazy arrays of files, the choice of splits, and tables of what was read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import dask.array as da
import numpy as np
import pandas as pd

from eolab.core.errors import DataError, check_known

T = TypeVar("T")


def below(root: Path, file: str | Path) -> str:
    """Return a file's path below the data set's folder."""
    return Path(file).relative_to(root).as_posix()


def why(read: Callable[[T], Any], item: T, file: str | Path) -> str:
    """Return why an item cannot be read, without the name of its file; empty where it can."""
    try:
        read(item)
    except DataError as error:
        return str(error).replace(f"{file}/", "").removeprefix(f"{file} ")
    return ""


def report(rows: Iterable[tuple[str, str]]) -> pd.DataFrame:
    """Return file, status (``ok`` or ``rejected``) and reason of each pair of a file and a reason or ""."""
    table = pd.DataFrame(rows, columns=["file", "reason"])
    table.insert(1, "status", np.where(table["reason"] == "", "ok", "rejected"))
    return table


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
    for split in wanted:
        check_known(split, known, f"There are no patches of the split {split!r}")
    return patches[patches[column].isin(wanted)].reset_index(drop=True)


def lazy(
    read: Callable[[T], np.ndarray], items: Sequence[T], shape: tuple[int, ...], dtype: str, size: int = 1
) -> da.Array:
    """Return the array (item, …) of what a function reads for each item when it is computed.

    Args:
        read: A function of one item.
        items: For example paths.
        shape: Shape of the array of one item.
        dtype: Its data type.
        size: Items a chunk.
    """
    sizes = tuple(min(size, len(items) - first) for first in range(0, len(items), size)) or (0,)
    chunks = (sizes, *((length,) for length in shape))
    empty = np.empty((0,) * len(chunks), dtype)
    return da.map_blocks(partial(_chunk, read, tuple(items)), chunks=chunks, dtype=dtype, meta=empty)


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
        content = json.loads(Path(file).read_bytes())
    except FileNotFoundError:
        raise DataError(f"{name} is missing{end}") from None
    except OSError as error:
        raise DataError(f"{name} cannot be read ({error.strerror}){end}") from None
    except ValueError as error:
        raise DataError(f"{name} is no whole JSON file ({error}){end}") from None
    if not isinstance(content, dict):
        raise DataError(f"{name} holds no block of names and values{end}")
    return content


def ring_of(geometry: Any) -> np.ndarray | None:
    """Return the outer ring of a GeoJSON polygon, (corner, x and y); None where it is none."""
    try:
        ring = np.array(geometry["coordinates"][0], dtype=np.float64)
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    sound = ring.ndim == 2 and ring.shape[1] == 2 and len(ring) >= 4 and np.isfinite(ring).all()
    return ring if sound else None
