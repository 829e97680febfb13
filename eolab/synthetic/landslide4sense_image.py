"""Image of a patch of the Landslide4Sense twin: fourteen bands in the scaled units of the published data.

Plants and bare ground share each pixel; texture, sunlight on slopes, haze and the instrument follow. Bands of
20 and 60 m are sampled on their own grid and brought to 10 m linearly, as in the published data.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from eolab.data.bands import SENTINEL2
from eolab.data.layouts.landslide4sense import BANDS
from eolab.synthetic import materials as m
from eolab.synthetic.landslide4sense_ground import SETTLEMENT, Climate, Ground, Scars
from eolab.synthetic.noise import fractal
from eolab.synthetic.sky import Sun, illumination

Array = np.ndarray

MEANS = np.array(
    [0.156, 0.121, 0.107, 0.0931, 0.123, 0.2, 0.234, 0.237, 0.0747, 0.0013, 0.202, 0.137, 18.5, 845.0]
)
"""What each band is divided by: its rounded mean over the training patches of seed 0, the same for all seeds,
in top-of-atmosphere reflectance, degrees of slope and metres."""

_CIRRUS, _SLOPE, _DEM = (BANDS.index(name) for name in ("B10", "slope", "dem"))
# Share of skylight in the light, by band.
_DIFFUSE = (0.55 * (443 / m.WAVELENGTH_NM) ** 1.3 + 0.12).astype(np.float32)[:, None, None]
_CIRRUS_LEVEL = 0.0013

# Row of the spectra of plants and of bare ground for each code of the cover.
_PLANT = np.array([0, 1, 2, 0, 1, 1, 1, 1, 1])
_BARE = np.array([0, 0, 0, 0, 1, 2, 4, 3, 3])

# Tuned: see eolab.synthetic.landslide4sense.
_GRAIN = 0.16  # of the share of plants, pixel to pixel
_SPOTS = 0.05  # share of pixels that are bare by themselves
_BRIGHT = 0.20  # of the brightness, within a patch
_TINT = 0.12  # of the brightness, from one end of the spectrum to the other
_SENSOR = 0.045  # of the instrument, on each band's own grid
_LEVEL = 0.04  # of the brightness, patch to patch


def make_image(ground: Ground, scars: Scars, climate: Climate, rng: np.random.Generator) -> Array:
    """Return the image of a patch with its margin, float64 (y, x, band), in scaled units."""
    shape = ground.cover.shape
    image = _reflectance(ground, scars, climate, rng)  # (band of Level-2A, y, x)
    sun = Sun(zenith=58 - 32 * climate.sun, azimuth=105 + 90 * climate.direction)
    light = np.clip(illumination(ground.south, ground.east, sun), 0.05, 1.9)
    image *= _DIFFUSE + (1 - _DIFFUSE) * light
    haze = m.PATH * (0.9 + 0.8 * climate.haze + 0.15 * rng.standard_normal())
    image = image * m.TRANSMITTANCE[:, None, None] + haze[:, None, None]
    image *= np.exp(_LEVEL * rng.standard_normal() + 0.02 * rng.standard_normal((len(m.BANDS), 1, 1)))
    seen = np.empty((*shape, len(BANDS)))  # (y, x, band)
    for k, name in enumerate(BANDS):
        if name in m.BANDS:
            band = image[m.BANDS.index(name)].astype(np.float32)
            seen[..., k] = _sense(band, SENTINEL2[name].resolution_m // 10, rng)
    level = _CIRRUS_LEVEL * (1 + 0.015 * rng.standard_normal())
    seen[..., _CIRRUS] = _sense(np.full(shape, level, np.float32), 6, rng)
    seen[..., _SLOPE] = ground.slope_deg
    seen[..., _DEM] = ground.height_m
    return np.maximum(seen, 0) / MEANS


def _reflectance(ground: Ground, scars: Scars, climate: Climate, rng: np.random.Generator) -> Array:
    """Mix plants and bare ground in every pixel; return surface reflectance (band, y, x)."""
    shape = ground.cover.shape
    green = ground.green + _GRAIN * rng.standard_normal(shape, dtype=np.float32)
    green = np.where(rng.random(shape) < _SPOTS, 0.25 * green, green)
    green = np.clip(green, 0, 1) * (1 - scars.bare)
    regrowth = np.clip(0.6 * _GRAIN * rng.standard_normal(shape, dtype=np.float32), 0, None)
    green = np.clip(green + regrowth * (scars.bare > 0), 0, 1)
    plants, soils = _plants(climate), _soils(climate, rng)
    kind, soil = _PLANT[ground.cover], _BARE[ground.cover]
    share = np.zeros((len(plants) + len(soils), *shape), np.float32)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    share[kind, rows, columns] = green
    rubble = scars.debris * scars.mask
    share[len(plants) + soil, rows, columns] = (1 - green) * (1 - rubble)
    share[len(plants) + 1] += (1 - green) * rubble
    image = np.tensordot(np.concatenate([plants, soils]).T.astype(np.float32), share, 1)  # (band, y, x)
    grain = 0.7 * fractal(shape, rng, 1.4, wavelength_px=40) + 0.7 * rng.standard_normal(shape)
    roofs = (ground.cover == SETTLEMENT) * np.clip(rng.standard_normal(shape), 0, 3) * 0.55
    image *= np.exp(_BRIGHT * grain + roofs) * scars.light
    image *= 1 + _TINT * m.SPECTRUM[:, None, None] * fractal(shape, rng, 1.0, wavelength_px=40)
    return image


def _plants(climate: Climate) -> Array:
    """Return the spectra of trees, pasture and crops in the region's season, (3, band)."""
    season = 0.15 + 0.85 * climate.season
    conifers = m.reflectance(m.CONIFERS, 0.5 + 0.5 * season)
    broadleaves = m.reflectance(m.BROADLEAVES, season)
    trees = broadleaves + climate.conifers * (conifers - broadleaves)
    return np.stack([trees, m.reflectance(m.GRASS, season), m.reflectance(m.ANNUAL, 0.3 + 0.7 * season)])


def _soils(climate: Climate, rng: np.random.Generator) -> Array:
    """Return the spectra of soil, rock, gravel, sealed ground and water in the region, (5, band)."""
    bright = 0.65 + 0.55 * climate.soil
    wave = np.linspace(-1, 1, len(m.BANDS))
    tint = np.exp((0.05 + 0.30 * climate.red) * np.tanh(3 * (wave + 0.35)))
    soil = m.DORMANT[m.MINERAL] * bright * tint * np.exp(0.08 * rng.standard_normal())
    rock = m.DORMANT[m.ROCKS] * (0.75 + 0.5 * climate.soil)
    gravel = 0.8 * m.DORMANT[m.SAND] * (0.8 + 0.4 * climate.soil)
    return np.stack([soil, rock, gravel, 0.5 * m.DORMANT[m.URBAN] + 0.5 * soil, m.GREEN[m.LAKE] * 1.3])


@lru_cache
def _optics(size: int, factor: int) -> tuple[Array, Array]:
    """Return the matrices that average a side of pixels to a coarser grid and bring it back linearly."""
    count = size // factor
    down = np.kron(np.eye(count), np.full((1, factor), 1 / factor))
    place = (np.arange(size) + 0.5) / factor - 0.5
    low = np.clip(np.floor(place).astype(int), 0, count - 2)
    part = np.clip(place - low, 0, 1)
    up = np.zeros((size, count))
    up[np.arange(size), low] = 1 - part
    up[np.arange(size), low + 1] = part
    return down.astype(np.float32), up.astype(np.float32)


def _sense(band: Array, factor: int, rng: np.random.Generator) -> Array:
    """Return a band as the instrument samples it, with its noise, on the grid of 10 m."""
    down, up = _optics(band.shape[0], factor)
    coarse = down @ band @ down.T if factor > 1 else band
    coarse = coarse * (1 + _SENSOR * rng.standard_normal(coarse.shape, dtype=np.float32))
    return up @ coarse @ up.T if factor > 1 else coarse
