"""The simplest TIFF: one image without compression, its strips one after the other.

Hundreds of thousands of small files are of this kind. Their few tags are read here in a tenth of the time
that a library takes, which follows every way a TIFF can be written; any other file is left to the libraries.
TIFF Revision 6.0 (Adobe, 1992), sections 2 and 8.
"""

from __future__ import annotations

import struct

import numpy as np

_ORDER = {b"II*\x00": "<", b"MM\x00*": ">"}
_SHORT, _LONG = 3, 4
_CODE = {_SHORT: ("H", 2), _LONG: ("I", 4)}
_KIND = {1: "u", 2: "i", 3: "f"}

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _FILL_ORDER = 256, 257, 258, 259, 266
_OFFSETS, _SAMPLES, _COUNTS, _FORMAT = 273, 277, 279, 339
_DEFAULT: dict[int, tuple[int, ...]] = {
    _BITS: (1,),
    _COMPRESSION: (1,),
    _FILL_ORDER: (1,),
    _SAMPLES: (1,),
    _FORMAT: (1,),
}
_READ = {*_DEFAULT, _WIDTH, _HEIGHT, _OFFSETS, _COUNTS}
_NEEDED = (_WIDTH, _HEIGHT, _OFFSETS, _COUNTS)


def read_strips(content: bytes) -> np.ndarray | None:
    """Return the image (y, x) of a file of the simplest kind; None for any other and for a damaged one.

    Args:
        content: The file.
    """
    order = _ORDER.get(content[:4])
    if order is None:
        return None
    try:
        tags = _tags(content, order)
        return None if tags is None else _image(content, order, tags)
    except (struct.error, ValueError, TypeError):  # cut short, or numbers that make no image
        return None


def _tags(content: bytes, order: str) -> dict[int, tuple[int, ...]] | None:
    """Return the values of the tags that matter; None where there is a second image or a tag is missing."""
    (start,) = struct.unpack_from(f"{order}I", content, 4)
    (count,) = struct.unpack_from(f"{order}H", content, start)
    end = start + 2 + 12 * count
    (following,) = struct.unpack_from(f"{order}I", content, end)
    tags = dict(_DEFAULT)
    for number, (tag, kind, size) in enumerate(struct.iter_unpack(f"{order}HHI4x", content[start + 2 : end])):
        if tag in _READ and kind in _CODE:
            code, width = _CODE[kind]
            place = start + 2 + 12 * number + 8
            if size * width > 4:
                (place,) = struct.unpack_from(f"{order}I", content, place)
            tags[tag] = struct.unpack_from(f"{order}{size}{code}", content, place)
    return None if following or any(tag not in tags for tag in _NEEDED) else tags


def _image(content: bytes, order: str, tags: dict[int, tuple[int, ...]]) -> np.ndarray | None:
    """Return the image; None where it is compressed, of several bands or in pieces."""
    plain = all(tags[tag] == (1,) for tag in (_COMPRESSION, _FILL_ORDER, _SAMPLES))
    offsets, counts = tags[_OFFSETS], tags[_COUNTS]
    if not plain or not offsets or len(offsets) != len(counts):
        return None
    joined = all(offsets[k] + counts[k] == offsets[k + 1] for k in range(len(offsets) - 1))
    (bits,), (form,) = tags[_BITS], tags[_FORMAT]
    if not (joined and bits in (8, 16, 32, 64) and form in _KIND):
        return None
    kind = np.dtype(f"{order}{_KIND[form]}{bits // 8}")
    (width,), (height,) = tags[_WIDTH], tags[_HEIGHT]
    if not 0 < width * height * kind.itemsize == sum(counts):
        return None
    pixels = np.frombuffer(content, kind, width * height, offsets[0])
    return pixels.reshape(height, width).astype(kind.newbyteorder("="))
