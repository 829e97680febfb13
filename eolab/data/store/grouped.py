"""Several samples of a store as one, such as the years of a pixel."""

import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from eolab.core.errors import StoreError, check_known
from eolab.data.schemes import IGNORE
from eolab.data.store.layout import ArraySpec
from eolab.data.store.reading import Store, row_numbers, with_day


class GroupedStore(Store):
    """The samples of a store in groups of R, each of which is one sample with an axis more, in order.

    It reads the arrays of the store: those of a sample (…) are here (R, …), ``day`` among them. The table has
    the first sample of each group.

    Args:
        store: The store.
        by: Column of its table that names the group, such as ``pixel``.
        along: Column that orders a group, such as ``year``.
        counts: Whether the label of each sample of the store counts (bool); others are 255, as are those of
            samples without any valid date. All count by default.

    Raises:
        StoreError: If a column is missing, or groups differ in their values of `along`.

    Attributes:
        rows: Rows of the store in each group (N, R).
    """

    def __init__(self, store: Store, by: str, along: str, counts: Any = None) -> None:
        for column in (by, along):
            check_known(column, list(store.table), f"{store.path} has no column {column!r}", StoreError)
        order = np.lexsort([store.table[along], store.table[by]])
        steps = np.unique(store.table[along])
        if len(order) % len(steps) or (
            (store.table[along].to_numpy()[order].reshape(-1, len(steps)) != steps).any()
            or (np.diff(store.table[by].to_numpy()[order].reshape(-1, len(steps)), axis=1) != 0).any()
        ):
            found = ", ".join(map(str, steps))
            raise StoreError(
                f"{store.path}: not every {by} has one sample of each {along} ({found}): write it again."
            )
        self._by, self._along = by, along
        self.store, self.rows = store, order.reshape(-1, len(steps))
        self.path, self.metadata = store.path, store.metadata
        self.table: pd.DataFrame = store.table.iloc[self.rows[:, 0]].reset_index(drop=True)
        self.arrays_spec = {
            name: ArraySpec((along, *spec.dims), (len(steps), *spec.shape), spec.dtype, spec.attrs, spec.nan)
            for name, spec in store.arrays_spec.items()
        }
        if store.day is not None:
            self.arrays_spec.setdefault(
                "day", ArraySpec((along, "time"), (len(steps), len(store.day)), "float32")
            )
        self._counts = np.ones(len(order), bool) if counts is None else np.asarray(counts, bool)
        if "valid" in store.arrays_spec:
            seen = [
                data["valid"].reshape(len(data["valid"]), -1).any(axis=1)
                for _, data in store.batches(names=["valid"])
            ]
            self._counts = self._counts & np.concatenate(seen)
        self.fingerprint = store.fingerprint | {"grouped": [by, along, zlib.crc32(self._counts.tobytes())]}

    def __reduce__(self) -> tuple[Any, ...]:
        return GroupedStore, (self.store, self._by, self._along, self._counts)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Nothing is mapped in groups: see :meth:`gather`.

        Raises:
            StoreError: Always.
        """
        raise StoreError(f"Groups of samples of {self.path} are gathered, not mapped: use gather.")

    def having(self, rows: Any) -> np.ndarray:
        """Return the groups that have any of some rows of the store, ascending."""
        return np.flatnonzero(np.isin(self.rows, row_numbers(rows)).any(axis=1))

    def of_rows(self, values: np.ndarray, rows: Any) -> np.ndarray:
        """Return values of some rows of the store (n, …), from those of all groups having them (N, R, …)."""
        wanted = row_numbers(rows)
        there = self.rows[self.having(wanted)].ravel()
        place = np.empty(self.rows.size, np.int64)
        place[there] = np.arange(len(there))
        return np.asarray(values).reshape(len(there), *np.shape(values)[2:])[place[wanted]]

    def gather(self, indices: Any, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        """Return groups in memory, in the order asked for; see :meth:`Store.gather`."""
        chosen = self.rows[row_numbers(indices)]  # (n, R)
        wanted = list(names or self.arrays_spec)
        stored = [name for name in wanted if name in self.store.arrays_spec or name != "day"]
        found = self.store.gather(chosen.ravel(), stored or ["label"])
        found = with_day(self.store, found) if "day" in wanted else found
        if "label" in wanted:
            found["label"] = np.where(self._counts[chosen.ravel()], found["label"], IGNORE)
        return {name: found[name].reshape(*chosen.shape, *found[name].shape[1:]) for name in wanted}

    def release(self) -> None:
        """Unmap what reading has mapped."""
        self.store.release()

    def statistics_over(self, indices: Any, array: str = "image", dim: str = "band") -> pd.DataFrame:
        """Return the statistics of an array over all samples of some groups, as those of a store."""
        return self.store.statistics_over(self.rows[row_numbers(indices)].ravel(), array, dim)
