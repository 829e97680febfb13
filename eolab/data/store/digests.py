"""Digests of a store's files: written when a store is finished, compared when it is opened and read.

``store.json`` holds under ``digests`` the SHA-256 of its own description and of the table, and a CRC-32 of
each block of 4 MiB of each array; what comparing them costs is measured in ``benchmarks/store_digests.py``.
"""

import hashlib
import zlib
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eolab.core.errors import StoreError
from eolab.core.progress import in_threads
from eolab.data.store import layout
from eolab.data.store.layout import ArraySpec
from eolab.data.store.planning import column_digests

KEY = "digests"
BLOCK = 4 << 20  # bytes of an array that are checked together
PIECE = 16  # blocks that a thread reads at a time
WHOLE = 64 << 20  # bytes up to which an array, such as labels, is checked as a whole when it is first mapped
OLD = "has no digests of its arrays (it was written before they were kept): damage to them goes unnoticed."
CHANGED = "{path} is not what was written: it was changed or damaged after that; {remedy}."


def of_content(content: bytes) -> str:
    """Return the digest of the content of a small file."""
    return hashlib.sha256(content).hexdigest()[:32]


def of_description(info: Mapping[str, Any]) -> str:
    """Return the digest of a store's description, without its digests."""
    return of_content(layout.to_json({key: value for key, value in info.items() if key != KEY}))


def of_blocks(path: Path, start: int, size: int, blocks: Iterable[int]) -> Iterator[tuple[int, str]]:
    """Yield number and CRC-32 of blocks of an array's file, read one at a time.

    Args:
        path: The file.
        start: Bytes of its header.
        size: Bytes of a block; the last one may have fewer.
        blocks: Numbers of the blocks.
    """
    with path.open("rb") as file:
        for number in blocks:
            file.seek(start + number * size)
            yield number, f"{zlib.crc32(file.read(size)):08x}"


def _crcs(path: Path, start: int, blocks: Iterable[int]) -> str:
    return "".join(crc for _, crc in of_blocks(path, start, BLOCK, blocks))


def signature(path: Path) -> tuple[int, int]:
    """Return size and time of change of a file, zeros where it is gone: a glance that costs microseconds."""
    try:
        about = path.stat()
    except OSError:
        return 0, 0
    return about.st_size, about.st_mtime_ns


def signed(folder: Path, info: Mapping[str, Any], table: list[bytes]) -> dict[str, Any]:
    """Return a description with the digests of its store, those of the arrays taken of the files.

    Args:
        folder: Folder of the store.
        info: The description; digests of arrays that it holds are kept.
        table: Contents that the file of the table may have: two while it is being replaced.
    """
    info = layout.as_read(info)
    found: dict[str, Any] = dict(info.get(KEY, {}))
    if not found:
        found["block_bytes"], found["arrays"] = BLOCK, {}
        for name, spec in info["arrays"].items():
            path, one = layout.array_file(folder, name), ArraySpec(**spec)
            start, size = len(layout.npy_header(one, info["samples"])), path.stat().st_size
            numbers = range(-(-(size - start) // BLOCK))
            pieces = [numbers[first : first + PIECE] for first in range(0, len(numbers), PIECE)]
            read = partial(_crcs, path, start)
            found["arrays"][name] = "".join(in_threads(read, pieces, "", progress=False, threads=2))
    found["description"] = of_description(info)
    found["table"] = [of_content(content) for content in table]
    return {**info, KEY: found}


def check_description(path: Path, info: Mapping[str, Any]) -> None:
    """Refuse a description that was edited after it was written.

    Raises:
        StoreError: If its digest differs.
    """
    if KEY not in info:
        return
    found = info[KEY] if isinstance(info[KEY], dict) else {}
    size = found.get("block_bytes")
    whole = isinstance(size, int) and size > 0 and {"table", "arrays"} <= set(found)
    if not whole or found.get("description") != of_description(info):
        raise StoreError(CHANGED.format(path=path, remedy=layout.REMEDY))


def check_table(path: Path, info: Mapping[str, Any], content: bytes, table: pd.DataFrame) -> None:
    """Refuse a table that was sorted, edited or replaced after it was written.

    Where a store has no digests, the columns that the arrays were made from are compared, as far as they
    hold numbers or text alone: others need not read back as they were.

    Raises:
        StoreError: If the table differs.
    """
    if KEY in info:
        right = of_content(content) in info[KEY]["table"]
    else:
        kinds = {name: pd.api.types.infer_dtype(table[name], skipna=False) for name in table}
        plain = [name for name, kind in kinds.items() if kind in ("string", "integer", "floating", "boolean")]
        expected = info["identity"]["table"]
        found = column_digests(table, [name for name in plain if name in expected])
        right = all(expected[name] == digest for name, digest in found.items())
    if not right:
        raise StoreError(CHANGED.format(path=path, remedy=layout.REMEDY))


class Blocks:
    """Blocks of one array of a store, each compared with its digest when it is first read.

    Args:
        folder: Folder of the store.
        name: Name of the array.
        spec: Its specification.
        samples: Number of samples.
        info: Description of the store, with digests.
    """

    def __init__(
        self, folder: Path, name: str, spec: ArraySpec, samples: int, info: Mapping[str, Any]
    ) -> None:
        self.path, self._start = layout.array_file(folder, name), len(layout.npy_header(spec, samples))
        self.nbytes = samples * layout.row_bytes(spec)
        self._row, self._size = layout.row_bytes(spec), info[KEY]["block_bytes"]
        text = info[KEY]["arrays"][name]
        self._expected = [text[place : place + 8] for place in range(0, len(text), 8)]
        self.forget()

    def forget(self) -> None:
        """Compare every block again."""
        self.signature = signature(self.path)
        self._left = np.ones(len(self._expected), bool)

    def check(self, rows: np.ndarray | None = None) -> None:
        """Compare the blocks of some rows, or all, that were not compared yet.

        Raises:
            StoreError: If one differs.
        """
        left = self._left
        if rows is not None and left.any():
            first, last = rows * self._row // self._size, ((rows + 1) * self._row - 1) // self._size
            change = np.bincount(first, minlength=len(left) + 1) - np.bincount(
                last + 1, minlength=len(left) + 1
            )
            left = left & (np.cumsum(change)[: len(left)] > 0)
        numbers = np.flatnonzero(left).tolist()
        for number, crc in of_blocks(self.path, self._start, self._size, numbers) if numbers else ():
            if crc != self._expected[number]:
                place = f"{self.path} (from sample {number * self._size // self._row} on)"
                raise StoreError(CHANGED.format(path=place, remedy=layout.REMEDY))
            self._left[number] = False
