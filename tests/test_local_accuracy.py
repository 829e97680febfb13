"""Accuracy around each place, and the figures of reference points."""

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr

from eolab import plots
from eolab.core.errors import ParameterError
from eolab.data import reference_points
from eolab.data.schemes import ClassScheme
from eolab.evaluation import areas, local

GRID = GeoBox((80, 120), Affine(10, 0, 600_000, 0, -10, 4_900_000), "EPSG:32631")
SCHEME = ClassScheme.numbered("two", [("Water", "#0000ff"), ("Wood", "#00ff00")])


def some_points(n=400, seed=0):
    rng = np.random.default_rng(seed)
    rows, cols = rng.integers(0, 80, n), rng.integers(0, 120, n)
    return pd.DataFrame({"id": range(n), "row": rows, "col": cols, "weight": rng.uniform(1, 5, n)})


def test_local_accuracy_is_the_kernel_weighted_share_written_again():
    points, right = some_points(), np.random.default_rng(1).random(400) < 0.7
    found = local.local_accuracy(points, right, GRID, 150.0, cells=12, min_effective=0)
    assert found["accuracy"].shape == (8, 12)
    for row, col in ((0, 0), (3, 7), (7, 11)):
        middle = (row + 0.5) * 10 - 0.5, (col + 0.5) * 10 - 0.5  # in pixels, of cells of 10 pixels
        metres = 10 * np.hypot(points["row"] - middle[0], points["col"] - middle[1])
        weight = points["weight"] * np.exp(-0.5 * (metres / 150) ** 2)
        assert found["accuracy"].item((row, col)) == pytest.approx(np.average(right, weights=weight))
        assert found["effective"].item((row, col)) == pytest.approx(weight.sum() ** 2 / (weight**2).sum())
    assert found.x.to_numpy()[[0, -1]].tolist() == [600_050, 601_150]


def test_a_part_of_the_map_that_is_worse_is_found():
    points = some_points(2000)
    chance = np.where(points["col"] < 60, 0.95, 0.5)
    found = local.local_accuracy(points, np.random.default_rng(2).random(2000) < chance, GRID, 80.0)
    assert found["accuracy"][:, :20].mean().item() == pytest.approx(0.95, abs=0.03)
    assert found["accuracy"][:, -20:].mean().item() == pytest.approx(0.5, abs=0.06)


def test_places_with_too_few_points_have_no_accuracy():
    points = some_points().query("col < 40")
    found = local.local_accuracy(points, np.ones(len(points)), GRID, 60.0, min_effective=10)
    assert np.isfinite(found["accuracy"][30, 10])
    assert np.isnan(found["accuracy"][30, 55])
    with pytest.raises(ParameterError, match="bandwidth_m is 0"):
        local.local_accuracy(points, np.ones(len(points)), GRID, 0)


def test_the_bandwidth_sees_the_number_of_points_asked_for():
    points = some_points(4000).assign(weight=1.0)
    bandwidth = local.bandwidth_for(4000, GRID, effective=50)
    found = local.local_accuracy(points, np.ones(4000), GRID, bandwidth, cells=12)
    assert found["effective"][3:5, 4:8].mean().item() == pytest.approx(50, rel=0.15)


def test_the_bandwidth_that_is_chosen_is_narrow_where_accuracy_differs_and_wide_where_it_does_not():
    """Leaving one out: noise of few points is no structure."""
    points = some_points(1200).assign(weight=1.0)
    rng = np.random.default_rng(3)
    alike = rng.random(1200) < 0.8
    torn = rng.random(1200) < np.where((points["col"] // 30 + points["row"] // 27) % 2, 0.98, 0.4)
    chosen = [local.choose_bandwidth(points, right, GRID) for right in (alike, torn)]
    best = [table.loc[table["brier"].idxmin(), "effective"] for table in chosen]
    assert best[0] >= 200
    assert best[1] <= 50
    table = chosen[1].set_index("effective")
    right = torn.astype(float)
    metres = 10 * np.hypot(*(points[[one]].to_numpy() - points[one].to_numpy() for one in ("row", "col")))
    weight = np.exp(-0.5 * (metres / table.loc[50, "bandwidth_m"]) ** 2)
    np.fill_diagonal(weight, 0)
    assert table.loc[50, "brier"] == pytest.approx(np.mean((weight @ right / weight.sum(1) - right) ** 2))


def test_distance_to_the_nearest_sample_is_in_metres():
    samples = pd.DataFrame({"row": [0, 50], "col": [0, 60]})
    points = pd.DataFrame({"row": [3, 50], "col": [4, 60]})
    assert reference_points.distance_m(points, samples, GRID).tolist() == [50, 0]


# === Figures ===


@pytest.fixture
def series():
    """Two dates of three bands whose red is the column: a chip says where it was cut."""
    values = np.zeros((2, 4, *GRID.shape), np.float32)
    values[:, 2] = np.arange(120) / 120
    bands = ["B02", "B03", "B04", "B08"]
    return xr.DataArray(values, dims=("time", "band", "y", "x"), coords={"band": bands})


def test_chips_show_the_surroundings_of_their_pixel_in_its_frame(series, tmp_path, monkeypatch):
    points = some_points(6)
    points.loc[0, ["row", "col"]] = (0, 0)  # in the corner, where most of the chip is outside
    names = plots.write_chips(series, points, tmp_path / "chips", radius=4, scale=5)
    assert names == [f"{number:05d}.png" for number in range(6)]
    monkeypatch.setattr("eolab.plots.points.BLOCK_PX", 32)
    plots.write_chips(series, points, tmp_path / "again", radius=4, scale=5)
    reds = {}
    for name, col in zip(names, points["col"], strict=True):
        picture = matplotlib.image.imread(tmp_path / "chips" / name)[..., :3]
        assert picture.shape == (45, 45 + 5 + 45, 3)
        assert (picture == matplotlib.image.imread(tmp_path / "again" / name)[..., :3]).all()
        reds[col] = picture[22, 22, 0]
        assert picture[19, 22].tolist() == pytest.approx([1, 230 / 255, 0])  # the frame, above the pixel
    slope = [reds[col] / col for col in reds if 0.1 < reds[col] < 1]  # black is 0, green and blue are
    assert len(slope) >= 3
    assert slope == pytest.approx([slope[0]] * len(slope), rel=0.02)


def test_a_series_of_one_index_has_grey_chips(series, tmp_path):
    name = plots.write_chips(series.isel(band=[2]), some_points(1), tmp_path, radius=3)[0]
    picture = matplotlib.image.imread(tmp_path / name)[..., :3]
    assert (picture[3, 3] == picture[3, 3, 0]).all()


def test_figures_of_points_are_drawn(series, tmp_path):
    labels = wrap_xr(np.random.default_rng(0).integers(0, 2, GRID.shape).astype(np.uint8), GRID)
    points = reference_points.draw(labels, SCHEME, [20, 30])
    right = np.random.default_rng(1).random(50) < 0.8
    bins = areas.by_bins(np.arange(50), [0, 20, 60], right, areas.Sample(points["stratum"], [500, 9000]))
    names = plots.write_chips(series, points, tmp_path, radius=3)
    table = pd.DataFrame({"class": ["Water", "Wood"], "area": [3, 5], "area_low": [2, np.nan]})
    table = table.assign(area_high=[4, np.nan], mapped=[3.5, 4.5])
    drawn = plots.sample_map(labels, points, SCHEME)
    assert len(drawn.axes[0].collections[0].get_offsets()) == 50
    assert drawn.axes[0].collections[0].get_offsets()[0][0] == pytest.approx(points["x"][0] / 1000)
    assert "n = 0" in plots.accuracy_by_bins(bins, "Distance (m)").axes[0].get_xticklabels()[-1].get_text()
    named = plots.class_areas(table, {"mapped": "Pixels"}).axes[0].get_legend().get_texts()
    assert [text.get_text() for text in named] == ["Pixels", "Estimated, with 95 % interval"]
    sheet = plots.contact_sheet([tmp_path / name for name in names[:3]], ["a", "b", "c"])
    assert len(sheet.axes) == 3
