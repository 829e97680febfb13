"""One training in several processes and on several devices: the same end, also after a kill."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import miniature
import nbformat
import numpy as np
import pandas as pd
import pytest
from conftest import HIDDEN

from eolab.core import ranks
from eolab.data.store import ArraySpec, write_store

HERE = Path(__file__).parent
STUDY = "title: Trains\ndescription: One notebook.\nnotebooks:\n  01_train: {}\n"
PARAMETERS = """\
epochs: int = 3  # passes
seed: int = 3  # seed of everything random"""
TRAIN = [
    "# 01 · Train\n\n> 1 s",
    ("parameters", PARAMETERS),
    "import os\nfrom pathlib import Path\nimport distributed_example as example\nfrom eolab import runs\n"
    "run = runs.start('mini/01_train', globals())",
    "# The network is built by example.train, which calls set_up(seed).",
    "store = Path(os.environ['EOLAB_ROOT']) / 'store'\nnet = example.train(run.folder, store, epochs, seed)",
    "with run.path('attempts.txt').open('a') as file:\n    print(os.getpid(), file=file)\n"
    "example.keep(run.folder, net, store)",
    "run.finish(weights=net.count_params())",
]
needs_jax = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")


def environment(root: Path, **more: str) -> dict[str, str]:
    """The environment of a command on JAX, which finds no TensorFlow: it takes seconds to import."""
    hidden = root / "hidden"
    hidden.mkdir(exist_ok=True)
    (hidden / "tensorflow.py").write_text("raise ImportError('hidden: it takes seconds to import')\n")
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path not in ("", HIDDEN)]
    jax = {
        "KERAS_BACKEND": "jax",
        "JAX_COMPILATION_CACHE_DIR": os.environ["EOLAB_CACHE"],
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
        "XLA_FLAGS": "--xla_cpu_use_fusion_emitters=false",
    }
    names = [name for group in ranks.NAMES for name in group]
    names += ["JUPYTER_PATH", "PYTEST_CURRENT_TEST"]  # kernels of the tests are forked with TensorFlow
    kept = {key: value for key, value in miniature.environment(root).items() if key not in names}
    return kept | jax | {"PYTHONPATH": os.pathsep.join([str(hidden), str(HERE), *paths])} | more


def eolab(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return python(root, environment(root), "-m", "eolab.cli", "run", "mini", *arguments)


def python(root: Path, variables: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=variables,
        cwd=root,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def trained(project: Path, name: str, **variables: str) -> Path:
    """Return the folder of a training in one process."""
    folder = project / name
    folder.mkdir()
    program, store = str(HERE / "distributed_example.py"), str(project / "store")
    done = python(project, environment(project, **variables), program, str(folder), store)
    assert done.returncode == 0, done.stderr
    return folder


def kept(folder: Path) -> dict[str, np.ndarray]:
    return dict(np.load(folder / "kept.npz"))


def assert_same(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    assert set(ours) == set(theirs)
    for name, values in ours.items():
        np.testing.assert_allclose(values, theirs[name], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    study = root / "notebooks" / "mini"
    study.mkdir(parents=True)
    (root / "data_catalog.yaml").write_text("{}\n")
    (study / "study.yaml").write_text(STUDY)
    nbformat.write(miniature.notebook(TRAIN), study / "01_train.ipynb")
    random = np.random.default_rng(0)
    label = random.integers(0, 4, 111).astype(np.uint8)
    image = random.normal(size=(111, 4, 3)).astype(np.float32) + label[:, None, None]
    write_store(
        root / "store",
        pd.DataFrame({"part": "all", "number": range(111)}),
        {"image": ArraySpec(("time", "band"), (4, 3), "float32"), "label": ArraySpec((), (), "uint8")},
        "part",
        lambda rows: {"image": image[rows["number"]], "label": label[rows["number"]]},
        {"inputs": {}, "recipe": {}},
        progress=False,
    )
    return root


@pytest.fixture(scope="module")
def single(project: Path) -> Path:
    """The folder of a training in one process on one device."""
    return trained(project, "single")


@needs_jax
@pytest.mark.slow
def test_two_processes_stop_where_one_is_killed_and_end_as_one_process(project: Path, single: Path) -> None:
    """The run's record names the process and its log; the same command resumes after the last epoch."""
    (project / "kill").write_text("1")
    broken = eolab(project, "--processes", "2")
    (folder,) = (project / "runs" / "mini" / "01_train").iterdir()
    record = json.loads((folder / "run.json").read_text())
    assert broken.returncode == 1, broken.stdout + broken.stderr
    assert record["status"] == "failed"
    assert "process 1 of 2 on " in record["failed"]["message"]
    assert f"its log: {folder / 'process_1.log'}" in record["failed"]["message"]
    assert len(pd.read_csv(folder / "history.csv")) == 1
    whole = eolab(project, "--processes", "2")
    assert whole.returncode == 0, whole.stdout + whole.stderr
    assert len((folder / "attempts.txt").read_text().splitlines()) == 1  # the first process alone writes
    assert_same(kept(folder), kept(single))


@needs_jax
@pytest.mark.slow
def test_two_devices_of_a_process_train_as_one_and_the_model_loads_on_tensorflow(
    project: Path, single: Path
) -> None:
    flags = "--xla_cpu_use_fusion_emitters=false --xla_force_host_platform_device_count=2"
    folder = trained(project, "devices", XLA_FLAGS=flags)
    assert_same(kept(folder), kept(single))
    assert keras.backend.backend() == "tensorflow"
    from eolab.data.store import open_store

    model = keras.saving.load_model(folder / "model.keras")
    predicted = model.predict({"image": np.asarray(open_store(project / "store").arrays["image"][:16])})
    np.testing.assert_allclose(predicted, kept(folder)["predicted"], rtol=1e-5, atol=1e-6)
