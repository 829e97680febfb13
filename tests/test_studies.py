"""Every study gives the four functions of the protocol, and its notebook of preprocessing calls them."""

from __future__ import annotations

import importlib
import inspect
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from eolab import runs
from eolab.data.store import ArraySpec
from eolab.studies import protocol

ROOT = Path(__file__).resolve().parents[1]
STUDIES = sorted(path.parent.name for path in (ROOT / "eolab" / "studies").glob("*/__init__.py"))
FUNCTIONS = tuple(name for name in vars(protocol.Study) if not name.startswith("_"))


def test_every_study_with_notebooks_has_a_package():
    assert set(STUDIES) <= set(runs.study.names())


@pytest.mark.parametrize("study", STUDIES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_study_gives_the_functions_of_the_protocol(study, name):
    function = getattr(importlib.import_module(f"eolab.studies.{study}"), name)
    told = inspect.get_annotations(function, eval_str=True)["return"]
    expected = {
        "sample_table": pd.DataFrame,
        "store_arrays": dict[str, ArraySpec],
        "sample_producer": protocol.Produce,
        "store_metadata": dict[str, Any],
    }
    assert told == expected[name]
    assert inspect.getdoc(function).startswith("Return ")


@pytest.mark.parametrize("study", STUDIES)
def test_preprocessing_calls_them(study):
    (path, *_) = sorted((ROOT / "notebooks" / study).glob("02_preprocess*.ipynb"))
    cells = json.loads(path.read_text())["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    places = [code.index(f"{study}.{name}(") for name in FUNCTIONS]
    assert places == sorted(places)
