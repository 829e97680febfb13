"""Shared fixtures, one thread a worker where workers share the cores, and the order of the tests."""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import warm
from warm import HIDDEN

gc.set_threshold(100_000, 10, 10)  # importing and collecting make no garbage: a fifth of their time
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "EOLAB_CACHE" not in os.environ:  # workers take that of their controller
    os.environ["EOLAB_CACHE"] = tempfile.mkdtemp(prefix="eolab-tests-")
    atexit.register(shutil.rmtree, os.environ["EOLAB_CACHE"], ignore_errors=True)
if WORKERS > 1:  # threads of several workers would wait for each other; must be set before NumPy is imported
    threads = str(max(1, (os.cpu_count() or 1) // WORKERS))
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "LOKY_MAX_CPU_COUNT"):
        os.environ.setdefault(name, threads)
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow":
    _paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != HIDDEN]
    os.environ["PYTHONPATH"] = os.pathsep.join([HIDDEN, *_paths])
    if sys.platform == "linux":  # only there is a process with these libraries safely forked
        warm.install()
        os.environ.setdefault("EOLAB_COLD_KERNELS", "1")  # a command would have a warm process of its own

SECONDS = {  # of the longest files, measured on two cores: what the workers start with
    "test_study_landcover": 300,
    "test_study_landslide": 185,
    "test_study_flood": 135,
    "test_study_clearing": 135,
    "test_study_scenes": 85,
    "test_jupyterlab": 60,
    "test_runs": 25,
    "test_distributed": 45,
    "test_clusters": 20,
    "test_study_crops": 20,
    "test_voila": 10,
    "test_warm": 10,
}
TIMEOUT_S = 1500  # the first test of a study waits for its whole chain


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of small real files; tests that need it are skipped where EOLAB_REAL_DATA is not set."""
    folder = os.environ.get("EOLAB_REAL_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("EOLAB_REAL_DATA is not set to a folder of real files")
    return Path(folder)


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The folder of all runs of a study's smoke profile: run once a session for all workers.

    Call it with the study's name, and settings as ``key=value`` where they differ from the profile.
    """
    import study_runs

    base = tmp_path_factory.getbasetemp()
    shared = base.parent if WORKERS > 1 else base
    return functools.partial(study_runs.smoke, shared)


@pytest.fixture(scope="session")
def shared_twin(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The folder of a twin that no test changes: written once a session for all tests and workers.

    Call it with the module that writes the twin, and its arguments.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if WORKERS > 1 else base

    def twin(module: Any, **options: Any) -> Path:
        parts = [module.__name__.rpartition(".")[2], *(f"{name}{value}" for name, value in options.items())]
        folder = shared / "twins" / "_".join(parts)
        folder.parent.mkdir(exist_ok=True)
        with _locked(folder.with_name(f"{folder.name}.lock")):
            if not folder.exists():  # there is no half of a twin
                module.write(folder, **options, progress=False)
        return folder

    return twin


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    import fcntl

    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The miniature project, whose study no variable of the machine changes."""
    import miniature

    for name in ("EOLAB_RUN_DIR", "EOLAB_RUNS", "EOLAB_DEBUG", "MINI_REAL", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EOLAB_ROOT", str(miniature.build(tmp_path)))
    return tmp_path


@pytest.fixture
def eager() -> Iterator[None]:
    """Train step by step on TensorFlow: a graph takes longer to make than a few small steps to run."""
    yield from _eagerly()


@pytest.fixture(scope="module")
def eager_module() -> Iterator[None]:
    """As ``eager``, for all tests of a file and for its fixtures that train."""
    yield from _eagerly()


def _eagerly() -> Iterator[None]:
    import keras

    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go: ``$EOLAB_ARTIFACTS``, else pytest's own folder."""
    named = os.environ.get("EOLAB_ARTIFACTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("artifacts")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def pytest_collection_finish() -> None:
    """Leave what all tests import to itself: looking through it for garbage takes a third of a second.

    Graphs make many objects and little garbage, which is looked for less often. What Keras leaves out of a
    saved layer is found once: Keras 3.15 remembers it by one name and looks for it by another.
    """
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)
    if saving := sys.modules.get("keras.src.saving.saving_lib"):
        saving.get_attr_skipset = functools.cache(saving.get_attr_skipset)


@pytest.hookimpl(trylast=True)  # after deselection
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each worker a fair share: whole notebooks first, then slow tests, then quick ones.

    Under ``--dist worksteal`` each worker starts with its part of the list, cut into equal parts, and one
    that has nothing left takes over half of what another has still to do.
    """
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
        if item.get_closest_marker("notebook"):
            item.add_marker(pytest.mark.timeout(TIMEOUT_S))
    ranks = {path: min(map(_rank, tests)) for path, tests in files.items()}
    shares: list[list[pytest.Item]] = [[] for _ in range(WORKERS)]
    seconds = [0.0] * WORKERS
    for path in sorted((p for p in files if ranks[p] == 0), key=_seconds, reverse=True):
        least = seconds.index(min(seconds))
        seconds[least] += _seconds(path)
        shares[least] += files[path]
    for number, path in enumerate(path for path in files if ranks[path] == 1):
        shares[number % WORKERS] += files[path]
    others = [item for path in files if ranks[path] == 2 for item in files[path]]
    for number, share in enumerate(shares):  # cut as xdist cuts: what is left by the workers that are left
        left = WORKERS - number
        room = (len(others) + sum(map(len, shares[number:]))) // left - len(share)
        share += [others.pop(0) for _ in range(min(max(room, 0), len(others)))]
    items[:] = [item for share in shares for item in share] + others


def _rank(item: pytest.Item) -> int:
    marks = {mark.name for mark in item.iter_markers()}
    return 0 if marks & {"notebook", "browser"} else 1 if "slow" in marks else 2


def _seconds(path: Path) -> float:
    return SECONDS.get(path.stem, 30)
