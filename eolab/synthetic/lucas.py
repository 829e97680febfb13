"""A table of survey points in the layout of LUCAS, from a map that is true (layout of the survey of 2018)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio.transform
import xarray as xr
from pyproj import Transformer

from eolab.core.files import write_atomically
from eolab.data.schemes import ClassScheme

NOWHERE = 88.888888  # as published where no position was taken


def write_points(
    file: str | Path,
    truth: xr.DataArray,
    scheme: ClassScheme,
    of_code: Mapping[str, str],
    *,
    spacing_m: float = 120.0,
    error_m: float = 0.0,
    unvisited: float = 0.05,
    otherwise: str = "F40",
    seed: int = 0,
) -> Path:
    """Write survey points on a regular grid with the classes of a map.

    Args:
        file: The CSV.
        truth: True class indices (y, x) in a projected reference system.
        scheme: The classes.
        of_code: Name of the class of each LC1 code, see :func:`eolab.data.layouts.lucas.classes`.
        spacing_m: Distance between points; the survey's own is 2 km.
        error_m: Standard deviation of the place that is looked at, along each axis.
        unvisited: Share of the points without a GPS position, and of those that are seen from far away.
        otherwise: LC1 code where the true class has none; by default other bare soil.
        seed: Seed of all that is random.
    """
    rng, grid = np.random.default_rng(seed), truth.odc.geobox
    step = max(1, round(spacing_m / abs(grid.resolution.x)))
    rows, cols = (
        one.ravel() for one in np.mgrid[step // 2 : grid.height : step, step // 2 : grid.width : step]
    )
    x, y = (np.asarray(one) for one in rasterio.transform.xy(grid.transform, rows, cols))
    shift = rng.normal(0, error_m, (2, len(x))) if error_m else np.zeros((2, len(x)))
    seen_row, seen_col = rasterio.transform.rowcol(grid.transform, x + shift[0], y + shift[1])
    at = [np.clip(one, 0, size - 1) for one, size in zip((seen_row, seen_col), grid.shape, strict=True)]
    found = np.asarray(truth)[at[0], at[1]]
    codes: dict[str, list[str]] = {}
    for code, name in of_code.items():
        codes.setdefault(name or otherwise, []).append(code)
    names = [scheme.names[k] if k < len(scheme) else "" for k in found]
    lon, lat = Transformer.from_crs(grid.crs, 4326, always_xy=True).transform(x, y)
    chance = rng.random(len(x))
    absent, far = chance < unvisited, (chance >= unvisited) & (chance < 2 * unvisited)
    table = pd.DataFrame(
        {
            "POINT_ID": 40_000_000 + np.arange(len(x)),
            "NUTS0": "XX",
            "TH_LAT": np.round(lat, 9),
            "TH_LONG": np.round(lon, 9),
            "SURVEY_DATE": "21/06/18",
            "GPS_PREC": np.where(absent, 8888, 5),
            "GPS_LAT": np.where(absent, NOWHERE, np.round(lat, 6)),
            "GPS_EW": np.where(absent, 8, np.where(lon < 0, 2, 1)),
            "GPS_LONG": np.where(absent, NOWHERE, np.round(abs(lon), 6)),
            "OBS_DIST": np.where(far, 180, rng.integers(0, 50, len(x))),
            "OBS_TYPE": np.where(absent, 7, np.where(far, 2, 1)),
            "LC1": [str(rng.choice(codes.get(name, [otherwise]))) for name in names],
        }
    )
    table["OBS_DIST"] = table["OBS_DIST"].astype("Int64").mask(absent)
    write_atomically(Path(file), table.to_csv(index=False))
    return Path(file)
