"""Losses and pooled scores against NumPy, and that no pixel can break or fool them."""

import keras
import numpy as np
import pytest
from keras import ops
from loss_cases import gradient_of
from scipy import ndimage
from sklearn import metrics as sklearn_metrics

from eolab.core.errors import DataError, ParameterError
from eolab.training import losses

IGNORE = 255
SUM = {"focal": {"weight": 0.5, "gamma": 2}, "iou": 0.25, "center": {"weight": 2, "depth": 3}}
FLAT = ("ce", "focal", "log_cosh", "iou", "tversky", "lovasz")  # need no neighbours
EVERY = [
    *losses.names("classes"),
    SUM,
    {"iou": {"form": "linear"}},
    {"iou": {"background": True}},
    {"focal": {"gamma": 0.5, "alpha": 0.8}},
]


def example(K=2, seed=0, size=20):
    """Labels with regions of several sizes and some unknown pixels, and probabilities that fit a little."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(2, size, size)), (0, 2, 2))
    label = np.digitize(smooth, np.quantile(smooth, [0.7, 0.9][: K - 1])).astype(np.uint8)
    label[0, 4, 4] = 1 if label[0, 4, 4] == 0 else 0  # a region of one pixel
    logits = rng.normal(size=(2, size, size, K)) + np.eye(K)[label]
    label[0, :3, 5:9] = IGNORE
    label[1, size // 2, size // 2 : size // 2 + 7] = IGNORE
    p = np.exp(logits)
    return label, p / p.sum(-1, keepdims=True)


# === References: float64, written from the formulas, without anything of the package ===


def counted(label, p):
    """Yield label and probabilities of every pixel that counts."""
    for index in np.ndindex(label.shape):
        if label[index] != IGNORE:
            yield int(label[index]), p[index]


def ce(label, p):
    return np.mean([-np.log(q[k]) for k, q in counted(label, p)])


def focal(label, p, gamma=2.0, alpha=0.25):
    values = [
        -(1 - alpha if k == 0 else alpha) * (1 - q[k]) ** gamma * np.log(q[k]) for k, q in counted(label, p)
    ]
    return np.mean(values)


def log_cosh(label, p):
    return np.mean([np.log(np.cosh(q - np.eye(len(q))[k])) for k, q in counted(label, p)])


def soft_counts(label, p, k):
    found = sum(q[k] for j, q in counted(label, p) if j == k)
    missed = sum(1 - q[k] for j, q in counted(label, p) if j == k)
    return found, missed, sum(q[k] for j, q in counted(label, p) if j != k)


def iou(label, p, form="log", smooth=1.0, background=False):
    values = []
    for k in range(0 if background else 1, p.shape[-1]):
        found, missed, false = soft_counts(label, p, k)
        index = (found + smooth) / (found + missed + false + smooth)
        values.append(-np.log(index) if form == "log" else 1 - index)
    return np.mean(values)


def tversky(label, p, alpha=0.7, beta=0.3, smooth=1.0):
    values = []
    for k in range(1, p.shape[-1]):
        found, missed, false = soft_counts(label, p, k)
        values.append(1 - (found + smooth) / (found + alpha * missed + beta * false + smooth))
    return np.mean(values)


def jaccard_loss(truth, wrong):
    """1 − Jaccard of a class when the pixels in `wrong` are the ones that are predicted wrongly."""
    found = truth ^ wrong
    union = (truth | found).sum()
    return 1 - (truth & found).sum() / union if union else 0.0


def lovasz(label, p):
    """Lovász extension by its definition (Berman et al. 2018): set by set, largest error first."""
    pixels = list(counted(label, p))
    values = []
    for k in sorted({j for j, _ in pixels}):
        truth = np.array([j == k for j, _ in pixels])
        errors = np.array([1 - q[k] if j == k else q[k] for j, q in pixels])
        wrong, before, value = np.zeros(len(truth), bool), 0.0, 0.0
        for i in np.argsort(-errors, kind="stable"):
            wrong[i] = True
            now = jaccard_loss(truth, wrong)
            value += errors[i] * (now - before)
            before = now
        values.append(value)
    return np.mean(values)


def neighbours(shape, at):
    y, x = at
    return [
        (j, i)
        for j in range(max(y - 1, 0), min(y + 2, shape[0]))
        for i in range(max(x - 1, 0), min(x + 2, shape[1]))
    ]


def chessboard(sources):
    """Chessboard distance of each pixel to the nearest source, infinite without any."""
    rows, columns = np.nonzero(sources)
    found = np.full(sources.shape, np.inf)
    for at in np.ndindex(sources.shape):
        if len(rows):
            found[at] = np.maximum(abs(rows - at[0]), abs(columns - at[1])).min()
    return found


def boundary_nearness(label, radius):
    edge = np.zeros(label.shape, bool)
    for at in np.ndindex(label.shape):
        edge[at] = len({label[n] for n in neighbours(label.shape, at)} - {IGNORE}) > 1
    return np.clip(1 - chessboard(edge) / radius, 0, 1)


def center_nearness(label, depth):
    found = np.zeros(label.shape)
    for k in set(np.unique(label)) - {0, IGNORE}:
        region = label == k
        deep = np.where(region, np.minimum(chessboard((label != k) & (label != IGNORE)), depth), 0)
        for start in zip(*np.nonzero(region), strict=True):
            reach = {start}
            for _ in range(depth - 1):
                reach |= {n for at in reach for n in neighbours(label.shape, at) if region[n]}
            found[start] = deep[start] / max(deep[at] for at in reach)
    return found


def weighted_ce(label, p, nearness, extra, **options):
    near = np.stack([nearness(image, **options) for image in label])
    values = [
        -(1 + extra * near[at]) * np.log(p[at][label[at]])
        for at in np.ndindex(label.shape)
        if label[at] != IGNORE
    ]
    return np.mean(values)


def boundary(label, p, extra=4.0, radius=3):
    return weighted_ce(label, p, boundary_nearness, extra, radius=radius)


def center(label, p, extra=4.0, depth=8):
    return weighted_ce(label, p, center_nearness, extra, depth=depth)


REFERENCES = [
    ("ce", ce, {}),
    ("focal", focal, {}),
    ("focal", focal, {"gamma": 0.5, "alpha": 0.8}),
    ("log_cosh", log_cosh, {}),
    ("iou", iou, {}),
    ("iou", iou, {"form": "linear", "smooth": 3.0, "background": True}),
    ("tversky", tversky, {}),
    ("tversky", tversky, {"alpha": 0.5, "beta": 0.2, "smooth": 2.0}),
    ("lovasz", lovasz, {}),
    ("boundary", boundary, {}),
    ("boundary", boundary, {"extra": 1.5, "radius": 1}),
    ("center", center, {}),
    ("center", center, {"extra": 2, "depth": 3}),
]


def value(loss, label, p, weight=None):
    return gradient(loss, label, p, weight)[0]


def gradient(loss, label, p, weight=None):
    return gradient_of(losses.build(loss), label, p, weight)


# === Values and gradients ===


@pytest.mark.parametrize(("name", "reference", "options"), REFERENCES)
@pytest.mark.parametrize("K", [2, 3])
def test_loss_is_that_of_numpy(name, reference, options, K):
    label, p = example(K)
    assert value({name: options}, label, p) == pytest.approx(reference(label, p, **options), rel=2e-5)


@pytest.mark.parametrize(("name", "reference", "options"), [r for r in REFERENCES if r[0] != "center"])
def test_gradient_is_the_slope_of_numpy(name, reference, options):
    label, p = example(3, size=8)
    _, slope = gradient({name: options}, label, p)
    step = 1e-6 * np.random.default_rng(1).normal(size=p.shape)
    expected = (reference(label, p + step, **options) - reference(label, p - step, **options)) / 2
    assert (slope * step).sum() == pytest.approx(expected, rel=1e-3)


def softmax(z):
    p = np.exp(z - z.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


@pytest.mark.parametrize("apart", [20, 60])
@pytest.mark.parametrize(("name", "reference", "options"), REFERENCES)
def test_a_confident_wrong_pixel_has_the_whole_gradient(name, reference, options, apart):
    """From probabilities that float32 rounds, cross entropy had 0.02 of it at 20, and none at 60."""
    label, p = example(2, size=6)
    z, at = np.log(p), (1, 0, 0)
    z[at] = apart * np.eye(2)[1 - label[at]]
    loss = losses.build({name: options})
    found, slope = gradient_of(lambda *given: loss.mean(*given)[0], label, z)
    assert found == pytest.approx(reference(label, softmax(z), **options), rel=1e-4)
    for k in range(2):
        step = np.zeros(z.shape)
        step[(*at, k)] = 1e-3
        ends = [reference(label, softmax(z + sign * step), **options) for sign in (1, -1)]
        assert slope[(*at, k)] == pytest.approx((ends[0] - ends[1]) / 2e-3, rel=1e-3, abs=1e-8)
    _, one = gradient_of(lambda *given: loss.mean(*given)[0], label, z[..., 1:] - z[..., :1])
    assert one[at][0] == pytest.approx(slope[at][1], rel=1e-4, abs=1e-8)  # one logit is that of class 1


@pytest.mark.parametrize("loss", EVERY)
def test_logits_of_ignored_pixels_reach_nothing(loss):
    label, p = example()
    z = np.where((label == IGNORE)[..., None], np.nan, np.log(p))
    made = losses.build(loss)
    found, slope = gradient_of(lambda *given: made.mean(*given)[0], label, z)
    assert found == pytest.approx(value(loss, label, p), rel=1e-4)
    assert (slope[label == IGNORE] == 0).all()
    assert np.isfinite(slope).all()


def test_lovasz_of_hard_predictions_is_one_minus_jaccard():
    for seed in range(4):
        label, p = example(3, seed)
        hard = np.eye(3)[p.argmax(-1)]
        known = label != IGNORE
        expected = 1 - sklearn_metrics.jaccard_score(label[known], p.argmax(-1)[known], average="macro")
        assert value("lovasz", label, hard) == pytest.approx(expected, rel=1e-5)


def test_weights_of_places_on_a_worked_example():
    """A square of 5 × 5: three rings deep, its outermost ring and the ring around it are border."""
    label = np.zeros((1, 9, 9), np.uint8)
    label[0, 2:7, 2:7] = 1
    p = np.full((1, 9, 9, 2), 0.5)
    by_depth = [16 * 1 / 3, 8 * 2 / 3, 1 * 3 / 3]
    expected = np.log(2) * (1 + 2 * sum(by_depth) / 81)
    assert value({"center": {"extra": 2}}, label, p) == pytest.approx(expected, rel=1e-5)
    expected = np.log(2) * (1 + 2 * (16 + 24) / 81)
    assert value({"boundary": {"extra": 2, "radius": 1}}, label, p) == pytest.approx(expected, rel=1e-5)


def test_a_sum_is_the_sum_of_its_parts_and_says_them():
    label, p = example()
    loss = losses.build(SUM)
    assert [(weight, part.NAME) for weight, part in loss.parts] == [
        (0.5, "focal"),
        (0.25, "iou"),
        (2, "center"),
    ]
    expected = sum(weight * value(part, label, p) for weight, part in loss.parts)
    assert value(SUM, label, p) == pytest.approx(expected, rel=1e-6)
    assert str(loss).startswith("0.5*focal(gamma=2, alpha=0.25) + 0.25*iou(")
    assert str(losses.build({"ce": 1})) == str(losses.build("ce")) == "ce()"
    assert losses.build(loss) is loss


# === Nothing breaks them ===


@pytest.mark.parametrize("loss", EVERY)
@pytest.mark.parametrize("mask", ["empty", "full", "one pixel"])
@pytest.mark.parametrize("predicted", ["soft", "all landslide", "no landslide", "wrong"])
def test_finite_with_a_gradient_on_any_mask(loss, mask, predicted):
    label = np.zeros((2, 8, 8), np.uint8)
    label[...] = mask == "full"
    label[0, 3, 3] = mask != "empty"
    soft = example(size=8)[1]
    choice = {"all landslide": np.ones_like(label), "no landslide": 0 * label, "wrong": 1 - label}
    p = soft if predicted == "soft" else np.eye(2)[choice[predicted]]
    found, slope = gradient(loss, label, p)
    assert np.isfinite(found)
    assert np.isfinite(slope).all()
    if (p.argmax(-1) != label).any():
        assert found > 1e-5
        assert abs(slope).max() > 1e-6
        assert (slope * (1 - 2 * np.eye(2)[label]) >= 0).all()  # towards the truth


@pytest.mark.parametrize(
    "loss", ["ce", "focal", "log_cosh", "iou", "tversky", "lovasz", "boundary", "center"]
)
def test_a_right_answer_costs_nothing(loss):
    label, _ = example()
    p = np.eye(2)[np.where(label == IGNORE, 0, label)]
    assert 0 <= value(loss, label, p) < 1e-5


@pytest.mark.parametrize("loss", EVERY)
def test_ignored_pixels_change_nothing(loss):
    label, p = example()
    other = p.copy()
    other[label == IGNORE] = (np.nan, 7)
    found, slope = gradient(loss, label, p)
    again, slope_again = gradient(loss, label, other)
    assert found == again
    np.testing.assert_array_equal(slope, slope_again)
    assert not slope[label == IGNORE].any()
    assert slope[label != IGNORE].any()
    weight = (label != IGNORE).astype("float32")  # the same pixels left out by their weight
    if not {"boundary", "center"} & set([loss] if isinstance(loss, str) else loss):
        zeros = np.where(label == IGNORE, 0, label)
        assert value(loss, zeros, p, weight) == pytest.approx(found, rel=1e-6)
    found, slope = gradient(loss, np.full_like(label, IGNORE), p)
    assert found == 0
    assert not slope.any()


@pytest.mark.parametrize("loss", FLAT)
def test_a_pixel_of_weight_two_counts_as_two_and_shape_does_not_matter(loss):
    label, p = example()
    label, p = label.ravel(), p.reshape(-1, 2)
    weight = np.random.default_rng(2).integers(0, 3, len(label))
    expected = value(loss, np.repeat(label, weight), np.repeat(p, weight, axis=0))
    assert value(loss, label, p, weight) == pytest.approx(expected, rel=1e-5)
    image = value(loss, label.reshape(2, -1, 1), p.reshape(2, -1, 2), weight.reshape(2, -1))
    assert image == pytest.approx(expected, rel=1e-5)
    per_sample = value(loss, label.reshape(2, -1), p.reshape(2, -1, 2), np.array([1, 0]))
    assert per_sample == pytest.approx(value(loss, label[:400], p[:400]), rel=1e-5)


@pytest.mark.parametrize("loss", EVERY)
def test_one_probability_is_that_of_class_one_of_two(loss):
    label, p = example()
    found, slope = gradient(loss, label, p[..., 1:])
    expected, slopes = gradient(loss, label, p)
    assert found == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(slope[..., 0], slopes[..., 1] - slopes[..., 0], rtol=1e-4, atol=1e-7)
    hidden = np.where(label == IGNORE, np.nan, p[..., 1])[..., None]
    again, slope_again = gradient(loss, label[..., None], hidden)
    assert again == found
    np.testing.assert_array_equal(slope, slope_again)


@pytest.mark.parametrize("loss", losses.names("classes"))
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision_is_computed_in_float32(loss, dtype):
    label, p = example()
    low = ops.cast(p, dtype)
    found = losses.build(loss)(label, low)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    assert float(found) == pytest.approx(value(loss, label, ops.convert_to_numpy(ops.cast(low, "float32"))))


@pytest.mark.slow
def test_lovasz_of_a_million_pixels_keeps_its_digits():
    rng = np.random.default_rng(3)
    label = (rng.random(1_000_000) < 0.02).astype(np.uint8)
    p = np.clip(0.5 * label + 0.3 * rng.random(len(label)), 0, 1)
    expected = []
    for truth, q in ((label == 0, 1 - p), (label == 1, p)):  # in float64, by cumulative sums
        errors = np.where(truth, 1 - q, q)
        order = np.argsort(-errors, kind="stable")
        left = truth.sum() - np.cumsum(truth[order])
        union = truth.sum() + np.cumsum(~truth[order])
        expected.append(errors[order] @ np.diff(1 - left / union, prepend=0))
    found = value("lovasz", label, np.stack([1 - p, p], -1))
    assert found == pytest.approx(np.mean(expected), rel=1e-5)


# === What cannot be ===


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("focl", r"no loss 'focl': did you mean 'focal'"),
        ({"focal": 0.5, "iuo": 1}, r"no loss 'iuo': did you mean 'iou'"),
        ("ce + focal", r"no loss 'ce \+ focal'"),
        ({"focal": {"gama": 2}}, r"Loss 'focal' has no option 'gama': did you mean 'gamma'"),
        ({"ce": 1, "iou": 0}, r"weight of 'iou' of a loss must be a number above 0: got 0"),
        ({"iou": -1}, r"above 0: got -1"),
        ({"iou": "big"}, r"above 0: got 'big'"),
        ({"focal": {"gamma": -1}}, r"Option gamma of a loss must be a number from 0: got -1"),
        ({"focal": {"gamma": float("inf")}}, r"Option gamma of a loss must be a number from 0: got inf"),
        ({"tversky": {"beta": 0}}, r"Option beta of a loss must be a number above 0: got 0"),
        ({"focal": {"alpha": 2}}, r"from 0 to 1: got 2"),
        ({"boundary": {"radius": 0}}, r"whole number from 1: got 0"),
        ({"iou": {"form": "lgo"}}, r"cannot be 'lgo': did you mean 'log'"),
        ({"iou": {"background": 1}}, r"must be True or False: got 1"),
        ({"ce": 1, "bce": 1}, r"losses of one kind .*: got ce of classes, bce of labels"),
        ("", r"no loss ''"),
        ({}, "a name or weights by name, such as"),
        (None, "a name or weights by name, such as"),
    ],
)
def test_a_loss_that_cannot_be_is_refused(loss, message):
    with pytest.raises(ParameterError, match=message):
        losses.build(loss)


def test_shapes_that_do_not_fit_are_refused():
    label, p = example()
    with pytest.raises(DataError, match=r"'ce' needs class indices .* got labels \(2, 20\)"):
        losses.build("ce")(label[..., 0], p)
    with pytest.raises(DataError, match=r"'boundary' needs images.*take cross entropy"):
        losses.build("boundary")(label[0, 0], p[0, 0])
    with pytest.raises(ParameterError, match="ignore one label"):
        losses.WeightedSum([(1, losses.build("ce")), (1, losses.build("iou", ignore=254))])


def test_another_ignore_label_reaches_every_part():
    label, p = example()
    other = np.where(label == IGNORE, 9, label)
    for loss in ("ce", SUM):
        assert float(losses.build(loss, ignore=9)(other, p)) == pytest.approx(value(loss, label, p), rel=1e-6)


# === In a model ===


@pytest.mark.parametrize("loss", EVERY)
def test_a_saved_loss_is_the_same(loss):
    loss = losses.build(loss, ignore=7)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert (type(again), str(again), again.get_config()) == (type(loss), str(loss), loss.get_config())


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["ce", SUM])  # Keras takes what is called "ce" for its own
def test_a_saved_model_keeps_loss_and_score(tmp_path, loss):
    label = example()[0]
    image = keras.Input((20, 20, 3))
    output = keras.layers.Conv2D(2, 1, activation="softmax", name="mask")(image)
    model = keras.Model(image, {"mask": output})
    model.compile("sgd", {"mask": losses.build(loss)}, weighted_metrics=[losses.PooledScore("iou")])
    x = np.random.default_rng(1).normal(size=(2, 20, 20, 3)).astype("float32")
    before = model.evaluate(x, {"mask": label}, verbose=0, return_dict=True)
    assert before["loss"] == pytest.approx(
        value(loss, label, ops.convert_to_numpy(model(x)["mask"])), rel=1e-5
    )
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.evaluate(x, {"mask": label}, verbose=0, return_dict=True) == pytest.approx(before)
    assert again.loss["mask"].get_config() == model.loss["mask"].get_config()


@pytest.mark.parametrize("class_index", [0, 1])
def test_pooled_scores_are_those_of_all_pixels_at_once(class_index):
    known = {
        "f1": sklearn_metrics.f1_score,
        "iou": sklearn_metrics.jaccard_score,
        "precision": sklearn_metrics.precision_score,
        "recall": sklearn_metrics.recall_score,
    }
    scores = {name: losses.PooledScore(name, class_index) for name in known}
    accuracy, labels, predictions = losses.PooledAccuracy(), [], []
    for seed in range(3):
        label, p = example(seed=seed)
        for score in (*scores.values(), accuracy):
            score.update_state(label, p if seed else p[..., 1:])  # one probability is that of class 1
        labels.append(label[label != IGNORE])
        predictions.append(p.argmax(-1)[label != IGNORE])
    truth, prediction = np.concatenate(labels), np.concatenate(predictions)
    for name, function in known.items():
        expected = function(truth, prediction, pos_label=class_index)
        assert float(scores[name].result()) == pytest.approx(expected, rel=1e-6)
    assert float(accuracy.result()) == pytest.approx(np.mean(truth == prediction))
    scores["f1"].reset_state()
    assert float(scores["f1"].result()) == 0
    again = losses.PooledScore.from_config(scores["iou"].get_config())
    assert (again.statistic, again.class_index, again.name) == ("iou", class_index, "iou")


def test_a_score_that_cannot_be_is_refused():
    with pytest.raises(ParameterError, match="did you mean 'f1'"):
        losses.PooledScore("f11")
    with pytest.raises(ParameterError, match="class_index"):
        losses.PooledScore("f1", class_index=-1)
