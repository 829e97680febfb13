"""Predictors: engines agree, exports are cached, errors are sentences."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops
from memory_store import MemoryStore

from eolab import models, prediction
from eolab.core.errors import DataError, ParameterError
from eolab.prediction import engines, exports
from eolab.tasks import baselines

TIMES, BANDS, CLASSES = 6, 3, 4
exported = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="exports are made on TensorFlow"
)


def small_model(seed=0):
    """A convolution along time that leaves invalid dates out."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((TIMES, BANDS), name="image")
    valid = keras.Input((TIMES,), name="valid")
    day = keras.Input((TIMES,), name="day")
    seen = valid[..., None] > 0
    hidden = ops.where(seen, image, ops.zeros_like(image))
    hidden = ops.concatenate([hidden, day[..., None] / 365.0], -1)
    hidden = keras.layers.Conv1D(8, 3, activation="relu", padding="same")(hidden)
    hidden = keras.layers.Flatten()(keras.layers.Dropout(0.5)(hidden))
    inputs = {"image": image, "valid": valid, "day": day}
    return keras.Model(inputs, keras.layers.Dense(CLASSES, activation="softmax")(hidden))


def inputs_of(size, seed=0):
    rng = np.random.default_rng(seed)
    valid = rng.random((size, TIMES)) < 0.7
    image = rng.normal(size=(size, TIMES, BANDS))
    image[~valid] = np.nan
    return {"image": image, "valid": valid, "day": np.tile(np.arange(TIMES) * 30.0, (size, 1))}


def reference(model, inputs):
    """Keras called on all samples at once, nothing of eolab in between."""
    return np.array(model({k: np.asarray(v, np.float32) for k, v in inputs.items()}, training=False))


converts = pytest.mark.skipif(
    sys.version_info >= (3, 13), reason="OpenVINO's converter does not work on Python 3.13 (its own exec)"
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    model = small_model()
    model.save(folder / "model.keras")
    return folder, model


@pytest.mark.slow
@pytest.mark.parametrize(
    "engine",
    ["keras", pytest.param("onnx", marks=exported), pytest.param("openvino", marks=[exported, converts])],
)
def test_engines_agree_with_keras_in_batches_of_any_size(saved, engine):
    folder, model = saved
    predictor = prediction.load(folder, engine, batch_size=16)
    for size in (1, 16, 37):
        inputs = inputs_of(size, seed=size)
        found = predictor(inputs | {"nodata": np.zeros(size)})
        assert found.dtype == np.float32
        assert found.shape == (size, CLASSES)
        assert np.abs(found - reference(model, inputs)).max() <= prediction.TOLERANCE["float32"]
    assert predictor.engine == engine


@pytest.mark.slow
@exported
@pytest.mark.parametrize(
    ("size", "parts"), [(20, [20]), (40, [8, 32]), (130, [65, 65]), (259, [3, 128, 128])], ids=str
)
def test_threads_predict_parts_of_many_series_in_their_order(saved, size, parts):
    folder, model = saved
    inputs, asked = inputs_of(size), []
    predictor = prediction.load(folder, "onnx", batch_size=size, threads=2)
    engine = next(one for one in vars(predictor).values() if isinstance(one, engines.OnnxEngine))
    run = engine._run
    engine._run = lambda inputs: asked.append(len(inputs["image"])) or run(inputs)
    found = predictor(inputs)
    assert sorted(asked) == parts
    assert np.abs(found - reference(model, inputs)).max() <= prediction.TOLERANCE["float32"]


@pytest.mark.slow
@exported
@converts
def test_an_input_that_a_network_does_not_use_is_no_output(tmp_path):
    """Regression: OpenVINO took no TempCNN: the days, which it does not read, came out beside the classes."""
    image, day = keras.Input((BANDS,), name="image"), keras.Input((TIMES,), name="day")
    model = keras.Model({"image": image, "day": day}, keras.layers.Dense(CLASSES)(image))
    model.save(tmp_path / "model.keras")
    inputs = {"image": np.ones((3, BANDS), np.float32), "day": np.zeros((3, TIMES), np.float32)}
    found = prediction.load(tmp_path, "openvino")(inputs)
    np.testing.assert_allclose(found, reference(model, inputs), atol=1e-5)


@exported
@converts
def test_states_within_a_network_that_is_written_out_over_its_dates_are_no_outputs():
    """Regression: OpenVINO took no LSTM with unroll: its states came out beside the probabilities."""
    model = models.build("lstm", times=TIMES, channels=BANDS, outputs=CLASSES, units=4, unroll=True)
    inputs = inputs_of(3) | {"day": np.zeros((3, TIMES), np.float32)}
    found = prediction.load(model, "openvino")(inputs)
    np.testing.assert_allclose(found, reference(model, inputs), atol=1e-5)


def test_fixed_batches_are_padded_and_cut(saved):
    predictor = prediction.load(saved[0], batch_size=16)
    predictor._compute.fixed_batch = True
    inputs = inputs_of(37)
    np.testing.assert_allclose(predictor(inputs), reference(saved[1], inputs), atol=1e-6)


def test_auto_takes_the_fastest_and_says_why(saved):
    predictor = prediction.load(saved[0], "auto", batch_size=64)
    assert set(predictor.timings) | set(predictor.skipped) == set(engines.ENGINES)
    usable = {name: v for name, v in predictor.timings.items() if name not in predictor.skipped}
    assert predictor.engine == max(usable, key=usable.get)


@exported
@converts
def test_auto_skips_engines_that_fail_or_disagree(saved, monkeypatch):
    class Wrong(engines.OnnxEngine):
        def __call__(self, inputs):
            return np.roll(super().__call__(inputs), 1, axis=-1)

    def missing(*arguments, **options):
        raise ParameterError("no such engine here")

    monkeypatch.setitem(engines.EXPORTED, "onnx", Wrong)
    monkeypatch.setitem(engines.EXPORTED, "openvino", missing)
    predictor = prediction.load(saved[0], "auto", batch_size=8)
    assert predictor.engine == "keras"
    assert "differ from Keras" in predictor.skipped["onnx"]
    assert predictor.skipped["openvino"] == "no such engine here"


@pytest.mark.slow
@exported
def test_export_is_kept_and_replaced_when_the_model_changes(tmp_path):
    small_model(1).save(tmp_path / "model.keras")
    first = prediction.load(tmp_path, "onnx")
    file = tmp_path / "model_onnx" / "model.onnx"
    written = file.stat().st_mtime_ns
    prediction.load(tmp_path, "onnx")
    assert file.stat().st_mtime_ns == written
    other = small_model(2)
    other.save(tmp_path / "model.keras")
    second = prediction.load(tmp_path, "onnx")
    inputs = inputs_of(5)
    np.testing.assert_allclose(second(inputs), reference(other, inputs), atol=1e-5)
    assert np.abs(first(inputs) - second(inputs)).max() > 1e-3
    assert first.fingerprint != second.fingerprint
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.keras", "model_onnx"]


@pytest.mark.slow
@exported
def test_cached_export_predicts_without_tensorflow(saved):
    prediction.load(saved[0], "onnx")
    code = (
        "import sys, numpy as np; from eolab import prediction;"
        f"p = prediction.load({str(saved[0])!r}, 'onnx');"
        f"dates = np.ones((2, {TIMES}));"
        f"p({{'image': np.zeros((2, {TIMES}, {BANDS})), 'valid': dates, 'day': dates}});"
        "assert not {'tensorflow', 'keras', 'jax'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@exported
@converts
def test_model_that_cannot_be_exported_says_so(monkeypatch, tmp_path):
    model = small_model()

    def fails(*arguments, **options):
        raise NotImplementedError("no converter\nfor this layer")

    monkeypatch.setattr(model, "export", fails, raising=False)
    with pytest.raises(
        ParameterError, match=r"cannot be exported .*no converter for this layer.*engine='keras'"
    ):
        prediction.load(model, "openvino")
    predictor = prediction.load(model, "auto", batch_size=8)
    assert predictor.engine == "keras"
    assert "no converter" in predictor.skipped["onnx"]


@pytest.mark.slow
@exported
def test_engine_that_cannot_run_or_disagrees_is_refused_when_asked_for(tmp_path, monkeypatch):
    class Wrong(engines.OnnxEngine):
        def __call__(self, inputs):
            return super().__call__(inputs) * np.nan

    class Broken:
        def __init__(self, *arguments):
            raise RuntimeError("No Op registered")

    small_model().save(tmp_path / "model.keras")
    monkeypatch.setitem(engines.EXPORTED, "onnx", Wrong)
    for _ in range(2):  # a refused export is not taken from the cache the next time
        with pytest.raises(ParameterError, match=r"'onnx' differ from Keras's by nan"):
            prediction.load(tmp_path, "onnx", batch_size=8)
    monkeypatch.setitem(engines.EXPORTED, "onnx", Broken)
    with pytest.raises(ParameterError, match=r"cannot run its export .*No Op registered"):
        prediction.load(tmp_path, "onnx", batch_size=8)
    assert [file.name for file in tmp_path.iterdir()] == ["model.keras"]


@exported
def test_missing_package_names_the_remedy(monkeypatch, saved):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ParameterError, match=r"pip install 'eolab\[fast\]'"):
        prediction.load(saved[0], "onnx")


def test_model_in_memory_and_its_fingerprint():
    model = small_model()
    predictor = prediction.load(model, batch_size=8)
    inputs = inputs_of(9)
    np.testing.assert_allclose(predictor(inputs), reference(model, inputs), atol=1e-6)
    before = predictor.fingerprint
    assert prediction.load(model).fingerprint == before
    model.layers[-1].bias.assign_add(np.ones(CLASSES, np.float32))
    assert prediction.load(model).fingerprint != before


def test_baseline_has_its_own_engine(tmp_path):
    inputs = inputs_of(60)
    label = np.arange(60) % CLASSES
    baseline = baselines.build("series_classification", "random_forest", classes=CLASSES, trees=5)
    baseline.fit(MemoryStore(inputs | {"label": label}), np.arange(len(label)))
    baseline.save(tmp_path / "model.joblib")
    predictor = prediction.load(tmp_path, "auto", batch_size=17)
    assert predictor.engine == "sklearn"
    np.testing.assert_allclose(predictor(inputs), baseline.predict_on_batch(inputs), atol=1e-6)
    assert predictor.fingerprint


def test_bad_calls_are_sentences(saved, tmp_path):
    with pytest.raises(DataError, match=r"expected model.keras or model.joblib"):
        prediction.load(tmp_path)
    with pytest.raises(ParameterError, match="did you mean 'onnx'"):
        prediction.load(saved[0], "onx")
    (tmp_path / "model.keras").write_bytes(b"no model")
    with pytest.raises(DataError, match="expected a saved model, found an unreadable file"):
        prediction.load(tmp_path)
    predictor = prediction.load(saved[0])
    inputs = inputs_of(4)
    with pytest.raises(ParameterError, match="day is missing"):
        predictor({name: inputs[name] for name in ("image", "valid")})
    with pytest.raises(ParameterError, match="one length"):
        predictor({**inputs, "day": inputs["day"][:3]})
    with pytest.raises(ParameterError, match=r"shape \(N.*cut or resample them to that shape, or load"):
        predictor({**inputs, "image": inputs["image"][..., :1]})


@exported
def test_exporting_prints_nothing(tmp_path, capfd):
    prediction.load(small_model(), "onnx")
    with exports.quiet():
        os.write(2, b"from C++")
        print("from Python")
    out, err = capfd.readouterr()
    assert out == ""
    assert "from" not in err
    os.write(2, b"heard again")
    assert "heard again" in capfd.readouterr().err


@exported
@converts
def test_bfloat16_of_openvino_is_near_or_refused(saved):
    inputs = inputs_of(50)
    try:
        predictor = prediction.load(saved[0], "openvino", precision="bfloat16")
    except ParameterError as error:
        pytest.skip(str(error))
    difference = np.abs(predictor(inputs) - reference(saved[1], inputs)).max()
    assert difference <= prediction.TOLERANCE["bfloat16"]
    assert predictor.fingerprint != prediction.load(saved[0], "openvino").fingerprint


@pytest.mark.slow
@exported
def test_a_value_that_is_missing_at_a_valid_date_is_the_mean_in_every_engine(tmp_path):
    """Regression: an index without a value ended a map on ONNX Runtime, which does not take NaN."""
    names, mean = ["B04", "B08", "NDVI"], [0.1, 0.3, 0.5]
    shape = {"channels": BANDS, "outputs": CLASSES, "times": TIMES, "mean": mean, "std": [0.1] * BANDS}
    models.build("tempcnn", **shape, filters=4).save(tmp_path / "model.keras")
    statistics = {"names": names, "mean": mean, "std": [0.1] * 3, "low": [-9.0] * 3, "high": [9.0] * 3}
    (tmp_path / "task.json").write_text(json.dumps({"channels": {"image": statistics}}))
    inputs = inputs_of(12)
    inputs["image"][::2, :, 2] = np.nan
    filled = inputs | {"image": np.where(np.isnan(inputs["image"]), mean, inputs["image"])}
    expected = prediction.load(tmp_path)(filled)
    for engine in ("keras", "onnx"):
        np.testing.assert_allclose(prediction.load(tmp_path, engine)(inputs), expected, atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="about the other backends")
def test_other_backends_say_how_to_export(saved):
    with pytest.raises(ParameterError, match="load the model once with KERAS_BACKEND=tensorflow"):
        prediction.load(saved[0], "onnx")
