"""Baselines against plain scikit-learn and against what they promise about missing values."""

from __future__ import annotations

import joblib
import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from eolab.core.errors import DataError, ParameterError
from eolab.tasks import baselines

N, T, C, K = 240, 6, 3, 5
NETWORKLESS = ["image_statistics", "random_forest", "svm"]


def series(seed=0, n=N):
    """Four of five classes (3 has no samples), told apart by level and by season; a third is invalid."""
    rng = np.random.default_rng(seed)
    labels = rng.choice([0, 1, 2, 4], n)
    season = np.sin(np.arange(T)[:, None] + np.arange(C))
    image = labels[:, None, None] * 0.1 + (labels % 2)[:, None, None] * season + rng.normal(0, 0.1, (n, T, C))
    valid = rng.random((n, T)) > 0.3
    image[~valid] = np.nan
    return {"image": image.astype(np.float32), "valid": valid, "day": np.zeros((n, T))}, labels.astype(
        np.uint8
    )


def fitted(name, **options):
    options = {"trees": 40} | options if name == "random_forest" else options
    return baselines.build(name, classes=K, **options).fit(*series())


@pytest.mark.parametrize("name", NETWORKLESS)
def test_learns_and_keeps_a_column_for_the_absent_class(name):
    inputs, labels = series(1)
    proba = fitted(name).predict_proba(inputs)
    assert proba.shape == (N, K)
    assert proba.dtype == np.float32
    np.testing.assert_allclose(proba.sum(1), 1, atol=1e-5)
    assert not proba[:, 3].any()
    assert (proba.argmax(1) == labels).mean() > 0.8


def test_majority_predicts_the_shares_of_the_classes():
    labels = series()[1]
    proba = fitted("majority").predict_proba(series(1, 7)[0])
    np.testing.assert_allclose(proba, np.tile(np.bincount(labels, minlength=K) / N, (7, 1)), atol=1e-6)


@pytest.mark.parametrize("name", NETWORKLESS)
def test_values_at_invalid_dates_do_not_matter(name):
    inputs, labels = series()
    noisy = dict(inputs, image=np.where(inputs["valid"][..., None], inputs["image"], 1e6))
    one, other = (baselines.build(name, classes=K).fit(x, labels) for x in (inputs, noisy))
    np.testing.assert_array_equal(one.predict_proba(noisy), other.predict_proba(inputs))


@pytest.mark.parametrize("name", baselines.names())
def test_a_series_without_valid_dates_gets_finite_probabilities(name):
    inputs, _ = series(2, 5)
    empty = dict(inputs, valid=np.zeros((5, T)), image=np.full((5, T, C), np.nan, np.float32))
    proba = fitted(name).predict_proba(empty)
    np.testing.assert_allclose(proba.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKLESS)
def test_a_date_that_nobody_observed_does_not_break_the_fit(name):
    inputs, labels = series()
    inputs["valid"][:, 2] = False
    proba = baselines.build(name, classes=K).fit(inputs, labels).predict_proba(series(1)[0])
    assert np.isfinite(proba).all()


def test_random_forest_is_that_of_scikit_learn():
    inputs, labels = series()
    forest = RandomForestClassifier(40, random_state=3).fit(inputs["image"].reshape(N, -1), labels)
    expected = forest.predict_proba(inputs["image"].reshape(N, -1))
    got = fitted("random_forest", seed=3).predict_proba(inputs)
    np.testing.assert_allclose(got[:, [0, 1, 2, 4]], expected, atol=1e-6)


def test_time_statistics_are_those_of_the_valid_dates():
    inputs, _ = series(0, 10)
    got = baselines.time_statistics(inputs)
    expected = [f(inputs["image"], axis=1) for f in (np.nanmean, np.nanstd, np.nanmin, np.nanmax)]
    np.testing.assert_allclose(
        got, np.concatenate([*expected, inputs["valid"].mean(1, keepdims=True)], 1), rtol=2e-5
    )


@pytest.mark.parametrize("name", baselines.names())
def test_unlabelled_samples_do_not_matter_and_weights_do(name):
    inputs, labels = series()
    hidden = labels.copy()
    hidden[:60] = 255
    options = {"trees": 20} if name == "random_forest" else {}
    model = baselines.build(name, classes=K, **options)
    without = model.fit({key: value[60:] for key, value in inputs.items()}, labels[60:]).predict_proba(inputs)
    np.testing.assert_allclose(model.fit(inputs, hidden).predict_proba(inputs), without, atol=1e-6)
    weights = np.where(labels == 0, 0.01, 1.0)
    weighted = model.fit(inputs, labels, weights).predict_proba(inputs)
    assert not np.allclose(weighted, model.fit(inputs, labels).predict_proba(inputs))


@pytest.mark.parametrize("name", NETWORKLESS)
def test_class_weights_raise_the_recall_of_the_rare_class(name):
    inputs, labels = series()
    inputs["image"] += np.random.default_rng(0).normal(0, 1.5, inputs["image"].shape).astype(np.float32)
    keep = (labels == 0) | ((labels == 2) & (np.arange(N) % 8 == 0))
    x, y = {key: value[keep] for key, value in inputs.items()}, labels[keep]
    options = {"min_leaf": 8} if name == "random_forest" else {"C": 0.01}
    plain, weighted = (
        baselines.build(name, classes=K, class_weight=w, **options).fit(x, y).predict_proba(x)[:, 2].mean()
        for w in (None, "balanced")
    )
    if name == "svm":  # its margins shift, which the softmax shows
        assert weighted > plain
    else:
        assert weighted > plain + 0.1


def test_the_cap_on_samples_keeps_every_class():
    inputs, labels = series()
    labels[labels == 4] = 0
    labels[17] = 4
    model = baselines.build("svm", classes=K, max_samples=30).fit(inputs, labels)
    assert set(model.estimator.classes_) == {0, 1, 2, 4}
    assert 30 <= model.estimator["svc"].shape_fit_[0] <= 34


@pytest.mark.parametrize("name", baselines.names())
def test_saved_and_loaded_predicts_the_same(name, tmp_path):
    model = fitted(name)
    inputs, _ = series(3)
    path = model.save(tmp_path / "model.joblib")
    assert [p.name for p in tmp_path.iterdir()] == ["model.joblib"]
    np.testing.assert_array_equal(baselines.load(path).predict_proba(inputs), model.predict_proba(inputs))


def test_an_unreadable_file_is_named(tmp_path):
    path = tmp_path / "model.joblib"
    with pytest.raises(DataError, match=r"model\.joblib: expected a saved baseline, found no file"):
        baselines.load(path)
    path.write_bytes(b"not a model")
    with pytest.raises(DataError, match="unreadable"):
        baselines.load(path)
    joblib.dump({"a": 1}, path)
    with pytest.raises(DataError, match="found a dict"):
        baselines.load(path)


def test_wrong_input_is_named():
    inputs, labels = series()
    with pytest.raises(ParameterError, match="did you mean 'random_forest'"):
        baselines.build("random_forst", classes=K)
    with pytest.raises(ParameterError, match="no option 'tree'; did you mean 'trees'"):
        baselines.build("random_forest", classes=K, tree=3)
    with pytest.raises(DataError, match="expected class indices 0 to 1"):
        baselines.build("majority", classes=2).fit(inputs, labels)
    with pytest.raises(DataError, match="two or more"):
        baselines.build("svm", classes=K).fit(inputs, np.full(N, 255))
    with pytest.raises(DataError, match=r"expected \(240,\)"):
        baselines.build("svm", classes=K).fit(inputs, labels[:5])
    with pytest.raises(DataError, match=r"expected \(samples, dates, bands\)"):
        fitted("svm").predict_proba({"image": inputs["image"][0], "valid": inputs["valid"]})
