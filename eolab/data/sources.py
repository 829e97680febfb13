"""Digests of source files, so that a change of the code is noticed where results were made by another one."""

import ast
import hashlib
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eolab.core import workspace
from eolab.data.fingerprints import remembered

LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
INSTALLED = {"site-packages", "dist-packages"}
PACKAGE = Path(__file__).resolve().parents[1]


def digests() -> dict[str, str]:
    """Return the digest of each source file of the package by its name, such as ``eolab/cli/commands.py``.

    Comments, docstrings, the layout of the text and Python's version do not count. Digests are taken once and
    remembered.
    """
    files = sorted(PACKAGE.rglob("*.py"))
    names = [file.relative_to(PACKAGE.parent).as_posix() for file in files]
    return remembered("sources-3", PACKAGE, files, lambda: dict(zip(names, map(digest, files), strict=True)))


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
        elif path.is_relative_to(root) and not (file.startswith(LIBRARIES) or INSTALLED & {*path.parts}):
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
        code = ast.parse(content)
    except (SyntaxError, ValueError):  # a file that is being written, or none of Python
        return hashlib.sha256(content).hexdigest()[:16]
    words: list[str] = []
    _read(code, words)
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:16]


def _read(value: Any, words: list[str]) -> None:
    """Add what a piece of parsed code says, docstrings left out, the same in each version of Python."""
    if isinstance(value, ast.AST):
        words.append(type(value).__name__)
        for name in value._fields:
            part = getattr(value, name, None)
            if part is not None and part != []:
                words.append(name)
                _read(part, words)
        words.append(")")
    elif isinstance(value, list):
        for one in value:
            if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant)):
                _read(one, words)
        words.append("]")
    else:
        words.append(repr(value))
