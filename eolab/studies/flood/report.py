"""The numbers of the flood report and of the data set's authors, and what a model that says "dry" reaches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

STATISTICS = ("accuracy", "balanced_accuracy", "precision", "recall", "f1")
# The report's test scores: means over scenes, padded steps counted; the split of its scenes is its own.
REPORT = {"accuracy": 0.6590, "precision": 0.0553, "recall": 0.0772, "f1": 0.0550}
# Accuracy of Rambour et al. 2020, ResNet-50 features and a GRU.
AUTHORS = {"Sentinel-1": 0.875, "Sentinel-2": 0.930, "both": 0.957}


def published() -> pd.DataFrame:
    """Return the published test scores: source, sensors, then the statistics; NaN where none is given."""
    rows = [{"source": "Report, ConvLSTM", "sensors": "both", **REPORT}]
    rows += [
        {"source": "Authors, ResNet-50 + GRU", "sensors": sensors, "accuracy": value}
        for sensors, value in AUTHORS.items()
    ]
    return pd.DataFrame(rows, columns=["source", "sensors", *STATISTICS])


def always_dry(images: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return what one who always says "dry" reaches: images, share dry, and the statistics.

    Args:
        images: Tables with a column ``flooded`` by what they are.
    """
    rows = []
    for name, table in images.items():
        dry = float(1 - table["flooded"].mean())
        scores = {"accuracy": dry, "balanced_accuracy": 0.5, "precision": np.nan, "recall": 0.0, "f1": 0.0}
        rows.append({"images": name, "number": len(table), **scores})
    return pd.DataFrame(rows)


def beside_report(runs: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the report's scores beside ours with and without padded steps: source, padded, statistics.

    Args:
        runs: Table "padding" of a training run by its name: statistic, padded, value.
    """
    rows: list[dict[str, Any]] = [{"source": "Report", "padded steps": "counted", **REPORT}]
    for name, table in runs.items():
        for padded, part in table.groupby("padded"):
            found = dict(zip(part["statistic"].astype(str), part["value"], strict=True))
            rows.append({"source": name, "padded steps": "counted" if padded else "left out", **found})
    return pd.DataFrame(rows, columns=["source", "padded steps", *STATISTICS])
