"""Sentinel-2's bands: wavelengths, native pixel sizes, and which product holds which at what pixel size.

Central wavelengths are those of Sentinel-2A as the products' own metadata state them.
"""

import re
from dataclasses import dataclass
from typing import Literal

from eolab.core.errors import ParameterError, did_you_mean

Level = Literal["L1C", "L2A"]
RESOLUTIONS_M = (10, 20, 60)


@dataclass(frozen=True)
class Band:
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


SENTINEL2: dict[str, Band] = {
    band.name: band
    for band in (
        Band("B01", 442.7, 60, "coastal aerosol"),
        Band("B02", 492.4, 10, "blue"),
        Band("B03", 559.8, 10, "green"),
        Band("B04", 664.6, 10, "red"),
        Band("B05", 704.1, 20, "red edge 1"),
        Band("B06", 740.5, 20, "red edge 2"),
        Band("B07", 782.8, 20, "red edge 3"),
        Band("B08", 832.8, 10, "near infrared"),
        Band("B8A", 864.7, 20, "near infrared, narrow"),
        Band("B09", 945.1, 60, "water vapour"),
        Band("B10", 1373.5, 60, "cirrus"),
        Band("B11", 1613.7, 20, "short-wave infrared 1"),
        Band("B12", 2202.4, 20, "short-wave infrared 2"),
    )
}
"""All 13 bands, in the order of ``band_id`` 0 to 12 in the products' metadata."""

L1C_BANDS = tuple(SENTINEL2)
L2A_BANDS = tuple(name for name in SENTINEL2 if name != "B10")
"""The twelve bands that Level-2A holds."""


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


def resolutions(level: Level, band: str, baseline: str = "99.99") -> tuple[int, ...]:
    """Return the pixel sizes in metres that a product holds a band at, finest first.

    Args:
        level: ``L1C`` (each band at its native pixel size) or ``L2A``.
        band: A Sentinel-2 band, or ``SCL``.
        baseline: Processing baseline of the product; Level-2A holds B01 at 20 m from 04.00 on.

    Returns:
        For example ``(20, 60)`` for B8A of Level-2A; empty where the product does not hold the band.
    """
    if band == "SCL":
        return (20, 60) if level == "L2A" else ()
    band = normalise_band(band)
    native = SENTINEL2[band].resolution_m
    if level == "L1C":
        return (native,)
    if band == "B01" and baseline >= "04.00":
        native = 20
    special: dict[str, tuple[int, ...]] = {"B08": (10,), "B10": ()}
    return special.get(band, tuple(size for size in RESOLUTIONS_M if size >= native))


def available(level: Level, resolution_m: int, baseline: str = "99.99") -> tuple[str, ...]:
    """Return the bands that a product holds at one pixel size, in band order.

    Args:
        level: ``L1C`` or ``L2A``.
        resolution_m: 10, 20 or 60.
        baseline: Processing baseline of the product, for example ``"02.12"``.
    """
    return tuple(name for name in SENTINEL2 if resolution_m in resolutions(level, name, baseline))
