"""Runs told apart by what they are named after, and sweep points that stand in nobody's way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eolab import runs
from eolab.runs import folders

USUAL: dict[str, Any] = {
    "model": "convlstm",
    "preprocessed": "",
    "radar": ["VH"],
    "optical": ["B04", "B03"],
    "join": "union",
    "options": {"l": 1},
    "n_examples": 2,
    "training": {"epochs": 3, "schedule": {}},
}


def a_run(root: Path, name: str, params: dict[str, Any], ended: str = "1", sweep: str = "") -> runs.RunRecord:
    folder = root / "flood" / "03_train" / name
    folder.mkdir(parents=True)
    moment = f"2026-01-01T00:00:0{ended}+00:00"
    record = {"study": "flood", "notebook": "03_train", "status": "done", "sweep": sweep}
    record |= {"started": moment, "ended": moment}
    folders.write_json(
        folder / folders.RECORD,
        record | {"upstream": {"preprocessed": {"run": "one"}}, "groups": ["training"], "parameters": params},
    )
    return runs.load(folder)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "convlstm"),
        ({"model": "utae"}, "utae"),
        ({"join": "late", "radar": ["VV", "VH"]}, "convlstm (radar VV+VH, join late)"),
        ({"optical": []}, "convlstm (optical none)"),
        ({"options": {}}, "convlstm (options as they are)"),
        ({"options": {"filters": 2, "pool": "mean"}}, "convlstm (options filters=2+pool=mean)"),
        ({"training": {"epochs": 3, "schedule": {"pace": 2}}}, "convlstm (schedule pace=2)"),
        ({"training": {"epochs": 4, "schedule": {}}}, "convlstm (epochs 4)"),
        ({"n_examples": 0}, "convlstm"),  # changes no score
        ({"preprocessed": "a folder"}, "convlstm"),  # an input
    ],
)
def test_a_run_is_named_by_what_sets_it_apart(tmp_path, changes, name):
    usual = a_run(tmp_path, "usual", USUAL)
    assert list(runs.named([a_run(tmp_path, "other", USUAL | changes)], usual)) == [name]


def test_a_name_can_begin_with_another_parameter(tmp_path):
    usual = a_run(tmp_path, "usual", USUAL)
    others = [
        a_run(tmp_path, "one", USUAL | {"join": "late"}),
        a_run(tmp_path, "two", USUAL | {"optical": []}),
    ]
    assert list(runs.named([usual, *others], usual, "join")) == ["union", "late", "union (optical none)"]


def test_a_parameter_that_an_older_run_did_not_have_sets_nothing_apart(tmp_path):
    usual = a_run(tmp_path, "usual", USUAL)
    older = a_run(tmp_path, "older", {key: value for key, value in USUAL.items() if key != "join"})
    assert list(runs.named([older], usual)) == ["convlstm"]
    assert list(runs.named([usual], older)) == ["convlstm (join union)"]


def test_two_runs_of_one_model_are_two_and_of_one_name_the_newer_counts(tmp_path):
    """Results showed the newest point of any sweep under the name of the study's own network."""
    usual = a_run(tmp_path, "usual", USUAL, "1")
    a_run(tmp_path, "again", USUAL, "2")
    a_run(tmp_path, "pad", USUAL | {"join": "pad"}, "3")
    found = runs.named(runs.records("flood", "03_train", tmp_path), usual)
    assert {name: run.folder.name for name, run in found.items()} == {
        "convlstm (join pad)": "pad",
        "convlstm": "again",
    }


def test_a_point_of_a_sweep_is_the_latest_only_where_nothing_else_is(tmp_path):
    """Notebooks opened by hand took the newest point of a sweep for the trained network."""
    point = a_run(tmp_path, "point", USUAL | {"join": "pad"}, "2", sweep="fusion")
    assert runs.latest("flood", "03_train", root=tmp_path) == point.folder
    own = a_run(tmp_path, "own", USUAL, "1")
    assert runs.latest("flood", "03_train", root=tmp_path) == own.folder
    assert runs.latest("flood", "03_train", root=tmp_path, join="pad") == point.folder


def test_seeds_are_counted_a_setting_and_said(tmp_path):
    """A table of one seed a model was read as if the order of models were certain."""

    def said(*params):
        found = [a_run(tmp_path, f"{len(params)}-{n}", USUAL | one) for n, one in enumerate(params)]
        return runs.seeds_said(found)

    assert said({"seed": 0}).startswith("Each model was trained with one seed: ")
    few = said({"seed": 0}, {"seed": 1}, {"seed": 1, "n_examples": 0})
    assert few.startswith("Each model was trained with 2 seeds, which is too few")
    more = [{"seed": seed, "model": model} for seed in range(3) for model in ("convlstm", "utae")]
    assert said(*more) == "Each model was trained with 3 seeds."
    assert said(*more, {"seed": 0, "model": "tae"}).startswith("Each model was trained with 1 to 3 seeds, ")
