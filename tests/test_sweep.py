from __future__ import annotations

import math
from pathlib import Path

import miniature
import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats

from eolab import runs
from eolab.core.errors import ParameterError
from eolab.runs import chain, history, lines, study, sweep
from eolab.runs.study import Sweep

NOTE = "The paper's numbers are means over the classes."


def swept(**changes: object) -> Sweep:
    facts = {
        "name": "s",
        "notebook": "n",
        "points": ({"model": "a"},),
        "rows": ("model",),
        "metrics": ("f1",),
    }
    return Sweep(**{**facts, **changes})  # type: ignore[arg-type]


def test_lines_are_means_over_runs_that_agree() -> None:
    rows = pd.DataFrame(
        {
            "model": ["lstm", "lstm", "lstm", "svm", "svm", "rf"],
            "seed": [0, 1, 2, 0, 1, 0],
            "status": ["done", "done", "failed", "done", "done", "failed"],
            "f1": [0.5, 0.7, None, 0.25, 0.25, None],
        }
    )
    table = lines.readable(sweep.in_numbers(swept(), rows))
    assert table["model"].tolist() == ["lstm", "svm", "rf"]
    assert table["runs"].tolist() == [2, 2, 0]
    assert table["failed"].tolist() == [1, 0, 1]
    assert table["f1"].tolist() == ["0.6 (0.5 to 0.7)", "0.25", "–"]


def test_a_single_run_has_no_deviation_and_nothing_failed_no_column() -> None:
    rows = pd.DataFrame({"model": ["lstm"], "status": ["done"], "f1": [1 / 3]})
    table = lines.readable(sweep.in_numbers(swept(), rows))
    assert table.columns.tolist() == ["model", "runs", "f1"]
    assert table["f1"].tolist() == ["0.3333"]


def test_the_interval_over_seeds_is_that_of_student() -> None:
    """A t-test of one sample says the same; two runs have their range, one has nothing."""
    values = [0.61, 0.64, 0.60, 0.66]
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert lines.interval([*values, math.nan]) == pytest.approx((expected.low, expected.high))
    assert lines.interval([0.7, 0.5]) == (0.5, 0.7)
    assert all(map(math.isnan, lines.interval([0.5])))


def test_markdown_is_padded() -> None:
    text = lines.markdown(pd.DataFrame({"model": ["lstm", "rf"], "f1": ["0.5", "1"]}))
    assert text.splitlines() == ["| model | f1  |", "|-------|-----|", "| lstm  | 0.5 |", "| rf    | 1   |"]


def test_runs_at_once_share_the_cores() -> None:
    assert chain.threads(1) == {}
    assert int(chain.threads(1000)["OMP_NUM_THREADS"]) == 1


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, str]:
    root = miniature.build(tmp_path_factory.mktemp("swept"))
    content = yaml.safe_load(miniature.STUDY)
    content["sweeps"]["bad"]["table"] |= {"published": [{"fail": False, "paper F1": 0.125}], "note": NOTE}
    (root / "notebooks/mini/study.yaml").write_text(yaml.safe_dump(content))
    return root, *miniature.command(root, "sweep", "mini", "bad", "--jobs", "2", "--set", "02_use.seed=4")


@pytest.mark.notebook
def test_a_failed_run_does_not_stop_the_others(ran: tuple[Path, int, str]) -> None:
    root, status, said = ran
    assert status == 1, said
    assert "2 runs, 1 failed" in said
    table = pd.read_csv(root / "runs/mini/sweeps/bad/table.csv")
    assert table["fail"].tolist() == [False, True]
    assert table["test.f1"].tolist() == ["0.3", "–"]
    page = (root / "runs/mini/sweeps/bad/table.html").read_text()
    assert "Simulated data" in page
    found = list(history.records("mini", "02_use", root / "runs"))
    assert sorted(run.status for run in found) == ["done", "failed"]
    assert {run.params["seed"] for run in found} == {4}
    assert {run.record["sweep"] for run in found} == {"bad"}
    assert {run.record["sweep"] for run in history.records("mini", "01_make", root / "runs")} == {""}
    assert len({run.params["made"] for run in found}) == 1, "the upstream notebook ran once"


@pytest.mark.notebook
def test_the_command_prints_published_numbers_and_says_simulated(
    ran: tuple[Path, int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, _, said = ran
    for text in (
        "| paper F1 |",
        "0.125",
        NOTE,
        "Simulated data, except for the published numbers (paper F1).",
    ):
        assert text in said
    monkeypatch.setenv("EOLAB_ROOT", str(root))
    table = runs.sweep_table("mini", "bad", root / "runs")
    assert table is not None
    assert table["fail"].tolist() == [False, True]
    assert table["test.f1"].fillna(-1).tolist() == [pytest.approx(0.3), -1]
    assert len(runs.collect("mini", "02_use", root=root / "runs")) == 1


@pytest.mark.notebook
def test_a_sweep_does_again_only_what_failed(ran: tuple[Path, int, str]) -> None:
    root, *_ = ran
    status, again = miniature.command(root, "sweep", "mini", "bad", "--set", "02_use.seed=4")
    assert status == 1
    assert again.count("finished before, skipped") == 2
    assert again.count(": started") == 1


@pytest.mark.notebook
def test_a_sweep_varies_a_notebook_upstream_which_runs_once_a_value(
    ran: tuple[Path, int, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Composites are chosen where samples are made, and compared by what models of them score."""
    root, *_ = ran
    grid = {"01_make.count": [2, 5], "factor": [1.0, 2.0]}
    table = {"rows": ["01_make.count", "factor"], "metrics": ["test.f1"]}
    miniature.add_sweeps(root, {"counts": {"notebook": "02_use", "grid": grid, "table": table}})
    before = {run.folder for run in history.records("mini", "01_make", root / "runs")}
    status, said = miniature.command(root, "sweep", "mini", "counts")
    assert status == 0, said
    made = [run for run in history.records("mini", "01_make", root / "runs") if run.folder not in before]
    assert sorted(run.params["count"] for run in made) == [2, 5]
    assert {run.record["sweep"] for run in made} == {"counts"}  # no later notebook takes one of them
    monkeypatch.setenv("EOLAB_ROOT", str(root))
    found = runs.sweep_table("mini", "counts", root / "runs")
    assert found is not None
    assert found[["01_make.count", "factor"]].to_numpy().tolist() == [[2, 1.0], [2, 2.0], [5, 1.0], [5, 2.0]]
    np.testing.assert_allclose(found["test.f1"], [0.2, 0.4, 0.5, 1.0])  # factor · count / 10
    user = history.load(next(iter(history.records("mini", "02_use", root / "runs"))).folder)
    history.watch(user.folder)  # a notebook that used another run of 01_make
    try:
        assert runs.sweep_table("mini", "counts", root / "runs") is not None
    finally:
        history.watch(None)
    status, _ = miniature.command(root, "sweep", "mini", "counts", "--set", f"02_use.made={made[0].folder}")
    assert status == 2
    assert "Sweep 'counts' varies 01_make, whose run is given by hand" in capsys.readouterr().err


@pytest.mark.notebook
def test_sweeps_run_together_share_runs_and_keep_a_table_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = miniature.build(tmp_path)
    one = {"notebook": "02_use", "table": {"rows": ["factor", "fail"], "metrics": ["test.f1"]}}
    cases = [{"factor": 1.0, "fail": False}, {"factor": 1.0, "fail": True}]
    sweeps = {"factors": one | {"grid": {"factor": [1.0, 2.0]}}, "bad": one | {"cases": cases}}
    miniature.add_sweeps(root, sweeps)
    status, said = miniature.command(root, "sweep", "mini", "factors", "bad", "factors", "--jobs", "2")
    assert status == 1, said
    assert "1/3 factors factor=1.0: started" in said, "the points of all sweeps are counted together"
    assert "2/3 factors factor=2.0: started" in said
    assert "3/3 bad fail=True: started" in said
    assert said.count(": started") == 4, "one run of 01_make, and the run that both sweeps have once"
    assert "2 runs, 0 failed" in said
    assert "2 runs, 1 failed" in said
    assert said.count(" runs, ") == 2, "a sweep that is named twice runs once"
    tables = {name: pd.read_csv(root / f"runs/mini/sweeps/{name}/runs.csv") for name in ("factors", "bad")}
    np.testing.assert_allclose(tables["factors"]["test.f1"], [0.3, 0.6])
    assert tables["bad"]["status"].tolist() == ["done", "failed"]
    assert tables["bad"]["run"][0] == tables["factors"]["run"][0]
    grid = ["--grid", "factor=1,2"]
    assert miniature.command(root, "sweep", "mini", "factors", "bad", *grid)[0] == 2
    assert "--grid is of one sweep, and 2 are named" in capsys.readouterr().err


def planned(root: Path, sweeps: dict[str, dict[str, object]], names: list[str]) -> list[sweep._Plan]:
    miniature.add_sweeps(root, sweeps)
    return sweep._plans(study.load("mini"), names, chain.Options(root / "runs"))


@pytest.mark.parametrize("names", [["plain", "counts", "made"], ["made", "counts", "plain"]])
def test_what_one_sweep_needs_as_the_study_has_it_stays_the_study_s_own(
    names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notebook that looks for the newest run of the study found that of another sweep, or none."""
    monkeypatch.setenv("EOLAB_ROOT", str(root := miniature.build(tmp_path)))
    sweeps: dict[str, dict[str, object]] = {
        "plain": {"notebook": "02_use", "grid": {"factor": [1.0, 2.0]}},
        "counts": {"notebook": "02_use", "grid": {"01_make.count": [3, 5]}},  # 3 is the default
        "made": {"notebook": "01_make", "grid": {"count": [3, 6]}},
    }
    jobs, above = sweep._once(planned(root, sweeps, names))
    of_count = {job.values.get("count", 3): job for job in jobs.values() if job.notebook.name == "01_make"}
    assert {count: job.sweep for count, job in of_count.items()} == {3: "", 5: "counts", 6: "made"}
    assert above == {of_count[5].folder}, "all others are points of a sweep, and have a number"
    places = [*jobs]
    assert all(places.index(up) < places.index(one) for one in jobs for up in jobs[one].upstream.values())


def test_sweeps_with_different_profiles_are_not_run_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EOLAB_ROOT", str(root := miniature.build(tmp_path)))
    one: dict[str, object] = {"notebook": "02_use", "grid": {"factor": [1.0, 2.0]}}
    sweeps = {"one": one | {"profile": "smoke"}, "two": one}
    with pytest.raises(ParameterError, match="The sweeps one, two have different profiles"):
        planned(root, sweeps, ["one", "two"])
    assert len(planned(root, sweeps, ["two"])) == 1


@pytest.mark.notebook
def test_a_sweep_that_lacks_what_it_needs_leaves_the_others_their_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = miniature.build(tmp_path)
    book = root / "notebooks/mini/01_make.ipynb"
    book.write_text(book.read_text().replace('"run.finish()"', '"assert count != 7\\nrun.finish()"'))
    lacking = {"notebook": "02_use", "grid": {"01_make.count": [7], "factor": [1.0, 2.0]}}
    good = {"notebook": "02_use", "grid": {"factor": [1.0]}, "table": {"rows": ["factor"]}}
    miniature.add_sweeps(root, {"lacking": lacking, "good": good})
    status, said = miniature.command(root, "sweep", "mini", "lacking", "good")
    assert status == 1, said
    assert "\n1 run, 0 failed" in said
    assert "Sweep 'lacking' needs mini/01_make, which failed: see above." in capsys.readouterr().err
    assert (root / "runs/mini/sweeps/good/table.html").is_file()
    assert not (root / "runs/mini/sweeps/lacking/table.html").exists()


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"01_make.cuont": [1]}, "did you mean 'count'"),
        ({"01_make.count": ["many"]}, "count"),
        ({"02_use.factor": [1]}, "02_use.factor"),
    ],
)
def test_a_point_of_a_sweep_that_no_notebook_takes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: dict[str, list[object]], message: str
) -> None:
    root = miniature.build(tmp_path)
    content = yaml.safe_load(miniature.STUDY)
    content["sweeps"] = {"counts": {"notebook": "02_use", "grid": point}}
    (root / "notebooks/mini/study.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.setenv("EOLAB_ROOT", str(root))
    with pytest.raises(ParameterError, match=message):
        study.load("mini")
