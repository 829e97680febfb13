"""What a score table says in short, against tables made by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from eolab import evaluation
from eolab.core.errors import ParameterError
from eolab.evaluation.bootstrap import Drawn
from eolab.evaluation.summary import main_statistic

AROUND = np.linspace(-1, 1, 201)  # replicates around a value


def row(model: str, value: float, n_groups: int = 24, name: str = "macro.f1", **more: object) -> dict:
    """A score with replicates that lie 0.05 around it; those of all models move together by half."""
    scope, statistic = name.split(".")
    few = n_groups < 8
    facts = {"model": model, "is_baseline": model in ("majority", "forest"), "split": "test"}
    facts |= {"scope": scope, "statistic": statistic, "value": value}
    facts |= {"low": np.nan if few else value - 0.05, "high": np.nan if few else value + 0.05}
    own = np.roll(AROUND, 50 * len(model)) * 0.01
    drawn = Drawn("the same samples", (value + 0.04 * AROUND + own).astype(np.float32))
    return facts | {"n": 1200, "n_groups": n_groups, "drawn": drawn, **more}


def said(*rows: dict, **how: str) -> evaluation.Summary:
    return evaluation.summary(pd.DataFrame(rows), **how)


def test_the_model_stands_beside_the_best_baseline_with_the_gain_in_pairs() -> None:
    found = said(row("majority", 0.1), row("forest", 0.45), row("lstm", 0.6), model="lstm")
    (sentence,) = found.found
    assert sentence.startswith(
        "Macro F1: lstm 0.600 (0.550 to 0.650) on 1,200 test samples in 24 groups; "
        "gain over forest, the best baseline, +0.150 ("
    )
    assert found.cautions == []


def test_the_numbers_are_those_of_the_readable_tables() -> None:
    table = pd.DataFrame([row("majority", 0.1), row("forest", 0.4512), row("lstm", 0.6049)])
    (sentence,) = evaluation.summary(table, model="lstm").found
    scores = evaluation.readable(table).set_index("model")["macro F1"]
    (gain,) = evaluation.readable(evaluation.gains(table))["macro F1"]
    assert scores["lstm"] in sentence
    assert gain.removesuffix(", better") in sentence


def test_a_network_that_is_worse_or_not_shown_to_be_better_is_called_so() -> None:
    rows = [row("forest", 0.6), row("majority", 0.2), row("lstm", 0.4)]
    assert said(*rows, model="lstm").cautions == ["lstm is worse than forest."]
    rows[-1] = row("lstm", 0.601)
    expected = "lstm is not shown to be better than forest, the difference may be chance."
    assert said(*rows).cautions == [expected]
    rows[-1] = row("lstm", 0.6)
    assert said(*rows).cautions == ["lstm scores the same as forest on these samples."]


def test_kinds_of_score_are_told_apart_and_their_cautions_said_once() -> None:
    rows = [
        row(model, value, against=truth)
        for truth in ("old map", "truth", "survey")
        for model, value in (("forest", 0.6), ("lstm", 0.4))
    ]
    found = said(*rows, model="lstm")
    assert [one.partition(":")[0] for one in found.found] == [
        "Macro F1 (against old map)",
        "Macro F1 (against truth)",
    ]
    assert found.cautions == ["lstm is worse than forest (against old map; against truth)."]


@pytest.mark.parametrize(
    ("n_groups", "caution"),
    [
        (1, ["Only 1 group: there are no intervals."]),
        (4, ["Only 4 groups: there are no intervals."]),
        (8, ["Only 8 groups: intervals are rough."]),
        (20, []),
    ],
)
def test_few_groups_are_said(n_groups: int, caution: list[str]) -> None:
    assert said(row("forest", 0.2, n_groups), row("lstm", 0.6, n_groups)).cautions == caution


def test_the_best_of_several_models_is_named_as_such_and_a_chosen_one_is_not() -> None:
    rows = [row("forest", 0.2), row("lstm", 0.5), row("ltae", 0.6)]
    assert "ltae, the best of 2, 0.600" in said(*rows).found[0]
    assert ": lstm 0.500" in said(*rows, model="lstm").found[0]
    assert "gain over ltae -0.100" in said(*rows, model="lstm", over="ltae").found[0]


def test_baselines_alone_have_a_best_one_and_no_gain_unless_one_is_the_model() -> None:
    rows = [row("majority", 0.2), row("forest", 0.5)]
    (sentence,) = said(*rows).found
    assert sentence.startswith("Macro F1: forest, the best of 2 baselines, 0.500 (")
    assert "gain" not in sentence
    assert "forest, a baseline, 0.500" in said(*rows, model="forest").found[0]
    assert "gain over majority +0.300" in said(*rows, model="forest").found[0]


def test_a_lower_error_is_the_better_one() -> None:
    rows = [row("forest", 0.5, name="all.mse"), row("lstm", 0.9, name="all.mse")]
    assert said(*rows).cautions == ["lstm is worse than forest."]
    assert "unet, the best of 2, 0.100" in said(*rows, row("unet", 0.1, name="all.mse")).found[0]


@pytest.mark.parametrize(
    ("names", "main"),
    [
        (["landslide.f1", "macro.f1"], "landslide.f1"),
        (["all.accuracy", "macro.f1"], "macro.f1"),
        (["micro.f2", "macro.f1", "macro.average_precision"], "macro.average_precision"),
        (["all.accuracy", "flooded.f1", "all.balanced_accuracy"], "all.balanced_accuracy"),
        (["all.mse", "all.r2"], "all.r2"),
        (["lake.support", "change.precision"], "change.precision"),
    ],
)
def test_each_task_has_its_main_score(names: list[str], main: str) -> None:
    assert main_statistic(pd.DataFrame([row("lstm", 0.5, name=name) for name in names])) == main


def test_a_statistic_that_is_not_there_is_named() -> None:
    with pytest.raises(ParameterError, match=r"no scores 'macro.iou'"):
        said(row("lstm", 0.5), statistic="macro.iou")
    assert said(row("lstm", np.nan)) == ([], [], False)
