"""Facts of the flood data: published numbers on the real lists, regions, and reasons counted together."""

from __future__ import annotations

import pandas as pd
import pytest

from eolab.flood import explore
from eolab.readers import sen12flood as reader


def test_the_real_lists_give_the_published_facts(real_data):
    table = explore.facts(reader.index(real_data / "sen12flood_lists"))
    assert table["here"].tolist() == pytest.approx(table["published"].tolist(), abs=0.05)


def test_real_scenes_lie_in_a_few_regions(real_data):
    root = real_data / "sen12flood_lists"
    scenes = reader.scenes(root, reader.index(root))
    found = explore.regions(scenes)
    assert found.notna().all()
    assert 3 <= found.nunique() <= 60
    counts = found.value_counts()
    assert counts["R1"] == counts.max()
    for _, part in scenes.groupby(found):
        assert part["longitude"].max() - part["longitude"].min() < 20


def test_regions_are_chains_of_near_scenes():
    scenes = pd.DataFrame({"longitude": [0, 1, 2, 9, 9.5], "latitude": [0, 0, 0, 5, 5]}, index=list("abcde"))
    assert explore.regions(scenes).to_dict() == {"a": "R1", "b": "R1", "c": "R1", "d": "R2", "e": "R2"}
    assert explore.regions(scenes[:1]).tolist() == ["R1"]


def test_like_reasons_are_counted_together():
    files = pd.DataFrame(
        [
            ("a", "ok", ""),
            ("b", "rejected", "of 1,234 bytes is damaged (tifffile: x; GDAL: y): fetch it again"),
            ("c", "rejected", "of 99 bytes is damaged (tifffile: z; GDAL: y): fetch it again"),
            ("d", "rejected", "has values in 60% of the pixels of its date, expected 75% or more"),
            ("e", "rejected", "names no file for 2019-03-28"),
        ],
        columns=["file", "status", "reason"],
    )
    table = explore.reasons(files)
    assert table["files"].tolist() == [2, 1, 1]
    assert table.loc[0, "reason"] == "is damaged"
    assert table.loc[0, "example"] == "b"
    assert set(table["reason"]) == {
        "is damaged",
        "has values in … of the pixels of its date, expected … or more",
        "names no file for …",
    }
