"""CORINE Land Cover raster, 100 m, EPSG:3035: level-3 codes on its own grid or on that of an image.

The file holds grid codes 1 to 44, or level-3 codes; what is no CORINE class (the explicit 48, the file's
nodata, whichever sign its bytes have) becomes 0. A file in which more than a hundredth of the pixels have
other codes is another map and refused. Classes are resampled by nearest neighbour only; the file may have any
reference system, and its rows need not run from north to south.
"""

import itertools
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import odc.geo.xr  # noqa: F401  (registers the .odc accessor)
import pandas as pd
import rasterio
import rioxarray
import xarray as xr
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from eolab.core.errors import DataError
from eolab.data.ground import pixel_size_m
from eolab.data.layouts.common import attempt, is_clutter, lies_instead, reading, report
from eolab.data.layouts.maps import around, need_map, onto
from eolab.data.schemes.corine import check_coding, recode, recognise

FILE = Path("DATA", "U2018_CLC2018_V2020_20u1.tif")
_SIDE, _PARTS = 256, 8  # pixels a side of the parts that tell the coding, at most as many along each axis


def open_corine(path: str | Path, like: xr.DataArray | xr.Dataset | None = None) -> xr.DataArray:
    """Open a CORINE raster.

    Args:
        path: The GeoTIFF, or the folder of the published product.
        like: An image whose grid the classes are brought to by nearest neighbour; only the window that it
            covers is read. By default the raster's own grid, whole and lazy.

    Returns:
        uint16 (y, x) level-3 codes 111 to 523, 0 where there is no class; on another grid ``attrs["cell_m"]``
        is the side of the raster's own cells.

    Raises:
        DataError: If there is no raster, it cannot be read, has no CRS, does not cover ``like``, or holds
            other codes than CORINE's.
    """
    file = find_raster(Path(path))
    with reading(file, "a CORINE raster", "give the GeoTIFF itself, unpacked, or fetch it again"):
        return _whole(file) if like is None else _onto(file, like)


def find_raster(path: Path) -> Path:
    """Return the GeoTIFF of a CORINE product: the file itself, or the one below a folder.

    Raises:
        DataError: If there is none, or several and none has the published name.
    """
    if path.is_file():
        return path
    published = [file for file in (path / FILE, path / FILE.name) if file.is_file()]
    found = (file for file in path.rglob("*") if file.suffix.lower() in (".tif", ".tiff"))
    files = published or sorted(file for file in found if not is_clutter(file.name))
    if len(files) != 1 and not published:
        instead = f" ({lies_instead(path, FILE.name)})" if not files else ""
        raise DataError(
            f"{path} holds {len(files)} .tif files{instead}: give the CORINE raster itself, e.g. {FILE}."
        )
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
    found: Counter[float] = Counter()
    with reading(file), rasterio.open(file) as raster:
        need_map(file, raster)
        for _, window in raster.block_windows(1):
            values, counts = np.unique(raster.read(1, window=window), return_counts=True)
            found.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        recognise(list(found), raster.nodata, file, np.array(list(found.values())))


def _whole(file: Path) -> xr.DataArray:
    with rasterio.open(file) as source:
        need_map(file, source)
        coding = recognise(_sample(source), source.nodata, file)
        grid = GeoBox.from_rio(source)
    raster = rioxarray.open_rasterio(file, chunks={"x": 4096, "y": 4096})
    assert isinstance(raster, xr.DataArray)
    band = raster.isel(band=0, drop=True)
    recoded = partial(recode, nodata=raster.rio.nodata, coding=coding)
    codes = xr.apply_ufunc(recoded, band, dask="parallelized", output_dtypes=[np.uint16])
    return _finish(codes.rio.write_crs(grid.crs).rio.write_transform(grid.transform))


def _onto(file: Path, like: xr.DataArray | xr.Dataset) -> xr.DataArray:
    """Return the classes at the pixels of another grid; ``like`` is (…, y, x) with a CRS."""
    with rasterio.open(file) as raster:
        need_map(file, raster)
        codes, grid = around(file, raster, like)
        coding = recognise(_sample(raster), raster.nodata, file)
        check_coding(codes, raster.nodata, coding, file)
        codes = recode(codes, raster.nodata, coding)
    return _finish(onto(codes, grid, like, nodata=0)).assign_attrs(cell_m=min(pixel_size_m(grid)))


def _sample(raster: rasterio.DatasetReader) -> np.ndarray:
    """Read parts that are spread over a raster, all of a small one."""
    starts = ([*range(0, size, max(size // _PARTS, _SIDE))] for size in raster.shape)
    windows = (Window(left, top, _SIDE, _SIDE) for top, left in itertools.product(*starts))
    return np.concatenate([raster.read(1, window=window).ravel() for window in windows])


def _finish(codes: xr.DataArray) -> xr.DataArray:
    codes.name = "corine"
    codes.attrs = {"long_name": "CORINE Land Cover, level 3", "nodata": 0}
    return codes
