"""Sentinel-2 products: values against plain NumPy, real metadata, real file lists, and all that is broken."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import warnings
import zipfile
from pathlib import Path

import dask
import numpy as np
import pytest
import rasterio
from safe_factory import NORTH, WEST, image_path, pixels, write_jp2, write_safe

from eolab.core.errors import DataError, ParameterError
from eolab.data import bands as band_table
from eolab.data.layouts import sentinel2, sentinel2_index
from eolab.data.layouts import series as series_layout
from eolab.data.layouts.safe import (
    PRODUCT_FILE,
    TILE_FILE,
    image_of,
    native_images,
    read_product_metadata,
    read_tile_metadata,
    tile_of,
)

SIZE = 48


def load(*args, **options):
    with dask.config.set(scheduler="synchronous"):
        return sentinel2.open_layout(*args, **options).load()


def blocks(values: np.ndarray, step: int) -> np.ndarray:
    """Mean of step × step pixels, NaN pixels left out."""
    height, width = values.shape
    return np.nanmean(values.reshape(height // step, step, width // step, step), axis=(1, 3))


@pytest.fixture(scope="module")
def series(tmp_path_factory) -> Path:
    """Two dates of one tile: one without, one with offset; some DN 0, saturated and below the offset."""
    folder = tmp_path_factory.mktemp("series")
    b04 = pixels("B04", SIZE)
    b04[:3, :4] = 0
    b04[5, 5] = 65535
    b04[6, 6:9] = 900
    write_safe(folder, values={"B04": b04})
    write_safe(folder, "2022-05-06T10:40:31", baseline="04.00", offset=-1000, values={"B04": b04})
    return folder


def test_reflectance_with_and_without_offset(series):
    dn = pixels("B04", SIZE).astype(float)
    dn[6, 6:9] = 900
    valid = np.ones(dn.shape, bool)
    valid[:3, :4] = valid[5, 5] = False
    result = load(series, bands=["B4"])
    old, new = result["reflectance"].values[:, 0]
    assert result["reflectance"].dtype == np.float32
    assert result["reflectance"].attrs["units"] == "reflectance"
    assert list(result["baseline"].values) == ["02.14", "04.00"]
    np.testing.assert_allclose(old, np.where(valid, dn / 10000, np.nan), rtol=1e-6)
    np.testing.assert_allclose(new, np.where(valid, (dn - 1000) / 10000, np.nan), rtol=1e-5)
    np.testing.assert_allclose(new[6, 6:9], -0.01, rtol=1e-5)  # regression: negative reflectance became 0
    assert np.isnan(new[0, 0]), "DN 0 is no data, not -0.1 or 0"


def test_offset_of_old_dates_reprocessed(tmp_path):
    write_safe(tmp_path, "2018-05-06T10:40:31", baseline="05.00", offset=-1000, quantification=20000)
    result = load(tmp_path, bands=["B02"])
    np.testing.assert_allclose(result["reflectance"][0, 0], (pixels("B02", SIZE) - 1000.0) / 20000, rtol=1e-6)


def test_offset_of_l1c_from_baseline_4_on(tmp_path):
    write_safe(tmp_path, baseline="04.00", level="L1C", offset=-1000)
    result = load(tmp_path, bands=["B02", "B10"])
    for number, band in enumerate(("B02", "B10")):
        dn = pixels(band, SIZE)
        expected = np.kron(dn, np.ones((SIZE // len(dn),) * 2)) - 1000.0
        np.testing.assert_allclose(
            result["reflectance"][0, number], np.maximum(expected, 0) / 10000, rtol=1e-6
        )
    assert "scl" not in result


def test_coarser_is_mean_of_valid_pixels_and_finer_repeats(series):
    dn = pixels("B04", SIZE).astype(float)
    dn[6, 6:9] = 900
    dn[:3, :4] = dn[5, 5] = np.nan
    for resolution_m, step in ((20, 2), (60, 6)):
        result = load(series, bands=["B04", "B05", "B01"], resolution_m=resolution_m)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # mean of no pixel
            expected = np.maximum(blocks(dn, step) - 1000, 0) / 10000
        np.testing.assert_allclose(result["reflectance"][1, 0], expected, rtol=1e-5)
    fine = load(series, bands=["B05", "B01"])["reflectance"][0]
    np.testing.assert_allclose(fine[0], np.kron(pixels("B05", SIZE), np.ones((2, 2))) / 10000, rtol=1e-6)
    np.testing.assert_allclose(fine[1], np.kron(pixels("B01", SIZE), np.ones((6, 6))) / 10000, rtol=1e-6)


def test_bilinear_agrees_with_gdal(series):
    smooth = load(series, bands=["B05"], resampling="bilinear")["reflectance"][0, 0].values
    product = next(series.glob("*N0214*"))
    with rasterio.open(image_path(product, "B05")) as image:
        expected = image.read(1, out_shape=(SIZE, SIZE), resampling=rasterio.enums.Resampling.bilinear)
    np.testing.assert_allclose(smooth[2:-2, 2:-2], expected[2:-2, 2:-2] / 10000, atol=1e-4)


def test_codes_that_a_scene_classification_does_not_have_are_masked_or_refused(tmp_path):
    """Regression: codes above 11, as of another map under the name of SCL, went on without a word."""
    classes = np.full((48, 48), 4, np.uint8)
    classes[:2, :4] = 37  # a three-hundredth
    write_safe(tmp_path, size=96, values={"SCL": classes})
    with pytest.warns(
        UserWarning, match=r"SCL_20m.jp2 holds codes .* 0.35% of its pixels .37.: these pixels"
    ):
        found = load(tmp_path, bands=["B05"], resolution_m=20)["scl"][0]
    np.testing.assert_array_equal(found, np.where(classes == 37, 0, classes))
    classes[:9] = 40
    shutil.rmtree(next(tmp_path.glob("*.SAFE")))
    write_safe(tmp_path, size=96, values={"SCL": classes})
    with pytest.raises(DataError, match=r"SCL_20m.jp2 .*expected Sentinel-2's scene classification, 0 to 11"):
        load(tmp_path, bands=["B05"], resolution_m=20)
    files = sentinel2.check_layout(tmp_path, progress=False)
    assert files.loc[files["status"] == "rejected", "file"].str.endswith("SCL_20m.jp2").tolist() == [True]


def test_scl_is_never_blended(series):
    classes = pixels("SCL", SIZE)
    np.testing.assert_array_equal(load(series, bands=["B02"])["scl"][0], np.kron(classes, np.ones((2, 2))))
    np.testing.assert_array_equal(load(series, bands=["B02"], resolution_m=20)["scl"][0], classes)
    np.testing.assert_array_equal(load(series, bands=["B02"], resolution_m=60)["scl"][0], classes[1::3, 1::3])
    assert "scl" not in load(series, bands=["B02"], scl=False)


@pytest.mark.slow
def test_window_equals_window_of_whole_and_grid_is_right(series):
    whole = load(series, resolution_m=20)
    assert whole.rio.crs.to_epsg() == 32631
    assert float(whole.x[0]) == WEST + 10
    assert float(whole.y[0]) == NORTH - 10
    bounds = (WEST + 65, NORTH - 333, WEST + 199, NORTH - 101)
    part = load(series, resolution_m=20, bounds=bounds)
    assert part.sizes["x"] == 7  # pixels 3 to 9: all that 65 … 199 m touches
    assert part.sizes["y"] == 12
    np.testing.assert_array_equal(
        part["reflectance"],
        whole["reflectance"].sel(y=part.y, x=part.x),
        err_msg="a window reads other pixels",
    )
    np.testing.assert_array_equal(part["scl"], whole["scl"].sel(y=part.y, x=part.x))
    half = load(series, bounds=(WEST - 500, NORTH - 100, WEST + 100, NORTH + 500))
    assert (half.sizes["y"], half.sizes["x"]) == (10, 10)


def test_chunks_end_on_the_files_blocks():
    assert series_layout._chunks(slice(1000, 3100), 1024) == (24, 1024, 1024, 28)
    assert series_layout._chunks(slice(5, 9), 1024) == (4,)


@pytest.mark.parametrize(
    "bounds", [(np.nan, 1, 2, 3), (-np.inf, 0, np.inf, 1), ("a", "b", "c", "d"), "all", (0, 0, 1)]
)
def test_bounds_that_are_no_numbers_are_refused(tmp_path, bounds):
    write_safe(tmp_path)
    with pytest.raises(ParameterError, match=r"bounds is .*: give \(xmin, ymin, xmax, ymax\)"):
        sentinel2.open_layout(tmp_path, ["B02"], bounds=bounds)


def test_an_acquisition_in_another_reference_system_is_no_part_of_the_series(tmp_path):
    """Regression: equal numbers of another UTM zone were taken for the same ground."""
    write_safe(tmp_path, "2018-05-06T10:40:31")
    write_safe(tmp_path, "2018-05-16T10:40:31", crs="EPSG:32632")
    write_safe(tmp_path, "2018-05-26T10:40:31")
    found = sentinel2.open_layout(tmp_path, ["B02"])
    assert found.sizes["time"] == 2
    assert "in EPSG:32632, the tile's other images" in found.attrs["rejected"]


def test_bounds_outside_name_the_extent(series):
    with pytest.raises(
        DataError, match=r"outside the tile, which covers \(600000, 5699520, 600480, 5700000\)"
    ):
        sentinel2.open_layout(series, bounds=(0, 0, 10, 10))
    with pytest.raises(ParameterError, match="xmin < xmax"):
        sentinel2.open_layout(series, bounds=(10, 0, 0, 10))


def test_opening_decodes_nothing(series, monkeypatch):
    def refuse(*_args, **_options):
        raise AssertionError("pixels were read")

    monkeypatch.setattr("eolab.data.layouts.series.read_window", refuse)
    lazy = sentinel2.open_layout(series)
    assert lazy["reflectance"].chunks[0] == (1, 1)
    with pytest.raises(AssertionError, match="pixels were read"):
        lazy["reflectance"][0, 0].compute(scheduler="synchronous")


def test_newest_baseline_then_newest_generation(tmp_path):
    write_safe(tmp_path, baseline="02.14", generation="2021-01-01T00:00:00", seed=1)
    write_safe(tmp_path, baseline="05.00", generation="2020-07-01T00:00:00", offset=-1000, seed=2)
    newest = write_safe(tmp_path, baseline="05.00", generation="2020-08-01T00:00:00", offset=-1000, seed=3)
    (kept,), rejected = sentinel2_index.scan(tmp_path)
    assert kept.product.path == newest
    assert kept.metadata.offset("B04") == -1000
    assert len(rejected) == 2
    assert all(reason.startswith("superseded by") for _, reason in rejected)


def test_older_product_stands_in_for_a_broken_newer_one(tmp_path):
    old = write_safe(tmp_path, baseline="02.14")
    new = write_safe(tmp_path, baseline="05.00", offset=-1000)
    truncate(image_path(new, "B03"), 0.9)
    assert [one.product.path for one in sentinel2_index.scan(tmp_path)[0]] == [old]


FEW = tuple(band for band in band_table.L2A_BANDS if band not in ("B01", "B02"))


def halves(folder, time="2022-08-17T10:35:59", **later) -> list[Path]:
    """Write the northern and the southern half of a tile as two products of one datatake."""
    north, south = ({band: pixels(band, SIZE).copy() for band in ("B02", "B01", "SCL")} for _ in range(2))
    for band in north:
        middle = len(north[band]) // 2
        north[band][middle:], south[band][:middle] = 0, 0
    both = {"time": time, "baseline": "04.00", "offset": -1000, "leave_out": FEW}
    return [
        write_safe(folder, **both, generation="2022-08-17T14:12:00", values=north),
        write_safe(folder, **both | {"generation": "2022-08-17T16:44:30", "values": south} | later),
    ]


@pytest.mark.parametrize("later", [{}, {"baseline": "05.10"}, {"baseline": "99.99"}])
def test_two_datastrips_of_one_datatake_are_laid_together(tmp_path, later):
    """The older half was dropped as superseded, and with it half of the tile."""
    north, south = halves(tmp_path, **later)
    result = load(tmp_path, bands=["B02", "B01"])
    assert result.sizes["time"] == 1
    assert json.loads(result.attrs["rejected"]) == []
    for number, band in enumerate(("B02", "B01")):
        dn = np.kron(pixels(band, SIZE), np.ones((1, 1) if band == "B02" else (6, 6)))
        np.testing.assert_allclose(result["reflectance"][0, number], (dn - 1000) / 10000, rtol=1e-5)
    np.testing.assert_array_equal(result["scl"][0], np.kron(pixels("SCL", SIZE), np.ones((2, 2))))
    assert set(str(result["product"].values[0]).split("+")) == {north.stem, south.stem}


def test_the_same_ground_of_a_datatake_is_superseded_and_other_ground_is_not(tmp_path):
    north, south = halves(tmp_path)
    older = write_safe(tmp_path, time="2022-08-17T10:35:59", baseline="03.01", seed=5, leave_out=FEW)
    (kept,), rejected = sentinel2_index.scan(tmp_path, ["B01", "B02"])
    assert [part.product.path for part in kept.parts] == [south, north]
    assert [(file, reason.split()[0]) for file, reason in rejected] == [(str(older), "superseded")]


def test_ground_that_a_newer_baseline_lacks_is_that_of_the_older(tmp_path):
    (tmp_path / "a").mkdir()
    _, south = halves(tmp_path / "a")
    shutil.move(south, tmp_path)
    shutil.rmtree(tmp_path / "a")
    write_safe(tmp_path, time="2022-08-17T10:35:59", baseline="03.01", leave_out=FEW)
    values = load(tmp_path, bands=["B02"])["reflectance"][0, 0]
    dn = pixels("B02", SIZE).astype(float)
    dn[SIZE // 2 :] -= 1000
    np.testing.assert_allclose(values, dn / 10000, rtol=1e-5)


def test_a_product_of_ones_own_does_not_outrank_the_agencys(tmp_path):
    agency = write_safe(tmp_path, baseline="05.10", offset=-1000, leave_out=FEW)
    write_safe(tmp_path, baseline="99.99", generation="2024-01-01T00:00:00", seed=9, leave_out=FEW)
    (kept,), ((_, reason),) = sentinel2_index.scan(tmp_path, ["B02"])
    assert kept.product.path == agency
    assert kept.under == ()
    assert "superseded" in reason


# === What the metadata lack, and what files state ===


@pytest.mark.parametrize(
    ("time", "baseline", "offset"),
    [
        ("2022-05-06T10:40:31", "04.00", -1000),
        ("2018-05-06T10:40:31", "05.00", -1000),
        ("2021-05-06T10:40:31", "03.01", 0),
        ("2022-05-06T10:40:31", "99.99", -1000),
        ("2017-05-06T10:40:31", "99.99", 0),
    ],
)
def test_a_product_that_should_state_its_offset_and_does_not(tmp_path, time, baseline, offset):
    """Reflectance was 0.1 too bright."""
    write_safe(tmp_path, time, baseline=baseline, leave_out=FEW)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = load(tmp_path, bands=["B02"])["reflectance"][0, 0]
    np.testing.assert_allclose(found, (pixels("B02", SIZE) + float(offset)) / 10000, rtol=1e-5)
    named = [str(one.message) for one in said if "state no offset" in str(one.message)]
    assert len(named) == (offset != 0)
    assert all("write `pixels: {offset: 0}`" in text for text in named)


def test_the_catalogue_states_scale_offset_and_nodata(tmp_path):
    write_safe(tmp_path, "2022-05-06T10:40:31", baseline="04.00", leave_out=FEW)
    dn = pixels("B02", SIZE)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        found = load(tmp_path, bands=["B02"], stated={"offset": -0.1, "nodata": int(dn[0, 0])})
    expected = np.where(dn == dn[0, 0], np.nan, (dn - 1000.0) / 10000)
    np.testing.assert_allclose(found["reflectance"][0, 0], expected, rtol=1e-5)
    with pytest.warns(
        UserWarning, match=r"states the offset 0, the metadata of S2A.* say -0.1: the catalogue's"
    ):
        found = load(tmp_path, bands=["B02"], stated={"offset": 0})
    np.testing.assert_allclose(found["reflectance"][0, 0], dn / 10000, rtol=1e-5)
    with pytest.warns(UserWarning, match="states the scale 0.001"):
        found = load(tmp_path, bands=["B02"], stated={"scale": 0.001, "offset": 0})
    np.testing.assert_allclose(found["reflectance"][0, 0], dn / 1000, rtol=1e-5)


def as_tiff(product: Path, **options) -> None:
    for file in product.rglob("*.jp2"):
        with rasterio.open(file) as image:
            shape = {"count": 1, "height": image.height, "width": image.width, "dtype": image.dtypes[0]}
            place = {"crs": image.crs, "transform": image.transform}
            with rasterio.open(file.with_suffix(".tif"), "w", "GTiff", **shape, **place) as out:
                out.write(image.read())
                for key, value in options.items():
                    setattr(out, key, value)
        file.unlink()


def test_images_as_tiff_are_read_with_their_nodata(tmp_path):
    """The copies of Planetary Computer are GeoTIFFs; they were 'no band images'."""
    dn = pixels("B02", SIZE)
    product = write_safe(tmp_path, "2023-05-20T10:46:29", baseline="05.09", offset=-1000, leave_out=FEW)
    as_tiff(product, nodata=0)
    found = load(tmp_path, bands=["B02"])["reflectance"][0, 0]
    np.testing.assert_allclose(found, (dn - 1000.0) / 10000, rtol=1e-5)
    with rasterio.open(image_path(product, "B02").with_suffix(".tif"), "r+") as image:
        image.nodata = int(dn[3, 3])
    found = load(tmp_path, bands=["B02"])["reflectance"][0, 0]
    np.testing.assert_array_equal(np.isnan(found), dn == dn[3, 3])
    truncate(image_path(product, "B02").with_suffix(".tif"), 0.7)
    _, ((_, reason),) = sentinel2_index.scan(tmp_path, ["B02"])
    assert "B02 is truncated" in reason


@pytest.mark.parametrize(
    ("scale", "offset", "good"), [(1e-4, -0.1, True), (1e-4, 0.0, False), (1e-3, -0.1, False)]
)
def test_scale_and_offset_of_a_file_must_agree_with_the_metadata(tmp_path, scale, offset, good):
    product = write_safe(tmp_path, "2023-05-20T10:46:29", baseline="05.09", offset=-1000, leave_out=FEW)
    as_tiff(product, scales=(scale,), offsets=(offset,))
    kept, rejected = sentinel2_index.scan(tmp_path, ["B02"], scl=False)
    assert bool(kept) == good
    assert good or "B02 states the scale" in rejected[0][1]


# === Products that were passed over ===


def zipped(product: Path, target: Path, prefix: str = "") -> None:
    with zipfile.ZipFile(target, "w") as archive:
        for file in product.rglob("*"):
            if file.is_file():
                archive.write(file, f"{prefix}{file.relative_to(product.parent)}")


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> Path:
    return write_safe(tmp_path_factory.mktemp("one"), size=12)


@pytest.mark.parametrize(
    "put",
    [
        lambda one, to: shutil.copytree(one, to / one.stem),
        lambda one, to: shutil.copytree(one, to / "my first image"),
        lambda one, to: shutil.copytree(one, to / one.name / one.name),
        lambda one, to: shutil.copytree(one, to / "31UFT" / "2021" / "05" / one.name),
        lambda one, to: zipped(one, to / one.name),
        lambda one, to: zipped(one, to / "june.ZIP"),
        lambda one, to: zipped(one, to / f"{one.stem}.zip", f"{one.name}/"),
        lambda one, to: (zipped(one, to / f"{one.stem}.zip"), (to / f"._{one.stem}.zip").write_bytes(b"x")),
    ],
    ids=[
        "no .SAFE",
        "other name",
        "as Windows unpacks",
        "four levels",
        "zip as .SAFE",
        "june",
        "twice",
        "hidden",
    ],
)
def test_products_are_recognised_by_what_is_in_them(one, tmp_path, put):
    put(one, tmp_path)
    kept, rejected = sentinel2_index.scan(tmp_path)
    assert [item.product.files for item in kept] == [safe_files(one)]
    assert rejected == []


def safe_files(product: Path) -> tuple[str, ...]:
    return tuple(
        sorted(file.relative_to(product).as_posix() for file in product.rglob("*") if file.is_file())
    )


def test_hidden_files_of_other_systems_do_not_hide_images(one, tmp_path):
    """A ._ file beside each image was taken for the band and failed as damaged."""
    product = shutil.copytree(one, tmp_path / one.name)
    for file in list(product.rglob("*")):
        if file.is_file():
            file.with_name(f"._{file.name}").write_bytes(b"\0\5\x16\7")
    kept, rejected = sentinel2_index.scan(tmp_path)
    assert len(kept) == 1
    assert rejected == []
    assert (sentinel2.check_layout(tmp_path, progress=False)["status"] == "ok").sum() == 13
    zipped(product, tmp_path / "x.zip")
    with zipfile.ZipFile(tmp_path / "x.zip", "a") as archive:
        archive.writestr(f"__MACOSX/{one.name}/._MTD_MSIL2A.xml", b"x")
    assert len(sentinel2_index.scan(tmp_path / "x.zip")[0]) == 1


def test_headers_of_sound_products_are_remembered_and_what_failed_is_read_again(one, tmp_path, monkeypatch):
    shutil.copytree(one, tmp_path / one.name)
    other = write_safe(tmp_path, "2020-06-05T10:40:31", size=12)
    band, content = image_path(other, "B03"), image_path(other, "B03").read_bytes()
    band.write_bytes(content[:-100])
    read: list[str] = []
    header = sentinel2_index.read_header
    monkeypatch.setattr(
        sentinel2_index, "read_header", lambda item, name: read.append(name) or header(item, name)
    )

    def scan(bands=("B02", "B03")) -> tuple[list[str], int]:
        for path in [tmp_path, *tmp_path.rglob("*")]:
            if path.name not in changed:
                os.utime(path, (1e9, 1e9))
        read.clear()
        kept, rejected = sentinel2_index.scan(tmp_path, bands, scl=False)
        return [item.product.name for item in kept], len(rejected)

    changed: set[str] = set()
    for count in (4, 2):
        assert scan() == ([one.stem], 1)
        assert len(read) == count
    band.write_bytes(content)
    for count in (4, 0):
        assert scan() == ([one.stem, other.stem], 0)
        assert len(read) == count
    truncated = image_path(tmp_path / one.name, "B03")
    truncated.write_bytes(truncated.read_bytes()[:-100])
    changed.add(truncated.name)
    assert scan() == ([other.stem], 1)
    assert scan(["B04"]) == ([one.stem, other.stem], 0)


def test_a_zip_file_may_hold_several_products(one, tmp_path):
    other = write_safe(tmp_path / "a", "2020-06-05T10:40:31", size=12)
    zipped(one, tmp_path / "both.zip")
    with zipfile.ZipFile(tmp_path / "both.zip", "a") as archive:
        for file in other.rglob("*"):
            archive.write(file, file.relative_to(other.parent))
    shutil.rmtree(tmp_path / "a")
    result = load(tmp_path, bands=["B02"])
    assert list(result["product"].values) == [one.stem, other.stem]


def test_what_looks_like_a_product_is_listed_with_its_remedy(one, tmp_path):
    (tmp_path / "S2A_MSIL2A_20200506T104031.tar.gz").touch()
    (tmp_path / "SENTINEL2A_20160411-105025-461_L2A_T31UFT_D").mkdir()
    (tmp_path / "S2B_MSIL2A_20200508T104031_N0214_R008_T31UFT_20200508T150000").mkdir()
    (tmp_path / "T31UFT_20200506T104031_B02_10m.jp2").touch()
    (tmp_path / "T31UFT_20200506T104031_B03_10m.jp2").touch()
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "x")
    kept, rejected = sentinel2_index.scan(tmp_path)
    reasons = {Path(file).name[:8]: reason for file, reason in rejected}
    assert kept == []
    assert "unpack it" in reasons["S2A_MSIL"]
    assert "THEIA" in reasons["SENTINEL"]
    assert "no product metadata" in reasons["S2B_MSIL"]
    assert "outside of a product (2 such files)" in reasons["T31UFT_2"]
    assert reasons["other.zi"].startswith("holds no Sentinel-2 product, expected MTD_MSIL1C.xml")
    assert len(rejected) == 5


def test_a_folder_without_products_says_what_is_there(one, tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(
        DataError, match=r"expected folders or zip files with MTD_MSIL1C.xml.*found notes.txt"
    ):
        sentinel2.open_layout(tmp_path)
    with pytest.raises(DataError, match=rf"is a part of the product {one}: give that folder"):
        sentinel2.open_layout(one / "GRANULE")


# === One bad product stops no other ===


def edit(file: Path, old: str, new: str) -> None:
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


HOSTILE = [
    (
        lambda p: edit(p / "MTD_MSIL2A.xml", "2020-05-16T10:40:31.024Z", "9999-05-16T10:40:31Z"),
        "the time '9999",
    ),
    (lambda p: edit(p / "MTD_MSIL2A.xml", ">10000<", ">0<"), "quantification value 0.0"),
    (lambda p: edit(p / "MTD_MSIL2A.xml", ">10000<", ">1<"), "quantification value 1.0, expected 10000"),
    (lambda p: edit(p / "MTD_MSIL2A.xml", ">10000<", ">ten<"), "'ten' as BOA_QUANTIFICATION_VALUE"),
    (lambda p: edit(p / "MTD_MSIL2A.xml", ">02.14<", ">two<"), "'two' as PROCESSING_BASELINE"),
    (lambda p: huge(image_path(p, "B02")), "B02 declares 60,000 × 60,000 pixels"),
    (lambda p: p.rename(p.parent / os.fsdecode(b"S2A_MSIL2A_caf\xe9.SAFE")), "no UTF-8.*rename it"),
]


def test_hostile_products_are_listed_and_the_rest_goes_on(one, tmp_path):
    shutil.copytree(one, tmp_path / one.name)
    for day, (fault, _) in enumerate(HOSTILE, 16):
        fault(write_safe(tmp_path, f"2020-05-{day}T10:40:31", size=12, leave_out=FEW))
    result = load(tmp_path, bands=["B02"])
    assert result.sizes["time"] == 1
    rejected = json.loads(result.attrs["rejected"])
    assert len(rejected) == len(HOSTILE)
    for _, reason in HOSTILE:
        assert sum(bool(re.search(reason, row["reason"])) for row in rejected) == 1, (reason, rejected)
    assert all(row["file"].encode() for row in rejected)


def huge(file: Path) -> None:
    """Replace an image by a small TIFF that declares seven gigabytes."""
    shape = {
        "count": 1,
        "height": 60_000,
        "width": 60_000,
        "dtype": "uint16",
        "tiled": True,
        "compress": "lzw",
    }
    place = {"crs": "EPSG:32631", "transform": rasterio.transform.from_origin(WEST, NORTH, 10, 10)}
    with rasterio.open(file.with_suffix(".tif"), "w", "GTiff", SPARSE_OK=True, **shape, **place):
        file.unlink()


def test_times_with_a_zone_are_brought_to_utc(tmp_path):
    product = write_safe(tmp_path, size=12)
    edit(product / "MTD_MSIL2A.xml", "2020-05-06T10:40:31.024Z", "2020-05-06T15:40:31.024+05:00")
    assert load(tmp_path, bands=["B02"])["time"].values[0] == np.datetime64("2020-05-06T10:40:31")


def truncate(path: Path, fraction: float) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * fraction)])


BROKEN = [
    (
        lambda p: truncate(image_path(p, "B08"), 0.98),
        r"B08 is truncated \(\d+ bytes, expected at least \d+\)",
    ),
    (lambda p: truncate(image_path(p, "SCL"), 0.3), "SCL is truncated"),
    (lambda p: truncate(image_path(p, "B02"), 0), "B02 is empty"),
    (lambda p: image_path(p, "B03").write_bytes(b"<html>not found</html>"), "B03 is no JPEG 2000 file"),
    (lambda p: image_path(p, "B05").unlink(), "lacks B05"),
    (lambda p: [image_path(p, band).unlink() for band in ("B05", "B11")], "lacks B05, B11"),
    (lambda p: write_jp2(image_path(p, "B06"), np.zeros((12, 12), np.uint16), 20), r"B06 is all zero"),
    (
        lambda p: write_jp2(image_path(p, "B07"), pixels("B07", 24), 20, "EPSG:32632"),
        "B07 is in EPSG:32632",
    ),
    (lambda p: write_jp2(image_path(p, "B11"), pixels("B11", 24), 40), "B11 covers"),
    (lambda p: (p / "MTD_MSIL2A.xml").unlink(), "no product metadata"),
    (lambda p: truncate(p / "MTD_MSIL2A.xml", 0.5), "metadata cannot be read as XML"),
    (lambda p: next(p.rglob("MTD_TL.xml")).unlink(), "no tile metadata"),
    (lambda p: shutil.rmtree(p / "GRANULE"), "no band images"),
]


@pytest.mark.slow
def test_broken_products_are_listed_and_the_rest_goes_on(tmp_path):
    for day in ("06", "16"):
        write_safe(tmp_path, f"2020-05-{day}T10:40:31", seed=int(day), size=24)
    broken = {}
    for day, (fault, reason) in enumerate(BROKEN, 10):
        product = write_safe(tmp_path, f"2020-06-{day}T10:40:31", seed=day, size=24)
        fault(product)
        broken[product.name] = reason
    result, report = load(tmp_path), sentinel2.check_layout(tmp_path, progress=False)
    assert result.sizes["time"] == 2
    rejected = json.loads(result.attrs["rejected"])
    assert len(rejected) == len(BROKEN)
    for name, reason in broken.items():
        (found,) = [row["reason"] for row in rejected if row["file"].startswith(name)]
        assert re.search(reason, found), found
        lines = report[report["file"].str.contains(name, regex=False) & (report["status"] == "rejected")]
        if "covers" not in reason:
            assert list(lines["reason"]) == [found]
    assert (report["status"] == "ok").sum() >= 26


def test_all_zero_acquisition_is_rejected(tmp_path):
    write_safe(tmp_path)
    zero = {band: pixels(band, SIZE) * 0 for band in (*band_table.L2A_BANDS, "SCL")}
    write_safe(tmp_path, "2020-05-16T10:40:31", values=zero)
    _, ((_, reason),) = sentinel2_index.scan(tmp_path)
    assert "all zero" in reason


def test_nothing_usable_is_one_sentence(tmp_path):
    with pytest.raises(DataError, match="no Sentinel-2 product that can be used"):
        sentinel2.open_layout(tmp_path)
    product = write_safe(tmp_path, leave_out=("B05",))
    with pytest.raises(DataError, match="lacks B05"):
        sentinel2.open_layout(tmp_path)
    assert load(tmp_path, bands=["B02"]).sizes["time"] == 1, "bands that are not asked for may be missing"
    with pytest.raises(DataError, match="is no folder"):
        sentinel2.open_layout(product / "nowhere")


def test_file_that_breaks_after_opening_ends_in_a_sentence(tmp_path):
    product = write_safe(tmp_path)
    lazy = sentinel2.open_layout(tmp_path, bands=["B02"])
    truncate(image_path(product, "B02"), 0.5)
    with pytest.raises(DataError, match=r"B02_10m\.jp2 cannot be decoded .*: fetch the product again"):
        lazy["reflectance"].compute(scheduler="synchronous")


@pytest.mark.slow
def test_several_tiles_and_levels_must_be_chosen(tmp_path):
    write_safe(tmp_path / "T31UFT")
    write_safe(tmp_path / "T31UFU", tile="31UFU")
    write_safe(tmp_path / "T31UFT", level="L1C")
    with pytest.raises(ParameterError, match="tiles 31UFT, 31UFU: choose one with tile="):
        sentinel2.open_layout(tmp_path)
    with pytest.raises(ParameterError, match="levels L1C, L2A"):
        sentinel2.open_layout(tmp_path, tile="T31UFT")
    with pytest.raises(ParameterError, match="Known: 31UFT, 31UFU"):
        sentinel2.open_layout(tmp_path, tile="32TQM")
    assert load(tmp_path, tile="31UFU", bands=["B02"]).sizes["time"] == 1
    assert load(tmp_path, tile="31UFT", level="L1C").sizes["band"] == 13


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"resolution_m": 30}, "give 10, 20 or 60"),
        ({"bands": ["B13"]}, "no Sentinel-2 band"),
        ({"bands": ["B2", "B02"]}, "each once"),
        ({"resampling": "cubic"}, "bilinear"),
    ],
)
def test_wrong_parameters(series, options, words):
    with pytest.raises(ParameterError, match=words):
        sentinel2.open_layout(series, **options)


def test_zipped_product_gives_the_same(series, tmp_path):
    product = next(series.glob("*N0400*"))
    with zipfile.ZipFile(tmp_path / f"{product.stem}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in product.rglob("*"):
            archive.write(file, file.relative_to(series))
    np.testing.assert_array_equal(load(tmp_path)["reflectance"][0], load(series)["reflectance"][1])
    (tmp_path / "S2A_broken.zip").write_bytes(b"PK\x03\x04 cut off")
    _, ((_, reason),) = sentinel2_index.scan(tmp_path)
    assert "cannot be read as a zip file" in reason


# === Real files ===


def test_every_band_is_found_in_real_file_lists(real_data):
    lists = sorted((real_data / "s2_safe_metadata" / "aws_safe_listings").glob("L*.csv"))
    assert len(lists) > 25
    for file in lists:
        level, baseline = file.stem.split("_")[:2]
        with file.open() as stream:
            names = [
                row[1].partition(".SAFE/")[2]
                for row in csv.reader(stream, delimiter=";")
                if ".SAFE" in row[1]
            ]
        if not names:  # a single granule without its product
            continue
        granules = native_images(names)
        assert len(granules) == (2 if file.stem == "L1C_02.04_old" else 1), file.stem
        for granule, images in granules.items():
            expected = band_table.L1C_BANDS if level == "L1C" else (*band_table.L2A_BANDS, "SCL")
            assert set(images) - {"TCI"} == set(expected), file.stem
            assert ("TCI" in images) == any("IMG_DATA" in name and "_TCI" in name for name in names)
            assert tile_of(granule), granule
            for band, image in images.items():
                if band == "TCI":
                    continue
                finest = 20 if band == "SCL" else min(band_table.resolutions(band, baseline), default=None)
                assert image.resolution_m == (None if level == "L1C" else finest), (file.stem, band)
        assert sum(bool(PRODUCT_FILE.match(name)) for name in names) == 1, file.stem
        assert sum(bool(TILE_FILE.match(name)) for name in names) == len(granules), file.stem
        masks = [name for name in names if "QI_DATA" in name or "PVI" in name or "AOT" in name]
        assert not any(map(image_of, masks))


def test_real_metadata_of_seven_products(real_data):
    expected = {
        "20200717T221941": ("L1C", "02.09", {}, "01LAC", "EPSG:32701"),
        "20210908T042701": ("L1C", "03.01", {}, "46RER", "EPSG:32646"),
        "20190212T192651": ("L2A", "02.12", {}, "07HFE", "EPSG:32707"),
        "20230625T234621": ("L2A", "05.09", -1000, "01WCP", "EPSG:32601"),
        "20230821T221941": ("L2A", "05.09", -1000, "01KAB", "EPSG:32701"),
        "20220413T150759": ("L2A", "04.00", -1000, "33XWJ", "EPSG:32633"),
        "20210122T133229": ("L2A", "02.14", {}, "22HBD", "EPSG:32722"),
    }
    for product in (real_data / "s2_safe_metadata").glob("*.SAFE"):
        (file,) = [path for path in product.glob("*.xml") if PRODUCT_FILE.match(path.name)]
        with file.open("rb") as stream:
            facts = read_product_metadata(stream)
        level, baseline, offset, tile, crs = expected.pop(facts.time.strftime("%Y%m%dT%H%M%S"))
        assert (facts.level, facts.baseline, facts.quantification) == (level, baseline, 10000)
        assert facts.offsets == (dict.fromkeys(band_table.SENTINEL2, offset) if offset else {})
        with next(product.glob("GRANULE/*/MTD_TL.xml")).open("rb") as stream:
            name, found = read_tile_metadata(stream)
        assert (tile_of(name), found) == (tile, crs)
    assert not expected


@pytest.mark.slow
def test_real_product_decimated_25_times(real_data, tmp_path):
    source = real_data / "s2_safe_l1c_T56JMM"
    with zipfile.ZipFile(next(source.glob("*.zip"))) as archive:
        archive.extractall(tmp_path)
    result = load(tmp_path)
    assert result.sizes == {"time": 1, "band": 13, "y": 439, "x": 439}
    assert result.rio.crs.to_epsg() == 32756
    assert result.rio.transform().a == pytest.approx(109800 / 439)
    product = next(tmp_path.glob("*.SAFE"))
    with rasterio.open(image_path(product, "B04")) as image:
        b04, bounds = image.read(1), image.bounds
    np.testing.assert_allclose(
        result["reflectance"].sel(band="B04")[0], np.where(b04 == 0, np.nan, b04 / 10000), rtol=1e-6
    )
    assert np.mean(b04 == 0) == pytest.approx(0.26, abs=0.01)
    with rasterio.open(image_path(product, "B05")) as image:  # 219 pixels onto 439: by place, not by count
        rows, columns = rasterio.transform.rowcol(image.transform, result.x.values, np.full(439, result.y[7]))
        line = image.read(1)[rows[0], columns]
    expected = np.where(line == 0, np.nan, line / 10000)
    np.testing.assert_allclose(result["reflectance"].sel(band="B05")[0, 7], expected, rtol=1e-6)
    coarse = load(tmp_path, resolution_m=20)
    assert coarse.sizes["x"] == 219
    assert coarse.rio.bounds() == pytest.approx(tuple(bounds))
    assert float(coarse["reflectance"].sel(band="B02").mean()) == pytest.approx(
        float(result["reflectance"].sel(band="B02").where(b04 != 0).mean()), rel=0.25
    )
    zipped = load(source, resolution_m=60)
    np.testing.assert_array_equal(zipped["reflectance"], load(tmp_path, resolution_m=60)["reflectance"])
    report = sentinel2.check_layout(source, progress=False)
    assert list(report["status"]) == ["ok"] * 13
