"""Class maps at the pixels of an image: the window that it covers, by nearest neighbour."""

from pathlib import Path

import numpy as np
import odc.geo.xr  # noqa: F401  (registers the .odc accessor)
import rasterio
import rioxarray  # noqa: F401  (registers the .rio accessor)
import xarray as xr
from odc.geo.geobox import GeoBox
from rasterio.enums import MaskFlags
from rasterio.warp import Resampling, reproject, transform_bounds
from rasterio.windows import Window

from eolab.core.errors import DataError
from eolab.data.layouts.resample import touched

_MARGIN = 2  # pixels around a window, so that nearest neighbours at its edge are there


def around(
    file: Path, raster: rasterio.DatasetReader, like: xr.DataArray | xr.Dataset
) -> tuple[np.ndarray, GeoBox]:
    """Read the window of a map around an image, and return it with its grid.

    Raises:
        DataError: If the map does not cover the image.
    """
    grid, target = GeoBox.from_rio(raster), like.odc.geobox
    if target is None or target.crs is None:
        raise DataError(
            "The image has no grid: give one of 2 x 2 pixels or more, with a CRS (rio.write_crs)."
        )
    west, south, east, north = bounds = transform_bounds(str(target.crs), raster.crs, *target.boundingbox)
    margin = _MARGIN * max(abs(step) for step in grid.transform[:2])
    rows, columns = touched(grid, (west - margin, south - margin, east + margin, north + margin))
    if rows.start == rows.stop or columns.start == columns.stop:
        where = f"{raster.crs.to_string()} ({', '.join(f'{edge:.0f}' for edge in bounds)})"
        raise DataError(f"{file} does not cover the image, which lies at {where}: choose another raster.")
    return raster.read(1, window=Window.from_slices(rows, columns)), grid[rows, columns]


def onto(codes: np.ndarray, grid: GeoBox, like: xr.DataArray | xr.Dataset, nodata: int) -> xr.DataArray:
    """Return codes at the pixels of an image, by nearest neighbour.

    Args:
        codes: Codes (y, x) on any grid.
        grid: Their grid, north-up or not.
        like: The image (…, y, x) with a CRS.
        nodata: Code of pixels that the map does not cover.
    """
    target = like.odc.geobox
    matched = np.full(target.shape, nodata, codes.dtype)
    reproject(
        codes,
        matched,
        src_transform=grid.transform,
        src_crs=str(grid.crs),
        dst_transform=target.transform,
        dst_crs=str(target.crs),
        src_nodata=nodata,
        dst_nodata=nodata,
        resampling=Resampling.nearest,
    )
    coords = {name: like[name] for name in ("y", "x") if name in like.coords}  # a rotated image has none
    placed = xr.DataArray(matched, coords, ("y", "x"), attrs={"nodata": nodata})
    return placed.rio.write_crs(str(target.crs)).rio.write_transform(target.transform)


def need_map(file: Path, raster: rasterio.DatasetReader) -> None:
    """Refuse a raster without a place, of several bands, or with a mask of its own."""
    if raster.crs is None:
        raise DataError(f"{file} has no coordinate reference system: write it into the file with gdal_edit.")
    if raster.count != 1:
        raise DataError(f"{file} has {raster.count} bands, expected one of class codes: give that alone.")
    if MaskFlags.per_dataset in raster.mask_flag_enums[0]:
        raise DataError(
            f"{file} hides pixels by a mask, which is not read: write the value that means no data in their "
            "place, with gdalwarp -dstnodata VALUE."
        )
