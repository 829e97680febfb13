"""The folder of a twin: there whole or not at all, with the marker file that says that it is simulated."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eolab.core.errors import DataError
from eolab.data.catalog import TWIN_FILE


@contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """Give a folder to write in, which gets its name at the end; after a failure nothing is left.

    Args:
        folder: Must not exist.

    Raises:
        DataError: If it exists.
    """
    if folder.exists():
        raise DataError(f"{folder} exists already: remove it or write the twin somewhere else.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield building
        building.chmod(0o755)
        building.rename(folder)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


def mark(folder: Path, writer: str, generator: int, **facts: Any) -> None:
    """Write the marker file of a twin: its writer with the version of it, its parameters, what it holds."""
    marker = {"simulated": True, "writer": writer, "generator": generator, **facts}
    (folder / TWIN_FILE).write_text(json.dumps(marker, indent=2) + "\n")
