"""What a store will be, known before its first sample is made: order, parts, identity, size."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eolab.core.errors import StoreError, check_known
from eolab.core.yamls import flatten
from eolab.data.store import layout
from eolab.data.store.layout import SPLIT_COLUMNS, ArraySpec

Part = tuple[str, int, int]  # name, first row, row behind the last


@dataclass(frozen=True)
class Plan:
    """All that is known of a store before its first sample is made."""

    folder: Path
    table: pd.DataFrame  # in store order, each part contiguous
    arrays: dict[str, ArraySpec]
    parts: list[Part]
    identity: dict[str, Any]
    metadata: dict[str, Any]

    @property
    def needed(self) -> int:
        """Bytes of the finished store."""
        return layout.required_bytes(self.table, self.arrays)

    def info(self, **more: Any) -> dict[str, Any]:
        """Return the content of plan.json, or of store.json with statistics in `more`."""
        return {
            "format": layout.FORMAT,
            "version": layout.VERSION,
            "samples": len(self.table),
            "parts": len(self.parts),
            "arrays": {name: spec.to_dict() for name, spec in self.arrays.items()},
            "identity": self.identity,
            "metadata": self.metadata,
            **more,
        }


def make_plan(
    folder: Path,
    table: pd.DataFrame,
    arrays: Mapping[str, ArraySpec],
    parts: str | Sequence[slice],
    inputs: Mapping[str, Any],
    metadata: Mapping[str, Any],
) -> Plan:
    """Return the plan of a store after checking what the caller gave."""
    if not len(table) or not arrays:
        raise StoreError(
            f"The store {folder} would be empty: got {len(table)} samples and {len(arrays)} arrays."
        )
    table, spans = _arrange(folder, table, parts)
    if "id" in table and not table["id"].is_unique:
        twice = table.loc[table["id"].duplicated(), "id"].iloc[0]
        raise StoreError(f"The samples of {folder} need an id each: {twice!r} occurs more than once.")
    about = layout.as_read(dict(metadata))
    coords = about.get("coords", {})
    for name, spec in arrays.items():
        for dim, length in zip(spec.dims, spec.shape, strict=True):
            if dim in coords and len(coords[dim]) != length:
                raise StoreError(
                    f"Array {name!r} of {folder} has {length} along {dim!r}: "
                    f"its coordinate has {len(coords[dim])}."
                )
    columns = [name for name in table if name not in SPLIT_COLUMNS]
    made_from = {
        "fingerprint": dict(inputs),
        "table": {"rows": len(table), **column_digests(table, columns)},
        "arrays": {name: spec.to_dict() for name, spec in arrays.items()},
        "coords": coords,
    }
    return Plan(folder, table, dict(arrays), spans, layout.as_read(made_from), about)


def _arrange(
    folder: Path, table: pd.DataFrame, parts: str | Sequence[slice]
) -> tuple[pd.DataFrame, list[Part]]:
    """Return the table with each part's rows together, and name and span of each part."""
    if isinstance(parts, str):
        check_known(parts, list(table), f"The sample table of {folder} has no column {parts!r}", StoreError)
        codes, names = pd.factorize(table[parts], use_na_sentinel=False)
        table = table.iloc[np.argsort(codes, kind="stable")].reset_index(drop=True)
        stops = np.cumsum(np.bincount(codes)).tolist()
        return table, list(zip(map(str, names), [0, *stops[:-1]], stops, strict=True))
    spans = [(str(n), *s.indices(len(table))[:2]) for n, s in enumerate(parts)]
    if [0, *(stop for _, _, stop in spans)] != [*(start for _, start, _ in spans), len(table)]:
        raise StoreError(
            f"The parts of {folder} must follow each other from row 0 to {len(table)}: got {spans}."
        )
    return table.reset_index(drop=True), spans


def check_part(plan: Plan, part: Part, produced: Mapping[str, np.ndarray]) -> None:
    """Check what was produced for a part against the promise, before any of it is written."""
    rows = part[2] - part[1]
    where = f"Part {part[0]!r} of {plan.folder}"
    if set(produced) != set(plan.arrays):
        raise StoreError(f"{where} needs the arrays {sorted(plan.arrays)}: got {sorted(produced)}.")
    for name, spec in plan.arrays.items():
        values = np.asarray(produced[name])
        if values.shape != (rows, *spec.shape) or values.dtype != spec.dtype:
            raise StoreError(
                f"{where} needs array {name!r} of shape {(rows, *spec.shape)} and type {spec.dtype}: "
                f"got {values.shape} and {values.dtype}."
            )
    for name, spec in plan.arrays.items():
        if np.dtype(spec.dtype).kind == "f":
            _check_finite(where, name, spec, produced)


def _check_finite(where: str, name: str, spec: ArraySpec, produced: Mapping[str, np.ndarray]) -> None:
    values = np.asarray(produced[name])
    if np.isinf(values).any():
        raise StoreError(
            f"{where} has infinite values in array {name!r}: set them to NaN or leave the samples out."
        )
    wrong = np.isnan(values)
    if spec.nan == "allow" or not wrong.any():
        return
    if spec.nan == "invalid" and "valid" in produced:
        valid = np.asarray(produced["valid"]).astype(bool)
        if valid.shape == values.shape[: valid.ndim]:
            wrong &= valid.reshape(valid.shape + (1,) * (values.ndim - valid.ndim))
    if wrong.any():
        raise StoreError(
            f"{where} has {int(wrong.sum()):,} NaN in array {name!r} where its rule nan={spec.nan!r} allows "
            "none: mark them in the array 'valid', fill them, or describe the array with nan='allow'."
        )


# === Identity: what a store was made from, so that a stale one is refused instead of read ===


def column_digests(table: pd.DataFrame, names: Iterable[Any]) -> dict[str, str]:
    """Return a digest of the values of some columns, in their order."""
    return {str(name): _digest(table[name]) for name in names}


def _digest(column: pd.Series) -> str:
    values = column.astype(str) if column.dtype.name == "category" else column
    try:
        hashes = pd.util.hash_pandas_object(values, index=False)
    except TypeError:  # lists and the like
        hashes = pd.util.hash_pandas_object(values.astype(str), index=False)
    return hashlib.sha256(hashes.to_numpy().tobytes()).hexdigest()[:16]


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return ``key: old → new`` for each key whose value differs; nested keys are joined by dots."""
    before, after = flatten(old), flatten(new)
    return [
        f"{key}: {_short(before, key)} → {_short(after, key)}"
        for key in dict.fromkeys([*before, *after])
        if key not in before or key not in after or before[key] != after[key]
    ]


def _short(values: Mapping[str, Any], key: str) -> str:
    text = repr(values[key]) if key in values else "(nothing)"
    return text if len(text) <= 60 else f"{text[:57]}…"
