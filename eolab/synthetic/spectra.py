"""Surface reflectance and season of each class: the numbers behind the twin, and where they come from.

Two spectra a class, at the height of its season ("green") and out of it ("dormant"), in reflectance (0 to
1) for the twelve bands of Level-2A, and a season: a double logistic in the day of the year (Beck et al.
2006, Remote Sensing of Environment 100:321), with the share of green before and after it.

Origin. All numbers were set by hand, near what samples show; none is a fit. Forest, grassland, shrub and
built-up ground in season start from the class means of the cloud-free summer scenes of a Slovenian patch
(eo-learn's TestEOPatch, Copernicus Sentinel data, Level-1C), brought to the ground by :data:`PATH` and
:data:`TRANSMITTANCE`, which were chosen so that its forest gets the reflectance usual for dark forest.
Cropland, bare soil and snow lie in the range of the Level-2A patches of BigEarthNet (Austria in June,
Portugal in December, Finland in February). The seasons follow the monthly NDVI of the Slovenian patch.
Rock, sand, mineral and water are not in these samples: their numbers are assumed. Mixing and spread between
parcels were raised until a random forest on true labels reached 0.92 on other blocks of the scene of seed
0: that score describes the setting, not the world.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eolab.data.bands import L2A_BANDS

Array = np.ndarray

BANDS = L2A_BANDS
"""B01 to B08, B8A, B09, B11, B12: the order of every spectrum here."""


@dataclass(frozen=True)
class Season:
    """A class's year.

    Attributes:
        before: Share of green before the season, 0 to 1.
        after: Share of green after it.
        start: Day of the year when half of the rise is done.
        rise: Steepness of the rise per day.
        end: Day of the year when half of the fall is done.
        fall: Steepness of the fall per day.
        spread: Standard deviation of start and end between parcels, in days.
    """

    before: float
    after: float
    start: float
    rise: float
    end: float
    fall: float
    spread: float


# B01, B02, B03, B04, B05, B06, B07, B08, B8A, B09, B11, B12 in 1/1000, in the order of the class scheme.
_DORMANT = (
    (70, 88, 108, 124, 140, 164, 178, 190, 200, 198, 228, 192),  # Urban
    (30, 42, 66, 80, 112, 168, 192, 204, 218, 216, 242, 160),  # Grass
    (45, 62, 92, 118, 145, 175, 195, 208, 225, 222, 285, 228),  # Not irrigated crops
    (48, 66, 92, 114, 136, 160, 178, 190, 206, 204, 262, 216),  # Annual crops
    (98, 122, 158, 182, 200, 216, 228, 238, 248, 246, 292, 256),  # Mineral
    (82, 98, 120, 136, 148, 162, 174, 184, 192, 190, 228, 200),  # Rocks
    (92, 118, 158, 190, 212, 228, 242, 252, 264, 262, 306, 262),  # Sand
    (25, 32, 50, 58, 86, 128, 146, 156, 172, 172, 178, 102),  # Broadleaves
    (14, 20, 33, 27, 51, 126, 155, 160, 178, 178, 90, 44),  # Conifers
    (25, 35, 55, 67, 95, 146, 167, 178, 193, 192, 202, 124),  # Shrub
    (40, 45, 42, 25, 22, 18, 16, 15, 14, 14, 8, 6),  # Lake
    (880, 880, 870, 860, 850, 830, 810, 800, 780, 700, 90, 80),  # Snow
)
_GREEN = (
    (56, 70, 92, 92, 126, 204, 234, 246, 260, 258, 210, 150),
    (22, 32, 65, 46, 105, 268, 326, 325, 364, 362, 206, 100),
    (20, 30, 62, 38, 100, 305, 382, 378, 412, 408, 182, 86),
    (18, 28, 62, 34, 98, 318, 405, 400, 435, 430, 176, 76),
    (92, 116, 152, 174, 194, 216, 231, 242, 253, 250, 286, 246),
    (72, 88, 114, 124, 143, 184, 205, 214, 226, 224, 230, 190),
    (86, 111, 152, 180, 204, 228, 244, 255, 268, 265, 298, 250),
    (15, 22, 44, 25, 67, 230, 302, 300, 332, 332, 138, 60),
    (13, 19, 38, 22, 56, 170, 214, 220, 244, 244, 104, 46),
    (18, 26, 50, 33, 84, 246, 312, 310, 346, 346, 168, 78),
    (34, 42, 55, 31, 29, 23, 20, 19, 17, 17, 8, 6),
    (600, 590, 580, 560, 545, 530, 515, 505, 485, 450, 80, 70),
)
DORMANT: Array = np.array(_DORMANT, np.float32) / 1000
"""Reflectance out of season, (class, band)."""
GREEN: Array = np.array(_GREEN, np.float32) / 1000
"""Reflectance at the height of the season, (class, band)."""

SEASONS: tuple[Season, ...] = (
    Season(0.15, 0.15, 110, 0.08, 290, 0.07, 6),  # Urban: gardens and trees
    Season(0.25, 0.30, 98, 0.08, 305, 0.06, 12),  # Grass
    Season(0.32, 0.14, 98, 0.09, 188, 0.13, 16),  # Not irrigated crops: winter cereals
    Season(0.05, 0.07, 155, 0.09, 260, 0.09, 19),  # Annual crops: maize and the like
    Season(0.00, 0.00, 120, 0.08, 285, 0.06, 5),  # Mineral
    Season(0.00, 0.00, 150, 0.08, 265, 0.08, 6),  # Rocks: mosses and cushions
    Season(0.00, 0.00, 120, 0.08, 285, 0.06, 5),  # Sand
    Season(0.02, 0.02, 112, 0.13, 298, 0.10, 5),  # Broadleaves
    Season(0.35, 0.35, 112, 0.06, 298, 0.05, 4),  # Conifers
    Season(0.10, 0.14, 118, 0.09, 294, 0.07, 8),  # Shrub
    Season(0.00, 0.00, 130, 0.05, 285, 0.05, 4),  # Lake: algae and silt
    Season(0.00, 0.00, 150, 0.06, 268, 0.05, 4),  # Snow: dirty firn in summer
)

PARTNER = (1, 9, 1, 1, 5, 1, 9, 8, 7, 1, 6, 5)
"""Index of the class that most often shares a pixel with each class (gardens, weeds, understorey, rubble)."""
SHARED = (0.45, 0.30, 0.26, 0.26, 0.36, 0.32, 0.28, 0.25, 0.23, 0.28, 0.03, 0.12)
"""Standard deviation of the share that the partner takes."""

PATH: Array = np.array([92, 57, 29, 15, 11, 7, 5, 4, 3, 1, 1, 1], np.float32) / 1000
"""Reflectance that a clear atmosphere adds to Level-1C, by band (assumed, see above)."""
TRANSMITTANCE: Array = np.array(
    [0.80, 0.86, 0.90, 0.94, 0.95, 0.95, 0.96, 0.95, 0.97, 0.28, 0.97, 0.95], np.float32
)
"""Share of the surface's reflectance that Level-1C shows, by band (assumed, see above)."""


def to_top_of_atmosphere(reflectance: Array) -> Array:
    """Return what Level-1C would show of surface reflectance (band first) on a clear day."""
    shape = (-1,) + (1,) * (reflectance.ndim - 1)
    return reflectance * TRANSMITTANCE.reshape(shape) + PATH.reshape(shape)
