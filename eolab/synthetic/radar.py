"""What a C-band radar sees: backscatter of materials with speckle, and the wind on open water."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

Array = np.ndarray

LOOKS = 4.4
"""Equivalent number of looks of ground-range detected products in high resolution, IW mode."""


def speckled(sigma_db: Array, rng: np.random.Generator, blur_px: float = 0.0) -> Array:
    """Return backscatter (channel, y, x) in linear units with speckle.

    Args:
        sigma_db: Backscatter in dB without speckle.
        rng: Random numbers of the speckle.
        blur_px: Standard deviation of the point spread, before the speckle.
    """
    power = 10 ** (sigma_db / 10)
    if blur_px:
        power = gaussian_filter(power, (0, blur_px, blur_px))
    return power * rng.gamma(LOOKS, 1 / LOOKS, sigma_db.shape)


def waves_db(rng: np.random.Generator, scale_db: float, most_db: float) -> float:
    """Return how much brighter the day's wind makes open water in VV, in dB."""
    return min(rng.gamma(1.5, scale_db), most_db)
