"""From flood sequences to stores: formulas of the channels, usable images, splits of sequences."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from eolab.core.errors import ParameterError
from eolab.data.layouts import sen12flood as reader
from eolab.data.store import write_store
from eolab.studies import flood
from eolab.synthetic import sen12flood as twins

SIZE = (24, 20)


@pytest.fixture(scope="module")
def twin(shared_twin):
    return shared_twin(twins, seed=1, train=9, test=3, size=48)


@pytest.fixture(scope="module")
def images(twin):
    return reader.index(twin)


@pytest.fixture(scope="module")
def files(twin):
    return reader.check_layout(twin, progress=False)


def image(bands, values):
    return xr.DataArray(values, dims=("time", "band", "y", "x"), coords={"band": list(bands)})


# === Channels ===


def test_backscatter_in_decibels_has_a_floor_and_keeps_gaps():
    linear = np.array([1.0, 0.1, 0.0251189, 1e-9, np.nan], "float32").reshape(1, 1, 1, 5)
    found = flood.samples.Radar(("VH",), floor_db=-30).compute(image(["VH"], linear))
    assert found.shape == (1, 1, 5, 1)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.ravel(), [0, -10, -16, -30, np.nan], atol=1e-4)


def test_polarisations_come_in_the_order_wanted():
    linear = np.stack([np.full((2, 3, 4), 0.1), np.full((2, 3, 4), 0.01)], axis=1).astype("float32")
    found = flood.samples.Radar(("VH", "VV")).compute(image(["VV", "VH"], linear))
    np.testing.assert_allclose(found[..., 0], -20, atol=1e-4)
    np.testing.assert_allclose(found[..., 1], -10, atol=1e-4)


def test_bands_and_water_indices():
    rng = np.random.default_rng(0)
    sensor = flood.samples.Optical(("B04", "NDWI", "MNDWI"))
    assert sensor.read == ("B04", "B03", "B08", "B11")
    values = rng.uniform(0.01, 0.5, (2, 4, 3, 5)).astype("float32")
    values[0, 1, 0, 0] = np.nan  # B03
    b04, b03, b08, b11 = np.moveaxis(values, 1, 0)
    found = sensor.compute(image(sensor.read, values))
    expected = np.stack([b04, (b03 - b08) / (b03 + b08), (b03 - b11) / (b03 + b11)], axis=-1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.isnan(found[0, 0, 0]).tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: flood.samples.Radar(("HV",)), "no polarisation 'HV'"),
        (lambda: flood.samples.Optical(("B10",)), "no band or index 'B10'"),
        (lambda: flood.samples.Optical(("NDWY",)), "did you mean 'NDWI'"),
        (lambda: flood.samples.Radar(()), "name one polarisation or more"),
        (lambda: flood.samples.Optical(("B04", "B04")), "each once"),
    ],
)
def test_channels_that_do_not_exist_are_named(make, said):
    with pytest.raises(ParameterError, match=said):
        make()


# === Samples ===


def test_every_usable_image_is_a_sample_and_no_other(twin, images, files):
    truth = pd.read_csv(twin / "truth/images.csv", dtype={"sequence": str}, keep_default_na=False)
    table = flood.sample_table(images, files, twin, flood.samples.Optical())
    names = {f"{one.sequence}/{one.date:%Y-%m-%d}" for one in table.itertuples()}
    good = truth[(truth["sensor"] == "S2") & (truth["fault"] == "") & (truth["filename"] != "")]
    expected = {f"{one.sequence}/{one.date}" for one in good.itertuples()}
    assert names <= expected
    whole = good[good["covers"]]
    assert {f"{one.sequence}/{one.date}" for one in whole.itertuples()} <= names
    assert table["id"].tolist() == list(range(len(table)))
    for _, series in table.groupby("sequence"):
        assert series["date"].is_monotonic_increasing


def test_a_bad_file_of_another_channel_costs_nothing(images, files, twin):
    spoilt = files.copy()
    spoilt.loc[spoilt["file"].str.contains("_B12"), ["status", "reason"]] = ["rejected", "is damaged"]
    assert len(flood.sample_table(images, spoilt, twin, flood.samples.Optical())) == len(
        flood.sample_table(images, files, twin, flood.samples.Optical())
    )
    assert flood.sample_table(images, spoilt, twin, flood.samples.Optical(("B12",))).empty


def test_whole_sequences_are_split_and_the_test_is_the_published_one(images, files, twin):
    tables = [
        flood.sample_table(images, files, twin, s) for s in (flood.samples.Radar(), flood.samples.Optical())
    ]
    split = flood.samples.sequence_splits(tables, 1 / 3, seed=4)
    assert split.index.is_unique
    assert split.value_counts().to_dict() == {"train": 6, "validation": 3, "test": 3}
    published = pd.concat(tables).groupby("sequence")["published"].first()
    assert set(published[split[split == "test"].index]) == {"test"}
    assert set(published[split[split != "test"].index]) == {"train"}
    flooded = pd.concat(tables).groupby("sequence")["flooded"].any()
    assert flooded[split[split == "validation"].index].nunique() == 2
    assert flood.samples.sequence_splits(tables, 1 / 3, seed=4).equals(split)
    others = [
        set(flood.samples.sequence_splits(tables, 1 / 3, seed=s)[lambda x: x == "validation"].index)
        for s in range(5)
    ]
    assert len({frozenset(one) for one in others}) > 1


def test_change_is_against_the_first_images_and_looks_at_no_later_one(images, twin):
    sequence = images.loc[images["sensor"] == "S1", "sequence"].iloc[0]
    series, _ = reader.read_series(twin, reader.of_sequence(images, sequence, "S1"), ["VH"], SIZE)
    sensor = flood.samples.Radar(("VH",), reference_images=2)
    assert sensor.layers == ("VH", "VH_change")
    found = sensor.compute(series["image"])
    assert found.shape == (series.sizes["time"], *SIZE, 2)
    dry = np.nanmean(found[:2, ..., 0], axis=0)  # the median of two is their mean
    np.testing.assert_allclose(found[1:, ..., 1], found[1:, ..., 0] - dry, atol=1e-5)
    for last in (1, 2, 3):  # the first image was compared with the second
        np.testing.assert_array_equal(sensor.compute(series["image"][:last]), found[:last])
    assert flood.samples.Optical(("B04", "MNDWI"), reference_images=1).layers == (
        "B04",
        "MNDWI",
        "B04_change",
        "MNDWI_change",
    )
    with pytest.raises(ParameterError, match="reference_images is -1"):
        flood.samples.Optical(reference_images=-1)


def test_the_store_has_the_images_sequence_by_sequence(images, files, twin, tmp_path):
    sensor = flood.samples.Radar(("VV", "VH"))
    table = flood.sample_table(images, files, twin, sensor)
    produce = flood.sample_producer(twin, images, sensor, SIZE)
    arrays = flood.store_arrays(sensor, SIZE)
    store = write_store(tmp_path / "s1", table, arrays, "sequence", produce, {}, progress=False)
    sequence = table["sequence"].iloc[-1]
    rows = np.flatnonzero(store.table["sequence"] == sequence)
    series, _ = reader.read_series(twin, reader.of_sequence(images, sequence, "S1"), ["VV", "VH"], SIZE)
    found = store.gather(rows, ["image", "label"])
    expected = np.maximum(10 * np.log10(np.moveaxis(series["image"].values, 1, -1)), -35)
    np.testing.assert_allclose(found["image"], expected, rtol=1e-5)
    assert found["label"].tolist() == series["flooded"].astype(int).values.tolist()


# === Places ===


def test_a_sample_knows_where_its_sequence_lies(images, files, twin):
    sequences = reader.sequences(twin, images)
    table = flood.sample_table(images, files, twin, flood.samples.Radar())
    centre = sequences.loc[table["sequence"], ["longitude", "latitude"]].to_numpy()
    np.testing.assert_array_equal(table[["lon", "lat"]].to_numpy(), centre)
    assert table[["x", "y"]].notna().all(axis=None)


def test_metres_within_a_region_are_those_on_the_ground():
    lon, lat = np.array([30.0, 30.05, 30.0, 120.0]), np.array([-33.0, -33.0, -33.4, 10.0])
    sequences = pd.DataFrame({"longitude": lon, "latitude": lat}, index=list("abcd"))
    places = flood.samples.sequence_places(sequences)
    x, y = places[["x", "y"]].to_numpy().T
    degree = np.pi / 180 * 6_371_000
    assert np.hypot(x[1] - x[0], y[1] - y[0]) == pytest.approx(
        0.05 * degree * np.cos(np.radians(33)), rel=0.01
    )
    assert np.hypot(x[2] - x[0], y[2] - y[0]) == pytest.approx(0.4 * degree, rel=0.01)
    assert np.hypot(x[3] - x[0], y[3] - y[0]) > 5e6


def test_regions_are_held_out_whole_and_far_from_training_sequences(real_data):
    root = real_data / "sen12flood_lists"
    images = reader.index(root)
    sequences = reader.sequences(root, images)
    regions = flood.explore.regions(sequences)
    listed = reader.passes(images)
    split = flood.samples.sequence_splits([listed], 0.2, seed=0, regions=regions, test=0.25)
    assert set(split) == {"train", "validation", "test"}
    assert pd.DataFrame({"region": regions, "split": split}).groupby("region")["split"].nunique().eq(1).all()
    assert flood.samples.nearest_training(sequences, split)["distance_deg"].min() > 1.5
    found = flood.samples.possible_splits([listed], sequences, "published", 0.2, 0.25, 0)
    assert list(found) == ["published", "regions"]
    assert flood.samples.nearest_training(sequences, found["regions"])["distance_deg"].min() > 4


def test_a_split_that_is_not_possible_is_refused_if_chosen_and_else_left_out(images, files, twin):
    table = flood.sample_table(images, files, twin, flood.samples.Radar())
    one = reader.sequences(twin, images).assign(longitude=30.0, latitude=-20.0)
    assert list(flood.samples.possible_splits([table], one, "published", 0.3, 0.3, 0)) == ["published"]
    with pytest.raises(ParameterError, match="There are 1 groups in column 'region'"):
        flood.samples.possible_splits([table], one, "regions", 0.3, 0.3, 0)
    known = table[table["published"] == "train"]
    with pytest.raises(ParameterError, match="is left for test: choose another split"):
        flood.samples.possible_splits([known], one, "published", 0.3, 0.3, 0)


def test_real_test_sequences_lie_beside_training_sequences(real_data):
    """Four are nearer in degrees, at the equator where a degree is long; in metres they are like the rest."""
    root = real_data / "sen12flood_lists"
    sequences = reader.sequences(root, reader.index(root))
    near = flood.samples.nearest_training(sequences, sequences["published"])
    assert len(near) == 68
    assert near["adjoins"].sum() == 67
    assert set(near.index[near["distance_deg"] < 0.046]) == {"30", "38", "45", "49"}
    assert near["distance_m"].min() > 0.99 * 5120
    assert near["distance_m"].median() == pytest.approx(5114, abs=10)
    assert (sequences.loc[near["nearest"], "published"] == "train").all()
