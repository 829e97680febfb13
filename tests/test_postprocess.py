"""Post-processing against brute force, SciPy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage, optimize
from sklearn import metrics as reference
from sklearn.calibration import calibration_curve

from eolab.core.errors import DataError, ParameterError
from eolab.evaluation import metrics, postprocess

N, SIDE = 9, 16


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.choice(np.array([0, 1, 255], np.uint8), (N, SIDE, SIDE), p=[0.8, 0.15, 0.05])


@pytest.fixture(scope="module")
def probability(truth) -> np.ndarray:
    """Calibrated nowhere; with many ties."""
    rng = np.random.default_rng(1)
    logit = rng.normal(-2, 1.5, truth.shape) + 2.5 * (truth == 1)
    return np.round(1 / (1 + np.exp(-logit)), 3).astype(np.float32)


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of two patches, the last of one."""
    monkeypatch.setattr(metrics, "PIXELS_AT_ONCE", 2 * SIDE * SIDE)


def on_disk(tmp_path, name, values) -> np.ndarray:
    np.save(tmp_path / f"{name}.npy", values)
    return np.load(tmp_path / f"{name}.npy", mmap_mode="r")


# === Thresholds ===


def brute_curve(probability, truth, thresholds) -> pd.DataFrame:
    known = truth != 255
    true, rows = truth[known], []
    for threshold in thresholds:
        found = (probability[known].astype(np.float32) >= np.float32(threshold)).astype(int)
        both = {"labels": [0, 1], "average": "macro", "zero_division": 0}
        rows.append(
            {
                "threshold": threshold,
                "precision": reference.precision_score(true, found, zero_division=np.nan),
                "recall": reference.recall_score(true, found),
                "f1": reference.f1_score(true, found),
                "f2": reference.fbeta_score(true, found, beta=2),
                "iou": reference.jaccard_score(true, found),
                "macro_f1": reference.f1_score(true, found, **both),
                "mean_iou": reference.jaccard_score(true, found, **both),
                "balanced_accuracy": reference.balanced_accuracy_score(true, found),
            }
        )
    return pd.DataFrame(rows)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_the_curve_is_that_of_scoring_each_threshold_alone(probability, truth, dtype):
    """Thresholds on probabilities that occur, below all and above all of them included."""
    values = probability.astype(dtype)
    thresholds = [0.0, 0.05, float(values[0, 0, 0]), 0.4, 0.5, 0.9, 0.95, float(values.max()), 1.0]
    found = postprocess.threshold_curve(values, truth, thresholds[::-1])
    expected = brute_curve(values, truth, sorted(thresholds))
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)


def test_default_thresholds_are_hundredths_and_those_of_the_report(probability, truth):
    curve = postprocess.threshold_curve(probability, truth)
    assert curve["threshold"].tolist() == [n / 100 for n in range(1, 100)]
    assert {0.4, 0.5, 0.6, 0.75, 0.85, 0.9, 0.95, 0.99} < set(curve["threshold"])
    expected = brute_curve(probability, truth, [n / 100 for n in (1, 50, 77, 99)])
    rows = curve.iloc[[0, 49, 76, 98]].reset_index(drop=True)
    pd.testing.assert_frame_equal(rows, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_pixel_at_the_threshold_is_a_landslide_in_curve_and_mask_alike(dtype):
    values = np.nextafter(np.float32(0.4), [0, 0.4, 1], dtype=np.float32)
    values = np.array([0.4, *values], dtype).reshape(1, 1, -1)
    truth = np.ones(values.shape, np.uint8)
    for threshold in (0.4, 0.95, float(values.max())):
        curve = postprocess.threshold_curve(values, truth, [threshold])
        assert curve["recall"][0] == postprocess.decide(values, threshold).mean()
    assert postprocess.decide(np.array([0.5]), 0.5).tolist() == [True]


def test_the_chosen_threshold_is_the_best_of_all(probability, truth):
    probability = probability**3  # now the best lies near 0.5³
    curve = postprocess.threshold_curve(probability, truth)
    for statistic in ("f1", "mean_iou"):
        chosen = postprocess.choose_threshold(probability, truth, statistic)
        assert curve.set_index("threshold")[statistic][chosen] == curve[statistic].max()
        assert curve[statistic].max() > curve.set_index("threshold")[statistic][0.5]
    two = brute_curve(probability, truth, [0.2, 0.9]).set_index("threshold")["f1"]
    assert postprocess.choose_threshold(probability, truth, thresholds=[0.2, 0.9]) == two.idxmax()


def test_of_equally_good_thresholds_the_nearest_to_a_half_is_chosen():
    truth = np.array([[[0, 0, 1, 1]]], np.uint8)
    for low, high, expected in ((0.1, 0.9, 0.5), (0.1, 0.301, 0.3), (0.799, 0.95, 0.8), (0.4, 0.6, 0.5)):
        values = np.array([[[low, low, high, high]]], np.float32)
        assert postprocess.choose_threshold(values, truth) == expected
    values = np.array([[[0.1, 0.1, 0.9, 0.9]]], np.float32)
    assert postprocess.choose_threshold(values, truth, thresholds=[0.4, 0.6]) == 0.4  # as near: the lower


@pytest.mark.parametrize("statistic", ["f1", "balanced_accuracy"])
def test_thresholds_halfway_between_probabilities_are_tried_on_request(statistic):
    """The highest of many pixels is nearly 1 in every patch: hundredths would tell none apart."""
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 2, 60).astype(np.uint8)
    values = 0.99 + 0.01 * np.clip(0.4 * truth + 0.6 * rng.random(60), 0, 1)
    chosen = postprocess.choose_threshold(values, truth, statistic, "midpoints")
    score = {"f1": reference.f1_score, "balanced_accuracy": reference.balanced_accuracy_score}[statistic]
    best = max(score(truth, values >= limit) for limit in np.unique(values))
    assert score(truth, values >= chosen) == best
    ordered = np.unique(values)
    assert chosen in {ordered[0], *((ordered[1:] + ordered[:-1]) / 2)}


def test_labels_get_a_threshold_each():
    rng = np.random.default_rng(4)
    truth = (rng.random((80, 3)) < [0.5, 0.2, 0.0]).astype(np.uint8)
    values = np.clip(0.4 * truth + 0.6 * rng.random(truth.shape), 0, 1)
    found = postprocess.choose_threshold(values, truth, by_label=True, default=0.5)
    alone = [postprocess.choose_threshold(values[:, k], truth[:, k]) for k in range(2)]
    assert found.tolist() == [*alone, 0.5]  # the last class has no sample


def test_thresholds_name_wrong_input(probability, truth):
    with pytest.raises(DataError, match="No labelled pixel or sample is positive"):
        postprocess.choose_threshold(probability, np.zeros_like(truth))
    assert postprocess.choose_threshold(probability, np.zeros_like(truth), default=0.25) == 0.25
    with pytest.raises(DataError, match="nothing to score"):
        postprocess.threshold_curve(probability, np.full_like(truth, 255))
    with pytest.raises(ParameterError, match="'f3' of thresholds: did you mean 'f"):
        postprocess.choose_threshold(probability, truth, "f3")
    with pytest.raises(ParameterError, match="numbers from 0 to 1"):
        postprocess.threshold_curve(probability, truth, [50, 95])
    with pytest.raises(DataError, match="label 7"):
        postprocess.threshold_curve(probability, np.where(truth == 1, 7, truth))
    with pytest.raises(DataError, match=r"\(9, 16, 16\) and truth of shape \(8, 16, 16\)"):
        postprocess.threshold_curve(probability, truth[1:])
    broken = probability.copy()
    for value, text in ((np.nan, "nan"), (1.5, "1.5"), (-0.1, "-0.1")):
        broken[8, 3, 3] = value
        with pytest.raises(DataError, match=f"{text}.*apply softmax to logits"):
            postprocess.threshold_curve(broken, truth)


# === Morphology ===


def masks(share: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((N, SIDE, SIDE)) < share


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("name", ["opening", "closing"])
def test_morphology_is_that_of_scipy_patch_by_patch(name, size):
    mask = masks(0.75 if name == "opening" else 0.25)
    box = np.ones((size, size), bool)
    expected = []
    for patch in mask:
        if name == "opening":
            eroded = ndimage.binary_erosion(patch, box, border_value=1)
            expected.append(ndimage.binary_dilation(eroded, box))
        else:
            dilated = ndimage.binary_dilation(patch, box)
            expected.append(ndimage.binary_erosion(dilated, box, border_value=1))
    found = getattr(postprocess, name)(mask, size)
    assert found.dtype == bool
    np.testing.assert_array_equal(found, np.stack(expected))
    assert 0 < found.mean() < 1
    numbers = getattr(postprocess, name)(mask.astype(np.uint8), size)
    assert numbers.dtype == np.uint8
    np.testing.assert_array_equal(numbers, found)


def test_patches_are_not_mixed_and_borders_do_not_eat():
    mask = np.zeros((3, 8, 8), bool)
    mask[1] = True
    mask[2, :, 0] = True  # one pixel wide: goes
    mask[2, :2, 4:7] = True  # as wide as the square, cut by the border: stays
    opened = postprocess.opening(mask, 3)
    assert not opened[0].any()
    assert opened[1].all()
    assert not opened[2, :, 0].any()
    assert opened[2, :2, 4:7].all()
    noisy = masks(0.2, 3)
    inside = np.s_[:, 4:-4, 4:-4]  # where SciPy's own border does not reach
    for ours, theirs, mask in (
        (postprocess.opening, ndimage.binary_opening, ~noisy),
        (postprocess.closing, ndimage.binary_closing, noisy),
    ):
        expected = theirs(mask, np.ones((1, 3, 3), bool))
        assert 0.1 < expected[inside].mean() < 0.9
        np.testing.assert_array_equal(ours(mask)[inside], expected[inside])
    assert (postprocess.closing(noisy) >= noisy).all()
    assert (postprocess.opening(noisy) <= noisy).all()
    np.testing.assert_array_equal(postprocess.closing(noisy), ~postprocess.opening(~noisy))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", ["opening", "closing"])
def test_morphology_of_probabilities_gives_at_any_threshold_that_of_the_mask(name, dtype):
    probability = np.random.default_rng(5).random((3, 16, 16)).astype(dtype)
    change = getattr(postprocess, name)
    changed = change(probability, 3)
    assert changed.dtype == dtype
    for threshold in (0.05, 0.3, float(probability[1, 2, 3]), 0.75, 0.99):
        mask = change(postprocess.decide(probability, threshold), 3)
        np.testing.assert_array_equal(postprocess.decide(changed, threshold), mask)


def test_morphology_names_wrong_input():
    with pytest.raises(ParameterError, match="size is 4: expected an odd"):
        postprocess.opening(masks(0.5), 4)
    with pytest.raises(DataError, match="from 0 to 2: expected 0 to 1"):
        postprocess.closing(2 * masks(0.5).astype(np.float32))
    with pytest.raises(DataError, match="from 255 to 255: expected 0 to 1"):
        postprocess.closing(np.full((2, 4, 4), 255, np.uint8))
    with pytest.raises(DataError, match=r"\(16, 16\)"):
        postprocess.opening(masks(0.5)[0])


# === Averages ===


def resolutions(seed=0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "double": rng.random((N, 2 * SIDE, 2 * SIDE)).astype(np.float16),
        "half": rng.random((N, SIDE // 2, SIDE // 2)).astype(np.float16),
        "mask": rng.random((N, SIDE, SIDE)).astype(np.float16),
        "patch": rng.random(N).astype(np.float16),
    }


def test_a_multi_scale_average_is_the_mean_over_the_resolutions():
    outputs = resolutions()
    exact = {name: values.astype(np.float64) for name, values in outputs.items()}
    expected = np.empty((N, SIDE, SIDE))
    for n in range(N):
        for y in range(SIDE):
            for x in range(SIDE):
                within = exact["double"][n, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean()
                expected[n, y, x] = (exact["mask"][n, y, x] + exact["half"][n, y // 2, x // 2] + within) / 3
    found = postprocess.multi_scale_average(outputs)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)
    two = postprocess.multi_scale_average({name: outputs[name] for name in ("mask", "half")})
    np.testing.assert_allclose(two[4, 3, 7], (exact["mask"][4, 3, 7] + exact["half"][4, 1, 3]) / 2, atol=1e-6)


def test_a_multi_scale_average_names_what_is_missing():
    outputs = resolutions()
    with pytest.raises(DataError, match='found mask, patch: predict with a network with the head "multi"'):
        postprocess.multi_scale_average({name: outputs[name] for name in ("mask", "patch")})
    with pytest.raises(DataError, match=r"half of shape \(9, 16, 16\): expected \(9, 8, 8\)"):
        postprocess.multi_scale_average(outputs | {"half": outputs["mask"]})


def smooth(image: np.ndarray) -> np.ndarray:
    """Does not care how an image is turned."""
    padded = np.pad(image[..., 0], ((0, 0), (1, 1), (1, 1)), mode="wrap")
    return sum(padded[:, 1 + a : 1 + a + image.shape[1], 1 + b : 1 + b + image.shape[2]]
               for a, b in ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))) / 5  # fmt: skip


def slanted(image: np.ndarray) -> np.ndarray:
    """Looks to one side, differently for rows and columns, and knows where it is in the patch."""
    values = image[..., 0]
    return 0.5 * np.roll(values, 1, axis=1) + 0.3 * np.roll(values, 2, axis=2) + 0.01 * np.arange(SIDE)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(4).random((3, SIDE, SIDE, 2)).astype(np.float32)


def test_views_change_nothing_for_a_network_that_does_not_care(image):
    np.testing.assert_allclose(postprocess.test_time_augmentation(smooth, image), smooth(image), atol=1e-6)


def test_all_eight_views_are_averaged_turned_back(image):
    expected = []
    for turn in range(4):
        for mirrored in (False, True):
            for number, one in enumerate(image):
                view = np.rot90(one, turn)
                view = np.fliplr(view) if mirrored else view
                found = slanted(view[None])[0]
                back = np.rot90(np.fliplr(found) if mirrored else found, 4 - turn)
                expected.append((number, back))
    mean = [np.mean([back for n, back in expected if n == number], axis=0) for number in range(3)]
    found = postprocess.test_time_augmentation(slanted, image)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.stack(mean), atol=1e-6)
    assert np.abs(found - slanted(image)).max() > 0.1
    asked = []
    again = postprocess.test_time_augmentation(
        lambda view: asked.append(1) or slanted(view), image, slanted(image)
    )
    np.testing.assert_array_equal(again, found)
    assert len(asked) == 7  # the image as it is was predicted before


def test_the_mean_over_views_turns_with_the_image(image):
    found = postprocess.test_time_augmentation(slanted, image)
    turned = postprocess.test_time_augmentation(slanted, np.rot90(image, 1, axes=(1, 2)))
    np.testing.assert_allclose(turned, np.rot90(found, 1, axes=(1, 2)), atol=1e-6)
    mirrored = postprocess.test_time_augmentation(slanted, image[:, ::-1])
    np.testing.assert_allclose(mirrored, found[:, ::-1], atol=1e-6)
    assert np.abs(slanted(image[:, ::-1]) - slanted(image)[:, ::-1]).max() > 0.1


def test_a_patch_that_is_not_square_keeps_its_shape_in_every_view(image):
    shapes = set()

    def predict(view):
        shapes.add(view.shape)
        assert view.flags.c_contiguous
        return view[..., 0]

    wide = image[:, :10]
    np.testing.assert_allclose(postprocess.test_time_augmentation(predict, wide), wide[..., 0], atol=1e-6)
    assert shapes == {(3, 10, SIDE, 2)}


def test_views_name_wrong_shapes(image):
    with pytest.raises(DataError, match=r"\(16, 16, 2\): expected patches"):
        postprocess.test_time_augmentation(smooth, image[0])
    with pytest.raises(DataError, match=r"\(3, 16, 16, 2\): expected one"):
        postprocess.test_time_augmentation(lambda view: view, image)


# === Calibration ===


def distorted(T: float, n: int = 400_000, dtype=np.float32) -> tuple[np.ndarray, np.ndarray]:
    """Truth drawn from probabilities, and these probabilities with their logits multiplied by T."""
    rng = np.random.default_rng(6)
    logit = rng.normal(-2.0, 2.0, (40, n // 400, 10))
    truth = (rng.random(logit.shape) < 1 / (1 + np.exp(-logit))).astype(np.uint8)
    truth[rng.random(logit.shape) < 0.05] = 255
    return (1 / (1 + np.exp(-T * logit))).astype(dtype), truth


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("T", [0.5, 1.0, 2.5])
def test_the_temperature_of_a_known_distortion_is_found(T, dtype):
    values, truth = distorted(T, dtype=dtype)
    assert postprocess.fit_temperature(values, truth) == pytest.approx(T, rel=0.02)


def exact_temperature(probability, truth) -> float:
    known = truth != 255
    p = probability[known].astype(np.float64)
    z, sign = np.log(p) - np.log1p(-p), np.where(truth[known] == 1, 1, -1)
    found = optimize.minimize(lambda b: np.logaddexp(0, -sign * z * b[0]).mean(), [1.0], tol=1e-10)
    return 1 / found.x[0]


@pytest.mark.parametrize("T", [0.7, 3.0])
def test_the_temperature_is_that_of_scipy_over_single_pixels(T):
    values, truth = distorted(T, 20_000)
    values = values.clip(1e-6, 1 - 1e-6)
    assert postprocess.fit_temperature(values, truth) == pytest.approx(
        exact_temperature(values, truth), rel=1e-4
    )


def test_half_precision_gives_nearly_the_same_temperature():
    """Rounding to float16 makes some probabilities 1; they do not run away with the fit."""
    values, truth = distorted(2.0)
    half = values.astype(np.float16)
    assert (half == 1).any()
    one, other = (postprocess.fit_temperature(v, truth) for v in (values, half))
    assert other == pytest.approx(one, rel=0.03)


def test_scaling_by_the_temperature_restores_the_probabilities():
    values, truth = distorted(2.5, 4000)
    original, _ = distorted(1.0, 4000)
    found = postprocess.apply_temperature(values, 2.5)
    assert found.dtype == np.float32
    assert found.shape == truth.shape
    np.testing.assert_allclose(found, original, atol=2e-4)
    np.testing.assert_allclose(postprocess.apply_temperature(values, 1.0), values, atol=1e-6)
    order = np.argsort(values, axis=None, kind="stable")
    assert (np.diff(found.ravel()[order]) >= 0).all()
    assert postprocess.apply_temperature(0.5, 3.0) == pytest.approx(0.5)
    ends = postprocess.apply_temperature(np.array([0.0, 1.0], np.float16), 2.0)
    assert ends == pytest.approx([0, 1], abs=0.02)  # finite


def test_temperature_lowers_the_calibration_error_of_a_network_that_is_too_sure():
    values, truth = distorted(3.0)
    scaled = postprocess.apply_temperature(values, postprocess.fit_temperature(values, truth))
    before, after = (
        postprocess.expected_calibration_error(postprocess.calibration_table(v, truth))
        for v in (values, scaled)
    )
    assert before > 0.03
    assert after < 0.005


@pytest.mark.parametrize("bins", [1, 5, 10, 15])
def test_the_calibration_table_is_that_of_scikit_learn(probability, truth, bins):
    known = truth != 255
    frequency, predicted = calibration_curve(truth[known], probability[known], n_bins=bins)
    table = postprocess.calibration_table(probability, truth, bins)
    np.testing.assert_allclose(table["frequency"], frequency)
    np.testing.assert_allclose(table["probability"], predicted, rtol=1e-6)
    assert table["count"].sum() == known.sum()
    assert table["share"].sum() == pytest.approx(1)
    inside = probability[known][
        (probability[known] > table["low"][0]) & (probability[known] <= table["high"][0])
    ]
    assert table["count"][0] == len(inside)


def test_calibration_error_worked_example():
    """Four pixels at 0.2, one of them a landslide; six at 0.9, three of them landslides."""
    values = np.array([[[0.2] * 4 + [0.9] * 6]], np.float64)
    truth = np.array([[[1, 0, 0, 0, 1, 1, 1, 0, 0, 0]]], np.uint8)
    table = postprocess.calibration_table(values, truth, 5)
    assert table["low"].tolist() == pytest.approx([0.0, 0.8])  # empty bins are left out; 0.2 is in the first
    assert table[["probability", "frequency", "count", "share"]].to_numpy().tolist() == [
        pytest.approx([0.2, 0.25, 4, 0.4]),
        pytest.approx([0.9, 0.5, 6, 0.6]),
    ]
    assert postprocess.expected_calibration_error(table) == pytest.approx(0.4 * 0.05 + 0.6 * 0.4)


def test_calibration_names_wrong_input(probability, truth):
    with pytest.raises(ParameterError, match="temperature is 0"):
        postprocess.apply_temperature(probability, 0)
    with pytest.raises(ParameterError, match="bins is 0"):
        postprocess.calibration_table(probability, truth, 0)
    for function in (postprocess.fit_temperature, postprocess.calibration_table):
        with pytest.raises(DataError, match="No pixel is labelled"):
            function(probability, np.full_like(truth, 255))
    with pytest.raises(DataError, match="from 3 to 3: expected 0 to 1"):
        postprocess.apply_temperature(np.full((1, 2), 3.0), 2.0)


# === Parts and memory maps ===


def everything(probability, truth) -> dict[str, object]:
    mask = probability >= 0.5
    return {
        "curve": postprocess.threshold_curve(probability, truth).to_numpy(),
        "threshold": postprocess.choose_threshold(probability, truth),
        "opened": postprocess.opening(mask),
        "closed": postprocess.closing(mask),
        "scales": postprocess.multi_scale_average({"mask": probability, "half": probability[:, ::2, ::2]}),
        "temperature": postprocess.fit_temperature(probability, truth),
        "scaled": postprocess.apply_temperature(probability, 1.7),
        "table": postprocess.calibration_table(probability, truth).to_numpy(),
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_memory_maps_in_small_parts_give_the_same(probability, truth, dtype, tmp_path, request):
    values = probability.astype(dtype)
    expected = everything(values, truth)
    request.getfixturevalue("small_parts")
    assert len(list(metrics.chunks(truth.shape))) == 5
    found = everything(on_disk(tmp_path, "p", values), on_disk(tmp_path, "t", truth))
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-9, err_msg=name)
