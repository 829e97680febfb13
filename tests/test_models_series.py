"""Networks of pixel series: their parts against independent references, names and errors, export."""

from __future__ import annotations

from contextlib import nullcontext

import keras
import model_harness as harness
import numpy as np
import pytest
import tensorflow as tf

from eolab import models, prediction
from eolab.core.errors import DataError, ParameterError
from eolab.models import fused
from eolab.models.attention import MasterQueryAttention, SelfAttention
from eolab.models.layers import LSTM, WRITTEN_OUT, DayEncoding, MaskedMean, Normalize

B, T, C, K = 32, 5, 4, 3
SMALL = {"ltae": {"units": 32, "heads": 4}, "transformer": {"units": 16, "heads": 2}}
STATISTICS = harness.SERIES_STATISTICS
SIZES = {"times": T, "channels": C, "outputs": K}


def build(name: str, seed: int = 0, **options) -> keras.Model:
    return models.build(name, seed=seed, **SIZES, **STATISTICS, **SMALL.get(name, {}), **options)


@pytest.mark.parametrize("name", models.names("series"))
def test_boolean_masks_are_taken_too(name):
    model, (inputs, _) = build(name), harness.series()
    masked = {**inputs, "valid": inputs["valid"].astype(bool)}
    np.testing.assert_array_equal(harness.predict(model, masked), harness.predict(model, inputs))


@pytest.mark.slow
def test_deep_lstm_in_both_directions():
    deep = {"units": 6, "layers": 2, "bidirectional": True}
    case = harness.Case(lambda seed: build("lstm", seed, **deep), *harness.series(), classes=K)
    harness.check_output(case)
    harness.check_mask(case)
    harness.check_trains(case, case.model)


@pytest.mark.parametrize("name", ["ltae", "transformer"])
def test_attention_does_not_depend_on_the_order_of_the_dates(name):
    inputs, _ = harness.series()
    shuffled = {key: value[:, ::-1].copy() for key, value in inputs.items()}
    model = build(name)
    np.testing.assert_allclose(harness.predict(model, shuffled), harness.predict(model, inputs), atol=1e-5)
    moved = {**inputs, "day": inputs["day"] + 90}
    assert np.abs(harness.predict(model, moved) - harness.predict(model, inputs)).max() > 1e-3


@pytest.mark.parametrize("unroll", [False, True])
def test_lstm_keeps_its_state_over_gaps(unroll):
    """The model sees nothing but the valid dates: the formula, run over these alone, gives the same."""
    inputs, _ = harness.series()
    model = build("lstm", units=6, unroll=unroll)
    kernel, recurrent, bias, dense, offset = (np.array(w) for w in model.trainable_weights)
    got = harness.predict(model, inputs)
    x = (inputs["image"] - np.array(STATISTICS["mean"])) / np.array(STATISTICS["std"])
    for b in range(B):
        state = memory = np.zeros(6)
        for t in np.flatnonzero(inputs["valid"][b]):
            let_in, keep, candidate, let_out = np.split(x[b, t] @ kernel + state @ recurrent + bias, 4)
            memory = memory / (1 + np.exp(-keep)) + np.tanh(candidate) / (1 + np.exp(-let_in))
            state = np.tanh(memory) / (1 + np.exp(-let_out))
        odds = np.exp(state @ dense + offset)
        np.testing.assert_allclose(got[b], odds / odds.sum(), atol=1e-5)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(
    ("samples", "xla"),
    [(1, False), (2, False), (7, False), pytest.param(7, True, marks=pytest.mark.slow)],
    ids=["1", "2", "7", "xla"],
)
def test_the_fast_lstm_learns_as_that_of_keras(samples, backwards, xla):
    """States, gradients of inputs and weights; a series without any valid date, NaN in gaps."""
    rng = np.random.default_rng(0)
    image, toward = rng.normal(size=(samples, T, C)), rng.normal(size=(samples, 6)).astype("float32")
    valid = rng.random((samples, T)) < 0.6
    valid[-1] = samples == 1
    weights = [rng.normal(size=shape) for shape in ((C, 24), (6, 24), (24,))]

    def of(kind, image: np.ndarray) -> list[np.ndarray]:
        layer = kind(6, go_backwards=backwards, use_cudnn=False)
        layer.build(image.shape)
        layer.set_weights(weights)

        @tf.function(jit_compile=xla)
        def step(x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                state = layer(x, mask=tf.constant(valid), training=True)
                loss = tf.reduce_sum(state * toward)
            return state, *tape.gradient(loss, [x, *(weight.value for weight in layer.trainable_weights)])

        return [np.asarray(one) for one in step(tf.constant(image.astype("float32")))]

    gaps = np.where(valid[..., None], image, np.nan)
    for ours, theirs in zip(of(LSTM, gaps), of(keras.layers.LSTM, image), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_fast_lstm_has_the_weights_of_keras_after_ten_steps(monkeypatch):
    inputs, labels = harness.series()
    learnt = []
    for usable in (True, False):
        monkeypatch.setattr(fused, "usable", lambda usable=usable: usable)
        model = build("lstm", units=6, dropout=0.0)
        model.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
        for _ in range(10):
            model.train_on_batch(inputs, labels)
        learnt.append(model.get_weights())
    for ours, theirs in zip(*learnt, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_the_fast_lstm_learns_in_half_precision():
    inputs, _ = harness.series()
    valid = inputs["valid"].astype(bool)
    layer, exact = LSTM(6, dtype="mixed_bfloat16"), keras.layers.LSTM(6, use_cudnn=False)
    image = inputs["image"] / np.abs(inputs["image"]).max()
    found = layer(image, mask=valid, training=True)
    exact.build(image.shape)
    exact.set_weights(layer.get_weights())
    assert found.dtype == "bfloat16"
    np.testing.assert_allclose(np.asarray(found, "float32"), exact(image, mask=valid), atol=0.02)


@pytest.mark.parametrize(
    "options",
    [
        {"return_sequences": True}, {"return_state": True}, {"use_bias": False}, {"activation": "relu"},
        {"recurrent_activation": "hard_sigmoid"}, {"go_backwards": True},
    ],
    ids=str,
)  # fmt: skip
def test_an_lstm_with_other_options_is_that_of_keras(options):
    inputs, _ = harness.series()
    given = {"mask": inputs["valid"].astype(bool), "training": True}
    ours, theirs = (kind(6, seed=0, **options) for kind in (LSTM, keras.layers.LSTM))
    image = inputs["image"] / np.abs(inputs["image"]).max()
    theirs.build(image.shape)
    ours.build(image.shape)
    ours.set_weights(theirs.get_weights())
    for one, other in zip(
        tf.nest.flatten(ours(image, **given)), tf.nest.flatten(theirs(image, **given)), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_an_lstm_loops_over_dates_in_exports_and_long_series_alone():
    layer = LSTM(6, use_cudnn=False)
    exported = fused.exported
    for steps, training, within, loops in (
        (T, True, nullcontext, False),
        (T, False, nullcontext, False),
        (T, False, exported, True),
        (WRITTEN_OUT + 1, True, nullcontext, True),
        (WRITTEN_OUT + 1, False, nullcontext, True),
    ):
        image, mask = tf.TensorSpec((None, steps, C)), tf.TensorSpec((None, steps), tf.bool)
        step = tf.function(lambda x, m, training=training: layer(x, mask=m, training=training))
        with within():
            found = {one.type for one in step.get_concrete_function(image, mask).graph.get_operations()}
        assert bool(found & {"While", "StatelessWhile"}) == loops


@pytest.mark.parametrize("backwards", [False, True])
def test_the_loop_of_an_export_is_that_of_keras(backwards):
    rng = np.random.default_rng(0)
    image, valid = rng.normal(size=(7, T, C)).astype("float32"), rng.random((7, T)) < 0.6
    valid[0] = False
    ours, theirs = (kind(6, go_backwards=backwards, use_cudnn=False) for kind in (LSTM, keras.layers.LSTM))
    expected = theirs(image, mask=valid)
    ours.build(image.shape)
    ours.set_weights(theirs.get_weights())
    with fused.exported():
        found = ours(np.where(valid[..., None], image, np.nan), mask=valid)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert not np.any(found[0])


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_an_exported_lstm_is_one_operation(engine, tmp_path):
    """OpenVINO reads no loop of TensorFlow: it takes the operation of the ONNX file."""
    if engine == "openvino":
        pytest.importorskip("openvino")
    model, (inputs, _) = build("lstm", units=6), harness.series()
    model.save(tmp_path / "model.keras")
    expected = harness.predict(model, inputs)
    found = prediction.load(tmp_path / "model.keras", engine)(inputs)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    file, word = {"onnx": ("onnx/model.onnx", b"LSTM"), "openvino": ("openvino/model.xml", b"LSTMSequence")}[
        engine
    ]
    assert word in (tmp_path / f"model_{file}").read_bytes()


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float64"])
def test_the_loop_of_an_export_has_the_precision_of_the_layer(policy):
    """Regression: it took the one of the session."""
    layer = LSTM(6, dtype=policy)
    image, mask = np.zeros((2, T, C), "float32"), np.ones((2, T), bool)
    with fused.exported():
        assert layer(image, mask=mask).dtype == layer.compute_dtype


def test_masks_that_keras_takes_are_taken():
    """Regression: lists of masks, and one mask for all series, ended in an error of shapes."""
    rng = np.random.default_rng(0)
    image, mask = rng.normal(size=(3, T, C)).astype("float32"), np.array([[True, False, True, True, False]])
    layer = LSTM(6)
    expected = layer(image, mask=np.repeat(mask, 3, axis=0))
    np.testing.assert_allclose(layer(image, mask=mask), expected, atol=1e-6)
    np.testing.assert_allclose(layer(image, mask=[np.repeat(mask, 3, axis=0)]), expected, atol=1e-6)


def test_a_saved_lstm_takes_no_cudnn_either():
    """Regression: Keras saves no ``use_cudnn``, and its cuDNN takes gaps at the end alone."""
    assert keras.layers.deserialize(keras.layers.serialize(LSTM(6))).use_cudnn is False


@pytest.mark.slow
def test_an_lstm_is_quantised_unless_it_loops(tmp_path):
    """Regression: the calibration of a loop ended the process."""
    pytest.importorskip("ai_edge_litert")
    inputs, _ = harness.series()
    samples = [{name: values[row] for name, values in inputs.items()} for row in range(8)]
    model = build("lstm", units=6)
    file = prediction.export_litert(model, tmp_path / "a.tflite", "int8", samples)
    found = prediction.load(file)({name: values[:4] for name, values in inputs.items()})
    np.testing.assert_allclose(found, harness.predict(model, inputs)[:4], atol=0.05)
    with pytest.raises(ParameterError, match=r"loops over the steps .* build it with unroll=True"):
        prediction.export_litert(build("lstm", units=6, layers=2), tmp_path / "b.tflite", "int8", samples)


@pytest.mark.slow
def test_what_openvino_cannot_read_is_said_as_it_says_it(tmp_path):
    """Regression: the error of the second way, through ONNX, stood in place of the first."""
    pytest.importorskip("openvino")
    model = build("lstm", units=6, layers=2)
    with pytest.raises(ParameterError, match="No conversion rule"):
        prediction.load(model, "openvino")


def test_normalize_is_the_formula_and_zero_where_nothing_was_seen():
    inputs, _ = harness.series()
    got = Normalize(**STATISTICS)(inputs["image"], inputs["valid"])
    expected = (inputs["image"] - np.array(STATISTICS["mean"])) / np.array(STATISTICS["std"])
    np.testing.assert_allclose(got, np.nan_to_num(expected), rtol=1e-4, atol=1e-5)
    constant = Normalize([1.0], [0.0])(np.array([[[5.0], [np.nan]]], "float32"), np.ones((1, 2)))
    np.testing.assert_array_equal(constant, [[[4.0], [0.0]]])


def test_day_encoding_is_the_formula():
    day = np.array([[0.0, 17.5, 364.0]], "float32")
    i = np.arange(8)
    angle = day[..., None] / 1000.0 ** (2 * (i // 2) / 8)
    expected = np.where(i % 2 == 0, np.sin(angle), np.cos(angle))
    np.testing.assert_allclose(DayEncoding(8)(day), expected, atol=1e-4)


def test_masked_mean_leaves_out_what_is_not_valid():
    x = np.arange(12, dtype="float32").reshape(2, 3, 2)
    got = MaskedMean()(x, np.array([[1, 0, 1], [0, 0, 0]]))
    np.testing.assert_allclose(got, [[2, 3], [0, 0]])


def test_master_query_attention_is_the_formula_of_the_paper():
    rng = np.random.default_rng(1)
    heads, group, size = 4, 3, 5
    e = rng.normal(size=(2, T, heads * group)).astype("float32")
    p = rng.normal(size=(2, T, group)).astype("float32")
    valid = np.array([[1, 0, 1, 1, 0], [0, 0, 0, 1, 0]], "float32")
    layer = MasterQueryAttention(heads, size)
    got = keras.ops.convert_to_numpy(layer(e, valid, p))
    query, key = (keras.ops.convert_to_numpy(w) for w in (layer.query, layer.key))
    for b in range(2):
        seen = np.flatnonzero(valid[b])
        for h in range(heads):
            values = e[b, seen, h * group : (h + 1) * group] + p[b, seen]
            logits = values @ key[h] @ query[h, :, 0] / np.sqrt(size)
            weights = np.exp(logits) / np.exp(logits).sum()
            np.testing.assert_allclose(got[b, h * group : (h + 1) * group], weights @ values, atol=1e-5)


def test_self_attention_is_that_of_keras():
    rng = np.random.default_rng(1)
    x, valid = rng.normal(size=(3, T, 8)).astype("float32"), rng.random((3, T)) > 0.4
    valid[:, 0] = True
    own, reference = SelfAttention(8, 2), keras.layers.MultiHeadAttention(2, 4)
    got = own(x, valid)
    own.project[0].bias.assign(rng.normal(size=24))
    reference.build(x.shape, x.shape)
    kernel, bias, merge, last = own.get_weights()
    parts = [part for i in range(3) for part in (kernel[:, 8 * i : 8 * i + 8], bias[8 * i : 8 * i + 8])]
    shapes = [(8, 2, 4), (2, 4)] * 3
    reference.set_weights(
        [*[p.reshape(s) for p, s in zip(parts, shapes, strict=True)], merge.reshape(2, 4, 8), last]
    )
    got = own(x, valid)
    expected = reference(x, x, attention_mask=valid[:, None, :])
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_tempcnn_has_the_weights_of_the_paper_and_one_more_band():
    model = models.build("tempcnn", times=20, channels=12, outputs=9)
    convolutions = (5 * 13 * 64 + 64) + 2 * (5 * 64 * 64 + 64)
    dense = (20 * 64 * 256 + 256) + (256 * 9 + 9)
    statistics = 2 * 12  # mean and standard deviation of each band
    assert model.count_params() == convolutions + dense + 4 * (3 * 64 + 256) + statistics


def test_a_wrong_name_option_or_size_is_named():
    with pytest.raises(ParameterError, match="no model 'ltea': did you mean 'ltae'"):
        models.build("ltea", **SIZES)
    with pytest.raises(ParameterError, match="'lstm' has no option 'unit': did you mean 'units'"):
        models.build("lstm", **SIZES, unit=3)
    with pytest.raises(ParameterError, match="mean has 2 values: expected one a channel, 4"):
        models.build("lstm", **SIZES, mean=[1, 2])
    for name in ("ltae", "transformer"):
        with pytest.raises(ParameterError, match="units is 30, expected a multiple of heads"):
            models.build(name, **SIZES, units=30, heads=4)


def test_an_unreadable_model_is_named(tmp_path):
    with pytest.raises(DataError, match=r"model\.keras: expected a saved model, found no file"):
        models.load(tmp_path / "model.keras")
    (tmp_path / "model.keras").write_bytes(b"not a model")
    with pytest.raises(DataError, match="unreadable"):
        models.load(tmp_path / "model.keras")


def test_describe_lists_every_model():
    table = models.describe(**SIZES)
    assert list(table.index) == models.names("series")
    assert (table["weights"] > 1000).all()
    assert "units=64" in table.loc["lstm", "options"]


@pytest.mark.slow
@pytest.mark.parametrize("name", models.names("series"))
def test_exported_to_onnx_predicts_the_same(name, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    inputs, _ = harness.series()
    model = build(name)
    expected = harness.predict(model, inputs)  # Keras exports only models that were called
    model.export(str(tmp_path / "model.onnx"), format="onnx", verbose=False)
    session = runtime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    feed = {node.name: np.nan_to_num(inputs[node.name]) for node in session.get_inputs()}  # it spreads NaN
    (got,) = session.run(None, feed)
    np.testing.assert_allclose(got, expected, atol=1e-5)
