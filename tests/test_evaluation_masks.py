"""Scores of masks, of patches and by size against scikit-learn, loops and worked examples."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as reference

from eolab import evaluation
from eolab.core.errors import DataError, ParameterError
from eolab.evaluation import metrics

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


NAMES = ["background", "landslide"]
STATISTICS = [
    *("landslide.f1", "landslide.iou", "landslide.precision", "landslide.recall"),
    *("macro.f1", "macro.iou", "batch_macro.f1", "batch_macro.iou"),
]


def score(predicted, truth=None, **options) -> pd.DataFrame:
    return evaluation.score_table(predicted, truth, **{"class_names": NAMES, "replicates": 100, **options})


def rows(table, model="net") -> pd.DataFrame:
    own = table[table["model"] == model]
    return own.set_index(own["scope"] + "." + own["statistic"])


def test_mask_scores_are_those_of_scikit_learn_over_all_pixels(truth, predictions, matrices):
    found = rows(score(matrices))["value"]
    known = truth != 255
    true, predicted = truth[known], predictions["net"][known]
    both = {"labels": [0, 1], "average": "macro"}
    assert found[:6].to_dict() == pytest.approx(
        {
            "landslide.f1": reference.f1_score(true, predicted),
            "landslide.iou": reference.jaccard_score(true, predicted),
            "landslide.precision": reference.precision_score(true, predicted),
            "landslide.recall": reference.recall_score(true, predicted),
            "macro.f1": reference.f1_score(true, predicted, **both),
            "macro.iou": reference.jaccard_score(true, predicted, **both),
        }
    )
    by_batch = []
    for start in range(0, N, 16):
        part = np.s_[start : start + 16]
        kept = known[part]
        by_batch.append(reference.f1_score(truth[part][kept], predictions["net"][part][kept], **both))
    assert found["batch_macro.f1"] == pytest.approx(np.mean(by_batch))
    assert len(set(found.round(6))) == len(STATISTICS)


def test_masks_and_probabilities_score_as_their_matrices(truth, predictions, matrices):
    expected = score(matrices)
    pd.testing.assert_frame_equal(score(predictions, truth), expected)
    probability = {name: 0.2 + 0.6 * mask for name, mask in predictions.items()}
    found = score(probability, truth, thresholds=dict.fromkeys(predictions, 0.5))
    pd.testing.assert_frame_equal(found, expected)


def test_each_score_says_what_it_averages(matrices):
    table = score(matrices, batch=8, baselines=["majority"])
    assert (table["scope"] + "." + table["statistic"]).tolist() == STATISTICS * 2
    assert table.groupby("model")["is_baseline"].first().to_dict() == {"net": False, "majority": True}
    assert set(table["n"]) == {N}


def test_a_mask_without_landslides_scores_half_of_the_background(matrices):
    found = rows(score(matrices), "majority")["value"]
    counts = matrices["majority"].sum(0)
    background = 2 * counts[0, 0] / (2 * counts[0, 0] + counts[1, 0])
    assert found["landslide.f1"] == found["landslide.recall"] == 0
    assert np.isnan(found["landslide.precision"])  # nothing was predicted to be a landslide
    assert found["macro.f1"] == pytest.approx(background / 2)


def test_intervals_draw_whole_groups(truth, predictions, matrices):
    blocks = np.arange(N) // 5
    found = rows(score(matrices, groups=blocks, replicates=300, seed=2))
    pixels = np.broadcast_to(blocks[:, None, None], truth.shape).ravel()
    flat = {"net": predictions["net"].ravel().astype(int)}
    given = {"groups": pixels, "replicates": 300, "seed": 2, "statistics": ["landslide.f1", "macro.iou"]}
    expected = rows(score(flat, truth.ravel(), **given))
    ends = ["value", "low", "high"]
    np.testing.assert_allclose(found.loc[expected.index, ends], expected[ends])


def test_pooled_scores_of_one_matrix():
    matrix = np.array([[90, 2], [4, 4]])
    assert metrics.values_of(matrix, STATISTICS[:6], NAMES) == pytest.approx(
        {
            "landslide.f1": 8 / 14,
            "landslide.iou": 4 / 10,
            "landslide.precision": 4 / 6,
            "landslide.recall": 4 / 8,
            "macro.f1": (8 / 14 + 180 / 186) / 2,
            "macro.iou": (4 / 10 + 90 / 96) / 2,
        }
    )
    with pytest.raises(ParameterError, match=r"'macro\.f3': did you mean 'macro\.f"):
        metrics.values_of(matrix, ["macro.f3"], NAMES)


def test_maps_of_several_classes_pool_their_pixels():
    rng = np.random.default_rng(6)
    truth, found = rng.integers(0, 3, (2, 12, 5, 5))
    names = ["a", "b", "c"]
    table = score({"map": metrics.confusions(truth, found, 3)}, class_names=names)
    values = dict(zip(table["scope"] + "." + table["statistic"], table["value"], strict=True))
    flat = truth.ravel(), found.ravel()
    assert values == pytest.approx(
        {
            "all.accuracy": reference.accuracy_score(*flat),
            "macro.f1": reference.f1_score(*flat, average="macro"),
            "macro.iou": reference.jaccard_score(*flat, average="macro"),
        }
    )


def test_matrices_of_more_classes_are_refused():
    with pytest.raises(DataError, match=r"shape \(4, 3, 3\): expected \(N, 2, 2\)"):
        score({"net": np.ones((4, 3, 3), int)})


# === What averages imply ===


@pytest.mark.parametrize("landslide", [0.0, 0.05, 0.2, 0.4993, 0.74, 0.95, 1.0])
@pytest.mark.parametrize("background", [0.97, 0.9933, 1.0])
def test_the_f1_of_each_class_follows_from_macro_f1_and_mean_iou(landslide, background):
    low, high = sorted((landslide, background))
    mean_iou = np.mean([f1 / (2 - f1) for f1 in (low, high)])
    found = evaluation.implied_f1((low + high) / 2, mean_iou)
    assert found == pytest.approx(low, abs=1e-6)


def test_it_follows_from_a_confusion_matrix():
    scores = metrics.values_of(np.array([[9_700, 60], [90, 150]]), STATISTICS[:6], NAMES)
    found = evaluation.implied_f1(scores["macro.f1"], scores["macro.iou"])
    assert found == pytest.approx(scores["landslide.f1"], abs=1e-9)


def test_the_best_published_score_implies_a_landslide_f1_near_a_half():
    """0.7463 and 0.6597: landslide 0.50, background 0.99."""
    found = evaluation.implied_f1(0.7463, 0.6597)
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
    assert np.isnan(evaluation.implied_f1(macro_f1, mean_iou))


def test_scores_in_percent_are_refused():
    with pytest.raises(ParameterError, match=r"macro_f1 is 74\.63: expected a score of 0 to 1"):
        evaluation.implied_f1(74.63, 65.97)


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
    monkeypatch.setattr(metrics, "PIXELS_AT_ONCE", pixels)
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
    with pytest.raises(DataError, match=r"\(40, 10, 10\) and prediction of shape \(39, 10, 10\)"):
        evaluation.score_by_size(mask[1:], truth)
    for edges in ((), (0, 5), (5, 1), (1.5, 2)):
        with pytest.raises(ParameterError, match="ascending whole numbers"):
            evaluation.score_by_size(mask, truth, edges)
