"""Runs at a glance: a line a run, runs side by side, their names, and what may be deleted."""

from __future__ import annotations

from pathlib import Path

import miniature
import pandas as pd
import pytest

from eolab import cli, runs
from eolab.core.errors import RunError
from eolab.runs import chain, execute, folders, history, overview, points, reports, study, sweep, timing


def make(count: int = 3) -> Path:
    run = runs.start("mini/01_make", {"count": count, "seed": 0})
    run.finish(numbers=count)
    return run.folder


def use(made: Path | str, factor: float = 1.0, f1: float = 0.5) -> Path:
    values = {"made": str(made), "factor": factor, "mode": "a", "bands": ["B02", "B03"], "fail": False}
    run = runs.start("mini/02_use", {**values, "seed": 0})
    run.input("made")
    run.finish(seconds=3.0, test={"loss": 0.25, "f1": f1})
    return run.folder


def test_a_line_a_run_says_what_sets_it_apart(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = make(5)
    folder = use(made, factor=2.5, f1=0.75)
    folders.update_record(folder, modules={"eolab/cli/commands.py": "another"}, seconds=80.0)
    use(made)
    folders.update_record(use(made, 9.0), status="running")
    table = runs.table("mini")
    assert table["notebook"].tolist() == ["mini/01_make", *["mini/02_use"] * 3]
    line = table[table["run"] == folder.name].iloc[0]
    assert (line["status"], line["seconds"], line["parameters"]) == ("done", 80.0, "factor 2.5")
    assert (line["metric"], line["score"]) == ("test.f1", 0.75), "the first metric of a sweep's table"
    assert line["changed"] == "code changed: eolab/cli/commands.py"
    assert line["bytes"] == sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    assert set(table["status"]) == {"done", "killed"}, "nobody works at the one that says that it is running"
    assert table[table["parameters"] == ""]["changed"].tolist() == [""]
    capsys.readouterr()
    assert cli.main(["runs", "mini/02_use"]) == 0
    said = capsys.readouterr().out
    assert "1 min 20 s" in said
    assert "out of date: code changed: eolab/cli/commands.py" in said
    assert "01_make" not in said
    assert cli.main(["runs", "mini/02_used"]) == 2
    assert "did you mean 'mini/02_use'" in capsys.readouterr().err


def test_runs_stand_side_by_side(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = make()
    one, other = use(made, 1.0, 0.5), use(made, 2.0, 0.75)
    entry = {"name": "toy", "fingerprint": "abc"}
    folders.write_json(made / "data.json", [entry])
    table = runs.compare([one, other.name])
    assert table.loc["parameter"].to_dict("index") == {"factor": {one.name: 1.0, other.name: 2.0}}
    assert table.loc[("metric", "test.f1")].tolist() == [0.5, 0.75]
    assert table.loc[("data", "toy")].tolist() == ["abc", "abc"], "data of an upstream run"
    assert overview.same(table, "data")
    assert overview.same(table, "code")
    folders.write_json(other / "data.json", [entry | {"fingerprint": "def"}])
    folders.update_record(other, code="another")
    assert cli.main(["runs", "compare", str(one), other.name]) == 0
    said = capsys.readouterr().out
    assert "Data: not the same.\nCode: not the same.\nNot shown: 2 metrics; --all shows them." in said
    assert "test.loss" not in said


def test_of_runs_of_several_notebooks_what_all_have_is_shown_and_the_rest_counted(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each file of code, parameter and metric of one notebook had a line with – for the other."""
    made = make()
    used = use(made, 2.0)
    assert cli.main(["runs", "compare", made.name, used.name]) == 0
    said = capsys.readouterr().out
    assert "notebook" in said
    assert "factor" not in said
    assert "  –" not in said.partition("\ncode")[2]
    assert "--all shows them." in said
    assert cli.main(["runs", "compare", made.name, used.name, "--all"]) == 0
    assert "factor" in capsys.readouterr().out


def test_a_name_takes_the_place_of_the_folder(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = make()
    folder = use(made)
    assert cli.main(["runs", "name", folder.name, "the first one"]) == 0
    assert runs.load("the first one").folder == folder
    assert runs.table("mini", "02_use")["run"].tolist() == ["the first one"]
    assert "the first one" in reports.build(folder).read_text()
    assert history.find("mini/02_use/" + folder.name) == folder
    assert cli.main(["runs", "name", made.name, "the first one"]) == 2
    assert "has the name 'the first one' already" in capsys.readouterr().err
    assert cli.main(["runs", "name", made.name, "five/numbers"]) == 2
    assert cli.main(["runs", "name", made.name, "numbers"]) == 0
    again = use("numbers", 4.0)
    assert runs.load(again).upstream == {"made": made}, "the value of an input parameter"
    assert use(made).name == folder.name
    assert runs.load(folder).name == "the first one", "a run made again keeps its name"
    with pytest.raises(RunError, match="did you mean 'numbers'"):
        runs.load("number")
    assert cli.main(["runs", "name", "numbers", ""]) == 0
    assert runs.load(made).name == made.name


def test_only_runs_that_none_stands_on_are_deleted(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made, spare = make(), make(4)
    used = use(made)
    (project / "elsewhere").mkdir()
    (spare / "notes.txt").write_text("mine")
    for refused, sentence in (
        ([made.name], f"02_use {used.name} was made from 01_make {made.name}: delete {used.name} too, or"),
        ([spare.name], "Nobody is here to ask"),
        ([str(spare), "--yes", "--out", str(project / "elsewhere")], "is not deleted"),
    ):
        assert cli.main(["runs", "delete", *refused]) in (1, 2)
        assert sentence in capsys.readouterr().err
    held = folders.lock(spare)
    assert cli.main(["runs", "delete", spare.name, "--yes"]) == 1
    assert "is at work" in capsys.readouterr().err
    held.close()
    link = spare.with_name("link")
    link.symlink_to(spare)
    assert cli.main(["runs", "delete", str(link), "--yes"]) == 1
    link.unlink()
    assert all(folder.is_dir() for folder in (made, spare, used))
    assert cli.main(["runs", "delete", spare.name, "--yes"]) == 0
    assert "Deleted 1 run, " in capsys.readouterr().out
    assert cli.main(["runs", "delete", made.name, used.name, "--yes"]) == 0, "both go"
    assert [*project.glob("runs/mini/*/*")] == []


# === Time left ===


def test_runs_to_come_take_what_those_like_them_took(project: Path) -> None:
    mini, options = study.load("mini"), chain.Options(project / "runs", "smoke")
    jobs, _ = points.jobs_of(mini, mini.sweep("factors"), options)
    assert [job.label for job in jobs] == [f"factor={n}.0 mode={m}" for n in (1, 2) for m in "ab"]
    assert str(timing.Left(jobs)) == "", "nothing is known"

    def done(job: execute.Job, seconds: float, **values: object) -> None:
        record = {"study": "mini", "notebook": "02_use", "status": "done", "profile": "smoke"}
        parameters = {**job.notebook.defaults, **job.values, **values}
        folders.write_json(job.folder / "run.json", {**record, "parameters": parameters, "seconds": seconds})

    left = timing.Left(jobs)
    done(jobs[0], 60.0)
    left.ended(jobs[0].folder)
    assert str(left) == "3 min 0 s"
    done(jobs[1], 10.0)
    left.ended(jobs[1].folder)
    assert str(left) == "1 min 10 s", "a second factor takes what its mode took with the first one"
    assert str(timing.Left(jobs[2:], workers=2)) == "1 min 0 s", "no shorter than the longest"
    above = chain.job(mini, mini.notebook("01_make"), options, {})
    assert str(timing.Left([above, *jobs[2:]])) == "over 1 min 10 s", "no run of 01_make is known"


# === A sweep that is killed ===


@pytest.mark.parametrize("end", [KeyboardInterrupt, MemoryError])
def test_what_ended_before_a_kill_stands_in_the_table_of_a_sweep(
    end: type[BaseException], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was lost: runs.csv was written when all had ended."""
    miniature.add_sweeps(project, {"late": {"notebook": "02_use", "grid": {"factor": [7.0]}}})
    folders.write_text(earlier := project / "runs/mini/sweeps/late/runs.csv", "of an earlier command")
    mini = study.load("mini")

    def step(job: execute.Job, *_: object) -> str:
        if len([*project.glob("runs/mini/02_use/*/run.json")]) == 2:
            raise end
        record = {"study": "mini", "notebook": job.notebook.name, "status": "done", "seconds": 1.0}
        folders.write_json(job.folder / "run.json", record)
        folders.write_json(job.folder / "metrics.json", {"test": {"f1": 0.5}})
        return "done"

    monkeypatch.setattr(chain, "step", step)
    said: list[str] = []
    with pytest.raises(end):
        sweep.run(mini, ["factors", "late"], chain.Options(project / "runs"), say=said.append)
    kept = pd.read_csv(project / "runs/mini/sweeps/factors/runs.csv")
    assert kept["status"].tolist() == ["done", "done", "left out", "left out"]
    assert any("factors factor=1.0 mode=b: done in 1 s, 3 s left" in line for line in said)
    assert said[-1].startswith("Stopped. What is done stands in ") == (end is KeyboardInterrupt)
    assert "late" not in said[-1]
    assert earlier.read_text() == "of an earlier command", "nothing of this sweep has begun"
