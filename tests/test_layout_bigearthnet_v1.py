"""BigEarthNet, version 1: folders, JSON files and lists, real and damaged."""

from __future__ import annotations

import json
import os
import shutil
import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import rasterio
from bigearthnet_example import CORNER, V1, cut, pixels_of, write_images, write_json, write_tif, write_v1
from rasterio.warp import Resampling, reproject

from eolab.core.errors import DataError, ParameterError
from eolab.data import catalog, layouts
from eolab.data.layouts import bigearthnet_v1 as reader
from eolab.data.layouts.bigearthnet import BANDS, RADAR, file_of, place_of, read_patch
from eolab.data.layouts.bigearthnet_folders import find_lists, read_list, read_lists

NAMES = list(V1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A tree that no test changes."""
    return write_v1(tmp_path_factory.mktemp("v1"))


@pytest.fixture
def tree(tmp_path, whole):
    return shutil.copytree(whole, tmp_path / "v1")


def index(root):
    return reader.index(root, progress=False)


def reasons(root) -> dict[str, str]:
    return {row["file"]: row["reason"] for row in index(root).attrs["rejected"]}


# === The real files ===


@pytest.fixture(scope="module")
def examples(real_data):
    return real_data / "bigearthnet_v1_examples"


@pytest.fixture(scope="module")
def indexed(examples) -> pd.DataFrame:
    return index(examples)


@pytest.fixture(scope="module")
def lists(examples) -> dict[str, pd.DataFrame]:
    found, rejected = read_lists(examples)
    assert not rejected
    return found


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        ("train", 269_695),
        ("validation", 123_723),
        ("test", 125_866),
        ("snow", 61_707),
        ("cloud", 9_280),
        ("no_19_class", 57),
    ],
)
def test_official_lists_have_the_published_sizes(lists, kind, size):
    names = lists[kind]["s2"]
    assert len(names) == names.nunique() == size
    assert not names.str.contains(r"\s").any()


@pytest.mark.slow
def test_listed_names_cannot_be_parsed_for_dates(lists):
    names = pd.concat([lists[split]["s2"] for split in ("train", "validation", "test")])
    assert len(names) == 519_284
    time = names.str.extract(r"T(\d+)_")[0]
    assert (time.str.len() == 5).sum() == 51_410  # an hour of one digit
    assert (time.str[-2:].astype(int) > 59).sum() == 2_199  # such as T94161
    assert "S2B_MSIL2A_20180204T94161_57_38" in set(lists["snow"]["s2"])


@pytest.mark.slow
def test_snow_cloud_and_unlabelled_patches_stand_in_no_split(lists):
    split = set(pd.concat([lists[name]["s2"] for name in ("train", "validation", "test")]))
    left_out = {name for kind in ("snow", "cloud", "no_19_class") for name in lists[kind]["s2"]}
    assert not split & left_out
    assert len(left_out) == 590_326 - 519_284


@pytest.mark.slow
def test_real_patches_are_indexed_by_their_json_files(indexed):
    table = indexed
    assert table["id"].tolist() == [
        "S2A_MSIL2A_20170613T101031_87_48",
        "S2A_MSIL2A_20171221T112501_56_35",
        "S2B_MSIL2A_20180204T94161_57_38",
    ]
    assert table["projection"].tolist() == ["EPSG:32633", "EPSG:32629", "EPSG:32635"]
    dates = ["2017-06-13 10:10:31", "2017-12-21 11:25:01", "2018-02-04 09:41:56"]
    assert table["date"].astype(str).tolist() == dates
    assert table["split"].tolist() == ["test", "train", ""]
    assert table["snow"].tolist() == [False, False, True]
    assert not table["cloud"].any()
    assert table["labels"][2] == ("Non-irrigated arable land", "Coniferous forest", "Mixed forest")
    assert (table["x"][0], table["y"][0]) == (404_400, 5_342_400)
    assert table["s1"].str.contains("S1A_IW_GRDH_1SDV").all()
    missing = {row["file"]: row["reason"] for row in table.attrs["rejected"]}
    assert missing["lists/train.csv.bz2"].startswith(
        "names 269,694 patches without a folder (S2A_MSIL2A_2017"
    )
    assert len(missing) == 6


def test_real_patches_have_the_published_shapes_and_types(indexed):
    for row in indexed.itertuples():
        found = read_patch(row, resampling="native", with_radar=True)
        shapes = {name: values.shape for name, values in found.items()}
        assert shapes == {
            "image_10m": (120, 120, 4),
            "image_20m": (60, 60, 6),
            "image_60m": (20, 20, 2),
            "radar": (120, 120, 2),
        }
        assert {values.dtype.name for values in found.values()} == {"uint16", "float32"}
        assert found["radar"].dtype == np.float32
        vv, vh = found["radar"].mean((0, 1))
        assert -30 < vh < vv < 0  # dB
        crs, transform = place_of(row.s2)
        assert crs == row.projection
        assert transform.to_gdal() == (row.x, 10, 0, row.y, 0, -10)


@pytest.mark.parametrize("band", ["B05", "B09"])
@pytest.mark.parametrize("method", ["nearest", "bilinear", "cubic"])
def test_resampling_is_gdals(indexed, band, method):
    row = next(indexed.itertuples())
    found = read_patch(row, [band], method)["image"][..., 0].astype(float)
    with rasterio.open(file_of(row.s2, band)) as file:
        source, crs, transform = file.read(1).astype("float32"), file.crs, file.transform
    wanted = np.zeros((120, 120), "float32")
    reproject(
        source,
        wanted,
        src_transform=transform,
        src_crs=crs,
        dst_transform=place_of(row.s2)[1],
        dst_crs=crs,
        resampling=Resampling[method],
    )
    inner = slice(12, -12) if method == "cubic" else slice(None)  # GDAL weighs the edge otherwise
    np.testing.assert_allclose(found[inner, inner], wanted[inner, inner], atol=0.501)


def test_the_real_entry_of_the_catalogue_checks(examples, monkeypatch):
    monkeypatch.setenv("EOLAB_REAL_DATA", str(examples.parent))
    entry = catalog.load()["bigearthnet_v1_examples"].ensure()
    report = entry.check(progress=False)
    assert (report.ok, report.rejected) == (6, 6)  # patches of two satellites; lists without the rest
    opened = entry.open(with_radar=True)
    assert opened["image"].shape == (3, 120, 120, 12)
    assert opened["label"].sum("class").values.tolist() == [2, 4, 3]
    assert opened["radar"][1].mean().compute() < 0


# === The tree ===


def test_a_tree_is_indexed(whole):
    table = index(whole)
    assert table["id"].tolist() == NAMES
    assert table["labels"].tolist() == [tuple(labels) for _, labels in V1.values()]
    assert table["split"].tolist() == ["train", "validation", "test"]
    assert table["snow"].tolist() == [False, True, False]
    assert [folder.rpartition("/")[2] for folder in table["s1"]] == [s1 for s1, _ in V1.values()]
    assert table["date"].dtype.kind == "M"
    assert set(table["projection"]) == {"EPSG:32633"}
    assert table.attrs["rejected"] == []


def test_both_kinds_of_lists_give_the_same_index(tmp_path, whole):
    pd.testing.assert_series_equal(index(write_v1(tmp_path, columns=2))["split"], index(whole)["split"])
    assert read_list(tmp_path / "train.csv").loc[0].tolist() == [NAMES[0], V1[NAMES[0]][0]]


def test_two_columns_pair_the_satellites_without_the_json_files(tmp_path):
    write_v1(tmp_path, columns=2)
    for file in tmp_path.glob("BigEarthNet-S1-v1.0/*/*.json"):
        file.unlink()
    assert (index(tmp_path)["s1"] != "").all()


def test_lists_are_found_in_folders_packed_or_not(tree):
    (tree / "lists").mkdir()
    shutil.move(tree / "train.csv", tree / "lists" / "train.csv")
    names = {kind: file.relative_to(tree).as_posix() for kind, file in find_lists(tree).items()}
    assert names == {
        "train": "lists/train.csv",
        "validation": "val.csv",
        "test": "test.csv",
        "snow": "patches_with_seasonal_snow.csv",
    }
    assert index(tree)["split"].tolist() == ["train", "validation", "test"]


def test_the_folder_of_sentinel_2_alone_is_enough(whole):
    table = index(whole / "BigEarthNet-v1.0")
    assert len(table) == 3
    assert not (table["s1"] + table["split"]).any()
    assert not table["snow"].any()


def test_reading_in_threads_keeps_the_order(whole, tmp_path, monkeypatch):
    monkeypatch.setenv("EOLAB_CACHE", str(tmp_path))  # nothing is remembered
    assert index(whole)["id"].tolist() == NAMES


def test_the_index_is_remembered_until_a_file_changes(whole, tmp_path, monkeypatch):
    tree = tmp_path / "copy"
    shutil.copytree(whole, tree)
    old = time.time() - 3600
    for path in [tree, *tree.rglob("*")]:
        os.utime(path, (old, old))
    first = index(tree)
    with monkeypatch.context() as patch:
        patch.setattr(reader, "read_metadata", None)  # would be called
        again = index(tree)
    pd.testing.assert_frame_equal(again, first)
    assert again.attrs == first.attrs
    name = first["id"][0]
    next(tree.rglob(f"{name}_labels_metadata.json")).write_text("{")
    assert len(index(tree)) == len(first) - 1


# === Pixels ===


def test_pixels_are_those_written(whole):
    row = next(index(whole).itertuples())
    image = read_patch(row)["image"]
    assert image.shape == (120, 120, 12)
    assert image.dtype == np.uint16
    for number, band in enumerate(BANDS):
        pixels = pixels_of(row.id, band)
        factor = 120 // len(pixels)
        np.testing.assert_array_equal(image[::factor, ::factor, number], pixels)
        np.testing.assert_array_equal(image[factor - 1 :: factor, :, number], image[::factor, :, number])
    radar = read_patch(row, ["B8A"], with_radar=True)["radar"]
    assert radar.dtype == np.float32
    for number, name in enumerate(RADAR):
        np.testing.assert_array_equal(radar[..., number], pixels_of(V1[row.id][0], name))


def test_bands_come_in_the_order_asked_for(whole):
    row = next(index(whole).itertuples())
    image = read_patch(row, ["B08", "2"])["image"]
    np.testing.assert_array_equal(image[..., 0], pixels_of(row.id, "B08"))
    np.testing.assert_array_equal(image[..., 1], pixels_of(row.id, "B02"))
    native = read_patch(row, ["B09", "B05", "B04"], "native")
    assert {name: values.shape for name, values in native.items()} == {
        "image_10m": (120, 120, 1),
        "image_20m": (60, 60, 1),
        "image_60m": (20, 20, 1),
    }


@pytest.mark.parametrize("method", ["bilinear", "cubic"])
def test_resampling_keeps_a_flat_band_and_uint16(tmp_path, method):
    folder = tmp_path / NAMES[0]
    write_images(folder)
    flat = np.full((60, 60), 65_535, np.uint16)
    flat[0, 0] = 65_534  # a constant band is refused
    write_tif(folder / f"{folder.name}_B05.tif", flat)
    step = np.zeros((20, 20), np.uint16)
    step[:, 10:] = 60_000
    write_tif(folder / f"{folder.name}_B09.tif", step)
    image = read_patch(SimpleNamespace(s2=str(folder)), ["B05", "B09"], method)["image"]
    assert (image[8:, 8:, 0] == 65_535).all()
    row = image[60, :, 1].astype(int)
    assert (np.diff(row[58:62]) > 0).all()  # no jump down below zero that wraps around
    assert row[:54].max() == 0 or method == "cubic"
    assert (row[0], row[-1]) == (0, 60_000)


def test_opened_lazily_with_labels(whole):
    dataset = layouts.reader("bigearthnet_v1").open_layout(
        whole, splits=["validation", "test"], bands=["B03", "B11"]
    )
    assert dict(dataset.sizes) == {"sample": 2, "y": 120, "x": 120, "band": 2, "class": 43}
    assert dataset["image"].chunks is not None
    np.testing.assert_array_equal(dataset["image"][1, ..., 0], pixels_of(NAMES[2], "B03"))
    named = [dataset["class"].values[row.astype(bool)].tolist() for row in dataset["label"].values]
    assert [sorted(names) for names in named] == [sorted(V1[name][1]) for name in NAMES[1:]]
    assert dataset["id"].values.tolist() == NAMES[1:]
    assert json.loads(dataset.attrs["rejected"]) == []
    joined = layouts.reader("bigearthnet_v1").open_layout(whole, classes="19", with_radar=True)
    assert joined["label"].sum().item() == 4  # burnt areas are dropped
    assert joined["radar"].dtype == np.float32
    np.testing.assert_array_equal(joined["radar"][2, ..., 1], pixels_of(V1[NAMES[2]][0], "VH"))


def test_wrong_parameters_are_named(whole):
    row = next(index(whole).itertuples())
    with pytest.raises(ParameterError, match=r"BigEarthNet has no band B10"):
        read_patch(row, ["B10"])
    with pytest.raises(ParameterError, match=r"resampling is 'cubik': did you mean 'cubic'"):
        read_patch(row, resampling="cubik")
    with pytest.raises(ParameterError, match=r"each once"):
        read_patch(row, ["B02", "B2"])
    with pytest.raises(ParameterError, match=r"no patches of the split 'valid': did you mean 'validation'"):
        reader.open_layout(whole, splits="valid")
    with pytest.raises(ParameterError, match=r"one pixel size"):
        reader.open_layout(whole, resampling="native")
    with pytest.raises(DataError, match=r"has no reference map"):
        read_patch(row, with_reference=True)


# === Damage ===


def folder_of(tree, number: int = 0):
    return tree / "BigEarthNet-v1.0" / NAMES[number]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / f"{f.name}_B05.tif").unlink(), r"has no B05, expected .*_B05.tif"),
        (
            lambda f: (f / f"{f.name}_labels_metadata.json").unlink(),
            r"_labels_metadata.json is missing: fetch the patch again",
        ),
        (lambda f: write_json(f, labels=None), r"has no labels in its JSON file, found None"),
        (lambda f: write_json(f, labels=[]), r"has no labels in its JSON file, found \[\]"),
        (
            lambda f: write_json(f, labels=["Peatbog"]),
            r"'Peatbog' is no class name of BigEarthNet: did you mean",
        ),
        (lambda f: write_json(f, labels=["Pastures", 7.5]), r"7.5 is no class name"),
        (lambda f: (f / f"{f.name}_labels_metadata.json").write_text("{"), r"is no whole JSON file"),
        (
            lambda f: (f / f"{f.name}_labels_metadata.json").write_text("[]"),
            r"holds no block of names and values",
        ),
    ],
)
def test_a_patch_that_cannot_be_used_is_named_and_the_rest_goes_on(tree, damage, words):
    damage(folder_of(tree))
    table = index(tree)
    assert table["id"].tolist() == NAMES[1:]
    (rejected,) = [one for one in table.attrs["rejected"] if one["file"] == f"BigEarthNet-v1.0/{NAMES[0]}"]
    assert pd.Series([rejected["reason"]]).str.contains(words).all()
    assert str(tree) not in rejected["reason"]


def test_dates_and_places_may_be_missing(tree):
    write_json(folder_of(tree, 0), acquisition_date=None, coordinates=None, projection=None)
    write_json(
        folder_of(tree, 1),
        acquisition_date="yesterday",
        projection="no WKT",
        coordinates={"ulx": float("inf"), "uly": "a"},
    )
    write_json(folder_of(tree, 2), acquisition_date=None, acquisition_time="2017-06-13T10:10:31")
    table = index(tree)
    assert table["date"].isna().tolist() == [True, True, False]
    assert table["projection"].tolist() == ["", "", "EPSG:32633"]
    assert table["x"].isna().tolist() == [True, True, False]
    assert table["x"][2] == CORNER[0]


@pytest.mark.parametrize(
    ("said", "date"),
    [
        ("2017-06-13T12:10:31+02:00", "2017-06-13 10:10:31"),
        ("9999-12-31 23:59:59", None),
        ("0001-01-01T00:00:00+05:00", None),
    ],
)
def test_a_date_of_another_zone_or_age_stops_no_index(tree, said, date):
    write_json(folder_of(tree), acquisition_date=said)
    found = index(tree)["date"][0]
    assert pd.isna(found) if date is None else found == pd.Timestamp(date)


def test_list_entries_without_a_folder_are_named(tree):
    more = "".join(f"S2A_MSIL2A_20170613T101031_0_{number}\r\n" for number in range(21))
    with (tree / "train.csv").open("ab") as file:
        file.write(more[: more.index("_2\r\n") + 4].encode())
    found = reasons(tree)
    assert len(found) == 3
    assert found["S2A_MSIL2A_20170613T101031_0_2"].startswith("is named in train.csv but has no folder")
    (tree / "test.csv").write_bytes(more.encode())
    assert reasons(tree)["test.csv"].startswith(
        "names 21 patches without a folder (S2A_MSIL2A_20170613T101031_"
    )
    assert len(index(tree)) == 3


def test_lists_that_disagree_or_are_damaged_are_named(tree):
    (tree / "val.csv").write_bytes((tree / "train.csv").read_bytes())
    (tree / "test.csv").unlink()
    (tree / "test.csv.bz2").write_bytes(b"BZh91 no bzip2")
    (tree / "patches_with_seasonal_snow.csv").write_text("<html>\nnot found\n</html>")
    table = index(tree)
    assert table["split"].tolist() == ["", "", ""]
    found = reasons(tree)
    assert found[NAMES[0]] == "stands in the lists of train and validation: it gets no split"
    assert found["test.csv.bz2"].startswith("cannot be read (")
    assert found["patches_with_seasonal_snow.csv"].startswith("names no Sentinel-2 patch")


def test_a_header_is_passed_over_and_a_list_may_be_empty(tree):
    (tree / "patches_with_cloud_and_shadow.csv").write_text("")
    (tree / "train.csv").write_text(f"s2_name,s1_name\n{NAMES[0]},{V1[NAMES[0]][0]}\n")
    assert index(tree)["split"][0] == "train"
    assert not reasons(tree)


def test_sentinel_1_that_is_not_whole_or_has_no_partner_is_named(tree):
    radar = tree / "BigEarthNet-S1-v1.0"
    first, second, third = (radar / s1 for s1, _ in V1.values())
    (first / f"{first.name}_VH.tif").unlink()
    write_json(second, corresponding_s2_patch="S2A_MSIL2A_20170613T101031_1_1")
    write_json(third)
    table = index(tree)
    assert not table["s1"].any()
    found = reasons(tree)
    assert found[f"BigEarthNet-S1-v1.0/{first.name}"].startswith("has no VH, expected ")
    assert "belongs to S2A_MSIL2A_20170613T101031_1_1, which has no folder" in found.pop(
        f"BigEarthNet-S1-v1.0/{second.name}"
    )
    assert found[f"BigEarthNet-S1-v1.0/{third.name}"] == "names no corresponding_s2_patch"
    with pytest.raises(DataError, match="has no Sentinel-1 patch in the index"):
        read_patch(next(table.itertuples()), with_radar=True)
    write_json(second, corresponding_s2_patch=NAMES[0])
    write_json(third, corresponding_s2_patch=NAMES[0])
    assert f"belongs to {NAMES[0]}, as {second.name} does, which is taken" in reasons(tree).values()


def test_a_second_folder_of_a_patch_is_named(tree):
    shutil.copytree(folder_of(tree), tree / "more" / NAMES[0])
    assert len(index(tree)) == 3
    assert (
        reasons(tree)[f"more/{NAMES[0]}"]
        == f"is a second folder of BigEarthNet-v1.0/{NAMES[0]}, which is taken"
    )


def test_check_reads_every_file_and_goes_on(tree):
    cut(folder_of(tree) / f"{NAMES[0]}_B03.tif")
    write_tif(folder_of(tree, 1) / f"{NAMES[1]}_B05.tif", np.ones((120, 120), np.uint16))
    (folder_of(tree, 2) / f"{NAMES[2]}_B12.tif").unlink()
    radar = tree / "BigEarthNet-S1-v1.0" / V1[NAMES[0]][0]
    write_tif(radar / f"{radar.name}_VV.tif", np.ones((120, 120), np.int32))
    other = tree / "BigEarthNet-S1-v1.0" / V1[NAMES[1]][0]
    write_tif(other / f"{other.name}_VH.tif", np.full((120, 120), np.nan, np.float32))
    table = layouts.reader("bigearthnet_v1").check_layout(tree, progress=False).set_index("file")
    found = table[table["status"] == "rejected"]["reason"]
    assert found.str.contains(r"\n|Traceback").sum() == 0
    first = found[f"BigEarthNet-v1.0/{NAMES[0]}"]
    assert first.startswith(f"{NAMES[0]}_B03.tif of ")
    assert "is damaged (tifffile: " in first
    assert (
        f"{NAMES[1]}_B05.tif holds uint16 of shape (120, 120), expected uint16 of (60, 60)"
        in found[f"BigEarthNet-v1.0/{NAMES[1]}"]
    )
    assert found[f"BigEarthNet-v1.0/{NAMES[2]}"].startswith("has no B12")
    assert "VV.tif holds int32" in found[f"BigEarthNet-S1-v1.0/{radar.name}"]
    assert "VH.tif is NaN in every pixel (no data)" in found[f"BigEarthNet-S1-v1.0/{other.name}"]
    assert (table["status"] == "ok").sum() == 0
    assert len(found) == 5  # the Sentinel-1 patch of a patch that is left out is left out with it


@pytest.mark.parametrize("band", ["B01", "B02", "B05"])
def test_a_truncated_file_of_any_band_is_never_half_read(tree, band):
    file = folder_of(tree) / f"{NAMES[0]}_{band}.tif"
    content = file.read_bytes()
    for share in (0.02, 0.5, 0.99):
        file.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(DataError, match=f"{band}.tif of .* bytes is damaged"):
            read_patch(SimpleNamespace(s2=str(folder_of(tree))), [band])


def test_compressed_files_are_read_too(tree):
    file = folder_of(tree) / f"{NAMES[0]}_B02.tif"
    for options in ({"compress": "deflate", "predictor": 2}, {"compress": "lzw"}, {"tiled": True}):
        write_tif(file, pixels_of(NAMES[0], "B02"), **options)
        image = read_patch(SimpleNamespace(s2=str(folder_of(tree))), ["B02"])["image"]
        np.testing.assert_array_equal(image[..., 0], pixels_of(NAMES[0], "B02"))


def test_a_folder_without_patches_says_what_is_expected(tmp_path, tree):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(
        DataError,
        match=r"expected BigEarthNet-v1.0/S2A_MSIL2A_…_87_48, found an empty folder: give the folder",
    ):
        index(empty)
    with pytest.raises(DataError, match=r"cannot be read \(No such file"):
        index(tmp_path / "none")
    for name in NAMES:
        shutil.rmtree(tree / "BigEarthNet-v1.0" / name)
        (tree / "BigEarthNet-v1.0" / name).mkdir()
    with pytest.raises(DataError, match=r"no patch of BigEarthNet that can be used; "):
        index(tree)


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        (
            {"scales": [1e-4], "offsets": [-0.1]},
            r"states the scale 0.0001 and the offset -0.1, expected none",
        ),
        ({"nodata": int(pixels_of(NAMES[0], "B02")[0, 0])}, r"has no data in \d+ of its pixels"),
    ],
)
def test_a_band_whose_numbers_mean_something_else_is_refused(tree, tags, said):
    """An offset of the newer baselines made reflectance 0.1 too bright."""
    with rasterio.open(folder_of(tree) / f"{NAMES[0]}_B02.tif", "r+") as file:
        for name, value in tags.items():
            setattr(file, name, value)
    with pytest.raises(DataError, match=f"B02.tif {said}: fetch it again"):
        read_patch(SimpleNamespace(s2=str(folder_of(tree))), ["B02"])


def test_a_json_file_that_repeats_a_key_costs_its_patch_alone(tree):
    file = folder_of(tree) / f"{NAMES[0]}_labels_metadata.json"
    file.write_text(file.read_text().replace("{", '{"labels": ["Sea and ocean"], ', 1))
    assert index(tree)["id"].tolist() == NAMES[1:]


def test_a_latin_1_name_and_a_latin_1_label_stop_no_index(tree):
    odd = os.fsencode(tree / "BigEarthNet-v1.0" / "S2A_MSIL2A_") + b"K\xf6ln"
    os.mkdir(odd)
    (folder_of(tree) / f"{NAMES[0]}_labels_metadata.json").write_bytes(b'{"labels": ["F\xf6hrde"]}')
    table = reader.check_layout(tree, progress=False)
    assert table["status"].value_counts()["ok"] == 4
    table.to_csv(tree / "check.csv")  # was a UnicodeEncodeError


def test_a_tree_of_version_2_is_named_as_such_and_nothing_is_to_be_removed(tmp_path):
    """Its reference maps were called second folders of its products, with the advice to remove one."""
    product = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP"
    for tree in ("BigEarthNet-S2", "Reference_Maps"):
        (tmp_path / tree / product / f"{product}_26_57").mkdir(parents=True)
    with pytest.raises(DataError, match="open version 2 with the layout bigearthnet_v2") as caught:
        index(tmp_path)
    assert "remove" not in str(caught.value)


def test_half_a_character_in_a_json_file_stops_no_index(tree):
    write_json(folder_of(tree), tile_source="S2A_\udcf6", projection="\udcf6")
    assert index(tree)["tile"][0] == "S2A_?"
