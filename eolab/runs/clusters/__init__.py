"""Where the runs of a sweep or a search go on: in processes of this machine, or on a cluster of dask or Ray.

A kind of place is a context manager in :data:`KINDS` that gives :class:`Workers`. Each run is a process of
its own in all of them, in the same folder, and a run that was done before is skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from eolab.core.errors import ParameterError, check_known
from eolab.runs import chain
from eolab.runs.chain import Workers
from eolab.runs.clusters import on_dask, on_ray
from eolab.runs.clusters.shared import Say


def workers(on: str, jobs: int | None, force: bool, say: Say) -> AbstractContextManager[Workers]:
    """Give the workers of a place as long as they are needed.

    Args:
        on: Empty for processes of this machine, ``dask`` or ``ray`` for a cluster on it, ``dask=ADDRESS`` or
            ``ray=ADDRESS`` for one that is there; all machines must see the folders of the project, its data
            and its runs.
        jobs: Runs at once on this machine; None for one in processes, and as many in a cluster as it has
            cores and 4 GB of memory for.
        force: Whether to run again what is done.
        say: Prints a line.

    Raises:
        ParameterError: If there is no such place, its package is missing, or nothing answers at the address.
    """
    kind, equals, address = on.partition("=")
    if kind not in KINDS:
        check_known(kind, EXAMPLES, f"--on {on}: there is no place {kind!r}")
    if equals and not address:
        raise ParameterError(f"--on {on} names no address: give one such as {EXAMPLES[kind]}.")
    if address and jobs:
        raise ParameterError(f"--on {on} has workers of its own, one run for each thread: leave --jobs out.")
    return KINDS[kind](address, jobs, force, say)


EXAMPLES = {"dask": "dask=tcp://host:8786", "ray": "ray=host:6379"}


@contextmanager
def _here(_: str, jobs: int | None, force: bool, say: Say) -> Iterator[Workers]:
    """Give processes of this machine."""
    yield chain.here(jobs or 1, force, say)


KINDS: dict[str, Callable[[str, int | None, bool, Say], AbstractContextManager[Workers]]] = {
    "": _here,
    "dask": on_dask.workers,
    "ray": on_ray.workers,
}
"""What ``--on`` may name; empty stands for this machine without a cluster."""
