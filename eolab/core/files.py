"""Disk work that survives a kill and a full disk: locks, atomic files, space reserved beforehand."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from eolab.core.errors import DataError, StoreError

T = TypeVar("T")

LOCK_FILE = ".eolab-store.lock"
FULL = {errno.ENOSPC, errno.EDQUOT}
UNSUPPORTED = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold the store's lock, so that there is one writer at a time; it falls with the process.

    Raises:
        StoreError: If another writer holds it.
    """
    handle = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(
                f"Another process is writing the store {folder}: wait until it is done, "
                "or choose another folder."
            ) from None
        except OSError as error:
            warnings.warn(f"No file locks on {folder} ({error}): start one writer only.", stacklevel=3)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def full_disk(folder: Path, needed: int) -> Iterator[None]:
    """Turn the system's "no space left" into one sentence.

    Args:
        folder: The store's folder.
        needed: Bytes that the whole store takes.

    Raises:
        StoreError: If the disk or a quota is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise StoreError(
            f"No space left for the store {folder}: it needs {needed:,} bytes in all and "
            f"{free_bytes(folder):,} are free; make room and run again "
            "(finished parts are kept), or choose another folder."
        ) from None


def free_bytes(folder: Path) -> int:
    """Return the bytes that are free on the disk that a folder is or would be on."""
    while not folder.exists():
        folder = folder.absolute().parent
    return shutil.disk_usage(folder).free


def allocate(path: Path, header: bytes, size: int) -> None:
    """Create a file of `size` bytes that starts with `header`, its space reserved where the system can.

    Raises:
        OSError: ENOSPC if the space is not there.
    """
    with path.open("wb") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except (AttributeError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in UNSUPPORTED:
                raise
            if free_bytes(path.parent) < size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from None
            file.truncate(size)
        file.write(header)
        sync(file.fileno())


def sync(handle: int) -> None:
    """Flush a file to the disk."""
    os.fsync(handle)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries (new and renamed files) to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file in one step: after a kill it has the old or the new content, never half of it."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            sync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_joblib(baseline: Any, path: str | os.PathLike[str]) -> Path:
    """Write a baseline to a ``.joblib`` file; an unfinished file never bears the name."""
    import joblib

    path = Path(path)
    part = path.with_name(f"{path.name}.part")
    joblib.dump(baseline, part, compress=3)
    return part.replace(path)


def read_joblib(path: str | os.PathLike[str], kind: type[T]) -> T:
    """Return what :func:`write_joblib` wrote, of the kind that is expected."""
    import joblib

    remedy = "fit the baseline again, or name another run"
    if not Path(path).is_file():
        raise DataError(f"{path}: expected a saved baseline, found no file; {remedy}.")
    try:
        loaded = joblib.load(path)
    except Exception as error:  # a damaged pickle raises nearly anything
        raise DataError(
            f"{path}: expected a saved baseline, found an unreadable file ({error}); {remedy}."
        ) from error
    if not isinstance(loaded, kind):
        raise DataError(f"{path}: expected a saved baseline, found a {type(loaded).__name__}; {remedy}.")
    return loaded
