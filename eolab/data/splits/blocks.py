"""Splits by square blocks of ground, and the distance that keeps test ground apart from training ground."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from eolab.core.errors import ParameterError, warn
from eolab.data.splits.dealing import (
    NONE,
    SHARE,
    SPLITS,
    as_column,
    class_numbers,
    column_of,
    deal,
    shares_of,
)

LARGE = 0.25  # share of the samples above which a group is cut, as neither side can do without it
LEAST = 1 / 3  # of the training samples that a buffer has to leave
FRACTIONS = (1, 1 / 2, 1 / 4, 1 / 8, 0)  # of the wanted buffer, tried one after the other
ARRANGEMENTS = 400  # of blocks that are compared
PLACES = 4  # most places on the ground that the blocks of a part gather around
PER_CLASS = 400  # most samples of a class by which arrangements are compared
TRAIN, VALIDATION, TEST, OUT = range(4)


def by_block(
    table: pd.DataFrame,
    block_m: float,
    validation: float = SHARE,
    test: float = SHARE,
    train: float | None = None,
    label: str | None = "label",
    buffer_m: float = 0.0,
    apart: str | None = None,
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
        apart: Column of groups, such as polygons, that are not to be on two sides, see :func:`keep_apart`.
        seed: Seed of the draw.

    Raises:
        ParameterError: If a column is missing or there are fewer blocks than splits.
    """
    blocks, shares = block_numbers(table, block_m), shares_of(train, validation, test)
    what = f"blocks of {block_m:g} m"
    parts = deal(blocks, class_numbers(table, label), shares, what, seed, len(SPLITS))
    return keep_apart(table, as_column(parts, table.index), buffer_m, apart)


def block_numbers(table: pd.DataFrame, block_m: float) -> np.ndarray:
    """Return the number 0, 1, … of the square block of ``block_m`` metres that each sample lies in.

    Raises:
        ParameterError: If the side is not above 0, or coordinates are missing or look like degrees.
    """
    if not block_m > 0:
        raise ParameterError(f"block_m is {block_m}, but the side of a block is a number of metres above 0.")
    place = np.stack([column_of(table, axis).to_numpy(float) for axis in ("y", "x")], axis=1)
    if not np.isfinite(place).all():
        raise ParameterError(
            "Some samples have no coordinates x and y: leave them out before splitting by block."
        )
    span = np.ptp(place, axis=0).max() if len(place) > 1 else np.inf
    if span < block_m and (np.abs(place) <= (90, 180)).all():
        raise ParameterError(
            f"All samples lie in one block of {block_m:g} m, as x and y look like degrees: bring them to "
            "metres with eolab.data.ground.positions_m, or take smaller blocks."
        )
    return np.unique(block_cells(place, place.min(axis=0), block_m), axis=0, return_inverse=True)[1].ravel()


def block_cells(place: np.ndarray, corner: np.ndarray, block_m: float) -> np.ndarray:
    """Return row and column, from a corner, of the square block that each place lies in, int64 (N, 2).

    Args:
        place: y and x in metres (N, 2).
        corner: y and x from which blocks are counted: the least ones of all samples.
        block_m: Side of a block in metres.
    """
    return np.floor((place - corner) / block_m).astype(np.int64)


def keep_apart(
    table: pd.DataFrame,
    split: pd.Series,
    buffer_m: float = 0.0,
    group: str | None = None,
    validation: bool = True,
) -> pd.Series:
    """Leave out the samples that lie too near to test ground, or in a group that test samples lie in too.

    Test samples all stay. Validation samples stay where they are apart from the test samples, and training
    samples where they are apart from the test and validation samples that stay.

    Args:
        table: The samples, with columns ``x`` and ``y`` in metres where there is a buffer.
        split: "train", "validation", "test" or "none" of each sample.
        buffer_m: Least distance between samples of two parts, in metres.
        group: Column of groups (polygons) that are to be in one part alone; None for no such rule.
        validation: False where training samples may lie beside, and in one group with, validation samples.

    Returns:
        The split, in which what lies too near is "none".
    """
    names = [*SPLITS, NONE]
    parts = pd.Categorical(split.astype(str), names).codes.astype(int)
    place = table[["x", "y"]].to_numpy(float) if buffer_m > 0 else np.zeros((len(table), 2))
    units = None if group is None else pd.factorize(column_of(table, group))[0]
    return as_column(_left_out(parts, place, units, buffer_m, validation), table.index)


def _left_out(
    parts: np.ndarray, place: np.ndarray, units: np.ndarray | None, buffer_m: float, validation: bool
) -> np.ndarray:
    """Return the parts (N,) without what is too near; a unit of -1 is no group. See :func:`keep_apart`."""
    parts = parts.copy()
    for part in (VALIDATION, TRAIN):
        rows = np.flatnonzero(parts == part)
        others = (parts == TEST) | ((parts == VALIDATION) & (part == TRAIN) & validation)
        if not len(rows) or not others.any():
            continue
        near = np.zeros(len(rows), bool)
        if buffer_m > 0:
            near = cKDTree(place[others]).query(place[rows], distance_upper_bound=buffer_m)[0] < buffer_m
        if units is not None:
            near |= np.isin(units[rows], units[others]) & (units[rows] >= 0)
        parts[rows[near]] = OUT
    return parts


class ApartBlocks(NamedTuple):
    """A split by blocks whose test blocks keep a distance, and the same blocks without it.

    Attributes:
        split: The split: "train", "validation", "test", or "none" for what lies too near.
        without: The same blocks with nothing left out: the same test samples, more training samples.
        unit: The group that each sample counts to: its own, or for a group that is cut its part in a block.
        buffer_m: Distance in metres between test samples and all others.
        wanted_m: Distance that was asked for.
        validation: Whether validation samples keep that distance from training samples too.
        cut: How many groups are cut at the borders of blocks, as they hold too large a share of the samples.
        missing: Classes missing from "train" or "test", although they are in two groups or more.
    """

    split: pd.Series
    without: pd.Series
    unit: pd.Series
    buffer_m: float
    wanted_m: float
    validation: bool
    cut: int
    missing: dict[str, list[str]]

    @property
    def said(self) -> str:
        """What was kept apart, and what was not, in words."""
        lost = 1 - (self.split == "train").sum() / max((self.without == "train").sum(), 1)
        few = f"with it a class or more than {1 - LEAST:.0%} of the training samples would be lost"
        limited = f" (limited from {self.wanted_m:,.0f} m: {few})" if self.buffer_m < self.wanted_m else ""
        said = [f"Test samples lie {self.buffer_m:,.0f} m or more from all others{limited}"]
        if self.cut:
            said.append(
                f"No group is on both sides, except {self.cut} with more than {LARGE:.0%} of the samples, "
                "cut at the borders of blocks"
            )
        else:
            said.append("No group is on both sides")
        if self.validation:
            said.append("Validation samples are as far from training samples")
        else:
            said.append(f"Validation blocks border on training blocks without a distance: {few}")
        said.append(f"{lost:.0%} of the training samples are left out")
        said += [f"Classes missing from {part}: {', '.join(names)}" for part, names in self.missing.items()]
        return ". ".join(said) + "."


def apart_blocks(
    table: pd.DataFrame,
    block_m: float,
    buffer_m: float,
    group: str = "group",
    validation: float = SHARE,
    test: float = SHARE,
    label: str | None = "label",
    seed: int = 0,
) -> ApartBlocks:
    """Split by blocks so that test blocks keep a distance and no group is on both sides.

    Blocks of one part lie side by side, around few places, so that a buffer costs few samples: of many random
    arrangements the one is taken in which the parts have most classes and samples once the buffer and the
    shared groups are left out. Labels and places alone decide. Where no arrangement leaves a third of the
    training samples and every class that can be there, first the distance between validation and training
    is given up, then the buffer is halved.

    Args:
        table: The samples, with columns ``x`` and ``y`` in metres.
        block_m: Side of a block in metres.
        buffer_m: Wanted distance between test samples and all others, at least the size of a group.
        group: Column of groups (polygons). One with more than a quarter of the samples is cut at the
            borders of blocks, as neither side can do without it: there the buffer alone counts.
        validation: Share of samples for validation, met approximately, before anything is left out.
        test: Share of samples for test, likewise.
        label: Column of classes that each part needs; None for numbers alone.
        seed: Seed of the arrangements.

    Raises:
        ParameterError: If a column is missing or there are fewer than three blocks.
    """
    blocks, shares = block_numbers(table, block_m), shares_of(None, validation, test)
    if (n_blocks := blocks.max(initial=-1) + 1) < 3:
        raise ParameterError(
            f"There are {n_blocks} blocks of {block_m:g} m, fewer than the 3 parts: choose smaller blocks."
        )
    units, cut = _units(pd.factorize(column_of(table, group))[0], blocks)
    place, classes = table[["x", "y"]].to_numpy(float), class_numbers(table, label)
    search = _Search(place, classes, units, blocks, buffer_m, shares, seed)
    for fraction, apart in [(1, True)] + [(fraction, False) for fraction in FRACTIONS]:
        parts = search.best(fraction * buffer_m, apart)[blocks]
        left = _left_out(parts, place, units, fraction * buffer_m, apart)
        missing = search.missing(left, classes)
        enough = (left == TRAIN).sum() >= LEAST * (parts == TRAIN).sum()
        if enough and not missing[[TRAIN, TEST, VALIDATION] if apart else [TRAIN, TEST]].any():
            break
    names = ["all"] if label is None else sorted(table[label].dropna().unique())
    lost = {
        SPLITS[part]: [str(names[k]) for k in np.flatnonzero(missing[part])]
        for part in (TRAIN, TEST)
        if missing[part].any()
    }
    split, without = (as_column(each, table.index) for each in (left, parts))
    unit = pd.Series(units, table.index, name="unit")
    found = ApartBlocks(split, without, unit, fraction * buffer_m, buffer_m, apart, cut, lost)
    if lost:
        warn(found.said)
    return found


def _units(groups: np.ndarray, blocks: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the group of each sample, large ones cut at the borders of blocks, and how many are cut."""
    large = np.flatnonzero(np.bincount(groups[groups >= 0]) > LARGE * len(groups))
    inside = np.where(np.isin(groups, large), blocks + 1, 0)
    pairs = np.unique(np.stack([groups, inside]), axis=1, return_inverse=True)[1].ravel()
    return np.where(groups < 0, -1, pairs), len(large)


class _Search:
    """Arrangements of blocks into parts, compared on some samples of each class."""

    def __init__(
        self,
        place: np.ndarray,
        classes: np.ndarray,
        units: np.ndarray,
        blocks: np.ndarray,
        widest_m: float,
        shares: np.ndarray,
        seed: int,
    ) -> None:
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(place))
        nth = pd.Series(classes[order]).groupby(classes[order]).cumcount().to_numpy()
        rows = order[(nth < PER_CLASS) & (classes[order] >= 0)]
        self.blocks, self.units, self.classes = blocks[rows], units[rows], classes[rows]
        n_blocks, self.n_classes = blocks.max() + 1, classes.max(initial=-1) + 1
        self.distance = np.empty((n_blocks, len(rows)), np.float32)  # of each block's nearest sample
        for block in range(n_blocks):
            tree = cKDTree(place[blocks == block])
            self.distance[block] = tree.query(place[rows], distance_upper_bound=max(widest_m, 1e-9))[0]
        self.held = np.zeros((n_blocks, units.max(initial=-1) + 2), bool)  # which units are in which block
        self.held[blocks, units] = True
        self.held[:, -1] = False  # of samples without a group
        pairs = np.unique(np.stack([classes, units])[:, (classes >= 0) & (units >= 0)], axis=1)
        n_units = np.bincount(pairs[0], minlength=self.n_classes)
        self.possible = np.array([n_units >= least for least in (0, 3, 2)])  # (part, class)
        self.possible[1:] &= shares[1:OUT, None] > 0
        weight = np.bincount(blocks).astype(float)
        centres = np.stack([np.bincount(blocks, axis) / weight for axis in place.T], axis=1)
        self.arrangements = [_arranged(centres, weight, shares, rng) for _ in range(ARRANGEMENTS)]

    def best(self, buffer_m: float, validation: bool) -> np.ndarray:
        """Return the part of each block in the best arrangement."""
        return max(self.arrangements, key=lambda dealt: self._score(dealt, buffer_m, validation))

    def _score(self, dealt: np.ndarray, buffer_m: float, validation: bool) -> tuple[float, float, float]:
        """Return minus what is missing, and the logarithms of the samples of each part and class in sum."""
        parts = dealt[self.blocks]
        before = (parts == TRAIN).sum()
        for part in (VALIDATION, TRAIN):
            others = (dealt == TEST) | ((dealt == VALIDATION) & (part == TRAIN) & validation)
            if others.any():
                near = self.distance[others].min(axis=0) < buffer_m
                near |= self.held[others].any(axis=0)[self.units]
                parts[near & (parts == part)] = OUT
        counts = self._counts(parts, self.classes)
        missing = (self.possible & (counts == 0)).sum(axis=1)
        few = counts[TRAIN].sum() < LEAST * before
        return -float(missing[[TRAIN, TEST]].sum() + few), -float(missing[VALIDATION]), np.log1p(counts).sum()

    def _counts(self, parts: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Return the samples of each class in train, validation and test, (part, class)."""
        counts = np.zeros((OUT + 1, self.n_classes), int)
        np.add.at(counts, (parts[classes >= 0], classes[classes >= 0]), 1)
        return counts[:OUT]

    def missing(self, parts: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Return which classes are missing from a part in which they could be, bool (part, class)."""
        return self.possible & (self._counts(parts, classes) == 0)


def _arranged(
    centres: np.ndarray, weight: np.ndarray, shares: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return the part of each block: test, then validation blocks gather around a few blocks drawn at random.

    Args:
        centres: Place of each block (B, 2).
        weight: Samples of each block (B,).
        shares: Share of train, validation and test.
        rng: Random numbers.
    """
    dealt = np.full(len(weight), TRAIN)
    for part in (TEST, VALIDATION):
        free = np.flatnonzero(dealt == TRAIN)
        if shares[part] <= 0 or len(free) < 2:
            continue
        around = centres[rng.choice(free, min(int(rng.integers(1, PLACES + 1)), len(free)), replace=False)]
        stretch = np.exp(rng.normal(0, 0.5))  # rectangles, wide or high
        apart = np.abs(centres[free, None] - around) * (stretch, 1 / stretch)
        order = free[np.argsort(apart.max(axis=2).min(axis=1), kind="stable")]
        middles = np.cumsum(weight[order]) - weight[order] / 2
        count = int((middles < shares[part] * weight.sum()).sum())
        dealt[order[: min(max(count, 1), len(free) - 1)]] = part
    return dealt
