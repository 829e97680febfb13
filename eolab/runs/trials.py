"""The trials of a search: their table, its page, and the best parameters as a profile."""

from __future__ import annotations

import html
import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from eolab.core import workspace
from eolab.core.errors import ParameterError, RunError, warn
from eolab.core.numbers import short
from eolab.runs import folders, history, lines, reports, study
from eolab.runs.chain import Options
from eolab.runs.spaces import Search
from eolab.runs.study import Study

if TYPE_CHECKING:
    import pandas as pd

FOLDER, JOURNAL, TRIALS, FACTS, BEST = "searches", "journal.log", "trials.csv", "search.json", "best.yaml"
GIVEN_UP = "given up"  # what the table calls a trial that was pruned
LOST = "lost"  # user attribute of a trial whose search was killed or stopped; another one takes it up
QUIET: Literal["ignore"] = "ignore"
_NAMES = {"COMPLETE": "done", "PRUNED": GIVEN_UP, "FAIL": "failed", "RUNNING": "stopped"}


@dataclass(frozen=True)
class Found:
    """What a search has found until now.

    Attributes:
        study: Name of the study.
        search: The search.
        trials: Optuna's study.
        place: Its folder.
    """

    study: str
    search: Search
    trials: Any
    place: Path

    @property
    def page(self) -> Path:
        """The page with its table."""
        return self.place / "table.html"

    @property
    def runs(self) -> Path:
        """The folder of the trials' runs."""
        return self.place / self.study / self.search.notebook


def counted(trials: Any) -> list[Any]:
    """Return the trials of Optuna's study that count: all but those that were interrupted."""
    return [one for one in trials.get_trials(deepcopy=False) if not one.user_attrs.get(LOST)]


def journal(place: Path) -> Any:
    """Return Optuna's storage of the search in a folder, mended where a kill has cut it off.

    Args:
        place: The folder, which this process holds.

    Raises:
        RunError: If a line of it cannot be read.
    """
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    file = place / JOURNAL
    file.with_name(f"{file.name}.lock").unlink(missing_ok=True)  # of a killed one; Optuna would wait for it
    content = file.read_bytes() if file.exists() else b""
    if content and not content.endswith(b"\n"):
        with file.open("r+b") as cut:
            cut.truncate(content.rfind(b"\n") + 1)
    try:
        return JournalStorage(JournalFileBackend(str(file)))
    except (ValueError, KeyError) as error:
        raise RunError(
            f"{file} is damaged ({error}): put back a copy, or delete it; a search that begins anew takes up "
            "finished runs where it draws the same values."
        ) from None


def in_words(values: Mapping[str, Any]) -> str:
    """Return the values of a trial as lines say them."""
    said = {key: short(v) if isinstance(v, float) else history.words(v) for key, v in values.items()}
    return " ".join(f"{key.rpartition('.')[2]}={value}" for key, value in said.items())


def _table(found: Found) -> pd.DataFrame:
    """Return a row a trial, the best one first: number, status, value, epochs, parameters, seconds, run."""
    import pandas as pd

    rows = []
    for one in counted(found.trials):
        if one.state.name not in _NAMES:
            continue
        folder = found.runs / str(one.user_attrs.get("run", ""))
        values = {
            name: json.loads(one.params[name]) if space.kind == "choice" else one.params[name]
            for name, space in found.search.space.items()
            if name in one.params
        }
        done = one.state.name == "COMPLETE"
        row = {"trial": one.number, "status": _NAMES[one.state.name]}
        row[found.search.metric] = one.value if done else None
        row |= {"epochs": len(one.intermediate_values) or None, **values}
        rows.append(row | {"seconds": history.RunRecord(folder).record.get("seconds"), "run": folder.name})
    columns = ["trial", "status", found.search.metric, "epochs", *found.search.space, "seconds", "run"]
    table = pd.DataFrame(rows, columns=columns)
    rising = found.search.direction == "minimize"
    return table.sort_values(found.search.metric, ascending=rising, kind="stable").reset_index(drop=True)


def _importances(found: Found) -> dict[str, float]:
    """Return the share of each parameter in the variance of the values; nothing where too few are done."""
    import optuna

    done = found.trials.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])
    if len(done) <= len(found.search.space) or len({one.value for one in done}) < 2:
        return {}
    with warnings.catch_warnings(action=QUIET):
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        try:
            return dict(optuna.importance.get_param_importances(found.trials, evaluator=evaluator))
        except RuntimeError:  # values that are the same but for rounding
            return {}


def write(found: Found, study: Study, options: Options, sampler: str) -> None:
    """Write the tables of a search, its facts and its best parameters."""
    table, search, place = _table(found), found.search, found.place
    runs = [history.RunRecord(found.runs / name) for name in table["run"]]
    facts = {
        "metric": search.metric,
        "direction": search.direction,
        "space": {name: one.kind for name, one in search.space.items()},
        "title": search.title or f"Search {search.name}",
        "simulated": any(run.simulated for run in runs if run.record),
        "sampler": sampler,
        "note": _note(search, table),
        "importances": _importances(found),
    }
    said = table.assign(
        **{name: table[name].map(history.words) for name, one in search.space.items() if one.kind == "choice"}
    )
    folders.write_text(place / TRIALS, said.to_csv(index=False))
    folders.write_json(place / FACTS, facts)
    shown, title, note = said.drop(columns="seconds"), str(facts["title"]), str(facts["note"])
    folders.write_text(place / "table.csv", shown.to_csv(index=False))
    folders.write_text(place / "table.md", f"# {title}\n\n{lines.markdown(shown)}\n\n{note}\n")
    pages = {name: f"{found.study}/{search.notebook}/{name}/{folders.REPORT}" for name in table["run"]}
    links = {name: link for name, link in pages.items() if (place / link).is_file()}
    body = f"<p>Notebook {search.notebook}.</p><p>{html.escape(note)}</p>"
    folders.write_text(found.page, reports.page(title, body, [shown], bool(facts["simulated"]), links))
    best = table[table["status"] == "done"]
    if len(best):
        _write_best(place / BEST, study, search, options, best.iloc[0])


def _note(search: Search, table: pd.DataFrame) -> str:
    best = "least" if search.direction == "minimize" else "greatest"
    counts = ", ".join(f"{number} {status}" for status, number in table["status"].value_counts().items())
    return (
        f"Trials: {counts}. The value of a trial is the {best} {search.metric} of its epochs, on validation "
        "samples. The best of many trials is also the luckiest one: how good it is says the score on test "
        "samples of a run with its parameters."
    )


def _write_best(file: Path, study: Study, search: Search, options: Options, best: pd.Series) -> None:
    """Write the profile of a search: the one that it started from, with the best values."""
    profile = options.profile or next(iter(study.profiles), None)
    content: dict[str, dict[str, Any]] = {}
    for name, notebook in study.notebooks.items():
        values = study.values(name, profile) | dict(options.settings.get(name, {}))
        if name == search.notebook:
            values |= search.values | _plain(search, best)
        if own := {key: value for key, value in values.items() if key not in notebook.inputs}:
            content[name] = own
    head = (
        f"# Best of the search {search.name}: {search.metric} {best[search.metric]:.6g}, trial "
        f"{best['trial']}, run {best['run']}.\n"
        f"# A profile as in study.yaml; `eolab run {study.name} --profile {search.name}` takes it.\n"
    )
    folders.write_text(file, head + yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def _plain(search: Search, row: pd.Series) -> dict[str, Any]:
    """Return the values of a row as YAML has them."""
    values = {name: folders.plain(row[name]) for name in search.space}
    return {name: int(v) if search.space[name].kind == "int" else v for name, v in values.items()}


def say_best(found: Found, say: Callable[[str], None]) -> bool:
    """Say which trial is best, and return whether one is done."""
    table, search = _table(found), found.search
    done = table[table["status"] == "done"]
    if done.empty:
        say(f"No trial is done. Table: {found.page}")
        return False
    best, values = done.iloc[0], in_words(_plain(search, done.iloc[0]))
    say(f"\nBest of {len(table)} trials: {search.metric} {best[search.metric]:.4g} with {values}")
    say(f"`eolab run {found.study} --profile {search.name}` runs the study with them. Table: {found.page}")
    return True


def with_found(chosen: Study, root: Path, profile: str | None) -> Study:
    """Return a study with the best parameters of a search as a further profile, where that is asked for.

    Args:
        chosen: The study.
        root: Folder of all runs.
        profile: Name of the profile that is asked for; the study stays as it is where no search has it.

    Raises:
        ParameterError: If the search has found nothing yet, or its best parameters do not fit the notebooks
            as they are now.
    """
    if profile is None or profile not in chosen.searches:
        return chosen
    file = root / chosen.name / FOLDER / profile / BEST
    if not file.is_file():
        raise ParameterError(
            f"The search {profile!r} has found nothing in {root} yet: run "
            f"`eolab tune {chosen.name} {profile}` first."
        )
    return replace(chosen, profiles=chosen.profiles | {profile: study.profile(file, chosen.notebooks)})


def search_table(name: str, search: str, root: Path | None = None) -> pd.DataFrame | None:
    """Return the trials of a search as it was last run, the best one first.

    Args:
        name: Name of the study.
        search: Name of the search.
        root: Folder of all runs; ``workspace.runs()`` where None.

    Returns:
        A row a trial: ``trial``, ``status`` (done, given up, failed, stopped), the metric (its best epoch;
        NaN where the trial is not done), ``epochs``, a column a parameter, ``seconds`` and ``run``. ``attrs``
        holds ``metric``, ``direction``, ``importances`` (parameter → share of the variance), ``space``
        (parameter → kind), ``title``, ``note`` and ``simulated``. None if the search
        was not run, or, with a warning, if its table does not fit ``study.yaml`` as it is now.

    Raises:
        ParameterError: If there is no such study or search.
    """
    import pandas as pd

    one = study.load(name).search(search)
    place = (root or workspace.runs()) / name / FOLDER / search
    history.note(place / name / one.notebook)
    if not (place / TRIALS).is_file():
        return None
    try:
        table = pd.read_csv(place / TRIALS, float_precision="round_trip")
        facts = folders.read_json(place / FACTS)
        for key in (facts["metric"], *one.space):
            choices = key in one.space and one.space[key].kind == "choice"
            table[key] = table[key].map(str) if choices else pd.to_numeric(table[key])
    except (ValueError, KeyError, OSError, RunError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        warn(
            f"The table of the search {search} in {place} is left out, as it cannot be read or is of another "
            f"space ({reason}): `eolab tune {name} {search}` writes it anew, or says why not."
        )
        return None
    table.attrs = facts
    return table
