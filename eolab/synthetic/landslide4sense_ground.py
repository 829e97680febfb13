"""Ground of a region of the Landslide4Sense twin: mountains, valleys with rivers, and what covers them.

Valleys follow the zero line of a smooth random field: the ground rises from it on both sides over a flat
floor to rounded ridges, and gullies cut the flanks. Fields and settlements lie on the floors, forest and
pasture on the slopes, rock high up; clear-cuts, roads and eroded patches are the bare ground that is no
landslide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from eolab.synthetic.landslide4sense_regions import Climate
from eolab.synthetic.noise import fractal, smoothstep
from eolab.synthetic.parcels import make_parcels, parcel_mean
from eolab.synthetic.sun import PIXEL_M, slopes

Array = np.ndarray

WOOD, PASTURE, FIELD, CLEARING, ROCK, GRAVEL, WATER, ROAD, SETTLEMENT = range(9)
"""Codes of :attr:`Ground.cover`."""

_VALLEYS_PX = 340.0  # between two valleys, twice
_MEAN_SLOPE = (0.24, 0.46)  # metres per metre
_FLAT_DEG = 9.0


@dataclass(frozen=True)
class Ground:
    """The land of a region before it slides.

    Attributes:
        height_m: Elevation in metres, float32 (y, x).
        slope_deg: Steepness in degrees, float32 (y, x).
        south: Slope towards south in metres per metre, float32 (y, x).
        east: Slope towards east in metres per metre.
        cover: What the pixel is, uint8 (y, x).
        green: Share of the pixel under green plants, float32 (y, x).
    """

    height_m: Array
    slope_deg: Array
    south: Array
    east: Array
    cover: Array
    green: Array

    def part(self, top: int, left: int, size: int) -> Ground:
        """Return the ground of a square."""
        square = (slice(top, top + size), slice(left, left + size))
        return Ground(*(getattr(self, name)[square] for name in self.__dataclass_fields__))


def make_ground(shape: tuple[int, int], climate: Climate, rng: np.random.Generator) -> Ground:
    """Make the terrain of a region and cover it.

    Args:
        shape: Height and width in pixels of 10 m.
        climate: The region's attributes.
        rng: Random number generator.
    """
    valley = _valleys(shape, rng)
    river = _distance_to_zero(valley)
    height = _height(valley, climate, rng)
    south, east = slopes(height, smooth_px=1.0)
    slope = np.degrees(np.arctan(np.hypot(south, east))).astype(np.float32)
    parcels = make_parcels(shape, rng)
    cover, green = _wild_land(height, slope, climate, rng)
    _parcels(cover, green, parcels, slope, climate, rng)
    _settlements(cover, green, slope, river, rng)
    _roads(cover, green, height, slope, river, rng)
    _river(cover, green, river, rng)
    return Ground(height.astype(np.float32), slope, south, east, cover, green.astype(np.float32))


def _valleys(shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """Return a field whose zero lines are winding valleys, more or less parallel."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    angle, phase = rng.uniform(0, 2 * np.pi, 2)
    wave = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / _VALLEYS_PX + phase)
    return 1.2 * wave + 0.8 * fractal(shape, rng, 4.0, wavelength_px=0.8 * _VALLEYS_PX, smallest_px=20)


def _distance_to_zero(field: Array) -> Array:
    """Return roughly how many pixels away the field's zero line is; far from it more than that."""
    rise = np.hypot(*np.gradient(field))
    return np.abs(field) / np.maximum(rise, 0.5 * rise.mean())


def _height(valley: Array, climate: Climate, rng: np.random.Generator) -> Array:
    """Return the elevation in metres."""
    shape = valley.shape
    rise = np.sqrt(valley**2 + 0.01) - 0.1
    rise = np.where(rise < 0.2, 0.15 * rise, rise - 0.17)  # the flat floor
    flank = smoothstep(rise, 0.02, 0.6)
    gully = np.abs(fractal(shape, rng, 3.2, wavelength_px=60, smallest_px=6))
    detail = fractal(shape, rng, 2.6, wavelength_px=30, smallest_px=3)
    tilt = fractal(shape, rng, 4.0, wavelength_px=max(shape), smallest_px=60)
    shaped = gaussian_filter(rise, 2) + flank * (0.17 * gully + 0.012 * detail) + 0.15 * tilt
    mean_slope = _MEAN_SLOPE[0] + climate.relief * (_MEAN_SLOPE[1] - _MEAN_SLOPE[0])
    shaped *= PIXEL_M * mean_slope / np.hypot(*np.gradient(gaussian_filter(shaped, 1))).mean()
    return 100 + 1500 * climate.altitude**1.5 + shaped - shaped.min()


def _wild_land(
    height: Array, slope: Array, climate: Climate, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Cover the land with forest, pasture and rock; return cover and share of green."""
    shape = height.shape
    relative = (height - height.min()) / np.ptp(height)
    woods = fractal(shape, rng, 2.4, wavelength_px=90, smallest_px=2) + 0.04 * (slope - 20)
    cover = np.where(woods > np.quantile(woods, 0.70 - 0.5 * climate.woods), WOOD, PASTURE).astype(np.uint8)
    density = fractal(shape, rng, 1.8, wavelength_px=60)
    green = np.where(cover == WOOD, 0.88, 0.68 + 0.18 * climate.woods) + 0.07 * density
    worn = fractal(shape, rng, 2.2, wavelength_px=14, smallest_px=2)
    eroded = (cover == PASTURE) & (worn > 2.5 - 0.5 * climate.clearings)
    green = np.where(eroded, green * 0.25, green)
    crag = fractal(shape, rng, 2.0, wavelength_px=26, smallest_px=2) + 2.2 * relative + 0.05 * (slope - 25)
    rock = crag > np.quantile(crag, 0.995 - 0.05 * climate.rock)
    cover[rock] = ROCK
    green[rock] = 0.15 + 0.08 * density[rock]
    return cover, green


def _parcels(
    cover: Array, green: Array, parcels: Array, slope: Array, climate: Climate, rng: np.random.Generator
) -> None:
    """Lay fields on flat land and clear-cuts into forest slopes, parcel by parcel."""
    count = int(parcels.max()) + 1
    steepness = parcel_mean(parcels, gaussian_filter(slope, 2))
    wooded = parcel_mean(parcels, cover == WOOD)
    draw, growth = rng.random((2, count))
    farmed = (steepness < _FLAT_DEG) & (draw < 0.35 + 0.6 * climate.farms)
    crop = np.where(growth < 0.35, 0.3 * growth, 0.45 + 0.5 * growth)
    cut = (steepness > 11) & (wooded > 0.5) & (draw < 0.02 + 0.08 * climate.clearings)
    here = farmed[parcels]
    cover[here] = FIELD
    green[here] = crop[parcels][here]
    here = cut[parcels] & (cover == WOOD)
    cover[here] = CLEARING
    green[here] = (0.08 + 0.4 * growth**2)[parcels][here]


def _settlements(cover: Array, green: Array, slope: Array, river: Array, rng: np.random.Generator) -> None:
    """Put villages on flat ground, with gardens between the roofs."""
    site = fractal(cover.shape, rng, 2.6, wavelength_px=70, smallest_px=6) - 0.06 * slope - 0.004 * river
    here = (site > np.quantile(site, 0.985)) & (slope < 14)
    cover[here] = SETTLEMENT
    green[here] = np.clip(0.35 + 0.3 * rng.standard_normal(int(here.sum())), 0, 0.9)


def _roads(
    cover: Array, green: Array, height: Array, slope: Array, river: Array, rng: np.random.Generator
) -> None:
    """Draw roads of one or two pixels: along the river, along contours, and winding across the land."""
    shape = cover.shape
    wander = fractal(shape, rng, 3.0, wavelength_px=150, smallest_px=10)
    smooth = gaussian_filter(height, 8)
    bend = 12 * fractal(shape, rng, 3.4, wavelength_px=160, smallest_px=14)
    across = fractal(shape, rng, 3.6, wavelength_px=300, smallest_px=16)
    for field in (river - 9 - 2.5 * wander, across, smooth + bend - np.quantile(smooth, 0.5)):
        here = (_distance_to_zero(field) < rng.uniform(0.40, 0.60)) & (slope < 42)
        cover[here] = ROAD
        green[here] = 0.12


def _river(cover: Array, green: Array, river: Array, rng: np.random.Generator) -> None:
    """Let the river run between gravel banks."""
    width = 0.9 + 0.5 * np.clip(fractal(cover.shape, rng, 3.0, wavelength_px=120, smallest_px=8), -1, 2)
    banks = width + np.clip(1.6 * fractal(cover.shape, rng, 2.4, wavelength_px=60, smallest_px=5), 0, 5)
    cover[river < banks] = GRAVEL
    green[river < banks] = 0.08
    cover[river < width] = WATER
    green[river < width] = 0.0
