"""One notebook run in a process of its own, into its run folder."""

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from eolab.core import workspace
from eolab.core.errors import RunError
from eolab.data import sources
from eolab.runs import folders, freshness, history, parameters, team, tracking, warm
from eolab.runs.record import RUN_DIR
from eolab.runs.study import Notebook

QUIET = {  # C++ libraries write to stderr what nobody reads in a report
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "GLOG_minloglevel": "2",
    "GRPC_VERBOSITY": "ERROR",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
}
WORKER = [sys.executable, "-m", "eolab.runs.worker"]  # runs one notebook
Process = subprocess.Popen[bytes] | warm.Forked
_FIRST = threading.Lock()  # taken by the first run of a command, for good
_RUNNING: dict[Process, Path] = {}  # what `stop` ends, and its run folder; sweeps run several at once


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
        keep_code: Whether an earlier run counts though source files of the package changed since.
        point: What the terminal calls a point of a sweep, such as ``model=lstm seed=0``; empty for others.
    """

    notebook: Notebook
    values: dict[str, Any]
    upstream: dict[str, Path]
    root: Path
    profile: str | None = None
    timeout: int | None = None
    environment: dict[str, str] = field(default_factory=dict)
    sweep: str = ""
    keep_code: bool = False
    point: str = ""

    @cached_property
    def folder(self) -> Path:
        """The run folder; the same job has the same folder, whichever profile or sweep asks for it.

        Where there are several, as JupyterLab has folders of its own, a finished one counts before others.
        """
        name = self.notebook.run_name(self.profile or "default", self.values, self.upstream)
        parent = self.root / self.notebook.study / self.notebook.name
        there = parent.glob(f"*-{name.rpartition('-')[2]}")
        found = [
            (history.RunRecord(folder).status != "done", folder.name != name, folder)
            for folder in there
            if not folders.is_copy(folder)
        ]
        return min(found)[2] if found else parent / name

    @property
    def label(self) -> str:
        """Name for the terminal."""
        return self.point or f"{self.notebook.name} {self.folder.name}"

    def stamps(self) -> dict[str, Any]:
        """Input parameter → which upstream run, ended when: what makes this run stale when it changes."""
        return {key: history.RunRecord(folder).stamp for key, folder in self.upstream.items()}


def is_done(job: Job) -> bool:
    """Return whether the job was finished before, from all that is there now."""
    return history.RunRecord(job.folder).status == "done" and not changes(job)


def changes(job: Job, folder: Path | None = None) -> list[str]:
    """Return what changed since an earlier run, see :func:`freshness.changes`; code last.

    Args:
        job: The run to do.
        folder: Folder of the earlier run, the job's own where None.
    """
    run = history.RunRecord(folder or job.folder)
    found = freshness.changes(run, job.notebook, job.upstream)
    code = "" if job.keep_code else freshness.code_changes(run)
    return [*found, code] if code else found


def run(job: Job, force: bool = False, say: Callable[[str], None] = print) -> history.RunRecord:
    """Run a notebook and return its record; its ``status`` says whether it failed.

    A folder of an earlier unfinished run is entered again, so that stores and training resume. With
    ``force``, or where what it was made from has changed, the run is repeated in ``<folder>.repeat``, which
    takes the place of the folder once it is done; a finished run stays as it is where its repetition fails.
    Files that no run wrote stay in the folder.

    Where another runner is at this run, it is waited for; what it has finished is not done again.

    Args:
        job: The run to do.
        force: Whether to repeat a finished run.
        say: Takes the line that says that another runner is waited for.

    Raises:
        RunError: If another process works in the folder, or the process could not be started.
        KeyboardInterrupt: After the notebook's process was stopped.
    """
    recovered = False
    while True:
        with _alone(job.folder, f"{job.label}: another process is at it, waiting for its end", say) as waited:
            if _recover(job):
                recovered = True
                continue  # the folder is another one, and nobody holds it yet
            if (waited or recovered) and not force and is_done(job):
                return history.load(job.folder)
            place = _place(job, force)
            record = _run_in(place, job)
            earlier = history.RunRecord(job.folder).record
            if place != job.folder and (record.status == "done" or earlier.get("status") != "done"):
                folders.replace(job.folder, place)
                return history.load(job.folder)
            return record


@contextlib.contextmanager
def _alone(folder: Path, waiting: str, say: Callable[[str], None]) -> Iterator[bool]:
    """Hold a run folder for this runner; give whether another one held it before."""
    waited = False
    while True:
        if held := folders.lock(folder, folders.RUNNER_LOCK):
            break
        if not waited:
            waited = True
            say(waiting)
        time.sleep(0.2)
    with held:
        yield waited


def _place(job: Job, force: bool) -> Path:
    """Return where to run: in the run's own folder, or beside it where it holds another run."""
    folder, beside = job.folder, folders.beside(job.folder)
    if not history.RunRecord(folder).record or (not force and not changes(job, folder)):
        return folder
    if beside.exists() and (force or changes(job, beside)):
        empty = beside.with_name(f".{beside.name}.{os.getpid()}")
        empty.mkdir()
        folders.replace(beside, empty)
    return beside


def _recover(job: Job) -> bool:
    """Take up what a kill left beside a run folder, and return whether that is the run folder now.

    That is the run that was to be replaced, where nothing is in its place, and a repetition that is done and
    was not put in the place of an earlier run.
    """
    folder, beside, recovered = job.folder, folders.beside(job.folder), False
    for old in folders.set_aside(folder) + folders.set_aside(beside):
        if history.RunRecord(folder).record:
            shutil.rmtree(old, ignore_errors=True)
        elif not recovered:
            folders.replace(folder, old)
            recovered = True
    if history.RunRecord(beside).status == "done" and not changes(job, beside):
        folders.replace(folder, beside)
        recovered = True
    return recovered


def _run_in(folder: Path, job: Job) -> history.RunRecord:
    """Run a notebook in a folder, in a process of its own, and return its record."""
    folder.mkdir(parents=True, exist_ok=True)
    job_file, description = folder / folders.JOB, _description(job, folder)
    folders.write_json(job_file, description)
    command, environment = [*WORKER, str(job_file)], _environment(job, folder)
    with team.along(description, environment, partial(stop, folders.home(folder))) as more:
        environment |= more
        forked = warm.fork(command, environment, job.notebook.path)
        if forked and _FIRST.acquire(blocking=False):  # each run asks for the digests of the code
            threading.Thread(target=sources.digests, daemon=True).start()
        code = _end(forked, folder) if forked else 0
        if not forked or not forked.pid:  # in a session of its own: Ctrl-C reaches the runner, which stops it
            cold = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, start_new_session=True)
            code = _end(cold, folder)
    return _outcome(folder, code)


def _end(process: Process, folder: Path) -> int:
    """Wait for the end of a process and return its exit status."""
    _RUNNING[process] = folders.home(folder)
    try:
        return process.wait()
    except BaseException:
        _stop(process)
        raise
    finally:
        _RUNNING.pop(process, None)
        if process.stdin:
            process.stdin.close()


def stop(folder: Path | None = None) -> None:
    """Stop the notebook of a run folder, or all that run; they are marked as stopped and can be resumed."""
    for process, home in list(_RUNNING.items()):
        if folder in (None, home):
            _stop(process)


def going(folder: Path) -> list[int]:
    """Return the numbers of the processes that work in a run folder now."""
    return [process.pid for process, home in list(_RUNNING.items()) if home == folder and process.pid > 0]


def _outcome(folder: Path, code: int) -> history.RunRecord:
    if code == 3:
        raise RunError(folders.BUSY.format(folder))
    record = history.RunRecord(folder)
    if record.status not in ("done", "failed", "stopped"):
        reason = f"its process ended with status {code} (a negative number is a signal; -9: out of memory?)"
        if not record.record:
            raise RunError(f"{folder} holds no run: {reason}, what it said stands above.")
        folders.end(folder, "failed", folders.failure("RunError", reason))
    return history.load(folder)


def _stop(process: Process) -> None:
    if process.stdin:
        process.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10 if process.pid else 0)
    if process.poll() is None:
        process.kill()
        process.wait()


def _description(job: Job, folder: Path) -> dict[str, Any]:
    """Return what the worker must know, see :mod:`eolab.runs.worker`."""
    values = {**job.values, **{key: str(path) for key, path in job.upstream.items()}}
    label = history.RunRecord(job.folder).record.get("label") or ""  # a run made again keeps its name
    facts = {"run": job.folder.name, "profile": job.profile, "sweep": job.sweep, "upstream": job.stamps()}
    facts |= {"label": label, "point": job.point}
    return {
        "label": job.label,
        "path": str(job.notebook.path),
        "folder": str(folder),
        "output": f"{job.notebook.name}.ipynb",
        "values": parameters.nested(job.notebook.parameters, values),
        "timeout": job.timeout,
        "record": {**job.notebook.about(values), **facts},
    }


def _environment(job: Job, folder: Path) -> dict[str, str]:
    own = {"EOLAB_HEADLESS": "1", "EOLAB_ROOT": str(workspace.root())}
    own |= {"EOLAB_RUNS": str(job.root), RUN_DIR: str(folder)}
    kept = {key: value for key, value in os.environ.items() if key != "MPLBACKEND"}
    if not tracking.reachable(kept.get("MLFLOW_TRACKING_URI", "")):
        del kept["MLFLOW_TRACKING_URI"]  # asked once a command, not once a notebook
    return {**QUIET, **kept, **own, **job.environment}
