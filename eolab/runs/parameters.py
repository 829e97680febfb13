"""The parameters of a notebook: what its ``parameters`` cell declares, and values checked against it.

A parameters cell has one line a parameter::

    model: str = "lstm"  # network, one of: lstm, tempcnn, ltae
    epochs: int = 5  # passes over the training samples

Types are ``int float str bool list dict``. The help says which values are allowed::

    resolution_m: int = 10  # grid in metres, one of: 10, 20, 60
    radar: list = ["VH"]  # polarisations, empty for none, any of: VV, VH
    keep_scl: list = [4, 5]  # codes that count as clear, at least one of: 4, 5, 6, 7
    validation: float = 0.2  # share of the samples, above 0, below 1
    block_m: float = 0.0  # side of the blocks in metres, at least 10, or 0 for a tenth of the scene
    loss: dict = {"focal": 0.5}  # weights of the losses, above 0, at least one of: focal, iou

After ``one of:``, ``any of:`` and ``at least one of:`` stand the allowed values (up to a full stop, a
semicolon or a bracket), after ``at least``, ``above``, ``at most`` and ``below`` a number. A bounded number
may also be one of which the help says what it stands for (``0 for …``), and a text may be empty where it
says what that stands for (``empty for none``). All this holds for each item of a list; of a dict on one
line, the allowed values are those of its keys and the bounds those of its values. Where a line is full, a
comment line right above it may say so instead.

Settings that belong together are one group, a dict over several lines with the help of each key::

    training: dict = {
        "epochs": 24,  # most epochs
        "optimizer": "adam",  # one of: sgd, adam, adamw
    }  # how the network is trained

The keys of a group are parameters by themselves, called ``training.epochs``: values are given for some of
them (``{"epochs": 3}`` or ``training.epochs=3``), the others keep their default, unknown keys are refused.
Only a group whose help says ``any option of`` something takes further keys, of any type: whoever is given
the options knows their names. A dict on one line is a single value, replaced as a whole.
"""

from __future__ import annotations

import ast
import io
import json
import math
import operator
import re
import tokenize
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from eolab.core import yamls
from eolab.core.errors import ParameterError, check_all, check_known

TYPES: dict[str, type] = {"int": int, "float": float, "str": str, "bool": bool, "list": list, "dict": dict}
ANY = "any"  # type of the further keys of an open group
OPEN = "any option of"  # in the help of an open group
TAG = "parameters"
_CHOICES = re.compile(r"\b(at least one|one|any) of:\s*([^.;()]+(?:\.\d[^.;()]*)*)")
_NUMBER = r"(-?\d+(?:\.\d+)?(?:e-?\d+)?)"
_BOUND = re.compile(rf"\b(at least|above|at most|below) {_NUMBER}")
_SPECIAL = re.compile(rf"(?<![\w.]){_NUMBER} for\b")
_BOUNDED = ("int", "float", "list", "dict")  # types with numbers
_FITS = {"at least": operator.ge, "above": operator.gt, "at most": operator.le, "below": operator.lt}


@dataclass(frozen=True)
class Parameter:
    """One parameter of a notebook.

    Attributes:
        name: Its name.
        type: Name of its type: int, float, str, bool, list or dict; any for a further key of an open group.
        default: The value in the notebook.
        help: The comment on its line.
        choices: Allowed values as text, empty where any value of the type is allowed.
        needed: Whether a list or dict must name at least one of the choices.
        bounds: Bounds of a number, such as ``("above", 0.0)``.
        special: Numbers outside the bounds and texts besides the choices that are allowed too.
        keys: Parameters of a group, named ``group.key``; empty for a single parameter.
    """

    name: str
    type: str
    default: Any
    help: str
    choices: tuple[str, ...] = ()
    needed: bool = False
    bounds: tuple[tuple[str, float], ...] = ()
    special: tuple[Any, ...] = ()
    keys: tuple[Parameter, ...] = ()

    def further(self, key: str) -> Parameter | None:
        """Return a key that a group does not declare, None where it takes no such keys."""
        takes = self.keys and OPEN in self.help
        return Parameter(f"{self.name}.{key}", ANY, None, self.help) if takes else None

    def check(self, value: Any) -> Any:
        """Return the value, an int as a float where a float is declared.

        Raises:
            ParameterError: If it has another type, is not finite, is none of the choices or out of bounds, or
                has a key that the group does not have.
        """
        if self.type == "float" and type(value) is int:
            value = float(value)
        if self.type != ANY and type(value) is not TYPES[self.type]:
            found = f"{value!r} ({type(value).__name__})"
            raise ParameterError(
                f"Parameter {self.name!r} must be {self.type}, found {found}; for example {self.default!r}."
            )
        if problem := _unwritable(value):
            raise ParameterError(f"Parameter {self.name!r} cannot be {value!r}: {problem}.")
        if self.needed and not value:
            known = ", ".join(self.choices)
            raise ParameterError(f"Parameter {self.name!r} cannot be empty: give at least one of {known}.")
        several = isinstance(value, list | dict)
        cannot = f"Parameter {self.name!r} cannot {'hold' if several else 'be'}"
        if self.choices and value not in self.special:
            for name in value if several else [value]:
                check_known(str(name), self.choices, f"{cannot} {name!r}")
        if self.bounds:
            numbers = value.values() if isinstance(value, dict) else value if several else [value]
            for number in numbers:
                self._check_bounds(number, cannot)
        return self._checked_keys(value) if self.keys else value

    def _check_bounds(self, value: Any, cannot: str) -> None:
        number = type(value) in (int, float)
        if number and (value in self.special or all(_FITS[word](value, to) for word, to in self.bounds)):
            return
        allowed = " and ".join(f"{word} {bound:g}" for word, bound in self.bounds)
        others = "".join(f", or {one:g}" for one in self.special)
        raise ParameterError(f"{cannot} {value!r}: expected a number {allowed}{others} ({self.help}).")

    def _checked_keys(self, value: Any) -> dict[str, Any]:
        known = {key.name.rpartition(".")[2]: key for key in self.keys}
        for name in value:
            further = self.further(name)
            if further is not None:
                known.setdefault(name, further)
            check_known(name, known, f"Parameter {self.name!r} has no key {name!r}")
        return {name: key.check(value[name]) for name, key in known.items() if name in value}

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
        if isinstance(value, dict):  # {5: '*'} as JSON writes it
            value = {str(key): one for key, one in value.items()}
        if isinstance(value, list):  # [2019-07-01, 2019-08-31], which YAML takes for days
            value = [one.isoformat() if isinstance(one, date) else one for one in value]
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
    if isinstance(value, str) and "\0" in value:
        return "text cannot hold the character NUL"
    if isinstance(value, float) and not math.isfinite(value):
        return "numbers must be finite"
    if value is not None and type(value) not in (int, float, str, bool):
        return f"{type(value).__name__} is not one of int, float, str, bool, list, dict"
    return ""


def check(declared: Iterable[Parameter], values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return values checked against the declared parameters, in declared order.

    Args:
        declared: The notebook's parameters.
        values: Values by name; parameters that are left out keep their default and are not returned. A key of
            a group is given by its full name, or in a dict under the group's name.
        where: What the values belong to, for the error sentence, such as ``"landcover/04_train_pixels"``.

    Returns:
        Values by name, those of groups by the full names of their keys.

    Raises:
        ParameterError: On an unknown name, a changed type or a value outside the choices.
    """
    known = by_name(declared)
    check_all(values, known, f"{where} has no parameter")
    flat: dict[str, Any] = {}
    try:
        for name in [*known, *values]:
            if name in values and name not in flat:
                value = known[name].check(values[name])
                flat |= {f"{name}.{k}": v for k, v in value.items()} if known[name].keys else {name: value}
    except ParameterError as error:
        raise ParameterError(f"{where}: {error}") from None
    return flat


class ByName(dict[str, Parameter]):
    """Parameters by name; whatever key an open group is given is one of them."""

    def __missing__(self, name: str) -> Parameter:
        group, dot, key = name.partition(".")
        further = self[group].further(key) if dot and group in self else None
        if further is None:
            raise KeyError(name)
        return further

    def __contains__(self, name: object) -> bool:
        try:
            return bool(self[str(name)])
        except KeyError:
            return False


def by_name(declared: Iterable[Parameter]) -> dict[str, Parameter]:
    """Return the parameters by name, each group followed by its keys."""
    return ByName({p.name: p for parameter in declared for p in (parameter, *parameter.keys)})


def nested(declared: Iterable[Parameter], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as the parameters cell has them: a dict for each group, whole if any key is given.

    Args:
        declared: The notebook's parameters.
        values: Result of :func:`check`.
    """
    found: dict[str, Any] = {}
    for parameter in declared:
        given = {name: value for name, value in values.items() if name.startswith(f"{parameter.name}.")}
        if given:
            whole = {key.name: key.default for key in parameter.keys} | given
            found[parameter.name] = {name.rpartition(".")[2]: value for name, value in whole.items()}
        elif parameter.name in values:
            found[parameter.name] = values[parameter.name]
    return found


def read(notebook: Path) -> tuple[Parameter, ...]:
    """Return the parameters that a notebook declares; none when it has no cell tagged ``parameters``.

    Raises:
        ParameterError: If the notebook cannot be read or its parameters cell breaks a rule of this module.
    """
    found = cells(notebook, TAG)
    try:
        if len(found) > 1:
            raise ValueError(f"has more than one cell tagged {TAG!r}")
        return _parsed(found[0]) if found else ()
    except ValueError as error:
        raise ParameterError(f"{notebook}: the parameters cell {error}.") from None


def cells(notebook: Path, kind: str) -> list[str]:
    """Return the source of a notebook's cells of one kind in order.

    Args:
        notebook: The notebook.
        kind: "markdown", "parameters" for the cell tagged so, or "code" for all other code cells.
    """
    try:
        content = json.loads(notebook.read_text(encoding="utf-8"))
        return ["".join(cell["source"]) for cell in content["cells"] if _kind(cell) == kind]
    except FileNotFoundError:
        raise ParameterError(f"There is no notebook {notebook}.") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ParameterError(
            f"{notebook} is not a notebook in format 4: open and save it in JupyterLab."
        ) from None


def _kind(cell: Mapping[str, Any]) -> str:
    tagged = cell["cell_type"] == "code" and TAG in cell["metadata"].get("tags", [])
    return TAG if tagged else str(cell["cell_type"])


def _parsed(source: str) -> tuple[Parameter, ...]:
    """Return the parameters of a cell; a ValueError is the end of the sentence "the parameters cell …"."""
    try:
        statements = ast.parse(source).body
    except SyntaxError as error:
        raise ValueError(f"is not valid Python (line {error.lineno}: {error.msg})") from None
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments: dict[int, str] = {}
    for t in (token for token in tokens if token.type == tokenize.COMMENT):
        above = t.start[0] if t.line.lstrip().startswith("#") else 0  # what is said above a line
        comments[-above or t.start[0]] = t.string.lstrip("#").strip()
    declared: dict[str, Parameter] = {}
    for statement in statements:
        try:
            parameter = _parameter(statement, comments)
            if parameter.name in declared:
                raise ValueError(f"declares {parameter.name!r} twice")
        except ValueError as error:
            line = source.splitlines()[statement.lineno - 1].strip()
            raise ValueError(f"{error}: {line!r}") from None
        declared[parameter.name] = parameter
    return tuple(declared.values())


def _parameter(statement: ast.stmt, comments: Mapping[int, str]) -> Parameter:
    if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
        raise ValueError("has a line that is not 'name: type = literal  # help'")
    if not isinstance(statement.annotation, ast.Name) or statement.annotation.id not in TYPES:
        raise ValueError(f"has a type that is none of {', '.join(TYPES)}")
    if statement.value is None:
        raise ValueError("has a parameter without a default")
    name, kind = statement.target.id, statement.annotation.id
    keys: tuple[Parameter, ...] = ()
    if statement.end_lineno != statement.lineno:
        if not isinstance(statement.value, ast.Dict):
            raise ValueError("has a statement over several lines, which only a dict may have")
        items = list(zip(statement.value.keys, statement.value.values, strict=True))
        keys = tuple(_key(name, *item, comments) for item in items)
        if len({value.lineno for _, value in items}) < len(items):
            raise ValueError("has two keys of a dict on one line")
    help_, above = (comments.get(at, "") for at in (statement.end_lineno or 0, 1 - statement.lineno))
    return _declared(name, kind, statement.value, help_, above, keys)


def _key(group: str, key: ast.expr | None, value: ast.expr, comments: Mapping[int, str]) -> Parameter:
    """Return a key of a group as a parameter; its type is that of its default."""
    if not isinstance(key, ast.Constant) or not isinstance(key.value, str) or key.lineno != value.end_lineno:
        raise ValueError("has a dict over several lines with a line that is not '\"key\": literal,  # help'")
    kind = type(_literal(value)).__name__
    if kind not in TYPES:
        raise ValueError(f"has a key of a type that is none of {', '.join(TYPES)}")
    help_, above = (comments.get(at, "") for at in (key.lineno, 1 - key.lineno))
    return _declared(f"{group}.{key.value}", kind, value, help_, above)


def _declared(
    name: str, kind: str, value: ast.expr, comment: str, above: str, keys: tuple[Parameter, ...] = ()
) -> Parameter:
    if not comment:
        raise ValueError("has a parameter without help (a comment on its line)")
    said = f"{above}; {comment}"
    how, listed = found.groups() if (found := _CHOICES.search(said)) else ("", "")
    choices = tuple(re.split(r"\s*(?:,| or )\s*", listed.strip())) if listed else ()
    bounds = tuple((word, float(to)) for word, to in _BOUND.findall(said)) if kind in _BOUNDED else ()
    special: list[Any] = [float(number) for number in _SPECIAL.findall(said)] if bounds else []
    special += [""] if "empty for" in said else []
    parameter = Parameter(
        name, kind, _literal(value), comment, choices, how == "at least one", bounds, tuple(special), keys
    )
    try:
        parameter.check(parameter.default)
    except ParameterError as error:
        raise ValueError(f"has a default that does not fit ({str(error).rstrip('.')})") from None
    return parameter


def _literal(value: ast.expr) -> Any:
    try:
        return ast.literal_eval(value)
    except ValueError:
        raise ValueError("has a value that is derived, not a literal (derive it in the next cell)") from None
