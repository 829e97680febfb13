"""Starts the processes of notebooks from one process that has imported the large libraries already.

A notebook runs in a kernel, which a process of papermill starts. Importing TensorFlow, Keras and papermill
takes six to nine seconds of each of fifty notebooks in a session of tests. ``conftest.py`` puts a
``kernel.json`` before that of the environment, and ``study_runs`` a command before that of ``eolab run``,
which name this file; arguments, environment, working directory and output are what the program that starts
them says. Kernels share libraries alone: the package is imported by the notebooks.

    warm.py FOLDER kernel -f FILE     stands for  python -m ipykernel_launcher -f FILE
    warm.py FOLDER worker FILE        stands for  python -m eolab.runs.worker FILE

The first of a kind starts its server, which ends with the session. It forks at each connection; the child
becomes what is asked for, and ends when the process that stands for it does.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import hashlib
import importlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PRELOADED = {
    "kernel": [
        *("keras", "sklearn.ensemble", "odc.geo.xr", "rioxarray", "scipy.signal", "h5py"),
        "ipykernel.kernelapp",
    ],
    "worker": [
        *("papermill", "nbconvert", "bs4", "jinja2", "matplotlib.mathtext", "ipykernel.ipkernel"),
        *("eolab.runs.worker", "eolab.runs.reports"),
    ],
}
READ_AT_IMPORT = ("KERAS", "MALLOC", "MKL_", "OMP_", "OPENBLAS_", "PYTHON", "TF_")
HIDDEN = str(Path(__file__).parent / "hidden")  # modules that no process started by a test should find
OF_CLUSTERS = ("PYTHONBREAKPOINT", "PYTHONHASHSEED")  # Ray and dask set them, and no library reads them
INLINE = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}  # what ipykernel sets before imports


def install() -> None:
    """Let the kernels of this session be forked; ``JUPYTER_PATH`` names their ``kernel.json``."""
    if "EOLAB_KERNELS" in os.environ:  # set by the process that started this one
        return
    folder = tempfile.mkdtemp(prefix="eolab-kernels-", dir="/tmp")  # paths of sockets are short
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    spec = {"argv": [*command(folder, "kernel"), "-f", "{connection_file}"]}
    spec |= {"display_name": "Python 3 (ipykernel)", "language": "python"}
    place = Path(folder, "kernels", "python3")
    place.mkdir(parents=True)
    (place / "kernel.json").write_text(json.dumps(spec))
    Path(folder, "owner").write_text(str(os.getpid()))
    others = [path for path in [os.environ.get("JUPYTER_PATH")] if path]
    os.environ |= {"EOLAB_KERNELS": folder, "JUPYTER_PATH": os.pathsep.join([folder, *others])}


def command(folder: str, kind: str) -> list[str]:
    return [sys.executable, "-S", __file__, folder, kind]  # what stands for another needs no library


@contextlib.contextmanager
def workers() -> Iterator[None]:
    """Let the notebooks that a command in this process runs have forked workers."""
    from eolab.runs import execute

    before = execute.WORKER
    if kernels := os.environ.get("EOLAB_KERNELS"):
        execute.WORKER = command(kernels, "worker")
    try:
        yield
    finally:
        execute.WORKER = before


# === The process that stands for another ===


def stand_for(folder: Path, kind: str, arguments: list[str]) -> int:
    """Have a server fork; pass on signals; return the exit status."""
    with connected(folder, kind) as server:
        asked = {"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd()}
        asked["processors"] = list(os.sched_getaffinity(0))
        socket.send_fds(server, [json.dumps(asked).encode() + b"\n"], [0, 1, 2])
        answers = server.makefile("rb")
        child = int(answers.readline())
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, frame: os.kill(child, number))
        threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
        return int(answers.readline() or 1)  # empty when the child was killed


def end_with(parent: int) -> None:
    """End when the parent has ended, as a kernel does."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)  # the child sees its connection close


def connected(folder: Path, kind: str) -> socket.socket:
    """Return a connection to the server of this kind and environment, started by the first that asks."""
    chosen = {key: value for key, value in os.environ.items() if key.startswith(READ_AT_IMPORT)}
    chosen = {key: value for key, value in chosen.items() if key not in OF_CLUSTERS}
    _, chosen["PYTHONPATH"] = own_paths(chosen.get("PYTHONPATH", ""))
    digest = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:12]
    address, log = folder / f"{kind}-{digest}", folder / f"{kind}-{digest}.log"
    with address.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not address.exists():
            with log.open("w") as said:
                server = subprocess.Popen(
                    [sys.executable, __file__, "serve", kind, str(address)],
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                    env=os.environ | INLINE | {"PYTHONPATH": chosen["PYTHONPATH"]},
                    start_new_session=True,
                )
            while not address.exists():
                if server.poll() is not None:
                    sys.exit(f"The server of {kind}s ended: {log.read_text()[-2000:]}")
                time.sleep(0.05)
    found = socket.socket(socket.AF_UNIX)
    found.connect(str(address))
    return found


def own_paths(path: str) -> tuple[list[str], str]:
    """Return the folders of PYTHONPATH that a test has put before those of the session, and the latter."""
    own, hidden, rest = path.partition(HIDDEN)
    return (own.split(os.pathsep)[:-1], hidden + rest) if hidden else ([], path)


# === The server ===


def serve(kind: str, address: Path) -> None:
    """Import, listen, and fork at each connection, for as long as the session of tests lasts."""
    sys.path.remove(str(Path(__file__).parent))
    for name in PRELOADED[kind]:
        importlib.import_module(name)
    if kind == "worker":
        importlib.import_module("eolab.runs.warm")._render_once()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children
    new, owner = address.with_suffix(".new"), address.with_name("owner")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(new))
        listener.listen(16)
        new.rename(address)
        listener.settimeout(1)
        while owner.exists() and Path("/proc", owner.read_text()).exists():  # which may have been killed
            with contextlib.suppress(TimeoutError):
                client, _ = listener.accept()
                if os.fork() == 0:
                    listener.close()
                    become(kind, client)
                client.close()


def become(kind: str, client: socket.socket) -> None:
    """Do what the client asks in this process, and end it."""
    client.settimeout(None)
    data, files, _, _ = socket.recv_fds(client, 2**16, 3)
    while not data.endswith(b"\n"):
        data += client.recv(2**16)
    asked: dict[str, Any] = json.loads(data)
    os.setsid()
    for target, source in enumerate(files):
        os.dup2(source, target)
        os.close(source)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.environ.pop("JPY_PARENT_PID", None)  # the server is the parent
    os.sched_setaffinity(0, asked["processors"])
    sys.path[:0] = own_paths(os.environ.get("PYTHONPATH", ""))[0]
    os.chdir(asked["folder"])
    sys.argv = [kind, *asked["arguments"]]
    client.sendall(f"{os.getpid()}\n".encode())
    threading.Thread(target=end_with_client, args=(client,), daemon=True).start()
    status = 1
    try:
        status = run(kind)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException:
        traceback.print_exc()  # as Python does, which the exit below would keep from it
    finally:
        with contextlib.suppress(OSError):
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
            client.sendall(f"{status}\n".encode())
        os._exit(status)


def end_with_client(client: socket.socket) -> None:
    client.recv(1)  # returns when the client has ended
    os._exit(1)


def run(kind: str) -> int:
    if kind == "worker":
        from eolab.runs import worker

        return worker.main(sys.argv[1])
    from ipykernel import kernelapp

    kernelapp.launch_new_instance()
    return 0


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2], Path(sys.argv[3]))
    else:
        sys.exit(stand_for(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
