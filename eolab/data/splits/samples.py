"""Splits sample by sample, by date, and as published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from eolab.core.errors import ParameterError
from eolab.data.splits.shares import NONE, SHARE, SPLITS, as_column, class_numbers, column_of, shares_of


def random(
    table: pd.DataFrame,
    validation: float = SHARE,
    test: float = SHARE,
    train: float | None = None,
    stratify: str | None = None,
    seed: int = 0,
) -> pd.Series:
    """Split sample by sample, whatever their place or date.

    Neighbouring pixels are alike: for pixels of one scene this split flatters every score.

    Args:
        table: The samples.
        validation: Share of samples for validation.
        test: Share of samples for test.
        train: Share of samples for training; None for the rest. What is missing to 1 is left out.
        stratify: Column, for example ``"label"``, whose values shall have the same shares in each split.
        seed: Seed of the draw.
    """
    shares = shares_of(train, validation, test)
    rng = np.random.default_rng(seed)
    split = np.full(len(table), NONE, object)
    strata = [np.arange(len(table))]
    if stratify is not None:
        values = class_numbers(table, stratify)
        strata = [np.flatnonzero(values == value) for value in np.unique(values)]
    for rows in strata:
        edges = np.round(np.cumsum(shares[:-1]) * len(rows)).astype(int)
        for name, part in zip((*SPLITS, NONE), np.split(rng.permutation(rows), edges), strict=True):
            split[part] = name
    return as_column(split, table)


def by_date(
    table: pd.DataFrame,
    date: str = "date",
    cuts: Sequence[str] | None = None,
    validation: float = SHARE,
    test: float = SHARE,
    train: float | None = None,
) -> pd.Series:
    """Split by time: train on the earliest dates, test on the latest. A date is never in two splits.

    Args:
        table: The samples.
        date: Column of dates.
        cuts: First day of validation and first day of test; by default they follow from the shares.
        validation: Share of samples for validation, met approximately.
        test: Share of samples for test, likewise.
        train: Share of samples for training; None for the rest. What is missing to 1 is left out.

    Raises:
        ParameterError: If the column is missing, holds no dates, or the cuts are not two dates in order.
    """
    try:
        dates = pd.to_datetime(column_of(table, date)).to_numpy().astype("datetime64[D]")
        edges = None if cuts is None else pd.to_datetime(list(cuts)).to_numpy().astype("datetime64[D]")
    except ValueError as error:
        raise ParameterError(
            f"Column {date!r} or the cuts hold something that is no date ({error})."
        ) from None
    if np.isnat(dates).any():
        raise ParameterError(
            f"Column {date!r} has {np.isnat(dates).sum()} samples without a date: fill them first."
        )
    if edges is not None:
        if len(edges) != 2 or not edges[0] <= edges[1]:
            raise ParameterError(
                f"cuts are {list(cuts or ())}, but two dates in order are needed: validation, test."
            )
        number = np.searchsorted(edges, dates, side="right")
        return as_column(np.array(SPLITS, object)[number], table)
    number = np.unique(dates, return_inverse=True)[1]
    names = np.repeat(
        (*SPLITS, NONE), _days_each(np.bincount(number), shares_of(train, validation, test), date)
    )
    return as_column(names[number], table)


def _days_each(counts: np.ndarray, shares: np.ndarray, date: str) -> np.ndarray:
    """Return how many of the days each split gets, at least one where its share is above 0.

    Args:
        counts: Samples of each day, in order.
        shares: Share of each split.
        date: Name of the column, for the error.
    """
    least = (shares > 0).astype(int)
    if len(counts) < least.sum():
        raise ParameterError(
            f"Column {date!r} has {len(counts)} dates, fewer than the {least.sum()} splits: split otherwise."
        )
    middles = (np.cumsum(counts) - counts / 2) / max(
        counts.sum(), 1
    )  # where the samples of a day lie, 0 to 1
    ends = np.searchsorted(middles, np.cumsum(shares))  # days before the end of each split
    ends[shares.cumsum() >= 1 - 1e-9] = len(counts)
    for i in range(len(shares)):
        ends[i] = max(ends[i], (ends[i - 1] if i else 0) + least[i])
    for i in reversed(range(len(shares))):
        ends[i] = min(ends[i], len(counts) - least[i + 1 :].sum())
    return np.diff(ends, prepend=0)


def official(
    table: pd.DataFrame, column: str = "split", mapping: Mapping[str, str] | None = None
) -> pd.Series:
    """Take the split that the data set was published with.

    Args:
        table: The samples.
        column: Column of the published split.
        mapping: Published names to ``train``, ``validation``, ``test`` or ``none``; by default the usual
            spellings (``val``, ``dev``, ``Training``…).

    Raises:
        ParameterError: If a published name has no split.
    """
    usual = {
        "training": "train",
        "val": "validation",
        "valid": "validation",
        "dev": "validation",
        "testing": "test",
    }
    published = column_of(table, column).astype(str)
    known = {**{name: name for name in (*SPLITS, NONE)}, **usual}
    names = published.map(mapping) if mapping is not None else published.str.lower().map(known)
    bad = published[~names.isin([*SPLITS, NONE])].unique()
    if len(bad):
        raise ParameterError(
            f"Column {column!r} holds {bad[0]!r}, which is no split: "
            "give a mapping to train, validation, test or none."
        )
    return as_column(names.to_numpy(object), table)
