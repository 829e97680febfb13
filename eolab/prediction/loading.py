"""From a saved model to its predictor: exports on demand, comparison with Keras, the fastest engine."""

from __future__ import annotations

import shutil
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from eolab.core import files
from eolab.core.errors import DataError, EolabError, ParameterError, did_you_mean
from eolab.prediction import benchmark, exports
from eolab.prediction.engines import (
    ENGINES,
    OUTPUT,
    TOLERANCE,
    Engine,
    Inputs,
    KerasEngine,
    LitertEngine,
    OnnxEngine,
    OpenvinoEngine,
    Precision,
    SklearnEngine,
    cores,
    input_dtypes,
)
from eolab.prediction.predictor import Predictor
from eolab.prediction.silence import reason
from eolab.prediction.sources import resolve

KNOWN = (*ENGINES, "litert", "auto")


@runtime_checkable
class Baseline(Protocol):
    """A saved baseline: an estimator that gives class probabilities of arrays."""

    estimator: Any

    def predict_on_batch(self, inputs: Inputs) -> np.ndarray:
        """Return class probabilities (N, K)."""


def load(
    source: Any,
    engine: Literal["keras", "onnx", "openvino", "litert", "auto"] = "keras",
    *,
    batch_size: int | None = None,
    threads: int | None = None,
    precision: Precision = "float32",
    example: Inputs | None = None,
    output: str = OUTPUT,
) -> Predictor:
    """Return the predictor of a trained model.

    In float32 all engines agree with Keras to :data:`TOLERANCE` (a probability differs by 1e-4 at most); with
    ``"auto"`` an engine that does not is not taken.

    Args:
        source: A run folder with ``model.keras`` or ``model.joblib``, such a file, a Keras model, a baseline
            of :mod:`eolab.tasks.baselines` (whose engine is always ``sklearn``), or a ``.tflite`` file (whose
            engine is always ``litert``).
        engine: ``"auto"`` times Keras, ONNX Runtime and OpenVINO, where installed, on one batch and takes
            the fastest.
        batch_size: Samples that are computed at once; 1024 unless told, fewer where they would have more
            than 64 MB of input.
        threads: Threads of ONNX Runtime, OpenVINO and LiteRT; all cores of this process by default.
        precision: ``"bfloat16"`` lets OpenVINO compute in it, on processors that do.
        example: A batch to time and compare with; made up if not given.
        output: Which output to return of a model with outputs by name, such as the ``mask`` of networks of
            images.

    Raises:
        DataError: If there is no model.
        ParameterError: If the engine or output is unknown, or the engine is not installed or cannot take the
            model.
    """
    if engine not in KNOWN:
        raise ParameterError(f"There is no engine {engine!r}: {did_you_mean(engine, KNOWN)}")
    file, model = resolve(source)
    if file is not None and file.suffix == ".joblib":
        model = files.read_joblib(file, Baseline)  # type: ignore[type-abstract]
    if isinstance(model, Baseline):
        identity = exports.sha256(file) if file else ""
        return Predictor(SklearnEngine(model), identity, batch_size)
    loader = Loader(file, model, threads or cores(), precision, example, batch_size, output)
    if file is not None and file.suffix == ".tflite":
        return loader.of_litert_file(engine)
    if engine == "auto":
        return loader.fastest()
    return loader.predictor(engine)


class Loader:
    """Makes predictors of one Keras model; loads the model only if an engine needs it."""

    def __init__(
        self,
        file: Path | None,
        model: Any,
        threads: int,
        precision: Precision,
        example: Inputs | None,
        batch_size: int | None,
        output: str,
    ) -> None:
        self.file, self._model, self.threads, self.precision = file, model, threads, precision
        self._example, self.batch_size, self.output = example, batch_size, output
        self.fingerprint = exports.sha256(file) if file else benchmark.weights_hash(model)

    @property
    def model(self) -> Any:
        """The Keras model."""
        if self._model is None:
            from eolab import models

            assert self.file is not None
            self._model = models.load(self.file, compiled=False)
        return self._model

    @cached_property
    def _keras(self) -> Predictor:
        return self._predictor(KerasEngine(self.model, self.output), "float32")

    @property
    def example(self) -> dict[str, np.ndarray]:
        """A batch of plausible numbers, some of them not valid and NaN, for timing and comparing."""
        if self._example is None:
            self._example = benchmark.example(self.model, self.batch_size or self._keras.batch_size)
        return dict(self._example)

    def _predictor(self, compute: Engine, precision: str) -> Predictor:
        named = "" if self.output == OUTPUT else f" {self.output}"
        return Predictor(compute, f"{self.fingerprint} {precision}{named}", self.batch_size)

    def of_litert_file(self, engine: str) -> Predictor:
        """Return the predictor of a ``.tflite`` file.

        Raises:
            DataError: If the file cannot be read.
            ParameterError: If another engine is asked for.
        """
        if engine not in ("litert", "keras", "auto"):
            raise ParameterError(f"{self.file} is for engine 'litert': engine {engine!r} cannot take it.")
        assert self.file is not None
        try:
            return self._predictor(LitertEngine(self.file, self.threads, self.output), "float32")
        except ValueError as error:
            raise DataError(
                f"{self.file} cannot be read as a LiteRT model ({reason(error)}): export it again."
            ) from None

    def predictor(self, name: str, compared: bool = True) -> Predictor:
        """Return the predictor of one engine.

        Args:
            name: The engine.
            compared: Whether a fresh export is refused that does not agree with Keras.

        Raises:
            ParameterError: If it is not installed or cannot take the model.
        """
        if name == "keras":
            return self._keras
        fresh = exports.existing(self.file, name, self.fingerprint) is None
        file = self._exported(name)
        try:
            predictor = self._of_export(name, file)
            if fresh and compared:
                self._compare(predictor(self.example), self.predictor("keras")(self.example), name)
        except ParameterError:
            if fresh:
                shutil.rmtree(file.parent, ignore_errors=True)
            raise
        return predictor

    def _of_export(self, name: str, file: Path) -> Predictor:
        """Return the predictor of an exported model."""
        precision = self.precision if name == "openvino" else "float32"
        compute: Engine
        try:
            if name == "onnx":
                compute = OnnxEngine(file, self.threads, self.output)
            elif name == "litert":
                compute = LitertEngine(file, self.threads, self.output)
            else:
                compute = OpenvinoEngine(file, self.threads, self.precision, self.output)
        except EolabError:
            raise
        except Exception as error:  # the engines' own kinds
            raise ParameterError(
                f"Engine {name!r} cannot run its export of this model ({reason(error)}): "
                "use engine='keras' or 'auto'."
            ) from None
        return self._predictor(compute, precision)

    def _compare(self, found: np.ndarray, expected: np.ndarray, name: str) -> None:
        """Refuse an engine whose probabilities are not those of Keras."""
        allowed = TOLERANCE[self.precision if name == "openvino" else "float32"]
        difference = float(np.abs(found - expected).max())
        if not difference <= allowed:  # NaN too
            raise ParameterError(
                f"Probabilities of engine {name!r} differ from Keras's by {difference:.2g}, more than "
                f"{allowed:g}: use engine='keras' or 'auto'."
            )

    def _exported(self, name: str) -> Path:
        found = exports.existing(self.file, name, self.fingerprint)
        if found is not None:
            return found
        types = input_dtypes(self.model)
        few = {key: self.example[key][:2].astype(dtype) for key, dtype in types.items()}
        return exports.export(self.model, self.file, name, self.fingerprint, few)

    def fastest(self) -> Predictor:
        """Return the fastest predictor that agrees with Keras."""
        tried: dict[str, Predictor] = {"keras": self.predictor("keras")}
        expected, speed = benchmark.timed(tried["keras"], self.example)
        timings, skipped = {"keras": speed}, {}
        for name in ENGINES[1:]:
            try:
                tried[name] = self.predictor(name)
                found, timings[name] = benchmark.timed(tried[name], self.example)
                self._compare(found, expected, name)
            except Exception as error:  # an engine that fails is one that is not taken
                skipped[name] = str(error)
        usable = {name: speed for name, speed in timings.items() if name not in skipped}
        chosen = tried[max(usable, key=usable.__getitem__)]
        chosen.timings, chosen.skipped = timings, skipped
        return chosen
