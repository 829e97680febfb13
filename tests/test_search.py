"""Searches: trials are given up, failed, interrupted and taken up; the best becomes a profile."""

from __future__ import annotations

import math
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import miniature
import nbformat
import pandas as pd
import pytest
import warm
import yaml

from eolab.core.errors import EolabWarning, ParameterError, RunError
from eolab.runs import chain, execute, folders, search, study, trials
from eolab.runs.chain import Options
from eolab.runs.execute import Job
from eolab.runs.search import How

pytest.importorskip("optuna", reason="needs eolab[tune]")
pytestmark = pytest.mark.slow  # a second each
SEARCH = {
    "notebook": "02_use",
    "trials": 12,
    "values": {"bands": ["B04"]},
    "trials_only": {"fail": False, "seed": 7},
    "space": {"factor": {"log_uniform": [1e-3, 10.0]}, "mode": {"choice": ["a", "b"]}},
}
EPOCHS = 9


@pytest.fixture
def mini(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = miniature.build(tmp_path)
    write(root, SEARCH)
    monkeypatch.setenv("EOLAB_ROOT", str(root))
    monkeypatch.delenv("EOLAB_RUNS", raising=False)
    monkeypatch.setattr(search, "_LOOK_EVERY_S", 0.005)
    return root


def write(root: Path, block: dict[str, object]) -> None:
    """Give the study one search."""
    file = root / "notebooks/mini/study.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"searches": {"scale": block}}))


class Training:
    """Stands for the runs of notebooks: a loss that is least at factor 0.1 and mode b, epoch by epoch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, watched: bool = False) -> None:
        self.begun: list[dict[str, object]] = []
        self.watched, self.looks = watched, 0  # whether an epoch ends only after two looks at it
        self.fails: Callable[[Job], bool] = lambda job: False
        self._stopped: dict[Path, threading.Event] = {}
        monkeypatch.setattr(chain, "step", self)
        monkeypatch.setattr(execute, "stop", self.stop)
        read = search._Trials._values

        def look(trials: search._Trials, job: Job, quiet: bool = False) -> dict[int, float]:
            self.looks += 1
            return read(trials, job, quiet)

        monkeypatch.setattr(search._Trials, "_values", look)

    def stop(self, folder: Path | None = None) -> None:
        for one, event in self._stopped.items():
            if folder in (None, one):
                event.set()

    def __call__(self, job: Job, counter: str, force: bool, say: Callable[[str], None]) -> str:
        self.begun.append(dict(job.values))
        stopped = self._stopped.setdefault(job.folder, threading.Event())
        facts = {"run": job.folder.name, "parameters": job.values, "study": "mini"}
        facts |= {"notebook": job.notebook.name, "started": "2026-01-01T00:00:00+00:00", "seconds": 1.0}
        status = "failed" if self.fails(job) else "done"
        if job.notebook.name == "02_use" and status == "done":
            loss = abs(math.log10(job.values["factor"]) + 1) + (job.values.get("mode") == "a")
            rows = ["epoch,val_loss"]
            for epoch in range(1, EPOCHS + 1):
                rows.append(f"{epoch},{loss + 1 / epoch}")
                folders.write_text(job.folder / "history.csv", "\n".join(rows) + "\n")
                seen = self.looks + 2
                while self.watched and self.looks < seen and not stopped.wait(0.001):
                    pass
                if stopped.is_set():
                    status = "stopped"
                    break
        folders.write_json(job.folder / folders.RECORD, facts | {"status": status})
        return "done" if status == "done" else ""


def tune(root: Path, how: How | None = None, said: list[str] | None = None) -> bool:
    lines: list[str] = [] if said is None else said
    return search.run(study.load("mini"), "scale", Options(root / "runs"), how, lines.append)


def found(root: Path) -> pd.DataFrame:
    table = trials.search_table("mini", "scale", root / "runs")
    assert table is not None
    return table


def test_the_best_trial_becomes_a_profile_that_a_run_takes(
    mini: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training(monkeypatch)
    said: list[str] = []
    assert trials.search_table("mini", "scale", mini / "runs") is None
    assert tune(mini, How(prune=False), said)
    table = found(mini)
    assert len(table) == 12
    assert set(table["status"]) == {"done"}
    assert table["val_loss"].is_monotonic_increasing
    assert {values["seed"] for values in training.begun} == {7}, "the profile of the study"
    assert all(values["bands"] == ["B04"] for values in training.begun[1:]), "the fixed values"
    best = table.iloc[0]
    expected = abs(math.log10(best["factor"]) + 1) + (best["mode"] == "a") + 1 / EPOCHS
    assert best["val_loss"] == pytest.approx(expected)
    assert set(table.attrs["importances"]) == {"factor", "mode"}
    assert sum(table.attrs["importances"].values()) == pytest.approx(1)
    chosen = trials.with_found(study.load("mini"), mini / "runs", "scale")
    values = chosen.values("02_use", "scale")
    assert (values["factor"], values["mode"]) == (pytest.approx(best["factor"]), best["mode"])
    assert (values["bands"], values["seed"]) == (["B04"], 7)
    assert "fail" not in values
    assert chosen.values("01_make", "scale") == {"seed": 7}
    assert any("eolab run mini --profile scale" in line for line in said)
    assert (mini / "runs/mini/searches/scale/table.html").is_file()
    assert not [*(mini / "runs/mini").glob("02_use/*")], "trials stand apart from the study's runs"


def test_a_trial_that_is_behind_the_others_is_given_up(mini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Training(monkeypatch, watched=True)
    assert tune(mini, How(trials=15, sampler="random"))
    table = found(mini)
    ended = table[table["status"] == trials.GIVEN_UP]
    done = table[table["status"] == "done"]
    assert len(ended) >= 4
    assert (ended["epochs"] < EPOCHS).all()
    assert ended["val_loss"].isna().all()
    assert (done["epochs"] == EPOCHS).all()
    losses = [
        abs(math.log10(f) + 1) + (m == "a") for f, m in zip(table["factor"], table["mode"], strict=True)
    ]
    assert min(losses) == pytest.approx(table["val_loss"].min() - 1 / EPOCHS), "the best one is not given up"


def test_a_killed_search_goes_on_and_takes_up_the_trial_that_was_interrupted(
    mini: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training(monkeypatch)

    class Killed(BaseException):
        pass

    def die(job: Job) -> bool:
        if len(training.begun) == 5:  # 01_make and four trials
            raise Killed
        return False

    training.fails = die
    with pytest.raises(Killed):
        tune(mini, How(prune=False))
    interrupted = training.begun[-1]
    training.fails = lambda job: False
    begun = len(training.begun)
    said: list[str] = []
    assert tune(mini, How(prune=False), said)
    again = [values for values in training.begun[begun:] if "factor" in values]
    assert again[0] == interrupted
    assert len(again) == 12 - 3
    assert "3 trials of 12 are done, the search goes on" in said
    table = found(mini)
    assert len(table) == 12
    assert table["run"].nunique() == 12
    assert tune(mini, How(trials=14, prune=False))
    assert len(found(mini)) == 14


def test_failed_trials_are_kept_and_do_not_end_a_search_unless_all_fail(
    mini: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training(monkeypatch)
    training.fails = lambda job: job.values.get("mode") == "a"
    assert tune(mini, How(prune=False))
    counts = found(mini)["status"].value_counts()
    assert counts["failed"] + counts["done"] == 12
    assert set(found(mini).query("status == 'failed'")["mode"]) == {"a"}
    folders_of = mini / "runs/mini/searches/scale"
    shutil.rmtree(folders_of)
    training.fails = lambda job: "mode" in job.values
    with pytest.raises(RunError, match="The first 3 trials failed"):
        tune(mini)
    shutil.rmtree(folders_of)
    training.fails = lambda job: job.notebook.name == "01_make"
    with pytest.raises(RunError, match="needs mini/01_make, which failed"):
        tune(mini)


def test_a_search_of_another_space_is_refused(mini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Training(monkeypatch)
    assert tune(mini, How(trials=2))
    write(mini, SEARCH | {"space": {"factor": {"uniform": [0.1, 1.0]}}})
    with pytest.raises(ParameterError, match="begun with a space other than now: delete the folder"):
        tune(mini)
    write(mini, SEARCH | {"values": {"bands": ["B02"]}})
    with pytest.raises(ParameterError, match="begun with fixed values other than now"):
        tune(mini)


def test_a_metric_that_the_notebook_does_not_write_is_named(
    mini: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Training(monkeypatch)
    write(mini, SEARCH | {"metric": "val_f1", "direction": "maximize"})
    with pytest.raises(RunError, match=r"02_use writes no val_f1 in its history.csv; known are val_loss\."):
        tune(mini)


def test_without_optuna_one_sentence_says_how_to_get_it(mini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Training(monkeypatch)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ParameterError, match=r"pip install 'eolab\[tune\]'"):
        tune(mini)


def test_a_search_of_a_killed_process_goes_on_from_a_journal_that_was_cut_off(
    mini: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training(monkeypatch)
    assert tune(mini, How(trials=3, prune=False))
    journal = mini / "runs/mini/searches/scale" / trials.JOURNAL
    journal.with_name(f"{journal.name}.lock").symlink_to("/nowhere")  # what a kill while writing leaves
    journal.write_bytes(journal.read_bytes()[:-20])
    begun = len(training.begun)
    assert tune(mini, How(trials=4, prune=False))
    assert len(training.begun) - begun == 2 + 1, "01_make, the trial whose end was cut off, and another one"
    assert set(found(mini)["status"]) == {"done"}
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join([*lines[:4], lines[4][:9], *lines[5:]]))
    with pytest.raises(RunError, match=r"journal\.log is damaged .*put back a copy"):
        tune(mini)


def test_best_parameters_that_do_not_fit_stop_only_what_asks_for_them(
    mini: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, runs = study.load("mini"), mini / "runs"
    with pytest.raises(ParameterError, match=r"found nothing in .* yet: run `eolab tune mini scale` first"):
        trials.with_found(chosen, runs, "scale")
    best = runs / "mini/searches/scale" / trials.BEST
    for text, said in (("{", "no YAML"), ("", "is empty"), ("02_use: {factr: 1}", "did you mean 'factor'")):
        folders.write_text(best, text)
        assert trials.with_found(chosen, runs, "smoke") == chosen
        assert trials.with_found(chosen, runs, None) == chosen
        with pytest.raises(ParameterError, match=said):
            trials.with_found(chosen, runs, "scale")


def test_a_table_of_trials_that_does_not_fit_is_left_out_with_a_warning(
    mini: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Training(monkeypatch)
    assert tune(mini, How(trials=3))
    file, facts = (mini / "runs/mini/searches/scale" / name for name in (trials.TRIALS, trials.FACTS))
    good = file.read_text(), facts.read_text()
    words = pd.read_csv(file).astype({"factor": object}).assign(factor="abc").to_csv()
    for table, about in (("", good[1]), ("a,b\n1,2\n", good[1]), (words, good[1]), (good[0], "{")):
        file.write_text(table)
        facts.write_text(about)
        with pytest.warns(EolabWarning, match="search scale in .* is left out.*`eolab tune mini scale`"):
            assert trials.search_table("mini", "scale", mini / "runs") is None
    facts.unlink()
    with pytest.warns(EolabWarning, match="it has no 'metric'"):
        assert trials.search_table("mini", "scale", mini / "runs") is None


def test_a_trial_whose_metric_is_never_a_number_says_so(mini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Training(monkeypatch)
    monkeypatch.setattr(search._Trials, "_values", lambda *_, **__: {})
    said: list[str] = []
    with pytest.raises(RunError, match="The first 3 trials failed"):
        tune(mini, said=said)
    assert sum("history.csv has no epoch whose val_loss is a number" in line for line in said) == 3


def test_trials_that_could_not_run_for_want_of_disk_are_taken_up(
    mini: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training(monkeypatch)
    step = Training.__call__
    full = monkeypatch.context

    def fails(training: Training, job: Job, *more: object) -> str:
        return "" if "mode" in job.values else step(training, job, *more)  # type: ignore[arg-type]

    with full() as disk:
        disk.setattr(Training, "__call__", fails)
        with pytest.raises(RunError, match="Trials cannot run, see above"):
            tune(mini, How(trials=4, prune=False))
    assert set(found(mini)["status"]) == {"stopped"}
    assert tune(mini, How(trials=4, prune=False))
    assert found(mini)["status"].tolist() == ["done"] * 4
    assert len(training.begun) == 4 + 2


def test_a_search_whose_values_are_all_alike_keeps_its_table(
    mini: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Training(monkeypatch)
    values = iter([0.35, 0.35000000000000003] * 20)
    monkeypatch.setattr(search._Trials, "_values", lambda *_, quiet=False: {} if quiet else {1: next(values)})
    write(mini, SEARCH | {"space": {"factor": {"choice": [0.2, 0.4]}}})
    said: list[str] = []
    assert tune(mini, How(trials=6), said)
    assert len(found(mini)) == 6
    assert found(mini).attrs["importances"] == {}
    assert tune(mini, How(trials=4), said)
    assert "6 trials of 4 are done, a larger --trials goes on" in said
    with pytest.raises(ParameterError, match=r"leave --force out, or delete .*scale to begin"):
        search.run(study.load("mini"), "scale", Options(mini / "runs", force=True))
    by_hand = Options(mini / "runs", settings={"02_use": {"factor": 0.2}})
    with pytest.raises(ParameterError, match="--set factor: the search 'scale' chooses this parameter"):
        search.run(study.load("mini"), "scale", by_hand)


LEARN = [
    "# 03 · Learn",
    ("parameters", "rate: float = 0.1  # learning rate\nepochs: int = 4  # passes over the samples"),
    "from eolab import runs\nrun = runs.start('mini/03_learn', globals())",
    "rows = ['epoch,val_loss']\n"
    "for epoch in range(1, epochs + 1):\n"
    "    rows.append(f'{epoch},{abs(rate - 0.3) + 1 / epoch}')\n"
    "    run.path('history.csv').write_text('\\n'.join(rows))",
    "run.finish(loss=abs(rate - 0.3))",
]


@pytest.mark.notebook
def test_a_search_runs_notebooks_and_its_profile_runs_the_study(mini: Path) -> None:
    nbformat.write(miniature.notebook(LEARN), mini / "notebooks/mini/03_learn.ipynb")
    file = mini / "notebooks/mini/study.yaml"
    content = yaml.safe_load(file.read_text())
    content["notebooks"] = {"03_learn": {}}
    content["searches"] = {"rate": {"notebook": "03_learn", "space": {"rate": {"uniform": [0.1, 1.0]}}}}
    content |= {"profiles": {"smoke": {"all": {"epochs": 3}}}, "sweeps": {}}
    file.write_text(yaml.safe_dump(content))
    with warm.workers():
        status, said = miniature.command(mini, "tune", "mini", "rate", "--trials", "3", "--no-pruning")
    assert status == 0, said
    table = trials.search_table("mini", "rate", mini / "runs")
    assert table is not None
    assert table["epochs"].tolist() == [3, 3, 3]
    assert table["val_loss"].to_numpy() == pytest.approx((table["rate"] - 0.3).abs() + 1 / 3)
    with warm.workers():
        status, said = miniature.command(mini, "run", "mini", "--profile", "rate")
    assert status == 0, said
    (record,) = (mini / "runs/mini/03_learn").glob("rate-*/run.json")
    assert folders.read_json(record)["parameters"]["rate"] == table["rate"][0]
    page = (mini / "runs/mini/searches/rate/table.html").read_text()
    assert f'href="mini/03_learn/{table["run"][0]}/report.html"' in page


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"metric": "test_f1"}, "chosen on validation samples alone"),
        ({"direction": "up"}, "'direction' is 'up'"),
        ({"trials": 0}, "whole number from 1, found 0"),
        ({"notebook": "03_use"}, "names no notebook of the study '03_use'"),
        ({"profile": "ful"}, "names no profile of the study: 'ful'"),
        ({"space": {}}, "has no 'space'"),
        ({"space": {"factr": {"uniform": [0, 1]}}}, "factr"),
        ({"space": {"factor": {"uniform": [1]}}}, "must be one of"),
        ({"space": {"factor": {"uniform": [1, 0]}}}, "the smaller one first"),
        ({"space": {"factor": {"log_uniform": [0.0, 1.0]}}}, "begins above 0"),
        ({"space": {"factor": {"normal": [0.0, 1.0]}}}, "normal"),
        ({"space": {"mode": {"choice": ["a", "c"]}}}, "mode"),
        ({"space": {"seed": {"int": [0, 1.5]}}}, "seed"),
        ({"space": {"bands": {"choice": [["B02"], ["B03"]]}}}, "stands in 'space' and in 'values'"),
        ({"space": {"mode": {"choice": ["a"]}}}, "has one choice only: write it under 'values'"),
        ({"space": {"epochs": {"int": [1, 3]}}}, "epochs"),
        (
            {"trials_only": {}, "space": {"seed": {"uniform": [0, 5]}}},
            r"'seed' takes whole numbers only: write \{int: \[low, high\]\}",
        ),
    ],
)
def test_mistakes_in_a_search_are_named(mini: Path, change: dict[str, object], said: str) -> None:
    write(mini, SEARCH | change)
    with pytest.raises(ParameterError, match=said):
        study.load("mini")


def test_a_name_that_a_profile_or_a_sweep_has_is_refused(mini: Path) -> None:
    file = mini / "notebooks/mini/study.yaml"
    content = yaml.safe_load(file.read_text())
    for name, said in (("smoke", "a profile has it"), ("factors", "a sweep has it"), ("a b", "letters")):
        file.write_text(yaml.safe_dump(content | {"searches": {name: SEARCH}}))
        with pytest.raises(ParameterError, match=said):
            study.load("mini")


def test_parameters_of_all_kinds_are_drawn_within_their_ends(
    mini: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training(monkeypatch)
    space = {
        "factor": {"uniform": [0.5, 0.6]},
        "seed": {"int": [2, 4]},
        "bands": {"choice": [["B02"], ["B02", "B03"]]},
    }
    write(mini, SEARCH | {"values": {}, "trials_only": {}, "space": space})
    assert tune(mini, How(sampler="random", prune=False))
    drawn = [values for values in training.begun if "factor" in values]
    assert all(0.5 <= values["factor"] <= 0.6 for values in drawn)
    assert {values["seed"] for values in drawn} == {2, 3, 4}
    assert {tuple(values["bands"]) for values in drawn} == {("B02",), ("B02", "B03")}
    values = trials.with_found(study.load("mini"), mini / "runs", "scale").values("02_use", "scale")
    assert isinstance(values["seed"], int)
    assert isinstance(values["bands"], list)
