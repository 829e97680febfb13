"""Where the sun stands when the satellite passes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np


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
