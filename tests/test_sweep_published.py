"""Published numbers beside a sweep's table: read, checked, matched, written and given to notebooks."""

from __future__ import annotations

import json
import math
from pathlib import Path

import matplotlib.image
import miniature
import numpy as np
import pandas as pd
import pytest
import yaml

from eolab import evaluation, runs
from eolab.core.errors import ParameterError, RunError
from eolab.runs import folders, lines, pairs, published, study, sweep
from eolab.runs.execute import Job
from eolab.runs.reports import pages
from eolab.runs.study import Sweep

NOTE = "The paper's numbers are means over the classes."
LINES = [
    {"factor": 1, "paper F1": 0.31, "paper bands": 2},
    {"factor": 2, "paper F1": 0.62},
]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = miniature.build(tmp_path)
    monkeypatch.setenv("EOLAB_ROOT", str(root))
    monkeypatch.delenv("EOLAB_RUNS", raising=False)
    return root


def write(root: Path, name: str = "factors", **table: object) -> None:
    """Change a sweep's table in the miniature study."""
    content = yaml.safe_load(miniature.STUDY)
    content["sweeps"][name]["table"] |= table
    (root / "notebooks/mini/study.yaml").write_text(yaml.safe_dump(content))


def load(root: Path, **table: object) -> Sweep:
    write(root, **table)
    return study.load("mini").sweep("factors")


def ran(one: Sweep, values: list[dict[str, object]], **more: object) -> pd.DataFrame:
    """Return ``runs.csv`` of a sweep whose runs gave these metrics."""
    rows = []
    for number, (point, metrics) in enumerate(zip(one.points, values, strict=True)):
        facts = {"status": "done", "seconds": 1.5, "run": f"default-{number}", "simulated": True}
        rows.append(point | facts | metrics | more)
    return pd.DataFrame(rows)


# === Reading ===


def test_published_lines_are_a_table(project: Path) -> None:
    one = load(project, published=LINES, note=f"\n  {NOTE}\n")
    assert one.note == NOTE
    assert one.published.columns.tolist() == ["factor", "paper F1", "paper bands"]
    assert one.published["factor"].tolist() == [1.0, 2.0]
    assert one.published["paper F1"].tolist() == [0.31, 0.62]
    assert math.isnan(one.published["paper bands"][1])


def test_a_sweep_without_published_lines_has_an_empty_table(project: Path) -> None:
    assert load(project).published.empty
    assert load(project).note == ""


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([{"factor": 3, "F": 0.5}], r"factor=3.0 is no run of the sweep.*Known: factor=1.0, factor=2.0"),
        ([{"factr": 1, "F": 0.5}], r"gives no row parameter"),
        ([{"factor": 1, "mod": "a", "F": 0.5}], r"'mod' is no row.*'a' is no number: did you mean 'mode'"),
        ([{"factor": 1}], r"gives no published number"),
        ([{"factor": 1, "mode": "c", "F": 0.5}], r"'mode' cannot be 'c'"),
        ([{"factor": "one", "F": 0.5}], r"'factor' must be float"),
        ([{"factor": 1, "F": True}], r"'F'.*True is no number"),
        ([{"factor": 1, "F": float("nan")}], r"is no number"),
        ([{"factor": 1, "test.f1": 0.5}], r"cannot be called 'test.f1'"),
        ([{"factor": 1, "runs": 5}], r"cannot be called 'runs'"),
        ([{"factor": 1, "seed": 5}], r"cannot be called 'seed'.*'rows'"),
        (
            [{"factor": 1, "F": 0.5}, {"mode": "a", "F": 0.6}],
            r"'F' is given twice for one run, by factor=1.0",
        ),
        ({"factor": 1, "F": 0.5}, r"must be a list of mappings"),
    ],
)
def test_a_bad_line_is_refused_in_one_sentence(project: Path, lines: object, said: str) -> None:
    with pytest.raises(ParameterError, match=said) as caught:
        load(project, rows=["factor", "mode"], published=lines)
    assert "sweep 'factors', 'published'" in str(caught.value)


def test_values_that_no_run_has_together_name_the_nearest_run(project: Path) -> None:
    content = yaml.safe_load(miniature.STUDY)
    content["sweeps"]["factors"] |= {
        "grid": {},
        "cases": [{"factor": 1, "mode": "a"}, {"factor": 2, "mode": "b"}, {"factor": 3, "mode": "b"}],
        "table": {"rows": ["factor", "mode"], "published": [{"factor": 1, "mode": "b", "F": 1}]},
    }
    (project / "notebooks/mini/study.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(
        ParameterError, match=r"mode='b' is no run of the sweep: did you mean \"factor=\d\.0, mode='[ab]'\""
    ):
        study.load("mini")


def test_a_row_that_only_the_profile_or_the_default_sets_can_be_published(project: Path) -> None:
    for seed in (0, 7):  # the notebook's default, and what the profile sets
        one = load(project, rows=["factor", "seed"], published=[{"seed": seed, "F": 0.5}])
        assert one.published["seed"].tolist() == [seed]
    with pytest.raises(ParameterError, match=r"seed=8 is no run of the sweep.*Known: seed=0, seed=7"):
        load(project, rows=["factor", "seed"], published=[{"seed": 8, "F": 0.5}])


def test_a_note_is_text(project: Path) -> None:
    with pytest.raises(ParameterError, match="'note' must be a sentence, found 3"):
        load(project, note=3)


# === Beside our numbers ===


def test_a_line_stands_beside_every_run_with_its_values() -> None:
    lines = (
        published.Line({"fold": 1}, {"paper": 0.5}),
        published.Line({"fold": 2, "kind": "b"}, {"paper": 0.25, "paper IoU": 0.125}),
    )
    table = pd.DataFrame({"kind": ["a", "b", "a", "b"], "fold": [1, 1, 2, 2]})
    found = published.join(lines, table)
    assert found["paper"].fillna(-1).tolist() == [0.5, 0.5, -1, 0.25]
    assert found["paper IoU"].fillna(-1).tolist() == [-1, -1, -1, 0.125]
    assert table.columns.tolist() == ["kind", "fold"], "the table that was given is left as it was"


def test_rows_of_lists_are_matched(project: Path) -> None:
    content = yaml.safe_load(miniature.STUDY)
    both, one_band = ["B02", "B03"], ["B02"]
    content["sweeps"]["factors"] = {
        "notebook": "02_use",
        "grid": {"bands": [both, one_band], "seed": [0, 1]},
        "table": {"rows": ["bands"], "metrics": ["f1"], "published": [{"bands": both, "paper": 0.75}]},
    }
    (project / "notebooks/mini/study.yaml").write_text(yaml.safe_dump(content))
    one = study.load("mini").sweep("factors")
    found = ran(one, [{"f1": value} for value in (0.5, 0.7, 0.2, 0.4)])
    table = lines.readable(sweep.in_numbers(one, found))
    assert table["bands"].tolist() == [both, one_band]
    assert table["f1"].tolist() == ["0.6 (0.5 to 0.7)", "0.3 (0.2 to 0.4)"]
    assert table["paper"].fillna(-1).tolist() == [0.75, -1]
    assert "| B02, B03 | 2    | 0.75  | 0.6 (0.5 to 0.7) |" in lines.markdown(table)
    assert "| B02      | 2    | –     | 0.3 (0.2 to 0.4) |" in lines.markdown(table)
    sweep._write(project / "runs/mini/sweeps/factors", one, found, sweep.in_numbers(one, found))
    assert runs.sweep_table("mini", "factors")["bands"].tolist() == [both, one_band]


def test_a_metric_with_the_name_of_a_row_keeps_both(project: Path) -> None:
    one = load(project, rows=["factor", "mode"], metrics=["factor"], published=[{"factor": 2, "paper": 1}])
    jobs = []
    for number, point in enumerate(one.points):
        job = Job(study.load("mini").notebook("02_use"), point, {}, project / "runs")
        job.folder.mkdir(parents=True)
        (job.folder / "run.json").write_text('{"study": "mini", "notebook": "02_use", "status": "done"}')
        (job.folder / "metrics.json").write_text(f'{{"factor": {10 + number}}}')
        jobs.append(job)
    table = lines.readable(sweep.in_numbers(one, sweep.table_of_runs(one, jobs)))
    assert table["factor"].tolist() == [1, 1, 2, 2]
    assert table["metrics.factor"].tolist() == ["10", "11", "12", "13"]
    assert table["paper"].fillna(-1).tolist() == [-1, -1, 1, 1]


# === Files and notebooks ===


def test_every_form_of_the_table_shows_published_numbers_and_note(project: Path) -> None:
    one = load(project, published=LINES, note=NOTE)
    found = ran(one, [{"test.f1": value} for value in (0.1, 0.2, 0.3, 0.4)])
    folder = project / "runs/mini/sweeps/factors"
    own = project / "runs/mini/02_use" / found["run"][0]
    folders.write_text(own / "report.html", "The report of one run.")
    sweep._write(folder, one, found, sweep.in_numbers(one, found))
    text = (folder / "table.md").read_text()
    assert "| factor | runs | paper F1 | paper bands | test.f1           |" in text
    assert "| 2      | 2    | 0.62     | –           | 0.35 (0.3 to 0.4) |" in text
    assert text.index("0.62") < text.index(NOTE) < text.index("Simulated data")
    assert "except for the published numbers (paper F1, paper bands)." in text
    table = pd.read_csv(folder / "table.csv")
    assert table["paper F1"].tolist() == [0.31, 0.62]
    page = (folder / "table.html").read_text()
    assert "0.62" in page
    assert "Simulated data" in page
    assert NOTE.replace("'", "&#x27;") in page
    assert page.count(f'<a href="../../02_use/{own.name}/report.html">{own.name}</a>') == 1
    assert page.count('href="../../') == 1, "the others have no report"
    assert matplotlib.image.imread(folder / "figure.png")[..., :3].std() > 0.02
    assert page.count("data:image/png") == 1
    whole = pages._sweep_tables(project / "runs/mini")
    assert whole.count("data:image/png") == whole.count('href="sweeps/factors/table.html"') == 1


def test_real_data_are_not_called_simulated(project: Path) -> None:
    one = load(project, published=LINES)
    found = ran(one, [{"test.f1": 0.5}] * 4, simulated=False)
    sweep._write(project / "out", one, found, sweep.in_numbers(one, found))
    assert "Simulated" not in (project / "out/table.md").read_text()


def test_a_notebook_gets_the_table_in_numbers(project: Path) -> None:
    one = load(project, published=LINES, note=NOTE)
    assert runs.sweep_table("mini", "factors") is None
    found = ran(one, [{"test.f1": value} for value in (0.1, 1 / 3, 0.3, None)])
    found.loc[3, "status"] = "failed"
    folder = project / "runs/mini/sweeps/factors"
    sweep._write(folder, one, found, sweep.in_numbers(one, found))
    table = runs.sweep_table("mini", "factors")
    assert table is not None
    assert table["test.f1"].tolist() == [pd.Series([0.1, 1 / 3]).mean(), 0.3]
    assert table["test.f1 std"][0] == pytest.approx(abs(1 / 3 - 0.1) / math.sqrt(2))
    assert math.isnan(table["test.f1 std"][1])
    assert table["runs"].tolist() == [2, 1]
    assert table["failed"].tolist() == [0, 1]
    assert table["paper F1"].tolist() == [0.31, 0.62]
    note = table.attrs.pop("note")
    ranges = "In brackets behind a score stands the range of the two runs of a line."
    assert note.startswith(f"{NOTE} {ranges} Each line is of 1 to 2 runs: what another seed would change is")
    assert table.attrs == {"title": "Which factor is best?", "simulated": True}
    moved = project / "elsewhere"
    folder.parents[1].parent.rename(moved)
    assert runs.sweep_table("mini", "factors") is None
    assert runs.sweep_table("mini", "factors", moved) is not None


def test_a_table_of_another_study_yaml_is_refused(project: Path) -> None:
    one = load(project)
    found = ran(one, [{"test.f1": 0.5}] * 4)
    sweep._write(project / "runs/mini/sweeps/factors", one, found, sweep.in_numbers(one, found))
    write(project, metrics=["test.accuracy"])
    with pytest.raises(RunError, match=r"no column 'test.accuracy'.*run `eolab sweep mini factors` again"):
        runs.sweep_table("mini", "factors")
    with pytest.raises(ParameterError, match="did you mean 'factors'"):
        runs.sweep_table("mini", "factor")


# === What stands first, what becomes a row, what is averaged ===


def test_published_numbers_stand_before_ours_and_the_difference(project: Path) -> None:
    """They stood in the last columns, which a page cut off."""
    compare = {"paper F1": "test.f1"}
    one = load(project, metrics=["loss", "test.f1"], published=LINES, compare=compare)
    found = ran(one, [{"loss": 1.0, "test.f1": value} for value in (0.1, 0.2, 0.3, 0.4)])
    table = lines.readable(sweep.in_numbers(one, found))
    assert table.columns.tolist() == [
        *("factor", "runs", "paper F1", "test.f1", "difference to paper F1", "paper bands", "loss"),
    ]
    assert table["difference to paper F1"].tolist() == ["-0.1600", "-0.2700"]
    assert "paper F1 with test.f1" in sweep._text(one, found, table)
    with pytest.raises(ParameterError, match=r"'compare' names no metric of the table 'test.f2'"):
        load(project, metrics=["test.f1"], published=LINES, compare={"paper F1": "test.f2"})
    with pytest.raises(ParameterError, match="'compare' names no published column 'paper'"):
        load(project, metrics=["test.f1"], published=LINES, compare={"paper": "test.f1"})


def test_a_baseline_that_is_the_same_for_all_lines_is_a_line(project: Path) -> None:
    rule, forest = "baselines.rule.test.f1", "baselines.forest.test.f1"
    one = load(project, metrics=["test.f1", rule, forest])
    rows = [{"test.f1": n / 10, rule: 0.25, forest: n / 20} for n in (1, 2, 3, 4)]
    table = lines.readable(sweep.in_numbers(one, ran(one, rows)))
    assert table["factor"].tolist() == [1, 2, "baseline rule"]
    assert table["test.f1"].tolist() == ["0.15 (0.1 to 0.2)", "0.35 (0.3 to 0.4)", "0.25"]
    assert rule not in table
    assert table[forest].tolist()[:2] == ["0.075 (0.05 to 0.1)", "0.175 (0.15 to 0.2)"], (
        "it changes with the factor"
    )


def test_folds_are_averaged_as_the_paper_does(project: Path) -> None:
    """F1 of five folds, 0.8408 ± 0.0585: a mean and a deviation divided by five."""
    published_f1 = [0.7242, 0.8676, 0.8768, 0.8721, 0.8631]
    content = yaml.safe_load(miniature.STUDY)
    papers = [{"seed": seed, "paper F1": value} for seed, value in enumerate(published_f1)]
    content["sweeps"]["factors"] = {
        "notebook": "02_use",
        "grid": {"factor": [2], "seed": [0, 1, 2, 3, 4]},
        "table": {"rows": ["factor", "seed"], "metrics": ["test.f1"], "published": papers, "over": "seed"},
    }
    (project / "notebooks/mini/study.yaml").write_text(yaml.safe_dump(content))
    one = study.load("mini").sweep("factors")
    found = ran(one, [{"test.f1": n / 4} for n in range(5)])
    table = lines.readable(sweep.in_numbers(one, found))
    assert table["seed"].tolist() == [0, 1, 2, 3, 4, "mean of 5"]
    assert table["paper F1"].tolist()[-1] == "0.8408 ± 0.0585"
    assert table["test.f1"].tolist()[-1] == "0.5 ± 0.354"
    sweep._write(project / "runs/mini/sweeps/factors", one, found, sweep.in_numbers(one, found))
    numbers = runs.sweep_table("mini", "factors")
    assert numbers is not None
    assert numbers["paper F1 std"].iloc[-1] == pytest.approx(0.05846, abs=1e-5)


def test_a_table_says_when_a_line_has_too_few_runs(project: Path) -> None:
    one = load(project)
    few = sweep._remarks(one, ran(one, [{"test.f1": 0.5}] * 4, simulated=False))
    assert few[-1].startswith("Each line is of 2 runs: what another seed would change is not in the table.")
    more = pd.concat([ran(one, [{"test.f1": 0.5}] * 4, simulated=False)] * 2)
    assert not any("another seed" in text for text in sweep._remarks(one, more))


def test_lines_are_compared_in_pairs_over_their_runs(project: Path) -> None:
    """Intervals of two lines may overlap although their difference is certain: groups differ far more."""
    content = yaml.safe_load(miniature.STUDY)
    content["sweeps"]["factors"]["grid"] = {"factor": [1, 2, 3], "seed": [0, 1, 2]}
    content["sweeps"]["factors"]["table"]["metrics"] = ["loss", "test.all.accuracy"]
    (project / "notebooks/mini/study.yaml").write_text(yaml.safe_dump(content))
    one, folder = study.load("mini").sweep("factors"), project / "runs/mini/02_use"
    rng = np.random.default_rng(0)
    truth, groups = np.zeros(1000, int), np.repeat(range(10), 100)
    hard = rng.uniform(0.1, 0.9, 10)[groups]
    metrics = []
    for number, point in enumerate(one.points):
        right = rng.random(1000) < hard + 0.1 * (point["factor"] == 2)
        scores = evaluation.score_table(
            {"net": np.where(right, 0, 1)}, truth, class_names=["a", "b"], groups=groups, replicates=200
        )
        run = folder / f"default-{number}"
        kept = evaluation.write_drawn(scores, run / "tables/scores.drawn.npz")
        kept.to_csv(run / "tables/scores.csv", index=False)
        record = {"study": "mini", "notebook": "02_use", "parameters": {"model": "net"}, "status": "done"}
        (run / "run.json").write_text(json.dumps(record))
        (run / "metrics.json").write_text(json.dumps(evaluation.nested(scores, "net")))
        metrics.append(
            {"loss": 1.0, "test.all.accuracy": evaluation.nested(scores, "net")["test"]["all"]["accuracy"]}
        )
    found = ran(one, metrics)
    table = lines.readable(sweep.in_numbers(one, found, folder))
    assert table["gain over the first line"].tolist()[0] == "–"
    assert "(+0.0" in table["gain over the first line"][1], "the difference is certain"
    assert "(-0.0" in table["gain over the first line"][2], "chance alone"
    assert "The gain over the first line is of test.all.accuracy, in pairs" in sweep._text(one, found, table)
    sweep._write(project / "runs/mini/sweeps/factors", one, found, sweep.in_numbers(one, found))
    numbers = runs.sweep_table("mini", "factors")
    assert numbers is not None
    gain, low, high, verdict = numbers[[*pairs.COLUMNS]].iloc[1]
    assert gain == pytest.approx(numbers["test.all.accuracy"][1] - numbers["test.all.accuracy"][0])
    assert 0 < low < gain < high < 0.2
    _, own_low, own_high = (
        evaluation.score_table(
            {"net": np.where(right, 0, 1)}, truth, class_names=["a", "b"], groups=groups, replicates=200
        )
        .query("scope == 'all' and statistic == 'accuracy'")[["value", "low", "high"]]
        .iloc[0]
    )
    assert own_high - own_low > 3 * (high - low), "the interval of one line is far wider"
    assert verdict == "better"
    assert numbers["verdict"].tolist()[2] == "no difference shown"
