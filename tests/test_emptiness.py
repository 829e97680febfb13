"""Files without a measurement: all zero, constant, or zero from the byte on at which a download broke."""

from __future__ import annotations

from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import tifffile

from eolab.core.errors import DataError
from eolab.data.layouts import bigearthnet, eolearn, landslide4sense, sen12flood
from eolab.data.layouts.common import constant, emptiness

RNG = np.random.default_rng(0)
DN = RNG.integers(100, 3000, (60, 50)).astype(np.uint16)


def broken(values: np.ndarray, share: float = 0.5, first: bool = False) -> np.ndarray:
    """An array whose last bytes, or whose first, are zero."""
    content = bytearray(values.tobytes())
    cut = int(len(content) * share) + 6
    part = slice(0, cut) if first else slice(cut, None)
    content[part] = bytes(len(content[part]))
    return np.frombuffer(bytes(content), values.dtype).reshape(values.shape)


def edge(degrees: float, flip: bool, side: int = 200, at: float = 0.6) -> np.ndarray:
    """An image cut by the edge of a swath or a tile at an angle to its rows."""
    row, col = np.mgrid[:side, :side]
    slope = np.tan(np.radians(degrees))
    outside = row + slope * (col - side / 2) > at * side
    image = np.where(outside, 0, RNG.uniform(0.02, 0.3, (side, side))).astype(np.float32)
    return image[::-1, ::-1].copy() if flip else image


def test_zero_constant_and_broken_images_are_named():
    assert emptiness(np.zeros((8, 8), np.uint16)) == "is all zero (no data)"
    assert emptiness(np.full((8, 8), 2500, np.uint16)) == "holds 2500 in every pixel"
    assert emptiness(np.full((8, 8), -9999, np.float32)) == "holds -9999 in every pixel"
    assert emptiness(np.full((8, 8), np.nan, np.float32)) == "is NaN in every pixel (no data)"
    for gaps in (False, True):
        assert emptiness(broken(DN), gaps) == "is zero in 29 of its 60 rows, as after a broken download"
        assert "30 of its 60 rows" in emptiness(broken(DN, first=True), gaps)
    assert emptiness(broken(RNG.random((12, 10, 3))), gaps=True).startswith("is zero in 5 of its 12 rows")
    assert emptiness(broken(-12 - RNG.random((40, 40), np.float32))).startswith("is zero in 19 of its 40")


def test_a_row_of_zeros_between_rows_is_a_fault_only_where_no_data_may_lack():
    cut = DN.copy()
    cut[30:] = 0  # exactly at a row: so does the border of a tile
    assert emptiness(cut, gaps=True) == ""
    assert emptiness(cut) == "is zero in 30 of its 60 rows, as after a broken download"


@pytest.mark.parametrize("degrees", [0, 2, 12, 45, 78])
@pytest.mark.parametrize("flip", [False, True])
def test_edges_of_swaths_and_tiles_are_no_broken_downloads(degrees, flip):
    for at in (0.05, 0.4, 0.6, 0.95):
        assert emptiness(edge(degrees, flip, at=at), gaps=True) == ""
        assert emptiness(edge(-degrees, flip, at=at), gaps=True) == ""


@pytest.mark.parametrize("slope", [0.004, 0.005, 0.007])
def test_nearly_horizontal_edges_are_no_broken_downloads(slope):
    """Regression: half of the edges that fall by two to four rows in 512 pixels were refused."""
    row, col = np.mgrid[:64, :512]
    for shift in np.linspace(0, 1, 11):
        image = np.where(row + slope * col + shift < 40, RNG.integers(100, 3000, row.shape), 0)
        for one in (image, image[:, ::-1], image[::-1], image[::-1, ::-1]):
            assert emptiness(one.astype(np.uint16), gaps=True) == ""


def test_dark_water_clouds_and_shadow_are_no_faults():
    assert emptiness(np.ones((20, 20), np.uint16)) == ""  # clipped to the lowest value: a dark sea in B01
    dark = np.where(RNG.random((60, 60)) < 0.4, 0, DN[:60, :1]).astype(np.uint16)
    assert emptiness(dark) == ""
    assert emptiness(np.where(DN < 2000, DN, 65_535)) == ""
    assert constant(0, 9) == ""
    assert constant(np.uint16(1), np.uint16(1)) == ""


# === The readers ===


def test_bigearthnet_refuses_empty_and_broken_bands_but_not_a_map_of_one_class(tmp_path):
    folder = tmp_path / "S2A_MSIL2A_20170613T101031_87_48"
    folder.mkdir()
    row = SimpleNamespace(s2=str(folder), s1=str(folder), reference=str(folder / "map.tif"))
    band = folder / f"{folder.name}_B04.tif"
    image = RNG.integers(200, 900, (120, 120)).astype(np.uint16)
    for values, said in (
        (image * 0, "is all zero"),
        (image * 0 + 3000, "holds 3000 in every pixel"),
        (broken(image), "is zero in 59 of its 120 rows, as after a broken download"),
    ):
        tifffile.imwrite(band, values)
        with pytest.raises(DataError, match=f"B04.tif {said}.*: fetch it again"):
            bigearthnet.read_patch(row, ["B04"])
    for name in bigearthnet.RADAR:
        tifffile.imwrite(folder / f"{folder.name}_{name}.tif", broken(-20 + RNG.random((120, 120), "f4")))
    with pytest.raises(DataError, match=r"VV.tif is zero in 59 of its 120 rows"):
        bigearthnet.read_radar(row)
    tifffile.imwrite(row.reference, np.full((120, 120), 311, np.uint16))
    assert (bigearthnet.read_reference(row) == 311).all()


def test_a_broken_image_of_sen12flood_is_refused_and_the_edge_of_a_swath_is_read(tmp_path):
    file = tmp_path / "VV.tif"
    for values, said in (
        (broken(edge(0, False, at=2)), "is zero in 99 of its 200 rows, as after a broken download"),
        (np.full((20, 20), 0.1, "f4"), r"holds 0\.1 in every pixel"),
    ):
        tifffile.imwrite(file, values)
        with pytest.raises(DataError, match=f"VV.tif {said}"):
            sen12flood.read_channel(file)
    tifffile.imwrite(file, edge(12, False))
    assert np.isnan(sen12flood.read_channel(file)).any()


def test_a_patch_of_landslide4sense_with_an_empty_band_or_half_is_refused(tmp_path):
    sound = 0.5 + RNG.random((128, 128, 14))
    flat = sound.copy()
    flat[..., [9, 12, 13]] = 0  # no cirrus, a plain at sea level
    assert landslide4sense.checked_image(flat, "a.h5").shape == (128, 128, 14)
    empty, half = sound.copy(), sound.copy()
    empty[..., 7] = 0
    half[64:, :, :12] = 0  # slope and elevation are whole
    for image, said in (
        (empty, r"B08 of a\.h5 is all zero"),
        (half, r"B01 of a\.h5 is zero in 64 of its 128 rows"),
        (broken(sound), r"a\.h5 is zero in 64 of its 128 rows"),
    ):
        with pytest.raises(DataError, match=f"^{said}.*: fetch it again or leave the patch out"):
            landslide4sense.checked_image(image, "a.h5")
    with h5py.File(tmp_path / "image_1.h5", "w") as file:
        file["img"] = half
    with pytest.raises(DataError, match="B01 of"):
        landslide4sense.read_image(tmp_path / "image_1.h5")


def test_a_broken_feature_of_eolearn_is_refused_and_dates_without_data_are_not(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    series = RNG.random((5, 20, 20, 1), np.float32)
    series[3] = 0  # a date without data
    np.save(folder / "NDVI.npy", series)
    eolearn._check(folder / "NDVI.npy")
    np.save(folder / "NDVI.npy", broken(series))
    with pytest.raises(DataError, match=r"NDVI\.npy is zero in .* rows, as after a broken download: fetch"):
        eolearn._check(folder / "NDVI.npy")
    np.save(folder / "CLP.npy", np.zeros_like(series))
    eolearn._check(folder / "CLP.npy")
