"""Leakage: how much test samples resemble training samples, and how much of a score that explains.

A test sample that has a twin in the training set is answered by memory. The check beside each split finds,
for every test sample, the most similar training sample (by standardised features) and the nearest one on the
ground, says how far a nearest-neighbour rule gets by that alone, and how a score falls with the similarity.
Its verdict is graded by the distance on the ground: in the same polygons as training samples, next to
training ground, or on ground of their own.

Example:
    >>> report = leakage(store, split="split_block")
    >>> report.verdict
"""

import html
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.neighbors import NearestNeighbors

from eolab.core.errors import ParameterError
from eolab.core.progress import stage
from eolab.data.splits.dealing import column_of
from eolab.data.store import Store
from eolab.data.tables import image_statistics

BINS = 5  # of equally many test samples, in the table of a report
SAME = 1e-6  # standardised distance below which two samples are the same
Z = 1.96  # standard normal quantile of a 95 % interval
ALIKE = 1.1  # relative distance up to which test samples are as near as training samples are to each other
FEW = 0.05  # share of test samples that may lie nearer, where a verdict calls their ground their own
MOST = 0.5  # share of test samples in polygons with training samples from which a verdict calls them shared

MEANINGS = {
    "on the ground of training samples": "is of ground that training has seen in other images",
    "in the same polygons as training samples": "says how well known polygons are filled in",
    "next to training ground": "is of ground beside the training ground",
    "apart from training samples, but in the same polygons": "is of known polygons, about that far away",
    "on ground of their own": "is of places about that far away",
}
"""What a score means, by :attr:`LeakageReport.grade`."""


class LeakageReport(NamedTuple):
    """Similarity of test samples to training samples.

    Attributes:
        samples: A row a test sample: distance (root mean square difference of standardised features to the
            most similar training sample), map_distance_m (to the nearest training sample on the ground; NaN
            without coordinates), whether nearest_neighbour and majority are right, the score that is
            studied (the given one, else that of nearest_neighbour) and, where polygons are known, whether
            it lies in a shared_polygon, one that a training sample lies in too.
        facts: What :meth:`summary` returns.
    """

    samples: pd.DataFrame
    facts: dict[str, float]

    def summary(self) -> dict[str, float]:
        """Return the numbers of the report.

        ``distance`` and ``map_distance_m`` are medians; ``relative_distance`` is the distance over that of
        training samples to each other: about 1 where the test samples could as well be training samples;
        ``apart_m`` is the distance on the ground from which test samples count as on ground of their own,
        ``near`` the share of them that lie nearer (both where places are known), ``shared_polygons`` the
        share in polygons with training samples (where polygons are known);
        ``duplicates`` is the share of test samples that are also training samples; accuracy and macro F1 are
        those of the nearest-neighbour rule and of the most frequent class; ``score_near`` and ``score_far``
        are the score in the most and the least similar bin, ``auc`` the probability that a right answer is
        more similar to training data than a wrong one (0.5: similarity explains nothing).
        """
        return dict(self.facts)

    def table(self, by: str = "distance") -> pd.DataFrame:
        """Return the scores by similarity, a row a bin of equally many test samples, most similar first.

        Args:
            by: ``distance`` for bins of similarity, ``map_distance_m`` for bins of distance on the ground.

        Columns: bin, count, distance and map_distance_m (medians), score (share of correct answers where they
        were given, else of the nearest-neighbour rule) with its 95 % interval low to high (Wilson 1927,
        https://doi.org/10.1080/01621459.1927.10502953), nearest_neighbour and majority.
        """
        samples = self.samples
        order = samples[by].rank(method="first").to_numpy() - 1
        number = (order * min(BINS, len(order)) // len(order)).astype(int) + 1
        grouped = samples.assign(bin=number).groupby("bin")
        medians = grouped[["distance", "map_distance_m"]].median()
        means = grouped[["score", "nearest_neighbour", "majority"]].mean()
        table = pd.concat([grouped.size().rename("count"), medians, means], axis=1).reset_index()
        n, score = table["count"], table["score"]
        centre, half = score + Z**2 / (2 * n), Z * np.sqrt(score * (1 - score) / n + (Z / (2 * n)) ** 2)
        return table.assign(low=(centre - half) / (1 + Z**2 / n), high=(centre + half) / (1 + Z**2 / n))

    @property
    def grade(self) -> str:
        """How far test samples lie from training samples on the ground, in few words; "" where unknown."""
        facts = self.facts
        ground = facts["map_distance_m"]
        if np.isnan(ground):
            return ""
        if ground == 0:
            return "on the ground of training samples"
        names = list(MEANINGS)[1:]
        shared = facts.get("shared_polygons", 0) >= MOST
        return names[2 * bool(facts["near"] <= FEW) + (not shared)]

    @property
    def verdict(self) -> str:
        """Two sentences for people: where test samples lie, and how like training samples they are."""
        facts, grade, far = self.facts, self.grade, self.facts["relative_distance"]
        what, end = "as like training samples as these are like each other", "says little about new data"
        if far > ALIKE:
            what = f"{far:.1f} times as far from training samples as these are from each other"
            end = "is about new data"
        said = f"Test samples are {what}, so a score on them {end}"
        if grade:
            said = f"Test samples lie {grade}: {self._place}, so a score on them {MEANINGS[grade]}. "
            said += f"They are {what}"
        return (
            f"{said}: copying the most similar training sample is right for "
            f"{facts['nearest_neighbour_accuracy']:.0%}, the most frequent class for "
            f"{facts['majority_accuracy']:.0%}, and the score goes from {facts['score_near']:.0%} where they "
            f"are most alike to {facts['score_far']:.0%} where they are least."
        )

    @property
    def _place(self) -> str:
        """The distance to the nearest training sample and the share in shared polygons, in words."""
        place = self.samples["map_distance_m"]
        said = (
            f"the nearest one is {place.median():,.0f} m away in the median, {place.min():,.0f} m at least "
        )
        said += f"(nearer than {self.facts['apart_m']:,.0f} m for {self.facts['near']:.0%})"
        if "shared_polygons" in self.facts:
            said += f", and {self.facts['shared_polygons']:.0%} share a polygon with training samples"
        return said

    def _repr_html_(self) -> str:
        table = self.table().to_html(index=False, float_format="{:.3f}".format)
        return f"<p>{html.escape(self.verdict)}</p>{table}"


def leakage(
    source: Store | np.ndarray,
    table: pd.DataFrame | None = None,
    split: str = "split",
    label: str = "label",
    correct: np.ndarray | None = None,
    part: str = "test",
    polygon: str | None = None,
    apart_m: float | None = None,
    cap: int = 10_000,
    seed: int = 0,
) -> LeakageReport:
    """Compare test samples with training samples.

    Args:
        source: A sample store, or features (N, F) of the samples of ``table``.
        table: Sample table with split, labels and, where known, ``x`` and ``y`` in metres; a store has one.
        split: Column of the split.
        label: Column of class labels.
        correct: Whether a model is right, for each test sample in the order of the table (0 to 1).
        part: What is compared with ``train``.
        polygon: Column of the polygon (of a label map) that each sample lies in; None where there are none.
        apart_m: Distance on the ground from which test samples count as on ground of their own, such as the
            size of a polygon; None for twice the median distance of training samples from each other.
        cap: Most samples of either side that are compared by features; more are drawn at random. Fewer
            training samples mean larger distances: compare reports made with one cap.
        seed: Seed of that draw.

    Raises:
        ParameterError: If a column, the training or the test samples are missing, ``correct`` has another
            length, or ``x`` and ``y`` look like degrees.
    """
    table = _table_of(source, table, (split, label, *([polygon] if polygon is not None else [])))
    rows = _rows_of(table, split, part)
    if correct is not None and np.shape(correct) != rows[part].shape:
        raise ParameterError(
            f"correct has shape {np.shape(correct)}, but there are {len(rows[part])} samples of {part!r}: "
            "give one value for each, in the order of the table."
        )
    rng = np.random.default_rng(seed)
    train = np.sort(rng.permutation(rows["train"])[:cap])
    chosen = np.sort(rng.permutation(len(rows[part]))[:cap])
    test = rows[part][chosen]
    labels = pd.factorize(table[label], sort=True)[0]
    with stage("Nearest training samples"):
        distance, nearest, among = _nearest(_features(source, train), _features(source, test))
    answers = {
        "nearest_neighbour": labels[train[nearest]],
        "majority": np.full(len(test), np.bincount(labels[rows["train"]] + 1)[1:].argmax()),
    }
    ground, spacing = _map_distance(table, rows["train"], test)
    samples = pd.DataFrame({"distance": distance, "map_distance_m": ground}, index=table.index[test])
    for name, answer in answers.items():
        samples[name] = (answer == labels[test]).astype(float)
    samples["score"] = samples["nearest_neighbour"] if correct is None else np.asarray(correct, float)[chosen]
    facts: dict[str, float] = {}
    if not np.isnan(ground).any():
        far_m = 2 * spacing if apart_m is None else apart_m
        facts |= {"apart_m": far_m, "near": float((ground < far_m).mean())}
    if polygon is not None:
        shared = table[polygon].isin(table[polygon].iloc[rows["train"]]).to_numpy()[test]
        samples["shared_polygon"] = shared
        facts["shared_polygons"] = float(shared.mean())
    facts |= _facts(samples, answers, labels[test], among)
    return LeakageReport(samples, {"train": len(train), "test": len(test), **facts})


def _rows_of(table: pd.DataFrame, split: str, part: str) -> dict[str, np.ndarray]:
    """Return the rows of the training samples and of those compared with them."""
    names = table[split].astype(str)
    rows = {name: np.flatnonzero(names == name) for name in ("train", part)}
    for name, found in rows.items():
        if len(found) < 2:
            raise ParameterError(
                f"Column {split!r} has {len(found)} samples of {name!r}, but two or more are needed: "
                f"it has {', '.join(sorted(names.unique()))}."
            )
    return rows


def _table_of(source: Store | np.ndarray, table: pd.DataFrame | None, columns: Sequence[str]) -> pd.DataFrame:
    """Return the sample table, checked."""
    if table is None:
        if isinstance(source, np.ndarray):
            raise ParameterError(
                "Features alone do not say which samples they are: give the sample table too."
            )
        table = source.table
    for name in columns:
        column_of(table, name)
    if isinstance(source, np.ndarray) and len(source) != len(table):
        raise ParameterError(
            f"There are {len(source)} rows of features, but the table has {len(table)} samples."
        )
    return table


def _features(source: Store | np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return features (N, F) float32, NaN where not observed.

    Features of a store are the values of ``image`` at every date and band; for patches, their mean and
    standard deviation over the patch.
    """
    if isinstance(source, np.ndarray):
        return np.asarray(source[rows], np.float32).reshape(len(rows), -1)
    names = [name for name in ("image", "valid") if name in source.arrays_spec]
    patches = "y" in source.arrays_spec["image"].dims
    parts = []
    for _, data in source.batches(rows, names):
        image = data["image"].astype(np.float32)
        if "valid" in data:
            image[~data["valid"].astype(bool)] = np.nan
        if patches:
            image = image_statistics(image.reshape(-1, *image.shape[-3:]), ())  # (N, C, 2)
        parts.append(image.reshape(len(data["image"]), -1))
    return np.concatenate(parts)


def _nearest(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return distance and index of each test sample's nearest training sample, and the training samples' own.

    Features are standardised by the training samples; missing ones count as the mean. Distances are root mean
    squares over features, the last number is the median of training samples to their nearest other one.
    """
    seen = np.ma.masked_invalid(train)
    mean = seen.mean(axis=0, dtype=np.float64).filled(0)
    std = seen.std(axis=0, dtype=np.float64).filled(0)
    scale = np.where(std > 0, std, np.inf) * np.sqrt(max((std > 0).sum(), 1))  # a constant counts nowhere

    def standard(values: np.ndarray) -> np.ndarray:
        return np.where(np.isfinite(values), values - mean, 0) / scale

    fitted = NearestNeighbors(n_neighbors=1).fit(standard(train))
    distance, nearest = fitted.kneighbors(standard(test))
    among, _ = fitted.kneighbors()  # leaves each training sample itself out
    return distance[:, 0], nearest[:, 0], float(np.median(among))


def _map_distance(table: pd.DataFrame, train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the distance on the ground to the nearest of all training samples, NaN without coordinates.

    The second number is the median distance of the places of training samples from each other.
    """
    if "x" not in table or "y" not in table:
        return np.full(len(test), np.nan), np.nan
    place = table[["x", "y"]].to_numpy(float)
    found = cKDTree(place[train]).query(place[test])[0]
    if 0 < np.median(found) < 1 and (np.abs(place) <= (180, 90)).all():
        raise ParameterError(
            "x and y of the samples look like degrees, expected metres: bring them to metres with "
            "eolab.data.ground.positions_m, or leave out these columns."
        )
    known = np.unique(place[train], axis=0)  # a place may have several samples
    spacing = cKDTree(known).query(known, k=2)[0][:, 1] if len(known) > 1 else np.array([np.nan])
    return found, float(np.median(spacing))


def _facts(
    samples: pd.DataFrame, answers: dict[str, np.ndarray], truth: np.ndarray, among: float
) -> dict[str, float]:
    """Return the numbers of the summary."""
    distance = float(samples["distance"].median())
    facts = {
        "distance": distance,
        "relative_distance": distance / among if among > 0 else np.inf if distance > 0 else 1.0,
        "map_distance_m": float(samples["map_distance_m"].median()),
        "duplicates": float((samples["distance"] < SAME).mean()),
    }
    for name, answer in answers.items():
        facts[f"{name}_accuracy"] = float((answer == truth).mean())
        facts[f"{name}_macro_f1"] = float(
            f1_score(truth, answer, labels=np.unique(truth), average="macro", zero_division=0)
        )
    right, by_bin = samples["score"] >= 0.5, LeakageReport(samples, {}).table()["score"]
    mixed = right.any() and not right.all()
    facts["score"] = float(samples["score"].mean())
    facts["score_near"], facts["score_far"] = float(by_bin.iloc[0]), float(by_bin.iloc[-1])
    facts["auc"] = float(roc_auc_score(right, -samples["distance"])) if mixed else np.nan
    return facts
