"""One executed notebook as a piece of a page: no script, nothing from outside, headings with anchors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from eolab.runs.reports import clean, formulas, tables

TEMPLATES = Path(__file__).parent / "templates"
_OUTSIDE = re.compile(r"^\s*(https?:)?//", re.IGNORECASE)


@dataclass(frozen=True)
class Heading:
    """A heading of a fragment: its level (1 is the largest), text and anchor."""

    level: int
    text: str
    id: str


@dataclass(frozen=True)
class Fragment:
    """An executed notebook as HTML.

    Attributes:
        title: Its first heading of level 1; empty when it has none.
        html: Everything below that heading.
        headings: The headings in it.
    """

    title: str
    html: str
    headings: tuple[Heading, ...]


def render(
    notebook: Path, *, prefix: str = "", shift: int = 0, links: dict[str, str] | None = None
) -> Fragment:
    """Return an executed notebook as a fragment.

    Args:
        notebook: The executed notebook.
        prefix: Start of each anchor, so that fragments can share a page.
        shift: Levels by which headings sink.
        links: Notebook file name → anchor on the same page, for links between notebooks.
    """
    import nbformat
    from bs4 import BeautifulSoup

    content = clean.prepare(nbformat.read(notebook, as_version=4))
    markup, _ = _exporter().from_notebook_node(content, {"metadata": {"path": str(notebook.parent)}})
    soup = BeautifulSoup(markup, "html.parser")
    _offline(soup)
    for caption in soup.select("figcaption > span[hidden]"):
        del caption["hidden"]
    _links(soup, links or {})
    formulas.draw(soup)
    tables.tidy(soup)
    title = soup.find("h1")
    text = _text(title) if title else ""
    if title:
        title.decompose()
    headings = tuple(
        _heading(tag, i, prefix, shift) for i, tag in enumerate(soup.find_all(re.compile("^h[1-6]$")))
    )
    return Fragment(text, str(soup), headings)


@cache
def _exporter() -> Any:
    from nbconvert import HTMLExporter

    return HTMLExporter(
        template_name="eolab",
        extra_template_basedirs=[str(TEMPLATES)],
        embed_images=True,
        exclude_anchor_links=True,
        mathjax_url="",
        require_js_url="",
        jquery_url="",
        mermaid_js_url="",
    )


def _offline(soup: Any) -> None:
    """Take out whatever would run or be fetched."""
    for tag in soup.find_all(["script", "link", "iframe", "object", "embed", "base", "meta"]):
        tag.decompose()
    for tag in soup.find_all(["img", "source", "video", "audio", "image"]):
        address = tag.get("src") or tag.get("href") or tag.get("srcset") or ""
        if _OUTSIDE.match(address):
            link = soup.new_tag("a", href=address)
            link.string = tag.get("alt") or address
            tag.replace_with(link)
        elif tag.name == "img" and not tag.get("alt"):
            tag["alt"] = "Figure"
    for tag in soup.find_all("style"):
        text = re.sub(r"@import[^;]+;", "", tag.string or "")
        tag.string = re.sub(r"url\(\s*['\"]?(https?:)?//[^)]*\)", "none", text)
    for tag in soup.find_all(True):
        for name in [name for name in tag.attrs if name.startswith("on")]:
            del tag[name]


def _links(soup: Any, links: dict[str, str]) -> None:
    """Point links between notebooks into the page, and make text of those that lead nowhere."""
    for tag in soup.find_all("a", href=True):
        address = tag["href"]
        if _OUTSIDE.match(address) or address.startswith(("#", "mailto:")):
            continue
        target = links.get(address.partition("#")[0].rpartition("/")[2])
        if target:
            tag["href"] = f"#{target}"
        else:
            tag.unwrap()


def _heading(tag: Any, number: int, prefix: str, shift: int) -> Heading:
    level = min(int(tag.name[1]) + shift, 6)
    slug = re.sub(r"[^a-z0-9]+", "-", _text(tag).lower()).strip("-")
    tag.name = f"h{level}"
    tag["id"] = f"{prefix}{number}-{slug}"
    return Heading(level, _text(tag), tag["id"])


def _text(tag: Any) -> str:
    return " ".join(tag.get_text(" ", strip=True).replace("¶", "").split())
