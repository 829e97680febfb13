"""ConvLSTM branches of two sensors: the harness, padding, memory of what was seen."""

from __future__ import annotations

import keras
import model_harness as harness
import numpy as np
import pytest

from eolab import models
from eolab.core.errors import ParameterError
from eolab.models.sequences.recurrent import ConvLSTM

B, T, H, W = 4, 5, 6, 8
BANDS = {"s1": 1, "s2": 3}
MEAN = {"s1": [-18.0], "s2": [0.1, 0.1, 0.2]}
STD = {"s1": [4.0], "s2": [0.05, 0.05, 0.1]}


def build(seed: int = 0, bands=BANDS, **options) -> keras.Model:
    given = {"height": H, "width": W, "outputs": 2, "l2": 0.0, "filters": 4, "hidden": 8, **options}
    return models.build("convlstm", channels=bands, seed=seed, mean=MEAN, std=STD, **given)


def example(bands=BANDS) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Scenes that flood at a step or never; both sensors darken where it does."""
    rng = np.random.default_rng(0)
    onset = np.array([1, 2, 3, T])
    wet = (np.arange(T) >= onset[:, None]).astype("int32")  # (B, T)
    inputs = {}
    for sensor, count in bands.items():
        noise = rng.normal(0, 0.3, (B, T, H, W, count)) - 2.0 * wet[:, :, None, None, None]
        inputs[sensor] = (np.array(MEAN[sensor]) + noise * np.array(STD[sensor])).astype("float32")
        valid = np.ones((B, T), "float32")
        valid[0, 3], valid[2, 0] = 0, 0
        inputs[f"{sensor}_valid"] = valid
        inputs[f"{sensor}_day"] = np.tile(np.arange(T, dtype="float32") * 6, (B, 1))
    return inputs, wet


def case(sensor: str = "s1", **options) -> harness.Case:
    inputs, label = example()
    if options.get("head") == "labels":
        label = label.max(axis=1, keepdims=True)
    return harness.Case(
        lambda seed: build(seed, dropout=0.0, **options),
        inputs,
        label,
        2,
        masked=sensor,
        mask=f"{sensor}_valid",
    )


OPTIONS = [{}, {"pool": "mean"}, {"head": "labels"}, {"bidirectional": True}]
COSTLY = [OPTIONS[0], *(pytest.param(options, marks=pytest.mark.slow) for options in OPTIONS[1:])]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_probabilities_of_each_step_or_of_the_scene(options):
    harness.check_output(case(**options))


@pytest.mark.parametrize("sensor", ["s1", "s2"])
@pytest.mark.parametrize("options", COSTLY, ids=str)
def test_what_stands_where_there_is_no_image_changes_nothing(options, sensor):
    harness.check_mask(case(sensor, **options))


@pytest.mark.slow
def test_configuration_and_file_hold_the_whole_model(tmp_path):
    one = case(bidirectional=True)
    harness.check_config(one)
    harness.check_saved(one, tmp_path)


@pytest.mark.slow
def test_learns():
    harness.check_learns(case(pool="mean"), steps=60, learning_rate=0.03, share=0.5)


@pytest.mark.parametrize("options", COSTLY, ids=str)
def test_a_step_reaches_every_weight(options):
    harness.check_gradients(case(**options))


@pytest.mark.slow
def test_seed():
    harness.check_seed(case())


@pytest.mark.slow
def test_longer_batches_change_neither_scores_nor_weights():
    """Padding behind a scene's last step: same probabilities, same gradients, same batch statistics."""
    inputs, label = example()
    extra = 3
    rng = np.random.default_rng(1)
    longer = {}
    for name, values in inputs.items():
        pad = np.zeros((B, extra, *values.shape[2:]), values.dtype)
        if not name.endswith("_valid"):
            pad = rng.normal(50, 9, pad.shape).astype(values.dtype)
        longer[name] = np.concatenate([values, pad], axis=1)
    weight = np.concatenate([np.ones((B, T)), np.zeros((B, extra))], axis=1).astype("float32")
    label_longer = np.concatenate([label, np.ones((B, extra), "int32")], axis=1)
    nets = []
    for given, target, counts in ((inputs, label, weight[:, :T]), (longer, label_longer, weight)):
        net = build(dropout=0.0)
        loss = keras.losses.SparseCategoricalCrossentropy(reduction="sum")
        net.compile(keras.optimizers.SGD(0.05), loss, jit_compile=False)
        for _ in range(2):
            net.train_on_batch(given, target, sample_weight=counts)
        nets.append((net, harness.predict(net, given)[:, :T]))
    np.testing.assert_allclose(nets[0][1], nets[1][1], atol=1e-5)
    for a, b in zip(nets[0][0].get_weights(), nets[1][0].get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_step_remembers_what_each_sensor_saw_last():
    inputs, _ = example()
    net = build(dropout=0.0)
    gone = {**inputs, "s1_valid": inputs["s1_valid"].copy(), "s2_valid": inputs["s2_valid"].copy()}
    gone["s1_valid"][:, 3:], gone["s2_valid"][:, 3:] = 0, 0
    found = harness.predict(net, gone)
    np.testing.assert_array_equal(found[:, 3], found[:, 2])
    np.testing.assert_array_equal(found[:, 4], found[:, 2])


def test_without_looking_back_a_step_knows_nothing_of_what_comes():
    inputs, _ = example()
    changed = {**inputs, "s1": inputs["s1"].copy()}
    changed["s1"][:, 3:] += 9
    same = [harness.predict(build(dropout=0.0), given)[:, :3] for given in (inputs, changed)]
    np.testing.assert_array_equal(*same)
    both = [
        harness.predict(build(dropout=0.0, bidirectional=True), given)[:, :3] for given in (inputs, changed)
    ]
    assert np.abs(both[0] - both[1]).max() > 1e-4


def test_one_sensor_alone():
    inputs, _ = example({"s2": 3})
    assert harness.predict(build(bands={"s2": 3}), inputs).shape == (B, T, 2)


def test_the_reports_network_has_its_size():
    """Two ConvLSTMs of two maps a branch, at 522 × 544 with one and three channels."""
    with keras.StatelessScope(initialize_variables=False):
        net = models.build("convlstm", height=522, width=544, channels=BANDS, outputs=2)

    def lstm(channels: int) -> int:
        return 4 * 2 * (9 * channels + 9 * 2 + 1)

    recurrent = lstm(1) + lstm(2) + lstm(3) + lstm(2)
    norms, statistics = 2 * 4 * 2, 2 * (1 + 3)
    dense = 2 * 522 * 544 * 2 * 2 + 2 + 2 + 1
    assert net.count_params() == recurrent + norms + statistics + dense


def test_wrong_words_and_numbers_are_named():
    with pytest.raises(ParameterError, match=r"pool is 'flat'.*'flatten'"):
        build(pool="flat")
    with pytest.raises(ParameterError, match="'convlstm' has no head 'mask', only steps, labels"):
        build(head="mask")
    with pytest.raises(ParameterError, match="must be 1 or more"):
        build(filters=0)
    with pytest.raises(ParameterError, match="needs channels by sensor"):
        build(bands={})


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("sequences", [False, True])
def test_the_recurrence_is_that_of_keras_with_the_same_weights(backwards, sequences):
    rng = np.random.default_rng(0)
    images, valid = rng.normal(0, 1, (2, T, H, W, 3)).astype("float32"), np.ones((2, T), "float32")
    valid[0, 3:], valid[1, [0, 2]] = 0, 0
    theirs = keras.layers.ConvLSTM2D(4, 3, padding="same", return_sequences=sequences, go_backwards=backwards)
    ours = ConvLSTM(4, 3, sequences, backwards)
    mask = keras.ops.expand_dims(keras.ops.convert_to_tensor(valid) > 0.5, (-3, -2, -1))
    theirs(images, mask=mask)
    assert ours(images, valid).shape == ours.compute_output_shape(images.shape, valid.shape)
    kernel, recurrent, bias = (rng.normal(0, 0.3, w.shape) for w in theirs.get_weights())
    theirs.set_weights([kernel, recurrent, bias])
    own = {w.shape: w for w in (kernel, recurrent, bias)}
    ours.set_weights([own[w.shape] for w in ours.get_weights()])
    np.testing.assert_allclose(ours(images, valid), theirs(images, mask=mask), atol=1e-5)


def test_the_recurrence_begins_as_that_of_keras():
    layer = ConvLSTM(4, 3, seed=7)
    layer(np.zeros((1, 2, H, W, 3), "float32"), np.ones((1, 2), "float32"))
    np.testing.assert_array_equal(layer.bias, [0] * 4 + [1] * 4 + [0] * 8)
    again = ConvLSTM.from_config(layer.get_config())
    again(np.zeros((1, 2, H, W, 3), "float32"), np.ones((1, 2), "float32"))
    for one, other in zip(layer.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
