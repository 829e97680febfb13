"""Networks and scikit-learn baselines alike: fitted by name on the samples of a store.

So that a notebook's parameter can name any of them, and each is scored in the same way.

Example:
    >>> fitted = fit("random_forest", store, rows, folder="runs/forest", classes=12)
    >>> fitted.predict_proba(inputs_of(store, rows["test"])).shape
    (6000, 12)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eolab import models, training
from eolab.core.errors import ParameterError, did_you_mean
from eolab.data.store import Store, days
from eolab.tasks import baselines
from eolab.training.batches import StoreBatches, weight_table

Inputs = dict[str, np.ndarray]
Rows = Mapping[str, np.ndarray]
Weights = Mapping[int, float] | None


@dataclass(frozen=True)
class Classifier:
    """A fitted classifier.

    Attributes:
        name: Name of the network or baseline.
        predict_proba: From inputs of N samples to class probabilities (N, K).
        history: A row an epoch; empty for a baseline.
        parameters: Trainable and fixed weights of a network; 0 for a baseline.
    """

    name: str
    predict_proba: Callable[[Inputs], np.ndarray]
    history: pd.DataFrame = field(default_factory=pd.DataFrame)
    parameters: int = 0

    def __str__(self) -> str:
        if not self.parameters:
            return f"{self.name}: a scikit-learn baseline"
        best, epochs = self.history.attrs["best_epoch"], len(self.history)
        return f"{self.name}: {self.parameters:,} weights, best of {epochs} epochs is number {best}"


def names() -> list[str]:
    """Return the names of all networks and baselines."""
    return [*models.names("series"), *baselines.names()]


def inputs_of(store: Store, rows: Any) -> Inputs:
    """Return the inputs of samples: ``image``, ``valid`` and the ``day`` of each time step."""
    inputs = store.gather(rows, ["image", "valid"])
    return {**inputs, "day": np.broadcast_to(days(store.time), inputs["valid"].shape)}


def fit(
    name: str,
    store: Store,
    rows: Rows,
    *,
    folder: str | Path,
    classes: int,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    class_weights: Weights = None,
    batch_size: int = 256,
    **fit_options: Any,
) -> Classifier:
    """Fit a network or a baseline and save it as ``model.keras`` or ``model.joblib``.

    Args:
        name: One of :func:`names`.
        store: Samples with arrays ``image`` (T, C), ``valid`` (T,) and ``label``.
        rows: Rows of the store for "train" and, for a network, "validation".
        folder: Where the model, its history and its checkpoint go.
        classes: Number of classes K.
        seed: Of weights and order.
        options: Of the architecture or the baseline.
        class_weights: Weight of each class in the loss; 1 for a class that is not named, None for all.
        batch_size: Samples a step.
        **fit_options: Of :func:`eolab.training.fit`; a baseline has no use for them.

    Raises:
        ParameterError: If the name or an option is unknown.
    """
    if name not in names():
        raise ParameterError(f"There is no classifier {name!r}: {did_you_mean(name, names())}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if name in baselines.names():
        return _fit_baseline(name, store, rows, folder, classes, seed, options, class_weights)
    network = build_network(name, store, rows["train"], classes=classes, seed=seed, options=options)
    train = StoreBatches(store, rows["train"], batch_size, seed=seed, shuffle=True)
    validation = StoreBatches(store, rows["validation"], batch_size)
    history = training.fit(
        network,
        train,
        validation,
        folder=folder,
        class_weights=class_weights,
        **models.compile_options(name) | fit_options,
    )
    network.save(folder / "model.keras")

    def predict(inputs: Inputs) -> np.ndarray:
        return network.predict(dict(inputs), batch_size=1024, verbose=0)

    return Classifier(name, predict, history, network.count_params())


def build_network(
    name: str,
    store: Store,
    rows: np.ndarray,
    *,
    classes: int,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
) -> Any:
    """Return an untrained network for the samples of a store, the band statistics of some rows inside."""
    statistics = store.statistics_over(rows)
    times, bands = store.arrays_spec["image"].shape
    return models.build(
        name,
        times=times,
        channels=bands,
        outputs=classes,
        mean=statistics["mean"].tolist(),
        std=statistics["std"].tolist(),
        seed=seed,
        **(options or {}),
    )


def learning_rates(
    name: str,
    store: Store,
    rows: np.ndarray,
    *,
    classes: int,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    batch_size: int = 256,
) -> pd.DataFrame:
    """Return the range test of a network on some rows; see :func:`eolab.training.range_test`."""
    network = build_network(name, store, rows, classes=classes, seed=seed, options=options)
    return training.range_test(network, StoreBatches(store, rows, batch_size, seed=seed, shuffle=True))


def _fit_baseline(
    name: str,
    store: Store,
    rows: Rows,
    folder: Path,
    classes: int,
    seed: int,
    options: Mapping[str, Any] | None,
    class_weights: Weights,
) -> Classifier:
    labels = store.gather(rows["train"], ["label"])["label"]
    weights = None if class_weights is None else weight_table(class_weights)[labels]
    baseline = baselines.build(name, classes=classes, seed=seed, **(options or {}))
    baseline.fit(inputs_of(store, rows["train"]), labels, weights)
    baseline.save(folder / "model.joblib")
    return Classifier(name, baseline.predict_proba)
