"""Patches of the land-cover study: which ground they are of, and what is stored of them."""

from __future__ import annotations

from types import SimpleNamespace

import landcover_example as example
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.spatial.distance import cdist

from eolab.core.errors import DataError, ParameterError
from eolab.data import splits
from eolab.data.preprocess import Recipe
from eolab.data.store import write_store
from eolab.studies.landcover import patches, samples

HEIGHT, WIDTH, SIZE, BLOCK_M = 60, 90, 6, 150.0
COLUMN = "split_block"


@pytest.fixture(scope="module")
def series():
    return example.series(HEIGHT, WIDTH)


@pytest.fixture(scope="module")
def table(series):
    """Every pixel is a sample; blocks of 15 pixels, training and test with a buffer of 30 m between them."""
    row, col = np.mgrid[:HEIGHT, :WIDTH].reshape(2, -1)
    split = np.select([col < 42, col < 45, col < 60], ["prior", "none", "test"], "validation")
    groups = samples.connected_groups(series)[row, col]
    x, y = 500_005 + 10.0 * col, 4_999_995 - 10.0 * row
    found = pd.DataFrame({"row": row, "col": col, "x": x, "y": y, "year": 2020, COLUMN: split})
    return found.assign(group=groups, block=splits.block_numbers(found, BLOCK_M))


def patch_table(series, table, size=SIZE, years=()):
    store = SimpleNamespace(table=table, metadata={"block_m": BLOCK_M})
    return patches.patch_table(series, store, COLUMN, size, years)


@pytest.fixture(scope="module")
def found(series, table):
    return patch_table(series, table)


def pixels_of(found, part):
    """Row and column of all pixels of the patches of a part."""
    inside = np.mgrid[:SIZE, :SIZE].reshape(2, -1).T
    corners = found.loc[found["split"] == part, ["row", "col"]].to_numpy()
    return (corners[:, None] + inside).reshape(-1, 2)


def test_a_patch_lies_in_one_block_of_its_part_and_beside_others(found, table):
    """In blocks of 15 pixels two patches of 6 stand side by side, on either axis."""
    at = table.set_index(["row", "col"])
    for row, col, block, split in found[["row", "col", "block", "split"]].itertuples(index=False):
        inside = at.loc[[(row + y, col + x) for y in range(SIZE) for x in range(SIZE)]]
        assert set(inside["block"]) == {block}
        assert set(inside[COLUMN]) <= {"prior" if split == "train" else split}
    assert found["id"].tolist() == list(range(len(found)))
    assert set(found["year"]) == {2020}
    assert not found.duplicated("patch").any()
    assert (found.groupby("block").size() == 4).all()
    middle = found.iloc[0]
    assert middle["x"] == 500_000 + 10 * (middle["col"] + SIZE / 2)
    assert middle["y"] == 5_000_000 - 10 * (middle["row"] + SIZE / 2)


def test_few_samples_tell_the_part_of_a_block_as_many_do(series, table, found):
    few = pd.concat([table.sample(150, random_state=0), table[(table["row"] == 59) & (table["col"] == 0)]])
    parts = patch_table(series, few).set_index("patch")["split"]
    assert len(parts) > 10
    assert (parts == found.set_index("patch")["split"].loc[parts.index]).all()


def test_patches_keep_the_distance_that_samples_keep(series, table, found):
    """A buffer on one side of the test, none on the other; one without samples is one too."""
    sparse = patch_table(series, table[table[COLUMN] != "none"])
    for patches_of in (found, sparse):
        places = {name: pixels_of(patches_of, name) * 10.0 for name in ("train", "validation", "test")}
        assert cdist(places["train"], places["test"]).min() == 40
        assert cdist(places["validation"], places["test"]).min() == 40  # a block holds two patches and a rest
    wider = table.assign(**{COLUMN: table[COLUMN].mask(table["col"].between(38, 41), "none")})
    places = {name: pixels_of(patch_table(series, wider), name) * 10.0 for name in ("train", "test")}
    assert cdist(places["train"], places["test"]).min() >= 80


def test_patches_of_several_years_are_the_same_ground_and_samples_of_others_change_none(series, table, found):
    years = pd.concat([table.assign(year=year) for year in (2020, 2021)])
    pd.testing.assert_frame_equal(patch_table(series, years), found)
    both = patch_table(series, table, years=[2020, 2021])
    assert both["id"].tolist() == list(range(2 * len(found)))
    for year in (2020, 2021):
        own = both[both["year"] == year]
        assert own["patch"].tolist() == found["patch"].tolist()
    assert not set(both.loc[both["year"] == 2020, "part"]) & set(both.loc[both["year"] == 2021, "part"])


def test_patches_that_fit_into_no_block_are_refused_and_a_size_that_fits_is_found(series, table):
    with pytest.raises(DataError, match="No patch of 16 × 16 pixels lies in a block of 150 m: take smaller"):
        patch_table(series, table, 16)
    store = SimpleNamespace(table=table, metadata={"block_m": BLOCK_M})
    assert patches.default_size(series, store, COLUMN) == 6  # 12 leaves four patches for the test


def test_training_patches_have_no_label_in_polygons_of_others(series, table):
    """A polygon in which test samples lie, and no training samples, is known nowhere but in the test."""
    groups = samples.connected_groups(series)
    lost = groups[np.asarray(series["label"]) != 255][0]
    without = table.assign(**{COLUMN: table[COLUMN].mask(table["group"] == lost, "none")})
    labels = patches.patch_labels(series, without, COLUMN)
    assert (labels["train"][groups == lost] == 255).all()
    np.testing.assert_array_equal(labels["test"], series["label"])
    own = set(groups[:, :42].ravel()) - {lost}
    kept = np.isin(groups, list(own)) & (groups > 0)
    np.testing.assert_array_equal(labels["train"][kept], np.asarray(series["label"])[kept])
    assert (labels["train"][~kept] == 255).all()


def test_patches_of_a_split_that_is_not_by_blocks_are_refused(series, tmp_path):
    with pytest.raises(ParameterError, match="Patches follow no split_random, for a patch lies in one block"):
        patches.write_patches(tmp_path, series, SimpleNamespace(), "split_random")


@pytest.mark.parametrize("at_once", [20, 512])
def test_stored_patches_are_windows_of_the_prepared_scene_in_each_year(
    series, table, tmp_path, monkeypatch, at_once
):
    monkeypatch.setattr(patches, "AT_ONCE", at_once)
    later = series.assign_coords(time=series["time"] + np.timedelta64(365, "D"), year=2021)
    later = later.assign(image=1 - later["image"])
    truth = xr.concat([series["truth"], (series["truth"] + 1) % 3], pd.Index([2020, 2021], name="year"))
    both = xr.concat([series, later.drop_vars("year")], "time", data_vars="minimal").assign(truth=truth)
    found = patch_table(both, table, years=[2020, 2021])
    recipe = Recipe(period="MS", end="03-31", indices=("NDVI",))
    prepared, labels = {2020: recipe.apply(series)}, patches.patch_labels(both, table, COLUMN)
    prepared[2021] = recipe.apply(later)
    store = write_store(
        tmp_path / "store",
        found,
        patches.patch_arrays(both, prepared[2020], SIZE),
        "part",
        patches.patch_producer(both, recipe, SIZE, labels),
        fingerprint={},
        metadata={"coords": {"band": ["B04", "B08", "NDVI"]}},
        progress=False,
    )
    for number in (0, len(store) // 2 - 1, len(store) // 2, len(store) - 1):
        row, col, split, year = store.table.loc[number, ["row", "col", "split", "year"]]
        place = np.s_[row : row + SIZE, col : col + SIZE]
        data = store.gather([number])
        image = prepared[year]["image"].transpose("time", "y", "x", "band").to_numpy()
        np.testing.assert_array_equal(data["image"][0], image[:, *place])
        np.testing.assert_array_equal(data["valid"][0], np.asarray(prepared[year]["valid"])[:, *place])
        np.testing.assert_array_equal(data["label"][0], labels[split][place])
        np.testing.assert_array_equal(data["truth"][0], np.asarray(truth.sel(year=year))[place])
        assert data["day"][0, 0] < 31
