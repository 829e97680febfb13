"""Errors of the system: a full disk, folders that cannot be written, damaged files. One sentence each."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import miniature
import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from eolab.cli import commands as cli
from eolab.core import files
from eolab.core.errors import DataError, RunError, system_error
from eolab.data import fingerprints
from eolab.prediction import probabilities
from eolab.runs import chain, display, execute, folders, study


def failing(number: int, file: str | None = None):
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), file)

    return fail


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("EOLAB_RUN_DIR", "EOLAB_RUNS", "EOLAB_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    root = miniature.build(tmp_path / "project")
    monkeypatch.setenv("EOLAB_ROOT", str(root))
    return root


@pytest.mark.parametrize(
    ("number", "remedies"),
    [
        (errno.ENOSPC, ["no space left", "make room", "--out", "EOLAB_RUNS", "EOLAB_DATA"]),
        (errno.EDQUOT, ["quota", "make room"]),
        (errno.EROFS, ["read-only", "permissions", "--out"]),
        (errno.EACCES, ["permission denied", "permissions", "--out"]),
        (errno.EIO, ["input/output error", "connected"]),
        (errno.ESTALE, ["stale", "connected"]),
        (errno.EMFILE, ["too many open files", "ulimit"]),
        (errno.ENAMETOOLONG, ["too long", "shorter"]),
    ],
)
def test_an_error_of_the_system_is_a_sentence_with_its_remedy(number: int, remedies: list[str]) -> None:
    sentence = system_error(OSError(number, os.strerror(number), "/data/run.json.4711.tmp"))
    assert sentence.startswith("/data/run.json cannot be read or written, ")
    for remedy in remedies:
        assert remedy in sentence.replace("No", "no")


def test_other_errors_keep_their_tracebacks() -> None:
    assert system_error(ValueError("no")) == ""
    assert system_error(OSError("a library's own")) == ""
    assert system_error(FileNotFoundError(errno.ENOENT, "none", "mine.csv"), names=False) == ""
    assert "not enough memory" in system_error(MemoryError())


@pytest.mark.parametrize("out", ["a file", "/proc/nope"])
def test_an_output_that_cannot_be_written_is_a_sentence_of_the_command(
    project: Path, out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each ended in a traceback."""
    place = project / "data_catalog.yaml" if out == "a file" else Path(out)
    assert cli.main(["run", "mini", "--only", "01_make", "--out", str(place)]) in (1, 2)
    said = "".join(capsys.readouterr())
    assert f"{place}" in said
    assert "give another path (runs: `--out DIR` or EOLAB_RUNS" in said


def test_a_full_disk_is_a_sentence_of_the_chain_and_names_the_file(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "write_bytes", failing(errno.ENOSPC))
    said: list[str] = []
    (job,) = chain.plan(study.load("mini"), chain.Options(project / "runs"), ["01_make"])
    assert not chain.step(job, "", False, said.append)
    assert said[-1].startswith(f"FAILED {job.label}: {job.folder}/.job.json cannot be read or written")
    assert "make room" in said[-1]
    assert not list(job.folder.glob("*.tmp"))


def test_a_worker_that_could_write_nothing_is_told(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was "is no run folder: expected a run.json in it"."""
    monkeypatch.setattr(execute, "WORKER", [sys.executable, "-S", "-c", "exit(1)"])
    (job,) = chain.plan(study.load("mini"), chain.Options(project / "runs"), ["01_make"])
    with pytest.raises(RunError, match=r"its process ended with status 1.*stands above"):
        execute.run(job)


def test_a_full_disk_is_a_sentence_in_a_notebook(capsys: pytest.CaptureFixture[str]) -> None:
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    shell.set_custom_exc((OSError, MemoryError), display._show_error)
    shell.run_cell("raise OSError(28, 'No space left on device', '/data/x.npy')")
    said = capsys.readouterr().out
    assert "RunError: /data/x.npy cannot be read or written, no space left on device: make room" in said
    assert "Traceback" not in said
    shell.run_cell("open('/none/at/all')")
    assert "FileNotFoundError" in capsys.readouterr().out


def test_predictions_reserve_their_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk was a signal that ended the kernel, "most often for lack of memory"."""
    parts = [(slice(0, 2), {"mask": np.ones((2, 3), np.float32)})]
    found = probabilities.write(parts, 2, tmp_path, "test")
    assert np.array_equal(found["mask"], np.ones((2, 3)))
    assert found["mask"].dtype == np.float16
    monkeypatch.setattr(os, "posix_fallocate", failing(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left") as caught:
        probabilities.write(parts, 2, tmp_path / "full", "test")
    assert "test_mask.npy" in system_error(caught.value)
    assert not list((tmp_path / "full").iterdir()), "no file of 0 bytes"


def test_an_unfinished_file_leaves_the_old_one_and_no_part(tmp_path: Path) -> None:
    file = tmp_path / "model.keras"
    file.write_text("old")

    def fill() -> None:
        with files.replacing(file, ".tmp.keras") as place:
            assert place.suffix == ".keras"
            place.touch()
            failing(errno.ENOSPC)()

    with pytest.raises(OSError, match="No space") as caught:
        fill()
    assert caught.value.filename == str(file)
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]


def test_a_damaged_record_names_a_remedy_that_keeps_the_folder(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(RunError, match="delete this file and run the notebook again"):
        folders.read_json(tmp_path / "run.json")


def test_the_tables_of_another_proj_are_not_used(tmp_path: Path) -> None:
    """With PROJ_DATA of another installation every sound product was "in EPSG:None"."""
    code = "import eolab; from rasterio.crs import CRS; print(CRS.from_epsg(32756).to_epsg())"
    others = {name: str(tmp_path) for name in ("PROJ_DATA", "PROJ_LIB", "GDAL_DATA")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | others, capture_output=True, text=True, check=False
    )
    assert done.stdout == "32756\n", done.stderr


class Evil:
    """Writes a file when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("hidden", ["plain", "in an array", "in a baseline"])
def test_a_saved_baseline_cannot_run_code(tmp_path: Path, hidden: str) -> None:
    """joblib.load ran whatever a model of somebody else named."""
    bad, mark = tmp_path / "model.joblib", tmp_path / "ran"
    evil: object = Evil(mark)
    if hidden == "in an array":
        evil = np.array([evil, 1], object)
    elif hidden == "in a baseline":
        evil = DummyClassifier(strategy=evil)
    files.write_joblib(evil, bad)
    with pytest.raises(DataError, match=r"names (posix|nt)\.mkdir, which no baseline needs.*EOLAB_TRUST"):
        files.read_joblib(bad, object)
    assert not mark.exists()


def test_a_baseline_of_scikit_learn_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    values, labels = rng.random((40, 3)), np.array(["a", "b"], object)[rng.integers(0, 2, 40)]
    for model in (
        HistGradientBoostingClassifier(max_iter=2),
        RandomForestClassifier(2, random_state=rng.integers(9)),
    ):
        fitted = make_pipeline(StandardScaler(), model).fit(values, labels)
        file = files.write_joblib(fitted, tmp_path / "model.joblib")
        assert (files.read_joblib(file, Pipeline).predict(values) == fitted.predict(values)).all()
    mark = tmp_path / "trusted"
    monkeypatch.setenv("EOLAB_TRUST", "posix, nt")
    files.read_joblib(files.write_joblib([Evil(mark)], tmp_path / "model.joblib"), list)
    assert mark.is_dir()


def test_a_pickle_in_a_folder_that_others_can_write_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EOLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fingerprints, "SETTLED_NS", -(10**18))
    made: list[int] = []

    def make() -> int:
        made.append(1)
        return len(made)

    assert [fingerprints.remembered("x", tmp_path, [], make) for _ in range(2)] == [1, 1]
    folder = tmp_path / "cache/private"
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    assert fingerprints.remembered("x", tmp_path, [], make) == 2
