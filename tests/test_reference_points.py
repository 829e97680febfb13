"""Reference points: drawn by strata part by part, handed out as a GeoPackage, read back with their faults."""

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import rioxarray
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr

from eolab.core.errors import DataError
from eolab.data import reference_points as points
from eolab.data.ground import class_areas_m2
from eolab.data.schemes import ClassScheme
from eolab.evaluation import areas

SCHEME = ClassScheme.numbered("three", [("Water", "#0000ff"), ("Wood", "#00ff00"), ("Field", "#ffff00")])
GRID = GeoBox((70, 90), Affine(10, 0, 600_000, 0, -10, 4_900_000), "EPSG:32631")


@pytest.fixture
def labels():
    values = np.random.default_rng(0).choice(3, GRID.shape, p=[0.1, 0.3, 0.6]).astype(np.uint8)
    values[:5] = 255
    return wrap_xr(values, GRID)


@pytest.fixture
def drawn(labels):
    return points.draw(labels, SCHEME, [10, 20, 30], seed=3)


@pytest.fixture
def file(drawn, tmp_path):
    return points.write(drawn, tmp_path / "points.gpkg", SCHEME)


def fill_in(file, **changed):
    """Fill in the map's own class everywhere, then answers, positions and removals of some points."""
    layer, design = (pyogrio.read_dataframe(file, layer=name) for name in ("points", "design"))
    layer["reference"] = design.set_index("id")["mapped"].loc[layer["id"]].to_numpy()
    for number, answer in changed.get("answers", {}).items():
        layer.loc[layer["id"] == number, "reference"] = answer
    for number, metres in changed.get("moved", {}).items():
        at = layer["id"] == number
        layer.loc[at, "geometry"] = layer.geometry[at].translate(metres, 0)
    layer = layer[~layer["id"].isin(changed.get("removed", []))].to_crs(changed.get("crs", layer.crs))
    pyogrio.write_dataframe(layer, file, layer="points", driver="GPKG")
    return file


# === Drawing ===


def test_every_point_lies_on_a_pixel_of_its_stratum_and_weights_sum_to_the_map(labels, drawn):
    values = np.asarray(labels)
    assert (values[drawn["row"], drawn["col"]] == drawn["stratum"]).all()
    assert (points.values_at(labels, drawn) == drawn["stratum"]).all()
    assert np.bincount(drawn["stratum"]).tolist() == [10, 20, 30]
    assert not drawn.duplicated(["row", "col"]).any()
    assert drawn["weight"].sum() == pytest.approx((values != 255).sum())
    assert drawn["probability"][drawn["stratum"] == 0].iloc[0] == 10 / (values == 0).sum()


def test_answers_of_one_map_assess_another_map_by_the_strata_they_were_drawn_in(labels, drawn):
    """A model that is trained again needs no new answers: strata are those of the map of the draw."""
    truth = np.random.default_rng(7).choice(3, GRID.shape, p=[0.2, 0.3, 0.5]).astype(np.uint8)
    other = wrap_xr(np.where(np.asarray(labels) == 2, truth, 1).astype(np.uint8), GRID)
    many = points.draw(labels, SCHEME, [300, 900, 1500], seed=1)
    pixels = points.strata_pixels(many, 3)
    assert pixels.tolist() == [(np.asarray(labels) == k).sum() for k in range(3)]
    mapped = points.values_at(other, many).astype(int)
    found = areas.assess(
        mapped, truth[many["row"], many["col"]].astype(int), pixels, "abc", stratum=many["stratum"]
    )
    known = np.asarray(labels) != 255
    right = (np.asarray(other) == truth)[known].mean()
    assert found.overall.value == pytest.approx(right, abs=3 * found.overall_se)
    assert abs((mapped == truth[many["row"], many["col"]]).mean() - right) > 3 * found.overall_se


def test_the_draw_is_that_of_its_seed_and_of_no_other(labels, drawn):
    assert points.draw(labels, SCHEME, [10, 20, 30], seed=3).equals(drawn)
    assert not points.draw(labels, SCHEME, [10, 20, 30], seed=4)["row"].equals(drawn["row"])


def test_pixels_of_a_stratum_are_drawn_with_the_same_probability_in_every_part(labels, monkeypatch):
    """The map is read in parts of 32 pixels, whose pixels must come with the same chance."""
    monkeypatch.setattr(points.blocks, "__defaults__", (32,))
    values = np.asarray(labels)
    drawn = [points.draw(labels, SCHEME, [0, 0, 600], seed=seed) for seed in range(20)]
    times = np.zeros(values.shape)
    for one in drawn:
        assert (values[one["row"], one["col"]] == 2).all()
        np.add.at(times, (one["row"], one["col"]), 1)
    share = 600 / (values == 2).sum()
    for row, col, part in points.blocks(labels):
        own = times[row : row + 32, col : col + 32][part == 2]
        assert own.mean() / 20 == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / own.size / 20))


def test_a_map_in_a_file_is_read_in_parts_only(labels, tmp_path, monkeypatch):
    labels.rio.to_raster(tmp_path / "map.tif")
    monkeypatch.setattr(points.blocks, "__defaults__", (32,))
    opened = rioxarray.open_rasterio(tmp_path / "map.tif", cache=False).isel(band=0)
    largest = max(part.size for _, _, part in points.blocks(opened))
    assert largest == 32 * 32
    assert points.draw(opened, SCHEME, [10, 20, 30], seed=3)["row"].tolist()
    table = points.sizes(opened, SCHEME)
    assert table["pixels"].tolist() == [(np.asarray(labels) == k).sum() for k in range(3)]
    whole = class_areas_m2(np.asarray(labels), GRID, 3) / 1e4
    assert table["area_ha"].to_numpy() == pytest.approx(whole, rel=1e-6)


def test_more_points_than_pixels_are_refused(labels):
    with pytest.raises(DataError, match=r"pixels of Water, fewer than the 4000 points"):
        points.draw(labels, SCHEME, [4000, 0, 0])


def test_points_outside_of_a_map_have_no_class(labels):
    outside = gpd.GeoDataFrame(geometry=gpd.points_from_xy([599_995, 600_005], [4_899_905] * 2), crs=GRID.crs)
    assert points.values_at(labels, outside).tolist() == [255, int(labels[9, 0])]


# === The file ===


def test_the_layer_of_the_interpreters_says_nothing_of_the_map(file):
    layer = pyogrio.read_dataframe(file, layer="points")
    assert set(layer.columns) == {"id", "reference", "comment", "geometry"}
    assert (layer["reference"].fillna("") == "").all()
    assert pyogrio.read_dataframe(file, layer="classes")["name"].tolist() == list(SCHEME.names)


def test_answers_come_back_as_class_indices_in_any_reference_system(file, drawn):
    found = points.read(fill_in(file, answers={4: " wood "}, crs="EPSG:4326"), SCHEME)
    table = found.table.set_index("id")
    assert len(found.left_out) == 0
    assert table.loc[4, "reference"] == 1
    others = table.drop(4)
    assert (others["reference"] == others["stratum"]).all()
    assert table["weight"].to_numpy() == pytest.approx(drawn["weight"].to_numpy())


def test_missing_moved_and_removed_points_are_left_out_with_the_reason(file):
    found = points.read(fill_in(file, answers={1: "", 2: None}, moved={3: 6, 5: 4}, removed=[7]), SCHEME)
    reasons = found.left_out.set_index("id")["reason"].to_dict()
    assert reasons == {
        1: "has no answer",
        2: "has no answer",
        3: "was moved off its pixel",
        7: "was removed",
    }
    assert len(found.table) == 56


def test_an_answer_that_is_no_class_is_refused_with_the_class_that_was_meant(file):
    with pytest.raises(DataError, match=r"point 4 and 0 more have the answer 'Wodo'.*did you mean 'Wood'"):
        points.read(fill_in(file, answers={4: "Wodo"}), SCHEME)


def test_points_that_are_filled_in_are_never_written_over(file, drawn):
    points.write(drawn, file, SCHEME)
    fill_in(file)
    with pytest.raises(DataError, match="holds 60 points that are filled in"):
        points.write(drawn, file, SCHEME)


def test_another_file_is_refused_in_one_sentence(drawn, tmp_path):
    with pytest.raises(DataError, match="does not exist: give the GeoPackage"):
        points.read(tmp_path / "none.gpkg", SCHEME)
    drawn[["id", "geometry"]].to_file(tmp_path / "other.gpkg", layer="other")
    with pytest.raises(DataError, match="has no layer 'points'"):
        points.read(tmp_path / "other.gpkg", SCHEME)
