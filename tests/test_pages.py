"""README and docs: links lead somewhere, commands are ones that exist, examples in docstrings are right."""

import doctest
import importlib
import re
import shlex
from pathlib import Path

import pytest

from eolab.cli import commands as cli
from eolab.runs import study

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(
    {
        *ROOT.glob("*.md"),
        *ROOT.glob("azureml/*.md"),
        *(path for path in DOCS.rglob("*.md") if "_build" not in path.parts),
    }
)
FENCE = re.compile(r"^```(\S*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Headings as GitHub and MyST make links of them."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_pictures_of_a_page_are_there(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text())):
        if not link.startswith("https://"):
            path, _, anchor = link.partition("#")
            target = (page.parent / path) if path else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


def test_each_page_of_the_documentation_is_reached_from_the_first():
    reached, new = set(), {DOCS / "index.md"}
    while new:
        page = new.pop()
        reached.add(page)
        for kind, body in FENCE.findall(page.read_text()):
            if kind == "{toctree}":
                listed = [line for line in body.split("\n") if line and not line.startswith(":")]
                new |= {(page.parent / f"{name}.md").resolve() for name in listed} - reached
    assert reached == {page for page in PAGES if DOCS in page.parents}


def commands(page: Path) -> list[str]:
    """Lines of blocks of shell, variables before and comments behind left out."""
    text = page.read_text()
    lines = [line for kind, body in FENCE.findall(text) for line in body.splitlines() if kind in ("", "sh")]
    lines += [code for code in re.findall(r"`([^`\n]+)`", FENCE.sub("", text)) if "…" not in code]
    return [re.sub(r"^(\w+=(<[^>]*>|\S+) )*", "", line) for line in lines]


def problem_of(command: str) -> str:
    """Return what is wrong with a command of eolab or make, empty if nothing is."""
    words = shlex.split(command, comments=True)
    if words[0] == "make":
        targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        return "" if {word for word in words[1:] if "=" not in word} <= set(targets) else "no such target"
    try:
        args = cli._parser().parse_args(words[1:])
    except SystemExit:
        return "not understood"
    if getattr(args, "study", None) not in study.names():
        return ""
    one = study.load(args.study)
    values = [*args.set, *getattr(args, "grid", [])]
    keys = {value.partition("=")[0].split(".")[0] for value in values}
    declared = {p.name for notebook in one.notebooks.values() for p in study.parameters.read(notebook.path)}
    known = {*one.notebooks, *one.sweeps, *one.searches, *declared}
    named = {*keys, *getattr(args, "only", []), *getattr(args, "sweeps", []), args.profile or "smoke"}
    named.add(getattr(args, "search", args.study))
    unknown = named - known - {*one.profiles, args.study}
    return f"unknown: {unknown}" if unknown else ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_a_page_are_understood(page, capsys):
    lines = [line for line in commands(page) if re.match(r"(eolab|make) ", line)]
    found = {line: problem_of(line) for line in lines if "--help" not in line}
    assert not {line: problem for line, problem in found.items() if problem}


def test_a_command_that_is_wrong_is_found(capsys):
    assert problem_of("eolab run landcover --onyl 01_explore") == "not understood"
    assert problem_of("eolab run landcover --set epoch=3") == "unknown: {'epoch'}"
    assert problem_of("eolab sweep flood sensor") == "unknown: {'sensor'}"
    assert problem_of("make demos") == "no such target"


@pytest.mark.parametrize(
    "name",
    ["core.numbers", "data.schemes.bigearthnet", "data.splits", "data.indices", "training.augment",
     "training.fitting", "training.losses"],
)  # fmt: skip
def test_examples_in_docstrings_are_right(name):
    """Those that need no data of the reader."""
    done = doctest.testmod(importlib.import_module(f"eolab.{name}"), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert done.attempted
    assert not done.failed
