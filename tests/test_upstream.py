"""The runs that a notebook stands on: which they are is said, and missing ones are made."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import miniature
import nbformat
import pytest
import warm

from eolab import runs
from eolab.core.errors import RunError, Stopped
from eolab.runs import execute, folders, record, study, upstream

USE = {"made": "", "factor": 1.0, "mode": "a", "bands": ["B02", "B03"], "fail": False, "seed": 0}


@pytest.fixture
def project(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The miniature project, as the kernel of a notebook sees it."""
    monkeypatch.setattr(record, "in_notebook", lambda: True)
    return project


def made(**changes: object) -> runs.Run:
    run = runs.start("mini/01_make", {"count": 3, "seed": 0, **changes})
    run.finish()
    return run


def command(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Let a few lines of Python stand for ``eolab``, with its arguments in ``sys.argv``."""
    monkeypatch.setattr(upstream, "EOLAB", [sys.executable, "-S", "-c", f"import sys, time\n{code}"])


@pytest.mark.notebook
def test_a_missing_run_is_made_with_the_notebook_s_own_defaults(project, monkeypatch, capfd):
    with warm.workers():
        as_ever = f"from eolab import cli; from eolab.runs import execute; execute.WORKER = {execute.WORKER}"
    eolab = [sys.executable, "-c", f"import sys; {as_ever}; sys.exit(cli.main())"]
    monkeypatch.setattr(upstream, "EOLAB", eolab)
    run = runs.start("mini/02_use", USE)
    said = capfd.readouterr().out
    assert said.startswith("02_use needs a run of 01_make (1 s): made now, once.")
    assert "1/1 01_make default-" in said
    found = runs.load(run.input("made"))
    assert (found.status, found.record["profile"], found.settings) == (
        "done",
        "default",
        {"count": 3, "seed": 0},
    )
    assert capfd.readouterr().out.startswith(f"Stands on 01_make {found.folder.name}, just now.\n")


def test_what_is_there_is_used_and_not_made_again(project, capsys):
    """A run of the user's own fits; the inputs of what is made are those of the notebook."""
    run = made(count=5)
    upstream.make(study.notebook("mini/02_use"), USE, ["made"])
    assert "needs a run" not in capsys.readouterr().out
    text = (project / "notebooks" / "mini" / "study.yaml").read_text()
    more = "    inputs: {made: 01_make}\n  03_show:\n    inputs: {used: 02_use, made: 01_make}\n"
    (project / "notebooks" / "mini" / "study.yaml").write_text(
        text.replace("    inputs: {made: 01_make}\n", more)
    )
    inputs = 'used: str = ""  # run of 02_use\nmade: str = ""  # run of 01_make'
    book = miniature.notebook(["# 03", ("parameters", inputs), "run.input('used')"])
    nbformat.write(book, project / "notebooks" / "mini" / "03_show.ipynb")
    plan = upstream._Plan(study.notebook("mini/03_show"), {"used": "", "made": ""}, ["used", "made"])
    assert plan.missing == {"02_use"}
    assert plan.settings(study.load("mini")) == [f"02_use.made={run.folder}"]


def test_inputs_that_are_asked_for_under_a_condition_alone_are_not_always_read(tmp_path):
    cells = [
        "# 1",
        "x = run.input('a')\nif x:\n    run.input('b')\n    run.input('a')",
        "%time",
        "f(run.input)",
    ]
    nbformat.write(miniature.notebook(cells), tmp_path / "one.ipynb")
    inputs = dict.fromkeys("abc", "01_make")
    assert upstream.always_read(study.Notebook("mini", "one", tmp_path / "one.ipynb", inputs)) == ["a", "c"]


def test_what_fails_upstream_is_said_in_one_sentence_with_its_report(project, monkeypatch, capfd):
    run = made()
    folders.update_record(run.folder, status="failed", failed=folders.failure("ValueError", "no band", 4))
    command(
        monkeypatch, "print('1/1 01_make: started'); print('FAILED 01_make'); print('trace'); sys.exit(1)"
    )
    with pytest.raises(RunError) as caught:
        runs.start("mini/02_use", USE)
    report = run.folder / "report.html"
    assert str(caught.value) == (
        f"02_use needs a run of 01_make, which failed in cell In [4] (ValueError: no band): see {report}."
    )
    assert "trace" not in capfd.readouterr().out
    command(monkeypatch, "print('eolab: there is no disk.'); sys.exit(2)")
    folders.update_record(run.folder, status="stopped")
    with pytest.raises(RunError, match=r"^eolab: there is no disk\.$"):
        runs.start("mini/02_use", USE)


def test_an_interrupt_stops_what_is_made_and_says_how_to_go_on(project, monkeypatch):
    command(monkeypatch, "open('ended', 'w').close() if time.sleep(60) else None")
    ended = []

    def interrupted(process: object) -> str:
        ended.append(process)
        raise KeyboardInterrupt

    monkeypatch.setattr(upstream, "_follow", interrupted)
    with pytest.raises(Stopped, match=r"^Stopped while 01_make ran: what is finished is kept"):
        runs.start("mini/02_use", USE)
    assert ended[0].poll() is not None


def test_a_run_with_parameters_of_the_user_s_own_that_does_not_fit_is_not_replaced(project):
    """Training again with the defaults would put other results in the place of what the user wants."""
    first = made()
    used = runs.start("mini/02_use", USE | {"factor": 2.0})
    used.input("made")
    used.finish()
    made()  # again: the run that 02_use was made from is gone
    known = [runs.load(first.folder).stamp]
    for factor, refused in ((2.0, True), (1.0, False)):
        folders.update_record(used.folder, parameters=USE | {"factor": factor})
        plan = upstream._Plan(study.notebook("mini/01_make"), {}, [])
        plan._known = known
        if refused:
            with pytest.raises(RunError, match="made from other runs"):
                plan._look("02_use")
        else:
            plan._look("02_use")
            assert plan.missing == {"02_use"}


def test_the_line_of_a_run_names_its_age_parameters_a_trial_and_a_newer_run(project):
    old, new = made(count=5), made(count=4)
    ended = (datetime.now(UTC) - timedelta(hours=3, minutes=1)).isoformat()
    folders.update_record(old.folder, ended=ended, profile="smoke")
    line = upstream.line(runs.load(old.folder), batch=False)
    assert line == (
        f"Stands on 01_make {old.folder.name}, 3 hours ago, count=5. "
        f"Take care: it was a trial (profile smoke), and {new.folder.name} is newer."
    )
    assert "Take care" not in upstream.line(runs.load(old.folder), batch=True)
    folders.update_record(new.folder, sweep="factors")
    assert "is newer" not in upstream.line(runs.load(old.folder), batch=False)


def test_longer_times_are_said_where_data_are_not_simulated(project):
    book = study.notebook("mini/01_make")
    assert upstream._time(book, True) == "1 s"
    assert upstream._time(book, False) == "1 s with simulated data, longer with these"
