"""Networks of image series: missing dates and pixels, odd sizes, attention against NumPy."""

from __future__ import annotations

from functools import cache

import keras
import model_harness as harness
import numpy as np
import pytest

from eolab import models, prediction
from eolab.core.errors import ParameterError
from eolab.models.attention import WeightedSteps
from eolab.models.image_series import enlarged

pytestmark = pytest.mark.slow  # makes graphs of networks

B, T, H, W = 3, 5, 13, 11
SMALL = {
    "utae_mask": {"width_multiplier": 0.125, "heads": 4},
    "tsvit": {"units": 16, "heads": 2, "temporal_layers": 2, "spatial_layers": 1, "expansion": 2},
    "convlstm_mask": {"filters": 4},
    "unet_composites": {"levels": 3, "width_multiplier": 0.125},
}
STRIDES = {"utae_mask": 8, "unet_composites": 4}  # others have no padding that counts, or places
MISSING = [name for name in SMALL if name != "unet_composites"]  # U-Nets have a channel for each date


def build(name, **options):
    given = {"channels": 4, "outputs": 3, "times": T, "height": H, "width": W, "seed": 3}
    return models.build(name, **given | harness.SERIES_STATISTICS | SMALL[name] | options)


@cache
def shared(name):
    """A network that no test changes."""
    return build(name)


def predict(model, inputs):
    return harness.predict(model, inputs)["mask"]


@pytest.fixture(scope="module")
def inputs():
    return harness.image_series(H, W)[0]


def test_every_network_of_image_series_is_here():
    assert models.names("image_series") == list(SMALL)
    assert models.names("image_series", "mask") == list(SMALL)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize(("height", "width"), [(13, 11), (1, 7), (16, 8)])
def test_masks_have_the_size_of_the_images_whatever_it_is(name, height, width):
    found = predict(build(name, height=height, width=width), harness.image_series(height, width)[0])
    assert found.shape == (B, height, width, 3)
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_what_stands_where_nothing_was_observed_changes_nothing(name, inputs):
    """A pixel under a cloud, in any band, and the day of a missing date."""
    model, seen = shared(name), inputs["valid"] > 0
    fillers = np.random.default_rng(0).choice([np.nan, 1e30, -7.0], inputs["image"].shape)
    day = np.where(seen.any((2, 3)), inputs["day"], np.nan)
    changed = {"image": np.where(seen[..., None], inputs["image"], fillers), "valid": seen, "day": day}
    changed = {key: values.astype("float32") for key, values in changed.items()}
    expected = predict(model, inputs)
    np.testing.assert_array_equal(predict(model, changed), expected)
    other = inputs | {"image": inputs["image"] + 1}
    assert np.abs(predict(model, other) - expected).max() > 1e-3


@pytest.mark.parametrize("name", MISSING)
def test_dates_without_a_pixel_are_as_if_they_were_not_there(name, inputs):
    """Put in before, between and behind: the same weights predict the same of the longer series."""
    places = [1, 2, 4, 5, 7]
    longer = {
        "image": np.full((B, 8, H, W, 4), np.nan, "float32"),
        "valid": np.zeros((B, 8, H, W), "float32"),
        "day": np.full((B, 8), 50.0, "float32"),
    }
    for key, values in longer.items():
        values[:, places] = inputs[key]
    short, long = shared(name), build(name, times=8)
    long.set_weights(short.get_weights())
    np.testing.assert_allclose(predict(long, longer), predict(short, inputs), atol=1e-5)


@pytest.mark.parametrize("name", MISSING)
def test_a_series_without_any_pixel_gets_finite_probabilities(name, inputs):
    empty = inputs | {"valid": np.zeros_like(inputs["valid"])}
    found = predict(shared(name), empty)
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


@pytest.mark.parametrize("name", SMALL)
def test_a_sample_alone_is_predicted_as_among_others(name, inputs):
    model = shared(name)
    alone = {key: values[1:2] for key, values in inputs.items()}
    np.testing.assert_allclose(predict(model, alone)[0], predict(model, inputs)[1], atol=1e-5)


@pytest.mark.parametrize("name", STRIDES)
def test_an_image_that_the_stride_does_not_divide_is_padded_with_what_was_not_observed(name, inputs):
    """A larger image that is empty around it gives the same."""
    height, width = (-(-side // STRIDES[name]) * STRIDES[name] for side in (H, W))
    larger = {"day": inputs["day"]}
    for key, empty in (("image", np.nan), ("valid", 0)):
        larger[key] = np.full((B, T, height, width, *inputs[key].shape[4:]), empty, "float32")
        larger[key][:, :, :H, :W] = inputs[key]
    whole, model = build(name, height=height, width=width), shared(name)
    whole.set_weights(model.get_weights())
    np.testing.assert_allclose(predict(whole, larger)[:, :H, :W], predict(model, inputs), atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_days_count_where_the_network_takes_them(name, inputs):
    model = shared(name)
    later = inputs | {"day": inputs["day"] + 40}
    change = np.abs(predict(model, later) - predict(model, inputs)).max()
    assert change > 1e-5 if name in ("utae_mask", "tsvit") else change == 0


def test_attention_of_utae_is_resized_bilinearly_and_sums_each_group_of_channels():
    """Against loops over heads and dates in NumPy."""
    rng = np.random.default_rng(0)
    heads, times, channels = 2, 3, 4
    weights = rng.random((1, 2, 2, heads, 1, times)).astype("float32")
    maps = rng.normal(size=(1, times, 8, 8, channels)).astype("float32")
    given = keras.Input(weights.shape[1:]), keras.Input(maps.shape[1:])
    model = keras.Model(given, WeightedSteps()(given[1], enlarged(given[0], 8, 8)))
    found = np.array(model([weights, maps]))[0, 0]  # (8, 8, C)
    at = np.clip((np.arange(8) + 0.5) / 4 - 0.5, 0, 1)  # place of each fine pixel among the two coarse ones
    share = np.stack([1 - at, at], axis=1)  # (8, 2)
    expected = np.zeros((8, 8, channels))
    for head in range(heads):
        group = slice(head * 2, head * 2 + 2)
        for time in range(times):
            fine = share @ weights[0, :, :, head, 0, time] @ share.T
            expected[..., group] += fine[..., None] * maps[0, time, ..., group]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_network_of_image_series_needs_dates_and_a_size():
    with pytest.raises(ParameterError, match="needs times"):
        build("utae_mask", times=0)
    with pytest.raises(ParameterError, match="utae_mask: units is 8, expected a multiple of heads"):
        build("utae_mask", heads=3)


@pytest.mark.slow
@pytest.mark.parametrize("name", MISSING)
def test_networks_are_exported_and_predict_the_same(name, inputs):
    """An einsum of nine letters took tf2onnx longer than anybody waits: it compares all their orders."""
    pytest.importorskip("onnxruntime")
    given = {"batch_size": B, "example": inputs}
    found = prediction.load(shared(name), engine="onnx", **given)(inputs)
    np.testing.assert_allclose(found, predict(shared(name), inputs), atol=1e-4)
