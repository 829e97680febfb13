"""The report of the flood study: the published numbers, and what one who always says "dry" reaches."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as reference

from eolab.data.layouts import sen12flood as reader
from eolab.studies.flood import explore


def test_always_dry_on_the_published_radar_list_is_right_in_65_of_100(real_data):
    images = reader.index(real_data / "sen12flood_lists")
    radar = images[images["sensor"] == "S1"]
    (row,) = explore.always_dry({"S1": radar}).to_dict("records")
    assert row["number"] == 3957
    assert round(row["accuracy"], 3) == 0.653
    assert explore.CONVLSTM["accuracy"] - row["accuracy"] == pytest.approx(
        0.0062, abs=5e-5
    )  # all it has learnt


def test_always_dry_scores_as_scikit_learn_says():
    truth = np.arange(40) % 7 < 2
    (row,) = explore.always_dry({"some": pd.DataFrame({"flooded": truth})}).to_dict("records")
    said = np.zeros(40, bool)
    assert row["images"] == "some"
    assert row["accuracy"] == pytest.approx(reference.accuracy_score(truth, said))
    assert row["balanced_accuracy"] == reference.balanced_accuracy_score(truth, said)
    assert row["recall"] == reference.recall_score(truth, said)
    assert row["f1"] == reference.f1_score(truth, said)
    assert np.isnan(row["precision"])
    assert np.isnan(reference.precision_score(truth, said, zero_division=np.nan))


def test_published_scores_stand_under_their_sources():
    table = explore.published_scores().set_index(["source", "sensors"])
    assert list(table.columns) == list(explore.STATISTICS)
    assert table.loc[("Wiesniakowski et al. 2024, ConvLSTM", "both"), "recall"] == 0.0772
    assert table.loc["Rambour et al. 2020, ResNet-50 + GRU", "accuracy"].to_dict() == explore.AUTHORS
    assert table["balanced_accuracy"].isna().all()


def test_ours_stand_beside_the_report_s_with_and_without_padding():
    statistics = ["recall", "accuracy", "average_precision"]
    runs = {
        name: pd.concat(
            pd.DataFrame({"statistic": statistics, "value": [k, k + 0.5, 9.0], "padded": padded})
            for k, padded in ((first, False), (first + 0.1, True))
        )
        for name, first in (("convlstm", 0.1), ("utae", 0.3))
    }
    found = explore.padded_scores(runs)
    assert found[["source", "padded steps", "accuracy", "recall"]].to_numpy().tolist() == [
        ["Wiesniakowski et al. 2024", "counted", 0.6590, 0.0772],
        ["convlstm", "left out", 0.6, 0.1],
        ["convlstm", "counted", pytest.approx(0.7), pytest.approx(0.2)],
        ["utae", "left out", 0.8, 0.3],
        ["utae", "counted", 0.9, 0.4],
    ]
    assert list(found.columns) == ["source", "padded steps", *explore.STATISTICS]
    assert len(explore.padded_scores({})) == 1
