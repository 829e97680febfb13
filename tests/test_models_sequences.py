"""Every network of image sequences through the harness: gaps, padding, what a step may know."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import keras
import model_harness as harness
import numpy as np
import pytest

from eolab import models

B, T, SIZE = 3, 5, 16
BANDS = {"s1": 1, "s2": 3}
STATISTICS = {
    "mean": {"s1": [-18.0], "s2": [0.1, 0.1, 0.2]},
    "std": {"s1": [4.0], "s2": [0.05, 0.05, 0.1]},
}
NAMES = models.names("sequences")
QUICK = ["resnet18_gru", "utae", "date_transformer"]
# The ConvLSTM has a file of its own, and ResNet-50 with a GRU is made of the parts of two others.
EACH = [*QUICK, pytest.param("resnet50", marks=pytest.mark.slow)]
SMALL = {
    "convlstm": {"l2": 0.0, "filters": 4, "hidden": 8},
    "resnet50": {"width_multiplier": 0.0625},
    "resnet50_gru": {"width_multiplier": 0.0625, "units": 6},
    "resnet18_gru": {"width_multiplier": 0.0625, "units": 6},
    "utae": {"width_multiplier": 0.5, "heads": 2},
    "date_transformer": {"width_multiplier": 0.5, "units": 16, "heads": 2, "layers": 1},
}
MEMORY = ["convlstm", *QUICK]
DATED = ["utae", "date_transformer"]
NORMED = ["convlstm", "resnet50", "resnet50_gru", "resnet18_gru"]


def build(name: str, seed: int = 0, bands=BANDS, **options) -> keras.Model:
    statistics = {key: {sensor: values[sensor] for sensor in bands} for key, values in STATISTICS.items()}
    given = {"height": SIZE, "width": SIZE, "dropout": 0.0, **statistics, **SMALL[name], **options}
    return models.build(name, channels=bands, outputs=2, seed=seed, **given)


def example(bands=BANDS) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Sequences that flood at a step or never; half of the image darkens where it does."""
    rng = np.random.default_rng(0)
    wet = (np.arange(T) >= np.array([1, 3, T])[:, None]).astype("int32")  # (B, T)
    inputs = {}
    for place, (sensor, count) in enumerate(bands.items()):
        noise = rng.normal(0, 0.5, (B, T, SIZE, SIZE, count))
        noise[:, :, : SIZE // 2] -= 2.0 * wet[:, :, None, None, None]
        mean, std = (np.array(STATISTICS[key][sensor]) for key in ("mean", "std"))
        valid = np.ones((B, T), "float32")
        valid[0, 3], valid[1, 2 * place] = 0, 0
        inputs[sensor] = (mean + noise * std).astype("float32")
        inputs[f"{sensor}_valid"] = valid
        inputs[f"{sensor}_day"] = np.tile(np.arange(T, dtype="float32") * 12 + place, (B, 1))
    return inputs, wet


def make_case(name: str, **options) -> harness.Case:
    inputs, labels = example()
    labels = labels.max(axis=1, keepdims=True) if options.get("head") == "labels" else labels
    return harness.Case(lambda seed: build(name, seed, **options), inputs, labels, 2, "s1", "s1_valid")


def without(inputs: dict[str, np.ndarray], sequences, steps, sensors=BANDS) -> dict[str, np.ndarray]:
    """The same sequences without the images of some steps."""
    changed = dict(inputs)
    for sensor in sensors:
        changed[f"{sensor}_valid"] = inputs[f"{sensor}_valid"].copy()
        changed[f"{sensor}_valid"][sequences, steps] = 0
    return changed


def padded(inputs: dict[str, np.ndarray], extra: int) -> dict[str, np.ndarray]:
    """The same sequences with steps behind them that have no image, but rubbish in its place."""
    longer = {}
    for name, values in inputs.items():
        shape = (len(values), extra, *values.shape[2:])
        rubbish = 0.0 if name.endswith("_valid") else 50.0
        longer[name] = np.concatenate([values, np.full(shape, rubbish, values.dtype)], axis=1)
    return longer


@pytest.fixture(scope="module", params=EACH)
def case(request) -> harness.Case:
    return make_case(request.param)


@pytest.fixture(scope="module")
def expected(case) -> np.ndarray:
    """Probabilities of the untrained model."""
    return harness.predict(case.model, case.inputs)


def test_every_network_of_the_registry_is_tested_here_or_made_of_those_that_are():
    assert set(NAMES) == {"convlstm", "resnet50", "resnet50_gru", *QUICK}


# --- The harness -------------------------------------------------------------------------------------------


def test_probabilities_of_each_step(case):
    harness.check_output(case)


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_late_networks_answer_once_whatever_the_lengths_of_the_series(name):
    case = make_case(name, head="labels")
    harness.check_output(case)
    harness.check_mask(case)
    harness.check_gradients(case)
    expected = harness.predict(case.model, case.inputs)
    longer = padded({key: case.inputs[key] for key in ("s2", "s2_valid", "s2_day")}, 2)
    np.testing.assert_allclose(harness.predict(case.model, {**case.inputs, **longer}), expected, atol=1e-5)


@pytest.mark.parametrize("filler", [np.nan, 1e30])
def test_what_stands_where_there_is_no_image_changes_nothing(case, expected, filler):
    changed = dict(case.inputs)
    for sensor in BANDS:
        seen = case.inputs[f"{sensor}_valid"] > 0
        for name, mask in ((sensor, seen[..., None, None, None]), (f"{sensor}_day", seen)):
            changed[name] = np.where(mask, case.inputs[name], filler).astype("float32")
    np.testing.assert_array_equal(harness.predict(case.model, changed), expected)


@pytest.mark.slow
@pytest.mark.parametrize("sensor", BANDS)
def test_images_of_each_sensor_count(case, sensor):
    one = replace(case, masked=sensor, mask=f"{sensor}_valid")
    one.model = case.model
    harness.check_mask(one)


@pytest.mark.slow
def test_configuration_and_file_hold_the_whole_model(case, tmp_path):
    harness.check_config(case)
    harness.check_saved(case, tmp_path)
    loaded = models.load(tmp_path / "model.keras")
    harness.assert_same(harness.predict(loaded, case.inputs), harness.predict(case.model, case.inputs))


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_learns(name):
    harness.check_learns(make_case(name), steps=60, learning_rate=0.01, share=0.5)


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_a_step_reaches_every_weight_and_the_seed_fixes_it(name):
    case = make_case(name)
    harness.check_gradients(case)
    harness.check_seed(case)


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_mixed_precision(name):
    harness.check_precision(make_case(name), "mixed_bfloat16", tolerance=0.1)


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("outputs", [1, 3])
def test_one_output_is_a_sigmoid_and_several_a_softmax_at_any_height_and_width(name, outputs):
    model = models.build(
        name, height=13, width=11, channels=BANDS, outputs=outputs, **STATISTICS, **SMALL[name]
    )
    inputs = {k: v[:, :, :13, :11] if v.ndim == 5 else v for k, v in example()[0].items()}
    found = harness.predict(model, inputs)
    assert found.shape == (B, T, outputs)
    assert np.isfinite(found).all()
    if outputs == 1:
        assert ((found > 0) & (found < 1)).all()
    else:
        np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)


def test_one_output_is_the_second_of_two_classes():
    one, two = (
        models.build("utae", height=SIZE, width=SIZE, channels=BANDS, outputs=outputs, seed=3)
        for outputs in (1, 2)
    )
    found = [harness.predict(model, example()[0]) for model in (one, two)]
    np.testing.assert_array_equal(found[0][..., 0], found[1][..., 1])


# --- Gaps and padding --------------------------------------------------------------------------------------


def test_a_sequence_alone_is_answered_as_among_others(case, expected):
    for place in range(B - 1):
        alone = {name: values[place : place + 1] for name, values in case.inputs.items()}
        np.testing.assert_allclose(harness.predict(case.model, alone)[0], expected[place], atol=1e-5)


def test_steps_behind_the_last_image_change_no_probability(case, expected):
    longer = harness.predict(case.model, padded(case.inputs, 2))
    np.testing.assert_allclose(longer[:, :T], expected, atol=1e-5)
    assert np.isfinite(longer).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_padding_changes_neither_gradients_nor_batch_statistics(name):
    inputs, labels = example()
    extra = 3
    weights = np.ones((B, T), "float32")
    pairs = [
        (inputs, labels, weights),
        (padded(inputs, extra), np.pad(labels, ((0, 0), (0, extra))), np.pad(weights, ((0, 0), (0, extra)))),
    ]
    nets = []
    for given, target, counts in pairs:
        net = build(name)
        loss = keras.losses.SparseCategoricalCrossentropy(reduction="sum")
        net.compile(keras.optimizers.SGD(0.01), loss, run_eagerly=True)
        for _ in range(2):
            net.train_on_batch(given, target, sample_weight=counts)
        nets.append(net)
    start = build(name)
    moved = 0.0
    for a, b, c in zip(*(net.get_weights() for net in (*nets, start)), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)
        moved = max(moved, float(np.abs(a - c).max()))
    assert moved > 1e-3


def test_sequences_without_images_get_finite_probabilities_all_the_same(case, expected):
    gone = without(case.inputs, [0, 2], slice(None))
    found = harness.predict(case.model, gone)
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(found[0], np.broadcast_to(found[2, :1], found[0].shape), atol=1e-6)
    np.testing.assert_allclose(found[1], expected[1], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["convlstm", *QUICK])
def test_a_batch_without_a_sensor_trains_and_leaves_its_averages(name):
    inputs, labels = example()
    gone = without(inputs, slice(None), slice(None), ["s2"])
    model = build(name)
    case = harness.Case(lambda seed: model, gone, labels, 2)
    before = {v.path: keras.ops.convert_to_numpy(v).copy() for v in model.non_trainable_variables}
    harness.fit_steps(model, case, 2, keras.optimizers.SGD(0.1), False)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    if name not in NORMED:
        return
    averages = [v for v in model.non_trainable_variables if v.path.split("/")[-1].startswith("moving")]
    same = [np.array_equal(before[v.path], keras.ops.convert_to_numpy(v)) for v in averages]
    assert sum(same) == len(same) // 2  # those of s2


# --- What a step knows -------------------------------------------------------------------------------------


def test_a_step_knows_nothing_of_what_comes_after(case, expected):
    changed = without(case.inputs, slice(None), slice(4, None), ["s2"])
    for sensor in BANDS:
        later = np.arange(T) >= 3
        values, day = case.inputs[sensor], case.inputs[f"{sensor}_day"]
        changed[sensor] = np.where(later[:, None, None, None], values + 0.3, values).astype("float32")
        changed[f"{sensor}_day"] = np.where(later, day + 30, day).astype("float32")
    found = harness.predict(case.model, changed)
    np.testing.assert_allclose(found[:, :3], expected[:, :3], atol=1e-6)
    assert np.abs(found[:, 3:] - expected[:, 3:]).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["convlstm", "resnet18_gru"])
def test_read_backwards_too_a_step_knows_what_comes_after(name):
    case = make_case(name, bidirectional=True)
    harness.check_output(case)
    harness.check_mask(case)
    harness.check_gradients(case)
    changed = without(case.inputs, slice(None), slice(3, None))
    found = [harness.predict(case.model, given)[:, :3] for given in (case.inputs, changed)]
    assert np.abs(found[0] - found[1]).max() > 1e-4
    longer = harness.predict(case.model, padded(case.inputs, 2))
    np.testing.assert_allclose(longer[:, :T], harness.predict(case.model, case.inputs), atol=1e-5)


def test_a_step_has_its_own_images_alone_or_remembers(case, expected):
    """Other images at the second step change it; later steps where there is a memory."""
    changed = {**case.inputs, "s1": case.inputs["s1"].copy()}
    changed["s1"][:, 1, : SIZE // 2] -= 8
    change = np.abs(harness.predict(case.model, changed) - expected).max(axis=(0, 2))  # (T,)
    assert change[0] < 1e-6
    assert change[1] > 1e-4
    assert (change[2:] < 1e-6).all() if case.model.name == "resnet50" else (change[2:] > 1e-6).all()


def test_without_images_a_step_answers_as_the_one_before(case):
    if case.model.name == "resnet50":
        pytest.skip("has no memory")
    found = harness.predict(case.model, without(case.inputs, slice(None), slice(3, None)))
    np.testing.assert_allclose(found[:, 3:], np.repeat(found[:, 2:3], T - 3, axis=1), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", MEMORY)
def test_gaps_are_as_if_they_were_not_there(name):
    """The images alone, one behind the other, get the same answers."""
    inputs, _ = example({"s2": 3})
    inputs["s2_valid"][:] = [1, 0, 1, 1, 0]
    model = build(name, bands={"s2": 3})
    dense = {key: values[:, [0, 2, 3]] for key, values in inputs.items()}
    found = harness.predict(model, inputs)
    np.testing.assert_allclose(found[:, [0, 2, 3]], harness.predict(model, dense), atol=1e-5)


def test_dates_count_where_the_network_takes_them(case, expected):
    shifted = {**case.inputs, "s1_day": case.inputs["s1_day"] ** 1.2}
    change = harness.distance(harness.predict(case.model, shifted), expected)
    assert change > 1e-5 if case.model.name in DATED else change == 0


# --- Backends ----------------------------------------------------------------------------------------------

JAX = """
import sys, keras, numpy as np
from eolab import models
assert keras.backend.backend() == "jax"
inputs = dict(np.load("inputs.npz"))
labels = inputs.pop("labels")
for name in sys.argv[1:]:
    model = models.load(name + ".keras", compiled=False)
    np.save(name + ".npy", model.predict(inputs, verbose=0))
    if name not in ("convlstm", "date_transformer"):
        continue  # a first step of the others takes a minute without optimisations
    model.compile(keras.optimizers.Adam(0.003), "sparse_categorical_crossentropy")
    losses = [float(model.train_on_batch(inputs, labels)) for _ in range(6)]
    assert losses[-1] < losses[0], (name, losses)
"""


@pytest.mark.slow
def test_on_jax_saved_networks_predict_the_same_and_small_ones_train(tmp_path):
    """ResNet-50 has the parts of ResNet-18."""
    inputs, labels = example()
    np.savez(tmp_path / "inputs.npz", labels=labels, **inputs)
    made = {name: build(name) for name in ("convlstm", "resnet18_gru", "utae", "date_transformer")}
    for name, model in made.items():
        model.save(tmp_path / f"{name}.keras")
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", JAX, *made], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for name, model in made.items():
        expected = harness.predict(model, inputs)
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), expected, atol=1e-4)
