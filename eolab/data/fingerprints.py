"""What is known of a data set, taken once and remembered: its files' fingerprint, its patches' index.

A fingerprint follows the content of files, never their time. What was taken of a file or folder is kept in
:func:`eolab.core.workspace.cache` with the size and the modification time of each file, so that the next call
only lists the folder and reads the files that are new or changed.
"""

import contextlib
import hashlib
import itertools
import os
import pickle
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

from eolab.core import workspace
from eolab.core.errors import DataError
from eolab.core.files import replacing, turn
from eolab.core.progress import in_threads, stage, track

MANY = 100_000  # files of a data set that one command lists once
BATCH = 10_000  # files in memory at a time
HEAD = 128  # bytes at the start of what is remembered of a data set
NO_DATA = ("._", ".DS_Store", "Thumbs.db", "desktop.ini")  # files that file managers leave
SETTLED_NS = 2_000_000_000  # a file that changed less than 2 s ago may change again within one clock tick

T = TypeVar("T")
_begun: list[int] = []  # when the notebook of this process last began, nanoseconds
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


@dataclass(frozen=True)
class Taken:
    """What was taken of the files of a data set.

    Attributes:
        fingerprint: Digest of their names and contents.
        files: Number of files.
        size: Bytes of all files.
    """

    fingerprint: str
    files: int
    size: int


def fingerprint_array(values: np.ndarray) -> str:
    """Return a digest of an array's values, for what is made of files that may lie anywhere."""
    return hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()[:32]


def fingerprint(path: str | Path, progress: bool = True) -> str:
    """Return the digest of a file, or of all files below a folder, see :func:`take`."""
    return take(path, progress).fingerprint


def begin() -> None:
    """Say that a notebook begins: it lists a data set of more than 100,000 files once from now on."""
    _begun[:] = [time.time_ns()]


def take(path: str | Path, progress: bool = True) -> Taken:
    """Return the fingerprint of a file, or of all files below a folder, with their number and size.

    Every byte of every file counts, below links to folders too. Files are listed and read in a stream, so
    that memory does not grow with their number. ``eolab run`` and ``eolab sweep`` list a data set of more
    than 100,000 files once: what was listed since ``EOLAB_LISTED_SINCE`` (nanoseconds, set by the command)
    is not listed again. Without a command it is what was listed since :func:`begin`.

    Args:
        path: The file or folder.
        progress: Whether to show progress while many files are listed or read.

    Raises:
        DataError: If it does not exist, or a file cannot be read.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path} does not exist: a fingerprint needs every input file.")
    place = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]
    memory = workspace.cache() / f"files-{place}"
    listed, known = _head(memory)
    since = int(os.environ.get("EOLAB_LISTED_SINCE") or 0) or sum(_begun)
    if known and known.files > MANY and 0 < since <= memory.stat().st_mtime_ns:
        return known
    listing, count = hashlib.sha256(), 0
    shown = progress and (known is None or known.files > MANY)
    for one in track(_files(path), f"files of {path.name}", known.files if known else None, "file", shown):
        listing.update(repr(one).encode())
        count += 1
    if known and listed == listing.hexdigest()[:32]:
        with contextlib.suppress(OSError):
            os.utime(memory)
        return known
    try:
        memory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with replacing(memory) as temporary, temporary.open("wb") as new:
            return _read(path, memory, new, count, progress)
    except OSError:  # it cannot be remembered: it is read again next time
        with open(os.devnull, "wb") as new:
            return _read(path, memory, new, count, progress)


def _read(path: Path, memory: Path, new: BinaryIO, count: int, progress: bool) -> Taken:
    """Read the files that are new or changed since a data set was remembered, and write it to a new memory.

    The memory has a head of fixed length, then a line a file, in the order of the listing.
    """
    now, settled, size, own = time.time_ns(), True, 0, ""
    listing, content = hashlib.sha256(), hashlib.sha256()
    files = track(_files(path), f"fingerprint of {path.name}", count, "file", progress)
    pairs = _with_known(files, _remembered(memory))
    new.write(b" " * HEAD)
    while batch := list(itertools.islice(pairs, BATCH)):
        unknown = [one for one, digest in batch if not digest]
        read = in_threads(lambda one: _of_file(str(path / one[0])), unknown, "", progress=False)
        for one, digest in batch:
            (name, length, changed), own = one, digest or next(read)
            listing.update(repr(one).encode())
            content.update(os.fsencode(name) + f"\0{own}\n".encode())
            size += length
            if changed < now - SETTLED_NS:
                new.write(f"{own} {length} {changed} ".encode() + os.fsencode(name) + b"\n")
            else:
                settled = False
        next(read, None)  # ends its threads
    taken = Taken(content.hexdigest()[:32] if path.is_dir() else own, count, size)
    head = f"{listing.hexdigest()[:32] if settled else 'unsettled'} {taken.fingerprint} {count} {size}"
    new.seek(0)
    new.write(f"{head:<{HEAD - 1}}\n".encode())
    return taken


def _head(memory: Path) -> tuple[str, Taken | None]:
    """Return the digest of the listing that a memory was made of, and what was taken; None without one."""
    with contextlib.suppress(OSError, ValueError), memory.open("rb") as file:
        listed, digest, files, size = file.read(HEAD).decode().split()
        return listed, Taken(digest, int(files), int(size))
    return "", None


def _remembered(memory: Path) -> Iterator[tuple[Listed, str]]:
    """Yield the files that a memory holds, in order, each with its digest."""
    with contextlib.suppress(OSError), memory.open("rb") as file:
        file.seek(HEAD)
        for line in file:
            with contextlib.suppress(ValueError):  # a damaged line
                digest, size, changed, name = line.rstrip(b"\n").split(b" ", 3)
                yield (os.fsdecode(name), int(size), int(changed)), digest.decode()


def _with_known(files: Iterator[Listed], known: Iterator[tuple[Listed, str]]) -> Iterator[tuple[Listed, str]]:
    """Yield files with the digest that is remembered of each, empty where it is new or changed."""
    last = next(known, None)
    for one in files:
        place = one[0].split("/")
        while last and last[0][0].split("/") < place:
            last = next(known, None)
        yield one, last[1] if last and last[0] == one else ""


def remembered(
    name: str, root: Path, paths: Iterable[str | Path], make: Callable[[], T], state: str = ""
) -> T:
    """Return what a function makes of a data set, from memory while its files and folders are unchanged.

    Args:
        name: What is made, with a version.
        root: Folder of the data set, as it was given.
        paths: The files and folders that the result depends on, whether or not they are there; a folder
            changes when a file is added to it, removed or renamed.
        make: Makes the result, which is kept pickled; made anew when the source file of the function changes.
        state: What else the result depends on.
    """
    here = "" if Path(root).is_absolute() else os.getcwd()
    digest, newest = hashlib.sha256(os.fsencode(f"{name} {root} {here}\n")), 0
    memory = workspace.cache() / "private" / f"{name}-{digest.hexdigest()[:16]}.pickle"
    digest.update(state.encode())
    with stage(f"Files of {Path(root).name}, which may have changed"):
        for path in itertools.chain(paths, [make.__code__.co_filename]):
            try:
                about = os.stat(path)
                size, changed = about.st_size, about.st_mtime_ns
            except OSError:
                size = changed = -1
            digest.update(os.fsencode(f"{path}\0{size}\0{changed}\n"))
            newest = max(newest, changed)
    if not _is_private(memory.parent):  # a pickle runs any code: those of others are not opened
        return make()
    if kept := _kept(memory, digest.digest()):
        return kept[0]
    if newest >= time.time_ns() - SETTLED_NS:
        return make()
    with contextlib.ExitStack() as stack:
        with (
            contextlib.suppress(OSError),
            stage(f"Another process reads {Path(root).name}, waiting for it"),
        ):
            stack.enter_context(turn(memory.with_suffix(".lock"), needed=False))  # else it is made twice
        if kept := _kept(memory, digest.digest()):  # by a notebook that runs beside this one
            return kept[0]
        result = make()
        _keep(memory, (digest.digest(), result))
        return result


def _kept(memory: Path, digest: bytes) -> tuple[Any] | None:
    """Return what a file of the cache holds for a digest, if any; a damaged one raises nearly anything."""
    with contextlib.suppress(Exception), memory.open("rb") as file:
        state, result = pickle.load(file)
        return (result,) if state == digest else None
    return None


def _is_private(folder: Path) -> bool:
    """Make a folder that nobody else can write into, and return whether it is one; true on Windows."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        about = folder.lstat()
    except OSError:
        return False
    return os.name == "nt" or (about.st_uid == os.getuid() and not about.st_mode & 0o022)


def _keep(memory: Path, content: Any) -> None:
    """Pickle into a file of the cache; where that is not possible, the content is made again next time."""
    with contextlib.suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with replacing(memory) as temporary, temporary.open("wb") as file:
            pickle.dump(content, file, protocol=5)  # writes arrays without a copy


def _files(path: Path) -> Iterator[Listed]:
    """Yield a file, its name empty; or the files below a folder, sorted by the parts of their path."""
    if path.is_dir():
        yield from _below(str(path), "", (os.path.realpath(path),))
    else:
        about = path.stat()
        yield "", about.st_size, about.st_mtime_ns


def _below(folder: str, prefix: str, above: tuple[str, ...]) -> Iterator[Listed]:
    """Yield the files below a folder; no link leads back into a folder that it lies in."""
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if entry.is_dir():
            linked = (os.path.realpath(entry.path),) if entry.is_symlink() else ()
            if not set(linked) & set(above):
                yield from _below(entry.path, f"{prefix}{entry.name}/", above + linked)
        elif entry.is_file() and not entry.name.startswith(NO_DATA):
            about = entry.stat()
            yield f"{prefix}{entry.name}", about.st_size, about.st_mtime_ns


def _of_file(path: str) -> str:
    """Return the digest of a file's size and content."""
    try:
        with open(path, "rb") as file:
            digest = hashlib.sha256(str(os.fstat(file.fileno()).st_size).encode())
            hashlib.file_digest(file, lambda: digest)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}): make it readable, or take it out of the data set."
        ) from None
    return digest.hexdigest()[:32]
