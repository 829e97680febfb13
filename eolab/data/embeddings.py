"""Embeddings that users bring: yearly mosaics of foundation models, read at the positions of samples.

A mosaic is a GeoTIFF whose bands are the dimensions of the embedding, or a Zarr store with an array of two
spatial axes and one of dimensions, in any order. Only the windows in which positions lie are read.

======================= ==========================================================
mosaic                  how it is read
======================= ==========================================================
float values            as they are
int8 times a factor     ``scale=factor``
AlphaEarth Foundations  ``scale=1 / 127.5, power=2``: sign(v) · (abs(v) / 127.5)²; its own nodata is −128, see
                        https://developers.google.com/earth-engine/guides/aef_on_gcs_readme
======================= ==========================================================
"""

from pathlib import Path
from typing import Any

import numpy as np
import rioxarray
import xarray as xr
from pyproj import Transformer
from rasterio.errors import RasterioError
from rioxarray.exceptions import RioXarrayError

from eolab.core.errors import DataError, ParameterError, check_known, reason_of

WINDOW = 1024  # side of the windows that are read at once, in pixels
_REMEDY = "give a GeoTIFF, or a Zarr store with a coordinate reference system and coordinates x and y"


def read_at(
    path: str | Path,
    x: Any,
    y: Any,
    crs: Any,
    *,
    array: str = "",
    scale: float = 1.0,
    power: float = 1.0,
    nodata: float | None = None,
) -> np.ndarray:
    """Return the embedding of the pixel in which each position lies.

    Args:
        path: The mosaic of one year, see the table above.
        x: Coordinates towards east (N,).
        y: Coordinates towards north (N,).
        crs: Their reference system; they are brought to that of the mosaic.
        array: Name of the array in a Zarr store; needed only where several could be meant.
        scale: What stored numbers are multiplied by, above 0.
        power: Power of their size after that, the sign kept, above 0.
        nodata: Stored number that means no data; that of the file where None.

    Returns:
        float32 (N, D); NaN in all dimensions outside of the mosaic and where any has no data.

    Raises:
        DataError: If there is no such mosaic, or no position has a value in it.
        ParameterError: If scale or power is not above 0.
    """
    if not (scale > 0 and power > 0):
        raise ParameterError(f"Embeddings: scale {scale} and power {power} must be above 0.")
    mosaic = opened(path, array)  # (band, y, x)
    to_mosaic = Transformer.from_crs(crs, mosaic.rio.crs, always_xy=True)
    east, north = to_mosaic.transform(np.asarray(x), np.asarray(y))
    place = ~mosaic.rio.transform()
    col, row = (a * east + b * north + c for a, b, c in (place[:3], place[3:6]))
    _, height, width = mosaic.shape
    inside = (row >= 0) & (row < height) & (col >= 0) & (col < width)  # not of infinite coordinates
    found = np.full((len(inside), mosaic.shape[0]), np.nan, np.float32)
    places = np.flatnonzero(inside)
    rows, cols = row[places].astype(int), col[places].astype(int)
    windows = rows // WINDOW * -(-width // WINDOW) + cols // WINDOW
    missing = mosaic.rio.nodata if nodata is None else nodata
    for window in np.unique(windows):
        here = windows == window
        top, left = rows[here].min(), cols[here].min()
        part = mosaic[:, top : rows[here].max() + 1, left : cols[here].max() + 1].to_numpy()
        values = part[:, rows[here] - top, cols[here] - left].T  # (n, D)
        known = np.isfinite(values).all(axis=1)
        if missing is not None:
            known &= (values != missing).all(axis=1)
        sized = np.sign(values) * np.abs(values.astype(np.float32) * np.float32(scale)) ** power
        found[places[here]] = np.where(known[:, None], sized, np.nan)
    if not np.isfinite(found).any():
        why = "have no data there" if inside.any() else f"lie in it, which spans {mosaic.rio.bounds()}"
        how = "all" if inside.any() else "none"
        raise DataError(
            f"{path}: of {len(inside)} positions, {how} {why} ({mosaic.rio.crs}): give a mosaic of the place "
            "where the samples are."
        )
    return found


def opened(path: str | Path, array: str = "") -> xr.DataArray:
    """Open a mosaic lazily as (dimension, y, x), with its reference system.

    Args:
        path: The mosaic.
        array: Name of the array in a Zarr store.

    Raises:
        DataError: If there is none, or it has no reference system.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: expected a mosaic of embeddings, found no file; {_REMEDY}.")
    try:
        mosaic: Any = _zarr(path, array) if path.is_dir() else rioxarray.open_rasterio(path, cache=False)
        crs = mosaic.rio.crs
        mosaic.rio.transform()
    except (OSError, ValueError, KeyError, RasterioError, RioXarrayError) as error:
        reason = reason_of(error)
        raise DataError(f"{path}: expected a mosaic of embeddings ({reason}); {_REMEDY}.") from None
    if crs is None:
        raise DataError(f"{path} has no coordinate reference system; {_REMEDY}.")
    return mosaic


def _zarr(path: Path, array: str) -> xr.DataArray:
    """Open the array of a Zarr store that has two spatial axes and one more."""
    try:
        import zarr  # noqa: F401  (xarray reads by it)
    except ModuleNotFoundError:
        raise DataError(
            f"{path} is a Zarr store, and the package zarr is not installed: pip install "
            "'eolab[zarr]', or give a GeoTIFF."
        ) from None
    data = xr.open_zarr(path, chunks=None, mask_and_scale=False)
    if "spatial_ref" in data.data_vars:
        data = data.set_coords("spatial_ref")
    known = {str(name): one for name, one in data.data_vars.items() if one.squeeze().ndim == 3}
    if array or len(known) != 1:
        check_known(array, known, f"{path} has no array {array!r} of dimensions, rows and columns")
    values = known[array or next(iter(known))].squeeze()
    crs = values.rio.crs or data.rio.crs
    values = values.rename({values.rio.x_dim: "x", values.rio.y_dim: "y"}).transpose(..., "y", "x")
    if not {"x", "y"} <= set(values.coords):
        raise DataError(f"{path} has no coordinates x and y; {_REMEDY}.")
    values.attrs.setdefault("_FillValue", values.encoding.get("_FillValue"))
    return values.rio.write_crs(crs) if crs else values
