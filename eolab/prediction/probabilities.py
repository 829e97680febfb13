"""Predictions on disk: written once by a model, read by everything that comes after, without it.

A file ``<part>_<output>.npy`` holds one output of a model for some samples, in the order of their rows:
``test_mask.npy`` (N, H, W), ``validation_half.npy`` (N, H/2, W/2), ``test_labels.npy`` (N, K).
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from eolab.core.files import allocate
from eolab.data.store import layout

Outputs = dict[str, np.ndarray]


def write(
    parts: Iterable[tuple[slice, Outputs]], count: int, folder: str | Path, part: str, dtype: Any = np.float16
) -> Outputs:
    """Write predictions as they come, and return their memory maps.

    Args:
        parts: Place among all samples, and predictions (n, …) by output.
        count: Number of samples N.
        folder: Where ``<part>_<output>.npy`` go.
        part: What the samples are.
        dtype: Data type of the files.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, np.memmap] = {}
    for at, found in parts:
        for name, values in found.items():
            if name not in files:
                axes, path = values.shape[1:], folder / f"{part}_{name}.npy"
                spec = layout.ArraySpec(tuple(f"axis{number}" for number, _ in enumerate(axes)), axes, dtype)
                # reserved: a full disk is an error here, and would be a signal that ends the kernel later
                allocate(path, layout.npy_header(spec, count), layout.file_bytes(spec, count))
                files[name] = np.lib.format.open_memmap(path, "r+")
            files[name][at] = values
    for file in files.values():
        file.flush()
    return read(folder, part)


def read(folder: str | Path, part: str) -> Outputs:
    """Return the memory maps that :func:`write` wrote for a part, by output; empty where there are none."""
    files = sorted(Path(folder).glob(f"{part}_*.npy"))
    return {file.stem.removeprefix(f"{part}_"): np.load(file, mmap_mode="r") for file in files}
