"""Tables of scores against scikit-learn, brute force and worked examples."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as reference

from eolab import evaluation
from eolab.core.errors import DataError, ParameterError

K = 4


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    """Class 2 does not occur; a tenth is not known."""
    rng = np.random.default_rng(0)
    truth = rng.choice([0, 1, 3], 500, p=[0.6, 0.3, 0.1]).astype(np.uint8)
    truth[rng.random(500) < 0.1] = 255
    return truth


@pytest.fixture(scope="module")
def probabilities(truth) -> np.ndarray:
    """Often right; class 2 is predicted though it does not occur."""
    rng = np.random.default_rng(1)
    scores = rng.random((len(truth), K))
    known = np.flatnonzero(truth != 255)
    scores[known, truth[known]] += 0.5
    return (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)


def expected_scores(truth: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    """What scikit-learn says; macro F1 over the classes that the truth has."""
    known = truth != 255
    truth, prediction = truth[known], prediction[known]
    present = sorted(set(truth.tolist()))
    recall = reference.recall_score(truth, prediction, labels=present, average="macro")
    return {
        "macro_f1": reference.f1_score(truth, prediction, labels=present, average="macro"),
        "accuracy": reference.accuracy_score(truth, prediction),
        "balanced_accuracy": recall,  # balanced_accuracy_score warns of predicted classes without truth
    }


def rows_of(
    *rows: tuple, columns=("name", "against", "statistic", "estimate", "low", "high")
) -> pd.DataFrame:
    table = pd.DataFrame(list(rows), columns=list(columns))
    return table.assign(samples=10, baseline=table["name"].isin(["majority", "random_forest"]))


# === score_table ===


def test_score_table_equals_scikit_learn(truth, probabilities):
    table = evaluation.score_table({"net": probabilities}, {"truth": truth}, classes=K, replicates=50)
    found = table.set_index("statistic")["estimate"].to_dict()
    expected = expected_scores(truth, probabilities.argmax(axis=1))
    assert found == pytest.approx(expected)
    assert (
        min(abs(a - b) for a, b in zip(expected.values(), list(expected.values())[1:], strict=False)) > 0.01
    )
    all_classes = reference.f1_score(
        truth[truth != 255], probabilities.argmax(axis=1)[truth != 255], labels=range(K), average="macro"
    )
    assert found["macro_f1"] > all_classes + 0.1  # the class that is not there counts in no average


def test_balanced_accuracy_is_that_of_scikit_learn_where_every_class_occurs():
    rng = np.random.default_rng(2)
    truth, prediction = rng.integers(0, K, (2, 300))
    table = evaluation.score_table({"a": prediction}, {"t": truth}, classes=K, replicates=2)
    found = table.set_index("statistic")["estimate"]
    assert found["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(truth, prediction))


def test_class_indices_score_as_the_probabilities_they_come_from(truth, probabilities):
    predicted = {"net": probabilities, "labels": probabilities.argmax(axis=1)}
    table = evaluation.score_table(predicted, {"truth": truth}, classes=K, replicates=50)
    one, other = (rows.drop(columns="name") for _, rows in table.groupby("name"))
    pd.testing.assert_frame_equal(one.reset_index(drop=True), other.reset_index(drop=True))


def test_a_sample_without_truth_counts_for_nothing(truth, probabilities):
    """What is predicted there changes neither score nor interval, and it is not counted."""
    changed = np.where((truth == 255)[:, None], np.roll(probabilities, 1, axis=1), probabilities)
    assert (changed.argmax(axis=1) != probabilities.argmax(axis=1)).any()
    one, other = (
        evaluation.score_table({"net": p}, {"truth": truth}, classes=K, replicates=100)
        for p in (probabilities, changed)
    )
    pd.testing.assert_frame_equal(one, other)
    assert set(one["samples"]) == {int((truth != 255).sum())}


def test_each_truth_has_its_own_samples_and_scores(truth, probabilities):
    prediction = probabilities.argmax(axis=1)
    old = np.where(np.arange(len(truth)) < 200, 255, prediction).astype(np.uint8)
    truths = {"old map": old, "truth": truth}
    table = evaluation.score_table({"net": probabilities}, truths, classes=K, replicates=20)
    assert table.groupby("against", sort=False)["samples"].first().to_dict() == {
        "old map": 300,
        "truth": int((truth != 255).sum()),
    }
    right = table[table["against"] == "old map"]
    assert (right[["estimate", "low", "high"]] == 1).all(axis=None)
    assert (table.loc[table["against"] == "truth", "estimate"] < 0.95).all()


def test_one_row_a_statistic_of_each_classifier_and_baselines_are_marked(truth, probabilities):
    predicted = {"majority": np.zeros(len(truth), int), "net": probabilities}
    table = evaluation.score_table(
        predicted,
        {"truth": truth},
        classes=K,
        statistics=["kappa", "accuracy"],
        baselines=["majority", "svm"],
        replicates=20,
    )
    keys = list(zip(table["name"], table["statistic"], table["baseline"], strict=True))
    assert keys == [
        ("majority", "kappa", True),
        ("majority", "accuracy", True),
        ("net", "kappa", False),
        ("net", "accuracy", False),
    ]
    columns = ["name", "against", "statistic", "estimate", "low", "high", "samples", "baseline"]
    assert table.columns.tolist() == columns
    assert table["estimate"][0] == pytest.approx(0)  # Cohen's kappa of a constant


def test_interval_over_blocks_is_that_of_drawing_whole_blocks():
    """Against a plain loop that draws blocks: the ends agree, and are far wider than those over samples."""
    rng = np.random.default_rng(3)
    block = np.repeat(np.arange(20), 30)
    truth = rng.integers(0, 2, 600)
    prediction = np.where(rng.random(20)[block] < 0.7, truth, 1 - truth)  # a block is right or wrong as one
    members = [np.flatnonzero(block == number) for number in range(20)]
    right = truth == prediction
    drawn = [right[np.concatenate([members[i] for i in rng.integers(0, 20, 20)])].mean() for _ in range(3000)]
    given = {"classes": 2, "statistics": ["accuracy"], "replicates": 3000}
    by_block = evaluation.score_table({"a": prediction}, {"t": truth}, groups=block, **given).iloc[0]
    by_sample = evaluation.score_table({"a": prediction}, {"t": truth}, **given).iloc[0]
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert (by_block["low"], by_block["high"]) == pytest.approx((low, high), abs=0.051)  # steps of 1/20
    assert by_block["high"] - by_block["low"] > 3 * (by_sample["high"] - by_sample["low"])
    assert by_block["estimate"] == by_sample["estimate"] == pytest.approx(right.mean())


def test_interval_follows_from_the_seed(truth, probabilities):
    one, same, other = (
        evaluation.score_table({"net": probabilities}, {"t": truth}, classes=K, replicates=100, seed=seed)
        for seed in (1, 1, 2)
    )
    pd.testing.assert_frame_equal(one, same)
    assert not one["low"].equals(other["low"])
    assert one["estimate"].equals(other["estimate"])


def test_an_unknown_statistic_or_nothing_to_score_is_said(truth, probabilities):
    with pytest.raises(ParameterError, match=r"'macro_f2'.*did you mean 'macro_f1'"):
        evaluation.score_table(
            {"net": probabilities}, {"t": truth}, classes=K, statistics=["macro_f2"], replicates=2
        )
    with pytest.raises(DataError, match="nothing to score"):
        evaluation.score_table({"net": probabilities}, {"t": np.full(500, 255)}, classes=K, replicates=2)


def test_interval_holds_the_estimate_and_shrinks_with_samples():
    """As wide as that of a binomial share."""
    rng = np.random.default_rng(4)
    for n in (200, 800, 3200):
        truth = rng.integers(0, K, n)
        prediction = np.where(rng.random(n) < 0.7, truth, rng.integers(0, K, n))
        table = evaluation.score_table({"a": prediction}, {"t": truth}, classes=K).set_index("statistic")
        assert (table["low"] < table["estimate"]).all()
        assert (table["estimate"] < table["high"]).all()
        share = table.loc["accuracy", "estimate"]
        normal = 2 * 1.96 * np.sqrt(share * (1 - share) / n)
        assert table.loc["accuracy", "high"] - table.loc["accuracy", "low"] == pytest.approx(normal, rel=0.15)


# === class_table ===


def test_class_table_equals_scikit_learn(truth, probabilities):
    prediction = probabilities.argmax(axis=1)
    table = evaluation.class_table(truth, prediction, ["a", "b", "c", "d"], replicates=50)
    known = truth != 255
    precision, recall, f1, support = reference.precision_recall_fscore_support(
        truth[known], prediction[known], labels=range(K), zero_division=np.nan
    )
    iou = reference.jaccard_score(truth[known], prediction[known], labels=range(K), average=None)
    assert table["class"].tolist() == ["a", "b", "c", "d"]
    np.testing.assert_allclose(table["precision"], precision)
    np.testing.assert_allclose(table["recall"], recall)
    np.testing.assert_allclose(table["f1"], np.where(np.isnan(f1), 0, f1))
    np.testing.assert_allclose(table["iou"], iou)
    np.testing.assert_array_equal(table["support"], support)


def test_class_table_worked_example():
    truth = np.array([0, 0, 0, 1, 1, 255])
    prediction = np.array([0, 0, 1, 1, 0, 1])
    table = evaluation.class_table(truth, prediction, ["wood", "town", "lake"], replicates=400)
    wood, town, lake = (table.iloc[i] for i in range(3))
    assert wood[["precision", "recall", "f1", "iou", "support"]].tolist() == pytest.approx(
        [2 / 3, 2 / 3, 2 / 3, 1 / 2, 3]
    )
    assert town[["precision", "recall", "f1", "iou", "support"]].tolist() == pytest.approx(
        [1 / 2, 1 / 2, 1 / 2, 1 / 3, 2]
    )
    assert lake["support"] == 0
    assert (
        lake[["precision", "recall", "f1", "low", "high", "iou"]].isna().all()
    )  # neither true nor predicted
    assert wood["low"] < wood["f1"] < wood["high"]


def test_class_interval_is_that_of_drawing_samples_and_scoring_f1_each_time(truth, probabilities):
    """Against a plain loop with scikit-learn."""
    known = truth != 255
    true, predicted = truth[known], probabilities.argmax(axis=1)[known]
    table = evaluation.class_table(truth, probabilities.argmax(axis=1), list("abcd"), replicates=2000)
    rng = np.random.default_rng(5)
    draws = [rng.integers(0, len(true), len(true)) for _ in range(500)]
    for index in (0, 1, 3):
        drawn = [reference.f1_score(true[d] == index, predicted[d] == index) for d in draws]
        ends = table.loc[index, ["low", "high"]].tolist()
        assert ends == pytest.approx(np.quantile(drawn, [0.025, 0.975]).tolist(), abs=0.02)


def test_class_interval_over_blocks_needs_two(truth, probabilities):
    prediction = probabilities.argmax(axis=1)
    with pytest.raises(DataError, match="in 1 group"):
        evaluation.class_table(truth, prediction, list("abcd"), groups=np.zeros(500), replicates=2)


# === Tables of several runs ===


def test_join_scores_keeps_the_newest_of_two_and_what_only_the_older_has():
    newest = rows_of(
        ("net", "truth", "accuracy", 0.9, 0.8, 1.0), ("majority", "truth", "accuracy", 0.5, 0, 1)
    )
    older = rows_of(
        ("net", "truth", "accuracy", 0.1, 0.0, 0.2),
        ("net", "old map", "accuracy", 0.7, 0.6, 0.8),
        ("tempcnn", "truth", "accuracy", 0.8, 0.7, 0.9),
    )
    joined = evaluation.join_scores([newest, older])
    found = {(r.name, r.against): r.estimate for r in joined.itertuples(index=False)}
    assert found == {
        ("net", "truth"): 0.9,
        ("majority", "truth"): 0.5,
        ("net", "old map"): 0.7,
        ("tempcnn", "truth"): 0.8,
    }
    assert len(joined) == 4
    assert evaluation.join_scores([older, newest]).query("name == 'net' and against == 'truth'")[
        "estimate"
    ].tolist() == [0.1]


def test_joined_classifiers_stand_together_baselines_first():
    """Regression: rows of one classifier that came from two runs stood apart."""
    one = rows_of(
        ("tempcnn", "truth", "accuracy", 0.8, 0, 1), ("random_forest", "truth", "accuracy", 0.6, 0, 1)
    )
    two = rows_of(("lstm", "truth", "accuracy", 0.9, 0, 1), ("majority", "truth", "accuracy", 0.5, 0, 1))
    three = rows_of(("tempcnn", "truth", "macro_f1", 0.8, 0, 1), ("majority", "truth", "macro_f1", 0.2, 0, 1))
    joined = evaluation.join_scores([one, two, three])
    assert joined["name"].tolist() == ["majority", "majority", "random_forest", "lstm", "tempcnn", "tempcnn"]
    assert joined.index.tolist() == list(range(6))
    assert joined["statistic"].tolist()[:2] == ["accuracy", "macro_f1"]  # the order of the runs


def test_join_scores_takes_what_a_run_has_saved(truth, probabilities, tmp_path):
    table = evaluation.score_table(
        {"net": probabilities}, {"t": truth}, classes=K, baselines=["svm"], replicates=20
    )
    table.to_csv(tmp_path / "scores.csv", index=False)
    joined = evaluation.join_scores([pd.read_csv(tmp_path / "scores.csv"), table])
    pd.testing.assert_frame_equal(joined, table)


def test_nested_is_the_estimates_of_one_classifier():
    scores = rows_of(
        ("net", "old map", "accuracy", 0.9, 0, 1),
        ("net", "old map", "macro_f1", 0.8, 0, 1),
        ("majority", "old map", "accuracy", 0.5, 0, 1),
        ("net", "truth", "accuracy", 0.7, 0, 1),
    )
    expected = {"old_map": {"accuracy": 0.9, "macro_f1": 0.8}, "truth": {"accuracy": 0.7}}
    assert evaluation.nested(scores, "net") == expected
    assert json.loads(json.dumps(evaluation.nested(scores, "net"))) == expected
    assert evaluation.nested(scores, "lstm") == {}


def test_readable_has_a_row_a_classifier_and_truth():
    scores = rows_of(
        ("net", "old map", "macro_f1", 0.81256, 0.7, 0.9),
        ("net", "old map", "balanced_accuracy", 0.9, 0.85, 0.95),
        ("majority", "old map", "macro_f1", 0.1, 0.05, 0.15),
        ("majority", "old map", "balanced_accuracy", 0.25, 0.25, 0.25),
    )
    expected = pd.DataFrame(
        {
            "name": ["net", "majority"],
            "against": ["old map", "old map"],
            "samples": [10, 10],
            "macro F1": ["0.813 (0.700 to 0.900)", "0.100 (0.050 to 0.150)"],
            "balanced accuracy": ["0.900 (0.850 to 0.950)", "0.250 (0.250 to 0.250)"],
        }
    )
    pd.testing.assert_frame_equal(evaluation.readable(scores), expected, check_names=False)


def test_readable_keeps_the_samples_of_each_truth(truth, probabilities):
    truths = {"old map": np.where(truth == 0, 255, truth), "truth": truth}
    scores = evaluation.score_table({"b": probabilities, "a": probabilities}, truths, classes=K, replicates=5)
    found = evaluation.readable(scores)
    assert len(found) == 4
    sizes = found.set_index(["name", "against"])["samples"].to_dict()
    for name in "ab":
        assert sizes[name, "old map"] == np.isin(truth, [1, 3]).sum()
        assert sizes[name, "truth"] == (truth != 255).sum()


def test_the_model_of_a_run_gets_another_name_and_its_baselines_keep_theirs():
    table = pd.DataFrame(
        {"name": ["net", "dark", "net"], "estimate": [1, 2, 3], "baseline": [False, True, False]}
    )
    found = evaluation.of_run(table, "net (shrink 2)")
    assert found["name"].tolist() == ["net (shrink 2)", "dark", "net (shrink 2)"]
    assert found["estimate"].tolist() == [1, 2, 3]
    assert table["name"].tolist() == ["net", "dark", "net"]
