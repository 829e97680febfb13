"""Samples and truth of the clearing study: crops, padding, channels, splits and the degree, on the twin."""

from __future__ import annotations

import numpy as np
import odc.geo.xr  # noqa: F401  (registers the .odc accessor)
import pandas as pd
import pytest
import rasterio
import yaml

from eolab.core.errors import DataError, ParameterError
from eolab.data import catalog, indices, regions, store, tables, tracks
from eolab.data.splits import divisions
from eolab.studies import clearing
from eolab.studies.clearing import experiment, explore, samples, truth
from eolab.synthetic import clearing as twin_writer

pytestmark = pytest.mark.slow  # reads a twin that takes seconds to write

CLASSES = ("clear", "need")


@pytest.fixture(scope="module")
def entry(tmp_path_factory, shared_twin) -> catalog.DataEntry:
    folder, data = tmp_path_factory.mktemp("clearing"), shared_twin(twin_writer, size=240, dates=6)
    ours = catalog.load()["clearing_twin"]
    block = {"uri": str(data), "layout": "rasters", "images": ours.images, "labels": ours.labels}
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
    labels = ["felled", *stands.table["label"][1:]]
    third = stands._replace(table=stands.table.assign(label=labels))
    other = clearing.sample_table(images, third, CLASSES, progress=False)
    assert other.attrs["left_out"]["of another class"] == images.ground.sizes["time"]


@pytest.mark.parametrize("place", samples.PLACES)
def test_crops_are_padded_with_zeros_to_one_size(images, table, place):
    size = samples.common_size(table)
    rows = table[table["part"] == table["part"].iloc[0]]
    zeros = clearing.sample_producer(images, size, place, "zeros")(rows)["image"]
    arrays = clearing.sample_producer(images, size, place, mask_clouds=False)(rows)
    assert arrays["image"].shape == (len(rows), *size, len(images.channels))
    number = images.ground["time"].to_numpy().tolist().index(rows["date"].iloc[0].value)
    for k, row in enumerate(rows.itertuples()):
        top, left = ((size[0] - row.height) // 2, (size[1] - row.width) // 2) if place == "centre" else (0, 0)
        inside = np.s_[top : top + row.height, left : left + row.width]
        band = images.ground["reflectance"][number].sel(band="B04").to_numpy()
        expected = band[row.row : row.row + row.height, row.column : row.column + row.width]
        found = arrays["image"][k][inside][..., images.channels.index("B04")]
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        outside = np.ones(size, bool)
        outside[inside] = False
        assert np.isnan(arrays["image"][k][outside]).all()
        assert not zeros[k][outside].any()
    assert (arrays["label"] == rows["label"]).all()
    assert np.isfinite(zeros).all()


def test_pixels_under_clouds_are_no_values_unless_they_are_asked_for(images, table):
    rows = table[table["part"] == table.loc[table["cloud"].idxmax(), "part"]]
    number = images.ground["time"].to_numpy().tolist().index(rows["date"].iloc[0].value)
    size = samples.common_size(rows)
    masked = clearing.sample_producer(images, size)(rows)["image"]
    kept = clearing.sample_producer(images, size, mask_clouds=False)(rows)["image"]
    scl = images.ground["scl"][number].to_numpy()
    for k, row in enumerate(rows.itertuples()):
        codes = scl[row.row : row.row + row.height, row.column : row.column + row.width]
        clouds = np.isin(codes, (8, 9, 10))
        inside = np.s_[k, : row.height, : row.width]
        assert np.isnan(masked[inside][clouds]).all()
        np.testing.assert_array_equal(
            masked[inside][~clouds & (codes > 0)], kept[inside][~clouds & (codes > 0)]
        )
    assert np.isfinite(kept).sum() > np.isfinite(masked).sum()
    with pytest.raises(ParameterError, match="no padding 'zero': did you mean 'zeros'"):
        clearing.sample_producer(images, size, padding="zero")


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
    found = tables.channel_table(written).set_index("channel")
    pixels = written.arrays["image"][:].reshape(-1, len(images.channels)).astype(float)
    inside = pixels[np.isfinite(pixels).any(axis=1)]
    np.testing.assert_allclose(found["mean"], np.nanmean(inside, axis=0))
    np.testing.assert_allclose(found["std"], np.nanstd(inside, axis=0))
    np.testing.assert_allclose(found["missing"], np.isnan(inside).mean(axis=0))
    np.testing.assert_array_equal(found["max"], np.nanmax(inside, axis=0))
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
    assert ((found.owner >= 0) == np.isfinite(found.values)).all()
    assert set(np.unique(found.owner)) == {-1, *np.flatnonzero(used)}


@pytest.mark.parametrize("how", truth.HOWS)
def test_every_truth_is_near_the_true_degree(entry, images, objects, how):
    found = degree(entry, images, objects, how=how)
    with rasterio.open(entry.path / "truth/degree_10m.tif") as image:
        true = image.read(1)
    known = np.isfinite(true) & np.isfinite(found.values) & (true > 0)
    assert np.corrcoef(true[known], found.values[known])[0, 1] > 0.75
    if how == "time":
        assert found.report["repeated at one place"] > 300
        assert found.counts.max() < 10 * degree(entry, images, objects).counts.max()  # one each ten seconds


def test_points_elsewhere_and_unknown_truths_are_refused(entry, images, objects):
    far = tracks.Points(
        pd.DataFrame({"x": [0.0], "y": [0.0], "time": pd.NaT, "track": ""}), tracks.CRS(4326), {}
    )
    with pytest.raises(DataError, match="No point lies in an object"):
        truth.degree([far], objects, images.ground.odc.geobox)
    with pytest.raises(ParameterError, match="no truth 'count': did you mean 'counts'"):
        degree(entry, images, objects, how="count")


@pytest.fixture(scope="module")
def degrees(entry, images, objects) -> tuple[pd.DataFrame, truth.Degree]:
    zero = {"stands": ["clear"], "zero": []}
    found = degree(entry, images, objects)
    return samples.degree_table(images, objects, found, entry, zero, most_cloud=0.9, progress=False)


def test_areas_without_need_are_samples_of_their_own(entry, images, objects, degrees):
    table, found = degrees
    assert table.attrs["left_out"]
    assert table["region"][~table["zero_area"]].isin([str(k) for k in range(1, 10)]).all()
    assert "4" not in set(table["region"])  # it was no clearing object
    zero = table[table["zero_area"]]
    assert zero["region"].str.startswith(("stands ", "zero ")).all()
    before = degree(entry, images, objects)
    known = np.isfinite(before.values)
    np.testing.assert_array_equal(found.values[known], before.values[known])
    assert not found.values[np.isfinite(found.values) & ~known].any()
    assert not table.duplicated("id").any()


def test_a_label_has_the_pixels_of_its_own_region_where_the_image_is_known(images, degrees):
    table, found = degrees
    size = samples.common_size(table)
    rows = table[table["part"] == table["part"].mode().iloc[0]]
    arrays = clearing.sample_producer(images, size, degree=(found.values, found.owner))(rows)
    bands = [name not in samples.INDICES for name in images.channels]
    for k, row in enumerate(rows.itertuples()):
        at = np.s_[row.row : row.row + row.height, row.column : row.column + row.width]
        known = np.isfinite(arrays["label"][k])
        assert np.isfinite(arrays["image"][k][known][:, bands]).all()
        assert not known[row.height :].any()
        assert not known[:, row.width :].any()
        inside = known[: row.height, : row.width]
        assert (found.owner[at][inside] == row.owner).all()
        np.testing.assert_array_equal(
            arrays["label"][k][: row.height, : row.width][inside], found.values[at][inside]
        )
    assert np.isfinite(arrays["label"]).any()
    spec = clearing.store_arrays(images, size, values=True)["label"]
    assert (spec.shape, spec.nan) == (size, "allow")


def test_zero_and_non_zero_are_classes_and_what_is_not_known_is_none():
    values = np.array([0.0, 0.2, np.nan, 1.0], np.float32)
    assert truth.non_zero(values).tolist() == [0, 1, 255, 1]


def test_a_store_shows_its_degree_as_two_classes(entry, images, degrees, tmp_path):
    table, found = degrees
    table = table.head(12).assign(id=range(12))
    size = samples.common_size(table)
    produce = clearing.sample_producer(images, size, degree=(found.values, found.owner))
    metadata = clearing.store_metadata(entry, images, place="upper_left", padding="masked")
    arrays = clearing.store_arrays(images, size, values=True)
    written = store.write_store(
        tmp_path / "store", table, arrays, "part", produce=produce, fingerprint={}, metadata=metadata
    )
    view = truth.discrete(written, tmp_path / "classes.npy")
    np.testing.assert_array_equal(view.arrays["label"], truth.non_zero(written.arrays["label"][:]))
    assert view.arrays_spec["label"].dtype == "uint8"
    assert written.arrays["label"].dtype == np.float32
    placed = regions.on_grid(regions.of_entry(entry, "extra"), images.ground.odc.geobox)
    areas = samples.extra_store(tmp_path / "extra", entry, images, placed, written, progress=False)
    assert set(areas.table["kind"]) <= {"need", "no need", "town", "cropland", "sports arena"}
    assert areas.arrays_spec["image"].shape == written.arrays_spec["image"].shape
    label = areas.arrays["label"][:]
    assert (np.isfinite(label).any(axis=(1, 2))).any()
    assert not label[np.isfinite(label)].any()


# === What users do ===


def test_classes_that_no_stand_has_or_that_stand_alone_are_refused(images, stands):
    """Regression: a slip in a class's name left all its stands out, and one class was learned."""
    with pytest.raises(ParameterError, match="No region in the images has the class 'needs'"):
        clearing.sample_table(images, stands, ("clear", "needs"), progress=False)
    for wrong in (("clear",), ("clear", "clear")):
        with pytest.raises(ParameterError, match="name two or more, each once"):
            clearing.sample_table(images, stands, wrong, progress=False)


def test_the_order_of_classes_numbers_them(images, stands, table):
    other = clearing.sample_table(images, stands, CLASSES[::-1], progress=False)
    np.testing.assert_array_equal(other["label"], 1 - table["label"])


def test_stands_that_overlap_are_said(images, stands):
    """Regression: a stand that is twice in the file was trained on and tested without a word."""
    own = stands._replace(table=stands.table.drop_duplicates("label").reset_index(drop=True))
    again = pd.concat([own.table, own.table.head(1).assign(id=99)], ignore_index=True)
    with pytest.warns(UserWarning, match="pixels lie in several regions") as caught:
        clearing.sample_table(images, own._replace(table=again), CLASSES, progress=False)
    said = next(str(one.message) for one in caught if "several regions" in str(one.message))
    assert said.startswith(f"{own.table['pixels'][0]:,} pixels")


def test_points_in_an_object_that_is_twice_in_the_file_are_said(entry, images, objects):
    """Regression: they counted as outside of all objects, and zero areas took their pixels."""
    again = pd.concat([objects.table, objects.table.head(1).assign(id=99)], ignore_index=True)
    found = degree(entry, images, objects._replace(table=again))
    whole = degree(entry, images, objects)
    inside = objects.table["pixels"][0]
    assert (found.owner == -2).sum() == inside
    key, outside = "in several objects at once, counted in none", "in the images, outside of all objects"
    assert found.report[key] == whole.objects["points"][0]
    assert found.report[outside] == whole.report[outside]
    zeros, _ = truth.with_zero_areas(found, objects, images.ground.odc.geobox)
    assert not np.isfinite(zeros.values[found.owner == -2]).any()


def test_areas_without_need_that_lie_in_objects_are_no_samples(entry, images, objects):
    """Regression: samples without a known pixel were trained on as areas without need."""
    found = degree(entry, images, objects)
    table, more = samples.degree_table(images, objects, found, entry, {"objects": []}, progress=False)
    assert set(table["region"][table["zero_area"]]) == {"objects 4"}  # it was no clearing object
    assert (more.values[more.owner == table["owner"][table["zero_area"]].iloc[0]] == 0).all()
    with pytest.raises(ParameterError, match="stands has no region of class 'cleer': did you mean 'clear'"):
        samples.degree_table(images, objects, found, entry, {"stands": ["cleer"]}, progress=False)


def test_objects_of_one_name_are_drawn_each_and_named_as_their_samples(entry, images, objects):
    """Regression: of several objects of one name the last alone was drawn and counted."""
    alike = objects._replace(table=objects.table.assign(label="north"))
    found = degree(entry, images, alike)
    table, _ = samples.degree_table(images, alike, found, entry, {}, progress=False)
    drawn = explore.counts_of(found, alike)
    assert len(drawn) == found.objects["used"].sum()
    assert {f"Object {name}" for name in table["region"]} <= set(drawn)


def test_a_store_without_a_channel_that_is_asked_for_is_refused(entry, images, degrees, tmp_path):
    """Regression: a channel of the baselines that a store lacks was found after the network was trained."""
    table, found = degrees
    table = table.head(2).assign(id=range(2))
    few = images._replace(channels=("B04", "NBR"))
    size = samples.common_size(table)
    written = store.write_store(
        tmp_path / "store",
        table,
        clearing.store_arrays(few, size, values=True),
        "part",
        produce=clearing.sample_producer(few, size, degree=(found.values, found.owner)),
        fingerprint={},
        metadata=clearing.store_metadata(entry, few),
    )
    assert samples.names_or_all([], written) is None
    assert samples.names_or_all(["NBR"], written) == ["NBR"]
    with pytest.warns(UserWarning, match="has no BNDVI, .*: these channels are left out"):
        assert samples.names_or_all(["indices"], written) == ["NBR"]
    with pytest.raises(ParameterError, match="has no channel 'BNDVI'"):
        samples.names_or_all(["BNDVI"], written)
    with pytest.raises(ParameterError, match="none of the channels true_colour"):
        samples.names_or_all(["true_colour"], written)


def test_channels_of_groups_that_images_do_not_have_are_left_out_by_name(tmp_path):
    """Regression: docs/own_data.md said so, and a folder without B05 could not be used with any group."""
    bands = ["B02", "B03", "B04", "B08"]
    with rasterio.open(
        tmp_path / "forest_20230514.tif", "w", driver="GTiff", width=20, height=20, count=4, dtype="uint16",
        crs="EPSG:31468", transform=rasterio.transform.from_origin(4_470_000, 5_340_000, 10, 10),
    ) as image:  # fmt: skip
        image.write(np.full((4, 20, 20), 800, "uint16"))
        image.descriptions = bands
    block = {"uri": str(tmp_path), "layout": "rasters", "pixels": {"scale": 0.0001, "offset": 0}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"forest": block}))
    forest = catalog.load(tmp_path / "mine.yaml")["forest"]
    with pytest.warns(UserWarning, match="has no TCI_red, .*NBR, .*B05, .*TOA_B01"):
        found = samples.open_images(forest, ["true_colour", "indices", "boa", "toa"])
    assert found.channels == ("BNDVI", "EVI", "MSAVI2", "MTVI2", "SAVI", *bands)
    assert found.top is None
    with pytest.raises(ParameterError, match="The channel NBR needs B12, which images of"):
        samples.open_images(forest, ["NBR", "B04"])


def test_a_network_that_has_seen_areas_without_need_is_not_compared_as_one_without():
    """Regression: 06 called it trained without such areas."""
    experiment.check_without({"division": {"zero_areas": 0.0}})
    with pytest.raises(ParameterError, match=r"division.zero_areas 1, whose network has seen areas"):
        experiment.check_without({"division": {"zero_areas": 1.0}})


def test_a_training_without_need_in_its_validation_is_refused_before_it_begins():
    """Regression: the threshold could not be chosen, which was said after the network was trained."""
    degree = np.full((4, 2, 2), 0.5, np.float32)
    degree[1], degree[2] = 0, np.nan
    parts = {"train": np.array([0]), "validation": np.array([3]), "test": np.array([0, 1, 2])}
    experiment.check_validation([divisions.Division("region", "region_1", parts)], degree)
    for wrong in ([1], [2], [1, 2]):
        other = divisions.Division("region", "region_2", parts | {"validation": np.array(wrong)})
        with pytest.raises(ParameterError, match="samples of the training region_2 is known"):
            experiment.check_validation([other], degree)


def test_areas_of_the_extra_test_that_are_trained_on_too_are_said(entry, images, objects, tmp_path):
    """Regression: that training and test have other areas was promised and not looked at."""
    found = degree(entry, images, objects)
    table, found = samples.degree_table(images, objects, found, entry, {"zero": []}, progress=False)
    zero = table["region"][table["zero_area"]].iloc[0]
    table = table[table["region"] == zero].reset_index(drop=True).assign(id=lambda rows: range(len(rows)))
    size = samples.common_size(table)
    produce = clearing.sample_producer(images, size, "centre", degree=(found.values, found.owner))
    metadata = clearing.store_metadata(entry, images, place="centre", padding="masked")
    arrays = clearing.store_arrays(images, size, values=True)
    like = store.write_store(
        tmp_path / "store", table, arrays, "part", produce=produce, fingerprint={}, metadata=metadata
    )
    grid = images.ground.odc.geobox
    zeros, others = (regions.on_grid(regions.of_entry(entry, name), grid) for name in ("zero", "extra"))
    same = samples.extra_store(tmp_path / "same", entry, images, zeros, like, progress=False)
    rows = np.arange(len(table))
    with pytest.warns(UserWarning, match="pixels of the areas are trained on too"):
        shared = samples.pixels_trained_on(like, rows, same)
    assert shared == np.isfinite(like.arrays["label"][:]).any(axis=0).sum()
    assert samples.pixels_trained_on(like, rows[:0], same) == 0
    other = samples.extra_store(tmp_path / "other", entry, images, others, like, progress=False)
    assert samples.pixels_trained_on(like, rows, other) == 0
    lost = others._replace(table=others.table.assign(label=[f"kind {k}" for k in others.table.index]))
    with pytest.raises(DataError, match="No sample is left"):
        samples.extra_store(tmp_path / "none", entry, images, lost, like, most_missing=-1, progress=False)
    experiment.check_kinds(["need"], others)
    with pytest.raises(ParameterError, match="No area in the images is of the kind 'needs': did you mean"):
        experiment.check_kinds(["needs"], others)


def test_time_is_counted_in_seconds_whatever_is_usual_in_a_chunk(entry, images, objects):
    """Regression: points weighed by the usual interval of their chunk, said to be seconds."""
    grid = images.ground.odc.geobox
    (points,) = tracks.of_entry(entry, "points")
    slow = points.table.assign(
        time=pd.Timestamp("2019-01-01") + 4 * (points.table["time"] - points.table["time"].min())
    )
    slow["track"] += " slow"
    both = [points, points._replace(table=slow)]
    joined = points._replace(table=pd.concat([points.table, slow], ignore_index=True))
    apart, together = (truth.degree(given, objects, grid, how="time").counts for given in (both, [joined]))
    alone = truth.degree([points], objects, grid, how="time").counts
    np.testing.assert_allclose(apart.sum(), together.sum(), rtol=0.001)
    assert apart.sum() == pytest.approx(5 * alone.sum(), rel=0.05)
    assert alone.sum() > 10 * 0.5 * len(points.table)
