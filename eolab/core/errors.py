"""Errors that end in one clear sentence: what, expected, found, what to do."""

import difflib
from collections.abc import Collection, Iterable


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


def printable(text: str) -> str:
    r"""Return a text that can be printed and written as UTF-8.

    Names of files are bytes; Python has half a character for each byte that is no UTF-8, as in Latin-1 names.
    These are written as codes: ``caf\udce9.tif``.
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def did_you_mean(name: str, known: Iterable[object], most: int | None = None) -> str:
    """Return the end of an error sentence: a suggestion when one is near, and the known names.

    Args:
        name: What the user wrote.
        known: The names that exist.
        most: How many of them are written out at most; all by default.

    Returns:
        For example ``"did you mean 'lstm'? Known: lstm, tempcnn."``.
    """
    names = sorted(str(k) for k in known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    more = "" if most is None or len(names) <= most else f" and {len(names) - most} more"
    return f"{hint}Known: {', '.join(names[:most]) or 'none'}{more}."


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
    """Return the message of a library's error in one line, without its full stop."""
    text = getattr(error, "strerror", None) or str(error.__cause__ or error)
    return " ".join(text.split()).rstrip(". ") or type(error).__name__
