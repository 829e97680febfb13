"""Baselines of the flood study: their numbers by hand, what they find, and what they refuse."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from eolab import flood
from eolab.errors import ParameterError
from eolab.flood import baselines
from eolab.store import write_store

H, W = 12, 10
SENSORS = {"S1": flood.Radar(("VV", "VH")), "S2": flood.Optical(("B04", "MNDWI"))}


def image(sensor: str, number: int, flooded: bool) -> np.ndarray:
    """A flooded image has 40 % water: 8 dB darker in radar, a positive index in optical images."""
    rng = np.random.default_rng(number)
    water = np.zeros((H, W), bool)
    water[:, :4] = flooded
    if sensor == "S1":
        decibels = np.where(water, -26.0, -18.0) + rng.normal(0, 0.3, (H, W))
        return np.stack([decibels + 6, decibels], axis=-1)
    index = np.where(water, 0.5, -0.4) + rng.normal(0, 0.05, (H, W))
    return np.stack([rng.uniform(0.05, 0.2, (H, W)), index], axis=-1)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    rows = [
        (scene, pd.Timestamp("2019-01-01") + pd.Timedelta(days=6 * k)) for scene in "abcdef" for k in range(6)
    ]
    table = pd.DataFrame(rows, columns=["scene", "date"])
    table.insert(0, "id", np.arange(len(table)))
    table["flooded"] = (table["scene"] < "d") & (table.groupby("scene").cumcount() >= 4)
    found = {}
    for sensor, channels in SENSORS.items():

        def produce(part, sensor=sensor):
            images = [image(sensor, n, f) for n, f in zip(part["id"], part["flooded"], strict=True)]
            stack = np.stack(images).astype("float32")
            stack[0, 0] = np.nan  # a row without values
            return {"image": stack, "label": part["flooded"].to_numpy("uint8")}

        metadata = {"coords": {"band": list(channels.channels)}, "sensor": sensor}
        found[sensor] = write_store(
            tmp_path_factory.mktemp(sensor) / "store",
            table,
            flood.store_arrays(channels, (H, W)),
            "scene",
            produce,
            {},
            metadata,
            progress=False,
        )
    return found


def test_statistics_are_those_of_numpy(stores):
    table = baselines.image_table(stores["S1"], progress=False)
    values = stores["S1"].gather(np.array([7]), ["image"])["image"][0, ..., 1].ravel()
    row = table.iloc[7]
    assert (row["scene"], row["flooded"]) == ("b", False)
    assert row["VH_mean"] == pytest.approx(np.nanmean(values), rel=1e-5)
    assert row["VH_std"] == pytest.approx(np.nanstd(values), rel=1e-4)
    assert row["VH_p95"] == pytest.approx(np.nanpercentile(values, 95), rel=1e-5)


def test_water_and_dark_pixels_are_shares_of_those_with_a_value(stores):
    optical = baselines.image_table(stores["S2"], progress=False)
    assert optical.loc[optical["flooded"], "water"].tolist() == pytest.approx([0.4] * 6)
    assert (optical.loc[~optical["flooded"], "water"] == 0).all()
    radar = baselines.image_table(stores["S1"], progress=False)
    assert (radar.loc[radar["flooded"], "dark"].between(0.35, 0.55)).all()  # a window blurs the edge
    assert (radar.loc[~radar["flooded"], "dark"] < 0.02).all()
    assert "water" not in radar
    assert "dark" not in optical


@pytest.mark.parametrize(
    ("sensor", "name"),
    [("S1", "dark_radar"), ("S2", "water_index"), ("S1", "statistics"), ("S2", "statistics")],
)
def test_a_baseline_finds_floods_of_scenes_that_it_did_not_see(stores, sensor, name):
    table = baselines.image_table(stores[sensor], progress=False)
    train, test = (table[table["scene"].isin(list(scenes))] for scenes in ("abde", "cf"))
    score = baselines.fit(name, train).score(test)
    assert score.shape == (12,)
    assert (score >= 0).all()
    assert (score <= 1).all()
    assert score[test["flooded"]].min() > score[~test["flooded"]].max()


def test_the_majority_gives_the_share_of_training(stores):
    table = baselines.image_table(stores["S1"], progress=False)
    score = baselines.fit("majority", table).score(table[:3])
    np.testing.assert_allclose(score, 6 / 36)


def test_what_is_missing_is_named(stores):
    table = baselines.image_table(stores["S1"], progress=False)
    with pytest.raises(ParameterError, match="no baseline 'majorty'"):
        baselines.fit("majorty", table)
    with pytest.raises(ParameterError, match="'water_index' needs a store with a water index"):
        baselines.fit("water_index", table)
