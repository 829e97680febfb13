"""The box "In short" of a run: its data, its main score and gain, and what to take care of, all computed."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from eolab.core.numbers import of

if TYPE_CHECKING:
    import pandas as pd

    from eolab.evaluation import Summary
    from eolab.runs.history import RunRecord

TITLE, CARE = "In short", "Take care."
COUNTED = ("sequences", "samples", "patches", "images", "objects", "regions", "dates", "points")
N_COUNTS = 3  # counts said of the data
SCORES = {"model", "is_baseline", "split", "scope", "statistic", "value", "n", "n_groups"}
SIMULATED = "Simulated data: compare models, do not quote scores."


class Short:
    """What a run collects for its box, sentence by sentence.

    Attributes:
        counts: How many samples, images, … there are, by name; those of the runs that it is made from too.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._data: dict[str, bool] = {}
        self._scores: Summary | None = None
        self._said: list[str] = []

    def count(self, metrics: Mapping[str, Any]) -> None:
        """Take the counts among the metrics of a run; those that were there stay."""
        found = {name: metrics.get(name) for name in COUNTED}
        self.counts = {n: v for n, v in found.items() if type(v) is int and v > 0} | self.counts

    def data(self, name: str, simulated: bool) -> None:
        """Take a data set."""
        self._data[name] = simulated

    def scores(self, table: pd.DataFrame, statistic: str = "", model: str = "", over: str = "") -> None:
        """Take the main score of a score table, see :func:`eolab.evaluation.summary`, the first one alone.

        A later one takes its place where a statistic or the other model is given.
        """
        from eolab import evaluation

        if set(table) >= SCORES and (self._scores is None or statistic or over):
            self._scores = evaluation.summary(table, statistic, model, over)

    def say(self, sentence: str) -> None:
        """Take a sentence of the notebook's own."""
        if sentence and sentence not in self._said:
            self._said.append(sentence)

    def finished(self, run: RunRecord) -> dict[str, list[str]]:
        """Return the sentences of a run that ends: "found" and "cautions"."""
        self.count(run.metrics)
        found = [self._of_data()] if self._data else []
        cautions = []
        if self._scores:
            found += self._scores.found
            cautions += self._scores.cautions
            if run.record.get("profile") == "smoke":
                cautions.append("A trial: the profile smoke is short.")
        perfect = bool(self._scores and self._scores.perfect)
        return {"found": found + self._said, "cautions": cautions + _of_training(run, perfect)}

    def _of_data(self) -> str:
        kinds = {True: "simulated", False: "real"}
        names = ", ".join(f"{name} ({kinds[simulated]})" for name, simulated in self._data.items())
        counts = [of(number, name) for name, number in self.counts.items()][:N_COUNTS]
        return f"Data: {'; '.join([names, ', '.join(counts)] if counts else [names])}."


def _of_training(run: RunRecord, perfect: bool) -> list[str]:
    """Return what to take care of in a training: that it was cut short, or learned nothing.

    No score can be higher than a perfect one.
    """
    best, epochs = run.metrics.get("best_epoch"), run.settings.get("training.epochs")
    cautions = []
    if run.metrics.get("learned") is False:
        cautions.append("The network has learned no more than a constant prediction.")
    elif isinstance(best, int) and best == epochs and not perfect:
        cautions.append(f"The last of {epochs} epochs was the best: a longer training may score higher.")
    return cautions


def markup(short: Mapping[str, Sequence[str]], simulated: bool = False, link: str = "") -> str:
    """Return the box as HTML; empty where there is nothing to say.

    Args:
        short: "found" and "cautions", see :meth:`Short.finished`.
        simulated: Whether it says that data are simulated.
        link: Address of the report, empty for none.
    """
    lines, cautions = [html.escape(one) for one in short.get("found") or ()], _cautions(short, simulated)
    if cautions:
        lines.append(f"<strong>{CARE}</strong> {html.escape(cautions)}")
    if link:
        lines.append(f'<a href="{html.escape(link)}">Report of this run</a>')
    if not lines:
        return ""
    items = "".join(f"<li>{line}</li>" for line in lines)
    style = "border-left:4px solid #00687a;padding:.4em 1em;margin:.8em 0"
    return f'<div class="eolab-short" style="{style}"><strong>{TITLE}</strong><ul>{items}</ul></div>'


def text(short: Mapping[str, Sequence[str]], simulated: bool = False) -> str:
    """Return the box as plain text."""
    cautions = _cautions(short, simulated)
    return "\n".join([TITLE, *(short.get("found") or ()), *([f"{CARE} {cautions}"] if cautions else [])])


def _cautions(short: Mapping[str, Sequence[str]], simulated: bool) -> str:
    return " ".join([*(short.get("cautions") or ()), *([SIMULATED] if simulated else [])])
