"""Which patches to show, what a whole patch scores, and the rows that a training run has used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from eolab import evaluation
from eolab.data.layouts import landslide4sense as reader
from eolab.data.store import Store
from eolab.evaluation import postprocess
from eolab.studies.landslide.samples import CLASSES, Rows, fold_rows, stored_images
from eolab.tasks import Channels

DETECTION = tuple(
    f"landslide.{name}"
    for name in ("precision", "recall", "f1", "average_precision", "roc_auc", "support", "threshold")
)


def rows_of(params: Mapping[str, Any], store: Store) -> Rows:
    """Return the rows that a run of ``03_train_segmentation`` used, from its parameters and its store."""
    return fold_rows(
        store.table, params["split"], params["fold"], store.metadata["validation"], params["seed"]
    )


def split_column(table: pd.DataFrame, kind: str, fold: int, validation: float, seed: int) -> pd.Series:
    """Return "train", "validation", "test" or "none" of each row of the sample table."""
    column = np.full(len(table), "none", object)
    for name, rows in fold_rows(table, kind, fold, validation, seed).items():
        column[rows] = name
    return pd.Series(column, index=table.index, name="split")


def example_patches(truth: np.ndarray, count: int = 5) -> np.ndarray:
    """Return positions of patches to show: from the largest landslide area to the smallest, then one without.

    Args:
        truth: (N, H, W) masks.
        count: Number of patches.
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


def patch_score(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return a score (N,) of "has a landslide": the patch head's, else the highest probability of a pixel."""
    if "patch" in outputs:
        return np.asarray(outputs["patch"], np.float32)
    return np.asarray(outputs["mask"]).max((1, 2)).astype(np.float32)


def detect_patches(
    scores: Mapping[str, Mapping[str, np.ndarray]], has_landslide: Mapping[str, np.ndarray], **options: Any
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Score the detection of test patches at the threshold with the best F1 on validation patches.

    The thresholds tried lie between the validation scores: the highest of many pixels is nearly 1 in every
    patch, and thresholds in hundredths would not separate them.

    Args:
        scores: By model, the scores of the patches (N,) of "validation" and "test".
        has_landslide: Whether each patch (N,) of "validation" and "test" has a landslide.
        **options: Options of :func:`eolab.evaluation.score_table`: groups, baselines, replicates and seed.

    Returns:
        The score table, and the threshold of each model.
    """
    truth = {part: has.astype(np.uint8) for part, has in has_landslide.items()}
    limits = {
        name: postprocess.choose_threshold(one["validation"], truth["validation"], thresholds="midpoints")
        for name, one in scores.items()
    }
    test = {name: one["test"] for name, one in scores.items()}
    given: dict[str, Any] = {"class_names": CLASSES, "thresholds": limits, "statistics": DETECTION}
    return evaluation.score_table(test, truth["test"], **given, **options), limits


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
