"""Metres on the ground, whatever the reference system: positions, pixel sizes and areas.

Coordinates are kept where the metres of their reference system are those of the ground to a hundredth (UTM,
national grids). Degrees, feet and metres that are not those of the ground (Web Mercator) are brought to a
Lambert azimuthal equal-area projection around the middle of the data (Snyder 1987, USGS Professional Paper
1395, p. 182).
"""

from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox
from pyproj import CRS, Proj, Transformer
from pyproj.exceptions import ProjError

from eolab.core.errors import DataError, reason_of

TOLERANCE = 0.01  # of the scale of a reference system that counts as metres on the ground
_SIDE, _PARTS = 64, 32  # least pixels a side, and most parts along an axis, of what has one area a pixel


def positions_m(x: Any, y: Any, crs: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return positions in metres.

    Args:
        x: Coordinates towards east, any shape.
        y: Coordinates towards north, the same shape.
        crs: Their reference system.

    Raises:
        DataError: If there is no reference system, or the coordinates do not lie in it.
    """
    if crs is None:
        raise DataError("The data have no coordinate reference system: write it into the file or the entry.")
    x, y = np.asarray(x, float), np.asarray(y, float)
    try:
        return _metres(x, y, CRS.from_user_input(str(crs)))
    except ProjError as error:
        raise DataError(
            f"Coordinates of {x.min():g} to {x.max():g} and {y.min():g} to {y.max():g} cannot be brought to "
            f"metres from the reference system {str(crs)[:80]} ({reason_of(error)}): correct it in the file."
        ) from None


def _metres(x: np.ndarray, y: np.ndarray, source: CRS) -> tuple[np.ndarray, np.ndarray]:
    """Return positions in metres, unchanged where the reference system has those of the ground."""
    middle = float(np.mean((x.min(), x.max()))), float(np.mean((y.min(), y.max())))
    to_degrees = Transformer.from_crs(source, source.geodetic_crs, always_xy=True)
    lon, lat = to_degrees.transform(*middle)
    if source.is_projected and source.axis_info[0].unit_conversion_factor == 1:
        scale = Proj(source).get_factors(lon, lat)
        if max(abs(one - 1) for one in (scale.meridional_scale, scale.parallel_scale)) < TOLERANCE:
            return x, y
    local = CRS.from_proj4(f"+proj=laea +lat_0={lat:.6f} +lon_0={lon:.6f} +datum=WGS84 +units=m")
    east, north = Transformer.from_crs(source, local, always_xy=True).transform(x, y)
    return np.asarray(east), np.asarray(north)


def pixel_size_m(grid: GeoBox) -> tuple[float, float]:
    """Return height and width of the pixel in the middle of a grid, in metres."""
    column, row = grid.width / 2, grid.height / 2
    x, y = _places(grid, np.array([column, column, column + 1]), np.array([row, row + 1, row]))
    return float(np.hypot(x[1] - x[0], y[1] - y[0])), float(np.hypot(x[2] - x[0], y[2] - y[0]))


def class_areas_m2(classes: Any, grid: GeoBox, count: int) -> np.ndarray:
    """Return the area of each class of a map in square metres.

    Args:
        classes: Class indices (y, x), uint8; those from ``count`` on are left out.
        grid: The grid of the map, north-up or not.
        count: Number of classes K.

    Returns:
        float64 (K,). Pixels of 64 × 64, and of a 32nd of a large map, share their mean area.
    """
    classes = np.asarray(classes)
    edges = [_edges(size) for size in classes.shape]
    x, y = _places(grid, *np.meshgrid(edges[1], edges[0]))  # (row edge, column edge)
    across = (x[1:, 1:] - x[:-1, :-1]) * (y[1:, :-1] - y[:-1, 1:])  # of both diagonals of each part
    areas = np.abs(across - (y[1:, 1:] - y[:-1, :-1]) * (x[1:, :-1] - x[:-1, 1:])) / 2
    found = np.zeros(256)
    for row, column in np.ndindex(areas.shape):
        part = classes[edges[0][row] : edges[0][row + 1], edges[1][column] : edges[1][column + 1]]
        found += np.bincount(part.ravel(), minlength=256) * (areas[row, column] / part.size)
    return found[:count]


def _edges(size: int) -> np.ndarray:
    parts = min(max(size // _SIDE, 1), _PARTS)
    return np.round(np.linspace(0, size, parts + 1)).astype(int)


def _places(grid: GeoBox, column: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where corners of pixels lie, in metres."""
    place = grid.transform
    x, y = place.a * column + place.b * row + place.c, place.d * column + place.e * row + place.f
    return positions_m(x, y, grid.crs)
