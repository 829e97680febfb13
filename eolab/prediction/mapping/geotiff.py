"""The file of a map: a Cloud-Optimised GeoTIFF with overviews."""

import contextlib
import io
import math
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
import rasterio.windows
import tifffile
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile

from eolab.core.errors import DataError
from eolab.core.files import replacing, write_atomically
from eolab.prediction.mapping.bands import Bands
from eolab.prediction.mapping.windows import Window

SMALL_TILE = 256  # of a file without overviews
MAX_TILE = 512  # side of the file's tiles, pixels; the smallest overview is one
SIDE_CARS = ("{name}.aux.xml", "{stem}.qml")
EXTRA_SAMPLES, UNSPECIFIED = 338, 0  # TIFF's tag of what further bands are, and that they are nothing special


def write(
    path: Path,
    grid: GeoBox,
    bands: Bands,
    blocks: Iterable[tuple[Window, np.ndarray]],
    block: int,
    tags: dict[str, str],
) -> None:
    """Write a map block by block, check it, and put it in its place in one step.

    The file has overviews down to one tile: of classes the nearest pixel, of values their mean. The class
    names stand in GDAL's category names (``<path>.aux.xml``), in a style that QGIS reads (``<name>.qml``),
    and with codes and colours as JSON in the tag ``classes``.

    Args:
        path: The GeoTIFF.
        grid: Its grid.
        bands: What its bands hold.
        blocks: Windows with their pixels (band, height, width).
        block: Side of the blocks, a multiple of 16.
        tags: Further tags of the file.

    Raises:
        DataError: If what was written cannot be read back.
    """
    for file in path.parent.glob(f"{path.name}.*.tmp"):  # of a process that was killed
        file.unlink()
    try:
        with replacing(path) as temporary, contextlib.ExitStack() as scratch:
            plain = temporary.with_name(f"{temporary.name}.plain.tmp")
            scratch.callback(plain.unlink, missing_ok=True)
            checks = _write_plain(plain, grid, bands, blocks, math.gcd(block, MAX_TILE), tags)
            _add_overviews(plain, bands)
            rasterio.shutil.copy(
                plain, temporary, driver="COG", compress="deflate", blocksize=MAX_TILE, bigtiff="if_safer"
            )
            _without_alpha(temporary)
            with rasterio.open(
                temporary
            ) as written:  # GDAL does not report a full disk when it closes a file
                for window, checksum in checks:
                    if zlib.crc32(written.read(window=rasterio_window(window)).tobytes()) != checksum:
                        raise DataError("other pixels than were written")
            for pattern in SIDE_CARS:
                beside = path.with_name(pattern.format(name=path.name, stem=path.stem))
                beside.unlink(missing_ok=True)  # of a map that was there before
                if pattern in bands.beside:
                    write_atomically(beside, bands.beside[pattern])
    except (RasterioError, DataError, OSError) as error:
        raise DataError(
            f"The map {path} could not be written ({error}): "
            "is the disk full? Make room and run again, finished blocks are kept."
        ) from None


def content(grid: GeoBox, bands: Bands, pixels: np.ndarray, tags: dict[str, str]) -> bytes:
    """Return the file of a small map, with colours and without overviews.

    Args:
        grid: Its grid.
        bands: What its bands hold.
        pixels: Pixels (band, height, width).
        tags: Further tags of the file.
    """
    with MemoryFile(ext=".tif") as memory:
        whole = [(Window(0, 0, *grid.shape), pixels)]
        _write_plain(memory.name, grid, bands, whole, SMALL_TILE, tags, colored=True)
        written = io.BytesIO(memory.read())
    _without_alpha(written)
    return written.getvalue()


def _write_plain(
    path: str | Path,
    grid: GeoBox,
    bands: Bands,
    blocks: Iterable[tuple[Window, np.ndarray]],
    tile: int,
    tags: dict[str, str],
    colored: bool = False,
) -> list[tuple[Window, int]]:
    """Write all but overviews, colours only where there will be none; return the checksum of each block."""
    profile = {
        "driver": "GTiff",
        "dtype": bands.dtype,
        "count": len(bands.names),
        "height": grid.height,
        "width": grid.width,
        "crs": grid.crs,
        "transform": grid.transform,
        "nodata": bands.nodata,
        "tiled": True,
        "blockxsize": tile,
        "blockysize": tile,
        "compress": "deflate",
        "zlevel": 1,
        "interleave": "band",
        "BIGTIFF": "IF_SAFER",
    }
    checks = []
    with rasterio.open(path, "w", **profile) as file:
        file.descriptions = bands.names
        file.units = bands.units
        for number, (unit, more) in enumerate(zip(bands.units, bands.tags, strict=True), start=1):
            file.update_tags(number, units=unit, **more)
        file.update_tags(**tags)
        if colored and bands.colors:
            file.write_colormap(1, bands.colors)
        for window, pixels in blocks:
            file.write(pixels, window=rasterio_window(window))
            checks.append((window, zlib.crc32(pixels.tobytes())))
    return checks


def _add_overviews(path: Path, bands: Bands) -> None:
    """Add overviews, then colours: GDAL averages the colours of numbers that have some, not the numbers."""
    with rasterio.open(path, "r+") as file:
        longest = max(file.shape)
        factors = [2**level for level in range(1, 16) if longest > MAX_TILE * 2 ** (level - 1)]
        if factors:
            file.build_overviews(factors, Resampling.nearest if bands.classes else Resampling.average)
    if bands.colors:
        with rasterio.open(path, "r+") as file:
            file.write_colormap(1, bands.colors)


def _without_alpha(path: Path | io.BytesIO) -> None:
    """Undo that GDAL calls the second of two bands alpha where the first one has colours.

    Viewers would show what is less certain as more transparent. The number is changed in its place, which
    keeps the order of the file's parts.
    """
    with tifffile.TiffFile(path, mode="r+") as file:
        for page in file.pages:
            if tag := page.aspage().tags.get(EXTRA_SAMPLES):
                tag.overwrite((UNSPECIFIED,) * tag.count)


def rasterio_window(window: Window) -> rasterio.windows.Window:
    """Return a window as rasterio has it."""
    return rasterio.windows.Window(window.col, window.row, window.width, window.height)
