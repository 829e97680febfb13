"""Fitted baselines beside the store that they learned from, shared by runs that would fit the same again.

The points of a sweep fit one baseline on the same samples: the first one leaves model and predictions in
``<store>/baselines/<key>``, the others copy them. The key is made of everything that they depend on: the
store's digests, labels and rows, the baseline with its options and seed, the package's code, and the
versions of scikit-learn and NumPy.
"""

import contextlib
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import sklearn

from eolab.data import sources
from eolab.data.store import Store, layout
from eolab.prediction import probabilities
from eolab.tasks.baselines.base import Baseline

MODEL = "model.joblib"
Predictions = dict[str, np.ndarray]


def place(
    baseline: Baseline, store: Any, rows: Mapping[str, np.ndarray], parts: Sequence[str]
) -> Path | None:
    """Return the folder that an unfitted baseline shares; None for samples that are no store with digests.

    Args:
        baseline: The baseline.
        store: The samples.
        rows: Rows for "train" and for each part.
        parts: Parts that are predicted.
    """
    if not isinstance(store, Store) or not store.has_digests:
        return None
    labels = baseline.reader.labels(store, rows["train"])
    used = {part: np.asarray(rows[part]) for part in ("train", *parts)}
    versions = (sklearn.__version__, np.__version__)
    written = (store.path / layout.STORE_FILE).read_bytes()
    key = joblib.hash(
        [baseline, written, store.fingerprint, labels, used, sorted(sources.digests().items()), versions]
    )
    return store.path / "baselines" / f"{baseline.name}-{key}"


def load(shared: Path | None, folder: Path, parts: Sequence[str]) -> Predictions | None:
    """Copy a shared baseline into a folder and return its predictions by part; None where there is none."""
    if shared is None or not shared.is_dir():
        return None
    for file in shared.glob("files/*"):
        shutil.copyfile(file, folder / file.name)
    if any(shared.glob("*.npy")):
        return {part: np.load(shared / f"{part}.npy") for part in parts}
    return {part: next(iter(probabilities.read(folder, part).values())) for part in parts}


def keep(shared: Path | None, folder: Path, predictions: Mapping[str, np.ndarray]) -> None:
    """Leave a fitted baseline of a folder, and its predictions, to the runs that come.

    Where the store's folder cannot be written, nothing is left.
    """
    if shared is None:
        return
    new = shared.with_name(f".{shared.name}.{os.getpid()}")
    try:
        (new / "files").mkdir(parents=True)
        for part, values in predictions.items():
            if not isinstance(values, np.memmap):
                np.save(new / f"{part}.npy", values)
        maps = [file for part in predictions for file in folder.glob(f"{part}_*.npy")]
        for file in (folder / MODEL, *maps):
            shutil.copyfile(file, new / "files" / file.name)
        new.rename(shared)
    except OSError:
        with contextlib.suppress(OSError):
            shutil.rmtree(new)
