"""The process that runs one notebook: ``python -m eolab.runs.worker job.json``.

It is started by :mod:`eolab.runs.execute` and stops when its standard input closes, so that nothing goes on
working when the runner is gone, however it went.
"""

import contextlib
import json
import logging
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from eolab.core.errors import EolabError, system_error
from eolab.runs import folders
from eolab.runs.display import NOISE

LINE_EVERY_S = 10.0
_KERNEL = [
    "--IPKernelApp.log_level=CRITICAL",  # no notes on TCP, no interrupts
    # cycles among all that TensorFlow holds are looked for less often, not at the end: almost 2 s a notebook
    "--IPKernelApp.exec_lines=__import__('gc').set_threshold(10_000)",
    "--IPKernelApp.exec_lines=__import__('atexit').register(__import__('gc').freeze)",
]


class Progress:
    """Plain lines in the terminal: which cell runs, and for how long.

    Args:
        label: Name of the run.
        total: Number of code cells.
    """

    def __init__(self, label: str, total: int) -> None:
        self.label, self.total = label, total
        self.running: Any = None
        self.index = self.number = 0
        self._cell_started = self._said = time.monotonic()
        threading.Thread(target=self._tick, daemon=True).start()

    def start(self, cell: Any, cell_index: int) -> None:
        """Note that a cell starts."""
        self.number += cell.cell_type == "code"
        self.running, self.index, self._cell_started = cell, cell_index, time.monotonic()

    def _tick(self) -> None:
        while True:
            time.sleep(0.5)
            now = time.monotonic()
            if self.running is not None and now - self._said >= LINE_EVERY_S:
                self._said = now
                print(self.line(now - self._cell_started), flush=True)

    def line(self, seconds: float) -> str:
        """Return the line for the cell that runs, with the last line that it printed."""
        last = _last_line(self.running)
        return f"  {self.label}  cell {self.number}/{self.total}  {seconds:.0f} s{last}"


def _last_line(cell: Any) -> str:
    streams = [o.text for o in cell.get("outputs", []) if o.output_type == "stream"]
    lines = "".join(streams)[-2000:].replace("\r", "\n").strip().splitlines()
    lines = [line for line in lines if not NOISE.match(line)]
    return f"  {lines[-1].strip()[:100]}" if lines else ""


def main(job_file: str) -> int:
    """Run the job that a file describes and return the exit status."""
    try:
        return _main(job_file)
    except OSError as error:  # a full disk, on which the record cannot be written either
        print(f"  {system_error(error) or error}", file=sys.stderr, flush=True)
        return 1


def _main(job_file: str) -> int:
    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    folder = Path(job["folder"])
    held = folders.lock_soon(folder)
    if held is None:
        return 3  # the runner says why
    with held:
        _keep_libraries_quiet(folder / "kernel.log")
        threading.Thread(target=_stop_with_parent, args=(folder,), daemon=True).start()
        beginning = {"status": "running", "started": folders.now(), "ended": None, "failed": None}
        folders.update_record(folder, **job["record"], **beginning, process=os.getpid())
        with _followed(folder):
            failed = _execute(job, folder)
        folders.end(folder, "failed" if failed else "done", failed)
        if not job.get("rank"):  # others write no report
            _afterwards(folder)
    return 1 if failed else 0


def _keep_libraries_quiet(log: Path) -> None:
    """Send what C++ libraries write to standard error to a file; our own lines stay where they were."""
    sys.stderr.flush()
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 2)


def _stop_with_parent(folder: Path) -> None:
    os.read(0, 1)  # returns when the runner closes our standard input, or dies
    if folders.read_json(folder / folders.RECORD).get("status") == "running":
        folders.end(folder, "stopped")
    os._exit(130)  # the kernel watches its parent and ends too


def _execute(job: dict[str, Any], folder: Path) -> dict[str, Any] | None:
    """Run the notebook; return what failed, None when nothing did."""
    import nbformat
    import papermill
    from papermill.exceptions import PapermillExecutionError

    notebook, output = nbformat.read(job["path"], as_version=4), folder / job["output"]
    codes = sum(cell.cell_type == "code" for cell in notebook.cells)
    progress = Progress(job["label"], codes + bool(job["values"]))  # papermill adds a cell with the values
    logging.getLogger("papermill").setLevel(logging.ERROR)
    try:
        papermill.execute_notebook(
            notebook,
            str(output).replace("{", "{{").replace("}", "}}"),  # papermill formats paths
            parameters=job["values"],
            kernel_name="python3",  # the environment of this process
            progress_bar=False,
            cwd=str(Path(job["path"]).parent),
            execution_timeout=job["timeout"],
            extra_arguments=_KERNEL,
            on_cell_start=progress.start,
        )
    except PapermillExecutionError as error:
        return folders.failure(error.ename, error.evalue, error.exec_count, error.source, error.traceback)
    except Exception as error:  # a dead kernel, a cell over its time, a full disk: all end in the record
        return _broken(error, progress, output)
    finally:
        progress.running = None
    return None


def _broken(error: Exception, progress: Progress, output: Path) -> dict[str, Any]:
    """Record an end that no cell reported, and write it into the notebook where it happened."""
    import nbformat

    name = type(error).__name__
    first = system_error(error) or next(iter(str(error).strip().splitlines()), name)
    reason = {
        "CellTimeoutError": "the cell ran longer than the time limit",
        "DeadKernelError": "the kernel died, most often for lack of memory",
    }.get(name, first)
    if progress.running is None:
        return folders.failure(name, reason)
    cell, trace = progress.running, [f"{name}: {reason}"]
    cell.setdefault("outputs", []).append(
        nbformat.v4.new_output("error", ename=name, evalue=reason, traceback=trace)
    )
    with contextlib.suppress(OSError, ValueError):  # a full disk leaves half a notebook
        notebook = nbformat.read(output, as_version=4)  # as far as it was saved
        notebook.cells[progress.index] = cell
        nbformat.write(notebook, output)
    return folders.failure(name, reason, cell.get("execution_count"), cell.source, trace)


def _followed(folder: Path) -> contextlib.AbstractContextManager[None]:
    """Return what logs epochs to MLflow while the notebook runs, where it is asked for."""
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        return contextlib.nullcontext()
    from eolab.runs import tracking

    return tracking.followed(folder)


def _afterwards(folder: Path) -> None:
    """Write the report and log to MLflow; a problem with either does not undo the run."""
    try:
        from eolab.runs import reports

        reports.build(folder)
        if os.environ.get("MLFLOW_TRACKING_URI"):
            from eolab.runs import tracking

            tracking.log(folder)
    except EolabError as error:
        folders.update_record(folder, note=str(error))
        print(f"  {error}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
