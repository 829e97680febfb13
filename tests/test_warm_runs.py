"""Notebooks forked from a process that has the libraries do as others do, and leave no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import miniature
import nbformat
import pytest

from eolab.runs import history, warm

pytestmark = [
    pytest.mark.notebook,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone"),
]
ASK = """\
import os, sys, time
from pathlib import Path
known = {name: name in sys.modules for name in ("nbconvert", "eolab")}
left = os.environ.get("LEFT_BY_A_NOTEBOOK", "nothing")
os.environ["LEFT_BY_A_NOTEBOOK"] = "something"
"""
WORK = """\
import numpy as np
(Path(os.environ["EOLAB_ROOT"]) / "at_work").touch()
while (Path(os.environ["EOLAB_ROOT"]) / "hold").exists():
    time.sleep(0.02)
drawn = np.random.default_rng(seed).normal(size=1000)
run.metrics({"known": known, "same": {"sum": float(drawn.sum()), "square": float(drawn @ drawn)}})
run.metrics({"found": {"left": left, "first": sys.path[0], "folder": os.getcwd(), "argument": sys.argv[1]}})
run.metrics({"chance": float(np.random.random())})
run.finish()
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two notebooks that draw and compute the same, and tell how they found the process."""
    monkeypatch.setenv("JUPYTER_PATH", "")  # as users have it, without the processes that other tests share
    monkeypatch.delenv("EOLAB_KERNELS", raising=False)
    root = miniature.build(tmp_path)
    for name, parameters in (("01_make", miniature.MAKE_PARAMETERS), ("02_use", miniature.USE_PARAMETERS)):
        begin = f"from eolab import runs\nrun = runs.start('mini/{name}', globals())"
        cells = [("parameters", parameters), ASK, begin, WORK]
        if name == "02_use":
            cells[2] = f"{begin}\nrun.input('made')"
        nbformat.write(miniature.notebook(cells), root / "notebooks" / "mini" / f"{name}.ipynb")
    return root


def both(root: Path) -> list[history.RunRecord]:
    return [history.load(next((root / "runs/mini" / name).iterdir())) for name in ("01_make", "02_use")]


def wait_until(condition: object, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def test_notebooks_share_neither_variables_nor_chance_and_a_killed_fork_is_survived(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forked and cold ones get the same; what forks is killed while the first notebook of a chain works."""
    mark = f"of-{project.parent.name}-{os.getpid()}"
    monkeypatch.setenv("MARK", mark)
    status, said = miniature.command(project, "run", "mini", "--profile", "smoke")
    assert status == 0, said
    assert len(miniature.processes(mark)) == 1, "what forks, which ends with the command"
    shared = both(project)
    for run in shared:
        assert run.metrics["known"] == {"nbconvert": True, "eolab": False}, "forked, without the package"
        assert run.metrics["found"]["left"] == "nothing"
    assert shared[0].metrics["chance"] != shared[1].metrics["chance"]

    def kill() -> None:
        wait_until(lambda: (project / "at_work").exists())
        for process, _ in warm._SERVERS.values():
            process.kill()
            process.wait()
        (project / "hold").unlink()

    (project / "at_work").unlink()
    (project / "hold").touch()
    killer = threading.Thread(target=kill)
    killer.start()
    status, said = miniature.command(project, "run", "mini", "--profile", "smoke", "--force")
    killer.join()
    warm._SERVERS.clear()
    assert status == 0, said
    assert "Traceback" not in said
    first, second = both(project)
    assert first.metrics["known"] == {"nbconvert": True, "eolab": False}, "forked, and goes on"
    assert second.metrics["known"] == {"nbconvert": False, "eolab": False}, "started cold"
    found = [run.metrics["found"] for run in (first, second)]
    assert [{**facts, "argument": ""} for facts in found] == [{**found[0], "argument": ""}] * 2
    assert found[0]["folder"] == str(project / "notebooks" / "mini")
    assert all(run.metrics["same"] == first.metrics["same"] for run in (second, *shared))


def test_a_worker_killed_without_warning_leaves_no_process(project: Path) -> None:
    """That a killed command leaves none: test_runs, where a stopped run goes on in its folder."""
    (project / "hold").touch()
    mark = f"of-{project.parent.name}-{os.getpid()}"
    command = [sys.executable, "-m", "eolab.cli", "run", "mini", "--only", "01_make"]
    environment = miniature.environment(project) | {"MARK": mark}
    runner = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
    wait_until(lambda: (project / "at_work").exists())
    assert len(miniature.processes(mark)) == 4, "the command, what forks, the worker and the kernel"
    (folder,) = (project / "runs/mini/01_make").iterdir()
    os.kill(history.load(folder).record["process"], signal.SIGKILL)
    said, _ = runner.communicate()
    wait_until(lambda: not miniature.processes(mark), 10)
    assert "its process ended with status -9" in said.decode()


@pytest.mark.parametrize(
    ("backend", "settings", "forked"),
    [
        ("", "", True),
        ("jax", "", False),
        ("", '{"backend": "jax"}', False),
        ("tensorflow", '{"backend": "jax"}', True),
        ("", '{"backend": "tensorflow"}', True),
        ("", "[]", True),
        ("", "{", True),
    ],
)
def test_a_backend_that_is_not_safely_forked_starts_cold(tmp_path, monkeypatch, backend, settings, forked):
    monkeypatch.setattr(warm, "DRIVERS", ())
    if settings:
        (tmp_path / "keras.json").write_text(settings)
    environment = {"KERAS_BACKEND": backend, "KERAS_HOME": str(tmp_path)}
    assert warm._possible(environment, tmp_path) is forked
