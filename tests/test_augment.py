"""Augmentation: image and mask move together, the moves are those promised, nothing is changed in place."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from eolab.core.errors import DataError, ParameterError
from eolab.training import augment

SIDE = 12
EACH = pytest.mark.parametrize("name", ["rotate", "flip", "cutmix"])


def batch(count=32, side=SIDE, seed=0):
    """Images whose second channel is the mask, with ignored pixels; every pixel of the first is unique."""
    rng = np.random.default_rng(seed)
    label = rng.choice(np.array([0, 1, 255], np.uint8), (count, side, side), p=[0.6, 0.3, 0.1])
    unique = np.arange(label.size, dtype=np.float32).reshape(label.shape)
    return {"image": np.stack([unique, label], axis=-1).astype(np.float32)}, label


def views(patch: np.ndarray) -> list[np.ndarray]:
    """The eight images of a square under its symmetries."""
    turned = [np.rot90(patch, k) for k in range(4)]
    return turned + [t[::-1] for t in turned]


def which_view(changed: np.ndarray, patch: np.ndarray) -> int:
    return next(n for n, view in enumerate(views(patch)) if np.array_equal(view, changed))


@EACH
@pytest.mark.parametrize("seed", range(3))
def test_image_and_mask_move_together_and_masks_stay_integers(name, seed):
    inputs, label = batch()
    inputs["flat"] = label[..., None].astype(np.float16)
    inputs["same"] = label.astype(np.int32)
    changed, mask = augment.build([name])(inputs, label, np.random.default_rng(seed))
    assert not np.array_equal(mask, label)
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) == {0, 1, 255}
    np.testing.assert_array_equal(changed["image"][..., 1], mask)
    np.testing.assert_array_equal(changed["flat"][..., 0], mask)
    np.testing.assert_array_equal(changed["same"], mask)
    assert [changed[key].dtype for key in inputs] == [inputs[key].dtype for key in inputs]


@EACH
def test_nothing_is_changed_in_place_and_the_result_follows_from_the_generator(name):
    inputs, label = batch()
    before = inputs["image"].copy(), label.copy()
    inputs["image"].flags.writeable = label.flags.writeable = False
    results = [augment.build([name])(inputs, label, np.random.default_rng(seed)) for seed in (5, 5, 6)]
    np.testing.assert_array_equal(inputs["image"], before[0])
    np.testing.assert_array_equal(label, before[1])
    same, other = (np.array_equal(results[0][0]["image"], r[0]["image"]) for r in results[1:])
    assert same
    assert not other
    assert not any(np.shares_memory(r[0]["image"], inputs["image"]) for r in results)


@EACH
def test_inputs_without_pixels_pass(name):
    inputs, label = batch(4)
    inputs |= {"day": np.arange(20.0).reshape(4, 5), "series": np.arange(40.0).reshape(4, 5, 2)}
    changed, _ = augment.build([name])(inputs, label, np.random.default_rng(0))
    assert changed["day"] is inputs["day"]
    assert changed["series"] is inputs["series"]


def test_rotation_is_by_right_angles_each_equally_often():
    inputs, label = batch(1200, 4)
    changed, _ = augment.rotate(inputs, label, np.random.default_rng(0))
    pairs = zip(changed["image"], inputs["image"], strict=True)
    counts = Counter(which_view(after, before) for after, before in pairs)
    assert set(counts) == {0, 1, 2, 3}  # no mirror image
    assert min(counts.values()) > 250  # 300 ± 15


def test_flips_are_along_both_axes_and_both_at_once():
    inputs, label = batch(1200, 4)
    changed, _ = augment.flip(inputs, label, np.random.default_rng(0))
    known = {"none": np.s_[:, :], "up": np.s_[::-1, :], "left": np.s_[:, ::-1], "both": np.s_[::-1, ::-1]}
    counts = Counter(
        next(name for name, view in known.items() if np.array_equal(before[view], after))
        for after, before in zip(changed["image"], inputs["image"], strict=True)
    )
    assert set(counts) == set(known)
    assert min(counts.values()) > 250


def test_rotations_and_flips_together_reach_all_eight_views_equally_often():
    inputs, label = batch(2400, 4)
    changed, _ = augment.build(["rotate", "flip"])(inputs, label, np.random.default_rng(1))
    pairs = zip(changed["image"], inputs["image"], strict=True)
    counts = Counter(which_view(after, before) for after, before in pairs)
    assert sorted(counts) == list(range(8))
    assert min(counts.values()) > 240  # 300 ± 16


def test_flips_of_patches_that_are_not_square():
    inputs, label = batch(6)
    wide = {"image": inputs["image"][:, :5]}
    changed, mask = augment.flip(wide, label[:, :5], np.random.default_rng(2))
    assert changed["image"].shape == (6, 5, SIDE, 2)
    np.testing.assert_array_equal(changed["image"][..., 1], mask)


def sources(changed: np.ndarray, side: int) -> np.ndarray:
    """Patch that each pixel comes from, by the unique values of the first channel."""
    return changed[..., 0].astype(np.int64) // side**2


def test_cutmix_pastes_one_box_of_another_patch_at_its_own_place():
    inputs, label = batch(40)
    changed, _ = augment.cutmix(inputs, label, np.random.default_rng(0), share=1.0)
    place = inputs["image"][..., 0].astype(np.int64) % SIDE**2
    np.testing.assert_array_equal(changed["image"][..., 0].astype(np.int64) % SIDE**2, place)
    for row, found in enumerate(sources(changed["image"], SIDE)):
        foreign = found != row
        if foreign.any():
            assert len(np.unique(found[foreign])) == 1
            ys, xs = np.nonzero(foreign)
            assert foreign[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1].all()  # a box without holes


def test_cutmix_replaces_the_share_of_the_area_that_its_distribution_promises():
    """With λ uniform and r = √(1 − λ), a box cut off at the border covers (r − r²/4)² of a patch on average.

    Its mean over λ is 1/2 − 1/5 + 1/48 = 0.3208; the share of patches that get a box multiplies it.
    """
    numbers = np.arange(4000, dtype=np.float32)[:, None, None]
    inputs = {"image": np.broadcast_to(numbers[..., None], (4000, 48, 48, 1))}
    label = np.zeros((4000, 48, 48), np.uint8)
    for share, expected in ((1.0, 0.3208), (0.5, 0.1604)):
        changed, _ = augment.cutmix(inputs, label, np.random.default_rng(3), share=share)
        foreign = changed["image"][..., 0] != numbers
        assert foreign.mean() == pytest.approx(expected, abs=0.015)
        touched = foreign.any((1, 2)).mean()
        assert share * 0.97 - 0.03 < touched < share + 0.03  # the smallest boxes have no pixel
    small, _ = augment.cutmix(inputs, label, np.random.default_rng(3), share=1.0, alpha=50.0)
    covered = (small["image"][..., 0] != numbers).mean((1, 2))
    assert covered.max() < 0.75  # λ lies near ½: no box covers nearly everything
    assert covered.mean() == pytest.approx((np.sqrt(0.5) - 0.125) ** 2, abs=0.02)


def test_cutmix_without_partner_or_share_changes_nothing():
    for count, share in ((1, 1.0), (8, 0.0)):
        inputs, label = batch(count)
        changed, mask = augment.cutmix(inputs, label, np.random.default_rng(0), share=share)
        np.testing.assert_array_equal(changed["image"], inputs["image"])
        np.testing.assert_array_equal(mask, label)


def test_steps_follow_each_other_and_the_name_says_them():
    inputs, label = batch()
    both = augment.build(["flip", "cutmix"], {"cutmix": {"share": 0.9, "alpha": 2.0}})
    assert both.name == "flip+cutmix(share=0.9, alpha=2.0)"
    assert augment.build(["rotate", "flip", "cutmix"]).name == "rotate+flip+cutmix"
    rng = np.random.default_rng(4)
    expected = augment.cutmix(*augment.flip(inputs, label, rng), rng, share=0.9, alpha=2.0)
    found = both(inputs, label, np.random.default_rng(4))
    np.testing.assert_array_equal(found[0]["image"], expected[0]["image"])
    np.testing.assert_array_equal(found[1], expected[1])
    assert augment.build([])(inputs, label, rng) == (inputs, label)


def test_patches_that_are_not_square_are_turned_by_nothing_or_a_half():
    """Regression: masks of 96 by 112 pixels ended the landslide study with its own defaults."""
    inputs, label = batch(200)
    image, label = inputs["image"][:, :5], label[:, :5]
    changed, mask = augment.rotate({"image": image}, label, np.random.default_rng(0))
    turned = [(mask[row] == label[row, ::-1, ::-1]).all() for row in range(200)]
    for row, half in enumerate(turned):
        step = -1 if half else 1
        np.testing.assert_array_equal(mask[row], label[row, ::step, ::step])
        np.testing.assert_array_equal(changed["image"][row], image[row, ::step, ::step])
    assert 60 < sum(turned) < 140


def test_wrong_input_is_named():
    inputs, label = batch(3)
    rng = np.random.default_rng(0)
    with pytest.raises(ParameterError, match=r"'rotation': did you mean 'rotate'"):
        augment.build(["rotation"])
    with pytest.raises(ParameterError, match=r"cutmix has no option 'shares': did you mean 'share'"):
        augment.build(["cutmix"], {"cutmix": {"shares": 0.5}})
    with pytest.raises(ParameterError, match=r"cutmix got share 1\.5"):
        augment.cutmix(inputs, label, rng, share=1.5)
    with pytest.raises(DataError, match=r"'image' has shape \(3, 6, 6, 2\) and the masks \(3, 12, 12\)"):
        augment.flip({"image": inputs["image"][:, ::2, ::2]}, label, rng)


def test_a_crop_is_a_square_of_the_patch_at_its_own_place_and_every_place_occurs():
    inputs, label = batch(2000, 6)
    changed, mask = augment.build(["crop"], {"crop": {"size": 4}})(inputs, label, np.random.default_rng(0))
    assert mask.shape == (2000, 4, 4)
    np.testing.assert_array_equal(changed["image"][..., 1], mask)
    first = changed["image"][:, 0, 0, 0].astype(int)
    patch, place = np.divmod(first, 36)
    np.testing.assert_array_equal(patch, np.arange(2000))
    counts = Counter(map(tuple, np.stack(np.divmod(place, 6), 1)))
    assert sorted(counts) == [(y, x) for y in range(3) for x in range(3)]
    assert min(counts.values()) > 170  # 222 ± 14
    steps = np.arange(4)[:, None] * 6 + np.arange(4)
    np.testing.assert_array_equal(changed["image"][..., 0].astype(int) - first[:, None, None], [steps] * 2000)


def test_tiles_hold_every_pixel_once_and_image_and_mask_stay_together():
    inputs, label = batch(3)
    changed, mask = augment.tiles(inputs, label, np.random.default_rng(0), 4)
    assert changed["image"].shape == (3 * 9, 4, 4, 2)
    np.testing.assert_array_equal(changed["image"][..., 1], mask)
    np.testing.assert_array_equal(changed["image"][1], inputs["image"][0, :4, 4:8])
    np.testing.assert_array_equal(changed["image"][9], inputs["image"][1, :4, :4])
    np.testing.assert_array_equal(
        np.sort(changed["image"][..., 0].ravel()), np.sort(inputs["image"][..., 0].ravel())
    )


@pytest.mark.parametrize("size", [0, 13])
def test_a_crop_that_does_not_fit_is_refused(size):
    inputs, label = batch(2)
    with pytest.raises(ParameterError, match=f"12 × 12 pixels: a crop of {size} does not fit"):
        augment.crop(inputs, label, np.random.default_rng(0), size)


@pytest.mark.parametrize(("kind", "unknown"), [("u1", 255), ("f4", np.nan)])
def test_tiles_that_do_not_fill_the_patch_have_each_labelled_pixel_once_and_no_label_else(kind, unknown):
    label = np.arange(2 * 17 * 13).reshape(2, 17, 13).astype(kind)
    label[0, 3, 4] = label[label == 255] = unknown  # not known before
    image = np.arange(2 * 17 * 13 * 3).reshape(2, 17, 13, 3).astype("u2")
    changed, mask = augment.tiles({"image": image}, label, np.random.default_rng(0), 5)
    assert changed["image"].shape == (2 * 4 * 3, 5, 5, 3)
    assert (mask.shape, mask.dtype) == ((2 * 4 * 3, 5, 5), label.dtype)
    whole = mask.reshape(2, 4, 3, 5, 5).swapaxes(2, 3).reshape(2, 20, 15)
    np.testing.assert_array_equal(whole[:, :17, :13], label)
    np.testing.assert_array_equal(whole[:, 17:], np.full((2, 3, 15), unknown))
    np.testing.assert_array_equal(whole[:, :, 13:], np.full((2, 20, 2), unknown))
    whole = changed["image"].reshape(2, 4, 3, 5, 5, 3).swapaxes(2, 3).reshape(2, 20, 15, 3)
    np.testing.assert_array_equal(whole[:, :17, :13], image)
    np.testing.assert_array_equal(whole[:, 19, 14], image[:, 16, 12])


# === Labels of whole patches ===


def whole(count=32, side=SIDE, K=4):
    """Images, a second one of another sensor, and labels of several classes."""
    inputs, _ = batch(count, side)
    label = np.random.default_rng(1).integers(0, 2, (count, K)).astype(np.uint8)
    return inputs | {"radar": inputs["image"][..., :1] * 2, "flag": np.arange(count)}, label


@pytest.mark.parametrize("name", ["rotate", "flip"])
@pytest.mark.parametrize("classes", [slice(None), 0])
def test_images_move_and_a_label_of_the_whole_patch_passes(name, classes):
    inputs, label = whole()
    changed, same = augment.build([name])(inputs, label[:, classes], np.random.default_rng(0))
    np.testing.assert_array_equal(same, label[:, classes])
    assert changed["flag"] is inputs["flag"]
    found = [which_view(a[..., 0], b[..., 0]) for a, b in zip(changed["image"], inputs["image"], strict=True)]
    assert len(set(found)) == 4
    np.testing.assert_array_equal(changed["radar"][..., 0], 2 * changed["image"][..., 0])


def test_mixup_blends_each_patch_with_another_one_as_its_label():
    inputs, label = whole()
    inputs["image"] = inputs["image"].astype(np.uint16)
    inputs["image"].flags.writeable = label.flags.writeable = False
    changed, mixed = augment.build(["mixup"], {"mixup": {"alpha": 1.0}})(
        inputs, np.eye(32, dtype=np.uint8), np.random.default_rng(2)
    )
    assert mixed.dtype == changed["image"].dtype == np.float32
    own = np.diag(mixed)
    np.testing.assert_allclose(mixed.sum(1), 1, rtol=1e-6)
    assert (np.count_nonzero(mixed, axis=1) == 2).all()  # itself and one other
    assert len(np.unique(own)) == 32
    partner = np.where(np.eye(32), 0, mixed).argmax(1)
    for name in ("image", "radar"):
        of = inputs[name].astype(float)
        share = own[:, None, None, None]
        np.testing.assert_allclose(changed[name], share * of + (1 - share) * of[partner], rtol=1e-5)
    assert changed["flag"] is inputs["flag"]


def test_mixup_shares_follow_the_beta_distribution():
    single = {"image": np.ones((1, 2, 2, 1), np.float32)}
    changed, alone = augment.mixup(single, np.ones((1, 3), np.uint8), np.random.default_rng(0))
    np.testing.assert_allclose(changed["image"], single["image"])
    np.testing.assert_allclose(alone, 1)
    found = []
    for alpha in (0.2, 1.0, 5.0):
        _, mixed = augment.mixup({}, np.eye(2000, dtype=np.uint8), np.random.default_rng(0), alpha=alpha)
        found.append(np.var(np.diag(mixed)))
    expected = [1 / (4 * (2 * alpha + 1)) for alpha in (0.2, 1.0, 5.0)]
    np.testing.assert_allclose(found, expected, rtol=0.1)


def test_what_a_label_of_the_whole_patch_cannot_take_is_said():
    inputs, label = whole()
    rng = np.random.default_rng(0)
    for name in ("cutmix", "crop"):
        with pytest.raises(DataError, match=rf"\(32, 4\): {name} needs masks"):
            augment.build([name])(inputs, label, rng)
    with pytest.raises(DataError, match=r"\(32,\): mixup needs a number for each class"):
        augment.mixup(inputs, label[:, 0], rng)
    with pytest.raises(ParameterError, match="alpha 0"):
        augment.mixup(inputs, label, rng, alpha=0)


@pytest.mark.parametrize(
    ("step", "option", "said"),
    [
        ("cutmix", {"share": 2}, "cutmix got share 2: expected a share of 0 to 1"),
        ("cutmix", {"alpha": float("inf")}, "cutmix got alpha inf: expected a number above 0"),
        ("mixup", {"alpha": "0.2"}, "mixup got alpha '0.2': expected a number above 0"),
        ("crop", {"size": 2.5}, "crop got size 2.5: expected a whole number"),
    ],
)
def test_options_out_of_their_range_are_refused_before_the_first_batch(step, option, said):
    with pytest.raises(ParameterError, match=said):
        augment.build([step], {step: option})


# === Image series ===


@pytest.mark.parametrize("name", ["rotate", "flip", "cutmix", "crop"])
@pytest.mark.parametrize("times", [3, SIDE])
def test_all_dates_of_a_series_move_with_the_mask(name, times):
    """Also where a series has as many dates as its images have rows."""
    _, label = batch()
    same = np.repeat(label[:, None], times, axis=1)  # (B, T, H, W)
    inputs = {"image": np.stack([same, same], -1).astype("float32"), "valid": same == 1}
    inputs["day"] = np.tile(np.arange(times), (len(label), 1))
    options = {"crop": {"size": 5}} if name == "crop" else {}
    changed, mask = augment.build([name], options)(inputs, label, np.random.default_rng(0))
    assert not np.array_equal(mask, label)
    for date in range(times):
        np.testing.assert_array_equal(changed["image"][:, date, ..., 1], mask)
        np.testing.assert_array_equal(changed["valid"][:, date], mask == 1)
    np.testing.assert_array_equal(changed["day"], inputs["day"])


def test_rotating_and_mirroring_a_series_gives_all_eight_views_and_no_other():
    inputs, label = batch(count=200)
    series = {"image": inputs["image"][:, None].repeat(2, axis=1)}
    changed, _ = augment.build(["rotate", "flip"])(series, label, np.random.default_rng(0))
    pairs = zip(changed["image"][:, 1, ..., 0], inputs["image"][..., 0], strict=True)
    assert {which_view(*pair) for pair in pairs} == set(range(8))
