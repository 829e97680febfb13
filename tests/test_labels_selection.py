"""Samples refused step by step, features of series, balanced draws, and the share of wrong labels."""

from __future__ import annotations

import landcover_example as example
import numpy as np
import pandas as pd
import pytest

from eolab import evaluation
from eolab.core.errors import DataError
from eolab.data.labels import clusters, selection
from eolab.data.splits import balance
from eolab.data.store import ArraySpec, write_store
from eolab.runs import folders
from eolab.studies import landcover

DATES = ["2020-01-01", "2020-01-11", "2020-01-31"]


def stored(path, image: np.ndarray, valid: np.ndarray, day: np.ndarray | None = None, **columns):
    """A store of pixel series of two bands, with days of its own for each sample where they are given."""
    content = {"image": image, "valid": valid} | ({} if day is None else {"day": day})
    table = pd.DataFrame({"id": np.arange(len(image)), "part": 0, **columns})
    return write_store(
        path,
        table,
        {
            "image": ArraySpec(("time", "band"), image.shape[1:], "float32", nan="allow"),
            "valid": ArraySpec(("time",), valid.shape[1:], "bool"),
        }
        | ({} if day is None else {"day": ArraySpec(("time",), day.shape[1:], "float32")}),
        "part",
        produce=lambda rows: {name: values[rows["id"]] for name, values in content.items()},
        fingerprint={},
        metadata={"coords": {"time": DATES, "band": ["B04", "B08"]}, "label_cell_m": 100.0},
    )


# === Steps ===


def test_each_step_refuses_of_those_that_are_left():
    chosen = selection.Selection(5)
    chosen.refuse("border", np.where([True, False, False, False, True], "border", ""))
    chosen.refuse("clusters", ["", "impure cluster", "rare cluster"])
    assert chosen.reason.tolist() == ["border", "", "impure cluster", "rare cluster", "border"]
    kept = {name: mask.tolist() for name, mask in chosen.steps.items()}
    assert kept == {
        "all labels": [True] * 5,
        "border": [False, True, True, True, False],
        "clusters": [False, True, False, False, False],
    }


def test_counts_of_kept_and_refused_samples_are_by_class_in_the_order_of_the_scheme():
    chosen = selection.Selection(5)
    chosen.refuse("border", ["border", "", "", "border", ""])
    chosen.refuse("audit", ["", "confident learning", ""])
    table = chosen.counts([2, 2, 0, 0, 0], ["Wood", "Field", "Town"])
    assert table["class"].tolist() == ["Wood", "Town"]
    assert list(table)[1:3] == ["samples", "kept"]
    assert table.set_index("class").loc["Wood"].to_dict() == {
        "samples": 3,
        "kept": 1,
        "border": 1,
        "confident learning": 1,
    }
    assert (table["samples"] == table.drop(columns=["class", "samples"]).sum(axis=1)).all()


def test_a_step_that_refuses_everything_ends_in_one_sentence():
    with pytest.raises(DataError, match="'border' refuses all 3 samples"):
        selection.Selection(3).refuse("border", ["border"] * 3)


# === Features and clusters by stratum ===


def test_gaps_are_filled_linearly_by_days_before_series_are_compared(tmp_path):
    """A series with a gap on the line between its neighbours has the features of the series without it."""
    rng = np.random.default_rng(0)
    image = rng.random((40, 3, 2)).astype(np.float32)
    valid = np.ones((40, 3), bool)
    image[1] = image[0]
    image[:2, 1] = image[:2, 0] + (image[:2, 2] - image[:2, 0]) / 3  # 10 of 30 days
    image[1, 1], valid[1, 1] = np.nan, False
    image[2, :, 0] = np.nan  # a band that is missing at valid dates
    found = selection.series_features(stored(tmp_path / "store", image, valid), np.arange(40), share=1.0)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[1], found[0], atol=1e-5)
    assert np.abs(found[3] - found[0]).max() > 0.1


def test_gaps_are_filled_by_the_days_of_each_sample(tmp_path):
    """Regression: samples of real dates of several years were filled by the days of the first year."""
    image = np.random.default_rng(0).random((40, 3, 2)).astype(np.float32)
    valid, day = np.ones((40, 3), bool), np.tile(np.float32([0, 10, 30]), (40, 1))
    day[20:, 1] = 20
    for first, share in ((0, 1 / 3), (20, 2 / 3)):  # 10 and 20 of 30 days
        image[first + 1] = image[first]
        pair = image[first : first + 2]
        pair[:, 1] = pair[:, 0] + share * (pair[:, 2] - pair[:, 0])
        valid[first + 1, 1] = False
    store = stored(tmp_path / "store", image, valid, day)
    found = selection.series_features(store, np.arange(40), share=1.0)
    for first in (0, 20):
        np.testing.assert_allclose(found[first + 1], found[first], atol=1e-5)


def test_all_components_keep_the_distances_of_standardised_values(tmp_path):
    image = np.random.default_rng(1).random((30, 3, 2)).astype(np.float32) * [1, 100]
    store = stored(tmp_path / "store", image.astype(np.float32), np.ones((30, 3), bool))
    found = selection.series_features(store, np.arange(30), share=1.0)
    flat = image.reshape(30, -1)
    scaled = (flat - flat.mean(axis=0)) / flat.std(axis=0)
    for i, j in ((0, 1), (5, 20), (7, 29)):
        expected = np.linalg.norm(scaled[i] - scaled[j])
        assert np.linalg.norm(found[i] - found[j]) == pytest.approx(expected, rel=1e-4)
    assert selection.series_features(store, np.arange(30), most=2).shape == (30, 2)


def test_each_stratum_is_clustered_for_itself():
    """A class that changes its place from one year to the next is pure in either."""
    rng = np.random.default_rng(0)
    here, there = (rng.normal(place, 0.2, (50, 2)) for place in ((0, 0), (5, 0)))
    features = np.concatenate([here, there, there, here])
    labels, years = np.repeat([0, 1, 0, 1], 50), np.repeat([2019, 2020], 100)
    how = {"method": "kmeans", "counts": [1, 2]}
    own, reasons, table = clusters.refusals(features, labels, years, **how)
    assert (reasons == "").all()
    assert table["purity"].min() == 1
    assert set(table["stratum"]) == {2019, 2020}
    np.testing.assert_array_equal(table["label"].to_numpy()[own], labels)
    np.testing.assert_array_equal(table["stratum"].to_numpy()[own], years)
    np.testing.assert_array_equal(np.bincount(own, minlength=len(table)), table["samples"])
    assert clusters.class_clusters(features, labels, **how)[1]["purity"].max() < 0.7  # both years in one


# === Draws ===


def test_strata_give_in_turn_until_there_are_enough():
    classes = np.repeat(["a", "b"], [100, 7])
    strata = np.concatenate([np.repeat([0, 1, 2], [80, 17, 3]), np.zeros(7)])
    drawn = balance.even_draw(classes, strata, 23, seed=1)
    found = pd.crosstab(classes[drawn], strata[drawn])
    assert found.loc["a"].tolist() == [10, 10, 3]
    assert found.loc["b"].sum() == 7
    same, other = (balance.even_draw(classes, strata, 23, seed=seed) for seed in (1, 2))
    np.testing.assert_array_equal(drawn, same)
    assert (drawn != other).any()


# === Wrong labels ===


def test_the_share_of_wrong_labels_is_counted_by_hand():
    labels = np.array([0, 0, 0, 1, 1, 2])
    truth = np.array([0, 1, 255, 1, 1, 0])
    steps = {"all": np.ones(6, bool), "some": np.array([1, 0, 1, 1, 1, 0], bool)}
    table = evaluation.wrong_labels(steps, labels, truth, ["A", "B", "C"], np.arange(6), replicates=100)
    found = table.set_index(["step", "class"])[["samples", "wrong"]].T.to_dict("list")
    assert found == {
        ("all", "all"): [5, pytest.approx(2 / 5)],
        ("all", "A"): [2, pytest.approx(1 / 2)],
        ("all", "B"): [2, 0],
        ("all", "C"): [1, 1],
        ("some", "all"): [3, 0],
        ("some", "A"): [1, 0],
        ("some", "B"): [2, 0],
    }


def test_the_interval_of_wrong_labels_is_that_of_the_accuracy_turned_round():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 600)
    truth = np.where(rng.random(600) < 0.3, (labels + 1) % 3, labels)
    blocks, names = np.repeat(np.arange(30), 20), ["A", "B", "C"]
    table = evaluation.wrong_labels({"all": np.ones(600, bool)}, labels, truth, names, blocks)
    row = table.iloc[0]
    scores = evaluation.score_table(
        {"map": labels}, truth, class_names=names, groups=blocks, statistics=["all.accuracy"]
    )
    assert (row["low"], row["high"]) == (1 - scores["high"][0], 1 - scores["low"][0])
    assert row["low"] < row["wrong"] < row["high"]
    assert row["groups"] == 30


# === The study ===


def extraction(folder, split: str, ids, kept):
    folder.mkdir()
    folders.write_json(
        folder / folders.RECORD,
        {"study": "landcover", "notebook": "03_extract_labels", "parameters": {"split": split}},
    )
    (folder / "tables").mkdir()
    pd.DataFrame({"id": ids, "kept": kept}).to_csv(folder / "tables" / "labels.csv", index=False)
    return folder


def test_refused_samples_are_not_learned_from_and_all_others_stay(tmp_path):
    split = ["train", "test", "train", "prior", "train", "validation"]
    store = stored(
        tmp_path / "store", np.zeros((6, 3, 2), np.float32), np.ones((6, 3), bool), split_block=split
    )
    folder = extraction(tmp_path / "run", "block", [0, 2, 4], [True, False, True])
    found = landcover.labels.without_refused(store, folder, "block")["split_block"].tolist()
    assert found == ["train", "test", "refused", "prior", "train", "validation"]
    assert store.table["split_block"].tolist() == split
    with pytest.raises(DataError, match="split 'block', not 'random'"):
        landcover.labels.without_refused(store, folder, "random")
    other = extraction(tmp_path / "other", "block", [0, 2], [True, False])
    with pytest.raises(DataError, match="those of other samples"):
        landcover.labels.without_refused(store, other, "block")


def test_the_strip_at_borders_is_half_a_cell_of_the_old_map_unless_told(tmp_path):
    store = stored(tmp_path / "store", np.zeros((2, 3, 2), np.float32), np.ones((2, 3), bool))
    assert [landcover.labels.strip_m(store, metres) for metres in (-1, 0, 30)] == [50, 0, 30]
    assert example.series().attrs["label_cell_m"] == 100


def test_shares_of_the_map_are_those_of_the_uniform_samples_on_training_ground():
    table = pd.DataFrame({"label": [0, 0, 2, 1, 1, 1], "split_block": ["prior"] * 3 + ["train"] * 3})
    found = landcover.samples.map_shares(table, "split_block", 3)
    assert found == pytest.approx({0: 3 / 6, 1: 1 / 6, 2: 2 / 6})


def test_as_many_of_each_class_are_drawn_at_random_as_are_kept():
    label, kept = np.array([0, 0, 0, 1, 1, 2]), np.array([1, 0, 1, 1, 0, 0], bool)
    drawn = landcover.labels.as_many(label, kept, seed=0)
    assert np.bincount(label[drawn], minlength=3).tolist() == [2, 1, 0]


def test_greenness_is_the_ndvi_of_the_stored_bands(tmp_path):
    image = np.random.default_rng(0).uniform(0.1, 0.5, (4, 3, 2)).astype(np.float32)
    store = stored(tmp_path / "store", image, np.ones((4, 3), bool))
    values, valid = landcover.labels.greenness(store, np.array([3, 1]))
    expected = (image[..., 1] - image[..., 0]) / (image[..., 1] + image[..., 0])
    np.testing.assert_allclose(values, expected[[3, 1]], rtol=1e-5)
    assert valid.all()
