"""The plan of ten tiles in three years: counts and sizes of the slides, and hours from rates."""

from __future__ import annotations

import pandas as pd
import pytest
from stac_server import Catalogue

from eolab.cli import commands as cli
from eolab.core.errors import ParameterError
from eolab.data import retrieval
from eolab.data.retrieval import searching

YEARS = (2018, 2019, 2020)
SLIDES = {  # products and GB of each year, as the authors of the study measured them
    "31UFT": (17, 16.16, 14, 15.33, 19, 20.91),
    "31UGS": (19, 21.17, 15, 16.56, 21, 23.4),
    "32ULC": (20, 22.08, 18, 19.55, 20, 21.16),
    "31UGU": (19, 19.97, 20, 20.38, 20, 20.92),
    "31UGV": (20, 18.68, 17, 15.5, 27, 21.7),
    "31UFV": (19, 16.59, 17, 14.83, 22, 18.8),
    "31UFU": (18, 16.65, 15, 15.24, 21, 21.31),
    "31UFS": (21, 23.66, 15, 16.63, 23, 25.5),
    "31UES": (12, 13.56, 16, 16.82, 19, 21.11),
    "31UET": (16, 13.42, 14, 13.17, 20, 18.43),
}
TOTALS = {2018: (181, 181.94), 2019: (161, 164.01), 2020: (212, 213.24)}


BOUNDS = {tile: searching.tile_bounds(tile) for tile in SLIDES}


def item(tile: str, year: int, number: int, gigabytes: float) -> dict:
    west, south, east, north = BOUNDS[tile]
    asset = {"href": "https://example.org/x.tif", "file:size": round(gigabytes * 1e9 / 2)}
    day = pd.Timestamp(year, 1, 1, 10, 30) + pd.Timedelta(days=13 * number)
    return {
        **{"type": "Feature", "stac_version": "1.0.0", "id": f"S2A_T{tile}_{day:%Y%m%d}_L2A", "links": []},
        **{"collection": "sentinel-2-l2a", "bbox": [west, south, east, north], "stac_extensions": []},
        "geometry": {"type": "Point", "coordinates": [west, south]},
        "properties": {"datetime": f"{day:%Y-%m-%dT%H:%M:%S}Z", "grid:code": f"MGRS-{tile}"},
        "assets": {"B02": asset, "B03": asset},
    }


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    served = Catalogue(tmp_path_factory.mktemp("stac"))
    served.per_page = 1000
    for tile, row in SLIDES.items():
        for year, count, total in zip(YEARS, row[::2], row[1::2], strict=True):
            served.items += [item(tile, year, number, total / count) for number in range(count)]
    yield served
    served.close()


def test_ten_tiles_in_three_years_have_the_counts_and_sizes_of_the_slides(catalogue, capsys):
    tiles = ["--tile", *SLIDES]
    asked = ["data", "fetch", catalogue.url, "--plan", *tiles, "--dates", "2018-01-01", "2020-12-31"]
    assert cli.main([*asked, "--rates", "download=100", "prediction=10000"]) == 0
    said = capsys.readouterr().out
    rows = {tuple(line.split()[:2]): line.split()[2:] for line in said.splitlines()[1:]}
    for tile, row in SLIDES.items():
        for year, count, total in zip(YEARS, row[::2], row[1::2], strict=True):
            assert rows[tile, str(year)][:2] == [str(count), f"{total:.2f}"]
    for year, (count, total) in TOTALS.items():
        assert rows["all", str(year)][:2] == [str(count), f"{total:.2f}"]
    assert rows["all", "all"][:2] == ["554", "559.19"]
    assert rows["all", "all"][3] == f"{559.19e3 / 100 / 3600:.2f}"  # hours at 100 MB a second
    assert rows["all", "all"][5] == f"{30 * 10_980**2 / 10_000 / 3600:.2f}"
    assert "0 of 554 products state no size" in said


def test_hours_disk_and_memory_follow_from_the_rates():
    items = pd.DataFrame(
        {
            "tile": ["31UFT"] * 3,
            "time": pd.to_datetime(["2018-02-01", "2018-05-01", "2019-05-01"]),
            "gigabytes": [0.5, None, None],
        }
    )
    texts = ["product=2", "composites=10", "passes=1", "memory=2", "samples=1000", "bands=4"]
    found = retrieval.plan(items, retrieval.rates([*texts, "steps=2", "download=10"])).set_index(
        ["tile", "year"]
    )
    one = found.loc["31UFT", 2018]
    assert (one["products"], one["download_gb"]) == (2, 2.5)
    assert one["store_gb"] == pytest.approx(1000 * 2 * (4 * 4 + 3) / 1e9)
    assert one["download_h"] == pytest.approx(2500 / 10 / 3600)
    assert one["composites_h"] == pytest.approx(2 * 10_980**2 * 4 / 10e6 / 3600)
    assert one["memory_gb"] == 2.0
    assert found.loc["all", 0]["memory_gb"] == 2.0, "the largest, as runs follow each other"
    assert found.loc["all", 0]["download_gb"] == 4.5
    for text, said in (("downlod=3", "did you mean 'download'"), ("download=fast", "give a number above 0")):
        with pytest.raises(ParameterError, match=said):
            retrieval.rates([text])
