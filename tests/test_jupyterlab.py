"""What a user sees in JupyterLab: Run All, move the slider, click on the picture, in a real Chromium."""

from __future__ import annotations

import io
import re
import shutil
from pathlib import Path

import browser
import mask_panel
import numpy as np
import pytest
import yaml
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
EXPLORE = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "notebooks").glob("*/01_explore.ipynb")
    if "widgets.SeriesExplorer" in path.read_text()
)
PANEL = ".eolab-series-explorer"
SYNTHETIC = """
import matplotlib
import matplotlib.pyplot as plt
import numpy as np, pandas as pd, xarray as xr
from eolab.data.schemes.landcover import LANDCOVER
from eolab.widgets import SeriesExplorer

rng = np.random.default_rng(0)
label = (np.arange(60)[:, None] // 20 * 4 + np.arange(80) // 20).astype(np.uint8)
season = 1 + 0.5 * np.sin(np.arange(8))[:, None, None, None]
spectra = rng.uniform(0.03, 0.35, (12, 4))[label].transpose(2, 0, 1)
image = (spectra * season + rng.normal(0, 0.01, (8, 4, 60, 80))).astype(np.float32)
series = xr.Dataset(
    {
        "image": (("time", "band", "y", "x"), image, {"units": "reflectance"}),
        "clear": (("time", "y", "x"), rng.random((8, 60, 80)) < 0.8),
        "label": (("y", "x"), label),
    },
    coords={
        "time": pd.date_range("2020-01-10", periods=8, freq="45D"),
        "band": ["B02", "B03", "B04", "B08"],
        "y": 4_800_000 - 10 * np.arange(60),
        "x": 431_000 + 10 * np.arange(80),
    },
)
"""
SHOW = "explorer = SeriesExplorer(series, LANDCOVER)\nexplorer.date.value = 2\nexplorer"
REGIONS = """
import geopandas as gpd
import shapely
from eolab.widgets import RegionExplorer

facts = {"id": [0, 1], "label": ["low", "high"], "row": [5, 30], "column": [5, 50]}
shapes = [shapely.box(x, y, x + 100, y + 100) for x, y in ((431_045, 4_799_845), (431_495, 4_799_595))]
table = gpd.GeoDataFrame({**facts, "height": 10, "width": 10}, geometry=shapes)
counts = {"One": rng.poisson(9, (10, 10)).astype(float), "Two": rng.poisson(2, (10, 10)).astype(float)}
notes = [f"date {number} · 5 % clouds" for number in range(8)]
explorer = RegionExplorer(series, table, {"low": "#0072B2", "high": "#D55E00"}, notes, counts)
explorer
"""
BACKEND = "plt.plot([1, 2])\nprint(matplotlib.get_backend())"


def small_catalog() -> str:
    """The project's catalogue with smaller twins, so that a browser need not wait for them."""
    catalog = yaml.safe_load((ROOT / "data_catalog.yaml").read_text())
    small = {"dates": 4, "size": 96, "train": 40, "validation": 4, "test": 4}
    for entry in catalog.values():
        twin = entry.get("twin", {})
        twin.update({name: min(value, twin[name]) for name, value in small.items() if name in twin})
    catalog["flood_twin"]["twin"].update(train=4, test=2)
    catalog["scenes_twin"]["twin"]["patches"] = 40
    return yaml.safe_dump(catalog)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab on a copy of the project's notebooks, beside notebooks with a synthetic series."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "notebooks", root / "notebooks")
    (root / "data_catalog.yaml").write_text(small_catalog())
    browser.write_notebook(root / "panel.ipynb", SYNTHETIC, SHOW, BACKEND)
    browser.write_notebook(root / "regions.ipynb", SYNTHETIC, REGIONS)
    mask_panel.write(root)
    places = {"EOLAB_ROOT": root, "EOLAB_DATA": root / "data", "EOLAB_RUNS": root / "runs"}
    environment = {name: str(path) for name, path in places.items()}
    with browser.jupyterlab(root, tmp_path_factory.mktemp("jupyter"), environment) as server:
        yield server


class Panel:
    """The panel as a user has it: slider, picture, status line."""

    def __init__(self, notebook: browser.OpenNotebook) -> None:
        self.notebook = notebook
        self.root = notebook.page.locator(PANEL).first
        self.root.scroll_into_view_if_needed()
        self.canvas = self.root.locator("canvas").first
        self.canvas.wait_for()
        notebook.until(lambda: self.picture().std() > 20, "a picture is drawn")

    def picture(self) -> np.ndarray:
        """Return the canvas as it is on the screen, (y, x, 3) float."""
        self.canvas.scroll_into_view_if_needed()
        shot = Image.open(io.BytesIO(self.canvas.screenshot()))
        return np.asarray(shot.convert("RGB"), float)

    def differs(self, before: np.ndarray, part: slice = slice(None)) -> bool:
        """Say whether the picture, or a part of its columns, differs from one before."""
        now = self.picture()
        return now.shape == before.shape and bool(np.abs(now[:, part] - before[:, part]).max() > 30)

    def readout(self) -> str:
        return str(self.root.locator(".widget-label", has_text="% clear").last.inner_text())

    def status(self) -> str:
        return str(self.root.get_by_text("Pixel: row").inner_text())

    def press(self, key: str) -> None:
        self.root.locator(".noUi-handle").first.focus()
        self.notebook.page.keyboard.press(key)
        self.notebook.wait_idle()

    def move_slider(self) -> None:
        """Move the date by keyboard, and see the picture change."""
        before, date = self.picture(), self.readout()
        left = slice(0, before.shape[1] // 2 - 40)
        self.press("ArrowRight")
        if self.readout() == date:  # it was the last one
            self.press("ArrowLeft")
        self.notebook.until(lambda: self.readout() != date, "the date changes")
        self.notebook.until(lambda: self.differs(before, left), "the picture changes with the date")

    def click(self, x: float, y: float) -> None:
        """Click at a share of the canvas, and see another pixel's series."""
        before, status = self.picture(), self.status()
        box = self.canvas.bounding_box()
        self.notebook.page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
        self.notebook.until(lambda: self.status() != status, "the status line names the pixel clicked")
        right = slice(before.shape[1] // 2 + 40, None)
        self.notebook.until(lambda: self.differs(before, right), "the curve changes with the pixel")

    def errors(self) -> list[str]:
        outputs = self.root.locator(".jp-OutputArea-output")
        return [text for text in outputs.all_inner_texts() if text.strip()]


@pytest.mark.browser
@pytest.mark.parametrize("path", EXPLORE)
def test_slider_and_click_work_and_the_console_stays_clean(lab, artifacts, path):
    with browser.notebook(lab, path) as notebook:
        notebook.run_all()
        used_by_slider_and_click(Panel(notebook), artifacts, path)


def used_by_slider_and_click(panel: Panel, artifacts: Path, path: str) -> None:
    name = path.replace("/", "_").removesuffix(".ipynb")
    panel.notebook.page.screenshot(path=str(artifacts / f"{name}_1_opened.png"))
    panel.move_slider()
    panel.click(0.2, 0.4)
    panel.notebook.wait_idle()
    panel.root.screenshot(path=str(artifacts / f"{name}_2_clicked.png"))
    assert panel.errors() == []
    assert panel.notebook.problems == []


@pytest.mark.browser
def test_the_panel_leaves_other_figures_alone_is_used_by_keyboard_and_shows_its_errors(lab, artifacts):
    with browser.notebook(lab, "panel.ipynb") as notebook:
        cells = notebook.run_all()
        printed = [o["text"] for o in cells[2]["outputs"] if o["output_type"] == "stream"]
        assert "inline" in "".join(printed)
        assert sum("image/png" in o.get("data", {}) for o in cells[2]["outputs"]) == 1
        panel = Panel(notebook)
        used_by_slider_and_click(panel, artifacts, "panel.ipynb")
        before = panel.picture()
        field = panel.root.locator("input[type=number]").first
        field.fill("3")
        field.press("Enter")
        notebook.until(lambda: "row 3," in panel.status(), "the row is taken")
        notebook.until(lambda: panel.differs(before), "the picture follows the row")
        panel.root.locator("select").first.select_option("NDVI")
        notebook.wait_idle()
        notebook.until(lambda: panel.differs(before), "the picture follows the view")
        panel.root.screenshot(path=str(artifacts / "panel_3_ndvi.png"))
        assert panel.errors() == []
        assert notebook.problems == []
        notebook.execute("explorer.reader.views = {}")
        panel.press("ArrowRight")
        panel.press("ArrowLeft")  # one of both moves it
        notebook.until(lambda: "KeyError" in " ".join(panel.errors()), "the panel shows its error")


@pytest.mark.browser
def test_sequences_are_stepped_through_by_slider_and_by_name(lab, artifacts):
    with browser.notebook(lab, "notebooks/flood/01_explore.ipynb") as notebook:
        notebook.run_all()
        panel = notebook.page.locator(".eolab-sequence-explorer").first
        panel.scroll_into_view_if_needed()
        picture, title = panel.locator("img").first, panel.locator(".eolab-sequence-explorer-title").first
        picture.wait_for()
        notebook.page.screenshot(path=str(artifacts / "sequences_1_opened.png"))

        def moved(change) -> None:
            source, text = picture.get_attribute("src"), title.inner_text()
            change()
            notebook.wait_idle()
            notebook.until(lambda: title.inner_text() != text, "the title changes")
            notebook.until(lambda: picture.get_attribute("src") != source, "the picture changes")

        panel.locator(".noUi-handle").first.focus()
        moved(lambda: notebook.page.keyboard.press("ArrowRight"))
        moved(lambda: panel.get_by_role("button", name="Sentinel-2").click())
        sequences = panel.locator("select").first
        other = 0 if sequences.evaluate("box => box.selectedIndex") else 1
        moved(lambda: sequences.select_option(index=other))
        panel.screenshot(path=str(artifacts / "sequences_2_another.png"))
        assert [
            text for text in panel.locator(".jp-OutputArea-output").all_inner_texts() if text.strip()
        ] == []
        assert notebook.problems == []


@pytest.mark.browser
def test_regions_follow_date_choice_and_percentile(lab, artifacts):
    with browser.notebook(lab, "regions.ipynb") as notebook:
        notebook.run_all()
        panel = notebook.page.locator(".eolab-region-explorer").first
        panel.scroll_into_view_if_needed()
        picture, title = panel.locator("img").first, panel.locator(".eolab-region-explorer-title").first
        picture.wait_for()

        def redrawn(change) -> None:
            source = picture.get_attribute("src")
            change()
            notebook.wait_idle()
            notebook.until(lambda: picture.get_attribute("src") != source, "the picture changes")

        def press(slider: int, key: str) -> None:
            panel.locator(".noUi-handle").nth(slider).focus()
            notebook.page.keyboard.press(key)

        before = title.inner_text()
        redrawn(lambda: press(0, "ArrowLeft" if before.startswith("date 7") else "ArrowRight"))
        assert title.inner_text() != before
        redrawn(lambda: panel.locator("select").first.select_option("NDVI"))
        redrawn(lambda: panel.locator("select").nth(1).select_option("high (region 1)"))
        redrawn(lambda: press(1, "PageDown"))
        panel.screenshot(path=str(artifacts / "regions.png"))
        assert panel.evaluate("one => one.scrollWidth <= one.clientWidth"), "a control is cut off"
        notebook.execute("explorer.table = None")
        press(1, "PageDown")
        output = panel.locator(".jp-OutputArea-output").first
        notebook.until(lambda: "AttributeError" in output.inner_text(), "the panel shows its error")
        assert notebook.problems == []


@pytest.mark.browser
def test_patches_of_many_labels_are_explored_by_run_all(lab, artifacts):
    with browser.notebook(lab, "notebooks/scenes/01_explore.ipynb") as notebook:
        cells = notebook.run_all()
        outputs = [out.get("data", {}).get("text/html", "") for cell in cells for out in cell["outputs"]]
        shown = "".join("".join(text) for text in outputs)
        assert shown.count('<img src="data:image/png') >= 7
        assert shown.count("<table") >= 2
        link = re.findall(r'href="([^"]+)">Report of this run', shown)[-1]
        report = (lab.root / "notebooks" / "scenes" / link).read_text()
        assert report.count('src="data:image/png') == shown.count('src="data:image/png')
        notebook.page.screenshot(path=str(artifacts / "patches_of_many_labels.png"))
        assert notebook.problems == []


@pytest.mark.browser
def test_the_demo_of_masks_works_and_shows_its_own_errors(lab, artifacts):
    with browser.notebook(lab, mask_panel.NOTEBOOK) as notebook:
        notebook.run_all()
        panel = mask_panel.Panel(notebook.page)
        mask_panel.use(panel, lab.root)
        panel.root.screenshot(path=str(artifacts / "lab_panel.png"))
        assert notebook.problems == []
        notebook.execute("demo.reader.measure = None")
        panel.root.locator(".noUi-handle").first.focus()
        notebook.page.keyboard.press("PageDown")
        panel.until(lambda: "not callable" in " ".join(panel.errors()), "the panel shows its error")


@pytest.mark.browser
def test_problems_of_a_page_are_noticed(tmp_path):
    page = tmp_path / "page.html"
    page.write_text(
        "<h1>Report</h1><script>console.error('told'); throw new Error('thrown')</script>"
        "<img src='missing.png'><script src='https://example.org/x.js'></script>"
    )
    problems = " | ".join(browser.screenshot(page, tmp_path / "page.png", width=400))
    for expected in ("console: told", "page: thrown", "missing.png", "example.org"):
        assert expected in problems
    assert Image.open(tmp_path / "page.png").width == 400
    page.write_text("<h1>Report</h1>")
    assert browser.screenshot(page, tmp_path / "page.png") == []
