"""Exports of a Keras model for other engines, kept beside the model."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import importlib
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eolab.errors import ParameterError
from eolab.prediction.engines import Inputs, needed

FILES = {"onnx": "model.onnx", "openvino": "model.xml"}
PACKAGES = {"onnx": ("tf2onnx", "onnx"), "openvino": ("openvino",)}
MAX_REASON = 400  # characters of a converter's own message
IDENTITY_FILE = "exported_from.txt"


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
        engine: ``"onnx"`` or ``"openvino"``.
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
        with quiet():
            model(dict(example), training=False)
            model.export(str(work / FILES[engine]), format=engine, verbose=False)
    except Exception as error:  # converters raise nearly anything
        shutil.rmtree(work, ignore_errors=True)
        reason = " ".join(str(error).split())[:MAX_REASON]
        raise ParameterError(
            f"This model cannot be exported for engine {engine!r} ({type(error).__name__}: {reason}): "
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


def sha256(file: Path) -> str:
    """Return the SHA-256 of a file."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what converters print, in Python and in C++, from the notebook; errors are raised all the same."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with (
            open(os.devnull, "w") as void,
            contextlib.redirect_stdout(void),
            contextlib.redirect_stderr(void),
            _stderr_of_libraries(void.fileno()),
        ):
            yield
    finally:
        logging.disable(level)


@contextlib.contextmanager
def _stderr_of_libraries(target: int) -> Iterator[None]:
    """Send file descriptors 1 and 2, which C++ writes to, elsewhere."""
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            stream.flush()
    saved = [os.dup(handle) for handle in (1, 2)]
    try:
        for handle in (1, 2):
            os.dup2(target, handle)
        yield
    finally:
        for handle, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, handle)
            os.close(copy)
