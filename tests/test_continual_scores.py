"""Forgetting and transfer: the formulas by hand, in every replicate, and said in words."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from eolab import evaluation
from eolab.core.errors import DataError
from eolab.evaluation import continual

R = np.array([[0.8, 0.5, 0.4], [0.7, 0.9, 0.5], [0.6, 0.75, 0.85]])
YEARS = [2018, 2019, 2020]


def test_the_measures_of_a_matrix_are_those_computed_by_hand():
    found = continual.of_matrix(R, np.array([0.1, 0.2, 0.1]))
    assert found["average"] == pytest.approx((0.6 + 0.75 + 0.85) / 3)
    assert found["backward_transfer"] == pytest.approx(((0.6 - 0.8) + (0.75 - 0.9)) / 2)
    assert found["forgetting"] == pytest.approx(((0.8 - 0.6) + (0.9 - 0.75)) / 2)
    assert found["forward_transfer"] == pytest.approx(((0.5 - 0.2) + (0.5 - 0.1)) / 2)
    assert "forward_transfer" not in continual.of_matrix(R)


def test_forgetting_is_against_the_best_model_before_not_only_the_one_that_learned_the_period():
    """After the second period the first was known better than after its own: Chaudhry takes the best."""
    matrix = np.array([[0.5, 0.0, 0.0], [0.7, 0.6, 0.0], [0.4, 0.6, 0.9]])
    found = continual.of_matrix(matrix)
    assert found["forgetting"] == pytest.approx(((0.7 - 0.4) + (0.6 - 0.6)) / 2)
    assert found["backward_transfer"] == pytest.approx(((0.4 - 0.5) + (0.6 - 0.6)) / 2)


def predictions(rng, truth, right):
    """Class indices that are right so often after each period (rows) on each period (columns)."""
    return {
        last: {
            year: np.where(rng.random(len(truth[year])) < right[i][j], truth[year], 1 - truth[year])
            for j, year in enumerate(YEARS)
        }
        for i, last in enumerate(YEARS)
    }


@pytest.fixture(scope="module")
def scored():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(24), 25)
    truth = {year: rng.integers(0, 2, 600) for year in YEARS}
    found = {
        "naive": predictions(rng, truth, [[0.9, 0.8, 0.8], [0.6, 0.9, 0.8], [0.6, 0.6, 0.9]]),
        "replay": predictions(rng, truth, [[0.9, 0.8, 0.8], [0.85, 0.9, 0.8], [0.85, 0.85, 0.9]]),
        "same": predictions(rng, truth, [[0.9, 0.8, 0.8], [0.6, 0.9, 0.8], [0.6, 0.6, 0.9]]),
    }
    options = {
        "class_names": ["no", "yes"],
        "groups": groups,
        "statistics": ["all.accuracy"],
        "replicates": 200,
    }
    scores = continual.continual_scores(found, truth, **options)
    chance = {year: rng.integers(0, 2, 600) for year in YEARS}
    begun = [
        evaluation.score_table({"untrained": chance[year]}, truth[year], **options).assign(scored=year)
        for year in YEARS
    ]
    return found, truth, scores, pd.concat(begun)


def test_each_score_is_of_the_period_learned_and_the_period_scored(scored):
    found, truth, scores, _ = scored
    for model, matrix in continual.matrices(scores).items():
        expected = [[(found[model][i][j] == truth[j]).mean() for j in YEARS] for i in YEARS]
        np.testing.assert_allclose(matrix, expected)
        assert list(matrix.index) == list(matrix.columns) == YEARS


def test_each_replicate_of_a_measure_is_that_of_the_replicates_of_the_scores(scored):
    *_, scores, begun = scored
    measured = continual.measures(scores, begun)
    row = measured[(measured["model"] == "naive") & (measured["statistic"] == "forgetting")].iloc[0]
    cells = scores[scores["model"] == "naive"].set_index(["learned", "scored"])["drawn"]
    for k in (0, 7, 199):
        matrix = np.array([[cells[i, j].values[k] for j in YEARS] for i in YEARS])
        assert row["drawn"].values[k] == pytest.approx(continual.of_matrix(matrix)["forgetting"], abs=1e-6)
    assert row["low"] < row["value"] < row["high"]
    assert set(measured["statistic"]) == set(continual.MEASURES)


def test_who_forgets_less_is_better_and_said_with_the_paired_interval(scored):
    *_, scores, begun = scored
    gained = evaluation.gains(continual.measures(scores, begun), over="naive").set_index(
        ["model", "statistic"]
    )
    assert gained.loc[("replay", "forgetting"), "verdict"] == "better"
    assert gained.loc[("replay", "forgetting"), "value"] < 0
    assert gained.loc[("same", "forgetting"), "verdict"] == "no difference shown"
    said = continual.forgetting_said(gained.reset_index())
    assert said.startswith("replay forgets less than naive: -0.")
    assert "same is not shown to forget less than naive: " in said
    assert "same" not in continual.forgetting_said(gained.reset_index(), ["replay"])


def test_scores_that_drew_other_groups_have_no_interval_of_their_measures(scored):
    *_, scores, _ = scored
    other = scores["n_groups"].where(scores["scored"] != 2019, 23)
    measured = continual.measures(scores.assign(n_groups=other))
    assert measured["low"].isna().all()
    assert measured["value"].notna().all()


def test_one_period_has_no_forgetting(scored):
    scores = scored[2]
    with pytest.raises(DataError, match=r"1 statistics and 1 periods: .* at least two periods"):
        continual.measures(scores[(scores["learned"] == 2018) & (scores["scored"] == 2018)])
