"""Tasks by name, and worked examples of two that no study has: values of pixels, one label a patch."""

from __future__ import annotations

import re

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import r2_score

from eolab import evaluation, plots, tasks
from eolab.core.errors import DataError, ParameterError
from eolab.data.store import ArraySpec, write_store
from eolab.models import names as networks
from eolab.models.layers import Normalize

N, HEIGHT, WIDTH, CLASSES = 60, 14, 10, 3
ROWS = dict(zip(("train", "validation", "test"), np.split(np.arange(N), [36, 46]), strict=True))
BANDS = ["red", "nir"]
REGRESSION = {"epochs": 12, "batch_size": 6, "learning_rate": 0.02}


def write(folder, label, spec, image):
    arrays = {"image": ArraySpec(("y", "x", "band"), image.shape[1:], "float32"), "label": spec}
    return write_store(
        folder,
        table=pd.DataFrame({"id": range(len(image))}),
        arrays=arrays,
        parts=[slice(0, len(image))],
        produce=lambda rows: {"image": image[rows["id"]], "label": label[rows["id"]]},
        fingerprint={"samples": len(image)},
        metadata={"coords": {"band": BANDS}},
        progress=False,
    )


# === Tasks ===


def test_every_task_has_networks_and_says_what_it_is():
    assert tasks.names() == [
        "series_classification",
        "yearly_classification",
        "image_classification",
        "multilabel_classification",
        "segmentation",
        "regression",
        "series_segmentation",
        "sequence_classification",
    ]
    for name in tasks.names():
        task = tasks.get(name)
        assert all(networks(task.reads, head) for head in task.heads)
        if name != "yearly_classification":  # baselines read years alone
            assert tasks.baselines.names(name)
        assert callable(getattr(plots, task.figure))
    with pytest.raises(ParameterError, match="no task 'regresion': did you mean 'regression'"):
        tasks.get("regresion")


def test_masks_and_steps_of_two_classes_keep_the_second():
    values = np.arange(24.0).reshape(2, 3, 4)
    for name, kept in (
        ("segmentation", True),
        ("sequence_classification", True),
        ("image_classification", False),
    ):
        task = tasks.get(name)
        expected = values[..., 1] if kept else values[..., :2]
        np.testing.assert_array_equal(task.kept(values[..., :2]), expected)
        np.testing.assert_array_equal(task.kept(values), values)
    for name in ("regression", "image_classification", "series_classification"):
        np.testing.assert_array_equal(tasks.get(name).kept(values[..., :1]), values[..., 0])
    for name, outputs in (
        ("regression", 2),
        ("multilabel_classification", 1),
    ):  # values and labels: all of them
        np.testing.assert_array_equal(tasks.get(name).kept(values[..., :outputs]), values[..., :outputs])


def test_the_scores_of_a_task_are_those_of_its_predictions():
    rng = np.random.default_rng(0)
    classes, labels = rng.integers(0, 3, 40), rng.integers(0, 2, (40, 3))
    masks, steps, values = rng.integers(0, 2, (9, 4, 5)), rng.integers(0, 2, 40), rng.random((9, 4, 5))
    half, names, three = {"net": 0.5}, ["no", "yes"], {"class_names": list("abc")}
    cases = {
        "series_classification": (classes, rng.dirichlet([1, 1, 1], 40), three),
        "image_classification": (classes, rng.dirichlet([1, 1, 1], 40), three),
        "multilabel_classification": (
            labels,
            rng.random((40, 3)),
            {"thresholds": half, "class_names": list("abc")},
        ),
        "segmentation": (masks, rng.random((9, 4, 5)), {"thresholds": half, "class_names": names}),
        "regression": (values, rng.random((9, 4, 5)), {}),
        "sequence_classification": (steps, rng.random(40), {"thresholds": half, "class_names": names}),
    }
    for name, (truth, predicted, options) in cases.items():
        scores = tasks.get(name).scores
        table = evaluation.score_table(
            {"net": predicted}, truth, statistics=scores, replicates=100, **options
        )
        assert np.isfinite(table["value"]).all(), name
        assert set(table["statistic"]) == {score.rpartition(".")[2] for score in scores}


# === Values of pixels ===


def heights():
    """Images whose value is a sum of both bands and of a neighbour; NaN where it is not known."""
    rng = np.random.default_rng(0)
    image = rng.normal(1, 0.4, (N, HEIGHT, WIDTH, 2)).astype("f4")
    value = 1 + 2 * image[..., 0] - image[..., 1] + 0.5 * np.roll(image[..., 0], 1, axis=2)
    known = rng.random(value.shape) > 0.3
    return np.where(known, value, np.nan).astype("f4"), value, image


@pytest.fixture(scope="module")
def values(tmp_path_factory):
    label, _, image = heights()
    spec = ArraySpec(("y", "x"), label.shape[1:], "float32", {}, "allow")
    return write(tmp_path_factory.mktemp("values") / "store", label, spec, image)


def fit_values(store, folder, **options):
    given = {"options": {"width_multiplier": 0.125, "levels": 2}, "training": REGRESSION, "progress": False}
    return tasks.fit("regression", "unet", store, ROWS, folder=folder, **given | options)


@pytest.mark.slow
def test_values_of_pixels_are_learned_where_they_are_known(values, tmp_path):
    fitted = fit_values(values, tmp_path, augmentation=["flip"])
    assert {"val_loss", "val_values_mae", "val_values_r2"} <= set(fitted.history)
    found = tasks.predict(fitted, values, ROWS["test"], tmp_path / "p", "test", progress=False)["values"]
    assert (found.shape, found.dtype) == ((len(ROWS["test"]), HEIGHT, WIDTH), np.float32)
    assert np.isfinite(found).all()
    _, truth, _ = heights()
    truth = truth[ROWS["test"]]
    mean = tasks.baselines.build("regression", "mean").fit(values, ROWS["train"])
    models = {"unet": found, "mean": mean.predict(values, ROWS["test"])}
    options = {"statistics": tasks.get("regression").scores, "baselines": ["mean"], "replicates": 100}
    scores = evaluation.score_table(models, truth, **options).set_index(["model", "statistic"])["value"]
    assert scores["unet", "r2"] == pytest.approx(r2_score(truth.ravel(), found.ravel()), rel=1e-4)
    assert scores["unet", "r2"] > 0.5 > scores["mean", "r2"]
    assert scores["unet", "mae"] < scores["mean", "mae"]
    saved = tasks.load(tmp_path)
    assert (saved.task.name, saved.channels) == ("regression", fitted.channels)
    image = values.gather(ROWS["test"], ["image"])
    np.testing.assert_allclose(saved.predict(image)["values"], found, atol=1e-4)
    mapped = {"Measured": truth[:2], "Predicted": found[:2]}
    figure = getattr(plots, saved.task.figure)(image["image"][:2, ..., [0, 0, 1]], mapped, "Height (m)", "ab")
    assert len(figure.axes) == 2 * 3 + 1
    averaged = tasks.predict(
        saved, values, ROWS["test"], tmp_path / "p", "tta", test_time_augmentation=True, progress=False
    )
    assert averaged["averaged"].shape == found.shape


def linear(name, *, height, width, channels, outputs, mean, std, seed, **given):
    """A sum of the bands of each pixel."""
    image = keras.Input((height, width, channels), name="image")
    start = keras.initializers.GlorotUniform(seed)
    values = keras.layers.Dense(outputs, kernel_initializer=start)(Normalize(mean, std)(image))
    return keras.Model({"image": image}, {"values": values}, name=name)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["mae", "huber", "continuous_iou"])
def test_every_loss_of_values_lowers_itself(values, tmp_path, loss):
    quick = REGRESSION | {"epochs": 4}
    history = fit_values(values, tmp_path, loss=loss, make=linear, training=quick).history
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    assert np.isfinite(history.drop(columns="seconds").to_numpy(float)).all()


@pytest.mark.usefixtures("eager")
def test_shares_from_0_to_1_are_learned_by_a_sigmoid_with_the_continuous_iou(values, tmp_path):
    quick = {"epochs": 1, "batch_size": 18, "learning_rate": 0.05}
    options = {"width_multiplier": 0.0625, "levels": 1, "activation": "sigmoid"}
    fitted = fit_values(values, tmp_path, loss="continuous_iou", options=options, training=quick)
    assert np.isfinite(fitted.history.drop(columns="seconds").to_numpy(float)).all()
    found = fitted.predict(values.gather(ROWS["test"], ["image"]))["values"]
    assert found.shape == (len(ROWS["test"]), HEIGHT, WIDTH)
    assert ((found > 0) & (found < 1)).all()
    shares = np.clip(heights()[1][ROWS["test"]] / 4, 0, 1)
    options = {"statistics": tasks.get("regression").scores, "replicates": 100}
    assert np.isfinite(evaluation.score_table({"net": found}, shares, **options)["value"]).all()


@pytest.mark.slow
def test_a_pixel_without_a_value_has_no_part_in_the_loss(values, tmp_path):
    label, _, image = heights()
    label[ROWS["train"][:5]] = np.nan  # patches without any value
    spec = ArraySpec(("y", "x"), label.shape[1:], "float32", {}, "allow")
    store = write(tmp_path / "store", label, spec, image)
    quick = REGRESSION | {"epochs": 4}
    history = fit_values(store, tmp_path / "run", make=linear, training=quick).history
    assert np.isfinite(history["loss"]).all()
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]


def test_values_cannot_be_weighed_by_class(values, tmp_path):
    with pytest.raises(ParameterError, match="model with outputs by name: weigh the classes in its losses"):
        fit_values(values, tmp_path / "run", training=REGRESSION | {"class_weights": "balanced"})
    assert not (tmp_path / "run").exists()


# === One label a patch ===


@pytest.fixture(scope="module")
def patches(tmp_path_factory):
    """Three classes of brightness, the last one rare; a training patch without a label."""
    rng = np.random.default_rng(1)
    label = rng.choice(CLASSES, N, p=[0.5, 0.4, 0.1]).astype("u1")
    image = rng.normal(1 + label[:, None, None, None], 0.5, (N, 16, 16, 2)).astype("f4")
    label[3] = 255
    return write(tmp_path_factory.mktemp("patches") / "store", label, ArraySpec((), (), "u1"), image)


def fit_patches(store, folder, training=(), **options):
    given = {"outputs": CLASSES, "options": {"width_multiplier": 0.125}, "progress": False}
    settings = {"epochs": 8, "batch_size": 6, "learning_rate": 0.02, **dict(training)}
    return tasks.fit(
        "image_classification",
        "shallow_cnn",
        store,
        ROWS,
        folder=folder,
        training=settings,
        **given | options,
    )


@pytest.mark.slow
def test_one_label_a_patch_is_learned_with_class_weights(patches, tmp_path):
    fitted = fit_patches(patches, tmp_path, {"class_weights": "balanced"}, augmentation=["rotate", "flip"])
    found = tasks.predict(fitted, patches, ROWS["test"], tmp_path / "p", "test", progress=False)["classes"]
    assert found.shape == (len(ROWS["test"]), CLASSES)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)  # a softmax
    truth = patches.gather(ROWS["test"], ["label"])["label"]
    assert (found.argmax(1) == truth).mean() > np.bincount(truth).max() / len(truth) + 0.1
    majority = tasks.baselines.build("image_classification", "majority", classes=CLASSES)
    models = {"net": found, "majority": majority.fit(patches, ROWS["train"]).predict(patches, ROWS["test"])}
    options = {"class_names": list("abc"), "baselines": ["majority"], "replicates": 100}
    scores = evaluation.score_table(models, truth, **options).set_index(["model", "statistic"])["value"]
    assert scores["net", "f1"] > scores["majority", "f1"] + 0.2
    assert scores["net", "accuracy"] == pytest.approx((found.argmax(1) == truth).mean())
    saved = tasks.load(tmp_path).predict(patches.gather(ROWS["test"], ["image"]))
    np.testing.assert_allclose(saved["classes"], found, atol=1e-5)


def one_output(name, *, outputs, mean, std, seed, times=0, height=0, width=0, channels=2, **given):
    """A sum of the bands, and a sigmoid of it."""
    shape = (times,) if times else (height, width)
    inputs = {"image": keras.Input((*shape, channels), name="image")}
    if times:
        inputs |= {key: keras.Input((times,), name=key) for key in ("valid", "day")}
    mean_of_all = keras.layers.Flatten()(Normalize(mean, std)(inputs["image"]))
    start = keras.initializers.GlorotUniform(seed)
    probability = keras.layers.Dense(outputs, activation="sigmoid", kernel_initializer=start)(mean_of_all)
    return keras.Model(inputs, probability, name=name)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("task", ["image_classification", "series_classification"])
def test_one_output_is_a_probability_that_is_scored(task, tmp_path):
    """Regression: predictions (N, 1) could not be scored, or the only class was always the likeliest."""
    rng = np.random.default_rng(2)
    label = rng.integers(0, 2, N).astype("u1")
    series = task == "series_classification"
    shape, dims = ((4,), ("time",)) if series else ((4, 4), ("y", "x"))
    dates = {"time": [f"2020-0{month}-01" for month in (1, 2, 3, 4)]} if series else {}
    image = rng.normal(2.0 * label.reshape(-1, *[1] * (len(shape) + 1)), 1, (N, *shape, 2)).astype("f4")
    arrays = {"image": image, "label": label, "valid": np.ones((N, 4), bool)}
    store = write_store(
        tmp_path / "store",
        table=pd.DataFrame({"id": range(N)}),
        arrays={
            "image": ArraySpec((*dims, "band"), image.shape[1:], "float32"),
            "valid": ArraySpec(("time",), (4,), "bool"),
            "label": ArraySpec((), (), "uint8"),
        },
        parts=[slice(0, N)],
        produce=lambda rows: {key: values[rows["id"]] for key, values in arrays.items()},
        fingerprint={"samples": N},
        metadata={"coords": {"band": BANDS, **dates}},
        progress=False,
    )
    quick = {"epochs": 3, "batch_size": 12, "learning_rate": 0.1}
    given = {"folder": tmp_path / "run", "outputs": 1, "training": quick, "progress": False}
    fitted = tasks.fit(task, "lstm", store, ROWS, make=one_output, **given)
    found = tasks.predict(fitted, store, ROWS["test"], tmp_path, "test", progress=False)["classes"]
    assert found.shape == (len(ROWS["test"]),)
    options = {"class_names": ["dark", "bright"], "replicates": 100}
    truth = label[ROWS["test"]]
    baseline = tasks.baselines.build(task, "majority", classes=2).fit(store, ROWS["train"])
    models = {"net": found, "majority": baseline.predict(store, ROWS["test"])}  # (N,) and (N, 2)
    scores = evaluation.score_table(models, truth, thresholds=dict.fromkeys(models, 0.5), **options)
    assert scores["value"].notna().all()
    value = scores[scores["model"] == "net"].set_index(["scope", "statistic"])["value"]
    assert value["all", "accuracy"] == pytest.approx(((found >= 0.5) == truth).mean())
    assert value["bright", "average_precision"] > 0.9
    for wrong in (found, found[:, None]):  # without a threshold
        with pytest.raises(DataError, match="expected class indices, or bool for two classes"):
            evaluation.score_table({"net": wrong}, truth, **options)


def test_a_store_of_other_channels_is_refused(patches, tmp_path):
    channels = {"image": tasks.select(patches, ROWS["train"])}
    options = {"width_multiplier": 0.125}
    network = tasks.build(
        "image_classification", "shallow_cnn", patches, channels, outputs=2, options=options
    )
    fitted = tasks.Fitted(tasks.get("image_classification"), "shallow_cnn", network, channels)
    image = np.zeros((4, 16, 16, 2), "f4")
    other = write(tmp_path / "other", np.zeros(4, "u1"), ArraySpec((), (), "u1"), image)
    other.metadata["coords"]["band"] = ["nir", "red"]
    with pytest.raises(
        DataError, match="has the channels nir, red; the model was fitted on a store with red"
    ):
        tasks.predict(fitted, other, np.arange(4), tmp_path / "p", "test", progress=False)


@pytest.mark.parametrize(
    ("task", "model", "loss", "kinds"),
    [
        ("segmentation", "unet", {"mse": 1}, "learns classes, and the loss {'mse': 1} is of values"),
        ("regression", "unet", {"ce": 1}, "learns values, and the loss {'ce': 1} is of classes"),
        ("image_classification", "resnet18_patch", {"bce": 1}, "learns classes, and the loss {'bce': 1}"),
    ],
)
def test_a_loss_of_another_kind_than_the_task_is_refused_before_anything_is_read(task, model, loss, kinds):
    """Regression: cross entropy was accepted for values."""
    with pytest.raises(ParameterError, match=re.escape(kinds)):
        tasks.check(task, model, loss=loss, training={"epochs": 1})
