"""Series of SEN12-FLOOD from files: slices laid together, sizes made equal, every file accounted for."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_bounds

from eolab.core.errors import ParameterError
from eolab.data import catalog, layouts
from eolab.data.layouts import sen12flood as reader

BOX = (18.626, -33.897, 18.683, -33.850)
GEO = {"type": "Polygon", "coordinates": [[[18.6, -33.9], [18.6, -33.8], [18.7, -33.8], [18.7, -33.9]]]}
FIRST, SECOND = "S1A_IW_GRDH_1SDV_20190314T0308_A", "S1A_IW_GRDH_1SDV_20190314T0309_B"
LATER, SINGLE = "S1B_IW_GRDH_1SDV_20190320T0308_C", "S1B_IW_GRDH_1SSV_20190326T0308_D"


def tiff(path, pixels):
    """Write an image; where it is flat, its last pixel differs by a hair: a constant image is refused."""
    path.parent.mkdir(parents=True, exist_ok=True)
    last = np.flatnonzero(pixels)[-1]
    other = np.nextafter(pixels.flat[last], 1) if pixels.dtype.kind == "f" else pixels.flat[last] + 1
    pixels.flat[last] = other
    height, width = pixels.shape
    place = from_bounds(*BOX, width, height)
    with rasterio.open(
        path, "w", driver="GTiff", dtype=pixels.dtype, count=1, height=height, width=width, transform=place
    ) as file:
        file.write(pixels, 1)


def entry(date, filename=None, flooded=False, **more):
    return {"date": date, "FLOODING": flooded, **({"filename": filename} if filename else {}), **more}


def half(rows: slice, value: float, shape=(40, 30)) -> np.ndarray:
    pixels = np.zeros(shape, "float32")
    pixels[rows] = value
    return pixels


@pytest.fixture
def root(tmp_path):
    """A sequence: a pass of two slices, a later image, one without VH; optical images good, listed, cut."""
    up, down = {"orbit": "ASCENDING"}, {"orbit": "DESCENDING"}
    s1 = {
        "2": entry("2019-03-14", FIRST, **up),
        "10": entry("2019-03-14", SECOND, **up),
        "1": entry("2019-03-20", LATER, True, **down),
        "3": entry("2019-03-26", SINGLE, True, **down),
        "geo": GEO,
    }
    s2 = {
        "1": entry("2019-03-13", "S2_2019-03-13", **{"FULL-DATA-COVERAGE": True}),
        "2": entry("2019-03-18", "S2_2019-03-18", **{"FULL-DATA-COVERAGE": False}),
        "3": entry("2019-03-28", flooded=True, **{"FULL-DATA-COVERAGE": True}),
        "geo": GEO,
    }
    for name, content in (("S1list.json", s1), ("S2list.json", s2)):
        (tmp_path / name).write_text(json.dumps({"0004": content}))
    sequence = tmp_path / "0004"
    for channel, scale in (("VV", 1), ("VH", 0.1)):
        tiff(sequence / f"{FIRST}_corrected_{channel}.tif", half(slice(0, 24), 0.2 * scale))
        tiff(sequence / f"{SECOND}_corrected_{channel}.tif", half(slice(20, 40), 0.4 * scale))
        tiff(sequence / f"{LATER}_corrected_{channel}.tif", half(slice(None), 0.5 * scale, (44, 33)))
    tiff(sequence / f"{SINGLE}_corrected_VV.tif", half(slice(None), 0.3))
    for band in reader.OPTICAL_BANDS:
        side = 20 if band in ("B01", "B09") else 40
        for date in ("2019-03-13", "2019-03-18"):
            tiff(sequence / f"S2_{date}_{band}.tif", np.full((side, side), 2500, "uint16"))
    whole = (sequence / "S2_2019-03-18_B04.tif").read_bytes()
    (sequence / "S2_2019-03-18_B04.tif").write_bytes(whole[:900])
    tiff(sequence / "S1A_IW_GRDH_1SDV_unknown_corrected_VV.tif", half(slice(None), 0.3))
    return tmp_path


def read(root, sensor, channels, size=(40, 30), **options):
    return reader.read_series(
        root, reader.of_sequence(reader.index(root), "0004", sensor), channels, size, **options
    )


def test_slices_of_one_pass_become_one_image_the_first_above(root):
    series, rejected = read(root, "S1", ["VV", "VH"])
    assert series["time"].dt.strftime("%m-%d").values.tolist() == ["03-14", "03-20"]
    np.testing.assert_allclose(
        series["image"][0, :, :24], [[[0.2]], [[0.02]]] * np.ones((2, 24, 30)), rtol=1e-6
    )
    np.testing.assert_allclose(
        series["image"][0, :, 24:], [[[0.4]], [[0.04]]] * np.ones((2, 16, 30)), rtol=1e-6
    )
    assert series["flooded"].values.tolist() == [False, True]
    assert series["orbit"].values.tolist() == ["ASCENDING", "DESCENDING"]
    assert series["image"].attrs["units"] == "linear"
    assert [row for row in rejected if "without VH" in row["reason"]] == [
        {"file": f"0004/{SINGLE}", "reason": "was taken without VH"}
    ]


def test_vv_alone_keeps_images_of_one_polarisation(root):
    series, rejected = read(root, "S1", ["VV"])
    assert series.sizes["time"] == 3
    assert rejected == []


def test_files_of_other_sizes_are_brought_to_one(root):
    series, _ = read(root, "S2", ["B01", "B02"], (10, 60))
    assert series["image"].shape == (2, 2, 10, 60)
    np.testing.assert_allclose(series["image"], 0.25, atol=1e-4)  # reflectance


def test_resizing_is_the_mean_over_areas_and_keeps_gaps():
    values = np.arange(36, dtype="float32").reshape(6, 6)
    values[:2, :2] = np.nan
    values[2, 2] = np.nan
    found = reader.fitted(values, (3, 3))
    blocks = values.reshape(3, 2, 3, 2).transpose(0, 2, 1, 3).reshape(3, 3, 4)
    expected = np.array([[np.nan if np.isnan(b).all() else np.nanmean(b) for b in row] for row in blocks])
    np.testing.assert_allclose(found, expected)
    ramp = reader.fitted(np.tile(np.arange(4, dtype="float32"), (4, 1)), (4, 8))
    np.testing.assert_allclose(ramp[0], [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3])


def test_a_damaged_band_costs_its_image_only_where_it_is_wanted(root):
    series, rejected = read(root, "S2", ["B02", "B04"])
    assert series["time"].dt.day.values.tolist() == [13]
    assert [row["file"] for row in rejected] == ["0004/S2_2019-03-18_B04.tif"]
    assert "is damaged" in rejected[0]["reason"]
    series, rejected = read(root, "S2", ["B02", "B03"])
    assert series["full_coverage"].values.tolist() == [True, False]
    assert rejected == []


def test_a_pass_that_covers_too_little_is_left_out(root):
    (root / "0004" / f"{SECOND}_corrected_VH.tif").unlink()
    series, rejected = read(root, "S1", ["VH"])
    assert series["time"].dt.day.values.tolist() == [20]
    reasons = {row["file"].split("_")[-3]: row["reason"] for row in rejected if "corrected" in row["file"]}
    assert reasons["A"] == "has values in 60% of the pixels of its date, expected 75% or more"
    assert reasons["B"].startswith("is missing, though the list names it")
    assert read(root, "S1", ["VH"], min_valid=0.5)[0].sizes["time"] == 2


def test_every_file_and_entry_is_accounted_for(root):
    table = reader.check_layout(root, progress=False).set_index("file")
    assert (table["status"] == "ok").sum() == 7 + 2 * 12 - 1
    rejected = table[table["status"] == "rejected"]["reason"].to_dict()
    assert set(rejected) == {
        "0004/S2_2019-03-18_B04.tif",
        "0004/S2 entry 3",
        "0004/S1A_IW_GRDH_1SDV_unknown_corrected_VV.tif",
    }
    assert rejected["0004/S2 entry 3"] == "names no file for 2019-03-28"
    assert rejected["0004/S1A_IW_GRDH_1SDV_unknown_corrected_VV.tif"] == "is named by no list"


def test_the_catalogue_opens_a_series(root):
    series = layouts.reader("sen12flood").open_layout(
        root, sequence="0004", sensor="S2", channels=["B04"], size=(8, 8)
    )
    assert series["image"].dims == ("time", "band", "y", "x")
    assert series.sizes["time"] == 1
    assert "B04" in json.loads(series.attrs["rejected"])[0]["file"]
    for options, said in (
        ({"sequence": "0005"}, "no sequence '0005'"),
        ({"sequence": "0004", "sensor": "S3"}, "no sensor 'S3'"),
        ({"sequence": "0004", "channels": ["VX"]}, "S1 has no channel 'VX'"),
    ):
        with pytest.raises(ParameterError, match=said):
            layouts.reader("sen12flood").open_layout(root, **options)


def test_the_catalogue_states_the_units_of_optical_files(root):
    """Digital numbers as float were refused, whatever the entry said; radar is not scaled with them."""
    for file in (root / "0004").glob("S2_2019-03-13_*.tif"):
        with rasterio.open(file) as raster:
            numbers = raster.read(1)
        numbers[0, :3] = 7
        tiff(file, numbers.astype("float32") + 1000)
    text = f"""sen12:
  uri: {root}
  layout: sen12flood
  pixels: {{scale: 0.0001, offset: -0.1, nodata: 1007}}
"""
    (root / "catalog.yaml").write_text(text)
    found = catalog.load(root / "catalog.yaml")["sen12"]
    series = found.open(sequence="0004", sensor="S2", channels=["B02"], size=(40, 40))["image"]
    assert series.sizes["time"] == 2
    assert np.isnan(series[0, 0, 0, :3]).all()
    np.testing.assert_allclose(series[0, 0, 1:], 0.25, atol=1e-4)
    radar = found.open(sequence="0004", sensor="S1", channels=["VV"], size=(40, 30))["image"]
    np.testing.assert_allclose(radar[1], 0.5, rtol=1e-6)
    files = found.check(progress=False).files
    assert files.loc[files["file"].str.contains("03-13_B02"), "status"].tolist() == ["ok"]
    assert not reader.check_layout(root, False)["status"].eq("ok")[files["file"].str.contains("13_B02")].any()


def test_a_sequence_without_a_single_usable_image_is_an_empty_series(root):
    for file in (root / "0004").glob("S1*"):
        file.unlink()
    series, rejected = read(root, "S1", ["VV"])
    assert series["image"].shape == (0, 1, 40, 30)
    assert len(rejected) == 4
    listed = reader.of_sequence(reader.index(root), "0004", "S2")
    series, rejected = reader.read_series(root, listed[listed["filename"] == ""], ["B02"], (8, 8))
    assert series["image"].shape == (0, 1, 8, 8)
    assert (series["time"].dtype.kind, series["flooded"].dtype, rejected) == ("M", bool, [])


def test_each_notebook_hands_on_what_the_catalogue_states_of_the_pixels():
    """Without it the numbers of an entry would go unheeded without a word."""
    folder = Path(__file__).parents[1] / "notebooks" / "flood"
    sources = [file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.ipynb"))]
    calls = [call for text in sources for call in re.findall(r"(?:source|sen12flood)\.index\(.*?\)", text)]
    assert calls == ["source.index(entry)"] * 4
