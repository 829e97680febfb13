"""Networks of image sequences: gaps, padding, what a step may know."""

from __future__ import annotations

from functools import cache

import keras
import model_harness as harness
import numpy as np
import pytest

from eolab import models

B, T, SIZE = 3, 5, 16
BANDS = harness.BANDS
SMALL = {
    "convlstm": {"l2": 0.0, "filters": 4, "hidden": 8},
    "resnet50": {"width_multiplier": 0.0625},
    "resnet18_gru": {"width_multiplier": 0.0625, "units": 6},
    "utae": {"width_multiplier": 0.5, "heads": 2},
    "date_transformer": {"width_multiplier": 0.5, "units": 16, "heads": 2, "layers": 1},
}
MEMORY = ["convlstm", "resnet18_gru", "utae", "date_transformer"]
# ResNet-50 with a GRU is made of the parts of two others.
QUICK = ("convlstm", "date_transformer")
EACH = [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in (*MEMORY, "resnet50")]
DATED = ["utae", "date_transformer"]


@pytest.fixture(scope="module", autouse=True)
def shallow():
    with harness.shallow():
        yield


def build(name: str, seed: int = 0, bands=BANDS, **options) -> keras.Model:
    given = {"height": SIZE, "width": SIZE, "outputs": 2, "dropout": 0.0, **harness.SEQUENCE_STATISTICS}
    return models.build(name, channels=bands, seed=seed, **given | SMALL[name] | options)


@cache
def of_optical(name: str) -> keras.Model:
    """A network of one sensor alone, whatever its weights."""
    return build(name, bands={"s2": 3})


def make_case(name: str, **options) -> harness.Case:
    inputs, labels = harness.sequences(SIZE, SIZE)
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
    return case.expected


@pytest.mark.slow
@pytest.mark.parametrize("name", MEMORY)
def test_late_networks_answer_once_whatever_the_lengths_of_the_series(name, tmp_path):
    case = make_case(name, head="labels")
    harness.check_output(case)
    harness.check_mask(case)
    longer = padded({key: case.inputs[key] for key in ("s2", "s2_valid", "s2_day")}, 2)
    found = harness.predict(case.model, {**case.inputs, **longer})
    np.testing.assert_allclose(found, case.expected, atol=1e-5)
    harness.check_trains(case, harness.check_saved(case, tmp_path) if name == "convlstm" else case.model)


def test_what_stands_where_there_is_no_image_changes_nothing(case, expected):
    changed, rng = dict(case.inputs), np.random.default_rng(0)
    for sensor in BANDS:
        seen = case.inputs[f"{sensor}_valid"] > 0
        for name, mask in ((sensor, seen[..., None, None, None]), (f"{sensor}_day", seen)):
            fillers = rng.choice([np.nan, 1e30], case.inputs[name].shape)
            changed[name] = np.where(mask, case.inputs[name], fillers).astype("float32")
    np.testing.assert_array_equal(harness.predict(case.model, changed), expected)


@pytest.mark.slow
def test_images_of_the_second_sensor_count(case, expected):
    """Those of the first do in the harness."""
    seen = case.inputs["s2_valid"][..., None, None, None] > 0
    other = {**case.inputs, "s2": np.where(seen, case.inputs["s2"] + 0.5, case.inputs["s2"])}
    assert harness.distance(harness.predict(case.model, other), expected) > 1e-3


@pytest.mark.parametrize("outputs", [1, 3])
def test_one_output_is_a_sigmoid_and_several_a_softmax_at_any_height_and_width(outputs):
    """All networks end in the same head."""
    model = build("convlstm", height=13, width=11, outputs=outputs)
    found = harness.predict(model, harness.sequences(13, 11)[0])
    assert found.shape == (B, T, outputs)
    assert np.isfinite(found).all()
    if outputs == 1:
        assert ((found > 0) & (found < 1)).all()
    else:
        np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)


@pytest.mark.slow
def test_one_output_is_the_second_of_two_classes():
    inputs, _ = harness.sequences(SIZE, SIZE)
    one, two = (harness.predict(build("convlstm", 3, outputs=outputs), inputs) for outputs in (1, 2))
    np.testing.assert_array_equal(one[..., 0], two[..., 1])


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
@pytest.mark.parametrize("name", MEMORY)
def test_padding_changes_neither_gradients_nor_batch_statistics(name):
    inputs, labels = harness.sequences(SIZE, SIZE, {"s2": 3})
    extra = 3
    weights = np.ones((B, T), "float32")
    pairs = [
        (inputs, labels, weights),
        (padded(inputs, extra), np.pad(labels, ((0, 0), (0, extra))), np.pad(weights, ((0, 0), (0, extra)))),
    ]
    net, nets = of_optical(name), []
    start = net.get_weights()
    loss = keras.losses.SparseCategoricalCrossentropy(reduction="sum")
    net.compile(keras.optimizers.SGD(0.02), loss, run_eagerly=True)
    for given, target, counts in pairs:
        net.set_weights(start)
        net.train_on_batch(given, target, sample_weight=counts)
        nets.append(net.get_weights())
    moved = 0.0
    for a, b, c in zip(*nets, start, strict=True):
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
def test_a_batch_without_a_sensor_trains_and_leaves_its_averages(case):
    gone = without(case.inputs, slice(None), slice(None), ["s2"])
    model, weights = case.model, case.model.get_weights()
    before = {v.path: keras.ops.convert_to_numpy(v).copy() for v in model.non_trainable_variables}
    harness.check_step(model, harness.Case(case.build, gone, case.labels, 2))
    after = {v.path: keras.ops.convert_to_numpy(v).copy() for v in model.non_trainable_variables}
    model.set_weights(weights)  # other tests share the model
    if model.name in DATED:  # they normalise by groups
        return
    averages = [v for v in model.non_trainable_variables if v.path.split("/")[-1].startswith("moving")]
    same = [np.array_equal(before[v.path], after[v.path]) for v in averages]
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
def test_read_backwards_too_a_step_knows_what_comes_after(name, tmp_path):
    case = make_case(name, bidirectional=True)
    harness.check_output(case)
    harness.check_mask(case)
    changed = without(case.inputs, slice(None), slice(3, None))
    found = [harness.predict(case.model, given)[:, :3] for given in (case.inputs, changed)]
    assert np.abs(found[0] - found[1]).max() > 1e-4
    longer = harness.predict(case.model, padded(case.inputs, 2))
    np.testing.assert_allclose(longer[:, :T], case.expected, atol=1e-5)
    harness.check_trains(case, harness.check_saved(case, tmp_path) if name == "convlstm" else case.model)


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
    inputs, _ = harness.sequences(SIZE, SIZE, {"s2": 3})
    inputs["s2_valid"][:] = [1, 0, 1, 1, 0]
    model = of_optical(name)
    dense = {key: values[:, [0, 2, 3]] for key, values in inputs.items()}
    found = harness.predict(model, inputs)
    np.testing.assert_allclose(found[:, [0, 2, 3]], harness.predict(model, dense), atol=1e-5)


def test_dates_count_where_the_network_takes_them(case, expected):
    shifted = {**case.inputs, "s1_day": case.inputs["s1_day"] ** 1.2}
    change = harness.distance(harness.predict(case.model, shifted), expected)
    assert change > 1e-5 if case.model.name in DATED else change == 0
