"""The demo of masks as users have it: a page of Voilà and a notebook in JupyterLab, in a real Chromium."""

from __future__ import annotations

import io
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import browser
import h5py
import nbformat
import numpy as np
import pytest
import study_runs
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
DEMO = "notebooks/landslide/09_demo.ipynb"
PANEL = ".eolab-mask-demo"
# offline, a font of Voilà's own template cannot be fetched, and the page's last message finds no server
USUAL = ("cdn.jsdelivr.net", "ERR_NAME_NOT_RESOLVED", "ERR_INTERNET_DISCONNECTED", "/voila/api/shutdown/")
SYNTHETIC = """
import numpy as np
from eolab.data.layouts import landslide4sense
from eolab.widgets import MaskDemo, PatchReader

rows, cols = np.mgrid[:64, :64]

def patch(row, col):
    image = np.random.default_rng(row).uniform(0.8, 1.2, (64, 64, 14)).astype(np.float32)
    image[..., 13] = (0.95 - np.hypot(rows - row, cols - col) / 30).clip(0, 1)
    image[..., 1:4] += image[..., 13:]
    return image

def predict(image):
    assert image.shape == (64, 64, 14), "a patch of another size"
    return image[..., 13]

patches = {"north": patch(15, 32), "south": patch(50, 20)}
names = ("landslide", "landslides")
demo = MaskDemo(PatchReader(predict, patches, landslide4sense.BANDS, landslide4sense.open_patch, *names))
"""


def write_notebook(path: Path, *cells: str) -> None:
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    code = [nbformat.v4.new_code_cell(cell.strip()) for cell in cells]
    nbformat.write(nbformat.v4.new_notebook(cells=code, metadata=metadata), path)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A project with a small notebook, and files to bring."""
    root = tmp_path_factory.mktemp("project")
    write_notebook(root / "panel.ipynb", SYNTHETIC, "demo")
    image = np.random.default_rng(1).uniform(0.8, 1.2, (64, 64, 14))
    image[..., 13] = 0.1
    image[10:20, 30:50, 13] = 0.9  # 200 pixels
    for name, key, values in (("mine.h5", "img", image), ("mask_1.h5", "mask", np.zeros((64, 64)))):
        with h5py.File(root / name, "w") as file:
            file[key] = values
    return root


@contextmanager
def voila(notebook: Path, folder: Path, environment: dict[str, str] | None = None) -> Iterator[str]:
    """Start Voilà on a notebook and yield its address once it answers; it is stopped at the end."""
    browser.require()
    pytest.importorskip("voila", reason="voila is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url, log = f"http://127.0.0.1:{port}/", folder / "voila.log"
    command = [sys.executable, "-m", "voila", str(notebook), "--no-browser", f"--port={port}"]
    command += ["--Voila.ip=127.0.0.1", "--Voila.port_retries=0"]
    env = browser._environment(folder, environment or {})
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, env=env, cwd=notebook.parent, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            deadline = time.monotonic() + 90
            while not _listens(port):
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"Voilà did not start:\n{log.read_text()[-3000:]}")
                time.sleep(0.2)
            yield url
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()


def _listens(port: int) -> bool:
    with socket.socket() as attempt:
        attempt.settimeout(1)
        return attempt.connect_ex(("127.0.0.1", port)) == 0


class Panel:
    """The panel as a user has it: choice, slider, area, picture."""

    def __init__(self, page: Any, seconds: float = 60) -> None:
        self.page = page
        self.root = page.locator(PANEL).first
        self.root.wait_for(timeout=1000 * seconds)
        self.root.scroll_into_view_if_needed()
        self.until(lambda: self.picture().std() > 20, "a picture is drawn")

    def until(self, condition: Any, what: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"did not happen in {seconds:.0f} s: {what}"
            self.page.wait_for_timeout(150)

    def picture(self) -> np.ndarray:
        """Return the picture as it is on the screen, (y, x, 3) float."""
        image = self.root.locator("img").first
        image.wait_for()
        image.scroll_into_view_if_needed()
        return np.asarray(Image.open(io.BytesIO(image.screenshot())).convert("RGB"), float)

    def differs(self, before: np.ndarray) -> bool:
        now = self.picture()
        return now.shape != before.shape or bool(np.abs(now - before).max() > 30)

    def area(self) -> int:
        """Return the area in m²."""
        text = str(self.root.locator(f"{PANEL}-area").inner_text())
        found = re.match(r"([\d,]+) m²", text)
        assert found, text
        return int(found[1].replace(",", ""))

    def message(self) -> str:
        return str(self.root.locator(f"{PANEL}-message").inner_text()).strip()

    def errors(self) -> list[str]:
        outputs = self.root.locator(".jp-OutputArea-output")
        return [text for text in outputs.all_inner_texts() if text.strip()]

    def move_threshold(self, key: str) -> None:
        """Move the slider far by keyboard, and see area and picture change."""
        before, area = self.picture(), self.area()
        handle = self.root.locator(".noUi-handle").first
        handle.focus()
        self.page.keyboard.press(key)
        self.until(lambda: self.area() != area, "the area changes with the threshold")
        self.until(lambda: self.differs(before), "the picture changes with the threshold")

    def choose(self, name: str) -> None:
        before = self.picture()
        self.root.locator("select").first.select_option(label=name)
        self.until(lambda: self.differs(before), f"the picture becomes that of {name}")

    def bring(self, path: Path) -> None:
        with self.page.expect_file_chooser() as chooser:
            self.root.locator("button", has_text="Your own").click()
        chooser.value.set_files(str(path))


def unusual(problems: list[str]) -> list[str]:
    """Return what went wrong in the browser, less what Voilà does offline by itself."""
    return [problem for problem in problems if not any(part in problem for part in USUAL)]


def use(panel: Panel, root: Path) -> None:
    """Do what the panel is there for."""
    area = panel.area()
    panel.move_threshold("PageUp")
    assert panel.area() < area
    panel.choose("south")
    panel.bring(root / "mask_1.h5")
    panel.until(lambda: "mask_1.h5" in panel.message(), "a wrong file is named")
    assert panel.root.locator("select").first.input_value() == "south"
    panel.bring(root / "mine.h5")
    panel.until(lambda: panel.area() == 20_000, "the file's own landslide is measured")
    panel.until(lambda: panel.message() == "", "a good file takes the sentence away")
    assert panel.root.locator("select option").all_inner_texts() == ["north", "south", "mine.h5"]
    assert panel.errors() == []


@pytest.mark.browser
def test_the_panel_works_as_a_page_of_voila(root, artifacts, tmp_path):
    with voila(root / "panel.ipynb", tmp_path) as url, browser.chromium() as chrome:
        page = chrome.new_page(viewport={"width": 1200, "height": 900})
        problems = browser.watch(page)
        page.goto(url, timeout=120_000)
        panel = Panel(page)
        use(panel, root)
        panel.root.screenshot(path=str(artifacts / "voila_panel.png"))
        assert unusual(problems) == []


@pytest.mark.browser
def test_the_panel_works_in_jupyterlab_and_shows_its_own_errors(root, artifacts, tmp_path):
    with (
        browser.jupyterlab(root, tmp_path / "jupyter") as lab,
        browser.notebook(lab, "panel.ipynb") as notebook,
    ):
        notebook.run_all()
        panel = Panel(notebook.page)
        use(panel, root)
        panel.root.screenshot(path=str(artifacts / "lab_panel.png"))
        assert notebook.problems == []
        notebook.execute("demo.reader.measure = None")
        panel.root.locator(".noUi-handle").first.focus()
        notebook.page.keyboard.press("PageDown")
        panel.until(lambda: "not callable" in " ".join(panel.errors()), "the panel shows its error")


@pytest.fixture(scope="module")
def project(tmp_path_factory, smoke) -> Path:
    """A copy of the project's notebooks, with the finished smoke runs of the study."""
    root = tmp_path_factory.mktemp("study")
    shutil.copytree(ROOT / "notebooks", root / "notebooks")
    shutil.copy(ROOT / "data_catalog.yaml", root)
    study_runs.borrow(
        "landslide", smoke("landslide"), root / "runs", "02_preprocess", "03_train_segmentation"
    )
    (root / "data").symlink_to(os.environ.get("EOLAB_DATA", ROOT / "data"))
    return root


def places(root: Path) -> dict[str, str]:
    names = {"EOLAB_ROOT": root, "EOLAB_DATA": root / "data", "EOLAB_RUNS": root / "runs"}
    return {name: str(path) for name, path in names.items()}


@pytest.mark.browser
@pytest.mark.slow
def test_the_demo_notebook_is_a_page(project, artifacts, tmp_path):
    """It shows a test patch of the study, without code, and the area follows the threshold."""
    with voila(project / DEMO, tmp_path, places(project)) as url, browser.chromium() as chrome:
        page = chrome.new_page(viewport={"width": 1200, "height": 1400})
        problems = browser.watch(page)
        page.goto(url, timeout=300_000)
        panel = Panel(page, seconds=300)
        names = panel.root.locator("select option").all_inner_texts()
        assert len(names) > 1
        page.screenshot(path=str(artifacts / "voila_demo_1_opened.png"))
        before = panel.area()
        panel.move_threshold("PageDown")
        assert panel.area() > before, "a lower threshold, a larger area"
        panel.choose(names[1])
        files = sorted((project / "data").rglob("image_1.h5"))
        panel.bring(files[0])
        select = panel.root.locator("select").first
        panel.until(lambda: select.locator("option").count() == len(names) + 1, "the file is offered")
        assert panel.message() == ""
        page.screenshot(path=str(artifacts / "voila_demo_2_used.png"), full_page=True)
        assert "def " not in page.locator("body").inner_text(), "no code on the page"
        assert page.locator(".jp-CodeMirrorEditor, .jp-InputArea-editor").count() == 0
        assert panel.errors() == []
        assert unusual(problems) == []
