"""Parts of the networks of image sequences against independent references; their sizes; names and errors."""

from __future__ import annotations

import keras
import model_harness as harness
import numpy as np
import pytest

from eolab import models
from eolab.core.errors import ParameterError
from eolab.models.attention import Known, Last, PixelAttention, StepAttention, WeightedSteps
from eolab.models.layers import Seeds
from eolab.models.sequences.inputs import ImageNorm, Unfold, fold
from eolab.models.sequences.recurrent import ConvLSTM, features_of_steps

BANDS = harness.BANDS
T, H, W = 5, 6, 8
NAMES = models.names("sequences")


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum()


def planned(name: str, bands=BANDS, **options) -> keras.Model:
    return harness.planned(name, **{"height": 64, "width": 64, "channels": bands, "outputs": 2, **options})


# --- Normalisation -----------------------------------------------------------------------------------------


def test_image_norm_is_batch_normalisation_of_the_images_that_there_are():
    maps = random(5, 3, 2, 4) * 3 + 1
    seen = np.array([1, 0, 1, 1, 0], "float32")
    layer, plain = ImageNorm(momentum=0.9), keras.layers.BatchNormalization(momentum=0.9)
    got = np.array(layer(maps, seen, training=True))
    expected = np.array(plain(maps[seen > 0], training=True))
    np.testing.assert_allclose(got[seen > 0], expected, atol=1e-5)
    for one, other in zip(layer.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    inference = np.array(layer(maps, seen, training=False))
    np.testing.assert_allclose(inference, np.array(plain(maps, training=False)), atol=1e-5)


def test_what_stands_where_there_is_no_image_is_no_part_of_the_averages():
    """Regression: a weight of 0 left NaN in them; any value that is true is an image."""
    maps, seen = random(3, 2, 2, 4), np.array([0.7, 0, 1], "float32")
    layer, other = ImageNorm(), ImageNorm()
    expected = np.array(other(maps, np.array([1, 0, 1], "float32"), training=True))
    maps[1] = np.nan
    found = np.array(layer(maps, seen, training=True))
    np.testing.assert_allclose(found[[0, 2]], expected[[0, 2]], atol=1e-6)
    for one, plain in zip(layer.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(one, plain, atol=1e-6)


def test_image_norm_learns_nothing_from_a_batch_without_images():
    layer = ImageNorm(momentum=0.9)
    layer(random(3, 2, 2, 4), np.ones(3, "float32"), training=True)
    before = layer.get_weights()
    found = layer(random(3, 2, 2, 4, seed=1), np.zeros(3, "float32"), training=True)
    assert np.isfinite(np.array(found)).all()
    for one, other in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


# --- Steps -------------------------------------------------------------------------------------------------


def test_unfold_takes_fold_back():
    images = random(2, 3, 4, 5, 1)
    folded = np.array(fold(images))
    np.testing.assert_array_equal(folded[4], images[1, 1])
    np.testing.assert_array_equal(Unfold()(folded, images), images)


def test_an_answer_knows_the_images_up_to_its_step_or_all():
    valid = np.array([[1, 0, 1], [0, 0, 1]], "float32")
    expected = [[[valid[b, k] == 1 and k <= t for k in range(3)] for t in range(3)] for b in range(2)]
    np.testing.assert_array_equal(Known(True)(valid), expected)
    np.testing.assert_array_equal(Known(False)(valid), valid[:, None] > 0)


def test_last_takes_the_last_image_that_is_known():
    features = random(2, 4, 3)
    known = np.zeros((2, 3, 4), bool)
    known[0, 1, [0, 2]], known[1, 0, 3], known[1, 2, [0, 1]] = True, True, True
    expected = np.zeros((2, 3, 3), "float32")
    expected[0, 1], expected[1, 0], expected[1, 2] = features[0, 2], features[1, 3], features[1, 1]
    np.testing.assert_array_equal(Last()(features, known), expected)


# --- Attention ---------------------------------------------------------------------------------------------


def test_step_attention_is_the_formula_over_what_a_token_knows():
    units, heads, count = 6, 2, 4
    layer = StepAttention(units, heads, seed=1)
    tokens = random(2, count, units)
    known = np.random.default_rng(1).random((2, count, count)) < 0.5
    known[0, 0], known[1, 2] = False, True
    got = np.array(layer(tokens, known))
    query, _, content, _, merge, _ = (np.array(weight) for weight in layer.get_weights())
    size = units // heads
    for b in range(2):
        for q in range(count):
            places = np.flatnonzero(known[b, q])
            heads_found = []
            for h in range(heads):
                own = slice(h * size, (h + 1) * size)
                keys = (tokens[b, places] @ content[:, :units])[:, own]
                values = (tokens[b, places] @ content[:, units:])[:, own]
                weights = softmax(keys @ (tokens[b, q] @ query)[own] / np.sqrt(size))
                heads_found.append(weights @ values)
            np.testing.assert_allclose(got[b, q], np.concatenate(heads_found) @ merge, atol=1e-5)


def test_pixel_attention_is_the_formula_among_the_known_dates():
    heads, size, channels = 3, 2, 5
    layer = PixelAttention(heads, size, seed=1)
    maps = random(2, 4, 2, 3, channels)
    known = np.random.default_rng(2).random((2, 3, 4)) < 0.6
    known[0, 0] = False
    got = np.array(layer(maps, known))
    query, key = (np.array(weight) for weight in layer.get_weights())
    assert got.shape == (2, 2, 3, heads, 3, 4)
    for b, i, j, g, a in np.ndindex(*got.shape[:-1]):
        places = np.flatnonzero(known[b, a])
        keys = maps[b, places, i, j] @ key[:, g * size : (g + 1) * size]  # (T, K)
        expected = np.zeros(4)
        expected[places] = softmax(keys @ query[g] / np.sqrt(size))
        np.testing.assert_allclose(got[b, i, j, g, a], expected, atol=1e-5)


def test_each_group_of_channels_is_summed_with_the_weights_of_its_coarse_pixel():
    maps, weights = random(2, 4, 6, 8, 6), random(2, 2, 4, 3, 5, 4, seed=1)
    got = np.array(WeightedSteps()(maps, weights))
    fine = weights.repeat(3, axis=1).repeat(2, axis=2)  # (B, H, W, G, A, T)
    assert got.shape == (2, 5, 6, 8, 6)
    for channel in range(6):
        expected = np.einsum("bhwat,bthw->bahw", fine[:, :, :, channel // 2], maps[..., channel])
        np.testing.assert_allclose(got[..., channel], expected, atol=1e-5)


# --- ConvLSTM ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_convlstm_of_one_layer_that_averages_its_maps(tmp_path):
    """Other options are in the tests of whole networks: read backwards too, and labels of the sequence."""
    inputs, label = harness.sequences(6, 8)
    given = {"height": 6, "width": 8, "channels": BANDS, "outputs": 2, "l2": 0.0, "filters": 4, "hidden": 8}
    given |= {"dropout": 0.0, "pool": "mean", "layers": 1, **harness.SEQUENCE_STATISTICS}
    case = harness.Case(
        lambda seed: models.build("convlstm", seed=seed, **given), inputs, label, 2, "s2", "s2_valid"
    )
    harness.check_output(case)
    harness.check_mask(case)
    harness.check_trains(case, harness.check_saved(case, tmp_path))


def test_a_convlstm_of_one_sensor():
    net = models.build("convlstm", height=6, width=8, channels={"s2": 3}, outputs=2)
    assert harness.predict(net, harness.sequences(6, 8, {"s2": 3})[0]).shape == (3, 5, 2)


def test_the_reports_network_has_its_size():
    """Two ConvLSTMs of two maps a branch, at 522 × 544 with one and three channels."""
    with harness.shapes_alone():
        net = models.build("convlstm", height=522, width=544, channels=BANDS, outputs=2)

    def lstm(channels: int) -> int:
        return 4 * 2 * (9 * channels + 9 * 2 + 1)

    recurrent = lstm(1) + lstm(2) + lstm(3) + lstm(2)
    norms, statistics = 2 * 4 * 2, 2 * (1 + 3)
    dense = 2 * 522 * 544 * 2 * 2 + 2 + 2 + 1
    assert net.count_params() == recurrent + norms + statistics + dense


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("sequences", [False, True])
def test_the_recurrence_is_that_of_keras_with_the_same_weights(backwards, sequences):
    rng = np.random.default_rng(0)
    images, valid = rng.normal(0, 1, (2, T, H, W, 3)).astype("float32"), np.ones((2, T), "float32")
    valid[0, 3:], valid[1, [0, 2]] = 0, 0
    theirs = keras.layers.ConvLSTM2D(4, 3, padding="same", return_sequences=sequences, go_backwards=backwards)
    ours = ConvLSTM(4, 3, sequences, backwards, 0.0, 0)
    mask = keras.ops.expand_dims(keras.ops.convert_to_tensor(valid) > 0.5, (-3, -2, -1))
    theirs(images, mask=mask)
    assert ours(images, valid).shape == ours.compute_output_shape(images.shape, valid.shape)
    kernel, recurrent, bias = (rng.normal(0, 0.3, w.shape) for w in theirs.get_weights())
    theirs.set_weights([kernel, recurrent, bias])
    own = {w.shape: w for w in (kernel, recurrent, bias)}
    ours.set_weights([own[w.shape] for w in ours.get_weights()])
    np.testing.assert_allclose(ours(images, valid), theirs(images, mask=mask), atol=1e-5)


def test_the_recurrence_begins_as_that_of_keras():
    layer = ConvLSTM(4, 3, True, False, 0.0, 7)
    layer(np.zeros((1, 2, H, W, 3), "float32"), np.ones((1, 2), "float32"))
    np.testing.assert_array_equal(layer.bias, [0] * 4 + [1] * 4 + [0] * 8)
    again = ConvLSTM.from_config(layer.get_config())
    again(np.zeros((1, 2, H, W, 3), "float32"), np.ones((1, 2), "float32"))
    for one, other in zip(layer.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


# --- Sizes -------------------------------------------------------------------------------------------------


def encoder(depth: int, channels: int, size: int = 64, width_multiplier: float = 1.0) -> keras.Model:
    images, valid = keras.Input((None, size, size, channels)), keras.Input((None,))
    with harness.shapes_alone():
        return keras.Model(
            [images, valid], features_of_steps(images, valid, Seeds(0), "s1", depth, width_multiplier)
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("depth", "expected"),
    [(50, 25_557_032 - 2_049_000), (34, 21_797_672 - 513_000)],  # published, without their classifiers
)
def test_resnets_have_the_published_weights(depth, expected):
    for channels in (3, 1):
        model = encoder(depth, channels)
        trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
        assert trainable == expected - 64 * 7 * 7 * (3 - channels)
    assert model.output.shape == (None, None, {34: 512, 50: 2048}[depth])


@pytest.mark.parametrize(("size", "sides"), [(64, [32, 16, 8, 4, 2]), (50, [25, 13, 7, 4, 2])])
def test_each_stage_of_a_resnet_halves_its_maps(size, sides):
    shapes = [layer.output.shape for layer in encoder(50, 3, size).layers if isinstance(layer, ImageNorm)]
    assert list(dict.fromkeys(shape[1] for shape in shapes)) == sides
    assert all(shape[1] == shape[2] for shape in shapes)
    assert len(shapes) == 1 + 3 * 16 + 4


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_name_takes_any_height_and_width(name):
    small = {"width_multiplier": 0.125} if name.startswith("resnet") else {}
    model = planned(name, height=67, width=70, channels={"a": 2, "b": 5, "c": 1}, outputs=4, **small)
    assert model.output.shape == (None, None, 4)
    assert model.input["b"].shape == (None, None, 67, 70, 5)


@pytest.mark.slow
def test_new_networks_are_small_at_their_defaults():
    for name in ("utae", "date_transformer"):
        assert 100_000 < planned(name).count_params() < 300_000


@pytest.mark.slow
@pytest.mark.parametrize(("units", "both"), [(4, False), (4, True)])
def test_the_recurrent_network_adds_a_gru_a_sensor(units, both):
    options = {"width_multiplier": 0.125, "bidirectional": both, "units": units}
    readings = 1 + both
    gru = 3 * units * (64 + units + 2)  # gates of 64 features, the state and two biases
    encoders = sum(image_features_count(channels) for channels in BANDS.values())
    statistics = 2 * (1 + 3)
    expected = encoders + statistics + 2 * readings * gru + 2 * readings * units + 1
    assert planned("resnet18_gru", **options).count_params() == expected


def image_features_count(channels: int) -> int:
    return encoder(18, channels, width_multiplier=0.125).count_params()


# --- Names and errors --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_registry_knows_them(monkeypatch):
    assert NAMES == ["convlstm", "resnet50", "resnet50_gru", "resnet18_gru", "utae", "date_transformer"]
    assert not set(NAMES) & {*models.names("series"), *models.names("images")}
    some = {name: models.ARCHITECTURES[name] for name in ("lstm", "resnet50", "resnet50_gru")}
    monkeypatch.setattr(models, "ARCHITECTURES", some)
    table = models.describe("sequences", outputs=2, height=32, width=32)
    assert list(table.index) == ["resnet50", "resnet50_gru"]
    assert "Rambour" in table.loc["resnet50", "paper"]
    assert "units=256" in table.loc["resnet50_gru", "options"]
    assert not any(word in table.loc["resnet50", "options"] for word in ("depth", "head", "channels"))


@pytest.mark.slow
def test_images_need_not_be_square_and_statistics_not_be_given():
    model = planned("date_transformer", height=16, width=24, channels={"s2": 2}, head="labels")
    assert model.input["s2"].shape == (None, None, 16, 24, 2)
    assert model.output.shape == (None, 1, 2)
    assert planned("utae").output.shape == (None, None, 2)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet5", {}, "no model 'resnet5': did you mean 'resnet50'"),
        ("resnet50", {"depth": 18}, "no option 'depth'"),
        ("utae", {"channels": 3}, "needs channels by sensor"),
        ("convlstm", {"pool": "flat"}, r"pool is 'flat'.*'flatten'"),
        ("convlstm", {"filters": 0}, "filters is 0, expected a whole number of 1 or more"),
        ("convlstm", {"kernel": 2.5}, "kernel is 2.5, expected a whole number of 1 or more"),
        ("convlstm", {"bidirectional": "yes"}, "bidirectional is 'yes', expected true or false"),
        ("convlstm", {"dropout": None}, "dropout is None, expected a share"),
        (
            "convlstm",
            {"filters": [2]},
            r"cannot be built with \{'filters': \[2\]\} for height .*other options",
        ),
        ("convlstm", {"channels": {}}, "needs channels by sensor"),
        ("utae", {"heads": 3}, "heads is 3"),
        ("utae", {"mean": {"s1": [0.0]}}, "mean has no values of sensor 's2'"),
        ("utae", {"std": {"s1": [1.0], "s2": [1.0]}}, "std of 's2' has 1 values"),
        (
            "convlstm",
            {"head": "mask"},
            "'convlstm' has no head 'mask', only steps, labels; 'mask' have no models of sequences",
        ),
        ("resnet50", {"dropout": 1.0}, "dropout is 1.0"),
        ("resnet50", {"width_multiplier": 0}, "width_multiplier is 0"),
        ("resnet50_gru", {"units": -1}, "units is -1"),
        ("date_transformer", {"units": 30}, "a multiple of heads"),
        ("date_transformer", {"channels": {}}, "needs channels by sensor"),
    ],
)
def test_wrong_names_words_and_numbers_are_named(name, options, message):
    with pytest.raises(ParameterError, match=message):
        planned(name, **options)


def test_what_a_kind_needs_is_named():
    with pytest.raises(ParameterError, match="'lstm' needs channels as a number"):
        models.build("lstm", times=3, channels=BANDS, outputs=2)
    with pytest.raises(ParameterError, match="'utae' needs height"):
        models.build("utae", channels=BANDS, outputs=2)
    with pytest.raises(ParameterError, match=r"no ResNet of 20 layers: .*Known: 101, 152, 18, 34, 50"):
        encoder(20, 3)
