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

COLUMNS = ["scene", "step", "date", "flooded", "probability", *SENSORS, "padded"]
LEVELS = ("image", "scene")
Answers = Mapping[str, pd.DataFrame]


def answer_table(lines: Sequence[ImageSequence], probabilities: Sequence[np.ndarray]) -> pd.DataFrame:
    """Return the answers for some scenes.

    Args:
        lines: The scenes.
        probabilities: Of each scene, of its steps (T,) and, behind them, of padding; with "late" one.
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
        scores: Of each image of the sensor, by row of its store.
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
    """Return the threshold with the best balanced accuracy; of several the middle one.

    Thresholds lie halfway between neighbouring probabilities. Padding counts nothing; where all answers are
    one, or all labels, the threshold is 0.5.

    Raises:
        DataError: If a probability is not a finite number.
    """
    real = answers[~answers["padded"].astype(bool)]
    truth, values = real["flooded"].to_numpy(bool), real["probability"].to_numpy(float)
    if not np.isfinite(values).all():
        raise DataError(
            f"{(~np.isfinite(values)).sum()} of {len(values)} answers have no finite probability to choose a "
            "threshold by: train again with a lower learning rate or with clipped gradients."
        )
    known = np.unique(values)
    if len(known) < 2 or truth.all() or not truth.any():
        return 0.5
    limits = (known[1:] + known[:-1]) / 2
    wet, dry = np.sort(values[truth]), np.sort(values[~truth])
    found, rejected = len(wet) - np.searchsorted(wet, limits), np.searchsorted(dry, limits)
    right = found * len(dry) + rejected * len(wet)  # balanced accuracy in whole numbers: ties are exact
    best = np.flatnonzero(right == right.max())
    return float(limits[best[len(best) // 2]])


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
    statistics: Collection[str] = evaluation.BINARY_STATISTICS,
    baselines: Collection[str] = (),
    replicates: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Score answers per image and per scene, with bootstrap intervals over scenes.

    Args:
        answers: Table of answers by name, of the same steps.
        limits: Result of :func:`thresholds`.
        levels: "image", "scene" or both; answers that are one a scene have no level "image".
        scenes: Scenes that count; all by default.
        sensor: Count the steps alone that have an image of this sensor; all by default.
        padded: Whether padding counts as dry images, as in the report.
        statistics: Which of :data:`eolab.evaluation.BINARY_STATISTICS`.
        baselines: Names that are baselines.
        replicates: Bootstrap replicates.
        seed: Of the bootstrap.

    Returns:
        Columns level, then those of :func:`eolab.evaluation.binary_scores`; one scene alone has no interval,
        low and high are NaN. Balanced accuracy is NaN where all labels are one: it would be recall alone.

    Raises:
        DataError: If the tables are not of the same steps, or nothing is left to score.
    """
    chosen = {name: _counting(table, scenes, padded, sensor) for name, table in answers.items()}
    parts = []
    for level in levels:
        tables = chosen if level == "image" else {name: of_scenes(table) for name, table in chosen.items()}
        _check_same(tables)
        first = next(iter(tables.values()))
        found = evaluation.binary_scores(
            {name: table["probability"] for name, table in tables.items()},
            first["flooded"].to_numpy(np.uint8),
            limits[level],
            groups=first["scene"].to_numpy(str),
            statistics=statistics,
            baselines=baselines,
            replicates=replicates,
            seed=seed,
        )
        if first["flooded"].nunique() < 2:
            found.loc[found["statistic"] == "balanced_accuracy", ["estimate", "low", "high"]] = np.nan
        parts.append(found.assign(level=level))
    table = pd.concat(parts, ignore_index=True)
    return table[["level", *table.columns.drop("level")]]


def sensor_scores(
    answers: Answers, limits: Mapping[str, Mapping[str, float]], **options: Any
) -> pd.DataFrame:
    """Score the steps that have an image of each sensor: levels "image, S1" and "image, S2".

    Args:
        answers: Table of answers by name, of the same steps.
        limits: Result of :func:`thresholds`.
        **options: Of :func:`scores`, but for `levels` and `sensor`.
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
        name: Of the network.
        validation: Its answers on timelines of the sensor alone; they choose the thresholds.
        test: Likewise; these are scored.
        sensor: Which one.
        **options: Of :func:`scores`, but for `sensor`.
    """
    found = scores({name: test}, thresholds({name: validation}), **options)
    return found.assign(level=found["level"] + f", {sensor}")


def region_scores(
    answers: Answers,
    limits: Mapping[str, Mapping[str, float]],
    regions: pd.Series,
    level: str = "image",
    statistic: str = "balanced_accuracy",
    **options: Any,
) -> pd.DataFrame:
    """Return a score of each region: region, name, scenes, estimate, low, high.

    R2 comes before R10. Balanced accuracy is NaN where a region has one label only, low and high where it has
    one scene only.

    Args:
        answers: Table of answers by name.
        limits: Result of :func:`thresholds`.
        regions: Region by scene.
        level: "image" or "scene".
        statistic: One of :data:`eolab.evaluation.BINARY_STATISTICS`.
        **options: Of :func:`scores`.
    """
    parts = []
    first = next(iter(answers.values()))
    present = regions[regions.index.isin(set(first["scene"]))]
    for region in sorted(present.unique(), key=lambda name: (len(name), name)):
        own = set(present.index[present == region])
        chosen: dict[str, Any] = {"levels": [level], "statistics": [statistic], "scenes": own}
        found = scores(answers, limits, **chosen, **options)
        parts.append(found.assign(region=region, scenes=len(own)))
    return pd.concat(parts, ignore_index=True)[["region", "name", "scenes", "estimate", "low", "high"]]


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
