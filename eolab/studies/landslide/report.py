"""What Le et al. (2023) published: which averages their scores are, and their counts of weights."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from eolab import evaluation
from eolab.core import yamls

F1, IOU = "published F1", "published mIoU"  # columns of the published numbers in study.yaml

PUBLISHED = yamls.read(Path(__file__).with_name("published.yaml"))
"""Facts of the data, weights of networks, and scores of the challenge, as published."""


def arithmetic(published: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the F1 of each class that the published scores imply, if they are means over two classes.

    Args:
        published: Published lines by name of the sweep, with the columns "published F1" and "published mIoU".

    Returns:
        A row a line: table, row (its settings), the published scores, IoU of one class with that F1, and F1
        of landslide and background; NaN where no pair of classes gives both numbers.
    """
    rows = []
    for table, lines in published.items():
        if not {F1, IOU} <= set(lines):
            continue
        settings = [str(column) for column in lines if not str(column).startswith("published")]
        for _, line in lines.dropna(subset=[F1, IOU]).iterrows():
            macro, miou = float(line[F1]), float(line[IOU])
            landslide = evaluation.implied_f1(macro, miou)
            name = ", ".join(str(line[column]) for column in settings)
            row = {"table": table, "row": name, F1: macro, IOU: miou, "IoU if one class": macro / (2 - macro)}
            rows.append(row | {"landslide F1": landslide, "background F1": 2 * macro - landslide})
    return pd.DataFrame(rows)


def leaderboard(found: pd.DataFrame) -> pd.DataFrame:
    """Return the challenge's leaders and the best scores of Le et al. on the same scale.

    Args:
        found: Result of :func:`arithmetic`.

    Returns:
        entry, landslide F1, patches; sorted, the best first.
    """
    rows = [(name, score, "test patches of the challenge") for name, score in PUBLISHED["leaders"].items()]
    baseline, scored = PUBLISHED["official_baseline"], "validation patches of the challenge"
    rows.append(("U-Net of the data set's authors", baseline, scored))
    best = found[found["table"] == "postprocess"].sort_values(F1).tail(1)
    folds = found[found["table"] == "folds"].sort_values(F1)
    for name, lines in (("fold 1", best), ("best fold", folds.tail(1))):
        scored = f"{name} of the training patches"
        rows += [("Le et al. (2023), as implied", float(value), scored) for value in lines["landslide F1"]]
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
        A row a fold: our macro F1 and mean IoU at 0.5, then the published columns.
    """
    ours = scores[(scores["model"] == model) & (scores["kind"] == "contiguous") & (scores["rule"] == "0.5")]
    ours = ours[ours["scope"] == "macro"].pivot_table(index="fold", columns="statistic", values="value")
    wide = ours[["f1", "iou"]].set_axis(["macro F1", "macro IoU"], axis=1).reset_index()
    columns = ["fold", *(c for c in published if str(c).startswith("published"))]
    return wide.merge(published[columns].drop_duplicates("fold"), on="fold", how="outer")


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
