"""The tasks by name: what is learned from what."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from eolab.core.errors import ParameterError, check_known
from eolab.data.schemes import IGNORE

AVERAGED = "averaged"  # name of the predictions averaged over rotations and mirror images


@dataclass(frozen=True)
class Task:
    """What a network learns, whatever the study.

    Attributes:
        name: Name of the task.
        reads: What its networks read: "series", "images", "image_series" or "sequences"; see
            :func:`eolab.models.names`.
        heads: Heads that its networks may have; the first is the default.
        output: Name of the prediction of a network that does not name its outputs.
        activation: Activation of the last layer: "softmax", "sigmoid" or "linear". One output never has a
            softmax.
        loss: Name of the default loss.
        metrics: Names of the scores of an epoch.
        monitor: Column of the history that decides which epoch is best.
        scores: Statistics of :func:`eolab.evaluation.score_table` to look at first, as "scope.statistic"; the
            first of them is the one that models are compared by.
        figure: Function of :mod:`eolab.plots` that draws examples with what was predicted for them.
        inputs: Arrays of the store that the networks read besides their channels.
        ignore: Label that counts nothing: 255 for classes, NaN for values, None where every label counts.
        batch_size: Samples a step by default.
        dtype: Data type of predictions on disk.
    """

    name: str
    reads: str
    heads: tuple[str, ...] = ("labels",)
    output: str = "classes"
    activation: str = "softmax"
    loss: str = "ce"
    metrics: tuple[str, ...] = ("accuracy",)
    monitor: str = "val_loss"
    scores: tuple[str, ...] = ("macro.f1", "all.accuracy")
    figure: str = "patch_gallery"
    inputs: tuple[str, ...] = ()
    ignore: float | None = IGNORE
    batch_size: int = 32
    dtype: str = "float32"

    @property
    def dense(self) -> bool:
        """Whether each pixel or step of an image has a label of its own."""
        return self.heads[0] not in ("labels", "years")

    def kept(self, values: np.ndarray) -> np.ndarray:
        """Return what is kept of a network's output (…, K).

        A single class or value and, for pixels and steps, the probability of the second of two classes are
        kept without the last axis; several labels a sample and everything else as they are.
        """
        most = 2 if self.dense and self.activation == "softmax" else 1
        return values if self.ignore is None or values.shape[-1] > most else values[..., -1]


TASKS = {
    task.name: task
    for task in (
        Task("series_classification", "series", figure="pixel_series", inputs=("valid",), batch_size=256),
        Task(
            "yearly_classification",
            "series",
            heads=("years",),
            figure="pixel_series",
            inputs=("valid",),
            batch_size=256,
        ),
        Task("image_classification", "images"),
        Task(
            "multilabel_classification",
            "images",
            output="labels",
            activation="sigmoid",
            loss="bce",
            metrics=("average_precision",),
            monitor="val_average_precision",
            scores=("macro.average_precision", "micro.average_precision"),
            figure="prediction_gallery",
            ignore=None,
        ),
        Task(
            "segmentation",
            "images",
            heads=("mask", "dual", "multi"),
            metrics=("f1",),
            monitor="val_mask_f1",
            scores=("class.f1", "class.iou"),
            figure="predictions",
            batch_size=16,
            dtype="float16",
        ),
        Task(
            "regression",
            "images",
            heads=("values",),
            activation="linear",
            loss="mse",
            metrics=("mae", "r2"),
            scores=("all.r2", "all.mae", "all.spearman", "all.iou"),
            figure="value_maps",
            ignore=math.nan,
            batch_size=16,
        ),
        Task(
            "series_segmentation",
            "image_series",
            heads=("mask",),
            figure="compare_maps",
            inputs=("valid",),
            batch_size=8,
            dtype="float16",
        ),
        Task(
            "sequence_classification",
            "sequences",
            heads=("steps", "labels"),
            output="steps",
            scores=("all.balanced_accuracy", "class.recall"),
            figure="patches",
            batch_size=1,
        ),
    )
}


def check_class_weights(given: Any) -> None:
    """Refuse weights of classes of a baseline or a network that are no known word and no numbers by class.

    Raises:
        ParameterError: If they are.
    """
    if given is not None and given != "balanced" and not isinstance(given, Mapping):
        raise ParameterError(f"class_weights is {given!r}: give None, 'balanced' or a weight by class index.")


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
    check_known(task, TASKS, f"There is no task {task!r}")
    return TASKS[task]
