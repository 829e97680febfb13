"""What a page says about a run: labels, banners, parameters, provenance."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from eolab.core.errors import ParameterError
from eolab.core.numbers import alike
from eolab.core.progress import duration
from eolab.runs import parameters
from eolab.runs.history import RunRecord
from eolab.runs.parameters import Parameter

KINDS = {"done": "good", "failed": "bad", "not complete": "bad"}  # how a status is coloured


def chips(run: RunRecord) -> list[str]:
    """Return the labels below a title: name, status, date, time, profile, run; empty where not known."""
    time, profile = took(run), run.record.get("profile")
    known = [f"took {time}" if time else "", f"profile {profile}" if profile else ""]
    words = [run.name] if run.name != run.folder.name else []
    return [*words, run.status, date(run.record.get("started")), *known, f"run {run.folder.name}"]


def real(runs: Sequence[RunRecord]) -> str:
    """Return the citations and licences of the real data that were used; empty where there are none."""
    data = {entry["name"]: entry for run in runs for entry in run.data if not entry.get("simulated")}
    return "; ".join(
        f"{d.get('citation') or d['name']} (licence {d.get('license') or 'not stated'})"
        for d in data.values()
    )


def declared(run: RunRecord) -> dict[str, Parameter]:
    """Return the parameters that the executed notebook declares, none where it cannot be read."""
    try:
        return parameters.by_name(parameters.read(run.folder / f"{run.record['notebook']}.ipynb"))
    except ParameterError:
        return {}


def changed_first(settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return parameters with their values, those that differ from the defaults before the others."""
    return sorted(settings.items(), key=lambda one: one[1] == defaults.get(one[0]))


def changes(run: RunRecord) -> str:
    """Return the parameters that differ from their defaults with their values, upstream runs left out."""
    changed = [f"{name} {value!r}" for name, value in run.changed.items()]
    return f"changed from the defaults: {', '.join(changed)}" if changed else "defaults"


def took(run: RunRecord) -> str:
    """Return how long a run took; empty if that is not known."""
    seconds = run.record.get("seconds")
    return duration(seconds) if seconds is not None else ""


def number(value: Any) -> str:
    """Return a metric as text, with the decimals that tables have."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return alike([value])(value)
    text = str(value)
    return text if len(text) < 90 else f"{text[:85]} …"


def date(text: str | None) -> str:
    """Return an ISO time for people, in UTC; empty for none."""
    if not text:
        return ""
    moment = datetime.fromisoformat(text).astimezone(UTC)
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC"
