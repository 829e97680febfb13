"""Maps of scenes with a network of any study: what the files hold, what validators say, what is refused."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import geopandas as gpd
import matplotlib.pyplot as plt
import numpy as np
import own_example
import pystac
import pytest
import rasterio
import scene_example
from pystac.extensions.classification import Classification
from rasterio.enums import ColorInterp
from rio_cogeo.cogeo import cog_validate

from eolab import cli, prediction, tasks
from eolab.core.errors import EolabWarning
from eolab.data.store import ArraySpec
from eolab.prediction import mapping, silence
from eolab.studies import products
from eolab.tasks import fitted as networks

pytestmark = pytest.mark.slow  # twelve seconds together
BANDS = own_example.BANDS
CLASSES = ("elsewhere", "slide & scar", "water")
FACTS = {"coords": {"band": list(BANDS)}, "dataset": "mine", "pixel_m": 10.0}


@pytest.fixture(autouse=True)
def _own(monkeypatch):
    monkeypatch.setenv("EOLAB_CATALOG", "")


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def masks(runs):
    """A network that gives each pixel of images of 16 × 12 one of three classes."""
    facts = FACTS | {"class_scheme": scene_example.scheme(*CLASSES)}
    options = {"shape": {"height": 16, "width": 12}, "head": "mask", "filters": 4, "levels": 2}
    return scene_example.run(runs, "mine", "segmentation", "unet", BANDS, facts, **options)


def write(file: Path, size: int = 60, nodata: int = 3, factor: float = 1.0, **options) -> Path:
    """Write a scene of reflectance with `nodata` rows without data."""
    values = own_example.numbers(4, size, size, seed=1).astype("float32") * (factor / 1e4)
    values[:, :nodata] = np.nan
    return own_example.image(file, values, nodata=np.nan, **options)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return write(tmp_path_factory.mktemp("scene") / "S_2020-07-01.tif")


def pixels(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read()


def valid(path: Path) -> None:
    """Ask the validators of rio-cogeo and pystac."""
    assert cog_validate(path, strict=True, quiet=True) == (True, [], [])
    if (item := path.with_suffix(".json")).exists():
        made = pystac.Item.from_file(str(item))
        made.stac_extensions = []  # whose rules are on the network; the core's are in pystac
        assert made.validate() == ["https://schemas.stacspec.org/v1.1.0/item-spec/json-schema/item.json"]


@pytest.fixture(scope="module")
def mapped(masks, scene, tmp_path_factory):
    out = tmp_path_factory.mktemp("map") / "classes.tif"
    command = ["map", masks, scene, "--out", out, "--stac", "--polygons"]
    assert cli.main([str(one) for one in command]) == 0
    return out


def test_a_map_of_classes_has_what_the_network_predicts_of_patches(mapped, masks, scene):
    fitted = tasks.load(masks)
    image = np.moveaxis(pixels(scene), 0, -1)
    classes, percent = pixels(mapped)
    assert (classes[:3] == 255).all()
    assert (percent[:3] == 255).all()
    assert set(np.unique(classes[3:])) <= {0, 1, 2}
    found = fitted.network.predict_on_batch({"image": np.nan_to_num(image)[None, :16, :12]})["mask"][0]
    corner = np.s_[3:9, :5]  # of one patch alone; others overlap by half of what they keep
    np.testing.assert_array_equal(classes[corner], found[corner].argmax(-1))
    assert np.abs(percent[corner] - 100 * found[corner].max(-1)).max() < 0.51


def test_a_map_of_classes_is_a_valid_cog_with_colours_names_and_no_alpha(mapped):
    valid(mapped)
    with rasterio.open(mapped) as file:
        assert file.descriptions == ("class", "confidence")
        assert file.units == ("class index", "percent")
        assert file.colorinterp == (
            ColorInterp.palette,
            ColorInterp.undefined,
        )  # confidence is no transparency
        assert file.colormap(1)[0] == (*bytes.fromhex(scene_example.scheme("a")["colors"][0][1:]), 255)
        assert file.nodata == 255
        assert file.tags()["image_time"] == "2020-07-01T00:00:00"
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert "<Category>slide &amp; scar</Category>" in Path(f"{mapped}.aux.xml").read_text()


def test_a_stac_item_says_where_when_and_what(mapped):
    item = pystac.Item.from_file(str(mapped.with_suffix(".json")))
    assert item.datetime.isoformat() == "2020-07-01T00:00:00+00:00"
    assert item.properties["proj:code"] == own_example.CRS
    assert item.properties["eolab:run"] == "mine/03_train/run-1"
    west, south, east, north = item.bbox
    assert 14.9 < west < east < 15.1
    assert 44.2 < south < north < 44.4
    assert {one.get_absolute_href() for one in item.assets.values()} == {
        str(mapped), str(mapped.with_suffix(".gpkg"))
    }  # fmt: skip
    first, second = item.assets["map"].to_dict()["bands"]
    assert [one["title"] for one in first["classification:classes"]] == list(CLASSES)
    assert first["classification:classes"][1]["name"] == "slide-scar"
    for one in first["classification:classes"]:
        assert Classification.create(**one).to_dict() == one
    assert len(item.geometry["coordinates"][0]) < 40
    assert second["unit"] == "percent"


def test_polygons_cover_each_class_as_the_map_does(mapped, monkeypatch):
    classes = pixels(mapped)[0]
    for side in (2048, 25):  # in one piece, and in squares
        monkeypatch.setattr(mapping.beside, "SIDE", side)
        frame = gpd.read_file(mapping.write_polygons(mapped))
        assert frame.crs.to_string() == own_example.CRS
        assert frame.geometry.is_valid.all()
        area = frame.dissolve("class", aggfunc={"area_ha": "sum", "name": "first"})
        for index, row in area.iterrows():
            count = (classes == index).sum()
            assert row["geometry"].area == pytest.approx(100 * count)
            assert row["area_ha"] == pytest.approx(count / 100, rel=1e-3)
            assert row["name"] == CLASSES[index]


def test_overviews_are_the_nearest_class_and_the_mean_of_values(tmp_path):
    """Regression: GDAL averages the colours of numbers that have some, and calls a second band alpha."""
    rng = np.random.default_rng(0)
    grid = mapping.scenes.GeoBox((700, 700), rasterio.Affine(10, 0, 0, 0, -10, 0), "EPSG:32633")
    values = rng.random((700, 700, 1)).astype("float32")
    nodata = np.zeros((700, 700), bool)
    nodata[:301, :200] = True

    def read(row, col, height, width):
        at = np.s_[row : row + height, col : col + width]
        return {"image": values[at], "nodata": nodata[at]}

    def made(content, predict):
        return mapping.predict_map(predict, read, grid, tmp_path / "map.tif", content, progress=False)

    for content, factor, tolerance in (
        (mapping.ValueBand("degree"), 100, 1.01),
        (mapping.ValueBand("biomass", unit="t/ha"), 300, 0.01),
    ):
        path = made(content, lambda inputs, n=factor: inputs["image"] * (n if n != 100 else 1))
        valid(path)
        with rasterio.open(path) as file:
            assert file.overviews(1) == [2]
            assert file.units == ("percent" if factor == 100 else "t/ha",)
            half = file.read(1, out_shape=(350, 350), masked=True)
        known = np.where(nodata, np.nan, values[..., 0] * factor)
        with np.errstate(invalid="ignore"), pytest.warns(RuntimeWarning, match="empty"):
            expected = np.nanmean(known.reshape(350, 2, 350, 2), axis=(1, 3))
        np.testing.assert_array_equal(np.ma.getmaskarray(half), np.isnan(expected))
        assert np.nanmax(np.abs(half.filled(0) - np.nan_to_num(expected))) < tolerance
    scheme = products.ClassScheme.numbered("two", [("a", "#000000"), ("b", "#ffffff")])
    path = made(scheme, lambda inputs: np.concatenate([inputs["image"], 1 - inputs["image"]], -1))
    with rasterio.open(path) as file:
        whole, half = file.read(), file.read(out_shape=(2, 350, 350))
    assert {*np.unique(half[0])} == {0, 1, 255}
    np.testing.assert_array_equal(half, whole[:, ::2, ::2])


def test_labels_of_whole_images_become_a_map_with_a_pixel_for_each_patch(runs, tmp_path):
    facts = FACTS | {"coords": {"band": list(BANDS), "class": ["wood", "lake"]}, "classes": "wood; lake"}
    options = {"shape": {"height": 8, "width": 8}, "head": "labels", "outputs": 2, "activation": "sigmoid"}
    run = scene_example.run(
        runs, "scenes", "multilabel_classification", "shallow_cnn", BANDS, facts,
        params={"classes": ""}, **options,
    )  # fmt: skip
    scene = write(tmp_path / "S_2020-07-01.tif", nodata=6)
    path = products.map_scene(run, scene, tmp_path / "labels.tif", stac=True)
    valid(path)
    with rasterio.open(path) as file:
        assert file.shape == (7, 7)  # of 60 pixels, four are left
        assert file.res == (80.0, 80.0)
        assert file.descriptions == ("wood", "lake")
        found = file.read()
    image = np.nan_to_num(np.moveaxis(pixels(scene), 0, -1))[:56, :56]
    cut = np.moveaxis(image.reshape(7, 8, 7, 8, 4), 2, 1).reshape(49, 8, 8, 4)
    expected = 100 * tasks.load(run).predict({"image": cut})["labels"].reshape(7, 7, 2)
    assert (found[:, 0] == 255).all()  # six of eight rows have no data
    assert np.abs(found[:, 1:] - np.moveaxis(expected, -1, 0)[:, 1:]).max() < 0.51
    said = f"of wood, lake, 255 where there are no data; beside it {path.with_suffix('.json')}."
    assert products.said(path).endswith(said)


def test_values_are_written_in_their_unit(runs, scene, tmp_path):
    label = {"label": ArraySpec(("y", "x"), (16, 16), "float32", {"units": "t/ha", "long_name": "biomass"})}
    options = {
        "shape": {"height": 16, "width": 16},
        "head": "values",
        "outputs": 1,
        "filters": 4,
        "levels": 2,
    }
    run = scene_example.run(
        runs, "biomass", "regression", "unet", BANDS, FACTS, activation="linear", arrays=label, **options
    )
    fitted = tasks.load(run)
    last = fitted.network.get_layer("values_logits")
    last.set_weights([np.random.default_rng(0).normal(size=last.get_weights()[0].shape), np.zeros(1)])
    networks.save(fitted, run)
    path = products.map_scene(run, scene, tmp_path / "biomass.tif")
    valid(path)
    with rasterio.open(path) as file:
        assert (file.descriptions, file.units, file.dtypes) == (("biomass",), ("t/ha",), ("float32",))
        values = file.read(1)
    assert np.isnan(values[:3]).all()
    assert np.isfinite(values[3:]).all()
    assert values[3:].min() < 0  # not cut to 0 to 1
    with pytest.raises(products.ParameterError, match="polygons are of classes"):
        products.map_scene(run, scene, tmp_path / "biomass.tif", polygons=True)


RECIPE = {"period": "QS", "bands": [], "indices": ["NDVI"]}
READING = {
    "bands": [],
    "resolution_m": 10,
    "keep_scl": [4, 5],
    "min_pixels": 5,
    "cloud_buffer": 0,
    "tile": "",
}


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    days = ("2019-05-05", "2020-03-05", "2020-06-11", "2020-09-02")
    folder = own_example.series(tmp_path_factory.mktemp("series"), days)
    for file in (folder / "images").glob("*.tif"):
        with rasterio.open(file, "r+") as image:
            image.scales = (1e-4,) * 4
    return folder / "images"


def of_series(root: Path, task: str = "series_classification", arrays=None, **shape) -> Path:
    names = (*BANDS, "NDVI")
    facts = {"class_scheme": scene_example.scheme("wood", "field"), "recipe": RECIPE, "open_series": READING}
    facts |= {"coords": {"band": list(names)}, "dataset": "mine", "pixel_m": 10.0}
    head = {"head": "years"} if shape else {"head": "labels"}
    head |= {"outputs": 2, "units": 4, "arrays": arrays}
    return scene_example.run(
        root, "landcover", task, "lstm", names, facts, shape={"times": 4, **shape}, **head
    )


def test_a_year_of_a_series_without_labels_is_mapped_as_the_study_s_windows_are(tmp_path, series):
    from eolab.data.preprocess import Recipe
    from eolab.studies import landcover

    run = of_series(tmp_path)
    with pytest.raises(products.ParameterError, match="has images of 2019, 2020: choose one"):
        products.map_scene(run, series, tmp_path / "map.tif")
    path = products.map_scene(run, series, tmp_path / "map.tif", date="2020", stac=True, polygons=True)
    valid(path)
    assert ", from 3 images of 2020, " in products.said(path)
    item = json.loads(path.with_suffix(".json").read_text())["properties"]
    assert item["start_datetime"] == "2020-03-05T00:00:00Z"
    assert item["end_datetime"] == "2020-09-02T00:00:00Z"
    entry = products.catalog.of_place(series, "rasters")
    images, _ = landcover.series.unlabelled(entry)
    read = landcover.samples.window_reader(landcover.series.in_year(images, 2020), Recipe.from_dict(RECIPE))
    inputs = read(0, 0, 24, 24)
    flat = {name: inputs[name].reshape(-1, *inputs[name].shape[2:]) for name in ("image", "valid", "day")}
    expected = prediction.load(run)(flat).reshape(24, 24, 2)
    np.testing.assert_array_equal(pixels(path)[0], expected.argmax(-1))


def test_of_a_network_that_reads_years_together_the_year_is_mapped(tmp_path, series):
    run = of_series(tmp_path, "yearly_classification", years=2)
    found = [
        pixels(products.map_scene(run, series, tmp_path / f"{year}.tif", date=str(year)))
        for year in (2019, 2020)
    ]
    assert found[0].shape == found[1].shape == (2, 24, 24)
    assert (found[0][1] != found[1][1]).any()


def message(arguments, capsys) -> str:
    """The one sentence that a command ends in; a slow machine shows progress before it."""
    assert cli.main(["map", *map(str, arguments)]) == 2
    error = capsys.readouterr().err
    (sentence,) = (line for line in error.splitlines() if line and not line.startswith("map "))
    assert sentence.startswith("eolab: "), error
    return error


@pytest.fixture(scope="module")
def pixel_series(tmp_path_factory):
    """A network of pixel series whose samples were observed in all four quarters of a year."""
    arrays = {"label": ArraySpec((), (), "uint8"), "valid": ArraySpec(("time",), (4,), "bool")}
    return of_series(tmp_path_factory.mktemp("quarters"), arrays=arrays)


def test_images_without_a_date_are_refused_by_a_network_of_series(pixel_series, tmp_path, capsys):
    """Regression: one image without a date was mapped as all of the year 1970."""
    write(tmp_path / "folder/a.tif", size=8)
    write(tmp_path / "folder/b.tif", size=8, nodata=0)
    for place in (tmp_path / "folder/a.tif", tmp_path / "folder"):
        said = message([pixel_series, place, "--out", tmp_path / "map.tif"], capsys)
        assert f"{place} has no date, and images without one cannot be read by a network of series" in said
        assert "put the date into the file's name" in said
    assert not (tmp_path / "map.tif").exists()


def test_a_year_with_far_fewer_dates_than_were_learned_is_warned_of(pixel_series, series, recwarn):
    from eolab.runs import load
    from eolab.studies.landcover.products import scene_of

    trained = products.Trained(load(pixel_series))
    scene_of(trained, products.Wanted(series, "2020"))  # three of four
    assert not [one for one in recwarn if "dates" in str(one.message)]
    with pytest.warns(EolabWarning, match=r"in 1 of 4 dates, .* samples observed in 4 of them"):
        scene_of(trained, products.Wanted(series, "2019"))


def test_a_day_is_refused_by_a_network_of_series(pixel_series, series, tmp_path, capsys):
    """Regression: the whole year was mapped as if it were the day."""
    said = message([pixel_series, series, "--out", tmp_path / "map.tif", "--date", "2020-06-11"], capsys)
    assert "reads the images of a year, not those of 2020-06-11 alone: give --date 2020," in said


def test_a_scene_without_any_data_is_refused_and_no_map_is_left(masks, tmp_path, capsys):
    """Regression: a map of nothing but 255 was a success."""
    scene = write(tmp_path / "empty_2020-07-01.tif", nodata=60)
    assert "empty_2020-07-01.tif has no pixel with data" in message(
        [masks, scene, "--out", tmp_path / "map.tif"], capsys
    )
    assert [one.name for one in tmp_path.iterdir()] == [scene.name]


def test_tensorflow_says_no_more_than_fatal_errors_in_a_command(monkeypatch):
    """Regression: its note on oneDNN stood beside the map of a series."""
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "")  # put back afterwards
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
    silence.start_backend()
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "3"


def test_scenes_that_do_not_fit_the_network_are_refused_in_one_sentence(masks, tmp_path, capsys):
    out = ["--out", tmp_path / "map.tif"]
    cases = {
        "has no B08, which the network reads; it has B02, B03, B04, B11": {
            "names": ("B02", "B03", "B04", "B11")
        },
        "They look like digital numbers": {"factor": 1e4},
        "has pixels of 20 m, and the network has learned from pixels of 10 m": {"pixel": 20.0},
        "has no place on the ground": {"crs": None},
    }
    for said, options in cases.items():
        scene = write(tmp_path / f"{len(said)}/s_2020-07-01.tif", **options)
        assert said in message([masks, scene, *out], capsys)
    dark = write(tmp_path / "dark/s_2020-07-01.tif", factor=1e-4)
    assert "reflectance where digital numbers (× 10,000) were learned from" in message(
        [masks, dark, *out], capsys
    )
    assert "no file or folder" in message([masks, tmp_path / "none.tif", *out], capsys)
    scene = write(tmp_path / "undated.tif")
    assert "says no day of its images" in message([masks, scene, *out, "--stac"], capsys)
    assert "reads no heights" in message([masks, scene, *out, "--dem", "a"], capsys)
    whole = own_example.image(tmp_path / "whole/s_2020-07-01.tif", own_example.numbers(4, 60, 60))
    assert "holds whole numbers (uint16) and states no scale" in message([masks, whole, *out], capsys)
    assert not (tmp_path / "map.tif").exists()
    assert cli.main(["map", *map(str, [masks, scene, *out, "--date", "2020-07-01", "--stac"])]) == 0


def test_runs_that_map_no_scene_are_refused_in_one_sentence(tmp_path, capsys):
    for name, facts, said in (
        ("a", None, "expected model.keras or model.joblib"),
        (
            "b",
            {"task": "sequence_classification", "model": "convlstm", "channels": {}},
            "gives one label to each",
        ),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(json.dumps({"study": "flood", "notebook": "03"}))
        if facts:
            (tmp_path / name / "task.json").write_text(json.dumps(facts))
            (tmp_path / name / "model.keras").write_bytes(b"")
        assert said in message([tmp_path / name, "a.SAFE", "--out", tmp_path / "map.tif"], capsys)


def test_what_files_do_not_say_is_as_in_the_data_set_that_was_learned_from(
    runs, masks, tmp_path, monkeypatch
):
    entry = {"uri": ".", "layout": "rasters", "images": {"bands": list(BANDS)}, "pixels": {"scale": 1e-4}}
    (tmp_path / "eolab_catalog.yaml").write_text(json.dumps({"mine": entry}))
    monkeypatch.chdir(tmp_path)
    numbers = own_example.numbers(4, 60, 60)
    named = own_example.image(tmp_path / "a.tif", numbers)
    unnamed = own_example.image(tmp_path / "b.tif", numbers, names=())
    first, second = (
        products.map_scene(masks, one, tmp_path / f"map_{one.stem}.tif") for one in (named, unnamed)
    )
    np.testing.assert_array_equal(pixels(first), pixels(second))
    assert len(np.unique(pixels(first)[0])) > 1


def test_a_real_product_of_level_1c_is_mapped(runs, real_data, tmp_path):
    facts = {"class_scheme": scene_example.scheme(*CLASSES), "coords": {}, "dataset": "mine"}
    options = {"shape": {"height": 64, "width": 64}, "head": "mask", "filters": 4, "levels": 2}
    run = scene_example.run(tmp_path, "mine", "segmentation", "unet", ("B04", "B11"), facts, **options)
    product = next((real_data / "s2_safe_l1c_T56JMM").iterdir())
    path = products.map_scene(run, product, tmp_path / "map.tif", stac=True)
    valid(path)
    with rasterio.open(path) as file:
        assert file.crs.to_epsg() == 32756
        assert set(np.unique(file.read(1))) - {255} <= {0, 1, 2}
        assert file.tags()["image_time"].startswith("20")


def test_a_real_patch_of_an_ndvi_series_is_mapped(real_data, tmp_path):
    facts = {"class_scheme": scene_example.scheme("wood", "field"), "recipe": {"period": "QS"}}
    facts |= {"open_series": {"min_pixels": 50}, "coords": {"band": ["NDVI"]}, "dataset": "slovenia_eopatch"}
    options = {"shape": {"times": 4}, "outputs": 2, "units": 4, "head": "labels", "high": 2.0}
    run = scene_example.run(
        tmp_path, "landcover", "series_classification", "lstm", ("NDVI",), facts, **options
    )
    path = products.map_scene(run, "slovenia_eopatch", tmp_path / "map.tif", date="2016", polygons=True)
    valid(path)
    assert pixels(path).shape == (2, 101, 100)
    assert len(gpd.read_file(path.with_suffix(".gpkg"))) > 1


QGIS = Path("/usr/bin/python3")  # of Debian, to which its package python3-qgis belongs


@pytest.fixture(scope="module")
def qgis():
    """Return what draws a map as QGIS does."""
    environment = {"QT_QPA_PLATFORM": "offscreen", "PATH": "/usr/bin", "HOME": "/tmp"}

    def run(*arguments) -> subprocess.CompletedProcess:
        command = [str(QGIS), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    if not QGIS.exists() or run("-c", "import qgis.core").returncode:
        pytest.skip("QGIS is not installed: apt-get install python3-qgis")
    script = Path(__file__).with_name("qgis_render.py")

    def draw(path: Path, picture: Path) -> dict:
        done = run(script, path, picture, 60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return draw


def test_qgis_shows_classes_in_their_colours_with_their_names(mapped, qgis, tmp_path):
    """Regression: QGIS took the bands class and confidence for colours."""
    found = qgis(mapped, tmp_path / "map.png")
    colors = scene_example.scheme(*CLASSES)["colors"]
    assert found["renderer"] == "paletted"
    shown = [
        [number, color.lower(), name]
        for number, (color, name) in enumerate(zip(colors, CLASSES, strict=True))
    ]
    assert found["classes"] == shown
    picture = plt.imread(tmp_path / "map.png")[..., :3]
    expected = np.array([[*bytes.fromhex(color[1:])] for color in colors])
    classes = pixels(mapped)[0]
    drawn = np.rint(255 * picture)
    seen = classes != 255
    np.testing.assert_array_equal(drawn[seen], expected[classes[seen]])
    assert (drawn[~seen] == 255).all()  # the paper
