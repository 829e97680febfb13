"""Scores of cross-validation: by fold, by kind of folds, and pooled."""

from __future__ import annotations

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
from eolab.studies.landslide.baselines import BASELINES
from eolab.studies.landslide.samples import CLASSES, Rows, fold_rows, labels
from eolab.tasks.baselines import fit_baselines

Key = tuple[str, str, int, str]  # model, kind of folds, fold, threshold ("0.5" or "chosen")
Scored = dict[str, dict[str, tuple[float, np.ndarray]]]  # by model and by "0.5" and "chosen"
STATISTICS = ("landslide.f1", "macro.f1", "macro.iou")


def each_fold(
    score: Callable[[Rows, Path], Scored],
    table: pd.DataFrame,
    kinds: Sequence[str],
    numbers: Sequence[int],
    validation: float,
    seed: int,
    folder: str | Path,
) -> tuple[dict[Key, np.ndarray], dict[tuple[str, str, int], float]]:
    """Score the folds one after the other.

    Args:
        score: Function of the rows of a fold and its folder that returns what :func:`train_fold` does.
        table: Sample table.
        kinds: "contiguous", "shuffled" or both.
        numbers: Folds that are scored, from 1.
        validation: Share of the training folds held back for choices.
        seed: Seed of the shuffled folds.
        folder: Where the folders of the folds go.

    Returns:
        The confusion matrices (N, 2, 2) of each model, kind, fold and threshold; and the threshold chosen on
        validation patches by model, kind and fold.
    """
    matrices: dict[Key, np.ndarray] = {}
    chosen: dict[tuple[str, str, int], float] = {}
    for kind, fold in itertools.product(kinds, numbers):
        rows = fold_rows(table, kind, fold, validation, seed)
        for name, rules in score(rows, Path(folder) / f"{kind}_{fold}").items():
            chosen[name, kind, fold] = rules["chosen"][0]
            matrices |= {(name, kind, fold, rule): matrix for rule, (_, matrix) in rules.items()}
    return matrices, chosen


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
    settings: dict[str, Any] = {
        "options": baseline_options,
        "seed": seed,
        "more": BASELINES,
        "progress": False,
    }
    into = Path(folder) / "probabilities"
    return _scored(fit_baselines("segmentation", names, store, rows, folder=into, **settings), store, rows)


def _scored(masks: Mapping[str, Mapping[str, np.ndarray]], store: Store, rows: Rows) -> Scored:
    truth = {part: labels(store, rows[part]) for part in ("validation", "test")}
    found = {}
    for name, mask in masks.items():
        limits = {"0.5": 0.5, "chosen": postprocess.choose_threshold(mask["validation"], truth["validation"])}
        found[name] = {
            rule: (limit, metrics.confusions(truth["test"], postprocess.decide(mask["test"], limit), 2))
            for rule, limit in limits.items()
        }
    return found


def fold_scores(
    matrices: Mapping[Key, np.ndarray],
    table: pd.DataFrame,
    chosen: Mapping[tuple[str, str, int], float],
    replicates: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return every fold's scores with intervals over blocks.

    Args:
        matrices: Confusion matrices (N, 2, 2) of the fold's patches, in the order of the sample table.
        table: Sample table.
        chosen: Threshold chosen on validation patches by model, kind and fold.
        replicates: Bootstrap replicates.
        seed: Seed of the bootstrap.

    Returns:
        As :func:`eolab.evaluation.score_table`, and the columns kind, fold, rule ("0.5" or "chosen") and
        threshold (its value).
    """
    parts = []
    for (name, kind, fold, rule), matrix in matrices.items():
        blocks = table.loc[table[f"fold_{kind}"] == fold, "block"].to_numpy()
        scores = _score({name: matrix}, blocks, replicates, seed)
        limit = chosen[name, kind, fold] if rule == "chosen" else 0.5
        parts.append(scores.assign(kind=kind, fold=fold, rule=rule, threshold=limit))
    return pd.concat(parts, ignore_index=True)


def fold_table(scores: pd.DataFrame, model: str) -> pd.DataFrame:
    """Return a row a fold and rule of one model, a column a statistic."""
    rows = evaluation.pick(scores[scores["model"] == model], *STATISTICS)
    titles = [evaluation.title(*pair) for pair in zip(rows["scope"], rows["statistic"], strict=True)]
    keys = ["kind", "fold", "rule", "threshold"]
    wide = rows.assign(title=titles).pivot_table(index=keys, columns="title", values="value", sort=False)
    return wide.reset_index().rename_axis(columns=None)


def fold_summary(
    matrices: Mapping[Key, np.ndarray], table: pd.DataFrame, replicates: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Return mean and spread over folds, and the score of all folds' patches together with its interval.

    Returns:
        A row a model, kind, rule and statistic: folds, mean, std (ddof 1), pooled, low, high.
    """
    parts = []
    for name, kind, rule in dict.fromkeys((n, k, r) for n, k, _, r in matrices):
        found = {f: m for (n, k, f, r), m in matrices.items() if (n, k, r) == (name, kind, rule)}
        column = table[f"fold_{kind}"]
        blocks = np.concatenate([table.loc[column == fold, "block"].to_numpy() for fold in found])
        pooled = _score({name: np.concatenate(list(found.values()))}, blocks, replicates, seed, STATISTICS)
        each = pd.DataFrame([metrics.values_of(m.sum(0), STATISTICS, CLASSES) for m in found.values()])
        mean, std = each.mean().to_numpy(), each.std().to_numpy()
        about = pooled.assign(kind=kind, rule=rule, folds=len(each), mean=mean, std=std)
        parts.append(about.rename(columns={"value": "pooled"}))
    keys = ["model", "kind", "rule", "scope", "statistic"]
    columns = [*keys, "folds", "mean", "std", "pooled", "low", "high"]
    return pd.concat(parts, ignore_index=True)[columns]


def _score(
    matrices: Mapping[str, np.ndarray],
    blocks: np.ndarray,
    replicates: int,
    seed: int,
    statistics: Sequence[str] = (),
) -> pd.DataFrame:
    return evaluation.score_table(
        matrices,
        class_names=CLASSES,
        groups=blocks,
        statistics=statistics,
        replicates=replicates,
        seed=seed,
    )
