"""What Le et al. (2023) published: which averages their scores are, and their counts of weights."""

from collections.abc import Mapping

import pandas as pd

from eolab import evaluation

F1, IOU = "published F1", "published mIoU"  # columns of the published numbers in study.yaml

# Millions of weights, 23 channels
PARAMETERS = {
    "unet": 31.4,
    "unet_cbam": 31.9,
    "unet_se": 31.6,
    "unet_multi_attention": 31.8,
    "unet_residual": 24.4,
    "rau_net_1": 24.8,
    "rau_net_2": 24.8,
    "vnet": 2.6,
    "squeeze_unet": 2.6,
    "mobilenetv3": 2.6,
    "deeplabv3_small": 2.6,
    "unet_residual_small": 2.6,
    "rau_net_small": 2.6,
}
LEADERS = {  # landslide F1 on the challenge's test patches, as Le et al. list them
    "Dense U-net": 0.73648522342449,
    "Rahul Siripurapu": 0.63255471755272,
    "CDUT_D": 0.63152339450232,
    "spppe1211": 0.62039377381962,
    "virylon": 0.61970553956848,
    "abc": 0.61518270757736,
}
OFFICIAL_BASELINE = 0.5782  # U-Net of the data set's authors on the validation patches


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
            rows.append(
                {
                    "table": table,
                    "row": ", ".join(str(line[column]) for column in settings),
                    F1: macro,
                    IOU: miou,
                    "IoU if one class": macro / (2 - macro),
                    "landslide F1": landslide,
                    "background F1": 2 * macro - landslide,
                }
            )
    return pd.DataFrame(rows)


def leaderboard(found: pd.DataFrame) -> pd.DataFrame:
    """Return the challenge's leaders and the best scores of Le et al. on the same scale.

    Args:
        found: Result of :func:`arithmetic`.

    Returns:
        entry, landslide F1, patches; sorted, the best first.
    """
    rows = [(name, score, "test patches of the challenge") for name, score in LEADERS.items()]
    rows.append(("U-Net of the data set's authors", OFFICIAL_BASELINE, "validation patches of the challenge"))
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
    table["millions"], table["published"] = table.pop("weights") / 1e6, table["model"].map(PARAMETERS)
    return table.assign(ratio=table["millions"] / table["published"]).round(3)
