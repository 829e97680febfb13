"""Folds of a cross-validation."""

from __future__ import annotations

import numpy as np
import pandas as pd

from eolab.core.errors import ParameterError
from eolab.data.splits.groups import block_numbers
from eolab.data.splits.shares import as_column, class_numbers, column_of, deal


def k_fold(
    table: pd.DataFrame,
    k: int = 5,
    group: str | None = None,
    block_m: float | None = None,
    label: str | None = None,
    shuffle: bool = True,
    seed: int = 0,
) -> pd.Series:
    """Number the samples 0 to k - 1 so that each fold can be the test set once.

    Args:
        table: The samples.
        k: Number of folds.
        group: Column of groups that are not cut.
        block_m: Side of square blocks in metres that are not cut, instead of groups.
        label: Column of classes to balance over the folds.
        shuffle: False for contiguous folds in the order of the table (of first appearance for groups).
        seed: Seed of the draw.

    Returns:
        Integer Series ``fold``.

    Raises:
        ParameterError: If k is below 2, a column is missing, or there are fewer samples or groups than folds.
    """
    if k < 2:
        raise ParameterError(f"k is {k}, but a cross-validation needs 2 folds or more.")
    if group is not None and block_m is not None:
        raise ParameterError("k_fold takes a group column or a block size, not both: leave one out.")
    units, what = np.arange(len(table)), "samples"
    if group is not None:
        units, what = (
            pd.factorize(column_of(table, group), use_na_sentinel=False)[0],
            f"groups in column {group!r}",
        )
    elif block_m is not None:
        units, what = block_numbers(table, block_m), f"blocks of {block_m:g} m"
    total = units.max(initial=-1) + 1
    if total < k:
        raise ParameterError(f"There are {total} {what}, fewer than the {k} folds: choose a smaller k.")
    classes = class_numbers(table, label)
    if not shuffle:
        fold = units * k // total
    elif what == "samples":
        order = np.random.default_rng(seed).permutation(total)
        fold = np.empty(total, int)
        fold[order[np.argsort(classes[order], kind="stable")]] = np.arange(total) % k
    else:
        fold = deal(units, classes, np.full(k, 1 / k), what, seed)
    return pd.Series(fold, table.index, name="fold")


def as_split(fold: pd.Series, test: int, validation: int | None = None) -> pd.Series:
    """Return the split that has one fold as test, another as validation and the others as train.

    Args:
        fold: Result of :func:`k_fold`.
        test: Fold to test on.
        validation: Fold to validate on; by default the one after ``test``.
    """
    k = int(fold.max()) + 1
    validation = (test + 1) % k if validation is None else validation
    for name, value in (("test", test), ("validation", validation)):
        if value not in range(k):
            raise ParameterError(f"The {name} fold is {value}, but the folds are 0 to {k - 1}.")
    if test == validation:
        raise ParameterError(f"Fold {test} cannot be test and validation at once: choose two folds.")
    split = np.where(fold == test, "test", np.where(fold == validation, "validation", "train"))
    return as_column(split.astype(object), fold.to_frame())
