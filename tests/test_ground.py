"""Metres on the ground against geodesics on the ellipsoid."""

from __future__ import annotations

import landcover_example as example
import numpy as np
import pytest
import xarray as xr
from affine import Affine
from matplotlib.figure import Figure
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr
from pyproj import Geod, Transformer

from eolab.core.errors import DataError
from eolab.data.ground import class_areas_m2, pixel_size_m, positions_m
from eolab.data.preprocess import Recipe
from eolab.data.schemes import ClassScheme
from eolab.plots import geometry
from eolab.studies import landcover

GEOD = Geod(ellps="WGS84")
GRIDS = {  # of 90 × 120 pixels, in degrees, Web Mercator, US feet and UTM, on latitudes of 40 to 60
    "degrees": GeoBox((90, 120), Affine(0.0001, 0, 14.5, 0, -0.0001, 46.1), "EPSG:4326"),
    "mercator": GeoBox((90, 120), Affine(10, 0, 1_614_000, 0, -10, 8_400_000), "EPSG:3857"),
    "feet": GeoBox((90, 120), Affine(30, 0, 985_000, 0, -30, 200_000), "EPSG:2263"),
    "rotated": GeoBox((90, 120), Affine(8, 6, 500_000, 6, -8, 5_100_000), "EPSG:32633"),
    "south-up": GeoBox((90, 120), Affine(0.0001, 0, 14.5, 0, 0.0001, 46.1), "EPSG:4326"),
}


def lon_lat(grid, column, row):
    x, y = grid.transform * (np.asarray(column, float), np.asarray(row, float))
    return Transformer.from_crs(str(grid.crs), "EPSG:4326", always_xy=True).transform(x, y)


@pytest.mark.parametrize("name", GRIDS)
def test_areas_are_those_on_the_ellipsoid(name):
    """Regression: in degrees, 108 hectares were 1e-08."""
    grid = GRIDS[name]
    classes = np.zeros(grid.shape, np.uint8)
    classes[:, 60:], classes[:, 90:] = 1, 255
    along = np.linspace(0, 90, 10)  # the sides of the halves in steps, as pixels are no geodesics
    for index, (left, right) in enumerate([(0, 60), (60, 90)]):
        lon, lat = lon_lat(grid, [*[left] * 10, *[right] * 10], [*along, *along[::-1]])
        truth = abs(GEOD.polygon_area_perimeter(lon, lat)[0])
        assert class_areas_m2(classes, grid, 2)[index] == pytest.approx(truth, rel=2e-3)  # UTM is 0.9996 true


@pytest.mark.parametrize("name", GRIDS)
def test_sizes_and_distances_are_metres_on_the_ground(name):
    """Regression: blocks had sides of 200 degrees, and distances of 0 m."""
    grid = GRIDS[name]
    lon, lat = lon_lat(grid, [60, 60, 61], [45, 46, 45])
    truth = [GEOD.inv(lon[0], lat[0], lon[k], lat[k])[2] for k in (1, 2)]
    assert pixel_size_m(grid) == pytest.approx(truth, rel=1e-3)
    lon, lat = lon_lat(grid, [0, 120], [0, 90])
    x, y = positions_m(*(grid.transform * (np.array([0.0, 120]), np.array([0.0, 90]))), grid.crs)
    assert np.hypot(np.diff(x), np.diff(y))[0] == pytest.approx(
        GEOD.inv(lon[0], lat[0], lon[1], lat[1])[2], rel=1e-3
    )


def test_metres_of_utm_stay_as_they_are():
    x, y = positions_m(np.array([500_000.0, 600_000]), np.array([5_000_000.0, 5_100_000]), "EPSG:32633")
    assert (x.tolist(), y.tolist()) == ([500_000, 600_000], [5_000_000, 5_100_000])
    with pytest.raises(DataError, match="no coordinate reference system"):
        positions_m(x, y, None)


@pytest.mark.parametrize("crs", ["EPSG:4326", 'LOCAL_CS["site",UNIT["metre",1]]'])
def test_coordinates_outside_of_their_reference_system_are_named(crs):
    """Regression: metres that a file calls degrees, and grids without a place, ended in a CRSError."""
    with pytest.raises(
        DataError, match=r"500000 to 600000 and 5e\+06 .* the reference system (EPSG:4326|LOCAL)"
    ):
        positions_m(np.array([5e5, 6e5]), np.array([5e6, 5e6]), crs)


def test_samples_blocks_areas_and_recipes_of_a_series_in_degrees_are_in_metres():
    series = example.series(90, 120)
    grid = GRIDS["degrees"]
    west, north = 14.5, 46.1
    series = (
        series.assign_coords(
            x=west + 0.0001 * (np.arange(120) + 0.5), y=north - 0.0001 * (np.arange(90) + 0.5)
        )
        .rio.write_crs("EPSG:4326")
        .rio.write_transform(grid.transform)
    )
    table = landcover.sample_table(series, per_class=40, uniform=200)
    one, other = table.iloc[0], table.iloc[-1]
    at = [(west + 0.0001 * (row["col"] + 0.5), north - 0.0001 * (row["row"] + 0.5)) for row in (one, other)]
    truth = GEOD.inv(*at[0], *at[1])[2]
    assert np.hypot(one["x"] - other["x"], one["y"] - other["y"]) == pytest.approx(truth, rel=1e-3)
    assert landcover.samples.default_block_m(series) == pytest.approx(92.9, abs=0.5)  # 120 pixels of 7.74 m
    scheme = ClassScheme("toy", (1, 2, 3), ("Wood", "Field", "Town"), ("#117733", "#ccf24d", "#cc79a7"))
    map_ = wrap_xr(np.zeros((90, 120), np.uint8), grid)
    areas = landcover.maps.area_table({"map": map_}, scheme)["map (ha)"]
    assert areas.tolist() == pytest.approx([92.9, 0, 0], abs=0.5)  # 929 m × 1,000 m
    assert isinstance(Recipe(resolution_m=7.737).apply(series), xr.Dataset)


def test_axes_of_figures_are_kilometres_on_the_ground_and_degrees_have_their_proportions():
    """Regression: feet were drawn as metres, and a degree east as long as one north."""
    left, right, bottom, top = geometry.extent(wrap_xr(np.zeros((90, 120), np.uint8), GRIDS["feet"]))
    assert right - left == pytest.approx(120 * 30 * 0.3048006 / 1000, rel=1e-3)
    assert top - bottom == pytest.approx(90 * 30 * 0.3048006 / 1000, rel=1e-3)
    ax = Figure().add_subplot()
    degrees = wrap_xr(np.zeros((90, 120)), GRIDS["degrees"]).rename(latitude="y", longitude="x")
    geometry.show(ax, degrees, degrees.to_numpy())
    assert ax.get_aspect() == pytest.approx(1 / np.cos(np.deg2rad(46.0955)), rel=1e-4)
