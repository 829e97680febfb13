"""Yes-or-no scores against scikit-learn, their intervals, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from eolab import evaluation
from eolab.core.errors import DataError
from eolab.evaluation.binary import average_precision
from eolab.evaluation.curves import PrecisionCurve


@pytest.fixture(scope="module")
def answers():
    rng = np.random.default_rng(0)
    truth = (rng.random(400) < 0.3).astype(int)
    score = np.clip(0.5 * truth + rng.normal(0.25, 0.25, 400), 0, 1)
    return truth, score, np.repeat(np.arange(40), 10)


def table(answers, **options):
    truth, score, groups = answers
    given = {"scores": {"net": score, "majority": np.full(400, 0.3)}, "truth": truth, "groups": groups}
    given |= {"thresholds": {"net": 0.45, "majority": 0.5}, "baselines": ["majority"], "replicates": 200}
    return evaluation.binary_scores(**given | options)


def test_estimates_are_those_of_scikit_learn(answers):
    truth, score, _ = answers
    found = table(answers)
    said = score >= 0.45
    expected = {
        "accuracy": reference.accuracy_score(truth, said),
        "balanced_accuracy": reference.balanced_accuracy_score(truth, said),
        "precision": reference.precision_score(truth, said),
        "recall": reference.recall_score(truth, said),
        "f1": reference.f1_score(truth, said),
        "average_precision": reference.average_precision_score(truth, score),
    }
    own = found[found["name"] == "net"].set_index("statistic")
    assert own["estimate"].to_dict() == pytest.approx(expected)
    assert (own["low"] < own["estimate"]).all()
    assert (own["estimate"] < own["high"]).all()
    assert (own["samples"] == 400).all()
    majority = found[found["name"] == "majority"].set_index("statistic")
    assert majority["baseline"].all()
    assert majority.loc["balanced_accuracy", "estimate"] == 0.5
    assert np.isnan(majority.loc["precision", "estimate"])
    assert majority.loc["average_precision", "estimate"] == pytest.approx(truth.mean())


def test_unknown_samples_count_nothing(answers):
    truth, score, groups = answers
    masked = np.where(np.arange(400) < 100, 255, truth)
    found = table((masked, score, groups)).set_index(["name", "statistic"])["estimate"]
    rest = table((truth[100:], score[100:], groups[100:]), scores={"net": score[100:]})
    rest = rest.set_index(["name", "statistic"])["estimate"]
    assert found["net", "f1"] == rest["net", "f1"]
    assert found["net", "average_precision"] == rest["net", "average_precision"]


def test_groups_are_drawn_whole(answers):
    """Scores that are alike within groups: intervals over groups are wider than over samples."""
    truth, _, groups = answers
    score = np.where(groups % 3 == 0, 1 - truth, truth).astype(float)
    wide = average_precision(truth, score, groups, 300)
    narrow = average_precision(truth, score, np.arange(400), 300)
    assert wide.estimate == narrow.estimate
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_one_class_alone_has_no_average_precision(answers):
    _, score, groups = answers
    found = table((np.zeros(400, int), score, groups)).set_index(["name", "statistic"])["estimate"]
    assert np.isnan(found["net", "average_precision"])


def test_nothing_to_score_is_said(answers):
    _, score, groups = answers
    with pytest.raises(DataError, match="No sample is labelled"):
        table((np.full(400, 255), score, groups))
    with pytest.raises(DataError, match="1 samples have no finite score by 'net'"):
        table(answers, scores={"net": np.where(np.arange(400) == 3, np.nan, score)})


def test_average_precision_of_all_draws_at_once_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 2, 80)
    values = np.round(rng.random(80) + 0.3 * true, 1)  # many ties
    weights = rng.integers(0, 4, (20, 80))
    weights[3] = np.where(true == 1, 0, 1)  # no yes in this draw
    curve = PrecisionCurve(true, values)
    found, positives = curve.precisions(weights)
    np.testing.assert_array_equal(positives, weights @ true)
    assert curve.exact == pytest.approx(reference.average_precision_score(true, values), rel=1e-12)
    drawn = [w for w in weights if (w * true).any()]
    expected = [reference.average_precision_score(true, values, sample_weight=w) for w in drawn]
    assert np.isnan(found[3])
    found = np.delete(found, 3)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_curve_of_more_positives_than_steps_is_close(monkeypatch):
    rng = np.random.default_rng(1)
    true = (rng.random(20_000) < 0.2).astype(int)
    values, weights = rng.normal(size=20_000) + true, rng.integers(0, 3, (4, 20_000))
    exact = PrecisionCurve(true, values)
    monkeypatch.setattr("eolab.evaluation.curves.STEPS", 512)
    coarse = PrecisionCurve(true, values)
    assert coarse.exact == exact.exact
    np.testing.assert_allclose(coarse.precisions(weights)[0], exact.precisions(weights)[0], rtol=2e-3)
    np.testing.assert_array_equal(coarse.precisions(weights)[1], weights @ true)


def test_one_group_alone_has_scores_and_no_interval(answers):
    truth, score = answers[:2]
    whole = evaluation.binary_scores({"net": score}, truth, {"net": 0.5}, groups=np.zeros(400), replicates=20)
    drawn = evaluation.binary_scores({"net": score}, truth, {"net": 0.5}, replicates=20)
    np.testing.assert_allclose(whole["estimate"], drawn["estimate"])
    assert whole[["low", "high"]].isna().all(axis=None)
    assert (whole["samples"] == 400).all()
    assert evaluation.readable(whole)["accuracy"].iloc[0] == f"{drawn['estimate'].iloc[0]:.3f}"
