"""Sentinel-2's bands: wavelengths, native pixel sizes, and which product holds which at what pixel size.

Central wavelengths are those of Sentinel-2A as the products' own metadata state them.
"""

import csv
import re
from pathlib import Path
from typing import Literal, NamedTuple

from eolab.core.errors import ParameterError, did_you_mean

Level = Literal["L1C", "L2A"]
RESOLUTIONS_M = (10, 20, 60)


class Band(NamedTuple):
    """One spectral band.

    Attributes:
        name: ``B01`` to ``B12`` or ``B8A``.
        center_nm: Central wavelength in nanometres.
        resolution_m: Native pixel size in metres.
        title: What the band is called.
    """

    name: str
    center_nm: float
    resolution_m: int
    title: str


_ROWS = csv.DictReader(Path(__file__).with_name("bands.csv").read_text(encoding="utf-8").splitlines())
SENTINEL2 = {
    row["name"]: Band(row["name"], float(row["center_nm"]), int(row["resolution_m"]), row["title"])
    for row in _ROWS
}
"""All 13 bands, in the order of ``band_id`` 0 to 12 in the products' metadata."""

L1C_BANDS = tuple(SENTINEL2)
L2A_BANDS = tuple(name for name in SENTINEL2 if name != "B10")
"""The twelve bands that Level-2A holds."""

COMMON_NAMES = {  # of the STAC extension for electro-optical data, and of Element 84's files
    **{"coastal": "B01", "blue": "B02", "green": "B03", "red": "B04", "nir": "B08", "nir08": "B8A"},
    **{"rededge1": "B05", "rededge2": "B06", "rededge3": "B07", "nir09": "B09", "cirrus": "B10"},
    **{"swir16": "B11", "swir22": "B12", "swir1": "B11", "swir2": "B12"},
}


def band_shown(channel: str) -> str:
    """Return the band that a channel shows, B04 for ``red``, ``TCI_red`` and ``TOA_B04``; else its name."""
    last = channel.rpartition("_")[2]
    band = COMMON_NAMES.get(last, last)
    return band if band in SENTINEL2 else channel


def normalise_band(name: str) -> str:
    """Return a band's name as the products write it: ``B2``, ``b02`` and ``2`` become ``B02``.

    Raises:
        ParameterError: If no Sentinel-2 band is meant.
    """
    match = re.fullmatch(r"[Bb]?0*(\d{1,2})([Aa]?)", str(name).strip())
    if match:
        number, letter = match.groups()
        normal = f"B{number}A" if letter else f"B{int(number):02d}"
        if normal in SENTINEL2:
            return normal
    raise ParameterError(f"{name!r} is no Sentinel-2 band; {did_you_mean(str(name).upper(), SENTINEL2)}")


def resolutions(band: str, baseline: str = "99.99") -> tuple[int, ...]:
    """Return the pixel sizes in metres that a Level-2A product holds a band at, finest first.

    Args:
        band: A Sentinel-2 band.
        baseline: Processing baseline of the product; B01 is there at 20 m from 04.00 on.

    Returns:
        For example ``(20, 60)`` for B8A; empty where the product does not hold the band.
    """
    finest = 20 if band == "B01" and baseline >= "04.00" else SENTINEL2[band].resolution_m
    special: dict[str, tuple[int, ...]] = {"B08": (10,), "B10": ()}
    return special.get(band, tuple(size for size in RESOLUTIONS_M if size >= finest))


def available(resolution_m: int, baseline: str = "99.99") -> tuple[str, ...]:
    """Return the bands that a Level-2A product holds at one pixel size, in band order.

    Args:
        resolution_m: 10, 20 or 60.
        baseline: Processing baseline of the product, for example ``"02.12"``.
    """
    return tuple(name for name in SENTINEL2 if resolution_m in resolutions(name, baseline))
