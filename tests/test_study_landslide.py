"""The landslide study as a user runs it: every notebook through papermill, on the twin.

What the notebooks wrote is checked, never what their cells printed.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import study_runs
import yaml
from study_runs import eolab

from eolab import models, runs
from eolab.core.errors import ParameterError

ROOT = Path(__file__).resolve().parents[1]
STUDY = ROOT / "notebooks" / "landslide"
CHAIN = tuple(runs.study.load("landslide").notebooks)
SWEEPS = runs.study.load("landslide").sweeps
BASELINES = ("majority", "slope_ndvi_rule", "pixel_boosting")

only_run = functools.partial(study_runs.only_run, "landslide")


@pytest.fixture(scope="session")
def simulated(smoke) -> Path:
    return smoke("landslide")


def scores_of(out: Path) -> pd.DataFrame:
    table = only_run(out, "03_train_segmentation").table("scores")
    score = table["scope"] + "_" + table["statistic"]
    return table.assign(score=score).pivot_table(index="model", columns="score", values="value")


# === The study's file ===


def test_every_notebook_of_the_folder_is_in_the_study():
    assert set(CHAIN) == {path.stem for path in STUDY.glob("*.ipynb")}


def test_every_table_of_the_report_is_a_sweep():
    tables = {"losses", "combined", "channels", "heads", "backbones", "attention", "small", "optimisers"}
    assert set(SWEEPS) == tables | {"postprocess", "folds", "sentinel_only", "official"}
    lines = {name: len(sweep.published) for name, sweep in SWEEPS.items()}
    assert lines == {
        "losses": 8,
        "combined": 5,
        "channels": 8,
        "heads": 3,
        "backbones": 4,
        "attention": 7,
        "small": 6,
        "optimisers": 6,
        "postprocess": 13,
        "folds": 5,
        "sentinel_only": 10,
        "official": 0,
    }


@pytest.mark.parametrize("name", SWEEPS)
def test_sweeps_name_what_exists(name):
    from eolab.studies import landslide
    from eolab.training import losses

    for point in SWEEPS[name].points:
        if "model" in point:
            assert point["model"] in models.names("images", "mask")
        if "loss" in point:
            losses.build(point["loss"])
        if "channel_groups" in point:
            assert set(point["channel_groups"]) <= set(landslide.channels.GROUPS)


def test_sweeps_of_networks_give_seconds_per_epoch_and_macro_f1_at_the_network_s_own_threshold():
    """Both stand in the report's tables and stood in none of ours."""
    for sweep in SWEEPS.values():
        if sweep.notebook == "03_train_segmentation":
            assert {"seconds_per_epoch", "test.chosen.macro.f1"} <= set(sweep.metrics), sweep.name


def test_baselines_stand_beside_every_network_of_a_sweep():
    trained = [one for one in SWEEPS.values() if one.notebook == "03_train_segmentation"]
    assert len(trained) == 11
    for sweep in trained:
        assert {f"baselines.{name}.test.chosen.landslide.f1" for name in BASELINES} <= set(sweep.metrics)
        assert all(point.get("baselines", BASELINES) == BASELINES for point in sweep.points)


# === On simulated data ===


@pytest.mark.notebook
@pytest.mark.parametrize("notebook", CHAIN)
def test_smoke_run_is_complete_and_says_that_it_is_simulated(simulated, notebook):
    study_runs.check_complete("landslide", simulated, notebook)


@pytest.mark.notebook
def test_figures_are_there_captioned_and_not_blank(simulated):
    study_runs.check_figures("landslide", simulated, CHAIN, 24)


@pytest.mark.notebook
def test_no_baseline_beats_the_network_on_held_out_regions(simulated):
    """By the gains of one fold: its four blocks are too few for an interval."""
    gains = only_run(simulated, "03_train_segmentation").table("gains").set_index("model")
    assert set(gains.index) == set(BASELINES)
    assert (gains["groups"] == 4).all()
    assert gains[["low", "high"]].isna().all(axis=None)
    assert gains.loc["majority", "value"] > 0.2


@pytest.mark.notebook
def test_scores_are_consistent_with_each_other(simulated):
    for row in scores_of(simulated).itertuples():
        assert row.landslide_iou == pytest.approx(row.landslide_f1 / (2 - row.landslide_f1), abs=1e-9)
        assert row.macro_f1 >= row.landslide_f1 / 2
    metrics = only_run(simulated, "03_train_segmentation").metrics["test"]
    assert set(metrics) == {"chosen", "half"}


@pytest.mark.notebook
def test_no_scored_patch_was_learned_from_and_no_choice_was_made_on_it(simulated):
    from eolab.studies import landslide

    table = pd.read_parquet(only_run(simulated, "02_preprocess").folder / "store" / "samples.parquet")
    for kind in ("contiguous", "shuffled"):
        scored = []
        for fold in range(1, landslide.samples.FOLDS + 1):
            rows = landslide.samples.fold_rows(table, kind, fold)
            assert not set(rows["test"]) & (set(rows["train"]) | set(rows["validation"]))
            assert not set(rows["train"]) & set(rows["validation"])
            scored += rows["test"].tolist()
        assert sorted(scored) == np.flatnonzero(table["published"] == "train").tolist()


@pytest.mark.notebook
def test_contiguous_folds_are_harder_than_shuffled_ones(simulated):
    """By all folds' patches pooled: the mean of five scores moves by more than the difference."""
    record = only_run(simulated, "06_tabular")
    summary = record.table("folds").query("scope == 'landslide' and statistic == 'f1'").set_index("kind")
    assert summary.loc["contiguous", "pooled"] < summary.loc["shuffled", "pooled"]
    means = record.metrics["folds"]["landslide"]["f1_mean"]
    assert means == pytest.approx(summary["mean"].to_dict())


@pytest.mark.notebook
def test_the_network_beats_every_baseline_over_the_folds_of_regions(simulated):
    """By intervals of paired differences over all regions: one fold differs between processors by 0.1."""
    record = only_run(simulated, "05_crossvalidate")
    gains = record.table("gains").set_index("model")
    assert set(gains.index) == set(BASELINES)
    assert (gains["groups"] == 12).all()
    assert (gains["value"] > 0).all()
    assert (gains.loc[["majority", "slope_ndvi_rule"], "low"] > 0).all()
    summary = record.table("summary").query("rule == 'chosen' and scope == 'landslide' and statistic == 'f1'")
    pooled = summary.set_index("model")["pooled"]
    assert (summary["folds"] == 3).all()
    for name in BASELINES:
        assert gains.loc[name, "value"] == pytest.approx(pooled["unet"] - pooled[name])


@pytest.mark.notebook
@pytest.mark.parametrize("notebook", ["03_train_segmentation", "05_crossvalidate"])
def test_a_wrong_network_loss_or_augmentation_is_refused_before_any_work(
    simulated, notebook, monkeypatch, tmp_path
):
    """The cells up to the data, run here, for names and for options that do not exist."""
    monkeypatch.setenv("EOLAB_RUNS", str(tmp_path))
    imports, start, data = runs.parameters.cells(STUDY / f"{notebook}.ipynb", "code")[:3]
    (parameters,) = runs.parameters.cells(STUDY / f"{notebook}.ipynb", "parameters")
    namespace = {}
    exec("\n".join((imports, parameters)), namespace)
    namespace["preprocessed"] = str(only_run(simulated, "02_preprocess").folder)
    right = {name: namespace[name] for name in ("model", "options", "loss", "augmentation")}
    for wrong, said in (
        ({"model": "unett"}, "did you mean 'unet'"),
        ({"options": right["options"] | {"dropuot": 0.1}}, "did you mean 'dropout'"),
        ({"options": right["options"] | {"attention": "cbma"}}, "did you mean 'cbam'"),
        ({"loss": {"focall": 1}}, "did you mean 'focal'"),
        ({"augmentation": ["rotate", "flipp"]}, "did you mean 'flip'"),
    ):
        namespace |= right | wrong
        with pytest.raises(ParameterError, match=said):
            exec("\n".join((start, data)), namespace)


@pytest.mark.notebook
def test_a_threshold_chosen_on_the_scored_fold_is_never_worse_there(simulated):
    table = only_run(simulated, "04_postprocess").table("threshold_choice").set_index("threshold chosen")
    best = table.loc["chosen on the scored fold", "landslide F1"]
    assert (table["landslide F1"] <= best + 1e-9).all()
    assert only_run(simulated, "04_postprocess").metrics["claimed_too_much"] >= 0


@pytest.mark.notebook
def test_the_report_s_landslide_f1_is_that_of_its_best_score(simulated):
    found = only_run(simulated, "08_results").metrics["published"]["if_two_class_means"]["landslide"]["f1"]
    assert found == pytest.approx(0.499, abs=0.001)


@pytest.mark.notebook
def test_gains_over_baselines_are_paired(simulated):
    gains = only_run(simulated, "03_train_segmentation").table("gains").set_index("model")
    assert set(gains.index) == set(BASELINES)
    scores = scores_of(simulated)["landslide_f1"]
    for name in BASELINES:
        assert gains.loc[name, "value"] == pytest.approx(scores["unet"] - scores[name])


@pytest.mark.notebook
def test_the_gain_of_a_stack_by_patches_is_paired(simulated):
    metrics = only_run(simulated, "06_tabular").metrics
    gain = metrics["gain"]["patches"]
    both, network = (metrics["detection"][name]["test"]["landslide"]["f1"] for name in ("both", "network"))
    assert gain["value"] == pytest.approx(both - network)
    assert {gain["low"], gain["high"]} == {None}  # of four blocks


@pytest.mark.notebook
def test_counts_of_weights_are_within_two_per_cent_of_the_report(simulated):
    table = only_run(simulated, "07_small_models").table("parameters").dropna(subset=["published"])
    assert len(table) == 13
    assert table["ratio"].between(0.98, 1.02).all()


@pytest.mark.notebook
def test_exports_agree_with_keras(simulated):
    table = only_run(simulated, "07_small_models").table("portable").set_index(["engine", "precision"])
    assert table.loc[("litert", "float16"), "mask_iou"] > 0.99
    assert table.loc[("litert", "int8"), "mask_iou"] > 0.95  # 0.987 measured
    assert table.loc[("onnx", "float32"), "mask_iou"] > 0.99
    assert table.loc[("onnx", "float32"), "max_difference"] < 1e-3
    sizes = table["size_mb"]
    assert sizes["litert", "int8"] < 0.5 * sizes["litert", "float32"]


@pytest.mark.notebook
def test_the_reports_arithmetic_is_shown(simulated):
    table = only_run(simulated, "08_results").table("arithmetic")
    best = table[table["published F1"] == 0.7463].iloc[0]
    assert best["landslide F1"] == pytest.approx(0.50, abs=0.01)
    assert best["background F1"] > 0.98


@pytest.mark.notebook
def test_a_product_is_mapped_and_a_patch_in_other_units_refused_by_the_demo_s_network(simulated, tmp_path):
    import rasterio
    import test_landslide_products as made

    from eolab import cli, tasks
    from eolab.core.errors import DataError
    from eolab.data.layouts import landslide4sense

    run = only_run(simulated, "03_train_segmentation")
    product = made.write_product(tmp_path)
    dem = made.write_dem(tmp_path / "dem.tif", left=made.LEFT - 100, top=made.TOP + 100, side=made.SIZE + 20)
    out = tmp_path / "map.tif"
    assert cli.main(["map", str(run.folder), str(product), "--dem", str(dem), "--out", str(out)]) == 0
    with rasterio.open(out) as found:
        classes, percent = found.read()
    assert set(np.unique(classes[:132])) <= {0, 1}
    assert percent[:132].min() >= 50
    assert (classes[132:] == 255).all()
    fitted = tasks.load(run.folder)
    samples = runs.load(
        simulated / "landslide" / "02_preprocess" / run.record["upstream"]["preprocessed"]["run"]
    )
    store = samples.folder / "store"
    image = np.load(store / "image.npy", mmap_mode="r")[:1]
    numbers = image.copy()
    numbers[..., :14] *= landslide4sense.DIVISORS
    fitted.inputs({"image": image})
    with pytest.raises(DataError, match="not like those that the model was trained on: B01 is"):
        fitted.inputs({"image": numbers})


@pytest.mark.notebook
def test_finished_runs_are_skipped_and_the_study_has_one_page(simulated):
    study_runs.check_skipped("landslide", simulated, CHAIN)


@pytest.mark.notebook
def test_a_sweep_gives_the_table_beside_the_published_numbers(simulated, tmp_path):
    """Two points of the post-processing sweep, in a copy of the project; one is the study's own run."""
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    shutil.copy(ROOT / "data_catalog.yaml", tmp_path)
    about = yaml.safe_load((STUDY / "study.yaml").read_text())
    sweep = about["sweeps"]["postprocess"]
    opening = {"threshold": 0.5, "morphology": "opening"}
    sweep["cases"] = [{"threshold": 0.0}, opening]
    assert all(point in SWEEPS["postprocess"].points for point in sweep["cases"])
    lines = sweep["table"]["published"]
    sweep["table"]["published"] = [line for line in lines if opening.items() <= line.items()]
    (tmp_path / "notebooks" / "landslide" / "study.yaml").write_text(yaml.safe_dump(about, sort_keys=False))
    places = {"EOLAB_ROOT": str(tmp_path), "EOLAB_DATA": os.environ.get("EOLAB_DATA", str(ROOT / "data"))}
    out = tmp_path / "runs"
    study_runs.borrow("landslide", simulated, out, "02_preprocess", "03_train_segmentation", "04_postprocess")
    said = eolab("sweep", "landslide", "postprocess", "--out", str(out), **places)
    assert "Simulated data" in said
    assert said.count(": started") == 1
    assert said.count("finished before, skipped") == 3  # what it needs, and the study's own point
    table = pd.read_csv(out / "landslide" / "sweeps" / "postprocess" / "table.csv")
    row = table[(table["threshold"] == 0.5) & (table["morphology"] == "opening")].iloc[0]
    assert (row["published F1"], row["published mIoU"]) == (0.5561, 0.5120)
    assert table["test.landslide.f1"].notna().all()
    assert table["published F1"].isna().tolist() == [True, False]


@pytest.mark.notebook
def test_the_store_has_every_channel_once(simulated):
    folder = only_run(simulated, "02_preprocess").folder / "store"
    names = json.loads((folder / "store.json").read_text())["metadata"]["coords"]["band"]
    assert len(names) == len(set(names)) == 29


# === Clear refusals ===


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "landslide", "--set", "options.head=mulit"), "multi"),
        (("run", "landslide", "--set", "split=shufled"), "shuffled"),
        (("sweep", "landslide", "loses"), "losses"),
        (("data", "check", "landslide_twn"), "landslide_twin"),
    ],
)
def test_a_wrong_word_ends_in_one_sentence_with_the_right_one(arguments, said, tmp_path):
    study_runs.check_refused(arguments, said, tmp_path)
