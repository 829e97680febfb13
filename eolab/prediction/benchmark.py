"""What a predictor is tried with: made-up inputs, a stopwatch, and the identity of a model in memory."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from eolab.prediction.engines import Inputs, inputs_of

TIMED_RUNS = 3
EXAMPLE_LENGTH = 16  # of axes that a model leaves open


def timed(predict: Callable[[Inputs], np.ndarray], inputs: Inputs) -> tuple[np.ndarray, float]:
    """Return the probabilities of a batch, and samples per second at the best of some runs."""
    result = predict(inputs)  # compiles
    seconds = []
    for _ in range(TIMED_RUNS):
        start = time.perf_counter()
        predict(inputs)
        seconds.append(time.perf_counter() - start)
    return result, len(result) / min(seconds)


def example(model: Any, size: int) -> dict[str, np.ndarray]:
    """Return made-up inputs of a model: reflectances, valid dates, days of a year."""
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for name, tensor in inputs_of(model).items():
        shape = (size, *(EXAMPLE_LENGTH if axis is None else axis for axis in tensor.shape[1:]))
        arrays[name] = rng.random(shape, np.float32)
    if "day" in arrays:
        arrays["day"] = np.sort(365 * arrays["day"], axis=-1)
    if "valid" in arrays:
        arrays["valid"] = arrays["valid"] < 0.7
        image = arrays.get("image")
        if image is not None and image.shape[: arrays["valid"].ndim] == arrays["valid"].shape:
            image[~arrays["valid"]] = np.nan
    return arrays


def weights_hash(model: Any) -> str:
    """Return a hash of a model's structure and weights."""
    digest = hashlib.sha256(model.to_json().encode())
    for value in model.get_weights():
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()
