"""What the cells of an interactive notebook put out, so that its run has a report as one of the runner has.

The kernel sends all outputs over one session; they are kept on the way, whoever asked for them: JupyterLab,
VS Code, nbclient, papermill or Voilà. The text comes from the notebook's file.
"""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from eolab.core.errors import EolabError
from eolab.core.files import loaded, write_atomically

_SHOWN = ("stream", "display_data", "execute_result", "update_display_data", "clear_output")
_RECORDERS: list[Recorder] = []  # of this process's kernel, at most one


@dataclass
class Execution:
    """One execution of a cell.

    Attributes:
        source: Code of the cell.
        cell: Identity of the cell, as the front end gives it; empty where it does not.
        outputs: Its outputs, as a notebook holds them.
        displays: Output by the identity that later ones update it by.
    """

    source: str
    cell: str = ""
    outputs: list[Any] = field(default_factory=list)
    displays: dict[str, Any] = field(default_factory=dict)
    clear: bool = False

    def take(self, kind: str, content: dict[str, Any]) -> None:
        """Take a message of the kernel."""
        import nbformat

        if kind == "clear_output":
            self.clear = True
            if not content.get("wait"):
                self._clear()
            return
        shown = (content.get("transient") or {}).get("display_id")
        if kind == "update_display_data":
            if shown in self.displays:
                self.displays[shown].update(data=content["data"], metadata=content["metadata"])
            return
        if self.clear:
            self._clear()
        last = self.outputs[-1] if self.outputs else {}
        if kind == "stream" and last.get("name") == content["name"]:
            last["text"] += content["text"]
            return
        known = {key: value for key, value in content.items() if key != "transient"}
        self.outputs.append(nbformat.v4.new_output(kind, **known))
        if shown:
            self.displays[shown] = self.outputs[-1]

    def _clear(self) -> None:
        self.outputs.clear()
        self.displays.clear()
        self.clear = False


class Recorder:
    """Keeps the outputs of the cells that a kernel runs, from the present one on.

    Attributes:
        executions: By identity of the request, in order.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self.executions: dict[str, Execution] = {}
        session = shell.display_pub.session
        send = session.send

        def recorded(stream: Any, message: Any, *rest: Any, **how: Any) -> Any:
            kind = message["header"]["msg_type"] if isinstance(message, dict) else ""
            request = message["parent_header"].get("msg_id") if kind in _SHOWN else None
            if request in self.executions:
                self.executions[request].take(kind, message["content"])
            return send(stream, message, *rest, **how)

        session.send = recorded
        shell.events.register("pre_run_cell", self._begin)

    def restart(self) -> None:
        """Forget what was before the cell that runs now."""
        self.executions.clear()
        request = self._shell.get_parent()
        self._note(request.get("content", {}).get("code", ""), (request.get("metadata") or {}).get("cellId"))

    def _begin(self, info: Any) -> None:
        self._note(info.raw_cell, getattr(info, "cell_id", None))

    def _note(self, source: str, cell: str | None) -> None:
        request = self._shell.get_parent().get("header", {}).get("msg_id")
        if request:
            self.executions[request] = Execution(source, cell or "")

    def report(self, notebook: Path, folder: Path) -> str:
        """Write the executed notebook and the report of a run, and return a link to the report.

        It is empty where the report cannot be written, which is said: the run is done all the same.

        Args:
            notebook: The notebook's file.
            folder: The run folder.
        """
        from eolab.runs import reports

        try:
            self.write(notebook, folder / notebook.name)
            path = reports.build(folder)
        except EolabError as error:
            print(error)
            return ""
        with contextlib.suppress(ValueError):  # another drive of Windows
            return quote(Path(os.path.relpath(path)).as_posix())
        return path.as_uri()

    def write(self, notebook: Path, path: Path) -> None:
        """Write a copy of a notebook with the recorded outputs.

        An execution belongs to the cell of its identity or, where none has it, of its code; the last one of a
        cell counts. Where a cell is not in the file as it was run, its code and outputs follow those before.
        """
        import nbformat

        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        book = loaded(notebook, lambda file: nbformat.read(file, as_version=4), "a notebook", "save it again")
        for cell in book.cells:
            if cell.cell_type == "code":
                cell.update(outputs=[], execution_count=None)
        place = -1
        for number, execution in enumerate(self.executions.values(), start=1):
            cell = _cell_of(book.cells, execution)
            if cell is None and execution.outputs:
                cell = nbformat.v4.new_code_cell()
                book.cells.insert(place + 1, cell)
            if cell is not None:
                place = next(i for i, one in enumerate(book.cells) if one is cell)
                cell.update(source=execution.source, outputs=execution.outputs, execution_count=number)
        write_atomically(path, nbformat.writes(book).encode())


def _cell_of(cells: list[Any], execution: Execution) -> Any:
    """Return the cell of a notebook that an execution was of; None where the file does not have it."""
    codes = [one for one in cells if one.cell_type == "code"]
    named = [one for one in codes if execution.cell and one.get("id") == execution.cell]
    alike = [one for one in codes if one.source.strip() == execution.source.strip()]
    return next(iter(named + alike), None)


def record() -> Recorder | None:
    """Record the outputs of this process's notebook from the present cell on; None outside of a notebook."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if not hasattr(getattr(shell, "display_pub", None), "session"):
        return None
    if not _RECORDERS or _RECORDERS[0]._shell is not shell:
        _RECORDERS[:] = [Recorder(shell)]
    _RECORDERS[0].restart()
    return _RECORDERS[0]
