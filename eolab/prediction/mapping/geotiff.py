"""The file of a class map: classes with colours and names in band 1, confidence in band 2."""

import json
import math
import zlib
from collections.abc import Iterable
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import rasterio
import rasterio.windows
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError

from eolab.core.errors import DataError
from eolab.core.files import replacing, write_atomically
from eolab.data.schemes import IGNORE, ClassScheme
from eolab.prediction.mapping.windows import Window

BANDS = ("class", "confidence")
MAX_TILE = 512  # side of the file's tiles, pixels


def write(
    path: Path,
    grid: GeoBox,
    scheme: ClassScheme,
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
        scheme: Its classes.
        blocks: Windows with their pixels uint8 (2, height, width): class index and confidence in percent.
        block: Side of the blocks, a multiple of 16.
        tags: Further tags of the file.

    Raises:
        DataError: If what was written cannot be read back.
    """
    tile = math.gcd(block, MAX_TILE)
    profile = {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": len(BANDS),
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
                _describe(file, scheme, tags)
                for window, pixels in blocks:
                    file.write(pixels, window=_rasterio_window(window))
                    checks.append((window, zlib.crc32(pixels.tobytes())))
            with rasterio.open(temporary) as file:  # GDAL does not report a full disk when a file is closed
                for window, checksum in checks:
                    if zlib.crc32(file.read(window=_rasterio_window(window)).tobytes()) != checksum:
                        raise DataError("other pixels than were written")
            write_atomically(path.with_name(path.name + ".aux.xml"), _category_names(scheme))
    except (RasterioError, DataError, OSError) as error:
        raise DataError(
            f"The map {path} could not be written ({error}): "
            "is the disk full? Make room and run again, finished blocks are kept."
        ) from None


def _describe(file: rasterio.io.DatasetWriter, scheme: ClassScheme, tags: dict[str, str]) -> None:
    """Set colour table, band names and tags."""
    colors = {index: (*bytes.fromhex(color[1:]), 255) for index, color in enumerate(scheme.colors)}
    file.write_colormap(1, {**colors, IGNORE: (0, 0, 0, 0)})
    for band, name in enumerate(BANDS, start=1):
        file.set_band_description(band, name)
    table = scheme.table().reset_index().to_dict("records")
    file.update_tags(1, class_scheme=scheme.name, classes=json.dumps(table), units="class index")
    file.update_tags(2, units="percent")
    file.update_tags(**tags)


def _category_names(scheme: ClassScheme) -> str:
    """Return GDAL's side-car file with the names of the classes."""
    names = "".join(f"<Category>{escape(name)}</Category>" for name in scheme.names)
    band = f'<PAMRasterBand band="1"><CategoryNames>{names}</CategoryNames></PAMRasterBand>'
    return f"<PAMDataset>{band}</PAMDataset>\n"


def _rasterio_window(window: Window) -> rasterio.windows.Window:
    return rasterio.windows.Window(window.col, window.row, window.width, window.height)
