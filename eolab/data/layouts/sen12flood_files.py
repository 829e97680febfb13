"""SEN12-FLOOD's images: a GeoTIFF a polarisation or band, tried with tifffile, then with GDAL, and checked.

Public users of the data set found files that do not open, thousands that are all zero, and SAR images that
the edge of a swath cuts. None of them stops a sequence: each is listed with its reason.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from eolab.core.errors import DataError
from eolab.data.bands import L2A_BANDS
from eolab.data.layouts.geotiff import read_pixels

SENSORS = ("S1", "S2")
OPTICAL_BANDS = L2A_BANDS
MIN_VALID = 0.75
"""Share of pixels with a value below which an image is left out, as users of the data set do."""

SUFFIX = {"S1": "_corrected_{}.tif", "S2": "_{}.tif"}
ITEM = "sen12floods_"
"""Beginning of the name of an image's folder in the collections; there a file is named by its channel."""


def split_of(sequence: str) -> str:
    """Return the published split of a sequence by the name of its folder, empty where it is no such name."""
    if not (sequence.isascii() and sequence.isdecimal()):
        return ""
    return {4: "train", 1: "test", 2: "test"}.get(len(sequence), "")


def files_of(root: str | Path, image: Any) -> dict[str, Path]:
    """Return the file of each channel that an image should have.

    Args:
        root: The folder with the lists or the collections.
        image: A row of :func:`eolab.data.layouts.sen12flood_index.index`.
    """
    suffix = "/{}.tif" if _is_item(image) else SUFFIX[image.sensor]
    channels = image.channels.split("+") if image.channels else []
    return {channel: Path(root) / f"{stem_of(image)}{suffix.format(channel)}" for channel in channels}


def stem_of(image: Any) -> str:
    """Return the beginning of the names of an image's files, below the folder of the data set."""
    return image.filename if _is_item(image) else f"{image.sequence}/{image.filename}"


def _is_item(image: Any) -> bool:
    return image.filename.rpartition("/")[2].startswith(ITEM)


def read_channel(path: str | Path, min_valid: float = MIN_VALID) -> np.ndarray:
    """Read one polarisation or band.

    Args:
        path: The GeoTIFF.
        min_valid: Smallest share of pixels that must have a value.

    Returns:
        float32 (y, x), NaN where there is no value: sigma nought in linear power for Sentinel-1, reflectance
        times 10,000 for Sentinel-2. In both, 0 and below is no value.

    Raises:
        DataError: If the file is missing, cannot be read by either library, is no single image, holds no
            value, or fewer than `min_valid`.
    """
    found = read_pixels(Path(path))
    if found.ndim != 2 or not found.size:
        raise DataError(
            f"{path} holds an array of shape {found.shape}, expected one image (y, x): leave it out."
        )
    values = found.astype(np.float32)
    valid = np.isfinite(values) & (values > 0)
    if not valid.any():
        raise DataError(f"{path} has no value in any pixel, all are 0 or not finite: leave it out.")
    if valid.mean() < min_valid:
        raise DataError(
            f"{path} has values in {valid.mean():.0%} of its pixels, expected {min_valid:.0%} or more: "
            "leave it out, or lower min_valid."
        )
    values[~valid] = np.nan
    return values
