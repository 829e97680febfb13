"""Lines of a sweep's table: intervals over seeds, and the table and its figure as people read them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from eolab.core.numbers import padded, short
from eolab.runs import display, pairs

if TYPE_CHECKING:
    import pandas as pd

DIFFERENCE = "difference to"  # begins the names of columns
LOW, HIGH, STD = " low", " high", " std"  # end the names of columns that belong to a metric
LEVEL = 0.95
LEAST = 3  # runs of a line that have an interval


def interval(values: Iterable[float]) -> tuple[float, float]:
    """Return the 95 % interval of a mean by Student's t; of two values their range, NaN for fewer.

    mean ± t(0.975, n − 1) · s / √n (Student, *The probable error of a mean*, Biometrika 1908), for values
    that are about normal, such as scores of one setting trained with several seeds.
    """
    import numpy as np
    from scipy import stats

    known = np.asarray([value for value in values if not math.isnan(value)])
    if known.size < 2:
        return math.nan, math.nan
    if known.size < LEAST:
        return float(known.min()), float(known.max())
    half = stats.t.ppf((1 + LEVEL) / 2, known.size - 1) * known.std(ddof=1) / math.sqrt(known.size)
    return float(known.mean() - half), float(known.mean() + half)


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return lines in numbers as people read them: each metric with its interval, differences with signs."""
    table = table.copy()
    for name in [name for name in map(str, table) if f"{name}{STD}" in table]:
        parts = [table.pop(f"{name}{end}") if end else table[name] for end in ("", LOW, HIGH, STD)]
        table[name] = [_spread(*values) for values in zip(*parts, strict=True)]
    for name in [name for name in map(str, table) if name.startswith(DIFFERENCE)]:
        table[name] = [f"{value:+.4f}" if value == value else "–" for value in table[name]]
    if pairs.GAIN in table:
        table[pairs.GAIN] = [_gain(*row) for row in table[[*pairs.COLUMNS]].itertuples(index=False)]
        table = table.drop(columns=[*pairs.COLUMNS[1:]])
    return table


def _spread(mean: float, low: float, high: float, deviation: float) -> str:
    """Return a mean with its interval, or with its deviation where it has none."""
    if math.isnan(mean):
        return "–"
    if low < high:
        return f"{short(mean)} ({short(low)} to {short(high)})"
    return short(mean) + (f" ± {deviation:.3g}" if math.isnan(low) and not math.isnan(deviation) else "")


def _gain(value: float, low: float, high: float, verdict: str) -> str:
    """Return a gain with its interval, or with the reason why there is none."""
    if math.isnan(value):
        return "–"
    return f"{value:+.4f} ({verdict if math.isnan(low) else f'{low:+.4f} to {high:+.4f}'})"


def markdown(table: pd.DataFrame) -> str:
    """Return a table as Markdown, columns padded so that it reads well in a terminal."""
    cells = [[cell(value) for value in row] for row in table.itertuples(index=False)]
    head, *lines = ["| " + " | ".join(row) + " |" for row in padded([list(map(str, table)), *cells])]
    return "\n".join([head, re.sub(r"[^|]", "-", head), *lines])


def cell(value: Any) -> str:
    """Return a value of a table as text."""
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    if isinstance(value, float):
        return f"{value:.10g}" if value == value else "–"  # NaN: nobody published it
    return str(value)


def figure(numbers: pd.DataFrame, rows: Sequence[str], metric: str, simulated: bool) -> bytes:
    """Return a picture of a metric of each line with its interval; nothing where it has no numbers.

    Args:
        numbers: Lines in numbers.
        rows: Columns that name a line.
        metric: The metric.
        simulated: Whether the numbers come from simulated data.
    """
    if not metric or not numbers[metric].notna().any():
        return b""
    import matplotlib.pyplot as plt

    from eolab import plots

    names = [" ".join(map(cell, row)) for row in numbers[[*rows]].itertuples(index=False)]
    kept = {"value": metric, "low": f"{metric}{LOW}", "high": f"{metric}{HIGH}"}
    scores = numbers[[*kept.values()]].set_axis([*kept], axis=1).assign(model=names, scope="all")
    scores = scores.assign(statistic=metric, is_baseline=scores["model"].str.startswith("baseline "))
    drawn = plots.score_bars(scores[scores["value"].notna()], label=metric)
    image = display.png(drawn, simulated)
    plt.close(drawn)
    return image
