"""What computes the probabilities: Keras, ONNX Runtime, OpenVINO, LiteRT, or a scikit-learn baseline."""

import abc
import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np

from eolab.core.errors import ParameterError, check_known
from eolab.prediction.silence import quiet

Inputs = Mapping[str, np.ndarray]
Precision = Literal["float32", "bfloat16"]
Shape = tuple[int | None, ...]

TOLERANCE: dict[str, float] = {"float32": 1e-4, "bfloat16": 0.05}
"""Largest difference of a probability to Keras's that an engine may show, by precision."""

ENGINES = ("keras", "onnx", "openvino")
"""Engines that ``"auto"`` tries; ``"litert"`` takes one sample at a time and is used only where named."""
TOGETHER = (32, 128)
"""Least and most series of pixels that a thread predicts at once, where there are as many."""
OUTPUT = "mask"
"""The output that is returned unless another is named."""


class Engine(abc.ABC):
    """Computes one batch.

    Attributes:
        name: One of :data:`ENGINES`, ``"litert"`` or ``"sklearn"``.
        dtypes: Data type of each input by name.
        shapes: Shape of a sample of each input by name, None for axes that are open; empty if all are.
        fixed_batch: Whether every size of a batch is compiled anew, so that batches are better padded.
        takes_nan: Whether NaN at invalid dates is safe. In exported models it is not: converters write a
            choice between two values as sums of products.
    """

    name: str
    dtypes: dict[str, Any]
    shapes: dict[str, Shape]
    fixed_batch = False
    takes_nan = False

    @abc.abstractmethod
    def __call__(self, inputs: Inputs) -> np.ndarray:
        """Return probabilities (n, …, K) of a batch whose arrays have the engine's types."""


class KerasEngine(Engine):
    """Keras's own prediction, compiled as a graph; XLA only where :mod:`eolab.training` would use it.

    Args:
        model: The model.
        output: Which of its outputs to return, for models with outputs by name.
    """

    name = "keras"
    takes_nan = True

    def __init__(self, model: Any, output: str) -> None:
        import keras

        from eolab.training.setup import jit_compile

        self.model = model
        self.dtypes, self.shapes = input_types(model)
        named = model.output if isinstance(model.output, dict) else {}
        self.output = chosen(list(named), output) if named else None
        self.fixed_batch = keras.backend.backend() == "jax"
        model.jit_compile = jit_compile("auto")

    def __call__(self, inputs: Inputs) -> np.ndarray:
        """Return probabilities of a batch."""
        found = on_batch(self.model)(dict(inputs))
        return np.asarray(found if self.output is None else found[self.output])


def on_batch(model: Any) -> Callable[[Inputs], Any]:
    """Return the function that predicts a batch with a Keras model as it is at each call.

    On JAX it is the compiled network alone: Keras's own puts all weights back into the model after every
    batch, which took half of the time of a ResNet-50 on an NVIDIA H200 (``benchmarks/gpu.py``).
    """
    import keras

    if keras.backend.backend() != "jax":
        return model.predict_on_batch
    if not hasattr(model, "predict_alone"):
        import jax

        @jax.jit
        def step(values: Any, inputs: Any) -> Any:
            with keras.StatelessScope(zip(model.variables, values, strict=True)):
                return model(inputs, training=False)

        def predict(inputs: Inputs) -> Any:
            values = [variable.value for variable in model.variables]
            return jax.tree.map(np.asarray, step(values, dict(inputs)))

        model.predict_alone = predict  # compiled once, however often the model is asked
    return model.predict_alone


class OnnxEngine(Engine):
    """ONNX Runtime on the processor.

    Series of pixels are small and many: each thread predicts some of a batch alone, since threads that share
    each small product mostly wait for each other (an LSTM is 1.5 times as fast so). A few series, see
    :data:`TOGETHER`, are predicted by one thread.

    Args:
        file: The exported model.
        threads: Threads that compute.
        output: Which of its outputs to return, where it has several.
    """

    name = "onnx"

    def __init__(self, file: Path, threads: int, output: str) -> None:
        runtime = needed("onnxruntime", "onnx")

        def session(threads: int) -> Any:
            options = runtime.SessionOptions()
            options.intra_op_num_threads = threads
            options.inter_op_num_threads = 1
            options.log_severity_level = 3  # errors
            # waiting threads that spin halve the speed as soon as anything else runs on the same cores
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            return runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

        self.session, self.pool, self.threads = session(threads), None, threads
        types = {"tensor(float)": np.float32, "tensor(bool)": np.bool_, "tensor(int32)": np.int32}
        inputs = self.session.get_inputs()
        self.dtypes = {i.name: np.dtype(types.get(i.type, np.float32)) for i in inputs}
        self.shapes = {i.name: tuple(a if isinstance(a, int) else None for a in i.shape[1:]) for i in inputs}
        self.output = chosen([o.name for o in self.session.get_outputs()], output)
        if threads > 1 and all(len(shape) <= 2 for shape in self.shapes.values()):  # dates and bands
            self.session, self.pool = session(1), ThreadPoolExecutor(threads, "onnx")

    def __call__(self, inputs: Inputs) -> np.ndarray:
        """Return probabilities of a batch."""
        if self.pool is None:
            return self._run(inputs)
        size, (least, most) = len(next(iter(inputs.values()))), TOGETHER
        together = min(most, max(least, -(-size // self.threads)))
        rows = [slice(start, start + together) for start in range(0, size, together)]
        parts = [{name: values[some] for name, values in inputs.items()} for some in rows]
        return np.concatenate(list(self.pool.map(self._run, parts)))

    def _run(self, inputs: Inputs) -> np.ndarray:
        return np.asarray(self.session.run([self.output], dict(inputs))[0])


class OpenvinoEngine(Engine):
    """OpenVINO on the processor.

    Args:
        file: The exported model, XML.
        threads: Threads that compute.
        output: Which of its outputs to return, where it has several.
        precision: Precision of the products; bfloat16 is fast where the processor has AMX.
    """

    name = "openvino"

    def __init__(self, file: Path, threads: int, output: str, precision: Precision) -> None:
        openvino = needed("openvino", "openvino")
        hint = {"float32": "f32", "bfloat16": "bf16"}[precision]
        core = openvino.Core()
        if precision == "bfloat16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise ParameterError("This processor does not compute in bfloat16: use precision='float32'.")
        options = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads}
        self.model = core.compile_model(str(file), "CPU", options)
        self.dtypes = {i.any_name: np.dtype(i.element_type.to_dtype()) for i in self.model.inputs}
        self.shapes = {
            i.any_name: tuple(None if axis.is_dynamic else axis.get_length() for axis in i.partial_shape)[1:]
            for i in self.model.inputs
        }
        every = [min(o.names, default=str(number)) for number, o in enumerate(self.model.outputs)]
        # inputs that are not used go through, and so do states within a layer that is written out over dates
        names = [name for name in every if name not in self.dtypes and "/" not in name]
        self.output = every.index(chosen(names, output))

    def __call__(self, inputs: Inputs) -> np.ndarray:
        """Return probabilities of a batch."""
        return np.array(self.model(dict(inputs))[self.output])


class LitertEngine(Engine):
    """LiteRT on the processor, one sample at a time, as on a small device; starts without TensorFlow.

    Args:
        file: The exported model, see :func:`eolab.prediction.export_litert`.
        threads: Threads that compute.
        output: Which of its outputs to return, where it has several.
    """

    name = "litert"

    def __init__(self, file: Path, threads: int, output: str) -> None:
        interpreter = needed("ai_edge_litert.interpreter", "litert")
        with quiet():
            self.model = interpreter.Interpreter(model_path=str(file), num_threads=threads)
            self.run = self.model.get_signature_runner()  # makes room for the tensors
        inputs = self.run.get_input_details()
        self.dtypes = {name: np.dtype(details["dtype"]) for name, details in inputs.items()}
        self.shapes = {
            name: tuple(int(axis) if axis > 0 else None for axis in details["shape_signature"][1:])
            for name, details in inputs.items()
        }
        self.output = chosen(list(self.run.get_output_details()), output)

    def __call__(self, inputs: Inputs) -> np.ndarray:
        """Return probabilities of a batch."""
        parts = [self.run(**sample)[self.output] for sample in single_samples(inputs)]  # (1, …, K) each
        return np.concatenate(parts)


class SklearnEngine(Engine):
    """A baseline of :mod:`eolab.tasks.baselines`, which takes the inputs as they are."""

    name = "sklearn"
    takes_nan = True

    def __init__(self, baseline: Any) -> None:
        self.baseline = baseline
        self.dtypes = {"image": np.dtype(np.float32), "valid": np.dtype(bool)}
        self.shapes: dict[str, Shape] = {}

    def __call__(self, inputs: Inputs) -> np.ndarray:
        """Return probabilities of a batch."""
        return np.asarray(self.baseline.predict_on_batch(inputs))


EXPORTED: dict[str, Callable[..., Engine]] = {
    engine.name: engine for engine in (OnnxEngine, OpenvinoEngine, LitertEngine)
}
"""Engines that compute exports of a Keras model, by name."""


def single_samples(inputs: Inputs) -> list[dict[str, np.ndarray]]:
    """Return the samples of a batch as batches of one."""
    count = len(next(iter(inputs.values())))
    return [{name: values[n : n + 1] for name, values in inputs.items()} for n in range(count)]


def taken(inputs: Inputs, dtypes: Mapping[str, Any], shapes: Mapping[str, Shape]) -> dict[str, np.ndarray]:
    """Return the arrays that a model takes of those that are given.

    Args:
        inputs: Arrays (N, …) by name.
        dtypes: Data type of each input of the model by name.
        shapes: Shape of a sample of each input by name, None for axes that are open.

    Raises:
        ParameterError: If an input is missing or has another shape, or if lengths differ.
    """
    missing = [name for name in dtypes if name not in inputs]
    if missing:
        raise ParameterError(f"The model takes {', '.join(dtypes)}: {', '.join(missing)} is missing.")
    arrays = {name: np.asarray(inputs[name]) for name in dtypes}
    sizes = {name: len(values) for name, values in arrays.items()}
    if len(set(sizes.values())) != 1 or 0 in sizes.values():
        raise ParameterError(f"Arrays to predict must have one length, at least 1: found {sizes}.")
    for name, expected in shapes.items():
        found = arrays[name].shape
        same = [axis in (None, size) for axis, size in zip(expected, found[1:], strict=False)]
        if len(found) != 1 + len(expected) or not all(same):
            shape = ", ".join("any" if axis is None else str(axis) for axis in expected)
            raise ParameterError(
                f"The model takes {name} of shape (N, {shape}), found {found}: cut or resample "
                "them to that shape, or load a model that was trained on theirs."
            )
    return arrays


def chosen(names: Sequence[str], output: str) -> str:
    """Return the output to take: the one of this name, or the only one where none was named.

    Raises:
        ParameterError: If there is no such output.
    """
    if output == OUTPUT and len(names) == 1:
        return names[0]
    check_known(output, names, f"The model has no output {output!r}")
    return output


def needed(module: str, engine: str) -> Any:
    """Import a module of an optional package.

    Raises:
        ParameterError: If it is not installed.
    """
    if module == "openvino":
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # sends usage data
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime sends usage data too, since 1.29
    try:
        return importlib.import_module(module)
    except ImportError:
        package = module.partition(".")[0].replace("_", "-")
        raise ParameterError(
            f"Engine {engine!r} needs the package {package}, which is not installed: "
            "install it with  pip install 'eolab[fast]'  or use engine='keras'."
        ) from None


def inputs_of(model: Any) -> dict[str, Any]:
    """Return the symbolic inputs of a Keras model by name."""
    return dict(model.input) if isinstance(model.input, dict) else {t.name: t for t in model.inputs}


def input_types(model: Any) -> tuple[dict[str, Any], dict[str, Shape]]:
    """Return the data type and the shape of a sample of each input of a Keras model by name."""
    inputs = inputs_of(model)
    dtypes = {name: np.dtype(str(tensor.dtype)) for name, tensor in inputs.items()}
    return dtypes, {name: tuple(tensor.shape[1:]) for name, tensor in inputs.items()}


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
