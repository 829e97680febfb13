"""Reports: one self-contained HTML page for a run, for a study, and for a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eolab.core.errors import EolabError, RunError
from eolab.core.numbers import short
from eolab.core.progress import duration
from eolab.runs import folders, history
from eolab.runs.history import RunRecord
from eolab.runs.reports import facts, fragment, html, tables
from eolab.runs.reports.fragment import Fragment

if TYPE_CHECKING:
    import pandas as pd


def build(folder: Path) -> Path:
    """Write ``report.html`` of a run folder and return its path.

    Raises:
        RunError: If the folder is no run folder or its notebook was not run by the runner.
    """
    folder = folder.resolve()
    run = history.load(folder)
    piece = _piece(run)
    body = _body(run, piece, prefix="", level=2)
    toc = [{"id": h.id, "text": h.text, "children": []} for h in piece.headings if h.level == 2]
    if run.metrics:
        toc.append({"id": "metrics", "text": "Numbers", "children": []})
    toc.append({"id": "made", "text": "How this was made", "children": []})
    text = html.page(
        title=piece.title or run.record["notebook"],
        kicker=_about(folder.parents[1])["title"],
        facts=facts.chips(run),
        banners=facts.banners([run], link="#failed-cell"),
        toc=toc,
        body=body,
        made=facts.date(run.record.get("ended")),
    )
    folders.write_text(folder / folders.REPORT, text)
    return folder / folders.REPORT


def build_study(folder: Path) -> Path:
    """Write ``report.html`` of a study's folder of runs: a cover, then each notebook of the newest chain.

    Raises:
        RunError: If the folder holds no runs.
    """
    runs = _chain(folder)
    if not runs:
        raise RunError(
            f"{folder} holds no runs of a study: expected <notebook>/<run>/{folders.RECORD} in it."
        )
    about = _about(folder)
    anchors = {f"{run.record['notebook']}.ipynb": run.record["notebook"] for run in runs}
    chapters = [_chapter(run, anchors) for run in runs]
    sweeps = _sweep_tables(folder)
    toc = [chapter.contents for chapter in chapters]
    toc += [{"id": "sweeps", "text": "Sweeps", "children": []}] if sweeps else []
    missing = [_missing_line(name) for name in about["notebooks"] if f"{name}.ipynb" not in anchors]
    cover = str(html.parts().cover([*(chapter.cover for chapter in chapters), *missing]))
    text = html.page(
        title=about["title"],
        description=about["description"],
        facts=_study_chips(runs, complete=not missing),
        banners=facts.banners(runs),
        toc=toc,
        body=cover + "".join(chapter.html for chapter in chapters) + sweeps,
        made=facts.date(max(str(run.record.get("ended") or "") for run in runs)),
    )
    folders.write_text(folder / folders.REPORT, text)
    return folder / folders.REPORT


def page(title: str, body: str, frames: Sequence[pd.DataFrame], simulated: bool) -> str:
    """Return a page with tables, for a sweep.

    Args:
        title: Its title.
        body: HTML above the tables.
        frames: The tables, in order.
        simulated: Whether the numbers come from simulated data.
    """
    parts = [body, *(_table(table) for table in frames)]
    return html.page(title=title, banners=[facts.SIMULATED] if simulated else [], body="".join(parts))


def _table(table: pd.DataFrame) -> str:
    from bs4 import BeautifulSoup

    markup = table.to_html(index=False, border=0, na_rep="–", float_format=short)
    soup = BeautifulSoup(markup, "html.parser")
    tables.tidy(soup)
    return str(soup)


def _piece(run: RunRecord, **options: Any) -> Fragment:
    notebook = run.folder / f"{run.record['notebook']}.ipynb"
    if not notebook.is_file():
        if run.record.get("interactive"):
            return Fragment("", "<p>Run in JupyterLab: its outputs are in the notebook itself.</p>", ())
        return Fragment("", "<p>The notebook has not started.</p>", ())
    return fragment.render(notebook, **options)


def _body(run: RunRecord, piece: Fragment, prefix: str, level: int) -> str:
    """The notebook with its parameter table in place, then numbers and provenance."""
    parts = html.parts()
    table = str(parts.parameters(facts.parameters(run))) if run.params else ""
    here = '<div class="eolab-parameters-here"></div>'
    inside = piece.html.replace(here, table, 1) if here in piece.html else table + piece.html
    numbers = [(name, facts.number(value)) for name, value in folders.flatten(run.metrics).items()]
    packages = list(run.environment.get("packages", {}).items())
    made = {"facts": facts.facts(run), "data": run.data, "packages": packages}
    return inside + str(parts.metrics(numbers, prefix, level)) + str(parts.made(made, prefix, level))


@dataclass(frozen=True)
class _Chapter:
    """One notebook in the report of a study: its section, its contents entry and its line on the cover."""

    html: str
    contents: dict[str, Any]
    cover: dict[str, str]


def _chapter(run: RunRecord, anchors: dict[str, str]) -> _Chapter:
    name = run.record["notebook"]
    piece = _piece(run, prefix=f"{name}-", shift=1, links=anchors)
    title = piece.title or name
    head = str(html.parts().chapter_head(name, title, facts.chips(run), facts.failures([run], None)))
    section = f'<section class="notebook">{head}{_body(run, piece, f"{name}-", 3)}</section>'
    children = [{"id": h.id, "text": h.text} for h in piece.headings if h.level == 3]
    return _Chapter(section, {"id": name, "text": title, "children": children}, _cover_line(run, name, title))


def _cover_line(run: RunRecord, name: str, title: str) -> dict[str, str]:
    kind = {"done": "good", "failed": "bad"}.get(run.status, "quiet")
    seconds = run.record.get("seconds")
    time = duration(seconds) if seconds is not None else "–"
    line = {"id": name, "title": title, "status": run.status, "kind": kind, "time": time}
    return line | {"run": run.folder.name, "ended": facts.date(run.record.get("ended")) or "–"}


def _missing_line(name: str) -> dict[str, str]:
    return {"title": name, "status": "not run", "kind": "quiet", "time": "–", "run": "–", "ended": "–"}


def _study_chips(runs: Sequence[RunRecord], complete: bool) -> list[dict[str, str]]:
    good = complete and all(run.status == "done" for run in runs)
    seconds = sum(run.record.get("seconds") or 0 for run in runs)
    profiles = dict.fromkeys(run.record.get("profile") or "default" for run in runs)
    chips = [{"text": "done" if good else "not complete", "kind": "good" if good else "bad"}]
    chips.append({"text": f"{len(runs)} notebooks, {duration(seconds)}"})
    return chips + [{"text": f"profile {profile}"} for profile in profiles]


def _chain(folder: Path) -> list[RunRecord]:
    """The runs that belong together: those of the last chain, else the newest of each notebook."""
    named = folders.read_json(folder / folders.CHAIN).get("runs", {})
    found = []
    for notebook in sorted(path.name for path in folder.iterdir() if path.is_dir()):
        chosen = folder / notebook / str(named.get(notebook))
        if (chosen / folders.RECORD).is_file():
            found.append(history.load(chosen))
        elif notebook not in named and not named:
            found += list(history.records(folder.name, notebook, folder.parent))[:1]
    places = {name: place for place, name in enumerate(_about(folder)["notebooks"])}
    return sorted(found, key=lambda run: places.get(run.record["notebook"], len(places)))


def _about(folder: Path) -> dict[str, Any]:
    """Title, description and notebooks of a study: as its runs recorded them, else from the project."""
    known = folders.read_json(folder / folders.CHAIN)
    if known.get("title"):
        return dict(known)
    from eolab.runs import study

    try:
        one = study.load(folder.name)
    except EolabError:
        return {"title": folder.name, "description": "", "notebooks": []}
    return {"title": one.title, "description": one.description, "notebooks": list(one.notebooks)}


def _sweep_tables(folder: Path) -> str:
    import pandas as pd
    from markupsafe import escape

    parts = []
    for file in sorted(folder.glob("sweeps/*/table.csv")):
        title, *lines = (file.parent / "table.md").read_text(encoding="utf-8").splitlines()
        remarks = "".join(f"<p>{escape(line)}</p>" for line in lines if line and not line.startswith("|"))
        table = _table(pd.read_csv(file, dtype=str))
        parts.append(f"<h3>{escape(title.lstrip('# '))}</h3>{table}{remarks}")
    head = '<section class="notebook"><h2 id="sweeps">Sweeps</h2>'
    return f"{head}{''.join(parts)}</section>" if parts else ""
