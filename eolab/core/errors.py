"""Errors that end in one clear sentence: what, expected, found, what to do."""

import contextlib
import difflib
import errno
import os
import re
import warnings
from collections.abc import Collection, Iterable, Iterator
from typing import Any

CODE = re.compile(r"[A-Z]{1,2}\d+[A-Z]?")  # such as B08, in which one digit makes another thing


class EolabError(Exception):
    """Base of all errors that eolab raises for bad input; its message is one sentence for the user."""

    def __str__(self) -> str:
        return printable(super().__str__())


class CatalogError(EolabError):
    """The data catalogue or one of its entries cannot be used."""


class DataError(EolabError):
    """A data file is missing, unreadable, or not what its layout promises."""


class StoreError(EolabError):
    """A sample store cannot be written or read, or does not match what is asked of it."""


class ParameterError(EolabError):
    """A parameter has an unknown name, a wrong type or a value outside its choices."""


class RunError(EolabError):
    """A notebook run failed or a run folder is not what it should be."""


class Stopped(KeyboardInterrupt):
    """The user stopped work; the message is one sentence that says what is kept and how to go on."""


class EolabWarning(UserWarning):
    """What a user should know although the work goes on; its message is one sentence."""


def warn(sentence: str) -> None:
    """Warn in one sentence; the same sentence from the same place is shown once a process."""
    warnings.warn(sentence, EolabWarning, stacklevel=2)


def show_sentences_alone() -> None:
    """Show eolab's own warnings without the path and the line of the package that Python puts around them."""
    write = warnings.formatwarning
    if getattr(write, "__module__", "") == __name__:
        return

    def formatwarning(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> str:
        own = issubclass(category, EolabWarning)
        return f"{message}\n" if own else write(message, category, *place, **more)

    warnings.formatwarning = formatwarning


def printable(text: str) -> str:
    r"""Return a text that can be printed and written as UTF-8.

    Names of files are bytes; Python has half a character for each byte that is no UTF-8, as in Latin-1 names.
    These are written as codes: ``caf\udce9.tif``.
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def missing_package(package: str, what: str, extra: str) -> ParameterError:
    """Return the error that a package is not installed.

    Args:
        package: Its name.
        what: What it is for, up to a comma, such as "which `eolab tune` needs".
        extra: The extra of this package that has it.
    """
    return ParameterError(
        f"The package {package}, {what}, is missing: install it with `pip install 'eolab[{extra}]'`."
    )


def did_you_mean(name: str, known: Iterable[object], most: int | None = None) -> str:
    """Return the end of an error sentence: a suggestion when one is near, and the known names.

    Args:
        name: What the user wrote.
        known: The names that exist.
        most: How many of them are written out at most, the nearest ones; all by default.

    Returns:
        For example ``"did you mean 'lstm'? Known: lstm, tempcnn."``.
    """
    names = sorted(str(k) for k in known)
    begun = [one for one in names if name and one.startswith(str(name))]
    near = sorted(begun, key=len)[:1] or difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    if near and all(CODE.fullmatch(str(one)) for one in (name, near[0])):
        near = []  # B08 is another band than B04
    hint = f"did you mean {near[0]!r}? " if near else ""
    if most is None or len(names) <= most:
        return f"{hint}Known: {', '.join(names) or 'none'}."
    nearest = sorted(difflib.get_close_matches(str(name), names, n=most, cutoff=0))
    return f"{hint}Known: {', '.join(nearest)} and {len(names) - most} more."


def check_known(
    name: object, known: Collection[object], sentence: str, error: type[EolabError] = ParameterError
) -> None:
    """Raise an error that ends in a suggestion and the known names, unless a name is among them.

    Args:
        name: What the user wrote.
        known: The names that exist.
        sentence: Beginning of the error, for example ``"There is no sensor 'S3'"``.
        error: Kind of the error.
    """
    if name not in known:
        raise error(f"{sentence}: {did_you_mean(str(name), known)}")


def check_all(
    names: Iterable[object],
    known: Collection[object],
    sentence: str,
    error: type[EolabError] = ParameterError,
) -> None:
    """Raise an error as :func:`check_known` does for the first of some names that is not known.

    Args:
        names: What the user wrote.
        known: The names that exist.
        sentence: Beginning of the error up to the name, for example ``"There is no sensor"``.
        error: Kind of the error.
    """
    for name in names:
        check_known(name, known, f"{sentence} {name!r}", error)


def reason_of(error: Exception) -> str:
    """Return the message of a library's error in one line of 300 letters at most, without its full stop."""
    text = getattr(error, "strerror", None) or str(error.__cause__ or error)
    return " ".join(text.split())[:300].rstrip(". ") or type(error).__name__


@contextlib.contextmanager
def errors_in_one_sentence(what: str, remedy: str) -> Iterator[None]:
    """Turn errors of any kind that are not eolab's own into a ParameterError.

    Args:
        what: What cannot be done.
        remedy: What to do about it.
    """
    try:
        yield
    except EolabError:
        raise
    except Exception as error:  # other packages raise nearly anything
        raise ParameterError(f"{what} ({type(error).__name__}: {reason_of(error)}): {remedy}.") from None


_OPTIONS = "(runs: `--out DIR` or EOLAB_RUNS, simulated data: EOLAB_DATA)"
_ELSEWHERE = f"write elsewhere {_OPTIONS}"
_ROOM = f"make room or {_ELSEWHERE}, then run again, what is finished is kept"
_DENIED = f"change its permissions, or {_ELSEWHERE}"
_LOST = "see whether the disk or the network drive is still connected and sound, then run again"
_REMEDIES = {  # where the system, not a wrong name, is the cause
    **dict.fromkeys(("ENOSPC", "EDQUOT", "EFBIG"), _ROOM),
    **dict.fromkeys(("EACCES", "EPERM", "EROFS"), _DENIED),
    **dict.fromkeys(("EIO", "ESTALE", "ENODEV", "ENXIO", "ENOTCONN", "ETIMEDOUT", "EREMOTEIO"), _LOST),
    **dict.fromkeys(("EMFILE", "ENFILE"), "allow more open files with `ulimit -n 4096`, then run again"),
    "ENAMETOOLONG": "choose a folder with a shorter path",
    "ENOMEM": "close other programs, or take fewer samples or smaller batches",
}
_NAMES = ("ENOENT", "ENOTDIR", "EISDIR", "EEXIST", "ENOTEMPTY", "ELOOP", "EINVAL")


def system_error(error: BaseException, names: bool = True) -> str:
    """Return one sentence, with the remedy, for an error of the system; empty for any other error.

    Args:
        error: A full disk, a folder that cannot be written, a lost drive, too little memory, and so on.
        names: Whether errors count that come of a wrong path, such as a file in the place of a folder.
    """
    if isinstance(error, MemoryError):
        return f"There is not enough memory ({error}): {_REMEDIES['ENOMEM']}.".replace(" ()", "")
    if not isinstance(error, OSError):
        return ""
    kind = errno.errorcode.get(error.errno or 0, "")
    remedy = _REMEDIES.get(kind) or (f"give another path {_OPTIONS}" if names and kind in _NAMES else "")
    if not remedy:
        return ""
    file = re.sub(r"\.\d+\.tmp\b", "", str(error.filename2 or error.filename or "A file"))
    return f"{file} cannot be read or written, {os.strerror(error.errno or 0).lower()}: {remedy}."
