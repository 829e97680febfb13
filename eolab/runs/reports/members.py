"""Which runs make a study's page: those of the newest chain of one data set, by what they were made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eolab.runs import folders, history
from eolab.runs.history import RunRecord


@dataclass(frozen=True)
class Members:
    """The runs of a study's folder as its page shows them; points of sweeps stand in tables of their own.

    Attributes:
        chapters: One run a notebook, made from one another and of one data set.
        later: Later runs of the same notebooks that failed, were stopped or are running.
        others: All others by data set, that of the chapters first.
    """

    chapters: list[RunRecord]
    later: list[RunRecord]
    others: dict[str, list[RunRecord]]


def of(folder: Path, notebooks: Sequence[str]) -> Members:
    """Return the runs of a study's folder.

    The newest finished run is a chapter; then each other run, finished ones before others and newer ones
    before older ones, whose notebook has no chapter yet and that fits the chapters by data set and lineage.

    Args:
        folder: Folder of the study's runs.
        notebooks: Its notebooks in order.
    """
    runs = history.every(folder.parent, folder.name)
    own = [run for run in runs if not run.record.get("sweep")] or runs
    own.sort(key=lambda run: (run.status == "done", _when(run)), reverse=True)
    names = {run.folder: dataset(run) for run in own}
    first = names[own[0].folder] if own else ""
    chapters: dict[str, RunRecord] = {}
    known: list[dict[str, object]] = []
    for run in own:
        fits = names[run.folder] == first and history.agrees(run.with_lineage(), known)
        if fits and run.record["notebook"] not in chapters:
            chapters[run.record["notebook"]] = run
            known += run.with_lineage()
    repeated = [RunRecord(folders.beside(run.folder)) for run in chapters.values()]
    later, others = [run for run in repeated if run.record], {first: list[RunRecord]()}
    places = {name: place for place, name in enumerate(notebooks)}
    own.sort(key=lambda run: (places.get(run.folder.parent.name, len(places)), run.folder.parent.name))
    for run in own:
        chapter, name = chapters.get(run.record["notebook"]), names[run.folder]
        if chapter and run.status != "done" and name == first and _when(run) > _when(chapter):
            later.append(run)
        elif run != chapter:
            others.setdefault(name, []).append(run)
    return Members([run for run in own if run in chapters.values()], later, others)


def dataset(run: RunRecord) -> str:
    """Return the data set that a run reads, directly or through the runs that it was made from."""
    waiting, seen = [run], set[Path]()
    for one in waiting:
        if named := one.params.get("dataset"):
            return str(named)
        above = [folder for folder in one.upstream.values() if folder not in seen]
        seen.update(above)
        waiting += map(RunRecord, above)
    return next((str(entry["name"]) for one in waiting for entry in one.data), "")


def _when(run: RunRecord) -> str:
    """Return when a run ended, or was asked for again since."""
    return max(str(run.record.get(key) or "") for key in ("asked", "ended", "started"))
