"""How green each pixel is on a day: the class's season, shifted and scaled by parcel, height and chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eolab.synthetic.landscape import ANNUAL, CEREALS, GRASS, Landscape
from eolab.synthetic.noise import fractal
from eolab.synthetic.spectra import SEASONS

Array = np.ndarray

_PARAMETERS = np.array(
    [(s.before, s.after, s.start, s.rise, s.end, s.fall, s.spread) for s in SEASONS], np.float32
).T
_MOWN = 0.45  # share of its green that a meadow loses when mown
_REGROWTH_DAYS = 16.0
_BETWEEN = 0.16  # share of the parcels whose crop grows between the two seasons
_LATER_UP = 30.0  # days that spring comes later at the highest peak
_EARLIER_UP = 20.0


@dataclass(frozen=True)
class Growth:
    """What makes a pixel's year differ from its class's.

    Attributes:
        shift: Days of delay in units of the class's spread, (y, x).
        vigour: Factor on the height of the season, (y, x).
        height: Relative height, 0 to 1, (y, x).
        cuts: Days of the year when the parcel is mown, (event, y, x); 999 for never.
        catch: Share of green of a catch crop after the cereals' harvest, (y, x).
    """

    shift: Array
    vigour: Array
    height: Array
    cuts: Array
    catch: Array


def make_growth(land: Landscape, rng: np.random.Generator) -> Growth:
    """Draw each parcel's sowing, vigour and mowing, and add what varies inside parcels."""
    parcels = land.scene(land.parcels)
    shape = parcels.shape
    count = int(land.parcels.max()) + 1
    shift = 0.9 * rng.standard_normal(count)[parcels] + 0.4 * fractal(shape, rng, 2.0, wavelength_px=60)
    between = (rng.random(count) < _BETWEEN)[parcels]  # spring cereals, early maize: near to each other
    cover = land.scene(land.now)
    shift = shift + between * (1.7 * (cover == CEREALS) - 1.7 * (cover == ANNUAL))
    vigour = 1 + 0.06 * rng.standard_normal(count)[parcels] + 0.07 * fractal(shape, rng, 0.9)
    first, second = rng.normal(152, 10, count), rng.normal(212, 12, count)
    never = 999.0
    pasture = rng.random(count) < 0.35
    cuts = np.stack([np.where(pasture, never, first)[parcels], np.where(pasture, never, second)[parcels]])
    catch = np.where(rng.random(count) < 0.4, rng.uniform(0.3, 0.6, count), 0.0)[parcels]
    fields = (shift, np.clip(vigour, 0.6, 1.2), land.scene(land.terrain.relative), cuts, catch)
    return Growth(*(field.astype(np.float32) for field in fields))


def greenness(growth: Growth, cover: Array, day: float) -> Array:
    """Return the share of green, 0 to about 1.1, of each pixel on a day of the year.

    Double logistic: from ``before`` up to 1 around ``start`` and down to ``after`` around ``end``.

    Args:
        growth: What varies between pixels.
        cover: Class index of each pixel, uint8 (y, x).
        day: Day of the year.
    """
    before, after, start, rise, end, fall, spread = (row[cover] for row in _PARAMETERS)
    delay = growth.shift * spread
    start = start + delay + _LATER_UP * growth.height
    end = end + 0.6 * delay - _EARLIER_UP * growth.height
    up = 1 / (1 + np.exp(-rise * (day - start)))
    down = 1 / (1 + np.exp(-fall * (day - end)))
    green = before + (1 - before) * up - (1 - after) * down
    since = day - growth.cuts
    mown = np.where((since >= 0) & (cover == GRASS), np.exp(-np.maximum(since, 0) / _REGROWTH_DAYS), 0)
    green = green * (1 - _MOWN * mown.max(axis=0))
    autumn = 1 / (1 + np.exp(-0.1 * (day - 255)))
    green = np.where(cover == CEREALS, np.maximum(green, growth.catch * autumn), green)
    return np.clip(green * growth.vigour, 0, 1.15).astype(np.float32)
