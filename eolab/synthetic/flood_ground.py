"""Ground of a flood scene: height above the river, land cover, and how far the water stands on a day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from eolab.synthetic import materials as m
from eolab.synthetic.flood_plan import DRY
from eolab.synthetic.noise import fractal, lowest

Array = np.ndarray

_RISE_DAYS, _FALL_DAYS = 3.0, 60.0
_LEFT = 0.55  # share of the flooded land that stays under water for months


@dataclass(frozen=True)
class Ground:
    """The land of a scene.

    Attributes:
        height: Above the river's bed, in no unit: what is lower floods first; float32 (y, x).
        cover: Class index of the dry land, uint8 (y, x).
        river: Share of the scene that is always water.
        peak: Share that is water at the height of the flood.
        wetness: How wet land is that holds no water, 0 to 1.
        worked: Tells which fields are worked when.
    """

    height: Array
    cover: Array
    river: float
    peak: float
    wetness: Array
    worked: Array

    def fields_worked(self, day: int) -> Array:
        """Return which fields are smooth on a day, ploughed or harvested: dark to a radar, as water is."""
        return np.abs(self.worked - np.sin(day / 23.0)) < 0.35

    def water(self, day: int, onset: int) -> Array:
        """Return where water stands: it follows the terrain, and stays once it has come."""
        share = self.river
        if onset != DRY and day >= onset:
            rise = 1 - np.exp(-(day - onset + 1) / _RISE_DAYS)
            fall = _LEFT + (1 - _LEFT) * np.exp(-(day - onset) / _FALL_DAYS)
            share += (self.peak - self.river) * rise * fall
        return lowest(self.height, share * self.height.size)


def make_ground(size: int, rng: np.random.Generator) -> Ground:
    """Draw the land of a scene of ``size`` × ``size`` pixels."""
    shape = (size, size)
    hills = fractal(shape, rng, 3.2, wavelength_px=1.2 * size, smallest_px=2)
    height = _valley(size, rng) + 0.35 * hills + 0.05 * fractal(shape, rng, 2.0, wavelength_px=0.2 * size)
    fields = gaussian_filter(fractal(shape, rng, 2.2, wavelength_px=0.35 * size), 1)
    woods = fractal(shape, rng, 2.6, wavelength_px=0.5 * size)
    cover = np.where(fields > 0.3, m.CEREALS, m.GRASS).astype(np.uint8)
    cover[woods > rng.uniform(0.3, 1.2)] = m.BROADLEAVES
    cover[(woods < -1.2) & (fields < 0)] = m.SHRUB
    cover[fractal(shape, rng, 2.6, wavelength_px=0.25 * size) > rng.uniform(1.2, 2.4)] = m.URBAN
    cover[fractal(shape, rng, 2.4, wavelength_px=0.25 * size) > rng.uniform(1.6, 2.6)] = m.SAND
    wetness = np.clip(0.5 + 0.5 * fractal(shape, rng, 2.4, wavelength_px=0.3 * size), 0, 1)
    river = float(rng.uniform(0.01, 0.06))
    peak = river + float(np.exp(rng.uniform(np.log(0.02), np.log(0.25))))
    worked = np.where(cover == m.CEREALS, fractal(shape, rng, 2.4, wavelength_px=0.15 * size), -9)
    return Ground(
        height.astype(np.float32), cover, river, peak, wetness.astype(np.float32), worked.astype(np.float32)
    )


def _valley(size: int, rng: np.random.Generator) -> Array:
    """Return the distance to a winding river, 1 at the far edge."""
    along = np.arange(size)
    middle = size * rng.uniform(0.25, 0.75) + size * rng.uniform(-0.3, 0.3) * (along / size - 0.5)
    for wave, swing in ((0.9, 0.08), (0.35, 0.03)):
        middle = middle + swing * size * np.sin(2 * np.pi * (along / (wave * size) + rng.uniform()))
    distance = np.abs(np.arange(size)[None, :] - middle[:, None]) / size
    return distance.T if rng.random() < 0.5 else distance
