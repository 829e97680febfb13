"""Networks on the flood twin: what is trained on, what is predicted, and that a stopped training goes on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from eolab import tasks
from eolab.core.errors import ParameterError
from eolab.data.layouts import sen12flood as reader
from eolab.data.store import write_store
from eolab.studies import flood
from eolab.synthetic import sen12flood as twins

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("eager_module")]  # trains networks for a few steps

SIZE = (16, 16)
SENSORS = {"S1": flood.samples.Radar(), "S2": flood.samples.Optical(("B04", "MNDWI"))}


@pytest.fixture(scope="module")
def stores(tmp_path_factory, shared_twin):
    root = tmp_path_factory.mktemp("data")
    twin = shared_twin(twins, seed=1, train=9, test=3, size=48)
    images, files = reader.index(twin), reader.check_layout(twin, progress=False)
    tables = {k: flood.sample_table(images, files, twin, sensor) for k, sensor in SENSORS.items()}
    splits = flood.samples.sequence_splits(tables.values())
    found = {}
    for key, sensor in SENSORS.items():
        table = tables[key].assign(split=tables[key]["sequence"].map(splits))
        found[key] = write_store(
            root / key,
            table,
            flood.store_arrays(sensor, SIZE),
            "sequence",
            flood.sample_producer(twin, images, sensor, SIZE),
            {},
            {"coords": {"band": list(sensor.channels)}, "sensor": key},
            progress=False,
        )
    return found


def fit(stores, folder, fusion="union", model="convlstm", epochs=1, **running):
    channels = {key: SENSORS[key].channels for key in stores}
    parts = ("train", "validation")  # every second sequence: a step takes as long as its sequences
    sequences = {part: flood.scoring.sequences_of(stores, part, fusion)[::2] for part in parts}
    training = {"epochs": epochs, "batch_size": 2, "learning_rate": 0.01, "class_weights": "balanced"}
    given = {"channels": flood.scoring.select(stores, channels), "training": training, "folder": folder}
    given |= {"options": {"pool": "mean", "layers": 1, "l2": 0.0}, "progress": False}
    return tasks.fit("sequence_classification", model, stores, sequences, **given, **running)


def predict(fitted, stores, sequences, folder):
    return flood.scoring.predict(fitted, stores, sequences, folder / "probabilities", "test", progress=False)


def test_sequences_belong_to_one_split(stores):
    lines = {s: flood.scoring.sequences_of(stores, s, "union") for s in ("train", "validation", "test")}
    names = {split: {line.name for line in part} for split, part in lines.items()}
    assert {split: len(part) for split, part in names.items()} == {"train": 6, "validation": 3, "test": 3}
    assert names["test"] == {"0", "1", "2"}
    assert not names["train"] & names["validation"]


@pytest.fixture(scope="module")
def trained(stores, eager_module, tmp_path_factory):
    """A network of both sensors after two epochs, and its folder."""
    folder = tmp_path_factory.mktemp("trained")
    return fit(stores, folder, epochs=2), folder


def every_image_has_one_probability(fitted, stores, fusion, folder, epochs):
    lines = flood.scoring.sequences_of(stores, "test", fusion)
    found = predict(fitted, stores, lines, folder)
    assert len(found) == sum(line.length for line in lines)
    assert found["probability"].between(0, 1).all()
    assert found.groupby("sequence")["step"].apply(lambda s: (s == range(len(s))).all()).all()
    for sensor, store in stores.items():
        test = store.table[store.table["split"] == "test"]
        assert found[sensor].sum() == len(test)
    assert list(fitted.history["epoch"]) == list(range(1, epochs + 1))


def test_every_image_gets_one_probability(trained, stores, tmp_path):
    every_image_has_one_probability(trained[0], stores, "union", tmp_path, 2)


def test_every_image_of_series_side_by_side_gets_one_probability(stores, tmp_path):
    every_image_has_one_probability(fit(stores, tmp_path, "pad"), stores, "pad", tmp_path, 1)


def test_late_networks_answer_once_a_sequence(stores, tmp_path):
    fitted = fit(stores, tmp_path, "late")
    found = predict(fitted, stores, flood.scoring.sequences_of(stores, "test", "late"), tmp_path)
    assert found["sequence"].tolist() == ["0", "1", "2"]


def test_one_sensor_alone(stores, tmp_path):
    only = {"S2": stores["S2"]}
    fitted = fit(only, tmp_path)
    found = predict(fitted, only, flood.scoring.sequences_of(only, "test"), tmp_path)
    assert found["S2"].all()
    assert not found["S1"].any()


def test_a_stopped_training_ends_as_an_unbroken_one(trained, stores, tmp_path):
    import keras

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.model.optimizer.iterations >= 3:  # in the second epoch
                raise KeyboardInterrupt

    whole, _ = trained
    with pytest.raises(KeyboardInterrupt):
        fit(stores, tmp_path, epochs=2, callbacks=[Stop()])
    again = fit(stores, tmp_path, epochs=2)
    assert again.history.attrs["resumed_at"] == 1
    columns = ["epoch", "loss", "val_loss"]
    pd.testing.assert_frame_equal(again.history[columns], whole.history[columns], rtol=1e-5)
    for a, b in zip(again.network.get_weights(), whole.network.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_a_saved_network_predicts_without_being_told_channels(trained, stores, tmp_path):
    fitted, folder = trained
    lines = flood.scoring.sequences_of(stores, "test")
    saved = tasks.load(folder)
    assert (saved.task, saved.channels) == (fitted.task, fitted.channels)
    one, other = (predict(each, stores, lines, tmp_path) for each in (fitted, saved))
    pd.testing.assert_frame_equal(one, other, rtol=0, atol=1e-6)


def test_unknown_networks_are_named(stores, tmp_path):
    with pytest.raises(ParameterError, match=r"no .*'convlst'"):
        fit(stores, tmp_path, model="convlst")
