"""Reading a store: memory-mapped arrays, the table, and an `xarray.Dataset` over both."""

import io
import json
import mmap
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from eolab.core import files as disk
from eolab.core.errors import StoreError, check_all, check_known, warn
from eolab.data.fingerprints import fingerprint_array
from eolab.data.store import digests, layout, statistics
from eolab.data.store.layout import ArraySpec

BATCH_BYTES = 32 << 20
LARGE_ROW = 64 * 1024  # bytes above which copying row by row beats a gather and a second copy


class Store:
    """A finished sample store; `open_store` returns one. Arrays stay on disk until they are gathered.

    Attributes:
        path: Its folder.
        table: Sample table, one row a sample, in the order of the arrays.
        arrays_spec: Array specifications by name.
        metadata: What `write_store` was given: coords, class scheme, recipe, provenance.
        fingerprint: What `write_store` was given.
    """

    def __init__(self, path: Path, info: dict[str, Any], table: pd.DataFrame) -> None:
        self.path = path
        self.table = table
        self._info = info
        self.arrays_spec = {name: ArraySpec(**spec) for name, spec in info["arrays"].items()}
        self.metadata: dict[str, Any] = info["metadata"]
        self.fingerprint: dict[str, Any] = info["identity"]["fingerprint"]
        self._statistics: dict[tuple[str, str, str], dict[str, Any]] = {}  # asked for last
        self._written = digests.signature(path / layout.STORE_FILE)
        self._blocks = {
            name: digests.Blocks(path, name, spec, len(table), info)
            for name, spec in self.arrays_spec.items()
            if digests.KEY in info
        }

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        arrays = ", ".join(f"{n} {s.dtype}{list(s.dims)}{list(s.shape)}" for n, s in self.arrays_spec.items())
        return f"<Store {self.path}: {len(self):,} samples, {self.nbytes / 1e6:,.1f} MB; {arrays}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return open_store, (self.path,)  # a copy in another process maps the files again

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """Read-only memory maps by name, each ``(sample, …)``; those up to 64 MiB are compared with digests.

        Larger ones are compared by :meth:`gather`, as far as it reads, and by :meth:`verify`.
        """
        for blocks in self._blocks.values():
            if blocks.nbytes <= digests.WHOLE:
                blocks.check()
        return {name: np.load(layout.array_file(self.path, name), mmap_mode="r") for name in self.arrays_spec}

    @property
    def has_digests(self) -> bool:
        """Whether ``store.json`` has the digests of table and arrays; an older one has none."""
        return digests.KEY in self._info

    def verify(self) -> None:
        """Compare all arrays with their digests, block by block.

        Raises:
            StoreError: If one was changed or damaged, or there are no digests.
        """
        if not self._blocks:
            raise StoreError(f"{self.path} {digests.OLD}")
        for blocks in self._blocks.values():
            blocks.forget()
            blocks.check()

    def _compare(self, names: Iterable[str], rows: np.ndarray) -> None:
        """Compare what is about to be read with its digests, and notice a store that was written anew.

        Raises:
            StoreError: If the store or the samples have changed since they were written or opened.
        """
        written = digests.signature(self.path / layout.STORE_FILE)
        if written != self._written:
            file = self.path / layout.STORE_FILE
            if not file.is_file() or file.read_bytes() != layout.to_json(self._info):
                raise StoreError(
                    f"The store {self.path} was written again or removed since it was opened: "
                    "run again what reads it."
                )
            self._written = written
        for name in names:
            blocks = self._blocks.get(name)
            if blocks is None or not isinstance(self.arrays[name], np.memmap):
                continue
            if blocks.signature != digests.signature(blocks.path):
                layout.check_array_file(self.path, name, self.arrays_spec[name], len(self))
                blocks.forget()
                self.arrays[name] = np.load(blocks.path, mmap_mode="r")
            blocks.check(rows)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return len(self) * sum(layout.row_bytes(spec) for spec in self.arrays_spec.values())

    @property
    def coords(self) -> dict[str, list[Any]]:
        """Coordinates of the arrays by dim, such as the names of the bands."""
        return self.metadata.get("coords", {})

    def channel_names(self, array: str = "image") -> tuple[str, ...]:
        """Return the names of the channels of an array, those of its last dim.

        Raises:
            StoreError: If the store does not have the array, or does not name its channels.
        """
        check_known(array, self.arrays_spec, f"{self.path} has no array {array!r}", StoreError)
        dim = self.arrays_spec[array].dims[-1]
        if dim not in self.coords:
            raise StoreError(
                f"{self.path} does not name the channels of {array!r}: write it again with coords of {dim!r}."
            )
        return tuple(self.coords[dim])

    @property
    def time(self) -> pd.DatetimeIndex | None:
        """Dates of the time axis; None for a store without one."""
        values = self.coords.get("time")
        return None if values is None else pd.to_datetime(values, format="ISO8601")

    @cached_property
    def day(self) -> np.ndarray | None:
        """Days of the time axis, see :func:`days`; None for a store without one."""
        return None if self.time is None else days(self.time)

    @property
    def own_day(self) -> list[str]:
        """The array ``day`` (sample, time), where samples have days of their own; else no name.

        They count as in :func:`days`, from 1 January of the sample's first year, and stand before those of
        the time axis: samples of several years have other dates each.
        """
        return ["day"] if "day" in self.arrays_spec else []

    def indices(self, split: str | Iterable[str], column: str = "split") -> np.ndarray:
        """Return the rows of a split, ascending int64.

        Args:
            split: A value of the column, or several.
            column: Column of the table.

        Raises:
            StoreError: If the column or a value of it is unknown.
        """
        check_known(column, list(self.table), f"{self.path} has no column {column!r}", StoreError)
        wanted = [split] if isinstance(split, str) or not isinstance(split, Iterable) else list(split)
        known = self.table[column].dropna().unique().tolist()
        check_all(wanted, known, f"No sample of {self.path} has {column}", StoreError)
        return np.flatnonzero(self.table[column].isin(wanted).to_numpy())

    def gather(self, indices: Any, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        """Return samples in memory, in the order asked for; the disk is read in its own order.

        Args:
            indices: Rows (any order, repeats allowed) or a boolean mask over all samples.
            names: Arrays to return; all by default.

        Raises:
            StoreError: If a row or an array does not exist, or differs from what was written.
        """
        rows = row_numbers(indices)
        if rows.size and (rows.min() < 0 or rows.max() >= len(self)):
            raise StoreError(
                f"{self.path} has rows 0 to {len(self) - 1}: got rows {rows.min()} to {rows.max()}."
            )
        order = np.argsort(rows, kind="stable")
        wanted = list(names or self.arrays_spec)
        check_all(wanted, self.arrays_spec, f"{self.path} has no array", StoreError)
        self._compare(wanted, rows)
        return {name: _take(self.arrays[name], rows, order) for name in wanted}

    def with_labels(self, label: np.ndarray) -> "Store":
        """Return the store with other labels, held in memory; its files stay as they are.

        Args:
            label: Labels of all samples, in the shape of the array ``label``.
        """
        found = open_store(self.path)
        found.arrays = found.arrays | {"label": label}
        found.fingerprint = self.fingerprint | {"labels": fingerprint_array(label)}
        return found

    def batches(
        self, rows: Any = None, names: Iterable[str] | None = None, size: int = 0
    ) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
        """Yield samples in memory, a batch at a time, so that a walk over a store of any size stays small.

        Args:
            rows: Rows or mask as in :meth:`gather`, in their order; all samples by default.
            names: Arrays to return; all by default.
            size: Samples a batch; by default as many as take 32 MiB.

        Yields:
            Where the batch stands among the rows, and its arrays.

        Raises:
            StoreError: If a row or an array does not exist.

        Example:
            >>> means = np.empty(len(rows))
            >>> for part, data in store.batches(rows, ["image"]):
            ...     means[part] = data["image"].mean((1, 2, 3))
        """
        rows = np.arange(len(self)) if rows is None else row_numbers(rows)
        wanted = list(names or self.arrays_spec)
        if not size:
            sample = sum(
                layout.row_bytes(self.arrays_spec[name]) for name in wanted if name in self.arrays_spec
            )
            size = max(1, BATCH_BYTES // max(1, sample))
        for start in range(0, len(rows), size):
            part = slice(start, min(start + size, len(rows)))
            yield part, self.gather(rows[part], wanted)
            self.release()

    def release(self) -> None:
        """Unmap what reading has mapped, so that a pass over the store does not count as memory in use."""
        for array in self.arrays.values():
            if isinstance(array.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
                array.base.madvise(mmap.MADV_DONTNEED)

    @property
    def statistics(self) -> pd.DataFrame:
        """Count, mean, std, min and max of ``image`` by band, over valid positions of the training split.

        Without a split column, over all samples. Values are in the units of the array.
        """
        return self.statistics_over(statistics.training_rows(self))

    def statistics_over(self, indices: Any, array: str = "image", dim: str = "band") -> pd.DataFrame:
        """Return the same as `statistics` for other rows, for example the training part of a fold.

        Args:
            indices: Rows.
            array: Name of an array.
            dim: Name of its last dim.

        Raises:
            StoreError: If the store has no such array with such a last dim.
        """
        rows, found = np.sort(np.asarray(indices)), self._info.get("statistics", {})
        key = (array, dim, statistics.digest(rows))
        if array != "image" or found.get("rows") != key[-1]:  # those written are of `image`
            known = {}
            if array in self._blocks:  # a change would be noticed
                self._compare(self._blocks.keys() & {array, "valid"}, rows)
                known = self._statistics
            found = known[key] if key in known else statistics.compute(self, rows, array, dim)
            self._statistics = {key: found}
        if not found:
            raise StoreError(f"{self.path} has no array {array!r} with a last dim {dim!r}: no statistics.")
        names = self.coords.get(dim, range(len(found["count"])))
        return pd.DataFrame(found, index=pd.Index(names, name=dim)).drop(columns="rows")

    @cached_property
    def dataset(self) -> xr.Dataset:
        """The store as a Dataset over the memory maps: nothing is loaded until it is computed on.

        Columns of the table are coordinates along ``sample``; one that has the name of an array or of a dim
        is called ``sample_<name>``.
        """
        variables = {
            name: (("sample", *spec.dims), self.arrays[name], dict(spec.attrs))
            for name, spec in self.arrays_spec.items()
        }
        dims = {dim for spec in self.arrays_spec.values() for dim in spec.dims}
        coords: dict[str, Any] = {
            dim: self.time if dim == "time" else np.asarray(values) for dim, values in self.coords.items()
        }
        for column in self.table.columns:
            name = f"sample_{column}" if column in dims | {"sample"} | set(variables) else str(column)
            values = self.table[column]
            coords[name] = ("sample", values.to_numpy(dtype=None if values.dtype.kind in "biufM" else object))
        attrs = {name: value for name, value in self.metadata.items() if name != "coords"}
        return xr.Dataset(variables, coords, {k: _attribute(v) for k, v in attrs.items()})

    def update(self, columns: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> None:
        """Write columns of the table and the metadata, atomically; statistics follow a new split.

        The arrays are not touched, and their coordinates stay what they are.

        Args:
            columns: Values by column, new or not, such as ``split``: one a sample, in the table's order.
            metadata: What replaces the metadata; None to keep it.

        Raises:
            StoreError: If the number of values is wrong, arrays may depend on a column, or the coordinates
                differ.
        """
        table = self.table.copy()
        for name, values in columns.items():
            if name in self._info["identity"]["table"]:
                raise StoreError(
                    f"Column {name!r} of {self.path} was there when the arrays were made: it cannot change."
                )
            if len(values) != len(table):
                raise StoreError(
                    f"Column {name!r} of {self.path} needs {len(table)} values: got {len(values)}."
                )
            table[name] = values.to_numpy() if isinstance(values, pd.Series) else values
        about = self.metadata if metadata is None else layout.as_read(dict(metadata))
        if about.get("coords", {}) != self.coords:
            raise StoreError(f"The coordinates of {self.path} belong to its arrays: they cannot change.")
        content = table_bytes(table, self.path)
        with disk.lock(self.path), disk.full_disk(self.path, self.nbytes + len(content)):
            self._describe((self.path / layout.TABLE_FILE).read_bytes(), content)  # either, after a kill
            disk.write_atomically(self.path / layout.TABLE_FILE, content)
            self.table, self.metadata = table, about
            self.__dict__.pop("dataset", None)
            rows = statistics.training_rows(self)
            if self._info.get("statistics", {}).get("rows") != statistics.digest(rows):
                self._info["statistics"] = statistics.compute(self, rows)
            self._info["metadata"] = about
            self._describe(content)

    def _describe(self, *tables: bytes) -> None:
        """Write the description, with digests of the contents that the file of the table may have."""
        if digests.KEY in self._info:
            self._info = digests.signed(self.path, self._info, list(tables))
        disk.write_atomically(self.path / layout.STORE_FILE, layout.to_json(self._info))
        self._written = digests.signature(self.path / layout.STORE_FILE)


def days(time: Any) -> np.ndarray:
    """Return dates as days since 1 January of the first one's year, float32 (T,): models' input ``day``.

    Args:
        time: Dates (T,): an index, datetime64, or ISO text.
    """
    dates = pd.DatetimeIndex(pd.to_datetime(time, format="ISO8601"))
    start = pd.Timestamp(year=dates.min().year, month=1, day=1)
    return ((dates - start) / pd.Timedelta(days=1)).to_numpy(np.float32)


def row_numbers(rows: Any) -> np.ndarray:
    """Return rows of a store, given as numbers or as a mask over all samples, as int64 numbers."""
    rows = np.asarray(rows)
    return np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64, copy=False)


def with_day(store: Store, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return arrays (n, …) of some samples with ``day`` (n, T) float32, where the store knows days.

    Args:
        store: The store.
        arrays: Arrays of samples, those of ``store.own_day`` among them.

    Raises:
        StoreError: If the samples have days of their own, and these were not gathered.
    """
    if store.own_day:
        if "day" not in arrays:
            raise StoreError(f"Samples of {store.path} have days of their own: gather the array 'day' too.")
        return arrays | {"day": arrays["day"].astype(np.float32, copy=False)}
    if store.day is None:
        return arrays
    count = len(next(iter(arrays.values())))
    return arrays | {"day": np.broadcast_to(store.day, (count, len(store.day)))}


def _take(array: np.ndarray, rows: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return ``array[rows]``, read in the order of the file; `take` beats indexing up to tenfold."""
    values = array.view(np.ndarray)
    if values[:1].nbytes < LARGE_ROW:
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return values.take(rows[order], axis=0).take(back, axis=0)
    result = np.empty((len(rows), *values.shape[1:]), values.dtype)
    for position in order:
        result[position] = values[rows[position]]
    return result


def _attribute(value: Any) -> Any:
    """Return a value that every file format of xarray takes as an attribute."""
    return value if isinstance(value, str | int | float) else json.dumps(value, ensure_ascii=False)


def table_bytes(table: pd.DataFrame, folder: Path) -> bytes:
    """Return the table as the content of a Parquet file.

    Raises:
        StoreError: If a column cannot be stored.
    """
    try:
        return table.to_parquet(index=False)
    except (ValueError, TypeError) as error:
        raise StoreError(f"The sample table of {folder} cannot be written as Parquet: {error}") from None


def open_store(path: str | Path) -> Store:
    """Open a finished store and check that each file is there, whole, and what was written.

    Description, statistics and table are compared with their digests at once, arrays when they are read. A
    warning says of a store of an older version that it has no digests of its arrays.

    Args:
        path: The store's folder.

    Raises:
        StoreError: If there is no store, it is unfinished, or a file is missing, changed or damaged.
    """
    folder = Path(path)
    if not (folder / layout.STORE_FILE).is_file():
        if (folder / layout.PLAN_FILE).is_file():
            raise StoreError(
                f"The store {folder} is unfinished: run what writes it again, it goes on where it stopped."
            )
        raise StoreError(
            f"No sample store in {folder}: expected a folder with {layout.STORE_FILE}; write it first."
        )
    info, file = layout.read_json(folder / layout.STORE_FILE), folder / layout.TABLE_FILE
    digests.check_description(folder / layout.STORE_FILE, info)
    try:
        content = file.read_bytes()
        table = pd.read_parquet(io.BytesIO(content))
    except (OSError, ValueError) as error:
        raise StoreError(f"{file} cannot be read ({error}): {layout.REMEDY}.") from None
    try:
        if len(table) != info["samples"]:
            raise StoreError(
                f"{file} has {len(table)} rows where {info['samples']} were expected: {layout.REMEDY}."
            )
        digests.check_table(file, info, content, table)
        store = Store(folder, info, table)
    except (KeyError, TypeError, AttributeError) as error:
        found = f"{type(error).__name__} {error}"
        raise StoreError(f"{folder / layout.STORE_FILE} is incomplete ({found}): {layout.REMEDY}.") from None
    for name, spec in store.arrays_spec.items():
        layout.check_array_file(folder, name, spec, len(table))
    if digests.KEY not in info:
        warn(f"{folder} {digests.OLD}")
    return store
