"""The clearing study as a user runs it: every notebook through papermill, on the twin.

What the notebooks wrote is checked, never what their cells printed.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import study_runs

from eolab import evaluation, models, runs
from eolab.data import store
from eolab.evaluation.divided import SPLIT_BY, Tested
from eolab.studies.clearing import experiment, report, samples

ROOT = Path(__file__).resolve().parents[1]
STUDY = ROOT / "notebooks" / "clearing"
CHAIN = tuple(runs.study.load("clearing").notebooks)
SWEEPS = runs.study.load("clearing").sweeps
REGIONS, DEGREE = "03_train_regions", "05_train_degree"

only_run = functools.partial(study_runs.only_run, "clearing")


@pytest.fixture(scope="session")
def simulated(smoke) -> Path:
    return smoke("clearing")


def by_split(record: runs.RunRecord, statistic: str) -> pd.DataFrame:
    """Return a score, a row a model and a column a split."""
    table = evaluation.pick(record.table("scores"), statistic)
    return table.pivot_table(index="model", columns=SPLIT_BY, values="value")


def test_each_wrong_stand_is_shown_once_with_the_probability_of_its_prediction():
    """Regression: seven of eight pictures were of one stand; of three classes the shares were too high."""
    table = pd.DataFrame({"region": ["a", "a", "b", "c"]})
    p = np.array([[0.1, 0.2, 0.7], [0.05, 0.8, 0.15], [0.3, 0.5, 0.2], [0.9, 0.05, 0.05]])
    tested = Tested(np.arange(4), {"net": p})
    found = experiment.most_wrong(tested, np.zeros(4), table, "net", ["x", "y", "z"], 8)
    np.testing.assert_array_equal(found[0], [1, 2])
    assert found[1] == [["x, stand a", "predicted y 80%"], ["x, stand b", "predicted y 50%"]]


# === The study's file ===


def test_every_notebook_of_the_folder_is_in_the_study():
    assert set(CHAIN) == {path.stem for path in STUDY.glob("*.ipynb")}


def test_sweeps_vary_what_the_study_asks_for():
    varied = {name for sweep in SWEEPS.values() for point in sweep.points for name in point}
    asked = {"channels", "model", "splits", "loss", "pretrained.stem", "augmentation", "discrete", "seed"}
    assert asked | {"division.held_out", "division.fraction", "division.zero_areas"} <= varied
    depths = {point["model"] for point in SWEEPS["depth"].points}
    assert depths == {"resnet18_patch", "resnet50_patch", "resnet152_patch"}
    assert depths <= set(models.names("images", "labels"))
    held_out = [point["division.held_out"] for point in SWEEPS["held_out"].points]
    assert held_out == [["6"], ["7"], ["8"]]
    losses = [next(iter(point["loss"])) for point in SWEEPS["losses"].points]
    assert losses == ["mse", "mae", "huber", "continuous_iou", "ce"]


def test_the_profile_of_the_report_has_its_settings():
    profile = runs.study.load("clearing").profiles["report"]
    regions, degree = profile[REGIONS], profile[DEGREE]
    assert (regions["training.optimizer"], regions["training.learning_rate"]) == ("sgd", 0.001)
    assert regions["training.optimizer_options"] == {"momentum": 0.9}
    assert regions["training.schedule_options"] == {"every": 7, "factor": 0.1}
    assert (degree["training.learning_rate"], degree["augmentation"]) == (1e-4, ["flip"])
    assert degree["options"]["backbone"] == "resnet101"
    assert profile["04_preprocess_degree"]["padding"] == "zeros"


def test_published_tables_agree_with_themselves():
    """Supports add up, and recalls with supports give the accuracy that is printed beside them."""
    table = report.published_tables()
    supports = table[table["class"] == "accuracy"]["support"].tolist()
    assert supports == [254, 242, 372, 339]
    found = report.implied(table)
    assert found["support"].tolist() == supports
    np.testing.assert_allclose(found["accuracy"], found["accuracy_of_recalls"], atol=0.01)
    for _, part in table.groupby(["table", "model"]):
        rows = part.set_index("class")
        for name in ("precision", "recall", "f1"):
            mean = rows.loc[["clear", "need"], name].mean()
            assert rows.loc["macro avg", name] == pytest.approx(mean, abs=0.0101)


# === On simulated data ===


@pytest.mark.notebook
@pytest.mark.parametrize("notebook", CHAIN)
def test_smoke_run_is_complete_and_says_that_it_is_simulated(simulated, notebook):
    study_runs.check_complete("clearing", simulated, notebook)


@pytest.mark.notebook
def test_figures_are_there_captioned_and_not_blank(simulated):
    study_runs.check_figures("clearing", simulated, CHAIN, 20)


@pytest.mark.notebook
def test_finished_runs_are_skipped(simulated):
    study_runs.check_skipped("clearing", simulated, CHAIN)


@pytest.mark.notebook
def test_new_stands_are_harder_than_known_ones_for_network_and_nearest_sample(simulated):
    """The finding of the study: the same models on the same samples, paired over stands."""
    record = only_run(simulated, REGIONS)
    accuracy = by_split(record, "all.accuracy")
    for model in ("resnet18_patch", "nearest"):
        assert accuracy.loc[model, "date"] > accuracy.loc[model, "region"] + 0.1
    difference = record.table("difference").set_index("model")["accuracy"]
    assert difference["resnet18_patch"].split("(")[1].startswith("+")  # the lower end of the interval
    assert accuracy.loc["resnet18_patch", "date"] > accuracy.loc["majority", "date"] + 0.1
    counts = record.table("scores")[["n", "n_groups"]].drop_duplicates()
    assert len(counts) == 1
    similarity = record.table("leakage").set_index("number").loc["nearest_neighbour_accuracy"]
    assert similarity["date"] > similarity["region"]


@pytest.mark.notebook
def test_the_degree_is_harder_in_new_objects_for_every_model(simulated):
    """By much for the network: 0.17 to 0.30 in four seeds. Eight regions give intervals that may touch 0."""
    record = only_run(simulated, DEGREE)
    explained = by_split(record, "all.r2")
    assert set(explained.index) == {"unet", "mean", "linear", "random_forest", "nearest"}
    assert (explained["date"] > explained["region"]).all()
    difference = record.table("difference").set_index("model")["R²"]
    assert float(difference["unet"].split(" ")[0]) > 0.1 > float(difference["mean"].split(" ")[0])


@pytest.mark.notebook
def test_the_network_beats_mean_and_linear_regression_in_new_objects(simulated):
    gains = only_run(simulated, DEGREE).metrics["gains"]["region"]
    for baseline in ("mean", "linear"):
        assert gains[baseline]["mse"]["high"] < 0


@pytest.mark.notebook
def test_areas_without_need_in_training_lower_what_is_predicted_there(simulated):
    record = only_run(simulated, "06_extra_areas")
    table = record.table("predicted").set_index(["model", "zero_areas", "kind"])["mean_degree"]
    for kind in ("no need", "town"):
        assert table["unet", "with", kind] < table["unet", "without", kind]
    for training in ("without", "with"):
        assert table["unet", training, "need"] > table["unet", training, "no need"]
    in_need = record.table("predicted").set_index(["model", "zero_areas", "kind"])["need_share"]
    assert in_need["unet", "with", "need"] > 2 * in_need["unet", "with", "no need"]
    trained = store.open_store(only_run(simulated, "04_preprocess_degree").folder / "store")
    extra = store.open_store(record.folder / "store")
    assert extra.channel_names("image") == trained.channel_names("image")
    assert {"town", "cropland", "sports arena"} <= set(extra.table["kind"])


@pytest.mark.notebook
def test_the_stores_hold_every_channel_of_the_report_and_the_raw_bands(simulated):
    folder = only_run(simulated, "02_preprocess_regions").folder
    names = store.open_store(folder / "store").channel_names("image")
    assert names == samples.channel_names(["true_colour", "indices", "boa", "toa"])
    table = pd.read_csv(folder / "tables/channels.csv").set_index("channel")
    assert np.isfinite(table[["mean", "std", "min", "max"]]).all(axis=None)
    assert (table.loc[[name for name in names if name[0] in "BT"], "max"] <= 2).all()
