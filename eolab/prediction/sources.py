"""Where a trained model comes from: a run folder, a file, or memory."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from eolab.core.errors import DataError

MODEL_FILE, BASELINE_FILE = "model.keras", "model.joblib"
SUFFIXES = (".keras", ".joblib", ".tflite")


def resolve(source: Any) -> tuple[Path | None, Any]:
    """Return the file of a model, or the model itself.

    Raises:
        DataError: If a path has no model.
    """
    if not isinstance(source, str | Path):
        return None, source
    path = Path(source)
    candidates = [path] if path.is_file() else [path / MODEL_FILE, path / BASELINE_FILE]
    for candidate in candidates:
        if candidate.is_file() and candidate.suffix in SUFFIXES:
            return candidate, None
    raise DataError(
        f"No model in {path}: expected {MODEL_FILE} or {BASELINE_FILE} there, or a .tflite file; train one "
        "first, or name another run folder."
    )


def keras_model(source: Any) -> Any:
    """Return a Keras model from its file, its run folder, or as it is.

    Raises:
        DataError: If a path has no Keras model.
    """
    file, model = resolve(source)
    if file is None:
        return model
    if file.suffix != ".keras":
        raise DataError(f"{file} is not a Keras model: expected a .keras file, or a run folder that has one.")
    from eolab import models

    return models.load(file, compiled=False)


def identity(file: Path | None, model: Any) -> str:
    """Return what tells a model from others: the SHA-256 of its file, or of its weights in memory."""
    if file is not None:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    digest = hashlib.sha256(model.to_json().encode())
    for value in model.get_weights():
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()
