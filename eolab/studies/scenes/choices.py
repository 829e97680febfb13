"""Row selection: fractions of a table, rows of each split, classes that count, example patches."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from eolab.core.errors import DataError, ParameterError
from eolab.data import tables
from eolab.data.schemes.bigearthnet import class_set
from eolab.data.splits import balance
from eolab.data.store import ArraySpec, Store, open_store
from eolab.studies.scenes.samples import PART, encode

Produce = Callable[[pd.DataFrame], dict[str, np.ndarray]]


class TimedProducer:
    """Producer that counts patches and time, so that a resumed conversion measures its own part alone.

    Args:
        produce: Function that reads one part of the store.
    """

    def __init__(self, produce: Produce) -> None:
        self.produce, self.patches = produce, 0
        self._start, self._lock = time.perf_counter(), threading.Lock()

    def __call__(self, rows: pd.DataFrame) -> dict[str, np.ndarray]:
        """Return the arrays of a part."""
        arrays = self.produce(rows)
        with self._lock:
            self.patches += len(rows)
        return arrays

    def seconds(self, table: pd.DataFrame) -> float:
        """Return the seconds since the start; if the store was complete, the time to convert one part."""
        if not self.patches:
            self._start = time.perf_counter()
            self(table.head(PART))
        return time.perf_counter() - self._start


def subset(table: pd.DataFrame, classes: str, fraction: float, seed: int = 0) -> pd.DataFrame:
    """Return a part of a sample table, stratified by label, with new ids and parts.

    Args:
        table: Result of :func:`eolab.studies.scenes.sample_table`.
        classes: Name of the class set.
        fraction: Fraction of the rows, above 0 and up to 1.
        seed: Seed of the draw.
    """
    if fraction == 1:
        return table
    rows = balance.fraction(encode(table, classes), np.arange(len(table)), fraction, seed)
    kept = table.iloc[rows].reset_index(drop=True)
    place = np.arange(len(kept))
    return kept.assign(id=place, part=[f"{number // PART:06d}" for number in place])


def split_rows(store: Store, fraction: float = 1.0, seed: int = 0) -> dict[str, np.ndarray]:
    """Return the rows of train, validation and test that have a label.

    Args:
        store: Store of the study.
        fraction: Fraction of the training rows, stratified by label.
        seed: Seed of the draw.

    Raises:
        DataError: If a split is empty.
    """
    split = store.table["split"].astype(str).to_numpy()
    labelled = (np.asarray(store.arrays["label"]) == 1).any(axis=1)
    rows = {name: np.flatnonzero((split == name) & labelled) for name in ("train", "validation", "test")}
    empty = [name for name, found in rows.items() if not len(found)]
    if empty:
        raise DataError(f"{store.path} has no patch for {' and '.join(empty)}: choose another split.")
    if fraction != 1:
        rows["train"] = balance.fraction(store.arrays["label"], rows["train"], fraction, seed)
    return rows


def counted_classes(store: Store, min_count: int) -> np.ndarray:
    """Return which classes have enough training patches to count in averages, bool (K,).

    A class with a handful of patches can be neither learned nor scored, but in a macro average it would weigh
    as much as any other.

    Args:
        store: Store of the study, with its whole training split.
        min_count: Training patches that a class needs, 0 for all classes.

    Raises:
        ParameterError: If no class has that many training patches.
    """
    patches = np.asarray(store.arrays["label"])[split_rows(store)["train"]].sum(axis=0)
    if not (patches >= min_count).any():
        raise ParameterError(
            f"No class has {min_count} training patches, the most frequent one has {patches.max()}: lower "
            "min_count."
        )
    return patches >= min_count


def with_classes(store: Store, classes: str) -> Store:
    """Return the store with the labels of another class set; its files stay unchanged.

    Args:
        store: Store of the study, whose table has the published labels.
        classes: Name of the class set; empty for the store's own.

    Raises:
        DataError: If a published label joins classes that the set keeps apart.
    """
    if classes in ("", store.metadata["classes"]):
        return store
    view, scheme = open_store(store.path), class_set(classes).scheme
    labels = encode(view.table, classes)
    spec = ArraySpec(("class",), (len(scheme),), "uint8", dict(view.arrays_spec["label"].attrs))
    view.arrays_spec = view.arrays_spec | {"label": spec}
    view.arrays = view.arrays | {"label": labels}
    coords = view.metadata["coords"] | {"class": list(scheme.names)}
    view.metadata = view.metadata | {"coords": coords, "classes": classes, "colors": list(scheme.colors)}
    return view


def image_features(store: Store, max_samples: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of the store and their image statistics (N, F), for the leakage check.

    Args:
        store: Store of the study.
        max_samples: Largest number of rows; if the store has more, they are drawn at random.
        seed: Seed of the draw.
    """
    rows = np.sort(np.random.default_rng(seed).permutation(len(store.table))[:max_samples])
    parts = store.batches(rows, ["image"], PART)
    found = [tables.image_statistics(data["image"], method="lower") for _, data in parts]
    return rows, np.concatenate(found).reshape(len(rows), -1)


def examples(
    truth: np.ndarray, probability: np.ndarray, threshold: Any, n_examples: int = 4
) -> dict[str, np.ndarray]:
    """Return example patches: those with the best, the worst and the most ambiguous predictions.

    Args:
        truth: True labels, 0 or 1 (N, K).
        probability: Predicted probability of each label (N, K).
        threshold: One threshold, or one a class (K,).
        n_examples: Number of patches of each kind.

    Returns:
        Positions among the N patches by kind, each patch once. ``best`` and ``worst`` are ordered by the F1
        of the patch's labels, then by cross entropy; ``confusing`` by the number of labels within 0.1 of
        their threshold.
    """
    true, given = np.asarray(truth) == 1, np.asarray(probability, np.float64)
    limit = np.broadcast_to(threshold, given.shape)
    predicted = given >= limit
    wrong = (predicted != true).sum(axis=1)
    f1 = 2 * (predicted & true).sum(axis=1) / np.maximum(predicted.sum(axis=1) + true.sum(axis=1), 1)
    likelihood = np.clip(np.where(true, given, 1 - given), 1e-7, 1)
    cross_entropy = -np.log(likelihood).mean(axis=1)
    near = (np.abs(given - limit) < 0.1).sum(axis=1)
    n_labels = true.sum(axis=1)
    order = {
        "best": np.lexsort((cross_entropy, -n_labels, -f1)),
        "worst": np.lexsort((-cross_entropy, -wrong, f1)),
        "confusing": np.lexsort((-cross_entropy, -near)),
    }
    found: dict[str, np.ndarray] = {}
    taken: list[int] = []
    for kind, rows in order.items():
        free = [int(row) for row in rows if row not in taken][:n_examples]
        found[kind], taken = np.array(free, int), [*taken, *free]
    return found


def true_colour(store: Store, images: np.ndarray) -> np.ndarray:
    """Return red, green and blue (n, H, W, 3) of stored images.

    Args:
        store: Store whose bands have names.
        images: Stored images (n, H, W, all bands).
    """
    stored = list(store.metadata["coords"]["band"])
    return images[..., [stored.index(name) for name in ("B04", "B03", "B02")]]
