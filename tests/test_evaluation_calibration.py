"""Calibration of several labels against scikit-learn and against probabilities that are known to be right."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss

from eolab import evaluation
from eolab.core.errors import DataError

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
    table = evaluation.label_calibration(probability, truth, NAMES).set_index("class")
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
    table = evaluation.label_calibration(probability, other, NAMES).set_index("class")
    kept = other[:, 0] != 255
    assert table.loc["often", "labels"] == kept.sum()
    expected = reference(probability[kept, 0], truth[kept, 0])
    assert table.loc["often", "expected_calibration_error"] == pytest.approx(expected, abs=1e-9)


def test_temperatures_of_each_class_undo_what_made_it_too_sure(right):
    probability, truth = right
    sure = np.stack([sharpened(probability[:, k], T) for k, T in enumerate((2.0, 0.5, 3.0))], axis=1)
    found = evaluation.label_temperatures(sure, truth)
    np.testing.assert_allclose(found, [2.0, 0.5, 1.0], rtol=0.05)  # nothing is known of the last
    again = evaluation.calibrated(sure, found)
    assert again.shape == probability.shape
    np.testing.assert_allclose(again[:, :2], probability[:, :2], atol=0.02)
    for k in range(2):
        assert log_loss(truth[:, k], again[:, k]) < log_loss(truth[:, k], sure[:, k])
        assert (
            np.argsort(again[:, k], kind="stable")[-50:] == np.argsort(sure[:, k], kind="stable")[-50:]
        ).all()


def test_shapes_that_do_not_fit_are_said(right):
    probability, truth = right
    with pytest.raises(DataError, match=r"\(20000, 3\) and labels \(20000, 3\): expected .* of 2 classes"):
        evaluation.label_calibration(probability, truth, NAMES[:2])
    with pytest.raises(DataError, match="expected both"):
        evaluation.label_temperatures(probability, truth[:, :2])
