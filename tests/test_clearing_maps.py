"""Maps of the degree of need for clearing: values, seams, no data, what the file says, wrong scenes."""

from __future__ import annotations

import itertools
import json

import numpy as np
import odc.geo.xr  # noqa: F401  (registers the .odc accessor)
import pandas as pd
import pytest
import rasterio
import rasterio.shutil
import yaml
from matplotlib import colormaps

from eolab import cli, models, prediction, tasks
from eolab.core.errors import ParameterError
from eolab.data import catalog
from eolab.data.layouts import rasters
from eolab.prediction import mapping
from eolab.prediction.mapping.windows import weights, windows
from eolab.studies.clearing import products, samples
from eolab.synthetic import clearing as twin_writer
from eolab.tasks import fitted as networks

pytestmark = pytest.mark.slow  # reads a twin that takes seconds to write

SIZE = (48, 40)  # of the samples
GROUPS = ["true_colour", "indices"]


@pytest.fixture(scope="module")
def scene(shared_twin):
    return shared_twin(twin_writer, size=240, dates=3) / "sentinel2"


@pytest.fixture(scope="module")
def images(scene) -> samples.Images:
    found = samples.open_images(catalog.of_place(scene, "rasters"), GROUPS)
    return samples.Images(found.ground.load(), None, found.channels)


@pytest.fixture(scope="module")
def number(images) -> int:
    """The date with clouds on part of the image."""
    clouds = [np.isin(codes, samples.CLOUDS).mean() for codes in images.ground["scl"].to_numpy()]
    return int(np.argmin(np.abs(np.array(clouds) - 0.3)))


@pytest.fixture(scope="module")
def day(images, number) -> str:
    return str(images.ground["time"].values[number])[:10]


@pytest.fixture(scope="module")
def whole(images, number) -> tuple[np.ndarray, np.ndarray]:
    """Channels of the whole image, NaN under clouds as in the samples, and where a map has a value."""
    values, clear = samples.read_window(images, number, (slice(None), slice(None)))
    return np.where(clear[..., None], values, np.nan), clear & np.isfinite(values[..., :3]).all(-1)  # bands


def network_of(height, width, mean, std):
    given = {"head": "values", "activation": "linear", "filters": 4, "levels": 2, "seed": 3}
    return models.build(
        "unet", height=height, width=width, channels=len(mean), outputs=1, mean=mean, std=std, **given
    )


@pytest.fixture(scope="module")
def fitted(images, whole) -> networks.Fitted:
    """A network of random weights, whose values are spread over 0 to 1 and a little beyond."""
    pixels = whole[0][whole[1]]
    mean, std = (tuple(map(float, one)) for one in (np.nanmean(pixels, 0), np.nanstd(pixels, 0)))
    low, high = (tuple(map(float, one)) for one in (np.nanmin(pixels, 0), np.nanmax(pixels, 0)))
    chosen = tasks.Channels(images.channels, mean, std, images.channels, low=low, high=high)
    network = network_of(*SIZE, mean, std)
    found = networks.Fitted(tasks.get("regression"), "unet", network, {"image": chosen})
    last = network.get_layer("values_logits")
    kernel = np.random.default_rng(0).normal(size=last.get_weights()[0].shape)
    last.set_weights([kernel, np.zeros(1)])
    values = found.predict({"image": whole[0][None, : SIZE[0], : SIZE[1]]})["values"]
    factor = 0.5 / values.std()
    last.set_weights([kernel * factor, np.array([0.5 - values.mean() * factor])])
    return found


@pytest.fixture(scope="module")
def run(fitted, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "clearing" / "05_train_degree" / "smoke-1"
    folder.mkdir(parents=True)
    networks.save(fitted, folder)
    above = {"study": "clearing", "notebook": "04_preprocess_degree", "run": "smoke-0"}
    record = {"study": "clearing", "notebook": "05_train_degree", "run": "smoke-1", "simulated": True}
    record |= {"upstream": {"preprocessed": above}}
    (folder / "run.json").write_text(json.dumps(record))
    before = folder.parents[1] / "04_preprocess_degree" / "smoke-0"
    before.mkdir(parents=True)
    (before / "run.json").write_text(json.dumps(above | {"parameters": {"padding": "masked"}}))
    return folder


@pytest.fixture(scope="module")
def written(run, scene, day, tmp_path_factory):
    path = tmp_path_factory.mktemp("maps") / "degree.tif"
    assert cli.main(["map", str(run), str(scene), "--date", day, "--out", str(path)]) == 0
    return path


def test_the_twin_has_clouds_and_what_is_clear(whole):
    assert 0.1 < whole[1].mean() < 0.95


def test_a_map_has_the_values_that_the_network_predicts_of_the_same_patch(written, fitted, whole):
    with rasterio.open(written) as file:
        percent = file.read(1)
    image, seen = whole
    starts = [sorted({*range(0, 240 - kept, step), 240 - kept}) for kept, step in ((38, 23), (30, 15))]
    total, weight = np.zeros((240, 240)), np.zeros((240, 240))
    for row, col in itertools.product(*starts):  # 5 of 48 × 40 pixels are dropped, 15 of the rest shared
        top, left = (min(max(0, at - 5), 240 - side) for at, side in zip((row, col), SIZE, strict=True))
        patch = image[top : top + SIZE[0], left : left + SIZE[1]]
        degree = fitted.predict({"image": patch[None]})["values"][0][row - top :, col - left :][:38, :30]
        inside = np.s_[row : row + 38, col : col + 30]
        share = weights(38, 30, 15)
        total[inside] += share * degree
        weight[inside] += share
    expected = 100 * np.clip(total / weight, 0, 1)[seen]
    assert np.abs(percent[seen] - expected).max() < 0.51
    assert percent[seen].std() > 10


def test_there_are_no_data_under_clouds_and_where_a_channel_is_missing(written, images, number, whole):
    with rasterio.open(written) as file:
        percent = file.read(1)
    np.testing.assert_array_equal(percent != 255, whole[1])
    assert (percent[np.isin(images.ground["scl"][number], (0, 8, 9, 10))] == 255).all()


def test_the_file_states_unit_colours_and_what_made_it(written, images, number, day, tmp_path):
    with rasterio.open(written) as file:
        assert (file.count, file.dtypes, file.nodata) == (1, ("uint8",), 255)
        assert file.descriptions == ("degree of need for clearing",)
        assert file.units == ("percent",)
        assert (file.scales, file.offsets) == ((1.0,), (0.0,))  # QGIS takes no colours from scaled numbers
        colors = file.colormap(1)
        for percent in (0, 37, 100):
            assert colors[percent] == colormaps["viridis"](percent / 100, bytes=True)
        assert colors[255][3] == 0
        assert file.crs.to_epsg() == 32631
        assert file.transform == images.ground.odc.geobox.transform
        tags = file.tags()
    assert tags["run"] == "clearing/05_train_degree/smoke-1"
    assert tags["network"] == "unet"
    assert tags["image_time"] == str(images.ground["time"].values[number])[:19]
    assert tags["simulated"] == "true"
    assert tags["channels"].split(", ") == list(images.channels)
    assert (
        f"by unet of run clearing/05_train_degree/smoke-1, from sentinel2 of {day}T"
        in (tags["TIFFTAG_IMAGEDESCRIPTION"])
    )
    rasterio.shutil.copy(written, tmp_path / "copy.vrt", driver="VRT")  # GDAL's own account of the file
    vrt = (tmp_path / "copy.vrt").read_text()
    assert "<UnitType>percent</UnitType>" in vrt
    assert "<ColorInterp>Palette</ColorInterp>" in vrt
    assert [one.name for one in written.parent.iterdir()] == ["degree.tif"]


class Source:
    """The image as windows are read from it, and the network that predicts them."""

    def __init__(self, images, number, fitted, run, **options):
        self.grid = images.ground.odc.geobox
        read = mapping.Squares(products.scene_reader(images, number, fitted.channels["image"]), self.grid)
        predictor = prediction.load(run, output="values")
        self.patches = mapping.PatchWindows(predictor, read, self.grid, SIZE, **options)

    def map(self, path, predict=None, **options):
        given = {"window": 64, "block": 64, "progress": False} | options
        band = mapping.ValueBand("degree")
        return mapping.predict_map(predict or self.patches, self.patches.read, self.grid, path, band, **given)


def test_seams_of_windows_do_not_show(images, number, whole, fitted, run, tmp_path):
    """In this network nine pixels around each count for it; ten are dropped, patches begin at even ones."""
    source = Source(images, number, fitted, run, margin=10, overlap=4)
    chosen = fitted.channels["image"]
    large = network_of(240, 240, chosen.mean, chosen.std)
    large.set_weights(fitted.network.get_weights())
    expected = np.asarray(large.predict_on_batch({"image": whole[0][None]})["values"])[0]
    for window in windows(source.grid, 100):
        inputs = source.patches.read(*window)
        found = source.patches(inputs)[~inputs["nodata"]]
        here = expected[window.row : window.row + window.height, window.col : window.col + window.width]
        np.testing.assert_allclose(found, here[~inputs["nodata"]], atol=1e-5)
    with rasterio.open(source.map(tmp_path / "map.tif")) as file:
        percent = file.read(1)[whole[1]]
    assert np.abs(percent - np.clip(100 * expected[..., 0][whole[1]], 0, 100)).max() < 0.51


def test_a_stopped_map_goes_on_where_it_was(images, number, fitted, run, tmp_path):
    source = Source(images, number, fitted, run)
    calls = []

    def stops(inputs):
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return source.patches(inputs)

    stops.fingerprint = source.patches.fingerprint
    with pytest.raises(KeyboardInterrupt):
        source.map(tmp_path / "map.tif", stops)
    done = len(list((tmp_path / "map.tif.parts").glob("*.block")))
    assert 3 < done < 16
    with rasterio.open(source.map(tmp_path / "map.tif")) as resumed:
        found = resumed.read()
    with rasterio.open(source.map(tmp_path / "whole.tif", block=256)) as file:
        np.testing.assert_array_equal(found, file.read())


def test_a_scene_smaller_than_the_samples_is_mapped(images, number, fitted, run, whole, tmp_path):
    cut = {"y": slice(100, 130), "x": slice(60, 120)}
    small = samples.Images(images.ground.isel(cut), None, images.channels)
    path = Source(small, number, fitted, run).map(tmp_path / "map.tif")
    with rasterio.open(path) as file:
        assert file.shape == (30, 60)
        np.testing.assert_array_equal(file.read(1) != 255, whole[1][100:130, 60:120])


def test_a_scene_is_read_as_the_samples_were(images, number, whole, fitted):
    """Regression: the samples came to hold NaN under clouds, where the map had read the clouds."""
    for padding, fill in samples.PADDINGS.items():
        read = products.scene_reader(images, number, fitted.channels["image"], padding)
        found = read(0, 0, 240, 240)
        np.testing.assert_array_equal(found["image"], np.nan_to_num(whole[0], nan=fill))
        np.testing.assert_array_equal(found["nodata"], ~whole[1])


def test_a_pixel_is_mapped_and_learned_where_an_index_alone_has_no_value(images, number, fitted):
    """Regression: where red reflectance is negative, MTVI2 has no value, and the pixel was lost with it."""
    dark = images.ground.copy(deep=True)
    place = {"time": number, "y": slice(20, 24), "x": slice(30, 35)}
    dark["reflectance"][place | {"band": list(dark["band"].values).index("B04")}] = -0.002
    dark["scl"][place] = 6
    inside = slice(20, 24), slice(30, 35)
    found = samples.Images(dark, None, images.channels)
    values, _ = samples.read_window(found, number, inside)
    assert np.isnan(values[..., images.channels.index("MTVI2")]).all()
    assert samples.observed(values, images.channels).all()
    assert not samples.observed(values[..., [images.channels.index("MTVI2")]], ["MTVI2"]).any()
    read = products.scene_reader(found, number, fitted.channels["image"])
    assert not read(20, 30, 4, 5)["nodata"].any()
    degree = np.full(images.ground["scl"].shape[1:], 0.5, np.float32), np.zeros((240, 240), np.int32)
    rows = pd.DataFrame(
        {
            "date": [dark["time"].values[number]],
            "row": 20,
            "column": 30,
            "height": 4,
            "width": 5,
            "owner": 0,
            "label": 0,
        }
    )
    made = samples.sample_producer(found, (4, 5), degree=degree)(rows)
    np.testing.assert_array_equal(made["label"], np.full((1, 4, 5), 0.5, np.float32))
    missing = values.copy()
    missing[0, 0, 0] = np.nan  # a band
    assert not samples.observed(missing, images.channels)[0, 0]


def test_squares_give_what_windows_hold_and_read_each_part_once(images, number, fitted):
    grid = images.ground.odc.geobox
    read = products.scene_reader(images, number, fitted.channels["image"])
    asked = []
    squares = mapping.Squares(lambda *window: (asked.append(window), read(*window))[1], grid, 64, 6)
    for window in windows(grid[:128, :], 80, 20):
        found = squares(*window)
        for name, values in read(*window).items():
            np.testing.assert_array_equal(found[name], values)
    whole_rows = [one for one in asked if one[0] < 64]
    assert len(whole_rows) < 3 * 4  # four squares a row of the scene
    assert mapping.Squares(read, grid)(0, 0, 240, 240)["image"].shape == (240, 240, 13)


def message(arguments, capsys) -> str:
    """The one sentence that a command ends in."""
    assert cli.main([str(one) for one in arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


def test_a_wrong_scene_ends_in_one_sentence(run, scene, day, tmp_path, capsys):
    out = ["--out", tmp_path / "map.tif"]
    above = next(scene.glob("*MSIL1C*"))
    assert "holds no level 'L2A'" in message(["map", run, above, *out], capsys)
    assert "choose one with date=, or --date" in message(["map", run, scene, *out], capsys)
    error = message(["map", run, scene, "--date", "2019-01-01", *out], capsys)
    assert "has no image of '2019-01-01'" in error
    assert day in error
    assert "no file or folder, and no data set" in message(["map", run, tmp_path / "none", *out], capsys)
    assert "reads no heights: leave --dem out" in message(["map", run, scene, "--dem", "a", *out], capsys)
    assert "polygons are of classes" in message(
        ["map", run, scene, "--date", day, "--polygons", *out], capsys
    )
    assert not (tmp_path / "map.tif").exists()


def test_a_scene_of_the_catalogue_in_another_unit_is_refused(run, scene, day, tmp_path, capsys, monkeypatch):
    block = {"uri": str(scene), "layout": "rasters", "pixels": {"scale": 1, "offset": 0}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"my_stands": block}))
    monkeypatch.setenv("EOLAB_CATALOG", "")  # that of --catalog is set for good
    command = ["--catalog", tmp_path / "mine.yaml", "map", run, "my_stands", "--date", day]
    with pytest.warns(UserWarning, match="states the scale"):
        error = message([*command, "--out", tmp_path / "map.tif"], capsys)
    assert "my_stands: The images are not like those that the model was trained on" in error
    assert not (tmp_path / "map.tif").exists()


@pytest.fixture
def entry_without(images, monkeypatch):
    """Return an entry whose images lack a layer."""
    acquired = pd.DataFrame({"level": ["L2A"]})
    monkeypatch.setattr(rasters, "index", lambda *_: (acquired, None))

    def without(layer: str) -> catalog.DataEntry:
        monkeypatch.setattr(catalog.DataEntry, "open", lambda *_, **__: images.ground.drop_vars(layer))
        return catalog.DataEntry("mine", "x", "rasters", "mine.yaml", "x")

    return without


def test_images_without_a_channel_that_is_needed_are_refused(entry_without):
    with pytest.raises(ParameterError, match=r"The channel TCI_red needs TCI_red, which images of .* lack"):
        samples.open_images(entry_without("true_colour"), [*samples.TRUE_COLOUR, "indices"])


def test_images_without_a_scene_classification_are_used_and_clouds_are_said_to_be_left_in(
    entry_without, images, number
):
    with pytest.warns(UserWarning, match="clouds are not known, and are left in"):
        found = samples.open_images(entry_without("scl"), GROUPS)
    whole = (slice(None), slice(None))
    values, clear = samples.read_window(found, number, whole)
    np.testing.assert_array_equal(values, samples.read_window(images, number, whole)[0])
    band = images.ground["reflectance"][number].isel(band=0).to_numpy()
    np.testing.assert_array_equal(clear, np.isfinite(band))
