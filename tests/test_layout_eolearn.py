"""The eo-learn patch over Slovenia, and patches that are damaged."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
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
        (lambda p: (p / "data" / "NDVI.npy").unlink(), "lacks the feature data/NDVI"),
        (lambda p: (p / "mask" / "CLM.npy").unlink(), "lacks the feature mask/CLM or mask/SCL"),
        (lambda p: (p / "mask" / "CLM.npy").write_bytes(b""), "CLM.npy cannot be read"),
        (
            lambda p: np.save(p / "mask" / "CLM.npy", np.ones((68, 101, 100, 2), bool)),
            "CLM.npy has several channels, expected one",
        ),
        (
            lambda p: np.save(p / "mask" / "CLM.npy", np.zeros((67, 101, 100, 1))),
            "has the shape .67, 101, 100, 1",
        ),
        (
            lambda p: (p / "timestamps.json").write_text("{"),
            "timestamps.json cannot be read as a list of dates",
        ),
        (
            lambda p: (p / "timestamps.json").write_text('["9999-01-01"]'),
            "timestamps.json.*has the date '9999",
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
    with pytest.raises(DataError, match=r"bbox.geojson\), found an empty folder: give the folder"):
        eolearn.open_layout(tmp_path)


def test_compressed_features_are_read_as_others(copy, patch):
    """Regression: eo-learn's compress_level ended in "lacks data/NDVI.npy: fetch the patch again"."""
    for file in [*copy.rglob("*.npy"), copy / "bbox.geojson", copy / "timestamps.json"]:
        file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes(), 1))
        file.unlink()
    found = eolearn.open_layout(copy)
    np.testing.assert_array_equal(found["NDVI"], patch["NDVI"])
    np.testing.assert_array_equal(found["LULC"], patch["LULC"])
    assert found.rio.bounds() == patch.rio.bounds()
    assert set(eolearn.check_layout(copy)["status"]) == {"ok"}
    cut(copy / "data" / "NDVI.npy.gz")
    with pytest.raises(DataError, match=r"NDVI.npy.gz cannot be read as a NumPy array"):
        eolearn.open_layout(copy)


def test_pickled_features_end_in_the_way_to_convert_them(copy):
    for file in copy.rglob("*.npy"):
        file.rename(file.with_suffix(".pkl"))
    with pytest.raises(DataError, match=r"CLP.pkl: pickles .* EOPatch.load\(old\).save\(new\)"):
        eolearn.open_layout(copy)


@pytest.mark.parametrize("values", [np.zeros(3), np.zeros((5, 101, 100, 1)), np.array(["a"], object)])
def test_a_feature_that_nobody_needs_may_have_another_length(copy, values):
    """Regression: one feature of another length, which the study does not read, closed the patch."""
    np.save(copy / "data" / "BANDS.npy", values)
    found = eolearn.open_layout(copy)
    assert "BANDS" not in found
    (one,) = json.loads(found.attrs["rejected"])
    assert one["file"] == "data/BANDS.npy"
    assert one["reason"].startswith(("has the shape", "cannot be read"))
    table = eolearn.check_layout(copy)
    assert table["status"].value_counts().to_dict()["rejected"] == 1


def test_a_patch_in_degrees_keeps_its_reference_system(copy):
    place(copy, [[14, 46], [14, 46.01], [14.01, 46.01], [14.01, 46]])
    assert eolearn.open_layout(copy).rio.crs.is_geographic


def place(patch: Path, corners: list, crs: str = "urn:ogc:def:crs:OGC:1.3:CRS84") -> None:
    box = json.loads((patch / "bbox.geojson").read_text())
    box["crs"]["properties"]["name"], box["coordinates"] = crs, [corners]
    (patch / "bbox.geojson").write_text(json.dumps(box))


def anew(feature: str, change) -> Callable[[Path], None]:
    """Return what saves a feature of a patch with other values."""
    return lambda patch: np.save(patch / feature, change(np.load(patch / feature)))


NDVI, CLM, LULC = "data/NDVI.npy", "mask/CLM.npy", "mask_timeless/LULC.npy"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (
            anew(NDVI, lambda a: (a * 10_000).astype(np.int16)),
            r"holds int16 of -\d+ to 8505, expected floating",
        ),
        (
            anew(NDVI, lambda a: a * 100),
            r"holds float32 of -10.* to 85.*, expected floating point of -1 to 1",
        ),
        (anew(NDVI, lambda a: a.astype("U3")), "NDVI.npy holds <U3, expected numbers"),
        (anew(LULC, lambda a: a.astype("U3")), "LULC.npy holds <U3, expected numbers"),
        (anew(LULC, lambda a: a + 0.5), r"fractions such as \d\.5, expected codes: save it by nearest"),
        (anew(CLM, lambda a: a * 0.3), r"fractions such as 0\.3, expected codes"),
        (
            lambda p: np.save(p / "mask/SCL.npy", np.load(p / CLM) * np.uint8(40)),
            r"SCL.npy holds codes outside of its class scheme .*40.*, expected Sentinel-2's scene class",
        ),
        (lambda p: (p / "timestamps.json").write_text("[" * 100_000), "nested too deeply"),
        (lambda p: (p / "bbox.geojson").write_text('{"a":' * 100_000), "nested too deeply"),
        (
            lambda p: place(p, [[465181, 5079244], [466180, 5080254]]),
            r"extent \(465181, .* in OGC:CRS84: save",
        ),
        (lambda p: place(p, [[465181, 5079244]] * 4, "EPSG:32633"), "expected west < east"),
        (lambda p: place(p, [[14, float("nan")], [15, 46]]), "expected west < east"),
    ],
)
def test_values_and_places_that_a_patch_cannot_have_are_refused(copy, fault, words):
    """Regression: NDVI times 10,000 was trained on, a cloud probability was a mask, and texts ended in a
    traceback."""
    fault(copy)
    with pytest.raises(DataError, match=words):
        eolearn.open_layout(copy)
    assert (eolearn.check_layout(copy)["status"] == "rejected").sum() == 1


def test_the_catalogue_states_the_scale_of_an_ndvi_in_whole_numbers(copy, patch):
    """Regression: an NDVI times 10,000 was refused, whatever the entry said."""
    numbers = np.round(np.load(copy / NDVI) * 10_000).astype(np.int16)
    numbers[3, 2, 1] = -32_768
    np.save(copy / NDVI, numbers)
    stated = {"scale": 1e-4, "nodata": -32_768}
    found = eolearn.open_layout(copy, stated)
    assert np.isnan(found["NDVI"][3, 2, 1])
    np.testing.assert_allclose(found["NDVI"][:3], patch["NDVI"][:3], atol=5.1e-5)
    np.testing.assert_array_equal(found["DEM"], patch["DEM"])
    assert set(eolearn.check_layout(copy, stated=stated)["status"]) == {"ok"}


def test_a_damaged_header_and_a_file_packed_twice_are_named(copy):
    """Regression: the first ended in a TokenError, the second advised to allow pickles."""
    content = (copy / NDVI).read_bytes()
    (copy / NDVI).write_bytes(content.replace(b"101, 100, 1)", b"101, 100, 1 "))
    with pytest.raises(DataError, match=r"NDVI.npy cannot be read as a NumPy array"):
        eolearn.open_layout(copy)
    (copy / NDVI).unlink()
    (copy / f"{NDVI}.gz").write_bytes(gzip.compress(gzip.compress(content)))
    with pytest.raises(DataError, match=r"a NumPy array \(it does not begin as one\)"):
        eolearn.open_layout(copy)


def test_dates_are_put_in_order_with_their_images(copy, patch):
    times = json.loads((copy / "timestamps.json").read_text())
    (copy / "timestamps.json").write_text(json.dumps(times[::-1]))
    found = eolearn.open_layout(copy)
    assert found["time"].to_index().is_monotonic_increasing
    np.testing.assert_array_equal(found["NDVI"][0], patch["NDVI"][-1])
