"""One patch of BigEarthNet, 1.2 km of ground: twelve Sentinel-2 bands, Sentinel-1, and the reference map.

A GeoTIFF a band: 120 × 120 pixels of 10 m, 60 × 60 of 20 m or 20 × 20 of 60 m, digital numbers uint16;
Sentinel-1 in dB, float32, 120 × 120; the reference map of version 2 in CORINE codes, uint16, 120 × 120.

Example:
    >>> patches = index("data/BigEarthNet")
    >>> read_patch(patches.loc[0], ["B04", "B08"])["image"].shape
    (120, 120, 2)
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Literal, cast, get_args

import numpy as np
import rasterio
import rioxarray  # noqa: F401  # registers the accessor .rio
import xarray as xr
from affine import Affine
from rasterio.errors import RasterioError

from eolab.core.errors import DataError, ParameterError, did_you_mean
from eolab.data.bands import L2A_BANDS, RESOLUTIONS_M, SENTINEL2, normalise_band
from eolab.data.layouts.geotiff import read_pixels
from eolab.data.layouts.resample import Axis, Method, taps

BANDS = L2A_BANDS
RADAR = ("VV", "VH")
SIDE_M = 1200
PIXEL_M = 10
SIZE = SIDE_M // PIXEL_M

Resampling = Literal["nearest", "bilinear", "cubic", "native"]


def read_patch(
    row: Any,
    bands: Sequence[str] | None = None,
    resampling: Resampling = "nearest",
    radar: bool = False,
    reference: bool = False,
) -> dict[str, np.ndarray]:
    """Read the pixels of a patch.

    Args:
        row: A row of the index: ``s2`` and, where they are asked for, ``s1`` and ``reference``.
        bands: Sentinel-2 bands in the order wanted; all twelve by default.
        resampling: How bands of 20 and 60 m come to 10 m; ``native`` leaves each at its own pixel size.
        radar: Whether Sentinel-1 is read too.
        reference: Whether the reference map is read too.

    Returns:
        ``image`` (y 120, x 120, band) uint16, digital numbers; with ``native`` instead, for the pixel sizes
        that the bands have, ``image_10m`` (120, 120, band), ``image_20m`` (60, 60, band) and ``image_60m``
        (20, 20, band). Where asked for, ``radar`` (120, 120, 2) float32, VV and VH in dB, and ``reference``
        (120, 120) uint16, CORINE codes.

    Raises:
        DataError: If a file is missing or damaged, or not of the size and type that is published.
        ParameterError: If a band or the resampling is unknown.
    """
    names = check_bands(bands)
    check_resampling(resampling)
    found = {name: _band(row.s2, name) for name in names}
    arrays = _native(found) if resampling == "native" else {"image": _at_10_m(found, resampling)}
    if radar:
        arrays["radar"] = read_radar(row)
    if reference:
        arrays["reference"] = read_reference(row)
    return arrays


def open_patch(
    row: Any,
    bands: Sequence[str] | None = None,
    resampling: Resampling = "nearest",
    radar: bool = False,
    reference: bool = False,
) -> xr.Dataset:
    """Read a patch with its place on the ground.

    Args:
        row: Row of the index; see :func:`read_patch`.
        bands: Names of the bands.
        resampling: Rule for bands of 20 and 60 m; ``native`` is not possible here.
        radar: Whether the radar image is read too.
        reference: Whether the reference map is read too.

    Returns:
        ``image`` (y, x, band), and where asked for ``radar`` (y, x, polarisation) and ``reference`` (y, x),
        with the coordinates of the pixels' centres in metres and, through rioxarray, CRS and transform.

    Raises:
        DataError: As in :func:`read_patch`.
        ParameterError: As in :func:`read_patch`, or for ``native``, which has no common grid.
    """
    if resampling == "native":
        raise ParameterError(
            "Bands of three pixel sizes have no grid in common: choose nearest, bilinear or cubic, or take "
            "read_patch."
        )
    names = check_bands(bands)
    arrays = read_patch(row, names, resampling, radar, reference)
    crs, transform = place_of(row, names[0])
    steps = (np.arange(SIZE) + 0.5) * PIXEL_M
    dims = {"image": ("y", "x", "band"), "radar": ("y", "x", "polarisation"), "reference": ("y", "x")}
    units = {"image": "1", "radar": "dB", "reference": "CORINE code"}
    coords: dict[str, Any] = {"y": transform.f - steps, "x": transform.c + steps, "band": list(names)}
    if radar:
        coords["polarisation"] = list(RADAR)
    dataset = xr.Dataset(
        {name: (dims[name], values, {"units": units[name]}) for name, values in arrays.items()}, coords
    )
    return dataset.rio.write_crs(crs).rio.write_transform(transform)


def read_radar(row: Any) -> np.ndarray:
    """Read VV and VH of a patch, (120, 120, 2) float32 in dB.

    Raises:
        DataError: If the patch has no Sentinel-1 files, or they cannot be used.
    """
    if not row.s1:
        raise DataError(f"{row.s2} has no Sentinel-1 patch in the index: leave it out or read without radar.")
    images = [_checked(file_of(row.s1, name), SIZE, "float32") for name in RADAR]
    for name, image in zip(RADAR, images, strict=True):
        if not np.isfinite(image).all():
            wrong = image.size - np.count_nonzero(np.isfinite(image))
            raise DataError(f"{file_of(row.s1, name)} has no finite value in {wrong} pixels: leave it out.")
    return np.stack(images, axis=-1)  # (y, x, 2)


def read_reference(row: Any) -> np.ndarray:
    """Read the reference map of a patch of version 2, (120, 120) uint16: CORINE codes, 999 where none.

    Raises:
        DataError: If the patch has none, or it cannot be used.
    """
    if not row.reference:
        raise DataError(f"{row.s2} has no reference map in the index: only version 2 has them.")
    return _checked(row.reference, SIZE, "uint16")


def place_of(row: Any, band: str = "B02") -> tuple[str, Affine]:
    """Return the CRS of a patch and the transform of its pixels of 10 m.

    Raises:
        DataError: If the file cannot be read or has no CRS.
    """
    file = file_of(row.s2, band)
    try:
        with rasterio.open(file) as raster:
            crs, corner = raster.crs, raster.transform
    except (RasterioError, OSError) as error:
        raise DataError(f"{file} cannot be read ({error}): fetch it again, or leave it out.") from None
    if crs is None:
        raise DataError(f"{file} has no CRS, expected a UTM zone: fetch it again, or leave it out.")
    return crs.to_string(), Affine(PIXEL_M, 0, corner.c, 0, -PIXEL_M, corner.f)


def file_of(folder: str, part: str) -> str:
    """Return the file of a band or polarisation: a patch's files are named as its folder."""
    return f"{folder}/{os.path.basename(folder)}_{part}.tif"


def check_bands(bands: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of bands as published, all twelve for None.

    Raises:
        ParameterError: If one is unknown, is B10, or none is given.
    """
    names = BANDS if bands is None else tuple(normalise_band(band) for band in bands)
    for name in names:
        if name not in BANDS:
            raise ParameterError(f"BigEarthNet has no band {name}: {did_you_mean(name, BANDS)}")
    if not names or len(set(names)) < len(names):
        raise ParameterError(f"The bands are {names}: give one or more, each once.")
    return names


def check_resampling(resampling: str) -> None:
    """Check the name of a resampling.

    Raises:
        ParameterError: If it is unknown.
    """
    if resampling not in get_args(Resampling):
        hint = did_you_mean(resampling, get_args(Resampling))
        raise ParameterError(f"resampling is {resampling!r}: {hint}")


def size_of(band: str) -> int:
    """Return height and width, which are equal, of a band as published."""
    return SIDE_M // SENTINEL2[band].resolution_m


def _band(folder: str, band: str) -> np.ndarray:
    return _checked(file_of(folder, band), size_of(band), "uint16")


def _checked(file: str, size: int, kind: str) -> np.ndarray:
    """Read a file and check what it holds."""
    pixels = read_pixels(file)
    if pixels.shape != (size, size) or pixels.dtype != kind:
        raise DataError(
            f"{file} holds {pixels.dtype} of shape {pixels.shape}, expected {kind} of ({size}, {size}): "
            "fetch it again, or leave it out."
        )
    return pixels


def _native(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the bands stacked by pixel size, in their order."""
    arrays = {}
    for metres in RESOLUTIONS_M:
        group = [image for name, image in found.items() if SENTINEL2[name].resolution_m == metres]
        if group:
            arrays[f"image_{metres}m"] = np.stack(group, axis=-1)
    return arrays


def _at_10_m(found: dict[str, np.ndarray], resampling: str) -> np.ndarray:
    """Return the bands at 10 m, uint16 (y, x, band)."""
    image = np.empty((len(found), SIZE, SIZE), np.uint16)
    for place, pixels in zip(image, found.values(), strict=True):
        size = len(pixels)
        if size == SIZE:
            place[:] = pixels
        elif resampling == "nearest":
            place[:] = pixels.repeat(SIZE // size, axis=1).repeat(SIZE // size, axis=0)
        else:
            axis = taps(Axis(0, PIXEL_M, SIZE), Axis(0, SIDE_M / size, size), cast("Method", resampling))
            values = (
                axis.weights @ (axis.weights @ pixels.astype(np.float32)).T
            ).T  # sparse: no BLAS threads
            place[:] = np.clip(np.rint(values), 0, np.iinfo(np.uint16).max)
    return image.transpose(1, 2, 0)  # a view (y, x, band)
