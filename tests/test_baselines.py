"""Baselines against plain scikit-learn and against what they promise about missing values."""

from __future__ import annotations

import joblib
import numpy as np
import pytest
import store_example
from memory_store import MemoryStore
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.svm import SVC, LinearSVC

from eolab import prediction
from eolab.core.errors import DataError, ParameterError
from eolab.data import sources
from eolab.prediction.mapping import per_pixel
from eolab.tasks import baselines
from eolab.tasks.baselines.estimators import SupportVectorMachine
from eolab.tasks.baselines.readers import time_statistics

N, T, C, K = 240, 6, 3, 5
TASK = "series_classification"
NAMES = baselines.names(TASK)
NETWORKLESS = ["image_statistics", "random_forest", "svm"]


def build(name, **options):
    options = {"components": 60} | options if name == "svm" else options
    return baselines.build(TASK, name, **{"classes": K} | options)


def fit(model, inputs, labels, weights=None):
    return model.fit(MemoryStore(inputs | {"label": labels}), np.arange(len(inputs["image"])), weights)


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
    return fit(build(name, **options), *series())


@pytest.mark.parametrize("name", NETWORKLESS)
def test_learns_and_keeps_a_column_for_the_absent_class(name):
    inputs, labels = series(1)
    proba = fitted(name).predict_on_batch(inputs)
    assert proba.shape == (N, K)
    assert proba.dtype == np.float32
    np.testing.assert_allclose(proba.sum(1), 1, atol=1e-5)
    assert not proba[:, 3].any()
    assert (proba.argmax(1) == labels).mean() > 0.8


def test_majority_predicts_the_shares_of_the_classes():
    labels = series()[1]
    proba = fitted("majority").predict_on_batch(series(1, 7)[0])
    np.testing.assert_allclose(proba, np.tile(np.bincount(labels, minlength=K) / N, (7, 1)), atol=1e-6)


@pytest.mark.parametrize("name", NETWORKLESS)
def test_values_at_invalid_dates_do_not_matter(name):
    inputs, labels = series()
    noisy = dict(inputs, image=np.where(inputs["valid"][..., None], inputs["image"], 1e6))
    one, other = (fit(build(name), x, labels) for x in (inputs, noisy))
    np.testing.assert_array_equal(one.predict_on_batch(noisy), other.predict_on_batch(inputs))


@pytest.mark.parametrize("name", NAMES)
def test_a_series_without_valid_dates_gets_finite_probabilities(name):
    inputs, _ = series(2, 5)
    empty = dict(inputs, valid=np.zeros((5, T)), image=np.full((5, T, C), np.nan, np.float32))
    proba = fitted(name).predict_on_batch(empty)
    np.testing.assert_allclose(proba.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKLESS)
def test_a_date_that_nobody_observed_does_not_break_the_fit(name):
    inputs, labels = series()
    inputs["valid"][:, 2] = False
    proba = fit(build(name), inputs, labels).predict_on_batch(series(1)[0])
    assert np.isfinite(proba).all()


def test_random_forest_is_that_of_scikit_learn():
    inputs, labels = series()
    forest = RandomForestClassifier(40, random_state=3).fit(inputs["image"].reshape(N, -1), labels)
    expected = forest.predict_proba(inputs["image"].reshape(N, -1))
    got = fitted("random_forest", seed=3).predict_on_batch(inputs)
    np.testing.assert_allclose(got[:, [0, 1, 2, 4]], expected, atol=1e-6)


def test_time_statistics_are_those_of_the_valid_dates():
    inputs, _ = series(0, 10)
    got = time_statistics(inputs["image"], inputs["valid"])
    expected = [f(inputs["image"], axis=1) for f in (np.nanmean, np.nanstd, np.nanmin, np.nanmax)]
    np.testing.assert_allclose(
        got, np.concatenate([*expected, inputs["valid"].mean(1, keepdims=True)], 1), rtol=2e-5
    )


@pytest.mark.parametrize("name", NAMES)
def test_unlabelled_samples_do_not_matter_and_weights_do(name):
    inputs, labels = series()
    hidden = labels.copy()
    hidden[:60] = 255
    options = {"trees": 20} if name == "random_forest" else {}
    model = build(name, **options)
    without = fit(model, {key: value[60:] for key, value in inputs.items()}, labels[60:]).predict_on_batch(
        inputs
    )
    np.testing.assert_allclose(fit(model, inputs, hidden).predict_on_batch(inputs), without, atol=1e-6)
    weights = np.where(labels == 0, 0.01, 1.0)
    weighted = fit(model, inputs, labels, weights).predict_on_batch(inputs)
    assert not np.allclose(weighted, fit(model, inputs, labels).predict_on_batch(inputs))


@pytest.mark.parametrize("name", NETWORKLESS)
def test_class_weights_raise_the_recall_of_the_rare_class(name):
    inputs, labels = series()
    inputs["image"] += np.random.default_rng(0).normal(0, 1.5, inputs["image"].shape).astype(np.float32)
    keep = (labels == 0) | ((labels == 2) & (np.arange(N) % 8 == 0))
    x, y = {key: value[keep] for key, value in inputs.items()}, labels[keep]
    options = {"min_leaf": 8} if name == "random_forest" else {"C": 0.01}
    plain, weighted = (
        fit(build(name, class_weight=w, **options), x, y).predict_on_batch(x)[:, 2].mean()
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
    model = fit(build("svm", max_samples=30), inputs, labels)
    assert set(model.estimator.classes_) == {0, 1, 2, 4}
    assert 30 <= len(model.estimator["model"].rows_) <= 34


def standard(seed, n=600):
    """Features and classes of two interleaved rings and a spot, which no linear machine tells apart."""
    rng = np.random.default_rng(seed)
    labels = rng.choice([0, 2, 3], n)
    radius, angle = labels + rng.normal(0, 0.25, n), rng.uniform(0, 2 * np.pi, n)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).astype(np.float32) / 2, labels


def test_with_all_training_rows_the_machine_is_the_exact_one_on_the_kernel():
    """With every row as a component, Nyström's features have the RBF kernel as their product."""
    x, y = standard(0, 120)
    machine = SupportVectorMachine(components=120, gamma=2.0, C=3.0).fit(x, y)
    kernel = rbf_kernel(x.astype(float), gamma=2.0)
    values, vectors = np.linalg.eigh(kernel)
    features = vectors * np.sqrt(np.maximum(values, 0))
    exact = LinearSVC(C=3.0, dual=False, tol=1e-2)  # stops where the machine does
    expected = exact.fit(features, y).decision_function(features)
    np.testing.assert_allclose(machine.decision_function(x), expected, atol=0.03)


@pytest.mark.parametrize(("kernel", "lowest"), [("rbf", 0.93), ("linear", 0)])
def test_few_components_decide_as_the_exact_machine_and_a_linear_one_cannot(kernel, lowest):
    x, y = standard(0)
    test, truth = standard(1, 2000)
    exact = SVC(C=1.0).fit(x, y).predict(test)
    found = SupportVectorMachine(kernel, components=60).fit(x, y).predict(test)
    assert (exact == truth).mean() > 0.9
    assert (found == exact).mean() > 0.95 if kernel == "rbf" else (found == truth).mean() < 0.7
    assert (found == truth).mean() > lowest


def test_the_temperature_leaves_the_class_and_makes_confidence_what_is_right():
    x, y = standard(0)
    test, truth = standard(1, 4000)
    machine = SupportVectorMachine(components=60).fit(x, y)
    found = machine.predict_proba(test)
    np.testing.assert_array_equal(found.argmax(1), machine.decision_function(test).argmax(1))
    right = (machine.predict(test) == truth).mean()
    assert abs(found.max(1).mean() - right) < 0.04
    machine.temperature_ = 1.0
    assert machine.predict_proba(test).max(1).mean() < right - 0.15  # margins alone are too modest


def test_a_machine_of_two_classes_gives_two_probabilities():
    x, y = standard(0)
    machine = SupportVectorMachine(components=60).fit(x[y > 0], y[y > 0])
    found = machine.predict_proba(x)
    assert found.shape == (len(x), 2)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    assert (machine.predict(x[y > 0]) == y[y > 0]).mean() > 0.9


def test_a_map_of_a_baseline_is_what_it_predicts_of_the_pixels(tmp_path):
    """Windows of equal and different pixels, some without data, through the saved model."""
    inputs, _ = series(4)
    fitted("svm").save(tmp_path / "model.joblib")
    predictor = prediction.load(tmp_path, engine="auto")
    of = np.random.default_rng(0).integers(0, 40, (20, 24))  # pixels of the scene are forty series
    window = {name: inputs[name][of] for name in ("image", "valid", "day")}
    window["nodata"] = of == 7
    windows = per_pixel(predictor)
    found = windows(window)
    expected = fitted("svm").predict_on_batch(inputs)[of]
    np.testing.assert_allclose(found[of != 7], expected[of != 7], atol=1e-6)
    assert np.isnan(found[of == 7]).all()
    assert windows.pixels == (of != 7).sum()
    assert windows.predicted == 39


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded_predicts_the_same(name, tmp_path):
    model = fitted(name)
    inputs, _ = series(3)
    path = model.save(tmp_path / "model.joblib")
    assert [p.name for p in tmp_path.iterdir()] == ["model.joblib"]
    np.testing.assert_array_equal(
        baselines.load(path).predict_on_batch(inputs), model.predict_on_batch(inputs)
    )


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
        build("random_forst")
    with pytest.raises(ParameterError, match="no option 'tree': did you mean 'trees'"):
        build("random_forest", tree=3)
    with pytest.raises(ParameterError, match="no kernel 'rfb': did you mean 'rbf'"):
        build("svm", kernel="rfb")
    with pytest.raises(DataError, match="expected class indices 0 to 1"):
        fit(build("majority", classes=2), inputs, labels)
    with pytest.raises(DataError, match="show 0 classes: svm needs 2 or more"):
        fit(build("svm"), inputs, np.full(N, 255))
    with pytest.raises(DataError, match=r"expected \(samples, dates, bands\)"):
        fitted("svm").predict_on_batch({"image": inputs["image"][0], "valid": inputs["valid"]})


def test_predictions_of_a_store_are_those_of_its_arrays(tmp_path):
    inputs, labels = series(1)
    model, rows = fitted("image_statistics"), np.array([5, 3, 200])
    found = model.predict(MemoryStore(inputs | {"label": labels}), rows)
    np.testing.assert_array_equal(found, model.predict_on_batch(inputs)[rows])
    parts = {"train": np.arange(150), "test": np.arange(150, N)}
    inputs, labels = series()
    learned = MemoryStore(inputs | {"label": labels})
    both = baselines.fit_baselines(
        TASK, ["majority", "image_statistics"], learned, parts, folder=tmp_path, parts=["test"]
    )
    assert list(both) == ["majority", "image_statistics"]
    assert both["majority"]["test"].shape == (N - 150, K)
    again = baselines.load(tmp_path / "image_statistics" / "model.joblib")
    np.testing.assert_array_equal(again.predict(learned, parts["test"]), both["image_statistics"]["test"])


def test_a_baseline_is_fitted_once_for_all_points_of_a_sweep(tmp_path, monkeypatch):
    """Each of 32 points fitted it again, 36 minutes each at full size; whatever else changes, fits."""
    store, fits = store_example.write(tmp_path / "store"), []
    rows = {part: store.indices(part) for part in ("train", "test")}
    once = baselines.Baseline.fit
    monkeypatch.setattr(
        baselines.Baseline, "fit", lambda self, *a, **k: (fits.append(self.name), once(self, *a, **k))[1]
    )

    def point(number, names=("image_statistics",), seed=0, rows=rows, **options):
        settings = {"folder": tmp_path / f"run {number}", "parts": ["test"], "seed": seed}
        return baselines.fit_baselines(TASK, names, store, rows, **settings, options=options)

    names = ["majority", "image_statistics"]
    first, second = point(1, names), point(2, names)
    assert fits == ["majority", "image_statistics"]
    for name in first:
        np.testing.assert_array_equal(second[name]["test"], first[name]["test"])
        saved = baselines.load(tmp_path / "run 2" / name / "model.joblib")
        np.testing.assert_array_equal(saved.predict(store, rows["test"]), first[name]["test"])
    point(3, seed=1)
    point(4, image_statistics={"C": 3.0})
    point(5, rows=rows | {"train": rows["train"][:-1]})
    known = sources.digests()
    monkeypatch.setattr(sources, "digests", lambda: known | {"eolab/cli/commands.py": "another"})
    point(6)
    assert len(fits) == 6


def test_class_weights_as_a_mapping_are_those_of_scikit_learn():
    """A class that is not named counts once; the majority counts weighted samples."""
    inputs, labels = series()
    weights = {0: 3.0, 4: 0.5, 9: 7.0}
    share = np.bincount(labels, np.array([3.0, 1, 1, 1, 0.5])[labels], K)
    found = fit(build("majority", class_weight=weights), inputs, labels).predict_on_batch(inputs)
    np.testing.assert_allclose(found[0], share / share.sum(), rtol=1e-6)


def test_nearest_gives_an_image_the_label_of_the_training_image_most_like_it(tmp_path):
    """Against all distances of standardised statistics; neither class weights nor units move it."""
    rng = np.random.default_rng(0)
    image = rng.gamma(2, 1, (90, 7, 5, 3)) * rng.uniform(0.5, 2, (90, 1, 1, 3)) * [1, 100, 1e4]
    labels = rng.integers(0, 4, 90).astype(np.uint8)
    labels[3] = 255
    store, train = MemoryStore({"image": image.astype(np.float32), "label": labels}), np.arange(60)
    train = np.delete(train, 3)
    model = baselines.build("image_classification", "nearest", class_weight="balanced")
    found = model.fit(store, np.arange(60)).predict(store, np.arange(90))
    table = image.reshape(90, 35, 3)
    parts = [table.mean(1), table.std(1), *np.percentile(table, (5, 25, 50, 75, 95), axis=1)]
    table = np.concatenate(parts, axis=1)
    table = (table - table[train].mean(0)) / table[train].std(0)
    apart = ((table[60:, None] - table[train]) ** 2).sum(-1)
    np.testing.assert_array_equal(found[60:], np.eye(4)[labels[train][apart.argmin(1)]])
    np.testing.assert_array_equal(found[train], np.eye(4)[labels[train]])
    again = baselines.load(model.save(tmp_path / "model.joblib"))
    np.testing.assert_array_equal(again.predict(store, np.arange(90)), found)


def padded_images():
    """Images of two classes, and the same ones padded with NaN at the bottom and on the right."""
    rng = np.random.default_rng(0)
    labels = (np.arange(40) % 2).astype(np.uint8)
    image = rng.normal(labels[:, None, None, None], 1, (40, 14, 12, 4)).astype(np.float32)
    padded = np.full((40, 37, 41, 4), np.nan, np.float32)
    padded[:, :14, :12] = image
    stores = [MemoryStore({"image": images, "label": labels}) for images in (image, padded)]
    for store in stores:
        store.arrays_spec = {"image": store.arrays["image"][0]}
    return stores


@pytest.mark.parametrize("name", ["image_statistics", "nearest"])
def test_padding_of_images_changes_no_answer(name):
    found = [
        baselines.build("image_classification", name).fit(store, np.arange(30)).predict(store, np.arange(40))
        for store in padded_images()
    ]
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4, atol=1e-5)


def test_random_convolutions_leave_out_what_is_missing():
    """All were NaN where one training image was padded, and the predictions of all images the same."""
    stores, rows = padded_images(), np.arange(30)
    models = [
        baselines.build("image_classification", "random_convolutions", filters=8).fit(store, rows)
        for store in stores
    ]
    tables = [models[0].reader.table(store.arrays) for store in stores]
    np.testing.assert_allclose(tables[1], tables[0], rtol=1e-4, atol=1e-5)
    assert np.isfinite(models[1].reader.weights).all()
    right = models[1].predict(stores[1], np.arange(40)).argmax(1) == stores[1].arrays["label"]
    assert right.mean() > 0.8
    empty = np.full((1, 37, 41, 4), np.nan, np.float32)
    assert np.isfinite(models[1].predict_on_batch({"image": empty})).all()


def test_random_convolutions_need_whole_pieces():
    store = MemoryStore({"image": np.full((4, 5, 5, 2), np.nan, np.float32), "label": np.array([0, 1, 0, 1])})
    store.arrays_spec = {"image": store.arrays["image"][0]}
    with pytest.raises(DataError, match="no 3 × 3 pixels without a missing value"):
        baselines.build("image_classification", "random_convolutions").fit(store, np.arange(4))


def test_names_are_chosen_by_task_with_those_of_a_study():
    assert baselines.names("regression") == ["mean", "linear", "random_forest", "nearest"]
    assert "nearest" not in baselines.names("sequence_classification")
    more = {"own": lambda seed: None}
    assert baselines.names("segmentation", more) == ["majority", "random_forest", "pixel_boosting", "own"]
    assert baselines.chosen("segmentation", ["all"], more)[-1] == "own"
    assert baselines.chosen("segmentation", []) == []
    with pytest.raises(ParameterError, match="no baseline 'ow': did you mean 'own'"):
        baselines.chosen("segmentation", ["ow"], more)
    with pytest.raises(ParameterError, match="task 'segmentations': did you mean 'segmentation'"):
        baselines.names("segmentations")


def test_class_weights_that_are_no_word_known_are_refused_before_fitting():
    """It was scikit-learn's InvalidParameterError after the features had been read."""
    with pytest.raises(ParameterError, match="class_weights is 'blanced': give None, 'balanced' or a weight"):
        build("random_forest", class_weight="blanced")
