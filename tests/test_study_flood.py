"""The flood study as a user runs it: every notebook through papermill, on the twin.

What the notebooks wrote is checked, never what their cells printed.
"""

from __future__ import annotations

import functools
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import study_runs
from study_runs import eolab, kill_when

from eolab import models, runs
from eolab.data import store

ROOT = Path(__file__).resolve().parents[1]
STUDY = ROOT / "notebooks" / "flood"
CHAIN = tuple(runs.study.load("flood").notebooks)
SWEEPS = runs.study.load("flood").sweeps
TRAIN = "03_train_convlstm"
BASELINES = ("majority", "water_index", "dark_radar", "statistics_s1", "statistics_s2")
WITHOUT_PIXELS = ("calendar", "neighbour")

only_run = functools.partial(study_runs.only_run, "flood")
start = functools.partial(study_runs.start, "flood")


@pytest.fixture(scope="session")
def simulated(smoke) -> Path:
    return smoke("flood")


def estimates(table: pd.DataFrame, statistic: str, level: str = "image") -> pd.Series:
    rows = table[(table["statistic"] == statistic) & (table["level"] == level)]
    return rows.set_index("model")["value"]


# === The study's file ===


def test_every_notebook_of_the_folder_is_in_the_study():
    assert set(CHAIN) == {path.stem for path in STUDY.glob("*.ipynb")}


def test_sweeps_vary_what_the_study_asks_for():
    assert set(SWEEPS) == {"sensors", "fusion", "models", "image_size", "optimisers"}
    assert {point["fusion"] for point in SWEEPS["fusion"].points} == {"pad", "union", "late"}
    sensors = {(bool(point["radar"]), bool(point["optical"])) for point in SWEEPS["sensors"].points}
    assert sensors == {(True, False), (False, True), (True, True)}
    assert {tuple(p["radar"]) for p in SWEEPS["sensors"].points} >= {("VH",), ("VV", "VH")}
    for point in SWEEPS["models"].points:
        assert point["model"] in models.names("sequences")


def test_the_published_profile_has_the_published_settings():
    profile = runs.study.load("flood").profiles["published"]
    chosen = profile[TRAIN]
    assert [chosen[f"training.{key}"] for key in ("learning_rate", "epochs", "batch_size")] == [7e-7, 10, 1]
    assert (chosen["training.optimizer"], chosen["fusion"], chosen["options"]["filters"]) == ("sgd", "pad", 2)
    assert (profile["02_preprocess"]["height"], profile["02_preprocess"]["width"]) == (522, 544)


# === On simulated data ===


@pytest.mark.notebook
@pytest.mark.parametrize("notebook", CHAIN)
def test_smoke_run_is_complete_and_says_that_it_is_simulated(simulated, notebook):
    study_runs.check_complete("flood", simulated, notebook)


@pytest.mark.notebook
def test_figures_are_there_captioned_and_not_blank(simulated):
    study_runs.check_figures("flood", simulated, CHAIN, 18)


def gains_of(run: runs.RunRecord, name: str, level: str = "image") -> pd.DataFrame:
    """Return paired gains of balanced accuracy: one seed on few sequences differs between processors."""
    table = run.table(name)
    table = table[table["level"] == level].set_index("model")
    assert set(table.index) == {*BASELINES, *WITHOUT_PIXELS}
    assert (table["low"] <= table["value"]).all()
    return table


@pytest.mark.notebook
def test_both_sensors_together_beat_one_where_clouds_hide_the_flood(simulated):
    record = only_run(simulated, TRAIN)
    gains, found = gains_of(record, "hidden_gains"), estimates(record.table("hidden"), "balanced_accuracy")
    assert (gains.loc[list(BASELINES), "high"] > 0).all()
    assert (gains.loc[["majority", "dark_radar"], "low"] > 0).all()
    assert gains.loc["statistics_s1", "value"] > 0  # its interval, of ten sequences, may hold 0
    for name in (*BASELINES, *WITHOUT_PIXELS):
        assert gains.loc[name, "value"] == pytest.approx(found["convlstm"] - found[name])


@pytest.mark.notebook
def test_no_baseline_that_looks_at_images_beats_the_network_per_image(simulated):
    """Per sequence there are 18 in the test, and statistics of the radar may score higher there."""
    record = only_run(simulated, TRAIN)
    gains = gains_of(record, "gains").loc[list(BASELINES)]
    assert (gains["high"] >= 0).all()  # 0 is in the interval, or it is above
    assert gains.loc["majority", "low"] > 0
    for level in ("image", "sequence"):
        assert estimates(record.table("scores"), "balanced_accuracy", level)["majority"] == 0.5
        assert set(BASELINES) <= set(gains_of(record, "gains", level).index)


@pytest.mark.notebook
def test_no_sequence_is_in_two_splits_and_the_test_is_the_published_one(simulated):
    folder = only_run(simulated, "02_preprocess").folder
    tables = [pd.read_parquet(folder / sensor / "samples.parquet") for sensor in ("S1", "S2")]
    table = pd.concat(tables)
    assert len(table[["sequence", "split"]].drop_duplicates()) == table["sequence"].nunique()
    assert set(table.loc[table["split"] == "test", "published"]) == {"test"}
    assert set(table.loc[table["split"] != "test", "published"]) == {"train"}


@pytest.mark.notebook
def test_the_published_test_needs_no_image_and_held_out_regions_do(simulated):
    """The results show both splits without a pixel, beside the published accuracy."""
    prepared, results = (only_run(simulated, name) for name in ("02_preprocess", "05_results"))
    for table in (prepared.table("without_pixels"), results.table("without_pixels")):
        found = table.set_index(["split", "rule", "images"]).sort_index()
        assert found.loc[("published", "neighbour", "both"), "accuracy"] > 0.95
        assert found.loc[("published", "always dry", "both"), "accuracy"] < 0.9
        assert found.loc[("regions", "neighbour", "both"), "balanced_accuracy"] < 0.75
    beside = results.table("without_pixels").groupby("images")["authors"].first()
    assert beside.to_dict() == {"S1": 0.875, "S2": 0.930, "both": 0.957}


@pytest.mark.notebook
def test_thresholds_and_scores_are_those_of_the_answers(simulated):
    """The scores of the table, computed again from the probabilities with scikit-learn."""
    from sklearn.metrics import average_precision_score, balanced_accuracy_score

    record = only_run(simulated, TRAIN)
    predictions = record.table("predictions")
    said = predictions["probability"] >= record.metrics["thresholds"]["image"]
    found = record.metrics["test"]["image"]
    assert found["all"]["balanced_accuracy"] == pytest.approx(
        balanced_accuracy_score(predictions["flooded"], said)
    )
    expected = average_precision_score(predictions["flooded"], predictions["probability"])
    assert found["flooded"]["average_precision"] == pytest.approx(expected)


@pytest.mark.notebook
def test_detections_of_the_results_are_of_every_flooded_test_sequence(simulated):
    """The results read the predictions from a file: its sequences must be those of the store."""
    from eolab.studies import flood

    record, folder = only_run(simulated, TRAIN), only_run(simulated, "02_preprocess").folder
    stores = [store.open_store(folder / sensor) for sensor in ("S1", "S2")]
    onsets = flood.delay.onset_days([one.table for one in stores])
    found = flood.delay.detections(record.table("predictions"), record.metrics["thresholds"]["image"], onsets)
    delays = record.table("delays").set_index("name")
    assert len(found) == delays["flooded sequences"].loc[record.params["model"]] > 0


@pytest.mark.notebook
def test_padded_steps_are_shown_beside_scores_without_them(simulated):
    table = only_run(simulated, TRAIN).table("padding")
    samples = table.groupby("padded")["n"].max()
    assert samples[True] > samples[False]
    assert samples[False] == only_run(simulated, TRAIN).table("scores").query("level == 'image'")["n"].max()
    beside = only_run(simulated, "05_results").table("padding")
    report = beside[beside["source"] == "Wiesniakowski et al. 2024"].iloc[0]
    assert (report["accuracy"], report["recall"]) == (0.6590, 0.0772)
    assert (report["averaging"], report["padded steps"]) == ("mean over sequences", "not stated")
    assert beside["averaging"].value_counts().to_dict() == {"mean over sequences": 3, "all images pooled": 2}


@pytest.mark.notebook
def test_images_of_one_sensor_are_scored_alone(simulated):
    table = only_run(simulated, "05_results").table("by_sensor").set_index("level")
    predictions = only_run(simulated, TRAIN).table("predictions")
    assert table["samples"].to_dict() == {
        f"image, {name}": int(predictions[name].sum()) for name in ("S1", "S2")
    }
    assert table["authors"].to_dict() == {"image, S1": 0.875, "image, S2": 0.930}


QUICK = {"training.epochs": 1, "n_examples": 0, "replicates": 100, "baselines": ["majority", "statistics_s2"]}
LATE = QUICK | {"training.epochs": 3, "fusion": "late", "radar": []}
LATE |= {"options": {"filters": 4, "hidden": 8, "pool": "mean", "layers": 1}}


def words_of(settings: dict[str, object]) -> list[str]:
    return ["--set", *(f"{name}={value}" for name, value in settings.items())]


def cut_images(folder: Path, side: int) -> None:
    """Put a copy of a borrowed run in its place, whose images are the corners of its own."""
    lent = folder.resolve()
    folder.unlink()
    shutil.copytree(lent, folder, ignore=shutil.ignore_patterns("S1", "S2"))
    for sensor in ("S1", "S2"):
        one = store.open_store(lent / sensor)
        arrays = dict(one.arrays) | {"image": one.arrays["image"][:, :side, :side]}
        specs = {name: replace(one.arrays_spec[name], shape=arrays[name].shape[1:]) for name in arrays}
        whole, identity = [slice(0, len(one))], (one.fingerprint, one.metadata)
        store.write_store(folder / sensor, one.table, specs, whole, lambda _, found=arrays: found, *identity)


def trained_on(simulated: Path, out: Path, profile: str, settings: dict[str, object], side: int = 64) -> Path:
    """Train for a moment on the stores of the smoke runs, and make the results from it."""
    study_runs.borrow("flood", simulated, out, "02_preprocess", "04_train_baselines")
    if side < 64:
        cut_images(only_run(out, "02_preprocess").folder, side)
    chosen = ("--profile", profile, "--out", str(out), "--only", TRAIN, "05_results")
    eolab("run", "flood", *chosen, *words_of(settings))
    return out


@pytest.fixture(scope="module")
def late(simulated, tmp_path_factory) -> Path:
    """Folder of runs of one sensor with one answer a sequence."""
    return trained_on(simulated, tmp_path_factory.mktemp("late"), "smoke", LATE)


def sensors_of(results: runs.RunRecord) -> dict[str, str]:
    return dict(results.table("delays").set_index("name")["sensors"])


@pytest.mark.notebook
def test_the_published_profile_runs_to_its_end_with_its_settings_and_pads(simulated, tmp_path):
    results = only_run(trained_on(simulated, tmp_path, "published", QUICK, side=16), "05_results")
    trained = only_run(tmp_path, TRAIN)
    for name, value in runs.study.load("flood").values(TRAIN, "published").items():
        assert trained.settings[name] == QUICK.get(name, value), name
    assert trained.metrics["parameters"] > 0
    assert set(trained.table("scores")["level"]) == {"image", "sequence", "image, S1", "image, S2"}
    assert sensors_of(results) == {"convlstm": "both", "majority": "none", "statistics_s2": "S2"}


@pytest.mark.notebook
def test_results_take_one_sensor_and_one_answer_a_sequence(late):
    """After a run with one prediction a sequence the results ended in an EmptyDataError."""
    results = only_run(late, "05_results")
    assert set(only_run(late, TRAIN).table("scores")["level"]) == {"sequence", "sequence, S2"}
    assert results.status == "done"
    assert sensors_of(results) == {}


@pytest.mark.notebook
def test_a_study_killed_in_preprocessing_and_in_training_ends_as_an_unbroken_one(simulated, late, tmp_path):
    """The one study that is killed; store and training alone: test_store_faults, test_training_resume."""

    def some_sequences() -> bool:
        found = list((tmp_path / "flood" / "02_preprocess").glob("*/S1/journal.jsonl"))
        return bool(found) and found[0].read_text().count("\n") > 3

    def first_epoch() -> bool:
        found = list((tmp_path / "flood" / TRAIN).glob("*/history.csv"))
        return bool(found) and found[0].read_text().count("\n") > 1

    chosen = ("--only", "02_preprocess", TRAIN, *words_of({f"{TRAIN}.{key}": LATE[key] for key in LATE}))
    for notebook, ready in (("02_preprocess", some_sequences), (TRAIN, first_epoch)):
        kill_when(start(tmp_path, *chosen), ready)  # the second command ends the preprocessing first
        assert only_run(tmp_path, notebook).status != "done"
    eolab("run", "flood", *chosen, "--out", str(tmp_path))
    for notebook in ("02_preprocess", TRAIN):
        unbroken, resumed = only_run(late, notebook), only_run(tmp_path, notebook)
        assert resumed.metrics == unbroken.metrics
    columns = ["epoch", "loss", "val_loss"]
    pd.testing.assert_frame_equal(resumed.history[columns], unbroken.history[columns])
    stores = [only_run(out, "02_preprocess").folder for out in (late, tmp_path)]
    for file in ("S1/image.npy", "S1/label.npy", "S2/image.npy", "S2/label.npy"):
        one, other = ((folder / file).read_bytes() for folder in stores)
        assert one == other, file


@pytest.mark.notebook
def test_saying_dry_is_as_right_as_there_are_dry_images(simulated):
    table = only_run(simulated, "05_results").table("always_dry").set_index("images")
    samples = pd.read_parquet(only_run(simulated, "02_preprocess").folder / "S1" / "samples.parquet")
    test = samples[samples["split"] == "test"]
    assert table.loc["S1, test", "accuracy"] == pytest.approx(1 - test["flooded"].mean())


@pytest.mark.notebook
def test_finished_runs_are_skipped_and_the_study_has_one_page(simulated):
    study_runs.check_skipped("flood", simulated, CHAIN)


# === Clear refusals ===


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "flood", "--set", "fusion=unoin"), "union"),
        (("sweep", "flood", "sensor"), "sensors"),
        (("data", "check", "flood_twn"), "flood_twin"),
    ],
)
def test_a_wrong_word_ends_in_one_sentence_with_the_right_one(arguments, said, tmp_path):
    study_runs.check_refused(arguments, said, tmp_path)
