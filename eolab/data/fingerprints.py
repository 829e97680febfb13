"""What is known of a data set, taken once and remembered: its files' fingerprint, its patches' index.

A fingerprint follows the content of files, never their time. What was taken of a folder is kept in
:func:`eolab.core.workspace.cache` with the size and the modification time of each file, so that the next call
only lists the folder and reads the files that are new or changed.
"""

import contextlib
import hashlib
import os
import pickle
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from eolab.core import workspace
from eolab.core.errors import DataError
from eolab.core.files import write_atomically
from eolab.core.progress import in_threads

WHOLE, ENDS = 8 << 20, 1 << 20  # bytes: up to 8 MiB a file is hashed whole, above its first and last MiB
SETTLED_NS = 2_000_000_000  # a file that changed less than 2 s ago may change again within one clock tick

T = TypeVar("T")
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

    Files up to 8 MiB count with all their content, larger ones with their size and their first and last MiB:
    a change in the middle of a large file that keeps its size is not seen.

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
    place = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]
    memory = workspace.cache() / f"fingerprint-{place}"
    known: dict[Listed, str] = {}
    with contextlib.suppress(OSError, ValueError), memory.open(errors="surrogateescape") as kept:
        remembered, result = next(kept, "").split()
        if remembered == listing:
            return result
        known = dict(map(_parsed, kept))
    now = time.time_ns()
    unknown = [one for one in found if one not in known]
    read = in_threads(
        lambda one: _of_file(f"{path}/{one[0]}"), unknown, f"fingerprint of {path.name}", "file", progress
    )
    known = known | dict(zip(unknown, read, strict=True))
    digest = hashlib.sha256()
    for one in found:
        digest.update(os.fsencode(f"{one[0]}\0{known[one]}\n"))
    result = digest.hexdigest()[:32]
    settled = [one for one in found if one[2] < now - SETTLED_NS]
    head = listing if len(settled) == len(found) else "unsettled"
    lines = [f"{head} {result}", *(f"{known[one]} {one[1]} {one[2]} {one[0]}" for one in settled)]
    _keep(memory, os.fsencode("\n".join(lines)))
    return result


def remembered(name: str, root: Path, paths: Iterable[str | Path], make: Callable[[], T]) -> T:
    """Return what a function makes of a data set, from memory while its files and folders are unchanged.

    Args:
        name: What is made, with a version.
        root: Folder of the data set, as it was given.
        paths: The files and folders that the result depends on, whether or not they are there; a folder
            changes when a file is added to it, removed or renamed.
        make: Makes the result, which is kept pickled; made anew when the source file of the function changes.
    """
    digest, newest = hashlib.sha256(os.fsencode(f"{name} {root} {os.getcwd()}\n")), 0
    memory = workspace.cache() / f"{name}-{digest.hexdigest()[:16]}.pickle"
    for path in (*paths, make.__code__.co_filename):
        try:
            about = os.stat(path)
            size, changed = about.st_size, about.st_mtime_ns
        except OSError:
            size = changed = -1
        digest.update(os.fsencode(f"{path}\0{size}\0{changed}\n"))
        newest = max(newest, changed)
    with contextlib.suppress(Exception), memory.open("rb") as file:  # a damaged pickle raises nearly anything
        state, result = pickle.load(file)
        if state == digest.digest():
            return result
    settled = newest < time.time_ns() - SETTLED_NS
    result = make()
    if settled:
        _keep(memory, pickle.dumps((digest.digest(), result)))
    return result


def _keep(memory: Path, content: bytes) -> None:
    """Write a file of the cache; where that is not possible, its content is made again next time."""
    with contextlib.suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(memory, content)


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
