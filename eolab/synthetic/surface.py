"""Surface reflectance of the land on a day: spectra, mixed pixels, texture, snow, sunlight on slopes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from eolab.synthetic.landscape import (
    ANNUAL,
    BROADLEAVES,
    CEREALS,
    CONIFERS,
    GRASS,
    LAKE,
    MINERAL,
    ROCKS,
    SAND,
    SHRUB,
    SNOW,
    URBAN,
    Landscape,
)
from eolab.synthetic.noise import fractal, smoothstep
from eolab.synthetic.phenology import Growth, greenness, make_growth
from eolab.synthetic.spectra import BANDS, DORMANT, GREEN, PARTNER, SHARED
from eolab.synthetic.sun import Sun

Array = np.ndarray

# Relative height of the snow line by day of the year; below 0 even the valley is white.
_SNOW_DAYS = (1, 25, 50, 75, 105, 135, 165, 255, 285, 315, 340, 366)
_SNOW_LINE = (0.22, 0.02, 0.28, 0.45, 0.64, 0.82, 1.20, 1.20, 0.80, 0.55, 0.34, 0.22)
_WET = np.array([0.2, 0.25, 0.3, 0.35, 0.35, 0.35, 0.35, 0.35, 0.35, 0.35, 0.8, 1.0], np.float32)
_BLUR_PX = 0.65  # point spread of the 10 m bands
_RELIEF = 0.40  # share of the slope's effect on light that the correction for terrain leaves
_FALLOW = 0.06  # share of the crop parcels that are mostly grass this year
_TEXTURE = {URBAN: 0.20, MINERAL: 0.17, ROCKS: 0.18, SAND: 0.15, LAKE: 0.05, SNOW: 0.04}
_SNOW_HELD = {CONIFERS: 0.10, BROADLEAVES: 0.20, SHRUB: 0.45, URBAN: 0.6, LAKE: 0.0}


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
    by_class = np.full(len(SHARED), 0.06)
    by_class[list(_TEXTURE)] = list(_TEXTURE.values())
    grain = 0.7 * fractal(shape, rng, 1.6, wavelength_px=40) + 0.7 * fractal(shape, rng, 0.6)
    bright = np.exp(by_class[cover] * grain)
    crops = (cover == CEREALS) | (cover == ANNUAL) | (cover == GRASS)
    soil = 0.10 * rng.standard_normal(int(land.parcels.max()) + 1)[parcels]
    bright = np.where(crops, bright * np.exp(soil), bright)
    tint = 0.06 * fractal(shape, rng, 1.5, wavelength_px=60)
    mix = 0.75 * fractal(shape, rng, 1.6, wavelength_px=30) + 0.65 * fractal(shape, rng, 0.5)
    shared = np.clip(np.abs(mix) * np.array(SHARED)[cover], 0, 0.75)
    fallow = (rng.random(int(land.parcels.max()) + 1) < _FALLOW)[parcels]
    shared = np.where(fallow & ((cover == CEREALS) | (cover == ANNUAL)), 0.55 + 0.5 * shared, shared)
    south, east = (land.scene(slope) for slope in land.terrain.gradient())
    return Surface(
        cover=cover,
        growth=make_growth(land, rng),
        partner=np.array(PARTNER, np.uint8)[cover],
        shared=shared.astype(np.float32),
        bright=bright.astype(np.float32),
        tint=tint.astype(np.float32),
        south=south,
        east=east,
    )


def observe(surface: Surface, day: float, sun: Sun, rng: np.random.Generator) -> Ground:
    """Return the land's reflectance at 10 m on a day of the year, without clouds."""
    cover, shape = surface.cover, surface.cover.shape
    green = greenness(surface.growth, cover, day)
    other = greenness(surface.growth, surface.partner, day)
    snow = _snow(surface, day, rng)
    light = illumination(surface.south, surface.east, sun)
    shade = np.clip(1 + _RELIEF * (light - 1), 0.35, 1.35)
    moisture = rng.normal(0, 0.07) + 0.05 * fractal(shape, rng, 2.2, wavelength_px=200)
    moisture = np.where((cover == LAKE) | (cover == SNOW), 0, moisture) * (1 - 0.8 * green)
    wavelength = np.linspace(-0.5, 0.5, len(BANDS))
    image = np.empty((len(BANDS), *shape), np.float32)
    for k in range(len(BANDS)):
        own = DORMANT[cover, k] + green * (GREEN - DORMANT)[cover, k]
        mixed = DORMANT[surface.partner, k] + other * (GREEN - DORMANT)[surface.partner, k]
        value = own + surface.shared * (mixed - own)
        value *= surface.bright * (1 + wavelength[k] * surface.tint) * (1 - _WET[k] * moisture)
        value += snow * (DORMANT[SNOW, k] * (0.93 + 0.4 * (surface.bright - 1)) - value)
        image[k] = gaussian_filter(value * shade, _BLUR_PX)
    return Ground(image, snow.astype(np.float32), light)


def illumination(south: Array, east: Array, sun: Sun) -> Array:
    """Return the cosine of the sun's angle to each slope over that to level ground, at least 0."""
    zenith, azimuth = np.radians(sun.zenith), np.radians(sun.azimuth)
    toward_north, toward_east = np.sin(zenith) * np.cos(azimuth), np.sin(zenith) * np.sin(azimuth)
    normal = np.sqrt(1 + south**2 + east**2)  # the ground's normal is (-east, +south towards north, 1)
    cosine = (np.cos(zenith) - east * toward_east + south * toward_north) / normal
    return np.maximum(cosine / np.cos(zenith), 0).astype(np.float32)


def _snow(surface: Surface, day: float, rng: np.random.Generator) -> Array:
    """Return the share of seasonal snow; trees, roofs and water hold less of it."""
    line = np.interp(day, _SNOW_DAYS, _SNOW_LINE) + rng.normal(0, 0.03)
    patchy = 0.05 * fractal(surface.cover.shape, rng, 1.8, wavelength_px=80)
    snow = smoothstep(surface.growth.height + patchy, line - 0.06, line + 0.06)
    held = np.ones(len(SHARED))
    held[list(_SNOW_HELD)] = list(_SNOW_HELD.values())
    return snow * held[surface.cover]
