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
    found = reader.read_channel(write(tmp_path / "a.tif", PIXELS, **options))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, PIXELS)


def test_the_real_tile_is_read(real_data):
    values = reader.read_channel(real_data / "sen12flood_lists" / "0004" / "new.tif")
    assert values.shape == (512, 512)
    assert (np.nanmin(values), np.nanmax(values)) == (97, 18240)


def test_pixels_without_a_value_are_nan(tmp_path):
    sigma = np.full((10, 10), 0.03, "float32")
    sigma[0], sigma[1, :5], sigma[1, 5:] = 0, np.nan, -0.1
    found = reader.read_channel(write(tmp_path / "a.tif", sigma))
    assert np.isnan(found[:2]).all()
    np.testing.assert_array_equal(found[2:], sigma[2:])


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
    with pytest.raises(DataError, match=r"two.tif holds an array of shape"):
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
