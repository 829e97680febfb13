"""Scores of several labels a sample, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from interval_levels import levels
from sklearn import metrics as sk

from eolab import evaluation
from eolab.core.errors import DataError, ParameterError
from eolab.evaluation import bootstrap, postprocess
from eolab.evaluation.multilabel import STATISTICS, MultiLabel

SAMPLES, CLASSES, THRESHOLD = 300, 7, 0.5
NAMES = [f"class {k}" for k in range(CLASSES)]


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    rng = np.random.default_rng(1)
    true = (rng.random((SAMPLES, CLASSES)) < [0.5, 0.3, 0.2, 0.1, 0.05, 0.4, 0.0]).astype(np.uint8)
    true[:3] = 0  # without a label
    true[3, :6] = 1
    return true


@pytest.fixture(scope="module")
def probability(truth) -> np.ndarray:
    """Rounded, so that there are ties."""
    rng = np.random.default_rng(2)
    return np.clip(0.35 * truth + 0.6 * rng.random(truth.shape), 0, 1).round(2)


def reference(statistic: str, truth: np.ndarray, probability: np.ndarray) -> float:
    said = probability >= THRESHOLD
    present = np.flatnonzero(truth.any(axis=0))
    average, _, name = statistic.partition(".")
    average = {"sample": "samples"}.get(average, average)
    if name == "coverage_error":
        return sk.coverage_error(truth, probability)
    if name == "ranking_loss":
        return sk.label_ranking_loss(truth, probability)
    if name == "subset_accuracy":
        return sk.accuracy_score(truth, said)
    if name == "hamming_loss":
        return sk.hamming_loss(truth, said)
    columns = present if average == "macro" else np.arange(CLASSES)
    if name == "average_precision":
        if average == "samples":
            return float(
                np.mean(
                    [
                        sk.average_precision_score(t, p) if t.any() else 0
                        for t, p in zip(truth, probability, strict=True)
                    ]
                )
            )
        return sk.average_precision_score(truth[:, columns], probability[:, columns], average=average)
    options = {"average": average, "zero_division": 0}
    if name == "precision":
        return sk.precision_score(truth[:, columns], said[:, columns], **options)
    if name == "recall":
        return sk.recall_score(truth[:, columns], said[:, columns], **options)
    beta = {"f1": 1, "f2": 2}[name]
    return sk.fbeta_score(truth[:, columns], said[:, columns], beta=beta, **options)


def counted(probability, truth, groups=None) -> MultiLabel:
    return MultiLabel(truth, probability, THRESHOLD, groups, NAMES)


def interval(one: MultiLabel, statistic: str, replicates: int = 300, seed: int = 0) -> bootstrap.Interval:
    return bootstrap.interval(*bootstrap.resample(one, [statistic], replicates, seed)[statistic])


@pytest.mark.parametrize("statistic", STATISTICS)
def test_estimates_are_those_of_scikit_learn(statistic, truth, probability):
    found = interval(counted(probability, truth), statistic, replicates=100)
    assert found.value == pytest.approx(reference(statistic, truth, probability), abs=1e-12)
    assert found.low < found.high


@pytest.mark.parametrize(
    "statistic", ["micro.f1", "macro.f2", "sample.f1", "macro.average_precision", "micro.average_precision"]
)
def test_replicates_are_the_scores_of_samples_drawn_again(statistic, truth, probability):
    """Whole groups are drawn: repeating their samples as often as drawn must give the replicate."""
    groups = np.arange(SAMPLES) // 20
    draws = np.concatenate(list(bootstrap.draws(np.ones(SAMPLES // 20, int), 100, 3)))
    expected = []
    for drawn in draws:
        rows = np.repeat(np.arange(SAMPLES), drawn[groups])
        expected.append(reference(statistic, truth[rows], probability[rows]))
    found = interval(counted(probability, truth, groups), statistic, replicates=100, seed=3)
    expected = np.array(expected) + found.value - np.median(expected)  # centred at the estimate
    assert found.low == pytest.approx(np.quantile(expected, levels(SAMPLES // 20)[0]))
    assert found.high == pytest.approx(np.quantile(expected, levels(SAMPLES // 20)[1]))


def test_memory_of_the_draws_is_bounded_and_changes_nothing(truth, probability, monkeypatch):
    names = ["macro.f1", "macro.average_precision"]
    whole = [interval(counted(probability, truth), name, 100) for name in names]
    monkeypatch.setattr(bootstrap, "DRAWS_AT_ONCE", 1)
    for name, expected in zip(names, whole, strict=True):
        assert interval(counted(probability, truth), name, 100) == pytest.approx(expected)


def test_table_names_every_average_and_tells_baselines_apart(truth, probability):
    found = evaluation.score_table(
        {"net": probability, "prior": np.full(truth.shape, 0.3)},
        truth,
        class_names=NAMES,
        thresholds={"net": np.full(CLASSES, 0.4), "prior": 0.2},
        baselines=["prior"],
        statistics=["micro.f1", "macro.f1"],
        replicates=100,
    )
    assert list(found["scope"]) == ["micro", "macro"] * 2
    assert list(found["is_baseline"]) == [False, False, True, True]
    wide = evaluation.readable(found)
    assert list(wide.columns) == ["model", "samples", "micro F1", "macro F1"]


def test_one_group_alone_has_no_interval(truth, probability):
    found = interval(counted(probability, truth, np.zeros(SAMPLES)), "micro.f1")
    assert np.isnan([found.low, found.high]).all()


@pytest.mark.slow
def test_thresholds_of_each_class_are_the_best_on_what_they_are_chosen_on(truth, probability):
    rounded = probability.astype(np.float32)  # what thresholds are compared with
    chosen = postprocess.choose_threshold(rounded, truth, by_label=True, default=0.5)
    assert chosen[6] == 0.5  # has no sample
    for k in range(6):
        limits = np.append(np.arange(1, 100) / 100, chosen[k]).astype(np.float32)
        scores = [sk.f1_score(truth[:, k], rounded[:, k] >= limit) for limit in limits]
        assert scores[-1] == max(scores)
    common = postprocess.choose_threshold(probability, truth)
    assert 0 < common < 1


def test_classes_are_scored_alone(truth, probability):
    scores = evaluation.score_table(
        {"net": probability},
        truth,
        class_names=NAMES,
        thresholds={"net": THRESHOLD},
        statistics=evaluation.LABEL_STATISTICS,
        replicates=100,
    )
    table = evaluation.class_table(scores, interval="average_precision").set_index("class")
    assert (table["threshold"] == THRESHOLD).all()
    assert list(table["predicted"]) == list((probability >= THRESHOLD).sum(axis=0))
    assert list(table["support"]) == list(truth.sum(axis=0))
    assert table.loc["class 2", "f1"] == pytest.approx(
        sk.f1_score(truth[:, 2], probability[:, 2] >= THRESHOLD)
    )
    assert table.loc["class 2", "average_precision"] == pytest.approx(
        sk.average_precision_score(truth[:, 2], probability[:, 2])
    )
    assert (
        table.loc["class 2", "low"] < table.loc["class 2", "average_precision"] < table.loc["class 2", "high"]
    )
    assert table.loc["class 6", ["f1", "average_precision"]].isna().all()


def test_labels_that_meet_and_labels_that_are_confused():
    true = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0]])
    said = np.array([[1, 0, 1], [0, 0, 1], [0, 1, 0], [0, 1, 0]])
    names = ["a", "b", "c"]
    met = evaluation.co_occurrence(true, names)
    assert met.loc["a", "b"] == pytest.approx(1 / 3)
    assert met.loc["b", "a"] == pytest.approx(1 / 2)
    assert met.loc["c"].isna().all()
    confused = evaluation.label_confusion(said, true, names)
    assert confused.loc["a", "c"] == pytest.approx(1 / 2)  # a is missed twice, once c is said instead
    assert confused.loc["a", "b"] == pytest.approx(1 / 2)
    assert confused.loc["b", "c"] == 1
    assert confused.loc["c"].isna().all()
    assert (np.diag(confused)[:2] == 0).all()


@pytest.mark.parametrize(
    ("probability", "true", "said"),
    [
        (np.zeros((3, 2)), np.zeros((3, 4)), "expected both"),
        (np.full((3, 2), np.nan), np.ones((3, 2)), "6 of 6 predictions are no finite number"),
        (np.zeros((3, 2)), np.zeros((3, 2)), "No sample has a label"),
    ],
)
def test_what_cannot_be_scored_is_said(probability, true, said):
    with pytest.raises(DataError, match=said):
        MultiLabel(true, probability, 0.5, None, ["a", "b"])


def test_an_unknown_statistic_is_refused(truth, probability):
    for name, near in (
        ("micro.f", r"micro\.f1"),
        ("sample.f3", "labels of a sample: did you mean .f"),
        ("macr.average_precision", "macro"),
    ):
        with pytest.raises(ParameterError, match=near):
            counted(probability, truth).values([name])


def test_a_table_of_scores_has_no_duplicates(truth, probability):
    one = evaluation.score_table(
        {"a": probability},
        truth,
        class_names=NAMES,
        thresholds={"a": 0.5},
        statistics=["micro.f1"],
        replicates=100,
    )
    assert len(evaluation.join_scores([one, one])) == 1
