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

from eolab.errors import StoreError
from eolab.store import layout

FULL = {errno.ENOSPC, errno.EDQUOT}
UNSUPPORTED = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold the store's lock, so that there is one writer at a time; it falls with the process.

    Raises:
        StoreError: If another writer holds it.
    """
    handle = os.open(folder / layout.LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o666)
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
