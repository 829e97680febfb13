"""From a saved model to its predictor: exports on demand, comparison with Keras, the fastest engine."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from eolab.core import files
from eolab.core.errors import DataError, ParameterError, check_known, errors_in_one_sentence
from eolab.prediction import engines, exports
from eolab.prediction.engines import Engine, Inputs, Precision
from eolab.prediction.ranges import TrainedRange, beside, check_inputs
from eolab.prediction.sources import identity, keras_model, resolve

KNOWN = (*engines.ENGINES, "litert", "auto")
TIMED_RUNS = 3
EXAMPLE_LENGTH = 16  # of axes that a model leaves open
BATCH_SIZE = 1024
BASELINE_BATCH_SIZE = 16_384  # three times as fast as 1024 with a support-vector machine
BATCH_BYTES = 64e6
"""Samples that are computed at once unless told: this many, or as many as fit these bytes of input."""


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
    output: str = engines.OUTPUT,
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
            than 64 MB of input; 16,384 of a baseline.
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
    check_known(engine, KNOWN, f"There is no engine {engine!r}")
    file, model = resolve(source)
    if file is not None and file.suffix == ".joblib":
        model = files.read_joblib(file, Baseline)  # type: ignore[type-abstract]
    if isinstance(model, Baseline):
        known = identity(file, model) if file else ""
        return Predictor(engines.SklearnEngine(model), known, batch_size or BASELINE_BATCH_SIZE)
    loader = Loader(file, model, threads or engines.cores(), precision, example, batch_size, output)
    predictor = _loaded(loader, file, engine)
    predictor.ranges = beside(file)  # only now: engines are compared on made-up images
    return predictor


def _loaded(loader: Loader, file: Path | None, engine: str) -> Predictor:
    """Return the predictor that a loader makes for an engine."""
    if file is not None and file.suffix == ".tflite":
        if engine not in ("litert", "keras", "auto"):
            raise ParameterError(f"{file} is for engine 'litert': engine {engine!r} cannot take it.")
        return loader.of_export("litert", file)
    if engine == "auto":
        return loader.fastest()
    return loader.predictor(engine)


@dataclass
class Loader:
    """Makes predictors of one Keras model; loads the model only if an engine needs it.

    Arguments as of :func:`load`, the source as its file, its model, or both.
    """

    file: Path | None
    given: Any
    threads: int
    precision: Precision
    example: Inputs | None
    batch_size: int | None
    output: str

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the model."""
        return identity(self.file, self.given)

    @cached_property
    def model(self) -> Any:
        """The Keras model."""
        return keras_model(self.file if self.given is None else self.given)

    @cached_property
    def _keras(self) -> Predictor:
        return self._predictor(engines.KerasEngine(self.model, self.output))

    @cached_property
    def _batch(self) -> dict[str, np.ndarray]:
        """A batch to time and compare with."""
        if self.example is not None:
            return dict(self.example)
        return made_up(self.model, self.batch_size or self._keras.batch_size)

    def _predictor(self, compute: Engine) -> Predictor:
        named = "" if self.output == engines.OUTPUT else f" {self.output}"
        identity = f"{self.fingerprint} {self._precision(compute.name)}{named}"
        predictor = Predictor(compute, identity, self.batch_size)
        predictor.means = {name: np.array(one.mean, np.float32) for name, one in beside(self.file).items()}
        return predictor

    def _precision(self, name: str) -> Precision:
        return self.precision if name == "openvino" else "float32"

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
        file = exports.existing(self.file, name, self.fingerprint)
        if file is not None:
            return self.of_export(name, file)
        dtypes, _ = engines.input_types(self.model)
        few = {key: self._batch[key][:2].astype(dtype) for key, dtype in dtypes.items()}
        file = exports.export(self.model, self.file, name, self.fingerprint, few)
        try:
            predictor = self.of_export(name, file)
            if compared:
                self._compare(predictor(self._batch), self._keras(self._batch), name)
        except ParameterError:
            shutil.rmtree(file.parent, ignore_errors=True)
            raise
        return predictor

    def of_export(self, name: str, file: Path) -> Predictor:
        """Return the predictor of an exported model.

        Raises:
            ParameterError: If the engine is not installed or cannot run the file.
        """
        options = {"precision": self.precision} if name == "openvino" else {}
        remedy = "export the model again, or load the run folder with engine='keras' or 'auto'"
        with errors_in_one_sentence(f"Engine {name!r} cannot run its export {file}", remedy):
            return self._predictor(engines.EXPORTED[name](file, self.threads, self.output, **options))

    def _compare(self, found: np.ndarray, expected: np.ndarray, name: str) -> None:
        """Refuse an engine whose probabilities are not those of Keras."""
        allowed = engines.TOLERANCE[self._precision(name)]
        difference = float(np.abs(found - expected).max())
        if not difference <= allowed:  # NaN too
            raise ParameterError(
                f"Probabilities of engine {name!r} differ from Keras's by {difference:.2g}, more than "
                f"{allowed:g}: use engine='keras' or 'auto'."
            )

    def fastest(self) -> Predictor:
        """Return the fastest predictor that agrees with Keras."""
        tried = {"keras": self._keras}
        expected, speed = timed(self._keras, self._batch)
        timings, skipped = {"keras": speed}, {}
        for name in engines.ENGINES[1:]:
            try:
                tried[name] = self.predictor(name)
                found, timings[name] = timed(tried[name], self._batch)
                self._compare(found, expected, name)
            except Exception as error:  # an engine that fails is one that is not taken
                skipped[name] = str(error)
        usable = {name: speed for name, speed in timings.items() if name not in skipped}
        chosen = tried[max(usable, key=usable.__getitem__)]
        chosen.timings, chosen.skipped = timings, skipped
        return chosen


def timed(predict: Callable[[Inputs], np.ndarray], inputs: Inputs) -> tuple[np.ndarray, float]:
    """Return the probabilities of a batch, and samples per second at the best of some runs."""
    result = predict(inputs)  # compiles
    seconds = []
    for _ in range(TIMED_RUNS):
        start = time.perf_counter()
        predict(inputs)
        seconds.append(time.perf_counter() - start)
    return result, len(result) / min(seconds)


def made_up(model: Any, size: int) -> dict[str, np.ndarray]:
    """Return made-up inputs of a model: reflectances, some of them not valid and NaN, days of a year."""
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for name, axes in engines.input_types(model)[1].items():
        shape = (size, *(EXAMPLE_LENGTH if axis is None else axis for axis in axes))
        arrays[name] = rng.random(shape, np.float32)
    if "day" in arrays:
        arrays["day"] = np.sort(365 * arrays["day"], axis=-1)
    if "valid" in arrays:
        arrays["valid"] = arrays["valid"] < 0.7
        image = arrays.get("image")
        if image is not None and image.shape[: arrays["valid"].ndim] == arrays["valid"].shape:
            image[~arrays["valid"]] = np.nan
    return arrays


class Predictor:
    """Class probabilities of a trained model; call it with a dict of arrays.

    Attributes:
        engine: What computes.
        timings: Samples per second of each engine that was tried, with ``engine="auto"``.
        skipped: Why engines were not tried or not taken, by name.
        fingerprint: Identity of the model and its precision, for resuming a map.
        batch_size: Samples that are computed at once.
        ranges: What the network has seen of each channel in training, by name of the input; see
            :mod:`eolab.prediction.ranges`.
        means: Mean of each channel in training, by name of the input: an exported model is given it for a
            missing value at a valid date, as networks take such a value themselves.
    """

    def __init__(self, engine: Engine, fingerprint: str, batch_size: int | None = None) -> None:
        self._compute = engine
        self.engine, self.fingerprint = engine.name, fingerprint
        self.batch_size = batch_size or _usual_batch(engine)
        self.ranges: dict[str, TrainedRange] = {}
        self.means: dict[str, np.ndarray] = {}
        self.timings: dict[str, float] = {}
        self.skipped: dict[str, str] = {}

    @property
    def shapes(self) -> dict[str, engines.Shape]:
        """Shape of a sample of each input by name, None for open axes; empty for baselines."""
        return dict(self._compute.shapes)

    def __repr__(self) -> str:
        return f"Predictor(engine={self.engine!r}, inputs={', '.join(self._compute.dtypes)})"

    def __call__(self, inputs: Inputs) -> np.ndarray:
        """Return class probabilities.

        Args:
            inputs: Arrays (N, …) by name; more than the model takes may be there. Where ``valid`` is 0,
                ``image`` may be NaN.

        Returns:
            float32 (N, K), or (N, H, W, K) of a model of images.

        Raises:
            ParameterError: If an input is missing or has another shape, or if lengths differ.
            DataError: If an exported model does not take the NaN that the inputs have, or images are on
                another scale than those of training.
        """
        arrays = engines.taken(inputs, self._compute.dtypes, self._compute.shapes)
        check_inputs(self.ranges, arrays)
        size = len(next(iter(arrays.values())))
        parts = [self._batch(arrays, start, size) for start in range(0, size, self.batch_size)]
        return np.concatenate(parts)

    def _batch(self, arrays: Inputs, start: int, size: int) -> np.ndarray:
        """Return the probabilities of some rows, float32 (n, …, K)."""
        count = min(self.batch_size, size - start)
        rows: Any = slice(start, start + count)
        if self._compute.fixed_batch and count < self.batch_size:
            padded = min(self.batch_size, 1 << (count - 1).bit_length())  # few sizes, each compiled once
            rows = np.minimum(np.arange(start, start + padded), size - 1)  # the last one repeated
        batch = {
            name: np.ascontiguousarray(values[rows], dtype=self._compute.dtypes[name])
            for name, values in arrays.items()
        }
        if not self._compute.takes_nan and "valid" in batch and "image" in batch:
            batch["image"] = _without_invalid(batch["image"], batch["valid"], self.means.get("image"))
        found = np.asarray(self._compute(batch)[:count], np.float32)
        if not self._compute.takes_nan and np.isnan(found).any() and _any_nan(batch):
            raise DataError(
                f"The inputs have NaN, which engine {self.engine!r} does not take with this model: "
                "fill them, or use engine='keras'."
            )
        return found


def _usual_batch(engine: Engine) -> int:
    """Return how many samples to compute at once, so that inputs stay small."""
    sizes = [
        np.dtype(engine.dtypes[name]).itemsize * math.prod(axis or 1 for axis in shape)
        for name, shape in engine.shapes.items()
    ]
    return int(np.clip(BATCH_BYTES // max(1, sum(sizes)), 1, BATCH_SIZE))


def _any_nan(batch: Inputs) -> bool:
    return any(values.dtype.kind == "f" and bool(np.isnan(values).any()) for values in batch.values())


def _without_invalid(image: np.ndarray, valid: np.ndarray, mean: np.ndarray | None) -> np.ndarray:
    """Return the image (N, T, …, C) with 0 where `valid` (N, T) is 0, and the mean where a value is missing.

    Means (C,) are given to series of pixels alone: a value of an image may be missing for all of a date.
    """
    if image.shape[: valid.ndim] != valid.shape:
        return image
    if not valid.all():
        seen = valid.reshape(valid.shape + (1,) * (image.ndim - valid.ndim)) != 0
        image = np.where(seen, image, np.zeros((), image.dtype))
    if mean is None or valid.ndim != image.ndim - 1:
        return image
    missing = np.isnan(image)
    return np.where(missing, mean.astype(image.dtype), image) if missing.any() else image
