"""Published scores of BigEarthNet, with what is known of their averages.

Cavallaro et al. (2019): slides of the Jülich Supercomputing Centre on scores of a hackathon.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from eolab.data.catalog import DataEntry

NOT_STATED = "not stated"
CAVALLARO = "Cavallaro et al. (2019)"
SUMBUL = "Sumbul et al. (2019)"
_COLUMNS = ("source", "model", "data", "averaging", "recall", "f1")
_ROWS = (
    (f"{CAVALLARO}, before the hackathon", "ResNet-50", NOT_STATED, 'not stated ("average")', None, 0.69),
    (CAVALLARO, "Shallow CNN, 20 epochs", NOT_STATED, NOT_STATED, None, 0.69),
    (CAVALLARO, "ResNet-50, 20 epochs", NOT_STATED, NOT_STATED, None, 0.72),
    (CAVALLARO, "ResNet-18, 50 epochs, mixup, one cycle", "10 % of the patches", NOT_STATED, None, 0.76),
    (SUMBUL, "CNN with ImageNet weights", "43 classes", NOT_STATED, 0.435, 0.45),
    (SUMBUL, "Standard CNN, RGB", "43 classes", NOT_STATED, 0.568, 0.57),
    (SUMBUL, "Standard CNN, all bands", "43 classes", NOT_STATED, 0.620, 0.61),
    (SUMBUL, "Three-branch CNN, all bands", "43 classes", NOT_STATED, 0.715, 0.67),
)


def published() -> pd.DataFrame:
    """Return the published scores: source, model, data, averaging, recall, f1; NaN if not given."""
    return pd.DataFrame(_ROWS, columns=list(_COLUMNS))


def averages(scores: pd.DataFrame) -> pd.DataFrame:
    """Return precision, recall, F1, F2 and average precision of each model, one row per average.

    Args:
        scores: Result of :func:`eolab.evaluation.score_table`.

    Returns:
        Columns model, averaging (micro, macro or sample) and the statistics.
    """
    kept = scores[scores["scope"].isin(["micro", "macro", "sample"])]
    wide = kept.pivot_table("value", ["model", "scope"], "statistic", sort=False)
    return wide.rename_axis(None, axis=1).reset_index().rename(columns={"scope": "averaging"})


def with_published(averages: pd.DataFrame, model: str, entry: DataEntry, classes: int) -> pd.DataFrame:
    """Return the published scores followed by ours, one row per average.

    Args:
        averages: Result of :func:`averages`.
        model: Name of the network.
        entry: Data set of the training and the test.
        classes: Number of classes in the averages.
    """
    own = averages[averages["model"].isin([model, "random_convolutions"])]
    kind = "simulated data" if entry.simulated else entry.name
    ours = own.assign(source="Ours", data=f"{kind}, {classes} classes")
    return pd.concat([published(), ours[[*_COLUMNS]]], ignore_index=True)
