"""Several years of a pixel as one sample: groups of a store, networks, the loss of changes, maps."""

from __future__ import annotations

import pickle

import model_harness as harness
import numpy as np
import pandas as pd
import pytest
import rasterio
from affine import Affine
from loss_cases import gradient_of
from odc.geo.geobox import GeoBox

from eolab import models, prediction, tasks
from eolab.core.errors import DataError, ParameterError, StoreError
from eolab.data.schemes import IGNORE, ClassScheme
from eolab.data.store import ArraySpec, GroupedStore, write_store
from eolab.prediction.mapping import predict_years
from eolab.studies.landcover.together import in_words, task_of
from eolab.training import losses

pytestmark = pytest.mark.slow  # trains networks

PIXELS, YEARS, TIMES, BANDS, K = 60, 3, 4, 2, 3
SIZES = {"times": 5, "channels": 4, "outputs": K}
SMALL = {"ltae": {"units": 32, "heads": 4}, "transformer": {"units": 16, "heads": 2}, "lstm": {"units": 6}}


# === Groups of a store ===


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A row a pixel and year, in no order: classes differ in level; a third of pixel 0's years is clouded."""
    rng = np.random.default_rng(0)
    pixel, year = (part.ravel() for part in np.meshgrid(np.arange(PIXELS), np.arange(2018, 2018 + YEARS)))
    order = rng.permutation(len(pixel))
    table = pd.DataFrame({"pixel": pixel[order], "year": year[order], "part": 0})
    table["split"] = np.array(["train", "train", "validation", "test"])[table["pixel"] % 4]
    table.insert(0, "id", np.arange(len(table)))
    label = (table["pixel"] % K).to_numpy(np.uint8)
    image = rng.normal(label[:, None, None], 0.2, (len(table), TIMES, BANDS)).astype(np.float32)
    valid = rng.random((len(table), TIMES)) < 0.8
    valid[:, 0] = True
    valid[(table["pixel"] == 0) & (table["year"] == 2019)] = False
    image[~valid] = np.nan
    day = (table["year"].to_numpy()[:, None] % 10 + 10 * np.arange(TIMES)).astype(np.float32)
    arrays = {
        "image": ArraySpec(("time", "band"), (TIMES, BANDS), "float32"),
        "valid": ArraySpec(("time",), (TIMES,), "bool"),
        "day": ArraySpec(("time",), (TIMES,), "float32"),
        "label": ArraySpec((), (), "uint8"),
    }
    every = {"image": image, "valid": valid, "day": day, "label": label}
    return write_store(
        tmp_path_factory.mktemp("years") / "store", table, arrays, "part",
        lambda rows: {name: values[rows["id"]] for name, values in every.items()},
        metadata={"coords": {"band": ["a", "b"]}}, fingerprint={"toy": 1}, progress=False,
    )  # fmt: skip


def test_a_group_has_the_years_of_a_pixel_in_order(store):
    grouped = GroupedStore(store, "pixel", "year", store.table["id"] != 7)
    assert len(grouped) == PIXELS
    assert grouped.arrays_spec["image"].shape == (YEARS, TIMES, BANDS)
    found = grouped.gather([5, 0], ["image", "day", "label"])
    assert found["image"].shape == (2, YEARS, TIMES, BANDS)
    np.testing.assert_array_equal(found["day"][:, :, 0], [[8, 9, 0]] * 2)
    for n, pixel in enumerate((5, 0)):
        for y in range(YEARS):
            row = np.flatnonzero((store.table["pixel"] == pixel) & (store.table["year"] == 2018 + y))
            np.testing.assert_array_equal(found["image"][n, y], store.arrays["image"][row[0]])
    assert found["label"][1].tolist() == [0, IGNORE, 0]  # the year without any date
    every = grouped.gather(np.arange(PIXELS), ["label"])["label"]
    assert (every == IGNORE).sum() == 2  # and the label that does not count
    assert grouped.fingerprint != GroupedStore(store, "pixel", "year").fingerprint  # other labels
    again = pickle.loads(pickle.dumps(grouped))
    np.testing.assert_array_equal(again.gather([0, 5], ["label"])["label"], found["label"][::-1])


def test_values_of_groups_come_back_in_the_order_of_the_rows(store):
    grouped = GroupedStore(store, "pixel", "year")
    rows = store.indices("test")
    groups = grouped.having(rows)
    assert groups.tolist() == list(range(3, PIXELS, 4))
    ids = grouped.gather(groups, ["day"])["day"][..., 0] + 100 * groups[:, None]
    table = store.table.iloc[rows]
    np.testing.assert_array_equal(grouped.of_rows(ids, rows), table["year"] % 10 + 100 * table["pixel"])


def test_pixels_without_one_of_the_years_are_refused(store):
    table = store.table.copy()
    store.table.loc[0, "year"] = 2025
    try:
        with pytest.raises(StoreError, match=r"not every pixel has one sample of each year \(2018, .*2025\)"):
            GroupedStore(store, "pixel", "year")
        with pytest.raises(StoreError, match="no column 'place'"):
            GroupedStore(store, "place", "year")
    finally:
        store.table = table


# === Networks ===


def years_of_series(seed: int = 0):
    """Inputs (8, 3, 5, …) of four bands."""
    inputs, _ = harness.series(seed, samples=8 * YEARS)
    return {name: values.reshape(8, YEARS, *values.shape[1:]) for name, values in inputs.items()}


@pytest.mark.parametrize("name", models.names("series", "years"))
def test_each_year_is_read_with_the_weights_of_a_network_of_one_year(name):
    given = SIZES | harness.SERIES_STATISTICS | SMALL.get(name, {})
    one, several = models.build(name, **given), models.build(name, **given, head="years", years=YEARS)
    several.set_weights(one.get_weights())
    inputs = years_of_series()
    flat = {key: values.reshape(-1, *values.shape[2:]) for key, values in inputs.items()}
    found = harness.predict(several, inputs)
    assert found.shape == (8, YEARS, K)
    np.testing.assert_allclose(found.reshape(-1, K), harness.predict(one, flat), atol=1e-5)


@pytest.mark.parametrize("layers", [1, 2])
def test_a_carried_state_is_that_of_one_series_up_to_the_end_of_the_year(layers):
    given = SIZES | harness.SERIES_STATISTICS | {"units": 6, "layers": layers}
    carried = models.build("lstm", **given, head="years", years=YEARS, carry=True)
    inputs = years_of_series()
    found = harness.predict(carried, inputs)
    for year in range(1, YEARS + 1):
        one = models.build("lstm", **given | {"times": 5 * year})
        one.set_weights(carried.get_weights())
        joined = {key: v[:, :year].reshape(8, 5 * year, *v.shape[3:]) for key, v in inputs.items()}
        np.testing.assert_allclose(found[:, year - 1], harness.predict(one, joined), atol=1e-5)


def test_a_state_is_carried_along_time_and_over_years_alone():
    for wrong in ({}, {"head": "years", "years": 3, "bidirectional": True}):
        with pytest.raises(ParameterError, match="lstm: carry needs samples of several years and one LSTM"):
            models.build("lstm", **SIZES, carry=True, **wrong)
    with pytest.raises(ParameterError, match="needs years"):
        models.build("ltae", **SIZES, head="years")
    with pytest.raises(ParameterError, match="reads one year a sample, not 3"):
        models.build("ltae", **SIZES, years=3)
    with pytest.raises(ParameterError, match="carry needs samples of several years"):
        tasks.check("series_classification", "lstm", options={"carry": True}, training={"epochs": 1})
    tasks.check("yearly_classification", "lstm", options={"carry": True}, training={"epochs": 1})


# === The loss of changes ===


def change(label, p, weight):
    """Half the squared distance of neighbouring years, written pair by pair in float64."""
    total = counted = 0.0
    for pixel, year in np.ndindex(label.shape[0], label.shape[1] - 1):
        one, two = (pixel, year), (pixel, year + 1)
        if IGNORE not in (label[one], label[two]):
            pair = min(weight[one], weight[two])
            total, counted = total + pair * 0.5 * ((p[one] - p[two]) ** 2).sum(), counted + pair
    return total / counted


def example():
    rng = np.random.default_rng(3)
    label, p = rng.integers(0, K, (7, 4)).astype("uint8"), rng.dirichlet(np.ones(K), (7, 4))
    label[0, 1], label[3, 3], label[5] = IGNORE, IGNORE, IGNORE
    return label, p, rng.integers(0, 3, label.shape).astype("float32")


def test_the_penalty_of_changes_is_that_of_numpy_with_its_slope():
    label, p, weight = example()
    made = losses.build({"ce": 1, "change": 0.5})
    alone = losses.build("ce")(label, p, weight)
    found, slope = gradient_of(made, label, p, weight)
    assert found - float(alone) == pytest.approx(0.5 * change(label, p, weight), rel=1e-4)
    step = 1e-5 * np.random.default_rng(1).normal(size=p.shape)
    _, of_ce = gradient_of(losses.build("ce"), label, p, weight)
    expected = 0.25 * (change(label, p + step, weight) - change(label, p - step, weight))
    assert ((slope - of_ce) * step).sum() == pytest.approx(expected, rel=1e-3)
    assert (slope[label == IGNORE] == 0).all()
    sure = np.eye(K)[[[0, 0, 1, 2]]]
    assert float(losses.build("change")(np.zeros((1, 4), int), sure)) == pytest.approx(2 / 3)


def test_years_that_do_not_count_cannot_break_the_penalty():
    label, p, weight = example()
    broken = np.where((label == IGNORE)[..., None], np.nan, p)
    made = losses.build({"ce": 1, "change": 2})
    (one, slope), (two, again) = (gradient_of(made, label, values, weight) for values in (p, broken))
    assert one == pytest.approx(two)
    np.testing.assert_allclose(slope, again)
    found, slope = gradient_of(made, np.full_like(label, IGNORE), broken, weight)
    assert found == 0
    assert (slope == 0).all()


@pytest.mark.parametrize("shape", [(6,), (2, 3, 3)])
def test_changes_need_an_order_of_years(shape):
    with pytest.raises(DataError, match=r"'change' needs steps in order, labels \(B, T\).*leave it out"):
        losses.build({"ce": 1, "change": 1})(np.zeros(shape, int), np.full((*shape, 2), 0.5))


# === Trained, saved, mapped ===


@pytest.fixture(scope="module")
def fitted(store, tmp_path_factory):
    grouped = GroupedStore(store, "pixel", "year")
    rows = {part: grouped.having(store.indices(part)) for part in ("train", "validation", "test")}
    folder = tmp_path_factory.mktemp("trained")
    training = {"epochs": 10, "batch_size": 10, "learning_rate": 0.05, "steps_per_execution": 1}
    found = tasks.fit(
        "yearly_classification", "lstm", grouped, rows, folder=folder, outputs=K, training=training,
        options={"units": 8, "carry": True}, loss={"ce": 1, "change": 0.2}, seed=1, progress=False,
    )  # fmt: skip
    return grouped, rows["test"], found, folder


def test_a_network_learns_the_class_of_each_year_and_is_loaded_again(fitted, tmp_path):
    grouped, test, network, folder = fitted
    assert network.history["loss"].iloc[-1] < network.history["loss"].iloc[0] / 2
    found = tasks.predict(network, grouped, test, tmp_path, "test", progress=False)["classes"]
    assert found.shape == (len(test), YEARS, K)
    true = grouped.gather(test, ["label"])["label"]
    assert (found.argmax(-1) == true).mean() > 0.9
    again = prediction.load(folder)
    np.testing.assert_allclose(again(tasks.read(grouped, test)), found, atol=1e-5)


SCHEME = ClassScheme("three", (1, 2, 3), ("Water", "Grass", "Wood"), ("#0000ff", "#80ff00", "#004000"))


def test_the_maps_of_all_years_are_the_predictions_at_each_pixel(fitted, tmp_path):
    grouped, _, _, folder = fitted
    predictor, side = prediction.load(folder), (6, 10)  # a pixel of the map for each of the store
    grid = GeoBox(side, Affine(10, 0, 600_000, 0, -10, 4_900_020), "EPSG:32632")
    inputs = tasks.read(grouped, np.arange(PIXELS))
    expected = predictor(inputs).reshape(*side, YEARS, K)
    scene = {name: values.reshape(*side, *values.shape[1:]) for name, values in inputs.items()}

    def reader(year):
        def read(row, col, height, width):
            at = np.s_[row : row + height, col : col + width, year]
            found = {name: values[at] for name, values in scene.items()}
            return found | {"nodata": ~found["valid"].any(axis=-1)}

        return read

    paths, beside = ([tmp_path / f"{name}_{y}.tif" for y in range(YEARS)] for name in ("map", "likely"))
    given = {"probabilities": beside, "tags": [{"year": str(y)} for y in range(YEARS)], "window": 4}
    readers = [reader(year) for year in range(YEARS)]
    done = predict_years(predictor, readers, grid, paths, SCHEME, progress=False, block=16, **given)
    assert done.pixels == 6 * 4 * 4  # of six windows, whose last stand back from the edge
    for year in range(YEARS):
        with rasterio.open(paths[year]) as file, rasterio.open(beside[year]) as likely:
            classes, percent = file.read(1), likely.read()
            assert file.tags()["year"] == str(year)
        unseen = ~scene["valid"][:, :, year].any(axis=-1)
        assert unseen.sum() == (year == 1)
        np.testing.assert_array_equal(classes, np.where(unseen, IGNORE, expected[:, :, year].argmax(-1)))
        wanted = np.rint(100 * np.moveaxis(expected[:, :, year], -1, 0))
        assert np.abs(percent[:, ~unseen] - wanted[:, ~unseen]).max() <= 1  # rounded
    with pytest.raises(ParameterError, match=r"reads 3 years of a pixel together, and 2 .*: name 3 years"):
        predict_years(predictor, readers[:2], grid, paths[:2], SCHEME, **given)


def test_sequences_of_years_that_cannot_be_are_refused_in_a_sentence():
    alone, both = {"years": "alone", "change_penalty": 0.0}, {"years": "together", "change_penalty": 0.5}
    assert task_of(alone, "random_forest") == ("series_classification", {"ce": 1.0})
    assert task_of(both, "lstm") == ("yearly_classification", {"ce": 1.0, "change": 0.5})
    assert task_of(both | {"change_penalty": 0.0}, "ltae")[1] == {"ce": 1.0}
    with pytest.raises(ParameterError, match=r"change_penalty 0\.5, and its years are alone: set years"):
        task_of(both | {"years": "alone"}, "lstm")
    with pytest.raises(ParameterError, match="Baseline 'svm' reads years alone"):
        task_of(both, "svm")


def test_what_a_network_knows_of_the_years_is_said():
    assert in_words({}).startswith("The model has seen each year alone")
    said = in_words({"sequence": {"years": "together", "change_penalty": 0.5}, "options": {"carry": True}})
    assert "carries what it has seen from year to year; it was trained with a penalty of 0.5" in said
