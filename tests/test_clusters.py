"""Runs of a sweep on workers of dask and Ray: equal results, lost workers, resumed, stopped, bounded."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from unittest import mock

import miniature
import pandas as pd
import psutil
import pytest
import warm

from eolab.core.errors import ParameterError, RunError
from eolab.runs import clusters, execute, folders, study, sweep
from eolab.runs.clusters import on_dask, on_ray
from eolab.runs.points import jobs_of

dask = pytest.importorskip("dask", reason="needs eolab[dask]")
distributed = pytest.importorskip("distributed", reason="needs eolab[dask]")
pytest.importorskip("ray", reason="needs eolab[ray]")

TILES = {
    "notebook": "02_use",
    "grid": {"01_make.count": [2, 5]},
    "table": {"rows": ["01_make.count"], "metrics": ["test.f1"]},
}


def project(folder: Path) -> Path:
    """A study of two notebooks, and a sweep whose points need two runs of the first one."""
    root = miniature.build(folder)
    miniature.add_sweeps(root, {"tiles": TILES})
    return root


def begun(root: Path) -> list[Path]:
    """Return the files that the runs of the first notebook write their processes to, once both have begun."""
    end = time.monotonic() + 200
    while time.monotonic() < end:
        found = [file for file in (root / "runs/mini/01_make").glob("*/attempts.txt") if file.read_text()]
        if len(found) == 2:
            break
        time.sleep(0.1)
    return found


def lose(root: Path, worker_at: Callable[[Path], psutil.Process]) -> None:
    """End a worker in the middle of its run; the others go on when the notebook that it ran has ended too."""
    try:
        runs = begun(root)
        notebooks = [int(file.read_text()) for file in runs]
        worker_at(runs[0].parent).kill()
        end = time.monotonic() + 60
        while all(map(psutil.pid_exists, notebooks)) and time.monotonic() < end:
            time.sleep(0.05)
    finally:
        (root / "hold").unlink()


def worker_of_dask(folder: Path) -> psutil.Process:
    """Return the worker that carries out the run of a folder."""
    children = psutil.Process().children(recursive=True)
    notebook = next(one for one in children if any(word.startswith(str(folder)) for word in one.cmdline()))
    return notebook.parent()


def worker_of_ray(folder: Path) -> psutil.Process:
    """Return a process of Ray that carries out a run."""
    children = psutil.Process().children(recursive=True)
    return next(one for one in children if one.cmdline()[:1] == ["ray::_work"])


@pytest.mark.notebook
def test_a_sweep_on_ray_survives_a_lost_worker(tmp_path: Path) -> None:
    root = project(tmp_path)
    (root / "hold").touch()
    threading.Thread(target=lose, args=(root, worker_of_ray), daemon=True).start()
    with warm.workers():
        status, said = miniature.command(root, "sweep", "mini", "tiles", "--on", "ray", "--jobs", "2")
    assert status == 0, said
    attempts = [len(file.read_text().splitlines()) for file in (root / "runs").glob("mini/01_make/*/att*")]
    assert sorted(attempts) == [1, 2], "the run of the lost worker began once more"
    assert said.count("done in") == 4
    table = pd.read_csv(root / "runs/mini/sweeps/tiles/runs.csv")
    assert table["test.f1"].tolist() == pytest.approx([0.02, 0.05])


@pytest.mark.notebook
def test_a_sweep_on_a_cluster_survives_a_lost_worker_and_gives_what_processes_give(tmp_path: Path) -> None:
    root = project(tmp_path)
    (root / "hold").touch()
    threading.Thread(target=lose, args=(root, worker_of_dask), daemon=True).start()
    with warm.workers():
        begin = f"from eolab.runs import execute; execute.WORKER = {execute.WORKER}"
    with dask.config.set({"distributed.worker.preload": [begin]}):
        status, said = miniature.command(root, "sweep", "mini", "tiles", "--on", "dask", "--jobs", "2")
    assert status == 0, said
    attempts = [len(file.read_text().splitlines()) for file in (root / "runs").glob("mini/01_make/*/att*")]
    assert sorted(attempts) == [1, 2], "the run of the lost worker began once more"
    assert said.count("done in") == 4
    status, again = miniature.command(root, "sweep", "mini", "tiles")
    assert (status, again.count("finished before, skipped")) == (0, 4), again
    elsewhere = ["--out", str(tmp_path / "plain"), "--jobs", "2"]
    status, plain = miniature.command(root, "sweep", "mini", "tiles", *elsewhere)
    assert status == 0, plain
    tables = [pd.read_csv(one / "mini/sweeps/tiles/runs.csv") for one in (root / "runs", tmp_path / "plain")]
    one, other = (table.drop(columns="seconds") for table in tables)
    pd.testing.assert_frame_equal(one, other)
    assert one["test.f1"].tolist() == pytest.approx([0.02, 0.05])  # factor · count / 10, factor 0.1


@pytest.fixture
def mini(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = project(tmp_path)
    monkeypatch.setenv("EOLAB_ROOT", str(root))
    monkeypatch.delenv("EOLAB_RUNS", raising=False)
    return root


def finished(job: execute.Job, counter: str, force: bool, say: clusters.Say) -> bool:
    """Stand for a run: it writes its record, and fails where the number is 5."""
    say(f"{counter}{job.label}: started")
    good = job.values.get("count") != 5
    facts = {"status": "done" if good else "failed", "run": job.folder.name, "parameters": job.values}
    facts |= {"study": "mini", "notebook": job.notebook.name, "started": "2026-01-01T00:00:00+00:00"}
    folders.write_json(job.folder / folders.RECORD, facts)
    folders.write_json(job.folder / folders.METRICS, {"test": {"f1": 0.25}})
    say(f"{counter}{job.label}: ended")
    return good


def test_a_scheduler_of_ones_own_runs_a_sweep_whose_failures_stop_only_what_needs_them(
    mini: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eolab.runs.chain.step", finished)
    said: list[str] = []
    options = sweep.Options(mini / "runs")
    inside = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "protocol": "tcp"}
    with distributed.LocalCluster(**inside, dashboard_address=None) as cluster:
        on = f"dask={cluster.scheduler_address}"
        assert not sweep.run(study.load("mini"), ["tiles"], options, say=said.append, on=on)
    heads = [line for line in said if line.endswith((": started", ": ended"))]
    assert len(heads) == 8, "a run that fails begins once more"
    assert sum(line.endswith(": begins once more") for line in said) == 1
    failed = next(line for line in said if "left out" in line)
    assert failed.startswith("2/2 count=5: left out, as it needs 01_make smoke-")
    assert "2 runs, 1 failed" in said[-1]
    table = pd.read_csv(mini / "runs/mini/sweeps/tiles/runs.csv")
    assert table["01_make.count"].tolist() == [2, 5]
    assert table["status"].tolist() == ["done", "left out"]
    assert table["test.f1"].fillna(-1).tolist() == [0.25, -1]


@pytest.mark.parametrize(
    ("on", "jobs", "said"),
    [
        ("dsk", None, "--on dsk: there is no place 'dsk': did you mean 'dask'. Known: dask, ray."),
        ("dask=", None, "names no address"),
        ("dask=tcp://127.0.0.1:9", 2, "leave --jobs out"),
        ("dask=tcp://127.0.0.1:9", None, "No scheduler of dask answers at tcp://127.0.0.1:9"),
        ("ray=127.0.0.1:9", None, "No cluster of Ray answers at 127.0.0.1:9"),
        ("dask=nowhere", None, "No scheduler of dask answers at nowhere"),
    ],
)
def test_a_place_that_is_not_there_is_named(
    mini: Path, monkeypatch: pytest.MonkeyPatch, on: str, jobs: int | None, said: str
) -> None:
    monkeypatch.setattr(clusters.shared, "PATIENCE_S", 0.2)
    with (
        mock.patch.dict(os.environ),
        pytest.raises(ParameterError, match=said),
        clusters.workers(on, jobs, False, print),
    ):
        pass


@pytest.mark.parametrize(("has_token", "given", "tries"), [(True, "", 2), (False, "", 1), (True, "token", 1)])
def test_a_cluster_of_ray_that_refuses_is_given_the_token_of_this_user(
    monkeypatch: pytest.MonkeyPatch, has_token: bool, given: str, tries: int
) -> None:
    import ray
    from ray._private.authentication import authentication_token_setup as tokens

    asked: list[str] = []

    def init(address: str, **_: object) -> None:
        asked.append(address)
        if len(asked) == 1:
            raise ConnectionError

    fake = types.SimpleNamespace(init=init, shutdown=lambda: None, exceptions=ray.exceptions)
    monkeypatch.setattr(tokens, "maybe_enable_token_auth_if_token_available", lambda _: has_token)
    own = {key: value for key, value in os.environ.items() if key != "RAY_AUTH_MODE"}
    good = nullcontext() if tries == 2 else pytest.raises(ParameterError, match="auth_token is that of the")
    more = {"RAY_AUTH_MODE": given} if given else {}
    with mock.patch.dict(os.environ, own | more, clear=True), good, on_ray._connected(fake, "auto"):
        pass
    assert asked == ["auto"] * tries


def test_what_ends_ray_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "/scratch/ray/session")

    fake = types.SimpleNamespace(init=lambda *_, **__: None, shutdown=lambda: None, exceptions=ray.exceptions)
    monkeypatch.setenv("RAY_TMPDIR", "/scratch")
    with (
        pytest.raises(RunError, match=r"Ray has ended.*LocalRayletDied.*/scratch/ray/session_latest/logs"),
        on_ray._connected(fake, ""),
    ):
        raise ray.exceptions.LocalRayletDiedError
    fake.init = full
    with (
        pytest.raises(
            RunError, match=r"cannot start on this machine \(OSError: .*No space left .*RAY_TMPDIR"
        ),
        on_ray._connected(fake, ""),
    ):
        pass


def test_without_the_package_one_sentence_says_how_to_get_it(
    mini: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.setitem(sys.modules, "ray", None)
    for on in ("dask", "ray"):
        with (
            pytest.raises(ParameterError, match=rf"pip install 'eolab\[{on}\]'"),
            clusters.workers(on, 1, False, print),
        ):
            pass


def test_a_run_that_takes_more_memory_than_its_share_or_is_not_wanted_any_more_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_dask, "_LOOK_EVERY_S", 0.02)
    for wanted, limit, stopped in ((True, 1e3, True), (False, 0.0, True), (True, 1e12, False)):
        process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        execute._RUNNING[process] = tmp_path
        with on_dask._guarded(tmp_path, lambda wanted=wanted: wanted, limit) as reasons:
            end = time.monotonic() + (20 if stopped else 0.3)
            while process.poll() is None and time.monotonic() < end:
                time.sleep(0.02)
        assert (process.poll() is not None) == stopped
        assert ["GB of memory, more than 0.0 GB" in text for text in reasons[:1]] == [True] * (limit == 1e3)
        execute._RUNNING.pop(process)
        execute._stop(process)


@pytest.mark.parametrize(
    ("machines", "jobs", "number", "needs"),
    [
        ([{"CPU": 2, "memory": 24e9}], 2, 2, (1, 0, 0)),
        ([{"CPU": 2, "memory": 24e9}], 4, 4, (0.5, 0, 0)),
        ([{"CPU": 8, "memory": 24e9}], None, 6, (1, 0, 4e9)),
        ([{"CPU": 1, "memory": 2e9}], None, 1, (1, 0, 0)),
        ([{"CPU": 16, "memory": 24e9}, {"CPU": 2, "memory": 99e9}], None, 8, (1, 0, 4e9)),
        ([{"CPU": 16, "GPU": 2, "memory": 99e9}], None, 2, (8, 1, 0)),
        ([{"CPU": 16, "GPU": 4, "memory": 99e9}], 2, 2, (8, 2, 0)),
        ([{"CPU": 16, "GPU": 1, "memory": 99e9}], 4, 4, (4, 0.25, 0)),
        ([{"CPU": 16, "GPU": 4}, {"CPU": 64, "GPU": 8}, {"CPU": 64}], None, 12, (4, 1, 0)),
    ],
)
def test_ray_shares_out_cores_memory_and_gpus(
    machines: list[dict[str, float]], jobs: int | None, number: int, needs: tuple[float, ...]
) -> None:
    found = on_ray.share(machines, jobs)
    assert found.number == number
    assert (found.needs["num_cpus"], found.needs["num_gpus"], found.needs["memory"]) == needs


def test_lines_are_printed_once_and_in_order_whichever_way_they_come() -> None:
    said: list[str] = []
    heard = on_dask._Heard(said.append)
    for attempt, number, text in (("a", 0, "1"), ("b", 0, "x"), ("a", 2, "3"), ("a", 0, "1"), ("a", 1, "2")):
        heard(attempt, number, text)
    heard("a", 2, "3")
    assert said == ["1", "x", "2", "3"]


def test_a_grid_of_the_command_replaces_that_of_a_sweep_or_makes_one_of_a_notebook(mini: Path) -> None:
    changed = study.load("mini", ("tiles", ["01_make.count=3,4,5"])).sweep("tiles")
    assert [point["01_make.count"] for point in changed.points] == [3, 4, 5]
    assert changed.metrics == ("test.f1",)
    made = study.load("mini", ("02_use", ["bands=[B02, B03],[B04]", "mode=a,b"])).sweep("02_use")
    assert [(p["bands"], p["mode"]) for p in made.points] == [
        *[(["B02", "B03"], "a"), (["B02", "B03"], "b")],
        *[(["B04"], "a"), (["B04"], "b")],
    ]
    for name, text, said in (
        ("tiles", "01_make.cuont=3", "did you mean '01_make.count'"),
        ("tiles", "01_make.count=many", "count"),
        ("02_uses", "mode=a", "There is no sweep or notebook '02_uses'"),
        ("tiles", "mode", "--grid takes key=a,b"),
    ):
        with pytest.raises(ParameterError, match=said):
            study.load("mini", (name, [text]))


def test_one_model_may_map_all_tiles_and_only_what_the_grid_names_must_run(
    mini: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = study.load("mini")
    options = sweep.Options(mini / "runs", settings={"02_use": {"made": str(mini)}})
    with pytest.raises(ParameterError, match="varies 01_make, whose run is given by hand"):
        jobs_of(one, one.sweep("tiles"), options)
    monkeypatch.delenv("EOLAB_ROOT")
    landcover = study.load("landcover", ("tiles", ["02_preprocess.tile=32TQM,33TWM,33TVM"]))
    for settings, above in (({}, 9), ({"06_map_years": {"trained": str(mini)}}, 3)):
        options = sweep.Options(mini / "runs", settings=settings)
        points, needed = jobs_of(landcover, landcover.sweep("tiles"), options)
        assert (len(points), len(needed)) == (3, above)
        assert {job.values.get("tile") for job in needed if job.notebook.name == "02_preprocess"} == {
            *("32TQM", "33TWM", "33TVM")
        }
