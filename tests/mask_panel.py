"""The demo of masks in a browser: a notebook that shows it, and its panel as a user has it."""

from __future__ import annotations

import io
import re
import time
from pathlib import Path
from typing import Any

import browser
import h5py
import numpy as np
from PIL import Image

PANEL = ".eolab-mask-demo"
NOTEBOOK = "mask_demo.ipynb"
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


def write(root: Path) -> None:
    """Write the notebook and files to bring."""
    browser.write_notebook(root / NOTEBOOK, SYNTHETIC, "demo")
    image = np.random.default_rng(1).uniform(0.8, 1.2, (64, 64, 14))
    image[..., 13] = 0.1
    image[10:20, 30:50, 13] = 0.9  # 200 pixels
    for name, key, values in (("mine.h5", "img", image), ("mask_1.h5", "mask", np.zeros((64, 64)))):
        with h5py.File(root / name, "w") as file:
            file[key] = values


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
