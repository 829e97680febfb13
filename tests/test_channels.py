"""What a network reads of a store: the channels asked for in their order, squares of pixels averaged."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from eolab import tasks
from eolab.core.errors import ParameterError
from eolab.data.store import ArraySpec, write_store
from eolab.studies import flood
from eolab.tasks import channels as module

H, W, IMAGES = 6, 12, 8
BANDS = ["B02", "B04", "MNDWI"]


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    rng = np.random.default_rng(0)
    found = rng.normal([0, 5, -1], [1, 2, 0.1], (IMAGES, H, W, 3)).astype("float32")
    found[rng.random(found.shape) < 0.3] = np.nan
    found[2, :3, :4, 1] = np.nan  # a square without any value
    return found


@pytest.fixture(scope="module")
def store(values, tmp_path_factory):
    table = pd.DataFrame({"id": range(IMAGES), "sequence": list("aabbccdd")})
    table["split"] = ["train"] * 4 + ["validation"] * 2 + ["test"] * 2
    return write_store(
        tmp_path_factory.mktemp("S2") / "store",
        table,
        {"image": ArraySpec(("y", "x", "band"), (H, W, 3), "float32", {}, "allow")},
        "sequence",
        lambda rows: {"image": values[rows["id"]]},
        {},
        {"coords": {"band": BANDS}},
        progress=False,
    )


TRAIN = np.arange(4)


@pytest.mark.parametrize("names", [("MNDWI", "B02"), ("B04",), ("B02", "B04", "MNDWI")])
def test_channels_come_in_the_order_asked_for(store, values, names):
    channels = tasks.select(store, TRAIN, names)
    expected = values[[5, 0, 5]][..., [BANDS.index(name) for name in names]]
    np.testing.assert_array_equal(channels.assemble(store.gather([5, 0, 5])["image"]), expected)
    assert channels.size(H, W) == (H, W)
    assert channels == tasks.Channels.from_dict(json.loads(json.dumps(dataclasses.asdict(channels))))


@pytest.mark.parametrize("side", [2, 3, 4, 5, 6])
def test_a_pooled_pixel_is_the_mean_of_the_values_in_its_square(store, values, side):
    channels = tasks.select(store, TRAIN, ("B04", "B02"), pooling=side)
    rows = np.array([2, 7])
    found = channels.assemble(store.gather(rows)["image"])
    assert found.dtype == np.float32
    assert channels.size(H, W) == {2: (3, 6), 3: (2, 4), 4: (2, 3), 5: (2, 3), 6: (1, 2)}[side]
    assert found.shape == (2, *channels.size(H, W), 2)
    for place in np.ndindex(found.shape):
        n, y, x, band = place
        square = values[rows[n], y * side : y * side + side, x * side : x * side + side, 1 - band]
        seen = square[~np.isnan(square)]
        expected = seen.mean() if len(seen) else np.nan
        np.testing.assert_allclose(found[place], expected, rtol=1e-5, atol=1e-6)
    assert side > 3 or np.isnan(found).any()


def test_statistics_are_those_of_the_chosen_channels_in_training_images(store, values):
    found = tasks.select(store, TRAIN, ("MNDWI", "B02"), pooling=2)
    train = values[:4].reshape(-1, 3).astype(float)[:, [2, 0]]
    np.testing.assert_allclose(found.mean, np.nanmean(train, axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.std, np.nanstd(train, axis=0), rtol=1e-6)
    assert flood.scoring.select({"S2": store}, {"S2": found.names}, 2) == {"S2": found}


def test_a_channel_that_the_store_lacks_is_named(store):
    with pytest.raises(ParameterError, match=r"store has no channel 'MNDVI': did you mean 'MNDWI'\?"):
        tasks.select(store, TRAIN, ("B02", "MNDVI"))


@pytest.mark.parametrize("pooling", [0, -2, 7, 12])
def test_squares_that_do_not_fit_are_refused(store, pooling):
    with pytest.raises(ParameterError, match=f"pooling is {pooling}: expected 1 to 6, for images of 6 × 12"):
        tasks.select(store, TRAIN, ("B02",), pooling=pooling)


@pytest.mark.parametrize("side", [2, 4, 8])
def test_every_side_of_the_sweep_serves_the_reports_images(side):
    images = np.ones((1, 522, 544, 1), np.float32)
    found = module.average_pooling(images, side)
    assert found.shape == (1, -(-522 // side), 544 // side, 1)
    assert (found == 1).all()  # the last row is the mean of what it has


def test_a_sensor_without_channels_is_left_out(store):
    found = flood.scoring.select({"S1": store, "S2": store}, {"S1": [], "S2": ["B04", "B02"]}, 3)
    assert list(found) == ["S2"]
    assert (found["S2"].names, found["S2"].pooling) == (("B04", "B02"), 3)
    assert list(flood.scoring.select({"S2": store}, {"S1": [], "S2": ["B04"]})) == ["S2"]


def test_no_channel_or_no_such_store_is_said(store):
    with pytest.raises(ParameterError, match="No channel is chosen: name one of Sentinel-1 or of Sentinel-2"):
        flood.scoring.select({"S1": store, "S2": store}, {"S1": [], "S2": []})
    with pytest.raises(ParameterError, match=r"no store of sensor 'S1': .*Known: S2"):
        flood.scoring.select({"S2": store}, {"S1": ["VH"], "S2": ["B02"]})
