"""The pixels of a GeoTIFF: straight from its bytes where it is plain, else by tifffile, else by GDAL.

Each is several times as slow as the one before and reads more kinds of files. Hundreds of thousands of small
files are plain: one image without compression, its strips one after the other. Their few tags are read here
in a tenth of the time that a library takes, which follows every way a TIFF can be written.
TIFF Revision 6.0 (Adobe, 1992), sections 2 and 8.
"""

import io
import logging
import struct
import warnings
from pathlib import Path

import numpy as np
import rasterio
import tifffile
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from eolab.core.errors import DataError, reason_of

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what it complains of is in the reason
# An image without a place is no fault here. For the whole process, as catch_warnings is not safe in threads.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)

_ORDER = {b"II*\x00": "<", b"MM\x00*": ">"}
_CODE = {3: ("H", 2), 4: ("I", 4)}  # a tag's type, SHORT or LONG: its letter and its bytes
_KIND = {1: "u", 2: "i", 3: "f"}
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _FILL_ORDER = 256, 257, 258, 259, 266
_OFFSETS, _SAMPLES, _COUNTS, _FORMAT = 273, 277, 279, 339
_DEFAULT = dict.fromkeys((_BITS, _COMPRESSION, _FILL_ORDER, _SAMPLES, _FORMAT), (1,))
_READ = {*_DEFAULT, _WIDTH, _HEIGHT, _OFFSETS, _COUNTS}


def read_pixels(path: str | Path) -> np.ndarray:
    """Return the array of a file, axes of length 1 left out: (y, x) for a single image.

    Raises:
        DataError: If the file is missing or neither library can read it.
    """
    remedy = "fetch it again, or leave it out"
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        raise DataError(f"{path} is missing, though the list names it: {remedy}.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): {remedy}.") from None
    plain = read_strips(content)
    if plain is not None:
        return np.squeeze(plain)
    try:
        return np.squeeze(tifffile.imread(io.BytesIO(content)))
    except Exception as error:  # tifffile raises ValueError, zlib.error, struct.error and others
        first = reason_of(error)
    try:
        with rasterio.open(path) as raster:
            return np.squeeze(raster.read())
    except (RasterioError, OSError) as error:
        why = f"tifffile: {first}; GDAL: {reason_of(error)}"
        raise DataError(f"{path} of {len(content):,} bytes is damaged ({why}): {remedy}.") from None


def read_strips(content: bytes) -> np.ndarray | None:
    """Return the image (y, x) of a plain file; None for any other and for a damaged one.

    Args:
        content: The file.
    """
    order = _ORDER.get(content[:4])
    if order is None:
        return None
    try:
        return _image(content, order, _tags(content, order))
    except (struct.error, ValueError, TypeError, KeyError):  # cut short, or tags that make no image
        return None


def _tags(content: bytes, order: str) -> dict[int, tuple[int, ...]]:
    """Return the values of the tags that matter; none where there is a second image."""
    (start,) = struct.unpack_from(f"{order}I", content, 4)
    (count,) = struct.unpack_from(f"{order}H", content, start)
    end = start + 2 + 12 * count
    if struct.unpack_from(f"{order}I", content, end) != (0,):
        return {}
    tags: dict[int, tuple[int, ...]] = {**_DEFAULT}
    for number, (tag, kind, size) in enumerate(struct.iter_unpack(f"{order}HHI4x", content[start + 2 : end])):
        if tag in _READ and kind in _CODE:
            code, width = _CODE[kind]
            place = start + 2 + 12 * number + 8
            if size * width > 4:
                (place,) = struct.unpack_from(f"{order}I", content, place)
            tags[tag] = struct.unpack_from(f"{order}{size}{code}", content, place)
    return tags


def _image(content: bytes, order: str, tags: dict[int, tuple[int, ...]]) -> np.ndarray | None:
    """Return the image; None where it is compressed, of several bands or in pieces."""
    plain = all(tags[tag] == (1,) for tag in (_COMPRESSION, _FILL_ORDER, _SAMPLES))
    offsets, counts = tags[_OFFSETS], tags[_COUNTS]
    if not plain or not offsets or len(offsets) != len(counts):
        return None
    joined = all(offsets[k] + counts[k] == offsets[k + 1] for k in range(len(offsets) - 1))
    (bits,), (form,), (width,), (height,) = (tags[tag] for tag in (_BITS, _FORMAT, _WIDTH, _HEIGHT))
    if not (joined and bits in (8, 16, 32, 64) and form in _KIND):
        return None
    kind = np.dtype(f"{order}{_KIND[form]}{bits // 8}")
    if not 0 < width * height * kind.itemsize == sum(counts):
        return None
    pixels = np.frombuffer(content, kind, width * height, offsets[0])
    return pixels.reshape(height, width).astype(kind.newbyteorder("="))
