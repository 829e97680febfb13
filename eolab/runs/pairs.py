"""Lines of a sweep compared in pairs, from the replicates that the score tables of its runs keep.

That the intervals of two lines overlap, or that their means differ, says little: each replicate draws the
same groups of test samples for both, and the interval is of the difference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eolab.core import yamls
from eolab.runs import folders, history

if TYPE_CHECKING:
    import pandas as pd

Kept = tuple[list[tuple[str, "pd.Series"]], dict[str, Any]]
GAIN = "gain over the first line"
COLUMNS = (GAIN, "gain low", "gain high", "verdict")


def gains(lines: Sequence[Sequence[str]], metrics: Sequence[str], root: Path) -> tuple[str, pd.DataFrame]:
    """Return what each line gains over the first one.

    Args:
        lines: Names of the finished runs of each line.
        metrics: Metrics of the table; compared is the first one whose replicates the runs kept.
        root: Folder of the notebook's runs.

    Returns:
        That metric, and a row a line with the columns :data:`COLUMNS`, see :func:`eolab.evaluation.gains`;
        NaN and "" where a line has no replicates. "" and an empty table where the first line has none.
    """
    import pandas as pd

    from eolab import evaluation

    kept = [[_kept(history.RunRecord(root / name)) for name in names] for names in lines]
    for metric in metrics:
        found = [_of_metric(metric, runs) for runs in kept]
        if found and found[0] and any(found[1:]):
            break
    else:
        return "", pd.DataFrame()
    rows = []
    for own in found[1:]:
        gain, verdict = evaluation.mean_gain(own, found[0]) if own else ((math.nan,) * 3, "")
        rows.append((*gain, verdict))
    return metric, pd.DataFrame([(math.nan, math.nan, math.nan, ""), *rows], columns=[*COLUMNS])


def _kept(run: history.RunRecord) -> Kept:
    """Return the rows of a run's score tables that keep replicates, and all metrics of the run by path."""
    from eolab import evaluation

    rows = []
    for file in sorted((run.folder / "tables").glob(f"*{folders.DRAWN}")):
        table = run.table(file.name.removesuffix(folders.DRAWN))
        paths = evaluation.paths(table, str(run.params.get("model", "")))
        rows += [(path, row) for path, (_, row) in zip(paths, table.iterrows(), strict=True)]
    return rows, yamls.flatten(run.metrics)


def _of_metric(metric: str, runs: Sequence[Kept]) -> list[pd.Series]:
    """Return the row of a metric of each run; none if a run has none with replicates.

    A metric may stand below another name in the metrics than in its table.
    """
    found = [
        [
            row
            for path, row in rows
            if f".{metric}".endswith(f".{path}") and row["value"] == values.get(metric)
        ]
        for rows, values in runs
    ]
    return [rows[0] for rows in found] if all(found) else []
