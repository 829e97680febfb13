"""Exports of a Keras model for other engines, kept beside the model."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from eolab.core.errors import EolabError, ParameterError
from eolab.prediction import litert
from eolab.prediction.engines import Inputs, needed
from eolab.prediction.silence import quiet, reason

FILES = {"onnx": "model.onnx", "openvino": "model.xml", "litert": "model.tflite"}
PACKAGES = {"onnx": ("tf2onnx", "onnx"), "openvino": ("openvino",), "litert": ("ai_edge_litert",)}
IDENTITY_FILE = "exported_from.txt"
ROUNDS = 8  # of simplifying an ONNX graph


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
    backend = importlib.import_module("keras").backend.backend()
    if backend != "tensorflow":
        raise ParameterError(
            f"The export for engine {engine!r} is made on TensorFlow, and Keras runs on {backend} here: "
            "load the model once with KERAS_BACKEND=tensorflow, or use engine='keras'."
        )
    if engine == "openvino" and sys.version_info >= (3, 13):  # its converter runs exec("del tensorflow")
        raise ParameterError(
            "OpenVINO's converter of TensorFlow models does not work on Python 3.13 and later: "
            "export on Python 3.11 or 3.12, or use engine='onnx' or 'keras'."
        )
    folder = folder_of(source, engine)
    place = None if folder is None or not os.access(folder.parent, os.W_OK) else folder.parent
    work = Path(tempfile.mkdtemp(prefix=f".{engine}_", dir=place))
    try:
        _write(model, engine, work / FILES[engine], example)
    except EolabError:
        shutil.rmtree(work, ignore_errors=True)
        raise
    except Exception as error:  # converters raise nearly anything
        shutil.rmtree(work, ignore_errors=True)
        raise ParameterError(
            f"This model cannot be exported for engine {engine!r} ({type(error).__name__}: {reason(error)}): "
            "use engine='keras' or 'auto'."
        ) from None
    (work / IDENTITY_FILE).write_text(fingerprint)
    if place is None or folder is None:
        atexit.register(shutil.rmtree, work, ignore_errors=True)
        return work / FILES[engine]
    work.chmod(0o755)
    shutil.rmtree(folder, ignore_errors=True)
    work.replace(folder)
    return folder / FILES[engine]


def _write(model: Any, engine: str, file: Path, example: Inputs) -> None:
    if engine == "litert":
        file.write_bytes(litert.convert(model))
        return
    with quiet(), _few_rounds() if engine == "onnx" else contextlib.nullcontext():
        model(dict(example), training=False)
        model.export(str(file), format=engine, verbose=False)


@contextlib.contextmanager
def _few_rounds() -> Iterator[None]:
    """Keep tf2onnx from simplifying a graph for ever.

    It goes on while a round changes anything, and with attention (tf2onnx 1.17) its merging of equal nodes
    finds new ones in each round. The first rounds do nearly all.
    """
    base = importlib.import_module("tf2onnx.optimizer.optimizer_base").GraphOptimizerBase
    optimize = base.optimize

    def bounded(self: Any, graph: Any, iteration: int) -> Any:
        return optimize(self, graph, iteration) if iteration < ROUNDS else graph

    with mock.patch.object(base, "optimize", bounded):
        yield


def sha256(file: Path) -> str:
    """Return the SHA-256 of a file."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
