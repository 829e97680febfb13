"""Baselines of the flood study, one image at a time: what a network that reads whole series must beat.

============= =====================================================================================
majority      the share of flooded images in training
water_index   share of the pixels whose water index is above 0, in the optical image
dark_radar    share of the pixels that lost more than 3 dB against the scene's first images
statistics_s1 mean, spread and percentiles of each channel of the radar image → logistic regression
statistics_s2 the same of the optical image
calendar      the day alone, no pixel: boosted trees, one model for the images of each sensor
neighbour     no pixel: whether the nearest training scene had been flooded by that day
============= =====================================================================================

The last two tell how much of a score place and season give away: scenes of one flood lie side by side, and in
the published lists 67 of 68 test scenes share an edge with a training scene.

Each gives a score from 0 to 1 an image; a threshold is chosen on validation images. A scene's first images
stand for its dry state: no label is looked at, and in the published lists no scene is flooded in its first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from eolab import evaluation
from eolab.core.errors import DataError, ParameterError, did_you_mean
from eolab.data.layouts.sen12flood import SENSORS
from eolab.data.sequences import ImageSequence
from eolab.studies.flood.answers import choose_threshold, held
from eolab.studies.flood.image_tables import statistic_columns

NO_SENSOR = "none"
SENSOR_OF = {
    "majority": "S1",
    "water_index": "S2",
    "dark_radar": "S1",
    "statistics_s1": "S1",
    "statistics_s2": "S2",
    "calendar": NO_SENSOR,
    "neighbour": NO_SENSOR,
}
NAMES = tuple(SENSOR_OF)


def chosen(names: Sequence[str]) -> list[str]:
    """Return the names of baselines, those of all for the one word "all"."""
    return list(NAMES if list(names) == ["all"] else names)


@dataclass(frozen=True)
class Baseline:
    """A fitted baseline.

    Attributes:
        name: One of :data:`NAMES`.
        score: From rows of :func:`eolab.studies.flood.image_table` to a score from 0 to 1 each.
    """

    name: str
    score: Callable[[pd.DataFrame], np.ndarray]


def fit(name: str, train: pd.DataFrame, seed: int = 0) -> Baseline:
    """Fit a baseline on images to train on.

    Args:
        name: One of :data:`NAMES`.
        train: Rows of :func:`eolab.studies.flood.image_table` of its sensor; those of :func:`without_sensor`
            where it reads none.
        seed: Of the regression, or the trees.

    Raises:
        ParameterError: If the name is unknown, or the table lacks what the baseline scores by.
    """
    if name not in NAMES:
        raise ParameterError(f"There is no baseline {name!r}: {did_you_mean(name, NAMES)}")
    if name == "majority":
        share = float(train["flooded"].mean())
        return Baseline(name, lambda rows: np.full(len(rows), share))
    if name.startswith("statistics"):
        return Baseline(name, _Statistics(train, seed))
    if name == "calendar":
        return Baseline(name, _Calendar(train, seed))
    if name == "neighbour":
        return Baseline(name, _Neighbour(train))
    column, needed = {"water_index": ("water", "a water index"), "dark_radar": ("dark", "Sentinel-1")}[name]
    if column not in train:
        raise ParameterError(f"Baseline {name!r} needs a store with {needed}: choose channels that have it.")
    return Baseline(name, lambda rows: rows[column].to_numpy(np.float64))


class _Statistics:
    """Logistic regression of the flood on an image's statistics; a missing one counts as the mean."""

    def __init__(self, train: pd.DataFrame, seed: int) -> None:
        _need_both_labels(train)
        self.columns = statistic_columns(train)
        self.means = train[self.columns].mean()
        self.model: Any = make_pipeline(
            StandardScaler(), LogisticRegression(max_iter=2000, class_weight="balanced", random_state=seed)
        )
        self.model.fit(self._table(train), train["flooded"].to_numpy(bool))

    def __call__(self, rows: pd.DataFrame) -> np.ndarray:
        return np.asarray(self.model.predict_proba(self._table(rows))[:, 1])

    def _table(self, rows: pd.DataFrame) -> np.ndarray:
        return rows[self.columns].fillna(self.means).to_numpy(np.float64)


class _Calendar:
    """Boosted trees of the flood on the day, fitted for each sensor; of two images of a day, the mean."""

    def __init__(self, train: pd.DataFrame, seed: int) -> None:
        self.models: dict[str, Any] = {}
        for sensor, images in train.groupby("sensor"):
            _need_both_labels(images)
            model = HistGradientBoostingClassifier(max_iter=50, min_samples_leaf=5, random_state=seed)
            self.models[str(sensor)] = model.fit(_days(images), images["flooded"].to_numpy(bool))

    def __call__(self, rows: pd.DataFrame) -> np.ndarray:
        said = np.stack([model.predict_proba(_days(rows))[:, 1] for model in self.models.values()])
        seen = rows[list(self.models)].to_numpy(bool).T
        return np.average(said, axis=0, weights=np.where(seen.any(0), seen, True).astype(float))


class _Neighbour:
    """Whether the training scene that lies nearest has been flooded by a day, as its own images tell."""

    def __init__(self, train: pd.DataFrame) -> None:
        if "x" not in train or "y" not in train:
            raise ParameterError(
                "Baseline 'neighbour' needs the places of scenes, x and y, which this store lacks: "
                "write it again with 02_preprocess."
            )
        scenes = train.groupby("scene")[["x", "y"]].first()
        onset = train[train["flooded"].astype(bool)].groupby("scene")["date"].min()
        self.onset = onset.reindex(scenes.index).to_numpy("datetime64[ns]")  # NaT: never
        self.tree = cKDTree(scenes.to_numpy(float))

    def __call__(self, rows: pd.DataFrame) -> np.ndarray:
        nearest = self.tree.query(rows[["x", "y"]].to_numpy(float))[1]
        return (rows["date"].to_numpy("datetime64[ns]") >= self.onset[nearest]).astype(np.float64)


def _days(rows: pd.DataFrame) -> np.ndarray:
    return rows["date"].to_numpy("datetime64[D]").astype(np.int64)[:, None]


def _need_both_labels(train: pd.DataFrame) -> None:
    if train["flooded"].nunique() < 2:
        raise DataError(
            f"The {len(train)} training images are all of one label: expected some with and some without "
            "a flood. Take more scenes, or another seed of the split."
        )


def without_sensor(numbers: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return what is known of the images of all sensors without their pixels.

    Args:
        numbers: As in :func:`answer`.

    Returns:
        Columns scene, date, flooded, split; x and y where the scenes' places are known; sensor; and ``S1``
        and ``S2``, whether the image is of this sensor.
    """
    known = ["scene", "date", "flooded", "split", "x", "y"]
    parts = [
        table[[name for name in known if name in table]].assign(sensor=sensor)
        for sensor, table in numbers.items()
    ]
    images = pd.concat(parts, ignore_index=True)
    return images.assign(**{sensor: images["sensor"] == sensor for sensor in SENSORS})


def answer(
    names: Sequence[str],
    numbers: Mapping[str, pd.DataFrame],
    lines: Mapping[str, Sequence[ImageSequence]],
    seed: int = 0,
) -> dict[str, dict[str, pd.DataFrame]]:
    """Fit baselines on the images to train on, and let each answer at every step of some scenes.

    A baseline sees one image at a time and stands by its word until the next image of its sensor; one that
    reads no sensor answers by the date of each step.

    Args:
        names: Of :data:`NAMES`.
        numbers: By sensor, :func:`eolab.studies.flood.image_table` with a column ``split``, as the store is
            ordered.
        lines: Scenes by what they are, "validation" and "test", not joined "late".
        seed: Of regressions and trees.

    Returns:
        By name and part, see :mod:`eolab.studies.flood.answers`.

    Raises:
        ParameterError: If a name is unknown, or the stores lack what a baseline scores by.
    """
    found: dict[str, dict[str, pd.DataFrame]] = {}
    for name in names:
        if SENSOR_OF.get(name) == NO_SENSOR:
            found[name] = _by_date(name, numbers, lines, seed)
            continue
        images, scores = _scored(name, numbers, seed)
        usual = float(np.median(scores[(images["split"] == "train").to_numpy()]))  # before the first image
        found[name] = {part: held(some, SENSOR_OF[name], scores, usual) for part, some in lines.items()}
    return found


def own_scores(
    names: Sequence[str],
    numbers: Mapping[str, pd.DataFrame],
    among: Mapping[str, pd.Series] | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Score baselines on the test images of their own sensors, thresholds chosen on validation images.

    One that reads no sensor is scored on the images of all.

    Args:
        names: Of :data:`NAMES`.
        numbers: As in :func:`answer`.
        among: By sensor, which test images count; all by default.
        replicates: Bootstrap replicates, over scenes.
        seed: Of the regressions and the bootstrap.

    Returns:
        As :func:`eolab.evaluation.binary_scores`.

    Raises:
        ParameterError: If a name is unknown, or the stores lack what a baseline scores by.
    """
    parts = []
    for name in names:
        images, score = _scored(name, numbers, seed)
        rows = pd.DataFrame({"probability": score, "flooded": images["flooded"], "padded": False})
        limit = choose_threshold(rows[images["split"] == "validation"])
        chosen = images["split"] == "test"
        chosen &= (among or {}).get(SENSOR_OF[name], True)
        parts.append(
            evaluation.binary_scores(
                {name: score[chosen]},
                rows.loc[chosen, "flooded"].to_numpy(np.uint8),
                {name: limit},
                groups=images.loc[chosen, "scene"].to_numpy(str),
                baselines=names,
                replicates=replicates,
                seed=seed,
            )
        )
    return pd.concat(parts, ignore_index=True)


def _scored(name: str, numbers: Mapping[str, pd.DataFrame], seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the images of a baseline's sensor, and their scores by the baseline fitted on training ones."""
    if name not in NAMES:
        raise ParameterError(f"There is no baseline {name!r}: {did_you_mean(name, NAMES)}")
    sensor = SENSOR_OF[name]
    if sensor == NO_SENSOR:
        images = without_sensor(numbers)
        return images, _fitted(name, images, seed).score(images)
    if sensor not in numbers:
        raise ParameterError(
            f"Baseline {name!r} reads images of {sensor}, found tables of {', '.join(numbers) or 'none'}: "
            "give one of its sensor, or leave the baseline out."
        )
    images = numbers[sensor]
    return images, _fitted(name, images, seed).score(images)


def _fitted(name: str, images: pd.DataFrame, seed: int) -> Baseline:
    """Return a baseline fitted on those images that are to train on."""
    return fit(name, images[images["split"] == "train"].reset_index(drop=True), seed)


def _by_date(
    name: str, numbers: Mapping[str, pd.DataFrame], lines: Mapping[str, Sequence[ImageSequence]], seed: int
) -> dict[str, pd.DataFrame]:
    """Return the answers of a baseline that reads no sensor, by scene and date of each step."""
    images = without_sensor(numbers)
    places = images.groupby("scene")[[column for column in ("x", "y") if column in images]].first()
    baseline = _fitted(name, images, seed)
    steps = {part: held(some, NO_SENSOR, np.zeros(1), 0.0) for part, some in lines.items()}
    return {
        part: table.assign(probability=baseline.score(table.join(places, on="scene")))
        for part, table in steps.items()
    }


def weight_table(numbers: Mapping[str, pd.DataFrame], seed: int = 0) -> pd.DataFrame:
    """Return the weights of the logistic regression of each sensor: sensor, feature, weight."""
    parts = []
    for sensor, images in numbers.items():
        model = _Statistics(images[images["split"] == "train"].reset_index(drop=True), seed)
        weights = model.model[-1].coef_[0]
        parts.append(pd.DataFrame({"sensor": sensor, "feature": model.columns, "weight": weights}))
    return pd.concat(parts, ignore_index=True)
