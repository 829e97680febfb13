"""The area and the dates of an entry of the catalogue: what of a series, or of a table, lies in them.

Bounds are (xmin, ymin, xmax, ymax) in the reference system of the data, or in degrees: numbers that can be
degrees are degrees where that system is one of metres.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import odc.geo.xr  # noqa: F401  (registers the .odc accessor)
import pandas as pd
import rioxarray  # noqa: F401  (registers the .rio accessor)
import xarray as xr

from eolab.core.errors import DataError
from eolab.data.layouts.rasters import date_range, of_dates
from eolab.data.layouts.series import Bounds, bounds_in, window_of


def cut_series(
    series: xr.Dataset, name: str, bounds: Bounds | None = None, dates: Sequence[str] | None = None
) -> xr.Dataset:
    """Return the part of a series in an area and between two days.

    Args:
        series: Variables with the axes y and x, and time where there are dates.
        name: Name of the data set, for errors.
        bounds: The area; None for all.
        dates: First and last day; None for all.

    Raises:
        DataError: If nothing is left, or the data set has no places or no dates.
    """
    if bounds is not None:
        grid = series.odc.geobox if {"y", "x"} <= set(series.dims) else None
        if grid is None or grid.crs is None:
            raise DataError(f"Data set {name} has no places: leave 'bounds' out of its entry.")
        rows, columns = window_of(grid, bounds, f"data set {name}")
        series = series.isel(y=rows, x=columns).rio.write_transform()
    if dates is not None:
        if "time" not in series.dims:
            raise DataError(f"Data set {name} has no dates: leave 'dates' out of its entry.")
        days = pd.DatetimeIndex(series["time"].to_numpy()).date.tolist()
        series = series.isel(time=of_dates(days, f"Data set {name}", dates))
    return series


def cut_table(
    table: pd.DataFrame, entry: Any, x: Any, y: Any, crs: Any, column: str = "date"
) -> pd.DataFrame:
    """Return the samples of a table in the area and between the days of an entry, with its ``attrs``.

    Args:
        table: A row a sample, with a column of days.
        entry: Entry of the catalogue.
        x: Place of each sample to the east (N,).
        y: Place of each sample to the north (N,).
        crs: Reference system of the places, one for all or one a sample (N,).
        column: Column of the days.

    Raises:
        DataError: If nothing is left.
    """
    kept = np.ones(len(table), bool)
    if entry.dates:
        first, last = date_range(entry.dates)
        days = pd.to_datetime(table[column]).dt.date
        kept &= ((days >= first) & (days <= last)).to_numpy()
    if entry.bounds:
        systems = pd.Series(np.broadcast_to(np.asarray(crs, object), len(table))).astype(str)
        east, north = np.asarray(x, float), np.asarray(y, float)
        for system, rows in systems.groupby(systems).groups.items():
            west, south, right, upper = bounds_in(system, entry.bounds)
            inside = (east[rows] >= west) & (east[rows] <= right)
            kept[rows] &= inside & (north[rows] >= south) & (north[rows] <= upper)
    if not kept.any():
        raise DataError(f"Data set {entry.name} of {entry.file} has no sample in its bounds and dates.")
    found = table[kept].reset_index(drop=True)
    found.attrs = table.attrs
    return found
