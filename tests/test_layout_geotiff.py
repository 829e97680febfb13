"""GeoTIFFs of every kind give the pixels that GDAL wrote, whichever of the three ways reads them."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import rasterio
import tifffile

from eolab.core.errors import DataError
from eolab.data.layouts import geotiff
from eolab.data.layouts.geotiff import band_order, read_raster

RNG = np.random.default_rng(0)


def write(path, pixels, **options):
    bands = pixels if pixels.ndim == 3 else pixels[None]
    count, height, width = bands.shape
    shape = {"count": count, "height": height, "width": width, "dtype": pixels.dtype}
    place = rasterio.transform.from_origin(404_400, 5_342_400, 10, 10)
    with rasterio.open(
        path, "w", driver="GTiff", crs="EPSG:32633", transform=place, **shape, **options
    ) as file:
        file.write(bands)
    return path


def plain_image(content):
    """Return the image of a plain file; None for any other."""
    plain = geotiff._plain("", content)
    return None if plain is None else plain.pixels


@pytest.mark.parametrize("kind", ["uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"])
@pytest.mark.parametrize("endianness", ["LITTLE", "BIG"])
def test_plain_files_are_read_from_their_bytes(tmp_path, kind, endianness):
    for size in ((120, 120), (20, 31), (1, 7), (1, 1)):
        pixels = (RNG.random(size) * 200).astype(kind)
        path = write(tmp_path / "a.tif", pixels, ENDIANNESS=endianness)
        found = plain_image(path.read_bytes())
        assert found.dtype == kind
        assert found.flags.writeable
        np.testing.assert_array_equal(found, pixels)
        np.testing.assert_array_equal(read_raster(path).pixels, np.squeeze(pixels))


@pytest.mark.parametrize(
    "options",
    [
        {"compress": "deflate", "predictor": 2},
        {"compress": "lzw"},
        {"compress": "zstd"},
        {"tiled": True, "blockxsize": 16, "blockysize": 16},
        {"BIGTIFF": "YES"},
        {"NBITS": 12},
        {"SPARSE_OK": True},
    ],
)
def test_other_files_are_left_to_the_libraries(tmp_path, options):
    pixels = RNG.integers(0, 4000, (40, 50)).astype("uint16")
    if "SPARSE_OK" in options:
        pixels[:] = 0
    path = write(tmp_path / "a.tif", pixels, **options)
    assert plain_image(path.read_bytes()) is None
    np.testing.assert_array_equal(read_raster(path).pixels, pixels)


@pytest.mark.parametrize(
    "options", [{}, {"compress": "deflate"}, {"tiled": True, "blockxsize": 16, "blockysize": 16}]
)
def test_scale_offset_and_nodata_of_a_file_are_heeded(tmp_path, options):
    """They were passed over, whichever way the file was read."""
    pixels = np.array([[0, 1500, 2500], [65535, 1000, 4000]], "uint16")
    path = write(tmp_path / "a.tif", pixels, nodata=65535, **options)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (1e-4,), (-0.1,)
    found = read_raster(path)
    assert (found.nodata, found.scale, found.offset) == (65535, 1e-4, -0.1)
    np.testing.assert_array_equal(found.pixels, pixels)
    expected = np.array([[-0.1, 0.05, 0.15], [np.nan, 0, 0.3]])
    np.testing.assert_allclose(found.values(), expected, atol=1e-7)
    plain = read_raster(write(tmp_path / "b.tif", pixels, **options))
    assert plain[1:] == (None, 1, 0)
    assert plain.values()[1, 0] == 65535


@pytest.mark.parametrize("count", [1, 3])
def test_a_small_file_that_declares_gigabytes_is_refused_before_it_is_read(tmp_path, count):
    path = tmp_path / "a.tif"
    shape = {"count": count, "height": 60_000, "width": 60_000, "dtype": "uint16"}
    shape["transform"] = rasterio.transform.from_origin(0, 0, 10, 10)
    with rasterio.open(
        path, "w", driver="GTiff", SPARSE_OK=True, tiled=True, compress="lzw", BIGTIFF="NO", **shape
    ):
        pass
    assert path.stat().st_size < 1_000_000
    with pytest.raises(
        DataError, match=r"a.tif declares .*60,000 × 60,000.* pixels, expected 16,777,216 at most"
    ):
        read_raster(path)


SEVEN = ("B02", "B03", "B04", "B08", "B8A", "slope", "dem")


@pytest.mark.parametrize(
    "names",
    [
        [None] * 7,
        ["b1", "b2", "b3", "b4", "b5", "b6", "b7"],
        ["Band 1", "Band 2", "Band 3", "Band 4", "Band 5", "Band 6", "Band 7"],
        ["B2", "B3 (scaled)", "b04", "B08: NIR", "B8A", "Slope", "elevation [m]"],
    ],
)
def test_names_that_agree_or_only_count_leave_the_order(names):
    assert band_order("a.tif", names, SEVEN) == [1, 2, 3, 4, 5, 6, 7]


def test_names_in_another_order_are_used():
    names = ["elevation", "slope (degree)", "B8A", "B8", "B4", "B3", "B2"]
    assert band_order("a.tif", names, SEVEN) == [7, 6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["B02", "B03", "B04", "B05", "B8A", "slope", "dem"], "missing: B08"),
        (["B02", "B03", "B04", "B08", "B8A", "slope", ""], "missing: dem"),
        (["blue", "green", "red", "nir", "nir2", "slope", "dem"], "missing: B02, B03, B04, B08, B8A"),
        (["Band 2", "Band 1", "Band 3", "Band 4", "Band 5", "Band 6", "Band 7"], "missing: "),
        (["B02", "B02", "B04", "B08", "B8A", "slope", "dem"], "missing: B03"),
    ],
)
def test_names_of_other_bands_are_refused(names, words):
    """A stack of other bands in the expected number went through as if it were the expected ones."""
    with pytest.raises(DataError, match=f"a.tif names its bands .*{words}.*remove the names"):
        band_order("a.tif", names, SEVEN)


def test_several_bands_and_pages_are_left_to_the_libraries(tmp_path):
    pixels = RNG.integers(0, 4000, (2, 40, 50)).astype("uint16")
    for interleave in ("band", "pixel"):
        assert plain_image(write(tmp_path / "bands.tif", pixels, interleave=interleave).read_bytes()) is None
    tifffile.imwrite(tmp_path / "pages.tif", pixels, photometric="minisblack")
    assert plain_image((tmp_path / "pages.tif").read_bytes()) is None
    np.testing.assert_array_equal(read_raster(tmp_path / "pages.tif").pixels, pixels)


def test_every_length_of_a_cut_file_is_refused(tmp_path):
    whole = write(tmp_path / "a.tif", RNG.integers(1, 4000, (9, 8)).astype("uint16")).read_bytes()
    assert plain_image(whole) is not None
    for length in range(len(whole)):
        assert plain_image(whole[:length]) is None
    for length in (0, 3, 10, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.tif").write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"cut.tif of [\d,]+ bytes is damaged \(tifffile: .*; GDAL: .*\)"):
            read_raster(tmp_path / "cut.tif")


def test_spoilt_tags_never_raise(tmp_path):
    whole = bytearray(write(tmp_path / "a.tif", RNG.integers(1, 4000, (9, 8)).astype("uint16")).read_bytes())
    for place in range(8, 250):
        for value in (0, 255):
            spoilt = bytes(whole[:place]) + bytes([value]) + bytes(whole[place + 1 :])
            found = plain_image(spoilt)
            assert found is None or found.size <= 72


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tags_that_hold_no_number_are_named_and_windows_nan_is_nan(tmp_path, compression):
    """Regression: one file with nodata "0,0" ended the reading of a data set in a ValueError."""
    pixels = RNG.random((4, 4)).astype(np.float32)

    def found(nodata=None, metadata=None):
        texts = {42112: metadata, 42113: nodata}
        tags = [(tag, "s", 0, text, True) for tag, text in texts.items() if text]
        file, options = tmp_path / "tags.tif", {"compression": compression, "metadata": None}
        tifffile.imwrite(file, pixels, extratags=tags, **options)
        return read_raster(file)

    items = '<GDALMetadata><Item name="SCALE" sample="0" role="scale">{}</Item></GDALMetadata>'
    assert np.isnan(found("1.#QNAN").nodata)
    assert found("None").nodata is None
    assert found(metadata=items.format("0.5").replace('"', "'")).scale == 0.5
    with pytest.raises(DataError, match=r"states the nodata value '0,0', expected a number"):
        found("0,0")
    with pytest.raises(DataError, match=r"states the scale '0,0001', expected a number"):
        found(metadata=items.format("0,0001"))
    with pytest.raises(DataError, match=r"one scale, not 0"):
        found(metadata=items.format("0"))


def test_a_file_in_capitals_is_named_where_it_is_missed(tmp_path):
    write(tmp_path / "x_VV.TIF", RNG.random((4, 4)).astype(np.float32))
    with pytest.raises(
        DataError, match=r"missing, though the list names it: rename x_VV.TIF, which lies there"
    ):
        read_raster(tmp_path / "x_VV.tif")


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(DataError, match=r"none.tif is missing, though the list names it"):
        read_raster(tmp_path / "none.tif")
    with pytest.raises(DataError, match=r"cannot be read \(Is a directory\)"):
        read_raster(tmp_path)


@pytest.mark.slow
def test_threads_read_images_without_a_place_and_nothing_is_printed(tmp_path):
    """Warnings hidden by catch_warnings came through where threads overlapped, with a path, into reports."""
    image = np.arange(4096, dtype="float32").reshape(64, 64)
    with rasterio.open(
        tmp_path / "whole.tif", "w", "GTiff", 64, 64, 1, dtype="float32", compress="zstd"
    ) as file:
        file.write(image[None])
    (tmp_path / "cut.tif").write_bytes((tmp_path / "whole.tif").read_bytes()[:-200])  # left to GDAL
    script = f"""
from concurrent.futures import ThreadPoolExecutor
from eolab.core.errors import DataError
from eolab.data.layouts.geotiff import read_raster

def read(_):
    try:
        read_raster({str(tmp_path / "cut.tif")!r})
    except DataError as error:
        return str(error)

with ThreadPoolExecutor(8) as pool:
    said = set(pool.map(read, range(1000)))
assert len(said) == 1 and "damaged" in said.pop()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("compress", ["none", "deflate"])
@pytest.mark.parametrize("inside", [True, False])
def test_what_a_mask_hides_has_no_data(tmp_path, compress, inside):
    """Regression: pixels under a mask, in the file or beside it, were values."""
    pixels = np.arange(1, 65, dtype="uint16").reshape(8, 8)
    options = {"driver": "GTiff", "dtype": "uint16", "width": 8, "height": 8, "count": 1}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=inside),
        rasterio.open(tmp_path / "a.tif", "w", compress=compress, **options) as file,
    ):
        file.write(pixels, 1)
        file.write_mask(pixels > 8)
    found = geotiff.read_raster(tmp_path / "a.tif", sidecars=not inside).values()
    np.testing.assert_array_equal(found, np.where(pixels > 8, pixels, np.nan))


def test_facts_beside_a_file_count_where_they_are_asked_for(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.arange(1, 65, dtype="uint16").reshape(8, 8))
    band = "<PAMRasterBand band='1'><Scale>0.5</Scale><NoDataValue>7</NoDataValue></PAMRasterBand>"
    (tmp_path / "a.tif.aux.xml").write_text(f"<PAMDataset>{band}</PAMDataset>")
    found = geotiff.read_raster(tmp_path / "a.tif", sidecars=True)
    assert found[1:] == (7, 0.5, 0)
    assert geotiff.read_raster(tmp_path / "a.tif")[1:] == (None, 1, 0)


def test_the_first_of_several_images_is_not_taken_for_all(tmp_path):
    """Regression: of a small picture before the image itself the small one was read; overviews are none."""
    pixels = np.arange(1, 4097, dtype="uint16").reshape(64, 64)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(pixels)
        file.write(pixels[::2, ::2], subfiletype=1)
    np.testing.assert_array_equal(geotiff.read_raster(tmp_path / "a.tif").pixels, pixels)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(pixels[:8, :8])
        file.write(pixels)
    with pytest.raises(DataError, match=r"a.tif holds 2 images of different sizes, expected one"):
        geotiff.read_raster(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("text", "scale"),
    [
        ("<GDALMetadata><Item name='SCALE' sample='0' role='scale'>0.5", 0.5),  # cut off
        ("<GDALMetadata><Item name='SCALE' role = 'scale' sample='0'>0.5</Item></GDALMetadata>", 0.5),
        ("<GDALMetadata><!-- <Item name='SCALE' role='scale'>7</Item> --></GDALMetadata>", 1),
    ],
)
def test_a_scale_in_damaged_metadata_counts_and_one_in_a_comment_does_not(tmp_path, text, scale):
    tags = [(42112, "s", 0, text, True)]
    tifffile.imwrite(tmp_path / "a.tif", np.ones((8, 8), "uint16"), extratags=tags)
    assert geotiff.read_raster(tmp_path / "a.tif").scale == scale


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are of POSIX")
def test_a_pipe_with_the_name_of_an_image_stops_nothing(tmp_path):
    """Regression: the reader waited for ever for who would write into it."""
    os.mkfifo(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"a.tif is no file but a device or a pipe"):
        geotiff.read_raster(tmp_path / "a.tif")


def test_a_file_whose_bands_all_have_the_name_of_one_is_refused():
    with pytest.raises(DataError, match="names its bands B2, B2, expected B02, B03"):
        geotiff.band_order("a.tif", ["B2", "B2"], ["B02", "B03"])
    assert geotiff.band_order("a.tif", ["reflectance"] * 2, ["B02", "B03"]) == [1, 2]


def test_a_link_that_leads_nowhere_is_named_as_such(tmp_path):
    """Regression: the remedy was to rename the file to the name that it has."""
    (tmp_path / "a.tif").symlink_to(tmp_path / "gone.tif")
    with pytest.raises(
        DataError, match=r"a.tif is a link that leads nowhere: fetch it again, or leave it out"
    ):
        geotiff.read_raster(tmp_path / "a.tif")
