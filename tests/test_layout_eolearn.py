"""The eo-learn patch over Slovenia, and patches that are damaged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from eolab.core.errors import DataError
from eolab.data.layouts import eolearn


@pytest.fixture(scope="module")
def folder(real_data) -> Path:
    return real_data / "eolearn_testeopatch"


@pytest.fixture(scope="module")
def patch(folder):
    return eolearn.open_layout(folder)


def test_dates_grid_and_features(patch):
    assert dict(patch.sizes) == {"time": 68, "y": 101, "x": 100, "scene": 5, "band": 13}
    assert str(patch.time.values[0])[:10] == "2015-07-11"
    assert str(patch.time.values[-1])[:10] == "2017-12-22"
    assert (np.diff(patch.time.values) > np.timedelta64(0)).all()
    assert patch.rio.crs.to_epsg() == 32633
    expected = (465181.0522318204, 5079244.8912012065, 466180.53145382757, 5080254.63349641)
    assert patch.rio.bounds() == pytest.approx(expected)
    assert patch["NDVI"].dims == patch["CLM"].dims == ("time", "y", "x")
    assert patch["DEM"].dims == patch["LULC"].dims == ("y", "x")
    assert patch["CLOUD_COVERAGE"].dims == ("time",)
    assert (float(patch["DEM"].min()), float(patch["DEM"].max())) == (664, 801)
    assert patch["DEM"].attrs["units"] == "m"


def test_land_use_codes_have_names(patch):
    names = {int(code): name for code, name in json.loads(patch["LULC"].attrs["classes"]).items()}
    assert sorted(names) == np.unique(patch["LULC"]).tolist() == [0, 1, 2, 3, 4, 8]
    assert names[2] == "forest"
    assert names[8] == "artificial surface"
    assert names[0] == ""


def test_cloud_free_ndvi_follows_the_seasons(patch):
    clear = patch["NDVI"].where((patch["CLM"] == 0) & (patch["IS_DATA"] == 1))
    months = clear.groupby("time.month").mean(...)
    for month, value in ((1, 0.26), (4, 0.48), (8, 0.68), (11, 0.21)):
        assert float(months.sel(month=month)) == pytest.approx(value, abs=0.025), month


def test_polygons_lie_where_the_map_says(patch, folder):
    """North is up and rows are not mirrored: forest polygons cover forest pixels."""
    import geopandas as gpd
    from rasterio.features import geometry_mask

    polygons = gpd.read_file(folder / "TestEOPatch" / "vector_timeless" / "LULC.gpkg")
    forest = polygons[polygons["LULC_ID"] == 2].geometry
    inside = geometry_mask(forest, (101, 100), patch.rio.transform(), invert=True)
    assert np.mean((patch["LULC"].values == 2) == inside) > 0.97


def test_reference_scenes_are_13_bands_of_reflectance(patch):
    scenes = patch["reference_scenes"]
    assert scenes.dims == ("scene", "band", "y", "x")
    means = scenes.mean(("scene", "y", "x"))
    assert float(means.sel(band="B04")) == pytest.approx(0.10, abs=0.01)
    assert float(means.sel(band="B08")) == pytest.approx(0.28, abs=0.01)
    assert float(means.sel(band="B10")) == pytest.approx(0.002, abs=0.001)


def test_patch_folder_itself_opens_too(folder):
    inner = eolearn.open_layout(folder / "TestEOPatch")
    assert inner.sizes["time"] == 68
    assert "reference_scenes" in inner


@pytest.fixture
def copy(folder, tmp_path) -> Path:
    target = tmp_path / "patch"
    shutil.copytree(folder / "TestEOPatch", target)
    return target


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lambda p: cut(p / "data" / "NDVI.npy"), "NDVI.npy cannot be read as a NumPy array"),
        (lambda p: (p / "data" / "NDVI.npy").unlink(), "lacks data/NDVI.npy"),
        (lambda p: (p / "mask" / "CLM.npy").write_bytes(b""), "CLM.npy cannot be read"),
        (
            lambda p: np.save(p / "mask" / "CLM.npy", np.zeros((67, 101, 100, 1))),
            "has the shape .67, 101, 100, 1",
        ),
        (lambda p: np.save(p / "data" / "BANDS.npy", np.zeros(3)), "BANDS.npy has the shape"),
        (
            lambda p: (p / "timestamps.json").write_text("{"),
            "timestamps.json cannot be read as a list of dates",
        ),
        (lambda p: (p / "bbox.geojson").write_text("{}"), "bbox.geojson cannot be read as a box"),
        (lambda p: (p / "vector_timeless" / "LULC.gpkg").write_bytes(b"x"), "LULC.gpkg cannot be read"),
    ],
)
def test_damage_is_one_sentence_with_the_file(copy, fault, words):
    fault(copy)
    with pytest.raises(DataError, match=words):
        eolearn.open_layout(copy)
    report = eolearn.check_layout(copy)
    assert (report["status"] == "rejected").sum() == 1


def test_several_channels_keep_their_axis(copy):
    cube = np.random.default_rng(0).random((68, 101, 100, 3), np.float32)
    np.save(copy / "data" / "BANDS.npy", cube)
    bands = eolearn.open_layout(copy)["BANDS"]
    assert bands.dims == ("time", "BANDS_channel", "y", "x")
    np.testing.assert_array_equal(bands.isel(BANDS_channel=1), cube[..., 1])


def test_folder_without_a_patch(tmp_path):
    with pytest.raises(DataError, match=r"bbox.geojson\), found: none"):
        eolearn.open_layout(tmp_path)
