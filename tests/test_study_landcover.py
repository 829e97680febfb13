"""The land-cover study as a user runs it: every notebook through papermill, simulated and real data.

What the notebooks wrote is checked, never what their cells printed.
"""

from __future__ import annotations

import ast
import functools
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
import study_runs
from parameters_lint import lint
from scipy.spatial import cKDTree

from eolab import evaluation, models, runs, tasks
from eolab.core.errors import ParameterError
from eolab.data.indices import INDICES
from eolab.evaluation import continual
from eolab.runs import chain

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))
STUDY = ROOT / "notebooks" / "landcover"
YEARS = (2018, 2019, 2020)
CHAIN = (
    "01_explore",
    "02_preprocess",
    "03_extract_labels",
    "04_train_pixels",
    "05_train_patches",
    "06_map_years",
    "07_pretrain",
    "08_continual",
    "09_validate",
    "10_results",
)


only_run = functools.partial(study_runs.only_run, "landcover")


@pytest.fixture(scope="session")
def simulated(smoke) -> Path:
    return smoke("landcover")


@pytest.fixture(scope="session")
def real(smoke, real_data) -> Path:
    """With a share of the labels and a way of learning on besides naive: all of them run on the twin.

    Networks whose scores no test reads learn for an epoch.
    """
    short = ["07_pretrain.shares=[0.01]", "08_continual.strategies=[replay]"]
    trainings = ("05_train_patches.training", "07_pretrain.training", "07_pretrain.pretraining")
    short += [f"{one}.epochs=1" for one in (*trainings, "08_continual.training")]
    return smoke("landcover", "dataset=slovenia_eopatch", *short)


def _read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read(1)


def scores_of(out: Path, against: str, notebook: str = "04_train_pixels") -> pd.DataFrame:
    table = only_run(out, notebook).table("scores")
    rows = table[table["against"] == against]
    score = rows["scope"] + "." + rows["statistic"]
    return rows.assign(score=score).pivot_table(index="model", columns="score", values="value")


# === Every notebook ===


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_parameters_cells_are_what_papermill_sees(path):
    assert lint(path) == []


def test_every_notebook_of_the_folder_is_in_the_study():
    assert set(runs.study.load("landcover").notebooks) == {path.stem for path in STUDY.glob("*.ipynb")}


OUT_OF_RANGE = """keep_scl=[] keep_scl=[4.5] keep_scl=[12] resolution_m=30 block_m=1e-9 validation=1.0
window=-1 replicates=1 overlap=-1 model=lstn baselines=[forest] composites.indices=[NDVX]
per_class=0 seed=-1 training.epochs=0 training.learning_rate=1e6 training.class_weights=mop
method=kmeens audit=all min_purity=1.0 most_clusters=0 border_m=-2 max_per_class=-1"""


@pytest.mark.parametrize("setting", OUT_OF_RANGE.split())
def test_a_parameter_out_of_its_range_is_refused_before_any_notebook_runs(setting):
    """Regression: without a clear observation all was "done", and a bad model came out after hours."""
    with pytest.raises(ParameterError, match=rf"--set {re.escape(setting)}: .*(cannot|Known)"):
        chain.settings(runs.study.load("landcover"), [setting])


def test_a_model_of_one_notebook_need_not_fit_those_that_do_not_run():
    """Regression: --only 04_train_pixels --set model=tempcnn was refused for the networks of patches."""
    study = runs.study.load("landcover")
    found = chain.settings(study, ["model=svm"], ["04_train_pixels"])
    assert found["04_train_pixels"] == {"model": "svm"}
    assert "model" not in found["05_train_patches"]
    with pytest.raises(ParameterError, match="--set model=svm: "):
        chain.settings(study, ["model=svm"], ["04_train_pixels", "05_train_patches"])


@pytest.mark.parametrize("only", ["notebooks/landcover/04_train_pixels.ipynb", "06_map_years"])
def test_a_model_that_no_notebook_knows_is_refused_whatever_runs(only):
    """Regression: it was left out in silence where --only was a path, or named none that has models."""
    with pytest.raises(ParameterError, match=r"--set model=lstn: .*lstm"):
        chain.settings(runs.study.load("landcover"), ["model=lstn"], [only])


def test_the_models_baselines_and_indices_in_the_help_are_those_that_exist():
    recipe = runs.study.load("landcover").notebooks["02_preprocess"].known
    assert recipe["composites.indices"].choices == tuple(INDICES)
    known = runs.study.load("landcover").notebooks["04_train_pixels"].known
    theirs = tasks.baselines.names("series_classification")
    assert set(known["model"].choices) == {*theirs, *models.names("series")}
    assert set(known["baselines"].choices) == {"all", *theirs}


@pytest.mark.notebook
def test_start_here_runs(tmp_path):
    import papermill

    executed = papermill.execute_notebook(
        ROOT / "notebooks" / "00_start_here.ipynb",
        tmp_path / "00_start_here.ipynb",
        kernel_name="python3",
        cwd=str(ROOT / "notebooks"),
        progress_bar=False,
    )
    pictures = [
        output
        for cell in executed.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert pictures


# === On simulated data ===


@pytest.mark.notebook
@pytest.mark.parametrize("notebook", CHAIN)
def test_smoke_run_is_complete_and_says_that_it_is_simulated(simulated, notebook):
    study_runs.check_complete("landcover", simulated, notebook)


@pytest.mark.notebook
def test_figures_are_there_captioned_and_not_blank(simulated):
    study_runs.check_figures("landcover", simulated, CHAIN, 18)


@pytest.mark.notebook
def test_models_beat_the_majority_clearly_on_held_out_blocks(simulated):
    for against in ("labels", "truth"):
        scores = scores_of(simulated, against)
        for name in ("lstm", "random_forest"):
            assert scores.loc[name, "macro.f1"] > scores.loc["majority", "macro.f1"] + 0.4
            assert scores.loc[name, "all.accuracy"] > scores.loc["majority", "all.accuracy"] + 0.35


@pytest.mark.notebook
def test_scores_are_near_the_recorded_ones(simulated):
    """Recorded on two cores with the pinned versions; another processor rounds differently."""
    scores = scores_of(simulated, "truth")
    assert scores.loc["random_forest", "macro.f1"] == pytest.approx(0.632, abs=0.02)
    assert scores.loc["lstm", "macro.f1"] == pytest.approx(0.657, abs=0.05)
    assert scores.loc["image_statistics", "macro.f1"] == pytest.approx(0.628, abs=0.02)


@pytest.mark.notebook
def test_the_learned_map_is_better_than_the_old_one_it_learned_from(simulated):
    table = only_run(simulated, "10_results").table("map_scores").set_index(["year", "map"])
    for year in table.index.unique("year"):
        gained = table.loc[(year, "hmm")] - table.loc[(year, "labels")]
        assert (gained > 0.02).all()  # all pixels, those that the old map labels, held-out blocks


@pytest.mark.notebook
def test_consistent_maps_have_less_false_change_and_keep_half_of_the_right_one(simulated):
    """Less than a third of the false change, by paired intervals; more than half of the right change."""
    record = only_run(simulated, "10_results")
    gains = record.table("consistency_gains").set_index(["model", "scope", "statistic"])
    assert gains.loc[("hmm", "no change", "recall"), "low"] > 0
    assert gains.loc[("hmm", "change", "precision"), "low"] > 0
    value = record.table("consistency").set_index(["model", "scope", "statistic"])["value"]
    assert value["hmm", "right change", "recall"] > 0.5 * value["none", "right change", "recall"]
    assert 3 * (1 - value["hmm", "no change", "recall"]) < 1 - value["none", "no change", "recall"]


@pytest.mark.notebook
@pytest.mark.parametrize("data", ["simulated", "real"])
def test_scored_samples_keep_a_distance_from_all_that_was_learned_from(request, data):
    """Regression: 94 to 97 % of the test samples lay in a polygon of training samples, 40 m away."""
    record = only_run(request.getfixturevalue(data), "02_preprocess")
    samples = pd.read_parquet(record.folder / "store" / "samples.parquet")
    split, beside = samples["split_buffered"], samples["split_block"]
    scored, learned = samples[split == "test"], samples[split.isin(["train", "validation", "prior"])]
    nearest = cKDTree(learned[["x", "y"]]).query(scored[["x", "y"]])[0]
    assert nearest.min() >= record.metrics["buffer_m"] > 0
    assert not set(learned["block"]) & set(scored["block"])
    assert scored.index.equals(samples.index[beside == "test"])  # the same samples, with and without buffer
    shared = set(scored["group"]) & set(learned["group"])
    assert len(shared) <= (data == "real")  # the forest that covers three quarters of the real patch
    for part in ("train", "test"):
        assert set(samples["label"][split == part]) == set(samples["label"])
    table = record.table("leakage").set_index("split")
    assert table.loc["buffered", "shared_polygons"] == pytest.approx(scored["group"].isin(shared).mean())


@pytest.mark.notebook
def test_extracted_labels_are_cleaner_than_those_of_the_old_map(simulated):
    """Clearly so, and each step adds to it; no class is lost."""
    run = only_run(simulated, "03_extract_labels")
    steps = run.table("wrong")
    assert steps["high"].iloc[-1] < steps["low"].iloc[0]
    before_draw = steps["wrong"].iloc[:-1]
    assert (before_draw.diff().iloc[1:] < 0).all()
    counts = run.table("kept")  # what balancing leaves out was counted as not kept
    assert (counts["kept"] >= counts["used"]).all()
    assert counts["kept"].sum() > counts["used"].sum()
    assert run.metrics["kept_share"] == pytest.approx(counts["kept"].sum() / counts["samples"].sum())
    assert run.metrics["drawn"] == counts["used"].sum()
    labels = run.table("labels")
    assert set(labels.loc[labels["kept"], "label"]) == set(labels["label"])
    assert labels["reason"].isna().eq(labels["kept"]).all()


@pytest.mark.notebook
def test_a_forest_of_extracted_labels_beats_one_of_as_many_at_random(simulated):
    scores = scores_of(simulated, "truth", "03_extract_labels")
    assert scores.loc["extracted", "macro.f1"] > scores.loc["as many at random", "macro.f1"] + 0.03


@pytest.mark.notebook
def test_the_store_remembers_how_the_series_was_read(simulated):
    record = only_run(simulated, "02_preprocess")
    metadata = json.loads((record.folder / "store" / "store.json").read_text())["metadata"]
    assert metadata["open_series"]["resolution_m"] == record.params["resolution_m"]
    assert metadata["open_series"]["keep_scl"] == record.params["keep_scl"]


@pytest.mark.notebook
def test_map_is_a_geotiff_with_classes_confidence_and_colours(simulated):
    folder = only_run(simulated, "06_map_years").folder
    assert (
        len(list(folder.glob("land_cover_????.tif"))) == len(list(folder.glob("probabilities_????.tif"))) == 3
    )
    with rasterio.open(folder / "land_cover_2020_consistent.tif") as file:
        assert (file.count, file.shape, file.crs.to_epsg()) == (2, (480, 480), 32631)
        assert file.nodata == 255
        assert file.tags()["simulated"] == "true"
        classes, confidence = file.read()
        assert set(np.unique(classes)) <= {*range(12), 255}
        assert confidence[classes != 255].max() <= 100
        assert file.colormap(1)[0][:3] != file.colormap(1)[1][:3]


@pytest.mark.notebook
def test_maps_of_two_engines_agree_within_the_stated_tolerance(simulated, tmp_path):
    """Maps of an area that is laid out of stored samples, which need no image to be decoded."""
    from affine import Affine
    from odc.geo.geobox import GeoBox

    from eolab import prediction
    from eolab.data import store
    from eolab.data.schemes.landcover import LANDCOVER
    from eolab.data.store.reading import with_day
    from eolab.prediction import mapping

    samples = store.open_store(only_run(simulated, "02_preprocess").folder / "store")
    side = 120
    inputs = with_day(samples, samples.gather(np.arange(side**2), ["image", "valid", "day"]))
    whole = {name: array.reshape(side, side, *array.shape[1:]) for name, array in inputs.items()}
    whole["nodata"] = ~whole["valid"].any(axis=-1)

    def read(row: int, col: int, height: int, width: int) -> dict[str, np.ndarray]:
        return {name: array[row : row + height, col : col + width] for name, array in whole.items()}

    maps = {}
    for engine in ("keras", "onnx"):
        predictor = prediction.load(only_run(simulated, "04_train_pixels").folder, engine=engine)
        assert predictor.engine == engine
        path = mapping.predict_map(
            mapping.per_pixel(predictor),
            read,
            GeoBox((side, side), Affine(10, 0, 600_000, 0, -10, 4_900_000), "EPSG:32631"),
            tmp_path / f"{engine}.tif",
            LANDCOVER,
            window=64,
        )
        with rasterio.open(path) as file:
            maps[engine] = file.read().astype(int)
    (classes, confidence), (other_classes, other_confidence) = maps.values()
    assert len(np.unique(classes)) > 5
    assert (classes == other_classes).mean() > 0.9999
    assert abs(confidence - other_confidence).max() <= 1 + 100 * prediction.TOLERANCE["float32"]


@pytest.mark.notebook
def test_the_validated_accuracy_and_areas_hold_the_true_ones(simulated):
    """The interpreters of a twin see the truth, of which every pixel is known."""
    record = only_run(simulated, "09_validate")
    survey = record.table("survey").set_index("reference")
    true = survey.loc["truth, all pixels", "accuracy"]
    assert survey.loc["interpreted sample", "low"] <= true <= survey.loc["interpreted sample", "high"]
    table = record.table("areas").dropna(subset=["area_low"])
    assert table["within"].mean() >= 0.75  # 95 % of them in the mean of many samples
    apart = (table[["area", "mapped"]].sub(table["true"], axis=0)).abs().sum()
    assert apart["area"] < apart["mapped"]
    assert len(list((record.folder / "chips").glob("*.png"))) == record.metrics["points"]


@pytest.mark.notebook
def test_strategies_of_learning_on_begin_alike_and_end_apart(simulated):
    """Three years and six strategies; forgetting is that of the table of scores."""
    record = only_run(simulated, "08_continual")
    scores = evaluation.pick(record.table("scores"), "macro.f1")
    networks = continual.matrices(scores[scores["model"] != "random_forest"])
    assert len(networks) == 6
    first = networks["first"].to_numpy()
    assert first.shape == (3, 3)
    assert (first == first[0]).all()
    for matrix in networks.values():
        np.testing.assert_array_equal(matrix.to_numpy()[0], first[0])
    measured = record.table("measures").set_index(["model", "statistic"])["value"]
    naive = networks["naive"].to_numpy()
    lost = [naive[:2, year].max() - naive[2, year] for year in (0, 1)]
    assert measured["naive", "forgetting"] == pytest.approx(np.mean(lost))
    assert measured["replay", "average"] > measured["first", "average"] + 0.05
    gained = record.table("gains")
    assert set(gained["over"]) == {"naive"}
    assert set(gained["statistic"]) == set(continual.MEASURES)


@pytest.mark.notebook
def test_the_twin_of_default_size_is_small_and_opens(simulated):
    """It stays below 160 MB, and the reader finds 20 dates a year, 10 of them usable, and two rejections."""
    from eolab.data import catalog
    from eolab.data.layouts.sentinel2 import open_layout

    folder = catalog.load()["landcover_twin"].path
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 160e6
    series = open_layout(folder / "sentinel2", bands=["B04", "B08"])
    assert dict(series.sizes) == {"time": 60, "band": 2, "y": 480, "x": 480}
    usable = np.isin(series["scl"][..., ::8, ::8], [4, 5, 6, 7, 11]).mean(axis=(1, 2)) > 0.1
    assert pd.Series(usable).groupby(series["time"].dt.year.to_numpy()).sum().ge(10).all()
    reasons = " ".join(row["reason"] for row in json.loads(series.attrs["rejected"]))
    assert "truncated" in reasons
    assert "superseded" in reasons
    marker = json.loads((folder / "twin.json").read_text())
    assert all(0.65 < share < 0.80 for share in marker["corine_right_share"].values())
    assert all(0.03 < share < 0.06 for share in marker["changed_share"].values())
    meadow = np.all([_read(folder / f"truth/land_cover_10m_{year}.tif") == 1 for year in YEARS], axis=0)
    summer = series.isel(time=np.flatnonzero(usable & series["time"].dt.month.isin([7, 8]).to_numpy()))
    red, infrared = (summer["reflectance"].sel(band=band) for band in ("B04", "B08"))
    seen = meadow & summer["scl"].isin([4, 5])
    ndvi = ((infrared - red) / (infrared + red)).where(seen).mean(("y", "x"))
    by_year = ndvi.groupby("time.year").mean().to_series()
    assert by_year[marker["drought_year"]] < by_year.drop(marker["drought_year"]).min() - 0.1
    assert min(marker["class_shares"].values()) > 0.01


@pytest.mark.notebook
def test_finished_runs_are_skipped_and_the_study_has_one_page(simulated):
    study_runs.check_skipped("landcover", simulated, CHAIN)


# === On a real Sentinel-2 series ===


@pytest.mark.notebook
def test_real_series_runs_with_one_parameter_changed(real):
    for notebook in CHAIN:
        record = only_run(real, notebook)
        assert record.status == "done"
        assert not record.simulated
        report = (record.folder / "report.html").read_text()
        assert "Real data" in report
        assert "licence MIT" in report
        assert "Simulated data" not in report


@pytest.mark.notebook
def test_real_land_use_from_ndvi_beats_the_majority_on_held_out_blocks(real):
    """The forest by a margin; the network, which depends on its seed, by a paired interval over blocks."""
    scores = scores_of(real, "labels")
    assert scores.loc["random_forest", "macro.f1"] > scores.loc["majority", "macro.f1"] + 0.1
    rows = only_run(real, "04_train_pixels").table("predictions")
    truth = rows["label"].to_numpy()
    most = np.full_like(truth, rows["label"].mode()[0])
    assert (truth == most).mean() == pytest.approx(scores.loc["majority", "all.accuracy"])
    gains = evaluation.paired_gains(
        {"lstm": rows["predicted"].to_numpy(), "majority": most},
        truth,
        model="lstm",
        statistics=["macro.f1"],
        class_names=[str(label) for label in range(truth.max() + 1)],
        groups=rows["block"].to_numpy(),
    )
    assert (gains["low"] > 0).all(), gains.to_string()


# === Texts ===


@pytest.mark.parametrize("notebook", CHAIN)
def test_labels_of_ones_own_are_not_called_the_old_map(notebook):
    """Parcels and points of one's own were an "old map" in each table and caption."""
    book = json.loads((ROOT / f"notebooks/landcover/{notebook}.ipynb").read_text())
    texts = ["".join(cell["source"]) for cell in book["cells"]]
    assert not [text for text in texts if "the old map" in text.lower()]


@pytest.mark.parametrize(
    ("notebook", "shown"), [("06_map_years", ["directions"]), ("10_results", ["transitions", "flows"])]
)
def test_change_between_years_is_shown_where_several_are_mapped_alone(notebook, shown):
    """A table of transitions said of one year that each class stays what it is."""
    book = json.loads((STUDY / f"{notebook}.ipynb").read_text())
    code = "\n".join("".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code")
    several = [
        ast.unparse(one)
        for branch in ast.walk(ast.parse(code))
        if isinstance(branch, ast.If) and "len(years) > 1" in ast.unparse(branch.test)
        for one in branch.body
    ]
    for name in shown:
        assert code.count(f'"{name}"') == sum(f"'{name}'" in one for one in several) == 1


# === Clear refusals ===


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "landcoverr"), "landcover"),
        (("run", "landcover", "--only", "04_train"), "04_train_pixels"),
        (("run", "landcover", "--set", "epoch=3"), "epochs"),
        (("run", "landcover", "--set", "training.epochs=many"), "epochs"),
        (("run", "landcover", "--profile", "smok"), "smoke"),
        (("run", "landcover", "--set", "training.schedule=onecycle"), "one_cycle"),
        (("sweep", "landcover", "model"), "models"),
        (("data", "check", "landcover_twn"), "landcover_twin"),
    ],
)
def test_a_wrong_word_ends_in_one_sentence_with_the_right_one(arguments, said, tmp_path):
    study_runs.check_refused(arguments, said, tmp_path)
