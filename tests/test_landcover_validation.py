"""Validation of a land-cover map: the map that is meant, dates to look at, simulated answers, tables."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr

from eolab.core.errors import DataError, ParameterError
from eolab.data import reference_points
from eolab.data.schemes import ClassScheme
from eolab.evaluation import areas
from eolab.studies.landcover import validation

SCHEME = ClassScheme.numbered("three", [("Lake", "#0000ff"), ("Grass", "#00ff00"), ("Sand", "#ffff00")])
GRID = GeoBox((60, 80), Affine(10, 0, 600_000, 0, -10, 4_900_000), "EPSG:32631")


@pytest.fixture(scope="module")
def maps():
    rng = np.random.default_rng(0)
    truth = rng.choice(3, GRID.shape, p=[0.2, 0.3, 0.5]).astype(np.uint8)
    mapped = np.where(rng.random(GRID.shape) < 0.75, truth, 1).astype(np.uint8)
    mapped[:3] = 255
    return wrap_xr(mapped, GRID), wrap_xr(truth, GRID)


@pytest.fixture(scope="module")
def drawn(maps):
    return reference_points.draw(maps[0], SCHEME, [60, 150, 90])


def test_the_map_of_a_year_is_the_consistent_one_and_the_newest_unless_told(tmp_path):
    for name in ("2019", "2020", "2020_consistent", "2019_consistent"):
        (tmp_path / f"land_cover_{name}.tif").touch()
    (tmp_path / "land_cover_2021.tif.aux.xml").touch()
    assert validation.map_of_year(tmp_path) == (tmp_path / "land_cover_2020_consistent.tif", 2020)
    assert validation.map_of_year(tmp_path, 2019)[0].name == "land_cover_2019_consistent.tif"
    with pytest.raises(ParameterError, match=r"no map of 2018: .*Known: 2019, 2020"):
        validation.map_of_year(tmp_path, 2018)
    with pytest.raises(DataError, match=r"no map land_cover_<year>\.tif: give the folder of a 06_map_years"):
        validation.map_of_year(tmp_path / "elsewhere")


def test_the_clearest_date_of_each_part_of_a_series_is_shown():
    share = [0.1, 0.9, 0.2, 0.3, 0.4, 0.8, 0.7]
    clear = xr.DataArray(np.random.default_rng(0).random((7, 20, 20)), dims=("time", "y", "x"))
    series = xr.Dataset({"clear": clear < xr.DataArray(share, dims="time")})
    assert validation.clearest_dates(series, 3) == [1, 4, 5]
    assert validation.clearest_dates(series, 99) == list(range(7))


def test_simulated_answers_are_the_truth_but_for_the_share_of_guesses(maps, drawn):
    exact, guessed = (
        validation.simulated_answers(maps[1], drawn, SCHEME, error, seed=1) for error in (0.0, 0.6)
    )
    by_id = drawn.sort_values("id")
    truth = np.asarray(maps[1])[by_id["row"], by_id["col"]]
    assert exact == [SCHEME.names[k] for k in truth]
    assert np.mean(np.array(exact) == guessed) == pytest.approx(1 - 0.6 * 2 / 3, abs=0.1)


def test_areas_of_the_sample_are_nearer_the_truth_than_counted_pixels(maps, drawn):
    sizes = reference_points.sizes(maps[0], SCHEME)
    truth = reference_points.values_at(maps[1], drawn)
    found = areas.assess(drawn["stratum"], truth, sizes["pixels"], SCHEME.names)
    table = validation.area_table(found, sizes, *maps)
    assert table["true"].sum() == pytest.approx(table["mapped"].sum())
    assert table["area"].sum() == pytest.approx(table["mapped"].sum())
    assert (abs(table["area"] - table["true"])).sum() < 0.5 * abs(table["mapped"] - table["true"]).sum()
    accuracy = validation.accuracy_table(found)
    assert accuracy["class"].tolist() == [*SCHEME.names, "Overall"]
    known = np.asarray(maps[0]) != 255
    right = (np.asarray(maps[0]) == np.asarray(maps[1]))[known].mean()
    assert accuracy["users"].iloc[-1] == pytest.approx(right, abs=0.06)
    assert accuracy["n_mapped"].iloc[-1] == 300


def test_points_of_a_survey_are_a_simple_random_sample_and_few_say_nothing(maps, drawn):
    table = drawn.assign(reference=reference_points.values_at(maps[1], drawn).astype(int))
    none = pd.DataFrame({"id": [], "reason": []})
    found = validation.survey_table(reference_points.Interpreted(table, none), 4560, SCHEME)
    agree = table["stratum"] == table["reference"]
    assert found.overall.value == pytest.approx(agree.mean())
    assert found.overall_se == pytest.approx(np.sqrt(agree.var() / 300 * (1 - 300 / 4560)))
    few = reference_points.Interpreted(table[:29], none)
    assert validation.survey_table(few, 4560, SCHEME) is None


def test_half_the_width_needs_four_times_the_points():
    table = validation.needed_points(pd.DataFrame({"pixels": [10**8, 3 * 10**8, 0]}), 0.8, [0.04, 0.02])
    points = table.set_index("half_width")["in proportion to area"]
    assert points[0.04] == np.ceil(0.8 * 0.2 * (1.959964 / 0.04) ** 2)
    assert points[0.02] / points[0.04] == pytest.approx(4, rel=0.01)
    assert (table["equal"] > table["in proportion to area"]).all()


def test_local_errors_compare_the_map_of_points_with_one_number(maps):
    every = validation.every_pixel(*maps, step=2)
    assert len(every) == 28 * 40  # the first two rows of every second one have no class
    row = every.iloc[100]
    assert row["right"] == (maps[0][row["row"], row["col"]] == maps[1][row["row"], row["col"]]).item()
    around = {"points": np.array([[0.8, np.nan]]), "pixels": np.array([[0.6, 0.9]])}
    table = validation.local_errors(around, 0.65, every, GRID).set_index("taken as local accuracy")
    assert table["rmse"].tolist() == pytest.approx([0.2, 0.05])
    left = every.loc[every["col"] < 40, "right"]
    assert table["brier"].tolist() == pytest.approx([((x - left) ** 2).mean() for x in (0.8, 0.65)])
