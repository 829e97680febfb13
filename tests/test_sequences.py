"""Images of several sensors as steps of one sequence: worked examples of the three fusions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from eolab.core.errors import ParameterError
from eolab.data import sequences
from eolab.studies.flood.scoring import make_sequences


def table(*rows: tuple[str, str, bool]) -> pd.DataFrame:
    found = pd.DataFrame(rows, columns=["sequence", "date", "flooded"])
    return found.assign(date=pd.to_datetime(found["date"]))


S1 = table(
    ("a", "2019-01-01", False),
    ("a", "2019-01-07", False),
    ("a", "2019-01-07", False),  # another orbit
    ("a", "2019-01-13", True),
    ("b", "2019-02-01", False),
)
S2 = table(("a", "2019-01-07", False), ("a", "2019-01-12", True), ("c", "2019-03-01", True))


def test_padding_puts_the_series_side_by_side_from_their_first_images():
    a, b, c = make_sequences({"S1": S1, "S2": S2}, "pad")
    assert a.rows["S1"].tolist() == [0, 1, 2, 3]
    assert a.rows["S2"].tolist() == [0, 1, -1, -1]
    assert a.labels.tolist() == [0, 1, 0, 1]  # dates of the sensors differ: the report's labels do not agree
    assert (b.name, b.rows["S2"].tolist(), c.rows["S1"].tolist()) == ("b", [-1], [-1])


def test_the_union_has_each_date_once_and_two_orbits_of_a_day_apart():
    a, b, c = make_sequences({"S1": S1, "S2": S2}, "union")
    assert a.rows["S1"].tolist() == [0, 1, 2, -1, 3]
    assert a.rows["S2"].tolist() == [-1, 0, -1, 1, -1]
    assert a.labels.tolist() == [0, 0, 0, 1, 1]
    assert a.dates["S1"].astype(str).tolist() == [
        "2019-01-01",
        "2019-01-07",
        "2019-01-07",
        "NaT",
        "2019-01-13",
    ]
    assert (b.length, c.labels.tolist()) == (1, [1])


def test_late_series_have_their_own_lengths_and_the_sequence_one_label():
    a, b, c = make_sequences({"S1": S1, "S2": S2}, "late")
    assert [len(a.rows[s]) for s in ("S1", "S2")] == [4, 2]
    assert [len(c.rows[s]) for s in ("S1", "S2")] == [0, 1]
    assert [one.labels.tolist() for one in (a, b, c)] == [[1], [0], [1]]
    assert a.length == 4


@pytest.mark.parametrize("fusion", sequences.FUSIONS)
def test_one_sensor_alone_has_its_images_in_every_fusion(fusion):
    a, b = make_sequences({"S1": S1}, fusion)
    assert a.rows["S1"].tolist() == [0, 1, 2, 3]
    assert b.rows["S1"].tolist() == [4]


@pytest.mark.parametrize("fusion", ["pad", "union"])
def test_every_image_is_in_exactly_one_step(fusion):
    found = make_sequences({"S1": S1, "S2": S2}, fusion)
    for sensor, rows in (("S1", len(S1)), ("S2", len(S2))):
        together = np.concatenate([one.rows[sensor] for one in found])
        assert sorted(together[together >= 0]) == list(range(rows))


def test_a_batch_is_as_long_as_its_longest_sequence():
    found = make_sequences({"S1": S1, "S2": S2}, "union")
    rows, days = sequences.padded(found[:2], "S1", 5)
    assert rows.tolist() == [[0, 1, 2, -1, 3], [4, -1, -1, -1, -1]]
    assert days.tolist() == [[0, 6, 6, 0, 12], [0, 0, 0, 0, 0]]
    assert sequences.padded_labels(found[:2], 5).tolist() == [[0, 0, 0, 1, 1], [0, 255, 255, 255, 255]]


@pytest.mark.parametrize("fusion", ["pad", "union", "late"])
def test_a_network_is_not_told_the_date(fusion):
    """Counted from a day of the calendar, days told the season of the floods."""
    found = make_sequences({"S1": S1, "S2": S2}, fusion)
    year = pd.Timedelta(days=365)
    later = make_sequences(
        {"S1": S1.assign(date=S1["date"] + year), "S2": S2.assign(date=S2["date"] + year)}, fusion
    )
    for sensor in ("S1", "S2"):
        for one, other in zip(
            sequences.padded(found, sensor, 9), sequences.padded(later, sensor, 9), strict=True
        ):
            np.testing.assert_array_equal(one, other)


def test_unknown_words_are_refused():
    with pytest.raises(ParameterError, match=r"no fusion 'unoin'.*'union'"):
        make_sequences({"S1": S1}, "unoin")
    with pytest.raises(ParameterError, match="no sensor 'S3'"):
        make_sequences({"S3": S1})
