"""The outputs of an interactive notebook are recorded as its front end shows them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import IPython
import miniature
import nbformat
import pytest
from bs4 import BeautifulSoup

from eolab import runs
from eolab.runs import outputs


class Shell:
    """The sides of a kernel's shell that a recorder looks at."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.display_pub = SimpleNamespace(session=SimpleNamespace(send=self.send))
        self.events = SimpleNamespace(register=lambda name, begin: setattr(self, name, begin))
        self.request: dict[str, Any] = {}
        self.pre_run_cell: Any = None

    def send(self, stream: Any, message: Any, **how: Any) -> None:
        self.sent.append(message)

    def set_custom_exc(self, *how: Any) -> None:
        """Do nothing: errors are looked at elsewhere."""

    def get_parent(self) -> dict[str, Any]:
        return self.request

    def run(self, source: str, *messages: tuple[str, dict], cell: str | None = None) -> dict[str, Any]:
        """Execute a cell that sends these messages."""
        number = f"request {len(self.sent)} {source}"
        self.request = {"header": {"msg_id": number}, "content": {"code": source}}
        if self.pre_run_cell:
            self.pre_run_cell(SimpleNamespace(raw_cell=source, cell_id=cell))
        for message in messages:
            self.say(number, *message)
        return self.request

    def say(self, request: str, kind: str, content: dict[str, Any]) -> None:
        message = {"header": {"msg_type": kind}, "parent_header": {"msg_id": request}, "content": content}
        self.display_pub.session.send("iopub", message, ident=b"x")


def shown(text: str, display: str = "") -> dict[str, Any]:
    return {"data": {"text/html": text}, "metadata": {}, "transient": {"display_id": display}}


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Shell:
    found = Shell()
    monkeypatch.setattr(IPython, "get_ipython", lambda: found)
    monkeypatch.setattr(outputs, "_RECORDERS", [])
    return found


@pytest.fixture
def book(tmp_path: Path) -> Path:
    cells = ["# Title", "start()", "## One", "one()", "## Two", "two()"]
    path = tmp_path / "book.ipynb"
    nbformat.write(miniature.notebook(cells), path)
    return path


def written(recorder: Any, book: Path, tmp_path: Path) -> list[Any]:
    recorder.write(book, tmp_path / "executed.ipynb")
    return list(nbformat.read(tmp_path / "executed.ipynb", as_version=4).cells)


def texts(cell: Any) -> list[str]:
    return [one.get("text") or one["data"]["text/html"] for one in cell.outputs]


def test_each_output_stands_at_its_cell_in_order(shell: Shell, book: Path, tmp_path: Path) -> None:
    shell.run("start()")
    recorder = outputs.record()
    said = {"name": "stdout", "text": "a\n"}
    shell.run("one()", ("stream", said), ("stream", {**said, "text": "b\n"}), ("display_data", shown("fig")))
    request = shell.run("two()")["header"]["msg_id"]
    shell.run("later()")
    shell.say(request, "stream", {"name": "stderr", "text": "sent late"})
    cells = written(recorder, book, tmp_path)
    assert [one.source for one in cells] == ["# Title", "start()", "## One", "one()", "## Two", "two()"]
    assert texts(cells[3]) == ["a\nb\n", "fig"]
    assert texts(cells[5]) == ["sent late"]
    assert len(shell.sent) == 4, "the front end has them too"


def test_a_cell_that_ran_again_has_its_last_outputs(shell: Shell, book: Path, tmp_path: Path) -> None:
    shell.run("start()")
    recorder = outputs.record()
    shell.run("one()", ("display_data", shown("old")))
    shell.run("one()", ("display_data", shown("new")))
    assert texts(written(recorder, book, tmp_path)[3]) == ["new"]
    shell.run("start()")
    assert outputs.record() is recorder
    assert texts(written(recorder, book, tmp_path)[3]) == [], "the notebook began again"


def test_what_was_updated_or_cleared_is_shown_as_it_was_in_the_end(
    shell: Shell, book: Path, tmp_path: Path
) -> None:
    shell.run("start()")
    recorder = outputs.record()
    update = ("update_display_data", shown("epoch 2", "curve"))
    shell.run("one()", ("display_data", shown("epoch 1", "curve")), ("display_data", shown("x")), update)
    shell.run(
        "two()", ("display_data", shown("1")), ("clear_output", {"wait": True}), ("display_data", shown("2"))
    )
    cells = written(recorder, book, tmp_path)
    assert texts(cells[3]) == ["epoch 2", "x"]
    assert texts(cells[5]) == ["2"]


def test_a_cell_that_is_not_saved_as_it_ran_keeps_its_place(shell: Shell, book: Path, tmp_path: Path) -> None:
    shell.run("start()")
    recorder = outputs.record()
    shell.run("one()", ("display_data", shown("a")))
    shell.run("new()", ("display_data", shown("b")))
    identity = nbformat.read(book, as_version=4).cells[5]["id"]
    shell.run("two(changed=True)", ("display_data", shown("c")), cell=identity)
    cells = written(recorder, book, tmp_path)
    assert [(one.source, texts(one)) for one in cells if one.cell_type == "code"] == [
        ("start()", []),
        ("one()", ["a"]),
        ("new()", ["b"]),
        ("two(changed=True)", ["c"]),
    ]


def test_a_run_outside_of_the_runner_has_the_same_report(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("EOLAB_RUN_DIR", "EOLAB_RUNS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EOLAB_ROOT", str(miniature.build(tmp_path)))
    monkeypatch.chdir(tmp_path / "notebooks" / "mini")
    shell.run(miniature.MAKE[2])
    run = runs.start("mini/01_make", {"count": 3, "seed": 0})
    shell.run(miniature.MAKE[5], ("stream", {"name": "stdout", "text": "3 numbers"}))
    boxes = []
    monkeypatch.setattr("eolab.runs.record._show", lambda markup, text: boxes.append(markup))
    run.finish(samples=3)
    link = BeautifulSoup(boxes[0], "html.parser").a["href"]
    assert link == f"../../runs/mini/01_make/{run.folder.name}/report.html"
    page = BeautifulSoup(Path(link).read_text(), "html.parser")
    assert page.h1.text == "01 · Make numbers"
    assert page.select_one("pre.stream").text.strip() == "3 numbers"
    assert page.select_one("table.parameters")
    assert page.find("h2", string="Where do numbers come from?")
