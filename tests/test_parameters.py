from __future__ import annotations

import re
from pathlib import Path

import miniature
import nbformat
import pytest
from papermill import inspect_notebook
from parameters_lint import lint

from eolab.core import yamls
from eolab.core.errors import ParameterError
from eolab.runs import parameters, study
from eolab.runs.parameters import Parameter


def written(tmp_path: Path, *sources: str) -> Path:
    path = tmp_path / "book.ipynb"
    nbformat.write(miniature.notebook([("parameters", source) for source in sources]), path)
    return path


def test_reads_what_papermill_reads(tmp_path: Path) -> None:
    path = written(tmp_path, miniature.USE_PARAMETERS)
    theirs = inspect_notebook(path)
    ours = parameters.read(path)
    assert [p.name for p in ours] == list(theirs)
    assert [p.type for p in ours] == [t["inferred_type_name"] for t in theirs.values()]
    assert [p.help for p in ours] == [t["help"] for t in theirs.values()]
    assert lint(path) == []


def test_choices_come_from_the_help(tmp_path: Path) -> None:
    path = written(tmp_path, "size: int = 10  # edge in metres, one of: 10, 20 or 60; larger is faster")
    assert parameters.read(path)[0].choices == ("10", "20", "60")


def test_a_group_is_a_dict_over_several_lines_with_the_help_of_each_key(tmp_path: Path) -> None:
    source = """\
seed: int = 0  # seed
training: dict = {
    "epochs": 24,  # most epochs
    "optimizer": "adam",  # one of: sgd, adam
    "options": {"a": 1},  # of the schedule
}  # how it is trained
model: str = "lstm"  # network"""
    path = written(tmp_path, source)
    assert lint(path) == []
    _, training, _ = ours = parameters.read(path)
    assert training.default == {"epochs": 24, "optimizer": "adam", "options": {"a": 1}}
    assert [(key.name, key.type) for key in training.keys] == [
        ("training.epochs", "int"),
        ("training.optimizer", "str"),
        ("training.options", "dict"),
    ]
    assert training.keys[1].choices == ("sgd", "adam")
    assert training.help == inspect_notebook(path)["training"]["help"] == "how it is trained"
    assert parameters.check(ours, {"training": {"epochs": 2}, "seed": 1}, "book") == {
        "seed": 1,
        "training.epochs": 2,
    }


def test_an_open_group_takes_further_keys_of_any_type_and_a_closed_one_none(tmp_path: Path) -> None:
    """Regression: of a network's options only head and width could be set."""
    source = """\
options: dict = {
    "head": "mask",  # one of: mask, multi
    "width_multiplier": 0.5,  # width
}  # any option of the network, these and others
training: dict = {
    "epochs": 24,  # most epochs
}  # how it is trained"""
    path = written(tmp_path, source)
    assert lint(path) == []
    ours = parameters.read(path)
    given = {"options": {"levels": 3, "head": "multi"}, "options.rates": [1, 2]}
    found = parameters.check(ours, given, "book")
    assert found == {"options.head": "multi", "options.levels": 3, "options.rates": [1, 2]}
    whole = {"head": "multi", "width_multiplier": 0.5, "levels": 3, "rates": [1, 2]}
    assert parameters.nested(ours, found) == {"options": whole}
    known = parameters.by_name(ours)
    assert "options.levels" in known
    assert "option.levels" not in known
    assert [known["options.any"].parse(text) for text in ("3", "[a, 2]", "wide", "false")] == [
        *(3, ["a", 2], "wide", False)
    ]
    assert {name: p.default for name, p in known.items() if not p.keys} == {
        "options.head": "mask",
        "options.width_multiplier": 0.5,
        "training.epochs": 24,
    }
    for values in ({"training": {"epoch": 3}}, {"training.epoch": 3}):
        with pytest.raises(ParameterError, match=r"epoch.*did you mean 'training.epochs'|no key 'epoch'"):
            parameters.check(ours, values, "book")
    with pytest.raises(ParameterError, match="cannot be 'mulit': did you mean 'multi'"):
        parameters.check(ours, {"options.head": "mulit"}, "book")


RANGES = """\
share: float = 0.2  # share, above 0, below 1
side: float = 0.0  # side in metres, at least 10, or 0 for a tenth of the scene
margin: int = 8  # pixels, at least 0, -1 for all
codes: list = [4, 5]  # clear codes, at least one of: 4, 5, 6
radar: list = []  # channels, empty for none, any of: VV, VH
rates: list = [0.1]  # rates, above 0, at most 1
# any of: lstm, tempcnn
models: list = ["lstm"]  # networks
training: dict = {
    # at least 1
    "epochs": 3,  # passes
}  # how
weights: str = "map"  # weights in the loss, empty for none, one of: map, balanced
loss: dict = {"focal": 0.5}  # weights of losses, above 0, at least one of: focal, iou
note: str = "x"  # at least 3 letters, 0 for none"""


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"share": 0.0},
            r"book: Parameter 'share' cannot be 0.0: expected a number above 0 and below 1 \(sha",
        ),
        ({"share": 1}, "cannot be 1.0"),
        ({"side": 1e-9}, "expected a number at least 10, or 0"),
        ({"margin": -2}, "expected a number at least 0, or -1"),
        ({"codes": []}, "Parameter 'codes' cannot be empty: give at least one of 4, 5, 6"),
        ({"codes": [4.5]}, "Parameter 'codes' cannot hold 4.5: .*Known: 4, 5, 6"),
        ({"codes": [4, True]}, "cannot hold True"),
        ({"radar": ["VX"]}, "cannot hold 'VX'.*Known: VH, VV"),
        ({"rates": [0.1, 2]}, "cannot hold 2: expected a number above 0 and at most 1"),
        ({"rates": ["0.1"]}, "cannot hold '0.1': expected a number"),
        ({"models": ["lstn"]}, "cannot hold 'lstn': did you mean 'lstm'"),
        ({"training.epochs": 0}, "cannot be 0: expected a number at least 1"),
        ({"weights": "mop"}, "cannot be 'mop': did you mean 'map'"),
        ({"loss": {}}, "cannot be empty"),
        ({"loss": {"dice": 1}}, "cannot hold 'dice'"),
        ({"loss": {"iou": -1}}, "cannot hold -1: expected a number above 0"),
    ],
)
def test_a_value_out_of_the_range_in_the_help_is_refused(tmp_path: Path, values: dict, sentence: str) -> None:
    """Regression: no code that counts as clear, blocks of 1e-9 m, codes of 4.5 were taken without a word."""
    with pytest.raises(ParameterError, match=sentence):
        parameters.check(parameters.read(written(tmp_path, RANGES)), values, "book")


def test_values_in_their_range_and_those_with_a_meaning_of_their_own_are_taken(tmp_path: Path) -> None:
    given = {"share": 0.9, "side": 0.0, "margin": -1, "codes": [6], "radar": [], "rates": [], "weights": ""}
    given |= {"loss": {"focal": 1, "iou": 0.1}}
    path = written(tmp_path, RANGES)
    assert lint(path) == []
    assert parameters.check(parameters.read(path), given, "book") == given
    assert parameters.check(parameters.read(path), {"side": 10}, "book") == {"side": 10.0}
    wrong = written(tmp_path, "epochs: int = 0  # epochs, at least 1")
    with pytest.raises(ParameterError, match="default that does not fit"):
        parameters.read(wrong)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ('t: dict = {\n    "a": 1,\n}  # group', "without help"),
        ('t: dict = {\n    "a": 1,  # one\n}', "without help"),
        ('t: dict = {\n    "a": 1, "b": 2,  # two\n}  # group', "two keys of a dict on one line"),
        ("t: dict = {\n    1: 1,  # one\n}  # group", "line that is not"),
        ('t: dict = {\n    "a": None,  # one\n}  # group', "none of int"),
        ('t: dict = {\n    "a": "c",  # one of: a, b\n}  # group', "does not fit"),
        ('t: dict = {\n    "a": 1,  # x=1\n}  # group', "papermill"),
        ("steps: int = 2 * 3 + len('a')  # steps", "derived"),
        ("epochs: int = 3", "without help"),
        ("epochs = 3  # passes", "not 'name: type = literal"),
        ("epochs: int | None = None  # passes", "none of int, float"),
        ("epochs: int  # passes", "without a default"),
        ("a: int = 1; b: int = 2  # two", "papermill"),
        ("bands: list = [\n    'B02',\n]  # bands", "over several lines"),
        ("query: str = 'a=b'  # filter", "papermill"),
        ("tag: str = 'a # b'  # tag", "papermill"),
        ("epochs: int = 3  # passes, at lr=0.1", "papermill"),
        ("epochs: int = 'three'  # passes", "does not fit"),
        ("mode: str = 'c'  # way, one of: a, b", "does not fit"),
        ("colours: dict = {1: 'red'}  # colours", "keys of a dict"),
        ("epochs: int = 3  # passes\nepochs: int = 4  # passes", "twice"),
        ("epochs: int = = 3", "not valid Python"),
        ("import os", "not 'name: type = literal"),
    ],
)
def test_lint_finds(tmp_path: Path, source: str, problem: str) -> None:
    found = lint(written(tmp_path, source))
    assert found
    assert any(re.search(problem, sentence) for sentence in found), found


def test_lint_wants_one_tagged_cell(tmp_path: Path) -> None:
    assert "found 0" in lint(written(tmp_path))[0]
    assert "found 2" in lint(written(tmp_path, "a: int = 1  # a", "b: int = 1  # b"))[0]


DECLARED = [
    Parameter("epochs", "int", 3, "passes"),
    Parameter("rate", "float", 0.1, "learning rate"),
    Parameter("flag", "bool", True, "switch"),
    Parameter("bands", "list", ["B02"], "bands"),
    Parameter("model", "str", "lstm", "network", ("lstm", "ltae")),
]


def test_an_unknown_name_is_refused_with_a_suggestion() -> None:
    with pytest.raises(ParameterError, match=r"book has no parameter 'epoch': did you mean 'epochs'\?"):
        parameters.check(DECLARED, {"epoch": 3}, "book")


@pytest.mark.parametrize(
    "values",
    [
        {"flag": "false"},
        {"flag": 1},
        {"epochs": True},
        {"epochs": 3.0},
        {"epochs": "3"},
        {"rate": "0.1"},
        {"rate": float("nan")},
        {"bands": ("B02",)},
        {"bands": [object()]},
        {"model": "lstn"},
    ],
)
def test_a_changed_type_or_choice_is_refused(values: dict) -> None:
    with pytest.raises(ParameterError, match=next(iter(values))):
        parameters.check(DECLARED, values, "book")


def test_whole_numbers_are_taken_for_floats() -> None:
    checked = parameters.check(DECLARED, {"rate": 1}, "book")
    assert checked == {"rate": 1.0}
    assert type(checked["rate"]) is float


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("epochs", "5", 5),
        ("rate", "1e-3", 0.001),
        ("rate", "2", 2.0),
        ("flag", "false", False),
        ("flag", "False", False),
        ("bands", "[B02, B03]", ["B02", "B03"]),
        ("bands", "[1e-3, 2]", [0.001, 2]),
        ("bands", "[2019-07-01, 2019-08-31]", ["2019-07-01", "2019-08-31"]),  # was refused: days of YAML
        ("model", "ltae", "ltae"),
        ("model", "'ltae'", "ltae"),
    ],
)
def test_text_of_the_command_line_is_read_by_type(name: str, text: str, value: object) -> None:
    parameter = next(p for p in DECLARED if p.name == name)
    assert parameter.parse(text) == value


def test_text_parameters_stay_text() -> None:
    version = Parameter("version", "str", "", "version")
    assert version.parse("1.10") == "1.10"
    assert version.parse("no") == "no"


def test_numbers_that_are_keys_are_read_as_text() -> None:
    """As JSON writes them: layers thaw by epoch."""
    thaw = Parameter("training.thaw", "dict", {}, "layers that learn from an epoch on")
    for text in ("{5: '*', '8': 3}", '{5: "*", "8": 3}'):
        assert thaw.parse(text) == {"5": "*", "8": 3}


@pytest.mark.parametrize("text", ["yes please", "0", "{"])
def test_text_of_another_type_is_refused(text: str) -> None:
    with pytest.raises(ParameterError, match="flag"):
        DECLARED[2].parse(text)


def test_yaml_reads_small_numbers_and_refuses_repeated_keys() -> None:
    assert yamls.loads("{rate: 1e-3, name: e5}") == {"rate": 0.001, "name": "e5"}
    with pytest.raises(yamls.yaml.YAMLError, match="twice"):
        yamls.loads("a: 1\na: 2")


def test_study(project: Path) -> None:
    mini = study.load("mini")
    assert study.names() == ["mini"]
    assert list(mini.notebooks) == ["01_make", "02_use"]
    assert mini.notebook("02_use").inputs == {"made": "01_make"}
    assert mini.values("01_make", "smoke") == {"seed": 7}
    assert mini.values("02_use", "smoke") == {"seed": 7, "factor": 0.1}
    assert mini.values("02_use", None) == {}
    points = mini.sweep("factors").points
    assert len(points) == 4
    assert {"factor": 2.0, "mode": "b"} in points


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("profiles:", "profile:", r"unknown key 'profile': did you mean 'profiles'"),
        (
            "02_use:\n    inputs",
            "02_used:\n    inputs",
            r"has no file .*02_used.ipynb: did you mean '02_use'",
        ),
        ("made: 01_make", "made: 01_maker", r"comes from no earlier notebook '01_maker'"),
        ("made: 01_make", "mad: 01_make", r"no parameter 'mad': did you mean 'made'"),
        ("factor: 1e-1", "factr: 1e-1", r"no parameter 'factr': did you mean 'factor'"),
        ("factor: 1e-1", "factor: high", r"'factor' must be float, found 'high'"),
        ("all: {seed: 7}", "all: {sead: 7}", r"no notebook has a parameter 'sead'"),
        ("02_use: {factor", "02_us: {factor", r"names no notebook of the study '02_us'"),
        ("mode: [a, b]", "mode: [a, c]", r"'mode' cannot be 'c'"),
        ("mode: [a, b]", "mode: a", r"must be a list of values"),
        ("rows: [factor]", "rows: [factr]", r"parameter of 02_use or of what it needs: 'factr'"),
        ("notebook: 02_use", "notebook: 03_use", r"names no notebook of the study '03_use'"),
        ("notebooks:", "notebooks: {", r"is no YAML"),
        (
            "notebooks:",
            "title: again\nnotebooks:",
            r"study.yaml is no YAML: the key 'title' is written twice .line",
        ),
    ],
)
def test_a_wrong_study_file_is_refused(project: Path, old: str, new: str, sentence: str) -> None:
    file = project / "notebooks" / "mini" / "study.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(ParameterError, match=sentence):
        study.load("mini")


def test_an_unknown_study_profile_or_sweep_is_refused(project: Path) -> None:
    with pytest.raises(ParameterError, match=r"no study 'mimi'.*did you mean 'mini'"):
        study.load("mimi")
    with pytest.raises(ParameterError, match=r"no profile 'smok'.*did you mean 'smoke'"):
        study.load("mini").values("01_make", "smok")
    with pytest.raises(ParameterError, match="no sweep 'factor'"):
        study.load("mini").sweep("factor")
