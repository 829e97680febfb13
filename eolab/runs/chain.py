"""A study's notebooks, each after those that it needs: finished runs are skipped, interrupted runs resume."""

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from graphlib import TopologicalSorter
from pathlib import Path
from threading import Lock
from typing import Any

from eolab.core.errors import ParameterError, RunError, system_error
from eolab.core.progress import duration
from eolab.runs import execute, folders, freshness, history, timing
from eolab.runs.execute import Job
from eolab.runs.study import Notebook, Study, having


@dataclass(frozen=True)
class Options:
    """What the command line says about a chain of runs.

    Attributes:
        root: Folder of all runs.
        profile: Name of the profile, "default" for the notebooks' own defaults, None for the first one of
            ``study.yaml``, or the own defaults where it has none.
        settings: Values by notebook name, as :func:`settings` returns them.
        force: Run again what is finished.
        keep_code: Skip finished runs although source files of the package changed since.
        timeout: Longest time for a cell in seconds, None for no limit.
    """

    root: Path
    profile: str | None = None
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    force: bool = False
    keep_code: bool = False
    timeout: int | None = None


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


def settings(study: Study, texts: Iterable[str], only: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """Return the values of ``--set key=value`` options by notebook.

    ``key`` is a parameter (``model``, ``training.epochs``), set in every notebook that has it, or
    ``notebook.parameter``. Where only some notebooks run, a value need not fit all the others.

    Args:
        study: The study.
        texts: The options.
        only: Notebooks that run, as for :func:`plan`; all where empty.

    Raises:
        ParameterError: If a text is no ``key=value``, or no notebook has the parameter, or the value does not
            fit one that runs, or none.
    """
    running = {study.notebook(name).name for name in only} or set(study.notebooks)
    found: dict[str, dict[str, Any]] = {name: {} for name in study.notebooks}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ParameterError(f"--set takes key=value, found {text!r}; for example --set seed=3.")
        head, _, rest = key.partition(".")
        chosen = [study.notebooks[head]] if head in study.notebooks else list(study.notebooks.values())
        parameter = rest if head in study.notebooks else key
        who = f"notebook {head} has no" if head in study.notebooks else f"no notebook of {study.name} has a"
        others = () if head in study.notebooks else study.notebooks
        owners = having(chosen, parameter, f"--set {text}: {who}", others)
        refused: dict[str, ParameterError] = {}
        for notebook in owners:
            try:
                parsed = notebook.known[parameter].parse(value)
            except ParameterError as error:
                refused[notebook.name] = error
            else:
                found[notebook.name] |= notebook.check({parameter: parsed}, notebook.name)
        if len(refused) == len(owners) or not running.isdisjoint(refused):
            first = next((name for name in refused if name in running), next(iter(refused)))
            raise ParameterError(f"--set {text}: {refused[first]}")
    return found


def job(
    study: Study,
    notebook: Notebook,
    options: Options,
    runs: Mapping[str, Path],
    point: Mapping[str, Any] | None = None,
) -> Job:
    """Return the run of a notebook: profile, then ``--set``, then a sweep's point.

    Args:
        study: The study.
        notebook: The notebook.
        options: Profile, settings and folders.
        runs: Notebook → run folder of those before it; not needed for inputs that are set by hand.
        point: Values of a sweep's point.
    """
    profile = options.profile or next(iter(study.profiles), None)
    values = study.values(notebook.name, profile) | dict(options.settings.get(notebook.name, {}))
    values |= point or {}
    by_hand = {k: _given(values.pop(k), options.root) for k in notebook.inputs if values.get(k)}
    inputs = {key: by_hand.get(key) or runs[name] for key, name in notebook.inputs.items()}
    return Job(notebook, values, inputs, options.root, profile, options.timeout, keep_code=options.keep_code)


def _given(name: str, root: Path) -> Path:
    """Return the run folder that an input parameter names; a path that is none is said when it is read."""
    given = Path(name)
    return (given if given.is_dir() or given.name != name else history.find(name, root)).resolve()


def plan(study: Study, options: Options, only: Sequence[str] = ()) -> list[Job]:
    """Return the runs of a chain in order.

    Args:
        study: The study.
        options: Profile, settings and folders.
        only: Notebooks to run; all where empty. The inputs of these come from the run that the same options
            would make where it is finished, else from the newest finished run.

    Raises:
        ParameterError: If ``only`` names no notebook of the study.
        RunError: If an input of a chosen notebook has no finished run.
    """
    chosen = {study.notebook(name).name for name in only} or set(study.notebooks)
    runs: dict[str, Path] = {}
    jobs = []
    for notebook in study.notebooks.values():
        if notebook.name in chosen:
            jobs.append(job(study, notebook, options, runs))
            runs[notebook.name] = jobs[-1].folder
        elif needed := [n for n in needing(study, notebook.name, options) if n in chosen]:
            runs[notebook.name] = _finished(study, notebook, options, runs, needed[0])
    return jobs


def check_data(jobs: Iterable[Job]) -> None:
    """Check that the catalogue has each data set that the settings of some runs name.

    Raises:
        CatalogError: If it has not, or an entry has a mistake.
    """
    from eolab.data import catalog

    named = {str(job.values["dataset"]) for job in jobs if job.values.get("dataset")}
    if named:
        known = catalog.load()
        for name in sorted(named):
            known[name]


def needing(study: Study, name: str, options: Options) -> list[str]:
    """Return the notebooks that take the run of a notebook as an input, directly or through others.

    Inputs that are set by hand do not count.
    """
    found: list[str] = []
    for notebook in study.notebooks.values():
        by_hand = options.settings.get(notebook.name, {})
        if any(up in (name, *found) and not by_hand.get(key) for key, up in notebook.inputs.items()):
            found.append(notebook.name)
    return found


def _finished(
    study: Study, notebook: Notebook, options: Options, runs: Mapping[str, Path], needed: str
) -> Path:
    if all(upstream in runs for upstream in notebook.inputs.values()):
        planned = job(study, notebook, options, runs)
        if execute.is_done(planned):
            return planned.folder
    try:
        known = [stamp for up in runs.values() for stamp in history.RunRecord(up).with_lineage()]
        return history.input_run(study.name, notebook.name, known, options.root)
    except RunError as error:
        raise RunError(f"{study.name}/{needed} needs a run of {notebook.name}. {error}") from None


def run(
    study: Study,
    options: Options,
    only: Sequence[str] = (),
    say: Callable[[str], None] = print,
    jobs: int = 1,
) -> bool:
    """Run a study's notebooks and return whether all went well; a failure stops those that need it.

    Args:
        study: The study.
        options: Profile, settings and folders.
        only: Notebooks to run, see :func:`plan`.
        say: Prints a line.
        jobs: Notebooks at once.

    Raises:
        ParameterError: On bad input, before anything runs.
        CatalogError: If a data set that was named is in no catalogue, before anything runs.
        RunError: If an upstream run is missing, or an input that is set by hand is no run folder.
    """
    runs = plan(study, options, only)
    check_data(runs)
    old = _old_inputs(study, runs)
    note(study, options.root)
    for sentence in old:
        say(sentence)
    workers = here(jobs, options.force, say)
    left = time_left(runs, options.force, jobs, say)
    done = run_all(runs, (), workers, left, lambda _: None, say, one_ends_all=True)
    return done.issuperset(one.folder for one in runs)


def here(number: int, force: bool, say: Callable[[str], None]) -> Workers:
    """Return workers that are processes of this machine, which share its cores."""

    def work(job: Job, counter: str) -> str:
        return step(replace(job, environment=threads(number)) if number > 1 else job, counter, force, say)

    return Workers(number, work, execute.stop)


def threads(beside: int) -> dict[str, str]:
    """Return the environment that shares the cores among runs that go on at the same time."""
    if beside == 1:
        return {}
    cores = str(max(1, (os.cpu_count() or 1) // beside))
    return {"OMP_NUM_THREADS": cores, "TF_NUM_INTRAOP_THREADS": cores, "TF_NUM_INTEROP_THREADS": "1"}


def run_all(
    jobs: Sequence[Job],
    uncounted: Collection[Path],
    workers: Workers,
    left: timing.Left,
    keep: Callable[[Path], None],
    say: Callable[[str], None],
    one_ends_all: bool = False,
) -> set[Path]:
    """Run jobs as soon as what they need is done, and return the folders of those that are.

    Args:
        jobs: The jobs, each after those that it needs.
        uncounted: Folders of those that have no number: what the points of a sweep need.
        workers: What runs them.
        left: Their time.
        keep: Called with the folder of each run that has ended.
        say: Prints a line.
        one_ends_all: Whether no other begins after one that was stopped.
    """
    known = {job.folder: job for job in reversed(jobs)}
    counted = [job.folder for job in jobs if job.folder not in uncounted]
    counters = {folder: f"{n}/{len(counted)} " for n, folder in enumerate(counted, 1)}
    order = TopologicalSorter({job.folder: known.keys() & job.upstream.values() for job in jobs})
    order.prepare()
    steps = _steps(jobs)
    done: set[Path] = set()
    ready: list[Path] = []
    going: dict[Future[str], Path] = {}
    ending = Lock()

    def work(job: Job) -> str:
        outcome = _tried(job, counter := counters.get(job.folder, ""), workers, say)
        with ending:
            say_ended(job, counter, outcome, left, say)
            keep(job.folder)
        return outcome

    def possible(job: Job) -> bool:
        failed = [up for up in job.upstream.values() if up in known and up not in done]
        if failed:
            say_left_out(job, counters.get(job.folder, ""), known[failed[0]], left, say)
            order.done(job.folder)
        return not failed

    with ThreadPoolExecutor(workers.number) as pool:
        try:
            while order.is_active():
                ready += [folder for folder in order.get_ready() if possible(known[folder])]
                ready.sort(key=steps.__getitem__, reverse=True)  # stable: else in their order
                free = workers.number - len(going)
                going |= {pool.submit(work, known[folder]): folder for folder in ready[:free]}
                del ready[:free]
                for future in wait(going, return_when=FIRST_COMPLETED).done:
                    order.done(folder := going.pop(future))
                    done |= {folder} if future.result() else set()
                    if one_ends_all and folder not in done and _status(folder) == "stopped":
                        return done
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            workers.stop(None)
            raise
    return done


def _tried(job: Job, counter: str, workers: Workers, say: Callable[[str], None]) -> str:
    outcome = workers.run(job, counter)
    if not outcome and workers.again and _status(job.folder) == "failed":
        say(f"{counter}{job.label}: begins once more")
        outcome = workers.run(job, counter)
    return outcome


def _status(folder: Path) -> str:
    return history.RunRecord(folder).status


def _steps(jobs: Sequence[Job]) -> dict[Path, int]:
    """Return how many runs wait for each one, one after the other: the longer row begins first."""
    steps = {job.folder: 0 for job in jobs}
    for job in reversed(jobs):
        for up in steps.keys() & set(job.upstream.values()):
            steps[up] = max(steps[up], steps[job.folder] + 1)
    return steps


def time_left(jobs: Sequence[Job], force: bool, workers: int, say: Callable[[str], None]) -> timing.Left:
    """Return the time of those jobs that are not done, and say it where it is known.

    Args:
        jobs: The jobs, each after those that it needs.
        force: Whether finished ones run again.
        workers: How many run at once.
        say: Prints a line.
    """
    to_do: dict[Path, Job] = {}
    for one in jobs:
        if force or to_do.keys() & set(one.upstream.values()) or not execute.is_done(one):
            to_do[one.folder] = one
    left = timing.Left(to_do.values(), workers)
    if text := str(left):
        say(f"{len(to_do)} run{'s' * (len(to_do) > 1)} to do, {text} by the time of earlier ones")
    return left


def say_ended(job: Job, counter: str, good: str, left: timing.Left, say: Callable[[str], None]) -> None:
    """Say what a run took and how long the others will take, where :func:`step` has run it."""
    left.ended(job.folder)
    if good == "done":
        more = f", {left} left" if str(left) else ""
        say(f"{counter}{job.label}: done in {duration(history.load(job.folder).record['seconds'])}{more}")


def say_left_out(job: Job, counter: str, missing: Job, left: timing.Left, say: Callable[[str], None]) -> None:
    """Say that a run is left out, and which one it lacks."""
    left.ended(job.folder)
    say(f"{counter}{job.label}: left out, as it needs {missing.label}, which is not done")


def _old_inputs(study: Study, jobs: Sequence[Job]) -> list[str]:
    """Return a sentence for each upstream run that the chain does not run and that is out of date."""
    used = {folder for job in jobs for folder in job.upstream.values()} - {job.folder for job in jobs}
    found = []
    for run in map(history.load, sorted(used)):
        notebook = study.notebooks.get(str(run.record.get("notebook")))
        if notebook and (why := freshness.changes(run, notebook, run.upstream)):
            name = f"{notebook.name} {run.folder.name}"
            found.append(f"{name} is used as it is, though {'; '.join(why)}: without --only it is run again")
    return found


def step(job: Job, counter: str, force: bool, say: Callable[[str], None]) -> str:
    """Run one job unless it is done; say why, and what failed.

    Returns:
        "done" or "skipped", empty where the run is not done.
    """
    run, changed = history.RunRecord(job.folder), execute.changes(job)
    if run.status == "done" and not force and not changed:
        if not job.sweep:  # a sweep may have made it: from now on it is the study's own as well
            folders.update_record(job.folder, sweep="", asked=folders.now())
        say(f"{counter}{job.label}: finished before, skipped{freshness.remarks(run)}")
        return "skipped"
    if not run.record:
        changed = [freshness.other_run(job.notebook, job.values, job.root)]
    why = "; ".join(filter(None, changed))
    say(f"{counter}{job.label}: started{why and ': '}{why}")
    try:
        record = execute.run(job, force, lambda text: say(f"{counter}{text}"))
    except (RunError, OSError) as error:
        sentence = system_error(error) or str(error)
        say(f"FAILED {job.label}: {sentence}")
        return ""
    if record.status == "done":
        return "done"
    say(f"{counter}{job.label}: stopped" if record.status == "stopped" else failure(record))
    return ""


def failure(run: history.RunRecord) -> str:
    """Return what failed in a run: the cell, its error and where to look."""
    lines = (run.record.get("failed") or {}).get("traceback", [])[-12:]
    trace = "".join(f"    {line}\n" for line in lines)
    return (
        f"FAILED {run.record['study']}/{run.record['notebook']} {': '.join(run.failure)}\n{trace}"
        f"  notebook as far as it came: {run.folder / (run.record['notebook'] + '.ipynb')}"
    )


def note(study: Study, root: Path) -> None:
    """Keep what the study's report says of it: its title, a description and its notebooks."""
    about = {"title": study.title, "description": study.description, "notebooks": list(study.notebooks)}
    folders.write_json(root / study.name / folders.CHAIN, about)
