"""Baselines of pixel series on a store, until they have a registry of their own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eolab.data.store import Store
from eolab.tasks import baselines
from eolab.tasks.channels import read
from eolab.training.batches import weight_table


def fit(
    name: str,
    store: Store,
    rows: Mapping[str, np.ndarray],
    folder: str | Path,
    *,
    classes: int,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    class_weights: Mapping[int, float] | None = None,
) -> Any:
    """Return a baseline fitted on the training rows, and save it as ``model.joblib``."""
    labels = store.gather(rows["train"], ["label"])["label"]
    weights = None if class_weights is None else weight_table(class_weights)[labels]
    baseline = baselines.build(name, classes=classes, seed=seed, **(options or {}))
    baseline.fit(read(store, rows["train"]), labels, weights)
    Path(folder).mkdir(parents=True, exist_ok=True)
    baseline.save(Path(folder) / "model.joblib")
    return baseline
