"""A Sentinel-2 series and the CORINE map under it: ``sentinel2/*.SAFE``, ``corine/…/DATA/*.tif``.

In place of products, ``sentinel2/`` may hold images that :mod:`eolab.data.retrieval` has fetched. It may hold
several tiles: a series is of one, and ``corine/`` is one map of all, or ``corine/<tile>/`` that of each.

Where the truth is known (simulated data), ``truth/land_cover_10m_<year>.tif`` holds that of a year, the first
one that of the CORINE map, as class indices of :data:`eolab.data.schemes.landcover.LANDCOVER`; where there
are several tiles, ``truth/<tile>/``.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rasterio
import xarray as xr

from eolab.core.errors import DataError, ParameterError
from eolab.data.layouts import corine, maps, rasters, sentinel2
from eolab.data.layouts.common import attempt, lies_instead, reading, report
from eolab.data.schemes import IGNORE, check_codes, lookup
from eolab.data.schemes.landcover import LANDCOVER

SERIES = "sentinel2"
MAP = "corine"
TRUTH = "truth"
_TILE = re.compile(r"\d{2}[A-Z]{3}")
_NAMED = re.compile(r"_T?(\d{2}[A-Z]{3})_")
_TRUTH = re.compile(r"land_cover_10m_(\d{4})\.tif")


def open_layout(path: Path, tile: str = "", **options: Any) -> xr.Dataset:
    """Open the series of a tile and its map.

    Args:
        path: Folder with ``sentinel2/`` and ``corine/``.
        tile: The tile, such as 31TGL; may be empty where there is one.
        **options: Arguments of :func:`eolab.data.layouts.sentinel2.open_layout`, and ``dates``, the first and
            the last day.

    Returns:
        The series with ``corine`` (y, x) uint16 level-3 codes, 0 = none, by nearest neighbour on its grid,
        and, where its files exist, ``truth`` (year, y, x) uint8 class indices, 255 = none.

    Raises:
        DataError: If a part is missing or cannot be read.
        ParameterError: If there are several tiles and none is chosen, or there is no such tile.
    """
    for part in (SERIES, MAP):
        if not (path / part).is_dir():
            expected = f"expected {SERIES}/*.SAFE and {MAP}/…/DATA/*.tif, {lies_instead(path, part)}"
            raise DataError(f"{path} has no folder {part}/: {expected}.")
    known, tile = tiles(path), tile.strip().upper().removeprefix("T")
    if len(known) > 1 and not tile:
        raise ParameterError(f"{path / SERIES} holds the tiles {', '.join(known)}: choose one with tile=.")
    dataset = _open_series(path / SERIES, tile, **options)
    tile = str(dataset.attrs.get("tile") or tile)
    dataset["corine"] = corine.open_corine(_of_tile(path / MAP, tile), like=dataset)
    if truths := _truths(_of_tile(path / TRUTH, tile)):
        found = [_truth(file, dataset) for file in truths.values()]
        dataset["truth"] = xr.concat(found, pd.Index(list(truths), name="year"))
    return dataset


def tiles(path: Path) -> list[str]:
    """Return the tiles that the names of products or fetched images say, in order."""
    names = (
        file.name
        for pattern in ("*.SAFE*", "*.zip", "*/STAC_*.tif")
        for file in (path / SERIES).glob(pattern)
    )
    return sorted({found[1] for name in names if (found := _NAMED.search(name))})


def _open_series(
    folder: Path, tile: str, resolution_m: int = 10, dates: Sequence[str] | None = None, **options: Any
) -> xr.Dataset:
    """Open products, or fetched images where there are some, of a tile and between two days."""
    chosen = {"tile": tile or None, **options}
    if _fetched(folder):
        return rasters.open_layout(folder, resolution=resolution_m, dates=dates, **chosen)
    series = sentinel2.open_layout(folder, resolution_m=resolution_m, **chosen)
    days = pd.DatetimeIndex(series["time"].to_numpy()).date.tolist()
    return series.isel(time=rasters.of_dates(days, folder, dates))


def _of_tile(folder: Path, tile: str) -> Path:
    """Return the folder of a tile where there is one, else that of all."""
    return folder / tile if tile and (folder / tile).is_dir() else folder


def _fetched(folder: Path) -> bool:
    return next(folder.glob("*/STAC_*.tif"), None) is not None


def check_layout(path: Path, progress: bool = True) -> pd.DataFrame:
    """Read every image and map of the folder; return file, status and reason."""
    tables = {
        SERIES: (rasters if _fetched(path / SERIES) else sentinel2).check_layout(path / SERIES, progress),
        **{_below(path, one): corine.check_layout(one, progress=progress) for one in _parts(path / MAP)},
        **{
            _below(path, one): report((file.name, attempt(_check, file)[1]) for file in _truths(one).values())
            for one in _parts(path / TRUTH)
        },
    }
    return pd.concat(
        [table.assign(file=part + "/" + table["file"]) for part, table in tables.items()], ignore_index=True
    )


def _parts(folder: Path) -> list[Path]:
    """Return the folders of the tiles, or the folder itself where it holds none."""
    found = [one for one in sorted(folder.glob("*")) if one.is_dir() and _TILE.fullmatch(one.name)]
    return found or [folder]


def _below(path: Path, folder: Path) -> str:
    return folder.relative_to(path).as_posix()


def _truths(folder: Path) -> dict[int, Path]:
    """Return the files of the truth by year."""
    files = ((_TRUTH.fullmatch(file.name), file) for file in folder.glob("*.tif"))
    return dict(sorted((int(found[1]), file) for found, file in files if found))


def _check(file: Path) -> None:
    """Read a whole raster."""
    with reading(file), rasterio.open(file) as raster:
        _check_truth(raster.read(1), raster.nodata, file)


def _truth(file: Path, like: xr.Dataset) -> xr.DataArray:
    """Return the true classes on the grid of the series, by nearest neighbour."""
    with reading(file, remedy="fetch or make the data set again"), rasterio.open(file) as raster:
        maps.need_map(file, raster)
        values, grid = maps.around(file, raster, like)
        _check_truth(values, raster.nodata, file)
        classes = lookup(values, {code: code for code in range(len(LANDCOVER)) if code != raster.nodata})
    truth = maps.onto(classes, grid, like, nodata=IGNORE)
    return truth.assign_attrs({"long_name": "true land cover", "nodata": IGNORE})


def _check_truth(values: np.ndarray, nodata: float | None, file: Path) -> None:
    classes = len(LANDCOVER)
    nothing = [IGNORE] if nodata is None or not np.isfinite(nodata) else [IGNORE, int(nodata)]
    check_codes(values, range(classes), nothing, file, f"indices of the study's classes, 0 to {classes - 1}")
