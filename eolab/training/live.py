"""A training as one watches it in a notebook: a table of one line and curves, replaced as it goes on."""

import html
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from eolab.core.numbers import short
from eolab.core.progress import InPlace, duration

EVERY_S = 1.0  # between two looks within an epoch
RECENT = 3  # epochs whose mean time says how long those to come take
WIDTH, HEIGHT = 300, 110  # of a curve, in pixels
COLOURS = ("#0072B2", "#D55E00")  # training, validation (Okabe and Ito 2008)


class Live:
    """Shows how a training goes on.

    Args:
        epochs: Epochs at most.
        steps: Steps of an epoch.
        monitor: Column of the history that decides which epoch is best.
    """

    def __init__(self, epochs: int, steps: int, monitor: str) -> None:
        self.epochs, self.steps, self.monitor = epochs, steps, monitor
        self._shown, self._said = InPlace(), 0.0

    def step(self, state: Any, step: int, logs: Mapping[str, Any], taken: float) -> None:
        """Show where a training is within an epoch, every second at most.

        Args:
            state: The training, a :class:`eolab.training.checkpoint.Progress`.
            step: Steps of this epoch that are done.
            logs: Losses and metrics so far in this epoch.
            taken: Seconds of this epoch so far.
        """
        if time.monotonic() - self._said < EVERY_S:
            return
        self._said = time.monotonic()
        epoch = _seconds(state.history) or taken / step * self.steps
        left = max(epoch - taken, 0) + epoch * (self.epochs - len(state.history) - 1)
        where = f"{len(state.history) + 1} of {self.epochs}, step {step} of {self.steps}"
        self._show(state, where, {"loss": logs.get("loss")}, "time left", left)

    def epoch(self, state: Any) -> None:
        """Show a training after an epoch; after its last one the curves go, which a figure shows in full."""
        done = len(state.history)
        where = f"{done} of {self.epochs}"
        if state.finished:
            total = sum(row["seconds"] for row in state.history)
            self._show(state, where, state.history[-1], "time", total, curves=False)
        elif time.monotonic() - self._said > EVERY_S / 4 or done == 1:
            self._said = time.monotonic()
            left = _seconds(state.history) * (self.epochs - done)
            self._show(state, where, state.history[-1], "time left", left)

    def _show(
        self, state: Any, where: str, row: Mapping[str, Any], clock: str, seconds: float, curves: bool = True
    ) -> None:
        names = dict.fromkeys(("loss", self.monitor))
        best = f"{short(state.best)} in epoch {state.best_epoch}" if math.isfinite(state.best) else "–"
        cells = {"epoch": where}
        cells |= {name: "–" if row.get(name) is None else short(float(row[name])) for name in names}
        cells |= {f"best {self.monitor} so far": best, clock: duration(seconds)}
        head = "".join(f"<th>{html.escape(name)}</th>" for name in cells)
        body = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells.values())
        markup = f'<table class="eolab-table"><tr>{head}</tr><tr>{body}</tr></table>'
        if curves and len(state.history) > 1:
            drawn = dict.fromkeys(("loss", self.monitor.removeprefix("val_")))
            markup += "".join(curve(state.history, name, state.best_epoch) for name in drawn)
        self._shown.show(", ".join(f"{name} {cell}" for name, cell in cells.items()), markup)


def _seconds(history: Sequence[Mapping[str, float]]) -> float:
    """Return the mean time of the last epochs, 0 where there are none."""
    recent = [row["seconds"] for row in history[-RECENT:]]
    return sum(recent) / len(recent) if recent else 0.0


def curve(history: Sequence[Mapping[str, float]], name: str, best_epoch: int) -> str:
    """Return a column of a history and its validation column by epoch, as SVG.

    Args:
        history: A row an epoch.
        name: The column.
        best_epoch: Epoch that a dashed line marks, counted from 1.
    """
    lines = {
        "training": [row.get(name, math.nan) for row in history],
        "validation": [row.get(f"val_{name}", math.nan) for row in history],
    }
    finite = [value for values in lines.values() for value in values if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)

    def x(epoch: int) -> float:
        return 50 + (WIDTH - 60) * (epoch - 1) / max(len(history) - 1, 1)

    def y(value: float) -> float:
        return 30 + (HEIGHT - 50) * (high - value) / ((high - low) or 1)

    def text(at: float, below: float, anchor: str, words: str, colour: str = "currentColor") -> str:
        place = f'x="{at:.0f}" y="{below:.0f}" text-anchor="{anchor}" fill="{colour}"'
        return f"<text {place}>{html.escape(words)}</text>"

    parts = [text(50, 12, "start", name), text(x(best_epoch), HEIGHT - 4, "middle", f"{best_epoch}")]
    parts += [text(46, y(value) + 4, "end", short(value)) for value in sorted({low, high})]
    mark = f'x1="{x(best_epoch):.1f}" x2="{x(best_epoch):.1f}" y1="26" y2="{HEIGHT - 16}"'
    parts.append(f'<line {mark} stroke="gray" stroke-dasharray="3"/>')
    for (which, values), colour, place in zip(lines.items(), COLOURS, (WIDTH - 80, WIDTH - 10), strict=True):
        numbered = [(epoch, value) for epoch, value in enumerate(values, 1) if math.isfinite(value)]
        if numbered:
            points = " ".join(f"{x(epoch):.1f},{y(value):.1f}" for epoch, value in numbered)
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
            parts.append(text(place, 12, "end", which, colour))
    return f'<svg width="{WIDTH}" height="{HEIGHT}" style="font:11px sans-serif">{"".join(parts)}</svg>'
