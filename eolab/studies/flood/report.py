"""Published test scores of SEN12-FLOOD, and the scores of a model that always predicts "dry"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

STATISTICS = ("accuracy", "balanced_accuracy", "precision", "recall", "f1")
# Wiesniakowski et al. 2024: means over sequences, padded steps counted, a split of their own.
CONVLSTM = {"accuracy": 0.6590, "precision": 0.0553, "recall": 0.0772, "f1": 0.0550}
# Accuracy of Rambour et al. 2020, ResNet-50 features and a GRU.
AUTHORS = {"Sentinel-1": 0.875, "Sentinel-2": 0.930, "both": 0.957}


def published() -> pd.DataFrame:
    """Return the published test scores: source, sensors, then the statistics; NaN where none is given."""
    rows = [{"source": "Wiesniakowski et al. 2024, ConvLSTM", "sensors": "both", **CONVLSTM}]
    rows += [
        {"source": "Rambour et al. 2020, ResNet-50 + GRU", "sensors": sensors, "accuracy": value}
        for sensors, value in AUTHORS.items()
    ]
    return pd.DataFrame(rows, columns=["source", "sensors", *STATISTICS])


def always_dry(images: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the scores of always predicting "dry": images, number, and the statistics.

    Args:
        images: Tables with a column ``flooded``, by name.
    """
    rows = []
    for name, table in images.items():
        dry = float(1 - table["flooded"].mean())
        scores = {"accuracy": dry, "balanced_accuracy": 0.5, "precision": np.nan, "recall": 0.0, "f1": 0.0}
        rows.append({"images": name, "number": len(table), **scores})
    return pd.DataFrame(rows)


def padded_scores(runs: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the published ConvLSTM's scores and ours, padded steps counted and left out.

    Args:
        runs: Table "padding" of a training run by its name: statistic, padded, value.
    """
    rows: list[dict[str, Any]] = [
        {"source": "Wiesniakowski et al. 2024", "padded steps": "counted", **CONVLSTM}
    ]
    for name, table in runs.items():
        for padded, part in table.groupby("padded"):
            found = dict(zip(part["statistic"].astype(str), part["value"], strict=True))
            rows.append({"source": name, "padded steps": "counted" if padded else "left out", **found})
    return pd.DataFrame(rows, columns=["source", "padded steps", *STATISTICS])
