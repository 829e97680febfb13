"""Change between two maps against the change on the ground: every case, worked examples, plain loops."""

from __future__ import annotations

import itertools

import landcover_example as example
import numpy as np
import pytest
import xarray as xr

from eolab.core.errors import DataError
from eolab.data.schemes import ClassScheme
from eolab.evaluation import change, gains

SCHEME = ClassScheme("toy", (1, 2, 3), ("Wood", "Field", "Town"), ("#117733", "#ccf24d", "#cc79a7"))
N = 255


def grid(height: int, width: int, **cells):
    return example.place(
        xr.DataArray(np.zeros((height, width), np.uint8), dims=("y", "x")), **cells
    ).odc.geobox


def in_words(old: int, new: int, before: int, after: int) -> str:
    """What the four classes of a pixel mean, said with plain conditions."""
    if N in (old, new, before, after):
        return "Not known"
    if before != after:
        if old != new:
            how = "found" if new == after else "wrong new class"
        else:
            how = "mapped before" if new == after else "missed"
        return f"Change on the ground, {how}"
    if old == new:
        return "No change, map correct" if new == after else "No change, error of the label kept"
    if new == after:
        return "Correction of the label"
    return "New error" if old == before else "New error in place of an old one"


def test_every_combination_of_four_maps_is_one_case():
    pixels = np.array(list(itertools.product([0, 1, 2, N], repeat=4)), np.uint8)
    cases = change.change_cases(*pixels.T)
    assert [change.CASES.names[case] for case in cases] == [in_words(*pixel) for pixel in pixels.tolist()]
    assert set(cases) == set(range(10))
    table = change.case_table(cases)
    assert table["pixels"].sum() == len(pixels)
    assert table["share"].sum() == pytest.approx(1)
    differ = table["share_of_mapped_change"].notna()
    assert table["share_of_mapped_change"].sum() == pytest.approx(1)
    known = (pixels != N).all(axis=1)
    assert table.loc[differ, "pixels"].sum() == (pixels[known, 0] != pixels[known, 1]).sum()


def test_the_sentence_says_the_shares_of_the_table():
    maps = [[0, 0, 0, 0, 0], [0, 1, 1, 1, 1], [0, 0, 1, 1, 0], [0, 1, 1, 1, 0]]
    table = change.case_table(change.change_cases(*map(np.array, maps)))
    assert change.in_words(table) == (
        "Of the pixels whose class differs, 25.0 % changed on the ground, 50.0 % are corrections of the "
        "labels, and 25.0 % are new errors."
    )
    table = change.case_table(change.change_cases(*map(np.array, maps[:2])))
    assert "differs from the label in 80.0 % of the labelled pixels" in change.in_words(table)


def test_where_labels_are_parcels_the_share_that_differs_is_one_of_the_labelled_pixels():
    """It was one of the whole map: a hundredth for parcels that were all mapped wrong."""
    label = np.full(100, N)
    label[:2] = 0
    table = change.case_table(change.change_cases(label, np.arange(100) % 2))
    assert "50.0 % of the labelled pixels" in change.in_words(table)


def test_names_of_cases_fit_a_legend():
    from eolab.plots.style import short

    assert all(short(name) == name for name in change.CASES.names)


def test_without_truth_nothing_is_called_change_on_the_ground():
    cases = change.change_cases(np.array([0, 0, N]), np.array([0, 1, 1]))
    assert change.case_table(cases)["case"].tolist() == [
        "Not known",
        "Class as labelled",
        "Another class than labelled",
    ]


def test_areas_of_cases_and_transitions_are_those_of_the_pixels():
    cells = grid(2, 3, cell_x=20, cell_y=50)  # 0.1 ha
    old, new = np.array([[0, 0, 1], [1, 2, N]]), np.array([[0, 1, 1], [0, N, 2]])
    table = change.case_table(change.change_cases(old, new), cells)
    assert table.set_index("case")["area_ha"].to_dict() == pytest.approx(
        {"Not known": 0.2, "Class as labelled": 0.2, "Another class than labelled": 0.2}
    )
    matrix = change.transitions(old, new, cells, SCHEME)
    assert matrix.loc["Wood", "Field"] == pytest.approx(0.1)
    yearly = change.yearly_transitions(np.stack([old, new, old]), cells, SCHEME)
    assert [one.loc["Wood", "Field"] for one in yearly] == pytest.approx([0.1, 0.1])
    assert yearly[0].equals(matrix)
    assert matrix.to_numpy().tolist() == [
        pytest.approx(row) for row in ([0.1, 0.1, 0], [0.1, 0.1, 0], [0, 0, 0])
    ]


def random_maps(years: int = 3, side: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = np.repeat(rng.integers(0, 3, (1, side, side)), years, axis=0)
    for year in range(1, years):
        truth[year:] = np.where(
            rng.random((side, side)) < 0.15, rng.integers(0, 3, (side, side)), truth[year]
        )
    maps = np.where(rng.random(truth.shape) < 0.2, rng.integers(0, 3, truth.shape), truth)
    maps[rng.random(maps.shape) < 0.05] = N
    truth[:, 0, :4] = N
    return maps.astype(np.uint8), truth.astype(np.uint8)


def test_directions_are_scored_as_by_counting_pixel_by_pixel():
    maps, truth = random_maps(2, side=40)
    table = change.change_by_direction(*maps, *truth, grid(40, 40), SCHEME)
    pixels = [p for p in zip(*(one.ravel().tolist() for one in (*maps, *truth)), strict=True) if N not in p]
    assert len(table) == 6
    assert table["ground_ha"].is_monotonic_decreasing
    for row in table.to_dict("records"):
        way = (SCHEME.names.index(row["from"]), SCHEME.names.index(row["to"]))
        mapped = sum(p[:2] == way for p in pixels)
        true = sum(p[2:] == way for p in pixels)
        found = sum(p[:2] == way and p[2:] == way for p in pixels)
        assert row["ground_ha"] == pytest.approx(0.01 * true)
        assert row["mapped_ha"] == pytest.approx(0.01 * mapped)
        assert row["precision"] == pytest.approx(found / mapped)
        assert row["recall"] == pytest.approx(found / true)
        assert row["f1"] == pytest.approx(2 * found / (true + mapped))


def test_change_of_each_year_is_scored_as_by_counting_pixel_by_pixel():
    maps, truth = random_maps()
    table = change.change_by_year(maps, truth, (2018, 2019, 2020), grid(12, 12))
    assert table[["from", "to"]].to_numpy().tolist() == [[2018, 2019], [2019, 2020]]
    for k, row in table.iterrows():
        parts = (maps[k], maps[k + 1], truth[k], truth[k + 1])
        pixels = [p for p in zip(*(one.ravel().tolist() for one in parts), strict=True) if N not in p]
        mapped, true = [a != b for a, b, _, _ in pixels], [c != d for _, _, c, d in pixels]
        found = sum(a and b for a, b in zip(mapped, true, strict=True))
        false = sum(mapped) - found
        assert row["false_ha"] == pytest.approx(0.01 * false)
        assert row["precision"] == pytest.approx(found / sum(mapped))
        assert row["recall"] == pytest.approx(found / sum(true))
        assert row["false_share"] == pytest.approx(false / (len(pixels) - sum(true)))


def test_a_map_that_never_changes_has_no_precision_and_no_false_change():
    truth = np.array([[[0, 1]], [[1, 1]]], np.uint8)
    (row,) = change.change_by_year(truth[[0, 0]], truth, (2018, 2019), grid(1, 2)).to_dict("records")
    assert np.isnan(row["precision"])
    assert row["recall"] == row["false_share"] == 0
    (way,) = change.change_by_direction(truth[0], truth[0], *truth, grid(1, 2), SCHEME).to_dict("records")
    assert (way["from"], way["to"], way["recall"]) == ("Wood", "Field", 0)


def test_scores_over_blocks_pool_the_years_and_compare_maps_in_pairs():
    maps, truth = random_maps(side=24)
    still = np.repeat(truth[:1], 3, axis=0)
    blocks = np.arange(24)[:, None] // 6 * 4 + np.arange(24) // 6
    scores = change.change_scores({"noisy": maps, "still": still}, truth, blocks)
    value = scores.set_index(["model", "scope", "statistic"])["value"]
    known = (maps != N) & (truth != N)
    both = known[1:] & known[:-1]
    mapped, true = ((one[1:] != one[:-1])[both] for one in (maps, truth))
    assert value["noisy", "change", "precision"] == pytest.approx((mapped & true).sum() / mapped.sum())
    assert value["noisy", "change", "recall"] == pytest.approx((mapped & true).sum() / true.sum())
    assert 1 - value["noisy", "no change", "recall"] == pytest.approx((mapped & ~true).sum() / (~true).sum())
    assert value["still", "no change", "recall"] == 1
    right = ((maps == truth)[1:] & (maps == truth)[:-1])[both] & mapped & true
    assert value["noisy", "right change", "recall"] == pytest.approx(right.sum() / true.sum())
    assert right.sum() < (mapped & true).sum()
    inside = scores[(scores["model"] == "noisy") & (scores["statistic"] == "recall")]
    assert (inside["low"] < inside["value"]).all()
    assert (inside["high"] > inside["value"]).all()
    assert set(scores["n_groups"]) == {16}
    paired = gains(scores, over="noisy").set_index(["scope", "statistic"])
    assert paired.loc[("no change", "recall"), "verdict"] == "better"
    assert paired.loc[("change", "recall"), "verdict"] == "worse"


def test_the_comparison_says_false_found_and_right_change():
    maps, truth = random_maps(side=24)
    half = np.where(np.arange(24) < 12, truth, maps)
    blocks = np.arange(24)[:, None] // 6 * 4 + np.arange(24) // 6
    scores = change.change_scores({"none": maps, "half": half}, truth, blocks)
    value = 100 * scores.set_index(["model", "scope", "statistic"])["value"]
    found, right = (
        [value[name, what, "recall"] for name in ("half", "none")] for what in ("change", "right change")
    )
    false = [100 - value[name, "no change", "recall"] for name in ("half", "none")]
    shown = [f"{mine:.1f} % (none: {other:.1f} %)" for mine, other in (false, found, right)]
    assert change.compared_in_words(scores, "half", "none") == (
        f"From year to year half changes {shown[0]} of the unchanged ground, and finds {shown[1]} of the "
        f"change on the ground, {shown[2]} with the right classes."
    )
    alike = change.change_scores({"none": maps, "again": maps}, truth, blocks)
    assert change.compared_in_words(alike, "again", "none").count("%, no difference shown)") == 3


def test_blocks_below_zero_do_not_count():
    truth, blocks = np.array([0, 1, 1, N]), np.array([0, 0, -1, 1])
    counts = change.confusion_by_block(truth, np.array([0, 0, 1, 1]), blocks, 2)
    assert counts.tolist() == [[[1, 0], [1, 0]], [[0, 0], [0, 0]]]


def test_maps_without_a_known_pixel_end_in_one_sentence():
    nothing = np.full((2, 3, 3), N, np.uint8)
    with pytest.raises(DataError, match="No pixel is known"):
        change.change_scores({"a": nothing}, nothing, np.zeros((3, 3), int))
    with pytest.raises(DataError, match="expected"):
        change.change_cases(np.zeros((2, 2)), np.zeros((2, 3)))
