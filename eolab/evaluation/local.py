"""Where a map is right: its accuracy around each place, from the reference points near there."""

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from eolab.core.errors import ParameterError
from eolab.data.ground import pixel_size_m


def bandwidth_for(points: int, grid: GeoBox, effective: float = 30.0) -> float:
    """Return the standard deviation in metres of a Gaussian kernel that sees about so many points anywhere.

    A kernel of standard deviation b over points of density d has an effective number of 4 π b² d.
    """
    height, width = pixel_size_m(grid)
    density = max(points, 1) / (grid.height * height * grid.width * width)
    return float(np.sqrt(effective / (4 * np.pi * density)))


def local_accuracy(
    points: pd.DataFrame,
    right: Any,
    grid: GeoBox,
    bandwidth_m: float,
    cells: int = 60,
    min_effective: float = 10.0,
) -> xr.Dataset:
    """Map the share of right points around each place, weighted by a Gaussian kernel of the distance.

    Local characterisation of accuracy as in Foody (2005, https://doi.org/10.1080/01431160500104350), with the
    points' weights: the share of right pixels near a place, however the sample was stratified.

    Args:
        points: Rows with row and col, pixels of the map, and, where they stand for different numbers of
            pixels, weight.
        right: Whether map and reference agree at each point (n,).
        grid: The grid of the map.
        bandwidth_m: Standard deviation of the kernel.
        cells: Cells along the longer side of the result.
        min_effective: Effective number of points, (Σw)² / Σw², below which a cell is NaN.

    Returns:
        accuracy and effective (y, x) on a coarser grid of the same extent.
    """
    if not bandwidth_m > 0:
        raise ParameterError(f"bandwidth_m is {bandwidth_m}: expected metres above 0.")
    longer = max(grid.shape)
    height, width = (max(1, round(side * min(cells, longer) / longer)) for side in grid.shape)
    size, right = pixel_size_m(grid), np.asarray(right, float)
    weight = points["weight"].to_numpy(float) if "weight" in points else np.ones(len(points))
    near = []  # the kernel of both axes, which is their product
    for name, count, side, metres in zip(("row", "col"), (height, width), grid.shape, size, strict=True):
        centres = (np.arange(count) + 0.5) * side / count
        apart = (centres[:, None] - points[name].to_numpy() - 0.5) * metres / bandwidth_m
        near.append(np.exp(-0.5 * apart**2))  # (cells, n)

    def total(values: np.ndarray, power: int = 1) -> np.ndarray:
        return (near[0] ** power * values) @ (near[1] ** power).T

    whole = np.maximum(total(weight), 1e-300)
    effective = whole**2 / np.maximum(total(weight**2, 2), 1e-300)
    accuracy = np.where(effective >= min_effective, total(weight * right) / whole, np.nan)
    return xr.Dataset(
        {"accuracy": (("y", "x"), accuracy), "effective": (("y", "x"), effective)},
        coords=xr_coords(grid.zoom_to((height, width))),
    )
