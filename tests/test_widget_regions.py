"""The explorer of regions without a browser: outlines, dates, channels, one region, and the percentile."""

from __future__ import annotations

import io

import matplotlib as mpl

mpl.use("Agg")

import dask.array as da
import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr
from matplotlib.collections import LineCollection
from PIL import Image

from eolab import plots
from eolab.core.errors import DataError
from eolab.widgets import RegionExplorer

DATES, HEIGHT, WIDTH = 3, 90, 120
COLORS = {"low": "#0072B2", "high": "#D55E00"}
CLEAR = (0.2, 0.9, 0.5)


@pytest.fixture
def series() -> xr.Dataset:
    rng = np.random.default_rng(0)
    values = rng.uniform(0.02, 0.5, (DATES, 4, HEIGHT, WIDTH)).astype(np.float32)
    clear = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) < HEIGHT * WIDTH * np.array(CLEAR)[:, None, None]
    image = da.from_array(values, chunks=(1, 1, HEIGHT, WIDTH))
    return xr.Dataset(
        {
            "image": (("time", "band", "y", "x"), image, {"units": "reflectance"}),
            "clear": (("time", "y", "x"), clear),
        },
        coords={
            "time": pd.date_range("2020-07-01", periods=DATES, freq="20D"),
            "band": ["B02", "B03", "B04", "B08"],
            "y": 5_000_000 - 10 * np.arange(HEIGHT) - 5.0,
            "x": 600_000 + 10 * np.arange(WIDTH) + 5.0,
        },
    )


@pytest.fixture
def table() -> gpd.GeoDataFrame:
    hole = shapely.box(600_700, 4_999_600, 600_900, 4_999_800).difference(
        shapely.box(600_750, 4_999_650, 600_800, 4_999_700)
    )
    shapes = [shapely.box(600_100, 4_999_500, 600_300, 4_999_600), hole]
    facts = {"id": [3, 8], "label": ["high", "low"], "row": [40, 20], "column": [10, 70]}
    return gpd.GeoDataFrame({**facts, "height": [10, 20], "width": [20, 20]}, geometry=shapes, crs=32631)


@pytest.fixture
def counts() -> dict[str, np.ndarray]:
    one = np.random.default_rng(1).poisson(6, (10, 20)).astype(float)
    one[0, 0] = 400
    two = np.random.default_rng(2).poisson(2, (20, 20)).astype(float)
    two[5:10, 5:10] = np.nan
    return {"Object 1": one, "Object 2": two}


@pytest.fixture
def explorer(series, table, counts, monkeypatch) -> RegionExplorer:
    """A panel that draws its PNG for nobody: figures are asked for where a test needs one."""
    monkeypatch.setenv("EOLAB_HEADLESS", "1")
    return RegionExplorer(series, table, COLORS, ["a", "b · 10 % clouds", "c"], counts, 97.0, "Degree")


def outlines(ax) -> dict[str, list[np.ndarray]]:
    """Vertices of the outlines by colour."""
    return {
        mpl.colors.to_hex(one.get_color()[0]).upper(): [path.vertices for path in one.get_paths()]
        for one in ax.collections
        if isinstance(one, LineCollection)
    }


def test_it_starts_with_all_regions_on_the_clearest_date(explorer):
    assert explorer.date.value == 1
    assert explorer.title.value == "b · 10 % clouds"
    assert explorer.channels.options[:2] == ("True colour", "False colour (near infrared)")
    assert [name for name, _ in explorer.region.options] == [
        "all regions",
        "high (region 3)",
        "low (region 8)",
    ]
    assert explorer.panel._dom_classes == ("eolab-region-explorer",)
    assert explorer.figure().axes[0].get_title(loc="left") == "True colour, 2020-07-21"


def test_outlines_lie_where_the_regions_are_in_kilometres_and_holes_have_theirs(explorer, table):
    found = outlines(explorer.figure().axes[0])
    assert {color: len(lines) for color, lines in found.items()} == {"#0072B2": 2, "#D55E00": 1}
    (high,) = found["#D55E00"]
    np.testing.assert_allclose(high.min(axis=0), (600.1, 4999.5))
    np.testing.assert_allclose(high.max(axis=0), (600.3, 4999.6))
    texts = [text.get_text() for text in explorer.figure().axes[0].get_legend().get_texts()]
    assert texts == ["low (1)", "high (1)"]


def test_the_date_and_the_channels_change_the_picture(explorer, series):
    explorer.date.value, explorer.channels.value = 2, "B08"
    drawn = explorer.figure().axes[0].images[0].get_array()
    np.testing.assert_array_equal(drawn, series["image"][2, 3].to_numpy())
    assert explorer.title.value == "c"


@pytest.mark.slow
def test_every_change_draws_another_picture(series, table, counts):
    explorer = RegionExplorer(series, table, COLORS, counts=counts)
    pictures = [explorer.image.value]
    for control, value in ((explorer.date, 0), (explorer.channels, "BNDVI"), (explorer.region, 1)):
        control.value = value
        pictures.append(explorer.image.value)
    explorer.percentile.value = 80
    pictures.append(explorer.image.value)
    assert len(set(pictures)) == len(pictures)
    assert Image.open(io.BytesIO(pictures[-1])).size[0] > 800


def test_the_percentile_moves_the_threshold_and_redraws_the_values(explorer, counts):
    known = np.concatenate([one[np.isfinite(one)] for one in counts.values()])
    for percentile in (97, 80, 100):
        explorer.percentile.value = percentile
        threshold = np.percentile(known, percentile)
        assert explorer.threshold == threshold
        figure = explorer.figure()
        histogram, maps = figure.axes[1], figure.axes[2:4]
        assert histogram.get_legend().get_texts()[0].get_text() == (
            f"Percentile {percentile}: {threshold:.4g} points"
        )
        assert sum(bar.get_height() for bar in histogram.patches) == len(known)
        for ax, (name, found) in zip(maps, counts.items(), strict=True):
            assert ax.get_title() == name or ax.get_title(loc="left") == name
            expected = np.minimum(found, threshold) / threshold
            np.testing.assert_allclose(ax.images[0].get_array().filled(np.nan), expected)
    assert figure.axes[-1].get_ylabel() == "Degree"


def test_a_percentile_without_points_is_said_and_the_picture_stays(series, table):
    sparse = {"one": np.where(np.arange(200).reshape(10, 20) < 20, 5.0, 0.0)}
    explorer = RegionExplorer(series, table, COLORS, counts=sparse)
    before = explorer.image.value
    explorer.percentile.value = 60
    assert "60th percentile of the counts is 0" in explorer.message.value
    assert explorer.image.value == before
    with pytest.raises(DataError, match="60th percentile"):
        explorer.figure()
    explorer.percentile.value = 95
    assert explorer.message.value == ""


def test_one_region_is_shown_with_what_is_around_it(explorer, series):
    explorer.region.value = 0
    shown = explorer.figure().axes[0].images[0].get_array()
    assert shown.shape[:2] == (
        50,
        50,
    )  # 20 pixels around, cut at the left edge: rows 20 to 70, columns 0 to 50
    assert outlines(explorer.figure().axes[0]).keys() == {"#0072B2", "#D55E00"}


def test_a_large_series_is_read_at_the_resolution_of_a_screen(series, table, monkeypatch):
    monkeypatch.setattr("eolab.plots.geometry.MOST_PIXELS", 40)
    explorer = RegionExplorer(series, table, COLORS)
    assert explorer.figure().axes[0].images[0].get_array().shape[:2] == (30, 40)
    explorer.region.value = 0
    monkeypatch.undo()
    explorer._near.cache_clear()
    assert explorer.figure().axes[0].images[0].get_array().shape[:2] == (50, 50)


def test_without_points_it_is_a_map_alone(series, table):
    explorer = RegionExplorer(series.isel(time=[0]), table, COLORS)
    assert explorer.percentile is None
    assert explorer.title.value == "2020-07-01"
    assert len(explorer.figure().axes) == 1


def test_in_a_batch_run_it_draws_for_nobody_and_the_figure_is_there(explorer):
    explorer.percentile.value = 90
    assert explorer.image.value == b""
    assert len(explorer.figure().axes) == 5  # map, histogram, two values and their colour bar


# === The figures that it is made of ===


def test_maps_of_a_gallery_have_one_scale(counts):
    figure = plots.map_gallery(counts, "Points", limits=(0, 10), columns=2)
    assert {ax.get_xlim() for ax in figure.axes[:2]} == {(-0.5, 19.5)}
    assert {ax.get_ylim() for ax in figure.axes[:2]} == {(19.5, -0.5)}
    assert [ax.images[0].get_clim() for ax in figure.axes[:2]] == [(0, 10), (0, 10)]


def test_bars_of_a_date_add_up_and_unknown_clouds_have_none():
    times = pd.date_range("2020", periods=60)
    shares = {"clear": 0.5, "cloud": 0.3, "missing": 0.2}
    table = pd.DataFrame({"time": times, "name": times.strftime("%d %B"), **shares})
    ax = plots.acquisitions(table).axes[0]
    assert len(ax.get_yticks()) == 40
    assert sum(bar.get_width() for bar in ax.patches) == pytest.approx(40 * 100)
    ax = plots.acquisitions(table.assign(cloud=np.nan, clear=0.8)).axes[0]
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["With a value", "No data"]
