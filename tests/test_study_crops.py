"""A study from outside: notebooks, a study.yaml, a reader and the four functions are all that it takes."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
import study_runs
from code_counting import code_lines

from eolab.runs import parameters

HERE = Path(__file__).parent / "crops"
ROOT = HERE.parents[1]


def notebook_code(path: Path) -> str:
    cells = json.loads(path.read_text())["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def test_a_study_takes_at_most_150_lines_of_python():
    """Counted are the module and the code of the notebooks; the twin stands for the data of a user."""
    notebooks = [notebook_code(path) for path in sorted(HERE.rglob("*.ipynb"))]
    count = code_lines((HERE / "crops.py").read_text()) + sum(map(code_lines, notebooks))
    assert count <= 150, count


def test_its_training_takes_every_option_though_it_names_four():
    declared = parameters.read(HERE / "notebooks" / "crops" / "03_train.ipynb")
    known = parameters.by_name(declared)
    assert [known[f"training.{name}"].parse(text) for name, text in (("ema", "0.9"), ("freeze", "2"))] == [
        0.9,
        2,
    ]
    assert "trainng.ema" not in known


@pytest.mark.notebook
def test_it_runs_from_its_twin_to_its_report(tmp_path, monkeypatch):
    project = tmp_path / "project"
    shutil.copytree(HERE, project)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(project), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.syspath_prepend(project)  # the catalogue names its reader
    place = {"EOLAB_ROOT": str(project), "EOLAB_RUNS": str(project / "runs")}
    study_runs.eolab("run", "crops", "--profile", "smoke", **place)
    assert (project / "runs/crops/report.html").stat().st_size > 100_000
    (run,) = (project / "runs/crops/03_train").glob("smoke-*")
    scores = pd.read_csv(run / "tables/scores.csv")
    f1 = scores[(scores["scope"] == "macro") & (scores["statistic"] == "f1")].set_index("model")
    assert f1.loc["tempcnn", "low"] > f1.loc["majority", "high"]
    assert f1.loc["tempcnn", "value"] > 0.8
    assert json.loads((run / "metrics.json").read_text())["test"]["macro"]["f1"] == pytest.approx(
        f1.loc["tempcnn", "value"]
    )
