"""A Sentinel-2 series and the CORINE map under it: ``sentinel2/*.SAFE``, ``corine/…/DATA/*.tif``.

Where the truth of the year is known (simulated data), ``truth/land_cover_10m.tif`` holds it as class indices
of :data:`eolab.legends.landcover.LANDCOVER`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rioxarray
import xarray as xr
from rasterio.enums import Resampling
from rasterio.errors import RasterioError

from eolab.errors import DataError
from eolab.legends import IGNORE
from eolab.readers import corine, sentinel2

SERIES = "sentinel2"
MAP = "corine"
TRUTH = Path("truth", "land_cover_10m.tif")


def open_layout(path: Path, **options: Any) -> xr.Dataset:
    """Open the series and its map.

    Args:
        path: Folder with ``sentinel2/`` and ``corine/``.
        **options: As of :func:`eolab.readers.sentinel2.open_series`.

    Returns:
        The series with ``corine`` (y, x) uint16 level-3 codes, 0 = none, by nearest neighbour on its grid,
        and ``truth`` (y, x) uint8 class indices, 255 = none, where the file exists.

    Raises:
        DataError: If a part is missing or cannot be read.
    """
    for part in (SERIES, MAP):
        if not (path / part).is_dir():
            raise DataError(f"{path} has no folder {part}/: expected {SERIES}/*.SAFE and {MAP}/…/DATA/*.tif.")
    dataset = sentinel2.open_series(path / SERIES, **options)
    dataset["corine"] = corine.open_corine(path / MAP, like=dataset)
    if (path / TRUTH).is_file():
        dataset["truth"] = _truth(path / TRUTH, dataset)
    return dataset


def check_layout(path: Path, progress: bool = True) -> pd.DataFrame:
    """Read every image and map of the folder; return file, status and reason."""
    tables = {
        SERIES: sentinel2.check_layout(path / SERIES, progress=progress),
        MAP: corine.check_layout(path / MAP, progress=progress),
    }
    if (path / TRUTH).is_file():
        reason = ""
        try:
            with rioxarray.open_rasterio(path / TRUTH) as truth:  # type: ignore[union-attr]
                truth.load()
        except (RasterioError, OSError) as error:
            reason = f"cannot be read ({error})"
        row = (TRUTH.name, "rejected" if reason else "ok", reason)
        tables[TRUTH.parent.name] = pd.DataFrame([row], columns=["file", "status", "reason"])
    return pd.concat(
        [table.assign(file=part + "/" + table["file"]) for part, table in tables.items()], ignore_index=True
    )


def _truth(file: Path, like: xr.Dataset) -> xr.DataArray:
    """Return the true classes on the grid of the series, by nearest neighbour."""
    try:
        raster = rioxarray.open_rasterio(file)
        assert isinstance(raster, xr.DataArray)
        band = raster.isel(band=0, drop=True).rio.write_nodata(IGNORE)
        target = like[next(iter(like.data_vars))].isel(time=0, band=0, drop=True)
        truth = band.rio.reproject_match(target, resampling=Resampling.nearest)
    except (RasterioError, OSError) as error:
        raise DataError(f"{file} cannot be read ({error}): fetch or make the data set again.") from None
    truth = truth.assign_coords(y=like.y, x=like.x).astype(np.uint8)
    return truth.assign_attrs({"long_name": "true land cover", "nodata": IGNORE})
