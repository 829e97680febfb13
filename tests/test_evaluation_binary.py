"""Yes-or-no scores against scikit-learn, their intervals, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from eolab import evaluation
from eolab.core.errors import DataError
from eolab.evaluation.ranking import PrecisionCurve, RocArea

NAMES = ["no", "yes"]


@pytest.fixture(scope="module")
def answers():
    rng = np.random.default_rng(0)
    truth = (rng.random(400) < 0.3).astype(int)
    score = np.clip(0.5 * truth + rng.normal(0.25, 0.25, 400), 0, 1)
    return truth, score, np.repeat(np.arange(40), 10)


def table(answers, **options):
    truth, score, groups = answers
    given = {"predictions": {"net": score, "majority": np.full(400, 0.3)}, "truth": truth, "groups": groups}
    given |= {"class_names": NAMES}
    given |= {"thresholds": {"net": 0.45, "majority": 0.5}, "baselines": ["majority"], "replicates": 200}
    return evaluation.score_table(**given | options)


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
    own = found[found["model"] == "net"].set_index("statistic")
    assert own["value"].to_dict() == pytest.approx(expected)
    assert (own["low"] < own["value"]).all()
    assert (own["value"] < own["high"]).all()
    assert (own["n"] == 400).all()
    majority = found[found["model"] == "majority"].set_index("statistic")
    assert majority["is_baseline"].all()
    assert majority.loc["balanced_accuracy", "value"] == 0.5
    assert np.isnan(majority.loc["precision", "value"])
    assert majority.loc["average_precision", "value"] == pytest.approx(truth.mean())


def test_unknown_samples_count_nothing(answers):
    truth, score, groups = answers
    masked = np.where(np.arange(400) < 100, 255, truth)
    found = table((masked, score, groups)).set_index(["model", "statistic"])["value"]
    rest = table((truth[100:], score[100:], groups[100:]), predictions={"net": score[100:]})
    rest = rest.set_index(["model", "statistic"])["value"]
    assert found["net", "f1"] == rest["net", "f1"]
    assert found["net", "average_precision"] == rest["net", "average_precision"]


def test_groups_are_drawn_whole(answers):
    """Scores that are alike within groups: intervals over groups are wider than over samples."""
    truth, _, groups = answers
    score = np.where(groups % 3 == 0, 1 - truth, truth).astype(float)
    given = {"predictions": {"net": score}, "statistics": ["yes.average_precision"], "replicates": 300}
    wide, narrow = (
        next(table((truth, score, one), **given).itertuples()) for one in (groups, np.arange(400))
    )
    assert wide.value == narrow.value
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_one_class_alone_has_no_average_precision(answers):
    _, score, groups = answers
    found = table((np.zeros(400, int), score, groups)).set_index(["model", "statistic"])["value"]
    assert np.isnan(found["net", "average_precision"])


def test_nothing_to_score_is_said(answers):
    _, score, groups = answers
    with pytest.raises(DataError, match="No sample is labelled"):
        table((np.full(400, 255), score, groups))
    with pytest.raises(DataError, match="1 of 400 predictions are no finite number"):
        table(answers, predictions={"net": np.where(np.arange(400) == 3, np.nan, score)})


def test_average_precision_of_all_draws_at_once_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 2, 80)
    values = np.round(rng.random(80) + 0.3 * true, 1)  # many ties
    weights = rng.integers(0, 4, (20, 80))
    weights[3] = np.where(true == 1, 0, 1)  # no yes in this draw
    curve = PrecisionCurve(true, values, np.arange(len(true)), len(true))
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
    exact = PrecisionCurve(true, values, np.arange(len(true)), len(true))
    monkeypatch.setattr("eolab.evaluation.ranking.STEPS", 512)
    coarse = PrecisionCurve(true, values, np.arange(len(true)), len(true))
    assert coarse.exact == exact.exact
    np.testing.assert_allclose(coarse.precisions(weights)[0], exact.precisions(weights)[0], rtol=2e-3)
    np.testing.assert_array_equal(coarse.precisions(weights)[1], weights @ true)


def test_one_group_alone_has_scores_and_no_interval(answers):
    truth, score = answers[:2]
    given = {"predictions": {"net": score}, "replicates": 100}
    whole, drawn = (table((truth, score, one), **given) for one in (np.zeros(400), None))
    np.testing.assert_allclose(whole["value"], drawn["value"])
    assert whole[["low", "high"]].isna().all(axis=None)
    assert (whole["n"] == 400).all()
    assert (
        evaluation.readable(whole)["accuracy"].iloc[0]
        == f"{drawn['value'].iloc[0]:.3f} (no interval: 1 group)"
    )


def test_the_area_of_all_draws_at_once_is_that_of_scikit_learn():
    rng = np.random.default_rng(2)
    true = rng.integers(0, 2, 80)
    values = np.round(rng.random(80) + 0.3 * true, 1)  # many ties
    weights = rng.integers(0, 4, (20, 80))
    weights[3] = np.where(true == 1, 0, 1)  # no yes in this draw
    area = RocArea(true, values, np.arange(80), 80)
    found = area.areas(weights)
    assert np.isnan(found[3])
    expected = [reference.roc_auc_score(true, values, sample_weight=w) for w in np.delete(weights, 3, axis=0)]
    np.testing.assert_allclose(np.delete(found, 3), expected, rtol=1e-12)
    assert area.exact == pytest.approx(reference.roc_auc_score(true, values))


# === Patches ===

DETECTED = [
    *("precision", "recall", "f1", "average_precision", "roc_auc"),
    *("support", "threshold"),
]


def detected(truth, score, threshold=0.5) -> dict[str, float]:
    found = evaluation.score_table(
        {"net": score},
        truth,
        class_names=NAMES,
        thresholds={"net": threshold},
        statistics=[f"yes.{name}" for name in DETECTED],
        replicates=100,
    )
    return dict(zip(found["statistic"], found["value"], strict=True)) | {"n": found["n"].iloc[0]}


def test_detection_worked_example():
    """Scores 0.9 (yes), 0.8 (no), 0.6 (yes), 0.4 (yes), 0.1 (no); what is not known counts nowhere."""
    truth, score = [1, 0, 1, 1, 0, 255], [0.9, 0.8, 0.6, 0.4, 0.1, 0.99]
    assert detected(truth, score) == pytest.approx(
        {
            "precision": 2 / 3,
            "recall": 2 / 3,
            "f1": 2 / 3,
            "average_precision": (1 + 2 / 3 + 3 / 4) / 3,
            "roc_auc": 4 / 6,  # of the six pairs of yes and no, two are in the wrong order
            "support": 3,
            "threshold": 0.5,
            "n": 5,
        }
    )
    assert detected(truth, score, 0.4)["recall"] == 1  # at least the threshold


def test_detection_is_that_of_counting_pairs():
    rng = np.random.default_rng(5)
    truth = rng.random(200) < 0.4
    score = np.round(rng.normal(truth, 1.0), 1)  # with ties, which count half
    found = detected(truth, score)
    more = score[truth][:, None] - score[~truth][None]
    assert found["roc_auc"] == pytest.approx(((more > 0) + 0.5 * (more == 0)).mean())
    steps, seen = 0.0, 0.0
    for value in np.unique(score)[::-1]:
        recall = (truth & (score >= value)).sum() / truth.sum()
        steps += (recall - seen) * truth[score >= value].mean()
        seen = recall
    assert found["average_precision"] == pytest.approx(steps)


def test_patches_of_one_kind_have_no_order():
    found = detected(np.ones(3, bool), [0.2, 0.6, 0.9])
    assert found["recall"] == pytest.approx(2 / 3)
    assert np.isnan(found["roc_auc"])
    assert found["average_precision"] == 1  # as scikit-learn says of positives alone
    assert np.isnan(detected([0, 1], [0.1, 0.2])["precision"])


def test_detection_names_wrong_input():
    with pytest.raises(DataError, match=r"\(2,\) and score of shape \(3,\)"):
        detected([0, 1], [0.1, 0.2, 0.3])
    with pytest.raises(DataError, match="1 of 2 predictions are no finite number"):
        detected([0, 1], [0.1, np.nan])
    with pytest.raises(DataError, match="No sample is labelled"):
        detected([255], [0.1])
