"""Reading windows of Sentinel-2 images: decode, mask, resample, calibrate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError
from rasterio.windows import Window

from eolab.core.errors import DataError
from eolab.data.layouts.resample import Method, axes, resample, taps
from eolab.data.layouts.sentinel2_index import GDAL_OPTIONS, Acquisition

NODATA = 0
SATURATED = 65535


@dataclass(frozen=True)
class Source:
    """One image file and how its numbers become reflectance: (DN + offset) / quantification."""

    path: str
    grid: GeoBox
    offset: float
    quantification: float


def source_of(item: Acquisition, band: str) -> Source:
    """Return the source of a band of an acquisition whose header was read."""
    path = item.product.gdal_path(item.images[band].name)
    offset = 0.0 if band == "SCL" else item.metadata.offset(band)
    return Source(path, item.headers[band].grid, offset, item.metadata.quantification)


@dataclass(frozen=True)
class SeriesReader:
    """Reads one chunk of a series; dask calls it with the chunk's place.

    Attributes:
        sources: Files by time and band.
        grid: Pixel grid of the whole series.
        resampling: How larger pixels are brought to the grid.
        kind: What the chunk holds: reflectance, DN or classes.
    """

    sources: tuple[tuple[Source, ...], ...]
    grid: GeoBox
    resampling: Literal["nearest", "bilinear"]
    kind: Literal["reflectance", "dn", "scl"]

    @property
    def dtype(self) -> np.dtype:
        """Number type of the series."""
        return np.dtype({"reflectance": "float32", "dn": "uint16", "scl": "uint8"}[self.kind])

    def __call__(self, block_info: Any = None) -> np.ndarray:
        """Read the chunk at ``block_info[None]["array-location"]``, shape (1, 1, y, x)."""
        (time, _), (band, _), rows, columns = block_info[None]["array-location"]
        source = self.sources[time][band]
        return self.read(source, self.grid[slice(*rows), slice(*columns)])[None, None]

    def read(self, source: Source, part: GeoBox) -> np.ndarray:
        """Read a part of one image as (y, x).

        Raises:
            DataError: If the image cannot be decoded.
        """
        method: Method = "nearest" if self.kind == "scl" else self.resampling
        if part.transform.a > source.grid.transform.a and self.kind != "scl":
            method = "average"
        y, x = (taps(*pair, method) for pair in zip(axes(part), axes(source.grid), strict=True))
        dn = read_window(source.path, Window(x.first, y.first, x.last - x.first, y.last - y.first))
        if self.kind == "scl":
            return dn[np.ix_(y.weights.indices, x.weights.indices)]
        values = resample(dn, (dn != NODATA) & (dn != SATURATED), y, x)
        if self.kind == "dn":
            return np.nan_to_num(np.rint(values), nan=NODATA).astype(np.uint16)
        values += np.float32(source.offset)
        values /= np.float32(source.quantification)
        return np.maximum(values, 0, out=values)  # keeps NaN


def read_window(path: str, window: Window) -> np.ndarray:
    """Decode a window of an image's only band.

    Raises:
        DataError: If it cannot be decoded.
    """
    try:
        with rasterio.Env(**GDAL_OPTIONS), rasterio.open(path) as image:
            return image.read(1, window=window)
    except RasterioError:
        raise DataError(
            f"{path} cannot be decoded although its header is sound: fetch the product again or remove it."
        ) from None


def first_unreadable(path: str) -> str:
    """Decode a whole image block by block; return why it cannot be used, empty where it can."""
    try:
        with rasterio.Env(**GDAL_OPTIONS), rasterio.open(path) as image:
            empty = True
            for _, window in image.block_windows(1):
                empty &= not image.read(1, window=window).any()
    except RasterioError:
        return "cannot be decoded"
    return "is all zero (no data)" if empty else ""
