"""GPS points: files in every form, times in UTC, breaks, and counts in pixels against NumPy."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from eolab.core.errors import DataError, ParameterError
from eolab.data import tracks

GRID = GeoBox((40, 50), Affine(10, 0, 500_000, 0, -10, 6_400_000), "EPSG:32633")
LON, LAT = Transformer.from_crs(32633, 4326, always_xy=True).transform(500_105.0, 6_399_895.0)
EAST, NORTH = 500_105.0, 6_399_895.0  # the middle of row 10, column 10


def points_of(text: str, tmp_path: Path, **options) -> tracks.Points:
    file = tmp_path / "points.csv"
    file.write_text(text, encoding="utf-8")
    return next(iter(tracks.read_points(file, **options)))


def place(points: tracks.Points) -> list[tuple[int, int]]:
    counts, _ = tracks.count_in(points, GRID)
    return [tuple(one) for one in np.argwhere(counts > 0).tolist()]


@pytest.mark.parametrize(
    "text",
    [
        f"longitude,latitude\n{LON},{LAT}\n",
        f"id,lat,lon,label\n1,{LAT},{LON},x\n",
        f"Latitude;Longitude\n{str(LAT).replace('.', ',')};{str(LON).replace('.', ',')}\n",
        f"\ufeffLongitude\tLatitude\n{LON}\t{LAT}\n",
        f"name,geom\nx,POINT ({LON} {LAT})\n",
        f'name,wkt\nx,"point z({LON} {LAT} 12)"\n',
    ],
)
def test_coordinates_are_found_in_any_order_or_as_wkt(tmp_path, text):
    assert place(points_of(text, tmp_path)) == [(10, 10)]


def test_wkt_with_latitude_first_is_turned_where_only_so_it_lies_in_the_images(tmp_path):
    text = f"name,geom\nx,POINT ({LAT} {LON})\n"
    near = (LON - 1, LAT - 1, LON + 1, LAT + 1)
    assert place(points_of(text, tmp_path)) == []
    assert place(points_of(text, tmp_path, near=near)) == [(10, 10)]
    far = "lon,lat\n10.0,151.2\n"  # 151 degrees are no latitude
    assert points_of(far, tmp_path).table[["x", "y"]].to_numpy().tolist() == [[151.2, 10.0]]


def test_metres_are_read_in_their_reference_system(tmp_path):
    text = f"x,y\n{EAST},{NORTH}\n"
    assert place(points_of(text, tmp_path, crs=32633)) == [(10, 10)]
    with pytest.raises(DataError, match="which are no degrees of WGS 84"):
        points_of(text, tmp_path)


@pytest.mark.parametrize(
    ("text", "zone", "utc"),
    [
        ("2019-07-03T10:00:00Z", "Europe/Stockholm", "2019-07-03 10:00:00"),
        ("2019-07-03 12:00:00+02:00", "UTC", "2019-07-03 10:00:00"),
        ("2019-07-03T12:00:00+0200", "UTC", "2019-07-03 10:00:00"),
        ("2019-07-03 12:00:00", "Europe/Stockholm", "2019-07-03 10:00:00"),
        ("2019-12-03 12:00:00", "Europe/Stockholm", "2019-12-03 11:00:00"),
        ("2019-07-03 12:00:00", "UTC", "2019-07-03 12:00:00"),
        ("2019-10-27 02:30:00", "Europe/Stockholm", "2019-10-27 00:30:00"),  # this hour comes twice
        ("2019-03-31 02:30:00", "Europe/Stockholm", "2019-03-31 01:00:00"),  # and this one never
        ("2019-07-03T12:00:00.250+02:00", "UTC", "2019-07-03 10:00:00.250"),
    ],
)
def test_times_are_kept_in_utc(tmp_path, text, zone, utc):
    found = points_of(f"lon,lat,time\n15,57,{text}\n", tmp_path, timezone=zone).table["time"]
    assert found[0] == pd.Timestamp(utc)


def test_mixed_and_broken_times_and_places_are_counted(tmp_path):
    rows = [
        "15,57,2019-07-03T10:00:00Z",
        "15,57,2019-07-03T12:00:00+02:00",
        "15,57,2019-07-03 10:00:00",
        "15,57,yesterday",
        "15,57,",
        ",57,2019-07-03T10:00:00Z",
        "abc,57,2019-07-03T10:00:00Z",
        "0,0,2019-07-03T10:00:00Z",
    ]
    found = points_of("lon,lat,time\n" + "\n".join(rows) + "\n", tmp_path)
    assert found.left_out == {"without coordinates": 2, "at 0, 0 (no fix)": 1, "whose time is none": 1}
    assert found.table["time"].dropna().eq(pd.Timestamp("2019-07-03 10:00")).sum() == 3
    with pytest.raises(ParameterError, match="'Europe/Stockholm'"):
        points_of("lon,lat\n1,2\n", tmp_path, timezone="Sweden")


def test_numbers_of_tracks_keep_their_zeros_and_one_broken_coordinate_leaves_the_others_exact(tmp_path):
    text = "\n".join(["device,lon,lat", *(f"007,{LON!r},{LAT!r}",) * 3, "010,?,57", "010,15,"])
    found = points_of(text, tmp_path)
    assert found.table["track"].tolist() == ["007"] * 3
    assert found.table[["x", "y"]].drop_duplicates().to_numpy().tolist() == [[LON, LAT]]
    assert found.left_out == {"without coordinates": 2}


def test_points_of_one_pixel_add_up_in_counts_of_any_order_in_memory(tmp_path):
    points = points_of(f"lon,lat\n{LON},{LAT}\n{LON},{LAT}\n", tmp_path)
    counts, _ = tracks.count_in(points, GRID, np.zeros(GRID.shape, order="F"))
    assert counts[10, 10] == counts.sum() == 2
    kept = np.zeros(GRID.shape)
    weighted = points._replace(table=points.table.assign(weight=[0.5, 2.0]))
    assert tracks.count_in(weighted, GRID, kept)[0] is kept
    assert kept[10, 10] == kept.sum() == 2.5


GPX = """<?xml version="1.0"?><gpx version="1.1" creator="t" xmlns="http://www.topografix.com/GPX/1/1">
<wpt lat="1" lon="1"></wpt><trk><trkseg>
<trkpt lat="{lat}" lon="{lon}"><time>2019-07-03T10:00:00Z</time></trkpt>
<trkpt lat="{lat}" lon="{lon}"><time>2019-07-03T10:00:10Z</time></trkpt></trkseg></trk></gpx>"""


def test_points_of_gpx_and_geopackage_are_those_of_a_csv(tmp_path):
    (tmp_path / "a.gpx").write_text(GPX.format(lat=LAT, lon=LON))
    frame = gpd.GeoDataFrame(
        {
            "time": pd.to_datetime(["2019-07-03 12:00:00+02:00"] * 2),
            "geometry": gpd.points_from_xy([EAST] * 2, [NORTH] * 2),
        },
        crs=32633,
    )
    frame.to_file(tmp_path / "a.gpkg")
    for name in ("a.gpx", "a.gpkg"):
        (found,) = tracks.read_points(tmp_path / name)
        assert place(found) == [(10, 10)]
        assert len(found.table) == 2
        assert found.table["time"][0] == pd.Timestamp("2019-07-03 10:00")


@pytest.mark.parametrize("content", ["", "\n\n", "a,b\n1,2\n", "lon,lat\n1,2,3,4\n1,2\n"])
def test_a_table_without_points_is_named_with_the_remedy(tmp_path, content):
    with pytest.raises(DataError, match=r"expected|cannot be read as a table|fields below 2 names"):
        points_of(content, tmp_path)
    with pytest.raises(DataError, match="is no file"):
        next(iter(tracks.read_points(tmp_path / "missing.csv")))
    (tmp_path / "bad.gpx").write_text("<gpx")
    with pytest.raises(DataError, match="cannot be read as a file of points"):
        next(iter(tracks.read_points(tmp_path / "bad.gpx")))


def test_a_file_read_in_chunks_counts_as_at_once_and_memory_stays(tmp_path):
    rng = np.random.default_rng(0)
    east, north = rng.uniform(499_900, 500_600, 60_000), rng.uniform(6_399_500, 6_400_100, 60_000)
    pd.DataFrame({"x": east, "y": north}).to_csv(tmp_path / "many.csv", index=False)
    column, row = np.floor((east - 500_000) / 10), np.floor((6_400_000 - north) / 10)
    inside = (column >= 0) & (column < 50) & (row >= 0) & (row < 40)
    expected = np.zeros((40, 50))
    np.add.at(expected, (row[inside].astype(int), column[inside].astype(int)), 1)
    peaks = []
    for chunk in (2_000, 60_000):
        tracemalloc.start()
        counts, outside = None, 0
        for points in tracks.read_points(tmp_path / "many.csv", crs=32633, chunk=chunk):
            counts, more = tracks.count_in(points, GRID, counts)
            outside += more
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        np.testing.assert_array_equal(counts, expected)
        assert outside == int((~inside).sum())
    assert peaks[0] < peaks[1] / 4


def track(seconds: list[float], metres: list[float], name: str = "a") -> pd.DataFrame:
    start = pd.Timestamp("2019-07-03 10:00")
    times = start + pd.to_timedelta(seconds, unit="s")
    return pd.DataFrame({"x": EAST + np.array(metres, float), "y": NORTH, "time": times, "track": name})


def test_a_break_counts_once_however_many_points_it_has():
    walk = track([0, 10, 20, 30, 40, 50, 60], [0, 10, 20, 20, 21, 20, 30])
    found = tracks.still_time(walk, 32633)
    assert found["repeated"].tolist() == [False, False, False, True, True, True, False]
    assert found["weight"].tolist() == [1, 1, 1, 0, 0, 0, 1]
    gap = tracks.still_time(track([0, 10, 20, 3620, 3630], [0, 10, 20, 30, 40]), 32633, longest_s=60)
    assert gap["weight"].tolist() == [1, 1, 6, 1, 1]
    both = pd.concat([track([0, 10], [0, 10]), track([5, 15], [0, 10], "b")])
    assert tracks.still_time(both, 32633)["weight"].tolist() == [1, 1, 1, 1]
    with pytest.raises(DataError, match="no times"):
        tracks.still_time(walk.assign(time=pd.NaT), 32633)


def test_times_to_the_minute_weigh_as_much_as_those_to_the_second():
    """Regression: where most times are the same as the one before, weights were divided by a billionth."""
    walk = track([0, 0, 0, 0, 60, 60, 60, 60, 120], np.arange(9) * 10)
    found = tracks.still_time(walk, 32633)
    assert found["weight"].tolist() == [0, 0, 0, 1, 0, 0, 0, 1, 1]
    alike = tracks.still_time(track([5, 5, 5], [0, 10, 20]), 32633)
    assert alike["weight"].tolist() == [0, 0, 1]


def test_weights_are_summed_where_there_are_any():
    table = track([0, 10], [0, 1]).assign(weight=[0.5, 2.0])
    counts, outside = tracks.count_in(tracks.Points(table, tracks.CRS(32633), {}), GRID)
    assert counts[10, 10] == 2.5
    assert outside == 0


def test_a_kernel_density_keeps_the_sum_and_is_a_gaussian():
    counts = np.zeros(GRID.shape)
    counts[20, 25] = 8
    smooth = tracks.kernel_density(counts, GRID, 20.0)
    assert smooth.sum() == pytest.approx(8, rel=1e-4)
    assert smooth[20, 27] / smooth[20, 25] == pytest.approx(np.exp(-0.5), rel=1e-3)
    with pytest.raises(ParameterError, match="above 0"):
        tracks.kernel_density(counts, GRID, 0)


def test_counts_are_scaled_by_an_upper_threshold():
    counts = np.arange(101.0)
    scaled, threshold = tracks.share_of_highest(counts, np.ones(101, bool), 97)
    assert threshold == 97
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled[[0, 48, 97, 100]], [0, 48 / 97, 1, 1], rtol=1e-6)
    with pytest.raises(DataError, match="is 0"):
        tracks.share_of_highest(np.zeros(9), np.ones(9, bool))
    with pytest.raises(ParameterError, match="percentile"):
        tracks.share_of_highest(counts, np.ones(101, bool), 0)
