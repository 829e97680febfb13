"""Training samples whose labels are still right: what the shared steps of ``eolab.data.labels`` need."""

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from eolab.core.errors import DataError
from eolab.data import indices
from eolab.data.store import Store
from eolab.runs import history


def strip_m(samples: Store, border_m: float) -> float:
    """Return the width of the strip at polygon borders: as given, or half a cell of the old map for -1."""
    return border_m if border_m >= 0 else samples.metadata["label_cell_m"] / 2


def as_many(label: np.ndarray, kept: np.ndarray, seed: int) -> np.ndarray:
    """Draw as many samples of each class at random as are kept of it, bool (N,)."""
    drawn, rng = np.zeros(len(label), bool), np.random.default_rng(seed)
    for one in np.unique(label[kept]):
        pool = np.flatnonzero(label == one)
        drawn[rng.choice(pool, int((kept & (label == one)).sum()), replace=False)] = True
    return drawn


def greenness(samples: Store, rows: np.ndarray) -> tuple[xr.DataArray, np.ndarray]:
    """Return the NDVI (sample, time) of some samples, or their first band where they lack its bands.

    Returns:
        The series, named by what they are, and where they are observed (sample, time).
    """
    data = samples.gather(rows, ["image", "valid"])
    bands = list(samples.channel_names())
    image = xr.DataArray(data["image"], {"time": samples.time, "band": bands}, ("sample", "time", "band"))
    if "NDVI" not in bands and {"B04", "B08"} <= set(bands):
        return indices.compute("NDVI", image).rename("NDVI"), data["valid"].astype(bool)
    name = "NDVI" if "NDVI" in bands else bands[0]
    return image.sel(band=name, drop=True).rename(name), data["valid"].astype(bool)


def without_refused(samples: Store, folder: Path, split: str) -> pd.DataFrame:
    """Return the sample table in which training samples that ``03_extract_labels`` refused are "refused".

    Args:
        samples: The samples.
        folder: Folder of a run of the notebook on them.
        split: Name of the split, whose column is changed.

    Raises:
        DataError: If the run has other samples, or the training samples of another split.
    """
    run = history.load(folder)
    known, labels = run.params["split"], run.table("labels")
    if known != split:
        raise DataError(
            f"The labels of {folder} were extracted for the split {known!r}, not {split!r}: run "
            f"03_extract_labels with split={split}, or set labels=old_map."
        )
    table, column = samples.table.copy(), f"split_{split}"
    train = table[column] == "train"
    if set(table.loc[train, "id"].tolist()) != set(labels["id"].tolist()):
        raise DataError(
            f"The labels of {folder} are those of other samples than {samples.path}: run 03_extract_labels "
            "on them again, or set labels=old_map."
        )
    refused = train & ~table["id"].isin(labels.loc[labels["kept"], "id"])
    table[column] = table[column].astype(str).mask(refused, "refused")
    return table
