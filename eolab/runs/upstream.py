"""The runs that a notebook stands on: said in a line each, and made where there are none.

In JupyterLab, VS Code and the like ``runs.start`` makes what is missing by ``eolab run``, in a process of its
own, with the defaults of the notebooks upstream; under the runner, which makes them itself, it does not.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eolab.core import workspace
from eolab.core.errors import RunError, Stopped
from eolab.core.progress import InPlace, ago
from eolab.runs import folders, history, parameters, study

EOLAB = [sys.executable, "-m", "eolab.cli"]
TRIAL = "smoke"  # the profile that only tries whether all works
MOST = 6  # parameters that a line names
_TIME = re.compile(r"^> ([^·\n]+?) ·", re.M)


# === What is said ===


def line(run: history.RunRecord, batch: bool) -> str:
    """Return which run a notebook stands on: its name, age and main parameters, and what to take care of.

    Args:
        run: The run.
        batch: Whether the runner chose it; then neither a newer run nor a trial is worth a word.
    """
    facts = [
        f"{key}={history.words(value)}"
        for key, value in run.settings.items()
        if key in run.changed or key in ("dataset", "model")
    ]
    shown = [*facts[:MOST], *([f"{len(facts) - MOST} parameters more"] if len(facts) > MOST else [])]
    trial = run.record.get("profile") == TRIAL and bool(run.changed)
    care = [f"it was a trial (profile {TRIAL})"] * trial + [f"{name} is newer" for name in _newer(run)]
    said = f" Take care: {', and '.join(care)}." if care and not batch else ""
    name = f"{run.record['notebook']} {run.name}"
    return f"Stands on {', '.join([f'{name}, {_age(run)}', *shown])}.{said}"


def _age(run: history.RunRecord) -> str:
    ended = run.record.get("ended")
    if not ended:
        return "not finished"
    return ago((datetime.now(UTC) - datetime.fromisoformat(ended)).total_seconds())


def _newer(run: history.RunRecord) -> list[str]:
    """Return the newest finished run of a notebook, points of sweeps left out, where it is newer than one."""
    ended = {
        str(other.record.get("ended") or ""): other.folder.name
        for other in history.finished(run.folder.parent, {})
        if not other.record.get("sweep")
    }
    newest = max(ended, default="")
    return [ended[newest]] if newest > str(run.record.get("ended") or "") else []


# === What is made ===


def always_read(book: study.Notebook) -> list[str]:
    """Return the input parameters that a notebook reads whatever its other parameters are.

    These are all but those that its cells ask ``run.input("name")`` of under an ``if`` alone.
    """
    always, named = set(), set()
    for cell in parameters.cells(book.path, "code"):
        try:
            tree = ast.parse(cell)
        except SyntaxError:  # a magic of IPython
            continue
        branches = [node for node in ast.walk(tree) if isinstance(node, ast.If)]
        conditional = {id(node) for branch in branches for node in ast.walk(branch)}
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Attribute(attr="input"), args=[ast.Constant(value=str(name))]):
                    named.add(name)
                    always |= {name} if id(node) not in conditional else set()
    return [name for name in book.inputs if name in always or name not in named]


def make(book: study.Notebook, values: Mapping[str, Any], wanted: Collection[str]) -> None:
    """Make the runs that inputs of a notebook lack, with those that these stand on; it is said before.

    Args:
        book: The notebook.
        values: Value of each parameter.
        wanted: Its input parameters that must have a run.

    Raises:
        RunError: If a run fails, or there are runs of a notebook upstream with parameters of the user's own,
            but none fits the others.
        Stopped: If the user interrupts it.
    """
    plan = _Plan(book, values, wanted)
    if not plan.missing:
        return
    whole = study.load(book.study)
    by_hand = plan.settings(whole)
    names = [name for name in whole.notebooks if name in plan.missing]
    *needs, last = (f"{name} ({_time(whole.notebooks[name], plan.simulated)})" for name in names)
    needed = f"{', '.join(needs)} and {last}" if needs else last
    print(
        f"{book.name} needs a run of {needed}: made now, once. Interrupt the kernel to stop it.", flush=True
    )
    command = [*EOLAB, "run", book.study, "--profile", study.OWN, "--only", *names]
    if by_hand:
        command += ["--set", *by_hand]
    places = {"EOLAB_ROOT": str(workspace.root()), "EOLAB_RUNS": str(workspace.runs())}
    process = subprocess.Popen(  # out of reach of the kernel's interrupt, which is passed on
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        env=os.environ | places,
        start_new_session=True,
    )
    try:
        last = _follow(process)
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise Stopped(
            f"Stopped while {' and '.join(names)} ran: what is finished is kept, and this cell, run again, "
            "goes on from there."
        ) from None
    if process.returncode:
        raise RunError(_failure(book, names) or last)


def _follow(process: subprocess.Popen[str]) -> str:
    """Show what a command says until it ends, its progress in one line, and return its last line."""
    said, shown = [""], InPlace()
    assert process.stdout
    for text in process.stdout:
        if said[-1].startswith("  ") or not said[-1]:  # a line of progress is replaced by the next one
            said.pop()
        said.append(text.rstrip())
        if text.startswith("FAILED"):
            break
        shown.show("\n".join(said))
    process.communicate()
    return said[-1]


class _Plan:
    """Which runs are used and which are made.

    Attributes:
        missing: Notebooks that lack a run.
        used: Notebook → run folder that is used.
        simulated: Whether all data are.
    """

    def __init__(self, book: study.Notebook, values: Mapping[str, Any], wanted: Collection[str]) -> None:
        self.study, self.missing, self.simulated = book.study, set[str](), True
        self.used: dict[str, Path] = {}
        self._known: list[dict[str, Any]] = []
        for parameter, name in book.inputs.items():
            self._look(name, str(values[parameter]), parameter in wanted)

    def _look(self, name: str, given: str = "", wanted: bool = True) -> None:
        if name in self.missing or name in self.used:
            return
        try:
            folder = Path(given) if given else history.input_run(self.study, name, self._known)
        except RunError:
            theirs = history.finished(workspace.runs() / self.study / name, {})
            if wanted and any(run.changed and run.record.get("profile") != TRIAL for run in theirs):
                raise
            self.missing |= {name} if wanted else set()
            return
        run = history.RunRecord(workspace.root() / folder)
        self.used[name] = run.folder
        self.simulated &= run.simulated
        self._known += run.with_lineage()

    def settings(self, whole: study.Study) -> list[str]:
        """Return what the command sets: the runs that are there as inputs of those that are made."""
        found = []
        for book in reversed(whole.notebooks.values()):
            for parameter, name in book.inputs.items() if book.name in self.missing else ():
                self._look(name)
                if name in self.used:
                    found.append(f"{book.name}.{parameter}={self.used[name]}")
        return found


def _time(book: study.Notebook, simulated: bool) -> str:
    """Return how long a notebook takes, as its first cell says."""
    found = _TIME.search("\n".join(parameters.cells(book.path, "markdown")[:1]))
    time = f"{found[1][0].lower()}{found[1][1:]}" if found else "no time is known"
    return time if simulated else f"{time} with simulated data, longer with these"


def _failure(book: study.Notebook, names: Collection[str]) -> str:
    """Return which of some notebooks failed in its newest run, as a sentence."""
    for name in names:
        newest = next(iter(history.every(workspace.runs(), book.study, name)), None)
        if newest and newest.status == "failed":
            where, why = newest.failure
            report = newest.folder / folders.REPORT
            return f"{book.name} needs a run of {name}, which failed {where} ({why}): see {report}."
    return ""
