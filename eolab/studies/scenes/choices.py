"""Which rows of a store are read for what: a share of them, patches to show, patches to compare."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from eolab.core.errors import DataError, ParameterError
from eolab.data import splits, tables
from eolab.data.schemes.bigearthnet import class_set
from eolab.data.store import ArraySpec, Store, open_store
from eolab.studies.scenes.samples import PART, encode

Produce = Callable[[pd.DataFrame], dict[str, np.ndarray]]


class Timed:
    """A producer that counts its patches, so that a conversion that goes on measures its own part alone."""

    def __init__(self, produce: Produce) -> None:
        self.produce, self.patches = produce, 0
        self._began, self._lock = time.perf_counter(), threading.Lock()

    def __call__(self, rows: pd.DataFrame) -> dict[str, np.ndarray]:
        """Produce a part."""
        made = self.produce(rows)
        with self._lock:
            self.patches += len(rows)
        return made

    def seconds(self, table: pd.DataFrame) -> float:
        """Return the seconds since the start; where nothing was left to convert, those of one part."""
        if not self.patches:
            self._began = time.perf_counter()
            self(table.head(PART))
        return time.perf_counter() - self._began


def take(table: pd.DataFrame, classes: str, share: float, seed: int = 0) -> pd.DataFrame:
    """Return a share of a sample table that keeps the share of each label, numbered anew.

    Args:
        table: Result of :func:`eolab.studies.scenes.sample_table`.
        classes: Name of the set of classes.
        share: Above 0, up to 1.
        seed: Seed of the choice.
    """
    if share == 1:
        return table
    rows = splits.fraction(encode(table, classes), np.arange(len(table)), share, seed)
    kept = table.iloc[rows].reset_index(drop=True)
    place = np.arange(len(kept))
    return kept.assign(id=place, part=[f"{number // PART:06d}" for number in place])


def split_rows(store: Store, share: float = 1.0, seed: int = 0) -> dict[str, np.ndarray]:
    """Return the rows of train, validation and test that have a label; of train a share, stratified by label.

    Raises:
        DataError: If a split is empty.
    """
    split = store.table["split"].astype(str).to_numpy()
    labelled = (np.asarray(store.arrays["label"]) == 1).any(axis=1)
    rows = {name: np.flatnonzero((split == name) & labelled) for name in ("train", "validation", "test")}
    empty = [name for name, found in rows.items() if not len(found)]
    if empty:
        raise DataError(f"{store.path} has no patch for {' and '.join(empty)}: choose another split.")
    if share != 1:
        rows["train"] = splits.fraction(store.arrays["label"], rows["train"], share, seed)
    return rows


def counted_classes(store: Store, least: int) -> np.ndarray:
    """Return which classes have enough training patches to count in averages, bool (K,).

    Of a class in a handful of patches nobody learns anything, and the few test patches that hold it say
    nothing either, but in a macro average it weighs as much as every other one.

    Args:
        store: The patches, all that the training split has.
        least: Training patches that a class needs, 0 for all classes.

    Raises:
        ParameterError: If no class has so many.
    """
    held = np.asarray(store.arrays["label"])[split_rows(store)["train"]].sum(axis=0)
    if not (held >= least).any():
        raise ParameterError(
            f"No class has {least} training patches, the most frequent one has {held.max()}: lower least."
        )
    return held >= least


def regrouped(store: Store, classes: str) -> Store:
    """Return a store with the labels of another set of classes; its files stay as they are.

    Args:
        store: Store of the study, whose table has the published labels.
        classes: Name of the set of classes; empty for the store's own.

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


def likeness(store: Store, most: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return what a leakage check compares: rows of the store, and their image statistics (N, F).

    Args:
        store: The patches.
        most: Most patches; more are drawn at random.
        seed: Seed of that draw.
    """
    rows = np.sort(np.random.default_rng(seed).permutation(len(store.table))[:most])
    parts = store.batches(rows, ["image"], PART)
    found = [tables.image_statistics(data["image"], method="lower") for _, data in parts]
    return rows, np.concatenate(found).reshape(len(rows), -1)


def telling(
    truth: np.ndarray, probability: np.ndarray, threshold: Any, count: int = 4
) -> dict[str, np.ndarray]:
    """Return patches worth a look: those answered best and worst, and those that confuse most.

    Args:
        truth: 0 or 1 (N, K).
        probability: (N, K).
        threshold: One, or one a class (K,).
        count: Patches of each kind.

    Returns:
        Positions among the N by kind. Best and worst are by F1 of the patch's labels, then by cross entropy,
        each patch once; confusing ones have most labels near their threshold.
    """
    true, given = np.asarray(truth) == 1, np.asarray(probability, np.float64)
    limit = np.broadcast_to(threshold, given.shape)
    said = given >= limit
    wrong = (said != true).sum(axis=1)
    f1 = 2 * (said & true).sum(axis=1) / np.maximum(said.sum(axis=1) + true.sum(axis=1), 1)
    kept = np.clip(np.where(true, given, 1 - given), 1e-7, 1)
    cost = -np.log(kept).mean(axis=1)
    near = (np.abs(given - limit) < 0.1).sum(axis=1)
    rich = true.sum(axis=1)
    order = {
        "best": np.lexsort((cost, -rich, -f1)),
        "worst": np.lexsort((-cost, -wrong, f1)),
        "confusing": np.lexsort((-cost, -near)),
    }
    found: dict[str, np.ndarray] = {}
    taken: list[int] = []
    for kind, rows in order.items():
        free = [int(row) for row in rows if row not in taken][:count]
        found[kind], taken = np.array(free, int), [*taken, *free]
    return found


def colours(store: Store, images: np.ndarray) -> np.ndarray:
    """Return red, green and blue (n, H, W, 3) of stored images.

    Args:
        store: Store whose bands have names.
        images: Stored images (n, H, W, all bands).
    """
    stored = list(store.metadata["coords"]["band"])
    return images[..., [stored.index(name) for name in ("B04", "B03", "B02")]]
