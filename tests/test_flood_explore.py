"""Facts of the flood data: published numbers on the real lists, regions, and reasons counted together."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from sklearn.metrics import roc_auc_score

from eolab.core.errors import ParameterError
from eolab.data.layouts import sen12flood as reader
from eolab.studies.flood import explore
from eolab.synthetic import sen12flood as twins


def test_the_real_lists_give_the_published_facts(real_data):
    table = explore.facts(reader.index(real_data / "sen12flood_lists"))
    assert table["here"].tolist() == pytest.approx(table["published"].tolist(), abs=0.05)
    shown = table.to_csv(index=False)
    assert "sequences,335,335\n" in shown  # not 335.0


def test_real_sequences_lie_in_a_few_regions(real_data):
    root = real_data / "sen12flood_lists"
    sequences = reader.sequences(root, reader.index(root))
    found = explore.regions(sequences)
    assert found.notna().all()
    assert 3 <= found.nunique() <= 60
    counts = found.value_counts()
    assert counts["R1"] == counts.max()
    for _, part in sequences.groupby(found):
        assert part["longitude"].max() - part["longitude"].min() < 20


def test_regions_are_chains_of_near_sequences():
    sequences = pd.DataFrame(
        {"longitude": [0, 1, 2, 9, 9.5], "latitude": [0, 0, 0, 5, 5]}, index=list("abcde")
    )
    assert explore.regions(sequences).to_dict() == {"a": "R1", "b": "R1", "c": "R1", "d": "R2", "e": "R2"}
    assert explore.regions(sequences[:1]).tolist() == ["R1"]


# === What is in a store, and what is worth a look ===


def test_images_are_counted_by_split_and_sensor():
    rows = [("a", "train", 0), ("a", "train", 1), ("b", "train", 0), ("c", "validation", 1), ("d", "test", 0)]
    s1 = pd.DataFrame(rows, columns=["sequence", "split", "flooded"]).astype({"flooded": bool})
    found = explore.split_counts({"S1": s1, "S2": s1[s1["sequence"] != "c"]})
    expected = [
        ("train", "S1", 2, 3, 1 / 3),
        ("train", "S2", 2, 3, 1 / 3),
        ("validation", "S1", 1, 1, 1.0),
        ("validation", "S2", 0, 0, float("nan")),
        ("test", "S1", 1, 1, 0.0),
        ("test", "S2", 1, 1, 0.0),
    ]
    pd.testing.assert_frame_equal(
        found, pd.DataFrame(expected, columns=["split", "sensor", "sequences", "images", "flooded"])
    )


def test_distributions_are_of_medians_and_shares_of_training_images():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"flooded": rng.random(60) < 0.5, "split": ["train"] * 40 + ["test"] * 20})
    for name in ("VH_mean", "VH_p50", "VH_p95", "dark", "B04_p50", "bright"):
        table[name] = rng.normal(size=60) + table["flooded"]
    numbers = {
        "S1": table.drop(columns=["B04_p50", "bright"]),
        "S2": table.drop(columns=["VH_mean", "VH_p50", "VH_p95", "dark"]),
    }
    found = explore.image_distributions(numbers).set_index(["feature", "class"])
    assert set(found.index.get_level_values(0)) == {"S1 VH median", "S1 dark", "S2 B04 median", "S2 bright"}
    train = table[:40]
    for title, column in (("S1 VH median", "VH_p50"), ("S2 bright", "bright")):
        medians = train.groupby("flooded")[column].median()
        assert found.loc[(title, "dry"), "q50"] == pytest.approx(medians[False])
        assert found.loc[(title, "flooded"), "q50"] == pytest.approx(medians[True])
        assert found.loc[(title, "dry"), "auc"] == pytest.approx(
            roc_auc_score(train["flooded"], train[column])
        )


def test_sequences_worth_a_look_are_the_longest_hidden_one_and_then_the_worst():
    predictions = pd.DataFrame(
        [
            *[("good", 1, 0.9)] * 3,  # mean error 0.1
            *[("hidden", 0, 0.2)] * 2,
            *[("hidden_longer", 1, 0.7)] * 4,
            *[("bad", 1, 0.1)] * 2,
            *[("worse", 0, 0.95), ("worse", 0, 0.95)],
        ],
        columns=["sequence", "flooded", "probability"],
    ).astype({"flooded": bool})
    hidden = ["hidden", "hidden_longer", "elsewhere"]
    order = ["hidden_longer", "worse", "bad", "hidden", "good"]
    assert explore.example_sequences(predictions, hidden, 9) == order
    assert explore.example_sequences(predictions, hidden, 2) == order[:2]
    assert explore.example_sequences(predictions, [], 2) == ["worse", "bad"]
    assert explore.example_sequences(predictions, ["worse"], 2) == ["worse", "bad"]
    assert explore.example_sequences(predictions, hidden, 0) == []


# === Pictures ===


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "twin"
    return twins.write(folder, seed=1, train=2, test=1, size=48, progress=False)


def test_pictures_are_those_of_the_reader(twin):
    images = reader.index(twin)
    sequence = images["sequence"].iloc[0]
    found = explore.pictures(twin, images, sequence, (12, 10))
    channels = {"S1": ["VH"], "S2": ["B04", "B03", "B02"]}
    assert list(found) == list(channels)
    for sensor, names in channels.items():
        expected = reader.open_layout(twin, sequence, sensor, names, (12, 10))
        xr.testing.assert_equal(found[sensor]["image"], expected["image"])
        assert found[sensor]["image"].shape[1:] == (len(names), 12, 10)
        assert found[sensor].attrs["sequence"] == sequence


def test_a_sensor_without_a_file_has_no_pictures(twin):
    images = reader.index(twin)
    sequence = images["sequence"].iloc[0]
    images.loc[(images["sequence"] == sequence) & (images["sensor"] == "S2"), "filename"] = ""
    assert list(explore.pictures(twin, images, sequence, (12, 10))) == ["S1"]


def test_a_sequence_that_is_not_there_is_named(twin):
    with pytest.raises(ParameterError, match=r"no sequence '00001': did you mean '0001'"):
        explore.pictures(twin, reader.index(twin), "00001")
