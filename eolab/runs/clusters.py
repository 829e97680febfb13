"""Where the runs of a sweep go on: in processes of this machine, or on a cluster of dask.distributed.

A kind of place is a context manager in :data:`KINDS` that gives :class:`Workers`. Each run is a process of
its own in all of them, in the same folder, and a run that was done before is skipped.
"""

import os
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from eolab.core import workspace
from eolab.core.errors import ParameterError, RunError, check_known
from eolab.runs import chain, execute, folders, history
from eolab.runs.execute import Job

LEAST_BYTES = 4e9  # memory of a worker, where their number is not given
PATIENCE_S = 30.0  # for a scheduler to answer and for a first worker
_LOOK_EVERY_S = 1.0
Say = Callable[[str], None]


@dataclass(frozen=True)
class Workers:
    """What carries out runs.

    Attributes:
        number: How many runs it takes at once.
        run: Carries out a job, whose lines begin with a counter, and returns what :func:`chain.step` does;
            threads call it side by side.
        stop: Stops what goes on; the same sweep resumes it.
    """

    number: int
    run: Callable[[Job, str], str]
    stop: Callable[[], None]


def workers(on: str, jobs: int | None, force: bool, say: Say) -> AbstractContextManager[Workers]:
    """Give the workers of a place as long as they are needed.

    Args:
        on: Empty for processes of this machine, ``dask`` for a cluster on it, ``dask=ADDRESS`` for the
            cluster of a scheduler; all machines must see the folders of the project, its data and its runs.
        jobs: Runs at once on this machine; None for one in processes, and as many in a cluster as it has
            cores and 4 GB of memory for.
        force: Whether to run again what is done.
        say: Prints a line.

    Raises:
        ParameterError: If there is no such place, its package is missing, or nothing answers at the address.
    """
    kind, equals, address = on.partition("=")
    check_known(kind, KINDS, f"--on {on}: there is no place {kind!r}")
    if equals and not address:
        raise ParameterError(f"--on {on} names no address: give one such as {kind}=tcp://host:8786.")
    if address and jobs:
        raise ParameterError(f"--on {on} has workers of its own, one run for each thread: leave --jobs out.")
    return KINDS[kind](address, jobs, force, say)


def threads(beside: int) -> dict[str, str]:
    """Return the environment that shares the cores among runs that go on at the same time."""
    if beside == 1:
        return {}
    cores = str(max(1, (os.cpu_count() or 1) // beside))
    return {"OMP_NUM_THREADS": cores, "TF_NUM_INTRAOP_THREADS": cores, "TF_NUM_INTEROP_THREADS": "1"}


@contextmanager
def _here(_: str, jobs: int | None, force: bool, say: Say) -> Iterator[Workers]:
    """Give processes of this machine."""

    def run(job: Job, counter: str) -> str:
        return chain.step(replace(job, environment=threads(jobs or 1)), counter, force, say)

    yield Workers(jobs or 1, run, execute.stop)


# === dask.distributed ===


@contextmanager
def _dask(address: str, jobs: int | None, force: bool, say: Say) -> Iterator[Workers]:
    """Give the workers of a scheduler, or of a cluster that ends with this process.

    A run whose worker is lost begins once more on another one; a scheduler of one's own repeats it as often
    as its setting ``distributed.scheduler.allowed-failures`` says. A run that takes more memory than a thread
    of its worker has is stopped.
    """
    try:
        import dask
        from distributed import Client
    except ImportError:
        raise ParameterError(
            "The package distributed, which `--on dask` needs, is missing: install it with "
            "`pip install 'eolab[dask]'`."
        ) from None
    settings = {"distributed.scheduler.allowed-failures": 1, "distributed.nanny.pre-spawn-environ": {}}
    with dask.config.set(settings), closing(_client(Client, address, jobs)) as client:
        hosts: Counter[str] = Counter()
        for worker, number in client.nthreads().items():
            hosts[worker.rpartition(":")[0]] += number
        heard = _Heard(say)
        topic = f"eolab-{uuid4().hex}"
        client.subscribe_topic(topic, lambda event: heard(*event[1]))
        own = {key: value for key, value in os.environ.items() if key.startswith(("EOLAB_", "MLFLOW_"))}
        about = (force, own | {"EOLAB_ROOT": str(workspace.root())}, max(hosts.values()), topic)
        going: set[Any] = set()

        def run(job: Job, counter: str) -> str:
            future = client.submit(_work, job, counter, *about, key=f"eolab-{uuid4().hex}", pure=False)
            going.add(future)
            return _outcome(future, job, heard)

        def stop() -> None:
            for future in list(going):
                future.cancel()

        yield Workers(sum(hosts.values()), run, stop)


def _client(connect: Any, address: str, jobs: int | None) -> Any:
    """Return a client of a scheduler that has workers, or of a cluster of this machine."""
    if not address:
        from distributed import LocalCluster
        from distributed.system import MEMORY_LIMIT

        number = jobs or max(1, min(os.cpu_count() or 1, int(MEMORY_LIMIT // LEAST_BYTES)))
        return connect(
            LocalCluster(
                n_workers=number,
                threads_per_worker=1,
                memory_limit=MEMORY_LIMIT // number,
                host="127.0.0.1",
                dashboard_address=None,
                silence_logs=50,  # critical: losses of workers are said by us
            )
        )
    try:
        client = connect(address, timeout=PATIENCE_S)
    except (OSError, ValueError) as error:
        raise ParameterError(
            f"No scheduler of dask answers at {address} ({type(error).__name__}): start one with `dask "
            "scheduler`, its workers with `dask worker ADDRESS --nthreads 1`, or see whether the address is "
            "right."
        ) from None
    try:
        client.wait_for_workers(1, timeout=PATIENCE_S)
    except TimeoutError:
        client.close()
        raise ParameterError(
            f"The scheduler at {address} has no workers: start them with `dask worker {address}`."
        ) from None
    return client


class _Heard:
    """Prints the lines of runs in their order, each once, whichever way they come.

    They come as events while a run goes on, and once more with its result, as the last events may come late.
    """

    def __init__(self, say: Say) -> None:
        self._say, self._said, self._lock = say, defaultdict[str, int](int), threading.Lock()

    def __call__(self, attempt: str, number: int, text: str) -> None:
        with self._lock:
            if number == self._said[attempt]:
                self._said[attempt] += 1
                self._say(text)


def _outcome(future: Any, job: Job, heard: _Heard) -> str:
    """Wait for a run on a worker, and say where it was lost."""
    from concurrent.futures import CancelledError

    from distributed import KilledWorker

    try:
        outcome, attempt, lines = future.result()
    except KilledWorker:
        why = "its worker was lost, and the one that began it once more too (out of memory?)"
        heard(uuid4().hex, 0, f"FAILED {job.label}: {why}")
        return ""
    except CancelledError:
        heard(uuid4().hex, 0, f"FAILED {job.label}: stopped, or the cluster is gone")
        return ""
    except RunError as error:
        heard(uuid4().hex, 0, f"FAILED {job.label}: {error}")
        return ""
    for number, text in enumerate(lines):
        heard(attempt, number, text)
    return outcome


def _work(
    job: Job, counter: str, force: bool, environment: dict[str, str], beside: int, topic: str
) -> tuple[str, str, list[str]]:
    """Carry out a job on a worker; return its outcome, a name of this attempt, and what was said."""
    from distributed import get_worker

    worker, attempt, lines = get_worker(), uuid4().hex, list[str]()
    os.environ.update(environment)
    if not job.notebook.path.is_file():
        raise RunError(
            f"the worker {worker.address} does not see {job.notebook.path}: cluster and command need the "
            "same folders."
        )

    def say(text: str) -> None:
        worker.log_event(topic, [attempt, len(lines), text])
        lines.append(text)

    limit = (worker.memory_manager.memory_limit or 0) / worker.state.nthreads
    wanted = partial(_wanted, worker, worker.get_current_task())
    job = replace(job, environment=threads(beside))
    with _guarded(job.folder, wanted, limit) as reasons:
        outcome = chain.step(job, counter, force, say)
    if reasons and history.RunRecord(job.folder).status == "stopped":
        say(f"FAILED {job.label}: {reasons[0]}")
        folders.end(job.folder, "failed", folders.failure("MemoryError", reasons[0]))
    return outcome, attempt, lines


def _wanted(worker: Any, key: str) -> bool:
    """Return whether somebody still waits for a task; not where its client has cancelled it or is gone."""
    task = worker.state.tasks.get(key)
    return task is not None and task.state not in ("cancelled", "resumed")


@contextmanager
def _guarded(folder: Path, wanted: Callable[[], bool], limit: float) -> Iterator[list[str]]:
    """Stop a run that nobody wants any more or that takes too much memory, for which a reason is given.

    Args:
        folder: The run folder.
        wanted: Whether the run is still wanted.
        limit: Most bytes of its processes, 0 for no limit.
    """
    ended, reasons = threading.Event(), list[str]()

    def look() -> None:
        while not ended.wait(_LOOK_EVERY_S):
            taken = sum(map(_memory, execute.going(folder))) if limit else 0
            if taken > limit:
                share = f"{limit / 1e9:.1f} GB, the share of its worker"
                reasons.append(
                    f"it takes {taken / 1e9:.1f} GB of memory, more than {share}: use fewer --jobs"
                )
            if reasons or not wanted():
                execute.stop(folder)

    threading.Thread(target=look, daemon=True).start()
    try:
        yield reasons
    finally:
        ended.set()


def _memory(process: int) -> int:
    """Return the bytes that a process and those below it take; pages that several share count once."""
    import psutil

    total = 0
    with suppress(psutil.Error):
        for one in (first := psutil.Process(process), *first.children(recursive=True)):
            with suppress(psutil.Error):
                found = one.memory_full_info()
                total += getattr(found, "pss", found.uss)
    return total


KINDS: dict[str, Callable[[str, int | None, bool, Say], AbstractContextManager[Workers]]] = {
    "": _here,
    "dask": _dask,
}
"""What ``--on`` may name; empty stands for this machine without a cluster."""
