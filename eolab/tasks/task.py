"""The tasks by name: what is learned from what."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from eolab.core.errors import ParameterError, did_you_mean
from eolab.data.schemes import IGNORE

NO_VALUE = math.nan


@dataclass(frozen=True)
class Task:
    """What a network learns, whatever the study.

    Attributes:
        name: Name of the task.
        title: What is learned from what, in a few words.
        reads: What its networks read: "series", "images" or "sequences"; see :func:`eolab.models.names`.
        heads: Heads that its networks may have; the first is the default.
        output: Name of the prediction of a network that does not name its outputs.
        activation: Activation of the last layer: "softmax", "sigmoid" or "linear". One output never has a
            softmax.
        loss: Name of the default loss.
        metrics: Names of the scores of an epoch.
        monitor: Column of the history that decides which epoch is best.
        scores: Function of :mod:`eolab.evaluation` that scores the predictions, by name.
        baselines: Baselines to compare with, by name.
        figures: Functions of :mod:`eolab.plots` that draw examples, by name.
        inputs: Arrays of the store that the networks read besides their channels.
        ignore: Label that counts nothing: 255 for classes, NaN for values, None where every label counts.
        batch_size: Samples a step by default.
        dtype: Data type of predictions on disk.
    """

    name: str
    title: str
    reads: str
    heads: tuple[str, ...]
    output: str
    activation: str
    loss: str
    metrics: tuple[str, ...]
    monitor: str
    scores: str
    baselines: tuple[str, ...]
    figures: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    ignore: float | None = IGNORE
    batch_size: int = 32
    dtype: str = "float32"

    @property
    def dense(self) -> bool:
        """Whether each pixel or step of a sample has a label of its own."""
        return self.heads[0] != "labels"

    def kept(self, values: np.ndarray) -> np.ndarray:
        """Return what is kept of a network's output (…, K).

        Of pixels and steps, a single output and the probability of the second of two classes are kept
        without the last axis; everything else as it is.
        """
        return values[..., -1] if self.dense and values.shape[-1] <= 2 else values


TASKS = {
    task.name: task
    for task in (
        Task(
            name="series_classification",
            title="pixel series → class",
            reads="series",
            heads=("labels",),
            output="classes",
            activation="softmax",
            loss="ce",
            metrics=("accuracy",),
            monitor="val_loss",
            scores="score_table",
            baselines=("majority", "image_statistics", "random_forest"),
            figures=("confusion",),
            inputs=("valid",),
            batch_size=256,
        ),
        Task(
            name="image_classification",
            title="image → one label",
            reads="images",
            heads=("labels",),
            output="classes",
            activation="softmax",
            loss="ce",
            metrics=("accuracy",),
            monitor="val_loss",
            scores="score_table",
            baselines=("majority", "image_statistics", "random_convolutions"),
            figures=("confusion",),
        ),
        Task(
            name="multilabel_classification",
            title="image → several labels",
            reads="images",
            heads=("labels",),
            output="labels",
            activation="sigmoid",
            loss="bce",
            metrics=("average_precision",),
            monitor="val_average_precision",
            scores="multilabel_scores",
            baselines=("prior", "image_statistics", "random_convolutions"),
            figures=("prediction_gallery",),
            ignore=None,
        ),
        Task(
            name="segmentation",
            title="image → mask",
            reads="images",
            heads=("mask", "dual", "multi"),
            output="mask",
            activation="softmax",
            loss="ce",
            metrics=("f1",),
            monitor="val_mask_f1",
            scores="mask_scores",
            baselines=("majority", "pixel_boosting"),
            figures=("predictions",),
            batch_size=16,
            dtype="float16",
        ),
        Task(
            name="regression",
            title="image → value per pixel",
            reads="images",
            heads=("values",),
            output="values",
            activation="linear",
            loss="mse",
            metrics=("mae", "r2"),
            monitor="val_loss",
            scores="value_scores",
            baselines=("mean", "linear", "random_forest"),
            ignore=NO_VALUE,
            batch_size=16,
        ),
        Task(
            name="sequence_classification",
            title="image sequence → label per step",
            reads="sequences",
            heads=("steps", "labels"),
            output="steps",
            activation="softmax",
            loss="ce",
            metrics=("accuracy",),
            monitor="val_loss",
            scores="score_table",
            baselines=("majority",),
            batch_size=1,
        ),
    )
}


def names() -> list[str]:
    """Return the names of all tasks."""
    return list(TASKS)


def get(task: str | Task) -> Task:
    """Return a task by its name.

    Raises:
        ParameterError: If there is no such task.
    """
    if isinstance(task, Task):
        return task
    if task not in TASKS:
        raise ParameterError(f"There is no task {task!r}: {did_you_mean(task, TASKS)}")
    return TASKS[task]
