"""Predictions of "has a flood been seen here by this day?": a table of them, thresholds and scores.

A table of predictions has a row a step of a sequence (an image, or the images of a day): sequence, step,
date, flooded, probability, ``S1`` and ``S2`` (whether the sensor has an image at the step) and padded.
Networks and baselines give the same table of the same steps, so that all are scored on the same samples.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from eolab import evaluation
from eolab.core.errors import DataError
from eolab.data.layouts.sen12flood import SENSORS
from eolab.data.sequences import NO_ROW, ImageSequence
from eolab.evaluation import postprocess

COLUMNS = ["sequence", "step", "date", "flooded", "probability", *SENSORS, "padded"]
LEVELS = ("image", "sequence")
CLASSES = ("dry", "flooded")
Predictions = Mapping[str, pd.DataFrame]


def prediction_table(sequences: Sequence[ImageSequence], probabilities: Sequence[np.ndarray]) -> pd.DataFrame:
    """Return the predictions for some sequences.

    Args:
        sequences: The sequences.
        probabilities: For each sequence, those of its steps (T,) and of padding behind them; one with late
            fusion.
    """
    parts = [
        _of_sequence(sequence, values) for sequence, values in zip(sequences, probabilities, strict=True)
    ]
    return pd.concat(parts, ignore_index=True)[COLUMNS] if parts else pd.DataFrame(columns=COLUMNS)


def _of_sequence(sequence: ImageSequence, values: np.ndarray) -> pd.DataFrame:
    steps, own = np.arange(len(values)), len(sequence.labels)
    there = steps < own
    flooded = np.zeros(len(values), bool)
    flooded[:own] = sequence.labels == 1
    dates = np.full(len(values), np.datetime64("NaT", "D"))
    seen = {sensor: np.zeros(len(values), bool) for sensor in SENSORS}
    for sensor, rows in sequence.rows.items():
        if sequence.late:
            seen[sensor][:] = bool(len(rows))
            continue
        seen[sensor][:own] = rows[:own] >= 0
        days = sequence.dates[sensor][:own]
        later = seen[sensor][:own] & ~(
            dates[:own] >= days
        )  # "pad" has two dates a step: the prediction waits
        dates[:own][later] = days[later]  # before both images are there; NaT compares with nothing
    columns = {"date": pd.to_datetime(dates), "flooded": flooded, "probability": np.asarray(values, float)}
    return pd.DataFrame({"sequence": sequence.name, "step": steps, **columns, **seen, "padded": ~there})


def carry_forward(
    sequences: Sequence[ImageSequence], sensor: str, scores: np.ndarray, before: float
) -> pd.DataFrame:
    """Return the predictions of one who sees one image at a time and stands by his word until the next.

    Args:
        sequences: The sequences, not of late fusion.
        sensor: Sensor whose images are used.
        scores: Score of each image of the sensor, by row of its store.
        before: Probability before the first image.

    Raises:
        DataError: If the sequences have one label each.
    """
    _need_steps(sequences)
    found = []
    for sequence in sequences:
        rows = sequence.rows.get(sensor, np.full(sequence.length, NO_ROW))
        carried = pd.Series(np.where(rows >= 0, scores[np.maximum(rows, 0)], np.nan))
        found.append(carried.ffill().fillna(before).to_numpy(np.float64))
    return prediction_table(sequences, found)


def of_sequences(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return one prediction a sequence, the highest of its steps without padding; same columns."""
    real = predictions[~predictions["padded"].astype(bool)]
    kinds = {"flooded": "any", "probability": "max", "date": "min", "padded": "any", "step": "min"}
    grouped = real.groupby("sequence", sort=False).agg({**kinds, **dict.fromkeys(SENSORS, "any")})
    return grouped.reset_index()[COLUMNS]


def choose_threshold(predictions: pd.DataFrame) -> float:
    """Return the threshold with the best balanced accuracy; padding counts nothing.

    See :func:`eolab.evaluation.postprocess.choose_threshold`; thresholds lie halfway between neighbouring
    probabilities. Where all predictions are equal, or all labels, the threshold is 0.5.

    Raises:
        DataError: If a probability is not a finite number.
    """
    real = predictions[~predictions["padded"].astype(bool)]
    values = real["probability"].to_numpy(float)
    if not np.isfinite(values).all():
        raise DataError(
            f"{(~np.isfinite(values)).sum()} of {len(values)} predictions have no finite probability, so "
            "no threshold can be chosen: train again with a lower learning rate or with clipped gradients."
        )
    if len(np.unique(values)) < 2:
        return 0.5
    truth = real["flooded"].to_numpy(np.uint8)
    chosen = postprocess.choose_threshold(values, truth, "balanced_accuracy", "midpoints", default=0.5)
    return float(chosen)


def thresholds(validation: Predictions) -> dict[str, dict[str, float]]:
    """Return the threshold of each name, by level ("image", "sequence"), chosen on validation predictions."""
    return {
        "image": {name: choose_threshold(table) for name, table in validation.items()},
        "sequence": {name: choose_threshold(of_sequences(table)) for name, table in validation.items()},
    }


def scores(
    predictions: Predictions,
    limits: Mapping[str, Mapping[str, float]],
    *,
    levels: Collection[str] = LEVELS,
    sequences: Collection[str] | None = None,
    sensor: str = "",
    padded: bool = False,
    **options: Any,
) -> pd.DataFrame:
    """Score predictions per image and per sequence, with bootstrap intervals over sequences.

    Args:
        predictions: Table of predictions by name, of the same steps.
        limits: Result of :func:`thresholds`.
        levels: "image", "sequence" or both; predictions of late fusion have no level "image".
        sequences: Sequences that count; all by default.
        sensor: Count the steps alone that have an image of this sensor; all by default.
        padded: Whether padding counts as dry images, as Wiesniakowski et al. 2024 count them.
        **options: Options of :func:`eolab.evaluation.score_table`, such as statistics, baselines, seed.

    Returns:
        As :func:`eolab.evaluation.score_table`, and the column level.

    Raises:
        DataError: If the tables are not of the same steps, or nothing is left to score.
    """
    chosen = {name: _counting(table, sequences, padded, sensor) for name, table in predictions.items()}
    parts = []
    for level in levels:
        tables = chosen if level == "image" else {name: of_sequences(table) for name, table in chosen.items()}
        _check_same(tables)
        first = next(iter(tables.values()))
        found = evaluation.score_table(
            {name: table["probability"].to_numpy(float) for name, table in tables.items()},
            first["flooded"].to_numpy(np.uint8),
            class_names=CLASSES,
            thresholds=limits[level],
            groups=first["sequence"].to_numpy(str),
            **options,
        )
        parts.append(found.assign(level=level))
    return pd.concat(parts, ignore_index=True)


def sensor_scores(
    predictions: Predictions, limits: Mapping[str, Mapping[str, float]], **options: Any
) -> pd.DataFrame:
    """Score the steps that have an image of each sensor: levels "image, S1" and "image, S2".

    Args:
        predictions: Table of predictions by name, of the same steps.
        limits: Result of :func:`thresholds`.
        **options: Options of :func:`scores`, but for `levels` and `sensor`.
    """
    first = next(iter(predictions.values()))
    parts = [
        scores(predictions, limits, levels=["image"], sensor=sensor, **options).assign(
            level=f"image, {sensor}"
        )
        for sensor in SENSORS
        if (first[sensor].astype(bool) & ~first["padded"].astype(bool)).any()
    ]
    return pd.concat(parts, ignore_index=True)


def series_scores(
    name: str, validation: pd.DataFrame, test: pd.DataFrame, sensor: str, **options: Any
) -> pd.DataFrame:
    """Score a network of one sensor on this sensor's series alone (levels "image, S1" and so on).

    A sequence whose flood only the other sensor saw is dry here.

    Args:
        name: Name of the network.
        validation: Its predictions on sequences of the sensor alone; they choose the thresholds.
        test: Its predictions on test sequences, which are scored.
        sensor: Which one.
        **options: Options of :func:`scores`, but for `sensor`.
    """
    found = scores({name: test}, thresholds({name: validation}), **options)
    return found.assign(level=found["level"] + f", {sensor}")


def region_scores(
    predictions: Predictions,
    limits: Mapping[str, Mapping[str, float]],
    regions: pd.Series,
    level: str = "image",
    statistic: str = "all.balanced_accuracy",
    **options: Any,
) -> pd.DataFrame:
    """Return a score of each region: region, model, groups (number of sequences), value, low, high.

    R2 comes before R10. Balanced accuracy is NaN where a region has one label only, low and high where it has
    one sequence only.

    Args:
        predictions: Table of predictions by name.
        limits: Result of :func:`thresholds`.
        regions: Region by sequence.
        level: "image" or "sequence".
        statistic: Which score, see :func:`eolab.evaluation.score_table`.
        **options: Options of :func:`scores`.
    """
    parts = []
    first = next(iter(predictions.values()))
    present = regions[regions.index.isin(set(first["sequence"]))]
    for region in sorted(present.unique(), key=lambda name: (len(name), name)):
        own = set(present.index[present == region])
        chosen: dict[str, Any] = {"levels": [level], "statistics": [statistic], "sequences": own}
        found = scores(predictions, limits, **chosen, **options)
        parts.append(found.assign(region=region, groups=len(own)))
    return pd.concat(parts, ignore_index=True)[["region", "model", "groups", "value", "low", "high"]]


def hidden_sequences(
    sequences: Sequence[ImageSequence], bright: pd.Series, min_share: float = 0.4
) -> list[str]:
    """Return the sequences whose flood is hidden from the optical series.

    A sequence counts if it floods and its optical images since the onset are all bright by `min_share`.

    Args:
        sequences: The sequences, not of late fusion.
        bright: Share of bright pixels of each optical image, by row of its store.
        min_share: Share from which clouds hide a flood.

    Raises:
        DataError: If the sequences have one label each.
    """
    _need_steps(sequences)
    found = []
    for sequence in sequences:
        rows = sequence.rows.get("S2", np.full(sequence.length, NO_ROW))
        since = rows[(sequence.labels == 1) & (rows >= 0)]
        if (sequence.labels == 1).any() and (bright.to_numpy()[since] >= min_share).all():
            found.append(sequence.name)
    return found


def _need_steps(sequences: Sequence[ImageSequence]) -> None:
    if any(sequence.late for sequence in sequences):
        raise DataError("Predictions image by image need steps: join the sensors by union or pad, not late.")


def _counting(
    table: pd.DataFrame, sequences: Collection[str] | None, padded: bool, sensor: str
) -> pd.DataFrame:
    kept = table if padded else table[~table["padded"].astype(bool)]
    kept = kept if sequences is None else kept[kept["sequence"].isin(set(sequences))]
    kept = kept[kept[sensor].astype(bool)] if sensor else kept
    return kept.reset_index(drop=True)


def _check_same(tables: Predictions) -> None:
    names = list(tables)
    for name in names[1:]:
        one, first = (tables[key][["sequence", "step", "flooded"]] for key in (name, names[0]))
        if not one.equals(first):
            raise DataError(
                f"{name!r} predicts {len(one)} steps that are not the {len(first)} of {names[0]!r}: "
                "compare runs of one store with one fusion."
            )
