"""Baselines of the flood study, one image at a time: what a network that reads whole series must beat.

============= =====================================================================================
majority      the share of flooded images in training
water_index   share of the pixels whose water index is above 0, in the optical image
dark_radar    share of the pixels that lost more than 3 dB against the scene's first images
statistics_s1 mean, spread and percentiles of each channel of the radar image → logistic regression
statistics_s2 the same of the optical image
============= =====================================================================================

Each gives a score from 0 to 1 an image; a threshold is chosen on validation images. A scene's first images
stand for its dry state: no label is looked at, and in the published lists no scene is flooded in its first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from eolab import evaluation
from eolab.errors import DataError, ParameterError, did_you_mean
from eolab.flood.answers import choose_threshold, held
from eolab.flood.image_tables import statistic_columns
from eolab.flood.timelines import Timeline

SENSOR_OF = {
    "majority": "S1",
    "water_index": "S2",
    "dark_radar": "S1",
    "statistics_s1": "S1",
    "statistics_s2": "S2",
}
NAMES = tuple(SENSOR_OF)


@dataclass(frozen=True)
class Baseline:
    """A fitted baseline.

    Attributes:
        name: One of :data:`NAMES`.
        score: From rows of :func:`eolab.flood.image_table` to a score from 0 to 1 each.
    """

    name: str
    score: Callable[[pd.DataFrame], np.ndarray]


def fit(name: str, train: pd.DataFrame, seed: int = 0) -> Baseline:
    """Fit a baseline on images to train on.

    Args:
        name: One of :data:`NAMES`.
        train: Rows of :func:`eolab.flood.image_table` of its sensor.
        seed: Of the logistic regression.

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
    column, needed = {"water_index": ("water", "a water index"), "dark_radar": ("dark", "Sentinel-1")}[name]
    if column not in train:
        raise ParameterError(f"Baseline {name!r} needs a store with {needed}: choose channels that have it.")
    return Baseline(name, lambda rows: rows[column].to_numpy(np.float64))


class _Statistics:
    """Logistic regression of the flood on an image's statistics; a missing one counts as the mean."""

    def __init__(self, train: pd.DataFrame, seed: int) -> None:
        if train["flooded"].nunique() < 2:
            raise DataError(
                f"The {len(train)} training images are all of one label: expected some with and some without "
                "a flood. Take more scenes, or another seed of the split."
            )
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


def answer(
    names: Sequence[str],
    numbers: Mapping[str, pd.DataFrame],
    lines: Mapping[str, Sequence[Timeline]],
    seed: int = 0,
) -> dict[str, dict[str, pd.DataFrame]]:
    """Fit baselines on the images to train on, and let each answer at every step of some scenes.

    A baseline sees one image at a time and stands by its word until the next image of its sensor.

    Args:
        names: Of :data:`NAMES`.
        numbers: By sensor, :func:`eolab.flood.image_table` with a column ``split``, as the store is ordered.
        lines: Scenes by what they are, "validation" and "test", not joined "late".
        seed: Of the logistic regressions.

    Returns:
        By name and part, see :mod:`eolab.flood.answers`.

    Raises:
        ParameterError: If a name is unknown, or the stores lack what a baseline scores by.
    """
    found: dict[str, dict[str, pd.DataFrame]] = {}
    for name in names:
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
    if sensor not in numbers:
        raise ParameterError(
            f"Baseline {name!r} reads images of {sensor}, found tables of {', '.join(numbers) or 'none'}: "
            "give one of its sensor, or leave the baseline out."
        )
    images = numbers[sensor]
    train = images[images["split"] == "train"].reset_index(drop=True)
    return images, fit(name, train, seed).score(images)


def weight_table(numbers: Mapping[str, pd.DataFrame], seed: int = 0) -> pd.DataFrame:
    """Return the weights of the logistic regression of each sensor: sensor, feature, weight."""
    parts = []
    for sensor, images in numbers.items():
        model = _Statistics(images[images["split"] == "train"].reset_index(drop=True), seed)
        weights = model.model[-1].coef_[0]
        parts.append(pd.DataFrame({"sensor": sensor, "feature": model.columns, "weight": weights}))
    return pd.concat(parts, ignore_index=True)
