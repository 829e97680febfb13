"""Processes of notebooks that begin with the large libraries imported.

Importing TensorFlow, Keras and Jupyter takes some eight seconds of each notebook. A command imports them
once, in a process that does nothing else: Keras, with TensorFlow, before the first notebook that needs it, or
while those run that come before. This process forks: the child becomes
``python -m eolab.runs.worker``, and a child of that its kernel. Each gets environment, folder, arguments and
output as a new process would, and random numbers of its own. Only libraries are imported before: the package
and all that belongs to a study are imported by the children, as they are then.

A process starts cold, as any other, where this is not safe or does not work, or where ``EOLAB_COLD_KERNELS``
is set. This file is a program of its own as well, the process that forks; it imports nothing of the package.
"""

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import re
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, NoReturn

JUPYTER = (
    *("papermill", "nbconvert", "bs4", "jinja2", "matplotlib.mathtext"),
    *("ipykernel.ipkernel", "ipykernel.debugger"),
)
STUDIES = ("matplotlib.pyplot", "odc.geo.xr", "rioxarray", "sklearn.ensemble", "h5py", "pyogrio")
STUDIED = re.compile(r"\b(keras|models|prediction|studies|tasks|training|widgets)\b")  # words of a notebook
LEARNING = ("keras",)
LEARNS = re.compile(  # what it imports
    r'^\s*"(from|import) [^"]*\b(keras|models|prediction|training|tasks(?!\.baselines| import tabular\b))\b',
    re.MULTILINE,
)
DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # of accelerators: none is known to outlive a fork
INLINE = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}  # a kernel sets it before its imports
_SERVERS: dict[frozenset[tuple[str, str]], tuple[subprocess.Popen[bytes], socket.socket]] = {}
_ASKING = threading.Lock()


# === The command ===


class Forked:
    """A worker that was forked: as much of :class:`subprocess.Popen` as its runner needs.

    Args:
        link: Brings the process's number when it has begun and its exit status when it has ended.
        stdin: The writing end of its standard input.
    """

    def __init__(self, link: socket.socket, stdin: int) -> None:
        self.stdin, self._link = os.fdopen(stdin, "wb"), link
        self.pid = 0
        self._code: int | None = None
        self._ended = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError), self.stdin, self._link, self._link.makefile("rb") as said:
            self.pid = int(said.readline() or self.pid)
            self._code = int(said.readline() or bool(self.pid))  # nothing where what forks was killed
        self._ended.set()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit status; where ``pid`` is 0 then, the process never began."""
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired("eolab.runs.worker", timeout or 0)
        return self._code or 0

    def poll(self) -> int | None:
        """Return the exit status, None while the process runs."""
        return self._code

    def kill(self) -> None:
        """End the process without warning, or do without it where it has not begun."""
        if self.pid > 0:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        elif not self._ended.is_set():
            self.pid = -1
            self._link.shutdown(socket.SHUT_RDWR)


def fork(command: list[str], environment: dict[str, str], notebook: Path) -> Forked | None:
    """Have a worker of a notebook forked; None where it has to start cold.

    Args:
        command: ``[python, "-m", module, …]``.
        environment: All its environment variables.
        notebook: The notebook, whose text says which libraries it needs.
    """
    if command[:2] != [sys.executable, "-m"] or not _possible(environment, notebook.parent):
        return None
    text = notebook.read_text(encoding="utf-8")
    job = {
        "command": command[2:],
        "environment": environment,
        "folder": os.getcwd(),
        "libraries": JUPYTER + STUDIES * bool(STUDIED.search(text)) + LEARNING * bool(LEARNS.search(text)),
        "later": LEARNING * bool(STUDIED.search(text)),
    }
    stdin, ours = os.pipe()
    link, theirs = socket.socketpair()
    forked = Forked(link, ours)
    with _ASKING, theirs, contextlib.suppress(OSError):  # the process that forks may have been killed
        socket.send_fds(_server(environment), [b"."], [theirs.fileno()])
        _send(link, job, [stdin, 1, 2])
    os.close(stdin)
    return forked


def _possible(environment: Mapping[str, str], folder: Path) -> bool:
    if sys.platform != "linux" or environment.get("EOLAB_COLD_KERNELS"):
        return False
    if backend(environment) != "tensorflow":
        return False
    unsafe = (*DRIVERS, folder / "matplotlibrc")  # which is read at import
    return not any(os.path.exists(path) for path in unsafe)


def backend(environment: Mapping[str, str]) -> str:
    """Return the backend that Keras would take: of its variable, else of its settings."""
    home = Path(environment.get("KERAS_HOME") or Path(environment.get("HOME") or "~").expanduser() / ".keras")
    try:
        settings = json.loads((home / "keras.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        settings = {}
    chosen = settings.get("backend") if isinstance(settings, dict) else ""
    return environment.get("KERAS_BACKEND") or chosen or "tensorflow"


def _server(environment: Mapping[str, str]) -> socket.socket:
    """Return the line to the process that forks for an environment, which libraries may read at import."""
    key = frozenset(item for item in environment.items() if not item[0].startswith("EOLAB_"))
    if key not in _SERVERS:
        ours, theirs = socket.socketpair()
        with theirs:  # in a session of its own, out of reach of Ctrl-C; it ends when its line is closed
            process = subprocess.Popen(
                [sys.executable, __file__],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={**environment, **INLINE},
                start_new_session=True,
            )
        _SERVERS[key] = process, ours
        atexit.register(_end, process)
    return _SERVERS[key][1]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _send(link: socket.socket, job: Mapping[str, Any], files: list[int]) -> None:
    socket.send_fds(link, [b" "], files)
    link.sendall(json.dumps(job).encode() + b"\n")


# === The process that forks, and its children ===


def _receive(link: socket.socket) -> tuple[dict[str, Any], list[int]]:
    data, files, *_ = socket.recv_fds(link, 1, 3, socket.MSG_CMSG_CLOEXEC)
    while data and not data.endswith(b"\n"):
        data += (more := link.recv(2**16))
        data = data if more else b""
    if not data:
        os._exit(0)  # nobody needs this process any more
    return json.loads(data), files


def _serve() -> None:
    """Import and fork as asked, report exit statuses, and end with the command.

    The application of ipykernel is imported by the children: it reads at import which process is the parent.
    """
    control = socket.socket(fileno=os.dup(0))
    os.dup2(1, 0)
    sys.path[:] = [path for path in sys.path if path != str(Path(__file__).parent)]
    links: dict[int, socket.socket] = {}  # by a number that can be waited for: one of a process of its own
    later: list[str] = []  # libraries that the next notebooks may need
    while True:
        waiting = select.select([control.fileno(), *links], [], [], 0 if later else None)[0]
        if later and not waiting:
            _import([later.pop()])
        for ready in waiting:
            if ready in links:
                _report(ready, links.pop(ready))
                continue
            _, found, *_ = socket.recv_fds(control, 1, 1, socket.MSG_CMSG_CLOEXEC)
            if not found:
                os._exit(0)
            link = socket.socket(fileno=found[0])
            job, files = _receive(link)
            _import(job["libraries"])
            later = [name for name in job["later"] if name not in sys.modules]
            _render_once()
            gc.freeze()
            child = os.fork()
            if child == 0:
                for other in (control, *links.values()):
                    other.close()
                _work(link, job, files)
            links[os.pidfd_open(child)] = link
            for file in files:
                os.close(file)


def _import(names: list[str]) -> None:
    for name in names:
        with contextlib.suppress(Exception):  # the notebook says what is wrong with it
            importlib.import_module(name)


@cache
def _render_once() -> None:
    """Let nbconvert compile its regular expressions, half a second of each report."""
    with contextlib.suppress(Exception):
        from nbconvert import HTMLExporter
        from nbformat import v4

        cells = [v4.new_markdown_cell("`a` $b$"), v4.new_code_cell("c = 1")]
        HTMLExporter().from_notebook_node(v4.new_notebook(cells=cells))


def _report(process: int, link: socket.socket) -> None:
    ended = os.waitid(os.P_PIDFD, process, os.WEXITED)
    os.close(process)
    if ended:
        status = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
        with link, contextlib.suppress(OSError):  # the command may have ended
            link.sendall(b"%d\n" % status)


def _work(link: socket.socket, job: dict[str, Any], files: list[int]) -> NoReturn:
    """Become the worker, with a child that waits to become its kernel."""
    from jupyter_client import launcher

    os.setsid()
    link.sendall(b"%d\n" % os.getpid())
    ours, theirs = socket.socketpair()
    kernel = os.fork()
    if kernel == 0:
        os.setsid()
        link.close()
        ours.close()
        theirs.sendall(b".")
        asked, files_of_kernel = _receive(theirs)
        theirs.close()
        _become(asked, files_of_kernel)
    theirs.close()
    launcher.Popen = partial(_kernel, kernel, ours)  # type: ignore[misc, assignment]
    _become(job, files)


class _Kernel(subprocess.Popen[bytes]):
    """The process that was forked before, as if it had been started now."""

    def __init__(self, pid: int) -> None:
        self.args, self.pid, self.returncode = "kernel", pid, None
        self.stdin, self.stdout, self.stderr = io.BytesIO(), None, None
        self._child_created, self._waitpid_lock = True, threading.Lock()


def _kernel(pid: int, link: socket.socket, command: list[str], **how: Any) -> subprocess.Popen[bytes]:
    """Let the waiting process become the kernel, or start another one where something else is asked for."""
    ours = command[:3] == [sys.executable, "-m", "ipykernel_launcher"]
    if not ours or how["stdout"] or how["stderr"] or not link.recv(1):
        return subprocess.Popen(command, **how)
    job = {"command": command[2:], "environment": how["env"], "folder": how["cwd"] or os.getcwd()}
    with link, open(os.devnull, "rb") as nothing:
        _send(link, job, [nothing.fileno(), 1, 2])
    return _Kernel(pid)


def _become(job: dict[str, Any], files: list[int]) -> NoReturn:
    """Go on as ``python -m`` with this environment, folder, standard streams and command."""
    for target, source in enumerate(files):
        os.dup2(source, target)
        os.close(source)
    os.environ.clear()
    os.environ.update(job["environment"])
    os.chdir(job["folder"])
    if not sys.flags.safe_path:
        sys.path.insert(0, os.getcwd())
    sys.argv = job["command"]
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()  # else all had the same, unlike those of Python itself
    status = 1
    try:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException:
        traceback.print_exc()
    finally:
        threading._shutdown()  # type: ignore[attr-defined]  # as at the end of Python: threads, then the rest
        atexit._run_exitfuncs()
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve()
