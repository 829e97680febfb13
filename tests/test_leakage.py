from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist
from scipy.stats import binomtest

from eolab.core.errors import ParameterError
from eolab.data import splits
from eolab.data.leakage import leakage
from eolab.data.store import ArraySpec, write_store


@pytest.fixture(scope="module")
def scene():
    """Features and classes of 2,000 pixels of a landscape in which near things are alike."""
    rng = np.random.default_rng(0)
    fields = np.stack([gaussian_filter(rng.normal(size=(200, 200)), 8) for _ in range(6)])
    fields /= fields.std(axis=(1, 2), keepdims=True)
    row, col = rng.integers(0, 200, (2, 2000))
    features = fields[:, row, col].T + 0.05 * rng.normal(size=(2000, 6))
    label = np.digitize(fields[0, row, col], [-0.5, 0.5])
    table = pd.DataFrame({"x": 10.0 * col, "y": -10.0 * row, "label": label})
    return features, table


def reports_of(scene, **options):
    features, table = scene
    found = {}
    for kind, extra in {"random": {}, "block": {"block_m": 400}}.items():
        split = splits.assign(table, kind, seed=1, **extra)
        found[kind] = leakage(features, table.assign(split=split), **options)
    return found


def test_a_random_split_of_a_scene_leaks_and_a_block_split_less(scene):
    reports = reports_of(scene)
    random, block = (reports[kind].summary() for kind in ("random", "block"))
    assert random["distance"] < block["distance"] / 1.3
    assert random["map_distance_m"] < block["map_distance_m"] / 2
    assert random["relative_distance"] == pytest.approx(1, abs=0.1)
    assert block["relative_distance"] > 1.3
    assert random["nearest_neighbour_accuracy"] > block["nearest_neighbour_accuracy"] + 0.05
    assert random["nearest_neighbour_accuracy"] > random["majority_accuracy"] + 0.2
    assert reports["random"].grade == "next to training ground"
    assert "as like training samples as these are like each other" in reports["random"].verdict
    assert "times as far" in reports["block"].verdict


def test_new_dates_of_known_ground_are_not_called_new_data(scene):
    """Regression: test samples 0 m from training samples were "about new data", as their season differed."""
    features, table = scene
    later = features + 3
    table = pd.concat([table.assign(split="train"), table.assign(split="test")], ignore_index=True)
    verdict = leakage(np.concatenate([features, later]), table).verdict
    assert "the nearest one is 0 m away in the median" in verdict
    assert "so a score on them is of ground that training has seen in other images" in verdict
    assert "new data" not in verdict


@pytest.mark.parametrize(
    ("metres", "n_shared", "grade", "said"),
    [
        (40, 97, "in the same polygons as training samples", "how well known polygons are filled in"),
        (40, 3, "next to training ground", "of ground beside the training ground"),
        (
            400,
            80,
            "apart from training samples, but in the same polygons",
            "of known polygons, about that far",
        ),
        (400, 0, "on ground of their own", "of places about that far away"),
    ],
)
def test_the_verdict_is_graded_by_the_distance_and_the_shared_polygons(metres, n_shared, grade, said):
    """Regression: a score 40 m from training samples, 97 % in their polygons, was "about new data"."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 4))
    table = pd.DataFrame({"x": 10.0 * np.arange(200), "y": 0.0, "label": rng.integers(0, 2, 200)})
    table["split"] = ["train"] * 100 + ["test"] * 100
    table.loc[100:, "x"], table.loc[100:, "y"] = table["x"][:100].to_numpy(), metres
    features[100:] += 2  # another season: less like training samples than these are like each other
    table["polygon"] = [0] * 100 + [0] * n_shared + [1] * (100 - n_shared)
    report = leakage(features, table, polygon="polygon", apart_m=92)
    assert report.grade == grade
    assert (report.facts["map_distance_m"], report.facts["shared_polygons"]) == (metres, n_shared / 100)
    assert report.samples["shared_polygon"].sum() == n_shared
    share = f"(nearer than 92 m for {report.facts['near']:.0%}), and {n_shared}% share a polygon"
    assert f"{metres} m away in the median, {metres} m at least {share}" in report.verdict
    assert said in report.verdict
    assert "new" not in report.verdict
    alone = leakage(features, table)  # training places are 10 m apart: from 20 m on it is other ground
    assert alone.facts["apart_m"] == 20
    assert "shared_polygons" not in alone.facts


def test_blocks_that_border_on_training_ground_are_not_on_ground_of_their_own():
    """Regression: blocks of 1 km, of which one side touches training ground and the other lies far away."""
    side = np.arange(0, 1000, 10.0)
    table = pd.DataFrame({"x": np.concatenate([-side, side + 10]), "y": 0.0, "label": [0, 1] * 100})
    table["split"] = np.repeat(["train", "test"], 100)
    features = np.random.default_rng(0).normal(size=(200, 2))
    report = leakage(features, table, apart_m=200)
    assert report.facts["map_distance_m"] > 500
    assert report.facts["near"] == pytest.approx(0.19)  # 10 to 190 m
    assert report.grade == "next to training ground"
    far = table.assign(x=table["x"] + 150 * (table["split"] == "test"))
    assert leakage(features, far, apart_m=200).grade == "on ground of their own"  # 4 % at 160 to 190 m


def test_places_with_several_samples_count_once_for_the_distance_that_counts():
    """Samples of two dates at a place are 0 m apart, which would make every other place ground of its own."""
    table = pd.DataFrame({"x": np.repeat(10.0 * np.arange(50), 2), "y": 0.0, "label": [0, 1] * 50})
    table["split"] = ["train"] * 80 + ["test"] * 20
    assert leakage(np.random.default_rng(0).normal(size=(100, 2)), table).facts["apart_m"] == 20


def test_scores_by_distance_on_the_ground_are_in_order(scene):
    features, table = scene
    report = leakage(features, table.assign(split=splits.by_block(table, 400, seed=1)))
    bins = report.table("map_distance_m")
    assert bins["map_distance_m"].is_monotonic_increasing
    order = np.argsort(report.samples["map_distance_m"].to_numpy(), kind="stable")
    number = np.arange(len(order)) * 5 // len(order)
    score = report.samples["score"].to_numpy()[order]
    np.testing.assert_allclose(bins["score"], [score[number == one].mean() for one in range(5)])


def test_degrees_are_no_metres_on_the_ground(scene):
    """Regression: "0 m from the nearest one on the ground" of samples that lay kilometres apart."""
    features, table = scene
    table = table.assign(x=14 + table["x"] / 1e5, y=46 + table["y"] / 1e5, split=splits.random(table))
    with pytest.raises(ParameterError, match=r"look like degrees, .*ground\.positions_m"):
        leakage(features, table)


def test_distances_and_scores_equal_those_found_by_brute_force(scene):
    features, table = scene
    split = splits.random(table, seed=2)
    report = leakage(features, table.assign(split=split))
    train, test = np.flatnonzero(split == "train"), np.flatnonzero(split == "test")
    scaled = (features - features[train].mean(0)) / features[train].std(0)
    between = cdist(scaled[test], scaled[train]) / np.sqrt(6)
    place = table[["x", "y"]].to_numpy()
    np.testing.assert_allclose(report.samples["distance"], between.min(1), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(report.samples["map_distance_m"], cdist(place[test], place[train]).min(1))
    label = table["label"].to_numpy()
    right = label[train[between.argmin(1)]] == label[test]
    assert report.summary()["nearest_neighbour_accuracy"] == pytest.approx(right.mean())
    majority = np.bincount(label[train]).argmax()
    assert report.summary()["majority_accuracy"] == pytest.approx((label[test] == majority).mean())
    assert report.samples.index.equals(table.index[test])


def test_a_score_that_comes_from_likeness_is_seen_to_fall_with_distance(scene):
    features, table = scene
    table = table.assign(split=splits.random(table, seed=2))
    distance = leakage(features, table).samples["distance"]
    memory = leakage(features, table, correct=distance < distance.median())
    assert memory.summary()["auc"] == pytest.approx(1)
    assert memory.table()["score"].iloc[[0, 1, 3, 4]].tolist() == [1, 1, 0, 0]
    rng = np.random.default_rng(0)
    skill = leakage(features, table, correct=rng.random(len(distance)) < 0.8)
    assert skill.summary()["auc"] == pytest.approx(0.5, abs=0.07)
    assert skill.summary()["score"] == pytest.approx(0.8, abs=0.05)


def test_the_table_has_equal_bins_in_order_of_likeness(scene):
    table = reports_of(scene)["random"].table()
    assert table["bin"].tolist() == [1, 2, 3, 4, 5]
    assert np.ptp(table["count"]) <= 1
    assert table["distance"].is_monotonic_increasing
    counts = table["count"].tolist()
    for row in table.itertuples():
        interval = binomtest(round(row.score * counts[row.Index]), counts[row.Index]).proportion_ci(
            method="wilson"
        )
        assert (row.low, row.high) == pytest.approx((interval.low, interval.high), abs=1e-4)
    assert table["score"].equals(table["nearest_neighbour"].rename("score"))


def test_copies_of_training_samples_are_counted():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(100, 4))
    features[90:] = features[:10]
    table = pd.DataFrame({"label": rng.integers(0, 2, 100), "split": ["train"] * 80 + ["test"] * 20})
    facts = leakage(features, table).summary()
    assert facts["duplicates"] == 0.5
    assert np.isnan(facts["map_distance_m"])


def test_the_cap_draws_the_same_samples_each_time(scene):
    features, table = scene
    table = table.assign(split=splits.random(table))
    first, again = (leakage(features, table, cap=100, seed=5) for _ in range(2))
    assert first.summary() == again.summary()
    assert (first.summary()["train"], first.summary()["test"]) == (100, 100)
    assert first.summary()["distance"] > leakage(features, table).summary()["distance"]


def store_of(folder, table, **arrays):
    """Write a store of arrays by name, each with its dims."""
    specs = {name: ArraySpec(dims, data.shape[1:], data.dtype) for name, (dims, data) in arrays.items()}
    specs["image"] = replace(specs["image"], nan="allow")
    data = {name: data for name, (_, data) in arrays.items()}
    return write_store(folder, table, specs, [slice(0, len(table))], lambda rows: data, {}, progress=False)


def test_a_store_is_read_without_what_was_not_observed(scene, tmp_path):
    features, table = scene
    table = table.assign(split=splits.random(table))
    image = features.reshape(-1, 3, 2).astype(np.float32)
    valid = np.random.default_rng(0).random((2000, 3)) < 0.7

    noisy = np.where(valid[..., None], image, 1e6).astype(np.float32)
    store = store_of(tmp_path / "s", table, image=(("time", "band"), noisy), valid=(("time",), valid))
    found, expected = leakage(store), leakage(np.where(valid[..., None], image, np.nan), table)
    assert found.summary() == expected.summary()


def test_patches_are_compared_by_mean_and_spread(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.normal(size=(60, 8, 8, 2)).astype(np.float32)
    image[3, 0, 0] = np.nan
    table = pd.DataFrame({"label": rng.integers(0, 2, 60), "split": ["train"] * 40 + ["test"] * 20})
    store = store_of(tmp_path / "s", table, image=(("y", "x", "band"), image))
    features = np.concatenate([np.nanmean(image, (1, 2)), np.nanstd(image, (1, 2))], axis=1)
    expected = leakage(features, table).samples["distance"]
    np.testing.assert_allclose(leakage(store).samples["distance"], expected, rtol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "splt"}, "did you mean 'split'"),
        ({"part": "holdout"}, "0 samples of 'holdout'"),
        ({"correct": np.ones(3)}, "correct has shape"),
        ({"label": "species"}, "no column 'species'"),
    ],
)
def test_bad_input_ends_in_a_sentence(scene, options, message):
    features, table = scene
    with pytest.raises(ParameterError, match=message):
        leakage(features, table.assign(split=splits.random(table)), **options)
    with pytest.raises(ParameterError, match="give the sample table"):
        leakage(features)
