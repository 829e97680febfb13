"""The scenes twin: layouts, names and traps, frequencies, held-out tiles, same ground, faults, refusals."""

import hashlib
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
import tifffile
from scipy.ndimage import gaussian_filter

from eolab.core.errors import DataError, ParameterError
from eolab.data import catalog
from eolab.data.bands import L2A_BANDS, SENTINEL2
from eolab.data.schemes.bigearthnet import (
    CLASSES_19,
    CLASSES_43,
    PUBLISHED_BY_CODE,
    PUBLISHED_PATCHES,
    class_set,
)
from eolab.studies.scenes.samples import neighbours
from eolab.synthetic import bigearthnet
from eolab.synthetic.bigearthnet_image import SIZE, SMALLEST_PX, make_map, make_materials, traits_of
from eolab.synthetic.bigearthnet_plan import CLASSES, LEAST, THEMES, TILES, Patch, make_plan, quotas
from eolab.synthetic.materials import DORMANT, GREEN, INDEX
from eolab.synthetic.patterns import PATTERNS
from eolab.synthetic.writing import stream

pytestmark = pytest.mark.slow

CODES = tuple(CLASSES)
PATCHES = 48
S2, S1 = bigearthnet.FOLDERS[1]


@pytest.fixture(scope="session")
def v1(shared_twin) -> Path:
    return shared_twin(bigearthnet, version=1, patches=PATCHES)


@pytest.fixture(scope="session")
def v2(shared_twin) -> Path:
    return shared_twin(bigearthnet, version=2, patches=PATCHES)


@pytest.fixture(scope="module")
def plan():
    return make_plan(0, 600)


def truth(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "truth/patches.csv", keep_default_na=False)


def clean(folder: Path) -> pd.DataFrame:
    return truth(folder).query("fault == ''")


def digest(path: Path) -> str:
    return hashlib.sha256(tifffile.imread(path).tobytes()).hexdigest()


def test_bands_of_version_1_are_as_published(v1):
    for name in clean(v1)["s2v1_name"]:
        folder = v1 / S2 / name
        files = sorted(path.name for path in folder.iterdir())
        assert files == sorted([*(f"{name}_{b}.tif" for b in L2A_BANDS), f"{name}_labels_metadata.json"])
    facts = json.loads((folder / f"{name}_labels_metadata.json").read_text())
    for band in L2A_BANDS:
        with rasterio.open(folder / f"{name}_{band}.tif") as image:
            metres = SENTINEL2[band].resolution_m
            assert (image.height, image.width) == (1200 // metres, 1200 // metres)
            assert (image.dtypes[0], image.nodata, image.count) == ("uint16", None, 1)
            assert image.res == (metres, metres)
            assert (image.bounds.left, image.bounds.top) == tuple(
                facts["coordinates"][k] for k in ("ulx", "uly")
            )
            assert image.crs == rasterio.crs.CRS.from_wkt(facts["projection"])


def test_radar_is_float32_in_decibels(v1):
    folders = sorted((v1 / S1).iterdir())
    assert len(folders) == PATCHES
    for folder in folders:
        for channel in ("VV", "VH"):
            with rasterio.open(folder / f"{folder.name}_{channel}.tif") as image:
                assert (image.height, image.width, image.dtypes[0]) == (120, 120, "float32")
    values = [tifffile.imread(f / f"{f.name}_{c}.tif").mean() for f in folders for c in ("VV", "VH")]
    vv, vh = np.reshape(values, (-1, 2)).mean(axis=0)
    assert -15 < vv < -8
    assert -23 < vh < -14  # the published means are -12.6 and -19.3


def test_metadata_of_version_1(v1):
    for row in clean(v1).itertuples():
        facts = json.loads((v1 / S2 / row.s2v1_name / f"{row.s2v1_name}_labels_metadata.json").read_text())
        assert list(facts) == ["labels", "coordinates", "projection", "tile_source", "acquisition_date"]
        assert set(facts["coordinates"]) == {"ulx", "uly", "lrx", "lry"}
        assert class_set("43").encode(facts["labels"]).sum() == len(facts["labels"])
        codes = [int(code) for code in row.codes.split()]
        assert facts["labels"] == [CLASSES_43.names[CLASSES_43.index_of(code)] for code in codes]
        assert facts["acquisition_date"].startswith(row.date)
        assert row.tile in facts["tile_source"]
        assert facts["tile_source"].endswith(".SAFE")
    for folder in (v1 / S1).iterdir():
        facts = json.loads((folder / f"{folder.name}_labels_metadata.json").read_text())
        assert set(facts["coordinates"]) == {"ulx", "uly", "lrx", "lly"}  # misspelt, as published
        assert (v1 / S2 / facts["corresponding_s2_patch"]).is_dir()
        assert pd.Timestamp(facts["acquisition_time"]).strftime("%Y%m%dT%H%M%S") in folder.name


def test_lists_have_two_columns_and_windows_line_ends(v1):
    table = truth(v1).set_index("s2v1_name")
    listed = []
    for split, name in (("train", "train"), ("validation", "val"), ("test", "test")):
        content = (v1 / "lists" / f"{name}.csv").read_bytes()
        assert content.endswith(b"\r\n")
        assert content.count(b"\r\n") == content.count(b"\n")
        rows = [line.split(",") for line in content.decode().split()]
        listed += rows
        known = [s2 for s2, _ in rows if s2 in table.index]
        assert len(rows) - len(known) == (split == "train")  # one name without a folder
        assert (table.loc[known, "split"] == split).all()
        assert not table.loc[known, ["snow", "cloudy"]].any(axis=None)
    assert sum((v1 / S1 / s1).is_dir() for _, s1 in listed) == len(listed) - 1
    snow = (v1 / "lists/patches_with_seasonal_snow.csv").read_text().split()
    assert set(snow) == set(table.index[table["snow"]])


def test_names_have_the_traps_of_the_published_ones(plan):
    starts = [patch.product.name_v1.split("T")[-1] for patch in plan]
    assert any(len(start) == 5 for start in starts)  # hour without its zero
    assert any(int(start[-2:]) > 59 for start in starts)
    for patch in plan:
        assert re.fullmatch(r"S2[AB]_MSIL2A_\d{8}T\d{6}_N9999_R\d{3}_T\d\d[A-Z]{3}",
                            patch.product.name_v2(patch.tile.name))  # fmt: skip
    assert any(patch.column < 10 or patch.row < 10 for patch in plan)


def test_places_are_those_of_the_published_patches():
    corners = {"33UUP": ((87, 48), (404400, 5342400)), "29SND": ((56, 35), (567180, 4358040)),
               "35VPK": ((57, 38), (668400, 6954420))}  # fmt: skip
    tiles = {tile.name: tile for tile in TILES}
    for name, (place, corner) in corners.items():
        assert Patch(0, tiles[name], tiles[name].products[0], *place, (), False, False).corner == corner
    assert tiles["35VPK"].products[2].name_v1 == "S2B_MSIL2A_20180204T94161"
    products = [tile.radar_product(product) for tile in TILES for product in tile.products]
    assert all(re.fullmatch(r"S1[AB]_IW_GRDH_1SDV_\d{8}T\d{6}", name) for name in products)


def test_version_2_is_as_published(v2):
    tables = [pd.read_parquet(v2 / name) for name in (
        "metadata.parquet", "metadata_for_patches_with_snow_cloud_or_shadow.parquet")]  # fmt: skip
    columns = ["patch_id", "labels", "split", "country", "s1_name", "s2v1_name", "contains_seasonal_snow",
               "contains_cloud_or_shadow"]  # fmt: skip
    assert all(list(table.columns) == columns for table in tables)
    bad = [table[["contains_seasonal_snow", "contains_cloud_or_shadow"]].any(axis=1) for table in tables]
    assert not bad[0].any()
    assert bad[1].all()
    table = pd.concat(tables).set_index("patch_id").loc[clean(v2)["patch_id"]]
    assert set(table["split"]) == {"train", "validation", "test"}
    codes = dict(zip(clean(v2)["patch_id"], clean(v2)["codes"], strict=True))
    classes = class_set("19")
    for name, row in table.iterrows():
        product = name[:-6]
        assert re.search(r"_\d\d_\d\d$", name)
        assert list(row["labels"]) == sorted(row["labels"])
        assert set(row["labels"]) <= set(CLASSES_19.names)
        folder = v2 / "BigEarthNet-S2" / product / name
        assert len(list(folder.glob(f"{name}_B*.tif"))) == 12
        radar = v2 / "BigEarthNet-S1" / "_".join(row["s1_name"].split("_")[:-3]) / row["s1_name"]
        assert {path.name[-6:-4] for path in radar.iterdir()} == {"VV", "VH"}
        assert not list(folder.glob("*.json"))
        path = v2 / "Reference_Maps" / product / name / f"{name}_reference_map.tif"
        with rasterio.open(path) as image:
            cover = image.read(1)
            assert (cover.shape, cover.dtype, image.res) == ((120, 120), np.uint16, (10, 10))
        assert np.unique(cover).tolist() == [int(code) for code in codes[name].split()]
        assert sorted(classes.names_of(classes.encode(np.unique(cover).tolist()))) == list(row["labels"])


def test_both_versions_show_the_same_ground(v1, v2):
    both = clean(v1).merge(clean(v2), on="patch_id")
    assert len(both) > PATCHES - 12
    for row in both.head(6).itertuples():
        first, second = row.s2v1_name_x, row.patch_id
        for band in ("B01", "B08"):
            old = v1 / S2 / first / f"{first}_{band}.tif"
            new = v2 / "BigEarthNet-S2" / second[:-6] / second / f"{second}_{band}.tif"
            assert digest(old) == digest(new)


def test_same_seed_same_pixels(v1, tmp_path):
    options = {"patches": PATCHES, "faults": 0, "progress": False}
    again = bigearthnet.write(tmp_path / "again", radar=False, **options)
    for name in clean(v1)["s2v1_name"][:5]:
        file = f"{S2}/{name}/{name}_B04.tif"
        assert digest(v1 / file) == digest(again / file)
        assert (again / file).stat().st_size > 120 * 120 * 2  # not compressed, as published
    assert not (again / S1).exists()
    assert not (truth(again)["fault"] != "").any()
    assert make_plan(0, PATCHES) != make_plan(1, PATCHES)


@pytest.mark.parametrize("seed", [0, 1])
def test_version_2_copies_bands_of_the_same_pixels(v1, tmp_path, seed, monkeypatch):
    (tmp_path / "beside").symlink_to(v1)
    options = {"version": 2, "seed": seed, "patches": PATCHES, "radar": False, "progress": False}
    plain = bigearthnet.write(tmp_path / "plain", **options)
    optical, simulated = bigearthnet.ground.optical, []
    monkeypatch.setattr(
        bigearthnet.ground, "optical", lambda *given: simulated.append(given[1]) or optical(*given)
    )
    copied = bigearthnet.write(tmp_path / "copied", pixels_from="beside", **options)
    files = sorted(file.relative_to(plain) for file in plain.rglob("*") if file.is_file())
    assert files == sorted(file.relative_to(copied) for file in copied.rglob("*") if file.is_file())
    assert all((plain / file).read_bytes() == (copied / file).read_bytes() for file in files)
    spoilt = json.loads((v1 / "twin.json").read_text())["spoilt"].values()
    if seed == 0:
        assert {patch.name_v1 for patch in simulated} < set(spoilt)
    else:  # the twin beside it has another seed
        assert len(simulated) == len(truth(plain))


def test_every_kind_of_damage_is_there(v1, v2):
    for version, folder in ((1, v1), (2, v2)):
        spoilt = json.loads((folder / "twin.json").read_text())["spoilt"]
        assert list(spoilt) == list(bigearthnet.FAULTS[version])
        root = folder / (S2 if version == 1 else "BigEarthNet-S2")
        place = {kind: root / (name if version == 1 else f"{name[:-6]}/{name}")
                 for kind, name in spoilt.items()}  # fmt: skip
        with (
            pytest.raises(rasterio.errors.RasterioIOError),
            rasterio.open(place["truncated_band"] / f"{spoilt['truncated_band']}_B04.tif") as image,
        ):
            image.read()
        assert not (place["missing_band"] / f"{spoilt['missing_band']}_B8A.tif").exists()
        missing = spoilt["listed_without_folder"]  # it was once the name of a patch that is there
        assert missing not in {found.name for found in folder.rglob("S2*") if found.is_dir()}
    name = json.loads((v1 / "twin.json").read_text())["spoilt"]["no_labels"]
    assert "labels" not in json.loads((v1 / S2 / name / f"{name}_labels_metadata.json").read_text())


def test_frequencies_follow_the_report(plan):
    counts = Counter(code for patch in plan for code in patch.codes)
    found = np.array([counts[code] for code in CODES])
    assert found.tolist() == quotas(600).tolist()
    share = np.array([PUBLISHED_BY_CODE[code] for code in CODES]) / PUBLISHED_PATCHES
    common = share > 0.02
    np.testing.assert_allclose(found[common] / 600, share[common], atol=0.5 / 600 + 1e-12)
    assert (found >= LEAST).all()
    assert (np.diff(found[np.argsort(share)]) >= 0).all()  # the order of the ranks
    assert sorted(CODES) == list(CODES) == list(CLASSES_43.codes)
    assert PUBLISHED_BY_CODE[313] == 217_119
    assert 2.9 < found.sum() / 600 < 3.1  # published: 2.97 labels a patch


def test_test_patches_lie_in_images_with_training_patches_as_published_and_every_split_has_every_class(plan):
    classes: dict[str, set[int]] = {}
    for patch in plan:
        classes.setdefault(patch.split, set()).update(patch.codes)
    assert set(classes) == {"train", "validation", "test"}
    assert all(found == set(CODES) for found in classes.values())
    split = pd.Series({patch.name_v1: patch.split for patch in plan})
    tile = [patch.product.source(patch.tile.name) for patch in plan]
    near = neighbours(pd.DataFrame({"id": split.index, "tile": tile}), split)
    assert near["in_tile"] == 1
    assert near["in_image"] > 0.95  # some images of the twin hold a patch or two
    assert near["touching"] > 0.4  # 0.45 of the twin's few patches an image; 0.996 in the dense version 1
    assert near["test"] / len(plan) == pytest.approx(0.24, abs=0.02)
    assert {patch.tile.country for patch in plan} == {
        "Austria", "Belgium", "Finland", "Ireland", "Kosovo", "Lithuania", "Luxembourg", "Portugal", "Serbia",
        "Switzerland"}  # fmt: skip
    gains = np.array([traits_of(0, tile).gain for tile in TILES])
    assert gains.std(axis=0).mean() > 0.03  # tiles differ


def test_weather_of_the_plan(plan):
    assert 0.05 < np.mean([patch.snow for patch in plan]) < 0.14  # published: 0.105
    assert 0.01 < np.mean([patch.cloudy for patch in plan]) < 0.03  # published: 0.016
    assert all(patch.product.snow > 0 for patch in plan if patch.snow)
    names = [(patch.product.name_v1, patch.column, patch.row) for patch in plan]
    assert len(set(names)) == len(plan)


def test_coasts_and_climates_hold_their_classes(plan):
    sea = [patch.tile for patch in plan if 523 in patch.codes]
    assert all(tile.coast for tile in sea)
    conifers = Counter(patch.tile.biome for patch in plan if 312 in patch.codes)
    assert conifers["boreal"] > conifers["iberian"]
    assert {patch.tile.biome for patch in plan if 244 in patch.codes} == {"iberian"}


def test_a_map_holds_its_classes_and_no_other(plan):
    for patch in plan[::25]:
        cover = make_map(patch.codes, stream(0, 2, patch.number))
        codes, counts = np.unique(cover, return_counts=True)
        assert cover.shape == (SIZE, SIZE)
        assert codes.tolist() == list(patch.codes)
        assert counts.min() >= SMALLEST_PX
    whole = make_map(CODES, np.random.default_rng(0))  # all 43 at once
    assert set(np.unique(whole)) == set(CODES)


def test_recipes_are_whole():
    assert set(CLASSES) == set(CLASSES_43.codes) == set(PUBLISHED_BY_CODE)
    assert DORMANT.shape == GREEN.shape == (len(INDEX), len(L2A_BANDS))
    for recipe in CLASSES.values():
        assert recipe["base"] in INDEX
        assert all(pattern in PATTERNS and name in INDEX for pattern, name, _, _ in recipe["layers"])
        assert set(recipe["themes"]) <= set(THEMES)
        assert set(recipe["biomes"]) == {tile.biome for tile in TILES}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_cover_about_their_share(pattern):
    draw = PATTERNS[pattern]
    shares = [draw((120, 120), 0.3, 8, np.random.default_rng(seed)).mean() for seed in range(12)]
    assert 0.15 < np.mean(shares) < 0.48


def coherence(image: np.ndarray) -> float:
    """How much the edges around a pixel have one direction, 0 to 1 (structure tensor)."""
    south, east = np.gradient(image)
    ss, ee, se = (gaussian_filter(a * b, 4) for a, b in ((south, south), (east, east), (south, east)))
    return float((np.hypot(ss - ee, 2 * se) / (ss + ee)).mean())


def test_vineyards_and_orchards_differ_in_pattern_alone():
    means, directed = [], []
    for code in (221, 222):
        cover = np.full((120, 120), code, np.uint16)
        images = [DORMANT[make_materials(cover, np.random.default_rng(k))] for k in range(6)]
        means.append(np.mean(images, axis=(0, 1, 2)))
        directed.append(np.mean([coherence(image[..., 3]) for image in images]))
    np.testing.assert_allclose(means[0], means[1], rtol=0.06)
    assert directed[0] > 1.5 * directed[1]  # rows have a direction, grids have none


def test_snow_is_white(v1):
    table = clean(v1)

    def mean(names, band):
        return np.mean([tifffile.imread(v1 / S2 / n / f"{n}_{band}.tif").mean() for n in names])

    fair = ~table["snow"] & ~table["cloudy"]
    assert mean(table[table["snow"]]["s2v1_name"], "B02") > 3 * mean(table[fair]["s2v1_name"], "B02")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"version": 3}, "version 3 is unknown: Known: 1, 2"),
        ({"patches": 10}, "take 40 to"),
        ({"seed": -1}, "positive whole number"),
        ({"faults": 9}, "take 0 to 5"),
    ],
)
def test_refusals(tmp_path, options, message):
    with pytest.raises(ParameterError, match=message):
        bigearthnet.write(tmp_path / "twin", **options)
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_not_touched(v1):
    with pytest.raises(DataError, match="exists already"):
        bigearthnet.write(v1, patches=PATCHES)


@pytest.mark.parametrize("name", ["scenes_twin", "scenes_twin_v2"])
def test_catalogue_knows_its_twin_again(name, v1, v2):
    entry = catalog.load()[name]
    folder = v2 if name.endswith("v2") else v1
    given = {"patches": PATCHES, "radar": True}
    entry = replace(entry, uri=str(folder), twin=entry.twin | given)
    before = (folder / "twin.json").stat().st_mtime_ns
    assert entry.make(progress=False) == folder
    assert (folder / "twin.json").stat().st_mtime_ns == before  # the same version and parameters: not remade
