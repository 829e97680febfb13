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
    """Equation 1 and Algorithm 1 of Chen et al. (2020), pair by pair; views of a sample are half apart."""
    count = len(z)

    def similarity(a, b):
        return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))

    def of_pair(i, j):
        others = sum(np.exp(similarity(z[i], z[k]) / temperature) for k in range(count) if k != i)
        return -np.log(np.exp(similarity(z[i], z[j]) / temperature) / others)

    half = count // 2
    return sum(of_pair(k, k + half) + of_pair(k + half, k) for k in range(half)) / count


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
    alike = np.concatenate([z, z])
    apart = np.concatenate([z, z[::-1]])
    loss = NTXent(0.1)
    assert float(loss(np.zeros(16), alike)) < float(loss(np.zeros(16), apart)) - 1
    assert float(loss(np.zeros(16), 100 * alike)) == pytest.approx(float(loss(np.zeros(16), alike)), rel=1e-5)
    assert np.asarray(matched(None, alike)).mean() == 1
    assert np.asarray(matched(None, apart)).mean() == 0


def test_the_loss_is_saved_with_its_temperature():
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(NTXent(0.3)))
    assert again.temperature == 0.3


@pytest.mark.parametrize(
    "wrong", [{"drop": 1.0}, {"jitter": -1}, {"clouds": 1.5}, {"cloud_dates": 0}, {"noise": float("nan")}]
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
    assert (labels[:BATCH] == labels[BATCH:]).all()
    np.testing.assert_array_equal(found["day"], np.concatenate([inputs["day"]] * 2))
    assert not np.array_equal(found["valid"], other["valid"])
    assert not np.array_equal(found["valid"][:BATCH], found["valid"][BATCH:])


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
