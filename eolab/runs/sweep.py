"""Sweeps: one notebook over a grid of parameters, and the table that comes out of it.

``<root>/<study>/sweeps/<name>/`` holds ``runs.csv`` (a row a run: parameters, status, name of its folder,
metrics) and the table as ``table.csv``, ``table.md`` and ``table.html``; :func:`sweep_table` returns it to a
notebook.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from eolab.core import workspace, yamls
from eolab.core.errors import ParameterError, RunError
from eolab.core.files import write_atomically
from eolab.runs import (
    chain,
    clusters,
    folders,
    history,
    lines,
    pairs,
    published,
    reports,
    study,
)
from eolab.runs.chain import Options, run_all
from eolab.runs.execute import Job
from eolab.runs.points import jobs_of, needs
from eolab.runs.study import Study, Sweep

if TYPE_CHECKING:
    import pandas as pd

RUNS = history.TABLE
SEEDS = "seed: [0, 1, 2]"
_ENDS = (lines.STD, lines.LOW, lines.HIGH)
FACTS = ("status", "seconds", "run", "simulated")  # columns of runs.csv that are neither parameter nor metric


class _Plan(NamedTuple):
    """A sweep of a command.

    Attributes:
        sweep: The sweep.
        points: Its runs.
        above: The runs that they need.
        folder: Where its table is kept.
    """

    sweep: Sweep
    points: list[Job]
    above: list[Job]
    folder: Path


def run(
    study: Study,
    names: Sequence[str],
    options: Options,
    jobs: int | None = None,
    say: Callable[[str], None] = print,
    on: str = "",
) -> bool:
    """Run one sweep or several and return whether every run of them is done.

    What several points need runs once, before them; whatever needs nothing more may go on side by side, also
    of different sweeps. Finished runs are skipped, a failed one stops those alone that need it. Each table is
    printed and written to ``<root>/<study>/sweeps/<name>/`` as CSV, Markdown and HTML.

    Args:
        study: The study.
        names: Names of the sweeps.
        options: Profile (else each sweep's own), settings and folders.
        jobs: How many runs at once, each in a process of its own; see :func:`eolab.runs.clusters.workers`.
        say: Prints a line.
        on: Where they run, see there.

    Raises:
        ParameterError: If there is no such sweep or place, or the sweeps have different profiles.
        RunError: If a notebook that all points of a sweep need fails.
    """
    plans = _plans(study, list(dict.fromkeys(names)), options)
    runs, above = _once(plans)
    points = runs.keys() - above
    chain.check_data(runs.values())
    with clusters.workers(on, jobs, options.force, say) as workers:
        chain.note(study, options.root)
        left = chain.time_left([*runs.values()], options.force, workers.number, say)
        kept = [_keeping(plan) for plan in plans]

        def keep(ended: Path) -> None:
            for of_plan in kept:
                of_plan(ended)

        try:
            done = run_all([*runs.values()], above, workers, left, keep, say)
        except KeyboardInterrupt:
            begun = [one for one in plans if any(history.RunRecord(job.folder).record for job in one.points)]
            if begun:
                files = [str(_tabulate(plan)[1]) for plan in begun]
                say(f"Stopped. What is done stands in {', '.join(files)}")
            raise
    lacking = [text for plan in plans if (text := _result(study, plan, done, say))]
    if lacking:
        raise RunError(" ".join(lacking))
    return done.issuperset(points)


def _once(plans: Sequence[_Plan]) -> tuple[dict[Path, Job], set[Path]]:
    """Return the runs of some sweeps, each once and after those that it needs, and which are no points.

    What several sweeps have as a point is the first one's. A run that one of them needs as the study has it
    stays the study's own.
    """
    above = [job for plan in plans for job in plan.above]
    points = [job for plan in plans for job in plan.points]
    own = {job.folder for job in above if not job.sweep}
    order = dict.fromkeys(job.folder for job in (*above, *points))
    known = {job.folder: job for job in (*reversed(above), *reversed(points))}
    runs = {one: replace(known[one], sweep="") if one in own else known[one] for one in order}
    return runs, order.keys() - {job.folder for job in points}


def _plans(study: Study, names: Sequence[str], options: Options) -> list[_Plan]:
    """Return what sweeps run; beside others the name of each stands before its points."""
    sweeps = [study.sweep(name) for name in names]
    profiles = {options.profile or sweep.profile for sweep in sweeps}
    if len(profiles) > 1:
        raise ParameterError(
            f"The sweeps {', '.join(names)} have different profiles: name one with --profile, or give each "
            "its own command."
        )
    options = replace(options, profile=profiles.pop())
    plans = []
    for sweep in sweeps:
        points, above = jobs_of(study, sweep, options)
        if len(sweeps) > 1:
            points = [replace(job, point=f"{sweep.name} {job.point}") for job in points]
        plans.append(_Plan(sweep, points, above, options.root / study.name / "sweeps" / sweep.name))
    return plans


def _result(study: Study, plan: _Plan, done: set[Path], say: Callable[[str], None]) -> str:
    """Print the table of a sweep and write it; return a sentence where what all of its points need failed."""
    needed = set.intersection(*(needs(point, plan.above) for point in plan.points))
    if not done.issuperset(needed):
        first = next(one for one in plan.above if one.folder in needed - done)
        label = f"{study.name}/{first.notebook.name}"
        return f"Sweep {plan.sweep.name!r} needs {label}, which failed: see above."
    text, file = _tabulate(plan)
    failed = sum(point.folder not in done for point in plan.points)
    say(f"\n{plan.sweep.title or f'Sweep {plan.sweep.name}'}\n\n{text}\n")
    number = len(plan.points)
    say(f"{number} run{'s' * (number > 1)}, {failed} failed. Table: {file}")
    return ""


def _tabulate(plan: _Plan) -> tuple[str, Path]:
    """Write the table of a sweep, as it is now, and return it as text, and its page."""
    sweep, folder = plan.sweep, plan.folder
    runs = table_of_runs(sweep, plan.points)
    numbers = in_numbers(sweep, runs, folder.parents[1] / sweep.notebook)
    return _text(sweep, runs, lines.readable(numbers)), _write(folder, sweep, runs, numbers)


def table_of_runs(sweep: Sweep, points: list[Job]) -> pd.DataFrame:
    """Return one row a point: its parameters, status, seconds and metrics."""
    import pandas as pd

    return pd.DataFrame([_row(sweep, *pair) for pair in zip(points, sweep.points, strict=True)])


def _row(sweep: Sweep, job: Job, point: Mapping[str, Any]) -> dict[str, Any]:
    run = history.RunRecord(job.folder)
    values = {**_upstream(job), **job.notebook.defaults, **job.values, **point}
    row: dict[str, Any] = {key: values.get(key) for key in _parameters(sweep)}
    row["status"] = run.status if run.record else "left out"
    row |= {"seconds": run.record.get("seconds"), "run": job.folder.name, "simulated": run.simulated}
    flat = yamls.flatten(run.metrics) if run.status == "done" else {}
    return row | {_column(key, sweep): flat.get(key) for key in sweep.metrics or flat}


def _keeping(plan: _Plan) -> Callable[[Path], None]:
    """Return what keeps ``runs.csv`` up to date while a sweep runs: it is called with each run that ended."""
    import pandas as pd

    known = {pair[0].folder: pair for pair in zip(plan.points, plan.sweep.points, strict=True)}
    rows = {folder: _row(plan.sweep, *pair) for folder, pair in known.items()}

    def keep(ended: Path) -> None:
        if ended in known:
            rows[ended] = _row(plan.sweep, *known[ended])
            folders.write_text(plan.folder / RUNS, pd.DataFrame(rows.values()).to_csv(index=False))

    return keep


def _upstream(job: Job) -> dict[str, Any]:
    """Return the parameters of all runs that a job needs, as ``notebook.parameter``."""
    found: dict[str, Any] = {}
    waiting = [history.RunRecord(folder) for folder in job.upstream.values()]
    for run in waiting:
        found |= {f"{run.record.get('notebook')}.{key}": value for key, value in run.settings.items()}
        waiting += map(history.RunRecord, run.upstream.values())
    return found


def _parameters(sweep: Sweep) -> list[str]:
    """Return the parameters that ``runs.csv`` shows: those of the rows, then all others of the points."""
    return list(dict.fromkeys((*sweep.rows, *(key for point in sweep.points for key in point))))


def _column(metric: str, sweep: Sweep) -> str:
    """Return the column of a metric, another one where a parameter has its name."""
    return f"metrics.{metric}" if metric in (*_parameters(sweep), *FACTS) else metric


def sweep_table(name: str, sweep: str, root: Path | None = None) -> pd.DataFrame | None:
    """Return the table of a sweep as it was last run, in numbers.

    Args:
        name: Name of the study.
        sweep: Name of the sweep.
        root: Folder of all runs; ``workspace.runs()`` where None.

    Returns:
        A line a combination of the row parameters: these, ``runs``, the published columns, each beside the
        metric that it is compared with and the difference, the columns of :data:`eolab.runs.pairs.COLUMNS`
        where the runs kept replicates, and the mean of each metric over the runs of the line; where a line
        has several runs ``<metric> std`` (ddof 1), and ``<metric> low`` and ``<metric> high``, the interval
        of :func:`eolab.runs.lines.interval`. NaN where there is no number. Below stand
        baselines that are the same for all lines, and means over the parameter ``over``. ``attrs`` holds
        ``title``, ``note`` with all that belongs to the table, and ``simulated``. None if the sweep was not
        run, or, in a notebook, on other upstream runs than those of the notebook, which is said.

    Raises:
        ParameterError: If there is no such study or sweep.
        RunError: If the sweep was run with other parameters or metrics than ``study.yaml`` has now.
    """
    whole = study.load(name)
    one = whole.sweep(sweep)
    file = (root or workspace.runs()) / name / "sweeps" / sweep / RUNS
    history.note(file.parent)
    if not file.is_file():
        return None
    history.note_sweep(f"{whole.name}/{sweep}", one.digest)
    if not history.fits(file.parent, whole.varied(one)):
        print(
            f"Sweep {sweep!r} was made from other runs than this notebook uses, or from earlier ones, and is "
            f"left out: `eolab sweep {name} {sweep}` with the profile of this run makes it again."
        )
        return None
    runs = _read_runs(file, whole, one)
    table = in_numbers(one, runs, file.parents[2] / one.notebook)
    spread = [name for name in table if f"{name}{lines.STD}" in table]
    none = [name for name in spread if table[f"{name}{lines.STD}"].isna().all()]
    table = table.drop(columns=[f"{name}{end}" for name in none for end in _ENDS])
    note = " ".join(_remarks(one, runs, table.attrs["compared"]))
    table.attrs = {"title": one.title, "note": note, "simulated": bool(runs["simulated"].any())}
    return table


def _read_runs(file: Path, chosen: Study, sweep: Sweep) -> pd.DataFrame:
    """Return ``runs.csv`` with the parameters as the values that they were."""
    import pandas as pd

    declared = chosen.known(sweep)
    readers = {name: declared[name].parse for name in _parameters(sweep)}
    again = f"run `eolab sweep {chosen.name} {sweep.name}` again"
    try:
        runs = pd.read_csv(file, converters=readers, float_precision="round_trip")
    except (ParameterError, ValueError) as error:
        raise RunError(f"{file} does not fit the notebook as it is now ({error}): {again}.") from None
    needed = [*_parameters(sweep), *FACTS, *(_column(metric, sweep) for metric in sweep.metrics)]
    missing = [name for name in needed if name not in runs]
    if missing:
        raise RunError(f"{file} has no column {missing[0]!r}, which study.yaml asks for: {again}.")
    return runs


def _metrics(sweep: Sweep, runs: pd.DataFrame) -> list[str]:
    """Return the columns of the table's metrics."""
    names = [*_parameters(sweep), *FACTS]
    return [_column(m, sweep) for m in sweep.metrics] or [str(c) for c in runs if c not in names]


def _numbers(sweep: Sweep, runs: pd.DataFrame) -> pd.DataFrame:
    """Return of each line its row parameters, the runs, and mean, deviation and interval of each metric.

    The number of failed runs is left out where none failed.
    """
    import pandas as pd

    keys = [runs[row].map(str) for row in sweep.rows]  # lists are no group keys
    rows = []
    for _, group in runs.groupby(keys, sort=False):
        done = group[group["status"] == "done"]
        line: dict[str, Any] = {row: group[row].iloc[0] for row in sweep.rows}
        line |= {"runs": len(done), "failed": len(group) - len(done)}
        values = {m: pd.to_numeric(done[m], errors="coerce") for m in _metrics(sweep, runs)}
        line |= {metric: found.mean() for metric, found in values.items()}
        for metric, found in values.items():
            low, high = lines.interval(found)
            line |= dict(
                zip([f"{metric}{end}" for end in _ENDS], (found.std(ddof=1), low, high), strict=True)
            )
        rows.append(line)
    table = pd.DataFrame(rows)
    return table if table["failed"].any() else table.drop(columns="failed")


def _main(sweep: Sweep, runs: pd.DataFrame, numbers: pd.DataFrame) -> str:
    """Return the column of the main metric: that of the gains, of the published numbers, or the first."""
    compared = numbers.attrs["compared"] or next((_column(metric, sweep) for _, metric in sweep.compare), "")
    return compared or next((name for name in _metrics(sweep, runs) if name in numbers), "")


def _gains(sweep: Sweep, runs: pd.DataFrame, folder: Path | None) -> tuple[str, pd.DataFrame]:
    """Return what each line gains over the first one, and in which metric, see :func:`pairs.gains`."""
    import pandas as pd

    if folder is None or sweep.over:  # lines of folds are of other samples
        return "", pd.DataFrame()
    done = runs["run"].where(runs["status"] == "done")
    groups = done.groupby([runs[row].map(str) for row in sweep.rows], sort=False)
    wanted = [*(_column(metric, sweep) for _, metric in sweep.compare), *_metrics(sweep, runs)]
    return pairs.gains([list(names.dropna()) for _, names in groups], wanted, folder)


def in_numbers(sweep: Sweep, runs: pd.DataFrame, folder: Path | None = None) -> pd.DataFrame:
    """Return all lines in numbers: ours with the published ones before them, baselines, means of folds.

    Runs that failed are left out and counted in ``failed``.

    Args:
        sweep: The sweep.
        runs: Result of :func:`table_of_runs`.
        folder: Folder of the notebook's runs, for gains in pairs; none of them where None.
    """
    import pandas as pd

    metrics, shared = _metrics(sweep, runs), _shared_baselines(sweep, runs)
    compared, gains = _gains(sweep, runs, folder)
    table = published.join(sweep.lines, _numbers(sweep, runs)).join(gains)
    for column, metric in sweep.compare:
        table[f"{lines.DIFFERENCE} {column}"] = table[_column(metric, sweep)] - table[column]
    differences = [f"{lines.DIFFERENCE} {column}" for column, _ in sweep.compare]
    numbers = [*metrics, *published.columns(sweep.lines), *differences]
    if sweep.over:
        table = _with_means(table, sweep, numbers)
    blank = dict.fromkeys(sweep.rows, "–")
    below = [
        blank | {sweep.rows[0]: f"baseline {name}", "runs": int(table["runs"].sum())} | values
        for name, values in shared.items()
    ]
    if below:
        own = [f"baselines.{name}.{metric}" for name, values in shared.items() for metric in values]
        dropped = [
            name for metric in own for name in (metric, *(f"{metric}{end}" for end in _ENDS)) if name in table
        ]
        table = pd.concat(
            [table.drop(columns=dropped).astype(dict.fromkeys(sweep.rows, object)), pd.DataFrame(below)]
        )
    first = [
        name for column, metric in sweep.compare for name in (column, metric, f"{lines.DIFFERENCE} {column}")
    ]
    first += [*gains]
    order = [*first, *published.columns(sweep.lines), *metrics]
    order = [part for name in dict.fromkeys(order) for part in (name, *(f"{name}{end}" for end in _ENDS))]
    start = [name for name in (*sweep.rows, "runs", "failed") if name in table]
    table = table[[*start, *(name for name in order if name in table)]].reset_index(drop=True)
    table.attrs["compared"] = compared
    return table


def _shared_baselines(sweep: Sweep, runs: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return scores of baselines that came out alike in all runs, by baseline and metric of the table."""
    import pandas as pd

    shared: dict[str, dict[str, float]] = {}
    done = runs[runs["status"] == "done"]
    for metric in _metrics(sweep, runs):
        kind, _, rest = metric.partition(".")
        name, _, path = rest.partition(".")
        values = pd.to_numeric(done[metric], errors="coerce").dropna().unique()
        if kind == "baselines" and path in runs and len(values) == 1:
            shared.setdefault(name, {})[path] = float(values[0])
    return shared


def _with_means(table: pd.DataFrame, sweep: Sweep, numbers: Sequence[str]) -> pd.DataFrame:
    """Return a table with a line below each group of folds: their mean and deviation (ddof 0)."""
    import pandas as pd

    others = [row for row in sweep.rows if row != sweep.over]
    spread = [name for name in numbers if not name.startswith(lines.DIFFERENCE)]
    every = [f"{name}{end}" for name in spread for end in _ENDS]
    table = table.assign(**{name: table.get(name, math.nan) for name in every})
    parts = []
    for _, group in table.groupby([table[row].map(str) for row in others] or table["runs"] * 0, sort=False):
        mean = group.iloc[:1].assign(runs=group["runs"].sum(), **group[numbers].mean())
        mean = mean.assign(**dict.fromkeys(every, math.nan))
        mean = mean.assign(**{f"{name}{lines.STD}": group[name].std(ddof=0) for name in spread})
        parts += [group, mean.assign(**{sweep.over: f"mean of {len(group)}"})]
    return pd.concat(parts, ignore_index=True)


def _of_seeds(sweep: Sweep, runs: pd.DataFrame) -> list[str]:
    """Return what stands in brackets, and what the number of runs of a line lets one believe."""
    counts = _numbers(sweep, runs)["runs"]
    least, most = int(counts.min()), int(counts.max())
    groups = runs.groupby([runs[row].map(str) for row in sweep.rows])
    others = [key for key in _parameters(sweep) if key not in sweep.rows]
    within = {key.rpartition(".")[2] for key in others if (groups[key].agg(_distinct) > 1).any()}
    kind = "seeds" if within == {"seed"} else "runs"
    begin = "In brackets behind a score stands the"
    said = f"{begin} 95 % interval of the mean over the {kind} of a line, by Student's t"
    said = f"{said}; where a line has two, their range." if (counts == 2).any() else f"{said}."
    if most == 2:
        said = f"{begin} range of the two {kind} of a line."
    if least >= history.MIN_SEEDS:
        return [said]
    found = f"{least} to {most} runs" if least < most else f"{most} run" + "s" * (most != 1)
    return [said] * (most > 1) + [
        f"Each line is of {found}: what another seed would change is not in the table. `{SEEDS}` in the grid "
        "of the sweep in study.yaml adds seeds."
    ]


def _distinct(values: pd.Series) -> int:
    return int(values.map(str).nunique())


def _remarks(sweep: Sweep, runs: pd.DataFrame, compared: str = "") -> list[str]:
    """Return the sentences that belong to the table: the sweep's note, and whether the data are simulated."""
    remarks = [sweep.note] if sweep.note else []
    if sweep.compare:
        beside = ", ".join(f"{column} with {metric}" for column, metric in sweep.compare)
        remarks.append(
            f"Published numbers stand before ours, and the difference is ours minus theirs: {beside}."
        )
    if sweep.over:
        remarks.append(
            f"A line 'mean of …' is the mean over {sweep.over}, ± the standard deviation (ddof 0)."
        )
    if _shared_baselines(sweep, runs):
        remarks.append("The lines of baselines hold for all others: they came out alike in every run.")
    if compared:
        remarks.append(
            f"The {pairs.GAIN} is of {compared}, in pairs: each replicate draws the same groups of test "
            "samples for both. The 95 % interval is of these samples, without what another seed would change."
        )
    remarks += _of_seeds(sweep, runs)
    if runs["simulated"].any():
        real = ", ".join(published.columns(sweep.lines))
        remarks.append(
            f"Simulated data, except for the published numbers ({real})." if real else "Simulated data."
        )
    return remarks


def _text(sweep: Sweep, runs: pd.DataFrame, summary: pd.DataFrame) -> str:
    return "\n\n".join([lines.markdown(summary), *_remarks(sweep, runs, summary.attrs["compared"])])


def _write(folder: Path, sweep: Sweep, runs: pd.DataFrame, numbers: pd.DataFrame) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    title, simulated = sweep.title or sweep.name, bool(runs["simulated"].any())
    summary = lines.readable(numbers)
    folders.write_text(folder / RUNS, runs.to_csv(index=False))
    folders.write_text(folder / "table.csv", summary.to_csv(index=False))
    folders.write_text(folder / "table.md", f"# {title}\n\n{_text(sweep, runs, summary)}\n")
    texts = [f"Notebook {sweep.notebook}.", *_remarks(sweep, runs, numbers.attrs["compared"])]
    body = "".join(f"<p>{html.escape(text)}</p>" for text in texts)
    if image := lines.figure(numbers, sweep.rows, _main(sweep, runs, numbers), simulated):
        write_atomically(folder / reports.FIGURE, image)
    else:
        (folder / reports.FIGURE).unlink(missing_ok=True)
    pages = {name: f"../../{sweep.notebook}/{name}/{folders.REPORT}" for name in runs["run"]}
    links = {name: link for name, link in pages.items() if (folder / link).is_file()}
    page = reports.page(title, body + reports.figure_of(folder), [summary, runs], simulated, links)
    folders.write_text(folder / "table.html", page)
    return folder / "table.html"
