"""An area and dates of an entry cut what studies read, whatever the layout, or are refused in a sentence."""

from __future__ import annotations

import numpy as np
import own_example
import pandas as pd
import pytest
import xarray as xr

from eolab.core.errors import DataError
from eolab.data import catalog, cutting
from eolab.studies import landcover, landslide, scenes


def entry_of(folder, layout, uri, more):
    (folder / "mine.yaml").write_text(f"mine: {{uri: {uri}, layout: {layout}, {more}}}\n")
    return catalog.load(folder / "mine.yaml")["mine"]


def test_an_eolearn_patch_is_cut_though_its_reader_knows_neither(tmp_path, real_data):
    place = next(real_data.rglob("bbox.geojson")).parent
    whole = entry_of(tmp_path, "eolearn_patch", place, "description: all").open()
    x, y, days = whole["x"].values, whole["y"].values, pd.DatetimeIndex(whole["time"].values)
    box = [float(x[3]), float(y[12]), float(x[8]), float(y[5])]
    span = [str(days[1].date()), str(days[4].date())]
    own = entry_of(tmp_path, "eolearn_patch", place, f"bounds: {box}, dates: {span}")
    cut = own.open()
    assert (cut.sizes["y"], cut.sizes["x"]) == (8, 6)
    xr.testing.assert_equal(cut["NDVI"], whole["NDVI"].sel(time=cut["time"], y=cut["y"], x=cut["x"]))
    np.testing.assert_allclose(cut.odc.geobox.boundingbox.bbox[:2], (x[3] - 5, y[12] - 5))
    assert landcover.series.open_series(own, min_pixels=1)["image"].sizes["x"] == 6


def test_what_has_no_places_or_dates_is_refused_in_a_sentence(tmp_path):
    plain = xr.Dataset({"a": (("sample",), np.zeros(3))})
    for what, given in (("places", {"bounds": (0, 0, 1, 1)}), ("dates", {"dates": ["2020-01-01"] * 2})):
        with pytest.raises(DataError, match=f"Data set mine has no {what}: leave"):
            cutting.cut_series(plain, "mine", **given)
    own = entry_of(tmp_path, "landslide4sense", ".", "dates: [2020-01-01, 2020-02-01]")
    with pytest.raises(DataError, match="have no places and dates that this study knows: leave"):
        landslide.source.of_entry(own)


def test_patches_of_the_scenes_study_are_cut_by_place_and_day(tmp_path):
    for number in range(4):
        corner = (own_example.CORNER[0] + 5000 * number, own_example.CORNER[1])
        picture = own_example.numbers(4, 8, 8, seed=number)
        name = f"Wood_2020-0{number + 1}-05.tif"
        own_example.image(tmp_path / f"{('Wood', 'Lake')[number % 2]}/{name}", picture, place=corner)
    text = '  images: {files: "{class}/*_{date}.tif"}\n  pixels: {scale: 0.0001, offset: 0}\n'
    every = scenes.explore.index(own_example.entry(tmp_path, text))
    box = "  bounds: [15.1, 44, 15.2, 45]\n"  # degrees: the two in the east
    some = scenes.explore.index(own_example.entry(tmp_path, text + box))
    assert (len(every), len(some)) == (4, 2)
    assert set(some["x"]) == set(every.nlargest(2, "x")["x"])
    assert some.attrs.keys() == every.attrs.keys()
    days = scenes.explore.index(own_example.entry(tmp_path, text + "  dates: [2020-02-01, 2020-03-31]\n"))
    assert sorted(days["date"].dt.month) == [2, 3]
    with pytest.raises(DataError, match="has no sample in its bounds and dates"):
        scenes.explore.index(own_example.entry(tmp_path, text + "  dates: [1999-01-01, 1999-01-02]\n"))
