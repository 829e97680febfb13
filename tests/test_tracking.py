from __future__ import annotations

import os
import posixpath
import re
import socket
import sys
import threading
import time
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import miniature
import mlflow_server
import pytest

from eolab import runs
from eolab.core.errors import RunError
from eolab.runs import chain, execute, folders, study, tracking


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> runs.Run:
    for name in (
        "EOLAB_RUN_DIR",
        "EOLAB_RUNS",
        "MLFLOW_RUN_ID",
        "MLFLOW_EXPERIMENT_ID",
        "MLFLOW_EXPERIMENT_NAME",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EOLAB_ROOT", str(miniature.build(tmp_path)))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # the only store that the client alone can write
    return runs.start("mini/01_make", {"count": 5, "seed": 1})


@pytest.mark.slow
def test_a_run_reaches_mlflow(run: runs.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    run.metrics({"test": {"f1": 0.5, "note": "text", "empty": float("nan")}})
    run.path("checkpoint/step").write_text("large")
    monkeypatch.setattr(tracking, "_EVERY_S", 0.02)
    client = MlflowClient()
    with tracking.followed(run.folder):
        (run.folder / "history.csv").write_text("epoch,loss,val_loss\n1,0.5,\n2,0.25,nan\n")
        end = time.monotonic() + 30
        while not any("epoch.loss" in one.data.metrics for one in runs_of(client)):  # as the training goes on
            assert time.monotonic() < end
    (run.folder / "history.csv").write_text("epoch,loss,val_loss\n1,0.5,\n2,0.25,nan\n3,0.125,0.75\n")
    run.finish()
    (logged,) = runs_of(client)
    assert logged.data.params == {"count": "5", "seed": "1"}
    assert logged.data.metrics == {"test.f1": 0.5, "epoch.loss": 0.125, "epoch.val_loss": 0.75}
    assert logged.info.status == "FINISHED"
    names = {file.path for file in client.list_artifacts(logged.info.run_id)}
    assert {"metrics.json", "params.yaml", "environment.json"} <= names
    assert "checkpoint" not in names
    assert tracking.log(run.folder) == logged.info.run_id, "logged again is the same run"
    epochs = client.get_metric_history(logged.info.run_id, "epoch.loss")
    assert [(one.step, one.value) for one in epochs] == [(1, 0.5), (2, 0.25), (3, 0.125)], "each once"

    def child() -> bool:
        made = runs.start("mini/01_make", {"count": 6, "seed": 1})
        folders.update_record(made.folder, point="count=6")
        rows = "1,1,0.5,0.2\n2,1,0.25,0.4\n3,1,0.75,0.3\n"
        (made.folder / "history.csv").write_text("epoch,loss,val_loss,val_f1\n" + rows)
        made.finish(test={"f1": 0.75, "loss": 0.5})
        return True

    monkeypatch.setenv("MLFLOW_RUN_ID", logged.info.run_id)  # as a job of Azure ML has it
    assert tracking.under_parent("mini", "a job", child)
    job = client.get_run(logged.info.run_id).data.metrics
    assert job["count_6.test.f1"] == 0.75
    assert "count_6.best.loss" not in job, "of validation alone"
    for name, best in {"val_loss": [0.5, 0.25, 0.25], "val_f1": [0.2, 0.4, 0.4]}.items():
        epochs = client.get_metric_history(logged.info.run_id, f"count_6.best.{name}")
        assert [(one.step, one.value) for one in epochs] == [*enumerate(best, 1)], "what a sweep compares"
    monkeypatch.delenv("MLFLOW_RUN_ID")
    assert tracking.under_parent("mini", "a sweep", lambda: True), "without children it is deleted"
    there = runs_of(client)
    assert len(there) == 2
    assert {one.data.tags.get("mlflow.parentRunId") for one in there} == {None, logged.info.run_id}
    for record in runs.records("mini", "01_make"):  # logged as new ones
        (record.folder / ".mlflow.json").unlink()
        folders.update_record(record.folder, mlflow_run_id=None)
    assert tracking.under_parent("mini", "a sweep", lambda: bool(tracking.log(record.folder)))
    (parent,) = [one for one in runs_of(client) if one.info.run_name == "a sweep"]
    assert parent.info.status == "FINISHED"
    assert len(parent.data.metrics) > 0
    assert "MLFLOW_RUN_ID" not in os.environ


def runs_of(client: Any) -> list[Any]:
    """Return the runs in MLflow's experiment of the miniature study."""
    experiment = client.get_experiment_by_name("eolab mini")
    return list(client.search_runs([experiment.experiment_id])) if experiment else []


def test_a_missing_package_is_named(run: runs.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow.tracking", None)
    with pytest.raises(RunError, match=r"pip install 'eolab\[mlflow\]'"):
        tracking.log(run.folder)


class Server:
    """Stands for MLflow's client: refuses what a real server refuses, and keeps what it takes."""

    def __init__(self) -> None:
        self.metrics: dict[str, float] = {}
        self.params: dict[str, str] = {}
        self.status = "RUNNING"
        self.fails = False

    def create_run(self, *_: object, **__: object) -> object:
        return SimpleNamespace(info=SimpleNamespace(run_id="1"))

    def get_experiment_by_name(self, name: str) -> object:
        return SimpleNamespace(experiment_id="0")

    def log_batch(self, run_id: str, metrics: list, params: list) -> None:
        for one in (*metrics, *params):
            if not re.fullmatch(r"[\w.\- ]{1,250}", one.key) or posixpath.normpath(one.key) != one.key:
                raise ValueError(f"Invalid name {one.key!r}")
        if self.fails or any(len(one.value) > 500 for one in params):
            raise ValueError("too long")
        self.metrics |= {one.key: one.value for one in metrics}
        self.params |= {one.key: one.value for one in params}
        assert len(self.metrics) == len(metrics)

    def log_artifact(self, *_: object) -> None: ...

    def set_terminated(self, run_id: str, status: str) -> None:
        self.status = status


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    """A server in place of MLflow's, whose package need not be there."""
    found = Server()
    pair = namedtuple("pair", "key value")
    kinds = SimpleNamespace(Metric=lambda key, value, *_: pair(key, value), Param=pair)
    monkeypatch.setitem(sys.modules, "mlflow.entities", kinds)
    monkeypatch.setitem(sys.modules, "mlflow.tracking", SimpleNamespace(MlflowClient=lambda: found))
    return found


def test_metrics_of_any_name_reach_mlflow(run: runs.Run, server: Server) -> None:
    """A comma in one name lost all metrics, and the run was running for ever."""
    names = ["a, b", "a; b", "é/ü", "50 %", "..", ".", "/root", "a/b", "a/../b", "<x>", "x" * 400, ""]
    values = {name: float(number) for number, name in enumerate(names)} | {"nan": float("nan")}
    run.metrics(values)
    folders.update_record(run.folder, parameters={"count": "7" * 9000, "seed": 1})
    run.finish()
    assert server.status == "FINISHED"
    assert sorted(server.metrics.values()) == [float(number) for number in range(len(names))]
    assert server.metrics["a_ b"] == 0
    assert server.metrics["a_ b_2"] == 1
    assert len(server.params["count"]) == 500


def test_a_run_that_mlflow_refuses_is_not_left_running(
    run: runs.Run, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.fails = True
    run.finish()
    assert server.status == "FAILED"
    assert "did not take run" in capsys.readouterr().out
    assert runs.load(run.folder).status == "done"


def test_a_server_that_does_not_answer_costs_one_line(
    run: runs.Run, server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It cost 262 s a notebook, in silence."""
    with socket.socket() as listener:  # bound, not listening: connections are refused
        listener.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{listener.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        (job,) = chain.plan(study.load("mini"), chain.Options(run.folder / "runs"), ["01_make"])
        for _ in range(2):
            assert "MLFLOW_TRACKING_URI" not in execute._environment(job, run.folder)
        run.finish()
    said = capsys.readouterr().err
    assert said.count(f"MLflow at {uri} does not answer") == 1
    assert "unset MLFLOW_TRACKING_URI" in said
    assert server.status == "RUNNING"


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9.6\r\n", b""])
def test_what_is_no_web_server_costs_one_line_and_no_password_is_shown(
    answer: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another service at the port was a BadStatusLine; the name and password of an address were printed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        assert not tracking.reachable(f"HTTP://me:secret@127.0.0.1:{port}")
        thread.join()
    said = capsys.readouterr().err
    assert "does not answer" in said
    assert "secret" not in said


def test_an_address_with_a_blank_costs_one_line() -> None:
    """It was an InvalidURL before the first notebook ran."""
    assert not tracking.reachable("http://a b")


def test_what_mlflow_says_is_shown_without_a_password(
    run: runs.Run, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = "http://me:secret@example.org"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setattr(tracking, "reachable", lambda _: True)
    server.fails = True
    with pytest.raises(RunError, match=r"MLflow at http://example\.org did not take"):
        tracking.log(run.folder)


# === Over HTTP ===


@pytest.fixture(params=["stand-in", "mlflow"])
def tracking_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Address of a tracking server: ours, and MLflow's own where the whole package is installed."""
    if request.param == "stand-in":
        with mlflow_server.started() as (uri, _):
            yield uri
    else:
        with mlflow_server.real(tmp_path / "server") as uri:
            yield uri


@pytest.mark.slow
def test_a_job_logs_over_http(
    run: runs.Run, tracking_server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Metrics of any name, files, epochs, and the runs of a job as children of the run that it has."""
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_server)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    client = MlflowClient(tracking_server)
    job = client.create_run(client.create_experiment("eolab")).info  # as the service makes it
    monkeypatch.setenv("MLFLOW_RUN_ID", job.run_id)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", job.experiment_id)
    run.metrics({"test": {"f1": 0.5, "a, b": 1.0, "é/ü 50 %": 2.0, "x" * 300: 3.0, "nan": float("nan")}})
    (run.folder / "history.csv").write_text("epoch,loss,val_loss\n1,0.5,0.75\n2,0.25,0.8\n")
    run.path("tables/é %.csv").write_text("a table")
    run.finish()
    assert "did not take" not in capsys.readouterr().out
    child, parent = client.search_runs([job.experiment_id])
    child, parent = (child, parent) if parent.info.run_id == job.run_id else (parent, child)
    assert child.data.tags["mlflow.parentRunId"] == job.run_id
    assert child.info.status == "FINISHED"
    assert parent.info.status == "RUNNING", "the service ends it"
    assert child.data.params == {"count": "5", "seed": "1"}
    values = child.data.metrics
    assert values.pop("epoch.val_loss") == 0.8
    assert values.pop("epoch.loss") == 0.25
    assert sorted(values.values()) == [0.5, 1.0, 2.0, 3.0]
    assert parent.data.metrics["01_make.best.val_loss"] == 0.75
    assert parent.data.metrics["01_make.test.f1"] == 0.5
    files = {one.path for one in client.list_artifacts(child.info.run_id)}
    assert {"metrics.json", "params.yaml", "tables"} <= files
    assert [one.path for one in client.list_artifacts(child.info.run_id, "tables")] == ["tables/é %.csv"]
