"""Exports of a Keras model for other engines: kept beside the model, or as a LiteRT file of their own.

What a LiteRT file takes and gives is float32 in every quantisation. In int8, weights and activations are
8-bit integers (Jacob et al. 2018, Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference): weights with a scale a channel, activations with a scale a tensor, taken
from the range that they have on the calibration samples. Band normalisation stays float32, because one scale
for bands of different units would leave some of them a few steps only; so do operations that LiteRT has no
integer kernel for.
"""

import atexit
import contextlib
import copy
import importlib.util
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args
from unittest import mock

import numpy as np

from eolab.core.errors import DataError, ParameterError, check_known, errors_in_one_sentence
from eolab.core.files import replace_folder, write_atomically
from eolab.prediction.engines import Inputs, input_types, inputs_of, needed, taken
from eolab.prediction.silence import quiet
from eolab.prediction.sources import keras_model

FILES = {"onnx": "model.onnx", "openvino": "model.xml", "litert": "model.tflite"}
PACKAGES = {"onnx": ("tf2onnx", "onnx"), "openvino": ("openvino",), "litert": ("ai_edge_litert",)}
IDENTITY_FILE = "exported_from.txt"
ROUNDS = 3  # of simplifying an ONNX graph
Quantisation = Literal["float32", "float16", "int8"]
QUANTISATIONS: tuple[str, ...] = get_args(Quantisation)
Calibration = Iterable[np.ndarray | Inputs] | None
Frozen = Callable[[Any], Any] | None


def folder_of(source: Path | None, engine: str) -> Path | None:
    """Return where the export of a saved model is kept: ``<model>_<engine>/`` beside it."""
    return None if source is None else source.with_name(f"{source.stem}_{engine}")


def existing(source: Path | None, engine: str, fingerprint: str) -> Path | None:
    """Return the export of this very model, None if there is none."""
    folder = folder_of(source, engine)
    if folder is None or not (folder / IDENTITY_FILE).exists():
        return None
    same = (folder / IDENTITY_FILE).read_text() == fingerprint
    return folder / FILES[engine] if same else None


def export(model: Any, source: Path | None, engine: str, fingerprint: str, example: Inputs) -> Path:
    """Export a Keras model quietly; the folder appears in one step, and replaces that of an older model.

    Args:
        model: The model.
        source: Its file; None for a model in memory, whose export goes to a temporary folder.
        engine: ``"onnx"``, ``"openvino"`` or ``"litert"`` (float32).
        fingerprint: Identity of the model.
        example: A batch: a model must have been called once.

    Returns:
        The exported file.

    Raises:
        ParameterError: If the packages are missing or the model cannot be exported.
    """
    for package in PACKAGES[engine]:
        needed(package, engine)
    check_backend(engine)
    if engine == "openvino" and sys.version_info >= (3, 13):  # its converter runs exec("del tensorflow")
        raise ParameterError(
            "OpenVINO's converter of TensorFlow models does not work on Python 3.13 and later: "
            "export on Python 3.11 or 3.12, or use engine='onnx' or 'keras'."
        )
    folder = folder_of(source, engine)
    place = None if folder is None or not os.access(folder.parent, os.W_OK) else folder.parent
    work = Path(tempfile.mkdtemp(prefix=f".{engine}_", dir=place))
    what, remedy = f"This model cannot be exported for engine {engine!r}", "use engine='keras' or 'auto'"
    try:
        with errors_in_one_sentence(what, remedy):
            _write(model, engine, work / FILES[engine], example)
        (work / IDENTITY_FILE).write_text(fingerprint)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    if place is None or folder is None:
        atexit.register(shutil.rmtree, work, ignore_errors=True)
        return work / FILES[engine]
    work.chmod(0o755)
    replace_folder(work, folder)
    return folder / FILES[engine]


def _write(model: Any, engine: str, file: Path, example: Inputs) -> None:
    from eolab.models import fused

    if engine == "litert":
        file.write_bytes(convert_litert(model))
        return
    with quiet(), fused.exported(), _sparingly() if engine == "onnx" else contextlib.nullcontext():
        model(dict(example), training=False)
        try:
            model.export(str(file), format=engine, verbose=False)
        except Exception as error:
            if engine != "openvino" or importlib.util.find_spec("tf2onnx") is None:
                raise
            try:
                _write_through_onnx(model, file, example)
            except Exception:
                raise error from None


def _write_through_onnx(model: Any, file: Path, example: Inputs) -> None:
    """Export for OpenVINO, which reads no loop of TensorFlow.

    ONNX has an operation for an LSTM that gives its last state; of one that gives each state it has a loop,
    which OpenVINO does not read either.
    """
    import openvino

    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        between = Path(folder) / FILES["onnx"]
        _write(model, "onnx", between, example)
        openvino.serialize(openvino.convert_model(between), file)


@contextlib.contextmanager
def _sparingly() -> Iterator[None]:
    """Keep tf2onnx from simplifying a graph for ever, and from copying it before each step.

    It goes on while a round changes anything, and with attention (tf2onnx 1.17) its merging of equal nodes
    finds new ones in each round. The first do nearly all; of RAU-Net eight left more nodes than three. It
    copies the graph, a fifth to a third of an export, to go on without a step that fails: so it does here
    where one has failed without.
    """
    modules = ("tf2onnx.optimizer", "tf2onnx.optimizer.optimizer_base")
    optimizer, base = (importlib.import_module(name) for name in modules)
    simplify, optimize = optimizer.optimize_graph, base.GraphOptimizerBase.optimize

    def bounded(self: Any, graph: Any, iteration: int) -> Any:
        return optimize(self, graph, iteration) if iteration < ROUNDS else graph

    def quick(graph: Any, catch_errors: bool = True, optimizers: Any = None) -> Any:
        copied = copy.deepcopy(graph)
        try:
            return simplify(graph, False, optimizers)
        except Exception:
            return simplify(copied, catch_errors, optimizers)

    with (
        mock.patch.object(base.GraphOptimizerBase, "optimize", bounded),
        mock.patch.object(optimizer, "optimize_graph", quick),
    ):
        yield


# === LiteRT ===


def export_litert(
    source: Any,
    path: str | Path,
    quantisation: Quantisation = "float32",
    calibration: Calibration = None,
    freeze: Frozen = None,
) -> Path:
    """Write a trained model as a LiteRT file, which takes one sample at a time.

    Args:
        source: A Keras model, its file, or a run folder with ``model.keras``.
        path: File to write, ``.tflite``.
        quantisation: ``"float32"``; ``"float16"``: weights in half the room; ``"int8"``: a quarter of it,
            and integers compute. Inputs and outputs are float32 in all three.
        calibration: Samples of the training split for ``"int8"``, a hundred or so: images (H, W, C), or the
            model's inputs by name without the batch axis.
        freeze: :func:`frozen`, or the same remembered, for several files of one model.

    Returns:
        The file.

    Raises:
        DataError: If there is no model.
        ParameterError: If the quantisation is unknown, calibration is missing or does not fit the model, or
            the model cannot be converted.

    Example:
        >>> export_litert(run_folder, "model_int8.tflite", "int8", calibration=store["image"][train_rows])
        >>> predictor = prediction.load("model_int8.tflite")
    """
    path = Path(path)
    if path.suffix != ".tflite":
        raise ParameterError(f"{path} does not end in .tflite: name the file so that it is known again.")
    content = convert_litert(keras_model(source), quantisation, calibration, freeze)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)
    return path


def convert_litert(
    model: Any, quantisation: str = "float32", calibration: Calibration = None, freeze: Frozen = None
) -> bytes:
    """Return a Keras model as the content of a LiteRT file; see :func:`export_litert`."""
    check_known(quantisation, QUANTISATIONS, f"There is no quantisation {quantisation!r}")
    check_backend("litert")
    samples = []
    if quantisation == "int8":
        if calibration is None:
            raise ParameterError("int8 needs samples of the training split: give them as calibration.")
        samples = list(_samples(model, calibration))
        if not samples:
            raise DataError("No sample to calibrate int8 with: give some of the training split.")
    what = f"This model cannot be converted to LiteRT {quantisation}"
    with errors_in_one_sentence(what, "use another quantisation or another engine"), quiet():
        return _converted(model, (freeze or frozen)(model), quantisation, samples)


def check_backend(engine: str) -> None:
    """Refuse to export a model where Keras does not run on TensorFlow.

    Raises:
        ParameterError: If it runs on another backend.
    """
    backend = importlib.import_module("keras").backend.backend()
    if backend != "tensorflow":
        raise ParameterError(
            f"The export for engine {engine!r} is made on TensorFlow, and Keras runs on {backend} here: "
            "load the model once with KERAS_BACKEND=tensorflow, or use engine='keras'."
        )


def _samples(model: Any, calibration: Iterable[np.ndarray | Inputs]) -> Iterator[dict[str, np.ndarray]]:
    """Yield samples as batches of one, in the types of the model."""
    dtypes, shapes = input_types(model)
    for sample in calibration:
        named = sample if isinstance(sample, Mapping) else {next(iter(dtypes)): sample}
        batch = taken({name: np.asarray(values)[None] for name, values in named.items()}, dtypes, shapes)
        yield {name: values.astype(dtypes[name]) for name, values in batch.items()}


def _converted(model: Any, module: Any, quantisation: str, samples: list[dict[str, np.ndarray]]) -> bytes:
    import tensorflow as tf

    function = module.predict.get_concrete_function()
    if quantisation == "int8" and _loops(function):  # the calibration of a loop ends the whole process
        raise ParameterError(
            "This model loops over the steps of its series, which int8 cannot: use float16, or, where the "
            "network has that option, build it with unroll=True."
        )
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
    if quantisation == "float32":
        return bytes(converter.convert())
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantisation == "float16":
        converter.target_spec.supported_types = [tf.float16]
        return bytes(converter.convert())
    converter.representative_dataset = lambda: iter(samples)
    return _integer(converter, converter.representative_dataset, _float_scopes(model))


def _loops(function: Any) -> bool:
    """Return whether a function of TensorFlow has a loop."""
    graph = function.graph.as_graph_def()
    nodes = [*graph.node, *(node for one in graph.library.function for node in one.node_def)]
    return any(node.op in ("While", "StatelessWhile", "NextIteration") for node in nodes)


def frozen(model: Any) -> Any:
    """Return a module whose function ``predict`` is the model for one sample, weights as constants.

    Constants let the converter join layers and quantise weights, which it does not with variables.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    inputs = inputs_of(model)
    order = list(inputs)
    signature = [tf.TensorSpec((1, *inputs[name].shape[1:]), inputs[name].dtype, name) for name in order]

    def of_model(*values: Any) -> Any:
        given = dict(zip(order, values, strict=True))
        found = model(given if isinstance(model.input, dict) else list(values), training=False)
        return found if isinstance(found, dict) else {"probabilities": found}

    traced = tf.function(of_model, input_signature=signature).get_concrete_function()
    names = sorted(traced.structured_outputs)
    constant = convert_variables_to_constants_v2(traced)

    def predict(*values: Any) -> dict[str, Any]:
        return dict(zip(names, constant(*values), strict=True))

    module = tf.Module()
    module.predict = tf.function(predict, input_signature=signature)
    return module


def _float_scopes(model: Any) -> list[str]:
    """Return the names of the layers that normalise bands, nested models included."""
    from eolab.models.layers import Normalize

    return [layer.name for layer in model._flatten_layers() if isinstance(layer, Normalize)]


def _integer(converter: Any, dataset: Callable[[], Iterator[Any]], scopes: list[str]) -> bytes:
    """Return an int8 model whose operations under some scopes stay float32."""
    import tensorflow as tf

    kinds = tf.lite.experimental
    debugger = kinds.QuantizationDebugger(converter=converter, debug_dataset=dataset)
    inside = re.compile("|".join(rf"(?:^|/){re.escape(scope)}(?:_\d+)?/" for scope in scopes) or "(?!)")
    tensors = tf.lite.Interpreter(model_content=debugger.calibrated_model).get_tensor_details()
    kept = [tensor["name"] for tensor in tensors if inside.search(tensor["name"])]
    debugger.options = kinds.QuantizationDebugOptions(denylisted_nodes=kept)
    return bytes(debugger.get_nondebug_quantized_model())
