"""The landslide twin: both trees, shares, landslides on steep ground, regions, and its refusals."""

import hashlib
import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import label
from threadpoolctl import threadpool_limits

from eolab.core.errors import DataError, ParameterError
from eolab.data import catalog
from eolab.data.layouts.landslide4sense import BANDS
from eolab.synthetic import landslide4sense
from eolab.synthetic.landslide4sense import MEANS, make_patches
from eolab.synthetic.landslide4sense_ground import HEAD_DEG, RUN, STOP_DEG, make_climate, plan_areas

pytestmark = pytest.mark.slow

SLOPE, DEM, RED, NEAR = (BANDS.index(name) for name in ("slope", "dem", "B04", "B08"))


def read(path: Path, key: str) -> np.ndarray:
    with h5py.File(path) as file:
        assert list(file) == [key]
        assert file[key].chunks is None  # contiguous, as published
        return file[key][...]


def digest(path: Path, key: str) -> str:
    return hashlib.sha256(read(path, key).tobytes()).hexdigest()


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("twin") / "twin"
    return landslide4sense.write(folder, train=8, validation=2, test=3, progress=False)


@pytest.fixture(scope="module")
def table(twin):
    return pd.read_csv(twin / "truth/patches.csv")


def masks(twin: Path, table: pd.DataFrame) -> dict[tuple[str, int], np.ndarray]:
    folders = {"train": "TrainData", "validation": "ValidData", "test": "TestData"}
    return {
        (split, number): read(twin / folders[split] / f"mask/mask_{number}.h5", "mask")
        for split, number in zip(table["split"], table["number"], strict=True)
    }


def test_layout_of_train_data(twin):
    names = sorted(path.relative_to(twin).as_posix() for path in twin.rglob("*") if path.is_file())
    expected = [
        f"{folder}/{kind}/{name}_{number}.h5"
        for folder, count in (("TrainData", 8), ("ValidData", 2), ("TestData", 3))
        for kind, name in (("img", "image"), ("mask", "mask"))
        for number in range(1, count + 1)
    ]
    assert names == sorted([*expected, "truth/patches.csv", "truth/regions.csv", "twin.json"])
    image = read(twin / "TrainData/img/image_1.h5", "img")
    mask = read(twin / "TrainData/mask/mask_1.h5", "mask")
    assert (image.dtype, image.shape) == (np.float64, (128, 128, 14))
    assert (mask.dtype, mask.shape) == (np.uint8, (128, 128))
    assert (twin / "TrainData/img/image_1.h5").stat().st_size == 128 * 128 * 14 * 8 + 2048  # as published


def test_same_pixels_in_the_other_tree_and_with_more_patches(twin, tmp_path):
    other = landslide4sense.write(
        tmp_path / "other", train=9, validation=1, test=0, tree="images_annotations", progress=False
    )
    for number in (1, 8):
        image = f"images/train/image_{number}.h5"
        mask = f"annotations/train/mask_{number}.h5"
        assert digest(other / image, "img") == digest(twin / f"TrainData/img/image_{number}.h5", "img")
        assert digest(other / mask, "mask") == digest(twin / f"TrainData/mask/mask_{number}.h5", "mask")
    assert (other / "images/train/image_9.h5").is_file()
    for split, names in (("validation", ["1.h5"]), ("test", [])):
        assert [path.name for path in (other / "images" / split).iterdir()] == [f"image_{n}" for n in names]
        assert [path.name for path in (other / "annotations" / split).iterdir()] == [
            f"mask_{n}" for n in names
        ]


def test_another_seed_gives_other_pixels(twin):
    patch = next(make_patches(1, "train", 0, 1))
    assert np.abs(patch.image - read(twin / "TrainData/img/image_1.h5", "img")).mean() > 0.05


def test_marker_says_that_data_are_simulated_and_tuned(twin):
    marker = json.loads((twin / "twin.json").read_text())
    assert marker["simulated"] is True
    assert marker["writer"] == "landslide4sense"
    assert marker["generator"] == landslide4sense.VERSION
    assert (marker["seed"], marker["train"], marker["tree"]) == (0, 8, "train_data")
    assert "tuned" in marker["difficulty"]
    assert marker["band_means"] == dict(zip(BANDS, MEANS.tolist(), strict=True))
    assert "spoilt" not in marker


def test_truth_agrees_with_the_masks(twin, table):
    assert table.groupby("split").size().to_dict() == {"train": 8, "validation": 2, "test": 3}
    slopes = {}
    for (split, number), mask in masks(twin, table).items():
        row = table[(table["split"] == split) & (table["number"] == number)].iloc[0]
        parts, count = label(mask, np.ones((3, 3)))
        areas = np.bincount(parts.ravel())[1:]
        assert (row["pixels"], row["landslides"]) == (mask.sum(), count)
        assert (row["largest"], row["smallest"]) == (areas.max(initial=0), areas.min() if count else 0)
        assert set(np.unique(mask)) <= {0, 1}
        if split == "train":
            slope = MEANS[SLOPE] * read(twin / f"TrainData/img/image_{number}.h5", "img")[..., SLOPE]
            slopes[number] = slope.mean()
            assert row["steepness_deg"] == pytest.approx(slope.mean(), rel=1e-4)
    assert len(slopes) == 8
    marker = json.loads((twin / "twin.json").read_text())
    assert marker["positive_share"] == pytest.approx((table["pixels"] > 0).mean(), abs=1e-4)
    assert marker["landslide_pixel_share"] == pytest.approx(table["pixels"].mean() / 128**2, abs=1e-5)


def test_values_are_scaled_like_the_published(twin):
    images = np.stack([read(twin / f"TrainData/img/image_{k}.h5", "img") for k in range(1, 9)])
    assert np.isfinite(images).all()
    assert images.min() >= 0
    assert images.max() < 14
    cirrus = images[..., BANDS.index("B10")]
    assert cirrus.std() < 0.05
    assert cirrus.mean() == pytest.approx(1, abs=0.1)
    # steepness is that of the elevation: slope and DEM belong together
    rows, columns = np.gradient(MEANS[DEM] * images[0, ..., DEM], 10.0)
    slope = np.degrees(np.arctan(np.hypot(rows, columns)))
    assert np.corrcoef(slope.ravel(), images[0, ..., SLOPE].ravel())[0, 1] > 0.9


def test_bands_of_20_m_are_smoother_than_those_of_10_m(twin):
    image = read(twin / "TrainData/img/image_3.h5", "img")

    def roughness(band: str) -> float:
        values = image[..., BANDS.index(band)]
        return float(np.abs(np.diff(values, axis=1)).mean() / values.mean())

    assert roughness("B08") > 1.5 * roughness("B07") > 1.5 * roughness("B01")


def test_landslides_are_bare_and_on_steep_ground(twin, table):
    found = 0
    for number, mask in ((k[1], m) for k, m in masks(twin, table).items() if k[0] == "train" and m.any()):
        image = read(twin / f"TrainData/img/image_{number}.h5", "img")
        slope = MEANS[SLOPE] * image[..., SLOPE]
        assert slope[mask > 0].min() >= STOP_DEG - 1e-3
        if mask.sum() < 100:
            continue
        ndvi = (NEAR_RED := image[..., [NEAR, RED]] * MEANS[[NEAR, RED]])[..., 0] - NEAR_RED[..., 1]
        ndvi = ndvi / NEAR_RED.sum(-1)
        assert np.median(ndvi[mask > 0]) < np.median(ndvi[mask == 0]) - 0.1
        parts, count = label(mask, np.ones((3, 3)))
        steepest = [slope[parts == k].max() for k in range(1, count + 1) if (parts == k).sum() > 60]
        assert all(value >= HEAD_DEG for value in steepest)
        found += 1
    assert found >= 2


def test_landslides_run_downslope(twin, table):
    """The longest axis of most follows the fall line; some merged side by side and have another."""
    cosines = []
    for number, mask in ((k[1], m) for k, m in masks(twin, table).items() if k[0] == "train"):
        height = MEANS[DEM] * read(twin / f"TrainData/img/image_{number}.h5", "img")[..., DEM]
        fall = np.stack(np.gradient(height), -1)  # (y, x, 2)
        parts, count = label(mask)
        for k in range(1, count + 1):
            place = np.argwhere(parts == k)
            if len(place) < 60:
                continue
            values, axes = np.linalg.eigh(np.cov(place.T))
            if values[1] > 2.5 * values[0]:
                mean_fall = fall[parts == k].mean(0)
                cosines.append(abs(axes[:, 1] @ mean_fall) / np.hypot(*mean_fall))
    assert len(cosines) >= 4
    assert np.median(cosines) > 0.9  # 0.71 if directions were random


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_planned_shares_hold_over_groups_of_regions(split):
    for seed in range(10):
        areas = np.concatenate([plan_areas(seed, split, k) for k in range(10)])
        assert (areas > 0).mean() == pytest.approx(0.59, abs=0.01)
        assert 0.016 <= areas.mean() / 128**2 <= 0.028
        assert areas.max() <= 0.48 * 128**2
        if split == "train":  # 200 patches
            assert areas.mean() / 128**2 >= 0.018
            assert areas[areas > 0].min() == 1
            assert areas.max() > 0.40 * 128**2


def test_regions_of_a_group_differ_in_every_attribute():
    for split in RUN:
        climates = [make_climate(3, split, k) for k in range(5)]
        for name in climates[0]._fields:
            fifths = sorted(int(5 * getattr(climate, name)) for climate in climates)
            assert fifths == [0, 1, 2, 3, 4]


def test_plan_of_a_region_does_not_depend_on_its_neighbours():
    assert make_climate(0, "train", 0) != make_climate(0, "train", 5)
    assert make_climate(0, "train", 0) != make_climate(0, "validation", 0)
    assert (plan_areas(0, "train", 3) == plan_areas(0, "train", 3)).all()


def test_nothing_is_left_after_a_failure(tmp_path, monkeypatch):
    def fail(*args):
        yield landslide4sense.Patch(np.zeros((128, 128, 14)), np.zeros((128, 128), np.uint8), {"pixels": 0})
        raise RuntimeError("disk on fire")

    monkeypatch.setattr(landslide4sense, "make_patches", fail)
    with pytest.raises(RuntimeError, match="disk on fire"):
        landslide4sense.write(tmp_path / "twin", train=3, validation=0, test=0, progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"tree": "traindata"}, "did you mean 'train_data'"),
        ({"train": 0}, "train 0 is not possible: take 1 to"),
        ({"test": -1}, "test -1 is not possible: take 0 to"),
        ({"validation": 10**6}, "validation 1000000 is not possible"),
        ({"seed": -1}, "seed -1 is not possible"),
    ],
)
def test_refusals(tmp_path, given, sentence):
    with pytest.raises(ParameterError, match=sentence):
        landslide4sense.write(tmp_path / "twin", progress=False, **given)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_left_alone(tmp_path):
    (tmp_path / "twin").mkdir()
    with pytest.raises(DataError, match="exists already"):
        landslide4sense.write(tmp_path / "twin", train=1, progress=False)
    assert list((tmp_path / "twin").iterdir()) == []


@pytest.fixture(scope="module")
def catalogued() -> Path:
    """Folder of the catalogue's twin, which is written once: ten regions of 20 training patches."""
    entry = catalog.load()["landslide_twin"]
    entry.ensure()
    marker = json.loads((entry.path / "twin.json").read_text())
    assert (marker["generator"], marker["seed"], marker["train"]) == (landslide4sense.VERSION, 0, 200)
    return entry.path


@pytest.fixture(scope="module")
def regions(catalogued):
    """The masks of its training patches by region, and what its table says of them."""
    paths = [catalogued / f"TrainData/mask/mask_{number}.h5" for number in range(1, 201)]
    facts = pd.read_csv(catalogued / "truth/patches.csv").query("split == 'train'")
    return np.stack([read(path, "mask") for path in paths]).reshape(10, 20, 128, 128), facts


@pytest.mark.slow
def test_smallest_landslide_is_one_pixel_and_largest_nearly_half_a_patch(regions):
    """The areas that were planned are those in the masks."""
    plans = [plan_areas(0, "train", k) for k in range(10)]
    small = next((k, int(np.argmin(np.where(t == 1, 0, 1)))) for k, t in enumerate(plans) if (t == 1).any())
    large = max(((k, int(t.argmax())) for k, t in enumerate(plans)), key=lambda at: plans[at[0]][at[1]])
    masks, facts = regions
    assert masks[small].sum() == 1
    patch = facts.set_index("number").loc[RUN["train"] * small[0] + small[1] + 1]
    assert (patch["landslides"], patch["largest"]) == (1, 1)
    assert 0.38 < masks[large].mean() < 0.48


@pytest.mark.slow
def test_the_catalogue_s_twin_is_made_by_this_generator(catalogued):
    """What is on disk may be older: the first patch, byte for byte."""
    with threadpool_limits(1):  # as it is written: the last digits depend on the number of threads
        patch = next(make_patches(0, "train", 0, 1))
    np.testing.assert_array_equal(read(catalogued / "TrainData/img/image_1.h5", "img"), patch.image)
    np.testing.assert_array_equal(read(catalogued / "TrainData/mask/mask_1.h5", "mask"), patch.mask)


@pytest.mark.slow
def test_regions_held_out_are_harder_than_patches_held_out(catalogued, regions):
    """Boosting on single pixels, five contiguous folds against five shuffled ones."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    masks = regions[0].reshape(200, 128, 128)
    images = [read(catalogued / f"TrainData/img/image_{number}.h5", "img") for number in range(1, 201)]
    bands = np.stack([image[3::8, 4::8] for image in images])  # (N, 16, 16, 14)
    truth = masks[:, 3::8, 4::8] > 0
    means = np.mean([image.mean((0, 1)) for image in images], axis=0)
    assert means == pytest.approx(1, abs=0.1)
    assert 0.018 <= masks.mean() <= 0.028
    assert max(image.max() for image in images) == pytest.approx(9.5, abs=3.5)
    contiguous = np.repeat(np.arange(5), 40)
    scores = {}
    for name, fold in (
        ("regions", contiguous),
        ("patches", np.random.default_rng(0).permutation(contiguous)),
    ):
        hits = np.zeros(3)  # true positives, landslides, predicted
        for k in range(5):
            model = HistGradientBoostingClassifier(
                max_iter=40, learning_rate=0.2, random_state=0, early_stopping=False
            )
            with threadpool_limits(1):  # threads that wait for a busy core cost more than they bring
                model.fit(bands[fold != k].reshape(-1, 14), truth[fold != k].ravel())
                found = model.predict_proba(bands[fold == k].reshape(-1, 14))[:, 1] > 0.25
            there = truth[fold == k].ravel()
            hits += ((found & there).sum(), there.sum(), found.sum())
        scores[name] = 2 * hits[0] / (hits[1] + hits[2])
    assert 0.25 < scores["regions"] < 0.6
    assert scores["patches"] > scores["regions"] + 0.04
