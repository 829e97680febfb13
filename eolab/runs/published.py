"""Published numbers beside a sweep's table: the lines of ``published`` in ``study.yaml``, read and matched.

A line gives values of row parameters and one or more numbers under column names of its own::

    published:
      - {loss: ce, published mIoU: 0.6001, published F1: 0.6783}

It stands beside every line of the table that has all of its values.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eolab.core.errors import ParameterError, check_known, did_you_mean
from eolab.core.yamls import mapping
from eolab.runs import parameters
from eolab.runs.parameters import Parameter

if TYPE_CHECKING:
    import pandas as pd

OWN = ("runs", "failed", "status", "seconds", "run", "simulated")  # columns that a sweep writes itself


@dataclass(frozen=True)
class Line:
    """One published line.

    Attributes:
        values: Row parameter → value.
        numbers: Column → published number.
    """

    values: dict[str, Any]
    numbers: dict[str, float]

    def matches(self, row: Mapping[Any, Any]) -> bool:
        """Return whether a line of the table has all values of this one."""
        return all(name in row and row[name] == value for name, value in self.values.items())


def read(
    content: Any, declared: Sequence[Parameter], rows: Sequence[str], metrics: Sequence[str], where: str
) -> tuple[Line, ...]:
    """Return the published lines of a sweep.

    Args:
        content: What ``study.yaml`` says: a list of mappings, or None.
        declared: Parameters of the swept notebook.
        rows: Row parameters of the table.
        metrics: Its metrics, whose names are taken.
        where: Which sweep, for the error sentence.

    Raises:
        ParameterError: If a line gives no row parameter, no number, or something that is neither.
    """
    if not isinstance(content or [], list):
        raise ParameterError(f"{where} must be a list of mappings, found {content!r:.80}.")
    taken = [*OWN, *metrics, *parameters.by_name(declared)]
    lines = []
    for number, written in enumerate(content or [], 1):
        place = f"{where}, line {number}"
        block = mapping(written, place)
        values = parameters.check(declared, {k: v for k, v in block.items() if k in rows}, place)
        numbers = {k: _number(k, v, rows, taken, place) for k, v in block.items() if k not in rows}
        for kind, part in (("row parameter", values), ("published number", numbers)):
            if not part:
                raise ParameterError(
                    f"{place} gives no {kind}: expected values of {', '.join(rows)}, and numbers under "
                    "column names of their own."
                )
        lines.append(Line(values, numbers))
    return tuple(lines)


def _number(name: str, value: Any, rows: Sequence[str], taken: Sequence[str], place: str) -> float:
    """Check a published number and the name of its column."""
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ParameterError(
            f"{place}: {name!r} is no row of the table and its value {value!r} is no number: "
            f"{did_you_mean(name, rows)}"
        )
    if name in taken:
        raise ParameterError(
            f"{place}: a published column cannot be called {name!r}, which the table has already or a "
            f"parameter is called: name it for example 'published {name}', or add {name!r} to 'rows'."
        )
    return value


def check(lines: Iterable[Line], runs: Sequence[Mapping[str, Any]], where: str) -> None:
    """Check that each line stands beside a run and that no two give one number for the same run.

    Args:
        lines: The published lines.
        runs: All parameters of each run that the sweep can have.
        where: Which sweep, for the error sentence.

    Raises:
        ParameterError: If a line matches no run; the sentence names the nearest one.
    """
    seen: dict[tuple[int, str], Line] = {}
    for line in lines:
        matched = [place for place, run in enumerate(runs) if line.matches(run)]
        if not matched:
            text, known = _text(line.values), {_text({k: run.get(k) for k in line.values}) for run in runs}
            check_known(text, known, f"{where}: {text} is no run of the sweep")
        for key in ((place, column) for place in matched for column in line.numbers):
            if key in seen:
                raise ParameterError(
                    f"{where}: {key[1]!r} is given twice for one run, by {_text(seen[key].values)} and by "
                    f"{_text(line.values)}: leave one out."
                )
            seen[key] = line


def _text(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items())


def columns(lines: Iterable[Line]) -> list[str]:
    """Return the names of the published columns, each once, in their order."""
    return list(dict.fromkeys(column for line in lines for column in line.numbers))


def frame(lines: Sequence[Line], rows: Sequence[str]) -> pd.DataFrame:
    """Return the published lines as a table: row parameters that they give, then the published columns."""
    import pandas as pd

    names = [row for row in rows if any(row in line.values for line in lines)]
    records = [{**line.values, **line.numbers} for line in lines]
    return pd.DataFrame(records, columns=[*names, *columns(lines)])


def join(lines: Sequence[Line], table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with the published columns appended; NaN where nothing was published.

    Args:
        lines: The published lines.
        table: A row a setting, with a column a row parameter.
    """
    import pandas as pd

    beside = []
    for row in table.to_dict("records"):
        numbers: dict[str, float] = {}
        for line in lines:
            numbers |= line.numbers if line.matches(row) else {}
        beside.append(numbers)
    return table.join(pd.DataFrame(beside, table.index, columns(lines)).infer_objects())
