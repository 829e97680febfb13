"""Running studies as a user does, by the command line, and finding what the runs wrote.

``EOLAB_ARTIFACTS`` names a folder where run folders are kept; otherwise they lie in a temporary folder.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eolab import runs

ROOT = Path(__file__).resolve().parents[1]


def eolab(*arguments: str, expect: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "eolab.cli", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == expect, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def only_run(study: str, out: Path, notebook: str) -> runs.RunRecord:
    found = list(runs.records(study, notebook, root=out))
    assert len(found) == 1, found
    return found[0]


def out_folder(tmp_path_factory: pytest.TempPathFactory, name: str) -> Path:
    kept = os.environ.get("EOLAB_ARTIFACTS")
    folder = Path(kept) / name if kept else tmp_path_factory.mktemp(name)
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def start(study: str, out: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "eolab.cli", "run", study, "--out", str(out), *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def kill_when(process: subprocess.Popen[bytes], ready, seconds: float = 240) -> None:
    """Kill a run without warning once a file says that it is in the middle of its work."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline, "the run never came to the point where it should be killed"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
