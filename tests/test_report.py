from __future__ import annotations

import base64
import re
from io import BytesIO
from pathlib import Path

import miniature
import nbformat
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from PIL import Image

from eolab.core.errors import RunError
from eolab.runs import display, folders, reports
from eolab.runs.reports import fragment
from eolab.runs.short import markup

PNG = base64.b64encode(b"not a picture, but nobody looks").decode()


def outputs(kind: str, **facts: object) -> nbformat.NotebookNode:
    return nbformat.v4.new_output(kind, **facts)


def executed(tmp_path: Path, *cells: tuple[str, list]) -> Path:
    """A run folder whose notebook has these code cells with their outputs."""
    folder = tmp_path / "mini" / "01_make" / "smoke-0"
    book = miniature.notebook(
        ["# 01 · Make numbers\n\n> a minute", "## First\n\nText.", "### Detail", "## Second"]
    )
    for source, found in cells:
        cell = nbformat.v4.new_code_cell(source, execution_count=3)
        cell.outputs = found
        book.cells.append(cell)
    folder.mkdir(parents=True)
    nbformat.write(book, folder / "01_make.ipynb")
    record = {"study": "mini", "notebook": "01_make", "run": "smoke-0", "status": "done", "seconds": 61.0}
    record |= {
        "started": "2026-01-02T03:04:05+00:00",
        "ended": "2026-01-02T03:05:06+00:00",
        "profile": "smoke",
    }
    folders.write_json(folder / "run.json", record)
    folders.update_record(folder, parameters={"count": 4, "seed": 0}, defaults={"count": 3, "seed": 0})
    folders.write_json(folder / "metrics.json", {"test": {"f1": 0.123456}})
    environment = {"python": "3.11.7", "git": {"commit": "c" * 40, "dirty": True}, "seed": 11}
    folders.write_json(folder / "environment.json", environment)
    return folder


def page_of(folder: Path) -> BeautifulSoup:
    return BeautifulSoup(reports.build(folder).read_text(), "html.parser")


def assert_offline(page: BeautifulSoup) -> None:
    assert not page.find_all(["script", "link", "iframe", "object"])
    for tag in page.find_all(True):
        for name in ("src", "srcset", "data", "poster", "xlink:href"):
            assert not re.match(r"\s*(https?:)?//", str(tag.get(name, ""))), tag
    for style in page.find_all("style"):
        assert "@import" not in style.text
        assert not re.search(r"url\(\s*['\"]?(https?:)?//", style.text)
    assert all(tag.get("alt") for tag in page.find_all("img"))


def test_a_page_says_how_the_run_was_made(tmp_path: Path) -> None:
    page = page_of(executed(tmp_path))
    text = page.get_text(" ", strip=True)
    assert page.h1.text == "01 · Make numbers"
    for words in (
        "done",
        "2 January 2026, 03:04 UTC",
        "1 min 1 s",
        "cccccccccccc with uncommitted changes",
        "3.11.7",
    ):
        assert words in text
    changed = page.select_one("table.parameters tr.changed")
    assert changed.get_text(" ", strip=True).startswith("count 4 3")
    assert "test.f1 0.123" in text
    assert_offline(page)


def test_contents_lead_to_headings(tmp_path: Path) -> None:
    page = page_of(executed(tmp_path))
    links = [a["href"] for a in page.select("nav a")]
    assert [a.text for a in page.select("nav a")] == ["First", "Second", "Numbers", "How this was made"]
    for link in links:
        assert page.find(id=link[1:]).name == "h2"


def test_nothing_is_fetched_or_run(tmp_path: Path) -> None:
    hostile = (
        '<script src="https://cdn.example/x.js"></script><link href="https://cdn.example/x.css">'
        '<img src="https://example.org/a.png" alt="a map"><img src="data:image/png;base64,AA" onerror="x()">'
        "<style>@import 'https://fonts.example'; b {background: url(https://example.org/b.png)}</style><b>kept</b>"
    )
    folder = executed(tmp_path, ("show()", [outputs("display_data", data={"text/html": hostile})]))
    page = page_of(folder)
    assert_offline(page)
    assert "kept" in page.text
    assert page.find("a", href="https://example.org/a.png").text == "a map"
    assert not page.find(onerror=True)


def test_code_is_folded_and_noise_is_gone(tmp_path: Path) -> None:
    noise = "2026-01-01 00:00:00.123: I tensorflow/x] noise\nWARNING: All log messages before absl::Init\n"
    noise += "read me\nWriting store: 1/3 (33 %), 29 s left\nFitting a forest: 10 s so far\n"
    bar = "10%\r50%\r100%\n"
    widget = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "IntSlider()"}
    found = [
        outputs("stream", name="stderr", text=noise),
        outputs("stream", name="stderr", text=bar),
        outputs("display_data", data=widget),
        outputs(
            "execute_result", data={"text/plain": "<matplotlib.image.AxesImage at 0x7f00>"}, execution_count=3
        ),
        outputs("display_data", data={"image/png": PNG, "text/plain": "<Figure>"}),
    ]
    page = page_of(executed(tmp_path, ("secret_code()", found)))
    assert page.select_one("details.code:not([open])").find(string=re.compile("secret_code"))
    assert page.select_one("pre.stderr").text.split("\n")[:2] == ["read me", "100%"]
    for word in ("noise", "IntSlider", "AxesImage", "50%", "29 s left", "so far"):
        assert word not in page.main.text
    assert page.select_one("img")["src"].startswith("data:image/png;base64,")


def test_a_caption_of_the_text_stands_below_its_figure_alone(tmp_path: Path) -> None:
    caption = display.Caption("Loss by epoch.", simulated=True, in_text=True)
    markup = display.figure_html(b"png", caption)
    folder = executed(
        tmp_path, ("run.figure(fig, 'loss')", [outputs("display_data", data={"text/html": markup})])
    )
    book = nbformat.read(folder / "01_make.ipynb", as_version=4)
    book.cells.insert(
        1, nbformat.v4.new_markdown_cell("Before.\n\n**Figure loss.** Loss by epoch.\n\nAfter.")
    )
    book.cells.insert(2, nbformat.v4.new_markdown_cell("**Table other.** Not shown."))
    nbformat.write(book, folder / "01_make.ipynb")
    page = page_of(folder)
    assert page.main.text.count("Loss by epoch.") == 1
    assert page.select_one("figcaption").text == "Loss by epoch. Simulated data."
    assert not page.select("figcaption [hidden]")
    for text in ("Before.", "After."):
        assert text in page.main.text
    for text in ("Figure loss", "Table other"):
        assert text not in page.main.text


def test_the_box_in_short_stands_on_top_of_the_page_alone(tmp_path: Path) -> None:
    short = {
        "found": ["Macro F1: lstm 0.600."],
        "cautions": ["lstm is worse than <forest>.", "Only 4 groups."],
    }
    box = [outputs("display_data", data={"text/html": markup(short, simulated=True, link="report.html")})]
    folder = executed(tmp_path, ("run.finish()", box))
    folders.write_json(folder / "short.json", short)
    page = page_of(folder)
    (found,) = page.select(".eolab-short")
    assert [line.text for line in found.select("li")] == [
        "Macro F1: lstm 0.600.",
        "Take care. lstm is worse than <forest>. Only 4 groups.",
    ]
    assert found.find_next("h2").text == "First"
    assert not page.find("a", href="report.html")


def test_the_set_up_is_folded_and_what_was_changed_stands_first(tmp_path: Path) -> None:
    folder = executed(tmp_path)
    folders.update_record(folder, parameters={"seed": 0, "count": 4}, defaults={"count": 3, "seed": 0})
    cells = [
        "# Title\n\n> a minute\n\nA question?",
        "## Set-up",
        "import this",
        "## Parameters\n\nAll of them.",
        ("parameters", "count: int = 3  # how many\nseed: int = 0  # seed"),
        "run = runs.start()",
        "## A result",
    ]
    nbformat.write(miniature.notebook(cells), folder / "01_make.ipynb")
    page = page_of(folder)
    fold = page.select_one("details.setup:not([open])")
    assert fold.summary.text == "Set-up and parameters (changed from the defaults: count 4)"
    for words in ("Set-up", "import this", "All of them.", "how many", "runs.start()"):
        assert words in fold.text
    assert [row.th.text for row in fold.select("tbody tr")] == ["count", "seed"]
    assert "A result" not in fold.text
    assert "A question?" in page.main.text
    assert "a minute" not in page.main.text
    assert page.select_one("nav a").text == "A result"


def test_a_section_whose_captions_found_no_figure_is_left_out(tmp_path: Path) -> None:
    folder = executed(tmp_path, ("method()", []))
    book = nbformat.read(folder / "01_make.ipynb", as_version=4)
    for text in ("## Not asked\n\nWhy.\n\n**Figure rates.** Loss by rate.", "## Method\n\nHow."):
        code = nbformat.v4.new_code_cell("if False:\n    run.figure(figure, 'rates')")
        book.cells += [nbformat.v4.new_markdown_cell(text), code]
    nbformat.write(book, folder / "01_make.ipynb")
    headings = [one.text for one in page_of(folder).select("main h2")]
    assert "Not asked" not in headings
    assert "Method" in headings


def test_a_line_that_a_caption_says_too_is_not_said_again(tmp_path: Path) -> None:
    sentence = "In macro F1, lstm is worse than forest: -0.062 (-0.110 to -0.021)."
    caption = display.Caption(f"Gains over blocks. {sentence}", in_text=True)
    table = display.table_html(pd.DataFrame({"model": ["lstm"]}), caption, {})
    printed = outputs("stream", name="stdout", text=f"{sentence}\nanother line\n")
    found = [outputs("display_data", data={"text/html": table}), printed]
    page = page_of(executed(tmp_path, ("run.table()", found)))
    assert page.main.text.count(sentence) == 1
    assert "another line" in page.main.text


def test_a_failed_run_shows_its_cell(tmp_path: Path) -> None:
    trace = ["\x1b[31mValueError\x1b[0m: expected 12 bands, found 3"]
    error = outputs("error", ename="ValueError", evalue="expected 12 bands, found 3", traceback=trace)
    folder = executed(tmp_path, ("read()", [error]))
    failed = {
        "cell": 3,
        "error": "ValueError",
        "message": "expected 12 bands, found 3",
        "traceback": ["a trace"],
    }
    folders.update_record(folder, status="failed", failed=failed)
    page = page_of(folder)
    banner = page.select_one(".banner.failed")
    assert "01_make failed in cell In [3]. ValueError: expected 12 bands, found 3" in banner.get_text(
        " ", strip=True
    )
    assert "a trace" in banner.pre.text
    assert (
        page.find(id=banner.a["href"][1:]).select_one("pre.error").text.strip()
        == trace[0][5:15] + trace[0][19:]
    )


@pytest.mark.parametrize(
    "tag",
    [
        '<a href="javascript:steal()">x</a>',
        '<a href=" java&#9;script:steal()">x</a>',
        '<a href="data:text/html;base64,AA">x</a>',
        '<svg><a xlink:href="javascript:steal()">x</a></svg>',
        '<form action="javascript:steal()"><button formaction="javascript:steal()">x</button></form>',
        '<img src="x.png" ONERROR="steal()" alt="x">',
        '<svg><set attributeName="href" to="javascript:steal()"></set></svg>',
        '<b style="background: url(javascript:steal())">x</b>',
        '<iframe srcdoc="<script>steal()</script>"></iframe>',
    ],
)
def test_markup_of_an_output_runs_nothing(tmp_path: Path, tag: str) -> None:
    folder = executed(tmp_path, ("show()", [outputs("display_data", data={"text/html": tag})]))
    assert "steal" not in str(page_of(folder).main)
    assert "data:text/html" not in str(page_of(folder).main)


@pytest.mark.parametrize(
    ("url", "linked"),
    [
        ("https://example.org/data", True),
        ("HTTP://example.org", True),
        ("javascript:alert(1)", False),
        (" javascript:alert(1)", False),
        ("data:text/html,<script>alert(1)</script>", False),
        ("file:///etc/passwd", False),
        (None, False),
    ],
)
def test_only_addresses_of_the_web_are_links(tmp_path: Path, url: str | None, linked: bool) -> None:
    """``url: javascript:`` of a catalogue was a live link."""
    folder = executed(tmp_path)
    entry = {"name": "tile", "simulated": False, "license": "x", "citation": "y", "fingerprint": "f"}
    folders.write_json(folder / "data.json", [{**entry, "url": url}])
    table = page_of(folder).select_one("table.data")
    assert [a["href"] for a in table.find_all("a")] == ([url] if linked else [])
    assert url is None or url.strip() in table.text


def test_simulated_and_real_data_are_named(tmp_path: Path) -> None:
    folder = executed(tmp_path)
    assert not page_of(folder).select(".banner")
    real = {
        "name": "tile",
        "simulated": False,
        "license": "CC-BY-4.0",
        "citation": "ESA 2020",
        "fingerprint": "f" * 64,
    }
    folders.write_json(folder / "data.json", [real])
    assert "ESA 2020 (licence CC-BY-4.0)" in page_of(folder).select_one(".banner").text
    folders.update_record(folder, simulated=True)
    assert "Simulated data" in page_of(folder).select_one(".banner.simulated").text


def test_markup_in_values_is_shown_not_obeyed(tmp_path: Path) -> None:
    folder = executed(tmp_path)
    folders.update_record(folder, parameters={"count": "<b>x</b>"})
    folders.write_json(folder / "metrics.json", {"<i>": 1})
    page = page_of(folder)
    assert "<b>x</b>" in page.select_one("table.parameters").text
    assert not page.select("table i, table b")


def test_formulas_become_pictures(tmp_path: Path) -> None:
    book = miniature.notebook(
        ["# F\n\nWe use $x_i^2$, `$HOME` and 5 $ or 6 $.\n\n$$\\frac{a}{b}$$\n\n$\\nosuchcommand{a}$"]
    )
    nbformat.write(book, tmp_path / "f.ipynb")
    soup = BeautifulSoup(fragment.render(tmp_path / "f.ipynb").html, "html.parser")
    assert [i["alt"] for i in soup.select("img.math")] == ["x_i^2", "\\frac{a}{b}"]
    assert "$HOME" in soup.text
    assert "5 $ or 6 $" in soup.text
    assert "nosuchcommand" in soup.text


def test_columns_of_numbers_stand_to_the_right() -> None:
    rows = [("0", "Lake", "0.5 ± 0.1"), ("1", "12th", "–")]
    body = "".join(f"<tr><th>{a}</th><td>{b}</td><td>{c}</td></tr>" for a, b, c in rows)
    head = "<thead><tr><th></th><th>class</th><th>F1</th></tr></thead>"
    markup = f"<table class='dataframe' border='1'>{head}<tbody>{body}</tbody></table>"
    soup = BeautifulSoup(markup, "html.parser")
    fragment.tidy_tables(soup)
    assert [cell["class"] for cell in soup.find_all("tr")[1]] == [["num"], ["word"], ["num"]]
    assert soup.table.parent["class"] == ["scroll"]
    assert not soup.table.get("border")


def test_only_columns_of_long_words_may_break_them() -> None:
    row = "<tr><td>unet</td><td>images/train/image_1002.h5</td></tr>"
    markup = f"<table class='dataframe'><tbody>{row}</tbody></table>"
    soup = BeautifulSoup(markup, "html.parser")
    fragment.tidy_tables(soup)
    assert [cell["class"] for cell in soup.find_all("td")] == [["word"], ["word", "long"]]


def test_tables_of_many_columns_are_smaller_and_their_names_break_behind_underscores() -> None:
    def tidied(columns: int) -> BeautifulSoup:
        head = "".join(f"<th>macro_average_{number}</th>" for number in range(columns))
        body = "<td>0.5</td>" * columns
        rows = f"<thead><tr>{head}</tr></thead><tbody><tr>{body}</tr></tbody>"
        soup = BeautifulSoup(f"<table class='dataframe'>{rows}</table>", "html.parser")
        fragment.tidy_tables(soup)
        return soup

    assert tidied(7).table["class"] == ["dataframe"]
    assert tidied(8).table["class"] == ["dataframe", "wide"]
    assert tidied(2).th.decode_contents() == "macro_<wbr/>average_<wbr/>0"


def test_a_study_page_holds_all_notebooks(tmp_path: Path) -> None:
    executed(tmp_path)
    second = tmp_path / "mini" / "02_use" / "smoke-1"
    second.mkdir(parents=True)
    link = "# 02 · Use\n\nSee [the first](01_make.ipynb) and [none](09_none.ipynb).\n\n## First"
    nbformat.write(miniature.notebook([link]), second / "02_use.ipynb")
    record = {"study": "mini", "notebook": "02_use", "run": "smoke-1", "status": "failed", "simulated": True}
    folders.write_json(second / "run.json", record | {"started": "2026-01-02T03:04:05+00:00"})
    about = {"title": "A study", "description": "Short.", "notebooks": ["02_use", "01_make", "03_more"]}
    folders.write_json(tmp_path / "mini" / "chain.json", about)
    page = BeautifulSoup(reports.build_study(tmp_path / "mini").read_text(), "html.parser")
    assert_offline(page)
    assert page.h1.text == "A study"
    lines = [row.get_text(" ", strip=True) for row in page.select("table.cover tbody tr")]
    assert [line.split()[0] for line in lines] == ["02", "01", "03_more"]
    assert "not run" in lines[2]
    assert [tag["id"] for tag in page.select("section.notebook > h2")] == ["02_use", "01_make"]
    identities = [tag["id"] for tag in page.find_all(id=True)]
    assert len(identities) == len(set(identities))
    for anchor in page.select("nav a, table.cover a"):
        assert anchor["href"][1:] in identities
    assert page.find("a", string="the first")["href"] == "#01_make"
    assert not page.find("a", string="none")
    assert page.select_one(".banner.simulated")


def made(root: Path, name: str, hour: int, above: str = "", **facts: object) -> Path:
    """Write the record and an empty page of a run, "notebook/run", that ended at an hour."""
    folder = root / "mini" / name
    notebook, run = name.split("/")
    record = {"study": "mini", "notebook": notebook, "run": run, "status": "done", **facts}
    record |= {"started": f"2026-01-02T{hour:02}:00:00+00:00", "ended": f"2026-01-02T{hour:02}:30:00+00:00"}
    if above:
        stamp = folders.read_json(root / "mini" / above / "run.json")
        record["upstream"] = {"made": {key: stamp[key] for key in ("notebook", "run", "ended")}}
        record["parameters"] = {"made": str(root / "mini" / above)}
    folders.write_json(folder / "run.json", record)
    (folder / "report.html").touch()
    return folder


def chapters(root: Path) -> tuple[list[str], BeautifulSoup]:
    """Return the runs that are chapters of the study's page, and the page."""
    page = BeautifulSoup(reports.build_study(root / "mini").read_text(), "html.parser")
    rows = page.select("table.cover tbody tr")
    return [f"{row.a['href'][1:]}/{row.code.text}" for row in rows if row.a], page


def two_data_sets(root: Path) -> None:
    """Write a chain of a twin, then the beginning of one of data of one's own."""
    made(root, "01_make/a", 1, parameters={"dataset": "twin"})
    made(root, "02_use/a", 2, "01_make/a")
    made(root, "01_make/b", 3, parameters={"dataset": "own"})


def test_a_study_page_has_the_newest_chain_of_one_data_set_and_links_to_the_others(tmp_path: Path) -> None:
    """The twin's later notebooks stood as chapters behind the first one of data of one's own."""
    two_data_sets(tmp_path)
    found, page = chapters(tmp_path)
    assert found == ["01_make/b"]
    (others,) = page.select("section:has(> #others) details")
    assert others.summary.text == "twin: 2 runs"
    assert [link["href"] for link in others.select("a")] == ["01_make/a/report.html", "02_use/a/report.html"]
    folders.update_record(tmp_path / "mini/02_use/a", asked="2026-01-02T05:00:00+00:00")
    found, page = chapters(tmp_path)  # `eolab run` found the twin's chain finished
    assert found == ["01_make/a", "02_use/a"]
    assert page.select_one("section:has(> #others) summary").text == "own: 1 run"


def test_a_run_made_from_an_earlier_run_is_no_chapter_beside_the_later_one(tmp_path: Path) -> None:
    two_data_sets(tmp_path)
    made(tmp_path, "02_use/b", 4, "01_make/b")
    made(tmp_path, "01_make/c", 5, parameters={"dataset": "own"})
    found, page = chapters(tmp_path)
    assert found == ["01_make/c"]
    folded = page.select("section:has(> #others) summary")
    assert [summary.text for summary in folded] == ["own: 2 runs", "twin: 2 runs"]


@pytest.mark.parametrize(
    ("status", "said"), [("failed", "failed in cell In [7]"), ("stopped", "was stopped")]
)
def test_a_run_that_failed_or_was_stopped_replaces_no_finished_one(
    tmp_path: Path, status: str, said: str
) -> None:
    """A failed `--only` run stood in the place of the finished one."""
    two_data_sets(tmp_path)
    made(tmp_path, "02_use/b", 4, "01_make/b")
    failed = {"cell": 7, "error": "ValueError", "message": "too few"} if status == "failed" else None
    made(tmp_path, "02_use/c", 5, "01_make/b", status=status, failed=failed)
    found, page = chapters(tmp_path)
    assert found == ["01_make/b", "02_use/b"]
    (note,) = [p for p in page.select("main > p") if "later run" in p.text]
    assert said in note.text
    assert note.a["href"] == "02_use/c/report.html"
    assert page.select_one("header .facts span.good").text == "done"
    made(tmp_path, "02_use/b.repeat", 6, "01_make/b", run="b", status=status)  # the finished one, made again
    notes = [p.a["href"] for p in chapters(tmp_path)[1].select("main > p") if p.a]
    assert notes == ["02_use/b.repeat/report.html", "02_use/c/report.html"]


def test_a_failed_run_is_a_chapter_where_no_run_of_its_notebook_is_finished(tmp_path: Path) -> None:
    two_data_sets(tmp_path)
    made(tmp_path, "02_use/b", 4, "01_make/b", status="failed")
    assert chapters(tmp_path)[0] == ["01_make/b", "02_use/b"]


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run folder"):
        reports.build(tmp_path)
    with pytest.raises(RunError, match="holds no runs"):
        reports.build_study(tmp_path)


# === In a real browser ===


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_fits_the_screen_offline(tmp_path: Path, width: int, scheme: str) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = next((p for p in ("/usr/bin/chromium", "/usr/bin/chromium-browser") if Path(p).exists()), None)
    if chromium is None:
        pytest.skip("no chromium on this machine")
    wide = "<table class='dataframe'><tbody><tr>" + "<td>wide_cell</td>" * 40 + "</tr></tbody></table>"
    found = [
        outputs("display_data", data={"text/html": wide}),
        outputs("stream", name="stdout", text="x" * 500),
    ]
    report = reports.build(executed(tmp_path, ("show()", found)))
    flags = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=flags.split())
        view = {"width": width, "height": 800}
        page = browser.new_context(viewport=view, color_scheme=scheme, offline=True).new_page()
        problems: list[str] = []
        page.on("requestfailed", lambda request: problems.append(request.url))
        page.on("console", lambda message: problems.append(message.text))
        page.goto(report.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        picture = Image.open(BytesIO(page.screenshot())).convert("L")
        corner = picture.getpixel((width - 2, 790))
        assert (corner > 200) == (scheme == "light")
        browser.close()
    assert problems == []


def test_a_wide_table_is_cut_into_parts_that_begin_with_what_names_the_lines():
    """The published numbers stood right of the edge of the page."""
    wide = pd.DataFrame(
        {"loss": ["iou"], "runs": [1]} | {f"test.half.score_{n}": [0.1234] for n in range(30)}
    )
    parts = display.parts_of(wide)
    assert all(part.columns[0] == "loss" for part in parts)
    assert [name for part in parts for name in part if name != "loss"] == list(wide)[1:]
    assert max(len(part.columns) for part in parts) <= display.PAGE // len("score_") + 1
    signed = {name: ["-0.001 (-0.002 to +0.002)"] for name in ("MSE", "MAE", "R²", "rank", "IoU")}
    parts = display.parts_of(pd.DataFrame({"model": ["random_forest"], "groups": [8]} | signed))
    assert [list(part) for part in parts] == [
        ["model", "groups", "MSE", "MAE", "R²", "rank"],
        ["model", "IoU"],
    ]  # the fifth stood right of the edge of the page
    similarity = wide.drop(columns=["loss", "runs"]).set_axis(pd.Index(["block"], name="split"))
    parts = display.parts_of(similarity)  # that of samples was 1,343 pixels wide
    assert len(parts) > 2
    assert all(list(part.index) == ["block"] for part in parts)
    assert [name for part in parts for name in part] == list(similarity)
    plain = wide.drop(columns=["loss", "runs"])
    assert display.parts_of(plain)[0] is plain


def test_numbers_of_a_column_have_the_same_decimals_as_those_of_scores() -> None:
    table = pd.DataFrame({"class": ["a", "b"], "F1": [0.5, 0.04567], "samples": [12.0, 3400.0]})
    markup = display.table_html(table.assign(p=[0.5, 0.0001], m=[1487.6, 44.72]), display.Caption("x"), {})
    rows = BeautifulSoup(markup, "html.parser").select("tbody tr")
    assert [[cell.text for cell in row.find_all("td")] for row in rows] == [
        ["a", "0.500", "12", "0.5", "1,488"],
        ["b", "0.046", "3,400", "0.0001", "45"],
    ]
