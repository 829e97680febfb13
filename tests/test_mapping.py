"""Maps: windows, blending, nodata, resume, and the file that comes out."""

import errno
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import rioxarray
from affine import Affine
from odc.geo.geobox import GeoBox

from eolab.core.errors import DataError, ParameterError
from eolab.data.schemes import IGNORE, ClassScheme
from eolab.prediction.mapping import in_words, of_series, per_pixel, predict_map
from eolab.prediction.mapping.windows import Window, weights, windows

SCHEME = ClassScheme(
    "three", (10, 20, 30), ("Water", "Grass & <herbs>", "Wood"), ("#0000ff", "#80ff00", "#004000")
)
TRANSFORM = Affine(10, 0, 600_000, 0, -10, 4_900_020)


def grid_of(height, width):
    return GeoBox((height, width), TRANSFORM, "EPSG:32632")


class Scene:
    """Random class probabilities that reading hands through to prediction: the model is the identity."""

    fingerprint = "identity"

    def __init__(self, height, width, nodata=None, seed=0):
        rng = np.random.default_rng(seed)
        self.probabilities = rng.dirichlet(np.ones(3), (height, width)).astype(np.float32)
        self.nodata = nodata
        self.grid = grid_of(height, width)
        self.read = []

    def read_window(self, row, col, height, width):
        self.read.append(Window(row, col, height, width))
        at = np.s_[row : row + height, col : col + width]
        inputs = {"image": self.probabilities[at]}
        assert inputs["image"].shape[:2] == (height, width)
        return inputs if self.nodata is None else inputs | {"nodata": self.nodata[at]}

    def __call__(self, inputs):
        return inputs["image"]

    def map(self, path, **options):
        return predict_map(self, self.read_window, self.grid, path, SCHEME, progress=False, **options)


def pixels(path):
    with rasterio.open(path) as file:
        return file.read()


@pytest.mark.parametrize(
    ("shape", "window", "overlap"),
    [
        ((100, 70), 32, 0),
        ((100, 70), 32, 8),
        ((64, 64), 32, 31),
        ((10, 300), 32, 4),
        ((1, 1), 5, 2),
        ((33, 32), 32, 0),
    ],
)
def test_windows_cover_the_grid_with_one_size_and_at_least_the_overlap(shape, window, overlap):
    found = windows(grid_of(*shape), window, overlap)
    assert len(set(found)) == len(found)
    covered = np.zeros(shape, int)
    for row, col, height, width in found:
        assert (height, width) == (min(window, shape[0]), min(window, shape[1]))
        assert row >= 0 and col >= 0 and row + height <= shape[0] and col + width <= shape[1]  # noqa: PT018
        covered[row : row + height, col : col + width] += 1
    assert covered.min() >= 1
    starts = sorted({w.row for w in found})
    assert all(a + min(window, shape[0]) - b >= overlap for a, b in itertools.pairwise(starts))


@pytest.mark.parametrize(("window", "overlap"), [(8, 8), (8, 9), (8, -1), (0, 0)])
def test_impossible_windows_are_refused(window, overlap, tmp_path):
    with pytest.raises(ParameterError, match="overlap"):
        Scene(20, 20).map(tmp_path / "map.tif", window=window, overlap=overlap)


def test_weights_of_neighbours_add_up_to_one_and_are_positive():
    whole = weights(64, 64, 16)
    rows = whole[:, 32]
    np.testing.assert_allclose(rows[-16:] + rows[:16], 1, atol=2e-3)  # the floor at the outermost pixel
    assert rows[16:-16] == pytest.approx(1)
    assert whole.min() > 0
    assert (weights(5, 7, 0) == 1).all()


@pytest.mark.parametrize(
    ("window", "overlap", "block"), [(32, 0, 64), (32, 8, 16), (24, 23, 48), (256, 0, 1024)]
)
def test_blending_the_identity_gives_the_identity(tmp_path, window, overlap, block):
    scene = Scene(70, 90)
    found = pixels(scene.map(tmp_path / "map.tif", window=window, overlap=overlap, block=block))
    assert (found[0] == scene.probabilities.argmax(-1)).all()
    exact = 100 * scene.probabilities.max(-1)
    assert np.abs(found[1] - exact).max() <= 0.5 + 1e-3


def test_blend_is_the_weighted_mean_of_the_windows(tmp_path):
    """A model whose answer depends on the window: compare with weights and sums written out in full."""
    scene = Scene(40, 40)
    answers = {
        w: np.random.default_rng(i).dirichlet(np.ones(3)) for i, w in enumerate(windows(scene.grid, 16, 6))
    }

    def read(*place):
        return {"place": np.broadcast_to(np.array(place), (place[2], place[3], 4))}

    def predict(inputs):
        place = inputs["place"]
        return np.broadcast_to(answers[Window(*place[0, 0].tolist())], (*place.shape[:2], 3))

    path = predict_map(
        predict, read, scene.grid, tmp_path / "m.tif", SCHEME, window=16, overlap=6, block=16, progress=False
    )
    total, weight = np.zeros((40, 40, 3)), np.zeros((40, 40, 1))
    for (row, col, height, width), answer in answers.items():
        for y in range(height):
            for x in range(width):
                near = [min(i, 15 - i) + 0.5 for i in (y, x)]
                share = np.prod([(1 - np.cos(np.pi * min(d / 6, 1))) / 2 for d in near])
                total[row + y, col + x] += max(share, 1e-3) * answer
                weight[row + y, col + x] += max(share, 1e-3)
    mean = total / weight
    found = pixels(path)
    clear = np.diff(np.sort(mean, -1)[..., -2:], axis=-1)[..., 0] > 1e-5
    assert clear.mean() > 0.95
    assert (found[0] == mean.argmax(-1))[clear].all()
    assert np.abs(found[1] - 100 * mean.max(-1)).max() <= 0.5 + 1e-3


def test_result_does_not_depend_on_the_blocks(tmp_path):
    class Blur(Scene):
        def __call__(self, inputs):  # sees its neighbourhood within the window, as a convolution does
            mean = inputs["image"].mean((0, 1), keepdims=True)
            return 0.5 * inputs["image"] + 0.5 * mean

    scene = Blur(100, 130)
    maps = [pixels(scene.map(tmp_path / f"{b}.tif", window=32, overlap=12, block=b)) for b in (16, 48, 1024)]
    assert (maps[0] == maps[1]).all()
    assert (maps[0] == maps[2]).all()


def test_each_window_is_read_once_within_a_row_of_blocks(tmp_path):
    scene = Scene(64, 200)
    scene.map(tmp_path / "map.tif", window=32, overlap=8, block=64)
    assert len(scene.read) == len(set(scene.read)) == len(windows(scene.grid, 32, 8))


def test_the_next_window_is_read_while_one_is_predicted(tmp_path):
    reading = [threading.Event() for _ in range(4)]

    def read(row, col, height, width):
        reading[col // 8].set()
        return {"image": np.zeros((height, width), np.float32), "col": col}

    def predict(inputs):
        following = inputs["col"] // 8 + 1
        assert following == 4 or reading[following].wait(timeout=20)
        return np.full((8, 8, 3), 1 / 3, np.float32)

    predict_map(
        predict, read, grid_of(8, 32), tmp_path / "map.tif", SCHEME, window=8, block=16, progress=False
    )


def test_nodata_stays_nodata_and_is_not_blended(tmp_path):
    nodata = np.zeros((60, 60), bool)
    nodata[:20] = nodata[30:40, 30:40] = True
    scene = Scene(60, 60, nodata)
    scene.probabilities[nodata] = np.nan
    found = pixels(scene.map(tmp_path / "map.tif", window=16, overlap=4, block=32))
    assert (found[:, nodata] == IGNORE).all()
    assert (found[0][~nodata] == scene.probabilities.argmax(-1)[~nodata]).all()
    assert found[1][~nodata].max() <= 100


def test_probability_that_is_no_number_is_an_error_where_there_is_data(tmp_path):
    scene = Scene(20, 20)
    scene.probabilities[5, 5] = np.nan
    with pytest.raises(DataError, match="not a number in window"):
        scene.map(tmp_path / "map.tif")
    assert not (tmp_path / "map.tif").exists()


def test_wrong_number_of_classes_is_refused(tmp_path):
    two = ClassScheme("two", (0, 1), ("a", "b"), ("#000000", "#ffffff"))
    scene = Scene(20, 20)
    with pytest.raises(ParameterError, match="gives 3 classes, the class scheme 'two' has 2"):
        predict_map(scene, scene.read_window, scene.grid, tmp_path / "m.tif", two, progress=False)
    with pytest.raises(DataError, match="shape"):
        predict_map(lambda i: i["image"][:, :, 0], scene.read_window, scene.grid, tmp_path / "m.tif", SCHEME)
    with pytest.raises(ParameterError, match="multiple of 16"):
        scene.map(tmp_path / "map.tif", block=100)


def test_per_pixel_predicts_only_pixels_with_data():
    nodata = np.zeros((4, 5), bool)
    nodata[1, 2] = nodata[3] = True
    image = np.random.default_rng(0).random((4, 5, 6, 3), np.float32)
    day = np.arange(6, dtype=np.float32)

    def predictor(batch):
        assert batch["image"].shape == (14, 6, 3)
        assert batch["day"].shape == (14, 6)
        return batch["image"].mean(1) * batch["day"].sum(-1)[:, None]

    predictor.fingerprint = "abc"
    predict = per_pixel(predictor)
    found = predict({"image": image, "day": day, "nodata": nodata})
    assert np.isnan(found[nodata]).all()
    np.testing.assert_allclose(found[~nodata], 15 * image.mean(2)[~nodata], rtol=1e-6)
    assert predict.fingerprint == "abc"


def test_equal_pixels_are_predicted_once_and_no_longer_looked_for_where_they_are_rare():
    sizes, rng = [], np.random.default_rng(0)

    def predictor(batch):
        sizes.append(len(batch["image"]))
        return batch["image"].sum((1, 2))[:, None] * [1, 2] + batch["valid"].sum(1)[:, None]

    predict = per_pixel(predictor)
    assert np.isnan(predict.speed)
    assert predict.rate().startswith("No pixel was predicted")
    image = rng.integers(0, 2, (8, 9, 2, 1)).astype(np.float32)  # four kinds
    image[0, 0, 0, 0] = np.nan  # and one more, equal to itself
    image[3, 3] = image[0, 0]
    valid = np.broadcast_to([True, False], (8, 9, 2))
    found = predict({"image": image, "valid": valid})
    np.testing.assert_array_equal(found, image.sum((2, 3))[..., None] * [1, 2] + 1)
    various = rng.random((8, 9, 2, 1), np.float32)
    for _ in range(2):
        found = predict({"image": various, "valid": valid})
        np.testing.assert_allclose(found, various.sum((2, 3))[..., None] * [1, 2] + 1, rtol=1e-6)
    predict({"image": image, "valid": valid})
    assert sizes == [5, 72, 72, 72]
    assert (predict.pixels, predict.predicted) == (4 * 72, sum(sizes))
    predict.seconds = 0.5
    assert "77% of them by the model, the rest copied from a pixel with the same values" in predict.rate()
    assert "576 pixels a second" in predict.rate()
    assert "1,152 pixels would take 2 s" in predict.rate(1152)


def test_different_pixels_whose_hashes_are_the_same_stay_different(monkeypatch):
    def same(frame, index):
        return np.zeros(len(frame), np.uint64)

    monkeypatch.setattr("pandas.util.hash_pandas_object", same)
    predict = per_pixel(lambda batch: batch["image"].sum((1, 2))[:, None])
    image = np.random.default_rng(0).random((8, 9, 2, 1), np.float32)
    found = predict({"image": image})
    np.testing.assert_array_equal(found, image.sum((2, 3))[..., None])


def test_file_has_crs_transform_colours_names_and_nodata(tmp_path):
    scene = Scene(300, 200)
    path = scene.map(tmp_path / "new" / "map.tif", block=128, tags={"simulated": "true"})
    with rasterio.open(path) as file:
        assert file.crs.to_epsg() == 32632
        assert file.transform == TRANSFORM
        assert file.nodata == IGNORE
        assert file.dtypes == ("uint8", "uint8")
        assert file.profile["tiled"]
        assert file.profile["compress"] == "deflate"
        colors = file.colormap(1)
        assert [colors[i] for i in (0, 1, 2)] == [(0, 0, 255, 255), (128, 255, 0, 255), (0, 64, 0, 255)]
        assert file.descriptions == ("class", "confidence")
        assert [row["name"] for row in json.loads(file.tags(1)["classes"])] == list(SCHEME.names)
        assert file.tags()["simulated"] == "true"
    rasterio.shutil.copy(path, tmp_path / "copy.vrt", driver="VRT")  # GDAL's own account of the file
    vrt = (tmp_path / "copy.vrt").read_text()
    assert "<Category>Grass &amp; &lt;herbs&gt;</Category>" in vrt
    with rioxarray.open_rasterio(path) as array:
        assert array.rio.crs.to_epsg() == 32632
        assert array.rio.nodata == IGNORE
        assert array.shape == (2, 300, 200)
        assert float(array.x[0]) == 600_005
    assert sorted(p.name for p in path.parent.iterdir()) == ["map.qml", "map.tif", "map.tif.aux.xml"]


def test_interrupted_map_goes_on_at_the_first_unfinished_block(tmp_path):
    whole = pixels(Scene(64, 128).map(tmp_path / "whole.tif", window=32, block=32))
    scene = Scene(64, 128)
    predicted = []

    class Stops(Scene):
        def __call__(self, inputs):
            predicted.append(1)
            if len(predicted) == 4:
                raise KeyboardInterrupt
            return inputs["image"]

    with pytest.raises(KeyboardInterrupt):
        Stops(64, 128).map(tmp_path / "map.tif", window=32, block=32)
    assert not (tmp_path / "map.tif").exists()
    found = pixels(scene.map(tmp_path / "map.tif", window=32, block=32))
    assert len(scene.read) == 8 - 3
    assert (found == whole).all()
    assert not (tmp_path / "map.tif.parts").exists()


@pytest.mark.parametrize("change", ["window", "fingerprint", "resume"])
def test_blocks_of_another_map_are_not_used(tmp_path, change):
    predicted = []

    class Stops(Scene):
        def __call__(self, inputs):
            predicted.append(1)
            if len(predicted) > 3:
                raise KeyboardInterrupt
            return inputs["image"][..., ::-1]

    with pytest.raises(KeyboardInterrupt):
        Stops(64, 128).map(tmp_path / "map.tif", window=32, block=32)
    assert len(list((tmp_path / "map.tif.parts").glob("*.block"))) == 3
    scene = Scene(64, 128)
    options = {"window": 32, "block": 32}
    if change == "resume":
        found = scene.map(tmp_path / "map.tif", resume=False, **options)
    else:
        options |= {"window": 16} if change == "window" else {"fingerprint": {"recipe": "other"}}
        with pytest.warns(UserWarning, match="starts anew"):
            found = scene.map(tmp_path / "map.tif", **options)
    assert (pixels(found)[0] == scene.probabilities.argmax(-1)).all()


def test_model_without_fingerprint_starts_anew(tmp_path):
    scene = Scene(64, 64)
    calls = []

    def stops(inputs):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return inputs["image"][..., ::-1]

    arguments = (scene.read_window, scene.grid, tmp_path / "map.tif", SCHEME)
    with pytest.raises(KeyboardInterrupt):
        predict_map(stops, *arguments, window=32, block=32, progress=False)
    found = predict_map(lambda i: i["image"], *arguments, window=32, block=32, progress=False)
    assert (pixels(found)[0] == scene.probabilities.argmax(-1)).all()


KILLED = """
    import os, signal, sys
    sys.path.insert(0, {tests!r})
    from test_mapping import Scene

    predicted = []

    class Killed(Scene):
        def __call__(self, inputs):
            predicted.append(1)
            if len(predicted) == 6:
                os.kill(os.getpid(), signal.SIGKILL)
            return inputs["image"]

    Killed(64, 128).map({path!r}, window=32, block=32)
"""


@pytest.mark.slow
def test_killed_map_resumes(tmp_path):
    path = tmp_path / "map.tif"
    code = textwrap.dedent(KILLED).format(tests=os.path.dirname(__file__), path=str(path))
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    scene = Scene(64, 128)
    assert (pixels(scene.map(path, window=32, block=32))[0] == scene.probabilities.argmax(-1)).all()
    assert len(scene.read) == 3


def test_full_disk_is_one_sentence_and_keeps_blocks(tmp_path, monkeypatch):
    from eolab.prediction.mapping import predicting

    scene = Scene(64, 64)
    write, written = predicting.write_atomically, []

    def full(path, content):
        written.append(path)
        if len(written) == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, content)

    monkeypatch.setattr(predicting, "write_atomically", full)
    with pytest.raises(DataError, match=r"No space left for the map .*make room and run again"):
        scene.map(tmp_path / "map.tif", window=32, block=32)
    monkeypatch.undo()
    again = Scene(64, 64)
    again.map(tmp_path / "map.tif", window=32, block=32)
    assert len(again.read) == 2


def test_full_disk_while_gdal_writes_is_an_error_not_a_broken_map(tmp_path):
    """GDAL's writes fail beyond a file size limit as they do on a full disk; blocks are smaller and go on."""
    scene = Scene(256, 256)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, old[1]))
    try:
        with pytest.raises(DataError, match=r"map.tif could not be written .*disk full"):
            scene.map(tmp_path / "map.tif", window=64, block=64)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert not (tmp_path / "map.tif").exists()
    again = Scene(256, 256)
    found = again.map(tmp_path / "map.tif", window=64, block=64)
    assert again.read == []
    assert (pixels(found)[0] == scene.probabilities.argmax(-1)).all()


def test_a_map_in_words_names_its_largest_classes_and_its_median_confidence():
    names, colors = ("Wood", "Field", "Town", "Lake"), ("#117733", "#ccf24d", "#cc79a7", "#0072b2")
    scheme = ClassScheme("toy", (1, 2, 3, 4), names, colors)
    classes = np.array([[1] * 6 + [0] * 2 + [3, 2], [IGNORE] * 10], np.uint8)
    confidence = np.array([[90] * 6 + [40] * 4, [255] * 10])
    said = in_words(classes, confidence, scheme, most=2)
    assert said == "Field 60 %, Wood 20 % and 2 more classes; median confidence 90 %."
    assert "Town 10 %, Lake 10 %; median" in in_words(classes, confidence, scheme)
    assert in_words(classes[1:], confidence[1:], scheme) == "The map has no pixel with data."


def test_confidence_and_edges_of_a_tiny_scene(tmp_path):
    scene = Scene(3, 5)
    found = pixels(scene.map(tmp_path / "map.tif", window=256, overlap=64))
    assert found.shape == (2, 3, 5)
    assert (found[0] == scene.probabilities.argmax(-1)).all()
    with pytest.raises(ParameterError, match="at least one pixel"):
        windows(grid_of(0, 5), 16)


# === Series ===


class Neighbourhood:
    """A network of image series: sums over time the means of what was seen in 3 × 3 pixels; days count."""

    fingerprint = "neighbourhood"

    def __init__(self, side):
        self.shapes = {"image": (4, side, side, 2)}

    def __call__(self, inputs):
        seen = inputs["valid"][..., None] != 0
        values = np.where(seen, inputs["image"], 0).sum(-1) * (1 + inputs["day"][..., None, None] / 100)
        padded = np.pad(values.sum(1), ((0, 0), (1, 1), (1, 1)))  # (N, H + 2, W + 2)
        height, width = values.shape[2:]
        shifts = itertools.product(range(3), range(3))
        mean = sum(padded[:, y : y + height, x : x + width] for y, x in shifts) / 9
        return np.stack([mean, 1 - mean, np.zeros_like(mean)], axis=-1)


def test_a_network_of_image_series_maps_a_scene_as_it_would_predict_it_whole():
    """What its patches see of each other's ground beyond their margin counts nothing."""
    rng, (height, width) = np.random.default_rng(0), (37, 50)
    scene = {
        "image": rng.random((height, width, 4, 2)).astype("float32"),
        "valid": rng.random((height, width, 4)) < 0.7,
        "day": np.broadcast_to(np.array([3, 60, 150, 300], "float32"), (height, width, 4)),
    }
    grid = grid_of(height, width)

    def read(row, col, height, width):
        return {name: values[row : row + height, col : col + width] for name, values in scene.items()}

    network = Neighbourhood(16)
    batch = {name: np.moveaxis(scene[name], 2, 0)[None] for name in ("image", "valid")}
    whole = network(batch | {"day": scene["day"][:1, 0]})[0]
    predict, reads = of_series(network, read, grid)
    for window in (Window(0, 0, 37, 50), Window(9, 20, 20, 30)):
        found = predict(reads(*window))
        np.testing.assert_allclose(found, whole[window.within(Window(0, 0, 37, 50))], atol=1e-5)
    assert predict.rate().startswith("2,450 pixels, by patches of 16 × 16 pixels that overlap by 10: ")


def test_a_model_of_pixel_series_is_not_cut_into_patches():
    scene = Scene(8, 9)
    scene.shapes = {"image": (4, 2)}
    predict, reads = of_series(scene, scene.read_window, scene.grid)
    assert reads == scene.read_window
    np.testing.assert_array_equal(predict(reads(0, 0, 8, 9)), scene.probabilities)
