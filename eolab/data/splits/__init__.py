"""Splits of the sample table into train, validation and test, or into folds.

Each function takes the table (a row a sample) and returns a column: a categorical Series ``split`` with
``train``, ``validation``, ``test`` and ``none`` (left out), or an integer Series ``fold``. The same table,
options and seed always give the same column.

Example:
    >>> table["split"] = assign(table, "block", block_m=1000, validation=0.2, test=0.3, seed=0)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pandas as pd

from eolab.core.errors import ParameterError, did_you_mean
from eolab.data.splits.balance import balanced_rows, positive_weights
from eolab.data.splits.folds import as_split, k_fold
from eolab.data.splits.groups import block_numbers, by_block, by_group
from eolab.data.splits.labels import by_labels, deal_labels, fraction
from eolab.data.splits.samples import by_date, official, random

__all__ = [
    "KINDS",
    "as_split",
    "assign",
    "balanced_rows",
    "block_numbers",
    "by_block",
    "by_date",
    "by_group",
    "by_labels",
    "deal_labels",
    "fraction",
    "k_fold",
    "official",
    "positive_weights",
    "random",
]

KINDS: dict[str, Callable[..., pd.Series]] = {
    "random": random,
    "group": by_group,
    "block": by_block,
    "date": by_date,
    "labels": by_labels,
    "official": official,
    "k_fold": k_fold,
}


def assign(table: pd.DataFrame, kind: str, **options: Any) -> pd.Series:
    """Split by the name of the kind.

    Args:
        table: The samples.
        kind: ``random``, ``group``, ``block``, ``date``, ``labels`` (``by_group`` and so on are the same),
            ``official`` or ``k_fold``.
        **options: Arguments of the function of that name.

    Raises:
        ParameterError: If the kind or an option is unknown.
    """
    kind = kind.removeprefix("by_")
    if kind not in KINDS:
        raise ParameterError(f"There is no split {kind!r}: {did_you_mean(kind, KINDS)}")
    known = [name for name in inspect.signature(KINDS[kind]).parameters if name != "table"]
    for name in options:
        if name not in known:
            raise ParameterError(f"The split {kind} has no option {name!r}: {did_you_mean(name, known)}")
    return KINDS[kind](table, **options)
