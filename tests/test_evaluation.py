"""Tables of scores against scikit-learn, brute force and worked examples."""

from __future__ import annotations

import io
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
        "macro.f1": reference.f1_score(truth, prediction, labels=present, average="macro"),
        "all.accuracy": reference.accuracy_score(truth, prediction),
        "all.balanced_accuracy": recall,  # balanced_accuracy_score warns of predicted classes without truth
    }


NAMES = ["a", "b", "c", "d"]


def score(predicted, truth, **options) -> pd.DataFrame:
    return evaluation.score_table(predicted, truth, **{"class_names": NAMES, **options})


def rows_of(*rows: tuple) -> pd.DataFrame:
    """Rows (model, against, scope.statistic, value, low, high)."""
    table = pd.DataFrame(list(rows), columns=["model", "against", "name", "value", "low", "high"])
    table[["scope", "statistic"]] = table.pop("name").str.split(".", expand=True)
    return table.assign(split="test", n=10, is_baseline=table["model"].isin(["majority", "random_forest"]))


def values(table: pd.DataFrame) -> dict[str, float]:
    return dict(zip(table["scope"] + "." + table["statistic"], table["value"], strict=True))


# === score_table ===


@pytest.mark.parametrize("groups", [[None, "a", "a", "b"], [np.nan, 1, 1, 2]])
def test_a_sample_without_a_group_is_named(groups):
    """Samples without a block were drawn as one block of their own, or ended in a TypeError."""
    with pytest.raises(DataError, match="1 of 4 samples have no group"):
        evaluation.score_table(
            {"net": [0, 1, 1, 0]}, np.array([0, 1, 0, 1]), class_names=["dry", "wet"], groups=groups
        )


@pytest.mark.parametrize("unknown", [255, 2])
def test_labels_that_are_neither_yes_nor_no_are_refused(unknown):
    """255, "not known", of several labels a sample counted as no."""
    truth = np.array([[0, 1], [1, unknown], [0, 1]])
    with pytest.raises(DataError, match=rf"labels hold \[{unknown}\]: expected 0 and 1"):
        evaluation.score_table(
            {"net": np.full((3, 2), 0.5)}, truth, class_names=["a", "b"], thresholds={"net": 0.5}
        )


def test_a_score_that_is_the_same_in_every_draw_is_not_called_certain():
    """A precision of 8 right of 8 stood as "1.000 (1.000 to 1.000)"; the true one may be 0.7."""
    truth = np.arange(12) % 2
    predicted = np.where(np.arange(12) == 1, 0, truth)  # no false alarm, one missed
    table = evaluation.score_table(
        {"net": predicted}, truth, class_names=["dry", "flooded"], groups=np.arange(12) // 1,
        statistics=["flooded.precision", "all.accuracy"], replicates=200,
    ).set_index("statistic")  # fmt: skip
    assert table.loc["precision", "value"] == 1
    assert table.loc["precision", ["low", "high"]].isna().all()
    assert table.loc["accuracy", "low"] < 11 / 12 < table.loc["accuracy", "high"]
    enough = table.assign(n_groups=12).reset_index()
    assert (
        evaluation.readable(enough)["flooded precision"][0] == "1.000 (no interval: the same in every draw)"
    )


def test_score_table_equals_scikit_learn(truth, probabilities):
    found = values(score({"net": probabilities}, truth, replicates=100))
    expected = expected_scores(truth, probabilities.argmax(axis=1))
    assert found == pytest.approx(expected)
    assert (
        min(abs(a - b) for a, b in zip(expected.values(), list(expected.values())[1:], strict=False)) > 0.01
    )
    all_classes = reference.f1_score(
        truth[truth != 255], probabilities.argmax(axis=1)[truth != 255], labels=range(K), average="macro"
    )
    assert found["macro.f1"] > all_classes + 0.1  # the class that is not there counts in no average


def test_balanced_accuracy_is_that_of_scikit_learn_where_every_class_occurs():
    rng = np.random.default_rng(2)
    truth, prediction = rng.integers(0, K, (2, 300))
    found = values(score({"a": prediction}, truth, replicates=100))
    assert found["all.balanced_accuracy"] == pytest.approx(
        reference.balanced_accuracy_score(truth, prediction)
    )


def test_class_indices_score_as_the_probabilities_they_come_from(truth, probabilities):
    predicted = {"net": probabilities, "labels": probabilities.argmax(axis=1)}
    table = score(predicted, truth, replicates=100)
    one, other = (rows.drop(columns="model") for _, rows in table.groupby("model"))
    pd.testing.assert_frame_equal(one.reset_index(drop=True), other.reset_index(drop=True))


def test_a_sample_without_truth_counts_for_nothing(truth, probabilities):
    """What is predicted there changes neither score nor interval, and it is not counted."""
    changed = np.where((truth == 255)[:, None], np.roll(probabilities, 1, axis=1), probabilities)
    assert (changed.argmax(axis=1) != probabilities.argmax(axis=1)).any()
    one, other = (score({"net": p}, truth, replicates=100) for p in (probabilities, changed))
    pd.testing.assert_frame_equal(one, other)
    assert set(one["n"]) == {int((truth != 255).sum())}


def test_each_truth_has_its_own_samples_and_scores(truth, probabilities):
    prediction = probabilities.argmax(axis=1)
    old = np.where(np.arange(len(truth)) < 200, 255, prediction).astype(np.uint8)
    right, other = (score({"net": probabilities}, one, replicates=100) for one in (old, truth))
    assert set(right["n"]) == {300}
    assert set(other["n"]) == {int((truth != 255).sum())}
    assert (right["value"] == 1).all()
    assert (other["value"] < 0.95).all()


def test_one_row_a_statistic_of_each_classifier_and_baselines_are_marked(truth, probabilities):
    predicted = {"majority": np.zeros(len(truth), int), "net": probabilities}
    options = {"statistics": ["all.kappa", "all.accuracy"], "baselines": ["majority", "svm"]}
    table = score(predicted, truth, replicates=100, split="validation", **options)
    keys = list(zip(table["model"], table["statistic"], table["is_baseline"], strict=True))
    assert keys == [
        ("majority", "kappa", True),
        ("majority", "accuracy", True),
        ("net", "kappa", False),
        ("net", "accuracy", False),
    ]
    columns = ["model", "is_baseline", "split", "scope", "statistic", "value", "low", "high"]
    columns += ["n", "n_groups", "drawn"]
    assert table.columns.tolist() == columns
    assert set(table["split"]) == {"validation"}
    assert table["value"][0] == pytest.approx(0)  # Cohen's kappa of a constant


def test_interval_over_blocks_is_that_of_drawing_whole_blocks():
    """Against a plain loop that draws blocks: the ends agree, and are far wider than those over samples."""
    rng = np.random.default_rng(3)
    block = np.repeat(np.arange(20), 30)
    truth = rng.integers(0, 2, 600)
    prediction = np.where(rng.random(20)[block] < 0.7, truth, 1 - truth)  # a block is right or wrong as one
    members = [np.flatnonzero(block == number) for number in range(20)]
    right = truth == prediction
    drawn = [right[np.concatenate([members[i] for i in rng.integers(0, 20, 20)])].mean() for _ in range(3000)]
    given = {"class_names": ["no", "yes"], "statistics": ["all.accuracy"], "replicates": 3000}
    by_block = score({"a": prediction}, truth, groups=block, **given).iloc[0]
    by_sample = score({"a": prediction}, truth, **given).iloc[0]
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert (by_block["low"], by_block["high"]) == pytest.approx((low, high), abs=0.051)  # steps of 1/20
    assert by_block["high"] - by_block["low"] > 3 * (by_sample["high"] - by_sample["low"])
    assert by_block["value"] == by_sample["value"] == pytest.approx(right.mean())


def test_interval_follows_from_the_seed(truth, probabilities):
    one, same, other = (score({"net": probabilities}, truth, replicates=100, seed=seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, same)
    assert not one["low"].equals(other["low"])
    assert one["value"].equals(other["value"])


def test_an_unknown_statistic_or_nothing_to_score_is_said(truth, probabilities):
    with pytest.raises(ParameterError, match=r"'macro_f2'.*did you mean 'macro\.f2'"):
        score({"net": probabilities}, truth, statistics=["macro_f2"], replicates=100)
    with pytest.raises(DataError, match="nothing to score"):
        score({"net": probabilities}, np.full(500, 255), replicates=100)
    with pytest.raises(ParameterError, match="class_names is empty"):
        evaluation.score_table({"net": probabilities}, truth)


def test_interval_holds_the_estimate_and_shrinks_with_samples():
    """As wide as that of a binomial share."""
    rng = np.random.default_rng(4)
    for n in (200, 800, 3200):
        truth = rng.integers(0, K, n)
        prediction = np.where(rng.random(n) < 0.7, truth, rng.integers(0, K, n))
        table = score({"a": prediction}, truth).set_index("statistic")
        assert (table["low"] < table["value"]).all()
        assert (table["value"] < table["high"]).all()
        share = table.loc["accuracy", "value"]
        normal = 2 * 1.96 * np.sqrt(share * (1 - share) / n)
        assert table.loc["accuracy", "high"] - table.loc["accuracy", "low"] == pytest.approx(normal, rel=0.15)


# === class_table ===


def by_class(truth, prediction, names, **options) -> pd.DataFrame:
    options = {"class_names": names, "statistics": evaluation.CLASS_STATISTICS, **options}
    return evaluation.class_table(evaluation.score_table({"net": prediction}, truth, **options))


def test_class_table_equals_scikit_learn(truth, probabilities):
    prediction = probabilities.argmax(axis=1)
    table = by_class(truth, prediction, NAMES, replicates=100)
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
    truth = np.tile([0, 0, 0, 1, 1, 255], 5)
    prediction = np.tile([0, 0, 1, 1, 0, 1], 5)
    table = by_class(truth, prediction, ["wood", "town", "lake"], replicates=400)
    wood, town, lake = (table.iloc[i] for i in range(3))
    assert wood[["precision", "recall", "f1", "iou", "support"]].tolist() == pytest.approx(
        [2 / 3, 2 / 3, 2 / 3, 1 / 2, 15]
    )
    assert town[["precision", "recall", "f1", "iou", "support"]].tolist() == pytest.approx(
        [1 / 2, 1 / 2, 1 / 2, 1 / 3, 10]
    )
    assert lake["support"] == 0
    assert (
        lake[["precision", "recall", "f1", "low", "high", "iou"]].isna().all()
    )  # neither true nor predicted
    assert wood["low"] < wood["f1"] < wood["high"]
    assert table["groups"].tolist() == [15, 10, 0]  # samples are drawn


@pytest.mark.slow
def test_class_interval_is_that_of_drawing_samples_and_scoring_f1_each_time(truth, probabilities):
    """Against a plain loop with scikit-learn."""
    known = truth != 255
    true, predicted = truth[known], probabilities.argmax(axis=1)[known]
    table = by_class(truth, probabilities.argmax(axis=1), NAMES, replicates=2000)
    rng = np.random.default_rng(5)
    draws = [rng.integers(0, len(true), len(true)) for _ in range(500)]
    classes = [0, 1, 3]
    drawn = [reference.f1_score(true[d], predicted[d], labels=classes, average=None) for d in draws]
    for index, ends in zip(classes, np.quantile(drawn, [0.025, 0.975], axis=0).T, strict=True):
        assert table.loc[index, ["low", "high"]].tolist() == pytest.approx(ends.tolist(), abs=0.02)


def test_class_interval_over_blocks_needs_two(truth, probabilities):
    table = by_class(truth, probabilities, NAMES, groups=np.zeros(500), replicates=100)
    assert table[["low", "high"]].isna().all(axis=None)
    assert table["f1"].notna().any()


# === Tables of several runs ===


def test_join_scores_keeps_the_newest_of_two_and_what_only_the_older_has():
    newest = rows_of(
        ("net", "truth", "all.accuracy", 0.9, 0.8, 1.0), ("majority", "truth", "all.accuracy", 0.5, 0, 1)
    )
    older = rows_of(
        ("net", "truth", "all.accuracy", 0.1, 0.0, 0.2),
        ("net", "old map", "all.accuracy", 0.7, 0.6, 0.8),
        ("tempcnn", "truth", "all.accuracy", 0.8, 0.7, 0.9),
    )
    joined = evaluation.join_scores([newest, older])
    found = {(r.model, r.against): r.value for r in joined.itertuples(index=False)}
    assert found == {
        ("net", "truth"): 0.9,
        ("majority", "truth"): 0.5,
        ("net", "old map"): 0.7,
        ("tempcnn", "truth"): 0.8,
    }
    assert len(joined) == 4
    assert evaluation.join_scores([older, newest]).query("model == 'net' and against == 'truth'")[
        "value"
    ].tolist() == [0.1]


def test_joined_classifiers_stand_together_baselines_first():
    """Regression: rows of one classifier that came from two runs stood apart."""
    one = rows_of(
        ("tempcnn", "truth", "all.accuracy", 0.8, 0, 1), ("random_forest", "truth", "all.accuracy", 0.6, 0, 1)
    )
    two = rows_of(
        ("lstm", "truth", "all.accuracy", 0.9, 0, 1), ("majority", "truth", "all.accuracy", 0.5, 0, 1)
    )
    three = rows_of(("tempcnn", "truth", "macro.f1", 0.8, 0, 1), ("majority", "truth", "macro.f1", 0.2, 0, 1))
    joined = evaluation.join_scores([one, two, three])
    assert joined["model"].tolist() == ["majority", "majority", "random_forest", "lstm", "tempcnn", "tempcnn"]
    assert joined.index.tolist() == list(range(6))
    assert joined["statistic"].tolist()[:2] == ["accuracy", "f1"]  # the order of the runs


def test_join_scores_takes_what_a_run_has_saved(truth, probabilities, tmp_path):
    table = score({"net": probabilities}, truth, baselines=["svm"], replicates=100)
    table.drop(columns="drawn").to_csv(tmp_path / "scores.csv", index=False)
    joined = evaluation.join_scores([pd.read_csv(tmp_path / "scores.csv"), table])
    pd.testing.assert_frame_equal(joined.drop(columns="drawn"), table.drop(columns="drawn"))


def test_gains_are_read_with_their_sign_and_their_groups():
    truth = np.tile([0, 1, 1, 0], 5)
    gains = evaluation.paired_gains(
        {"net": truth, "majority": np.ones(20, int)},
        truth,
        model="net",
        class_names=["a", "b"],
        statistics=["all.accuracy"],
        replicates=100,
    )
    (row,) = evaluation.readable(gains).to_dict("records")
    assert (row["model"], row["groups"]) == ("majority", 20)
    assert row["accuracy"].startswith("+0.500 (+0.")


def test_a_score_table_says_how_many_groups_it_rests_on():
    """Four clusters gave 35 different draws, called 95 %, and no table said that they were four."""
    truth, groups = np.tile([0, 0, 1, 0], 10), np.repeat(np.arange(10), 4)
    truth[groups > 3] = 0
    given = {"class_names": ["a", "b"], "statistics": ["all.accuracy", "b.recall"], "groups": groups}
    scores = score({"net": np.zeros(40, int)}, truth, **given)
    assert scores["n_groups"].tolist() == [10, 4]
    (row,) = evaluation.readable(scores).to_dict("records")
    assert (row["samples"], row["groups"]) == (40, 10)
    assert row["accuracy"].startswith("0.900 (0.")
    assert row["b recall"] == "0.000 (no interval: 4 groups)"
    before = scores.drop(columns="n_groups")  # a table that was saved before
    assert list(evaluation.readable(before)) == ["model", "samples", "accuracy", "b recall"]


def test_a_baseline_trained_as_the_model_stands_at_the_top():
    """A sweep over models and baselines had no numbers for the baselines."""
    truth = np.array([0, 1, 1, 0])
    scores = evaluation.score_table(
        {"forest": truth, "majority": np.ones(4, int)},
        truth,
        class_names=["a", "b"],
        statistics=["all.accuracy"],
        baselines=["forest", "majority"],
        replicates=100,
    )
    found = evaluation.nested(scores, "forest")
    assert found["test"] == {"all": {"accuracy": 1.0}}
    assert found["baselines"] == {"majority": {"test": {"all": {"accuracy": 0.5}}}}


def test_nested_is_what_a_run_records():
    scores = rows_of(
        ("net", "old map", "all.accuracy", 0.9, 0, 1),
        ("net", "old map", "macro.f1", 0.8, 0, 1),
        ("majority", "old map", "all.accuracy", 0.5, 0, 1),
        ("net", "truth", "all.accuracy", 0.7, 0, 1),
        ("lstm", "truth", "old forest.f1", 0.6, 0, 1),
    )
    own = {"old_map": {"all": {"accuracy": 0.9}, "macro": {"f1": 0.8}}, "truth": {"all": {"accuracy": 0.7}}}
    others = {
        "baselines": {"majority": {"test": {"old_map": {"all": {"accuracy": 0.5}}}}},
        "lstm": {"test": {"truth": {"old_forest": {"f1": 0.6}}}},
    }
    found = evaluation.nested(scores, "net")
    assert found == {"test": own, **others}
    assert json.loads(json.dumps(found)) == found
    every = evaluation.nested(scores)
    assert every["net"] == {"test": own}
    assert every["majority"] == others["baselines"]["majority"]


def test_rows_are_picked_by_their_full_name_or_by_their_statistic():
    scores = rows_of(
        ("net", "truth", "macro.f1", 0.9, 0, 1),
        ("net", "truth", "micro.f1", 0.8, 0, 1),
        ("net", "truth", "all.accuracy", 0.7, 0, 1),
    )
    assert evaluation.pick(scores, "micro.f1")["value"].tolist() == [0.8]
    assert evaluation.pick(scores, "f1")["value"].tolist() == [0.9, 0.8]
    assert evaluation.pick(scores, "all.accuracy", "macro.f1")["value"].tolist() == [0.9, 0.7]


def test_readable_has_a_row_a_classifier_and_truth():
    scores = rows_of(
        ("net", "old map", "macro.f1", 0.81256, 0.7, 0.9),
        ("net", "old map", "all.balanced_accuracy", 0.9, 0.85, 0.95),
        ("majority", "old map", "macro.f1", 0.1, 0.05, 0.15),
        ("majority", "old map", "all.balanced_accuracy", 0.25, 0.25, 0.25),
    )
    expected = pd.DataFrame(
        {
            "against": ["old map", "old map"],
            "model": ["net", "majority"],
            "samples": [10, 10],
            "macro F1": ["0.813 (0.700 to 0.900)", "0.100 (0.050 to 0.150)"],
            "balanced accuracy": ["0.900 (0.850 to 0.950)", "0.250 (0.250 to 0.250)"],
        }
    )
    pd.testing.assert_frame_equal(evaluation.readable(scores), expected, check_names=False)


def test_readable_keeps_the_samples_of_each_truth(truth, probabilities):
    truths = {"old map": np.where(truth == 0, 255, truth), "truth": truth}
    both = {"b": probabilities, "a": probabilities}
    tables = [score(both, one, replicates=100).assign(against=name) for name, one in truths.items()]
    found = evaluation.readable(pd.concat(tables))
    assert len(found) == 4
    sizes = found.set_index(["model", "against"])["samples"].to_dict()
    for name in "ab":
        assert sizes[name, "old map"] == np.isin(truth, [1, 3]).sum()
        assert sizes[name, "truth"] == (truth != 255).sum()


def test_the_model_of_a_run_gets_another_name_and_its_baselines_keep_theirs():
    table = pd.DataFrame(
        {"model": ["net", "dark", "net"], "value": [1, 2, 3], "is_baseline": [False, True, False]}
    )
    found = evaluation.of_run(table, "net (shrink 2)")
    assert found["model"].tolist() == ["net (shrink 2)", "dark", "net (shrink 2)"]
    assert found["value"].tolist() == [1, 2, 3]
    assert table["model"].tolist() == ["net", "dark", "net"]


# === Comparison in pairs ===


def two_runs():
    """Two runs on 30 groups of different difficulty: the second is a little better in each of them."""
    rng = np.random.default_rng(4)
    truth, groups = rng.integers(0, 2, 900), np.repeat(np.arange(30), 30)
    hard = rng.uniform(0.1, 0.6, 30)[groups]
    wrong = rng.random(900) < hard
    repaired = wrong & (rng.random(900) < 0.8)
    given = {"class_names": ["a", "b"], "statistics": ["macro.f1"], "groups": groups, "baselines": ["rule"]}
    first = score({"rule": 1 - truth, "net": np.where(wrong, 1 - truth, truth)}, truth, **given)
    second = score({"rule": 1 - truth, "new": np.where(repaired, 1 - truth, truth)}, truth, **given)
    return first, second, truth, given


def test_a_difference_can_be_certain_although_the_intervals_overlap():
    """ "A difference inside the intervals is none" was wrong for a third of the pairs."""
    first, second, _, _ = two_runs()
    scores = evaluation.join_scores([first, second])
    net, new = (scores[scores["model"] == name].iloc[0] for name in ("net", "new"))
    assert net["high"] > new["low"]  # they overlap
    (gain,) = evaluation.gains(scores[~scores["is_baseline"]], over="net").to_dict("records")
    assert gain["model"] == "new"
    assert gain["value"] == pytest.approx(new["value"] - net["value"])
    assert 0 < gain["low"] < gain["value"] < gain["high"]
    assert (gain["verdict"], gain["over"], gain["groups"]) == ("better", "net", 30)


def test_gains_are_said_with_their_intervals_and_a_loss_is_no_gain():
    first, second, truth, given = two_runs()
    both = evaluation.join_scores([first, second]).assign(against="truth")
    gained = evaluation.gains(both[~both["is_baseline"]], over="net")
    (row,) = gained.to_dict("records")
    ends = f"{row['value']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"
    assert evaluation.gains_said(gained) == f"In macro F1 against the truth, new is better than net: {ends}."
    turned = evaluation.gains(both[~both["is_baseline"]], over="new")
    assert "net is worse than new: -" in evaluation.gains_said(turned)
    same = evaluation.gains(evaluation.join_scores([first, first[1:].assign(model="same")]), over="net")
    assert "same is not shown to be better than net: +0.000" in evaluation.gains_said(same)
    few = score({"net": truth, "new": 1 - truth}, truth, **given | {"groups": np.arange(len(truth)) % 3})
    assert "(no interval: 3 groups)" in evaluation.gains_said(evaluation.gains(few, over="net"))
    assert evaluation.gains_said(gained[:0]) == ""


def test_gains_of_two_runs_are_those_of_one_that_scores_both():
    first, second, truth, given = two_runs()
    found = evaluation.gains(evaluation.join_scores([first, second]))
    assert found[["model", "over"]].to_numpy().tolist() == [["net", "rule"], ["new", "rule"]]
    own = {"rule": 1 - truth, "new": truth}
    paired = evaluation.paired_gains(own, truth, model="new", **given)
    both = evaluation.gains(score(own, truth, **given))
    columns = ["value", "low", "high"]
    np.testing.assert_allclose(both[columns].astype(float), paired[columns], rtol=1e-5)


def test_a_gain_that_is_the_same_in_every_draw_is_not_called_certain():
    """Ten groups with one of two samples right: each draw gains 0.5, and the interval had a width of 0."""
    truth, groups = np.tile([0, 1], 10), np.repeat(np.arange(10), 2)
    both = {"net": truth, "rule": np.zeros(20, int)}
    given = {"class_names": ["a", "b"], "groups": groups, "replicates": 100, "statistics": ["all.accuracy"]}
    for gains in (
        evaluation.paired_gains(both, truth, model="net", **given),
        evaluation.gains(score(both, truth, baselines=["rule"], **given)),
    ):
        (row,) = gains.to_dict("records")
        assert (row["value"], row["groups"]) == (pytest.approx(0.5), 10)
        assert np.isnan([row["low"], row["high"]]).all()
        (shown,) = evaluation.readable(gains)["accuracy"]
        assert shown == "+0.500 (no interval: the same in every draw)"
    assert row["verdict"] == "the same in every draw"


@pytest.mark.parametrize(
    ("shape", "options"),
    [((4, 3, 3), {"thresholds": {"net": 0.5}}), ((4, 3, 3, 2), {}), ((4, 2), {})],
)
def test_predictions_that_are_no_numbers_are_no_class(shape, options):
    """NaN was below every threshold, or the likeliest class, and was scored as such."""
    truth = np.ones(shape[:3] if len(shape) > 2 else 4, np.uint8)
    found = np.full(shape, 0.5, np.float32)
    found.flat[0] = np.nan
    with pytest.raises(DataError, match=r"1 .*are no finite number: predict them again"):
        score({"net": found}, truth, class_names=["a", "b"], **options)


def test_classes_given_as_fractions_are_not_scored_as_values():
    with pytest.raises(DataError, match="float64 values and classes have names: give class indices"):
        score({"net": np.ones(4)}, np.ones(4), class_names=["a", "b"])


def test_models_of_other_samples_are_not_paired():
    first, _, truth, given = two_runs()
    other = score({"new": truth}, np.where(np.arange(900) == 3, 1 - truth, truth), **given)
    joined = evaluation.join_scores([first[first["model"] == "net"], other])
    (gain,) = evaluation.gains(joined).to_dict("records")
    assert (gain["verdict"], np.isnan(gain["low"])) == ("not paired", True)
    (row,) = evaluation.readable(evaluation.gains(joined)).to_dict("records")
    assert row["macro F1"].endswith("(not paired)")
    assert (
        "no difference shown"
        in evaluation.readable(
            evaluation.gains(evaluation.join_scores([first, first[1:].assign(model="same")]), over="net")
        )["macro F1"].to_list()[-1]
    )


def test_replicates_are_saved_beside_the_table_of_a_run(tmp_path):
    first, second, _, _ = two_runs()
    path = tmp_path / "tables" / "scores.drawn.npz"
    plain = evaluation.write_drawn(first, path)
    assert "drawn" not in plain
    again = evaluation.read_drawn(pd.read_csv(io.StringIO(plain.to_csv(index=False))), path)
    joined = evaluation.join_scores([again, second])
    pd.testing.assert_frame_equal(
        evaluation.gains(joined), evaluation.gains(evaluation.join_scores([first, second]))
    )
    assert "drawn" not in evaluation.read_drawn(plain.iloc[:1], path)
    nothing = evaluation.write_drawn(first[:0], path)  # regression: could not be read
    assert len(evaluation.read_drawn(nothing, path)) == 0
    evaluation.write_drawn(plain, path)
    assert not path.exists()
