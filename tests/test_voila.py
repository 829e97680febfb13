"""The demo of masks as a page of Voilà, in a real Chromium; in JupyterLab: test_jupyterlab."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import browser
import mask_panel
import pytest
import study_runs

ROOT = Path(__file__).resolve().parents[1]
DEMO = "notebooks/landslide/09_demo.ipynb"
# offline, a font of Voilà's own template cannot be fetched, and the page's last message finds no server
USUAL = ("cdn.jsdelivr.net", "ERR_NAME_NOT_RESOLVED", "ERR_INTERNET_DISCONNECTED", "/voila/api/shutdown/")


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


def unusual(problems: list[str]) -> list[str]:
    """Return what went wrong in the browser, less what Voilà does offline by itself."""
    return [problem for problem in problems if not any(part in problem for part in USUAL)]


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
    mask_panel.write(tmp_path)  # a wrong file to bring
    with voila(project / DEMO, tmp_path, places(project)) as url, browser.chromium() as chrome:
        page = chrome.new_page(viewport={"width": 1200, "height": 1400})
        problems = browser.watch(page)
        page.goto(url, timeout=300_000)
        panel = mask_panel.Panel(page, seconds=300)
        names = panel.root.locator("select option").all_inner_texts()
        assert len(names) > 1
        page.screenshot(path=str(artifacts / "voila_demo_1_opened.png"))
        before = panel.area()
        panel.move_threshold("PageDown")
        assert panel.area() > before, "a lower threshold, a larger area"
        panel.choose(names[1])
        select = panel.root.locator("select").first
        chosen = select.input_value()
        panel.bring(tmp_path / "mask_1.h5")
        panel.until(lambda: "mask_1.h5" in panel.message(), "a wrong file is named")
        assert select.input_value() == chosen
        files = sorted((project / "data").rglob("image_1.h5"))
        panel.bring(files[0])
        panel.until(lambda: select.locator("option").count() == len(names) + 1, "the file is offered")
        panel.until(lambda: panel.message() == "", "a good file takes the sentence away")
        page.screenshot(path=str(artifacts / "voila_demo_2_used.png"), full_page=True)
        assert "def " not in page.locator("body").inner_text(), "no code on the page"
        assert page.locator(".jp-CodeMirrorEditor, .jp-InputArea-editor").count() == 0
        assert panel.errors() == []
        assert unusual(problems) == []
