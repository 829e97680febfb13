"""Probabilities of patches on disk: written once by a model, read by everything that comes after, without it.

A file ``<part>_<output>.npy`` holds one output of a model for some patches, in the order of their rows:
``test_mask.npy`` (N, H, W), ``validation_half.npy`` (N, H/2, W/2), ``test_labels.npy`` (N, K).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    """Write what a function of stored images gives for each patch.

    Args:
        compute: From images (n, H, W, all channels), and the other inputs, to the probabilities of ``mask``
            (n, H, W), or to a dict of several outputs.
        store: The patches.
        rows: Rows of the store.
        folder: Where the files go.
        part: What the rows are.
        batch_size: Patches computed at once.
        progress: Whether to show progress.
        inputs: Arrays of the store that the function takes, in their order.
        dtype: Of the files.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, np.memmap] = {}
    steps = range(0, len(rows), batch_size)
    for start in track(steps, f"Predicting {part}", total=len(steps), unit="batch", progress=progress):
        data = store.gather(rows[start : start + batch_size], list(inputs))
        found = compute(*(data[name] for name in inputs))
        for name, values in ({"mask": found} if isinstance(found, np.ndarray) else found).items():
            if name not in files:
                path, shape = folder / f"{part}_{name}.npy", (len(rows), *values.shape[1:])
                files[name] = np.lib.format.open_memmap(path, "w+", dtype, shape)
            files[name][start : start + batch_size] = values
    for file in files.values():
        file.flush()
    return read(folder, part)


def read(folder: str | Path, part: str) -> Outputs:
    """Return the memory maps that :func:`write` wrote for a part, by output; empty where there are none."""
    files = sorted(Path(folder).glob(f"{part}_*.npy"))
    return {file.stem.removeprefix(f"{part}_"): np.load(file, mmap_mode="r") for file in files}
