"""Stacking of probabilities against scikit-learn's logistic regression."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from eolab.core.errors import DataError
from eolab.tasks import stacking


def two_models(shape: tuple[int, ...], seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return probabilities whose best combination is 0.7 and 0.4 times their logits, and a truth."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-1, 2, (2, *shape))
    truth = (rng.random(shape) < expit(-0.5 + 0.7 * logits[0] + 0.4 * logits[1])).astype(np.uint8)
    return dict(zip(("network", "table"), expit(logits), strict=True)), truth


def test_stacking_is_the_logistic_regression_of_scikit_learn() -> None:
    probabilities, truth = two_models((300,))
    truth[::10] = 255
    fitted = stacking.stack(probabilities, truth)
    known = truth != 255
    table = logit(np.clip(np.stack(list(probabilities.values()), axis=1), stacking.EDGE, 1 - stacking.EDGE))
    reference = LogisticRegression(C=1.0, tol=1e-10, max_iter=1000).fit(table[known], truth[known])
    assert list(fitted.weights) == ["network", "table"]
    assert list(fitted.weights.values()) == pytest.approx(reference.coef_[0].tolist(), rel=1e-4)
    assert fitted.intercept == pytest.approx(reference.intercept_[0], rel=1e-4)
    expected = reference.predict_proba(table)[:, 1]
    np.testing.assert_allclose(fitted.predict(probabilities), expected, atol=1e-5)


def test_stacking_recovers_the_combination_that_made_the_truth() -> None:
    probabilities, truth = two_models((40, 50, 20), seed=1)
    fitted = stacking.stack(probabilities | {"noise": np.random.default_rng(9).random(truth.shape)}, truth)
    assert fitted.weights["network"] == pytest.approx(0.7, abs=0.04)
    assert fitted.weights["table"] == pytest.approx(0.4, abs=0.04)
    assert fitted.weights["noise"] == pytest.approx(0, abs=0.04)
    assert fitted.intercept == pytest.approx(-0.5, abs=0.04)
    found = fitted.predict(probabilities | {"noise": np.full(truth.shape, 0.5), "more": truth})
    assert found.shape == truth.shape
    assert found.dtype == np.float32
    losses = [log_loss(truth.ravel(), p.ravel()) for p in (found, *probabilities.values())]
    assert losses[0] == min(losses)
    assert "'network': " in str(fitted)


def test_stacking_in_parts_from_files_is_the_same(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    probabilities, truth = two_models((30, 8, 8))
    half = {name: values.astype(np.float16) for name, values in probabilities.items()}
    whole = stacking.stack(half, truth)
    files = {}
    for name, values in half.items():
        np.save(tmp_path / f"{name}.npy", values)
        files[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    monkeypatch.setattr(stacking, "AT_ONCE", 200)
    parted = stacking.stack(files, truth)
    assert parted.weights == pytest.approx(whole.weights, rel=1e-9)
    np.testing.assert_allclose(parted.predict(files), whole.predict(half), rtol=1e-6)


def test_stacking_of_separable_patches_stays_finite() -> None:
    truth = np.array([0, 0, 0, 1, 1])
    fitted = stacking.stack({"sure": np.array([0.0, 0.1, 0.2, 0.9, 1.0])}, truth)
    found = fitted.predict({"sure": np.array([0.0, 1.0])})
    assert np.isfinite(list(fitted.weights.values())).all()
    assert found[0] < 0.1 < 0.9 < found[1]


def test_stacking_says_what_does_not_fit() -> None:
    probabilities, truth = two_models((20,))
    with pytest.raises(DataError, match=r"'network' have shape \(20,\): expected \(10,\)"):
        stacking.stack(probabilities, truth[:10])
    with pytest.raises(DataError, match="0 samples of class 1 and 20 others"):
        stacking.stack(probabilities, np.zeros(20))
    with pytest.raises(DataError, match="0 samples of class 1 and 0 others"):
        stacking.stack(probabilities, np.full(20, 255))
    with pytest.raises(DataError, match="No model is given"):
        stacking.stack({}, truth)
    fitted = stacking.stack(probabilities, truth)
    with pytest.raises(DataError, match="needs 'table'"):
        fitted.predict({"network": truth})


def test_the_weights_of_some_samples_are_nearly_those_of_all() -> None:
    probabilities, truth = two_models((60, 40, 40))
    whole, few = (stacking.stack(probabilities, truth, most) for most in (stacking.MAX_SAMPLES, 20_000))
    assert list(few.weights.values()) == pytest.approx(list(whole.weights.values()), abs=0.05)
    assert few == stacking.stack(probabilities, truth, 20_000)


@pytest.mark.parametrize("wrong", [np.nan, 1e4])
def test_what_is_no_probability_is_refused(wrong):
    """Logits were cut to the same number and weighed 0; NaN ended in an error of scikit-learn."""
    values, truth = np.linspace(0.1, 0.9, 8), np.arange(8) % 2
    stacker = stacking.stack({"a": values}, truth)
    values = np.where(truth == 1, wrong, values)
    with pytest.raises(DataError, match="expected 0 to 1 without NaN; apply softmax to logits"):
        stacking.stack({"a": values}, truth)
    with pytest.raises(DataError, match="expected 0 to 1 without NaN"):
        stacker.predict({"a": values})
