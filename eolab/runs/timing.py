"""How long the runs that are still to do will take, from earlier runs of their notebooks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eolab.core.progress import duration
from eolab.runs import history

if TYPE_CHECKING:
    from eolab.runs.execute import Job

WEIGHTS = {"model": 3, "seed": 0}  # of parameters, for what run is like another; 1 for all others


class Left:
    """The time left of some jobs.

    A run is expected to take as long as those earlier runs of its notebook and profile that have most
    parameters in common with it: their mean.

    Args:
        jobs: The jobs that are to do.
        workers: How many run at once.
    """

    def __init__(self, jobs: Iterable[Job], workers: int = 1) -> None:
        self._waiting = {job.folder: job for job in jobs}
        self._known: dict[tuple[Path, str | None], list[tuple[dict[str, Any], float]]] = {}
        self._workers = workers
        for job in self._waiting.values():
            self._learn_of(job)

    def _learn_of(self, job: Job) -> None:
        """Read what the earlier runs of a job's notebook took."""
        for key in {_kind(job)} - self._known.keys():
            done = history.finished(key[0], {"profile": key[1]})
            self._known[key] = [(run.settings, run.record.get("seconds") or 0.0) for run in done]

    def ended(self, folder: Path) -> None:
        """Take a run off, and learn what it took where it was run."""
        job = self._waiting.pop(folder, None)
        run = history.RunRecord(folder)
        if job and run.status == "done":
            self._known[_kind(job)].append((run.settings, run.record.get("seconds") or 0.0))

    def _expected(self, job: Job) -> float | None:
        """Return the seconds that a job will take; None where no run is known."""
        wanted = {**job.notebook.defaults, **job.values}
        known = self._known[_kind(job)]
        nearest = max((_likeness(wanted, settings, job.upstream) for settings, _ in known), default=0)
        like = [taken for settings, taken in known if _likeness(wanted, settings, job.upstream) == nearest]
        return sum(like) / len(like) if like else None

    def __str__(self) -> str:
        """Say the time left, "over …" where some runs are like none before; empty where nothing is known."""
        expected = [self._expected(job) for job in list(self._waiting.values())]
        known = [seconds for seconds in expected if seconds is not None]
        if not known:
            return ""
        over = "over " if len(known) < len(expected) else ""
        return f"{over}{duration(max(sum(known) / self._workers, max(known)))}"


def _kind(job: Job) -> tuple[Path, str | None]:
    return job.root / job.notebook.study / job.notebook.name, job.profile


def _likeness(wanted: Mapping[str, Any], settings: Mapping[str, Any], inputs: Collection[str]) -> int:
    alike = [key for key in wanted if key not in inputs and settings.get(key) == wanted[key]]
    return sum(WEIGHTS.get(key, 1) for key in alike)
