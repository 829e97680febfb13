"""Networks and baselines by name, on a small store: what is fitted, saved, resumed and weighted."""

from __future__ import annotations

from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest

from eolab import models, prediction, tasks
from eolab.core.errors import DataError, ParameterError
from eolab.data.store import ArraySpec, write_store
from eolab.tasks import baselines, engine, pretraining
from eolab.training import fastest
from eolab.training.contrastive import encoder_of

pytestmark = pytest.mark.slow  # trains networks

SAMPLES, TIMES, BANDS, K = 360, 6, 2, 4
DATES = ["2019-01-16", "2019-03-16", "2019-05-16", "2019-07-16", "2019-09-16", "2019-11-16"]
SMALL = {"filters": 8, "dense": 16}
TRAINING = {"epochs": 8, "batch_size": 64, "learning_rate": 2e-2}
TASK = "series_classification"


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
    return fit_network(store, rows, folder, make=models.build), folder


SHARED = tasks.Networks()  # compiled once; a training overwrites the weights of the last


def fit_network(store, rows, folder, training=(), **running):
    given = {"outputs": K, "seed": 3, "options": SMALL, "training": TRAINING | dict(training)}
    running = {"make": SHARED.build} | running
    return tasks.fit(TASK, "tempcnn", store, rows, folder=folder, progress=False, **given, **running)


def test_labels_without_an_output_are_refused(store, rows, tmp_path):
    """Label 3 of a network with three classes counted in the loss as no class at all, without a word."""
    with pytest.raises(DataError, match=r"train samples hold label 3: .* classes 0 to 2; .*outputs=4"):
        tasks.fit(TASK, "tempcnn", store, rows, folder=tmp_path, outputs=3, training={"epochs": 1})


@pytest.mark.parametrize(("min_steps", "size"), [(0, 64), (2, 64), (30, 6), (1000, 1)])
def test_few_samples_come_in_smaller_batches_so_that_an_epoch_has_steps(
    store, rows, tmp_path, monkeypatch, min_steps, size
):
    """Ten steps an epoch of 1,195 samples left an LSTM of the Slovenian series at half of its score."""
    seen = []

    def fit(network, train, validation, **settings):
        seen.append((train.batch_size, train.num_batches))
        raise KeyboardInterrupt

    monkeypatch.setattr(engine.trainer, "fit", fit)
    with pytest.raises(KeyboardInterrupt):
        fit_network(store, rows, tmp_path, {"min_steps": min_steps})
    assert seen[0][0] == size
    assert seen[0][1] >= min(min_steps, len(rows["train"]))


def test_weights_of_samples_are_not_those_of_a_balanced_draw(store, rows, tmp_path):
    own = {"sample_weights": np.ones(len(rows["train"])), "oversample": True}
    with pytest.raises(ParameterError, match=r"come once each: leave oversample out"):
        fit_network(store, rows, tmp_path, **own)


@pytest.mark.parametrize("part", ["train", "validation"])
def test_samples_without_any_label_train_nothing(store, rows, tmp_path, part):
    """Loss and val_loss were 0 in every epoch, and the first one was kept as the best."""
    unlabelled = np.flatnonzero(store.gather(np.arange(len(store.table)), ["label"])["label"] == 255)
    with pytest.raises(DataError, match=f"None of the {part} samples has a label"):
        tasks.fit(TASK, "tempcnn", store, rows | {part: unlabelled}, folder=tmp_path, outputs=4,
                  options=SMALL, training={"epochs": 1})  # fmt: skip


def fit_baseline(name, store, rows, folder, **options):
    folder.mkdir(parents=True, exist_ok=True)
    baseline = baselines.build(TASK, name, classes=K, **options).fit(store, rows["train"])
    baseline.save(folder / "model.joblib")
    return baseline


def predict(fitted, store, rows):
    return fitted.predict(tasks.read(store, rows))["classes"]


def share_right(baseline, store, rows):
    predicted = baseline.predict_on_batch(tasks.read(store, rows)).argmax(1)
    return (predicted == store.gather(rows)["label"]).mean()


def test_inputs_are_the_samples_and_the_days_of_the_store(store):
    inputs = tasks.read(store, [7, 3])
    np.testing.assert_array_equal(inputs["image"], store.arrays["image"][[7, 3]])
    np.testing.assert_array_equal(inputs["valid"], store.arrays["valid"][[7, 3]])
    np.testing.assert_array_equal(inputs["day"], [[15, 74, 135, 196, 258, 319]] * 2)
    assert set(inputs) == {"image", "valid", "day"}


def test_unknown_names_get_a_suggestion(store, rows, tmp_path):
    given = {"folder": tmp_path / "run", "outputs": K, "training": TRAINING}
    with pytest.raises(ParameterError, match=r"no .*'tempcn'.*tempcnn"):
        tasks.fit(TASK, "tempcn", store, rows, **given)
    with pytest.raises(ParameterError, match=r"no task 'serie_classification'.*'series_classification'"):
        tasks.fit("serie_classification", "tempcnn", store, rows, **given)
    with pytest.raises(ParameterError, match=r"no 'learning_rat': did you mean 'learning_rate'"):
        fit_network(store, rows, tmp_path / "run", {"learning_rat": 0.1})
    with pytest.raises(ParameterError, match=r"'series_classification' has no model 'unet'"):
        tasks.fit(TASK, "unet", store, rows, **given)
    with pytest.raises(ParameterError, match=r"training has no epochs"):
        tasks.fit(TASK, "tempcnn", store, rows, **given | {"training": {}})
    with pytest.raises(ParameterError, match=r"outputs is missing"):
        tasks.fit(TASK, "tempcnn", store, rows, **given | {"outputs": None})
    assert not (tmp_path / "run").exists()


def test_network_learns_and_says_what_it_is(network, store, rows):
    fitted, folder = network
    probabilities = predict(fitted, store, rows["test"])
    assert probabilities.shape == (len(rows["test"]), K)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    assert fitted.history["epoch"].tolist() == list(range(1, 9))
    assert fitted.history["loss"].iloc[-1] < fitted.history["loss"].iloc[0]
    assert str(fitted).startswith(f"tempcnn: {fitted.parameters:,} weights, best of 8 epochs is number ")
    assert (folder / "history.csv").is_file()


@pytest.mark.slow
def test_network_holds_the_band_statistics_of_its_training_rows(network, store, rows):
    """Values in other units, with statistics in those units, must give the same network."""
    channels = {"image": tasks.select(store, rows["train"])}
    built = tasks.build(TASK, "tempcnn", store, channels, outputs=K, options=SMALL)
    train = store.gather(rows["train"])
    mean, std = (f(train["image"][train["valid"]], axis=0) for f in (np.mean, np.std))
    given = models.build(
        "tempcnn", times=TIMES, channels=BANDS, outputs=K, mean=mean.tolist(), std=std.tolist(), **SMALL
    )
    inputs = tasks.read(store, rows["test"])
    plain = models.build("tempcnn", times=TIMES, channels=BANDS, outputs=K, **SMALL)
    one, other, without = (np.array(net(inputs, training=False)) for net in (built, given, plain))
    np.testing.assert_allclose(one, other, atol=1e-5)
    assert np.abs(without - one).max() > 1e-3


@pytest.mark.slow
def test_saved_network_gives_the_same_probabilities(network, store, rows, tmp_path):
    fitted, folder = network
    inputs, expected = tasks.read(store, rows["test"]), predict(fitted, store, rows["test"])
    loaded = prediction.load(folder)
    assert loaded.engine == "keras"
    np.testing.assert_allclose(loaded(inputs), expected, atol=1e-5)
    written = tasks.predict(tasks.load(folder), store, rows["test"], tmp_path, "test", progress=False)
    np.testing.assert_allclose(written["classes"], expected, atol=1e-5)
    assert written["classes"].dtype == np.float32


@pytest.mark.parametrize("name", ["majority", "random_forest"])
def test_saved_baseline_gives_the_same_probabilities(name, store, rows, tmp_path):
    options = {"trees": 20} if name == "random_forest" else {}
    fitted = fit_baseline(name, store, rows, tmp_path, **options)
    inputs = tasks.read(store, rows["test"])
    loaded = prediction.load(tmp_path)
    assert loaded.engine == "sklearn"
    np.testing.assert_array_equal(loaded(inputs), fitted.predict_on_batch(inputs))


def test_baseline_learns_from_the_training_rows_only(store, rows, tmp_path):
    fitted = fit_baseline("majority", store, rows, tmp_path)
    labels = store.gather(rows["train"])["label"]
    shares = np.bincount(labels[labels != 255], minlength=K) / (labels != 255).sum()
    inputs = tasks.read(store, rows["test"][:1])
    np.testing.assert_allclose(fitted.predict_on_batch(inputs)[0], shares, atol=1e-6)


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
    inputs = tasks.read(store, rows["test"])
    found, expected = (one.predict(inputs)["classes"] for one in (resumed, unbroken))
    np.testing.assert_allclose(found, expected, atol=1e-6)


WEIGHTS = {0: 0.0, 1: 1.0, 2: 1.0, 3: 1.0}


@pytest.mark.slow
def test_network_does_not_learn_a_class_of_weight_0(network, store, rows, tmp_path):
    weighted = fit_network(store, rows, tmp_path, {"class_weights": WEIGHTS})
    inputs = tasks.read(store, rows["test"])
    assert (network[0].predict(inputs)["classes"].argmax(1) == 0).mean() > 0.5
    assert (weighted.predict(inputs)["classes"].argmax(1) == 0).mean() < 0.1


def test_balanced_weights_are_of_the_training_alone(store, rows, tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(engine.trainer, "fit", lambda *batches, **options: given.extend(batches) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fit_network(store, rows, tmp_path, {"class_weights": "balanced"})
    train, validation = (np.unique(batches.class_weights[:K]) for batches in given[1:])
    assert len(train) > 1
    assert validation.tolist() == [1]


@pytest.mark.parametrize(("reached", "learned"), [(0.3, True), (1.2, False)])
def test_a_training_that_learned_nothing_says_so(
    store, rows, tmp_path, monkeypatch, capsys, reached, learned
):
    history = pd.DataFrame({"epoch": [1, 2], "val_loss": [2.0, reached]})
    history.attrs = {"monitor": "val_loss", "best_epoch": 2}
    monkeypatch.setattr(engine.trainer, "fit", lambda *batches, **options: history)
    fitted = fit_network(store, rows, tmp_path, {})
    train, judged = (store.gather(rows[part], ["label"])["label"] for part in ("train", "validation"))
    share = np.bincount(train[train != 255]) / (train != 255).sum()
    expected = -np.log(share[judged[judged != 255]]).mean()  # always the shares of the training
    assert 0.3 < expected < 1.2
    assert fitted.facts["constant"] == pytest.approx(expected, rel=1e-5)
    assert fitted.facts["learned"] == learned
    assert fitted.facts["best_epoch"] == 2
    assert fitted.facts["precision"] == "float32"
    said = capsys.readouterr().out
    assert ("has learned nothing: its best val_loss is 1.2" in said) is not learned


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "lstn"}, "no model 'lstn': did you mean 'lstm'"),
        ({"training": {"learning_rate": 1e6}}, "learning_rate must be above 0 and at most 10"),
        ({"training": {"class_weights": "balenced"}}, "give None, 'balanced' or a weight"),
        ({"training": {"batch_size": 0}}, "batch_size must be 1 or more"),
        ({"training": {"min_steps": -1}}, "min_steps must be 1 or more"),
        ({"training": {"optimizer": "adm"}}, "no optimizer 'adm'"),
        ({"training": {"freeze": "encoder_lsm"}}, "No layer is called 'encoder_lsm'"),
        ({"training": {"thaw": {"2": "*"}}}, "no layer is frozen"),
        ({"options": {"dropout": 1.5}}, "dropout is 1.5, expected a share"),
        ({"options": {"unit": 3}}, "no option 'unit'"),
        ({"loss": "cee"}, "no loss 'cee'"),
        ({"augmentation": ["flop"]}, "no augmentation 'flop'"),
        (
            {"task": "segmentation", "model": "unet", "training": {"class_weights": "balanced"}},
            "weigh the classes in its losses",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_read(arguments, message):
    given = {"task": TASK, "model": "lstm"} | arguments
    given["training"] = {"epochs": 3, **given.get("training", {})}
    with pytest.raises(ParameterError, match=message):
        tasks.check(**given)
    tasks.check(TASK, "lstm", training={"epochs": 3, "freeze": "encoder_lstm_1", "thaw": {"2": "*"}})


def test_baseline_weighs_classes_and_skips_unlabelled_samples(store, rows, tmp_path):
    """Regression: with weights, a training sample without label (255) ended in a KeyError."""
    assert (store.gather(rows["train"])["label"] == 255).any()
    fitted = fit_baseline("majority", store, rows, tmp_path, class_weight={0: 1, 1: 2, 2: 1, 3: 3})
    labels = store.gather(rows["train"])["label"]
    counts = np.bincount(labels[labels != 255], minlength=K) * [1, 2, 1, 3]
    inputs = tasks.read(store, rows["test"][:1])
    np.testing.assert_allclose(fitted.predict_on_batch(inputs)[0], counts / counts.sum(), atol=1e-6)


def test_forest_beats_the_majority(store, rows, tmp_path):
    forest = fit_baseline("random_forest", store, rows, tmp_path / "a", trees=50)
    majority = fit_baseline("majority", store, rows, tmp_path / "b")
    assert share_right(forest, store, rows["test"]) > share_right(majority, store, rows["test"]) + 0.05


def test_a_network_is_compiled_in_its_fastest_way_unless_a_notebook_says_how():
    settings = engine._settings(tasks.get(TASK), "lstm", {"epochs": 1})
    assert {key: settings[key] for key in fastest.compile_options("lstm")} == fastest.compile_options("lstm")
    told = engine._settings(tasks.get(TASK), "lstm", {"epochs": 1, "jit_compile": True})
    assert told["jit_compile"] is True


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_range_test_tries_growing_rates(store, rows):
    options = {"outputs": K, "options": SMALL, "batch_size": 32, "test_options": {"steps": 6}}
    rates = tasks.learning_rates(TASK, "tempcnn", store, rows["train"], **options)
    assert rates["learning_rate"].is_monotonic_increasing
    assert np.isfinite(rates["loss"].iloc[0])


def test_a_class_without_a_weight_counts_once(store, rows, tmp_path):
    """Regression: a baseline ended in a KeyError where a network takes 1."""
    inputs = tasks.read(store, rows["test"][:1])
    some, all_of_them = (
        fit_baseline("majority", store, rows, tmp_path / str(number), class_weight=weights).predict_on_batch(
            inputs
        )
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
    changes = {"class_weights": weights, "epochs": 12, "learning_rate": 0.1, "monitor": "loss"}
    fitted = fit_network(alike, rows, tmp_path / "run", changes)
    labels = blind["label"][rows["train"]]
    counts = np.bincount(labels[labels != 255], minlength=K) * [0.5, 3, 1, 0]
    found = predict(fitted, alike, rows["test"][:1])[0]
    np.testing.assert_allclose(found, counts / counts.sum(), atol=0.05)


@pytest.mark.parametrize(
    ("task", "labels"),
    [
        ("series_classification", np.array([1, 255, 1], np.uint8)),
        ("segmentation", np.ones((3, 4, 4), np.uint8)),
        ("multilabel_classification", np.ones((3, 2), np.uint8)),
        ("regression", np.array([[np.nan, 1.0]], np.float32)),
    ],
)
def test_samples_whose_labels_are_all_the_same_are_pointed_out(task, labels):
    """A constant prediction was said to reach 6e-08, and another learning rate to be the remedy."""
    output = SimpleNamespace(shape=(None, 2))
    data = SimpleNamespace(
        task=tasks.get(task), network=SimpleNamespace(output=output), labels=lambda part: part
    )
    other = labels.copy()
    other.flat[-1] = 0
    with pytest.warns(UserWarning, match="All train samples have the label 1, so nothing can be learned"):
        engine._check_labels(data, {"train": labels, "validation": other})
    with pytest.warns(UserWarning, match="All validation samples .*, so epochs can hardly be compared"):
        engine._check_labels(data, {"train": other, "validation": labels})
    unknown = np.full(3, data.task.ignore or 0, labels.dtype)[: 0 if data.task.ignore is None else 3]
    with pytest.raises(DataError, match="None of the train samples has a label"):
        engine._check_labels(data, {"train": unknown, "validation": labels})


# === Without labels ===


def test_a_pretrained_encoder_learns_without_labels_and_a_network_begins_with_it(store, rows, tmp_path):
    """SimCLR on the training rows; the labels of the network that goes on are drawn anew."""
    labels = pretraining.Labels(store, np.arange(SAMPLES))
    start = pretraining.encoder("tempcnn", store, rows["train"], options=SMALL, seed=1)
    random = pretraining.features(start, labels, rows["test"])
    how = {"training": {"epochs": 3, "batch_size": 90, "learning_rate": 0.01}, "progress": False}
    learned = pretraining.pretrain(start, store, rows["train"], folder=tmp_path, **how)
    assert learned.history["loss"].iloc[-1] < learned.history["loss"].iloc[0]
    features = pretraining.features(learned, labels, rows["test"])
    assert features.values.shape == (len(rows["test"]), SMALL["dense"])
    assert not np.allclose(features.values, random.values, atol=1e-3)
    file = tmp_path / pretraining.ENCODER_FILE
    make = engine._beginning(tasks.get(TASK), learned.channels, file, SHARED.build)
    network = engine.build(TASK, "tempcnn", store, learned.channels, outputs=K, options=SMALL, make=make)
    again = tasks.Fitted(tasks.get(TASK), "tempcnn", encoder_of(network), learned.channels)
    np.testing.assert_allclose(
        pretraining.features(again, labels, rows["test"]).values, features.values, atol=1e-5
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"views": {"dropp": 0.1}}, "dropp"),
        ({"training": {"epochs": 0}}, "epochs must be 1 or more"),
        ({"temperature": 0}, "temperature is 0"),
    ],
)
def test_a_pretraining_that_cannot_be_is_refused(store, rows, tmp_path, wrong, message):
    start = pretraining.encoder("tempcnn", store, rows["train"], options=SMALL)
    with pytest.raises(ParameterError, match=message):
        pretraining.pretrain(
            start, store, rows["train"], folder=tmp_path, **{"training": {"epochs": 1}} | wrong
        )


def test_weights_of_a_pixel_series_are_an_encoder_with_no_options_of_images(store, rows, tmp_path):
    given = {"weights": tmp_path / "none.keras"}
    with pytest.raises(DataError, match=r"none.keras: expected a saved model, found no file"):
        fit_network(store, rows, tmp_path, weights=given)
    with pytest.raises(DataError, match=r"none.keras: expected a saved model, found no file"):
        tasks.check(TASK, "tempcnn", training=TRAINING, weights=given)
    with pytest.raises(ParameterError, match="weights has no option 'stem'"):
        fit_network(store, rows, tmp_path, weights=given | {"stem": "copy"})
