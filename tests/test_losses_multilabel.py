"""Losses of several labels a sample against NumPy, and that no label can break them."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
from loss_cases import gradient_of
from sklearn.metrics import average_precision_score

from eolab import training
from eolab.core.errors import DataError, ParameterError
from eolab.training import losses

B, K = 7, 5
EVERY = [
    *losses.names("labels"),
    {"asymmetric": {"positive": 1, "negative": 0.5}},
    {"binary_focal": {"gamma": 0.5, "alpha": 0.8}},
]


def example(seed=0):
    rng = np.random.default_rng(seed)
    return (rng.random((B, K)) < 0.3).astype(np.uint8), rng.uniform(0.01, 0.99, (B, K))


# === References: float64, label by label ===


def bce(y, p):
    return -np.log(p) if y else -np.log(1 - p)


def focal(y, p, gamma=2.0, alpha=0.25):
    return -alpha * (1 - p) ** gamma * np.log(p) if y else -(1 - alpha) * p**gamma * np.log(1 - p)


def asymmetric(y, p, positive=0.0, negative=4.0, shift=0.05):
    if y:
        return -((1 - p) ** positive) * np.log(p)
    low = max(p - shift, 0)
    return -(low**negative) * np.log(1 - low)


REFERENCES = [
    ("bce", bce, {}),
    ("binary_focal", focal, {}),
    ("binary_focal", focal, {"gamma": 0.5, "alpha": 0.8}),
    ("asymmetric", asymmetric, {}),
    ("asymmetric", asymmetric, {"positive": 1.0, "negative": 2.5, "shift": 0.2}),
]


def mean(reference, label, p, smoothing=0.0, classes=None, positives=None, samples=None, **options):
    """Mean over labels; a label between 0 and 1 is so much of both."""
    classes, positives = (np.ones(K) if w is None else w for w in (classes, positives))
    samples = np.ones(len(label)) if samples is None else samples
    total = 0.0
    for i, k in np.ndindex(label.shape):
        y = label[i, k] * (1 - smoothing) + smoothing / 2
        cost = y * positives[k] * reference(1, p[i, k], **options)
        cost += (1 - y) * reference(0, p[i, k], **options)
        total += samples[i] * classes[k] * cost
    return total / (K * samples.sum())


def slope_of(name, z, yes, options):
    """Return the gradient of the cost of a logit: float64, from p and 1 − p, each exact."""
    p, q = 1 / (1 + np.exp(-z)), 1 / (1 + np.exp(z))
    if name == "asymmetric":
        up, down, shift = (options.get(k, v) for k, v in (("positive", 0), ("negative", 4), ("shift", 0.05)))
        if yes:
            return q**up * (up * p * np.log(p) - q)
        low, left = p - shift, q + shift
        return p * q * (low**down / left - down * low ** (down - 1) * np.log(left))
    gamma, alpha = (0, 0.5) if name == "bce" else (options.get("gamma", 2), options.get("alpha", 0.25))
    whole = 2 if name == "bce" else 1
    if yes:
        return whole * alpha * q**gamma * (gamma * p * np.log(p) - q)
    return whole * (1 - alpha) * p**gamma * (p - gamma * q * np.log(q))


@pytest.mark.parametrize("apart", [20.0, 60.0])
@pytest.mark.parametrize(("name", "reference", "options"), REFERENCES)
def test_a_confident_wrong_label_has_the_whole_gradient(name, reference, options, apart):
    label, z = np.array([[1, 0]]), np.array([[-apart, apart]])
    loss = losses.build({name: options})
    _, slope = gradient_of(lambda *given: loss.mean(*given)[0], label, z)
    expected = [slope_of(name, z[0, k], label[0, k], options) / 2 for k in range(2)]
    np.testing.assert_allclose(slope[0], expected, rtol=1e-3, atol=2e-8)


def value(loss, label, p, weight=None):
    return float(loss(label, np.asarray(p, "float32"), weight))


def gradient(loss, label, p):
    return gradient_of(losses.build(loss), label, p)


@pytest.mark.parametrize(("name", "reference", "options"), REFERENCES)
def test_loss_is_that_of_numpy(name, reference, options):
    label, p = example()
    loss = losses.build(name, **options)
    assert value(loss, label, p) == pytest.approx(mean(reference, label, p, **options), rel=1e-5)
    rng = np.random.default_rng(1)
    classes, positives, samples = rng.uniform(0.5, 3, K), rng.uniform(1, 9, K), rng.integers(0, 3, B)
    soft = 0.7 * label + 0.3 * label[::-1]
    loss = losses.build(name, smoothing=0.1, class_weights=classes, positive_weights=positives, **options)
    expected = mean(reference, soft, p, 0.1, classes, positives, samples, **options)
    assert value(loss, soft, p, samples) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("name", "reference", "options"), REFERENCES)
def test_gradient_is_the_slope_of_numpy(name, reference, options):
    label, p = example()
    _, slope = gradient_of(losses.build(name, **options), label, p)
    step = 1e-6 * np.random.default_rng(1).normal(size=p.shape)
    ahead, behind = (mean(reference, label, p + sign * step, **options) for sign in (1, -1))
    assert (slope * step).sum() == pytest.approx((ahead - behind) / 2, rel=1e-3)


def test_bce_is_that_of_keras_and_the_others_become_it():
    label, p = example()
    expected = float(keras.losses.BinaryCrossentropy()(label, p))
    for loss, factor in (
        ("bce", 1),
        ({"asymmetric": {"negative": 0, "shift": 0}}, 1),
        ({"binary_focal": {"gamma": 0, "alpha": 0.5}}, 2),
    ):
        assert factor * value(losses.build(loss), label, p) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", EVERY)
@pytest.mark.parametrize("truth", [0, 1])
@pytest.mark.parametrize("predicted", [0.0, 0.5, 1.0])
def test_finite_with_a_gradient_towards_the_truth_on_labels_all_alike(loss, truth, predicted):
    label, p = np.full((B, K), truth, np.uint8), np.full((B, K), predicted)
    found, slope = gradient(loss, label, p)
    assert np.isfinite(found)
    assert np.isfinite(slope).all()
    if predicted != truth:
        assert found > 1e-4
        assert (np.sign(slope) == 1 - 2 * truth).all()
    else:
        assert found < 1e-5


def test_the_shift_leaves_easy_labels_out():
    _, slope = gradient({"asymmetric": {"shift": 0.2}}, np.zeros((1, 2), np.uint8), np.array([[0.1, 0.6]]))
    assert slope[0, 0] == 0
    assert slope[0, 1] > 0


@pytest.mark.parametrize("loss", EVERY)
def test_a_loss_is_saved_and_told_from_another(loss):
    label, p = example()
    ours = losses.build(loss, positive_weights=[1, 2, 3, 4, 5], smoothing=0.2)
    again = keras.saving.deserialize_keras_object(
        json.loads(json.dumps(keras.saving.serialize_keras_object(ours)))
    )
    assert str(again) == str(ours)
    assert value(again, label, p) == value(ours, label, p)
    other = losses.build(loss, positive_weights=[1, 2, 3, 4, 6], smoothing=0.2)
    described = [training.outputs.described(each) for each in (ours, other)]
    assert described[0] != described[1]


@pytest.mark.parametrize(
    ("loss", "options", "message"),
    [
        ("bcee", {}, r"no loss 'bcee': did you mean 'bce'"),
        ({"asymmetric": {"negativ": 2}}, {}, r"'asymmetric' has no option 'negativ'.*'negative'"),
        ("bce", {"smooth": 0.1}, r"'bce' has no option 'smooth'.*'smoothing'"),
        ("bce", {"smoothing": 2}, r"smoothing of a loss must be a number from 0 to 1: got 2"),
        ("bce", {"class_weights": [1, -1]}, r"class_weights .* one a class, from 0"),
    ],
)
def test_a_loss_that_cannot_be_is_refused(loss, options, message):
    with pytest.raises(ParameterError, match=message):
        losses.build(loss, **options)


def test_shapes_that_do_not_fit_are_refused():
    label, p = example()
    with pytest.raises(DataError, match=r"'bce' needs labels .* got labels \(7,\)"):
        losses.build("bce")(label[:, 0], p)
    with pytest.raises(DataError, match="2 class_weights for 5 classes"):
        losses.build("bce", class_weights=[1, 2])(label, p)


# === Score of an epoch ===


@pytest.mark.parametrize("exact", [True, False])
def test_average_precision_of_an_epoch_is_that_of_scikit_learn(exact):
    """Exact where no two probabilities that differ share a bin; classes without a sample count nothing."""
    rng = np.random.default_rng(4)
    label = (rng.random((600, K)) < [0.5, 0.3, 0.1, 0.02, 0.0]).astype(np.uint8)
    p = 1 / (1 + np.exp(-(rng.normal(size=label.shape) + 1.5 * label - 2)))
    p = np.clip(p.round(1), 0.0, 1.0) if exact else p
    p = p.astype("float32")
    score = losses.MeanAveragePrecision(K)
    weight = rng.integers(0, 3, 600)
    for rows in np.array_split(np.arange(600), 4):
        score.update_state(label[rows], p[rows], weight[rows])
    expected = np.mean(
        [average_precision_score(label[:, k], p[:, k], sample_weight=weight) for k in range(K - 1)]
    )
    assert float(score.result()) == pytest.approx(expected, rel=1e-5 if exact else 0.02)
    again = losses.MeanAveragePrecision.from_config(score.get_config())
    assert float(again.result()) == 0
    again.update_state(label, p)
    plain = np.mean([average_precision_score(label[:, k], p[:, k]) for k in range(K - 1)])
    assert float(again.result()) == pytest.approx(plain, rel=1e-5 if exact else 0.02)


@pytest.mark.slow
def test_average_precision_runs_inside_fit(tmp_path):
    label, _ = example()
    image = keras.Input((3,), name="image")
    model = keras.Model({"image": image}, keras.layers.Dense(K, activation="sigmoid")(image))
    model.compile("sgd", losses.build("bce"), weighted_metrics=[losses.MeanAveragePrecision(K)])
    x = {"image": np.random.default_rng(0).normal(size=(B, 3)).astype("float32")}
    history = model.fit(x, label, validation_data=(x, label), verbose=0).history
    found = model.predict(x, verbose=0)
    present = np.flatnonzero(label.any(axis=0))
    expected = np.mean([average_precision_score(label[:, k], found[:, k]) for k in present])
    assert history["val_average_precision"][0] == pytest.approx(expected, abs=0.05)
