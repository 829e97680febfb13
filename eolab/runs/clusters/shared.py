"""What all places that carry out runs share."""

import os
from collections.abc import Callable

from eolab.core import workspace
from eolab.core.errors import RunError
from eolab.runs.execute import Job

LEAST_BYTES = 4e9  # memory of a worker, where their number is not given
PATIENCE_S = 30.0  # for a scheduler to answer and for a first worker
Say = Callable[[str], None]


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
