"""What a repetition, a second process and a file system without locks do to runs that are finished."""

from __future__ import annotations

import errno
import json
import sys
import threading
import time
from pathlib import Path

import miniature
import pytest

from eolab import runs
from eolab.core import files
from eolab.runs import chain, execute, folders, history, study
from eolab.runs.execute import Job

WORKER = """
import json, os, sys, time
from datetime import UTC, datetime
from pathlib import Path
job = json.loads(Path(sys.argv[1]).read_text())
folder, root = Path(job["folder"]), Path(os.environ["EOLAB_ROOT"])
with (root / "attempts").open("a") as file:
    file.write("x")
while (root / "hold").exists():
    time.sleep(0.02)
for name, text in json.loads((root / "writes.json").read_text()).items():
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(text)
status = (root / "status").read_text()
times = {"started": "2026-01-01T00:00:00+00:00", "ended": datetime.now(UTC).isoformat(), "seconds": 0}
record = {**job["record"], **times, "status": status, "failed": None, "written": ["tables/a.csv"]}
(folder / "run.json").write_text(json.dumps(record))
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A miniature project whose worker writes what ``writes.json`` says and ends as ``status`` says."""
    root = miniature.build(tmp_path / "project")
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    monkeypatch.setattr(execute, "WORKER", [sys.executable, "-S", str(script)])
    for name in ("EOLAB_RUN_DIR", "EOLAB_RUNS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EOLAB_ROOT", str(root))
    ends(root, "done", {"model.keras": "first", "tables/a.csv": "1", "metrics.json": '{"f1": 0.5}'})
    return root


def ends(root: Path, status: str, writes: dict[str, str]) -> None:
    (root / "status").write_text(status)
    (root / "writes.json").write_text(json.dumps(writes))


def job(root: Path) -> Job:
    return chain.plan(study.load("mini"), chain.Options(root / "runs"), ["01_make"])[0]


def test_a_failed_repetition_leaves_the_finished_run_and_the_notes_in_its_folder(project: Path) -> None:
    """Both were removed before the repetition began."""
    one = job(project)
    assert execute.run(one).status == "done"
    (one.folder / "notes.txt").write_text("mine")
    (one.folder / "tables/marked.xlsx").write_text("mine too")
    ends(project, "failed", {"model.keras": "half"})
    failed = execute.run(one, force=True)
    assert failed.status == "failed"
    assert (failed.folder / "model.keras").read_text() == "half"
    kept = history.load(one.folder)
    assert (kept.status, kept.metrics) == ("done", {"f1": 0.5})
    assert (one.folder / "model.keras").read_text() == "first"
    assert (one.folder / "notes.txt").read_text() == "mine"
    assert execute.is_done(job(project))

    ends(project, "done", {"model.keras": "second", "metrics.json": '{"f1": 0.6}'})
    assert execute.run(job(project), force=True).folder == one.folder
    names = {p.relative_to(one.folder).as_posix() for p in one.folder.rglob("*") if p.is_file()}
    assert (one.folder / "model.keras").read_text() == "second"
    assert {"notes.txt", "tables/marked.xlsx"} <= names
    assert "tables/a.csv" not in names, "an old table that the run wrote before, and does not now"
    assert [p.name for p in one.folder.parent.iterdir()] == [one.folder.name]


def test_a_second_runner_waits_for_the_first_and_skips_what_that_has_finished(project: Path) -> None:
    """The first was called failed, "out of memory?", and the second did the work again."""
    (project / "hold").touch()
    said: list[str] = []
    status: list[bool] = []

    def start() -> None:
        status.append(chain.step(job(project), "", False, said.append))

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 20
    while not (any("another process" in line for line in said) and (project / "attempts").exists()):
        assert time.monotonic() < end, said
        time.sleep(0.02)
    (project / "hold").unlink()
    for thread in threads:
        thread.join()
    assert status == ["done", "done"], said
    assert (project / "attempts").read_text() == "x"
    assert not any("FAILED" in line for line in said)


def test_an_interactive_repetition_leaves_the_finished_run_until_it_is_done(project: Path) -> None:
    """The finished run was "running" without metrics, for ever if the second was given up."""
    values = {"count": 5, "seed": 1}
    first = runs.start("mini/01_make", values)
    first.finish(f1=0.5)
    again = runs.start("mini/01_make", values)
    again.metrics(f1=0.7)
    assert again.folder == folders.beside(first.folder)
    assert runs.latest("mini", "01_make") == first.folder
    assert runs.load(first.folder).metrics == {"f1": 0.5}
    third = runs.start("mini/01_make", values)
    third.path("model.keras").write_text("new")
    third.finish(f1=0.9)
    done = runs.load(first.folder)
    assert (done.status, done.metrics, done.record["written"]) == ("done", {"f1": 0.9}, ["model.keras"])
    assert third.folder == first.folder
    assert [path.name for path in first.folder.parent.iterdir()] == [first.folder.name]


@pytest.mark.parametrize("name", ["mini", "mini/", "notebooks/mini/"])
def test_a_study_is_named_as_a_shell_completes_it(project: Path, name: str) -> None:
    """With a slash behind it, its notebooks were not those that their cells name: each run failed."""
    one = study.load(name)
    assert one.name == "mini"
    assert {
        one.notebook(text).study for text in ("01_make", "01_make.ipynb", "notebooks/mini/01_make.ipynb")
    } == {"mini"}
    assert job(project).folder.parent == project / "runs/mini/01_make"


def no_locks(*_: object) -> None:
    raise OSError(errno.ENOSYS, "Function not implemented")


@pytest.mark.parametrize("system", ["file system without locks", "Windows"])
def test_a_run_needs_no_file_locks(project: Path, monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    if system == "Windows":
        monkeypatch.setattr(files, "fcntl", None)
    else:
        monkeypatch.setattr(files.fcntl, "flock", no_locks)
    with pytest.warns(UserWarning, match="No file locks on .*: start one writer only"):
        assert execute.run(job(project)).status == "done"


def test_the_package_can_be_imported_without_fcntl(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python has it on Unix alone; the first cell of each notebook was a ModuleNotFoundError."""
    import importlib.util

    monkeypatch.setitem(sys.modules, "fcntl", None)
    spec = importlib.util.find_spec("eolab.core.files")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.fcntl is None


def test_a_folder_is_replaced_by_renaming_and_stays_where_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = tmp_path / "place", tmp_path / "new"
    for folder in (old, new):
        folder.mkdir()
        (folder / "file").write_text(folder.name)
    with pytest.raises(FileNotFoundError):
        files.replace_folder(tmp_path / "none", old)
    assert (old / "file").read_text() == "place"
    files.replace_folder(new, old)
    assert (old / "file").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["place"]
