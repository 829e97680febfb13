"""What a finished run was made from, beside what is there now: a run whose sources changed is out of date.

What a run of an earlier version of the package did not record is not compared: the run is kept, and the
command says so.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eolab.core.errors import ParameterError
from eolab.data import sources
from eolab.runs import folders, history, provenance, study

if TYPE_CHECKING:
    from eolab.runs.study import Notebook

NAMED = 3  # changed files that a sentence names
AROUND = tuple(  # modules that work before and after a notebook, and change none of its results
    f"eolab/runs/{name}"
    for name in ("chain.py", "execute.py", "freshness.py", "reports/", "tracking.py", "upstream.py")
)


def changes(run: history.RunRecord, notebook: Notebook, upstream: Mapping[str, Path]) -> list[str]:
    """Return what a run was made from and is another now, as parts of a sentence; empty where nothing is.

    The notebook's code, the upstream runs (told by when they ended), files and catalogue entry of each data
    set, files that parameters name, the library that Keras runs on, and the runs and the sweeps of
    ``study.yaml`` that the notebook found by itself. The package's code is apart, see :func:`code_changes`.

    Args:
        run: The earlier run.
        notebook: Its notebook.
        upstream: Input parameter → upstream run folder.
    """
    if not run.record:
        return []
    found = [] if run.record.get("code") == notebook.code else ["the notebook's code changed"]
    known = run.record.get("upstream") or {}
    for name, folder in upstream.items():
        stamp = history.RunRecord(folder).stamp
        if known.get(name) != stamp:
            found.append(f"{stamp['notebook'] or folder.parent.name} was run again")
    found += filter(None, map(provenance.data_changes, run.data))
    found += provenance.file_changes(run.record.get("files") or {})
    found += filter(None, [_backend(run)])
    found += filter(None, (_sweep(*one) for one in (run.record.get("sweeps") or {}).items()))
    for place, before in (run.record.get("found") or {}).items():
        found += filter(None, [_new_runs(run, place, before)])
    return found


def code_changes(run: history.RunRecord) -> str:
    """Return which source files of the package or the project changed since a run, as a part of a sentence.

    Comments and docstrings do not count; empty where nothing changed, or the run did not record its code.
    """
    modules = run.record.get("modules") or {}
    return _files(sources.changed({name: modules[name] for name in modules if not name.startswith(AROUND)}))


def remarks(run: history.RunRecord) -> str:
    """Return in brackets what is to be known of a finished run that is kept; empty where there is nothing.

    Another version of Keras or of the library below it is said, and makes no run out of date.
    """
    code, known = code_changes(run), run.record.get("modules")
    found = [f"kept, though {code}"] if code else []
    found += [] if known else ["made before the package's code was recorded"]
    found += [f"the data of {name} are not here to compare" for name in provenance.data_missing(run.data)]
    found += _versions(run)
    return f" ({'; '.join(found)})" if found else ""


def other_run(notebook: Notebook, values: Mapping[str, Any], root: Path) -> str:
    """Return how a run that is to be made differs from the newest one of the same parameters.

    Args:
        notebook: The notebook.
        values: Parameters that were set, inputs left out.
        root: Folder of all runs.

    Returns:
        A part of a sentence, empty where there is no such run.
    """
    about = notebook.about(values)
    wanted = {key: value for key, value in about["parameters"].items() if key not in notebook.inputs}
    for folder in sorted(folders.runs_in(root / notebook.study / notebook.name)):
        run = history.RunRecord(folder)
        own = {key: value for key, value in run.params.items() if key not in notebook.inputs}
        if run.status == "done" and own == wanted:
            code = run.record.get("code") != notebook.code
            return f"the {'notebook' if code else 'upstream runs'} changed since {folder.name}"
    return ""


def _files(names: Sequence[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - NAMED} files more" if len(names) > NAMED else ""
    return f"code changed: {', '.join(names[:NAMED])}{more}"


def _has_networks(run: history.RunRecord) -> bool:
    return any(name.startswith("eolab/models/") for name in run.record.get("modules") or {})


def _used(variables: Mapping[str, str]) -> str:
    return variables.get("KERAS_BACKEND", "tensorflow")


def _versions(run: history.RunRecord) -> list[str]:
    """Return which other versions of Keras and the library below it are here now, for a run with networks."""
    known = run.environment.get("packages") or {}
    names = [name for name in ("keras", _used(os.environ)) if name in known] if _has_networks(run) else []
    now = provenance.versions(names)
    return [
        f"made with {name} {known[name]}, here is {now[name]}" for name in now if now[name] != known[name]
    ]


def _sweep(place: str, digest: str) -> str:
    """Return whether ``study.yaml`` describes a sweep in another way, whose table a run shows."""
    name, _, sweep = place.partition("/")
    with contextlib.suppress(ParameterError):  # the study or the sweep is gone
        if study.load(name).sweep(sweep).digest == digest:
            return ""
    return f"sweep {sweep!r} of {study.FILE} changed"


def _backend(run: history.RunRecord) -> str:
    """Return how the library that Keras runs on changed, where the run loaded networks."""
    before, now = _used(run.environment.get("variables") or {}), _used(os.environ)
    if not _has_networks(run):
        return ""
    return f"KERAS_BACKEND was {before} and is {now}" if before != now else ""


def _new_runs(run: history.RunRecord, place: str, before: Mapping[str, Any]) -> str:
    """Return how many runs that a notebook looks for are new, made again or gone since it ran."""
    now = history.seen(run.folder.parents[2] / place, run.lineage())
    now.pop(run.folder.name, None)  # a notebook that gathers its own runs
    new = sum(before.get(name) != ended for name, ended in now.items())
    gone = len(set(before) - set(history.seen(run.folder.parents[2] / place)))
    parts = [f"{new} new" if new else "", f"{gone} gone" if gone else ""]
    counted = " and ".join(filter(None, parts))
    return counted and f"runs of {Path(place).name}: {counted}"
