"""The scenes study as a user runs it: every notebook through papermill, on the twin.

What the notebooks wrote is checked, never what their cells printed.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import study_runs

from eolab import evaluation, models, runs
from eolab.studies import scenes

ROOT = Path(__file__).resolve().parents[1]
STUDY = ROOT / "notebooks" / "scenes"
CHAIN = tuple(runs.study.load("scenes").notebooks)
SWEEPS = runs.study.load("scenes").sweeps
TRAIN = "03_train_labels"
BASELINES = ("majority", "image_statistics", "random_convolutions")

only_run = functools.partial(study_runs.only_run, "scenes")


@pytest.fixture(scope="session")
def simulated(smoke) -> Path:
    return smoke("scenes")


def estimates(table: pd.DataFrame, statistic: str) -> pd.Series:
    return evaluation.pick(table, statistic).set_index("model")["value"]


def labels(folder: Path, split: str) -> np.ndarray:
    table = pd.read_parquet(folder / "store" / "samples.parquet")
    return np.load(folder / "store" / "label.npy")[(table["split"] == split).to_numpy()]


# === The study's file ===


def test_every_notebook_of_the_folder_is_in_the_study():
    assert set(CHAIN) == {path.stem for path in STUDY.glob("*.ipynb")}


def test_sweeps_vary_what_the_study_asks_for():
    asked = {"models", "bands", "augmentation", "schedules", "class_sets", "fractions"}
    assert asked <= set(SWEEPS)
    assert {point["model"] for point in SWEEPS["models"].points} <= set(models.names("images", "labels"))
    bands = {tuple(point["bands"]) for point in SWEEPS["bands"].points}
    assert bands == {("B04", "B03", "B02"), ("B02", "B03", "B04", "B08"), ()}
    assert "three_branch_cnn" in {point.get("model") for point in SWEEPS["bands"].points}
    assert {"level1", "level2"} <= {point["classes"] for point in SWEEPS["class_sets"].points}


def test_the_published_profile_has_the_settings_of_cavallaro_et_al():
    profile = runs.study.load("scenes").profiles["published"]
    chosen = profile[TRAIN]
    assert (chosen["training.epochs"], profile["02_preprocess"]["fraction"]) == (50, 0.1)
    assert profile["02_preprocess"]["classes"] == "43"
    assert "mixup" in chosen["augmentation"]
    assert chosen["options"]["dropout"] > 0
    assert chosen["options"]["l2"] > 0


def test_a_user_of_version_1_alone_goes_on_without_reference_maps(monkeypatch):
    """Regression: 04_to_segmentation stopped where version 2 is not there, and nobody reached the results."""
    monkeypatch.delenv("EOLAB_BIGEARTHNET_V2", raising=False)
    cells = json.loads((STUDY / "04_to_segmentation.ipynb").read_text())["cells"]
    (code,) = ("".join(cell["source"]) for cell in cells if "References(" in "".join(cell["source"]))
    samples = SimpleNamespace(metadata={"coords": {"band": scenes.maps.BANDS}, "simulated": False})
    assert scenes.maps.like_samples("bigearthnet_v2", samples) is not None
    found = {"scenes": scenes, "samples": samples, "maps": "bigearthnet_v2", "max_samples": 0}
    found["rows"] = {"train": np.arange(3), "test": np.arange(2)}
    exec(code, found)
    assert (found["references"], found["n_maps"]) == (None, 0)
    results = (STUDY / "05_results.ipynb").read_text()
    assert 'if mapping_run.metrics[\\"maps\\"]' in results


# === On simulated data ===


@pytest.mark.notebook
@pytest.mark.parametrize("notebook", CHAIN)
def test_smoke_run_is_complete_and_says_that_it_is_simulated(simulated, notebook):
    study_runs.check_complete("scenes", simulated, notebook)


@pytest.mark.notebook
def test_figures_are_there_captioned_and_not_blank(simulated):
    study_runs.check_figures("scenes", simulated, CHAIN, 17)


@pytest.mark.notebook
def test_neither_frequencies_nor_image_statistics_beat_the_resnet_in_macro_average_precision(simulated):
    record = only_run(simulated, TRAIN)
    found = estimates(record.table("scores"), "macro.average_precision")
    assert set(found.index) == {"resnet18_patch", *BASELINES}
    gains = record.table("gains").set_index("model")
    # untrained filters may win: the test patches of this split lie beside those that they compare with
    assert (gains["high"].drop("random_convolutions") > 0).all()
    assert gains.loc["majority", "low"] > 0
    for name in BASELINES:
        assert gains.loc[name, "value"] == pytest.approx(found["resnet18_patch"] - found[name])
    learned = (
        labels(only_run(simulated, "02_preprocess").folder, "train").sum(axis=0)
        >= record.params["reporting"]["min_count"]
    )
    assert record.metrics["classes"] == learned.sum() >= 12


@pytest.mark.notebook
def test_the_splits_are_the_published_ones_and_say_that_they_divide_images(simulated):
    prepared = only_run(simulated, "02_preprocess")
    table = pd.read_parquet(prepared.folder / "store" / "samples.parquet")
    (near,) = prepared.table("neighbours").to_dict("records")
    assert near == {"split": "official"} | prepared.metrics["neighbours"]
    assert near["test"] == (table["split"] == "test").sum()
    assert near["in_image"] > 0.95
    assert near["touching"] > 0.4
    (beside,) = only_run(simulated, "05_results").table("neighbours").to_dict("records")
    assert beside == near
    assert (table["split"].astype(str) == table["published"]).all()
    assert not table[["snow", "cloud"]].to_numpy().any()


@pytest.mark.notebook
def test_spoilt_patches_are_named_and_the_rest_goes_on(simulated):
    explored, stored = (only_run(simulated, name) for name in ("01_explore", "02_preprocess"))
    reasons = " ".join(explored.table("rejected")["reason"])
    for text in ("damaged", "no folder", "no class name", "has no B8A", "no labels"):
        assert text in reasons
    assert explored.metrics["rejected"] == 5
    left_out = stored.table("left_out").set_index("reason")["patches"]
    assert left_out["with a damaged file"] == 1
    assert stored.metrics["patches"] + left_out.sum() == explored.metrics["patches"]


@pytest.mark.notebook
def test_counts_stand_beside_the_published_ones(simulated):
    facts = only_run(simulated, "01_explore").table("facts").set_index("fact")
    assert facts.loc["patches", ["version 1", "version 2"]].tolist() == [590_326, 549_488]
    lists = ["listed to train on", "listed for validation", "listed for the test"]
    assert facts.loc[lists, "version 1"].sum() == 519_284
    assert facts.loc[lists, "version 2"].sum() == 480_038
    assert facts["here"].notna().all()


@pytest.mark.notebook
def test_the_projection_is_of_both_published_versions(simulated):
    table = only_run(simulated, "02_preprocess").table("projection").set_index("data")
    assert table["patches"].tolist() == [590_326, 549_488]
    hours = table["patches"] / table["patches_per_s"] / 3600
    np.testing.assert_allclose(table["hours"], hours)
    pixels = 120 * 120 * 12 * 2 + 19  # bytes of a patch and its labels
    np.testing.assert_allclose(table["gigabytes"], table["patches"] * pixels / 1e9, rtol=1e-6)


@pytest.mark.notebook
def test_scores_are_those_of_the_probabilities(simulated):
    """The scores of the table, computed again with scikit-learn."""
    record, store = only_run(simulated, TRAIN), only_run(simulated, "02_preprocess").folder
    truth = labels(store, "test")
    probability = np.load(record.folder / "probabilities" / "test_labels.npy")
    predicted = probability >= np.array(record.metrics["thresholds"])
    counted = labels(store, "train").sum(axis=0) >= record.params["reporting"]["min_count"]
    every = record.metrics["all_classes"]
    for columns, found in ((counted, record.metrics), (np.full(len(counted), True), every)):
        compare_scores(truth[:, columns], predicted[:, columns], probability[:, columns], found["test"])


def compare_scores(truth, predicted, probability, found) -> None:
    from sklearn.metrics import average_precision_score, f1_score

    present = truth.any(axis=0)
    for average, name in (("micro", "micro"), ("macro", "macro"), ("samples", "sample")):
        columns = present if average == "macro" else slice(None)
        expected = f1_score(truth[:, columns], predicted[:, columns], average=average, zero_division=0)
        assert found[name]["f1"] == pytest.approx(expected)
    expected = average_precision_score(truth[:, present], probability[:, present], average="macro")
    assert found["macro"]["average_precision"] == pytest.approx(expected)


@pytest.mark.notebook
def test_the_dense_map_beats_maps_that_know_no_places(simulated):
    record = only_run(simulated, "04_to_segmentation")
    assert record.metrics["difference"] < 1e-5
    for statistic in ("all.accuracy", "macro.f1", "macro.iou"):
        scores = estimates(record.table("pixel_scores"), statistic)
        for other in ("majority", "likeliest label everywhere"):
            assert scores["dense"] > scores[other]
    assert record.metrics["maps"] > 100


@pytest.mark.notebook
def test_the_product_is_mapped_with_names_colours_and_gaps(simulated):
    import rasterio

    record = only_run(simulated, "04_to_segmentation")
    with rasterio.open(record.folder / "land_cover.tif") as file:
        classes, share = file.read()
        assert file.tags()["simulated"] == "true"
        assert file.crs.to_epsg() == 32631
        assert file.colormap(1)
    assert set(np.unique(classes)) <= {*range(19), 255}
    assert (share[classes != 255] <= 100).all()
    assert 0 < (classes == 255).mean() < 0.5  # clouds of the day
    assert set(record.table("product_agreement")["pixels"]) != {0}


@pytest.mark.notebook
def test_published_scores_say_that_their_average_is_not_stated(simulated):
    record = only_run(simulated, "05_results")
    table = record.table("published")
    assert {0.69, 0.72, 0.76, 0.45, 0.57, 0.61, 0.67} == set(table["f1"])
    assert table["averaging"].str.startswith("not stated").all()
    assert set(record.metrics["f1_by_average"]) == {"micro", "macro", "sample"}
    both = record.table("with_published")
    assert len(both) == len(table) + 6  # ours, and the strongest baseline, by three averages
    assert both["data"].iloc[-1].startswith("simulated data, ")
    assert set(both["averaging"].iloc[-6:]) == {"micro", "macro", "sample"}


@pytest.mark.notebook
def test_finished_runs_are_skipped_and_the_study_has_one_page(simulated):
    study_runs.check_skipped("scenes", simulated, CHAIN)


# === Clear refusals ===


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "scenes", "--set", "training.schedule=cosin"), "cosine"),
        (("sweep", "scenes", "band"), "bands"),
        (("data", "check", "scenes_twn"), "scenes_twin"),
    ],
)
def test_a_wrong_word_ends_in_one_sentence_with_the_right_one(arguments, said, tmp_path):
    study_runs.check_refused(arguments, said, tmp_path)
