import json

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from eolab.core.errors import ParameterError
from eolab.data.preprocess import Recipe, clear_mask, composite, fill_gaps, periods
from eolab.data.preprocess.composites import along_time, reduce_groups
from eolab.data.preprocess.median import network
from eolab.data.store.statistics import RunningStatistics

BANDS = ["B02", "B04", "B08", "B11"]


def series_of(times=14, height=23, width=31, seed=0, cloud=0.4, year=2020):
    """A random series with gaps: dates all over the year, clouds, nodata in a corner, one date missing."""
    rng = np.random.default_rng(seed)
    image = rng.random((times, len(BANDS), height, width), np.float32)
    image[:, :, :3, :4] = np.nan
    image[2:3, 1] = np.nan
    days = np.sort(rng.choice(366, times, replace=False))
    return xr.Dataset(
        {
            "image": (("time", "band", "y", "x"), image, {"units": "reflectance"}),
            "clear": (("time", "y", "x"), rng.random((times, height, width)) > cloud),
        },
        coords={
            "time": np.datetime64(f"{year}-01-01", "ns") + days.astype("timedelta64[D]"),
            "band": BANDS,
            "y": 5e6 - 10.0 * np.arange(height),
            "x": 3e5 + 10.0 * np.arange(width),
        },
        attrs={"simulated": 1},
    )


def masked(series):
    """The series with NaN wherever an observation must not count."""
    counts = series["clear"] & np.isfinite(series["image"]).all("band")
    return series["image"].where(counts)


# --- clear mask and periods ---


def test_clear_mask_keeps_the_codes_it_is_given():
    scl = xr.DataArray(np.arange(12, dtype=np.uint8), dims="x")
    assert np.flatnonzero(clear_mask(scl)).tolist() == [4, 5, 6, 7]
    assert np.flatnonzero(clear_mask(scl, keep=(4, 11))).tolist() == [4, 11]
    assert clear_mask(scl).dtype == bool


def test_months_cover_whole_years_and_are_dated_in_the_middle():
    times = np.array(["2020-03-05", "2020-03-31", "2020-04-01"], "datetime64[ns]")
    middles, number = periods(times, "MS")
    assert len(middles) == 12
    assert number.tolist() == [2, 2, 3]
    assert middles[2] == np.datetime64("2020-03-16")
    assert middles[1] == np.datetime64("2020-02-15")


def test_scenes_of_one_year_share_their_periods_whatever_their_dates():
    middles, early = periods(np.array(["2020-01-07", "2020-05-02"], "datetime64[D]"), "30D")
    others, late = periods(np.array(["2020-08-19", "2020-12-31"], "datetime64[D]"), "30D")
    np.testing.assert_array_equal(middles, others)
    assert len(middles) == 13
    assert early.tolist() == [0, 4]
    assert late.tolist() == [(232 - 1) // 30, 12]


def test_start_and_end_are_included_and_bound_the_periods():
    times = np.array(["2020-03-09", "2020-03-10", "2020-04-20", "2020-04-21"], "datetime64[D]")
    middles, number = periods(times, "MS", start="2020-03-10", end="2020-04-20")
    assert number.tolist() == [-1, 0, 1, -1]
    assert middles.astype("datetime64[D]").astype(str).tolist() == ["2020-03-21", "2020-04-11"]


@pytest.mark.parametrize("period", ["monthly!", "0D", "2h", "-30D", ""])
def test_a_period_that_is_none_is_refused(period):
    with pytest.raises(ParameterError, match="is not a period"):
        periods(np.array(["2020-03-09"], "datetime64[D]"), period)


def test_end_before_start_is_refused():
    with pytest.raises(ParameterError, match="before they start"):
        periods(np.array(["2020-03-09"], "datetime64[D]"), "MS", "2020-05-01", "2020-04-01")


# --- medians ---


@pytest.mark.parametrize("total", range(1, 34))
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_median_is_bit_identical_to_numpy(total, dtype):
    rng = np.random.default_rng(total)
    image = (rng.random((total, 2, 9, 50)) * 65535.9).astype(dtype)  # the type's extremes occur too
    image[rng.random(image.shape) < 0.05] = 65535
    image[rng.random(image.shape) < 0.05] = 0
    clear = rng.random((total, 9, 50)) < rng.random((9, 50))
    median, valid = reduce_groups(image, clear, [np.arange(total)])
    with pytest.warns(RuntimeWarning, match="All-NaN"):
        expected = np.nanmedian(np.where(clear[:, None], image, np.float32(np.nan)), axis=0)
    np.testing.assert_array_equal(median[0], expected)
    np.testing.assert_array_equal(valid[0], clear.any(axis=0))


@pytest.mark.parametrize("total", range(2, 14))
def test_the_network_sorts_the_middle_of_every_zero_one_input(total):
    """The 0-1 principle: a network that sorts all inputs of 0 and 1 sorts all inputs (Knuth, volume 3)."""
    rows = list(((np.arange(2**total)[None] >> np.arange(total)[:, None]) & 1).astype(np.uint8))
    expected = np.sort(rows, axis=0)
    for i, j, low, high in network(total):
        a, b = np.minimum(rows[i], rows[j]), np.maximum(rows[i], rows[j])
        rows[i], rows[j] = (a if low else rows[i]), (b if high else rows[j])
    for k in {total // 2 - 1, total // 2}:
        np.testing.assert_array_equal(rows[k], expected[k])


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float64, np.uint8])
def test_median_of_other_types(dtype):
    rng = np.random.default_rng(0)
    image = rng.integers(0 if dtype == np.uint8 else -100, 100, (7, 1, 5, 6)).astype(dtype)
    clear = np.ones((7, 5, 6), bool)
    median, _ = reduce_groups(image, clear, [np.arange(7), np.arange(4)])
    np.testing.assert_array_equal(median[0], np.median(image, axis=0))
    np.testing.assert_array_equal(median[1], np.median(image[:4], axis=0))


# --- composites ---


@pytest.mark.parametrize("reducer", ["median", "mean"])
def test_monthly_composites_equal_those_of_xarray(reducer):
    series = series_of(times=40)
    image, valid = composite(series["image"], series["clear"], "MS", reducer)
    grouped = masked(series).astype(np.float64 if reducer == "mean" else np.float32).resample(time="MS")
    expected = grouped.median(skipna=True) if reducer == "median" else grouped.mean(skipna=True)
    months = pd.DatetimeIndex(image["time"]).month
    for k, month in enumerate(months):
        if month in expected["time"].dt.month:
            wanted = expected.isel(time=np.flatnonzero(expected["time"].dt.month == month)[0])
            np.testing.assert_allclose(image[k], wanted, rtol=0 if reducer == "median" else 1e-6)
    np.testing.assert_array_equal(valid, np.isfinite(image).all("band"))
    assert image.dtype == np.float32
    assert image.dims == ("time", "band", "y", "x")
    assert image.attrs["units"] == "reflectance"


def test_a_period_without_clear_observation_is_not_valid_and_not_invented():
    series = series_of(times=6)
    image, valid = composite(series["image"], series["clear"], "MS")
    counts = np.isfinite(masked(series)).all("band")
    for k, month in enumerate(range(1, 13)):
        seen = counts.isel(time=np.flatnonzero(series["time"].dt.month == month)).any("time")
        np.testing.assert_array_equal(valid[k], seen)
        assert np.isnan(image[k].to_numpy()[:, ~seen.to_numpy()]).all()


def test_an_observation_counts_only_where_every_band_is_there():
    series = series_of(times=3).isel(time=[2])  # the date whose second band is missing
    image, valid = composite(series["image"], series["clear"], "none")
    assert not valid.any()
    assert np.isnan(image).all()


def test_period_none_keeps_every_acquisition_and_its_coordinates():
    series = series_of().assign_coords(product=("time", [f"S2_{i}" for i in range(14)]))
    image, valid = composite(series["image"], series["clear"], "none")
    xr.testing.assert_identical(image, masked(series).assign_attrs(series["image"].attrs))
    assert image["product"].to_numpy().tolist() == series["product"].to_numpy().tolist()
    np.testing.assert_array_equal(valid, np.isfinite(masked(series)).all("band"))


def test_integers_with_nodata_stay_integers_until_the_median():
    series = series_of(times=30)
    numbers = (series["image"].fillna(0) * 10000).astype(np.uint16).assign_attrs(nodata=0)
    found, valid = composite(numbers, series["clear"], "QS")
    expected, seen = composite(numbers.where(numbers != 0).astype(np.float32), series["clear"], "QS")
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(valid, seen)
    assert "nodata" not in found.attrs


def test_composites_are_lazy_and_equal_to_eager_ones():
    series = series_of(times=20)
    lazy = series.chunk(time=1, band=1, y=10, x=16)
    with dask.config.set(scheduler=_fail):
        image, valid = composite(lazy["image"], lazy["clear"], "MS")
    for found, expected in zip(
        (image, valid), composite(series["image"], series["clear"], "MS"), strict=True
    ):
        assert found.chunks is not None
        assert max(found.chunksizes["y"]) == 10
        xr.testing.assert_identical(found.compute(), expected)


def test_a_chunk_is_reduced_once_for_image_and_mask_and_stays_in_the_order_of_the_series(monkeypatch):
    """Chunks were copied pixels first, then read with large strides: a composite took three times as long."""
    seen = []

    def reduce(image, clear, *, groups, **options):
        seen.append((image.shape, image.flags.c_contiguous))
        return image[: len(groups)], clear[: len(groups)]

    monkeypatch.setattr("eolab.data.preprocess.composites.reduce_groups", reduce)
    lazy = series_of(times=20, height=20).chunk(time=1, band=1, y=10)
    image, valid = composite(lazy["image"], lazy["clear"], "MS")
    dask.compute(image, valid)
    assert [shape[0] for shape, _ in seen] == [20, 20]
    assert all(contiguous for _, contiguous in seen)


def test_two_functions_of_one_name_have_results_of_their_own():
    lazy = series_of(times=4).chunk(time=1)
    pair = lazy["image"], lazy["clear"], 4
    once = along_time(lambda image, clear: (image, clear), *pair)[0]
    twice = along_time(lambda image, clear: (2 * image, clear), *pair)[0]
    once, twice = dask.compute(once, twice)
    np.testing.assert_array_equal(2 * once.to_numpy(), twice.to_numpy())


def _fail(*_, **__):
    raise AssertionError("computed while it should be lazy")


def test_unknown_reducer_suggests_a_known_one():
    series = series_of()
    with pytest.raises(ParameterError, match="did you mean 'median'"):
        composite(series["image"], series["clear"], "MS", "medain")


# --- gaps ---


def test_linear_filling_equals_numpy_interp_pixel_by_pixel():
    series = series_of(times=12, height=7, width=6, cloud=0.6)
    image, valid = composite(series["image"], series["clear"], "none")
    result, filled = fill_gaps(image, valid, "linear")
    days = series["time"].to_numpy().astype("datetime64[D]").astype(int)
    for y in range(7):
        for x in range(6):
            seen = valid[:, y, x].to_numpy()
            assert (
                filled[:, y, x].to_numpy().tolist() == (~seen if seen.any() else np.zeros(12, bool)).tolist()
            )
            for band in range(len(BANDS)):
                known = image[:, band, y, x].to_numpy()
                expected = np.interp(days, days[seen], known[seen]) if seen.any() else np.full(12, np.nan)
                np.testing.assert_allclose(result[:, band, y, x], expected, rtol=1e-5)


def test_nearest_filling_takes_the_earlier_of_two_equally_near():
    times = pd.to_datetime(["2020-01-01", "2020-01-03", "2020-01-04", "2020-01-05", "2020-01-09"])
    values = np.array([1, np.nan, np.nan, 5, np.nan], np.float32).reshape(5, 1, 1, 1)
    image = xr.DataArray(values, dims=("time", "band", "y", "x"), coords={"time": times, "band": ["B02"]})
    result, filled = fill_gaps(image, np.isfinite(image).all("band"), "nearest")
    assert result.to_numpy().ravel().tolist() == [1, 1, 5, 5, 5]
    assert filled.to_numpy().ravel().tolist() == [False, True, True, False, True]


def test_values_that_were_not_observed_do_not_leak_into_the_filling():
    series = series_of(times=8)
    valid = series["clear"] & np.isfinite(series["image"]).all("band")
    changed = series["image"].where(valid, 1e9)
    first, _ = fill_gaps(series["image"], valid, "linear")
    xr.testing.assert_identical(first, fill_gaps(changed, valid, "linear")[0])


def test_filling_refuses_unknown_methods_and_unordered_dates():
    series = series_of(times=4)
    with pytest.raises(ParameterError, match="did you mean 'linear'"):
        fill_gaps(series["image"], series["clear"], "linera")
    backwards = series.isel(time=slice(None, None, -1))
    with pytest.raises(ParameterError, match="sort"):
        fill_gaps(backwards["image"], backwards["clear"], "linear")


# --- recipe ---

RECIPES = [
    Recipe(),
    Recipe(bands=("B08", "B04"), indices=("NDVI",), period="30D", fill="linear"),
    Recipe(indices=("EVI",), period="none", reducer="mean", fill="nearest", start="2020-02-01"),
    Recipe(bands=("B11",), period="QS", start="2020-03-01", end="2020-10-31"),
]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_window_of_the_result_is_the_result_of_the_window(recipe):
    series = series_of(times=18).chunk(time=1, band=1, y=8, x=16)
    window = {"y": slice(5, 17), "x": slice(2, 29)}
    whole = recipe.apply(series).isel(window)
    xr.testing.assert_identical(recipe.apply(series.isel(window)).compute(), whole.compute())


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_survive_json(recipe):
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_a_recipe_keeps_order_of_bands_and_appends_indices_of_bands_it_drops():
    series = series_of(times=20)
    result = Recipe(bands=("B11", "B02"), indices=("NDVI",), period="QS").apply(series)
    assert result["band"].to_numpy().tolist() == ["B11", "B02", "NDVI"]
    assert result["image"].dtype == np.float32
    assert result.attrs["simulated"] == 1
    assert json.loads(result.attrs["recipe"])["indices"] == ["NDVI"]
    image, valid = composite(series["image"], series["clear"], "QS")  # NDVI and the two need all four bands
    np.testing.assert_array_equal(result["valid"], valid)
    np.testing.assert_array_equal(result["image"].sel(band=["B11", "B02"]), image.sel(band=["B11", "B02"]))
    np.testing.assert_allclose(result["image"].sel(band="NDVI"), _ndvi(image), rtol=1e-5)


def _ndvi(image):
    red, nir = image.sel(band="B04").to_numpy(), image.sel(band="B08").to_numpy()
    return (nir - red) / (nir + red)


def test_filled_dates_stay_marked_as_not_observed():
    series = series_of(times=9)
    plain = Recipe(period="MS").apply(series)
    filled = Recipe(period="MS", fill="linear").apply(series)
    xr.testing.assert_identical(plain["valid"], filled["valid"])
    ever = plain["valid"].any("time").to_numpy()
    assert np.isfinite(filled["image"].to_numpy()[:, :, ever]).all()
    assert np.isnan(filled["image"].to_numpy()[:, :, ~ever]).all()
    assert np.isnan(
        plain["image"].to_numpy()[~np.broadcast_to(plain["valid"].to_numpy()[:, None], (12, 4, 23, 31))]
    ).all()


@pytest.mark.parametrize("value", [0.0, -0.01])
def test_an_undefined_index_is_masked_alone(value):
    """Regression: the bands of the date were lost with the index."""
    series = series_of(times=1, cloud=0)
    series["image"][0, :, 10, 10] = value
    result = Recipe(indices=("NDVI",), period="none").apply(series)
    assert result["valid"][0, 10, 10]
    bands = [str(band) for band in series["band"].values]
    assert (result["image"][0, :, 10, 10].sel(band=bands) == np.float32(value)).all()
    assert np.isnan(result["image"][0, :, 10, 10].sel(band="NDVI"))


def test_dates_out_of_order_are_sorted():
    series = series_of(times=10)
    mixed = series.isel(time=np.random.default_rng(1).permutation(10))
    recipe = Recipe(period="none", fill="linear")
    xr.testing.assert_identical(recipe.apply(mixed), recipe.apply(series))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"perod": "MS"}, "did you mean 'period'"),
        ({"fill": "linea"}, "did you mean 'linear'"),
        ({"reducer": "max"}, "reducer cannot be 'max'"),
        ({"indices": ["NDVI2"]}, "did you mean 'NDVI'"),
        ({"start": "March"}, "start cannot be 'March'"),
        ({"period": "often"}, "is not a period"),
    ],
)
def test_bad_recipes_end_in_a_sentence(values, message):
    with pytest.raises(ParameterError, match=message):
        Recipe.from_dict(values)


def test_missing_bands_and_another_pixel_size_are_refused():
    series = series_of(times=2)
    with pytest.raises(ParameterError, match="needs the band B12"):
        Recipe(indices=("NBR",)).apply(series)
    with pytest.raises(ParameterError, match="pixels of 20 m, but those of the series are 10 m"):
        Recipe(resolution_m=20).apply(series)
    Recipe(resolution_m=10).apply(series)


# --- statistics ---


def test_band_statistics_equal_those_of_numpy_in_one_go():
    series = series_of(times=9)
    valid = series["clear"]
    values = series["image"].where(valid).transpose("band", ...).to_numpy().reshape(4, -1).astype(np.float64)
    expected = {
        "count": np.isfinite(values).sum(1),
        "mean": np.nanmean(values, 1),
        "std": np.nanstd(values, 1),
        "min": np.nanmin(values, 1),
        "max": np.nanmax(values, 1),
    }
    for parts in (1, 7):
        running = RunningStatistics(4)
        for part in np.array_split(values, parts, axis=1):
            running.update(part)
        found = running.result()
        for name, column in expected.items():
            np.testing.assert_allclose(found[name], column, rtol=1e-12)


def test_statistics_are_stable_where_the_mean_is_large():
    rng = np.random.default_rng(0)
    values = 1e9 + rng.normal(size=(1, 40_000))
    running = RunningStatistics(1)
    for part in np.array_split(values, 97, axis=1):
        running.update(part)
    found = running.result()
    assert found["std"] == pytest.approx(values.std(), rel=1e-7)
    naive = np.sqrt(max((values**2).mean() - values.mean() ** 2, 0))
    assert abs(naive - values.std()) > 1e-3  # what the formula protects from


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_statistics_of_whole_numbers_are_exact(kind):
    """Their sums are not rounded, in chunks of any length, also of the largest numbers alone."""
    rng = np.random.default_rng(0)
    most = np.iinfo(kind).max
    values = rng.integers(0, most, (3, 5000), kind, endpoint=True)
    values[1] = most
    running = RunningStatistics(3)
    for part in np.array_split(values.T, [0, 256, 300, 1100]):
        running.update(np.ascontiguousarray(part).T)
    found, wide = running.result(), values.astype(np.float64)
    assert found["count"].tolist() == [5000] * 3
    assert found["min"].tolist() == wide.min(1).tolist()
    assert found["max"].tolist() == wide.max(1).tolist()
    assert found["std"][1] == 0
    np.testing.assert_allclose(found["mean"], wide.mean(1), rtol=1e-14)
    np.testing.assert_allclose(found["std"], wide.std(1), rtol=1e-13)


def test_a_band_without_values_has_no_statistics():
    running = RunningStatistics(2)
    running.update(np.array([[np.nan, np.nan], [1.0, 2.0]]))
    found = running.result()
    assert found["count"].tolist() == [0, 2]
    assert all(np.isnan(found[name][0]) for name in ("mean", "std", "min", "max"))
