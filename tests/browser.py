"""A real JupyterLab in a real Chromium, for tests: start, open a notebook, run it, look at it.

Nothing is downloaded: the browser is the machine's own ``chromium``, driven by playwright. Each server has
configuration, data, runtime, settings and workspace folders of its own and reaches no network but itself.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import pytest

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
OPEN = """async (path) => {
  const app = window.jupyterapp;
  await app.restored;
  const panel = await app.commands.execute('docmanager:open', {path, factory: 'Notebook'});
  await panel.context.ready;
  await panel.sessionContext.ready;
  window.eolabPanel = panel;
}"""
RUN = "async () => { await window.jupyterapp.commands.execute('notebook:run-all-cells'); }"
EXECUTE = """async (code) => {
  await window.eolabPanel.sessionContext.session.kernel.requestExecute({code}).done;
}"""
CLOSE = """async () => {
  await window.eolabPanel.sessionContext.shutdown();
  window.eolabPanel.dispose();
}"""
CELLS = "() => window.eolabPanel.content.model.toJSON().cells"
STATUS = "() => window.eolabPanel.sessionContext.session?.kernel?.status ?? 'none'"


def require() -> str:
    """Return the path of Chromium; skip the test with the reason where it or playwright is missing."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("chromium is not installed")
    return path


_open: list[Any] = []


@contextmanager
def chromium() -> Iterator[Any]:
    """Start a headless Chromium and yield playwright's browser; within another call yield the one of that."""
    path = require()
    from playwright.sync_api import sync_playwright

    if _open:
        yield _open[0]
        return
    with sync_playwright() as playwright:
        _open.append(playwright.chromium.launch(executable_path=path, args=list(FLAGS)))
        try:
            yield _open[0]
        finally:
            _open.pop().close()


def watch(page: Any) -> list[str]:
    """Return a list that fills with console errors, page errors, failed requests and HTTP status from 400."""
    problems: list[str] = []
    page.on("console", lambda m: problems.append(f"console: {m.text}") if m.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(f"page: {error}"))
    page.on("requestfailed", lambda r: problems.append(f"request failed: {r.url} ({r.failure})"))
    page.on("response", lambda r: problems.append(f"HTTP {r.status}: {r.url}") if r.status >= 400 else None)
    return problems


def screenshot(html_path: Path, png_path: Path, width: int = 1100) -> list[str]:
    """Open an HTML file as from an e-mail, without any network, and save a picture of the whole page.

    Args:
        html_path: The page.
        png_path: The picture to write.
        width: Width of the window in pixels.

    Returns:
        What went wrong: requests to other places than the file itself count too.
    """
    with chromium() as browser:
        context = browser.new_context(viewport={"width": width, "height": 900}, offline=True)
        page = context.new_page()
        problems = watch(page)
        page.goto(html_path.resolve().as_uri(), wait_until="load")
        page.screenshot(path=str(png_path), full_page=True)
        context.close()
    return problems


@dataclass
class Lab:
    """A running JupyterLab server, open in a browser.

    Attributes:
        url: Its address, ending in a slash.
        token: Its password.
        root: The folder that its file browser shows.
        log: What the server wrote.
        page: Playwright's page.
        problems: All that went wrong in the browser since a notebook was closed, see :func:`watch`.
    """

    url: str
    token: str
    root: Path
    log: Path
    page: Any = None
    problems: list[str] = field(default_factory=list)


def _settings(folder: Path) -> None:
    """Keep the news pop-up and the look for updates away."""
    path = folder / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}))


def _environment(folder: Path, extra: dict[str, str]) -> dict[str, str]:
    names = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    own = {name: str(folder / part) for name, part in names.items()}
    return {**os.environ, **own, **extra, "JUPYTER_PLATFORM_DIRS": "1", "EOLAB_HEADLESS": ""}


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


@contextmanager
def jupyterlab(root: Path, folder: Path, environment: dict[str, str] | None = None) -> Iterator[Lab]:
    """Start JupyterLab on ``root`` and yield it once it is open in a browser; it is stopped at the end.

    Args:
        root: Folder of the notebooks.
        folder: New folder for all that the server keeps.
        environment: Variables that the kernels see besides the present ones.
    """
    require()
    _settings(folder / "settings")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    lab = Lab(f"http://127.0.0.1:{port}/", secrets.token_hex(16), root, folder / "server.log")
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1"]
    command += [f"--port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={lab.token}"]
    command += [f"--ServerApp.root_dir={root}", "--LabApp.expose_app_in_browser=True"]
    with lab.log.open("wb") as log:
        env = _environment(folder, environment or {})
        server = subprocess.Popen(command, env=env, cwd=root, stdout=log, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + 90
            while not _answers(f"{lab.url}api/status?token={lab.token}"):
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"JupyterLab did not start:\n{lab.log.read_text()[-3000:]}")
                time.sleep(0.2)
            with chromium() as browser:
                lab.page = browser.new_page(viewport={"width": 1500, "height": 1000})
                lab.problems = watch(lab.page)
                lab.page.set_default_timeout(60_000)
                lab.page.goto(f"{lab.url}lab?token={lab.token}&reset")
                lab.page.wait_for_function("() => window.jupyterapp !== undefined")
                yield lab
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()


@dataclass
class OpenNotebook:
    """A notebook that is open in JupyterLab.

    Attributes:
        page: Playwright's page.
        problems: All that went wrong in the browser so far, see :func:`watch`.
    """

    page: Any
    problems: list[str] = field(default_factory=list)

    def run_all(self, timeout_s: float = 300) -> list[dict[str, Any]]:
        """Run all cells to the end and return the code cells as the model holds them.

        Raises:
            AssertionError: If a cell failed.
        """
        self.page.set_default_timeout(timeout_s * 1000)
        self.page.evaluate(RUN)
        self.wait_idle(timeout_s)
        cells = [cell for cell in self.page.evaluate(CELLS) if cell["cell_type"] == "code"]
        for cell in cells:
            for output in cell["outputs"]:
                assert output["output_type"] != "error", "\n".join(output["traceback"])
        return cells

    def execute(self, code: str) -> None:
        """Run code in the notebook's kernel, in no cell."""
        self.page.evaluate(EXECUTE, code)

    def wait_idle(self, timeout_s: float = 60) -> None:
        """Wait until the kernel has been idle for a third of a second."""
        deadline, quiet = time.monotonic() + timeout_s, 0
        while quiet < 4:
            assert time.monotonic() < deadline, "the kernel is still busy"
            quiet = quiet + 1 if self.page.evaluate(STATUS) == "idle" else 0
            self.page.wait_for_timeout(80)

    def until(self, condition: Callable[[], bool], what: str, timeout_s: float = 60) -> None:
        """Wait until a condition holds; fail with ``what`` where it does not."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"did not happen in {timeout_s:.0f} s: {what}"
            self.page.wait_for_timeout(150)


def write_notebook(path: Path, *cells: str) -> None:
    """Write a notebook of code cells."""
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    code = [nbformat.v4.new_code_cell(cell.strip()) for cell in cells]
    nbformat.write(nbformat.v4.new_notebook(cells=code, metadata=metadata), path)


@contextmanager
def notebook(lab: Lab, path: str) -> Iterator[OpenNotebook]:
    """Open a notebook of the server, its kernel ready; in the end it is closed and its kernel shut down.

    Args:
        lab: The server.
        path: The notebook, relative to the server's root.
    """
    lab.page.set_default_timeout(60_000)
    lab.page.evaluate(OPEN, path)
    try:
        yield OpenNotebook(lab.page, lab.problems)
    finally:
        lab.page.evaluate(CLOSE)
        lab.problems.clear()
