"""The land-cover twin: layout, offsets, determinism, traps, class maps and CORINE."""

import hashlib
import itertools
import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.errors import RasterioError
from rasterio.warp import transform_bounds

from eolab.core.errors import DataError, ParameterError
from eolab.data.schemes.landcover import LANDCOVER
from eolab.synthetic import sentinel2_corine

pytestmark = pytest.mark.slow

SIZE = 120
NAME = re.compile(r"S2[AB]_MSIL2A_(\d{8}T\d{6})_N(\d{4})_R\d{3}_T(\d{2}[A-Z]{3})_(\d{8}T\d{6})\.SAFE")


@pytest.fixture(scope="module")
def twin(shared_twin):
    return shared_twin(sentinel2_corine, size=SIZE, dates=4, year=2020, years=1)


@pytest.fixture(scope="module")
def years(shared_twin):
    return shared_twin(sentinel2_corine, size=SIZE, dates=2, traps=False)


def truth(twin: Path, year: int) -> np.ndarray:
    with rasterio.open(twin / f"truth/land_cover_10m_{year}.tif") as file:
        return file.read(1)


def products(twin: Path) -> list[Path]:
    return sorted((twin / "sentinel2").glob("*.SAFE"))


def image(product: Path, name: str, resolution_m: int) -> np.ndarray:
    (path,) = product.glob(f"GRANULE/*/IMG_DATA/R{resolution_m}m/*_{name}_{resolution_m}m.jp2")
    with rasterio.open(path) as file:
        return file.read(1)


def texts(path: Path) -> dict[str, str]:
    return {element.tag.rsplit("}")[-1]: element.text for element in ElementTree.parse(path).iter()}


def roles(twin: Path) -> dict[str, list[Path]]:
    """Tell good, duplicate and truncated products apart without asking the generator."""
    by_time: dict[str, list[Path]] = {}
    for path in products(twin):
        by_time.setdefault(NAME.fullmatch(path.name)[1], []).append(path)
    found: dict[str, list[Path]] = {"good": [], "duplicate": [], "truncated": []}
    for paths in by_time.values():
        newest = max(paths, key=lambda p: NAME.fullmatch(p.name)[2])
        found["duplicate"] += [path for path in paths if path != newest]
        try:
            image(newest, "B04", 10)
        except RasterioError:
            found["truncated"].append(newest)
        else:
            found["good"].append(newest)
    return found


def test_names_times_and_traps(twin):
    assert all(NAME.fullmatch(path.name) for path in products(twin))
    found = roles(twin)
    assert {role: len(paths) for role, paths in found.items()} == {
        "good": 4,
        "duplicate": 1,
        "truncated": 1,
    }
    days = sorted(int(NAME.fullmatch(path.name)[1][6:8]) for path in found["good"])
    assert len(days) == 4
    assert len({NAME.fullmatch(path.name)[2] for path in found["good"]}) == 2  # two baselines


def test_files_are_those_of_a_real_product(twin):
    for product in products(twin):
        new = NAME.fullmatch(product.name)[2] >= "0400"
        files = list(product.glob("GRANULE/*/IMG_DATA/*/*.jp2"))
        assert len(files) == (36 if new else 35)
        assert len(list(product.glob("GRANULE/*/IMG_DATA/R20m/*_B01_20m.jp2"))) == int(new)
        assert not list(product.glob("GRANULE/*/IMG_DATA/*/*_B10_*"))
        assert len(list(product.glob("GRANULE/L2A_*/QI_DATA/MSK_CLDPRB_20m.jp2"))) == 1
        listed = [e.text for e in ElementTree.parse(product / "MTD_MSIL2A.xml").iter("IMAGE_FILE")]
        assert sorted(listed) == sorted(
            path.relative_to(product).as_posix().removesuffix(".jp2") for path in files
        )


def test_metadata(twin):
    for product in products(twin):
        _, baseline, tile, _ = NAME.fullmatch(product.name).groups()
        facts = texts(product / "MTD_MSIL2A.xml")
        assert facts["PRODUCT_URI"] == product.name
        assert facts["PROCESSING_BASELINE"].replace(".", "") == baseline
        assert facts["BOA_QUANTIFICATION_VALUE"] == "10000"
        root = ElementTree.parse(product / "MTD_MSIL2A.xml")
        offsets = {e.attrib["band_id"]: e.text for e in root.iter("BOA_ADD_OFFSET")}
        assert offsets == ({str(k): "-1000" for k in range(13)} if baseline >= "0400" else {})
        (granule,) = (product / "GRANULE").iterdir()
        place = texts(granule / "MTD_TL.xml")
        assert tile in granule.name
        assert place["HORIZONTAL_CS_CODE"] == f"EPSG:326{tile[:2]}"
        assert 20 < float(place["ZENITH_ANGLE"]) < 75
        assert 90 < float(place["AZIMUTH_ANGLE"]) < 180
        manifest = ElementTree.parse(product / "manifest.safe")
        for entry in manifest.iter("fileLocation"):
            assert (product / entry.attrib["href"]).is_file()


@pytest.mark.parametrize(("name", "resolution_m"), [("B08", 10), ("B11", 20), ("SCL", 20), ("B09", 60)])
def test_grids_agree(twin, name, resolution_m):
    product = roles(twin)["good"][0]
    (path,) = product.glob(f"GRANULE/*/IMG_DATA/R{resolution_m}m/*_{name}_{resolution_m}m.jp2")
    with rasterio.open(path) as file, rasterio.open(twin / "truth/land_cover_10m_2020.tif") as grid:
        assert file.crs == grid.crs
        assert file.bounds == grid.bounds
        assert file.shape == (SIZE * 10 // resolution_m,) * 2
        assert file.dtypes[0] == ("uint8" if name == "SCL" else "uint16")
    content = path.read_bytes()
    assert b"gml.data" in content  # published images have their grid in this form alone
    assert bytes.fromhex("b14bf8bd083d4b43a5ae8cd7d5a6ce03") not in content  # GeoTIFF in a box


def test_truncated_file_stops_the_reader(twin):
    (product,) = roles(twin)["truncated"]
    with pytest.raises(RasterioError):
        image(product, "B04", 10)
    assert image(product, "B03", 10).any()  # the rest of the product is sound


def test_offset_leaves_no_seam_between_baselines(tmp_path, monkeypatch):
    """The same acquisition gives the same reflectance whichever baseline wrote it."""
    from eolab.synthetic import safe

    reflectance = {}
    for baseline in ("02.14", "05.00"):
        monkeypatch.setattr(safe, "NEW_BASELINE", baseline)
        options = {"years": 1, "traps": False, "progress": False}
        folder = sentinel2_corine.write(tmp_path / baseline, size=96, dates=2, **options)
        last = max(products(folder), key=lambda path: path.name.split("_")[2])
        assert texts(last / "MTD_MSIL2A.xml")["PROCESSING_BASELINE"] == baseline
        offset = -1000.0 if baseline >= "04.00" else 0.0
        reflectance[baseline] = (image(last, "B08", 10) + offset) / 10_000
    np.testing.assert_allclose(reflectance["02.14"], reflectance["05.00"], atol=1e-9)


def test_duplicate_has_other_pixels(twin):
    (older,) = roles(twin)["duplicate"]
    newer = next(path for path in roles(twin)["good"] if path.name[:26] == older.name[:26])
    wrong = image(older, "B02", 10) / 10_000
    right = (image(newer, "B02", 10) - 1000.0) / 10_000
    assert older.name[27:32] < newer.name[27:32]
    assert np.median((wrong - right)[right < 0.2]) > 0.03


def pixels(folder: Path) -> str:
    """Return a hash of every decoded pixel, paths included."""
    digest = hashlib.sha256()
    for path in sorted([*folder.rglob("*.jp2"), *folder.rglob("*.tif")]):
        digest.update(path.relative_to(folder).as_posix().encode())
        with rasterio.open(path) as file:
            digest.update(file.read().tobytes())
    return digest.hexdigest()


def test_same_seed_same_pixels(tmp_path):
    options = {"size": 96, "dates": 1, "years": 2, "traps": False, "progress": False}
    first, second, other = (
        sentinel2_corine.write(tmp_path / name, seed=seed, **options)
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    assert pixels(first) == pixels(second)
    assert pixels(first) != pixels(other)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]  # nothing left behind


def test_traps_change_nothing_else(twin, tmp_path):
    options = {"year": 2020, "years": 1, "traps": False, "progress": False}
    plain = sentinel2_corine.write(tmp_path / "plain", size=SIZE, dates=4, **options)
    good = [path.name for path in roles(twin)["good"]]
    assert sorted(path.name for path in products(plain)) == sorted(good)
    assert (
        image(products(plain)[0], "B04", 10) == image(twin / "sentinel2" / sorted(good)[0], "B04", 10)
    ).all()


def test_swath_edge_is_nodata_in_bands_and_classes(twin):
    cut = [path for path in roles(twin)["good"] if (image(path, "B04", 10) == 0).any()]
    assert len(cut) == 1
    nodata = image(cut[0], "B04", 10) == 0
    assert 0.05 < nodata.mean() < 0.6
    outside = image(cut[0], "SCL", 20) == 0
    assert (outside[~nodata[::2, ::2] & ~nodata[1::2, 1::2]] == 0).all()
    assert outside[nodata[::2, ::2]].all()


def test_maps_and_marker(twin):
    with rasterio.open(twin / "truth/land_cover_10m_2020.tif") as file:
        now, colors = file.read(1), file.colormap(1)
        assert file.nodata == 255
    shares = np.bincount(now.ravel(), minlength=len(LANDCOVER)) / now.size
    assert (shares > 0.01).all()
    assert colors[10] == (63, 86, 221, 255)
    marker = json.loads((twin / "twin.json").read_text())
    assert marker["simulated"] is True
    assert (marker["seed"], marker["size"], marker["dates"], marker["years"]) == (0, SIZE, 4, 1)
    assert (marker["changed_share"], marker["drought_year"]) == ({}, None)
    assert list(marker["corine_right_share"]) == ["2020"]
    assert marker["class_shares"]["Lake"] == pytest.approx(shares[10], abs=1e-4)


def test_the_truth_changes_from_year_to_year_by_the_stated_share(years):
    marker = json.loads((years / "twin.json").read_text())
    truths = [truth(years, year) for year in (2018, 2019, 2020)]
    for known in truths:
        assert set(np.unique(known)) == set(range(len(LANDCOVER)))
    changed = [(truths[0] != truths[1]), (truths[1] != truths[2])]
    shares = {"2019": changed[0].mean(), "2020": changed[1].mean()}
    assert marker["changed_share"] == pytest.approx(shares, abs=1e-4)
    assert all(0.02 < share < 0.08 for share in shares.values())
    assert (changed[0] & changed[1]).mean() < 0.005  # a place changes once
    right = [*marker["corine_right_share"].values()]
    assert right == sorted(right, reverse=True)  # the map is of the first year
    assert marker["drought_year"] == 2019


def test_each_year_has_its_own_dates_and_pixels(years):
    found: dict[str, list[Path]] = {}
    for path in products(years):
        found.setdefault(NAME.fullmatch(path.name)[1][:4], []).append(path)
    assert {year: len(paths) for year, paths in found.items()} == {"2018": 2, "2019": 2, "2020": 2}
    days = {year: [NAME.fullmatch(path.name)[1][4:8] for path in paths] for year, paths in found.items()}
    assert len(set(map(tuple, days.values()))) == 3
    pictures = [image(path, "B04", 10).astype(int) for path in products(years)]
    assert all((a != b).mean() > 0.9 for a, b in itertools.combinations(pictures, 2))


def test_each_year_is_seen_with_its_own_land_cover_and_weather(tmp_path, monkeypatch):
    seen = {}

    def take(surface, item, *_):
        seen[item.time.year] = surface

    monkeypatch.setattr(sentinel2_corine, "take_picture", take)
    monkeypatch.setattr(sentinel2_corine, "write_product", lambda *_: None)
    twin = sentinel2_corine.write(tmp_path / "twin", size=96, dates=1, traps=False, progress=False)
    assert [*seen] == [2018, 2019, 2020]
    for year, surface in seen.items():
        np.testing.assert_array_equal(surface.cover, truth(twin, year))
        assert (surface.growth.dryness is not None) == (year == 2019)
    assert len({surface.growth.late_days for surface in seen.values()}) == 3


def test_corine_is_on_the_european_grid_and_covers_a_margin(twin):
    path = twin / "corine/u2018_clc2018_v2020_20u1_raster100m/DATA/U2018_CLC2018_V2020_20u1.tif"
    with rasterio.open(path) as file, rasterio.open(twin / "truth/land_cover_10m_2020.tif") as grid:
        codes, bounds = file.read(1), file.bounds
        assert file.crs.to_epsg() == 3035
        assert file.res == (100, 100)
        assert bounds.left % 100 == bounds.top % 100 == 0
        scene = transform_bounds(grid.crs, file.crs, *grid.bounds)
        assert bounds.left < scene[0] - 200
        assert bounds.top > scene[3] + 200
        valid = codes != file.nodata
    assert ((codes[valid] >= 1) & (codes[valid] <= 44)).all()
    assert valid.mean() > 0.6


def test_bad_requests(twin, tmp_path):
    with pytest.raises(ParameterError, match="multiple of 12"):
        sentinel2_corine.write(tmp_path / "x", size=100)
    with pytest.raises(ParameterError, match="dates 0"):
        sentinel2_corine.write(tmp_path / "x", dates=0)
    with pytest.raises(ParameterError, match="years 6 is not possible: take 1 to 5"):
        sentinel2_corine.write(tmp_path / "x", years=6)
    with pytest.raises(DataError, match="exists already"):
        sentinel2_corine.write(twin, size=SIZE)
    assert not (tmp_path / "x").exists()


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(sentinel2_corine, "write_product", fail)
    with pytest.raises(OSError, match="disk full"):
        sentinel2_corine.write(tmp_path / "twin", size=96, dates=1, years=1, progress=False)
    assert list(tmp_path.iterdir()) == []
