"""Sweeps: one notebook over a grid of parameters, and the table that comes out of it."""

from __future__ import annotations

import html
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eolab.errors import RunError
from eolab.runs import chain, execute, folders, history
from eolab.runs.chain import Options
from eolab.runs.execute import Job
from eolab.runs.study import Study, Sweep

if TYPE_CHECKING:
    import pandas as pd


def run(study: Study, name: str, options: Options, jobs: int = 1, say: Callable[[str], None] = print) -> bool:
    """Run a sweep and return whether every run of it is done.

    Upstream notebooks run first and once. Finished points are skipped, a failed one does not stop the others.
    The table is printed and written to ``<root>/<study>/sweeps/<name>/`` as CSV, Markdown and HTML.

    Args:
        study: The study.
        name: Name of the sweep.
        options: Profile (else the sweep's own), settings and folders.
        jobs: How many runs at once, each in a process of its own.
        say: Prints a line.

    Raises:
        ParameterError: If there is no such sweep.
        RunError: If an upstream notebook fails.
    """
    sweep = study.sweep(name)
    options = replace(options, profile=options.profile or sweep.profile)
    chain.note(study, options.root)
    points = _jobs(study, sweep, options, jobs, say)
    records = _run_points(points, options, jobs, say)
    runs = table_of_runs(sweep, points)
    summary = summarise(sweep, runs)
    files = _write(options.root / study.name / "sweeps" / name, sweep, runs, summary)
    failed = sum(not good for good in records)
    say(f"\n{sweep.title or f'Sweep {name}'}\n\n{markdown(summary)}\n")
    say(f"{len(points)} runs, {failed} failed. Table: {files}")
    return failed == 0


def _jobs(study: Study, sweep: Sweep, options: Options, jobs: int, say: Callable[[str], None]) -> list[Job]:
    """Run what the swept notebook needs, then return a job for each point."""
    notebook = study.notebook(sweep.notebook)
    upstream = [n for n in study.notebooks if notebook.name in chain.needing(study, n, options)]
    runs: dict[str, Path] = {}
    for name in upstream:
        one = chain.job(study, study.notebook(name), options, runs)
        if not chain.step(one, options.force, say):
            raise RunError(f"Sweep {sweep.name!r} needs {study.name}/{name}, which failed: see above.")
        runs[name] = one.folder
    found = [chain.job(study, notebook, options, runs, point) for point in sweep.points]
    return [replace(one, environment=_threads(jobs)) for one in found]


def _threads(jobs: int) -> dict[str, str]:
    """Share the cores among runs that go on at the same time."""
    if jobs == 1:
        return {}
    cores = str(max(1, (os.cpu_count() or 1) // jobs))
    return {"OMP_NUM_THREADS": cores, "TF_NUM_INTRAOP_THREADS": cores, "TF_NUM_INTEROP_THREADS": "1"}


def _run_points(points: list[Job], options: Options, jobs: int, say: Callable[[str], None]) -> list[bool]:
    lock = threading.Lock()

    def tell(text: str) -> None:
        with lock:
            say(text)

    def one(number: int, job: Job) -> bool:
        try:
            return chain.step(job, options.force, tell, f"{number}/{len(points)} ")
        except RunError as error:
            tell(f"FAILED {job.label}: {error}")
            return False

    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        futures = [pool.submit(one, number, job) for number, job in enumerate(points, 1)]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            execute.stop_all()
            raise


def table_of_runs(sweep: Sweep, points: list[Job]) -> pd.DataFrame:
    """Return one row a point: its parameters, status, seconds and metrics."""
    import pandas as pd

    rows = []
    for point, job in zip(sweep.points, points, strict=True):
        run = history.RunRecord(job.folder)
        values = {**job.notebook.defaults, **job.values}
        row: dict[str, Any] = {key: values[key] for key in dict.fromkeys((*sweep.rows, *point))}
        row |= {"status": run.status, "seconds": run.record.get("seconds"), "run": job.folder.name}
        row["simulated"] = run.simulated
        flat = folders.flatten(run.metrics) if run.status == "done" else {}
        rows.append(row | {key: flat.get(key) for key in sweep.metrics or flat})
    return pd.DataFrame(rows)


def summarise(sweep: Sweep, runs: pd.DataFrame) -> pd.DataFrame:
    """Return one line for each combination of the row parameters: mean ± standard deviation of the metrics.

    Runs that failed are left out and counted in ``failed``; the deviation is over the runs of a line (ddof 1)
    and left out where there is one run.
    """
    import pandas as pd

    names = [*sweep.rows, "status", "seconds", "run", "simulated", *(k for p in sweep.points for k in p)]
    metrics = list(sweep.metrics) or [c for c in runs.columns if c not in names]
    keys = [runs[row].map(str) for row in sweep.rows]  # lists are no group keys
    lines = []
    for _, group in runs.groupby(keys, sort=False):
        done = group[group["status"] == "done"]
        line = {row: group[row].iloc[0] for row in sweep.rows}
        line |= {"runs": len(done), "failed": len(group) - len(done)}
        lines.append(line | {m: _spread(pd.to_numeric(done[m], errors="coerce").dropna()) for m in metrics})
    table = pd.DataFrame(lines)
    return table.drop(columns="failed") if not table["failed"].any() else table


def _spread(values: pd.Series) -> str:
    if values.empty:
        return "–"
    return f"{values.mean():.4g}" + (f" ± {values.std(ddof=1):.2g}" if len(values) > 1 else "")


def markdown(table: pd.DataFrame) -> str:
    """Return a table as Markdown, columns padded so that it reads well in a terminal."""
    rows = [
        [str(c) for c in table.columns],
        *([str(v) for v in row] for row in table.itertuples(index=False)),
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["| " + " | ".join(v.ljust(w) for v, w in zip(row, widths, strict=True)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]])


def _write(folder: Path, sweep: Sweep, runs: pd.DataFrame, summary: pd.DataFrame) -> Path:
    from eolab import reports

    folder.mkdir(parents=True, exist_ok=True)
    simulated = bool(runs["simulated"].any())
    note = "\n\nSimulated data.\n" if simulated else "\n"
    folders.write_text(folder / "runs.csv", runs.to_csv(index=False))
    folders.write_text(folder / "table.csv", summary.to_csv(index=False))
    folders.write_text(folder / "table.md", f"# {sweep.title or sweep.name}\n\n{markdown(summary)}{note}")
    body = (
        f"<p>Notebook {html.escape(sweep.notebook)}; mean ± standard deviation over the runs of a line.</p>"
    )
    page = reports.page(sweep.title or f"Sweep {sweep.name}", body, [summary, runs], simulated)
    folders.write_text(folder / "table.html", page)
    return folder / "table.html"
