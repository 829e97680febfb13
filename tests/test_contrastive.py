"""Contrastive pretraining: loss, views, encoders, and networks that begin with them."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from eolab import models
from eolab.core.errors import DataError, ParameterError
from eolab.training import contrastive
from eolab.training.contrastive import NTXent, Views, begin, encoder_of, matched, with_projection

BATCH, TIMES, BANDS = 40, 12, 3
MEAN, STD = (0.1, 0.2, 0.3), (0.01, 0.05, 0.1)


def nt_xent_of_the_paper(z: np.ndarray, temperature: float) -> float:
    """Equation 1 and Algorithm 1 of Chen et al. (2020), pair by pair; views of a sample follow each other."""
    count = len(z)

    def similarity(a, b):
        return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))

    def of_pair(i, j):
        others = sum(np.exp(similarity(z[i], z[k]) / temperature) for k in range(count) if k != i)
        return -np.log(np.exp(similarity(z[i], z[j]) / temperature) / others)

    return sum(of_pair(k, k + 1) + of_pair(k + 1, k) for k in range(0, count, 2)) / count


def series(seed: int = 0, *pixels: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    image = rng.normal(MEAN, STD, (BATCH, TIMES, *pixels, BANDS)).astype(np.float32)
    valid = rng.random((BATCH, TIMES, *pixels)) < 0.7
    valid[0] = False
    image[~valid] = np.nan
    day = np.tile(np.arange(TIMES, dtype=np.float32) * 30, (BATCH, 1))
    return {"image": image, "valid": valid, "day": day}


# === Loss ===


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0])
def test_the_loss_is_that_of_the_paper(temperature):
    z = np.random.default_rng(1).normal(size=(12, 5)).astype(np.float32)
    found = NTXent(temperature)(np.zeros(12), z)
    assert float(found) == pytest.approx(nt_xent_of_the_paper(z.astype(float), temperature), rel=1e-5)


def test_the_loss_falls_as_views_of_a_sample_come_together_and_knows_no_length():
    z = np.random.default_rng(2).normal(size=(8, 6)).astype(np.float32)
    alike = np.repeat(z, 2, axis=0)
    apart = np.stack([z, z[::-1]], 1).reshape(16, 6)
    loss = NTXent(0.1)
    assert float(loss(np.zeros(16), alike)) < float(loss(np.zeros(16), apart)) - 1
    assert float(loss(np.zeros(16), 100 * alike)) == pytest.approx(float(loss(np.zeros(16), alike)), rel=1e-5)
    assert np.asarray(matched(None, alike)).mean() == 1
    assert np.asarray(matched(None, apart)).mean() == 0


def test_the_loss_is_saved_with_its_temperature():
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(NTXent(0.3)))
    assert again.temperature == 0.3


@pytest.mark.parametrize(
    "wrong",
    [
        {"drop": 1.0},
        {"jitter": -1},
        {"clouds": 1.5},
        {"cloud_dates": 0},
        {"cloud_size": 0},
        {"noise": float("nan")},
    ],
)
def test_amounts_that_cannot_be_are_refused(wrong):
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        Views(MEAN, STD, **wrong)
    with pytest.raises(ParameterError, match="temperature"):
        NTXent(0.0)


# === Views ===


@pytest.mark.parametrize("pixels", [(), (4, 5)])
def test_views_are_pairs_of_the_same_samples_and_a_function_of_the_generator(pixels):
    inputs, label = series(0, *pixels), np.arange(BATCH)
    before = {name: values.copy() for name, values in inputs.items()}
    views = Views(MEAN, STD)
    found, labels = views(inputs, label, np.random.default_rng(3))
    again, _ = views(inputs, label, np.random.default_rng(3))
    other, _ = views(inputs, label, np.random.default_rng(4))
    for name, values in inputs.items():
        np.testing.assert_array_equal(values, before[name])  # nothing is changed in place
        np.testing.assert_array_equal(found[name], again[name])
        assert found[name].shape == (2 * BATCH, *values.shape[1:])
    assert (labels[::2] == labels[1::2]).all()
    np.testing.assert_array_equal(found["day"], np.repeat(inputs["day"], 2, axis=0))
    assert not np.array_equal(found["valid"], other["valid"])
    assert not np.array_equal(found["valid"][::2], found["valid"][1::2])


def test_dates_are_only_lost_never_made_and_the_last_one_never_lost():
    inputs = series()
    views = Views(MEAN, STD, drop=0.99, clouds=1.0, cloud_dates=TIMES)
    for seed in range(20):
        valid = views.view(inputs, np.random.default_rng(seed))["valid"]
        assert not (valid & ~inputs["valid"]).any()
        assert (valid.any(axis=1) == inputs["valid"].any(axis=1)).all()


def test_a_view_without_any_change_is_the_sample():
    inputs = series()
    still = Views(MEAN, STD, drop=0, jitter=0, noise=0, clouds=0)
    found = still.view(inputs, np.random.default_rng(0))
    np.testing.assert_allclose(found["image"], inputs["image"], rtol=1e-5)
    np.testing.assert_array_equal(found["valid"], inputs["valid"])


def test_jitter_and_noise_are_in_standard_deviations_of_each_channel():
    inputs = {"image": np.tile(np.float32(MEAN), (20_000, TIMES, 1)), "valid": np.ones((20_000, TIMES), bool)}
    only = {"drop": 0, "clouds": 0}
    shifted = Views(MEAN, STD, jitter=0.3, noise=0, **only).view(inputs, np.random.default_rng(0))["image"]
    np.testing.assert_allclose((shifted - MEAN).std(axis=(0, 1)) / STD, 0.3, rtol=0.03)
    assert np.ptp(shifted, axis=1).max() < 1e-6  # one shift a sample and channel
    noisy = Views(MEAN, STD, jitter=0, noise=0.3, **only).view(inputs, np.random.default_rng(0))["image"]
    np.testing.assert_allclose((noisy - MEAN).std(axis=(0, 1)) / STD, 0.3, rtol=0.02)


def test_a_cloud_hides_or_brightens_a_run_of_neighbouring_dates():
    inputs = {"image": np.tile(np.float32(MEAN), (2000, TIMES, 1)), "valid": np.ones((2000, TIMES), bool)}
    views = Views(MEAN, STD, drop=0, jitter=0, noise=0, clouds=1.0, cloud_dates=3, brightness=2.0)
    found = views.view(inputs, np.random.default_rng(0))
    added = (found["image"] - MEAN) / STD
    bright, hidden = added[..., 0] > 1e-4, ~found["valid"]
    assert added.min() > -1e-4
    assert 1.9 < added.max() <= 2.001
    np.testing.assert_allclose(added[..., 0], added[..., 2], atol=1e-3)  # all channels alike
    touched = bright | hidden
    assert touched.any(axis=1).all()
    assert touched.sum(axis=1).max() == 3
    assert ((np.diff(touched.astype(int), axis=1) == 1).sum(axis=1) + touched[:, 0] == 1).all()  # one run
    assert not (bright.any(axis=1) & hidden.any(axis=1)).any()
    assert 0.45 < hidden.any(axis=1).mean() < 0.55


def patches(count: int = 30, side: int = 8) -> dict[str, np.ndarray]:
    """Patches all seen; the first channel numbers the pixels and the second the dates."""
    pixel, date = np.arange(side * side).reshape(side, side), np.arange(TIMES)[:, None, None]
    shape = (count, TIMES, side, side)
    image = np.stack([np.broadcast_to(one, shape) for one in (pixel, date)], axis=-1).astype(np.float32)
    day = np.tile(np.arange(TIMES, dtype=np.float32), (count, 1))
    return {"image": image, "valid": np.ones(shape, bool), "day": day}


def test_a_view_of_a_patch_is_turned_and_mirrored_alike_at_all_dates_with_what_was_observed():
    inputs = patches()
    inputs["valid"][:, :, 0, 1] = False
    still = Views((0, 0), (1, 1), drop=0, jitter=0, noise=0, clouds=0)
    found = still.view(inputs, np.random.default_rng(0))
    image, valid = found["image"], found["valid"]
    np.testing.assert_array_equal(image[..., 1], inputs["image"][..., 1])  # dates keep their order
    assert (image[:, :1, ..., 0] == image[..., 0]).all()
    square = inputs["image"][0, 0, ..., 0]
    eight = [np.rot90(one, turns) for one in (square, square[:, ::-1]) for turns in range(4)]
    seen = {next(n for n, one in enumerate(eight) if (one == view).all()) for view in image[:, 0, ..., 0]}
    assert len(seen) == 8
    np.testing.assert_array_equal(~valid, image[..., 0] == 1)
    wide = {name: values[:, :, :6] if values.ndim > 2 else values for name, values in inputs.items()}
    assert still.view(wide, np.random.default_rng(0))["image"].shape == wide["image"].shape


def test_the_cloud_of_a_patch_is_a_disc_that_hides_or_brightens_part_of_some_dates():
    inputs = patches(400) | {"image": np.zeros((400, TIMES, 8, 8, 2), np.float32)}
    views = Views((0, 0), (1, 1), drop=0, jitter=0, noise=0, clouds=1.0, cloud_dates=3, cloud_size=0.5)
    found = views.view(inputs, np.random.default_rng(0))
    bright, hidden = found["image"][..., 0] > 1e-4, ~found["valid"]
    touched = bright | hidden
    dates = touched.any(axis=(2, 3))
    assert set(dates.sum(axis=1)) == {1, 2, 3}
    assert ((np.diff(dates.astype(int), axis=1) == 1).sum(axis=1) + dates[:, 0] == 1).all()  # one run
    assert not (bright.any(axis=(1, 2, 3)) & hidden.any(axis=(1, 2, 3))).any()
    assert 0.4 < hidden.any(axis=(1, 2, 3)).mean() < 0.6
    shares = touched.mean(axis=(2, 3))[dates]
    assert shares.min() < 0.05
    assert 0.3 < shares.max() < np.pi * 0.5**2 + 0.1  # a disc of half a side, and no whole date
    for cloud in touched[dates][:50]:  # convex: each row and column is one run
        for lines in (cloud, cloud.T):
            assert (np.diff(np.pad(lines, ((0, 0), (1, 1))).astype(int), axis=1) == 1).sum(axis=1).max() == 1
    places = touched[:, :-1] & touched[:, 1:]
    both = dates[:, :-1] & dates[:, 1:]
    assert (~places.any(axis=(2, 3)) & both).any()  # another place at the next date


def test_dates_of_a_patch_are_lost_as_a_whole_and_the_last_pixel_never():
    inputs = patches()
    inputs["valid"][:] = False
    inputs["valid"][:, 3, 2, 5] = True  # one pixel at one date
    views = Views((0, 0), (1, 1), drop=0.99, clouds=1.0, cloud_dates=TIMES, cloud_size=5)
    for seed in range(5):
        assert (views.view(inputs, np.random.default_rng(seed))["valid"].sum(axis=(1, 2, 3)) == 1).all()
    only = Views((0, 0), (1, 1), drop=0.5, jitter=0, noise=0, clouds=0)
    valid = only.view(patches(), np.random.default_rng(0))["valid"]
    assert (valid.all(axis=(2, 3)) | ~valid.any(axis=(2, 3))).all()
    assert 0.1 < (~valid).mean() < 0.4


def test_labels_change_neither_views_nor_loss():
    inputs, z = patches(6), np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    one, other = np.zeros((6, 8, 8), np.uint8), np.full((6, 8, 8), 255, np.uint8)
    views = Views((0, 0), (1, 1))
    found, again = (views(inputs, label, np.random.default_rng(1))[0] for label in (one, other))
    for name in inputs:
        np.testing.assert_array_equal(found[name], again[name])
    assert float(NTXent()(np.tile(one, (2, 1, 1)), z)) == float(NTXent()(np.tile(other, (2, 1, 1)), z))


# === Encoders ===


@pytest.mark.parametrize("name", ["tempcnn", "ltae"])
def test_a_network_begins_with_the_weights_of_an_encoder_and_its_statistics(name):
    given = {"channels": BANDS, "times": TIMES, "outputs": 2}
    options = {"tempcnn": {"filters": 4, "dense": 8}, "ltae": {"units": 32, "heads": 4}}[name]
    first = encoder_of(models.build(name, mean=MEAN, std=STD, seed=1, **given, **options))
    projected = with_projection(first, 16, 4, seed=0)
    network = models.build(name, seed=2, **{**given, "outputs": 7}, **options)
    inputs = {key: values.astype(np.float32) for key, values in series().items()}
    features = first.predict_on_batch(inputs)
    assert projected.predict_on_batch(inputs).shape == (BATCH, 4)
    assert not np.allclose(encoder_of(network).predict_on_batch(inputs), features)
    begin(network, first)
    np.testing.assert_allclose(encoder_of(network).predict_on_batch(inputs), features, atol=1e-6)
    assert network.get_layer("normalize").mean == list(MEAN)


def test_tsvit_begins_with_an_encoder_whose_features_of_a_pixel_are_the_tokens_of_its_square():
    """Odd sizes: the last squares are cropped. U-Nets are in test_tasks_image_series."""
    small = {"units": 8, "heads": 2, "temporal_layers": 1, "spatial_layers": 1, "expansion": 1}
    given = {"channels": 2, "times": 3, "outputs": 3, "height": 7, "width": 6, **small}
    inputs = {"day": np.tile(np.arange(3, dtype=np.float32), (2, 1)), "valid": np.ones((2, 3, 7, 6))}
    inputs["image"] = np.random.default_rng(0).normal(size=(2, 3, 7, 6, 2)).astype(np.float32)
    first = encoder_of(models.build("tsvit", mean=(0.1, 0.2), std=(1, 2), seed=1, **given))
    projected = with_projection(first, 16, 4)
    pooled = projected.get_layer("projection_1").input
    maps, pooled = (np.asarray(one) for one in keras.Model(first.input, [first.output, pooled])(inputs))
    assert maps.shape == (2, 7, 6, 3 * 8)
    np.testing.assert_allclose(pooled, maps.mean(axis=(1, 2)), rtol=1e-4, atol=1e-5)
    network = models.build("tsvit", seed=2, **given)
    begin(network, first)
    kernel, bias = (np.array(one) for one in network.get_layer("mask_logits").weights)
    logits = maps.reshape(2, 7, 6, 3, 8) @ kernel + bias  # of all four pixels of the square
    own = np.arange(7)[:, None] % 2 * 2 + np.arange(6) % 2
    logits = np.take_along_axis(logits, own[None, :, :, None, None], axis=-1)[..., 0]
    expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(network(inputs)["mask"], expected, atol=1e-5)


def test_an_encoder_of_another_network_is_refused():
    given = {"channels": BANDS, "times": TIMES, "outputs": 2, "dense": 8}
    network = models.build("tempcnn", filters=4, **given)
    with pytest.raises(DataError, match="build the network with the model, the options"):
        begin(network, encoder_of(models.build("tempcnn", filters=5, **given)))
    with pytest.raises(ParameterError, match="has no layer 'logits'"):
        encoder_of(with_projection(encoder_of(network)))


def test_the_views_are_told_from_others_in_a_checkpoint():
    assert Views(MEAN, STD).name != Views(MEAN, STD, drop=0.1).name
    assert contrastive.Views.__name__ in Views(MEAN, STD).name
