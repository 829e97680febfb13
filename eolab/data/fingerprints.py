"""Fingerprints of data sets: what a store or a run was made from, taken once and remembered.

A digest follows the content of files, never their time. What was taken of a folder is kept in
:func:`eolab.core.workspace.cache` with the size and the modification time of each file, so that the next call
only lists the folder and reads the files that are new or changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from eolab.core import workspace
from eolab.core.errors import DataError
from eolab.core.files import write_atomically
from eolab.core.progress import in_threads

WHOLE, ENDS = 8 << 20, 1 << 20  # bytes: up to 8 MiB a file is hashed whole, above its first and last MiB
SETTLED_NS = 2_000_000_000  # a file that changed less than 2 s ago may change again within one clock tick

Listed = tuple[str, int, int]  # path below the folder, bytes, modification time in nanoseconds


def fingerprint_files(paths: Iterable[str | Path] | str | Path) -> dict[str, str]:
    """Return a digest of each path's content.

    Args:
        paths: Files or folders. A folder counts with all files below it, by name, size and content.

    Returns:
        Digest by path name, as it goes into `write_store(fingerprint=...)`. Where two paths share their name,
        their folders are named as well.

    Raises:
        DataError: If a path does not exist.
    """
    listed = [Path(p) for p in ([paths] if isinstance(paths, str | Path) else paths)]
    names = [p.name for p in listed]
    return {(p.name if names.count(p.name) == 1 else str(p)): fingerprint(p) for p in sorted(listed)}


def fingerprint(path: str | Path, progress: bool = True) -> str:
    """Return the digest of a file, or of all files below a folder.

    Args:
        path: The file or folder.
        progress: Whether to show progress while many files are read.

    Raises:
        DataError: If it does not exist.
    """
    path = Path(path)
    if path.is_file():
        return _of_file(str(path))
    if not path.is_dir():
        raise DataError(f"{path} does not exist: a fingerprint needs every input file.")
    found = list(_files(str(path)))
    listing = hashlib.sha256("\n".join(map(repr, found)).encode()).hexdigest()[:32]
    memory = workspace.cache() / f"fingerprint-{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}"
    with contextlib.suppress(OSError, ValueError), memory.open() as lines:
        remembered, digest = next(lines).split()
        if remembered == listing:
            return digest
        return _taken(path, found, listing, memory, dict(map(_parsed, lines)), progress)
    return _taken(path, found, listing, memory, {}, progress)


def _taken(
    folder: Path,
    found: list[Listed],
    listing: str,
    memory: Path,
    known: dict[Listed, str],
    progress: bool,
) -> str:
    """Return the digest of a folder, reading the files that are not known, and remember it."""
    now = time.time_ns()
    unknown = [one for one in found if one not in known]
    read = in_threads(
        lambda one: _of_file(f"{folder}/{one[0]}"), unknown, f"fingerprint of {folder.name}", "file", progress
    )
    known = known | dict(zip(unknown, read, strict=True))
    digest = hashlib.sha256()
    for one in found:
        digest.update(f"{one[0]}\0{known[one]}\n".encode())
    result = digest.hexdigest()[:32]
    settled = [one for one in found if one[2] < now - SETTLED_NS]
    head = listing if len(settled) == len(found) else "unsettled"
    lines = [f"{head} {result}", *(f"{known[one]} {one[1]} {one[2]} {one[0]}" for one in settled)]
    with contextlib.suppress(OSError):  # where nothing can be remembered, it is taken again
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(memory, "\n".join(lines))
    return result


def _parsed(line: str) -> tuple[Listed, str]:
    digest, size, changed, name = line.rstrip("\n").split(" ", 3)
    return (name, int(size), int(changed)), digest


def _files(folder: str, prefix: str = "") -> Iterator[Listed]:
    """Yield the files below a folder, sorted by the parts of their path."""
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path, f"{prefix}{entry.name}/")
        elif entry.is_file():
            about = entry.stat()
            yield f"{prefix}{entry.name}", about.st_size, about.st_mtime_ns


def _of_file(path: str) -> str:
    """Return the digest of a file's size and content."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.sha256(str(size).encode())
        if size <= WHOLE:
            digest.update(file.read())
        else:
            digest.update(file.read(ENDS))
            file.seek(-ENDS, os.SEEK_END)
            digest.update(file.read(ENDS))
    return digest.hexdigest()[:32]
