"""Calibration of several labels against scikit-learn and against probabilities that are known to be right."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss

from eolab.core.errors import DataError, ParameterError
from eolab.evaluation import postprocess

NAMES = ["often", "seldom", "never"]
SAMPLES = 20_000


@pytest.fixture(scope="module")
def right():
    """Probabilities of three classes and labels drawn from them; the last class never comes."""
    rng = np.random.default_rng(0)
    probability = np.stack([rng.beta(2, 2, SAMPLES), rng.beta(0.5, 6, SAMPLES), rng.beta(0.5, 6, SAMPLES)], 1)
    truth = (rng.random(probability.shape) < probability).astype(np.uint8)
    truth[:, 2] = 0
    return probability, truth


def sharpened(probability, T):
    """What a network too sure by the factor 1 / T would say."""
    logit = np.log(probability) - np.log1p(-probability)
    return 1 / (1 + np.exp(-logit * T))


def reference(probability, truth, bins=10):
    frequency, mean = calibration_curve(truth, probability, n_bins=bins)
    counts = np.histogram(probability, np.linspace(0, 1, bins + 1))[0]
    return (counts[counts > 0] / counts.sum() * np.abs(frequency - mean)).sum()


def test_errors_are_those_of_scikit_learn_by_class_and_over_all(right):
    probability, truth = right
    table = postprocess.label_calibration(probability, truth, NAMES).set_index("class")
    assert list(table.index) == ["all labels", *NAMES]
    for k, name in enumerate(NAMES):
        expected = reference(probability[:, k], truth[:, k])
        assert table.loc[name, "expected_calibration_error"] == pytest.approx(expected, abs=1e-9)
    expected = reference(probability.ravel(), truth.ravel())
    assert table.loc["all labels", "expected_calibration_error"] == pytest.approx(expected, abs=1e-9)
    assert list(table["support"]) == [truth.sum(), *truth.sum(axis=0)]
    np.testing.assert_allclose(table["probability"], [probability.mean(), *probability.mean(axis=0)])
    np.testing.assert_allclose(table["frequency"], [truth.mean(), *truth.mean(axis=0)])
    assert (table.loc[["often", "seldom"], "expected_calibration_error"] < 0.02).all()
    assert table.loc["never", "expected_calibration_error"] == pytest.approx(probability[:, 2].mean())


def test_labels_that_are_not_known_do_not_count(right):
    probability, truth = right
    other = truth.copy()
    other[::3, 0] = 255
    table = postprocess.label_calibration(probability, other, NAMES).set_index("class")
    kept = other[:, 0] != 255
    assert table.loc["often", "labels"] == kept.sum()
    expected = reference(probability[kept, 0], truth[kept, 0])
    assert table.loc["often", "expected_calibration_error"] == pytest.approx(expected, abs=1e-9)


def test_temperatures_of_each_class_undo_what_made_it_too_sure(right):
    probability, truth = right
    sure = np.stack([sharpened(probability[:, k], T) for k, T in enumerate((2.0, 0.5, 3.0))], axis=1)
    found = postprocess.fit_temperature(sure, truth, by_label=True)
    np.testing.assert_allclose(found, [2.0, 0.5, 1.0], rtol=0.05)  # nothing is known of the last
    again = postprocess.apply_temperature(sure, found)
    assert again.shape == probability.shape
    np.testing.assert_allclose(again[:, :2], probability[:, :2], atol=0.02)
    for k in range(2):
        assert log_loss(truth[:, k], again[:, k]) < log_loss(truth[:, k], sure[:, k])
        assert (
            np.argsort(again[:, k], kind="stable")[-50:] == np.argsort(sure[:, k], kind="stable")[-50:]
        ).all()


def test_shapes_that_do_not_fit_are_said(right):
    probability, truth = right
    with pytest.raises(DataError, match=r"\(20000, 3\) and labels of shape .*: expected .* of 2 classes"):
        postprocess.label_calibration(probability, truth, NAMES[:2])
    with pytest.raises(DataError, match="expected both"):
        postprocess.fit_temperature(probability, truth[:, :2], by_label=True)


def test_the_temperature_of_several_classes_is_found_and_undone():
    """Labels drawn from a softmax; what a network too sure by a factor says is brought back."""
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 1.5, (SAMPLES, 4))
    right = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (right.cumsum(axis=1) > rng.random((SAMPLES, 1))).argmax(axis=1)
    sure = np.exp(2.5 * logits) / np.exp(2.5 * logits).sum(axis=1, keepdims=True)
    T = postprocess.fit_temperature(sure, truth)
    assert pytest.approx(2.5, rel=0.03) == T
    losses = [log_loss(truth, postprocess.apply_temperature(sure, t, classes=True)) for t in (T, 2.4, 2.6)]
    assert losses[0] <= min(losses[1:]) + 1e-6
    np.testing.assert_allclose(postprocess.apply_temperature(sure, 2.5, classes=True), right, atol=1e-5)
    half = truth.copy()
    half[::2] = 255
    assert postprocess.fit_temperature(sure, half) == pytest.approx(
        postprocess.fit_temperature(sure[1::2], half[1::2])
    )


def test_calibration_of_several_classes_is_that_of_the_likeliest():
    rng = np.random.default_rng(2)
    probability = rng.dirichlet(np.ones(3), 500)
    truth = rng.integers(0, 3, 500)
    table = postprocess.calibration_table(probability, truth)
    right = (probability.argmax(axis=1) == truth).astype(np.uint8)
    expected = postprocess.calibration_table(probability.max(axis=1), right)
    np.testing.assert_array_equal(table.to_numpy(), expected.to_numpy())


@pytest.mark.parametrize("shape", [(40,), (40, 3)])
def test_a_temperature_of_constant_probabilities_stays_1_and_says_so(shape):
    """It was 0.01 or 100 or anything between, without a word."""
    truth = np.arange(40) % 2
    with pytest.warns(UserWarning, match="All probabilities, or all labels, are the same, .* stays 1"):
        assert postprocess.fit_temperature(np.full(shape, 1 / 3), truth) == 1
    varied = np.stack([np.linspace(0.1, 0.4, 40)] * int(np.prod(shape[1:])), -1).reshape(shape)
    with pytest.warns(UserWarning, match="or all labels, are the same"):
        assert postprocess.fit_temperature(varied, np.ones(40, int)) == 1


def test_temperatures_of_other_labels_and_shapes_are_refused():
    """An IndexError and a ValueError of NumPy."""
    with pytest.raises(DataError, match="classes 0 to 5: expected 0 to 1"):
        postprocess.fit_temperature(np.full((4, 2), 0.5), np.array([0, 5, 1, 0]))
    with pytest.raises(ParameterError, match=r"2 temperatures and probabilities of shape \(4, 3\)"):
        postprocess.apply_temperature(np.full((4, 3), 0.5), np.ones(2))
