"""Patches of one's own: a folder a class, a table of labels, a mask of each, files of single bands."""

from __future__ import annotations

import shutil

import numpy as np
import own_example
import pytest
from own_example import image, numbers

from eolab.core.errors import DataError
from eolab.data import store
from eolab.data.layouts import patches
from eolab.studies import scenes
from eolab.studies.opening import open_as_its_study

SCALED = "  pixels: {scale: 0.0001, offset: 0}\n"
CLASSES = "  images: {files: '{class}/*.tif'}\n"


def indexed(entry):
    return patches.index(entry.path, entry.images, entry.pixels, entry.labels, progress=False)


@pytest.fixture
def folders(tmp_path):
    """Two classes of nine patches, at two places 30 km apart."""
    for number in range(18):
        name = ("Forest", "River")[number % 2]
        x, y = own_example.CORNER[0] + 30_000 * (number > 8) + 80 * number, own_example.CORNER[1]
        array = numbers(4, 8, 8, seed=number)
        image(tmp_path / f"{name}/{name}_{number}.tif", array, place=(x, y))
    return tmp_path


def test_a_folder_a_class_becomes_the_store_of_the_study(folders):
    entry = own_example.entry(folders, SCALED + CLASSES)
    found = scenes.explore.index(entry, progress=False)
    assert found.attrs["classes"] == "Forest; River"
    facts, classes = found.attrs["image"], found.attrs["classes"]
    table = scenes.sample_table(found, entry.path, classes, entry.check(progress=False).files)
    table = table.assign(split=scenes.samples.split_column(table, "random"))
    arrays = scenes.store_arrays(classes, image=facts)
    produce = scenes.sample_producer(entry.path, classes=classes, image=facts)
    metadata = scenes.store_metadata(entry, "nearest", classes, image=facts)
    samples = store.write_store(
        folders / "store",
        table,
        arrays,
        "part",
        produce=produce,
        fingerprint={},
        metadata=metadata,
        progress=False,
    )
    assert samples.arrays["image"].shape == (18, 8, 8, 4)
    row = int(np.flatnonzero(samples.table["patch"] == "Forest/Forest_2")[0])
    expected = np.moveaxis(numbers(4, 8, 8, seed=2), 0, -1) * 1e-4
    np.testing.assert_allclose(samples.arrays["image"][row], expected, rtol=1e-5)
    assert samples.arrays["label"][row].tolist() == [1, 0]
    assert scenes.samples.leave_out_damaged(samples, entry.path, facts).empty
    near = scenes.samples.neighbours(found, table.set_index("patch")["split"])
    assert near["in_tile"] == 1.0
    assert 0 < near["touching"] <= 1
    frequent = scenes.explore.frequencies(found, scenes.explore.own_classes(entry, found))
    assert frequent["patches"].tolist() == [9, 9]
    examples, pictures = scenes.explore.examples(found, scenes.explore.own_classes(entry, found), 2)
    assert pictures["colour"].shape == (2, 8, 8, 3)
    assert set(examples["labels"]) == {("Forest",), ("River",)}


def test_patches_are_grouped_by_the_ground_that_they_show(folders):
    found = indexed(own_example.entry(folders, SCALED + CLASSES))
    assert found["group"].nunique() == 2
    assert found["crs"].unique().tolist() == ["EPSG:32633"]


def test_a_damaged_patch_is_left_out_while_the_store_is_written(folders):
    (folders / "Forest/Forest_2.tif").write_bytes((folders / "Forest/Forest_2.tif").read_bytes()[:700])
    entry = own_example.entry(folders, SCALED + CLASSES)
    report = entry.check(progress=False).files
    assert report.loc[report["status"] == "rejected", "file"].tolist() == ["Forest/Forest_2.tif"]
    open_as_its_study(entry)


def test_a_table_of_labels_names_files_and_what_has_none_is_listed(tmp_path):
    for name in ("a7", "b8", "c9"):
        image(tmp_path / f"patches/{name}.tif", numbers(4, 8, 8))
    image(tmp_path / "patches/small.tif", numbers(4, 8, 6))
    image(tmp_path / "patches/three.tif", numbers(3, 8, 8), names=("B02", "B03", "B04"))
    rows = "file;label;split\na7.tif;wood, field;train\nb8.tif;wood;test\nz1.tif;wood;train\n".replace(
        ", ", "|"
    )
    (tmp_path / "labels.csv").write_text(rows.replace(";", ",").replace("|", "; "))
    text = "  images: {files: 'patches/{sample}.tif'}\n  labels: {cover: {file: labels.csv, column: label}}\n"
    found = indexed(own_example.entry(tmp_path, SCALED + text))
    assert found["id"].tolist() == ["a7", "b8"]
    assert found["labels"].tolist() == [("wood", "field"), ("wood",)]
    assert found["split"].tolist() == ["train", "test"]
    assert {one["file"]: one["reason"] for one in found.attrs["rejected"]} == {
        "patches/three.tif": "has the bands B02 B03 B04, most have B02 B03 B04 B08",
        "patches/small.tif": "has the pixels 8 6, most have 8 8",
        "labels.csv: z1.tif": "is the row of an image that is not there",
        "patches/c9.tif": "has no label in labels.csv",
    }


def test_labels_that_the_entry_does_not_name_are_listed(folders):
    entry = own_example.entry(folders, SCALED + CLASSES + "  classes: [{name: Forest}, {name: Town}]\n")
    found = scenes.explore.index(entry, progress=False)
    assert found["labels"].unique().tolist() == [("Forest",)]
    assert found.attrs["classes"] == "Forest; Town"
    assert found.attrs["rejected"][0]["reason"] == "has the label River, which the entry does not name"


def test_masks_are_paired_by_name_and_what_is_alone_is_listed(tmp_path):
    for name in ("a", "b"):
        image(tmp_path / f"images/img_{name}.tif", numbers(4, 8, 8))
    for name in ("b", "c"):
        image(tmp_path / f"masks/mask_{name}.tif", np.eye(8, dtype="uint8"))
    text = (
        "  images: {files: 'images/img_{sample}.tif'}\n  labels: {mask: {file: 'masks/mask_{sample}.tif'}}\n"
    )
    found = indexed(own_example.entry(tmp_path, SCALED + text))
    assert found[["id", "mask"]].values.tolist() == [["b", "masks/mask_b.tif"]]
    assert {one["file"]: one["reason"] for one in found.attrs["rejected"]} == {
        "images/img_a.tif": "has no mask of its name",
        "masks/mask_c.tif": "is a mask without an image of its name",
    }
    mask = patches.read_mask(tmp_path / "masks/mask_b.tif", (8, 8))
    assert mask.trace() == 8
    with pytest.raises(DataError, match=r"expected one of \(4, 4\)"):
        patches.read_mask(tmp_path / "masks/mask_b.tif", (4, 4))


def test_a_pattern_that_fits_no_file_says_what_lies_there(folders):
    with pytest.raises(DataError, match=r"holds no image named as {class}/\*\.png"):
        indexed(own_example.entry(folders, SCALED + "  images: {files: '{class}/*.png'}\n"))


def test_real_patches_of_a_file_a_band_are_read_with_a_table_of_labels(tmp_path, real_data):
    """Three patches of BigEarthNet as if they were one's own: bands of 10, 20 and 60 m, a file each."""
    source = real_data / "bigearthnet_v1_examples/BigEarthNet-S2-Example"
    shutil.copytree(source, tmp_path / "mine")
    names = sorted(folder.name for folder in source.iterdir() if folder.is_dir())
    rows = [f"{name},{label}" for name, label in zip(names, ("lake", "wood; lake", "wood"), strict=True)]
    (tmp_path / "labels.csv").write_text("patch,label\n" + "\n".join(rows) + "\n")
    text = "  images: {files: 'mine/{sample}/*_{band}.tif'}\n  labels: {cover: {file: labels.csv}}\n"
    entry = own_example.entry(tmp_path, SCALED + text)
    found = scenes.explore.index(entry, progress=False)
    assert found["labels"].tolist() == [("lake",), ("wood", "lake"), ("wood",)]
    facts = found.attrs["image"]
    assert facts["size"] == [120, 120]
    assert len(facts["bands"]) == 12
    own = scenes.own.read(found["s2"].iloc[0], facts)
    from eolab.data.layouts import bigearthnet, bigearthnet_v1

    theirs = bigearthnet_v1.index(real_data / "bigearthnet_v1_examples", progress=False).iloc[0]
    there = bigearthnet.read_patch(theirs, bands=facts["bands"])["image"]
    np.testing.assert_allclose(own, there * 1e-4, rtol=1e-5)
