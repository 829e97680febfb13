"""``study.yaml``: a study's notebooks in order, its parameter profiles, its sweeps and searches.

::

    title: Land cover from Sentinel-2 time series
    description: One sentence for the cover of the report.          # optional
    notebooks:                                                      # in the order they run
      01_explore: {}
      02_preprocess: {}
      04_train_pixels:
        inputs: {preprocessed: 02_preprocess}   # parameter: notebook whose run folder it gets
    profiles:                                                       # the first one is the default
      smoke:
        all: {dataset: landcover_twin}          # for every notebook that has the parameter
        04_train_pixels: {training.epochs: 2}
      full:
        all: {dataset: landcover}
        04_train_pixels: {training: {epochs: 50}}   # the other keys of the group keep their default
    sweeps:
      models:
        title: Which network reads the seasons best?                # optional
        notebook: 04_train_pixels
        grid: {model: [lstm, tempcnn], seed: [0, 1]}    # all combinations
        cases: [{model: random_forest}]                 # optional: single points besides the grid
        table:
          rows: [model]                                 # what names a line; all of the grid if left out
          metrics: [test.macro.f1, test.all.accuracy]       # names in metrics.json; all of them if left out
          note: The paper averages over classes.        # optional: one sentence with the table
          published:                                    # optional: what others published, beside our numbers
            - {model: lstm, paper F1: 0.81}             # values of row parameters, numbers under free names
            - {model: tempcnn, paper F1: 0.83, paper accuracy: 0.9}
      periods:
        notebook: 04_train_pixels
        grid: {02_preprocess.period: [10D, MS]}         # of a notebook upstream, which runs once a value

An input parameter is a ``str`` whose default is ``""``. The runner puts the upstream run's folder into it;
interactively the empty default means: the newest finished run (``run.input("preprocessed")`` returns it).
In a sweep's table, runs that agree in ``rows`` are one line: mean ± standard deviation. A metric that has the
name of a parameter in the table is called ``metrics.<name>``. A published line stands beside each line of the
table that has all the values it gives. It is an error if it fits no run of the sweep, and if two of them give
one column of the same run. ``Sweep.published`` holds the published lines as a table. ``searches`` are
described in :mod:`eolab.runs.spaces`.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eolab.core import workspace, yamls
from eolab.core.errors import ParameterError, check_known, did_you_mean
from eolab.core.yamls import mapping
from eolab.runs import parameters, published, spaces
from eolab.runs.parameters import Parameter
from eolab.runs.spaces import Search

if TYPE_CHECKING:
    import pandas as pd

FILE = "study.yaml"
ALL = "all"
NEAREST = 8  # names in an error sentence
OWN = "default"  # the profile of the notebooks' own defaults, which no study need describe
_COMMA = re.compile(r",(?![^\[{]*[\]}])")  # between values, not inside a list or mapping
Profile = dict[str, dict[str, Any]]  # notebook → parameter → value


@dataclass(frozen=True)
class Notebook:
    """One notebook of a study.

    Attributes:
        study: Name of the study.
        name: Name of the notebook's file without ``.ipynb``.
        path: The file.
        inputs: Parameter name → name of the earlier notebook whose run folder it gets.
    """

    study: str
    name: str
    path: Path
    inputs: dict[str, str] = field(default_factory=dict)

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters that the notebook declares."""
        return parameters.read(self.path)

    def check(self, values: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Return values checked against the parameters, see :func:`eolab.runs.parameters.check`."""
        return parameters.check(self.parameters, values, where)

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """Name → default of each parameter, those of groups by the full names of their keys."""
        return {name: parameter.default for name, parameter in self.known.items() if not parameter.keys}

    @cached_property
    def code(self) -> str:
        """A hash of the notebook's code, its parameters cell left out (their values are hashed anyway).

        Text cells and outputs do not count, so that correcting a caption does not make a night's work stale.
        """
        return _hash("\0".join(parameters.cells(self.path, "code")))[:16]

    def run_name(self, prefix: str, values: Mapping[str, Any], upstream: Mapping[str, Path]) -> str:
        """Return the name of a run: a readable prefix and eight digits, the same for the same work.

        Args:
            prefix: What it starts with.
            values: Parameters that were set; the others have their defaults.
            upstream: Input parameter → upstream run folder, of which the name alone counts.
        """
        own = {key: value for key, value in {**self.defaults, **values}.items() if key not in self.inputs}
        names = {key: folder.name for key, folder in upstream.items()}
        digits = _hash(json.dumps([own, names, self.code], sort_keys=True, ensure_ascii=False))[:8]
        return f"{re.sub(r'[^A-Za-z0-9_.]+', '_', prefix)}-{digits}"

    def about(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the record of a run says of its notebook and parameters.

        Args:
            values: Parameters that were set, keys of groups by their full names.
        """
        declared, defaults = self.parameters, self.defaults
        return {
            "study": self.study,
            "notebook": self.name,
            "parameters": parameters.nested(declared, {**defaults, **values}),
            "defaults": parameters.nested(declared, defaults),
            "groups": [parameter.name for parameter in declared if parameter.keys],
            "code": self.code,
        }

    @cached_property
    def known(self) -> dict[str, Parameter]:
        """Name → parameter, groups and their keys among them."""
        return parameters.by_name(self.parameters)


@dataclass(frozen=True)
class Sweep:
    """A grid of runs of one notebook, and the table made from them.

    Attributes:
        name: Its name.
        notebook: Name of the notebook.
        points: Parameters of each run; ``notebook.parameter`` for those of notebooks upstream.
        rows: Parameters whose values name a line of the table.
        metrics: Columns of the table, all metrics of the runs where empty.
        title: Its question.
        profile: Profile that the runs start from unless the command names one.
        lines: Published lines of the table.
        note: A sentence with the table.
        compare: Published column and the metric that it is compared with, of the same averaging.
        over: Row parameter whose lines are averaged below each group, such as ``fold``; empty for none.
    """

    name: str
    notebook: str
    points: tuple[dict[str, Any], ...]
    rows: tuple[str, ...]
    metrics: tuple[str, ...]
    title: str = ""
    profile: str | None = None
    lines: tuple[published.Line, ...] = ()
    note: str = ""
    compare: tuple[tuple[str, str], ...] = ()
    over: str = ""

    @property
    def digest(self) -> str:
        """A hash of all that ``study.yaml`` says of the sweep."""
        return _hash(repr(self))[:16]

    @cached_property
    def published(self) -> pd.DataFrame:
        """The published lines: a column a row parameter that they give, then the published numbers."""
        return published.frame(self.lines, self.rows)


@dataclass(frozen=True)
class Study:
    """A study as its ``study.yaml`` describes it; profiles have the values of each notebook by its name."""

    name: str
    title: str
    description: str
    notebooks: dict[str, Notebook]
    profiles: dict[str, Profile]
    sweeps: dict[str, Sweep]
    searches: dict[str, Search] = field(default_factory=dict)

    def notebook(self, name: str) -> Notebook:
        """Return a notebook by name, or by its path as a shell completes it.

        Raises:
            ParameterError: If the study has no such notebook.
        """
        return _pick(
            self.notebooks, Path(name).name.removesuffix(".ipynb"), f"Study {self.name!r} has no notebook"
        )

    def varied(self, sweep: Sweep) -> set[str]:
        """Return the notebooks whose runs differ between the points of a sweep, the swept one left out."""
        above = _above(self.notebook(sweep.notebook), self.notebooks)
        found: set[str] = set()
        for name, one in above.items():
            if not found.isdisjoint(one.inputs.values()) or any(
                key.startswith(f"{name}.") for point in sweep.points for key in point
            ):
                found.add(name)
        return found

    def known(self, sweep: Sweep) -> dict[str, Parameter]:
        """Return the parameters that points of a sweep may have: name → parameter."""
        return _known(self.notebook(sweep.notebook), self.notebooks)

    def sweep(self, name: str) -> Sweep:
        """Return a sweep by name.

        Raises:
            ParameterError: If the study has no such sweep.
        """
        return _pick(self.sweeps, name, f"Study {self.name!r} has no sweep")

    def search(self, name: str) -> Search:
        """Return a search by name.

        Raises:
            ParameterError: If the study has no such search.
        """
        return _pick(self.searches, name, f"Study {self.name!r} has no search")

    def values(self, notebook: str, profile: str | None) -> dict[str, Any]:
        """Return what a profile sets for a notebook, nothing where there is none or for :data:`OWN`.

        Raises:
            ParameterError: If the study has no such profile.
        """
        if profile is None or (profile == OWN and OWN not in self.profiles):
            return {}
        return dict(_pick(self.profiles, profile, f"Study {self.name!r} has no profile")[notebook])


def having(
    notebooks: Collection[Notebook], name: str, sentence: str, others: Iterable[str] = ()
) -> list[Notebook]:
    """Return the notebooks that have a parameter.

    Args:
        notebooks: The notebooks.
        name: The parameter's name.
        sentence: What is wrong if none has it, up to "parameter …".
        others: Names besides those of parameters that the user may have meant.

    Raises:
        ParameterError: If none has it.
    """
    found = [notebook for notebook in notebooks if name in notebook.known]
    if not found:
        known = {*others, *(parameter for notebook in notebooks for parameter in notebook.known)}
        meant, (one, *more) = did_you_mean(name, known, NEAREST), notebooks
        where = one.study if more else f"{one.study}/{one.name}"
        listed = f" `eolab studies {where}` lists all with what they mean." if len(known) > NEAREST else ""
        raise ParameterError(f"{sentence} parameter {name!r}: {meant}{listed}")
    return found


def notebook(name: str) -> Notebook:
    """Return a notebook by ``"study/notebook"``; its inputs are those of ``study.yaml``, if there is one.

    Raises:
        ParameterError: If the name is not of this form.
    """
    study, _, own = name.partition("/")
    if not study or not own or "/" in own:
        raise ParameterError(f"A notebook is named 'study/notebook', found {name!r}.")
    folder, own = workspace.notebooks() / study, own.removesuffix(".ipynb")
    block = yamls.read(folder / FILE) if (folder / FILE).is_file() else None
    for key in ("notebooks", own, "inputs"):
        block = mapping(block, f"{folder / FILE}: what holds {key!r}").get(key)
    inputs = mapping(block, f"{folder / FILE}: the inputs of {own}")
    return Notebook(study, own, folder / f"{own}.ipynb", {key: str(value) for key, value in inputs.items()})


def names() -> list[str]:
    """Return the names of the studies: folders of ``notebooks/`` that hold a ``study.yaml``."""
    return sorted(path.parent.name for path in workspace.notebooks().glob(f"*/{FILE}"))


def load(name: str, grid: tuple[str, Sequence[str]] = ("", ())) -> Study:
    """Return a study by its folder, checked against its notebooks.

    Args:
        name: Name of the folder, or its path as a shell completes it, such as ``notebooks/landcover/``.
        grid: A sweep, or a notebook that becomes a sweep of this name, and ``key=a,b`` texts with the values
            that its grid has instead of those of the file; the sweep has no other cases then.

    Raises:
        ParameterError: If there is no such study, or its file or the grid has an unknown key, notebook or
            parameter.
    """
    name = Path(name).name
    folder = workspace.notebooks() / name
    file = folder / FILE
    if not name or not file.is_file():
        raise ParameterError(f"There is no study {name!r} in {folder.parent}: {did_you_mean(name, names())}")
    content = mapping(
        yamls.read(file), str(file), ("title", "description", "notebooks", "profiles", "sweeps", "searches")
    )
    notebooks = _notebooks(name, folder, content.get("notebooks"), file)
    profiles = _profiles(content.get("profiles"), notebooks, file)
    blocks = mapping(content.get("sweeps"), f"{file}: 'sweeps'")
    if grid[1]:
        blocks[grid[0]] = _with_grid(blocks.get(grid[0]), *grid, notebooks)
    sweeps = _sweeps(blocks, notebooks, profiles, file)
    title, description = str(content.get("title") or name), str(content.get("description") or "")
    taken = dict.fromkeys(profiles, "a profile") | dict.fromkeys(blocks, "a sweep")
    found = spaces.read(content.get("searches"), partial(_values, notebooks), profiles, taken, str(file))
    return Study(name, title, description, notebooks, profiles, sweeps, found)


def _values(
    notebooks: Mapping[str, Notebook], name: str, values: Mapping[str, Any], where: str
) -> dict[str, Any]:
    return dict(_pick(notebooks, name, f"{where} names no notebook of the study").check(values, where))


def _notebooks(study: str, folder: Path, content: Any, file: Path) -> dict[str, Notebook]:
    found: dict[str, Notebook] = {}
    if not content:
        raise ParameterError(f"{file}: 'notebooks' lists no notebook.")
    for name, block in mapping(content, f"{file}: 'notebooks'").items():
        where = _named(f"{file}: notebook", name)
        path = folder / f"{name}.ipynb"
        if not path.is_file():
            others = [p.stem for p in folder.glob("*.ipynb")]
            raise ParameterError(f"{where} has no file {path}: {did_you_mean(name, others)}")
        inputs = mapping(mapping(block, where, ("inputs",)).get("inputs"), f"{where}, 'inputs'")
        notebook = Notebook(study, name, path, {str(k): str(v) for k, v in inputs.items()})
        for parameter, upstream in notebook.inputs.items():
            _pick(found, upstream, f"{where}: input {parameter!r} comes from no earlier notebook")
            notebook.check({parameter: ""}, where)
        found[name] = notebook
    return found


def _profiles(content: Any, notebooks: dict[str, Notebook], file: Path) -> dict[str, Profile]:
    blocks = mapping(content, f"{file}: 'profiles'")
    return {name: _profile(block, notebooks, f"{file}: profile {name!r}") for name, block in blocks.items()}


def _profile(written: Any, notebooks: dict[str, Notebook], where: str) -> Profile:
    blocks = mapping(written, where)
    values: Profile = {name: {} for name in notebooks}
    for name, value in mapping(blocks.pop(ALL, None), f"{where}, {ALL!r}").items():
        for notebook in having(notebooks.values(), name, f"{where}: no notebook has a"):
            values[notebook.name] |= notebook.check({name: value}, f"{where}, {notebook.name}")
    for name, block in blocks.items():
        notebook = _pick(notebooks, name, f"{where} names no notebook of the study")
        place = f"{where}, {name!r}"
        values[name] |= notebook.check(mapping(block, place), place)
    return values


def profile(file: Path, notebooks: dict[str, Notebook]) -> Profile:
    """Return the profile that a file holds alone, as a search writes it.

    Raises:
        ParameterError: If it cannot be read or does not fit the notebooks.
    """
    content = yamls.read(file)
    if not content:
        raise ParameterError(f"{file} is empty: expected notebooks with values of their parameters.")
    return _profile(content, notebooks, str(file))


def _with_grid(
    block: Any, name: str, texts: Sequence[str], notebooks: Mapping[str, Notebook]
) -> dict[str, Any]:
    """Return the block of a sweep, or one for a notebook, with the values of ``--grid key=a,b`` texts."""
    block = dict(block) if isinstance(block, dict) else {"notebook": Path(name).name.removesuffix(".ipynb")}
    known = _known(_pick(notebooks, str(block.get("notebook")), "There is no sweep or notebook"), notebooks)
    grid = {} if block.pop("cases", None) else dict(block.get("grid") or {})
    for text in texts:
        key, equals, values = text.partition("=")
        if not equals or not values:
            raise ParameterError(f"--grid takes key=a,b, found {text!r}; for example --grid seed=0,1,2.")
        parameter = _pick(
            known, key, f"--grid {text}: {block['notebook']} and what it needs have no parameter"
        )
        grid[key] = [parameter.parse(value.strip()) for value in _COMMA.split(values)]
    return block | {"grid": grid}


def _sweeps(
    content: Mapping[str, Any],
    notebooks: dict[str, Notebook],
    profiles: Mapping[str, Profile],
    file: Path,
) -> dict[str, Sweep]:
    sweeps: dict[str, Sweep] = {}
    for name, written in content.items():
        where = _named(f"{file}: sweep", name)
        block = mapping(written, where, ("title", "notebook", "grid", "cases", "table", "profile"))
        notebook = _pick(notebooks, str(block.get("notebook")), f"{where} names no notebook of the study")
        if block.get("profile") is not None:
            _pick(profiles, block["profile"], f"{where} names no profile of the study")
        points = tuple(_checked(p, notebook, notebooks, where) for p in _points(block, where))
        table = _table(block.get("table"), notebook, _known(notebook, notebooks), points, where)
        settings = [{}, *(profile[notebook.name] for profile in profiles.values())]
        runs = [{**notebook.defaults, **chosen, **point} for chosen in settings for point in points]
        published.check(table["lines"], runs, f"{where}, 'published'")
        title = str(block.get("title") or "")
        sweeps[name] = Sweep(name, notebook.name, points, title=title, profile=block.get("profile"), **table)
    return sweeps


def _above(notebook: Notebook, notebooks: Mapping[str, Notebook]) -> dict[str, Notebook]:
    """Return the notebooks whose runs a notebook needs, directly or through others, in their order."""
    needed = set(notebook.inputs.values())
    for name in reversed(list(notebooks)):
        needed |= set(notebooks[name].inputs.values()) if name in needed else set()
    return {name: one for name, one in notebooks.items() if name in needed}


def _known(notebook: Notebook, notebooks: Mapping[str, Notebook]) -> dict[str, Parameter]:
    """Return the parameters of a notebook, and those of notebooks upstream as ``notebook.parameter``."""
    above = _above(notebook, notebooks)
    others = {f"{name}.{key}": found for name, one in above.items() for key, found in one.known.items()}
    return others | notebook.known


def _checked(
    point: Mapping[str, Any], notebook: Notebook, notebooks: Mapping[str, Notebook], where: str
) -> dict[str, Any]:
    """Return a point with its values checked, those of notebooks upstream as ``notebook.parameter``."""
    above = _above(notebook, notebooks)
    parts: dict[str, dict[str, Any]] = {}
    for key, value in point.items():
        head, _, rest = key.partition(".")
        parts.setdefault(head if head in above else "", {})[rest if head in above else key] = value
    found = notebook.check(parts.pop("", {}), where)
    for name, values in parts.items():
        found |= {f"{name}.{key}": value for key, value in above[name].check(values, where).items()}
    return found


def _table(
    content: Any,
    notebook: Notebook,
    known: Mapping[str, Parameter],
    points: Sequence[Mapping[str, Any]],
    where: str,
) -> dict[str, Any]:
    """Return what a sweep's ``table`` says: rows, metrics, note, and published lines."""
    table = mapping(content, f"{where}, 'table'", ("rows", "metrics", "note", "published", "compare", "over"))
    rows = _names(table.get("rows"), f"{where}, 'rows'") or tuple(dict.fromkeys(k for p in points for k in p))
    for row in rows:
        _pick(known, row, f"{where}: 'rows' names no parameter of {notebook.name} or of what it needs:")
    metrics = _names(table.get("metrics"), f"{where}, 'metrics'")
    note = table.get("note") or ""
    if not isinstance(note, str):
        raise ParameterError(f"{where}, 'note' must be a sentence, found {note!r}.")
    place = f"{where}, 'published'"
    lines = published.read(table.get("published"), notebook.parameters, rows, metrics, place)
    pairs = mapping(table.get("compare"), f"{where}, 'compare'") if lines else {}
    for column, metric in pairs.items():
        _pick(
            dict.fromkeys(published.columns(lines)), column, f"{where}: 'compare' names no published column"
        )
        _pick(dict.fromkeys(metrics), str(metric), f"{where}: 'compare' names no metric of the table")
    over = str(table.get("over") or "")
    if over:
        _pick(dict.fromkeys(rows), over, f"{where}: 'over' names no row of the table")
    found = {"rows": rows, "metrics": metrics, "note": " ".join(note.split()), "lines": lines}
    return found | {"compare": tuple(pairs.items()), "over": over}


def _points(block: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    """All combinations of the grid, then the single cases; each point once."""
    grid = mapping(block.get("grid"), f"{where}, 'grid'")
    for key, values in grid.items():
        if not isinstance(values, list) or not values:
            raise ParameterError(f"{where}: grid {key!r} must be a list of values, found {values!r}.")
    points = [dict(zip(grid, c, strict=True)) for c in itertools.product(*grid.values())] if grid else []
    cases = block.get("cases") or []
    if not isinstance(cases, list):
        raise ParameterError(f"{where}: 'cases' must be a list of mappings, found {cases!r}.")
    points += [mapping(case, f"{where}, 'cases'") for case in cases]
    if not points:
        raise ParameterError(f"{where} has neither a 'grid' nor 'cases'.")
    return [p for i, p in enumerate(points) if p not in points[:i]]


def _names(value: Any, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise ParameterError(f"{where} must be a name or a list of names, found {value!r}.")
    return tuple(names)


def _named(what: str, name: str) -> str:
    """Return the beginning of a sentence on a notebook or a sweep, whose name is that of a folder too."""
    if not name.strip(".") or re.search(r"[/\\\0]", name):
        raise ParameterError(f"{what} {name!r} names a folder of runs: choose a name without / and \\.")
    return f"{what} {name!r}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _pick(known: Mapping[str, Any], name: str, sentence: str) -> Any:
    check_known(name, known, f"{sentence} {name!r}")
    return known[name]
