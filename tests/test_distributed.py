"""One training in several processes and on several devices: the same end, also after a kill."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import keras
import miniature
import nbformat
import numpy as np
import pandas as pd
import pytest
from conftest import HIDDEN
from training_example import ArraySamples

from eolab.cli import commands
from eolab.core import ranks
from eolab.core.errors import ParameterError, RunError
from eolab.data.store import ArraySpec, write_store
from eolab.runs import team
from eolab.training import distributed
from eolab.training.batches import Batches
from eolab.training.contrastive import Views

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


LAUNCHERS = [
    {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"},
    {
        "SLURM_PROCID": "3",
        "SLURM_STEP_NUM_TASKS": "4",
        "SLURM_LOCALID": "1",
        "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
    },
    {
        "OMPI_COMM_WORLD_RANK": "3",
        "OMPI_COMM_WORLD_SIZE": "4",
        "OMPI_COMM_WORLD_LOCAL_RANK": "1",
        "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
    },
    {"PMI_RANK": "3", "PMI_SIZE": "4", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "2"},
]


@pytest.mark.parametrize("variables", LAUNCHERS, ids=lambda variables: next(iter(variables)))
def test_the_place_of_a_process_is_read_from_each_launcher(variables: dict[str, str]) -> None:
    place = ranks.place(variables | {"MASTER_ADDR": "node1", "MASTER_PORT": "4000"})
    assert place == ranks.Place(3, 4, "node1", 4000, 1, 2)
    assert ranks.place(place.variables()) == place
    with pytest.raises(ParameterError, match="MASTER_ADDR is not set"):
        ranks.place(variables)


TASK = f"""#!{sys.executable}
import os, sys
from eolab.core import ranks
print(os.environ["KERAS_BACKEND"], ranks.place(), ranks.place().host, *sys.argv[1:])
"""
STARTERS = {
    "by_hand": ("0 2 node1", 1),
    "slurm": ("", 2),
    "mpirun": ("node1:1,node2:1", 2),
}


@pytest.mark.parametrize("name", STARTERS)
def test_launchers_start_the_command_and_say_to_each_process_which_one_it_is(name, tmp_path) -> None:
    """What starts processes is played by a script that starts two here.

    The list of machines is longer than a pipe holds: one that read its first line alone ended the script.
    """
    two = 'for k in 0 1; do env %s "$@"; done\n'
    programs = {
        "eolab": TASK,
        "scontrol": "#!/bin/bash\nprintf 'node%d\\n' {1..20000}\n",
        "srun": "#!/bin/bash\nshift\n" + two % "SLURM_PROCID=$k SLURM_STEP_NUM_TASKS=2",
        "mpirun": "#!/bin/bash\nwhile [[ $1 != eolab ]]; do shift; done\n"
        + two % "OMPI_COMM_WORLD_RANK=$k OMPI_COMM_WORLD_SIZE=2",
    }
    for program, text in programs.items():
        (tmp_path / program).write_text(text)
        (tmp_path / program).chmod(0o755)
    arguments, count = STARTERS[name]
    variables = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"}
    variables |= {"SLURM_JOB_NODELIST": "node[1-2]", "PYTHONPATH": str(HERE.parent)}
    command = ["bash", str(HERE.parent / "docs" / "launch" / f"{name}.sh"), *arguments.split(), "landcover"]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    lines = [f"jax process {k} of 2 node1 run landcover" for k in range(count)]
    assert done.stdout.splitlines() == lines


def test_a_process_is_alone_where_no_launcher_or_a_step_of_one_task_says_so() -> None:
    assert ranks.place({}) == ranks.Place()
    assert ranks.place({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "8"}).count == 1
    with pytest.raises(ParameterError, match="RANK is 4: expected 0 to 3"):
        ranks.place({"RANK": "4", "WORLD_SIZE": "4"})
    with pytest.raises(ParameterError, match=r"MASTER_PORT is 99999: expected .* 1 to 65535"):
        ranks.place({"RANK": "0", "WORLD_SIZE": "4", "MASTER_ADDR": "a", "MASTER_PORT": "99999"})


def test_a_stranger_at_the_port_of_the_first_process_does_no_harm() -> None:
    place = ranks.Place(0, 2, port=ranks.free_port())
    said: list[str] = []

    def come() -> None:
        for words in (b"5\n", b"GET / HTTP/1.1\r\n\r\n", b'{"rank": 1, "host": "here", "log": "log"}\n'):
            connection = socket.create_connection((place.host, place.port), timeout=5)
            connection.sendall(words)
            connections.append(connection)

    connections: list[socket.socket] = []
    with (
        socket.create_server((place.host, place.port)),
        pytest.raises(RunError, match="Cannot listen at port"),
    ):
        team.Team(place, said.append)
    visitors = threading.Timer(0.3, come)
    visitors.start()
    team.Team(place, said.append).close(0)
    assert said == ["2 processes train together: this one and 1 on here"]
    for connection in connections:
        connection.close()


def test_several_processes_without_jax_or_on_another_backend_are_refused(monkeypatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    monkeypatch.setattr(distributed, "find_spec", lambda name: object())
    for check in (distributed.check_backend, team.check):
        with pytest.raises(ParameterError, match="its backend is tensorflow: set KERAS_BACKEND=jax"):
            check(2)
    for name, value in ranks.Place(0, 2).variables().items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ParameterError, match="start a sweep in one"):
        commands._sweep(argparse.Namespace())
    monkeypatch.setattr(distributed, "find_spec", lambda name: None)
    with pytest.raises(ParameterError, match=r"`pip install 'eolab\[distributed\]'`"):
        distributed.check_backend(2)


@pytest.mark.parametrize("ignore", ["weight", "keep", "none"])
@pytest.mark.parametrize(("shuffle", "size", "counts"), [(False, 8, (8, 3)), (True, 6, (6, 6))])
def test_the_parts_of_a_batch_are_the_whole_and_what_fills_it_up_counts_nothing(
    shuffle, size, counts, ignore
) -> None:
    label = np.arange(11, dtype=np.uint8)
    label[3] = 255
    inputs = {"image": np.arange(11.0)}
    batches = Batches(ArraySamples(inputs, label), size, seed=1, shuffle=shuffle, ignore=ignore)
    for index, count in enumerate(counts):
        parts = [batches.part(index, rank, 2, 4) for rank in range(2)]
        assert [len(part[1]) for part in parts] == [2 * -(-count // 4)] * 2
        together = [np.concatenate([keras.tree.flatten(part)[k] for part in parts]) for k in range(3)]
        for ours, theirs in zip(together, keras.tree.flatten(batches[index]), strict=False):
            np.testing.assert_array_equal(ours[:count], theirs)
        assert not together[2][count:].any()


def test_the_parts_of_a_batch_of_pairs_hold_whole_pairs() -> None:
    """NT-Xent took views of other samples for pairs, had it been given those of two processes."""
    inputs = {"image": np.random.default_rng(0).normal(size=(6, 5, 2)), "valid": np.ones((6, 5), bool)}
    batches = Batches(
        ArraySamples(inputs | {"number": np.arange(6)}, np.zeros(6, np.uint8)),
        6,
        augment=Views((0, 0), (1, 1)),
        ignore="none",
    )
    parts = [batches.part(0, rank, 2, 2) for rank in range(2)]
    numbers = np.concatenate([part[0]["number"] for part in parts])
    np.testing.assert_array_equal(numbers, np.repeat(np.arange(6), 2))
    assert all(len(part[2]) == 6 and part[2].all() for part in parts)


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


@pytest.mark.slow
def test_two_devices_of_tensorflow_train_as_one(project: Path) -> None:
    """Gradients were the sum of those of both devices, each of a mean over its own samples."""
    folder = project / "mirrored"
    folder.mkdir()
    variables = {key: value for key, value in os.environ.items() if key != "KERAS_BACKEND"}
    variables["PYTHONPATH"] = os.pathsep.join([str(HERE), variables.get("PYTHONPATH", "")])
    program, store = str(HERE / "distributed_example.py"), str(project / "store")
    done = python(project, variables, program, str(folder), store)
    assert done.returncode == 0, done.stderr[-3000:]
    assert_same(kept(folder / "2"), kept(folder / "1"))
