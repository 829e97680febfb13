"""What is wrong with the parameters cell of a notebook, for tests of notebooks."""

from __future__ import annotations

import ast
import json
from pathlib import Path

from papermill.translators import PythonTranslator

from eolab.core.errors import ParameterError
from eolab.runs import parameters


def lint(notebook: Path) -> list[str]:
    """Return what is wrong with a notebook's parameters cell, one sentence a problem.

    Found are: a missing or second tagged cell, whatever :func:`eolab.runs.parameters.read` refuses, and
    anything that papermill itself reads differently.
    """
    cells = json.loads(notebook.read_text())["cells"]
    tagged = [cell for cell in cells if parameters.TAG in cell["metadata"].get("tags", [])]
    if len(tagged) != 1:
        return [f"{notebook}: expected one cell tagged 'parameters', found {len(tagged)}."]
    try:
        declared = parameters.read(notebook)
    except ParameterError as error:
        return [str(error)]
    return [f"{notebook}: {problem}." for problem in _differences("".join(tagged[0]["source"]), declared)]


def _differences(source: str, declared: tuple[parameters.Parameter, ...]) -> list[str]:
    seen = {p.name: p for p in PythonTranslator.inspect({"source": source})}
    problems = [f"papermill cannot see {p.name!r}" for p in declared if p.name not in seen]
    for p in declared:
        if p.name not in seen:
            continue
        theirs = seen[p.name]
        try:
            same = ast.literal_eval(theirs.default) == p.default
        except (ValueError, SyntaxError):
            same = False
        if not same or theirs.inferred_type_name != p.type or theirs.help.strip() != p.help:
            problems.append(f"papermill reads {p.name!r} differently (= or # inside a string?)")
    return problems
