"""Files of azureml/: each loads, names only what there is, and its command runs from the code it gets."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow_server
import pytest
import yaml

from eolab.cli import commands as cli
from eolab.data import catalog
from eolab.runs import parameters, study

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "azureml"
JOBS = ("job.yml", "sweep.yml", "multinode.yml")
LOADERS = {
    **dict.fromkeys(JOBS, "load_job"),
    **dict.fromkeys(("environment.yml", "environment_gpu.yml"), "load_environment"),
    **dict.fromkeys(("cluster.yml", "compute_instance.yml"), "load_compute"),
    "data.yml": "load_data",
}
CONDA_ONLY = ("python", "pip")


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
    text = (FOLDER / name).read_text()
    paths = re.findall(r"^\s*(?:conda_file|code|path): (\.\.\S*)", text, re.M)
    assert all((FOLDER / path).exists() for path in paths if path != "../data")


def test_what_jobs_name_is_made_by_a_file_of_this_folder():
    """Or by a command of its README, under another name."""
    made = {read(name).get("name") for name in LOADERS} | {read("job.yml")["outputs"]["runs"]["name"]}
    made |= set(
        re.findall(r"^az ml compute create .*--name ([\w-]+)", (FOLDER / "README.md").read_text(), re.M)
    )
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
    assert "$" not in re.sub(r"\$\{\{[\w.]+\}\}|\$PWD", "", text), "of the shell its folder alone"


def test_the_sweep_compares_what_its_notebook_logs():
    """The name that eolab.runs.tracking gives the best validation loss, which Azure takes as MLflow does."""
    job = read("sweep.yml")
    assert job["objective"] == {"goal": "minimize", "primary_metric": "03_train_convlstm.best.val_loss"}
    assert mlflow_server.NAME.fullmatch(job["objective"]["primary_metric"])
    assert "--only 02_preprocess 03_train_convlstm" in job["trial"]["command"]


@pytest.mark.parametrize("name", JOBS)
def test_parameters_of_a_command_are_those_of_its_notebooks(name):
    inputs = read(name)["inputs"]
    line = re.sub(r"\$\{\{inputs\.(\w+)\}\}", lambda one: str(inputs[one[1]]), command(name))
    line = re.sub(r"\$\{\{\w+\.(\w+)\}\}", r"\1", line).partition("eolab.cli ")[2]
    options = cli._parser().parse_args(shlex.split(line))
    chosen = study.load(options.study)
    assert options.profile in (None, *chosen.profiles)
    assert not set(options.only) - set(chosen.notebooks)
    for text in options.set:
        notebook, _, key = text.partition("=")[0].partition(".")
        known = {one.name: one.default for one in parameters.read(chosen.notebooks[notebook].path)}
        parameter, _, inner = key.partition(".")
        assert parameter in known
        assert not inner or inner in known[parameter]


# === The conda file ===


def test_the_image_is_built_from_the_projects_own_conda_file():
    """There is one list of packages, without the package itself, which no image build would find."""
    conda = yaml.safe_load((FOLDER / read("environment.yml")["conda_file"]).read_text())
    pip = next(one["pip"] for one in conda["dependencies"] if isinstance(one, dict))
    lines = [one for one in conda["dependencies"] if isinstance(one, str)] + pip
    assert {"mlflow-skinny", "azureml-mlflow"} <= {re.split(r"[<>=]", one)[0] for one in pip}
    assert not [one for one in lines if re.search(r"^-e|file:|^\.|/|eolab", one)]
    docker = (FOLDER / "Dockerfile").read_text()
    assert f"FROM {read('environment.yml')['image']}" in docker
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert f"'{extras['gpu'][0].partition(';')[0].strip()}'" in docker
    assert f"'{extras['distributed'][0].replace('jax', 'jax[cuda12]')}'" in docker


@pytest.mark.slow
def test_the_conda_file_solves(tmp_path):
    """By the names that PyPI has, as conda-forge is out of reach here; for Linux, as the image is."""
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(one["pip"] for one in dependencies if isinstance(one, dict))
    lines = [
        one for one in dependencies if isinstance(one, str) and re.split(r"[<>=]", one)[0] not in CONDA_ONLY
    ]
    names = {"matplotlib-base": "matplotlib", "dask-core": "dask"}
    text = "\n".join([*lines, *pip])
    for conda, pypi in names.items():
        text = text.replace(conda, pypi)
    (tmp_path / "wanted.in").write_text(text)
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        pytest.skip("uv, which solves it, is not installed")
    solve = [str(uv), "pip", "compile", "wanted.in", "--python-version", "3.11", "--quiet"]
    solve += ["--python-platform", "x86_64-manylinux_2_28"]
    done = subprocess.run(solve, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    if re.search(r"[Ff]ailed to fetch|error sending request|network", done.stderr):
        pytest.skip("no package index can be reached")
    assert not done.returncode, done.stderr
    found = dict(re.findall(r"^([\w.-]+)==(\S+)", done.stdout, re.M))
    assert {"tensorflow", "rasterio", "azureml-mlflow"} <= set(found)


# === The code that a job gets ===


@pytest.fixture(scope="module")
def ignored(azure) -> Callable[[str], bool]:
    """Whether azure-ai-ml leaves a file out of what it sends."""
    from azure.ai.ml._utils._asset_utils import get_ignore_file

    rules = get_ignore_file(ROOT)
    assert rules.path == ROOT / ".amlignore"
    return lambda name: rules.is_file_excluded(ROOT / name)


@pytest.fixture(scope="module")
def code(ignored, tmp_path_factory) -> Path:
    """A folder with the files of the project that a job gets."""
    folder = tmp_path_factory.mktemp("code")
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    known = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    if not known:
        pytest.skip("no checkout of git")
    for name in known:
        if not ignored(name) and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def test_a_job_gets_the_code_and_no_data(code, ignored):
    needed = [
        "eolab/runs/chain.py",
        "eolab/data/catalog.py",
        "notebooks/flood/study.yaml",
        "data_catalog.yaml",
    ]
    assert not [name for name in needed if not (code / name).exists()]
    own = ["data/x.tif", "runs/flood/x.npy", ".venv/bin/x", ".git/x", "eolab/__pycache__/x.pyc", "tests/x.py"]
    assert not [name for name in own if not ignored(name)]
    sizes = [path.stat().st_size for path in code.rglob("*") if path.is_file()]
    assert sum(sizes) < 10e6, "a code folder of Azure ML has at most 300 MB"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A folder with the package as its wheel installs it."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", ".", str(ROOT)]
    if subprocess.run(build, cwd=folder, capture_output=True).returncode:
        pytest.skip("pip cannot build a wheel here: its backend hatchling cannot be had")
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as packed:
        packed.extractall(folder / "installed")
    return folder / "installed"


@pytest.mark.slow
@pytest.mark.parametrize("package", ["code", "wheel"])
def test_the_command_of_the_job_runs_in_a_bare_folder(
    package: str, code: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Placeholders filled in: data where they are mounted, runs in the output, children of the job's run."""
    work = shutil.copytree(code, tmp_path / "work")
    own = {}
    if package == "wheel":
        installed = request.getfixturevalue("wheel")
        shutil.rmtree(work / "eolab")
        own = {"PYTHONPATH": str(installed)}
    data = tmp_path / "mounted"
    data.mkdir()
    twin = catalog.load()["landslide_twin"].ensure(progress=False).path.resolve()
    (data / "landslide_twin").symlink_to(twin)
    values = {"data": data, "study": "landslide", "options": "--only 01_explore", "runs": tmp_path / "out"}
    line = re.sub(r"\$\{\{\w+\.(\w+)\}\}", lambda one: str(values[one[1]]), command("job.yml"))
    line = line.replace("PYTHONPATH=$PWD", f"PYTHONPATH={own.get('PYTHONPATH', '$PWD')}")
    with mlflow_server.started() as (uri, store):
        job = store.runs_create(store.experiments_create("eolab")["experiment_id"])["run"]["info"]
        service = {"MLFLOW_TRACKING_URI": uri, "MLFLOW_RUN_ID": job["run_id"]}
        service |= {"MLFLOW_EXPERIMENT_ID": job["experiment_id"], "HOME": str(tmp_path)}
        service |= {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "EOLAB_COLD_KERNELS": "1"}
        done = subprocess.run(["bash", "-c", line], cwd=work, env=service, capture_output=True, text=True)
    assert not done.returncode, done.stdout + done.stderr
    (folder,) = (tmp_path / "out" / "landslide" / "01_explore").glob("smoke-*")
    record = json.loads((folder / "run.json").read_text())
    assert record["status"] == "done"
    assert (tmp_path / "out" / "landslide" / "report.html").exists()
    assert json.loads((folder / "data.json").read_text())[0]["path"] == str(twin)
    assert {path.name for path in work.iterdir()} <= {path.name for path in code.iterdir()}
    (child,) = [run for run in store.runs.values() if run["info"]["run_id"] != job["run_id"]]
    assert store.tag(child, "mlflow.parentRunId") == job["run_id"]
    assert child["info"]["status"] == "FINISHED"
    assert store.runs[job["run_id"]]["info"]["status"] == "RUNNING", "the service ends the job"
    assert f"{child['info']['run_id']}/report.html" in store.artifacts


# === The compute instance ===


def test_the_set_up_script_makes_environment_and_kernel(tmp_path):
    """With a conda that notes what it is asked, and makes the kernel."""
    tools = tmp_path / "bin"
    tools.mkdir()
    made = tmp_path / "made"
    fakes = {
        "python": f'exec {sys.executable} "$@"',
        "sudo": 'echo "sudo $*" | head -1 >> $LOG; shift 2; exec "$@"',
        "conda": 'echo "conda $*" >> $LOG; if [ "$6" = ipykernel ]; then shift 3; exec "$@"; fi',
    }
    for name, text in fakes.items():
        (tools / name).write_text(f"#!/bin/bash\n{text}\n")
        (tools / name).chmod(0o755)
    project = tmp_path / "a project"
    (project / "azureml").mkdir(parents=True)
    shutil.copy(FOLDER / "setup.sh", project / "azureml")
    own = {"PATH": f"{tools}:/usr/bin:/bin", "LOG": str(tmp_path / "log"), "JUPYTER_DATA_DIR": str(made)}
    subprocess.run(
        ["bash", str(project / "azureml" / "setup.sh")], env=own | {"HOME": str(tmp_path)}, check=True
    )
    asked = (tmp_path / "log").read_text().splitlines()
    assert asked[0].startswith("sudo --user=azureuser --login bash")
    assert asked[1] == f"conda env update --name eolab --file {project}/environment.yml"
    assert asked[2] == f"conda run --name eolab python -m pip install --no-deps --editable {project}"
    kernel = json.loads((made / "kernels" / "eolab" / "kernel.json").read_text())
    assert kernel["display_name"] == "eolab"
    path = read("compute_instance.yml")["setup_scripts"]["creation_script"]["path"]
    assert path.endswith("/azureml/setup.sh")
    assert os.access(FOLDER / "setup.sh", os.X_OK)
