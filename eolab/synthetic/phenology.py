"""How green each pixel is on a day: the season of its material, shifted and scaled by parcel and height."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eolab.synthetic.materials import CEREALS, GRASS, SEASONS

Array = np.ndarray

NEVER = 999.0
"""Day on which a parcel that is not mown is mown."""

_MOWN = 0.45  # share of its green that a meadow loses when mown
_REGROWTH_DAYS = 16.0
_LATER_UP = 30.0  # days that spring comes later at the highest peak
_EARLIER_UP = 20.0


@dataclass(frozen=True)
class Growth:
    """What makes a pixel's year differ from its material's.

    Attributes:
        shift: Days of delay in units of the material's spread, (y, x).
        vigour: Factor on the height of the season, (y, x).
        height: Relative height, 0 to 1, (y, x).
        cuts: Days of the year when the parcel is mown, (event, y, x), or :data:`NEVER`; None for no mowing.
        catch: Share of green of a catch crop after the cereals' harvest, (y, x); None for no such crops.
    """

    shift: Array
    vigour: Array
    height: Array
    cuts: Array | None = None
    catch: Array | None = None


def greenness(growth: Growth, material: Array, day: float) -> Array:
    """Return the share of green, 0 to about 1.1, of each pixel on a day of the year.

    Double logistic: from the share before the season up to 1 around its start and down to that after its end.

    Args:
        growth: What varies between pixels.
        material: Index of the material whose season each pixel has, one of the first twelve, uint8 (y, x).
        day: Day of the year.
    """
    before, after, start, rise, end, fall, spread = (row[material] for row in SEASONS)
    delay = growth.shift * spread
    start = start + delay + _LATER_UP * growth.height
    end = end + 0.6 * delay - _EARLIER_UP * growth.height
    up = 1 / (1 + np.exp(-rise * (day - start)))
    down = 1 / (1 + np.exp(-fall * (day - end)))
    green = before + (1 - before) * up - (1 - after) * down
    if growth.cuts is not None:
        since = day - growth.cuts
        mown = np.where((since >= 0) & (material == GRASS), np.exp(-np.maximum(since, 0) / _REGROWTH_DAYS), 0)
        green = green * (1 - _MOWN * mown.max(axis=0))
    if growth.catch is not None:
        autumn = 1 / (1 + np.exp(-0.1 * (day - 255)))
        green = np.where(material == CEREALS, np.maximum(green, growth.catch * autumn), green)
    return np.clip(green * growth.vigour, 0, 1.15).astype(np.float32)
