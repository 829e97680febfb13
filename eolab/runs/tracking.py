"""Finished runs in MLflow, where ``MLFLOW_TRACKING_URI`` is set (as Azure ML does in its jobs).

The files of the run folder stay the truth; MLflow gets a copy of parameters, metrics and files.
"""

import os
from pathlib import Path
from typing import Any

from eolab.core import yamls
from eolab.core.errors import RunError
from eolab.runs import folders, history

_MAX_PARAMETER = 6000  # characters that every MLflow server takes
_MAX_ARTIFACT = 200 * 2**20  # bytes; larger files stay in the run folder


def log(folder: Path) -> str:
    """Log a run folder to MLflow and return the id of the MLflow run.

    Inside a job that has an MLflow run of its own (``MLFLOW_RUN_ID``) the logged run is its child. A run
    folder that was logged before is logged into the same MLflow run again.

    Raises:
        RunError: If the mlflow package is missing or the tracking server refuses.
    """
    try:
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
    except ImportError:
        raise RunError(
            "MLFLOW_TRACKING_URI is set but the mlflow package is missing: "
            "install it with `pip install 'eolab[mlflow]'`, or unset the variable."
        ) from None
    run = history.load(folder)
    try:
        return _log(MlflowClient(), run)
    except MlflowException as error:
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        reason = " ".join(str(error).split())
        raise RunError(f"MLflow at {uri} did not take run {folder}: {reason:.300}.") from error


def _log(client: Any, run: history.RunRecord) -> str:
    from mlflow.entities import Metric, Param

    run_id = _open(client, run)
    stamp = int(run.folder.stat().st_mtime * 1000)
    params = [Param(key, str(value)[:_MAX_PARAMETER]) for key, value in run.settings.items()]
    flat = yamls.flatten(run.metrics).items()
    metrics = [Metric(key, float(value), stamp, 0) for key, value in flat if isinstance(value, int | float)]
    client.log_batch(run_id, metrics, params)  # in batches that a server takes
    for file in sorted(run.folder.rglob("*")):
        within = file.relative_to(run.folder)
        hidden = any(part.startswith(".") or part in ("checkpoint", "store") for part in within.parts)
        if file.is_file() and not hidden and file.stat().st_size <= _MAX_ARTIFACT:
            client.log_artifact(run_id, str(file), within.parent.as_posix().strip("."))
    client.set_terminated(run_id, "FINISHED" if run.status == "done" else "FAILED")
    folders.update_record(run.folder, mlflow_run_id=run_id)
    return run_id


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
