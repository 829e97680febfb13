"""Embeddings that users bring: GeoTIFF and Zarr mosaics read at positions, and probes on features."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr
from affine import Affine
from pyproj import Transformer

from eolab.core.errors import DataError, ParameterError
from eolab.data import embeddings
from eolab.tasks import pretraining

D, HEIGHT, WIDTH, SIDE = 4, 30, 50, 10
LEFT, TOP = 500_000, 5_000_000
PLACE = Affine(SIDE, 0, LEFT, 0, -SIDE, TOP)
NODATA = -128


def stored() -> np.ndarray:
    """int8 (D, y, x) with a row of pixels without data."""
    values = np.random.default_rng(0).integers(-127, 128, (D, HEIGHT, WIDTH)).astype(np.int8)
    values[:, 5] = NODATA
    return values


def write(path, values=None, transform=PLACE, crs="EPSG:32633", nodata=NODATA):
    values = stored() if values is None else values
    count, height, width = values.shape
    how = {"driver": "GTiff", "dtype": values.dtype, "count": count, "height": height, "width": width}
    with rasterio.open(path, "w", **how, transform=transform, crs=crs, nodata=nodata) as file:
        file.write(values)
    return path


def positions(number: int = 200):
    """Positions anywhere in the mosaic, and the row and column of the pixel of each."""
    rng = np.random.default_rng(1)
    x, y = LEFT + rng.uniform(0, WIDTH * SIDE, number), TOP - rng.uniform(0, HEIGHT * SIDE, number)
    return x, y, ((TOP - y) // SIDE).astype(int), ((x - LEFT) // SIDE).astype(int)


def expected(row, col):
    """What is stored at the pixels, NaN where there is no data."""
    return np.where((row == 5)[:, None], np.nan, stored()[:, row, col].T.astype(np.float32))


@pytest.mark.parametrize("window", [7, 1024])
def test_positions_take_the_pixel_that_they_lie_in_window_by_window(tmp_path, monkeypatch, window):
    monkeypatch.setattr(embeddings, "WINDOW", window)
    x, y, row, col = positions()
    found = embeddings.read_at(write(tmp_path / "mosaic.tif"), x, y, "EPSG:32633")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected(row, col))
    assert np.isnan(found).any()


def test_positions_in_another_reference_system_and_outside_are_known(tmp_path):
    x, y, row, col = positions()
    lon, lat = Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True).transform(x, y)
    lon, lat = np.append(lon, [0.0, lon[0]]), np.append(lat, [0.0, 89.0])
    found = embeddings.read_at(write(tmp_path / "mosaic.tif"), lon, lat, "EPSG:4326")
    np.testing.assert_array_equal(found[:-2], expected(row, col))
    assert np.isnan(found[-2:]).all()


def test_a_mosaic_from_south_to_north_is_read_alike(tmp_path):
    """The mosaics of AlphaEarth Foundations are stored so."""
    upwards = Affine(SIDE, 0, LEFT, 0, SIDE, TOP - HEIGHT * SIDE)
    path = write(tmp_path / "mosaic.tif", stored()[:, ::-1], upwards)
    x, y, row, col = positions()
    np.testing.assert_array_equal(embeddings.read_at(path, x, y, "EPSG:32633"), expected(row, col))


def test_quantised_numbers_become_those_that_they_stand_for(tmp_path):
    x, y, row, col = positions()
    path = write(tmp_path / "mosaic.tif")
    stands_for = expected(row, col)
    linear = embeddings.read_at(path, x, y, "EPSG:32633", scale=0.01)
    np.testing.assert_allclose(linear, 0.01 * stands_for, rtol=1e-5)
    squared = embeddings.read_at(path, x, y, "EPSG:32633", scale=1 / 127.5, power=2)
    np.testing.assert_allclose(squared, (stands_for / 127.5) ** 2 * np.sign(stands_for), rtol=1e-5)
    only = embeddings.read_at(path, x, y, "EPSG:32633", nodata=7)  # in place of that of the file
    np.testing.assert_array_equal(
        np.isnan(only).all(axis=1), (stored()[:, row, col] == 7).any(axis=0)
    )  # also where one dimension alone has none


def test_missing_values_of_a_float_mosaic_are_left_out_as_a_whole(tmp_path):
    values = stored().astype(np.float32)
    values[2, 9] = np.nan
    x, y, row, col = positions()
    found = embeddings.read_at(write(tmp_path / "mosaic.tif", values, nodata=None), x, y, "EPSG:32633")
    np.testing.assert_array_equal(np.isnan(found).all(axis=1), row == 9)
    np.testing.assert_array_equal(found[row != 9], values[:, row, col].T[row != 9])


@pytest.mark.parametrize("order", [("y", "x", "band"), ("band", "y", "x")])
@pytest.mark.parametrize("time", [False, True])
def test_a_zarr_store_is_read_as_the_geotiff(tmp_path, order, time):
    data = xr.DataArray(
        stored(),
        dims=("band", "y", "x"),
        coords={
            "x": LEFT + SIDE * (np.arange(WIDTH) + 0.5),
            "y": TOP - SIDE * (np.arange(HEIGHT) + 0.5),
        },
        attrs={"_FillValue": np.int8(NODATA)},
        name="embedding",
    ).transpose(*order)
    data = data.rio.write_crs("EPSG:32633")
    data = data.expand_dims(time=[2020]) if time else data
    data.to_dataset().to_zarr(tmp_path / "mosaic.zarr")
    x, y, row, col = positions()
    found = embeddings.read_at(tmp_path / "mosaic.zarr", x, y, "EPSG:32633")
    np.testing.assert_array_equal(found, expected(row, col))
    with pytest.raises(ParameterError, match="embedding"):
        embeddings.read_at(tmp_path / "mosaic.zarr", x, y, "EPSG:32633", array="embeding")


def test_a_zarr_store_without_the_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    (tmp_path / "mosaic.zarr").mkdir()
    with pytest.raises(DataError, match=r"pip install 'eolab\[zarr\]'"):
        embeddings.opened(tmp_path / "mosaic.zarr")


def test_what_is_no_mosaic_of_the_place_is_refused(tmp_path):
    path = write(tmp_path / "mosaic.tif")
    x, y, _, _ = positions(3)
    with pytest.raises(DataError, match="found no file"):
        embeddings.opened(tmp_path / "none.tif")
    (tmp_path / "text.tif").write_text("no image")
    with pytest.raises(DataError, match="expected a mosaic of embeddings"):
        embeddings.opened(tmp_path / "text.tif")
    with pytest.raises(DataError, match="of 3 positions, none lie in it"):
        embeddings.read_at(path, x + 1e5, y, "EPSG:32633")
    with pytest.raises(DataError, match="have no data there"):
        embeddings.read_at(path, x, np.full(3, TOP - 5.5 * SIDE), "EPSG:32633")
    with pytest.raises(DataError, match="no coordinate reference system"):
        embeddings.opened(write(tmp_path / "nowhere.tif", crs=None))
    with pytest.raises(ParameterError, match="above 0"):
        embeddings.read_at(path, x, y, "EPSG:32633", scale=0)


# === Few labels ===


def test_few_labels_are_a_share_of_each_class_and_nested():
    table = pd.DataFrame({"label": np.repeat([3, 0, 7], [1000, 200, 5])})
    few, more, all_of_them = (pretraining.few_labels(table, share, seed=4) for share in (0.01, 0.1, 1.0))
    assert table["label"].iloc[few].value_counts().to_dict() == {3: 10, 0: 2, 7: 1}
    assert table["label"].iloc[more].value_counts().to_dict() == {3: 100, 0: 20, 7: 1}
    assert set(few) < set(more)
    np.testing.assert_array_equal(all_of_them, np.arange(len(table)))
    assert set(few) != set(pretraining.few_labels(table, 0.01, seed=5))
    with pytest.raises(ParameterError, match="share of labels"):
        pretraining.few_labels(table, 0)


def test_a_probe_separates_classes_on_their_features_and_gives_none_to_others():
    rng = np.random.default_rng(0)
    label = rng.choice([0, 2], 300)
    values = rng.normal(label[:, None] * [1.0, -1.0], 0.3)
    found = pretraining.classify(pretraining.linear_probe(), values[:200], label[:200], values[200:], 4)
    assert found.shape == (100, 4)
    assert (found.argmax(axis=1) == label[200:]).mean() > 0.95
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    assert (found[:, [1, 3]] == 0).all()
    alone = pretraining.classify(pretraining.linear_probe(), values[:5], np.full(5, 2), values, 4)
    assert (alone.argmax(axis=1) == 2).all()


def test_features_are_found_by_their_rows():
    features = pretraining.Features(np.array([3, 5, 9]), np.arange(6).reshape(3, 2))
    np.testing.assert_array_equal(features.at(np.array([9, 3, 9])), [[4, 5], [0, 1], [4, 5]])
    for wrong in ([4], [10], [3, 6]):
        with pytest.raises(DataError, match="no features of some of the rows"):
            features.at(np.array(wrong))
