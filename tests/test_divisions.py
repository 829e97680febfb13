"""Divisions by date and by region, and scores of one model under both, against counting by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, classification_report, f1_score

from eolab import evaluation
from eolab.core.errors import ParameterError
from eolab.data.splits import divisions
from eolab.evaluation import divided


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Return 12 regions of two classes, each on six dates, and two regions that are only trained on."""
    rows = [
        (str(region), date, region % 2) for region in range(12) for date in pd.date_range("2020", periods=6)
    ]
    rows += [(f"zero {k}", date, 0) for k in range(2) for date in pd.date_range("2020", periods=6)]
    found = pd.DataFrame(rows, columns=["region", "date", "label"])
    found["zero"] = found["region"].str.startswith("zero")
    return found.sample(frac=1, random_state=0, ignore_index=True)


def test_the_last_dates_of_each_region_are_its_test(table):
    split = divisions.by_last_dates(table, 0.2, 0.2)
    for _, rows in table.assign(split=split).groupby("region"):
        assert rows.sort_values("date")["split"].tolist() == ["train"] * 4 + ["validation", "test"]
    few = table[table["date"] < "2020-01-03"]
    assert set(divisions.by_last_dates(few)) == {"train"}


def test_folds_of_regions_test_each_sample_once_and_share_no_region(table):
    found = divisions.divide(table, n_folds=4, validation=0.2, test=0.2, train_only="zero", seed=1)
    assert [one.name for one in found] == ["date", "region_1", "region_2", "region_3", "region_4"]
    tested = np.concatenate([one.rows["test"] for one in found[1:]])
    assert sorted(tested) == table.index[~table["zero"]].tolist()
    for one in found:
        parts = {part: set(table["region"][rows]) for part, rows in one.rows.items()}
        assert {"zero 0", "zero 1"} <= parts["train"]
        assert not any(region.startswith("zero") for region in parts["test"] | parts["validation"])
        everything = np.concatenate(list(one.rows.values()))
        assert len(set(everything.tolist())) == len(everything)
        if one.kind == "region":
            assert not parts["train"] & parts["test"]
            assert not parts["train"] & parts["validation"]
            assert not parts["validation"] & parts["test"]
            assert set(table["label"][one.rows["test"]]) == {0, 1}
        column = one.as_column(table)
        assert (column[one.rows["test"]] == "test").all()
        assert (column == "none").sum() == len(table) - len(everything)


def test_one_region_at_a_time_and_named_regions_are_held_out(table):
    own = table[~table["zero"]]
    found = divisions.divide(own, ["region"], n_folds=0)
    assert [set(table["region"][one.rows["test"]]) for one in found] == [{r} for r in own["region"].unique()]
    (one,) = divisions.divide(own, ["region"], held_out=["6"], held_out_validation=["5"])
    assert set(table["region"][one.rows["test"]]) == {"6"}
    assert set(table["region"][one.rows["validation"]]) == {"5"}
    assert len(set(table["region"][one.rows["train"]])) == 10


def test_regions_are_drawn_for_validation_although_each_class_is_in_one_of_them(table):
    """Regression: with four regions of four classes none was left for validation."""
    few = table[table["region"].isin(["0", "1", "2", "3"])].assign(
        label=lambda rows: rows["region"].astype(int)
    )
    for one in divisions.divide(few, ["region"], n_folds=3, validation=0.2):
        assert {part: len(rows) > 0 for part, rows in one.rows.items()} == dict.fromkeys(one.rows, True)


def test_a_share_of_the_training_samples_leaves_the_test_as_it_is(table):
    whole, half = (divisions.divide(table, ["date"], fraction=share)[0].rows for share in (1.0, 0.5))
    assert len(half["train"]) == round(0.5 * len(whole["train"]))
    assert set(half["train"]) < set(whole["train"])
    np.testing.assert_array_equal(half["test"], whole["test"])


def test_divisions_that_cannot_be_are_refused(table):
    with pytest.raises(ParameterError, match="no split by 'dates': did you mean 'date'"):
        divisions.divide(table, ["dates"])
    with pytest.raises(ParameterError, match="no region '77'"):
        divisions.divide(table, ["region"], held_out=["77"])
    two = table[table["region"].isin(["1", "2"])]
    with pytest.raises(ParameterError, match="Of 2 regions 1 are tested at once, and two or more are needed"):
        divisions.divide(two, ["region"], n_folds=2)
    with pytest.raises(ParameterError, match="leaves no sample for validation"):
        divisions.divide(table[table["date"] < "2020-01-03"], ["date"])


@pytest.fixture(scope="module")
def tested(table) -> tuple[dict[str, divided.Tested], np.ndarray]:
    own = table[~table["zero"]]
    found = divisions.divide(own, n_folds=3, validation=0.2, test=0.2)
    truth, rng = table["label"].to_numpy(), np.random.default_rng(0)
    predictions = {}
    for one in found:
        noise = 0.2 if one.kind == "date" else 1.5
        second = truth[one.rows["test"]] + noise * rng.standard_normal(len(one.rows["test"]))
        p = 1 / (1 + np.exp(-4 * (second - 0.5)))
        predictions[one.name] = {"net": np.stack([1 - p, p], axis=1)}
    return divided.gather(found, predictions), truth


def test_both_splits_are_scored_on_the_same_samples(tested, table):
    found, truth = tested
    assert (np.diff(found["region"].rows) > 0).all()
    same = divided.same_samples(found)
    np.testing.assert_array_equal(same["date"].rows, same["region"].rows)
    np.testing.assert_array_equal(same["date"].rows, found["date"].rows)
    regions = table["region"].to_numpy()
    options = {"class_names": ["clear", "need"], "replicates": 200}
    scores = divided.scores(same, truth, regions, **options)
    values = evaluation.pick(scores, "all.accuracy").set_index(divided.SPLIT_BY)["value"]
    for kind, one in same.items():
        answers = one.predictions["net"].argmax(axis=1)
        assert values[kind] == pytest.approx(accuracy_score(truth[one.rows], answers))
    gained = divided.differences(same, truth, regions, ["all.accuracy"], **options).iloc[0]
    assert gained["value"] == pytest.approx(values["date"] - values["region"])
    assert gained["low"] > 0
    assert gained["groups"] == 12


def test_reports_of_classes_are_those_of_scikit_learn(tested):
    found, truth = tested
    table = divided.classification_reports(found, truth, "net", ["clear", "need"])
    for kind, one in found.items():
        rows = table[table[divided.SPLIT_BY] == kind].set_index("class")
        answers = one.predictions["net"].argmax(axis=1)
        expected = classification_report(
            truth[one.rows], answers, target_names=["clear", "need"], output_dict=True
        )
        assert rows.loc["need", "precision"] == expected["need"]["precision"]
        assert rows.loc["accuracy", "f1-score"] == expected["accuracy"]
        assert rows.loc["macro avg", "f1-score"] == pytest.approx(
            f1_score(truth[one.rows], answers, average="macro")
        )
        assert rows.loc["clear", "support"] == (truth[one.rows] == 0).sum()


def test_gains_are_of_each_split(tested, table):
    found, truth = tested
    worse = {
        kind: divided.Tested(
            one.rows, one.predictions | {"majority": np.tile([1.0, 0.0], (len(one.rows), 1))}
        )
        for kind, one in found.items()
    }
    options = {"class_names": ["clear", "need"], "replicates": 200}
    gained = divided.gains(worse, truth, table["region"], "net", ["all.accuracy"], **options)
    nested = divided.nested_gains(gained)
    for kind, one in worse.items():
        share = (truth[one.rows] == 0).mean()
        right = (one.predictions["net"].argmax(axis=1) == truth[one.rows]).mean()
        assert nested[kind]["majority"]["accuracy"]["gain"] == pytest.approx(right - share)


def test_a_model_is_called_better_only_where_its_interval_says_so():
    ends = {"better": (0.2, 0.1, 0.3), "worse": (-0.2, -0.3, -0.1), "alike": (-0.1, -0.3, 0.1)}
    ends |= {"few": (0.4, None, None), "certain": (np.float64(0.5), 0.4, 0.6)}  # a run keeps NaN as null
    nested = {
        "region": {name: {"f1": dict(zip(divided.ENDS, three, strict=True))} for name, three in ends.items()}
    }
    assert divided.gains_said(nested, "net", "macro.f1", "region") == (
        "In macro F1 under the split by region, net is better than better (+0.200, 95 % interval +0.100 to "
        "+0.300), certain (+0.500, 95 % interval +0.400 to +0.600); worse than worse (-0.200, 95 % interval "
        "-0.300 to -0.100); not shown to be better than alike (-0.100, 95 % interval -0.300 to +0.100), few "
        "(+0.400, no interval)."
    )
    assert divided.gains_said(nested, "net", "macro.f1", "date") == ""


def test_splits_without_a_common_sample_cannot_be_compared(tested):
    found, _ = tested
    other = {"date": found["date"], "region": divided.Tested(np.array([10_000]), {"net": np.ones((1, 2))})}
    with pytest.raises(ParameterError, match="No sample is tested by both splits"):
        divided.same_samples(other)


def test_a_value_is_calibrated_where_the_mean_truth_is_what_was_predicted():
    rng = np.random.default_rng(0)
    predicted = rng.uniform(0, 1, (50, 20, 20))
    truth = predicted + 0.05 * rng.standard_normal(predicted.shape)
    truth[0] = np.nan
    table = divided.value_calibration(predicted, truth)
    assert len(table) == 10
    np.testing.assert_allclose(table["frequency"], table["probability"], atol=0.01)
    assert table["share"].sum() == pytest.approx(1)
    high = predicted[1:][predicted[1:] >= 0.9]
    assert table["probability"].iloc[-1] == pytest.approx(high.mean())


# === What users do ===


def test_shares_that_leave_nothing_for_training_are_refused_and_each_tested_region_is_trained_on(table):
    """Regression: halves for validation and test left regions for training that the test does not know."""
    few = table[~table["zero"] & ((table["date"] < "2020-01-05") | (table["region"] == "1"))]
    few = few[(few["date"] < "2020-01-03") | (few["region"] != "2")]
    for share in (0.5, 0.9):
        with pytest.raises(ParameterError, match="shares that together leave something for training"):
            divisions.divide(few, ["date"], validation=share, test=share)
    (one,) = divisions.divide(few, ["date"], validation=0.45, test=0.5)
    regions = {part: set(few["region"][rows]) for part, rows in one.rows.items()}
    assert regions["test"] == regions["validation"] == set(few["region"]) - {"2"}
    assert regions["train"] == set(few["region"])
    assert divisions.divide(few, ["region"], validation=0.5, test=0.5)


def test_samples_of_one_region_and_date_are_in_one_part(table):
    twice = pd.concat([table, table], ignore_index=True)
    split = divisions.by_last_dates(twice, 0.2, 0.2)
    assert (
        not twice.assign(split=split)
        .drop_duplicates(["region", "date", "split"])
        .duplicated(["region", "date"])
        .any()
    )


def test_regions_for_validation_are_named_with_others_for_the_test(table):
    """Regression: without regions for the test those for validation were passed over silently."""
    for held_out in ([], ["5"], [5]):
        with pytest.raises(ParameterError, match="name other regions for validation than for the test"):
            divisions.divide(table, ["region"], held_out=held_out, held_out_validation=["5", "6"])


def test_a_share_draws_the_same_samples_with_and_without_those_that_are_only_trained_on(table):
    """Regression: a training with such samples learned from other dates of the others."""
    plain, more = (
        divisions.divide(rows, ["date"], fraction=0.5, train_only="zero")[0].rows["train"]
        for rows in (table[~table["zero"]], table)
    )
    zero = table["zero"].to_numpy()
    np.testing.assert_array_equal(more[~zero[more]], plain)
    assert zero[more].sum() == 6


def test_runs_that_were_tested_on_other_samples_are_left_out_of_a_comparison(tested, table):
    """Regression: runs that hold out one region stood beside runs that are tested on all."""
    found, truth = tested
    regions, options = table["region"].to_numpy(), {"class_names": ["clear", "need"], "replicates": 100}
    usual = divided.scores(divided.same_samples(found), truth, regions, **options)
    alone = divided.scores({"region": found["region"]}, truth, regions, **options)
    joined = evaluation.join_scores(
        [usual, evaluation.of_run(alone, "alone"), evaluation.of_run(usual, "twin")]
    )
    kept = divided.on_same_samples(joined, usual)
    assert set(kept["model"]) == {"net", "twin"}
    assert set(kept[divided.SPLIT_BY]) == {"region"}
    assert divided.on_same_samples(joined, usual[usual[divided.SPLIT_BY] == "date"]).empty
