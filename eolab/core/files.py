"""Disk work that survives a kill and a full disk: locks, atomic files, space reserved beforehand."""

import contextlib
import errno
import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO, TypeVar

from eolab.core.errors import DataError, StoreError, printable, reason_of, warn

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

T = TypeVar("T")

LOCK_FILE = ".eolab-store.lock"
FULL = {errno.ENOSPC, errno.EDQUOT}
UNSUPPORTED = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


def hold(file: Path, needed: bool = True) -> TextIO | None:
    """Return a file that is locked for this process until it is closed; None if another holder has it.

    Where the system or the file system knows no locks (Windows; Lustre, FUSE), a warning says so if it is
    needed, as two writers do harm.
    """
    held = file.open("a")
    try:
        if fcntl is None:
            raise OSError(errno.ENOSYS, "this system has none")
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        held.close()
        return None
    except OSError as error:
        if needed:
            warn(f"No file locks on {file.parent} ({error}): start one writer only.")
    return held


@contextlib.contextmanager
def turn(file: Path, needed: bool = True) -> Iterator[None]:
    """Hold a locked file, waiting for its holder to end, and remove it afterwards; see :func:`hold`."""
    while True:
        if held := hold(file, needed):
            with contextlib.suppress(FileNotFoundError):  # the holder before has removed it
                if os.path.samestat(os.fstat(held.fileno()), file.stat()):
                    break
            held.close()
        time.sleep(0.1)
    with held:
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # Windows removes no open file
                file.unlink()


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold the store's lock, so that there is one writer at a time; it falls with the process.

    Raises:
        StoreError: If another writer holds it.
    """
    held = hold(folder / LOCK_FILE)
    if held is None:
        raise StoreError(
            f"Another process is writing the store {folder}: wait until it is done, or choose another folder."
        )
    with held:
        yield


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
        OSError: ENOSPC if the space is not there; then there is no file.
    """
    with path.open("wb") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except (AttributeError, OSError) as error:
            number = errno.ENOSPC if free_bytes(path.parent) < size else None
            if isinstance(error, OSError) and error.errno not in UNSUPPORTED:
                number = error.errno
            if number:
                path.unlink()
                raise OSError(number, os.strerror(number), str(path)) from None
            file.truncate(size)
        file.write(header)
        sync(file.fileno())


def sync(handle: int) -> None:
    """Flush a file to the disk."""
    os.fsync(handle)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries (new and renamed files) to the disk; Windows cannot open a folder."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], ending: str = ".tmp") -> Iterator[Path]:
    """Give the name to write a file under; at the end it is flushed to the disk and takes its own name.

    After a kill or an error the path has the old or the new content, never half of it.

    Args:
        path: The file.
        ending: End of the name to write under, for writers that look at it.
    """
    path = Path(path)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}{ending}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            sync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and not error.filename:
            error.filename = str(path)  # the sentence names it
        raise
    sync_folder(path.parent)


def write_atomically(path: Path, content: bytes | str) -> None:
    """Replace a file by other content in one step; text as UTF-8, see :func:`eolab.core.errors.printable`."""
    with replacing(path) as temporary:
        temporary.write_bytes(printable(content).encode() if isinstance(content, str) else content)


def replace_folder(new: Path, folder: Path, keep: Path | None = None) -> None:
    """Put a finished folder in the place of another one, by renaming both, and remove the other one.

    Args:
        new: The finished folder, on the same disk.
        folder: The place; there need not be anything yet.
        keep: Where the replaced folder goes in place of being removed.

    Raises:
        OSError: If another process was faster, or a name cannot be changed; `folder` is then as it was.
    """
    aside = keep or folder.with_name(f".{folder.name}.{time.time_ns()}.old")  # in a container ids come back
    with contextlib.suppress(FileNotFoundError):
        folder.rename(aside)
    try:
        new.rename(folder)
    except OSError:
        if not folder.exists() and aside.exists():
            aside.rename(folder)
        raise
    if keep is None:
        if aside.is_symlink():  # to a folder elsewhere, which is not ours to remove
            aside.unlink()
        shutil.rmtree(aside, ignore_errors=True)


def names_digest(folder: Path, *left_out: str) -> str:
    """Return a digest of the names of all files below a folder, some names in the folder itself left out."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    return hashlib.sha256("\n".join(sorted({*names} - {*left_out})).encode()).hexdigest()[:16]


def write_joblib(baseline: Any, path: str | os.PathLike[str]) -> Path:
    """Write a baseline to a ``.joblib`` file, in one step."""
    import joblib

    with replacing(path) as temporary:
        joblib.dump(baseline, temporary, compress=3)
    return Path(path)


def read_joblib(path: str | os.PathLike[str], kind: type[T]) -> T:
    """Return what :func:`write_joblib` wrote, of the kind that is expected.

    No code runs that the file may name, see :mod:`eolab.core.unpickling`.
    """
    from eolab.core import unpickling

    remedy = "fit the baseline again, or name another run"
    found = loaded(path, unpickling.load, "a saved baseline", remedy)
    if not isinstance(found, kind):
        raise DataError(f"{path}: expected a saved baseline, found a {type(found).__name__}; {remedy}.")
    return found


def loaded(path: str | os.PathLike[str], read: Callable[[Path], Any], expected: str, remedy: str) -> Any:
    """Return what a function makes of a file; one that is missing or damaged is refused in one sentence.

    Args:
        path: The file.
        read: Function of its path.
        expected: What the file should be, for example "a saved model".
        remedy: What to do where it is not.

    Raises:
        DataError: If the file is missing, or the function fails.
    """
    path, found = Path(path), "no file"
    if path.is_file():
        try:
            return read(path)
        except Exception as error:  # a damaged file raises nearly anything
            found = f"an unreadable file ({reason_of(error)[:300]})"
    raise DataError(f"{path}: expected {expected}, found {found}; {remedy}.")
