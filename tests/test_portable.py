"""Networks of images: engines by output, LiteRT in three quantisations, the table of portable exports."""

import os
import subprocess
import sys
from unittest import mock

import keras
import model_harness as harness
import numpy as np
import pytest
from scipy import ndimage

from eolab import models, prediction
from eolab.core.errors import DataError, ParameterError
from eolab.models.images import segformer
from eolab.models.layers import Normalize
from eolab.prediction import engines, exports, loading, portable

SIZE, BANDS, CLASSES = 32, 4, 2
MEAN, STD = (1.0, 200.0, -3.0, 0.04), (0.5, 50.0, 0.5, 0.01)
pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="exports are made on TensorFlow"
)
converts = pytest.mark.skipif(
    sys.version_info >= (3, 13), reason="OpenVINO's converter does not work on Python 3.13 (its own exec)"
)


def network(seed=0):
    """A U-Net of two levels: pooling, transposed convolution, bilinear resizing, three outputs."""
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    image = keras.Input((SIZE, SIZE, BANDS), name="image")

    def block(x, filters):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        return layers.ReLU()(layers.BatchNormalization()(x))

    top = block(Normalize(MEAN, STD, name="normalize")(image), 8)
    middle = block(layers.MaxPooling2D(2)(top), 16)
    deep = block(layers.MaxPooling2D(2)(middle), 32)
    up = block(layers.Concatenate()([middle, layers.Conv2DTranspose(16, 2, 2)(deep)]), 16)
    up = layers.Concatenate()([top, layers.UpSampling2D(2, interpolation="bilinear")(up)])
    features = block(up, 8)
    pooled = layers.AveragePooling2D(2)(features)
    return keras.Model(
        {"image": image},
        {
            "mask": layers.Softmax(name="mask")(layers.Conv2D(CLASSES, 1)(features)),
            "half": layers.Softmax(name="half")(layers.Conv2D(CLASSES, 1)(pooled)),
            "patch": layers.Softmax(name="patch")(
                layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(deep))
            ),
        },
    )


def images(count, seed=0):
    """Smooth images whose bands differ in unit by four orders of magnitude, as bands and terrain do."""
    noise = np.random.default_rng(seed).normal(size=(count, SIZE, SIZE, BANDS))
    smooth = ndimage.gaussian_filter(noise, (0, 2, 2, 0)) * 7
    return (smooth * STD + MEAN).astype(np.float32)


def reference(model, image, output="mask"):
    """Keras called on all images at once, nothing of eolab in between."""
    return np.array(model({"image": np.asarray(image)}, training=False)[output])


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    model = network()
    model.save(folder / "model.keras")
    return folder, model


@pytest.fixture(scope="module")
def table(saved, tmp_path_factory):
    folder = tmp_path_factory.mktemp("portable")
    found = prediction.portable_table(saved[0], images(3, 1), images(8, 2), folder, runs=2, progress=False)
    return found.set_index(["engine", "precision"]), folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "engine",
    [
        "keras",
        "litert",
        pytest.param("onnx", marks=pytest.mark.slow),
        pytest.param("openvino", marks=[pytest.mark.slow, converts]),
    ],
)
def test_engines_return_the_output_named(saved, engine):
    """Without a name they return the mask, as the exports of the table do."""
    folder, model = saved
    predictor = prediction.load(folder, engine, batch_size=2, output="patch")
    image = images(3)
    found = predictor({"image": image})
    assert predictor.engine == engine
    assert found.dtype == np.float32
    expected = reference(model, image, "patch")
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= prediction.TOLERANCE["float32"]


@pytest.mark.slow
def test_mask_is_the_output_unless_another_is_named(saved):
    image = images(2)
    assert prediction.load(saved[0])({"image": image}).shape == (2, SIZE, SIZE, CLASSES)
    with pytest.raises(ParameterError, match="no output 'masks': did you mean 'mask'"):
        prediction.load(saved[0], output="masks")
    first = prediction.load(saved[0]).fingerprint
    assert prediction.load(saved[0], output="half").fingerprint != first


def test_batches_are_bounded_by_bytes(saved):
    predictor = prediction.load(saved[0])
    assert predictor.batch_size == 1024  # 16 kB a sample: 64 MB would hold more
    large = keras.Input((128, 128, 23), name="image")
    mask = keras.layers.Conv2D(CLASSES, 1, activation="softmax")(large)
    predictor = prediction.load(keras.Model({"image": large}, {"mask": mask}))
    assert predictor.batch_size == 42  # 128 · 128 · 23 · 4 bytes = 1.507 MB
    assert prediction.load(saved[0], batch_size=7).batch_size == 7


def test_images_of_another_size_are_refused(saved):
    predictor = prediction.load(saved[0])
    with pytest.raises(
        ParameterError,
        match=r"takes image of shape \(N, 32, 32, 4\), found \(1, 32, 40, 4\): cut or resample",
    ):
        predictor({"image": np.zeros((1, SIZE, 40, BANDS), np.float32)})


@pytest.mark.slow
def test_missing_pixels_mean_the_same_in_litert_or_are_refused(saved):
    """The network fills NaN with the band's mean; an export that cannot says so."""
    image = images(2)
    image[0, 4:9, 4:9] = np.nan
    expected = reference(saved[1], image)
    assert np.isfinite(expected).all()
    found = prediction.load(saved[0], "litert")({"image": image})
    np.testing.assert_allclose(found, expected, atol=1e-4)

    class Blind(engines.LitertEngine):
        def __call__(self, inputs):
            return super().__call__(inputs) + 0 * inputs["image"].sum()

    predictor = prediction.load(saved[0], "litert")
    predictor._compute.__class__ = Blind
    predictor({"image": images(2)})
    with pytest.raises(DataError, match="inputs have NaN, which engine 'litert' does not take"):
        predictor({"image": image})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("quantisation", "bytes_a_weight", "mean_difference"),
    [("float32", 4, 1e-6), ("float16", 2, 1e-3), ("int8", 1, 0.01)],
)
def test_litert_files_are_small_and_agree(saved, table, quantisation, bytes_a_weight, mean_difference):
    model, path = saved[1], table[1] / f"model_{quantisation}.tflite"
    weights = model.count_params()
    assert weights * bytes_a_weight < path.stat().st_size < weights * bytes_a_weight + 25_000
    predictor = prediction.load(path)
    assert predictor.engine == "litert"
    assert predictor._compute.dtypes == {"image": np.float32}
    image = images(4, 6)
    difference = np.abs(predictor({"image": image}) - reference(model, image))
    assert difference.mean() < mean_difference
    if quantisation != "float32":
        assert difference.max() > 1e-6, "weights are rounded"


@pytest.mark.slow
def test_int8_computes_with_integers_and_normalises_in_float32(saved, table):
    """One scale for bands of different units would leave the fourth band, of 0.04, a single step."""
    model, path = saved[1], table[1] / "model_int8.tflite"
    tensors = engines.LitertEngine(path, 1, engines.OUTPUT).model.get_tensor_details()
    normalised = [t for t in tensors if "/normalize" in t["name"] and t["shape"].size == 4]
    assert {t["dtype"] for t in normalised} <= {np.float32, np.bool_}
    convolutions = [t for t in tensors if "convolution" in t["name"] and t["shape"].size == 4]
    assert len(convolutions) >= 10  # seven weights and as many results
    assert {t["dtype"] for t in convolutions} == {np.int8}
    image = images(4, 6)
    moved = image.copy()
    moved[..., 3] += STD[3]  # 0.01, where the second band reaches 500
    change = reference(model, moved) - reference(model, image)
    predictor = prediction.load(path)
    found = predictor({"image": moved}) - predictor({"image": image})
    assert np.corrcoef(change.ravel(), found.ravel())[0, 1] > 0.9


def test_models_of_series_become_litert_too(tmp_path):
    image = keras.Input((6, 3), name="image")
    day = keras.Input((6,), name="day")
    hidden = keras.layers.Concatenate()([image, day[..., None] / 365.0])
    hidden = keras.layers.Flatten()(keras.layers.Conv1D(4, 3, activation="relu")(hidden))
    model = keras.Model([image, day], keras.layers.Dense(4, activation="softmax")(hidden))
    model.save(tmp_path / "model.keras")
    path = prediction.export_litert(tmp_path, tmp_path / "a" / "series.tflite")
    assert [file.name for file in path.parent.iterdir()] == ["series.tflite"]
    rng = np.random.default_rng(0)
    inputs = {"image": rng.random((5, 6, 3), np.float32), "day": rng.random((5, 6), np.float32) * 300}
    expected = np.array(model([inputs["image"], inputs["day"]], training=False))
    np.testing.assert_allclose(prediction.load(path)(inputs), expected, atol=1e-5)


def test_a_simplification_that_fails_is_left_out_of_an_onnx_export(tmp_path, monkeypatch):
    """It has changed the graph by then: the others begin again, on a copy."""
    runtime = pytest.importorskip("onnxruntime")
    optimizer = pytest.importorskip("tf2onnx.optimizer")
    tried = []

    class Fails(optimizer.IdentityOptimizer):
        def optimize(self, graph, iteration):
            tried.append(graph)
            for node in graph.get_nodes():
                graph.remove_node(node.name)
            raise ValueError("an error of tf2onnx")

    steps = dict(optimizer._get_optimizers(), remove_identity=Fails)
    monkeypatch.setattr(optimizer, "_get_optimizers", lambda: steps)
    inputs = keras.Input((4,), name="image")
    model = keras.Model({"image": inputs}, keras.layers.Dense(3)(inputs))
    image = {"image": np.ones((2, 4), np.float32)}
    exports._write(model, "onnx", tmp_path / "model.onnx", image)
    assert len(tried) > 1
    (found,) = runtime.InferenceSession(tmp_path / "model.onnx").run(None, image)
    np.testing.assert_allclose(found, harness.predict(model, image), atol=1e-6)


def test_bad_exports_are_sentences(saved, tmp_path, monkeypatch):
    model, file = saved[1], tmp_path / "m.tflite"
    with pytest.raises(ParameterError, match="no quantisation 'int4': did you mean 'int8'"):
        prediction.export_litert(model, file, "int4")
    with pytest.raises(ParameterError, match="int8 needs samples of the training split"):
        prediction.export_litert(model, file, "int8")
    with pytest.raises(DataError, match="No sample to calibrate"):
        prediction.export_litert(model, file, "int8", [])
    with pytest.raises(ParameterError, match=r"of shape \(N, 32, 32, 4\), found \(1, 1, 32, 32, 4\)"):
        prediction.export_litert(model, file, "int8", [images(1)])
    with pytest.raises(ParameterError, match=r"does not end in \.tflite"):
        prediction.export_litert(model, tmp_path / "m.lite")
    with pytest.raises(DataError, match=r"expected model\.keras"):
        prediction.export_litert(tmp_path, file)
    file.write_bytes(b"no model")
    with pytest.raises(ParameterError, match=r"'litert' cannot run its export .*m\.tflite"):
        prediction.load(file)
    with pytest.raises(ParameterError, match="is for engine 'litert'"):
        prediction.load(file, "onnx")
    with pytest.raises(DataError, match="is not a Keras model"):
        prediction.export_litert(file, tmp_path / "other.tflite")

    def fails(*arguments):
        raise NotImplementedError("no kernel\nfor this")

    monkeypatch.setattr(exports, "_converted", fails)
    with pytest.raises(ParameterError, match=r"cannot be converted to LiteRT float32 .*no kernel for this"):
        prediction.export_litert(model, tmp_path / "other.tflite")
    assert [path.name for path in tmp_path.iterdir()] == ["m.tflite"]


def test_missing_package_names_the_remedy(saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(ParameterError, match=r"package ai-edge-litert.*pip install 'eolab\[fast\]'"):
        prediction.load(saved[0], "litert")


@pytest.mark.slow
def test_litert_files_predict_without_tensorflow(table):
    path = table[1] / "model_int8.tflite"
    code = (
        "import sys, numpy as np; from eolab import prediction;"
        f"found = prediction.load({str(path)!r})({{'image': np.ones((2, {SIZE}, {SIZE}, {BANDS}))}});"
        f"assert found.shape == (2, {SIZE}, {SIZE}, {CLASSES});"
        "assert not {'tensorflow', 'keras', 'jax'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_the_table_measures_what_runs_and_says_why_the_rest_does_not(table, saved):
    rows, folder = table
    assert list(rows.index) == list(portable.CANDIDATES)
    ran = rows[rows["skipped"] == ""]
    assert (
        ran[["size_mb", "max_difference", "mean_difference", "mask_agreement", "milliseconds"]]
        .notna()
        .all(axis=None)
    )
    left = rows[rows["skipped"] != ""]
    assert left["milliseconds"].isna().all()
    assert set(left.index) <= {("openvino", "float32"), ("openvino", "bfloat16")}, left["skipped"].tolist()
    assert rows.loc[("keras", "float32"), "max_difference"] == 0
    for quantisation in prediction.QUANTISATIONS:
        file = folder / f"model_{quantisation}.tflite"
        assert rows.loc[("litert", quantisation), "size_mb"] == file.stat().st_size / 1e6
    image = images(3, 1)
    expected = reference(saved[1], image)
    found = prediction.load(folder / "model_int8.tflite")({"image": image})
    row = rows.loc[("litert", "int8")]
    np.testing.assert_allclose(row["max_difference"], np.abs(found - expected).max(), atol=1e-5)
    np.testing.assert_allclose(row["mean_difference"], np.abs(found - expected).mean(), atol=1e-6)
    equal = (found[..., 1] > found[..., 0]) == (expected[..., 1] > expected[..., 0])
    np.testing.assert_allclose(row["mask_agreement"], equal.mean(), atol=1e-3)


def test_a_mask_of_background_alone_overlaps_in_nothing():
    """It agrees in nearly all pixels, and passed for an export that works."""
    landslide = np.zeros((1, 10, 10))
    landslide[0, 0, :2] = 0.9
    expected = np.stack([1 - landslide, landslide], axis=-1)
    background = np.stack([np.ones_like(landslide), np.zeros_like(landslide)], axis=-1)
    found = portable._agreement(background, expected)
    assert found["mask_agreement"] == 0.98
    assert found["mask_iou"] == 0
    assert portable._agreement(expected, expected)["mask_iou"] == 1
    assert np.isnan(portable._agreement(background, background)["mask_iou"])


@pytest.mark.slow
def test_the_exports_of_the_table_give_masks(table, saved):
    rows, folder = table
    image = images(2, 4)
    masks = prediction.portable_masks(folder, saved[1], image, threads=1)
    ran = rows[rows["skipped"] == ""].index
    assert list(masks) == ["keras", *(f"{engine} {precision}" for engine, precision in ran[1:])]
    expected = reference(saved[1], image)[..., 1]
    for name, probability in masks.items():
        assert probability.shape == (2, SIZE, SIZE)
        limit = 1e-4 if name.endswith("float32") or name == "keras" else 0.1
        assert np.abs(probability - expected).max() < limit, name
    with pytest.raises(DataError, match="has no exports"):
        prediction.portable_masks(folder / "elsewhere", saved[1], image)


@pytest.mark.slow
def test_rows_without_calibration_or_engine_are_skipped_with_the_reason(saved, tmp_path, monkeypatch):
    monkeypatch.setattr(
        portable, "CANDIDATES", (("keras", "float32"), ("onnx", "float32"), ("litert", "int8"))
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    found = prediction.portable_table(saved[1], {"image": images(1)}, None, tmp_path, runs=1, progress=False)
    assert found["skipped"].iloc[0] == ""
    assert "needs the package onnxruntime" in found["skipped"].iloc[1]
    assert "int8 needs samples" in found["skipped"].iloc[2]
    with pytest.raises(DataError, match="No patch to compare"):
        prediction.portable_table(saved[1], images(0), None, tmp_path, progress=False)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="cores are chosen on Linux only")
def test_threads_are_pinned_and_let_go():
    before = os.sched_getaffinity(0)
    with portable.pinned(1):
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "int8", "options"),
    [
        ("rau_net_1", 0.05, {"levels": 2}),
        ("mobilenetv3", 0.05, {}),
        ("segformer_b0", 0.1, {"layers": 1}),
    ],
    ids=["rau_net_1", "mobilenetv3", "segformer_b0"],
)
def test_networks_of_the_study_are_portable(name, int8, options, tmp_path, monkeypatch):
    """With few blocks of every kind, which more of them would only repeat; RAU-Net has all of a U-Net.

    Attention suffers from 8 bits more than convolutions do; tf2onnx alone would never end with RAU-Net.
    """
    ends = segformer.STAGES[:1] + segformer.STAGES[-1:]  # attention to fewer, and to all positions
    with harness.shallow(), mock.patch.object(segformer, "STAGES", ends):
        model = models.build(
            name,
            height=SIZE,
            width=SIZE,
            channels=BANDS,
            outputs=CLASSES,
            mean=MEAN,
            std=STD,
            width_multiplier=0.125,
            head="mask",
            **options,
        )
    image = images(4)
    exported = [row for row in portable.CANDIDATES if row[0] != "openvino"]  # which may be left out
    monkeypatch.setattr(portable, "CANDIDATES", exported)
    rows = prediction.portable_table(model, image, images(8, 1), tmp_path, runs=1, progress=False)
    rows = rows.set_index(["engine", "precision"])
    for quantisation, mean_difference in (("float32", 1e-5), ("float16", 5e-3), ("int8", int8)):
        row = rows.loc[("litert", quantisation)]
        assert row["skipped"] == ""
        assert row["mean_difference"] < mean_difference, quantisation
    assert rows.loc[("onnx", "float32"), "max_difference"] <= prediction.TOLERANCE["float32"]
    if name == "rau_net_1":  # of one network, the fastest engine too, which takes the exports there are
        auto = prediction.load(tmp_path, "auto", example=loading.made_up(model, 2))
        np.testing.assert_allclose(auto({"image": image}), reference(model, image), atol=1e-4)
        assert not set(auto.skipped) - {"openvino"}, auto.skipped
