from __future__ import annotations

import sys
from pathlib import Path

import miniature
import pytest

from eolab import runs
from eolab.core.errors import RunError
from eolab.runs import tracking


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
    run.finish()
    client = MlflowClient()
    experiment = client.get_experiment_by_name("eolab mini")
    (logged,) = client.search_runs([experiment.experiment_id])
    assert logged.data.params == {"count": "5", "seed": "1"}
    assert logged.data.metrics == {"test.f1": 0.5}
    assert logged.info.status == "FINISHED"
    names = {file.path for file in client.list_artifacts(logged.info.run_id)}
    assert {"metrics.json", "params.yaml", "environment.json"} <= names
    assert "checkpoint" not in names
    assert tracking.log(run.folder) == logged.info.run_id, "logged again is the same run"
    monkeypatch.setenv("MLFLOW_RUN_ID", logged.info.run_id)
    child = runs.start("mini/01_make", {"count": 6, "seed": 1})
    child.finish()
    runs_there = client.search_runs([experiment.experiment_id])
    assert len(runs_there) == 2
    assert {r.data.tags.get("mlflow.parentRunId") for r in runs_there} == {None, logged.info.run_id}


def test_a_missing_package_is_named(run: runs.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow.exceptions", None)
    with pytest.raises(RunError, match=r"pip install 'eolab\[mlflow\]'"):
        tracking.log(run.folder)
