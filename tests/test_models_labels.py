"""Networks that label images: every name, its shapes and numbers of weights; what makes each its own."""

from __future__ import annotations

from functools import cache

import keras
import model_harness as harness
import numpy as np
import pytest
from model_harness import trainable

from eolab import models
from eolab.core.errors import ParameterError
from eolab.data.bands import L2A_BANDS
from eolab.models.images.classifiers import LayerScale, NativePixels

pytestmark = pytest.mark.slow  # makes deep networks

NAMES = [n for n in models.names("images", "labels") if "mask" not in models.ARCHITECTURES[n].heads]
SIZE, C, K = 24, 12, 3
STATISTICS = harness.PATCH_STATISTICS
PUBLISHED = {  # trainable weights on three bands without the last layer, as published implementations count
    "resnet18_patch": 11_689_512 - 513_000,
    "resnet34_patch": 21_797_672 - 513_000,
    "resnet50_patch": 25_557_032 - 2_049_000,
    "resnet101_patch": 44_549_160 - 2_049_000,
    "resnet152_patch": 60_192_808 - 2_049_000,
    "convnext_tiny": 28_589_128 - 769_000,
}


def build(name: str, seed: int = 0, **options) -> keras.Model:
    side = 32 if name == "convnext_tiny" else SIZE
    given = {"height": side, "width": side, "channels": C, "width_multiplier": 0.0625, **STATISTICS}
    return models.build(name, outputs=K, activation="sigmoid", seed=seed, **{**given, **options})


@pytest.fixture
def shallow():
    with harness.shallow():
        yield


@cache
def planned(name: str, **options) -> keras.Model:
    given = {"height": 120, "width": 120, "channels": 3, "outputs": 19, **options}
    return harness.planned(name, **given)


@pytest.mark.parametrize(("outputs", "activation"), [(1, "softmax"), (3, "softmax"), (2, "linear")])
def test_classes_and_values_of_images_of_any_height_and_width(outputs, activation):
    """All networks end in the same head."""
    given = {"height": 67, "width": 70, "channels": C, "width_multiplier": 0.0625}
    model = models.build("shallow_cnn", outputs=outputs, activation=activation, **given)
    image = np.random.default_rng(0).normal(size=(2, 67, 70, C)).astype("float32")
    found = harness.predict(model, {"image": image})
    assert found.shape == (2, outputs)
    if activation == "softmax" and outputs > 1:
        np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)
    elif outputs == 1:
        assert ((found > 0) & (found < 1)).all()
    else:
        assert found.dtype == np.float32


# --- Sizes -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_numbers_of_weights_are_the_published_ones(name):
    model = planned(name)
    head = (model.get_layer("pool").output.shape[-1] + 1) * 19
    assert trainable(model) - head == PUBLISHED[name]


def test_twelve_bands_add_weights_to_the_first_convolution_alone():
    assert (
        trainable(planned("resnet50_patch", channels=12)) - trainable(planned("resnet50_patch"))
        == 49 * 9 * 64
    )


def test_the_shallow_network_has_three_convolutions_and_two_dense_layers():
    expected = (25 * 12 + 1) * 32 + (25 * 32 + 1) * 32 + (9 * 32 + 1) * 64 + 65 * 128 + 129 * 19
    assert trainable(planned("shallow_cnn", channels=12)) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [n for n in NAMES if n not in ("resnet34_patch", "resnet101_patch", "resnet152_patch")]
)
def test_a_narrow_network_of_any_height_and_width_and_channels_has_the_layers_of_the_wide_one(name):
    """Of ResNets of patches one without bottlenecks and one with them: others only have more blocks."""
    wide = planned(name)
    narrow = planned(name, height=67, width=70, channels=5, outputs=4, width_multiplier=0.25)
    assert [type(layer) for layer in narrow.layers] == [type(layer) for layer in wide.layers]
    assert narrow.count_params() < wide.count_params() / 4
    assert wide.output.shape == (None, 19)
    assert narrow.output.shape == (None, 4)
    assert narrow.input["image"].shape == (None, 67, 70, 5)


def test_describe_lists_networks_of_patches_with_their_options(monkeypatch):
    some = {name: models.ARCHITECTURES[name] for name in ("unet", "shallow_cnn", "resnet50_patch", "lstm")}
    monkeypatch.setattr(models, "ARCHITECTURES", some)
    table = models.describe("images", "labels", outputs=19, width_multiplier=0.25)
    assert list(table.index) == ["unet", "shallow_cnn", "resnet50_patch"]
    assert table.loc["resnet50_patch", "paper"] == "He et al. 2016"
    assert "dropout=0.0, l2=0.0" in table.loc["resnet50_patch", "options"]
    assert "depth" not in table.loc["resnet50_patch", "options"]


# --- What makes each its own -------------------------------------------------------------------------------


def test_each_branch_has_the_native_pixels_of_its_bands():
    """Bands that were resampled by the nearest neighbour come back bit by bit."""
    rng = np.random.default_rng(0)
    steps = {"B01": 6, "B09": 6} | dict.fromkeys(("B05", "B06", "B07", "B8A", "B11", "B12"), 2)
    native = {band: rng.random((24 // steps.get(band, 1),) * 2, "float32") for band in L2A_BANDS}
    image = np.stack(
        [values.repeat(24 // len(values), 0).repeat(24 // len(values), 1) for values in native.values()], -1
    )
    model = build("three_branch_cnn", mean=[0.0] * 12, std=[1.0] * 12)
    for step in (1, 2, 6):
        branch = keras.Model(model.inputs, model.get_layer(f"native_{10 * step}m").output)
        expected = [values for band, values in native.items() if steps.get(band, 1) == step]
        got = harness.predict(branch, {"image": image[None]})[0]
        np.testing.assert_array_equal(got, np.stack(expected, -1))


def test_pixels_between_native_ones_of_coarser_bands_do_not_count():
    model, inputs = build("three_branch_cnn"), harness.patches(SIZE, SIZE)
    changed = inputs["image"].copy()
    changed[:, 1::6, :, L2A_BANDS.index("B01")] += 1000
    changed[:, :, 1::2, L2A_BANDS.index("B12")] += 1000
    np.testing.assert_array_equal(harness.predict(model, {"image": changed}), harness.predict(model, inputs))


def test_native_pixels_keep_their_places_when_saved():
    layer = NativePixels.from_config(NativePixels((0, 2), 2).get_config())
    image = np.arange(4 * 4 * 3.0).reshape(1, 4, 4, 3)
    np.testing.assert_array_equal(layer(image), image[:, ::2, ::2, [0, 2]])


def test_layer_scale_starts_where_it_is_told():
    layer = LayerScale.from_config(LayerScale(0.25).get_config())
    np.testing.assert_array_equal(layer(np.ones((1, 2, 3), "float32")), np.full((1, 2, 3), 0.25))


@pytest.mark.usefixtures("shallow")
@pytest.mark.slow
def test_both_images_of_a_fusion_count():
    model, inputs = build("resnet18_fusion"), harness.patches(SIZE, SIZE, radar=True)
    expected = harness.predict(model, inputs)
    for name in ("image", "radar"):
        turned = {**inputs, name: inputs[name][::-1]}
        assert harness.distance(harness.predict(model, turned), expected) > 1e-4


@pytest.mark.usefixtures("shallow")
@pytest.mark.slow
@pytest.mark.parametrize("name", ["shallow_cnn", "three_branch_cnn", "resnet18_patch", "convnext_tiny"])
def test_the_penalty_is_on_the_weights_of_convolutions(name):
    model = build(name, l2=0.1)
    kernels = [w for w in model.trainable_weights if len(w.shape) == 4]
    dense = [w for w in model.trainable_weights if name == "convnext_tiny" and len(w.shape) == 2][:-1]
    expected = sum(float(np.square(keras.ops.convert_to_numpy(w)).sum()) for w in kernels + dense)
    assert sum(float(loss) for loss in model.losses) == pytest.approx(0.1 * expected, rel=1e-5)
    assert not build(name).losses


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("name", ["shallow_cnn", "three_branch_cnn", "resnet18_patch"])
def test_dropout_stands_before_the_last_layer(name):
    layers = [type(layer).__name__ for layer in build(name, dropout=0.5).layers]
    assert layers[-3:] == ["Dropout", "Dense", "Activation"]
    assert "Dropout" not in [type(layer).__name__ for layer in build(name).layers]


@pytest.mark.slow
def test_strides_of_bottlenecks_stand_where_they_are_told():
    for early in (False, True):
        model = planned("resnet50_patch", early=early)
        strides = [model.get_layer(f"encoder_layer2_0_conv{i}").strides[0] for i in (1, 2)]
        assert strides == ([2, 1] if early else [1, 2])


def test_padding_counts_nowhere_in_a_masked_resnet(shallow, tmp_path):
    """Neither in predictions nor in the statistics of a batch, whatever there is of it; else it counts."""
    rng = np.random.default_rng(0)
    padded = np.full((3, 69, 105, 13), np.nan, "float32")
    padded[:, :37, :41] = rng.normal(5, 2, (3, 37, 41, 13))
    padded[1, :9, :9] = padded[0, 5, 5, 2] = np.nan
    alone = padded[:, :37, :41]
    given = {"channels": 13, "mean": [5.0] * 13, "std": [2.0] * 13}
    for masked in (True, False):
        small, large = (
            build("resnet50_patch", height=image.shape[1], width=image.shape[2], masked=masked, **given)
            for image in (alone, padded)
        )
        for layer in small.layers:  # what is normalised is not 0 where the image is
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.set_weights([rng.uniform(0.1, 1, one.shape) for one in layer.get_weights()])
        large.set_weights(small.get_weights())
        for training in (False, True):
            found = [
                np.array(network({"image": image}, training=training))
                for network, image in ((small, alone), (large, padded))
            ]
            assert np.isfinite(found).all()
            assert np.allclose(*found, rtol=1e-4, atol=1e-5) == masked
        if masked:
            for one, other in zip(small.get_weights(), large.get_weights(), strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)  # moving averages
            assert np.isfinite(np.array(small({"image": np.full_like(alone, np.nan)}))).all()
            small.save(tmp_path / "model.keras")
            again = keras.models.load_model(tmp_path / "model.keras")
            np.testing.assert_array_equal(again({"image": alone}), small({"image": alone}))


def test_a_resnet_learns_from_oblong_images_that_are_padded_with_nan():
    rng = np.random.default_rng(0)
    image = rng.normal(5, 2, (4, 37, 41, 13)).astype("float32")
    image[:, 20:], image[1] = np.nan, np.nan
    model = build("resnet18_patch", height=37, width=41, channels=13, mean=[5.0] * 13, std=[2.0] * 13)
    model.compile(keras.optimizers.SGD(0.01), "binary_crossentropy", run_eagerly=True)
    before = np.array(model.get_layer("encoder_conv1").kernel)
    assert np.isfinite(model.train_on_batch({"image": image}, np.eye(3)[[0, 1, 2, 0]]))
    assert np.isfinite(np.concatenate([np.ravel(one) for one in model.get_weights()])).all()
    assert not np.array_equal(np.array(model.get_layer("encoder_conv1").kernel), before)


def test_wrong_numbers_are_named():
    for options, message in (
        ({"width_multiplier": 0}, "resnet18_patch: width_multiplier is 0, expected a number above 0"),
        ({"dropout": 1.0}, "dropout is 1.0, expected a share"),
        ({"l2": -1}, "l2 is -1, expected 0 or more"),
        ({"depth": 34}, "'resnet18_patch' has no option 'depth'"),
    ):
        with pytest.raises(ParameterError, match=message):
            build("resnet18_patch", **options)
    with pytest.raises(ParameterError, match="images have 24 × 10 pixels, expected 12 or more"):
        build("three_branch_cnn", width=10)
    with pytest.raises(ParameterError, match=r"steps is \[1, 3\], expected one of 1, 2, 6 for each of 12"):
        build("three_branch_cnn", steps=(1, 3))
    with pytest.raises(ParameterError, match="images have 16 × 32 pixels, expected 32 or more"):
        build("convnext_tiny", height=16)
    with pytest.raises(ParameterError, match="drop_path is 1, expected a share"):
        build("convnext_tiny", drop_path=1)
    with pytest.raises(ParameterError, match="radar_mean and radar_std need two numbers each"):
        build("resnet18_fusion", radar_mean=[0.0])
