"""Runs on workers of dask.distributed."""

import os
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from eolab.core.errors import ParameterError, RunError, missing_package
from eolab.runs import chain, execute, folders, history
from eolab.runs.chain import Workers
from eolab.runs.clusters import shared
from eolab.runs.clusters.shared import Say
from eolab.runs.execute import Job

_LOOK_EVERY_S = 1.0


@contextmanager
def workers(address: str, jobs: int | None, force: bool, say: Say) -> Iterator[Workers]:
    """Give the workers of a scheduler, or of a cluster that ends with this process.

    A run whose worker is lost begins once more on another one; a scheduler of one's own repeats it as often
    as its setting ``distributed.scheduler.allowed-failures`` says. A run that takes more memory than a thread
    of its worker has is stopped.
    """
    try:
        import dask
        from distributed import Client
    except ImportError:
        raise missing_package("distributed", "which `--on dask` needs", "dask") from None
    settings = {"distributed.scheduler.allowed-failures": 1, "distributed.nanny.pre-spawn-environ": {}}
    with dask.config.set(settings), closing(_client(Client, address, jobs)) as client:
        hosts: Counter[str] = Counter()
        for worker, number in client.nthreads().items():
            hosts[worker.rpartition(":")[0]] += number
        heard = _Heard(say)
        topic = f"eolab-{uuid4().hex}"
        client.subscribe_topic(topic, lambda event: heard(*event[1]))
        about = (force, shared.environment(), max(hosts.values()), topic)
        going: dict[Path, Any] = {}

        def run(job: Job, counter: str) -> str:
            future = client.submit(_work, job, counter, *about, key=f"eolab-{uuid4().hex}", pure=False)
            going[job.folder] = future
            return _outcome(future, job, heard)

        def stop(folder: Path | None = None) -> None:
            for home, future in list(going.items()):
                if folder in (None, home):
                    future.cancel()

        yield Workers(sum(hosts.values()), run, stop, again=True)


def _client(connect: Any, address: str, jobs: int | None) -> Any:
    """Return a client of a scheduler that has workers, or of a cluster of this machine."""
    if not address:
        from distributed import LocalCluster
        from distributed.system import MEMORY_LIMIT

        number = jobs or max(1, min(os.cpu_count() or 1, int(MEMORY_LIMIT // shared.LEAST_BYTES)))
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
        client = connect(address, timeout=shared.PATIENCE_S)
    except (OSError, ValueError) as error:
        raise ParameterError(
            f"No scheduler of dask answers at {address} ({type(error).__name__}): start one with `dask "
            "scheduler`, its workers with `dask worker ADDRESS --nthreads 1`, or see whether the address is "
            "right."
        ) from None
    try:
        client.wait_for_workers(1, timeout=shared.PATIENCE_S)
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
    shared.begin(job, environment, str(worker.address))

    def say(text: str) -> None:
        worker.log_event(topic, [attempt, len(lines), text])
        lines.append(text)

    limit = (worker.memory_manager.memory_limit or 0) / worker.state.nthreads
    wanted = partial(_wanted, worker, worker.get_current_task())
    job = replace(job, environment=chain.threads(beside))
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
