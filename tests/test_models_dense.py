"""Classifiers of patches made dense: the same answers, at known positions, over scenes of any size."""

from __future__ import annotations

from functools import cache

import keras
import model_harness as harness
import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from scipy import ndimage, special

from eolab import models, prediction
from eolab.core.errors import DataError, ParameterError
from eolab.data.schemes import ClassScheme
from eolab.models.images.dense import activation_maps, dense, output_grid
from eolab.models.output_grid import OutputGrid, to_pixels
from eolab.prediction.mapping import ImageWindows, predict_map

pytestmark = pytest.mark.slow  # makes deep networks

B, SIZE, C, K = 2, 120, 12, 3
STATISTICS = {"mean": [1000.0 + 100 * i for i in range(C)], "std": [400.0] * C}
NAMES = ["shallow_cnn", "resnet18_patch", "resnet50_patch", "convnext_tiny", "resnet18_fusion"]
QUICK = ("shallow_cnn", "resnet18_patch")
EACH = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in NAMES]
REACH = {  # stride, and pixels that a position sees: sums of (kernel - 1) × stride, one more
    "shallow_cnn": (8, 28),
    "resnet18_patch": (32, 435),
    "resnet50_patch": (32, 427),
    "resnet101_patch": (32, 971),
}


@cache
def build(name: str) -> keras.Model:
    """A network of few blocks whose weights and statistics are all random; the tests change none."""
    given = {"height": SIZE, "width": SIZE, "channels": C, "outputs": K, "activation": "sigmoid"}
    given |= {"width_multiplier": 0.0625, "dropout": 0.2, **STATISTICS}
    given |= {"scale": 0.5} if name == "convnext_tiny" else {}
    with harness.shallow():
        network = models.build(name, **given)
    rng = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            layer.set_weights(
                [gamma, rng.normal(0, 0.1, beta.shape), rng.normal(0, 0.1, mean.shape), variance * 0.8]
            )
    size = network.input["image"].shape[1]
    features = keras.Model(network.input, network.get_layer("pool").output)
    found = harness.predict(features, images(name, size, size))
    kernel, bias = network.get_layer("logits").get_weights()
    kernel = kernel / (found @ kernel).std(axis=0)  # so that patches get different answers
    bias = rng.normal(0, 1, bias.shape) - (found @ kernel).mean(axis=0)
    network.get_layer("logits").set_weights([kernel, bias])
    return network


def images(name: str, height: int = SIZE, width: int = SIZE, batch: int = B) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    level = rng.uniform(0, 4000, (batch, 1, 1, C))  # so that patches differ as a whole
    inputs = {"image": level * rng.uniform(0, 2, (batch, height, width, C))}
    if "fusion" in name:
        inputs["radar"] = rng.normal(-15, 5, (batch, height, width, 2))
    return {key: values.astype("float32") for key, values in inputs.items()}


# --- The same network --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", EACH)
def test_on_a_patch_the_pooled_answer_is_the_classifiers(name):
    classifier, inputs = build(name), images(name)
    found = harness.predict(dense(classifier), inputs)
    expected = harness.predict(classifier, inputs)
    np.testing.assert_allclose(found["pooled"], expected, atol=1e-5)
    assert found["pooled"].std() > 0.05
    pooled = special.expit(found["logits"].mean((1, 2)))
    np.testing.assert_allclose(pooled, expected, atol=1e-5)
    np.testing.assert_allclose(found["probabilities"], special.expit(found["logits"]), atol=1e-6)
    assert found["logits"].std(axis=(1, 2)).min() > 0
    assert {values.dtype for values in found.values()} == {np.dtype("float32")}


@pytest.mark.parametrize("name", EACH)
def test_images_have_any_size(name):
    network = dense(build(name))
    stride = output_grid(network).stride
    for height, width in ((5 * stride, 3 * stride), (5 * stride + 7, 4 * stride - 3)):
        found = harness.predict(network, images(name, height, width, 1))
        rows, columns = found["logits"].shape[1:3]
        assert rows in (height // stride, -(-height // stride))
        assert columns in (width // stride, -(-width // stride))
        assert found["pooled"].shape == (1, K)


def test_the_classifier_keeps_its_weights_to_itself():
    classifier = build("shallow_cnn")
    network = dense(classifier)
    before = classifier.get_weights()
    network.set_weights([values + 1 for values in network.get_weights()])
    for one, other in zip(before, classifier.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert network.count_params() == classifier.count_params()


def test_a_dense_network_can_be_saved(tmp_path):
    network, inputs = dense(build("shallow_cnn")), images("shallow_cnn", 50, 70)
    network.save(tmp_path / "dense.keras")
    loaded = models.load(tmp_path / "dense.keras")
    harness.assert_same(harness.predict(loaded, inputs), harness.predict(network, inputs))
    assert output_grid(loaded) == output_grid(network)


@pytest.mark.slow
def test_networks_with_another_end_are_named():
    with pytest.raises(ParameterError, match="three_branch_cnn averages maps in 3 places"):
        dense(models.build("three_branch_cnn", height=24, width=24, channels=12, outputs=K))
    with pytest.raises(ParameterError, match="unet averages maps in 0 places"):
        dense(models.build("unet", height=32, width=32, channels=3, outputs=K, width_multiplier=0.0625))
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.GlobalAveragePooling2D()(image)
    softmax = keras.Model({"image": image}, keras.layers.Dense(2, "softmax")(x), name="other")
    with pytest.raises(ParameterError, match="other ends in Dense: a dense network is made of one"):
        dense(softmax)


# --- OutputGrid ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REACH)
def test_what_a_position_sees_is_as_counted_by_hand(name):
    with harness.shapes_alone():
        network = models.build(name, height=SIZE, width=SIZE, channels=C, outputs=K)
    grid = output_grid(network)
    assert (grid.stride, grid.receptive_field) == REACH[name]
    assert grid.centre == (3.5 if name == "shallow_cnn" else 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*QUICK, "resnet50_patch"])
def test_a_pixel_counts_at_the_positions_that_see_it(name):
    """An impulse on a dark image; with positive weights nothing cancels."""
    with harness.shallow():
        classifier = models.build(name, height=64, width=64, channels=1, outputs=1, width_multiplier=0.0625)
    classifier.set_weights([np.abs(values) for values in classifier.get_weights()])
    network = dense(classifier)
    grid, side = output_grid(network), 672  # more than what a position sees
    for row in (230, 371):
        seen = seen_at(network, side, row)
        at = np.arange(side // grid.stride) * grid.stride
        expected = np.flatnonzero((at + grid.first <= row) & (row <= at + grid.last))
        np.testing.assert_array_equal(seen, expected)


@pytest.mark.slow
def test_a_pixel_counts_at_no_other_positions_of_convnext():
    """Its features fade long before the end of what a position may see."""
    given = {"height": 64, "width": 64, "channels": 1, "outputs": 1, "width_multiplier": 0.0625}
    grid = output_grid(harness.planned("convnext_tiny", **given))
    assert (grid.stride, grid.centre) == (32, 15.5)
    assert grid.receptive_field == 4 + 72 + 4 + 144 + 8 + 864 + 16 + 576
    with harness.shallow():
        network = dense(models.build("convnext_tiny", **given))
    grid, row = output_grid(network), 608
    assert grid.receptive_field == 4 + 24 + 4 + 48 + 8 + 96 + 16 + 192
    seen = seen_at(network, 1216, row)
    assert seen.min() * 32 + grid.last >= row
    assert seen.max() * 32 + grid.first <= row
    assert seen.min() * 32 + 15.5 + 64 < row < seen.max() * 32 + 15.5 - 64


def seen_at(network: keras.Model, side: int, row: int) -> np.ndarray:
    """OutputGrid that answer to a bright row of an image that is dark else."""
    image = np.zeros((1, side, 32, 1), "float32")
    image[0, row] = 1e6
    return np.flatnonzero(harness.predict(network, {"image": image})["logits"][0, :, 0, 0])


def test_strides_that_pad_by_the_size_of_the_image_are_refused():
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(4, 3, 2, "same", name="uneven")(image)
    x = keras.layers.GlobalAveragePooling2D()(x)
    network = keras.Model({"image": image}, keras.layers.Dense(1, "sigmoid")(x))
    with pytest.raises(ParameterError, match="Layer uneven has the stride 2 and pads by the size"):
        output_grid(network)


def test_layers_that_change_the_size_are_refused():
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.UpSampling2D(name="larger")(image))
    with pytest.raises(ParameterError, match="Layer larger changes the size of maps"):
        output_grid(keras.Model({"image": image}, keras.layers.Dense(1)(x)))


@pytest.mark.parametrize(("row", "col"), [(0, 0), (13, 7)])
def test_answers_between_positions_are_those_of_scipy(row, col):
    grid = OutputGrid(8, -12, 19)
    assert (grid.centre, grid.receptive_field, grid.margin) == (3.5, 32, 24)
    answers = np.random.default_rng(0).normal(size=(5, 4, 2)).astype("float32")
    got = to_pixels(answers, grid, 40, 30, row, col)
    at = np.meshgrid(
        (np.arange(row, row + 40) - 3.5) / 8, (np.arange(col, col + 30) - 3.5) / 8, indexing="ij"
    )
    for k in range(2):
        expected = ndimage.map_coordinates(answers[..., k], at, order=1, mode="nearest")
        np.testing.assert_allclose(got[..., k], expected, atol=1e-5)


# --- Class activation maps ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", QUICK)
def test_activation_maps_are_weighted_features(name):
    classifier, inputs = build(name), images(name)
    features = harness.predict(keras.Model(classifier.input, classifier.get_layer("pool").input), inputs)
    kernel, bias = classifier.get_layer("logits").get_weights()
    grid = output_grid(classifier)
    expected = [to_pixels(one @ kernel, grid, SIZE, SIZE) for one in features]
    got = activation_maps(dense(classifier), inputs)
    assert got.shape == (B, SIZE, SIZE, K)
    np.testing.assert_allclose(got, expected, atol=1e-4)
    logit = (features @ kernel).mean((1, 2)) + bias
    np.testing.assert_allclose(special.expit(logit), harness.predict(classifier, inputs), atol=1e-5)


def test_activation_is_where_the_class_is():
    """A network of one convolution that looks for a bright pixel finds it in its place."""
    image = keras.Input((64, 64, 1), name="image")
    x = keras.layers.MaxPooling2D(4)(image)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dense(1, name="logits")(x)
    network = keras.Model({"image": image}, keras.layers.Activation("sigmoid")(x), name="bright")
    network.get_layer("logits").set_weights([np.ones((1, 1)), np.array([-3.0])])
    given = np.zeros((1, 64, 64, 1), "float32")
    given[0, 21, 42] = 5
    found = activation_maps(dense(network), {"image": given})[0, ..., 0]
    row, col = np.unravel_index(found.argmax(), found.shape)
    assert abs(row - 21) <= 2
    assert abs(col - 42) <= 2
    assert found.min() == 0


# --- Maps --------------------------------------------------------------------------------------------------

SCHEME = ClassScheme("three", (1, 2, 3), ("Water", "Grass", "Wood"), ("#0000ff", "#80ff00", "#004000"))


class Scene:
    """A scene whose reading is written down."""

    def __init__(self, height: int, width: int, nodata: np.ndarray | None = None) -> None:
        rng = np.random.default_rng(2)
        smooth = ndimage.gaussian_filter(rng.normal(0, 1, (height, width, C)), (6, 6, 0))
        self.image = (2000 + 1500 * smooth / smooth.std()).clip(0, 9000).astype("uint16")
        self.nodata = nodata
        self.grid = GeoBox((height, width), Affine(10, 0, 600_000, 0, -10, 4_900_020), "EPSG:32632")
        self.pixels: list[int] = []

    def read(self, row, col, height, width):
        assert row >= 0
        assert col >= 0
        assert row + height <= self.grid.height
        assert col + width <= self.grid.width
        self.pixels.append(height * width)
        at = np.s_[row : row + height, col : col + width]
        inputs = {"image": self.image[at]}
        return inputs if self.nodata is None else inputs | {"nodata": self.nodata[at]}


def whole(network: keras.Model, scene: Scene) -> np.ndarray:
    """Probabilities of each pixel, the scene as one image."""
    found = harness.predict(network, {"image": scene.image[None].astype("float32")})["probabilities"][0]
    return to_pixels(found, output_grid(network), scene.grid.height, scene.grid.width)


def windows_of(network: keras.Model, scene: Scene, **options) -> ImageWindows:
    predictor = prediction.load(network, output="probabilities")
    return ImageWindows(predictor, scene.read, scene.grid, output_grid(network), **options)


@pytest.mark.parametrize(
    ("name", "height", "width", "window"),
    [
        ("shallow_cnn", 150, 203, 45),
        pytest.param("resnet18_patch", 700, 500, 120, marks=pytest.mark.slow),
    ],
)
def test_windows_give_what_the_whole_scene_gives(name, height, width, window):
    network, scene = dense(build(name)), Scene(height, width)
    expected, mapper = whole(network, scene), windows_of(network, scene)
    assert expected.std(axis=(0, 1)).min() > 1e-3
    starts = [(0, 0), (height - window, width - window), (height // 3, width // 3 + 1), (window, 0)]
    for row, col in starts:
        found = mapper(mapper.read(row, col, window, window))
        here = expected[row : row + window, col : col + window]
        np.testing.assert_allclose(found, here, atol=1e-4)  # sums of float32 in another order


def test_a_map_has_no_seams_and_memory_is_bounded(tmp_path):
    network, scene = dense(build("shallow_cnn")), Scene(150, 203)
    mapper = windows_of(network, scene)
    path = predict_map(
        mapper, mapper.read, scene.grid, tmp_path / "map.tif", SCHEME, window=64, block=64, progress=False
    )
    expected = whole(network, scene)
    with rasterio.open(path) as file:
        found, percent = file.read()
    best = np.sort(expected, axis=-1)
    clear = best[..., -1] - best[..., -2] > 1e-5
    np.testing.assert_array_equal(found[clear], expected.argmax(-1)[clear])
    np.testing.assert_allclose(percent, 100 * best[..., -1], atol=0.51)
    assert max(scene.pixels) <= (64 + 2 * mapper.margin + 8) ** 2
    assert max(scene.pixels) < 150 * 203


def test_pixels_without_data_stay_without_class(tmp_path):
    nodata = np.zeros((90, 120), bool)
    nodata[:40, 50:] = True
    network, scene = dense(build("shallow_cnn")), Scene(90, 120, nodata)
    mapper = windows_of(network, scene)
    path = predict_map(
        mapper, mapper.read, scene.grid, tmp_path / "map.tif", SCHEME, window=48, progress=False
    )
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(1) == 255, nodata)


def test_a_smaller_margin_is_nearly_right_and_another_map():
    network, scene = dense(build("shallow_cnn")), Scene(120, 160)
    expected = whole(network, scene)[40:80, 40:80]
    errors = []
    for margin in (0, 8, 24):
        mapper = windows_of(network, scene, margin=margin)
        errors.append(np.abs(mapper(mapper.read(40, 40, 40, 40)) - expected).mean())
        assert mapper.fingerprint.endswith(f"margin {margin}")
    assert errors[0] > errors[1] > 0
    assert errors[2] < 1e-6


def test_a_network_without_positions_is_named():
    scene = Scene(40, 40)
    mapper = ImageWindows(lambda inputs: np.zeros((1, 3)), scene.read, scene.grid, OutputGrid())
    assert mapper.fingerprint is None
    with pytest.raises(DataError, match=r"shape \(1, 3\): expected predictions.*make it dense"):
        mapper(mapper.read(0, 0, 20, 20))
