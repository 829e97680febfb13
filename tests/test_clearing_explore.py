"""What the clearing study explores: dates, regions, seasons and points, on the twin and on plain GeoTIFFs."""

from __future__ import annotations

import matplotlib as mpl

mpl.use("Agg")

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import study_runs
import xarray as xr
import yaml
from affine import Affine

from eolab import plots
from eolab.core.errors import CatalogError, DataError, ParameterError
from eolab.data import catalog, indices, regions
from eolab.data.layouts import rasters
from eolab.studies.clearing import explore, samples
from eolab.synthetic import clearing as twin_writer

pytestmark = pytest.mark.slow  # reads a twin that takes seconds to write

CLASSES = ["clear", "need"]


@pytest.fixture(scope="module")
def entry(shared_twin, tmp_path_factory) -> catalog.DataEntry:
    folder = shared_twin(twin_writer, size=240, dates=6)
    ours = catalog.load()["clearing_twin"]
    block = {"uri": str(folder), "layout": "rasters", "images": ours.images, "labels": ours.labels}
    file = tmp_path_factory.mktemp("catalog") / "mine.yaml"
    file.write_text(yaml.safe_dump({"stands": block}))
    return catalog.load(file)["stands"]


@pytest.fixture(scope="module")
def acquired(entry):
    return rasters.index(entry.path, entry.images, entry.pixels)[0]


@pytest.fixture(scope="module")
def series(entry, acquired) -> xr.Dataset:
    return explore.open_series(entry, acquired)


@pytest.fixture(scope="module")
def areas(entry, series) -> explore.Areas:
    return explore.areas(entry, series.odc.geobox, "stands", "objects", CLASSES)


def test_the_bands_of_the_indices_are_opened_lazily(series):
    bands = [str(band) for band in series["band"].to_numpy()]
    assert bands[:3] == list(plots.TRUE_COLOUR)
    assert {*indices.bands_for(samples.INDICES)} <= {*bands}
    assert series["image"].dims == ("time", "band", "y", "x")
    assert all(series[name].chunks is not None for name in ("image", "clear", "scl"))
    assert explore.picture_view(series).title == "True colour"


def test_shares_of_a_date_are_those_of_its_scene_classification(series, acquired):
    table = explore.acquisitions(series, acquired, progress=False)
    scl = series["scl"].to_numpy()
    np.testing.assert_allclose(table["cloud"], np.isin(scl, (8, 9, 10)).mean((1, 2)))
    np.testing.assert_allclose(table["missing"], (scl == 0).mean((1, 2)), atol=1e-12)
    np.testing.assert_allclose(table[["clear", "cloud", "missing"]].sum(axis=1), 1)
    assert set(table["level"]) == {"L1C, L2A"}
    assert set(table["orbit"]) == {"022", "065", "108"}
    row = table.iloc[1]
    shares = f"{100 * row.cloud:.0f} % clouds · {100 * row.missing:.0f} % without data"
    assert row.text == f"{row.time:%Y-%m-%d} · orbit {row.orbit} · L1C, L2A · {shares}"


def test_dates_and_bounds_cut_what_is_opened(entry, acquired, series):
    west, south = series.odc.geobox.boundingbox.bbox[:2]
    bounds = [west, south, west + 500, south + 700]
    few = explore.open_series(entry, acquired, dates=["2019-07-01", "2019-08-15"], bounds=bounds, tile="")
    assert 0 < few.sizes["time"] < series.sizes["time"]
    assert (few.sizes["y"], few.sizes["x"]) == (70, 50)
    with pytest.raises(DataError, match="No region of stands lies in the images"):
        explore.areas(entry, few.odc.geobox[:1, :1], "stands")


def test_regions_are_counted_by_class_and_what_is_left_out_has_its_reason(entry, series, areas):
    grid = series.odc.geobox
    file, _ = entry.label_file("stands")
    given = gpd.read_file(file)["need"].value_counts()
    table = areas.summary().set_index("label")
    assert list(table.index) == ["clear", "need", "clearing object"]
    missing = areas.left_out.merge(gpd.read_file(file), left_on="id", right_index=True)["need"].value_counts()
    for label in CLASSES:
        assert table.loc[label, "regions"] + missing.get(label, 0) == given[label]
    assert table.loc["clear", "repaired"] == 1
    assert set(areas.left_out["reason"]) == {"lies outside of the images", "holds the centre of no pixel"}
    one = explore.areas(entry, grid, "stands", classes=["need"])
    assert one.objects is None
    assert set(one.table["label"]) == {"need"}
    others = one.left_out[one.left_out["reason"] == "has the class 'clear'"]
    assert len(others) == table.loc["clear", "regions"]
    both = explore.areas(entry, grid, "stands")
    assert both.scheme.names == tuple(CLASSES)
    with pytest.raises(ParameterError, match="stands has no region of class 'neet': did you mean 'need'"):
        explore.areas(entry, grid, "stands", classes=["neet"])
    with pytest.raises(ParameterError, match="stands and objects are empty"):
        explore.areas(entry, grid, "")
    with pytest.raises(CatalogError, match="names no labels 'stand'"):
        explore.areas(entry, grid, "stand")


def test_examples_are_crops_of_each_class_in_turn(series, areas):
    rgb, masks, titles = explore.examples(series, areas.stands, 2, 4)
    assert [title.split(" (")[0] for title in titles] == ["clear", "need", "clear", "need"]
    table = areas.stands.table
    assert rgb.shape == (4, table["height"].max(), table["width"].max(), 3)
    numbers = [int(title.split("region ")[1].rstrip(")")) for title in titles]
    for k, row in enumerate(table.set_index("id").loc[numbers].itertuples()):
        box = np.s_[row.row : row.row + row.height, row.column : row.column + row.width]
        red = series["image"][2].sel(band="B04").to_numpy()[box]
        np.testing.assert_array_equal(rgb[k, : row.height, : row.width, 0], red)
        assert np.isnan(rgb[k, row.height :]).all()
        assert masks[k].sum() == row.pixels
    assert len(explore.examples(series, areas.stands, 2, 10_000)[2]) == len(table)


def test_seasons_are_quartiles_of_the_clear_pixels_in_stands(series, areas):
    curves = explore.seasons(series, areas, progress=False)
    assert tuple(curves) == samples.INDICES
    table = areas.stands.table
    own = table[table["label"] == "need"]
    grid = series.odc.geobox
    mine = np.any([regions.pixels_of(shape, grid) for shape in own.geometry], axis=0)
    others = np.any([regions.pixels_of(shape, grid) for shape in table.drop(own.index).geometry], axis=0)
    values = indices.compute("NBR", series["image"][2].compute()).to_numpy()
    scl = series["scl"][2].to_numpy()
    known = values[mine & ~others & ~np.isin(scl, (0, 8, 9, 10)) & np.isfinite(values)]
    rows = curves["NBR"]
    found = rows[(rows["class"] == "need") & (rows["time"] == series["time"].to_numpy()[2])].iloc[0]
    assert found["count"] == len(known)
    quartiles = found[["q25", "median", "q75"]].astype(float)
    np.testing.assert_allclose(quartiles, np.percentile(known, (25, 50, 75)), rtol=1e-5)
    few = explore.seasons(series, areas, max_samples=50, progress=False)["NBR"]
    assert few["count"].max() <= 50


def test_every_point_is_of_a_kind(entry, series, areas):
    grid = series.odc.geobox
    found, kinds = explore.degree(entry, "points", areas.objects, grid, how="counts", percentile=97.0)
    numbers = kinds.set_index("kind")["points"]
    places = ["outside of the images", "in the images, outside of all objects", "in clearing objects"]
    places.append("in regions that were none")
    assert numbers[places].sum() == numbers["that can be used"]
    assert (numbers > 0).all()
    counts = explore.counts_of(found, areas.objects)
    assert len(counts) == found.objects["used"].sum() == len(areas.objects.table) - 1
    assert "Object 4" not in counts
    pixels = np.concatenate([one[np.isfinite(one)] for one in counts.values()])
    assert pixels.sum() == numbers["in clearing objects"]
    assert np.percentile(pixels, 97) == found.threshold
    timed, kinds = explore.degree(entry, "points", areas.objects, grid, how="time", percentile=97.0)
    assert kinds.set_index("kind")["points"]["repeated at one place"] == numbers["repeated at one place"]
    assert timed.counts.max() / timed.threshold < found.counts.max() / found.threshold  # a break is once


# === Images of one's own ===


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> catalog.Catalog:
    """One date of four bands in GeoTIFF without a scene classification, and stands without points."""
    folder = tmp_path_factory.mktemp("plain")
    place, rng = Affine(10, 0, 500_000, 0, -10, 5_200_000), np.random.default_rng(0)
    profile = {"driver": "GTiff", "height": 60, "width": 80, "count": 4, "dtype": "uint16", "nodata": 0}
    (folder / "images").mkdir()
    with rasterio.open(
        folder / "images/wood_2021-06-03.tif", "w", **profile, crs="EPSG:32631", transform=place
    ) as image:
        image.write(rng.integers(300, 4000, (4, 60, 80), np.uint16) * (np.arange(80) > 7).astype(np.uint16))
    boxes = [shapely.box(x, 5_199_600, x + 150, 5_199_800) for x in (500_200, 500_400, 500_600)]
    stands = gpd.GeoDataFrame({"state": ["thin", "dense", "thin"]}, geometry=boxes, crs="EPSG:32631")
    stands.to_file(folder / "stands.gpkg")
    images = {"folder": "images", "files": "{tile}_{date}.tif", "bands": ["B02", "B03", "B04", "B08"]}
    block = {"uri": str(folder), "layout": "rasters", "images": images, "pixels": {"scale": 0.0001}}
    block["labels"] = {"young": {"file": "stands.gpkg", "column": "state"}}
    (folder / "mine.yaml").write_text(yaml.safe_dump({"my_wood": block}))
    return catalog.load(folder / "mine.yaml")


def test_images_without_a_scene_classification_are_explored_and_said_so(plain):
    entry = plain["my_wood"]
    acquired, _ = rasters.index(entry.path, entry.images, entry.pixels)
    series = explore.open_series(entry, acquired)
    assert "scl" not in series
    (row,) = explore.acquisitions(series, acquired, progress=False).itertuples()
    assert (row.clear, row.missing) == pytest.approx((0.9, 0.1))
    assert np.isnan(row.cloud)
    assert row.text == "2021-06-03 · clouds not known · 10 % without data"
    areas = explore.areas(entry, series.odc.geobox, "young")
    assert areas.scheme.names == ("dense", "thin")
    curves = explore.seasons(series, areas, progress=False)
    assert list(curves) == ["BNDVI", "EVI", "MSAVI2", "MTVI2", "SAVI"]


def test_single_bands_and_no_bands_are_shown_or_refused(plain, monkeypatch):
    entry = plain["my_wood"]
    acquired, _ = rasters.index(entry.path, entry.images, entry.pixels)
    one = explore.open_series(entry, acquired.assign(bands="B08"))
    areas = explore.areas(entry, one.odc.geobox, "young")
    assert explore.picture_view(one).title == "B08"
    assert explore.examples(one, areas.stands, 0, 2)[0].shape[-1] == 3
    assert explore.seasons(one, areas, progress=False) == {}
    with pytest.raises(DataError, match="has neither bands nor indices"):
        explore.open_series(entry, acquired.assign(bands="B01"))


@pytest.mark.notebook
def test_the_notebook_runs_on_stands_of_ones_own_without_points_and_clouds(plain, tmp_path):
    chosen = ["dataset=my_wood", "stands=young", "objects=", "points=", "classes=[]"]
    command = ["run", "clearing", "--only", "01_explore", "--out", str(tmp_path), "--set", *chosen]
    study_runs.eolab(*command, EOLAB_CATALOG=str(plain.file))
    record = study_runs.only_run("clearing", tmp_path, "01_explore")
    assert record.status == "done"
    assert {figure["name"] for figure in record.figures} == {
        *("acquisitions", "region_map", "examples", "seasons", "explorer")
    }
    assert "clouds are not known" in (record.folder / "report.html").read_text()
    assert record.table("regions")["regions"].tolist() == [1, 2]
