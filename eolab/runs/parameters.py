"""The parameters of a notebook: what its ``parameters`` cell declares, and values checked against it.

A parameters cell has one line a parameter::

    model: str = "lstm"  # network, one of: lstm, tempcnn, ltae
    epochs: int = 5  # passes over the training samples

Types are ``int float str bool list dict``. Text after ``one of:`` in the help lists the allowed values (up
to a full stop, a semicolon or a bracket).
"""

from __future__ import annotations

import ast
import io
import json
import math
import re
import tokenize
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from eolab.core.errors import ParameterError, did_you_mean
from eolab.runs import yamls

TYPES: dict[str, type] = {"int": int, "float": float, "str": str, "bool": bool, "list": list, "dict": dict}
TAG = "parameters"
_CHOICES = re.compile(r"\bone of:\s*([^.;()]+(?:\.\d[^.;()]*)*)")


@dataclass(frozen=True)
class Parameter:
    """One parameter of a notebook.

    Attributes:
        name: Its name.
        type: Name of its type: int, float, str, bool, list or dict.
        default: The value in the notebook.
        help: The comment on its line.
        choices: Allowed values as text, empty where any value of the type is allowed.
    """

    name: str
    type: str
    default: Any
    help: str
    choices: tuple[str, ...] = ()

    def check(self, value: Any) -> Any:
        """Return the value, an int as a float where a float is declared.

        Raises:
            ParameterError: If it has another type, is not finite, or is none of the choices.
        """
        if self.type == "float" and type(value) is int:
            value = float(value)
        if type(value) is not TYPES[self.type]:
            found = f"{value!r} ({type(value).__name__})"
            raise ParameterError(
                f"Parameter {self.name!r} must be {self.type}, found {found}; for example {self.default!r}."
            )
        if problem := _unwritable(value):
            raise ParameterError(f"Parameter {self.name!r} cannot be {value!r}: {problem}.")
        if self.choices and str(value) not in self.choices:
            raise ParameterError(
                f"Parameter {self.name!r} cannot be {value!r}: {did_you_mean(str(value), self.choices)}"
            )
        return value

    def parse(self, text: str) -> Any:
        """Return the value that a text from the command line stands for, by the type of the parameter.

        Raises:
            ParameterError: If the text is no value of this type.
        """
        if self.type == "str":
            return self.check(_unquoted(text))
        try:
            value = ast.literal_eval(text)  # [1e-3, 1e-2], {'a': 1}
        except (ValueError, SyntaxError):
            try:
                value = yamls.loads(text)  # [B02, B03], false
            except yaml.YAMLError:
                value = text
        return self.check(value)


def _unquoted(text: str) -> str:
    quoted = len(text) >= 2 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1] if quoted else text


def _unwritable(value: Any) -> str:
    """Why a value cannot be written into a notebook and its record unchanged; empty when it can."""
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            return "the keys of a dict must be text"
        return next((p for p in map(_unwritable, value.values()) if p), "")
    if isinstance(value, list):
        return next((p for p in map(_unwritable, value) if p), "")
    if isinstance(value, float) and not math.isfinite(value):
        return "numbers must be finite"
    if value is not None and type(value) not in (int, float, str, bool):
        return f"{type(value).__name__} is not one of int, float, str, bool, list, dict"
    return ""


def check(declared: Iterable[Parameter], values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return values checked against the declared parameters, in declared order.

    Args:
        declared: The notebook's parameters.
        values: Values by name; parameters that are left out keep their default and are not returned.
        where: What the values belong to, for the error sentence, such as ``"landcover/03_train_pixels"``.

    Raises:
        ParameterError: On an unknown name, a changed type or a value outside the choices.
    """
    by_name = {parameter.name: parameter for parameter in declared}
    for name in values:
        if name not in by_name:
            raise ParameterError(f"{where} has no parameter {name!r}: {did_you_mean(name, by_name)}")
    try:
        return {name: p.check(values[name]) for name, p in by_name.items() if name in values}
    except ParameterError as error:
        raise ParameterError(f"{where}: {error}") from None


def read(notebook: Path) -> tuple[Parameter, ...]:
    """Return the parameters that a notebook declares; none when it has no cell tagged ``parameters``.

    Raises:
        ParameterError: If the notebook cannot be read or its parameters cell breaks a rule of :func:`lint`.
    """
    cells = _tagged(notebook)
    if not cells:
        return ()
    declared, problems = _parse(cells[0])
    if len(cells) > 1:
        problems.append("has more than one cell tagged 'parameters'")
    if problems:
        raise ParameterError(f"{notebook}: the parameters cell {problems[0]}.")
    return tuple(declared)


def lint(notebook: Path) -> list[str]:
    """Return what is wrong with a notebook's parameters cell, one sentence a problem.

    Found are: a missing or second tagged cell, anything that is not one ``name: type = literal  # help`` a
    line (derived values among it), a parameter without help, a default that is none of its choices, and
    anything that papermill itself reads differently.
    """
    cells = _tagged(notebook)
    if len(cells) != 1:
        return [f"{notebook}: expected one cell tagged 'parameters', found {len(cells)}."]
    declared, problems = _parse(cells[0])
    problems += _papermill_differences(cells[0], declared) if not problems else []
    return [f"{notebook}: the parameters cell {problem}." for problem in problems]


def code_cells(notebook: Path) -> list[str]:
    """Return the source of a notebook's code cells in order, the parameters cell left out."""
    return [
        _source(cell)
        for cell in _cells(notebook)
        if cell.get("cell_type") == "code" and TAG not in cell.get("metadata", {}).get("tags", [])
    ]


def _cells(notebook: Path) -> list[dict[str, Any]]:
    try:
        content = json.loads(notebook.read_text(encoding="utf-8"))
        cells = content["cells"]
    except FileNotFoundError:
        raise ParameterError(f"There is no notebook {notebook}.") from None
    except (ValueError, KeyError, TypeError):
        raise ParameterError(
            f"{notebook} is not a notebook in format 4: open and save it in JupyterLab."
        ) from None
    return list(cells)


def _tagged(notebook: Path) -> list[str]:
    return [
        _source(cell)
        for cell in _cells(notebook)
        if cell.get("cell_type") == "code" and TAG in cell.get("metadata", {}).get("tags", [])
    ]


def _source(cell: Mapping[str, Any]) -> str:
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)


def _parse(source: str) -> tuple[list[Parameter], list[str]]:
    """Parameters of a cell, and its problems as ends of the sentence "the parameters cell …"."""
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        return [], [f"is not valid Python (line {error.lineno}: {error.msg})"]
    comments = _comments(source)
    declared: list[Parameter] = []
    problems: list[str] = []
    for statement in tree.body:
        try:
            declared.append(_parameter(statement, comments.get(statement.lineno, "")))
        except ValueError as error:
            line = source.splitlines()[statement.lineno - 1].strip()
            problems.append(f"{error}: {line!r}")
    names = [p.name for p in declared]
    problems += [f"declares {name!r} twice" for name in sorted({n for n in names if names.count(n) > 1})]
    return declared, problems


def _parameter(statement: ast.stmt, comment: str) -> Parameter:
    if statement.end_lineno != statement.lineno:
        raise ValueError("has a statement over several lines, which papermill cannot see")
    if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
        raise ValueError("has a line that is not 'name: type = literal  # help'")
    if not isinstance(statement.annotation, ast.Name) or statement.annotation.id not in TYPES:
        raise ValueError(f"has a type that is none of {', '.join(TYPES)}")
    if statement.value is None:
        raise ValueError("has a parameter without a default")
    try:
        default = ast.literal_eval(statement.value)
    except ValueError:
        raise ValueError("has a value that is derived, not a literal (derive it in the next cell)") from None
    if not comment:
        raise ValueError("has a parameter without help (a comment on its line)")
    found = _CHOICES.search(comment)
    choices = tuple(re.split(r"\s*(?:,| or )\s*", found[1].strip())) if found else ()
    parameter = Parameter(statement.target.id, statement.annotation.id, default, comment, choices)
    try:
        parameter.check(default)
    except ParameterError as error:
        raise ValueError(f"has a default that does not fit ({str(error).rstrip('.')})") from None
    return parameter


def _comments(source: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.start[0]: t.string.lstrip("#").strip() for t in tokens if t.type == tokenize.COMMENT}


def _papermill_differences(source: str, declared: list[Parameter]) -> list[str]:
    from papermill.translators import PythonTranslator

    seen = {p.name: p for p in PythonTranslator.inspect({"source": source})}
    problems = [f"has {p.name!r}, which papermill cannot see" for p in declared if p.name not in seen]
    for p in declared:
        if p.name not in seen:
            continue
        theirs = seen[p.name]
        try:
            same = ast.literal_eval(theirs.default) == p.default
        except (ValueError, SyntaxError):
            same = False
        if not same or theirs.inferred_type_name != p.type or theirs.help.strip() != p.help:
            problems.append(f"has {p.name!r}, which papermill reads differently (= or # inside a string?)")
    return problems
