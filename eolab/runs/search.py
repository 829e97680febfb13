"""Searches: parameters of a notebook that do best on its validation samples, found by Optuna.

``<root>/<study>/searches/<name>/`` holds Optuna's journal, the runs of the trials (a folder of runs of its
own, so that tables of models do not fill with trials), ``trials.csv`` (a row a trial), the table as
``table.csv``, ``table.md`` and ``table.html``, ``search.json`` (importances and what the search was of) and
``best.yaml``, the best parameters as a profile that ``eolab run --profile <name>`` takes.

The sampler is the tree-structured Parzen estimator (Bergstra et al., *Algorithms for Hyper-Parameter
Optimization*, NeurIPS 2011), a trial is given up by asynchronous successive halving (Li et al., *A System for
Massively Parallel Hyperparameter Tuning*, MLSys 2020), importances are those of fANOVA (Hutter et al., *An
Efficient Approach for Assessing Hyperparameter Importance*, ICML 2014); all three are Optuna's.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

from eolab.core.errors import ParameterError, RunError, check_known, missing_package
from eolab.core.numbers import of
from eolab.core.progress import duration
from eolab.runs import chain, clusters, folders, history
from eolab.runs.chain import Options, Workers, run_all
from eolab.runs.execute import Job
from eolab.runs.spaces import Search
from eolab.runs.study import Study
from eolab.runs.trials import (
    FOLDER,
    GIVEN_UP,
    LOST,
    QUIET,
    Found,
    counted,
    in_words,
    journal,
    say_best,
    write,
)

HISTORY = "history.csv"
SAMPLERS = ("tpe", "random")
REDUCTION = 3  # of trials, a third goes on at each step of successive halving
_SPACE = "space"
_LOOK_EVERY_S = 0.3
_MOST_FAILURES = 3  # with no success before, after which a search ends


@dataclass(frozen=True)
class How:
    """How a search goes on.

    Attributes:
        trials: How many trials in all; None for what ``study.yaml`` says.
        jobs: Trials at once, see :func:`eolab.runs.clusters.workers`.
        on: Where they run, see there.
        sampler: One of :data:`SAMPLERS`.
        prune: Whether trials that are behind others after as many epochs are given up.
        seed: Seed of the sampler.
    """

    trials: int | None = None
    jobs: int | None = None
    on: str = ""
    sampler: str = "tpe"
    prune: bool = True
    seed: int = 0


def run(
    study: Study, name: str, options: Options, how: How | None = None, say: Callable[[str], None] = print
) -> bool:
    """Run a search and return whether there is a best trial.

    Each trial is a run of the notebook; its value is the best epoch of the search's metric in the run's
    ``history.csv``. A killed or stopped search goes on with the same call: finished trials count, one that
    was interrupted is taken up in its run folder.

    Args:
        study: The study.
        name: Name of the search.
        options: Profile (else the search's own), settings and folders.
        how: How many trials, where, and the sampler.
        say: Prints a line.

    Raises:
        ParameterError: If there is no such search or place, Optuna is missing, or the folder holds a search
            of another space.
        RunError: If a notebook that all trials need fails, the first trials all fail, another process is at
            the same search, or the notebook writes no such metric.
    """
    how, search = how or How(), study.search(name)
    options = replace(options, profile=options.profile or search.profile)
    place = options.root / study.name / FOLDER / name
    if options.force:
        raise ParameterError(
            f"A search keeps its trials: leave --force out, or delete {place} to begin anew."
        )
    if chosen := sorted(search.space.keys() & options.settings.get(search.notebook, {}).keys()):
        raise ParameterError(f"--set {chosen[0]}: the search {name!r} chooses this parameter; leave it out.")
    trial_of, above = _jobs(study, search, options, place)
    chain.check_data([trial_of({}), *above])
    with _alone(place), clusters.workers(how.on, how.jobs, False, say) as workers:
        trials = _Trials(search, _study(search, place, how, trial_of({})), trial_of, workers, how, say)
        chain.note(study, options.root)
        left = chain.time_left(above, options.force, workers.number, say)
        done = run_all(above, [job.folder for job in above], workers, left, lambda _: None, say)
        if missing := [one for one in above if one.folder not in done]:
            raise RunError(f"Search {name!r} needs {study.name}/{missing[0].notebook.name}, which failed.")
        found = Found(study.name, search, trials.study, place)
        try:
            trials.run()
        finally:
            write(found, study, options, how.sampler)
    return say_best(found, say)


def _jobs(
    study: Study, search: Search, options: Options, place: Path
) -> tuple[Callable[[Mapping[str, Any]], Job], list[Job]]:
    """Return what makes the job of a trial from its values, and the jobs that all trials need, in order."""
    notebook = study.notebook(search.notebook)
    needed = [name for name in study.notebooks if notebook.name in chain.needing(study, name, options)]
    above = chain.plan(study, options, needed) if needed else []
    runs = {one.notebook.name: one.folder for one in above}

    def trial_of(point: Mapping[str, Any]) -> Job:
        one = chain.job(study, notebook, options, runs, {**search.values, **search.trials_only, **point})
        return replace(one, root=place, sweep=search.name, point=in_words(point))

    return trial_of, above


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Hold a search for this process."""
    held = folders.lock(place, folders.RUNNER_LOCK)
    if not held:
        raise RunError(f"Another process is at the search in {place}: wait for its end or stop it.")
    with held:
        yield


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise missing_package("optuna", "which `eolab tune` needs", "tune") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _study(search: Search, place: Path, how: How, job: Job) -> Any:
    """Return Optuna's study of a search, begun or taken up.

    Raises:
        ParameterError: If it was begun with another space or other fixed values.
    """
    optuna = _optuna()
    storage = journal(place)
    epochs = job.values.get("training.epochs") or job.notebook.defaults.get("training.epochs") or 1
    with warnings.catch_warnings(action=QUIET, category=optuna.exceptions.ExperimentalWarning):
        found = optuna.create_study(
            storage=storage,
            study_name=search.name,
            direction=search.direction,
            load_if_exists=True,
            pruner=pruner(int(epochs)) if how.prune else optuna.pruners.NopPruner(),
        )
        # a search that is taken up does not draw its first values once more
        found.sampler = sampler(how.sampler, how.seed + len(found.get_trials(deepcopy=False)))
    about = _about(search, job)
    known = found.user_attrs.get(_SPACE)
    if known is None:
        found.set_user_attr(_SPACE, about)
    elif known != about:
        parts = sorted(key for key in about if known.get(key) != about[key])
        raise ParameterError(
            f"{place} holds a search that was begun with {' and '.join(parts)} other than now: delete the "
            "folder to begin anew, or give the search another name in study.yaml."
        )
    return found


def sampler(name: str, seed: int) -> Any:
    """Return what chooses the values of trials.

    Args:
        name: One of :data:`SAMPLERS`.
        seed: Seed.

    Raises:
        ParameterError: If there is no such sampler, or Optuna is missing.
    """
    samplers = _optuna().samplers
    check_known(name, SAMPLERS, f"There is no sampler {name!r}")
    if name == "random":
        return samplers.RandomSampler(seed=seed)
    with warnings.catch_warnings(action=QUIET):  # its options are marked as experimental
        return samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)


def pruner(epochs: int) -> Any:
    """Return what gives trials up: successive halving after a ninth and a third of the epochs."""
    least = max(1, epochs // REDUCTION**2)
    return _optuna().pruners.SuccessiveHalvingPruner(min_resource=least, reduction_factor=REDUCTION)


def is_behind(trial: Any) -> bool:
    """Return whether a trial is to be given up; none is before :data:`REDUCTION` trials are done."""
    from optuna.trial import TrialState

    done = trial.study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    return len(done) >= REDUCTION and bool(trial.should_prune())


def _about(search: Search, job: Job) -> dict[str, str]:
    """Return what all trials of a search have in common, by what a person calls it."""
    space = {name: [one.kind, list(one.values)] for name, one in search.space.items()}
    inputs = {key: folder.name for key, folder in job.upstream.items()}
    parts = {
        "a space": space,
        "a metric": [search.metric, search.direction],
        "fixed values": {**job.values},
        "upstream runs": inputs,
        "code of the notebook": job.notebook.code,
    }
    text = {key: json.dumps(value, sort_keys=True, ensure_ascii=False) for key, value in parts.items()}
    return {key: hashlib.sha256(value.encode()).hexdigest()[:16] for key, value in text.items()}


@dataclass
class _Trials:
    """The trials of a search, run side by side.

    Attributes:
        search: The search.
        study: Optuna's study.
        job_of: Values → job of a trial.
        workers: What runs them.
        how: How.
        say: Prints a line.
    """

    search: Search
    study: Any
    job_of: Callable[[Mapping[str, Any]], Job]
    workers: Workers
    how: How
    say: Callable[[str], None]
    _took: list[float] = field(default_factory=list)
    _unable: int = 0  # trials one after another that did not come so far that they could fail

    @property
    def wanted(self) -> int:
        return self.how.trials or self.search.trials

    def run(self) -> None:
        """Run trials until there are as many as wanted."""
        from optuna.trial import TrialState

        self._take_up()
        ended = [one for one in counted(self.study) if one.state.is_finished()]
        to_do = self.wanted - len(ended)
        if ended:
            more = "the search goes on" if to_do > 0 else "a larger --trials goes on"
            self.say(f"{len(ended)} trials of {self.wanted} are done, {more}")
        going: set[Future[None]] = set()
        with ThreadPoolExecutor(max(1, self.workers.number)) as pool:
            try:
                while to_do > 0 or going:
                    while to_do > 0 and len(going) < self.workers.number:
                        place = self.wanted - to_do + 1
                        going.add(pool.submit(self._trial, self.study.ask(), place))
                        to_do -= 1
                    done, going = wait(going, return_when=FIRST_COMPLETED)
                    for one in done:
                        one.result()
                    states = [one.state for one in counted(self.study) if one.state.is_finished()]
                    if len(states) >= _MOST_FAILURES and set(states) == {TrialState.FAIL}:
                        raise RunError(f"The first {len(states)} trials failed: see above.")
                    if self._unable >= _MOST_FAILURES:
                        raise RunError("Trials cannot run, see above; the same command takes them up.")
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                self.workers.stop(None)
                raise

    def _take_up(self) -> None:
        """Put the trials that a killed or stopped search left behind before all others."""
        from optuna.trial import TrialState

        for one in self.study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            self._lose(one)

    def _lose(self, trial: Any) -> None:
        from optuna.trial import TrialState

        number, storage = trial.number, self.study._storage
        storage.set_trial_user_attr(trial._trial_id, LOST, True)
        self.study.tell(number, state=TrialState.FAIL)
        if len(trial.params) == len(self.search.space):
            self.study.enqueue_trial(trial.params)

    def _trial(self, trial: Any, place: int) -> None:
        """Run a trial, the first, second, … of this search, and tell Optuna how it ended."""
        from optuna.trial import TrialState

        with warnings.catch_warnings(action=QUIET):
            job = self.job_of(self.search.point(trial))
        trial.set_user_attr("run", job.folder.name)
        counter = f"{place}/{self.wanted} trial {trial.number}: "
        begun, ended, behind = time.monotonic(), Event(), Event()
        watching = Thread(target=self._watch, args=(trial, job, ended, behind), daemon=True)
        watching.start()
        try:
            outcome = self.workers.run(job, counter)
        finally:
            ended.set()
            watching.join()
        self._took.append(time.monotonic() - begun)
        values, status = self._values(job), history.RunRecord(job.folder).status
        self._unable = 0 if outcome or status == "failed" or behind.is_set() else self._unable + 1
        if outcome and values:
            best = (min if self.search.direction == "minimize" else max)(values.values())
            self.study.tell(trial, best)
            self.say(
                f"{counter}{self.search.metric} {best:.4g} after {of(len(values), 'epochs')}{self._so_far()}"
            )
        elif behind.is_set():
            self.study.tell(trial, state=TrialState.PRUNED)
            self.say(f"{counter}{GIVEN_UP} after {of(len(values), 'epochs')}{self._so_far()}")
        elif outcome or status == "failed":
            self.study.tell(trial, state=TrialState.FAIL)
            if outcome:
                metric = self.search.metric
                self.say(f"{counter}FAILED: {job.folder / HISTORY} has no epoch whose {metric} is a number")
        # else it was stopped, its machine or disk gave out: the next search takes the trial up

    def _so_far(self) -> str:
        """Return the best trial so far and the time left."""
        from optuna.trial import TrialState

        done = self.study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
        best = f"; best {self.study.best_value:.4g}, trial {self.study.best_trial.number}" if done else ""
        left = self.wanted - sum(one.state.is_finished() for one in counted(self.study))
        seconds = left * sum(self._took) / len(self._took) / self.workers.number
        return best + (f", {duration(seconds)} left" if left > 0 else "")

    def _watch(self, trial: Any, job: Job, ended: Event, behind: Event) -> None:
        """Report epochs to Optuna while a trial runs, and give it up where Optuna says so."""
        reported = set[int]()  # a training that was interrupted may begin again before its last epoch
        while not ended.wait(_LOOK_EVERY_S):
            new = {e: v for e, v in self._values(job, quiet=True).items() if e not in reported}
            for epoch, value in new.items():
                trial.report(value, epoch)
            reported |= new.keys()
            if new and self.how.prune and is_behind(trial):
                behind.set()
                self.workers.stop(job.folder)
                return

    def _values(self, job: Job, quiet: bool = False) -> dict[int, float]:
        """Return the metric of each epoch of a trial, epochs where it is no number left out.

        Raises:
            RunError: If the notebook writes epochs without the metric.
        """
        file = job.folder / HISTORY
        try:
            with file.open(encoding="utf-8", newline="") as text:
                rows = [*csv.DictReader(text)]
        except OSError:
            return {}
        if rows and self.search.metric not in rows[0] and not quiet:
            known = ", ".join(name for name in rows[0] if name.startswith("val_")) or "no other"
            raise RunError(
                f"{job.notebook.name} writes no {self.search.metric} in its {HISTORY}; known are {known}."
            )
        found: dict[int, float] = {}
        for row in rows:
            try:
                found[int(float(row["epoch"]))] = float(row[self.search.metric])
            except (KeyError, TypeError, ValueError):  # a line that is being written
                continue
        return {epoch: value for epoch, value in found.items() if math.isfinite(value)}
