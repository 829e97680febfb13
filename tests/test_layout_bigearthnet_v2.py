"""BigEarthNet, version 2: tables, trees and maps, real and damaged; lists of version 1 laid on it."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bigearthnet_example import PASS, TILE, cut, map_of, pixels_of, rows_v2, write_tables, write_tif, write_v2

from eolab.core.errors import DataError
from eolab.data import layouts
from eolab.data.layouts import bigearthnet_v2 as reader
from eolab.data.layouts.bigearthnet import file_of, place_of, read_patch, read_radar, read_reference
from eolab.data.layouts.bigearthnet_folders import check_splits, read_lists
from eolab.data.schemes.bigearthnet import CLASSES_19, class_set, indices

IDS = rows_v2()["patch_id"].tolist()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A tree that no test changes."""
    return write_v2(tmp_path_factory.mktemp("v2"))


@pytest.fixture
def tree(tmp_path, whole):
    return shutil.copytree(whole, tmp_path / "v2")


def index(root):
    return reader.index(root, progress=False)


def reasons(root) -> dict[str, str]:
    return {row["file"]: row["reason"] for row in index(root).attrs["rejected"]}


# === The real metadata ===


@pytest.fixture(scope="module")
def table(real_data) -> pd.DataFrame:
    return reader.metadata(real_data / "bigearthnet_v2_metadata")


@pytest.fixture(scope="module")
def recommended(table) -> pd.DataFrame:
    return table[table["table"] == "metadata.parquet"]


@pytest.fixture(scope="module")
def marked(table) -> pd.DataFrame:
    return table[table["table"] != "metadata.parquet"]


@pytest.fixture(scope="module")
def old_splits(real_data) -> dict[str, list[str]]:
    lists, _ = read_lists(real_data / "bigearthnet_v1_examples")
    return {split: lists[split]["s2"].tolist() for split in ("train", "validation", "test")}


def test_both_tables_have_the_published_numbers_of_patches(table, recommended, marked):
    assert (len(table), len(recommended), len(marked)) == (549_488, 480_038, 69_450)
    assert table["id"].is_unique
    assert table["v1"].is_unique


def test_splits_have_the_published_sizes(recommended, marked):
    sizes = {"train": 237_871, "validation": 122_342, "test": 119_825}
    assert recommended["split"].value_counts().to_dict() == sizes
    sizes = {"train": 34_673, "validation": 17_235, "test": 17_542}
    assert marked["split"].value_counts().to_dict() == sizes


def test_snow_and_cloud_stand_in_the_second_table_alone(recommended, marked):
    assert not (recommended["snow"] | recommended["cloud"]).any()
    assert marked["snow"].sum() == 60_773
    assert (marked["cloud"] & ~marked["snow"]).sum() == 8_677
    assert (marked["snow"] | marked["cloud"]).all()


def test_a_patch_has_1_to_11_labels_of_the_19_classes(recommended):
    numbers = recommended["labels"].str.len()
    assert (numbers.min(), numbers.max()) == (1, 11)
    assert round(numbers.mean(), 2) == 2.95
    assert {label for labels in recommended["labels"] for label in labels} == set(CLASSES_19.names)


def test_every_real_label_is_encoded(recommended):
    part = recommended.iloc[::50]
    encoded = class_set("19").encode_all(part["labels"])
    assert encoded.sum(axis=1).tolist() == part["labels"].str.len().tolist()


def test_ids_are_padded_and_the_other_names_are_not(table):
    ends = pd.Series(table["id"].str[-6:].unique())
    assert ends.str.fullmatch(r"_\d\d_\d\d").all()
    places = table["id"].iloc[::20].str.extract(r"_(\d+)_(\d+)$").astype(int)
    for column in ("s1_name", "v1"):
        own = table[column].iloc[::20].str.extract(r"_(\d+)_(\d+)$")
        assert (own[0].str.len() == 1).any()
        assert not (own[0].str.startswith("0") & (own[0] != "0")).any()
        assert (own[0].astype(int) == places[0]).all()
        assert (own[1].astype(int) == places[1]).all()
    some = table.iloc[::1000]
    ends = some["s1_name"].map(reader.padded).str[-5:]
    assert (ends == some["id"].str[-5:]).all()


def test_names_of_version_1_cannot_be_parsed_for_dates_here_either(table):
    assert table["id"].str.contains("_N9999_").all()
    assert table["v1"].str.contains(r"T\d{5}_").any()


@pytest.mark.slow
def test_split_lists_of_version_1_are_scattered_over_version_2(table, old_splits):
    words = (
        "of 248,674 listed as train it has 125,699 train, 62,089 validation, 60,886 test; .*"
        "Take the split of the metadata"
    )
    with pytest.warns(UserWarning, match=words):
        found = check_splits(old_splits, table)
    assert found.loc["train"].tolist() == [125_699, 62_089, 60_886, 269_695 - 248_674]
    assert found.sum(axis=1).tolist() == [269_695, 123_723, 125_866]


@pytest.mark.slow
def test_its_own_splits_give_no_warning(table):
    own = {str(split): part["id"] for split, part in table.groupby("split")}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = check_splits(own, table)
    assert np.array_equal(np.diag(found.loc[["train", "validation", "test"]]), [272_544, 139_577, 137_367])
    assert found["absent"].sum() == 0


@pytest.mark.slow
def test_metadata_alone_has_no_patches(real_data):
    with pytest.raises(DataError, match=r"holds no patch in BigEarthNet-S2: expected BigEarthNet-S2/S2A_"):
        index(real_data / "bigearthnet_v2_metadata")


# === The tree ===


def test_a_tree_is_indexed(whole):
    found = index(whole)
    assert found["id"].tolist() == IDS
    assert found["split"].tolist() == ["train", "validation", "test"]
    assert found["country"].tolist() == ["Austria", "Austria", "Finland"]
    assert found["labels"][0] == ("Arable land", "Inland waters")
    assert found["date"].isna().all()
    assert found["snow"].tolist() == [False, False, True]
    assert set(found["projection"]) == {"EPSG:32633"}
    assert set(found["tile"]) == {TILE}
    assert found["v1"][0] == "S2A_MSIL2A_20170613T101031_4_55"
    assert found["s1"].str.endswith("_33UUP_4_55").tolist() == [True, False, False]
    assert found["reference"].str.endswith("_reference_map.tif").all()
    assert found.attrs["rejected"] == []


def test_both_versions_have_the_same_columns(whole, tmp_path):
    from bigearthnet_example import write_v1

    from eolab.data.layouts import bigearthnet_v1

    old, new = bigearthnet_v1.index(write_v1(tmp_path), progress=False), index(whole)
    assert old.dtypes.to_dict() == new.dtypes.to_dict()


def test_pixels_and_maps_are_those_written(whole):
    for row in index(whole).itertuples():
        found = read_patch(row, with_radar=True, with_reference=True)
        np.testing.assert_array_equal(found["image"][..., 3], pixels_of(row.id, "B04"))
        assert found["radar"].dtype == np.float32
        name = row.s1.rpartition("/")[2]
        np.testing.assert_array_equal(found["radar"][..., 0], pixels_of(name, "VV"))
        assert found["reference"].dtype == np.uint16
        np.testing.assert_array_equal(found["reference"], map_of(row.id))
        classes = indices(found["reference"], "19")
        assert set(np.unique(classes)) == {2, 9, 255}  # arable, conifers; 122 and 999 are unknown
        assert place_of(row.s2)[0] == "EPSG:32633"


def test_padded_folders_of_sentinel_1_are_found_too(tree):
    radar = tree / "BigEarthNet-S1" / PASS
    name = f"{PASS}_33UUP_4_55"
    shutil.move(radar / name, radar / reader.padded(name))
    for file in (radar / reader.padded(name)).iterdir():
        file.rename(file.with_name(file.name.replace(name, reader.padded(name))))
    assert index(tree)["s1"][0].endswith("_33UUP_04_55")
    assert not reasons(tree)


def test_sentinel_2_alone_is_enough(tree):
    shutil.rmtree(tree / "BigEarthNet-S1")
    shutil.rmtree(tree / "Reference_Maps")
    (tree / "metadata_for_patches_with_snow_cloud_or_shadow.parquet").unlink()
    shutil.rmtree(tree / "BigEarthNet-S2" / TILE / IDS[2])
    found = index(tree)
    assert len(found) == 2
    assert not (found["s1"] + found["reference"]).any()
    assert not found.attrs["rejected"]


def test_opened_lazily_with_the_19_classes(whole):
    dataset = layouts.reader("bigearthnet_v2").open_layout(whole, with_radar=True)
    assert dict(dataset.sizes) == {
        "sample": 3,
        "y": 120,
        "x": 120,
        "band": 12,
        "class": 19,
        "polarisation": 2,
    }
    assert dataset["class"].values.tolist() == list(CLASSES_19.names)
    assert dataset["label"].values.sum(axis=1).tolist() == [2, 1, 1]
    np.testing.assert_array_equal(dataset["image"][2, ..., 7], pixels_of(IDS[2], "B08"))


# === Damage ===


def test_what_cannot_be_used_is_named_and_the_rest_goes_on(tree):
    folder = tree / "BigEarthNet-S2" / TILE / IDS[0]
    (folder / f"{IDS[0]}_B8A.tif").unlink()
    shutil.rmtree(tree / "BigEarthNet-S2" / TILE / IDS[2])
    (tree / "BigEarthNet-S2" / TILE / f"{TILE}_90_90").mkdir()
    found = index(tree)
    assert found["id"].tolist() == [IDS[1]]
    named = reasons(tree)
    assert named[f"BigEarthNet-S2/{TILE}/{IDS[0]}"].startswith(f"has no B8A, expected {IDS[0]}_B8A.tif")
    assert named[IDS[2]].startswith(
        "is named in metadata_for_patches_with_snow_cloud_or_shadow.parquet but has"
    )
    assert named[f"BigEarthNet-S2/{TILE}/{TILE}_90_90"].startswith("is in no table of the metadata")
    assert len(named) == 3


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        (
            "labels",
            ["Arable lands"],
            "'Arable lands' is no class name of BigEarthNet: did you mean 'Arable land'",
        ),
        ("labels", [], "has no labels in the metadata"),
        ("labels", None, "has no labels in the metadata"),
        ("split", "val", "has the split 'val' in the metadata, expected train, validation, test"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(tree, column, value, words):
    rows = rows_v2()
    rows[column] = [value, *rows[column][1:]]
    write_tables(tree, rows)
    assert index(tree)["id"].tolist() == IDS[1:]
    assert words in reasons(tree)[f"BigEarthNet-S2/{TILE}/{IDS[0]}"]


def test_a_row_that_stands_twice_is_named(tree):
    rows = rows_v2()
    write_tables(tree, pd.concat([rows, rows.iloc[:1]]))
    assert index(tree)["id"].tolist() == IDS
    assert reasons(tree) == {IDS[0]: "stands twice in the tables of the metadata: the first row is taken"}


def test_sentinel_1_and_maps_that_lack_are_named(tree):
    rows = rows_v2()
    folders = [tree / "BigEarthNet-S1" / PASS / name for name in rows["s1_name"]]
    (folders[0] / f"{folders[0].name}_VV.tif").unlink()
    shutil.rmtree(folders[1])
    reference = tree / "Reference_Maps" / TILE / IDS[2] / f"{IDS[2]}_reference_map.tif"
    reference.unlink()
    found = index(tree)
    assert (found["s1"] != "").tolist() == [False, False, True]
    assert (found["reference"] != "").tolist() == [True, True, False]
    named = reasons(tree)
    assert named[f"BigEarthNet-S1/{PASS}/{folders[0].name}"].startswith("has no VV, expected")
    assert named[folders[1].name].startswith(f"is the Sentinel-1 patch of {IDS[1]} but has no folder")
    assert named[reference.relative_to(tree).as_posix()].startswith("is missing")


def test_a_reference_map_of_other_codes_is_refused(tree):
    """Regression: a map of CORINE's grid codes was read as one without any class."""
    row = next(index(tree).itertuples())
    write_tif(Path(row.reference), np.full((120, 120), 12, np.uint16))
    with pytest.raises(
        DataError, match=r"_reference_map.tif holds codes outside .* 100.00% .*\(12\), expected"
    ):
        read_reference(row)


def test_check_reads_every_file_and_goes_on(tree):
    row = next(index(tree).itertuples())
    cut(tree / "BigEarthNet-S2" / TILE / IDS[0] / f"{IDS[0]}_B09.tif")
    write_tif(
        tree / "Reference_Maps" / TILE / IDS[1] / f"{IDS[1]}_reference_map.tif", np.ones((120, 120), "u1")
    )
    name = row.s1.rpartition("/")[2]
    Path(file_of(row.s1, "VH")).write_bytes(b"<html>not found</html>")
    table = layouts.reader("bigearthnet_v2").check_layout(tree, progress=False)
    assert len(table) == 9
    bad = table[table["status"] == "rejected"].set_index("file")["reason"]
    assert len(bad) == 3
    assert f"{IDS[0]}_B09.tif of " in bad[f"BigEarthNet-S2/{TILE}/{IDS[0]}"]
    assert f"{name}_VH.tif of 22 bytes is damaged" in bad[f"BigEarthNet-S1/{PASS}/{name}"]
    (wrong,) = bad[bad.index.str.startswith("Reference_Maps")]
    assert wrong.startswith("holds uint8 of shape (120, 120), expected uint16")


def test_lists_of_version_1_in_the_folder_are_warned_of_and_not_used(tree):
    names = rows_v2()["s2v1_name"]
    (tree / "train.csv").write_text("\r\n".join(names) + "\r\n")
    with pytest.warns(UserWarning, match=r"of 3 listed as train it has 1 train, 1 validation, 1 test"):
        found = index(tree)
    assert found["split"].tolist() == ["train", "validation", "test"]


def test_tables_that_cannot_be_read_say_so(tmp_path, tree):
    with pytest.raises(DataError, match=rf"holds no metadata.parquet: .*found metadata.parquet in {tree}"):
        index(tmp_path)
    rows = rows_v2().drop(columns="s1_name")
    rows.to_parquet(tree / "metadata.parquet")
    with pytest.raises(DataError, match=r"metadata.parquet has no column s1_name, it has patch_id, labels"):
        index(tree)
    (tree / "metadata.parquet").write_bytes(b"PAR1 cut")
    with pytest.raises(DataError, match=r"metadata.parquet cannot be read as parquet \("):
        index(tree)


def test_labels_or_flags_that_are_text_are_refused_or_read_by_their_word(tree):
    """Letters were taken for labels, and of the text "False" Python made True: every patch was under snow."""
    rows = rows_v2()
    write_tables(tree, rows.assign(contains_seasonal_snow=[False] * 3))
    said = ["False", "False", "True"]
    rows.assign(contains_seasonal_snow=said).to_parquet(tree / "metadata.parquet")
    (tree / "metadata_for_patches_with_snow_cloud_or_shadow.parquet").unlink()
    assert index(tree)["snow"].tolist() == [False, False, True]
    rows.assign(contains_seasonal_snow="no").to_parquet(tree / "metadata.parquet")
    with pytest.raises(
        DataError, match=r"metadata.parquet has 'no' in contains_seasonal_snow, expected True"
    ):
        index(tree)
    rows.assign(labels='["Pastures"]').to_parquet(tree / "metadata.parquet")
    with pytest.raises(DataError, match=r"metadata.parquet holds labels as text, expected a list"):
        index(tree)


def test_where_no_patch_can_be_used_the_reason_of_most_is_given(tree):
    rows = rows_v2()
    rows["labels"] = [[], ["Pasture"], ["Pasturess"]]
    write_tables(tree, rows)
    with pytest.raises(DataError, match=r"can be used; for example .* 'Pasture' is no class name"):
        index(tree)


def test_a_row_without_a_name_of_its_radar_costs_the_radar_alone(tmp_path):
    """Regression: an empty s1_name ended in an AttributeError, no usable row in a KeyError."""
    root, table = write_v2(tmp_path), rows_v2()
    write_tables(root, table.assign(s1_name=[None, *table["s1_name"][1:]]))
    found = reader.index(root, progress=False)
    assert found["s1"].eq("").tolist() == [True, False, False]
    assert {row["reason"] for row in found.attrs["rejected"] if row["file"] == found["id"][0]} == {
        "has no s1_name in the metadata, its Sentinel-1 patch"
    }
    write_tables(root, table.assign(patch_id=[1, 2, 3]))
    with pytest.raises(DataError, match="holds no patch of BigEarthNet that can be used; for example"):
        reader.index(root, progress=False)


def test_radar_that_is_not_in_decibels_is_refused(tmp_path):
    row = reader.index(write_v2(tmp_path), progress=False).loc[0]
    write_tif(Path(file_of(row.s1, "VV")), np.linspace(0.001, 2, 14400, dtype=np.float32).reshape(120, 120))
    with pytest.raises(DataError, match=r"VV.tif holds values of 0\.001 to 2, expected decibels"):
        read_radar(row)


def test_patches_share_the_names_of_their_classes(recommended):
    """A copy of each name for each patch took 1.3 kB of it, 0.7 GB of all."""
    names = [name for labels in recommended["labels"].head(2000) for name in labels]
    assert len({id(name) for name in names}) == len(set(names)) <= 19
