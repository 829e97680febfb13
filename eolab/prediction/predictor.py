"""The predictor: one call for every kind of model and engine."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from eolab.core.errors import DataError, ParameterError
from eolab.prediction.engines import Engine, Inputs
from eolab.prediction.litert import fits

BATCH_SIZE = 1024
BATCH_BYTES = 64e6
"""Samples that are computed at once unless told: this many, or as many as fit these bytes of input."""


class Predictor:
    """Class probabilities of a trained model; call it with a dict of arrays.

    Attributes:
        engine: What computes.
        timings: Samples per second of each engine that was tried, with ``engine="auto"``.
        skipped: Why engines were not tried or not taken, by name.
        fingerprint: Identity of the model and its precision, for resuming a map.
        batch_size: Samples that are computed at once.
    """

    def __init__(self, engine: Engine, fingerprint: str, batch_size: int | None = None) -> None:
        self._compute = engine
        self.engine, self.fingerprint = engine.name, fingerprint
        self.batch_size = batch_size or _usual_batch(engine)
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
            float32 (N, K), or (N, H, W, K) of a model of images.

        Raises:
            ParameterError: If an input is missing or has another shape, or if lengths differ.
            DataError: If an exported model does not take the NaN that the inputs have.
        """
        missing = [name for name in self._compute.dtypes if name not in inputs]
        if missing:
            raise ParameterError(
                f"The model takes {', '.join(self._compute.dtypes)}: {', '.join(missing)} is missing."
            )
        arrays = {name: np.asarray(inputs[name]) for name in self._compute.dtypes}
        self._check(arrays)
        size = len(next(iter(arrays.values())))
        parts = [self._batch(arrays, start, size) for start in range(0, size, self.batch_size)]
        return np.concatenate(parts)

    def _check(self, arrays: Inputs) -> None:
        """Refuse arrays of different lengths, and samples of another shape than the model takes."""
        sizes = {name: len(values) for name, values in arrays.items()}
        if len(set(sizes.values())) != 1 or 0 in sizes.values():
            raise ParameterError(f"Arrays to predict must have one length, at least 1: found {sizes}.")
        for name, values in arrays.items():
            expected = self._compute.shapes.get(name)
            if expected is not None and not fits(values.shape[1:], expected):
                shape = ", ".join("any" if axis is None else str(axis) for axis in expected)
                raise ParameterError(
                    f"The model takes {name} of shape (N, {shape}), found {values.shape}: cut or resample "
                    "them to that shape, or load a model that was trained on theirs."
                )

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
            batch["image"] = _without_invalid(batch["image"], batch["valid"])
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


def _without_invalid(image: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return the image (N, T, …) with 0 where `valid` (N, T) is 0."""
    if valid.all() or image.shape[: valid.ndim] != valid.shape:
        return image
    seen = valid.reshape(valid.shape + (1,) * (image.ndim - valid.ndim)) != 0
    return np.where(seen, image, np.zeros((), image.dtype))
