"""Convert a checkpoint of PyTorch to .safetensors, without PyTorch.

Usage: python docs/checkpoint_to_safetensors.py resnet50_sentinel2_all_moco.pth [out.safetensors]

Nothing in the checkpoint is run: tensors and dictionaries are read, all other objects become empty ones.
"""

from __future__ import annotations

import argparse
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import save_file

from eolab.core.errors import DataError

INSIDE = ("state_dict", "model_state_dict", "model", "teacher")  # where checkpoints keep the weights
REMEDY = "give a .pth file that torch.save of PyTorch 1.6 or newer wrote"
STORAGES = {  # NumPy's type of the numbers of each storage; bfloat16 is read as its 16 bits
    **{"DoubleStorage": "<f8", "FloatStorage": "<f4", "HalfStorage": "<f2", "BFloat16Storage": "bfloat16"},
    **{"LongStorage": "<i8", "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "i1"},
    **{"ByteStorage": "u1", "BoolStorage": "?"},
}


def convert(path: Path, target: Path) -> None:
    """Write the weights of a checkpoint to a ``.safetensors`` file, bfloat16 as float32.

    Raises:
        DataError: As :func:`read_checkpoint`.
    """
    save_file({name: np.ascontiguousarray(values) for name, values in read_checkpoint(path).items()}, target)


def read_checkpoint(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file of ``torch.save``: a ZIP archive of one pickle and the raw numbers.

    Nothing in the file is run: tensors and dictionaries are read, all other objects become empty ones.

    Raises:
        DataError: If the file is of an older PyTorch, damaged, or has no weights by name.
    """
    if not path.is_file():
        raise DataError(f"{path}: expected a checkpoint, found no file; {REMEDY}.")
    try:
        with zipfile.ZipFile(path) as archive:
            place = next(name for name in archive.namelist() if name.endswith("data.pkl"))
            with archive.open(place) as pickled:
                content = _Unpickler(pickled, archive, place.removesuffix("data.pkl")).load()
    except Exception as error:  # a damaged pickle raises nearly anything
        raise DataError(
            f"{path}: expected an archive of torch.save, found a file that cannot be read as one "
            f"({_reason(error)}); {REMEDY}."
        ) from None
    weights = _weights(content)
    if not weights:
        raise DataError(f"{path}: expected weights by name, found {_summary(content)}; {REMEDY}.")
    return weights


class _Unknown:
    """Stands for an object of a class that is not read."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        pass


class _Storage(NamedTuple):
    """Raw numbers that tensors share."""

    numbers: np.ndarray


class _Unpickler(pickle.Unpickler):
    """Reads tensors and dictionaries, and makes nothing else."""

    def __init__(self, file: Any, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(file)
        self.archive, self.folder = archive, folder

    def find_class(self, module: str, name: str) -> Any:
        known = {
            "collections.OrderedDict": OrderedDict,
            "torch._utils._rebuild_tensor_v2": _rebuild,
            "torch._utils._rebuild_parameter": lambda tensor, *others: tensor,
        }
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        return known.get(f"{module}.{name}", _Unknown)

    def persistent_load(self, pid: Any) -> _Storage:
        _, kind, key, _, count = pid
        if not isinstance(kind, str):
            raise ValueError(f"numbers of a type that is not among {', '.join(STORAGES)}")
        raw = self.archive.read(f"{self.folder}data/{key}")
        return _Storage(_numbers(raw, kind)[:count])


def _rebuild(storage: _Storage, offset: int, size: Any, stride: Any, *others: Any) -> np.ndarray:
    """Return a tensor: the numbers of a storage from `offset` on, `stride` numbers apart on each axis."""
    numbers = storage.numbers[offset:]
    if size and math.prod(size):
        last = sum((length - 1) * step for length, step in zip(size, stride, strict=True))
        if last >= len(numbers) or min(stride) < 0:
            raise ValueError("a tensor beyond the end of its numbers")
    steps = [step * numbers.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(numbers, size, steps).copy()


def _weights(content: Any) -> dict[str, np.ndarray]:
    """Return the arrays by name of a checkpoint, or of the dictionary in it that has them."""
    if not isinstance(content, Mapping):
        return {}
    found = {str(name): value for name, value in content.items() if isinstance(value, np.ndarray)}
    for key in () if found else INSIDE:
        if inner := _weights(content.get(key)):
            return inner
    return found


def _numbers(raw: bytes, kind: str) -> np.ndarray:
    """Return raw numbers as an array, bfloat16 as float32."""
    if kind == "bfloat16":
        return (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")
    return np.frombuffer(raw, kind)


def _summary(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__.strip('_')}"
    return f"a dictionary of {', '.join(str(key) for key in list(content)[:5]) or 'nothing'}"


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def main() -> None:
    """Convert the file that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("target", type=Path, nargs="?", help="beside the checkpoint by default")
    options = parser.parse_args()
    target = options.target or options.checkpoint.with_suffix(".safetensors")
    convert(options.checkpoint, target)
    print(f"wrote {target}")


if __name__ == "__main__":
    main()
