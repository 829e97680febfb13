"""Networks of several labels on a store: bands, radar, balance, resumption, probabilities on disk."""

from __future__ import annotations

import keras
import numpy as np
import pandas as pd
import pytest

from eolab import models, tasks, training
from eolab.core.errors import DataError, ParameterError, StoreError
from eolab.data.splits import balance
from eolab.data.store import ArraySpec, write_store
from eolab.models.layers import Normalize
from eolab.prediction import probabilities
from eolab.tasks import engine
from eolab.training import losses

SIDE, K, N = 8, 3, 60
BANDS = ("B02", "B03", "B04", "B08")
ROWS = dict(zip(("train", "validation", "test"), np.split(np.arange(N), [40, 50]), strict=True))
TRAINING = {"epochs": 2, "batch_size": 8, "learning_rate": 0.02}
RADAR = {"channels": {"image": None, "radar": None}}


def write(folder, coords=True, radar=True):
    """Patches whose bands are bright where they have the class of that number; the last class is rare."""
    rng = np.random.default_rng(0)
    label = (rng.random((N, K)) < [0.5, 0.4, 0.1]).astype(np.uint8)
    label[:4, 2] = 1
    image = rng.integers(500, 700, (N, SIDE, SIDE, len(BANDS))).astype(np.uint16)
    image[..., :K] += np.uint16(400) * label[:, None, None]
    arrays = {
        "image": ArraySpec(("y", "x", "band"), image.shape[1:], "uint16"),
        "label": ArraySpec(("class",), (K,), "uint8"),
    }
    values = {"image": image, "label": label}
    if radar:
        arrays["radar"] = ArraySpec(("y", "x", "polarisation"), (SIDE, SIDE, 2), "float32")
        values["radar"] = rng.normal((-10, -17), (1, 2), (N, SIDE, SIDE, 2)).astype("f4")
    return write_store(
        folder,
        table=pd.DataFrame({"id": range(N)}),
        arrays=arrays,
        parts=[slice(0, N)],
        produce=lambda rows: {name: array[rows["id"]] for name, array in values.items()},
        fingerprint={"patches": N},
        metadata={"coords": {"band": list(BANDS), "polarisation": ["VV", "VH"]} if coords else {}},
        progress=False,
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write(tmp_path_factory.mktemp("patches") / "store")


def tiny(
    name, *, height, width, channels, outputs, mean, std, seed, radar_mean=None, radar_std=None, **given
):
    """The mean of each band, and of the radar where its statistics are given, and one dense layer."""
    inputs = {"image": keras.Input((height, width, channels), name="image")}
    maps = [Normalize(mean, std, name="normalize")(inputs["image"])]
    if radar_mean is not None:
        inputs["radar"] = keras.Input((height, width, 2), name="radar")
        maps.append(Normalize(radar_mean, radar_std, name="normalize_radar")(inputs["radar"]))
    means = [keras.layers.GlobalAveragePooling2D()(x) for x in maps]
    features = means[0] if len(means) == 1 else keras.layers.Concatenate()(means)
    start = keras.initializers.GlorotUniform(seed)
    answer = keras.layers.Dense(outputs, activation="sigmoid", kernel_initializer=start)(features)
    return keras.Model(inputs, answer, name=name)


def kept(make):
    """Return a function that builds a network once and gives it its first weights each time."""
    made = []

    def again(name, **given):
        if not made:
            made.append(make(name, **given))
            made.append([np.array(variable) for variable in made[0].variables])
        training.assign(made[0].variables, made[1])
        return made[0]

    return again


def fit(store, folder, training=(), name="tiny", **options):
    given = {"make": tiny, "progress": False, "training": TRAINING | dict(training)} | options
    return tasks.fit("multilabel_classification", name, store, ROWS, folder=folder, **given)


def predicted(fitted, store, folder, **options):
    return tasks.predict(fitted, store, ROWS["test"], folder, "test", progress=False, **options)["labels"]


def weights(fitted):
    return [np.array(variable) for variable in fitted.network.trainable_variables]


# === What it reads ===


def test_bands_by_name_with_statistics_of_the_training_rows(store):
    bands = tasks.select(store, ROWS["train"], ["B08", "B03"])
    image = store.gather(ROWS["train"], ["image"])["image"]
    taken = bands.assemble(image)
    assert taken.dtype == np.uint16
    np.testing.assert_array_equal(taken, image[..., [3, 1]])
    np.testing.assert_allclose(bands.mean, taken.mean(axis=(0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(bands.std, taken.std(axis=(0, 1, 2)), rtol=1e-6)
    doubled = np.repeat(ROWS["train"], 2)  # of a balanced draw: each patch counts once
    assert tasks.select(store, doubled, ["B08", "B03"]) == bands
    assert tasks.select(store, ROWS["train"]).names == BANDS
    with pytest.raises(DataError, match=r"expected \(\.\.\., 4\): give all channels"):
        bands.assemble(taken)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": ["B8"]}, r"no channel 'B8'"),
        ({"channels": ["B02", "B02"]}, r"each once"),
        ({"channels": []}, r"name some of B02, B03"),
        ({"outputs": 5}, r"outputs is 5, and the labels of the store have the shape \(3,\)"),
        ({"loss": "bec"}, r"no loss 'bec'"),
        (
            {"loss": losses.build("bce"), "training": {"class_weights": "balanced"}},
            r"A loss is a name or weights by name",
        ),
        ({"training": {"class_weights": "balenced"}}, r"give None, 'balanced' or a weight by class"),
        ({"training": {"class_weights": {3: 1.0}}}, r"classes are 0 to 2"),
        ({"training": {"epoch": 3}}, r"training has no 'epoch': did you mean 'epochs'"),
        ({"augmentation": ["mixupp"]}, r"no augmentation 'mixupp': did you mean 'mixup'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(store, options, message, tmp_path):
    with pytest.raises(ParameterError, match=message):
        fit(store, tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_rare_classes_weigh_more_by_the_training_labels_alone(store, tmp_path, monkeypatch):
    given = {}
    monkeypatch.setattr(engine.trainer, "fit", lambda *args, **options: given.update(options) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fit(
            store,
            tmp_path,
            {"class_weights": "balanced"},
            loss="asymmetric",
            loss_options={"smoothing": 0.05},
        )
    labels = store.gather(ROWS["train"], ["label"])["label"]
    np.testing.assert_allclose(given["loss"].positive_weights, balance.positive_weights(labels), rtol=1e-6)
    assert given["loss"].positive_weights[2] > given["loss"].positive_weights[0]
    assert given["loss"].smoothing == 0.05
    assert given["validation_loss"].positive_weights is None  # what is weighed for training judges nothing
    assert given["validation_loss"].smoothing == 0.05


def test_a_missing_file_of_weights_is_named_before_anything_is_written(store, tmp_path):
    options = {
        "make": models.build,
        "options": {"width_multiplier": 0.25},
        "weights": tmp_path / "moco.safetensors",
    }
    with pytest.raises(DataError, match=r"moco\.safetensors"):
        fit(store, tmp_path / "run", name="resnet18_patch", **options)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_training_begins_with_the_weights_of_a_file(store, tmp_path, monkeypatch):
    from test_models_weights import random_state, write_safetensors

    write_safetensors(tmp_path / "x.safetensors", random_state(18, 13, filters=64))
    seen = {}

    def stop(network, *args, **options):
        seen["network"] = network
        raise KeyboardInterrupt

    monkeypatch.setattr(engine.trainer, "fit", stop)
    file = {"weights": str(tmp_path / "x.safetensors"), "scale": 10_000, "stem": "copy"}
    with pytest.raises(KeyboardInterrupt):
        fit(store, tmp_path / "run", name="resnet18_patch", make=models.build, weights=file)
    state = random_state(18, 13, filters=64)
    kernel = np.array(seen["network"].get_layer("encoder_layer1_0_conv1").kernel)
    np.testing.assert_array_equal(kernel, state["layer1.0.conv1.weight"].transpose(2, 3, 1, 0))
    stem = np.array(seen["network"].get_layer("encoder_conv1").kernel)  # B02, B03, B04, B08 of 13 bands
    np.testing.assert_array_equal(stem, state["conv1.weight"].transpose(2, 3, 1, 0)[:, :, [1, 2, 3, 7]])
    assert list(seen["network"].get_layer("normalize").std) == [10_000] * 4


def test_the_loader_of_published_weights_gets_all_its_options(store):
    channels = {"image": tasks.select(store, ROWS["train"])}
    task = tasks.get("multilabel_classification")
    for nothing in ("", {}, {"weights": "", "scale": 0.0, "stem": "mean"}):
        assert engine._beginning(task, channels, nothing, models.build) is models.build
    options = {"weights": "x.h5", "scale": 10.0, "stem": "repeat", "published": ["B04"]}
    for given, expected in (("x.h5", {"weights": "x.h5"}), (options, options)):
        make = engine._beginning(task, channels, given, models.build)
        assert make.keywords == {"band_names": BANDS, **expected}


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("multilabel_classification", {"make": tiny}, "weights are put into networks of images that eolab"),
        ("sequence_classification", {"make": models.build}, "weights are put into networks of images"),
        (
            "multilabel_classification",
            {"weights": {"steam": "copy"}},
            "no option 'steam': did you mean 'stem'",
        ),
    ],
)
def test_weights_that_cannot_be_put_in_are_refused(task, options, message):
    """Regression: a task of sequences ended in a KeyError, and a given function was replaced silently."""
    given = {"weights": "x.safetensors", "make": models.build} | options
    with pytest.raises(ParameterError, match=message):
        engine._beginning(tasks.get(task), {}, **given)


def test_radar_must_fit_network_and_store(store, tmp_path):
    def without(name, radar_mean=None, radar_std=None, **given):
        return tiny(name, **given)

    with pytest.raises(ParameterError, match=r"'tiny' reads image, and channels are given of image, radar"):
        fit(store, tmp_path, make=without, **RADAR)
    bare = write(tmp_path / "bare", coords=False, radar=False)
    with pytest.raises(StoreError, match="does not name the channels of 'image'"):
        fit(bare, tmp_path)
    named = write(tmp_path / "named", radar=False)
    with pytest.raises(StoreError, match="has no array 'radar'"):
        fit(named, tmp_path, **RADAR)


# === Training ===


@pytest.mark.slow
def test_it_learns_saves_and_writes_probabilities(store, tmp_path):
    fitted = fit(
        store,
        tmp_path,
        {"epochs": 15, "learning_rate": 0.3, "monitor": "val_loss"},
        channels=["B04", "B02", "B03"],
    )
    assert str(fitted).startswith("tiny: 18 weights, best of 15 epochs is number ")  # 6 are statistics
    assert fitted.history.attrs["monitor"] == "val_loss"
    assert fitted.history["val_average_precision"].iloc[-1] > 0.9
    written = predicted(fitted, store, tmp_path / "p", batch_size=3)
    data = store.gather(ROWS["test"])
    found = fitted.predict(data)["labels"]
    assert written.dtype == found.dtype == np.float32
    np.testing.assert_allclose(written, found, atol=1e-6)
    np.testing.assert_array_equal(probabilities.read(tmp_path / "p", "test")["labels"], written)
    assert ((found > 0.5) == data["label"]).mean() > 0.9
    saved = tasks.load(tmp_path)
    assert (saved.channels, saved.task) == (fitted.channels, fitted.task)
    np.testing.assert_allclose(saved.predict(data)["labels"], found, atol=1e-6)
    assert "weights" in str(saved)
    with pytest.raises(DataError, match="found no file: fit it first"):
        tasks.load(tmp_path / "nowhere")


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_radar_goes_in_with_its_own_statistics(store, tmp_path):
    fitted = fit(store, tmp_path, **RADAR)
    data = store.gather(ROWS["test"])
    found = predicted(fitted, store, tmp_path / "p")
    np.testing.assert_allclose(found, fitted.predict(data)["labels"], atol=1e-6)
    assert not np.allclose(found, fitted.predict(data | {"radar": data["radar"] + 5})["labels"])
    radar = store.gather(ROWS["train"], ["radar"])["radar"]
    layer = fitted.network.get_layer("normalize_radar")
    np.testing.assert_allclose(np.ravel(layer(radar)).mean(), 0, atol=1e-4)
    np.testing.assert_allclose(tasks.load(tmp_path).predict(data)["labels"], found, atol=1e-6)
    with pytest.raises(DataError, match="reads image, radar: give 'radar' too"):
        fitted.predict({"image": data["image"]})


@pytest.mark.slow
def test_the_recipe_trains_and_a_stopped_training_goes_on_as_if_it_had_not_been(store, tmp_path):
    recipe = {
        "loss": {"asymmetric": {"negative": 2, "smoothing": 0.1}},
        "augmentation": ["rotate", "flip", "mixup"],
        "augmentation_options": {"mixup": {"alpha": 0.4}},
        "oversample": True,
        "training": {"ema": 0.5, "epochs": 4},
    }
    recipe["make"] = kept(tiny)
    unbroken = weights(fit(store, tmp_path / "a", **recipe))

    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(store, tmp_path / "b", **recipe, callbacks=[Stop()])
    resumed = fit(store, tmp_path / "b", **recipe)
    assert resumed.history.attrs["resumed_at"] == 2
    assert resumed.history.attrs["monitor"] == "val_average_precision"
    for a, b in zip(unbroken, weights(resumed), strict=True):
        np.testing.assert_array_equal(a, b)
    other = fit(store, tmp_path / "c", **recipe | {"oversample": False})
    assert not np.array_equal(weights(other)[0], unbroken[0])


@pytest.mark.slow
def test_a_balanced_training_sees_the_balanced_rows(store, tmp_path, monkeypatch):
    seen = {}

    def watch(network, train, validation, **options):
        seen.update(train=train, validation=validation, options=options)
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "fit", watch)
    weighted = losses.build("bce", positive_weights=[1, 2, 3])
    with pytest.raises(KeyboardInterrupt):
        fit(store, tmp_path, oversample=True, seed=3, loss=weighted)
    expected = balance.balanced_rows(np.asarray(store.arrays["label"]), ROWS["train"], seed=3)
    np.testing.assert_array_equal(seen["train"].samples.rows, expected)
    np.testing.assert_array_equal(seen["validation"].samples.rows, ROWS["validation"])
    assert len(np.unique(expected)) < len(expected)
    assert seen["options"]["loss"] is weighted
    assert seen["options"]["monitor"] == "val_average_precision"
    inputs, labels = seen["train"].at_epoch(0)[0]
    rows = expected[seen["train"].order()[0]]
    np.testing.assert_array_equal(inputs["image"], store.gather(rows, ["image"])["image"])
    np.testing.assert_array_equal(labels, store.gather(rows, ["label"])["label"])


@pytest.mark.slow
def test_the_range_test_takes_the_loss_of_the_labels(store):
    found = tasks.learning_rates(
        "multilabel_classification",
        "tiny",
        store,
        ROWS["train"],
        batch_size=8,
        make=tiny,
        test_options={"steps": 12},
    )
    assert found["learning_rate"].is_monotonic_increasing
    assert 0.3 < found["loss"].iloc[0] < 1.5  # binary cross entropy of a network that knows nothing


def built(store, name, options):
    """An untrained network of the package for image and radar."""
    channels = {key: tasks.select(store, ROWS["train"], array=key) for key in ("image", "radar")}
    network = tasks.build("multilabel_classification", name, store, channels, options=options)
    return tasks.Fitted(tasks.get("multilabel_classification"), name, network, channels)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shallow_cnn", "resnet18_fusion"])  # the harness of models trains both
@pytest.mark.usefixtures("eager")
def test_the_networks_of_the_package_work_on_stored_integers(store, name, tmp_path):
    options = {"width_multiplier": 0.125}
    if name == "shallow_cnn":
        fitted = fit(store, tmp_path, {"epochs": 1}, name, make=models.build, options=options)
    else:
        fitted = built(store, name, options)
    data = store.gather(ROWS["test"])
    found = fitted.predict(data)["labels"]
    floats = fitted.predict(data | {"image": data["image"].astype("float32")})["labels"]
    np.testing.assert_allclose(found, floats, atol=1e-6)
    assert found.shape == (10, K)
    assert name in models.names("images", "labels")
