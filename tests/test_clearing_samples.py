"""Samples and truth of the clearing study: crops, padding, channels, splits and the degree, on the twin."""

from __future__ import annotations

import numpy as np
import odc.geo.xr  # noqa: F401  (registers the .odc accessor)
import pandas as pd
import pytest
import rasterio
import yaml

from eolab.core.errors import DataError, ParameterError
from eolab.data import catalog, indices, regions, splits, store, tracks
from eolab.studies import clearing
from eolab.studies.clearing import samples, truth
from eolab.synthetic import clearing as twin_writer

CLASSES = ("clear", "need")


@pytest.fixture(scope="module")
def entry(tmp_path_factory) -> catalog.DataEntry:
    folder = tmp_path_factory.mktemp("clearing")
    twin_writer.write(folder / "data", size=240, dates=6, progress=False)
    ours = catalog.load()["clearing_twin"]
    block = {"uri": "data", "layout": "rasters", "images": ours.images, "labels": ours.labels}
    (folder / "mine.yaml").write_text(yaml.safe_dump({"stands": block}))
    return catalog.load(folder / "mine.yaml")["stands"]


@pytest.fixture(scope="module")
def images(entry) -> samples.Images:
    found = samples.open_images(entry, ["true_colour", "indices", "B04", "toa"])
    loaded = (None if one is None else one.load() for one in found[:2])
    return samples.Images(*loaded, found.channels)


@pytest.fixture(scope="module")
def stands(entry, images) -> regions.Regions:
    return regions.on_grid(regions.of_entry(entry, "stands"), images.ground.odc.geobox)


@pytest.fixture(scope="module")
def table(images, stands) -> pd.DataFrame:
    return clearing.sample_table(images, stands, CLASSES, progress=False)


def test_channels_are_named_by_group_or_one_by_one(entry):
    both = samples.channel_names(["true_colour", "indices"])
    assert len(both) == 13
    assert both[:3] == ("TCI_red", "TCI_green", "TCI_blue")
    assert samples.channel_names(["toa"])[9] == "TOA_B10" or "TOA_B10" in samples.channel_names(["toa"])
    assert samples.channel_names(["B04", "NBR"]) == ("B04", "NBR")
    with pytest.raises(ParameterError, match="no channels 'NDVI'"):
        samples.channel_names(["NDVI"])
    for wrong in ([], ["NBR", "indices"]):
        with pytest.raises(ParameterError, match="each once"):
            samples.channel_names(wrong)


def test_a_row_is_a_region_on_a_date_and_what_is_left_out_is_counted(images, stands, table):
    pairs = len(stands.table) * images.ground.sizes["time"]
    assert len(table) + sum(table.attrs["left_out"].values()) == pairs
    assert set(table.attrs["left_out"]) <= {"with too little data", "under clouds"}
    assert not table.duplicated(["region", "date"]).any()
    assert (table["missing"] <= 0.5).all()
    assert (table["cloud"] <= 0.9).all()
    scl = images.ground["scl"].to_numpy()
    times = images.ground["time"].to_numpy().tolist()
    for row in table.sample(5, random_state=0).itertuples():
        codes = scl[times.index(row.date.value)][
            row.row : row.row + row.height, row.column : row.column + row.width
        ]
        assert row.missing == pytest.approx((codes == 0).mean())
        assert row.cloud == pytest.approx(np.isin(codes, (8, 9, 10)).sum() / (codes != 0).sum())
    with pytest.raises(DataError, match="No sample is left"):
        clearing.sample_table(images, stands, CLASSES, most_missing=-1.0, progress=False)
    other = clearing.sample_table(images, stands, ("need",), progress=False)
    assert other.attrs["left_out"]["of another class"] > 0


@pytest.mark.parametrize("place", samples.PLACES)
def test_crops_are_padded_with_zeros_to_one_size(images, table, place):
    size = samples.common_size(table)
    rows = table[table["part"] == table["part"].iloc[0]]
    arrays = clearing.sample_producer(images, size, place)(rows)
    assert arrays["image"].shape == (len(rows), *size, len(images.channels))
    number = images.ground["time"].to_numpy().tolist().index(rows["date"].iloc[0].value)
    for k, row in enumerate(rows.itertuples()):
        top, left = ((size[0] - row.height) // 2, (size[1] - row.width) // 2) if place == "centre" else (0, 0)
        inside = np.s_[top : top + row.height, left : left + row.width]
        band = images.ground["reflectance"][number].sel(band="B04").to_numpy()
        expected = band[row.row : row.row + row.height, row.column : row.column + row.width]
        found = arrays["image"][k][inside][..., images.channels.index("B04")]
        np.testing.assert_allclose(found, np.nan_to_num(expected, nan=0), rtol=1e-6)
        outside = np.ones(size, bool)
        outside[inside] = False
        assert not arrays["image"][k][outside].any()
        assert not arrays["seen"][k][outside].any()
    assert (arrays["label"] == rows["label"]).all()
    assert np.isfinite(arrays["image"]).all()


def test_channels_have_the_values_of_their_sources(images):
    window = (slice(40, 80), slice(30, 90))
    values, clear = samples.read_window(images, 0, window)
    ground = images.ground["reflectance"][0].isel(y=window[0], x=window[1])
    at = {name: k for k, name in enumerate(images.channels)}
    np.testing.assert_array_equal(values[..., at["MTVI2"]], indices.compute("MTVI2", ground))
    colour = images.ground["true_colour"][0].isel(y=window[0], x=window[1])
    np.testing.assert_array_equal(values[..., at["TCI_green"]], colour[1])
    above = images.top["reflectance"][0].isel(y=window[0], x=window[1])
    np.testing.assert_array_equal(values[..., at["TOA_B10"]], above.sel(band="B10"))
    codes = images.ground["scl"][0].isel(y=window[0], x=window[1]).to_numpy()
    assert (clear == ~np.isin(codes, (0, 8, 9, 10))).all()
    lacking = images._replace(channels=("B02", "B12", "B8A", "B01"), top=None)
    with pytest.raises(DataError, match="have no B8A, B01: leave"):
        samples.read_window(lacking, 0, window)


def test_the_last_dates_of_each_region_are_its_test(table):
    split = samples.split_by_date(table, 0.2, 0.2)
    for _, rows in table.assign(split=split).groupby("region"):
        if len(rows) < 3:
            assert set(rows["split"]) == {"train"}
            continue
        ordered = rows.sort_values("date")["split"].tolist()
        assert ordered == sorted(ordered, key=["train", "validation", "test"].index)
        assert ordered[-1] == "test"
        assert "validation" in ordered
    held = splits.by_group(table, "region", label="label", validation=0.2, test=0.2, seed=0)
    assert (
        table.groupby("region").apply(lambda rows: held[rows.index].nunique(), include_groups=False).max()
        == 1
    )


def test_a_store_of_the_study_is_written_and_read(entry, images, table, tmp_path):
    size = samples.common_size(table)
    written = store.write_store(
        tmp_path / "store",
        table,
        clearing.store_arrays(images, size, values=False),
        "part",
        produce=clearing.sample_producer(images, size),
        fingerprint={},
        metadata=clearing.store_metadata(entry, images, CLASSES),
    )
    assert written.channel_names("image") == images.channels
    assert written.metadata["dataset"] == "stands"
    assert (written.gather(np.arange(3), ["label"])["label"] == table["label"][:3]).all()


# === Truth ===


@pytest.fixture(scope="module")
def objects(entry, images) -> regions.Regions:
    return regions.on_grid(regions.of_entry(entry, "objects"), images.ground.odc.geobox)


def degree(entry, images, objects, **options) -> truth.Degree:
    grid = images.ground.odc.geobox
    return truth.degree(tracks.of_entry(entry, "points"), objects, grid, **options)


def test_the_degree_follows_the_report(entry, images, objects):
    """Points a pixel, all from the 97th percentile on as 1; one object was none."""
    found = degree(entry, images, objects)
    used = found.objects["used"]
    assert used.sum() == len(objects.table) - 1
    assert found.objects.loc[~used, "points"].iloc[0] < 30
    counts = found.counts[np.isfinite(found.values)]
    assert found.threshold == np.percentile(counts, 97)
    expected = np.minimum(counts, found.threshold) / found.threshold
    np.testing.assert_allclose(found.values[np.isfinite(found.values)], expected, rtol=1e-6)
    assert found.report["points"] == found.counts.sum() + found.report["outside of the images"]
    assert found.report["in the images, outside of all objects"] > 0
    table = truth.histogram(found)
    assert table["pixels"].sum() == np.isfinite(found.values).sum()


@pytest.mark.parametrize("how", truth.HOWS)
def test_every_truth_is_near_the_true_degree(entry, images, objects, how):
    found = degree(entry, images, objects, how=how)
    with rasterio.open(entry.path / "truth/degree_10m.tif") as image:
        true = image.read(1)
    known = np.isfinite(true) & np.isfinite(found.values) & (true > 0)
    assert np.corrcoef(true[known], found.values[known])[0, 1] > 0.75
    if how == "time":
        assert found.report["repeated at one place"] > 300
        assert found.counts.max() < degree(entry, images, objects).counts.max()


def test_points_elsewhere_and_unknown_truths_are_refused(entry, images, objects):
    far = tracks.Points(
        pd.DataFrame({"x": [0.0], "y": [0.0], "time": pd.NaT, "track": ""}), tracks.CRS(4326), {}
    )
    with pytest.raises(DataError, match="No point lies in an object"):
        truth.degree([far], objects, images.ground.odc.geobox)
    with pytest.raises(ParameterError, match="no truth 'count': did you mean 'counts'"):
        degree(entry, images, objects, how="count")


def test_labels_of_the_degree_are_known_where_an_image_is(entry, images, objects):
    found = degree(entry, images, objects)
    table = clearing.sample_table(images, objects, progress=False)
    assert "label" not in table
    size = samples.common_size(table)
    rows = table[table["part"] == table["part"].iloc[0]]
    arrays = clearing.sample_producer(images, size, degree=found.values)(rows)
    known = np.isfinite(arrays["label"])
    assert known.any()
    assert not (known & (arrays["seen"] == 0)).any()
    spec = clearing.store_arrays(images, size, values=True)["label"]
    assert (spec.shape, spec.nan) == (size, "allow")
