"""The files of a run folder, ``<runs>/<study>/<notebook>/<run>/``, written whole or not at all."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from eolab.core.errors import RunError
from eolab.core.files import hold, replace_folder, write_atomically
from eolab.runs.display import ANSI

RECORD = "run.json"
METRICS = "metrics.json"
FIGURES = "figures.json"
DATA = "data.json"
PARAMS = "params.yaml"
CHAIN = "chain.json"
ENVIRONMENT = "environment.json"
DRAWN = ".drawn.npz"  # ending of the replicates of a score table
REPORT = "report.html"
REPEAT = ".repeat"  # folder of what an interactive repetition says of itself until it is done
LOCK, RUNNER_LOCK, JOB = ".lock", ".runner.lock", ".job.json"
_OWN = {
    *(RECORD, METRICS, FIGURES, DATA, PARAMS, ENVIRONMENT, REPORT, REPEAT, LOCK, RUNNER_LOCK, JOB),
    *("kernel.log", "history.csv", "checkpoint", "task.json"),
    *("model.keras", "model_onnx", "model_openvino", "model_litert"),
}


def now() -> str:
    """Return the present time as ISO text with its zone, in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


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
        raise RunError(f"{path} is no JSON ({error}): delete this file and run the notebook again.") from None


def write_text(path: Path, text: str) -> None:
    """Write a text file, and the folders above it, in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text)


def write_json(path: Path, content: Any) -> None:
    """Write plain values as JSON, whole or not at all; NumPy numbers become numbers, NaN becomes null."""
    write_text(path, json.dumps(plain(content), indent=1, ensure_ascii=False) + "\n")


def update_record(folder: Path, **changes: Any) -> None:
    """Change keys of a run's ``run.json``."""
    write_json(folder / RECORD, {**read_json(folder / RECORD), **changes})


def add_entry(path: Path, entry: Mapping[str, Any]) -> None:
    """Add an entry to a list of named ones in a JSON file, in place of the one with its name."""
    others = [other for other in read_json(path) or [] if other["name"] != entry["name"]]
    write_json(path, [*others, entry])


def end(folder: Path, status: str, failed: Mapping[str, Any] | None = None) -> None:
    """Note in ``run.json`` that a run has ended: how, when, after how many seconds, and what failed."""
    started = datetime.fromisoformat(read_json(folder / RECORD).get("started") or now())
    seconds = round((datetime.now(UTC) - started).total_seconds(), 1)
    update_record(folder, status=status, ended=now(), seconds=seconds, failed=failed)


def failure(
    name: str, reason: str, cell: int | None = None, source: str = "", trace: Sequence[str] = ()
) -> dict[str, Any]:
    """Return what ``run.json`` says of a failure under ``failed``.

    Args:
        name: Name of the error.
        reason: Its message.
        cell: Number of the cell as Jupyter counts them, None outside of one.
        source: Code of the cell.
        trace: The traceback.
    """
    lines = ANSI.sub("", "\n".join(trace)).splitlines()[-200:]
    message = ANSI.sub("", reason)
    return {"cell": cell, "source": source, "error": name, "message": message, "traceback": lines}


def lock(folder: Path, name: str = LOCK) -> TextIO | None:
    """Return an open file that holds a run folder for this process until it is closed; None if held."""
    return hold(folder / name)


def note_written(folder: Path, name: str) -> None:
    """Note in ``run.json`` that a run writes a file or folder of this name."""
    known = read_json(folder / RECORD).get("written", [])
    if name not in known:
        update_record(folder, written=[*known, name])


def replace(folder: Path, new: Path) -> None:
    """Put a new run in the place of an old one; what no run wrote, such as notes, stays in the folder."""
    for path in list(_foreign(folder)):
        place = new / path.relative_to(folder)
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            path.rename(place)
    replace_folder(new, folder)


def _foreign(folder: Path) -> Iterator[Path]:
    """Yield the files of a run folder that its runs did not write."""
    record = read_json(folder / RECORD)
    ours = {*_OWN, f"{record.get('notebook')}.ipynb", *record.get("written", ())}
    starts = tuple(f"{name}/" for name in ours) + tuple(f"{Path(name).with_suffix('')}." for name in ours)
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if not path.is_dir() and name not in ours and not name.startswith(starts) and path.suffix != ".tmp":
            yield path


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
