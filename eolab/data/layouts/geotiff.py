"""The pixels of a GeoTIFF: straight from its bytes where it is plain, else by tifffile, else by GDAL.

Each is several times as slow as the one before and reads more kinds of files. Hundreds of thousands of small
files are plain: one image without compression, its strips one after the other. Their few tags are read here
in a tenth of the time that a library takes, which follows every way a TIFF can be written.
TIFF Revision 6.0 (Adobe, 1992), sections 2 and 8.
"""

import io
import logging
import os
import re
import stat
import struct
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio
import tifffile
from rasterio.enums import MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from eolab.core.errors import DataError, ParameterError, reason_of
from eolab.data.bands import normalise_band
from eolab.data.layouts.common import reading, spelt_otherwise

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what it complains of is in the reason
# An image without a place is no fault here. For the whole process, as catch_warnings is not safe in threads.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)

_ORDER = {b"II*\x00": "<", b"MM\x00*": ">"}
_CODE = {2: ("B", 1), 3: ("H", 2), 4: ("I", 4)}  # type of a tag, ASCII, SHORT or LONG: its letter, bytes
_KIND = {1: "u", 2: "i", 3: "f"}
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _FILL_ORDER = 256, 257, 258, 259, 266
_OFFSETS, _SAMPLES, _COUNTS, _FORMAT = 273, 277, 279, 339
_METADATA, _NODATA = 42112, 42113  # GDAL's own tags, text
_ROLE = r"role\s*=\s*.{}.[^>]*>([^<]*)"  # in a text that may be cut off
_REDUCED, _MASK = 1, 4  # kinds of further images in a file: smaller copies, and what hides pixels
_DEFAULT = dict.fromkeys((_BITS, _COMPRESSION, _FILL_ORDER, _SAMPLES, _FORMAT), (1,))
_READ = {*_DEFAULT, _WIDTH, _HEIGHT, _OFFSETS, _COUNTS, _METADATA, _NODATA}


AGAIN = "fetch it again, or leave it out"
MOST_PIXELS = 4096 * 4096
"""Pixels of the largest image that is read whole: patches and series of places have far fewer."""


class TooLargeError(DataError):
    """A file declares more than is read."""


class Raster(NamedTuple):
    """The pixels of a file and what it states of them.

    Attributes:
        pixels: The numbers that stand in the file; (y, x) for a single image.
        nodata: The value that means no data; None where the file states none.
        scale: What pixels are multiplied by, 1 where nothing is stated.
        offset: What is added after that, 0 where nothing is stated.
    """

    pixels: np.ndarray
    nodata: float | None = None
    scale: float = 1.0
    offset: float = 0.0

    def values(self) -> np.ndarray:
        """Return pixels * scale + offset as float32, NaN where they are nodata or not finite."""
        numbers = self.pixels.astype(np.float64) if (self.scale, self.offset) != (1, 0) else self.pixels
        values = (numbers * self.scale + self.offset).astype(np.float32)
        if self.nodata is not None:
            values[self.pixels == self.nodata] = np.nan
        values[~np.isfinite(values)] = np.nan
        return values


def read_raster(
    path: str | Path,
    most: int = MOST_PIXELS,
    stated: Mapping[str, float] | None = None,
    sidecars: bool = False,
    band: int = 0,
) -> Raster:
    """Read a file whole, axes of length 1 left out: (y, x) for a single image, or one of its bands.

    What the file's own mask hides has no data.

    Args:
        path: The file.
        most: Most pixels that it may declare; a small file can declare many gigabytes.
        stated: Scale, offset and nodata that go before those of the file.
        sidecars: Whether files beside it, a mask (``.msk``) and facts (``.aux.xml``), count too; to look for
            them takes time where there are many small files.
        band: Number of the band that is read, from 1; 0 for all.

    Raises:
        DataError: If the file is missing, neither library can read it, it holds several images, declares more
            pixels, or its bands have different scales.
    """
    beside = sidecars and any(os.path.exists(f"{path}{end}") for end in (".msk", ".aux.xml"))
    raster, known = _read(path, most, beside) if not band else _read_band(path, most, band), stated or {}
    return Raster(raster.pixels, *(known.get(name, getattr(raster, name)) for name in Raster._fields[1:]))


def _read(path: str | Path, most: int, beside: bool) -> Raster:
    """Read a file by the fastest way that reads all of it."""
    content = _content(path, most)
    plain = None if beside else _plain(path, content)
    if plain is not None:
        return plain._replace(pixels=np.squeeze(plain.pixels))
    first = ""
    try:
        with tifffile.TiffFile(io.BytesIO(content)) as image:
            check_size(path, image.series[0].shape, most)
            kinds = [one.keyframe.subfiletype for one in image.series]
            if sum(not kind & (_REDUCED | _MASK) for kind in kinds) > 1:
                raise DataError(
                    f"{path} holds {len(kinds)} images of different sizes, expected one: {AGAIN}."
                )
            if not beside and not any(kind & _MASK for kind in kinds):
                tags = image.pages.first.tags
                texts = [str(tags[tag].value) if tag in tags else "" for tag in (_METADATA, _NODATA)]
                return _stated(path, np.squeeze(image.asarray()), *texts)
    except DataError:
        raise
    except Exception as error:  # tifffile raises ValueError, zlib.error, struct.error and others
        first = reason_of(error)
    try:
        with rasterio.open(path) as raster:
            check_size(path, (raster.count, *raster.shape), most)
            scale, offset = one_scale(path, raster.scales, raster.offsets)
            return Raster(*_unmasked(raster), scale, offset)
    except (RasterioError, OSError) as error:
        why = f"tifffile: {first}; GDAL: {reason_of(error)}"
        raise DataError(f"{path} of {len(content):,} bytes is damaged ({why}): {AGAIN}.") from None


def _read_band(path: str | Path, most: int, band: int) -> Raster:
    """Read one band of a file of several."""
    with reading(path, errors=(RasterioError,)), rasterio.open(path) as raster:
        check_size(path, (raster.count, *raster.shape), most)
        pixels, nodata = raster.read(band), raster.nodatavals[band - 1]
        if MaskFlags.per_dataset in raster.mask_flag_enums[band - 1]:
            nodata = nodata if nodata is not None else (np.nan if pixels.dtype.kind == "f" else 0)
            pixels[raster.read_masks(band) == 0] = nodata
        return Raster(pixels, nodata, raster.scales[band - 1], raster.offsets[band - 1])


def _content(path: str | Path, most: int) -> bytes:
    """Return the bytes of a file."""
    try:
        with open(path, "rb", buffering=0, opener=_opened) as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise DataError(f"{path} is no file but a device or a pipe: {AGAIN}.")
            check_size(path, (about.st_size // 16,), most)  # bytes of 16 a pixel at most
            return file.read()
    except FileNotFoundError:
        folder, name = os.path.split(path)
        other = spelt_otherwise(name, os.listdir(folder)) if os.path.isdir(folder) else ""
        remedy = f"rename {other}, which lies there" if other else AGAIN
        fault = (
            "is a link that leads nowhere" if os.path.islink(path) else "is missing, though the list names it"
        )
        raise DataError(f"{path} {fault}: {remedy}.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): {AGAIN}.") from None


def _opened(path: str, flags: int) -> int:
    """Open a file; a pipe, which waits for who writes into it, at once."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _unmasked(raster: rasterio.DatasetReader) -> tuple[np.ndarray, float | None]:
    """Return the pixels of an open file and the value that means no data, also for what its mask hides."""
    pixels, nodata = raster.read(), raster.nodata
    if MaskFlags.per_dataset in raster.mask_flag_enums[0]:
        nodata = nodata if nodata is not None else (np.nan if pixels.dtype.kind == "f" else 0)
        pixels[raster.read_masks() == 0] = nodata
    return np.squeeze(pixels), nodata


def check_size(name: str | Path, shape: Sequence[int], most: int = MOST_PIXELS) -> None:
    """Refuse an image that declares more pixels than can be meant, before memory is taken for them.

    Args:
        name: What the file is called.
        shape: Length of each axis, as the file declares.
        most: Most pixels.

    Raises:
        TooLargeError: If there are more.
    """
    size = 1
    for length in shape:
        size *= int(length)
    if size > most:
        declared = " × ".join(f"{length:,}" for length in shape)
        raise TooLargeError(
            f"{name} declares {declared} pixels, expected {most:,} at most: it is damaged or another file; "
            "leave it out."
        )


def one_scale(name: str | Path, scales: Sequence[float], offsets: Sequence[float]) -> tuple[float, float]:
    """Return the scale and the offset that all bands of a file share.

    Raises:
        DataError: If the bands have different ones, or one that cannot be meant.
    """
    scale, offset = scales[0], offsets[0]
    if {*scales} != {scale} or {*offsets} != {offset} or not (np.isfinite([scale, offset]).all() and scale):
        raise DataError(
            f"{name} states the scales {', '.join(map(str, scales))} and the offsets "
            f"{', '.join(map(str, offsets))}, expected one scale, not 0, and one offset for all bands: bring "
            "them to one scale."
        )
    return float(scale), float(offset)


# === Band names ===

_GENERIC = re.compile(r"(band|layer|channel|b)?[ _-]*0*(\d+)", re.IGNORECASE)


def band_order(name: str | Path, descriptions: Sequence[str | None], bands: Sequence[str]) -> list[int]:
    """Return the numbers of a file's bands, from 1, in the order that is expected.

    Names in the file decide. A file without names, or whose names only count, is taken to be in the expected
    order.

    Args:
        name: What the file is called.
        descriptions: What the file says of each band; None or empty where it says nothing. A remark after the
            name, as in ``B04 (reflectance)``, does not count.
        bands: Names that are expected: Sentinel-2's as the products write them, others in small letters.

    Raises:
        DataError: If the names are those of other bands, or only some bands are named.
    """
    texts = [(text or "").strip() for text in descriptions]
    counted = [_GENERIC.fullmatch(text) for text in texts]
    in_order = all(match and int(match[2]) == place for place, match in enumerate(counted, 1))
    natural = list(range(1, len(bands) + 1))
    if len(texts) == len(bands) and (
        in_order or (len(set(texts)) == 1 and band_of(texts[0], bands) not in bands)
    ):
        return natural
    found = [band_of(text, bands) for text in texts]
    if sorted(found) == sorted(bands):
        return [found.index(band) + 1 for band in bands]
    lacking = ", ".join(band for band in bands if band not in found) or "none"
    raise DataError(
        f"{name} names its bands {', '.join(text or 'nothing' for text in texts)}, expected "
        f"{', '.join(bands)} in any order (missing: {lacking}): write these names into the file, or remove "
        "the names if the bands are in this order."
    )


def band_of(text: str, bands: Sequence[str]) -> str:
    """Return which of some bands a description names; the description itself where it names none."""
    word = re.split(r"[\s:;,(\[]", text, maxsplit=1)[0].lower()
    word = {"elevation": "dem"}.get(word, word)
    if word in bands:
        return word
    try:
        return normalise_band(word)
    except ParameterError:
        return text


# === Plain files ===


def _plain(name: str | Path, content: bytes) -> Raster | None:
    """Return what a plain file holds, as :func:`read_raster` does; None for another or a damaged one."""
    order = _ORDER.get(content[:4])
    if order is None:
        return None
    try:
        tags = _tags(content, order)
        pixels = _image(content, order, tags)
    except (struct.error, ValueError, TypeError, KeyError):  # cut short, or tags that make no image
        return None
    if pixels is None or not (_METADATA in tags or _NODATA in tags):
        return None if pixels is None else Raster(pixels)
    texts = (bytes(tags.get(tag, ())).rstrip(b"\0").decode("latin-1") for tag in (_METADATA, _NODATA))
    return _stated(name, pixels, *texts)


def _stated(name: str | Path, pixels: np.ndarray, metadata: str, nodata: str) -> Raster:
    """Return pixels with what the text of GDAL's tags states of them, empty where there is no tag."""
    metadata = re.sub(r"<!--.*?-->", "", metadata, flags=re.DOTALL)
    found = (
        [_number(name, role, text) for text in re.findall(_ROLE.format(role), metadata)]
        for role in ("scale", "offset")
    )
    scales, offsets = ([1.0 if one is None else one for one in numbers] for numbers in found)
    pair = one_scale(name, scales or [1.0], offsets or [0.0])
    return Raster(pixels, _number(name, "nodata value", nodata), *pair)


def _number(name: str | Path, what: str, text: str) -> float | None:
    """Return the number that a tag holds as text, None for none; Windows wrote NaN as ``1.#QNAN``.

    Raises:
        DataError: If it is no number.
    """
    if text.strip().lower() in ("", "none"):
        return None
    try:
        return float("nan" if "#" in text else text)
    except ValueError:
        raise DataError(
            f"{name} states the {what} {text!r:.40}, expected a number: write it into the file, or leave the "
            "file out."
        ) from None


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
