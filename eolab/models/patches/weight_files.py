"""Files of PyTorch weights as NumPy arrays by name, without PyTorch: ``.safetensors`` and ``.pth``."""

from __future__ import annotations

import json
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from eolab.core.errors import DataError

SAFETENSORS = ".safetensors"
CHECKPOINTS = (".pth", ".pt")
INSIDE = ("state_dict", "model_state_dict", "model", "teacher")  # where checkpoints keep the weights
REMEDY = "give a .safetensors file, or a .pth file that torch.save of PyTorch 1.6 or newer wrote"
TYPES = {
    **{"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "bfloat16", "I64": "<i8", "I32": "<i4"},
    **{"I16": "<i2", "I8": "i1", "U8": "u1", "BOOL": "?"},
}
STORAGES = {
    **{"DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16"},
    **{"LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8"},
    **{"ByteStorage": "U8", "BoolStorage": "BOOL"},
}


def read(path: str | Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file of weights by their names, in PyTorch's layout.

    Args:
        path: A ``.safetensors`` file, or a ``.pth`` or ``.pt`` file with weights by name, alone or inside a
            checkpoint.

    Raises:
        DataError: If the file is missing, of another kind, or damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: expected a file of weights, found no file; {REMEDY}.")
    if path.suffix == SAFETENSORS:
        return read_safetensors(path)
    if path.suffix in CHECKPOINTS:
        return read_checkpoint(path)
    raise DataError(
        f"{path}: expected a file of PyTorch weights, found the ending {path.suffix!r}; {REMEDY}."
    )


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a ``.safetensors`` file: length of the header, header in JSON, raw numbers.

    Raises:
        DataError: If the file is damaged.
    """
    raw = path.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    try:
        if not 8 < start <= len(raw):
            raise ValueError(f"a header of {start - 8:,} bytes in a file of {len(raw):,}")
        header = json.loads(raw[8:start])
        header.pop("__metadata__", None)
        return {name: _tensor(raw, start, entry) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: expected a whole .safetensors file, found {_reason(error)}; fetch it again."
        ) from None


def _tensor(raw: bytes, start: int, entry: Mapping[str, Any]) -> np.ndarray:
    """Return one array of a ``.safetensors`` file, from its entry in the header."""
    first, last = (start + int(offset) for offset in entry["data_offsets"])
    size = _itemsize(entry["dtype"]) * math.prod(entry["shape"])
    if not start <= first <= last <= len(raw) or last - first != size:
        raise ValueError(f"numbers at {first:,} to {last:,} of a file of {len(raw):,} bytes")
    return _numbers(raw[first:last], entry["dtype"]).reshape(entry["shape"])


def read_checkpoint(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file of ``torch.save``: a ZIP archive of one pickle and the raw numbers.

    Nothing in the file is run: tensors and dictionaries are read, all other objects become empty ones.

    Raises:
        DataError: If the file is of an older PyTorch, damaged, or has no weights by name.
    """
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


def _itemsize(kind: str) -> int:
    return 2 if kind == "BF16" else np.dtype(TYPES[kind]).itemsize


def _numbers(raw: bytes, kind: str) -> np.ndarray:
    """Return raw numbers as an array, bfloat16 as float32."""
    if kind == "BF16":
        return (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")
    return np.frombuffer(raw, TYPES[kind])


def _summary(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__.strip('_')}"
    return f"a dictionary of {', '.join(str(key) for key in list(content)[:5]) or 'nothing'}"


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
