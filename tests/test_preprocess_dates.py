"""Which acquisitions and days a recipe takes, and the buffer around clouds."""

from itertools import combinations

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from eolab.core.errors import ParameterError
from eolab.data.preprocess import Recipe, choose_acquisitions, clear_mask, composite, dilated, periods, span


def series_on(dates, height=9, width=11, seed=0, **chunks):
    """A series with a clear share of its own on each date, and reflectance that is negative in places."""
    rng = np.random.default_rng(seed)
    shape = (len(dates), height, width)
    clear = rng.random(shape) < rng.random((len(dates), 1, 1))
    coords = {"time": pd.to_datetime(dates), "band": ["B04", "B08"]}
    coords |= {"y": 5e6 - 10.0 * np.arange(height), "x": 3e5 + 10.0 * np.arange(width)}
    image = rng.normal(0.1, 0.1, (len(dates), 2, height, width)).astype(np.float32)
    arrays = {
        "image": (("time", "band", "y", "x"), image, {"units": "reflectance"}),
        "clear": (("time", "y", "x"), clear),
    }
    series = xr.Dataset(arrays, coords)
    return series.chunk(chunks) if chunks else series


def every(days, first="2018-01-04", last="2020-12-28"):
    return pd.date_range(first, last, freq=f"{days}D")


def numpy_composites(series, starts, last):
    """Medians of the clear observations from each start to the next, by plain NumPy."""
    days = series["time"].to_numpy().astype("datetime64[D]")
    image = np.where(series["clear"].to_numpy()[:, None], series["image"].to_numpy(), np.nan)
    edges = np.append(np.array(starts, "datetime64[D]"), np.datetime64(last) + 1)
    found = np.full((len(starts), *image.shape[1:]), np.nan, np.float32)
    for p in range(len(starts)):
        inside = (days >= edges[p]) & (days < edges[p + 1])
        seen = np.isfinite(image[inside]).any(0)
        found[p][seen] = np.nanmedian(image[inside][:, seen], axis=0)
    return found


# === First and last day ===


@pytest.mark.parametrize(
    ("period", "start", "end", "starts", "last"),
    [
        ("MS", "2018-10-01", "2019-09-30", pd.date_range("2018-10-01", periods=12, freq="MS"), "2019-09-30"),
        ("10D", "2018-12-24", "2019-01-12", ["2018-12-24", "2019-01-03"], "2019-01-12"),
        ("QS", "2019-04-01", "2019-12-31", ["2019-04-01", "2019-07-01", "2019-10-01"], "2019-12-31"),
        (
            "QS-DEC",
            "2018-12-01",
            "2019-11-30",
            pd.date_range("2018-12-01", periods=4, freq="3MS"),
            "2019-11-30",
        ),
        ("MS", "2019-03-20", "2019-05-02", ["2019-03-20", "2019-04-01", "2019-05-01"], "2019-05-02"),
    ],
)
def test_composites_from_any_first_to_any_last_day_equal_plain_numpy(period, start, end, starts, last):
    series = series_on(every(6))
    found = Recipe(period=period, start=start, end=end).apply(series)
    expected = numpy_composites(series, starts, last)
    np.testing.assert_array_equal(found["image"], expected)
    np.testing.assert_array_equal(found["valid"], np.isfinite(expected).all(1))


def test_days_without_a_year_are_those_of_the_series_year():
    recipe = Recipe(period="MS", start="03-01", end="10-31")
    series = series_on(every(9))
    for year in (2018, 2019, 2020):
        part = series.sel(time=str(year))
        dated = Recipe(period="MS", start=f"{year}-03-01", end=f"{year}-10-31")
        xr.testing.assert_equal(recipe.apply(part), dated.apply(part))
        assert recipe.apply(part)["time"].dt.month.to_numpy().tolist() == list(range(3, 11))


def test_the_last_of_february_is_one_of_every_year():
    times = pd.to_datetime(["2019-01-31", "2019-02-20", "2019-03-01"])
    assert span(times, "01-15", "02-29") == (np.datetime64("2019-01-15"), np.datetime64("2019-02-28"))
    assert span(times + pd.DateOffset(years=1), None, "02-29")[1] == np.datetime64("2020-02-29")


@pytest.mark.parametrize("period", ["1D", "2D", "5D", "10D", "73D", "365D", "MS", "QS", "QS-DEC"])
def test_every_year_has_as_many_composites(period):
    """Regression: periods of 5 or 73 days were one more in a leap year, and the last of them had one day."""
    counts = {len(periods(every(20, f"{year}-01-03", f"{year}-12-30"), period)[0]) for year in (2019, 2020)}
    assert len(counts) == 1
    assert Recipe(period=period).for_series(series_on(every(20))) == Recipe(period=period)


def test_29_february_belongs_to_the_period_of_the_day_before():
    times = pd.date_range("2020-02-28", "2020-03-02")
    assert periods(times, "59D")[1].tolist() == [0, 0, 1, 1]  # 59 days to 28 February
    assert periods(times, "1D", "02-29", "03-02")[1].tolist() == [-1, 0, 0, 1]
    assert periods(times[1:2], "5D", "02-29", "02-29")[1].tolist() == [0]


def test_weeks_that_differ_between_years_are_refused_with_days_as_remedy():
    dates = every(7, "2028-01-02", "2029-12-30")
    with pytest.raises(
        ParameterError, match="'W' are 53 in one year and 54 in another: take days such as '7D'"
    ):
        Recipe(period="W").for_series(series_on(dates))


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ("2021-03-01", None, "would end on 2020-12-31, before they start on 2021-03-01"),
        ("10-01", "09-30", r"would end on 2020-09-30, before .* 2020-10-01: .*'2018-10-01' and '2019-09-30'"),
        ("2018-01-01", "2018-12-31", "None of the 6 acquisitions from 2020-01-07 to 2020-12-02 lies between"),
    ],
)
@pytest.mark.parametrize("period", ["MS", "none"])
def test_days_that_do_not_fit_the_series_end_in_a_sentence(start, end, message, period):
    series = series_on(pd.date_range("2020-01-07", periods=6, freq="66D"))
    with pytest.raises(ParameterError, match=message):
        Recipe(period=period, start=start, end=end).apply(series)


@pytest.mark.parametrize("text", ["March", "2020-02-30", "13-01", "2020-03", "20-03-01", "3-1"])
def test_a_text_that_is_no_day_is_refused(text):
    with pytest.raises(ParameterError, match=f"end cannot be '{text}'.*is no day.*'03-31'"):
        Recipe(end=text)


# === Chosen acquisitions ===


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_even_acquisitions_are_the_best_of_all_choices(count):
    rng = np.random.default_rng(count)
    days = np.sort(rng.choice(365, 11, replace=False))
    series = series_on(np.datetime64("2019-01-01") + days)
    found = choose_acquisitions(series, count)
    wanted = np.linspace(days[0], days[-1], count) if count > 1 else [(days[0] + days[-1]) / 2]
    best = min(combinations(days, count), key=lambda chosen: ((np.array(chosen) - wanted) ** 2).sum())
    np.testing.assert_array_equal(
        found, (np.datetime64("2019-01-01") + np.array(best)).astype("datetime64[ns]")
    )


def test_the_clearest_acquisitions_have_most_clear_pixels_of_the_whole_scene():
    dates = every(12, "2019-01-05", "2019-12-28")
    series = series_on(dates, time=1, y=4, x=5)
    share = series["clear"].to_numpy().mean((1, 2))
    inside = np.flatnonzero((dates >= "2019-04-01") & (dates <= "2019-09-30"))
    best = np.sort(inside[np.argsort(-share[inside])[:5]])
    found = choose_acquisitions(series, 5, "clearest", "04-01", "09-30")
    np.testing.assert_array_equal(found, dates[best].to_numpy())


def test_all_acquisitions_are_taken_where_there_are_fewer_or_none_is_named():
    series = series_on(every(40, "2019-01-05", "2019-12-28")).isel(time=slice(None, None, -1))
    for count in (0, 10, 99):
        np.testing.assert_array_equal(choose_acquisitions(series, count), np.sort(series["time"]))


@pytest.mark.parametrize("choose", ["even", "clearest"])
def test_windows_and_years_get_the_acquisitions_of_the_whole_series(choose):
    series = series_on(every(40), height=12, width=10, time=1, y=5, x=5)
    recipe = Recipe(period="none", acquisitions=6, choose=choose).for_series(series)
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    window = {"y": slice(3, 8), "x": slice(1, 4)}
    for year in (2018, 2019, 2020):
        part = series.sel(time=str(year))
        whole = recipe.apply(part)
        chosen = choose_acquisitions(part, 6, choose)
        np.testing.assert_array_equal(whole["time"], chosen)
        expected = part.sel(time=chosen)
        np.testing.assert_array_equal(whole["image"], expected["image"].where(expected["clear"]))
        np.testing.assert_array_equal(whole["valid"], expected["clear"])
        xr.testing.assert_identical(recipe.apply(part.isel(window)).compute(), whole.isel(window).compute())


def test_a_year_with_fewer_acquisitions_is_filled_up_with_dates_that_are_not_valid():
    series = series_on([*every(30, "2018-01-02", "2018-12-30"), *every(80, "2019-01-09", "2019-12-30")])
    recipe = Recipe(period="none", fill="linear").for_series(series)
    assert recipe.acquisitions == 13
    first, second = (recipe.apply(series.sel(time=year)) for year in ("2018", "2019"))
    assert first.sizes["time"] == second.sizes["time"] == 13
    assert not second["valid"][5:].any()
    assert set(second["time"].to_numpy()[5:]) == {series["time"].to_numpy()[-1]}
    np.testing.assert_array_equal(second["valid"][:5], series["clear"].sel(time="2019"))
    ever = second["valid"].any("time")
    assert np.isfinite(second["image"].where(ever, 0)).all()


def test_dates_with_their_years_choose_once_across_the_new_year():
    series = series_on(every(12))
    recipe = Recipe(period="none", start="2018-10-01", end="2019-09-30", acquisitions=10).for_series(series)
    found = recipe.apply(series)
    assert found.sizes["time"] == 10
    chosen = choose_acquisitions(series, 10, "even", "2018-10-01", "2019-09-30")
    np.testing.assert_array_equal(found["time"], chosen)
    assert {int(year) for year in found["time"].dt.year} == {2018, 2019}


def test_acquisitions_that_were_not_chosen_are_refused():
    series = series_on(every(30))
    with pytest.raises(ParameterError, match=r"The 10 acquisitions of a year are not chosen.*for_series"):
        Recipe(period="none", acquisitions=10).apply(series)
    recipe = Recipe(period="none", acquisitions=3).for_series(series.sel(time="2018"))
    with pytest.raises(ParameterError, match=r"None of the 3 chosen acquisitions is among the 12"):
        recipe.apply(series.sel(time="2019"))
    with pytest.raises(ParameterError, match="acquisitions cannot be 10 with period 'MS'"):
        Recipe(acquisitions=10)
    with pytest.raises(ParameterError, match="did you mean 'clearest'"):
        Recipe(choose="cleares")
    with pytest.raises(ParameterError, match="-1 acquisitions cannot be chosen"):
        choose_acquisitions(series, -1)


# === Buffer around clouds ===


def by_hand(mask, pixels):
    """Return where a square around each pixel holds a True, pixel by pixel."""
    found = np.zeros_like(mask)
    for place in np.ndindex(mask.shape):
        *before, y, x = place
        square = mask[
            (*before, slice(max(0, y - pixels), y + pixels + 1), slice(max(0, x - pixels), x + pixels + 1))
        ]
        found[place] = square.any()
    return found


@pytest.mark.parametrize("pixels", [0, 1, 2, 5])
def test_a_mask_grows_by_its_pixels_in_chunks_and_whole(pixels):
    mask = np.random.default_rng(pixels).random((2, 17, 13)) < 0.03
    whole = xr.DataArray(mask, dims=("time", "y", "x"))
    lazy = dilated(whole.chunk(time=1, y=4, x=6), pixels)
    expected = by_hand(mask, pixels)
    np.testing.assert_array_equal(dilated(whole, pixels), expected)
    assert isinstance(lazy.data, da.Array)
    np.testing.assert_array_equal(lazy, expected)
    np.testing.assert_array_equal(lazy[:, 3:9, 5:11], expected[:, 3:9, 5:11])


def test_a_buffer_lies_around_clouds_and_shadows_and_nothing_else():
    """No data at the edge of the swath, water and snow have none; a code that is kept has none either."""
    for code in range(12):
        scl = xr.DataArray(np.full((7, 7), 4, np.uint8), dims=("y", "x"))
        scl[3, 3] = code
        hidden = {0: 1, 1: 1, 2: 1, 3: 25, 8: 25, 9: 25, 10: 25, 11: 1}.get(code, 0)
        assert int((~clear_mask(scl, buffer_px=2)).sum()) == hidden
        assert clear_mask(scl, (4, code), buffer_px=2).all()
    assert clear_mask(scl, buffer_px=2).attrs["buffer_px"] == 2


def test_windows_of_composites_with_a_buffer_are_those_of_the_whole_scene():
    rng = np.random.default_rng(0)
    series = series_on(every(60, "2019-01-03", "2019-12-28"), 20, 18, time=1, y=6, x=7)
    scl = xr.DataArray(
        rng.choice([4, 5, 9], series["clear"].shape, p=[0.5, 0.47, 0.03]).astype(np.uint8),
        dims=("time", "y", "x"),
    )
    series["clear"] = clear_mask(scl.chunk(time=1, y=6, x=7), buffer_px=2)
    whole = composite(series["image"], clear_mask(scl, buffer_px=2), "QS")[0]
    for rows, columns in (
        (slice(0, 5), slice(0, 9)),
        (slice(5, 13), slice(6, 8)),
        (slice(12, 20), slice(9, 18)),
    ):
        part = series.isel(y=rows, x=columns)
        np.testing.assert_array_equal(
            composite(part["image"], part["clear"], "QS")[0], whole[:, :, rows, columns]
        )


# === Negative reflectance ===


@pytest.mark.parametrize("period", ["none", "10D", "MS", "QS"])
def test_a_negative_reflectance_is_a_value_of_the_composite(period):
    """Over dark water B08 is often below 0; it counts in the median, and its index is missing alone."""
    series = series_on(every(8, "2019-01-03", "2019-12-28"))
    series["image"][:, :, 2, 3] = -0.004
    series["clear"][:, 2, 3] = True
    prepared = Recipe(period=period, indices=("NDVI",)).apply(series)
    there = prepared.isel(y=2, x=3)
    observed = (
        np.isin(np.arange(there.sizes["time"]), periods(series["time"].to_numpy(), period)[1])
        if period != "none"
        else True
    )
    assert (there["valid"] == observed).all()
    seen = there["image"].sel(time=there["valid"])
    np.testing.assert_array_equal(seen.sel(band=["B04", "B08"]), np.float32(-0.004))
    assert np.isnan(seen.sel(band="NDVI")).all()
    plain = Recipe(period=period).apply(series)
    xr.testing.assert_equal(prepared["valid"], plain["valid"])  # whatever the index, anywhere
