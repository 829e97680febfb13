"""What carries out runs, and what all places share."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from eolab.core import workspace
from eolab.core.errors import RunError
from eolab.runs.execute import Job

LEAST_BYTES = 4e9  # memory of a worker, where their number is not given
PATIENCE_S = 30.0  # for a scheduler to answer and for a first worker
Say = Callable[[str], None]


@dataclass(frozen=True)
class Workers:
    """What carries out runs.

    Attributes:
        number: How many runs it takes at once.
        run: Carries out a job, whose lines begin with a counter, and returns what :func:`chain.step` does;
            threads call it side by side.
        stop: Stops the run of a folder, or all that go on; the same command resumes them.
        again: Whether a run of a sweep that fails begins once more, as another machine may be free of what
            made it fail.
    """

    number: int
    run: Callable[[Job, str], str]
    stop: Callable[[Path | None], None]
    again: bool = False


def threads(beside: int) -> dict[str, str]:
    """Return the environment that shares the cores among runs that go on at the same time."""
    if beside == 1:
        return {}
    cores = str(max(1, (os.cpu_count() or 1) // beside))
    return {"OMP_NUM_THREADS": cores, "TF_NUM_INTRAOP_THREADS": cores, "TF_NUM_INTEROP_THREADS": "1"}


def environment() -> dict[str, str]:
    """Return the environment variables of this command that its runs need on other machines."""
    own = {key: value for key, value in os.environ.items() if key.startswith(("EOLAB_", "MLFLOW_"))}
    return own | {"EOLAB_ROOT": str(workspace.root())}


def begin(job: Job, environment: dict[str, str], worker: str) -> None:
    """Prepare a worker for a job.

    Args:
        job: The job.
        environment: Result of :func:`environment`.
        worker: Name of the worker.

    Raises:
        RunError: If the worker does not see the notebook.
    """
    os.environ.update(environment)
    if not job.notebook.path.is_file():
        raise RunError(
            f"the worker {worker} does not see {job.notebook.path}: cluster and command need the same "
            "folders."
        )
