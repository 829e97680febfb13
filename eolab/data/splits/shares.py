"""What all splits share: the names, the checks of columns and fractions, and dealing out whole groups."""

from __future__ import annotations

import numpy as np
import pandas as pd

from eolab.core.errors import ParameterError, did_you_mean

SPLITS = ("train", "validation", "test")
NONE = "none"
SHARE = 0.2  # of validation and of test, where nothing else is said

DEALS = 20  # how often groups are dealt out to choose the best deal, and
DEALT_GROUPS = 20_000  # how many groups in all are dealt out at most to that end


def column_of(table: pd.DataFrame, name: str) -> pd.Series:
    """Return a column of the table, or say which there are."""
    if name not in table:
        raise ParameterError(f"The sample table has no column {name!r}: {did_you_mean(name, table.columns)}")
    return table[name]


def shares_of(train: float | None, validation: float, test: float) -> np.ndarray:
    """Return the shares of train (None: the rest), validation and test, checked, and of what is left out."""
    rest = 1 - validation - test if train is None else train
    shares = np.array([rest, validation, test], float)
    if not (shares[0] > 1e-9 and (shares >= 0).all() and shares.sum() <= 1 + 1e-9):
        raise ParameterError(
            f"The shares of train, validation and test are {rest:g}, {validation:g} and {test:g}: they "
            "must be 0 or more, above 0 for train, and not more than 1 in sum."
        )
    return np.append(shares, max(round(1 - shares.sum(), 9), 0))


def as_column(split: np.ndarray, table: pd.DataFrame) -> pd.Series:
    """Return split names as the categorical column ``split`` of the table."""
    return pd.Series(pd.Categorical(split, [*SPLITS, NONE]), index=table.index, name="split")


def class_numbers(table: pd.DataFrame, label: str | None) -> np.ndarray:
    """Return the class 0, 1, … of each sample; -1 where it has none; all 0 where no column is given."""
    if label is None:
        return np.zeros(len(table), int)
    return pd.factorize(column_of(table, label), sort=True)[0]


def deal(
    groups: np.ndarray,
    classes: np.ndarray,
    shares: np.ndarray,
    what: str,
    seed: int,
    covered: int | None = None,
) -> np.ndarray:
    """Deal whole groups out to parts so that each part gets its share of every class.

    Several seeded deals are made. The best is the one in which the fewest classes are missing from a part,
    and among those the one nearest to the shares.

    Args:
        groups: Group 0 … G - 1 of each sample (N,).
        classes: Class of each sample (N,), -1 for none.
        shares: Share of each part, in sum 1. A part with share 0 gets nothing; the first part comes first
            where a class is in few groups.
        what: What the groups are, for the error.
        seed: Seed of the deals.
        covered: How many parts, from the first, need a group and every class; by default all.

    Returns:
        Number of the part of each sample (N,).

    Raises:
        ParameterError: If there are fewer groups than parts.
    """
    counts = np.zeros((groups.max(initial=-1) + 1, classes.max(initial=-1) + 2))
    np.add.at(counts, (groups, classes), 1)
    counts[:, -1] = np.bincount(groups, minlength=len(counts))  # last column: all samples
    counts = counts[:, counts.sum(axis=0) > 0]
    parts = np.flatnonzero(shares > 0)
    cover = int((parts < (len(shares) if covered is None else covered)).sum())
    if len(counts) < cover:
        raise ParameterError(
            f"There are {len(counts)} {what}, fewer than the {cover} parts to split into: "
            "choose smaller groups or another split."
        )
    rng = np.random.default_rng(seed)
    best, best_score = np.zeros(len(counts), int), (np.inf, np.inf)
    for _ in range(max(1, min(DEALS, DEALT_GROUPS // len(counts)))):
        dealt = _deal_once(counts, shares[parts], cover, rng)
        score = _score(dealt, counts, shares[parts], cover)
        if score < best_score:
            best, best_score = dealt, score
    return parts[best][groups]


def _deal_once(counts: np.ndarray, shares: np.ndarray, cover: int, rng: np.random.Generator) -> np.ndarray:
    """Deal G groups out: first one of each class to each covered part, then the rest by need."""
    dealt = np.full(len(counts), -1)
    totals = counts.sum(axis=0)
    need = shares[:, None] * totals  # (P, K) samples still wanted
    order = rng.permutation(len(counts))
    frequency = (counts > 0).sum(axis=0)
    for k in np.argsort(frequency, kind="stable"):
        members = order[counts[order, k] > 0]
        wanted = range(cover) if frequency[k] >= cover else range(1)
        for part in wanted:
            free = members[dealt[members] < 0]
            if len(free) and not (dealt[members] == part).any():
                over = np.maximum(counts[free, -1] - need[part, -1], 0)
                group = free[np.argmin(over)]
                dealt[group] = part
                need[part] -= counts[group]
    rest = order[dealt[order] < 0]
    for group in rest[np.argsort(-counts[rest, -1], kind="stable")]:
        part = int(np.argmax(need @ (counts[group] / totals**2)))
        dealt[group] = part
        need[part] -= counts[group]
    return dealt


def _score(dealt: np.ndarray, counts: np.ndarray, shares: np.ndarray, cover: int) -> tuple[float, float]:
    """Return how many classes are missing from parts, and the largest distance to a wanted share."""
    got = np.stack([counts[dealt == part].sum(axis=0) for part in range(len(shares))])  # (P, K)
    due = (counts > 0).sum(axis=0) >= cover
    missing = (got[:cover, due] == 0).sum() + (got[0] == 0).sum()
    return float(missing), float(np.abs(got / counts.sum(axis=0) - shares[:, None]).max())
