"""Columns of the tables of patches and pixels: which are features, which rows are labelled, their weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from eolab.core.errors import DataError, ParameterError, did_you_mean
from eolab.data.schemes import IGNORE

FACTS = (
    "id",
    "row",
    "col",
    "label",
    "weight",
    "landslide",
    "landslide_share",
)  # columns that are no features


def features_of(table: pd.DataFrame) -> list[str]:
    """Return the feature columns of a table of patches or pixels."""
    return [str(column) for column in table if column not in FACTS]


def column_of(table: pd.DataFrame, name: str) -> pd.Series:
    """Return a column.

    Raises:
        ParameterError: If there is none of that name.
    """
    if name not in table:
        raise ParameterError(f"The table has no column {name!r}: {did_you_mean(name, table.columns)}")
    return table[name]


def known_rows(table: pd.DataFrame, label: str, weight: Any) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the rows whose label is known, and their weights.

    Args:
        table: The table.
        label: Column of the class, 255 = not known.
        weight: Of each row, a column or values; None takes the column ``weight``, or 1 where there is none.

    Raises:
        DataError: If there is not one weight for each row.
        ParameterError: If there is no such column.
    """
    if weight is None and "weight" in table:
        weight = "weight"
    if isinstance(weight, str):
        weight = column_of(table, weight)
    weights = np.ones(len(table)) if weight is None else np.asarray(weight, float)
    if weights.shape != (len(table),):
        raise DataError(
            f"The weights have shape {weights.shape}: expected one for each of {len(table)} rows."
        )
    known = column_of(table, label).to_numpy() != IGNORE
    return table[known], weights[known]
