"""Files of several years: probabilities beside the map, and the consistent maps made of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox

from eolab.core.errors import DataError
from eolab.data.schemes import IGNORE, ClassScheme
from eolab.prediction.consistency import consistency
from eolab.prediction.mapping import consistent_maps, predict_map, sample_probabilities
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
