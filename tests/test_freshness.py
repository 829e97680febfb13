"""A finished run is out of date when what it was made from is another now: it is said what, and run again."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import miniature
import nbformat
import pandas as pd
import pytest
import yaml

from eolab import catalog, runs
from eolab.core import files
from eolab.core.errors import CatalogError, RunError
from eolab.data import sources
from eolab.runs import chain, execute, folders, history, provenance, record, study, sweep
from eolab.runs.execute import Job


@pytest.fixture
def project(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study of two notebooks, on real data behind a variable, whose cells are done in this process."""
    for place in ("one", "two"):
        (tmp_path / place / "real").mkdir(parents=True)
        for number in range(3):
            file = tmp_path / place / "real" / f"{number}.tif"
            file.write_bytes(b"pixels of " + place.encode())
            os.utime(file, (0, 0))
    monkeypatch.setenv("MINI_REAL", str(tmp_path / "one"))
    monkeypatch.setattr(execute, "run", in_this_process)
    monkeypatch.setattr(provenance, "environment", lambda *_: {})
    monkeypatch.setattr(files, "sync", lambda handle: None)  # nothing here must survive a power cut
    monkeypatch.setattr(files, "sync_folder", lambda folder: None)
    known = sources.digests()
    monkeypatch.setattr(sources, "digests", lambda: known)
    yield tmp_path
    history.watch(None)


def in_this_process(job: Job, force: bool = False, say: object = None) -> runs.RunRecord:
    """Do what the cells of the two notebooks do."""
    described = execute._description(job, job.folder)["record"]
    started = {"status": "running", "started": folders.now(), "ended": None}
    folders.write_json(job.folder / folders.RECORD, {**described, **started})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(record.RUN_DIR, str(job.folder))
        run = runs.start(f"mini/{job.notebook.name}", dict(described["parameters"]))
        if job.notebook.name == "01_make":
            run.data(catalog.load()["toy_real"])
        else:
            run.input("made")
            runs.records("mini", "01_make")
            runs.sweep_table("mini", "factors")
        run.finish(test={"f1": 0.5})
    folders.end(job.folder, "done")
    return runs.load(job.folder)


def go(root: Path, *only: str, **options: Any) -> list[str]:
    """Run the chain and return its lines, the names of runs and times left out."""
    said: list[str] = []
    chosen = chain.Options(root / "runs", "smoke", **options)
    assert chain.run(study.load("mini"), chosen, only, said.append)
    return [" ".join(w for w in line.split(" ") if not w.startswith("smoke-")) for line in said]


def began(lines: list[str], notebook: str) -> str:
    """Return why a notebook was started."""
    (line,) = (line for line in lines if f"/2 {notebook} started" in line)
    return line.partition("started")[2]


def skipped(lines: list[str]) -> list[str]:
    return [line.split()[1] for line in lines if "skipped" in line]


def test_what_is_unchanged_is_skipped(project: Path) -> None:
    assert began(go(project), "01_make") == ""
    assert skipped(go(project)) == ["01_make", "02_use"]


def test_a_file_taken_away_runs_again_what_was_made_from_it(project: Path) -> None:
    """Finished runs were skipped, and the report showed the numbers of the old data."""
    go(project)
    (project / "one" / "real" / "0.tif").unlink()
    said = go(project)
    assert began(said, "01_make") == ": data of toy_real changed: 2 files of 26 bytes, were 3 of 39"
    assert began(said, "02_use") == ": 01_make was run again; runs of 01_make: 1 new"
    assert skipped(go(project)) == ["01_make", "02_use"]


def test_a_file_with_other_content_of_the_same_size_is_seen(project: Path) -> None:
    go(project)
    (project / "one" / "real" / "0.tif").write_bytes(b"pixels of ONE")
    assert began(go(project), "01_make") == ": data of toy_real changed: their content"


def test_another_folder_behind_a_variable_is_seen_unless_it_holds_the_same(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(project)
    monkeypatch.setenv("MINI_REAL", str(project / "two"))
    assert "data of toy_real changed" in began(go(project), "01_make")
    monkeypatch.setenv("MINI_REAL", str(project / "three"))
    (project / "two").rename(project / "three")
    assert skipped(go(project)) == ["01_make", "02_use"]


def test_other_labels_are_seen_also_where_their_file_lies_elsewhere(project: Path) -> None:
    """Regression: runs on polygons of before were taken as finished."""
    go(project)
    file, stands = project / "data_catalog.yaml", project / "stands.geojson"
    content = yaml.safe_load(file.read_text())
    content["toy_real"]["labels"] = {"stands": {"file": str(stands), "column": "need"}}
    file.write_text(yaml.safe_dump(content))
    stands.write_text("one")
    assert began(go(project), "01_make").startswith(": the catalogue's entry of toy_real changed: labels")
    assert skipped(go(project)) == ["01_make", "02_use"]
    stands.write_text("two")
    assert began(go(project), "01_make") == ": the catalogue's entry of toy_real changed: labels.stands"
    content["toy_real"]["labels"]["stands"]["column"] = "class"
    file.write_text(yaml.safe_dump(content))
    assert began(go(project), "01_make") == ": the catalogue's entry of toy_real changed: labels"


def test_another_entry_of_the_catalogue_is_seen_unless_it_only_describes(project: Path) -> None:
    go(project)
    file = project / "data_catalog.yaml"
    content = yaml.safe_load(file.read_text())
    content["toy_real"]["metadata"] |= {"citation": "corrected", "license": "CC-BY-SA-4.0"}
    file.write_text(yaml.safe_dump(content))
    assert skipped(go(project)) == ["01_make", "02_use"]
    content["toy_real"]["metadata"] |= {"crs": "EPSG:32633"}
    file.write_text(yaml.safe_dump(content))
    assert began(go(project), "01_make") == ": the catalogue's entry of toy_real changed: crs"
    content["toy_real"]["pixels"] = {"scale": 0.5}
    file.write_text(yaml.safe_dump(content))
    assert began(go(project), "01_make") == ": the catalogue's entry of toy_real changed: pixels"
    content["toy_real"]["pixels"] = {"scales": 0.5}
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(CatalogError, match="scales"):
        go(project)


def test_data_that_are_not_here_are_not_compared_and_nothing_is_lost(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is not mounted must not run a night's work again, only to fail."""
    go(project)
    monkeypatch.setenv("MINI_REAL", str(project / "not mounted"))
    said = go(project)
    assert skipped(said) == ["01_make", "02_use"]
    assert said[0].endswith("skipped (the data of toy_real are not here to compare)")


def test_changed_code_of_the_package_is_said_and_runs_again(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(project)
    known = sources.digests()
    name = "eolab/runs/record.py"
    monkeypatch.setattr(sources, "digests", lambda: known | {name: "another", "eolab/none.py": "x"})
    kept = go(project, keep_code=True)
    assert skipped(kept) == ["01_make", "02_use"]
    assert kept[0].endswith(f"skipped (kept, though code changed: {name})")
    assert began(go(project), "01_make") == f": code changed: {name}"
    assert skipped(go(project)) == ["01_make", "02_use"]


def test_an_unfinished_run_begins_anew_beside_when_code_changed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has done is not lost: with ``--keep-old-code`` it goes on."""
    go(project)
    (job, _) = chain.plan(study.load("mini"), chain.Options(project / "runs", "smoke"))
    folders.update_record(job.folder, status="failed")
    assert execute._place(job, False) == job.folder
    known = sources.digests()
    monkeypatch.setattr(sources, "digests", lambda: known | {"eolab/runs/record.py": "another"})
    assert execute._place(job, False) == job.folder.with_name(f"{job.folder.name}.repeat")
    assert execute._place(replace(job, keep_code=True), False) == job.folder
    assert began(go(project), "01_make") == ": code changed: eolab/runs/record.py"


def test_a_file_that_a_parameter_names_counts(project: Path) -> None:
    """Other weights in a file of the same name were another network of the same run."""
    (project / "weights.h5").write_bytes(b"one")
    chosen = {"settings": {"02_use": {"bands": ["B02", str(project / "weights.h5")]}}}
    go(project, **chosen)
    assert skipped(go(project, **chosen)) == ["01_make", "02_use"]
    (project / "weights.h5").write_bytes(b"two")
    assert began(go(project, **chosen), "02_use") == f": {project / 'weights.h5'} changed"


def test_a_run_in_another_folder_of_runs_has_no_part_in_it(project: Path, tmp_path: Path) -> None:
    """A sweep's table of one project was left out for the run that another project's notebook had begun."""
    go(project)
    assert sweep.run(study.load("mini"), ["factors"], chain.Options(project / "runs", "smoke"), say=print)
    other = a_run(
        tmp_path / "other",
        "02_use",
        "x",
        "2026-11-28T04:02:00+00:00",
        made={"notebook": "01_make", "run": "y"},
    )
    history.watch(other.folder)
    assert isinstance(runs.sweep_table("mini", "factors"), pd.DataFrame)
    assert "found" not in folders.read_json(other.folder / folders.RECORD)


def test_another_backend_is_another_network(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook that loaded networks is out of date where Keras runs on another library."""
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    go(project)
    (made,) = runs.records("mini", "01_make")
    networks = {"eolab/models/__init__.py": sources.digests()["eolab/models/__init__.py"]}
    folders.update_record(made.folder, modules=networks)
    assert skipped(go(project)) == ["01_make", "02_use"]
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert began(go(project), "01_make") == ": KERAS_BACKEND was tensorflow and is jax"


def test_comments_and_docstrings_are_no_code(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    digests = []
    for text in (
        '"""One."""\ndef f(x):\n    """Two."""\n    return x + 1\n',
        '"""Other."""\n\n\ndef f(\n    x\n):  # comment\n    return x + 1\n',
        "def f(x):\n    return x + 2\n",
        "def f(x:\n",
    ):
        file.write_text(text)
        digests.append(sources.digest(file))
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3
    assert sources.digest(tmp_path / "gone.py") == ""


def test_which_files_changed(project: Path) -> None:
    known = sources.digests()
    (project / "helpers.py").write_text("a = 1")
    own = sources.digest(project / "helpers.py")
    recorded = {
        "eolab/cli/commands.py": known["eolab/cli/commands.py"],
        "eolab/gone.py": "x",
        "elsewhere.py": "x",
    }
    assert sources.changed(recorded | {"helpers.py": own}) == ["eolab/gone.py"]
    (project / "helpers.py").write_text("a = 2")
    assert sources.changed({"helpers.py": own}) == ["helpers.py"]


def test_a_changed_notebook_is_named(project: Path) -> None:
    go(project)
    cells = [*miniature.MAKE, "more = 1"]
    nbformat.write(miniature.notebook(cells), project / "notebooks/mini/01_make.ipynb")
    said = go(project)
    assert began(said, "01_make").startswith(": the notebook changed since")
    assert began(said, "02_use").startswith(": the upstream runs changed since")


def test_a_run_of_before_keeps_and_says_what_it_does_not_know(project: Path) -> None:
    go(project)
    for folder in (project / "runs/mini").glob("*/smoke-*"):
        known = folders.read_json(folder / folders.RECORD)
        for key in ("modules", "found"):
            known.pop(key)
        folders.write_json(folder / folders.RECORD, known)
    said = go(project)
    assert skipped(said) == ["01_make", "02_use"]
    assert said[0].endswith("skipped (made before the package's code was recorded)")


# === Runs that a notebook finds by itself ===


def test_a_notebook_that_gathers_runs_is_out_of_date_when_there_are_more(project: Path) -> None:
    """Results notebooks stayed as they were after a sweep."""
    go(project)
    go(project, settings={"01_make": {"count": 9}})
    said = go(project)
    assert skipped(said) == ["01_make"]
    assert began(said, "02_use") == ": runs of 01_make: 1 new"
    assert skipped(go(project)) == ["01_make", "02_use"]


def test_a_sweep_that_was_run_makes_its_results_notebook_out_of_date(project: Path) -> None:
    go(project)
    mini = study.load("mini")
    options = chain.Options(project / "runs", "smoke")
    assert sweep.run(mini, ["factors"], options, say=lambda text: None)
    said = go(project)
    assert skipped(said) == ["01_make"]
    assert began(said, "02_use") == ": runs of factors: 4 new"
    assert skipped(go(project)) == ["01_make", "02_use"]


def test_only_the_sweep_that_is_shown_makes_a_results_notebook_out_of_date(project: Path) -> None:
    """Any edit of study.yaml did, as of a profile that has no part in it."""
    go(project)
    assert sweep.run(study.load("mini"), ["factors"], chain.Options(project / "runs", "smoke"), say=print)
    go(project)
    file = project / "notebooks/mini/study.yaml"
    text = file.read_text()
    file.write_text(text.replace("sweeps:", "  other:\n    all: {seed: 9}\nsweeps:", 1))
    assert skipped(go(project)) == ["01_make", "02_use"]
    file.write_text(text.replace("metrics: [test.f1]}", "metrics: [test.f1], note: Other.}", 1))
    assert began(go(project), "02_use") == ": sweep 'factors' of study.yaml changed"


def test_another_version_of_keras_is_said_and_keeps_the_run(project: Path) -> None:
    """It was recorded and never compared."""
    go(project)
    (folder,) = (project / "runs/mini/01_make").iterdir()
    modules = history.load(folder).record["modules"] | {"eolab/models/heads.py": ""}
    folders.update_record(folder, modules=modules | sources.digests())
    folders.write_json(folder / folders.ENVIRONMENT, {"packages": {"keras": "3.0.0", "numpy": "1.0"}})
    said = go(project)
    assert skipped(said) == ["01_make", "02_use"]
    assert f"(made with keras 3.0.0, here is {metadata.version('keras')})" in said[0]


def test_a_sweep_made_from_other_runs_is_left_out_with_a_sentence(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its table stood beside results of new data."""
    go(project)
    assert sweep.run(study.load("mini"), ["factors"], chain.Options(project / "runs", "smoke"), say=print)
    run = use()
    run.input("made")
    assert len(runs.sweep_table("mini", "factors")) == 2
    (made,) = (project / "runs/mini/01_make").iterdir()
    folders.update_record(made, ended="2030-01-01T00:00:00+00:00")  # run again
    capsys.readouterr()
    run = use()
    run.input("made")
    assert runs.sweep_table("mini", "factors") is None
    assert "`eolab sweep mini factors`" in capsys.readouterr().out
    history.watch(None)
    assert isinstance(runs.sweep_table("mini", "factors"), pd.DataFrame)  # asked for by no run


def use(**changes: object) -> runs.Run:
    values = {"made": "", "factor": 1.0, "mode": "a", "bands": ["B02"], "fail": False, "seed": 5}
    return runs.start("mini/02_use", {**values, **changes})


# === Upstream runs are told by when they ended ===


def a_run(root: Path, notebook: str, name: str, ended: str, **upstream: dict[str, str]) -> runs.RunRecord:
    folder = root / "runs" / "mini" / notebook / name
    known = {"study": "mini", "notebook": notebook, "run": name, "status": "done", "ended": ended}
    folders.write_json(folder / folders.RECORD, {**known, "parameters": {}, "upstream": upstream})
    return runs.load(folder)


def test_a_run_uses_the_upstream_run_that_is_there_now(project: Path) -> None:
    """Runs were compared by name, which does not change with ``--force``: one table had old and new data."""
    made = a_run(project, "01_make", "smoke-1", "2026-11-28T04:01:10+00:00")
    old_stamp = made.stamp | {"ended": "2026-11-28T03:56:14+00:00"}
    new = a_run(project, "02_use", "new", "2026-11-28T04:02:00+00:00", made=made.stamp)
    old = a_run(project, "02_use", "old", "2026-11-28T03:57:00+00:00", made=old_stamp)
    assert (new.uses(made.folder), old.uses(made.folder)) == (True, False)
    assert list(history.seen(project / "runs/mini/02_use", [made.stamp])) == ["new"]


def test_the_newest_input_is_one_that_fits_the_inputs_beside_it(project: Path) -> None:
    """A model of earlier samples was taken with samples that were made again since."""
    old, new = (a_run(project, "01_make", f"smoke-{n}", f"2026-11-0{n}T00:00:00+00:00") for n in (1, 2))
    fitting = a_run(project, "02_use", "fits", "2026-11-03T00:00:00+00:00", made=new.stamp)
    a_run(project, "02_use", "newer", "2026-11-04T00:00:00+00:00", made=old.stamp)
    assert history.input_run("mini", "02_use", [new.stamp]) == fitting.folder
    again = new.stamp | {"ended": "2026-11-05T00:00:00+00:00"}
    with pytest.raises(RunError, match=r"made from other runs, .* than 01_make smoke-2: run it again"):
        history.input_run("mini", "02_use", [again])


def test_data_that_changed_since_an_upstream_run_read_them_are_said(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    go(project)
    (project / "one" / "real" / "0.tif").unlink()
    run = use()
    run.input("made")
    run.data(catalog.load()["toy_real"])
    assert "toy_real changed since 01_make read it" in capsys.readouterr().out


def test_an_upstream_run_that_is_out_of_date_is_said_where_it_is_used(project: Path) -> None:
    go(project)
    (project / "one" / "real" / "0.tif").unlink()
    said = go(project, "02_use")
    assert said[0].startswith("01_make is used as it is, though data of toy_real changed")


def test_a_record_holds_all_that_its_run_depends_on(project: Path) -> None:
    go(project)
    (made,) = runs.records("mini", "01_make")
    (used,) = runs.records("mini", "02_use")
    assert made.data[0]["files"] == 3
    assert made.data[0]["bytes"] == 39
    assert made.data[0]["entry"] == {"layout": "sentinel2_corine"}
    assert "eolab/runs/record.py" in made.record["modules"]
    assert used.record["upstream"]["made"] == made.stamp
    assert used.record["found"]["mini/01_make"] == {made.folder.name: made.record["ended"]}
    assert used.record["found"]["mini/sweeps/factors"] == {}
