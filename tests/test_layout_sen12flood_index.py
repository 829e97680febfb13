"""The index of SEN12-FLOOD: the real lists hold what was counted in them, and bad ones end in sentences."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from eolab.core.errors import DataError
from eolab.data.layouts import sen12flood_index as reader
from eolab.data.layouts.common import ring_of


@pytest.fixture(scope="module")
def real(real_data):
    return real_data / "sen12flood_lists"


@pytest.fixture(scope="module")
def table(real):
    return reader.index(real)


@pytest.fixture(scope="module")
def sequences(real, table):
    return reader.sequences(real, table)


def of(table: pd.DataFrame, sensor: str) -> pd.DataFrame:
    return table[table["sensor"] == sensor]


# === The real lists ===


def test_real_lists_have_335_sequences_of_both_sensors(table):
    assert table["sequence"].nunique() == 335
    assert table.groupby("sensor")["sequence"].nunique().to_dict() == {"S1": 335, "S2": 335}
    assert table.attrs["rejected"] == []


def test_real_lists_have_3957_and_3131_entries_2237_of_these_with_a_file(table):
    assert len(of(table, "S1")) == (of(table, "S1")["filename"] != "").sum() == 3957
    assert len(of(table, "S2")) == 3131
    assert (of(table, "S2")["filename"] != "").sum() == 2237


def test_official_split_is_267_and_68_sequences(sequences):
    assert sequences["published"].value_counts().to_dict() == {"train": 267, "test": 68}


@pytest.mark.parametrize(
    ("sensor", "published", "images", "flooded"),
    [
        ("S1", "train", 3200, 1130),
        ("S1", "test", 757, 244),
        ("S2", "train", 1781, 428),
        ("S2", "test", 456, 101),
    ],
)
def test_images_with_a_file_and_flooded_ones_by_split(table, sensor, published, images, flooded):
    own = of(table, sensor)
    own = own[(own["published"] == published) & (own["filename"] != "")]
    assert (len(own), own["flooded"].sum()) == (images, flooded)


def test_15_images_have_one_polarisation(table):
    single = of(table, "S1").query("channels == 'VV'")
    assert len(single) == 15
    assert set(single["sequence"]) == {"0004", "0005", "0006", "13", "52"}
    assert set(of(table, "S1")["channels"]) == {"VV", "VV+VH"}


def test_50_sequences_are_out_of_date_order_and_sorting_mends_it(table):
    def is_ordered(rows: pd.DataFrame) -> bool:
        return rows.sort_values("number")["date"].is_monotonic_increasing

    ordered = {
        s: of(table, s).groupby("sequence")[["number", "date"]].apply(is_ordered) for s in reader.SENSORS
    }
    assert (~ordered["S1"]).sum() == 50
    assert ordered["S2"].all()
    assert (
        table.groupby(["sequence", "sensor"])["date"].apply(lambda date: date.is_monotonic_increasing).all()
    )


def test_once_flooded_a_sequence_stays_flooded(table):
    for sensor in reader.SENSORS:
        turned = (
            of(table, sensor)
            .groupby("sequence")["flooded"]
            .agg(lambda wet: (wet.astype(int).diff() < 0).any())
        )
        assert not turned.any()


def test_56_sequences_have_two_images_of_one_date_and_orbit(table):
    s1 = of(table, "S1")
    assert s1[s1.duplicated(["sequence", "date", "orbit"])]["sequence"].nunique() == 56
    assert s1[s1.duplicated(["sequence", "date"])]["sequence"].nunique() == 108


def test_labels_of_sequences_belong_to_the_sensor(table, sequences):
    assert sequences[["flooded_S1", "flooded_S2"]].sum().tolist() == [135, 201]
    alone = sequences[sequences["flooded_S2"] & ~sequences["flooded_S1"]]
    assert len(alone) == 66
    last = of(table, "S1").groupby("sequence")["date"].max()
    wet = of(table, "S2").query("flooded").groupby("sequence")["date"].min()
    assert (last[alone.index] < wet[alone.index]).all()


def test_264_optical_images_cover_a_part_of_their_sequence(table):
    assert (~of(table, "S2").query("filename != ''")["full_coverage"].astype(bool)).sum() == 264


def test_sequences_are_five_kilometres_wide(sequences):
    size = np.array([np.ptp(ring, axis=0) for ring in sequences["ring"]])
    assert np.median(size, axis=0) == pytest.approx([0.0489, 0.0466], abs=0.005)
    assert sequences.loc["0004", ["longitude", "latitude"]].tolist() == pytest.approx(
        [18.654, -33.873], abs=1e-3
    )


def test_numbers_of_entries_and_files_of_a_sequence(sequences):
    assert sequences["images_S1"].sum() == sequences["files_S1"].sum() == 3957
    assert sequences["files_S2"].max() == 9
    assert (sequences["images_S2"] > sequences["files_S2"]).sum() == 132
    assert sequences["images_S1"].agg(["min", "max"]).tolist() == [2, 31]


# === Bad lists ===

GEO = {"type": "Polygon", "coordinates": [[[1.0, 2.0], [1.0, 2.1], [1.1, 2.1], [1.1, 2.0], [1.0, 2.0]]]}
S1 = "S1A_IW_GRDH_1SDV_20190314T030815_20190314T030840_026328_02F196_7D7C"


def write(folder, s1, s2=None):
    s2 = s2 if s2 is not None else {"0001": {"1": {"date": "2019-01-24", "FLOODING": True}, "geo": GEO}}
    for name, content in (("S1list.json", s1), ("S2list.json", s2)):
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def entry(**changes):
    return {"date": "2019-03-14", "FLOODING": False, "orbit": "ASCENDING", "filename": S1, **changes}


def test_keys_are_numbers_not_text_and_dates_decide(tmp_path):
    block = {
        "10": entry(date="2019-03-02"),
        "2": entry(date="2019-03-01"),
        "1": entry(),
        "count": 3,
        "geo": GEO,
    }
    s1 = reader.index(write(tmp_path, {"0001": block})).query("sensor == 'S1'")
    assert s1["number"].tolist() == [2, 10, 1]


def test_sequences_come_by_number_training_first(tmp_path):
    block = {"1": entry(), "geo": GEO}
    found = reader.index(write(tmp_path, dict.fromkeys(("10", "0200", "2", "0030"), block)))
    assert found.query("sensor == 'S1'")["sequence"].tolist() == ["0030", "0200", "2", "10"]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (entry(date="24.01.2019"), r"date '24.01.2019', expected one such as"),
        (entry(date="9999-01-24"), r"date '9999-01-24', expected one such as"),  # was a traceback of pandas
        (entry(filename="../../elsewhere/S2_2019-01-24"), r"expected one without a folder"),
        (entry(filename="..\\S2_2019-01-24"), r"expected one without a folder"),
        (entry(FLOODING="true"), r"FLOODING 'true', expected True or False"),
        (entry(**{"FULL-DATA-COVERAGE": "false"}), r"FULL-DATA-COVERAGE 'false', expected True or False"),
        (entry(filename=7), r"the filename 7 and the orbit 'ASCENDING', expected text"),
        (entry(orbit=None), r"the orbit None, expected text"),
        ("dry", "no block"),
    ],
)
def test_a_wrong_entry_is_named_and_the_rest_goes_on(tmp_path, wrong, reason):
    table = reader.index(write(tmp_path, {"0001": {"1": entry(), "2": wrong, "geo": GEO}}))
    assert len(of(table, "S1")) == 1
    (rejected,) = table.attrs["rejected"]
    assert (rejected["sequence"], rejected["sensor"], rejected["number"]) == ("0001", "S1", 2)
    assert pd.Series([rejected["reason"]]).str.contains(reason).all()


def test_half_a_character_in_a_name_costs_nothing_but_its_entry(tmp_path):
    """A surrogate, of a Latin-1 name that was read as UTF-8, ended in a UnicodeEncodeError."""
    table = reader.index(
        write(tmp_path, {"0001": {"1": entry(), "2": entry(filename="S1_\udcf6"), "geo": GEO}})
    )
    assert of(table, "S1")["filename"].iloc[1] == "S1_?"


@pytest.mark.parametrize("sequence", ["tmp", "²", "123", "00001"])
def test_a_sequence_of_neither_split_is_named(tmp_path, sequence):
    """Three digits were a test sequence, and ² a traceback."""
    table = reader.index(write(tmp_path, {sequence: {"1": entry(), "geo": GEO}}))
    said = f"sequence {sequence!r} is not a folder of four digits (train), or of one or two (test)"
    assert table.attrs["rejected"][0]["reason"] == said


def test_a_key_that_is_no_decimal_number_is_no_entry(tmp_path):
    table = reader.index(write(tmp_path, {"0001": {"1": entry(), "²": entry(), "geo": GEO}}))
    assert len(of(table, "S1")) == 1


@pytest.mark.parametrize("sensor", ["S1", "S2"])
def test_sequences_of_one_sensor_alone_have_nothing_of_the_other(tmp_path, sensor):
    """With no image of the other sensor pandas 3 refused to count its file names."""
    block = {"1": entry(), "2": entry(FLOODING=True, filename=""), "geo": GEO}
    lists = {"0001": block, "7": {"1": entry(), "geo": GEO}}
    write(tmp_path, *((lists, {}) if sensor == "S1" else ({}, lists)))
    found = reader.sequences(tmp_path, reader.index(tmp_path))
    other = {"S1": "S2", "S2": "S1"}[sensor]
    for name, expected in (("images", [2, 1]), ("files", [1, 1]), ("flooded", [True, False])):
        assert found[f"{name}_{sensor}"].tolist() == expected
        assert found[f"{name}_{other}"].tolist() == [0, 0]
    assert found["files_S1"].dtype == found["files_S2"].dtype == np.int64
    assert found["flooded_S1"].dtype == found["flooded_S2"].dtype == bool


def test_lists_that_cannot_be_read_end_in_a_sentence(tmp_path):
    (tmp_path / "S2list.json").write_text("{}")
    with pytest.raises(DataError, match=r"S1list.json is missing: .* give the folder"):
        reader.index(tmp_path)
    with pytest.raises(DataError, match=r"S1list.json is no whole JSON file"):
        reader.index(write(tmp_path, '{"0001": {"1": '))
    with pytest.raises(DataError, match=r"holds no block.* of (names and values|sequences).*give the folder"):
        reader.index(write(tmp_path, [1, 2]))
    with pytest.raises(DataError, match="without a single image"):
        reader.index(write(tmp_path, {}, {}))
    table = reader.index(write(tmp_path, {"0001": {"1": entry()}}, {}))
    with pytest.raises(DataError, match=r"Sequence 0001 of .* has no polygon"):
        reader.sequences(tmp_path, table)


def test_sequences_at_both_sides_of_180_degrees_are_neighbours(tmp_path):
    """Regression: a sequence that crosses the antimeridian lay at 0 degrees, and its neighbours 360 apart."""

    def box(west, east):
        return [[west, -17], [west, -16.9], [east, -16.9], [east, -17]]

    places = {"0001": (179.9, 179.95), "0002": (179.98, -179.97), "0003": (-179.95, -179.9)}
    places["0004"] = (-120.1, -120.0)
    image = {"date": "2019-03-14", "FLOODING": False, "filename": "S1A_IW_GRDH_1SDV_a"}
    blocks = {
        name: {"1" * 30: image, "geo": {"type": "Polygon", "coordinates": [box(*ends)]}}
        for name, ends in places.items()
    }
    (tmp_path / "S1list.json").write_text(json.dumps(blocks))
    (tmp_path / "S2list.json").write_text("{}")
    found = reader.sequences(tmp_path, reader.index(tmp_path))
    np.testing.assert_allclose(found["longitude"], [179.925, 180.005, 180.075, -120.05])


@pytest.mark.parametrize("kind", ["corners with heights", "two polygons"])
def test_legal_outlines_of_other_kinds_count(kind):
    """Regression: a polygon with heights, or cut at 180 degrees, was none, and the data set did not open."""
    square = np.array([[0, 0], [0, 1], [1, 1], [1, 0], [0, 0]])
    parts = [[np.insert(square, 2, 5, axis=1).tolist()]]
    geometry = {"type": "Polygon", "coordinates": parts[0]}
    if kind == "two polygons":
        geometry = {"type": "MultiPolygon", "coordinates": [*parts, [(square + 1).tolist()]]}
    ring = ring_of(geometry)
    assert ring.shape == ((10, 2) if kind == "two polygons" else (5, 2))
    assert ring.max() == (2 if kind == "two polygons" else 1)
