"""How two classes differ feature by feature: quantiles and areas under the curve by other means."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from eolab import evaluation

QUANTILES = {"q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95}


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    truth = rng.random(90) < 0.4
    table = pd.DataFrame(
        {
            "noise": rng.normal(size=90),
            "lower": rng.normal(size=90) - 2 * truth,
            "ties": (rng.integers(0, 4, 90) + truth).astype(float),
        }
    )
    return table, truth


def pairs_won(truth, values, weights=None) -> float:
    """The share of pairs of both classes in which the second has the larger value, ties half."""
    weights = np.ones(len(values)) if weights is None else weights
    won = (values[truth][:, None] > values[~truth]) + 0.5 * (values[truth][:, None] == values[~truth])
    pair = weights[truth][:, None] * weights[~truth]
    return float((won * pair).sum() / pair.sum())


def test_quantiles_and_areas_are_those_of_numpy_and_of_counting_pairs(features):
    table, truth = features
    found = evaluation.distributions(table, truth, ("dry", "flooded")).set_index(["feature", "class"])
    assert list(found.columns) == [*QUANTILES, "auc"]
    assert len(found) == 6
    for name in table:
        for kind, chosen in (("dry", ~truth), ("flooded", truth)):
            values = table.loc[chosen, name]
            expected = np.quantile(values, list(QUANTILES.values()), method="hazen")
            np.testing.assert_allclose(found.loc[(name, kind), list(QUANTILES)].astype(float), expected)
            assert found.loc[(name, kind), "auc"] == pytest.approx(
                pairs_won(truth, table[name].to_numpy()), abs=1e-12
            )


def test_the_best_separated_come_first_whichever_class_is_larger(features):
    table, truth = features
    found = evaluation.distributions(table, truth, ("dry", "flooded"))
    assert found["feature"].tolist() == ["lower"] * 2 + ["ties"] * 2 + ["noise"] * 2
    assert found["class"].tolist() == ["dry", "flooded"] * 3
    assert found["auc"].iloc[0] < 0.2
    assert found["auc"].iloc[2] > 0.6


def test_values_that_are_not_finite_count_nowhere(features):
    table, truth = features
    whole = evaluation.distributions(table, truth, ("dry", "flooded"))
    gaps = pd.DataFrame({name: [np.nan, np.inf, -np.inf] for name in table})
    more = pd.concat([table, gaps], ignore_index=True)
    found = evaluation.distributions(more, np.append(truth, [True, False, True]), ("dry", "flooded"))
    pd.testing.assert_frame_equal(found, whole)


def test_a_row_of_weight_three_counts_as_three_rows(features):
    table, truth = features
    weights = np.random.default_rng(1).integers(1, 4, len(table))
    repeated = evaluation.distributions(
        table.loc[table.index.repeat(weights)], truth.repeat(weights), ("dry", "flooded")
    ).set_index(["feature", "class"])
    found = evaluation.distributions(table, truth, ("dry", "flooded"), weights).set_index(
        ["feature", "class"]
    )
    pd.testing.assert_series_equal(found["auc"], repeated["auc"])
    for name in table:
        expected = pairs_won(truth, table[name].to_numpy(), weights)
        assert found.loc[(name, "dry"), "auc"] == pytest.approx(expected)


def test_weighted_quantiles_worked_example():
    """Middles of the weights 1, 1 and 2 of 4 lie at 1/8, 3/8 and 3/4; the median a third between."""
    table = pd.DataFrame({"x": [10.0, 20.0, 50.0]})
    found = evaluation.distributions(table, np.zeros(3, bool), ("dry", "flooded"), np.array([1, 1, 2]))
    dry, flooded = found.set_index("class").loc["dry"], found.set_index("class").loc["flooded"]
    assert dry[list(QUANTILES)].tolist() == pytest.approx([10, 15, 30, 50, 50])
    assert flooded[[*QUANTILES, "auc"]].isna().all()


def test_a_feature_without_a_class_stands_last(features):
    table, truth = features
    table["gone"] = np.where(truth, np.nan, 1.0)
    found = evaluation.distributions(table[["gone", "noise", "lower"]], truth, ("dry", "flooded"))
    assert found["feature"].tolist()[-2:] == ["gone", "gone"]
    assert found.iloc[-2:]["auc"].isna().all()
    assert found.iloc[-2]["q50"] == 1.0
    assert np.isnan(found.iloc[-1]["q50"])
