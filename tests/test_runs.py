from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import matplotlib as mpl
import miniature
import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml

from eolab import runs
from eolab.core.errors import ParameterError, RunError
from eolab.runs import (
    chain,
    display,
    execute,
    folders,
    history,
    provenance,
    study,
    sweep,
    timing,
    warm,
    worker,
)

mpl.use("agg")


def make(**changes: object) -> runs.Run:
    return runs.start("mini/01_make", {"count": 3, "seed": 0, "other": object(), **changes})


def use(**changes: object) -> runs.Run:
    values = {"made": "", "factor": 1.0, "mode": "a", "bands": ["B02"], "fail": False, "seed": 5}
    return runs.start("mini/02_use", {**values, **changes})


def test_an_interactive_run_records_itself(project: Path) -> None:
    run = make(count=4)
    record = runs.load(run.folder)
    assert run.folder.parent == project / "runs" / "mini" / "01_make"
    assert run.folder.name.startswith("interactive-")
    assert yaml.safe_load((run.folder / "params.yaml").read_text()) == {"count": 4, "seed": 0}
    assert record.record["defaults"] == {"count": 3, "seed": 0}
    assert record.status == "running"
    assert record.environment["seed"] == 0
    assert record.environment["packages"]["numpy"] == np.__version__
    run.finish()
    assert runs.load(run.folder).status == "done"


def test_a_run_ends_with_a_box_in_short_that_its_report_has_too(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from eolab import evaluation
    from eolab.data import catalog

    run = use()
    run.data(catalog.load()["toy_twin"])
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 90)
    guesses = {"forest": truth, "lstm": np.where(rng.random(90) < 0.3, 1 - truth, truth)}
    how = {"class_names": ["a", "b"], "groups": np.arange(90) // 9, "baselines": ["forest"]}
    scores = evaluation.score_table(guesses, truth, **how)
    run.scores(scores, model="lstm", caption="Scores.")
    run.short("A sentence.")
    run.finish(samples=1234, best_epoch=3)
    short = runs.load(run.folder).short
    assert short["found"][0] == "Data: toy_twin (simulated); 1,234 samples."
    assert short["found"][2:] == ["A sentence."]
    assert short["cautions"] == ["lstm is worse than forest.", "Only 10 groups: intervals are rough."]
    said = capsys.readouterr().out
    shown = evaluation.readable(scores).set_index("model").loc["lstm", "macro F1"]
    assert f"Macro F1: lstm {shown} on 90 test samples in 10 groups" in short["found"][1]
    for sentence in (*short["found"], *short["cautions"], "Simulated data: compare models"):
        assert sentence in said


def test_a_box_in_short_says_counts_in_words_and_asks_no_more_of_a_perfect_score(project: Path) -> None:
    """Beside a score of 1.000 it said that a longer training may score higher."""
    from eolab import evaluation

    truth = np.arange(90) % 2
    how = {"class_names": ["a", "b"], "groups": np.arange(90) // 9, "baselines": ["forest"]}
    for wrong, cautioned in ((0, False), (1, True)):
        run, guess = use(seed=wrong), truth.copy()
        guess[:wrong] = 1 - guess[:wrong]
        run.scores(evaluation.score_table({"lstm": guess}, truth, **how), model="lstm", caption="Scores.")
        run.short("Samples by split", {"train": 1200, "validation": 0, "test": 300})
        folders.update_record(run.folder, parameters={"training.epochs": 7})
        run.finish(best_epoch=7)
        short = runs.load(run.folder).short
        assert "Samples by split: 1,200 train, 300 test." in short["found"]
        assert any("a longer training may score higher" in one for one in short["cautions"]) == cautioned


def test_the_same_parameters_have_the_same_folder(project: Path) -> None:
    assert make().folder == make().folder
    assert make().folder != make(count=4).folder
    before = make().folder
    path = project / "notebooks" / "mini" / "01_make.ipynb"
    cells = [*miniature.MAKE, "# Text does not count"]
    nbformat.write(miniature.notebook(cells), path)
    assert make().folder == before
    nbformat.write(miniature.notebook([*cells, "code = 'does'"]), path)
    assert make().folder != before


def test_values_edited_by_hand_are_checked(project: Path) -> None:
    with pytest.raises(ParameterError, match="'count' must be int, found '3'"):
        make(count="3")
    with pytest.raises(ParameterError, match="run the parameters cell first"):
        runs.start("mini/01_make", {"count": 3})
    with pytest.raises(ParameterError, match="'study/notebook'"):
        runs.start("01_make", {})


def test_metrics_merge_and_become_plain_numbers(project: Path) -> None:
    run = make()
    run.metrics({"test": {"f1": np.float32(0.5), "n": np.int64(3)}})
    run.metrics({"test": {"loss": float("nan"), "each": np.arange(2)}, "note": "x"})
    expected = {"test": {"f1": 0.5, "n": 3, "loss": None, "each": [0, 1]}, "note": "x"}
    assert json.loads((run.folder / "metrics.json").read_text()) == expected
    with pytest.raises(RunError, match="object"):
        run.metrics({"bad": object()})


def test_a_figure_of_simulated_data_says_so(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import matplotlib.pyplot as plt

    from eolab.data import catalog

    def draw(run: runs.Run) -> Path:
        fig, ax = plt.subplots(figsize=(3, 2))
        ax.plot([0, 1])
        run.figure(fig, "line", "A line.")
        assert not plt.fignum_exists(fig.number)
        return run.folder / "figures" / "line.png"

    run = make()
    plain = draw(run).read_bytes()
    assert runs.load(run.folder).figures[0]["caption"] == "A line."
    run.data(catalog.load()["toy_twin"])
    assert "SIMULATED" in capsys.readouterr().out
    marked = draw(run).read_bytes()
    record = runs.load(run.folder)
    assert record.simulated
    assert [f["caption"] for f in record.figures] == ["A line. Simulated data."]
    assert marked != plain
    assert plt.imread(draw(run)).shape[0] > 100
    data = record.data[0]
    assert (data["name"], data["license"], data["simulated"]) == ("toy_twin", "CC0-1.0", True)


def test_a_table_keeps_all_digits_in_its_file(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make()
    table = pd.DataFrame({"class": ["Lake"], "F1": [0.123456789]})
    run.table(table, "scores", "Scores.", {"F1": "{:.2f}"}, show=False)
    assert "Lake" not in capsys.readouterr().out
    run.table(table, "scores", "Scores.", {"F1": "{:.2f}"})
    assert "Lake" in capsys.readouterr().out
    pd.testing.assert_frame_equal(runs.load(run.folder).table("scores"), table)
    with pytest.raises(RunError, match="has not written it"):
        runs.load(run.folder).table("other")


def test_a_table_keeps_names_of_digits(project: Path) -> None:
    """Scenes "0001" came back as 1, so that no scene was found and a figure of detections was empty."""
    run = make()
    table = pd.DataFrame({"scene": ["0001", "0063", "1200"], "step": [0, 1, 10], "F1": [0.5, 0.25, None]})
    run.table(table, "answers", "Answers.", show=False)
    pd.testing.assert_frame_equal(runs.load(run.folder).table("answers"), table)


def test_a_table_without_rows_says_so() -> None:
    caption = display.Caption("Rejected files.")
    assert "None." in display.table_html(pd.DataFrame({"file": []}), caption, {})
    assert "None." not in display.table_html(pd.DataFrame({"file": ["a.h5"]}), caption, {})


def test_one_call_records_a_table_and_shows_its_readable_form(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make()
    table = pd.DataFrame({"model": ["unet"], "f1": [0.123456789]})
    run.table(table, "scores", "Scores.", show=pd.DataFrame({"model": ["unet"], "F1": ["0.12 ± 0.03"]}))
    said = capsys.readouterr().out
    assert "0.12 ± 0.03" in said
    assert "0.123456789" not in said
    pd.testing.assert_frame_equal(runs.load(run.folder).table("scores"), table)


def test_a_score_table_is_recorded_in_one_call(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from eolab import evaluation

    truth = np.array([0, 1, 1, 0, 1, 0])
    found = {"forest": np.array([0, 1, 1, 0, 0, 0]), "majority": np.zeros(6, int)}
    scores = evaluation.score_table(
        found,
        truth,
        statistics=("macro.f1", "all.accuracy"),
        class_names=["dry", "wet"],
        baselines=["majority"],
        replicates=100,
    )
    run = make()
    run.scores(scores, caption="Scores.", model="forest")
    metrics = runs.load(run.folder).metrics
    assert metrics["test"]["all"]["accuracy"] == pytest.approx(5 / 6)
    assert metrics["baselines"]["majority"]["test"]["all"]["accuracy"] == 0.5
    assert len(runs.load(run.folder).table("scores")) == len(scores)
    assert "Scores." in capsys.readouterr().out
    wide = pd.DataFrame({"score": ["macro F1"], "forest": ["0.80"]})
    run.scores(
        scores.assign(rule="half"),
        "others",
        model="forest",
        under="all_classes",
        caption="Others.",
        show=wide,
    )
    record = runs.load(run.folder)
    assert "macro F1" in capsys.readouterr().out
    assert set(record.table("others")["rule"]) == {"half"}
    found = record.metrics["all_classes"]
    assert found["test"]["half"]["all"]["accuracy"] == pytest.approx(5 / 6)
    assert found["baselines"]["majority"]["test"]["half"]["all"]["accuracy"] == 0.5
    assert record.metrics["test"] == metrics["test"]


def test_a_table_with_an_index_keeps_it_and_its_kinds(project: Path) -> None:
    run = make()
    table = pd.DataFrame({"n": [1, 2]}, index=pd.Index(["01", "02"], name="class")).astype("category")
    run.table(table, "counts", "Counts.", show=False)
    found = runs.load(run.folder).table("counts")
    assert found.to_dict("list") == {"class": ["01", "02"], "n": [1, 2]}


def test_metrics_are_given_as_keywords_too(project: Path) -> None:
    run = make()
    run.metrics({"test": {"f1": 0.5}}, parameters=3)
    run.metrics(test={"loss": 1.0})
    assert runs.load(run.folder).metrics == {"test": {"f1": 0.5, "loss": 1.0}, "parameters": 3}


def test_several_outputs_are_saved_and_shown_in_one_call(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import matplotlib.pyplot as plt

    path = project / "notebooks" / "mini" / "01_make.ipynb"
    nbformat.write(miniature.notebook([*miniature.MAKE, CAPTIONS, "# B\n\n**Table line.** Numbers."]), path)
    run, numbers = make(), pd.DataFrame({"f1": [1]})
    run.show(scores=numbers, line=(plt.figure(), numbers))
    said = capsys.readouterr().out
    assert said.index("Scores.") < said.index("Figure line: A line") < said.index("Numbers.")
    record = runs.load(run.folder)
    assert [figure["name"] for figure in record.figures] == ["line"]
    assert len(record.table("scores")) == len(record.table("line")) == 1
    with pytest.raises(RunError, match="Figure 'other' has no caption"):
        run.show(other=plt.figure())


def test_a_check_of_the_files_leaves_the_rejected_ones_with_the_run(project: Path) -> None:
    from eolab.data import catalog

    files = pd.DataFrame({"file": ["a", "b"], "status": ["ok", "rejected"], "reason": ["", "no band"]})
    run = make()
    run.data(catalog.load()["toy_twin"], catalog.CheckReport(files))
    assert runs.load(run.folder).table("rejected")["file"].tolist() == ["b"]


def test_the_last_cell_may_give_metrics(project: Path) -> None:
    run = make()
    run.metrics(test={"f1": 0.5})
    run.finish({"test": {"loss": 1.0}}, parameters=3)
    record = runs.load(run.folder)
    assert record.status == "done"
    assert record.record["seconds"] >= 0
    assert record.metrics == {"test": {"f1": 0.5, "loss": 1.0}, "parameters": 3}


CAPTIONS = """## How does it go?

Text before.

**Figure line.** A line for `count` {count}
over two lines; {nothing} stays.

Text between.

**Table scores.** Scores.
**Table more.** More of *them*."""


def test_captions_are_read_from_text_and_filled() -> None:
    found = display.captions(["# Title", CAPTIONS])
    assert found == {
        ("Figure", "line"): "A line for count {count} over two lines; {nothing} stays.",
        ("Table", "scores"): "Scores.",
        ("Table", "more"): "More of *them*.",
    }
    assert display.without_captions(CAPTIONS) == "## How does it go?\n\nText before.\n\nText between."
    values = {"count": 3, "bands": ["B02", "B03"], "nothing": object()}
    assert display.filled("{count} of {bands}, {nothing}", values) == "3 of B02, B03, {nothing}"
    assert display.captions(["**Figure a.** One", "**Figure b.**\nTwo.\n"]) == {
        ("Figure", "a"): "One",
        ("Figure", "b"): "Two.",
    }


def test_a_caption_of_the_text_needs_no_second_writing(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import matplotlib.pyplot as plt

    from eolab.data import catalog

    path = project / "notebooks" / "mini" / "01_make.ipynb"
    nbformat.write(miniature.notebook([*miniature.MAKE, CAPTIONS]), path)
    run = make()
    run.data(catalog.load()["toy_twin"])
    run.figure(plt.figure(), "line")
    run.table(pd.DataFrame({"f1": [1]}), "scores")
    figure = runs.load(run.folder).figures[0]
    assert figure["caption"] == "A line for count 3 over two lines; {nothing} stays. Simulated data."
    assert figure["alt"] == "A line for count 3 over two lines; {nothing} stays."
    assert "Scores. Simulated data." in capsys.readouterr().out
    with pytest.raises(
        RunError, match=r"Table 'other' has no caption: write '\*\*Table other\.\*\* What to see"
    ):
        run.table(pd.DataFrame({"f1": [1]}), "other")
    assert "<span hidden>A &lt;b&gt;</span> Simulated data." in display.Caption("A <b>", True, True).html()
    assert "<span>A</span></figcaption>" in display.Caption("A").html()


def test_the_numbers_of_a_figure_are_saved_with_it(project: Path) -> None:
    import matplotlib.pyplot as plt

    run, shares = make(), pd.DataFrame({"class": ["water"], "share": [0.25]})
    run.figure(plt.figure(), "shares", "Share of each class.", data=shares)
    record = runs.load(run.folder)
    assert [figure["name"] for figure in record.figures] == ["shares"]
    pd.testing.assert_frame_equal(record.table("shares"), shares)
    run.figure(plt.figure(), "all", "All shares.", data={"shares, of lakes": shares})
    pd.testing.assert_frame_equal(runs.load(run.folder).table("shares_of_lakes"), shares)


def test_published_numbers_are_not_called_simulated(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from eolab.data import catalog

    run = make()
    run.data(catalog.load()["toy_twin"])
    table = pd.DataFrame({"score": [0.5]})
    run.table(table, "ours", "Our scores.")
    run.table(table, "theirs", "Published scores.", published=True)
    said = capsys.readouterr().out
    assert "Our scores. Simulated data." in said
    assert "Published scores. Simulated" not in said


def test_a_store_speaks_for_its_data_set(project: Path) -> None:
    class Store:
        path = project / "store"
        metadata: ClassVar = {"dataset": "toy_twin", "simulated": True, "license": "CC0-1.0"}
        fingerprint: ClassVar = {"data": {"a": "1"}}

    run = make()
    run.data(Store())
    found = runs.load(run.folder).data[0]
    assert (found["name"], found["license"], found["simulated"]) == ("toy_twin", "CC0-1.0", True)
    assert run.simulated
    Store.fingerprint = {"data": {"a": "2"}}
    assert provenance.data(Store())["fingerprint"] != found["fingerprint"]


def test_a_data_set_that_is_not_there_has_no_fingerprint(project: Path) -> None:
    class Entry:
        name, simulated, layout, path = "toy", True, "", project / "none"
        metadata: ClassVar = {}

    assert provenance.data(Entry())["fingerprint"] == ""


def test_notebooks_of_a_new_clone_are_not_filtered(tmp_path: Path) -> None:
    """Regression: git ran nbstripout on 36 notebooks as a run began, and again until it had 20 s for it."""
    notebook, ran = tmp_path / "clone" / "a.ipynb", tmp_path / "ran"
    notebook.parent.mkdir()
    git = ("git", "-C", str(notebook.parent), "-c", "user.name=a", "-c", "user.email=a@b")
    notebook.with_name(".gitattributes").write_text("*.ipynb filter=notebooks\n")
    notebook.write_text("code\n")
    for command in ("init -q", "add .", "commit -qm first"):
        subprocess.run([*git, *command.split()], check=True)
    keep = f"touch '{ran}'; sed /output/d"
    subprocess.run([*git, "config", "filter.notebooks.clean", keep], check=True)
    os.utime(notebook, (1, 1))  # git has to look into it
    assert provenance._git(notebook.parent)["dirty"] is False
    assert not ran.exists()
    notebook.write_text("code\noutput\n")
    subprocess.run([*git, "add", "."], check=True)
    os.utime(notebook, (2, 2))
    assert provenance._git(notebook.parent)["dirty"] is False  # outputs do not count
    notebook.write_text("other code\n")
    assert provenance._git(notebook.parent)["dirty"] is True


def test_an_input_is_the_newest_finished_run(project: Path) -> None:
    with pytest.raises(RunError, match="eolab run mini --only 01_make"):
        use().input("made")
    old = make(count=1)
    old.finish()
    time.sleep(0.01)
    new = make(count=2)
    folders.update_record(new.folder, simulated=True)
    new.finish()
    make(count=9)  # never finished
    run = use()
    assert run.input("made") == new.folder
    assert run.simulated, "what is made from simulated data is simulated"
    assert runs.load(run.folder).record["upstream"]["made"]["run"] == new.folder.name
    assert use(made=str(old.folder)).input("made") == old.folder
    with pytest.raises(ParameterError, match="did you mean 'made'"):
        run.input("mad")
    assert runs.latest("mini", "01_make", count=1) == old.folder
    with pytest.raises(RunError, match="count=7"):
        runs.latest("mini", "01_make", count=7)


def test_collect_gathers_finished_runs(project: Path) -> None:
    for count in (1, 2):
        run = make(count=count)
        run.metrics({"test": {"f1": count / 10}, "seed": 99})
        run.finish()
    make(count=3)
    table = runs.collect("mini", "01_make")
    assert table["count"].tolist() == [1, 2]
    assert table["test.f1"].tolist() == [0.1, 0.2]
    assert table["seed"].tolist() == [0, 0]
    assert table["metrics.seed"].tolist() == [99, 99]
    assert len(runs.collect("mini", "01_make", count=2)) == 1


def test_set_options(project: Path) -> None:
    mini = study.load("mini")
    found = chain.settings(mini, ["seed=3", "02_use.factor=1e-2", "bands=[B02, B8A]"])
    assert found["01_make"] == {"seed": 3}
    assert found["02_use"] == {"seed": 3, "factor": 0.01, "bands": ["B02", "B8A"]}
    for text, sentence in [
        ("sead=3", "did you mean 'seed'"),
        ("03_use.seed=3", "did you mean '02_use'"),
        ("01_make.factor=3", "no parameter 'factor'"),
        ("seed", "key=value"),
        ("fail=maybe", "'fail' must be bool"),
    ]:
        with pytest.raises(ParameterError, match=sentence):
            chain.settings(mini, [text])


GROUP = """\
training: dict = {
    "epochs": 3,  # passes over the samples
    "rate": 0.1,  # learning rate
    "optimizer": "adam",  # one of: adam, sgd
    "more": {},  # anything
}  # how it is trained"""


@pytest.fixture
def grouped(project: Path) -> Path:
    """The miniature study, the first notebook with a group of parameters."""
    cells = [*miniature.MAKE]
    cells[1] = ("parameters", f"{miniature.MAKE_PARAMETERS}\n{GROUP}")
    nbformat.write(miniature.notebook(cells), project / "notebooks/mini/01_make.ipynb")
    return project


def rewrite(project: Path, **blocks: object) -> study.Study:
    file = project / "notebooks/mini/study.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(miniature.STUDY) | blocks))
    return study.load("mini")


def test_a_group_is_set_key_by_key(grouped: Path) -> None:
    profiles = {"smoke": {"01_make": {"training": {"epochs": 2, "rate": 1}}}}
    mini = rewrite(grouped, profiles=profiles)
    settings = chain.settings(mini, ["training.epochs=9", "01_make.training.optimizer=sgd"])
    assert settings["01_make"] == {"training.epochs": 9, "training.optimizer": "sgd"}
    assert chain.settings(mini, ["training={epochs: 9}"])["01_make"] == {"training.epochs": 9}
    (job, _) = chain.plan(mini, chain.Options(grouped / "runs", "smoke", settings))
    whole = {"epochs": 9, "rate": 1.0, "optimizer": "sgd", "more": {}}
    assert execute._description(job, job.folder)["values"] == {"training": whole}
    record = execute._description(job, job.folder)["record"]
    assert record["parameters"] == {"count": 3, "seed": 0, "training": whole}
    assert record["defaults"]["training"]["epochs"] == 3
    (plain, _) = chain.plan(mini, chain.Options(grouped / "runs", "smoke"))
    assert plain.folder != job.folder


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("training.epoch=3", "did you mean 'training.epochs'"),
        ("training={epoch: 3}", "has no key 'epoch': did you mean 'epochs'"),
        ("trainin.epochs=3", "did you mean 'training.epochs'"),
        ("training.epochs=many", "'training.epochs' must be int, found 'many'"),
        ("training.optimizer=adm", "cannot be 'adm': did you mean 'adam'"),
        ("training=3", "'training' must be dict"),
    ],
)
def test_a_wrong_key_of_a_group_is_refused(grouped: Path, text: str, sentence: str) -> None:
    with pytest.raises(ParameterError, match=sentence):
        chain.settings(study.load("mini"), [text])


def test_a_profile_with_a_wrong_key_is_refused(grouped: Path) -> None:
    for block in ({"training": {"epoch": 3}}, {"training.epoch": 3}):
        with pytest.raises(ParameterError, match=r"did you mean '(training\.)?epochs'"):
            rewrite(grouped, profiles={"smoke": {"01_make": block}})
    mini = rewrite(grouped, profiles={"smoke": {"all": {"training.epochs": 5}}})
    assert mini.values("01_make", "smoke") == {"training.epochs": 5}
    assert mini.values("02_use", "smoke") == {}


def test_a_notebook_gets_the_whole_group(grouped: Path) -> None:
    given = {"epochs": 5}
    run = make(training=given)
    assert given == {"epochs": 5, "rate": 0.1, "optimizer": "adam", "more": {}}
    record = runs.load(run.folder)
    assert record.params["training"] == given
    assert record.settings == {"count": 3, "seed": 0, **{f"training.{k}": v for k, v in given.items()}}
    run.finish()
    assert runs.collect("mini", "01_make")["training.epochs"].tolist() == [5]
    assert runs.latest("mini", "01_make", **{"training.epochs": 5}) == run.folder


def test_a_sweep_over_a_key_of_a_group(grouped: Path) -> None:
    published = [{"training.rate": 0.1, "paper F1": 0.5}]
    block = {
        "notebook": "01_make",
        "grid": {"training.rate": [0.1, 1e-2], "seed": [0, 1]},
        "table": {"rows": ["training.rate"], "metrics": ["f1"], "published": published},
    }
    mini = rewrite(grouped, sweeps={"rates": block})
    one = mini.sweep("rates")
    assert one.points[0] == {"training.rate": 0.1, "seed": 0}
    jobs = [
        chain.job(mini, mini.notebook("01_make"), chain.Options(grouped / "runs"), {}, p) for p in one.points
    ]
    assert len({job.folder for job in jobs}) == 4
    table = sweep.table_of_runs(one, jobs)
    table["status"], table["f1"] = "done", [0.1, 0.3, 0.5, 0.7]
    sweep._write(grouped / "runs/mini/sweeps/rates", one, table, sweep.in_numbers(one, table))
    found = runs.sweep_table("mini", "rates")
    assert found["training.rate"].tolist() == [0.1, 0.01]
    assert found["f1"].tolist() == pytest.approx([0.3, 0.5])
    assert found["paper F1"].fillna(-1).tolist() == [0.5, -1]
    block["table"] = {"rows": ["training.rat"]}
    with pytest.raises(ParameterError, match=r"01_make or of what it needs: 'training\.rat'"):
        rewrite(grouped, sweeps={"rates": block})


def test_a_run_folder_does_not_depend_on_where_it_is(project: Path, tmp_path: Path) -> None:
    mini = study.load("mini")
    one = chain.plan(mini, chain.Options(tmp_path / "one"))
    other = chain.plan(mini, chain.Options(tmp_path / "other", profile=None))
    assert [job.folder.name for job in one] == [job.folder.name for job in other]
    changed = chain.plan(mini, chain.Options(tmp_path / "one", settings={"01_make": {"count": 8}}))
    assert changed[1].folder != one[1].folder, "another upstream run is another run"


def test_an_input_is_the_upstream_run_or_set_by_hand(project: Path) -> None:
    mini = study.load("mini")
    made, used = chain.plan(mini, chain.Options(project / "runs", "smoke"))
    assert made.upstream == {}
    assert used.upstream == {"made": made.folder}
    assert used.values == {"seed": 7, "factor": 0.1}
    by_hand = chain.Options(project / "runs", settings={"02_use": {"made": "/elsewhere/run-1"}})
    (alone,) = chain.plan(mini, by_hand, ["02_use"])
    assert alone.upstream == {"made": Path("/elsewhere/run-1")}


def test_only_needs_a_finished_upstream_run(project: Path) -> None:
    with pytest.raises(RunError, match=r"mini/02_use needs a run of 01_make"):
        chain.plan(study.load("mini"), chain.Options(project / "runs"), ["02_use"])


# === Real runs through papermill ===


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    root = miniature.build(tmp_path_factory.mktemp("ran"))
    return root, miniature.eolab(root, "run", "mini", "--profile", "smoke", "--set", "count=5")


@pytest.mark.notebook
def test_a_chain_runs(ran: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    root, done = ran
    assert done.returncode == 0, done.stdout + done.stderr
    made, used = (history.load(next((root / "runs/mini" / n).iterdir())) for n in ("01_make", "02_use"))
    assert made.params == {"count": 5, "seed": 7}
    assert made.folder.name.startswith("smoke-")
    assert used.metrics["test"] == {"f1": pytest.approx(0.05), "empty": None}
    assert used.params["made"] == str(made.folder)
    assert used.record["upstream"]["made"]["ended"] == made.record["ended"]
    assert used.simulated, "simulated data upstream make this run simulated"
    assert used.environment["variables"]["EOLAB_HEADLESS"] == "1"
    assert "IPKernelApp" not in done.stderr
    assert made.path("left_open.txt").read_text() == "5\n", "a kernel ends in order"
    for name in ("02_use.ipynb", "report.html", "figures/line.png", "tables/scores.csv"):
        assert used.path(name).stat().st_size > 10
    assert (root / "runs/mini/report.html").is_file()


@pytest.mark.notebook
def test_what_is_done_is_skipped_until_upstream_changes(
    ran: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    root, _ = ran
    _, again = miniature.command(root, "run", "mini", "--profile", "smoke", "--set", "count=5")
    assert again.count("finished before, skipped") == 2
    attempts = next((root / "runs/mini/01_make").glob("*/attempts.txt"))
    assert len(attempts.read_text().split()) == 1
    folders.update_record(attempts.parent, ended=folders.now())
    _, jobs_again = miniature.command(root, "run", "mini", "--profile", "smoke", "--set", "count=5")
    assert jobs_again.count("finished before, skipped") == 1
    assert "02_use" in jobs_again.partition("started")[0]


@pytest.mark.notebook
def test_a_failing_notebook_says_where_it_failed(ran: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    root, _ = ran
    status, said = miniature.command(root, "run", "mini", "--only", "02_use", "--set", "fail=true")
    assert status == 1
    assert "FAILED mini/02_use in cell In [7]: ValueError: expected 12 bands, found 3" in said
    run = next(r for r in history.records("mini", "02_use", root / "runs") if r.params["fail"])
    assert run.status == "failed"
    assert run.record["failed"]["cell"] == 7
    assert run.path("02_use.ipynb").is_file()
    report = run.path("report.html").read_text()
    assert "02_use failed in cell In [7]" in report


@pytest.mark.parametrize(("status", "started"), [("failed", ["a", "c"]), ("stopped", ["a"])])
def test_a_failed_notebook_stops_those_that_need_it_alone(status, started, tmp_path, monkeypatch) -> None:
    upstream = {"a": {}, "b": {"made": tmp_path / "a"}, "c": {}, "d": {"used": tmp_path / "b"}}
    jobs = [
        SimpleNamespace(folder=tmp_path / name, upstream=one, label=name, values={})
        for name, one in upstream.items()
    ]
    ran: list[str] = []
    monkeypatch.setattr(chain, "plan", lambda *_: jobs)
    monkeypatch.setattr(chain, "note", lambda *_: None)
    monkeypatch.setattr(chain, "_old_inputs", lambda *_: [])
    monkeypatch.setattr(
        chain, "step", lambda job, *_: ran.append(job.label) or "skipped" * (job.label != "a")
    )
    monkeypatch.setattr(execute, "is_done", lambda _: True)
    monkeypatch.setattr(chain.history, "RunRecord", lambda _: SimpleNamespace(status=status))
    said: list[str] = []
    assert not chain.run(None, chain.Options(tmp_path), say=said.append)
    assert ran == started
    assert (
        said
        == [
            "2/4 b: left out, as it needs a, which is not done",
            "4/4 d: left out, as it needs b, which is not done",
        ][: 2 * (status == "failed")]
    )


def test_notebooks_that_do_not_need_each_other_run_at_once_the_longest_row_first(
    tmp_path, monkeypatch
) -> None:
    upstream = {"a": "", "b": "", "c": "b", "d": "b", "e": "d"}
    jobs = [
        SimpleNamespace(folder=tmp_path / name, upstream={"x": tmp_path / up} if up else {}, label=name)
        for name, up in upstream.items()
    ]
    both, began = threading.Barrier(2), []

    def work(job: SimpleNamespace, counter: str) -> str:
        began.append(f"{counter}{job.label}")
        if job.label in ("a", "b"):
            both.wait(10)
        return "skipped"

    workers, left = chain.Workers(2, work, execute.stop), timing.Left([], 2)
    done = chain.run_all(jobs, (), workers, left, lambda _: None, print)
    assert {folder.name for folder in done} == set(upstream)
    assert began[0] == "2/5 b"
    assert began.index("4/5 d") < began.index("3/5 c")


def test_a_point_of_a_sweep_that_is_stopped_ends_no_other(tmp_path, monkeypatch) -> None:
    """A worker of a cluster that was told to end ended the whole sweep."""
    monkeypatch.setattr(history.RunRecord, "status", "stopped")
    jobs = [SimpleNamespace(folder=tmp_path / name, upstream={}, label=name) for name in "abc"]
    workers = chain.Workers(1, lambda job, _: "" if job.label == "a" else "skipped", execute.stop)
    done = chain.run_all(jobs, (), workers, timing.Left([], 1), lambda _: None, print)
    assert {folder.name for folder in done} == {"b", "c"}


@pytest.mark.notebook
def test_a_cell_over_its_time_fails(tmp_path: Path) -> None:
    root = miniature.build(tmp_path)
    (root / "hold").touch()
    status, said = miniature.command(root, "run", "mini", "--only", "01_make", "--timeout", "1")
    assert status == 1
    assert "longer than the time limit" in said


@pytest.mark.parametrize("saved", ["whole", "cut off", "nothing"])
def test_an_end_that_no_cell_reports_is_recorded_whatever_was_saved(saved: str, tmp_path: Path) -> None:
    """A full disk leaves half a notebook or none: the record says what happened all the same."""
    output = tmp_path / "01_make.ipynb"
    before = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("work()")])
    text = nbformat.writes(before)
    if saved != "nothing":
        output.write_text(text if saved == "whole" else text[:40])
    progress = worker.Progress("01_make", 1)
    cell = nbformat.v4.new_code_cell("work()", outputs=[nbformat.v4.new_output("stream", text="half done")])
    progress.start(cell, 0)
    failed = worker._broken(OSError(28, "No space left on device"), progress, output)
    progress.running = None  # its thread would print the cell's line into whatever test runs next
    assert "no space left on device" in str(failed).lower()
    assert "work()" in str(failed)
    if saved == "whole":  # with what the cell printed since the notebook was saved
        printed, error = nbformat.read(output, as_version=4).cells[0].outputs
        assert (printed.text, error.ename) == ("half done", "OSError")


def wait_for(condition: object, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.notebook
def test_a_stopped_run_goes_on_in_its_folder(tmp_path: Path) -> None:
    """Killed without warning, then ended in order, then left to run to its end."""
    root = miniature.build(tmp_path)
    (root / "hold").touch()
    folder = stopped_run(root, signal.SIGKILL, attempt=1)
    assert stopped_run(root, signal.SIGTERM, attempt=2) == folder
    (root / "hold").unlink()
    status, said = miniature.command(root, "run", "mini", "--only", "01_make")
    assert status == 0, said
    assert list((root / "runs/mini/01_make").iterdir()) == [folder]
    assert len(kernels_in(root)) == 3
    assert history.load(folder).status == "done"


def stopped_run(root: Path, how: signal.Signals, attempt: int) -> Path:
    """Start the first notebook, stop its runner while the kernel works, and return the run folder.

    The notebook runs as users have it, without the processes that other tests share; none is left.
    """
    mark = f"of-{root.name}-{os.getpid()}-{attempt}"
    environment = miniature.environment(root) | {"JUPYTER_PATH": "", "MARK": mark}
    command = [sys.executable, "-m", "eolab.cli", "run", "mini", "--only", "01_make"]
    runner = subprocess.Popen(command, env=environment)
    wait_for(lambda: len(kernels_in(root)) == attempt)
    if sys.platform == "linux":  # the command, its worker, the kernel, and what forks where that is safe
        assert len(miniature.processes(mark)) == 3 + warm._possible(environment, root)
    runner.send_signal(how)
    assert runner.wait(60) == (130 if how == signal.SIGTERM else -how)
    wait_for(lambda: not alive(kernels_in(root)[-1]) and not miniature.processes(mark))
    (folder,) = (root / "runs/mini/01_make").iterdir()
    wait_for(lambda: history.load(folder).status == "stopped")
    return folder


def kernels_in(root: Path) -> list[int]:
    """Return the processes that have worked on the first notebook so far."""
    files = (root / "runs/mini/01_make").glob("*/attempts.txt")
    return [int(line) for file in files for line in file.read_text().split()]
