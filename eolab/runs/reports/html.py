"""The frame of each page: templates and style, all within the page."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from eolab import __version__
from eolab.runs.reports import fragment


@cache
def environment() -> Any:
    """Return the Jinja environment of the templates."""
    from jinja2 import Environment, FileSystemLoader

    return Environment(loader=FileSystemLoader(fragment.TEMPLATES), autoescape=True)


def parts() -> Any:
    """Return the macros of ``parts.html.j2``."""
    return environment().get_template("parts.html.j2").module


@cache
def _css() -> str:
    from pygments.formatters import HtmlFormatter

    light = HtmlFormatter(style="friendly").get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    own = (fragment.TEMPLATES / "style.css").read_text(encoding="utf-8")
    plain = ".highlight, .highlight pre { background: var(--code); }"
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n{plain}\n{own}"


def page(**values: Any) -> str:
    """Return a whole page; see ``page.html.j2`` for the values."""
    empty: Mapping[str, Any] = {
        "kicker": "",
        "description": "",
        "facts": [],
        "banners": [],
        "toc": [],
        "made": "",
    }
    template = environment().get_template("page.html.j2")
    return str(template.render({**empty, **values, "css": _css(), "version": __version__}))
