"""The identity of a store: what it was made from, so that a stale one is refused instead of read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import pandas as pd

from eolab.data.store.layout import SPLIT_COLUMNS


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
