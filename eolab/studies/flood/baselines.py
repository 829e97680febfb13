"""Baselines of the flood study, one image at a time: what a network that reads whole series must beat.

============= =====================================================================================
majority      the share of flooded images in training
water_index   share of the pixels whose water index is above 0, in the optical image
dark_radar    share of the pixels that lost more than 3 dB against the sequence's first images
statistics_s1 mean, spread and percentiles of each channel of the radar image → logistic regression
statistics_s2 the same of the optical image
calendar      the day alone, no pixel: boosted trees, one model for the images of each sensor
neighbour     no pixel: whether the nearest training sequence had been flooded by that day
============= =====================================================================================

The last two show how much of a score place and season explain: in the published lists 67 of 68 test sequences
share an edge with a training sequence, and `neighbour` is right for all 1,213 test images.

Each gives a score from 0 to 1 an image; a threshold is chosen on validation images. A sequence's first images
are its dry state: no label is used, and in the published lists no sequence is flooded in its
first.
"""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from eolab.core.errors import DataError, ParameterError, warn
from eolab.data.layouts.sen12flood import SENSORS
from eolab.data.sequences import ImageSequence
from eolab.evaluation.classes import Binary
from eolab.studies.flood import scoring
from eolab.studies.flood.explore import STATISTICS
from eolab.studies.flood.samples import statistic_columns
from eolab.tasks import baselines
from eolab.tasks.baselines import Baseline, Maker, Parts, filled
from eolab.tasks.baselines.estimators import Score
from eolab.tasks.baselines.readers import Columns

TASK = "sequence_classification"
LABEL = "flooded"
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
NEEDED = {
    "water_index": ({"water"}, "a store with a water index among its channels"),
    "dark_radar": ({"dark"}, "a store of Sentinel-1"),
    "neighbour": ({"x", "y"}, "the places of sequences, x and y; write the store again with 02_preprocess"),
}
"""Columns that a table may lack, and the remedy."""


def chosen(names: Sequence[str]) -> list[str]:
    """Return names as given, or those of all baselines for "all".

    Raises:
        ParameterError: If a name is unknown.
    """
    return list(NAMES) if list(names) == ["all"] else baselines.chosen(TASK, names, BASELINES)


def possible(names: Sequence[str], numbers: Mapping[str, pd.DataFrame]) -> list[str]:
    """Return the names of baselines that tables of images allow; the others are left out by name."""
    kept = [
        name
        for name in chosen(names)
        if (sensor := _sensor(name, numbers)) == NO_SENSOR
        or (sensor in numbers and NEEDED.get(name, (set(),))[0] <= set(numbers[sensor]))
    ]
    if lost := [name for name in chosen(names) if name not in kept]:
        warn(f"The images do not have what {', '.join(lost)} read: these baselines are left out.")
    return kept


def _sensor(name: str, numbers: Mapping[str, Any]) -> str:
    """Return the sensor that a baseline reads; the majority has that of any images."""
    sensor = SENSOR_OF[name]
    return next(iter(numbers)) if name == "majority" and sensor not in numbers else sensor


def fit(name: str, train: pd.DataFrame, seed: int = 0) -> Baseline:
    """Fit a baseline on images to train on.

    Args:
        name: One of :data:`NAMES`.
        train: Rows of :func:`eolab.studies.flood.samples.image_table` of its sensor; those of
            :func:`without_sensor` where it reads none.
        seed: Seed of the regression, or the trees.

    Raises:
        DataError: If the images show one label only, and the baseline needs both.
        ParameterError: If the name is unknown, or the table lacks a column that the baseline reads.
    """
    baseline = baselines.build(TASK, name, classes=2, seed=seed, more=BASELINES)
    columns, remedy = NEEDED.get(name, (set(), ""))
    if not columns <= set(train):
        raise ParameterError(f"The baseline needs {remedy}: found {', '.join(map(str, train))}.")
    return baseline.fit(train, np.arange(len(train)))


def score(baseline: Baseline, images: pd.DataFrame) -> np.ndarray:
    """Return the score from 0 to 1 of each row of a table of images, (N,)."""
    return baseline.predict(images, np.arange(len(images)))[:, 1].astype(np.float64)


# === Makers ===


def _statistics(seed: int) -> Parts:
    regression = LogisticRegression(max_iter=2000, class_weight="balanced", random_state=seed)
    return Parts(Columns(LABEL, statistic_columns), filled(regression))


BASELINES: dict[str, Maker] = {
    "majority": lambda seed: Parts(Columns(LABEL, []), DummyClassifier(strategy="prior")),
    "water_index": lambda seed: Parts(Columns(LABEL, ["water"]), Score("water")),
    "dark_radar": lambda seed: Parts(Columns(LABEL, ["dark"]), Score("dark")),
    "statistics_s1": _statistics,
    "statistics_s2": _statistics,
    "calendar": lambda seed: Parts(Columns(LABEL, ["date", "sensor", *SENSORS]), Calendar(seed)),
    "neighbour": lambda seed: Parts(Columns(LABEL, ["sequence", "date", "x", "y"]), Neighbour()),
}


class Calendar(ClassifierMixin, BaseEstimator):
    """Boosted trees of the label on the day, fitted for each sensor; of two images of a day, the mean.

    Args:
        seed: Seed of the trees.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, X: pd.DataFrame, y: np.ndarray) -> Self:
        """Learn from images: date and sensor of each."""
        self.classes_, self.models_ = np.array([0, 1]), {}
        for sensor in np.unique(X["sensor"].astype(str)):
            own = (X["sensor"] == sensor).to_numpy()
            model = HistGradientBoostingClassifier(max_iter=50, min_samples_leaf=5, random_state=self.seed)
            self.models_[sensor] = model.fit(_days(X[own]), y[own])
        return self

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Return the probabilities of both labels, (N, 2)."""
        found = np.stack([model.predict_proba(_days(X)) for model in self.models_.values()])  # (S, N, 2)
        seen = X[list(self.models_)].to_numpy(bool).T
        weights = np.where(seen.any(0), seen, True).astype(float)
        return np.average(found, axis=0, weights=np.broadcast_to(weights[..., None], found.shape))


class Neighbour(ClassifierMixin, BaseEstimator):
    """Predict by a date whether the nearest training sequence was flooded by that date."""

    min_classes = 1

    def fit(self, X: pd.DataFrame, y: np.ndarray) -> Self:
        """Learn from images: sequence, date, x and y of each."""
        sequences = X.groupby("sequence")[["x", "y"]].first()
        onset = X[np.asarray(y) == 1].groupby("sequence")["date"].min()
        self.onset_ = onset.reindex(sequences.index).to_numpy("datetime64[ns]")  # NaT: never
        self.tree_, self.classes_ = cKDTree(sequences.to_numpy(float)), np.array([0, 1])
        return self

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Return 1 for the label that the neighbour has by the day, (N, 2)."""
        nearest = self.tree_.query(X[["x", "y"]].to_numpy(float))[1]
        found = X["date"].to_numpy("datetime64[ns]") >= self.onset_[nearest]
        return np.stack([~found, found], axis=1).astype(np.float64)


def _days(rows: pd.DataFrame) -> np.ndarray:
    return rows["date"].to_numpy("datetime64[D]").astype(np.int64)[:, None]


# === Scores ===


def without_sensor(numbers: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return what is known of the images of all sensors without their pixels.

    Args:
        numbers: Tables of images by sensor, see :func:`predict_steps`.

    Returns:
        Columns sequence, date, flooded, split; x and y where the sequences' places are known; sensor; and
        ``S1`` and ``S2``, whether the image is of this sensor.
    """
    known = ["sequence", "date", "flooded", "split", "x", "y"]
    parts = [
        table[[name for name in known if name in table]].assign(sensor=sensor)
        for sensor, table in numbers.items()
    ]
    images = pd.concat(parts, ignore_index=True)
    return images.assign(**{sensor: images["sensor"] == sensor for sensor in SENSORS})


def without_pixels(
    tables: Mapping[str, pd.DataFrame], splits: Mapping[str, pd.Series], seed: int = 0
) -> pd.DataFrame:
    """Return how often the test images of a split are predicted right without looking at any image.

    Args:
        tables: Sample tables by sensor, with x and y.
        splits: Split by sequence, by the name of the split.
        seed: Seed of the calendar's trees.

    Returns:
        Columns split; rule, "always dry", or a baseline that reads no sensor and has learned from the images
        of training and validation, which choose nothing here; images, S1, S2 or both; number of test images;
        accuracy and balanced_accuracy over them, at a probability of 0.5. A rule that cannot be learned from
        these images is left out.
    """
    rows, statistics = [], [f"all.{name}" for name in STATISTICS[:2]]
    for split, of_sequence in splits.items():
        split_tables = {
            name: one.assign(split=one["sequence"].map(of_sequence)) for name, one in tables.items()
        }
        images = without_sensor(split_tables)
        held = images["split"] == "test"
        known, test = (
            images[part].reset_index(drop=True) for part in (~held & images["split"].notna(), held)
        )
        found = {"always dry": np.zeros(len(test))}
        for name in (name for name, sensor in SENSOR_OF.items() if sensor == NO_SENSOR):
            with contextlib.suppress(DataError):  # one label alone
                found[name] = score(fit(name, known, seed), test)
        parts = {sensor: (test["sensor"] == sensor).to_numpy() for sensor in tables}
        for which, rows_of in (parts | {"both": np.full(len(test), True)}).items():
            truth = test["flooded"].to_numpy(np.uint8)[rows_of]
            for rule, scores in found.items():
                shares = dict.fromkeys(statistics, np.full(1, np.nan))
                if len(truth):
                    scored = Binary(truth, scores[rows_of], 0.5, None, scoring.CLASSES)
                    shares = scored.values(statistics)
                rows.append((split, rule, which, len(truth), *(shares[name].item() for name in statistics)))
    return pd.DataFrame(rows, columns=["split", "rule", "images", "number", *STATISTICS[:2]])


def predict_steps(
    names: Sequence[str],
    numbers: Mapping[str, pd.DataFrame],
    sequences: Mapping[str, Sequence[ImageSequence]],
    seed: int = 0,
) -> dict[str, dict[str, pd.DataFrame]]:
    """Fit baselines on the training images, and predict every step of some sequences with each.

    A baseline sees one image at a time, and its prediction is carried forward until the sensor's next image;
    one that reads no sensor predicts by the date of each step.

    Args:
        names: Names of :data:`NAMES`.
        numbers: By sensor, :func:`eolab.studies.flood.samples.image_table` with a column ``split``, as the
            store is ordered.
        sequences: Sequences by part, "validation" and "test", not of late fusion.
        seed: Seed of regressions and trees.

    Returns:
        By name and part, see :mod:`eolab.studies.flood.scoring`.

    Raises:
        ParameterError: If a name is unknown, or the stores lack what a baseline scores by.
    """
    found: dict[str, dict[str, pd.DataFrame]] = {}
    for name in names:
        baseline, images = _fitted(name, numbers, seed)
        if SENSOR_OF[name] == NO_SENSOR:
            found[name] = {part: _by_date(baseline, images, some) for part, some in sequences.items()}
            continue
        scores = score(baseline, images)
        usual = float(np.median(scores[(images["split"] == "train").to_numpy()]))  # before the first image
        found[name] = {
            part: scoring.carry_forward(some, _sensor(name, numbers), scores, usual)
            for part, some in sequences.items()
        }
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
        names: Names of :data:`NAMES`.
        numbers: Tables of images by sensor, see :func:`predict_steps`.
        among: By sensor, which test images count; all by default.
        replicates: Bootstrap replicates, over sequences.
        seed: Seed of the regressions and the bootstrap.

    Returns:
        The columns of :func:`eolab.evaluation.score_table`; nothing of a baseline without a test image.

    Raises:
        ParameterError: If a name is unknown, or the stores lack what a baseline scores by.
    """
    parts = []
    for name in names:
        baseline, images = _fitted(name, numbers, seed)
        table = images.assign(probability=score(baseline, images), padded=False)
        limit = scoring.choose_threshold(table[table["split"] == "validation"])
        test = (table["split"] == "test") & (among or {}).get(SENSOR_OF[name], True)
        if not test.any():
            continue
        options: dict[str, Any] = {"baselines": names, "replicates": replicates, "seed": seed}
        parts.append(
            scoring.scores({name: table[test]}, {"image": {name: limit}}, levels=["image"], **options)
        )
    return pd.concat(parts, ignore_index=True).drop(columns="level") if parts else pd.DataFrame()


def _fitted(name: str, numbers: Mapping[str, pd.DataFrame], seed: int) -> tuple[Baseline, pd.DataFrame]:
    """Return a baseline fitted on the training images of its sensor, and all images of the sensor."""
    [name] = chosen([name])
    sensor = _sensor(name, numbers)
    if sensor not in (NO_SENSOR, *numbers):
        raise ParameterError(
            f"Baseline {name!r} reads images of {sensor}, found tables of {', '.join(numbers) or 'none'}: "
            "give one of its sensor, or leave the baseline out."
        )
    images = without_sensor(numbers) if sensor == NO_SENSOR else numbers[sensor]
    return fit(name, images[images["split"] == "train"].reset_index(drop=True), seed), images


def _by_date(baseline: Baseline, images: pd.DataFrame, sequences: Sequence[ImageSequence]) -> pd.DataFrame:
    """Return the predictions of a baseline that reads no sensor, by sequence and date of each step."""
    places = images.groupby("sequence")[[column for column in ("x", "y") if column in images]].first()
    steps = scoring.carry_forward(sequences, NO_SENSOR, np.zeros(1), 0.0)
    known = steps.assign(sensor=NO_SENSOR).join(places, on="sequence")
    return steps.assign(probability=score(baseline, known))


def weight_table(numbers: Mapping[str, pd.DataFrame], seed: int = 0) -> pd.DataFrame:
    """Return the weights of the logistic regression of each sensor: sensor, feature, weight."""
    parts = []
    for sensor in numbers:
        baseline: Any = _fitted(f"statistics_{sensor.lower()}", numbers, seed)[0]
        weights = baseline.estimator["model"].coef_[0]
        parts.append(pd.DataFrame({"sensor": sensor, "feature": baseline.reader.names, "weight": weights}))
    return pd.concat(parts, ignore_index=True)
