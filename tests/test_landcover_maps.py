"""The learned map beside the old one and the truth: small maps, numbers worked out by hand."""

from __future__ import annotations

import warnings

import landcover_example as example
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from eolab.data import splits
from eolab.data.schemes import ClassScheme
from eolab.studies import landcover

SCHEME = ClassScheme("toy", (1, 2, 3), ("Wood", "Field", "Town"), ("#117733", "#ccf24d", "#cc79a7"))
N = 255
OLD = [[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, N], [2, 2, N, N]]
NEW = [[0, 0, 1, 1], [0, 1, 1, 0], [0, 2, 1, 1], [2, N, 1, 1]]
TRUTH = [[0, 0, 1, 1], [0, 1, 0, 0], [1, 1, N, 1], [2, 2, 1, 0]]


def chart(values, **cells) -> xr.DataArray:
    return example.place(xr.DataArray(np.array(values, np.uint8), dims=("y", "x")), **cells)


def test_area_table_counts_hectares():
    table = landcover.maps.area_table({"old": chart(OLD), "new": chart(NEW)}, SCHEME)
    assert table["class"].tolist() == ["Wood", "Field", "Town"]
    assert table["old (ha)"].tolist() == pytest.approx([0.06, 0.05, 0.02])  # 6, 5, 2 pixels of 10 m
    assert table["new (ha)"].tolist() == pytest.approx([0.05, 0.08, 0.02])
    oblong = landcover.maps.area_table({"old": chart(OLD, cell_x=20, cell_y=100)}, SCHEME)
    assert oblong["old (ha)"].tolist() == pytest.approx([1.2, 1.0, 0.4])


def test_areas_of_labels_that_cover_a_part_stand_beside_the_same_part_of_the_map():
    """Areas of parcels read as growth beside those of the whole map."""
    part, said = landcover.maps.labelled_part(chart(OLD), chart(NEW), "2020")
    assert "cover 80 % of the map of 2020" in said  # 12 of 15 pixels
    areas = landcover.maps.area_table({"labels": chart(OLD)} | part, SCHEME)
    assert areas["2020 where labelled (ha)"].sum() == pytest.approx(0.12)
    assert list(areas) == ["class", "labels (ha)", "2020 where labelled (ha)"]
    assert landcover.maps.labelled_part(chart(NEW), chart(NEW), "2020") == ({}, "")


def test_map_scores_worked_example():
    """15 pixels have a truth; the old map has no class at three of them; the lower half is held out."""
    unseen = np.zeros((4, 4), bool)
    unseen[2:] = True
    table = landcover.maps.map_scores({"old": chart(OLD), "new": chart(NEW)}, chart(TRUTH), unseen)
    old, new = (table.set_index("map").loc[name].to_dict() for name in ("old", "new"))
    # Old map: right at 5 of 8 above; below only at the two of Town, of 7 with a truth, of which 4 it labels.
    assert old == pytest.approx(
        {
            "all pixels": 7 / 15,
            "labelled pixels": 7 / 12,
            "held-out blocks": 2 / 7,
            "held-out blocks, labelled pixels": 2 / 4,
        }
    )
    # New map: wrong at (1, 2) above; below right at (2, 3), (3, 0), (3, 2); (3, 1) without a class is wrong.
    assert new == pytest.approx(
        {
            "all pixels": 10 / 15,
            "labelled pixels": 8 / 12,
            "held-out blocks": 3 / 7,
            "held-out blocks, labelled pixels": 1 / 4,
        }
    )


def test_map_scores_of_no_pixels_are_not_a_number():
    """Regression: the mean of nothing warned."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        table = landcover.maps.map_scores({"old": chart(OLD)}, chart(TRUTH), np.zeros((4, 4), bool))
    assert np.isnan(table.loc[0, "held-out blocks"])
    assert table.loc[0, "all pixels"] == pytest.approx(7 / 15)


def test_unseen_blocks_worked_example():
    table = pd.DataFrame(
        [
            (0, 0, 0, "train"),
            (1, 1, 0, "prior"),
            (0, 2, 1, "test"),
            (1, 3, 1, "none"),
            (2, 0, 2, "validation"),
            (3, 1, 2, "none"),
            (2, 3, 3, "test"),
            (3, 3, 3, "none"),
            (1, 2, 4, "none"),  # a block of the buffer
        ],
        columns=["row", "col", "block", "split_block"],
    )
    unseen = landcover.maps.unseen_blocks(xr.Dataset({"label": chart(OLD)}), table, "split_block")
    expected = [[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 0, 1]]
    np.testing.assert_array_equal(unseen, np.array(expected, bool))


def test_blocks_of_a_map_are_squares_of_a_tenth_of_its_side_where_pixels_count():
    series = example.series(60, 50)
    kept = np.asarray(series["label"]) != N
    blocks = landcover.maps.block_map(series, kept)
    np.testing.assert_array_equal(blocks == -1, ~kept)
    row, col = np.mgrid[:60, :50]  # 500 m across: blocks of 5 pixels, from the lower left corner
    expected = (59 - row) // 5 * 10 + col // 5
    np.testing.assert_array_equal(blocks[kept], expected[kept])


def test_unseen_blocks_hold_every_test_pixel_and_none_learned_from():
    series = example.series(60, 50)
    table = landcover.sample_table(series, per_class=80, uniform=600)
    table["block"] = splits.block_numbers(table, 70)
    split = splits.assign(table, "block", block_m=70, validation=0.2, test=0.3, label="label")
    table["split"] = landcover.samples.keep_draws_apart(split, table["draw"])
    inside = landcover.maps.unseen_blocks(series, table, "split")[table["row"], table["col"]]
    assert inside[table["split"] == "test"].all()
    assert not inside[table["split"].isin(["train", "validation"])].any()


def test_change_is_scored_all_over_where_no_block_is_held_out():
    """Regression: maps of a model of a random split ended in an error, after hours of mapping."""
    held_out = np.array([[True, False], [False, False]])
    assert landcover.maps.scored_ground(held_out)[0] is held_out
    scored, said = landcover.maps.scored_ground(np.zeros((2, 2), bool))
    assert scored.all()
    assert "no block without training samples" in said
