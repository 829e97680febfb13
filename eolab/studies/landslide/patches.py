"""Which patches to show, what a whole patch scores, and the rows that a training run has used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from eolab import evaluation
from eolab.data.layouts import landslide4sense as reader
from eolab.data.store import Store
from eolab.evaluation import metrics, postprocess
from eolab.studies.landslide.samples import Rows, fold_rows, stored_images
from eolab.tasks import Channels


def rows_of(params: Mapping[str, Any], table: pd.DataFrame) -> Rows:
    """Return the rows that a run of ``03_train`` used, from its parameters."""
    return fold_rows(table, params["folds"], params["fold"], params["validation"], params["seed"])


def split_column(table: pd.DataFrame, kind: str, fold: int, validation: float, seed: int) -> pd.Series:
    """Return "train", "validation", "test" or "none" of each row of the sample table."""
    column = np.full(len(table), "none", object)
    for name, rows in fold_rows(table, kind, fold, validation, seed).items():
        column[rows] = name
    return pd.Series(column, index=table.index, name="split")


def telling_patches(truth: np.ndarray, count: int = 5) -> np.ndarray:
    """Return positions of patches to show: from the largest landslide area to the smallest, then one without.

    Args:
        truth: (N, H, W) masks.
        count: How many.
    """
    pixels = (truth == 1).sum((1, 2))
    order = np.argsort(-pixels, kind="stable")
    positive, negative = order[pixels[order] > 0], order[pixels[order] == 0]
    wanted = min(len(positive), max(1, count - (len(negative) > 0)))
    spread = np.linspace(0, max(len(positive) * 0.9 - 1, 0), wanted).round().astype(int)
    return np.concatenate([positive[spread], negative[: count - wanted]]).astype(int)


def spread_rows(rows: np.ndarray, count: int) -> np.ndarray:
    """Return so many of some rows, evenly spread, all where there are fewer."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int))]


def augmented(
    store: Store, rows: np.ndarray, augment: Callable[..., Any] | None, batch_size: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return bands (2 n, H, W, 14) and masks (2 n, H, W) of a batch: as stored, then as augmented."""
    chosen = spread_rows(rows, batch_size)
    data = store.gather(chosen, ["image", "label"])
    image, label = data["image"][..., :14], data["label"]
    if augment is None:
        return image, label
    changed, mask = augment({"image": image}, label, np.random.default_rng(seed))
    return np.concatenate([image, changed["image"]]), np.concatenate([label, mask])


def scores_at(
    probability: Mapping[str, np.ndarray],
    truth: np.ndarray,
    thresholds: Mapping[str, float],
    groups: np.ndarray | None = None,
    **options: Any,
) -> pd.DataFrame:
    """Score masks of several models, each at its own threshold.

    Args:
        probability: (N, H, W) by model.
        truth: (N, H, W).
        thresholds: By model.
        groups: Group of each patch for the bootstrap.
        **options: Of :func:`eolab.evaluation.mask_scores`, whose result this returns.
    """
    matrices = {
        name: metrics.confusions(truth, postprocess.decide(values, thresholds[name]), 2)
        for name, values in probability.items()
    }
    return evaluation.mask_scores(matrices, groups, **options)


def paired_gains(
    probability: Mapping[str, np.ndarray],
    truth: np.ndarray,
    thresholds: Mapping[str, float],
    model: str,
    groups: np.ndarray,
    replicates: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return what a model gains over each of the others on the same patches, drawn together.

    Args:
        probability: (N, H, W) by model.
        truth: (N, H, W).
        thresholds: By model.
        model: Which gains.
        groups: Group of each patch, drawn as a whole.
        replicates: Bootstrap replicates.
        seed: Of the draws.

    Returns:
        A row another model: name, gain (of landslide F1, pooled over pixels), low, high (95 %), groups.
    """
    matrices = {
        name: metrics.confusions(truth, postprocess.decide(values, thresholds[name]), 2)
        for name, values in probability.items()
    }
    rows = [
        (
            name,
            *metrics.compare_matrices(matrix, matrices[model], "f1", groups, replicates, seed, class_index=1),
            len(np.unique(groups)),
        )
        for name, matrix in matrices.items()
        if name != model
    ]
    return pd.DataFrame(rows, columns=["name", "gain", "low", "high", "groups"])


def patch_score(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return a score (N,) of "has a landslide": the patch head's, else the highest probability of a pixel."""
    if "patch" in outputs:
        return np.asarray(outputs["patch"], np.float32)
    return np.asarray(outputs["mask"]).max((1, 2)).astype(np.float32)


def detect_patches(
    score: Mapping[str, np.ndarray], has_landslide: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """Score the detection of test patches at the threshold with the best F1 on validation patches.

    The thresholds tried lie between the validation scores: the highest of many pixels is nearly 1 in every
    patch, and hundredths would tell none apart.

    Args:
        score: Of the patches (N,) of "validation" and "test".
        has_landslide: Whether they have one, likewise.

    Returns:
        As :func:`eolab.evaluation.patch_detection`, and ``threshold``.
    """
    truth = has_landslide["validation"].astype(np.uint8)
    limits = _between(score["validation"])
    limit = postprocess.choose_threshold(score["validation"], truth, thresholds=limits.tolist())
    found = evaluation.patch_detection(has_landslide["test"], score["test"], limit)
    return found | {"threshold": limit}


def _between(values: np.ndarray) -> np.ndarray:
    """Return one threshold for each way to cut some values in two, and the lowest value."""
    values = np.unique(np.asarray(values, np.float64))
    return np.concatenate([values[:1], (values[1:] + values[:-1]) / 2])


def detection_table(detection: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """Return a row a model of :func:`eolab.evaluation.patch_detection`."""
    return pd.DataFrame(detection).T.rename_axis("name").reset_index()


def demo_predict(
    predictor: Callable[[Mapping[str, np.ndarray]], np.ndarray],
    chosen: Channels,
    normalise: reader.Normalise = "none",
) -> Callable[[np.ndarray], np.ndarray]:
    """Return ``predict(image (H, W, 14)) -> probability (H, W)`` for one patch as published.

    `normalise` is that of the store which the network was trained on.
    """

    def predict(image: np.ndarray) -> np.ndarray:
        stored = stored_images(np.asarray(image, np.float32)[None], normalise)  # (1, H, W, 26)
        return predictor({"image": chosen.assemble(stored)})[0, ..., 1]

    return predict
