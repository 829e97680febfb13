"""Arrays of HDF5 files that may come from strangers."""

from collections.abc import Sequence
from pathlib import Path
from typing import IO

import h5py
import numpy as np

from eolab.core.errors import DataError
from eolab.data.layouts.common import reading
from eolab.data.layouts.geotiff import AGAIN, check_size

ERRORS = (OSError, RuntimeError, ValueError, KeyError, TypeError)  # of damaged files


def read_array(name: str | Path, source: Path | IO[bytes], key: str, most: int) -> np.ndarray:
    """Read one data set of an HDF5 file.

    Args:
        name: What the file is called in an error.
        source: The file, or its content.
        key: Name of the data set.
        most: Most values that it may have.

    Raises:
        DataError: If the file cannot be read, declares a larger array, or has no such data set of its own:
            one that points to other files is not followed.
    """
    return read_arrays(name, source, [key], most)[key][0]


def read_arrays(
    name: str | Path, source: Path | IO[bytes], keys: Sequence[str], most: int, optional: Sequence[str] = ()
) -> dict[str, tuple[np.ndarray, tuple[str, ...]]]:
    """Read data sets of an HDF5 file, each with the names in its attribute ``bands``.

    Args:
        name: What the file is called in an error.
        source: The file, or its content.
        keys: Names of the data set that must be there, the first one that is there is taken.
        most: Most values that each may have.
        optional: Names of others that are read where they are there.

    Returns:
        Array and names of bands by name of the data set.

    Raises:
        DataError: See :func:`read_array`.
    """
    if isinstance(source, Path) and not source.exists():
        raise DataError(f"{name} does not exist: {AGAIN}.")
    with reading(name, "HDF5", AGAIN, ERRORS), h5py.File(source, "r") as file:
        own = {key: one for key in (*keys, *optional) if (one := _own(file, key)) is not None}
        wanted = [key for key in keys if key in own][:1] + [key for key in optional if key in own]
        if wanted and wanted[0] in keys:
            return {key: _read(name, own[key], most) for key in wanted}
        present = ", ".join(sorted(file)) or "none"
    raise DataError(f"{name} has no data set {keys[0]!r} of its own, it has: {present}; {AGAIN}.")


def _own(file: h5py.File, key: str) -> h5py.Dataset | None:
    """Return a data set whose values are in the file itself."""
    found = file.get(key) if isinstance(file.get(key, getlink=True), h5py.HardLink) else None
    usable = isinstance(found, h5py.Dataset) and not (found.external or found.is_virtual)
    return found if usable else None


def _read(name: str | Path, found: h5py.Dataset, most: int) -> tuple[np.ndarray, tuple[str, ...]]:
    for shape in (found.shape, found.chunks or ()):  # a chunk is unpacked whole
        check_size(name, (*shape, max(1, found.dtype.itemsize // 8)), most)
    bands = np.atleast_1d(found.attrs["bands"]) if "bands" in found.attrs else ()
    names = tuple(one.decode(errors="replace") if isinstance(one, bytes) else str(one) for one in bands)
    return np.asarray(found[()]), names
