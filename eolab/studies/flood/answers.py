"""Answers to "has a flood been seen here by this day?": a table of them, thresholds and scores.

A table of answers has a row a step of a scene (an image, or the images of a day): scene, step, date,
flooded, probability, ``S1`` and ``S2`` (whether the sensor has an image at the step) and padded. Networks and
baselines give the same table of the same steps, so that all are scored on the same samples.
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

COLUMNS = ["scene", "step", "date", "flooded", "probability", *SENSORS, "padded"]
LEVELS = ("image", "scene")
CLASSES = ("dry", "flooded")
Answers = Mapping[str, pd.DataFrame]


def answer_table(lines: Sequence[ImageSequence], probabilities: Sequence[np.ndarray]) -> pd.DataFrame:
    """Return the answers for some scenes.

    Args:
        lines: The scenes.
        probabilities: For each scene, those of its steps (T,) and of padding behind them; with "late" one.
    """
    parts = [_of_scene(line, values) for line, values in zip(lines, probabilities, strict=True)]
    return pd.concat(parts, ignore_index=True)[COLUMNS] if parts else pd.DataFrame(columns=COLUMNS)


def _of_scene(line: ImageSequence, values: np.ndarray) -> pd.DataFrame:
    steps, own = np.arange(len(values)), len(line.labels)
    there = steps < own
    flooded = np.zeros(len(values), bool)
    flooded[:own] = line.labels == 1
    dates = np.full(len(values), np.datetime64("NaT", "D"))
    seen = {sensor: np.zeros(len(values), bool) for sensor in SENSORS}
    for sensor, rows in line.rows.items():
        if line.late:
            seen[sensor][:] = bool(len(rows))
            continue
        seen[sensor][:own] = rows[:own] >= 0
        days = line.dates[sensor][:own]
        later = seen[sensor][:own] & ~(dates[:own] >= days)  # "pad" has two dates a step: nobody answers
        dates[:own][later] = days[later]  # before both images are there; NaT compares with nothing
    columns = {"date": pd.to_datetime(dates), "flooded": flooded, "probability": np.asarray(values, float)}
    return pd.DataFrame({"scene": line.name, "step": steps, **columns, **seen, "padded": ~there})


def held(lines: Sequence[ImageSequence], sensor: str, scores: np.ndarray, before: float) -> pd.DataFrame:
    """Return the answers of one who sees one image at a time and stands by his word until the next.

    Args:
        lines: The scenes, not joined "late".
        sensor: Whose images he sees.
        scores: Score of each image of the sensor, by row of its store.
        before: What he says before the first image.

    Raises:
        DataError: If the scenes have one label each.
    """
    _need_steps(lines)
    found = []
    for line in lines:
        rows = line.rows.get(sensor, np.full(line.length, NO_ROW))
        said = pd.Series(np.where(rows >= 0, scores[np.maximum(rows, 0)], np.nan))
        found.append(said.ffill().fillna(before).to_numpy(np.float64))
    return answer_table(lines, found)


def of_scenes(answers: pd.DataFrame) -> pd.DataFrame:
    """Return one answer a scene: the highest of its steps; padding left out. Columns as those of answers."""
    real = answers[~answers["padded"].astype(bool)]
    kinds = {"flooded": "any", "probability": "max", "date": "min", "padded": "any", "step": "min"}
    grouped = real.groupby("scene", sort=False).agg({**kinds, **dict.fromkeys(SENSORS, "any")})
    return grouped.reset_index()[COLUMNS]


def choose_threshold(answers: pd.DataFrame) -> float:
    """Return the threshold with the best balanced accuracy; padding counts nothing.

    See :func:`eolab.evaluation.postprocess.choose_threshold`; thresholds lie halfway between neighbouring
    probabilities. Where all answers are one, or all labels, the threshold is 0.5.

    Raises:
        DataError: If a probability is not a finite number.
    """
    real = answers[~answers["padded"].astype(bool)]
    values = real["probability"].to_numpy(float)
    if not np.isfinite(values).all():
        raise DataError(
            f"{(~np.isfinite(values)).sum()} of {len(values)} answers have no finite probability to choose a "
            "threshold by: train again with a lower learning rate or with clipped gradients."
        )
    if len(np.unique(values)) < 2:
        return 0.5
    truth = real["flooded"].to_numpy(np.uint8)
    chosen = postprocess.choose_threshold(values, truth, "balanced_accuracy", "midpoints", default=0.5)
    return float(chosen)


def thresholds(validation: Answers) -> dict[str, dict[str, float]]:
    """Return the threshold of each name, by level ("image", "scene"), chosen on validation answers."""
    return {
        "image": {name: choose_threshold(table) for name, table in validation.items()},
        "scene": {name: choose_threshold(of_scenes(table)) for name, table in validation.items()},
    }


def scores(
    answers: Answers,
    limits: Mapping[str, Mapping[str, float]],
    *,
    levels: Collection[str] = LEVELS,
    scenes: Collection[str] | None = None,
    sensor: str = "",
    padded: bool = False,
    **options: Any,
) -> pd.DataFrame:
    """Score answers per image and per scene, with bootstrap intervals over scenes.

    Args:
        answers: Table of answers by name, of the same steps.
        limits: Result of :func:`thresholds`.
        levels: "image", "scene" or both; answers that are one a scene have no level "image".
        scenes: Scenes that count; all by default.
        sensor: Count the steps alone that have an image of this sensor; all by default.
        padded: Whether padding counts as dry images, as in the report.
        **options: Options of :func:`eolab.evaluation.score_table`, such as statistics, baselines, seed.

    Returns:
        As :func:`eolab.evaluation.score_table`, and the column level.

    Raises:
        DataError: If the tables are not of the same steps, or nothing is left to score.
    """
    chosen = {name: _counting(table, scenes, padded, sensor) for name, table in answers.items()}
    parts = []
    for level in levels:
        tables = chosen if level == "image" else {name: of_scenes(table) for name, table in chosen.items()}
        _check_same(tables)
        first = next(iter(tables.values()))
        found = evaluation.score_table(
            {name: table["probability"].to_numpy(float) for name, table in tables.items()},
            first["flooded"].to_numpy(np.uint8),
            class_names=CLASSES,
            thresholds=limits[level],
            groups=first["scene"].to_numpy(str),
            **options,
        )
        parts.append(found.assign(level=level))
    return pd.concat(parts, ignore_index=True)


def sensor_scores(
    answers: Answers, limits: Mapping[str, Mapping[str, float]], **options: Any
) -> pd.DataFrame:
    """Score the steps that have an image of each sensor: levels "image, S1" and "image, S2".

    Args:
        answers: Table of answers by name, of the same steps.
        limits: Result of :func:`thresholds`.
        **options: Options of :func:`scores`, but for `levels` and `sensor`.
    """
    first = next(iter(answers.values()))
    parts = [
        scores(answers, limits, levels=["image"], sensor=sensor, **options).assign(level=f"image, {sensor}")
        for sensor in SENSORS
        if (first[sensor].astype(bool) & ~first["padded"].astype(bool)).any()
    ]
    return pd.concat(parts, ignore_index=True)


def series_scores(
    name: str, validation: pd.DataFrame, test: pd.DataFrame, sensor: str, **options: Any
) -> pd.DataFrame:
    """Score a network of one sensor on this sensor's series alone: levels such as "image, S1", "scene, S1".

    A scene whose flood only the other sensor saw is dry here.

    Args:
        name: Name of the network.
        validation: Its answers on timelines of the sensor alone; they choose the thresholds.
        test: Its answers on test timelines, which are scored.
        sensor: Which one.
        **options: Options of :func:`scores`, but for `sensor`.
    """
    found = scores({name: test}, thresholds({name: validation}), **options)
    return found.assign(level=found["level"] + f", {sensor}")


def region_scores(
    answers: Answers,
    limits: Mapping[str, Mapping[str, float]],
    regions: pd.Series,
    level: str = "image",
    statistic: str = "all.balanced_accuracy",
    **options: Any,
) -> pd.DataFrame:
    """Return a score of each region: region, model, scenes, value, low, high.

    R2 comes before R10. Balanced accuracy is NaN where a region has one label only, low and high where it has
    one scene only.

    Args:
        answers: Table of answers by name.
        limits: Result of :func:`thresholds`.
        regions: Region by scene.
        level: "image" or "scene".
        statistic: Which score, see :func:`eolab.evaluation.score_table`.
        **options: Options of :func:`scores`.
    """
    parts = []
    first = next(iter(answers.values()))
    present = regions[regions.index.isin(set(first["scene"]))]
    for region in sorted(present.unique(), key=lambda name: (len(name), name)):
        own = set(present.index[present == region])
        chosen: dict[str, Any] = {"levels": [level], "statistics": [statistic], "scenes": own}
        found = scores(answers, limits, **chosen, **options)
        parts.append(found.assign(region=region, scenes=len(own)))
    return pd.concat(parts, ignore_index=True)[["region", "model", "scenes", "value", "low", "high"]]


def hidden_scenes(lines: Sequence[ImageSequence], bright: pd.Series, least: float = 0.4) -> list[str]:
    """Return the scenes whose flood is hidden from the optical series.

    Those that flood, and whose optical images since then are all bright by at least `least`, or none.

    Args:
        lines: The scenes, not joined "late".
        bright: Share of bright pixels of each optical image, by row of its store.
        least: Share from which clouds hide a flood.

    Raises:
        DataError: If the scenes have one label each.
    """
    _need_steps(lines)
    found = []
    for line in lines:
        rows = line.rows.get("S2", np.full(line.length, NO_ROW))
        since = rows[(line.labels == 1) & (rows >= 0)]
        if (line.labels == 1).any() and (bright.to_numpy()[since] >= least).all():
            found.append(line.name)
    return found


def _need_steps(lines: Sequence[ImageSequence]) -> None:
    if any(line.late for line in lines):
        raise DataError("Answers image by image need steps: join the sensors by union or pad, not late.")


def _counting(table: pd.DataFrame, scenes: Collection[str] | None, padded: bool, sensor: str) -> pd.DataFrame:
    kept = table if padded else table[~table["padded"].astype(bool)]
    kept = kept if scenes is None else kept[kept["scene"].isin(set(scenes))]
    kept = kept[kept[sensor].astype(bool)] if sensor else kept
    return kept.reset_index(drop=True)


def _check_same(tables: Answers) -> None:
    names = list(tables)
    for name in names[1:]:
        one, first = (tables[key][["scene", "step", "flooded"]] for key in (name, names[0]))
        if not one.equals(first):
            raise DataError(
                f"{name!r} answers {len(one)} steps that are not the {len(first)} of {names[0]!r}: "
                "compare runs of one store with one way to join the sensors."
            )
