"""Names for runs, and their end: what is deleted, what keeps it from being deleted."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from eolab.core.errors import ParameterError, RunError
from eolab.runs import folders, history, overview
from eolab.runs.history import RunRecord

LONGEST = 60  # letters of a name


def name(folder: Path, words: str, root: Path) -> None:
    """Give a run a name, which lists and reports show and commands take; an empty one takes it away.

    Args:
        folder: The run folder.
        words: The name.
        root: Folder of all runs, in which no other run may have the name.

    Raises:
        ParameterError: If the name is too long, has letters of a path, or another run has it.
        RunError: If a process works in the folder.
    """
    words = " ".join(words.split())
    if len(words) > LONGEST or re.search(r"[/\\]|^[.~-]", words):
        raise ParameterError(
            f"A run's name has at most {LONGEST} letters, no / and no \\, and begins with no . ~ or -, found "
            f"{words!r:.90}."
        )
    for run in history.every(root) if words else ():
        if run.folder.resolve() != folder.resolve() and words in (run.folder.name, run.record.get("label")):
            raise ParameterError(f"{run.folder} has the name {words!r} already: choose another one.")
    held = folders.lock(folder)
    if held is None:
        raise RunError(folders.BUSY.format(folder))
    with held:
        folders.update_record(folder, label=words)


def check_deletable(chosen: Sequence[RunRecord], root: Path, force: bool = False) -> None:
    """Raise unless runs may be deleted.

    Args:
        chosen: The runs.
        root: Folder of all runs; nothing outside of it is ever deleted.
        force: Whether runs that others stand on, or that a process is at, may be deleted too.

    Raises:
        RunError: If a run lies elsewhere, is at work, or another run that stays was made from it.
    """
    for run in chosen:
        place, home = run.folder.absolute(), root.resolve()
        inside = place.parent.resolve().is_relative_to(home) and place.parents[2].resolve() == home
        if not inside or place.is_symlink():
            raise RunError(
                f"{place} is no run folder of {home}, and is not deleted: --out names another one."
            )
    if force:
        return
    for run in chosen:
        if overview.at_work(run.folder):
            raise RunError(f"{run.folder} is at work: wait for its end, or delete it with --force.")
    gone = {_place(run): run for run in chosen}
    for other in [run for run in history.every(root) if _place(run) not in gone]:
        for stamp in (other.record.get("upstream") or {}).values():
            if found := gone.get(
                (str(other.record["study"]), str(stamp.get("notebook")), str(stamp.get("run")))
            ):
                raise RunError(
                    f"{other.record['notebook']} {other.name} was made from {found.record['notebook']} "
                    f"{found.name}: delete {other.name} too, or give --force."
                )


def _place(run: RunRecord) -> tuple[str, ...]:
    return run.folder.absolute().parts[-3:]


def delete(run: RunRecord) -> None:
    """Delete a run folder, with what a stop or a kill left beside it."""
    for folder in (run.folder, folders.beside(run.folder), *folders.set_aside(run.folder)):
        aside = folder.with_name(f".{folder.name}.deleted")  # from now on it is no run
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(aside, ignore_errors=True)
            folder.rename(aside)
            shutil.rmtree(aside)
