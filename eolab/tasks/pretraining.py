"""Learning without labels: encoders of series, their pretraining, their features, and probes on features.

A sample is a pixel series, which has one label, or a patch of an image series: then a view is of the patch,
the contrast is between the features of its pixels averaged over the patch, and labels are those of pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from eolab import models
from eolab import training as trainer
from eolab.core.errors import DataError, ParameterError
from eolab.core.files import replacing
from eolab.data.schemes import IGNORE
from eolab.data.store import Store, with_day
from eolab.tasks.baselines import filled
from eolab.tasks.channels import select_all
from eolab.tasks.engine import build
from eolab.tasks.fitted import Fitted
from eolab.tasks.task import Task, get
from eolab.training import contrastive
from eolab.training.batches import Batches, StoreSamples

ENCODER_FILE = "encoder.keras"


def task_of(model: str) -> Task:
    """Return what a network learns with labels: the classes of pixel series, or masks of image series."""
    return get("series_segmentation" if model in models.names("image_series") else "series_classification")


def encoder(
    model: str,
    store: Store,
    rows: Any,
    *,
    outputs: int = 2,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Fitted:
    """Return a network of pixel series or image series with random weights, without its last layer.

    Args:
        model: Name of the architecture.
        store: The samples.
        rows: Rows whose mean and standard deviation of each channel it normalises by.
        outputs: Classes that will be learned: TSViT has a token of each.
        options: Options of the architecture.
        seed: Seed of the weights.
    """
    channels, task = select_all(store, rows, None), task_of(model)
    network = build(task, model, store, channels, outputs=outputs, options=options, seed=seed)
    return Fitted(task, model, contrastive.encoder_of(network), channels)


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
    """Features of some labelled samples, whoever has made them.

    Attributes:
        rows: Their rows in the table of :class:`Labels` (N,), sorted.
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


def features(of: Fitted, labels: Labels, rows: np.ndarray) -> Features:
    """Return what an encoder makes of some labelled samples, by their sorted rows in the table of labels."""
    store, samples = labels.store, labels.samples(rows)
    found = []
    for at, data in store.batches(samples, [*of.arrays, *store.own_day], 16 if of.task.dense else 2048):
        [values] = of.predict(with_day(store, data)).values()
        here = rows[np.isin(labels.sample[rows], samples[at])]
        found.append(labels.of(here, values))
    return Features(rows, np.concatenate(found))


# === Labels one by one ===


class Labels:
    """The labels of samples one by one: those of pixel series, or each pixel of patches that has one.

    Args:
        store: The samples; a label is a class (), or a mask (H, W) with 255 where nothing is known.
        rows: Rows of the store whose labels these are, sorted.

    Attributes:
        store: The samples.
        table: A row a label, numbered from 0, with the columns of the store; of pixels ``row`` and ``col``
            are their own, and ``label`` and, where the store has it, ``truth`` are columns.
        sample: Row of the store of each label (N,), sorted.
    """

    def __init__(self, store: Store, rows: np.ndarray) -> None:
        self.store, self.sample = store, np.asarray(rows)
        self._pixel = np.zeros(len(rows), int)
        table = store.table.iloc[rows]
        shape = store.arrays_spec["label"].shape
        if shape:
            masks = store.gather(rows, {"label", "truth"} & set(store.arrays_spec))
            place, self._pixel = np.nonzero((masks["label"] != IGNORE).reshape(len(rows), -1))
            table = table.iloc[place].drop(columns=["x", "y"], errors="ignore")
            for name, values in masks.items():
                table[name] = values.reshape(len(rows), -1)[place, self._pixel]
            for name, values in zip(("row", "col"), np.divmod(self._pixel, shape[1]), strict=True):
                if name in table:
                    table[name] += values
            self.sample = self.sample[place]
        self.table: pd.DataFrame = table.reset_index(drop=True)

    def samples(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows of the store that have any of some labels, sorted."""
        return np.unique(self.sample[rows])

    def of(self, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return the values of some labels (N, …) from those of the samples that have them.

        Args:
            rows: Rows of the table, sorted.
            values: Values of the samples of :meth:`samples`: (n, …), or (n, H, W, …) of patches.
        """
        if not self.store.arrays_spec["label"].shape:
            return np.asarray(values)
        place = np.searchsorted(self.samples(rows), self.sample[rows])
        return np.asarray(values).reshape(len(values), -1, *values.shape[3:])[place, self._pixel[rows]]

    def alone(self, rows: Mapping[str, np.ndarray]) -> tuple[Store, dict[str, np.ndarray]]:
        """Return what is learned from where only some labels are known.

        Args:
            rows: Rows of the table by part: "train", "validation", "test".

        Returns:
            A store without the labels of other pixels of patches, and its rows by part. Test samples have no
            label there.
        """
        of_part = {part: self.samples(own) for part, own in rows.items()}
        spec = self.store.arrays_spec["label"]
        if not spec.shape:
            return self.store, of_part
        masks = np.full((len(self.store), math.prod(spec.shape)), IGNORE, spec.dtype)
        known = np.concatenate([own for part, own in rows.items() if part != "test"])
        masks[self.sample[known], self._pixel[known]] = self.table["label"].to_numpy()[known]
        return self.store.with_labels(masks.reshape(-1, *spec.shape)), of_part


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
