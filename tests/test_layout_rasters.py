"""Images of one's own: names, bands, units, grids and what is left out, against plain NumPy."""

from __future__ import annotations

import json
import warnings
from datetime import datetime
from pathlib import Path

import dask
import numpy as np
import pytest
import rasterio
import yaml
from affine import Affine

from eolab.core.errors import CatalogError, DataError, ParameterError
from eolab.data import catalog
from eolab.data.layouts import raster_names, rasters

WEST, NORTH = 500_000.0, 6_400_000.0


def put(folder: Path, name: str, array: np.ndarray, **options) -> Path:
    """Write an image (y, x) or (band, y, x); `names` describes its bands, `tags` are scale and offset."""
    array = array[None] if array.ndim == 2 else array
    file, size = folder / name, options.get("size", 10)
    file.parent.mkdir(parents=True, exist_ok=True)
    place = options.get("place", Affine(size, 0, options.get("x", WEST), 0, -size, options.get("y", NORTH)))
    kind = {"driver": "GTiff", "height": array.shape[1], "width": array.shape[2], "count": len(array)}
    with rasterio.open(
        file,
        "w",
        **kind,
        dtype=array.dtype,
        crs=options.get("crs", "EPSG:32633"),
        transform=place,
        nodata=options.get("nodata"),
    ) as image:
        image.write(array)
        for number, text in enumerate(options.get("names", ()), start=1):
            image.set_band_description(number, text)
        if "tags" in options:
            image.scales, image.offsets = ([value] * len(array) for value in options["tags"])
    return file


def numbers(*shape: int, seed: int = 0, high: int = 5000, dtype: str = "uint16") -> np.ndarray:
    return np.random.default_rng(seed).integers(1, high, shape).astype(dtype)


def load(*args, **options):
    with dask.config.set(scheduler="synchronous"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return rasters.open_layout(*args, **options).load()


# === Names ===


@pytest.mark.parametrize(
    ("path", "convention", "time", "tile", "what"),
    [
        ("T31UFT_20200103T105431_B02_10m.jp2", "safe", "2020-01-03T10:54:31", "31UFT", "B02"),
        ("x/L2A_T31UFT_20180103T105431_SCL_20m.jp2", "safe", "2018-01-03T10:54:31", "31UFT", "SCL"),
        ("BOA/S2A2A_20190703_065_Stands_BOA_10.tif", "sen2r", "2019-07-03", "Stands", "BOA"),
        ("S2B1C_20190703_022_32TQQ_TOA_20.tif", "sen2r", "2019-07-03", "32TQQ", "TOA"),
        ("S2A2A_20190703_065__Chlred-edge_10.tif", "sen2r", "2019-07-03", "", "Chlred-edge"),
        ("SENTINEL-2_MSI_20LNR_B8A_2018-07-12.tif", "sits", "2018-07-12", "20LNR", "B8A"),
        ("SENTINEL-2A_MSI_20LNR_NDVI_2018-07-12.jp2", "sits", "2018-07-12", "20LNR", "NDVI"),
        ("31/U/FT/2020/1/S2A_31UFT_20200103_0_L2A/B8A.tif", "earth_search", "2020-01-03", "31UFT", "B8A"),
        ("S2B_5VNG_20200103_1_L2A/swir16.tif", "earth_search", "2020-01-03", "5VNG", "B11"),
        ("S2B_5VNG_20200103_1_L2A/visual.tif", "earth_search", "2020-01-03", "5VNG", "TCI"),
        ("tiles/31/U/FT/2021/9/8/0/R10m/B02.jp2", "aws", "2021-09-08", "31UFT", "B02"),
        ("tiles/31/U/FT/2021/9/18/0/B10.jp2", "aws", "2021-09-18", "31UFT", "B10"),
        ("20200103T105431_20200103T105428_T31UFT.tif", "earth_engine", "2020-01-03T10:54:31", "31UFT", ""),
        (
            "20200103T105431_20200103T105428_T31UFT.B8.tif",
            "earth_engine",
            "2020-01-03T10:54:31",
            "31UFT",
            "B08",
        ),
        ("2020-05-01_b2.tif", "", "2020-05-01", "", "B02"),
        ("scene_20200501T101112.tif", "", "2020-05-01T10:11:12", "", ""),
        ("2020_05_01/red.tif", "", "2020-05-01", "", "B04"),
    ],
)
def test_names_of_several_makers_are_recognised(path, convention, time, tile, what):
    named = raster_names.read_name(path)
    found = (named.convention, named.time, named.tile, named.what)
    assert found == (convention, datetime.fromisoformat(time), tile, what)


@pytest.mark.parametrize("path", ["stand.tif", "99999999_x.tif", "2020-13-01.tif", "12345678901.tif"])
def test_a_name_without_a_date_is_left_out_with_the_remedy(path):
    with pytest.raises(DataError, match="date"):
        raster_names.read_name(path)


def test_a_pattern_of_the_entry_reads_any_name():
    pattern = raster_names.compiled("{tile}/img-{date}-{band}-*.tif")
    named = raster_names.read_name("deep/north/img-20200501-B3-v2.tif", pattern)
    assert (named.tile, named.what, named.time) == ("north", "B03", datetime(2020, 5, 1))
    with pytest.raises(DataError, match="is not named as the entry's files say"):
        raster_names.read_name("north/other.tif", pattern)
    for wrong in ("{day}.tif", "{date}_{date}.tif"):
        with pytest.raises(ParameterError, match=r"its fields are \{date\}, \{band\}, \{tile\}, \{orbit\}"):
            raster_names.compiled(wrong)


def test_bands_of_sen2r_are_those_of_its_own_documentation():
    """TOA has no B8A at 10 m and no B08 at 20 m; BOA lacks B10 too."""
    first = ["B01", "B02", "B03", "B04", "B05", "B06", "B07"]
    name = "S2A{}_20190703_065_S_{}_{}.tif"
    toa = raster_names.bands_of(raster_names.read_name(name.format("1C", "TOA", 10)), 12)
    boa = raster_names.bands_of(raster_names.read_name(name.format("2A", "BOA", 20)), 11)
    assert toa == [*first, "B08", "B09", "B10", "B11", "B12"]
    assert boa == [*first, "B8A", "B09", "B11", "B12"]
    assert raster_names.bands_of(raster_names.read_name(name.format("2A", "BOA", 20)), 12) is None


# === Values ===


@pytest.fixture(scope="module")
def sen2r(tmp_path_factory) -> Path:
    """Two dates of two orbits; the second covers the eastern half."""
    folder = tmp_path_factory.mktemp("sen2r")
    boa = numbers(11, 40, 50)
    boa[:, 0, 0] = 65535
    put(folder, "BOA/S2A2A_20190703_065_Stands_BOA_10.tif", boa, nodata=65535)
    put(folder, "BOA/S2B2A_20190708_022_Stands_BOA_10.tif", boa[:, :, 25:], nodata=65535, x=WEST + 250)
    put(folder, "SCL/S2A2A_20190703_065_Stands_SCL_20.tif", numbers(20, 25, high=11, dtype="uint8"), size=20)
    put(folder, "TCI/S2A2A_20190703_065_Stands_TCI_10.tif", numbers(3, 40, 50, high=255, dtype="uint8"))
    ndre = numbers(40, 50, dtype="int16") - 2500
    ndre[3, 4] = -32768
    put(folder, "NDRE/S2A2A_20190703_065_Stands_NDRE_10.tif", ndre, nodata=-32768)
    put(folder, "CLD/S2A2A_20190703_065_Stands_CLD_20.tif", numbers(20, 25, dtype="uint8", high=100))
    return folder


def read(file: Path) -> np.ndarray:
    with rasterio.open(file) as image:
        return image.read()


def test_layers_of_sen2r_have_their_values(sen2r):
    series = load(sen2r)
    boa = read(next(sen2r.glob("BOA/*0703*"))).astype(float)
    expected = np.where(boa == 65535, np.nan, boa / 10_000)
    np.testing.assert_allclose(series["reflectance"][0], expected, rtol=1e-6)
    np.testing.assert_allclose(series["true_colour"][0], read(next(sen2r.glob("TCI/*"))) / 255, rtol=1e-6)
    ndre = read(next(sen2r.glob("NDRE/*"))).astype(float)
    np.testing.assert_allclose(
        series["indices"][0], np.where(ndre == -32768, np.nan, ndre / 10_000), rtol=1e-5, atol=1e-7
    )
    scl = read(next(sen2r.glob("SCL/*")))[0]
    assert (series["scl"][0].values == np.kron(scl, np.ones((2, 2)))).all()
    assert series["index"].values.tolist() == ["NDRE"]
    assert json.loads(series.attrs["rejected"]) == [
        {"file": "CLD/S2A2A_20190703_065_Stands_CLD_20.tif", "reason": "is the layer CLD, which is not read"}
    ]


def test_ground_that_a_date_does_not_cover_has_no_data(sen2r):
    series = load(sen2r)
    second = series["reflectance"][1]
    assert np.isnan(second[:, :, :25]).all()
    assert np.isfinite(second[:, :, 25:]).mean() > 0.99
    assert (series["scl"][1].values == 0).all()
    assert series["orbit"].values.tolist() == ["065", "022"]


def test_a_part_and_some_dates_are_those_of_the_whole(sen2r):
    whole = load(sen2r)
    bounds = (WEST + 105, NORTH - 205, WEST + 295, NORTH - 95)
    part = load(sen2r, bounds=bounds, dates=["2019-07-08", "2019-12-31"], bands=["8", "red"])
    assert part["band"].values.tolist() == ["B08", "B04"]
    expected = whole["reflectance"].isel(time=[1]).sel(band=["B08", "B04"])[:, :, 9:21, 10:30]
    np.testing.assert_array_equal(part["reflectance"], expected)
    with pytest.raises(DataError, match="its images are of 2019-07-03 to 2019-07-08"):
        load(sen2r, dates=["2020-01-01", "2020-12-31"])
    with pytest.raises(ParameterError, match="first and the last day"):
        load(sen2r, dates=["2020-12-31", "2020-01-01"])
    with pytest.raises(DataError, match="lie outside the images"):
        load(sen2r, bounds=(0, 0, 100, 100))


def test_a_coarser_resolution_averages_valid_pixels(sen2r):
    series = load(sen2r, resolution=20, bands="B02")
    fine = read(next(sen2r.glob("BOA/*0703*")))[1].astype(float) / 10_000
    fine[0, 0] = np.nan
    expected = np.nanmean(fine.reshape(20, 2, 25, 2), axis=(1, 3))
    np.testing.assert_allclose(series["reflectance"][0, 0], expected, rtol=1e-5)


def test_images_of_one_day_are_laid_together(tmp_path):
    left, right = numbers(30, 30, seed=1), numbers(30, 30, seed=2)
    left[:, 20:] = 0  # the swath ends
    put(tmp_path, "2020-05-01_a_B02.tif", left, nodata=0)
    put(tmp_path, "2020-05-01_b_B02.tif", right, x=WEST + 200)
    series = load(tmp_path, stated={"scale": 1e-4})
    assert series.sizes["time"] == 1
    expected = np.concatenate([left[:, :20], right], axis=1) / 1e4
    np.testing.assert_allclose(series["reflectance"][0, 0], expected, rtol=1e-6)


def test_of_one_image_at_several_sizes_the_finest_is_taken(tmp_path):
    fine, coarse = numbers(24, 24), numbers(12, 12, seed=1)
    put(tmp_path, "R10m/T31UFT_20200103T105431_B02_10m.tif", fine)
    put(tmp_path, "R20m/T31UFT_20200103T105431_B02_20m.tif", coarse, size=20)
    series = load(tmp_path)
    np.testing.assert_allclose(series["reflectance"][0, 0], fine / 1e4, rtol=1e-6)


def test_earth_engine_images_have_the_bands_that_they_name(tmp_path):
    name = "20200103T105431_20200103T105428_T31UFT.tif"
    array = numbers(4, 9, 9)
    array[3] %= 12
    put(tmp_path, name, array, names=("B2", "B8A", "B11", "SCL"))
    series = load(tmp_path)
    assert series["band"].values.tolist() == ["B02", "B8A", "B11"]
    np.testing.assert_array_equal(series["scl"][0], read(tmp_path / name)[3])


def test_what_the_entry_states_goes_before_the_file_and_that_before_the_convention(tmp_path):
    array = numbers(6, 6)
    put(tmp_path, "2020-05-01_B02.tif", array, tags=(0.5, 1.0))
    np.testing.assert_allclose(load(tmp_path)["reflectance"][0, 0], array * 0.5 + 1, rtol=1e-6)
    stated = {"scale": 0.01, "offset": -0.25, "nodata": int(array[0, 0])}
    found = load(tmp_path, stated=stated)["reflectance"][0, 0].values
    expected = np.where(array == array[0, 0], np.nan, array * 0.01 - 0.25)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_whole_numbers_without_a_scale_are_refused(tmp_path):
    put(tmp_path, "2020-05-01_B02.tif", numbers(6, 6))
    with pytest.raises(DataError, match=r"uint16\) and states no scale: write `pixels: {scale: 0.0001"):
        load(tmp_path)
    put(tmp_path, "2020-05-02_B02.tif", np.full((6, 6), 0.25, np.float32))
    series = load(tmp_path)
    assert series["time"].dt.day.values.tolist() == [2]
    assert "states no scale" in series.attrs["rejected"]


def test_numbers_of_the_agency_since_2022_get_their_offset_and_a_warning(tmp_path):
    put(tmp_path, "31/U/FT/2022/6/1/0/R10m/B02.tif", np.full((6, 6), 3000, np.uint16))
    with pytest.warns(UserWarning, match=r"do not say whether the offset .* -0.1 is added"):
        series = rasters.open_layout(tmp_path)
    np.testing.assert_allclose(series["reflectance"], 0.2, rtol=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        plain = rasters.open_layout(tmp_path, stated={"scale": 1e-4, "offset": 0})
    np.testing.assert_allclose(plain["reflectance"], 0.3, rtol=1e-6)


def test_numbers_of_others_since_2022_are_taken_as_they_are_with_a_warning(tmp_path):
    put(tmp_path, "S2A_31UFT_20230103_0_L2A/B02.tif", np.full((6, 6), 3000, np.uint16))
    with pytest.warns(UserWarning, match=r"do not say whether the offset .* none is added"):
        series = rasters.open_layout(tmp_path)
    np.testing.assert_allclose(series["reflectance"], 0.3, rtol=1e-6)


# === What is left out or refused ===


def test_what_cannot_be_used_is_listed_and_the_rest_is_read(tmp_path):
    good = np.full((4, 6, 6), 0.25, np.float32)
    names = ("B02", "B03", "B04", "B08")
    put(tmp_path, "2020-05-01.tif", good, names=names)
    put(tmp_path, "2020-05-02.tif", good)  # names no bands
    put(tmp_path, "2020-05-03.tif", good, names=names, place=Affine(7, 7, WEST, 7, -7, NORTH))
    put(tmp_path, "2020-05-04_B02.tif", np.full((6, 6), 1 + 1j, np.complex64))
    put(tmp_path, "2020-05-05.tif", good, names=("B02", "B02", "B04", "B08"))
    (tmp_path / "2020-05-06_B02.tif").write_bytes(b"II*\0nothing")
    (tmp_path / "2020-05-07_B02.tif").write_bytes(b"")
    put(tmp_path, "no date.tif", good, names=names)
    put(tmp_path, "2020-05-08_B02.tif", good[0], crs=None)
    (tmp_path / "._2020-05-01.tif").write_bytes(b"hidden")
    series = load(tmp_path)
    assert series.sizes == {"time": 1, "band": 4, "y": 6, "x": 6}
    reasons = {row["file"]: row["reason"] for row in json.loads(series.attrs["rejected"])}
    assert set(reasons) == {
        f"2020-05-0{day}{end}.tif"
        for day, end in ((2, ""), (3, ""), (4, "_B02"), (5, ""), (6, "_B02"), (7, "_B02"), (8, "_B02"))
    } | {"no date.tif"}
    assert "`images: {bands: [B02, B03]}`" in reasons["2020-05-02.tif"]
    assert "north-up" in reasons["2020-05-03.tif"]
    assert "complex" in reasons["2020-05-04_B02.tif"]
    assert "no place on the ground" in reasons["2020-05-08_B02.tif"]


def test_bands_of_the_entry_that_contradict_the_file_are_refused(tmp_path):
    array = np.stack([np.full((6, 6), value, np.float32) for value in (0.1, 0.2)])
    put(tmp_path, "2020-05-01.tif", array, names=("B08", "B04"))
    series = load(tmp_path, images={"bands": ["B04", "B08"]})
    found = {str(name): float(band.mean()) for name, band in series["reflectance"][0].groupby("band")}
    assert found == {"B04": pytest.approx(0.2), "B08": pytest.approx(0.1)}
    for bands, reason in ((["B02", "B03"], "expected B02, B03"), (["B02"], "has 2 bands, the entry names 1")):
        with pytest.raises(DataError, match=reason):
            load(tmp_path, images={"bands": bands})


def test_several_reference_systems_or_levels_need_a_choice(tmp_path):
    put(tmp_path, "a/S2A_31UFT_20200103_0_L2A/B02.tif", numbers(6, 6))
    put(tmp_path, "a/S2A_32UFT_20200103_0_L2A/B02.tif", numbers(6, 6), crs="EPSG:32632")
    with pytest.raises(ParameterError, match=r"EPSG:32632 \(32UFT\), EPSG:32633 \(31UFT\): choose one tile"):
        load(tmp_path / "a")
    assert load(tmp_path / "a", tile="31UFT").rio.crs.to_epsg() == 32633
    put(tmp_path, "b/S2A_31UFT_20200103_0_L2A/B02.tif", numbers(6, 6))
    put(tmp_path, "b/S2A_31UFT_20200103_0_L1C/B02.tif", numbers(6, 6))
    with pytest.raises(ParameterError, match="levels L1C, L2A: choose one with level="):
        load(tmp_path / "b")
    assert load(tmp_path / "b", level="L1C").sizes["time"] == 1


@pytest.mark.parametrize("name", ["missing", "empty", "text"])
def test_a_folder_without_images_says_what_was_expected(tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "readme.md").write_text("no image")
    with pytest.raises(DataError, match="expected"):
        rasters.open_layout(tmp_path / name)


def test_products_in_safe_format_are_read_by_their_own_reader(real_data):
    whole = rasters.open_layout(real_data / "s2_safe_l1c_T56JMM", bands=["B02"], resolution=60)
    assert whole.attrs["tile"] == "56JMM"
    with pytest.raises(DataError, match="no image of 2020-01-01 to 2020-12-31"):
        rasters.open_layout(real_data / "s2_safe_l1c_T56JMM", dates=["2020-01-01", "2020-12-31"])


def test_real_images_of_another_maker_are_read(real_data):
    """Single bands of BigEarthNet are GeoTIFFs with a date and a band in their names."""
    folder = real_data / "bigearthnet_v1_examples/BigEarthNet-S2-Example/S2A_MSIL2A_20170613T101031_87_48"
    series = load(folder, stated={"scale": 1e-4, "offset": 0})
    assert series.sizes["band"] == 12
    expected = read(folder / "S2A_MSIL2A_20170613T101031_87_48_B04.tif")[0] / 1e4
    np.testing.assert_allclose(series["reflectance"].sel(band="B04")[0], expected, rtol=1e-6)


# === Catalogue ===


def test_an_entry_states_names_bands_and_numbers(tmp_path):
    put(tmp_path, "img/north_20200501.tif", numbers(2, 6, 6), nodata=0)
    entry = {"uri": "img", "layout": "rasters", "pixels": {"scale": 0.001}}
    entry["images"] = {"files": "{tile}_{date}.tif", "bands": ["B04", "B08"]}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"stands": entry}))
    stands = catalog.load(tmp_path / "mine.yaml")["stands"]
    series = stands.open(bands=["B08"])
    expected = read(tmp_path / "img/north_20200501.tif")[1] * 0.001
    np.testing.assert_allclose(series["reflectance"][0, 0], expected, rtol=1e-6)
    assert series["tile"].values.tolist() == ["north"]
    assert stands.check(progress=False).ok == 1


@pytest.mark.parametrize("block", [{"file": "x"}, {"bands": [{}]}, "x.tif"])
def test_an_entry_with_a_wrong_block_of_images_is_refused(tmp_path, block):
    entry = {"uri": ".", "layout": "rasters", "images": block}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"stands": entry}))
    with pytest.raises(CatalogError, match="images"):
        catalog.load(tmp_path / "mine.yaml")["stands"]


def test_a_check_decodes_every_band_and_names_what_is_empty(tmp_path):
    put(tmp_path, "2020-05-01.tif", np.full((2, 6, 6), 0.5, np.float32), names=("B02", "B03"))
    array = np.random.default_rng(0).random((2, 6, 6)).astype(np.float32)
    array[1] = 0
    put(tmp_path, "2020-05-02.tif", array, names=("B02", "B03"))
    array[1] = 0.2 * array[0]
    put(tmp_path, "2020-05-03.tif", array, names=("B02", "B03"))
    table = rasters.check_layout(tmp_path, progress=False).set_index("file")
    assert table["status"].to_dict() == {
        "2020-05-01.tif": "rejected",
        "2020-05-02.tif": "rejected",
        "2020-05-03.tif": "ok",
    }
    assert table.loc["2020-05-02.tif", "reason"] == "B03 is all zero (no data)"
