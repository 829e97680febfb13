"""Files of several years: probabilities beside the map, and the consistent maps made of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox

from eolab.core.errors import DataError, ParameterError
from eolab.data.schemes import IGNORE, ClassScheme
from eolab.prediction.consistency import consistency
from eolab.prediction.mapping import OldMap, consistent_maps, predict_map, sample_probabilities
from eolab.prediction.mapping.windows import Window
from eolab.prediction.mapping.years import read_probabilities

SCHEME = ClassScheme("three", (10, 20, 30), ("Water", "Grass", "Wood"), ("#0000ff", "#80ff00", "#004000"))
GRID = GeoBox((50, 70), Affine(10, 0, 600_000, 0, -10, 4_900_020), "EPSG:32632")


def scene(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities (50, 70, 3) and where there are no data."""
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.full(3, 0.5), GRID.shape).astype(np.float32), rng.random(GRID.shape) < 0.05


def map_year(folder, year: int, grid: GeoBox = GRID, scheme: ClassScheme = SCHEME):
    values, nodata = scene(year)

    def read(row, col, height, width):
        at = np.s_[row : row + height, col : col + width]
        return {"image": values[at], "nodata": nodata[at]}

    path, beside = folder / f"map_{year}.tif", folder / f"probabilities_{year}.tif"
    predict_map(
        lambda inputs: inputs["image"],
        read,
        grid,
        path,
        scheme,
        window=32,
        block=32,
        probabilities=beside,
        progress=False,
    )
    return path, beside


def pixels(path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read()


def test_probabilities_are_written_beside_the_map_in_whole_percent(tmp_path):
    path, beside = map_year(tmp_path, 2018)
    values, nodata = scene(2018)
    expected = np.where(nodata, IGNORE, np.rint(100 * np.moveaxis(values, -1, 0))).astype(np.uint8)
    np.testing.assert_array_equal(pixels(beside), expected)
    classes, confidence = pixels(path)
    np.testing.assert_array_equal(classes, np.where(nodata, IGNORE, values.argmax(-1)))
    np.testing.assert_array_equal(confidence[~nodata], expected.max(axis=0)[~nodata])
    with rasterio.open(beside) as file:
        assert file.descriptions == SCHEME.names
        assert file.units == ("percent",) * 3
    with rasterio.open(path) as file:
        assert file.descriptions == ("class", "confidence")
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        "map_2018.qml",
        "map_2018.tif",
        "map_2018.tif.aux.xml",
        "probabilities_2018.tif",
    ]


@pytest.mark.parametrize("name", ["none", "hmm", "bilateral", "thresholds"])
def test_consistent_maps_are_those_of_the_whole_scene_at_once(tmp_path, name):
    beside = [map_year(tmp_path, year)[1] for year in (2018, 2019, 2020)]
    method = consistency(name, SCHEME.names)
    paths = [tmp_path / f"consistent_{year}.tif" for year in (2018, 2019, 2020)]
    assert (
        consistent_maps(beside, paths, SCHEME, method, block=16, tags={"dataset": "toy"}, progress=False)
        == paths
    )
    classes, confidence = method(read_probabilities(beside, Window(0, 0, *GRID.shape)))
    for k, path in enumerate(paths):
        found = pixels(path)
        np.testing.assert_array_equal(found[0], classes[k])
        seen = classes[k] != IGNORE
        np.testing.assert_array_equal(seen, ~scene(2018 + k)[1])
        np.testing.assert_array_equal(found[1][seen], np.rint(100 * confidence[k][seen]))
    with rasterio.open(paths[0]) as file:
        assert file.tags()["consistency"] == name
        assert file.tags()["dataset"] == "toy"
        assert [row["name"] for row in json.loads(file.tags(1)["classes"])] == list(SCHEME.names)
        assert file.crs == GRID.crs
    assert not list(tmp_path.glob("*.parts"))


def test_pixels_of_a_sample_are_drawn_where_they_may_be_and_keep_their_years(tmp_path):
    beside = [map_year(tmp_path, year)[1] for year in (2018, 2019)]
    keep = np.zeros(GRID.shape, bool)
    keep[10:30, 20:60] = True
    whole = read_probabilities(beside, Window(0, 0, *GRID.shape))
    every = sample_probabilities(beside, keep, n=10_000, block=16)
    assert every.shape == (2, 3, 800)
    np.testing.assert_array_equal(
        np.sort(every.reshape(6, -1), axis=1), np.sort(whole[:, :, keep].reshape(6, -1), axis=1)
    )
    some = sample_probabilities(beside, keep, n=50, block=16)
    drawn = {tuple(pixel) for pixel in np.nan_to_num(some.reshape(6, -1), nan=-1).T.tolist()}
    assert some.shape == (2, 3, 50)
    assert drawn <= {
        tuple(pixel) for pixel in np.nan_to_num(whole[:, :, keep].reshape(6, -1), nan=-1).T.tolist()
    }


def test_an_old_map_counts_in_its_year_by_the_rule_of_bayes(tmp_path):
    beside = [map_year(tmp_path, year)[1] for year in (2018, 2019)]
    whole = Window(0, 0, *GRID.shape)
    label = np.random.default_rng(0).integers(0, 3, GRID.shape).astype(np.uint8)
    label[:5] = IGNORE
    alone = read_probabilities(beside, whole)
    found = read_probabilities(beside, whole, OldMap(label, 0.7, 1))
    np.testing.assert_array_equal(found[0], alone[0])
    np.testing.assert_allclose(found[1, :, :5], alone[1, :, :5], atol=0.01)  # the map says nothing there
    seen = np.argwhere(np.isfinite(alone[1, 0]) & (label < 3))
    for row, col in seen[::97]:
        likelihood = np.where(np.arange(3) == label[row, col], 0.7, 0.15)
        wanted = np.maximum(alone[1, :, row, col], 0.0025) * likelihood
        np.testing.assert_allclose(found[1, :, row, col], wanted / wanted.sum(), rtol=1e-5)
    part = Window(20, 30, 10, 20)
    inside = np.s_[:, :, 20:30, 30:50]
    np.testing.assert_array_equal(read_probabilities(beside, part, OldMap(label, 0.7, 1)), found[inside])
    paths = [tmp_path / "a.tif", tmp_path / "b.tif"]
    method = consistency("none", SCHEME.names)
    consistent_maps(beside, paths, SCHEME, method, old_map=OldMap(label, 0.7, 1), block=16, progress=False)
    np.testing.assert_array_equal(pixels(paths[1])[0], method(found)[0][1])
    with pytest.raises(ParameterError, match="trust in a map is 1: give a probability between"):
        read_probabilities(beside, part, OldMap(label, 1))


def test_years_of_other_grids_or_classes_end_in_one_sentence(tmp_path):
    beside = [map_year(tmp_path, 2018)[1], map_year(tmp_path, 2019, GRID.translate_pix(1, 0))[1]]
    method, paths = consistency("none", SCHEME.names), [tmp_path / "a.tif", tmp_path / "b.tif"]
    with pytest.raises(
        DataError, match=r"probabilities_2019.tif has another grid than .*probabilities_2018.tif"
    ):
        consistent_maps(beside, paths, SCHEME, method, progress=False)
    with pytest.raises(
        DataError, match="has the bands class, confidence: expected the probabilities of Water"
    ):
        consistent_maps([tmp_path / "map_2018.tif"], paths[:1], SCHEME, method, progress=False)
