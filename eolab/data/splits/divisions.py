"""Divisions of samples of regions on dates: known regions on new dates, or new regions.

Both kinds can test the same samples, so that the difference of two scores is what the split alone makes; see
:mod:`eolab.evaluation.divided`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from eolab.core.errors import ParameterError, check_all, check_known
from eolab.data import splits

KINDS = ("date", "region")
Rows = dict[str, np.ndarray]


class Division(NamedTuple):
    """The samples of one training.

    Attributes:
        kind: "date" or "region".
        name: Name of the training, of a folder too.
        rows: Rows of the store for "train", "validation" and "test".
    """

    kind: str
    name: str
    rows: Rows

    def as_column(self, table: pd.DataFrame) -> np.ndarray:
        """Return the part of each sample of the table, "none" where it is in none."""
        column = np.full(len(table), "none", object)
        for part, rows in self.rows.items():
            column[rows] = part
        return column


def by_last_dates(table: pd.DataFrame, validation: float = 0.1, test: float = 0.1) -> pd.Series:
    """Split by date within each region: its last dates are the test, those before them validation.

    Every region that is tested is in every part: a score tells how well known regions are answered on new
    dates. Regions of one or two dates are trained on alone.

    Args:
        table: The samples, with the columns ``region`` and ``date``.
        validation: Share of each region's dates, at least one where a region has three or more.
        test: Share of each region's dates, likewise; one is left for training.
    """
    split = pd.Series("train", index=table.index)
    for _, dates in table.groupby("region")["date"]:
        known = np.unique(dates)
        if len(known) < 3:
            continue
        n_test = min(max(1, round(test * len(known))), len(known) - 2)
        n_validation = min(max(1, round(validation * len(known))), len(known) - n_test - 1)
        split[dates.index[dates >= known[-n_test - n_validation]]] = "validation"
        split[dates.index[dates >= known[-n_test]]] = "test"
    return split


def divide(
    table: pd.DataFrame,
    kinds: Sequence[str] = KINDS,
    n_folds: int = 5,
    validation: float = 0.1,
    test: float = 0.1,
    held_out: Sequence[str] = (),
    held_out_validation: Sequence[str] = (),
    fraction: float = 1.0,
    train_only: str = "",
    seed: int = 0,
) -> list[Division]:
    """Return the trainings: one for the split by date, one for each fold of regions.

    Args:
        table: Sample table of the store, with the columns ``region`` and ``date``.
        kinds: "date", "region" or both.
        n_folds: Folds of regions, each the test once; 0 for as many as there are regions.
        validation: Share for validation: of each region's dates, or of the regions that are not tested.
        test: Share of each region's dates that is tested.
        held_out: Names of the regions that are tested in place of folds.
        held_out_validation: Names of other regions, for validation then; drawn where empty.
        fraction: Share of the training samples that is used, drawn at random; of those that are never tested
            likewise, so that with and without these the others are the same.
        train_only: Column that is true for samples that are trained on and never tested; empty for none.
        seed: Seed of folds and draws.

    Raises:
        ParameterError: If a kind or a region is unknown, there are too few regions, shares leave nothing to
            train on, or regions for validation are tested too, or named without any for the test.
    """
    if "date" in kinds and not validation + test < 1:
        raise ParameterError(
            f"validation is {validation:g} and test {test:g}: take shares that together leave something for "
            "training."
        )
    if held_out_validation and (not held_out or {*map(str, held_out)} & {*map(str, held_out_validation)}):
        raise ParameterError(
            f"held_out is {list(held_out)} and held_out_validation {list(held_out_validation)}: name other "
            "regions for validation than for the test, or none."
        )
    never = table[train_only].to_numpy(bool) if train_only else np.zeros(len(table), bool)
    own, extra = table[~never], table.index[never].to_numpy(copy=True)
    found = []
    for kind in dict.fromkeys(kinds):
        check_known(kind, KINDS, f"There is no split by {kind!r}")
        if kind == "date":
            found.append(Division(kind, kind, _rows(by_last_dates(own, validation, test))))
            continue
        named = [_named(own, names) for names in (held_out, held_out_validation)]
        folds = [tuple(named)] if held_out else _folds(own, n_folds, seed)
        for number, (tested, judged) in enumerate(folds, start=1):
            split = pd.Series("train", own.index)
            rest = own[~own["region"].isin(tested)]
            if rest["region"].nunique() < 2:
                raise ParameterError(
                    f"Of {own['region'].nunique()} regions {len(tested)} are tested at once, and two or more "
                    "are needed for training and validation: take fewer, or more folds."
                )
            drawn = _drawn(rest, validation, seed + number) if not judged else rest["region"].isin(judged)
            split[rest.index[drawn]] = "validation"
            split[own.index[own["region"].isin(tested)]] = "test"
            found.append(Division(kind, f"{kind}_{number}", _rows(split)))
    for one in found:
        kept = [_part(rows, fraction, seed) for rows in (one.rows["train"], extra)]
        one.rows["train"] = np.sort(np.concatenate(kept))
        empty = [part for part in ("train", "validation", "test") if not len(one.rows[part])]
        if empty:
            raise ParameterError(
                f"The split by {one.kind} leaves no sample for {empty[0]}: it needs three dates of a region, "
                "or three regions; take more, smaller shares, or another split."
            )
    return found


def _part(rows: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Return a share of some rows, drawn at random, at least one where there are any."""
    return np.random.default_rng(seed).permutation(rows)[: max(1, round(fraction * len(rows)))]


def _rows(split: pd.Series) -> Rows:
    """Return the rows of each part."""
    return {part: split.index[split == part].to_numpy() for part in ("train", "validation", "test")}


def _folds(table: pd.DataFrame, n_folds: int, seed: int) -> list[tuple[list[str], ...]]:
    """Return the regions of each fold."""
    regions = table["region"].unique()
    if not n_folds:
        return [([region], []) for region in regions]
    label = "label" if "label" in table else None
    fold = splits.k_fold(table, n_folds, group="region", label=label, seed=seed)
    return [(table["region"][fold == number].unique().tolist(), []) for number in range(n_folds)]


def _named(table: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """Return the names of regions, checked."""
    check_all([str(name) for name in names], sorted(set(table["region"])), "There is no region")
    return [str(name) for name in names]


def _drawn(rest: pd.DataFrame, share: float, seed: int) -> np.ndarray:
    """Return which samples are of the regions drawn for validation, at least one region."""
    share = max(share, 1 / rest["region"].nunique())
    for label in ["label"] * ("label" in rest) + [None]:  # without, where each class is in few regions
        split = splits.by_group(rest, "region", validation=share, test=0.0, label=label, seed=seed)
        if (split == "validation").any():
            break
    return (split == "validation").to_numpy()
