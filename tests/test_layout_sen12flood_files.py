"""SEN12-FLOOD's GeoTIFFs: read by tifffile or GDAL, and every defect named."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from eolab.core.errors import DataError
from eolab.data.layouts import sen12flood as reader
from eolab.data.layouts.sen12flood_index import files_of

PIXELS = np.random.default_rng(0).integers(1, 9000, (64, 48)).astype("uint16")


def write(path, pixels, **options):
    profile = {"driver": "GTiff", "dtype": pixels.dtype, "crs": "EPSG:32734"}
    bands = pixels if pixels.ndim == 3 else pixels[None]
    count, height, width = bands.shape
    place = from_origin(276_480, 6_250_000, 10, 10)
    with rasterio.open(
        path, "w", **profile, count=count, height=height, width=width, transform=place, **options
    ) as file:
        file.write(bands)
    return path


@pytest.mark.parametrize("options", [{}, {"compress": "deflate", "predictor": 2}, {"compress": "lzw"}])
def test_pixels_are_those_written_whichever_library_reads_them(tmp_path, options):
    """tifffile alone cannot read LZW: GDAL does."""
    found = reader.read_channel(write(tmp_path / "a.tif", PIXELS, **options), "S2")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, PIXELS / 1e4, rtol=1e-6)


def test_the_real_tile_is_read(real_data):
    values = reader.read_channel(real_data / "sen12flood_lists" / "0004" / "new.tif", "S2")
    assert values.shape == (512, 512)
    assert (np.nanmin(values), np.nanmax(values)) == pytest.approx((0.0097, 1.8240))


def test_pixels_without_a_value_are_nan(tmp_path):
    sigma = np.full((10, 10), 0.03, "float32")
    sigma[0], sigma[1, :5], sigma[1, 5:] = 0, np.nan, -0.1
    found = reader.read_channel(write(tmp_path / "a.tif", sigma))
    assert np.isnan(found[:2]).all()
    np.testing.assert_array_equal(found[2:], sigma[2:])


REFLECTANCE = np.random.default_rng(1).uniform(0.01, 0.6, (20, 20)).astype("float32")
NUMBERS = np.rint(REFLECTANCE * 1e4).astype("uint16")


@pytest.mark.parametrize(
    ("sensor", "stored", "tags", "expected"),
    [
        ("S2", REFLECTANCE, {}, REFLECTANCE),  # was divided by 10,000 again
        ("S2", NUMBERS, {}, NUMBERS / 1e4),
        ("S2", NUMBERS.astype("float32"), {"scale": 1e-4}, NUMBERS / 1e4),
        ("S2", NUMBERS + 1000, {"scale": 1e-4, "offset": -0.1}, NUMBERS / 1e4),  # baseline 04.00
        ("S2", NUMBERS.astype("int16") - 150, {}, (NUMBERS - 150.0) / 1e4),  # a little below 0 stays
        ("S1", REFLECTANCE, {}, REFLECTANCE),
        ("S1", NUMBERS, {"scale": 1e-4}, NUMBERS / 1e4),
    ],
)
def test_type_scale_and_offset_of_a_file_are_honoured(tmp_path, sensor, stored, tags, expected):
    found = reader.read_channel(tagged(tmp_path / "a.tif", stored, **tags), sensor)
    np.testing.assert_allclose(found, np.where(stored == 0, np.nan, expected), rtol=1e-5, atol=1e-7)


def tagged(path, pixels, scale=1.0, offset=0.0, nodata=None):
    write(path, pixels, nodata=nodata)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = [scale], [offset]
    return path


@pytest.mark.parametrize(
    ("sensor", "pixels", "special", "nodata"),
    [
        ("S2", NUMBERS, 65535, None),  # saturated, was a reflectance of 6.55
        ("S2", NUMBERS, 9, 9),
        ("S2", REFLECTANCE, -9999, None),
        ("S1", REFLECTANCE, 0.5, 0.5),
        ("S1", REFLECTANCE, -9999, -9999),
    ],
)
def test_special_values_and_the_nodata_of_the_file_are_no_values(tmp_path, sensor, pixels, special, nodata):
    spoilt = pixels.copy()
    spoilt[5, 3:9] = special
    found = reader.read_channel(tagged(tmp_path / "a.tif", spoilt, nodata=nodata), sensor)
    assert np.isnan(found[5, 3:9]).all()
    assert np.isnan(found).sum() == 6


@pytest.mark.parametrize(
    ("sensor", "pixels", "said"),
    [
        ("S1", 10 * np.log10(REFLECTANCE), r"values of -\d.* to -\d.*, which are decibels, expected sigma"),
        ("S1", NUMBERS, r"as the amplitudes of a product that is not calibrated, expected sigma nought"),
        ("S1", NUMBERS.astype("float32"), r"as the amplitudes of a product that is not calibrated"),
        ("S1", REFLECTANCE / 1e4, r"values of .* as of another scale, expected sigma nought"),
        ("S2", NUMBERS.astype("float32"), r"expected reflectance in floating point.*: state their scale"),
        ("S2", (255 * REFLECTANCE).astype("uint8") + 1, r"in 8 bits, as pictures have, expected reflectance"),
        ("S1", REFLECTANCE.astype("complex64"), r"holds complex64 of shape \(20, 20\), expected one image"),
    ],
)
def test_other_units_are_refused_with_the_true_reason(tmp_path, sensor, pixels, said):
    with pytest.raises(DataError, match=f"a.tif .*{said}"):
        reader.read_channel(write(tmp_path / "a.tif", pixels), sensor)


def test_a_small_file_that_declares_60000_pixels_a_side_takes_no_memory(tmp_path):
    place = from_origin(276_480, 6_250_000, 10, 10)
    options = {"sparse_ok": True, "tiled": True, "compress": "deflate", "count": 1, "dtype": "uint8"}
    options |= {"crs": "EPSG:32734", "transform": place}
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", width=60_000, height=60_000, **options):
        pass
    with pytest.raises(DataError, match=r"a.tif declares 60,000 × 60,000 pixels, expected"):
        reader.read_channel(tmp_path / "a.tif", "S2")


def test_defects_are_named(tmp_path):
    whole = write(tmp_path / "whole.tif", PIXELS).read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[:3000])
    (tmp_path / "empty.tif").write_bytes(b"")
    (tmp_path / "text.tif").write_bytes(b"<html>not found</html>")
    packed = write(tmp_path / "packed.tif", PIXELS, compress="deflate").read_bytes()
    (tmp_path / "packed_cut.tif").write_bytes(packed[: len(packed) // 2])
    for name in ("cut", "empty", "text", "packed_cut"):
        with pytest.raises(
            DataError, match=rf"{name}.tif of [\d,]+ bytes is damaged \(tifffile: .*; GDAL: .*\)"
        ):
            reader.read_channel(tmp_path / f"{name}.tif")
    with pytest.raises(DataError, match=r"none.tif is missing"):
        reader.read_channel(tmp_path / "none.tif")
    with pytest.raises(DataError, match=r"zero.tif has no value in any pixel"):
        reader.read_channel(write(tmp_path / "zero.tif", np.zeros((8, 8), "float32")))
    with pytest.raises(DataError, match=r"two.tif holds uint16 of shape"):
        reader.read_channel(write(tmp_path / "two.tif", np.stack([PIXELS, PIXELS])))


def test_files_of_an_image(tmp_path):
    s1 = SimpleNamespace(sequence="0063", sensor="S1", filename="S1B_IW_GRDH_1SDV_x", channels="VV+VH")
    assert files_of(tmp_path, s1) == {
        "VV": tmp_path / "0063" / "S1B_IW_GRDH_1SDV_x_corrected_VV.tif",
        "VH": tmp_path / "0063" / "S1B_IW_GRDH_1SDV_x_corrected_VH.tif",
    }
    s2 = SimpleNamespace(sequence="5", sensor="S2", filename="S2_2019-01-24", channels="B01+B8A")
    assert list(files_of(tmp_path, s2).values()) == [
        tmp_path / "5" / "S2_2019-01-24_B01.tif",
        tmp_path / "5" / "S2_2019-01-24_B8A.tif",
    ]
    assert files_of(tmp_path, SimpleNamespace(sequence="5", sensor="S2", filename="", channels="")) == {}
    item = "sen12floods_s1_source/sen12floods_s1_source_5_2019_01_24"
    assert files_of(tmp_path, SimpleNamespace(sequence="5", sensor="S1", filename=item, channels="VV")) == {
        "VV": tmp_path / "sen12floods_s1_source" / "sen12floods_s1_source_5_2019_01_24" / "VV.tif"
    }
