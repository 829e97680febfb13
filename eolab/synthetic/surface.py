"""Surface reflectance of a landscape on a day: spectra, mixed pixels, texture, snow, sunlight on slopes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from eolab.synthetic import materials as m
from eolab.synthetic.landscape import Landscape
from eolab.synthetic.materials import BANDS, DORMANT, GREEN, PARTNER, SHARED, WETNESS
from eolab.synthetic.noise import fractal, smoothstep
from eolab.synthetic.phenology import NEVER, Growth, greenness
from eolab.synthetic.sun import Sun, illumination, shading

Array = np.ndarray

# Relative height of the snow line by day of the year; below 0 even the valley is white.
_SNOW_DAYS = (1, 25, 50, 75, 105, 135, 165, 255, 285, 315, 340, 366)
_SNOW_LINE = (0.22, 0.02, 0.28, 0.45, 0.64, 0.82, 1.20, 1.20, 0.80, 0.55, 0.34, 0.22)
_BLUR_PX = 0.65  # point spread of the 10 m bands
_FALLOW = 0.06  # share of the crop parcels that are mostly grass this year
_BETWEEN = 0.16  # share of the parcels whose crop grows between the two seasons
_TEXTURE = {m.URBAN: 0.20, m.MINERAL: 0.17, m.ROCKS: 0.18, m.SAND: 0.15, m.LAKE: 0.05, m.SNOW: 0.04}
_SNOW_HELD = {m.CONIFERS: 0.10, m.BROADLEAVES: 0.20, m.SHRUB: 0.45, m.URBAN: 0.6, m.LAKE: 0.0}


@dataclass(frozen=True)
class Surface:
    """Everything about the land that does not change within the year.

    Attributes:
        cover: Class index, uint8 (y, x).
        growth: What varies in the season.
        partner: Class that shares the pixel, uint8 (y, x).
        shared: Share of the partner, (y, x).
        bright: Factor on all reflectances, (y, x).
        tint: Slope of brightness over wavelength, (y, x).
        south: Slope towards south, (y, x).
        east: Slope towards east, (y, x).
    """

    cover: Array
    growth: Growth
    partner: Array
    shared: Array
    bright: Array
    tint: Array
    south: Array
    east: Array


@dataclass(frozen=True)
class Ground:
    """The land on one day.

    Attributes:
        reflectance: Surface reflectance without clouds, float32 (band, y, x).
        snow: Share of snow, (y, x).
        light: Direct sunlight relative to level ground, (y, x).
    """

    reflectance: Array
    snow: Array
    light: Array


def make_surface(land: Landscape, rng: np.random.Generator) -> Surface:
    """Draw the texture of the land."""
    cover = land.scene(land.now)
    shape = cover.shape
    parcels = land.scene(land.parcels)
    count = int(land.parcels.max()) + 1
    by_class = _by_class(_TEXTURE, 0.06)
    grain = 0.7 * fractal(shape, rng, 1.6, wavelength_px=40) + 0.7 * fractal(shape, rng, 0.6)
    bright = np.exp(by_class[cover] * grain)
    crops = (cover == m.CEREALS) | (cover == m.ANNUAL)
    soil = 0.10 * rng.standard_normal(count)[parcels]
    bright = np.where(crops | (cover == m.GRASS), bright * np.exp(soil), bright)
    tint = 0.06 * fractal(shape, rng, 1.5, wavelength_px=60)
    mix = 0.75 * fractal(shape, rng, 1.6, wavelength_px=30) + 0.65 * fractal(shape, rng, 0.5)
    shared = np.clip(np.abs(mix) * SHARED[cover], 0, 0.75)
    fallow = (rng.random(count) < _FALLOW)[parcels]
    shared = np.where(fallow & crops, 0.55 + 0.5 * shared, shared)
    south, east = (land.scene(slope) for slope in land.terrain.gradient())
    return Surface(
        cover=cover,
        growth=make_growth(land, rng),
        partner=PARTNER[cover],
        shared=shared.astype(np.float32),
        bright=bright.astype(np.float32),
        tint=tint.astype(np.float32),
        south=south,
        east=east,
    )


def make_growth(land: Landscape, rng: np.random.Generator) -> Growth:
    """Draw each parcel's sowing, vigour and mowing, and add what varies inside parcels."""
    parcels, cover = land.scene(land.parcels), land.scene(land.now)
    shape = parcels.shape
    count = int(land.parcels.max()) + 1
    shift = 0.9 * rng.standard_normal(count)[parcels] + 0.4 * fractal(shape, rng, 2.0, wavelength_px=60)
    between = (rng.random(count) < _BETWEEN)[parcels]  # spring cereals, early maize: near to each other
    shift = shift + between * (1.7 * (cover == m.CEREALS) - 1.7 * (cover == m.ANNUAL))
    vigour = 1 + 0.06 * rng.standard_normal(count)[parcels] + 0.07 * fractal(shape, rng, 0.9)
    days = [rng.normal(152, 10, count), rng.normal(212, 12, count)]
    pasture = rng.random(count) < 0.35
    cuts = np.stack([np.where(pasture, NEVER, day)[parcels] for day in days])
    catch = np.where(rng.random(count) < 0.4, rng.uniform(0.3, 0.6, count), 0.0)[parcels]
    fields = (shift, np.clip(vigour, 0.6, 1.2), land.scene(land.terrain.relative), cuts, catch)
    return Growth(*(field.astype(np.float32) for field in fields))


def observe(surface: Surface, day: float, sun: Sun, rng: np.random.Generator) -> Ground:
    """Return the land's reflectance at 10 m on a day of the year, without clouds."""
    cover, shape = surface.cover, surface.cover.shape
    green = greenness(surface.growth, cover, day)
    other = greenness(surface.growth, surface.partner, day)
    snow = _snow(surface, day, rng)
    light = illumination(surface.south, surface.east, sun)
    shade = shading(light)
    moisture = rng.normal(0, 0.07) + 0.05 * fractal(shape, rng, 2.2, wavelength_px=200)
    moisture = np.where((cover == m.LAKE) | (cover == m.SNOW), 0, moisture) * (1 - 0.8 * green)
    wavelength = np.linspace(-0.5, 0.5, len(BANDS))
    gain = GREEN - DORMANT
    image = np.empty((len(BANDS), *shape), np.float32)
    for k in range(len(BANDS)):  # a band at a time, so that memory stays small
        own = DORMANT[cover, k] + green * gain[cover, k]
        mixed = DORMANT[surface.partner, k] + other * gain[surface.partner, k]
        value = own + surface.shared * (mixed - own)
        value *= surface.bright * (1 + wavelength[k] * surface.tint) * (1 - WETNESS[k] * moisture)
        value += snow * (DORMANT[m.SNOW, k] * (0.93 + 0.4 * (surface.bright - 1)) - value)
        image[k] = gaussian_filter(value * shade, _BLUR_PX)
    return Ground(image, snow.astype(np.float32), light)


def _snow(surface: Surface, day: float, rng: np.random.Generator) -> Array:
    """Return the share of seasonal snow; trees, roofs and water hold less of it."""
    line = np.interp(day, _SNOW_DAYS, _SNOW_LINE) + rng.normal(0, 0.03)
    patchy = 0.05 * fractal(surface.cover.shape, rng, 1.8, wavelength_px=80)
    snow = smoothstep(surface.growth.height + patchy, line - 0.06, line + 0.06)
    return snow * _by_class(_SNOW_HELD, 1.0)[surface.cover]


def _by_class(values: dict[int, float], other: float) -> Array:
    """Return a value for each of the twelve classes: a given one, or the same for all others."""
    return np.array([values.get(k, other) for k in range(len(SHARED))])
