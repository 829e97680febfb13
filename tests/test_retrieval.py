"""Images from STAC catalogues: conventions, search, faults of the network, and what opens at the end."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from datetime import datetime
from pathlib import Path

import dask
import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from rasterio.warp import transform, transform_bounds
from stac_server import Catalogue

from eolab.cli import commands as cli
from eolab.core.errors import DataError, EolabWarning, ParameterError, StoreError
from eolab.data import catalog, retrieval
from eolab.data.retrieval import conventions, fetching, searching

pytestmark = pytest.mark.slow  # waits for servers that fail

DAYS = ["2023-07-01", "2023-07-31"]


def item(collection: str = "sentinel-2-l2a", name: str = "S2A_33TWM_20230701_0_L2A", **facts) -> dict:
    return {
        "id": name,
        "collection": collection,
        "properties": {name.replace("__", ":"): v for name, v in facts.items()},
    }


OFFSET = {"raster:bands": [{"scale": 1e-4, "offset": -0.1, "nodata": 0}]}


@pytest.mark.parametrize(
    ("facts", "asset", "offset", "said"),
    [
        # Earth Search: the flag goes before the offset beside the band, which stands there in both cases
        (
            {"s2__processing_baseline": "05.09", "earthsearch__boa_offset_applied": True},
            OFFSET,
            0.0,
            "took the offset off",
        ),
        (
            {"s2__processing_baseline": "05.09", "earthsearch__boa_offset_applied": False},
            OFFSET,
            -0.1,
            "still in",
        ),
        (
            {"sentinel__processing_baseline": "04.00", "sentinel__boa_offset_applied": True},
            {},
            0.0,
            "took the offset off",
        ),
        # Planetary Computer: the baseline alone
        ({"s2__processing_baseline": "05.00"}, {}, -0.1, "still in"),
        ({"s2__processing_baseline": "04.00"}, {}, -0.1, "still in"),
        ({"s2__processing_baseline": "03.01"}, {}, 0.0, "03.01, which has no offset"),
        ({"s2__processing_baseline": "02.12"}, OFFSET, 0.0, "02.12, which has no offset"),
        # Copernicus Data Space: facts of the band stand in the asset itself
        (
            {"processing__version": "05.11"},
            {"raster:scale": 1e-4, "raster:offset": -0.1, "nodata": 0},
            -0.1,
            "still in",
        ),
        # STAC 1.1, and one that states that nothing is left to subtract
        (
            {"processing__version": "05.11"},
            {"bands": [{"raster:scale": 1e-4, "raster:offset": -0.1}]},
            -0.1,
            "still in",
        ),
        (
            {"s2__processing_baseline": "05.11"},
            {"raster:bands": [{"offset": 0}]},
            0.0,
            "states an offset of 0",
        ),
        ({}, OFFSET, -0.1, "baseline unknown"),
    ],
)
def test_the_offset_is_what_baseline_and_catalogue_say(facts, asset, offset, said):
    numbers = conventions.numbers_of(item(**facts), asset)
    assert numbers[:3] == (pytest.approx(1e-4), pytest.approx(offset), 0.0)
    assert said in numbers.said


def test_the_baseline_is_read_from_the_name_of_a_product_and_a_date_tells_nothing():
    old = item(
        name="S2A_MSIL2A_20180703T100031_N0500_R122_T33TWM_20230810T022316", datetime="2018-07-03T10:00:31Z"
    )
    assert conventions.numbers_of(old, {}).offset == pytest.approx(-0.1)
    assert (conventions.baseline_of(old), conventions.orbit_of(old), conventions.tile_of(old)) == (
        "05.00",
        "122",
        "33TWM",
    )
    with pytest.raises(DataError, match="states neither processing baseline nor offset"):
        conventions.numbers_of(item(datetime="2023-07-01T10:00:00Z"), {})


@pytest.mark.parametrize("collection", ["HLSL30.v2.0", "HLSL30_2.0", "hls2-l30"])
def test_bands_of_harmonised_landsat_have_the_names_of_sentinel_2(collection):
    keys = ["B01", "B05", "B06", "B07", "B09", "B10", "B11", "Fmask", "SZA"]
    one = {
        **item(collection, "HLS.L30.T33TWM.2023182T095021.v2.0"),
        "assets": {key: {"href": key} for key in keys},
    }
    found = {band: asset["href"] for band, asset in conventions.assets_of(one).items()}
    assert found == {"B01": "B01", "B8A": "B05", "B10": "B09", "B11": "B06", "B12": "B07", "SCL": "Fmask"}
    assert conventions.numbers_of(one, {})[:3] == (1e-4, 0.0, -9999.0)
    assert (conventions.tile_of(one), conventions.orbit_of(one)) == ("33TWM", "L30")


def test_of_several_pixel_sizes_the_finest_is_taken():
    one = {
        **item(),
        "assets": {key: {"href": key} for key in ("B02_20m", "B02_10m", "SCL_60m", "SCL_20m", "blue-jp2")},
    }
    assert {band: asset["href"] for band, asset in conventions.assets_of(one).items()} == {
        "B02": "B02_10m",
        "SCL": "SCL_20m",
    }


def test_fmask_becomes_a_scene_classification_bit_by_bit():
    """Bits of the user guide: 1 cloud, 2 beside, 3 shadow, 4 snow, 5 water, 6 and 7 aerosol."""
    masks = [0b0, 0b11000000, 0b10, 0b110, 0b100, 0b1000, 0b1100, 0b10000, 0b100000, 0b110000, 0b100010, 255]
    codes = [7, 7, 9, 9, 8, 3, 3, 11, 6, 6, 9, 0]
    assert conventions.scene_classes_of(np.array(masks, np.uint8)).tolist() == codes


@pytest.mark.parametrize(
    ("tile", "corner"),  # what metadata of real products of these tiles state, to 100 km
    [("46RER", (500_000, 3_100_000)), ("22HBD", (200_000, 5_900_000)), ("07HFE", (600_000, 6_500_000)),
     ("01KAB", (100_000, 8_200_000)), ("33XWJ", (500_000, 8_900_000)), ("01WCP", (300_000, 7_400_000)),
     ("01LAC", (100_000, 8_300_000))],
)  # fmt: skip
def test_the_square_of_a_tile_lies_where_its_products_do(tile, corner):
    zone, south = tile[:2], tile[2] < "N"
    crs = f"EPSG:{327 if south else 326}{zone}"
    west, north = corner
    expected = transform_bounds(crs, "EPSG:4326", west, north - 1e5, west + 1e5, north)
    assert searching.tile_bounds(f"T{tile}") == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("tile", ["33TAM", "61TWM", "33IWM", "T33", "33TWZ", ""])
def test_a_tile_that_does_not_exist_is_refused(tile):
    with pytest.raises(ParameterError, match="give a tile of Sentinel-2, such as 33TVM"):
        searching.tile_bounds(tile)


# === A catalogue on loopback ===


def pixels(seed: int, size: int = 40, low: int = 1100, high: int = 5000) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, (size, size)).astype("uint16")


@pytest.fixture
def stac(tmp_path, monkeypatch):
    pytest.importorskip("pystac_client", reason="the extra 'stac' is not installed")
    monkeypatch.setattr(searching, "PAUSE_S", 0.0)
    monkeypatch.setenv("EOLAB_CATALOG", "")  # the command sets it; it is as before after the test
    monkeypatch.delenv(searching.TOKEN, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error", EolabWarning)
        served = Catalogue(tmp_path / "served")
        yield served
        served.close()


def two_conventions(stac: Catalogue) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two dates of one place: the first with the offset in its numbers, the second without."""
    ground, scl = pixels(1), np.full((20, 20), 4, "uint8")
    scl[:5] = 9
    near = pixels(2, 20)
    facts = {"platform": "sentinel-2a", "sat:relative_orbit": 122, "s2:processing_baseline": "05.09"}
    raw = {"red": ground + 1000, "nir08": near + 1000, "scl": scl, "visual": pixels(3)}
    off = {"red": ground, "nir08": near, "scl": scl}
    stac.add(
        "A",
        raw,
        datetime="2023-07-02T10:00:31Z",
        of_assets=OFFSET,
        **facts,
        **{"earthsearch:boa_offset_applied": False},
    )
    stac.add(
        "B",
        off,
        datetime="2023-07-12T10:00:31Z",
        of_assets=OFFSET,
        **facts,
        **{"earthsearch:boa_offset_applied": True},
    )
    return ground, near, scl


def loaded(folder: Path, name: str = "fetched"):
    with dask.config.set(scheduler="synchronous"):
        return catalog.load(folder / "catalog.yaml")[name].open().load()


def test_a_search_keeps_to_tile_days_and_clouds_though_the_catalogue_does_not(stac):
    for number, (day, clouds, tile) in enumerate(
        [("02", 10, "33TWM"), ("05", 90, "33TWM"), ("07", 5, "33TVM"), ("31", None, "33TWM")]
    ):
        stac.add(
            f"I{number}", {"B02": pixels(1)}, datetime=f"2023-07-{day}T23:30:00Z",
            **{"eo:cloud_cover": clouds, "grid:code": f"MGRS-{tile}", "s2:processing_baseline": "05.09"},
        )  # fmt: skip
    stac.add("I4", {"B02": pixels(1)}, datetime="2023-08-01T00:00:00Z", **{"s2:processing_baseline": "05.09"})
    found = retrieval.search(stac.url, tile="33TWM", dates=DAYS, max_clouds_pct=20)
    assert found["id"].tolist() == ["I0", "I3"]
    assert stac.asked["/search"] == 5  # pages of one item
    assert found["time"].tolist() == [datetime(2023, 7, 2, 23, 30), datetime(2023, 7, 31, 23, 30)]
    assert found["gigabytes"].tolist() == pytest.approx(
        [(stac.folder / "I0/B02.tif").stat().st_size / 1e9] * 2
    )
    plain = retrieval.search(f"{stac.url}/static/catalog.json", tile="33TWM", dates=DAYS, max_clouds_pct=20)
    assert plain["id"].tolist() == found["id"].tolist()  # plain files, without a search
    with pytest.raises(
        DataError, match=r"has no image of 'sentinel-2-l2a' of tile 33TXM .* among 5 looked at"
    ):
        retrieval.search(stac.url, tile="33TXM", dates=DAYS)


def test_a_tile_across_the_date_line_is_found(stac):
    west, south, east, north = searching.tile_bounds("01KAB")
    assert west > 179 > -179 > east
    for name, box in (
        ("A", [west, south, east, north]),
        ("B", [-180, south, 180, north]),
        ("C", [west, 10, east, 11]),
    ):
        stac.add(name, {"B02": pixels(1)}, datetime="2023-07-02T10:00:31Z", **{"grid:code": "MGRS-01KAB"})[
            "bbox"
        ] = box
    assert retrieval.search(stac.url, tile="01KAB", dates=DAYS)["id"].tolist() == ["A", "B"]


def test_of_an_image_processed_several_times_the_newest_is_kept(stac):
    for name, baseline in (("old", "02.14"), ("new", "05.00")):
        stac.add(
            name, {"B02": pixels(1)}, datetime="2023-07-02T10:00:31Z", **{"s2:processing_baseline": baseline}
        )
    assert retrieval.search(stac.url, tile="33TWM", dates=DAYS)["id"].tolist() == ["new"]


@pytest.mark.parametrize("bounds", [None, (15.0, 46.0, 15.02, 46.06)])
def test_both_conventions_give_the_same_reflectance(stac, tmp_path, bounds):
    ground, near, scl = two_conventions(stac)
    found = retrieval.search(stac.url, tile="33TWM", dates=DAYS)
    report = retrieval.fetch(found, tmp_path / "mine", bands=["red", "B8A"], bounds=bounds, progress=False)
    assert report["status"].tolist() == ["fetched"] * 6
    series = loaded(tmp_path / "mine")
    red, nir = (series["reflectance"].sel(band=band).to_numpy() for band in ("B04", "B8A"))
    assert np.abs(red - ground * 1e-4).max() < 1e-6
    assert np.abs(nir - near.repeat(2, 0).repeat(2, 1) * 1e-4).max() < 1e-6
    assert (series["scl"].to_numpy() == scl.repeat(2, 0).repeat(2, 1)).all()
    assert series["orbit"].to_numpy().tolist() == ["122", "122"]
    said = "\n".join(retrieval.fetch_summary(report))
    assert "1 images: baseline 05.09, the catalogue took the offset off." in said
    assert "1 images: baseline 05.09, the offset of -0.1 is still in the numbers and is stated." in said


def test_bounds_cut_all_bands_along_the_same_lines(stac, tmp_path):
    ground, near, _ = two_conventions(stac)
    found = retrieval.search(stac.url, tile="33TWM", dates=DAYS).head(1)
    inner = transform_bounds("EPSG:32633", "EPSG:4326", 500_125, 5_099_725, 500_175, 5_099_795)
    retrieval.fetch(found, tmp_path / "mine", bounds=inner, progress=False)
    for band, size, whole in (("B04", 10, ground + 1000), ("B8A", 20, near + 1000)):
        with rasterio.open(next((tmp_path / "mine").glob(f"A/*_{band}.tif"))) as image:
            assert tuple(image.bounds) == (500_120, 5_099_700, 500_180, 5_099_820)
            assert (image.read(1) == whole[180 // size : 300 // size, 120 // size : 180 // size]).all()
            assert (image.scales, image.offsets, image.nodata) == ((1e-4,), (-0.1,), 0)
    outside = retrieval.fetch(found, tmp_path / "mine2", bands=["B04"], progress=False)
    assert outside["status"].tolist() == ["fetched", "fetched"]
    with pytest.raises(DataError, match="None of 3 files was fetched"):
        retrieval.fetch(found, tmp_path / "mine3", bounds=(16.0, 46.0, 16.1, 46.1), progress=False)


def test_harmonised_images_of_both_satellites_open_as_one_series(stac, tmp_path):
    ground = pixels(1, low=100).astype("int16")
    ground[0, 0] = -9999
    fmask = np.zeros((40, 40), "uint8")
    fmask[:, 20:] = 0b10
    fmask[5, 5] = 255
    for sensor, key, day in (("L30", "B05", "02"), ("S30", "B8A", "03")):
        stac.add(
            f"HLS.{sensor}.T33TWM.20231{day}T095021.v2.0", {key: ground, "Fmask": fmask, "SZA": ground},
            f"HLS{sensor}_2.0", datetime=f"2023-07-{day}T09:50:21Z", **{"grid:code": "MGRS-33TWM"},
        )  # fmt: skip
    for sensor in ("L30", "S30"):
        found = retrieval.search(stac.url, f"HLS{sensor}_2.0", tile="33TWM", dates=DAYS)
        retrieval.fetch(found, tmp_path / "mine", progress=False)
    series = loaded(tmp_path / "mine")
    assert (series["orbit"].to_numpy().tolist(), series["band"].to_numpy().tolist()) == (
        ["L30", "S30"],
        ["B8A"],
    )
    values = series["reflectance"].to_numpy()[:, 0]
    assert np.isnan(values[:, 0, 0]).all()
    assert np.abs(values - ground * 1e-4)[:, 1:].max() < 1e-6
    expected = np.where(fmask == 255, 0, np.where(fmask == 2, 9, 7))
    assert (series["scl"].to_numpy() == expected).all()


def test_the_land_cover_study_opens_fetched_images_with_a_map_under_them(stac, tmp_path):
    from landcover_example import entry

    from eolab.studies.landcover.series import open_series

    ground, _, scl = two_conventions(stac)
    found = retrieval.search(stac.url, tile="33TWM", dates=DAYS)
    retrieval.fetch(found, tmp_path / "sentinel2", progress=False)
    name = "corine/u2018_clc2018_v2020_20u1_raster100m/DATA/U2018_CLC2018_V2020_20u1.tif"
    (tmp_path / name).parent.mkdir(parents=True)
    codes = np.tile(np.array([[12, 23, 3, 41]], "int8"), (40, 10))
    x, y = transform("EPSG:32633", "EPSG:3035", [500_000], [5_100_000])
    corner = from_origin(x[0] - 2000, y[0] + 2000, 100, 100)
    kind = {"height": 40, "width": 40, "count": 1, "dtype": "int8", "crs": "EPSG:3035", "nodata": -128}
    with rasterio.open(tmp_path / name, "w", transform=corner, **kind) as image:
        image.write(codes, 1)
    series = open_series(entry(tmp_path), bands=["B04", "B8A"], min_pixels=10)
    assert np.abs(series["image"].sel(band="B04").to_numpy() - ground * 1e-4).max() < 1e-6
    assert (series["clear"].to_numpy() == (scl.repeat(2, 0).repeat(2, 1) == 4)).all()
    assert len(np.unique(series["label"])) > 2
    report = entry(tmp_path).check(progress=False)
    assert (report.ok, report.rejected) == (7, 0)


# === Faults ===


@pytest.mark.parametrize("bounds", [None, (15.0, 46.0, 15.02, 46.06)], ids=["whole", "area"])
@pytest.mark.parametrize("fault", [500, 503, "cut", "stall"])
def test_a_server_that_fails_once_is_asked_again(stac, tmp_path, bounds, fault):
    ground, _, _ = two_conventions(stac)
    found = retrieval.search(stac.url, tile="33TWM", dates=DAYS).head(1)
    stac.faults["/A/red.tif"] = [fault]
    report = retrieval.fetch(
        found, tmp_path / "mine", bands=["B04"], bounds=bounds, timeout_s=1, progress=False
    )
    assert report["status"].tolist() == ["fetched", "fetched"]
    assert stac.asked["/A/red.tif"] > 1
    assert np.abs(loaded(tmp_path / "mine")["reflectance"].to_numpy() - ground * 1e-4).max() < 1e-6
    assert not list((tmp_path / "mine").rglob("*.tmp"))


def test_a_search_that_fails_once_is_asked_again(stac):
    two_conventions(stac)
    stac.faults |= {"/": [503], "/search": [500, "cut"]}
    assert len(retrieval.search(stac.url, tile="33TWM", dates=DAYS)) == 2
    stac.faults["/search"] = [503] * searching.TRIES
    with pytest.raises(DataError, match=r"does not answer as it should \(status 503; 4 tries\)"):
        retrieval.search(stac.url, tile="33TWM", dates=DAYS)
    stac.faults["/search"] = ["stall"] * searching.TRIES
    with pytest.raises(DataError, match="no answer in time"):
        retrieval.search(stac.url, tile="33TWM", dates=DAYS, timeout_s=0.1)
    stac.faults["/search"] = [401]
    with pytest.raises(ParameterError, match="wants a login: set the environment variable EOLAB_STAC_TOKEN"):
        retrieval.search(stac.url, tile="33TWM", dates=DAYS)


def test_a_file_that_the_catalogue_lists_and_does_not_have_stops_no_other(stac, tmp_path):
    two_conventions(stac)
    (stac.folder / "A/red.tif").unlink()
    found = retrieval.search(stac.url, tile="33TWM", dates=DAYS)
    for folder, bounds in (("whole", None), ("area", (15.0, 46.0, 15.02, 46.06))):
        report = retrieval.fetch(found, tmp_path / folder, bands=["B04"], bounds=bounds, progress=False)
        assert sorted(report["status"]) == ["fetched"] * 3 + ["missing"]
        reason = report.loc[report["status"] == "missing", "reason"].item()
        assert reason.endswith("A/red.tif answers with status 404, though the catalogue lists it")
        assert len(loaded(tmp_path / folder)["time"]) == 2  # its classification is there


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"file:size": 10}, "the catalogue states 10"),
        ({"file:checksum": "1220" + "0" * 64}, "another sha256 checksum"),
    ],
)
def test_size_and_checksum_are_held_against_the_catalogue(stac, tmp_path, change, reason):
    two_conventions(stac)
    stac.items[0]["assets"]["red"] |= change
    found = retrieval.search(stac.url, tile="33TWM", dates=DAYS)
    report = retrieval.fetch(found, tmp_path / "mine", bands=["B04"], progress=False)
    failed = report[report["status"] == "failed"]
    assert failed["item"].tolist() == ["A"]
    assert reason in failed["reason"].item()
    assert not list((tmp_path / "mine").glob("A/*B04*"))
    assert stac.asked["/A/red.tif"] == searching.TRIES


def test_a_file_that_is_no_image_is_refused(stac, tmp_path):
    two_conventions(stac)
    del stac.items[0]["assets"]["red"]["file:size"], stac.items[0]["assets"]["red"]["file:checksum"]
    (stac.folder / "A/red.tif").write_text("<html>please log in</html>")
    found = retrieval.search(stac.url, tile="33TWM", dates=DAYS)
    report = retrieval.fetch(found, tmp_path / "mine", bands=["B04"], progress=False)
    assert "cannot be decoded" in report.loc[report["status"] == "failed", "reason"].item()


def test_a_service_that_is_down_ends_the_call_and_the_next_one_goes_on(stac, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "THREADS", 1)
    for day in range(1, 9):
        stac.add(
            f"D{day}",
            {"B04": pixels(day)},
            datetime=f"2023-07-0{day}T10:00:00Z",
            **{"s2:processing_baseline": "03.01"},
        )
    found = retrieval.search(stac.url, tile="33TWM", dates=DAYS)
    stac.faults |= {f"/D{day}/B04.tif": [503] * searching.TRIES for day in range(3, 9)}
    with pytest.raises(
        DataError, match=r"did not give 3 files in a row .* then the rest is fetched"
    ) as error:
        retrieval.fetch(found, tmp_path / "mine", progress=False)
    assert "\n" not in str(error.value)
    assert len(loaded(tmp_path / "mine")["time"]) == 2
    stac.faults.clear()
    stac.asked.clear()
    report = retrieval.fetch(found, tmp_path / "mine", progress=False)
    assert report["status"].value_counts().to_dict() == {"fetched": 6, "kept": 2}
    assert not stac.asked["/D1/B04.tif"]


def test_other_bounds_are_fetched_anew(stac, tmp_path):
    two_conventions(stac)
    found = retrieval.search(stac.url, tile="33TWM", dates=DAYS).head(1)
    for status, bounds in (("fetched", None), ("kept", None), ("fetched", (15.0, 46.0, 15.001, 46.06))):
        report = retrieval.fetch(found, tmp_path / "mine", bands=["B04"], bounds=bounds, progress=False)
        assert report["status"].unique().tolist() == [status]
    assert loaded(tmp_path / "mine").sizes["x"] < 40


def test_a_file_whose_offset_the_catalogue_has_corrected_is_fetched_anew(stac, tmp_path):
    ground, _, _ = two_conventions(stac)
    for corrected in (True, False):
        stac.items[0]["properties"]["earthsearch:boa_offset_applied"] = corrected
        found = retrieval.search(stac.url, tile="33TWM", dates=DAYS).head(1)
        report = retrieval.fetch(found, tmp_path / "mine", bands=["B04"], progress=False)
    assert report["status"].tolist() == ["fetched", "kept"]
    assert np.abs(loaded(tmp_path / "mine")["reflectance"].to_numpy() - ground * 1e-4).max() < 1e-6


KILLED = """
import os, sys
from eolab.data import retrieval
from eolab.data.retrieval import fetching
fetching.THREADS = 1
write, number = fetching._write, [0]
def dying(source, job):
    number[0] += 1
    if number[0] == 3:
        job.file.with_name(job.file.name + ".1.tmp").write_bytes(b"half")
        os.kill(os.getpid(), 9)
    return write(source, job)
fetching._write = dying
retrieval.fetch(retrieval.search(sys.argv[1], tile="33TWM"), sys.argv[2], progress=False)
"""


def test_after_a_kill_the_same_call_fetches_what_is_left(stac, tmp_path):
    two_conventions(stac)
    done = subprocess.run([sys.executable, "-c", KILLED, stac.url, str(tmp_path / "mine")], check=False)
    assert done.returncode == -9
    assert len(list((tmp_path / "mine").rglob("*.tmp"))) == 2  # a download and half an image
    found = retrieval.search(stac.url, tile="33TWM")
    report = retrieval.fetch(found, tmp_path / "mine", progress=False)
    assert report["status"].value_counts().to_dict() == {"fetched": 4, "kept": 2}
    assert not list((tmp_path / "mine").rglob("*.tmp"))
    assert len(loaded(tmp_path / "mine")["time"]) == 2


def test_two_processes_do_not_fetch_into_one_folder(stac, tmp_path):
    two_conventions(stac)
    found = retrieval.search(stac.url, tile="33TWM", dates=DAYS)
    with fetching._alone_in(tmp_path), pytest.raises(StoreError, match="Another process fetches into"):
        retrieval.fetch(found, tmp_path, progress=False)


def test_many_pixels_below_0_are_warned_of(stac, tmp_path):
    """Earth Search says of some images that the offset is in their numbers though it was taken off."""
    stac.add(
        "A", {"red": pixels(1, low=200, high=1500)}, datetime="2023-07-02T10:00:31Z",
        **{"s2:processing_baseline": "05.09", "earthsearch:boa_offset_applied": False},
    )  # fmt: skip
    found = retrieval.search(stac.url, tile="33TWM", dates=DAYS)
    with pytest.warns(EolabWarning, match=r"6\d% of STAC_33TWM_20230702T100031_S2A_B04.tif lies below 0"):
        retrieval.fetch(found.assign(orbit="S2A"), tmp_path / "mine", progress=False)


def test_hosts_that_ask_for_it_are_given_signed_addresses_and_no_token(stac, tmp_path, monkeypatch):
    two_conventions(stac)
    found = retrieval.search(stac.url, tile="33TWM", dates=DAYS)
    monkeypatch.setenv(searching.TOKEN, "secret")
    retrieval.fetch(found.head(1), tmp_path / "login", bands=["B04"], progress=False)
    assert stac.headers["Authorization"] == "Bearer secret"
    (stac.folder / "sign").write_text(json.dumps({"href": f"{stac.url}/B/red.tif?sig=abc"}))
    monkeypatch.setattr(fetching, "SIGNERS", {"127.0.0.1": f"{stac.url}/sign"})
    stac.asked.clear()
    one = found.tail(1)
    one.iloc[0]["item"]["assets"] = {"red": one.iloc[0]["item"]["assets"]["red"]}
    retrieval.fetch(one, tmp_path / "signed", progress=False)
    assert stac.asked == {"/sign": 1, "/B/red.tif": 1}
    assert "Authorization" not in stac.headers
    stac.faults["/sign"] = [401]
    with pytest.raises(
        ParameterError, match=f"needs a login: set the environment variable {searching.TOKEN}"
    ):
        retrieval.fetch(one, tmp_path / "other", progress=False)


# === The command ===


def test_the_command_lists_without_a_folder_and_fetches_into_one(stac, tmp_path, capsys):
    two_conventions(stac)
    asked = ["data", "fetch", stac.url, "--tile", "33TWM", "--dates", *DAYS, "--clouds", "60"]
    assert cli.main(asked) == 0
    listed = capsys.readouterr().out
    assert "2 images" in listed
    assert "nothing was downloaded" in listed
    assert not any(path.endswith(".tif") for path in stac.asked)
    assert cli.main([*asked, "--bands", "B04", "--out", str(tmp_path / "mine")]) == 0
    said = capsys.readouterr().out
    assert "4 files fetched" in said
    assert "the catalogue took the offset off" in said
    assert cli.main(["--catalog", str(tmp_path / "mine/catalog.yaml"), "data", "check", "fetched"]) == 0
    (stac.folder / "A/nir08.tif").unlink()
    assert cli.main([*asked, "--out", str(tmp_path / "mine")]) == 1  # one is missing


def test_offline_it_ends_in_one_sentence(stac, tmp_path, capsys):
    url = stac.url
    stac.close()
    assert cli.main(["data", "fetch", url, "--tile", "33TWM", "--out", str(tmp_path / "mine")]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert said.startswith(f"eolab: The catalogue {url} does not answer as it should (")
    assert "the connection was refused; 4 tries): see whether this machine is online" in said
    assert not (tmp_path / "mine").exists()


def test_without_the_extra_it_ends_in_one_sentence(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pystac_client", None)
    assert cli.main(["data", "fetch", "element84", "--tile", "33TWM"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("eolab: The package pystac-client, which searches STAC catalogues, is missing")
    assert "pip install 'eolab[stac]'" in said


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "needs a catalogue: one of element84, planetary_computer"),
        (["element84"], "Neither tile nor bounds is given"),
        (["elment84", "--tile", "33TWM"], "is no catalogue: give its web address, or one of element84"),
        (["element84", "--tile", "33TWM", "--clouds", "120"], "max_clouds_pct is 120"),
        (
            ["element84", "--tile", "33TWM", "--dates", "2023-08-01", "2023-07-01"],
            "give the first and the last day",
        ),
        (["element84", "--bounds", "15", "46", "14", "47"], "give (west, south, east, north) in degrees"),
    ],
)
def test_wrong_conditions_end_in_one_sentence(options, sentence, capsys):
    assert cli.main(["data", "fetch", *options]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert len(said.splitlines()) == 1
