"""CORINE rasters on their own grid and under an image, and the labelled Sentinel-2 layout."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from affine import Affine
from pyproj import Transformer
from rasterio.transform import from_origin
from safe_factory import NORTH, WEST, image_path, write_safe

from eolab.core.errors import DataError
from eolab.data.layouts import corine, sentinel2_corine
from eolab.data.schemes.corine import CORINE

FOLDER = Path("u2018_clc2018_v2020_20u1_raster100m", "DATA", "U2018_CLC2018_V2020_20u1.tif")
LEFT, TOP = 3_900_000, 3_190_000  # near the factory's tile, in EPSG:3035


def write_raster(
    file: Path, values: np.ndarray, nodata: float | None = None, crs: str = "EPSG:3035", place=None
) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        file,
        "w",
        driver="GTiff",
        height=values.shape[0],
        width=values.shape[1],
        count=1,
        dtype=values.dtype,
        crs=crs,
        transform=place or from_origin(LEFT, TOP, 100, 100),
        nodata=nodata,
    ) as raster:
        raster.write(values, 1)
    return file


@pytest.fixture(scope="module")
def codes() -> np.ndarray:
    codes = np.random.default_rng(0).integers(1, 49, (1200, 1200)).astype(np.int8)
    return np.where(codes > 44, np.int8(48), codes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, codes) -> Path:
    folder = tmp_path_factory.mktemp("labelled")
    write_safe(folder / "sentinel2")
    write_safe(folder / "sentinel2", "2020-05-16T10:40:31", baseline="04.00", offset=-1000)
    write_raster(folder / "corine" / FOLDER, codes, nodata=-128)
    return folder


def test_grid_codes_become_level_3_codes(folder, codes):
    result = corine.open_corine(folder / "corine")
    assert result.dtype == np.uint16
    assert result.rio.crs.to_epsg() == 3035
    table = dict(zip(CORINE["grid_code"], CORINE["code"], strict=True))
    expected = [[table.get(int(code), 0) for code in row] for row in codes[:20, :20]]
    np.testing.assert_array_equal(result[:20, :20], expected)
    assert result.rio.bounds() == (LEFT, TOP - 120000, LEFT + 120000, TOP)


def test_under_an_image_each_pixel_has_the_class_at_its_centre(folder, codes):
    dataset = sentinel2_corine.open_layout(folder, bands=["B04"])
    assert dataset["corine"].dims == ("y", "x")
    assert dataset["corine"].dtype == np.uint16
    assert dataset["corine"].attrs["cell_m"] == pytest.approx(100, rel=0.01)
    to_laea = Transformer.from_crs(32631, 3035, always_xy=True)
    x, y = to_laea.transform(*np.meshgrid(dataset.x.values, dataset.y.values))
    column, row = (np.asarray(x) - LEFT) / 100, (TOP - np.asarray(y)) / 100
    assert 0 <= row.min() < row.max() < 1200
    assert 0 <= column.min() < column.max() < 1200
    at_edge = np.minimum(abs(row - row.round()), abs(column - column.round())) < 0.02
    # GDAL warps to 1/8 of a 10 m pixel
    lookup = np.zeros(129, np.uint16)
    lookup[CORINE["grid_code"]] = CORINE["code"]
    expected = lookup[codes[row.astype(int), column.astype(int)]]
    np.testing.assert_array_equal(dataset["corine"].values[~at_edge], expected[~at_edge])
    assert len(np.unique(dataset["corine"])) > 10


def test_recoded_rasters_and_unsigned_nodata(tmp_path):
    recoded = write_raster(tmp_path / "a.tif", np.array([[111, 523], [0, 999]], np.uint16), nodata=0)
    assert corine.open_corine(recoded).values.tolist() == [[111, 523], [0, 0]]
    unsigned = write_raster(tmp_path / "b.tif", np.array([[1, 44], [48, 128]], np.uint8), nodata=128)
    assert corine.open_corine(unsigned).values.tolist() == [[111, 523], [0, 0]]


GRID = np.arange(1, 45, dtype=np.uint8).reshape(4, 11)
LEVEL3 = CORINE["code"].to_numpy()[GRID - 1].astype(np.uint16)
WORLDCOVER = np.array([[10, 20, 30, 40, 50, 60, 80, 90, 95, 100]], np.uint8)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            WORLDCOVER,
            r"map\.tif holds codes outside of its class scheme .* \(60, 80, 90, 95, 100\), expected",
        ),
        ((LEVEL3 // 10).astype(np.uint8), r"\(52, 51\), expected CORINE's grid codes 1 to 44 or level-3"),
        ((LEVEL3[:2] // 10).astype(np.uint8), r"codes 11, 12, 13, 14, 21, 22, .* of CORINE's level 2 too"),
        (
            (LEVEL3 // 100).astype(np.uint8),
            r"the codes 1, 2, 3, 4, 5 alone, .*CORINE's level 1 .* level-3 codes",
        ),
        (np.arange(12, dtype=np.uint8)[None], "such as a scene classification"),
        (np.arange(256, dtype=np.uint8)[None], "outside of its class scheme"),
        (GRID + np.float32(0.5), "outside of its class scheme in 100.00%"),
        (np.where(GRID < 23, GRID, LEVEL3), "outside of its class scheme in 50.00%"),
        (np.full((4, 4), 48, np.uint8), "holds no CORINE class"),
        (LEVEL3.astype(np.complex64), "holds complex64"),
    ],
)
def test_a_map_of_other_codes_is_not_taken_for_corine(tmp_path, values, sentence):
    """Regression: any raster with one value in 1 to 44 was read as CORINE."""
    file = write_raster(tmp_path / "map.tif", values)
    with pytest.raises(DataError, match=sentence):
        corine.open_corine(file)
    assert corine.check_layout(file)["status"].tolist() == ["rejected"]


@pytest.mark.parametrize("values", [GRID, LEVEL3, GRID.astype(np.float32), LEVEL3.astype(np.int32)])
def test_both_codings_are_read_in_any_number_type(tmp_path, values):
    assert (corine.open_corine(write_raster(tmp_path / "map.tif", values)) == LEVEL3).all()


def test_a_raster_is_found_with_capitals_and_beside_hidden_files(tmp_path):
    write_raster(tmp_path / "clc" / "CLC2018.TIF", GRID)
    (tmp_path / "clc" / "._CLC2018.tif").write_bytes(b"macOS")
    assert (corine.open_corine(tmp_path) == LEVEL3).all()
    (tmp_path / "zip").mkdir()
    (tmp_path / "zip" / "u2018_clc2018.zip").write_bytes(b"PK")
    with pytest.raises(
        DataError, match=r"holds 0 \.tif files \(found the archive u2018_clc2018.zip: unpack it"
    ):
        corine.open_corine(tmp_path / "zip")


def test_codes_that_other_maps_have_too_are_pointed_out(tmp_path):
    """Codes 1 to 17 are those of MODIS's land cover, too: read without a word before."""
    igbp = np.tile(np.arange(1, 18, dtype=np.uint8), (17, 1))
    with pytest.warns(UserWarning, match=r"no grid code above 17 .+ is read as CORINE"):
        corine.open_corine(write_raster(tmp_path / "map.tif", igbp))


def test_a_picture_of_several_bands_is_no_map(tmp_path):
    file = tmp_path / "picture.tif"
    profile = {"driver": "GTiff", "height": 4, "width": 11, "count": 3, "dtype": "uint8", "crs": "EPSG:3035"}
    with rasterio.open(file, "w", transform=from_origin(LEFT, TOP, 100, 100), **profile) as raster:
        raster.write(np.stack([GRID] * 3))
    with pytest.raises(DataError, match="has 3 bands, expected one of class codes"):
        corine.open_corine(file)


def test_a_few_codes_without_a_class_are_named_and_have_none(tmp_path):
    values = np.tile(GRID, (3, 3))
    values[0, :2] = 45
    with pytest.warns(UserWarning, match=r"in 0\.51% of its pixels \(45\): these pixels have no class"):
        found = corine.open_corine(write_raster(tmp_path / "map.tif", values))
    assert found[0, :3].values.tolist() == [0, 0, 121]


@pytest.mark.parametrize("transform", ["south-up", "west-up", "rotated"])
def test_a_map_on_any_grid_lies_where_its_transform_says(tmp_path, transform):
    """Regression: a south-up map "does not cover" the image, and a rotated one was right in a tenth of it."""
    place = {
        "south-up": Affine(100, 0, LEFT, 0, 100, TOP - 6000),
        "west-up": Affine(0, 100, LEFT, 100, 0, TOP - 6000),
        "rotated": Affine.translation(LEFT, TOP - 3000) * Affine.rotation(30) * Affine.scale(100, -100),
    }[transform]
    codes = np.random.default_rng(0).choice(GRID.ravel(), (60, 60))
    file = write_raster(tmp_path / "map.tif", codes, place=place)
    x, y = LEFT + 2000 + 10.0 * np.arange(150) + 5, TOP - 2000 - 10.0 * np.arange(120) - 5
    like = xr.DataArray(np.zeros((120, 150)), {"y": y, "x": x}).rio.write_crs("EPSG:3035")
    found = corine.open_corine(file, like=like)
    column, row = ~place * np.array(np.meshgrid(x, y))
    inside = (np.minimum(column, row) >= 0) & (np.maximum(column, row) < 60)
    assert inside.mean() > 0.5
    expected = CORINE["code"].to_numpy()[codes[row.astype(int) % 60, column.astype(int) % 60] - 1]
    at_edge = np.minimum(abs(row - row.round()), abs(column - column.round())) < 0.02
    assert (found.values == np.where(inside, expected, 0))[~at_edge].all()


def test_a_map_comes_under_a_rotated_image(tmp_path):
    """Regression: the window was that of its row and column numbers, so most of it was 0 or not covered."""
    codes = np.random.default_rng(0).choice(GRID.ravel(), (60, 60))
    file = write_raster(tmp_path / "map.tif", codes)
    place = Affine.translation(LEFT + 3000, TOP - 500) * Affine.rotation(-50) * Affine.scale(20, -20)
    with rasterio.open(
        *(tmp_path / "image.tif", "w", "GTiff"),
        **{"width": 90, "height": 80, "count": 1, "dtype": "uint8", "crs": "EPSG:3035", "transform": place},
    ):
        pass
    with rioxarray.open_rasterio(tmp_path / "image.tif") as like:
        found = corine.open_corine(file, like=like)
    column, row = np.meshgrid(np.arange(90) + 0.5, np.arange(80) + 0.5)
    x, y = place @ (column, row)
    at = (TOP - y) / 100, (x - LEFT) / 100
    inside = (np.minimum(*at) >= 0) & (np.maximum(*at) < 60)
    assert inside.mean() > 0.9
    expected = CORINE["code"].to_numpy()[codes[at[0].astype(int) % 60, at[1].astype(int) % 60] - 1]
    assert (found.values == np.where(inside, expected, 0)).mean() > 0.99


def test_a_map_comes_under_an_image_in_degrees(tmp_path):
    file = write_raster(tmp_path / "map.tif", np.resize(GRID, (60, 60)))
    lon, lat = Transformer.from_crs(3035, 4326, always_xy=True).transform(LEFT + 3050, TOP - 3050)
    like = xr.DataArray(
        np.zeros((3, 3)),
        {"y": lat + np.array([1e-4, 0, -1e-4]), "x": lon + np.array([-1e-4, 0, 1e-4])},
        ("y", "x"),
    )
    found = corine.open_corine(file, like=like.rio.write_crs("EPSG:4326"))
    assert found.dims == ("y", "x")
    assert found.values[1, 1] == CORINE["code"][np.resize(GRID, (60, 60))[30, 30] - 1]


@pytest.mark.slow
def test_truth_of_each_year_is_read_on_the_grid_of_the_series(folder, tmp_path):
    assert "truth" not in sentinel2_corine.open_layout(folder, bands=["B04"])
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "truth").mkdir()
    truths = np.random.default_rng(1).integers(0, 12, (2, 48, 48)).astype(np.uint8)
    truths[:, 0, 0] = 255
    profile = {"driver": "GTiff", "height": 48, "width": 48, "count": 1, "dtype": "uint8", "nodata": 255}
    profile |= {"crs": "EPSG:32631", "transform": from_origin(WEST, NORTH, 10, 10)}
    for year, values in zip((2020, 2018), truths, strict=True):
        with rasterio.open(tmp_path / f"truth/land_cover_10m_{year}.tif", "w", **profile) as raster:
            raster.write(values, 1)
    dataset = sentinel2_corine.open_layout(tmp_path, bands=["B04"])
    bounds = (WEST + 100, NORTH - 200, WEST + 300, NORTH - 50)
    part = sentinel2_corine.open_layout(tmp_path, bands=["B04"], bounds=bounds)
    assert dataset["year"].values.tolist() == [2018, 2020]
    assert dataset["truth"].dtype == np.uint8
    for year, values in zip((2020, 2018), truths, strict=True):
        np.testing.assert_array_equal(dataset["truth"].sel(year=year), values)
        np.testing.assert_array_equal(part["truth"].sel(year=year), values[5:20, 10:30])
    np.testing.assert_array_equal(part["corine"], dataset["corine"][5:20, 10:30])
    report = sentinel2_corine.check_layout(tmp_path, progress=False)
    assert set(report["status"]) == {"ok"}
    assert len(report) == 2 * 13 + 3


def test_check_lists_what_is_broken(tmp_path):
    product = write_safe(tmp_path / "sentinel2", size=24)
    image_path(product, "B02").write_bytes(b"")
    file = write_raster(tmp_path / "corine" / FOLDER, np.full((50, 50), 99, np.int8))
    report = sentinel2_corine.check_layout(tmp_path, progress=False)
    assert list(report["status"]) == ["rejected", "rejected"]
    assert "outside of its class scheme in 100.00% of its pixels (99)" in report["reason"][1]
    file.write_bytes(file.read_bytes()[:-1000])
    assert "cannot be read" in sentinel2_corine.check_layout(tmp_path, progress=False)["reason"][1]


def test_missing_parts_are_one_sentence(tmp_path, folder):
    with pytest.raises(DataError, match="has no folder sentinel2/"):
        sentinel2_corine.open_layout(tmp_path)
    (tmp_path / "corine").mkdir()
    with pytest.raises(DataError, match=r"holds 0 \.tif files"):
        corine.open_corine(tmp_path / "corine")
    bad = tmp_path / "bad.tif"
    bad.write_bytes(b"no raster")
    with pytest.raises(DataError, match=r"bad\.tif cannot be read"):
        corine.open_corine(bad)
    far = write_raster(tmp_path / "far.tif", np.ones((5, 5), np.int8))
    like = sentinel2_corine.open_layout(folder, bands=["B04"])
    with pytest.raises(DataError, match="does not cover the image"):
        corine.open_corine(far, like=like)
    bare = write_raster(tmp_path / "bare.tif", np.ones((5, 5), np.int8), crs=None)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no coordinate reference system"):
        corine.open_corine(bare)


def test_a_map_with_a_mask_and_an_image_without_a_grid_are_refused(tmp_path):
    """Regression: what a mask hides was read, and an image without a CRS ended in an AttributeError."""
    file = write_raster(tmp_path / "map.tif", np.resize(GRID, (60, 60)))
    with pytest.raises(
        DataError, match="The image has no grid: give one of 2 x 2 pixels or more, with a CRS"
    ):
        corine.open_corine(file, like=xr.DataArray(np.zeros((2, 2)), dims=("y", "x")))
    with rasterio.open(file, "r+") as raster:
        raster.write_mask(np.eye(60, dtype=bool))
    with pytest.raises(DataError, match=r"map.tif hides pixels by a mask, which is not read"):
        corine.open_corine(file)
