"""From arrays with coordinates to pictures with axes: thinning, extents, labels, north up."""

from typing import Any, TypeVar

import numpy as np
import odc.geo.xr  # noqa: F401  (registers the .odc accessor)
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from eolab.core.errors import DataError
from eolab.data.ground import TOLERANCE, pixel_size_m

MOST_PIXELS = 1600
"""A longer side is drawn with every second, third, … pixel: no screen shows more."""


def as_map(values: Any) -> xr.DataArray:
    """Return an array as a map with dims ``(…, y, x)``.

    Args:
        values: DataArray with the dims y and x, or an array (y, x), which is drawn over its pixels.

    Raises:
        DataError: If the array has no two axes of space.
    """
    if isinstance(values, xr.DataArray):
        if not {"y", "x"} <= set(values.dims):
            raise DataError(
                f"Expected a map with the dims y and x, found {values.dims}: select the rest first."
            )
        return values.transpose(..., "y", "x")
    values = np.asarray(values)
    if values.ndim != 2:
        raise DataError(
            f"Expected a map (y, x), found an array of shape {values.shape}: select the rest first."
        )
    return xr.DataArray(values, dims=("y", "x"))


def quantity(values: xr.DataArray, label: str = "", unit: str = "") -> str:
    """Return what values are, with their unit: "NDVI", "Backscatter (dB)", "Reflectance".

    Args:
        values: The values, whose ``long_name`` or name, and ``units`` count.
        label: What they are instead.
        unit: Their unit instead.
    """
    unit = unit or str(values.attrs.get("units", ""))
    name = label or str(values.attrs.get("long_name") or values.name or "value")
    if unit == "reflectance" and not label:
        return f"Reflectance {name}" if name not in ("image", "reflectance") else "Reflectance"
    return f"{name} ({unit})" if unit not in ("", "1") else name


Raster = TypeVar("Raster", xr.DataArray, xr.Dataset)


def thin(values: Raster) -> Raster:
    """Keep every n-th pixel, so that neither side is longer than :data:`MOST_PIXELS`."""
    step = -(-max(values.sizes["y"], values.sizes["x"]) // MOST_PIXELS)
    return values.isel(y=slice(None, None, step), x=slice(None, None, step)) if step > 1 else values


def extent(values: xr.DataArray) -> tuple[float, float, float, float]:
    """Return left, right, bottom, top of the outer pixel edges in the axes' units (km, degrees or pixels).

    Kilometres are those on the ground.
    """
    edges: list[float] = []
    for name in ("x", "y"):
        size = values.sizes[name]
        if name not in values.coords:
            edges += [-0.5, size - 0.5]
            continue
        centres = np.asarray(values[name], float)
        half = (centres[-1] - centres[0]) / (size - 1) / 2 if size > 1 else 0.5
        edges += [(centres[0] - half) * map_scale(values), (centres[-1] + half) * map_scale(values)]
    left, right, top, bottom = edges
    return left, right, bottom, top


def map_scale(values: xr.DataArray) -> float:
    """Return the factor from a map's coordinates to the units of the axes: 0.001 where they are metres."""
    return 1.0 if is_geographic(values) else 1e-3 * _metres(values)


def _metres(values: xr.DataArray) -> float:
    """Return the metres on the ground of a unit of a map's coordinates, 0.3 for feet."""
    placed = "spatial_ref" in values.coords and min(values.sizes["y"], values.sizes["x"]) > 1
    grid = values.odc.geobox if placed else None
    if grid is None or grid.crs is None:
        return 1.0
    metres = pixel_size_m(grid)[1] / float(np.hypot(grid.transform.a, grid.transform.d))
    return metres if abs(metres - 1) > TOLERANCE else 1.0


def is_geographic(values: xr.DataArray) -> bool:
    """Say whether the coordinates are degrees."""
    units = str(values["x"].attrs.get("units", "")) if "x" in values.coords else ""
    reference = values.coords["spatial_ref"].attrs if "spatial_ref" in values.coords else {}
    return units.startswith("degree") or reference.get("grid_mapping_name") == "latitude_longitude"


def show(ax: Axes, values: xr.DataArray, pixels: np.ndarray, **options: Any) -> AxesImage:
    """Draw pixels over the extent of a map, north up; axes in km, degrees, or (without coordinates) pixels.

    Args:
        ax: Where to draw.
        values: The map whose coordinates count.
        pixels: (y, x) values or (y, x, 3) colours, thinned or not.
        options: For ``imshow``.
    """
    left, right, bottom, top = extent(values)
    middle = np.deg2rad((bottom + top) / 2) if is_geographic(values) else 0.0
    extents, aspect = (left, right, bottom, top), 1 / max(float(np.cos(middle)), 0.01)
    image = ax.imshow(pixels, extent=extents, origin="upper", aspect=aspect, **options)
    if "y" in values.coords:
        ax.set_ylim(min(bottom, top), max(bottom, top))
        ax.set_xlim(min(left, right), max(left, right))
    names = ("Longitude (°)", "Latitude (°)") if is_geographic(values) else ("Easting (km)", "Northing (km)")
    if "x" not in values.coords:
        names = ("Column (pixels)", "Row (pixels)")
    ax.set(xlabel=names[0], ylabel=names[1])
    for axis in (ax.xaxis, ax.yaxis):
        formatter = ScalarFormatter(useOffset=False)
        formatter.set_scientific(False)
        axis.set_major_formatter(formatter)
        axis.set_major_locator(MaxNLocator(4, min_n_ticks=2, steps=[1, 2, 5, 10]))
    ax.spines[:].set_visible(True)
    ax.grid(False)
    return image
