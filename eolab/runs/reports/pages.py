"""Reports: one self-contained HTML page for a run, for a study, and for a table."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from eolab import __version__
from eolab.core import yamls
from eolab.core.errors import DataError, EolabError, RunError, reason_of
from eolab.core.progress import duration
from eolab.runs import display, folders, history, short
from eolab.runs.history import RunRecord
from eolab.runs.reports import facts, fragment, members
from eolab.runs.reports.fragment import Fragment, Heading

if TYPE_CHECKING:
    import pandas as pd

FIGURE = "figure.png"  # of a sweep's table, beside it


def build(folder: Path) -> Path:
    """Write ``report.html`` of a run folder and return its path.

    Raises:
        RunError: If the folder is no run folder or its notebook was not run by the runner.
    """
    folder = folder.resolve()
    run = history.load(folder)
    piece = _piece(run)
    body = _body(run, piece, prefix="", level=2)
    numbers = [Heading(2, "Numbers", "metrics")] if run.metrics else []
    contents = [heading for heading in piece.headings if heading.level == 2]
    text = _page(
        title=piece.title or run.record["notebook"],
        kicker=_about(folder.parents[1])["title"],
        facts=facts.chips(run),
        runs=[run],
        link="#failed-cell",
        simulated=run.simulated,
        real=facts.real([run]),
        toc=[*contents, *numbers, Heading(2, "How this was made", "made")],
        body=body,
        made=facts.date(run.record.get("ended")),
    )
    folders.write_text(folder / folders.REPORT, text)
    return folder / folders.REPORT


def build_study(folder: Path) -> Path:
    """Write ``report.html`` of a study's folder of runs: a cover, then each notebook of the newest chain.

    Runs of other data sets, and earlier ones, are listed with links, see :mod:`eolab.runs.reports.members`.

    Raises:
        RunError: If the folder holds no runs.
    """
    about = _about(folder)
    found = members.of(folder, about["notebooks"])
    runs = found.chapters
    if not runs:
        raise RunError(
            f"{folder} holds no runs of a study: expected <notebook>/<run>/{folders.RECORD} in it."
        )
    anchors = {f"{run.record['notebook']}.ipynb": run.record["notebook"] for run in runs}
    toc, titles, body = [], [], ""
    for run in runs:
        name = run.record["notebook"]
        piece = _piece(run, prefix=f"{name}-", shift=1, links=anchors)
        title = piece.title or name
        chapters = tuple(heading for heading in piece.headings if heading.level == 3)
        toc.append(Heading(2, title, name, chapters))
        titles.append(title)
        head = _parts().chapter_head(run, title, facts.chips(run))
        body += f'<section class="notebook">{head}{_body(run, piece, f"{name}-", 3)}</section>'
    missing = [name for name in about["notebooks"] if f"{name}.ipynb" not in anchors]
    sweeps = _sweep_tables(folder)
    toc += [Heading(2, "Sweeps", "sweeps")] if sweeps else []
    others = str(_parts().others(found.others)).strip()
    toc += [Heading(2, "Other runs", "others")] if others else []
    text = _page(
        title=about["title"],
        description=about["description"],
        facts=_study_chips(runs, complete=not missing),
        runs=runs,
        simulated=any(run.simulated for run in runs),
        real=facts.real(runs),
        toc=toc,
        body=f"{_parts().cover(runs, titles, missing, found.later)}{body}{sweeps}{others}",
        made=facts.date(max(str(run.record.get("ended") or "") for run in runs)),
    )
    folders.write_text(folder / folders.REPORT, text)
    return folder / folders.REPORT


def page(
    title: str,
    body: str,
    frames: Sequence[pd.DataFrame],
    simulated: bool,
    links: Mapping[str, str] | None = None,
) -> str:
    """Return a page with tables, for a sweep.

    Args:
        title: Its title.
        body: HTML above the tables.
        frames: The tables, in order.
        simulated: Whether the numbers come from simulated data.
        links: Addresses of the pages that cells of the tables lead to, by what stands in the cell.
    """
    parts = [body, *(_table(table, links or {}) for table in frames)]
    return _page(title=title, simulated=simulated, body="".join(parts))


def figure_of(folder: Path) -> str:
    """Return the picture of a sweep's table, from its folder, as markup; empty where there is none."""
    file = folder / FIGURE
    text = "The main score of each line, with its interval where the line has several runs."
    return display.figure_html(file.read_bytes(), display.Caption(text)) if file.is_file() else ""


def _table(table: pd.DataFrame, links: Mapping[str, str] | None = None) -> str:
    from bs4 import BeautifulSoup

    markup = "".join(part.to_html(index=False, **display.LOOK) for part in display.parts_of(table))
    soup = BeautifulSoup(markup, "html.parser")
    fragment.tidy_tables(soup)
    for cell in soup.find_all("td"):
        if address := (links or {}).get(cell.get_text()):
            link = soup.new_tag("a", href=address)
            link.string = cell.get_text()
            cell.clear()
            cell.append(link)
    return str(soup)


def _piece(run: RunRecord, **options: Any) -> Fragment:
    notebook = run.folder / f"{run.record['notebook']}.ipynb"
    if notebook.is_file():
        try:
            return fragment.render(notebook, **options)
        except DataError as error:  # the rest of the page does not need it
            return Fragment("", f"<p>{html.escape(str(error))}</p>")
    if run.record.get("interactive"):
        return Fragment("", "<p>The outputs of this run are in the notebook itself.</p>")
    return Fragment("", "<p>The notebook has not started.</p>")


def _body(run: RunRecord, piece: Fragment, prefix: str, level: int) -> str:
    """Return the box "In short", the notebook with its parameter table, then numbers and provenance."""
    table = str(_parts().parameters(run, facts.declared(run))) if run.params else ""
    here = '<div class="eolab-parameters-here"></div>'
    inside = piece.html.replace(here, table, 1) if here in piece.html else table + piece.html
    fold = f"<summary>{fragment.SET_UP}"
    inside = inside.replace(fold, f"{fold} ({html.escape(facts.changes(run))})", 1)
    numbers = [(name, facts.number(value)) for name, value in yamls.flatten(run.metrics).items()]
    box = short.markup(run.short)
    return f"{box}{inside}{_parts().metrics(numbers, prefix, level)}{_parts().made(run, prefix, level)}"


def _study_chips(runs: Sequence[RunRecord], complete: bool) -> list[str]:
    good = complete and all(run.status == "done" for run in runs)
    seconds = sum(run.record.get("seconds") or 0 for run in runs)
    profiles = dict.fromkeys(run.record.get("profile") or "default" for run in runs)
    status = "done" if good else "not complete"
    length = f"{len(runs)} notebooks, {duration(seconds)}"
    return [status, length, *(f"profile {profile}" for profile in profiles)]


def _about(folder: Path) -> dict[str, Any]:
    """Title, description and notebooks of a study: as its runs recorded them, else from the project."""
    known = folders.read_chain(folder)
    if known.get("title"):
        return {"description": "", "notebooks": [], **known}
    from eolab.runs import study

    try:
        one = study.load(folder.name)
    except EolabError:
        return {"title": folder.name, "description": "", "notebooks": []}
    return {"title": one.title, "description": one.description, "notebooks": list(one.notebooks)}


def _sweep_tables(folder: Path) -> str:
    import pandas as pd

    parts = []
    for file in sorted(folder.glob("sweeps/*/table.csv")):
        try:
            title, *lines = (file.parent / "table.md").read_text(encoding="utf-8").splitlines()
            table = _table(pd.read_csv(file, dtype=str))
        except (OSError, ValueError) as error:  # a sweep that was killed while it wrote its table
            again = f"eolab sweep {folder.name} {file.parent.name}"
            title, table = file.parent.name, ""
            lines = [f"Its table cannot be read ({reason_of(error)}): {again} writes it again."]
        remarks = "".join(f"<p>{html.escape(line)}</p>" for line in lines if line and line[0] != "|")
        whole = (
            f'<p><a href="{quote(f"sweeps/{file.parent.name}/table.html")}">All runs of this sweep</a></p>'
        )
        head = f"<h3>{html.escape(title.lstrip('# '))}</h3>"
        parts.append(f"{head}{figure_of(file.parent)}{table}{remarks}{whole}")
    head = '<section class="notebook"><h2 id="sweeps">Sweeps</h2>'
    return f"{head}{''.join(parts)}</section>" if parts else ""


# === The frame of each page: templates and style, all within the page ===


@cache
def _templates() -> Any:
    from jinja2 import Environment, FileSystemLoader

    found = Environment(loader=FileSystemLoader(fragment.TEMPLATES), autoescape=True)
    found.globals |= {"kinds": facts.KINDS, "changed_first": facts.changed_first}
    found.tests["web"] = fragment.is_web
    found.filters |= {"date": facts.date, "took": facts.took, "repr": repr}
    return found


def _parts() -> Any:
    """Return the macros of ``parts.html.j2``."""
    return _templates().get_template("parts.html.j2").module


def _page(**values: Any) -> str:
    """Return a whole page; see ``page.html.j2`` for the values."""
    template = _templates().get_template("page.html.j2")
    return str(template.render(**values, css=_css(), version=__version__))


@cache
def _css() -> str:
    from pygments.formatters import HtmlFormatter

    light = HtmlFormatter(style="friendly").get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    own = (fragment.TEMPLATES / "style.css").read_text(encoding="utf-8")
    plain = ".highlight, .highlight pre { background: var(--code); }"
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n{plain}\n{own}"
