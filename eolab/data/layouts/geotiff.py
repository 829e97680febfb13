"""The pixels of a GeoTIFF: straight from its bytes where it is plain, else by tifffile, else by GDAL.

Each is several times as slow as the one before and reads more kinds of files.
"""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path

import numpy as np
import rasterio
import tifffile
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from eolab.core.errors import DataError
from eolab.data.layouts.strips import read_strips

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what it complains of is in the reason
# An image without a place is no fault here. For the whole process, as catch_warnings is not safe in threads.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)


def read_pixels(path: str | Path) -> np.ndarray:
    """Return the array of a file, axes of length 1 left out: (y, x) for a single image.

    Raises:
        DataError: If the file is missing or neither library can read it.
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        raise DataError(
            f"{path} is missing, though the list names it: fetch it again, or leave it out."
        ) from None
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}): fetch it again, or leave it out."
        ) from None
    plain = read_strips(content)
    if plain is not None:
        return np.squeeze(plain)
    try:
        return np.squeeze(tifffile.imread(io.BytesIO(content)))
    except Exception as error:  # tifffile raises ValueError, zlib.error, struct.error and others
        first = _sentence(error)
    try:
        with rasterio.open(path) as raster:
            return np.squeeze(raster.read())
    except (RasterioError, OSError) as error:
        why = f"tifffile: {first}; GDAL: {_sentence(error)}"
        raise DataError(
            f"{path} of {len(content):,} bytes is damaged ({why}): fetch it again, or leave it out."
        ) from None


def _sentence(error: Exception) -> str:
    """Return the message of an error without its path and full stop."""
    text = str(error.__cause__ or error).split("\n")[0].rstrip(". ")
    return text or type(error).__name__
