"""The panels' logic without a browser: what is shown, what is read, what a click means."""

from __future__ import annotations

import json
from dataclasses import asdict

import matplotlib as mpl

mpl.use("Agg")

import dask.array as da
import nbformat
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.backend_bases import MouseEvent
from nbclient import NotebookClient

from eolab.core.errors import DataError
from eolab.data.schemes import IGNORE
from eolab.data.schemes.landcover import LANDCOVER
from eolab.widgets import SeriesExplorer
from eolab.widgets.explorer import views

BANDS = ["B02", "B03", "B04", "B08", "B11", "B12"]
DATES, HEIGHT, WIDTH = 6, 24, 40
READ: list[tuple[int, int]] = []


def read_block(block: np.ndarray, block_info=None) -> np.ndarray:
    date, band = block_info[0]["chunk-location"][:2]
    READ.append((date, band))
    return block


@pytest.fixture
def series() -> xr.Dataset:
    """A lazy series, one chunk a date and band, that notes in READ what is computed."""
    rng = np.random.default_rng(0)
    values = rng.uniform(0.02, 0.5, (DATES, len(BANDS), HEIGHT, WIDTH)).astype(np.float32)
    lazy = da.from_array(values, chunks=(1, 1, HEIGHT, WIDTH))
    clear = rng.random((DATES, HEIGHT, WIDTH)) < np.array([0.3, 0.9, 0.5, 0.2, 0.6, 0.4])[:, None, None]
    label = rng.integers(0, 12, (HEIGHT, WIDTH)).astype(np.uint8)
    label[0, 0] = IGNORE
    READ.clear()
    return xr.Dataset(
        {
            "image": (
                ("time", "band", "y", "x"),
                da.map_blocks(read_block, lazy, dtype=np.float32, meta=np.empty((0, 0, 0, 0), np.float32)),
                {"units": "reflectance"},
            ),
            "clear": (("time", "y", "x"), clear),
            "label": (("y", "x"), label),
        },
        coords={
            "time": pd.date_range("2020-02-01", periods=DATES, freq="50D"),
            "band": BANDS,
            "y": 4_800_000 - 10 * np.arange(HEIGHT) - 5.0,
            "x": 431_000 + 10 * np.arange(WIDTH) + 5.0,
        },
    )


@pytest.fixture
def explorer(series) -> SeriesExplorer:
    return SeriesExplorer(series, LANDCOVER)


def map_axes(explorer):
    return explorer._figure.axes[0]


def curve(explorer) -> np.ndarray:
    return explorer._figure.axes[1].lines[0].get_ydata()


def test_it_starts_at_the_clearest_date_with_dates_and_shares(explorer, series):
    assert explorer.date.value == 1
    share = 100 * float(series["clear"][1].mean())
    assert explorer.date_shown.value == explorer.date.options[1][0] == f"2020-03-22 · {share:.0f} % clear"
    assert "2020-03-22" in map_axes(explorer).get_title(loc="left")


def test_moving_the_date_changes_the_picture_and_reads_that_date_only(explorer, series):
    before = map_axes(explorer).images[0].get_array().copy()
    READ.clear()
    explorer.date.value = 3
    assert set(READ) == {(3, BANDS.index(band)) for band in ("B02", "B03", "B04")}
    after = map_axes(explorer).images[0].get_array()
    assert not np.array_equal(before, after)
    low, high = explorer.reader.limits(explorer.reader.views["True colour"])
    green = series["image"][3].sel(band="B03").to_numpy()
    np.testing.assert_allclose(after[..., 1], np.clip((green - low) / (high - low), 0, 1), atol=1e-5)
    READ.clear()
    explorer.date.value = 1
    assert not READ, "the last pictures are remembered"


def test_the_first_date_is_named_too(explorer):
    explorer.date.value = 0
    assert explorer.date_shown.value.startswith("2020-02-01 · ")


def test_colours_mean_the_same_at_every_date(explorer):
    notes = set()
    for date in range(DATES):
        explorer.date.value = date
        notes.add(map_axes(explorer).get_xlabel())
    assert len(notes) == 1


def test_selecting_a_pixel_shows_its_clear_values(explorer, series):
    explorer.curve.value = "B08"
    READ.clear()
    explorer.select_pixel(7, 31)
    assert {band for _, band in READ} == {BANDS.index("B08")}
    column, clear = series["image"].sel(band="B08")[:, 7, 31].to_numpy(), series["clear"][:, 7, 31].to_numpy()
    np.testing.assert_allclose(curve(explorer), column[clear])
    name = LANDCOVER.names[int(series["label"][7, 31])]
    assert explorer.status.value == (
        f"Pixel: row 7, column 31 · x 431.315, y 4799.925 · {name} · clear on {clear.sum()} of {DATES} dates"
    )


def test_an_index_is_computed_from_its_bands(explorer, series):
    explorer.view.value = "NDVI"
    nir, red = (series["image"][1].sel(band=band).to_numpy() for band in ("B08", "B04"))
    drawn = map_axes(explorer).images[0].get_array()
    np.testing.assert_allclose(drawn, (nir - red) / (nir + red), rtol=1e-5)


@pytest.mark.parametrize(("row", "col"), [(0, 0), (7, 31), (23, 39), (12, 3)])
def test_a_click_selects_the_pixel_under_it(explorer, row, col):
    explorer._figure.canvas.draw()
    ax = map_axes(explorer)
    x, y = ax.transData.transform((431.005 + 0.01 * col, 4799.995 - 0.01 * row))
    event = MouseEvent("button_press_event", explorer.canvas, x, y, button=1)
    explorer.canvas.callbacks.process("button_press_event", event)
    assert (explorer.row.value, explorer.col.value) == (row, col)
    assert explorer._figure.axes[1].get_title(loc="left") == f"NDVI of row {row}, column {col}"


def test_a_click_outside_the_picture_changes_nothing(explorer):
    explorer._figure.canvas.draw()
    status = explorer.status.value
    box = explorer._figure.axes[1].get_window_extent()
    event = MouseEvent("button_press_event", explorer.canvas, box.x0 + 20, box.y0 + 20, button=1)
    explorer.canvas.callbacks.process("button_press_event", event)
    assert explorer.status.value == status


def test_row_and_column_fields_select_too_and_places_outside_are_clamped(explorer):
    explorer.row.value = 5
    assert "row 5" in explorer.status.value
    explorer.select_pixel(-4, 900)
    assert (explorer.row.value, explorer.col.value) == (0, WIDTH - 1)
    explorer.select_pixel(0, 0)
    assert "no label" in explorer.status.value


def test_the_static_figure_shows_what_the_panel_shows(explorer):
    explorer.date.value = 4
    explorer.select_pixel(3, 3)
    figure = explorer.figure()
    assert figure is not explorer._figure
    np.testing.assert_array_equal(
        figure.axes[0].images[0].get_array(), map_axes(explorer).images[0].get_array()
    )
    np.testing.assert_array_equal(figure.axes[1].lines[0].get_ydata(), curve(explorer))
    assert "row 3, column 3" in figure.get_suptitle()


def test_a_single_band_series_without_labels_works(series):
    ndvi = series.isel(band=[0]).assign_coords(band=["NDVI"]).drop_vars("label")
    explorer = SeriesExplorer(ndvi)
    assert explorer.view.options == ("NDVI",)
    explorer.date.value = 2
    drawn = map_axes(explorer).images[0].get_array()
    np.testing.assert_array_equal(drawn, series["image"][2, 0].to_numpy())
    assert explorer.class_name() == ""


def test_views_are_those_that_the_bands_allow():
    assert list(views(["B02", "B03", "B04"])) == ["True colour", "GREY", "B02", "B03", "B04"]
    found = views(["B04", "B08", "B8A", "B11", "B12"])
    assert found["Short-wave infrared"].bands == ("B12", "B8A", "B04")
    assert "True colour" not in found
    assert found["NDVI"].kind == "index"


def test_a_date_without_a_clear_pixel_is_drawn(series):
    series["clear"][:] = False
    series["image"] = series["image"].where(False)
    explorer = SeriesExplorer(series, LANDCOVER)
    explorer._figure.canvas.draw()
    assert "clear on 0 of 6 dates" in explorer.status.value


def test_the_class_scheme_comes_with_the_series(series):
    series.attrs["class_scheme"] = json.dumps(asdict(LANDCOVER))
    assert SeriesExplorer(series).scheme == LANDCOVER


def test_bad_input_is_named(series):
    with pytest.raises(DataError, match=r"needs clear.*no such variable"):
        SeriesExplorer(series.drop_vars("clear"))


def test_the_notebook_keeps_its_own_backend(explorer):
    assert mpl.get_backend().lower() == "agg"
    assert explorer.panel._dom_classes == ("eolab-series-explorer",)


@pytest.mark.slow
def test_in_a_batch_run_it_leaves_one_line_and_no_widget_state(monkeypatch):
    monkeypatch.setenv("EOLAB_HEADLESS", "1")
    code = """
import numpy as np, pandas as pd, xarray as xr
from eolab.widgets import SeriesExplorer
dims = ("time", "band", "y", "x")
series = xr.Dataset(
    {
        "image": (dims, np.random.default_rng(0).random((3, 1, 8, 8))),
        "clear": (("time", "y", "x"), np.ones((3, 8, 8), bool)),
    },
    coords={"time": pd.date_range("2020", periods=3), "band": ["NDVI"]},
)
explorer = SeriesExplorer(series)
explorer.date.value = 2
explorer.select_pixel(1, 1)
explorer
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    assert "widgets" not in notebook.metadata
    (output,) = notebook.cells[0].outputs
    assert output.output_type == "stream"
    assert output.text.startswith("Interactive panel")
    assert len(output.text.splitlines()) == 1
