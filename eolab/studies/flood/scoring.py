"""Predictions of "has a flood been seen here by this day?": sequences, tables, thresholds and scores.

A table of predictions has a row a step of a sequence (an image, or the images of a day): sequence, step,
date, flooded, probability, ``S1`` and ``S2`` (whether the sensor has an image at the step) and padded.
Networks and baselines give the same table of the same steps, so that all are scored on the same samples.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eolab import evaluation, tasks  # tasks.Fitted, in an annotation, would load Keras
from eolab.core.errors import DataError, ParameterError, check_all
from eolab.data import sequences
from eolab.data.layouts.sen12flood import SENSORS
from eolab.data.sequences import NO_ROW, ImageSequence
from eolab.data.store import Store
from eolab.evaluation import postprocess

COLUMNS = ["sequence", "step", "date", "flooded", "probability", *SENSORS, "padded"]
LEVELS = ("image", "sequence")
CLASSES = ("dry", "flooded")
Predictions = Mapping[str, pd.DataFrame]


# === Channels, sequences and predictions ===


def select(
    stores: Mapping[str, Store], channels: Mapping[str, Sequence[str]], pooling: int = 1
) -> dict[str, tasks.Channels]:
    """Return the channels of each sensor that has one, with the statistics of the training images.

    Args:
        stores: Store of each sensor.
        channels: Names of the channels by sensor; none to leave the sensor out.
        pooling: Side of the squares of pixels that are averaged; 1 for images as they are.

    Raises:
        ParameterError: If no sensor has a channel, or there is no store of a sensor, or one of its channels
            cannot be read.
    """
    used = {sensor: names for sensor, names in channels.items() if names}
    if not used:
        raise ParameterError("No channel is chosen: name one of Sentinel-1 or of Sentinel-2.")
    check_all(used, stores, "There is no store of sensor")
    return {
        sensor: tasks.select(stores[sensor], stores[sensor].indices("train"), names, pooling=pooling)
        for sensor, names in used.items()
    }


def make_sequences(tables: Mapping[str, pd.DataFrame], fusion: str = "union") -> list[ImageSequence]:
    """Return the sequences that have an image, in the order of their names.

    Args:
        tables: Sample table of the store of each sensor that is used, "S1", "S2" or both.
        fusion: See :mod:`eolab.data.sequences`.

    Raises:
        ParameterError: If the fusion or a sensor is unknown.
    """
    check_all(tables, SENSORS, "There is no sensor")
    return sequences.make(tables, fusion, place="sequence", label="flooded")


def sequences_of(stores: Mapping[str, Store], split: str, fusion: str = "union") -> list[ImageSequence]:
    """Return the sequences of a split, which column ``split`` of the tables names."""
    tables = {sensor: store.table for sensor, store in stores.items()}
    return sequences.of_split(make_sequences(tables, fusion), tables, split)


def predict(
    fitted: tasks.Fitted,
    stores: Mapping[str, Store],
    chosen: Sequence[ImageSequence],
    folder: str | Path,
    part: str,
    *,
    pad: bool = False,
    progress: bool = True,
) -> pd.DataFrame:
    """Return the probability of a flood at each step, or of each sequence with late fusion.

    Args:
        fitted: The network.
        stores: Store of each sensor.
        chosen: The sequences.
        folder: Where the probabilities go.
        part: What the sequences are, for example "test".
        pad: Whether all sequences are made as long as the longest, as Wiesniakowski et al. 2024 make them,
            and padding is predicted too.
        progress: Whether to show progress.

    Returns:
        A table of predictions, as :func:`prediction_table` returns.
    """
    late = chosen[0].late
    length = max(one.length for one in chosen) if pad and not late else None
    found = tasks.predict(fitted, stores, chosen, folder, part, length=length, progress=progress)
    (values,) = found.values()
    return prediction_table(
        chosen, [row[: length or len(one.labels)] for row, one in zip(values, chosen, strict=True)]
    )


# === Tables ===


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
    dates = np.full(len(values), np.datetime64("NaT", "D"))
    if sequence.late:
        seen = {sensor: np.full(own, len(rows) > 0) for sensor, rows in sequence.rows.items()}
    else:  # "pad" has two dates a step: the prediction waits until both images are there
        seen = {sensor: rows >= 0 for sensor, rows in sequence.rows.items()}
        dates[:own] = np.fmax.reduce(list(sequence.dates.values()))
    flags = {"flooded": sequence.labels == 1, **dict.fromkeys(SENSORS, np.zeros(own, bool)), **seen}
    flags = {name: np.pad(flag, (0, len(values) - own)) for name, flag in flags.items()}
    columns = {"step": steps, "date": pd.to_datetime(dates), "probability": np.asarray(values, float)}
    return pd.DataFrame({"sequence": sequence.name, **columns, **flags, "padded": steps >= own})


def carry_forward(
    sequences: Sequence[ImageSequence], sensor: str, scores: np.ndarray, before: float
) -> pd.DataFrame:
    """Carry the score of each image of a sensor forward until its next image; return the predictions.

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
    gains_of: str = "",
    **options: Any,
) -> pd.DataFrame:
    """Score predictions per image and per sequence, with bootstrap intervals over sequences.

    Args:
        predictions: Table of predictions by name, of the same steps.
        limits: Result of :func:`thresholds`.
        levels: "image", "sequence" or both; predictions of late fusion have no level "image".
        sequences: Sequences that count; all by default.
        sensor: Count the steps alone that have an image of this sensor; all by default.
        padded: Whether padding counts as dry images.
        gains_of: The name whose gains over each other one are returned, see
            :func:`eolab.evaluation.paired_gains`; scores where empty.
        **options: Options of :func:`eolab.evaluation.score_table`, such as statistics, baselines, seed.

    Returns:
        The columns of :func:`eolab.evaluation.score_table`, and level.

    Raises:
        DataError: If the tables are not of the same steps, or nothing is left to score.
    """
    evaluate: Any = evaluation.score_table
    if gains_of:
        evaluate = partial(evaluation.paired_gains, model=gains_of)
    chosen = {name: _counting(table, sequences, padded, sensor) for name, table in predictions.items()}
    parts = []
    for level in levels:
        tables = chosen if level == "image" else {name: of_sequences(table) for name, table in chosen.items()}
        _check_same(tables)
        first = next(iter(tables.values()))
        found = evaluate(
            {name: table["probability"].to_numpy(float) for name, table in tables.items()},
            first["flooded"].to_numpy(np.uint8),
            class_names=CLASSES,
            thresholds=limits[level],
            groups=first["sequence"].to_numpy(str),
            **options,
        )
        parts.append(found.assign(level=level))
    return pd.concat(parts, ignore_index=True)


def sequence_means(predictions: pd.DataFrame, threshold: float, padded: bool = False) -> pd.DataFrame:
    """Return means over sequences of the scores of their steps, the averages of Wiesniakowski et al. 2024.

    A sequence without a flood, or without an alarm, counts 0 in precision, recall and F1: these means say how
    many sequences flood as much as how many floods are found.

    Args:
        predictions: Table of predictions.
        threshold: A step of at least this probability is flooded.
        padded: Whether padding counts as dry steps.

    Returns:
        Columns statistic and value: accuracy, precision, recall and f1.
    """
    steps = _counting(predictions, None, padded, "")
    said, truth = steps["probability"] >= threshold, steps["flooded"].astype(bool)
    parts = {"right": said == truth, "hits": said & truth, "said": said, "truth": truth, "n": said | True}
    count = pd.DataFrame(parts).groupby(steps["sequence"]).sum()
    found = {
        "accuracy": count["right"] / count["n"],
        "precision": count["hits"] / count["said"].clip(lower=1),
        "recall": count["hits"] / count["truth"].clip(lower=1),
        "f1": 2 * count["hits"] / (count["said"] + count["truth"]).clip(lower=1),
    }
    rows = [(name, float(values.mean())) for name, values in found.items()]
    return pd.DataFrame(rows, columns=["statistic", "value"])


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
    parts = []
    for sensor in SENSORS:
        if (first[sensor].astype(bool) & ~first["padded"].astype(bool)).any():
            found = scores(predictions, limits, levels=["image"], sensor=sensor, **options)
            parts.append(found.assign(level=f"image, {sensor}"))
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
        given: dict[str, Any] = {"levels": [level], "statistics": [statistic], "sequences": own} | options
        found = scores(predictions, limits, **given)
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
