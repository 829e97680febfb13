"""Days from the onset of a flood to its detection, against an example worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from eolab.core.errors import DataError, ParameterError
from eolab.studies.flood import delay

# sequence: (day of January 2019, flooded, probability); alarms are those of 0.5 and more.
IMAGES = {
    "at_once": [(1, 0, 0.1), (5, 0, 0.2), (10, 1, 0.9), (20, 1, 0.3)],
    "late": [(1, 0, 0.1), (10, 1, 0.4), (12, 1, 0.4), (22, 1, 0.5), (25, 1, 0.1)],
    "never": [(2, 0, 0.1), (8, 1, 0.2), (30, 1, 0.49)],
    "early_then_late": [(1, 0, 0.8), (4, 0, 0.1), (9, 1, 0.1), (15, 1, 0.6)],
    "early_then_never": [(3, 0, 0.7), (9, 1, 0.1)],
    "dry": [(1, 0, 0.1), (9, 0, 0.3)],
    "dry_alarm": [(1, 0, 0.1), (9, 0, 0.6), (11, 0, 0.9)],
    "dry_too": [(7, 0, 0.0)],
}


def make_table(images=None) -> pd.DataFrame:
    rows = [
        (sequence, pd.Timestamp(2019, 1, day), bool(flooded), probability)
        for sequence, part in (images or IMAGES).items()
        for day, flooded, probability in part
    ]
    return pd.DataFrame(rows, columns=["sequence", "date", "flooded", "probability"])


def day(number: int) -> pd.Timestamp:
    return pd.Timestamp(2019, 1, number)


def test_detections_are_those_worked_out_by_hand():
    found = delay.detections(make_table(), 0.5)
    expected = pd.DataFrame(
        [
            ("at_once", day(10), day(10), 0, 1, False, 2),
            ("late", day(10), day(22), 12, 3, False, 4),
            ("never", day(8), pd.NaT, np.nan, np.nan, False, 2),
            ("early_then_late", day(9), day(15), 6, 2, True, 2),
            ("early_then_never", day(9), pd.NaT, np.nan, np.nan, True, 1),
        ],
        columns=["sequence", "onset", "detected", "days", "images_until", "early", "images_after"],
    )
    days = dict.fromkeys(["onset", "detected"], "datetime64[ns]")
    pd.testing.assert_frame_equal(found, expected.astype(days), check_dtype=False)


def test_the_summary_counts_never_as_infinite():
    found = delay.summary(make_table(), 0.5)
    # delays in order: 0, 6, 12, never, never
    assert found == {
        "sequences": 5,
        "detected": 3 / 5,
        "days_q25": 6,
        "days_median": 12,
        "days_q75": math.inf,
        "early": 2 / 5,
        "dry_sequences": 3,
        "dry_alarms": 1 / 3,
    }


def test_quantiles_are_the_days_within_which_that_share_is_detected():
    # Alarms 0, 1, …, n - 1 days after the onset; the reference counts.
    for count in range(1, 9):
        images = {f"{k}": [(1, 1, 0.0), (1 + k, 1, 1.0)] for k in range(count)}
        found = delay.summary(make_table(images), 0.5)
        for name, share in (("days_q25", 0.25), ("days_median", 0.5), ("days_q75", 0.75)):
            expected = next(d for d in range(count) if (d + 1) / count >= share)
            assert found[name] == expected, (count, name)


def test_the_threshold_itself_is_an_alarm_and_a_higher_one_finds_less():
    table = make_table()
    by_threshold = [delay.summary(table, threshold) for threshold in (0.0, 0.5, 0.51, 0.95)]
    assert [found["detected"] for found in by_threshold] == [1.0, 0.6, 0.4, 0.0]
    assert [found["days_median"] for found in by_threshold] == [0, 12, math.inf, math.inf]
    assert [found["dry_alarms"] for found in by_threshold] == pytest.approx([1, 1 / 3, 1 / 3, 0])


def test_rows_may_stand_in_any_order():
    table = make_table()
    shuffled = table.sample(frac=1, random_state=3)
    found = delay.detections(shuffled, 0.5).set_index("sequence").sort_index()
    pd.testing.assert_frame_equal(found, delay.detections(table, 0.5).set_index("sequence").sort_index())


def test_two_images_of_one_day_are_two_images():
    table = make_table({"a": [(5, 1, 0.1), (5, 1, 0.9)]})
    assert delay.detections(table, 0.5).loc[0, ["days", "images_until"]].tolist() == [0, 2]


def test_onsets_may_be_given():
    onsets = {"at_once": day(7), "late": "2019-01-26", "dry": day(5), "never": pd.NaT, "unknown": day(1)}
    found = delay.detections(make_table(), 0.5, onsets).set_index("sequence")
    assert found.index.tolist() == ["at_once", "late", "dry"]
    assert found.loc["at_once", ["days", "images_until", "early"]].tolist() == [3, 1, False]
    assert found.loc["late", ["images_after", "early"]].tolist() == [0, True]  # its series ends before
    assert np.isnan(found.loc["late", "days"])
    assert found.loc["dry", "images_after"] == 1
    other = delay.detections(make_table(), 0.5, pd.Series(onsets)).set_index("sequence")
    pd.testing.assert_frame_equal(found, other)


def test_sequences_that_are_all_dry_or_all_flooded_leave_no_number_behind():
    dry = make_table({"a": [(1, 0, 0.9)], "b": [(1, 0, 0.1)]})
    found = delay.summary(dry, 0.5)
    assert (found["sequences"], found["dry_sequences"], found["dry_alarms"]) == (0, 2, 0.5)
    assert all(math.isnan(found[name]) for name in ("detected", "days_median", "early"))
    flooded = delay.summary(make_table({"a": [(1, 1, 0.9)]}), 0.5)
    assert (flooded["dry_sequences"], flooded["detected"]) == (0, 1.0)
    assert math.isnan(flooded["dry_alarms"])


@pytest.mark.parametrize(
    ("table", "threshold", "error", "message"),
    [
        (make_table().drop(columns="date"), 0.5, DataError, "has no date: expected a row an image"),
        (make_table().assign(date=pd.NaT), 0.5, DataError, "24 of 24 images have no date.*'union'"),
        (make_table().assign(probability=np.inf), 0.5, DataError, "have no probability: predict"),
        (make_table(), math.nan, ParameterError, "threshold is nan"),
    ],
)
def test_bad_input_ends_in_one_sentence(table, threshold, error, message):
    with pytest.raises(error, match=message):
        delay.detections(table, threshold)


def test_the_onset_is_the_first_flooded_image_of_any_sensor():
    s1 = pd.DataFrame({"sequence": ["a", "a", "b"], "date": ["2019-01-01", "2019-01-09", "2019-01-03"]})
    s2 = pd.DataFrame({"sequence": ["a", "c"], "date": ["2019-01-07", "2019-02-01"]})
    found = delay.onset_days([s1.assign(flooded=[False, True, False]), s2.assign(flooded=[True, True])])
    assert found.astype(str).to_dict() == {"a": "2019-01-07", "c": "2019-02-01"}


def test_a_table_of_nobody_has_its_columns(tmp_path):
    """Results could not read the empty table of a network with one prediction a sequence."""
    file = tmp_path / "delays.csv"
    delay.readable({}).to_csv(file, index=False)
    assert list(pd.read_csv(file).columns) == ["name", "sensors", *delay.READABLE]


def test_sequences_are_told_by_their_names():
    """Sequence "10" of a store is 10 in a table read from a file; the figure of detections was empty."""
    table = pd.DataFrame(
        {
            "sequence": [10, 10, 11],
            "date": ["2019-01-01", "2019-01-05", "2019-01-01"],
            "flooded": [False, True, False],
            "probability": [0.1, 0.9, 0.8],
        }
    )
    onsets = pd.Series({"10": pd.Timestamp("2019-01-03")})
    assert delay.detections(table, 0.5, onsets)["days"].tolist() == [2.0]
    found = delay.summary(table, 0.5, onsets)
    assert (found["sequences"], found["dry_sequences"], found["dry_alarms"]) == (1, 1, 1.0)
