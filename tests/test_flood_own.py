"""Image series of one's own in the flood study: an index from dated GeoTIFFs and a table of labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import own_example
import pandas as pd
import pytest

from eolab.core.errors import DataError, EolabWarning
from eolab.data.layouts import sen12flood
from eolab.studies import flood

DAYS = ("2020-03-01", "2020-04-02", "2020-05-03")


def places(folder: Path, count: int = 8, radar: bool = True) -> None:
    """Write images of both sensors, a file a day and sensor, and labels; place k lies k kilometres east."""
    rows = []
    for place in range(count):
        corner = (own_example.CORNER[0] + 1000 * place, own_example.CORNER[1])
        for number, day in enumerate(DAYS):
            optical = own_example.numbers(4, 12, 12, seed=10 * place + number)
            own_example.image(folder / f"images/p{place}/s2_{day}.tif", optical, place=corner)
            if radar:
                power = np.random.default_rng(place).gamma(4, 0.01, (2, 12, 12)).astype("float32")
                file = folder / f"images/p{place}/s1_{day}.tif"
                own_example.image(file, power, names=("VV", "VH"), place=corner)
            rows.append((f"p{place}", day, int(place % 2 == 0 and number > 0)))
    pd.DataFrame(rows, columns=["place", "date", "flooded"]).to_csv(folder / "labels.csv", index=False)


def entry(folder: Path, more: str = ""):
    return own_example.entry(
        folder,
        '  images: {folder: images, files: "{tile}/*_{date}.tif"}\n'
        "  pixels: {scale: 0.0001, offset: 0}\n"
        "  labels: {flooded: {file: labels.csv}}\n" + more,
    )


def test_images_of_places_are_an_index_of_the_study_with_sensors_told_by_their_bands(tmp_path):
    places(tmp_path)
    images = flood.source.index(entry(tmp_path))
    assert images.groupby("sensor").size().to_dict() == {"S1": 24, "S2": 24}
    assert set(images["channels"]) == {"VV+VH", "B02+B03+B04+B08"}
    assert images.groupby("sequence")["flooded"].sum().tolist() == [4, 0] * 4
    assert images.groupby("sequence")["published"].first().value_counts().to_dict() == {
        "train": 6,
        "test": 2,
    }
    outlines = sen12flood.sequences(tmp_path, images)
    assert outlines["longitude"].is_monotonic_increasing
    assert outlines["longitude"].diff().iloc[1] == pytest.approx(0.01254, rel=0.01)  # a kilometre at 44.2 °N
    cut = entry(tmp_path, "  dates: [2020-04-01, 2020-12-31]\n")
    assert flood.source.index(cut)["date"].min() == pd.Timestamp("2020-04-02")
    west = entry(tmp_path, "  bounds: [14.9, 44, 15.03, 45]\n")
    assert flood.source.index(west)["sequence"].unique().tolist() == ["p0", "p1", "p2"]


def test_the_four_functions_make_a_store_of_the_values_in_the_files(tmp_path):
    places(tmp_path)
    own = entry(tmp_path)
    images, files = flood.source.index(own), own.check(progress=False).files
    with pytest.warns(EolabWarning, match="Images of S2 have no B11, MNDWI: these channels are left out"):
        sensors = flood.source.sensors_of(images, ["VH"], ["B04", "B08", "B11", "MNDWI"], -35.0, 0)
    for name, number, scale in (("S1", 1, None), ("S2", 2, 1e-4)):
        sensor = sensors[name]
        table = flood.sample_table(images, files, own.path, sensor)
        assert len(table) == 24
        part = table[table["sequence"] == "p3"]
        found = flood.sample_producer(own.path, images, sensor, (12, 12))(part)["image"][1, ..., 0]
        if scale:
            expected = own_example.numbers(4, 12, 12, seed=31)[number] * scale
        else:
            power = np.random.default_rng(3).gamma(4, 0.01, (2, 12, 12)).astype("float32")[number]
            expected = 10 * np.log10(power)
        np.testing.assert_allclose(found, expected, rtol=1e-4)
        assert flood.store_metadata(own, sensor)["coords"]["band"] == list(sensor.layers)


def test_one_label_a_place_and_one_sensor_are_enough(tmp_path):
    places(tmp_path, radar=False)
    rows = [
        (f"p{number}", "yes" if number % 2 else "no", ("train", "test")[number < 2]) for number in range(8)
    ]
    pd.DataFrame(rows, columns=["site", "flood", "split"]).to_csv(tmp_path / "labels.csv", index=False)
    images = flood.source.index(entry(tmp_path))
    assert set(images["sensor"]) == {"S2"}
    assert images.groupby("sequence")["flooded"].mean().tolist() == [0, 1] * 4
    assert sorted(images.loc[images["published"] == "test", "sequence"].unique()) == ["p0", "p1"]
    assert list(flood.source.sensors_of(images, ["VH"], ["B04"], -35.0, 1)) == ["S2"]
    numbers = {"S2": pd.DataFrame(columns=["sequence", "date", "flooded", "x", "y"])}
    with pytest.warns(EolabWarning, match="what water_index, dark_radar, statistics_s1 read"):
        kept = flood.baselines.possible(["all"], numbers)
    assert kept == ["majority", "statistics_s2", "calendar", "neighbour"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("place,flooded\np0,maybe\n", "has the label 'maybe': "),
        ("where,flooded\np0,1\n", "has the columns where, flooded: call one of them 'place'"),
        ("place,flooded\np0,1\np0,0\n", "has two labels of p0"),
        ("place,date,flooded\np0,spring,1\n", "has the date 'spring': write"),
        ("place,flooded\nq,1\n", "labels none of the places p0, p1"),
    ],
)
def test_labels_that_cannot_be_used_are_refused_in_a_sentence(tmp_path, text, fault):
    places(tmp_path, count=2, radar=False)
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(DataError, match=fault):
        flood.source.index(entry(tmp_path))


@pytest.mark.filterwarnings("ignore::eolab.core.errors.EolabWarning")
def test_images_without_a_label_are_left_out_and_other_layouts_refused(tmp_path):
    places(tmp_path, count=4, radar=False)
    (tmp_path / "labels.csv").write_text("place,flooded\np0,1\np1,0\np2,1\n")
    assert flood.source.index(entry(tmp_path))["sequence"].nunique() == 3
    (tmp_path / "other.yaml").write_text("mine: {uri: ., layout: corine_raster}\n")
    from eolab.data import catalog

    with pytest.raises(DataError, match="the flood study reads sen12flood or rasters"):
        flood.source.index(catalog.load(tmp_path / "other.yaml")["mine"])


def test_a_band_of_a_file_of_several_is_read_alone(tmp_path):
    numbers = own_example.numbers(4, 8, 8)
    file = own_example.image(tmp_path / "x.tif", numbers, nodata=0)
    found = sen12flood.read_channel(file, "S2", json.loads('{"scale": 0.0001}'), band=3)
    np.testing.assert_allclose(found, numbers[2] * 1e-4, rtol=1e-6)
