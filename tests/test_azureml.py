"""Files of azureml/: each loads, names only what there is, and its command runs from the code that Azure gets."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow_server
import pytest
import yaml

from eolab.runs import parameters, study

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "azureml"
JOBS = ("job.yml", "sweep.yml", "multinode.yml")
LOADERS = {
    **{name: "load_job" for name in JOBS},
    **{name: "load_environment" for name in ("environment.yml", "environment_gpu.yml")},
    **{name: "load_compute" for name in ("cluster.yml", "compute_instance.yml")},
    "data.yml": "load_data",
}
KINDS = {"load_job": "Job", "load_environment": "environment", "load_compute": "compute", "load_data": "data"}


@pytest.fixture(scope="module")
def azure() -> Any:
    return pytest.importorskip("azure.ai.ml", reason="azure-ai-ml is not installed (extra test)")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Connections that were tried; there are none: the telemetry of azure-ai-ml is for Jupyter alone."""
    tried: list[Any] = []

    def refused(_: socket.socket, address: Any) -> None:
        tried.append(address)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refused)
    yield tried
    assert not tried


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / name).read_text())


def command(name: str) -> str:
    job = read(name)
    return job.get("trial", job)["command"]


def test_each_file_is_loaded_by_a_test():
    assert {path.name for path in FOLDER.glob("*.yml")} == set(LOADERS)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", LOADERS)
def test_azure_loads_each_file(name, azure, offline):
    loaded = getattr(azure, LOADERS[name])(FOLDER / name)
    assert loaded._to_rest_object(), "what is sent to the service"
    if LOADERS[name] == "load_job":
        used = yaml.safe_load(str(loaded))
        assert used["compute"].startswith("azureml:"), used
    text = (FOLDER / name).read_text()
    paths = [*re.findall(r"^\s*(?:conda_file|code|path): (\.\.\S*)", text, re.M)]
    assert all((FOLDER / path).exists() for path in paths if path != "../data")


def test_what_jobs_name_is_made_by_a_file_of_this_folder():
    made = {read(name).get("name") for name in LOADERS}
    for name in JOBS:
        named = re.findall(r"azureml:([\w-]+)(?:@latest)?$", (FOLDER / name).read_text(), re.M)
        assert named
        assert not set(named) - made


@pytest.mark.parametrize("name", JOBS)
def test_each_placeholder_is_defined_and_each_input_used(name):
    job, text = read(name), command(name)
    used = re.findall(r"\$\{\{\s*([\w.]+)\s*\}\}", text)
    defined = {f"{kind}.{key}" for kind in ("inputs", "outputs", "search_space") for key in job.get(kind, {})}
    assert set(used) == defined
    assert "$" not in re.sub(r"\$\{\{[\w.]+\}\}|\$PWD", "", text), "of the shell only its folder"


@pytest.mark.parametrize("name", JOBS)
def test_parameters_of_a_command_are_those_of_its_notebooks(name):
    words = shlex.split(re.sub(r"\$\{\{inputs\.(\w+)\}\}", lambda one: str(read(name)["inputs"][one[1]]), command(name)))
    chosen = study.load(words[words.index("run") + 1])
    for word in words[words.index("--set") + 1 :] if "--set" in words else []:
        notebook, _, key = word.partition("=")[0].partition(".")
        known = {one.name: one for one in parameters.read(chosen.notebooks[notebook].path)}
        parameter, _, inner = key.partition(".")
        assert parameter in known
        assert not inner or inner in known[parameter].default
