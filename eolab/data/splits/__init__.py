"""Splits of the sample table into train, validation and test, or into folds.

Splits are made sample by sample, by group, block of ground, date or labels, and as published. Each function
takes the table (a row a sample) and returns a column: a categorical Series ``split`` with
``train``, ``validation``, ``test`` and ``none`` (left out), or an integer Series ``fold``. The same table,
options and seed always give the same column.

Blocks that keep a distance, with no polygon on both sides, come from :func:`apart_blocks`.

Example:
    >>> table = pd.DataFrame({"polygon": [7, 7, 7, 8, 8, 9, 9, 9]})
    >>> table["split"] = assign(table, "group", group="polygon", validation=0.3, test=0.3, seed=0)
    >>> table.groupby("polygon")["split"].nunique().tolist()  # no polygon is divided
    [1, 1, 1]
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from eolab.core.errors import ParameterError, check_all, check_known
from eolab.data.splits.blocks import apart_blocks, block_numbers, by_block, keep_apart
from eolab.data.splits.dealing import (
    NONE,
    SHARE,
    SPLITS,
    as_column,
    class_numbers,
    column_of,
    deal,
    deal_labels,
    shares_of,
)

SEPARATOR = "; "
"""Between the labels of a sample, where they stand in a table as text."""


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
    strata, parts = class_numbers(table, stratify), np.empty(len(table), int)
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        edges = np.round(np.cumsum(shares[:-1]) * len(rows)).astype(int)
        for part, drawn in enumerate(np.split(rng.permutation(rows), edges)):
            parts[drawn] = part
    return as_column(parts, table.index)


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
    shares, what = shares_of(train, validation, test), f"groups in column {group!r}"
    parts = deal(groups, class_numbers(table, label), shares, what, seed, len(SPLITS))
    return as_column(parts, table.index)


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
        return as_column(np.searchsorted(edges, dates, side="right"), table.index)
    day = np.unique(dates, return_inverse=True)[1]
    days = _days_each(np.bincount(day), shares_of(train, validation, test), date)
    return as_column(np.repeat(np.arange(4), days)[day], table.index)


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
    middles = (np.cumsum(counts) - counts / 2) / max(counts.sum(), 1)  # of the samples of a day, 0 to 1
    ends = np.searchsorted(middles, np.cumsum(shares))  # days before the end of each split
    ends[shares.cumsum() >= 1 - 1e-9] = len(counts)
    needed = np.cumsum(least)
    spare = np.maximum.accumulate(ends - needed).clip(0, len(counts) - needed[-1])  # beside the least
    return np.diff(spare + needed, prepend=0)


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
    shares = shares_of(train, validation, test)
    return as_column(deal_labels(multi_hot(column_of(table, labels)), shares, seed), table.index)


def multi_hot(labels: pd.Series) -> np.ndarray:
    """Return which labels each sample has, bool (sample, label), labels in alphabetical order.

    Args:
        labels: Labels of each sample: a sequence of names, or text with :data:`SEPARATOR` between them.
    """
    from sklearn.preprocessing import MultiLabelBinarizer  # slow to import

    rows = [each.split(SEPARATOR) if isinstance(each, str) else each for each in labels]
    held = MultiLabelBinarizer().fit_transform([[name for name in row if name] for row in rows])
    return held.astype(bool)


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
    usual = {"training": "train", "testing": "test"} | dict.fromkeys(("val", "valid", "dev"), "validation")
    published, known = column_of(table, column).astype(str), [*SPLITS, NONE]
    names = published.map(mapping) if mapping is not None else published.str.lower().replace(usual)
    bad = published[~names.isin(known)].unique()
    if len(bad):
        raise ParameterError(
            f"Column {column!r} holds {bad[0]!r}, which is no split: "
            "give a mapping to train, validation, test or none."
        )
    return as_column(names.map(known.index).to_numpy(), table.index)


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
        units = pd.factorize(column_of(table, group), use_na_sentinel=False)[0]
        what = f"groups in column {group!r}"
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
        pairs = np.unique(np.stack([classes, units])[:, classes >= 0], axis=1)[0]
        rare = np.bincount(pairs, minlength=classes.max(initial=-1) + 1) < k  # cannot be in every fold
        classes = np.where((classes >= 0) & np.append(rare, False)[classes], -1, classes)
        fold = deal(units, classes, np.full(k, 1 / k), what, seed)
    return pd.Series(fold, table.index, name="fold")


KINDS = {
    kind.__name__.removeprefix("by_"): kind
    for kind in (random, by_group, by_block, by_date, by_labels, official, k_fold)
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
    check_known(kind, KINDS, f"There is no split {kind!r}")
    known = [name for name in inspect.signature(KINDS[kind]).parameters if name != "table"]
    check_all(options, known, f"The split {kind} has no option")
    return KINDS[kind](table, **options)
