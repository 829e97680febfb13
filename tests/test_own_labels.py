"""Labels of one's own under images of one's own: masks, polygons, points, as land cover opens them."""

from __future__ import annotations

import json

import geopandas as gpd
import numpy as np
import own_example
import pytest
import rasterio
from rasterio.warp import Resampling, reproject

from eolab.core.errors import CatalogError, DataError, EolabWarning
from eolab.data import schemes
from eolab.studies import landcover
from eolab.studies.opening import open_as_its_study

SCALED = "  pixels: {scale: 0.0001, offset: 0}\n  images: {folder: images}\n"
CLASSES = "  classes: [{code: 3, name: wood, color: '#117733'}, {code: 7, name: field}]\n"


def codes(size: int = 24) -> np.ndarray:
    found = np.full((size, size), 3, "uint8")
    found[:, size // 2 :] = 7
    found[:2] = 0
    return found


def opened(folder, text, **options):
    return landcover.series.open_series(own_example.entry(folder, SCALED + text), min_pixels=1, **options)


def test_a_mask_on_another_grid_becomes_class_indices_of_the_nearest_pixel(tmp_path):
    own_example.series(tmp_path)
    fine = codes(48)  # 5 m, in another reference system
    place = rasterio.transform.from_origin(*own_example.CORNER, 5, 5)
    transform, width, height = rasterio.warp.calculate_default_transform(
        own_example.CRS, "EPSG:3035", 48, 48, *rasterio.transform.array_bounds(48, 48, place)
    )
    warped = np.zeros((height, width), "uint8")
    reproject(
        fine,
        warped,
        src_transform=place,
        src_crs=own_example.CRS,
        dst_transform=transform,
        dst_crs="EPSG:3035",
        resampling=Resampling.nearest,
    )
    facts = {"driver": "GTiff", "height": height, "width": width, "count": 1, "dtype": "uint8", "nodata": 0}
    with rasterio.open(tmp_path / "map.tif", "w", crs="EPSG:3035", transform=transform, **facts) as raster:
        raster.write(warped, 1)
    series = opened(tmp_path, "  labels: {old: {file: map.tif}}\n" + CLASSES)
    label = series["label"].to_numpy()
    assert schemes.scheme_of(series).names == ("wood", "field")
    assert series.attrs["label_cell_m"] == pytest.approx(5, rel=0.05)
    assert (label[3:-3, 3:10] == 0).all()
    assert (label[3:-3, 14:-3] == 1).all()
    assert (label[0] == 255).all()


def test_images_and_indices_of_ones_own_are_a_series_of_the_study(tmp_path):
    own_example.series(tmp_path)
    own_example.image(tmp_path / "map.tif", codes())
    series = opened(tmp_path, "  labels: {old: {file: map.tif}}\n" + CLASSES, bands=["B04", "B08"])
    assert dict(series.sizes) == {"time": 3, "band": 2, "y": 24, "x": 24}
    expected = own_example.numbers(4, 24, 24, seed=1)[2] * 1e-4
    np.testing.assert_allclose(series["image"][1, 0], expected, rtol=1e-5)
    assert bool(series["clear"].all())


def test_codes_that_the_entry_does_not_name_are_an_error_or_a_warning(tmp_path):
    own_example.series(tmp_path)
    found = codes()
    found[5, 5] = 9
    own_example.image(tmp_path / "map.tif", found)
    text = "  labels: {old: {file: map.tif}}\n" + CLASSES
    with pytest.warns(EolabWarning, match=r"holds codes outside of its class scheme in 0\.19% .*\(9\)"):
        assert int(opened(tmp_path, text)["label"][5, 5]) == 255
    found[5:12] = 9
    own_example.image(tmp_path / "map.tif", found)
    with pytest.raises(DataError, match="expected the codes that the entry of mine names, 3, 7"):
        opened(tmp_path, text)


def test_without_classes_in_the_entry_those_of_the_map_are_taken(tmp_path):
    own_example.series(tmp_path)
    own_example.image(tmp_path / "map.tif", codes().astype("float32"))  # as QGIS writes maps
    scheme = schemes.scheme_of(opened(tmp_path, "  labels: {old: {file: map.tif}}\n"))
    assert (scheme.codes, scheme.names) == ((3, 7), ("class 3", "class 7"))


def test_polygons_become_labels_and_those_that_cannot_be_used_are_listed(tmp_path):
    own_example.series(tmp_path)
    rows = [("rye", (0, 0, 10, 10)), ("oats", (12, 0, 24, 12)), ("rye", (2, 14, 2.3, 14.3))]
    rows += [("rye", (90, 0, 99, 9)), ("weeds", (0, 14, 9, 20))]
    own_example.polygons(tmp_path / "fields.gpkg", rows, "EPSG:4326")
    text = "  labels: {crops: {file: fields.gpkg, column: crop}}\n  classes: [{name: rye}, {name: oats}]\n"
    series = opened(tmp_path, text)
    assert schemes.scheme_of(series).names == ("rye", "oats")
    assert np.bincount(series["label"].to_numpy().ravel(), minlength=256)[[0, 1]].tolist() == [100, 144]
    reasons = {one["file"]: one["reason"] for one in json.loads(series.attrs["rejected"])}
    assert reasons == {
        "fields.gpkg polygon 2": "holds the centre of no pixel",
        "fields.gpkg polygon 3": "lies outside of the images",
        "fields.gpkg polygon 4": "has the class 'weeds', which the entry does not name",
    }


POINTS = [("rye", 3.5, 3.5), ("oats", 12.5, 4.5), ("rye", 6.2, 8.2), ("oats", 6.8, 8.8)]
POINTS += [("rye", 99, 3), ("weeds", 4.5, 4.5), ("", 5.5, 5.5), ("rye", 3.1, 3.9), ("oats", 23.5, 23.5)]
CROPS = "  classes: [{name: rye}, {name: oats}]\n"


def points(file, crs: int = 32633):
    """Write points, given in pixels from the corner (column, row), with a class."""
    places = [(own_example.CORNER[0] + 10 * x, own_example.CORNER[1] - 10 * y) for _, x, y in POINTS]
    shapes = gpd.points_from_xy(*zip(*places, strict=True), crs=own_example.CRS)
    frame = gpd.GeoDataFrame({"type": [name or None for name, _, _ in POINTS]}, geometry=shapes).to_crs(crs)
    if file.suffix != ".csv":
        frame.to_file(file, driver="GPX" if file.suffix == ".gpx" else None)
        return
    table = frame.get_coordinates().set_axis(["lon", "lat"] if crs == 4326 else ["x", "y"], axis=1)
    table.assign(type=frame["type"]).to_csv(file, index=False)


@pytest.mark.parametrize(
    ("name", "crs", "facts"),
    [
        ("points.csv", 4326, ", column: type"),
        ("points.csv", 3035, ", column: type, crs: 3035"),
        ("points.gpkg", 3035, ", column: type"),
        ("points.gpx", 4326, ""),
    ],
)
def test_points_label_their_pixels_and_those_that_cannot_be_used_are_listed(tmp_path, name, crs, facts):
    own_example.series(tmp_path)
    for file in (tmp_path / "images").iterdir():
        with rasterio.open(file, "r+") as raster:
            raster.write(np.zeros((4, 1, 1), "uint16"), window=rasterio.windows.Window(23, 23, 1, 1))
    points(tmp_path / name, crs)
    series = opened(tmp_path, f"  labels: {{crops: {{file: {name}{facts}}}}}\n" + CROPS)
    label = series["label"].to_numpy()
    assert (label[3, 3], label[4, 12], (label != 255).sum()) == (0, 1, 2)
    rows = json.loads(series.attrs["rejected"])
    kind, first = ("line", 2) if name.endswith("csv") else ("point", 0)
    assert {int(one["file"].split(f"{kind} ")[1]) - first: one["reason"] for one in rows} == {
        2: "lies in the pixel of a point of another class",
        3: "lies in the pixel of a point of another class",
        4: "lies outside of the images",
        5: "has a class that the entry does not name: 'weeds'",
        6: "has no class in the column type",
        8: "lies where the images have no data",
    }


def test_points_without_classes_in_the_entry_have_those_of_their_column(tmp_path):
    own_example.series(tmp_path)
    points(tmp_path / "points.csv", 4326)
    text = "  labels: {crops: {file: points.csv, column: type}}\n"
    assert schemes.scheme_of(opened(tmp_path, text)).names == ("oats", "rye", "weeds")
    with pytest.raises(DataError, match="has the columns lon, lat, type, and the entry of mine does not say"):
        opened(tmp_path, "  labels: {crops: {file: points.csv}}\n")
    with pytest.raises(DataError, match="the class beet; the file has oats, rye, weeds: correct the block"):
        opened(tmp_path, text + "  classes: [{name: beet}]\n")


def test_points_or_polygons_all_outside_of_the_images_end_the_check_in_a_sentence(tmp_path):
    own_example.series(tmp_path)
    own_example.polygons(tmp_path / "far.gpkg", [("rye", (90, 0, 99, 9)), ("oats", (80, 0, 85, 9))])
    (tmp_path / "far.csv").write_text("lon,lat,crop\n3.5,44.2,rye\n3.6,44.2,oats\n3.7,44.2,rye\n")
    for count, kind, name in ((3, "points", "far.csv"), (2, "polygons", "far.gpkg")):
        text = f"  labels: {{crops: {{file: {name}, column: crop}}}}\n"
        entry = own_example.entry(tmp_path, SCALED + text)
        place = r"lie in the images \(bounds 500000, .*, CRS EPSG:32633\): check the columns and the `crs`"
        with pytest.raises(DataError, match=rf"^0 of {count} {kind} of .*{name} {place}"):
            open_as_its_study(entry)


def test_a_class_of_the_entry_that_no_polygon_has_is_named_beside_those_of_the_file(tmp_path):
    own_example.series(tmp_path)
    rows = [("wheat", (0, 0, 10, 10)), ("maize", (12, 0, 24, 12)), ("rye", (0, 14, 9, 20))]
    own_example.polygons(tmp_path / "fields.gpkg", rows)
    text = "  labels: {crops: {file: fields.gpkg, column: crop}}\n"
    said = r"No polygon of .* has the class trigo; the file has maize, rye, wheat: correct the block"
    with pytest.raises(DataError, match=said):
        opened(tmp_path, text + "  classes: [{name: trigo}, {name: maize}]\n")
    with pytest.warns(EolabWarning, match=said):
        opened(tmp_path, text + "  classes: [{name: trigo}, {name: maize}, {name: rye}]\n")


def test_points_are_groups_of_their_own_and_keep_the_distance_of_the_user_or_a_block(tmp_path):
    """A pixel's size, as of polygons, would call the next pixel of the same field ground of its own."""
    own_example.series(tmp_path)
    points(tmp_path / "points.csv", 4326)
    own_example.polygons(tmp_path / "a.gpkg", [("rye", (0, 0, 10, 10)), ("oats", (12, 0, 22, 10))])
    samples = landcover.samples
    series = opened(tmp_path, "  labels: {crops: {file: points.csv, column: type}}\n")
    groups = samples.connected_groups(series)
    block_m = samples.default_block_m(series)
    assert samples.default_buffer_m(series, groups) == block_m
    assert samples.default_buffer_m(series, groups, 150.0) == 150
    said = samples.said_of_groups(series, groups, 150.0)
    assert "random and group may divide a field; trust buffered" in said
    assert "(wanted distance 150 m)" in said
    series = opened(tmp_path, "  labels: {crops: {file: a.gpkg, column: crop}}\n")
    groups = samples.connected_groups(series)
    size_m = samples.default_buffer_m(series, groups, 150.0)
    assert size_m == pytest.approx(100, rel=0.01)
    assert samples.said_of_groups(series, groups, size_m) == "2 polygons, 100 m wide in the mean."


def test_polygons_without_a_column_say_which_there_are(tmp_path):
    own_example.series(tmp_path)
    own_example.polygons(tmp_path / "fields.gpkg", [("rye", (0, 0, 10, 10))])
    with pytest.raises(DataError, match="has the columns crop, and the entry of mine does not say which"):
        opened(tmp_path, "  labels: {crops: {file: fields.gpkg}}\n")


def test_an_entry_without_labels_or_with_several_says_what_to_write(tmp_path):
    own_example.series(tmp_path)
    with pytest.raises(DataError, match=r"names no labels; write a mask, polygons or points into it"):
        opened(tmp_path, "")
    own_example.image(tmp_path / "map.tif", codes())
    with pytest.raises(DataError, match="names the labels a, b: call one of them map"):
        opened(tmp_path, "  labels: {a: {file: map.tif}, b: {file: map.tif}}\n")
    opened(tmp_path, "  labels: {a: {file: gone.tif}, map: {file: map.tif}}\n")


def test_an_entry_is_cut_to_its_area_and_its_dates(tmp_path):
    own_example.series(tmp_path)
    own_example.image(tmp_path / "map.tif", codes())
    cut = "  bounds: [500040, 4899800, 500160, 4899960]\n  dates: [2020-05-01, 2020-12-31]\n"
    series = opened(tmp_path, cut + "  labels: {old: {file: map.tif}}\n")
    assert dict(series.sizes) == {"time": 2, "band": 4, "y": 16, "x": 12}
    np.testing.assert_array_equal(series["label"].to_numpy()[0] == 1, np.arange(12) >= 8)


def test_bounds_that_can_be_degrees_are_degrees(tmp_path):
    own_example.series(tmp_path)
    own_example.image(tmp_path / "map.tif", codes())
    box = rasterio.warp.transform_bounds(own_example.CRS, "EPSG:4326", 500_045, 4_899_805, 500_155, 4_899_955)
    text = "  labels: {old: {file: map.tif}}\n"
    series = opened(tmp_path, f"  bounds: {[*box]}\n" + text)
    assert dict(series.sizes) == {"time": 3, "band": 4, "y": 16, "x": 12}
    with pytest.raises(DataError, match="lie outside the images"):
        opened(tmp_path, "  bounds: [14, 40, 14.1, 40.1]\n" + text)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("  classes: {1: forest}\n", "Block 'classes' .* expected a list"),
        ("  classes: [{code: one, name: forest}]\n", "has the class"),
        ("  classes: [{title: forest}]\n", "unknown key"),
        ("  bounds: [1, 2, 3]\n", r"has the bounds \[1, 2, 3\], expected \[xmin"),
        ("  dates: 2020-01-01\n", "has the dates .* expected"),
    ],
)
def test_blocks_that_cannot_be_used_are_refused(tmp_path, text, fault):
    with pytest.raises(CatalogError, match=fault):
        own_example.entry(tmp_path, text)


def test_there_are_colours_for_many_classes():
    assert len(set(schemes.COLORS)) == len(schemes.COLORS) == 18
