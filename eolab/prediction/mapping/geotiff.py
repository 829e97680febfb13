"""The file of a map: a tiled GeoTIFF of bytes."""

import math
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import rasterio
import rasterio.windows
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError

from eolab.core.errors import DataError
from eolab.core.files import replacing, write_atomically
from eolab.data.schemes import IGNORE
from eolab.prediction.mapping.bands import Bands
from eolab.prediction.mapping.windows import Window

MAX_TILE = 512  # side of the file's tiles, pixels


def write(
    path: Path,
    grid: GeoBox,
    bands: Bands,
    blocks: Iterable[tuple[Window, np.ndarray]],
    block: int,
    tags: dict[str, str],
) -> None:
    """Write a map block by block, check it, and put it in its place in one step.

    The class names stand in GDAL's category names (``<path>.aux.xml``, which QGIS and GDAL read), and with
    codes and colours as JSON in the tag ``classes``.

    Args:
        path: The GeoTIFF.
        grid: Its grid.
        bands: What its bands hold.
        blocks: Windows with their pixels uint8 (band, height, width).
        block: Side of the blocks, a multiple of 16.
        tags: Further tags of the file.

    Raises:
        DataError: If what was written cannot be read back.
    """
    tile = math.gcd(block, MAX_TILE)
    profile = {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": len(bands.names),
        "height": grid.height,
        "width": grid.width,
        "crs": grid.crs,
        "transform": grid.transform,
        "nodata": IGNORE,
        "tiled": True,
        "blockxsize": tile,
        "blockysize": tile,
        "compress": "deflate",
        "interleave": "band",
        "BIGTIFF": "IF_SAFER",
    }
    checks = []
    for file in path.parent.glob(f"{path.name}.*.tmp"):  # of a process that was killed
        file.unlink()
    try:
        with replacing(path) as temporary:
            with rasterio.open(temporary, "w", **profile) as file:
                file.descriptions = bands.names
                file.units = bands.units
                if bands.colors:
                    file.write_colormap(1, bands.colors)
                for number, (unit, more) in enumerate(zip(bands.units, bands.tags, strict=True), start=1):
                    file.update_tags(number, units=unit, **more)
                file.update_tags(**tags)
                for window, pixels in blocks:
                    file.write(pixels, window=rasterio_window(window))
                    checks.append((window, zlib.crc32(pixels.tobytes())))
            with rasterio.open(temporary) as file:  # GDAL does not report a full disk when a file is closed
                for window, checksum in checks:
                    if zlib.crc32(file.read(window=rasterio_window(window)).tobytes()) != checksum:
                        raise DataError("other pixels than were written")
            beside = path.with_name(path.name + ".aux.xml")
            beside.unlink(missing_ok=True)  # of a map that was there before
            if bands.category_names:
                write_atomically(beside, bands.category_names)
    except (RasterioError, DataError, OSError) as error:
        raise DataError(
            f"The map {path} could not be written ({error}): "
            "is the disk full? Make room and run again, finished blocks are kept."
        ) from None


def rasterio_window(window: Window) -> rasterio.windows.Window:
    """Return a window as rasterio has it."""
    return rasterio.windows.Window(window.col, window.row, window.width, window.height)
