"""Running studies as a user does, by the command line, and finding what the runs wrote.

``EOLAB_ARTIFACTS`` names a folder where run folders are kept; otherwise they lie in a temporary folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import matplotlib.image
import pytest
import warm

from eolab import cli, runs
from eolab.runs import chain

ROOT = Path(__file__).resolve().parents[1]


def eolab(*arguments: str, **environment: str) -> str:
    """Run the command in this process, its notebooks in their own, and return what it printed.

    A new process for the command itself takes two seconds, most of them for imports; test_runs starts it as
    a user does.
    """
    said, errors = io.StringIO(), io.StringIO()
    with (
        warm.workers(),
        mock.patch.dict(os.environ, environment),
        contextlib.chdir(ROOT),
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(errors),
    ):
        status = cli.main(arguments)
    assert status == 0, said.getvalue()[-3000:] + errors.getvalue()[-3000:]
    return said.getvalue()


def only_run(study: str, out: Path, notebook: str) -> runs.RunRecord:
    found = runs.records(study, notebook, root=out)
    assert len(found) == 1, found
    return found[0]


def smoke(shared: Path, study: str, *settings: str) -> Path:
    """Return the folder of all runs of a study's smoke profile; the first process that asks runs them.

    Args:
        shared: Folder of this test session that all its workers see.
        study: Name of the study.
        settings: Parameters that differ from the profile, as ``key=value``.
    """
    name = "_".join((study, *(setting.rpartition("=")[2] for setting in settings)))
    folder = Path(os.environ.get("EOLAB_ARTIFACTS", shared)) / f"smoke_{name}"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = shared / f"{name}.done"
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            chosen = ("--set", *settings) if settings else ()
            eolab("run", study, "--profile", "smoke", "--out", str(folder), *chosen)
            done.touch()
    return folder


def borrow(study: str, out: Path, here: Path, *notebooks: str) -> None:
    """Link finished runs of notebooks into another folder of runs, for notebooks that build on them."""
    for notebook in notebooks:
        run = only_run(study, out, notebook).folder
        (here / study / notebook).mkdir(parents=True, exist_ok=True)
        (here / study / notebook / run.name).symlink_to(run)


def start(study: str, out: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "eolab.cli", "run", study, "--out", str(out), *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def kill_when(process: subprocess.Popen[bytes], ready, seconds: float = 400) -> None:
    """Kill a run without warning once a file says that it is in the middle of its work."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline, "the run never came to the point where it should be killed"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


# === What holds for every study ===


def check_complete(study: str, out: Path, notebook: str) -> None:
    """Check that a smoke run has all that a run leaves, and says that its data are simulated."""
    record = only_run(study, out, notebook)
    assert record.status == "done"
    assert record.simulated
    for name in ("params.yaml", "environment.json", "metrics.json", "report.html", f"{notebook}.ipynb"):
        assert (record.folder / name).stat().st_size > 0
    report = (record.folder / "report.html").read_text()
    assert "Simulated data" in report
    assert str(ROOT) not in report


def check_figures(study: str, out: Path, notebooks: Sequence[str], least: int) -> None:
    """Check that a smoke run has at least so many figures, each captioned and not blank."""
    records = [only_run(study, out, notebook) for notebook in notebooks]
    figures = [(record.folder, figure) for record in records for figure in record.figures]
    assert len(figures) >= least
    for folder, figure in figures:
        pixels = matplotlib.image.imread(folder / figure["file"])[..., :3]
        assert pixels.std() > 0.02, figure["file"]
        assert "Simulated data" in figure["caption"]
        assert len(figure["caption"]) > 30
        assert "{" not in figure["caption"], "a value that was not there yet, or a format"


def check_skipped(study: str, out: Path, notebooks: Sequence[str]) -> None:
    """Check that finished runs are not run again, and that the study has one page that needs no network."""
    before = {notebook: only_run(study, out, notebook).record["ended"] for notebook in notebooks}
    said: list[str] = []
    options = chain.Options(out.resolve(), profile="smoke")  # as ``eolab run``, which wrote the page
    assert chain.run(runs.study.load(study), options, say=said.append)
    assert sum("finished before, skipped" in line for line in said) == len(said) == len(notebooks)
    assert {name: only_run(study, out, name).record["ended"] for name in notebooks} == before
    page = (out / study / "report.html").read_text()
    assert all(f"{notebook[:2]} ·" in page for notebook in notebooks)
    assert not any(mark in page for mark in ('src="http', "<link", "@import"))


def check_refused(arguments: Sequence[str], said: str, folder: Path) -> None:
    """Check that a wrong word ends in one sentence with the right one."""
    answer = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(answer):
        patch.setenv("EOLAB_RUNS", str(folder))
        assert cli.main(arguments) == 2
    assert said in answer.getvalue()
    assert len(answer.getvalue().strip().splitlines()) == 1
