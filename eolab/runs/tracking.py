"""Runs in MLflow, where ``MLFLOW_TRACKING_URI`` is set (as Azure ML does in its jobs).

The files of the run folder stay the truth; MLflow gets a copy of parameters, metrics and files. The epochs of
a training are logged while it goes on, and the run that all belong to gets the main metrics of each.
"""

import contextlib
import csv
import functools
import http.client
import math
import os
import re
import ssl
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from eolab.core.errors import RunError
from eolab.runs import folders, history, overview

_MAX_PARAMETER = 500  # characters that every MLflow server takes; params.yaml has the whole value
_MAX_NAME = 240
_MAX_ARTIFACT = 200 * 2**20  # bytes; larger files stay in the run folder
_LOWER = ("loss", "mae")  # ends of the names of scores that are better where they are lower
_EVERY_S = 10.0  # between two looks for new epochs
_PATIENCE_S = 5.0  # for the first answer of a server
_LIMITS = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "30", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}


@functools.cache
def reachable(uri: str) -> bool:
    """Return whether a tracking server answers, asked once a process; a line says so where it does not.

    Args:
        uri: Value of ``MLFLOW_TRACKING_URI``; only servers at ``http(s)`` are asked.
    """
    if not uri.lower().startswith(("http://", "https://")):
        return True
    uri = _without_login(uri)
    try:
        urllib.request.urlopen(uri, timeout=_PATIENCE_S).close()
    except urllib.error.HTTPError:
        return True  # it wants a login, or another path
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLError):
            return True  # MLflow has settings of its own for certificates
        remedy = "Start the server, or unset MLFLOW_TRACKING_URI."
        said = f"MLflow at {uri} does not answer ({reason}): runs are not logged there. {remedy}"
        print(said, file=sys.stderr, flush=True)
        return False
    return True


def _without_login(uri: str) -> str:
    """Return an address without the name and password in it, which nobody else should read."""
    return re.sub(r"//[^/@]*@", "//", uri)


def log(folder: Path) -> str:
    """Log a run folder to MLflow and return the id of the MLflow run; empty where no server answers.

    Inside a job that has an MLflow run of its own (``MLFLOW_RUN_ID``) the logged run is its child. A run
    folder that was logged before is logged into the same MLflow run again. Names that MLflow does not take
    are changed to such that it takes.

    Raises:
        RunError: If the mlflow package is missing or the tracking server refuses.
    """
    try:
        from mlflow.tracking import MlflowClient
    except ImportError:
        raise RunError(
            "MLFLOW_TRACKING_URI is set but the mlflow package is missing: "
            "install it with `pip install 'eolab[mlflow]'`, or unset the variable."
        ) from None
    run, uri = history.load(folder), os.environ.get("MLFLOW_TRACKING_URI", "")
    if not reachable(uri):
        return ""
    for name, value in _LIMITS.items():  # MLflow's own, seven times two minutes, are longer than most runs
        os.environ.setdefault(name, value)
    try:
        return _log(MlflowClient(), run)
    except Exception as error:  # MLflow's own, and those of the libraries that it sends files with
        reason = _without_login(" ".join(str(error).split()))
        raise RunError(
            f"MLflow at {_without_login(uri)} did not take run {folder}: {reason:.300}."
        ) from error


def _log(client: Any, run: history.RunRecord) -> str:
    from mlflow.entities import Metric, Param

    run_id = _open(client, run)
    stamp = int(run.folder.stat().st_mtime * 1000)
    numbers = overview.numbers(run)
    params = [Param(name, _shortened(str(run.settings[key]))) for key, name in _names(run.settings).items()]
    metrics = _metrics([], numbers, stamp, 0, Metric)
    try:
        client.log_batch(run_id, metrics, params)  # in batches that a server takes
        _log_epochs(client, run)
        if (parent := os.environ.get("MLFLOW_RUN_ID")) and run.status == "done":
            client.log_batch(
                parent, _metrics([_who(run)], overview.main_metrics_of(run), stamp, 0, Metric), []
            )
        for file in sorted(run.folder.rglob("*")):
            within = file.relative_to(run.folder)
            hidden = any(part.startswith(".") or part in ("checkpoint", "store") for part in within.parts)
            if file.is_file() and not hidden and file.stat().st_size <= _MAX_ARTIFACT:
                client.log_artifact(run_id, str(file), within.parent.as_posix().strip("."))
    except Exception:
        with contextlib.suppress(Exception):  # not left as running
            client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id, "FINISHED" if run.status == "done" else "FAILED")
    folders.update_record(run.folder, mlflow_run_id=run_id)
    return run_id


# === Epochs ===


@contextlib.contextmanager
def followed(folder: Path) -> Iterator[None]:
    """Log the epochs of the trainings in a run folder while its notebook runs.

    They are read from ``history.csv``, in a thread of the runner: MLflow can neither slow a training nor end
    it, and what it does not take now is logged with the finished run.
    """
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(_EVERY_S):
            with contextlib.suppress(Exception):
                if any(len(rows) > logged for logged, rows in _new_epochs(folder).values()):
                    from mlflow.tracking import MlflowClient

                    _log_epochs(MlflowClient(), history.load(folder))

    looking = threading.Thread(target=look, daemon=True)
    if reachable(os.environ.get("MLFLOW_TRACKING_URI", "")):
        looking.start()
    try:
        yield
    finally:
        ended.set()
        if looking.is_alive():
            looking.join()


def _log_epochs(client: Any, run: history.RunRecord) -> None:
    """Log the epochs that are not logged yet, a step each, as ``epoch.val_loss``.

    The run that others belong to gets the best value so far of each validation score, such as
    ``04_train_pixels.best.val_loss``: one name for a sweep of Azure ML to compare its jobs by, and to end
    those early that fall behind.
    """
    from mlflow.entities import Metric

    found = _new_epochs(run.folder)
    parent = os.environ.get("MLFLOW_RUN_ID")
    own, above = [], []
    for file, (logged, rows) in found.items():
        parts = Path(file).parent.parts
        stamp = int((run.folder / file).stat().st_mtime * 1000)
        best: dict[str, float] = {}
        for number, row in enumerate(rows):
            step = int(float(row["epoch"]))
            known = {key: float(text) for key, text in row.items() if text and key != "epoch"}
            known = {key: value for key, value in known.items() if math.isfinite(value)}
            for key, value in known.items():
                if key.startswith("val_"):
                    better = min if key.endswith(_LOWER) else max
                    best[key] = better(value, best.get(key, value))
            if number >= logged:
                own += _metrics([*parts, "epoch"], known, stamp, step, Metric)
                above += _metrics([_who(run), *parts, "best"], best, stamp, step, Metric)
    if own:
        client.log_batch(_open(client, run), own, [])
        if parent and above:
            client.log_batch(parent, above, [])
        _remember(run.folder, epochs={file: len(rows) for file, (_, rows) in found.items()})


def _metrics(place: list[str], values: dict[str, float], stamp: int, step: int, kind: Any) -> list[Any]:
    """Return values as MLflow's metrics, their names behind those of a place."""
    full = {".".join([*place, key]): value for key, value in values.items()}
    named = _names(full)
    return [kind(named[key], float(value), stamp, step) for key, value in full.items()]


def _new_epochs(folder: Path) -> dict[str, tuple[int, list[dict[str, str]]]]:
    """Return how many rows of each ``history.csv`` of a run are logged, and all of them."""
    known = folders.read_json(folder / folders.TRACKED).get("epochs") or {}
    found = {}
    for file in sorted(folder.rglob("history.csv")):
        with file.open(encoding="utf-8", newline="") as text:
            rows = [row for row in csv.DictReader(text) if row.get("epoch")]
        name = file.relative_to(folder).as_posix()
        logged = known.get(name, 0) if known.get(name, 0) <= len(rows) else 0  # begun anew
        found[name] = logged, rows
    return found


def _remember(folder: Path, **changes: Any) -> None:
    """Keep what MLflow has of a run; the record is the notebook's while it runs."""
    file = folder / folders.TRACKED
    folders.write_json(file, {**folders.read_json(file), **changes})


# === The run that others belong to ===


def under_parent(study: str, name: str, work: Callable[[], bool]) -> bool:
    """Do the work of a command with an MLflow run of its own, which its runs become children of.

    There is none where no server is named or answers, or the command has one already (a job of Azure ML). One
    without children, as all was done before, is deleted. What is wrong with MLflow each run says itself.

    Args:
        study: Name of the study.
        name: Name of the MLflow run.
        work: What is done; returns whether all went well.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri or os.environ.get("MLFLOW_RUN_ID") or not reachable(uri):
        return work()
    try:
        from mlflow.tracking import MlflowClient

        client: Any = MlflowClient()
        place = _experiment(client, study, None)
        parent = str(
            client.create_run(place, tags={"mlflow.runName": name, "eolab.study": study}).info.run_id
        )
    except Exception:
        return work()
    os.environ["MLFLOW_RUN_ID"], good = parent, False
    try:
        good = work()
    finally:
        del os.environ["MLFLOW_RUN_ID"]
        with contextlib.suppress(Exception):
            client.set_terminated(parent, "FINISHED" if good else "FAILED")
            if not client.search_runs([place], f"tags.mlflow.parentRunId = '{parent}'", max_results=1):
                client.delete_run(parent)
    return good


def _names(keys: Iterable[str]) -> dict[str, str]:
    """Return names that MLflow takes, by the names that we have; two stay two.

    MLflow takes letters, digits, blanks and ``_ - .``, some servers ``/`` and ``:``; names are file names.
    """
    found: dict[str, str] = {}
    for key in keys:
        name = base = re.sub(r"[^\w.\- ]|^\.+", "_", str(key))[:_MAX_NAME] or "_"
        number = 1
        while name in found.values():
            number += 1
            name = f"{base}_{number}"
        found[key] = name
    return found


def _who(run: history.RunRecord) -> str:
    """Return what a run is called among the metrics of the run that it belongs to."""
    return str(run.record.get("point") or run.record["notebook"])


def _shortened(value: str) -> str:
    return value if len(value) <= _MAX_PARAMETER else f"{value[: _MAX_PARAMETER - 1]}…"


def _open(client: Any, run: history.RunRecord) -> str:
    """Return the id of the MLflow run for a run folder: the one it had, else a new one."""
    if known := run.record.get("mlflow_run_id") or folders.read_json(run.folder / folders.TRACKED).get("run"):
        return str(known)
    parent = os.environ.get("MLFLOW_RUN_ID")
    study, notebook = run.record["study"], run.record["notebook"]
    tags = {"mlflow.runName": f"{notebook} {run.folder.name}", "eolab.study": study}
    tags |= {"eolab.notebook": notebook, "eolab.simulated": str(run.simulated).lower()}
    if parent:
        tags["mlflow.parentRunId"] = parent
    run_id = str(client.create_run(_experiment(client, study, parent), tags=tags).info.run_id)
    _remember(run.folder, run=run_id)
    return run_id


def _experiment(client: Any, study: str, parent: str | None) -> str:
    if os.environ.get("MLFLOW_EXPERIMENT_ID"):
        return os.environ["MLFLOW_EXPERIMENT_ID"]
    if parent:
        return str(client.get_run(parent).info.experiment_id)
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or f"eolab {study}"
    found = client.get_experiment_by_name(name)
    return str(found.experiment_id if found else client.create_experiment(name))
