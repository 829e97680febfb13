"""Several tiles of Sentinel-2 over one map: the twin, the layout, the study's series and its models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import landcover_example as example
import numpy as np
import pytest
import rasterio
import xarray as xr

from eolab.core.errors import ParameterError
from eolab.data.layouts import sentinel2_corine
from eolab.data.schemes import scheme_of
from eolab.data.schemes.landcover import from_corine
from eolab.runs import history
from eolab.studies import landcover
from eolab.studies.opening import open_as_its_study
from eolab.synthetic import sentinel2_corine as simulate

SMALL = {"size": 96, "dates": 1, "years": 1, "traps": False}


@pytest.fixture(scope="module")
def tiles(shared_twin) -> Path:
    return shared_twin(simulate, **SMALL, tiles=2)


def opened(path: Path, tile: str = "", **options) -> xr.Dataset:
    return sentinel2_corine.open_layout(path, tile=tile, bands=["B04"], **options)


def test_each_tile_has_its_images_its_part_of_the_map_and_its_truth(tiles, shared_twin):
    said = json.loads((tiles / "twin.json").read_text())["of_tiles"]
    assert sentinel2_corine.tiles(tiles) == [*said] == ["31TGL", "31TGM"]
    one, other = (opened(tiles, tile) for tile in said)
    assert one["y"][0] - other["y"][0] == -100_020
    for tile, series in (("31TGL", one), ("31TGM", other)):
        with rasterio.open(tiles / f"truth/{tile}/land_cover_10m_2018.tif") as file:
            known = file.read(1)
        np.testing.assert_array_equal(series["truth"].sel(year=2018), known)
        classes = from_corine(series["corine"])
        labelled = classes != 255
        right = (classes == known)[labelled].mean()
        assert right == pytest.approx(said[tile]["corine_right_share"]["2018"], abs=1e-4)
        assert labelled.mean() == pytest.approx(said[tile]["corine_labelled_share"], abs=1e-4)
    assert not np.array_equal(one["truth"], other["truth"])
    alone = opened(shared_twin(simulate, **SMALL))
    xr.testing.assert_identical(alone.compute(), one.compute())


def test_a_map_of_each_tile_may_stand_for_one_of_all(tiles, tmp_path):
    shutil.copytree(tiles, tmp_path / "own")
    first = (tmp_path / "own/corine").rename(tmp_path / "one")
    for tile in ("31TGL", "31TGM"):
        shutil.copytree(first, tmp_path / "own/corine" / tile)
    expected = opened(tiles, "31TGM")
    np.testing.assert_array_equal(opened(tmp_path / "own", "t31tgm ")["corine"], expected["corine"])
    files = sentinel2_corine.check_layout(tmp_path / "own", progress=False)
    assert (files["status"] == "ok").all()
    assert {name.rpartition("/")[0] for name in files["file"] if "SAFE" not in name} == {
        *("corine/31TGL", "corine/31TGM", "truth/31TGL", "truth/31TGM")
    }


def test_several_tiles_without_a_choice_and_unknown_ones_are_one_sentence(tiles, tmp_path):
    entry = example.entry(tiles, name="small_tiles")
    with pytest.raises(ParameterError, match=r"holds the tiles 31TGL, 31TGM: choose one with tile="):
        landcover.series.open_series(entry)
    with pytest.raises(ParameterError, match=r"holds no tile '31TGN'.*31TGM"):
        landcover.series.open_series(entry, tile="31TGN")
    with pytest.raises(ParameterError, match="leave tile empty"):
        landcover.series.open_series(example.entry(tmp_path, "eolearn_patch"), tile="31TGN")
    open_as_its_study(entry)  # each tile
    for name in ("STAC_33TWM_20230701T100000_022_B04.tif", "STAC_33TVM_20230701T100000_022_B04.tif"):
        (tmp_path / "sentinel2" / name[:10]).mkdir(parents=True)
        (tmp_path / "sentinel2" / name[:10] / name).touch()
    (tmp_path / "corine").mkdir()
    with pytest.raises(ParameterError, match=r"tiles 33TVM, 33TWM: choose one"):
        opened(tmp_path)


def test_a_model_maps_another_tile_where_the_classes_are_its_own(tiles, tmp_path, monkeypatch):
    entry = example.entry(tiles, name="small_tiles")
    one, other = (
        landcover.series.open_series(entry, ["B04"], tile=tile, min_pixels=400) for tile in ("31TGL", "31TGM")
    )
    names = list(scheme_of(one).names)
    assert names != list(scheme_of(other).names)
    same = landcover.series.open_series(entry, ["B04"], tile="31TGM", classes=names)
    assert list(scheme_of(same).names) == names
    both = {
        name: (scheme_of(other).names.index(name), names.index(name))
        for name in scheme_of(other).names
        if name in names
    }
    for before, now in both.values():
        np.testing.assert_array_equal(other["label"] == before, same["label"] == now)
    with pytest.raises(ParameterError, match=r"no class 'Lakes': did you mean 'Lake'"):
        landcover.series.open_series(entry, ["B04"], tile="31TGM", classes=["Grass", "Lakes"])

    kept = SimpleNamespace(metadata=dict(one.attrs))
    monkeypatch.setattr(landcover.maps.store, "open_store", lambda folder: kept)
    monkeypatch.setattr(history.RunRecord, "upstream", {"preprocessed": tmp_path})
    trained = history.RunRecord(tmp_path / "full-1")
    landcover.maps.check_classes(trained, scheme_of(same))
    with pytest.raises(ParameterError, match=r"full-1 knows the classes .*--set 02_preprocess.classes="):
        landcover.maps.check_classes(trained, scheme_of(other))
