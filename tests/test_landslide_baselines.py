"""Baselines for landslide masks: majority, rule of slope and NDVI, boosting of single pixels."""

from __future__ import annotations

import joblib
import landslide_example as example
import numpy as np
import pytest

from eolab.core.errors import DataError, ParameterError
from eolab.data.store import Store
from eolab.studies.landslide import baselines, tabular

ROWS = np.arange(example.PATCHES)
TRAIN, HELD = ROWS[:28], ROWS[28:]
OPTIONS = {"pixel_boosting": {"per_patch": 64, "iterations": 40}}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return example.write(tmp_path_factory.mktemp("baselines") / "store")


@pytest.fixture(scope="module")
def fitted(store: Store) -> dict[str, baselines.Baseline]:
    return {name: baselines.fit(name, store, TRAIN, **OPTIONS.get(name, {})) for name in baselines.names()}


def f1(prediction: np.ndarray, label: np.ndarray) -> float:
    """F1 of class 1 over all known pixels, counted by hand."""
    known = label != 255
    hit = (prediction & (label == 1))[known].sum()
    return 2 * hit / max(prediction[known].sum() + (label == 1).sum(), 1)


def held(store: Store) -> tuple[np.ndarray, np.ndarray]:
    data = store.gather(HELD)
    return data["image"], data["label"]


# === Each of them ===


def test_names_are_ordered_from_the_most_trivial() -> None:
    assert baselines.names() == ("majority", "slope_ndvi_rule", "pixel_boosting")


@pytest.mark.parametrize("name", baselines.names())
def test_probabilities_are_of_pixels_and_do_not_depend_on_the_batch(store, fitted, name, monkeypatch) -> None:
    image, _ = held(store)
    found = fitted[name].predict(image)
    assert found.shape == image.shape[:3]
    assert found.dtype == np.float32
    assert ((found >= 0) & (found <= 1)).all()
    np.testing.assert_array_equal(fitted[name].predict(image[3:4])[0], found[3])
    monkeypatch.setattr(baselines, "A_CORE", 5)
    np.testing.assert_array_equal(fitted[name].predict(image), found)
    assert fitted[name].predict(image[:0]).shape == (0, example.SIDE, example.SIDE)


@pytest.mark.parametrize("name", baselines.names())
def test_a_saved_baseline_is_the_same(store, fitted, name, tmp_path) -> None:
    path = fitted[name].save(tmp_path / "model.joblib")
    assert [file.name for file in tmp_path.iterdir()] == ["model.joblib"]
    image, _ = held(store)
    np.testing.assert_array_equal(baselines.load(path).predict(image), fitted[name].predict(image))
    assert str(baselines.load(path)) == str(fitted[name])


@pytest.mark.parametrize("name", baselines.names())
def test_fitting_again_gives_the_same(store, fitted, name) -> None:
    image, _ = held(store)
    again = baselines.fit(name, store, TRAIN, **OPTIONS.get(name, {}))
    np.testing.assert_array_equal(again.predict(image), fitted[name].predict(image))


@pytest.mark.parametrize("name", baselines.names())
def test_pixels_without_a_label_teach_nothing(fitted, name, tmp_path, monkeypatch) -> None:
    patch = example.patch

    def disturbed(number: int, side: int = example.SIDE) -> tuple[np.ndarray, np.ndarray]:
        image, label = patch(number, side)
        image[label == 255] = 50.0
        return image, label

    monkeypatch.setattr(example, "patch", disturbed)
    other = example.write(tmp_path / "store")
    again = baselines.fit(name, other, TRAIN, **OPTIONS.get(name, {}))
    image = np.stack([patch(row)[0] for row in HELD])
    np.testing.assert_array_equal(again.predict(image), fitted[name].predict(image))


@pytest.mark.parametrize("name", baselines.names())
def test_few_patches_are_in_memory_at_once(store, name, monkeypatch) -> None:
    asked = []
    gather = Store.gather
    monkeypatch.setattr(tabular, "AT_ONCE", 6)
    monkeypatch.setattr(
        Store, "gather", lambda self, rows, names: asked.append(len(rows)) or gather(self, rows, names)
    )
    baselines.fit(name, store, TRAIN, **OPTIONS.get(name, {}))
    assert sum(asked) >= len(TRAIN)
    assert max(asked) <= 6


def test_an_image_of_other_channels_is_refused(fitted) -> None:
    with pytest.raises(DataError, match=r"expected \(patches, y, x, 26\)"):
        fitted["majority"].predict(np.zeros((1, 4, 4, 14)))


# === Majority ===


def test_majority_is_the_share_of_known_training_pixels(store, fitted) -> None:
    label = store.gather(TRAIN)["label"]
    share = (label == 1).sum() / (label != 255).sum()
    assert np.unique(fitted["majority"].predict(held(store)[0])) == pytest.approx(share)
    empty = baselines.fit("majority", store, list(example.EMPTY))
    assert empty.predict(held(store)[0]).max() == 0


# === Rule ===


def test_the_rule_has_the_best_f1_of_all_thresholds(store) -> None:
    rule = baselines.fit("slope_ndvi_rule", store, TRAIN, steps=12)
    data = store.gather(TRAIN)
    slope, ndvi = data["image"][..., example.SLOPE], data["image"][..., example.NDVI]
    drawn = baselines._balanced(tabular.pixel_table(store, TRAIN, 128, 0, ("slope", "NDVI")))
    tried = [np.quantile(drawn[name], np.linspace(0, 1, 12), method="nearest") for name in ("slope", "NDVI")]
    scores = {(s, v): f1((slope >= s) & (ndvi <= v), data["label"]) for s in tried[0] for v in tried[1]}
    assert rule.f1 == pytest.approx(max(scores.values()))
    assert scores[rule.slope, rule.ndvi] == pytest.approx(rule.f1)


def test_the_rule_finds_the_thresholds_of_the_example(store, fitted) -> None:
    rule = fitted["slope_ndvi_rule"]
    assert rule.slope == pytest.approx(2.5, abs=0.2)
    assert rule.ndvi == pytest.approx(0.3, abs=0.05)
    assert str(rule).startswith("landslide where slope ≥ 2.")


def test_one_half_is_exactly_the_rule_at_any_precision(store, fitted) -> None:
    rule = fitted["slope_ndvi_rule"]
    image, _ = held(store)
    image[0, 0, 0, example.SLOPE], image[0, 0, 0, example.NDVI] = rule.slope, rule.ndvi
    image[0, 0, 1, example.SLOPE], image[0, 0, 1, example.NDVI] = np.float32(rule.slope) * 0.9999999, 0.0
    image[0, 0, 2, example.SLOPE] = np.nan
    mask = (image[..., example.SLOPE] >= rule.slope) & (image[..., example.NDVI] <= rule.ndvi)
    found = rule.predict(image)
    assert mask[0, 0, 0]
    assert not mask[0, 0, 1]
    assert found[0, 0, 2] == 0
    for precision in (np.float32, np.float16):
        np.testing.assert_array_equal(found.astype(precision) >= 0.5, mask)


def test_the_margin_of_the_rule_ranks_pixels(fitted) -> None:
    rule = fitted["slope_ndvi_rule"]
    image = np.zeros((1, 1, 4, 26), np.float32)
    image[0, 0, :, example.SLOPE] = rule.slope + np.array([-1, 0.1, 1, 3])
    image[0, 0, :, example.NDVI] = rule.ndvi - np.array([2, 2, 2, 2])
    assert (np.diff(rule.predict(image)[0, 0]) > 0).all()


# === Boosting ===


def test_boosting_marks_held_out_landslides(store, fitted) -> None:
    image, label = held(store)
    scores = {name: f1(one.predict(image) >= 0.5, label) for name, one in fitted.items()}
    assert scores["majority"] == 0
    assert scores["pixel_boosting"] > 0.7
    assert scores["slope_ndvi_rule"] > 0.7


def test_boosting_gives_the_share_of_the_patches(store, fitted) -> None:
    image, label = held(store)
    found = fitted["pixel_boosting"].predict(image)[label != 255]
    assert found.mean() == pytest.approx((label == 1).sum() / (label != 255).sum(), rel=0.15)


def test_boosting_sees_the_pixel_alone(store, fitted) -> None:
    image, _ = held(store)
    found = fitted["pixel_boosting"].predict(image)
    order = np.random.default_rng(0).permutation(example.SIDE)
    np.testing.assert_array_equal(fitted["pixel_boosting"].predict(image[:, order]), found[:, order])
    assert set(fitted["pixel_boosting"].model.feature_names_in_) == set(tabular.CHANNELS)


# === What does not fit ===


def test_unknown_names_and_options_are_corrected(store) -> None:
    with pytest.raises(ParameterError, match="no baseline 'majorty'; did you mean 'majority'"):
        baselines.fit("majorty", store, TRAIN)
    with pytest.raises(ParameterError, match="no option 'step'; did you mean 'steps'"):
        baselines.fit("slope_ndvi_rule", store, TRAIN, step=3)


def test_patches_that_teach_nothing_are_refused(store) -> None:
    for name in ("slope_ndvi_rule", "pixel_boosting"):
        with pytest.raises(DataError, match="2 training patches have no landslide pixel"):
            baselines.fit(name, store, list(example.EMPTY))
    for name in baselines.names():
        with pytest.raises(DataError, match="1 training patches have no l"):
            baselines.fit(name, store, [example.UNKNOWN])
        with pytest.raises(DataError, match="No patch is given"):
            baselines.fit(name, store, [])


def test_files_that_are_no_baseline_are_refused(tmp_path) -> None:
    with pytest.raises(DataError, match="found no file"):
        baselines.load(tmp_path / "none.joblib")
    (tmp_path / "bad.joblib").write_bytes(b"nothing")
    with pytest.raises(DataError, match="unreadable file"):
        baselines.load(tmp_path / "bad.joblib")
    joblib.dump([1], tmp_path / "list.joblib")
    with pytest.raises(DataError, match="found a list"):
        baselines.load(tmp_path / "list.joblib")
