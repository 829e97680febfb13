"""Sentinel-2's band table against the metadata and file lists of real products."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest

from eolab.core.errors import ParameterError
from eolab.data import bands


@pytest.mark.parametrize("written", ["B2", "b02", "2", "B02", " B002 "])
def test_names_become_those_of_the_products(written):
    assert bands.normalise_band(written) == "B02"


def test_every_name_is_its_own_normal_form():
    assert [bands.normalise_band(name.lower()) for name in bands.SENTINEL2] == list(bands.SENTINEL2)
    assert bands.normalise_band("8a") == "B8A"
    assert bands.normalise_band("B08A") == "B8A"


@pytest.mark.parametrize("wrong", ["B13", "B0", "B1A", "NDVI", "", "B2 4"])
def test_unknown_band_lists_the_known_ones(wrong):
    with pytest.raises(ParameterError, match=r"no Sentinel-2 band.*B8A"):
        bands.normalise_band(wrong)


def test_what_level_2a_holds():
    assert bands.available(10) == ("B02", "B03", "B04", "B08")
    assert bands.available(20)[0] == "B01"
    assert bands.available(20, "03.01")[0] == "B02"
    assert "B08" not in bands.available(20)
    assert "B08" not in bands.available(60)
    assert "B10" not in bands.available(60) + bands.L2A_BANDS
    assert bands.resolutions("B09") == (60,)
    assert len(bands.L2A_BANDS) == 12


def test_wavelengths_and_pixel_sizes_are_those_in_real_metadata(real_data):
    (file,) = (real_data / "s2_safe_metadata").glob("S2A_MSIL2A_20190212*/MTD_MSIL2A.xml")
    stated = list(ElementTree.parse(file).iter("Spectral_Information"))
    assert [bands.normalise_band(item.attrib["physicalBand"]) for item in stated] == list(bands.SENTINEL2)
    for item, band in zip(stated, bands.SENTINEL2.values(), strict=True):
        assert float(item.findtext("Wavelength/CENTRAL") or 0) == band.center_nm
        assert int(item.findtext("RESOLUTION") or 0) == band.resolution_m


@pytest.mark.parametrize("baseline", ["02.05", "02.12", "03.01", "04.00"])
def test_availability_is_that_of_real_file_lists(real_data, baseline):
    names = (real_data / "s2_safe_metadata" / "aws_safe_listings" / f"L2A_{baseline}.csv").read_text()
    held = set(re.findall(r"IMG_DATA/R(\d\d)m/[^;\n]*_(B\d\d|B8A)_\d\dm\.jp2", names))
    expected = {(str(size), name) for name in bands.SENTINEL2 for size in bands.resolutions(name, baseline)}
    assert held == expected
