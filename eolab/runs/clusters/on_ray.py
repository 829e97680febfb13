"""Runs as tasks of Ray, which share out cores, memory and GPUs."""

import os
import signal
import socket
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from eolab.core.errors import ParameterError, RunError, missing_package
from eolab.runs import chain, execute
from eolab.runs.chain import Workers
from eolab.runs.clusters import shared
from eolab.runs.clusters.shared import Say
from eolab.runs.execute import Job

STORE_BYTES = 100_000_000  # of Ray's memory for objects, of which runs need none; Ray takes 78 MB at least
TOKEN = Path.home() / ".ray" / "auth_token"  # Ray makes one for clusters of this user
_LOOK_EVERY_S = 0.5
_STOP_S = 15.0  # for the notebooks that were stopped to end


@dataclass(frozen=True)
class Share:
    """What Ray gives each run, and how many go on at once.

    Attributes:
        number: Runs at once on all machines.
        beside: Runs at once on one machine, at most.
        needs: Cores, GPUs and bytes of memory of a run, as Ray calls them.
    """

    number: int
    beside: int
    needs: dict[str, float]


def share(machines: Sequence[Mapping[str, float]], jobs: int | None) -> Share:
    """Return what each run gets of some machines.

    Where there are GPUs, each run gets one and its part of the cores; else one core and
    :data:`~eolab.runs.clusters.shared.LEAST_BYTES` of memory.

    Args:
        machines: The resources of each machine, ``CPU``, ``GPU`` and ``memory`` (bytes).
        jobs: Runs at once on the only machine, which share it all; None for as many as fit.
    """
    if jobs:
        cores, gpus = machines[0].get("CPU", 1.0), machines[0].get("GPU", 0.0)
        each = gpus // jobs if gpus >= jobs else gpus / jobs
        return Share(jobs, jobs, {"num_cpus": cores / jobs, "num_gpus": each, "memory": 0})
    if with_gpus := [one for one in machines if one.get("GPU", 0) >= 1]:
        cores = min(one.get("CPU", 1) // one["GPU"] for one in with_gpus)
        numbers = [int(one["GPU"]) for one in with_gpus]
        return Share(sum(numbers), max(numbers), {"num_cpus": max(cores, 1.0), "num_gpus": 1, "memory": 0})
    least = shared.LEAST_BYTES
    numbers = [int(min(one.get("CPU", 1), one.get("memory", least) // least)) for one in machines]
    memory = least if sum(numbers) else 0.0  # a machine with less takes one run
    number = max(1, sum(numbers))
    return Share(number, max(1, *numbers), {"num_cpus": 1.0, "num_gpus": 0, "memory": memory})


@contextmanager
def workers(address: str, jobs: int | None, force: bool, say: Say) -> Iterator[Workers]:
    """Give the workers of a cluster, or of one that ends with this process.

    A run whose worker is lost, or stopped by Ray for want of memory, begins once more.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    if address:  # Ray, once imported, would try 20 times 40 s where something else answers
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")
    try:
        import ray
    except ImportError:
        raise missing_package("ray", "which `--on ray` needs", "ray") from None
    with _connected(ray, address):
        found = share([node["Resources"] for node in ray.nodes() if node["Alive"]], jobs)
        board = ray.remote(num_cpus=0)(Board).remote()
        task = ray.remote(_work).options(**found.needs, max_retries=1, retry_exceptions=False)
        going: dict[Path, Any] = {}

        def run(job: Job, counter: str) -> str:
            key = uuid4().hex
            about = (force, shared.environment(), found.beside, board, key)
            going[job.folder] = task.remote(job, counter, *about)
            return _outcome(ray, going[job.folder], job, board, key, say)

        def stop(folder: Path | None = None) -> None:
            chosen = [one for home, one in list(going.items()) if folder in (None, home)]
            for one in chosen:
                ray.cancel(one)
            if chosen:
                ray.wait(chosen, num_returns=len(chosen), timeout=_STOP_S)

        yield Workers(found.number, run, stop, again=True)


@contextmanager
def _connected(ray: Any, address: str) -> Iterator[None]:
    """Connect to a cluster, or to one of this machine that is there as long."""
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    own = {"num_cpus": os.cpu_count(), "object_store_memory": STORE_BYTES, **quiet}
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        if address:
            _knock(address)
            try:
                ray.init(address, log_to_driver=False, logging_level="ERROR")
            except ConnectionError:
                if not _takes_token():
                    raise
                ray.init(address, log_to_driver=False, logging_level="ERROR")
        else:
            ray.init("local", **own)
    except (OSError, ValueError, RuntimeError, ray.exceptions.RaySystemError) as error:
        if not address:
            raise RunError(
                f"Ray cannot start on this machine ({type(error).__name__}: {error}): its files stand in "
                f"{_files()}; RAY_TMPDIR names another folder."
            ) from None
        raise ParameterError(
            f"No cluster of Ray answers at {address} ({type(error).__name__}): start one "
            "with `ray start --head`, its workers with `ray start --address ADDRESS`, or see whether the "
            f"address is right and {TOKEN} is that of the cluster; `auto` is the cluster that this machine "
            "belongs to."
        ) from None
    try:
        with suppress(ValueError):  # not the main thread, which alone has handlers
            for number, handler in handlers.items():
                signal.signal(number, handler)  # Ray has put in its own
        yield
    except ray.exceptions.RayError as error:
        raise RunError(
            f"Ray has ended, or a part of it ({type(error).__name__}): its logs stand in "
            f"{_files() / 'session_latest/logs'}. The same command resumes."
        ) from None
    finally:
        ray.shutdown()


def _takes_token() -> bool:
    """Return whether Ray takes its token from now on, as `ray start` does by itself where there is one."""
    from ray._private.authentication import authentication_token_setup as tokens

    return "RAY_AUTH_MODE" not in os.environ and tokens.maybe_enable_token_auth_if_token_available(False)


def _files() -> Path:
    """Return where Ray keeps its files on this machine."""
    return Path(os.environ.get("RAY_TMPDIR") or "/tmp") / "ray"


def _knock(address: str) -> None:
    """Raise an error at once where nothing listens at an address; Ray would try for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=shared.PATIENCE_S).close()


class Board:
    """Holds the lines that runs say, by a key of each run, until the command reads them."""

    def __init__(self) -> None:
        self._lines = defaultdict[str, list[str]](list)

    def put(self, key: str, text: str) -> None:
        """Add a line."""
        self._lines[key].append(text)

    def take(self, key: str) -> list[str]:
        """Return the lines that were not taken yet."""
        return self._lines.pop(key, [])


def _outcome(ray: Any, going: Any, job: Job, board: Any, key: str, say: Say) -> str:
    """Wait for a run, print its lines, and say why it was lost."""
    ended: list[Any] = []
    while not ended:
        ended, _ = ray.wait([going], timeout=_LOOK_EVERY_S)
        for text in ray.get(board.take.remote(key)):
            say(text)
    try:
        return str(ray.get(going))
    except ray.exceptions.TaskCancelledError:
        return ""
    except ray.exceptions.OutOfMemoryError:
        reason = "its machine had no memory left, twice: use fewer --jobs"
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError):
        reason = "its worker was lost, and the one that began it once more too"
    except RunError as error:
        reason = str(error.__cause__ or error)
    say(f"FAILED {job.label}: {reason}")
    return ""


def _work(
    job: Job, counter: str, force: bool, environment: dict[str, str], beside: int, board: Any, key: str
) -> str:
    """Carry out a job in a process of Ray and return its outcome."""
    import ray

    shared.begin(job, environment, ray.util.get_node_ip_address())
    job = replace(job, environment=chain.threads(beside))
    with ThreadPoolExecutor(1) as beside_it:  # an interrupt by Ray wakes only a thread that looks for it
        going = beside_it.submit(
            chain.step, job, counter, force, lambda text: ray.get(board.put.remote(key, text))
        )
        try:
            while not wait([going], _LOOK_EVERY_S).done:
                pass
        except KeyboardInterrupt:
            execute.stop()
            raise
    return going.result()
