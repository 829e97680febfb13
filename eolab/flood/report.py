"""The numbers of the flood report and of the data set's authors, and what a model that says "dry" reaches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

STATISTICS = ("accuracy", "balanced_accuracy", "precision", "recall", "f1")
UNTOLD = ("preprocessed", "model", "beside", "strips", "replicates")  # these change no network
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
        runs: Table "padding" of a training run by its name: statistic, padded, estimate.
    """
    rows: list[dict[str, Any]] = [{"source": "Report", "padded steps": "counted", **REPORT}]
    for name, table in runs.items():
        for padded, part in table.groupby("padded"):
            found = dict(zip(part["statistic"].astype(str), part["estimate"], strict=True))
            rows.append({"source": name, "padded steps": "counted" if padded else "left out", **found})
    return pd.DataFrame(rows, columns=["source", "padded steps", *STATISTICS])


def run_name(params: Mapping[str, Any], usual: Mapping[str, Any]) -> str:
    """Return the model of a training run, and what sets it apart from another run.

    Args:
        params: Parameters of the run.
        usual: Parameters of the other run.
    """
    changed = [
        f"{key} {_short(value)}"
        for key, value in params.items()
        if key not in UNTOLD and value != usual.get(key)
    ]
    return str(params["model"]) + (f" ({', '.join(changed)})" if changed else "")


def of_run(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the rows of the network in a training run's table of scores, under another name."""
    return table[~table["baseline"]].assign(name=name)


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return "+".join(f"{key}={one}" for key, one in value.items()) or "as they are"
    return ("+".join(map(str, value)) or "none") if isinstance(value, list) else str(value)
