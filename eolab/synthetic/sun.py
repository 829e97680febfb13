"""Where the sun stands when the satellite passes, and how much of its light slopes get."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from scipy.ndimage import gaussian_filter

Array = np.ndarray

PIXEL_M = 10.0
_LEFT = 0.40  # share of the slope's effect on light that the correction for terrain leaves


@dataclass(frozen=True)
class Sun:
    """Mean sun angles in degrees; the azimuth counts from north over east."""

    zenith: float
    azimuth: float


def sun_at(time: datetime, longitude: float, latitude: float) -> Sun:
    """Return the sun's position by the usual low-accuracy formulas, good to about half a degree.

    Args:
        time: UTC.
        longitude: Degrees east.
        latitude: Degrees north.
    """
    day = time.timetuple().tm_yday
    year = 2 * np.pi * (day - 1 + (time.hour - 12) / 24) / 365
    # Spencer (1971): declination, and the equation of time in minutes
    declination = (
        0.006918 - 0.399912 * np.cos(year) + 0.070257 * np.sin(year)
        - 0.006758 * np.cos(2 * year) + 0.000907 * np.sin(2 * year)
    )  # fmt: skip
    minutes = 229.18 * (
        0.000075 + 0.001868 * np.cos(year) - 0.032077 * np.sin(year)
        - 0.014615 * np.cos(2 * year) - 0.040849 * np.sin(2 * year)
    )  # fmt: skip
    solar = time.hour * 60 + time.minute + time.second / 60 + 4 * longitude + minutes
    hour = np.radians(solar / 4 - 180)
    place = np.radians(latitude)
    cosine = np.sin(place) * np.sin(declination) + np.cos(place) * np.cos(declination) * np.cos(hour)
    east = -np.cos(declination) * np.sin(hour)
    north = np.cos(place) * np.sin(declination) - np.sin(place) * np.cos(declination) * np.cos(hour)
    azimuth = np.degrees(np.arctan2(east, north)) % 360
    return Sun(float(np.degrees(np.arccos(cosine))), float(azimuth))


def slopes(height_m: Array, smooth_px: float = 0.0) -> tuple[Array, Array]:
    """Return the slope of the ground towards south and towards east, in metres per metre.

    Args:
        height_m: Elevation in metres, (y, x), pixels of 10 m.
        smooth_px: Standard deviation of a Gaussian that smooths it first.
    """
    south, east = np.gradient(gaussian_filter(height_m, smooth_px) if smooth_px else height_m, PIXEL_M)
    return south, east


def illumination(south: Array, east: Array, sun: Sun) -> Array:
    """Return the cosine of the sun's angle to each slope over that to level ground, at least 0."""
    zenith, azimuth = np.radians(sun.zenith), np.radians(sun.azimuth)
    toward_north, toward_east = np.sin(zenith) * np.cos(azimuth), np.sin(zenith) * np.sin(azimuth)
    normal = np.sqrt(1 + south**2 + east**2)  # the ground's normal is (-east, +south towards north, 1)
    cosine = (np.cos(zenith) - east * toward_east + south * toward_north) / normal
    return np.maximum(cosine / np.cos(zenith), 0).astype(np.float32)


def shading(light: Array) -> Array:
    """Return the factor on the reflectance that a correction for terrain leaves of :func:`illumination`."""
    return np.clip(1 + _LEFT * (light - 1), 0.35, 1.35)
