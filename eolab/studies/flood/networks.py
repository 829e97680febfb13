"""Networks of the flood study: fitted on scenes of both stores, their probabilities as a table of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eolab import models, training
from eolab.core.errors import ParameterError, did_you_mean
from eolab.core.progress import track
from eolab.data.layouts.sen12flood import SENSORS
from eolab.studies.flood.answers import answer_table
from eolab.studies.flood.batches import SceneBatches
from eolab.studies.flood.timelines import Timeline, timelines_of
from eolab.studies.flood.views import SensorView


@dataclass(frozen=True)
class SceneNetwork:
    """A fitted network.

    Attributes:
        network: The Keras model, with the weights of its best epoch.
        join: How the sensors' images became steps, see :mod:`eolab.studies.flood.timelines`.
        history: A row an epoch.
    """

    network: Any
    join: str
    history: pd.DataFrame


def build(
    name: str, views: Mapping[str, SensorView], *, join: str = "union", seed: int = 0, **options: Any
) -> Any:
    """Return an untrained network for the images of some views, statistics of their training split inside.

    Args:
        name: One of ``models.names("sequences")``.
        views: What the network reads of each sensor.
        join: With "late" it answers once a scene, else for each step.
        seed: Of weights and dropout.
        **options: Of the architecture.

    Raises:
        ParameterError: If the name is unknown or the stores have images of several sizes.
    """
    known = models.names("sequences")
    if name not in known:
        raise ParameterError(f"There is no network {name!r}: {did_you_mean(name, known)}")
    ordered = {sensor: views[sensor] for sensor in SENSORS if sensor in views}
    sizes = {view.size for view in ordered.values()}
    if len(sizes) != 1:
        raise ParameterError(f"The stores have images of {sorted(sizes)} pixels: write them with one size.")
    height, width = sizes.pop()
    statistics = {sensor.lower(): view.statistics for sensor, view in ordered.items()}
    return models.build(
        name,
        height=height,
        width=width,
        outputs=2,
        channels={key: len(table) for key, table in statistics.items()},
        mean={key: table["mean"].tolist() for key, table in statistics.items()},
        std={key: table["std"].tolist() for key, table in statistics.items()},
        seed=seed,
        head="labels" if join == "late" else "steps",
        **options,
    )


def fit(
    name: str,
    views: Mapping[str, SensorView],
    *,
    folder: str | Path,
    join: str = "union",
    batch_size: int = 1,
    flip: bool = False,
    balanced: bool = True,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    **fit_options: Any,
) -> SceneNetwork:
    """Train a network on the scenes to train on, and save it as ``model.keras``.

    Args:
        name: One of ``models.names("sequences")``.
        views: What it reads of each sensor.
        folder: Where the model, its history and its checkpoint go.
        join: How the sensors' images become steps.
        batch_size: Scenes a step.
        flip: Whether training scenes are turned and mirrored.
        balanced: Whether both labels have the same total weight in the loss.
        seed: Of weights, order and turns.
        options: Of the architecture.
        **fit_options: Of :func:`eolab.training.fit`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lines = {split: timelines_of(views, split, join) for split in ("train", "validation")}
    labels = np.concatenate([line.labels for line in lines["train"]])
    weights = training.balanced_weights(labels, 2) if balanced else None
    network = build(name, views, join=join, seed=seed, **(options or {}))
    batches = {
        split: SceneBatches(
            views,
            part,
            batch_size,
            seed=seed,
            shuffle=split == "train",
            flip=flip and split == "train",
            class_weights=weights,
        )
        for split, part in lines.items()
    }
    history = training.fit(
        network, batches["train"], batches["validation"], folder=folder, seed=seed, **fit_options
    )
    network.save(folder / "model.keras")
    return SceneNetwork(network, join, history)


def predict(
    fitted: SceneNetwork,
    views: Mapping[str, SensorView],
    lines: Sequence[Timeline],
    *,
    pad: bool = False,
    progress: bool = True,
) -> pd.DataFrame:
    """Return the probability of a flood at each step, or of each scene with "late".

    Args:
        fitted: The network.
        views: What it reads of each sensor.
        lines: The scenes.
        pad: Whether all scenes are made as long as the longest, and padding answered too, as in the report.
        progress: Whether to show progress.

    Returns:
        See :mod:`eolab.studies.flood.answers`.
    """
    length = max(line.length for line in lines) if pad and fitted.join != "late" else None
    batches = SceneBatches(views, lines, 1, pad=length)
    found = []
    for place in track(range(len(lines)), "Predicting", total=len(lines), unit="scene", progress=progress):
        steps = length or len(lines[place].labels)
        answer = np.asarray(fitted.network.predict_on_batch(batches[place][0]))  # (1, T, 2)
        found.append(answer[0, :steps, 1])
    return answer_table(lines, found)
