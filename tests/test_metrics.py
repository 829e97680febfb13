"""Scores against scikit-learn; intervals against brute force and against theory."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from eolab import metrics
from eolab.errors import DataError, ParameterError
from eolab.metrics import counting, resampling

K = 5


def labels(seed=0, n=400, skill=0.6, classes=K):
    rng = np.random.default_rng(seed)
    truth = rng.choice(classes, n, p=np.arange(1, classes + 1) / np.arange(1, classes + 1).sum())
    return truth, np.where(rng.random(n) < skill, truth, rng.integers(0, classes, n))


def test_confusion_is_that_of_scikit_learn_and_leaves_out_the_ignored():
    truth, prediction = labels()
    ignored = truth.copy().astype(np.uint8)
    ignored[::7] = 255
    kept = ignored != 255
    expected = reference.confusion_matrix(truth[kept], prediction[kept], labels=range(K))
    got = metrics.confusion(ignored.reshape(20, 20), prediction.astype(np.uint8).reshape(20, 20), K)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("missing", ["none", "in truth", "in prediction"])
def test_scores_are_those_of_scikit_learn(missing):
    truth, prediction = labels()
    if missing == "in truth":
        truth[truth == 1] = 2
    if missing == "in prediction":
        prediction[prediction == 1] = 2
    present = sorted(set(truth))
    macro = {"labels": present, "average": "macro", "zero_division": 0}
    expected = {
        "accuracy": reference.accuracy_score(truth, prediction),
        "balanced_accuracy": reference.recall_score(truth, prediction, **macro),
        "macro_f1": reference.f1_score(truth, prediction, **macro),
        "micro_f1": reference.f1_score(truth, prediction, labels=range(K), average="micro"),
        "weighted_f1": reference.f1_score(truth, prediction, average="weighted", zero_division=0),
        "kappa": reference.cohen_kappa_score(truth, prediction),
        "mean_iou": reference.jaccard_score(truth, prediction, **macro),
    }
    matrix = metrics.confusion(truth, prediction, K)
    got = metrics.scores(matrix)
    assert got.overall == pytest.approx(expected)
    assert list(got.overall) == list(metrics.OVERALL)
    columns = reference.precision_recall_fscore_support(
        truth, prediction, labels=range(K), zero_division=np.nan
    )
    for name, column in zip(("precision", "recall", "f1", "support"), columns, strict=True):
        np.testing.assert_allclose(got.classes[name], column)
    iou = reference.jaccard_score(truth, prediction, labels=range(K), average=None)
    np.testing.assert_allclose(got.classes["iou"].fillna(0), iou)
    many = np.stack([matrix, 3 * matrix])
    for name, value in expected.items():
        np.testing.assert_allclose(metrics.statistic_of(many, name), value)


def test_a_class_without_truth_and_without_prediction_has_no_score():
    got = metrics.scores(metrics.confusion([0, 1], [0, 1], 3), names=["a", "b", "c"])
    assert got.classes.loc["c"].isna().tolist() == [True] * 4 + [False]
    assert got.overall["macro_f1"] == 1
    assert got.to_dict()["classes"]["b"] == {"f1": 1.0, "support": 1}


def test_an_empty_matrix_gives_nan_not_an_error():
    assert all(np.isnan(v) for v in metrics.scores(np.zeros((3, 3), int)).overall.values())


def test_bootstrap_agrees_with_drawing_samples_one_by_one():
    truth, prediction = labels(n=150)
    rng = np.random.default_rng(1)
    brute = []
    for _ in range(2000):
        drawn = rng.integers(0, len(truth), len(truth))
        brute.append(reference.f1_score(truth[drawn], prediction[drawn], labels=range(K), average="macro"))
    got = metrics.bootstrap(truth, prediction, n=4000, classes=K)
    assert got.estimate == pytest.approx(reference.f1_score(truth, prediction, average="macro"))
    assert (got.low, got.high) == pytest.approx(tuple(np.quantile(brute, [0.025, 0.975])), abs=0.012)


def test_bootstrap_over_groups_agrees_with_drawing_groups_one_by_one():
    truth, prediction = labels(n=300)
    groups = np.array([f"block {g}" for g in np.random.default_rng(3).integers(0, 12, len(truth))])
    rng = np.random.default_rng(1)
    names = np.unique(groups)
    brute = []
    for _ in range(3000):
        drawn = np.concatenate([np.flatnonzero(groups == g) for g in rng.choice(names, len(names))])
        brute.append((truth[drawn] == prediction[drawn]).mean())
    got = metrics.bootstrap(truth, prediction, groups, "accuracy", n=4000)
    assert (got.low, got.high) == pytest.approx(tuple(np.quantile(brute, [0.025, 0.975])), abs=0.008)


def test_samples_repeated_within_groups_do_not_narrow_the_interval():
    truth, prediction = labels(n=60)
    once = metrics.bootstrap(truth, prediction, np.arange(60), "accuracy", n=3000)
    tenfold = [np.repeat(a, 10) for a in (truth, prediction, np.arange(60))]
    grouped = metrics.bootstrap(*tenfold, "accuracy", n=3000)
    alone = metrics.bootstrap(*tenfold[:2], None, "accuracy", n=3000)
    assert grouped == pytest.approx(once, abs=0.01)
    assert alone.high - alone.low < 0.5 * (grouped.high - grouped.low)


def test_the_interval_of_accuracy_covers_as_promised():
    rng = np.random.default_rng(5)
    covered = 0
    for seed in range(200):
        prediction = (rng.random(200) < 0.3).astype(int)
        got = metrics.bootstrap(
            np.zeros(200, int), prediction, None, "accuracy", 300, seed, classes=2, level=0.9
        )
        covered += got.low <= 0.7 <= got.high
    assert 0.83 <= covered / 200 <= 0.96


def test_class_wise_statistics_give_an_interval_a_class():
    truth, prediction = labels()
    got = metrics.bootstrap(truth, prediction, statistic="f1", classes=K + 1, n=200)
    np.testing.assert_allclose(got.estimate[:K], reference.f1_score(truth, prediction, average=None))
    assert np.all(got.low[:K] < got.estimate[:K])
    assert np.all(got.estimate[:K] < got.high[:K])
    assert np.isnan([part[K] for part in got]).all()


def test_the_same_seed_gives_the_same_interval_whatever_the_chunks(monkeypatch):
    truth, prediction = labels()
    first = metrics.bootstrap(truth, prediction, seed=4)
    assert metrics.bootstrap(truth, prediction, seed=5) != first
    monkeypatch.setattr(resampling, "DRAWS_AT_ONCE", 100)
    assert metrics.bootstrap(truth, prediction, seed=4) == first


def test_a_paired_difference_is_sharper_than_two_intervals():
    truth, a = labels(n=2000)
    rng = np.random.default_rng(9)
    b = np.where(rng.random(2000) < 0.05, truth, a)  # b repairs a few of the errors of a
    got = metrics.compare_scores(truth, a, b)
    assert got.estimate == pytest.approx(
        metrics.bootstrap(truth, b).estimate - metrics.bootstrap(truth, a).estimate
    )
    assert 0 < got.low < got.estimate < got.high
    alone = metrics.bootstrap(truth, a)
    assert got.high - got.low < 0.5 * (alone.high - alone.low)
    assert metrics.compare_scores(truth, a, a) == (0, 0, 0)
    grouped = metrics.compare_scores(truth, a, b, np.arange(2000) % 40)
    assert grouped == pytest.approx(got, abs=0.01)


def test_wrong_input_is_named():
    with pytest.raises(DataError, match=r"\(3,\).*\(2,\)"):
        metrics.confusion([0, 1, 1], [0, 1], 2)
    with pytest.raises(DataError, match="prediction holds 1 labelled samples with values such as 255"):
        metrics.confusion([0, 1, 255], [0, 255, 255], 2)
    with pytest.raises(ParameterError, match="did you mean 'macro_f1'"):
        metrics.bootstrap([0, 1], [0, 1], statistic="f1_macro")
    with pytest.raises(DataError, match="No sample is labelled"):
        metrics.bootstrap([255], [0])
    with pytest.raises(DataError, match="two or more"):
        metrics.bootstrap([0, 1], [0, 1], [7, 7])
