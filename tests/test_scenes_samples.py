"""From BigEarthNet's files to the store: samples, splits, rows, resumption; labels in balance; projection."""

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import bigearthnet_example
import numpy as np
import pandas as pd
import pytest

from eolab import models, plots
from eolab.core.errors import DataError, ParameterError
from eolab.data import catalog, splits
from eolab.data.layouts import bigearthnet_v1, bigearthnet_v2
from eolab.data.layouts.bigearthnet import read_patch
from eolab.data.layouts.bigearthnet_folders import read_lists
from eolab.data.schemes import IGNORE
from eolab.data.schemes.bigearthnet import CLASSES_19, class_set, indices
from eolab.data.splits import balance, by_labels, multi_hot
from eolab.data.splits.balance import fraction
from eolab.data.splits.dealing import deal_labels
from eolab.data.store import ArraySpec, write_store
from eolab.runs import study
from eolab.studies import scenes
from eolab.synthetic import bigearthnet

pytestmark = pytest.mark.slow

PATCHES = 48
READERS = {1: bigearthnet_v1, 2: bigearthnet_v2}


@pytest.fixture(scope="session")
def roots(shared_twin):
    return {version: shared_twin(bigearthnet, version=version, patches=PATCHES) for version in (1, 2)}


@pytest.fixture(scope="module")
def indexes(roots):
    return {v: READERS[v].index(roots[v], progress=False) for v in (1, 2)}


@pytest.fixture(scope="module")
def checks(roots):
    return {v: READERS[v].check_layout(roots[v], progress=False) for v in (1, 2)}


@pytest.fixture(scope="module")
def table(roots, indexes, checks):
    return scenes.sample_table(indexes[2], roots[2], files=checks[2], with_radar=True, with_reference=True)


@pytest.fixture
def labels():
    rng = np.random.default_rng(0)
    chance = np.geomspace(0.004, 0.4, 19)
    return rng.random((3000, 19)) < chance


def store_of(folder, table, root, workers=1, **options):
    return write_store(
        folder, table, scenes.store_arrays(**options), "part", scenes.sample_producer(root, **options),
        {"data": str(root)}, progress=False, workers=workers,
    )  # fmt: skip


def test_every_patch_of_the_index_is_a_sample_or_counted(roots, indexes, checks):
    for version in (1, 2):
        found = scenes.sample_table(indexes[version], roots[version], files=checks[version])
        left_out = found.attrs["left_out"]
        assert len(found) + sum(left_out.values()) == len(indexes[version])
        assert left_out["with a damaged file"] == 1
        assert not found[["snow", "cloud"]].any(axis=None)
        assert (found["classes"] > 0).all()
        assert found["id"].tolist() == list(range(len(found)))
        assert all((roots[version] / name).is_dir() for name in [*found["s2"], *found["s1"]])
        assert set(found["published"]) == {"train", "validation", "test"}
        assert found["tile"].str.fullmatch(r"\d\d[A-Z]{3}").all()
        more = scenes.sample_table(indexes[version], roots[version], snow_and_clouds=True)
        assert more[["snow", "cloud"]].any(axis=None)


def test_samples_without_radar_or_map_are_left_out(roots, indexes):
    lacking = indexes[1].copy()
    lacking.loc[:4, "s1"] = ""
    kept = scenes.sample_table(lacking, roots[1], with_radar=True, snow_and_clouds=True)
    assert kept.attrs["left_out"]["without Sentinel-1"] == 5
    with pytest.raises(DataError, match="without a reference map"):
        scenes.sample_table(indexes[1], roots[1], with_reference=True, snow_and_clouds=True)


def test_official_split_is_the_published_one(table, indexes):
    split = scenes.samples.split_column(table)
    published = indexes[2].set_index("id")["split"]
    assert split.tolist() == published.loc[table["patch"]].tolist()


@pytest.mark.parametrize("kind", ["tile", "country"])
def test_whole_areas_are_held_out(table, kind):
    split = scenes.samples.split_column(table, kind, seed=3)
    assert len(set(zip(table[kind], split, strict=True))) == table[kind].nunique()
    assert {"train", "validation", "test"} == set(split)


def test_split_by_country_needs_version_2(roots, indexes):
    found = scenes.sample_table(indexes[1], roots[1])
    with pytest.raises(ParameterError, match="version 1"):
        scenes.samples.split_column(found, "country")
    assert set(scenes.samples.split_column(found, "tile")) == {"train", "validation", "test"}
    with pytest.raises(ParameterError, match="did you mean 'random'"):
        scenes.samples.split_column(found, "randon")


def test_a_store_holds_what_the_reader_reads(tmp_path, roots, indexes, table):
    store = store_of(tmp_path / "store", table, roots[2], with_radar=True, with_reference=True)
    place = indexes[2].set_index("id")
    for row in (0, len(table) - 1):
        patch = place.loc[table["patch"][row]]
        expected = read_patch(patch, with_radar=True, with_reference=True)
        held = store.gather(np.array([row]), ["image", "radar", "reference", "label"])
        assert held["image"].dtype == np.uint16
        np.testing.assert_array_equal(held["image"][0], expected["image"])
        np.testing.assert_array_equal(held["radar"][0], expected["radar"])
        np.testing.assert_array_equal(held["reference"][0], indices(expected["reference"], "19"))
        names = class_set("19").names_of(held["label"][0])
        assert sorted(names) == sorted(patch["labels"])
        present = set(np.unique(held["reference"][0])) - {IGNORE}
        assert present == set(np.flatnonzero(held["label"][0]))


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "cubic"])
def test_resampling_is_a_parameter(roots, indexes, table, resampling):
    rows = table.iloc[:2]
    image = scenes.sample_producer(roots[2], resampling)(rows)["image"]
    patch = indexes[2].set_index("id").loc[rows["patch"].iloc[0]]
    np.testing.assert_array_equal(image[0], read_patch(patch, resampling=resampling)["image"])


def test_native_has_no_store(roots):
    with pytest.raises(ParameterError, match="one pixel size"):
        scenes.sample_producer(roots[2], "native")


def test_workers_and_interruptions_change_nothing(tmp_path, roots, table):
    table = table.assign(part=[f"{row // 8:06d}" for row in range(len(table))])
    whole = store_of(tmp_path / "whole", table, roots[2], workers=2)
    produce, made = scenes.sample_producer(roots[2]), []

    def stops(rows):
        made.append(len(rows))
        if len(made) == 3:
            raise KeyboardInterrupt
        return produce(rows)

    arrays = scenes.store_arrays()
    arguments = (tmp_path / "resumed", table, arrays, "part")
    with pytest.raises(KeyboardInterrupt):
        write_store(*arguments, stops, {"data": str(roots[2])}, progress=False)
    made.clear()

    def counts(rows):
        made.append(len(rows))
        return produce(rows)

    resumed = write_store(*arguments, counts, {"data": str(roots[2])}, progress=False)
    assert len(made) == table["part"].nunique() - 2  # the first two were there
    for name in arrays:
        np.testing.assert_array_equal(whole.arrays[name], resumed.arrays[name])


def test_a_damaged_patch_stops_no_conversion_and_the_rest_is_kept_when_it_is_fetched_again(
    tmp_path, roots, indexes
):
    """The conversion ended at it, after hours; with the file mended all of it was done again."""
    name = json.loads((roots[1] / "twin.json").read_text())["spoilt"]["truncated_band"]
    others = indexes[1].query("id != @name").head(4)
    own = pd.concat([indexes[1].query("id == @name"), others], ignore_index=True)
    table = scenes.sample_table(own, roots[1], snow_and_clouds=True).assign(split="train")
    about = scenes.store_metadata(catalog.load()["scenes_twin"], "nearest")
    first = write_store(
        tmp_path / "first", table, scenes.store_arrays(), "part", scenes.sample_producer(roots[1]), {}, about
    )  # fmt: skip
    damaged = scenes.samples.leave_out_damaged(first, roots[1])
    assert damaged["patch"].tolist() == [name]
    assert f"{name}_B04.tif" in damaged["reason"].item()
    lost = first.table["patch"] == name
    assert first.table["split"].tolist() == ["none" if one else "train" for one in lost]
    rows = scenes.samples.split_rows
    with pytest.raises(DataError, match="validation and test"):
        rows(first)
    mended, new = write_v1_patch_again(tmp_path / "data", table, name)
    produce = scenes.sample_producer(mended, kept=first)  # holds the mended patch alone: no other is read
    again = write_store(tmp_path / "again", table, scenes.store_arrays(), "part", produce, {}, progress=False)
    assert scenes.samples.leave_out_damaged(again, mended).empty
    assert again.table["split"].eq("train").all()
    for row, here in enumerate(table["patch"]):
        expected = first.arrays["image"][row] if here != name else new
        np.testing.assert_array_equal(again.arrays["image"][row], expected)
    with pytest.raises(ParameterError, match="expected cubic"):
        scenes.sample_producer(mended, "cubic", kept=first)


def write_v1_patch_again(root, table, name):
    """A folder with this patch alone, and its pixels."""
    folder = root / table.set_index("patch").loc[name, "s2"]
    bigearthnet_example.write_images(folder)
    return root, read_patch(SimpleNamespace(s2=str(folder)))["image"]


def test_without_split_lists_the_split_is_refused_before_the_conversion(table):
    """Version 1 without its lists was converted for hours, and then ended in a KeyError."""
    bare = table.assign(published="none")
    with pytest.raises(
        ParameterError, match=r"none of \d+ patches for train and validation and test.*val\.csv"
    ):
        scenes.samples.split_column(bare)
    half = table.assign(published=table["published"].replace("validation", "none"))
    with pytest.raises(ParameterError, match="for validation: "):
        scenes.samples.split_column(half)
    assert set(scenes.samples.split_column(bare, "tile")) == {"train", "validation", "test"}
    with pytest.raises(ParameterError, match="for test: take more patches or larger shares"):
        scenes.samples.split_column(bare, "tile", test=0.0)


def test_every_test_patch_of_version_1_lies_in_a_training_image_and_nearly_all_touch_one(real_data):
    lists, _ = read_lists(real_data / "bigearthnet_v1_examples")
    listed = {part: lists[part]["s2"] for part in ("train", "test")}
    images = [one.str.rsplit("_", n=2).str[0] for one in listed.values()]
    few = sorted(set(images[1]))[:6]  # of hundreds
    split = pd.concat([one[image.isin(few)] for one, image in zip(listed.values(), images, strict=True)])
    split = pd.Series(np.repeat(["train", "test"], [i.isin(few).sum() for i in images]), index=split)
    found = scenes.samples.neighbours(pd.DataFrame({"id": split.index, "tile": ""}), split)
    assert found["test"] == (split == "test").sum() > 1000
    assert (found["in_image"], found["in_tile"]) == (1, 1)
    assert found["touching"] > 0.99


def test_neighbours_of_a_worked_example():
    train = ["S2A_MSIL2A_20170613T101031_5_5", "S2A_MSIL2A_20170613T101031_9_9"]
    test = [
        "S2A_MSIL2A_20170613T101031_6_6",  # by a corner
        "S2A_MSIL2A_20170613T101031_9_11",  # one between
        "S2B_MSIL2A_20180101T101031_5_5",  # the same place on another day
        "S2B_MSIL2A_20180101T101031_6_5",  # another tile
    ]
    day = "S2A_MSIL1C_20170613T101031_N0205_R022_T33UUP_20170613T101608.SAFE"
    other = "S2B_MSIL1C_20180101T101031_N0205_R022_T{}_20180101T101608.SAFE"
    tile = [day, day, day, day, other.format("33UUP"), other.format("33UUQ")]
    split = pd.Series(["train"] * 2 + ["test"] * 4, index=train + test)
    found = scenes.samples.neighbours(pd.DataFrame({"id": split.index, "tile": tile}), split)
    assert found == {"test": 4, "in_image": 0.5, "in_tile": 0.75, "touching": 0.25}


def test_the_gallery_passes_over_a_damaged_patch(tmp_path):
    """A twin of 40 patches drew its gallery from the damaged one and ended in a DataError."""
    root = bigearthnet_example.write_v1(tmp_path)
    index = bigearthnet_v1.index(root, progress=False)
    bigearthnet_example.cut(next((root / index.loc[0, "s2"]).glob("*_B04.tif")))
    rows, images = scenes.explore.examples(index, class_set("43"), 12)
    assert set(rows["id"]) == set(index["id"][1:])
    assert images["colour"].shape == (2, 120, 120, 3)
    assert images["radar"].shape == (2, 120, 120, 2)
    for row in (1, 2):
        bigearthnet_example.cut(next((root / index.loc[row, "s2"]).glob("*_B04.tif")))
    rows, images = scenes.explore.examples(index, class_set("43"), 12)
    assert (len(rows), images) == (0, {})


def test_a_damaged_reference_map_costs_its_patch_alone(tmp_path):
    root = bigearthnet_example.write_v2(tmp_path)
    index = bigearthnet_v2.index(root, progress=False)
    bigearthnet_example.cut(Path(index.loc[1, "reference"]))
    store = SimpleNamespace(table=pd.DataFrame({"patch": index["id"]}))
    references = scenes.maps.References(store, index, class_set("19"))
    assert references.available(np.arange(3)).tolist() == [0, 2]


def test_a_map_without_a_pixel_in_common_agrees_on_nothing():
    nowhere = np.full((4, 4), IGNORE, np.uint8)
    found = scenes.maps.agreement(nowhere, np.zeros((4, 4), np.uint8))
    assert found["pixels"].tolist() == [0, 0]
    assert found["accuracy"].isna().all()


def test_metadata_opens_with_names(tmp_path, roots, table):
    entry = catalog.load()["scenes_twin_v2"]
    metadata = scenes.store_metadata(entry, "nearest", with_radar=True)
    store = write_store(
        tmp_path / "store", table.iloc[:4], scenes.store_arrays(with_radar=True), [slice(0, 4)],
        scenes.sample_producer(roots[2], with_radar=True), {}, metadata, progress=False,
    )  # fmt: skip
    assert store.metadata["simulated"] is True
    assert store.metadata["coords"]["class"] == list(CLASSES_19.names)
    assert len(store.metadata["coords"]["band"]) == 12


def test_projection_is_a_rule_of_three():
    found = scenes.samples.projection(10.0, 3_500_000, 10).set_index("data")
    assert found.loc["version 1", "patches"] == 590_326
    assert found.loc["version 2", "patches"] == 549_488
    assert found.loc["version 2", "hours"] == pytest.approx(549_488 / 3600)
    assert found.loc["version 1", "gigabytes"] == pytest.approx(590_326 * 0.00035)
    assert (found["patches_per_s"] == 1).all()
    with pytest.raises(ParameterError, match="no measurement"):
        scenes.samples.projection(0, 0, 0)


def test_stratification_keeps_the_share_of_each_label(labels):
    shares = np.array([0.5, 0.3, 0.2])
    parts = deal_labels(labels, shares, seed=1)
    assert set(parts) == {0, 1, 2}
    np.testing.assert_allclose(np.bincount(parts) / len(labels), shares, atol=0.005)
    counts = np.stack([labels[parts == part].sum(axis=0) for part in range(3)])  # (part, label)
    np.testing.assert_allclose(counts, shares[:, None] * labels.sum(axis=0), atol=2.5)
    random = np.random.default_rng(1).choice(3, len(labels), p=shares)
    drawn = np.stack([labels[random == part].sum(axis=0) for part in range(3)])
    wanted = shares[:, None] * labels.sum(axis=0)
    assert np.abs(counts - wanted).mean() < 0.2 * np.abs(drawn - wanted).mean()


def test_stratification_of_a_worked_example():
    # The rarest label first: its two samples go to different halves; then those of the next label.
    labels = np.array([[1, 1], [1, 0], [0, 1], [0, 1]])
    for seed in range(5):
        parts = deal_labels(labels, [0.5, 0.5], seed)
        assert parts[0] != parts[1]  # label 0: one each
        assert np.bincount(parts).tolist() == [2, 2]
        assert sorted(labels[parts == part, 1].sum() for part in (0, 1)) == [1, 2]


def test_samples_without_a_label_are_dealt_out_too():
    parts = deal_labels(np.zeros((10, 3)), [0.8, 0.2])
    assert np.bincount(parts).tolist() == [8, 2]


def test_a_tenth_holds_a_tenth_of_each_label(labels):
    rows = np.arange(500, 3000)
    chosen = fraction(labels, rows, 0.1, seed=2)
    assert len(chosen) == pytest.approx(250, abs=2)
    assert set(chosen) <= set(rows)
    np.testing.assert_allclose(labels[chosen].sum(axis=0), labels[rows].sum(axis=0) / 10, atol=2.5)
    assert chosen.tolist() == fraction(labels, rows, 0.1, seed=2).tolist()
    assert chosen.tolist() != fraction(labels, rows, 0.1, seed=3).tolist()
    assert fraction(labels, rows, 1.0).tolist() == rows.tolist()
    with pytest.raises(ParameterError, match="share is 0"):
        fraction(labels, rows, 0)


def test_a_tenth_of_the_real_training_patches(real_data):
    file = real_data / "bigearthnet_v2_metadata/metadata.parquet"
    table = pd.read_parquet(file, columns=["labels"], filters=[("split", "==", "train")])
    held = class_set("19").encode_all(table["labels"])
    chosen = fraction(held, np.arange(len(held)), 0.1)
    assert len(chosen) == pytest.approx(23_787, rel=0.002)
    np.testing.assert_allclose(held[chosen].sum(axis=0), held.sum(axis=0) / 10, atol=1)


def test_split_by_labels_reads_text_and_sequences():
    rng = np.random.default_rng(0)
    sets = [tuple(np.array(["Pastures", "Rice fields", "Beaches, dunes, sands"])[rng.random(3) < 0.5])
            for _ in range(200)]  # fmt: skip
    text = pd.DataFrame({"labels": ["; ".join(each) for each in sets]})
    assert multi_hot(text["labels"]).tolist() == multi_hot(sets).tolist()
    split = by_labels(text, validation=0.25, test=0.25)
    assert Counter(split) == {"train": 100, "validation": 50, "test": 50}
    assert split.tolist() == splits.assign(text, "labels", validation=0.25, test=0.25).tolist()


def test_balanced_rows_are_exact(labels):
    rows = np.arange(0, 3000, 2)
    drawn = balance.balanced_rows(labels, rows, seed=4)
    assert len(drawn) == len(rows)
    assert set(drawn) <= set(rows)
    frequency = labels[rows].mean(axis=0)
    rarest = np.where(labels[rows], frequency, 1.0).min(axis=1)
    expected = rarest**-0.5 / (rarest**-0.5).sum() * len(rows)
    times = np.array([np.sum(drawn == row) for row in rows])
    assert (np.abs(times - expected) < 1).all()  # rounded down or up, never more
    assert labels[drawn].mean(axis=0)[0] > 2 * frequency[0]
    again = balance.balanced_rows(labels, rows, seed=4)
    assert drawn.tolist() == again.tolist()
    assert balance.balanced_rows(np.ones((3000, 1)), rows).tolist() == rows.tolist()  # all alike
    with pytest.raises(ParameterError, match="needs rows"):
        balance.balanced_rows(labels, rows[:0])


def test_weights_make_both_sides_alike(labels):
    weights, count = balance.positive_weights(labels), labels.sum(axis=0)
    np.testing.assert_allclose(weights**2 * count, len(labels) - count, rtol=1e-6)
    rare = np.arange(1000)[:, None] == [0, 1]
    assert balance.positive_weights(np.hstack([rare, ~rare])).tolist() == pytest.approx([20, 20, 0.05, 0.05])
    assert balance.positive_weights(np.zeros((4, 2))).tolist() == [1, 1]


def test_frequencies_are_counted_by_split(labels):
    split = np.where(np.arange(len(labels)) % 3 == 0, "test", "train")
    found = scenes.explore.class_frequencies(labels, CLASSES_19, split)
    assert found["patches"].is_monotonic_decreasing
    assert (found["train"] + found["test"]).tolist() == found["patches"].tolist()
    assert found["share"].to_numpy() == pytest.approx(np.sort(labels.mean(axis=0))[::-1])


def test_classes_of_few_training_patches_do_not_count(tmp_path):
    rng = np.random.default_rng(0)
    label = np.zeros((40, 3), np.uint8)
    label[:, 0], label[:5, 1], label[30:, 2] = 1, 1, 1  # class 2 is only in patches that are tested on
    split = ["train"] * 25 + ["validation"] * 5 + ["test"] * 10
    table = pd.DataFrame({"id": range(40), "part": "0", "split": split})
    arrays = {
        "image": ArraySpec(("y", "x", "band"), (2, 2, 1), "uint16", {}),
        "label": ArraySpec(("class",), (3,), "uint8", {}),
    }

    def produce(rows):
        image = rng.integers(0, 9, (len(rows), 2, 2, 1)).astype(np.uint16)
        return {"image": image, "label": label[rows["id"]]}

    written = write_store(
        tmp_path / "store", table, arrays, "part", produce=produce, fingerprint={}, progress=False
    )
    assert scenes.samples.counted_classes(written, 5).tolist() == [True, True, False]
    assert scenes.samples.counted_classes(written, 6).tolist() == [True, False, False]
    assert scenes.samples.counted_classes(written, 0).all()
    with pytest.raises(ParameterError, match=r"lower reporting\.min_count"):
        scenes.samples.counted_classes(written, 26)


def test_classes_of_a_table_without_a_split_are_drawn_without_it():
    """The cell after a conversion without validation patches ended in a KeyError."""
    split = pd.Series(["train", "train", "test"])
    table = scenes.explore.class_frequencies(np.eye(3, 19, dtype="u1"), class_set("19").scheme, split)
    sizes = {name: int((split == name).sum()) for name in ("train", "validation", "test")}
    figure = plots.split_frequencies(table, sizes)
    assert len(figure.axes[0].get_legend().get_texts()) == 2


def test_the_notebook_allows_every_network_of_labels():
    """An unknown network is refused before the conversion, which takes hours."""
    declared = {one.name: one for one in study.load("scenes").notebooks["03_train_labels"].parameters}
    choices = set(declared["model"].choices)
    assert choices <= set(models.names("images", "labels"))
    assert len(choices) == 28  # a network of one's own is added there


def test_few_test_patches_are_shared_by_the_three_kinds_of_examples():
    """Regression: of four patches all were the best, and the empty figure of the worst ended the training."""
    truth = np.eye(4, dtype=int)[:, :2]
    for n_patches, sizes in ((12, [4, 4, 4]), (4, [1, 1, 1]), (1, [1, 1, 1])):
        some = np.resize(truth, (n_patches, 2))
        found = scenes.explore.example_predictions(some, some * 0.8 + 0.1, 0.5)
        assert [len(found[kind]) for kind in ("best", "worst", "confusing")] == sizes
