import numpy as np
import pytest
import xarray as xr

from eolab.core.errors import ParameterError
from eolab.data import indices

# a pixel of meadow; the expected values were worked out by hand from the published formulas
PIXEL = {
    "B02": 0.04,
    "B03": 0.08,
    "B04": 0.05,
    "B05": 0.12,
    "B07": 0.30,
    "B08": 0.40,
    "B11": 0.20,
    "B12": 0.10,
}
BY_HAND = {
    "NDVI": 0.35 / 0.45,
    "GNDVI": 0.32 / 0.48,
    "NDRE": 0.28 / 0.52,
    "NDWI": -0.32 / 0.48,
    "MNDWI": -0.12 / 0.28,
    "NDMI": 0.20 / 0.60,
    "NBR": 0.30 / 0.50,
    "NDBI": -0.20 / 0.60,
    "NDSI": -0.12 / 0.28,
    "VI": 0.20 / 0.60,
    "EVI": 0.875 / 1.4,
    "SAVI": 0.525 / 0.95,
    "BSI": -0.19 / 0.69,
    "GREY": 0.17 / 3,
    "BNDVI": 0.36 / 0.44,
    "Chlred-edge": 0.4,
    "MIRBI": 1.0 - 1.96 + 2.0,
    "MSAVI2": (1.8 - 0.44**0.5) / 2,  # 1.8² - 8 · 0.35
    "MTVI2": 1.5 * (1.2 * 0.32 + 2.5 * 0.03) / (0.34 + 5 * 0.05**0.5) ** 0.5,  # 3.24 - 2.4 - 0.5
}


def image_of(values, dtype=np.float32, **attrs):
    data = np.array(list(values.values()), dtype).reshape(1, -1, 1, 1)
    return xr.DataArray(data, dims=("time", "band", "y", "x"), coords={"band": list(values)}, attrs=attrs)


def test_each_index_has_a_worked_example():
    assert set(BY_HAND) == set(indices.INDICES)


@pytest.mark.parametrize("name", sorted(indices.INDICES))
def test_worked_examples(name):
    result = indices.compute(name, image_of(PIXEL, units="reflectance"))
    assert result.dims == ("time", "y", "x")
    assert result.dtype == np.float32
    assert result.name == name
    assert result.item() == pytest.approx(BY_HAND[name], rel=1e-5)


@pytest.mark.parametrize("name", sorted(indices.INDICES))
def test_nan_in_gives_nan(name):
    for band in indices.INDICES[name].bands:
        assert np.isnan(indices.compute(name, image_of({**PIXEL, band: np.nan})).item())


@pytest.mark.parametrize(
    "name", sorted(set(indices.INDICES) - {"EVI", "SAVI", "GREY", "MIRBI", "MSAVI2", "MTVI2"})
)
def test_division_by_zero_gives_nan_not_infinity(name):
    with np.errstate(all="raise"):
        assert np.isnan(indices.compute(name, image_of(dict.fromkeys(PIXEL, 0.0))).item())


def test_denominator_of_evi_may_vanish():
    values = {"B08": 0.4, "B04": 0.1, "B02": 2 / 7.5}
    assert np.isnan(indices.compute("EVI", image_of(values)).item())


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("NDVI", {"B08": 0.04, "B04": -0.01}, 0.05 / 0.03),  # a negative band is a value
        ("NDVI", {"B08": -0.02, "B04": 0.01}, np.nan),  # regression: (-0.03) / (-0.01) = 3, dense vegetation
        ("NDWI", {"B03": -0.01, "B08": -0.01}, np.nan),
        ("EVI", {"B08": 0.6, "B04": 0.5, "B02": 0.7}, np.nan),  # a bright cloud: 0.25 / -0.65
        ("SAVI", {"B08": -0.02, "B04": 0.01}, -0.045 / 0.49),
        ("MTVI2", {"B08": 0.4, "B03": 0.08, "B04": -0.01}, np.nan),  # a root of a negative reflectance
        ("MSAVI2", {"B08": 0.5, "B04": -0.01}, np.nan),  # 2² - 8 · 0.51 = -0.08
        ("MSAVI2", {"B08": -0.02, "B04": 0.01}, (0.96 - (0.96**2 + 0.24) ** 0.5) / 2),
    ],
)
def test_a_negative_denominator_masks_the_index_and_a_negative_band_does_not(name, values, expected):
    found = indices.compute(name, image_of(values, units="reflectance")).item()
    assert found == pytest.approx(expected, rel=1e-5, nan_ok=True)


def test_integers_do_not_wrap_around():
    image = image_of({"B03": 800, "B08": 4000}, np.uint16)
    assert indices.compute("NDWI", image).item() == pytest.approx(-3200 / 4800)


@pytest.mark.parametrize(
    "image",
    [image_of(PIXEL, units="1e-4 reflectance"), image_of({b: v * 1e4 for b, v in PIXEL.items()}, np.uint16)],
)
@pytest.mark.parametrize("name", ["EVI", "SAVI"])
def test_digital_numbers_are_refused_where_the_scale_matters(name, image):
    with pytest.raises(ParameterError, match="convert it to reflectance"):
        indices.compute(name, image)


def test_unknown_index_suggests_a_known_one():
    with pytest.raises(ParameterError, match="did you mean 'NDVI'"):
        indices.compute("NDVI2", image_of(PIXEL))


def test_missing_band_is_named():
    image = image_of({"B08": 0.4, "B02": 0.1})
    with pytest.raises(ParameterError, match=r"NDVI needs the band B04.*the image has B08, B02"):
        indices.compute("NDVI", image)


def test_append_keeps_order_dims_and_laziness():
    image = image_of(PIXEL, units="reflectance").rename("image").chunk(band=1)
    result = indices.append(image, ["NDVI", "NBR"])
    assert list(result["band"].to_numpy()) == [*PIXEL, "NDVI", "NBR"]
    assert result.dims == image.dims
    assert result.chunks is not None
    assert result.attrs["units"] == "reflectance"
    np.testing.assert_array_equal(result.isel(band=slice(0, len(PIXEL))), image)
    assert result.sel(band="NBR").compute().item() == pytest.approx(0.6)


def test_bands_needed_formula_and_source():
    assert indices.bands_for(["NDVI", "EVI"]) == ("B02", "B04", "B08")
    assert indices.INDICES["NDVI"].formula == "(B08 - B04) / (B08 + B04)"
    assert min(len(index.source) for index in indices.INDICES.values()) > 10
