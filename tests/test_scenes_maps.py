"""Pixels from a classifier of patches: rules, reference maps by name, products."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from sklearn.metrics import accuracy_score, f1_score, jaccard_score

from eolab import evaluation
from eolab.core.errors import DataError, ParameterError
from eolab.data import catalog, store
from eolab.data.layouts import bigearthnet_v1, bigearthnet_v2
from eolab.data.schemes import IGNORE
from eolab.data.schemes.bigearthnet import class_set
from eolab.evaluation import metrics
from eolab.models.output_grid import OutputGrid, to_pixels
from eolab.studies.scenes import maps, samples
from eolab.synthetic import bigearthnet

pytestmark = pytest.mark.slow

COUNT = 48


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    """A store of version 1, and the index of version 2 of the same patches."""
    root = tmp_path_factory.mktemp("twins")
    for version in (1, 2):
        folder = root / str(version)
        bigearthnet.write(folder, version=version, patches=COUNT, radar=False, faults=0, progress=False)
    table = samples.sample_table(bigearthnet_v1.index(root / "1", progress=False), root / "1")
    entry = SimpleNamespace(name="twin", origin={})
    written = store.write_store(
        root / "store",
        table,
        samples.store_arrays("19"),
        "part",
        produce=samples.sample_producer(root / "1"),
        fingerprint={},
        metadata=samples.store_metadata(entry, "nearest"),
        progress=False,
    )
    return written, bigearthnet_v2.index(root / "2", progress=False)


# === Rules ===


def test_rules_on_an_example_by_hand():
    pixels = np.array([[[[0.6, 0.3, 0.1], [0.2, 0.3, 0.9]]]])  # one patch of 1 × 2 pixels, three labels
    patch, limits = np.array([[0.5, 0.4, 0.7]]), np.array([0.6, 0.3, 0.8])
    truth = np.array([[0, 1, 0]])
    found = maps.pixel_classes(pixels, patch, limits, truth, majority=1)
    assert found["majority"].tolist() == [[[1, 1]]]
    assert found["likeliest label everywhere"].tolist() == [[[2, 2]]]
    assert found["dense"].tolist() == [[[0, 2]]]
    # Predicted are label 1, above its threshold, and 2, the likeliest one, though below its threshold.
    assert found["dense, predicted labels"].tolist() == [[[1, 2]]]
    assert found["dense, true labels"].tolist() == [[[1, 1]]]
    assert all(one.dtype == np.uint8 for one in found.values())


def test_a_patch_without_a_true_label_has_the_predicted_labels():
    pixels = np.array([[[[0.6, 0.3]]]])
    found = maps.pixel_classes(pixels, np.array([[0.1, 0.9]]), np.array([0.5, 0.5]), np.array([[0, 0]]), 0)
    assert found["dense, true labels"].tolist() == [[[1]]]


def test_most_frequent_class_leaves_unknown_pixels_out():
    assert maps.most_frequent(np.array([[IGNORE, IGNORE, IGNORE], [2, 2, 0]], np.uint8)) == 2
    with pytest.raises(DataError, match="has a class"):
        maps.most_frequent(np.full((2, 2), IGNORE, np.uint8))


def test_example_maps_show_new_classes_first():
    one = np.array([[0, 0], [1, 1]], np.uint8)
    same = one.copy()
    other = np.array([[2, 2], [2, IGNORE]], np.uint8)
    assert maps.examples(np.stack([one, same, other]), 2).tolist() == [0, 2]
    assert len(maps.examples(np.stack([one, same]), 5)) == 2


# === Reference maps ===


def test_reference_maps_are_found_by_names_of_version_1(twins):
    samples_, patches = twins
    references = maps.References(samples_, patches, class_set("19"))
    rows = np.arange(len(samples_))
    known = references.available(rows)
    assert len(known) >= COUNT // 2
    read = references.read(known)
    labels = samples_.gather(known, ["label"])["label"]
    for found, label in zip(read, labels, strict=True):  # the classes of the map are the labels of the patch
        assert set(np.unique(found[found != IGNORE])) == set(np.flatnonzero(label))
    assert len(references.available(rows, max_samples=5)) == 5


def test_patches_that_version_2_lacks_are_left_out_and_none_at_all_is_named(twins):
    samples_, patches = twins
    rows = np.arange(len(samples_))
    held = patches[patches["v1"] == samples_.table["patch"].iloc[3]]
    assert maps.References(samples_, held, class_set("19")).available(rows).tolist() == [3]
    with pytest.raises(DataError, match="copy of version 2"):
        maps.References(samples_, patches.assign(reference=""), class_set("19")).available(rows)


def test_matrices_in_parts_are_those_of_scikit_learn(twins, monkeypatch):
    monkeypatch.setattr(maps, "BATCH", 7)
    samples_, patches = twins
    references = maps.References(samples_, patches, class_set("19"))
    rows, places = references.available(np.arange(len(samples_))), OutputGrid(stride=40, first=0, last=39)
    rng = np.random.default_rng(0)
    grid = {row: rng.random((3, 3, 19)).astype(np.float32) for row in rows}
    queue = list(rows)

    def predict(inputs):
        return np.stack([grid[queue.pop(0)] for _ in inputs["image"]])

    patch, limits = rng.random((len(rows), 19)), np.full(19, 0.5)
    found = maps.rule_matrices(predict, places, samples_, rows, references, patch, limits, majority=4)
    truth = references.read(rows)
    dense = np.stack([to_pixels(grid[row], places, 120, 120).astype(np.float16) for row in rows]).argmax(-1)
    kept = truth != IGNORE
    tiles = samples_.table["tile"].to_numpy()[rows]
    names = class_set("19").scheme.names
    scores = evaluation.score_table(found, class_names=names, groups=tiles, replicates=100)
    own = scores[scores["model"] == "dense"]
    own = dict(zip(own["scope"] + "." + own["statistic"], own["value"], strict=True))
    assert own["all.accuracy"] == pytest.approx(accuracy_score(truth[kept], dense[kept]))
    present = np.unique(truth[kept])
    settings = {"labels": present, "average": "macro", "zero_division": 0}
    assert own["macro.f1"] == pytest.approx(f1_score(truth[kept], dense[kept], **settings))
    assert own["macro.iou"] == pytest.approx(jaccard_score(truth[kept], dense[kept], **settings))
    assert (found["majority"].sum(axis=(0, 1)) > 0).nonzero()[0].tolist() == [4]
    assert (scores["low"] <= scores["high"]).all()


def test_map_scores_tell_baselines():
    matrices = {"a": np.array([np.eye(2, dtype=int) * 5] * 3), "b": np.array([np.ones((2, 2), int)] * 3)}
    settings = {"class_names": ["x", "y"], "statistics": ["all.accuracy"], "replicates": 100}
    scores = evaluation.score_table(matrices, baselines=["b"], **settings)
    assert scores.set_index("model")["value"].to_dict() == {"a": 1, "b": 0.5}
    assert scores.groupby("model")["is_baseline"].all().to_dict() == {"a": False, "b": True}
    assert (scores.loc[scores["model"] == "b", "n"] == 3).all()
    assert metrics.statistic_of(matrices["b"].sum(0), "all.accuracy") == 0.5


# === Products ===


def scene(values: np.ndarray, scl: np.ndarray | None = None) -> xr.Dataset:
    dataset = xr.Dataset({"reflectance": (("band", "y", "x"), values)}, coords={"band": list(maps.BANDS)})
    return dataset if scl is None else dataset.assign(scl=(("y", "x"), scl))


def test_a_window_has_digital_numbers_in_the_networks_order_and_gaps_and_clouds_are_nodata():
    values = np.full((12, 4, 5), 0.1, np.float32)
    values[:, 0, 0] = np.nan
    values[3] = 0.25
    scl = np.full((4, 5), 4, np.uint8)
    scl[2, 3] = 9
    read = maps.product_reader(scene(values, scl), ("B04", "B02"))
    found = read(0, 0, 4, 5)
    assert found["image"].shape == (4, 5, 2)
    assert found["image"][1, 1].tolist() == [2500, 1000]
    assert found["image"][0, 0].tolist() == [0, 0]
    assert np.argwhere(found["nodata"]).tolist() == [[0, 0], [2, 3]]
    assert maps.product_reader(scene(values))(2, 3, 1, 1)["nodata"].tolist() == [[False]]
    with pytest.raises(ParameterError, match="a Sentinel-2 product has none"):
        maps.product_reader(scene(values), with_radar=True)


def test_agreement_leaves_unknown_pixels_out():
    found = xr.DataArray(np.array([[1, 2], [IGNORE, 1]], np.uint8))
    known = xr.DataArray(np.array([[1, 1], [1, IGNORE]], np.uint8))
    table = maps.agreement(found, known)
    assert table["accuracy"].tolist() == [0.5, 1.0]
    assert table["pixels"].tolist() == [2, 2]


def test_other_layouts_and_days_are_refused_by_name(monkeypatch):
    entries = catalog.load()
    with pytest.raises(DataError, match=r"scenes_twin has the layout bigearthnet_v1"):
        maps.open_product(entries["scenes_twin"])
    days = np.array(["2020-06-01", "2020-06-11"], "datetime64[ns]")
    series = xr.Dataset(
        {
            "reflectance": (("time", "band", "y", "x"), np.zeros((2, 12, 2, 2), np.float32)),
            "scl": (("time", "y", "x"), np.array([[[9, 9], [4, 9]], [[4, 5], [6, 9]]], np.uint8)),
        },
        coords={"time": days, "band": list(maps.BANDS)},
    )
    entry = SimpleNamespace(name="products", layout="sentinel2_safe", open=lambda **options: series)
    assert str(maps.open_product(entry)["time"].values)[:10] == "2020-06-11"
    assert str(maps.open_product(entry, "2020-06-01")["time"].values)[:10] == "2020-06-01"
    with pytest.raises(ParameterError, match="2020-06-11"):
        maps.open_product(entry, "2020-06-12")


def test_corine_codes_become_classes_of_the_set():
    product = xr.Dataset({"corine": (("y", "x"), np.array([[111, 312], [0, 523]], np.uint16))})
    found = maps.corine_classes(product, class_set("level1"))
    assert found.to_numpy().tolist() == [[0, 2], [IGNORE, 4]]


def test_files_of_damaged_maps_are_named(twins, tmp_path):
    samples_, patches = twins
    row = patches.index[patches["v1"] == samples_.table["patch"].iloc[0]]
    broken = tmp_path / "broken_reference_map.tif"
    broken.write_bytes(b"II*\0 nothing")
    table: pd.DataFrame = patches.copy()
    table.loc[row, "reference"] = str(broken)
    references = maps.References(samples_, table, class_set("19"))
    with pytest.raises(DataError, match="broken_reference_map"):
        references.read(np.array([0]))
