"""The files of a run folder, ``<runs>/<study>/<notebook>/<run>/``, written whole or not at all."""

import contextlib
import json
import math
import os
import shutil
import time
import warnings
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
SHORT = "short.json"
PARAMS = "params.yaml"
CHAIN = "chain.json"
ENVIRONMENT = "environment.json"
DRAWN = ".drawn.npz"  # ending of the replicates of a score table
REPORT = "report.html"
REPEAT = ".repeat"  # ending of the folder beside a finished run that its repetition is made in
BUSY = (
    "Another process is working in {}: wait for it, or end it (a kernel of JupyterLab too), then run again."
)
PATIENCE_S = 30.0  # for another process that is just ending
LOCK, RUNNER_LOCK, JOB, TRACKED = ".lock", ".runner.lock", ".job.json", ".mlflow.json"
_SHAPES: dict[str, Any] = {  # what the files hold that are read back: an example of each kind
    RECORD: {
        **dict.fromkeys(("study", "notebook", "run", "status", "started", "ended", "asked", "profile"), ""),
        **dict.fromkeys(("sweep", "label", "point"), ""),
        **{key: {} for key in ("parameters", "defaults", "failed")},
        **{key: {"": {}} for key in ("upstream", "found")},
        **{key: {"": ""} for key in ("modules", "files", "sweeps")},
        **{key: [""] for key in ("groups", "written")},
        "seconds": 0.0,
    },
    CHAIN: {"title": "", "description": "", "notebooks": [""]},
    DATA: {**dict.fromkeys(("name", "fingerprint", "layout"), ""), "files": 0.0, "bytes": 0.0, "entry": {}},
    FIGURES: dict.fromkeys(("name", "file", "caption", "alt"), ""),
    SHORT: {"found": [""], "cautions": [""]},
    ENVIRONMENT: {"packages": {"": ""}, "variables": {"": ""}, "git": {}, "gpu": [""]},
}
_NEEDED = {RECORD: ("study", "notebook"), DATA: ("name",), FIGURES: ("name",)}
RECORDED = (
    RECORD,
    METRICS,
    FIGURES,
    DATA,
    SHORT,
    PARAMS,
    ENVIRONMENT,
    REPORT,
    LOCK,
    RUNNER_LOCK,
    JOB,
    TRACKED,
)
_OWN = {
    *RECORDED,
    *("kernel.log", "history.csv", "checkpoint", "task.json"),
    *("model.keras", "model_onnx", "model_openvino", "model_litert"),
}


def now() -> str:
    """Return the present time as ISO text with its zone, in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def read_json(path: Path, kind: type = dict) -> Any:
    """Return the mapping or list that a JSON file holds, an empty one when there is no file.

    Args:
        path: The file.
        kind: What it holds, ``dict`` or ``list``.

    Raises:
        RunError: If the file is not JSON, or holds something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, kind):
            raise ValueError(f"expected a {kind.__name__}, found a {type(found).__name__}")
        _check(path.name, found)
    except FileNotFoundError:
        return kind()
    except (ValueError, RecursionError) as error:
        reason = f"{path} is no JSON of a run ({error})"
        raise RunError(f"{reason}: delete this file and run the notebook again.") from None
    return found


def read_chain(folder: Path) -> dict[str, Any]:
    """Return what is known of a study's report; nothing where the file cannot be read, as it is made anew."""
    with contextlib.suppress(RunError):
        return dict(read_json(folder / CHAIN))
    return {}


def _check(name: str, found: Any) -> None:
    """Raise ValueError where a file of a run that was edited by hand does not hold what it should."""
    for entry in found if isinstance(found, list) else [found]:
        if name in _SHAPES and not isinstance(entry, dict):
            raise ValueError(f"it holds {entry!r:.80}")
        for key, example in _SHAPES.get(name, {}).items():
            if not _like(entry.get(key), example):
                raise ValueError(f"{key!r} is {entry[key]!r:.80}")
        for key in _NEEDED.get(name, ()):
            if not entry.get(key):
                raise ValueError(f"it has no {key!r}")
        for key in ("started", "ended") if name == RECORD else ():
            datetime.fromisoformat(entry.get(key) or now())


def _like(value: Any, example: Any) -> bool:
    """Return whether a value is nothing, or of the kind of an example, and what it holds likewise."""
    if value is None:
        return True
    kind: Any = (int, float) if isinstance(example, float) else type(example)
    if not isinstance(value, kind):
        return False
    if not isinstance(example, dict | list):
        return True
    if isinstance(example, dict):
        value, example = list(value.values()), list(example.values())
    return all(_like(one, inner) for inner in example for one in value)


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
    others = [other for other in read_json(path, list) if other["name"] != entry["name"]]
    write_json(path, [*others, entry])


def end(folder: Path, status: str, failed: Mapping[str, Any] | None = None) -> None:
    """Note in ``run.json`` that a run has ended: how, when, after how many seconds, and what failed."""
    started = datetime.fromisoformat(read_json(folder / RECORD).get("started") or now()).astimezone(UTC)
    seconds = max(0.0, round((datetime.now(UTC) - started).total_seconds(), 1))  # a clock may be set back
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
    """Return an open file that holds a run folder for this process until it is closed; None if held.

    It is held too where the folder was replaced, with its files, while it was asked for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        held = hold(folder / name)
        if held and os.path.samestat(os.fstat(held.fileno()), (folder / name).stat()):
            return held
        if held:
            held.close()
    return None


def lock_soon(folder: Path) -> TextIO | None:
    """Return what :func:`lock` does, waiting shortly for a holder that is just ending.

    Where there are no locks, the runner says so.
    """
    end = time.monotonic() + PATIENCE_S
    while True:
        with warnings.catch_warnings(action="ignore"):
            held = lock(folder)
        if held or time.monotonic() > end:
            return held
        time.sleep(0.2)


def runs_in(folder: Path) -> list[Path]:
    """Return the run folders of a notebook.

    Repetitions that were not done, folders set aside, runs of another notebook and copies of a run that is
    there are none.
    """
    found = [path.parent for path in folder.glob(f"*/{RECORD}")]
    found = [path for path in found if not path.name.startswith(".") and not path.name.endswith(REPEAT)]
    own = [path for path in found if read_json(path / RECORD).get("notebook") == folder.name]
    return [path for path in own if not is_copy(path)]


def is_copy(folder: Path) -> bool:
    """Return whether a folder holds a copy of a run that is there, under its own name."""
    own = folder.with_name(str(read_json(folder / RECORD).get("run") or folder.name))
    return own != folder and (own / RECORD).is_file()


def beside(folder: Path) -> Path:
    """Return the folder that a finished run is repeated in, which takes its place once it is done."""
    return folder.with_name(f"{folder.name}{REPEAT}")


def home(folder: Path) -> Path:
    """Return the run folder of one that may be that of its repetition."""
    return folder.with_name(folder.name.removesuffix(REPEAT))


def share(folder: Path, new: Path) -> None:
    """Begin a repetition with what a finished run wrote, so that long work is not done again.

    Its record, its executed notebook and its report are left out.

    Arrays of a sample store are linked where the disk knows links, as a finished one is never written into.
    """
    stores = {file.parent for file in folder.rglob("store.json")}
    executed = f"{read_json(folder / RECORD).get('notebook')}.ipynb"
    names = (RECORD, REPORT, executed, LOCK, RUNNER_LOCK, JOB, TRACKED)
    left_out = {*_foreign(folder), *(folder / name for name in names)}
    for path in folder.rglob("*"):
        place = new / path.relative_to(folder)
        if path.is_file() and path not in left_out and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(OSError):
                if path.suffix == ".npy" and stores & {*path.parents}:
                    place.hardlink_to(path)
            if not place.exists():
                shutil.copy2(path, place)


def set_aside(folder: Path) -> list[Path]:
    """Return the folders that were in the place of a run and that a kill kept from being removed."""
    return sorted(folder.parent.glob(f".{folder.name}.[0-9]*.old"))


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
    ours = {*_OWN, f"{record.get('notebook')}.ipynb", *(record.get("written") or ())}
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
