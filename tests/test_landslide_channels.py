"""Channels of the landslide study against worked examples, SciPy per patch, plain loops and OpenCV."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage, signal

from eolab import runs
from eolab.core.errors import DataError, ParameterError, StoreError
from eolab.data.layouts.landslide4sense import BANDS
from eolab.data.store import ArraySpec, Store, write_store
from eolab.studies.landslide import channels

SIDE = 32
SETS = {
    str(line["published channels"]): line["channel_groups"]
    for line in runs.study.load("landslide").sweeps["channels"].published.to_dict("records")
}
SENTINEL = runs.study.load("landslide").sweeps["sentinel_only"].points[0]["channel_groups"]


def patches(count: int, seed: int = 0, side: int = SIDE) -> np.ndarray:
    """Images (count, side, side, 14) with fields, smooth slopes and noise, never negative."""
    rng = np.random.default_rng(seed)
    image = rng.standard_normal((count, side, side, 14))
    image = 8 * ndimage.gaussian_filter(image, (0, 2, 2, 0)) + 0.1 * image
    image[:, side // 3 : side // 2, side // 4 :] += 0.8
    return (1 + 0.3 * image).clip(0).astype(np.float32)


def channel(stored: np.ndarray, name: str) -> np.ndarray:
    return stored[..., channels.STORED.index(name)]


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return patches(11)


@pytest.fixture(scope="module")
def stored(image) -> np.ndarray:
    return channels.compute(image)


@pytest.fixture(scope="module")
def gray(stored) -> np.ndarray:
    return channel(stored, "gray")


# === Names and counts ===


def test_the_report_s_sets_have_its_numbers_of_channels():
    for name, groups in SETS.items():
        names = channels.channel_names(groups)
        assert len(names) == len(set(names)) == int(name)
    assert list(SETS) == ["9", "14", "17", "21", "23", "25", "26", "22"]


def test_sets_without_terrain_hold_neither_slope_nor_elevation():
    names = set(channels.channel_names(SENTINEL))
    assert names == set(channels.channel_names(SETS["23"])) - {"slope", "dem"}


def test_29_channels_are_stored_and_every_group_is_made_of_them():
    assert len(channels.STORED) == len(set(channels.STORED)) == 29
    assert channels.STORED[:14] == BANDS
    for group, names in channels.GROUPS.items():
        assert group == "rgb_global" or set(names) <= set(channels.STORED), group
    assert set(channels.GROUPS["sentinel"]) | set(channels.GROUPS["terrain"]) == set(BANDS)


def test_a_channel_named_by_two_groups_comes_once():
    assert channels.channel_names(["ndvi", "indices", "rgb", "bands"])[:7] == (
        *("NDVI", "VI", "NBR", "gray"),
        *("B04", "B03", "B02"),
    )
    assert len(channels.channel_names(["ndvi", "indices", "rgb", "bands"])) == 18
    assert channels.channel_names("terrain") == ("slope", "dem")


def test_unknown_groups_are_named():
    with pytest.raises(ParameterError, match="did you mean 'gradient'"):
        channels.channel_names(["bands", "gradients"])
    with pytest.raises(ParameterError, match="No channels are chosen"):
        channels.channel_names([])


# === Values of a pixel ===


def test_indices_of_a_worked_example():
    """B02 0.3, B03 0.6, B04 0.9, B08 2.1, B11 1.4, B12 0.7 as published in one pixel, zeros in another.

    In digital numbers B04 is 400.66, B08 4076.78, B11 1559.58, B12 363.93.
    """
    image = np.zeros((1, 2, 1, 14), np.float32)
    values = {"B02": 0.3, "B03": 0.6, "B04": 0.9, "B08": 2.1, "B11": 1.4, "B12": 0.7}
    for band, value in values.items():
        image[0, 0, 0, BANDS.index(band)] = value
    stored = channels.compute(image)[0, :, 0]
    expected = {"NDVI_as_is": 1.2 / 3.0, "VI_as_is": 0.7 / 3.5, "NBR_as_is": 1.4 / 2.8, "gray": 0.6}
    expected |= {"NDVI": 3676.12 / 4477.43, "VI": 2517.20 / 5636.35, "NBR": 3712.84 / 4440.71}
    for name, value in expected.items():
        assert channel(stored, name)[0] == pytest.approx(value, rel=1e-5), name
        assert channel(stored, name)[1] == 0


def test_dense_vegetation_has_its_ndvi_and_the_one_of_values_as_they_are():
    """0.765 of reflectance, 0.265 of values that were divided by two constants."""
    image = np.ones((1, 1, 1, 14), np.float32)
    image[..., BANDS.index("B04")], image[..., BANDS.index("B08")] = (
        300 / 445.17289745,
        2253.2 / 1941.32229668,
    )
    stored = channels.compute(image)[0, 0, 0]
    assert channel(stored, "NDVI") == pytest.approx(0.765, abs=0.001)
    assert channel(stored, "NDVI_as_is") == pytest.approx(0.265, abs=0.001)


def test_bands_are_stored_as_they_are(image, stored):
    assert stored.dtype == np.float32
    np.testing.assert_array_equal(stored[..., :14], image)


def test_local_colours_have_the_range_of_their_patch(image, stored):
    bands = {"red": "B04", "green": "B03", "blue": "B02"}
    for number in range(len(image)):
        for colour, band in bands.items():
            values = image[number, ..., BANDS.index(band)].astype(float)
            expected = (values - values.min()) / (values.max() - values.min())
            found = channel(stored[number], f"rgb_local_{colour}")
            np.testing.assert_allclose(found, expected, atol=1e-6)
            assert (found.min(), found.max()) == (0, 1)


def test_a_uniform_patch_has_no_local_colour_no_gradient_and_no_edge():
    stored = channels.compute(np.full((2, SIDE, SIDE, 14), 1.5, np.float32))
    for name in (*channels.LOCAL, *channels.GRADIENT, "edges", *channels.AS_IS):
        np.testing.assert_array_equal(channel(stored, name), 0)
    for name in ("gray", *channels.BLUR):
        np.testing.assert_allclose(channel(stored, name), 1.5, rtol=1e-6)


def test_all_values_are_finite_where_bands_are_zero():
    image = patches(2)
    image[:, 5:20] = 0
    assert np.isfinite(channels.compute(image)).all()


# === Neighbourhoods ===


def test_gaussian_blur_is_the_weighted_sum_over_11_pixels(stored, gray):
    offsets = np.arange(-5, 6)
    weights = np.exp(-0.5 * (offsets / 1.85) ** 2)
    kernel = np.outer(weights, weights) / weights.sum() ** 2
    for number in (0, 9):
        expected = signal.correlate2d(gray[number].astype(float), kernel, "same", "symm")
        np.testing.assert_allclose(channel(stored, "blur_gaussian")[number], expected, rtol=1e-5)


def test_median_blur_is_the_51st_of_100_values(stored, gray):
    for number in (0, 9):
        expected = ndimage.median_filter(gray[number], size=10)
        np.testing.assert_array_equal(channel(stored, "blur_median")[number], expected)
    padded = np.pad(gray[0], (5, 4), mode="symmetric")
    for row, column in ((0, 0), (13, 20), (SIDE - 1, 3)):
        window = padded[row : row + 10, column : column + 10]
        assert channel(stored, "blur_median")[0, row, column] == np.sort(window, axis=None)[50]


@pytest.mark.parametrize("k", [1, 2, 3, 5, 10])
def test_medians_of_all_windows_agree_with_scipy(gray, k):
    expected = np.stack([ndimage.median_filter(patch, size=k) for patch in gray])
    np.testing.assert_array_equal(channels.median_blur(gray, k), expected)


def test_medians_of_patches_smaller_than_the_window():
    tiny = np.random.default_rng(0).random((3, 3, 4), np.float32)
    expected = np.stack([ndimage.median_filter(patch, size=10) for patch in tiny])
    np.testing.assert_array_equal(channels.median_blur(tiny), expected)


def test_gradients_are_sobel_s_to_the_right_and_downward(stored, gray):
    kernel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    for number in (0, 9):
        plane = gray[number].astype(float)
        for name, weights in (("gradient_x", kernel), ("gradient_y", kernel.T)):
            expected = signal.correlate2d(plane, weights, "same", "symm")
            np.testing.assert_allclose(channel(stored, name)[number], expected, atol=1e-5)
    slope = np.broadcast_to(np.arange(SIDE, dtype=np.float32), (1, SIDE, SIDE))
    np.testing.assert_array_equal(channels.sobel(slope, axis=2)[:, :, 1:-1], 8)
    np.testing.assert_array_equal(channels.sobel(slope, axis=1), 0)


def test_patches_do_not_touch_each_other(image, stored):
    for number in range(len(image)):
        np.testing.assert_array_equal(channels.compute(image[number : number + 1])[0], stored[number])
    np.testing.assert_array_equal(channels.compute(image[::-1])[::-1], stored)


# === Edges ===


def eight_bits(patch: np.ndarray) -> np.ndarray:
    """A patch (H, W) as 0 to 255 between its 1st and 99th percentile."""
    low, high = np.percentile(patch, [1, 99])
    return np.rint(np.interp(patch, (low, high), (0, 255))).astype(np.uint8)


def smoothed(gray: np.ndarray) -> np.ndarray:
    """Patches as 8 bits after a Gaussian of one pixel, patch by patch."""
    smooth = [ndimage.gaussian_filter(eight_bits(p).astype(float), 1.0, mode="nearest") for p in gray]
    return np.rint(smooth).astype(np.uint8)


def test_edges_are_opencv_s_to_the_pixel():
    cv2 = pytest.importorskip("cv2")
    gray = channel(channels.compute(patches(8, seed=3, side=128)), "gray")
    expected = np.stack([cv2.Canny(p, 100, 200, L2gradient=True) for p in smoothed(gray)]) > 0
    assert 0.02 < expected.mean() < 0.4
    np.testing.assert_array_equal(channels.canny(gray), expected)
    for low, high in ((20, 60), (60, 61), (150, 400)):
        expected = np.stack([cv2.Canny(p, low, high, L2gradient=True) for p in smoothed(gray)]) > 0
        np.testing.assert_array_equal(channels.trace(smoothed(gray), low, high), expected)


def test_edges_of_noise_are_opencv_s_too():
    """Noise has ties, plateaus and all directions; a 7-value image most of all."""
    cv2 = pytest.importorskip("cv2")
    rng = np.random.default_rng(0)
    for levels in (7, 256):
        bits = (rng.integers(0, levels, (5, 48, 64)) * (255 // (levels - 1))).astype(np.uint8)
        expected = np.stack([cv2.Canny(p, 100, 200, L2gradient=True) for p in bits]) > 0
        np.testing.assert_array_equal(channels.trace(bits, 100, 200), expected)


def test_nearly_all_edges_are_those_of_opencv_s_own_smoothing():
    """OpenCV smooths 8 bits with integers, so a few pixels round otherwise: at least 99 % agree."""
    cv2 = pytest.importorskip("cv2")
    gray = channel(channels.compute(patches(8, seed=4, side=128)), "gray")
    found = channels.canny(gray)
    for patch, own in zip(gray, found, strict=True):
        smooth = cv2.GaussianBlur(eight_bits(patch), (9, 9), 1.0, borderType=cv2.BORDER_REPLICATE)
        assert ((cv2.Canny(smooth, 100, 200, L2gradient=True) > 0) == own).mean() >= 0.99


def test_one_bright_pixel_does_not_hide_the_edges_of_its_patch(gray):
    bright = gray.copy()
    bright[:, 3, 3] = 50
    usual, found = channels.canny(gray)[:, 8:], channels.canny(bright)[:, 8:]
    assert usual.mean() > 0.1
    assert (usual == found).mean() > 0.97  # were they gone, it would be 1 less their share


def test_a_step_has_one_edge_as_wide_as_a_pixel():
    gray = np.zeros((1, SIDE, SIDE), np.float32)
    gray[:, :, 12:] = 1
    found = channels.canny(gray)[0]
    np.testing.assert_array_equal(found.sum(axis=1), 1)
    assert set(np.argmax(found, axis=1)) <= {11, 12}


def test_weak_edges_stay_only_beside_strong_ones_and_never_across_patches():
    """The same weak line: alone it vanishes, also between patches with strong lines at the same place."""
    weak, strong = np.zeros((SIDE, SIDE)), np.zeros((SIDE, SIDE))
    weak[:, 16:] = 30  # Sobel 4 × 30 = 120, between 100 and 200
    strong[:, 16:] = 100
    joined = weak.copy()
    joined[:8, 16:] = 100
    found = channels.trace(np.stack([strong, weak, strong, joined]), 100, 200)
    assert [bool(patch.any()) for patch in found] == [True, False, True, True]
    assert found[3, 12:].any(axis=1).all()


# === Shapes ===


def test_other_shapes_end_in_a_sentence(image):
    for wrong in (image[0], image[..., :13], image[:, :0]):
        with pytest.raises(DataError, match=r"expected \(patches, y, x, 14\)"):
            channels.compute(wrong)
    assert channels.compute(image[:0]).shape == (0, SIDE, SIDE, 29)


# === Selecting from a store ===


@pytest.fixture(scope="module")
def store(tmp_path_factory, image) -> Store:
    return write(tmp_path_factory.mktemp("store") / "store", image, list(channels.STORED))


def write(folder, image: np.ndarray, names: list[str]) -> Store:
    spec = {"image": ArraySpec(("y", "x", "band"), (SIDE, SIDE, 29), "float32", {"units": "1"}, "forbid")}
    table = pd.DataFrame({"id": np.arange(len(image)), "part": np.arange(len(image)) // 4})
    return write_store(
        folder,
        table,
        spec,
        "part",
        lambda rows: {"image": channels.compute(image[rows["id"].to_numpy()])},
        {"count": len(image)},
        {"coords": {"band": names}, "simulated": True},
        progress=False,
    )


TRAIN = np.array([0, 2, 3, 7])


@pytest.mark.parametrize("name", SETS)
def test_channels_have_the_statistics_of_the_training_rows(store, name):
    chosen = channels.select(SETS[name], store, TRAIN)
    assert chosen.names == channels.channel_names(SETS[name])
    made = chosen.assemble(store.gather(TRAIN)["image"])
    assert made.shape == (4, SIDE, SIDE, int(name.split("_")[0]))
    assert made.dtype == np.float32
    values = made.reshape(-1, made.shape[-1]).astype(float)
    np.testing.assert_allclose(chosen.mean, values.mean(0), atol=1e-5)
    np.testing.assert_allclose(chosen.std, values.std(0), atol=1e-5)


def test_global_colours_have_the_range_of_the_training_rows(store, image):
    chosen = channels.select(["ndvi", "rgb_global"], store, TRAIN)
    made = chosen.assemble(store.gather(np.arange(len(store)))["image"])
    for number, band in enumerate(("B04", "B03", "B02"), start=1):
        values = image[..., BANDS.index(band)].astype(float)
        low, high = values[TRAIN].min(), values[TRAIN].max()
        np.testing.assert_allclose(made[..., number], (values - low) / (high - low), atol=1e-5)
        assert made[TRAIN, ..., number].min() == pytest.approx(0, abs=1e-6)
        assert made[TRAIN, ..., number].max() == pytest.approx(1, abs=1e-6)
    assert made[..., 1:].max() > 1.001  # other patches may lie outside the range


def test_patches_that_are_not_trained_on_change_nothing(tmp_path, store, image):
    changed = image.copy()
    changed[[1, 4]] *= 5
    other = write(tmp_path / "store", changed, list(channels.STORED))
    assert channels.select(["bands", "rgb_global"], other, TRAIN) == channels.select(
        ["bands", "rgb_global"], store, TRAIN
    )


def test_stored_images_are_not_changed_by_assembling(store, stored):
    chosen = channels.select("rgb_global", store, TRAIN)
    before = stored.copy()
    single = chosen.assemble(stored[2])
    np.testing.assert_array_equal(stored, before)
    assert single.shape == (SIDE, SIDE, 3)
    np.testing.assert_array_equal(single, chosen.assemble(stored)[2])
    with pytest.raises(DataError, match="give all channels of the store"):
        chosen.assemble(stored[..., :14])


def test_a_colour_that_is_constant_in_training_is_0(tmp_path):
    flat = write(tmp_path / "store", np.full((4, SIDE, SIDE, 14), 1.5, np.float32), list(channels.STORED))
    chosen = channels.select("rgb_global", flat, [0, 1])
    assert (chosen.assemble(flat.gather([0])["image"]) == 0).all()
    assert chosen.mean == chosen.std == (0, 0, 0)


def test_stores_of_other_channels_and_empty_training_end_in_a_sentence(tmp_path, store, image):
    with pytest.raises(ParameterError, match="no training rows"):
        channels.select(["bands"], store, [])
    with pytest.raises(ParameterError, match="Known: bands"):
        channels.select(["everything"], store, TRAIN)
    other = write(tmp_path / "store", image[:4], list(reversed(channels.STORED)))
    with pytest.raises(StoreError, match="write it again with 02_preprocess"):
        channels.select(["bands"], other, [0])
