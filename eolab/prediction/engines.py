"""What computes the probabilities: Keras, ONNX Runtime, OpenVINO, or a scikit-learn baseline."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from eolab.errors import ParameterError

Inputs = Mapping[str, np.ndarray]
Precision = Literal["float32", "bfloat16"]

TOLERANCE: dict[str, float] = {"float32": 1e-4, "bfloat16": 0.05}
"""Largest difference of a probability to Keras's that an engine may show, by precision."""

ENGINES = ("keras", "onnx", "openvino")


class Spec(Protocol):
    """One input of a model."""

    shape: tuple[int | None, ...]
    dtype: str


class Engine(Protocol):
    """Computes one batch.

    Attributes:
        name: One of :data:`ENGINES`, or ``"sklearn"``.
        dtypes: Data type of each input by name.
        fixed_batch: Whether every size of a batch is compiled anew, so that batches are better padded.
        takes_nan: Whether NaN at invalid dates is safe. In exported models it is not: converters write a
            choice between two values as sums of products.
    """

    name: str
    dtypes: dict[str, Any]
    fixed_batch: bool
    takes_nan: bool

    def __call__(self, inputs: Inputs) -> np.ndarray:
        """Return probabilities (n, K) of a batch whose arrays have the engine's types."""


class KerasEngine:
    """Keras's own prediction, compiled as a graph; XLA only where :mod:`eolab.training` would use it."""

    name = "keras"
    takes_nan = True

    def __init__(self, model: Any) -> None:
        import keras

        from eolab.training.setting_up import jit_compile

        self.model = model
        self.dtypes = input_dtypes(model)
        self.fixed_batch = keras.backend.backend() == "jax"
        model.jit_compile = jit_compile("auto")

    def __call__(self, inputs: Inputs) -> np.ndarray:
        """Return probabilities of a batch."""
        return np.asarray(self.model.predict_on_batch(dict(inputs)))


class OnnxEngine:
    """ONNX Runtime on the processor.

    Args:
        file: The exported model.
        threads: Threads that compute.
    """

    name = "onnx"
    fixed_batch = False
    takes_nan = False

    def __init__(self, file: Path, threads: int) -> None:
        runtime = needed("onnxruntime", "onnx")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors
        # waiting threads that spin halve the speed as soon as anything else runs on the same cores
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        types = {"tensor(float)": np.float32, "tensor(bool)": np.bool_, "tensor(int32)": np.int32}
        self.dtypes = {i.name: np.dtype(types.get(i.type, np.float32)) for i in self.session.get_inputs()}

    def __call__(self, inputs: Inputs) -> np.ndarray:
        """Return probabilities of a batch."""
        return np.asarray(self.session.run(None, dict(inputs))[0])


class OpenvinoEngine:
    """OpenVINO on the processor.

    Args:
        file: The exported model, XML.
        threads: Threads that compute.
        precision: Of the products; bfloat16 is fast where the processor has AMX.
    """

    name = "openvino"
    fixed_batch = False
    takes_nan = False

    def __init__(self, file: Path, threads: int, precision: Precision) -> None:
        openvino = needed("openvino", "openvino")
        hint = {"float32": "f32", "bfloat16": "bf16"}[precision]
        core = openvino.Core()
        capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bfloat16" and "BF16" not in capabilities:
            raise ParameterError("This processor does not compute in bfloat16: use precision='float32'.")
        options = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads}
        self.model = core.compile_model(str(file), "CPU", options)
        self.dtypes = {i.any_name: np.dtype(i.element_type.to_dtype()) for i in self.model.inputs}

    def __call__(self, inputs: Inputs) -> np.ndarray:
        """Return probabilities of a batch."""
        return np.array(self.model(dict(inputs))[0])


class SklearnEngine:
    """A baseline of :mod:`eolab.baselines`, which takes the inputs as they are."""

    name = "sklearn"
    fixed_batch = False
    takes_nan = True

    def __init__(self, baseline: Any) -> None:
        self.baseline = baseline
        self.dtypes = {"image": np.dtype(np.float32), "valid": np.dtype(bool)}

    def __call__(self, inputs: Inputs) -> np.ndarray:
        """Return probabilities of a batch."""
        return np.asarray(self.baseline.predict_proba(inputs))


def needed(package: str, engine: str) -> Any:
    """Import an optional package.

    Raises:
        ParameterError: If it is not installed.
    """
    if package == "openvino":
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # sends usage data
    try:
        return __import__(package)
    except ImportError:
        raise ParameterError(
            f"Engine {engine!r} needs the package {package}, which is not installed: "
            "install it with  pip install 'eolab[fast]'  or use engine='keras'."
        ) from None


def input_dtypes(model: Any) -> dict[str, Any]:
    """Return the data type of each input of a Keras model by name."""
    inputs = model.input
    named = inputs if isinstance(inputs, dict) else {tensor.name: tensor for tensor in model.inputs}
    return {name: np.dtype(str(tensor.dtype)) for name, tensor in named.items()}


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
