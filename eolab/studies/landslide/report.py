"""What Le et al. (2023) published: which averages their scores are, and their counts of weights."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from eolab import evaluation
from eolab.core import yamls

ROUNDING = 2e-4  # published scores have four digits
F1, IOU = "published F1", "published mIoU"  # columns of the published numbers in study.yaml

PUBLISHED = yamls.read(Path(__file__).with_name("published.yaml"))
"""Facts of the data, weights of networks, and scores of the challenge, as published."""


def arithmetic(published: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return which averages the published scores can be.

    The IoU of one class with all pixels pooled is F1 / (2 − F1). This is convex, and below F1 in each image:
    averaged over images, the mean IoU lies between that of the mean F1 and the mean F1 itself. Means over two
    classes together give the F1 of each.

    Args:
        published: Published lines by name of the sweep, with the columns "published F1" and "published mIoU".

    Returns:
        A row a line: table, row (its settings), the published scores; IoU of one class with that F1; F1 of
        landslide and background if both scores are means over classes, NaN where no pair of classes gives
        both; and whether they can be those of the landslide class pooled, and averaged over images.
    """
    rows = []
    for table, lines in published.items():
        if not {F1, IOU} <= set(lines):
            continue
        settings = [str(column) for column in lines if not str(column).startswith("published")]
        for _, line in lines.dropna(subset=[F1, IOU]).iterrows():
            f1, iou = float(line[F1]), float(line[IOU])
            landslide, pooled = evaluation.implied_f1(f1, iou), f1 / (2 - f1)
            name = ", ".join(str(line[column]) for column in settings)
            row = {"table": table, "row": name, F1: f1, IOU: iou, "IoU if one class": pooled}
            row |= {"landslide F1": landslide, "background F1": 2 * f1 - landslide}
            row |= {"pooled landslide": abs(iou - pooled) < ROUNDING, "images averaged": pooled <= iou <= f1}
            rows.append(row)
    return pd.DataFrame(rows)


def counts(found: pd.DataFrame) -> tuple[int, int, int, int]:
    """Return how many lines of :func:`arithmetic` there are, and how many each reading fits.

    Returns:
        All lines; those that can be the pooled landslide class, means over two classes, and the landslide
        class averaged over images.
    """
    fits = (found["pooled landslide"], found["landslide F1"].notna(), found["images averaged"])
    return (len(found), *(int(one.sum()) for one in fits))  # type: ignore[return-value]


def leaderboard(found: pd.DataFrame, ours: Iterable[tuple[Mapping[str, Any], Any]] = ()) -> pd.DataFrame:
    """Return the challenge's leaders, our runs on its test patches, and what Le et al. would be beside them.

    Args:
        found: Result of :func:`arithmetic`.
        ours: Parameters and metrics of our training runs; those with ``split`` "official" are taken.

    Returns:
        entry, landslide F1 (pooled over pixels), scored on; sorted, the best first.
    """
    rows = [(name, score, "test patches of the challenge") for name, score in PUBLISHED["leaders"].items()]
    baseline, scored = PUBLISHED["official_baseline"], "validation patches of the challenge"
    rows.append(("U-Net of the data set's authors", baseline, scored))
    for params, metrics in ours:
        if params["split"] == "official":
            score = metrics["test"]["chosen"]["landslide"]["f1"]
            rows.append((f"ours: {params['model']}", score, "test patches of the data set"))
    best = found[found["table"] == "postprocess"].sort_values(F1).tail(1)
    folds = found[found["table"] == "folds"].sort_values(F1)
    for name, lines in (("fold 1", best), ("best fold", folds.tail(1))):
        scored = f"{name} of the training patches"
        entry = "Le et al. (2023), if means over two classes"
        rows += [(entry, float(value), scored) for value in lines["landslide F1"]]
    table = pd.DataFrame(rows, columns=["entry", "landslide F1", "scored on"])
    return table.sort_values("landslide F1", ascending=False, ignore_index=True)


def published_folds(scores: pd.DataFrame, model: str, published: pd.DataFrame) -> pd.DataFrame:
    """Return our contiguous folds and the published ones.

    Args:
        scores: Result of :func:`eolab.studies.landslide.folds.fold_scores`.
        model: Whose scores.
        published: Published lines with ``fold``, "published F1" and "published mIoU" at 0.5, and where
            known the same at the published threshold.

    Returns:
        A row a fold: our macro F1 and mean IoU, pooled over pixels, at 0.5 and at the threshold chosen on
        validation patches ("own threshold"), then the published columns.
    """
    ours = scores[
        (scores["model"] == model) & (scores["kind"] == "contiguous") & (scores["scope"] == "macro")
    ]
    wide = ours.pivot_table(index="fold", columns=["rule", "statistic"], values="value")
    columns = {
        f"macro {title}{at}": wide[rule, statistic]
        for rule, at in (("0.5", ""), ("chosen", " at own threshold"))
        for statistic, title in (("f1", "F1"), ("iou", "IoU"))
        if (rule, statistic) in wide
    }
    kept = ["fold", *(c for c in published if str(c).startswith("published"))]
    table = pd.DataFrame(columns, index=wide.index).reset_index()
    return table.merge(published[kept].drop_duplicates("fold"), on="fold", how="outer")


def published_summary(folds: pd.DataFrame) -> pd.DataFrame:
    """Return mean and standard deviation over folds of what :func:`published_folds` has side by side.

    Returns:
        score, folds, mean, std (divided by the number of folds, as the published 0.8408 ± 0.0584).
    """
    scores = folds.drop(columns=["fold", "published own threshold"], errors="ignore")
    rows = [(name, int(one.count()), one.mean(), one.std(ddof=0)) for name, one in scores.items()]
    return pd.DataFrame(rows, columns=["score", "folds", "mean", "std"])


def parameter_counts(size: int = 128, bands: int = 23) -> pd.DataFrame:
    """Count the weights of every published network, with three resolutions and two classes.

    Args:
        size: Side of a patch in pixels.
        bands: Channels.

    Returns:
        model, title, millions of weights, the published ones, and the ratio.
    """
    from eolab import models

    table = models.describe("images", "multi", channels=bands, outputs=2, height=size, width=size)
    table = table.rename_axis("model").reset_index()[["model", "title", "weights"]]
    table["millions"] = table.pop("weights") / 1e6
    table["published"] = table["model"].map(PUBLISHED["parameters"])
    return table.assign(ratio=table["millions"] / table["published"]).round(3)
