"""Scores of values against scikit-learn and SciPy, their intervals, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from interval_levels import levels
from scipy.stats import spearmanr
from sklearn import metrics as reference

from eolab import evaluation
from eolab.core.errors import DataError, ParameterError


@pytest.fixture(scope="module")
def pair():
    """Cover shares of 40 patches of 6 × 5 pixels in blocks of four; a tenth is not known, nor is a patch."""
    rng = np.random.default_rng(0)
    truth = rng.random((40, 6, 5)).astype(np.float32)
    blocks = np.arange(40) // 4
    shift = rng.normal(0, 0.1, 10)[blocks][:, None, None]
    found = np.clip(truth + shift + rng.normal(0, 0.1, truth.shape), 0, 1).astype(np.float32)
    truth[rng.random(truth.shape) < 0.1] = np.nan
    truth[7] = np.nan
    return truth, found, blocks


def values(truth, found, **options):
    table = evaluation.score_table({"net": found}, truth, **{"replicates": 100, **options})
    assert set(table["scope"]) == {"all"}
    return table.set_index("statistic")


def expected(truth, found) -> dict[str, float]:
    known = np.isfinite(truth)
    y, p = truth[known].astype(float), found[known].astype(float)
    return {
        "mse": reference.mean_squared_error(y, p),
        "mae": reference.mean_absolute_error(y, p),
        "r2": reference.r2_score(y, p),
        "spearman": spearmanr(y, p).statistic,
        "iou": np.minimum(y, p).sum() / np.maximum(y, p).sum(),
    }


def test_values_are_those_of_scikit_learn_and_scipy(pair):
    truth, found, blocks = pair
    table = values(truth, found, groups=blocks)
    assert table["value"].to_dict() == pytest.approx(expected(truth, found))
    assert (table["low"] < table["value"]).all()
    assert (table["value"] < table["high"]).all()
    assert set(table["n"]) == {39}  # a patch without a known value is none


def test_what_is_not_known_counts_nowhere(pair):
    truth, found, blocks = pair
    spoilt = np.where(np.isnan(truth), np.nan, found)
    one, other = (values(truth, p, groups=blocks) for p in (found, spoilt))
    np.testing.assert_array_equal(one["value"], other["value"])


@pytest.mark.slow
def test_intervals_are_those_of_drawing_blocks_one_by_one(pair):
    truth, found, blocks = pair
    rng = np.random.default_rng(1)
    drawn = []
    for _ in range(600):
        rows = np.concatenate([np.flatnonzero(blocks == block) for block in rng.integers(0, 10, 10)])
        drawn.append(list(expected(truth[rows], found[rows]).values()))
    low, high = np.quantile(drawn, levels(10), axis=0)
    table = values(truth, found, groups=blocks, replicates=1000)
    low, high = (ends + table["value"].to_numpy() - np.median(drawn, axis=0) for ends in (low, high))
    width = high - low
    np.testing.assert_allclose((table["low"] - low) / width, 0, atol=0.2)
    np.testing.assert_allclose((table["high"] - high) / width, 0, atol=0.2)


def test_rows_of_samples_score_as_pixels():
    rng = np.random.default_rng(2)
    truth, found = rng.normal(size=(2, 60))
    table = values(truth, found)
    assert table["value"].drop("iou").to_dict() == pytest.approx(
        {key: value for key, value in expected(truth, found).items() if key != "iou"}
    )
    assert np.isnan(table.loc["iou", "value"])  # of values below 0 it says nothing


def test_a_constant_has_no_rank_correlation_and_explains_nothing():
    truth = np.linspace(0, 1, 20)
    table = values(truth, np.full(20, 0.5))
    assert np.isnan(table.loc["spearman", "value"])
    assert table.loc["r2", "value"] == pytest.approx(0)


def test_gains_are_paired(pair):
    truth, found, blocks = pair
    better = np.where(np.isnan(truth), found, 0.9 * found + 0.1 * truth)
    both = {"a": found, "b": better}
    options = {"model": "b", "statistics": ["all.mae"], "groups": blocks, "replicates": 100}
    (row,) = evaluation.paired_gains(both, truth, **options).to_dict("records")
    difference = expected(truth, better)["mae"] - expected(truth, found)["mae"]
    assert row["value"] == pytest.approx(difference)
    assert row["low"] < row["value"] < row["high"] < 0


def test_wrong_values_are_named(pair):
    truth, found, _ = pair
    with pytest.raises(DataError, match=r"\(40, 6, 5\) and prediction of shape \(39, 6, 5\)"):
        values(truth, found[1:])
    with pytest.raises(DataError, match="1 of 6 predictions are no finite number"):
        values(np.ones((3, 2)), np.where(np.eye(3, 2) * [1, 0] > 0, np.nan, 1.0))
    with pytest.raises(DataError, match="nothing to score"):
        values(np.full((3, 2), np.nan), np.ones((3, 2)))
    with pytest.raises(ParameterError, match=r"'all\.rmse': did you mean 'all\.mse'"):
        values(truth, found, statistics=["all.rmse"])
