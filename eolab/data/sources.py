"""Digests of source files, so that a change of the code is noticed where results were made by another one."""

import hashlib
import opcode
import sys
from collections.abc import Mapping
from pathlib import Path
from types import CodeType
from typing import Any

from eolab.core import workspace
from eolab.data.fingerprints import remembered

LIBRARIES = tuple(str(Path(place, "lib")) for place in (sys.prefix, sys.base_prefix))
NOP = opcode.opmap["NOP"]
PACKAGE = Path(__file__).resolve().parents[1]


def digests() -> dict[str, str]:
    """Return the digest of each source file of the package by its name, such as ``eolab/cli.py``.

    Comments, docstrings and the layout of the text do not count. Digests are taken once and remembered.
    """
    files = sorted(PACKAGE.rglob("*.py"))
    names = [file.relative_to(PACKAGE.parent).as_posix() for file in files]
    return remembered("sources-2", PACKAGE, files, lambda: dict(zip(names, map(digest, files), strict=True)))


def imported() -> dict[str, str]:
    """Return the digests of the source files that this process has imported.

    They are files of the package, and modules of the user below the project's root, by their path from there.
    """
    known, root, found = digests(), workspace.root(), {}
    for name, module in list(sys.modules.items()):
        file = "" if name == "__main__" else getattr(module, "__file__", None) or ""
        if not file.endswith(".py") or not file.startswith((str(PACKAGE), str(root))):
            continue
        path = Path(file)
        if path.is_relative_to(PACKAGE):
            own = path.relative_to(PACKAGE.parent).as_posix()
            found[own] = known.get(own, "")
        elif path.is_relative_to(root) and not file.startswith(LIBRARIES):
            found[path.relative_to(root).as_posix()] = digest(path)
    return dict(sorted(found.items()))


def changed(recorded: Mapping[str, str]) -> list[str]:
    """Return which files have another digest than :func:`imported` once returned.

    A file of the package that is gone has changed; one of another project, which is not here, is left out.
    """
    if not recorded:
        return []
    known, root = digests(), workspace.root()
    package = f"{PACKAGE.name}/"
    here = {name: name.startswith(package) or (root / name).is_file() for name in recorded}
    now = {name: known.get(name) or digest(root / name) for name in recorded if here[name]}
    return [name for name, digest_now in now.items() if digest_now != recorded[name]]


def digest(file: Path) -> str:
    """Return the digest of a source file without comments and docstrings; empty where it cannot be read."""
    try:
        content = file.read_bytes()
    except OSError:
        return ""
    try:
        code = compile(content, "", "exec", dont_inherit=True, optimize=2)  # without docstrings
    except (SyntaxError, ValueError):  # a file that is being written
        return hashlib.sha256(content).hexdigest()[:16]
    return hashlib.sha256(repr(_plain(code)).encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    """Return what a piece of compiled code does, without the lines that it stands in."""
    if isinstance(value, CodeType):
        names = (value.co_names, value.co_varnames, value.co_freevars, value.co_cellvars)
        form = (value.co_name, value.co_flags, value.co_argcount, value.co_kwonlyargcount)
        steps = (value.co_code[at : at + 2] for at in range(0, len(value.co_code), 2))
        kept = b"".join(step for step in steps if step[0] != NOP)  # which stands in place of a docstring
        return (form, names, kept, tuple(map(_plain, value.co_consts)))
    if isinstance(value, frozenset):
        return sorted(map(repr, value))
    return value
