"""One patch from a file that somebody brings: HDF5 as published, or a GeoTIFF of the same 14 bands."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader, MemoryFile
from rasterio.warp import transform as to_crs

from eolab.core.errors import DataError, ParameterError
from eolab.data.bands import normalise_band
from eolab.data.layouts import geotiff  # noqa: F401  # silences what GDAL says of a patch without a place
from eolab.data.layouts.landslide4sense_files import (
    BANDS,
    IMAGE_KEY,
    PIXEL_AREA_M2,
    checked_image,
    read_array,
)

EQUAL_AREA = "EPSG:6933"
Source = str | Path | bytes | bytearray | memoryview

_HDF5 = b"\x89HDF\r\n\x1a\n"
_TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")


@dataclass(frozen=True)
class Patch:
    """An image and what is known of its place.

    Attributes:
        image: float32 (y, x, band) in the order of :data:`BANDS`.
        name: Name of the file.
        pixel_area_m2: Area of its centre pixel on the ground.
        crs: Its CRS as text; empty where the file has none (then the area is that of a published patch).
    """

    image: np.ndarray
    name: str
    pixel_area_m2: float
    crs: str


def open_patch(source: Source, name: str = "") -> Patch:
    """Read a patch of any size.

    Args:
        source: A file, or the content of one: HDF5 with ``img`` (y, x, 14), or a GeoTIFF of 14 bands. A
            GeoTIFF's bands are put in order by their descriptions where all 14 name one (``B2`` or ``B02``,
            ``slope``, ``dem``); otherwise they are taken in the order of :data:`BANDS`.
        name: What to call it; by default the name of the file.

    Raises:
        DataError: If it is neither, is damaged, has another number of bands, or its values cannot be those of
            a patch.
    """
    if isinstance(source, str | Path):
        path = Path(source)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror}): choose another file.") from None
        name = name or path.name
    else:
        content, name = bytes(source), name or "The file"
    if content.startswith(_HDF5):
        image = checked_image(_with_bands(read_array(name, io.BytesIO(content), IMAGE_KEY), name), name)
        return Patch(image, name, PIXEL_AREA_M2, "")
    if content.startswith(_TIFF):
        return _geotiff(content, name)
    raise DataError(
        f"{name} is neither HDF5 nor GeoTIFF: choose an image_N.h5 of Landslide4Sense or a GeoTIFF of its "
        f"{len(BANDS)} bands."
    )


def read_patch(source: Source, name: str = "") -> np.ndarray:
    """Return only the image of :func:`open_patch`, float32 (y, x, band)."""
    return open_patch(source, name).image


def _with_bands(image: np.ndarray, name: str) -> np.ndarray:
    """Return an image (y, x, band) after a check of its shape."""
    if image.ndim != 3 or image.shape[-1] != len(BANDS) or 0 in image.shape:
        raise DataError(
            f"{name} holds an image of shape {image.shape}, expected (y, x, {len(BANDS)}) with the bands "
            f"{', '.join(BANDS)}: choose another file."
        )
    return image


def _geotiff(content: bytes, name: str) -> Patch:
    try:
        with MemoryFile(content) as file, file.open() as raster:
            pixels, area, crs = _read(raster, name)
    except (RasterioError, OSError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise DataError(f"{name} cannot be read as a GeoTIFF ({reason}): choose another file.") from None
    empty = np.ma.getmaskarray(pixels).any(axis=0)  # (y, x)
    if empty.any():
        raise DataError(
            f"{name} has no data in {empty.sum()} of {empty.size} pixels, expected in none: choose a covered "
            "window."
        )
    image = np.ascontiguousarray(np.moveaxis(pixels.data, 0, -1))  # (y, x, band)
    return Patch(checked_image(image, name), name, area, crs)


def _read(raster: DatasetReader, name: str) -> tuple[np.ma.MaskedArray, float, str]:
    """Return the pixels (band, y, x), the area of one and the CRS of an open GeoTIFF."""
    if raster.count != len(BANDS):
        raise DataError(
            f"{name} has {raster.count} bands, expected {len(BANDS)} in the order {', '.join(BANDS)}: "
            "choose another file."
        )
    crs = raster.crs.to_string() if raster.crs else ""
    return raster.read(_order(raster), masked=True), _pixel_area_m2(raster), crs


def _order(raster: DatasetReader) -> list[int]:
    """Return the raster's band numbers, from 1, in the order of :data:`BANDS`."""
    named = [_band(text or "") for text in raster.descriptions]
    if sorted(named) == sorted(BANDS):
        return [named.index(band) + 1 for band in BANDS]
    return list(range(1, len(BANDS) + 1))


def _band(text: str) -> str:
    """Return which band a description names; empty where it names none."""
    plain = text.strip().lower()
    if plain in ("slope", "dem"):
        return plain
    try:
        return normalise_band(plain)
    except ParameterError:
        return ""


def _pixel_area_m2(raster: DatasetReader) -> float:
    """Return the area of the centre pixel on the ground, that of a published patch without a CRS.

    Corners are brought to the equal-area projection EPSG:6933, so that degrees and Mercator count right too.
    """
    if not raster.crs:
        return PIXEL_AREA_M2
    row, col = raster.height // 2, raster.width // 2
    corners = [raster.xy(row, col, offset=corner) for corner in ("ul", "ur", "lr", "ll")]
    x, y = (np.array(axis) for axis in to_crs(raster.crs, EQUAL_AREA, *zip(*corners, strict=True)))
    x, y = x - x[0], y - y[0]  # small numbers, so that rounding does not count
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)  # shoelace formula
