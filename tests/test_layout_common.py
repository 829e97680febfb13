"""What readers share: names of files, folders that hold something else, dates and JSON files of strangers."""

from __future__ import annotations

import os
from datetime import datetime

import numpy as np
import pytest

from eolab.core.errors import DataError
from eolab.data.layouts import common


def test_files_in_capitals_count_and_hidden_ones_are_one_row(tmp_path):
    for name in ("image_2.h5", "image_1.H5", "._image_1.h5", "._image_2.h5", "Thumbs.db", "notes.txt"):
        (tmp_path / name).touch()
    files, left = common.files_in(tmp_path, ".h5")
    assert [file.name for file in files] == ["image_1.H5", "image_2.h5"]
    ((file, reason),) = left
    assert file.name == "._image_1.h5"
    assert "macOS leaves beside others, and holds no data (2 such files here)" in reason
    assert common.files_in(tmp_path / "none", ".h5") == ([], [])


def test_what_lies_instead_is_named_with_the_remedy(tmp_path):
    say = common.lies_instead
    assert say(tmp_path, "S1list.json").startswith("found an empty folder: give the folder")
    assert say(tmp_path / "none", "S1list.json") == "found no such folder: check its path"
    (tmp_path / "SEN12FLOOD.zip").touch()
    (tmp_path / "._S1list.json").touch()
    assert say(tmp_path, "S1list.json").startswith("found the archive SEN12FLOOD.zip: unpack it")
    assert say(tmp_path / "SEN12FLOOD.zip") == "found a file: unpack it and give the folder"
    inner = tmp_path / "SEN12FLOOD" / "SEN12FLOOD"
    inner.mkdir(parents=True)
    (inner / "S1list.json").touch()
    assert say(tmp_path, "S2list.json", "S1list.json") == f"found S1list.json in {inner}: give that folder"
    (inner / "0063").mkdir()
    assert say(inner / "0063", "S1list.json") == f"found S1list.json in {inner}: give that folder"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2017-06-13 10:10:31", datetime(2017, 6, 13, 10, 10, 31)),
        ("2017-06-13T15:10:31+05:00", datetime(2017, 6, 13, 10, 10, 31)),
        ("2020-07-17T22:19:41.024Z", datetime(2020, 7, 17, 22, 19, 41, 24000)),
        ("2019-01-24", datetime(2019, 1, 24)),
    ],
)
def test_dates_are_in_utc_without_a_zone(text, expected):
    assert common.read_date(text) == expected


@pytest.mark.parametrize(
    "text", ["9999-12-31", "9999-12-31T23:59:59-05:00", "0001-01-01T00:00+05:00", "1969-01-01", "", None, "x"]
)
def test_dates_that_no_image_has_are_refused(text):
    with pytest.raises(DataError, match=r"has the date .*, expected one such as 2017-06-13T10:10:31"):
        common.read_date(text)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"a": 1,\n "b": {\n  "x": 1, "x": 2}}', "the key 'x' is written twice in the block .* line 2"),
        (b'{"a": 1, "a": 1}', "the key 'a' is written twice in the block that begins in line 1"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": 1', "no whole JSON file"),
        (b"[1]", "holds no block"),
    ],
)
def test_a_json_file_that_says_a_thing_twice_is_refused(tmp_path, content, words):
    """The second of two values was taken without a word."""
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match=f"a.json .*{words}"):
        common.read_json(tmp_path / "a.json")


def test_names_that_are_no_utf_8_can_be_printed_and_written(tmp_path):
    """A Latin-1 name in a listing ended reports, tables and the command with UnicodeEncodeError."""
    file = tmp_path / os.fsdecode(b"caf\xe9.tif")
    table = common.report([(common.below(tmp_path, file), "is odd"), (str(file), "is odd")])
    assert table["file"].str.contains(r"caf\udce9.tif", regex=False).all()
    assert str(DataError(f"{file} is odd")).encode()
    _, reason = common.attempt(common.read_json, file)
    assert reason == "is missing"


def test_a_polygon_in_metres_is_none_in_degrees():
    """Regression: metres were taken for degrees, and sequences lay thousands of kilometres apart."""
    square = np.array([[0, 0], [0, 1], [1, 1], [1, 0], [0, 0]])
    for shift, sound in (((14, 46), True), ((500_000, 5_100_000), False), ((14, np.nan), False)):
        ring = common.ring_of({"coordinates": [(square + shift).tolist()]})
        assert (ring is not None) == sound
