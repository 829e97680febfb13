"""Predictions on disk: written once by a model, read by everything that comes after, without it.

A file ``<part>_<output>.npy`` holds one output of a model for some samples, in the order of their rows:
``test_mask.npy`` (N, H, W), ``validation_half.npy`` (N, H/2, W/2), ``test_labels.npy`` (N, K).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eolab.core.progress import track
from eolab.data.store import Store

Outputs = dict[str, np.ndarray]


def write(
    compute: Callable[..., np.ndarray | Outputs],
    store: Store,
    rows: np.ndarray,
    folder: str | Path,
    part: str,
    *,
    batch_size: int = 16,
    progress: bool = True,
    inputs: Sequence[str] = ("image",),
    dtype: Any = np.float16,
) -> Outputs:
    """Write what a function of stored arrays returns for each sample.

    Args:
        compute: Function of images (n, H, W, all channels), and the other inputs, that returns the
            probabilities of ``mask`` (n, H, W), or a dict of several outputs.
        store: The samples.
        rows: Rows of the store.
        folder: Where the files go.
        part: What the rows are.
        batch_size: Samples computed at once.
        progress: Whether to show progress.
        inputs: Arrays of the store that the function takes, in their order.
        dtype: Data type of the files.
    """

    def parts() -> Iterator[tuple[slice, Outputs]]:
        batches = store.batches(rows, inputs, batch_size)
        total = -(-len(rows) // batch_size)
        for at, data in track(batches, f"Predicting {part}", total=total, unit="batch", progress=progress):
            found = compute(*(data[name] for name in inputs))
            yield at, {"mask": found} if isinstance(found, np.ndarray) else found

    return write_parts(parts(), len(rows), folder, part, dtype)


def write_parts(
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
                path, shape = folder / f"{part}_{name}.npy", (count, *values.shape[1:])
                files[name] = np.lib.format.open_memmap(path, "w+", dtype, shape)
            files[name][at] = values
    for file in files.values():
        file.flush()
    return read(folder, part)


def read(folder: str | Path, part: str) -> Outputs:
    """Return the memory maps that :func:`write` wrote for a part, by output; empty where there are none."""
    files = sorted(Path(folder).glob(f"{part}_*.npy"))
    return {file.stem.removeprefix(f"{part}_"): np.load(file, mmap_mode="r") for file in files}
