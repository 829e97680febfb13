"""Published weights of networks: one file, named by its entry for ``weights`` of :func:`eolab.tasks.fit`.

``.safetensors``, or ``.h5`` and ``.keras`` of ``keras.applications``. The entry's ``bands`` are those of the
first convolution in its order; the ``scale`` of its ``pixels`` is what the network multiplied numbers by.
"""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import xarray as xr
from safetensors import deserialize

from eolab.core import files
from eolab.core.errors import DataError
from eolab.data.layouts.common import attempt, report

KERAS_FILES = (".h5", ".keras")
REMEDY = "give a .safetensors file; docs/published_weights.md says how a .pth file becomes one"


def open_layout(path: str | Path, stated: Mapping[str, float] | None = None) -> xr.Dataset:
    """Refuse to open weights as images.

    Raises:
        DataError: In any case.
    """
    raise DataError(f"{path} holds weights of a network, no images: give their name as weights of tasks.fit.")


def index(path: str | Path) -> list[str]:
    """Return the names of the arrays in a file.

    Raises:
        DataError: If the file is missing, of another kind, or damaged.
    """
    if Path(path).suffix in KERAS_FILES:
        return files.loaded(path, _keras_names, "a whole file of Keras's weights", "fetch it again")
    return list(read(path))


def check_layout(path: Path, progress: bool = True) -> pd.DataFrame:
    """Read the whole file; return one row: file, status, reason."""
    return report([(path.name, attempt(index, path)[1])])


def read(path: str | Path) -> dict[str, np.ndarray]:
    """Return the arrays of a ``.safetensors`` file by name.

    Raises:
        DataError: If the file is missing, of another kind, or damaged.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise DataError(f"{path}: expected a file of weights, found the ending {path.suffix!r}; {REMEDY}.")

    def arrays(file: Path) -> dict[str, np.ndarray]:
        return {name: _array(**entry) for name, entry in deserialize(file.read_bytes())}

    return files.loaded(path, arrays, "a whole .safetensors file", REMEDY)


def _array(dtype: str, shape: Sequence[int], data: bytes) -> np.ndarray:
    """Return one array of a ``.safetensors`` file, bfloat16 as float32: NumPy does not know it."""
    if dtype == "BF16":
        values = (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    else:
        values = np.frombuffer(data, "?" if dtype == "BOOL" else f"<{dtype[0].lower()}{int(dtype[1:]) // 8}")
    return values.reshape(shape)


def _keras_names(path: Path) -> list[str]:
    """Return the names in a file of Keras, all of which is read."""
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            if broken := archive.testzip():
                raise ValueError(f"{broken} is damaged")
            return archive.namelist()
    found: dict[str, np.ndarray] = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]} if hasattr(item, "dtype") else {}))
    return list(found)
