"""Scene classification (SCL) of Sentinel-2 Level-2A: what each pixel is, cloud or land.

Codes and names as in the products' own metadata; colours as in ESA's Sentinel-2 Level-2A documentation.
"""

from __future__ import annotations

from eolab.data.schemes import ClassScheme

SCL = ClassScheme(
    name="Sentinel-2 scene classification",
    codes=tuple(range(12)),
    names=(
        "No data",
        "Saturated or defective",
        "Dark area or topographic shadow",
        "Cloud shadow",
        "Vegetation",
        "Not vegetated",
        "Water",
        "Unclassified",
        "Cloud, medium probability",
        "Cloud, high probability",
        "Thin cirrus",
        "Snow or ice",
    ),
    colors=(
        "#000000",
        "#ff0000",
        "#2f2f2f",
        "#643200",
        "#00a000",
        "#ffe65a",
        "#0000ff",
        "#808080",
        "#c0c0c0",
        "#ffffff",
        "#64c8ff",
        "#ff96ff",
    ),
)
SNOW = 11
CLEAR = (4, 5, 6, 7)
"""Codes that are taken as clear by default; add :data:`SNOW` where snow is a class of interest."""
