"""Splits of whole groups and of blocks of ground."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from eolab.core.errors import ParameterError
from eolab.data.splits.shares import NONE, SHARE, SPLITS, as_column, class_numbers, column_of, deal, shares_of

NAMES = np.array([*SPLITS, NONE], object)


def by_group(
    table: pd.DataFrame,
    group: str = "group",
    validation: float = SHARE,
    test: float = SHARE,
    train: float | None = None,
    label: str | None = None,
    seed: int = 0,
) -> pd.Series:
    """Split whole groups (scenes, regions, polygons), so that none is in two splits.

    Args:
        table: The samples.
        group: Column that names the group of each sample.
        validation: Share of samples for validation; groups are not cut, so it is met approximately.
        test: Share of samples for test, likewise.
        train: Share of samples for training; None for the rest. What is missing to 1 is left out.
        label: Column of classes to balance over the splits; None for their numbers alone.
        seed: Seed of the draw.

    Raises:
        ParameterError: If a column is missing or there are fewer groups than splits.
    """
    groups = pd.factorize(column_of(table, group))[0]
    if (groups < 0).any():
        raise ParameterError(
            f"Column {group!r} has {(groups < 0).sum()} samples without a group: fill them first."
        )
    classes = class_numbers(table, label)
    parts = deal(
        groups, classes, shares_of(train, validation, test), f"groups in column {group!r}", seed, len(SPLITS)
    )
    return as_column(NAMES[parts], table)


def by_block(
    table: pd.DataFrame,
    block_m: float,
    validation: float = SHARE,
    test: float = SHARE,
    train: float | None = None,
    label: str | None = "label",
    buffer_m: float = 0.0,
    seed: int = 0,
) -> pd.Series:
    """Split by square blocks of ground, so that test samples lie apart from training samples.

    Args:
        table: The samples, with columns ``x`` and ``y`` in metres.
        block_m: Side of a block in metres.
        validation: Share of samples for validation, met approximately.
        test: Share of samples for test, likewise.
        train: Share of samples for training; None for the rest. What is missing to 1 is left out.
        label: Column of classes to balance: every class is in train, and in validation and test as well where
            it occurs in three blocks or more. None to balance numbers alone.
        buffer_m: Training samples nearer than this to a sample of validation or test, and validation samples
            nearer than this to one of test, are left out (``none``).
        seed: Seed of the draw.

    Raises:
        ParameterError: If a column is missing or there are fewer blocks than splits.
    """
    blocks = block_numbers(table, block_m)
    classes = class_numbers(table, label)
    split = NAMES[
        deal(
            blocks, classes, shares_of(train, validation, test), f"blocks of {block_m:g} m", seed, len(SPLITS)
        )
    ]
    if buffer_m > 0:
        place = table[["x", "y"]].to_numpy(float)
        for name, others in (("train", ("validation", "test")), ("validation", ("test",))):
            rows, far = np.flatnonzero(split == name), np.isin(split, others)
            if len(rows) and far.any():
                distance, _ = cKDTree(place[far]).query(place[rows], distance_upper_bound=buffer_m)
                split[rows[np.isfinite(distance)]] = NONE
    return as_column(split, table)


def block_numbers(table: pd.DataFrame, block_m: float) -> np.ndarray:
    """Return the number 0, 1, … of the square block of ``block_m`` metres that each sample lies in."""
    if not block_m > 0:
        raise ParameterError(f"block_m is {block_m}, but the side of a block is a number of metres above 0.")
    place = np.stack([column_of(table, axis).to_numpy(float) for axis in ("y", "x")], axis=1)
    if not np.isfinite(place).all():
        raise ParameterError(
            "Some samples have no coordinates x and y: leave them out before splitting by block."
        )
    cells = np.floor((place - place.min(axis=0)) / block_m).astype(np.int64)
    return np.unique(cells, axis=0, return_inverse=True)[1].ravel()
