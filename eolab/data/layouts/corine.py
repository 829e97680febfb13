"""CORINE Land Cover raster, 100 m, EPSG:3035: level-3 codes on its own grid or on that of an image.

The file holds grid codes 1 to 44; what is no CORINE class (the explicit 48, the file's nodata, whichever sign
its bytes have) becomes 0. Classes are resampled by nearest neighbour only.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rasterio
import rioxarray
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr
from rasterio.windows import Window

from eolab.core.errors import DataError
from eolab.data.layouts.common import attempt, reading, report
from eolab.data.layouts.resample import touched
from eolab.data.schemes.corine import recode

FILE = Path("DATA", "U2018_CLC2018_V2020_20u1.tif")
_MARGIN = 2  # pixels around a window, so that nearest neighbours at its edge are there


def open_corine(path: str | Path, like: xr.DataArray | xr.Dataset | None = None) -> xr.DataArray:
    """Open a CORINE raster.

    Args:
        path: The GeoTIFF, or the folder of the published product.
        like: An image whose grid the classes are brought to by nearest neighbour; only the window that it
            covers is read. By default the raster's own grid, whole and lazy.

    Returns:
        uint16 (y, x) level-3 codes 111 to 523, 0 where there is no class.

    Raises:
        DataError: If there is no raster, it cannot be read, has no CRS, or does not cover ``like``.
    """
    file = find_raster(Path(path))
    with reading(file, "a CORINE raster"):
        return _whole(file) if like is None else _onto(file, like)


def find_raster(path: Path) -> Path:
    """Return the GeoTIFF of a CORINE product: the file itself, or the one below a folder.

    Raises:
        DataError: If there is none, or several and none has the published name.
    """
    if path.is_file():
        return path
    published = [file for file in (path / FILE, path / FILE.name) if file.is_file()]
    files = published or sorted(path.rglob("*.tif"))
    if len(files) != 1 and not published:
        raise DataError(f"{path} holds {len(files)} .tif files: give the CORINE raster itself, e.g. {FILE}.")
    return files[0]


def open_layout(path: Path, **options: Any) -> xr.Dataset:
    """Open the layout ``corine_raster``: a Dataset with ``corine``; options as of :func:`open_corine`."""
    return open_corine(path, **options).to_dataset(name="corine")


def check_layout(path: Path, progress: bool = True) -> pd.DataFrame:
    """Read the whole raster, block by block; return one row: file, status, reason."""
    file = find_raster(path)
    return report([(file.name, attempt(_check, file)[1])])


def _check(file: Path) -> None:
    """Read a whole raster."""
    known = 0
    with reading(file), rasterio.open(file) as raster:
        _need_crs(file, raster.crs)
        for _, window in raster.block_windows(1):
            known += int(np.count_nonzero(recode(raster.read(1, window=window), raster.nodata)))
    if not known:
        raise DataError(f"{file} holds no CORINE class (1 to 44, or 111 to 523).")


def _whole(file: Path) -> xr.DataArray:
    raster = rioxarray.open_rasterio(file, chunks={"x": 4096, "y": 4096})
    assert isinstance(raster, xr.DataArray)
    _need_crs(file, raster.rio.crs)
    band = raster.isel(band=0, drop=True)
    recoded = partial(recode, nodata=raster.rio.nodata)
    codes = xr.apply_ufunc(recoded, band, dask="parallelized", output_dtypes=[np.uint16])
    return _finish(codes.rio.write_crs(raster.rio.crs).rio.write_transform(raster.rio.transform()))


def _onto(file: Path, like: xr.DataArray | xr.Dataset) -> xr.DataArray:
    """Return the classes at the pixels of another grid; ``like`` is (…, y, x) with a CRS."""
    with rasterio.open(file) as raster:
        _need_crs(file, raster.crs)
        grid = GeoBox.from_rio(raster)
        west, south, east, north = bounds = like.rio.transform_bounds(raster.crs)
        margin = _MARGIN * grid.transform.a
        rows, columns = touched(grid, (west - margin, south - margin, east + margin, north + margin))
        if rows.start == rows.stop or columns.start == columns.stop:
            where = f"{raster.crs.to_string()} ({', '.join(f'{edge:.0f}' for edge in bounds)})"
            raise DataError(f"{file} does not cover the image, which lies at {where}: choose another raster.")
        codes = recode(raster.read(1, window=Window.from_slices(rows, columns)), raster.nodata)
    return _finish(onto(wrap_xr(codes, grid[rows, columns], nodata=0), like))


def onto(classes: xr.DataArray, like: xr.DataArray | xr.Dataset) -> xr.DataArray:
    """Return classes (y, x) with a CRS and nodata at the pixels of another image, by nearest neighbour."""
    matched = classes.odc.reproject(like.odc.geobox, resampling="nearest")
    return matched.assign_coords(y=like.y, x=like.x)


def _need_crs(file: Path, crs: Any) -> None:
    if crs is None:
        raise DataError(
            f"{file} has no coordinate reference system: CORINE's is EPSG:3035, write it into the file."
        )


def _finish(codes: xr.DataArray) -> xr.DataArray:
    codes.name = "corine"
    codes.attrs = {"long_name": "CORINE Land Cover, level 3", "nodata": 0}
    return codes
