"""What lies where in a store's folder: array specifications, file names, sizes and their checks."""

import datetime
import io
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from eolab.core.errors import StoreError

FORMAT, VERSION = "eolab-store", 1
STORE_FILE, TABLE_FILE = "store.json", "samples.parquet"
PLAN_FILE, JOURNAL_FILE = "plan.json", "journal.jsonl"
REMEDY = "run the notebook that wrote it again with --force (write_store: overwrite=True), or copy it again"
SPLIT_COLUMNS = ("split", "fold")  # may change after writing; the arrays never depend on them


@dataclass(frozen=True)
class ArraySpec:
    """One array of a store, described for a single sample.

    Args:
        dims: Names of the axes behind ``sample``, for example ``("time", "band")``; bands come last.
        shape: Their lengths, ``()`` for one value a sample.
        dtype: NumPy data type of the stored values.
        attrs: Attributes for xarray, for example ``{"units": "reflectance"}``.
        nan: Where a NaN is accepted: ``"invalid"`` only where the array ``valid`` is False (and nowhere in
            a store without it), ``"allow"`` everywhere, ``"forbid"`` nowhere. Infinities never are.

    Raises:
        StoreError: If dims and shape differ in number or a length is not positive.
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str | np.dtype | type = "float32"
    attrs: Mapping[str, Any] = field(default_factory=dict)
    nan: Literal["invalid", "allow", "forbid"] = "invalid"

    def __post_init__(self) -> None:
        object.__setattr__(self, "dims", tuple(self.dims))
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        object.__setattr__(self, "dtype", np.dtype(self.dtype))
        if len(self.dims) != len(self.shape) or any(n < 1 for n in self.shape) or "sample" in self.dims:
            raise StoreError(
                f"An array needs one positive length for each of its dims (without 'sample'): "
                f"got dims {self.dims} and shape {self.shape}."
            )
        if np.dtype(self.dtype).hasobject:
            raise StoreError(f"A store holds numbers, not {self.dtype}: put text into the sample table.")

    def to_dict(self) -> dict[str, Any]:
        """Return the specification as JSON-ready values."""
        return asdict(self) | {"dtype": np.dtype(self.dtype).str}


def npy_header(spec: ArraySpec, samples: int) -> bytes:
    """Return the header of the ``.npy`` file that holds `samples` samples of `spec`."""
    buffer = io.BytesIO()
    described = np.lib.format.dtype_to_descr(np.dtype(spec.dtype))
    facts = {"descr": described, "fortran_order": False, "shape": (samples, *spec.shape)}
    np.lib.format.write_array_header_1_0(buffer, facts)
    return buffer.getvalue()


def row_bytes(spec: ArraySpec) -> int:
    """Return the bytes of one sample of an array."""
    return np.dtype(spec.dtype).itemsize * math.prod(spec.shape)


def file_bytes(spec: ArraySpec, samples: int) -> int:
    """Return the exact size in bytes of an array's ``.npy`` file."""
    return len(npy_header(spec, samples)) + samples * row_bytes(spec)


def required_bytes(table: pd.DataFrame, arrays: Mapping[str, ArraySpec]) -> int:
    """Return the bytes that a store takes on disk: exact for the arrays, an upper bound for the table.

    Args:
        table: Sample table, one row a sample.
        arrays: Array specifications by name.
    """
    small_files = 64 * 1024 + 128 * len(table)  # store.json, the journal at worst one part a sample
    exact = sum(file_bytes(spec, len(table)) for spec in arrays.values())
    return exact + 2 * int(table.memory_usage(deep=True).sum()) + small_files


def array_file(folder: Path, name: str) -> Path:
    """Return the path of an array's file."""
    return folder / f"{name}.npy"


def check_array_file(folder: Path, name: str, spec: ArraySpec, samples: int) -> None:
    """Check that an array's file is there, whole and of the promised shape and type.

    Raises:
        StoreError: If it is not; the sentence names the file, what was expected and what was found.
    """
    path = array_file(folder, name)
    remedy = f"the store is damaged: {REMEDY}"
    if not path.is_file():
        raise StoreError(f"{path} is missing; {remedy}.")
    expected, found = f"shape {(samples, *spec.shape)} and type {spec.dtype}", _describe(path)
    if found != expected:
        raise StoreError(f"{path} does not start as an array of {expected} does (found {found}); {remedy}.")
    whole, size = file_bytes(spec, samples), path.stat().st_size
    if size != whole:
        raise StoreError(f"{path} has {size:,} bytes where {whole:,} were expected; {remedy}.")


def _describe(path: Path) -> str:
    """Return shape and type of a ``.npy`` file, or that it is none."""
    try:
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    except (ValueError, OSError):
        return "no .npy header"
    return f"shape {shape} and type {dtype}"


def to_json(value: Any) -> bytes:
    """Return `value` as indented JSON text; NumPy values, paths, dates and tuples become plain ones."""
    return json.dumps(value, indent=1, default=_plain, ensure_ascii=False).encode()


def as_read(value: Any) -> Any:
    """Return `value` as it will read back from JSON."""
    return json.loads(to_json(value))


def _plain(value: Any) -> Any:
    if isinstance(value, np.datetime64):
        value = pd.Timestamp(value)
    if isinstance(value, np.ndarray) and value.dtype.kind == "M":
        value = pd.to_datetime(np.ravel(value))
    if isinstance(value, np.ndarray | np.generic | pd.Index | pd.Series):
        return value.tolist()
    if isinstance(value, datetime.date):
        return value.isoformat().removesuffix("T00:00:00")
    if isinstance(value, pd.DataFrame):
        return value.to_dict("list")
    if isinstance(value, set | frozenset):
        return sorted(value)
    return str(value)


def read_json(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file of a store.

    Raises:
        StoreError: If it is missing, unreadable, or not of this format and version.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read ({error}): {REMEDY}.") from None
    found = (content.get("format"), content.get("version")) if isinstance(content, dict) else None
    if found != (FORMAT, VERSION):
        raise StoreError(
            f"{path} is not the description of a sample store: expected {(FORMAT, VERSION)}, found {found}."
        )
    return content
