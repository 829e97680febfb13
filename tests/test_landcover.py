"""Samples of the land-cover study: which pixels are drawn, what they weigh, what the store holds."""

from __future__ import annotations

import tracemalloc

import landcover_example as example
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from eolab.core.errors import DataError, ParameterError
from eolab.data import splits
from eolab.data.catalog import DataEntry
from eolab.data.preprocess import Recipe
from eolab.data.schemes import scheme_of
from eolab.data.store import days, write_store
from eolab.studies import landcover
from eolab.studies.landcover.samples import pixel_series

RECIPE = Recipe(bands=("B08", "B04"))


@pytest.fixture(scope="module")
def series() -> xr.Dataset:
    return example.series()


@pytest.fixture(scope="module")
def wide() -> xr.Dataset:
    """A scene large enough for statistics of the draw."""
    return example.series(150, 140)[["label"]]


def at(series: xr.Dataset, name: str, table: pd.DataFrame) -> np.ndarray:
    return series[name].to_numpy()[table["row"], table["col"]]


# === The draw ===


def test_sample_table_draws_as_many_as_asked_for(wide):
    table = landcover.sample_table(wide, per_class=200, uniform=1000, window=64)
    drawn = pd.crosstab(table["draw"], table["label"])
    assert drawn.loc["uniform"].sum() == 1000
    assert drawn.loc["per_class"].to_dict() == {0: 200, 1: 200, 2: 200}


def test_sample_table_takes_what_a_small_class_has_left(series):
    table = landcover.sample_table(series, per_class=10**6, uniform=100)
    size = np.bincount(series["label"].to_numpy().ravel(), minlength=256)[:3]
    drawn = pd.crosstab(table["draw"], table["label"])
    np.testing.assert_array_equal(drawn.sum(), size)  # every labelled pixel, in one draw or the other
    assert drawn.loc["uniform"].sum() == 100


def test_sample_table_leaves_half_of_a_small_scene_to_learn_from(series):
    table = landcover.sample_table(series, per_class=5, uniform=10**6)
    labelled = int((series["label"] != 255).sum())
    assert (table["draw"] == "uniform").sum() == labelled // 2


def test_no_pixel_is_drawn_twice_and_none_without_a_label(series):
    table = landcover.sample_table(series, per_class=80, uniform=250)
    assert not table.duplicated(["row", "col"]).any()
    assert table["label"].isin([0, 1, 2]).all()


def test_columns_say_what_the_series_has_there(series):
    table = landcover.samples.each_year(landcover.sample_table(series, per_class=40, uniform=100), series)
    np.testing.assert_array_equal(table["label"], at(series, "label", table))
    np.testing.assert_array_equal(table["truth"], at(series, "truth", table))
    np.testing.assert_allclose(table["x"], 500_005 + 10 * table["col"])
    np.testing.assert_allclose(table["y"], 4_999_995 - 10 * table["row"])
    untold = series.drop_vars("truth")
    assert "truth" not in landcover.samples.each_year(landcover.sample_table(untold, 40, 100), untold)


def test_uniform_draw_has_the_shares_of_the_map(wide):
    label = wide["label"].to_numpy()
    shares = np.bincount(label[label != 255]) / (label != 255).sum()
    drawn = np.zeros(3)
    for seed in range(8):
        table = landcover.sample_table(wide, per_class=300, uniform=1500, seed=seed)
        drawn += np.bincount(table.loc[table["draw"] == "uniform", "label"], minlength=3)
    assert stats.chisquare(drawn, shares * drawn.sum()).pvalue > 0.01
    per_class = np.array([300, 300, 300]) / 900
    assert stats.chisquare(drawn, per_class * drawn.sum()).pvalue < 1e-6  # the test can fail


def test_uniform_draw_has_no_favourite_place(wide):
    table = landcover.sample_table(wide, per_class=1, uniform=5000)
    rows = table.loc[table["draw"] == "uniform", "row"]
    assert stats.kstest(rows, stats.randint(0, 150).cdf).pvalue > 0.01


@pytest.mark.parametrize("window", [8, 16, 256])
def test_part_is_the_window_of_the_pixel(series, window):
    table = landcover.sample_table(series, per_class=50, uniform=300, window=window)
    windows = list(zip(table["row"] // window, table["col"] // window, strict=True))
    assert len(set(windows)) == table["part"].nunique() == len(set(zip(windows, table["part"], strict=True)))


def test_table_is_sorted_and_numbered(series):
    table = landcover.sample_table(series, per_class=50, uniform=300, window=8)
    keys = list(zip(table["part"], table["row"], table["col"], strict=True))
    assert keys == sorted(keys)
    assert table["id"].tolist() == list(range(len(table)))


def test_draw_follows_from_the_seed(series):
    one, same, other = (landcover.sample_table(series, 30, 100, seed=seed) for seed in (4, 4, 5))
    pd.testing.assert_frame_equal(one, same)
    assert set(zip(one["row"], one["col"], strict=True)) != set(zip(other["row"], other["col"], strict=True))


# === Splits and weights ===


def test_keep_draws_apart_worked_example():
    split = pd.Series(["train", "train", "validation", "validation", "test", "test", "none"])
    draw = pd.Series(["per_class", "uniform", "per_class", "uniform", "per_class", "uniform", "uniform"])
    assert landcover.samples.keep_draws_apart(split, draw).tolist() == [
        "train",
        "prior",
        "none",
        "validation",
        "none",
        "test",
        "none",
    ]


@pytest.mark.parametrize(("kind", "options"), [("block", {"block_m": 40, "label": "label"}), ("random", {})])
def test_what_is_learned_from_and_what_is_scored_are_different_draws(series, kind, options):
    table = landcover.sample_table(series, per_class=60, uniform=250)
    split = splits.assign(table, kind, validation=0.2, test=0.3, **options)
    apart = landcover.samples.keep_draws_apart(split, table["draw"])
    found = table.groupby(apart)["draw"].unique().map(set).to_dict()
    assert found == {
        "train": {"per_class"},
        "prior": {"uniform"},
        "validation": {"uniform"},
        "test": {"uniform"},
        "none": {"per_class"},
    }
    assert set(split[apart == "prior"]) == {"train"}  # shares are counted on training ground only


def test_splits_with_and_without_buffer_differ_in_what_is_learned_alone():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"label": rng.integers(0, 3, 400)}, index=np.arange(400) + 5)
    table["split_block"] = rng.choice(["train", "test", "prior", "validation"], 400, p=[0.6, 0.2, 0.1, 0.1])
    out = (table["split_block"] != "test") & (rng.random(400) < 0.5)
    table["split_buffered"] = table["split_block"].mask(out, "none")
    found = landcover.samples.with_and_without_buffer(table, seed=1)
    buffer, beside, as_many = found.values()
    assert beside.equals(table["split_block"])
    assert buffer.equals(table["split_buffered"])
    for split in found.values():
        assert ((split == "test") == (buffer == "test")).all()
    counts = [table["label"][split == "train"].value_counts().to_dict() for split in (buffer, as_many)]
    assert counts[0] == counts[1]
    assert (beside[as_many == "train"] == "train").all()
    assert not (as_many[as_many == "train"].index).equals(buffer[buffer == "train"].index)


def test_prior_weights_worked_example():
    table = pd.DataFrame(
        {
            "label": [0] * 10 + [1] * 10 + [0] * 8 + [1] * 2 + [1] * 50,
            "split": ["train"] * 20 + ["prior"] * 10 + ["test"] * 50,
        }
    )
    # With one added to each count, 9 to 3 pixels: shares 3/4 and 1/4 of 20 training samples, 10 a class.
    np.testing.assert_allclose(landcover.samples.prior_weights(table, "split", 3), [1.5, 0.5, 0])


def test_weighted_training_samples_have_the_shares_of_their_ground(wide):
    table = landcover.sample_table(wide, per_class=700, uniform=8000)
    split = splits.assign(table, "block", block_m=100, validation=0.2, test=0.3, label="label")
    table["split"] = landcover.samples.keep_draws_apart(split, table["draw"])
    weights = landcover.samples.prior_weights(table, "split", 3)
    drawn, wanted = (
        table.loc[table["split"] == name, "label"].value_counts(sort=False).sort_index().to_numpy()
        for name in ("train", "prior")
    )
    np.testing.assert_allclose(weights * drawn / drawn.sum(), wanted / wanted.sum(), atol=1e-3)
    assert (weights * drawn).sum() / drawn.sum() == pytest.approx(1)
    assert np.ptp(weights) > 0.5


# === Ground ===


def test_connected_groups_worked_example():
    label = np.array([[0, 0, 1], [255, 1, 0], [1, 1, 0]], np.uint8)  # the two ones touch at a corner only
    groups = landcover.samples.connected_groups(xr.Dataset({"label": (("y", "x"), label)}))
    np.testing.assert_array_equal(groups, [[1, 1, 3], [0, 4, 2], [4, 4, 2]])


def test_connected_groups_are_the_components_of_the_neighbour_graph(wide):
    label = wide["label"].to_numpy()
    groups = landcover.samples.connected_groups(wide)
    number = np.arange(label.size).reshape(label.shape)
    right, down = label[:, :-1] == label[:, 1:], label[:-1] == label[1:]
    edges = np.concatenate(
        [
            np.stack([number[:, :-1][right], number[:, 1:][right]]),
            np.stack([number[:-1][down], number[1:][down]]),
        ],
        axis=1,
    )
    graph = coo_array((np.ones(edges.shape[1]), tuple(edges)), shape=(label.size, label.size))
    expected = connected_components(graph, directed=False)[1][label.ravel() != 255]
    found = groups.ravel()[label.ravel() != 255]
    pairs = set(zip(expected.tolist(), found.tolist(), strict=True))
    assert len(pairs) == len(set(expected)) == len(set(found)) == found.max()
    assert not groups[label == 255].any()


def test_default_block_is_a_tenth_of_the_shorter_side_in_metres():
    assert landcover.samples.default_block_m(example.series(23, 31)) == pytest.approx(23)
    assert landcover.samples.default_block_m(example.series(23, 31, cell_y=20)) == pytest.approx(31)


def test_default_buffer_is_the_side_of_a_polygon_of_mean_area():
    """Four polygons of 2, 1, 3 and 2 pixels of 10 by 20 m: 400 m2 each in the mean."""
    label = np.array([[0, 0, 1], [255, 1, 0], [1, 1, 0]], np.uint8)
    series = example.place(xr.Dataset({"label": (("y", "x"), label)}), cell_y=20)
    groups = landcover.samples.connected_groups(series)
    assert landcover.samples.default_buffer_m(series, groups) == pytest.approx(20)


def border_everywhere(series: xr.Dataset) -> np.ndarray:
    shape = series["label"].shape
    return landcover.samples.border_m(series, *np.indices(shape).reshape(2, -1)).reshape(shape)


def test_distance_to_the_border_of_a_polygon_is_in_metres_from_the_pixels_centre():
    label = np.zeros((5, 6), np.uint8)
    label[:, 4:] = 1
    label[4] = 255
    data = example.place(xr.Dataset({"label": (("y", "x"), label)}), cell_x=10, cell_y=30)
    found = border_everywhere(data)
    assert found[0].tolist() == [35, 25, 15, 5, 5, 15]  # the scene's edge is no border
    assert found[3].tolist() == [5] * 6  # beside pixels without a label, in half pixels of the shorter side
    assert found[4].tolist() == [0] * 6
    alone = example.place(xr.Dataset({"label": (("y", "x"), np.ones((3, 3), np.uint8))}))
    assert np.isinf(border_everywhere(alone)).all()


def test_distance_to_the_border_is_that_to_the_nearest_other_label(wide):
    """By brute force over all pairs; beside a bent border they differ by less than a pixel."""
    part = wide.isel(y=slice(0, 40), x=slice(0, 40))
    label, found = part["label"].to_numpy(), border_everywhere(part)
    y, x = np.mgrid[:40, :40]
    for row, col in zip(*np.nonzero(label != 255), strict=True):
        other = label != label[row, col]
        nearest = 10 * np.hypot(y[other] - row, x[other] - col).min() - 5
        assert abs(found[row, col] - nearest) < 10


def test_distances_to_borders_are_those_of_the_whole_scene_however_it_is_cut(monkeypatch):
    """Also where the next border is many squares away, and in pixels that are no squares."""
    label = np.zeros((70, 90), np.uint8)
    label[3:9, 80:] = 1
    label[60:, :7] = 255
    series = example.place(xr.Dataset({"label": (("y", "x"), label)}), cell_x=10, cell_y=20)
    whole = border_everywhere(series)
    monkeypatch.setattr(landcover.samples, "BLOCK", 8)
    np.testing.assert_array_equal(border_everywhere(series), whole)


def test_samples_and_distances_of_a_large_scene_take_few_bytes_a_pixel(monkeypatch):
    """A tile of 10980² pixels took 33 bytes a pixel for distances to borders, 4 GB, and 11 for the draw."""
    side = 1600
    monkeypatch.setattr(landcover.samples, "BLOCK", 128)  # of a tile it is as small
    label = np.random.default_rng(0).integers(0, 5, (side // 20, side // 20), np.uint8)
    label = label.repeat(20, 0).repeat(20, 1)
    series = example.place(xr.Dataset({"label": (("y", "x"), label)}))
    tracemalloc.start()
    table = landcover.sample_table(series, 20, 50)
    drawn = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    landcover.samples.border_m(series, table["row"].iloc[:3], table["col"].iloc[:3])
    measured = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert drawn < 6 * side**2
    assert measured < 6 * side**2


# === Windows and store ===


@pytest.mark.slow
@pytest.mark.parametrize("window", [8, 10, 256])  # of 23 rows and 31 columns: neither divides
@pytest.mark.parametrize("recipe", [RECIPE, Recipe(indices=("NDVI",), period="none", fill="linear")])
def test_every_part_has_the_values_of_the_whole_scene(series, window, recipe):
    table = landcover.sample_table(series, per_class=60, uniform=200, window=window).assign(year=2020)
    whole = recipe.apply(series).compute()
    produce = landcover.sample_producer(series.chunk({"y": 9, "x": 7}), recipe, window)
    for _, rows in table.groupby("part"):
        made = produce(rows)
        where = {"y": xr.DataArray(rows["row"], dims="s"), "x": xr.DataArray(rows["col"], dims="s")}
        expected = whole.isel(where)
        np.testing.assert_array_equal(made["image"], expected["image"].transpose("s", "time", "band"))
        np.testing.assert_array_equal(made["valid"], expected["valid"].transpose("s", "time"))
        np.testing.assert_array_equal(made["label"], rows["label"])
        assert made["label"].dtype == np.uint8
        assert made["image"].dtype == np.float32


def test_samples_have_the_bands_and_composites_of_their_pixel(series):
    table = landcover.sample_table(series, per_class=60, uniform=200).assign(year=2020)
    made = landcover.sample_producer(series, RECIPE)(table)
    image, clear = series["image"].to_numpy(), series["clear"].to_numpy()
    january = clear[:2] & np.isfinite(image[:2]).all(axis=1)
    values = np.where(january[:, None], image[:2], np.nan)[:, ::-1]  # the recipe wants B08 before B04
    seen = january.any(axis=0)[table["row"], table["col"]]
    np.testing.assert_array_equal(made["valid"][:, 0], seen)
    expected = np.nanmean(values[:, :, table["row"], table["col"]][:, :, seen], axis=0).T  # median of two
    np.testing.assert_allclose(made["image"][seen, 0], expected, rtol=1e-6)
    assert not made["valid"][:, 3:11].any()  # April to November have no acquisition


def test_window_reader_tells_pixels_that_no_date_shows(series):
    hidden = series.copy(deep=True)
    hidden["clear"][:, 5, 6] = False
    hidden["clear"][:, 5, 7], hidden["clear"][3, 5, 7] = False, True
    hidden["image"][3, :, 5, 7] = 0.5
    read = landcover.samples.window_reader(hidden, RECIPE)(4, 5, 3, 9)
    assert read["image"].shape == (3, 9, 12, 2)
    assert read["valid"].shape == read["day"].shape == (3, 9, 12)
    assert read["nodata"].shape == (3, 9)
    assert read["nodata"][1, 1]
    assert not read["nodata"][1, 2]
    np.testing.assert_array_equal(read["nodata"], ~read["valid"].any(axis=2))
    np.testing.assert_array_equal(read["day"][0, 0, :3], [15, 45, 75])  # middles of the months


def store_of(folder, series, recipe, options):
    prepared = recipe.apply(series)
    table = landcover.samples.each_year(landcover.sample_table(series, 40, 100, window=10), series)
    return write_store(
        folder / "store",
        table,
        landcover.store_arrays(prepared),
        "part",
        landcover.sample_producer(series, recipe, 10),
        fingerprint={"toy": 1},
        metadata=landcover.store_metadata(example.entry(folder), series, prepared, recipe, options),
        progress=False,
    )


def test_store_says_what_it_holds(series, tmp_path):
    store = store_of(tmp_path, series, RECIPE, {"bands": ["B04"]})
    expected = RECIPE.apply(series)["image"].to_numpy()[:, :, store.table["row"], store.table["col"]]
    np.testing.assert_array_equal(store.arrays["image"], expected.transpose(2, 0, 1))
    assert store.dataset["band"].to_numpy().tolist() == ["B08", "B04"]
    assert store.time[[0, 1, 11]].strftime("%Y-%m-%d").tolist() == ["2020-01-16", "2020-02-15", "2020-12-16"]
    assert store.dataset["image"].attrs["units"] == "reflectance"
    assert scheme_of(store.metadata).names == ("Wood", "Field", "Town")
    assert scheme_of(series) == scheme_of(store.metadata)
    assert Recipe.from_dict(store.metadata["recipe"]) == RECIPE
    assert store.metadata["open_series"] == {"bands": ["B04"]}
    assert (store.metadata["license"], store.metadata["simulated"]) == ("CC0-1.0", False)


def in_years(series):
    """Two years of images; the true maps are of the first and of the year before it."""
    later = series.assign_coords(time=series["time"].to_numpy() + np.timedelta64(371, "D"))
    later = later.assign(image=later["image"] + 1, clear=later["clear"].copy(data=~series["clear"]))
    both = xr.concat([series, later.isel(time=slice(0, 4))], "time", data_vars="minimal")
    truth = xr.concat([series["truth_before"], series["truth"]], "year").assign_coords(year=[2019, 2020])
    return both.drop_vars("truth_before").assign(truth=truth)


def test_a_year_of_a_series_has_its_own_images_and_truth(series):
    both = in_years(series)
    assert landcover.series.years_of(both) == [2020, 2021]
    first, second = (landcover.series.in_year(both, year) for year in (2020, 2021))
    for name in ("image", "clear", "label", "truth", "truth_before"):
        np.testing.assert_array_equal(first[name], series[name])
    assert second["image"].min() >= 1
    assert "truth" not in second
    assert landcover.series.in_year(both, 0).sizes["time"] == both.sizes["time"]
    with pytest.raises(ParameterError, match=r"no images of 2019.*Known: 2020, 2021"):
        landcover.series.in_year(both, 2019)


def test_samples_of_years_are_the_same_pixels_with_their_own_images_days_and_truth(series):
    both = in_years(series)
    pixels = landcover.sample_table(both, per_class=40, uniform=100, window=10)
    table = landcover.samples.each_year(pixels, both)
    assert table["id"].tolist() == list(range(2 * len(pixels)))
    assert not table.duplicated(["pixel", "year"]).any()
    assert table.groupby("part")["year"].nunique().eq(1).all()
    first, second = (table[table["year"] == year] for year in (2020, 2021))
    for column in pixels.columns.drop(["id", "part"]):
        assert (first[column].to_numpy() == second[column].to_numpy()).all()
    np.testing.assert_array_equal(first["truth"], at(series, "truth", first))
    assert (second["truth"] == 255).all()
    produce = landcover.sample_producer(both, Recipe(period="none", acquisitions=5).for_series(both), 10)
    for rows, days_of in ((first, [2, 19, 41, 61, 365]), (second, [7, 24, 46, 66, 66])):
        made = produce(rows[rows["part"] == rows["part"].iloc[0]])
        assert made["day"][0].tolist() == days_of
        assert (made["image"][made["valid"]].min() >= 1) == (rows is second)
    assert not made["valid"][:, 4].any()  # the fifth date of the second year fills up


def test_map_and_store_give_a_model_the_same_days(series, tmp_path):
    """Regression: uncomposited dates kept their time of day in the map, but not in the store."""
    recipe = Recipe(period="none")
    store = store_of(tmp_path, series, recipe, {})
    inputs = pixel_series(recipe.apply(series))
    np.testing.assert_array_equal(inputs["day"][4, 5], store.arrays["day"][7])
    np.testing.assert_array_equal(inputs["day"][4, 5], days(store.time))
    np.testing.assert_array_equal(inputs["day"][4, 5], [2, 19, 41, 61, 365])


def test_a_store_keeps_observations_whose_index_is_undefined(series, tmp_path):
    """Regression: where the sum of two bands was not positive, the bands were lost with the index."""
    dark = series.copy(deep=True)
    dark["image"][0] = np.where(np.isfinite(dark["image"][0]), -0.01, np.nan)
    recipe = Recipe(period="none", indices=("NDVI",))
    store = store_of(tmp_path, dark, recipe, {})
    seen = np.asarray(store.arrays["valid"])[:, 0]
    first = np.asarray(store.arrays["image"])[seen, 0]
    assert seen.any()
    assert (first[:, :2] == np.float32(-0.01)).all()
    assert np.isnan(first[:, 2]).all()


def test_a_series_of_which_nothing_is_clear_is_refused(series, tmp_path):
    """Regression: with codes that no pixel has, all samples were empty and the study was done."""
    hidden = series.assign(clear=series["clear"] & False)
    with pytest.raises(DataError, match=r"No sample is observed on any date.*keep_scl.*\[4, 5, 6, 7, 11\]"):
        landcover.samples.observed_share(store_of(tmp_path / "none", hidden, RECIPE, {}))
    shares = landcover.samples.observed_share(store_of(tmp_path / "some", series, RECIPE, {}))
    assert len(shares) == 12
    assert shares.max() > 0


@pytest.mark.parametrize(("cell", "pixels"), [(10, 4), (20, 2), (60, 1)])
@pytest.mark.parametrize("layout", ["sentinel2_corine", "eolearn_patch"])
def test_a_buffer_around_clouds_is_counted_in_pixels_of_the_scene_classification(
    tmp_path, monkeypatch, layout, cell, pixels
):
    cloud = np.zeros((1, 30, 40), bool)
    cloud[0, 12, 20] = True
    if layout == "sentinel2_corine":
        arrays = {"scl": np.where(cloud, 9, 4), "reflectance": np.ones((1, 1, 30, 40), np.float32)}
        arrays |= {"corine": np.repeat([112, 211], 600).reshape(30, 40)}
    else:
        arrays = {"CLM": cloud, "NDVI": np.ones((1, 30, 40)), "LULC": np.repeat([1, 2], 600).reshape(30, 40)}
    dims = {2: ("y", "x"), 3: ("time", "y", "x"), 4: ("time", "band", "y", "x")}
    source = xr.Dataset({name: (dims[values.ndim], values) for name, values in arrays.items()})
    source = source.assign_coords(time=np.array(["2020-01-01"], "datetime64[ns]"), band=["B04"])
    source = example.place(source, cell, cell)
    if "corine" in source:
        source["corine"].attrs["cell_m"] = 100.0
    monkeypatch.setattr(DataEntry, "open", lambda self, **options: source)
    found = landcover.series.open_series(example.entry(tmp_path, layout), cloud_buffer=2)["clear"][0]
    expected = np.ones((30, 40), bool)
    expected[12 - pixels : 13 + pixels, 20 - pixels : 21 + pixels] = False
    np.testing.assert_array_equal(found, expected)


def test_entry_without_licence_or_citation_can_be_stored(series, tmp_path):
    """Regression: both are optional in a catalogue, but the store needed them."""
    bare = example.entry(tmp_path, metadata={})
    metadata = landcover.store_metadata(bare, series, RECIPE.apply(series), RECIPE, {})
    assert metadata["dataset"] == "toy"
    assert "license" not in metadata
