"""The runs of a project at a glance: a line a run, and several runs side by side."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eolab.core import workspace, yamls
from eolab.core.errors import ParameterError
from eolab.runs import folders, freshness, history, study
from eolab.runs.history import RunRecord

if TYPE_CHECKING:
    import pandas as pd

    from eolab.runs.study import Study

COLUMNS = (
    *("notebook", "run", "status", "started", "seconds", "profile", "parameters", "metric", "score"),
    *("simulated", "changed", "bytes", "folder"),
)
FACTS = ("notebook", "status", "started", "seconds", "profile")  # of runs side by side
N_MAIN = 6  # metrics that stand for a run which no sweep has a table of


def table(study: str = "", notebook: str = "", root: Path | None = None) -> pd.DataFrame:
    """Return all runs, whatever their status, a line a run, by notebook and the newest start first.

    Args:
        study: Name of a study; all where empty.
        notebook: Name of a notebook; all where empty.
        root: Folder of all runs; ``workspace.runs()`` where None.

    Returns:
        The columns :data:`COLUMNS`: ``run`` is the name of the run (its words where it has some, see
        `eolab runs name`), ``started`` a time in UTC, ``seconds`` what it took, ``parameters`` what differs
        from the notebook's defaults and the profile (a model is always there), ``metric`` and ``score`` the
        first of :func:`main_metrics`, ``changed`` what it was made from and is another now (empty for a run
        that is up to date), ``bytes`` its size on disk.
    """
    import pandas as pd

    known = cache(_study)
    place = root or workspace.runs()
    rows = [_row(run, known) for run in history.every(place, study or "*", notebook or "*")]
    return pd.DataFrame(rows, columns=[*COLUMNS])


def _row(run: RunRecord, known: Callable[[str], Study | None]) -> dict[str, Any]:
    name, notebook = str(run.record["study"]), str(run.record["notebook"])
    metric, score = headline(run, known(name))
    return {
        "notebook": f"{name}/{notebook}",
        "run": run.name,
        "status": status(run),
        "started": datetime.fromisoformat(run.record.get("started") or folders.now()).astimezone(UTC),
        "seconds": run.record.get("seconds"),
        "profile": run.record.get("profile") or ("" if run.record.get("interactive") else "default"),
        "parameters": differing(run, known(name)),
        "metric": metric,
        "score": score,
        "simulated": run.simulated,
        "changed": _changed(run, known(name)),
        "bytes": size(run.folder),
        "folder": str(run.folder),
    }


def _study(name: str) -> Study | None:
    """Return a study, None where it is not in this project, or its file cannot be used now."""
    try:
        return study.load(name)
    except ParameterError:
        return None


def status(run: RunRecord) -> str:
    """Return the status of a run; one that says it is running although nobody works at it was "killed"."""
    return "killed" if run.status == "running" and not at_work(run.folder) else run.status


def at_work(folder: Path) -> bool:
    """Return whether a process works in a run folder or repeats its run."""
    for place in (folder, folders.beside(folder)):
        for name in (folders.LOCK, folders.RUNNER_LOCK):
            if (place / name).exists():
                held = folders.lock(place, name)
                if held is None:
                    return True
                held.close()
    return False


def size(folder: Path) -> int:
    """Return the bytes of all files in a folder; links are not followed."""
    files = (os.path.join(place, name) for place, _, names in os.walk(folder) for name in names)
    return sum(os.lstat(file).st_size for file in files if os.path.lexists(file))


def differing(run: RunRecord, known: Study | None = None) -> str:
    """Return the parameters of a run that neither its notebook's defaults nor its profile have.

    Args:
        run: The run.
        known: Its study, for the profile.
    """
    usual = run.flat(run.record.get("defaults") or {})
    profile, notebook = str(run.record.get("profile")), str(run.record["notebook"])
    if known and profile in known.profiles and notebook in known.notebooks:
        usual |= known.values(notebook, profile)
    model = str(run.params.get("model") or "")
    return ", ".join(filter(None, [model, *history.differing(run.settings, usual, {"model", *_inputs(run)})]))


def _inputs(run: RunRecord) -> set[str]:
    return set(run.record.get("upstream") or {})


def main_metrics(run: RunRecord, known: Study | None = None, own: str = "") -> dict[str, float]:
    """Return the metrics that stand for a run, by name.

    Those of the table of a sweep of its notebook, the first one in ``study.yaml``; else scores of its test
    samples.

    Args:
        run: The run.
        known: Its study, for the sweeps.
        own: A sweep that comes before the others.
    """
    found = numbers(run)
    sweeps = [
        one for one in (known.sweeps if known else {}).values() if one.notebook == run.record["notebook"]
    ]
    for sweep in sorted(sweeps, key=lambda one: one.name != own):
        if chosen := {name: found[name] for name in sweep.metrics if name in found}:
            return chosen
    tests = {name: value for name, value in found.items() if name.startswith("test.")}
    return dict([*(tests or found).items()][:N_MAIN])


def main_metrics_of(run: RunRecord) -> dict[str, float]:
    """Return :func:`main_metrics` of a run, those of its own sweep first, of its study as it is now."""
    return main_metrics(run, _study(str(run.record["study"])), str(run.record.get("sweep") or ""))


def numbers(run: RunRecord) -> dict[str, float]:
    """Return the metrics of a run that are numbers, nested names joined by dots."""
    flat = yamls.flatten(run.metrics)
    return {name: value for name, value in flat.items() if type(value) in (int, float)}


def headline(run: RunRecord, known: Study | None = None) -> tuple[str, float | None]:
    """Return name and value of the first of :func:`main_metrics`, of the test samples where there is one."""
    found = main_metrics(run, known)
    name = next((name for name in found if name.startswith("test.")), next(iter(found), ""))
    return name, found.get(name)


def _changed(run: RunRecord, known: Study | None) -> str:
    """Return what changed since a finished run, see :mod:`eolab.runs.freshness`."""
    if run.status != "done":
        return ""
    notebook = known.notebooks.get(str(run.record["notebook"])) if known else None
    found = freshness.changes(run, notebook, run.upstream) if notebook else ["its notebook is not here"]
    return "; ".join(filter(None, [*found, freshness.code_changes(run)]))


# === Side by side ===


def compare(chosen: Sequence[Path | str | RunRecord], root: Path | None = None) -> pd.DataFrame:
    """Return runs side by side: what they are, whether their data and code are the same, what differs.

    Args:
        chosen: The runs, by folder or name.
        root: Folder of all runs; ``workspace.runs()`` where None.

    Returns:
        A column a run, and a row each with the index levels ``part`` and ``name``: "run" (:data:`FACTS`,
        simulated), "data" (a row a data set, of those of upstream runs too: the beginning of its
        fingerprint), "code" (notebook, package, versions), "parameter" (those that differ), and "metric"
        (all numbers). A fact that a run does not have is None.
    """
    import pandas as pd

    found = [one if isinstance(one, RunRecord) else RunRecord(history.find(one, root)) for one in chosen]
    columns = [
        {("run", key): run.record.get(key) for key in FACTS}
        | {("run", "simulated"): run.simulated}
        | {("data", name): digest for name, digest in _data(run).items()}
        | {("code", name): digest for name, digest in _code(run).items()}
        | {("parameter", key): value for key, value in run.settings.items() if key not in _inputs(run)}
        | {("metric", key): value for key, value in numbers(run).items()}
        for run in found
    ]
    rows = list(dict.fromkeys(row for column in columns for row in column))
    kept = [
        row
        for row in sorted(rows, key=lambda row: ("run", "data", "code", "parameter", "metric").index(row[0]))
        if row[0] in ("run", "data", "metric") or not _alike(column.get(row) for column in columns)
    ]
    cells = [[column.get(row) for column in columns] for row in kept]
    index = pd.MultiIndex.from_tuples(kept, names=["part", "name"])
    return pd.DataFrame(cells, index, [run.name for run in found], dtype=object)


def same(table: pd.DataFrame, part: str) -> bool:
    """Return whether all runs of :func:`compare` agree in a part, such as "data" or "code"."""
    rows = table[table.index.get_level_values("part") == part]
    return all(_alike(cells) for cells in rows.itertuples(index=False))


def _alike(values: Iterable[Any]) -> bool:
    first, *others = values
    return all(one == first for one in others)


def _data(run: RunRecord) -> dict[str, str]:
    """Return the fingerprints of the data sets that a run and those above it read, by name."""
    found: dict[str, str] = {}
    waiting, seen = [run], set[Path]()
    for one in waiting:
        for entry in one.data:
            found.setdefault(str(entry["name"]), str(entry.get("fingerprint") or "")[:12])
        above = [folder for folder in one.upstream.values() if folder not in seen]
        seen.update(above)
        waiting += map(RunRecord, above)
    return found


def _code(run: RunRecord) -> dict[str, str]:
    """Return digests of a run's code and versions of its libraries, by name."""
    modules: Mapping[str, str] = run.record.get("modules") or {}
    packages = run.environment.get("packages") or {}
    kept = {name: digest for name, digest in modules.items() if not name.startswith(freshness.AROUND)}
    return {f"notebook {run.record['notebook']}": str(run.record.get("code"))} | kept | packages
