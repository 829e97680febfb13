"""The sun on slopes, clouds and their shadows, and a scene classification with the errors of the real one."""

from datetime import datetime
from typing import NamedTuple

import numpy as np
from scipy.ndimage import binary_dilation, gaussian_filter, uniform_filter

from eolab.synthetic.materials import BANDS, CLOUD, LAKE, MINERAL, SAND, SHADOW, URBAN
from eolab.synthetic.patterns import Array, fractal, smoothstep

PIXEL_M = 10.0
_LEFT = 0.40  # share of the slope's effect on light that the correction for terrain leaves
# Cumulative share of the dates of a Slovenian series (eo-learn's TestEOPatch, 68 dates) up to a cloud share.
_COVER_KNOTS = (0.0, 0.44, 0.53, 0.60, 0.69, 1.0)
_COVER_VALUES = (0.0, 0.05, 0.20, 0.50, 0.80, 1.0)
_NODATA, _SATURATED, _DARK, _CLOUD_SHADOW, _VEGETATION, _BARE, _WATER, _UNCLASSIFIED = range(8)
_CLOUD_MEDIUM, _CLOUD_HIGH, _CIRRUS, _SNOW_ICE = range(8, 12)


class Sun(NamedTuple):
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


class Sky(NamedTuple):
    """What hangs over the scene on one date; all (y, x), 0 to 1.

    Attributes:
        opacity: Share of light that clouds block.
        cirrus: Opacity of thin high clouds.
        shadow: Depth of cloud shadow.
        haze: Reflectance that haze adds in the blue.
    """

    opacity: Array
    cirrus: Array
    shadow: Array
    haze: Array


def cover_shares(count: int) -> Array:
    """Return the cloud shares of ``count`` dates, distributed as in the real series, in rising order."""
    return np.interp((np.arange(count) + 0.5) / count, _COVER_KNOTS, _COVER_VALUES)


def cloud_opacity(field: Array, share: float, edge: tuple[float, float], least: float) -> Array:
    """Return the opacity of clouds, 0 to 1, where a random field is highest.

    Args:
        field: Any field, (y, x).
        share: Share of the scene under clouds, 0 to 1.
        edge: Where the clouds' edge begins and ends, relative to the field's value at that share.
        least: A share that is no higher gives no clouds.
    """
    threshold = np.quantile(field, 1 - share)
    return smoothstep(field, threshold + edge[0], threshold + edge[1]) if share > least else 0 * field


def cast_shadow(opacity: Array, move: tuple[int, int]) -> Array:
    """Return the depth of the shadows of clouds, moved by pixels to the south and to the east."""
    return np.roll(opacity, move, axis=(0, 1)) * (1 - opacity)


def make_sky(shape: tuple[int, int], share: float, sun: Sun, rng: np.random.Generator) -> Sky:
    """Draw the sky of a date.

    Args:
        shape: Height and width.
        share: Share of the scene under clouds.
        sun: Throws the shadows.
        rng: Random number generator.
    """
    field = fractal(shape, rng, 3.0, wavelength_px=rng.uniform(80, 300))
    opacity = cloud_opacity(field, np.clip(share, 0, 1), (-0.08, 0.45), least=0.002)
    height_m = rng.uniform(500, 2200)
    reach = height_m * np.tan(np.radians(sun.zenith)) / 10  # pixels
    away = np.radians(sun.azimuth + 180)
    move = (-round(reach * np.cos(away)), round(reach * np.sin(away)))
    shadow = cast_shadow(opacity, move)
    thin = fractal(shape, rng, 3.2)
    amount = rng.choice([0.0, 0.0, 0.0, 0.12, 0.25]) if share > 0.1 else 0.0
    haze = np.abs(rng.normal(0, 0.003)) * (1 + 0.4 * fractal(shape, rng, 3.0))
    cirrus = amount * smoothstep(thin, 0.4, 1.6)
    return Sky(*(part.astype(np.float32) for part in (opacity, cirrus, shadow, np.maximum(haze, 0))))


def cover_with(sky: Sky, reflectance: Array, rng: np.random.Generator) -> Array:
    """Return reflectance (band, y, x) as seen through the sky."""
    texture = 1 + 0.10 * fractal(sky.opacity.shape, rng, 2.0, wavelength_px=60, smallest_px=2)
    brightness = (0.55 + 0.5 * sky.opacity) * texture
    out = np.empty_like(reflectance)
    for k in range(len(BANDS)):
        hazy = reflectance[k] + sky.haze * (1.2, 1.0, 0.7, 0.5)[min(k, 3)] * (k < 8)
        value = hazy * (1 - sky.shadow * (1 - SHADOW[k]))
        value = value + sky.cirrus * (0.55 * CLOUD[k] - value)
        out[k] = value + sky.opacity * (CLOUD[k] * brightness - value)
    return out


def classify(
    sky: Sky, image: Array, cover: Array, snow: Array, light: Array, rng: np.random.Generator
) -> Array:
    """Return the scene classification, uint8 (y, x), as Sen2Cor would give it, mistakes included.

    Thin cloud borders are missed and bright ground is now and then taken for cloud, as in real products.

    Args:
        sky: Clouds and shadows, on the grid of the classification.
        image: Reflectance with clouds, (band, y, x).
        cover: True class index.
        snow: Share of snow.
        light: Sunlight on the slope relative to level ground.
        rng: Random number generator.
    """
    band = {name: image[k] for k, name in enumerate(BANDS)}
    ndvi = (band["B8A"] - band["B04"]) / np.maximum(band["B8A"] + band["B04"], 1e-3)
    ndsi = (band["B03"] - band["B11"]) / np.maximum(band["B03"] + band["B11"], 1e-3)
    scl = np.full(cover.shape, _BARE, np.uint8)
    scl[ndvi > 0.40] = _VEGETATION
    wetness = np.mean([band[name] for name in ("B8A", "B11", "B12")], axis=0)
    scl[(wetness < 0.05) & (band["B03"] > band["B8A"])] = _WATER
    scl[((light < 0.25) & (ndvi < 0.6)) | ((wetness < 0.045) & (scl != _WATER))] = _DARK
    scl[(ndsi > 0.42) & (band["B03"] > 0.20)] = _SNOW_ICE
    scl[(sky.shadow > 0.45) & (scl != _SNOW_ICE)] = _CLOUD_SHADOW
    scl[sky.cirrus > 0.07] = _CIRRUS
    cloud = uniform_filter(sky.opacity, 3)
    scl[cloud > 0.30] = _CLOUD_MEDIUM
    scl[cloud > 0.62] = _CLOUD_HIGH
    border = binary_dilation(cloud > 0.30) & (cloud <= 0.30)
    scl[border & (rng.random(cover.shape) < 0.3)] = _UNCLASSIFIED
    if rng.random() < 0.30:  # bright roofs and gravel taken for cloud
        bright = np.isin(cover, (URBAN, MINERAL, SAND)) & (band["B02"] > 0.11) & (snow < 0.1)
        chance = smoothstep(fractal(cover.shape, rng, 1.0), 1.0, 2.0)
        scl[bright & (chance > 0.5) & (scl == _BARE)] = _CLOUD_MEDIUM
    scl[(cover == LAKE) & (scl == _DARK)] = _WATER
    scl[band["B02"] > 1.18] = _SATURATED
    scl[image[1] == 0] = _NODATA
    return scl
