"""Fingerprints: what a store was made from, so that a stale one is refused instead of read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from eolab.core.errors import StoreError
from eolab.data.store.layout import SPLIT_COLUMNS

WHOLE, ENDS = 8 << 20, 1 << 20  # bytes: up to 8 MiB a file is hashed whole, above its first and last MiB


def fingerprint_files(paths: Iterable[str | Path] | str | Path) -> dict[str, str]:
    """Return a digest of each path's content; modification times play no part.

    Args:
        paths: Files or folders. A folder counts with all files below it, by name, size and content.

    Returns:
        Digest by path name, as it goes into `write_store(fingerprint=...)`. Where two paths share their name,
        their folders are named as well.

    Raises:
        StoreError: If a path does not exist.
    """
    listed = [Path(p) for p in ([paths] if isinstance(paths, str | Path) else paths)]
    names = [p.name for p in listed]
    return {(p.name if names.count(p.name) == 1 else str(p)): _path_digest(p) for p in sorted(listed)}


def _path_digest(path: Path) -> str:
    if not path.exists():
        raise StoreError(f"{path} does not exist: a fingerprint needs every input file.")
    if path.is_file():
        return _file_digest(path)
    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}\0{_file_digest(file)}\n".encode())
    return digest.hexdigest()[:32]


def _file_digest(path: Path) -> str:
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        if size <= WHOLE:
            digest.update(file.read())
        else:
            digest.update(file.read(ENDS))
            file.seek(-ENDS, 2)
            digest.update(file.read(ENDS))
    return digest.hexdigest()[:32]


def table_digests(table: pd.DataFrame) -> dict[str, str]:
    """Return a digest of each column that the arrays may depend on (all but split and fold)."""
    return {str(c): column_digest(table[c]) for c in table.columns if c not in SPLIT_COLUMNS}


def column_digest(column: pd.Series) -> str:
    """Return a digest of a column's values in their order."""
    values = column.astype(str) if column.dtype.name == "category" else column
    try:
        hashes = pd.util.hash_pandas_object(values, index=False)
    except TypeError:  # lists and the like
        hashes = pd.util.hash_pandas_object(values.astype(str), index=False)
    return hashlib.sha256(hashes.to_numpy().tobytes()).hexdigest()[:16]


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return ``key: old → new`` for each key whose value differs; nested keys are joined by dots."""
    before, after = _flatten(old), _flatten(new)
    keys = [*before, *(k for k in after if k not in before)]
    return [
        f"{key}: {_short(before, key)} → {_short(after, key)}"
        for key in keys
        if key not in before or key not in after or before[key] != after[key]
    ]


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _short(values: Mapping[str, Any], key: str) -> str:
    if key not in values:
        return "(nothing)"
    text = repr(values[key])
    return text if len(text) <= 60 else f"{text[:57]}…"
