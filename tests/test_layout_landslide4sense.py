"""Landslide4Sense in both published trees, and every way in which its files can be damaged."""

from __future__ import annotations

import io
import json
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from eolab.core.errors import DataError, ParameterError
from eolab.data import layouts
from eolab.data.layouts import landslide4sense as reader
from eolab.data.schemes import IGNORE

TREES = {
    "train_data": {
        "train": ("TrainData/img", "TrainData/mask"),
        "validation": ("ValidData/img", "ValidData/mask"),
        "test": ("TestData/img", "TestData/mask"),
    },
    "images_annotations": {
        "train": ("images/train", "annotations/train"),
        "validation": ("images/validation", "annotations/validation"),
        "test": ("images/test", "annotations/test"),
    },
}
NUMBERS = {"train": (1, 2, 10, 11), "validation": (1, 3), "test": (2,)}


def image_of(split: str, number: int) -> np.ndarray:
    """An image float64 (128, 128, 14), the same for the same split and number."""
    return 0.5 + np.random.default_rng((len(split), number)).random((128, 128, 14))


def mask_of(split: str, number: int) -> np.ndarray:
    return (image_of(split, number)[..., 0] > 1.4).astype(np.uint8)


def put(file: Path, key: str, values: np.ndarray, **options) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(file, "w") as written:
        written.create_dataset(key, data=values, **options)


def write(root: Path, tree: str, labelled: tuple[str, ...] = ("train", "validation", "test")) -> Path:
    for split, (images, masks) in TREES[tree].items():
        for number in NUMBERS[split]:
            put(root / images / f"image_{number}.h5", "img", image_of(split, number))
            if split in labelled:
                put(root / masks / f"mask_{number}.h5", "mask", mask_of(split, number))
    return root


@pytest.fixture(scope="module")
def official(tmp_path_factory) -> Path:
    """The tree of the competition, validation and test without masks."""
    return write(tmp_path_factory.mktemp("official"), "train_data", ("train",))


@pytest.fixture
def folder(tmp_path) -> Path:
    return write(tmp_path, "train_data")


def shorten(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


# === Finding and pairing ===


@pytest.mark.parametrize("tree", TREES)
def test_both_trees_give_the_same_patches_in_the_order_of_their_numbers(tmp_path, tree):
    table = reader.index(write(tmp_path, tree))
    pairs = list(zip(table["published"], table["number"], strict=True))
    assert pairs == [(split, number) for split, numbers in NUMBERS.items() for number in numbers]
    for row in table.itertuples():
        image, mask = reader.read_image(row.image), reader.read_mask(row.mask)
        np.testing.assert_array_equal(image, image_of(row.published, row.number).astype(np.float32))
        np.testing.assert_array_equal(mask, mask_of(row.published, row.number))
    assert table.attrs["rejected"] == []


@pytest.mark.parametrize("tree", TREES)
def test_words_of_the_layout_in_the_path_of_the_root_do_not_matter(tmp_path, tree):
    root = write(tmp_path / "img" / "image_mask.h5", tree)
    table = reader.index(root)
    assert len(table) == 7
    assert all(Path(row.mask).name == f"mask_{row.number}.h5" for row in table.itertuples())
    np.testing.assert_array_equal(reader.read_mask(table["mask"][2]), mask_of("train", 10))


def test_splits_published_without_masks_have_none(official):
    table = reader.index(official)
    empty = table["mask"] == ""
    assert table.loc[empty, "published"].tolist() == ["validation", "validation", "test"]
    assert table.attrs["rejected"] == []


@pytest.mark.parametrize(
    ("split", "kind", "reason"),
    [
        ("train", "mask", "has no mask_10.h5"),
        ("train", "image", "has no image_10.h5"),
        ("validation", "mask", "has no mask_3.h5"),
    ],
)
def test_a_number_with_one_file_is_left_out_and_named(folder, split, kind, reason):
    number = {"train": 10, "validation": 3}[split]
    images, masks = TREES["train_data"][split]
    gone, left = (masks, images) if kind == "mask" else (images, masks)
    other = "image" if kind == "mask" else "mask"
    (folder / gone / f"{kind}_{number}.h5").unlink()
    table = reader.index(folder)
    assert len(table) == 6
    assert number not in table.loc[table["published"] == split, "number"].tolist()
    (rejected,) = table.attrs["rejected"]
    assert rejected["file"] == f"{left}/{other}_{number}.h5"
    assert reason in rejected["reason"]
    assert json.loads(reader.open_layout(folder).attrs["rejected"]) == [rejected]


def test_names_without_a_number_and_numbers_that_stand_twice_are_named(folder):
    put(folder / "TrainData" / "img" / "image_010.h5", "img", image_of("train", 1))
    put(folder / "TrainData" / "img" / "scene.h5", "img", image_of("train", 1))
    (folder / "TrainData" / "img" / "._image_1.h5").write_bytes(b"left behind by an archive")
    (folder / "TrainData" / "img" / "readme.txt").write_text("not a patch")
    table = reader.index(folder)
    reasons = {Path(row["file"]).name: row["reason"] for row in table.attrs["rejected"]}
    assert set(reasons) == {"image_10.h5", "scene.h5", "._image_1.h5"}
    assert "has the number 10 of image_010.h5 again" in reasons["image_10.h5"]
    assert "is not named image_N.h5" in reasons["scene.h5"]
    assert len(table) == 7


def test_other_folders_end_in_a_sentence(tmp_path):
    with pytest.raises(DataError, match=r"expected TrainData/img/image_1.h5"):
        reader.index(tmp_path)
    (tmp_path / "TrainData" / "img").mkdir(parents=True)
    with pytest.raises(DataError, match="holds no patch of Landslide4Sense that can be used"):
        reader.index(tmp_path)
    (tmp_path / "images" / "train").mkdir(parents=True)
    with pytest.raises(DataError, match="holds both published trees"):
        reader.index(tmp_path)


@pytest.mark.slow
def test_thousands_of_files_are_indexed_without_opening_one(tmp_path):
    images, masks = tmp_path / "TrainData" / "img", tmp_path / "TrainData" / "mask"
    images.mkdir(parents=True)
    masks.mkdir()
    for number in range(1, 3800):
        (images / f"image_{number}.h5").touch()
        (masks / f"mask_{number}.h5").touch()
    table = reader.index(tmp_path)
    assert table["number"].tolist() == list(range(1, 3800))
    dataset = reader.open_layout(tmp_path)  # all files are empty: none can have been read
    assert dict(dataset.sizes) == {"sample": 3799, "y": 128, "x": 128, "band": 14}


# === Opening ===


def test_the_layout_is_lazy_and_reads_only_the_patches_asked_for(folder):
    for file in (folder / "TrainData" / "img").glob("*.h5"):
        if file.name != "image_10.h5":
            file.write_bytes(b"no HDF5")
    dataset = layouts.reader("landslide4sense").open_layout(folder, splits="train")
    assert dataset["image"].chunks == ((1,) * 4, (128,), (128,), (14,))
    assert dataset["image"].dtype == np.float32
    assert dataset["number"].values.tolist() == [1, 2, 10, 11]
    np.testing.assert_array_equal(dataset["image"][2].values, image_of("train", 10).astype(np.float32))
    with pytest.raises(DataError, match=r"image_1\.h5 cannot be read as HDF5"):
        dataset["image"][0].load()


def test_bands_have_names_and_masks_stand_beside(folder):
    dataset = reader.open_layout(folder, splits=["validation", "test"])
    assert dataset["band"].values.tolist() == list(reader.BANDS)
    assert reader.BANDS[7] == "B08"
    assert reader.BANDS[8:14] == ("B09", "B10", "B11", "B12", "slope", "dem")
    assert dataset["published"].values.tolist() == ["validation", "validation", "test"]
    red = dataset["image"].sel(band="B04")[1].values
    np.testing.assert_array_equal(red, image_of("validation", 3)[..., 3].astype(np.float32))
    assert dataset["mask"].dtype == np.uint8
    np.testing.assert_array_equal(dataset["mask"][1].values, mask_of("validation", 3))
    assert dataset.attrs["unlabelled"] == 0


def test_patches_without_a_mask_are_unknown_where_others_have_one(official):
    dataset = reader.open_layout(official)
    assert dataset.attrs["unlabelled"] == 3
    np.testing.assert_array_equal(dataset["mask"][0].values, mask_of("train", 1))
    assert (dataset["mask"][4:].values == IGNORE).all()
    assert "mask" not in reader.open_layout(official, splits="test")


def test_unknown_splits_and_normalisations_are_named(folder):
    with pytest.raises(ParameterError, match="did you mean 'validation'"):
        reader.open_layout(folder, splits="valid")
    with pytest.raises(ParameterError, match="did you mean 'official'"):
        reader.open_layout(folder, normalise="oficial")
    with pytest.raises(ParameterError, match="Known: none, official"):
        reader.read_image(folder / "TrainData" / "img" / "image_1.h5", normalise="mean")


def test_official_normalisation_uses_the_published_constants(folder):
    """The first and the last band by hand; the constants do not fit the files and are never the default."""
    file = folder / "TrainData" / "img" / "image_2.h5"
    raw, official = image_of("train", 2), reader.read_image(file, normalise="official")
    assert official.dtype == np.float32
    np.testing.assert_allclose(official[..., 0], (raw[..., 0] + 0.4914) / 0.9325, rtol=1e-6)
    np.testing.assert_allclose(official[..., 13], (raw[..., 13] - 0.7819) / 1.2913, rtol=1e-5, atol=1e-6)
    lazy = reader.open_layout(folder, splits="train", normalise="official")
    np.testing.assert_array_equal(lazy["image"][1].values, official)
    assert lazy.attrs["normalise"] == "official"


# === Damage ===

IMAGE_FAULTS = {
    "truncated": (shorten, "cannot be read as HDF5"),
    "empty": (lambda f: f.write_bytes(b""), "cannot be read as HDF5"),
    "another format": (lambda f: f.write_text("<html>not found</html>"), "cannot be read as HDF5"),
    "wrong key": (
        lambda f: put(f, "image", image_of("train", 1)),
        "no data set 'img' of its own, it has: image",
    ),
    "band first": (
        lambda f: put(f, "img", np.moveaxis(image_of("train", 1), -1, 0)),
        r"shape \(14, 128, 128\), expected \(128, 128, 14\)",
    ),
    "13 bands": (lambda f: put(f, "img", image_of("train", 1)[..., :13]), r"shape \(128, 128, 13\)"),
    "too large for float32": (
        lambda f: put(f, "img", np.where(image_of("train", 1) > 1, 1e300, image_of("train", 1))),
        "is NaN or infinite in",
    ),
    "digital numbers": (
        lambda f: put(f, "img", (1000 * image_of("train", 1)).astype(np.uint16)),
        "holds uint16, expected the scaled floating point values",
    ),
    "text": (lambda f: put(f, "img", np.full((128, 128, 14), b"x")), r"holds \|S1, expected"),
    "all zero": (lambda f: put(f, "img", np.zeros((128, 128, 14))), "is all zero"),
    "NaN": (
        lambda f: put(f, "img", np.where(image_of("train", 1) > 1.4999, np.nan, image_of("train", 1))),
        "is NaN or infinite in",
    ),
    "infinite": (
        lambda f: put(f, "img", np.where(image_of("train", 1) > 1.4999, np.inf, image_of("train", 1))),
        "is NaN or infinite in",
    ),
}
MASK_FAULTS = {
    "truncated": (shorten, "cannot be read as HDF5"),
    "wrong key": (lambda f: put(f, "img", mask_of("train", 1)), "no data set 'mask' of its own, it has: img"),
    "wrong shape": (lambda f: put(f, "mask", mask_of("train", 1)[None]), r"mask of shape \(1, 128, 128\)"),
    "floating point": (
        lambda f: put(f, "mask", mask_of("train", 1) * 1.0),
        "mask of float64, expected uint8",
    ),
    "other values": (lambda f: put(f, "mask", mask_of("train", 1) * 255), "value 255 in its mask"),
}


def one_sentence(text: str) -> bool:
    return "\n" not in text and text.endswith(".") and not text.endswith("..")


@pytest.mark.parametrize(("fault", "words"), IMAGE_FAULTS.values(), ids=IMAGE_FAULTS)
def test_a_bad_image_is_one_sentence_and_the_rest_goes_on(folder, fault, words):
    bad = folder / "TrainData" / "img" / "image_1.h5"
    fault(bad)
    with pytest.raises(DataError, match=words) as error:
        reader.read_image(bad)
    assert str(error.value).startswith(str(bad))
    assert one_sentence(str(error.value))
    expect_only_rejected(folder, "TrainData/img/image_1.h5", error.value)


@pytest.mark.parametrize(("fault", "words"), MASK_FAULTS.values(), ids=MASK_FAULTS)
def test_a_bad_mask_is_one_sentence_and_the_rest_goes_on(folder, fault, words):
    bad = folder / "TrainData" / "mask" / "mask_1.h5"
    fault(bad)
    with pytest.raises(DataError, match=words) as error:
        reader.read_mask(bad)
    assert one_sentence(str(error.value))
    expect_only_rejected(folder, "TrainData/mask/mask_1.h5", error.value)


def expect_only_rejected(folder: Path, name: str, error: DataError) -> None:
    files = reader.check_layout(folder, progress=False)
    assert files.columns.tolist() == ["file", "status", "reason"]
    assert len(files) == 14
    rejected = files[files["status"] == "rejected"]
    assert rejected["file"].tolist() == [name]
    assert str(error).endswith(f"{rejected['reason'].iloc[0]}.")
    assert (files.loc[files["status"] == "ok", "reason"] == "").all()


def test_the_check_names_what_the_index_leaves_out(folder):
    (folder / "TrainData" / "mask" / "mask_2.h5").unlink()
    files = layouts.reader("landslide4sense").check_layout(folder, progress=False)
    rejected = files[files["status"] == "rejected"]
    assert rejected["file"].tolist() == ["TrainData/img/image_2.h5"]
    assert "has no mask_2.h5" in rejected["reason"].iloc[0]
    assert len(files) == 13


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(DataError, match=r"image_1\.h5 does not exist"):
        reader.read_image(tmp_path / "image_1.h5")


def test_masks_of_other_integers_are_read_as_bytes(tmp_path):
    for dtype in (bool, np.int64, np.uint8):
        put(tmp_path / "mask_1.h5", "mask", mask_of("train", 1).astype(dtype))
        mask = reader.read_mask(tmp_path / "mask_1.h5")
        assert mask.dtype == np.uint8
        np.testing.assert_array_equal(mask, mask_of("train", 1))


def test_compressed_copies_are_read_and_their_damage_is_noticed(tmp_path):
    file = tmp_path / "image_1.h5"
    put(file, "img", image_of("train", 1), compression="gzip", chunks=(128, 128, 14))
    np.testing.assert_array_equal(reader.read_image(file), image_of("train", 1).astype(np.float32))
    content = bytearray(file.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 64] = bytes(64)
    file.write_bytes(bytes(content))
    with pytest.raises(DataError, match="cannot be read as HDF5"):
        reader.read_image(file)


# === Single patches ===


def geotiff(file: Path, image: np.ndarray, crs="EPSG:32633", step=10.0, names=(), **options) -> Path:
    profile = {
        "driver": "GTiff",
        "height": image.shape[0],
        "width": image.shape[1],
        "count": image.shape[2],
        "dtype": image.dtype,
        "crs": crs,
        "transform": from_origin(*((15.0, 46.0) if crs == "EPSG:4326" else (500_000, 5_100_000)), step, step),
    }
    with rasterio.open(file, "w", **(profile | options)) as raster:
        raster.write(np.moveaxis(image, -1, 0))
        for number, name in enumerate(names, start=1):
            raster.set_band_description(number, name)
    return file


@pytest.fixture
def small() -> np.ndarray:
    return np.random.default_rng(0).random((20, 30, 14)).astype(np.float32)


def test_a_published_patch_is_read_from_its_file_and_from_its_bytes(folder):
    file = folder / "TestData" / "img" / "image_2.h5"
    expected = image_of("test", 2).astype(np.float32)
    content = file.read_bytes()
    for source in (file, str(file), content, memoryview(content), bytearray(content)):
        np.testing.assert_array_equal(reader.open_patch(source).image, expected)
    patch = reader.open_patch(content, name="dropped.h5")
    assert (patch.name, patch.pixel_area_m2, patch.crs) == ("dropped.h5", reader.PIXEL_AREA_M2, "")
    assert reader.open_patch(file).name == "image_2.h5"


def test_patches_of_other_sizes_are_read(tmp_path, small):
    put(tmp_path / "large.h5", "img", small.astype(np.float64))
    np.testing.assert_array_equal(reader.open_patch(tmp_path / "large.h5").image, small)
    patch = reader.open_patch(geotiff(tmp_path / "scene.tif", small))
    np.testing.assert_array_equal(patch.image, small)
    assert patch.image.flags.c_contiguous
    assert patch.crs == "EPSG:32633"
    np.testing.assert_array_equal(reader.open_patch((tmp_path / "scene.tif").read_bytes()).image, small)


def test_pixels_have_their_area_on_the_ground(tmp_path, small):
    """UTM on its central meridian shrinks lengths to 0.9996; degrees by radii of curvature."""
    utm = reader.open_patch(geotiff(tmp_path / "utm.tif", small))
    assert utm.pixel_area_m2 == pytest.approx(100 / 0.9996**2, rel=1e-4)
    degrees = reader.open_patch(geotiff(tmp_path / "degrees.tif", small, crs="EPSG:4326", step=1e-4))
    latitude = np.radians(46 - 10.5 * 1e-4)
    a, e2 = 6378137.0, 0.00669437999
    normal = a / np.sqrt(1 - e2 * np.sin(latitude) ** 2)
    meridian = normal * (1 - e2) / (1 - e2 * np.sin(latitude) ** 2)
    area = np.radians(1e-4) ** 2 * normal * np.cos(latitude) * meridian
    assert degrees.pixel_area_m2 == pytest.approx(area, rel=1e-6)
    nowhere = reader.open_patch(geotiff(tmp_path / "nowhere.tif", small, crs=None))
    assert (nowhere.pixel_area_m2, nowhere.crs) == (100.0, "")
    with pytest.raises(DataError, match="cannot be read as a GeoTIFF"):  # was a CPLE_NotSupportedError
        reader.open_patch(geotiff(tmp_path / "d.tif", small, crs='LOCAL_CS["site",UNIT["metre",1]]'))


def test_named_bands_are_put_in_order(tmp_path, small):
    order = np.random.default_rng(1).permutation(14)
    written = [("B2" if name == "B02" else name.upper()) for name in np.array(reader.BANDS)[order]]
    file = geotiff(tmp_path / "named.tif", small[..., order], names=written)
    np.testing.assert_array_equal(reader.open_patch(file).image, small)
    partly = geotiff(tmp_path / "partly.tif", small, names=["dem", "slope"])
    with pytest.raises(DataError, match=r"partly.tif names its bands dem, slope, nothing"):
        reader.open_patch(partly)


def test_scale_and_offset_of_a_geotiff_count(tmp_path, small):
    file = geotiff(tmp_path / "scaled.tif", np.rint(1000 * small).astype(np.uint16))
    with rasterio.open(file, "r+") as raster:
        raster.scales, raster.offsets = [0.001] * 14, [0.0] * 13 + [0.5]
    found = reader.open_patch(file).image
    np.testing.assert_allclose(found[..., :13], small[..., :13], atol=6e-4)
    np.testing.assert_allclose(found[..., 13], small[..., 13] + 0.5, atol=6e-4)


# === Units ===


def physical(image: np.ndarray) -> np.ndarray:
    """Published values as reflectance, degrees and metres: the inverse of what the reader does."""
    return image / reader.published(np.ones(14, np.float32))


def test_published_values_of_dense_vegetation_become_its_reflectance():
    """NDVI of published values was 0.265 where the ground has 0.765."""
    image = np.ones((1, 1, 14), np.float32)
    image[..., 3], image[..., 7] = 0.674, 1.161  # as the data set's author gives: 300 and 2254 DN
    found = physical(image)[0, 0]
    assert found[3] == pytest.approx(0.0300, abs=1e-4)
    assert found[7] == pytest.approx(0.2254, abs=1e-4)
    assert (found[7] - found[3]) / (found[7] + found[3]) == pytest.approx(0.765, abs=0.001)
    as_published = (1.161 - 0.674) / (1.161 + 0.674)
    assert as_published == pytest.approx(0.265, abs=0.001)
    assert found[12:] == pytest.approx([20.29228266, 772.83144788])  # degrees, metres
    np.testing.assert_allclose(reader.published(physical(image)), image, rtol=1e-6)


def test_a_patch_in_other_units_is_refused_with_the_unit_and_the_remedy(tmp_path, small):
    """Such patches were taken, and the demo painted all of them."""
    dark = small * np.float32([1, 0.9, 0.8, 0.3, 0.3, 0.1, 0.1, 0.05, 0.1, 1, 0.02, 0.02, 0, 0])  # a lake
    bright = np.concatenate([4 * small[..., :12], small[..., 12:]], axis=-1)  # clouds
    snow = np.concatenate([0.8 + small[..., :12] / 1e3, physical(small)[..., 12:]], axis=-1)
    for kind, image in (("published", small), ("lake", dark), ("clouds", bright)):
        put(tmp_path / f"{kind}.h5", "img", image)
        assert reader.open_patch(tmp_path / f"{kind}.h5").image.shape == small.shape
    numbers = small * reader.DIVISORS
    for image, said in (
        (numbers, "digital numbers, degrees and metres"),
        (physical(small), "reflectance, degrees and metres"),
        (snow, "reflectance, degrees and metres"),
    ):
        put(tmp_path / "a.h5", "img", image)
        for file in (tmp_path / "a.h5", geotiff(tmp_path / "a.tif", image.astype(np.float32))):
            with pytest.raises(DataError, match=f"looks like {said}: .* with landslide4sense.published"):
                reader.open_patch(file)
    whole = np.tile(snow, (7, 7, 1))[: reader.SIZE, : reader.SIZE]
    put(tmp_path / "image_1.h5", "img", whole.astype(np.float32))
    with pytest.raises(DataError, match="looks like reflectance"):  # a data set that somebody scaled
        reader.read_image(tmp_path / "image_1.h5")
    put(tmp_path / "again.h5", "img", reader.published(physical(small)))
    np.testing.assert_allclose(reader.open_patch(tmp_path / "again.h5").image, small, rtol=1e-5)


# === Sizes that a file declares ===


@pytest.mark.parametrize(
    "options",
    [
        {"shape": (2**19, 2**15, 14), "dtype": "f8", "chunks": (64, 64, 14)},  # 2 TB in 1.4 kB
        {"shape": (128, 128, 14), "dtype": "f8", "chunks": (8192, 4096, 14), "maxshape": (None,) * 3},
        {"shape": (128, 128, 14), "dtype": "S100000", "chunks": (1, 1, 1)},
    ],
    ids=["2 TB", "one huge chunk", "long texts"],
)
def test_an_h5_that_declares_too_much_is_refused_before_memory_is_taken(folder, options):
    file = folder / "TrainData/img/image_1.h5"
    with h5py.File(file, "w") as written:
        written.create_dataset("img", **options)
    tracemalloc.start()
    for read in (reader.read_image, reader.open_patch):
        with pytest.raises(DataError, match=r"image_1.h5 declares .* pixels, expected 14,680,064 at most"):
            read(file)
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()
    report = reader.check_layout(folder, progress=False)
    assert (report["status"] == "rejected").sum() == 1


# === Names as other systems leave them ===


def test_hidden_files_are_listed_and_capital_endings_read(folder):
    """Hidden ones were passed over in silence, those in capitals were not seen."""
    image = folder / "TrainData/img/image_1.h5"
    image.rename(image.with_name("image_1.H5"))
    for number in (1, 2):
        (folder / f"TrainData/mask/._mask_{number}.h5").write_bytes(b"\0\5\26\7")
    table = reader.index(folder)
    assert len(table) == 7
    assert table["image"][0].endswith("image_1.H5")
    (hidden,) = table.attrs["rejected"]
    assert hidden["file"] == "TrainData/mask/._mask_1.h5"
    assert hidden["reason"].startswith("is a hidden file, which macOS leaves beside others")


def test_files_of_another_kind_end_in_a_sentence(tmp_path, small):
    holes = small.copy()
    holes[3, 4, 5] = -9999
    sources = {
        "neither HDF5 nor GeoTIFF": b"\x89PNG\r\n\x1a\n",
        "has 13 bands, expected 14": geotiff(tmp_path / "13.tif", small[..., :13]),
        "has no data in 1 of 600 pixels": geotiff(tmp_path / "holes.tif", holes, nodata=-9999),
        "holds uint16, expected the scaled": geotiff(tmp_path / "dn.tif", (1000 * small).astype(np.uint16)),
        "cannot be read as a GeoTIFF": geotiff(tmp_path / "cut.tif", small).read_bytes()[:3000],
        "cannot be read \\(No such file": tmp_path / "none.h5",
        "is NaN or infinite in": geotiff(tmp_path / "nan.tif", np.where(small > 0.999, np.nan, small)),
        "is all zero": geotiff(tmp_path / "zero.tif", small * 0),
    }
    for words, source in sources.items():
        with pytest.raises(DataError, match=words) as error:
            reader.open_patch(source)
        assert one_sentence(str(error.value))
    put(tmp_path / "mask.h5", "mask", mask_of("train", 1))
    with pytest.raises(DataError, match=r"mask\.h5 has no data set 'img'"):
        reader.open_patch(tmp_path / "mask.h5")
    put(tmp_path / "flat.h5", "img", mask_of("train", 1))
    with pytest.raises(DataError, match=r"shape \(128, 128\), expected \(y, x, 14\)"):
        reader.open_patch(tmp_path / "flat.h5")


def test_a_file_that_points_to_other_files_is_not_followed(tmp_path):
    """Whoever brings a file to a demo page must not read others through it."""
    put(tmp_path / "secret.h5", "img", image_of("train", 1))
    (tmp_path / "secret.raw").write_bytes(image_of("train", 1).tobytes())
    for kind in ("link", "external", "virtual"):
        file = tmp_path / f"{kind}.h5"
        with h5py.File(file, "w") as written:
            if kind == "link":
                written["img"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "img")
            elif kind == "external":
                raw = [(str(tmp_path / "secret.raw"), 0, h5py.h5f.UNLIMITED)]
                written.create_dataset("img", (128, 128, 14), "float64", external=raw)
            else:
                layout = h5py.VirtualLayout((128, 128, 14), "float64")
                layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "img", (128, 128, 14))
                written.create_virtual_dataset("img", layout)
        for source in (file, io.BytesIO(file.read_bytes()).getvalue()):
            with pytest.raises(DataError, match="no data set 'img' of its own"):
                reader.open_patch(source)
