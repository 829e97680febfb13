"""One executed notebook as a piece of a page: no script, nothing from outside, no noise."""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from io import BytesIO
from pathlib import Path
from typing import Any, Self

from eolab.core.files import loaded
from eolab.runs import display
from eolab.runs.history import AGAIN

TEMPLATES = Path(__file__).parent / "templates"
SET_UP = "Set-up and parameters"  # what is folded
WIDE = 8  # columns: a table of so many is set smaller
_OUTSIDE = re.compile(r"^\s*(https?:)?//", re.IGNORECASE)
_WEB = re.compile(r"^https?://", re.IGNORECASE)
_RUNS = re.compile(r"^(javascript|vbscript|data:(?!image/))", re.IGNORECASE)  # addresses that run code
_WIDGETS = {"application/vnd.jupyter.widget-view+json", "application/javascript"}
_ADDRESS = re.compile(r"^[\[(]*<[\w. ]+( object)? at 0x[0-9a-f]+>")  # what plotting calls return
_PAPERMILL_ERROR = "papermill-error-cell-tag"
_MATH = re.compile(r"\$\$(?P<block>[^$]+)\$\$|(?<![\\\w$])\$(?P<inline>[^\s$](?:[^$\n]*[^\s$])?)\$(?![\w$])")
_MATH_SIZE_PT = 11.0
_SECTION = re.compile(r"^##? ", re.MULTILINE)
_ON_THE_WAY = re.compile(r": (\d+/\d+ \(\d+ %\), .* left|.* so far)$")  # see eolab.core.progress
_LONG = 20  # letters: shorter lines are not looked for in captions
_CODE = re.compile(r'<pre class="eolab-code-here">(\d+)</pre>')
_NUMBER = re.compile(r"^[-+−]?[\d.,   ]*\d[\d.,eE+−-]*\s*(%|±.*|(?:s|min|h)\b.*)?$|^(–|NaN|nan|None|)$")


@dataclass(frozen=True)
class Heading:
    """A heading of a page: its level (1 is the largest), text and anchor, and the headings below it."""

    level: int
    text: str
    id: str
    children: tuple[Self, ...] = ()


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
    headings: tuple[Heading, ...] = ()


def render(
    notebook: Path, *, prefix: str = "", shift: int = 0, links: dict[str, str] | None = None
) -> Fragment:
    """Return an executed notebook as a fragment.

    Args:
        notebook: The executed notebook.
        prefix: Start of each anchor, so that fragments can share a page.
        shift: Levels by which headings sink.
        links: Notebook file name → anchor on the same page, for links between notebooks.

    Raises:
        DataError: If the notebook cannot be read, as after a kill while it was saved.
    """
    import nbformat
    from bs4 import BeautifulSoup

    read = partial(nbformat.read, as_version=4)
    content = loaded(notebook, read, "an executed notebook", AGAIN)
    _clean(content)
    _leave_out_empty(content)
    for number, cell in enumerate(content.cells):
        cell.metadata["eolab_number"] = number
    markup, _ = _exporter().from_notebook_node(content, {"metadata": {"path": str(notebook.parent)}})
    soup = BeautifulSoup(markup, "html.parser")
    _offline(soup)
    _fold_set_up(soup)
    for box in soup.select(".eolab-short"):  # it stands on top of the page
        box.decompose()
    for caption in soup.select("figcaption > span[hidden]"):
        del caption["hidden"]
    _leave_out_said(soup)
    _links(soup, links or {})
    _draw_formulas(soup)
    tidy_tables(soup)
    title = soup.find("h1")
    text = _text(title) if title else ""
    if title:
        title.decompose()
    headings = tuple(
        _heading(tag, i, prefix, shift) for i, tag in enumerate(soup.find_all(re.compile("^h[1-6]$")))
    )
    coloured = partial(_coloured, {str(i): cell.source for i, cell in enumerate(content.cells)})
    return Fragment(text, _CODE.sub(coloured, str(soup)), headings)


def _coloured(sources: Mapping[str, str], match: re.Match) -> str:
    """Return the code of a cell with its words coloured, put where its number stands.

    It enters after the page was parsed: most tags of a page are of its code.
    """
    from nbconvert.filters import Highlight2HTML

    return str(Highlight2HTML(pygments_lexer="ipython3")(sources.get(match[1], "")))


@cache
def _exporter() -> Any:
    from nbconvert import HTMLExporter, TemplateExporter

    class Cells(HTMLExporter):
        """Makes a piece of a page, where HTMLExporter parses what it has made once more."""

        from_notebook_node = TemplateExporter.from_notebook_node

    return Cells(
        template_name="eolab",
        extra_template_basedirs=[str(TEMPLATES)],
        embed_images=True,
        exclude_anchor_links=True,
        mathjax_url="",
        require_js_url="",
        jquery_url="",
        mermaid_js_url="",
    )


# === What of a notebook belongs on a page ===


def _clean(notebook: Any) -> None:
    """Take out papermill's error banners, captions (they stand below their figures), and noise in outputs.

    ``metadata.eolab`` of each code cell tells the template what it is, see :func:`_kind`.
    """
    notebook.cells = [c for c in notebook.cells if _PAPERMILL_ERROR not in c.metadata.get("tags", [])]
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            text = display.without_captions(cell.source)
            cell.metadata["eolab"] = "captions" if text != cell.source.strip() else ""
            cell.source = text
        if cell.cell_type == "code":
            _clean_outputs(cell)
            cell.metadata["eolab"] = _kind(cell)


def _leave_out_empty(notebook: Any) -> None:
    """Leave out the sections that have captions and code but made no output: their question was not asked."""
    sections: list[list[Any]] = [[]]
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and _SECTION.search(cell.source):
            sections.append([])
        sections[-1].append(cell)
    notebook.cells = [cell for section in sections if not _is_empty(section) for cell in section]


def _is_empty(section: Sequence[Any]) -> bool:
    codes = [cell for cell in section if cell.cell_type == "code"]
    promised = any(cell.metadata.get("eolab") == "captions" for cell in section)
    return promised and bool(codes) and not any(cell.outputs for cell in codes)


def _clean_outputs(cell: Any) -> None:
    """Leave out widgets, addresses of objects and start-up noise; join streams as a terminal shows them."""
    from nbconvert.preprocessors import CoalesceStreamsPreprocessor

    cell.outputs = [output for output in cell.outputs if not _is_noise(output.get("data", {}))]
    CoalesceStreamsPreprocessor().preprocess_cell(cell, {}, 0)
    for output in cell.outputs:
        if output.output_type == "stream":
            lines = output.text.split("\n")
            shown = [line for line in lines if not display.NOISE.match(display.ANSI.sub("", line))]
            output.text = "\n".join(line for line in shown if not _ON_THE_WAY.search(line))
    cell.outputs = [one for one in cell.outputs if one.output_type != "stream" or one.text.strip()]


def _is_noise(data: Any) -> bool:
    """Return whether the data of an output are a widget or the address of an object."""
    address = list(data) == ["text/plain"] and _ADDRESS.match(data["text/plain"].strip())
    return bool(address or _WIDGETS & set(data))


def _kind(cell: Any) -> str:
    """Return "failed", "parameters" for the place of the parameter table, "hidden", or nothing."""
    tags = cell.metadata.get("tags", [])
    if any(output.output_type == "error" for output in cell.outputs):
        return "failed"
    if "parameters" in tags:
        return "parameters"
    return "hidden" if "injected-parameters" in tags or "remove-cell" in tags else ""


def _fold_set_up(soup: Any) -> None:
    """Fold the sections up to that of the parameters, so that results come first.

    The line of a notebook's beginning that says how long it takes, and what stands before and after it, is
    left out: a page says itself how long it took.
    """
    quote = soup.find("blockquote")
    if quote and not quote.find_previous(re.compile("^h[2-6]$")):
        quote.decompose()
    here = soup.find(class_="eolab-parameters-here")
    first = soup.find("h2")
    if not here or not first or not here.find_previous("h2"):
        return
    nodes = [first.parent, *first.parent.next_siblings]
    within = [here, *here.parents]
    beyond = next((i for i, node in enumerate(nodes) if any(node is one for one in within)), 0) + 1
    while beyond < len(nodes) and not (nodes[beyond].name and nodes[beyond].find("h2")):
        beyond += 1
    box = soup.new_tag("details", attrs={"class": "setup"})
    box.append(soup.new_tag("summary"))
    box.summary.string = SET_UP
    first.parent.insert_before(box)
    for node in nodes[:beyond]:
        box.append(node.extract())
    if box.find(class_="failed"):
        box["open"] = ""
    for heading in box.find_all("h2"):
        heading.name = "p"
        heading["class"] = "head"


def _leave_out_said(soup: Any) -> None:
    """Leave out the lines of streams that a caption says too."""
    captions = " ".join(_text(one) for one in soup.find_all("figcaption"))
    for stream in soup.select("pre.stream:not(.error)"):
        lines = stream.get_text().split("\n")
        kept = [line for line in lines if len(line) < _LONG or " ".join(line.split()) not in captions]
        if len(kept) < len(lines):
            stream.string = "\n".join(kept)
        if not stream.get_text(strip=True):
            stream.decompose()


# === Links and headings ===


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
        tag.attrs = {name: value for name, value in tag.attrs.items() if _is_harmless(name, value)}


def _is_harmless(name: str, value: Any) -> bool:
    """Return whether an attribute of a tag neither runs code nor fetches anything."""
    text = re.sub(r"[\x00-\x20]", "", " ".join(value) if isinstance(value, list) else str(value))
    if name in ("srcdoc", "action", "formaction", "ping", "background"):
        return False
    return not (name.startswith("on") or _RUNS.match(text) or (name == "style" and "url(" in text.lower()))


def is_web(address: Any) -> bool:
    """Return whether an address, if there is one, is one of the web, which a link may lead to."""
    return bool(_WEB.match(str(address)))


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


# === Formulas: a page has no MathJax to fetch ===


def _draw_formulas(soup: Any) -> None:
    """Replace each formula, ``$…$``, by a picture whose alternative text is the formula.

    Formulas that matplotlib's mathtext cannot read stay as they are.
    """
    for node in list(soup.find_all(string=_MATH)):
        if node.find_parent(["code", "pre", "style", "script", "svg", "table"]):
            continue
        parts: list[Any] = []
        end = 0
        for match in _MATH.finditer(node):
            picture = _picture(soup, match["block"] or match["inline"], block=bool(match["block"]))
            if picture is not None:
                parts += [str(node)[end : match.start()], picture]
                end = match.end()
        if parts:
            node.replace_with(*parts, str(node)[end:])


def _picture(soup: Any, formula: str, block: bool) -> Any:
    from matplotlib import mathtext, rc_context
    from matplotlib.font_manager import FontProperties

    text = f"${' '.join(formula.split())}$"
    font = FontProperties(size=_MATH_SIZE_PT)
    buffer = BytesIO()
    try:
        with rc_context({"figure.facecolor": "none", "savefig.facecolor": "none"}):
            depth = mathtext.math_to_image(text, buffer, prop=font, dpi=72, format="svg")
    except ValueError:
        return None
    source = base64.b64encode(buffer.getvalue()).decode("ascii")
    style = "display:block;margin:1em auto" if block else f"--depth:-{depth / _MATH_SIZE_PT:.2f}em"
    attributes = {"class": "math", "alt": formula.strip(), "style": style}
    return soup.new_tag("img", src=f"data:image/svg+xml;base64,{source}", attrs=attributes)


# === Tables: numbers to the right, words to the left, wide ones scroll in their own box ===


def tidy_tables(soup: Any) -> None:
    """Align the columns of each data frame in a parsed page and give each table a box that scrolls.

    A table of many columns is set smaller, and names of columns may break behind an underscore or a dot.
    """
    for table in soup.find_all("table"):
        for name in ("border", "style"):
            del table[name]
        if "dataframe" in table.get("class", []):
            _align(table)
            _narrow(soup, table)
        if not table.find_parent(class_="scroll"):
            table.wrap(soup.new_tag("div", attrs={"class": "scroll"}))


def _align(table: Any) -> None:
    for styled in table.find_all(["tr", "th", "td"], style=True):
        del styled["style"]
    rows = [row.find_all(["th", "td"], recursive=False) for row in table.find_all("tr")]
    body = [row.find_all(["th", "td"], recursive=False) for row in table.select("tbody tr")]
    for column in range(max((len(row) for row in body), default=0)):
        cells = [row[column].get_text(strip=True) for row in body if len(row) > column]
        words = ["word", "long"] if max(map(len, cells)) > display.LONG else ["word"]
        kind = ["num"] if all(_NUMBER.match(text) for text in cells) else words
        for row in rows:
            if len(row) > column:
                row[column]["class"] = list(kind)


def _narrow(soup: Any, table: Any) -> None:
    if max((len(row.find_all("th")) for row in table.select("thead tr")), default=0) >= WIDE:
        table["class"] = [*table["class"], "wide"]
    for head in table.select("thead th"):
        first, *others = re.split(r"(?<=[_.])(?=\w)", head.get_text(strip=True))
        if others:
            head.clear()
            head.append(first)
            for word in others:
                head.extend([soup.new_tag("wbr"), word])
