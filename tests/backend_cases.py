"""What a backend gives, against what TensorFlow gave: tests for a process of that backend.

They are run by :mod:`test_backends`, which writes what TensorFlow gave to the folder ``EOLAB_EXPECTED``.
"""

import os
from pathlib import Path

import keras
import loss_cases
import model_harness as harness
import numpy as np
import pandas as pd
import pytest

from eolab import models, prediction, tasks
from eolab.data import sequences
from eolab.data.store import ArraySpec, GroupedStore, write_store
from eolab.models.images.dense import activation_maps, dense
from eolab.prediction.engines import on_batch

EXPECTED = Path(os.environ.get("EOLAB_EXPECTED", "."))
NETWORKS = [path.stem for path in sorted(EXPECTED.glob("*.keras"))]
TRAINED = ["lstm", "ltae", "transformer", "convlstm"]  # convolutions and averages: tests of trainings


@pytest.mark.parametrize("name", NETWORKS)
def test_a_saved_network_predicts_the_same_and_a_small_one_trains(name):
    case = dict(np.load(EXPECTED / f"{name}.npz"))
    labels, expected = case.pop("labels"), case.pop("expected")
    with harness.undrawn():  # JAX would compile a draw of each shape
        model = models.load(EXPECTED / f"{name}.keras", compiled=False)
    found = model.predict(case, verbose=0)
    found = found["mask"] if isinstance(found, dict) else found
    np.testing.assert_allclose(found, expected, atol=1e-4)
    if name in TRAINED:  # a first step of the others takes a minute without optimisations
        loss = "binary" if labels.shape == found.shape else "sparse_categorical"
        model.compile(keras.optimizers.Adam(0.003), loss + "_crossentropy")
        losses = [float(model.train_on_batch(case, labels)) for _ in range(15)]
        assert losses[-1] < losses[0], losses


def test_losses_have_the_same_values_gradients_and_scores():
    """All losses with their options, all shapes of labels."""
    expected, found = np.load(EXPECTED / "losses.npz"), loss_cases.run()
    assert set(found) == set(expected)
    assert [
        name for name in found if not np.allclose(found[name], expected[name], rtol=2e-5, atol=1e-6)
    ] == []


def test_a_batch_is_predicted_with_the_weights_of_now_whatever_learns():
    """Two layers of one shape, of which another learns each time: no compiled step mixes them up."""
    image = keras.Input((3,), name="image")
    layers = [keras.layers.Dense(3, "tanh") for _ in range(2)]
    model = keras.Model({"image": image}, layers[1](keras.layers.BatchNormalization()(layers[0](image))))
    rng = np.random.default_rng(0)
    inputs = {"image": rng.normal(size=(4, 3)).astype("float32")}
    for frozen in layers:
        for layer in layers:
            layer.trainable = layer is not frozen
            layer.set_weights([rng.normal(size=values.shape) for values in layer.get_weights()])
        expected = keras.ops.convert_to_numpy(model(inputs, training=False))
        np.testing.assert_allclose(on_batch(model)(inputs), expected, atol=1e-6)


COUNT, SIDE, TIMES, BANDS = 12, 8, 3, 2
IMAGE = ArraySpec(("y", "x", "band"), (SIDE, SIDE, BANDS), "float32")
LABELS = {
    "series_classification": ArraySpec((), (), "uint8"),
    "yearly_classification": ArraySpec((), (), "uint8"),
    "image_classification": ArraySpec((), (), "uint8"),
    "multilabel_classification": ArraySpec(("class",), (3,), "uint8"),
    "segmentation": ArraySpec(("y", "x"), (SIDE, SIDE), "uint8"),
    "regression": ArraySpec(("y", "x"), (SIDE, SIDE), "float32", {}, "allow"),
    "series_segmentation": ArraySpec(("y", "x"), (SIDE, SIDE), "uint8"),
    "sequence_classification": ArraySpec((), (), "uint8"),
}
SMALLEST = {
    "series_classification": ("lstm", {"units": 3}),
    "yearly_classification": ("lstm", {"units": 3, "carry": True}),
    "image_classification": ("shallow_cnn", {"width_multiplier": 0.125}),
    "multilabel_classification": ("shallow_cnn", {"width_multiplier": 0.125}),
    "segmentation": ("unet", {"levels": 2, "width_multiplier": 0.0625}),
    "regression": ("unet", {"levels": 2, "width_multiplier": 0.0625}),
    "series_segmentation": ("unet_composites", {"levels": 2, "width_multiplier": 0.0625}),
    "sequence_classification": ("convlstm", {"filters": 2, "layers": 1, "pool": "mean"}),
}


def store_of(task, folder):
    """Samples of noise with labels of every kind that a task has."""
    rng, of_series = np.random.default_rng(0), "valid" in tasks.get(task).inputs
    arrays = {"image": IMAGE, "label": LABELS[task]}
    if of_series:
        sides = dict(zip(LABELS[task].dims, LABELS[task].shape, strict=True))  # none of a pixel
        dims, shape = ("time", *sides), (TIMES, *sides.values())
        arrays["image"] = ArraySpec((*dims, "band"), (*shape, BANDS), "float32")
        arrays["valid"] = ArraySpec(dims, shape, "bool")

    def produce(rows):
        found = {"image": rng.normal(size=(len(rows), *arrays["image"].shape)).astype("float32")}
        found["label"] = rng.integers(0, 2, (len(rows), *LABELS[task].shape)).astype(LABELS[task].dtype)
        return found | ({"valid": np.ones((len(rows), *arrays["valid"].shape), bool)} if of_series else {})

    coords = {"band": ["a", "b"], "time": ["2019-01-01", "2019-02-01", "2019-03-01"][: TIMES * of_series]}
    table = pd.DataFrame({"id": np.arange(COUNT), "part": 0, "sequence": np.arange(COUNT) // 2})
    table["date"] = pd.Timestamp("2019-01-01") + pd.to_timedelta(table["id"], unit="D")
    table["flooded"] = table["id"] % 2 == 1
    metadata = {"coords": {name: values for name, values in coords.items() if values}}
    return write_store(folder, table, arrays, "part", produce, {}, metadata, progress=False)


@pytest.mark.parametrize("task", list(SMALLEST))
def test_every_task_is_trained_saved_loaded_and_predicted(task, tmp_path):
    """The smallest network of each: one epoch, and what is done with it afterwards."""
    every = os.environ.get("EOLAB_EVERY_TASK") or keras.backend.backend() != "jax"
    if not every and task != "series_classification":
        pytest.skip("JAX compiles each for ten seconds; with EOLAB_EVERY_TASK=1 it does")
    store = store_of(task, tmp_path / "store")
    (name, options), by_sensor = SMALLEST[task], task == "sequence_classification"
    rows = {"train": np.arange(8), "validation": np.arange(8, COUNT)}
    given = {"outputs": None if "multilabel" in task else 2, "training": {"epochs": 1, "batch_size": 4}}
    if task == "yearly_classification":
        store = GroupedStore(store, "sequence", "flooded")
        rows = {"train": np.arange(4), "validation": np.arange(4, COUNT // 2)}
        given["loss"] = {"ce": 1, "change": 0.5}
    if by_sensor:
        store = {"S1": store}
        table = {"S1": store["S1"].table}
        every = sequences.make(table, "union", place="sequence", label="flooded")
        rows, given["channels"] = {"train": every[:4], "validation": every[4:]}, {"S1": None}
    fitted = tasks.fit(
        task, name, store, rows, folder=tmp_path, options=options, seed=1, progress=False, **given
    )
    assert np.isfinite(fitted.history["val_loss"]).all()
    before = tasks.predict(fitted, store, rows["validation"], tmp_path / "a", "v", progress=False)
    again = tasks.load(tmp_path)
    after = tasks.predict(again, store, rows["validation"], tmp_path / "b", "v", progress=False)
    for output, found in before.items():
        np.testing.assert_allclose(after[output], found, atol=1e-3)
        assert np.isfinite(found[np.isfinite(found)]).all()
    if task == "multilabel_classification":  # maps of a classifier
        images = store.gather(rows["validation"], ["image"])
        whole = dense(again.network)
        pooled = whole.predict_on_batch(images)["pooled"]
        np.testing.assert_allclose(pooled, before["labels"], atol=1e-4)
        maps = activation_maps(whole, images)
        assert maps.shape == (4, SIDE, SIDE, 3)
        predictor = prediction.load(tmp_path, engine="keras")
        np.testing.assert_allclose(predictor(images), before["labels"], atol=1e-4)
