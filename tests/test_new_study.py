"""A study of one's own from the templates: its notebooks read like the others, and run on a twin at once."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import study_runs
import test_project
import yaml

from eolab import cli, tasks
from eolab.core.errors import ParameterError
from eolab.runs import parameters, study
from eolab.studies import new

LINT = (
    test_project.test_notebooks_read_like_pages,
    test_project.test_notebooks_use_names_that_are_there,
    test_project.test_at_most_a_quarter_of_a_notebook_keeps_records,
    test_project.test_values_are_asked_for_in_captions_alone,
    test_project.test_each_figure_has_its_caption_and_each_caption_its_figure,
)
TWINS = yaml.safe_load((test_project.ROOT / "data_catalog.yaml").read_text())


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A folder that is no checkout, and holds a catalogue of its own alone."""
    (tmp_path / "data_catalog.yaml").write_text("meta: {root: .}\n")
    monkeypatch.setenv("EOLAB_ROOT", str(tmp_path))
    monkeypatch.setenv("EOLAB_CATALOG", "")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("task", new.tasks())
def test_the_notebooks_of_each_task_read_like_those_of_the_studies(project, capsys, task):
    assert cli.main(["new-study", "mine", "--task", task]) == 0
    assert "Run it on its simulated data: eolab run mine" in capsys.readouterr().out
    loaded = study.load("mine")
    assert list(loaded.notebooks) == ["01_explore", "02_preprocess", "03_train", "04_results"]
    for notebook in loaded.notebooks.values():
        for check in LINT:
            check(notebook.path)
        declared = parameters.read(notebook.path)
        assert len(declared) <= 14
        assert {one.default for one in declared if one.name == "dataset"} <= set(TWINS)
        content = json.loads(notebook.path.read_text())
        for part in (content, content["metadata"], *content["cells"]):
            assert list(part) == sorted(part)
    values = {one.name: one.default for one in loaded.notebook("03_train").parameters}
    tasks.check(task, values["model"], options=values["options"], training=values["training"])
    twin = new.tasks()[task]["dataset"]
    written = yaml.safe_load((project / "data_catalog.yaml").read_text())[twin]
    assert written == TWINS[twin] | {"uri": f"data/{twin}"}


def test_a_folder_that_exists_an_unknown_task_and_a_bad_name_are_refused(project, capsys):
    (project / "notebooks/mine").mkdir(parents=True)
    assert cli.main(["new-study", "mine", "--task", "segmentation"]) == 2
    assert f"{project}/notebooks/mine exists already: give" in capsys.readouterr().err
    assert (project / "data_catalog.yaml").read_text() == "meta: {root: .}\n"
    with pytest.raises(ParameterError, match="no twin for a study of the task 'segmentaton': did you mean"):
        new.write("other", "segmentaton")
    with pytest.raises(ParameterError, match="'My-Study' has other signs than small letters"):
        new.write("My-Study", "segmentation")


def test_a_folder_without_any_catalogue_becomes_a_project(tmp_path, monkeypatch):
    monkeypatch.setenv("EOLAB_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    written = new.write("mine", "regression")
    assert [file.relative_to(tmp_path).as_posix() for file in written][:2] == [
        "data_catalog.yaml",
        "notebooks/mine/01_explore.ipynb",
    ]


@pytest.mark.parametrize("task", new.tasks())
def test_each_place_for_data_of_ones_own_is_marked(task):
    """Nothing in the notebooks said what was to be replaced."""
    study = new.tasks()[task]["study"]
    for title, text in new.notebooks("mine", task).items():
        for cell in json.loads(text)["cells"]:
            source = "".join(cell["source"])
            if cell["cell_type"] == "code" and f"{study}." in source:
                assert "# Replace: " in source, (title, source)


@pytest.mark.notebook
def test_a_new_study_runs_on_its_twin_from_the_files_to_the_report(project):
    small = {"clearing_twin": TWINS["clearing_twin"] | {"uri": "twin"}}
    small["clearing_twin"]["twin"] = {"writer": "clearing", "seed": 0, "size": 240, "dates": 5}
    (project / "data_catalog.yaml").write_text(yaml.safe_dump(small))
    new.write("mine", "image_classification")
    settings = ["model=shallow_cnn", "options={}", "training.epochs=2", 'baselines=["majority"]']
    place = {"EOLAB_ROOT": str(project), "EOLAB_RUNS": str(project / "runs")}
    study_runs.eolab("run", "mine", "--set", *settings, **place)
    (run,) = (project / "runs/mine/04_results").glob("smoke-*")
    assert json.loads((run / "metrics.json").read_text())["models"] == 2
    assert os.path.getsize(project / "runs/mine/report.html") > 50_000
