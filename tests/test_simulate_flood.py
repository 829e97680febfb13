"""The flood twin: the published layout with its traps, water that follows the terrain, and its refusals."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
from sen12flood_collections import collect

from eolab.core.errors import DataError, ParameterError
from eolab.data import catalog
from eolab.data.layouts import sen12flood as reader
from eolab.studies.flood import samples
from eolab.studies.flood.baselines import without_pixels
from eolab.synthetic import sen12flood
from eolab.synthetic.sen12flood import FIRST_DAY, MOST_OPTICAL, REGIONS, make_plan
from eolab.synthetic.sen12flood_image import DRY, make_ground

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def twin(shared_twin) -> Path:
    return shared_twin(sen12flood, seed=3, train=8, test=4, size=48)


@pytest.fixture(scope="module")
def truth(twin) -> pd.DataFrame:
    table = pd.read_csv(twin / "truth/images.csv", dtype={"sequence": str}, keep_default_na=False)
    return table.assign(date=pd.to_datetime(table["date"]))


@pytest.fixture(scope="module")
def images(twin) -> pd.DataFrame:
    return reader.index(twin)


# === Layout ===


def test_the_lists_are_those_of_the_data_set(twin, images):
    block = json.loads((twin / "S1list.json").read_text())["0001"]
    assert {"1", "count", "folder", "geo", "urls"} <= set(block)
    assert set(block["1"]) == {"date", "FLOODING", "orbit", "filename"}
    names = {Path(url).stem for url in block["urls"]}
    assert names == {entry["filename"] for key, entry in block.items() if key.isdigit()}
    block = json.loads((twin / "S2list.json").read_text())["0001"]
    assert "urls" not in block
    assert set(block["1"]) == {"date", "FLOODING", "FULL-DATA-COVERAGE", "filename"}
    assert images.attrs["rejected"] == []
    assert images["sequence"].nunique() == 12
    published = images.groupby("sequence")["published"].first()
    assert published.value_counts().to_dict() == {"train": 8, "test": 4}


def test_radar_names_hold_times_of_a_day(images):
    """A slice lasts 25 s; from 08:40 it ended at 08:65."""
    names = images.loc[images["sensor"] == "S1", "filename"].str.split("_")
    begin, end = (pd.to_datetime(names.str[place], format="%Y%m%dT%H%M%S") for place in (4, 5))
    assert set(end - begin) == {pd.Timedelta(seconds=25)}
    assert (begin.dt.normalize() == images.loc[begin.index, "date"]).all()


def test_sequences_lie_in_their_regions_and_are_as_large_as_the_published(twin, images):
    sequences = reader.sequences(twin, images)
    for sequence, ring in sequences["ring"].items():
        assert np.ptp(ring, axis=0) == pytest.approx([0.0489, 0.0466], abs=1e-5), sequence
    _, longitude, latitude, _ = REGIONS[0]
    assert sequences.loc["0001", ["longitude", "latitude"]].tolist() == pytest.approx(
        [longitude, latitude], abs=0.05
    )


def test_radar_and_optical_images_differ_in_projection_and_shape(twin, images):
    grids = {}
    for sensor in reader.SENSORS:
        image = images[(images["sequence"] == "0001") & (images["sensor"] == sensor)].iloc[0]
        file = next((twin / "0001").glob(f"{image.filename}*"))
        with rasterio.open(file) as opened:
            grids[sensor] = opened.crs.to_epsg(), opened.dtypes[0], opened.shape
    assert grids["S1"][:2] == (4326, "float32")
    assert grids["S2"][:2] == (32736, "uint16")
    assert grids["S2"][2] == (48, 48) != grids["S1"][2]


def test_bands_of_60_metres_have_files_of_their_own_size(twin):
    shapes = set()
    for file in twin.glob("*/S2_*_B0[19].tif"):
        try:
            with rasterio.open(file) as opened:
                shapes.add(opened.shape)
        except rasterio.errors.RasterioIOError:
            continue  # cut short
    assert shapes == {(48, 48), (8, 8)}


# === Time ===


def test_once_flooded_a_sequence_stays_flooded(images):
    for _, series in images.groupby(["sequence", "sensor"]):
        assert series["flooded"].is_monotonic_increasing


def test_some_floods_are_seen_by_one_sensor_alone():
    plan = make_plan(0, 60, 0)
    last = [max(p.day for p in sequence.passes if p.sensor == "S1") for sequence in plan]
    wet = [(sequence.onset, day) for sequence, day in zip(plan, last, strict=True) if sequence.onset != DRY]
    assert 0.5 < len(wet) / 60 < 0.75
    assert 0.1 < np.mean([day < onset for onset, day in wet]) < 0.45


def test_clouds_hide_the_flood_when_it_comes():
    storms, other = [], []
    for sequence in make_plan(0, 60, 0):
        for one in sequence.passes:
            if one.sensor == "S2" and sequence.onset != DRY:
                (storms if 0 <= one.day - sequence.onset <= 16 else other).append(one.clouds)
    assert np.mean(storms) > 0.8
    assert np.mean(other) < 0.4


def test_a_cloud_alone_is_no_flood():
    """Sequences that stay dry have as many clouded images as those that flood."""
    shares = {True: [], False: []}
    for sequence in make_plan(0, 120, 0):
        clouds = [one.clouds for one in sequence.passes if one.sensor == "S2"]
        shares[sequence.onset != DRY].append(np.mean([share > 0.7 for share in clouds]))
    assert np.mean(shares[False]) == pytest.approx(np.mean(shares[True]), abs=0.05)
    assert np.mean(shares[True]) > 0.3


def test_numbers_and_days_are_within_the_published_ranges():
    for sequence in make_plan(1, 40, 10):
        radar = [one for one in sequence.passes if one.sensor == "S1"]
        optical = [one for one in sequence.passes if one.sensor == "S2"]
        assert 2 <= len(radar) <= 40
        assert 1 <= sum(one.has_file for one in optical) <= MOST_OPTICAL
        assert all(one.has_file for one in optical[:MOST_OPTICAL])
        assert all(one.date >= FIRST_DAY for one in sequence.passes)
        assert max(one.date for one in sequence.passes).isoformat() <= "2019-05-20"


# === Ground and images ===


def test_water_follows_the_terrain_and_stays():
    ground = make_ground(48, np.random.default_rng(0))
    dry = ground.water(10, onset=30)
    assert dry.mean() == pytest.approx(ground.river, abs=0.001)
    shares = [ground.water(day, onset=30).mean() for day in (30, 34, 60, 150)]
    assert max(shares) <= ground.peak + 0.001
    assert min(shares) > ground.river + 0.3 * (ground.peak - ground.river) * (1 - np.exp(-1 / 3))
    for day in (30, 34, 60, 150):
        wet = ground.water(day, onset=30)
        assert ground.height[wet].max() <= ground.height[~wet].min()
        assert (wet | ~dry).all()  # the river stays
    assert (ground.water(100, DRY) == dry).all()


def test_each_sensor_has_the_values_of_the_published_files(twin, images, truth):
    """Means of linear sigma nought as measured on the real data: about 0.03 in VH and 0.14 in VV."""
    means = []
    for sequence in ("0001", "0005", "0009", "1"):
        series, _ = reader.read_series(
            twin, reader.of_sequence(images, sequence, "S1"), ["VV", "VH"], (48, 48)
        )
        means.append(series["image"].mean(("time", "y", "x")).values)
        optical, _ = reader.read_series(twin, reader.of_sequence(images, sequence, "S2"), ["B04"], (48, 48))
        assert 0 < float(optical["image"].min()) < float(optical["image"].max()) < 1.2
    assert np.mean(means, axis=0) == pytest.approx([0.14, 0.03], rel=0.5)


def test_water_darkens_the_radar_where_there_is_no_wind(twin, images, truth):
    """Median VH of sequences under much water, beside the same sequences before."""
    table = truth[(truth["sensor"] == "S1") & (truth["fault"] == "") & (truth["part"] == "whole")]
    wettest = table.loc[table["water"].idxmax()]
    series, _ = reader.read_series(
        twin, reader.of_sequence(images, wettest.sequence, "S1"), ["VV"], (48, 48), 0.0
    )
    level = 10 * np.log10(series["image"].quantile(0.1, ("y", "x")).sel(band="VV"))
    assert float(level[series["flooded"].values].min()) < float(level[~series["flooded"].values].mean()) - 2


# === Traps ===


def test_every_fault_is_found_by_the_check(twin, truth):
    table = reader.check_layout(twin, progress=False)
    rejected = table[table["status"] == "rejected"].set_index("file")["reason"]
    listed = set(reader.index(twin)["filename"])
    said = {"zero": "no value in any pixel", "truncated": "is damaged", "missing": "is missing"}
    for row in truth[(truth["fault"] != "") & truth["filename"].isin(listed)].itertuples():
        reasons = rejected[rejected.index.str.startswith(f"{row.sequence}/{row.filename}")]
        assert len(reasons) >= 1
        assert reasons.str.contains(said[row.fault]).all(), (row.filename, reasons.tolist())
    assert rejected.str.contains("is named by no list").any()
    assert rejected.str.contains("names no file").any()


def test_the_twin_has_slices_and_numbers_out_of_order():
    plan = make_plan(0, 40, 0)
    assert any(one.part == "second" for sequence in plan for one in sequence.passes)
    assert any(one.single for sequence in plan for one in sequence.passes)
    assert {one.fault for sequence in plan for one in sequence.passes} == {"", "zero", "truncated", "missing"}


# === The other published tree ===


@pytest.fixture(scope="module")
def collections(twin, tmp_path_factory) -> Path:
    return collect(shutil.copytree(twin, tmp_path_factory.mktemp("data") / "sen12flood"))


@pytest.fixture(scope="module")
def held(images, truth) -> pd.DataFrame:
    """The images of the lists that collections can hold: with files, the lowest number of each day."""
    there = images[images["filename"] != ""].sort_values("number", kind="stable")
    lost = truth.loc[truth["fault"] == "missing", ["sequence", "filename"]].itertuples(index=False, name=None)
    missing = pd.MultiIndex.from_frame(there[["sequence", "filename"]]).isin(list(lost))
    first = ~there.duplicated(["sequence", "sensor", "date"])
    assert (first & missing).any()
    assert (~first).any()
    return there[first & ~missing].sort_index()


def test_collections_are_laid_out_as_published(collections):
    names = sorted(one.name for one in collections.iterdir())
    parts = [f"sen12floods_{sensor}_{kind}" for sensor in ("s1", "s2") for kind in ("labels", "source")]
    assert names == [*parts, "truth", "twin.json"]
    source, labels = (
        collections / f"sen12floods_s2_{kind}/sen12floods_s2_{kind}" for kind in ("source", "labels")
    )
    links = json.loads((source / "collection.json").read_text())["links"]
    items = {one.name.removeprefix("sen12floods_s2_source_") for one in source.iterdir() if one.is_dir()}
    assert {Path(link["href"]).parent.name for link in links} == {f"sen12floods_s2_source_{i}" for i in items}
    for item in items:
        said = json.loads((labels / f"sen12floods_s2_labels_{item}/labels.geojson").read_text())["properties"]
        assert {said["FLOODING"], said["FULL-DATA-COVERAGE"]} <= {"True", "False"}


def test_both_trees_give_the_same_table_but_for_what_collections_cannot_tell(collections, held):
    """Lost are the orbit, all images of a day but one, and entries without a file."""
    same = ["sequence", "published", "sensor", "date", "flooded", "full_coverage", "channels"]
    table = reader.index(collections)
    pd.testing.assert_frame_equal(table[same], held[same].reset_index(drop=True))
    assert set(table["orbit"]) == {""}
    assert all("holds no image" in row["reason"] for row in table.attrs["rejected"])
    assert table.attrs["rejected"]


def test_both_trees_give_the_same_pixels(twin, collections, images, held):
    table = reader.index(collections)
    sliced = images[images.duplicated(["sequence", "sensor", "date"])]["sequence"].iloc[0]
    for sequence, sensor in ((sliced, "S1"), ("0001", "S1"), ("0005", "S2"), ("1", "S2")):
        channels = ["VV", "VH"] if sensor == "S1" else ["B01", "B03", "B8A"]
        one, one_lost = reader.read_series(
            twin, reader.of_sequence(held, sequence, sensor), channels, (48, 48), 0.3
        )
        two, two_lost = reader.read_series(
            collections, reader.of_sequence(table, sequence, sensor), channels, (48, 48), 0.3
        )
        assert one.sizes["time"] > 2
        assert len(one_lost) == len(two_lost)
        for name in ("image", "time", "flooded", "full_coverage"):
            np.testing.assert_array_equal(one[name], two[name])


def test_both_trees_have_sequences_at_the_same_places(twin, collections, images):
    one, two = reader.sequences(twin, images), reader.sequences(collections, reader.index(collections))
    assert one.index.tolist() == two.index.tolist()
    for sequence in one.index:
        np.testing.assert_array_equal(one.loc[sequence, "ring"], two.loc[sequence, "ring"])


def test_the_check_accounts_for_every_file_of_the_collections(collections, held):
    table = reader.check_layout(collections, progress=False)
    files = {file.relative_to(collections).as_posix() for file in collections.rglob("*.tif")}
    assert files <= set(table["file"])
    good = table.loc[table["status"] == "ok", "file"]
    assert 0.8 * held["channels"].str.count(r"\w+").sum() < len(good) < len(files)
    reasons = table.loc[table["status"] == "rejected", "reason"]
    for said in ("no value in any pixel", "is damaged", "holds no image"):
        assert reasons.str.contains(said).any(), said
    assert reasons.str.contains("no value|is damaged|holds no image|has values in").all()


# === Writing ===


def digest(folder: Path) -> str:
    files = sorted(f for f in folder.rglob("*") if f.is_file())
    parts = [f"{f.relative_to(folder)}{hashlib.sha256(f.read_bytes()).hexdigest()}" for f in files]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    sizes = {"train": 2, "test": 1, "size": 48, "progress": False}
    same = [digest(sen12flood.write(tmp_path / name, seed=5, **sizes)) for name in "ab"]
    other = digest(sen12flood.write(tmp_path / "c", seed=6, **sizes))
    assert same[0] == same[1] != other


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seed": -1}, "seed -1 is not possible"),
        ({"train": 0}, "train 0 is not possible: take 1 to 2,000 sequences"),
        ({"test": 101}, "test 101 is not possible: take 0 to 100 sequences"),
        ({"size": 20}, "size 20 is not possible: take 48 to 512"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, options, said):
    with pytest.raises(ParameterError, match=said):
        sen12flood.write(tmp_path / "twin", **options)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_exists_is_left_alone(tmp_path):
    (tmp_path / "twin").mkdir()
    with pytest.raises(DataError, match="exists already"):
        sen12flood.write(tmp_path / "twin")


def test_a_stopped_write_leaves_nothing(tmp_path, monkeypatch):
    def stop(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(sen12flood, "_lists", stop)
    with pytest.raises(KeyboardInterrupt):
        sen12flood.write(tmp_path / "twin", train=1, test=0, size=48, progress=False)
    assert not list(tmp_path.iterdir())


def test_the_catalogue_has_the_twin_and_the_data_set():
    entries = catalog.load()
    assert entries["flood_twin"].simulated
    assert entries["flood_twin"].layout == entries["sen12flood"].layout == "sen12flood"


def test_the_nearest_training_sequence_answers_the_test_without_an_image_as_in_the_published_data(
    twin, images
):
    sequences = reader.sequences(twin, images)
    assert samples.nearest_training(sequences, sequences["published"])["adjoins"].all()
    listed = reader.passes(images).join(samples.sequence_places(sequences), on="sequence")
    tables = {sensor: table.reset_index(drop=True) for sensor, table in listed.groupby("sensor")}
    found = without_pixels(tables, {"published": sequences["published"]}).set_index(["rule", "images"])
    assert found.loc[("neighbour", "both"), "accuracy"] > 0.95
    assert found.loc[("always dry", "both"), "accuracy"] < 0.9


def test_every_number_of_sequences_has_its_groups():
    for train, test in ((1, 3), (7, 4), (36, 18), (2, 0)):
        plan = make_plan(0, train, test)
        assert len({(one.west, one.south) for one in plan}) == len(plan) == train + test
