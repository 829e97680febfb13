"""What a page says about a run: labels, banners, parameters, provenance."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from eolab.core.errors import ParameterError
from eolab.core.numbers import short
from eolab.core.progress import duration
from eolab.runs import parameters
from eolab.runs.history import RunRecord
from eolab.runs.parameters import Parameter

KINDS = {"done": "good", "failed": "bad", "not complete": "bad"}  # how a status is coloured
SIMULATED = {
    "kind": "simulated",
    "title": "Simulated data.",
    "text": "Numbers and figures on this page come from simulated data: they show that the method works, "
    "not what it would reach on real images.",
}


def chips(run: RunRecord) -> list[str]:
    """Return the small labels below a title: status, date, time, profile, run; empty where not known."""
    time, profile = took(run), run.record.get("profile")
    known = [f"took {time}" if time else "", f"profile {profile}" if profile else ""]
    return [run.status, date(run.record.get("started")), *known, f"run {run.folder.name}"]


def banners(runs: Sequence[RunRecord], link: str | None = None) -> list[dict[str, Any]]:
    """Return what a reader must know first: failures, simulated data, licences of real data."""
    found = failures(runs, link)
    data = {entry["name"]: entry for run in runs for entry in run.data}
    real = [entry for entry in data.values() if not entry["simulated"]]
    if any(run.simulated for run in runs):
        found.append(SIMULATED)
    if real:
        texts = [f"{d['citation'] or d['name']} (licence {d['license'] or 'not stated'})" for d in real]
        found.append({"kind": "real", "title": "Real data:", "text": "; ".join(texts)})
    return found


def failures(runs: Sequence[RunRecord], link: str | None) -> list[dict[str, Any]]:
    """Return a red banner for each run that failed."""
    return [
        {
            "kind": "failed",
            "title": f"{run.record['notebook']} failed {run.failure[0]}.",
            "text": run.failure[1],
            "link": link,
            "trace": "\n".join(run.record["failed"].get("traceback", [])),
        }
        for run in runs
        if run.status == "failed" and run.record.get("failed")
    ]


def declared(run: RunRecord) -> dict[str, Parameter]:
    """Return the parameters that the executed notebook declares, none where it cannot be read."""
    try:
        return parameters.by_name(parameters.read(run.folder / f"{run.record['notebook']}.ipynb"))
    except ParameterError:
        return {}


def took(run: RunRecord) -> str:
    """Return how long a run took; empty if that is not known."""
    seconds = run.record.get("seconds")
    return duration(seconds) if seconds is not None else ""


def number(value: Any) -> str:
    """Return a metric as text: four digits that count."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return short(value)
    text = str(value)
    return text if len(text) < 90 else f"{text[:85]} …"


def date(text: str | None) -> str:
    """Return an ISO time for people, in UTC; empty for none."""
    if not text:
        return ""
    moment = datetime.fromisoformat(text).astimezone(UTC)
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC"
