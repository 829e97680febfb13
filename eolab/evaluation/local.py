"""Where a map is right: its accuracy around each place, from the reference points near there."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from scipy.spatial.distance import cdist

from eolab.core.errors import ParameterError
from eolab.data.ground import pixel_size_m

_MOST = 3000  # points whose distances are compared, each to each


def bandwidth_for(points: int, grid: GeoBox, effective: float = 30.0) -> float:
    """Return the standard deviation in metres of a Gaussian kernel that sees about so many points anywhere.

    A kernel of standard deviation b over points of density d has an effective number of 4 π b² d.
    """
    height, width = pixel_size_m(grid)
    density = max(points, 1) / (grid.height * height * grid.width * width)
    return float(np.sqrt(effective / (4 * np.pi * density)))


def choose_bandwidth(
    points: pd.DataFrame, right: Any, grid: GeoBox, effective: Sequence[float] = (20, 50, 100, 200, 400)
) -> pd.DataFrame:
    """Score bandwidths by how well each point is predicted from the others.

    Few points near a place make a map that shows their noise, many one that shows nothing: the bandwidth with
    the lowest score is neither.

    Args:
        points: Rows as for :func:`local_accuracy`; of more than 3,000, the first are taken.
        right: Whether map and reference agree at each point (n,).
        grid: The grid of the map.
        effective: Effective numbers of points to try, see :func:`bandwidth_for`.

    Returns:
        A row a bandwidth: effective, bandwidth_m, brier (mean squared difference of the share of right points
        and the left-out point); the last row, infinite, is the share of all points.
    """
    whole, points, right = len(points), points[:_MOST], np.asarray(right, float)[:_MOST]
    place = points[["row", "col"]].to_numpy(float) * pixel_size_m(grid)
    weight = points["weight"].to_numpy(float) if "weight" in points else np.ones(len(points))
    squares = cdist(place, place, "sqeuclidean")
    rows = []
    for number in (*effective, np.inf):
        bandwidth = bandwidth_for(whole, grid, number)
        near = np.exp(-0.5 * squares / bandwidth**2) * weight
        np.fill_diagonal(near, 0)
        share = near @ right / np.maximum(near.sum(axis=1), 1e-300)
        rows.append((number, bandwidth, float(np.average((share - right) ** 2, weights=weight))))
    return pd.DataFrame(rows, columns=["effective", "bandwidth_m", "brier"])


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
