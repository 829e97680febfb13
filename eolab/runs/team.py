"""Notebooks that several processes run together, so that their networks train on all their devices.

A launcher starts the same command several times (by hand, ``srun``, ``mpirun``, Azure ML), or the option
``--processes`` starts the others here. The first process runs the study as always. The others wait for it,
and run each notebook that trains (calls ``set_up``) along with it, into a folder that is thrown away, so that
the first one alone writes the run folder, metrics and the executed notebook. Where one fails or is killed
all stop; the run's record names it and the file of its log.
"""

import json
import os
import queue
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from eolab.core import ranks
from eolab.core.errors import ParameterError, RunError, system_error
from eolab.runs import folders, warm
from eolab.training import distributed

PATIENCE_S = 300.0  # for all processes to begin
LATE_S = 10.0  # for the cause of a failure that several processes report
TRAINS = re.compile(r"\bset_up\(")  # in a notebook that trains
LOST = ("JaxRuntimeError", "XlaRuntimeError")  # what the others report where one is gone
ABORTED = "JAX distributed service detected fatal errors"  # in their logs
KEPT = 20_000  # characters of a log that are sent
COMMAND = [sys.executable, "-m", "eolab.cli", "run", ""]  # of the others, which learn the study later
Say = Callable[[str], None]


class Link:
    """A connection to another process that carries JSON values, a line each."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(None)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, name):  # a machine that is gone is noticed after 40 s
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        self._connection, self._sending = connection, threading.Lock()
        self._lines = connection.makefile("r", encoding="utf-8")

    def send(self, **message: Any) -> None:
        """Send a message; nothing where nobody listens any more."""
        with self._sending, suppress(OSError):
            self._connection.sendall(json.dumps(message).encode() + b"\n")

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with suppress(OSError, ValueError):
            yield from takewhile(lambda one: isinstance(one, dict), map(json.loads, self._lines))

    def close(self) -> None:
        """End the connection."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()


# === The first process ===


@dataclass(frozen=True)
class Failure:
    """What another process said of its end.

    Attributes:
        rank: Number of the process.
        error: Name of the error, empty where it said nothing any more.
        reason: What is wrong.
        log: End of its log.
    """

    rank: int
    error: str
    reason: str
    log: str = ""

    @property
    def follows(self) -> bool:
        """Whether it follows from the end of another process."""
        own = "RESOURCE_EXHAUSTED" in self.reason  # no memory
        return (self.error in LOST and not own) or ABORTED in self.log


class Team:
    """The other processes, as the first one sees them.

    Args:
        place: The place of the first process.
        say: Prints a line.

    Raises:
        RunError: If it cannot listen, or the others do not come.
    """

    def __init__(self, place: ranks.Place, say: Say = print) -> None:
        self.place = place
        self._links: dict[int, Link] = {}
        self._about: dict[int, dict[str, Any]] = {}
        self._changed = threading.Condition()
        self._busy: set[int] = set()
        self._failures: list[Failure] = []
        try:
            host = place.host if place.host in ranks.LOOPBACK else ""
            server = socket.create_server((host, place.port))
        except OSError as error:
            reason = f"Cannot listen at port {place.port} ({os.strerror(error.errno or 0)})"
            raise RunError(f"{reason}: choose another {ranks.PORT}.") from None
        with server:
            self._gather(server)
        others = ", ".join(f"{rank} on {one['host']}" for rank, one in sorted(self._about.items()))
        say(f"{place.count} processes train together: this one and {others}")

    def _gather(self, server: socket.socket) -> None:
        """Wait until all others have come."""
        end = time.monotonic() + PATIENCE_S
        while missing := sorted(set(range(1, self.place.count)) - set(self._links)):
            server.settimeout(max(0.1, end - time.monotonic()))
            try:
                connection = server.accept()[0]
            except TimeoutError:
                self.close(1)
                raise RunError(
                    f"Of {self.place.count} processes these did not come within {PATIENCE_S:.0f} s: "
                    f"{', '.join(map(str, missing))}. See whether they run and reach {self.place.host}:"
                    f"{self.place.port}."
                ) from None
            link = Link(connection)
            connection.settimeout(LATE_S)
            hello = next(iter(link), {})
            connection.settimeout(None)
            if (rank := hello.get("rank")) in missing:
                self._links[rank], self._about[rank] = link, hello
                threading.Thread(target=self._listen, args=(rank, link), daemon=True).start()

    def _listen(self, rank: int, link: Link) -> None:
        for message in link:
            self._ended(rank, Failure(rank, *message["failed"]) if message["failed"] else None)
        place = f"{self._about[rank]['host']}:{self._about[rank]['log']}"
        self._ended(rank, Failure(rank, "", f"it was killed, or its machine is gone; its log was {place}"))
        self._links.pop(rank)

    def _ended(self, rank: int, failure: Failure | None) -> None:
        with self._changed:
            if failure and (rank in self._busy or not failure.error):
                self._failures.append(failure)
            self._busy.discard(rank)
            self._changed.notify_all()

    @contextmanager
    def along(
        self, description: dict[str, Any], environment: dict[str, str], stop: Callable[[], None]
    ) -> Iterator[dict[str, str]]:
        """Have the others run a notebook too; give the environment that joins the one here to theirs.

        Args:
            description: What the worker must know, see :mod:`eolab.runs.worker`.
            environment: Environment of the worker; what begins with ``EOLAB_`` holds for the others too.
            stop: Stops the notebook here; called until it has ended, where another process failed.
        """
        place = replace(self.place, port=ranks.free_port())
        for old in Path(description["folder"]).glob("process_*.log"):
            old.unlink()
        ours = {key: value for key, value in environment.items() if key.startswith("EOLAB_")}
        self._failures = [one for one in self._failures if not one.error]  # those that are gone
        self._busy = set(self._links)
        for link in list(self._links.values()):
            link.send(job=description, environment=ours, port=place.port)
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(0.5):
                if self._failures:  # it may end by itself
                    ended.wait(LATE_S if all(one.follows for one in self._failures) else 1)
                    stop()

        threading.Thread(target=watch, daemon=True).start()
        try:
            yield place.variables()
            ended.set()
            self._blame(Path(description["folder"]))
        finally:
            ended.set()
            for link in list(self._links.values()):
                link.send(stop=True)
            with self._changed:
                self._changed.wait_for(lambda: not self._busy, 3 * LATE_S)

    def _blame(self, folder: Path) -> None:
        """Record which other process is the cause where the notebook here has not come to its end."""
        record, log = folders.read_json(folder / folders.RECORD), folder / "kernel.log"
        failed = record.get("failed") or {}
        text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        own = Failure(0, failed.get("error", ""), failed.get("message", ""), text)
        if record.get("status") == "done" or (own.error and not own.follows):
            return
        with self._changed:
            if own.error:
                self._changed.wait_for(lambda: any(not one.follows for one in self._failures), LATE_S)
            causes = sorted(self._failures, key=lambda one: one.follows)
        if not causes:
            return
        first = causes[0]
        if first.log:
            name = f"process_{first.rank}.log"
            folders.write_text(folder / name, first.log)
            folders.update_record(folder, written=[*(record.get("written") or []), name])
        place = f"; its log: {folder / name}" if first.log else ""
        who = f"process {first.rank} of {self.place.count} on {self._about[first.rank]['host']}"
        error = f"{first.error}: " if first.error else ""
        folders.end(folder, "failed", folders.failure("RunError", f"{who}: {error}{first.reason}{place}"))

    def close(self, code: int) -> None:
        """Let the others go, with an exit status."""
        for link in list(self._links.values()):
            link.send(end=code)


# === The others ===


def follow(place: ranks.Place, say: Say = print) -> int:
    """Run along with the first process until it lets this one go; return the exit status.

    Raises:
        ParameterError: If Keras does not run on JAX.
        RunError: If the first process does not answer.
    """
    check(place.count)
    scratch = Path(tempfile.mkdtemp(prefix=f"eolab-process-{place.rank}-"))
    log = scratch / "process.log"
    link = _reach(place)
    link.send(rank=place.rank, host=socket.gethostname(), log=str(log))
    heard: queue.Queue[dict[str, Any] | None] = queue.Queue()

    def listen() -> None:
        for message in link:
            heard.put(message)
        heard.put(None)

    threading.Thread(target=listen, daemon=True).start()
    going: subprocess.Popen[bytes] | None = None
    folder = scratch
    try:
        while True:
            message = heard.get()
            if message is None:
                say(f"{place}: the first one is gone; the log of this one is {log}")
                return 1
            if "end" in message:
                shutil.rmtree(scratch, ignore_errors=True)
                return int(message["end"])
            if "job" in message:
                folder = Path(tempfile.mkdtemp(dir=scratch))
                going = _begin(replace(place, port=message["port"]), message, folder, log)
                threading.Thread(target=_wait, args=(going, heard), daemon=True).start()
            elif "stop" in message:
                _stop(going)
            elif "ended" in message:
                failed = _failure(folder, log) if message["ended"] else None
                link.send(failed=failed)
                if not failed:
                    shutil.rmtree(folder, ignore_errors=True)
    finally:
        _stop(going)
        link.close()


def _reach(place: ranks.Place) -> Link:
    """Return the connection to the first process, once it listens."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            return Link(socket.create_connection((place.host, place.port), timeout=10))
        except OSError as error:
            if time.monotonic() > end:
                raise RunError(
                    f"{place} does not reach the first one at {place.host}:{place.port} "
                    f"({system_error(error) or error}): see whether it runs."
                ) from None
            time.sleep(0.5)


def _begin(place: ranks.Place, message: dict[str, Any], folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start the worker of a notebook in a folder of this process."""
    job = message["job"] | {"folder": str(folder), "rank": place.rank}
    folders.write_json(folder / folders.JOB, job)
    environment = os.environ | message["environment"] | place.variables() | {"EOLAB_RUN_DIR": str(folder)}
    environment.pop("MLFLOW_TRACKING_URI", None)
    command = [sys.executable, "-m", "eolab.runs.worker", str(folder / folders.JOB)]
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
        )


def _wait(process: subprocess.Popen[bytes], heard: "queue.Queue[dict[str, Any] | None]") -> None:
    heard.put({"ended": process.wait()})


def _stop(process: subprocess.Popen[bytes] | None) -> None:
    if process is None or process.poll() is not None:
        return
    if process.stdin:
        process.stdin.close()  # the worker ends, and its kernel
    with suppress(subprocess.TimeoutExpired):
        process.wait(LATE_S)
    process.kill()
    process.wait()


def _failure(folder: Path, log: Path) -> tuple[str, str, str]:
    """Return name and reason of what failed, and the end of the log."""
    failed = folders.read_json(folder / folders.RECORD).get("failed") or {}
    text = log.read_text(encoding="utf-8", errors="replace")
    if (kernel := folder / "kernel.log").exists():
        text += kernel.read_text(encoding="utf-8", errors="replace")
    text = "\n".join([text[-KEPT:], *failed.get("traceback", [])])
    return failed.get("error", "RunError"), failed.get("message", "its worker was killed"), text


# === The command ===


@contextmanager
def gathered(processes: int, say: Say) -> Iterator["Team | None"]:
    """Give the team of this process, which is the first one; None where it is alone.

    Args:
        processes: How many processes to start on this machine, with this one; 1 where a launcher has.
        say: Prints a line.
    """
    started: list[subprocess.Popen[bytes]] = []
    place = ranks.place()
    if processes > 1:
        if place.count > 1:
            raise ParameterError(f"--processes {processes}: a launcher has started {place.count} already.")
        place = ranks.Place(0, processes, port=ranks.free_port(), beside=processes)
    if place.count == 1:
        yield None
        return
    check(place.count)
    for rank in range(1, processes):
        own = replace(place, rank=rank, local=rank).variables()
        started.append(subprocess.Popen(COMMAND, env=os.environ | own, start_new_session=True))
    team, code = None, 1
    try:
        team = _current["team"] = Team(place, say)
        yield team
        code = 0
    finally:
        _current.clear()
        if team:
            team.close(code)
        for process in started:
            with suppress(subprocess.TimeoutExpired):
                process.wait(3 * LATE_S)
            process.kill()


def check(count: int) -> None:
    """Refuse several processes where Keras would not run on JAX."""
    distributed.check_backend(count, warm.backend(os.environ))


@contextmanager
def along(
    description: dict[str, Any], environment: dict[str, str], stop: Callable[[], None]
) -> Iterator[dict[str, str]]:
    """Have all processes run a notebook that trains, see :meth:`Team.along`; nothing where there is one."""
    team = _current.get("team")
    if team is None:
        yield {}
    elif TRAINS.search(Path(description["path"]).read_text(encoding="utf-8")):
        with team.along(description, environment, stop) as more:
            yield more
    else:
        yield ranks.Place().variables()


_current: dict[str, Team] = {}  # the team of this process, while there is one
