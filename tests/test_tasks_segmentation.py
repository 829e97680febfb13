"""Segmentation networks on a store: crops, one compiled network for many trainings, probabilities on disk."""

from __future__ import annotations

import landslide_example as example
import numpy as np
import pandas as pd
import pytest

from eolab import tasks, training
from eolab.core.errors import ParameterError
from eolab.prediction import probabilities
from eolab.studies import landslide
from eolab.tasks import engine
from eolab.training import augment

pytestmark = pytest.mark.slow  # trains networks

SIDE = 32
SMALL = {"width_multiplier": 0.0625, "levels": 2}
QUICK = {"training": {"epochs": 2, "batch_size": 4}, "augmentation": ["rotate"], "progress": False}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return example.write(tmp_path_factory.mktemp("store"), patches=18, side=SIDE)


@pytest.fixture(scope="module")
def rows():
    parts = np.split(np.arange(18), [10, 14])
    return dict(zip(("train", "validation", "test"), parts, strict=True))


def channels_of(store, rows):
    return landslide.channels.select(["bands"], store, rows["train"])


def fit(store, rows, folder, **options):
    given = {"channels": channels_of(store, rows), "options": SMALL, "folder": folder} | QUICK | options
    return tasks.fit("segmentation", "unet", store, rows, **given)


def mask(fitted, image):
    return fitted.predict({"image": image}, ["mask"])["mask"]


def images(store, rows, part="test"):
    return store.gather(rows[part], ["image"])["image"]


@pytest.mark.usefixtures("eager")
def test_training_on_crops_gives_a_network_for_whole_patches(store, rows, tmp_path):
    fitted = fit(store, rows, tmp_path, crop=16)
    assert fitted.network.inputs[0].shape[1:3] == (SIDE, SIDE)
    found = mask(fitted, images(store, rows))
    assert found.shape == (4, SIDE, SIDE)
    assert np.isfinite(found).all()
    saved = tasks.load(tmp_path)
    assert (saved.name, saved.task, saved.channels) == ("unet", fitted.task, fitted.channels)
    np.testing.assert_allclose(mask(saved, images(store, rows)), found, atol=1e-6)


def test_crops_need_not_divide_the_images(store, rows, monkeypatch):
    """What is beyond the edge of an image has no label, at any resolution of the mask."""
    seen = {}

    def watch(network, train, validation, **options):
        seen.update(train=train[0], validation=validation[0])
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "fit", watch)
    with pytest.raises(KeyboardInterrupt):
        fit(store, rows, "unused", crop=24, options=SMALL | {"head": "multi"})
    assert seen["train"][1]["mask"].shape == (4, 24, 24)
    known = np.asarray(store.gather(rows["validation"], ["label"])["label"]) != 255
    for name, pixels in (("mask", 1), ("double", 4)):
        assert (seen["validation"][1][name] != 255).sum() == pixels * known.sum()
    assert seen["validation"][1]["mask"].shape == (4 * 4, 24, 24)


def test_validation_of_crops_scores_every_pixel(store, rows):
    """The tiles of the validation patches are the validation patches."""
    channels = {"image": channels_of(store, rows)}
    network = tasks.build("segmentation", "unet", store, channels, options=SMALL)
    data = engine._Data(tasks.get("segmentation"), store, channels, network, "mask", 4, 0)
    cut = augment.build(["tiles"], {"tiles": {"size": 16}})
    whole, tiles = (data.batches(rows["validation"], change)[0] for change in (None, cut))
    assert tiles[0]["image"].shape == (16, 16, 16, 14)
    for one, other in ((whole[0]["image"], tiles[0]["image"]), (whole[1]["mask"], tiles[1]["mask"])):
        np.testing.assert_array_equal(np.sort(one, axis=None), np.sort(other, axis=None))


@pytest.mark.slow
def test_a_shared_network_is_compiled_once_and_learns_what_a_new_one_would(
    store, rows, tmp_path, monkeypatch
):
    """Weights, statistics, optimizer and order of the second training owe nothing to the first."""
    make = tasks.Networks().build
    swapped = {**rows, "train": np.concatenate([rows["train"][:9], rows["test"]])}  # one step more an epoch
    with monkeypatch.context() as patch:
        fit(store, rows, tmp_path / "first", crop=16, make=make)
        patch.setattr("keras.Model.compile", lambda *args, **options: pytest.fail("compiled again"))
        shared = fit(store, swapped, tmp_path / "shared", crop=16, make=make)
    alone = fit(store, swapped, tmp_path / "alone", crop=16)
    pd.testing.assert_frame_equal(
        shared.history.drop(columns="seconds"), alone.history.drop(columns="seconds"), rtol=1e-4
    )
    found, expected = (mask(one, images(store, rows)) for one in (shared, alone))
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_another_seed_has_other_weights_in_a_shared_network():
    networks = tasks.Networks()
    options = {"height": 32, "width": 32, "channels": 2, "outputs": 2, "width_multiplier": 0.0625}
    options |= {"mean": [0, 0], "std": [1, 1]}

    def weights(seed):
        network = networks.build("unet", seed=seed, **options)
        return np.concatenate([np.ravel(w) for w in network.get_weights()])

    first, second, again = (weights(seed) for seed in (0, 1, 0))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, again)
    network = networks.build("unet", seed=0, **options | {"mean": [5.0, 6.0]})
    np.testing.assert_array_equal(network.get_layer("normalize").get_weights()[0], [5, 6])


def test_a_size_that_the_weights_depend_on_is_refused():
    class Fixed:
        name = "fixed"

        def set_weights(self, weights):
            raise ValueError("shape")

        get_weights = list

    with pytest.raises(ParameterError, match="crop=0"):
        engine._for_whole_images(Fixed(), Fixed())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop": -16}, "32 × 32 pixels: a crop of -16 does not fit; take 1 to 32"),
        ({"crop": 64}, "a crop of 64 does not fit"),
        ({"augmentation": ["crop"]}, "parameter of its own"),
    ],
)
def test_a_crop_that_cannot_be_is_refused_before_anything_is_written(store, rows, options, message, tmp_path):
    with pytest.raises(ParameterError, match=message):
        fit(store, rows, tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("head", ["mask", "dual", "multi"])
def test_probabilities_on_disk_are_those_of_the_network(store, rows, head, tmp_path):
    channels = {"image": channels_of(store, rows)}
    network = tasks.build("segmentation", "unet", store, channels, options=SMALL | {"head": head})
    fitted = tasks.Fitted(tasks.get("segmentation"), "unet", network, channels)
    options = {"test_time_augmentation": True, "batch_size": 3, "progress": False}
    written = tasks.predict(fitted, store, rows["test"], tmp_path, "test", **options)
    expected = {"mask": {}, "dual": {"patch": (4,)}, "multi": {"half": (4, 16, 16), "double": (4, 64, 64)}}
    square = (4, SIDE, SIDE)
    shapes = {"mask": square, "averaged": square} | expected[head]
    assert {name: values.shape for name, values in written.items()} == shapes
    read = probabilities.read(tmp_path, "test")
    for name, values in fitted.predict({"image": images(store, rows)}).items():
        np.testing.assert_allclose(read[name], values, atol=1e-3)
        np.testing.assert_array_equal(read[name], written[name])
    assert probabilities.read(tmp_path, "validation") == {}
