"""Run folders: where they are, how they are named, and the small files in them.

``<runs>/<study>/<notebook>/<run>/`` where ``<run>`` is a readable prefix and eight digits of a hash over
the parameters, the upstream runs and the notebook's code: the same work has the same name, so that finished
work is found again and unfinished work goes on where it was.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from eolab.core.errors import ParameterError, RunError
from eolab.runs import parameters

RECORD = "run.json"
METRICS = "metrics.json"
FIGURES = "figures.json"
DATA = "data.json"
PARAMS = "params.yaml"
ENVIRONMENT = "environment.json"
REPORT = "report.html"


def split(notebook: str) -> tuple[str, str]:
    """Split ``"study/notebook"`` into its two names.

    Raises:
        ParameterError: If it is not of this form.
    """
    study, _, name = notebook.partition("/")
    if not study or not name or "/" in name:
        raise ParameterError(f"A notebook is named 'study/notebook', found {notebook!r}.")
    return study, name.removesuffix(".ipynb")


def now() -> str:
    """Return the present time as ISO text with its zone, in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def seconds_since(started: str) -> float:
    """Return the seconds from an ISO time to now."""
    return round((datetime.now(UTC) - datetime.fromisoformat(started)).total_seconds(), 1)


def code_hash(notebook: Path) -> str:
    """Return a hash of a notebook's code, its parameters cell left out (their values are hashed anyway).

    Text cells and outputs do not count, so that correcting a caption does not make a night's work stale.
    """
    cells = parameters.code_cells(notebook)
    return hashlib.sha256("\0".join(cells).encode()).hexdigest()[:16]


def run_hash(values: Mapping[str, Any], upstream: Mapping[str, str], code: str) -> str:
    """Return the eight digits that name a run.

    Args:
        values: All parameters with their values, the inputs left out (their folders differ by machine).
        upstream: Input parameter → name of the upstream run.
        code: Hash of the notebook's code.
    """
    text = json.dumps([dict(values), dict(upstream), code], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def find(root: Path, study: str, notebook: str, prefix: str, digits: str) -> Path:
    """Return the folder of a run: the one that is there whatever its prefix, else a new name."""
    parent = root / study / notebook
    there = sorted(parent.glob(f"*-{digits}"))
    return there[0] if there else parent / f"{re.sub(r'[^A-Za-z0-9_.]+', '_', prefix)}-{digits}"


def read_json(path: Path) -> Any:
    """Return the content of a JSON file, an empty mapping when there is none.

    Raises:
        RunError: If the file is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise RunError(
            f"{path} is no JSON ({error}): delete its folder and run the notebook again."
        ) from None


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part{os.getpid()}")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def write_json(path: Path, content: Any) -> None:
    """Write plain values as JSON, whole or not at all; NumPy numbers become numbers, NaN becomes null."""
    write_text(path, json.dumps(plain(content), indent=1, ensure_ascii=False) + "\n")


def update_record(folder: Path, **changes: Any) -> dict[str, Any]:
    """Change keys of a run's ``run.json`` and return all of it."""
    record = {**read_json(folder / RECORD), **changes}
    write_json(folder / RECORD, record)
    return record


def lock(folder: Path) -> TextIO | None:
    """Return an open file that holds a run folder for this process until it is closed; None if held."""
    file = (folder / ".lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def busy(folder: Path) -> bool:
    """Return whether a process works in a run folder."""
    held = lock(folder)
    if held:
        held.close()
    return held is None


def plain(value: Any) -> Any:
    """Return a value as JSON knows it: NumPy scalars and arrays unpacked, NaN and infinity as None.

    Raises:
        RunError: If the value is nothing that JSON can hold.
    """
    if hasattr(value, "tolist"):  # NumPy scalars and arrays
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, Path | datetime):
        return str(value)
    raise RunError(f"A record holds numbers and text, found a {type(value).__name__}: {value!r:.80}.")


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, keys joined by dots: ``{"test": {"f1": 1}}`` → ``{"test.f1": 1}``."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        flat |= flatten(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return flat
