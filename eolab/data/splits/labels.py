"""Splits of samples that have several labels each, so that every label keeps its share in each part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from eolab.core.errors import ParameterError
from eolab.data.splits.shares import NONE, SHARE, SPLITS, as_column, column_of, shares_of

SEPARATOR = "; "
"""Between the labels of a sample, where they stand in a table as text."""

NAMES = np.array([*SPLITS, NONE], object)


def by_labels(
    table: pd.DataFrame,
    labels: str = "labels",
    validation: float = SHARE,
    test: float = SHARE,
    train: float | None = None,
    seed: int = 0,
) -> pd.Series:
    """Split sample by sample so that each label has the same shares in each split.

    Args:
        table: The samples.
        labels: Column of the labels: sequences, or text with :data:`SEPARATOR` between them.
        validation: Share of samples for validation.
        test: Share of samples for test.
        train: Share of samples for training; None for the rest. What is missing to 1 is left out.
        seed: Seed of the draw.

    Raises:
        ParameterError: If the column is missing or the shares are not possible.
    """
    held = multi_hot(column_of(table, labels))
    return as_column(NAMES[deal_labels(held, shares_of(train, validation, test), seed)], table)


def fraction(labels: Any, rows: Any, share: float, seed: int = 0) -> np.ndarray:
    """Choose a share of some rows so that it holds the same share of each label.

    Args:
        labels: Which labels each sample of the store has, (N, K); 0 for no.
        rows: Rows to choose from.
        share: Above 0, up to 1.
        seed: Seed of the draw.

    Returns:
        Chosen rows, ascending int64.

    Raises:
        ParameterError: If the share is out of range.
    """
    if not 0 < share <= 1:
        raise ParameterError(f"The share is {share}: expected a number above 0 and not above 1.")
    taken = np.asarray(rows, np.int64)
    parts = deal_labels(np.asarray(labels)[taken], np.array([share, 1 - share]), seed)
    return np.sort(taken[parts == 0])


def deal_labels(labels: Any, shares: Any, seed: int = 0) -> np.ndarray:
    """Deal samples out to parts by iterative stratification, the rarest label first.

    Sechidis et al. 2011, On the Stratification of Multi-Label Data
    (https://doi.org/10.1007/978-3-642-23808-6_10).

    Args:
        labels: Which labels each sample has, (N, K); 0 for no.
        shares: Share of each part (P,), in sum 1.
        seed: Seed of the draw, which decides between parts that need a sample alike.

    Returns:
        Number of the part of each sample, int64 (N,).
    """
    held, share = np.asarray(labels).astype(bool), np.asarray(shares, float)
    own = [np.flatnonzero(row).tolist() for row in held]
    left = held.sum(axis=0)  # samples of each label that are not dealt out
    need = (share[:, None] * left).tolist()  # of each label in each part
    room = (share * len(held)).tolist()  # for samples in each part
    rng = np.random.default_rng(seed)
    order, chance = rng.permutation(len(held)), rng.random((len(held), len(share)))
    parts, open_parts = np.full(len(held), -1), np.flatnonzero(share > 0).tolist()

    def put(sample: int, wanted: Iterable[float]) -> None:
        by_need = list(wanted)
        part = max(open_parts, key=lambda p: (round(by_need[p], 9), round(room[p], 9), chance[sample, p]))
        parts[sample] = part
        room[part] -= 1
        for label in own[sample]:
            need[part][label] -= 1
            left[label] -= 1

    while left.any():
        rarest = int(np.argmin(np.where(left > 0, left, len(held) + 1)))
        for sample in order[held[order, rarest] & (parts[order] < 0)]:
            put(int(sample), (row[rarest] for row in need))
    for sample in order[parts[order] < 0]:
        put(int(sample), room)
    return parts


def multi_hot(labels: Sequence[Any] | pd.Series) -> np.ndarray:
    """Return which labels each sample has, bool (sample, label), labels in alphabetical order.

    Args:
        labels: Labels of each sample: a sequence of names, or text with :data:`SEPARATOR` between them.
    """
    rows = [each.split(SEPARATOR) if isinstance(each, str) else list(each) for each in labels]
    names = sorted({name for row in rows for name in row if name})
    place = {name: k for k, name in enumerate(names)}
    held = np.zeros((len(rows), len(names)), bool)
    for number, row in enumerate(rows):
        held[number, [place[name] for name in row if name]] = True
    return held
