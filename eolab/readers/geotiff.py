"""The pixels of a GeoTIFF, tried with tifffile, which is several times as fast, then with GDAL."""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path

import numpy as np
import rasterio
import tifffile
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from eolab.errors import DataError

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what it complains of is in the reason

_UNCOMPRESSED = 1


def read_pixels(path: str | Path) -> np.ndarray:
    """Return the array of a file, axes of length 1 left out: (y, x) for a single image.

    Raises:
        DataError: If the file is missing or neither library can read it.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise DataError(
            f"{path} is missing, though the list names it: fetch it again, or leave it out."
        ) from None
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}): fetch it again, or leave it out."
        ) from None
    try:
        return np.squeeze(_with_tifffile(content))
    except Exception as error:  # tifffile raises ValueError, zlib.error, struct.error and others
        first = _sentence(error)
    try:
        with warnings.catch_warnings(), rasterio.open(path) as file:
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            return np.squeeze(file.read())
    except (RasterioError, OSError) as error:
        why = f"tifffile: {first}; GDAL: {_sentence(error)}"
        raise DataError(
            f"{path} of {len(content):,} bytes is damaged ({why}): fetch it again, or leave it out."
        ) from None


def _with_tifffile(content: bytes) -> np.ndarray:
    """Decode a file; one uncompressed image in one piece is taken from its bytes as it is."""
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        page = file.pages.first
        shape = page.shape
        plain = page.compression == _UNCOMPRESSED and page.is_contiguous and len(file.pages) == 1
        if not (plain and len(shape) == 2 and page.dtype is not None and page.dtype.itemsize > 0):
            return file.asarray()
        kind = page.dtype.newbyteorder(file.byteorder)
        pixels = np.frombuffer(content, kind, count=shape[0] * shape[1], offset=page.dataoffsets[0])
        return pixels.reshape(shape).astype(page.dtype)


def _sentence(error: Exception) -> str:
    """Return the message of an error without its path and full stop."""
    text = str(error.__cause__ or error).split("\n")[0].rstrip(". ")
    return text or type(error).__name__
