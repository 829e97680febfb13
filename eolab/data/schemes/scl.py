"""Scene classification (SCL) of Sentinel-2 Level-2A: what each pixel is, cloud or land.

Codes and names as in the products' own metadata; colours as in ESA's Sentinel-2 Level-2A documentation.
"""

from eolab.data.schemes import ClassScheme

SCL = ClassScheme.numbered(
    "Sentinel-2 scene classification",
    (
        ("No data", "#000000"),
        ("Saturated or defective", "#ff0000"),
        ("Dark area or topographic shadow", "#2f2f2f"),
        ("Cloud shadow", "#643200"),
        ("Vegetation", "#00a000"),
        ("Not vegetated", "#ffe65a"),
        ("Water", "#0000ff"),
        ("Unclassified", "#808080"),
        ("Cloud, medium probability", "#c0c0c0"),
        ("Cloud, high probability", "#ffffff"),
        ("Thin cirrus", "#64c8ff"),
        ("Snow or ice", "#ff96ff"),
    ),
)
SNOW = 11
CLEAR = (4, 5, 6, 7)
"""Codes that are taken as clear by default; add :data:`SNOW` where snow is a class of interest."""
