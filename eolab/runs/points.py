"""The runs of a sweep's points, and what they need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from eolab.core.errors import ParameterError
from eolab.runs import chain, history
from eolab.runs.chain import Options
from eolab.runs.execute import Job
from eolab.runs.study import Study, Sweep


def jobs_of(study: Study, sweep: Sweep, options: Options) -> tuple[list[Job], list[Job]]:
    """Return a job for each point, and those that they need, each once, in order.

    Raises:
        ParameterError: If a point sets a parameter of a notebook whose run is given by hand.
    """
    notebook, varied = study.notebook(sweep.notebook), study.varied(sweep)
    upstream = [n for n in study.notebooks if notebook.name in chain.needing(study, n, options)]
    others = {key.partition(".")[0] for point in sweep.points for key in point if key not in notebook.known}
    if by_hand := sorted(others.difference(upstream)):
        raise ParameterError(
            f"Sweep {sweep.name!r} varies {by_hand[0]}, whose run is given by hand: leave its --set out."
        )
    points: list[Job] = []
    above: dict[Path, Job] = {}
    for point in sweep.points:
        runs: dict[str, Path] = {}
        for name in upstream:
            values = {
                key.partition(".")[2]: value for key, value in point.items() if key.startswith(f"{name}.")
            }
            one = chain.job(study, study.notebook(name), options, runs, values)
            above.setdefault(one.folder, replace(one, sweep=sweep.name if name in varied else ""))
            runs[name] = one.folder
        values = {key: value for key, value in point.items() if key in notebook.known}
        one = chain.job(study, notebook, options, runs, values)
        points.append(replace(one, sweep=sweep.name, point=_words(point, sweep)))
    return points, [*above.values()]


def _words(point: Mapping[str, Any], sweep: Sweep) -> str:
    """Return what sets a point apart from the others, such as ``split=block model=lstm``."""
    keys = [key for key in point if any(other.get(key) != point[key] for other in sweep.points)] or [*point]
    names = [key.rpartition(".")[2] for key in keys]
    return " ".join(
        f"{name if names.count(name) == 1 else key}={history.words(point[key])}"
        for key, name in zip(keys, names, strict=True)
    )


def needs(job: Job, jobs: Sequence[Job]) -> set[Path]:
    """Return the folders of those among some jobs that a job needs, directly or through others."""
    known = {one.folder: one for one in jobs}
    found: set[Path] = set()
    waiting = [*job.upstream.values()]
    for folder in waiting:
        if folder in known and folder not in found:
            found.add(folder)
            waiting += known[folder].upstream.values()
    return found
