"""Ground of a place of the SEN12-FLOOD twin, where water stands on a day, and what both sensors see of it."""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter

from eolab.synthetic import materials as m
from eolab.synthetic.patterns import Array, fractal, lowest
from eolab.synthetic.sky import cast_shadow, cloud_opacity

DRY = -1  # day of the onset of a sequence that never floods
_RISE_DAYS, _FALL_DAYS = 3.0, 60.0
_LEFT = 0.55  # share of the flooded land that stays under water for months

# VV, VH by cover: assumed, near values usual for C band at 39 degrees
_SIGMA_DB = m.COVERS[["vv_db", "vh_db"]].to_numpy(np.float32)
_FLOODED_WOOD_DB = (3.0, 0.5)  # double bounce between trunks and water
_FLOODED_TOWN_DB = (1.5, 0.0)
_SMOOTH_DB = 6.0  # that a field loses when it is worked


class Ground(NamedTuple):
    """The land of a place.

    Attributes:
        height: Above the river's bed, in no unit: what is lower floods first; float32 (y, x).
        cover: Class index of the dry land, uint8 (y, x).
        river: Share of the place that is always water.
        peak: Share that is water at the height of the flood.
        wetness: How wet land is that holds no water, 0 to 1.
        worked: Random value that says when a field is worked, -9 where there is none; (y, x).
    """

    height: Array
    cover: Array
    river: float
    peak: float
    wetness: Array
    worked: Array

    def water(self, day: int, onset: int) -> Array:
        """Return where water stands: it follows the terrain, and stays once it has come."""
        share = self.river
        if onset != DRY and day >= onset:
            rise = 1 - np.exp(-(day - onset + 1) / _RISE_DAYS)
            fall = _LEFT + (1 - _LEFT) * np.exp(-(day - onset) / _FALL_DAYS)
            share += (self.peak - self.river) * rise * fall
        return lowest(self.height, share * self.height.size)


def make_ground(size: int, rng: np.random.Generator) -> Ground:
    """Draw the land of a place of ``size`` × ``size`` pixels."""
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


def backscatter(
    ground: Ground, water: Array, day: int, soaked: float, descending: bool, rng: np.random.Generator
) -> Array:
    """Return sigma nought, linear, as an image of Sentinel-1 shows it.

    Args:
        ground: The land.
        water: Where water stands, bool (y, x).
        day: Day of the image: fields are worked at times.
        soaked: How wet the soil is, 0 to 1: rain raises the backscatter of fields.
        descending: Whether the satellite looks from the east.
        rng: Speckle, wind and the day's soil.

    Returns:
        float32 (2, y, x): VV, VH.
    """
    sigma = np.moveaxis(_SIGMA_DB[ground.cover], -1, 0)  # (2, y, x)
    open_land = np.isin(ground.cover, (m.GRASS, m.CEREALS, m.SAND, m.SHRUB))
    sigma = sigma + open_land * (2.2 * soaked * (0.5 + ground.wetness) + rng.normal(0, 0.8))
    worked = np.abs(ground.worked - np.sin(day / 23.0)) < 0.35  # ploughed or harvested: smooth as water
    sigma = sigma - worked * _SMOOTH_DB
    still = _SIGMA_DB[m.LAKE][:, None, None]
    waves = still + m.waves_db(rng, 3.0, 9.0) * np.array([1.0, 0.8], np.float32)[:, None, None]
    wood = sigma + np.array(_FLOODED_WOOD_DB, np.float32)[:, None, None]
    town = sigma + np.array(_FLOODED_TOWN_DB, np.float32)[:, None, None]
    covered = np.where(ground.cover == m.BROADLEAVES, wood, np.where(ground.cover == m.URBAN, town, waves))
    sigma = np.where(water, covered, sigma)
    columns = np.linspace(-0.5, 0.5, ground.cover.shape[1], dtype=np.float32)
    sigma = sigma + (1.0 if descending else -1.0) * columns + rng.normal(0, 0.25)  # incidence, calibration
    texture = 0.7 * fractal(ground.cover.shape, rng, 1.2)
    return m.speckled(sigma + texture, rng).astype(np.float32)


def reflectance(
    ground: Ground, water: Array, green: float, clouds: float, rng: np.random.Generator
) -> tuple[Array, float]:
    """Return the reflectance that Sentinel-2 shows, and the share of the place under clouds.

    Args:
        ground: The land.
        water: Where water stands, bool (y, x).
        green: Height of the season, 0 to 1.
        clouds: Share of the place that shall be under clouds.
        rng: Noise and clouds.

    Returns:
        float32 (band, y, x) for the twelve bands, and the share covered.
    """
    share = np.clip(green + 0.2 * ground.wetness - 0.1, 0, 1)[..., None]
    image = (1 - share) * m.DORMANT[ground.cover] + share * m.GREEN[ground.cover]  # (y, x, band)
    image = image * (1 - 0.25 * ground.wetness[..., None])  # wet soil is darker
    silt = m.SILT * rng.uniform(0.75, 1.25)
    shrub = np.where(ground.cover == m.SHRUB, 0.35, 0.08)
    grown = np.where(ground.cover == m.BROADLEAVES, 0.75, shrub)[..., None]
    image = np.where(water[..., None], grown * image + (1 - grown) * silt, image)
    image = np.moveaxis(image, -1, 0) * (1 + 0.04 * rng.standard_normal((len(m.SILT), *water.shape)))
    return _under_clouds(image, clouds, rng)


def _under_clouds(image: Array, clouds: float, rng: np.random.Generator) -> tuple[Array, float]:
    shape = image.shape[1:]
    field = fractal(shape, rng, 3.0, wavelength_px=rng.uniform(0.5, 1.5) * shape[0])
    opacity = cloud_opacity(field, clouds, (-0.05, 0.4), least=0.01)
    shadow = cast_shadow(opacity, (shape[0] // 12, -shape[1] // 16))
    texture = 1 + 0.1 * fractal(shape, rng, 2.0)
    seen = image * (1 - 0.6 * shadow)
    seen = seen + opacity * (m.GREY_CLOUD[:, None, None] * texture - seen)
    return np.maximum(seen, 0.001).astype(np.float32), float((opacity > 0.3).mean())


def swath_edge(shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """Return which pixels lie inside a swath whose slanted edge crosses the place, bool (y, x)."""
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    slant = 0.15 * (rows / shape[0] - 0.5)
    return columns / shape[1] > rng.uniform(0.05, 0.2) + slant
