"""What a kill leaves beside a run folder, and JupyterLab in it: nothing counts twice, nothing is mixed."""

# ruff: noqa: F401, F811

from __future__ import annotations

import shutil
import subprocess
import sys
import types
from pathlib import Path

import pandas as pd
import pytest
from test_freshness import go, project, skipped
from test_safety_runs import ends, job
from test_safety_runs import project as with_worker

from eolab import runs
from eolab.core import files, workspace
from eolab.core.errors import DataError, ParameterError, RunError
from eolab.data import sources
from eolab.runs import chain, execute, folders, history, record, reports, study

VALUES = {"count": 5, "seed": 1}


def test_folders_that_a_kill_left_are_no_runs(project: Path) -> None:
    """A result stood twice in tables, and the newest run was one that had been replaced."""
    go(project)
    folder = runs.latest("mini", "01_make", root=project / "runs")
    for name in (f"{folder.name}.repeat", f".{folder.name}.77.old"):
        shutil.copytree(folder, folder.with_name(name))
    assert [one.folder for one in runs.records("mini", "01_make", project / "runs")] == [folder]
    assert runs.latest("mini", "01_make", root=project / "runs") == folder
    assert skipped(go(project)) == ["01_make", "02_use"]


@pytest.mark.parametrize("moment", ["before the names change", "between", "after"])
def test_a_repetition_that_was_done_when_it_was_killed_is_not_made_again(
    with_worker: Path,
    moment: str,
) -> None:
    """Between the two changes of names the finished run was gone, and the work was done a third time."""
    one = job(with_worker)
    execute.run(one)
    old, beside = (one.folder.with_name(name.format(one.folder.name)) for name in (".{}.77.old", "{}.repeat"))
    shutil.copytree(one.folder, beside)
    (beside / "model.keras").write_text("second")
    (one.folder / "model.keras").write_text("first")
    folders.update_record(one.folder, code="of another notebook")
    if moment == "after":
        shutil.copytree(one.folder, old)
        files.replace_folder(beside, one.folder)
        folders.update_record(one.folder, status="failed")  # so that it is run
        ends(with_worker, "done", {"model.keras": "second"})
    elif moment == "between":
        one.folder.rename(old)
    done = execute.run(job(with_worker))
    assert (done.status, (done.folder / "model.keras").read_text()) == ("done", "second")
    assert [path.name for path in one.folder.parent.iterdir()] == [one.folder.name]
    assert (with_worker / "attempts").read_text() == ("xx" if moment == "after" else "x")


def test_a_run_that_was_set_aside_comes_back_where_nothing_took_its_place(with_worker: Path) -> None:
    one = job(with_worker)
    execute.run(one)
    one.folder.rename(one.folder.with_name(f".{one.folder.name}.77.old"))
    assert execute.run(job(with_worker)).status == "done"
    assert (with_worker / "attempts").read_text() == "x"


def test_a_folder_that_a_kill_left_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container a process has the number of the one before it: the folder set aside was in the way."""
    monkeypatch.setattr(files.shutil, "rmtree", lambda *args, **more: None)  # killed before
    for number in range(3):
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / "file").write_text(str(number))
        files.replace_folder(tmp_path / "new", tmp_path / "run")
    assert (tmp_path / "run" / "file").read_text() == "2"


def test_a_notebook_that_gathers_its_own_runs_is_up_to_date(project: Path) -> None:
    """It found itself as a new run, and was never up to date."""
    go(project)
    folder = runs.latest("mini", "02_use", root=project / "runs")
    folders.update_record(folder, found={"mini/02_use": {}})
    assert skipped(go(project)) == ["01_make", "02_use"]


# === A repetition in JupyterLab that was given up ===


def begin(*written: str) -> runs.Run:
    """Begin the notebook as in JupyterLab, and write a table and some files."""
    run = runs.start("mini/01_make", VALUES)
    run.table(pd.DataFrame({"n": [len(written)]}), "t", "A table.")
    for name in written:
        run.path(name).write_text("new")
    return run


def test_tables_and_figures_of_a_repetition_come_with_its_metrics(project: Path) -> None:
    """A repetition that died left its tables beside the metrics of the run before."""
    first = begin()
    first.finish(f1=0.5)
    again = begin("model.keras")
    (again.folder / "model.keras").unlink()
    kept = runs.load(first.folder)
    assert (kept.status, kept.metrics, kept.table("t")["n"][0]) == ("done", {"f1": 0.5}, 0)
    again.path("model.keras").write_text("new")
    again.finish(f1=0.7)
    done = runs.load(first.folder)
    assert (done.status, done.metrics, done.table("t")["n"][0]) == ("done", {"f1": 0.7}, 1)
    assert not folders.beside(first.folder).exists()


def test_a_repetition_that_changed_a_model_and_died_leaves_the_finished_run(project: Path) -> None:
    """The old metrics stood beside the new model, and the run had to be made again."""
    done = begin("model.keras")
    done.finish(f1=0.5)
    half = begin("model.keras")
    half.path("model.keras").write_text("half")
    kept = runs.load(done.folder)
    assert (kept.status, (kept.folder / "model.keras").read_text()) == ("done", "new")
    assert runs.latest("mini", "01_make") == done.folder
    settings = {"01_make": VALUES}
    assert skipped(go(project, settings=settings)) == ["01_make"]
    assert skipped(go(project, settings=settings)) == ["01_make", "02_use"]
    again = begin()
    assert (again.folder, again.path("model.keras").read_text()) == (half.folder, "half"), "it resumes"


def test_a_repetition_keeps_long_work_and_leaves_the_notes_of_the_run(project: Path) -> None:
    """Arrays of a finished store and a trained model are there at once; what the user writes stays."""
    first = begin("model.keras", "store/store.json", "store/x.npy", "x.npy")
    first.finish(f1=0.5)
    (first.folder / "notes.txt").write_text("mine")
    again = begin()
    array = again.folder / "store/x.npy"
    assert array.samefile(first.folder / "store/x.npy")
    for own in ("model.keras", "x.npy"):  # which a cell may write into
        assert not (again.folder / own).samefile(first.folder / own)
    (first.folder / "notes.txt").write_text("mine, later")
    again.finish(f1=0.6)
    assert again.folder == first.folder
    assert (first.folder / "notes.txt").read_text() == "mine, later"
    assert (first.folder / "store/x.npy").read_text() == "new"


def test_a_repetition_that_could_not_take_its_place_takes_it_at_the_next_start(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its results were overwritten by the next repetition."""
    begin().finish(f1=0.5)
    again = begin("model.keras")
    with monkeypatch.context() as patch:
        patch.setattr(folders, "replace_folder", lambda *_: (_ for _ in ()).throw(OSError("busy")))
        with pytest.raises(OSError, match="busy"):
            again.finish(f1=0.6)
    third = begin()
    assert runs.load(runs.latest("mini", "01_make")).metrics == {"f1": 0.6}
    assert third.folder == folders.beside(runs.latest("mini", "01_make"))


def test_a_notebook_that_is_open_does_not_make_the_command_run_again_what_is_finished(project: Path) -> None:
    """The unfinished folder of JupyterLab was taken for the finished run of the same parameters."""
    settings = {"01_make": VALUES}
    go(project, settings=settings)
    begin("model.keras")
    assert sorted(path.name[:5] for path in (project / "runs/mini/01_make").iterdir()) == ["inter", "smoke"]
    assert skipped(go(project, settings=settings)) == ["01_make", "02_use"]


def test_a_repetition_in_jupyterlab_keeps_no_notebook_of_the_run_before(project: Path) -> None:
    """The executed notebook of another run stood beside the new numbers."""
    first = begin()
    first.finish(f1=0.5)
    for name in ("01_make.ipynb", "report.html"):
        (first.folder / name).write_text("{}")
    again = begin()
    again.finish(f1=0.6)
    assert not [path.name for path in again.folder.iterdir() if path.suffix in (".ipynb", ".html")]


def test_a_cell_after_the_end_changes_no_finished_run(project: Path) -> None:
    """A single cell that was run again wrote its table beside the metrics of the finished run."""
    run = begin("model.keras")
    run.finish(f1=0.5)
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    table = pd.DataFrame({"n": [99]})
    for refused in (
        lambda: run.table(table, "t", "A table."),
        lambda: run.metrics(f1=1.0),
        lambda: run.path("model.keras"),
        lambda: run.input("made"),
        lambda: run.finish(f1=1.0),
    ):
        with pytest.raises(RunError, match=r"is finished and keeps its results: run the notebook again from"):
            refused()
    assert {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()} == before


# === Odd names, places and clocks ===


@pytest.mark.parametrize("name", ["../other.txt", "/tmp/a.txt", "run.json", "a/../metrics.json", ".", ""])
def test_a_name_that_leads_out_of_the_run_or_into_its_record_is_refused(project: Path, name: str) -> None:
    """The file was written beside the run, or in the place of its record."""
    with pytest.raises(RunError, match=r"writes files of its own into its folder, found the name .*: choose"):
        runs.start("mini/01_make", VALUES).path(name)


def test_an_input_of_another_notebook_is_said(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run of any notebook of any study was taken without a word."""
    go(project)
    other = runs.latest("mini", "02_use", root=project / "runs")
    values = {"made": str(other), "factor": 1.0, "mode": "a", "bands": [], "fail": False, "seed": 0}
    runs.start("mini/02_use", values).input("made")
    assert "is a run of mini/02_use, expected one of 01_make." in capsys.readouterr().out


def test_a_clock_that_is_set_back_gives_no_negative_time(project: Path) -> None:
    run = begin()
    folders.update_record(run.folder, started="2999-01-01T00:00:00+00:00")
    folders.end(run.folder, "done")
    assert runs.load(run.folder).record["seconds"] == 0


@pytest.mark.parametrize("place", ["a b", "läufe 東京", "line\nbreak", "[x]*?"])
def test_runs_lie_anywhere(
    project: Path, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EOLAB_RUNS", str(tmp_path / place))
    begin("model.keras").finish(f1=0.5)
    begin("model.keras").finish(f1=0.6)
    assert runs.collect("mini", "01_make")["f1"].tolist() == [0.6]
    assert runs.latest("mini", "01_make").parent == tmp_path / place / "mini/01_make"


def test_a_copy_of_a_run_folder_counts_once_and_is_not_taken_for_the_run(project: Path) -> None:
    """A copy whose name sorts first was the run of the next command, and stood twice in each table."""
    go(project)
    folder = runs.latest("mini", "01_make", root=project / "runs")
    shutil.copytree(folder, folder.with_name(f"a copy of {folder.name}"))
    assert job(project).folder == folder
    assert [one.folder for one in runs.records("mini", "01_make", project / "runs")] == [folder]
    assert skipped(go(project)) == ["01_make", "02_use"]
    folder.rename(folder.with_name(f"my {folder.name}"))
    assert len(runs.records("mini", "01_make", project / "runs")) == 2, "the run itself is gone"


def test_a_run_of_another_notebook_that_lies_among_the_runs_is_none_of_them(project: Path) -> None:
    """It was the newest run of that notebook, and a line of its table."""
    go(project)
    own, other = (runs.latest("mini", name, root=project / "runs") for name in ("01_make", "02_use"))
    shutil.copytree(other, own.with_name(other.name))
    assert runs.latest("mini", "01_make", root=project / "runs") == own
    assert skipped(go(project)) == ["01_make", "02_use"]


@pytest.mark.parametrize(
    ("old", "new"), [("  01_make: {}", "  01_make: {}\n  ../mini/01_make: {}"), ("factors:", "../../x:")]
)
def test_names_that_lead_out_of_the_folder_of_a_study_are_refused(project: Path, old: str, new: str) -> None:
    """A sweep was written beside all runs, and a notebook stood twice in a chain."""
    file = project / "notebooks/mini/study.yaml"
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(ParameterError, match=r"names a folder of runs: choose a name without / and"):
        study.load("mini")


def test_a_text_with_nul_is_refused(project: Path) -> None:
    """A ValueError of a path."""
    with pytest.raises(ParameterError, match="text cannot hold the character NUL"):
        chain.settings(study.load("mini"), ["02_use.made=a\0b"])


def test_a_home_folder_is_meant_by_a_tilde(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder called ~ was made in the working directory."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("EOLAB_RUNS", "~/results")
    assert workspace.runs() == tmp_path / "results"


def test_a_linked_run_is_replaced_and_what_it_leads_to_stays(project: Path, tmp_path: Path) -> None:
    first = begin("model.keras")
    first.finish(f1=0.5)
    elsewhere = tmp_path / "elsewhere"
    first.folder.rename(elsewhere)
    first.folder.symlink_to(elsewhere)
    begin("model.keras").finish(f1=0.6)
    assert [path.name for path in first.folder.parent.iterdir()] == [first.folder.name]
    assert (runs.load(first.folder).metrics, runs.load(elsewhere).metrics) == ({"f1": 0.6}, {"f1": 0.5})


# === What is no code, and no record ===


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("run.json", '{"study": "mini"}'),
        ("run.json", '{"study": "mini", "notebook": "01_make", "upstream": {"made": ["a"]}}'),
        ("run.json", '{"study": "mini", "notebook": "01_make", "parameters": [1]}'),
        ("run.json", '{"study": "mini", "notebook": "01_make", "started": "yesterday"}'),
        ("run.json", '{"study": "mini", "notebook": "01_make", "seconds": "long"}'),
        ("run.json", '{"a": 1, "a": 2}'),
        ("run.json", "[" * 3000),
        ("data.json", "[1]"),
        ("data.json", '[{"name": "a", "files": "many"}]'),
        ("figures.json", '[{"caption": "no name"}]'),
        ("environment.json", '{"variables": [1]}'),
    ],
)
def test_a_record_of_other_kinds_ends_in_a_sentence(tmp_path: Path, name: str, content: str) -> None:
    """An AttributeError, a TypeError, a KeyError or a RecursionError."""
    (tmp_path / name).write_text(content)
    with pytest.raises(RunError, match=rf"{name} is no JSON of a run .*: delete this file"):
        folders.read_json(tmp_path / name, dict if content.startswith("{") or "[[" in content else list)


@pytest.mark.parametrize("content", ["null", "[1]", "", "\x00", '{"runs": ["a"]}', '{"notebooks": 3}'])
def test_a_damaged_note_of_what_belongs_together_is_made_anew(project: Path, content: str) -> None:
    """An AttributeError or TypeError ended each `eolab run` of the study."""
    go(project)
    file = project / "runs/mini/chain.json"
    whole = file.read_text()
    file.write_text(content)
    assert "How this was made" in reports.build_study(file.parent).read_text()
    assert skipped(go(project)) == ["01_make", "02_use"]
    assert file.read_text() == whole


@pytest.mark.parametrize(
    "content", ["[1]", "notebooks: [1]", "notebooks: {01_make: [1]}", "\x00", "a: 1\na: 2"]
)
def test_a_study_of_other_kinds_ends_in_a_sentence_in_a_notebook(project: Path, content: str) -> None:
    """It was an AttributeError in the notebook's first cell."""
    (project / "notebooks/mini/study.yaml").write_text(content)
    with pytest.raises(ParameterError, match=r"study\.yaml"):
        runs.start("mini/01_make", VALUES)


@pytest.mark.parametrize(
    "content", ["[" * 3000, '{"cells": [3]}', '{"cells": [{"cell_type": "code", "metadata": []}]}']
)
def test_a_notebook_of_other_kinds_ends_in_a_sentence(project: Path, content: str) -> None:
    """A RecursionError or an AttributeError, in `eolab studies` too."""
    (project / "notebooks/mini/02_use.ipynb").write_text(content)
    with pytest.raises(ParameterError, match="is not a notebook in format 4"):
        study.load("mini")


def test_a_page_of_a_run_whose_machine_is_not_known_is_written(project: Path) -> None:
    """A TypeError of the template ended `eolab run` and `eolab report`."""
    go(project)
    folder = runs.latest("mini", "01_make", root=project / "runs")
    (folder / folders.ENVIRONMENT).write_text('{"gpu": null, "git": {"commit": 7}}')
    assert "How this was made" in reports.build(folder).read_text()


def test_a_run_that_names_itself_as_an_input_has_an_end(project: Path) -> None:
    """A RecursionError."""
    go(project)
    (folder,) = (project / "runs/mini/02_use").iterdir()
    one = runs.load(folder)
    stamps = {"made": one.stamp}
    folders.update_record(folder, upstream=stamps, parameters={**one.params, "made": str(folder)})
    assert runs.load(folder).lineage() == [one.stamp, one.stamp]


@pytest.mark.parametrize("content", ["null", "[1]"])
def test_a_record_that_is_none_ends_in_a_sentence(project: Path, content: str) -> None:
    """JSON of another kind was a TypeError."""
    go(project)
    folder = runs.latest("mini", "01_make", root=project / "runs")
    (folder / folders.RECORD).write_text(content)
    with pytest.raises(RunError, match=r"run.json is no JSON of a run .*: delete this file"):
        go(project)
    (folder / folders.RECORD).unlink()
    go(project)
    (folder / folders.DATA).write_text("{}" if content == "[1]" else content)
    with pytest.raises(RunError, match=r"data.json is no JSON of a run .*: delete this file"):
        go(project)


def test_the_digest_of_code_is_the_same_in_each_version_of_python(tmp_path: Path) -> None:
    """Compiled code is another in each: after an update of Python every run was out of date."""
    (tmp_path / "a.py").write_text("def f(x: int = 1) -> int:\n    return x + 1 if x else -1\n")
    assert sources.digest(tmp_path / "a.py") == "cf4072204bd41d39"


@pytest.mark.parametrize(
    "place", ["lib64/python3.11/site-packages", "Lib/site-packages", ".local/lib/python3.11/site-packages"]
)
def test_libraries_below_the_project_are_no_code_of_its_own(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    """A library in lib64, on Windows or of the user alone was taken for a module of the project."""
    for name, folder in (("a_library", project / place), ("own_module", project / "notebooks")):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.py").write_text("a = 1")
        module = types.ModuleType(name)
        module.__file__ = str(folder / f"{name}.py")
        monkeypatch.setitem(sys.modules, name, module)
    found = [name for name in sources.imported() if not name.startswith("eolab/")]
    assert [name for name in found if name.endswith(("library.py", "module.py"))] == [
        "notebooks/own_module.py"
    ]


def test_two_notebooks_at_one_run_do_not_mix(project: Path) -> None:
    """The second to end left a record without parameters, or a FileNotFoundError."""
    begin().finish(f1=0.5)
    one, two = (runs.start("mini/01_make", VALUES) for _ in range(2))
    for refused in (one.finish, lambda: one.path("model.keras"), lambda: one.metrics(f1=1.0)):
        with pytest.raises(RunError, match=r"was begun again meanwhile, .*: nothing .*; restart this kernel"):
            refused()
    two.finish(f1=0.7)
    done = runs.load(two.folder)
    assert (done.status, done.metrics, done.params) == ("done", {"f1": 0.7}, VALUES)


def test_an_input_that_is_no_run_is_refused_before_anything_runs(project: Path) -> None:
    """It was refused by its notebook, after the hours of those before it."""
    with pytest.raises(RunError, match="none is no run folder"):
        go(project, settings={"02_use": {"made": str(project / "none")}})
    assert not (project / "runs").exists()


# === Reports of what a kill left ===


@pytest.mark.parametrize("content", [b'{"cells": [', b"null"])
def test_half_a_notebook_does_not_stop_the_report(project: Path, content: bytes) -> None:
    """A kill while it was saved made `eolab run` end in NotJSONError, whatever it ran."""
    go(project)
    folder = runs.latest("mini", "01_make", root=project / "runs")
    (folder / "01_make.ipynb").write_bytes(content)
    for page in (reports.build(folder), reports.build_study(project / "runs/mini")):
        text = page.read_text()
        assert "01_make.ipynb: expected an executed notebook, found an unreadable file" in text
        assert "How this was made" in text


@pytest.mark.parametrize("kept", [["table.csv"], ["table.csv", "table.md"]])
def test_half_a_sweep_does_not_stop_the_report(project: Path, kept: list[str]) -> None:
    """A kill between the table's files was a sentence that asked for another path, or a ValueError."""
    go(project)
    folder = project / "runs/mini/sweeps/factors"
    folder.mkdir(parents=True)
    for name in kept:
        (folder / name).write_text("")
    text = reports.build_study(project / "runs/mini").read_text()
    assert "eolab sweep mini factors writes it again" in text
    (folder / "runs.csv").write_bytes(b"run\n\xff\xfe\n")
    assert history.seen(folder) == {}


def test_code_that_works_around_a_notebook_makes_no_run_out_of_date(project: Path) -> None:
    """A corrected word in a report trained every network again."""
    go(project)
    folder = runs.latest("mini", "01_make", root=project / "runs")
    modules = history.load(folder).record["modules"]
    around = {
        name: "another" for name in modules if name.startswith(("eolab/runs/reports/", "eolab/runs/chain"))
    }
    assert len(around) > 3
    folders.update_record(folder, modules=modules | around)
    assert skipped(go(project)) == ["01_make", "02_use"]
    folders.update_record(folder, modules=modules | {"eolab/runs/display.py": "another"})
    assert skipped(go(project)) == []


def test_a_path_that_is_no_utf_8_is_recorded(tmp_path: Path) -> None:
    """A folder with a Latin-1 name was a UnicodeEncodeError at `run.data`."""
    path = str(tmp_path / "caf\udce9")
    folders.write_json(tmp_path / "data.json", [{"name": "a", "path": path}])
    assert folders.read_json(tmp_path / "data.json", list) == [{"name": "a", "path": path}]


@pytest.mark.parametrize("name", ["tables/t.csv", "tables/t.drawn.npz", "history.csv"])
def test_a_damaged_table_ends_in_a_sentence(project: Path, name: str) -> None:
    """It was an EmptyDataError, an EOFError or a BadZipFile in the notebook that read it."""
    run = begin()
    run.path(name).write_bytes(b"")
    with pytest.raises(DataError, match=r"expected .*, found an unreadable file .*; run its notebook again"):
        runs.load(run.folder).table("t") if name != "history.csv" else runs.load(run.folder).history


def test_every_seed_has_a_bound() -> None:
    """Keras takes none above 2**32 - 1: hours of preprocessing ended in a ValueError of the next notebook."""
    for name in ("flood", "landcover", "landslide", "scenes"):
        with pytest.raises(ParameterError, match=r"seed.* at most 4294967295"):
            chain.settings(study.load(name), ["seed=20261129123456"])


def test_a_run_that_another_process_works_in_is_not_begun_in_jupyterlab(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record was overwritten, and the work of the other one with it."""
    folder = begin().folder
    script = "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.flock(f, 2); print(1, flush=True); input()"
    record._release()
    command = [sys.executable, "-S", "-c", script, str(folder / folders.LOCK)]
    monkeypatch.setattr(folders, "PATIENCE_S", 0.0)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        before = (folder / folders.RECORD).read_bytes()
        with pytest.raises(RunError, match="Another process is working in"):
            begin()
        assert (folder / folders.RECORD).read_bytes() == before
        other.communicate(b"\n")
    begin().finish()
    assert folders.lock(folder) is not None, "a finished run is not held"
