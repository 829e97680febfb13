"""Baselines that read pixels: majority, threshold rule, boosting, forests; regression of values."""

from __future__ import annotations

import joblib
import landslide_example as example
import numpy as np
import pandas as pd
import pytest
from memory_store import MemoryStore

from eolab.core.errors import DataError, ParameterError
from eolab.data import tables
from eolab.data.store import ArraySpec, Store, statistics, write_store
from eolab.studies.landslide.channels import BASELINES, PIXEL_CHANNELS
from eolab.tasks import baselines
from eolab.tasks.baselines import estimators

ROWS = np.arange(example.PATCHES)
TRAIN, HELD = ROWS[:28], ROWS[28:]
TASK = "segmentation"
NAMES = ["majority", "slope_ndvi_rule", "pixel_boosting"]
OPTIONS = {"pixel_boosting": {"per_patch": 64, "iterations": 40}}


def fit(name: str, store: Store, rows, **options) -> baselines.Baseline:
    return baselines.build(TASK, name, more=BASELINES, **options).fit(store, rows)


def predict(baseline: baselines.Baseline, image: np.ndarray) -> np.ndarray:
    return baseline.predict_on_batch({"image": image})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return example.write(tmp_path_factory.mktemp("baselines") / "store")


@pytest.fixture(scope="module")
def fitted(store: Store) -> dict[str, baselines.Baseline]:
    return {name: fit(name, store, TRAIN, **OPTIONS.get(name, {})) for name in NAMES}


def f1(prediction: np.ndarray, label: np.ndarray) -> float:
    """F1 of class 1 over all known pixels, counted by hand."""
    known = label != 255
    hit = (prediction & (label == 1))[known].sum()
    return 2 * hit / max(prediction[known].sum() + (label == 1).sum(), 1)


def held(store: Store) -> tuple[np.ndarray, np.ndarray]:
    data = store.gather(HELD)
    return data["image"], data["label"]


def test_maps_of_a_baseline_are_shared_by_the_points_of_a_sweep(store, tmp_path, monkeypatch) -> None:
    rows = {"train": TRAIN, "test": HELD[:3]}

    def point(number: int) -> np.ndarray:
        folder = tmp_path / f"run {number}"
        found = baselines.fit_baselines(
            TASK, ["slope_ndvi_rule"], store, rows, folder=folder, parts=["test"], more=BASELINES
        )
        assert (folder / "slope_ndvi_rule" / "test_mask.npy").is_file()
        return found["slope_ndvi_rule"]["test"]

    first = point(1)
    monkeypatch.setattr(baselines.Baseline, "fit", None)  # nothing is fitted again
    np.testing.assert_array_equal(point(2), first)


# === Each of them ===


def test_names_are_ordered_from_the_most_trivial() -> None:
    assert baselines.names(TASK, BASELINES) == [
        "majority",
        "random_forest",
        "pixel_boosting",
        "slope_ndvi_rule",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_probabilities_are_of_pixels_and_do_not_depend_on_the_batch(store, fitted, name, monkeypatch) -> None:
    image, _ = held(store)
    found = predict(fitted[name], image)
    assert found.shape == image.shape[:3]
    assert found.dtype == np.float32
    assert ((found >= 0) & (found <= 1)).all()
    np.testing.assert_array_equal(predict(fitted[name], image[3:4])[0], found[3])
    monkeypatch.setattr(estimators, "AT_ONCE", 500)
    np.testing.assert_array_equal(predict(fitted[name], image), found)
    assert predict(fitted[name], image[:0]).shape == (0, example.SIDE, example.SIDE)


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_baseline_is_the_same(store, fitted, name, tmp_path) -> None:
    path = fitted[name].save(tmp_path / "model.joblib")
    assert [file.name for file in tmp_path.iterdir()] == ["model.joblib"]
    image, _ = held(store)
    np.testing.assert_array_equal(predict(baselines.load(path), image), predict(fitted[name], image))


@pytest.mark.parametrize("name", NAMES)
def test_fitting_again_gives_the_same(store, fitted, name) -> None:
    image, _ = held(store)
    again = fit(name, store, TRAIN, **OPTIONS.get(name, {}))
    np.testing.assert_array_equal(predict(again, image), predict(fitted[name], image))


@pytest.mark.parametrize("name", NAMES)
def test_pixels_without_a_label_teach_nothing(fitted, name, tmp_path, monkeypatch) -> None:
    patch = example.patch

    def disturbed(number: int, side: int = example.SIDE) -> tuple[np.ndarray, np.ndarray]:
        image, label = patch(number, side)
        image[label == 255] = 50.0
        return image, label

    monkeypatch.setattr(example, "patch", disturbed)
    other = example.write(tmp_path / "store")
    again = fit(name, other, TRAIN, **OPTIONS.get(name, {}))
    image = np.stack([patch(row)[0] for row in HELD])
    np.testing.assert_array_equal(predict(again, image), predict(fitted[name], image))


@pytest.mark.parametrize("name", NAMES)
def test_few_patches_are_in_memory_at_once(store, name, monkeypatch) -> None:
    asked = []
    gather = Store.gather
    monkeypatch.setattr(tables, "AT_ONCE", 6)
    monkeypatch.setattr(statistics, "CHUNK_BYTES", 1)
    monkeypatch.setattr(
        Store, "gather", lambda self, rows, names: asked.append(len(rows)) or gather(self, rows, names)
    )
    fit(name, store, TRAIN, **OPTIONS.get(name, {}))
    assert sum(asked) >= len(TRAIN)
    assert max(asked) <= 6


def test_an_image_of_other_channels_is_refused(fitted) -> None:
    with pytest.raises(DataError, match=r"expected \(patches, y, x, 29\)"):
        predict(fitted["majority"], np.zeros((1, 4, 4, 14)))


# === Majority ===


def test_majority_is_the_share_of_known_training_pixels(store, fitted) -> None:
    label = store.gather(TRAIN)["label"]
    share = (label == 1).sum() / (label != 255).sum()
    assert np.unique(predict(fitted["majority"], held(store)[0])) == pytest.approx(share)
    empty = fit("majority", store, list(example.EMPTY))
    assert predict(empty, held(store)[0]).max() == 0


# === Rule ===


def test_the_rule_has_the_best_f1_of_all_thresholds(store) -> None:
    """All pixels are drawn here, so that weights are 1."""
    rule = fit("slope_ndvi_rule", store, TRAIN, steps=12, per_patch=10_000).estimator
    data = store.gather(TRAIN)
    slope, ndvi = data["image"][..., example.SLOPE], data["image"][..., example.NDVI]
    drawn = tables.pixel_table(store, TRAIN, 10_000, 0, ["slope", "NDVI"])
    even = drawn.iloc[estimators._balanced(drawn["label"].to_numpy() == 1)]
    tried = [np.quantile(even[name], np.linspace(0, 1, 12), method="nearest") for name in ("slope", "NDVI")]
    scores = {(s, v): f1((slope >= s) & (ndvi <= v), data["label"]) for s in tried[0] for v in tried[1]}
    assert rule.f1_ == pytest.approx(max(scores.values()))
    at = rule.thresholds_["slope"], rule.thresholds_["NDVI"]
    nearest = min(scores, key=lambda pair: abs(pair[0] - at[0]) + abs(pair[1] - at[1]))
    assert nearest == pytest.approx(at)
    assert scores[nearest] == pytest.approx(rule.f1_)


def test_the_rule_of_drawn_pixels_is_nearly_that_of_all(store) -> None:
    few, every = (fit("slope_ndvi_rule", store, TRAIN, per_patch=n).estimator for n in (128, 10_000))
    assert few.f1_ == pytest.approx(every.f1_, abs=0.03)
    image, label = held(store)
    scores = [
        f1(predict(fit("slope_ndvi_rule", store, TRAIN, per_patch=n), image) >= 0.5, label)
        for n in (128, 10_000)
    ]
    assert scores[0] == pytest.approx(scores[1], abs=0.03)


def test_the_rule_finds_the_thresholds_of_the_example(store, fitted) -> None:
    rule = fitted["slope_ndvi_rule"].estimator
    assert rule.thresholds_["slope"] == pytest.approx(2.5, abs=0.2)
    assert rule.thresholds_["NDVI"] == pytest.approx(0.3, abs=0.05)
    assert str(rule).startswith("slope ≥ 2.")


def test_one_half_is_exactly_the_rule_at_any_precision(store, fitted) -> None:
    rule = fitted["slope_ndvi_rule"].estimator.thresholds_
    image, _ = held(store)
    image[0, 0, 0, example.SLOPE], image[0, 0, 0, example.NDVI] = rule["slope"], rule["NDVI"]
    image[0, 0, 1, example.SLOPE], image[0, 0, 1, example.NDVI] = np.float32(rule["slope"]) * 0.9999999, 0.0
    image[0, 0, 2, example.SLOPE] = np.nan
    mask = (image[..., example.SLOPE] >= rule["slope"]) & (image[..., example.NDVI] <= rule["NDVI"])
    found = predict(fitted["slope_ndvi_rule"], image)
    assert mask[0, 0, 0]
    assert not mask[0, 0, 1]
    assert found[0, 0, 2] == 0
    for precision in (np.float32, np.float16):
        np.testing.assert_array_equal(found.astype(precision) >= 0.5, mask)


def test_the_margin_of_the_rule_ranks_pixels(fitted) -> None:
    rule = fitted["slope_ndvi_rule"].estimator.thresholds_
    image = np.zeros((1, 1, 4, 29), np.float32)
    image[0, 0, :, example.SLOPE] = rule["slope"] + np.array([-1, 0.1, 1, 3])
    image[0, 0, :, example.NDVI] = rule["NDVI"] - np.array([2, 2, 2, 2])
    assert (np.diff(predict(fitted["slope_ndvi_rule"], image)[0, 0]) > 0).all()


# === Boosting ===


def test_boosting_marks_held_out_landslides(store, fitted) -> None:
    image, label = held(store)
    scores = {name: f1(predict(one, image) >= 0.5, label) for name, one in fitted.items()}
    assert scores["majority"] == 0
    assert scores["pixel_boosting"] > 0.7
    assert scores["slope_ndvi_rule"] > 0.7


def test_boosting_gives_the_share_of_the_patches(store, fitted) -> None:
    image, label = held(store)
    found = predict(fitted["pixel_boosting"], image)[label != 255]
    assert found.mean() == pytest.approx((label == 1).sum() / (label != 255).sum(), rel=0.15)


def test_boosting_sees_the_pixel_alone(store, fitted) -> None:
    image, _ = held(store)
    found = predict(fitted["pixel_boosting"], image)
    order = np.random.default_rng(0).permutation(example.SIDE)
    np.testing.assert_array_equal(predict(fitted["pixel_boosting"], image[:, order]), found[:, order])
    assert set(fitted["pixel_boosting"].estimator.feature_names_in_) == set(PIXEL_CHANNELS)


# === What does not fit ===


def test_unknown_names_and_options_are_corrected(store) -> None:
    with pytest.raises(ParameterError, match="no baseline 'majorty': did you mean 'majority'"):
        fit("majorty", store, TRAIN)
    with pytest.raises(ParameterError, match="no option 'step': did you mean 'steps'"):
        fit("slope_ndvi_rule", store, TRAIN, step=3)


def test_patches_that_teach_nothing_are_refused(store) -> None:
    for name in ("slope_ndvi_rule", "pixel_boosting"):
        with pytest.raises(DataError, match=f"show 1 class: {name} needs 2 or more"):
            fit(name, store, list(example.EMPTY))
    for name in NAMES:
        with pytest.raises(DataError, match="Training samples show 0 classes"):
            fit(name, store, [example.UNKNOWN])
        with pytest.raises(DataError, match="No sample is given"):
            fit(name, store, [])


def test_files_that_are_no_baseline_are_refused(tmp_path) -> None:
    with pytest.raises(DataError, match="found no file"):
        baselines.load(tmp_path / "none.joblib")
    (tmp_path / "bad.joblib").write_bytes(b"nothing")
    with pytest.raises(DataError, match="unreadable file"):
        baselines.load(tmp_path / "bad.joblib")
    joblib.dump([1], tmp_path / "list.joblib")
    with pytest.raises(DataError, match="found a list"):
        baselines.load(tmp_path / "list.joblib")


# === Values of pixels ===


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Patches of 8 × 11 pixels whose value is 2 · red − near infrared; every fifth pixel is not known."""
    rng = np.random.default_rng(0)
    image = rng.normal(0, 1, (30, 8, 11, 2)).astype(np.float32)
    label = 2 * image[..., 0] - image[..., 1] + rng.normal(0, 0.1, image.shape[:3]).astype(np.float32)
    label.reshape(30, -1)[:, ::5] = np.nan
    label[3] = np.nan
    return write_store(
        tmp_path_factory.mktemp("values") / "store",
        pd.DataFrame({"id": np.arange(30), "part": 0}),
        {
            "image": ArraySpec(("y", "x", "band"), (8, 11, 2), "float32"),
            "label": ArraySpec(("y", "x"), (8, 11), "float32", {}, "allow"),
        },
        "part",
        lambda rows: {"image": image[rows["id"]], "label": label[rows["id"]]},
        {},
        {"coords": {"band": ["red", "nir"]}},
        progress=False,
    )


@pytest.mark.parametrize(("name", "most"), [("mean", 1.1), ("linear", 0.02), ("random_forest", 0.3)])
def test_regression_of_pixels_leaves_out_unknown_values(values, name, most, tmp_path) -> None:
    options = {} if name == "mean" else {"per_patch": 60}
    baseline = baselines.build("regression", name, **options).fit(values, np.arange(20))
    found = baseline.predict(values, np.arange(20, 30), tmp_path, "test")
    assert found.shape == (10, 8, 11)
    assert found.dtype == np.float32
    truth = values.gather(np.arange(20, 30))["label"]
    error = np.nanmean((found - truth) ** 2) / np.nanvar(truth)
    assert error < most
    assert [file.name for file in tmp_path.iterdir()] == ["test_value.npy"]
    with pytest.raises(DataError, match="no known value"):
        baseline.fit(values, [3])


def test_the_mean_and_the_linear_model_are_those_of_numpy(values) -> None:
    rows = np.arange(20)
    data = values.gather(rows)
    known = np.isfinite(data["label"])
    image = values.gather(np.array([25]))["image"]
    mean = baselines.build("regression", "mean", per_patch=1000).fit(values, rows)
    np.testing.assert_allclose(
        mean.predict_on_batch({"image": image}), data["label"][known].mean(), rtol=1e-5
    )
    linear = baselines.build("regression", "linear", per_patch=1000).fit(values, rows)
    design = np.column_stack([data["image"][known], np.ones(known.sum())])
    weights = np.linalg.lstsq(design, data["label"][known], rcond=None)[0]
    np.testing.assert_allclose(
        linear.predict_on_batch({"image": image}), image @ weights[:2] + weights[2], atol=1e-4
    )


@pytest.mark.parametrize("name", ["mean", "linear", "random_forest", "nearest"])
def test_padding_and_clouds_without_values_teach_nothing(values, name) -> None:
    """Neither images padded with NaN, nor labels of pixels of which no band was observed, change a value."""
    rows, data = np.arange(20), values.gather(np.arange(20))
    image = np.full((20, 12, 14, 2), np.nan, np.float32)
    label = np.full((20, 12, 14), np.nan, np.float32)
    image[:, :8, :11], label[:, :8, :11] = data["image"], data["label"]
    cloudy = label.copy()
    cloudy[5, 9], cloudy[6, :, 12] = 1e6, -1e6  # labels in the padding
    found = []
    for images, labels in ((data["image"], data["label"]), (image, label), (image, cloudy)):
        memory = MemoryStore({"image": images, "label": labels}, ("red", "nir"))
        memory.table, memory.arrays_spec = values.table, {"label": labels[0]}
        options = {"trees": 5} if name == "random_forest" else {}
        baseline = baselines.build("regression", name, per_patch=1000, **options).fit(memory, rows)
        found.append(baseline.predict_on_batch({"image": data["image"]}))
        assert np.isfinite(baseline.predict_on_batch({"image": image})).all()
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4, atol=1e-5)
    if name != "mean":  # which reads no band
        np.testing.assert_array_equal(found[2], found[1])


def test_nearest_gives_a_pixel_the_value_of_the_training_pixel_most_like_it(values, tmp_path) -> None:
    """Against all distances; bands of other units count alike, and a file of it is read again."""
    rows, data = np.arange(20), values.gather(np.arange(20))
    image = data["image"] * [1, 1000] + [0, 5000]
    known, memory = np.isfinite(data["label"]), MemoryStore({"image": image, "label": data["label"]})
    memory.bands, memory.table, memory.arrays_spec = ("red", "nir"), values.table, values.arrays_spec
    baseline = baselines.build("regression", "nearest", per_patch=1000).fit(memory, rows)
    scale = image[known].std(axis=0)
    asked = values.gather(np.array([25]))["image"] * [1, 1000] + [0, 5000]
    apart = ((asked.reshape(-1, 1, 2) - image[known]) / scale) ** 2
    expected = data["label"][known][apart.sum(-1).argmin(1)].reshape(1, 8, 11)
    path = baseline.save(tmp_path / "model.joblib")
    for one in (baseline, baselines.load(path)):
        np.testing.assert_array_equal(one.predict_on_batch({"image": asked}), expected)
    np.testing.assert_array_equal(  # a training pixel is most like itself
        baseline.predict_on_batch({"image": image})[known], data["label"][known]
    )
    few = baselines.build("regression", "nearest", max_pixels=100).fit(memory, rows)
    assert few.estimator["model"].n_samples_fit_ == 95  # five of each patch that has known pixels


# === Several classes ===


def test_a_forest_of_pixels_tells_several_classes(values) -> None:
    image = values.gather(np.arange(20))["image"]
    label = np.digitize(image[..., 0], [-0.5, 0.5]).astype(np.uint8)
    label[:, 0] = 255
    memory = MemoryStore({"image": image, "label": label}, ["red", "nir"])
    memory.table, memory.arrays_spec = pd.DataFrame({"id": np.arange(20)}), values.arrays_spec
    forest = baselines.build(TASK, "random_forest", classes=3, per_patch=40, trees=20).fit(
        memory, np.arange(15)
    )
    found = forest.predict(memory, np.arange(15, 20))
    assert found.shape == (5, 8, 11, 3)
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)
    assert (found.argmax(-1) == np.digitize(image[15:, ..., 0], [-0.5, 0.5])).mean() > 0.9
    shares = baselines.build(TASK, "majority", classes=3).fit(memory, np.arange(15)).predict(memory, [16])
    expected = np.bincount(label[:15, 1:].ravel(), minlength=3) / label[:15, 1:].size
    np.testing.assert_allclose(shares[0, 0, 0], expected, rtol=1e-5)
