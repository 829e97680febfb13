"""Scores of masks, of patches and by size against scikit-learn, loops and worked examples."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as reference

from eolab import evaluation
from eolab.core.errors import DataError, ParameterError
from eolab.evaluation import metrics
from eolab.evaluation.metrics import counting

N, SIDE = 40, 10


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    """A third of the patches have no landslide; some pixels are not known."""
    rng = np.random.default_rng(0)
    truth = (rng.random((N, SIDE, SIDE)) < 0.08).astype(np.uint8)
    truth[::3] = 0
    truth[rng.random(truth.shape) < 0.05] = 255
    return truth


@pytest.fixture(scope="module")
def predictions(truth) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    net = np.where(rng.random(truth.shape) < 0.7, truth == 1, rng.random(truth.shape) < 0.05)
    return {"net": net, "majority": np.zeros(truth.shape, bool)}


@pytest.fixture(scope="module")
def matrices(truth, predictions) -> dict[str, np.ndarray]:
    return {name: metrics.confusions(truth, mask, 2) for name, mask in predictions.items()}


# === Masks ===


def test_mask_scores_are_those_of_scikit_learn_over_all_pixels(truth, predictions, matrices):
    table = evaluation.mask_scores(matrices, replicates=20)
    found = table[table["name"] == "net"].set_index("statistic")["estimate"]
    known = truth != 255
    true, predicted = truth[known], predictions["net"][known]
    both = {"labels": [0, 1], "average": "macro"}
    assert found[:6].to_dict() == pytest.approx(
        {
            "landslide_f1": reference.f1_score(true, predicted),
            "landslide_iou": reference.jaccard_score(true, predicted),
            "precision": reference.precision_score(true, predicted),
            "recall": reference.recall_score(true, predicted),
            "macro_f1": reference.f1_score(true, predicted, **both),
            "mean_iou": reference.jaccard_score(true, predicted, **both),
        }
    )
    by_batch = []
    for start in range(0, N, 16):
        part = np.s_[start : start + 16]
        kept = known[part]
        by_batch.append(reference.f1_score(truth[part][kept], predictions["net"][part][kept], **both))
    assert found["batch_macro_f1"] == pytest.approx(np.mean(by_batch))
    assert len(set(found.round(6))) == len(evaluation.MASK_STATISTICS)


def test_each_score_says_what_it_averages(matrices):
    table = evaluation.mask_scores(matrices, batch=8, baselines=["majority"], replicates=20)
    columns = ["name", "statistic", "averaging", "estimate", "low", "high", "patches", "baseline"]
    assert table.columns.tolist() == columns
    assert table["statistic"].tolist() == [*evaluation.MASK_STATISTICS] * 2
    said = table.drop_duplicates("statistic").set_index("statistic")["averaging"]
    assert said["landslide_f1"] == "pooled over pixels"
    assert said["macro_f1"] == "mean of both classes, pooled over pixels"
    assert said["batch_mean_iou"] == "mean of both classes in each batch of 8 patches, then of the batches"
    assert table.groupby("name")["baseline"].first().to_dict() == {"net": False, "majority": True}
    assert set(table["patches"]) == {N}


def test_a_mask_without_landslides_scores_half_of_the_background(matrices):
    found = evaluation.mask_scores(matrices, replicates=20).query("name == 'majority'")
    found = found.set_index("statistic")["estimate"]
    counts = matrices["majority"].sum(0)
    background = 2 * counts[0, 0] / (2 * counts[0, 0] + counts[1, 0])
    assert found["landslide_f1"] == found["recall"] == 0
    assert np.isnan(found["precision"])  # nothing was said to be a landslide
    assert found["macro_f1"] == pytest.approx(background / 2)


def test_intervals_draw_whole_groups(truth, predictions, matrices):
    blocks = np.arange(N) // 5
    found = evaluation.mask_scores(matrices, blocks, replicates=300, seed=2).set_index(["name", "statistic"])
    pixels = np.broadcast_to(blocks[:, None, None], truth.shape).ravel()
    expected = metrics.bootstrap(truth.ravel(), predictions["net"].ravel(), pixels, "f1", 300, 2, classes=2)
    row = found.loc[("net", "landslide_f1")]
    assert row[["estimate", "low", "high"]].tolist() == pytest.approx([part[1] for part in expected])
    batches = metrics.bootstrap_batches(matrices["net"], "macro_f1", 16, blocks, 300, 2)
    assert found.loc[("net", "batch_macro_f1")][["estimate", "low", "high"]].tolist() == list(batches)


def test_pooled_scores_of_one_matrix():
    matrix = np.array([[90, 2], [4, 4]])
    assert evaluation.pooled(matrix) == pytest.approx(
        {
            "landslide_f1": 8 / 14,
            "landslide_iou": 4 / 10,
            "precision": 4 / 6,
            "recall": 4 / 8,
            "macro_f1": (8 / 14 + 180 / 186) / 2,
            "mean_iou": (4 / 10 + 90 / 96) / 2,
        }
    )
    assert list(evaluation.pooled(matrix, ["recall"])) == ["recall"]
    with pytest.raises(ParameterError, match="'landslide_f2'; did you mean 'landslide_f1'"):
        evaluation.pooled(matrix, ["landslide_f2"])


def test_matrices_of_more_classes_are_refused():
    with pytest.raises(DataError, match=r"'net' have shape \(4, 3, 3\): expected \(N, 2, 2\)"):
        evaluation.mask_scores({"net": np.ones((4, 3, 3), int)})


# === What averages imply ===


@pytest.mark.parametrize("landslide", [0.0, 0.05, 0.2, 0.4993, 0.74, 0.95, 1.0])
@pytest.mark.parametrize("background", [0.97, 0.9933, 1.0])
def test_the_f1_of_each_class_follows_from_macro_f1_and_mean_iou(landslide, background):
    low, high = sorted((landslide, background))
    mean_iou = np.mean([f1 / (2 - f1) for f1 in (low, high)])
    found = evaluation.implied_landslide_f1((low + high) / 2, mean_iou)
    assert found == pytest.approx(low, abs=1e-6)


def test_it_follows_from_a_confusion_matrix():
    scores = evaluation.pooled(np.array([[9_700, 60], [90, 150]]))
    found = evaluation.implied_landslide_f1(scores["macro_f1"], scores["mean_iou"])
    assert found == pytest.approx(scores["landslide_f1"], abs=1e-9)


def test_the_best_published_score_implies_a_landslide_f1_near_a_half():
    """0.7463 and 0.6597: landslide 0.50, background 0.99."""
    found = evaluation.implied_landslide_f1(0.7463, 0.6597)
    assert found == pytest.approx(0.50, abs=0.005)
    assert 2 * 0.7463 - found == pytest.approx(0.993, abs=0.001)
    iou = [f1 / (2 - f1) for f1 in (found, 2 * 0.7463 - found)]
    assert np.mean(iou) == pytest.approx(0.6597)


@pytest.mark.parametrize(
    ("macro_f1", "mean_iou"),
    [
        (0.7463, 0.55),  # IoU is convex in F1: its mean is never below that of two equal classes
        (0.9, 0.9),  # the background's F1 would be above 1
        (0.4959, 0.5025),  # the landslides' F1 would be below 0
    ],
)
def test_averages_that_no_two_classes_have_imply_nothing(macro_f1, mean_iou):
    assert np.isnan(evaluation.implied_landslide_f1(macro_f1, mean_iou))


def test_scores_in_percent_are_refused():
    with pytest.raises(ParameterError, match=r"macro_f1 is 74\.63: expected a score of 0 to 1"):
        evaluation.implied_landslide_f1(74.63, 65.97)


# === Sizes ===

TRUTH = """
1 . . . 1 1 1 .   1 1 . . . . . .
. . . . 1 . . .   1 1 . . . . . .
. 1 . . . . . .   . . 1 . . . . .
1 . . . . . . ?   . . . . . . . .
"""
FOUND = """
. . . . . x x .   . . . . . . . x
x . . . . . . .   . . . . . . . .
. . . . . x . .   . . x x . . . .
x x . . . . . x   . . . . . . . .
"""


def drawn(text: str) -> np.ndarray:
    """Two patches of 4 × 8 pixels side by side."""
    values = {"1": 1, "x": 1, ".": 0, "?": 255}
    rows = [[values[c] for c in line.split()] for line in text.strip().splitlines()]
    return np.array(rows, np.uint8).reshape(4, 2, 8).transpose(1, 0, 2)


def test_score_by_size_worked_example():
    """Landslides of 1, 2 (corner to corner), 4, and 5 pixels (corner to corner), the last in patch two.

    Of that of 1 nothing is found, of 2 one pixel, of 4 two, of 5 one.
    """
    table = evaluation.score_by_size(drawn(FOUND), drawn(TRUTH), (1, 2, 5, 10), pixel_area_m2=100)
    assert table["size"].tolist() == ["1", "2–4", "5–9", "≥ 10"]
    assert table["count"].tolist() == [1, 2, 1, 0]
    assert table["pixels"].tolist() == [1, 6, 5, 0]
    assert table["found"].tolist()[:3] == [0, 1, 1]
    assert table["pixels_found"].tolist()[:3] == pytest.approx([0, 3 / 6, 1 / 5])
    assert table.loc[3, ["found", "pixels_found"]].isna().all()
    assert table["low_px"].tolist() == [1, 2, 5, 10]
    assert table["high_px"].tolist() == [1, 4, 9, np.inf]
    assert table["low_m2"].tolist() == [100, 200, 500, 1000]
    assert table["high_m2"].tolist() == [100, 400, 900, np.inf]


def flood_fill(mask: np.ndarray) -> list[set]:
    """Connected landslides of one patch by walking from pixel to pixel."""
    left, objects = {tuple(p) for p in np.argwhere(mask)}, []
    while left:
        todo, found = [left.pop()], set()
        while todo:
            y, x = todo.pop()
            found.add((y, x))
            near = {(y + a, x + b) for a in (-1, 0, 1) for b in (-1, 0, 1)} & left
            left -= near
            todo += near
        objects.append(found)
    return objects


@pytest.mark.parametrize("pixels", [1 << 22, 250])
def test_score_by_size_is_that_of_walking_from_pixel_to_pixel(pixels, monkeypatch):
    rng = np.random.default_rng(3)
    truth = rng.choice(np.array([0, 1, 255], np.uint8), (12, 10, 10), p=[0.7, 0.25, 0.05])
    prediction = rng.random(truth.shape) < 0.2
    monkeypatch.setattr(counting, "PIXELS_AT_ONCE", pixels)
    table = evaluation.score_by_size(prediction, truth, (1, 3, 6))
    rows = []
    for true, mask in zip(truth, prediction, strict=True):
        for one in flood_fill(true == 1):
            rows.append((len(one), sum(mask[p] for p in one)))
    size, hit = np.array(rows).T
    for number, chosen in enumerate((size < 3, (size >= 3) & (size < 6), size >= 6)):
        row = table.iloc[number]
        assert row["count"] == chosen.sum() > 0
        assert row["found"] == pytest.approx((hit[chosen] > 0).mean())
        assert row["pixels_found"] == pytest.approx(hit[chosen].sum() / size[chosen].sum())


def test_patches_without_landslides_give_an_empty_table():
    nothing = np.zeros((2, 4, 4), np.uint8)
    table = evaluation.score_by_size(nothing, nothing)
    assert (table["count"] == 0).all()
    assert len(table) == len(evaluation.EDGES_PX)


def test_sizes_name_wrong_input(truth):
    mask = truth == 1
    with pytest.raises(DataError, match="float32 values"):
        evaluation.score_by_size(mask.astype(np.float32), truth)
    with pytest.raises(DataError, match=r"\(40, 10, 10\), the prediction \(39, 10, 10\)"):
        evaluation.score_by_size(mask[1:], truth)
    for edges in ((), (0, 5), (5, 1), (1.5, 2)):
        with pytest.raises(ParameterError, match="ascending whole numbers"):
            evaluation.score_by_size(mask, truth, edges)


# === Patches ===


def test_patch_detection_worked_example():
    """Scores 0.9 (yes), 0.8 (no), 0.6 (yes), 0.4 (yes), 0.1 (no); what is not known counts nowhere."""
    truth, score = [1, 0, 1, 1, 0, 255], [0.9, 0.8, 0.6, 0.4, 0.1, 0.99]
    found = evaluation.patch_detection(truth, score)
    assert found == pytest.approx(
        {
            "precision": 2 / 3,
            "recall": 2 / 3,
            "f1": 2 / 3,
            "average_precision": (1 + 2 / 3 + 3 / 4) / 3,
            "roc_auc": 4 / 6,  # of the six pairs of yes and no, two are in the wrong order
            "patches": 5,
            "positive": 0.6,
        }
    )
    assert evaluation.patch_detection(truth, score, 0.4)["recall"] == 1  # at least the threshold


def test_patch_detection_is_that_of_counting_pairs():
    rng = np.random.default_rng(5)
    truth = rng.random(200) < 0.4
    score = np.round(rng.normal(truth, 1.0), 1)  # with ties, which count half
    found = evaluation.patch_detection(truth, score)
    more = score[truth][:, None] - score[~truth][None]
    assert found["roc_auc"] == pytest.approx(((more > 0) + 0.5 * (more == 0)).mean())
    steps, seen = 0.0, 0.0
    for value in np.unique(score)[::-1]:
        recall = (truth & (score >= value)).sum() / truth.sum()
        steps += (recall - seen) * truth[score >= value].mean()
        seen = recall
    assert found["average_precision"] == pytest.approx(steps)
    assert isinstance(pd.DataFrame({"net": found}).T["f1"].iloc[0], float)


def test_patches_of_one_kind_have_no_ranking():
    found = evaluation.patch_detection(np.ones(3, bool), [0.2, 0.6, 0.9])
    assert found["recall"] == pytest.approx(2 / 3)
    assert np.isnan([found["average_precision"], found["roc_auc"]]).all()
    assert np.isnan(evaluation.patch_detection([0, 1], [0.1, 0.2])["precision"])


def test_patch_detection_names_wrong_input():
    with pytest.raises(DataError, match=r"\(2,\), the score \(3,\)"):
        evaluation.patch_detection([0, 1], [0.1, 0.2, 0.3])
    with pytest.raises(DataError, match="1 of 2 patches have no finite score"):
        evaluation.patch_detection([0, 1], [0.1, np.nan])
    with pytest.raises(DataError, match="No patch is labelled"):
        evaluation.patch_detection([255], [0.1])
