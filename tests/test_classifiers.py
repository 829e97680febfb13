"""Networks and baselines by name, on a small store: what is fitted, saved, resumed and weighted."""

from __future__ import annotations

import keras
import numpy as np
import pandas as pd
import pytest

from eolab import models, prediction
from eolab.core.errors import ParameterError
from eolab.data.store import ArraySpec, write_store
from eolab.tasks import baselines, classifiers

SAMPLES, TIMES, BANDS, K = 360, 6, 2, 4
DATES = ["2019-01-16", "2019-03-16", "2019-05-16", "2019-07-16", "2019-09-16", "2019-11-16"]
SMALL = {"filters": 8, "dense": 16}
TRAINING = {"epochs": 8, "batch_size": 64, "learning_rate": 2e-2, "progress": False}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Three of four classes that differ in level, with clouds; four training samples have no label."""
    rng = np.random.default_rng(0)
    label = rng.choice([0, 1, 3], SAMPLES, p=[0.7, 0.2, 0.1]).astype(np.uint8)
    image = rng.normal(0.1 * label[:, None, None], 0.08, (SAMPLES, TIMES, BANDS)).astype(np.float32)
    valid = rng.random((SAMPLES, TIMES)) < 0.8
    image[~valid] = np.nan
    split = np.array(["train", "train", "validation", "test"])[np.arange(SAMPLES) % 4]
    label[:4] = np.where(split[:4] == "train", 255, label[:4])
    arrays = {
        "image": ArraySpec(("time", "band"), (TIMES, BANDS), "float32"),
        "valid": ArraySpec(("time",), (TIMES,), "bool"),
        "label": ArraySpec((), (), "uint8"),
    }
    return write_store(
        tmp_path_factory.mktemp("classifiers") / "store",
        pd.DataFrame({"id": np.arange(SAMPLES), "split": split, "part": 0}),
        arrays,
        "part",
        lambda rows: {"image": image[rows["id"]], "valid": valid[rows["id"]], "label": label[rows["id"]]},
        fingerprint={"toy": 1},
        metadata={"coords": {"time": DATES, "band": ["B04", "B08"]}},
        progress=False,
    )


@pytest.fixture(scope="module")
def rows(store):
    return {name: store.indices(name) for name in ("train", "validation", "test")}


@pytest.fixture(scope="module")
def network(store, rows, tmp_path_factory):
    """A small network after eight epochs, and its folder."""
    folder = tmp_path_factory.mktemp("network")
    return fit_network(store, rows, folder), folder


def fit_network(store, rows, folder, **changes):
    settings = {"classes": K, "seed": 3, "options": SMALL, **TRAINING, **changes}
    return classifiers.fit("tempcnn", store, rows, folder=folder, **settings)


def share_right(fitted, store, rows):
    predicted = fitted.predict_proba(classifiers.inputs_of(store, rows)).argmax(1)
    return (predicted == store.gather(rows)["label"]).mean()


def test_inputs_are_the_samples_and_the_days_of_the_store(store):
    inputs = classifiers.inputs_of(store, [7, 3])
    np.testing.assert_array_equal(inputs["image"], store.arrays["image"][[7, 3]])
    np.testing.assert_array_equal(inputs["valid"], store.arrays["valid"][[7, 3]])
    np.testing.assert_array_equal(inputs["day"], [[15, 74, 135, 196, 258, 319]] * 2)
    assert set(inputs) == {"image", "valid", "day"}


def test_names_are_those_of_networks_and_baselines():
    assert classifiers.names() == [*models.names("series"), *baselines.names()]


@pytest.mark.parametrize(("typo", "meant"), [("tempcn", "tempcnn"), ("random_forrest", "random_forest")])
def test_unknown_name_gets_a_suggestion(store, rows, tmp_path, typo, meant):
    with pytest.raises(ParameterError, match=rf"no classifier '{typo}'.*{meant}"):
        classifiers.fit(typo, store, rows, folder=tmp_path / "run", classes=K)
    assert not (tmp_path / "run").exists()


def test_network_learns_and_says_what_it_is(network, store, rows):
    fitted, folder = network
    probabilities = fitted.predict_proba(classifiers.inputs_of(store, rows["test"]))
    assert probabilities.shape == (len(rows["test"]), K)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    assert fitted.history["epoch"].tolist() == list(range(1, 9))
    assert fitted.history["loss"].iloc[-1] < fitted.history["loss"].iloc[0]
    assert str(fitted).startswith(f"tempcnn: {fitted.parameters:,} weights, best of 8 epochs is number ")
    assert (folder / "history.csv").is_file()


def test_network_holds_the_band_statistics_of_its_training_rows(network, store, rows):
    """Values in other units, with statistics in those units, must give the same network."""
    built = classifiers.build_network("tempcnn", store, rows["train"], classes=K, options=SMALL)
    train = store.gather(rows["train"])
    mean, std = (f(train["image"][train["valid"]], axis=0) for f in (np.mean, np.std))
    given = models.build(
        "tempcnn", times=TIMES, channels=BANDS, outputs=K, mean=mean.tolist(), std=std.tolist(), **SMALL
    )
    inputs = classifiers.inputs_of(store, rows["test"])
    one, other = (net.predict(dict(inputs), verbose=0) for net in (built, given))
    np.testing.assert_allclose(one, other, atol=1e-5)
    plain = models.build("tempcnn", times=TIMES, channels=BANDS, outputs=K, **SMALL)
    assert np.abs(plain.predict(dict(inputs), verbose=0) - one).max() > 1e-3


def test_saved_network_gives_the_same_probabilities(network, store, rows):
    fitted, folder = network
    inputs = classifiers.inputs_of(store, rows["test"])
    loaded = prediction.load(folder)
    assert loaded.engine == "keras"
    np.testing.assert_allclose(loaded(inputs), fitted.predict_proba(inputs), atol=1e-5)


@pytest.mark.parametrize("name", ["majority", "random_forest"])
def test_saved_baseline_gives_the_same_probabilities(name, store, rows, tmp_path):
    options = {"trees": 20} if name == "random_forest" else {}
    fitted = classifiers.fit(name, store, rows, folder=tmp_path, classes=K, options=options, epochs=9)
    inputs = classifiers.inputs_of(store, rows["test"])
    loaded = prediction.load(tmp_path)
    assert loaded.engine == "sklearn"
    np.testing.assert_array_equal(loaded(inputs), fitted.predict_proba(inputs))
    assert str(fitted) == f"{name}: a scikit-learn baseline"
    assert fitted.history.empty


def test_baseline_learns_from_the_training_rows_only(store, rows, tmp_path):
    fitted = classifiers.fit("majority", store, rows, folder=tmp_path, classes=K)
    labels = store.gather(rows["train"])["label"]
    shares = np.bincount(labels[labels != 255], minlength=K) / (labels != 255).sum()
    inputs = classifiers.inputs_of(store, rows["test"][:1])
    np.testing.assert_allclose(fitted.predict_proba(inputs)[0], shares, atol=1e-6)


@pytest.mark.slow
def test_unbroken_and_interrupted_training_end_alike(network, store, rows, tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 5:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_network(store, rows, tmp_path, callbacks=[Stop()])
    assert not (tmp_path / "model.keras").exists()
    resumed = fit_network(store, rows, tmp_path)
    assert resumed.history.attrs["resumed_at"] == 5
    unbroken = network[0]
    columns = ["epoch", "loss", "val_loss"]
    pd.testing.assert_frame_equal(resumed.history[columns], unbroken.history[columns])
    inputs = classifiers.inputs_of(store, rows["test"])
    np.testing.assert_allclose(resumed.predict_proba(inputs), unbroken.predict_proba(inputs), atol=1e-6)


WEIGHTS = {0: 0.0, 1: 1.0, 2: 1.0, 3: 1.0}


@pytest.mark.slow
def test_network_does_not_learn_a_class_of_weight_0(network, store, rows, tmp_path):
    weighted = fit_network(store, rows, tmp_path, class_weights=WEIGHTS)
    inputs = classifiers.inputs_of(store, rows["test"])
    assert (network[0].predict_proba(inputs).argmax(1) == 0).mean() > 0.5
    assert (weighted.predict_proba(inputs).argmax(1) == 0).mean() < 0.1


def test_baseline_weighs_classes_and_skips_unlabelled_samples(store, rows, tmp_path):
    """Regression: with weights, a training sample without label (255) ended in a KeyError."""
    assert (store.gather(rows["train"])["label"] == 255).any()
    fitted = classifiers.fit(
        "majority", store, rows, folder=tmp_path, classes=K, class_weights={0: 1, 1: 2, 2: 1, 3: 3}
    )
    labels = store.gather(rows["train"])["label"]
    counts = np.bincount(labels[labels != 255], minlength=K) * [1, 2, 1, 3]
    inputs = classifiers.inputs_of(store, rows["test"][:1])
    np.testing.assert_allclose(fitted.predict_proba(inputs)[0], counts / counts.sum(), atol=1e-6)


def test_forest_beats_the_majority(store, rows, tmp_path):
    forest = classifiers.fit(
        "random_forest", store, rows, folder=tmp_path / "a", classes=K, options={"trees": 50}
    )
    majority = classifiers.fit("majority", store, rows, folder=tmp_path / "b", classes=K)
    assert share_right(forest, store, rows["test"]) > share_right(majority, store, rows["test"]) + 0.05


@pytest.mark.slow
def test_range_test_tries_growing_rates(store, rows):
    rates = classifiers.learning_rates(
        "tempcnn", store, rows["train"], classes=K, options=SMALL, batch_size=32
    )
    assert rates["learning_rate"].is_monotonic_increasing
    assert np.isfinite(rates["loss"].iloc[0])


def test_a_class_without_a_weight_counts_once(store, rows, tmp_path):
    """Regression: a baseline ended in a KeyError where a network takes 1."""
    inputs = classifiers.inputs_of(store, rows["test"][:1])
    some, all_of_them = (
        classifiers.fit(
            "majority", store, rows, folder=tmp_path / str(number), classes=K, class_weights=weights
        ).predict_proba(inputs)
        for number, weights in enumerate([{1: 3.0}, {0: 1.0, 1: 3.0, 2: 1.0, 3: 1.0}])
    )
    np.testing.assert_array_equal(some, all_of_them)


@pytest.mark.slow
def test_network_gives_the_weighted_shares_of_samples_that_look_alike(store, rows, tmp_path):
    """Where nothing tells the classes apart, the least loss is at their shares times their weights."""
    blind = {"image": np.zeros((SAMPLES, TIMES, BANDS), np.float32), "valid": np.ones((SAMPLES, TIMES), bool)}
    blind["label"] = store.gather(np.arange(SAMPLES))["label"]
    alike = write_store(
        tmp_path / "store",
        store.table[["id", "split", "part"]],
        store.arrays_spec,
        "part",
        lambda table: {name: values[table["id"]] for name, values in blind.items()},
        fingerprint={"toy": 2},
        metadata={"coords": {"time": DATES, "band": ["B04", "B08"]}},
        progress=False,
    )
    weights = {0: 0.5, 1: 3.0, 2: 1.0, 3: 0.0}
    changes = {"class_weights": weights, "epochs": 25, "learning_rate": 5e-2, "monitor": "loss"}
    fitted = fit_network(alike, rows, tmp_path / "run", **changes)
    labels = blind["label"][rows["train"]]
    counts = np.bincount(labels[labels != 255], minlength=K) * [0.5, 3, 1, 0]
    found = fitted.predict_proba(classifiers.inputs_of(alike, rows["test"][:1]))[0]
    np.testing.assert_allclose(found, counts / counts.sum(), atol=0.05)
