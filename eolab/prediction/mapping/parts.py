"""The finished blocks of a map that is being made: small files that a later run goes on from."""

from __future__ import annotations

import json
import shutil
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from eolab.core.files import write_atomically
from eolab.prediction.mapping.grid import Window

SETTINGS_FILE = "settings.json"


class Parts:
    """A folder with one file per finished block, ``<map>.parts`` beside the map.

    A block's file appears in one step when the block is done, so whatever is there is whole. Blocks of other
    settings (another grid, model or class scheme) are thrown away with a warning.

    Args:
        path: The map.
        settings: What the blocks depend on; JSON values.
        resume: False to start anew.
    """

    def __init__(self, path: Path, settings: dict[str, Any], resume: bool) -> None:
        self.folder = path.with_name(path.name + ".parts")
        wanted = json.dumps(settings, sort_keys=True, indent=1)
        file = self.folder / SETTINGS_FILE
        if self.folder.exists() and (not resume or not self._fits(file, wanted)):
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(file, wanted.encode())

    def _fits(self, file: Path, wanted: str) -> bool:
        found = file.read_text() if file.exists() else "{}"
        if found == wanted:
            return True
        old, new = json.loads(found), json.loads(wanted)
        changed = ", ".join(sorted(key for key in new if old.get(key) != new[key]))
        warnings.warn(
            f"The blocks in {self.folder} are of a map with another {changed}: the map starts anew.",
            stacklevel=4,
        )
        return False

    def _file(self, block: Window) -> Path:
        return self.folder / f"{block.row}_{block.col}.block"

    def has(self, block: Window) -> bool:
        """Return whether a block is finished."""
        return self._file(block).exists()

    def save(self, block: Window, pixels: np.ndarray) -> None:
        """Keep the pixels of a finished block, uint8 (2, height, width)."""
        write_atomically(self._file(block), zlib.compress(pixels.tobytes(), level=1))

    def load(self, block: Window) -> np.ndarray:
        """Return the pixels of a finished block, uint8 (2, height, width)."""
        content = zlib.decompress(self._file(block).read_bytes())
        return np.frombuffer(content, np.uint8).reshape(-1, block.height, block.width)

    def remove(self) -> None:
        """Remove the folder: the map is done."""
        shutil.rmtree(self.folder)
