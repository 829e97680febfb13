"""What all splits share: names, checks of columns and shares, and how groups and samples are dealt out."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from eolab.core.errors import ParameterError, check_known

SPLITS = ("train", "validation", "test")
NONE = "none"
SHARE = 0.2  # of validation and of test, where nothing else is said

DEALS = 20  # how often groups are dealt out to choose the best deal, and
DEALT_GROUPS = 20_000  # how many groups in all are dealt out at most to that end


def column_of(table: pd.DataFrame, name: str) -> pd.Series:
    """Return a column of the table, or say which there are."""
    check_known(name, list(table), f"The sample table has no column {name!r}")
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


def as_column(parts: np.ndarray, index: pd.Index) -> pd.Series:
    """Return part numbers, 0 for train to 3 for left out, as the categorical column ``split``."""
    names = np.array([*SPLITS, NONE], object)
    return pd.Series(pd.Categorical(names[parts], names), index=index, name="split")


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
