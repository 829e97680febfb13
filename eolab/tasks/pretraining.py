"""Learning without labels: encoders of series, their pretraining, their features, and probes on features."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from eolab import training as trainer
from eolab.core.errors import DataError, ParameterError
from eolab.core.files import replacing
from eolab.data.store import Store, with_day
from eolab.tasks.baselines import filled
from eolab.tasks.channels import select_all
from eolab.tasks.engine import build
from eolab.tasks.fitted import Fitted
from eolab.tasks.task import get
from eolab.training import contrastive
from eolab.training.batches import Batches, StoreSamples

TASK = "series_classification"
ENCODER_FILE = "encoder.keras"


def encoder(
    model: str, store: Store, rows: Any, *, options: Mapping[str, Any] | None = None, seed: int = 0
) -> Fitted:
    """Return the encoder of a network of pixel series with random weights: all but its last layer.

    Args:
        model: Name of the architecture.
        store: The samples.
        rows: Rows whose mean and standard deviation of each channel it normalises by.
        options: Options of the architecture.
        seed: Seed of the weights.
    """
    channels = select_all(store, rows, None)
    network = build(TASK, model, store, channels, outputs=2, options=options, seed=seed)
    return Fitted(get(TASK), model, contrastive.encoder_of(network), channels)


def pretrain(
    start: Fitted,
    store: Store,
    rows: Any,
    *,
    folder: str | Path,
    training: Mapping[str, Any],
    views: Mapping[str, Any] | None = None,
    temperature: float = 0.1,
    projection: tuple[int, int] = (128, 64),
    seed: int = 0,
    **running: Any,
) -> Fitted:
    """Pretrain an encoder by SimCLR on samples whose labels are not looked at; it is saved in the folder.

    The epoch with the lowest loss is kept; as there are no labels, none are held out.

    Args:
        start: Result of :func:`encoder`; its weights are trained.
        store: The samples.
        rows: Rows to learn from.
        folder: Where ``encoder.keras``, the history and the checkpoint go.
        training: Options of :func:`eolab.training.fit`, and ``batch_size``: the samples among which a view is
            to be found.
        views: Options of :class:`eolab.training.contrastive.Views`.
        temperature: Temperature of the loss.
        projection: Units of both layers of the projection head.
        seed: Seed of the order, the views and the projection head.
        **running: Arguments of :func:`eolab.training.fit` that do not change the result.

    Raises:
        ParameterError: If an option is unknown or cannot be.
    """
    image = start.channels["image"]
    try:
        pairs = contrastive.Views(image.mean, image.std, **(views or {}))
    except TypeError as error:
        raise ParameterError(f"views: {error}; see eolab.training.contrastive.Views.") from None
    settings = trainer.options(training, batch_size=256)
    for unused in ("precision", "min_steps", "class_weights"):
        settings.pop(unused, None)
    samples = StoreSamples(store, rows, inputs=[*start.arrays], channels=start.channels)
    size = settings.pop("batch_size")
    batches = Batches(samples, size, seed=seed, shuffle=True, augment=pairs, ignore="none")
    network = contrastive.with_projection(start.network, *projection, seed=seed)
    history = trainer.fit(
        network,
        batches,
        folder=folder,
        loss=contrastive.NTXent(temperature),
        metrics=[contrastive.matched],
        **settings,
        **running,
    )
    trainer.forget(network)
    with replacing(Path(folder) / ENCODER_FILE, ".tmp.keras") as temporary:
        start.network.save(temporary)
    return Fitted(start.task, start.name, start.network, start.channels, history)


@dataclass(frozen=True)
class Features:
    """Features of some samples, whoever has made them.

    Attributes:
        rows: Their rows in the store (N,), sorted.
        values: Features (N, F).
    """

    rows: np.ndarray
    values: np.ndarray

    def at(self, rows: np.ndarray) -> np.ndarray:
        """Return the features of some of the rows (M, F).

        Raises:
            DataError: If there are none of a row.
        """
        places = np.searchsorted(self.rows, rows)
        if len(rows) and (places.max() >= len(self.rows) or (self.rows[places] != rows).any()):
            raise DataError("There are no features of some of the rows: take rows that have been encoded.")
        return self.values[places]


def features(of: Fitted, store: Store, rows: np.ndarray, batch_size: int = 2048) -> Features:
    """Return what an encoder makes of some samples, by their rows in the store, sorted."""
    parts = store.batches(rows, [*of.arrays, *store.own_day], batch_size)
    found = [of.predict(with_day(store, data))[of.task.output] for _, data in parts]
    return Features(rows, np.concatenate(found))


# === Few labels ===


def few_labels(table: pd.DataFrame, share: float, seed: int = 0, label: str = "label") -> np.ndarray:
    """Draw a share of labelled samples from each class, at least one; places in the table, sorted.

    A larger share with the same seed holds the samples of a smaller one.

    Args:
        table: A row a sample.
        share: Share of the samples of each class, above 0, at most 1.
        seed: Seed of the draw.
        label: Column of the class.

    Raises:
        ParameterError: If there is no such share.
    """
    if not 0 < share <= 1:
        raise ParameterError(f"A share of labels is {share}, expected above 0 and at most 1, such as 0.01.")
    order = pd.Series(np.arange(len(table))).sample(frac=1, random_state=seed)
    classes = table[label].to_numpy()[order]
    nth = order.groupby(classes).cumcount()
    wanted = order.groupby(classes).transform("size") * share
    return np.sort(order[(nth < np.maximum(np.round(wanted), 1)).to_numpy()].to_numpy())


def linear_probe(seed: int = 0, C: float = 1.0) -> BaseEstimator:
    """Return the logistic regression that probes frozen features, which it brings to standard scale."""
    return filled(LogisticRegression(C=C, max_iter=1000, random_state=seed))


def classify(
    estimator: BaseEstimator, learned: np.ndarray, label: np.ndarray, others: np.ndarray, classes: int
) -> np.ndarray:
    """Fit an estimator of scikit-learn on features, and predict others.

    Args:
        estimator: The estimator.
        learned: Features (N, F).
        label: Their classes (N,).
        others: Features (M, F).
        classes: Number of classes K.

    Returns:
        Probabilities (M, K); 0 for a class that was not learned.
    """
    found = np.zeros((len(others), classes), np.float32)
    known = np.unique(label)
    if len(known) == 1:
        found[:, known] = 1
    else:
        with threadpool_limits(
            1, "blas"
        ):  # several cores wait longer for each other than so few samples take
            estimator.fit(learned, label)
        found[:, estimator.classes_] = estimator.predict_proba(others)
    return found
