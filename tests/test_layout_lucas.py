"""Points of the LUCAS survey: both published forms, reasons for what is left out, the simulated survey."""

import numpy as np
import pandas as pd
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr
from pyproj import Transformer

from eolab.core.errors import DataError
from eolab.data.layouts import lucas
from eolab.data.schemes import IGNORE
from eolab.data.schemes.landcover import LANDCOVER
from eolab.synthetic.lucas import write_points

GRID = GeoBox((100, 120), Affine(10, 0, 500_000, 0, -10, 5_600_000), "EPSG:32631")
AT = Transformer.from_crs(32631, 4326, always_xy=True)
# Header and rows as Eurostat writes them (survey of 2018), the rest of the 97 columns left out
ROW = '{id},"BE","{date}",{lat:.9f},{lon:.9f},5,{gps},"1",3.813208,{distance},"1","{code}","8"\n'
HEADER = (
    '"POINT_ID","NUTS0","SURVEY_DATE","TH_LAT","TH_LONG","GPS_PREC","GPS_LAT","GPS_EW","GPS_LONG","OBS_DIST",'
    '"OBS_TYPE","LC1","LC1_SPEC"\n'
)


@pytest.fixture(scope="module")
def labels():
    values = np.random.default_rng(0).integers(0, len(LANDCOVER), GRID.shape).astype(np.uint8)
    values[:10] = IGNORE
    return wrap_xr(values, GRID)


def row(id, at_row, at_col, code, gps="50.863709", distance=22, date="12/07/18"):
    x, y = GRID.transform @ (at_col + 0.5, at_row + 0.5)
    lon, lat = AT.transform(x, y)
    return ROW.format(id=id, lat=lat, lon=lon, code=code, gps=gps, distance=distance, date=date)


def test_points_of_the_survey_have_the_class_of_their_code_on_their_pixel(labels, tmp_path):
    file = tmp_path / "BE_2018.csv"
    file.write_text(HEADER + row(1, 50, 60, "C10") + row(2, 20, 7, "B11") + row(3, 99, 119, "G21"))
    found = lucas.read_lucas(file, labels, LANDCOVER)
    table = found.table
    assert len(found.left_out) == 0
    assert [LANDCOVER.names[k] for k in table["reference"]] == ["Broadleaves", "Not irrigated crops", "Lake"]
    assert table[["row", "col"]].to_numpy().tolist() == [[50, 60], [20, 7], [99, 119]]
    assert table["stratum"].tolist() == np.asarray(labels)[table["row"], table["col"]].tolist()


def test_each_point_that_is_left_out_has_its_reason(labels, tmp_path):
    file = tmp_path / "BE_2018.csv"
    file.write_text(
        HEADER
        + row(1, 50, 60, "C10", gps="88.888888", distance="")
        + row(2, 50, 61, "C10", distance=140)
        + row(3, 50, 62, "C31")
        + row(4, 50, 63, "8")
        + row(5, 5, 5, "C10")  # where the map has no class
        + row(6, 500, 5, "C10")
        + row(7, 51, 5, "C10", date="12/07/15")
        + row(8, 52, 5, "C10")
    )
    found = lucas.read_lucas(file, labels, LANDCOVER, years=[2018])
    assert found.table["id"].tolist() == ["8"]
    reasons = found.left_out.set_index("id")["reason"]
    assert "no GPS" in reasons["1"]
    assert "more than 100 m" in reasons["2"]
    assert reasons["3"] == "its land cover C31 belongs to no class"
    assert "land cover 8" in reasons["4"]
    assert reasons["5"] == "lies where the map has no class"
    assert reasons["7"] == "is of another year"
    assert reasons[""] == "1 points lie outside of the map"


def test_the_harmonised_table_is_read_alike(labels, tmp_path):
    """Lower-case names, text where 2018 has codes, several years, a few points in metres."""
    x, y = GRID.transform @ (60.5, 50.5)
    lon, lat = AT.transform(x, y)
    rows = {"id": [1, 2, 3], "point_id": [11, 12, 13], "year": [2015, 2018, 2018], "nuts0": "BE"}
    places = {"th_lat": [lat, lat, 4_774_000.0], "th_long": [lon, lon, 1_530_000.0], "gps_lat": lat}
    rest = {"obs_type": "In situ < 100 m", "obs_dist": 3.0, "lc1": "E20", "lc1_label": "Grassland"}
    pd.DataFrame(rows | places | rest).to_csv(tmp_path / "lucas_harmo_uf.csv", index=False)
    found = lucas.read_lucas(tmp_path / "lucas_harmo_uf.csv", labels, LANDCOVER, years=[2018])
    assert found.table["id"].tolist() == ["12"]
    assert LANDCOVER.names[found.table["reference"][0]] == "Grass"
    assert found.left_out["reason"].tolist() == ["is of another year", "1 points lie outside of the map"]


def test_a_table_is_read_in_parts_with_the_same_result(labels, tmp_path, monkeypatch):
    file = write_points(tmp_path / "l.csv", labels, LANDCOVER, lucas.classes(), spacing_m=50)
    whole = lucas.read_lucas(file, labels, LANDCOVER)
    monkeypatch.setattr(lucas, "_AT_ONCE", 50)
    parts = lucas.read_lucas(file, labels, LANDCOVER)
    assert parts.table.equals(whole.table)
    assert parts.left_out.equals(whole.left_out)


def test_every_class_of_the_table_is_one_of_the_study_and_codes_are_not_repeated():
    table = pd.read_csv(lucas.CLASSES, keep_default_na=False)
    assert set(table["class"]) <= {"", *LANDCOVER.names}
    assert not table["code"].duplicated().any()
    assert table["code"].str.fullmatch("[A-H][0-9]{2}").all()


def test_a_table_that_users_edit_is_taken(labels, tmp_path):
    (tmp_path / "own.csv").write_text("code,class\nC31,Conifers\n")
    (tmp_path / "l.csv").write_text(HEADER + row(1, 50, 60, "C31") + row(2, 50, 60, "C10"))
    found = lucas.read_lucas(tmp_path / "l.csv", labels, LANDCOVER, lucas.classes(tmp_path / "own.csv"))
    assert [LANDCOVER.names[k] for k in found.table["reference"]] == ["Conifers"]


def test_a_simulated_survey_is_the_truth_where_it_has_no_error_of_position(labels, tmp_path):
    of_code = lucas.classes()
    found = []
    for metres in (0, 20):
        file = tmp_path / f"{metres}.csv"
        write_points(file, labels, LANDCOVER, of_code, spacing_m=30, error_m=metres)
        found.append(lucas.read_lucas(file, labels, LANDCOVER))
    exact, blurred = found
    assert len(exact.table) > 800
    assert (exact.table["reference"] == exact.table["stratum"]).all()
    assert (blurred.table["reference"] == blurred.table["stratum"]).mean() < 0.5
    assert exact.left_out["reason"].str.contains("no GPS").any()
    assert exact.left_out["reason"].str.contains("more than 100 m").any()


def test_a_table_of_codes_that_is_not_there_is_named(tmp_path):
    """Regression: a wrong path of the table of codes ended in a traceback."""
    with pytest.raises(DataError, match=r"codes\.csv cannot be read .*columns code and class"):
        lucas.classes(tmp_path / "codes.csv")


def test_another_table_is_refused_in_one_sentence(labels, tmp_path):
    (tmp_path / "other.csv").write_text("id,lat,lon\n1,2,3\n")
    with pytest.raises(DataError, match=r"no column point_id, th_lat.*as Eurostat publishes it"):
        lucas.read_lucas(tmp_path / "other.csv", labels, LANDCOVER)
    with pytest.raises(DataError, match="cannot be read"):
        lucas.read_lucas(tmp_path / "none.csv", labels, LANDCOVER)
