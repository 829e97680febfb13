"""Finished runs: find the newest, read one, gather all of a notebook into a table."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eolab.core import workspace, yamls
from eolab.core.errors import RunError, did_you_mean
from eolab.core.files import loaded
from eolab.runs import folders

if TYPE_CHECKING:
    import pandas as pd

AGAIN = "run its notebook again (with --force if it was finished)"
TABLE = "runs.csv"  # the runs of a sweep, in its folder
_WATCHED: list[Path] = []  # the run folder of this process's notebook
MIN_SEEDS = 3  # to believe a table of trained models
# Parameters that change no network
NOT_NAMED = ("model", "baselines", "test_time_augmentation", "n_examples", "replicates")


@dataclass(frozen=True)
class RunRecord:
    """What a run folder holds, read when asked for.

    Attributes:
        folder: The run folder.
    """

    folder: Path

    @cached_property
    def record(self) -> dict[str, Any]:
        """``run.json``: study, notebook, run, profile, status, started, ended, seconds, upstream, …."""
        return folders.read_json(self.folder / folders.RECORD)

    @cached_property
    def params(self) -> dict[str, Any]:
        """Every parameter with its value."""
        return dict(self.record.get("parameters") or {})

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Every parameter with its value, the keys of groups by their full names (``training.epochs``)."""
        return self.flat(self.params)

    def flat(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return values of parameters with the keys of this run's groups by their full names."""
        found: dict[str, Any] = {}
        groups = self.record.get("groups") or ()
        for name, value in values.items():
            group = name in groups and isinstance(value, Mapping)
            found |= {f"{name}.{key}": one for key, one in value.items()} if group else {name: value}
        return found

    @cached_property
    def changed(self) -> dict[str, Any]:
        """The :attr:`settings` that are not the notebook's own defaults, upstream runs left out."""
        usual = self.flat(self.record.get("defaults") or {})
        inputs = self.record.get("upstream") or {}
        return {k: one for k, one in self.settings.items() if k not in inputs and one != usual.get(k)}

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """``metrics.json``, nested as it was written."""
        return folders.read_json(self.folder / folders.METRICS)

    @cached_property
    def environment(self) -> dict[str, Any]:
        """``environment.json``: versions, commit, seed, machine."""
        return folders.read_json(self.folder / folders.ENVIRONMENT)

    @cached_property
    def data(self) -> list[dict[str, Any]]:
        """``data.json``: name, licence, citation, fingerprint of each data set that was used."""
        return folders.read_json(self.folder / folders.DATA, list)

    @cached_property
    def figures(self) -> list[dict[str, Any]]:
        """``figures.json``: name, file, caption, alternative text of each figure."""
        return folders.read_json(self.folder / folders.FIGURES, list)

    @cached_property
    def short(self) -> dict[str, list[str]]:
        """``short.json``: what was found, in sentences, and what to take care of; empty before the end."""
        return folders.read_json(self.folder / folders.SHORT)

    @cached_property
    def history(self) -> pd.DataFrame:
        """``history.csv``: one row an epoch.

        Raises:
            RunError: If the run trained nothing.
            DataError: If the file cannot be read.
        """
        import pandas as pd

        return loaded(self.path("history.csv"), pd.read_csv, "a table of epochs", AGAIN)

    def table(self, name: str) -> pd.DataFrame:
        """Return a table that the run saved with ``run.table``; columns of text, such as ``0010``, stay text.

        A score table has its replicates again, see :func:`eolab.evaluation.gains`.

        Raises:
            RunError: If it has not.
            DataError: If its file cannot be read.
        """
        import pandas as pd

        path = self.path(f"tables/{name}.csv")
        kinds = folders.read_json(path.with_suffix(".kinds.json"))
        text = [column for column, kind in kinds.items() if kind == "string"]
        from eolab import evaluation

        types, drawn = dict.fromkeys(text, str), path.with_suffix(folders.DRAWN)
        table = loaded(path, lambda file: pd.read_csv(file, dtype=types), "a table", AGAIN)
        if not drawn.exists():
            return table
        return loaded(drawn, lambda file: evaluation.read_drawn(table, file), "the table's replicates", AGAIN)

    @property
    def name(self) -> str:
        """The words that `eolab runs name` gave the run, else the name of its folder."""
        return str(self.record.get("label") or self.folder.name)

    @property
    def stamp(self) -> dict[str, Any]:
        """What a run records of this one when it builds on it."""
        return {key: self.record.get(key) for key in ("notebook", "run", "ended")}

    def with_lineage(self) -> list[dict[str, Any]]:
        """Return the stamp of this run and those of all that it was made from; empty without a record."""
        return [self.stamp, *self.lineage()] if self.record else []

    def other_data(self, found: Mapping[str, Any]) -> list[str]:
        """Return the notebooks upstream that read other data under the name of a data set of this run."""
        before = [
            (run.record.get("notebook"), one.get("fingerprint"))
            for run in map(RunRecord, self.upstream.values())
            for one in run.data
            if one.get("name") == found["name"] and one.get("layout") == found["layout"]
        ]
        return [str(notebook) for notebook, digest in before if digest != found["fingerprint"]]

    @property
    def status(self) -> str:
        """``running``, ``done``, ``failed`` or ``stopped``; ``unknown`` without a ``run.json``."""
        return str(self.record.get("status", "unknown"))

    @property
    def simulated(self) -> bool:
        """Whether any data set of this run, or of a run it builds on, is simulated."""
        return bool(self.record.get("simulated"))

    @property
    def failure(self) -> tuple[str, str]:
        """Where the run failed (``"in cell In [7]"``) and why (``"ValueError: …"``); empty if it did not."""
        failed = self.record.get("failed")
        if not failed:
            return "", ""
        where = f"in cell In [{failed['cell']}]" if failed.get("cell") is not None else "outside of a cell"
        return where, f"{failed.get('error')}: {failed.get('message')}"

    def uses(self, upstream: Path) -> bool:
        """Return whether this run is finished and was made from another run, as that run's folder has it now.

        A folder that was run again since holds another run, though under the same name.
        """
        made_from = (self.record.get("upstream") or {}).values()
        return self.status == "done" and RunRecord(upstream).stamp in made_from

    @cached_property
    def upstream(self) -> dict[str, Path]:
        """Input parameter → folder of the upstream run: beside this one where it is not at its old place."""
        found = {}
        for name, stamp in (self.record.get("upstream") or {}).items():
            given = workspace.root() / str(self.params.get(name) or "")
            beside = self.folder.parents[1] / str(stamp.get("notebook")) / str(stamp.get("run"))
            found[name] = given if (given / folders.RECORD).is_file() else beside
        return found

    def lineage(self, without: str = "") -> list[dict[str, Any]]:
        """Return the stamps of all runs that this one was made from, directly or through others.

        Args:
            without: Input parameter that is left out.
        """
        found: list[dict[str, Any]] = []
        seen: set[Path] = set()
        waiting = [(self, name) for name in self.upstream if name != without]
        while waiting:
            run, name = waiting.pop()
            found.append(run.record["upstream"][name])
            above = run.upstream[name]
            if above not in seen:  # a run that was edited by hand may lead back to itself
                seen.add(above)
                waiting += [(one, name) for one in [RunRecord(above)] for name in one.upstream]
        return found

    def path(self, name: str) -> Path:
        """Return a file of the run folder.

        Raises:
            RunError: If the run has not written it.
        """
        path = self.folder / name
        if not path.exists():
            raise RunError(f"Run {self.folder} has no {name}: its notebook has not written it.")
        return path


def load(folder: Path | str) -> RunRecord:
    """Return the record of a run, by its folder or its name, see :func:`find`.

    Raises:
        RunError: If there is no such run.
    """
    return RunRecord(find(folder))


def find(name: Path | str, root: Path | None = None) -> Path:
    """Return the folder of a run.

    Args:
        name: The folder, its path below `root`, its name alone, or the words that `eolab runs name` gave it.
        root: Folder of all runs; ``workspace.runs()`` where None.

    Raises:
        RunError: If there is no such run, or there are several.
    """
    path = Path(name)
    if (path / folders.RECORD).is_file():
        return path
    place = root or workspace.runs()
    if (place / path / folders.RECORD).is_file():
        return place / path
    words = path.name if path.parent == workspace.root() else str(name)  # the value of an input parameter
    runs = every(place)
    found = [run.folder for run in runs if words in (run.folder.name, run.record.get("label"))]
    if len(found) > 1:
        raise RunError(f"There are several runs {words}: give the path of one, {', '.join(map(str, found))}.")
    if not found:
        known = [str(run.record["label"]) for run in runs if run.record.get("label")]
        hint = f"; {did_you_mean(words, known)}" if known else "."
        raise RunError(
            f"{name} is no run folder: expected a {folders.RECORD} in it, or the name of a run in "
            f"{place}{hint}"
        )
    return found[0]


def every(root: Path, study: str = "*", notebook: str = "*") -> list[RunRecord]:
    """Return all runs in a folder of runs, by study and notebook, the newest start first."""
    return [run for folder in sorted(root.glob(f"{study}/{notebook}")) for run in _records(folder)]


def records(study: str, notebook: str, root: Path | None = None) -> list[RunRecord]:
    """Return the runs of a notebook, the newest start first, whatever their status.

    A notebook that asks records which finished runs there were: it is out of date when there are others.
    """
    return _records(_asked(study, notebook, root))


def _of(study: str, notebook: str, root: Path | None) -> Path:
    return (root or workspace.runs()) / study / notebook


def _asked(study: str, notebook: str, root: Path | None) -> Path:
    """Return the folder of a notebook's runs, which the notebook of this process depends on from now on."""
    folder = _of(study, notebook, root)
    note(folder)
    return folder


def _records(folder: Path) -> list[RunRecord]:
    found = map(RunRecord, folders.runs_in(folder))
    return sorted(found, key=lambda run: str(run.record.get("started", "")), reverse=True)


def watch(folder: Path | None) -> None:
    """Name the run folder of this process's notebook, which :func:`note` writes into; None for no more."""
    _WATCHED[:] = [folder] if folder else []


def note(folder: Path) -> None:
    """Record in the run of this process's notebook which finished runs a folder held when it was first asked.

    Args:
        folder: Folder of a notebook's runs, or of a sweep.
    """
    for watched in _watched(folder):
        place = folder.relative_to(watched.parents[2]).as_posix()
        known = RunRecord(watched).record.get("found") or {}
        if place not in known:
            folders.update_record(watched, found=known | {place: seen(folder)})


def note_sweep(place: str, digest: str) -> None:
    """Record in the run of this process's notebook which description of a sweep it shows the table of."""
    for watched in _WATCHED:
        known = RunRecord(watched).record.get("sweeps") or {}
        folders.update_record(watched, sweeps=known | {place: digest})


def fits(folder: Path, varied: Collection[str] = ()) -> bool:
    """Return whether a sweep's runs were made from the runs that this process's notebook uses.

    Args:
        folder: Folder of the sweep.
        varied: Notebooks that the sweep has several runs of, which do not count.
    """
    used = [
        [stamp for stamp in RunRecord(run).lineage() if stamp.get("notebook") not in varied]
        for run in _watched(folder)
    ]
    return all(seen(folder) == seen(folder, stamps) for stamps in used)


def _watched(folder: Path) -> list[Path]:
    """Return the run of this process's notebook if a folder is below the same folder of all runs."""
    return [run for run in _WATCHED if folder.is_relative_to(run.parents[2])]


def seen(folder: Path, made_from: Iterable[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Return when each finished run of a notebook, or of a sweep's table, ended, by its name.

    Args:
        folder: Folder of a notebook's runs, or of a sweep.
        made_from: Stamps of runs; runs that were made from others of these notebooks are left out.
    """
    runs = [RunRecord(path) for path in folders.runs_in(folder)]
    if (folder / TABLE).is_file():
        with (folder / TABLE).open(encoding="utf-8", errors="replace", newline="") as file:
            names = [str(row.get("run")) for row in csv.DictReader(file)]
        runs = [RunRecord(path) for name in names for path in folder.parents[1].glob(f"*/{name}")]
    kept = [run for run in runs if run.status == "done" and agrees(run.lineage(), made_from)]
    return {run.folder.name: run.record.get("ended") for run in kept}


def agrees(own: Iterable[Mapping[str, Any]], others: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether two lists of stamps name the same run of each notebook that both name."""
    known = [(stamp.get("notebook"), dict(stamp)) for stamp in others]
    return not any(
        (stamp.get("notebook"), dict(stamp)) not in known
        for stamp in own
        if stamp.get("notebook") in {notebook for notebook, _ in known}
    )


def finished(folder: Path, match: Mapping[str, Any]) -> list[RunRecord]:
    """Return the finished runs of a notebook's folder, the newest start first.

    Args:
        folder: Folder of the notebook's runs.
        match: Values of parameters, or of the profile, that they have.
    """
    found = []
    for run in _records(folder):
        known = {"profile": run.record.get("profile"), **run.params, **run.settings}
        if run.status == "done" and all(known.get(key) == value for key, value in match.items()):
            found.append(run)
    return found


def latest(study: str, notebook: str, *, root: Path | None = None, **match: Any) -> Path:
    """Return the folder of the newest finished run of a notebook.

    The points of sweeps are experiments: one of them is taken only where there is no other run.

    Args:
        study: Name of the study.
        notebook: Name of the notebook without ``.ipynb``.
        root: Folder of all runs; ``workspace.runs()`` where None.
        match: Values that parameters of the run must have; ``profile="smoke"`` matches the run's profile.

    Raises:
        RunError: If there is none; the sentence says which notebook to run first.
    """
    return _newest(_asked(study, notebook, root), match)


def input_run(
    study: str, notebook: str, made_from: Iterable[Mapping[str, Any]], root: Path | None = None
) -> Path:
    """Return the newest finished run of a notebook that fits the runs that are used beside it.

    Args:
        study: Name of the study.
        notebook: Name of the notebook without ``.ipynb``.
        made_from: Stamps of the other runs and of those that they were made from.
        root: Folder of all runs; ``workspace.runs()`` where None.

    Raises:
        RunError: If there is none, or each was made from other runs.
    """
    return _newest(_of(study, notebook, root), {}, list(made_from))


def _newest(folder: Path, match: Mapping[str, Any], made_from: Sequence[Mapping[str, Any]] = ()) -> Path:
    (study, notebook), found = folder.parts[-2:], finished(folder, match)
    if not found:
        wanted = f" with {', '.join(f'{k}={v!r}' for k, v in match.items())}" if match else ""
        raise RunError(
            f"No finished run of {study}/{notebook}{wanted} in {folder}: run that notebook first, in "
            f"JupyterLab or with `eolab run {study} --only {notebook}`."
        )
    fitting = [run for run in found if agrees(run.with_lineage(), made_from)]
    if not fitting:
        others = {f"{stamp.get('notebook')} {stamp.get('run')}" for stamp in made_from}
        raise RunError(
            f"Each finished run of {study}/{notebook} was made from other runs, or from earlier ones, than "
            f"{', '.join(sorted(others))}: run it again, in JupyterLab or with `eolab run {study} --only "
            f"{notebook}`, or name a run in the parameters."
        )
    own = [run for run in fitting if not run.record.get("sweep")]
    return max(own or fitting, key=lambda run: str(run.record.get("ended", ""))).folder


def named(found: Iterable[RunRecord], usual: RunRecord, parameter: str = "model") -> dict[str, RunRecord]:
    """Return runs by name: their model, and what sets each apart from a run that is compared with.

    Args:
        found: Runs of one notebook, the newest first, as of :func:`records`.
        usual: The run that the others are told apart from.
        parameter: The parameter that a name begins with.

    Returns:
        In the order of `found`; of two runs of one name the first. Inputs and :data:`NOT_NAMED` set no run
        apart.
    """
    left_out = {*NOT_NAMED, parameter, *(usual.record.get("upstream") or {})}
    runs: dict[str, RunRecord] = {}
    for run in found:
        runs.setdefault(_name(run.settings, usual.settings, parameter, left_out), run)
    return runs


def seeds_said(found: Iterable[RunRecord]) -> str:
    """Return with how many seeds each setting of some runs was trained, as a sentence.

    Args:
        found: Runs of one notebook with a parameter ``seed``.
    """
    seeds: dict[str, set[str]] = {}
    for run in found:
        same = {key: value for key, value in run.settings.items() if key not in (*NOT_NAMED[1:], "seed")}
        seeds.setdefault(repr(same), set()).add(str(run.settings.get("seed")))
    fewest, most = min(map(len, seeds.values()), default=0), max(map(len, seeds.values()), default=0)
    if most <= 1:
        return "Each model was trained with one seed: what another seed would change is not in the intervals."
    count = f"{fewest} to {most}" if fewest < most else f"{most}"
    enough = (
        "" if fewest >= MIN_SEEDS else f", which is too few to tell what a seed changes ({MIN_SEEDS} are)"
    )
    return f"Each model was trained with {count} seeds{enough}."


def _name(
    params: Mapping[str, Any], usual: Mapping[str, Any], parameter: str, left_out: Collection[str]
) -> str:
    changed = ", ".join(differing(params, usual, left_out))
    return str(params[parameter]) + (f" ({changed})" if changed else "")


def differing(
    params: Mapping[str, Any], usual: Mapping[str, Any], left_out: Collection[str] = ()
) -> list[str]:
    """Return in words which parameters differ from the usual values, such as "seed 3"."""
    return [
        f"{key.rpartition('.')[2]} {words(value)}"
        for key, value in params.items()
        if key not in left_out and value != usual.get(key)
    ]


def words(value: Any) -> str:
    """Return the value of a parameter in words."""
    if isinstance(value, Mapping):
        return "+".join(f"{key}={one}" for key, one in value.items()) or "as they are"
    return ("+".join(map(str, value)) or "none") if isinstance(value, list) else str(value)


def collect(study: str, notebook: str, *, root: Path | None = None, **match: Any) -> pd.DataFrame:
    """Return the finished runs of a notebook as a table, the oldest first.

    Columns are ``run``, ``profile``, ``ended``, ``seconds``, ``simulated``, ``folder``, the parameters
    (``training.epochs`` for keys of groups), and the metrics with nested names joined by dots
    (``test.macro.f1``). A metric that has the name of another column is called ``metrics.<name>``.

    Args:
        study: Name of the study.
        notebook: Name of the notebook without ``.ipynb``.
        root: Folder of all runs; ``workspace.runs()`` where None.
        match: Values that parameters must have, see :func:`latest`.
    """
    import pandas as pd

    return pd.DataFrame([_row(run) for run in reversed(finished(_asked(study, notebook, root), match))])


def _row(run: RunRecord) -> dict[str, Any]:
    facts = {key: run.record.get(key) for key in ("profile", "ended", "seconds")}
    place = {"simulated": run.simulated, "folder": str(run.folder)}
    row: dict[str, Any] = {"run": run.folder.name, **facts, **place, **run.settings}
    for name, value in yamls.flatten(run.metrics).items():
        row[f"metrics.{name}" if name in row else name] = value
    return row
