"""Networks of the flood study: fitted on scenes of both stores, their probabilities as a table of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eolab import training
from eolab.errors import ParameterError, did_you_mean
from eolab.flood.batches import SceneBatches
from eolab.flood.timelines import Timeline, make_timelines
from eolab.models.scenes.convlstm import convlstm
from eolab.progress import track
from eolab.readers.sen12flood import SENSORS
from eolab.store import Store

NETWORKS = {"convlstm": convlstm}


@dataclass(frozen=True)
class SceneNetwork:
    """A fitted network.

    Attributes:
        network: The Keras model, with the weights of its best epoch.
        join: How the sensors' images became steps, see :mod:`eolab.flood.timelines`.
        history: A row an epoch.
    """

    network: Any
    join: str
    history: pd.DataFrame


def timelines_of(stores: Mapping[str, Store], split: str, join: str) -> list[Timeline]:
    """Return the scenes of a split; column ``split`` of the stores' tables names it.

    Args:
        stores: Store of each sensor.
        split: "train", "validation" or "test".
        join: See :func:`eolab.flood.timelines.make_timelines`.
    """
    tables = {sensor: store.table.reset_index(drop=True) for sensor, store in stores.items()}
    return [
        line
        for line in make_timelines(tables, join)
        if any(_split(tables[sensor], rows) == split for sensor, rows in line.rows.items())
    ]


def _split(table: pd.DataFrame, rows: np.ndarray) -> str:
    """Return the split of the first image among some rows; empty where there is none."""
    seen = rows[rows >= 0]
    return str(table["split"].iloc[seen[0]]) if len(seen) else ""


def build(
    name: str, stores: Mapping[str, Store], *, join: str = "union", seed: int = 0, **options: Any
) -> Any:
    """Return an untrained network for the images of some stores, statistics of their training split inside.

    Args:
        name: One of :data:`NETWORKS`.
        stores: Store of each sensor that the network reads.
        join: With "late" it answers once a scene, else for each step.
        seed: Of weights and dropout.
        **options: Of the architecture.

    Raises:
        ParameterError: If the name is unknown or the stores have images of several sizes.
    """
    if name not in NETWORKS:
        raise ParameterError(f"There is no network {name!r}: {did_you_mean(name, NETWORKS)}")
    ordered = {sensor: stores[sensor] for sensor in SENSORS if sensor in stores}
    shapes = {store.arrays_spec["image"].shape[:2] for store in ordered.values()}
    if len(shapes) != 1:
        raise ParameterError(f"The stores have images of {sorted(shapes)} pixels: write them with one size.")
    rows, columns = shapes.pop()
    statistics = {sensor.lower(): store.statistics for sensor, store in ordered.items()}
    return NETWORKS[name](
        size=(rows, columns),
        bands={key: len(table) for key, table in statistics.items()},
        mean={key: table["mean"].tolist() for key, table in statistics.items()},
        std={key: table["std"].tolist() for key, table in statistics.items()},
        seed=seed,
        answer="late" if join == "late" else "steps",
        **options,
    )


def fit(
    name: str,
    stores: Mapping[str, Store],
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
        name: One of :data:`NETWORKS`.
        stores: Store of each sensor that it reads.
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
    lines = {split: timelines_of(stores, split, join) for split in ("train", "validation")}
    labels = np.concatenate([line.labels for line in lines["train"]])
    weights = training.balanced_weights(labels, 2) if balanced else None
    network = build(name, stores, join=join, seed=seed, **(options or {}))
    batches = {
        split: SceneBatches(
            stores,
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
    fitted: SceneNetwork, stores: Mapping[str, Store], lines: Sequence[Timeline], progress: bool = True
) -> pd.DataFrame:
    """Return the probability of a flood at each image, or of each scene with "late".

    Args:
        fitted: The network.
        stores: Store of each sensor that it reads.
        lines: The scenes.
        progress: Whether to show progress.

    Returns:
        Columns scene, step, date, flooded, probability, and ``S1`` and ``S2``: whether the step has an image
        of the sensor. Steps that are padding have no row.
    """
    rows = []
    batches = SceneBatches(stores, lines, 1)
    for place in track(range(len(lines)), "Predicting", total=len(lines), unit="scene", progress=progress):
        line, (inputs, _, _) = lines[place], batches[place]
        found = np.asarray(fitted.network.predict_on_batch(inputs))[0, :, 1]  # (T,)
        if fitted.join == "late":
            rows.append((line.scene, 0, pd.NaT, bool(line.labels[0]), float(found[0]), True, True))
            continue
        for step in range(line.length):
            seen = {sensor: line.rows.get(sensor, np.full(line.length, -1))[step] >= 0 for sensor in SENSORS}
            days = [line.dates[s][step] for s in line.dates if seen[s]]
            flooded = bool(line.labels[step])
            rows.append((line.scene, step, min(days), flooded, float(found[step]), *seen.values()))
    return pd.DataFrame(rows, columns=["scene", "step", "date", "flooded", "probability", *SENSORS])
