"""One labelled series from a twin and from the real patch: classes, masks, options, the way into a store."""

from __future__ import annotations

import dataclasses
import json

import landcover_example as example
import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr
from scipy.spatial.distance import cdist

from eolab.core.errors import DataError, ParameterError
from eolab.data import catalog, splits
from eolab.data.preprocess import Recipe
from eolab.data.schemes import ClassScheme, scheme_of
from eolab.data.schemes.landcover import CORINE_TO_UPDATE, LANDCOVER
from eolab.data.store import days, open_store, write_store
from eolab.evaluation import metrics
from eolab.studies import landcover
from eolab.studies.landcover import twin as comparison
from eolab.studies.landcover.series import _drop_rare
from eolab.synthetic import materials
from eolab.synthetic import sentinel2_corine as simulate
from eolab.tasks import baselines

pytestmark = pytest.mark.slow

READING = {"bands": ["B04", "B08"], "resolution_m": 20, "keep_scl": [4, 5], "min_pixels": 120}
LULC = {1: "cultivated land", 2: "forest", 3: "grassland", 4: "schrubland", 8: "artificial surface"}


@pytest.fixture(scope="session")
def twin(shared_twin):
    """A small twin and its entry in a catalogue."""
    folder = shared_twin(simulate, size=120, dates=4, year=2020, years=1)
    return example.entry(folder, name="small_twin", twin={"writer": "sentinel2_corine"})


@pytest.fixture(scope="session")
def years(shared_twin):
    """A small twin of three years and its entry in a catalogue."""
    return example.entry(shared_twin(simulate, size=120, dates=2, traps=False), name="small_years")


@pytest.fixture
def patch(real_data, monkeypatch):
    monkeypatch.setenv("EOLAB_REAL_DATA", str(real_data))
    return catalog.load()["slovenia_eopatch"]


@pytest.fixture
def feature(real_data):
    """Read a feature of the real patch past every reader of the kit."""
    return lambda name: np.load(real_data / "eolearn_testeopatch" / "TestEOPatch" / f"{name}.npy")[..., 0]


def write(folder, entry, series, recipe, options, table=None):
    table = landcover.sample_table(series, per_class=100, uniform=600, window=40) if table is None else table
    table = landcover.samples.each_year(table, series, [0])  # the images of all years
    prepared = recipe.apply(series)
    return write_store(
        folder,
        table,
        landcover.store_arrays(prepared),
        "part",
        landcover.sample_producer(series, recipe, 40),
        fingerprint={"reading": options},
        metadata=landcover.store_metadata(entry, series, prepared, recipe, options),
        progress=False,
    )


# === The twin ===


def test_twin_series_has_what_the_reader_has(twin):
    series, source = (
        landcover.series.open_series(twin, **READING),
        twin.open(resolution_m=20, bands=["B04", "B08"]),
    )
    assert dict(series["image"].sizes) == {"time": 4, "band": 2, "y": 60, "x": 60}
    np.testing.assert_array_equal(series["image"], source["reflectance"])
    np.testing.assert_array_equal(series["clear"], np.isin(source["scl"], [4, 5]))
    assert landcover.series.open_series(twin, ["B04"], 20, keep_scl=[])["clear"].sum() == 0


def test_twin_classes_are_those_of_corine_that_are_frequent_enough(twin):
    series = landcover.series.open_series(twin, **READING)
    codes = twin.open(resolution_m=20)["corine"].to_numpy()
    classes = np.array([CORINE_TO_UPDATE.get(code, 255) for code in codes.ravel().tolist()])
    counts = pd.Series(classes[classes != 255]).value_counts()
    kept = sorted(counts.index[counts >= 120])
    names = [LANDCOVER.names[index] for index in kept]
    assert scheme_of(series).names == tuple(names)
    expected = [names.index(LANDCOVER.names[i]) if i in kept else 255 for i in classes.tolist()]
    np.testing.assert_array_equal(series["label"].to_numpy().ravel(), expected)
    dropped = json.loads(series.attrs["dropped"])
    assert dropped == {
        name: int(counts.get(i, 0)) for i, name in enumerate(LANDCOVER.names) if name not in names
    }
    assert dropped


def test_a_table_of_ones_own_makes_the_classes_of_label_and_truth(twin):
    rows = [
        {"name": "Wood", "color": "#117733", "corine": "311 312"},
        {"name": "Field", "color": "#ccf24d", "corine": "211 212 213 241"},
    ]
    series = landcover.series.open_series(twin, **READING | {"min_pixels": 1}, class_table=rows)
    assert scheme_of(series).names == ("Wood", "Field")
    codes = twin.open(resolution_m=20)["corine"].to_numpy()
    expected = np.select([np.isin(codes, [311, 312]), np.isin(codes, [211, 212, 213, 241])], [0, 1], 255)
    np.testing.assert_array_equal(series["label"], expected)
    known = np.array([*LANDCOVER.names, *[""] * 244])[twin.open(resolution_m=20)["truth"].to_numpy()]
    wood = np.isin(known, ["Broadleaves", "Conifers"])
    assert wood.any()
    np.testing.assert_array_equal(series["truth"].to_numpy() == 0, wood)
    field = np.isin(known, ["Not irrigated crops", "Annual crops"])
    np.testing.assert_array_equal(series["truth"].to_numpy() == 1, field)


def test_a_table_of_classes_for_a_map_that_is_not_corine_is_refused(tmp_path):
    with pytest.raises(ParameterError, match="leave class_table empty"):
        landcover.series.open_series(example.entry(tmp_path, "eolearn_patch"), class_table=[])


def test_twin_truth_has_the_numbers_of_the_label(years):
    series = landcover.series.open_series(years, ["B04"], 10)
    assert series["truth"].dims == ("year", "y", "x")
    scheme = scheme_of(series)
    lookup = {LANDCOVER.names.index(known): index for index, known in enumerate(scheme.names)}
    for year in (2018, 2019, 2020):
        with rasterio.open(years.path / f"truth/land_cover_10m_{year}.tif") as raster:
            expected = [lookup.get(value, 255) for value in raster.read(1).ravel().tolist()]
        np.testing.assert_array_equal(series["truth"].sel(year=year).to_numpy().ravel(), expected)


def test_one_year_of_the_twin_has_its_images_and_the_truth_of_both_years(years):
    series = landcover.series.open_series(years, ["B04"], 10)
    assert landcover.series.years_of(series) == [2018, 2019, 2020]
    one = landcover.series.in_year(series, 2019)
    assert landcover.series.years_of(one) == [2019]
    assert one.sizes["time"] == 2
    np.testing.assert_array_equal(one["image"], series["image"].isel(time=[2, 3]))
    np.testing.assert_array_equal(one["truth"], series["truth"][1])
    np.testing.assert_array_equal(one["truth_before"], series["truth"][0])
    np.testing.assert_array_equal(one["label"], series["label"])
    assert one.attrs == series.attrs
    assert one.odc.geobox == series.odc.geobox
    xr.testing.assert_identical(landcover.series.in_year(one, 2019), one)
    with pytest.raises(ParameterError, match=r"no images of 2021.*2018, 2019, 2020"):
        landcover.series.in_year(series, 2021)


def test_the_series_opens_again_with_the_options_the_store_was_made_with(twin, tmp_path):
    """Regression: the store kept no reading options, so the map was made with the default ones."""
    series = landcover.series.open_series(twin, **READING)
    write(tmp_path / "store", twin, series, Recipe(), READING)
    again = landcover.series.open_series(twin, **open_store(tmp_path / "store").metadata["open_series"])
    xr.testing.assert_identical(again.compute(), series.compute())
    assert dict(landcover.series.open_series(twin).sizes) != dict(series.sizes)


def test_twin_and_real_puts_both_in_every_panel(twin):
    series = landcover.series.open_series(twin, min_pixels=1)
    panels = landcover.twin.twin_and_real(landcover.series.in_year(series, 2020))
    assert {"cloud share by month", "reflectance, forest", "NDVI by month, forest"} <= set(panels)
    for table in panels.values():
        assert {"simulated", "real"} <= set(table)
        assert table["simulated"].notna().any()
    forest = panels["reflectance, forest"].set_index("band")
    assert forest.loc["B08", "real"] == pytest.approx(0.229, abs=1e-3)
    assert (forest["real_high"] - forest["real"]).to_numpy() == pytest.approx(
        (forest["real"] - forest["real_low"]).to_numpy()
    )


def test_twin_and_real_compares_the_right_classes_where_some_are_dropped(twin):
    """Regression: with a class dropped, those after it were taken for their neighbours in the scheme."""
    series = landcover.series.in_year(landcover.series.open_series(twin, min_pixels=600), 2020)
    assert scheme_of(series).codes[-1] != len(scheme_of(series)) - 1
    kept = [LANDCOVER.names.index(name) for name in scheme_of(series).names]
    truth = twin.open()["truth"].isel(year=0, drop=True)
    expected = comparison.compare(series.assign(truth=truth.where(truth.isin(kept), 255).astype(np.uint8)))
    expected = expected.query("quantity == 'reflectance'").dropna(subset="simulated").infer_objects()
    reflectance = expected.set_index(["cover", "key"])["simulated"]
    panels = landcover.twin.twin_and_real(series)
    covers = {title.split(", ")[1] for title in panels if title.startswith("reflectance")}
    assert covers == set(reflectance.index.get_level_values("cover"))
    for cover in covers:
        found = panels[f"reflectance, {cover}"].set_index("band")["simulated"]
        pd.testing.assert_series_equal(found, reflectance[cover], check_names=False)


# === The real patch ===


def test_patch_keeps_four_classes_and_names_the_one_it_drops(patch, feature):
    series = landcover.series.open_series(patch)
    written = feature("mask_timeless/LULC")
    assert (written == 1).sum() == 11
    assert json.loads(series.attrs["dropped"]) == {"cultivated land": 11}
    scheme = scheme_of(series)
    assert dict(zip(scheme.codes, scheme.names, strict=True)) == {
        code: name for code, name in LULC.items() if code != 1
    }
    for index, code in enumerate(scheme.codes):
        np.testing.assert_array_equal(series["label"].to_numpy() == index, written == code)
    np.testing.assert_array_equal(series["label"].to_numpy() == 255, np.isin(written, [0, 1]))


def test_patch_series_is_its_ndvi_and_its_masks(patch, feature):
    series = landcover.series.open_series(patch, bands=["NDVI"])
    np.testing.assert_array_equal(series["image"][:, 0], feature("data/NDVI").astype(np.float32))
    clear = feature("mask/IS_DATA").astype(bool) & ~feature("mask/CLM").astype(bool)
    np.testing.assert_array_equal(series["clear"], clear)
    assert series.rio.crs.to_epsg() == 32633


def test_patch_from_file_to_scores(patch, tmp_path):
    options = {"min_pixels": 5}
    series = landcover.series.open_series(patch, **options)
    assert "cultivated land" in scheme_of(series).names
    table = landcover.sample_table(series, per_class=150, uniform=2000, window=40)
    split = splits.assign(
        table, "block", block_m=landcover.samples.default_block_m(series), label="label", test=0.3
    )
    table["split"] = landcover.samples.keep_draws_apart(split, table["draw"])
    recipe = Recipe(period="QS")
    store = write(tmp_path / "store", patch, series, recipe, options, table)
    train, test = store.indices("train"), store.indices("test")
    forest = baselines.build("series_classification", "random_forest", classes=5, seed=0, trees=50)
    forest.fit(store, train)
    truth = store.gather(test)["label"]
    predicted = forest.predict(store, test).argmax(1)
    recall = metrics.statistic_of(metrics.confusion(truth, predicted, 5), "all.balanced_accuracy")
    assert recall > 0.35  # chance is 0.2 to 0.25
    again = landcover.series.open_series(patch, **store.metadata["open_series"])
    assert scheme_of(again) == scheme_of(store.metadata)
    row, col = table.loc[7, ["row", "col"]]
    window = landcover.samples.window_reader(again, recipe)(row, col, 1, 1)
    np.testing.assert_array_equal(window["image"][0, 0], store.arrays["image"][7])
    np.testing.assert_array_equal(window["day"][0, 0], days(store.time))


def test_patch_has_test_ground_of_its_own(patch):
    """Regression: 97 % of its test samples lay in a polygon of training samples, 40 m away, as new ground."""
    series = landcover.series.open_series(patch)
    groups = landcover.samples.connected_groups(series)
    size_m = landcover.samples.default_buffer_m(series, groups)
    assert size_m == pytest.approx(92, abs=1)  # 118 polygons of 99 ha
    table = landcover.sample_table(series, per_class=1200, uniform=8000)
    table["group"] = groups[table["row"], table["col"]]
    block_m = landcover.samples.default_block_m(series)
    apart = splits.apart_blocks(table, block_m, size_m, validation=0.2, test=0.3)
    assert apart.buffer_m == size_m
    assert apart.missing == {}
    split = landcover.samples.keep_draws_apart(apart.split, table["draw"])
    place = table[["x", "y"]].to_numpy()
    learned = place[split.isin(["train", "prior", "validation"])]
    assert cdist(place[split == "test"], learned).min() >= size_m
    counts = pd.crosstab(table["label"], split)
    assert (counts[["train", "validation", "test"]] > 10).all(axis=None)
    # the forest that covers three quarters of the patch is on both sides, and no other polygon is
    shared = set(table["group"][split == "test"]) & set(table["group"][split.isin(["train", "validation"])])
    assert [series["label"].to_numpy()[groups == group][0] for group in shared] == [0]
    assert apart.cut == 1


# === What is refused, what is dropped ===


def test_other_layout_is_refused_by_name(real_data, monkeypatch):
    monkeypatch.setenv("EOLAB_REAL_DATA", str(real_data))
    with pytest.raises(DataError, match=r"sentinel2_t56jmm has the layout sentinel2_safe.*eolearn_patch"):
        landcover.series.open_series(catalog.load()["sentinel2_t56jmm"])


def test_band_that_the_patch_lacks_is_refused_by_name(patch):
    with pytest.raises(ParameterError, match=r"slovenia_eopatch has no band 'NDWI'.*NDVI"):
        landcover.series.open_series(patch, bands=["NDVI", "NDWI"])


def fake_entry(tmp_path, monkeypatch, dataset, layout):
    monkeypatch.setattr(catalog.DataEntry, "open", lambda self, **options: dataset)
    return example.entry(tmp_path, layout)


def land_use(codes: np.ndarray, **attrs) -> xr.Dataset:
    """Return what the reader of eo-learn patches gives, for one date."""
    cube = np.zeros((1, *codes.shape))
    source = {
        "NDVI": (("time", "y", "x"), cube),
        "CLM": (("time", "y", "x"), cube),
        "IS_DATA": (("time", "y", "x"), cube + 1),
        "LULC": (("y", "x"), codes, attrs),
    }
    return example.place(xr.Dataset(source, coords={"time": np.array(["2020-01-01"], "datetime64[ns]")}))


def test_patch_with_more_classes_than_colours_opens(tmp_path, monkeypatch):
    """Regression: a tenth class, snow and ice, had no colour, and the patch could not be opened."""
    codes = np.arange(11, dtype=np.uint8).repeat(60).reshape(11, 60)
    names = json.dumps({code: f"class {code}" if code else "" for code in range(11)})
    entry = fake_entry(tmp_path, monkeypatch, land_use(codes, classes=names), "eolearn_patch")
    series = landcover.series.open_series(entry)
    assert len(scheme_of(series)) == 10
    np.testing.assert_array_equal(series["label"][:, 0], [255, *range(10)])


def test_patch_without_class_names_has_its_codes_as_names(tmp_path, monkeypatch):
    """Regression: without polygons the patch was refused."""
    codes = np.array([0, 3, 7], np.uint8).repeat(60).reshape(3, 60)
    entry = fake_entry(tmp_path, monkeypatch, land_use(codes), "eolearn_patch")
    series = landcover.series.open_series(entry)
    assert scheme_of(series).names == ("land use 3", "land use 7")
    assert series["label"][:, 0].values.tolist() == [255, 0, 1]


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_land_use_codes_of_any_size_are_classes_of_their_own(tmp_path, monkeypatch, kind):
    """Regression: 3000 became 184, modulo 256, and a code without a polygon was lost without a word."""
    codes = np.array([0, 184, 3000], kind).repeat(60).reshape(3, 60)
    names = json.dumps({"0": "", "184": "forest"})
    entry = fake_entry(tmp_path, monkeypatch, land_use(codes, classes=names), "eolearn_patch")
    series = landcover.series.open_series(entry)
    assert scheme_of(series).names == ("forest", "land use 3000")
    assert series["label"][:, 0].values.tolist() == [255, 0, 1]


def test_a_patch_with_a_scene_classification_needs_no_cloud_mask(tmp_path, monkeypatch):
    source = land_use(np.array([1, 2], np.uint8).repeat(60).reshape(2, 60)).drop_vars(["CLM", "IS_DATA"])
    source["SCL"] = (("time", "y", "x"), np.tile(np.array([4, 9, 11, 0], np.uint8), (1, 2, 15)))
    entry = fake_entry(tmp_path, monkeypatch, source, "eolearn_patch")
    clear = landcover.series.open_series(entry, keep_scl=[4, 11])["clear"]
    assert clear[0, 0, :4].values.tolist() == [True, False, True, False]


def test_an_infinite_ndvi_is_no_observation(tmp_path, monkeypatch):
    """Regression: eo-learn divides by 0, and infinity counted as clear."""
    source = land_use(np.array([1, 2], np.uint8).repeat(60).reshape(2, 60))
    source["NDVI"] = source["NDVI"].astype(np.float32).where(source["LULC"] == 1, np.inf)
    series = landcover.series.open_series(fake_entry(tmp_path, monkeypatch, source, "eolearn_patch"))
    assert np.isnan(series["image"][0, 0, 1]).all()
    assert not series["clear"][0, 1].any()


def test_products_without_scene_classification_are_refused(tmp_path, monkeypatch):
    """Regression: Level-1C products ended in a KeyError."""
    source = xr.Dataset({"reflectance": (("time", "band", "y", "x"), np.zeros((1, 1, 2, 2)))})
    entry = fake_entry(tmp_path, monkeypatch, source, "sentinel2_corine")
    with pytest.raises(DataError, match=r"toy has no scene classification.*MSIL2A"):
        landcover.series.open_series(entry)


TOY = ClassScheme("toy", (1, 2, 3), ("Wood", "Field", "Town"), ("#111111", "#222222", "#333333"))


def test_rare_classes_are_dropped_from_every_map():
    label = np.array([[0, 0, 0, 1], [1, 2, 2, 2], [255, 255, 255, 0]], np.uint8)
    truth = np.array([[1, 0, 2, 2], [255, 2, 1, 0], [0, 0, 0, 0]], np.uint8)
    maps = {"label": (("y", "x"), label), "truth": (("y", "x"), truth)}
    series = _drop_rare(xr.Dataset(maps), TOY, min_pixels=3)  # 4 Wood, 2 Field, 3 Town
    np.testing.assert_array_equal(series["label"], [[0, 0, 0, 255], [255, 1, 1, 1], [255, 255, 255, 0]])
    np.testing.assert_array_equal(series["truth"], [[255, 0, 1, 1], [255, 1, 255, 0], [0, 0, 0, 0]])
    scheme = scheme_of(series)
    assert (scheme.codes, scheme.names, scheme.colors) == ((1, 3), ("Wood", "Town"), ("#111111", "#333333"))
    assert json.loads(series.attrs["dropped"]) == {"Field": 2}


def test_one_class_is_too_few():
    label = np.array([[0, 0, 0, 1]], np.uint8)
    with pytest.raises(
        DataError, match=r"Only 1 class of the class scheme 'toy' has 2 labelled pixels.*min_pixels"
    ):
        _drop_rare(xr.Dataset({"label": (("y", "x"), label)}), TOY, min_pixels=2)


def test_overview_of_a_large_scene_has_few_pixels_and_a_small_one_stays_whole():
    image = xr.DataArray(np.arange(300 * 200).reshape(300, 200), dims=("y", "x"))
    series = xr.Dataset({"image": image})
    assert landcover.series.overview(series, 60_000).sizes == {"y": 300, "x": 200}
    small = landcover.series.overview(series, 10_000)
    assert small.sizes["y"] * small.sizes["x"] <= 10_000
    np.testing.assert_array_equal(small["image"], image[::3, ::3])


# === The twin beside real samples ===


def test_compare_finds_a_known_difference():
    """A series made of the real means themselves comes out equal; a brighter band shows."""
    truth = np.repeat(np.arange(12, dtype=np.uint8), 10)[:, None] * np.ones((1, 120), np.uint8)
    top = np.zeros((12, *truth.shape), np.float32)
    means = comparison.REAL.query("quantity == 'reflectance'").groupby("cover")["value"]
    for cover, names in comparison.COVERS.items():
        for name in names:
            top[:, truth == LANDCOVER.names.index(name)] = means.get_group(cover).to_numpy()[:, None]
    bands = list(materials.BANDS)
    ground = (top - materials.PATH[:, None, None]) / materials.TRANSMITTANCE[:, None, None]
    ground[bands.index("B11")] += 0.1 / materials.TRANSMITTANCE[bands.index("B11")]
    series = xr.Dataset(
        {
            "image": (("time", "band", "y", "x"), ground[None]),
            "clear": (("time", "y", "x"), np.ones((1, *truth.shape), bool)),
            "truth": (("y", "x"), truth),
        },
        coords={"time": pd.to_datetime(["2020-07-01"]), "band": bands},
    )
    table = comparison.compare(series).set_index(["quantity", "cover", "key"])
    difference = (table["simulated"] - table["real"]).loc["reflectance"]
    assert len(difference) == 5 * 12
    assert difference.xs("B11", level="key").to_numpy() == pytest.approx(0.1, abs=1e-5)
    assert difference.drop("B11", level="key").abs().max() < 1e-5
    found = table["simulated"].dropna()
    assert set(found.loc["NDVI by month"].index.get_level_values("key")) == {7}
    assert found.loc["cloud share by month"].tolist() == [0.0]


def test_compare_counts_clouds_of_the_classification():
    """Shadow and snow are not clear, but no clouds; what was not seen does not count."""
    scl = np.array([[[9, 3, 11, 4], [0, 0, 8, 4]]], np.uint8)
    series = xr.Dataset(
        {
            "image": (("time", "band", "y", "x"), np.full((1, 12, 2, 4), 0.1, np.float32)),
            "clear": (("time", "y", "x"), scl == 4),
            "scl": (("time", "y", "x"), scl),
            "truth": (("y", "x"), np.zeros((2, 4), np.uint8)),
        },
        coords={"time": pd.to_datetime(["2020-03-01"]), "band": list(materials.BANDS)},
    )
    table = comparison.compare(series).query("quantity == 'cloud share by month'")
    assert table["simulated"].dropna().tolist() == [pytest.approx(2 / 6)]


def test_an_entry_cuts_products_to_its_area_and_its_dates(twin):
    whole = landcover.series.open_series(twin, min_pixels=1)
    times, west, north = whole["time"].to_numpy(), float(whole["x"][0]), float(whole["y"][0])
    days = tuple(np.datetime_as_string(times[[1, 2]], "D").tolist())
    area = (west - 5, north + 5 - 100, west - 5 + 80, north + 5)
    cut = landcover.series.open_series(dataclasses.replace(twin, bounds=area, dates=days), min_pixels=1)
    assert cut["time"].to_numpy().tolist() == times[1:3].tolist()
    assert (cut.sizes["y"], cut.sizes["x"]) == (10, 8)
