"""Masks of image series: what is fitted, saved and predicted, and the pixel-wise baselines beside it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier

from eolab import evaluation, models, prediction, tasks
from eolab.core.errors import DataError, ParameterError
from eolab.data.store import ArraySpec, write_store
from eolab.tasks import baselines, engine, pretraining
from eolab.training.contrastive import encoder_of

pytestmark = pytest.mark.slow  # trains networks

TASK, SAMPLES, TIMES, SIDE, BANDS, K = "series_segmentation", 24, 4, 8, 2, 3
DATES = ["2019-01-16", "2019-04-16", "2019-07-16", "2019-10-16"]
SMALL = {"levels": 2, "width_multiplier": 0.125}


@pytest.fixture(scope="module")
def data():
    """Stripes of three classes that differ in level; clouds, a pixel that was never seen, unknown labels."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, K, (SAMPLES, 2, 2)).astype("uint8").repeat(4, 1).repeat(4, 2)
    noise = rng.normal(0, 0.3, (SAMPLES, TIMES, SIDE, SIDE, BANDS))
    image = (label[:, None, ..., None] + noise).astype("float32")
    valid = rng.random(image.shape[:-1]) < 0.8
    valid[:, :, 0, 0] = False
    image[~valid] = np.nan
    label[:, :, 7] = 255
    label[2] = 255  # a sample without any label teaches baselines nothing
    return {"image": image, "valid": valid, "label": label}


@pytest.fixture(scope="module")
def store(data, tmp_path_factory):
    arrays = {
        "image": ArraySpec(("time", "y", "x", "band"), (TIMES, SIDE, SIDE, BANDS), "float32"),
        "valid": ArraySpec(("time", "y", "x"), (TIMES, SIDE, SIDE), "bool"),
        "label": ArraySpec(("y", "x"), (SIDE, SIDE), "uint8"),
    }
    table = pd.DataFrame({"id": np.arange(SAMPLES), "part": 0})
    return write_store(
        tmp_path_factory.mktemp("series") / "store",
        table,
        arrays,
        "part",
        lambda rows: {name: values[rows["id"]] for name, values in data.items()},
        fingerprint={"toy": 1},
        metadata={"coords": {"time": DATES, "band": ["B04", "B08"]}},
        progress=False,
    )


ROWS = {"train": np.arange(12), "validation": np.arange(12, 18), "test": np.arange(18, 24)}


def test_a_network_learns_masks_and_is_loaded_with_all_that_prediction_needs(store, data, tmp_path):
    fitted = tasks.fit(
        TASK,
        "unet_composites",
        store,
        ROWS,
        folder=tmp_path,
        outputs=K,
        options=SMALL,
        training={"epochs": 12, "batch_size": 4, "learning_rate": 0.01},
        augmentation=["rotate", "flip"],
        progress=False,
    )
    assert fitted.history["loss"].iloc[-1] < fitted.history["loss"].iloc[0]
    found = tasks.predict(fitted, store, ROWS["test"], tmp_path / "p", "test", progress=False)["mask"]
    assert found.shape == (6, SIDE, SIDE, K)
    again = tasks.predict(tasks.load(tmp_path), store, ROWS["test"], tmp_path / "q", "test", progress=False)
    np.testing.assert_allclose(again["mask"], found, atol=1e-3)
    predictor = prediction.load(tmp_path)
    inputs = tasks.read(store, ROWS["test"])
    np.testing.assert_allclose(predictor(inputs), found, atol=2e-3)  # float16 on disk
    truth = data["label"][ROWS["test"]]
    scores = evaluation.score_table({"unet": np.argmax(found, -1)}, truth, class_names=["a", "b", "c"])
    assert evaluation.pick(scores, "all.accuracy")["value"].iloc[0] > 0.8  # chance is 0.33


def test_a_forest_of_pixels_is_the_one_of_pixel_series(store, data, tmp_path):
    """Fitted on every known pixel it gives what scikit-learn gives on the same table."""
    options = {"random_forest": {"trees": 20, "per_patch": 64}}
    found = baselines.fit_baselines(
        TASK, ["random_forest"], store, ROWS, folder=tmp_path, classes=K, options=options, progress=False
    )["random_forest"]["test"]
    series = np.where(data["valid"][..., None], data["image"], np.nan).transpose(0, 2, 3, 1, 4)
    series = series.reshape(SAMPLES, SIDE * SIDE, -1)
    label = data["label"].reshape(SAMPLES, -1)
    use = (label[:12] != 255) & data["valid"][:12].any(1).reshape(12, -1)
    forest = RandomForestClassifier(20, random_state=0).fit(series[:12][use], label[:12][use])
    expected = forest.predict_proba(series[18:].reshape(-1, TIMES * BANDS)).reshape(6, SIDE, SIDE, K)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_baselines_of_pixels_are_those_of_pixel_series_and_draw_some(store, data):
    assert baselines.names(TASK) == baselines.names("series_classification")
    reader = baselines.build(TASK, "random_forest", per_patch=6).reader
    reader.prepare(store, ROWS["train"], 3)
    features, label, weight = reader.training(store, ROWS["train"], None, False)
    assert features.shape == (11 * 6, TIMES * BANDS)
    known = (data["label"][:12] != 255) & data["valid"][:12].any(1)
    assert weight.sum() == known.sum()  # they stand for all known pixels
    counts = np.bincount(label, weight, K)
    np.testing.assert_allclose(counts, np.bincount(data["label"][:12][known], minlength=K))
    shares = baselines.build(TASK, "majority", classes=K).fit(store, ROWS["train"]).predict(store, [20])
    np.testing.assert_allclose(shares[0, 3, 4], counts / counts.sum(), atol=1e-6)


def test_images_without_dates_are_refused_by_baselines_of_pixels(store, data):
    baseline = baselines.build(TASK, "image_statistics", classes=K).fit(store, ROWS["train"])
    with pytest.raises(DataError, match=r"expected \(samples, dates, y, x, bands\)"):
        baseline.predict_on_batch({"image": data["image"][:, 0], "valid": data["valid"][:, 0]})


def test_samples_without_any_label_are_refused_by_baselines_of_pixels(store):
    with pytest.raises(DataError, match="No pixel of the training samples is labelled"):
        baselines.build(TASK, "random_forest", classes=K).fit(store, [2])


# === Without labels ===


def test_labels_of_patches_are_their_known_pixels_one_by_one(store, data):
    rows = np.array([1, 2, 5])
    labels = pretraining.Labels(store, rows)
    place, y, x = np.nonzero(data["label"][rows] != 255)
    np.testing.assert_array_equal(labels.sample, rows[place])
    np.testing.assert_array_equal(labels.table["label"], data["label"][rows[place], y, x])
    assert labels.table["id"].tolist() == rows[place].tolist()
    some = np.array([3, 60, 61, 100])  # of the first and the last; the second has no label
    np.testing.assert_array_equal(labels.samples(some), [1, 5])
    maps = np.random.default_rng(0).random((2, SIDE, SIDE, K))
    expected = [maps[[1, 5].index(rows[place[one]]), y[one], x[one]] for one in some]
    np.testing.assert_array_equal(labels.of(some, maps), expected)


def test_a_store_with_some_labels_alone_has_no_other_and_all_else(store, data):
    labels = pretraining.Labels(store, np.arange(SAMPLES))
    rows = {"train": np.array([5, 300]), "validation": np.array([700]), "test": np.array([1100])}
    alone, of_part = labels.alone(rows)
    assert {part: own.tolist() for part, own in of_part.items()} == {
        part: labels.sample[own].tolist() for part, own in rows.items()
    }
    found = alone.gather(np.arange(SAMPLES))
    known = found.pop("label")
    assert (known != 255).sum() == 3
    assert (known[known != 255] == data["label"][known != 255]).all()
    for name, values in found.items():
        np.testing.assert_array_equal(values, data[name])
    np.testing.assert_array_equal(store.gather([0], ["label"])["label"][0], data["label"][0])
    assert alone.fingerprint != store.fingerprint  # a training that resumes notices


def test_a_pretrained_encoder_of_patches_gives_features_of_pixels_and_a_network_of_masks_begins_with_it(
    store, tmp_path
):
    """Two steps without labels; weights arrive in the network, another network's are refused."""
    small = {"levels": 1, "width_multiplier": 0.0625}
    how = {"outputs": K, "options": small, "seed": 1}
    start = pretraining.encoder("unet_composites", store, ROWS["train"], **how)
    assert start.task.name == TASK
    before = [np.array(one) for one in start.network.weights]
    learned = pretraining.pretrain(
        start,
        store,
        ROWS["train"],
        folder=tmp_path,
        training={"epochs": 1, "batch_size": 6, "learning_rate": 0.01},
        progress=False,
    )
    changed = [not np.allclose(one, old) for one, old in zip(learned.network.weights, before, strict=True)]
    assert any(changed)
    labels = pretraining.Labels(store, np.arange(SAMPLES))
    rows = np.arange(0, len(labels.table), 7)
    features = pretraining.features(learned, labels, rows).values
    inputs = learned.inputs(tasks.read(store, labels.samples(rows)))
    maps = np.asarray(learned.network(inputs))
    np.testing.assert_allclose(features, labels.of(rows, maps), atol=1e-5)
    file = tmp_path / pretraining.ENCODER_FILE
    make = engine._beginning(tasks.get(TASK), learned.channels, file, models.build)
    build = {"channels": learned.channels, "outputs": K, "make": make}
    network = engine.build(TASK, "unet_composites", store, **build, options=small)
    np.testing.assert_allclose(encoder_of(network)(inputs), maps, atol=1e-5)
    with pytest.raises(DataError, match="build the network with the model, the options"):
        engine.build(TASK, "unet_composites", store, **build, options=small | {"width_multiplier": 0.125})
    with pytest.raises(DataError, match=r"none.keras: expected a saved model, found no file"):
        tasks.check(TASK, "unet_composites", training={"epochs": 1}, weights=tmp_path / "none.keras")
    with pytest.raises(ParameterError, match="weights has no option 'stem'"):
        tasks.check(
            TASK, "unet_composites", training={"epochs": 1}, weights={"weights": file, "stem": "copy"}
        )
