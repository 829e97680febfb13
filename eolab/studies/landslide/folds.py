"""Scores of cross-validation: by fold, by kind of split, and pooled."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eolab import evaluation, tasks
from eolab.data.store import Store
from eolab.evaluation import metrics, postprocess
from eolab.studies.landslide import channels
from eolab.studies.landslide.samples import CLASSES, Rows, check_landslides, fold_rows, labels
from eolab.tasks.baselines import fit_baselines

Counted = tuple[float, np.ndarray]  # a threshold, and the confusion matrices (N, 2, 2) of test patches
Scored = dict[str, dict[str, Counted]]  # by model and by "0.5" and "chosen"
Folds = dict[tuple[str, str, int, str], Counted]  # by model, split, fold, and "0.5" or "chosen"
STATISTICS = ("landslide.f1", "macro.f1", "macro.iou")


def each_fold(
    score: Callable[[Rows, Path], Scored],
    table: pd.DataFrame,
    splits: Sequence[str],
    numbers: Sequence[int],
    validation: float,
    seed: int,
    folder: str | Path,
) -> Folds:
    """Score the folds one after the other.

    Args:
        score: Function of the rows of a fold and its folder that returns what :func:`train_fold` does.
        table: Sample table.
        splits: "contiguous", "shuffled" or both.
        numbers: Folds that are scored, from 1.
        validation: Share of the training folds held back for choices.
        seed: Seed of the shuffled folds.
        folder: Where the folders of the folds go.

    Returns:
        By model, split, fold, and "0.5" or "chosen" (on validation patches): the threshold, and the confusion
        matrices (N, 2, 2) of the fold's patches in the order of the sample table.
    """
    found: Folds = {}
    for split, fold in itertools.product(splits, numbers):
        rows = fold_rows(table, split, fold, validation, seed)
        check_landslides(table, rows)
        for name, rules in score(rows, Path(folder) / f"{split}_{fold}").items():
            found |= {(name, split, fold, rule): counted for rule, counted in rules.items()}
    return found


def train_fold(
    model: str,
    store: Store,
    rows: Rows,
    groups: Sequence[str],
    baselines: Sequence[str] = (),
    baseline_options: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    folder: str | Path,
    seed: int = 0,
    **settings: Any,
) -> Scored:
    """Train a network on one fold, fit baselines at the same time, and score the fold's test patches.

    Args:
        model: Name of the network.
        store: Store of the study.
        rows: Rows for "train", "validation" and "test".
        groups: Channel groups that the network reads.
        baselines: Names of baselines.
        baseline_options: Options of :func:`eolab.tasks.baselines.build` by name of the baseline.
        folder: Where the fold's model and probabilities go; a stopped training goes on there.
        seed: Seed of the weights, the sample order and the draws.
        **settings: Further arguments of :func:`eolab.tasks.fit`.

    Returns:
        By predictor and by "0.5" and "chosen" (on the validation patches): the threshold and the confusion
        matrices (N, 2, 2) of the test patches.
    """
    with ThreadPoolExecutor(1) as pool:
        others = pool.submit(
            score_baselines, baselines, store, rows, baseline_options, folder=folder, seed=seed
        )
        read = channels.select(groups, store, rows["train"])
        fitted = tasks.fit(
            "segmentation", model, store, rows, channels=read, folder=folder, seed=seed, **settings
        )
        into = Path(folder) / "probabilities" / model
        found = {
            part: tasks.predict(fitted, store, rows[part], into, part, progress=False)["mask"]
            for part in ("validation", "test")
        }
        return _scored({model: found}, store, rows) | others.result()


def score_baselines(
    names: Sequence[str],
    store: Store,
    rows: Rows,
    baseline_options: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    folder: str | Path,
    seed: int = 0,
) -> Scored:
    """Fit baselines on one fold and score its test patches; arguments and result as of :func:`train_fold`."""
    into = Path(folder) / "probabilities"
    settings: dict[str, Any] = {
        "options": baseline_options,
        "seed": seed,
        "more": channels.baselines_of(store),
    }
    masks = fit_baselines("segmentation", names, store, rows, folder=into, progress=False, **settings)
    return _scored(masks, store, rows)


def _scored(masks: Mapping[str, Mapping[str, np.ndarray]], store: Store, rows: Rows) -> Scored:
    """Count the test patches of each model at 0.5 and at the threshold chosen on validation patches."""
    truth = {part: labels(store, rows[part]) for part in ("validation", "test")}
    found = {}
    for name, mask in masks.items():
        limits = {"0.5": 0.5, "chosen": postprocess.choose_threshold(mask["validation"], truth["validation"])}
        found[name] = {
            rule: (limit, metrics.confusions(truth["test"], postprocess.decide(mask["test"], limit), 2))
            for rule, limit in limits.items()
        }
    return found


def fold_scores(found: Folds, table: pd.DataFrame, **bootstrap: int) -> pd.DataFrame:
    """Return every fold's scores with intervals over blocks.

    Args:
        found: Result of :func:`each_fold`.
        table: Sample table.
        **bootstrap: Options of :func:`eolab.evaluation.score_table`: replicates and seed.

    Returns:
        The columns of :func:`eolab.evaluation.score_table`, and kind (of split), fold, rule ("0.5" or
        "chosen") and threshold (its value).
    """
    parts = []
    for (name, split, fold, rule), (limit, matrix) in found.items():
        scores = _score(name, [matrix], table, split, [fold], **bootstrap)
        parts.append(scores.assign(kind=split, fold=fold, rule=rule, threshold=limit))
    return pd.concat(parts, ignore_index=True)


def describe_spread(scores: pd.DataFrame) -> str:
    """Say how far the scores of folds lie apart, beside the intervals within a fold.

    Args:
        scores: A row a fold and kind (of split) of one model, rule and statistic: value, low, high.
    """
    half = ((scores["high"] - scores["low"]) / 2).mean()
    spread = scores.groupby("kind", sort=False)["value"].std()
    parts = ", ".join(f"{value:.3f} over the {kind} folds" for kind, value in spread.dropna().items())
    within = "" if np.isnan(half) else f"Half of an interval's width is {half:.3f} on average"
    between = f"the standard deviation is {parts}" if parts else "one fold has no spread"
    return f"{within}; {between}." if within else f"{between[0].upper()}{between[1:]}."


def fold_table(scores: pd.DataFrame, model: str) -> pd.DataFrame:
    """Return a row a fold and rule of one model, a column a statistic."""
    rows = evaluation.pick(scores[scores["model"] == model], *STATISTICS)
    titles = [evaluation.title(*pair) for pair in zip(rows["scope"], rows["statistic"], strict=True)]
    keys = ["kind", "fold", "rule", "threshold"]
    wide = rows.assign(title=titles).pivot_table(index=keys, columns="title", values="value", sort=False)
    return wide.reset_index().rename_axis(columns=None)


def fold_summary(found: Folds, table: pd.DataFrame, **bootstrap: int) -> pd.DataFrame:
    """Return mean and spread over folds, and the score of all folds' patches together with its interval.

    Args:
        found: Result of :func:`each_fold`.
        table: Sample table.
        **bootstrap: Options of :func:`eolab.evaluation.score_table`: replicates and seed.

    Returns:
        A row a model, kind (of split), rule and statistic: folds, mean, std (ddof 1), pooled, low, high,
        groups (blocks that the interval is over).
    """
    parts = []
    for name, split, rule in dict.fromkeys((n, k, r) for n, k, _, r in found):
        own = {f: matrix for (n, k, f, r), (_, matrix) in found.items() if (n, k, r) == (name, split, rule)}
        pooled = _score(name, list(own.values()), table, split, list(own), statistics=STATISTICS, **bootstrap)
        each = pd.DataFrame([metrics.values_of(m.sum(0), STATISTICS, CLASSES) for m in own.values()])
        mean, std = each.mean().to_numpy(), each.std().to_numpy()
        about = pooled.assign(kind=split, rule=rule, folds=len(each), mean=mean, std=std)
        parts.append(about.rename(columns={"value": "pooled", "n_groups": "groups"}))
    keys = ["model", "kind", "rule", "scope", "statistic"]
    columns = [*keys, "folds", "mean", "std", "pooled", "low", "high", "groups"]
    return pd.concat(parts, ignore_index=True)[columns]


def fold_gains(found: Folds, table: pd.DataFrame, model: str, **options: Any) -> pd.DataFrame:
    """Return what a model gains over each other one on all folds' patches together, drawn in pairs.

    Args:
        found: Result of :func:`each_fold`.
        table: Sample table.
        model: Name of the model that gains.
        **options: Options of :func:`eolab.evaluation.paired_gains`: baselines, replicates and seed.

    Returns:
        The columns of :func:`eolab.evaluation.paired_gains` and kind (of split), for landslide F1 with the
        thresholds chosen on validation patches.
    """
    parts = []
    for split in dict.fromkeys(split for _, split, _, _ in found):
        own = {(n, f): matrix for (n, k, f, r), (_, matrix) in found.items() if (k, r) == (split, "chosen")}
        folds = list(dict.fromkeys(fold for _, fold in own))
        names = dict.fromkeys(name for name, _ in own)
        counted = {name: np.concatenate([own[name, fold] for fold in folds]) for name in names}
        gains = evaluation.paired_gains(
            counted,
            model=model,
            statistics=STATISTICS[:1],
            class_names=CLASSES,
            groups=_blocks(table, split, folds),
            **options,
        )
        parts.append(gains.assign(kind=split))
    return pd.concat(parts, ignore_index=True)


def _blocks(table: pd.DataFrame, split: str, folds: Sequence[int]) -> np.ndarray:
    """Return the block of each patch of some folds, fold after fold."""
    return np.concatenate([table.loc[table[f"fold_{split}"] == fold, "block"].to_numpy() for fold in folds])


def _score(
    name: str,
    matrices: Sequence[np.ndarray],
    table: pd.DataFrame,
    split: str,
    folds: Sequence[int],
    **options: Any,
) -> pd.DataFrame:
    """Score a model on the patches of some folds together, with intervals over their blocks."""
    own = {name: np.concatenate(matrices)}
    return evaluation.score_table(own, class_names=CLASSES, groups=_blocks(table, split, folds), **options)
