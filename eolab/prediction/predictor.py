"""The predictor: one call for every kind of model and engine."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Literal

import numpy as np

from eolab.errors import DataError, EolabError, ParameterError, did_you_mean
from eolab.prediction import exports, trial
from eolab.prediction.engines import (
    ENGINES,
    TOLERANCE,
    Engine,
    Inputs,
    KerasEngine,
    OnnxEngine,
    OpenvinoEngine,
    Precision,
    SklearnEngine,
    cores,
    input_dtypes,
)

MODEL_FILE, BASELINE_FILE = "model.keras", "model.joblib"
BATCH_SIZE = 1024


class Predictor:
    """Class probabilities of a trained model; call it with a dict of arrays.

    Attributes:
        engine: What computes.
        timings: Samples per second of each engine that was tried, with ``engine="auto"``.
        skipped: Why engines were not tried or not taken, by name.
        fingerprint: Identity of the model and its precision, for resuming a map.
        batch_size: Samples that are computed at once.
    """

    def __init__(self, engine: Engine, fingerprint: str, batch_size: int = BATCH_SIZE) -> None:
        self._compute = engine
        self.engine, self.fingerprint, self.batch_size = engine.name, fingerprint, batch_size
        self.timings: dict[str, float] = {}
        self.skipped: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"Predictor(engine={self.engine!r}, inputs={', '.join(self._compute.dtypes)})"

    def __call__(self, inputs: Inputs) -> np.ndarray:
        """Return class probabilities.

        Args:
            inputs: Arrays (N, …) by name; more than the model takes may be there. Where ``valid`` is 0,
                ``image`` may be NaN.

        Returns:
            float32 (N, K).

        Raises:
            ParameterError: If an input is missing or their lengths differ.
        """
        missing = [name for name in self._compute.dtypes if name not in inputs]
        if missing:
            raise ParameterError(
                f"The model takes {', '.join(self._compute.dtypes)}: {', '.join(missing)} is missing."
            )
        arrays = {name: np.asarray(inputs[name]) for name in self._compute.dtypes}
        sizes = {name: len(values) for name, values in arrays.items()}
        size = next(iter(sizes.values()))
        if len(set(sizes.values())) != 1 or size == 0:
            raise ParameterError(f"Arrays to predict must have one length, at least 1: found {sizes}.")
        parts = [self._batch(arrays, start, size) for start in range(0, size, self.batch_size)]
        return np.concatenate(parts)

    def _batch(self, arrays: Inputs, start: int, size: int) -> np.ndarray:
        """Return the probabilities of some rows, float32 (n, K)."""
        rows: Any = slice(start, start + self.batch_size)
        count = min(self.batch_size, size - start)
        if self._compute.fixed_batch and count < self.batch_size:
            rows = np.minimum(np.arange(start, start + self.batch_size), size - 1)  # the last one repeated
        batch = {
            name: np.ascontiguousarray(values[rows], dtype=self._compute.dtypes[name])
            for name, values in arrays.items()
        }
        if not self._compute.takes_nan and "valid" in batch and "image" in batch:
            batch["image"] = _without_invalid(batch["image"], batch["valid"])
        return np.asarray(self._compute(batch)[:count], np.float32)


def _without_invalid(image: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return the image (N, T, …) with 0 where `valid` (N, T) is 0."""
    if valid.all() or image.shape[: valid.ndim] != valid.shape:
        return image
    seen = valid.reshape(valid.shape + (1,) * (image.ndim - valid.ndim)) != 0
    return np.where(seen, image, np.zeros((), image.dtype))


def load(
    source: Any,
    engine: Literal["keras", "onnx", "openvino", "auto"] = "keras",
    *,
    batch_size: int = BATCH_SIZE,
    threads: int | None = None,
    precision: Precision = "float32",
    example: Inputs | None = None,
) -> Predictor:
    """Return the predictor of a trained model.

    In float32 all engines agree with Keras to :data:`TOLERANCE` (a probability differs by 1e-4 at most); with
    ``"auto"`` an engine that does not is not taken.

    Args:
        source: A run folder with ``model.keras`` or ``model.joblib``, such a file, a Keras model, or a
            baseline of :mod:`eolab.baselines` (whose engine is always ``sklearn``).
        engine: ``"auto"`` times all that are installed on one batch and takes the fastest.
        batch_size: Samples that are computed at once.
        threads: Threads of ONNX Runtime and OpenVINO; all cores of this process by default.
        precision: ``"bfloat16"`` lets OpenVINO compute in it, on processors that do.
        example: A batch to time and compare with; made up if not given.

    Raises:
        DataError: If there is no model.
        ParameterError: If the engine is unknown, not installed, or cannot take the model.
    """
    if engine not in (*ENGINES, "auto"):
        raise ParameterError(f"There is no engine {engine!r}: {did_you_mean(engine, (*ENGINES, 'auto'))}")
    file, model = _resolve(source)
    if file is not None and file.suffix == ".joblib":
        from eolab import baselines

        model = baselines.load(file)
    if hasattr(model, "predict_proba"):
        identity = exports.sha256(file) if file else ""
        return Predictor(SklearnEngine(model), identity, batch_size)
    loader = _Loader(file, model, threads or cores(), precision, example, batch_size)
    if engine == "auto":
        return loader.fastest()
    return loader.predictor(engine)


def _resolve(source: Any) -> tuple[Path | None, Any]:
    """Return the file of a model, or the model itself."""
    if not isinstance(source, str | Path):
        return None, source
    path = Path(source)
    candidates = [path] if path.is_file() else [path / MODEL_FILE, path / BASELINE_FILE]
    for candidate in candidates:
        if candidate.is_file() and candidate.suffix in (".keras", ".joblib"):
            return candidate, None
    raise DataError(
        f"No model in {path}: expected {MODEL_FILE} or {BASELINE_FILE} there; train one first, "
        "or name another run folder."
    )


class _Loader:
    """Makes predictors of one Keras model; loads the model only if an engine needs it."""

    def __init__(
        self,
        file: Path | None,
        model: Any,
        threads: int,
        precision: Precision,
        example: Inputs | None,
        batch_size: int,
    ) -> None:
        self.file, self._model, self.threads, self.precision = file, model, threads, precision
        self._example, self.batch_size = example, batch_size
        self.fingerprint = exports.sha256(file) if file else trial.weights_hash(model)

    @property
    def model(self) -> Any:
        """The Keras model."""
        if self._model is None:
            from eolab import models

            assert self.file is not None
            self._model = models.load(self.file, compiled=False)
        return self._model

    @property
    def example(self) -> dict[str, np.ndarray]:
        """A batch of plausible numbers, some of them not valid and NaN, for timing and comparing."""
        if self._example is None:
            self._example = trial.example(self.model, self.batch_size)
        return dict(self._example)

    def predictor(self, name: str) -> Predictor:
        """Return the predictor of one engine.

        Raises:
            ParameterError: If it is not installed or cannot take the model.
        """
        if name == "keras":
            return Predictor(KerasEngine(self.model), f"{self.fingerprint} float32", self.batch_size)
        fresh = exports.existing(self.file, name, self.fingerprint) is None
        file = self._exported(name)
        try:
            predictor = self._of_export(name, file)
            if fresh:
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
                compute = OnnxEngine(file, self.threads)
            else:
                compute = OpenvinoEngine(file, self.threads, self.precision)
        except EolabError:
            raise
        except Exception as error:  # the engines' own kinds
            reason = " ".join(str(error).split())[: exports.MAX_REASON]
            raise ParameterError(
                f"Engine {name!r} cannot run its export of this model ({reason}): "
                "use engine='keras' or 'auto'."
            ) from None
        return Predictor(compute, f"{self.fingerprint} {precision}", self.batch_size)

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
        expected, speed = trial.timed(tried["keras"], self.example)
        timings, skipped = {"keras": speed}, {}
        for name in ENGINES[1:]:
            try:
                tried[name] = self.predictor(name)
                found, timings[name] = trial.timed(tried[name], self.example)
                self._compare(found, expected, name)
            except Exception as error:  # an engine that fails is one that is not taken
                skipped[name] = str(error)
        usable = {name: speed for name, speed in timings.items() if name not in skipped}
        chosen = tried[max(usable, key=usable.__getitem__)]
        chosen.timings, chosen.skipped = timings, skipped
        return chosen
