"""One notebook run in a process of its own, into its run folder."""

import contextlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from eolab.core import workspace
from eolab.core.errors import RunError
from eolab.runs import folders, history, parameters
from eolab.runs.record import RUN_DIR
from eolab.runs.study import Notebook

QUIET = {  # C++ libraries write to stderr what nobody reads in a report
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "GLOG_minloglevel": "2",
    "GRPC_VERBOSITY": "ERROR",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
}
WORKER = [sys.executable, "-m", "eolab.runs.worker"]  # runs one notebook
BUSY = "Another process is working in {}: wait for it, or end it, then run again."
_RUNNING: set[subprocess.Popen[bytes]] = set()  # what stop_all ends; sweeps run several at once


@dataclass(frozen=True)
class Job:
    """One run to do.

    Attributes:
        notebook: The notebook.
        values: Parameters that were set, inputs left out; keys of groups by their full names.
        upstream: Input parameter → run folder.
        root: Folder of all runs.
        profile: Name of the profile, None for the notebook's defaults.
        timeout: Longest time for a cell in seconds, None for no limit.
        environment: Environment variables that only this run gets.
        sweep: Name of the sweep that the run is a point of, empty for a run of the study itself.
    """

    notebook: Notebook
    values: dict[str, Any]
    upstream: dict[str, Path]
    root: Path
    profile: str | None = None
    timeout: int | None = None
    environment: dict[str, str] = field(default_factory=dict)
    sweep: str = ""

    @cached_property
    def folder(self) -> Path:
        """The run folder; the same job has the same folder, whichever profile or sweep asks for it."""
        name = self.notebook.run_name(self.profile or "default", self.values, self.upstream)
        parent = self.root / self.notebook.study / self.notebook.name
        there = sorted(parent.glob(f"*-{name.rpartition('-')[2]}"))
        return there[0] if there else parent / name

    @property
    def label(self) -> str:
        """Name for the terminal."""
        return f"{self.notebook.name} {self.folder.name}"

    def stamps(self) -> dict[str, Any]:
        """Input parameter → which upstream run, ended when: what makes this run stale when it changes."""
        return {key: history.RunRecord(folder).stamp for key, folder in self.upstream.items()}


def is_done(job: Job) -> bool:
    """Return whether the job was finished before, on the upstream runs as they are now."""
    return history.RunRecord(job.folder).status == "done" and _fresh(job)


def run(job: Job, force: bool = False) -> history.RunRecord:
    """Run a notebook and return its record; its ``status`` says whether it failed.

    A folder of an earlier unfinished run is entered again, so that stores and training resume;
    with ``force``, or when the upstream runs have changed since, it is emptied first.

    Raises:
        RunError: If another process works in the folder, or the process could not be started.
        KeyboardInterrupt: After the notebook's process was stopped.
    """
    folder = job.folder
    if (folder / folders.RECORD).is_file() and (force or not _fresh(job)):
        held = folders.lock(folder)
        if held is None:
            raise RunError(BUSY.format(folder))
        held.close()
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    job_file = folder / ".job.json"
    folders.write_json(job_file, _description(job))
    command, environment = [*WORKER, str(job_file)], _environment(job)
    with subprocess.Popen(  # in a session of its own: Ctrl-C reaches the runner alone, which stops the worker
        command, stdin=subprocess.PIPE, env=environment, start_new_session=True
    ) as process:
        _RUNNING.add(process)
        try:
            code = process.wait()
        except BaseException:
            _stop(process)
            raise
        finally:
            _RUNNING.discard(process)
    return _outcome(folder, code)


def stop_all() -> None:
    """Stop every notebook that runs; their runs are marked as stopped and can be entered again."""
    for process in list(_RUNNING):
        _stop(process)


def _outcome(folder: Path, code: int) -> history.RunRecord:
    if code == 3:
        raise RunError(BUSY.format(folder))
    if history.load(folder).status not in ("done", "failed", "stopped"):
        reason = f"its process ended with status {code} (a negative number is a signal; -9: out of memory?)"
        folders.end(folder, "failed", folders.failure("RunError", reason))
    return history.load(folder)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.stdin:
        process.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    if process.poll() is None:
        process.kill()
        process.wait()


def _fresh(job: Job) -> bool:
    """Whether an earlier run in the folder has this code and these upstream runs; True without one."""
    record = history.RunRecord(job.folder).record
    if not record:
        return True
    known = record.get("upstream") or {}
    same = all(known.get(key) == stamp for key, stamp in job.stamps().items())
    return same and record.get("code") == job.notebook.code


def _description(job: Job) -> dict[str, Any]:
    """Return what the worker must know, see :mod:`eolab.runs.worker`."""
    values = {**job.values, **{key: str(path) for key, path in job.upstream.items()}}
    facts = {"run": job.folder.name, "profile": job.profile, "sweep": job.sweep, "upstream": job.stamps()}
    return {
        "label": job.label,
        "path": str(job.notebook.path),
        "folder": str(job.folder),
        "output": f"{job.notebook.name}.ipynb",
        "values": parameters.nested(job.notebook.parameters, values),
        "timeout": job.timeout,
        "record": {**job.notebook.about(values), **facts},
    }


def _environment(job: Job) -> dict[str, str]:
    own = {"EOLAB_HEADLESS": "1", "EOLAB_ROOT": str(workspace.root())}
    own |= {"EOLAB_RUNS": str(job.root), RUN_DIR: str(job.folder)}
    kept = {key: value for key, value in os.environ.items() if key != "MPLBACKEND"}
    return {**QUIET, **kept, **own, **job.environment}
