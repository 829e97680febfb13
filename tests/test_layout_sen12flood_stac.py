"""SEN12-FLOOD's collections: the same table as of the lists, labels that are text, and every fault named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from eolab.core.errors import DataError, ParameterError
from eolab.data import layouts
from eolab.data.layouts import sen12flood as reader

RING = [[18.60, -33.85], [18.60, -33.90], [18.65, -33.90], [18.65, -33.85], [18.60, -33.85]]
DRY, WET = "0140_2019_03_01", "0140_2019_03_13"


def name_of(sensor: str, kind: str) -> str:
    return f"sen12floods_{sensor.lower()}_{kind}"


def place(root: Path, sensor: str, kind: str, item: str = "") -> Path:
    """Folder of a collection, or of an item such as 0140_2019_03_13 in it."""
    name = name_of(sensor, kind)
    return root / name / name / (f"{name}_{item}" if item else "")


def add(root: Path, sensor: str, item: str, flooding: object, value: float, **stac: object) -> None:
    """Write an image, all its pixels but the last of one value, and its label."""
    source, labels = place(root, sensor, "source", item), place(root, sensor, "labels", item)
    channels = ("VV", "VH") if sensor == "S1" else reader.OPTICAL_BANDS
    source.mkdir(parents=True)
    for channel in channels:
        kind = "float32" if sensor == "S1" else "uint16"
        pixels = np.full((20, 16), value, kind)
        pixels[-1, -1] = 1.01 * value
        tifffile.imwrite(source / f"{channel}.tif", pixels)
    content = {
        "id": source.name,
        "geometry": {"type": "Polygon", "coordinates": [RING]},
        "assets": {channel: {"href": f"./{channel}.tif"} for channel in channels},
    }
    (source / "stac.json").write_text(json.dumps(content | stac))
    labels.mkdir(parents=True)
    feature = {"type": "Feature", "geometry": None, "properties": {"FLOODING": flooding}}
    (labels / "labels.geojson").write_text(json.dumps(feature))


def link(root: Path, sensor: str, hrefs: list[object]) -> None:
    links = [{"rel": "root", "href": "../catalog.json"}, *({"rel": "item", "href": href} for href in hrefs)]
    (place(root, sensor, "source") / "collection.json").write_text(json.dumps({"links": links}))


def reasons(table: pd.DataFrame) -> list[str]:
    return [row["reason"] for row in table.attrs["rejected"]]


@pytest.fixture
def root(tmp_path) -> Path:
    """Two images of Sentinel-1 and one of Sentinel-2 of sequence 0140, one of Sentinel-1 of sequence 5."""
    root = tmp_path / "sen12flood"
    add(root, "S1", DRY, "False", 0.25)
    add(root, "S1", WET, "True", 0.125)
    add(root, "S1", "5_2019_02_02", False, 0.5)
    add(root, "S2", "0140_2019_03_12", "True", 2500)
    return root


# === Good collections ===


def test_items_give_the_columns_of_the_lists(root):
    table = reader.index(root)
    assert table.attrs["rejected"] == []
    shown = table.drop(columns=["filename", "channels", "stated"]).assign(
        date=table["date"].dt.strftime("%Y-%m-%d")
    )
    assert shown.to_numpy().tolist() == [
        ["0140", "train", "S1", 1, "2019-03-01", False, "", True],
        ["0140", "train", "S1", 2, "2019-03-13", True, "", True],
        ["0140", "train", "S2", 1, "2019-03-12", True, "", True],
        ["5", "test", "S1", 1, "2019-02-02", False, "", True],
    ]
    assert table["filename"][1] == f"sen12floods_s1_source/sen12floods_s1_source/sen12floods_s1_source_{WET}"
    assert table["channels"].tolist()[1:3] == ["VV+VH", "+".join(reader.OPTICAL_BANDS)]


@pytest.mark.parametrize(
    ("said", "flooded"), [("True", True), ("False", False), ("false ", False), (True, True), (False, False)]
)
def test_a_label_that_is_text_is_read_by_its_word(tmp_path, said, flooded):
    """Of the text "False" Python makes True, and so do public readers."""
    add(tmp_path, "S1", DRY, said, 0.25)
    assert reader.index(tmp_path)["flooded"].tolist() == [flooded]


def test_coverage_is_read_where_the_label_says_it(root):
    file = place(root, "S2", "labels", "0140_2019_03_12") / "labels.geojson"
    file.write_text(json.dumps({"properties": {"FLOODING": "True", "FULL-DATA-COVERAGE": "False"}}))
    assert reader.index(root)["full_coverage"].tolist() == [True, True, False, True]


def test_a_series_is_read_from_the_files_of_the_items(root):
    series = layouts.reader("sen12flood").open_layout(root, sequence="0140", sensor="S1", size=(10, 8))
    assert series["time"].dt.strftime("%m-%d").values.tolist() == ["03-01", "03-13"]
    np.testing.assert_allclose(series["image"][:, :, 0, 0], [[0.25, 0.25], [0.125, 0.125]])
    assert series["flooded"].values.tolist() == [False, True]
    assert series["orbit"].values.tolist() == ["", ""]
    optical = layouts.reader("sen12flood").open_layout(
        root, sequence="0140", sensor="S2", channels=["B8A"], size=(10, 8)
    )
    np.testing.assert_allclose(optical["image"], 0.25, atol=1e-3)  # reflectance


def test_the_folder_may_be_above_or_be_one_collection(root):
    whole = reader.index(root)
    above = reader.index(root.parent)
    assert above["filename"].tolist() == [f"sen12flood/{name}" for name in whole["filename"]]
    pd.testing.assert_frame_equal(above.drop(columns="filename"), whole.drop(columns="filename"))
    for folder in (place(root, "S1", "source").parent, place(root, "S1", "source")):
        table = reader.index(folder)
        assert table["sensor"].tolist() == ["S1"] * 3
        assert (reader.check_layout(folder, progress=False)["status"] == "ok").sum() == 6
    series = reader.open_layout(root.parent, "0140", "S1", ["VV"], (10, 8))
    assert series.sizes["time"] == 2


def test_a_collection_whose_folder_is_not_doubled_is_read(tmp_path):
    add(tmp_path / "twice", "S1", WET, "True", 0.25)
    (tmp_path / "once").mkdir()
    for kind in ("source", "labels"):
        place(tmp_path / "twice", "S1", kind).rename(tmp_path / "once" / name_of("S1", kind))
    table = reader.index(tmp_path / "once")
    assert table["filename"].tolist() == [f"sen12floods_s1_source/sen12floods_s1_source_{WET}"]


def test_links_of_the_collection_say_which_items_there_are(root):
    item = f"sen12floods_s1_source_{DRY}"
    for href in (f"./{item}/stac.json", f"https://example.org/items/{item}", f"../../../{item}/stac.json"):
        link(root, "S1", [href, href])
        table = reader.index(root)
        assert table["number"][table["sensor"] == "S1"].tolist() == [1]
        assert table["filename"][0].endswith(f"sen12floods_s1_source/{item}")
    files = reader.check_layout(root, progress=False)
    left = files[files["reason"] == "is no file of an item that can be used"]["file"]
    assert sorted({Path(file).parent.name for file in left}) == [
        f"sen12floods_s1_source_{WET}",
        "sen12floods_s1_source_5_2019_02_02",
    ]


def test_places_come_from_the_polygon_or_the_box(root):
    for item in (DRY, WET):
        file = place(root, "S1", "source", item) / "stac.json"
        file.write_text(json.dumps({"bbox": [18.60, -33.90, 18.64, -33.84]}))
    sequences = reader.sequences(root, reader.index(root))
    np.testing.assert_array_equal(sequences.loc["5", "ring"], RING)
    assert sequences.loc["0140", ["longitude", "latitude"]].tolist() == pytest.approx([18.62, -33.87])
    assert sequences.loc["0140", ["images_S1", "files_S1", "flooded_S1", "images_S2"]].tolist() == [
        2,
        2,
        True,
        1,
    ]
    assert sequences.loc["5", ["images_S2", "flooded_S2"]].tolist() == [0, False]
    wrong = {"geometry": None, "bbox": [18.6, None, 18.7, -33.9]}
    (place(root, "S1", "source", "5_2019_02_02") / "stac.json").write_text(json.dumps(wrong))
    with pytest.raises(
        DataError, match=r"Sequence 5 of .* has no polygon of longitudes and latitudes, or box"
    ):
        reader.sequences(root, reader.index(root))


def test_without_assets_the_channels_are_those_with_a_file(root):
    item = place(root, "S1", "source", DRY)
    (item / "stac.json").write_text("{}")
    (item / "VH.tif").unlink()
    assert reader.index(root)["channels"][0] == "VV"
    _, rejected = reader.read_series(root, reader.of_sequence(reader.index(root), "0140", "S1"), ["VH"])
    (only,) = rejected
    assert only["reason"] == "was taken without VH"
    assert only["file"].endswith(DRY)


# === Faults ===


@pytest.mark.parametrize(
    ("kind", "file", "content", "reason"),
    [
        ("labels", "labels.geojson", None, f"sen12floods_s1_labels_{WET}/labels.geojson is missing"),
        ("labels", "labels.geojson", "{", f"sen12floods_s1_labels_{WET}/labels.geojson is no whole JSON"),
        ("labels", "labels.geojson", "{}", f"sen12floods_s1_labels_{WET} has the label FLOODING None"),
        ("labels", "labels.geojson", {"FLOODING": "wet"}, "the label FLOODING 'wet', expected True or False"),
        ("labels", "labels.geojson", {"FLOODING": 1}, "the label FLOODING 1, expected True or False"),
        (
            "labels",
            "labels.geojson",
            {"FLOODING": True, "FULL-DATA-COVERAGE": "half"},
            "the label FULL-DATA-COVERAGE 'half', expected True or False",
        ),
        ("source", "stac.json", None, f"sen12floods_s1_source_{WET}/stac.json is missing"),
        ("source", "stac.json", '{"id": ', f"sen12floods_s1_source_{WET}/stac.json is no whole JSON file"),
        ("source", "stac.json", "[]", f"sen12floods_s1_source_{WET}/stac.json holds no block"),
    ],
)
def test_a_wrong_item_is_named_and_the_rest_goes_on(root, kind, file, content, reason):
    path = place(root, "S1", kind, WET) / file
    if content is None:
        path.unlink()
    else:
        path.write_text(content if isinstance(content, str) else json.dumps({"properties": content}))
    table = reader.index(root)
    assert len(table) == 3
    (rejected,) = table.attrs["rejected"]
    assert (rejected["sequence"], rejected["sensor"], rejected["number"]) == ("0140", "S1", 2)
    assert reason in rejected["reason"]
    files = reader.check_layout(root, progress=False).set_index("file")["reason"]
    assert files["0140/S1 entry 2"] == rejected["reason"]


def test_an_item_without_its_images_is_named(root):
    for file in place(root, "S2", "source", "0140_2019_03_12").glob("*.tif"):
        file.unlink()
    assert reasons(reader.index(root)) == [
        "sen12floods_s2_source_0140_2019_03_12 holds no image, expected files such as B01.tif"
    ]


def test_an_image_that_the_item_promises_is_missed(root):
    (place(root, "S1", "source", WET) / "VH.tif").unlink()
    files = reader.check_layout(root, progress=False).set_index("file")["reason"]
    assert files[files.index.str.endswith(f"{WET}/VH.tif")].item().startswith("is missing")
    assert (files == "").sum() == 5 + 12


def test_names_without_a_sequence_and_a_date_are_rejected(root):
    wrong = ("123_2019_03_01", "0140_2019_02_30", "0140", "a_2019_03_01")
    for item in wrong:
        place(root, "S1", "source", item).mkdir()
    (place(root, "S1", "source") / "notes").mkdir()
    found = reader.index(root).attrs["rejected"]
    assert sorted(row["sequence"] for row in found) == sorted(
        f"sen12floods_s1_source_{item}" for item in wrong
    )
    assert all("with its sequence and date" in row["reason"] for row in found)


def test_links_that_lead_nowhere_are_rejected(root):
    link(root, "S1", [f"./sen12floods_s1_source_{WET}/stac.json", "../../etc/stac.json", None])
    link(
        root,
        "S2",
        ["./sen12floods_s2_source_0140_2019_03_12/stac.json", "./sen12floods_s2_source_7_2019_01_01"],
    )
    table = reader.index(root)
    assert table["sensor"].tolist() == ["S1", "S2"]
    assert [row["sequence"] for row in table.attrs["rejected"]] == ["None", "etc", "7"]
    assert reasons(table)[-1] == "sen12floods_s2_source_7_2019_01_01/stac.json is missing"


def test_a_damaged_collection_ends_in_a_sentence(root):
    (place(root, "S1", "source") / "collection.json").write_text('{"links": [')
    with pytest.raises(
        DataError, match=r"/sen12floods_s1_source/collection.json is no whole .*: get it again"
    ):
        reader.index(root)


def test_links_that_are_no_list_count_as_none(root):
    (place(root, "S1", "source") / "collection.json").write_text('{"links": 7}')
    assert len(reader.index(root)) == 4


def test_images_without_any_label_end_in_a_sentence(root):
    for sensor in reader.SENSORS:
        shutil.rmtree(place(root, sensor, "labels"))
    with pytest.raises(
        DataError, match=r"without a single image that can be used \(.*labels.geojson is missing"
    ):
        reader.index(root)


def test_one_sensor_alone_is_read_and_the_other_asked_for_in_vain(root):
    shutil.rmtree(root / "sen12floods_s2_source")
    table = reader.index(root)
    assert set(table["sensor"]) == {"S1"}
    with pytest.raises(ParameterError, match="Sequence 0140 has no images of S2"):
        reader.open_layout(root, "0140", "S2")


def test_a_folder_with_neither_tree_or_both_is_refused(root, tmp_path):
    (tmp_path / "other").mkdir()
    expected = (
        "expected S1list.json beside S2list.json, or sen12floods_s1_source beside sen12floods_s1_labels"
    )
    with pytest.raises(
        DataError, match=f"other holds no SEN12-FLOOD: {expected}, found an empty folder: give"
    ):
        reader.index(tmp_path / "other")
    with pytest.raises(DataError, match="found no such folder"):
        reader.index(tmp_path / "none")
    with pytest.raises(DataError, match=r"found sen12floods_s1_source in .*: give that folder"):
        reader.index(root / "sen12floods_s1_labels")
    (root / "S1list.json").write_text("{}")
    with pytest.raises(
        DataError, match=r"both published trees, S1list.json and sen12floods_s1_source: move one"
    ):
        reader.check_layout(root, progress=False)
