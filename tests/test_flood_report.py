"""The report of the flood study: the published numbers, and what one who always says "dry" reaches."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as reference

from eolab.data.layouts import sen12flood as reader
from eolab.studies.flood import explore, scoring


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


def test_the_report_s_scores_are_no_scores_of_all_steps_pooled():
    """The F1 of one precision and recall is another: these are means, and 0.077 is no share of the floods."""
    precision, recall, f1 = (explore.CONVLSTM[name] for name in ("precision", "recall", "f1"))
    assert 2 * precision * recall / (precision + recall) == pytest.approx(0.0644, abs=5e-5)
    assert f1 == 0.0550
    table = explore.published_scores().set_index("source")
    assert table.loc["Wiesniakowski et al. 2024, ConvLSTM", "averaging"] == "mean over sequences"


def test_a_mean_over_sequences_counts_a_dry_sequence_as_0():
    flooded = [[0, 1, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]]
    said = [[0, 1, 0, 0], [0, 0, 1, 0], [1, 1, 0, 1]]
    rows = pd.DataFrame(
        {
            "sequence": np.repeat(["a", "b", "c"], 4),
            "flooded": np.ravel(flooded) == 1,
            "probability": np.ravel(said) * 0.8 + 0.1,
            "padded": [False] * 3 + [True] + [False] * 8,
        }
    )
    scores = {
        name: [score(t, s, zero_division=0) for t, s in zip(flooded, said, strict=True)]
        for name, score in (
            ("precision", reference.precision_score),
            ("recall", reference.recall_score),
            ("f1", reference.f1_score),
        )
    }
    counted = scoring.sequence_means(rows, 0.5, padded=True).set_index("statistic")["value"]
    for name, values in scores.items():
        assert counted[name] == pytest.approx(np.mean(values)), name
    assert counted["recall"] == pytest.approx((1 / 2 + 0 + 3 / 4) / 3)
    assert counted["accuracy"] == pytest.approx((3 / 4 + 3 / 4 + 3 / 4) / 3)
    alone = scoring.sequence_means(rows, 0.5).set_index("statistic")["value"]
    assert alone["accuracy"] == pytest.approx((2 / 3 + 3 / 4 + 3 / 4) / 3)


def test_published_scores_stand_under_their_sources():
    table = explore.published_scores().set_index(["source", "sensors"])
    assert list(table.columns) == ["averaging", *explore.STATISTICS]
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
        ["Wiesniakowski et al. 2024", "not stated", 0.6590, 0.0772],
        ["convlstm", "left out", 0.6, 0.1],
        ["convlstm", "counted", pytest.approx(0.7), pytest.approx(0.2)],
        ["utae", "left out", 0.8, 0.3],
        ["utae", "counted", 0.9, 0.4],
    ]
    assert found["averaging"].tolist() == ["mean over sequences", *["all images pooled"] * 4]
    assert list(found.columns) == ["source", "padded steps", "averaging", *explore.STATISTICS]
    assert len(explore.padded_scores({})) == 1
