"""Where a project's files live: its root, data, notebooks and runs, whatever the working directory."""

import os
from pathlib import Path

from eolab.core.errors import EolabError

CATALOG_FILE = "data_catalog.yaml"


def root() -> Path:
    """Return the project's root folder.

    It is ``$EOLAB_ROOT`` where set, else the nearest parent of the working directory that holds a
    ``data_catalog.yaml``, else the checkout that this package was installed from.

    Raises:
        EolabError: If none of the three holds a ``data_catalog.yaml``.
    """
    named = os.environ.get("EOLAB_ROOT")
    if named:
        candidates = [Path(named)]
    else:
        here = Path.cwd()
        candidates = [here, *here.parents, Path(__file__).resolve().parents[2]]
    for folder in candidates:
        if (folder / CATALOG_FILE).is_file():
            return folder.resolve()
    raise EolabError(
        f"No {CATALOG_FILE} in {candidates[0]} or above it: "
        "start from a folder inside the project, or set EOLAB_ROOT to the project's folder."
    )


def notebooks() -> Path:
    """Return the folder of the studies' notebooks."""
    return root() / "notebooks"


def cache() -> Path:
    """Return the folder of what can be made again: ``$EOLAB_CACHE``, else ``eolab`` in the user's cache."""
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("EOLAB_CACHE") or user / "eolab")


def runs() -> Path:
    """Return the folder that run folders are written under: ``$EOLAB_RUNS``, else ``<root>/runs``."""
    return Path(os.environ.get("EOLAB_RUNS") or root() / "runs").expanduser().resolve()
