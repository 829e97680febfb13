"""The twin of forest stands: what it holds, that it is the same from its seed, and what it makes hard."""

from __future__ import annotations

import filecmp
from pathlib import Path

import dask
import numpy as np
import odc.geo.xr  # noqa: F401  (registers the .odc accessor)
import pytest
import rasterio
from scipy.spatial import cKDTree

from eolab import catalog
from eolab.core.errors import ParameterError
from eolab.data import regions, tracks
from eolab.data.layouts import rasters
from eolab.synthetic import clearing

pytestmark = pytest.mark.slow  # writes a twin

SIZE, DATES = 240, 6


@pytest.fixture(scope="module")
def twin(shared_twin) -> Path:
    return shared_twin(clearing, size=SIZE, dates=DATES)


def load(folder: Path, **options):
    with dask.config.set(scheduler="synchronous"):
        return rasters.open_layout(folder / "sentinel2", **options).load()


@pytest.fixture(scope="module")
def series(twin):
    return load(twin, level="L2A", true_colour=True)


def test_products_of_both_levels_and_three_orbits_are_read_without_a_complaint(twin, series):
    above = load(twin, level="L1C")
    assert above.sizes["time"] == series.sizes["time"] == DATES
    assert above.attrs["rejected"] == series.attrs["rejected"] == "[]"
    assert {name.split("_")[4] for name in series["product"].values.tolist()} == {"R065", "R108", "R022"}
    assert "B10" in above["band"]
    blue, ground = (one["reflectance"].sel(band="B02").to_numpy() for one in (above, series))
    haze = (blue - ground)[series["scl"].to_numpy() == 4]
    assert np.nanmean(haze) > 0.03  # the sky above the forest is blue


def test_orbits_share_the_ground(series):
    """One sees the south-eastern corner, one all but that, and the third everything."""
    seen = dict(
        zip(
            [p.split("_")[4] for p in series["product"].values.tolist()],
            np.isfinite(series["reflectance"][:, 0]).values,
            strict=True,
        )
    )
    assert seen["R065"].all()
    assert (seen["R022"] == ~seen["R108"]).mean() > 0.95
    assert 0.1 < seen["R022"].mean() < 0.5


def test_the_index_of_products_has_a_row_a_level_and_date(twin):
    table, rejected = rasters.index(twin, images={"folder": "sentinel2"})
    assert len(table) == 2 * DATES
    assert not rejected
    assert set(table["orbit"]) == {"065", "108", "022"}
    assert set(table["level"]) == {"L1C", "L2A"}


def test_true_colour_is_that_of_the_bands(series):
    red = series["reflectance"].sel(band="B04").clip(0, 0.2) / 0.2
    difference = np.abs(series["true_colour"].sel(colour="red") - red)
    assert float(difference.median()) < 0.02  # the images are compressed with losses


def test_labels_are_of_two_classes_with_what_files_of_people_hold(twin, series):
    entry = catalog.load()["clearing_twin"]
    assert set(entry.labels) == {"stands", "objects", "extra", "zero", "points"}
    found = regions.on_grid(regions.read_regions(twin / "labels/stands.gpkg", "need"), series.odc.geobox)
    assert found.table.crs.to_epsg() == 32631
    assert set(found.table["label"]) == {"need", "clear"}
    assert found.left_out["reason"].tolist() == ["lies outside of the images", "holds the centre of no pixel"]
    assert (found.table["note"] != "").sum() == 1
    extra = regions.read_regions(twin / "labels/extra.gpkg", "kind").table
    assert set(extra["label"]) == {"need", "no need", "town", "cropland", "sports arena"}


def test_points_pile_up_in_breaks_and_follow_the_degree_elsewhere(twin, series):
    grid = series.odc.geobox
    counts, outside, points = None, 0, []
    for chunk in tracks.read_points(twin / "labels/points.csv", timezone="Europe/Paris"):
        counts, more = tracks.count_in(chunk, grid, counts)
        outside += more
        points.append(chunk.table)
    with rasterio.open(twin / "truth/degree_10m.tif") as image:
        degree = image.read(1)
    objects = regions.on_grid(regions.read_regions(twin / "labels/objects.gpkg"), grid).table
    assert len(objects) == 9
    inside = np.zeros(grid.shape, bool)
    totals = []
    for row in objects.itertuples():
        part = np.s_[row.row : row.row + row.height, row.column : row.column + row.width]
        inside[part] = True
        totals.append(counts[part].sum())
    assert totals[3] < 0.05 * np.median(totals)  # the object that was none
    known = inside & np.isfinite(degree) & (degree > 0)
    assert np.corrcoef(degree[known], np.minimum(counts[known], 45))[0, 1] > 0.7
    assert counts.max() > 60
    assert counts[~inside].sum() > 100
    table = points[0]
    assert table["time"].is_monotonic_increasing or table["track"].nunique() > 1


def test_a_stand_seen_on_another_date_is_recognised_and_one_held_out_is_not(twin, series):
    """The most similar training sample answers a split by date and fails on stands that were held out."""
    found = regions.on_grid(
        regions.read_regions(twin / "labels/stands.gpkg", "need"), series.odc.geobox
    ).table
    rows = []
    for date in (number for number, name in enumerate(series["product"].values) if "R065" in name):
        image, clear = series["reflectance"][date].to_numpy(), series["scl"][date].to_numpy() == 4
        for region in found.itertuples():
            window = np.s_[
                region.row : region.row + region.height, region.column : region.column + region.width
            ]
            kept = clear[window] & regions.pixels_of(region.geometry, series.odc.geobox[window])
            if kept.sum() > 50:
                rows.append(
                    (region.id, date, region.label == "need", *image[:, *window][:, kept].mean(axis=1))
                )
    table = np.array(rows, float)
    features = table[:, 3:] / table[:, 3:].std(axis=0)

    def copied(allowed) -> float:
        right = [
            table[others[cKDTree(features[others]).query(features[k])[1]], 2] == table[k, 2]
            for k in range(len(table))
            for others in [np.flatnonzero(allowed(k))]
            if len(others)
        ]
        return float(np.mean(right))

    seen = copied(lambda k: table[:, 1] != table[k, 1])
    held_out = copied(lambda k: table[:, 0] != table[k, 0])
    assert seen > held_out + 0.1


def test_the_same_seed_gives_the_same_files(shared_twin, tmp_path):
    twin = shared_twin(clearing, size=SIZE, dates=3)
    again = clearing.write(tmp_path / "again", size=SIZE, dates=3, progress=False)
    for name in ("labels/points.csv", "truth/degree_10m.tif", "twin.json"):
        assert filecmp.cmp(twin / name, again / name, shallow=False)
    images = sorted(path.relative_to(twin) for path in twin.rglob("*B04*.jp2"))
    assert len(images) == 4 * 3
    assert filecmp.cmp(twin / images[0], again / images[0], shallow=False)


@pytest.mark.parametrize("options", [{"size": 100}, {"size": 250}, {"dates": 2}, {"dates": 30}, {"seed": -1}])
def test_what_cannot_be_made_is_refused(tmp_path, options):
    with pytest.raises(ParameterError, match="is not possible"):
        clearing.write(tmp_path / "twin", **options)
