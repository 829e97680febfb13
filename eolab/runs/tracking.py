"""Finished runs in MLflow, where ``MLFLOW_TRACKING_URI`` is set (as Azure ML does in its jobs).

The files of the run folder stay the truth; MLflow gets a copy of parameters, metrics and files.
"""

import contextlib
import functools
import http.client
import os
import re
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from eolab.core import yamls
from eolab.core.errors import RunError
from eolab.runs import folders, history

_MAX_PARAMETER = 500  # characters that every MLflow server takes; params.yaml has the whole value
_MAX_NAME = 240
_MAX_ARTIFACT = 200 * 2**20  # bytes; larger files stay in the run folder
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
    flat = yamls.flatten(run.metrics)
    numbers = {key: value for key, value in flat.items() if isinstance(value, int | float)}
    params = [Param(name, _shortened(str(run.settings[key]))) for key, name in _names(run.settings).items()]
    metrics = [Metric(name, float(numbers[key]), stamp, 0) for key, name in _names(numbers).items()]
    try:
        client.log_batch(run_id, metrics, params)  # in batches that a server takes
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


def _shortened(value: str) -> str:
    return value if len(value) <= _MAX_PARAMETER else f"{value[: _MAX_PARAMETER - 1]}…"


def _open(client: Any, run: history.RunRecord) -> str:
    """Return the id of the MLflow run for a run folder: the one it had, else a new one."""
    if known := run.record.get("mlflow_run_id"):
        return str(known)
    parent = os.environ.get("MLFLOW_RUN_ID")
    study, notebook = run.record["study"], run.record["notebook"]
    tags = {"mlflow.runName": f"{notebook} {run.folder.name}", "eolab.study": study}
    tags |= {"eolab.notebook": notebook, "eolab.simulated": str(run.simulated).lower()}
    if parent:
        tags["mlflow.parentRunId"] = parent
    return str(client.create_run(_experiment(client, run, parent), tags=tags).info.run_id)


def _experiment(client: Any, run: history.RunRecord, parent: str | None) -> str:
    if os.environ.get("MLFLOW_EXPERIMENT_ID"):
        return os.environ["MLFLOW_EXPERIMENT_ID"]
    if parent:
        return str(client.get_run(parent).info.experiment_id)
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or f"eolab {run.record['study']}"
    found = client.get_experiment_by_name(name)
    return str(found.experiment_id if found else client.create_experiment(name))
