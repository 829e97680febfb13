"""Patches of the land-cover study: which ground they are of, and what is stored of them."""

from __future__ import annotations

import landcover_example as example
import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist

from eolab.core.errors import DataError
from eolab.data.preprocess import Recipe
from eolab.data.store import write_store
from eolab.studies.landcover import patches, samples

HEIGHT, WIDTH, SIZE = 60, 90, 6
COLUMN = "split_block"


@pytest.fixture(scope="module")
def series():
    return example.series(HEIGHT, WIDTH)


@pytest.fixture(scope="module")
def table(series):
    """Every pixel is a sample; two thirds are for training, with a buffer of 50 m to those of the test."""
    row, col = np.mgrid[:HEIGHT, :WIDTH].reshape(2, -1)
    split = np.select([col < 50, col < 54, col < 72], ["prior", "none", "test"], "validation")
    groups = samples.connected_groups(series)
    found = pd.DataFrame({"row": row, "col": col, "draw": "uniform", "block": col // 10, COLUMN: split})
    return found.assign(x=10.0 * col, y=-10.0 * row, group=groups[row, col])


@pytest.fixture(scope="module")
def found(series, table):
    return patches.patch_table(series, table, COLUMN, SIZE)


def pixels_of(found, part):
    """Row and column of all pixels of the patches of a part."""
    inside = np.mgrid[:SIZE, :SIZE].reshape(2, -1).T
    corners = found.loc[found["split"] == part, ["row", "col"]].to_numpy()
    return (corners[:, None] + inside).reshape(-1, 2)


def test_all_pixels_of_a_patch_are_of_its_part(found, table):
    part = table.set_index(["row", "col"])[COLUMN].replace("prior", "train")
    for name in ("train", "validation", "test"):
        assert set(part.loc[list(map(tuple, pixels_of(found, name)))]) == {name}
    assert found["id"].tolist() == list(range(len(found)))
    assert set(found["year"]) == {2020}
    assert (found["row"] % SIZE == 0).all()
    assert not found.duplicated("patch").any()


def test_patches_keep_the_distance_that_samples_keep(series, table, found):
    """A buffer on one side of the test, none on the other; one without samples is one too."""
    sparse = patches.patch_table(series, table[table[COLUMN] != "none"], COLUMN, SIZE)
    for patches_of in (found, sparse):
        places = {name: pixels_of(patches_of, name) * 10.0 for name in ("train", "validation", "test")}
        assert cdist(places["train"], places["test"]).min() == 70
        assert cdist(places["validation"], places["test"]).min() == 10


def test_samples_of_other_years_change_no_patch(series, table, found):
    years = pd.concat([table.assign(year=year) for year in (2020, 2021)])
    pd.testing.assert_frame_equal(patches.patch_table(series, years, COLUMN, SIZE), found)


def test_patches_that_fit_into_no_part_are_refused(series, table):
    with pytest.raises(DataError, match="No patch of 30 × 30 pixels lies in validation ground alone"):
        patches.patch_table(series, table, COLUMN, 30)


def test_training_patches_have_no_label_in_polygons_of_others(series, table):
    """A polygon in which test samples lie, and no training samples, is known nowhere but in the test."""
    groups = samples.connected_groups(series)
    lost = groups[np.asarray(series["label"]) != 255][0]
    without = table.assign(**{COLUMN: table[COLUMN].mask(table["group"] == lost, "none")})
    labels = patches.patch_labels(series, without, COLUMN)
    assert (labels["train"][groups == lost] == 255).all()
    np.testing.assert_array_equal(labels["test"], series["label"])
    own = set(groups[:, :50].ravel()) - {lost}
    kept = np.isin(groups, list(own)) & (groups > 0)
    np.testing.assert_array_equal(labels["train"][kept], np.asarray(series["label"])[kept])
    assert (labels["train"][~kept] == 255).all()


@pytest.mark.parametrize("at_once", [20, 512])
def test_stored_patches_are_windows_of_the_prepared_scene(series, table, tmp_path, monkeypatch, at_once):
    monkeypatch.setattr(patches, "AT_ONCE", at_once)
    found = patches.patch_table(series, table, COLUMN, SIZE)
    recipe = Recipe(period="MS", end="2020-03-31", indices=("NDVI",))
    prepared, labels = recipe.apply(series), patches.patch_labels(series, table, COLUMN)
    store = write_store(
        tmp_path / "store",
        found,
        patches.patch_arrays(series, prepared, SIZE),
        "part",
        patches.patch_producer(series, recipe, SIZE, labels),
        fingerprint={},
        metadata={"coords": {"band": ["B04", "B08", "NDVI"]}},
        progress=False,
    )
    image = prepared["image"].transpose("time", "y", "x", "band").to_numpy()
    for number in (0, len(store) // 2, len(store) - 1):
        row, col, split = store.table.loc[number, ["row", "col", "split"]]
        place = np.s_[row : row + SIZE, col : col + SIZE]
        data = store.gather([number])
        np.testing.assert_array_equal(data["image"][0], image[:, *place])
        np.testing.assert_array_equal(data["valid"][0], np.asarray(prepared["valid"])[:, *place])
        np.testing.assert_array_equal(data["label"][0], labels[split][place])
        np.testing.assert_array_equal(data["truth"][0], np.asarray(series["truth"])[place])
