"""Scores of the hackathon's report and of its table of literature, with what is known of their averages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from eolab.data.catalog import DataEntry

NOT_STATED = "not stated"
LITERATURE = "Report's table of literature (Sumbul et al. 2019)"
_COLUMNS = ("source", "model", "data", "averaging", "recall", "f1")
_ROWS = (
    ("Report, before", "ResNet-50", NOT_STATED, 'not stated ("average")', None, 0.69),
    ("Report", "Shallow CNN, 20 epochs", NOT_STATED, NOT_STATED, None, 0.69),
    ("Report", "ResNet-50, 20 epochs", NOT_STATED, NOT_STATED, None, 0.72),
    ("Report", "ResNet-18, 50 epochs, mixup, one cycle", "10 % of the patches", NOT_STATED, None, 0.76),
    (LITERATURE, "CNN with ImageNet weights", "43 classes", NOT_STATED, 0.435, 0.45),
    (LITERATURE, "Standard CNN, RGB", "43 classes", NOT_STATED, 0.568, 0.57),
    (LITERATURE, "Standard CNN, all bands", "43 classes", NOT_STATED, 0.620, 0.61),
    (LITERATURE, "Three-branch CNN, all bands", "43 classes", NOT_STATED, 0.715, 0.67),
)


def published() -> pd.DataFrame:
    """Return the published scores: source, model, data, averaging, recall, f1; NaN where none is given."""
    return pd.DataFrame(_ROWS, columns=list(_COLUMNS))


def averages(scores: pd.DataFrame) -> pd.DataFrame:
    """Return precision, recall, F1, F2 and average precision of each model, a row an average.

    Args:
        scores: Result of :func:`eolab.evaluation.score_table`.

    Returns:
        Columns model, averaging (micro, macro or sample) and the statistics.
    """
    kept = scores[scores["scope"].isin(["micro", "macro", "sample"])]
    wide = kept.pivot_table("value", ["model", "scope"], "statistic", sort=False)
    return wide.rename_axis(None, axis=1).reset_index().rename(columns={"scope": "averaging"})


def beside(averages: pd.DataFrame, model: str, entry: DataEntry, classes: int) -> pd.DataFrame:
    """Return the published scores with ours below, a row an average.

    Args:
        averages: Result of :func:`averages`.
        model: The network.
        entry: Data set that it was trained and tested on.
        classes: Classes that count in the averages.
    """
    own = averages[averages["model"].isin([model, "random_convolutions"])]
    kind = "simulated data" if entry.simulated else entry.name
    ours = own.assign(source="Ours", data=f"{kind}, {classes} classes")
    return pd.concat([published(), ours[[*_COLUMNS]]], ignore_index=True)
