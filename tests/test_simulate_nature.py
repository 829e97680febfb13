"""What the twin's nature must look like: terrain, land cover, seasons, sun, clouds, CORINE."""

import itertools
from datetime import datetime

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, label

from eolab.data.schemes import IGNORE
from eolab.data.schemes.landcover import LANDCOVER
from eolab.synthetic import materials, sky
from eolab.synthetic.landscape import Weather, make_landscape, make_surface, observe
from eolab.synthetic.materials import (
    ANNUAL,
    BROADLEAVES,
    CEREALS,
    CONIFERS,
    GRASS,
    LAKE,
    MINERAL,
    ROCKS,
    SHRUB,
    SNOW,
    URBAN,
)
from eolab.synthetic.patterns import block_mean, fractal, make_parcels
from eolab.synthetic.safe import plan
from eolab.synthetic.sentinel2_corine import make_corine, on_scene
from eolab.synthetic.sky import Sun, illumination, sun_at

pytestmark = pytest.mark.slow  # writes a twin

BANDS = list(materials.BANDS)


@pytest.fixture(scope="module")
def land():
    return make_landscape(480, np.random.default_rng(np.random.SeedSequence(0).spawn(1)[0]))


@pytest.fixture(scope="module")
def corine(land):
    return make_corine(land)


@pytest.fixture(scope="module")
def surface(land):
    return make_surface(land, np.random.default_rng(1))


def ndvi(surface, day):
    sun = Sun(45, 160)
    image, _, _ = observe(surface, day, sun, np.random.default_rng(day))
    red, infrared = image[BANDS.index("B04")], image[BANDS.index("B08")]
    return (infrared - red) / (infrared + red)


def by_class(surface, field):
    return np.array([field[surface.cover == k].mean() for k in range(len(LANDCOVER))])


def test_the_first_materials_are_the_classes_of_the_map():
    """Indices of classes are rows of the tables of spectra and seasons."""
    names = ["urban", "grass", "cereals", "annual", "mineral", "rocks", "sand"]
    names += ["broadleaves", "conifers", "shrub", "lake", "snow"]
    assert list(materials.INDEX)[:12] == names
    assert [materials.INDEX[name] for name in ("broadleaves", "lake", "snow")] == [BROADLEAVES, LAKE, SNOW]
    assert len(LANDCOVER) == materials.SEASONS.shape[1] == len(materials.SHARED) == 12
    assert materials.SEASON.max() < 12
    assert materials.reflectance(LAKE, 1.0) == pytest.approx(materials.GREEN[LAKE])


def test_every_class_in_many_blocks(land):
    now = land.scene(land.now)
    blocks = now.reshape(6, 80, 6, 80).swapaxes(1, 2).reshape(36, -1)
    present = np.array([np.bincount(block, minlength=12) >= 50 for block in blocks])
    assert (present.sum(axis=0) >= 5).all()
    shares = np.bincount(now.ravel(), minlength=12) / now.size
    assert shares.min() > 0.01
    assert shares.max() < 0.25


def test_zones_follow_height(land):
    height, now = land.height_m, land.now
    medians = [np.median(height[now == kind]) for kind in (BROADLEAVES, CONIFERS, ROCKS, SNOW)]
    assert medians == sorted(medians)


def test_share_changed(land):
    covers = [land.scene(cover) for cover in land.covers]
    assert 0.05 < (covers[0] != covers[-1]).mean() < 0.10
    first, second = covers[0] != covers[1], covers[1] != covers[2]
    assert 0.03 < first.mean() < 0.055
    assert 0.03 < second.mean() < 0.055
    assert (first & second).mean() < 0.001  # a place changes once
    for kind, sign in ((SNOW, -1), (LAKE, -1), (URBAN, 1), (MINERAL, 1)):
        areas = [int((cover == kind).sum()) for cover in covers]
        assert [sign * area for area in areas] == sorted({sign * area for area in areas})


def test_whole_patches_change_in_one_year(land):
    """Fields are sown with another crop, meadows ploughed and woods felled every year, each field at once."""
    pairs = list(itertools.pairwise(land.covers))
    for one, two in ((CEREALS, ANNUAL), (GRASS, ANNUAL), (CONIFERS, SHRUB)):
        assert all(((before == one) & (after == two)).sum() > 200 for before, after in pairs)
    (early,), (late,) = ([(before == CEREALS) & (after == ANNUAL)] for before, after in pairs)
    assert not set(land.parcels[early]) & set(land.parcels[late])
    felled = [(before == CONIFERS) & (after == SHRUB) for before, after in pairs]
    beside = binary_dilation(felled[0]) & felled[1]
    assert beside.sum() < 0.02 * felled[1].sum()


def test_land_of_one_year_does_not_change_and_the_last_year_is_the_same_for_any_number():
    random = np.random.default_rng
    one, three = make_landscape(240, random(0), years=1), make_landscape(240, random(0))
    assert len(one.covers) == 1
    assert (one.now == one.before).all()
    assert (one.now == three.now).mean() > 0.9
    np.testing.assert_array_equal(one.height_m, three.height_m)


def test_a_drought_browns_meadows_but_changes_no_land_cover(land, surface):
    usual, dry = (
        make_surface(land, np.random.default_rng(1), 1, Weather(0, strength), np.random.default_rng(2))
        for strength in (0.0, 1.0)
    )
    np.testing.assert_array_equal(dry.cover, land.scene(land.covers[1]))
    np.testing.assert_array_equal(dry.cover, usual.cover)
    loss = by_class(dry, ndvi(usual, 225) - ndvi(dry, 225))
    assert loss[GRASS] > 0.15
    assert loss[ANNUAL] > 0.10
    assert 0.0 < loss[CONIFERS] < loss[BROADLEAVES] < loss[SHRUB] < loss[GRASS]
    assert abs(loss[[LAKE, SNOW]]).max() < 0.02
    spring = by_class(dry, ndvi(usual, 110) - ndvi(dry, 110))
    assert abs(spring).max() < 0.03
    np.testing.assert_array_equal(
        dry.bright[dry.cover == surface.cover], surface.bright[dry.cover == surface.cover]
    )


def test_a_late_season_is_the_usual_one_some_days_before(land):
    seasons = [
        make_surface(
            land, np.random.default_rng(1), weather=Weather(days, 0), season=np.random.default_rng(2)
        )
        for days in (0.0, 7.0)
    ]
    usual, late = (
        materials.greenness(one.growth, one.cover, day) for one, day in zip(seasons, (100, 107), strict=True)
    )
    np.testing.assert_array_equal(usual, late)


def test_parcels_have_field_sizes():
    parcels = make_parcels((480, 480), np.random.default_rng(0))
    hectares = np.bincount(parcels.ravel()) / 100
    assert 1 < np.median(hectares) < 8
    assert np.unique(parcels).size == parcels.max() + 1


def test_corine_is_partly_wrong_and_keeps_every_class(land, corine):
    now = land.scene(land.now)
    old = on_scene(corine, 480)
    labelled = old != IGNORE
    assert 0.62 < (old == now)[labelled].mean() < 0.80
    assert 0.0 < (~labelled).mean() < 0.25
    assert set(np.unique(old[labelled])) == set(range(12))


def test_corine_patches_have_25_hectares(corine):
    grid = corine.code
    sizes = []
    for code in np.unique(grid[grid > 0]):
        patches, _ = label(grid == code)
        sizes += np.bincount(patches.ravel())[1:].tolist()
    assert min(sizes) >= 25


def test_seasons(surface):
    winter, spring, june, summer, autumn = (
        by_class(surface, ndvi(surface, d)) for d in (20, 100, 165, 200, 330)
    )
    names = list(LANDCOVER.names)
    leaves, needles, cereals, maize = (
        names.index(n) for n in ("Broadleaves", "Conifers", "Not irrigated crops", "Annual crops")
    )
    assert summer[leaves] > winter[leaves] + 0.4
    assert summer[leaves] - autumn[leaves] > summer[needles] - autumn[needles]
    assert spring[cereals] > spring[maize] + 0.15
    assert june[cereals] > summer[cereals]
    assert summer[maize] > summer[cereals] + 0.15
    assert summer[LAKE] < 0 < summer[leaves]


def test_snow_lies_longest_on_top(surface):
    _, march, _ = observe(surface, 75, Sun(50, 155), np.random.default_rng(0))
    image, july, _ = observe(surface, 200, Sun(28, 145), np.random.default_rng(0))
    high = surface.growth.height > 0.7
    assert march[high].mean() > 0.7 > march[~high].mean()
    assert july.max() == 0
    assert image[1][surface.cover == SNOW].mean() > 0.4


def test_pixels_mix_at_edges(surface):
    """The point spread makes a shore neither land nor water."""
    water = surface.cover == LAKE
    image, _, _ = observe(surface, 200, Sun(28, 145), np.random.default_rng(0))
    image = image[BANDS.index("B08")]
    shore = water & ~np.roll(water, 1, axis=1)
    assert image[water & np.roll(water, 3, axis=1) & np.roll(water, -3, axis=1)].mean() < image[shore].mean()


def test_sun_and_slopes():
    # at the equinox of 2020 the declination is 0; equation of time +7.4 min (almanac)
    hour = np.radians((10 * 60 + 34 + 4 * 5.6 + 7.4) / 4 - 180)
    noon = sun_at(datetime(2020, 9, 22, 10, 34), 5.6, 46.0)
    place = np.radians(46.0)
    assert noon.zenith == pytest.approx(np.degrees(np.arccos(np.cos(place) * np.cos(hour))), abs=0.6)
    south = np.degrees(np.arctan2(np.sin(-hour), np.sin(place) * np.cos(hour)))
    assert noon.azimuth == pytest.approx(180 - south, abs=1)
    winter = sun_at(datetime(2020, 12, 21, 11, 36), 5.6, 46.0)  # local noon: zenith = latitude + obliquity
    assert winter.zenith == pytest.approx(46.0 + 23.44, abs=0.6)
    facing = Sun(45, 180)
    one = np.ones((1, 1), np.float32)
    level = illumination(0 * one, 0 * one, facing)
    falling_south = illumination(-one, 0 * one, facing)  # height falls towards south: faces the sun
    falling_north = illumination(one, 0 * one, facing)
    assert level.item() == pytest.approx(1)
    assert falling_south.item() == pytest.approx(np.sqrt(2), rel=1e-5)
    assert falling_north.item() == pytest.approx(0, abs=1e-6)


def test_clouds_cover_what_was_asked_and_throw_shadows():
    sun = Sun(45, 180)  # shadows fall to the north
    clouds = sky.make_sky((240, 240), 0.3, sun, np.random.default_rng(2))
    assert (clouds.opacity > 0.02).mean() == pytest.approx(0.3, abs=0.08)
    assert (clouds.shadow[clouds.opacity > 0.99] < 0.02).all()
    moved = [
        np.mean(np.roll(clouds.opacity, -step, axis=0) * clouds.shadow) for step in (0, 50, 100, 150, 200)
    ]
    assert max(moved[1:]) > moved[0]


def test_classification_sees_clouds_shadows_water_snow(surface):
    rng = np.random.default_rng(5)
    sun = Sun(35, 150)
    ground, snow, light = observe(surface, 130, sun, rng)
    clouds = sky.make_sky(surface.cover.shape, 0.4, sun, rng)
    image = sky.cover_with(clouds, ground, rng)
    scl = sky.classify(clouds, image, surface.cover, snow, light, rng)
    assert np.isin(scl[clouds.opacity > 0.8], (8, 9)).mean() > 0.99
    thin = (clouds.opacity > 0.05) & (clouds.opacity < 0.2) & (clouds.cirrus < 0.05)
    assert np.isin(scl[thin], (4, 5, 6, 7, 11)).mean() > 0.3  # cloud borders are missed
    clear = (clouds.opacity == 0) & (clouds.shadow < 0.1) & (clouds.cirrus < 0.05)
    assert (scl[clear & (surface.cover == LAKE)] == 6).mean() > 0.8
    assert (scl[clear & (surface.cover == SNOW)] == 11).mean() > 0.8
    assert (scl[clear & (surface.cover == CONIFERS)] == 4).mean() > 0.7
    assert (scl == 3).any()


def test_cloud_shares_follow_the_real_series():
    shares = sky.cover_shares(68)
    counts, _ = np.histogram(shares, [0, 0.05, 0.2, 0.5, 0.8, 1.01])
    real = [30, 6, 5, 6, 21]  # of the 68 dates of the Slovenian patch
    assert np.abs(counts - real).max() <= 2


@pytest.mark.parametrize("dates", [1, 2, 5, 20, 60])
def test_plan(dates):
    passes = plan(dates, 2020, np.random.default_rng(dates), traps=True)
    good = [item for item in passes if not item.trap]
    times = [item.time for item in good]
    assert len(set(times)) == dates
    assert times == sorted(times)
    assert all((time.date() - datetime(2020, 1, 3).date()).days % 5 == 0 for time in times)
    assert {item.time.year for item in passes} == {2020}
    (duplicate,) = [item for item in passes if item.trap == "duplicate"]
    original = next(item for item in good if item.time == duplicate.time)
    assert (duplicate.baseline, duplicate.generation) < (original.baseline, original.generation)
    (truncated,) = [item for item in passes if item.trap == "truncated"]
    assert truncated.time not in times


def test_noise_is_standardised_and_smooth():
    field = fractal((64, 80), np.random.default_rng(0), 3.0)
    assert field.shape == (64, 80)
    assert field.mean() == pytest.approx(0, abs=1e-5)
    assert field.std() == pytest.approx(1, abs=1e-4)
    white = fractal((64, 80), np.random.default_rng(0), 0.0)
    correlation = [np.corrcoef(f[:, 1:].ravel(), f[:, :-1].ravel())[0, 1] for f in (field, white)]
    assert correlation[0] > 0.9 > 0.1 > abs(correlation[1])


def test_block_mean_against_loops():
    image = np.random.default_rng(0).random((2, 6, 9)).astype(np.float32)
    expected = [[[image[b, i : i + 3, j : j + 3].mean() for j in (0, 3, 6)] for i in (0, 3)] for b in (0, 1)]
    np.testing.assert_allclose(block_mean(image, 3), expected, rtol=1e-5)
