"""``xarray.open_dataset(folder, engine="eolab")``: the entry point of the store for xarray."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import xarray as xr
from xarray.backends import BackendEntrypoint

from eolab.data.store import layout
from eolab.data.store.reading import open_store


class StoreBackend(BackendEntrypoint):
    """Opens a sample store as a Dataset over memory maps."""

    description = "Sample stores of eolab (.npy arrays, samples.parquet, store.json)"
    open_dataset_parameters = ("filename_or_obj", "drop_variables")

    def open_dataset(
        self, filename_or_obj: Any, *, drop_variables: str | Iterable[str] | None = None
    ) -> xr.Dataset:
        """Return the store's dataset.

        Args:
            filename_or_obj: Folder of the store.
            drop_variables: Names to leave out.

        Raises:
            StoreError: If the store cannot be opened.
        """
        dropped = [drop_variables] if isinstance(drop_variables, str) else list(drop_variables or ())
        return open_store(filename_or_obj).dataset.drop_vars(dropped, errors="ignore")

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Return whether the path is the folder of a finished store."""
        if not isinstance(filename_or_obj, str | Path):
            return False
        return (Path(filename_or_obj) / layout.STORE_FILE).is_file()
