"""Materials of the ground: reflectance, season and backscatter, what is green on a day, and radar speckle.

Each material has two spectra, at the height of its season ("green") and out of it ("dormant"), in the twelve
bands of Level-2A; a season, a double logistic in the day of the year (Beck et al. 2006, Remote Sensing of
Environment 100:321) with the share of green before and after it; and backscatter in VV and VH.

All numbers were set by hand, near what samples show; none is a fit. Forest, grassland, shrub and built-up
ground in season start from the class means of the cloud-free summer images of a Slovenian patch (eo-learn's
TestEOPatch, Copernicus Sentinel data, Level-1C), brought to the ground by :data:`PATH` and
:data:`TRANSMITTANCE`, which were chosen so that its forest gets the reflectance usual for dark forest.
Cropland, bare soil and snow lie in the range of the Level-2A patches of Sumbul et al. 2019 (Austria in
June, Portugal in December, Finland in February). The seasons follow the monthly NDVI of the Slovenian patch.
Rock, sand, mineral, water, backscatter and all materials after the first twelve are assumed. Mixing and
spread between parcels were raised until a random forest on true labels reached 0.92 on other blocks of the
Sentinel-2 twin of seed 0: that score describes the setting, not the world.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

from eolab.data.bands import L2A_BANDS

Array = np.ndarray

BANDS = L2A_BANDS
"""B01 to B08, B8A, B09, B11, B12: the order of every spectrum."""

TABLES = Path(__file__).with_name("tables")


def read_table(name: str) -> pd.DataFrame:
    """Read a table of :data:`TABLES` by its file name; the first column becomes the index."""
    return pd.read_csv(TABLES / name, index_col=0, float_precision="round_trip")


_MATERIALS, _SPECTRA, _BANDS = (read_table(f"{name}.csv") for name in ("materials", "spectra", "bands"))
COVERS = read_table("covers.csv")
"""Facts of the first twelve materials: season; texture and snow held in the Sentinel-2 twin, backscatter in
that of image sequences (0 where it does not occur).
"""

INDEX: dict[str, int] = {str(name): k for k, name in enumerate(_MATERIALS.index)}
"""Row of each material, by name."""

URBAN, GRASS, CEREALS, ANNUAL, MINERAL, ROCKS, SAND, BROADLEAVES, CONIFERS, SHRUB, LAKE, SNOW = range(12)
"""The first twelve materials, in the order of :data:`eolab.data.schemes.landcover.LANDCOVER`."""
ASPHALT, SOIL, SEA = (INDEX[name] for name in ("asphalt", "soil", "sea"))


def _spectra(state: str) -> Array:
    """Return the spectra of a state, which the table gives in 1/1000."""
    rows = _SPECTRA[_SPECTRA["state"] == state].loc[list(INDEX), list(BANDS)]
    return rows.to_numpy(np.float32) / 1000


DORMANT: Array = _spectra("dormant")
"""Reflectance out of season, float32 (material, band)."""
GREEN: Array = _spectra("green")
"""Reflectance at the height of the season, float32 (material, band)."""
SIGMA_DB: Array = _MATERIALS[["vv_db", "vh_db"]].to_numpy(np.float32)
"""Backscatter in VV and VH, float32 (material, 2)."""
SNOW_HELD: Array = _MATERIALS["snow_held"].to_numpy(np.float32)
"""Share of snow that lies on each material."""
DRIES: Array = _MATERIALS["dries_in_summer"].to_numpy(bool)
"""Whether each material loses its green where summers are dry."""
SEASON: Array = _MATERIALS["season"].map(INDEX).to_numpy(np.uint8)
"""Material of the first twelve whose season each has, uint8 (material,)."""
SEASONS: Array = COVERS.loc[:, "before":"spread"].to_numpy(np.float32).T
"""Season of the first twelve, float32 (7, material): share of green before and after it, day of the year when
half of the rise is done, its steepness per day, the same for the fall, spread between parcels in days.
"""
PARTNER: Array = COVERS["partner"].map(INDEX).to_numpy(np.uint8)
"""Material that most often shares a pixel with each of the first twelve (gardens, weeds, rubble)."""
SHARED: Array = COVERS["shared"].to_numpy()
"""Standard deviation of the share that the partner takes."""
WILTS: Array = COVERS["wilts"].to_numpy(np.float32)
"""Share of its green that a drought takes from each of the first twelve (assumed)."""

PATH: Array = _BANDS["path"].to_numpy(np.float32) / 1000
"""Reflectance that a clear atmosphere adds to Level-1C, by band (assumed)."""
TRANSMITTANCE: Array = _BANDS["transmittance"].to_numpy(np.float32)
"""Share of the surface's reflectance that Level-1C shows, by band (assumed)."""
CLOUD, GREY_CLOUD = (_BANDS[name].to_numpy(np.float32) for name in ("cloud", "grey_cloud"))
"""Reflectance of two kinds of thick cloud, by band: white, darker in the short-wave infrared."""
SHADOW: Array = _BANDS["shadow"].to_numpy(np.float32)
"""Share of the light that is left in a full cloud shadow, by band: more where the sky is blue."""
WETNESS: Array = _BANDS["wetness"].to_numpy(np.float32)
"""How much moisture darkens the ground, by band, relative to B12."""
SILT: Array = _BANDS["silt"].to_numpy(np.float32) / 1000
"""Reflectance of silty water, by band."""
WAVELENGTH_NM: Array = _BANDS["wavelength_nm"].to_numpy(np.float32)
"""Central wavelength of each band."""
SPECTRUM: Array = np.linspace(-0.5, 0.5, len(BANDS), dtype=np.float32)
"""Place of each band between the ends of the spectrum, -0.5 to 0.5."""
LOOKS = 4.4
"""Equivalent number of looks of ground-range detected products in high resolution, IW mode."""
NEVER = 999.0
"""Day on which a parcel that is not mown is mown."""

_MOWN = 0.45  # share of its green that a meadow loses when mown
_REGROWTH_DAYS = 16.0
_LATER_UP = 30.0  # days that spring comes later at the highest peak
_EARLIER_UP = 20.0


def reflectance(material: int | Array, green: float | Array) -> Array:
    """Return the spectrum of materials at a share of green: dormant at 0, green at 1.

    Args:
        material: Index or indices.
        green: A number, or an array that broadcasts against (..., band).
    """
    return DORMANT[material] + green * (GREEN - DORMANT)[material]


def to_top_of_atmosphere(image: Array) -> Array:
    """Return what Level-1C would show of surface reflectance (band first) on a clear day."""
    shape = (-1,) + (1,) * (image.ndim - 1)
    return image * TRANSMITTANCE.reshape(shape) + PATH.reshape(shape)


class Growth(NamedTuple):
    """What makes a pixel's year differ from its material's.

    Attributes:
        shift: Days of delay in units of the material's spread, (y, x).
        vigour: Factor on the height of the season, (y, x).
        height: Relative height, 0 to 1, (y, x).
        cuts: Days of the year when the parcel is mown, (event, y, x), or :data:`NEVER`; None for no mowing.
        catch: Share of green of a catch crop after the cereals' harvest, (y, x); None for no such crops.
        late_days: Days by which the year's season comes later.
        dryness: Strength of the year's drought, about 1 where it is severe, (y, x); None for no drought.
    """

    shift: Array
    vigour: Array
    height: Array
    cuts: Array | None = None
    catch: Array | None = None
    late_days: float = 0.0
    dryness: Array | None = None


def greenness(growth: Growth, material: Array, day: float) -> Array:
    """Return the share of green, 0 to about 1.1, of each pixel on a day of the year.

    Double logistic: from the share before the season up to 1 around its start and down to that after its end.
    A drought takes a share of that from June on, half of which comes back with the rain of autumn.

    Args:
        growth: What varies between pixels.
        material: Index of the material whose season each pixel has, one of the first twelve, uint8 (y, x).
        day: Day of the year.
    """
    day = day - growth.late_days
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
    if growth.dryness is not None:
        rain = 1 / (1 + np.exp(-0.08 * (day - 275)))
        dry = (1 - 0.5 * rain) / (1 + np.exp(-0.1 * (day - 165)))
        green = green * (1 - np.clip(growth.dryness * WILTS[material] * dry, 0, 0.9))
    return np.clip(green * growth.vigour, 0, 1.15).astype(np.float32)


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
