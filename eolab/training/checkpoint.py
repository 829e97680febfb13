"""The state of a training on disk: replaced in one step after each epoch."""

import io
import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from eolab.core.errors import RunError, reason_of
from eolab.core.files import write_atomically
from eolab.training import distributed

STATE_FILE, BEFORE_FILE = "state.npz", "state-before.npz"
LONGEST = 200  # characters of a setting in an error sentence
Arrays = dict[str, list[np.ndarray]]  # values of variables by group


@dataclass
class Progress:
    """How far a training is.

    Attributes:
        settings: What the result depends on; a checkpoint of other settings is refused.
        history: A row for each finished epoch.
        best_epoch: Epoch of the best value, counted from 1; 0 for none yet.
        best: Best value of the monitored column.
        wait: Epochs since then.
        finished: Whether training has ended.
    """

    settings: dict[str, Any]
    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    best: float = float("nan")
    wait: int = 0
    finished: bool = False


class Checkpoint:
    """The folder of a training's state: ``state.npz``, the one before it, and the weights of the best epoch.

    Each state names the file of the best weights that belongs to it, so that a kill between the two leaves a
    pair that fits. A state that cannot be read is set aside and the one before it counts. Once training has
    ended, the best weights are kept alone: the optimizer's variables, twice as large, are of no more use.

    Where several processes train together the first one alone reads and writes; the others get what it
    reads, so all call the same methods.

    Args:
        folder: Where the files are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._best_before = 0  # best epoch of the state before

    def clear(self) -> None:
        """Remove the state: the next training starts anew."""
        if distributed.first():
            shutil.rmtree(self.folder, ignore_errors=True)

    def save(self, progress: Progress, arrays: Arrays, best: list[np.ndarray] | None) -> None:
        """Keep the state after an epoch.

        Args:
            progress: How far the training is.
            arrays: Values of all variables by group; ``model`` holds those of the model.
            best: Values of the model's variables to end with, where this epoch is the best one so far.
        """
        if not distributed.first():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        if best is not None:
            write_atomically(self._best(progress.best_epoch), _packed({"model": best}))
        content = _packed({} if progress.finished else arrays, json.dumps(asdict(progress)))
        state, before = self.folder / STATE_FILE, self.folder / BEFORE_FILE
        if state.exists():
            state.replace(before)
        write_atomically(state, content)
        kept = {self._best(progress.best_epoch)}
        if progress.finished:
            before.unlink(missing_ok=True)
        else:
            kept.add(self._best(self._best_before))
        self._best_before = progress.best_epoch
        for file in set(self.folder.glob("best-*.npz")) - kept:
            file.unlink()

    def load(self, settings: dict[str, Any]) -> tuple[Progress, Arrays] | None:
        """Return the last state that can be read, None if there is none.

        A training that has ended has its best weights alone, as ``model``.

        Raises:
            RunError: If it belongs to other settings.
        """
        found = self._last_good() if distributed.first() else None
        if distributed.count() > 1:
            found = _of_first(found)
        if found is None:
            return None
        progress, arrays = found
        wanted = json.loads(json.dumps(settings))
        before = {"layers": wanted.get("layers"), **progress.settings}  # older states have no layers
        keys = sorted(key for key in wanted if before.get(key) != wanted[key])
        if keys:
            changes = ", ".join(
                f"{key} {_short(before.get(key))} (now {_short(wanted[key])})" for key in keys
            )
            raise RunError(
                f"The training in {self.folder} was begun with {changes}: start anew with `eolab run … "
                "--force`, or in JupyterLab delete this folder (in code: another folder, or resume=False)."
            )
        self._best_before = progress.best_epoch
        return progress, arrays

    def _last_good(self) -> tuple[Progress, Arrays] | None:
        for file in (self.folder / STATE_FILE, self.folder / BEFORE_FILE):
            if not file.exists():
                continue
            try:
                arrays, text = _unpacked(file)
                progress = Progress(**json.loads(text))
                best = _unpacked(self._best(progress.best_epoch))[0]["model"]
            except Exception as error:  # a damaged file raises nearly anything
                aside = file.with_name(f"{file.name}.damaged")
                file.replace(aside)
                print(
                    f"The checkpoint {file} cannot be read ({reason_of(error)}) and is now {aside.name}: "
                    "training goes on from the state before it, or starts anew where there is none."
                )
                continue
            return progress, ({"model": best} if progress.finished else arrays)
        return None

    def best(self, progress: Progress) -> list[np.ndarray]:
        """Return the values of the model's variables after the best epoch."""
        content = self._best(progress.best_epoch).read_bytes() if distributed.first() else b""
        return _unpacked(io.BytesIO(distributed.shared(content)))[0]["model"]

    def _best(self, epoch: int) -> Path:
        return self.folder / f"best-{epoch:05d}.npz"


def _of_first(found: tuple[Progress, Arrays] | None) -> tuple[Progress, Arrays] | None:
    """Return in every process what the first one has found."""
    content = distributed.shared(_packed(found[1], json.dumps(asdict(found[0]))) if found else b"")
    if not content:
        return None
    arrays, text = _unpacked(io.BytesIO(content))
    return Progress(**json.loads(text)), arrays


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _packed(arrays: Arrays, text: str = "") -> bytes:
    buffer = io.BytesIO()
    named = {f"{group}/{i:05d}": value for group, values in arrays.items() for i, value in enumerate(values)}
    np.savez(buffer, text=np.array(text), **named)  # type: ignore[arg-type]
    return buffer.getvalue()


def _unpacked(file: Path | io.BytesIO) -> tuple[Arrays, str]:
    arrays: Arrays = {}
    with np.load(file) as content:
        for name in sorted(set(content.files) - {"text"}):
            arrays.setdefault(name.split("/")[0], []).append(content[name])
        return arrays, str(content["text"])
